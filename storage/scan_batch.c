#include "storage/scan_batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum {
    CELL_SIZE = sizeof(uint64_t) + 1,
    SERIES_AHEAD = 1024, /* Series whose tags are learned together. */
};

void scan_batch_init(struct scan_batch *batch, const struct scan_decode *decode, scan_batch_cb take,
                     void *arg)
{
    uint64_t limit = decode->query->limit;

    *batch = (struct scan_batch){
        .decode = decode,
        .take = take,
        .arg = arg,
        .rows_left = limit == 0 ? UINT64_MAX : limit,
        .bytes_left = decode->limits->result_bytes,
        .page_left = decode->query->page.on ? decode->limits->page_bytes : UINT64_MAX,
        .next = {.series = QUERY_PLACE_END},
        .id = CATALOG_NONE,
    };
}

void scan_batch_fini(struct scan_batch *batch)
{
    columns_fini(&batch->columns);
    block_arena_fini(&batch->arena);
    free(batch->field_at);
    batch->field_at = NULL;
}

/* ---- Batches ------------------------------------------------------------------------------- */

enum err scan_batch_flush(struct scan_batch *batch)
{
    size_t size = batch->size;
    enum err err;

    batch->size = 0;
    batch->tags_stand = batch->begun = false;
    if (batch->columns.rows == 0)
        return ERR_OK;
    if (size > batch->bytes_left)
        return err_set(ERR_LIMIT,
                       "the result is larger than %" PRIu64 " bytes: ask for a shorter time, fewer "
                       "fields or series, or set a limit of rows",
                       batch->decode->limits->result_bytes);
    batch->bytes_left -= size;
    batch->page_left -= size < batch->page_left ? size : batch->page_left;
    err = scan_check(batch->decode->limits); /* A source may make many batches. */
    if (err == ERR_OK)
        err = batch->take(batch->arg, &batch->columns);
    columns_clear(&batch->columns);
    return err;
}

/* The column of the batch for a column of the scan. */
static enum err find_field(struct scan_batch *batch, uint32_t column, uint32_t *ret_at)
{
    const struct scan_decode *decode = batch->decode;
    enum err err = ERR_OK;

    if (column >= batch->field_capacity) {
        uint32_t *field_at = realloc(batch->field_at, decode->column_count * sizeof *field_at);

        if (field_at == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for a result's columns");
        for (uint32_t i = batch->field_capacity; i < decode->column_count; i++)
            field_at[i] = SCAN_COLUMN_NONE;
        batch->field_at = field_at;
        batch->field_capacity = decode->column_count;
    }
    if (batch->field_at[column] == SCAN_COLUMN_NONE)
        err = columns_column(&batch->columns, decode->columns[column].name, COLUMN_FIELD,
                             decode->columns[column].type, &batch->field_at[column]);
    *ret_at = batch->field_at[column];
    return err;
}

/* The columns of the batch before are all that are known of by now. */
static bool has_all_columns(const struct scan_batch *batch)
{
    uint32_t known = 0;

    for (uint32_t i = 0; i < batch->decode->column_count; i++)
        known += batch->decode->columns[i].type != 0;
    return batch->columns.count > 0 && batch->tag_columns == batch->tags.count &&
           batch->columns.count == 1 + batch->tag_columns + known;
}

static enum err begin(struct scan_batch *batch)
{
    uint32_t at;
    enum err err;

    batch->begun = true;
    if (has_all_columns(batch))
        return ERR_OK;
    columns_fini(&batch->columns);
    err = columns_column(&batch->columns, (struct slice){"time", 4}, COLUMN_TIME, FIELD_INT, &at);

    batch->tag_columns = batch->tags.count;
    for (uint32_t i = 0; i < batch->tags.count && err == ERR_OK; i++) {
        err = columns_column(&batch->columns, batch->tags.keys[i], COLUMN_TAG, FIELD_STRING, &at);
        DCHECK(err != ERR_OK || at == 1 + i);
    }
    for (uint32_t i = 0; i < batch->field_capacity; i++)
        batch->field_at[i] = SCAN_COLUMN_NONE;
    for (uint32_t i = 0; i < batch->decode->column_count && err == ERR_OK; i++) {
        if (batch->decode->columns[i].type != 0)
            err = find_field(batch, i, &at);
    }
    return err;
}

/* ---- Series -------------------------------------------------------------------------------- */

static enum err parse_series(const struct scan_batch *batch, uint32_t id, char *room,
                             struct key_parts *parts)
{
    struct slice key = catalog_view_key(batch->decode->snapshot->series, id, room);

    if (key_parse(key.data, key.size, parts) != 0)
        return err_set(ERR_CORRUPT, "series %" PRIu32 " has no canonical key", id);
    return ERR_OK;
}

/* Number the tags of a series; *ret_news if there was one without a number. */
static enum err number_tags(struct scan_batch *batch, const struct key_parts *parts,
                            uint32_t *ret_numbers, bool *ret_news)
{
    for (size_t i = 0; i < parts->tag_count; i++) {
        struct slice name = parts->tags[i].name;
        uint64_t hash = key_hash(name.data, name.size);

        ret_numbers[i] = key_map_find(&batch->tags, hash, name.data, name.size);
        if (ret_numbers[i] != KEY_MAP_NONE)
            continue;
        ret_numbers[i] = batch->tags.count;
        if (!key_map_add(&batch->tags, &batch->arena, hash, name.data, name.size))
            return err_set(ERR_NO_MEMORY, "scan: no memory for a tag's name");
        *ret_news = true;
    }
    return ERR_OK;
}

/* New tags mean a new batch, so learn those of the next series at the same time. */
static enum err look_ahead(struct scan_batch *batch, uint32_t id)
{
    const struct scan_match *match = batch->decode->match;
    uint32_t low = 0, high = match->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (match->ids[middle] <= id)
            low = middle + 1;
        else
            high = middle;
    }
    for (uint32_t i = low; i < match->count && i - low < SERIES_AHEAD; i++) {
        uint32_t numbers[TAG_COUNT_MAX];
        char room[CATALOG_KEY_ROOM];
        struct key_parts parts;
        bool news;
        enum err err = parse_series(batch, match->ids[i], room, &parts);

        if (err == ERR_OK)
            err = number_tags(batch, &parts, numbers, &news);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err begin_series(struct scan_batch *batch, uint32_t id)
{
    bool news = false;
    enum err err = parse_series(batch, id, batch->key, &batch->parts);

    if (err == ERR_OK)
        err = number_tags(batch, &batch->parts, batch->tag_numbers, &news);
    if (err == ERR_OK && news)
        err = look_ahead(batch, id);
    batch->id = id;
    batch->tags_stand = false;
    return err;
}

/* The batch has a column for each tag of the current series. */
static bool has_tag_columns(const struct scan_batch *batch)
{
    for (size_t i = 0; i < batch->parts.tag_count; i++) {
        if (batch->tag_numbers[i] >= batch->tag_columns)
            return false;
    }
    return batch->begun;
}

/* Write the tags of the last `rows` rows. Each value stands in a batch once for each series. */
static enum err put_tags(struct scan_batch *batch, uint32_t rows)
{
    for (size_t i = 0; i < batch->parts.tag_count; i++) {
        struct slice value = batch->parts.tags[i].value;
        uint32_t at = 1 + batch->tag_numbers[i], last = batch->columns.rows - 1;
        struct column *column = &batch->columns.columns[at];

        if (!batch->tags_stand) {
            enum err err = columns_set_string(&batch->columns, at, value.data, value.size);

            if (err != ERR_OK)
                return err;
            batch->tag_bits[i] = column->values[last];
            batch->size += value.size;
        }
        for (uint32_t row = last + 1 - rows; row <= last; row++) {
            column->values[row] = batch->tag_bits[i];
            column->present[row] = 1;
        }
    }
    batch->tags_stand = true;
    return ERR_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static enum err put_strings(struct scan_batch *batch, struct column *column,
                            const struct scan_values *values, uint32_t start, uint32_t rows)
{
    uint32_t first = batch->columns.rows - rows;
    size_t before = column->text.size;

    for (uint32_t i = 0; i < rows; i++) {
        uint64_t bits = values->bits[start + i];
        uint32_t length = (uint32_t)(bits >> 32);

        column->values[first + i] = 0;
        if (!values->present[start + i])
            continue;
        column->values[first + i] = (uint64_t)length << 32 | column->text.size;
        bytes_put(&column->text, values->text + (uint32_t)bits, length);
        if (column->text.failed || column->text.size > UINT32_MAX)
            return err_set(ERR_NO_MEMORY, "scan: no memory for strings of field %s", column->name);
    }
    batch->size += column->text.size - before;
    return ERR_OK;
}

/* The columns of the chunk's fields, some of which may be new. */
static enum err find_fields(struct scan_batch *batch, const struct scan_chunk *chunk)
{
    enum err err = ERR_OK;

    for (uint32_t f = 0; f < chunk->field_count && err == ERR_OK; f++) {
        uint32_t at;

        err = find_field(batch, chunk->fields[f].column, &at);
    }
    return err;
}

/* Room for rows, the last of the batch. Where not all columns will be written, all are cleared. */
static enum err begin_rows(struct scan_batch *batch, const struct scan_chunk *chunk, uint32_t rows)
{
    struct columns *columns = &batch->columns;
    enum err err = find_fields(batch, chunk);

    if (err != ERR_OK)
        return err;
    if (columns->count != 1 + batch->parts.tag_count + chunk->field_count)
        return columns_rows(columns, rows);
    err = columns_reserve(columns, rows);
    columns->rows += err == ERR_OK ? rows : 0;
    return err;
}

static enum err put_fields(struct scan_batch *batch, const struct scan_chunk *chunk, uint32_t start,
                           uint32_t rows)
{
    uint32_t first = batch->columns.rows - rows;
    enum err err = ERR_OK;

    for (uint32_t f = 0; f < chunk->field_count && err == ERR_OK; f++) {
        const struct scan_values *values = &chunk->fields[f];
        struct column *column = &batch->columns.columns[batch->field_at[values->column]];

        memcpy(column->present + first, values->present + start, rows);
        if (values->text != NULL)
            err = put_strings(batch, column, values, start, rows);
        else
            memcpy(column->values + first, values->bits + start, rows * sizeof(uint64_t));
    }
    return err;
}

/* Bytes that the current batch holds when it leaves. */
static size_t batch_bytes(const struct scan_batch *batch)
{
    return batch->page_left < SCAN_BATCH_BYTES ? (size_t)batch->page_left : SCAN_BATCH_BYTES;
}

/* How many of the rows the current batch takes: at least one, and not much more than its size. */
static uint32_t rows_that_fit(const struct scan_batch *batch, const struct scan_chunk *chunk,
                              uint32_t start, uint32_t rows)
{
    size_t most_bytes = batch_bytes(batch);
    size_t room = most_bytes > batch->size ? most_bytes - batch->size : 0;
    size_t row_size = batch->columns.count * (size_t)CELL_SIZE;
    uint32_t most = (uint32_t)(room / row_size) + 1;

    most = most < rows ? most : rows;
    if (most > batch->rows_left)
        most = (uint32_t)batch->rows_left;
    for (uint32_t f = 0; f < chunk->field_count; f++) {
        const struct scan_values *values = &chunk->fields[f];
        size_t text = 0;

        for (uint32_t i = 0; i < most && values->text != NULL; i++) {
            text += values->bits[start + i] >> 32;
            if (text >= room)
                most = i + 1;
        }
    }
    return most;
}

/* Rows that all have a value: as many as the current batch takes. */
static enum err put_rows(struct scan_batch *batch, const struct scan_chunk *chunk, uint32_t start,
                         uint32_t *rows)
{
    struct columns *columns = &batch->columns;
    enum err err = ERR_OK;

    if (!has_tag_columns(batch)) {
        err = scan_batch_flush(batch);
        if (err == ERR_OK)
            err = begin(batch);
        if (err != ERR_OK)
            return err;
    }
    *rows = rows_that_fit(batch, chunk, start, *rows);
    err = begin_rows(batch, chunk, *rows);
    if (err != ERR_OK)
        return err;
    memcpy(columns->columns[0].values + columns->rows - *rows, chunk->times_ns + start,
           *rows * sizeof *chunk->times_ns);
    memset(columns->columns[0].present + columns->rows - *rows, 1, *rows);
    batch->rows_left -= *rows;
    batch->size += *rows * (size_t)CELL_SIZE * columns->count;
    err = put_tags(batch, *rows);
    if (err == ERR_OK)
        err = put_fields(batch, chunk, start, *rows);
    if (err == ERR_OK && batch->size >= batch_bytes(batch))
        err = scan_batch_flush(batch);
    return err;
}

/* The page is full: what follows this row comes with the next one. */
static enum err end_page(struct scan_batch *batch, int64_t time_ns)
{
    if (time_ns < INT64_MAX)
        batch->next = (struct query_place){batch->id, time_ns + 1};
    else
        batch->next = (struct query_place){batch->id + 1, INT64_MIN};
    return ERR_END;
}

static bool has_value(const struct scan_chunk *chunk, uint32_t row)
{
    for (uint32_t f = 0; f < chunk->field_count; f++) {
        if (chunk->fields[f].present[row])
            return true;
    }
    return false;
}

enum err scan_batch_add(void *arg, uint32_t id, const struct scan_chunk *chunk, uint32_t start,
                        uint32_t rows)
{
    struct scan_batch *batch = arg;
    enum err err = id != batch->id ? begin_series(batch, id) : ERR_OK;

    for (uint32_t at = start, end = start + rows; at < end && err == ERR_OK;) {
        uint32_t behind = at;

        while (behind < end && has_value(chunk, behind))
            behind++;
        while (at < behind && err == ERR_OK) {
            uint32_t some = behind - at;

            if (batch->rows_left == 0)
                return ERR_END;
            err = put_rows(batch, chunk, at, &some);
            at += some;
            if (err == ERR_OK && batch->page_left == 0)
                err = end_page(batch, chunk->times_ns[at - 1]);
        }
        at = behind + 1;
    }
    return err;
}
