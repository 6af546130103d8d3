#include "replication/link_queue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

/* The request number of RAFT frames, which nobody answers, only tells the queues apart: pieces of a
 * bulk frame must not be mixed up with urgent ones in between. */
enum { REQUEST_URGENT = 0, REQUEST_BULK = 1 };

/* What a frame costs beside its payload: many small ones are bounded too. */
enum { ITEM_COST = 192 };

struct link_item {
    struct link_item *next;
    uint64_t request;
    uint16_t type;
    struct buf *buf;    /* Owned; NULL: ... */
    struct bytes bytes; /* ... the payload is here, and messages may still join. */
    size_t sent;
    uint64_t messages; /* Raft messages, or 1. */
    uint32_t *groups;  /* Owned: of the messages, each once, if this is bulk. */
    uint32_t group_count;
    uint32_t group_capacity;
};

static const uint8_t *item_data(const struct link_item *item)
{
    return item->buf != NULL ? item->buf->bytes : item->bytes.data;
}

static size_t item_size(const struct link_item *item)
{
    return item->buf != NULL ? item->buf->size : item->bytes.size;
}

static void item_free(struct link_item *item)
{
    buf_unref(item->buf);
    bytes_fini(&item->bytes);
    free(item->groups);
    free(item);
}

static void push(struct link_list *list, struct link_item *item)
{
    list->bytes += ITEM_COST;
    if (list->tail == NULL)
        list->head = item;
    else
        list->tail->next = item;
    list->tail = item;
}

static struct link_item *pop(struct link_list *list)
{
    struct link_item *item = list->head;

    list->head = item->next;
    if (list->head == NULL)
        list->tail = NULL;
    item->next = NULL;
    list->bytes -= ITEM_COST;
    return item;
}

void link_queue_init(struct link_queue *queue, uint64_t bytes_max)
{
    *queue = (struct link_queue){.bytes_max = bytes_max};
}

void link_queue_fini(struct link_queue *queue)
{
    (void)link_queue_clear(queue);
    free(queue->group_items);
    queue->group_items = NULL;
    queue->group_count = 0;
}

/* ---- Putting in ---------------------------------------------------------------------------- */

/* An empty list takes anything: what is larger than the bound has to get through too. */
static bool is_full(const struct link_queue *queue, const struct link_list *list, size_t size)
{
    return list->bytes > 0 && list->bytes + size > queue->bytes_max;
}

static enum err make_room_for_group(struct link_queue *queue, uint32_t group)
{
    uint32_t wanted = group + 16;
    uint32_t *grown;

    if (group < queue->group_count)
        return ERR_OK;
    grown = realloc(queue->group_items, wanted * sizeof *grown);
    if (grown == NULL)
        return err_set(ERR_NO_MEMORY, "link: table of %" PRIu32 " groups", wanted);
    memset(grown + queue->group_count, 0, (wanted - queue->group_count) * sizeof *grown);
    queue->group_items = grown;
    queue->group_count = wanted;
    return ERR_OK;
}

/* Remember that the item holds bulk of that group. */
static enum err note_group(struct link_queue *queue, struct link_item *item, uint32_t group)
{
    enum err err;

    for (uint32_t i = item->group_count; i > 0; i--) {
        if (item->groups[i - 1] == group)
            return ERR_OK;
    }
    err = make_room_for_group(queue, group);
    if (err != ERR_OK)
        return err;
    if (item->group_count == item->group_capacity) {
        uint32_t wanted = item->group_capacity == 0 ? 4 : item->group_capacity * 2;
        uint32_t *grown = realloc(item->groups, wanted * sizeof *grown);

        if (grown == NULL)
            return err_set(ERR_NO_MEMORY, "link: list of %" PRIu32 " groups", wanted);
        item->groups = grown;
        item->group_capacity = wanted;
    }
    item->groups[item->group_count++] = group;
    queue->group_items[group]++;
    return ERR_OK;
}

/* The item at the tail, if a message of that size may join it, or a new one. */
static struct link_item *item_for_message(struct link_list *list, size_t size, bool urgent)
{
    struct link_item *item = list->tail;

    if (item != NULL && item->type == FRAME_RAFT && item->buf == NULL && item->sent == 0 &&
        item->bytes.size + size <= LINK_PIECE_BYTES)
        return item;
    item = calloc(1, sizeof *item);
    if (item == NULL)
        return NULL;
    item->type = FRAME_RAFT;
    item->request = urgent ? REQUEST_URGENT : REQUEST_BULK;
    push(list, item);
    return item;
}

static enum err put_message(struct link_queue *queue, uint32_t group,
                            const struct group_message *message, bool urgent)
{
    struct link_list *list = urgent ? &queue->urgent : &queue->bulk;
    size_t size = raft_wire_size(message);
    struct link_item *item;
    size_t before;

    if (is_full(queue, list, size))
        return err_set(ERR_BUSY, "link: %" PRIu64 " bytes are queued", list->bytes);
    if (size > FRAME_PAYLOAD_MAX)
        return err_set(ERR_TOO_LARGE, "link: message of %zu bytes", size);
    item = item_for_message(list, size, urgent);
    if (item == NULL || (!urgent && note_group(queue, item, group) != ERR_OK))
        return err_set(ERR_NO_MEMORY, "link: message of %zu bytes", size);
    before = item->bytes.size;
    raft_wire_put(message, group, &item->bytes);
    if (item->bytes.failed) { /* As if it had never been put in. */
        item->bytes.size = before;
        item->bytes.failed = false;
        return err_set(ERR_NO_MEMORY, "link: message of %zu bytes", size);
    }
    item->messages++;
    list->bytes += item->bytes.size - before;
    return ERR_OK;
}

enum err link_queue_message(struct link_queue *queue, uint32_t group, struct group_message *message,
                            bool urgent)
{
    enum err err = put_message(queue, group, message, urgent);

    group_message_free(message);
    return err;
}

enum err link_queue_frame(struct link_queue *queue, uint16_t type, uint64_t request,
                          struct buf *payload, bool urgent)
{
    struct link_list *list = urgent ? &queue->urgent : &queue->bulk;
    struct link_item *item;

    if (payload->size > FRAME_PAYLOAD_MAX)
        return err_set(ERR_TOO_LARGE, "link: frame of %" PRIu32 " bytes", payload->size);
    if (is_full(queue, list, payload->size))
        return err_set(ERR_BUSY, "link: %" PRIu64 " bytes are queued", list->bytes);
    item = calloc(1, sizeof *item);
    if (item == NULL)
        return err_set(ERR_NO_MEMORY, "link: frame of %" PRIu32 " bytes", payload->size);
    item->type = type;
    item->request = request;
    item->buf = buf_ref(payload);
    item->messages = 1;
    push(list, item);
    list->bytes += payload->size;
    return ERR_OK;
}

bool link_queue_holds(const struct link_queue *queue, uint32_t group)
{
    return group < queue->group_count && queue->group_items[group] > 0;
}

/* ---- Taking out ---------------------------------------------------------------------------- */

static void forget_groups(struct link_queue *queue, struct link_item *item)
{
    for (uint32_t i = 0; i < item->group_count; i++)
        queue->group_items[item->groups[i]]--;
    item->group_count = 0;
}

/* Put the next frame of the list's first item into the batch: all of it, or a piece. */
static void take_frame(struct link_queue *queue, struct link_list *list, struct link_batch *batch)
{
    struct link_item *item = list->head;
    size_t left = item_size(item) - item->sent;
    size_t size = list == &queue->bulk && left > LINK_PIECE_BYTES ? LINK_PIECE_BYTES : left;
    const uint8_t *data = size == 0 ? NULL : item_data(item) + item->sent;
    struct frame_header *header = &batch->headers[batch->frame_count++];

    *header = (struct frame_header){
        .type = item->type, .flags = size < left ? FRAME_MORE : 0, .request = item->request};
    frame_seal(header, data, size);
    batch->parts[batch->part_count++] = uv_buf_init((char *)header, sizeof *header);
    if (size > 0)
        batch->parts[batch->part_count++] = uv_buf_init((char *)data, (unsigned)size);
    batch->bytes += sizeof *header + size;
    item->sent += size;
    list->bytes -= size;
    if (size == left) {
        item = pop(list);
        forget_groups(queue, item);
        item->next = batch->sent;
        batch->sent = item;
    }
}

bool link_queue_take(struct link_queue *queue, struct link_batch *batch)
{
    CHECK(batch->sent == NULL);
    batch->part_count = 0;
    batch->frame_count = 0;
    batch->bytes = 0;
    while (batch->frame_count < LINK_BATCH_FRAMES && batch->bytes < LINK_BATCH_BYTES) {
        if (queue->urgent.head != NULL)
            take_frame(queue, &queue->urgent, batch);
        else if (queue->bulk.head != NULL)
            take_frame(queue, &queue->bulk, batch);
        else
            break;
    }
    return batch->frame_count > 0;
}

void link_batch_done(struct link_batch *batch)
{
    while (batch->sent != NULL) {
        struct link_item *item = batch->sent;

        batch->sent = item->next;
        item_free(item);
    }
}

static uint64_t clear(struct link_queue *queue, struct link_list *list)
{
    uint64_t messages = 0;

    while (list->head != NULL) {
        struct link_item *item = pop(list);

        messages += item->messages;
        forget_groups(queue, item);
        item_free(item);
    }
    list->bytes = 0;
    return messages;
}

uint64_t link_queue_clear(struct link_queue *queue)
{
    return clear(queue, &queue->urgent) + clear(queue, &queue->bulk);
}
