#include "storage/last_where.h"

#include <stdlib.h>
#include <string.h>

void last_where_fini(struct last_where *where)
{
    free(where->blocks);
    *where = (struct last_where){0};
}

uint64_t last_where_bytes(const struct last_where *where)
{
    return where->capacity * sizeof *where->blocks;
}

static bool reserve(struct last_where *where, uint32_t id)
{
    uint64_t capacity = id + 1ull + id / 2;
    uint32_t *blocks;

    if (id < where->capacity)
        return true;
    if (capacity > UINT32_MAX)
        capacity = UINT32_MAX;
    blocks = realloc(where->blocks, capacity * sizeof *blocks);
    if (blocks == NULL)
        return false;
    memset(blocks + where->capacity, 0, (capacity - where->capacity) * sizeof *blocks);
    where->blocks = blocks;
    where->capacity = (uint32_t)capacity;
    return true;
}

void last_where_note(struct last_where *where, const struct head *head,
                     const struct block_view *view)
{
    uint32_t places = view->header.known + view->header.fresh;
    uint64_t number = head->added - where->first;

    if (where->left == 0 || view->header.rows == 0)
        return;
    where->left--;
    if (where->left == 0 || number > UINT32_MAX || !reserve(where, block_view_id_max(view))) {
        last_where_fini(where);
        return;
    }
    for (uint32_t place = 0; place < places; place++)
        where->blocks[block_view_id(view, place)] = (uint32_t)number;
}

uint32_t last_where_find(struct last_where *where, const struct head *head, uint32_t id)
{
    uint64_t dropped = head->added - head->count, upto = where->first;

    if (where->left == 0)
        where->first = upto = head->added;
    where->left = LAST_WHERE_BLOCKS;
    if (id < where->capacity && where->blocks[id] > 0)
        upto += where->blocks[id];
    return upto > dropped ? (uint32_t)(upto - dropped) : 0;
}
