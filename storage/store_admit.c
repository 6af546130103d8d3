/*
 * store_admit.c - what the leader of a shard does to an entry before it proposes it.
 *
 * WHY IDS FIT  Every replica adds the keys of committed entries in the order of the log, and finds
 *     in each the ids that it would have given itself. That holds because
 *     - a leader stamps only when it has applied all entries before its own term, so its catalog is
 *       the same as every replica's at that place of the log;
 *     - from then on only its own entries follow, in the order in which it admitted them, and the
 *       catalog's tentative tail has the keys of all of them;
 *     - if it loses leadership, a first part of these entries is in the log of the next leader, and
 *       the rest is cut from every log. The next leader applies that first part before it stamps,
 *       and so goes on at the right id; the old one forgets its tail.
 *     An entry that was admitted but not proposed would leave a hole: store_retract() or
 *     store_forget_tentative() closes it. Apply checks ids all the same, and refuses an entry that
 *     contradicts the catalog, on every replica alike.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/clk.h"
#include "storage/catalog_label.h"
#include "storage/store_internal.h"

/* ---- Checking ------------------------------------------------------------------------------ */

static enum err check_header(const struct store *store, const struct buf *entry,
                             struct entry_header *ret_header)
{
    enum err err = entry_check(entry->bytes, entry->size, ret_header);

    if (err != ERR_OK)
        return err;
    if (ret_header->kind != ENTRY_BLOCK)
        return err_set(ERR_INVALID, "entry of kind %u: only blocks are written", ret_header->kind);
    if (ret_header->shard != store->options.shard)
        return err_set(ERR_INVALID, "entry for shard %u came to shard %u", ret_header->shard,
                       store->options.shard);
    if (ret_header->producer != 0 && ret_header->sequence == 0)
        return err_set(ERR_INVALID, "producer %016" PRIx64 ": sequence 0; the first one is 1",
                       ret_header->producer);
    return ERR_OK;
}

/* ERR_OK: it is its turn. ERR_END: applied or in flight. */
static enum err check_sequence(const struct store *store, const struct entry_header *header)
{
    const struct producer_state *last;

    if (header->producer == 0)
        return ERR_OK;
    last = store_producer(store, header->producer, true);
    switch (producers_judge(last, header->epoch, header->sequence)) {
    case PRODUCERS_NEXT:
        return ERR_OK;
    case PRODUCERS_DUPLICATE:
        return ERR_END;
    case PRODUCERS_GAP:
        break;
    }
    return err_set(ERR_SEQUENCE,
                   "shard %u: producer %016" PRIx64 " sent epoch %u sequence %" PRIu64
                   ", the last was epoch %u sequence %" PRIu64
                   "; send the one behind it, or begin a higher epoch with 1",
                   store->options.shard, header->producer, header->epoch, header->sequence,
                   last == NULL ? 0 : last->epoch, last == NULL ? 0 : last->sequence);
}

static enum err check_room(const struct store *store)
{
    if (store->head.bytes >= store->options.head_bytes_max ||
        store->head.rows >= STORE_HEAD_ROWS_MAX)
        return err_set(ERR_BUSY,
                       "shard %u: the head is full (%" PRIu64 " bytes, %" PRIu64
                       " rows) until a seal is done",
                       store->options.shard, store->head.bytes, store->head.rows);
    return ERR_OK;
}

static enum err check_block(const struct store *store, const struct block_view *view)
{
    int64_t ahead_max = store->options.future_ns_max;
    int64_t now_ns = ahead_max > 0 ? clk_wall_ns() : 0;

    if (ahead_max > 0 && view->header.rows > 0 && view->header.time_max_ns > now_ns &&
        (uint64_t)view->header.time_max_ns - (uint64_t)now_ns > (uint64_t)ahead_max)
        return err_set(ERR_INVALID,
                       "a row's time, %" PRId64 " ns, is over %" PRId64 " s ahead of the clock",
                       view->header.time_max_ns, ahead_max / NS_PER_S);
    if (view->header.known > 0 && /* They ascend: the last one tells. */
        block_view_id(view, view->header.known - 1) >= catalog_count(store->catalog))
        return err_set(ERR_INVALID, "series id %u: shard %u has %u series",
                       block_view_id(view, view->header.known - 1), store->options.shard,
                       catalog_count(store->catalog));
    return ERR_OK;
}

/* Every run's series belongs to the table of the section that it stands in. */
static enum err check_section(const struct store *store, const struct block_view *view,
                              struct block *block, uint32_t at, uint32_t *places, uint32_t *counts)
{
    const struct block_section *section = block_section(block, at);
    uint32_t table = catalog_find_table(
        store->catalog, (struct slice){section->table_key, section->table_key_size});
    uint32_t directory = view->header.known + view->header.fresh;
    enum err err = block_read_runs(block, at, places, counts);

    if (err != ERR_OK)
        return err_wrap(ERR_INVALID, "section %u", at);
    for (uint32_t run = 0; run < section->runs; run++) {
        uint32_t id = places[run] < directory ? block_view_id(view, places[run]) : BLOCK_ID_NONE;

        if (id == BLOCK_ID_NONE || catalog_table(store->catalog, id) != table)
            return err_set(ERR_INVALID, "section %u: series %u is not of that table", at, id);
    }
    return ERR_OK;
}

/* No row is of a time that was dropped: it would be gone before it is seen. */
static enum err check_times(struct store *store, const struct block_view *view, struct block *block,
                            uint32_t at)
{
    const struct block_section *section = block_section(block, at);
    struct slice table_key = {section->table_key, section->table_key_size};
    struct mark mark;
    int64_t *times_ns;
    enum err err;

    if (view->header.time_min_ns >= store->cutoff_max_ns)
        return ERR_OK;
    mark = store_mark(store, table_key);
    if (view->header.time_min_ns >= mark.cutoff_ns)
        return ERR_OK;
    times_ns = malloc(section->rows * sizeof *times_ns);
    if (times_ns == NULL)
        return err_set(ERR_NO_MEMORY, "times of %u rows", section->rows);
    err = block_read_times(block, at, times_ns);
    if (err != ERR_OK)
        err = err_wrap(ERR_INVALID, "section %u", at);
    store->refused_before_ns = mark.cutoff_ns;
    for (uint32_t i = 0; i < section->rows && err == ERR_OK; i++)
        if (times_ns[i] < mark.cutoff_ns)
            err = err_set(ERR_TOO_OLD,
                          "a row's time, %" PRId64 " ns, is before %" PRId64
                          " ns: database \"%.*s\" does not keep older rows",
                          times_ns[i], mark.cutoff_ns, (int)mark.database.size, mark.database.data);
    free(times_ns);
    return err;
}

static enum err check_sections(struct store *store, const struct block_view *view,
                               struct block *block)
{
    uint32_t *runs = NULL;
    uint32_t runs_max = 1;
    enum err err = ERR_OK;

    for (uint32_t s = 0; s < block_sections(block); s++)
        runs_max =
            block_section(block, s)->runs > runs_max ? block_section(block, s)->runs : runs_max;
    runs = malloc(2 * (size_t)runs_max * sizeof *runs);
    if (runs == NULL)
        err = err_set(ERR_NO_MEMORY, "%u runs", runs_max);
    for (uint32_t s = 0; s < block_sections(block) && err == ERR_OK; s++)
        err = check_section(store, view, block, s, runs, runs + runs_max);
    for (uint32_t s = 0; s < block_sections(block) && err == ERR_OK; s++)
        err = check_times(store, view, block, s);
    free(runs);
    return err;
}

/* ---- Stamping ------------------------------------------------------------------------------ */

/* What a database may still get, asked once for keys that follow each other. */
struct quota {
    struct slice database; /* Borrowed from the entry. */
    uint64_t max, used;    /* Series of this shard; max 0: no limit. */
};

static struct catalog_label widest(const struct store *store, struct slice database)
{
    struct catalog_view view = catalog_view(store->catalog);
    struct catalog_label label;

    view.count = catalog_total(store->catalog); /* Those that were added for this entry, too. */
    label = catalog_label_widest(&view, database);
    catalog_view_fini(&view);
    return label;
}

static enum err check_quota(const struct store *store, struct quota *quota, struct slice key)
{
    const struct store_options *options = &store->options;
    struct slice database = database_map_name(key);
    struct catalog_label label;

    if (catalog_total(store->catalog) >= options->series_max) {
        label = widest(store, (struct slice){"", 0});
        return err_set(ERR_LIMIT,
                       "shard %u takes no new series: it has storage.series_max, %u; the label "
                       "\"%s\" has the most values, at least %u: leave it out, or raise the limit",
                       options->shard, options->series_max, label.name, label.values);
    }
    if (options->database_series_max == NULL)
        return ERR_OK;
    if (quota->database.size != database.size ||
        memcmp(quota->database.data, database.data, database.size) != 0)
        *quota =
            (struct quota){database, options->database_series_max(options->database_ctx, database),
                           catalog_database_series(store->catalog, database)};
    if (quota->max == 0 || quota->used++ < quota->max)
        return ERR_OK;
    label = widest(store, database);
    return err_set(ERR_LIMIT,
                   STORE_LIMIT_OF "%.*s\" takes no new series: shard %u has its part of "
                                  "--series-max, %" PRIu64 "; the label \"%s\" has the most "
                                  "values, at least %u: leave it out, or raise the limit with "
                                  "millrace db alter",
                   (int)database.size, database.data, options->shard, quota->max, label.name,
                   label.values);
}

/* The id of key `at`: its own if it became known meanwhile, else the next one. */
static enum err give_id(struct store *store, struct store_keys *keys, uint32_t at, uint32_t shards,
                        struct quota *quota)
{
    struct slice key = keys->keys[at];
    uint64_t hash = keys->hashes[at];
    enum err err;

    if (key_shard(hash, shards) != store->options.shard)
        return err_set(ERR_INVALID, "a series of shard %u came to shard %u (of %u)",
                       key_shard(hash, shards), store->options.shard, shards);
    if (keys->ids[at] == CATALOG_NONE) /* It may stand twice in the block. */
        keys->ids[at] = catalog_find_new(store->catalog, key, hash);
    if (keys->ids[at] != CATALOG_NONE)
        return ERR_OK;
    err = check_quota(store, quota, key);
    if (err == ERR_OK)
        err = catalog_add(store->catalog, key, key_table_size(key.data, key.size), hash);
    if (err == ERR_OK)
        keys->ids[at] = catalog_total(store->catalog) - 1;
    return err;
}

static enum err stamp(struct store *store, struct buf *entry, struct block_view *view,
                      uint32_t shards)
{
    uint32_t *ids = malloc((view->header.fresh + 1) * sizeof *ids);
    struct quota quota = {.database = {"", 0}};
    struct store_keys keys;
    size_t at = 0;
    uint32_t count = 0;
    enum err err = ERR_OK;

    if (ids == NULL)
        return err_set(ERR_NO_MEMORY, "%u ids", view->header.fresh);
    for (store_next_keys(view, &at, &keys); keys.count > 0 && err == ERR_OK;
         store_next_keys(view, &at, &keys)) {
        store_find_keys(store, &keys);
        for (uint32_t i = 0; i < keys.count && err == ERR_OK; i++)
            err = give_id(store, &keys, i, shards, &quota);
        memcpy(ids + count, keys.ids, keys.count * sizeof *ids);
        count += keys.count;
    }
    if (err == ERR_OK)
        block_stamp(entry->bytes + sizeof(struct entry_header), view, ids);
    free(ids);
    return err;
}

/* ---- Admission ----------------------------------------------------------------------------- */

/* ERR_OK, and *ret_duplicate: it is; there is nothing more to do. */
static enum err check_turn(const struct store *store, const struct buf *entry,
                           struct entry_header *ret_header, bool *ret_duplicate)
{
    enum err err = check_header(store, entry, ret_header);

    if (err != ERR_OK)
        return err;
    err = check_sequence(store, ret_header);
    if (err == ERR_OK || err == ERR_END)
        *ret_duplicate = err == ERR_END;
    if (err != ERR_OK)
        return err == ERR_END ? ERR_OK : err;
    return check_room(store);
}

static enum err admit(struct store *store, struct buf *entry, const struct entry_header *header,
                      struct block_view *view, struct block *block, uint32_t shards)
{
    uint32_t series = catalog_total(store->catalog);
    enum err err = check_block(store, view);

    if (err == ERR_OK)
        err = tentative_reserve(&store->tentative);
    if (err == ERR_OK && view->header.fresh > 0)
        err = stamp(store, entry, view, shards);
    if (err == ERR_OK)
        err = check_sections(store, view, block);
    if (err != ERR_OK) {
        catalog_forget(store->catalog, series);
        return err;
    }
    tentative_add(&store->tentative, header->producer,
                  &(struct producer_state){header->sequence, header->epoch}, series);
    return ERR_OK;
}

enum err store_admit_opened(struct store *store, struct buf *entry, struct block_view *view,
                            struct block *block, uint32_t shards, bool *ret_duplicate)
{
    struct entry_header header;
    enum err err = check_turn(store, entry, &header, ret_duplicate);

    return err != ERR_OK || *ret_duplicate ? err
                                           : admit(store, entry, &header, view, block, shards);
}

enum err store_admit(struct store *store, struct buf *entry, uint32_t shards, bool *ret_duplicate)
{
    struct entry_header header;
    struct block *block = NULL;
    struct block_view view;
    enum err err = check_turn(store, entry, &header, ret_duplicate);

    if (err != ERR_OK || *ret_duplicate)
        return err;
    err = block_view(entry->bytes + sizeof header, entry->size - sizeof header, true, &view);
    if (err == ERR_OK)
        err = block_load(&view, &block);
    if (err != ERR_OK)
        return err_wrap(err == ERR_NO_MEMORY ? err : ERR_INVALID, "entry of %u bytes", entry->size);
    err = admit(store, entry, &header, &view, block, shards);
    block_free(block);
    return err;
}

int64_t store_refused_before(const struct store *store)
{
    return store->refused_before_ns;
}

bool store_has_applied(const struct store *store, const struct buf *entry)
{
    struct entry_header header;

    return entry_check(entry->bytes, entry->size, &header) == ERR_OK && header.producer != 0 &&
           producers_judge(store_producer(store, header.producer, false), header.epoch,
                           header.sequence) == PRODUCERS_DUPLICATE;
}

void store_retract(struct store *store)
{
    uint32_t series;

    if (tentative_retract(&store->tentative, &series))
        catalog_forget(store->catalog, series);
}

void store_forget_tentative(struct store *store)
{
    tentative_clear(&store->tentative);
    catalog_forget(store->catalog, catalog_count(store->catalog));
}

void store_fresh_ids(const struct store *store, const struct block_view *view, uint32_t *ret_ids)
{
    struct slice key;
    size_t at = 0;

    for (uint32_t i = 0; block_view_next_key(view, &at, &key.data, &key.size); i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        /* An entry that was admitted here has them; a retry carries none. */
        if (id >= catalog_count(store->catalog) || !catalog_has(store->catalog, id, key))
            id = store_find_series(store, key.data, key.size, key_hash(key.data, key.size));
        ret_ids[i] = id;
    }
}
