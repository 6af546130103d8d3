#include <criterion/criterion.h>
#include <string.h>

#include "storage/block/entry.h"
#include "storage/block/seal_order.h"

static const struct seal_database databases[] = {
    {{"a", 1}, SEAL_WINDOW_MIN_NS, INT64_MIN, 0},
    {{"plant", 5}, SEAL_WINDOW_DEFAULT_NS, -7, 12},
};

static const struct seal_compaction compactions[] = {{3, {7, 5, 258}}, {1, {9}}};

static const struct seal_content all = {databases, 2, {NULL, 0}, compactions, 2};

Test(seal_order, comes_back_as_it_was)
{
    struct buf *entry = seal_order_entry(3, 99, &all);
    struct entry_header header;
    struct seal_compaction compaction;
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

Test(seal_order, refuses_every_cut_and_what_makes_no_sense)
{
    struct buf *entry = seal_order_entry(0, 99, &all);
    uint8_t *body = entry->bytes + sizeof(struct entry_header);
    uint32_t size = entry->size;
    struct seal_order order;

    for (entry->size = 0; entry->size < size; entry->size++)
        cr_assert_eq(seal_order_read(entry, &order), ERR_INVALID, "%u bytes", entry->size);
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
    buf_unref(entry);
}
