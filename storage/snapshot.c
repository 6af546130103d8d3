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
    free(snapshot->series);
    free(snapshot);
}

enum err snapshot_block(const struct snapshot_source *source, struct bytes *room,
                        struct block_view *ret_view)
{
    if (source->segment != NULL)
        return segment_read(source->segment, source->offset, room, ret_view);
    /* The body was checked when the entry was applied, and has not left memory since. */
    return block_view(source->entry->bytes + source->offset, source->size, false, ret_view);
}
