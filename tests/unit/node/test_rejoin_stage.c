/*
 * A shard's state from other nodes: all that its manifest names and then the manifest, or what was
 * there before. Files, states and errors of the other nodes are played.
 */
#include <stdarg.h>

#include "node/meta.h"
#include "node/rejoin_internal.h"
#include "node/shard.h"
#include "replication/configuration.h"
#include "storage/manifest.h"
#include "storage/store_damage.h"
#include "tests/support/replica.h"
#include "tests/unit/node/fetch_fake.h"

enum { NODES = 3, LEADER = 1, OWN = 2, OTHER = 3, GROUP = 1, ROWS = 64 };

/* ---- The other nodes ----------------------------------------------------------------------- */

static struct other {
    bool away;
    struct fetch_state state;
    struct mem_disk *disk; /* What it has; NULL: no files. */
    bool spoils;           /* A bit of each file that it sends. */
    enum err says;         /* When it is asked for one. */
    unsigned files;        /* Pieces of them that it was asked for. */
    unsigned rest;
} others[NODES + 1];         /* By server. */
static struct bytes offered; /* The snapshot, as told. */
static struct bytes sent;    /* As it comes; empty: the same. */

static enum err play_file(struct other *other, struct piece_request *request)
{
    other->files++;
    if (other->says != ERR_OK)
        return err_set(other->says, "told to");
    return put_file(request, other->disk, other->spoils ? 8 : 0);
}

static enum err play(struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    struct other *other = &others[request->server];
    const struct bytes *from = sent.size > 0 ? &sent : &offered;
    struct bytes bytes = {0};

    cr_assert_eq(piece->shard, GROUP - 1);
    if (other->away)
        return err_set(ERR_UNAVAILABLE, "node %u is away", (unsigned)request->server);
    if (piece->kind <= FETCH_KIND_CATALOG)
        return play_file(other, request);
    other->rest++;
    if (piece->kind == FETCH_KIND_SNAPSHOT) {
        cr_assert_leq(piece->offset + piece->length, from->size);
        put_bytes(request, from->data + piece->offset, piece->length, piece->length);
        return ERR_OK;
    }
    fetch_put_state(&other->state, &bytes);
    put_bytes(request, bytes.data, (uint32_t)bytes.size, (uint32_t)bytes.size);
    bytes_fini(&bytes);
    return ERR_OK;
}

/* ---- What else is called ------------------------------------------------------------------- */

static char said[ERR_DETAIL_MAX];

void rejoin_say(struct rejoin *rejoin, uint32_t group, const char *format, ...)
{
    va_list arguments;

    (void)rejoin;
    cr_assert_eq(group, GROUP);
    va_start(arguments, format);
    (void)vsnprintf(said, sizeof said, format, arguments);
    va_end(arguments);
}

enum err meta_install(const struct node *of, struct slice state, uint64_t index)
{
    (void)of;
    (void)state;
    (void)index;
    return err_set(ERR_IO, "this is about a shard");
}

/* ---- Here ---------------------------------------------------------------------------------- */

static struct replica there, here; /* The leader's; this node's. */
static struct contents good;
static struct buf *configuration;
static struct rejoin_group states[GROUP + 1];
static struct rejoin rejoin = {.node = &node, .groups = states};
static struct rejoin_group *const state = &states[GROUP];
static struct shard shard = {.worker = &worker, .number = GROUP};
static struct shard *groups[GROUP + 1] = {NULL, &shard};

static void write_rows(const char *host, int64_t from)
{
    struct entries_value values[ROWS];

    for (size_t i = 0; i < ROWS; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = host,
                                           .field = "v",
                                           .type = FIELD_INT,
                                           .bits = i,
                                           .time_ns = from + (int64_t)i};
    replica_write(&there, &(struct entries_from){0}, values, ROWS);
}

static uint32_t offered_shard; /* That the manifest says. */

static void set_shard(struct bytes *encoded)
{
    struct manifest manifest = {0};

    cr_assert_eq(manifest_decode(encoded->data, encoded->size, &manifest), ERR_OK);
    manifest.shard = offered_shard;
    bytes_fini(encoded);
    manifest_encode(&manifest, encoded);
    manifest_fini(&manifest);
}

/* The leader offers a manifest as of that entry; 0: of its own last seal. */
static void offer(uint64_t index)
{
    struct fetch_snapshot snapshot = {
        .term = 4,
        .configuration_index = 1,
        .configuration = {(const char *)configuration->bytes, configuration->size}};
    struct bytes manifest = {0};

    bytes_fini(&offered);
    cr_assert_eq(store_manifest(there.store, &manifest, &snapshot.index), ERR_OK);
    if (index != 0)
        snapshot.index = index;
    set_shard(&manifest);
    snapshot.state = (struct slice){(const char *)manifest.data, manifest.size};
    fetch_put_snapshot(&snapshot, &offered);
    bytes_fini(&manifest);
    others[LEADER].state.snapshot_size = offered.size;
    others[LEADER].state.snapshot_hash = key_hash(offered.data, offered.size);
}

static void expect_there_is(const struct contents *contents)
{
    struct contents now;

    replica_close(&here);
    cr_assert_eq(replica_open(&here), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_read(&here, &now), ERR_OK);
    cr_assert(contents_equal(contents, &now));
    contents_fini(&now);
}

/* As after a start: what the disk has, of a shard whose state comes from another node. */
static void open_absent(void)
{
    replica_close(&here);
    cr_assert_eq(store_open_absent(&here.options, &here.store), ERR_OK);
    shard.store = here.store;
}

static void set_up(void)
{
    static const uint64_t voters[NODES] = {1, 2, 3};

    cr_assert_eq(configuration_encode(voters, NODES, &configuration), ERR_OK);
    replica_init(&there);
    cr_assert_eq(replica_open(&there), ERR_OK);
    write_rows("a", 0);
    cr_assert_eq(replica_seal(&there), ERR_OK);
    write_rows("b", 100);
    cr_assert_eq(replica_seal(&there), ERR_OK);
    cr_assert_eq(replica_read(&there, &good), ERR_OK);
    replica_init(&here);
    node.disk = mem_disk_table(here.disk);
    node.server = OWN;
    node.groups = GROUP + 1;
    node.options.cluster.node_count = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        node.options.cluster.nodes[i].id = i + 1;
    (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, ".");
    worker.groups = groups;
    open_absent();
    others[LEADER].state = (struct fetch_state){.term = 5, .first = 60, .last = 90, .leads = true};
    others[LEADER].disk = there.disk;
    others[OTHER].state = (struct fetch_state){.term = 5, .first = 60, .last = 88};
    state->began = REJOIN_LOST;
    offer(0);
    fetcher_init(&rejoin.fetcher, &node);
    start_worker(&rejoin.fetcher);
}

static void tear_down(void)
{
    stop_worker();
    cr_assert_eq(atomic_load(&freed_count), atomic_load(&asked_count));
    fetcher_fini(&rejoin.fetcher);
    bytes_fini(&state->staged.configuration);
    free(state->files);
    bytes_fini(&offered);
    bytes_fini(&sent);
    contents_fini(&good);
    replica_fini(&here);
    replica_fini(&there);
    buf_unref(configuration);
}

TestSuite(rejoin_stage, .init = set_up, .fini = tear_down, .timeout = 60);

static enum err stage(void)
{
    others[LEADER].files = others[OTHER].files = 0;
    return rejoin_stage(&rejoin, GROUP);
}

static void expect_nothing_staged(void)
{
    cr_assert_neq(state->staged.state, REJOIN_READY);
    cr_assert_not(state->touched);
    cr_assert_not(mem_disk_exists(here.disk, "data/manifest.mrm"));
}

/* ---- A shard ------------------------------------------------------------------------------- */

Test(rejoin_stage, a_shard_has_what_the_leader_has)
{
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(state->staged.state, REJOIN_READY);
    cr_assert(state->staged.index == store_sealed_index(there.store) && state->staged.term == 4);
    cr_assert(state->staged.until == 90 && state->staged.until_term == 5);
    cr_assert_eq(state->staged.configuration.size, configuration->size);
    cr_assert_eq(state->leader, LEADER);
    cr_assert(state->touched);
    cr_assert_eq(others[OTHER].files, 0);
    expect_there_is(&good);
}

/* Rounds are made until one is quick: only what is new comes again. */
Test(rejoin_stage, the_next_round_fetches_what_is_new_alone)
{
    uint64_t reads;

    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[LEADER].files, 3, "a run of the catalog, two segments");
    reads = mem_disk_calls(here.disk, MEM_DISK_READ);
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[LEADER].files, 0);
    cr_assert_eq(mem_disk_calls(here.disk, MEM_DISK_READ), reads, "nor are they verified again");
    write_rows("a", 200);
    cr_assert_eq(replica_seal(&there), ERR_OK);
    offer(0);
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[LEADER].files, 1);
    contents_fini(&good);
    cr_assert_eq(replica_read(&there, &good), ERR_OK);
    expect_there_is(&good);
}

Test(rejoin_stage, what_an_earlier_start_has_fetched_is_not_fetched_again)
{
    others[LEADER].spoils = true; /* Of all three: none comes. */
    cr_assert_neq(stage(), ERR_OK);
    others[LEADER].spoils = false;
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    free(state->files);
    state->files = NULL;
    state->file_count = 0;
    cr_assert_eq(node.disk->remove(node.disk->ctx, "data/manifest.mrm"), ERR_OK);
    cr_assert_eq(node.disk->remove(node.disk->ctx, "data/manifest.mrm.copy"), ERR_OK);
    open_absent(); /* It ended before the manifest was written. */
    mem_disk_flip(here.disk, "data/00000002.mrs", 100, 4); /* One is seen to be bad. */
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[LEADER].files, 1);
    expect_there_is(&good);
}

Test(rejoin_stage, a_shard_without_a_seal_is_offered_as_of_its_first_entry)
{
    struct replica fresh;
    struct contents nothing = {0};

    replica_init(&fresh);
    cr_assert_eq(replica_open(&fresh), ERR_OK);
    replica_close(&there);
    there.store = fresh.store;
    offer(1);
    fresh.store = NULL;
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(state->staged.index, 1);
    cr_assert_eq(others[LEADER].files, 0);
    expect_there_is(&nothing);
    offer(2); /* Of no other one. */
    cr_assert_eq(stage(), ERR_INVALID);
    replica_close(&there);
    replica_fini(&fresh);
}

/* ---- Who has what -------------------------------------------------------------------------- */

Test(rejoin_stage, a_file_that_the_leader_has_not_or_not_well_comes_from_another_one)
{
    others[OTHER].disk = there.disk;
    others[LEADER].disk = NULL;
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[LEADER].files, 3);
    cr_assert_eq(others[OTHER].files, 3);
    expect_there_is(&good);
}

Test(rejoin_stage, wrong_bytes_of_everybody_are_not_taken)
{
    others[OTHER].disk = there.disk;
    others[OTHER].spoils = others[LEADER].spoils = true;
    cr_assert_eq(stage(), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "from node 1"));
    expect_nothing_staged();
    others[OTHER].spoils = false;
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    expect_there_is(&good);
}

/* Another node would not make it any larger. */
Test(rejoin_stage, a_full_disk_ends_the_round_and_asks_nobody_else)
{
    others[OTHER].disk = there.disk;
    mem_disk_limit(here.disk, 1);
    cr_assert_eq(stage(), ERR_DISK_FULL);
    cr_assert_eq(others[OTHER].files, 0);
    expect_nothing_staged();
    mem_disk_limit(here.disk, 0);
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    expect_there_is(&good);
}

Test(rejoin_stage, the_disk_of_another_node_is_not_this_ones)
{
    others[OTHER].disk = there.disk;
    others[LEADER].says = ERR_DISK_FULL;
    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    cr_assert_eq(others[OTHER].files, 3);
    expect_there_is(&good);
}

/* ---- What makes no sense ------------------------------------------------------------------- */

Test(rejoin_stage, a_state_that_is_not_of_this_shard_and_entry_is_refused)
{
    offer(2); /* Its manifest is of a later one. */
    cr_assert_eq(stage(), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "not of shard 0 up to 2"), "%s", err_detail());
    expect_nothing_staged();
    offer(1);
    cr_assert_eq(stage(), ERR_INVALID);
    offered_shard = 1;
    offer(0);
    cr_assert_eq(stage(), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "a manifest of shard 1 up to"), "%s", err_detail());
    expect_nothing_staged();
    cr_assert_eq(others[LEADER].files, 0);
}

Test(rejoin_stage, a_state_with_a_wrong_byte_anywhere_is_refused)
{
    for (size_t at = 0; at < offered.size; at += 1 + offered.size / 50) {
        bytes_fini(&sent);
        bytes_put(&sent, offered.data, offered.size);
        sent.data[at] ^= 1;
        cr_assert_eq(stage(), ERR_CORRUPT, "byte %zu: %s", at, err_detail());
        expect_nothing_staged();
    }
}

/* What the hash tells to be as it was sent may still be nonsense. */
Test(rejoin_stage, nonsense_that_was_told_as_such_is_refused)
{
    for (size_t size = 1; size < offered.size; size += 1 + offered.size / 50) {
        others[LEADER].state.snapshot_size = size;
        others[LEADER].state.snapshot_hash = key_hash(offered.data, size);
        cr_assert_neq(stage(), ERR_OK, "%zu bytes", size);
        expect_nothing_staged();
    }
}

Test(rejoin_stage, no_memory_is_taken_for_what_is_too_large)
{
    static const uint64_t sizes[] = {0, (UINT64_C(512) << 20) + 1, UINT64_MAX};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned before = others[LEADER].rest;

        others[LEADER].state.snapshot_size = sizes[i];
        cr_assert_eq(stage(), ERR_UNAVAILABLE);
        cr_assert_not_null(strstr(err_detail(), "bytes of its state"));
        cr_assert_eq(others[LEADER].rest, before + 1, "nothing of it is asked for");
    }
    expect_nothing_staged();
}

/* ---- Errors here --------------------------------------------------------------------------- */

/* Either what was there is there, or it is known that it may not be. */
Test(rejoin_stage, an_error_at_any_call_of_the_disk_is_told_and_mended_by_the_next_round)
{
    uint64_t calls = mem_disk_calls(here.disk, MEM_DISK_ANY);

    cr_assert_eq(stage(), ERR_OK, "%s", err_detail());
    calls = mem_disk_calls(here.disk, MEM_DISK_ANY) - calls;
    cr_assert_gt(calls, 20);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        enum err err;

        replica_close(&here);
        mem_disk_free(here.disk);
        here.disk = mem_disk_new();
        here.options.disk = node.disk = mem_disk_table(here.disk);
        open_absent();
        free(state->files);
        bytes_fini(&state->staged.configuration);
        *state = (struct rejoin_group){.began = REJOIN_LOST};
        mem_disk_fail(here.disk, MEM_DISK_ANY, nth, nth % 2 ? ERR_IO : ERR_DISK_FULL, false);
        err = stage();
        mem_disk_fail(here.disk, MEM_DISK_ANY, 0, ERR_OK, false);
        if (err != ERR_OK) {
            cr_assert_neq(state->staged.state, REJOIN_READY);
            cr_assert(state->touched || !mem_disk_exists(here.disk, "data/manifest.mrm"));
            cr_assert_eq(stage(), ERR_OK, "behind call %u: %s", (unsigned)nth, err_detail());
        }
        cr_assert_eq(state->staged.state, REJOIN_READY);
        expect_there_is(&good);
    }
}
