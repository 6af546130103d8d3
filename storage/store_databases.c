/*
 * store_databases.c - what a shard has of each database: by that its leader decides what to drop.
 */
#include <stdlib.h>

#include "storage/store_internal.h"

bool store_is_gone(const struct store *store, const struct segment_info *info)
{
    struct mark mark;

    if (store->marks.size == 0)
        return false;
    mark = marks_find(&store->marks, store->databases.names[info->database]);
    return info->last_index < mark.erased_index || info->bound_ns < mark.cutoff_ns;
}

/* Of the database, and not gone: those wait for the seal that drops them. */
static bool counts(const struct store *store, uint32_t segment, uint32_t number)
{
    const struct segment_info *info = segment_info(store->segments[segment]);

    return info->database == number && !store_is_gone(store, info);
}

uint32_t store_database_count(const struct store *store)
{
    return store->databases.count;
}

uint32_t store_database_find(const struct store *store, struct slice name)
{
    return database_map_find(&store->databases, name);
}

void store_database(const struct store *store, uint32_t number, struct store_database *ret)
{
    *ret =
        (struct store_database){.name = store->databases.names[number], .time_min_ns = INT64_MAX};
    for (uint32_t i = 0; i < store->segment_count; i++) {
        const struct segment_info *info = segment_info(store->segments[i]);

        if (!counts(store, i, number))
            continue;
        ret->segments++;
        ret->bytes += info->size;
        ret->rows += info->rows;
        if (info->time_min_ns < ret->time_min_ns)
            ret->time_min_ns = info->time_min_ns;
    }
}

struct mark store_database_mark(const struct store *store, struct slice name)
{
    return marks_find(&store->marks, name);
}

int64_t store_head_time_min(const struct store *store)
{
    const struct head *head = &store->head;
    int64_t time_min_ns = INT64_MAX;

    for (uint32_t i = head->first; i < head->first + head->count; i++)
        if (head->blocks[i].rows > 0 && head->blocks[i].time_min_ns < time_min_ns)
            time_min_ns = head->blocks[i].time_min_ns;
    return time_min_ns;
}

/* ---- Bytes --------------------------------------------------------------------------------- */

struct aged {
    int64_t bound_ns;
    uint64_t bytes;
};

static int compare_ages(const void *a, const void *b)
{
    const struct aged *left = a;
    const struct aged *right = b;

    return (left->bound_ns > right->bound_ns) - (left->bound_ns < right->bound_ns);
}

enum err store_cutoff_for(const struct store *store, uint32_t number, uint64_t bytes,
                          int64_t *ret_cutoff_ns)
{
    struct aged *aged = malloc(((size_t)store->segment_count + 1) * sizeof *aged);
    int64_t cutoff_ns = INT64_MIN;
    uint64_t sum = 0;
    uint32_t count = 0;

    if (aged == NULL)
        return err_set(ERR_NO_MEMORY, "the ages of %u segments", store->segment_count);
    for (uint32_t i = 0; i < store->segment_count; i++) {
        const struct segment_info *info = segment_info(store->segments[i]);

        if (!counts(store, i, number))
            continue;
        aged[count++] = (struct aged){info->bound_ns, info->size};
        sum += info->size;
    }
    qsort(aged, count, sizeof *aged, compare_ages);
    for (uint32_t i = 0; i + 1 < count && sum > bytes; i++) {
        if (aged[i].bound_ns == aged[count - 1].bound_ns)
            break; /* As new as the newest. */
        sum -= aged[i].bytes;
        cutoff_ns = aged[i].bound_ns + 1;
    }
    free(aged);
    *ret_cutoff_ns = cutoff_ns;
    return ERR_OK;
}
