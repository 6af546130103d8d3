#include "storage/head.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 64 };

void head_fini(struct head *head)
{
    head_drop(head, UINT64_MAX);
    free(head->blocks);
    *head = (struct head){0};
}

static enum err make_room(struct head *head)
{
    uint32_t capacity = head->capacity < CAPACITY_MIN ? CAPACITY_MIN : head->capacity;
    struct head_block *blocks;

    if (head->first + head->count < head->capacity)
        return ERR_OK;
    if (head->first > 0 && head->first >= head->count) {
        memmove(head->blocks, head->blocks + head->first, head->count * sizeof *head->blocks);
        head->first = 0;
        return ERR_OK;
    }
    while (capacity <= head->first + head->count)
        capacity *= 2;
    blocks = realloc(head->blocks, capacity * sizeof *blocks);
    if (blocks == NULL)
        return err_set(ERR_NO_MEMORY, "a head of %u blocks", capacity);
    head->blocks = blocks;
    head->capacity = capacity;
    return ERR_OK;
}

/* Of all blocks. What was dropped may still count: it is an upper bound. */
static int64_t newest_ns(const struct head *head)
{
    const struct head_block *last;

    if (head->count == 0)
        return INT64_MIN;
    last = &head->blocks[head->first + head->count - 1];
    return last->rows > 0 && last->time_max_ns > last->older_max_ns ? last->time_max_ns
                                                                    : last->older_max_ns;
}

enum err head_add(struct head *head, const struct head_block *block)
{
    enum err err = make_room(head);

    if (err != ERR_OK)
        return err;
    head->blocks[head->first + head->count] = *block;
    head->blocks[head->first + head->count].older_max_ns = newest_ns(head);
    head->count++;
    head->added++;
    (void)buf_ref(block->entry);
    head->bytes += block->entry->size;
    head->rows += block->rows;
    return ERR_OK;
}

void head_drop(struct head *head, uint64_t upto)
{
    while (head->count > 0 && head->blocks[head->first].index <= upto) {
        struct head_block *block = &head->blocks[head->first];

        head->bytes -= block->entry->size;
        head->rows -= block->rows;
        buf_unref(block->entry);
        head->first++;
        head->count--;
    }
    if (head->count == 0)
        head->first = 0;
}

uint32_t head_after(const struct head *head, uint64_t after, const struct head_block **ret_first)
{
    uint32_t low = 0;
    uint32_t high = head->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (head->blocks[head->first + middle].index <= after)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_first = head->blocks == NULL ? NULL : head->blocks + head->first + low;
    return head->count - low;
}
