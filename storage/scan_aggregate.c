#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/scan_hidden.h"
#include "storage/scan_packed.h"
#include "storage/scan_regions.h"
#include "storage/scan_tangle.h"

/* Aggregates of a region:
 *
 *     scan_tangle   which series are tangled, and when: they may need the last word of several
 *                   blocks; of these all times are looked at
 *     straight      added section by section: from the index what it knows of whole chunks, the
 *                   rest column by column, as they are decoded
 *     tangled       collected and merged, in parts that fit the memory
 */

enum { GROUP_NONE = -1, FIELD_NONE = -2 };

struct aggregate_to {
    struct scan_regions *regions;
    struct aggregate *into;
    uint32_t *fields; /* Owned: column -> field of the aggregate, AGGREGATE_SKIP, or FIELD_NONE. */
    uint32_t field_capacity;
    uint32_t *groups;   /* Owned: slot of the region -> group, or GROUP_NONE. */
    uint32_t merged_id; /* The series that scan_merge is at, or CATALOG_NONE. */
    uint32_t merged_group;
    uint32_t tangled;                       /* Series of the region. */
    const struct snapshot_source *split_up; /* Its index does not know all sums. */
    struct scan_packed packed;
    bool has_packed; /* `packed` is of the current section's runs. */
};

/* ---- Groups and fields ---------------------------------------------------------------------- */

static enum err begin_groups(struct aggregate_to *to, const struct scan_region *region)
{
    size_t size = (region->hi - region->lo) * sizeof *to->groups;

    free(to->groups);
    to->groups = malloc(size);
    if (to->groups == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for the groups of %" PRIu32 " series",
                       region->hi - region->lo);
    memset(to->groups, 0xff, size); /* GROUP_NONE */
    return ERR_OK;
}

static enum err find_group(struct aggregate_to *to, uint32_t id, uint32_t *ret_group)
{
    const struct scan_decode *decode = &to->regions->decode;
    const struct query *query = decode->query;
    char room[CATALOG_KEY_ROOM];
    struct slice values[QUERY_TAGS_MAX];
    struct key_parts parts;
    struct slice key;

    if (query->group_count == 0)
        return aggregate_group(to->into, NULL, ret_group);
    key = catalog_view_key(decode->snapshot->series, id, room);
    if (key_parse(key.data, key.size, &parts) != 0)
        return err_set(ERR_CORRUPT, "series %" PRIu32 " has no canonical key", id);
    for (uint32_t i = 0; i < query->group_count; i++)
        values[i] = scan_match_tag(&parts, query->group_by[i]);
    return aggregate_group(to->into, values, ret_group);
}

static enum err find_field(struct aggregate_to *to, uint32_t column, uint32_t *ret_field)
{
    const struct scan_decode *decode = &to->regions->decode;
    enum err err = ERR_OK;

    if (column >= to->field_capacity) {
        uint32_t *fields = realloc(to->fields, decode->column_count * sizeof *fields);

        if (fields == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " fields",
                           decode->column_count);
        for (uint32_t i = to->field_capacity; i < decode->column_count; i++)
            fields[i] = (uint32_t)FIELD_NONE;
        to->fields = fields;
        to->field_capacity = decode->column_count;
    }
    if (to->fields[column] == (uint32_t)FIELD_NONE)
        err = aggregate_field(to->into, decode->columns[column].name, decode->columns[column].type,
                              &to->fields[column]);
    *ret_field = to->fields[column];
    return err;
}

/* ---- What is tangled ------------------------------------------------------------------------ */

/* Takes rows from scan_merge. */
static enum err add_merged(void *arg, uint32_t id, const struct scan_chunk *chunk, uint32_t start,
                           uint32_t rows)
{
    struct aggregate_to *to = arg;
    uint32_t field = AGGREGATE_SKIP;
    enum err err = id == to->merged_id ? ERR_OK : find_group(to, id, &to->merged_group);

    to->merged_id = id;
    aggregate_begin(to->into, chunk->times_ns);
    if (err == ERR_OK)
        err = aggregate_rows(to->into, to->merged_group, start, rows);
    for (uint32_t f = 0; f < chunk->field_count && err == ERR_OK; f++) {
        const struct scan_values *values = &chunk->fields[f];

        err = find_field(to, values->column, &field);
        if (err == ERR_OK && field != AGGREGATE_SKIP)
            err = aggregate_values(to->into, field, values->present, values->bits, values->text);
    }
    return err;
}

/* ---- What is straight ----------------------------------------------------------------------- */

static enum err add_runs(struct aggregate_to *to)
{
    const struct scan_decode *decode = &to->regions->decode;
    enum err err = ERR_OK;

    aggregate_begin(to->into, decode->times_ns);
    to->has_packed = false;
    for (uint32_t i = 0; i < decode->run_count && err == ERR_OK; i++) {
        const struct scan_run *run = &decode->runs[i];
        uint32_t *group = &to->groups[run->slot];

        if (*group == (uint32_t)GROUP_NONE)
            err = find_group(to, decode->match->ids[decode->region.lo + run->slot], group);
        if (err == ERR_OK)
            err = aggregate_rows(to->into, *group, run->start, run->rows);
    }
    return err;
}

static enum err add_field(struct aggregate_to *to, const struct scan_field *asked, uint32_t field)
{
    struct scan_decode *decode = &to->regions->decode;
    bool all = asked->values == decode->section_rows, done = false;
    uint32_t agg = decode->query->agg;
    const char *strings = NULL;
    enum err err = ERR_OK;

    if (all && agg != QUERY_COUNT && !to->has_packed) {
        err = scan_packed_begin(&to->packed, to->into, decode->section_rows);
        to->has_packed = err == ERR_OK;
    }
    if (err == ERR_OK && all && agg != QUERY_COUNT)
        err = scan_packed_add(&to->packed, to->into, &decode->reader, agg, asked->field, field,
                              &done);
    if (err != ERR_OK || done)
        return err;
    if (!all || agg != QUERY_COUNT) /* To count rows, nobody has to look at values. */
        err = section_read_some_values(&decode->reader, asked->field, decode->first_row,
                                       decode->end_row, decode->present, decode->bits, &strings);
    return err == ERR_OK ? aggregate_values(to->into, field, all ? NULL : decode->present,
                                            decode->bits, strings)
                         : err;
}

static enum err add_fields(struct aggregate_to *to)
{
    struct scan_decode *decode = &to->regions->decode;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < decode->asked_count && err == ERR_OK; i++) {
        const struct scan_field *asked = &decode->asked[i];
        uint32_t field = AGGREGATE_SKIP;

        if (asked->values > 0)
            err = find_field(to, asked->column, &field);
        if (err == ERR_OK && field != AGGREGATE_SKIP)
            err = add_field(to, asked, field);
    }
    return err;
}

/* ---- What the index knows ------------------------------------------------------------------- */

/* The first of ascending ids that is at least `id`. */
static uint32_t lower_bound(const uint32_t *ids, uint32_t count, uint32_t id)
{
    uint32_t low = 0;

    while (count > low) {
        uint32_t middle = low + (count - low) / 2;

        if (ids[middle] < id)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* All series between the section's first and last are wanted and straight, and one group. */
static bool is_one_group(const struct aggregate_to *to)
{
    const struct scan_decode *decode = &to->regions->decode;
    const struct section *section = &decode->reader.section;
    const struct scan_region *region = &decode->region;
    const uint32_t *ids = decode->match->ids;
    const uint32_t *first, *end;

    if (decode->query->where_count > 0 || decode->query->group_count > 0 ||
        section->series_min < ids[region->lo] || section->series_max > ids[region->hi - 1])
        return false;
    if (region->only == NULL || to->tangled == 0)
        return true;
    first = ids + region->lo +
            lower_bound(ids + region->lo, region->hi - region->lo, section->series_min);
    end = first + lower_bound(first, (uint32_t)(ids + region->hi - first), section->series_max);
    return memchr(region->only + (first - ids - region->lo), !region->want,
                  (size_t)(end - first) + 1) == NULL;
}

/* Whether the whole section goes into one cell of each field; its group. */
static enum err find_cell(struct aggregate_to *to, bool *ret_one, uint32_t *ret_group)
{
    const struct scan_decode *decode = &to->regions->decode;
    const struct section *section = &decode->reader.section;
    const struct scan_region *region = &decode->region;
    uint32_t slot;
    enum err err;

    *ret_one = false;
    if (!scan_decode_is_whole(decode) ||
        !aggregate_one_window(to->into, section->time_min_ns, section->time_max_ns))
        return ERR_OK;
    if (section->runs > 1 && !is_one_group(to))
        return ERR_OK;
    slot = scan_decode_slot(decode, section->series_min);
    if (slot == region->hi - region->lo)
        return ERR_OK;
    *ret_one = true;
    *ret_group = to->groups[slot];
    if (*ret_group != (uint32_t)GROUP_NONE)
        return ERR_OK;
    err = find_group(to, decode->match->ids[region->lo + slot], &to->groups[slot]);
    *ret_group = to->groups[slot];
    return err;
}

/* The current section goes into one cell: how many do, with those behind it. Of a chunk that is in
 * several series it has to be known that all series are one group, of the others that it is in the
 * series of the first one. */
static uint32_t count_alike(struct aggregate_to *to)
{
    struct scan_decode *decode = &to->regions->decode;
    struct section_reader *reader = &decode->reader;
    const struct section first = reader->section;
    uint32_t at = reader->at, agg = decode->query->agg, next;

    if (agg == QUERY_FIRST || agg == QUERY_LAST || to->split_up == decode->source)
        return 1;
    for (next = at + 1; next < reader->count; next++) {
        const struct section *section = &reader->section;

        section_go(reader, next);
        if (!scan_decode_is_whole(decode) || scan_hidden_some(decode) ||
            !aggregate_one_window(to->into, first.time_min_ns, section->time_min_ns) ||
            !aggregate_one_window(to->into, first.time_min_ns, section->time_max_ns))
            break;
        if ((first.runs > 1 || section->runs > 1 || section->series_min != first.series_min) &&
            !is_one_group(to))
            break;
    }
    section_go(reader, at);
    return next - at;
}

/* All sums of these sections are known. */
static bool has_sums(const struct scan_decode *decode, uint32_t sections)
{
    enum query_agg agg = (enum query_agg)decode->query->agg;

    for (uint32_t i = 0; i < decode->asked_count && (agg == QUERY_SUM || agg == QUERY_MEAN); i++) {
        const struct scan_field *asked = &decode->asked[i];

        for (uint32_t k = 0; k < sections && aggregate_cell_takes(agg, asked->type); k++)
            if (asked->stats[k].count > 0 && asked->stats[k].sum_form == SEGMENT_SUM_NONE)
                return false;
    }
    return true;
}

static uint64_t extreme_of(uint32_t agg, enum field_type type, const struct segment_stats *stats,
                           uint32_t sections)
{
    uint64_t bits[SEGMENT_GROUP_CHUNKS];
    uint32_t count = 0;

    for (uint32_t k = 0; k < sections; k++) {
        bits[count] = agg == QUERY_MIN ? stats[k].min : stats[k].max;
        count += stats[k].count > 0;
    }
    return aggregate_cell_extreme((enum query_agg)agg, type, bits, count);
}

static int128 sum_of(enum field_type type, const struct segment_stats *stats, uint32_t sections)
{
    int128 sum = 0;

    for (uint32_t k = 0; k < sections; k++)
        if (stats[k].count > 0)
            sum += (int128)stats[k].sum *
                   (type == FIELD_FLOAT ? aggregate_sum_unit(stats[k].sum_form) : 1);
    return sum;
}

/* What the index says of a field in these sections, as a cell. False: it has to be decoded. */
static bool make_cell(const struct scan_decode *decode, const struct scan_field *asked,
                      uint32_t sections, struct aggregate_cell *ret_cell)
{
    const struct section *section = &decode->reader.section;
    const struct segment_stats *stats = asked->stats;
    enum field_type type = asked->type;
    uint32_t agg = decode->query->agg;
    struct aggregate_cell cell = {.count = asked->values};

    if (agg == QUERY_MIN || agg == QUERY_MAX) {
        cell.as.bits = extreme_of(agg, type, stats, sections);
    } else if (agg == QUERY_SUM || agg == QUERY_MEAN) {
        if (sections == 1 && stats->sum_form == SEGMENT_SUM_NONE)
            return false;
        cell.as.sum = sum_of(type, stats, sections);
    } else if (agg == QUERY_FIRST || agg == QUERY_LAST) {
        if (section->runs > 1 || stats->count < section->rows || type == FIELD_STRING)
            return false; /* The time of the value is not known, or not the value. */
        cell.as.bits = agg == QUERY_FIRST ? stats->first : stats->last;
        cell.time_ns = agg == QUERY_FIRST ? section->time_min_ns : section->time_max_ns;
    }
    *ret_cell = cell;
    return true;
}

/* Add what the index knows; *ret_left: fields that have to be decoded. */
static enum err add_known(struct aggregate_to *to, uint32_t group, uint32_t sections,
                          uint32_t *ret_left)
{
    struct scan_decode *decode = &to->regions->decode;
    uint32_t left = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < decode->asked_count && err == ERR_OK; i++) {
        struct scan_field *asked = &decode->asked[i];
        struct aggregate_cell cell;
        uint32_t field = AGGREGATE_SKIP;

        if (asked->values == 0)
            continue;
        err = find_field(to, asked->column, &field);
        if (err != ERR_OK || field == AGGREGATE_SKIP)
            continue;
        if (make_cell(decode, asked, sections, &cell)) {
            err = aggregate_part(to->into, group, decode->reader.section.time_min_ns, field, &cell);
            asked->values = 0; /* Done. */
        } else {
            left++;
        }
    }
    *ret_left = left;
    return err;
}

/* The current section and those behind it that go into the same cells. */
static enum err add_whole(struct aggregate_to *to, uint32_t group, uint32_t *ret_left)
{
    struct scan_decode *decode = &to->regions->decode;
    uint32_t sections = count_alike(to);
    enum err err = scan_decode_fields(decode, sections);

    if (err == ERR_OK && sections > 1 && !has_sums(decode, sections)) {
        to->split_up = decode->source; /* Do not look ahead once for each of them. */
        sections = 1;
        err = scan_decode_fields(decode, sections);
    }
    if (err == ERR_OK)
        err = add_known(to, group, sections, ret_left);
    decode->done = sections;
    return err;
}

/* Called by scan_decode_region() for each section. */
static enum err add_section(void *arg, struct scan_decode *decode)
{
    struct aggregate_to *to = arg;
    uint32_t group, left = 1;
    bool one;
    enum err err = find_cell(to, &one, &group);

    if (err == ERR_OK && one)
        err = add_whole(to, group, &left);
    if (err != ERR_OK || left == 0)
        return err;
    err = scan_decode_runs(decode);
    if (err != ERR_OK || decode->kept == 0)
        return err;
    if (!one)
        err = scan_decode_fields(decode, 1);
    if (err == ERR_OK)
        err = scan_decode_times(decode);
    if (err == ERR_OK)
        err = add_runs(to);
    return err == ERR_OK ? add_fields(to) : err;
}

/* ---- A region ------------------------------------------------------------------------------- */

struct look {
    struct aggregate_to *to;
    bool *twice; /* By slot of the whole region, */
    uint32_t lo; /* which begins here. */
};

/* Called by scan_regions_run_part(). */
static enum err look_for_twice(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct look *look = arg;

    return scan_regions_find_twice(look->to->regions, region, look->twice + (region->lo - look->lo),
                                   ret_fit);
}

/* Runs that share time need merging only if they share a row: look at all times there. Only series
 * with such a row stay tangled. */
static enum err untangle(struct aggregate_to *to, const struct scan_region *whole,
                         struct scan_tangle *tangle)
{
    uint32_t slots = whole->hi - whole->lo;
    struct look look = {to, calloc(slots, sizeof *look.twice), whole->lo};
    struct scan_region part = *whole;
    enum err err = ERR_OK;

    if (look.twice == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " series", slots);
    part.only = tangle->tangled;
    part.want = true;
    for (uint32_t i = 0; i < tangle->span_count && err == ERR_OK; i++) {
        part.from_ns = tangle->spans[i].from_ns;
        part.last_ns = tangle->spans[i].last_ns;
        err = scan_regions_run_part(to->regions, &part, SCAN_BY_TIME, look_for_twice, &look);
    }
    free(tangle->tangled);
    tangle->tangled = look.twice;
    tangle->count = 0;
    for (uint32_t i = 0; i < slots; i++)
        tangle->count += look.twice[i];
    return err;
}

/* Called by scan_regions_run_part(). */
static enum err merge_part(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct aggregate_to *to = arg;

    return scan_regions_collect(to->regions, region, add_merged, to, ret_fit);
}

/* Between the spans tangled series are straight, too. */
static enum err add_tangled(struct aggregate_to *to, const struct scan_region *whole,
                            const struct scan_tangle *tangle)
{
    struct scan_region part = *whole;
    enum err err = ERR_OK;

    part.only = tangle->tangled;
    part.want = true;
    for (uint32_t i = 0; i < tangle->span_count && err == ERR_OK; i++) {
        const struct scan_span *span = &tangle->spans[i];

        if (part.from_ns < span->from_ns) {
            part.last_ns = span->from_ns - 1;
            err = scan_decode_region(&to->regions->decode, &part, add_section, to);
        }
        part.from_ns = span->from_ns;
        part.last_ns = span->last_ns;
        if (err == ERR_OK)
            err = scan_regions_run_part(to->regions, &part, SCAN_BY_TIME, merge_part, to);
        if (span->last_ns >= whole->last_ns)
            return err;
        part.from_ns = span->last_ns + 1;
    }
    part.last_ns = whole->last_ns;
    return err == ERR_OK ? scan_decode_region(&to->regions->decode, &part, add_section, to) : err;
}

static enum err add_all(struct aggregate_to *to, const struct scan_region *whole,
                        struct scan_tangle *tangle)
{
    struct scan_region straight = *whole;
    enum err err = begin_groups(to, whole);

    if (err == ERR_OK && tangle->count > 0)
        err = untangle(to, whole, tangle);
    to->tangled = tangle->count;
    straight.only = tangle->tangled;
    straight.want = false;
    if (err == ERR_OK)
        err = scan_decode_region(&to->regions->decode, &straight, add_section, to);
    return err == ERR_OK && tangle->count > 0 ? add_tangled(to, whole, tangle) : err;
}

static enum err add_region(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct aggregate_to *to = arg;
    struct scan_regions *regions = to->regions;
    struct scan_tangle tangle;
    /* Half of the memory is for what is known of each series, half for collected rows. */
    uint64_t budget = regions->limits->memory_bytes / 2;
    uint64_t group_bytes = (uint64_t)(region->hi - region->lo) * sizeof *to->groups;
    enum err err = scan_tangle_find(&tangle, &regions->decode, region,
                                    budget < group_bytes ? 0 : budget - group_bytes);

    regions->collect.budget = budget;
    if (err == ERR_OK && tangle.full)
        *ret_fit = SCAN_TOO_MANY_SERIES;
    else if (err == ERR_OK)
        err = add_all(to, region, &tangle);
    scan_tangle_fini(&tangle);
    return err;
}

enum err scan_aggregate(const struct snapshot *snapshot, const struct query *query,
                        const struct scan_limits *limits, struct aggregate *into)
{
    struct scan_regions regions;
    struct aggregate_to to = {.regions = &regions, .into = into, .merged_id = CATALOG_NONE};
    enum err err = scan_regions_init(&regions, snapshot, query, limits);

    if (err != ERR_OK)
        return err;
    regions.row_size = 0; /* What is tangled is kept; only trying tells how much that is. */
    err = scan_regions_run(&regions, SCAN_BY_TIME, add_region, &to);
    free(to.fields);
    free(to.groups);
    scan_packed_fini(&to.packed);
    scan_regions_fini(&regions);
    return err;
}
