#include "storage/scan_labels.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/key_map.h"
#include "storage/catalog_run.h"
#include "storage/scan_match.h"

enum {
    SERIES_A_CHECK = 4096, /* Between looks at the clock. */
    BATCH_BYTES = 1 << 20,
    BATCH_ROWS = 1 << 16,
};

struct labels {
    const struct catalog_view *view;
    const struct query *query;
    const struct scan_limits *limits;
    scan_batch_cb take;
    void *arg;
    struct scan_match match;
    struct block_arena arena; /* Of `texts`. */
    struct key_map texts;     /* Labels or values, once each. */
    struct columns columns;   /* The batch. */
    uint64_t bytes_left, rows_left;
};

/* ---- Batches ------------------------------------------------------------------------------- */

static enum err flush(struct labels *labels)
{
    size_t bytes = columns_bytes(&labels->columns);
    enum err err;

    if (labels->columns.rows == 0)
        return ERR_OK;
    if (bytes > labels->bytes_left)
        return err_set(ERR_LIMIT, "the answer takes over %" PRIu64 " bytes: add conditions",
                       labels->limits->result_bytes);
    labels->bytes_left -= bytes;
    err = labels->take(labels->arg, &labels->columns);
    columns_fini(&labels->columns);
    return err;
}

/* Begin a row. ERR_END: there are as many as were asked for. */
static enum err begin_row(struct labels *labels)
{
    enum err err = ERR_OK;

    if (labels->rows_left == 0)
        return ERR_END;
    labels->rows_left--;
    if (labels->columns.rows >= BATCH_ROWS ||
        (labels->columns.rows % 256 == 255 && columns_bytes(&labels->columns) >= BATCH_BYTES))
        err = flush(labels);
    return err == ERR_OK ? columns_row(&labels->columns) : err;
}

static enum err put_tag(struct labels *labels, struct slice name, struct slice value)
{
    uint32_t at = 0;
    enum err err = columns_column(&labels->columns, name, COLUMN_TAG, FIELD_STRING, &at);

    return err == ERR_OK ? columns_set_string(&labels->columns, at, value.data, value.size) : err;
}

/* ---- Labels and values --------------------------------------------------------------------- */

static enum err add_text(struct labels *labels, struct slice text)
{
    uint64_t hash = key_hash(text.data, text.size);

    if (key_map_find(&labels->texts, hash, text.data, text.size) != KEY_MAP_NONE)
        return ERR_OK;
    if (labels->arena.used + text.size > labels->limits->memory_bytes)
        return err_set(ERR_LIMIT,
                       "%u labels or values take over the %" PRIu64
                       " bytes that a query may use: add conditions, or raise the limit",
                       labels->texts.count, labels->limits->memory_bytes);
    return key_map_add(&labels->texts, &labels->arena, hash, text.data, text.size)
               ? ERR_OK
               : err_set(ERR_NO_MEMORY, "scan: no memory for %u labels", labels->texts.count);
}

static bool is_asked(const struct labels *labels, struct slice name)
{
    const char *asked = labels->query->fields[0];

    return name.size == strlen(asked) && memcmp(name.data, asked, name.size) == 0;
}

static enum err add_key(struct labels *labels, uint32_t id)
{
    char room[CATALOG_KEY_ROOM];
    struct slice key = catalog_view_key(labels->view, id, room);
    struct key_parts parts;
    enum err err = ERR_OK;

    if (key_parse(key.data, key.size, &parts) != 0)
        return err_set(ERR_CORRUPT, "series %" PRIu32 " has no canonical key", id);
    for (size_t i = 0; i < parts.tag_count && err == ERR_OK; i++) {
        if (labels->query->about == QUERY_LABELS)
            err = add_text(labels, parts.tags[i].name);
        else if (is_asked(labels, parts.tags[i].name))
            err = add_text(labels, parts.tags[i].value);
    }
    return err;
}

static enum err add_shape(struct labels *labels, const struct catalog_run *run, uint32_t shape)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < run->shapes[shape].tags && err == ERR_OK; i++)
        err = add_text(labels, run->names[run->shapes[shape].names[i]].name);
    return err;
}

/* The labels of the marked shapes; of all, if `marks` is NULL. */
static enum err add_shapes(struct labels *labels, const struct catalog_run *run,
                           const uint8_t *marks)
{
    enum err err = ERR_OK;

    for (uint32_t shape = 0; shape < run->header.shapes && err == ERR_OK; shape++)
        if (marks == NULL || marks[shape])
            err = add_shape(labels, run, shape);
    return err;
}

/* The values of the marked ranks; all of them, if `marks` is NULL. */
static enum err add_values(struct labels *labels, const struct catalog_values *values,
                           const uint8_t *marks)
{
    struct catalog_values_walk walk;
    struct slice value;
    enum err err = ERR_OK;

    catalog_values_seek(&walk, values, 0);
    for (uint32_t rank = 0; err == ERR_OK && catalog_values_next(&walk, &value); rank++) {
        if (rank % SERIES_A_CHECK == 0)
            err = scan_check(labels->limits);
        if (err == ERR_OK && (marks == NULL || marks[rank]))
            err = add_text(labels, value);
    }
    return err;
}

/* Mark the shapes of some series of a run, and the ranks that they have of a name. */
static enum err mark(struct labels *labels, const struct catalog_run *run, uint32_t name,
                     const uint32_t *ids, uint32_t count, uint8_t *shapes, uint8_t *ranks)
{
    for (uint32_t i = 0; i < count; i++) {
        struct catalog_codes codes;

        if (i % SERIES_A_CHECK == 0) {
            enum err err = scan_check(labels->limits);

            if (err != ERR_OK)
                return err;
        }
        if (!catalog_run_codes(run, ids[i] - run->header.first, &codes))
            return err_set(ERR_CORRUPT,
                           "the catalog has good checksums and wrong bytes at series %u", ids[i]);
        shapes[codes.shape - run->shapes] = 1;
        for (uint32_t tag = 0; tag < codes.shape->tags; tag++) {
            if (codes.shape->names[tag] == name)
                ranks[codes.ranks[tag]] = 1;
        }
    }
    return ERR_OK;
}

static enum err add_run(struct labels *labels, const struct catalog_run *run, const uint32_t *ids,
                        uint32_t count)
{
    bool labels_asked = labels->query->about == QUERY_LABELS;
    uint32_t name = 0, values;
    uint8_t *marks;
    enum err err;

    while (name < run->header.names && (labels_asked || !is_asked(labels, run->names[name].name)))
        name++;
    if (!labels_asked && name == run->header.names)
        return ERR_OK; /* Nobody here has it. */
    values = labels_asked ? 0 : run->names[name].values.count;
    if (count == run->header.count) /* All shapes and values: each is of some series. */
        return labels_asked ? add_shapes(labels, run, NULL)
                            : add_values(labels, &run->names[name].values, NULL);
    marks = calloc((size_t)run->header.shapes + values + 1, 1);
    if (marks == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for %u values", values);
    err = mark(labels, run, name, ids, count, marks, marks + run->header.shapes);
    if (err == ERR_OK)
        err = labels_asked
                  ? add_shapes(labels, run, marks)
                  : add_values(labels, &run->names[name].values, marks + run->header.shapes);
    free(marks);
    return err;
}

static enum err gather_texts(struct labels *labels)
{
    uint32_t count = 0, at = 0;
    const struct catalog_part *parts = catalog_view_parts(labels->view, &count);
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        uint32_t end = i + 1 < count ? parts[i + 1].first : labels->view->count;
        uint32_t first = at;

        while (at < labels->match.count && labels->match.ids[at] < end)
            at++;
        if (parts[i].run != NULL)
            err = add_run(labels, parts[i].run, labels->match.ids + first, at - first);
        for (; parts[i].run == NULL && first < at && err == ERR_OK; first++)
            err = add_key(labels, labels->match.ids[first]);
    }
    return err;
}

static enum err put_texts(struct labels *labels)
{
    const char *text = labels->query->about == QUERY_LABELS ? "label" : labels->query->fields[0];
    struct slice name = {text, strlen(text)};
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < labels->texts.count && err == ERR_OK; i++) {
        err = begin_row(labels);
        if (err == ERR_OK)
            err = put_tag(labels, name, labels->texts.keys[i]);
    }
    return err;
}

/* ---- Series -------------------------------------------------------------------------------- */

static enum err put_series(struct labels *labels, uint32_t id)
{
    char room[CATALOG_KEY_ROOM];
    struct slice key = catalog_view_key(labels->view, id, room);
    struct key_parts parts;
    enum err err = begin_row(labels);

    if (err == ERR_OK && key_parse(key.data, key.size, &parts) != 0)
        err = err_set(ERR_CORRUPT, "series %" PRIu32 " has no canonical key", id);
    for (size_t i = 0; err == ERR_OK && i < parts.tag_count; i++)
        err = put_tag(labels, parts.tags[i].name, parts.tags[i].value);
    return err;
}

static enum err put_all_series(struct labels *labels)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < labels->match.count && err == ERR_OK; i++) {
        if (i % SERIES_A_CHECK == 0)
            err = scan_check(labels->limits);
        if (err == ERR_OK)
            err = put_series(labels, labels->match.ids[i]);
    }
    return err;
}

static enum err put_matching(struct labels *labels)
{
    enum err err = scan_match_find(labels->view, labels->query, labels->limits, &labels->match);

    if (err == ERR_OK && labels->query->about == QUERY_SERIES)
        return put_all_series(labels);
    if (err == ERR_OK)
        err = gather_texts(labels);
    return err == ERR_OK ? put_texts(labels) : err;
}

/* ---- Tables -------------------------------------------------------------------------------- */

static enum err put_tables(struct labels *labels)
{
    struct slice database = {labels->query->database, strlen(labels->query->database)};
    enum err err = ERR_OK;

    for (uint32_t table = 0; table < labels->view->tables && err == ERR_OK; table++) {
        struct slice key = catalog_view_table_key(labels->view, table);
        struct key_parts parts;

        if (table % SERIES_A_CHECK == 0)
            err = scan_check(labels->limits);
        if (err == ERR_OK && key_parse(key.data, key.size, &parts) != 0)
            err = err_set(ERR_CORRUPT, "table %" PRIu32 " has no canonical key", table);
        if (err != ERR_OK || parts.database.size != database.size ||
            memcmp(parts.database.data, database.data, database.size) != 0)
            continue;
        err = begin_row(labels);
        if (err == ERR_OK)
            err = put_tag(labels, (struct slice){"table", 5}, parts.table);
    }
    return err;
}

/* ---- All ----------------------------------------------------------------------------------- */

enum err scan_labels(const struct snapshot *snapshot, const struct query *query,
                     const struct scan_limits *limits, scan_batch_cb batch, void *arg)
{
    struct labels labels = {
        .view = snapshot->series,
        .query = query,
        .limits = limits,
        .take = batch,
        .arg = arg,
        .bytes_left = limits->result_bytes,
        .rows_left = query->limit > 0 ? query->limit : UINT64_MAX,
    };
    enum err err;

    if (query->about == QUERY_VALUES && query->field_count != 1)
        return err_set(ERR_INVALID, "values of %u labels: name one", query->field_count);
    if (query->about == QUERY_TABLES)
        err = put_tables(&labels);
    else
        err = put_matching(&labels);
    if (err == ERR_OK || err == ERR_END)
        err = flush(&labels);
    columns_fini(&labels.columns);
    block_arena_fini(&labels.arena);
    scan_match_fini(&labels.match);
    return err;
}
