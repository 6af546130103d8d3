/*
 * fetch_fake.h - for tests of what waits for pieces from other nodes: worker 0 as a thread, and the
 * other nodes, which the test plays. For one program each: it defines what a fetcher calls.
 *
 *     the test's thread --fetcher_piece()--> worker's thread: play() --answer--> and back
 *
 * What play() looks at is set before the test asks, and read when it has its answer.
 */
#ifndef TESTS_UNIT_NODE_FETCH_FAKE_H
#define TESTS_UNIT_NODE_FETCH_FAKE_H

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/fetcher.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/thread.h"
#include "storage/store.h"
#include "tests/support/mem_disk.h"

static struct worker worker;
static struct node node = {.workers = &worker, .worker_count = 1};
static struct worker worker = {.node = &node};

static _Atomic uint64_t now_ms = 1000000;
static sem_t bell;
static atomic_bool ends;
static struct fetcher *served; /* Set before the thread starts. */
static struct thread worker_thread;
static atomic_uint asked_count, freed_count; /* Requests that came, that were freed. */

/* The test's: an error with its detail, or bytes in request->bytes. */
static enum err play(struct piece_request *request);
/* What play() says of a request that it keeps: nothing is answered. */
#define PLAY_LATER ERR_COUNT

uint64_t worker_now_ms(void)
{
    return atomic_load(&now_ms);
}

int uv_async_send(uv_async_t *async)
{
    (void)async;
    return sem_post(&bell);
}

void router_free_piece(struct piece_request *request)
{
    atomic_fetch_add(&freed_count, 1);
    buf_unref(request->bytes);
    free(request);
}

static inline void answer(struct piece_request *request, enum err err)
{
    request->route.answer.code = err;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "%s",
                   err == ERR_OK ? "" : err_detail());
    request->route.done(&request->route);
}

void router_piece(struct worker *of, struct piece_request *request)
{
    enum err err;

    (void)of;
    atomic_fetch_add(&asked_count, 1);
    err = play(request);
    if (err != PLAY_LATER)
        answer(request, err);
}

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        (void)sem_wait(&bell);
        if (atomic_load(&ends))
            return;
        fetcher_serve(served, &worker);
    }
}

static inline void start_worker(struct fetcher *fetcher)
{
    served = fetcher;
    (void)sem_init(&bell, 0, 0);
    cr_assert_eq(thread_start(&worker_thread, "worker-0", 0, serve, NULL), ERR_OK);
}

static inline void stop_worker(void)
{
    atomic_store(&ends, true);
    (void)sem_post(&bell);
    thread_join(&worker_thread);
    (void)sem_destroy(&bell);
}

/* An answer of so many bytes, of which the first `size` are these. */
static inline void put_bytes(struct piece_request *request, const void *bytes, uint32_t size,
                             uint32_t all)
{
    request->bytes = buf_new(all + 1);
    memset(request->bytes->bytes, 0, all + 1);
    if (size > 0)
        memcpy(request->bytes->bytes, bytes, size < all ? size : all);
    request->bytes->size = all;
}

/* A piece of a file of a shard in "data", as it stands on that disk (NULL: nothing does), the byte
 * in its middle changed by `spoil`. */
static inline enum err put_file(struct piece_request *request, struct mem_disk *disk, uint8_t spoil)
{
    const struct fetch_piece *piece = &request->piece;
    struct store_file file = {.kind = (enum store_file_kind)piece->kind,
                              .number = piece->number,
                              .run.count = (uint32_t)piece->number};
    char name[STORE_FILE_NAME_SIZE], path[64];
    uint8_t *bytes;
    size_t size;

    store_file_name(&file, name);
    (void)snprintf(path, sizeof path, "data/%s", name);
    bytes = disk == NULL ? NULL : mem_disk_get(disk, path, &size);
    if (bytes == NULL || size != piece->size) {
        free(bytes);
        return err_set(ERR_NOT_FOUND, "no %s", path);
    }
    bytes[size / 2] ^= spoil;
    put_bytes(request, bytes + piece->offset, piece->length, piece->length);
    free(bytes);
    return ERR_OK;
}

#endif
