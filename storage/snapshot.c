#include "storage/snapshot.h"

#include <stdlib.h>

#include "storage/database_map.h"
#include "storage/segment_proof.h"

void snapshot_free(struct snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (uint32_t i = 0; i < snapshot->source_count; i++) {
        buf_unref(snapshot->sources[i].entry);
        segment_unref(snapshot->sources[i].segment);
    }
    free(snapshot->sources);
    if (snapshot->series != NULL)
        catalog_view_fini(snapshot->series);
    free(snapshot->series);
    bytes_fini(&snapshot->marks);
    bytes_fini(&snapshot->hidden);
    free(snapshot->tombstones);
    free(snapshot);
}

struct snapshot_source snapshot_group(struct segment *segment, uint32_t group)
{
    const struct segment_group *of = segment_group(segment, group);
    uint32_t table = segment_table(segment, group)->number;

    return (struct snapshot_source){.segment = segment,
                                    .index = segment_info(segment)->last_index,
                                    .clean_index = segment_clean_index(segment),
                                    .group = group,
                                    .rows = of->rows,
                                    .time_min_ns = of->time_min_ns,
                                    .time_max_ns = of->time_max_ns,
                                    .series_min = of->series_min,
                                    .series_max = of->series_max,
                                    .table_min = table,
                                    .table_max = table};
}

bool snapshot_hide(struct snapshot *snapshot, const struct bytes *tombstones)
{
    if (tombstones->size == 0)
        return true;
    bytes_put(&snapshot->hidden, tombstones->data, tombstones->size);
    return !snapshot->hidden.failed &&
           tombstones_parse(&snapshot->hidden, UINT64_MAX, &snapshot->tombstones,
                            &snapshot->tombstone_count) == ERR_OK;
}

const struct tombstone *snapshot_hides(const struct snapshot *snapshot,
                                       const struct snapshot_source *source, struct slice table_key,
                                       int64_t first_ns, int64_t last_ns, uint32_t *at)
{
    while (*at < snapshot->tombstone_count) {
        const struct tombstone *tombstone = &snapshot->tombstones[(*at)++];

        if (source->clean_index < tombstone->index && first_ns <= tombstone->last_ns &&
            last_ns >= tombstone->first_ns && marks_compare(tombstone->table_key, table_key) == 0)
            return tombstone;
    }
    return NULL;
}

int64_t snapshot_cutoff(const struct snapshot *snapshot, struct slice database)
{
    return marks_find(&snapshot->marks, database).cutoff_ns;
}

bool snapshot_is_gone(const struct snapshot *snapshot, const struct snapshot_source *source,
                      struct slice table_key)
{
    return snapshot->marks.size > 0 &&
           source->index < marks_find(&snapshot->marks, database_map_name(table_key)).erased_index;
}
