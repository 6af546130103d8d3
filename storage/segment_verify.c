#include "storage/segment_verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/segment_cursor.h"
#include "storage/segment_damage.h"
#include "storage/segment_format.h"

void segment_hash_group(XXH3_state_t *hash, const struct segment_cursor *cursor)
{
    size_t entries = cursor->group->chunks * sizeof(struct segment_chunk);
    uint32_t columns = SEGMENT_COLUMNS + cursor->table->field_count;

    for (uint32_t i = 0; i < columns; i++)
        if (cursor->columns[i] != NULL && cursor->columns[i]->has_frame)
            (void)XXH3_64bits_update(hash, cursor->columns[i]->raw, cursor->columns[i]->raw_size);
    (void)XXH3_64bits_update(hash, cursor->chunks, entries);
    for (uint32_t i = SEGMENT_COLUMNS; i < columns; i++)
        (void)XXH3_64bits_update(hash, cursor->columns[i]->stats, entries);
}

/* The tables of the directory are hashed as they stand; its checksum was verified at opening. */
enum err segment_hash_end(XXH3_state_t *hash, const struct segment *segment)
{
    const struct segment_info *info = segment_info(segment);
    uint64_t offset = info->size - sizeof(struct segment_footer);
    struct segment_footer footer;
    enum err err = segment_read(segment, offset, &footer, sizeof footer);
    uint8_t *tables;
    size_t size;

    if (err != ERR_OK)
        return err;
    if (footer.magic != SEGMENT_FOOTER_MAGIC || footer.crc != segment_footer_crc(&footer) ||
        footer.directory_offset > offset ||
        (offset - footer.directory_offset) / sizeof(struct segment_group) < info->groups) {
        segment_blame(segment);
        return err_set(ERR_CORRUPT, "%s: offset %" PRIu64 ": the footer is damaged",
                       segment_path(segment), offset);
    }
    size = (size_t)(offset - footer.directory_offset) - info->groups * sizeof(struct segment_group);
    tables = malloc(size + 1);
    if (tables == NULL)
        return err_set(ERR_NO_MEMORY, "%s: tables of %zu bytes", segment_path(segment), size);
    err = segment_read(segment, footer.directory_offset, tables, size);
    if (err == ERR_OK)
        (void)XXH3_64bits_update(hash, tables, size);
    free(tables);
    if (err == ERR_OK && XXH3_64bits_digest(hash) != info->hash) {
        segment_blame(segment);
        err = err_set(ERR_CORRUPT,
                      "%s: offset %" PRIu64 ": the contents have hash %016" PRIx64
                      ", the footer says %016" PRIx64,
                      segment_path(segment), offset, XXH3_64bits_digest(hash), info->hash);
    }
    return err;
}

enum err segment_verify(const struct segment *segment)
{
    struct segment_cursor *cursor = calloc(1, sizeof *cursor);
    XXH3_state_t *hash = XXH3_createState();
    enum err err = ERR_OK;

    if (cursor == NULL || hash == NULL) {
        err = err_set(ERR_NO_MEMORY, "%s: verifying it", segment_path(segment));
        goto free_both;
    }
    (void)XXH3_64bits_reset(hash);
    for (uint32_t i = 0; i < segment_groups(segment) && err == ERR_OK; i++) {
        err = segment_cursor_open(cursor, segment, i);
        if (err == ERR_OK)
            err = segment_cursor_load(cursor);
        if (err == ERR_OK)
            segment_hash_group(hash, cursor);
    }
    if (err == ERR_OK)
        err = segment_hash_end(hash, segment);
    segment_cursor_fini(cursor);
free_both:
    (void)XXH3_freeState(hash);
    free(cursor);
    return err;
}
