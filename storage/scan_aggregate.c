#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/scan_regions.h"
#include "storage/scan_tangle.h"

/* Aggregates of a region:
 *
 *     scan_tangle   which series are tangled: they need the last word of several blocks
 *     tangled       collected and merged, if they fit the memory; nothing was added before
 *     straight      added block by block, column by column, as they are decoded
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
    struct slice key = catalog_view_key(decode->snapshot->series, id, room);
    struct slice values[QUERY_TAGS_MAX];
    struct key_parts parts;

    if (query->group_count > 0 && key_parse(key.data, key.size, &parts) != 0)
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

/* Called by scan_decode_region() for each section. */
static enum err add_section(void *arg, struct scan_decode *decode)
{
    struct aggregate_to *to = arg;
    enum err err = scan_decode_fields(decode);

    if (err == ERR_OK)
        err = scan_decode_times(decode);
    if (err == ERR_OK)
        err = add_runs(to);
    for (uint32_t i = 0; i < decode->asked_count && err == ERR_OK; i++) {
        const struct scan_field *asked = &decode->asked[i];
        const char *strings = NULL;
        uint32_t field = AGGREGATE_SKIP;

        if (asked->values > 0)
            err = find_field(to, asked->column, &field);
        if (err != ERR_OK || field == AGGREGATE_SKIP)
            continue;
        err = section_read_field(&decode->reader, asked->field, decode->present, decode->bits,
                                 &strings);
        if (err == ERR_OK)
            err = aggregate_values(to->into, field,
                                   asked->values == decode->section_rows ? NULL : decode->present,
                                   decode->bits, strings);
    }
    return err;
}

/* ---- A region ------------------------------------------------------------------------------- */

static enum err add_region(void *arg, const struct scan_region *whole, enum scan_fit *ret_fit)
{
    struct aggregate_to *to = arg;
    struct scan_regions *regions = to->regions;
    struct scan_region region = *whole;
    struct scan_tangle tangle;
    /* Half of the memory is for what is known of each series, half for collected rows. */
    uint64_t budget = regions->limits->memory_bytes / 2;
    uint64_t group_bytes = (uint64_t)(whole->hi - whole->lo) * sizeof *to->groups;
    enum err err = scan_tangle_find(&tangle, &regions->decode, whole,
                                    budget < group_bytes ? 0 : budget - group_bytes);

    if (err == ERR_OK && tangle.full)
        *ret_fit = SCAN_TOO_MANY_SERIES;
    if (err == ERR_OK && !tangle.full)
        err = begin_groups(to, whole);
    region.only = tangle.tangled;
    region.want = true;
    if (err == ERR_OK && tangle.count > 0) {
        regions->collect.budget = budget;
        err = scan_regions_collect(regions, &region, add_merged, to, ret_fit);
    }
    region.want = false;
    if (err == ERR_OK && *ret_fit == SCAN_FITS)
        err = scan_decode_region(&regions->decode, &region, add_section, to);
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
    scan_regions_fini(&regions);
    return err;
}
