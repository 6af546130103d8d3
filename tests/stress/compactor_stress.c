/*
 * Workers queue tasks at the compactor and end them when their bell rings: each runs once, on the
 * compactor's thread, those of one worker in their order, and ThreadSanitizer must stay silent.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/compactor.h"
#include "storage/base/check.h"

enum { WORKERS = 3, AT_ONCE = 8 };

struct numbered {
    struct compact_task task;
    unsigned number;
    unsigned runs; /* Handed over with the task: no lock of its own. */
};

static unsigned total = 20000;
static struct node node = {.worker_count = WORKERS};
static struct worker workers[WORKERS];
static unsigned queued[WORKERS], ended[WORKERS];

static void run(struct compact_task *task)
{
    struct numbered *own = CONTAINER_OF(task, struct numbered, task);

    own->runs++;
}

static void queue_next(struct worker *worker);

static void done(struct compact_task *task)
{
    struct numbered *own = CONTAINER_OF(task, struct numbered, task);
    struct worker *worker = task->worker;

    CHECK(own->runs == 1);
    CHECK(own->number == ended[worker->number]++);
    free(own);
    queue_next(worker);
    if (ended[worker->number] == total)
        uv_close((uv_handle_t *)&worker->bell, NULL);
}

static void queue_next(struct worker *worker)
{
    struct numbered *own;

    if (queued[worker->number] == total)
        return;
    own = calloc(1, sizeof *own);
    CHECK(own != NULL);
    own->task = (struct compact_task){worker, run, done, NULL};
    own->number = queued[worker->number]++;
    compactor_queue(node.compactor, &own->task);
}

static void bell_cb(uv_async_t *bell)
{
    compactor_collect(node.compactor, bell->data);
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (int i = 0; i < AT_ONCE; i++)
        queue_next(worker);
    CHECK(uv_run(&worker->loop, UV_RUN_DEFAULT) == 0);
    CHECK(worker->pool_jobs == 0);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[WORKERS];

    if (argc > 1)
        total = (unsigned)strtoul(argv[1], NULL, 10);
    CHECK(compactor_start(&node, &node.compactor) == ERR_OK);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i].node = &node;
        workers[i].number = i;
        CHECK(uv_loop_init(&workers[i].loop) == 0);
        CHECK(uv_async_init(&workers[i].loop, &workers[i].bell, bell_cb) == 0);
        workers[i].bell.data = &workers[i];
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    compactor_stop(node.compactor);
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK(uv_loop_close(&workers[i].loop) == 0);
    (void)printf("%u tasks of each of %d workers\n", total, (int)WORKERS);
    return 0;
}
