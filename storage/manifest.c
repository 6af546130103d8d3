#include "storage/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/base/metric.h"
#include "storage/base/twin.h"
#include "storage/block/tombstone.h"
#include "storage/marks.h"

enum {
    CRC_AT = 4,
    SUMMED_FROM = 8,
    SIZE_AT = 16,
    COMPACTION_SIZE = 10 * 8 + 2 * 4, /* and of a compaction without its inputs. */
};

void manifest_fini(struct manifest *manifest)
{
    free(manifest->segments);
    compactions_fini(&manifest->compactions);
    bytes_fini(&manifest->marks);
    bytes_fini(&manifest->tombstones);
    bytes_fini(&manifest->producers);
    *manifest = (struct manifest){0};
}

int manifest_compare(const struct segment_info *a, const struct segment_info *b)
{
    if (a->last_index != b->last_index)
        return a->last_index < b->last_index ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

enum err manifest_add(struct manifest *manifest, const struct segment_info *info)
{
    uint32_t count = manifest->segment_count, at = count;
    struct segment_info *segments;

    if (count >= MANIFEST_SEGMENTS_MAX)
        return err_set(ERR_LIMIT, "%u segments, the most there can be", count);
    segments = realloc(manifest->segments, (count + 1) * sizeof *segments);
    if (segments == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", count + 1);
    while (at > 0 && manifest_compare(&segments[at - 1], info) > 0)
        at--;
    memmove(segments + at + 1, segments + at, (count - at) * sizeof *segments);
    segments[at] = *info;
    manifest->segments = segments;
    manifest->segment_count++;
    return ERR_OK;
}

void manifest_remove(struct manifest *manifest, const uint64_t *numbers, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (!compactions_have(numbers, count, manifest->segments[i].number))
            manifest->segments[kept++] = manifest->segments[i];
    manifest->segment_count = kept;
}

enum err manifest_copy(const struct manifest *from, struct manifest *ret_copy)
{
    struct manifest copy = *from;
    size_t size = from->segment_count * sizeof *copy.segments;
    enum err err;

    copy.producers = copy.marks = copy.tombstones = (struct bytes){0};
    copy.compactions = (struct compactions){0};
    copy.segments = malloc(size + 1);
    if (copy.segments == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", from->segment_count);
    if (size > 0)
        memcpy(copy.segments, from->segments, size);
    err = compactions_copy(&from->compactions, &copy.compactions);
    if (err != ERR_OK) {
        manifest_fini(&copy);
        return err;
    }
    *ret_copy = copy;
    return ERR_OK;
}

/* ---- What there is to be ------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    return manifest_compare(*(const struct segment_info *const *)a,
                            *(const struct segment_info *const *)b);
}

enum err manifest_line_up(const struct manifest *manifest, const struct segment_info ***ret_infos,
                          uint32_t *ret_count)
{
    const struct compactions *compactions = &manifest->compactions;
    size_t most = (size_t)manifest->segment_count + compactions->count;
    const struct segment_info **infos = malloc((most + 1) * sizeof *infos);
    uint64_t *inputs = NULL;
    uint32_t input_count = 0, count = 0;
    enum err err = compactions_inputs(compactions, &inputs, &input_count);

    if (err == ERR_OK && infos == NULL)
        err = err_set(ERR_NO_MEMORY, "%zu segments", most);
    for (size_t i = 0; i < most && err == ERR_OK; i++) {
        const struct segment_info *info =
            i < manifest->segment_count ? &manifest->segments[i]
                                        : &compactions->items[i - manifest->segment_count].info;

        if (!compactions_have(inputs, input_count, info->number))
            infos[count++] = info;
    }
    free(inputs);
    if (err != ERR_OK) {
        free(infos);
        return err;
    }
    qsort(infos, count, sizeof *infos, compare_places);
    *ret_infos = infos;
    *ret_count = count;
    return ERR_OK;
}

static bool may_hide(const struct tombstone *tombstone, uint32_t database,
                     const struct segment_info *info)
{
    return info->database == database && info->clean_index < tombstone->index &&
           info->time_min_ns <= tombstone->last_ns && info->time_max_ns >= tombstone->first_ns;
}

static bool is_needed(const struct manifest *manifest, const struct tombstone *tombstone,
                      uint32_t database)
{
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (may_hide(tombstone, database, &manifest->segments[i]))
            return true;
    /* A replica that has made it already asks the same of what came of it. */
    for (uint32_t i = 0; i < manifest->compactions.count; i++)
        if (manifest->compactions.items[i].input_count > 0 &&
            may_hide(tombstone, database, &manifest->compactions.items[i].info))
            return true;
    return false;
}

enum err manifest_keep_tombstones(const struct manifest *manifest,
                                  const struct database_map *databases, const struct bytes *list,
                                  struct bytes *ret_list)
{
    struct reader reader = reader_on(list->data, list->size);
    struct tombstone tombstone;
    struct bytes kept = {0};
    struct slice bytes;

    while (tombstones_next(&reader, &tombstone, &bytes)) {
        uint32_t database = database_map_find(databases, database_map_name(tombstone.table_key));

        if (is_needed(manifest, &tombstone, database))
            tombstones_add(&kept, tombstone.index, bytes);
    }
    if (kept.failed) {
        bytes_fini(&kept);
        return err_set(ERR_NO_MEMORY, "deletes");
    }
    bytes_fini(ret_list);
    *ret_list = kept;
    return ERR_OK;
}

/* ---- Bytes --------------------------------------------------------------------------------- */

void manifest_put_segment(const struct segment_info *info, struct bytes *out)
{
    bytes_put_u64(out, info->number);
    bytes_put_u64(out, info->first_index);
    bytes_put_u64(out, info->last_index);
    bytes_put_u64(out, info->clean_index);
    bytes_put_u32(out, info->database);
    bytes_put_u64(out, (uint64_t)info->window_first_ns);
    bytes_put_u64(out, (uint64_t)info->window_last_ns);
    bytes_put_u64(out, info->size);
    bytes_put_u64(out, info->rows);
    bytes_put_u64(out, info->points);
    bytes_put_u64(out, (uint64_t)info->time_min_ns);
    bytes_put_u64(out, (uint64_t)info->time_max_ns);
    bytes_put_u64(out, (uint64_t)info->bound_ns);
    bytes_put_u64(out, info->hash);
    bytes_put_u32(out, info->groups);
}

struct segment_info manifest_get_segment(struct reader *reader)
{
    struct segment_info info = {0};

    info.number = reader_u64(reader);
    info.first_index = reader_u64(reader);
    info.last_index = reader_u64(reader);
    info.clean_index = reader_u64(reader);
    info.database = reader_u32(reader);
    info.window_first_ns = (int64_t)reader_u64(reader);
    info.window_last_ns = (int64_t)reader_u64(reader);
    info.size = reader_u64(reader);
    info.rows = reader_u64(reader);
    info.points = reader_u64(reader);
    info.time_min_ns = (int64_t)reader_u64(reader);
    info.time_max_ns = (int64_t)reader_u64(reader);
    info.bound_ns = (int64_t)reader_u64(reader);
    info.hash = reader_u64(reader);
    info.groups = reader_u32(reader);
    return info;
}

static void put_compaction(const struct compaction *compaction, struct bytes *out)
{
    const struct segment_info *info = &compaction->info;

    bytes_put_u64(out, info->number);
    bytes_put_u64(out, info->first_index);
    bytes_put_u64(out, info->last_index);
    bytes_put_u64(out, info->clean_index);
    bytes_put_u32(out, info->database);
    bytes_put_u64(out, (uint64_t)info->window_first_ns);
    bytes_put_u64(out, (uint64_t)info->window_last_ns);
    bytes_put_u64(out, (uint64_t)info->time_min_ns);
    bytes_put_u64(out, (uint64_t)info->time_max_ns);
    bytes_put_u64(out, (uint64_t)info->bound_ns);
    bytes_put_u64(out, (uint64_t)compaction->cutoff_ns);
    bytes_put_u32(out, compaction->input_count);
    for (uint32_t i = 0; i < compaction->input_count; i++)
        bytes_put_u64(out, compaction->inputs[i]);
}

static struct compaction get_compaction(struct reader *reader)
{
    struct compaction compaction = {.input_count = 0};
    struct segment_info *info = &compaction.info;

    info->number = reader_u64(reader);
    info->first_index = reader_u64(reader);
    info->last_index = reader_u64(reader);
    info->clean_index = reader_u64(reader);
    info->database = reader_u32(reader);
    info->window_first_ns = (int64_t)reader_u64(reader);
    info->window_last_ns = (int64_t)reader_u64(reader);
    info->time_min_ns = (int64_t)reader_u64(reader);
    info->time_max_ns = (int64_t)reader_u64(reader);
    info->bound_ns = (int64_t)reader_u64(reader);
    compaction.cutoff_ns = (int64_t)reader_u64(reader);
    compaction.input_count = reader_u32(reader);
    return compaction;
}

void manifest_encode(const struct manifest *manifest, struct bytes *out)
{
    size_t start = out->size;
    uint64_t size;
    uint32_t crc;

    bytes_put_u32(out, MANIFEST_MAGIC);
    bytes_put_u32(out, 0);
    bytes_put_u16(out, MANIFEST_VERSION);
    bytes_put_u16(out, 0);
    bytes_put_u32(out, manifest->shard);
    bytes_put_u64(out, 0);
    bytes_put_u64(out, manifest->sealed_index);
    bytes_put_u64(out, manifest->next_segment);
    bytes_put_u64(out, manifest->chain);
    bytes_put_u64(out, manifest->rows);
    bytes_put_u64(out, manifest->points);
    catalog_files_encode(&manifest->catalog, out);
    bytes_put_u32(out, manifest->segment_count);
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        manifest_put_segment(&manifest->segments[i], out);
    bytes_put_u32(out, manifest->compactions.count);
    for (uint32_t i = 0; i < manifest->compactions.count; i++)
        put_compaction(&manifest->compactions.items[i], out);
    bytes_put_u32(out, (uint32_t)manifest->marks.size);
    bytes_put(out, manifest->marks.data, manifest->marks.size);
    bytes_put_u32(out, (uint32_t)manifest->tombstones.size);
    bytes_put(out, manifest->tombstones.data, manifest->tombstones.size);
    bytes_put(out, manifest->producers.data, manifest->producers.size);
    if (out->failed)
        return;
    size = out->size - start;
    memcpy(out->data + start + SIZE_AT, &size, sizeof size);
    crc = crc32c(0, out->data + start + SUMMED_FROM, size - SUMMED_FROM);
    memcpy(out->data + start + CRC_AT, &crc, sizeof crc);
}

static bool is_sound(const struct manifest *manifest, const struct segment_info *info)
{
    return info->number > 0 && info->number < manifest->next_segment && info->first_index > 0 &&
           info->first_index <= info->last_index && info->last_index <= info->clean_index &&
           info->clean_index <= manifest->sealed_index && info->time_min_ns <= info->time_max_ns &&
           info->window_first_ns <= info->time_min_ns &&
           info->time_max_ns <= info->window_last_ns && info->time_max_ns <= info->bound_ns;
}

static enum err get_segments(struct manifest *manifest, struct reader *reader)
{
    uint32_t count = reader_u32(reader);

    if (reader->bad || count > reader_left(reader) / MANIFEST_SEGMENT_SIZE)
        return err_set(ERR_CORRUPT, "%u segments do not fit", count);
    for (uint32_t i = 0; i < count; i++) {
        struct segment_info info = manifest_get_segment(reader);
        enum err err;

        if (!is_sound(manifest, &info) ||
            (i > 0 && manifest_compare(&manifest->segments[i - 1], &info) >= 0))
            return err_set(ERR_CORRUPT, "segment %u of %u: out of order", i, count);
        err = manifest_add(manifest, &info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Its inputs are read behind it. */
static enum err get_inputs(struct compaction *compaction, struct reader *reader)
{
    if (compaction->input_count > reader_left(reader) / sizeof *compaction->inputs)
        return err_set(ERR_CORRUPT, "%u inputs do not fit", compaction->input_count);
    compaction->inputs = malloc(((size_t)compaction->input_count + 1) * sizeof(uint64_t));
    if (compaction->inputs == NULL)
        return err_set(ERR_NO_MEMORY, "%u inputs", compaction->input_count);
    for (uint32_t i = 0; i < compaction->input_count; i++)
        compaction->inputs[i] = reader_u64(reader);
    return ERR_OK;
}

static enum err get_compactions(struct manifest *manifest, struct reader *reader)
{
    uint32_t count = reader_u32(reader);
    uint64_t before = 0;

    if (reader->bad || count > reader_left(reader) / COMPACTION_SIZE)
        return err_set(ERR_CORRUPT, "%u compactions do not fit", count);
    for (uint32_t i = 0; i < count; i++) {
        struct compaction compaction = get_compaction(reader);
        enum err err;

        if (reader->bad || !is_sound(manifest, &compaction.info) ||
            compaction.info.number <= before)
            return err_set(ERR_CORRUPT, "compaction %u of %u: out of order", i, count);
        before = compaction.info.number;
        err = get_inputs(&compaction, reader);
        if (err == ERR_OK)
            err = compactions_add(&manifest->compactions, &compaction);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Numbers of segments and compactions, ascending. */
static enum err all_numbers(const struct manifest *manifest, uint64_t **ret_numbers)
{
    uint32_t count = manifest->segment_count;
    uint64_t *numbers = malloc(((size_t)count + manifest->compactions.count + 1) * sizeof *numbers);

    if (numbers == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", count);
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = manifest->segments[i].number;
    for (uint32_t i = 0; i < manifest->compactions.count; i++)
        numbers[count + i] = manifest->compactions.items[i].info.number;
    compactions_sort(numbers, count + manifest->compactions.count);
    *ret_numbers = numbers;
    return ERR_OK;
}

static bool ascend(const uint64_t *numbers, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (numbers[i] <= numbers[i - 1])
            return false;
    return true;
}

/* Every number stands for one segment; every input is there, older, and of one compaction only. */
static enum err check_numbers(const struct manifest *manifest)
{
    uint32_t count = manifest->segment_count + manifest->compactions.count, input_count = 0;
    uint64_t *numbers = NULL, *inputs = NULL;
    enum err err = all_numbers(manifest, &numbers);
    bool good = true;

    if (err == ERR_OK)
        err = compactions_inputs(&manifest->compactions, &inputs, &input_count);
    if (err == ERR_OK)
        good = ascend(numbers, count) && ascend(inputs, input_count);
    for (uint32_t i = 0; i < input_count && good; i++)
        good = compactions_have(numbers, count, inputs[i]);
    for (uint32_t i = 0; i < manifest->compactions.count && err == ERR_OK; i++) {
        const struct compaction *compaction = &manifest->compactions.items[i];

        for (uint32_t n = 0; n < compaction->input_count; n++)
            good &= compaction->inputs[n] < compaction->info.number;
    }
    free(numbers);
    free(inputs);
    if (err == ERR_OK && !good)
        err = err_set(ERR_CORRUPT, "its %u segments and %u compactions contradict each other",
                      manifest->segment_count, manifest->compactions.count);
    return err;
}

/* A list with its size in front, which is kept in its stored form. */
static enum err get_list(struct reader *reader, enum err (*check)(const void *bytes, size_t size),
                         struct bytes *ret_list)
{
    uint32_t size = reader_u32(reader);
    const uint8_t *bytes = reader_take(reader, size);
    enum err err = reader->bad ? err_set(ERR_CORRUPT, "a list of %u bytes does not fit", size)
                               : check(bytes, size);

    if (err != ERR_OK)
        return err;
    bytes_put(ret_list, bytes, size);
    return ret_list->failed ? err_set(ERR_NO_MEMORY, "a list of %u bytes", size) : ERR_OK;
}

static enum err get_body(struct manifest *manifest, struct reader *reader)
{
    enum err err;

    manifest->sealed_index = reader_u64(reader);
    manifest->next_segment = reader_u64(reader);
    manifest->chain = reader_u64(reader);
    manifest->rows = reader_u64(reader);
    manifest->points = reader_u64(reader);
    err = catalog_files_decode(reader, &manifest->catalog);
    if (err == ERR_OK)
        err = get_segments(manifest, reader);
    if (err == ERR_OK)
        err = get_compactions(manifest, reader);
    if (err == ERR_OK)
        err = check_numbers(manifest);
    if (err == ERR_OK)
        err = get_list(reader, marks_check, &manifest->marks);
    if (err == ERR_OK)
        err = get_list(reader, tombstones_check, &manifest->tombstones);
    if (err != ERR_OK)
        return err;
    bytes_put(&manifest->producers, reader->at, reader_left(reader));
    return manifest->producers.failed ? err_set(ERR_NO_MEMORY, "producers") : ERR_OK;
}

enum err manifest_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t magic = reader_u32(&reader);
    uint32_t crc = reader_u32(&reader);

    if (size < SUMMED_FROM || magic != MANIFEST_MAGIC ||
        crc != crc32c(0, (const uint8_t *)bytes + SUMMED_FROM, size - SUMMED_FROM))
        return err_set(ERR_CORRUPT, "%zu bytes are not a manifest, or are damaged", size);
    return ERR_OK;
}

enum err manifest_decode(const void *bytes, size_t size, struct manifest *ret_manifest)
{
    struct reader reader = reader_on(bytes, size);
    struct manifest manifest = {0};
    uint16_t version;
    enum err err = manifest_check(bytes, size);

    if (err != ERR_OK)
        return err;
    (void)reader_u64(&reader); /* Magic and sum. */
    version = reader_u16(&reader);
    if (version != MANIFEST_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", version,
                       MANIFEST_VERSION);
    (void)reader_u16(&reader);
    manifest.shard = reader_u32(&reader);
    if (reader_u64(&reader) != size)
        return err_set(ERR_CORRUPT, "%zu bytes are not what it was written with", size);
    err = get_body(&manifest, &reader);
    if (err != ERR_OK) {
        manifest_fini(&manifest);
        return err;
    }
    *ret_manifest = manifest;
    return ERR_OK;
}

/* ---- Disk ---------------------------------------------------------------------------------- */

enum err manifest_save(const struct manifest *manifest, const struct disk *disk, const char *dir)
{
    struct bytes bytes = {0};
    enum err err;

    manifest_encode(manifest, &bytes);
    if (bytes.failed)
        err = err_set(ERR_NO_MEMORY, "a manifest of %u segments", manifest->segment_count);
    else if (bytes.size > MANIFEST_SIZE_MAX)
        err = err_set(ERR_LIMIT, "a manifest of %zu bytes", bytes.size);
    else
        err = twin_save(disk, dir, MANIFEST_NAME, bytes.data, bytes.size);
    if (err == ERR_OK)
        metric_add(METRIC_WRITTEN_MANIFEST, bytes.size);
    bytes_fini(&bytes);
    return err;
}

enum err manifest_load(const struct disk *disk, const char *dir, uint32_t shard,
                       struct manifest *ret_manifest)
{
    struct manifest manifest = {0};
    enum err err = manifest_load_any(disk, dir, &manifest);

    if (err == ERR_OK && manifest.shard != shard) {
        err = err_set(ERR_CORRUPT, "%s/" MANIFEST_NAME ": it belongs to shard %u", dir,
                      manifest.shard);
        manifest_fini(&manifest);
    }
    if (err == ERR_OK)
        *ret_manifest = manifest;
    return err;
}

enum err manifest_load_any(const struct disk *disk, const char *dir, struct manifest *ret_manifest)
{
    uint8_t *bytes;
    size_t size;
    enum err err =
        twin_load(disk, dir, MANIFEST_NAME, MANIFEST_SIZE_MAX, manifest_check, &bytes, &size);

    if (err != ERR_OK)
        return err;
    err = manifest_decode(bytes, size, ret_manifest);
    free(bytes);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s/" MANIFEST_NAME, dir);
}

enum err manifest_verify(const struct disk *disk, const char *dir)
{
    return twin_verify(disk, dir, MANIFEST_NAME, MANIFEST_SIZE_MAX, manifest_check);
}
