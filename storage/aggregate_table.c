#include "storage/aggregate_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory -------------------------------------------------------------------------------- */

static enum err charge(struct aggregate *aggregate, uint64_t size)
{
    if (size > aggregate->memory_max || aggregate->memory > aggregate->memory_max - size)
        return err_set(ERR_LIMIT,
                       "the aggregate has %" PRIu32 " groups, %" PRIu32 " rows and %" PRIu32
                       " fields, and would need more than %" PRIu64
                       " bytes: use wider windows, fewer tags, fewer fields or a shorter time",
                       aggregate->groups.count, aggregate->row_count, aggregate->field_count,
                       aggregate->memory_max);
    aggregate->memory += size;
    return ERR_OK;
}

/* Room for `count` elements in *array, which is doubled and zeroed behind what it had. */
static enum err grow(struct aggregate *aggregate, void *array, uint32_t *capacity, size_t size,
                     uint32_t count)
{
    uint32_t more = *capacity < 8 ? 8 : *capacity;
    uint8_t *old, *moved;
    enum err err;

    if (count <= *capacity)
        return ERR_OK;
    while (more < count)
        more *= 2;
    err = charge(aggregate, (uint64_t)(more - *capacity) * size);
    if (err != ERR_OK)
        return err;
    memcpy(&old, array, sizeof old);
    moved = realloc(old, more * size);
    if (moved == NULL)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory for %" PRIu32 " rows", more);
    memset(moved + *capacity * size, 0, (more - *capacity) * size);
    memcpy(array, &moved, sizeof moved);
    *capacity = more;
    return ERR_OK;
}

/* ---- Groups, rows, fields, cells ------------------------------------------------------------ */

int64_t aggregate_table_window(const struct aggregate *aggregate, int64_t time_ns,
                               int64_t *ret_last_ns)
{
    int64_t every_ns = aggregate->query->every_ns;
    int64_t into;

    *ret_last_ns = INT64_MAX;
    if (every_ns == 0)
        return 0;
    into = time_ns % every_ns;
    if (into < 0)
        into += every_ns;
    if (time_ns <= INT64_MAX - (every_ns - 1 - into))
        *ret_last_ns = time_ns + (every_ns - 1 - into);
    return time_ns < INT64_MIN + into ? INT64_MIN : time_ns - into;
}

enum err aggregate_table_group(struct aggregate *aggregate, uint32_t *ret_group)
{
    const struct bytes *key = &aggregate->key;
    uint64_t hash = key_hash(key->data, key->size);
    size_t held = aggregate->arena.held;
    uint32_t group = key_map_find(&aggregate->groups, hash, key->data, key->size);

    if (group == KEY_MAP_NONE) {
        enum err err = charge(aggregate, key->size);

        group = aggregate->groups.count;
        if (err != ERR_OK)
            return err;
        if (group == AGGREGATE_TABLE_MAX ||
            !key_map_add(&aggregate->groups, &aggregate->arena, hash, key->data, key->size))
            return err_set(ERR_NO_MEMORY, "aggregate: no memory for %" PRIu32 " groups", group + 1);
        err = charge(aggregate, aggregate->arena.held - held);
        if (err != ERR_OK)
            return err;
    }
    *ret_group = group;
    return ERR_OK;
}

static uint64_t row_hash(int64_t window, uint32_t group)
{
    uint64_t h = ((uint64_t)window ^ ((uint64_t)group << 32 | group)) * 0x9e3779b97f4a7c15;

    return (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9;
}

/* The slot of a row, or the free one where it would go. There is always a free one. */
static uint32_t find_slot(const struct aggregate *aggregate, int64_t window, uint32_t group)
{
    uint32_t mask = aggregate->slot_count - 1;
    uint32_t at = (uint32_t)(row_hash(window, group) >> 32) & mask;

    for (;; at = (at + 1) & mask) {
        uint32_t slot = aggregate->row_slots[at];

        if (slot == 0 || (aggregate->rows[slot - 1].window == window &&
                          aggregate->rows[slot - 1].group == group))
            return at;
    }
}

/* Room for one more row. */
static enum err grow_rows(struct aggregate *aggregate)
{
    uint32_t more = aggregate->slot_count == 0 ? 16 : 2 * aggregate->slot_count, *slots;
    enum err err = grow(aggregate, &aggregate->rows, &aggregate->row_capacity,
                        sizeof *aggregate->rows, aggregate->row_count + 1);

    if (err != ERR_OK || aggregate->row_count < aggregate->slot_count / 2)
        return err;
    if (aggregate->row_count >= AGGREGATE_TABLE_MAX)
        return err_set(ERR_LIMIT, "the aggregate has %" PRIu32 " rows: use wider windows",
                       aggregate->row_count);
    err = charge(aggregate, (uint64_t)(more - aggregate->slot_count) * sizeof *slots);
    if (err != ERR_OK)
        return err;
    slots = calloc(more, sizeof *slots);
    if (slots == NULL)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory for %" PRIu32 " rows", more / 2);
    free(aggregate->row_slots);
    aggregate->row_slots = slots;
    aggregate->slot_count = more;
    for (uint32_t i = 0; i < aggregate->row_count; i++)
        slots[find_slot(aggregate, aggregate->rows[i].window, aggregate->rows[i].group)] = i + 1;
    return ERR_OK;
}

enum err aggregate_table_row(struct aggregate *aggregate, int64_t window, uint32_t group,
                             uint32_t *ret_row)
{
    uint32_t slot = 0;

    /* Windows come in order, of all groups mostly in the same one. */
    for (uint32_t at = aggregate->row_last; at < aggregate->row_count; at++) {
        const struct aggregate_row *row = &aggregate->rows[at];

        if (row->window == window && row->group == group) {
            *ret_row = aggregate->row_last = at;
            return ERR_OK;
        }
        if (at > aggregate->row_last)
            break;
    }
    if (aggregate->slot_count > 0)
        slot = aggregate->row_slots[find_slot(aggregate, window, group)];
    if (slot == 0) {
        enum err err = grow_rows(aggregate);

        if (err != ERR_OK)
            return err;
        aggregate->rows[aggregate->row_count] = (struct aggregate_row){window, group};
        slot = ++aggregate->row_count;
        aggregate->row_slots[find_slot(aggregate, window, group)] = slot;
    }
    *ret_row = aggregate->row_last = slot - 1;
    return ERR_OK;
}

enum err aggregate_table_add_field(struct aggregate *aggregate, struct slice name,
                                   enum field_type type)
{
    struct aggregate_field field = {.name_size = name.size, .type = type};
    enum err err = grow(aggregate, &aggregate->fields, &aggregate->field_capacity, sizeof field,
                        aggregate->field_count + 1);

    if (err == ERR_OK)
        err = charge(aggregate, name.size + 1);
    if (err != ERR_OK)
        return err;
    field.name = malloc(name.size + 1);
    if (field.name == NULL)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory for a field's name");
    memcpy(field.name, name.data, name.size);
    field.name[name.size] = '\0';
    aggregate->fields[aggregate->field_count++] = field;
    return ERR_OK;
}

enum err aggregate_table_make_cells(struct aggregate *aggregate, uint32_t field_at)
{
    struct aggregate_field *field = &aggregate->fields[field_at];

    return grow(aggregate, &field->cells, &field->capacity, sizeof *field->cells,
                aggregate->row_count);
}

enum err aggregate_table_make_run(struct aggregate *aggregate)
{
    return grow(aggregate, &aggregate->runs, &aggregate->run_capacity, sizeof *aggregate->runs,
                aggregate->run_count + 1);
}

enum err aggregate_table_check(struct aggregate *aggregate)
{
    return charge(aggregate, 0);
}

enum err aggregate_table_combine(struct aggregate *aggregate, uint32_t field_at, uint32_t row,
                                 const struct aggregate_cell *cell)
{
    struct aggregate_field *field = &aggregate->fields[field_at];
    enum err err = aggregate_table_make_cells(aggregate, field_at);

    if (err == ERR_OK)
        err = aggregate_cell_combine(aggregate->agg, field->type, &field->cells[row], cell,
                                     &aggregate->memory);
    return err == ERR_OK ? aggregate_table_check(aggregate) : err;
}
