#include "client/batch.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/block_trim.h"

void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    buf_unref(batch->entry);
    free(batch->tags);
    free(batch->times_ns);
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

/* Move the tags of old rows; both keep their order. */
static void split_tags(struct batch *batch, int64_t cutoff_ns, struct batch *old)
{
    uint32_t kept = 0, moved = 0;

    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->times_ns[row] < cutoff_ns && moved < old->rows) {
            old->tags[moved++] = batch->tags[row];
        } else {
            batch->tags[kept] = batch->tags[row];
            batch->times_ns[kept++] = batch->times_ns[row];
        }
    }
}

static void take_trimmed(struct batch *batch, struct block_trimmed *trimmed)
{
    /* Numbers ascend or not, but each is of the same series as before: in a new array. */
    struct series **fresh = malloc((trimmed->fresh_count + 1u) * sizeof(struct series *));

    for (uint32_t i = 0; fresh && i < trimmed->fresh_count; i++)
        fresh[i] = batch->fresh[trimmed->fresh[i]];
    free(batch->fresh);
    batch->fresh = fresh;
    batch->fresh_count = fresh ? trimmed->fresh_count : 0; /* Ids are then learned later. */
    free(trimmed->fresh);
    buf_unref(batch->entry);
    batch->entry = trimmed->buf;
    batch->rows = trimmed->rows;
    batch->points = trimmed->points;
}

enum err batch_split(struct batch *batch, int64_t cutoff_ns, struct batch **ret_old)
{
    struct block_trimmed trimmed;
    struct batch *old;
    enum err err = block_trim(batch->entry->bytes + sizeof(struct entry_header),
                              batch->entry->size - sizeof(struct entry_header), cutoff_ns,
                              sizeof(struct entry_header), &trimmed);

    if (err != ERR_OK)
        return err;
    if (trimmed.rows == 0 || trimmed.rows == batch->rows) {
        buf_unref(trimmed.buf);
        if (trimmed.rows > 0)
            free(trimmed.fresh);
        return ERR_END;
    }
    old = calloc(1, sizeof *old);
    if (old)
        *old = (struct batch){.shard = batch->shard,
                              .rows = batch->rows - trimmed.rows,
                              .points = batch->points - trimmed.points,
                              .first_ns = batch->first_ns,
                              .sequence = batch->sequence};
    if (old && batch->tags)
        old->tags = malloc(old->rows * sizeof *old->tags);
    if (!old || (batch->tags && !old->tags)) {
        free(old);
        buf_unref(trimmed.buf);
        free(trimmed.fresh);
        return err_set(ERR_NO_MEMORY, "splitting a batch of %u rows", (unsigned)batch->rows);
    }
    if (batch->tags)
        split_tags(batch, cutoff_ns, old);
    take_trimmed(batch, &trimmed);
    *ret_old = old;
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
