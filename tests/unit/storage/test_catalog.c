#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/catalog.h"
#include "storage/catalog_build.h"
#include "storage/catalog_file.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

/* A catalog, the files that its seals have made, and the list that it must be equal to. */
static struct shard {
    struct mem_disk *disk;
    struct catalog *catalog;
    struct catalog_files files;
    struct catalog_run *runs[CATALOG_FILES_MAX];
    unsigned *list; /* Numbers of keys, by id. */
} shard;

enum { LIST_MAX = 300000 };

static void set_up(void)
{
    memset(&shard, 0, sizeof shard);
    shard.disk = mem_disk_new();
    shard.list = malloc(LIST_MAX * sizeof *shard.list);
    cr_assert_eq(mem_disk_table(shard.disk)->make_dir(shard.disk, "data"), ERR_OK);
    cr_assert_eq(mem_disk_table(shard.disk)->sync_dir(shard.disk, "."), ERR_OK);
    cr_assert_eq(catalog_new(&shard.catalog), ERR_OK);
}

static void close_catalog(void)
{
    catalog_free(shard.catalog);
    for (uint32_t i = 0; i < shard.files.count; i++)
        catalog_run_unref(shard.runs[i]);
    memset(shard.runs, 0, sizeof shard.runs);
    shard.catalog = NULL;
}

static void tear_down(void)
{
    close_catalog();
    mem_disk_free(shard.disk);
    free(shard.list);
}

TestSuite(catalog, .init = set_up, .fini = tear_down);

static const char *const DATABASES[2] = {"d0", "d1"};

/* Key `number`: seven tables of two databases, up to four tags, values that repeat and values that
 * do not. */
static size_t key_of(unsigned number, char *ret_key, size_t *ret_table_size)
{
    char texts[5][32];
    struct tag tags[4] = {{{"host", 4}, {texts[1], 0}},
                          {{"site", 4}, {texts[2], 0}},
                          {{"rack", 4}, {texts[3], 0}},
                          {{"empty", 5}, {"", 0}}};
    struct slice database = {DATABASES[number % 7 % 2], 2};
    struct key_parts parts;
    size_t size;

    (void)snprintf(texts[0], sizeof texts[0], "table-%u", number % 7);
    tags[0].value.size = (size_t)snprintf(texts[1], sizeof texts[1], "host-%08u", number);
    tags[1].value.size = (size_t)snprintf(texts[2], sizeof texts[2], "s%u", number % 13);
    tags[2].value.size = (size_t)snprintf(texts[3], sizeof texts[3], "%x", number * 2654435761u);
    size = key_write(database, (struct slice){texts[0], strlen(texts[0])}, tags, number % 11 % 5,
                     ret_key, 256);
    if (number % 11 % 5 == 0) /* Without a tag there are but seven keys. */
        size =
            key_write(database, (struct slice){texts[0], strlen(texts[0])}, tags, 1, ret_key, 256);
    cr_assert_eq(key_parse(ret_key, size, &parts), 0);
    *ret_table_size = parts.table_key_size;
    return size;
}

static enum err add(unsigned number)
{
    size_t table_size;
    char key[256];
    size_t size = key_of(number, key, &table_size);
    enum err err =
        catalog_add(shard.catalog, (struct slice){key, size}, table_size, key_hash(key, size));

    if (err == ERR_OK)
        shard.list[catalog_total(shard.catalog) - 1] = number;
    return err;
}

static uint32_t find(unsigned number)
{
    size_t table_size;
    char key[256];
    size_t size = key_of(number, key, &table_size);

    return catalog_find(shard.catalog, key, size, key_hash(key, size));
}

static void fill(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        cr_assert_eq(add(i), ERR_OK);
        catalog_confirm(shard.catalog);
    }
}

/* What a seal does. */
static enum err write_view(struct catalog_view *view)
{
    struct catalog_files before = shard.files;
    struct catalog_run *run = NULL;
    enum err err;

    if (view->count == catalog_files_series(&shard.files))
        return ERR_OK;
    err = catalog_file_write(mem_disk_table(shard.disk), "data", 3, view, &shard.files, shard.runs,
                             NULL, &run);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = shard.files.count - 1; i < before.count; i++) {
        catalog_run_unref(shard.runs[i]);
        shard.runs[i] = NULL;
    }
    shard.runs[shard.files.count - 1] = run;
    return catalog_adopt(shard.catalog, run);
}

static enum err seal(void)
{
    struct catalog_view view;
    enum err err = catalog_freeze(shard.catalog, &view);

    if (err == ERR_OK)
        err = write_view(&view);
    catalog_view_fini(&view);
    return err;
}

static enum err open_files(const struct mem_disk *disk, const struct catalog_files *files)
{
    enum err err = ERR_OK;

    cr_assert_eq(catalog_new(&shard.catalog), ERR_OK);
    for (uint32_t i = 0; i < files->count && err == ERR_OK; i++) {
        err = catalog_file_open(mem_disk_table((struct mem_disk *)(uintptr_t)disk), "data", 3,
                                &files->files[i], &shard.runs[i]);
        if (err == ERR_OK)
            err = catalog_load(shard.catalog, shard.runs[i]);
    }
    return err;
}

/* Batches find what one finds, beside keys that are not there. */
static void expect_batch(uint32_t first, uint32_t count)
{
    char texts[CATALOG_BATCH][256];
    struct slice keys[CATALOG_BATCH];
    uint64_t hashes[CATALOG_BATCH];
    uint32_t ids[CATALOG_BATCH];
    size_t table_size;

    for (uint32_t i = 0; i < count; i++) {
        unsigned number = i % 5 == 4 ? LIST_MAX + first + i : shard.list[first + i];

        keys[i] = (struct slice){texts[i], key_of(number, texts[i], &table_size)};
        hashes[i] = key_hash(keys[i].data, keys[i].size);
    }
    catalog_find_batch(shard.catalog, keys, hashes, count, ids);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = catalog_find(shard.catalog, keys[i].data, keys[i].size, hashes[i]);

        cr_assert_eq(ids[i], id);
        cr_assert_eq(catalog_has(shard.catalog, first + i, keys[i]), id == first + i);
        cr_assert_not(catalog_has(shard.catalog, first + i, (struct slice){texts[i], 3}));
    }
}

static void expect_list(void)
{
    struct catalog_view view = catalog_view(shard.catalog);

    for (uint32_t id = 0; id < catalog_total(shard.catalog); id++) {
        char key[256];
        char room[CATALOG_KEY_ROOM];
        size_t table_size;
        size_t size = key_of(shard.list[id], key, &table_size);
        struct slice name, own;

        cr_assert_eq(catalog_find(shard.catalog, key, size, key_hash(key, size)), id);
        if (id >= view.count)
            continue;
        own = catalog_view_key(&view, id, room);
        cr_assert_eq(own.size, size, "series %u", id);
        cr_assert_arr_eq(own.data, key, size);
        cr_assert_eq(catalog_view_table(&view, id), catalog_table(shard.catalog, id));
        name = catalog_view_table_key(&view, catalog_view_table(&view, id));
        cr_assert_eq(name.size, table_size);
        cr_assert_arr_eq(name.data, key, table_size);
    }
    catalog_view_fini(&view);
    for (unsigned database = 0; database < 2; database++) {
        uint32_t series = 0;

        for (uint32_t id = 0; id < catalog_total(shard.catalog); id++)
            series += shard.list[id] % 7 % 2 == database;
        cr_assert_eq(catalog_database_series(shard.catalog, (struct slice){DATABASES[database], 2}),
                     series);
    }
    for (uint32_t id = 0; id < catalog_total(shard.catalog); id += CATALOG_BATCH) {
        uint32_t left = catalog_total(shard.catalog) - id;

        expect_batch(id, left < CATALOG_BATCH ? left : CATALOG_BATCH);
    }
    cr_assert_not(catalog_has(shard.catalog, catalog_total(shard.catalog), (struct slice){"", 0}));
}

/* ---- In memory ----------------------------------------------------------------------------- */

Test(catalog, numbers_series_and_tables_in_order)
{
    struct catalog_view view;

    fill(0, 200000);
    cr_assert_eq(catalog_count(shard.catalog), 200000);
    cr_assert_eq(catalog_tables(shard.catalog), 7);
    expect_list();
    cr_assert_eq(find(200000), CATALOG_NONE);
    view = catalog_view(shard.catalog);
    for (uint32_t table = 0; table < view.tables; table++) {
        struct slice name = catalog_view_table_key(&view, table);

        cr_assert_eq(catalog_view_find_table(&view, name), table);
        cr_assert_eq(catalog_find_table(shard.catalog, name), table);
    }
    cr_assert_eq(catalog_view_find_table(&view, (struct slice){"x", 1}), CATALOG_NONE);
    cr_assert_eq(catalog_view_table(&view, 12345), 12345 % 7);
    catalog_view_fini(&view);
}

Test(catalog, takes_back_tentative_series_and_their_tables)
{
    struct catalog_view view;

    fill(0, 3);
    for (unsigned i = 3; i < 10; i++)
        cr_assert_eq(add(i), ERR_OK);
    cr_assert_eq(catalog_count(shard.catalog), 3);
    cr_assert_eq(catalog_total(shard.catalog), 10);
    cr_assert_eq(catalog_tables(shard.catalog), 7);
    view = catalog_view(shard.catalog);
    cr_assert_eq(view.tables, 3);
    catalog_view_fini(&view);
    catalog_forget(shard.catalog, 5);
    cr_assert_eq(find(4), 4);
    cr_assert_eq(find(5), CATALOG_NONE);
    cr_assert_eq(catalog_tables(shard.catalog), 5);
    catalog_forget(shard.catalog, 3);
    cr_assert_eq(catalog_tables(shard.catalog), 3);
    fill(20, 24); /* In the places of those forgotten. */
    cr_assert_eq(find(20), 3);
    cr_assert_eq(find(4), CATALOG_NONE);
}

static void forget_some(uint64_t *chance)
{
    uint32_t tentative = catalog_total(shard.catalog) - catalog_count(shard.catalog);

    catalog_forget(shard.catalog,
                   catalog_total(shard.catalog) - (uint32_t)seed_below(chance, tentative + 1));
}

/* ---- With seals ---------------------------------------------------------------------------- */

Test(catalog, behaves_as_a_list_under_any_order_of_adding_forgetting_and_sealing)
{
    uint64_t chance = seed_of_run("catalog");
    struct catalog_view views[4] = {0};
    uint32_t first = 0, count = 0; /* Of views that were frozen and are not written yet. */
    unsigned next = 0;

    while (catalog_count(shard.catalog) < 5000) {
        uint64_t what = seed_below(&chance, 200);

        if (what < 130) {
            cr_assert_eq(add(next++), ERR_OK);
        } else if (what < 180) {
            while (catalog_total(shard.catalog) > catalog_count(shard.catalog))
                catalog_confirm(shard.catalog);
        } else if (what < 196) {
            forget_some(&chance);
        } else if (what < 198 && count - first < 4) {
            cr_assert_eq(catalog_freeze(shard.catalog, &views[count++ % 4]), ERR_OK);
        } else if (first < count) {
            cr_assert_eq(write_view(&views[first % 4]), ERR_OK, "%s", err_detail());
            catalog_view_fini(&views[first++ % 4]);
        }
        if (catalog_total(shard.catalog) > 0)
            cr_assert_eq(find(shard.list[catalog_total(shard.catalog) - 1]),
                         catalog_total(shard.catalog) - 1);
    }
    expect_list();
    for (; first < count; first++) {
        cr_assert_eq(write_view(&views[first % 4]), ERR_OK, "%s", err_detail());
        catalog_view_fini(&views[first % 4]);
    }
    expect_list();
}

Test(catalog, comes_back_from_its_files_as_it_was)
{
    /* The second is merged with the first, the third with none, the fourth with the third. */
    static const unsigned ends[] = {100, 100000, 120000, 121000};
    struct catalog_files files;

    for (size_t i = 0; i < 4; i++) {
        fill(i == 0 ? 0 : ends[i - 1], ends[i]);
        cr_assert_eq(seal(), ERR_OK, "%s", err_detail());
        cr_assert_eq(catalog_files_series(&shard.files), ends[i]);
    }
    cr_assert_eq(shard.files.count, 2);
    cr_assert_eq(shard.files.files[0].count, 100000);
    expect_list();
    mem_disk_crash(shard.disk, MEM_DISK_POWER, 0);
    files = shard.files;
    close_catalog();
    cr_assert_eq(open_files(shard.disk, &files), ERR_OK, "%s", err_detail());
    expect_list();
    fill(121000, 121010); /* It can go on. */
    expect_list();
}

Test(catalog, makes_the_same_bytes_whenever_it_gets_to_it)
{
    struct catalog_view views[2];
    struct catalog_files files;
    uint8_t *first, *second;
    size_t size, other_size;
    char path[64];

    fill(0, 1000);
    cr_assert_eq(seal(), ERR_OK);
    fill(1000, 1500);
    cr_assert_eq(seal(), ERR_OK);
    files = shard.files;
    (void)snprintf(path, sizeof path, "data/%08u.mrc", 1500u);
    first = mem_disk_get(shard.disk, path, &size);
    cr_assert_not_null(first);
    tear_down();
    set_up();
    fill(0, 1000);
    cr_assert_eq(catalog_freeze(shard.catalog, &views[0]), ERR_OK);
    fill(1000, 1500);
    cr_assert_eq(catalog_freeze(shard.catalog, &views[1]), ERR_OK);
    fill(1500, 1600);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(write_view(&views[i]), ERR_OK);
        catalog_view_fini(&views[i]);
    }
    cr_assert_eq(files.count, shard.files.count);
    cr_assert_eq(files.files[0].crc, shard.files.files[0].crc);
    second = mem_disk_get(shard.disk, path, &other_size);
    cr_assert_eq(size, other_size);
    cr_assert_arr_eq(first, second, size);
    free(first);
    free(second);
}

Test(catalog, a_view_stays_as_it_was_while_seals_replace_its_parts)
{
    struct catalog_view view;
    char room[CATALOG_KEY_ROOM];

    fill(0, 500);
    view = catalog_view(shard.catalog);
    cr_assert_eq(seal(), ERR_OK);
    fill(500, 1000);
    cr_assert_eq(seal(), ERR_OK);
    for (uint32_t id = 0; id < 500; id++) {
        char key[256];
        size_t table_size;
        size_t size = key_of(id, key, &table_size);
        struct slice own = catalog_view_key(&view, id, room);

        cr_assert_eq(own.size, size);
        cr_assert_arr_eq(own.data, key, size);
    }
    catalog_view_fini(&view);
}

/* ---- Damage -------------------------------------------------------------------------------- */

Test(catalog, notices_every_flipped_bit_and_every_cut_of_its_file)
{
    struct catalog_files files;
    const char *path = "data/00000012.mrc";
    uint8_t *bytes;
    size_t length;

    fill(0, 12);
    cr_assert_eq(seal(), ERR_OK);
    files = shard.files;
    bytes = mem_disk_get(shard.disk, path, &length);
    cr_assert_not_null(bytes);
    for (size_t bit = 0; bit < length * 8; bit++) {
        enum err err;

        mem_disk_flip(shard.disk, path, bit / 8, (uint8_t)(1u << bit % 8));
        close_catalog();
        err = open_files(shard.disk, &files);
        cr_assert_eq(err, ERR_CORRUPT, "bit %zu: %s", bit, err_name(err));
        cr_assert_not_null(strstr(err_detail(), path), "%s", err_detail());
        mem_disk_flip(shard.disk, path, bit / 8, (uint8_t)(1u << bit % 8));
    }
    for (size_t cut = 0; cut < length; cut++) {
        mem_disk_put(shard.disk, path, bytes, cut);
        close_catalog();
        cr_assert_eq(open_files(shard.disk, &files), ERR_CORRUPT, "cut %zu", cut);
        cr_assert_not_null(strstr(err_detail(), path), "%s", err_detail());
    }
    cr_assert_eq(mem_disk_table(shard.disk)->remove(mem_disk_table(shard.disk)->ctx, path), ERR_OK);
    close_catalog();
    cr_assert_eq(open_files(shard.disk, &files), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "missing"), "%s", err_detail());
    mem_disk_put(shard.disk, path, bytes, length);
    close_catalog();
    cr_assert_eq(open_files(shard.disk, &files), ERR_OK);
    free(bytes);
}

Test(catalog, refuses_a_good_file_in_the_place_of_another)
{
    struct catalog_files files;
    uint8_t *bytes;
    size_t length;

    fill(0, 70000);
    cr_assert_eq(seal(), ERR_OK);
    fill(70000, 70001);
    cr_assert_eq(seal(), ERR_OK);
    files = shard.files;
    cr_assert_eq(files.count, 2);
    bytes = mem_disk_get(shard.disk, "data/00070000.mrc", &length);
    mem_disk_put(shard.disk, "data/00070001.mrc", bytes, length);
    free(bytes);
    files.files[1].size = files.files[0].size;
    close_catalog();
    cr_assert_eq(open_files(shard.disk, &files), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "not the one in the manifest"), "%s", err_detail());
}

Test(catalog, a_seal_that_fails_leaves_what_was_and_can_be_tried_again)
{
    struct catalog_view view;
    struct catalog_files files;

    fill(0, 10);
    cr_assert_eq(seal(), ERR_OK);
    fill(10, 20);
    cr_assert_eq(catalog_freeze(shard.catalog, &view), ERR_OK);
    files = shard.files;
    for (uint64_t nth = 1;; nth++) {
        enum err err;

        mem_disk_fail(shard.disk, MEM_DISK_ANY, nth, ERR_IO, false);
        err = write_view(&view);
        mem_disk_fail(shard.disk, 0, 0, ERR_IO, false);
        if (err == ERR_OK) {
            cr_assert_gt(nth, 8); /* Open, writes, sync, rename, the folder, reading it again. */
            break;
        }
        cr_assert_eq(err, ERR_IO);
        cr_assert_arr_eq(&files, &shard.files, sizeof files);
        expect_list();
    }
    catalog_view_fini(&view);
    expect_list();
    mem_disk_crash(shard.disk, MEM_DISK_POWER, 0);
    files = shard.files;
    close_catalog();
    cr_assert_eq(open_files(shard.disk, &files), ERR_OK, "%s", err_detail());
    expect_list();
}

Test(catalog, files_of_the_manifest_follow_each_other)
{
    struct catalog_files files = {2, {{0, 5, 300, 1}, {5, 7, 400, 2}}}, read;
    struct bytes bytes = {0};
    struct reader reader;

    catalog_files_encode(&files, &bytes);
    reader = reader_on(bytes.data, bytes.size);
    cr_assert_eq(catalog_files_decode(&reader, &read), ERR_OK);
    cr_assert_arr_eq(&files, &read, sizeof files);
    for (size_t cut = 0; cut < bytes.size; cut++) {
        reader = reader_on(bytes.data, cut);
        cr_assert(catalog_files_decode(&reader, &read) != ERR_OK || cut < 4);
    }
    files.files[1].first = 6;
    bytes_clear(&bytes);
    catalog_files_encode(&files, &bytes);
    reader = reader_on(bytes.data, bytes.size);
    cr_assert_eq(catalog_files_decode(&reader, &read), ERR_CORRUPT);
    bytes_fini(&bytes);
}
