#include <criterion/criterion.h>
#include <string.h>

#include "storage/block/entry.h"
#include "storage/block/seal_order.h"

enum { CLEANS_SIZE = 4 + 2 * 16 }; /* What stands of them at the end of `all`. */

static const struct seal_database databases[] = {
    {{"a", 1}, SEAL_WINDOW_MIN_NS, INT64_MIN, 0},
    {{"plant", 5}, SEAL_WINDOW_DEFAULT_NS, -7, 12},
};

static const struct seal_compaction compactions[] = {{3, {7, 5, 258}}, {1, {9}}};

static const struct seal_clean cleans[] = {{3, 17}, {258, 97}};

static const struct seal_content all = {databases, 2, {NULL, 0}, compactions, 2, cleans, 2};

Test(seal_order, comes_back_as_it_was)
{
    struct buf *entry = seal_order_entry(3, 99, &all);
    struct entry_header header;
    struct seal_compaction compaction;
    struct seal_clean clean;
    struct seal_database database;
    struct seal_order order;

    cr_assert_eq(entry_check(entry->bytes, entry->size, &header), ERR_OK, "%s", err_detail());
    cr_assert_eq(header.kind, ENTRY_SEAL);
    cr_assert_eq(header.shard, 3);
    cr_assert_eq(seal_order_read(entry, &order), ERR_OK, "%s", err_detail());
    cr_assert_eq(order.upto, 99);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(seal_order_next(&order, &database));
        cr_assert_eq(database.name.size, databases[i].name.size);
        cr_assert_eq(memcmp(database.name.data, databases[i].name.data, database.name.size), 0);
        cr_assert_eq(database.window_ns, databases[i].window_ns);
        cr_assert_eq(database.cutoff_ns, databases[i].cutoff_ns);
        cr_assert_eq(database.drop, databases[i].drop);
    }
    cr_assert_not(seal_order_next(&order, &database));
    for (size_t i = 0; i < 2; i++) {
        cr_assert(seal_order_compaction(&order, &compaction));
        cr_assert_eq(compaction.count, compactions[i].count);
        cr_assert_arr_eq(compaction.inputs, compactions[i].inputs, compaction.count * 8);
    }
    cr_assert_not(seal_order_compaction(&order, &compaction));
    for (size_t i = 0; i < 2; i++) {
        cr_assert(seal_order_clean(&order, &clean));
        cr_assert_eq(clean.number, cleans[i].number);
        cr_assert_eq(clean.index, cleans[i].index);
    }
    cr_assert_not(seal_order_clean(&order, &clean));
    buf_unref(entry);
}

Test(seal_order, has_the_bytes_of_the_specification)
{
    static const uint8_t body[] = {
        9, 0, 0, 0, 0, 0,    0, 0, 1, 0, 0, 0, 1, 'a', 0, 0x58, 0x47, 0xf8, 0x0d, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0,   0, 1,    0,    0,    0,    3, 0, 0, 0, 7,
        0, 0, 0, 0, 0, 0,    0, 5, 0, 0, 0, 0, 0, 0,   0, 2,    1,    0,    0,    0, 0, 0, 0};
    struct buf *entry = seal_order_entry(0, 9,
                                         &(struct seal_content){.databases = databases,
                                                                .database_count = 1,
                                                                .compactions = compactions,
                                                                .compaction_count = 1});

    cr_assert_eq(entry->size, sizeof(struct entry_header) + sizeof body);
    cr_assert_arr_eq(entry->bytes + sizeof(struct entry_header), body, sizeof body);
    buf_unref(entry);
}

Test(seal_order, has_clean_segments_behind_all_else)
{
    static const uint8_t end[] = {0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0,  0, 0, 0, 17, 0, 0, 0,
                                  0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 97, 0, 0, 0, 0,  0, 0, 0};
    struct buf *entry =
        seal_order_entry(0, 9, &(struct seal_content){.cleans = cleans, .clean_count = 2});

    cr_assert_arr_eq(entry->bytes + entry->size - sizeof end, end, sizeof end);
    buf_unref(entry);
}

/* As programs wrote them that knew nothing of clean segments. */
Test(seal_order, may_end_before_its_clean_segments)
{
    struct seal_content content = all;
    struct seal_order order;
    struct seal_clean clean;
    struct buf *entry;

    content.clean_count = 0;
    entry = seal_order_entry(0, 99, &content);
    cr_assert_eq(seal_order_read(entry, &order), ERR_OK, "%s", err_detail());
    cr_assert_not(seal_order_clean(&order, &clean));
    cr_assert_eq(order.compactions_left, 2);
    buf_unref(entry);
}

Test(seal_order, refuses_every_cut_and_what_makes_no_sense)
{
    struct buf *entry = seal_order_entry(0, 99, &all);
    uint8_t *body = entry->bytes + sizeof(struct entry_header);
    uint32_t size = entry->size;
    struct seal_order order;

    for (entry->size = 0; entry->size < size; entry->size++)
        cr_assert_eq(seal_order_read(entry, &order),
                     entry->size == size - CLEANS_SIZE ? ERR_OK : ERR_INVALID, "%u bytes",
                     entry->size);
    cr_assert_eq(seal_order_read(entry, &order), ERR_OK);
    body[8] = 1; /* One database, and bytes behind it. */
    cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID);
    body[8] = 2;
    body[12] = 0; /* No name. */
    cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID);
    body[12] = 1;
    body[11] = 0x80; /* Two thousand million databases. */
    cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID);
    body[11] = 0;
    body[18] = 0; /* A window of a split second. */
    cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID);
    body[18] = 0x0d;
    body[entry->size - sizeof(struct entry_header) - CLEANS_SIZE + 1] = 2; /* 514 of them. */
    cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID);
    buf_unref(entry);
}
