#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/crc32c.h"
#include "storage/catalog.h"
#include "storage/catalog_file.h"
#include "tests/support/entries.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

static struct catalog *catalog;
static struct mem_disk *disk;

static void set_up(void)
{
    disk = mem_disk_new();
    cr_assert_eq(mem_disk_table(disk)->make_dir(disk, "data"), ERR_OK);
    cr_assert_eq(mem_disk_table(disk)->sync_dir(disk, "."), ERR_OK);
    cr_assert_eq(catalog_new(&catalog), ERR_OK);
}

static void tear_down(void)
{
    catalog_free(catalog);
    mem_disk_free(disk);
}

TestSuite(catalog, .init = set_up, .fini = tear_down);

static size_t key_of(unsigned number, char *ret_key)
{
    char table[16];
    char host[32];

    (void)snprintf(table, sizeof table, "table-%u", number % 7);
    (void)snprintf(host, sizeof host, "host-%08u", number);
    return entries_key(table, host, ret_key);
}

static enum err add(struct catalog *into, unsigned number)
{
    struct key_parts parts;
    char key[256];
    size_t size = key_of(number, key);

    cr_assert_eq(key_parse(key, size, &parts), 0);
    return catalog_add(into, (struct slice){key, size}, parts.table_key_size, key_hash(key, size));
}

static uint32_t find(const struct catalog *in, unsigned number)
{
    char key[256];
    size_t size = key_of(number, key);

    return catalog_find(in, key, size, key_hash(key, size));
}

static void fill(struct catalog *into, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        cr_assert_eq(add(into, i), ERR_OK);
        catalog_confirm(into);
    }
}

static void expect_same(const struct catalog *a, const struct catalog *b)
{
    cr_assert_eq(catalog_count(a), catalog_count(b));
    cr_assert_eq(catalog_tables(a), catalog_tables(b));
    for (uint32_t id = 0; id < catalog_count(a); id++) {
        struct slice left = catalog_key(a, id);
        struct slice right = catalog_key(b, id);

        cr_assert_eq(left.size, right.size);
        cr_assert_arr_eq(left.data, right.data, left.size);
        cr_assert_eq(catalog_table(a, id), catalog_table(b, id));
        cr_assert_eq(catalog_find(b, right.data, right.size, key_hash(right.data, right.size)), id);
    }
}

/* ---- In memory ----------------------------------------------------------------------------- */

Test(catalog, numbers_series_and_tables_in_order)
{
    struct catalog_view view;
    char key[256];
    size_t size;

    fill(catalog, 0, 200000);
    cr_assert_eq(catalog_count(catalog), 200000);
    cr_assert_eq(catalog_tables(catalog), 7);
    for (unsigned i = 0; i < 200000; i += 97)
        cr_assert_eq(find(catalog, i), i);
    cr_assert_eq(find(catalog, 200000), CATALOG_NONE);
    view = catalog_view(catalog);
    size = key_of(12345, key);
    cr_assert_eq(catalog_view_key(&view, 12345).size, size);
    cr_assert_arr_eq(catalog_view_key(&view, 12345).data, key, size);
    for (uint32_t table = 0; table < view.tables; table++) {
        struct slice name = catalog_view_table_key(&view, table);

        cr_assert_eq(catalog_view_find_table(&view, name), table);
        cr_assert_eq(catalog_find_table(catalog, name), table);
    }
    cr_assert_eq(catalog_view_find_table(&view, (struct slice){"x", 1}), CATALOG_NONE);
    cr_assert_eq(catalog_view_table(&view, 12345), 12345 % 7);
}

Test(catalog, takes_back_tentative_series_and_their_tables)
{
    fill(catalog, 0, 3);
    for (unsigned i = 3; i < 10; i++)
        cr_assert_eq(add(catalog, i), ERR_OK);
    cr_assert_eq(catalog_count(catalog), 3);
    cr_assert_eq(catalog_total(catalog), 10);
    cr_assert_eq(catalog_tables(catalog), 7);
    cr_assert_eq(catalog_view(catalog).tables, 3);
    catalog_forget(catalog, 5);
    cr_assert_eq(find(catalog, 4), 4);
    cr_assert_eq(find(catalog, 5), CATALOG_NONE);
    cr_assert_eq(catalog_tables(catalog), 5);
    catalog_forget(catalog, 3);
    cr_assert_eq(catalog_tables(catalog), 3);
    fill(catalog, 20, 24); /* In the places of those forgotten. */
    cr_assert_eq(find(catalog, 20), 3);
    cr_assert_eq(find(catalog, 4), CATALOG_NONE);
}

Test(catalog, behaves_as_a_list_under_any_order_of_adding_and_forgetting)
{
    uint64_t chance = seed_of_run("catalog");
    unsigned list[4096];
    uint32_t count = 0;
    unsigned next = 0;

    while (catalog_count(catalog) < 3000) {
        switch (seed_below(&chance, 4)) {
        case 0:
        case 1:
            if (catalog_total(catalog) == 4096)
                break;
            cr_assert_eq(add(catalog, next), ERR_OK);
            list[catalog_total(catalog) - 1] = next++;
            break;
        case 2:
            if (catalog_total(catalog) > catalog_count(catalog))
                catalog_confirm(catalog);
            break;
        default:
            if (seed_below(&chance, 8) == 0)
                catalog_forget(catalog,
                               catalog_count(catalog) +
                                   (uint32_t)seed_below(&chance, catalog_total(catalog) -
                                                                     catalog_count(catalog) + 1));
        }
        count = catalog_total(catalog);
        if (count > 0)
            cr_assert_eq(find(catalog, list[count - 1]), count - 1);
    }
    for (uint32_t id = 0; id < count; id++)
        cr_assert_eq(find(catalog, list[id]), id);
}

Test(catalog, hands_out_its_keys_in_pieces_that_load_again)
{
    struct catalog *other;

    fill(catalog, 0, 100000); /* Several chunks of keys. */
    cr_assert_eq(catalog_new(&other), ERR_OK);
    for (uint32_t at = 0; at < 100000;) {
        uint32_t next = 0;
        struct slice piece = catalog_stored(catalog, at, 100000, &next);

        cr_assert_gt(next, at);
        cr_assert_eq(catalog_load(other, piece.data, piece.size, next - at), ERR_OK, "%s",
                     err_detail());
        at = next;
    }
    expect_same(catalog, other);
    catalog_free(other);
}

Test(catalog, refuses_to_load_what_are_no_keys)
{
    static const struct {
        const char *bytes;
        size_t size;
        uint32_t count;
    } cases[] = {
        {"\x05\x01"
         "a",
         3, 1},              /* Ends early. */
        {"\x02\x05z", 3, 1}, /* No table in it. */
        {"\x04\x01"
         "a\x01"
         "b",
         5, 2}, /* One key, not two. */
        {"\x04\x01"
         "a\x01"
         "b\x04\x01"
         "a\x01"
         "b",
         10, 2}, /* Twice the same. */
        {"\x84\x00\x01"
         "a\x01"
         "b",
         6, 1}, /* Its size is spelt too long. */
        {"\x80", 1, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct catalog *other;

        cr_assert_eq(catalog_new(&other), ERR_OK);
        cr_assert_eq(catalog_load(other, cases[i].bytes, cases[i].size, cases[i].count),
                     ERR_CORRUPT, "case %zu", i);
        catalog_free(other);
    }
}

/* ---- On disk ------------------------------------------------------------------------------- */

static enum err append(const struct catalog *from, uint64_t size, uint32_t first, uint32_t end,
                       uint64_t *ret_size)
{
    struct catalog_view view = catalog_view(from);

    return catalog_file_append(mem_disk_table(disk), "data", 3, size, &view, first, end, ret_size);
}

static enum err load(struct mem_disk *from, uint64_t size, uint32_t count,
                     struct catalog **ret_catalog)
{
    cr_assert_eq(catalog_new(ret_catalog), ERR_OK);
    return catalog_file_load(mem_disk_table(from), "data", 3, size, count, *ret_catalog);
}

Test(catalog, comes_back_from_its_file_as_it_was)
{
    struct catalog *loaded;
    uint64_t size = 0;

    fill(catalog, 0, 60000);
    cr_assert_eq(append(catalog, 0, 0, 1, &size), ERR_OK);
    cr_assert_eq(append(catalog, size, 1, 2, &size), ERR_OK);
    cr_assert_eq(append(catalog, size, 2, 60000, &size), ERR_OK);
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_eq(load(disk, size, 60000, &loaded), ERR_OK, "%s", err_detail());
    expect_same(catalog, loaded);
    fill(loaded, 60000, 60010); /* It can go on. */
    cr_assert_eq(find(loaded, 60009), 60009);
    catalog_free(loaded);
}

Test(catalog, cuts_what_a_seal_left_behind)
{
    struct catalog *loaded;
    uint64_t size = 0;
    uint64_t longer = 0;
    size_t left = 0;

    fill(catalog, 0, 20);
    cr_assert_eq(append(catalog, 0, 0, 10, &size), ERR_OK);
    cr_assert_eq(append(catalog, size, 10, 20, &longer), ERR_OK);
    cr_assert_eq(load(disk, size, 10, &loaded), ERR_OK, "%s", err_detail());
    cr_assert_eq(catalog_count(loaded), 10);
    catalog_free(loaded);
    free(mem_disk_get(disk, "data/catalog.mrc", &left));
    cr_assert_eq(left, size);
}

Test(catalog, notices_every_flipped_bit_and_every_cut_of_its_file)
{
    struct catalog *loaded;
    uint64_t size = 0;
    uint8_t *bytes;
    size_t length;

    fill(catalog, 0, 12);
    cr_assert_eq(append(catalog, 0, 0, 5, &size), ERR_OK);
    cr_assert_eq(append(catalog, size, 5, 12, &size), ERR_OK);
    bytes = mem_disk_get(disk, "data/catalog.mrc", &length);
    cr_assert_eq(length, size);
    for (size_t bit = 0; bit < length * 8; bit++) {
        mem_disk_flip(disk, "data/catalog.mrc", bit / 8, (uint8_t)(1u << bit % 8));
        cr_assert_eq(load(disk, size, 12, &loaded), ERR_CORRUPT, "bit %zu", bit);
        cr_assert_neq(strstr(err_detail(), "data/catalog.mrc"), NULL, "%s", err_detail());
        catalog_free(loaded);
        mem_disk_flip(disk, "data/catalog.mrc", bit / 8, (uint8_t)(1u << bit % 8));
    }
    for (size_t cut = 0; cut < length; cut++) {
        mem_disk_put(disk, "data/catalog.mrc", bytes, cut);
        cr_assert_eq(load(disk, size, 12, &loaded), ERR_CORRUPT, "cut at %zu", cut);
        catalog_free(loaded);
    }
    free(bytes);
}

Test(catalog, refuses_good_chunks_at_the_wrong_place)
{
    struct catalog *loaded;
    uint64_t first = 0;
    uint64_t size = 0;
    uint8_t *bytes;
    size_t length;

    fill(catalog, 0, 2);
    cr_assert_eq(append(catalog, 0, 0, 1, &first), ERR_OK);
    cr_assert_eq(append(catalog, first, 1, 2, &size), ERR_OK);
    bytes = mem_disk_get(disk, "data/catalog.mrc", &length);
    /* The first chunk again, where the second one stood: both are as long. */
    memcpy(bytes + first, bytes + 64, size - first);
    mem_disk_put(disk, "data/catalog.mrc", bytes, length);
    cr_assert_eq(load(disk, size, 2, &loaded), ERR_CORRUPT);
    catalog_free(loaded);
    free(bytes);
}

Test(catalog, names_the_version_that_it_cannot_read)
{
    struct catalog_file_header header;
    struct catalog *loaded;
    uint64_t size = 0;
    uint8_t *bytes;
    size_t length;

    fill(catalog, 0, 1);
    cr_assert_eq(append(catalog, 0, 0, 1, &size), ERR_OK);
    bytes = mem_disk_get(disk, "data/catalog.mrc", &length);
    memcpy(&header, bytes, sizeof header);
    header.version = 9;
    header.crc = crc32c(0, &header.version, sizeof header - 8);
    memcpy(bytes, &header, sizeof header);
    mem_disk_put(disk, "data/catalog.mrc", bytes, length);
    cr_assert_eq(load(disk, size, 1, &loaded), ERR_VERSION);
    cr_assert_neq(strstr(err_detail(), "version 9"), NULL, "%s", err_detail());
    catalog_free(loaded);
    free(bytes);
}

Test(catalog, keeps_what_stood_when_appending_fails)
{
    struct catalog *loaded;
    uint64_t size = 0;
    uint64_t longer = 0;

    fill(catalog, 0, 20);
    cr_assert_eq(append(catalog, 0, 0, 10, &size), ERR_OK);
    for (uint64_t nth = 1; nth <= 4; nth++) { /* Open, two writes, sync. */
        mem_disk_fail(disk, MEM_DISK_ANY, nth, ERR_IO, false);
        cr_assert_eq(append(catalog, size, 10, 20, &longer), ERR_IO, "call %lu",
                     (unsigned long)nth);
        mem_disk_fail(disk, 0, 0, ERR_IO, false);
    }
    cr_assert_eq(append(catalog, size, 10, 20, &longer), ERR_OK);
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_eq(load(disk, longer, 20, &loaded), ERR_OK, "%s", err_detail());
    expect_same(catalog, loaded);
    catalog_free(loaded);
}
