/*
 * Threads ask one run the same few conditions at once, while a small budget keeps making it forget
 * them. Every answer must be right, and ThreadSanitizer must stay silent.
 */
#include <pthread.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/base/types.h"
#include "storage/block/query.h"
#include "storage/catalog_build.h"
#include "storage/label_index.h"

enum { SERIES = 1000, THREADS = 4 };

static struct catalog_run *run;
static struct label_index *postings;
static unsigned total = 3000;

static void make_run(void)
{
    struct catalog *catalog;
    struct catalog_view view;

    CHECK(catalog_new(&catalog) == ERR_OK);
    for (uint32_t i = 0; i < SERIES; i++) {
        char host[16];
        struct tag tag = {{"host", 4}, {host, (size_t)snprintf(host, sizeof host, "h%03u", i)}};
        char key[64];
        size_t size =
            key_write((struct slice){"d", 1}, (struct slice){"t", 1}, &tag, 1, key, sizeof key);

        CHECK(catalog_add(catalog, (struct slice){key, size}, 4, key_hash(key, size)) == ERR_OK);
        catalog_confirm(catalog);
    }
    view = catalog_view(catalog);
    CHECK(catalog_build(&view, 0, SERIES, 0, NULL, &run) == ERR_OK);
    catalog_view_fini(&view);
    catalog_free(catalog);
}

static void *ask(void *arg)
{
    static const struct scan_limits limits;

    for (unsigned i = 0; i < total; i++) {
        unsigned number = (i * 7 + *(const unsigned *)arg) % 10;
        char pattern[16];
        struct query_match where = {"host", pattern, QUERY_MATCHES};
        struct label_posting *posting;
        struct label_match *match;

        (void)snprintf(pattern, sizeof pattern, "h%u.*", number);
        CHECK(label_match_new(&where, 1, &match) == ERR_OK);
        CHECK(label_index_find(postings, run, 0, match, 0, &limits, &posting) == ERR_OK);
        CHECK(roaring_bitmap_get_cardinality(label_posting_series(posting)) == 100);
        CHECK(roaring_bitmap_minimum(label_posting_series(posting)) == number * 100);
        label_posting_unref(posting);
        label_match_free(match);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];

    if (argc > 1)
        total = (unsigned)strtoul(argv[1], NULL, 10);
    make_run();
    CHECK(label_index_new(1600, &postings) == ERR_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, ask, &numbers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    label_index_free(postings);
    catalog_run_unref(run);
    (void)printf("%u questions\n", THREADS * total);
    return 0;
}
