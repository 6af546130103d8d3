/*
 * What a shard does about damage: who is told and believed, who leads instead, and which pieces of
 * files others may have. Scrub, group and links are played; the files are a real store's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/scrub.h"
#include "node/shard_io.h"
#include "storage/store_internal.h"
#include "tests/support/replica.h"

enum { NODES = 3, SHARDS = 3, GROUPS = SHARDS + 1, HERE = 1, THERE = 2, ELSEWHERE = 3, NOBODY = 9 };

/* ---- What shard_damage.c calls ------------------------------------------------------------- */

static uint64_t now_ms = 100000;
static uint32_t damaged_files[SHARDS]; /* Here, as the scrub counts them. */
static uint64_t own_asks[GROUPS], heard_asks[GROUPS];
static bool asks_seal; /* Every other node does. */
static unsigned suspects, pokes, taught, frames;
static uint64_t moved_to;
static struct buf *told; /* The last DAMAGED that was sent. */
static bool store_was_replaced;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

int node_find_server(const struct node *node, uint64_t server)
{
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++)
        if (node->options.cluster.nodes[i].id == server)
            return (int)i;
    return -1;
}

void scrub_suspect(struct scrub *scrub, uint32_t shard)
{
    (void)scrub;
    cr_assert_eq(shard, 0);
    suspects++;
}

void scrub_report(struct scrub *scrub, uint32_t shard, const struct store_file *file,
                  const char *what)
{
    (void)scrub;
    (void)shard;
    (void)file;
    (void)what;
    cr_assert_fail("nothing was flagged");
}

bool scrub_sync(struct scrub *scrub, uint32_t shard, struct store **store)
{
    (void)scrub;
    (void)shard;
    (void)store;
    return store_was_replaced;
}

uint32_t scrub_count(const struct scrub *scrub, uint32_t shard)
{
    (void)scrub;
    return damaged_files[shard];
}

void shard_teach_cutoffs(struct shard *shard, const struct buf *seal)
{
    (void)shard;
    cr_assert_null(seal);
    taught++;
}

void group_poke(struct group *group)
{
    (void)group;
    pokes++;
}

enum err group_transfer(struct group *group, uint64_t to)
{
    (void)group;
    moved_to = to;
    return ERR_OK;
}

uint64_t shard_own_ask(const struct node *node, uint32_t group)
{
    (void)node;
    return own_asks[group];
}

void shard_hear_ask(struct node *node, uint64_t server, uint32_t group, uint64_t index,
                    uint64_t at_ms)
{
    (void)node;
    (void)server;
    cr_assert_eq(at_ms, now_ms);
    heard_asks[group] = index;
}

bool shard_asks_seal(const struct node *node, uint64_t server, uint32_t group)
{
    (void)node;
    (void)server;
    (void)group;
    return asks_seal;
}

enum err links_frame(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                     struct buf *payload, bool urgent)
{
    (void)links;
    (void)request;
    cr_assert(urgent);
    cr_assert_eq(type, FRAME_DAMAGED);
    cr_assert_neq(to, HERE);
    frames++;
    buf_unref(told);
    told = buf_ref(payload);
    return to == THERE ? ERR_OK : err_set(ERR_UNAVAILABLE, "it is away");
}

void worker_pool(struct worker *worker, struct pool_job *job)
{
    job->worker = worker;
    job->run(job);
    job->done(job);
}

static unsigned told_states;

void shard_tell(struct shard *of, struct piece_request *request)
{
    cr_assert_eq(of->number, 1);
    told_states++;
    request->route.done(&request->route);
}

void router_answer(struct worker *worker, struct route *route)
{
    (void)worker;
    route->done(route);
}

void router_fail(struct worker *worker, struct route *route, enum err code, uint32_t retry_ms)
{
    (void)retry_ms;
    route->answer.code = code;
    (void)snprintf(route->answer.text, sizeof route->answer.text, "%s", err_detail());
    router_answer(worker, route);
}

/* ---- A node -------------------------------------------------------------------------------- */

static _Atomic uint64_t damage_heard[NODES * GROUPS];
static struct replica replica;
static struct node node = {
    .server = HERE, .shards = SHARDS, .groups = GROUPS, .damage_heard = damage_heard};
static struct worker worker = {.node = &node};
static struct shard shard = {.worker = &worker, .number = 1};
static struct group_state state = {.server = HERE, .servers = NODES, .last = 1000};

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    node.disk = replica.options.disk;
    node.options.cluster.node_count = NODES;
    for (uint32_t i = 0; i < NODES; i++) {
        node.options.cluster.nodes[i].id = i + 1;
        state.peers[i].server = i + 1;
        state.peers[i].match = 1000;
        state.peers[i].online = true;
    }
    shard.store = replica.store;
}

static void tear_down(void)
{
    buf_unref(told);
    replica_fini(&replica);
}

TestSuite(shard_damage, .init = set_up, .fini = tear_down);

/* Another node says what it has told. */
static void hear(uint64_t server)
{
    shard_hear_damage(&node, server, told);
}

static void tell(void)
{
    now_ms += 500;
    shard_tell_damage(&worker, now_ms);
}

/* ---- Here ---------------------------------------------------------------------------------- */

Test(shard_damage, suspects_damage_where_a_reader_met_it)
{
    shard_suspect(&shard, ERR_OK);
    shard_suspect(&shard, ERR_LIMIT);
    cr_assert_eq(suspects, 0);
    shard_suspect(&shard, ERR_CORRUPT);
    shard_suspect(&shard, ERR_IO);
    cr_assert_eq(suspects, 2);
}

Test(shard_damage, lets_another_one_lead_who_is_up_to_date_and_well)
{
    state.leading = true;
    cr_assert_not(shard_care(&shard, &state, now_ms));
    damaged_files[0] = 1;
    cr_assert(shard_care(&shard, &state, now_ms));
    cr_assert(shard_care(&shard, &state, now_ms + 249));
    cr_assert_eq(moved_to, 0, "a small file is mended before");
    cr_assert(shard_care(&shard, &state, now_ms + 250));
    cr_assert_eq(moved_to, THERE);
    moved_to = 0;
    cr_assert(shard_care(&shard, &state, now_ms + 1249));
    cr_assert_eq(moved_to, 0, "a transfer takes its time");
    state.peers[1].match = 1000 - 65; /* It lacks too much. */
    cr_assert(shard_care(&shard, &state, now_ms + 1250));
    cr_assert_eq(moved_to, ELSEWHERE);
    moved_to = 0;
    state.peers[2].online = false;
    cr_assert(shard_care(&shard, &state, now_ms + 9000));
    cr_assert_eq(moved_to, 0);
    state.peers[1].match = 1000 - 64;
    state.leading = false;
    cr_assert(shard_care(&shard, &state, now_ms + 9000));
    cr_assert_eq(moved_to, 0, "who does not lead hands nothing over");
    damaged_files[0] = 0;
    cr_assert_not(shard_care(&shard, &state, now_ms + 9000));
    cr_assert_eq(pokes, 1, "what waited for its catalog goes on");
}

Test(shard_damage, nobody_takes_over_who_has_damage_or_a_damaged_log)
{
    state.leading = true;
    damaged_files[0] = 1;
    tell();
    hear(THERE);
    shard_leave(&shard, &state, now_ms);
    cr_assert_eq(moved_to, ELSEWHERE);
    moved_to = 0;
    asks_seal = true;
    shard_leave(&shard, &state, now_ms + 5000);
    cr_assert_eq(moved_to, 0);
}

Test(shard_damage, a_store_that_is_opened_anew_is_told_to_the_workers)
{
    store_was_replaced = true;
    cr_assert_not(shard_care(&shard, &state, now_ms));
    cr_assert_eq(taught, 1);
}

/* ---- At others ----------------------------------------------------------------------------- */

Test(shard_damage, tells_others_while_there_is_damage_and_once_when_all_is_well)
{
    tell();
    cr_assert_eq(frames, 0);
    damaged_files[2] = 1;
    tell();
    cr_assert_eq(frames, NODES - 1, "who is away does not keep it from others");
    shard_tell_damage(&worker, now_ms + 499);
    cr_assert_eq(frames, NODES - 1);
    tell();
    cr_assert_eq(frames, 2 * (NODES - 1));
    damaged_files[2] = 0;
    tell();
    tell();
    cr_assert_eq(frames, 3 * (NODES - 1));
    own_asks[0] = 7; /* A damaged log, too. */
    tell();
    cr_assert_eq(frames, 4 * (NODES - 1));
    worker.number = 1; /* One worker does it for all. */
    tell();
    cr_assert_eq(frames, 4 * (NODES - 1));
}

Test(shard_damage, believes_what_others_say_for_a_short_time)
{
    damaged_files[0] = damaged_files[2] = 1;
    own_asks[0] = 5;
    own_asks[3] = 6;
    tell();
    hear(THERE);
    cr_assert(shard_is_damaged_at(&node, THERE, 1));
    cr_assert_not(shard_is_damaged_at(&node, THERE, 2));
    cr_assert(shard_is_damaged_at(&node, THERE, 3));
    cr_assert_not(shard_is_damaged_at(&node, ELSEWHERE, 1));
    cr_assert_eq(heard_asks[0], 5);
    cr_assert_eq(heard_asks[1], 0);
    cr_assert_eq(heard_asks[3], 6);
    now_ms += 1999;
    cr_assert(shard_is_damaged_at(&node, THERE, 1));
    now_ms++;
    cr_assert_not(shard_is_damaged_at(&node, THERE, 1));
    hear(THERE);
    damaged_files[0] = damaged_files[2] = 0;
    own_asks[0] = own_asks[3] = 0;
    tell();
    hear(THERE);
    cr_assert_not(shard_is_damaged_at(&node, THERE, 1));
    cr_assert_eq(heard_asks[3], 0);
}

Test(shard_damage, hears_nothing_from_strangers_and_nothing_that_it_cannot_read)
{
    struct buf *nonsense = buf_new(3);

    damaged_files[0] = 1;
    tell();
    hear(NOBODY);
    cr_assert_not(shard_is_damaged_at(&node, NOBODY, 1));
    hear(THERE);
    memset(nonsense->bytes, 9, 3);
    nonsense->size = 3;
    shard_hear_damage(&node, THERE, nonsense);
    cr_assert(shard_is_damaged_at(&node, THERE, 1), "it does not count for all is well");
    buf_unref(nonsense);
}

Test(shard_damage, is_everywhere_when_every_node_has_it)
{
    damaged_files[0] = 1;
    tell();
    hear(THERE);
    cr_assert_not(shard_is_damaged_everywhere(&node, 1));
    hear(ELSEWHERE);
    cr_assert(shard_is_damaged_everywhere(&node, 1));
    cr_assert_not(shard_is_damaged_everywhere(&node, 2));
    damaged_files[0] = 0;
    cr_assert_not(shard_is_damaged_everywhere(&node, 1));
}

/* ---- Pieces -------------------------------------------------------------------------------- */

static enum err piece_code;
static char piece_text[ERR_DETAIL_MAX];
static uint32_t piece_size;
static uint8_t piece_first;

static void piece_done(struct route *route)
{
    struct piece_request *request = (struct piece_request *)route;

    piece_code = route->answer.code;
    (void)snprintf(piece_text, sizeof piece_text, "%s", route->answer.text);
    piece_size = request->bytes == NULL ? 0 : request->bytes->size;
    piece_first = piece_size == 0 ? 0 : request->bytes->bytes[0];
    buf_unref(request->bytes);
    free(request);
}

static void ask_piece(struct fetch_piece piece)
{
    struct piece_request *request = calloc(1, sizeof *request);

    request->route.done = piece_done;
    request->piece = piece;
    piece_code = ERR_END;
    shard_piece(&shard, request);
}

/* The whole of a segment's file. */
static struct fetch_piece make_segment(void)
{
    struct entries_value value = {"cpu", "a", 1, "v", FIELD_INT, 1, NULL, 0};
    const struct segment_info *info;

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    info = segment_info(replica.store->segments[0]);
    return (struct fetch_piece){.kind = FETCH_KIND_SEGMENT,
                                .number = info->number,
                                .size = info->size,
                                .hash = info->hash,
                                .length = (uint32_t)info->size};
}

Test(shard_damage, gives_pieces_of_the_very_file_that_is_asked_for)
{
    struct fetch_piece piece = make_segment(), other;

    ask_piece(piece);
    cr_assert_eq(piece_code, ERR_OK, "%s", piece_text);
    cr_assert_eq(piece_size, piece.size);
    cr_assert_eq(piece_first, 'M');
    other = piece;
    other.offset = 1;
    other.length = 1;
    ask_piece(other);
    cr_assert_eq(piece_code, ERR_OK);
    cr_assert_eq(piece_size, 1);
    cr_assert_eq(piece_first, 'R');
    other = piece;
    other.hash++;
    ask_piece(other);
    cr_assert_eq(piece_code, ERR_NOT_FOUND);
    cr_assert_not_null(strstr(piece_text, "shard 0 has no 00000001.mrs with hash "), "%s",
                       piece_text);
    other = piece;
    other.number = 2;
    ask_piece(other);
    cr_assert_eq(piece_code, ERR_NOT_FOUND);
}

Test(shard_damage, says_how_a_file_is_shorter_than_it_should_be)
{
    struct fetch_piece piece = make_segment();
    size_t size;
    uint8_t *bytes = mem_disk_get(replica.disk, "data/00000001.mrs", &size);

    mem_disk_put(replica.disk, "data/00000001.mrs", bytes, size - 10);
    free(bytes);
    ask_piece(piece);
    cr_assert_eq(piece_code, ERR_CORRUPT);
    cr_assert_not_null(strstr(piece_text, "bytes at 0, the file has "), "\"%s\"", piece_text);
    cr_assert_eq(piece_size, 0);
}

Test(shard_damage, tells_what_its_manifest_says_of_a_segment)
{
    struct fetch_piece piece = make_segment();

    piece.kind = FETCH_KIND_FACTS;
    ask_piece(piece);
    cr_assert_eq(piece_code, ERR_OK, "%s", piece_text);
    cr_assert_eq(piece_size, FETCH_FACTS_SIZE);
    piece.number = 77;
    ask_piece(piece);
    cr_assert_eq(piece_code, ERR_NOT_FOUND);
}

Test(shard_damage, passes_questions_of_who_begins_again_on)
{
    ask_piece((struct fetch_piece){.kind = FETCH_KIND_STATE, .length = FETCH_STATE_SIZE});
    ask_piece((struct fetch_piece){.kind = FETCH_KIND_SNAPSHOT, .length = 1});
    cr_assert_eq(told_states, 2);
    cr_assert_eq(piece_code, ERR_OK);
}
