/*
 * What a shard tells a node that begins again, and what it says when it has to, or has. The group
 * is played.
 */
#include <criterion/criterion.h>

#include "client/wire/fetch.h"
#include "node/meta.h"
#include "node/rejoin.h"
#include "node/shard_io.h"
#include "storage/manifest.h"
#include "storage/store_damage.h"
#include "tests/support/replica.h"

static struct replica replica;
static struct node node = {.shards = 1, .groups = 2, .worker_count = 1};
static struct worker worker = {.node = &node};
static struct shard shard = {.number = 1, .worker = &worker};
static struct group_state state;
static struct group_install to_install, installed;
static bool is_ready; /* In the list of those that rejoin. */
static uint64_t now_ms, started_at;
static unsigned behind_count, done_count;
static enum err answer_code;

/* ---- In place of the rest of the node ------------------------------------------------------ */

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void group_state(const struct group *group, struct group_state *ret_state)
{
    (void)group;
    *ret_state = state;
}

enum err group_snapshot_at(const struct group *group, uint64_t index, uint64_t *ret_term,
                           uint64_t *ret_configuration_index, struct buf **ret_configuration)
{
    (void)group;
    if (index > state.last)
        return err_set(ERR_NOT_FOUND, "no entry");
    *ret_term = 5;
    *ret_configuration_index = 1;
    *ret_configuration = buf_new(4);
    cr_assert_not_null(*ret_configuration);
    memcpy((*ret_configuration)->bytes, "conf", 4);
    (*ret_configuration)->size = 4;
    return ERR_OK;
}

enum err group_install(struct group *group, const struct group_install *install)
{
    (void)group;
    installed = *install;
    state.snapshot = install->index;
    return ERR_OK;
}

enum err group_start(struct group *group, uint64_t applied)
{
    (void)group;
    started_at = applied;
    return ERR_OK;
}

bool rejoin_install(const struct rejoin *rejoin, uint32_t group, struct group_install *ret_install)
{
    (void)rejoin;
    cr_assert_eq(group, 1);
    *ret_install = to_install;
    return is_ready;
}

static bool is_lost;

bool rejoin_is_lost(const struct rejoin *rejoin, uint32_t group)
{
    (void)rejoin;
    cr_assert_eq(group, 1);
    return is_lost;
}

struct fetch_known rejoin_known(struct rejoin *rejoin, uint64_t server, uint64_t start)
{
    (void)rejoin;
    return (struct fetch_known){.start = start + 1, .knows = server == 3};
}

void rejoin_behind(struct rejoin *rejoin, uint32_t group, uint64_t last)
{
    (void)rejoin;
    cr_assert_eq(group, 1);
    cr_assert_eq(last, state.last);
    behind_count++;
}

void rejoin_done(struct rejoin *rejoin, uint32_t group)
{
    (void)rejoin;
    cr_assert_eq(group, 1);
    done_count++;
}

/* Entries up to `gone` stand in file 4, others in 5, which is the first that is there; that of
 * `termless` stands nowhere. */
static uint64_t gone, termless;

uint64_t group_position(const struct group *group, uint64_t index)
{
    (void)group;
    return index == termless ? 0 : (index <= gone ? UINT64_C(4) : UINT64_C(5)) << 32 | 4096;
}

void log_range(struct log *log, uint32_t *ret_first, uint32_t *ret_current)
{
    (void)log;
    *ret_first = *ret_current = 5;
}

uint64_t meta_saved(const struct meta *meta)
{
    (void)meta;
    return 0;
}

uint64_t meta_applied(const struct meta *meta)
{
    (void)meta;
    return 0;
}

const struct schema_map *meta_schema(const struct meta *meta)
{
    (void)meta;
    return NULL;
}

void meta_encode(const struct schema_map *map, uint64_t applied, struct bytes *out)
{
    (void)map;
    (void)applied;
    out->failed = true;
}

void router_answer(struct worker *of, struct route *route)
{
    (void)of;
    (void)route;
    answer_code = ERR_OK;
}

void router_fail(struct worker *of, struct route *route, enum err code, uint32_t retry_ms)
{
    (void)of;
    (void)route;
    (void)retry_ms;
    answer_code = code;
}

/* ---- Asking -------------------------------------------------------------------------------- */

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    shard.store = replica.store;
    state = (struct group_state){.term = 9, .last = 1000, .leading = true, .ready = true};
    now_ms = 1000000;
}

static void tear_down(void)
{
    bytes_fini(&shard.offer.bytes);
    replica_fini(&replica);
}

TestSuite(shard_rejoin, .init = set_up, .fini = tear_down);

static enum err ask(const struct fetch_piece *piece, struct buf **ret_bytes)
{
    struct piece_request request = {.piece = *piece};

    answer_code = ERR_END;
    request.from = 3;
    shard_tell(&shard, &request);
    *ret_bytes = request.bytes;
    return answer_code;
}

static struct fetch_state ask_state(uint64_t with_snapshot)
{
    struct fetch_piece piece = {.kind = FETCH_KIND_STATE,
                                .number = with_snapshot,
                                .size = FETCH_STATE_SIZE,
                                .length = FETCH_STATE_SIZE};
    struct fetch_state told;
    struct buf *bytes;

    cr_assert_eq(ask(&piece, &bytes), ERR_OK);
    cr_assert_eq(fetch_get_state(bytes->bytes, bytes->size, &told), ERR_OK);
    buf_unref(bytes);
    return told;
}

static enum err ask_snapshot(const struct fetch_state *told, uint64_t offset, uint32_t length,
                             struct buf **ret_bytes)
{
    struct fetch_piece piece = {.kind = FETCH_KIND_SNAPSHOT,
                                .size = told->snapshot_size,
                                .hash = told->snapshot_hash,
                                .offset = offset,
                                .length = length};

    return ask(&piece, ret_bytes);
}

static void seal_some(void)
{
    static int64_t time_ns = 1;
    struct entries_value value = {
        .table = "cpu", .host = "a", .time_ns = time_ns++, .field = "v", .type = FIELD_INT};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
}

/* ---- Tests --------------------------------------------------------------------------------- */

Test(shard_rejoin, one_whose_log_is_empty_is_told_what_is_known_of_it)
{
    const struct fetch_piece piece = {.shard = FETCH_META,
                                      .kind = FETCH_KIND_KNOWN,
                                      .number = 77,
                                      .size = FETCH_KNOWN_SIZE,
                                      .length = FETCH_KNOWN_SIZE};
    struct fetch_known known;
    struct buf *bytes;

    cr_assert_eq(ask(&piece, &bytes), ERR_OK);
    cr_assert_eq(fetch_get_known(bytes->bytes, bytes->size, &known), ERR_OK);
    cr_assert(known.start == 78 && known.knows && !known.begins);
    buf_unref(bytes);
}

Test(shard_rejoin, a_leader_offers_its_manifest)
{
    struct fetch_state told;
    struct fetch_snapshot snapshot;
    struct manifest manifest;
    struct buf *bytes;

    seal_some();
    told = ask_state(1);
    cr_assert(told.term == 9 && told.last == 1000 && told.leads && !told.silent);
    cr_assert_gt(told.snapshot_size, 0);
    cr_assert_eq(ask_snapshot(&told, 0, (uint32_t)told.snapshot_size, &bytes), ERR_OK);
    cr_assert_eq(key_hash(bytes->bytes, bytes->size), told.snapshot_hash);
    cr_assert_eq(fetch_get_snapshot(bytes->bytes, bytes->size, &snapshot), ERR_OK);
    cr_assert(snapshot.term == 5 && snapshot.configuration_index == 1);
    cr_assert_eq(snapshot.index, store_sealed_index(replica.store));
    cr_assert_eq(memcmp(snapshot.configuration.data, "conf", 4), 0);
    cr_assert_eq(manifest_decode(snapshot.state.data, snapshot.state.size, &manifest), ERR_OK);
    cr_assert_eq(manifest.sealed_index, snapshot.index);
    cr_assert_eq(manifest.segment_count, 1);
    manifest_fini(&manifest);
    buf_unref(bytes);
}

Test(shard_rejoin, pieces_are_of_one_offer_or_none)
{
    struct fetch_state first, second;
    struct buf *bytes, *rest;

    seal_some();
    first = ask_state(1);
    cr_assert_eq(ask_snapshot(&first, 0, 10, &bytes), ERR_OK);
    seal_some();
    cr_assert_eq(ask_snapshot(&first, 10, 10, &rest), ERR_OK); /* It is kept as it was. */
    buf_unref(rest);
    second = ask_state(1);
    cr_assert_neq(second.snapshot_hash, first.snapshot_hash);
    cr_assert_eq(ask_snapshot(&first, 10, 10, &rest), ERR_NOT_FOUND);
    cr_assert_null(rest);
    cr_assert_eq(ask_snapshot(&second, second.snapshot_size - 7, 7, &rest), ERR_OK);
    cr_assert_eq(rest->size, 7);
    buf_unref(rest);
    buf_unref(bytes);
}

Test(shard_rejoin, an_offer_is_kept_as_long_as_it_is_asked_for)
{
    struct fetch_state told;
    struct buf *bytes;

    seal_some();
    told = ask_state(1);
    for (unsigned i = 0; i < 5; i++) {
        now_ms += 15000;
        shard_rejoin_tick(&shard, &state, now_ms);
        cr_assert_eq(ask_snapshot(&told, 0, 1, &bytes), ERR_OK, "after %u", i);
        buf_unref(bytes);
    }
    now_ms += 20001;
    shard_rejoin_tick(&shard, &state, now_ms);
    cr_assert_eq(shard.offer.bytes.size, 0);
    cr_assert_eq(ask_snapshot(&told, 0, 1, &bytes), ERR_NOT_FOUND);
}

Test(shard_rejoin, who_does_not_lead_offers_nothing)
{
    struct fetch_state told;

    state.ready = state.leading = false;
    told = ask_state(1);
    cr_assert(!told.leads && !told.silent && told.snapshot_size == 0 && told.term == 9);
    shard.silent = true; /* It knows its term. */
    told = ask_state(1);
    cr_assert(!told.silent && told.term == 9);
    is_lost = true;
    told = ask_state(1);
    cr_assert(told.silent);
    shard.silent = is_lost = false;
    state.ready = true;
    told = ask_state(0); /* Nobody wants one. */
    cr_assert(told.leads && told.snapshot_size == 0);
}

Test(shard_rejoin, a_shard_that_was_never_sealed_offers_the_beginning)
{
    struct fetch_state told = ask_state(1);
    struct fetch_snapshot snapshot;
    struct manifest manifest;
    struct buf *bytes;

    cr_assert_eq(ask_snapshot(&told, 0, (uint32_t)told.snapshot_size, &bytes), ERR_OK);
    cr_assert_eq(fetch_get_snapshot(bytes->bytes, bytes->size, &snapshot), ERR_OK);
    cr_assert_eq(snapshot.index, 1);
    cr_assert_eq(manifest_decode(snapshot.state.data, snapshot.state.size, &manifest), ERR_OK);
    cr_assert_eq(manifest.sealed_index, 0);
    manifest_fini(&manifest);
    buf_unref(bytes);

    is_ready = true;
    to_install = (struct group_install){.index = 1, .until = 9};
    cr_assert_eq(shard_begin(&shard, store_applied_index(replica.store)), ERR_OK);
    cr_assert_eq(started_at, 1);
    cr_assert_eq(store_applied_index(replica.store), 1);

    replica_close(&replica); /* Nothing was sealed until the next start. */
    cr_assert_eq(replica_open(&replica), ERR_OK);
    shard.store = replica.store;
    is_ready = false;
    cr_assert_eq(shard_begin(&shard, store_applied_index(replica.store)), ERR_OK);
    cr_assert_eq(started_at, 1);
}

Test(shard_rejoin, tells_from_where_on_its_log_can_be_read)
{
    state.ready = false;
    state.first = 100;
    state.snapshot = 99;
    gone = 300;
    cr_assert_eq(ask_state(0).first, 301);
    gone = 0;
    cr_assert_eq(ask_state(0).first, 100);
    termless = 100;
    cr_assert_eq(ask_state(0).first, 100); /* Not sealed: it waits to be written. */
    termless = 0;
    state.snapshot = 150; /* Nobody knows the term of entry 99 any more. */
    cr_assert_eq(ask_state(0).first, 101);
    state.first = state.last + 1;
    state.snapshot = state.last;
    cr_assert_eq(ask_state(0).first, state.last + 1);
    seal_some();
    state.first = termless = 1;
    cr_assert_eq(ask_state(0).first, 2);
    gone = 1000;
    cr_assert_eq(ask_state(0).first, 1001);
}

Test(shard_rejoin, what_the_log_has_forgotten_is_said)
{
    struct fetch_piece piece = {.kind = FETCH_KIND_STATE,
                                .number = 1,
                                .size = FETCH_STATE_SIZE,
                                .length = FETCH_STATE_SIZE};
    struct buf *bytes;

    seal_some();
    state.last = 0;
    cr_assert_eq(ask(&piece, &bytes), ERR_NOT_FOUND);
    cr_assert_null(bytes);
}

Test(shard_rejoin, a_group_that_lacks_entries_for_long_says_so_now_and_then)
{
    state.ready = state.leading = false;
    state.lacks = true;
    shard_rejoin_tick(&shard, &state, now_ms);
    shard_rejoin_tick(&shard, &state, now_ms + 1900);
    cr_assert_eq(behind_count, 0);
    state.lacks = false; /* They came. */
    shard_rejoin_tick(&shard, &state, now_ms + 2500);
    state.lacks = true;
    shard_rejoin_tick(&shard, &state, now_ms + 2600);
    cr_assert_eq(behind_count, 0);
    shard_rejoin_tick(&shard, &state, now_ms + 4700);
    shard_rejoin_tick(&shard, &state, now_ms + 4800); /* The thread asks the leader meanwhile. */
    cr_assert_eq(behind_count, 1);
    shard_rejoin_tick(&shard, &state, now_ms + 6800);
    cr_assert_eq(behind_count, 2);
}

Test(shard_rejoin, a_group_that_begins_again_is_installed_and_leaves_the_list_when_it_is_not_mute)
{
    is_ready = true;
    to_install = (struct group_install){.index = 7, .until = 9};
    cr_assert_eq(shard_begin(&shard, 7), ERR_OK);
    cr_assert(installed.index == 7 && installed.until == 9 && started_at == 7);
    state.mute = true;
    shard_rejoin_tick(&shard, &state, now_ms);
    cr_assert_eq(done_count, 0);
    state.mute = false;
    shard_rejoin_tick(&shard, &state, now_ms);
    shard_rejoin_tick(&shard, &state, now_ms);
    cr_assert_eq(done_count, 1);
}

Test(shard_rejoin, all_others_start_as_ever)
{
    cr_assert_eq(shard_begin(&shard, 7), ERR_OK);
    cr_assert(installed.index == 0 && started_at == 7);
    shard_rejoin_tick(&shard, &state, now_ms);
    cr_assert_eq(done_count, 0);
}
