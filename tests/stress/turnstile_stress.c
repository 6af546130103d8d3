/*
 * Threads that pass a turnstile, some of them stepping aside: never more inside than it lets in and
 * the one that stepped back, nobody waits for ever, and ThreadSanitizer stays silent.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/base/turnstile.h"

enum { ALARM_S = 240, MOST = 2, THREADS = 6, TURNS = 30000, ASIDE_EVERY = 7 };

static atomic_int inside, aside, most_inside;

static void count_in(void)
{
    int now = atomic_fetch_add(&inside, 1) + 1, most = atomic_load(&most_inside);

    while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now))
        ;
    if (now > MOST + 1)
        abort();
}

static void *run(void *arg)
{
    int number = *(const int *)arg;

    for (int i = 0; i < TURNS; i++) {
        turnstile_enter();
        count_in();
        if ((i + number) % ASIDE_EVERY == 0) {
            (void)atomic_fetch_sub(&inside, 1);
            if (turnstile_step_aside()) {
                if (atomic_fetch_add(&aside, 1) != 0)
                    abort();
                (void)sched_yield();
                (void)atomic_fetch_sub(&aside, 1);
                turnstile_step_back();
            }
            count_in();
        }
        (void)atomic_fetch_sub(&inside, 1);
        turnstile_leave();
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    (void)alarm(ALARM_S);
    turnstile_open(MOST);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, run, &numbers[i]) != 0)
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    printf("at most %d of %d threads inside\n", atomic_load(&most_inside), THREADS);
    return atomic_load(&inside) == 0 ? 0 : 1;
}
