#include "storage/scan_hidden.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lifetime ------------------------------------------------------------------------------ */

enum err scan_decode_init(struct scan_decode *decode, const struct snapshot *snapshot,
                          const struct query *query, const struct scan_limits *limits,
                          const struct scan_match *match)
{
    size_t rows = BLOCK_ROWS_MAX;
    uint32_t asked = query != NULL ? query->field_count : 0;

    *decode = (struct scan_decode){
        .snapshot = snapshot,
        .query = query,
        .limits = limits,
        .match = match,
        .columns = calloc((size_t)asked + 1, sizeof *decode->columns),
        .column_count = asked,
        .column_capacity = asked + 1,
        .runs = malloc(rows * sizeof *decode->runs),
        .times_ns = malloc(rows * sizeof *decode->times_ns),
        .ids = malloc(rows * sizeof *decode->ids),
        .counts = malloc(rows * sizeof *decode->counts),
        .present = malloc(rows * sizeof *decode->present),
        .bits = malloc(rows * sizeof *decode->bits),
    };
    if (decode->columns == NULL || decode->runs == NULL || decode->times_ns == NULL ||
        decode->ids == NULL || decode->counts == NULL || decode->present == NULL ||
        decode->bits == NULL) {
        scan_decode_fini(decode);
        return err_set(ERR_NO_MEMORY, "scan: no memory to decode a block");
    }
    for (uint32_t i = 0; i < asked; i++)
        decode->columns[i].name = (struct slice){query->fields[i], strlen(query->fields[i])};
    return ERR_OK;
}

void scan_decode_fini(struct scan_decode *decode)
{
    free(decode->columns);
    free(decode->runs);
    free(decode->times_ns);
    free(decode->ids);
    free(decode->counts);
    free(decode->present);
    free(decode->bits);
    block_arena_fini(&decode->arena);
    bytes_fini(&decode->name);
    free(decode->asked);
    section_fini(&decode->reader);
    *decode = (struct scan_decode){0};
}

/* ---- Columns ------------------------------------------------------------------------------- */

static enum err add_column(struct scan_decode *decode, uint64_t hash, struct slice name,
                           enum field_type type)
{
    const struct bytes *key = &decode->name;

    if (decode->column_count == decode->column_capacity) {
        uint32_t capacity = 2 * decode->column_capacity;
        struct scan_column *columns = realloc(decode->columns, capacity * sizeof *columns);

        if (columns == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " fields", capacity);
        decode->columns = columns;
        decode->column_capacity = capacity;
    }
    if (!key_map_add(&decode->names, &decode->arena, hash, key->data, key->size))
        return err_set(ERR_NO_MEMORY, "scan: no memory for a field's name");
    /* The name is the end of the key. */
    name.data = decode->names.keys[decode->column_count].data + key->size - name.size;
    decode->columns[decode->column_count++] = (struct scan_column){name, type};
    return ERR_OK;
}

/* In a query that lists its fields: position in the list. */
static uint32_t find_asked(const struct scan_decode *decode, struct slice name)
{
    for (uint32_t i = 0; i < decode->column_count; i++) {
        struct slice asked = decode->columns[i].name;

        if (asked.size == name.size && memcmp(asked.data, name.data, name.size) == 0)
            return i;
    }
    return SCAN_COLUMN_NONE;
}

static enum err find_or_add(struct scan_decode *decode, const struct segment_field *field,
                            uint32_t *ret_column)
{
    struct bytes *key = &decode->name;
    uint64_t hash;

    bytes_clear(key);
    if (decode->query == NULL) {
        struct slice table_key = decode->reader.section.table_key;

        bytes_put(key, table_key.data, table_key.size);
        bytes_put_u8(key, (uint8_t)field->type);
    }
    bytes_put(key, field->name.data, field->name.size);
    if (key->failed)
        return err_set(ERR_NO_MEMORY, "scan: no memory for a field's name");
    hash = key_hash(key->data, key->size);
    *ret_column = key_map_find(&decode->names, hash, key->data, key->size);
    if (*ret_column != KEY_MAP_NONE)
        return ERR_OK;
    *ret_column = decode->column_count;
    return add_column(decode, hash, field->name, field->type);
}

static bool has_list(const struct scan_decode *decode)
{
    return decode->query != NULL && decode->query->field_count > 0;
}

static enum err find_column(struct scan_decode *decode, struct scan_field *asked)
{
    struct segment_field field = section_field(&decode->reader, asked->field);
    struct scan_column *column;
    uint32_t found = SCAN_COLUMN_NONE;

    if (has_list(decode)) {
        found = find_asked(decode, field.name);
    } else {
        enum err err = find_or_add(decode, &field, &found);

        if (err != ERR_OK)
            return err;
    }
    column = &decode->columns[found];
    if (column->type != 0 && column->type != field.type)
        return err_set(ERR_TYPE_CONFLICT, "field %.*s is stored as %s and as %s",
                       (int)column->name.size, column->name.data, field_type_name(column->type),
                       field_type_name(field.type));
    column->type = field.type;
    asked->column = found;
    return ERR_OK;
}

enum err scan_decode_fields(struct scan_decode *decode, uint32_t sections)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < decode->asked_count && err == ERR_OK; i++) {
        struct scan_field *asked = &decode->asked[i];

        err = section_stats(&decode->reader, asked->field, &asked->stats);
        asked->values = 0;
        if (err == ERR_OK && asked->stats == NULL)
            err = section_values(&decode->reader, asked->field, &asked->values);
        for (uint32_t k = 0; k < sections && err == ERR_OK && asked->stats != NULL; k++)
            asked->values += asked->stats[k].count;
        if (err == ERR_OK && asked->values > 0 && asked->column == SCAN_COLUMN_NONE)
            err = find_column(decode, asked);
    }
    return err;
}

/* The fields of the section that are asked for; sections of one table share them. */
static enum err list_asked(struct scan_decode *decode)
{
    struct section_reader *reader = &decode->reader;
    uint32_t fields = reader->section.fields;

    if (reader->table != NULL && reader->table == decode->asked_of)
        return ERR_OK;
    decode->asked_count = 0;
    decode->asked_of = NULL;
    if (fields > decode->asked_capacity) {
        struct scan_field *asked = realloc(decode->asked, fields * sizeof *asked);

        if (asked == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " fields", fields);
        decode->asked = asked;
        decode->asked_capacity = fields;
    }
    for (uint32_t i = 0; i < fields; i++) {
        struct segment_field field = section_field(reader, i);

        if (has_list(decode) && find_asked(decode, field.name) == SCAN_COLUMN_NONE)
            continue;
        decode->asked[decode->asked_count++] =
            (struct scan_field){.field = i, .column = SCAN_COLUMN_NONE, .type = field.type};
    }
    decode->asked_of = reader->table;
    return ERR_OK;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

/* Position in the region of an id, or hi - lo. Ids come in ascending order but for a few, so the
 * search goes on from the last hit in doubling leaps. */
static uint32_t find_slot(const struct scan_decode *decode, uint32_t id, uint32_t *cursor)
{
    const uint32_t *ids = decode->match->ids + decode->region.lo;
    uint32_t count = decode->region.hi - decode->region.lo;
    uint32_t low = *cursor, high, step = 1;

    if (low > 0 && ids[low - 1] >= id)
        low = 0;
    while (low + step < count && ids[low + step] <= id) {
        low += step;
        step *= 2;
    }
    high = low + step < count ? low + step : count;
    while (high - low > 1) { /* ids[low] <= id < ids[high], if id is in at all */
        uint32_t middle = low + (high - low) / 2;

        if (ids[middle] <= id)
            low = middle;
        else
            high = middle;
    }
    if (low >= count || ids[low] != id)
        return count;
    *cursor = low;
    return low;
}

uint32_t scan_decode_find_time(const int64_t *times_ns, uint32_t rows, int64_t time_ns)
{
    uint32_t low = 0;

    while (rows > low) {
        uint32_t middle = low + (rows - low) / 2;

        if (times_ns[middle] < time_ns)
            low = middle + 1;
        else
            rows = middle;
    }
    return low;
}

/* Cut a series' rows where the time does not grow (the sender put them so: the later wins), and
 * keep what lies in the region's time. */
static void add_runs(struct scan_decode *decode, uint32_t slot, uint32_t start, uint32_t rows)
{
    for (uint32_t at = start, end = start + rows; at < end;) {
        const int64_t *times_ns = decode->times_ns + at;
        uint32_t length = 1, first = 0, behind;

        while (at + length < end && times_ns[length] > times_ns[length - 1])
            length++;
        behind = length;
        if (times_ns[0] < decode->region.from_ns)
            first = scan_decode_find_time(times_ns, length, decode->region.from_ns);
        if (times_ns[length - 1] > decode->region.last_ns)
            behind = scan_decode_find_time(times_ns, length, decode->region.last_ns + 1);
        if (behind > first) {
            decode->runs[decode->run_count++] = (struct scan_run){
                slot, at + first, behind - first, times_ns[first], times_ns[behind - 1]};
            decode->kept += behind - first;
        }
        at += length;
    }
}

/* The slot of a series, or hi - lo if the region does not have it. */
static uint32_t wanted_slot(const struct scan_decode *decode, uint32_t id, uint32_t *cursor)
{
    const struct scan_region *region = &decode->region;
    uint32_t count = region->hi - region->lo;
    uint32_t slot = find_slot(decode, id, cursor);

    return slot < count && region->only != NULL && region->only[slot] != region->want ? count
                                                                                      : slot;
}

uint32_t scan_decode_slot(const struct scan_decode *decode, uint32_t id)
{
    uint32_t cursor = 0;

    return wanted_slot(decode, id, &cursor);
}

/* Whether any run is of a series in the region; `ids` become slots. */
static bool find_slots(struct scan_decode *decode)
{
    const uint32_t *ids = decode->match->ids;
    uint32_t count = decode->region.hi - decode->region.lo, cursor = 0;
    uint32_t first = ids[decode->region.lo], range = ids[decode->region.hi - 1] - first;
    bool found = false;

    for (uint32_t i = 0; i < decode->reader.section.runs; i++) {
        uint32_t id = decode->ids[i];

        /* Of a large block most series are none of a small region's. */
        decode->ids[i] = id - first > range ? count : wanted_slot(decode, id, &cursor);
        found |= decode->ids[i] < count;
    }
    return found;
}

bool scan_decode_is_whole(const struct scan_decode *decode)
{
    const struct section *section = &decode->reader.section;

    return section->is_sorted && section->time_min_ns >= decode->region.from_ns &&
           section->time_max_ns <= decode->region.last_ns;
}

static void take_one_run(struct scan_decode *decode)
{
    const struct section *section = &decode->reader.section;
    uint32_t slot = scan_decode_slot(decode, section->series_min);

    if (slot == decode->region.hi - decode->region.lo)
        return;
    decode->runs[decode->run_count++] =
        (struct scan_run){slot, 0, section->rows, section->time_min_ns, section->time_max_ns};
    decode->kept = section->rows;
}

enum err scan_decode_times(struct scan_decode *decode)
{
    enum err err = ERR_OK;

    if (!decode->has_times)
        err = section_read_times(&decode->reader, decode->times_ns);
    decode->has_times |= err == ERR_OK;
    return err;
}

/* From the first to the last run of a series in the region, some of which there are. */
static enum err read_wanted_times(struct scan_decode *decode)
{
    uint32_t count = decode->region.hi - decode->region.lo;
    uint32_t first = UINT32_MAX, end = 0, row = 0;
    enum err err;

    for (uint32_t i = 0; i < decode->reader.section.runs; i++) {
        bool wanted = decode->ids[i] < count;

        if (wanted && first == UINT32_MAX) {
            first = i;
            decode->first_row = row;
        }
        row += decode->counts[i];
        if (wanted) {
            end = i + 1;
            decode->end_row = row;
        }
    }
    err = section_read_some_times(&decode->reader, first, end, decode->times_ns);
    decode->has_times = err == ERR_OK;
    return err;
}

enum err scan_decode_runs(struct scan_decode *decode)
{
    const struct section *section = &decode->reader.section;
    uint32_t count = decode->region.hi - decode->region.lo;
    enum err err;

    if (section->runs == 1 && scan_decode_is_whole(decode)) {
        take_one_run(decode);
        return ERR_OK;
    }
    err = section_read_runs(&decode->reader, decode->ids, decode->counts);
    if (err != ERR_OK || !find_slots(decode))
        return err;
    err = read_wanted_times(decode);
    for (uint32_t i = 0, start = 0; i < section->runs && err == ERR_OK; i++) {
        if (decode->ids[i] < count)
            add_runs(decode, decode->ids[i], start, decode->counts[i]);
        start += decode->counts[i];
    }
    return err == ERR_OK && decode->kept > 0 ? scan_hidden_cut(decode) : err;
}

/* ---- Sources ------------------------------------------------------------------------------- */

bool scan_decode_overlaps(const struct scan_decode *decode, const struct scan_region *region,
                          const struct snapshot_source *source)
{
    uint32_t table = decode->match->table;

    if (source->rows == 0 || region->lo >= region->hi)
        return false;
    if (table != CATALOG_NONE && (source->table_min > table || source->table_max < table))
        return false;
    return source->series_min <= decode->match->ids[region->hi - 1] &&
           source->series_max >= decode->match->ids[region->lo] &&
           source->time_min_ns <= region->last_ns && source->time_max_ns >= region->from_ns;
}

/* Is the section of the query's table, and does it overlap? (Series that match are all of that
 * table, so this saves work only.) */
static bool is_wanted(const struct scan_decode *decode, struct slice table_key)
{
    const struct section *section = &decode->reader.section;
    const struct scan_region *region = &decode->region;

    if (decode->query != NULL &&
        (section->table_key.size != table_key.size ||
         memcmp(section->table_key.data, table_key.data, table_key.size) != 0))
        return false;
    return section->series_min <= decode->match->ids[region->hi - 1] &&
           section->series_max >= decode->match->ids[region->lo] &&
           section->time_min_ns <= region->last_ns && section->time_max_ns >= region->from_ns;
}

static bool is_gone(const struct scan_decode *decode)
{
    return snapshot_is_gone(decode->snapshot, decode->source, decode->reader.section.table_key);
}

static enum err decode_sections(struct scan_decode *decode, scan_decode_cb callback, void *arg)
{
    struct slice table_key = {"", 0};
    enum err err = ERR_OK;

    if (decode->match->table != CATALOG_NONE)
        table_key = catalog_view_table_key(decode->snapshot->series, decode->match->table);
    for (uint32_t i = 0; i < decode->reader.count && err == ERR_OK; i += decode->done) {
        section_go(&decode->reader, i);
        decode->done = 1;
        if (!is_wanted(decode, table_key) || is_gone(decode))
            continue;
        if (scan_hidden_some(decode))
            decode->reader.section.is_sorted = false; /* The index knows of more than is there. */
        err = list_asked(decode);
        decode->run_count = 0;
        decode->kept = 0;
        decode->has_times = false;
        decode->section_rows = decode->reader.section.rows;
        decode->first_row = 0;
        decode->end_row = decode->section_rows;
        if (err == ERR_OK && decode->asked_count > 0)
            err = callback(arg, decode);
    }
    return err;
}

static enum err decode_source(struct scan_decode *decode, scan_decode_cb callback, void *arg)
{
    enum err err = section_open(&decode->reader, decode->source, decode->snapshot->series);

    if (err == ERR_OK)
        err = decode_sections(decode, callback, arg);
    if (err != ERR_CORRUPT || decode->source->segment != NULL)
        return err; /* A segment has named file and offset. */
    return err_wrap(err, "head block of %" PRIu32 " rows, number %zu of the snapshot",
                    decode->source->rows, (size_t)(decode->source - decode->snapshot->sources));
}

enum err scan_decode_region(struct scan_decode *decode, const struct scan_region *region,
                            scan_decode_cb section, void *arg)
{
    decode->region = *region;
    for (uint32_t i = 0; i < decode->snapshot->source_count; i++) {
        enum err err;

        decode->source = &decode->snapshot->sources[i];
        if ((region->pass != NULL && region->pass[i]) ||
            !scan_decode_overlaps(decode, region, decode->source))
            continue;
        err = scan_check(decode->limits);
        if (err == ERR_OK)
            err = decode_source(decode, section, arg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err scan_decode_backwards(struct scan_decode *decode, const struct scan_region *region,
                               scan_decode_needs needs, scan_decode_cb section, void *arg)
{
    decode->region = *region;
    for (uint32_t i = decode->snapshot->source_count; i-- > 0;) {
        const struct snapshot_source *source = &decode->snapshot->sources[i];
        enum err err;

        if (!scan_decode_overlaps(decode, region, source) || !needs(arg, decode, source))
            continue;
        decode->source = source;
        err = scan_check(decode->limits);
        if (err == ERR_OK)
            err = decode_source(decode, section, arg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
