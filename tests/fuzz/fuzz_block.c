/*
 * Blocks from anybody: view, load, read everything there is.
 *
 * The input's first byte chooses how the rest is used, because no fuzzer guesses a checksum:
 *     0  as it is
 *     1  a block whose sums are made right first
 *     2  a body without LZ4: header, directory and sums are made for it
 *     3  one field's column alone, with its type; on each level of CPU
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/cpu.h"
#include "storage/block/block_newest.h"
#include "storage/block/block_reader.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_int.h"
#include "storage/block/column_string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SERIES = 320,
    DIRECTORY = 1 + SERIES / BLOCK_ID_GROUP * (int)sizeof(uint32_t),
    COLUMN_ROWS = 1500,
};

static void *take(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);

    CHECK(memory != NULL);
    return memory;
}

/* Every string lies where the reader says that it may be looked at. */
static void touch_strings(const uint8_t *present, const uint64_t *values, uint32_t rows,
                          const char *text)
{
    volatile char sink = 0;

    for (uint32_t i = 0; i < rows; i++)
        if (present[i] && column_string_size(values[i]) > 0)
            sink =
                (char)(sink + text[column_string_offset(values[i])] +
                       text[column_string_offset(values[i]) + column_string_size(values[i]) - 1]);
}

static void read_section(struct block *block, uint32_t at)
{
    const struct block_section *section = block_section(block, at);
    uint32_t *runs = take(section->runs * 2 * sizeof *runs);
    int64_t *times = take(section->rows * sizeof *times);
    uint8_t *present = take(section->rows);
    uint64_t *values = take(section->rows * sizeof *values);
    uint64_t rows = 0;

    if (block_read_runs(block, at, runs, runs + section->runs) == ERR_OK) {
        for (uint32_t run = 0; run < section->runs; run++)
            rows += runs[section->runs + run];
        CHECK(rows == section->rows);
    }
    if (block_read_times(block, at, times) == ERR_OK)
        CHECK(rows == section->rows);
    if (block_read_some_times(block, at, section->runs / 2, section->runs, times) == ERR_OK)
        CHECK(rows == section->rows);
    for (uint32_t field = 0; field < section->fields; field++) {
        const char *text;

        if (block_read_field(block, at, field, present, values, &text) == ERR_OK &&
            block_field(block, at, field)->type == FIELD_STRING)
            touch_strings(present, values, section->rows, text);
        if (block_read_some_values(block, at, field, section->rows / 2, section->rows, present,
                                   values, &text) == ERR_OK &&
            block_field(block, at, field)->type == FIELD_STRING)
            touch_strings(present + section->rows / 2, values + section->rows / 2,
                          section->rows - section->rows / 2, text);
    }
    free(runs);
    free(times);
    free(present);
    free(values);
}

/* One value alone, of some series, in the section and in the first one that has the field. */
static void read_newest(const struct block_view *view, const struct block *block, uint32_t at)
{
    const struct block_section *section = block_section(block, at);
    struct slice table_key = {section->table_key, section->table_key_size};
    uint32_t places = view->header.known + view->header.fresh;
    struct block_newest newest = {.room = NULL};

    if (block_newest_open(&newest, 1, view))
        for (uint32_t field = 0; field < section->fields; field++)
            for (uint32_t place = 0; place < places; place += 1 + places / 4) {
                struct slice name = block_field(block, at, field)->name;
                struct block_newest_value value;

                (void)block_newest(&newest, field % 2 == 0 ? table_key : (struct slice){"", 0},
                                   block_view_id(view, place), name, &value);
            }
    block_newest_fini(&newest);
}

static void read_block(const uint8_t *bytes, size_t size, bool verify)
{
    struct block_view view;
    struct block *block;
    const char *key;
    size_t key_size, at = 0;
    uint32_t keys = 0;

    if (block_view(bytes, size, verify, &view) != ERR_OK)
        return;
    while (block_view_next_key(&view, &at, &key, &key_size))
        keys++;
    CHECK(keys == view.header.fresh);
    if (block_load(&view, &block) != ERR_OK)
        return;
    for (uint32_t section = 0; section < block_sections(block); section++)
        read_section(block, section);
    for (uint32_t section = 0; section < block_sections(block); section++)
        read_newest(&view, block, section);
    block_free(block);
}

/* Sums of a header and directory that say where they end. */
static void make_sums_right(uint8_t *bytes, size_t size)
{
    struct block_header header;

    memcpy(&header, bytes, sizeof header);
    if (header.directory_size <= size - sizeof header)
        header.directory_crc = crc32c(0, bytes + sizeof header, header.directory_size);
    header.header_crc = block_header_crc(&header);
    memcpy(bytes, &header, sizeof header);
}

/* `data`: u16 tables, u16 rows, u16 points, then the body. */
static void read_body(const uint8_t *data, size_t size)
{
    uint16_t counts[3];
    struct block_header header = {
        .magic = BLOCK_MAGIC,
        .version = BLOCK_VERSION,
        .time_min_ns = INT64_MIN,
        .time_max_ns = INT64_MAX,
        .known = SERIES,
        .directory_size = DIRECTORY,
    };
    size_t body = size - sizeof counts;
    size_t whole = sizeof header + header.directory_size + body;
    uint8_t *bytes = take(whole);

    memcpy(counts, data, sizeof counts);
    header.tables = counts[0];
    header.rows = counts[1];
    header.points = counts[2];
    header.body_size = header.body_raw_size = (uint32_t)body;
    memcpy(bytes, &header, sizeof header);
    bytes[sizeof header] = 0; /* Width: */
    for (uint32_t group = 0; group < SERIES / BLOCK_ID_GROUP;
         group++) /* of a group all the same. */
        memcpy(bytes + sizeof header + 1 + group * sizeof group, &group, sizeof group);
    memcpy(bytes + whole - body, data + sizeof counts, body);
    make_sums_right(bytes, whole);
    read_block(bytes, whole, false);
    free(bytes);
}

/* Aggregates of the same bytes: whatever values are good can be added up. */
static void aggregate_column(struct reader reader, enum field_type type, uint32_t count,
                             const uint64_t *values)
{
    column_open_values(&reader);
    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK) {
        uint32_t chunk = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;
        uint32_t first = (uint32_t)values[at] % chunk, end = chunk;
        struct column_aggregate aggregate;
        uint64_t sum = 0;

        column_aggregate_chunk(&reader, type, chunk, first, end, &aggregate);
        CHECK(!reader.bad);
        for (uint32_t i = at + first; i < at + end; i++)
            sum += values[i];
        CHECK(type == FIELD_FLOAT || sum == aggregate.sum_low);
    }
    CHECK(reader_done(&reader));
}

/* Every level of CPU must find the same. */
static bool read_values(struct reader *reader, enum field_type type, uint32_t count,
                        uint64_t *values, const char **ret_text)
{
    uint64_t *others = take(count * sizeof *others);
    struct reader start = *reader;

    CHECK(cpu_use(cpu_level_name(CPU_SCALAR)) == ERR_OK);
    column_get_values(reader, type, count, values, ret_text);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct reader other = start;
        const char *text;

        CHECK(cpu_use(cpu_level_name(level)) == ERR_OK);
        column_get_values(&other, type, count, others, &text);
        CHECK(other.bad == reader->bad);
        if (other.bad)
            continue;
        CHECK(other.at == reader->at);
        CHECK(memcmp(values, others, count * sizeof *values) == 0);
        if (type != FIELD_STRING && reader_done(&other))
            aggregate_column(start, type, count, values);
    }
    free(others);
    return !reader->bad;
}

static void read_column(const uint8_t *data, size_t size)
{
    enum field_type type = (enum field_type)(1 + data[0] % (FIELD_TYPE_END - 1));
    uint32_t rows = 1 + (data[1] | (uint32_t)data[2] << 8) % COLUMN_ROWS;
    struct reader reader = reader_on(data + 3, size - 3);
    struct column_presence presence;
    uint8_t *present = take(rows);
    uint64_t *values = take(rows * sizeof *values);
    const char *text;

    column_find_presence(&reader, rows, &presence);
    if (!reader.bad && column_get_presence(&presence, rows, present)) {
        struct reader start = reader;

        if (read_values(&reader, type, presence.values, values, &text)) {
            for (uint32_t at = 0; at < presence.values && type != FIELD_STRING; at += 1 + at / 3) {
                struct reader one = start;

                CHECK(column_get_one_value(&one, type, presence.values, at) == values[at]);
                CHECK(!one.bad);
            }
            column_spread(present, rows, presence.values, values);
            if (type == FIELD_STRING)
                touch_strings(present, values, rows, text);
        }
    }
    free(present);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t mode = size > 0 ? data[0] % 4 : 0;
    uint8_t *copy;

    if (size < 10)
        return 0;
    data++;
    size--;
    if (mode == 0) {
        read_block(data, size, true);
    } else if (mode == 1 && size >= sizeof(struct block_header)) {
        copy = take(size);
        memcpy(copy, data, size);
        make_sums_right(copy, size);
        read_block(copy, size, false);
        free(copy);
    } else if (mode == 2) {
        read_body(data, size);
    } else if (mode == 3) {
        read_column(data, size);
    }
    return 0;
}
