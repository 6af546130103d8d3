/*
 * What a leader drops: by age, by bytes, and with a database; and what nobody may write meanwhile.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/shard_io.h"
#include "storage/base/clk.h"
#include "storage/block/seal_order.h"
#include "tests/support/replica.h"

#define HOUR_NS   INT64_C(3600000000000)
#define WINDOW_NS (HOUR_NS / 30) /* Of a retention of an hour. */

static struct replica replica;
static struct node node = {.shards = 1, .groups = 2, .worker_count = 1};
static struct worker worker = {.node = &node};
static struct shard shard = {.number = 1, .worker = &worker};
static int64_t taught_ns;
static unsigned lessons;

uint32_t shard_compact_plan(struct shard *of, struct seal_compaction *ret_compactions)
{
    (void)of;
    (void)ret_compactions;
    return 0;
}

uint32_t shard_compact_cleans(struct shard *of, struct seal_clean *ret_cleans)
{
    (void)of;
    (void)ret_cleans;
    return 0;
}

bool shard_compact_is_due(struct shard *of, uint32_t planned)
{
    (void)of;
    return planned > 0;
}

void worker_teach_cutoff(struct worker *from, struct worker *to, struct slice name, uint32_t number,
                         int64_t cutoff_ns)
{
    (void)from;
    (void)to;
    cr_assert_eq(name.size, 2);
    cr_assert_eq(number, 0);
    taught_ns = cutoff_ns;
    lessons++;
}

static enum err propose_says;
static struct buf *proposed;

bool shard_can_propose(const struct shard *of, struct answer *ret_answer)
{
    (void)of;
    (void)ret_answer;
    return true;
}

enum err shard_propose(struct shard *of, struct buf *entry, uint64_t *ret_index)
{
    (void)of;
    if (propose_says != ERR_OK)
        return err_set(propose_says, "told to");
    proposed = buf_ref(entry);
    *ret_index = replica.log_count + 1;
    return ERR_OK;
}

void router_answer(struct worker *of, struct route *route)
{
    (void)of;
    route->done(route);
}

void router_fail(struct worker *of, struct route *route, enum err code, uint32_t retry_ms)
{
    route->answer.code = code;
    route->answer.retry_ms = retry_ms;
    router_answer(of, route);
}

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    node.workers = &worker;
    shard.store = replica.store;
    shard.deletes_end = &shard.deletes;
}

static void tear_down(void)
{
    schema_map_fini(&worker.schema);
    replica_fini(&replica);
}

TestSuite(shard_retention, .init = set_up, .fini = tear_down);

static void put(const char *table, int64_t time_ns)
{
    struct entries_value value = {table, "a", time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void seal(void)
{
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

static void know(const char *name, const struct schema_database *database)
{
    cr_assert_eq(
        schema_map_set_database(&worker.schema, (struct slice){name, strlen(name)}, database),
        ERR_OK);
}

/* Look, and carry out what is ordered. Returns how many databases stand in it. */
static uint32_t look(bool *ret_drops, struct seal_database *ret_first)
{
    struct buf *entry = shard_seal_order(&shard, (struct slice){NULL, 0}, ret_drops);
    enum store_outcome outcome;
    struct seal_order order;
    uint32_t count;

    cr_assert_not_null(entry);
    cr_assert_eq(seal_order_read(entry, &order), ERR_OK);
    count = order.left;
    if (count > 0)
        (void)seal_order_next(&order, ret_first);
    if (*ret_drops) {
        cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
        shard_teach_cutoffs(&shard, entry);
    } else {
        buf_unref(entry);
    }
    return count;
}

static struct store_stats stats(void)
{
    struct store_stats now;

    store_stats(replica.store, &now);
    return now;
}

Test(shard_retention, nothing_goes_that_nobody_limits)
{
    const struct schema_database plain = {0};
    struct seal_database first;
    bool drops;

    know("db", &plain);
    put("cpu", 0);
    seal();
    cr_assert_eq(look(&drops, &first), 0);
    cr_assert_not(drops);
}

Test(shard_retention, whole_windows_go_when_they_are_too_old)
{
    const struct schema_database hour = {.retention_ns = (uint64_t)HOUR_NS};
    int64_t now_ns = clk_wall_ns();
    struct seal_database first;
    bool drops;

    know("db", &hour);
    put("cpu", now_ns - 3 * HOUR_NS);
    seal();
    put("cpu", now_ns);
    put("other/cpu", 0);
    seal();
    put("cpu", now_ns - 2 * HOUR_NS); /* In the head. */
    cr_assert_eq(look(&drops, &first), 1);
    cr_assert(drops);
    cr_assert_eq(first.window_ns, WINDOW_NS);
    cr_assert_eq(first.cutoff_ns % WINDOW_NS, 0);
    cr_assert_leq(first.cutoff_ns, clk_wall_ns() - HOUR_NS);
    cr_assert_gt(first.cutoff_ns, now_ns - HOUR_NS - WINDOW_NS);
    cr_assert_eq(stats().segment_rows, 2);
    cr_assert_eq(stats().head_rows, 0);
    cr_assert_eq(taught_ns, first.cutoff_ns);
    cr_assert_eq(look(&drops, &first), 1, "the window is said with every seal");
    cr_assert_not(drops, "the same is not dropped twice");
    cr_assert_eq(lessons, 1);
    shard_teach_cutoffs(&shard, NULL);
    cr_assert_eq(lessons, 2, "and all again after a start");
}

Test(shard_retention, the_oldest_go_when_there_are_too_many_bytes)
{
    const struct schema_database small = {.retention_bytes = 1};
    struct schema_database fits = {0};
    struct store_database stored;
    struct seal_database first;
    bool drops;

    for (int64_t day = 4; day-- > 0;) {
        put("cpu", day * SEAL_WINDOW_DEFAULT_NS + 7);
        seal();
    }
    store_database(replica.store, 0, &stored);
    cr_assert_eq(stored.segments, 4);
    fits.retention_bytes = stored.bytes;
    know("db", &fits);
    cr_assert_eq(look(&drops, &first), 0);
    fits.retention_bytes = stored.bytes - 1;
    know("db", &fits);
    cr_assert_eq(look(&drops, &first), 1);
    cr_assert_eq(first.cutoff_ns, 8);
    cr_assert_eq(stats().segments, 3);
    know("db", &small);
    cr_assert_eq(look(&drops, &first), 1);
    cr_assert_eq(first.cutoff_ns, 2 * SEAL_WINDOW_DEFAULT_NS + 8, "the newest one stays");
    cr_assert_eq(stats().segments, 1);
    cr_assert_eq(look(&drops, &first), 0);
}

Test(shard_retention, a_dropped_database_is_erased_once_and_takes_no_rows)
{
    const struct schema_database dropped = {.drop = 5, .dropped = true};
    const struct schema_database again = {.drop = 5};
    struct slice table = {"\002db\003cpu", 7};
    struct seal_database first;
    bool drops;

    cr_assert_eq(shard_check_database(&shard, table), ERR_OK);
    put("cpu", 1);
    seal();
    know("db", &dropped);
    cr_assert(shard_looks_for_drops(&shard, shard.looked_ms), "at once");
    cr_assert_eq(shard_check_database(&shard, table), ERR_NOT_FOUND);
    know("db", &again);
    cr_assert_eq(shard_check_database(&shard, table), ERR_BUSY, "it is to be erased first");
    cr_assert_eq(shard_check_database(&shard, (struct slice){"\001x\003cpu", 6}), ERR_OK);
    cr_assert_eq(look(&drops, &first), 1);
    cr_assert_eq(first.drop, 5);
    cr_assert_eq(stats().segments, 0);
    cr_assert_eq(shard_check_database(&shard, table), ERR_OK);
    cr_assert_eq(look(&drops, &first), 0);
    cr_assert_not(shard_looks_for_drops(&shard, shard.looked_ms));
    put("cpu", 1);
    seal();
    cr_assert_eq(stats().segments, 1);
}

Test(shard_retention, a_drop_comes_to_shards_without_the_database_too)
{
    const struct schema_database dropped = {.drop = 5, .dropped = true};
    struct seal_database first;
    bool drops;

    know("db", &dropped);
    cr_assert_eq(look(&drops, &first), 1);
    cr_assert_eq(store_database_mark(replica.store, (struct slice){"db", 2}).drop, 5);
    cr_assert_eq(look(&drops, &first), 0);
}

/* ---- Deletes ------------------------------------------------------------------------------- */

static enum err last_code;
static char last_text[ERR_DETAIL_MAX];

static void deleted(struct route *route)
{
    struct order_request *request = (struct order_request *)route;

    last_code = route->answer.code;
    (void)snprintf(last_text, sizeof last_text, "%s", err_detail());
    (void)err_set(ERR_BUSY, "the link to who asked is full");
    bytes_fini(&request->message);
    free(request);
}

static void ask_delete(const char *tombstone, size_t size)
{
    struct message_delete message = {0, {tombstone, size}};
    struct order_request *request = calloc(1, sizeof *request);

    request->route.done = deleted;
    message_put_delete(&message, &request->message);
    last_code = ERR_END;
    shard_delete(&shard, request);
}

/* All rows of db.cpu. */
#define ALL                            \
    "\x07\x02"                         \
    "db\x03"                           \
    "cpu"                              \
    "\0\0\0\0\0\0\0\x80"               \
    "\xff\xff\xff\xff\xff\xff\xff\x7f" \
    "\0\0\0\0"

Test(shard_retention, a_delete_is_answered_when_it_is_applied)
{
    enum store_outcome outcome;

    put("cpu", 1);
    ask_delete(ALL, sizeof ALL - 1);
    cr_assert_eq(last_code, ERR_END);
    cr_assert_eq(shard.seal_index, 2);
    cr_assert_eq(replica_apply(&replica, proposed, &outcome), ERR_OK, "%s", err_detail());
    cr_assert_eq(outcome, STORE_SEAL);
    shard_end_deletes(&shard, 1, ERR_OK);
    cr_assert_eq(last_code, ERR_END);
    shard_end_deletes(&shard, 2, ERR_OK);
    cr_assert_eq(last_code, ERR_OK);
    cr_assert_eq(stats().tombstones, 0);
}

Test(shard_retention, a_delete_that_cannot_be_done_says_so)
{
    ask_delete("nonsense", 8);
    cr_assert_eq(last_code, ERR_INVALID);
    propose_says = ERR_BUSY;
    ask_delete(ALL, sizeof ALL - 1);
    cr_assert_eq(last_code, ERR_BUSY);
    propose_says = ERR_OK;
    ask_delete(ALL, sizeof ALL - 1);
    buf_unref(proposed);
    ask_delete(ALL, sizeof ALL - 1);
    shard_end_deletes(&shard, UINT64_MAX, err_set(ERR_UNAVAILABLE, "leadership moved"));
    cr_assert_eq(last_code, ERR_UNAVAILABLE);
    cr_assert_str_eq(last_text, "leadership moved", "each is told why");
    buf_unref(proposed);
}
