#include "client/rows.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"

/* A builder is emptied at this many bytes even if it has few rows: a block of long strings must
 * stay far below what a frame and an entry may have (16 MiB). */
enum { BATCH_BYTES_MAX = 4 * 1024 * 1024 };

struct shard_rows {
    struct block_builder *builder; /* Owned; made with the first row. */
    uint32_t batch;                /* Its number, from 1: series.place is good for this one only. */
    struct series **members;       /* Owned: by place. */
    uint32_t member_capacity;
    uint32_t member_count;
    void **tags; /* Owned: one a row, and the row's time; they move into the batch. */
    int64_t *times_ns;
    uint32_t tag_capacity;
    uint64_t first_ns;
    size_t bytes;
};

struct rows {
    struct rows_options options;
    pthread_mutex_t mutex; /* Covers what follows. */
    struct shard_rows *shards;
    uint32_t filled; /* Builders with rows. */
    size_t bytes;    /* Of all builders. */
};

/* ---- Life ---------------------------------------------------------------------------------- */

enum err rows_new(const struct rows_options *options, struct rows **ret_rows)
{
    struct rows *rows = calloc(1, sizeof *rows);

    CHECK(options->batch_rows >= 1);
    CHECK(options->batch_rows <= BLOCK_ROWS_MAX);
    if (!rows)
        return err_set(ERR_NO_MEMORY, "rows");
    rows->options = *options;
    rows->shards = calloc(options->shards, sizeof *rows->shards);
    if (!rows->shards) {
        free(rows);
        return err_set(ERR_NO_MEMORY, "rows of %u shards", (unsigned)options->shards);
    }
    for (uint32_t i = 0; i < options->shards; i++)
        rows->shards[i].batch = 1; /* Series start with 0: in no batch. */
    pthread_mutex_init(&rows->mutex, NULL);
    *ret_rows = rows;
    return ERR_OK;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    for (uint32_t i = 0; i < rows->options.shards; i++) {
        block_builder_free(rows->shards[i].builder);
        free(rows->shards[i].members);
        free(rows->shards[i].tags);
        free(rows->shards[i].times_ns);
    }
    pthread_mutex_destroy(&rows->mutex);
    free(rows->shards);
    free(rows);
}

/* ---- Cutting ------------------------------------------------------------------------------- */

static uint32_t count_rows(const struct shard_rows *shard)
{
    return shard->builder ? block_builder_rows(shard->builder) : 0;
}

/* Encode the builder's rows. Fails by leaving batch->entry NULL, with the reason beside it: the
 * rows are gone and their caller is told like for any other failed batch. */
static void encode(struct shard_rows *shard, struct batch *batch)
{
    uint32_t *places = calloc(shard->member_count, sizeof *places);
    struct block_header header;
    struct buf *entry = NULL;
    enum err err;

    batch->fresh = calloc(shard->member_count, sizeof(struct series *));
    if (!places || !batch->fresh)
        err = err_set(ERR_NO_MEMORY, "%u series of a batch", (unsigned)shard->member_count);
    else
        err = block_builder_finish(shard->builder, sizeof(struct entry_header), &entry, places);
    if (err == ERR_OK && entry->size > ENTRY_SIZE_MAX)
        err = err_set(ERR_TOO_LARGE, "a batch of %u rows has %u bytes, at most %d are allowed",
                      (unsigned)batch->rows, (unsigned)entry->size, ENTRY_SIZE_MAX);
    if (err == ERR_OK) {
        memcpy(&header, entry->bytes + sizeof(struct entry_header), sizeof header);
        batch->fresh_count = header.fresh;
        for (uint32_t i = 0; i < header.fresh; i++)
            batch->fresh[i] = shard->members[places[i]];
        batch->entry = entry;
    } else {
        err_save(&batch->failed, err);
        buf_unref(entry);
        block_builder_reset(shard->builder);
    }
    free(places);
}

static enum err cut(struct rows *rows, uint32_t at)
{
    struct shard_rows *shard = &rows->shards[at];
    struct batch *batch;

    if (count_rows(shard) == 0)
        return ERR_OK;
    batch = calloc(1, sizeof *batch);
    if (!batch)
        return err_set(ERR_NO_MEMORY, "a batch");
    batch->shard = at;
    batch->rows = block_builder_rows(shard->builder);
    batch->points = block_builder_points(shard->builder);
    batch->first_ns = shard->first_ns;
    encode(shard, batch);
    batch->tags = shard->tags;
    batch->times_ns = shard->times_ns;
    batch->bytes = sizeof *batch + (batch->entry ? batch->entry->capacity : 0) +
                   shard->tag_capacity * (sizeof(void *) + sizeof(int64_t)) +
                   shard->member_count * sizeof(struct series *);

    shard->tags = NULL;
    shard->times_ns = NULL;
    shard->tag_capacity = 0;
    shard->member_count = 0;
    shard->batch++;
    rows->bytes -= shard->bytes;
    shard->bytes = 0;
    rows->filled--;
    rows->options.on_batch(rows->options.ctx, batch);
    return ERR_OK;
}

static enum err cut_all(struct rows *rows)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < rows->options.shards && rows->filled > 0 && err == ERR_OK; i++)
        err = cut(rows, i);
    return err;
}

enum err rows_cut_all(struct rows *rows)
{
    enum err err;

    pthread_mutex_lock(&rows->mutex);
    err = cut_all(rows);
    pthread_mutex_unlock(&rows->mutex);
    return err;
}

bool rows_linger(struct rows *rows, uint64_t now_ns)
{
    bool left;

    /* The other thread is adding a row or encoding a block; look again at the next tick. */
    if (pthread_mutex_trylock(&rows->mutex) != 0)
        return true;
    for (uint32_t i = 0; i < rows->options.shards && rows->filled > 0; i++) {
        struct shard_rows *shard = &rows->shards[i];

        if (count_rows(shard) > 0 && now_ns - shard->first_ns >= rows->options.linger_ns &&
            cut(rows, i) != ERR_OK)
            break; /* No memory now: the rows stay, and the next tick tries again. */
    }
    left = rows->filled > 0;
    pthread_mutex_unlock(&rows->mutex);
    return left;
}

/* ---- Adding -------------------------------------------------------------------------------- */

/* Put the series into the builder, or find it there. */
static enum err place_series(struct shard_rows *shard, struct series *series, size_t table_key_size)
{
    uint32_t id = atomic_load_explicit(&series->id, memory_order_relaxed);
    uint32_t place;
    enum err err;

    if (series->batch == shard->batch)
        return ERR_OK;
    err = block_builder_series(shard->builder, series->key, series->key_size, table_key_size,
                               series->hash, id, &place);
    if (err != ERR_OK)
        return err;
    if (place >= shard->member_capacity) {
        uint32_t capacity = (place + 1) * 2;
        struct series **members = realloc(shard->members, capacity * sizeof(struct series *));

        if (!members)
            return err_set(ERR_NO_MEMORY, "%u series of a batch", (unsigned)capacity);
        shard->members = members;
        shard->member_capacity = capacity;
    }
    shard->members[place] = series;
    if (place >= shard->member_count)
        shard->member_count = place + 1;
    series->place = place;
    series->batch = shard->batch;
    return ERR_OK;
}

static enum err put_fields(struct block_builder *builder, const struct line_field *fields,
                           size_t count)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        const struct line_field *field = &fields[i];

        if (field->type == FIELD_STRING)
            err = block_builder_string(builder, field->name.data, field->name.size,
                                       field->text.data, field->text.size);
        else
            err = block_builder_value(builder, field->name.data, field->name.size, field->type,
                                      field->bits);
    }
    return err;
}

static enum err keep_tag(struct shard_rows *shard, uint32_t row, int64_t time_ns, void *tag)
{
    if (row >= shard->tag_capacity) {
        uint32_t capacity = shard->tag_capacity ? shard->tag_capacity * 2 : 64;
        void **tags = realloc(shard->tags, capacity * sizeof *tags);
        int64_t *times_ns;

        if (!tags)
            return err_set(ERR_NO_MEMORY, "tags of %u rows", (unsigned)capacity);
        shard->tags = tags;
        times_ns = realloc(shard->times_ns, capacity * sizeof *times_ns);
        if (!times_ns)
            return err_set(ERR_NO_MEMORY, "times of %u rows", (unsigned)capacity);
        shard->times_ns = times_ns;
        shard->tag_capacity = capacity;
    }
    shard->tags[row] = tag;
    shard->times_ns[row] = time_ns;
    return ERR_OK;
}

static enum err put_row(struct rows *rows, struct series *series, size_t table_key_size,
                        int64_t time_ns, const struct line_field *fields, size_t count, void *tag)
{
    struct shard_rows *shard = &rows->shards[series->shard];
    uint32_t row;
    enum err err = ERR_OK;

    if (!shard->builder)
        err = block_builder_new(&shard->builder);
    if (err == ERR_OK)
        err = place_series(shard, series, table_key_size);
    if (err != ERR_OK)
        return err;
    row = block_builder_rows(shard->builder);
    if (rows->options.keep_tags)
        err = keep_tag(shard, row, time_ns, tag);
    if (err == ERR_OK)
        err = block_builder_row(shard->builder, series->place, time_ns);
    if (err != ERR_OK)
        return err;
    err = put_fields(shard->builder, fields, count);
    if (err != ERR_OK) {
        block_builder_undo_row(shard->builder);
        return err;
    }
    if (row == 0) {
        shard->first_ns = uv_hrtime();
        if (rows->filled++ == 0)
            rows->options.on_rows(rows->options.ctx);
    }
    return ERR_OK;
}

enum err rows_add(struct rows *rows, struct series *series, size_t table_key_size, int64_t time_ns,
                  const struct line_field *fields, size_t count, void *tag)
{
    struct shard_rows *shard = &rows->shards[series->shard];
    size_t bytes;
    enum err err;

    pthread_mutex_lock(&rows->mutex);
    err = put_row(rows, series, table_key_size, time_ns, fields, count, tag);
    if (err == ERR_LIMIT && count_rows(shard) > 0) {
        /* This block has no room for one more series, table or field; an empty one has. */
        err = cut(rows, series->shard);
        if (err == ERR_OK)
            err = put_row(rows, series, table_key_size, time_ns, fields, count, tag);
    }
    if (err == ERR_OK) {
        bytes = block_builder_bytes(shard->builder);
        rows->bytes += bytes - shard->bytes;
        shard->bytes = bytes;
        /* The row is in. If a cut fails for lack of memory, a later row tries again. */
        if (block_builder_rows(shard->builder) >= rows->options.batch_rows ||
            bytes >= BATCH_BYTES_MAX)
            cut(rows, series->shard);
        if (rows->bytes > rows->options.bytes_max)
            cut_all(rows);
    }
    pthread_mutex_unlock(&rows->mutex);
    return err;
}
