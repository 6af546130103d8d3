/*
 * thread.h - start a thread with a name, a priority and no signals; wait for its end, or for a word
 * or a time, whichever comes first.
 *
 * The name is what `top -H`, gdb and perf show. Signals stay with the main thread, which is the
 * only one that knows the order of stopping. A niceness above 0 is for work that may wait (seal,
 * compact, scan): beside a busy thread of equal priority the log's sync waits for 1 to 2 ms instead
 * of 0.1 ms.
 */
#ifndef STORAGE_BASE_THREAD_H
#define STORAGE_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum { THREAD_NAME_MAX = 16 }; /* Bytes with the final NUL; longer names are cut. */

struct thread {
    pthread_t id;
};

/**
 * Run run(arg) in a new thread.
 *
 * name    copied, "worker-1"
 * nice    0 (as the process) to 19 (only when nobody else wants the core)
 * Errors  ERR_UNAVAILABLE: the system allows no more threads
 */
MUST_CHECK enum err thread_start(struct thread *thread, const char *name, int nice,
                                 void (*run)(void *arg), void *arg);

/** A condition that thread_wait() can wait for. */
void thread_cond_init(pthread_cond_t *ret_cond);

/** Under the lock: wait until the condition is signalled, `ms` have passed, or for no reason. */
void thread_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms);

/** Wait until the thread's function has returned. Once for each thread_start(). */
void thread_join(struct thread *thread);

#endif
