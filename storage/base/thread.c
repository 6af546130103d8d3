#include "storage/base/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "storage/base/check.h"

struct start {
    char name[THREAD_NAME_MAX];
    int nice;
    void (*run)(void *arg);
    void *arg;
};

static void *run_named(void *arg)
{
    struct start start = *(struct start *)arg;

    free(arg);
    (void)pthread_setname_np(pthread_self(), start.name);
    /* On Linux a niceness belongs to a thread. Less is always allowed. */
    if (start.nice > 0)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), start.nice);
    start.run(start.arg);
    return NULL;
}

enum err thread_start(struct thread *thread, const char *name, int nice, void (*run)(void *arg),
                      void *arg)
{
    struct start *start = malloc(sizeof *start);
    sigset_t all;
    sigset_t before;
    char room[128];
    int error;

    CHECK(nice >= 0);
    CHECK(nice <= 19);
    if (start == NULL)
        return err_set(ERR_NO_MEMORY, "start thread %s", name);
    *start = (struct start){.nice = nice, .run = run, .arg = arg};
    (void)snprintf(start->name, sizeof start->name, "%s", name);

    /* A thread inherits the mask: block before, so that not one signal slips in. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    error = pthread_create(&thread->id, NULL, run_named, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(start);
        return err_set(ERR_UNAVAILABLE, "start thread %s: %s; see ulimit -u and TasksMax", name,
                       strerror_r(error, room, sizeof room));
    }
    return ERR_OK;
}

void thread_cond_init(pthread_cond_t *ret_cond)
{
    pthread_condattr_t monotonic;

    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(ret_cond, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void thread_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(cond, lock, &until);
}

void thread_join(struct thread *thread)
{
    CHECK(pthread_join(thread->id, NULL) == 0);
}
