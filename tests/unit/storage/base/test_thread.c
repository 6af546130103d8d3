/*
 * Threads: their name, their priority, and that signals stay with the main thread.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage/base/clk.h"
#include "storage/base/thread.h"

struct seen {
    char name[THREAD_NAME_MAX];
    int nice;
    bool blocks_term;
};

static void look_around(void *arg)
{
    struct seen *seen = arg;
    sigset_t mask;

    (void)pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    seen->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    seen->blocks_term = sigismember(&mask, SIGTERM) == 1;
}

Test(thread, has_its_name_and_its_priority_and_no_signals)
{
    struct thread thread;
    struct seen seen;
    sigset_t mask;

    cr_assert_eq(thread_start(&thread, "pool-3", 19, look_around, &seen), ERR_OK);
    thread_join(&thread);
    cr_assert_str_eq(seen.name, "pool-3");
    cr_assert_eq(seen.nice, 19);
    cr_assert(seen.blocks_term);

    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    cr_assert_eq(sigismember(&mask, SIGTERM), 0, "the starter still gets its signals");
}

Test(thread, cuts_a_long_name_and_keeps_the_priority_of_the_process)
{
    struct thread thread;
    struct seen seen;

    cr_assert_eq(thread_start(&thread, "a-name-that-is-too-long", 0, look_around, &seen), ERR_OK);
    thread_join(&thread);
    cr_assert_str_eq(seen.name, "a-name-that-is-");
    cr_assert_eq(seen.nice, getpriority(PRIO_PROCESS, 0));
}

Test(thread, waits_for_a_time_without_being_busy)
{
    const uint64_t wait_ns = UINT64_C(999000000); /* Nearly always carries into the second. */
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never;
    uint64_t begin_ns = clk_now_ns();
    unsigned calls = 0;

    thread_cond_init(&never);
    (void)pthread_mutex_lock(&lock);
    for (; clk_now_ns() - begin_ns < wait_ns; calls++)
        thread_wait(&never, &lock, wait_ns / 1000000);
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_cond_destroy(&never);
    cr_assert_leq(calls, 10);
}
