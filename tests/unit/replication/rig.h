/*
 * rig.h - a few replicas of one group in memory, with a clock that the test moves.
 *
 * Messages are encoded and decoded, take 1 ms, and stay in order; a write is durable 1 ms after it
 * was made; an entry that is read back comes 1 ms later. Nothing is random but the election
 * timeouts. A server that is not up, or cut off, gets nothing; rig_take() sees what was sent to it.
 */
#ifndef TESTS_UNIT_REPLICATION_RIG_H
#define TESTS_UNIT_REPLICATION_RIG_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/group.h"
#include "replication/group_message.h"
#include "replication/guards.h"
#include "replication/raft_wire.h"

enum { RIG_SERVERS = 5, RIG_APPLIED_MAX = 4096, RIG_RECORDS_MAX = 16384, RIG_QUEUE_MAX = 4096 };
enum { ELECTION_MS = 300, HEARTBEAT_MS = 50 };

struct rig;

struct rig_node {
    struct rig *rig;
    uint64_t server;
    struct group *group; /* NULL: down. */
    struct log_record records[RIG_RECORDS_MAX];
    uint64_t stream;  /* Records ever written. */
    uint64_t durable; /* So many are on disk. */
    uint64_t told;    /* And group_written() was called. */
    uint64_t applied_index[RIG_APPLIED_MAX];
    char applied[RIG_APPLIED_MAX][32]; /* "" for what is no command. */
    uint32_t applied_count;
    uint64_t sealed;                     /* What the store would say at a start. */
    const struct group_install *install; /* To begin again with at a start; borrowed. */
    bool silent;                         /* It is not started. */
    uint32_t leader_calls, loads;
    uint64_t read_token[64];
    bool read_ok[64];
    uint32_t reads;
    bool refuse_apply, disk_hangs, loads_fail;
    bool bulk_queued; /* What io.send_queued says. */
    const char *fatal;
    struct {
        uint64_t index, term, position;
    } load[64];
    uint32_t load_count;
};

struct rig_mail {
    uint64_t from, to, at_ms;
    bool urgent;
    struct bytes bytes;
};

struct rig_lost {
    uint64_t from, to;
    bool urgent;
    struct group_message *message;
};

struct rig {
    uint64_t now_ms;
    uint32_t servers, voters;
    uint64_t guards_off;
    uint32_t lag_max;
    uint64_t inflight_max;
    struct rig_node nodes[RIG_SERVERS + 1]; /* By server id. */
    bool cut[RIG_SERVERS + 1][RIG_SERVERS + 1];
    struct rig_mail mail[RIG_QUEUE_MAX];
    uint32_t mail_first, mail_count;
    struct rig_lost lost[RIG_QUEUE_MAX]; /* Sent to servers that are not there, oldest first. */
    uint32_t lost_count;
    bool taken_urgent; /* What rig_take() gave last was. */
};

/* ---- The callbacks ------------------------------------------------------------------------- */

static uint64_t rig_now(void *ctx)
{
    return ((struct rig_node *)ctx)->rig->now_ms;
}

static uint64_t rig_append(void *ctx, struct group *group, const struct log_record *record)
{
    struct rig_node *node = ctx;

    (void)group;
    cr_assert_lt(node->stream, RIG_RECORDS_MAX);
    node->records[node->stream] = *record;
    node->records[node->stream].position = node->stream + 1;
    return ++node->stream;
}

static void rig_send(void *ctx, struct group *group, uint64_t to, struct group_message *message,
                     bool urgent)
{
    struct rig_node *node = ctx;
    struct rig *rig = node->rig;
    struct rig_mail mail = {
        .from = node->server, .to = to, .at_ms = rig->now_ms + 1, .urgent = urgent};

    if (to > rig->servers || rig->nodes[to].group == NULL || rig->cut[node->server][to]) {
        cr_assert_lt(rig->lost_count, RIG_QUEUE_MAX);
        rig->lost[rig->lost_count++] =
            (struct rig_lost){.from = node->server, .to = to, .urgent = urgent, .message = message};
        return;
    }
    raft_wire_put(message, group_number(group), &mail.bytes);
    cr_assert_eq(mail.bytes.size, raft_wire_size(message));
    group_message_free(message);
    cr_assert_lt(rig->mail_count, RIG_QUEUE_MAX);
    rig->mail[(rig->mail_first + rig->mail_count++) % RIG_QUEUE_MAX] = mail;
}

static bool rig_send_queued(void *ctx, struct group *group, uint64_t to)
{
    (void)group;
    (void)to;
    return ((struct rig_node *)ctx)->bulk_queued;
}

static enum err rig_apply(void *ctx, struct group *group, uint64_t index, uint64_t term,
                          struct buf *payload)
{
    struct rig_node *node = ctx;
    uint32_t at = node->applied_count;

    (void)group;
    cr_assert_gt(term, 0);
    if (node->refuse_apply)
        return ERR_BUSY;
    cr_assert_lt(at, RIG_APPLIED_MAX);
    node->applied_index[at] = index;
    memset(node->applied[at], 0, sizeof node->applied[at]);
    if (payload != NULL)
        memcpy(node->applied[at], payload->bytes, payload->size < 31 ? payload->size : 31);
    node->applied_count++;
    return ERR_OK;
}

static void rig_leader(void *ctx, struct group *group, bool leading)
{
    (void)group;
    (void)leading;
    ((struct rig_node *)ctx)->leader_calls++;
}

static void rig_load(void *ctx, struct group *group, uint64_t index, uint64_t term,
                     uint64_t position)
{
    struct rig_node *node = ctx;

    (void)group;
    cr_assert_lt(node->load_count, 64);
    node->loads++;
    node->load[node->load_count].index = index;
    node->load[node->load_count].term = term;
    node->load[node->load_count++].position = position;
}

static void rig_read_done(void *ctx, struct group *group, uint64_t token, bool ok)
{
    struct rig_node *node = ctx;

    (void)group;
    cr_assert_lt(node->reads, 64);
    node->read_token[node->reads] = token;
    node->read_ok[node->reads++] = ok;
}

static void rig_fatal(void *ctx, struct group *group, const char *what)
{
    (void)group;
    ((struct rig_node *)ctx)->fatal = what;
}

/* ---- Life ---------------------------------------------------------------------------------- */

static inline struct rig *rig_new(uint32_t servers, uint32_t voters, uint64_t guards_off)
{
    struct rig *rig = calloc(1, sizeof *rig);

    cr_assert_not_null(rig);
    rig->now_ms = 1000;
    rig->servers = servers;
    rig->voters = voters;
    rig->guards_off = guards_off;
    rig->lag_max = 64;
    rig->inflight_max = 1 << 20;
    for (uint64_t id = 1; id <= servers; id++) {
        rig->nodes[id].rig = rig;
        rig->nodes[id].server = id;
    }
    return rig;
}

/* Start what the log of the server says. */
static inline void rig_start(struct rig *rig, uint64_t server)
{
    struct rig_node *node = &rig->nodes[server];
    struct group_options options = {
        .number = 7,
        .server = server,
        .seed = server,
        .election_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .voter_count = rig->voters,
        .inflight_bytes_max = rig->inflight_max,
        .lag_max = rig->lag_max,
        .guards_off = rig->guards_off,
    };
    struct group_io io = {
        .ctx = node,
        .now_ms = rig_now,
        .append = rig_append,
        .send = rig_send,
        .send_queued = rig_send_queued,
        .apply = rig_apply,
        .leader = rig_leader,
        .load = rig_load,
        .read_done = rig_read_done,
        .fatal = rig_fatal,
    };

    for (uint32_t i = 0; i < rig->voters; i++)
        options.voters[i] = i + 1;
    cr_assert_eq(group_new(&options, &io, &node->group), ERR_OK, "%s", err_detail());
    for (uint64_t i = 0; i < node->stream; i++) {
        if (node->records[i].kind != 0)
            cr_assert_eq(group_replay(node->group, &node->records[i]), ERR_OK, "%s", err_detail());
    }
    if (node->silent)
        return;
    if (node->install != NULL)
        cr_assert_eq(group_install(node->group, node->install), ERR_OK, "%s", err_detail());
    cr_assert_eq(group_start(node->group, node->sealed), ERR_OK, "%s", err_detail());
}

/* Messages to servers that are not there. */
static inline void rig_forget_lost(struct rig *rig)
{
    while (rig->lost_count > 0)
        group_message_free(rig->lost[--rig->lost_count].message);
}

/* The oldest of that kind on the way to `to`; the test frees it. Older ones are forgotten. NULL:
 * none. */
static inline struct group_message *rig_take(struct rig *rig, uint64_t to,
                                             enum group_message_kind kind)
{
    struct group_message *found = NULL;
    uint32_t at = 0;

    while (found == NULL && at < rig->lost_count) {
        struct rig_lost *lost = &rig->lost[at++];

        rig->taken_urgent = lost->urgent;
        if (lost->to == to && lost->message->kind == kind)
            found = lost->message;
        else
            group_message_free(lost->message);
    }
    rig->lost_count -= at;
    memmove(rig->lost, rig->lost + at, rig->lost_count * sizeof rig->lost[0]);
    return found;
}

static inline struct rig *rig_up(uint32_t servers)
{
    struct rig *rig = rig_new(servers, servers, 0);

    for (uint64_t id = 1; id <= servers; id++)
        rig_start(rig, id);
    return rig;
}

/* The process dies, and with it what was not durable. */
static inline void rig_kill(struct rig *rig, uint64_t server)
{
    struct rig_node *node = &rig->nodes[server];

    group_free(node->group);
    node->group = NULL;
    while (node->stream > node->durable)
        buf_unref(node->records[--node->stream].payload);
    node->told = node->durable;
    node->load_count = 0;
    node->applied_count = 0;
}

/* The files of its log that the group does not need are gone. */
static inline void rig_release(struct rig *rig, uint64_t server)
{
    struct rig_node *node = &rig->nodes[server];
    uint64_t keep_after = group_keep_after(node->group);

    for (uint64_t i = 0; i < node->durable; i++) {
        struct log_record *record = &node->records[i];

        if (record->kind != LOG_ENTRY || record->index > keep_after)
            continue;
        buf_unref(record->payload);
        *record = (struct log_record){0};
    }
}

static inline void rig_free(struct rig *rig)
{
    for (uint64_t id = 1; id <= rig->servers; id++) {
        struct rig_node *node = &rig->nodes[id];

        group_free(node->group);
        for (uint64_t i = 0; i < node->stream; i++)
            buf_unref(node->records[i].payload);
    }
    for (; rig->mail_count > 0; rig->mail_count--, rig->mail_first++)
        bytes_fini(&rig->mail[rig->mail_first % RIG_QUEUE_MAX].bytes);
    rig_forget_lost(rig);
    free(rig);
}

/* ---- Time ---------------------------------------------------------------------------------- */

static inline struct group_message *rig_open(struct rig_mail *mail)
{
    struct reader reader = reader_on(mail->bytes.data, mail->bytes.size);
    struct group_message *message;
    uint32_t number;

    cr_assert_eq(raft_wire_get(&reader, &number, &message), ERR_OK, "%s", err_detail());
    cr_assert_eq(number, 7);
    cr_assert_eq(raft_wire_get(&reader, &number, &message), ERR_END);
    bytes_fini(&mail->bytes);
    return message;
}

static inline void rig_deliver(struct rig *rig)
{
    while (rig->mail_count > 0 && rig->mail[rig->mail_first].at_ms <= rig->now_ms) {
        struct rig_mail mail = rig->mail[rig->mail_first];
        struct group_message *message = rig_open(&mail);
        struct group *group = rig->nodes[mail.to].group;

        rig->mail_first = (rig->mail_first + 1) % RIG_QUEUE_MAX;
        rig->mail_count--;
        if (group != NULL && !rig->cut[mail.from][mail.to])
            group_receive(group, mail.from, message);
        else
            group_message_free(message);
    }
}

/* All written up to `stream` is on disk now. */
static inline void rig_sync(struct rig_node *node, uint64_t stream)
{
    node->durable = stream;
    for (; node->told < stream; node->told++)
        group_written(node->group, node->records[node->told].index, node->told + 1, node->told + 1);
    group_durable(node->group, stream);
}

static inline void rig_answer_loads(struct rig_node *node)
{
    while (node->load_count > 0) {
        uint64_t index = node->load[0].index, term = node->load[0].term;
        const struct log_record *record = &node->records[node->load[0].position - 1];

        cr_assert_eq(record->kind, LOG_ENTRY);
        cr_assert_eq(record->index, index);
        cr_assert_eq(record->term, term);
        node->load_count--;
        memmove(&node->load[0], &node->load[1], node->load_count * sizeof node->load[0]);
        group_loaded(node->group, index, term, node->loads_fail ? NULL : record->payload);
    }
}

static inline void rig_run(struct rig *rig, uint64_t ms)
{
    for (uint64_t end = rig->now_ms + ms; rig->now_ms < end;) {
        uint64_t written[RIG_SERVERS + 1];

        for (uint64_t id = 1; id <= rig->servers; id++)
            written[id] = rig->nodes[id].stream;
        rig->now_ms++;
        rig_deliver(rig);
        for (uint64_t id = 1; id <= rig->servers; id++) {
            struct rig_node *node = &rig->nodes[id];

            if (node->group == NULL)
                continue;
            rig_answer_loads(node);
            if (written[id] > node->durable && !node->disk_hangs)
                rig_sync(node, written[id]);
            if (group_deadline(node->group) <= rig->now_ms)
                group_tick(node->group);
        }
    }
}

/* ---- Looking and doing --------------------------------------------------------------------- */

static inline struct group_state rig_state(struct rig *rig, uint64_t server)
{
    struct group_state state;

    cr_assert_not_null(rig->nodes[server].group);
    group_state(rig->nodes[server].group, &state);
    return state;
}

/* The ready leader of the highest term, or 0. */
static inline uint64_t rig_leader_of(struct rig *rig)
{
    uint64_t leader = 0, term = 0;

    for (uint64_t id = 1; id <= rig->servers; id++) {
        struct group_state state;

        if (rig->nodes[id].group == NULL)
            continue;
        group_state(rig->nodes[id].group, &state);
        if (state.ready && state.term > term) {
            leader = id;
            term = state.term;
        }
    }
    return leader;
}

static inline uint64_t rig_elect(struct rig *rig)
{
    for (int i = 0; i < 5000; i++) {
        uint64_t leader = rig_leader_of(rig);

        if (leader != 0)
            return leader;
        rig_run(rig, 1);
    }
    cr_assert_fail("no leader after 5 s");
    return 0;
}

static inline struct buf *rig_payload(const char *text)
{
    struct buf *buf = buf_new((uint32_t)strlen(text));

    cr_assert_not_null(buf);
    memcpy(buf->bytes, text, strlen(text));
    buf->size = (uint32_t)strlen(text);
    return buf;
}

static inline enum err rig_propose(struct rig *rig, uint64_t server, const char *text)
{
    struct buf *payload = rig_payload(text);
    uint64_t first;
    enum err err = group_propose(rig->nodes[server].group, &payload, 1, &first);

    buf_unref(payload);
    return err;
}

/* How often this server applied that text. */
static inline uint32_t rig_applied(struct rig *rig, uint64_t server, const char *text)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < rig->nodes[server].applied_count; i++)
        count += strcmp(rig->nodes[server].applied[i], text) == 0;
    return count;
}

#endif
