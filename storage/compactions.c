#include "storage/compactions.h"

#include <stdlib.h>
#include <string.h>

void compactions_fini(struct compactions *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->items[i].inputs);
    free(list->items);
    *list = (struct compactions){0};
}

enum err compactions_add(struct compactions *list, const struct compaction *compaction)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 4 : 2 * list->capacity;
        struct compaction *items = realloc(list->items, capacity * sizeof *items);

        if (items == NULL) {
            free(compaction->inputs);
            return err_set(ERR_NO_MEMORY, "%u compactions", capacity);
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *compaction;
    return ERR_OK;
}

enum err compactions_copy(const struct compactions *from, struct compactions *to)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < from->count && err == ERR_OK; i++) {
        struct compaction copy = from->items[i];
        size_t size = copy.input_count * sizeof *copy.inputs;

        copy.inputs = malloc(size + 1);
        if (copy.inputs == NULL)
            return err_set(ERR_NO_MEMORY, "a compaction of %u segments", copy.input_count);
        if (size > 0)
            memcpy(copy.inputs, from->items[i].inputs, size);
        err = compactions_add(to, &copy);
    }
    return err;
}

struct compaction *compactions_find(const struct compactions *list, uint64_t number)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].info.number == number)
            return &list->items[i];
    return NULL;
}

void compactions_remove(struct compactions *list, uint64_t number)
{
    struct compaction *found = compactions_find(list, number);

    if (found == NULL)
        return;
    free(found->inputs);
    list->count--;
    memmove(found, found + 1, (size_t)(list->items + list->count - found) * sizeof *found);
}

const struct compaction *compactions_next(const struct compactions *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].input_count > 0)
            return &list->items[i];
    return NULL;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

void compactions_sort(uint64_t *numbers, uint32_t count)
{
    qsort(numbers, count, sizeof *numbers, compare_numbers);
}

bool compactions_have(const uint64_t *numbers, uint32_t count, uint64_t number)
{
    return count > 0 && bsearch(&number, numbers, count, sizeof number, compare_numbers) != NULL;
}

static uint32_t add_inputs(const struct compaction *compaction, uint64_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < compaction->input_count; i++)
        numbers[count++] = compaction->inputs[i];
    return count;
}

enum err compactions_parts(const struct compactions *list, const struct compaction *compaction,
                           uint64_t **ret_numbers, uint32_t *ret_count)
{
    uint32_t most = compaction->input_count, count = 0;
    uint64_t *numbers;

    for (uint32_t i = 0; i < list->count; i++)
        most += list->items[i].input_count; /* Each number is an input of one only. */
    numbers = malloc(((size_t)most + 1) * sizeof *numbers);
    if (numbers == NULL)
        return err_set(ERR_NO_MEMORY, "what becomes part of %u segments", compaction->input_count);
    count = add_inputs(compaction, numbers, 0);
    for (uint32_t i = 0; i < count; i++) { /* It grows. */
        const struct compaction *part = compactions_find(list, numbers[i]);

        if (part != NULL)
            count = add_inputs(part, numbers, count);
    }
    compactions_sort(numbers, count);
    *ret_numbers = numbers;
    *ret_count = count;
    return ERR_OK;
}

enum err compactions_inputs(const struct compactions *list, uint64_t **ret_numbers,
                            uint32_t *ret_count)
{
    uint64_t *numbers;
    uint32_t count = 0, at = 0;

    for (uint32_t i = 0; i < list->count; i++)
        count += list->items[i].input_count;
    numbers = malloc(((size_t)count + 1) * sizeof *numbers);
    if (numbers == NULL)
        return err_set(ERR_NO_MEMORY, "inputs of %u compactions", list->count);
    for (uint32_t i = 0; i < list->count; i++)
        for (uint32_t n = 0; n < list->items[i].input_count; n++)
            numbers[at++] = list->items[i].inputs[n];
    compactions_sort(numbers, count);
    *ret_numbers = numbers;
    *ret_count = count;
    return ERR_OK;
}
