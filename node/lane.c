#include "node/lane.h"

#include <stdlib.h>
#include <string.h>

#include "node/worker.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"
#include "storage/block/block_reader.h"

enum { NO_NEW_SERIES_MS = 10000 };

struct lane_block {
    struct lane_block *next;
    struct lane *lane;
    struct buf *entry; /* Counted. */
    uint64_t sequence;
    uint64_t first_sent_ms; /* 0: not yet sent. */
    bool under_way;
    bool done;
    uint32_t share_count;
    struct lane_share *shares; /* Owned. */
    uint32_t fresh_count;
    uint64_t *fresh; /* Owned: memo tags of the block's fresh keys, in its order. */
};

struct lane_write {
    struct write_request request; /* First: freed as one. */
    struct lane_block *block;
};

/* ---- Making -------------------------------------------------------------------------------- */

enum err lane_init(struct lane *lane, struct worker *worker, uint32_t shard, uint64_t producer)
{
    *lane = (struct lane){
        .worker = worker,
        .shard = shard,
        .producer = producer,
        .epoch = 1,
        .sequence = 1,
        .round = 1,
    };
    lane->blocks_end = &lane->blocks;
    return block_builder_new(&lane->builder);
}

static void free_block(struct lane_block *block)
{
    buf_unref(block->entry);
    free(block->shares);
    free(block->fresh);
    free(block);
}

static void settle_shares(struct lane *lane, const struct lane_share *shares, uint32_t count,
                          const struct answer *answer);

void lane_fini(struct lane *lane)
{
    struct answer answer = {.code = ERR_CANCELED};

    while (lane->blocks != NULL) {
        struct lane_block *block = lane->blocks;

        lane->blocks = block->next;
        if (!block->done)
            settle_shares(lane, block->shares, block->share_count, &answer);
        free_block(block);
    }
    settle_shares(lane, lane->shares, lane->share_count, &answer);
    block_builder_free(lane->builder);
    free(lane->shares);
    free(lane->tags);
}

uint64_t lane_bytes(const struct lane *lane)
{
    return lane->bytes + block_builder_bytes(lane->builder);
}

/* ---- Settling ------------------------------------------------------------------------------ */

static void settle_shares(struct lane *lane, const struct lane_share *shares, uint32_t count,
                          const struct answer *answer)
{
    for (uint32_t i = 0; i < count; i++)
        lane->settled(&shares[i], answer);
}

static struct lane_block *unlink_first(struct lane *lane)
{
    struct lane_block *block = lane->blocks;

    lane->blocks = block->next;
    if (lane->blocks == NULL)
        lane->blocks_end = &lane->blocks;
    lane->bytes -= block->entry->size;
    return block;
}

/* The entry may still be held by a group or the log writer, so it is changed in a copy. */
static enum err renumber(struct lane *lane, struct lane_block *block, uint64_t sequence)
{
    struct entry_header header;
    struct buf *copy = buf_new(block->entry->size);

    if (copy == NULL)
        return err_set(ERR_NO_MEMORY, "%u bytes of a block", block->entry->size);
    memcpy(copy->bytes, block->entry->bytes, block->entry->size);
    copy->size = block->entry->size;
    memcpy(&header, copy->bytes, sizeof header);
    header.epoch = lane->epoch;
    header.sequence = sequence;
    entry_stamp(&header);
    memcpy(copy->bytes, &header, sizeof header);
    buf_unref(block->entry);
    block->entry = copy;
    block->sequence = sequence;
    return ERR_OK;
}

/* A sequence was given up, so those behind it would be a gap: count anew in a higher epoch. */
static void begin_epoch(struct lane *lane)
{
    lane->epoch++;
    lane->sequence = 1;
    for (struct lane_block *block = lane->blocks; block != NULL; block = block->next) {
        if (renumber(lane, block, lane->sequence) != ERR_OK) {
            log_error("shard=%u %s", lane->shard, err_detail());
            abort();
        }
        lane->sequence++;
    }
}

static void give_up(struct lane *lane, struct lane_block *block, const struct answer *answer)
{
    settle_shares(lane, block->shares, block->share_count, answer);
    free_block(block);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static void block_answered(struct route *route);

static void send_block(struct lane *lane, struct lane_block *block, uint64_t now_ms)
{
    struct lane_write *write = calloc(1, sizeof *write);

    if (write == NULL) {
        lane->waiting = true; /* Tried again with the next turn. */
        return;
    }
    /* Sent before: its bytes may be held, with ids stamped, by a group that led then. */
    if (block->first_sent_ms != 0 && renumber(lane, block, block->sequence) != ERR_OK) {
        free(write);
        lane->waiting = true;
        return;
    }
    if (block->first_sent_ms == 0)
        block->first_sent_ms = now_ms;
    block->under_way = true;
    lane->under_way++;
    write->block = block;
    write->request.route =
        (struct route){.kind = ROUTE_WRITE, .origin = lane->worker, .done = block_answered};
    write->request.shard = lane->shard;
    write->request.entry = buf_ref(block->entry);
    router_write(lane->worker, &write->request);
}

/* Those that are done leave from the front; their ids and shares are settled. */
static void drop_done(struct lane *lane)
{
    while (lane->blocks != NULL && lane->blocks->done)
        free_block(unlink_first(lane));
}

static bool may_pass(enum err code)
{
    return code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE || code == ERR_BUSY ||
           code == ERR_TIMEOUT || code == ERR_SEQUENCE || code == ERR_DISK_FULL ||
           code == ERR_NO_MEMORY || code == ERR_CANCELED;
}

static void refused(struct lane *lane, struct lane_block *block, const struct answer *answer)
{
    struct lane_block **at = &lane->blocks;

    /* Not for now, but for good: its sequence was not taken, and those behind it have to move up. */
    if (answer->code == ERR_LIMIT)
        lane->no_new_until_ms = worker_now_ms() + NO_NEW_SERIES_MS;
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    if (block->next == NULL)
        lane->blocks_end = at;
    lane->bytes -= block->entry->size;
    give_up(lane, block, answer);
    lane->new_epoch = true;
    lane->waiting = true;
    lane->retry_at_ms = 0;
}

static void block_answered(struct route *route)
{
    struct lane_write *write = (struct lane_write *)route;
    struct lane_block *block = write->block;
    struct lane *lane = block->lane;
    const struct answer *answer = &route->answer;

    block->under_way = false;
    lane->under_way--;
    if (answer->code == ERR_OK) {
        block->done = true;
        settle_shares(lane, block->shares, block->share_count, answer);
        if (write->request.id_count == block->fresh_count && block->fresh_count > 0)
            lane->ids(lane->ctx, lane->shard, block->fresh, write->request.ids, block->fresh_count);
        drop_done(lane);
    } else if (may_pass(answer->code)) {
        uint64_t at_ms = worker_now_ms() + (answer->retry_ms == 0 ? 10 : answer->retry_ms);

        lane->waiting = true;
        lane->retry_at_ms = at_ms > lane->retry_at_ms ? at_ms : lane->retry_at_ms;
        lane->last_refusal = *answer;
    } else {
        refused(lane, block, answer);
    }
    write_request_free(&write->request);
}

/* ---- Collecting ---------------------------------------------------------------------------- */

enum err lane_series(struct lane *lane, const void *key, size_t key_size, size_t table_key_size,
                     uint64_t key_hash_value, uint32_t id, uint64_t memo_tag, uint32_t *ret_handle)
{
    enum err err;

    if (id == BLOCK_ID_NONE && lane->no_new_until_ms > worker_now_ms())
        return err_set(ERR_LIMIT, "shard %u takes no new series: storage.series_max is reached",
                       lane->shard);
    err = block_builder_series(lane->builder, key, key_size, table_key_size, key_hash_value, id,
                               ret_handle);
    if (err != ERR_OK)
        return err;
    if (*ret_handle >= lane->tag_capacity) {
        uint32_t capacity = lane->tag_capacity == 0 ? 1024 : lane->tag_capacity * 2;
        uint64_t *tags;

        while (capacity <= *ret_handle)
            capacity *= 2;
        tags = realloc(lane->tags, capacity * sizeof *tags);
        if (tags == NULL)
            return err_set(ERR_NO_MEMORY, "%u series of a block", capacity);
        lane->tags = tags;
        lane->tag_capacity = capacity;
    }
    lane->tags[*ret_handle] = memo_tag;
    if (*ret_handle >= lane->tag_count)
        lane->tag_count = *ret_handle + 1;
    return ERR_OK;
}

static enum err cut_block(struct lane *lane)
{
    struct lane_block *block = calloc(1, sizeof *block);
    uint32_t *fresh = malloc((lane->tag_count + 1u) * sizeof *fresh);
    struct entry_header header;
    struct block_view view;
    enum err err = block == NULL || fresh == NULL ? err_set(ERR_NO_MEMORY, "a block") : ERR_OK;

    if (err == ERR_OK)
        err = block_builder_finish(lane->builder, sizeof header, &block->entry, fresh);
    if (err == ERR_OK)
        err = block_view(block->entry->bytes + sizeof header, block->entry->size - sizeof header,
                         false, &view);
    if (err == ERR_OK) {
        block->fresh_count = view.header.fresh;
        block->fresh = malloc((view.header.fresh + 1u) * sizeof *block->fresh);
        if (block->fresh == NULL)
            err = err_set(ERR_NO_MEMORY, "%u new series", view.header.fresh);
    }
    if (err == ERR_OK) {
        for (uint32_t i = 0; i < block->fresh_count; i++)
            block->fresh[i] = lane->tags[fresh[i]];
        header = (struct entry_header){.size = block->entry->size,
                                       .kind = ENTRY_BLOCK,
                                       .producer = lane->producer,
                                       .epoch = lane->epoch,
                                       .shard = lane->shard,
                                       .sequence = lane->sequence++};
        entry_stamp(&header);
        memcpy(block->entry->bytes, &header, sizeof header);
        block->lane = lane;
        block->sequence = header.sequence;
        block->shares = lane->shares;
        block->share_count = lane->share_count;
        *lane->blocks_end = block;
        lane->blocks_end = &block->next;
        lane->bytes += block->entry->size;
        lane->shares = NULL;
        lane->share_capacity = 0;
    } else {
        struct answer answer = {.code = err, .retry_ms = 1000};

        memcpy(answer.text, err_detail(), sizeof answer.text);
        settle_shares(lane, lane->shares, lane->share_count, &answer);
        if (block != NULL)
            free_block(block);
    }
    block_builder_reset(lane->builder);
    lane->share_count = 0;
    lane->tag_count = 0;
    lane->round++;
    free(fresh);
    return err;
}

enum err lane_row(struct lane *lane, struct ingest_request *request)
{
    if (lane->share_count == 0 || lane->shares[lane->share_count - 1].request != request) {
        if (lane->share_count == lane->share_capacity) {
            uint32_t capacity = lane->share_capacity == 0 ? 16 : lane->share_capacity * 2;
            struct lane_share *shares = realloc(lane->shares, capacity * sizeof *shares);

            if (shares == NULL)
                return err_set(ERR_NO_MEMORY, "%u requests of a block", capacity);
            lane->shares = shares;
            lane->share_capacity = capacity;
        }
        lane->shares[lane->share_count++] = (struct lane_share){request, 0};
    }
    lane->shares[lane->share_count - 1].rows++;
    return ERR_OK;
}

/* ---- End of a turn ------------------------------------------------------------------------- */

/* All that was sent is answered, and something was refused: give up what is too old, and start again
 * with the oldest. */
static bool start_again(struct lane *lane, uint64_t now_ms)
{
    if (lane->under_way > 0 || now_ms < lane->retry_at_ms)
        return false;
    drop_done(lane);
    while (lane->blocks != NULL && lane->blocks->first_sent_ms != 0 &&
           now_ms - lane->blocks->first_sent_ms > LANE_GIVE_UP_MS) {
        struct lane_block *block = unlink_first(lane);

        if (!block->done) {
            give_up(lane, block, &lane->last_refusal);
            lane->new_epoch = true;
        } else {
            free_block(block);
        }
    }
    /* A done block behind one that is not: the later was applied, so the earlier was, too, and is only
     * not answered yet; sent again, it is a duplicate. In a new epoch that would no longer be so. */
    if (lane->new_epoch) {
        lane->new_epoch = false;
        begin_epoch(lane);
    }
    lane->waiting = false;
    lane->retry_at_ms = 0;
    return true;
}

void lane_flush(struct lane *lane, uint64_t now_ms)
{
    uint32_t rows = block_builder_rows(lane->builder);

    if (lane->waiting && !start_again(lane, now_ms))
        return;
    if (rows > 0 &&
        (lane->under_way == 0 || (rows >= LANE_ROWS_SMALL && lane->under_way < LANE_WINDOW)))
        (void)cut_block(lane); /* On an error its requests were told. */
    while (lane->under_way < LANE_WINDOW && !lane->waiting) {
        struct lane_block *block = lane->blocks;

        /* From the front each time: a block may be answered, and gone, before send_block() returns. */
        while (block != NULL && (block->under_way || block->done))
            block = block->next;
        if (block == NULL)
            break;
        send_block(lane, block, now_ms);
    }
}

enum err lane_make_room(struct lane *lane)
{
    if (block_builder_rows(lane->builder) < BLOCK_ROWS_MAX - 1 &&
        block_builder_bytes(lane->builder) < LANE_CUT_BYTES)
        return ERR_OK;
    return cut_block(lane);
}
