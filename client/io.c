#include "client/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/call.h"
#include "client/lane.h"
#include "client/rows.h"
#include "client/site.h"
#include "storage/base/check.h"

#define BACKOFF_FIRST_NS UINT64_C(5000000)
#define BACKOFF_MAX_NS   UINT64_C(500000000)

enum { REQUESTS_FIRST = 16, TICK_MS_MAX = 10 };

/* ---- Small things that lanes and calls ask for --------------------------------------------- */

static uint64_t next_random(struct io *io)
{
    io->random ^= io->random << 13;
    io->random ^= io->random >> 7;
    io->random ^= io->random << 17;
    return io->random;
}

uint64_t io_backoff_ns(struct io *io, uint32_t attempts, uint32_t at_least_ms)
{
    uint64_t delay_ns = BACKOFF_FIRST_NS;

    for (uint32_t i = 1; i < attempts && delay_ns < BACKOFF_MAX_NS; i++)
        delay_ns *= 2;
    if (delay_ns < at_least_ms * UINT64_C(1000000))
        delay_ns = at_least_ms * UINT64_C(1000000);
    /* Many clients were refused at the same moment: they should not come back together. */
    return delay_ns + next_random(io) % (delay_ns / 2);
}

bool io_is_transient(const struct message_error *error)
{
    switch (error->code) {
    case ERR_NO_MEMORY:
    case ERR_IO:
    case ERR_NOT_LEADER:
    case ERR_BUSY:
    case ERR_TIMEOUT:
    case ERR_CANCELED:
    case ERR_UNAVAILABLE:
    case ERR_DISK_FULL:
    case ERR_SEQUENCE:
        return true;
    default:
        return error->retry_ms > 0;
    }
}

/* Tell of its rows, and count them. */
static void tell(struct io *io, const struct batch *batch, enum err code, const char *text)
{
    struct io_counts *counts = &io->counts;
    struct millrace_ack ack = {
        .code = (enum millrace_code)code,
        .shard = batch->shard,
        .sequence = batch->sequence,
        .rows = batch->rows,
        .points = batch->points,
        .sent_ns = batch->first_ns,
        .done_ns = uv_hrtime(),
        .tags = batch->tags,
        .text = text,
    };

    if (io->options.on_ack)
        io->options.on_ack(io->options.ctx, &ack);
    if (code == ERR_OK) {
        atomic_fetch_add_explicit(&counts->rows_acknowledged, batch->rows, memory_order_relaxed);
        atomic_fetch_add_explicit(&counts->points_acknowledged, batch->points,
                                  memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&counts->rows_failed, batch->rows, memory_order_relaxed);
    }
}

/* Under the mutex. */
static void keep_failure(struct io *io, enum err code, const char *text)
{
    if (code != ERR_OK && io->failed.code == ERR_OK) {
        io->failed.code = code;
        snprintf(io->failed.detail, sizeof io->failed.detail, "%s", text);
    }
}

void io_answer(struct io *io, struct batch *batch, enum err code, const char *text)
{
    tell(io, batch, code, text);
    atomic_fetch_add_explicit(&io->counts.batches, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&io->counts.bytes_pending, batch->bytes, memory_order_relaxed);

    pthread_mutex_lock(&io->mutex);
    io->batches_out++;
    keep_failure(io, code, text);
    pthread_cond_broadcast(&io->changed);
    pthread_mutex_unlock(&io->mutex);
}

/* The batch that it was a part of is still to be answered: who waits for that one waits on. */
void io_answer_part(struct io *io, struct batch *part, enum err code, const char *text)
{
    tell(io, part, code, text);
    pthread_mutex_lock(&io->mutex);
    keep_failure(io, code, text);
    pthread_mutex_unlock(&io->mutex);
    batch_free(part);
}

/* ---- Time ---------------------------------------------------------------------------------- */

static void io_tick_cb(uv_timer_t *tick)
{
    struct io *io = tick->data;
    struct rows *rows;
    struct call *next;
    bool busy = io->shards == 0; /* io_start() waits. */

    io->now_ns = uv_hrtime();
    if (busy)
        (void)site_session_any(io);
    for (uint32_t i = 0; i < io->shards; i++) {
        if (lane_tick(io, &io->lanes[i]))
            busy = true;
    }
    for (struct call *call = io->calls; call; call = next) {
        next = call->next;
        call_tick(io, call);
    }
    if (io->calls)
        busy = true;
    for (uint32_t i = 0; i < io->session_count; i++)
        session_tick(io->sessions[i], io->now_ns);

    /* rows.c calls io_submit() from in here, so the mutex must not be held; io_linger() waits for
     * `in_rows` before the rows may go. */
    pthread_mutex_lock(&io->mutex);
    rows = io->rows;
    io->in_rows = rows != NULL;
    pthread_mutex_unlock(&io->mutex);
    if (rows) {
        if (rows_linger(rows, io->now_ns))
            busy = true;
        pthread_mutex_lock(&io->mutex);
        io->in_rows = false;
        pthread_cond_broadcast(&io->changed);
        pthread_mutex_unlock(&io->mutex);
    }
    /* Nothing is lost by stopping: whoever adds work rings the bell after he has added it. */
    if (!busy)
        uv_timer_stop(tick);
}

static void start_ticking(struct io *io)
{
    uint64_t period_ms = io->options.linger_ns / 1000000 / 4;

    if (period_ms < 1)
        period_ms = 1;
    if (period_ms > TICK_MS_MAX)
        period_ms = TICK_MS_MAX;
    if (!uv_is_active((uv_handle_t *)&io->tick)) {
        uv_update_time(&io->loop);
        uv_timer_start(&io->tick, io_tick_cb, 0, period_ms); /* What is new must not wait. */
    }
}

/* ---- The bell ------------------------------------------------------------------------------ */

/* Everything that holds the loop goes; session_close() was called for each open session. */
static void stop(struct io *io)
{
    for (uint32_t i = 0; i < io->shards; i++)
        lane_abandon(io, &io->lanes[i]);
    call_abandon_all(io);
    for (uint32_t i = 0; i < io->session_count; i++)
        session_close(io->sessions[i], "the client was closed");
    uv_close((uv_handle_t *)&io->tick, NULL);
    uv_close((uv_handle_t *)&io->doorbell, NULL);
}

static void io_doorbell_cb(uv_async_t *doorbell)
{
    struct io *io = doorbell->data;
    struct batch_list submitted;
    struct batch *batch;
    struct call *call, *next;
    bool stopping;

    io->now_ns = uv_hrtime();
    pthread_mutex_lock(&io->mutex);
    submitted = io->submitted;
    io->submitted = (struct batch_list){0};
    call = io->called;
    io->called = NULL;
    stopping = io->stop;
    pthread_mutex_unlock(&io->mutex);

    start_ticking(io);
    while ((batch = batch_list_take(&submitted)))
        lane_add(io, &io->lanes[batch->shard], batch);
    for (; call; call = next) {
        next = call->next;
        call_start(io, call);
    }
    if (stopping)
        stop(io);
}

static void run(void *arg)
{
    struct io *io = arg;

    uv_run(&io->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&io->loop) == 0);
}

/* ---- Callers' side ------------------------------------------------------------------------- */

void io_wake(struct io *io)
{
    uv_async_send(&io->doorbell);
}

void io_submit(struct io *io, struct batch *batch)
{
    atomic_fetch_add_explicit(&io->counts.bytes_pending, batch->bytes, memory_order_relaxed);
    pthread_mutex_lock(&io->mutex);
    batch_list_add(&io->submitted, batch);
    io->batches_in++;
    pthread_mutex_unlock(&io->mutex);
    io_wake(io);
}

uint32_t io_shards(struct io *io)
{
    uint32_t shards;

    pthread_mutex_lock(&io->mutex);
    shards = io->shards;
    pthread_mutex_unlock(&io->mutex);
    return shards;
}

void io_topology(struct io *io, struct message_topology *ret_topology)
{
    pthread_mutex_lock(&io->mutex);
    *ret_topology = io->topology;
    pthread_mutex_unlock(&io->mutex);
}

void io_linger(struct io *io, struct rows *rows)
{
    pthread_mutex_lock(&io->mutex);
    while (io->in_rows)
        pthread_cond_wait(&io->changed, &io->mutex);
    io->rows = rows;
    pthread_mutex_unlock(&io->mutex);
}

/* Wait for a change with the mutex held; false when it is `until_ns`. */
static bool wait_changed(struct io *io, uint64_t until_ns)
{
    uint64_t now_ns = uv_hrtime();

    if (now_ns >= until_ns)
        return false;
    thread_wait(&io->changed, &io->mutex, (until_ns - now_ns) / 1000000 + 1);
    return true;
}

enum err io_call(struct io *io, struct call *calls, uint32_t count)
{
    struct err_note first = {.code = ERR_OK};

    pthread_mutex_lock(&io->mutex);
    for (uint32_t i = 0; i < count; i++) {
        calls[i].next = io->called;
        io->called = &calls[i];
    }
    pthread_mutex_unlock(&io->mutex);
    io_wake(io);

    pthread_mutex_lock(&io->mutex);
    for (uint32_t i = 0; i < count; i++) {
        while (!calls[i].done)
            pthread_cond_wait(&io->changed, &io->mutex);
        if (first.code == ERR_OK)
            first = calls[i].result;
    }
    pthread_mutex_unlock(&io->mutex);
    return err_restore(&first);
}

enum err io_flush(struct io *io, uint64_t wait_ns)
{
    uint64_t until_ns = uv_hrtime() + wait_ns;
    struct err_note failed;
    uint64_t target, left;

    pthread_mutex_lock(&io->mutex);
    target = io->batches_in;
    while (io->batches_out < target && wait_changed(io, until_ns))
        ;
    left = io->batches_out < target ? target - io->batches_out : 0;
    failed = io->failed;
    if (left == 0)
        io->failed.code = ERR_OK;
    pthread_mutex_unlock(&io->mutex);
    if (left > 0)
        return err_set(ERR_TIMEOUT, "%" PRIu64 " batches are not answered yet", left);
    return failed.code == ERR_OK ? ERR_OK : err_restore(&failed);
}

enum err io_wait_room(struct io *io, size_t bytes, uint64_t wait_ns)
{
    uint64_t until_ns = uv_hrtime() + wait_ns;
    enum err err = ERR_OK;

    pthread_mutex_lock(&io->mutex);
    while (atomic_load_explicit(&io->counts.bytes_pending, memory_order_relaxed) >= bytes &&
           err == ERR_OK) {
        if (!wait_changed(io, until_ns))
            err = ERR_TIMEOUT;
    }
    pthread_mutex_unlock(&io->mutex);
    return err == ERR_OK ? ERR_OK
                         : err_set(err, "batches under way took %zu bytes for %" PRIu64 " ms",
                                   bytes, wait_ns / 1000000);
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* False: there is no topology, and waiting longer will not help. */
static bool wait_for_site(struct io *io, uint64_t wait_ns)
{
    uint64_t until_ns = uv_hrtime() + wait_ns;
    bool waiting = true;
    bool found;

    pthread_mutex_lock(&io->mutex);
    while (io->shards == 0 && !io->hopeless && waiting)
        waiting = wait_changed(io, until_ns);
    found = io->shards != 0;
    pthread_mutex_unlock(&io->mutex);
    return found;
}

static enum err describe_seeds(const struct io *io)
{
    char text[ERR_DETAIL_MAX] = "";
    size_t at = 0;

    for (uint32_t i = 0; i < io->options.seed_count && at < sizeof text; i++) {
        const struct session_address *seed = &io->options.seeds[i];
        const char *why = i < io->session_count ? session_why(io->sessions[i]) : "";
        int size;

        if (*why)
            size = snprintf(text + at, sizeof text - at, "%s%s", i ? "; " : "", why);
        else
            size = snprintf(text + at, sizeof text - at, "%s%s:%u: no answer", i ? "; " : "",
                            seed->host, (unsigned)seed->port);
        at += (size_t)size;
    }
    return err_set(ERR_UNAVAILABLE, "no node can be reached: %s", text);
}

static enum err init_loop(struct io *io)
{
    int status = uv_loop_init(&io->loop);

    if (status < 0)
        return err_set(ERR_NO_MEMORY, "an event loop: %s", uv_strerror(status));
    status = uv_async_init(&io->loop, &io->doorbell, io_doorbell_cb);
    if (status < 0) {
        uv_loop_close(&io->loop);
        return err_set(ERR_NO_MEMORY, "an event loop's bell: %s", uv_strerror(status));
    }
    uv_timer_init(&io->loop, &io->tick); /* Cannot fail. */
    io->doorbell.data = io->tick.data = io;
    return ERR_OK;
}

static enum err init_random(struct io *io)
{
    while (io->producer == 0 || io->random == 0) {
        if (getrandom(&io->producer, sizeof io->producer, 0) < 0 ||
            getrandom(&io->random, sizeof io->random, 0) < 0)
            return err_set(ERR_IO, "getrandom: %s", strerror(errno));
    }
    return ERR_OK;
}

/* The loop ends when stop() has closed all that is in it. */
static void end_thread(struct io *io)
{
    pthread_mutex_lock(&io->mutex);
    io->stop = true;
    pthread_mutex_unlock(&io->mutex);
    io_wake(io);
    thread_join(&io->thread);
}

static void free_io(struct io *io)
{
    for (uint32_t i = 0; i < io->session_count; i++)
        session_free(io->sessions[i]);
    pthread_mutex_destroy(&io->mutex);
    pthread_cond_destroy(&io->changed);
    free(io->lanes);
    free(io);
}

static enum err start_thread_and_wait(struct io *io, uint64_t wait_ns)
{
    enum err err = thread_start(&io->thread, "millrace-io", 0, run, io);

    if (err != ERR_OK) {
        uv_close((uv_handle_t *)&io->tick, NULL);
        uv_close((uv_handle_t *)&io->doorbell, NULL);
        run(io);
        return err;
    }
    io_wake(io); /* Starts the clock, and so the first connections. */
    if (wait_for_site(io, wait_ns))
        return ERR_OK;
    end_thread(io);
    return describe_seeds(io);
}

enum err io_start(const struct io_options *options, uint64_t wait_ns, struct io **ret_io)
{
    struct io *io = calloc(1, sizeof *io);
    enum err err;

    if (!io)
        return err_set(ERR_NO_MEMORY, "a client");
    io->options = *options;
    io->requests = REQUESTS_FIRST;
    pthread_mutex_init(&io->mutex, NULL);
    thread_cond_init(&io->changed);
    err = init_random(io);
    if (err == ERR_OK)
        err = site_init(io);
    if (err == ERR_OK)
        err = init_loop(io);
    if (err == ERR_OK)
        err = start_thread_and_wait(io, wait_ns);
    if (err != ERR_OK) {
        free_io(io);
        return err;
    }
    *ret_io = io;
    return ERR_OK;
}

void io_stop(struct io *io)
{
    end_thread(io);
    free_io(io);
}
