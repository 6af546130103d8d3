/*
 * router_fake.h - for tests of the router and of what other nodes ask: a node of two shards whose
 * clock is the test's, and its parts, which answer at once. What the two tests look at more
 * closely - links, queries - is theirs. Each test is a process of its own and has one of them.
 */
#ifndef TESTS_UNIT_NODE_ROUTER_FAKE_H
#define TESTS_UNIT_NODE_ROUTER_FAKE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta.h"
#include "node/peer.h"
#include "node/shard.h"
#include "storage/base/buf.h"

enum { SHARDS = 2, HERE = 1, THERE = 2, ELSEWHERE = 3 };

static _Atomic uint64_t leaders[SHARDS + 1];
static struct shard *groups[SHARDS + 1];
static struct worker worker;
static struct node node = {.server = HERE,
                           .shards = SHARDS,
                           .groups = SHARDS + 1,
                           .worker_count = 1,
                           .workers = &worker,
                           .leaders = leaders};
static struct worker worker = {.node = &node, .groups = groups};

static uint64_t now_ms = 1000;
static unsigned local_count; /* Requests that this node's own parts have answered. */

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void worker_call(struct worker *from, struct worker *to, mail_run run, void *arg)
{
    (void)from;
    run(to, arg);
}

static inline void answer_here(struct route *route)
{
    local_count++;
    router_answer(route->origin, route);
}

void shard_write(struct shard *shard, struct write_request *request)
{
    (void)shard;
    answer_here(&request->route);
}

void meta_declare(struct meta *meta, struct declare_request *request)
{
    (void)meta;
    answer_here(&request->route);
}

void meta_database(struct meta *meta, struct order_request *request)
{
    (void)meta;
    answer_here(&request->route);
}

void shard_delete(struct shard *shard, struct order_request *request)
{
    (void)shard;
    answer_here(&request->route);
}

void shard_piece(struct shard *shard, struct piece_request *request)
{
    (void)shard;
    answer_here(&request->route);
}

/* A payload; `bytes` stay. */
static inline struct buf *buf_with(const struct bytes *bytes)
{
    struct buf *buf = buf_new((uint32_t)bytes->size);

    if (bytes->size > 0)
        memcpy(buf->bytes, bytes->data, bytes->size);
    buf->size = (uint32_t)bytes->size;
    return buf;
}

#endif
