#include "storage/snapshot.h"

#include <stdlib.h>

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
    free(snapshot);
}
