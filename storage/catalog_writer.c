#include "storage/catalog_writer.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

enum {
    WINDOW = 1 << 20, /* Bytes that are written at once. */
    TABLE_PARTS = 8,  /* Of the hash table: so often are all series gone through for it. */
};

struct catalog_writer {
    const struct disk *disk;
    struct file *file; /* NULL: all stays in `out`. */
    enum err err;      /* The first one; `detail` says it. */
    struct err_note note;
    struct bytes out;
    uint64_t written; /* Bytes of the file before `out`. */
    uint32_t crc;     /* Of the body before `out`. */
    struct catalog_run_header header;

    struct bytes words, tables, shapes;

    /* The name whose values come. */
    struct bytes index;
    struct slice name; /* Borrowed until its words are put: copied into `name_room`. */
    char name_room[NAME_SIZE_MAX];
    bool in_name;
    uint64_t values_at;
    uint32_t values, shift;
    size_t last_size;
    char last[NAME_SIZE_MAX];

    /* The group that is being filled: by column. */
    struct bytes places;
    uint32_t pending, columns;
    uint32_t codes[1 + CATALOG_RUN_TAGS][CATALOG_GROUP];

    uint32_t done;  /* Series. */
    uint32_t *lows; /* Low halves of their hashes. */
    uint8_t *tags;
};

enum err catalog_writer_new(const struct disk *disk, struct file *file, uint32_t shard,
                            uint32_t first, uint32_t count, struct catalog_writer **ret_writer)
{
    struct catalog_writer *writer = calloc(1, sizeof *writer);

    if (writer != NULL) {
        writer->lows = malloc((size_t)count * sizeof *writer->lows + count);
        writer->tags = (uint8_t *)(writer->lows + count);
    }
    if (writer == NULL || writer->lows == NULL ||
        bytes_add(&writer->out, sizeof writer->header) == NULL) {
        catalog_writer_free(writer);
        return err_set(ERR_NO_MEMORY, "a catalog of %u series", count);
    }
    memset(writer->out.data, 0, sizeof writer->header); /* Written last. */
    writer->disk = disk;
    writer->file = file;
    writer->header = (struct catalog_run_header){.magic = CATALOG_RUN_MAGIC,
                                                 .version = CATALOG_RUN_VERSION,
                                                 .shard = shard,
                                                 .first = first,
                                                 .count = count,
                                                 .buckets = count / CATALOG_BUCKET + 1};
    *ret_writer = writer;
    return ERR_OK;
}

void catalog_writer_free(struct catalog_writer *writer)
{
    if (writer == NULL)
        return;
    bytes_fini(&writer->out);
    bytes_fini(&writer->words);
    bytes_fini(&writer->tables);
    bytes_fini(&writer->shapes);
    bytes_fini(&writer->index);
    bytes_fini(&writer->places);
    free(writer->lows);
    free(writer);
}

/* ---- Bytes --------------------------------------------------------------------------------- */

static void fail(struct catalog_writer *writer, enum err err)
{
    if (writer->err == ERR_OK) {
        writer->err = err;
        err_save(&writer->note, err);
    }
}

static uint64_t position(const struct catalog_writer *writer)
{
    return writer->written + writer->out.size;
}

static void sum(struct catalog_writer *writer)
{
    size_t skip = writer->written == 0 ? sizeof writer->header : 0;

    writer->crc = crc32c(writer->crc, writer->out.data + skip, writer->out.size - skip);
}

static void flush(struct catalog_writer *writer)
{
    enum err err;

    if (writer->err != ERR_OK)
        return;
    if (writer->out.failed) {
        fail(writer, err_set(ERR_NO_MEMORY, "a catalog"));
        return;
    }
    sum(writer);
    err = writer->disk->write(writer->file, writer->written, writer->out.data, writer->out.size);
    if (err != ERR_OK)
        fail(writer, err);
    writer->written += writer->out.size;
    bytes_clear(&writer->out);
}

static void flush_if_full(struct catalog_writer *writer)
{
    if (writer->file != NULL && writer->out.size >= WINDOW)
        flush(writer);
}

static void put(struct catalog_writer *writer, const void *data, size_t size)
{
    if (size > 0)
        bytes_put(&writer->out, data, size);
    flush_if_full(writer);
}

/* ---- Names and values ---------------------------------------------------------------------- */

static void end_name(struct catalog_writer *writer)
{
    uint64_t size = position(writer) - writer->values_at;

    if (!writer->in_name)
        return;
    if (size > UINT32_MAX)
        fail(writer, err_set(ERR_LIMIT, "over 4 GiB of values of the label %.*s",
                             (int)writer->name.size, writer->name.data));
    put(writer, writer->index.data, writer->index.size);
    bytes_put_string(&writer->words, writer->name.data, writer->name.size);
    bytes_put_u8(&writer->words, (uint8_t)writer->shift);
    bytes_put_varint(&writer->words, writer->values);
    bytes_put_varint(&writer->words, writer->values_at);
    bytes_put_varint(&writer->words, size);
    writer->header.names++;
    writer->in_name = false;
}

void catalog_writer_name(struct catalog_writer *writer, struct slice name, uint64_t values_max)
{
    end_name(writer);
    CHECK(name.size <= NAME_SIZE_MAX);
    memcpy(writer->name_room, name.data, name.size);
    writer->name = (struct slice){writer->name_room, name.size};
    writer->in_name = true;
    writer->values_at = position(writer);
    writer->values = 0;
    writer->shift = values_max > CATALOG_VALUES_PLAIN_MAX ? CATALOG_VALUES_SHIFT : 0;
    bytes_clear(&writer->index);
}

static size_t shared_of(const struct catalog_writer *writer, struct slice value)
{
    size_t max = value.size < writer->last_size ? value.size : writer->last_size;
    size_t shared = 0;

    while (shared < max && value.data[shared] == writer->last[shared])
        shared++;
    return shared;
}

void catalog_writer_value(struct catalog_writer *writer, struct slice value)
{
    size_t shared = 0;

    CHECK(value.size <= NAME_SIZE_MAX);
    if (writer->values % (1u << writer->shift) == 0) {
        bytes_put_u32(&writer->index, (uint32_t)(position(writer) - writer->values_at));
    } else {
        shared = shared_of(writer, value);
        bytes_put_varint(&writer->out, shared);
    }
    bytes_put_string(&writer->out, value.data + shared, value.size - shared);
    memcpy(writer->last + shared, value.data + shared, value.size - shared);
    writer->last_size = value.size;
    writer->values++;
    flush_if_full(writer);
}

void catalog_writer_table(struct catalog_writer *writer, uint32_t number, struct slice key,
                          uint32_t series)
{
    bytes_put_varint(&writer->tables, number);
    bytes_put_string(&writer->tables, key.data, key.size);
    bytes_put_varint(&writer->tables, series);
    writer->header.tables++;
}

void catalog_writer_shape(struct catalog_writer *writer, uint32_t table, const uint32_t *names,
                          uint32_t count)
{
    bytes_put_varint(&writer->shapes, table);
    bytes_put_varint(&writer->shapes, count);
    for (uint32_t i = 0; i < count; i++)
        bytes_put_varint(&writer->shapes, names[i]);
    writer->header.shapes++;
}

static void put_words(struct catalog_writer *writer)
{
    end_name(writer);
    writer->header.words_at = position(writer);
    put(writer, writer->words.data, writer->words.size);
    put(writer, writer->tables.data, writer->tables.size);
    put(writer, writer->shapes.data, writer->shapes.size);
    if (writer->words.failed || writer->tables.failed || writer->shapes.failed ||
        writer->index.failed)
        fail(writer, err_set(ERR_NO_MEMORY, "the names of a catalog"));
    writer->header.groups_at = position(writer);
}

/* ---- Series -------------------------------------------------------------------------------- */

static uint8_t width_of(const uint32_t *codes, uint32_t *ret_base)
{
    uint32_t min = codes[0], max = codes[0];

    for (uint32_t i = 1; i < CATALOG_GROUP; i++) {
        min = codes[i] < min ? codes[i] : min;
        max = codes[i] > max ? codes[i] : max;
    }
    *ret_base = min;
    return max == min ? 0 : (uint8_t)(32 - __builtin_clz(max - min));
}

static void pack(const uint32_t *codes, uint32_t base, uint8_t width, uint8_t *out)
{
    uint64_t word = 0;
    uint32_t bits = 0;

    for (uint32_t i = 0; i < CATALOG_GROUP; i++) {
        word |= (uint64_t)(codes[i] - base) << bits;
        for (bits += width; bits >= 8; bits -= 8) {
            *out++ = (uint8_t)word;
            word >>= 8;
        }
    }
}

static void end_group(struct catalog_writer *writer)
{
    uint8_t widths[1 + CATALOG_RUN_TAGS];
    uint32_t bases[1 + CATALOG_RUN_TAGS];

    bytes_put_u64(&writer->places, position(writer) - writer->header.groups_at);
    bytes_put_u8(&writer->out, (uint8_t)writer->columns);
    for (uint32_t c = 0; c <= writer->columns; c++) {
        /* A group that is not full is filled up with its last series. */
        for (uint32_t i = writer->pending; i < CATALOG_GROUP; i++)
            writer->codes[c][i] = writer->codes[c][writer->pending - 1];
        widths[c] = width_of(writer->codes[c], &bases[c]);
        bytes_put_u8(&writer->out, widths[c]);
        bytes_put_u32(&writer->out, bases[c]);
    }
    for (uint32_t c = 0; c <= writer->columns; c++) {
        uint8_t *room = bytes_add(&writer->out, (size_t)widths[c] * CATALOG_GROUP / 8);

        if (room != NULL && widths[c] > 0)
            pack(writer->codes[c], bases[c], widths[c], room);
    }
    writer->pending = writer->columns = 0;
    flush_if_full(writer);
}

void catalog_writer_series(struct catalog_writer *writer, uint32_t shape, const uint32_t *ranks,
                           uint32_t tags, uint64_t hash)
{
    uint32_t at = writer->pending;

    CHECK(writer->done < writer->header.count);
    CHECK(tags <= CATALOG_RUN_TAGS);
    if (writer->done == 0)
        put_words(writer);
    writer->lows[writer->done] = (uint32_t)hash;
    writer->tags[writer->done] = catalog_run_tag(hash);
    writer->done++;
    writer->codes[0][at] = shape;
    for (uint32_t i = writer->columns; i < tags; i++)
        memset(writer->codes[1 + i], 0, sizeof writer->codes[0]);
    writer->columns = tags > writer->columns ? tags : writer->columns;
    for (uint32_t i = 0; i < tags; i++)
        writer->codes[1 + i][at] = ranks[i];
    for (uint32_t i = tags; i < writer->columns; i++)
        writer->codes[1 + i][at] = 0;
    if (++writer->pending == CATALOG_GROUP)
        end_group(writer);
}

/* ---- Hash table ---------------------------------------------------------------------------- */

/* Entries that stand before each bucket, and the count of all. */
static void count_entries(const struct catalog_writer *writer, uint32_t *starts)
{
    uint32_t buckets = writer->header.buckets, sum_of = 0;

    for (uint32_t i = 0; i < writer->done; i++)
        starts[catalog_run_bucket(writer->lows[i], buckets) + 1]++;
    for (uint32_t b = 0; b <= buckets; b++)
        starts[b] = sum_of += starts[b];
}

/* The series of buckets `first` to `end` - 1, by bucket: those of one stay in order, so that all
 * replicas agree. `order` has room for all; each of those starts moves to the next one's. */
static void sort_some(const struct catalog_writer *writer, uint32_t first, uint32_t end,
                      uint32_t *starts, uint32_t *order)
{
    uint32_t buckets = writer->header.buckets, before = starts[first];

    for (uint32_t i = 0; i < writer->done; i++) {
        uint32_t bucket = catalog_run_bucket(writer->lows[i], buckets);

        if (bucket >= first && bucket < end)
            order[starts[bucket]++ - before] = i;
    }
}

static void put_buckets(struct catalog_writer *writer, uint32_t first, uint32_t end,
                        uint32_t *starts, uint32_t *order)
{
    uint32_t before = starts[first], at = 0;

    sort_some(writer, first, end, starts, order);
    for (uint32_t b = first; b < end; b++) {
        uint32_t count = starts[b] - before - at;

        for (uint32_t i = 0; i < count; i++)
            put(writer, &writer->tags[order[at + i]], 1);
        put(writer, order + at, count * sizeof *order);
        at += count;
    }
}

/* A part of the buckets after the other, so that few series have to be held in order at once. */
static void put_table(struct catalog_writer *writer)
{
    uint32_t buckets = writer->header.buckets, part = buckets / TABLE_PARTS + 1, most = 0;
    uint32_t *starts = calloc((size_t)buckets + 1, sizeof *starts);
    uint32_t *order = NULL;

    writer->header.table_at = position(writer);
    if (starts != NULL) {
        count_entries(writer, starts);
        for (uint32_t b = 0; b < buckets; b += part) {
            uint32_t end = buckets - b < part ? buckets : b + part;

            most = starts[end] - starts[b] > most ? starts[end] - starts[b] : most;
        }
        order = malloc((size_t)most * sizeof *order);
    }
    if (order == NULL) {
        fail(writer, err_set(ERR_NO_MEMORY, "the hash table of %u series", writer->done));
    } else {
        for (uint32_t b = 0; b <= buckets; b++)
            put(writer, &starts[b], sizeof *starts);
        for (uint32_t b = 0; b < buckets; b += part)
            put_buckets(writer, b, buckets - b < part ? buckets : b + part, starts, order);
    }
    free(starts);
    free(order);
}

static void put_header(struct catalog_writer *writer)
{
    struct catalog_run_header *header = &writer->header;

    header->size = position(writer);
    if (writer->file == NULL)
        sum(writer);
    else
        flush(writer);
    header->body_crc = writer->crc;
    header->crc = crc32c(0, (const uint8_t *)header + 8, sizeof *header - 8);
    if (writer->err != ERR_OK)
        return;
    if (writer->file == NULL) {
        memcpy(writer->out.data, header, sizeof *header);
    } else {
        enum err err = writer->disk->write(writer->file, 0, header, sizeof *header);

        if (err != ERR_OK)
            fail(writer, err);
    }
}

enum err catalog_writer_finish(struct catalog_writer *writer, struct catalog_run_header *ret_header,
                               uint8_t **ret_bytes)
{
    CHECK(writer->done == writer->header.count);
    if (writer->pending > 0)
        end_group(writer);
    writer->header.places_at = position(writer);
    bytes_put_u64(&writer->places, writer->header.places_at - writer->header.groups_at);
    put(writer, writer->places.data, writer->places.size);
    put_table(writer);
    if (writer->out.failed || writer->places.failed)
        fail(writer, err_set(ERR_NO_MEMORY, "a catalog of %u series", writer->done));
    if (writer->err == ERR_OK)
        put_header(writer);
    if (writer->err != ERR_OK)
        return err_restore(&writer->note);
    *ret_header = writer->header;
    *ret_bytes = NULL;
    if (writer->file == NULL) {
        *ret_bytes = writer->out.data;
        writer->out = (struct bytes){0};
    }
    return ERR_OK;
}
