/*
 * Two threads that really sleep between messages. A lost wake-up is a thread that sleeps for
 * ever, which the alarm turns into a failure; ThreadSanitizer must stay silent.
 *
 *   ping-pong   one number to and fro: both sides sleep before every message
 *   stream      bursts of random size through a ring that is often empty and often full
 *   race        two posts, the second as close as possible to the answer to the first; the bell is
 *               a flag that the consumer spins on, so that the two meet within nanoseconds
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/base/mailbox.h"

enum { ALARM_S = 240 };

static uint64_t turns = 50000;
static uint64_t total = 1500000;

/* ---- A thread that can sleep --------------------------------------------------------------- */

struct sleeper {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool awake;
};

static struct sleeper sleepers[2] = {
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
};
static struct mailbox mail_to[2];

static void wake(void *arg)
{
    struct sleeper *sleeper = arg;

    (void)pthread_mutex_lock(&sleeper->lock);
    sleeper->awake = true;
    (void)pthread_cond_signal(&sleeper->woken);
    (void)pthread_mutex_unlock(&sleeper->lock);
}

static void sleep_until_woken(struct sleeper *sleeper)
{
    (void)pthread_mutex_lock(&sleeper->lock);
    while (!sleeper->awake)
        (void)pthread_cond_wait(&sleeper->woken, &sleeper->lock);
    sleeper->awake = false;
    (void)pthread_mutex_unlock(&sleeper->lock);
}

/* ---- Ping-pong ----------------------------------------------------------------------------- */

static void expect_next(void *arg, const void *message)
{
    uint64_t *seen = arg;

    CHECK(*(const uint64_t *)message == *seen);
    (*seen)++;
}

static void play(int me)
{
    uint64_t seen = 0;

    for (uint64_t turn = 0; turn < turns; turn++) {
        if (me == 0)
            CHECK(mailbox_put(&mail_to[1], &turn));
        while (seen <= turn) {
            sleep_until_woken(&sleepers[me]);
            (void)mailbox_drain(&mail_to[me], 1, expect_next, &seen);
        }
        if (me == 1)
            CHECK(mailbox_put(&mail_to[0], &turn));
    }
}

static void *play_second(void *unused)
{
    (void)unused;
    play(1);
    return NULL;
}

/* ---- Stream -------------------------------------------------------------------------------- */

static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)*state;
}

static void *produce(void *unused)
{
    uint64_t random = 0x9e3779b97f4a7c15;

    (void)unused;
    for (uint64_t sent = 0; sent < total;) {
        uint64_t left = total - sent;
        uint32_t want = 1 + next_random(&random) % 40;
        void *slots;
        uint32_t count =
            ring_reserve(&mail_to[1].ring, want < left ? want : (uint32_t)left, &slots);

        for (uint32_t i = 0; i < count; i++)
            ((uint64_t *)slots)[i] = sent + i;
        mailbox_post(&mail_to[1], count);
        sent += count;
        if (count == 0 || next_random(&random) % 8 == 0)
            sched_yield(); /* Lets the consumer run dry and go to sleep. */
    }
    return NULL;
}

static void consume(void)
{
    uint64_t random = 0xbf58476d1ce4e5b9;
    uint64_t seen = 0;

    while (seen < total) {
        sleep_until_woken(&sleepers[1]);
        (void)mailbox_drain(&mail_to[1], 1 + next_random(&random) % 100, expect_next, &seen);
    }
}

/* ---- Race ---------------------------------------------------------------------------------- */

static _Atomic bool bell;
static _Atomic uint64_t raced; /* Messages that the consumer has taken. */

static void ring_bell(void *unused)
{
    (void)unused;
    atomic_store(&bell, true);
}

/* Spinning meets the other thread within nanoseconds; yielding lets it run at all on one core. */
static void yield_now_and_then(uint32_t spun)
{
    if (spun % 1024 == 0)
        sched_yield();
}

static void *race_against_answers(void *unused)
{
    uint64_t random = 0x94d049bb133111eb;

    (void)unused;
    for (uint64_t sent = 0; sent < total / 5; sent += 2) {
        for (uint64_t i = 0; i < 2; i++) {
            uint64_t number = sent + i;
            uint32_t pause = next_random(&random) % 512;

            CHECK(mailbox_put(&mail_to[0], &number));
            for (volatile uint32_t spun = 0; spun < pause; spun++)
                continue;
        }
        /* No third post that could wake the consumer for the second. */
        for (uint32_t spun = 1; atomic_load(&raced) < sent + 2; spun++)
            yield_now_and_then(spun);
    }
    return NULL;
}

static void answer(void)
{
    uint64_t seen = 0;

    for (uint32_t spun = 1; seen < total / 5; spun++) {
        if (!atomic_exchange(&bell, false)) {
            yield_now_and_then(spun);
            continue;
        }
        (void)mailbox_drain(&mail_to[0], 1, expect_next, &seen);
        atomic_store(&raced, seen);
    }
}

int main(int argc, char **argv)
{
    pthread_t other;

    if (argc > 1) {
        total = strtoull(argv[1], NULL, 10);
        turns = total / 30;
    }
    (void)alarm(ALARM_S);
    for (int i = 0; i < 2; i++) {
        if (mailbox_init(&mail_to[i], 64, sizeof(uint64_t), wake, &sleepers[i]) != ERR_OK)
            return 1;
    }

    if (pthread_create(&other, NULL, play_second, NULL) != 0)
        return 1;
    play(0);
    (void)pthread_join(other, NULL);
    printf("%" PRIu64 " turns of ping-pong\n", turns);

    if (pthread_create(&other, NULL, produce, NULL) != 0)
        return 1;
    consume();
    (void)pthread_join(other, NULL);
    printf("%" PRIu64 " numbers, in order\n", total);

    mailbox_fini(&mail_to[0]);
    if (mailbox_init(&mail_to[0], 2, sizeof(uint64_t), ring_bell, NULL) != ERR_OK)
        return 1;
    if (pthread_create(&other, NULL, race_against_answers, NULL) != 0)
        return 1;
    answer();
    (void)pthread_join(other, NULL);
    printf("%" PRIu64 " posts raced\n", total / 5);

    mailbox_fini(&mail_to[0]);
    mailbox_fini(&mail_to[1]);
    return 0;
}
