#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/segment_damage.h"
#include "storage/segment_format.h"
#include "storage/segment_proof.h"

struct segment {
    _Atomic uint32_t refs;
    atomic_bool damaged;
    _Atomic uint64_t clean_index; /* Written by the worker that owns the shard, as `proof`. */
    struct segment_proof proof;
    const struct disk *disk;
    struct file *file; /* NULL: it stands for one that cannot be read. */
    struct segment_info info;
    uint32_t shard;
    bool salvage;                 /* Wrong sums of header, footer and directory are passed over. */
    uint8_t *directory;           /* Owned: names of fields point into it. */
    struct segment_table *tables; /* Owned. */
    struct segment_field *fields; /* Owned: of all tables, one behind the other. */
    struct segment_group *groups; /* Owned: info.groups. */
    char path[];
};

/* ---- Header and footer --------------------------------------------------------------------- */

static enum err check_size(struct segment *segment)
{
    const struct segment_info *info = &segment->info;
    uint64_t size = 0;
    enum err err = segment->disk->size(segment->file, &size);

    if (err != ERR_OK)
        return err;
    if (size != info->size || info->groups == 0 ||
        size < sizeof(struct segment_header) + sizeof(struct segment_footer) ||
        (size - sizeof(struct segment_footer)) / sizeof(struct segment_group) < info->groups)
        return err_set(ERR_CORRUPT,
                       "%" PRIu64 " bytes, the manifest says %" PRIu64 " and %u groups", size,
                       info->size, info->groups);
    return ERR_OK;
}

static enum err check_header(struct segment *segment, uint32_t shard)
{
    const struct segment_info *info = &segment->info;
    struct segment_header header;
    enum err err = segment->disk->read(segment->file, 0, &header, sizeof header);

    if (err != ERR_OK)
        return err;
    if (header.magic != SEGMENT_MAGIC || header.crc != segment_header_crc(&header))
        return err_set(ERR_CORRUPT, "offset 0: not the header of a segment, or damaged");
    if (header.version < SEGMENT_VERSION_OLDEST || header.version > SEGMENT_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d to %d",
                       header.version, SEGMENT_VERSION_OLDEST, SEGMENT_VERSION);
    if (header.shard != shard || header.number != info->number ||
        header.first_index != info->first_index || header.last_index != info->last_index)
        return err_set(ERR_CORRUPT,
                       "offset 0: it is segment %" PRIu64 " of shard %u, not %" PRIu64 " of %u",
                       header.number, header.shard, info->number, shard);
    return ERR_OK;
}

static enum err check_footer(struct segment *segment, struct segment_footer *footer)
{
    const struct segment_info *info = &segment->info;
    uint64_t offset = info->size - sizeof *footer;
    enum err err = segment->disk->read(segment->file, offset, footer, sizeof *footer);

    if (err != ERR_OK)
        return err;
    if (!segment->salvage &&
        (footer->magic != SEGMENT_FOOTER_MAGIC || footer->crc != segment_footer_crc(footer)))
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": the footer is damaged", offset);
    if ((!segment->salvage && (footer->number != info->number || footer->size != info->size)) ||
        footer->hash != info->hash || footer->groups != info->groups ||
        footer->rows != info->rows || footer->points != info->points ||
        footer->directory_offset < sizeof(struct segment_header) ||
        footer->directory_offset > offset ||
        offset - footer->directory_offset < (uint64_t)info->groups * sizeof(struct segment_group))
        return err_set(ERR_CORRUPT,
                       "offset %" PRIu64 ": the footer is not the one that the manifest knows",
                       offset);
    return ERR_OK;
}

/* ---- Directory ----------------------------------------------------------------------------- */

static enum err bad_directory(const struct segment_footer *footer, const char *what, uint64_t at)
{
    return err_set(ERR_CORRUPT, "offset %" PRIu64 ": the directory has wrong %s (%" PRIu64 ")",
                   footer->directory_offset, what, at);
}

/* A table needs 8 bytes and a field 3, so what is claimed is bounded by the file. */
static bool take_table(struct reader *reader, struct segment_table *table,
                       struct segment_field *fields)
{
    table->number = reader_u32(reader);
    table->field_count = reader_u32(reader);
    table->fields = fields;
    if (reader->bad || table->field_count > SEGMENT_FIELDS_MAX ||
        table->field_count > reader_left(reader) / 3)
        return false;
    for (uint32_t i = 0; i < table->field_count; i++) {
        struct slice name = {0};
        unsigned type = reader_u8(reader);

        name.data = reader_string(reader, NAME_SIZE_MAX, &name.size);
        if (reader->bad || type == 0 || type >= FIELD_TYPE_END || name.size == 0)
            return false;
        fields[i] = (struct segment_field){name, (enum field_type)type};
    }
    return true;
}

static enum err read_tables(struct segment *segment, const struct segment_footer *footer,
                            size_t size)
{
    struct reader reader = reader_on(segment->directory, size);
    struct segment_field *fields;

    if (footer->tables == 0 || footer->tables > size / 8)
        return bad_directory(footer, "tables", footer->tables);
    segment->tables = calloc(footer->tables, sizeof *segment->tables);
    segment->fields = calloc(size / 3 + 1, sizeof *segment->fields);
    if (segment->tables == NULL || segment->fields == NULL)
        return err_set(ERR_NO_MEMORY, "directory of %u tables", footer->tables);
    fields = segment->fields;
    for (uint32_t i = 0; i < footer->tables; i++) {
        struct segment_table *table = &segment->tables[i];

        if (!take_table(&reader, table, fields) || (i > 0 && table->number <= table[-1].number))
            return bad_directory(footer, "tables", i);
        fields += table->field_count;
    }
    return reader_done(&reader) ? ERR_OK : bad_directory(footer, "tables", footer->tables);
}

/* A group stands behind the one before, and its rows too. */
static bool is_good_group(const struct segment *segment, const struct segment_footer *footer,
                          uint32_t at, uint64_t offset, uint64_t *ret_end)
{
    const struct segment_group *group = &segment->groups[at];
    uint64_t columns, index_size;

    if (group->table >= footer->tables || group->chunks == 0 ||
        group->chunks > SEGMENT_GROUP_CHUNKS || group->rows < group->chunks ||
        group->rows > group->chunks * SEGMENT_CHUNK_ROWS || group->series_min > group->series_max ||
        group->time_min_ns > group->time_max_ns || group->offset != offset)
        return false;
    columns = SEGMENT_COLUMNS + (uint64_t)segment->tables[group->table].field_count;
    index_size = (columns - 1) * segment_piece_size(group->chunks);
    if (group->index_offset <= offset + SEGMENT_FRAME_HEADER || /* There are times at least. */
        group->index_offset > footer->directory_offset ||
        footer->directory_offset - group->index_offset < index_size)
        return false;
    *ret_end = group->index_offset + index_size;
    return at == 0 || group->table > group[-1].table ||
           (group->table == group[-1].table && group->series_min >= group[-1].series_max);
}

static enum err check_groups(const struct segment *segment, const struct segment_footer *footer)
{
    uint64_t offset = sizeof(struct segment_header);
    uint64_t rows = 0, points = 0;

    for (uint32_t i = 0; i < footer->groups; i++) {
        if (!is_good_group(segment, footer, i, offset, &offset))
            return bad_directory(footer, "groups", i);
        rows += segment->groups[i].rows;
        points += segment->groups[i].points;
    }
    if (offset != footer->directory_offset ||
        (!segment->salvage && (rows != footer->rows || points != footer->points)))
        return bad_directory(footer, "sums of its groups", rows);
    return ERR_OK;
}

static enum err read_directory(struct segment *segment)
{
    struct segment_footer footer;
    size_t size, groups_size;
    enum err err = check_footer(segment, &footer);

    if (err != ERR_OK)
        return err;
    size = (size_t)(segment->info.size - sizeof footer - footer.directory_offset);
    groups_size = footer.groups * sizeof *segment->groups;
    segment->directory = malloc(size);
    segment->groups = malloc(groups_size);
    if (segment->directory == NULL || segment->groups == NULL)
        return err_set(ERR_NO_MEMORY, "directory of %zu bytes", size);
    err = segment->disk->read(segment->file, footer.directory_offset, segment->directory, size);
    if (err != ERR_OK)
        return err;
    if (!segment->salvage && crc32c(0, segment->directory, size) != footer.directory_crc)
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": bad checksum of the directory",
                       footer.directory_offset);
    memcpy(segment->groups, segment->directory + size - groups_size, groups_size);
    err = read_tables(segment, &footer, size - groups_size);
    return err == ERR_OK ? check_groups(segment, &footer) : err;
}

/* ---- Opening ------------------------------------------------------------------------------- */

static enum err segment_new(const struct disk *disk, struct segment **ret_segment)
{
    struct segment *segment = calloc(1, sizeof *segment + SEGMENT_PATH_SIZE);

    if (segment == NULL)
        return err_set(ERR_NO_MEMORY, "a segment");
    atomic_init(&segment->refs, 1);
    segment->disk = disk;
    *ret_segment = segment;
    return ERR_OK;
}

/* Of a new segment: name the file in the error, or hand it out. */
static enum err opened(struct segment *segment, enum err err, struct segment **ret_segment)
{
    if (err != ERR_OK) {
        err = err_wrap(err, "%s", segment->path);
        segment_unref(segment);
        return err;
    }
    *ret_segment = segment;
    return ERR_OK;
}

static enum err open_known(const struct disk *disk, const char *path, uint32_t shard,
                           const struct segment_info *info, unsigned flags,
                           struct segment **ret_segment)
{
    struct segment *segment = NULL;
    enum err err = segment_new(disk, &segment);

    if (err != ERR_OK)
        return err;
    segment->info = *info;
    atomic_init(&segment->clean_index, info->clean_index);
    segment->shard = shard;
    (void)snprintf(segment->path, SEGMENT_PATH_SIZE, "%s", path);
    err = disk->open(disk->ctx, segment->path, flags, &segment->file);
    if (err == ERR_NOT_FOUND)
        err = err_set(ERR_CORRUPT, "missing, the manifest has %" PRIu64 " rows in it", info->rows);
    if (err == ERR_OK)
        err = check_size(segment);
    if (err == ERR_OK)
        err = check_header(segment, shard);
    if (err == ERR_OK)
        err = read_directory(segment);
    return opened(segment, err, ret_segment);
}

static void put_path(const char *dir, const struct segment_info *info, char path[SEGMENT_PATH_SIZE])
{
    char name[SEGMENT_NAME_SIZE];

    segment_name(info->number, name);
    (void)snprintf(path, SEGMENT_PATH_SIZE, "%s/%s", dir, name);
}

enum err segment_open_at(const struct disk *disk, const char *path, uint32_t shard,
                         const struct segment_info *info, struct segment **ret_segment)
{
    return open_known(disk, path, shard, info, FILE_READ, ret_segment);
}

enum err segment_open(const struct disk *disk, const char *dir, uint32_t shard,
                      const struct segment_info *info, struct segment **ret_segment)
{
    char path[SEGMENT_PATH_SIZE];

    put_path(dir, info, path);
    return segment_open_at(disk, path, shard, info, ret_segment);
}

enum err segment_stand_in(const struct disk *disk, const char *dir, const struct segment_info *info,
                          struct segment **ret_segment)
{
    struct segment *segment = NULL;
    enum err err = segment_new(disk, &segment);

    if (err != ERR_OK)
        return err;
    segment->info = *info;
    atomic_init(&segment->clean_index, info->clean_index);
    put_path(dir, info, segment->path);
    segment->tables = calloc(1, sizeof *segment->tables);
    segment->groups = calloc(1, sizeof *segment->groups);
    if (segment->tables == NULL || segment->groups == NULL) {
        segment_unref(segment);
        return err_set(ERR_NO_MEMORY, "a damaged segment");
    }
    segment->groups[0] = (struct segment_group){.chunks = 1,
                                                .rows = 1,
                                                .series_max = UINT32_MAX,
                                                .time_min_ns = INT64_MIN,
                                                .time_max_ns = INT64_MAX};
    segment_blame(segment);
    *ret_segment = segment;
    return ERR_OK;
}

enum err segment_open_again(const struct segment *segment, struct segment **ret_segment)
{
    struct segment_info info = segment->info;

    if (segment->file == NULL)
        return err_set(ERR_CORRUPT, "%s: damaged", segment->path);
    info.clean_index = segment_clean_index(segment);
    return open_known(segment->disk, segment->path, segment->shard, &info, FILE_READ | FILE_ONCE,
                      ret_segment);
}

/* What a manifest would say of it, from header and footer. */
static enum err describe(struct segment *segment, uint32_t *ret_shard)
{
    struct segment_info *info = &segment->info;
    struct segment_header header;
    struct segment_footer footer;
    uint64_t size = 0;
    enum err err = segment->disk->size(segment->file, &size);

    if (err == ERR_OK && size < sizeof header + sizeof footer)
        err = err_set(ERR_CORRUPT, "offset 0: %" PRIu64 " bytes are too few for a segment", size);
    if (err == ERR_OK)
        err = segment->disk->read(segment->file, 0, &header, sizeof header);
    if (err == ERR_OK)
        err = segment->disk->read(segment->file, size - sizeof footer, &footer, sizeof footer);
    if (err != ERR_OK)
        return err;
    if (!segment->salvage &&
        (footer.magic != SEGMENT_FOOTER_MAGIC || footer.crc != segment_footer_crc(&footer)))
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": not the footer of a segment, or damaged",
                       size - sizeof footer);
    if (!segment->salvage && footer.size != size)
        return err_set(ERR_CORRUPT,
                       "offset %" PRIu64 ": %" PRIu64 " bytes, it was written with %" PRIu64,
                       size - sizeof footer, size, footer.size);
    *info = (struct segment_info){.number = header.number,
                                  .first_index = header.first_index,
                                  .last_index = header.last_index,
                                  .size = size,
                                  .rows = footer.rows,
                                  .points = footer.points,
                                  .time_min_ns = footer.time_min_ns,
                                  .time_max_ns = footer.time_max_ns,
                                  .hash = footer.hash,
                                  .groups = footer.groups};
    *ret_shard = header.shard;
    return ERR_OK;
}

enum err segment_open_alone(const struct disk *disk, const char *path, bool salvage,
                            uint32_t *ret_shard, struct segment **ret_segment)
{
    struct segment *segment = NULL;
    uint32_t shard = 0;
    enum err err = segment_new(disk, &segment);

    if (err != ERR_OK)
        return err;
    segment->salvage = salvage;
    (void)snprintf(segment->path, SEGMENT_PATH_SIZE, "%s", path);
    err = disk->open(disk->ctx, path, FILE_READ, &segment->file);
    if (err == ERR_NOT_FOUND) {
        segment_unref(segment);
        return err; /* It names the file. */
    }
    if (err == ERR_OK)
        err = describe(segment, &shard);
    if (err == ERR_OK && !salvage)
        err = check_header(segment, shard);
    if (err == ERR_OK)
        err = check_size(segment);
    if (err == ERR_OK)
        err = read_directory(segment);
    err = opened(segment, err, ret_segment);
    if (err == ERR_OK)
        *ret_shard = shard;
    return err;
}

struct segment *segment_ref(struct segment *segment)
{
    (void)atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
    return segment;
}

void segment_unref(struct segment *segment)
{
    uint32_t before;

    if (segment == NULL)
        return;
    /* Release: our reads are over. Acquire by the last holder: so are everybody else's. */
    before = atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel);
    CHECK(before >= 1);
    if (before > 1)
        return;
    if (segment->file != NULL)
        segment->disk->close(segment->file);
    free(segment->directory);
    free(segment->tables);
    free(segment->fields);
    free(segment->groups);
    free(segment);
}

/* ---- Looking ------------------------------------------------------------------------------- */

const struct segment_info *segment_info(const struct segment *segment)
{
    return &segment->info;
}

uint32_t segment_groups(const struct segment *segment)
{
    return segment->file == NULL ? 1 : segment->info.groups;
}

const struct segment_group *segment_group(const struct segment *segment, uint32_t at)
{
    CHECK(at < segment_groups(segment));
    return &segment->groups[at];
}

const struct segment_table *segment_table(const struct segment *segment, uint32_t group)
{
    return &segment->tables[segment_group(segment, group)->table];
}

enum err segment_read(const struct segment *segment, uint64_t offset, void *ret_bytes, size_t size)
{
    enum err err;

    if (segment->file == NULL)
        return err_set(ERR_CORRUPT, "%s: it could not be opened", segment->path);
    err = segment->disk->read(segment->file, offset, ret_bytes, size);
    if (err == ERR_END)
        err = err_set(ERR_CORRUPT, "%s: offset %" PRIu64 ": the file has become shorter",
                      segment->path, offset);
    if (err == ERR_CORRUPT || err == ERR_IO) /* A sector that cannot be read is damage, too. */
        segment_blame(segment);
    return err;
}

/* The flag is no part of what makes the segment what it is: readers, who have it const, set it.
 * It orders nothing: relaxed. */
void segment_blame(const struct segment *segment)
{
    atomic_store_explicit(&((struct segment *)(uintptr_t)segment)->damaged, true,
                          memory_order_relaxed);
}

bool segment_is_damaged(const struct segment *segment)
{
    return atomic_load_explicit(&segment->damaged, memory_order_relaxed);
}

/* Whoever reads an older one is as right: segment_proof.h. So it orders nothing: relaxed. */
uint64_t segment_clean_index(const struct segment *segment)
{
    return atomic_load_explicit(&segment->clean_index, memory_order_relaxed);
}

void segment_set_clean_index(struct segment *segment, uint64_t index)
{
    atomic_store_explicit(&segment->clean_index, index, memory_order_relaxed);
}

struct segment_proof segment_proof(const struct segment *segment)
{
    return segment->proof;
}

void segment_set_proof(struct segment *segment, struct segment_proof proof)
{
    segment->proof = proof;
}

const char *segment_path(const struct segment *segment)
{
    return segment->path;
}
