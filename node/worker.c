#include "node/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/compactor.h"
#include "node/ingest_internal.h"
#include "node/meta.h"
#include "node/parts.h"
#include "node/rejoin.h"
#include "node/scrub.h"
#include "node/shard.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/base/turnstile.h"

enum {
    MAIL_CAPACITY = 1024, /* Descriptors in each ring between two workers. */
    MAIL_A_TURN = 256,    /* Then sockets and timers get their turn. */
    SLOW_TICK_MS = 100,
    HAND_OVER_MS_MAX = 1000, /* Longer than an election: then somebody else leads anyway. */
};

uint64_t worker_now_ms(void)
{
    return clk_now_ns() / 1000000;
}

/* ---- Mail ---------------------------------------------------------------------------------- */

struct mail_spill {
    struct mail *items; /* Owned. */
    uint32_t count;
    uint32_t capacity;
};

static void bell_wake(void *arg)
{
    struct worker *worker = arg;

    (void)uv_async_send(&worker->bell);
}

static void spill_add(struct mail_spill *spill, struct mail mail)
{
    if (spill->count == spill->capacity) {
        uint32_t capacity = spill->capacity == 0 ? 64 : spill->capacity * 2;
        struct mail *items = realloc(spill->items, capacity * sizeof *items);

        if (items == NULL) {
            log_error("no memory for mail between workers");
            abort();
        }
        spill->items = items;
        spill->capacity = capacity;
    }
    spill->items[spill->count++] = mail;
}

void worker_call(struct worker *from, struct worker *to, mail_run run, void *arg)
{
    struct mail mail = {run, arg};
    struct mail_spill *spill;

    if (from == to) {
        run(to, arg);
        return;
    }
    spill = &from->spill[to->number];
    if (spill->count > 0 || !mailbox_put(&to->in[from->number], &mail))
        spill_add(spill, mail); /* Behind what waits already: mail keeps its order. */
}

static void move_spill(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->node->worker_count; i++) {
        struct mail_spill *spill = &worker->spill[i];
        uint32_t sent = 0;

        while (sent < spill->count &&
               mailbox_put(&worker->node->workers[i].in[worker->number], &spill->items[sent]))
            sent++;
        if (sent == 0)
            continue;
        spill->count -= sent;
        memmove(spill->items, spill->items + sent, spill->count * sizeof *spill->items);
    }
}

static void run_mail(void *arg, const void *message)
{
    struct mail mail;

    memcpy(&mail, message, sizeof mail);
    mail.run(arg, mail.arg);
}

/* ---- The pool ------------------------------------------------------------------------------ */

static void pool_run(uv_work_t *work)
{
    struct pool_job *job = CONTAINER_OF(work, struct pool_job, work);

    turnstile_enter();
    job->run(job);
    turnstile_leave();
}

static void pool_done(uv_work_t *work, int status)
{
    struct pool_job *job = CONTAINER_OF(work, struct pool_job, work);

    CHECK(status == 0); /* Nobody cancels. */
    job->worker->pool_jobs--;
    job->done(job);
}

void worker_pool(struct worker *worker, struct pool_job *job)
{
    job->worker = worker;
    worker->pool_jobs++;
    CHECK(uv_queue_work(&worker->loop, &job->work, pool_run, pool_done) == 0);
}

/* ---- Groups -------------------------------------------------------------------------------- */

static void entry_written(void *arg, const struct log_done *done)
{
    struct worker *worker = arg;
    struct shard *shard = shard_find(worker, done->group);

    if (done->kind == LOG_ENTRY && shard != NULL)
        group_written(shard->group, done->index, done->stream, done->position);
}

static void collect_log(struct worker *worker)
{
    uint64_t durable = log_port_collect(worker->log, entry_written, worker);

    if (durable == worker->durable)
        return;
    worker->durable = durable;
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count)
        group_durable(worker->groups[g]->group, durable);
}

static void arm_group_timer(struct worker *worker);

static void group_timer_cb(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now_ms = worker_now_ms();

    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count) {
        if (group_deadline(worker->groups[g]->group) <= now_ms)
            group_tick(worker->groups[g]->group);
    }
}

static void arm_group_timer(struct worker *worker)
{
    uint64_t nearest = UINT64_MAX;
    uint64_t now_ms = worker_now_ms();

    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count) {
        uint64_t deadline = group_deadline(worker->groups[g]->group);

        nearest = deadline < nearest ? deadline : nearest;
    }
    if (nearest == worker->armed_ms && uv_is_active((uv_handle_t *)&worker->group_timer))
        return;
    worker->armed_ms = nearest;
    uv_update_time(&worker->loop);
    (void)uv_timer_start(&worker->group_timer, group_timer_cb,
                         nearest <= now_ms ? 0 : nearest - now_ms, 0);
}

/* ---- A turn of the loop -------------------------------------------------------------------- */

/* What threads of their own ask other nodes for. */
static void serve_threads(struct worker *worker)
{
    scrub_serve(worker->node->scrub, worker);
    rejoin_serve(worker->node->rejoin, worker);
}

/* This node is new, as it turned out: what a start does. */
static void start_held(struct worker *worker)
{
    enum err err = ERR_OK;

    if (!worker->held || rejoin_holds(worker->node->rejoin) || worker->phase != WORKER_RUNNING)
        return;
    worker->held = false;
    for (uint32_t g = worker->number; g < worker->node->groups && err == ERR_OK;
         g += worker->node->worker_count) {
        worker->groups[g]->silent = false;
        err = shard_start(worker->groups[g]);
    }
    if (err == ERR_OK)
        return;
    log_error("stops the node: worker %u: %s: %s", worker->number, err_name(err), err_detail());
    _exit(EXIT_FAILURE);
}

static void bell_cb(uv_async_t *bell)
{
    struct worker *worker = bell->data;

    for (uint32_t i = 0; i < worker->node->worker_count; i++) {
        if (i != worker->number)
            (void)mailbox_drain(&worker->in[i], MAIL_A_TURN, run_mail, worker);
    }
    collect_log(worker);
    start_held(worker);
    if (worker->number == 0 && worker->phase != WORKER_CLOSING)
        serve_threads(worker);
    compactor_collect(worker->node->compactor, worker);
}

/* All that this turn produced leaves now. */
static void worker_turn(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;

    worker->turns++;
    if (worker->phase == WORKER_CLOSING) {
        move_spill(worker); /* Answers for those who still wait. */
        return;
    }
    parts_flush(worker);
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count)
        shard_publish(worker->groups[g]);
    log_port_flush(worker->log);
    links_flush(worker->links);
    move_spill(worker);
    arm_group_timer(worker);
}

static void slow_timer_cb(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now_ms = worker_now_ms();

    router_tick(worker, now_ms);
    shard_tick_all(worker, now_ms);
    shard_tell_damage(worker, now_ms);
    parts_tick(worker, now_ms);
}

/* ---- Stopping ------------------------------------------------------------------------------ */

static bool leads_any(struct worker *worker)
{
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count) {
        if (worker->groups[g]->led_since_ms != 0)
            return true;
    }
    return false;
}

static void part_closed(struct worker *worker)
{
    CHECK(worker->closing > 0);
    worker->closing--;
}

static void links_closed(void *ctx)
{
    part_closed(ctx);
}

static void close_all(struct worker *worker)
{
    worker->phase = WORKER_CLOSING;
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count)
        shard_fail_all(worker->groups[g], ERR_CANCELED, "the node stops");
    router_close(worker);
    worker->closing += 1;
    parts_close(worker, part_closed);
    links_close(worker->links, links_closed);
    uv_close((uv_handle_t *)&worker->group_timer, NULL);
    uv_close((uv_handle_t *)&worker->slow_timer, NULL);
}

/* Everything that we were asked before the stop is answered. */
static bool is_done(const struct worker *worker)
{
    return worker->requests == 0 && worker->query_count == 0 && ingest_is_idle(worker->ingest);
}

static bool is_idle(const struct worker *worker)
{
    return worker->closing == 0 && worker->pool_jobs == 0 && worker->requests == 0 &&
           worker->query_count == 0;
}

/* Leadership goes to others; a transfer that did not succeed is tried again. */
static void hand_over(struct worker *worker)
{
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count) {
        struct shard *shard = worker->groups[g];
        enum err err;

        if (shard->led_since_ms == 0)
            continue;
        err = group_transfer(shard->group, 0);
        (void)err; /* One is running, or nobody is there to take over. */
    }
}

/* Runs every few milliseconds while the worker stops. */
static void stop_step(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    bool alone = worker->node->options.cluster.node_count == 1;
    uint64_t waited_ms = worker_now_ms() - worker->phase_since_ms;

    if (worker->phase == WORKER_HANDING_OVER) {
        bool leads = !alone && leads_any(worker);

        if (leads)
            hand_over(worker);
        if (leads && waited_ms > HAND_OVER_MS_MAX)
            log_warn("worker %u: leadership was not taken over within %d ms", worker->number,
                     (int)HAND_OVER_MS_MAX);
        if (waited_ms > HAND_OVER_MS_MAX)
            atomic_store(&worker->node->closing, true);
        if ((!leads && is_done(worker)) || waited_ms > HAND_OVER_MS_MAX)
            close_all(worker);
    }
    if (worker->phase == WORKER_CLOSING && is_idle(worker) && !worker->counted_idle) {
        worker->counted_idle = true;
        atomic_fetch_add(&worker->node->workers_idle, 1);
    }
    /* Others may still ask us something that they wait for: the last one lets all go. */
    if (is_idle(worker) && atomic_load(&worker->node->workers_idle) == worker->node->worker_count) {
        uv_close((uv_handle_t *)&worker->stop_timer, NULL);
        uv_close((uv_handle_t *)&worker->prepare, NULL);
        uv_unref((uv_handle_t *)&worker->bell); /* Others may ring it until they have ended, too. */
    }
}

static void begin_stop(struct worker *worker)
{
    worker->phase = WORKER_HANDING_OVER;
    worker->phase_since_ms = worker_now_ms();
    parts_stop_taking(worker);
    (void)uv_timer_start(&worker->stop_timer, stop_step, 0, 2);
}

static void stop_cb(uv_async_t *async)
{
    struct worker *worker = async->data;

    uv_close((uv_handle_t *)async, NULL);
    if (worker->phase == WORKER_RUNNING)
        begin_stop(worker);
}

void worker_stop(struct worker *worker)
{
    (void)uv_async_send(&worker->stop_bell);
}

/* ---- Starting ------------------------------------------------------------------------------ */

enum err worker_init(struct worker *worker, struct node *node, uint32_t number)
{
    *worker = (struct worker){.node = node, .number = number};
    worker->scans_end = &worker->scans;
    worker->groups = calloc(node->groups, sizeof(struct shard *));
    worker->in = aligned_alloc(CACHE_LINE, node->worker_count * sizeof *worker->in);
    worker->spill = calloc(node->worker_count, sizeof *worker->spill);
    if (worker->groups == NULL || worker->in == NULL || worker->spill == NULL)
        return err_set(ERR_NO_MEMORY, "worker %u", number);
    memset(worker->in, 0, node->worker_count * sizeof *worker->in);
    for (uint32_t i = 0; i < node->worker_count; i++) {
        enum err err =
            mailbox_init(&worker->in[i], MAIL_CAPACITY, sizeof(struct mail), bell_wake, worker);

        if (err != ERR_OK)
            return err;
    }
    if (uv_loop_init(&worker->loop) != 0 ||
        uv_async_init(&worker->loop, &worker->bell, bell_cb) != 0 ||
        uv_async_init(&worker->loop, &worker->stop_bell, stop_cb) != 0)
        return err_set(ERR_IO, "worker %u: no event loop (too many open files?)", number);
    if (uv_sem_init(&worker->begun, 0) != 0)
        return err_set(ERR_NO_MEMORY, "worker %u: a semaphore", number);
    (void)uv_prepare_init(&worker->loop, &worker->prepare);
    (void)uv_timer_init(&worker->loop, &worker->group_timer);
    (void)uv_timer_init(&worker->loop, &worker->slow_timer);
    (void)uv_timer_init(&worker->loop, &worker->stop_timer);
    worker->bell.data = worker;
    worker->stop_bell.data = worker;
    worker->prepare.data = worker;
    worker->group_timer.data = worker;
    worker->slow_timer.data = worker;
    worker->stop_timer.data = worker;
    return ERR_OK;
}

static enum err copy_schema(struct worker *worker)
{
    const struct schema_map *schema = meta_schema(worker->node->meta);
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < schema->database_count && err == ERR_OK; i++) {
        const struct schema_database *database = &schema->databases[i];

        err = schema_map_set_database(
            &worker->schema, (struct slice){database->name, strlen(database->name)}, database);
    }
    for (uint32_t i = 0; i < schema->capacity && err == ERR_OK; i++) {
        const struct schema_field *field = &schema->slots[i];

        if (field->type != 0)
            err = schema_map_add(
                &worker->schema, (struct slice){field->table_key, field->table_key_size},
                (struct slice){field->name, field->name_size}, (enum field_type)field->type);
    }
    return err;
}

/* Its groups apply what the log has, the listeners open: each worker for itself, side by side. */
static enum err begin(struct worker *worker)
{
    enum err err = ERR_OK;

    for (uint32_t g = worker->number; g < worker->node->groups && err == ERR_OK;
         g += worker->node->worker_count) {
        if (g > 0) /* That one was started before the others began. */
            err = shard_start(worker->groups[g]);
    }
    if (err == ERR_OK)
        err = parts_open(worker);
    return err;
}

static void worker_main(void *arg)
{
    struct worker *worker = arg;
    char name[16];
    enum err err;

    (void)snprintf(name, sizeof name, "worker-%u", worker->number);
    (void)pthread_setname_np(pthread_self(), name);
    err = begin(worker);
    err_save(&worker->begun_how, err);
    uv_sem_post(&worker->begun);
    if (err != ERR_OK)
        return; /* The process ends. */
    (void)uv_prepare_start(&worker->prepare, worker_turn);
    (void)uv_timer_start(&worker->slow_timer, slow_timer_cb, SLOW_TICK_MS, SLOW_TICK_MS);
    /* The first turn of this loop flushes what starting the groups has written. */
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
}

enum err worker_open(struct worker *worker)
{
    enum err err;

    worker->log = log_writer_port(worker->node->writer, worker->number);
    err = worker_open_links(worker);
    if (err == ERR_OK)
        err = copy_schema(worker);
    if (err == ERR_OK && worker->number == 0)
        err = shard_start(worker->groups[0]);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "worker %u", worker->number);
}

enum err worker_start(struct worker *worker)
{
    if (uv_thread_create(&worker->thread, worker_main, worker) != 0)
        return err_set(ERR_NO_MEMORY, "worker %u: no thread", worker->number);
    worker->running = true;
    return ERR_OK;
}

enum err worker_wait(struct worker *worker)
{
    uv_sem_wait(&worker->begun);
    if (worker->begun_how.code == ERR_OK)
        return ERR_OK;
    return err_wrap(err_restore(&worker->begun_how), "worker %u", worker->number);
}

void worker_join(struct worker *worker)
{
    if (worker->running)
        (void)uv_thread_join(&worker->thread);
    worker->running = false;
}

void worker_empty_mail(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->node->worker_count; i++) {
        struct mail_spill *spill = &worker->node->workers[i].spill[worker->number];

        (void)mailbox_drain(&worker->in[i], MAIL_CAPACITY, run_mail, worker);
        for (uint32_t m = 0; m < spill->count; m++)
            spill->items[m].run(worker, spill->items[m].arg);
        spill->count = 0;
    }
}

void worker_fini(struct worker *worker)
{
    uv_sem_destroy(&worker->begun);
    uv_close((uv_handle_t *)&worker->bell, NULL);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&worker->loop);
    for (uint32_t i = 0; worker->in != NULL && i < worker->node->worker_count; i++)
        mailbox_fini(&worker->in[i]);
    for (uint32_t i = 0; worker->spill != NULL && i < worker->node->worker_count; i++)
        free(worker->spill[i].items);
    for (uint32_t g = 0; worker->groups != NULL && g < worker->node->groups; g++) {
        if (worker->groups[g] != NULL)
            shard_free(worker->groups[g]);
    }
    parts_fini(worker);
    schema_map_fini(&worker->schema);
    router_fini(&worker->router);
    free(worker->groups);
    free(worker->in);
    free(worker->spill);
}
