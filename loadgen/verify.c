#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loadgen/run.h"

enum { SLICE_ROWS = 100000, SHARDS_MAX = 4096, SETTLE_MS = 250, SETTLE_TRIES = 80 };

/* ---- Status -------------------------------------------------------------------------------- */

/* What a shard's leader says once it has applied all that was committed before: others may be
 * behind, or have just started. */
static void add_ready_shards(const json_t *shards, uint8_t *leaders, uint64_t *rows)
{
    const json_t *shard;
    size_t at;

    json_array_foreach(shards, at, shard)
    {
        if (at >= SHARDS_MAX || !json_is_true(json_object_get(shard, "ready")))
            continue;
        *rows += (uint64_t)json_integer_value(json_object_get(shard, "rows"));
        leaders[at]++;
    }
}

/* *ret_missing: shards that have no leader who is ready just now, or two while it moves. */
static bool read_status(struct run *run, uint64_t *ret_rows, uint64_t *ret_cpu_ms,
                        size_t *ret_missing)
{
    uint8_t leaders[SHARDS_MAX] = {0};
    size_t shards = 0, at;
    const json_t *node;
    char *text = NULL;
    json_t *root;

    if (millrace_status(run->client, 1, &text) != MILLRACE_OK)
        return false;
    root = json_loads(text, 0, NULL);
    free(text);
    *ret_rows = 0;
    *ret_cpu_ms = 0;
    *ret_missing = 0;
    json_array_foreach(json_object_get(root, "nodes"), at, node)
    {
        const json_t *list = json_object_get(node, "shards");

        *ret_cpu_ms += (uint64_t)(json_real_value(json_object_get(node, "cpu_s")) * 1000);
        shards = json_array_size(list) > shards ? json_array_size(list) : shards;
        add_ready_shards(list, leaders, ret_rows);
    }
    json_decref(root);
    for (size_t i = 0; i < shards && i < SHARDS_MAX; i++)
        *ret_missing += leaders[i] != 1;
    return shards > 0;
}

bool verify_status(struct run *run, uint64_t *ret_rows, uint64_t *ret_cpu_ms)
{
    const struct timespec settle = {.tv_nsec = SETTLE_MS * 1000000};
    size_t missing = 0;

    for (int i = 0; i < SETTLE_TRIES; i++) {
        /* A node's figures of its shards are up to 100 ms old. */
        (void)nanosleep(&settle, NULL);
        if (!read_status(run, ret_rows, ret_cpu_ms, &missing))
            return false; /* No node answers: the client's error says why. */
        if (missing == 0)
            return true;
    }
    fprintf(stderr, "millrace-loadgen: %zu shards have no leader that is ready\n", missing);
    return false;
}

/* ---- Reading back -------------------------------------------------------------------------- */

struct places {
    size_t time, tag;
    size_t fields[PLAN_FIELDS_MAX];
};

static bool find_columns(const struct run *run, const struct millrace_result *result,
                         struct places *ret_places)
{
    const struct workload *workload = &run->workload;
    size_t columns = millrace_result_columns(result);
    uint32_t found = 0;

    for (size_t c = 0; c < columns; c++) {
        const char *name = millrace_result_name(result, c);
        enum millrace_kind kind = millrace_result_kind(result, c);
        char room[16];

        if (kind == MILLRACE_TIME) {
            ret_places->time = c;
            found++;
        } else if (kind == MILLRACE_TAG && strcmp(name, workload_series_tag(workload)) == 0) {
            ret_places->tag = c;
            found++;
        }
        for (uint32_t f = 0; kind == MILLRACE_FIELD && f < workload->fields; f++) {
            if (strcmp(name, workload_field(workload, f, room)) == 0) {
                ret_places->fields[f] = c;
                found++;
            }
        }
    }
    return found == workload->fields + 2;
}

static int64_t series_at(const struct run *run, const struct millrace_result *result, size_t row,
                         size_t column)
{
    struct millrace_value value;
    char text[WORKLOAD_TEXT_MAX];

    if (!millrace_result_get(result, row, column, &value) || value.as.s.size >= sizeof text)
        return -1;
    memcpy(text, value.as.s.data, value.as.s.size);
    text[value.as.s.size] = '\0';
    return workload_series_of(&run->workload, text);
}

static bool is_expected(const struct workload *workload, const struct millrace_value *value,
                        int64_t expected)
{
    double number = (double)expected / 100.0;

    if (workload_is_integer(workload))
        return value->type == MILLRACE_INT_TYPE && value->as.i == expected;
    return value->type == MILLRACE_FLOAT_TYPE && memcmp(&value->as.f, &number, sizeof number) == 0;
}

static void check_row(struct run *run, const struct millrace_result *result,
                      const struct places *places, size_t row, struct run_verdict *verdict)
{
    const struct workload *workload = &run->workload;
    struct millrace_value value = {0};
    int64_t series = series_at(run, result, row, places->tag);
    uint32_t writer = 0;
    uint64_t number = 0;
    bool good = millrace_result_get(result, row, places->time, &value) &&
                workload_locate(workload, value.as.i, &writer, &number) &&
                number < run->writers[writer].sent &&
                series == (int64_t)workload_row_series(workload, writer, number);
    int64_t time_ns = value.as.i;

    for (uint32_t f = 0; good && f < workload->fields; f++)
        good = millrace_result_get(result, row, places->fields[f], &value) &&
               is_expected(workload, &value, workload_value(workload, (uint32_t)series, number, f));
    if (!good) {
        if (verdict->invented++ == 0 && verdict->first[0] == '\0')
            (void)snprintf(verdict->first, sizeof verdict->first,
                           "invented: a row of series %" PRId64 " at %" PRId64
                           " ns was not written like this",
                           series, time_ns);
        return;
    }
    if (!ledger_read(&run->writers[writer].ledger, number)) {
        if (verdict->doubled++ == 0 && verdict->first[0] == '\0')
            (void)snprintf(verdict->first, sizeof verdict->first,
                           "doubled: series %" PRId64 " at %" PRId64 " ns came back twice", series,
                           time_ns);
    }
}

static bool read_slice(struct run *run, int64_t from_ns, int64_t to_ns, struct run_verdict *verdict)
{
    struct millrace_query query = {.table = workload_table(&run->workload),
                                   .from_ns = from_ns,
                                   .to_ns = to_ns,
                                   .timeout_ms = 60000};
    struct millrace_result *result = NULL;
    struct places places = {0};

    if (millrace_query(run->client, &query, &result) != MILLRACE_OK) {
        (void)snprintf(verdict->first, sizeof verdict->first, "reading back failed: %s",
                       millrace_last_error(run->client));
        return false;
    }
    if (millrace_result_rows(result) > 0 && !find_columns(run, result, &places)) {
        verdict->invented += millrace_result_rows(result);
        (void)snprintf(verdict->first, sizeof verdict->first,
                       "the table \"%s\" has other columns than were written", query.table);
    } else {
        for (size_t row = 0; row < millrace_result_rows(result); row++)
            check_row(run, result, &places, row, verdict);
    }
    millrace_result_free(result);
    return true;
}

bool verify_run(struct run *run, struct run_verdict *ret_verdict)
{
    struct run_verdict *verdict = ret_verdict;
    uint64_t longest = 0, applied = 0, cpu_ms = 0;
    int64_t end_ns;

    *verdict = (struct run_verdict){0};
    for (uint32_t w = 0; w < run->plan.connections; w++)
        longest = run->writers[w].sent > longest ? run->writers[w].sent : longest;
    end_ns = workload_time(&run->workload, 0, longest) + run->plan.connections;
    for (int64_t from = run->workload.start_ns; from < end_ns; from += SLICE_ROWS) {
        int64_t to = end_ns - from > SLICE_ROWS ? from + SLICE_ROWS : end_ns;

        if (!read_slice(run, from, to, verdict))
            return false;
    }
    for (uint32_t w = 0; w < run->plan.connections; w++) {
        struct ledger_count count = ledger_count(&run->writers[w].ledger);

        verdict->acknowledged += count.acknowledged;
        verdict->read += count.read;
        verdict->unknown += count.unknown;
        if (count.lost > 0 && verdict->first[0] == '\0')
            (void)snprintf(verdict->first, sizeof verdict->first,
                           "lost: series %u at %" PRId64 " ns was acknowledged and is not there",
                           workload_row_series(&run->workload, w, count.first_lost),
                           workload_time(&run->workload, w, count.first_lost));
        verdict->lost += count.lost;
    }
    /* A query shows equal rows as one; the shards' own counts tell what was applied twice. */
    if (!verify_status(run, &applied, &cpu_ms)) {
        (void)snprintf(verdict->first, sizeof verdict->first, "status: %s",
                       millrace_last_error(run->client));
        return false;
    }
    if (applied - run->rows_before > verdict->read) {
        verdict->doubled += applied - run->rows_before - verdict->read;
        if (verdict->first[0] == '\0')
            (void)snprintf(verdict->first, sizeof verdict->first,
                           "doubled: the shards applied %" PRIu64 " rows, %" PRIu64
                           " different ones are there",
                           applied - run->rows_before, verdict->read);
    }
    verdict->done = true;
    return true;
}
