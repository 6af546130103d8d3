#include "storage/scan_match.h"

#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "storage/catalog_match.h"
#include "storage/catalog_run.h"
#include "storage/label_index.h"

enum { SERIES_A_CHECK = 4096 }; /* Between looks at the clock: about half a millisecond. */

/* What is being found. */
struct finder {
    const struct catalog_view *view;
    const struct scan_limits *limits;
    struct label_match *conditions;
    struct scan_match match;
    uint32_t capacity;
};

struct slice scan_match_tag(const struct key_parts *parts, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < parts->tag_count; i++) {
        struct slice tag = parts->tags[i].name;

        if (tag.size == size && memcmp(tag.data, name, size) == 0)
            return parts->tags[i].value;
    }
    return (struct slice){"", 0};
}

/* Room for `more` ids. */
static enum err reserve(struct finder *finder, uint32_t more)
{
    uint64_t capacity = finder->capacity;
    uint32_t *ids;

    if (more <= finder->capacity - finder->match.count)
        return ERR_OK;
    while (capacity < (uint64_t)finder->match.count + more)
        capacity = capacity == 0 ? 1024 : 2 * capacity;
    ids = realloc(finder->match.ids, capacity * sizeof *ids);
    if (ids == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for the ids of %u series",
                       finder->match.count + more);
    finder->match.ids = ids;
    finder->capacity = capacity < UINT32_MAX ? (uint32_t)capacity : UINT32_MAX;
    return ERR_OK;
}

static enum err take_all(struct finder *finder)
{
    enum err err = reserve(finder, finder->view->count);

    for (uint32_t id = 0; id < finder->view->count && err == ERR_OK; id++)
        finder->match.ids[finder->match.count++] = id;
    return err;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

static enum err take_masks(struct finder *finder, uint32_t first, const uint64_t *masks,
                           uint32_t groups)
{
    uint32_t more = 0;
    enum err err;

    for (uint32_t at = 0; at < groups; at++)
        more += (uint32_t)__builtin_popcountll(masks[at]);
    err = reserve(finder, more);
    if (err != ERR_OK)
        return err;
    for (uint32_t at = 0; at < groups; at++)
        for (uint64_t mask = masks[at]; mask != 0; mask &= mask - 1)
            finder->match.ids[finder->match.count++] =
                first + at * CATALOG_GROUP + (uint32_t)__builtin_ctzll(mask);
    return ERR_OK;
}

/* All series of the table. */
static enum err take_table(struct finder *finder, const struct catalog_run *run)
{
    uint32_t groups = (run->header.count - 1) / CATALOG_GROUP + 1;
    uint64_t *masks = malloc(groups * sizeof *masks);
    enum err err;

    if (masks == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for a bit each of %u series",
                       run->header.count);
    err = catalog_match(run, finder->match.table, finder->conditions, 0, 0, finder->limits, masks);
    if (err == ERR_OK)
        err = take_masks(finder, run->header.first, masks, groups);
    free(masks);
    return err;
}

static enum err take_bitmap(struct finder *finder, uint32_t first, const roaring_bitmap_t *series)
{
    uint32_t more = (uint32_t)roaring_bitmap_get_cardinality(series);
    uint32_t *ids;
    enum err err = reserve(finder, more);

    if (err != ERR_OK || more == 0)
        return err;
    ids = finder->match.ids + finder->match.count;
    roaring_bitmap_to_uint32_array(series, ids);
    for (uint32_t i = 0; i < more; i++)
        ids[i] += first;
    finder->match.count += more;
    return ERR_OK;
}

/* What is left of `*series` (NULL: all of the run) under one more condition. */
static enum err narrow(struct finder *finder, const struct catalog_run *run, uint32_t at,
                       roaring_bitmap_t **series)
{
    struct label_posting *posting = NULL;
    enum err err = label_index_find(run->postings, run, finder->match.table, finder->conditions, at,
                                    finder->limits, &posting);

    if (err != ERR_OK)
        return err;
    if (*series == NULL)
        *series = roaring_bitmap_copy(label_posting_series(posting));
    else
        roaring_bitmap_and_inplace(*series, label_posting_series(posting));
    label_posting_unref(posting);
    return *series != NULL ? ERR_OK : err_set(ERR_NO_MEMORY, "scan: no memory for postings");
}

static enum err find_in_run(struct finder *finder, const struct catalog_run *run)
{
    uint32_t count = label_match_count(finder->conditions);
    roaring_bitmap_t *series = NULL;
    enum err err = ERR_OK;

    if (count == 0)
        return take_table(finder, run);
    for (uint32_t at = 0; at < count && err == ERR_OK; at++) {
        if (series == NULL || !roaring_bitmap_is_empty(series))
            err = narrow(finder, run, at, &series);
    }
    if (err == ERR_OK)
        err = take_bitmap(finder, run->header.first, series);
    if (series != NULL)
        roaring_bitmap_free(series);
    return err;
}

/* ---- Keys, one by one ---------------------------------------------------------------------- */

static enum err satisfies(struct finder *finder, uint32_t id, bool *ret_holds)
{
    uint32_t count = label_match_count(finder->conditions);
    char room[CATALOG_KEY_ROOM];
    struct key_parts parts;
    struct slice key;
    enum err err = ERR_OK;

    *ret_holds = catalog_view_table(finder->view, id) == finder->match.table;
    if (!*ret_holds || count == 0)
        return ERR_OK;
    key = catalog_view_key(finder->view, id, room);
    *ret_holds = key_parse(key.data, key.size, &parts) == 0;
    for (uint32_t i = 0; i < count && err == ERR_OK && *ret_holds; i++)
        err = label_match_holds(finder->conditions, i,
                                scan_match_tag(&parts, label_match_at(finder->conditions, i)->name),
                                ret_holds);
    return err;
}

static enum err find_in_keys(struct finder *finder, uint32_t first, uint32_t end)
{
    enum err err = ERR_OK;

    for (uint32_t id = first; id < end && err == ERR_OK; id++) {
        bool holds = false;

        if (id % SERIES_A_CHECK == 0)
            err = scan_check(finder->limits);
        if (err == ERR_OK)
            err = satisfies(finder, id, &holds);
        if (err == ERR_OK && holds)
            err = reserve(finder, 1);
        if (err == ERR_OK && holds)
            finder->match.ids[finder->match.count++] = id;
    }
    return err;
}

/* ---- All ----------------------------------------------------------------------------------- */

static enum err find(struct finder *finder, const struct query *query)
{
    uint32_t count = 0;
    const struct catalog_part *parts = catalog_view_parts(finder->view, &count);
    enum err err = label_match_new(query->where, query->where_count, &finder->conditions);

    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        uint32_t end = i + 1 < count ? parts[i + 1].first : finder->view->count;

        if (parts[i].run != NULL)
            err = find_in_run(finder, parts[i].run);
        else
            err = find_in_keys(finder, parts[i].first, end);
    }
    label_match_free(finder->conditions);
    return err;
}

/* A narrow page of all series of the table: those of its ids. */
static enum err find_page(struct finder *finder, const struct query_page *page)
{
    uint32_t end =
        page->series_last < finder->view->count ? page->series_last + 1 : finder->view->count;
    enum err err = label_match_new(NULL, 0, &finder->conditions);

    if (err == ERR_OK)
        err = find_in_keys(finder, page->series_first, end);
    label_match_free(finder->conditions);
    return err;
}

static bool is_narrow(const struct query *query)
{
    return query->page.on && query->where_count == 0 &&
           query->page.series_first <= query->page.series_last &&
           query->page.series_last - query->page.series_first < SERIES_A_CHECK;
}

/* False if the query's table is not in this shard. */
static bool find_table(const struct catalog_view *view, const struct query *query,
                       uint32_t *ret_table)
{
    char key[KEY_SIZE_MAX];
    struct slice database = {query->database, strlen(query->database)};
    struct slice table = {query->table, strlen(query->table)};
    size_t size = key_write_table(database, table, key, sizeof key);

    if (size > 0)
        *ret_table = catalog_view_find_table(view, (struct slice){key, size});
    return size > 0 && *ret_table != CATALOG_NONE;
}

/* Keep those of the query's page. */
static void keep_page(struct scan_match *match, const struct query_page *page)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < match->count; i++)
        if (match->ids[i] >= page->series_first && match->ids[i] <= page->series_last)
            match->ids[kept++] = match->ids[i];
    match->count = kept;
}

enum err scan_match_find(const struct catalog_view *view, const struct query *query,
                         const struct scan_limits *limits, struct scan_match *ret_match)
{
    struct finder finder = {.view = view, .limits = limits, .match = {.table = CATALOG_NONE}};
    enum err err = scan_check(limits);

    if (err == ERR_OK && query == NULL)
        err = take_all(&finder);
    else if (err == ERR_OK && find_table(view, query, &finder.match.table))
        err = is_narrow(query) ? find_page(&finder, &query->page) : find(&finder, query);
    if (err != ERR_OK) {
        scan_match_fini(&finder.match);
        return err;
    }
    if (query != NULL && query->page.on)
        keep_page(&finder.match, &query->page);
    *ret_match = finder.match;
    return ERR_OK;
}

void scan_match_fini(struct scan_match *match)
{
    free(match->ids);
    *match = (struct scan_match){0};
}
