#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/crc32c.h"
#include "storage/catalog_build.h"
#include "storage/catalog_label.h"

enum { SERIES = 300 };

static struct catalog *catalog;
static struct catalog_run *run;

static size_t key_of(uint32_t number, char *ret_key)
{
    char host[32], site[16];
    struct tag tags[2] = {{{"host", 4}, {host, 0}}, {{"site", 4}, {site, 0}}};

    tags[0].value.size = (size_t)snprintf(host, sizeof host, "host-%04u", number);
    tags[1].value.size = (size_t)snprintf(site, sizeof site, "s%u", number % 3);
    return key_write((struct slice){"d", 1}, (struct slice){"t", 1}, tags, 1 + number % 2, ret_key,
                     256);
}

static void set_up(void)
{
    struct catalog_view view;
    char key[256];

    cr_assert_eq(catalog_new(&catalog), ERR_OK);
    for (uint32_t i = 0; i < SERIES; i++) {
        size_t size = key_of(i, key);

        cr_assert_eq(catalog_add(catalog, (struct slice){key, size}, 4, key_hash(key, size)),
                     ERR_OK);
        catalog_confirm(catalog);
    }
    view = catalog_view(catalog);
    cr_assert_eq(catalog_build(&view, 0, SERIES, 3, NULL, &run), ERR_OK, "%s", err_detail());
    catalog_view_fini(&view);
}

static void tear_down(void)
{
    catalog_run_unref(run);
    catalog_free(catalog);
}

TestSuite(catalog_run, .init = set_up, .fini = tear_down);

static uint32_t find(const struct catalog_run *in, uint32_t number)
{
    char key[256];
    size_t size = key_of(number, key);

    return catalog_run_find(in, (struct slice){key, size}, key_hash(key, size));
}

/* The bytes with the u32 at `at` changed and the header's sum made right. */
static enum err open_changed(size_t at, uint32_t value, struct catalog_run **ret_run)
{
    size_t size = (size_t)run->header.size;
    struct catalog_run_header header;
    uint8_t *bytes = malloc(size);

    memcpy(bytes, run->bytes, size);
    memcpy(bytes + at, &value, sizeof value);
    memcpy(&header, bytes, sizeof header);
    header.crc = crc32c(0, (const uint8_t *)&header + 8, sizeof header - 8);
    memcpy(bytes, &header, sizeof header);
    return catalog_run_open(bytes, size, 3, NULL, ret_run);
}

Test(catalog_run, finds_its_series_and_no_others)
{
    for (uint32_t i = 0; i < SERIES; i++) {
        char key[256], room[CATALOG_KEY_ROOM];
        size_t size = key_of(i, key);

        cr_assert_eq(find(run, i), i);
        cr_assert_eq(catalog_run_key(run, i, room), size);
        cr_assert_arr_eq(room, key, size);
        cr_assert_eq(catalog_run_table(run, i), 0);
    }
    for (uint32_t i = SERIES; i < 3 * SERIES; i++)
        cr_assert_eq(find(run, i), CATALOG_RUN_NONE);
    cr_assert_eq(catalog_run_table(run, SERIES), CATALOG_RUN_NONE);
}

Test(catalog_run, takes_no_number_at_its_word)
{
    /* Offsets in the header: docs/formats.md. */
    static const size_t places[] = {20, 36, 40, 44, 48, 56, 60, 64, 68, 72, 76, 80, 84};
    static const uint32_t values[] = {0, 1, 0x7fffffff, 0xfffffff0, 0xffffffff};

    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            struct catalog_run *changed;
            uint32_t was;

            memcpy(&was, run->bytes + places[p], sizeof was);
            if (was == values[v])
                continue;
            cr_assert_eq(open_changed(places[p], values[v], &changed), ERR_CORRUPT,
                         "offset %zu: %x", places[p], values[v]);
        }
    }
}

Test(catalog_run, finds_the_right_series_or_none_whatever_its_bytes_are)
{
    for (size_t at = sizeof run->header; at + 4 <= run->header.size; at += 3) {
        struct catalog_run *changed;
        uint32_t value;

        memcpy(&value, run->bytes + at, sizeof value);
        if (open_changed(at, value ^ (0x01010101u << at % 8), &changed) != ERR_OK)
            continue;
        for (uint32_t i = 0; i < SERIES; i += 7) {
            uint32_t found = find(changed, i);

            cr_assert(found == i || found == CATALOG_RUN_NONE, "offset %zu: %u is %u", at, i,
                      found);
        }
        catalog_run_unref(changed);
    }
}

Test(catalog_run, tells_which_label_has_most_values)
{
    struct catalog_view view = catalog_view(catalog);
    struct catalog_label label = catalog_label_widest(&view, (struct slice){"", 0});

    cr_assert_str_eq(label.name, "host");
    cr_assert_eq(label.values, 256); /* Of the keys that it looks at. */
    catalog_view_fini(&view);
    cr_assert_eq(catalog_freeze(catalog, &view), ERR_OK);
    cr_assert_eq(catalog_adopt(catalog, run), ERR_OK);
    catalog_view_fini(&view);
    view = catalog_view(catalog);
    label = catalog_label_widest(&view, (struct slice){"", 0});
    cr_assert_str_eq(label.name, "host");
    cr_assert_eq(label.values, SERIES);
    label = catalog_label_widest(&view, (struct slice){"none", 4});
    cr_assert_str_eq(label.name, "");
    catalog_view_fini(&view);
}
