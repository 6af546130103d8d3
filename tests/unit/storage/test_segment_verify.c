/*
 * Verifying a segment's file: what no checksum shows, the hash of the contents does, and a disk
 * that fails is not damage. (Every flipped bit: test_store_damage.c.)
 */
#include "storage/segment_verify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment_damage.h"
#include "storage/segment_format.h"
#include "storage/store_internal.h"
#include "tests/support/replica.h"

enum { TABLES = 3, ROWS = 400 };

static const char path[] = "data/00000001.mrs";
static struct replica replica;
static struct segment_info info;

/* A segment with a group for each of some tables, and nobody who has it open. */
static void set_up(void)
{
    static struct entries_value values[TABLES * ROWS];

    for (unsigned i = 0; i < TABLES * ROWS; i++)
        values[i] = (struct entries_value){.table = (const char *[]){"a", "b", "c"}[i / ROWS],
                                           .host = "h",
                                           .time_ns = i,
                                           .field = "v",
                                           .type = FIELD_INT,
                                           .bits = (uint64_t)i * i};
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    replica_write(&replica, &(struct entries_from){0}, values, TABLES * ROWS);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    info = *segment_info(replica.store->segments[0]);
    cr_assert_eq(info.groups, TABLES);
    replica_close(&replica);
}

static void tear_down(void)
{
    cr_assert_eq(mem_disk_open_files(replica.disk), 0);
    replica_fini(&replica);
}

TestSuite(segment_verify, .init = set_up, .fini = tear_down);

static struct segment *open_it(void)
{
    struct segment *segment = NULL;

    cr_assert_eq(segment_open(replica.options.disk, "data", 0, &info, &segment), ERR_OK, "%s",
                 err_detail());
    return segment;
}

Test(segment_verify, what_was_written_is_good)
{
    struct segment *segment = open_it();

    cr_assert_eq(segment_verify(segment), ERR_OK, "%s", err_detail());
    cr_assert_eq(segment_verify(segment), ERR_OK, "twice");
    cr_assert_not(segment_is_damaged(segment));
    segment_unref(segment);
}

/* As a fault in memory would have made it: every sum fits, the contents are others. */
Test(segment_verify, a_hash_that_is_not_of_the_contents_is_damage)
{
    struct segment_footer footer;
    struct segment *segment;
    char says[80];
    size_t size;
    uint8_t *bytes = mem_disk_get(replica.disk, path, &size);

    memcpy(&footer, bytes + size - sizeof footer, sizeof footer);
    footer.hash ^= 1;
    footer.crc = segment_footer_crc(&footer);
    memcpy(bytes + size - sizeof footer, &footer, sizeof footer);
    mem_disk_put(replica.disk, path, bytes, size);
    free(bytes);
    (void)snprintf(says, sizeof says, "the contents have hash %016lx, the footer says %016lx",
                   (unsigned long)info.hash, (unsigned long)footer.hash);
    info.hash = footer.hash;
    segment = open_it();
    cr_assert_eq(segment_verify(segment), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), path), "%s", err_detail());
    cr_assert_not_null(strstr(err_detail(), says), "%s", err_detail());
    cr_assert(segment_is_damaged(segment));
    segment_unref(segment);
}

Test(segment_verify, the_first_group_that_is_damaged_is_named)
{
    struct segment *segment = open_it();
    uint64_t offset = segment_group(segment, 1)->offset;
    char says[40];

    mem_disk_flip(replica.disk, path, segment_group(segment, 2)->offset + 3, 1);
    mem_disk_flip(replica.disk, path, offset + 3, 1);
    (void)snprintf(says, sizeof says, "offset %lu", (unsigned long)offset);
    cr_assert_eq(segment_verify(segment), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), says), "%s\n%s", err_detail(), says);
    segment_unref(segment);
}

/* The directory was good when the segment was opened; what is read later counts, too. */
Test(segment_verify, a_footer_that_was_damaged_since_is_found)
{
    struct segment *segment = open_it();

    mem_disk_flip(replica.disk, path, info.size - sizeof(struct segment_footer), 1);
    cr_assert_eq(segment_verify(segment), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "the footer is damaged"), "%s", err_detail());
    cr_assert(segment_is_damaged(segment));
    segment_unref(segment);
}

Test(segment_verify, a_disk_that_fails_at_any_read_is_said_to_have_failed)
{
    struct segment *segment = open_it();
    uint64_t before = mem_disk_calls(replica.disk, MEM_DISK_READ), reads;

    cr_assert_eq(segment_verify(segment), ERR_OK);
    reads = mem_disk_calls(replica.disk, MEM_DISK_READ) - before;
    cr_assert_gt(reads, TABLES);
    for (uint64_t i = 1; i <= reads; i++) {
        mem_disk_fail(replica.disk, MEM_DISK_READ, i, ERR_IO, false);
        cr_assert_eq(segment_verify(segment), ERR_IO, "read %lu", (unsigned long)i);
    }
    mem_disk_fail(replica.disk, 0, 0, ERR_OK, false);
    cr_assert_eq(segment_verify(segment), ERR_OK, "%s", err_detail());
    segment_unref(segment);
}
