#include "storage/catalog_values.h"

#include <string.h>

#include "storage/base/varint.h"

static uint32_t block_start(const struct catalog_values *values, uint32_t block)
{
    uint32_t start;

    memcpy(&start, values->index + (size_t)block * sizeof start, sizeof start);
    return start;
}

/* False if the bytes of the block are not inside the list. */
static bool find_block(const struct catalog_values *values, uint32_t block, const uint8_t **ret_at,
                       const uint8_t **ret_end)
{
    uint64_t start = block_start(values, block);
    uint64_t end = block + 1 < catalog_values_blocks(values->count, values->shift)
                       ? block_start(values, block + 1)
                       : values->size;

    if (start > end || end > values->size)
        return false;
    *ret_at = values->blocks + start;
    *ret_end = values->blocks + end;
    return true;
}

/* A number of the list: nearly always of one byte. */
static const uint8_t *get_size(const uint8_t *at, const uint8_t *end, uint64_t *ret_size)
{
    if (at < end && *at < 0x80) {
        *ret_size = *at;
        return at + 1;
    }
    return varint_get(at, end, ret_size);
}

/* The first value of a block is there in full. NULL if it is not. */
static const uint8_t *first_of_block(const uint8_t *at, const uint8_t *end, struct slice *ret_value)
{
    uint64_t size = 0;

    at = get_size(at, end, &size);
    if (at == NULL || size > (uint64_t)(end - at) || size > NAME_SIZE_MAX)
        return NULL;
    *ret_value = (struct slice){(const char *)at, (size_t)size};
    return at + size;
}

void catalog_values_seek(struct catalog_values_walk *walk, const struct catalog_values *values,
                         uint32_t rank)
{
    struct slice passed;

    walk->values = values;
    walk->at = walk->end = NULL;
    walk->size = 0;
    walk->next = rank >> values->shift << values->shift;
    while (walk->next < rank && catalog_values_next(walk, &passed))
        continue;
}

bool catalog_values_next(struct catalog_values_walk *walk, struct slice *ret_value)
{
    const struct catalog_values *values = walk->values;
    uint64_t shared = 0, more = 0;

    if (walk->next >= values->count)
        return false;
    if (walk->next % (1u << values->shift) == 0) {
        if (!find_block(values, walk->next >> values->shift, &walk->at, &walk->end))
            goto bad;
    } else {
        walk->at = get_size(walk->at, walk->end, &shared);
        if (walk->at == NULL || shared > walk->size)
            goto bad;
    }
    walk->at = get_size(walk->at, walk->end, &more);
    if (walk->at == NULL || more > (uint64_t)(walk->end - walk->at) ||
        shared + more > NAME_SIZE_MAX)
        goto bad;
    memcpy(walk->text + shared, walk->at, (size_t)more);
    walk->at += more;
    walk->size = (uint32_t)(shared + more);
    walk->next++;
    *ret_value = (struct slice){walk->text, walk->size};
    return true;

bad:
    walk->next = values->count;
    return false;
}

struct slice catalog_values_get(const struct catalog_values *values, uint32_t rank,
                                struct catalog_values_walk *walk)
{
    struct slice value = {NULL, 0};

    if (rank >= values->count)
        return value;
    if (rank % (1u << values->shift) == 0) {
        const uint8_t *at, *end;

        if (find_block(values, rank >> values->shift, &at, &end))
            (void)first_of_block(at, end, &value);
        return value;
    }
    catalog_values_seek(walk, values, rank);
    if (walk->next != rank || !catalog_values_next(walk, &value))
        return (struct slice){NULL, 0};
    return value;
}

void catalog_values_prefetch(const struct catalog_values *values, uint32_t rank, bool deep)
{
    uint32_t block = rank >> values->shift;

    if (rank >= values->count)
        return;
    if (deep)
        __builtin_prefetch(values->blocks + block_start(values, block));
    else
        __builtin_prefetch(values->index + (size_t)block * sizeof(uint32_t));
}

int catalog_values_compare(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

uint32_t catalog_values_lower_bound(const struct catalog_values *values, struct slice text,
                                    struct catalog_values_walk *walk)
{
    uint32_t low = 0, high = catalog_values_blocks(values->count, values->shift);
    struct slice value;

    /* The last block whose first value is not above the text. */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *at, *end;

        if (find_block(values, middle, &at, &end) && first_of_block(at, end, &value) != NULL &&
            catalog_values_compare(value, text) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    catalog_values_seek(walk, values, (low - 1) << values->shift);
    while (catalog_values_next(walk, &value)) {
        if (catalog_values_compare(value, text) >= 0)
            return walk->next - 1;
    }
    return values->count;
}
