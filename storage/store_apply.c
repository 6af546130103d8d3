/*
 * store_apply.c - committed entries, in log order: what every replica does in the same way.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/metric.h"
#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"
#include "storage/segment_proof.h"
#include "storage/store_internal.h"

enum { SEAL_RETRY_S = 10 }; /* A full disk does not get better faster. */

/* ---- Series -------------------------------------------------------------------------------- */

/* Key `at` is new, and gets the id `id`, which is the next one. */
static enum err add_key(struct store *store, const struct store_keys *keys, uint32_t at,
                        uint32_t id, bool *ret_fits)
{
    struct catalog *catalog = store->catalog;
    struct slice key = keys->keys[at];
    uint64_t hash = keys->hashes[at];
    uint32_t found = keys->ids[at];

    if (catalog_total(catalog) > id) /* Was never proposed, or was cut from the log. */
        catalog_forget(catalog, id);
    /* What was found may have been forgotten, and what was not, added. */
    found = found == CATALOG_NONE ? catalog_find_new(catalog, key, hash)
                                  : catalog_find(catalog, key.data, key.size, hash);
    *ret_fits = found == CATALOG_NONE;
    if (!*ret_fits) {
        (void)err_set(ERR_INVALID, "the key with series id %u has id %u", id, found);
        return ERR_OK;
    }
    return catalog_add(catalog, key, key_table_size(key.data, key.size), hash);
}

/* The keys of the entry are those of its ids, which begin at `place` of its directory: in the
 * catalog already (as they are where they were admitted), or added (tentative). */
static enum err place_some(struct store *store, const struct block_view *view, uint32_t place,
                           struct store_keys *keys, uint32_t *next, bool *ret_fits)
{
    bool searched = false;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < keys->count && err == ERR_OK && *ret_fits; i++) {
        uint32_t id = block_view_id(view, place + i);

        if (id > *next) {
            (void)err_set(ERR_INVALID, "series id %u skips some: the next one is %u", id, *next);
            *ret_fits = false;
        } else if (!catalog_has(store->catalog, id, keys->keys[i])) {
            if (id < *next) {
                (void)err_set(ERR_INVALID, "series id %u has another key", id);
                *ret_fits = false;
                break;
            }
            if (!searched)
                store_find_keys(store, keys);
            searched = true;
            err = add_key(store, keys, i, id, ret_fits);
        }
        *next += *ret_fits && id == *next;
    }
    return err;
}

static enum err extend_databases(struct store *store)
{
    struct catalog_view view;
    enum err err;

    if (catalog_tables(store->catalog) == store->databases.tables)
        return ERR_OK; /* The common case. (The tentative ones are counted, too.) */
    view = catalog_view(store->catalog);
    err = database_map_extend(&store->databases, &view);
    catalog_view_fini(&view);
    return err;
}

/* All fresh keys of the entry are placed and applied, or (ret_fits false) none is. */
static enum err place_keys(struct store *store, const struct block_view *view, bool *ret_fits)
{
    uint32_t place = view->header.known;
    uint32_t next = catalog_count(store->catalog);
    struct store_keys keys = {.count = 1};
    size_t at = 0;
    enum err err = ERR_OK;

    *ret_fits = place == 0 || block_view_id(view, place - 1) < next; /* They ascend. */
    if (!*ret_fits)
        (void)err_set(ERR_INVALID, "a series id is not below %u", next);
    for (; err == ERR_OK && *ret_fits && keys.count > 0; place += keys.count) {
        store_next_keys(view, &at, &keys);
        err = place_some(store, view, place, &keys, &next, ret_fits);
    }
    if (err != ERR_OK)
        return err;
    if (!*ret_fits) {
        store_forget_tentative(store);
        return ERR_OK;
    }
    while (catalog_count(store->catalog) < next)
        catalog_confirm(store->catalog);
    return extend_databases(store);
}

/* ---- Blocks -------------------------------------------------------------------------------- */

static void chain(struct store *store, uint64_t index, const struct buf *entry)
{
    uint64_t link[3] = {store->chain, index, XXH3_64bits(entry->bytes, entry->size)};

    store->chain = XXH3_64bits(link, sizeof link);
}

static enum err take_in(struct store *store, uint64_t index, struct buf *entry,
                        const struct entry_header *header, const struct block_view *view)
{
    struct head_block block = {.entry = entry,
                               .index = index,
                               .size = (uint32_t)view->size,
                               .rows = view->header.rows,
                               .points = view->header.points,
                               .time_min_ns = view->header.time_min_ns,
                               .time_max_ns = view->header.time_max_ns,
                               .series_min = block_view_id_min(view),
                               .series_max = block_view_id_max(view)};
    enum err err = head_add(&store->head, &block);

    if (err != ERR_OK)
        return err;
    if (header->producer != 0)
        producers_note(store->producers, header->producer,
                       &(struct producer_state){header->sequence, header->epoch}, index);
    last_follow_block(&store->last_follow, &store->last, view);
    last_where_note(&store->last_where, &store->head, view);
    store->rows += block.rows;
    store->points += block.points;
    chain(store, index, entry);
    return ERR_OK;
}

static enum producers_verdict judge(const struct store *store, const struct entry_header *header)
{
    if (header->producer == 0)
        return PRODUCERS_NEXT;
    return producers_judge(store_producer(store, header->producer, false), header->epoch,
                           header->sequence);
}

/* Keys are placed whatever becomes of the rows: ids of later entries count on them. */
static enum err apply_block(struct store *store, uint64_t index, struct buf *entry,
                            const struct entry_header *header, enum store_outcome *ret_outcome)
{
    struct block_view view;
    bool fits = false;
    enum err err =
        block_view(entry->bytes + sizeof *header, entry->size - sizeof *header, true, &view);

    if (err != ERR_OK)
        return err;
    tentative_applied(&store->tentative);
    err = place_keys(store, &view, &fits);
    if (err != ERR_OK)
        return err;
    if (!fits) {
        *ret_outcome = STORE_REFUSED;
        return ERR_OK;
    }
    switch (judge(store, header)) {
    case PRODUCERS_NEXT:
        *ret_outcome = STORE_APPLIED;
        return take_in(store, index, entry, header, &view);
    case PRODUCERS_DUPLICATE:
        *ret_outcome = STORE_DUPLICATE;
        return ERR_OK;
    case PRODUCERS_GAP:
        *ret_outcome = STORE_GAP;
        return ERR_OK;
    }
    return ERR_OK;
}

/* ---- Seals --------------------------------------------------------------------------------- */

static enum err freeze(struct store *store, uint64_t index, struct buf *order)
{
    const struct head_block *blocks;
    uint32_t count = head_after(&store->head, store->frozen_index, &blocks);
    struct seal_job *job = NULL;
    enum err err = seal_job_new(&store->sealer, blocks, count, &job);

    if (err == ERR_OK)
        err = marks_copy(&store->marks, &job->marks);
    if (err == ERR_OK)
        err = marks_copy(&store->tombstones, &job->tombstones);
    if (err != ERR_OK) {
        seal_job_free(job);
        return err;
    }
    err = catalog_freeze(store->catalog, &job->series);
    if (err != ERR_OK) {
        seal_job_free(job);
        return err;
    }
    job->last_index = index;
    job->order = buf_ref(order);
    job->chain = store->chain;
    job->rows = store->rows;
    job->points = store->points;
    producers_encode(store->producers, &job->producers);
    if (job->producers.failed) {
        seal_job_free(job);
        return err_set(ERR_NO_MEMORY, "producers of a seal");
    }
    job->before = store->seals;
    store->seals = job;
    store->frozen_index = index;
    return ERR_OK;
}

/* What the order drops is gone from here on. *ret_news: it was not before. */
static enum err mark_drops(struct store *store, uint64_t index, struct seal_order order,
                           bool *ret_news)
{
    struct seal_database database;

    while (seal_order_next(&order, &database)) {
        struct mark mark = marks_find(&store->marks, database.name);
        enum err err;

        if (database.drop <= mark.drop && database.cutoff_ns <= mark.cutoff_ns)
            continue;
        if (database.drop > mark.drop) {
            mark.drop = database.drop;
            mark.erased_index = index;
            mark.cutoff_ns = INT64_MIN; /* Of the database that was. */
            last_cache_forget(&store->last);
        }
        if (database.cutoff_ns > mark.cutoff_ns)
            mark.cutoff_ns = database.cutoff_ns;
        *ret_news = true;
        err = marks_put(&store->marks, &mark);
        if (err != ERR_OK)
            return err;
    }
    store->cutoff_max_ns = marks_cutoff_max(&store->marks);
    return ERR_OK;
}

static enum err apply_seal(struct store *store, uint64_t index, struct buf *entry,
                           enum store_outcome *ret_outcome, struct seal_job **ret_job)
{
    struct seal_order order;
    bool news;
    enum err err = seal_order_read(entry, &order);

    if (err != ERR_OK) {
        *ret_outcome = STORE_REFUSED;
        return ERR_OK;
    }
    news = order.upto > store->frozen_index || order.compactions_left > 0 || order.cleans_left > 0;
    err = mark_drops(store, index, order, &news);
    if (err != ERR_OK)
        return err;
    if (order.tombstone.size > 0) {
        tombstones_add(&store->tombstones, index, order.tombstone);
        if (store->tombstones.failed)
            return err_set(ERR_NO_MEMORY, "tombstones");
        last_cache_forget(&store->last);
        news = true;
    }
    if (news) {
        err = freeze(store, index, entry);
        if (err != ERR_OK)
            return err;
    } else if (store->seals == NULL || store->seals_out > 0) {
        return ERR_OK; /* Nothing to do, and nothing that an earlier seal has left. */
    }
    *ret_outcome = STORE_SEAL;
    *ret_job = store->seals;
    store->seals_out++;
    return ERR_OK;
}

static bool is_dropped(const struct seal_job *job, uint64_t number)
{
    for (uint32_t i = 0; i < job->dropped_count; i++)
        if (job->dropped[i] == number)
            return true;
    return false;
}

/* Those of the list, and the later ones. They are no more than there were, so there is room. */
void store_keep_tombstones(struct store *store, uint64_t index, const struct bytes *list)
{
    struct reader reader = reader_on(store->tombstones.data, store->tombstones.size);
    const uint8_t *later = reader.at;
    struct tombstone tombstone;
    size_t size;

    while (tombstones_next(&reader, &tombstone, NULL) && tombstone.index <= index)
        later = reader.at;
    size = (size_t)(store->tombstones.data + store->tombstones.size - later);
    if (store->tombstones.size == 0)
        return;
    memmove(store->tombstones.data + list->size, later, size);
    if (list->size > 0)
        memcpy(store->tombstones.data, list->data, list->size);
    store->tombstones.size = list->size + size;
}

/* One that is not made yet has it in the list of compactions. */
static void take_cleans(struct store *store, const struct seal_job *job)
{
    for (uint32_t i = 0; i < job->cleaned_count; i++)
        for (uint32_t s = 0; s < store->segment_count; s++)
            if (segment_info(store->segments[s])->number == job->cleaned[i].number)
                segment_set_clean_index(store->segments[s], job->cleaned[i].index);
    metric_add(METRIC_SEGMENT_SPARED, job->cleaned_count);
}

static void take_segments(struct store *store, struct seal_job *job)
{
    struct segment **segments = job->room;
    uint32_t count = 0;

    for (uint32_t i = 0; i < store->segment_count; i++) {
        if (is_dropped(job, segment_info(store->segments[i])->number))
            segment_unref(store->segments[i]);
        else
            segments[count++] = store->segments[i];
    }
    for (uint32_t i = 0; i < job->segment_count; i++)
        segments[count++] = job->segments[i];
    metric_add(METRIC_SEGMENT_SEALED, job->segment_count);
    metric_add(METRIC_SEGMENT_DROPPED, job->dropped_count);
    last_groups_forget(&store->last_groups);
    free(store->segments);
    store->segments = segments;
    store->segment_count = count;
    job->room = NULL;
    job->segment_count = 0;
    take_cleans(store, job);
    store_keep_tombstones(store, job->last_index, &job->tombstones);
    compactions_fini(&store->compactions);
    store->compactions = job->compactions;
    job->compactions = (struct compactions){0};
    /* Without memory for it, the keys in memory go on to do. */
    if (job->run != NULL)
        (void)(catalog_adopt(store->catalog, job->run) == ERR_OK);
    head_drop(&store->head, job->last_index);
    store->sealed_index = job->last_index;
}

/* Take in all sealed ones; they are the oldest, at the end of the list. */
static void take_sealed(struct store *store)
{
    struct seal_job **link = &store->seals;
    struct seal_job *sealed;
    struct seal_job *oldest_first = NULL;

    while (*link != NULL && !(*link)->sealed)
        link = &(*link)->before;
    sealed = *link;
    *link = NULL;
    while (sealed != NULL) {
        struct seal_job *before = sealed->before;

        sealed->before = oldest_first;
        oldest_first = sealed;
        sealed = before;
    }
    while (oldest_first != NULL) {
        struct seal_job *job = oldest_first;

        oldest_first = job->before;
        take_segments(store, job);
        seal_job_free(job);
    }
}

void store_seal_done(struct store *store, struct seal_job *job, bool failed)
{
    CHECK(store->seals_out > 0);
    CHECK(failed || job->sealed);
    store->seals_out--;
    take_sealed(store);
    if (failed)
        store->seal_retry_ns = clk_now_ns() + SEAL_RETRY_S * (uint64_t)NS_PER_S;
}

bool store_wants_seal(const struct store *store, bool early)
{
    uint64_t enough = early ? store->options.seal_bytes / 2 : store->options.seal_bytes;

    if (store->seals_out > 0)
        return false;
    if (store->seals != NULL)
        return clk_now_ns() >= store->seal_retry_ns;
    return store->head.bytes >= enough || store->head.rows >= STORE_SEAL_ROWS;
}

/* ---- Apply --------------------------------------------------------------------------------- */

static enum err apply_entry(struct store *store, uint64_t index, struct buf *entry,
                            enum store_outcome *ret_outcome, struct seal_job **ret_job)
{
    struct entry_header header;
    enum err err = entry_check(entry->bytes, entry->size, &header);

    if (err != ERR_OK)
        return err;
    if (header.shard != store->options.shard) {
        (void)err_set(ERR_INVALID, "entry for shard %u in the log of shard %u", header.shard,
                      store->options.shard);
        *ret_outcome = STORE_REFUSED;
        return ERR_OK;
    }
    if (header.kind == ENTRY_BLOCK)
        return apply_block(store, index, entry, &header, ret_outcome);
    if (header.kind == ENTRY_SEAL)
        return apply_seal(store, index, entry, ret_outcome, ret_job);
    (void)err_set(ERR_INVALID, "entry of kind %u in the log of shard %u", header.kind,
                  store->options.shard);
    *ret_outcome = STORE_REFUSED;
    return ERR_OK;
}

enum err store_apply(struct store *store, uint64_t index, struct buf *entry,
                     enum store_outcome *ret_outcome, struct seal_job **ret_job)
{
    enum err err = ERR_OK;

    CHECK(index == store->applied_index + 1);
    *ret_outcome = STORE_NOTHING;
    *ret_job = NULL;
    if (entry != NULL)
        err = apply_entry(store, index, entry, ret_outcome, ret_job);
    /* The leader has checked this entry, and so have the others: the copy at hand is damaged, or
     * made by a newer program. To skip it would make this replica differ for ever. */
    if (err != ERR_OK && err != ERR_NO_MEMORY)
        err = ERR_CORRUPT;
    if (err != ERR_OK)
        return err_wrap(err, "shard %u: log index %" PRIu64, store->options.shard, index);
    store->applied_index = index;
    return ERR_OK;
}
