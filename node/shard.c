#include "node/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta.h"
#include "node/shard_io.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"
#include "storage/store_damage.h"

/* A follower that tells its leader "not now" lives on the log: this much more than admission allows
 * is kept in memory before it does so. */
enum { HEAD_OVERRUN = 2 };

enum {
    RETRY_ELECTION_MS = 50, /* Nobody leads: an election takes some tenths of a second. */
    RETRY_READY_MS = 10,    /* We lead but have not applied our first entry yet. */
    RETRY_FULL_MS = 1000,   /* Retention or the operator has to free space. */
    RETRY_BUSY_MS = 20,
};

struct shard *shard_find(struct worker *worker, uint32_t group)
{
    return group < worker->node->groups ? worker->groups[group] : NULL;
}

/* ---- Proposing ----------------------------------------------------------------------------- */

static void set_answer(struct answer *answer, enum err code, uint64_t leader, uint32_t retry_ms)
{
    answer->code = code;
    answer->leader = leader;
    answer->retry_ms = retry_ms;
    (void)snprintf(answer->text, sizeof answer->text, "%s", err_detail());
}

bool shard_can_propose(const struct shard *shard, struct answer *ret_answer)
{
    uint64_t leader;
    enum err err;

    if (shard->store != NULL && store_is_blind(shard->store)) {
        err = err_set(ERR_UNAVAILABLE, "shard %u: its catalog is damaged, and is being mended",
                      shard->number - 1);
        set_answer(ret_answer, err, 0, RETRY_ELECTION_MS);
        return false;
    }
    if (group_is_ready(shard->group) && shard->worker->phase == WORKER_RUNNING)
        return true;
    leader =
        atomic_load_explicit(&shard->worker->node->leaders[shard->number], memory_order_relaxed);
    if (leader != 0 && leader != shard->worker->node->server) {
        err = err_set(ERR_NOT_LEADER, "group %u: node %" PRIu64 " leads", shard->number, leader);
        set_answer(ret_answer, err, leader, 0);
    } else {
        err = err_set(ERR_UNAVAILABLE, "group %u: no leader is ready", shard->number);
        set_answer(ret_answer, err, 0, leader == 0 ? RETRY_ELECTION_MS : RETRY_READY_MS);
    }
    return false;
}

enum err shard_propose(struct shard *shard, struct buf *entry, uint64_t *ret_index)
{
    enum err err = group_propose(shard->group, &entry, 1, ret_index);

    if (err == ERR_OK)
        shard->last_proposed = *ret_index;
    return err;
}

static void queue_waiting(struct shard *shard, struct write_request *request)
{
    request->next = NULL;
    *shard->waiting_end = request;
    shard->waiting_end = &request->next;
}

static struct write_request *take_first(struct write_request **first, struct write_request ***end)
{
    struct write_request *request = *first;

    *first = request->next;
    if (*first == NULL)
        *end = first;
    request->next = NULL;
    return request;
}

static void fill_ids(struct shard *shard, struct write_request *request)
{
    /* Admission has opened the same bytes. */
    struct block_view view = block_view_again(request->entry->bytes + sizeof(struct entry_header),
                                              request->entry->size - sizeof(struct entry_header));

    request->rows = view.header.rows;
    if (view.header.fresh == 0)
        return;
    request->ids = malloc(view.header.fresh * sizeof *request->ids);
    if (request->ids == NULL)
        return; /* The sender goes on with keys: longer, and right. */
    request->id_count = view.header.fresh;
    store_fresh_ids(shard->store, &view, request->ids);
}

static void answer_ok(struct shard *shard, struct write_request *request)
{
    fill_ids(shard, request);
    request->route.answer.code = ERR_OK;
    router_answer(shard->worker, &request->route);
}

/* Its sequence was taken by an earlier copy, and everything that was on the way then is applied. */
static void answer_duplicate(struct shard *shard, struct write_request *request)
{
    if (store_has_applied(shard->store, request->entry))
        answer_ok(shard, request);
    else /* The earlier one was refused when its turn came. */
        router_fail(shard->worker, &request->route,
                    err_set(ERR_SEQUENCE, "shard %u: the first copy of this batch was not stored",
                            shard->number - 1),
                    RETRY_BUSY_MS);
}

/* Admission: everything that can be wrong with a write is found here, before it is proposed. */
static void admit(struct shard *shard, struct write_request *request, struct block_view *view,
                  struct block *block)
{
    struct node *node = shard->worker->node;
    enum err err;

    if (log_writer_is_short(node->writer)) {
        err = err_set(ERR_DISK_FULL, "node %" PRIu64 ": the log's disk is full; free space on it",
                      node->server);
        router_fail(shard->worker, &request->route, err, RETRY_FULL_MS);
        return;
    }
    err = store_admit_opened(shard->store, request->entry, view, block, node->shards,
                             &request->duplicate);
    if (err != ERR_OK) {
        if (err == ERR_TOO_OLD)
            request->route.answer.cutoff_ns = store_refused_before(shard->store);
        if (err == ERR_LIMIT)
            fill_ids(shard, request); /* Rows of series that are known are taken by themselves. */
        router_fail(shard->worker, &request->route, err,
                    err == ERR_BUSY || err == ERR_SEQUENCE ? RETRY_BUSY_MS : 0);
        return;
    }
    if (request->duplicate) {
        request->wait_index = shard->last_proposed;
        if (request->wait_index <= store_applied_index(shard->store))
            answer_duplicate(shard, request);
        else
            queue_waiting(shard, request);
        return;
    }
    err = shard_propose(shard, request->entry, &request->wait_index);
    if (err != ERR_OK) {
        store_retract(shard->store);
        router_fail(shard->worker, &request->route, err, RETRY_BUSY_MS);
        return;
    }
    request->proposed_ns = clk_now_ns();
    queue_waiting(shard, request);
}

/* ---- Types --------------------------------------------------------------------------------- */

static void declared(struct route *route);

/* Ask the meta group for the types of the fields of one section. */
static enum err ask_types(struct shard *shard, const struct block *block, uint32_t at)
{
    const struct block_section *section = block_section(block, at);
    struct declare_request *ask = calloc(1, sizeof *ask);
    struct message_declare *message = calloc(1, sizeof *message);

    if (ask == NULL || message == NULL) {
        free(ask);
        free(message);
        return err_set(ERR_NO_MEMORY, "asking for types");
    }
    message->table_key = (struct slice){section->table_key, section->table_key_size};
    message->count = section->fields;
    for (uint32_t i = 0; i < section->fields; i++) {
        const struct block_field *field = block_field(block, at, i);

        message->fields[i] =
            (struct message_declare_field){.name = field->name, .type = (uint8_t)field->type};
    }
    ask->route = (struct route){.kind = ROUTE_DECLARE, .origin = shard->worker, .done = declared};
    ask->shard = shard->number;
    message_put_declare(message, &ask->message);
    free(message);
    shard->declaring = true;
    router_declare(shard->worker, ask);
    return ERR_OK;
}

static void declared(struct route *route)
{
    struct declare_request *ask = (struct declare_request *)route;
    struct shard *shard = shard_find(route->origin, ask->shard);
    enum err err = route->answer.code;

    shard->declaring = false;
    if (err == ERR_OK) {
        err = router_learn_types(shard->worker, ask);
        if (err != ERR_OK)
            set_answer(&route->answer, err, 0, RETRY_BUSY_MS);
    }
    if (err != ERR_OK && shard->parked != NULL) {
        struct write_request *request = take_first(&shard->parked, &shard->parked_end);

        request->route.answer = route->answer;
        if (err == ERR_NOT_LEADER) { /* Of the meta group: not the asker's business. */
            request->route.answer.code = ERR_UNAVAILABLE;
            request->route.answer.retry_ms = RETRY_ELECTION_MS;
        }
        router_answer(shard->worker, &request->route);
    }
    router_free_declare(ask);
    shard_resume(shard);
}

/* Everything that is checked of a write looks into its block: it is opened once. */
static enum err open_block(const struct shard *shard, const struct write_request *request,
                           struct block_view *ret_view, struct block **ret_block)
{
    enum err err = block_view(request->entry->bytes + sizeof(struct entry_header),
                              request->entry->size - sizeof(struct entry_header), true, ret_view);

    if (err == ERR_OK)
        err = block_load(ret_view, ret_block);
    if (err != ERR_OK)
        return err_wrap(err == ERR_NO_MEMORY ? err : ERR_INVALID, "shard %u: write of %u bytes",
                        shard->number - 1, request->entry->size);
    return ERR_OK;
}

/* ERR_OK: all types are known and agree. ERR_END: asked for; go on when the answer is there. */
static enum err check_types(struct shard *shard, const struct block *block)
{
    enum err err = ERR_OK;

    for (uint32_t s = 0; s < block_sections(block) && err == ERR_OK; s++) {
        const struct block_section *section = block_section(block, s);
        struct slice table = {section->table_key, section->table_key_size};

        err = shard_check_database(shard, table);
        for (uint32_t f = 0; f < section->fields && err == ERR_OK; f++) {
            const struct block_field *field = block_field(block, s, f);
            unsigned type = schema_map_find(&shard->worker->schema, table, field->name);

            if (type == 0) {
                err = ask_types(shard, block, s);
                if (err == ERR_OK)
                    err = ERR_END;
            } else if (type != field->type) {
                err = err_set(ERR_TYPE_CONFLICT, "field \"%.*s\" is %s, already exists as %s",
                              (int)field->name.size, field->name.data, field_type_name(field->type),
                              field_type_name(type));
            }
        }
    }
    return err;
}

void shard_resume(struct shard *shard)
{
    if (shard->resuming)
        return; /* A question was answered at once: the loop below goes on. */
    shard->resuming = true;
    while (shard->parked != NULL && !shard->declaring) {
        struct write_request *request = shard->parked;
        struct answer refusal;
        struct block_view view;
        struct block *block = NULL;
        enum err err;

        if (!shard_can_propose(shard, &refusal)) {
            (void)take_first(&shard->parked, &shard->parked_end);
            request->route.answer = refusal;
            router_answer(shard->worker, &request->route);
            continue;
        }
        err = open_block(shard, request, &view, &block);
        if (err == ERR_OK)
            err = check_types(shard, block);
        if (err != ERR_END) { /* Else it is asked for. */
            (void)take_first(&shard->parked, &shard->parked_end);
            if (err == ERR_OK)
                admit(shard, request, &view, block);
            else
                router_fail(shard->worker, &request->route, err,
                            err == ERR_NO_MEMORY || err == ERR_BUSY ? RETRY_BUSY_MS : 0);
        }
        block_free(block);
    }
    shard->resuming = false;
}

void shard_write(struct shard *shard, struct write_request *request)
{
    struct entry_header header;
    enum err err = entry_check(request->entry->bytes, request->entry->size, &header);

    if (err == ERR_OK && header.kind != ENTRY_BLOCK)
        err = err_set(ERR_INVALID, "an entry of kind %u is not for writing", header.kind);
    if (err == ERR_OK && header.shard != shard->number - 1)
        err = err_set(ERR_INVALID, "entry for shard %u sent to shard %u", header.shard,
                      shard->number - 1);
    if (err != ERR_OK) {
        router_fail(shard->worker, &request->route, err, 0);
        return;
    }
    request->next = NULL;
    *shard->parked_end = request;
    shard->parked_end = &request->next;
    shard_resume(shard);
}

/* ---- Committed ----------------------------------------------------------------------------- */

static void answer_outcome(struct shard *shard, struct write_request *request,
                           enum store_outcome outcome)
{
    switch (outcome) {
    case STORE_APPLIED:
        metric_time(METRIC_TIME_COMMIT, clk_now_ns() - request->proposed_ns);
        answer_ok(shard, request);
        break;
    case STORE_DUPLICATE:
        request->duplicate = true;
        answer_ok(shard, request);
        break;
    case STORE_GAP:
        router_fail(shard->worker, &request->route,
                    err_set(ERR_SEQUENCE, "shard %u: an earlier batch of this producer is missing",
                            shard->number - 1),
                    RETRY_BUSY_MS);
        break;
    case STORE_REFUSED:
    case STORE_SEAL:
    case STORE_NOTHING:
        router_fail(shard->worker, &request->route, ERR_INVALID, 0);
        break;
    }
}

static void answer_waiting(struct shard *shard, uint64_t index, enum store_outcome outcome)
{
    while (shard->waiting != NULL && shard->waiting->wait_index <= index) {
        struct write_request *request = take_first(&shard->waiting, &shard->waiting_end);

        request->index = request->duplicate ? 0 : index;
        if (request->duplicate)
            answer_duplicate(shard, request);
        else
            answer_outcome(shard, request, outcome);
    }
}

enum err shard_apply(struct shard *shard, uint64_t index, struct buf *payload)
{
    struct seal_job *job = NULL;
    enum store_outcome outcome;
    struct store_stats stats;
    enum err err;

    store_stats(shard->store, &stats);
    if (store_is_blind(shard->store))
        return ERR_BUSY; /* Ids would go wrong. shard_care() goes on when the catalog is back. */
    if (stats.sealing && stats.head_bytes > HEAD_OVERRUN * shard_head_bytes_max(shard))
        return ERR_BUSY; /* seal_finished() goes on. */
    err = store_apply(shard->store, index, payload, &outcome, &job);
    if (err != ERR_OK)
        return err;
    if (index >= shard->seal_index)
        shard->seal_index = 0;
    if (job != NULL) {
        shard_seal(shard, job);
        shard_teach_cutoffs(shard, payload);
    }
    answer_waiting(shard, index, outcome);
    shard_end_deletes(shard, index, ERR_OK);
    return ERR_OK;
}

void shard_leader_changed(struct shard *shard, bool leading)
{
    log_info("group=%u %s", shard->number, leading ? "leads" : "follows");
    shard->led_since_ms = leading ? worker_now_ms() : 0;
    if (leading) {
        metric_add(METRIC_RAFT_ELECTIONS, 1);
    } else {
        shard->seal_index = 0;
        shard->last_proposed =
            0; /* Those entries may be cut from the log: nobody waits for them. */
        shard_fail_all(shard, ERR_UNAVAILABLE, "leadership moved; ask again");
        if (shard->store != NULL)
            store_forget_tentative(shard->store);
    }
    shard_publish(shard);
}

void shard_fail_all(struct shard *shard, enum err code, const char *why)
{
    struct write_request *lists[2] = {shard->waiting, shard->parked};

    shard->waiting = NULL;
    shard->waiting_end = &shard->waiting;
    if (shard->declaring && shard->parked != NULL) {
        /* The first one stays: the answer to its question is on the way and ends it. */
        lists[1] = shard->parked->next;
        shard->parked->next = NULL;
        shard->parked_end = &shard->parked->next;
    } else {
        shard->parked = NULL;
        shard->parked_end = &shard->parked;
    }
    for (size_t i = 0; i < 2; i++) {
        while (lists[i] != NULL) {
            struct write_request *request = lists[i];

            lists[i] = request->next;
            request->next = NULL;
            router_fail(shard->worker, &request->route,
                        err_set(code, "shard %u: %s", shard->number - 1, why), RETRY_ELECTION_MS);
        }
    }
    shard_fail_reads(shard);
    shard_end_deletes(shard, UINT64_MAX, err_set(code, "shard %u: %s", shard->number - 1, why));
    if (shard->meta != NULL)
        meta_lost(shard->meta);
}
