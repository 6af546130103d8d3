/*
 * block_builder_finish.c - the rows that a builder holds, as one block.
 *
 *     series --> places, directory
 *     tables, by key --> sections: order rows by (place, time), then runs, times, fields by name
 *     all sections --> LZ4 --> body
 */
#define LZ4_STATIC_LINKING_ONLY /* For LZ4_compress_fast_extState_fastReset(). */
#include <lz4.h>

#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/base/varint.h"
#include "storage/block/block_builder_rows.h"
#include "storage/block/column.h"
#include "storage/block/column_int.h"
#include "storage/block/column_time.h"
#include "storage/block/entry.h"
#include "storage/block/pack.h"
#include "storage/block/radix.h"

enum {
    SAVED_PERCENT_MIN = 3, /* Less than this, and LZ4 is not worth the reader's time. */
    SORT_STEPS_MAX = 8,    /* Steps a row after which sorting all by time is quicker. */
};

/* Memory for finishing, from the arena. Arrays have room for the rows of the largest table. */
struct work {
    struct block_builder *builder;
    uint32_t known;
    uint32_t fresh;
    uint32_t *directory; /* Series by place. */
    uint32_t *places;    /* Place by series. */
    uint64_t *keys;      /* What is sorted by; then gathered values. */
    uint64_t *counts;    /* Rows of each run. */
    uint64_t *scratch;
    int64_t *times_ns;
    uint32_t *order; /* Rows in their new order. */
    uint32_t *spare;
    uint32_t *ranks;               /* New place of each row. */
    uint64_t *bitmap;              /* Rows that have the field. */
    uint32_t *before;              /* Bits in the words before this one. */
    bool moved;                    /* Order is not 0, 1, 2, ... */
    struct builder_table **tables; /* Those with rows, by key. */
    uint32_t table_count;
    struct builder_field **fields;
    int64_t time_min_ns;
    int64_t time_max_ns;
};

static bool take_work(struct block_builder *builder, struct work *ret_work)
{
    struct block_arena *arena = &builder->arena;
    size_t series = builder->series_count;
    size_t rows = series; /* The directory is sorted with the same arrays. */
    size_t fields = 1;
    struct work work = {.builder = builder, .time_min_ns = INT64_MAX, .time_max_ns = INT64_MIN};

    for (uint32_t at = 0; at < builder->table_keys.count; at++) {
        const struct builder_table *table = builder->tables[at];

        rows = table->rows > rows ? table->rows : rows;
        fields = table->names.count > fields ? table->names.count : fields;
    }
    work.directory = block_arena_take(arena, series * sizeof *work.directory);
    work.places = block_arena_take(arena, series * sizeof *work.places);
    work.keys = block_arena_take(arena, rows * sizeof *work.keys);
    work.counts = block_arena_take(arena, rows * sizeof *work.counts);
    work.scratch = block_arena_take(arena, rows * sizeof *work.scratch);
    work.times_ns = block_arena_take(arena, rows * sizeof *work.times_ns);
    work.order = block_arena_take(arena, rows * sizeof *work.order);
    work.spare = block_arena_take(arena, rows * sizeof *work.spare);
    work.ranks = block_arena_take(arena, rows * sizeof *work.ranks);
    work.bitmap = block_arena_take(arena, (rows + 63) / 64 * sizeof *work.bitmap);
    work.before = block_arena_take(arena, (rows + 63) / 64 * sizeof *work.before);
    work.tables = block_arena_take(arena, builder->table_keys.count * sizeof(void *));
    work.fields = block_arena_take(arena, fields * sizeof(void *));
    *ret_work = work;
    return work.directory != NULL && work.places != NULL && work.keys != NULL &&
           work.counts != NULL && work.scratch != NULL && work.times_ns != NULL &&
           work.order != NULL && work.spare != NULL && work.ranks != NULL && work.bitmap != NULL &&
           work.before != NULL && work.tables != NULL && work.fields != NULL;
}

/* ---- Directory ----------------------------------------------------------------------------- */

/* Known series by id, then the fresh ones as they came. */
static void give_places(struct work *work)
{
    const struct block_builder *builder = work->builder;
    uint32_t count = builder->series_count;
    uint32_t *known = work->ranks;

    for (uint32_t at = 0; at < count; at++)
        if (builder->series[at].id != BLOCK_ID_NONE) {
            work->keys[work->known] = builder->series[at].id;
            work->order[work->known] = work->known;
            known[work->known++] = at;
        }
    work->fresh = count - work->known;
    radix_sort(work->keys, work->known, work->order, work->spare);
    for (uint32_t place = 0; place < work->known; place++)
        work->directory[place] = known[work->order[place]];
    for (uint32_t at = 0, place = work->known; at < count; at++)
        if (builder->series[at].id == BLOCK_ID_NONE)
            work->directory[place++] = at;
    for (uint32_t place = 0; place < count; place++)
        work->places[work->directory[place]] = place;
}

/* Distances of known ids from their groups' first ones, into work->keys. Returns their width. */
static unsigned find_id_offsets(struct work *work)
{
    const struct builder_series *series = work->builder->series;
    uint64_t any = 0;

    for (uint32_t place = 0; place < work->known; place++) {
        uint32_t first = place / BLOCK_ID_GROUP * BLOCK_ID_GROUP;

        work->keys[place] = series[work->directory[place]].id - series[work->directory[first]].id;
        any |= work->keys[place];
    }
    return pack_width(any);
}

static size_t directory_size(const struct work *work, unsigned id_width)
{
    size_t groups = (work->known + BLOCK_ID_GROUP - 1) / BLOCK_ID_GROUP;
    size_t size = (work->known > 0) + (groups + work->fresh) * sizeof(uint32_t) +
                  pack_size(work->known, id_width);

    for (uint32_t at = work->known; at < work->known + work->fresh; at++) {
        uint8_t varint[VARINT_SIZE_MAX];
        size_t key_size = work->builder->series[work->directory[at]].key.size;

        size += (size_t)(varint_put(varint, key_size) - varint) + key_size;
    }
    return size;
}

static void put_directory(const struct work *work, unsigned id_width, uint8_t *out)
{
    const struct builder_series *series = work->builder->series;
    uint32_t count = work->known + work->fresh;

    if (work->known > 0)
        *out++ = (uint8_t)id_width;
    for (uint32_t at = 0; at < work->known; at += BLOCK_ID_GROUP, out += sizeof(uint32_t))
        memcpy(out, &series[work->directory[at]].id, sizeof(uint32_t));
    pack_put(work->keys, work->known, id_width, out);
    out += pack_size(work->known, id_width);
    for (uint32_t at = work->known; at < count; at++, out += sizeof(uint32_t))
        memcpy(out, &series[work->directory[at]].id, sizeof(uint32_t));
    for (uint32_t at = work->known; at < count; at++) {
        struct slice key = series[work->directory[at]].key;

        out = varint_put(out, key.size);
        memcpy(out, key.data, key.size);
        out += key.size;
    }
}

/* ---- Order of rows ------------------------------------------------------------------------- */

static void sort_by_places(struct work *work, const struct builder_table *table)
{
    for (uint32_t row = 0; row < table->rows; row++)
        work->keys[row] = work->places[table->series[row]];
    radix_sort(work->keys, table->rows, work->order, work->spare);
}

static void sort_by_times(struct work *work, const struct builder_table *table, int64_t min)
{
    for (uint32_t row = 0; row < table->rows; row++)
        work->keys[row] = (uint64_t)table->times_ns[row] - (uint64_t)min;
    radix_sort(work->keys, table->rows, work->order, work->spare);
}

/* Of rows in order of places, put those of each in order of time: mostly they are few, or nearly
 * are. False if it takes too many steps; the order is then no good. */
static bool sort_inside_places(const struct work *work, const struct builder_table *table)
{
    uint32_t *order = work->order;
    uint64_t steps = (uint64_t)table->rows * SORT_STEPS_MAX;

    for (uint32_t i = 1; i < table->rows; i++) {
        uint32_t row = order[i], at = i;

        for (; at > 0 && work->keys[order[at - 1]] == work->keys[row] &&
               table->times_ns[order[at - 1]] > table->times_ns[row];
             at--)
            order[at] = order[at - 1];
        order[at] = row;
        if (steps < i - at)
            return false;
        steps -= i - at;
    }
    return true;
}

/* Order a table's rows by (place, time); rows of the same stay as they came. */
static void order_rows(struct work *work, const struct builder_table *table)
{
    bool times_ascend = true, ordered = true;
    int64_t min = table->times_ns[0], max = min;
    uint32_t last = work->places[table->series[0]];

    work->order[0] = 0;
    for (uint32_t row = 1; row < table->rows; row++) {
        int64_t time = table->times_ns[row];
        uint32_t place = work->places[table->series[row]];
        bool time_descends = time < table->times_ns[row - 1];

        times_ascend &= !time_descends;
        ordered &= place > last || (place == last && !time_descends);
        min = time < min ? time : min;
        max = time > max ? time : max;
        last = place;
        work->order[row] = row;
    }
    work->time_min_ns = min < work->time_min_ns ? min : work->time_min_ns;
    work->time_max_ns = max > work->time_max_ns ? max : work->time_max_ns;
    work->moved = !ordered;
    if (ordered)
        return;
    sort_by_places(work, table);
    if (!times_ascend && !sort_inside_places(work, table)) {
        /* By the lesser key first: each sort keeps the order of what it finds equal. */
        for (uint32_t row = 0; row < table->rows; row++)
            work->order[row] = row;
        sort_by_times(work, table, min);
        sort_by_places(work, table);
    }
    for (uint32_t at = 0; at < table->rows; at++)
        work->ranks[work->order[at]] = at;
}

/* ---- Sections ------------------------------------------------------------------------------ */

/* What was put into builder->piece, behind its size. */
static void put_piece(struct block_builder *builder)
{
    bytes_put_string(&builder->body, builder->piece.data, builder->piece.size);
    builder->body.failed |= builder->piece.failed;
    bytes_clear(&builder->piece);
}

/* Runs of rows of one place: work->keys gets the places, work->counts the rows. */
static uint32_t find_runs(struct work *work, const struct builder_table *table)
{
    uint32_t runs = 0;

    for (uint32_t at = 0; at < table->rows; at++) {
        uint32_t row = work->order[at];
        uint64_t place = work->places[table->series[row]];

        work->times_ns[at] = table->times_ns[row];
        if (runs == 0 || work->keys[runs - 1] != place) {
            work->keys[runs] = place;
            work->counts[runs++] = 0;
        }
        work->counts[runs - 1]++;
    }
    return runs;
}

/* The field's values in the new order of rows into work->keys, its rows into work->bitmap. */
static void gather(struct work *work, const struct builder_table *table,
                   const struct builder_field *field)
{
    uint32_t words = column_words(table->rows);
    uint32_t before = 0;

    if (field->count == table->rows) {
        for (uint32_t at = 0; at < table->rows; at++)
            work->keys[at] = field->values[work->order[at]];
        return;
    }
    memset(work->bitmap, 0, words * sizeof *work->bitmap);
    for (uint32_t i = 0; i < field->count; i++) {
        uint32_t rank = work->moved ? work->ranks[field->rows[i]] : field->rows[i];

        work->bitmap[rank / 64] |= 1ull << rank % 64;
    }
    for (uint32_t word = 0; word < words; word++) {
        work->before[word] = before;
        before += (uint32_t)__builtin_popcountll(work->bitmap[word]);
    }
    for (uint32_t i = 0; i < field->count; i++) {
        uint32_t rank = work->moved ? work->ranks[field->rows[i]] : field->rows[i];
        uint64_t lower = work->bitmap[rank / 64] & ((1ull << rank % 64) - 1);

        work->keys[work->before[rank / 64] + (uint32_t)__builtin_popcountll(lower)] =
            field->values[i];
    }
}

static void put_field(struct work *work, const struct builder_table *table,
                      const struct builder_field *field)
{
    struct block_builder *builder = work->builder;
    const uint64_t *values = work->keys;

    if (field->count == table->rows && !work->moved)
        values = field->values;
    else
        gather(work, table, field);
    bytes_put_string(&builder->body, field->name.data, field->name.size);
    bytes_put_u8(&builder->body, (uint8_t)field->type);
    column_put_presence(work->bitmap, table->rows, field->count, &builder->body);
    column_put_values(field->type, values, field->count, field->text, &builder->piece);
    put_piece(builder);
}

static int compare_slices(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_fields(const void *a, const void *b)
{
    return compare_slices((*(struct builder_field *const *)a)->name,
                          (*(struct builder_field *const *)b)->name);
}

static void put_section(struct work *work, const struct builder_table *table)
{
    struct block_builder *builder = work->builder;
    uint32_t fields = 0;
    uint32_t runs;

    order_rows(work, table);
    runs = find_runs(work, table);
    for (uint32_t at = 0; at < table->names.count; at++)
        if (table->fields[at].count > 0) /* Its rows may have been taken back. */
            work->fields[fields++] = &table->fields[at];
    qsort(work->fields, fields, sizeof work->fields[0], compare_fields);

    bytes_put_string(&builder->body, table->key.data, table->key.size);
    bytes_put_varint(&builder->body, runs);
    bytes_put_varint(&builder->body, table->rows);
    bytes_put_varint(&builder->body, fields);
    column_int_put(work->keys, runs, &builder->piece);
    column_int_put(work->counts, runs, &builder->piece);
    put_piece(builder);
    column_time_put(work->times_ns, work->counts, runs, work->scratch, &builder->piece);
    put_piece(builder);
    for (uint32_t at = 0; at < fields; at++)
        put_field(work, table, work->fields[at]);
}

static int compare_tables(const void *a, const void *b)
{
    return compare_slices((*(struct builder_table *const *)a)->key,
                          (*(struct builder_table *const *)b)->key);
}

static void put_sections(struct work *work)
{
    struct block_builder *builder = work->builder;

    bytes_clear(&builder->body);
    bytes_clear(&builder->piece);
    for (uint32_t at = 0; at < builder->table_keys.count; at++)
        if (builder->tables[at]->rows > 0)
            work->tables[work->table_count++] = builder->tables[at];
    qsort(work->tables, work->table_count, sizeof work->tables[0], compare_tables);
    for (uint32_t at = 0; at < work->table_count; at++)
        put_section(work, work->tables[at]);
}

/* ---- The block ----------------------------------------------------------------------------- */

/* LZ4 from builder->body to builder->piece. Returns the bytes to store. */
static const struct bytes *compress(struct block_builder *builder)
{
    size_t raw_size = builder->body.size;
    size_t room = raw_size - (raw_size * SAVED_PERCENT_MIN + 99) / 100;
    uint8_t *out;
    int size;

    if (raw_size == 0)
        return &builder->body;
    bytes_clear(&builder->piece);
    out = bytes_add(&builder->piece, room);
    if (out == NULL)
        return &builder->body; /* It does without. */
    size = LZ4_compress_fast_extState_fastReset(builder->lz4, (const char *)builder->body.data,
                                                (char *)out, (int)raw_size, (int)room, 1);
    builder->piece.size = (size_t)size;
    return size > 0 ? &builder->piece : &builder->body;
}

static void fill_header(const struct work *work, const struct bytes *body, uint8_t *block,
                        size_t directory)
{
    const struct block_builder *builder = work->builder;
    struct block_header header = {
        .magic = BLOCK_MAGIC,
        .version = BLOCK_VERSION,
        .tables = (uint16_t)work->table_count,
        .rows = builder->rows,
        .time_min_ns = builder->rows == 0 ? 0 : work->time_min_ns,
        .time_max_ns = builder->rows == 0 ? 0 : work->time_max_ns,
        .known = work->known,
        .fresh = work->fresh,
        .directory_size = (uint32_t)directory,
        .directory_crc = crc32c(0, block + sizeof header, directory),
        .body_size = (uint32_t)body->size,
        .body_raw_size = (uint32_t)builder->body.size,
        .body_crc = crc32c(0, body->data, body->size),
        .points = builder->points,
    };

    header.header_crc = block_header_crc(&header);
    memcpy(block, &header, sizeof header);
}

enum err block_builder_finish(struct block_builder *builder, size_t headroom, struct buf **ret_buf,
                              uint32_t *ret_fresh_series)
{
    const struct bytes *body;
    struct work work;
    struct buf *buf;
    size_t directory, size;
    unsigned id_width;
    uint8_t *block;

    if (!take_work(builder, &work))
        return err_set(ERR_NO_MEMORY, "block of %u rows", builder->rows);
    give_places(&work);
    put_sections(&work);
    if (builder->body.failed)
        return err_set(ERR_NO_MEMORY, "block of %u rows", builder->rows);
    if (builder->body.size > BLOCK_BODY_RAW_MAX)
        return err_set(ERR_TOO_LARGE, "block of %u rows: body of %zu bytes", builder->rows,
                       builder->body.size);
    body = compress(builder);
    id_width = find_id_offsets(&work);
    directory = directory_size(&work, id_width);
    size = headroom + sizeof(struct block_header) + directory + body->size;
    if (size > ENTRY_SIZE_MAX)
        return err_set(ERR_TOO_LARGE, "block of %u rows: %zu bytes", builder->rows, size);
    buf = buf_new((uint32_t)size);
    if (buf == NULL)
        return err_set(ERR_NO_MEMORY, "block of %zu bytes", size);
    buf->size = (uint32_t)size;
    block = buf->bytes + headroom;
    memset(buf->bytes, 0, headroom);
    put_directory(&work, id_width, block + sizeof(struct block_header));
    if (body->size > 0)
        memcpy(block + sizeof(struct block_header) + directory, body->data, body->size);
    fill_header(&work, body, block, directory);
    if (ret_fresh_series != NULL && work.fresh > 0)
        memcpy(ret_fresh_series, work.directory + work.known, work.fresh * sizeof(uint32_t));
    block_builder_reset(builder);
    *ret_buf = buf;
    return ERR_OK;
}
