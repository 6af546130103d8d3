/*
 * The bytes of a log file: headers, and a file written by version 1 that must stay readable.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/crc32c.h"
#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

static const struct log_file_header a_header = {
    .number = 3, .id = 0x1122334455667788, .node = 7, .cluster = 9, .file_bytes = FILE_BYTES};

Test(log_format, a_file_header_comes_back_and_no_flipped_bit_does)
{
    uint8_t page[LOG_ALIGN];
    struct log_file_header header;

    log_file_header_put(&a_header, page);
    cr_assert_eq(log_file_header_get(page, &header), ERR_OK);
    cr_assert_eq(header.number, a_header.number);
    cr_assert_eq(header.id, a_header.id);
    cr_assert_eq(header.node, a_header.node);
    cr_assert_eq(header.cluster, a_header.cluster);
    cr_assert_eq(header.file_bytes, a_header.file_bytes);
    for (size_t bit = 0; bit < sizeof page * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(log_file_header_get(page, &header), ERR_CORRUPT);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(log_format, a_file_of_a_later_version_is_said_to_be_one)
{
    uint8_t page[LOG_ALIGN];
    struct log_file_header header;

    log_file_header_put(&a_header, page);
    page[offsetof(struct log_file_header, version)]++;
    memcpy(&header, page, sizeof header);
    header.crc = crc32c(0, page + 8, LOG_ALIGN - 8);
    memcpy(page, &header, sizeof header);
    cr_assert_eq(log_file_header_get(page, &header), ERR_VERSION);
}

Test(log_format, a_record_is_good_at_its_place_in_its_file_alone)
{
    struct log_record_header header = {
        .size = 3, .position = log_position(3, 8192), .file_id = a_header.id};
    uint8_t payload[] = {1, 2, 3};

    log_record_seal(&header, payload);
    cr_assert(log_record_plausible(&header, header.position, header.file_id, 1000));
    cr_assert(log_record_intact(&header, payload));
    cr_assert_not(log_record_plausible(&header, header.position + 8, header.file_id, 1000));
    cr_assert_not(log_record_plausible(&header, header.position, header.file_id + 1, 1000));
    cr_assert_not(log_record_plausible(&header, header.position, header.file_id, 79));
    payload[2] ^= 1;
    cr_assert_not(log_record_intact(&header, payload));
}

Test(log_format, an_end_comes_back_and_no_flipped_bit_does)
{
    const struct log_end end = {.node = 7, .cluster = 9, .position = log_position(3, 8192)};
    uint8_t bytes[sizeof end];
    struct log_end found;

    log_end_put(&end, bytes);
    cr_assert_eq(log_end_get(bytes, sizeof bytes, &found), ERR_OK);
    cr_assert_eq(found.node, end.node);
    cr_assert_eq(found.cluster, end.cluster);
    cr_assert_eq(found.position, end.position);
    cr_assert_eq(log_end_get(bytes, sizeof bytes - 1, &found), ERR_CORRUPT);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(log_end_get(bytes, sizeof bytes, &found), ERR_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memcpy(&found, bytes, sizeof found);
    found.version++;
    found.crc = crc32c(0, (const uint8_t *)&found + 8, sizeof found - 8);
    memcpy(bytes, &found, sizeof bytes);
    cr_assert_eq(log_end_get(bytes, sizeof bytes, &found), ERR_VERSION);
}

/* ---- Golden -------------------------------------------------------------------------------- */

/* What the golden files hold. GOLDEN_WRITE=1 makes them anew: only when the version changes. The
 * second one has the kind of record that came later. */
static void put_installed_records(struct fixture *fixture)
{
    fixture_add(fixture, 0, LOG_TERM, 1, 0, 5, 0);
    fixture_add(fixture, 1, LOG_INSTALL, 1, 70, 4, 40);
    cr_assert_eq(fixture_write(fixture, 2), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 1, 71, 8);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
}

static void put_golden_records(struct fixture *fixture)
{
    fixture_add(fixture, 0, LOG_TERM, 0, 0, 1, 0);
    fixture_add(fixture, 1, LOG_TERM, 2, 0, 1, 0);
    cr_assert_eq(fixture_write(fixture, 2), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 1, 8);
    fixture_add_entry(fixture, 1, 2, 2, 301);
    fixture_add_entry(fixture, 2, 0, 1, 0);
    cr_assert_eq(fixture_write(fixture, 3), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_SNAPSHOT, 2, 2, 1, 40);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
}

typedef void (*put_records_cb)(struct fixture *fixture);

static void write_golden(const char *path, put_records_cb put_records)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t *bytes;
    size_t size;
    FILE *file;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    put_records(fixture);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK); /* Adds the states. */
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, "log/00000001.log", &size);
    while (size > 0 && bytes[size - 1] == 0)
        size--; /* The file is zeros from there on. */
    file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    (void)fclose(file);
    free(bytes);
    fixture_free(fixture);
}

static void read_golden(const char *name, put_records_cb put_records)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t *bytes = calloc(1, FILE_BYTES);
    char path[512];
    FILE *file;

    cr_assert_not_null(bytes);
    (void)snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, name);
    if (getenv("GOLDEN_WRITE") != NULL)
        write_golden(path, put_records);
    file = fopen(path, "rb");
    cr_assert_not_null(file);
    cr_assert_gt(fread(bytes, 1, FILE_BYTES, file), LOG_ALIGN);
    (void)fclose(file);

    /* The same records, for the list of what has to come back. */
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    put_records(fixture);
    fixture_close(fixture);
    mem_disk_put(fixture->disk, "log/00000001.log", bytes, FILE_BYTES);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    free(bytes);
    fixture_free(fixture);
}

Test(log_format, reads_the_file_that_version_1_wrote)
{
    read_golden("log_v1.bin", put_golden_records);
}

Test(log_format, reads_the_file_with_an_install)
{
    read_golden("log_v1_install.bin", put_installed_records);
}

Test(log_format, reads_the_end_that_version_1_wrote)
{
    const struct log_end end = {.node = 7, .cluster = 0x1234, .position = log_position(3, 8192)};
    const char *path = GOLDEN_DIR "/log_end_v1.bin";
    uint8_t bytes[sizeof end + 1];
    struct log_end found;
    FILE *file;

    if (getenv("GOLDEN_WRITE") != NULL) {
        log_end_put(&end, bytes);
        file = fopen(path, "wb");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(bytes, 1, sizeof end, file), sizeof end);
        (void)fclose(file);
    }
    file = fopen(path, "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fread(bytes, 1, sizeof bytes, file), sizeof end);
    (void)fclose(file);
    cr_assert_eq(log_end_get(bytes, sizeof end, &found), ERR_OK, "%s", err_detail());
    cr_assert_eq(found.node, end.node);
    cr_assert_eq(found.cluster, end.cluster);
    cr_assert_eq(found.position, end.position);
}
