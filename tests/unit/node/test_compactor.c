/*
 * Tasks of several workers on the one thread: each runs there once, in the order in which it was
 * queued, and ends at its own worker.
 */
#include "node/compactor.h"

#include <criterion/criterion.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/base/check.h"

enum { WORKERS = 2, TASKS = 20 };

struct numbered {
    struct compact_task task;
    unsigned number;
    unsigned runs, ends;
};

static struct node node = {.worker_count = WORKERS};
static struct worker workers[WORKERS];
static struct numbered tasks[TASKS];
static unsigned run_order[TASKS], run_count, end_count; /* The first two are the thread's. */
static pid_t run_thread;
static int run_nice;
static long run_disk_class;

static void bell_cb(uv_async_t *bell)
{
    compactor_collect(node.compactor, bell->data);
}

static void set_up(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i].node = &node;
        workers[i].number = i;
        cr_assert_eq(uv_loop_init(&workers[i].loop), 0);
        cr_assert_eq(uv_async_init(&workers[i].loop, &workers[i].bell, bell_cb), 0);
        workers[i].bell.data = &workers[i];
    }
    cr_assert_eq(compactor_start(&node, &node.compactor), ERR_OK, "%s", err_detail());
}

static void tear_down(void)
{
    compactor_stop(node.compactor);
    for (uint32_t i = 0; i < WORKERS; i++) {
        cr_assert_eq(workers[i].pool_jobs, 0);
        uv_close((uv_handle_t *)&workers[i].bell, NULL);
        (void)uv_run(&workers[i].loop, UV_RUN_DEFAULT);
        cr_assert_eq(uv_loop_close(&workers[i].loop), 0);
    }
}

TestSuite(compactor, .init = set_up, .fini = tear_down);

static void run(struct compact_task *task)
{
    struct numbered *own = CONTAINER_OF(task, struct numbered, task);

    own->runs++;
    run_order[run_count++] = own->number;
    run_thread = (pid_t)syscall(SYS_gettid);
    run_nice = getpriority(PRIO_PROCESS, (id_t)run_thread);
    run_disk_class = syscall(SYS_ioprio_get, 1, 0);
}

static void done(struct compact_task *task)
{
    struct numbered *own = CONTAINER_OF(task, struct numbered, task);

    own->ends++;
    end_count++;
}

static void queue(unsigned number, uint32_t worker)
{
    tasks[number] =
        (struct numbered){.task = {&workers[worker], run, done, NULL}, .number = number};
    compactor_queue(node.compactor, &tasks[number].task);
}

/* Turns of its loop, until nothing of the worker is under way. */
static void wait_for(struct worker *worker)
{
    while (worker->pool_jobs > 0)
        (void)uv_run(&worker->loop, UV_RUN_ONCE);
}

Test(compactor, runs_tasks_in_the_order_in_which_they_came)
{
    for (unsigned i = 0; i < TASKS; i++)
        queue(i, i % WORKERS);
    cr_assert_eq(workers[0].pool_jobs, TASKS / 2);
    cr_assert_eq(workers[1].pool_jobs, TASKS / 2);
    wait_for(&workers[0]);
    wait_for(&workers[1]);
    cr_assert_eq(run_count, TASKS);
    for (unsigned i = 0; i < TASKS; i++) {
        cr_assert_eq(run_order[i], i);
        cr_assert_eq(tasks[i].runs, 1);
        cr_assert_eq(tasks[i].ends, 1);
    }
}

Test(compactor, ends_a_task_at_its_own_worker_alone)
{
    queue(0, 0);
    queue(1, 1);
    wait_for(&workers[1]);
    cr_assert_eq(tasks[1].ends, 1);
    cr_assert_eq(tasks[0].runs, 1, "it came first");
    cr_assert_eq(tasks[0].ends, 0);
    cr_assert_eq(workers[0].pool_jobs, 1);
    compactor_collect(node.compactor, &workers[1]); /* Nothing of the other one's. */
    cr_assert_eq(tasks[0].ends, 0);
    wait_for(&workers[0]);
    cr_assert_eq(tasks[0].ends, 1);
}

static void done_and_again(struct compact_task *task)
{
    done(task);
    if (end_count < TASKS)
        compactor_queue(node.compactor, task);
}

Test(compactor, a_task_that_has_ended_may_be_queued_again_at_once)
{
    tasks[0] = (struct numbered){.task = {&workers[0], run, done_and_again, NULL}};
    compactor_queue(node.compactor, &tasks[0].task);
    wait_for(&workers[0]);
    cr_assert_eq(tasks[0].runs, TASKS);
    cr_assert_eq(tasks[0].ends, TASKS);
}

Test(compactor, takes_the_core_and_the_disk_when_nobody_else_wants_them)
{
    queue(0, 0);
    wait_for(&workers[0]);
    cr_assert_neq(run_thread, (pid_t)syscall(SYS_gettid));
    cr_assert_geq(run_nice, 10, "%d", run_nice);
    if (run_disk_class >= 0) /* -1: this system has no such classes. */
        cr_assert_eq(run_disk_class, 2 << 13 | 7, "%lx", run_disk_class);
}

Test(compactor, ends_when_nothing_was_ever_queued)
{
    cr_assert_eq(workers[0].pool_jobs, 0);
}
