#include "client/lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/site.h"

/* A leader that takes batches but answers none of them for so long may have lost its peers: another
 * node is asked who leads. */
#define DOUBT_NS UINT64_C(2000000000)

/* A request's number names its lane: answers find their way without a table. */
enum {
    REQUEST_SHARD_SHIFT = 48,
    ATTEMPTS_WITH_LEADER = 2, /* After so many failures in a row the leader is looked up again. */
};

uint32_t lane_of_request(uint64_t request)
{
    return (uint32_t)(request >> REQUEST_SHARD_SHIFT) - 1;
}

void lane_init(struct lane *lane, uint32_t shard)
{
    *lane = (struct lane){.shard = shard, .epoch = 1, .sequence = 1};
}

static bool is_empty(const struct lane *lane)
{
    return !lane->waiting.first && !lane->under_way.first;
}

static struct batch *find_request(const struct lane *lane, uint64_t request)
{
    struct batch *batch = lane->under_way.first;

    while (batch && batch->request != request)
        batch = batch->next;
    return batch;
}

/* From here on nobody listens to what was sent: all of it goes out again. */
static void recall(struct lane *lane)
{
    for (struct batch *batch = lane->under_way.first; batch; batch = batch->next)
        batch->request = 0;
}

/* Tell the caller what became of the batch, unless he has stopped waiting; then forget it. */
static void finish(struct io *io, struct batch *batch, enum err code, const char *text)
{
    if (!batch->told)
        io_answer(io, batch, code, text);
    batch_free(batch);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static enum err send_batch(struct io *io, struct lane *lane, struct batch *batch)
{
    uint64_t request = (uint64_t)(lane->shard + 1) << REQUEST_SHARD_SHIFT | ++io->requests;
    enum err err = batch_stamp(batch, io->producer, lane->epoch);

    if (err == ERR_OK)
        err = session_send(lane->session, FRAME_WRITE, request, batch->entry);
    if (err != ERR_OK)
        return err;
    batch->request = request;
    atomic_fetch_add_explicit(&io->counts.bytes_sent, batch->entry->size, memory_order_relaxed);
    return ERR_OK;
}

static enum err send_all(struct io *io, struct lane *lane)
{
    /* After a failure the first batch goes alone: if it fails again, what would have followed it
     * would only have come back as a gap. */
    uint32_t window = lane->attempts > 0 ? 1 : io->options.inflight;
    uint32_t sent = 0;
    enum err err = ERR_OK;

    for (struct batch *batch = lane->under_way.first; batch && err == ERR_OK && sent < window;
         batch = batch->next, sent++) {
        if (batch->request == 0 && session_is_ready(lane->session)) {
            err = send_batch(io, lane, batch);
            atomic_fetch_add_explicit(&io->counts.retries, 1, memory_order_relaxed);
        }
    }
    while (err == ERR_OK && lane->waiting.first && lane->under_way.count < window &&
           session_is_ready(lane->session)) {
        struct batch *batch = batch_list_take(&lane->waiting);

        batch->sequence = lane->sequence++;
        batch_list_add(&lane->under_way, batch);
        err = send_batch(io, lane, batch);
    }
    return err;
}

/* Send all again after a while. */
static void retry(struct io *io, struct lane *lane, uint32_t at_least_ms, const char *why)
{
    recall(lane);
    snprintf(lane->why, sizeof lane->why, "%s", why);
    lane->attempts++;
    lane->retry_ns = io->now_ns + io_backoff_ns(io, lane->attempts, at_least_ms);
    if (lane->attempts > ATTEMPTS_WITH_LEADER)
        lane->leader = 0;
}

void lane_pump(struct io *io, struct lane *lane)
{
    struct session *session;

    if (is_empty(lane) || io->now_ns < lane->retry_ns)
        return;
    session = lane->leader ? site_session_of(io, lane->leader) : NULL;
    if (!session || !session_is_ready(session)) {
        if (session)
            session_open(session, io->now_ns);
        site_ask_topology(io);
        return;
    }
    if (lane->session != session) {
        recall(lane);
        lane->session = session;
        lane->progress_ns = io->now_ns;
        lane->doubt = false;
    }
    if (!lane->under_way.first)
        lane->progress_ns = io->now_ns;
    if (send_all(io, lane) != ERR_OK)
        retry(io, lane, 0, err_detail());
}

void lane_add(struct io *io, struct lane *lane, struct batch *batch)
{
    if (!batch->entry) {
        finish(io, batch, batch->failed.code, batch->failed.detail);
        return;
    }
    batch->deadline_ns = io->now_ns + io->options.timeout_ns;
    batch_list_add(&lane->waiting, batch);
    lane_pump(io, lane);
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* Later blocks name these series by their ids and need not carry the keys. */
static void learn_ids(struct batch *batch, const struct message_write_ok *ok)
{
    if (ok->id_count != batch->fresh_count)
        return; /* A repeated batch may be answered without them. */
    for (uint32_t i = 0; i < ok->id_count; i++) {
        uint32_t id;

        memcpy(&id, ok->ids + (size_t)i * sizeof id, sizeof id);
        atomic_store_explicit(&batch->fresh[i]->id, id, memory_order_relaxed);
    }
}

enum err lane_written(struct io *io, struct lane *lane, uint64_t request,
                      const struct message_write_ok *ok)
{
    struct batch *batch = find_request(lane, request);

    if (!batch)
        return ERR_OK; /* An answer to an earlier sending. */
    if (ok->shard != lane->shard || ok->sequence != batch->sequence)
        return err_set(ERR_INVALID,
                       "a batch with sequence %" PRIu64 " of shard %u was answered as %" PRIu64
                       " of shard %u",
                       batch->sequence, (unsigned)lane->shard, ok->sequence, (unsigned)ok->shard);
    learn_ids(batch, ok);
    lane->attempts = 0;
    lane->why[0] = '\0';
    lane->doubt = false;
    lane->progress_ns = io->now_ns;
    batch_list_remove(&lane->under_way, batch);
    finish(io, batch, ERR_OK, "");
    lane_pump(io, lane);
    return ERR_OK;
}

static void begin_epoch(struct lane *lane)
{
    lane->epoch++;
    lane->sequence = 1;
    for (struct batch *batch = lane->under_way.first; batch; batch = batch->next)
        batch->sequence = lane->sequence++;
    recall(lane);
}

/* `leader` 0: ask the site. */
static void follow_leader(struct io *io, struct lane *lane, uint64_t leader, uint32_t at_least_ms,
                          const char *why)
{
    bool at_once = leader != 0 && leader != lane->leader && lane->attempts == 0;

    retry(io, lane, at_least_ms, why);
    /* The first hint is good nearly always. When two nodes point at each other, wait. */
    if (at_once)
        lane->retry_ns = io->now_ns;
    lane->leader = leader;
    lane_pump(io, lane);
}

/* Some rows are older than what their database keeps: those are told, the others go on. False: the
 * whole batch is refused. */
static bool leave_old_behind(struct io *io, struct batch *batch, int64_t cutoff_ns)
{
    struct err_note why;
    struct batch *old = NULL;
    enum err err;

    err_save(&why, ERR_TOO_OLD);
    err = batch_split(batch, cutoff_ns, &old);
    (void)err_restore(&why);
    if (err != ERR_OK)
        return false;
    if (batch->told)
        batch_free(old); /* So were they. */
    else
        io_answer_part(io, old, ERR_TOO_OLD, err_detail());
    return true;
}

enum err lane_refused(struct io *io, struct lane *lane, uint64_t request,
                      const struct message_error *error)
{
    struct batch *batch = find_request(lane, request);
    enum err code = error->code < ERR_COUNT ? (enum err)error->code : ERR_INVALID;
    const struct session_address *node;

    if (!batch)
        return ERR_OK; /* An answer to an earlier sending. */
    node = session_address(lane->session);
    code = err_set(code, "node %s:%u, shard %u: %s: %.*s", node->host, (unsigned)node->port,
                   (unsigned)lane->shard, err_name(code), (int)error->text.size, error->text.data);
    if (code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE) {
        follow_leader(io, lane, error->leader, error->retry_ms, err_detail());
    } else if (code == ERR_SEQUENCE && batch == lane->under_way.first) {
        /* Everything before it was answered, so the site's memory of this producer is gone. */
        begin_epoch(lane);
        retry(io, lane, error->retry_ms, err_detail());
    } else if (io_is_transient(error)) {
        retry(io, lane, error->retry_ms, err_detail());
    } else {
        /* Nothing of it is stored, nor of what follows it: all that is left is numbered anew. */
        if (code != ERR_TOO_OLD || !leave_old_behind(io, batch, error->cutoff_ns)) {
            batch_list_remove(&lane->under_way, batch);
            finish(io, batch, code, err_detail());
        }
        begin_epoch(lane);
        lane_pump(io, lane);
    }
    return ERR_OK;
}

/* ---- What happens to it -------------------------------------------------------------------- */

void lane_set_leader(struct io *io, struct lane *lane, uint64_t leader)
{
    struct session *session = lane->leader ? site_session_of(io, lane->leader) : NULL;

    if (leader == 0 || leader == lane->leader ||
        (session && session_is_ready(session) && !lane->doubt))
        return;
    lane->doubt = false;
    lane->progress_ns = io->now_ns;
    lane->leader = leader;
    lane_pump(io, lane);
}

void lane_lost(struct io *io, struct lane *lane, struct session *session)
{
    if (lane->session != session)
        return;
    lane->session = NULL;
    if (!lane->under_way.first)
        return;
    recall(lane);
    snprintf(lane->why, sizeof lane->why, "%s", session_why(session));
    site_ask_topology(io);
}

static void give_up(struct io *io, struct lane *lane, struct batch *batch)
{
    bool sent = batch->sequence != 0;
    enum err code = err_set(
        sent ? ERR_TIMEOUT : ERR_UNAVAILABLE, "shard %u: a batch %s within %" PRIu64 " ms: %s",
        (unsigned)lane->shard, sent ? "got no answer" : "could not be sent",
        io->options.timeout_ns / 1000000, *lane->why ? lane->why : "no leader is known");

    io_answer(io, batch, code, err_detail());
    batch->told = true;
}

bool lane_tick(struct io *io, struct lane *lane)
{
    for (struct batch *batch = lane->under_way.first; batch; batch = batch->next) {
        if (!batch->told && io->now_ns >= batch->deadline_ns)
            give_up(io, lane, batch);
    }
    while (lane->waiting.first && io->now_ns >= lane->waiting.first->deadline_ns) {
        struct batch *batch = batch_list_take(&lane->waiting);

        give_up(io, lane, batch);
        batch_free(batch);
    }
    if (lane->session && lane->under_way.first && io->now_ns - lane->progress_ns > DOUBT_NS) {
        lane->doubt = true;
        site_ask_topology(io);
    }
    lane_pump(io, lane);
    return !is_empty(lane);
}

void lane_abandon(struct io *io, struct lane *lane)
{
    struct batch *batch;

    while ((batch = batch_list_take(&lane->under_way)))
        finish(io, batch, ERR_TIMEOUT, "the client was closed before the answer came");
    while ((batch = batch_list_take(&lane->waiting)))
        finish(io, batch, ERR_CANCELED, "the client was closed before it was sent");
}
