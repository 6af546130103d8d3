#include "storage/scan_last.h"

#include <stdlib.h>
#include <string.h>

enum {
    FEW = 64,        /* Series: of more, nearly every source has some. */
    VALUES_FEW = 32, /* Looked for one by one in a block: of more, it is decoded. */
};

struct scan_last_cell {
    int64_t time_ns;
    uint64_t bits; /* Strings: size in the high half, as everywhere; offset 0 in `text`. */
    char *text;    /* Owned. */
    const struct snapshot_source *source; /* It is from there; NULL: there is none. */
};

void scan_last_init(struct scan_last *last, struct scan_decode *decode, uint64_t budget)
{
    *last = (struct scan_last){.decode = decode, .budget = budget};
}

static void forget(struct scan_last *last)
{
    for (uint32_t column = 0; column < last->column_capacity; column++) {
        struct scan_last_cell *cells = last->cells[column];

        for (uint32_t slot = 0; cells != NULL && slot < last->slots; slot++)
            free(cells[slot].text);
        free(cells);
        last->cells[column] = NULL;
    }
    last->used = 0;
    last->full = false;
}

void scan_last_fini(struct scan_last *last)
{
    forget(last);
    free(last->cells);
    block_newest_fini(&last->block);
    *last = (struct scan_last){0};
}

static enum err no_memory(void)
{
    return err_set(ERR_NO_MEMORY, "scan: no memory for the newest values");
}

/* False, and `full`, if it does not fit. */
static bool charge(struct scan_last *last, uint64_t size)
{
    if (size > last->budget || last->used > last->budget - size)
        last->full = true;
    else
        last->used += size;
    return !last->full;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static enum err find_cells(struct scan_last *last, uint32_t column,
                           struct scan_last_cell **ret_cells)
{
    uint32_t columns = last->decode->column_count;

    if (column >= last->column_capacity) {
        struct scan_last_cell **cells = realloc(last->cells, columns * sizeof(*cells));

        if (cells == NULL)
            return no_memory();
        memset(cells + last->column_capacity, 0,
               (columns - last->column_capacity) * sizeof(*cells));
        last->cells = cells;
        last->column_capacity = columns;
    }
    if (last->cells[column] == NULL) {
        if (!charge(last, last->slots * sizeof(struct scan_last_cell)))
            return ERR_END;
        last->cells[column] = calloc(last->slots, sizeof(struct scan_last_cell));
        if (last->cells[column] == NULL)
            return no_memory();
    }
    *ret_cells = last->cells[column];
    return ERR_OK;
}

static enum err set_text(struct scan_last *last, struct scan_last_cell *cell, const char *text,
                         size_t size)
{
    size_t before = cell->text != NULL ? (size_t)(cell->bits >> 32) : 0;
    char *copy;

    if (size > before && !charge(last, size - before))
        return ERR_END;
    if (size < before)
        last->used -= before - size;
    copy = realloc(cell->text, size + 1);
    if (copy == NULL)
        return no_memory();
    if (size > 0)
        memcpy(copy, text, size);
    cell->text = copy;
    cell->bits = (uint64_t)size << 32;
    return ERR_OK;
}

/* What is known is newer than a value of the current source with that time. Of one source, what
 * comes later in it came later in the log. */
static bool is_older(const struct scan_last *last, const struct scan_last_cell *cell,
                     int64_t time_ns)
{
    return cell->source != NULL &&
           (cell->time_ns > time_ns ||
            (cell->time_ns == time_ns && cell->source != last->decode->source));
}

/* Row `at` of the section has the newest value of its run. */
static enum err take_value(struct scan_last *last, struct scan_last_cell *cell, int64_t time_ns,
                           uint64_t bits, const char *strings)
{
    cell->source = last->decode->source;
    cell->time_ns = time_ns;
    if (strings != NULL)
        return set_text(last, cell, strings + (uint32_t)bits, (size_t)(bits >> 32));
    cell->bits = bits;
    return ERR_OK;
}

/* The newest values that the section has of one field. */
static enum err take_field(struct scan_last *last, uint32_t field, struct scan_last_cell *cells)
{
    struct scan_decode *decode = last->decode;
    const char *strings = NULL;
    enum err err =
        section_read_some_values(&decode->reader, field, decode->first_row, decode->end_row,
                                 decode->present, decode->bits, &strings);

    if (err == ERR_OK)
        err = scan_decode_times(decode);
    for (uint32_t i = 0; i < decode->run_count && err == ERR_OK; i++) {
        const struct scan_run *run = &decode->runs[i];
        struct scan_last_cell *cell = &cells[run->slot];
        uint32_t at = run->start + run->rows;

        while (at > run->start && !decode->present[at - 1])
            at--;
        if (at == run->start || is_older(last, cell, decode->times_ns[at - 1]))
            continue;
        at--;
        err = take_value(last, cell, decode->times_ns[at], decode->bits[at], strings);
    }
    return err;
}

/* From the index alone, if it tells: the section is one run, and each of its rows has the field, or
 * nothing in it is newer. */
static enum err take_known(struct scan_last *last, const struct scan_field *asked,
                           struct scan_last_cell *cells, bool *ret_done)
{
    struct scan_decode *decode = last->decode;
    const struct scan_run *run = &decode->runs[0];
    struct scan_last_cell *cell = &cells[run->slot];

    if (asked->stats == NULL || decode->run_count != 1)
        return ERR_OK;
    *ret_done = is_older(last, cell, run->last_ns);
    if (*ret_done || run->rows != decode->section_rows || asked->values != decode->section_rows ||
        asked->type == FIELD_STRING)
        return ERR_OK;
    *ret_done = true;
    return take_value(last, cell, run->last_ns, asked->stats->last, NULL);
}

/* Called by scan_decode_backwards() for each section. ERR_END: full. */
static enum err take_section(void *arg, struct scan_decode *decode)
{
    struct scan_last *last = arg;
    enum err err = scan_decode_runs(decode);

    if (err == ERR_OK && decode->kept > 0)
        err = scan_decode_fields(decode, 1);
    for (uint32_t i = 0; i < decode->asked_count && decode->kept > 0 && err == ERR_OK; i++) {
        const struct scan_field *asked = &decode->asked[i];
        struct scan_last_cell *cells = NULL;
        bool done = false;

        if (asked->values == 0)
            continue;
        err = find_cells(last, asked->column, &cells);
        if (err == ERR_OK)
            err = take_known(last, asked, cells, &done);
        if (err == ERR_OK && !done)
            err = take_field(last, asked->field, cells);
    }
    return err;
}

/* The oldest of the values found, if nothing is missing of what the query lists. (If it lists
 * nothing, an older source may have a field that no newer one has.) */
static int64_t oldest_known(const struct scan_last *last)
{
    uint32_t columns = last->decode->query->field_count;
    int64_t oldest_ns = INT64_MAX;

    if (columns == 0 || columns > last->column_capacity)
        return INT64_MIN;
    for (uint32_t column = 0; column < columns; column++) {
        const struct scan_last_cell *cells = last->cells[column];

        for (uint32_t slot = 0; slot < last->slots; slot++) {
            if (cells == NULL || cells[slot].source == NULL)
                return INT64_MIN;
            oldest_ns = cells[slot].time_ns < oldest_ns ? cells[slot].time_ns : oldest_ns;
        }
    }
    return oldest_ns;
}

/* ---- One by one ---------------------------------------------------------------------------- */

/* Nothing of it is hidden, and the query asks for few fields, each once. */
static bool is_plain(const struct scan_last *last)
{
    const struct scan_decode *decode = last->decode;
    const struct query *query = decode->query;

    if (query->field_count == 0 || last->slots * query->field_count > VALUES_FEW ||
        decode->snapshot->tombstone_count > 0)
        return false;
    for (uint32_t i = 1; i < query->field_count; i++)
        for (uint32_t other = 0; other < i; other++)
            if (strcmp(query->fields[i], query->fields[other]) == 0)
                return false;
    return true;
}

/* One column's newest value of one series, if the block has one. False: decode the block. */
static bool look_for(struct scan_last *last, struct slice table_key, uint32_t column, uint32_t slot)
{
    struct scan_decode *decode = last->decode;
    struct scan_column *of = &decode->columns[column];
    uint32_t id = decode->match->ids[decode->region.lo + slot];
    struct scan_last_cell *cells;
    struct block_newest_value value;
    enum column_newest found = block_newest(&last->block, table_key, id, of->name, &value);

    if (found == COLUMN_NEWEST_NONE)
        return true;
    if (found == COLUMN_NEWEST_ELSE || (of->type != 0 && of->type != value.type) ||
        value.value.time_ns > decode->region.last_ns ||
        find_cells(last, column, &cells) != ERR_OK) /* It will fail again. */
        return false;
    if (value.value.time_ns < decode->region.from_ns ||
        is_older(last, &cells[slot], value.value.time_ns))
        return true;
    of->type = value.type;
    return take_value(last, &cells[slot], value.value.time_ns, value.value.bits, NULL) == ERR_OK;
}

/* What the block has, without decoding it. False: decode it. */
static bool take_block(struct scan_last *last, const struct snapshot_source *source,
                       const struct block_view *view)
{
    struct scan_decode *decode = last->decode;
    struct slice table_key = catalog_view_table_key(decode->snapshot->series, decode->match->table);
    uint32_t columns = decode->query->field_count;
    uint64_t number = (uint64_t)(source - decode->snapshot->sources) + 1;

    if (snapshot_is_gone(decode->snapshot, source, table_key))
        return true;
    if (!is_plain(last) || !block_newest_open(&last->block, number, view))
        return false;
    decode->source = source;
    for (uint32_t i = 0; i < columns * last->slots; i++)
        if (!look_for(last, table_key, i % columns, i / columns))
            return false;
    last->known_ns = oldest_known(last);
    return true;
}

static bool needs_source(void *arg, const struct scan_decode *decode,
                         const struct snapshot_source *source)
{
    struct scan_last *last = arg;
    struct block_view view;

    if (last->slots > FEW)
        return true;
    if (source->time_max_ns <= last->known_ns)
        return false;
    if (source->entry == NULL)
        return true;
    view = block_view_again(source->entry->bytes + source->offset, source->size);
    return block_view_may_have(&view, decode->match->ids + decode->region.lo, last->slots) &&
           !take_block(last, source, &view);
}

/* ---- All ----------------------------------------------------------------------------------- */

static enum err take_some(void *arg, struct scan_decode *decode)
{
    struct scan_last *last = arg;
    enum err err = take_section(last, decode);

    if (err == ERR_OK && last->slots <= FEW && decode->kept > 0)
        last->known_ns = oldest_known(last);
    return err;
}

enum err scan_last_region(struct scan_last *last, const struct scan_region *region)
{
    enum err err;

    forget(last);
    last->slots = region->hi - region->lo;
    last->known_ns = INT64_MIN;
    err = scan_decode_backwards(last->decode, region, needs_source, take_some, last);
    return last->full ? ERR_OK : err;
}

/* ---- Handing out --------------------------------------------------------------------------- */

/* One row of `chunk`, which has room for all columns. False: the series has no value. */
static bool make_row(const struct scan_last *last, uint32_t slot, struct scan_chunk *chunk)
{
    chunk->field_count = 0;
    for (uint32_t column = 0; column < last->column_capacity; column++) {
        const struct scan_last_cell *cells = last->cells[column];
        struct scan_values *values = &chunk->fields[chunk->field_count];

        if (cells == NULL || cells[slot].source == NULL)
            continue;
        if (chunk->field_count == 0 || cells[slot].time_ns > chunk->times_ns[0])
            chunk->times_ns[0] = cells[slot].time_ns;
        values->column = column;
        values->present[0] = 1;
        values->bits[0] = cells[slot].bits;
        values->text = cells[slot].text; /* Lent: taken back below. */
        chunk->field_count++;
    }
    return chunk->field_count > 0;
}

enum err scan_last_run(const struct scan_last *last, scan_merge_cb take, void *arg)
{
    size_t size;
    struct scan_chunk *chunk = scan_collect_new_chunk(1, last->column_capacity, &size);
    enum err err = chunk == NULL ? no_memory() : ERR_OK;

    for (uint32_t slot = 0; slot < last->slots && err == ERR_OK; slot++) {
        if (make_row(last, slot, chunk))
            err = take(arg, last->decode->match->ids[last->decode->region.lo + slot], chunk, 0, 1);
    }
    if (chunk != NULL)
        chunk->field_count = 0;
    scan_collect_free_chunk(chunk);
    return err;
}

void scan_last_tell(const struct scan_last *last, struct last_found *found)
{
    const uint32_t *ids = last->decode->match->ids + last->decode->region.lo;

    for (uint32_t column = 0; column < last->column_capacity && !found->failed; column++) {
        const struct scan_last_cell *cells = last->cells[column];
        const struct scan_column *field = &last->decode->columns[column];

        for (uint32_t slot = 0; cells != NULL && slot < last->slots; slot++) {
            const struct scan_last_cell *cell = &cells[slot];
            struct last_value value = {
                .time_ns = cell->time_ns, .type = field->type, .bits = cell->bits};

            if (cell->source == NULL)
                continue;
            if (field->type == FIELD_STRING)
                value.text = (struct slice){cell->text, (size_t)(cell->bits >> 32)};
            last_found_add(found, ids[slot], field->name, &value);
        }
    }
}
