/*
 * Two real threads pass numbers through a small ring in batches of random size. Every number must
 * arrive once and in order, and ThreadSanitizer must stay silent.
 *
 * A plain program, not a Criterion test: Criterion's sandbox and ThreadSanitizer do not get along.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/ring.h"

static struct ring ring;
static uint64_t total = 5000000;

/* xorshift64: the same seed gives the same batch sizes, so a failure can be run again. */
static uint32_t next_batch(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return 1 + (uint32_t)(*state % 100);
}

static void *produce(void *unused)
{
    uint64_t random = 0x9e3779b97f4a7c15;

    (void)unused;
    for (uint64_t sent = 0; sent < total;) {
        uint64_t left = total - sent;
        uint32_t want = next_batch(&random);
        void *slots;
        uint32_t count = ring_reserve(&ring, want < left ? want : (uint32_t)left, &slots);

        for (uint32_t i = 0; i < count; i++)
            ((uint64_t *)slots)[i] = sent + i;
        ring_publish(&ring, count);
        sent += count;
        if (count == 0)
            sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t random = 0xbf58476d1ce4e5b9;
    uint64_t seen = 0;
    pthread_t producer;

    if (argc > 1)
        total = strtoull(argv[1], NULL, 10);
    if (ring_init(&ring, 64, sizeof(uint64_t)) != ERR_OK)
        return 1;
    if (pthread_create(&producer, NULL, produce, NULL) != 0)
        return 1;

    while (seen < total) {
        const void *slots;
        uint32_t count = ring_peek(&ring, next_batch(&random), &slots);

        for (uint32_t i = 0; i < count; i++)
            CHECK(((const uint64_t *)slots)[i] == seen + i);
        ring_release(&ring, count);
        seen += count;
        if (count == 0)
            sched_yield();
    }

    (void)pthread_join(producer, NULL);
    CHECK(ring_depth(&ring) == 0);
    ring_fini(&ring);
    printf("%" PRIu64 " numbers, in order\n", seen);
    return 0;
}
