#include "client/batch.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    buf_unref(batch->entry);
    free(batch->tags);
    free(batch->fresh);
    free(batch);
}

enum err batch_stamp(struct batch *batch, uint64_t producer, uint32_t epoch)
{
    struct buf *entry = batch->entry;
    struct entry_header header = {
        .size = entry->size,
        .kind = ENTRY_BLOCK,
        .producer = producer,
        .epoch = epoch,
        .shard = batch->shard,
        .sequence = batch->sequence,
    };

    /* One reference is ours, and then nobody is left who could make it more. */
    if (atomic_load_explicit(&entry->refs, memory_order_acquire) > 1) {
        struct buf *copy = buf_new(entry->size);

        if (!copy)
            return err_set(ERR_NO_MEMORY, "a copy of %u bytes", (unsigned)entry->size);
        memcpy(copy->bytes, entry->bytes, entry->size);
        copy->size = entry->size;
        buf_unref(entry);
        batch->entry = entry = copy;
    }
    entry_stamp(&header);
    memcpy(entry->bytes, &header, sizeof header);
    return ERR_OK;
}

void batch_list_add(struct batch_list *list, struct batch *batch)
{
    batch->next = NULL;
    if (list->last)
        list->last->next = batch;
    else
        list->first = batch;
    list->last = batch;
    list->count++;
}

struct batch *batch_list_take(struct batch_list *list)
{
    struct batch *batch = list->first;

    if (batch)
        batch_list_remove(list, batch);
    return batch;
}

void batch_list_remove(struct batch_list *list, struct batch *batch)
{
    struct batch *before = NULL;
    struct batch *at = list->first;

    while (at != batch) {
        CHECK(at != NULL);
        before = at;
        at = at->next;
    }
    if (before)
        before->next = batch->next;
    else
        list->first = batch->next;
    if (list->last == batch)
        list->last = before;
    batch->next = NULL;
    list->count--;
}
