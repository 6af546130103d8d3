#include "storage/shard_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/catalog_file.h"
#include "storage/catalog_folder.h"
#include "storage/database_map.h"
#include "storage/manifest.h"
#include "storage/producers.h"
#include "storage/segment_check.h"

enum { PATH_SIZE = 4096 };

struct shard {
    const struct disk *disk;
    const char *dir;
    struct damage_sink *sink;
    struct manifest manifest;
    struct database_map databases;
    struct shard_check found;
    bool data; /* There are files that a manifest should name. */
};

/* Without memory there is no going on, all else is a fault of `path` (NULL: of what the error
 * begins with). */
static enum err failed(struct shard *shard, enum err err, const char *path)
{
    if (err == ERR_NO_MEMORY)
        return err;
    damage_report_error(shard->sink, path);
    return ERR_OK;
}

static void path_of(const struct shard *shard, const char *name, char ret_path[PATH_SIZE])
{
    (void)snprintf(ret_path, PATH_SIZE, "%s/%s", shard->dir, name);
}

/* ---- What lies there ----------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);

    return size > end_size && strcmp(name + size - end_size, end) == 0;
}

static bool is_named(const struct shard *shard, const char *name)
{
    char own[SEGMENT_NAME_SIZE];

    for (uint32_t i = 0; i < shard->manifest.catalog.count; i++) {
        char run[CATALOG_FILE_NAME_SIZE];

        catalog_file_name(&shard->manifest.catalog.files[i], run);
        if (strcmp(name, run) == 0)
            return true;
    }
    for (uint32_t i = 0; i < shard->manifest.segment_count; i++) {
        segment_name(shard->manifest.segments[i].number, own);
        if (strcmp(name, own) == 0)
            return true;
    }
    return false;
}

static void look_at(void *arg, const char *name)
{
    struct shard *shard = arg;
    char path[PATH_SIZE];
    bool data = ends_with(name, ".mrs") || ends_with(name, CATALOG_FILE_SUFFIX);

    shard->data |= data;
    path_of(shard, name, path);
    if (ends_with(name, ".tmp") || (data && shard->found.has_manifest && !is_named(shard, name)))
        damage_note(shard->sink, path,
                    "left over from a seal or compaction that did not come to its end: the next "
                    "start removes it");
}

/* ---- Manifest ------------------------------------------------------------------------------ */

static enum err check_producers(struct shard *shard)
{
    struct reader reader =
        reader_on(shard->manifest.producers.data, shard->manifest.producers.size);
    struct reader ahead = reader;
    uint32_t count = reader_u32(&ahead);
    struct producers *producers;
    enum err err;

    /* As many as there are, not as many as there may be. */
    if (count < 1 || count > PRODUCERS_MAX)
        count = 1;
    err = producers_new(count, &producers);
    if (err != ERR_OK)
        return err;
    err = producers_decode(producers, &reader);
    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_CORRUPT, "%zu bytes behind the producers", reader_left(&reader));
    producers_free(producers);
    return err;
}

static enum err load_manifest(struct shard *shard, uint32_t number)
{
    enum err err = manifest_load(shard->disk, shard->dir, number, &shard->manifest);
    char path[PATH_SIZE];

    path_of(shard, MANIFEST_NAME, path);
    if (err == ERR_OK) {
        shard->found.has_manifest = shard->found.knows_sealed = true;
        shard->found.sealed_index = shard->manifest.sealed_index;
        shard->found.segments = shard->manifest.segment_count;
        shard->found.series = catalog_files_series(&shard->manifest.catalog);
        err = manifest_verify(shard->disk, shard->dir);
        if (err != ERR_OK)
            err = failed(shard, err, NULL);
        if (err == ERR_OK)
            err = check_producers(shard);
        return err == ERR_OK ? ERR_OK : failed(shard, err, path);
    }
    if (err != ERR_NOT_FOUND)
        return failed(shard, err, path);
    err = shard->disk->list(shard->disk->ctx, shard->dir, look_at, shard);
    if (err == ERR_OK && shard->data)
        damage_report(shard->sink, path, DAMAGE_NOWHERE, "missing, and there are data files");
    shard->found.knows_sealed = !shard->data;
    return err;
}

/* ---- Segments ------------------------------------------------------------------------------ */

/* The manifest says of which database a segment is: retention drops it by that. */
static void check_database(struct shard *shard, const struct segment *segment, const char *path)
{
    const struct segment_info *info = segment_info(segment);

    for (uint32_t i = 0; i < info->groups; i++) {
        uint32_t table = segment_table(segment, i)->number;

        if (table >= shard->databases.tables ||
            shard->databases.of_table[table] != info->database) {
            damage_report(shard->sink, path, DAMAGE_NOWHERE,
                          "it has rows of table %" PRIu32 ", which is not of database %" PRIu32
                          " as the manifest has it",
                          table, info->database);
            return;
        }
    }
}

static enum err check_segment(struct shard *shard, const struct segment_info *info,
                              const struct catalog_view *series)
{
    struct segment *segment;
    char name[SEGMENT_NAME_SIZE], path[PATH_SIZE];
    enum err err = segment_open(shard->disk, shard->dir, shard->manifest.shard, info, &segment);

    segment_name(info->number, name);
    path_of(shard, name, path);
    if (err != ERR_OK)
        return failed(shard, err, path);
    shard->found.segment_bytes += info->size;
    shard->found.rows += info->rows;
    shard->found.points += info->points;
    if (series != NULL)
        check_database(shard, segment, path);
    err = segment_check(segment, series, shard->sink);
    segment_unref(segment);
    return err;
}

static enum err check_files(struct shard *shard)
{
    struct catalog_folder folder = {0};
    bool has_series;
    enum err err = catalog_folder_load(shard->disk, shard->dir, &shard->manifest, &folder);

    has_series = err == ERR_OK;
    if (err != ERR_OK) {
        err = failed(shard, err, NULL);
    } else {
        err = database_map_extend(&shard->databases, &folder.view);
        if (err != ERR_OK)
            err = failed(shard, err, shard->dir);
    }
    for (uint32_t i = 0; i < shard->manifest.segment_count && err == ERR_OK; i++)
        err = check_segment(shard, &shard->manifest.segments[i], has_series ? &folder.view : NULL);
    catalog_folder_close(&folder);
    return err;
}

enum err shard_check_run(const struct disk *disk, const char *dir, uint32_t shard_number,
                         struct damage_sink *sink, struct shard_check *ret_found)
{
    struct shard shard = {.disk = disk, .dir = dir, .sink = sink};
    enum err err = load_manifest(&shard, shard_number);

    if (err == ERR_OK && shard.found.has_manifest) {
        err = check_files(&shard);
        if (err == ERR_OK)
            err = disk->list(disk->ctx, dir, look_at, &shard);
    }
    manifest_fini(&shard.manifest);
    database_map_fini(&shard.databases);
    if (err == ERR_OK)
        *ret_found = shard.found;
    return err;
}
