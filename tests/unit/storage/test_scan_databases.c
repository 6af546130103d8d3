#include <criterion/criterion.h>
#include <string.h>

#include "storage/scan_databases.h"
#include "tests/support/replica.h"

static const struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 24};
static struct replica replica;

struct answer {
    uint64_t series, rows, head_rows, segments, bytes;
    int64_t time_min_ns, time_max_ns;
    bool found, timed;
};

struct asked {
    const char *database;
    struct answer answer;
};

static enum err take(void *arg, const struct columns *batch)
{
    struct asked *asked = arg;
    uint64_t figures[7] = {0};

    cr_assert_eq(batch->columns[0].kind, COLUMN_TAG);
    for (uint32_t row = 0; row < batch->rows; row++) {
        const struct column *name = &batch->columns[0];

        if (name->values[row] >> 32 != strlen(asked->database) ||
            memcmp(name->text.data + (uint32_t)name->values[row], asked->database,
                   strlen(asked->database)) != 0)
            continue;
        for (uint32_t c = 1; c < batch->count; c++) {
            cr_assert_leq(c, 7);
            figures[c - 1] = batch->columns[c].values[row];
        }
        asked->answer = (struct answer){
            .series = figures[0],
            .rows = figures[1],
            .head_rows = figures[2],
            .segments = figures[3],
            .bytes = figures[4],
            .time_min_ns = (int64_t)figures[5],
            .time_max_ns = (int64_t)figures[6],
            .found = true,
            .timed = batch->count > 6 && batch->columns[6].present[row],
        };
    }
    return ERR_OK;
}

static struct answer ask(const char *database)
{
    struct asked asked = {.database = database};
    struct snapshot *snapshot = store_snapshot(replica.store);

    cr_assert_not_null(snapshot);
    cr_assert_eq(scan_databases(snapshot, &limits, take, &asked), ERR_OK, "%s", err_detail());
    snapshot_free(snapshot);
    return asked.answer;
}

static void write(const char *table, const char *host, int64_t time_ns)
{
    struct entries_value value = {table, host, time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(scan_databases, .init = set_up, .fini = tear_down);

Test(scan_databases, counts_what_is_in_memory_and_in_segments)
{
    struct entries_value mixed[] = {
        {"cpu", "c", 30, "v", FIELD_INT, 1, NULL, 0},
        {"other/cpu", "c", 4, "v", FIELD_INT, 1, NULL, 0},
    };
    struct answer answer;

    cr_assert_not(ask("db").found);
    write("cpu", "a", 5);
    write("mem", "a", 20);
    write("other/cpu", "a", 7);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    write("cpu", "b", 3);
    replica_write(&replica, &(struct entries_from){0}, mixed, 2);

    answer = ask("db");
    cr_assert(answer.found && answer.timed);
    cr_assert_eq(answer.series, 4);
    cr_assert_eq(answer.rows, 4);
    cr_assert_eq(answer.head_rows, 2);
    cr_assert_eq(answer.segments, 1);
    cr_assert_gt(answer.bytes, 0);
    cr_assert_eq(answer.time_min_ns, 3);
    cr_assert_eq(answer.time_max_ns, 30);
    answer = ask("other");
    cr_assert_eq(answer.series, 2);
    cr_assert_eq(answer.rows, 2);
    cr_assert_eq(answer.head_rows, 1);
    cr_assert_eq(answer.segments, 1);
    cr_assert_eq(answer.time_min_ns, 4);
    cr_assert_eq(answer.time_max_ns, 7);

    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    answer = ask("db");
    cr_assert_eq(answer.rows, 4);
    cr_assert_eq(answer.head_rows, 0);
    cr_assert_eq(answer.segments, 2);
}

Test(scan_databases, ends_with_its_deadline)
{
    struct scan_limits late = limits;
    struct asked asked = {.database = "db"};
    struct snapshot *snapshot;

    write("cpu", "a", 5);
    snapshot = store_snapshot(replica.store);
    late.deadline_ns = 1;
    cr_assert_eq(scan_databases(snapshot, &late, take, &asked), ERR_TIMEOUT);
    snapshot_free(snapshot);
}
