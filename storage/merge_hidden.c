#include "storage/merge_hidden.h"

#include <stdlib.h>
#include <string.h>

static const struct tombstone *next(const struct merge_plan *plan,
                                    const struct merge_source *source, uint32_t *at)
{
    const struct section *section = &source->reader.section;

    while (*at < plan->filter.tombstone_count) {
        const struct tombstone *tombstone = &plan->filter.tombstones[(*at)++];

        if (source->reader.source->clean_index < tombstone->index &&
            section->time_min_ns <= tombstone->last_ns &&
            section->time_max_ns >= tombstone->first_ns &&
            marks_compare(tombstone->table_key, section->table_key) == 0)
            return tombstone;
    }
    return NULL;
}

bool merge_hidden_some(const struct merge_plan *plan, const struct merge_source *source)
{
    uint32_t at = 0;

    return next(plan, source, &at) != NULL;
}

static enum err mark(const struct merge_plan *plan, struct merge_source *source,
                     const struct tombstone *tombstone, const int64_t *times_ns)
{
    char room[CATALOG_KEY_ROOM];
    uint32_t row = 0;

    for (uint32_t run = 0; run < source->reader.section.runs; run++) {
        uint32_t id = source->ids[run], end = row + source->counts[run];
        struct slice key = catalog_view_key(plan->series, id, room);

        if (key.size == 0)
            return err_set(ERR_CORRUPT, "series %u has no key", id);
        if (!tombstone_matches(tombstone, key))
            row = end;
        for (; row < end; row++)
            source->deleted[row] |=
                times_ns[row] >= tombstone->first_ns && times_ns[row] <= tombstone->last_ns;
    }
    return ERR_OK;
}

enum err merge_hidden_times(const struct merge_plan *plan, struct merge_source *source,
                            int64_t *times_ns)
{
    const struct tombstone *tombstone;
    uint32_t at = 0;
    enum err err = section_read_times(&source->reader, times_ns);

    source->has_deleted = false;
    if (err != ERR_OK || !merge_hidden_some(plan, source))
        return err;
    if (source->deleted == NULL)
        source->deleted = malloc(BLOCK_ROWS_MAX);
    if (source->deleted == NULL)
        return err_set(ERR_NO_MEMORY, "merging rows of which some were deleted");
    memset(source->deleted, 0, source->reader.section.rows);
    source->has_deleted = true;
    while (err == ERR_OK && (tombstone = next(plan, source, &at)) != NULL)
        err = mark(plan, source, tombstone, times_ns);
    return err;
}
