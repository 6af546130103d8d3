#include <criterion/criterion.h>
#include <roaring/roaring.h>
#include <stdio.h>

#include "storage/catalog_build.h"
#include "storage/label_index.h"

enum { SERIES = 4000 };

static const struct scan_limits limits;
static struct catalog *catalog;
static struct catalog_run *run;

static void set_up(void)
{
    struct catalog_view view;

    cr_assert_eq(catalog_new(&catalog), ERR_OK);
    for (uint32_t i = 0; i < SERIES; i++) {
        char host[16];
        struct tag tag = {{"host", 4}, {host, (size_t)snprintf(host, sizeof host, "h%05u", i)}};
        char key[64];
        size_t size =
            key_write((struct slice){"d", 1}, (struct slice){"t", 1}, &tag, 1, key, sizeof key);

        cr_assert_eq(catalog_add(catalog, (struct slice){key, size}, 4, key_hash(key, size)),
                     ERR_OK);
        catalog_confirm(catalog);
    }
    view = catalog_view(catalog);
    cr_assert_eq(catalog_build(&view, 0, SERIES, 0, NULL, &run), ERR_OK);
    catalog_view_fini(&view);
}

static void tear_down(void)
{
    catalog_run_unref(run);
    catalog_free(catalog);
}

TestSuite(label_index, .init = set_up, .fini = tear_down);

/* How many series match, and their posting, counted. */
static uint64_t find(struct label_index *index, const char *pattern,
                     struct label_posting **ret_posting)
{
    struct query_match where = {"host", pattern, QUERY_MATCHES};
    struct label_match *match;

    cr_assert_eq(label_match_new(&where, 1, &match), ERR_OK);
    cr_assert_eq(label_index_find(index, run, 0, match, 0, &limits, ret_posting), ERR_OK);
    label_match_free(match);
    return roaring_bitmap_get_cardinality(label_posting_series(*ret_posting));
}

Test(label_index, keeps_what_was_asked)
{
    struct label_posting *first, *second, *other;
    struct label_index *index;

    cr_assert_eq(label_index_new(1 << 20, &index), ERR_OK);
    cr_assert_eq(find(index, "h000.*", &first), 100);
    cr_assert_eq(find(index, "h001.*", &other), 100);
    cr_assert_eq(find(index, "h000.*", &second), 100);
    cr_assert_eq(first, second);
    cr_assert_neq(first, other);
    cr_assert(roaring_bitmap_contains(label_posting_series(first), 99));
    cr_assert(!roaring_bitmap_contains(label_posting_series(first), 100));
    label_posting_unref(second);
    label_posting_unref(other);
    label_index_free(index);
    cr_assert_eq(roaring_bitmap_get_cardinality(label_posting_series(first)), 100);
    label_posting_unref(first); /* It outlives the index. */
}

Test(label_index, forgets_what_was_not_asked_for_longest)
{
    struct label_posting *kept, *again;
    struct label_index *index;
    char pattern[16];

    cr_assert_eq(label_index_new(4000, &index), ERR_OK);
    (void)find(index, "h0000.*", &kept);
    for (unsigned i = 0; i < 400; i++) {
        struct label_posting *posting;

        (void)snprintf(pattern, sizeof pattern, "h0%03u.*", i);
        cr_assert_eq(find(index, pattern, &posting), 10);
        label_posting_unref(posting);
        cr_assert_leq(label_index_bytes(index), 4000);
        (void)find(index, "h0000.*", &again);
        cr_assert_eq(kept, again);
        label_posting_unref(again);
    }
    label_posting_unref(kept);
    /* One that is larger than a quarter of all is not kept. */
    (void)find(index, "h.*[13579]", &kept);
    (void)find(index, "h.*[13579]", &again);
    cr_assert_neq(kept, again);
    label_posting_unref(kept);
    label_posting_unref(again);
    label_index_free(index);
}
