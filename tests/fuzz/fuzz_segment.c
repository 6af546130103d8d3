/*
 * Segment files from anybody. The checksums of header, directory and footer are made right first,
 * then those of all pieces and frames that the directory leads to, and the manifest is taken to say
 * what the file says of itself; then it is opened, every column of every chunk is read, and it is
 * checked as tools do.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/segment_check.h"
#include "storage/segment_cursor.h"
#include "storage/segment_format.h"
#include "tests/support/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct segment_info make_right(uint8_t *bytes, size_t size)
{
    struct segment_info info = {.size = size};
    struct segment_header header;
    struct segment_footer footer;

    if (size < sizeof header + sizeof footer)
        return info;
    memcpy(&header, bytes, sizeof header);
    memcpy(&footer, bytes + size - sizeof footer, sizeof footer);
    header.shard = 0;
    header.number = footer.number = 1;
    header.crc = segment_header_crc(&header);
    footer.size = size;
    if (footer.directory_offset <= size - sizeof footer)
        footer.directory_crc = crc32c(0, bytes + footer.directory_offset,
                                      size - sizeof footer - footer.directory_offset);
    footer.crc = segment_footer_crc(&footer);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + size - sizeof footer, &footer, sizeof footer);
    info.number = 1;
    info.first_index = header.first_index;
    info.last_index = header.last_index;
    info.rows = footer.rows;
    info.points = footer.points;
    info.hash = footer.hash;
    info.groups = footer.groups;
    return info;
}

static void sum_part(uint8_t *bytes, size_t size, uint64_t offset, uint64_t part)
{
    uint32_t crc;

    if (offset > size || part > size - offset || part < sizeof crc)
        return;
    crc = segment_crc(offset, bytes + offset, part);
    memcpy(bytes + offset, &crc, sizeof crc);
}

/* Sum what an opened segment leads to. */
static void make_parts_right(const struct segment *segment, uint8_t *bytes, size_t size)
{
    for (uint32_t i = 0; i < segment_groups(segment); i++) {
        const struct segment_group *group = segment_group(segment, i);
        size_t piece = segment_piece_size(group->chunks);
        uint32_t columns = SEGMENT_COLUMNS + segment_table(segment, i)->field_count;

        for (uint32_t column = 1; column < columns; column++) {
            uint64_t at = segment_piece_offset(group, column), offset = group->offset;
            uint32_t words[3];

            memcpy(words, bytes + at + 4, sizeof words);
            if (column == 1) {
                sum_part(bytes, size, offset, words[0]);
                offset += words[0];
                words[0] = words[1];
            } else {
                memcpy(&offset, &words[1], sizeof offset);
            }
            sum_part(bytes, size, offset, words[0]);
        }
        for (uint32_t column = 1; column < columns; column++)
            sum_part(bytes, size, segment_piece_offset(group, column), piece);
    }
}

static void read_chunk(struct segment_cursor *cursor, uint32_t chunk)
{
    static uint32_t ids[SEGMENT_CHUNK_ROWS], counts[SEGMENT_CHUNK_ROWS];
    static int64_t times_ns[SEGMENT_CHUNK_ROWS];
    static uint64_t values[SEGMENT_CHUNK_ROWS];
    static uint8_t present[SEGMENT_CHUNK_ROWS];
    const char *strings;

    for (uint32_t i = 0; i < cursor->table->field_count; i++)
        for (uint32_t n = 0; n < 3; n++) {
            uint32_t span = cursor->chunks[chunk].series_max - cursor->chunks[chunk].series_min;
            struct column_newest_value value;
            enum column_newest found;

            (void)(segment_cursor_newest(cursor, chunk, i,
                                         cursor->chunks[chunk].series_min + span / 2 * n, &found,
                                         &value) == ERR_OK);
        }
    (void)(segment_cursor_runs(cursor, chunk, ids, counts) == ERR_OK);
    (void)(segment_cursor_times(cursor, chunk, times_ns) == ERR_OK);
    for (uint32_t i = 0; i < cursor->table->field_count; i++)
        if (segment_cursor_field(cursor, chunk, i, present, values, &strings) == ERR_OK &&
            cursor->table->fields[i].type == FIELD_STRING)
            for (uint32_t row = 0; row < cursor->chunks[chunk].rows; row++)
                (void)crc32c(0, strings + (uint32_t)values[row], (size_t)(values[row] >> 32));
}

static void read_all(const struct segment *segment)
{
    static struct segment_cursor cursor;

    for (uint32_t i = 0; i < segment_groups(segment); i++)
        if (segment_cursor_open(&cursor, segment, i) == ERR_OK)
            for (uint32_t chunk = 0; chunk < cursor.group->chunks; chunk++)
                read_chunk(&cursor, chunk);
    segment_cursor_fini(&cursor);
}

static void pass_over(void *arg, const struct damage *damage)
{
    (void)arg, (void)damage;
}

/* By what the file says of itself, as strictly as it goes and not. */
static void check_alone(const struct disk *disk, bool salvage)
{
    struct damage_sink sink = {.report = pass_over};
    struct segment *segment;
    uint32_t shard;

    if (segment_open_alone(disk, "./00000001.mrs", salvage, &shard, &segment) != ERR_OK)
        return;
    CHECK(segment_check(segment, NULL, &sink) == ERR_OK);
    segment_unref(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_disk *disk = mem_disk_new();
    uint8_t *bytes = malloc(size + 1);
    struct segment_info info;
    struct segment *segment;

    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    info = make_right(bytes, size);
    mem_disk_put(disk, "./00000001.mrs", bytes, size);
    if (segment_open(mem_disk_table(disk), ".", 0, &info, &segment) == ERR_OK) {
        make_parts_right(segment, bytes, size);
        segment_unref(segment);
        mem_disk_put(disk, "./00000001.mrs", bytes, size);
        /* A frame that claims to stand in the directory has broken it now. */
        if (segment_open(mem_disk_table(disk), ".", 0, &info, &segment) == ERR_OK) {
            read_all(segment);
            segment_unref(segment);
        }
        check_alone(mem_disk_table(disk), false);
    }
    check_alone(mem_disk_table(disk), true);
    mem_disk_free(disk);
    free(bytes);
    return 0;
}
