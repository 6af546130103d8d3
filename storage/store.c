#include "storage/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/log_line.h"
#include "storage/catalog_file.h"
#include "storage/catalog_run.h"
#include "storage/segment_damage.h"
#include "storage/snapshot.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"

enum {
    PATH_SIZE = 4096,
    SEAL_MEMORY = 48 * 1024 * 1024, /* With one block opened and one being built: about 64 MB. */
};

/* ---- Opening ------------------------------------------------------------------------------- */

/* What is in the folder, by kind. */
struct found {
    struct store *store;
    bool data; /* A segment or a catalog. */
    enum err err;
};

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t end_size = strlen(end);

    return size > end_size && strcmp(name + size - end_size, end) == 0;
}

static void look_at(void *arg, const char *name)
{
    struct found *found = arg;

    found->data |= ends_with(name, ".mrs") || ends_with(name, CATALOG_FILE_SUFFIX);
}

/* No manifest: a new shard writes its first one before anything else, so that a manifest that is
 * missing beside data is noticed. */
static enum err begin_shard(struct store *store)
{
    const struct disk *disk = store->options.disk;
    struct found found = {.store = store};
    enum err err = disk->list(disk->ctx, store->dir, look_at, &found);

    if (err != ERR_OK)
        return err;
    if (found.data)
        return err_set(ERR_CORRUPT, "%s/%s: missing, and there are data files", store->dir,
                       MANIFEST_NAME);
    store->sealer.manifest = (struct manifest){.shard = store->options.shard, .next_segment = 1};
    producers_encode(store->producers, &store->sealer.manifest.producers);
    return manifest_save(&store->sealer.manifest, disk, store->dir);
}

static bool is_named(const struct store *store, const char *name)
{
    const struct catalog_files *catalog = &store->sealer.manifest.catalog;
    char own[SEGMENT_NAME_SIZE];
    char run[CATALOG_FILE_NAME_SIZE];

    for (uint32_t i = 0; i < catalog->count; i++) {
        catalog_file_name(&catalog->files[i], run);
        if (strcmp(name, run) == 0)
            return true;
    }
    for (uint32_t i = 0; i < store->segment_count; i++) {
        segment_name(segment_info(store->segments[i])->number, own);
        if (strcmp(name, own) == 0)
            return true;
    }
    return false;
}

/* Ours, and not in the manifest: a seal or compaction did not come to its end. Other files stay. */
static void remove_leftover(void *arg, const char *name)
{
    struct found *found = arg;
    const struct disk *disk = found->store->options.disk;
    char path[PATH_SIZE];

    if (found->err != ERR_OK || is_named(found->store, name) ||
        !(ends_with(name, ".mrs") || ends_with(name, ".tmp") ||
          ends_with(name, CATALOG_FILE_SUFFIX)))
        return;
    (void)snprintf(path, sizeof path, "%s/%s", found->store->dir, name);
    found->err = disk->remove(disk->ctx, path);
}

static enum err load_producers(struct store *store)
{
    const struct bytes *stored = &store->sealer.manifest.producers;
    struct reader reader = reader_on(stored->data, stored->size);
    enum err err = producers_decode(store->producers, &reader);

    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_CORRUPT, "%zu bytes behind the producers", reader_left(&reader));
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s/%s", store->dir, MANIFEST_NAME);
}

static enum err load_catalog(struct store *store)
{
    struct sealer *sealer = &store->sealer;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < sealer->manifest.catalog.count && err == ERR_OK; i++) {
        err = catalog_file_open(sealer->disk, store->dir, store->options.shard,
                                &sealer->manifest.catalog.files[i], &sealer->runs[i]);
        if (err == ERR_OK)
            err = catalog_load(store->catalog, sealer->runs[i]);
    }
    return err;
}

static enum err check_database(const struct store *store, const struct segment_info *info)
{
    if (info->database < store->databases.count)
        return ERR_OK;
    return err_set(ERR_CORRUPT, "%s/%s: segment %" PRIu64 " is of database %u of %u", store->dir,
                   MANIFEST_NAME, info->number, info->database, store->databases.count);
}

static enum err load_databases(struct store *store)
{
    const struct manifest *manifest = &store->sealer.manifest;
    struct catalog_view view = catalog_view(store->catalog);
    enum err err = database_map_extend(&store->databases, &view);

    catalog_view_fini(&view);
    if (err == ERR_OK)
        err = marks_copy(&manifest->marks, &store->marks);
    store->cutoff_max_ns = marks_cutoff_max(&store->marks);
    bytes_put(&store->tombstones, manifest->tombstones.data, manifest->tombstones.size);
    if (err == ERR_OK && store->tombstones.failed)
        err = err_set(ERR_NO_MEMORY, "tombstones");
    if (err == ERR_OK)
        err = compactions_copy(&manifest->compactions, &store->compactions);
    for (uint32_t i = 0; i < manifest->segment_count && err == ERR_OK; i++)
        err = check_database(store, &manifest->segments[i]);
    for (uint32_t i = 0; i < manifest->compactions.count && err == ERR_OK; i++)
        err = check_database(store, &manifest->compactions.items[i].info);
    return err;
}

static enum err load_segments(struct store *store)
{
    const struct manifest *manifest = &store->sealer.manifest;
    enum err err = ERR_OK;

    store->segments = calloc((size_t)manifest->segment_count + 1, sizeof(struct segment *));
    if (store->segments == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", manifest->segment_count);
    for (uint32_t i = 0; i < manifest->segment_count && err == ERR_OK; i++) {
        err = segment_open(store->options.disk, store->dir, store->options.shard,
                           &manifest->segments[i], &store->segments[i]);
        if (err == ERR_CORRUPT || err == ERR_IO) {
            log_error("%s", err_detail());
            err = segment_stand_in(store->options.disk, store->dir, &manifest->segments[i],
                                   &store->segments[i]);
        }
        if (err == ERR_OK)
            store->segment_count++;
    }
    return err;
}

static enum err load(struct store *store)
{
    const struct disk *disk = store->options.disk;
    struct manifest *manifest = &store->sealer.manifest;
    struct found found = {.store = store};
    enum err err = manifest_load(disk, store->dir, store->options.shard, manifest);

    if (err == ERR_NOT_FOUND)
        err = begin_shard(store);
    else if (err == ERR_OK)
        err = load_producers(store);
    if (err == ERR_OK)
        err = load_catalog(store);
    if (err == ERR_OK)
        err = load_databases(store);
    if (err == ERR_OK)
        err = load_segments(store);
    if (err == ERR_OK) {
        err = disk->list(disk->ctx, store->dir, remove_leftover, &found);
        err = err == ERR_OK ? found.err : err;
    }
    return err;
}

/* The folder, and that its name in the folder above is durable. */
static enum err make_dir(const struct store *store)
{
    const struct disk *disk = store->options.disk;
    const char *slash = strrchr(store->dir, '/');
    char above[PATH_SIZE] = ".";
    enum err err = disk->make_dir(disk->ctx, store->dir);

    if (slash != NULL)
        (void)snprintf(above, sizeof above, "%.*s",
                       (int)(slash - store->dir + (slash == store->dir)), store->dir);
    return err == ERR_OK ? disk->sync_dir(disk->ctx, above) : err;
}

static enum err open_in(struct store *store)
{
    enum err err;

    if (strlen(store->dir) > PATH_SIZE - 64)
        return err_set(ERR_INVALID, "a folder's name of %zu bytes", strlen(store->dir));
    err = catalog_new(&store->catalog);
    if (err == ERR_OK)
        err = producers_new(store->options.producers_max, &store->producers);
    if (err == ERR_OK)
        err = make_dir(store);
    return err == ERR_OK ? load(store) : err;
}

static enum err store_new(const struct store_options *options, struct store **ret_store)
{
    struct store *store = calloc(1, sizeof *store);

    if (store != NULL)
        store->dir = strdup(options->dir);
    if (store == NULL || store->dir == NULL) {
        free(store);
        return err_set(ERR_NO_MEMORY, "store of shard %u", options->shard);
    }
    store->options = *options;
    store->options.dir = store->dir;
    store->sealer = (struct sealer){.disk = options->disk,
                                    .dir = store->dir,
                                    .lock = PTHREAD_MUTEX_INITIALIZER,
                                    .memory = SEAL_MEMORY,
                                    .cancel = options->cancel};
    last_cache_init(&store->last, options->last_bytes / 4 * 3);
    last_sets_init(&store->last_sets, options->last_bytes / 8);
    store->last_groups.bytes_max = options->last_bytes / 8;
    *ret_store = store;
    return ERR_OK;
}

/* Go on where the manifest ends, or close it again. */
static enum err opened(struct store *store, enum err err, struct store **ret_store)
{
    if (err != ERR_OK) {
        if (err == ERR_CORRUPT)
            err = err_wrap(
                err, "shard %u is damaged: docs/operations.md says how it is mended, or what to do",
                store->options.shard);
        else
            err = err_wrap(err, "shard %u", store->options.shard);
        store_close(store);
        return err;
    }
    store->applied_index = store->sealed_index = store->frozen_index =
        store->sealer.manifest.sealed_index;
    store->chain = store->sealer.manifest.chain;
    store->rows = store->sealer.manifest.rows;
    store->points = store->sealer.manifest.points;
    *ret_store = store;
    return ERR_OK;
}

enum err store_open(const struct store_options *options, struct store **ret_store)
{
    struct store *store = NULL;
    enum err err = store_new(options, &store);

    return err == ERR_OK ? opened(store, open_in(store), ret_store) : err;
}

static enum err open_waiting(const struct store_options *options, bool absent,
                             struct store **ret_store)
{
    struct store *store = NULL;
    enum err err = store_new(options, &store);

    if (err != ERR_OK)
        return err;
    store->waiting = true;
    err = catalog_new(&store->catalog);
    if (err == ERR_OK)
        err = producers_new(options->producers_max, &store->producers);
    if (err == ERR_OK)
        err = manifest_load(options->disk, store->dir, options->shard, &store->sealer.manifest);
    if (absent &&
        (err == ERR_NOT_FOUND || err == ERR_CORRUPT || err == ERR_VERSION || err == ERR_IO)) {
        store->sealer.manifest = (struct manifest){.shard = options->shard, .next_segment = 1};
        err = ERR_OK;
    }
    return opened(store, err, ret_store);
}

enum err store_open_waiting(const struct store_options *options, struct store **ret_store)
{
    return open_waiting(options, false, ret_store);
}

enum err store_open_absent(const struct store_options *options, struct store **ret_store)
{
    return open_waiting(options, true, ret_store);
}

void store_close(struct store *store)
{
    CHECK(store->seals_out == 0);
    CHECK(!store->compacting);
    while (store->seals != NULL) {
        struct seal_job *before = store->seals->before;

        seal_job_free(store->seals);
        store->seals = before;
    }
    for (uint32_t i = 0; i < store->segment_count; i++)
        segment_unref(store->segments[i]);
    free(store->segments);
    compactions_fini(&store->compactions);
    database_map_fini(&store->databases);
    bytes_fini(&store->marks);
    bytes_fini(&store->tombstones);
    head_fini(&store->head);
    last_cache_fini(&store->last);
    last_follow_fini(&store->last_follow);
    last_sets_fini(&store->last_sets);
    last_where_fini(&store->last_where);
    block_newest_fini(&store->last_block);
    last_groups_fini(&store->last_groups);
    tentative_fini(&store->tentative);
    producers_free(store->producers);
    catalog_free(store->catalog);
    for (uint32_t i = 0; i < CATALOG_FILES_MAX; i++)
        catalog_run_unref(store->sealer.runs[i]);
    manifest_fini(&store->sealer.manifest);
    (void)pthread_mutex_destroy(&store->sealer.lock);
    free(store->dir);
    free(store);
}

/* ---- Looking ------------------------------------------------------------------------------- */

uint64_t store_sealed_index(const struct store *store)
{
    return store->sealed_index;
}

uint64_t store_applied_index(const struct store *store)
{
    return store->applied_index;
}

uint32_t store_find_series(const struct store *store, const void *key, size_t size, uint64_t hash)
{
    uint32_t id = catalog_find(store->catalog, key, size, hash);

    /* A tentative id may never come to be: nobody outside may learn it. */
    return id < catalog_count(store->catalog) ? id : BLOCK_ID_NONE;
}

void store_next_keys(const struct block_view *view, size_t *at, struct store_keys *ret_keys)
{
    struct slice key;

    ret_keys->count = 0;
    while (ret_keys->count < CATALOG_BATCH && block_view_next_key(view, at, &key.data, &key.size))
        ret_keys->keys[ret_keys->count++] = key;
}

void store_find_keys(const struct store *store, struct store_keys *keys)
{
    for (uint32_t i = 0; i < keys->count; i++)
        keys->hashes[i] = key_hash(keys->keys[i].data, keys->keys[i].size);
    catalog_find_batch(store->catalog, keys->keys, keys->hashes, keys->count, keys->ids);
}

void store_stats(const struct store *store, struct store_stats *ret_stats)
{
    struct store_stats stats = {
        .series = catalog_count(store->catalog),
        .head_blocks = store->head.count,
        .head_bytes = store->head.bytes,
        .head_rows = store->head.rows,
        .segments = store->segment_count,
        .applied_index = store->applied_index,
        .sealed_index = store->sealed_index,
        .rows = store->rows,
        .points = store->points,
        .chain = store->chain,
        .tombstones = tombstones_count(&store->tombstones),
        .last_series = store->last.series,
        .last_bytes = last_cache_bytes(&store->last) + last_follow_bytes(&store->last_follow) +
                      store->last_sets.bytes + last_where_bytes(&store->last_where) +
                      store->last_groups.bytes,
        .sealing = store->seals_out > 0};

    for (uint32_t i = 0; i < store->compactions.count; i++)
        stats.compactions += store->compactions.items[i].input_count > 0;
    for (uint32_t i = 0; i < store->segment_count; i++) {
        stats.segment_bytes += segment_info(store->segments[i])->size;
        stats.segment_rows += segment_info(store->segments[i])->rows;
    }
    *ret_stats = stats;
}

static void add_segment(struct snapshot *snapshot, struct segment *segment)
{
    for (uint32_t i = 0; i < segment_groups(segment); i++)
        snapshot->sources[snapshot->source_count++] = snapshot_group(segment_ref(segment), i);
}

static void add_head(struct snapshot *snapshot, const struct head *head)
{
    for (uint32_t i = head->first; i < head->first + head->count; i++) {
        const struct head_block *block = &head->blocks[i];

        if (block->rows == 0)
            continue; /* It registers series. */
        snapshot->sources[snapshot->source_count++] =
            (struct snapshot_source){.entry = buf_ref(block->entry),
                                     .index = block->index,
                                     .clean_index = block->index,
                                     .offset = sizeof(struct entry_header),
                                     .size = block->size,
                                     .rows = block->rows,
                                     .time_min_ns = block->time_min_ns,
                                     .time_max_ns = block->time_max_ns,
                                     .series_min = block->series_min,
                                     .series_max = block->series_max,
                                     .table_min = 0,
                                     .table_max = CATALOG_NONE};
    }
}

struct snapshot *store_snapshot(struct store *store)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    size_t sources = store->head.count + 1;

    if (snapshot == NULL)
        return NULL;
    for (uint32_t i = 0; i < store->segment_count; i++)
        sources += segment_groups(store->segments[i]);
    snapshot->sources = malloc(sources * sizeof *snapshot->sources);
    snapshot->series = calloc(1, sizeof *snapshot->series);
    if (snapshot->sources == NULL || snapshot->series == NULL ||
        marks_copy(&store->marks, &snapshot->marks) != ERR_OK ||
        !snapshot_hide(snapshot, &store->tombstones)) {
        snapshot_free(snapshot);
        return NULL;
    }
    for (uint32_t i = 0; i < store->segment_count; i++)
        if (!store_is_gone(store, segment_info(store->segments[i])))
            add_segment(snapshot, store->segments[i]);
    add_head(snapshot, &store->head);
    *snapshot->series = catalog_view(store->catalog);
    return snapshot;
}
