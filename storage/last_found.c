#include "storage/last_found.h"

#include <string.h>

void last_found_fini(struct last_found *found)
{
    block_arena_fini(&found->arena);
    *found = (struct last_found){0};
}

void last_found_series(struct last_found *found, const uint32_t *ids, uint32_t count)
{
    found->failed |= count > LAST_SERIES_MAX;
    if (found->failed || count == 0)
        return;
    memcpy(found->ids, ids, count * sizeof *ids);
    found->id_count = count;
}

static bool copy(struct last_found *found, struct slice *slice)
{
    char *bytes = block_arena_take(&found->arena, slice->size + 1);

    if (bytes == NULL)
        return false;
    if (slice->size > 0)
        memcpy(bytes, slice->data, slice->size);
    slice->data = bytes;
    return true;
}

void last_found_add(struct last_found *found, uint32_t id, struct slice name,
                    const struct last_value *value)
{
    struct last_found_cell cell = {id, name, *value};

    if (found->cell_count == found->cell_capacity && !found->failed) {
        uint32_t capacity = found->cell_capacity == 0 ? 16 : 2 * found->cell_capacity;
        struct last_found_cell *cells =
            block_arena_grow(&found->arena, found->cells, found->cell_count * sizeof *cells,
                             capacity * sizeof *cells);

        found->failed = cells == NULL;
        found->cells = cells;
        found->cell_capacity = capacity;
    }
    if (value->type == FIELD_STRING)
        found->failed |= value->text.size > LAST_TEXT_MAX || !copy(found, &cell.value.text);
    found->failed = found->failed || !copy(found, &cell.name);
    if (!found->failed)
        found->cells[found->cell_count++] = cell;
}
