#include "storage/label_index.h"

#include <pthread.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/catalog_match.h"

struct label_posting {
    struct label_posting *next; /* In the list: asked for before this one. */
    atomic_uint references;
    roaring_bitmap_t *series; /* Owned. */
    uint64_t size;            /* Bytes of all. */
    size_t key_size;
    uint8_t key[];
};

struct label_index {
    pthread_mutex_t lock;
    struct label_posting *postings; /* The one asked for last first. Counted. */
    uint64_t bytes, bytes_max;
};

enum err label_index_new(uint64_t bytes_max, struct label_index **ret_index)
{
    struct label_index *index = calloc(1, sizeof *index);

    if (index == NULL || pthread_mutex_init(&index->lock, NULL) != 0) {
        free(index);
        return err_set(ERR_NO_MEMORY, "postings");
    }
    index->bytes_max = bytes_max;
    *ret_index = index;
    return ERR_OK;
}

void label_index_free(struct label_index *index)
{
    if (index == NULL)
        return;
    while (index->postings != NULL) {
        struct label_posting *posting = index->postings;

        index->postings = posting->next;
        label_posting_unref(posting);
    }
    CHECK(pthread_mutex_destroy(&index->lock) == 0);
    free(index);
}

const struct roaring_bitmap_s *label_posting_series(const struct label_posting *posting)
{
    return posting->series;
}

void label_posting_unref(struct label_posting *posting)
{
    /* Release, and acquire at the last one: what others read came before it is freed. */
    if (posting == NULL ||
        atomic_fetch_sub_explicit(&posting->references, 1, memory_order_acq_rel) > 1)
        return;
    roaring_bitmap_free(posting->series);
    free(posting);
}

/* ---- The list ------------------------------------------------------------------------------ */

static void lock(struct label_index *index)
{
    CHECK(pthread_mutex_lock(&index->lock) == 0);
}

static void unlock(struct label_index *index)
{
    CHECK(pthread_mutex_unlock(&index->lock) == 0);
}

uint64_t label_index_bytes(struct label_index *index)
{
    uint64_t bytes;

    lock(index);
    bytes = index->bytes;
    unlock(index);
    return bytes;
}

static bool has_key(const struct label_posting *posting, const struct bytes *key)
{
    return posting->key_size == key->size && memcmp(posting->key, key->data, key->size) == 0;
}

/* The posting of a key, counted, and first of the list from now on; NULL: it is not kept. */
static struct label_posting *get(struct label_index *index, const struct bytes *key)
{
    struct label_posting **link = &index->postings;
    struct label_posting *posting;

    lock(index);
    while (*link != NULL && !has_key(*link, key))
        link = &(*link)->next;
    posting = *link;
    if (posting != NULL) {
        *link = posting->next;
        posting->next = index->postings;
        index->postings = posting;
        (void)atomic_fetch_add_explicit(&posting->references, 1, memory_order_relaxed);
    }
    unlock(index);
    return posting;
}

/* Forget those that were not asked for longest, until the rest fits. */
static void shrink(struct label_index *index)
{
    struct label_posting **link = &index->postings;
    uint64_t bytes = 0;

    for (uint32_t count = 0;
         *link != NULL && count < LABEL_POSTINGS_MAX && bytes + (*link)->size <= index->bytes_max;
         count++) {
        bytes += (*link)->size;
        link = &(*link)->next;
    }
    while (*link != NULL) {
        struct label_posting *posting = *link;

        *link = posting->next;
        label_posting_unref(posting);
    }
    index->bytes = bytes;
}

/* Keep it, unless it alone would push out most others. Two may have made the same at once: then
 * one stands behind the other until it is forgotten. */
static void put(struct label_index *index, struct label_posting *posting)
{
    if (posting->size > index->bytes_max / 4)
        return;
    (void)atomic_fetch_add_explicit(&posting->references, 1, memory_order_relaxed);
    lock(index);
    posting->next = index->postings;
    index->postings = posting;
    shrink(index);
    unlock(index);
}

/* ---- Making -------------------------------------------------------------------------------- */

static roaring_bitmap_t *to_bitmap(const uint64_t *masks, uint32_t groups)
{
    roaring_bitmap_t *series = roaring_bitmap_create();
    uint32_t numbers[CATALOG_GROUP];

    if (series == NULL)
        return NULL;
    for (uint32_t at = 0; at < groups; at++) {
        size_t count = 0;

        if (masks[at] == UINT64_MAX) {
            roaring_bitmap_add_range(series, (uint64_t)at * CATALOG_GROUP,
                                     ((uint64_t)at + 1) * CATALOG_GROUP);
            continue;
        }
        for (uint64_t mask = masks[at]; mask != 0; mask &= mask - 1)
            numbers[count++] = at * CATALOG_GROUP + (uint32_t)__builtin_ctzll(mask);
        if (count > 0)
            roaring_bitmap_add_many(series, count, numbers);
    }
    (void)roaring_bitmap_run_optimize(series);
    (void)roaring_bitmap_shrink_to_fit(series);
    return series;
}

static struct label_posting *posting_new(const struct bytes *key, const uint64_t *masks,
                                         uint32_t groups)
{
    struct label_posting *posting = calloc(1, sizeof *posting + key->size);

    if (posting == NULL)
        return NULL;
    posting->series = to_bitmap(masks, groups);
    if (posting->series == NULL) {
        free(posting);
        return NULL;
    }
    atomic_init(&posting->references, 1);
    posting->key_size = key->size;
    memcpy(posting->key, key->data, key->size);
    posting->size = sizeof *posting + key->size + roaring_bitmap_size_in_bytes(posting->series);
    return posting;
}

static enum err make(const struct catalog_run *run, uint32_t table, struct label_match *match,
                     uint32_t at, const struct scan_limits *limits, const struct bytes *key,
                     struct label_posting **ret_posting)
{
    uint32_t groups = (run->header.count - 1) / CATALOG_GROUP + 1;
    uint64_t *masks = malloc(groups * sizeof *masks);
    enum err err;

    if (masks == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for a bit each of %u series",
                       run->header.count);
    err = catalog_match(run, table, match, at, 1, limits, masks);
    if (err == ERR_OK) {
        *ret_posting = posting_new(key, masks, groups);
        if (*ret_posting == NULL)
            err = err_set(ERR_NO_MEMORY, "scan: no memory for postings");
    }
    free(masks);
    return err;
}

enum err label_index_find(struct label_index *index, const struct catalog_run *run, uint32_t table,
                          struct label_match *match, uint32_t at, const struct scan_limits *limits,
                          struct label_posting **ret_posting)
{
    const struct query_match *where = label_match_at(match, at);
    struct label_posting *posting = NULL;
    struct bytes key = {0};
    enum err err = ERR_OK;

    bytes_put_u32(&key, table);
    bytes_put_u32(&key, where->op);
    bytes_put_string(&key, where->name, strlen(where->name));
    bytes_put_string(&key, where->value, strlen(where->value));
    if (key.failed)
        err = err_set(ERR_NO_MEMORY, "scan: no memory for a condition");
    if (err == ERR_OK)
        posting = get(index, &key);
    if (err == ERR_OK && posting == NULL) {
        err = make(run, table, match, at, limits, &key, &posting);
        if (err == ERR_OK)
            put(index, posting);
    }
    bytes_fini(&key);
    if (err == ERR_OK)
        *ret_posting = posting;
    return err;
}
