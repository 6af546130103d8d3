#include "node/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/worker.h"
#include "storage/block/block_reader.h"
#include "storage/store.h"

enum {
    NO_NEW_SERIES_MS = 10000,
    RETRY_MS = 10,
    RETRY_MS_MAX = 2000, /* Whatever a leader asks for. */
};

struct lane_block {
    struct lane_block *next;
    struct lane *lane;
    struct buf *entry; /* Counted. */
    uint64_t sequence; /* Its number in the lane's epoch. 0: has none yet. */
    uint64_t since_ms; /* When its first row came. */
    uint64_t
        gap_since_ms; /* The leader misses what came before it, though it is the first; 0: no. */
    bool sent;        /* Others may hold its bytes, with ids stamped: changed in a copy only. */
    bool sent_first;  /* Nothing before it was open when it was sent last. */
    bool unknown;     /* Some answer did not tell whether it is stored. */
    bool refused;     /* For good: an empty block goes in its place. */
    bool under_way;
    bool done;
    uint32_t share_count;
    struct lane_share *shares; /* Owned. None: its requests were told. */
    uint32_t fresh_count;
    uint64_t *fresh; /* Owned: memo tags of the block's fresh keys, in its order. */
};

struct lane_write {
    struct write_request request; /* First: freed as one. */
    struct lane_block *block;
};

static const struct answer stored = {.code = ERR_OK};

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
    struct answer answer = {.code = ERR_CANCELED, .text = "the node stops"};

    while (lane->blocks != NULL) {
        struct lane_block *block = lane->blocks;

        lane->blocks = block->next;
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

/* Once: a block that goes on being sent afterwards has nobody who waits for it. */
static void settle_block(struct lane_block *block, const struct answer *answer)
{
    settle_shares(block->lane, block->shares, block->share_count, answer);
    block->share_count = 0;
}

static void drop_block(struct lane *lane, struct lane_block **at)
{
    struct lane_block *block = *at;

    *at = block->next;
    if (block->next == NULL)
        lane->blocks_end = at;
    lane->bytes -= block->entry->size;
    free_block(block);
}

/* Those that are done leave from the front; their ids and shares are settled. */
static void drop_done(struct lane *lane)
{
    while (lane->blocks != NULL && lane->blocks->done)
        drop_block(lane, &lane->blocks);
}

/* Forget the rows in the builder. */
static void reset_builder(struct lane *lane)
{
    block_builder_reset(lane->builder);
    lane->share_count = 0;
    lane->tag_count = 0;
    lane->round++;
}

/* Tell all requests with rows from before `until_ms`. What was never sent is forgotten. */
static void end_requests(struct lane *lane, uint64_t until_ms, const struct answer *answer)
{
    struct lane_block **at = &lane->blocks;

    while (*at != NULL && (*at)->since_ms < until_ms) {
        settle_block(*at, answer);
        if ((*at)->sent)
            at = &(*at)->next;
        else
            drop_block(lane, at);
    }
    if (lane->share_count > 0 && lane->since_ms < until_ms) {
        settle_shares(lane, lane->shares, lane->share_count, answer);
        reset_builder(lane);
    }
}

static void give_up_old(struct lane *lane, uint64_t now_ms)
{
    struct answer answer = lane->last_refusal;

    if (now_ms <= LANE_GIVE_UP_MS)
        return;
    if (answer.code == ERR_OK) /* Not refused either: it just takes long. */
        answer = (struct answer){.code = ERR_TIMEOUT,
                                 .retry_ms = 1000,
                                 .text = "the shard's leader did not answer in time"};
    end_requests(lane, now_ms - LANE_GIVE_UP_MS, &answer);
}

/* ---- Sending ------------------------------------------------------------------------------- */

/* The bytes to send: the block's own the first time, later a copy, since a group or the log writer
 * may still hold what was sent. */
static enum err renew_entry(struct lane_block *block)
{
    struct buf *entry = NULL;
    enum err err = ERR_OK;

    if (block->refused) {
        struct block_builder *builder;

        err = block_builder_new(&builder);
        if (err == ERR_OK) {
            err = block_builder_finish(builder, sizeof(struct entry_header), &entry, NULL);
            block_builder_free(builder);
        }
    } else if (block->sent) {
        entry = buf_new(block->entry->size);
        if (entry == NULL)
            return err_set(ERR_NO_MEMORY, "%u bytes of a block", block->entry->size);
        memcpy(entry->bytes, block->entry->bytes, block->entry->size);
        entry->size = block->entry->size;
    }
    if (err != ERR_OK || entry == NULL)
        return err;
    block->lane->bytes += entry->size;
    block->lane->bytes -= block->entry->size;
    buf_unref(block->entry);
    block->entry = entry;
    return ERR_OK;
}

static void number_entry(struct lane *lane, struct lane_block *block)
{
    struct entry_header header = {.size = block->entry->size,
                                  .kind = ENTRY_BLOCK,
                                  .producer = lane->producer,
                                  .epoch = lane->epoch,
                                  .shard = lane->shard};

    if (block->sequence == 0)
        block->sequence = lane->sequence++;
    header.sequence = block->sequence;
    entry_stamp(&header);
    memcpy(block->entry->bytes, &header, sizeof header);
}

/* Send nothing before all is answered and so much time has gone by. */
static void put_off(struct lane *lane, uint32_t retry_ms)
{
    uint64_t wait_ms = retry_ms == 0 ? RETRY_MS : retry_ms < RETRY_MS_MAX ? retry_ms : RETRY_MS_MAX;
    uint64_t at_ms = worker_now_ms() + wait_ms;

    lane->waiting = true;
    if (at_ms > lane->retry_at_ms)
        lane->retry_at_ms = at_ms;
}

static void block_answered(struct route *route);

static void send_block(struct lane *lane, struct lane_block *block)
{
    struct lane_write *write = calloc(1, sizeof *write);

    if (write == NULL || renew_entry(block) != ERR_OK) {
        free(write);
        put_off(lane, 0);
        return;
    }
    number_entry(lane, block);
    block->sent = true;
    block->sent_first = block == lane->blocks;
    block->under_way = true;
    lane->under_way++;
    write->block = block;
    write->request.route =
        (struct route){.kind = ROUTE_WRITE, .origin = lane->worker, .done = block_answered};
    write->request.shard = lane->shard;
    write->request.entry = buf_ref(block->entry);
    router_write(lane->worker, &write->request);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static bool may_pass(enum err code)
{
    return code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE || code == ERR_BUSY ||
           code == ERR_TIMEOUT || code == ERR_SEQUENCE || code == ERR_DISK_FULL ||
           code == ERR_NO_MEMORY || code == ERR_CANCELED;
}

static void refused_for_now(struct lane *lane, struct lane_block *block,
                            const struct answer *answer)
{
    if (answer->code != ERR_SEQUENCE) /* That only says that another one is missing. */
        lane->last_refusal = *answer;
    put_off(lane, answer->retry_ms);
    if (answer->code == ERR_UNAVAILABLE || answer->code == ERR_TIMEOUT ||
        answer->code == ERR_CANCELED)
        block->unknown = true;
    if (answer->code != ERR_SEQUENCE || !block->sent_first)
        block->gap_since_ms = 0;
    else if (block->gap_since_ms == 0)
        block->gap_since_ms = worker_now_ms();
    if (answer->code == ERR_DISK_FULL) {
        lane->full = true;
        end_requests(lane, UINT64_MAX, answer);
    }
}

static void refused_for_good(struct lane *lane, struct lane_block *block,
                             const struct answer *answer)
{
    struct answer told = *answer;

    /* Others' rows may be in here, too: sent again, the lines with new series, or of a time that
     * was dropped a moment ago, are refused by themselves. */
    if (answer->code == ERR_LIMIT) {
        lane->no_new_until_ms = worker_now_ms() + NO_NEW_SERIES_MS;
        (void)snprintf(lane->no_new_text, sizeof lane->no_new_text, "%s", answer->text);
    }
    if (answer->code == ERR_LIMIT || answer->code == ERR_TOO_OLD) {
        told.code = ERR_UNAVAILABLE;
        told.retry_ms = 1000;
    }
    lane->full = false;
    settle_block(block, &told);
    put_off(lane, 0);
    if (block->refused) { /* Not even empty. The shard will miss its number, and so ... */
        struct lane_block **at = &lane->blocks;

        while (*at != block)
            at = &(*at)->next;
        drop_block(lane, at);
    } else {
        block->refused = true;
    }
}

/* Also of a block that was refused: a shard that takes no new series says which it has. */
static void learn_ids(struct lane *lane, const struct lane_block *block,
                      const struct write_request *request)
{
    if (!block->refused && request->id_count == block->fresh_count && block->fresh_count > 0)
        lane->ids(lane->ctx, lane->shard, block->fresh, request->ids, block->fresh_count);
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
        lane->full = false;
        lane->last_refusal.code = ERR_OK;
        settle_block(block, answer);
        learn_ids(lane, block, &write->request);
        drop_done(lane);
    } else if (may_pass(answer->code)) {
        refused_for_now(lane, block, answer);
    } else {
        learn_ids(lane, block, &write->request);
        refused_for_good(lane, block, answer);
    }
    router_free_write(&write->request);
}

/* The shard applies numbers in order: what comes before a block that is done is done, only nobody
 * said so. */
static void settle_before_done(struct lane *lane)
{
    struct lane_block *last = NULL;

    for (struct lane_block *block = lane->blocks; block != NULL; block = block->next)
        last = block->done ? block : last;
    for (struct lane_block *block = lane->blocks; last != NULL && block != last;
         block = block->next) {
        settle_block(block, &stored);
        block->done = true;
    }
    drop_done(lane);
}

/* ... all that is left begins anew with 1. None of it is done, and none under way. */
static void begin_epoch(struct lane *lane)
{
    lane->epoch++;
    lane->sequence = 1;
    for (struct lane_block *block = lane->blocks; block != NULL; block = block->next) {
        block->sequence = 0;
        block->gap_since_ms = 0;
        block->unknown = false;
    }
}

/* All that was sent is answered, and something was refused: start again with the oldest. False: not
 * yet. */
static bool start_again(struct lane *lane, uint64_t now_ms)
{
    const struct lane_block *first;

    if (lane->under_way > 0 || now_ms < lane->retry_at_ms)
        return false;
    settle_before_done(lane);
    first = lane->blocks;
    /* If it may be stored under its old number, only a leader that was deposed and does not know
     * yet can say that there is a gap: that passes. */
    if (first != NULL && first->gap_since_ms != 0 &&
        (!first->unknown || now_ms - first->gap_since_ms > LANE_GIVE_UP_MS))
        begin_epoch(lane);
    lane->waiting = false;
    lane->retry_at_ms = 0;
    return true;
}

/* ---- Collecting ---------------------------------------------------------------------------- */

/* The refusal is about all databases, or about this one. */
static bool concerns(const char *refusal, struct slice database)
{
    size_t size = strlen(STORE_LIMIT_OF);

    if (strncmp(refusal, STORE_LIMIT_OF, size) != 0)
        return true;
    refusal += size;
    size = strlen(refusal);
    if (size <= database.size) /* A long name: the text was cut. */
        return memcmp(refusal, database.data, size) == 0;
    return memcmp(refusal, database.data, database.size) == 0 && refusal[database.size] == '"';
}

enum err lane_check_series(const struct lane *lane, struct slice database, uint32_t id)
{
    if (id == BLOCK_ID_NONE && lane->no_new_until_ms > worker_now_ms() &&
        concerns(lane->no_new_text, database))
        return err_set(ERR_LIMIT, "%s", lane->no_new_text);
    return ERR_OK;
}

enum err lane_series(struct lane *lane, const void *key, size_t key_size, size_t table_key_size,
                     uint64_t key_hash_value, uint32_t id, uint64_t memo_tag, uint32_t *ret_handle)
{
    enum err err;

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

static enum err make_block(struct lane *lane, struct lane_block *block)
{
    uint32_t *fresh = malloc((lane->tag_count + 1u) * sizeof *fresh);
    struct block_view view;
    enum err err = fresh == NULL ? err_set(ERR_NO_MEMORY, "a block") : ERR_OK;

    if (err == ERR_OK)
        err =
            block_builder_finish(lane->builder, sizeof(struct entry_header), &block->entry, fresh);
    if (err == ERR_OK)
        err = block_view(block->entry->bytes + sizeof(struct entry_header),
                         block->entry->size - sizeof(struct entry_header), false, &view);
    if (err == ERR_OK) {
        block->fresh_count = view.header.fresh;
        block->fresh = malloc((view.header.fresh + 1u) * sizeof *block->fresh);
        if (block->fresh == NULL)
            err = err_set(ERR_NO_MEMORY, "%u new series", view.header.fresh);
    }
    for (uint32_t i = 0; err == ERR_OK && i < block->fresh_count; i++)
        block->fresh[i] = lane->tags[fresh[i]];
    free(fresh);
    return err;
}

static enum err cut_block(struct lane *lane)
{
    struct lane_block *block = calloc(1, sizeof *block);
    enum err err = block == NULL ? err_set(ERR_NO_MEMORY, "a block") : make_block(lane, block);

    if (err == ERR_OK) {
        block->lane = lane;
        block->since_ms = lane->since_ms;
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
    reset_builder(lane);
    return err;
}

enum err lane_cut(struct lane *lane)
{
    if (block_builder_rows(lane->builder) > 0)
        return cut_block(lane);
    reset_builder(lane); /* Series of rows that were taken back. */
    return ERR_OK;
}

enum err lane_make_room(struct lane *lane)
{
    if (lane->full)
        return err_set(ERR_DISK_FULL, "shard %u: its leader's disk is full", lane->shard);
    if (block_builder_rows(lane->builder) < BLOCK_ROWS_MAX - 1 &&
        block_builder_bytes(lane->builder) < LANE_CUT_BYTES)
        return ERR_OK;
    return lane_cut(lane);
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
        if (lane->share_count == 0)
            lane->since_ms = worker_now_ms();
        lane->shares[lane->share_count++] = (struct lane_share){request, 0};
    }
    lane->shares[lane->share_count - 1].rows++;
    return ERR_OK;
}

/* ---- End of a turn ------------------------------------------------------------------------- */

void lane_flush(struct lane *lane, uint64_t now_ms)
{
    uint32_t rows;

    give_up_old(lane, now_ms);
    if (lane->waiting && !start_again(lane, now_ms))
        return;
    rows = block_builder_rows(lane->builder);
    if (rows > 0 &&
        (lane->under_way == 0 || (rows >= LANE_ROWS_SMALL && lane->under_way < LANE_WINDOW)))
        (void)cut_block(lane); /* On an error its requests were told. */
    while (lane->under_way < LANE_WINDOW && !lane->waiting) {
        struct lane_block *block = lane->blocks;

        /* From the front each time: send_block() may end with the block answered, and gone. */
        while (block != NULL && (block->under_way || block->done))
            block = block->next;
        if (block == NULL)
            break;
        send_block(lane, block);
    }
}
