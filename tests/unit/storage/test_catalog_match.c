/*
 * Conditions against a run, and against the same keys taken apart one by one.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/catalog_build.h"
#include "storage/catalog_match.h"
#include "storage/scan_match.h"
#include "tests/support/seed.h"

enum { SERIES = 5000 };

static const struct scan_limits limits;

/* Two tables; tags that some do not have; values of few and of many series, in any order. */
static void add(struct catalog *catalog, uint32_t number)
{
    char host[32], site[8];
    struct tag tags[3] = {{{"host", 4}, {host, 0}}, {{"site", 4}, {site, 0}}, {{"x", 1}, {"", 0}}};
    uint32_t mixed = number < SERIES / 2 ? number : number * 2654435761u % 100000;
    struct key_parts parts;
    char key[256];
    size_t size;

    tags[0].value.size = (size_t)snprintf(host, sizeof host, "host-%05u-%u", mixed, number);
    tags[1].value.size = (size_t)snprintf(site, sizeof site, "s%u", mixed / 16 % 9);
    size = key_write((struct slice){"d", 1}, (struct slice){mixed % 5 == 4 ? "u" : "t", 1}, tags,
                     mixed % 7 == 6 ? 1 : 2 + mixed % 7 / 5, key, sizeof key);
    cr_assert_eq(key_parse(key, size, &parts), 0);
    cr_assert_eq(
        catalog_add(catalog, (struct slice){key, size}, parts.table_key_size, key_hash(key, size)),
        ERR_OK);
    catalog_confirm(catalog);
}

/* The same question to keys in memory, and to the run that is made of them. */
static void expect_same(const struct catalog_view *keys, const struct catalog_view *run,
                        const struct query *query)
{
    struct scan_match expected, found;

    cr_assert_eq(scan_match_find(keys, query, &limits, &expected), ERR_OK, "%s", err_detail());
    cr_assert_eq(scan_match_find(run, query, &limits, &found), ERR_OK, "%s", err_detail());
    cr_assert_eq(found.count, expected.count, "%u of %u: %s %u %s", found.count, expected.count,
                 query->where[0].name, query->where[0].op, query->where[0].value);
    for (uint32_t i = 0; i < found.count; i++)
        cr_assert_eq(found.ids[i], expected.ids[i]);
    scan_match_fini(&expected);
    scan_match_fini(&found);
}

static void ask(const struct catalog_view *keys, const struct catalog_view *run)
{
    static const char *const names[] = {"host", "site", "x", "other", "a"};
    static const char *const values[] = {"s3", "s8", "", "host-00017-17", "z"};
    static const char *const patterns[] = {"host-000.*", "s[1-3]",        "",       ".*7", "s3|s4|",
                                           "h.*1",       "host-00017-17", "\xff.*", ".+"};
    uint64_t chance = seed_of_run("catalog_match");

    for (int i = 0; i < 300; i++) {
        struct query query = {.database = "d", .table = seed_below(&chance, 5) == 0 ? "u" : "t"};

        query.where_count = 1 + (uint32_t)seed_below(&chance, 3);
        for (uint32_t w = 0; w < query.where_count; w++) {
            struct query_match *where = &query.where[w];

            where->name = names[seed_below(&chance, 5)];
            where->op = (uint32_t)seed_below(&chance, QUERY_OP_END);
            where->value = where->op < QUERY_MATCHES ? values[seed_below(&chance, 5)]
                                                     : patterns[seed_below(&chance, 9)];
        }
        expect_same(keys, run, &query);
    }
}

Test(catalog_match, finds_in_a_run_what_it_finds_in_keys)
{
    struct catalog *catalog;
    struct catalog_view keys, sealed, run;
    struct catalog_run *made;

    cr_assert_eq(catalog_new(&catalog), ERR_OK);
    for (uint32_t i = 0; i < SERIES; i++)
        add(catalog, i);
    keys = catalog_view(catalog);
    cr_assert_eq(catalog_freeze(catalog, &sealed), ERR_OK);
    cr_assert_eq(catalog_build(&sealed, 0, SERIES, 0, NULL, &made), ERR_OK, "%s", err_detail());
    cr_assert_eq(catalog_adopt(catalog, made), ERR_OK);
    run = catalog_view(catalog);
    ask(&keys, &run);
    catalog_view_fini(&keys);
    catalog_view_fini(&sealed);
    catalog_view_fini(&run);
    catalog_run_unref(made);
    catalog_free(catalog);
}
