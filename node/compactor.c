#include "node/compactor.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/thread.h"

enum {
    NICE = 10,
    /* linux/ioprio.h; the C library has no call for it. */
    WHO_THREAD = 1,
    BEST_EFFORT_LOWEST = 2 << 13 | 7,
};

struct list {
    struct compact_task *first, **end;
};

struct compactor {
    struct thread thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    struct list queue;
    struct list *finished; /* By worker. */
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_put(struct list *list, struct compact_task *task)
{
    task->next = NULL;
    *list->end = task;
    list->end = &task->next;
}

static struct compact_task *list_take(struct list *list)
{
    struct compact_task *task = list->first;

    if (task != NULL)
        list->first = task->next;
    if (list->first == NULL)
        list->end = &list->first;
    return task;
}

/* ---- The thread ---------------------------------------------------------------------------- */

/* The next task; NULL: it is time to end. */
static struct compact_task *wait_for_task(struct compactor *compactor)
{
    struct compact_task *task;

    (void)pthread_mutex_lock(&compactor->lock);
    while ((task = list_take(&compactor->queue)) == NULL && !compactor->stopping)
        (void)pthread_cond_wait(&compactor->wake, &compactor->lock);
    (void)pthread_mutex_unlock(&compactor->lock);
    return task;
}

static void run(void *arg)
{
    struct compactor *compactor = arg;
    struct compact_task *task;

    /* Advice: where it is not taken, merges get in the way of others' reads and writes. */
    (void)syscall(SYS_ioprio_set, WHO_THREAD, 0, BEST_EFFORT_LOWEST);
    while ((task = wait_for_task(compactor)) != NULL) {
        struct worker *worker = task->worker;

        task->run(task);
        /* Under the lock: the worker may end as soon as it has collected its last task. */
        (void)pthread_mutex_lock(&compactor->lock);
        list_put(&compactor->finished[worker->number], task);
        (void)uv_async_send(&worker->bell);
        (void)pthread_mutex_unlock(&compactor->lock);
    }
}

/* ---- Others -------------------------------------------------------------------------------- */

enum err compactor_start(struct node *node, struct compactor **ret_compactor)
{
    struct compactor *compactor = calloc(1, sizeof *compactor);
    enum err err;

    if (compactor != NULL)
        compactor->finished = calloc(node->worker_count, sizeof *compactor->finished);
    if (compactor == NULL || compactor->finished == NULL) {
        free(compactor);
        return err_set(ERR_NO_MEMORY, "the compactor");
    }
    (void)pthread_mutex_init(&compactor->lock, NULL);
    (void)pthread_cond_init(&compactor->wake, NULL);
    list_init(&compactor->queue);
    for (uint32_t i = 0; i < node->worker_count; i++)
        list_init(&compactor->finished[i]);
    err = thread_start(&compactor->thread, "compactor", NICE, run, compactor);
    if (err != ERR_OK) {
        free(compactor->finished);
        free(compactor);
        return err;
    }
    *ret_compactor = compactor;
    return ERR_OK;
}

void compactor_stop(struct compactor *compactor)
{
    (void)pthread_mutex_lock(&compactor->lock);
    CHECK(compactor->queue.first == NULL);
    compactor->stopping = true;
    (void)pthread_cond_signal(&compactor->wake);
    (void)pthread_mutex_unlock(&compactor->lock);
    thread_join(&compactor->thread);
    (void)pthread_mutex_destroy(&compactor->lock);
    (void)pthread_cond_destroy(&compactor->wake);
    free(compactor->finished);
    free(compactor);
}

void compactor_queue(struct compactor *compactor, struct compact_task *task)
{
    task->worker->pool_jobs++;
    (void)pthread_mutex_lock(&compactor->lock);
    list_put(&compactor->queue, task);
    (void)pthread_cond_signal(&compactor->wake);
    (void)pthread_mutex_unlock(&compactor->lock);
}

void compactor_collect(struct compactor *compactor, struct worker *worker)
{
    struct compact_task *task;

    for (;;) {
        (void)pthread_mutex_lock(&compactor->lock);
        task = list_take(&compactor->finished[worker->number]);
        (void)pthread_mutex_unlock(&compactor->lock);
        if (task == NULL)
            return;
        worker->pool_jobs--;
        task->done(task);
    }
}
