#include "storage/store_damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"
#include "storage/catalog_run.h"
#include "storage/segment_damage.h"
#include "storage/segment_proof.h"
#include "storage/segment_verify.h"
#include "storage/store_internal.h"

enum { PATH_SIZE = 4096 };

/* ---- Files --------------------------------------------------------------------------------- */

static struct store_file file_of_segment(const struct segment_info *info)
{
    return (struct store_file){.kind = STORE_FILE_SEGMENT,
                               .number = info->number,
                               .size = info->size,
                               .hash = info->hash,
                               .segment = *info};
}

static struct store_file file_of_run(const struct catalog_file_info *info)
{
    return (struct store_file){.kind = STORE_FILE_CATALOG,
                               .number = (uint64_t)info->first + info->count,
                               .size = info->size,
                               .hash = info->crc,
                               .run = *info};
}

bool store_file_is(const struct store_file *a, const struct store_file *b)
{
    return a->kind == b->kind && a->number == b->number && a->size == b->size && a->hash == b->hash;
}

void store_file_name(const struct store_file *file, char ret_name[STORE_FILE_NAME_SIZE])
{
    if (file->kind == STORE_FILE_SEGMENT)
        segment_name(file->number, ret_name);
    else
        catalog_file_name(&file->run, ret_name);
}

enum err store_files_of(const struct manifest *manifest, struct store_file **ret_files,
                        uint32_t *ret_count)
{
    struct store_file *files =
        calloc((size_t)manifest->catalog.count + manifest->segment_count + 1, sizeof *files);
    uint32_t count = 0;

    if (files == NULL)
        return err_set(ERR_NO_MEMORY, "shard %" PRIu32 ": a list of its files", manifest->shard);
    for (uint32_t i = 0; i < manifest->catalog.count; i++)
        files[count++] = file_of_run(&manifest->catalog.files[i]);
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        files[count++] = file_of_segment(&manifest->segments[i]);
    *ret_files = files;
    *ret_count = count;
    return ERR_OK;
}

enum err store_files(struct store *store, struct store_file **ret_files, uint32_t *ret_count)
{
    enum err err;

    (void)pthread_mutex_lock(&store->sealer.lock);
    err = store_files_of(&store->sealer.manifest, ret_files, ret_count);
    (void)pthread_mutex_unlock(&store->sealer.lock);
    return err;
}

enum err store_manifest(struct store *store, struct bytes *out, uint64_t *ret_index)
{
    (void)pthread_mutex_lock(&store->sealer.lock);
    manifest_encode(&store->sealer.manifest, out);
    *ret_index = store->sealer.manifest.sealed_index;
    (void)pthread_mutex_unlock(&store->sealer.lock);
    return out->failed ? err_set(ERR_NO_MEMORY, "%s: its manifest", store->dir) : ERR_OK;
}

/* Under the lock. */
static bool counts(const struct manifest *manifest, const struct store_file *file)
{
    struct store_file own;

    if (file->kind == STORE_FILE_SEGMENT) {
        for (uint32_t i = 0; i < manifest->segment_count; i++)
            if (manifest->segments[i].number == file->number) {
                own = file_of_segment(&manifest->segments[i]);
                return store_file_is(&own, file);
            }
        return false;
    }
    for (uint32_t i = 0; i < manifest->catalog.count; i++) {
        own = file_of_run(&manifest->catalog.files[i]);
        if (store_file_is(&own, file))
            return true;
    }
    return false;
}

/* Under the lock. It was ordered, and is not made yet. */
static bool is_awaited(const struct manifest *manifest, const struct store_file *file)
{
    const struct compaction *compaction =
        file->kind == STORE_FILE_SEGMENT ? compactions_find(&manifest->compactions, file->number)
                                         : NULL;

    return compaction != NULL && compaction->input_count > 0;
}

bool store_has_file(struct store *store, const struct store_file *file)
{
    bool has;

    (void)pthread_mutex_lock(&store->sealer.lock);
    has = counts(&store->sealer.manifest, file);
    (void)pthread_mutex_unlock(&store->sealer.lock);
    return has;
}

const char *store_dir(const struct store *store)
{
    return store->dir;
}

enum err store_verify_file(const struct disk *disk, const char *path, uint32_t shard,
                           const struct store_file *file)
{
    struct segment *segment = NULL;
    enum err err;

    if (file->kind == STORE_FILE_CATALOG)
        return catalog_file_verify(disk, path, shard, &file->run);
    err = segment_open_at(disk, path, shard, &file->segment, &segment);
    if (err != ERR_OK)
        return err;
    err = segment_verify(segment);
    segment_unref(segment);
    return err;
}

enum err store_install(struct store *store, const struct store_file *file, const char *path)
{
    const struct disk *disk = store->options.disk;
    char name[STORE_FILE_NAME_SIZE], to[PATH_SIZE];
    enum err err;

    store_file_name(file, name);
    (void)snprintf(to, sizeof to, "%s/%s", store->dir, name);
    /* A seal that drops it takes it from the manifest, under the lock, and then removes it: so it
     * either is not named here any more, or what is put in its place is removed. */
    (void)pthread_mutex_lock(&store->sealer.lock);
    if (counts(&store->sealer.manifest, file) || is_awaited(&store->sealer.manifest, file))
        err = disk->rename(disk->ctx, path, to);
    else
        err = err_set(ERR_NOT_FOUND, "%s: it does not count any more", to);
    (void)pthread_mutex_unlock(&store->sealer.lock);
    if (err != ERR_OK) {
        struct err_note note;

        err_save(&note, err);
        (void)disk->remove(disk->ctx, path); /* Else the next start removes it. */
        return err_restore(&note);
    }
    if (FAULT("mend.install"))
        return err_set(ERR_IO, "injected behind the renaming of %s", to);
    return disk->sync_dir(disk->ctx, store->dir);
}

enum err store_facts(struct store *store, uint64_t number, struct segment_info *ret_info)
{
    const struct manifest *manifest = &store->sealer.manifest;
    const struct compaction *made;
    bool found = false;

    (void)pthread_mutex_lock(&store->sealer.lock);
    made = compactions_find(&manifest->compactions, number);
    if (made != NULL && made->input_count == 0) {
        *ret_info = made->info;
        found = true;
    }
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (manifest->segments[i].number == number) {
            *ret_info = manifest->segments[i];
            found = true;
        }
    (void)pthread_mutex_unlock(&store->sealer.lock);
    return found ? ERR_OK
                 : err_set(ERR_NOT_FOUND, "%s: segment %" PRIu64 " does not count", store->dir,
                           number);
}

/* Under the lock. */
static enum err list_outputs(const struct compactions *list, uint64_t number, uint64_t *numbers,
                             uint32_t *count)
{
    for (uint32_t i = list->count; i-- > 0;) { /* In order of their numbers. */
        uint64_t *parts;
        uint32_t part_count;
        enum err err = compactions_parts(list, &list->items[i], &parts, &part_count);

        if (err != ERR_OK)
            return err;
        if (compactions_have(parts, part_count, number))
            numbers[(*count)++] = list->items[i].info.number;
        free(parts);
    }
    return ERR_OK;
}

enum err store_outputs(struct store *store, uint64_t number, uint64_t **ret_numbers,
                       uint32_t *ret_count)
{
    const struct compactions *list = &store->sealer.manifest.compactions;
    enum err err = ERR_NO_MEMORY;
    uint32_t count = 0;
    uint64_t *numbers;

    (void)pthread_mutex_lock(&store->sealer.lock);
    numbers = malloc(((size_t)list->count + 1) * sizeof *numbers);
    if (numbers != NULL)
        err = list_outputs(list, number, numbers, &count);
    (void)pthread_mutex_unlock(&store->sealer.lock);
    if (err != ERR_OK) {
        free(numbers);
        return err_set(err, "%s: what segment %" PRIu64 " becomes part of", store->dir, number);
    }
    *ret_numbers = numbers;
    *ret_count = count;
    return ERR_OK;
}

enum err store_check_manifest(struct store *store, const struct disk *disk)
{
    struct err_note note;
    enum err err, saved;

    (void)pthread_mutex_lock(&store->sealer.lock);
    err = manifest_verify(disk, store->dir);
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND || err == ERR_IO) {
        err_save(&note, ERR_CORRUPT);
        saved = manifest_save(&store->sealer.manifest, store->options.disk, store->dir);
        err = saved == ERR_OK ? err_restore(&note) : saved;
    }
    (void)pthread_mutex_unlock(&store->sealer.lock);
    return err;
}

/* ---- The worker ---------------------------------------------------------------------------- */

bool store_is_waiting(const struct store *store)
{
    return store->waiting;
}

bool store_is_blind(const struct store *store)
{
    return store->waiting || store->blind;
}

/* It has rows of the query's database and times. What is asked about series is in the catalog. */
static bool needs(const struct store *store, const struct query *query,
                  const struct segment_info *info)
{
    struct slice database = {query->database, strlen(query->database)};

    return query->about == QUERY_ROWS && info->database < store->databases.count &&
           marks_compare(store->databases.names[info->database], database) == 0 &&
           info->time_min_ns < query->to_ns && info->time_max_ns >= query->from_ns &&
           !store_is_gone(store, info);
}

enum err store_check_damage(const struct store *store, const struct query *query)
{
    if (store_is_blind(store))
        return err_set(ERR_CORRUPT, "%s: a file of its catalog is damaged", store->dir);
    for (uint32_t i = 0; i < store->segment_count; i++) {
        const struct segment *segment = store->segments[i];

        if (segment_is_damaged(segment) && needs(store, query, segment_info(segment)))
            return err_set(ERR_CORRUPT, "%s: damaged, it has rows that are asked for",
                           segment_path(segment));
    }
    return ERR_OK;
}

bool store_next_damaged(const struct store *store, uint32_t *at, struct store_file *ret_file)
{
    while (*at < store->segment_count) {
        const struct segment *segment = store->segments[(*at)++];

        if (!segment_is_damaged(segment) || store_is_gone(store, segment_info(segment)))
            continue;
        *ret_file = file_of_segment(segment_info(segment));
        return true;
    }
    return false;
}

static int find_segment(const struct store *store, uint64_t number)
{
    for (uint32_t i = 0; i < store->segment_count; i++)
        if (segment_info(store->segments[i])->number == number)
            return (int)i;
    return -1;
}

void store_blame(struct store *store, const struct store_file *file)
{
    int at = file->kind == STORE_FILE_SEGMENT ? find_segment(store, file->number) : -1;

    if (file->kind == STORE_FILE_CATALOG)
        store->blind = true;
    else if (at >= 0)
        segment_blame(store->segments[at]);
}

void store_see(struct store *store)
{
    store->blind = false;
}

bool store_take_segment(struct store *store, struct segment *segment)
{
    int at = find_segment(store, segment_info(segment)->number);

    if (at < 0) {
        segment_unref(segment);
        return false;
    }
    segment_set_clean_index(segment, segment_clean_index(store->segments[at]));
    last_groups_forget(&store->last_groups);
    segment_unref(store->segments[at]);
    store->segments[at] = segment;
    return true;
}

/* Whether a key of the run was not found while it was damaged, and so got another id. Those that
 * are in files already are not looked at: they are many. */
static enum err check_young(const struct store *store, const struct catalog_run *run)
{
    uint32_t id = catalog_files_series(&store->sealer.manifest.catalog);
    struct catalog_view view = catalog_view(store->catalog);
    char room[CATALOG_KEY_ROOM];
    enum err err = ERR_OK;

    for (; id < view.count && err == ERR_OK; id++) {
        struct slice key = catalog_view_key(&view, id, room);

        if (catalog_run_find(run, key, key_hash(key.data, key.size)) != CATALOG_RUN_NONE)
            err = err_set(ERR_CORRUPT,
                          "%s: series %u was taken for a new one while the catalog was damaged",
                          store->dir, id);
    }
    catalog_view_fini(&view);
    return err;
}

enum err store_take_run(struct store *store, struct catalog_run *run)
{
    const struct catalog_files *files = &store->sealer.manifest.catalog;
    enum err err;

    if (store->seals_out > 0)
        return ERR_BUSY;
    for (uint32_t i = 0; i < files->count; i++) {
        if (files->files[i].first != run->header.first || files->files[i].crc != run->header.crc)
            continue;
        err = check_young(store, run);
        if (err == ERR_OK)
            err = catalog_adopt(store->catalog, run);
        if (err != ERR_OK)
            return err;
        catalog_run_unref(store->sealer.runs[i]);
        store->sealer.runs[i] = catalog_run_ref(run);
        return ERR_OK;
    }
    return err_set(ERR_NOT_FOUND, "%s: it has no run of the catalog from series %u on any more",
                   store->dir, run->header.first);
}
