#include "storage/snapshot.h"

#include <stdlib.h>

#include "storage/database_map.h"
#include "storage/segment.h"

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
    free(snapshot);
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
