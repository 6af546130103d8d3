/* Rows through libmillrace: blocks to the leaders of their shards. */
#include <stdlib.h>

#include "loadgen/run.h"
#include "storage/base/clk.h"

struct native {
    struct run_writer *writer;
    struct millrace *client;
    uint32_t *series; /* The client's numbers of our own series, plus 1; 0: not asked yet. */
    char names[PLAN_FIELDS_MAX][16];
    struct millrace_value values[PLAN_FIELDS_MAX];
};

static void acknowledged(void *ctx, const struct millrace_ack *ack)
{
    struct run_writer *writer = ctx;
    uint64_t first = (uint64_t)(uintptr_t)ack->tags[0];
    uint64_t due_ns;

    if (ack->code != MILLRACE_OK) {
        run_error(writer, ack->code, ack->text);
        return;
    }
    atomic_fetch_add_explicit(&writer->rows, ack->rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->points, ack->points, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->requests, 1, memory_order_relaxed);
    due_ns = run_due_ns(writer, first);
    if (due_ns == 0 || due_ns > ack->sent_ns)
        due_ns = ack->sent_ns;
    histogram_record(&writer->latency, ack->done_ns - due_ns);
    if (writer->run->plan.verify) {
        for (uint32_t i = 0; i < ack->rows; i++)
            ledger_acknowledge(&writer->ledger, (uint64_t)(uintptr_t)ack->tags[i]);
    }
}

static enum millrace_code find_series(struct native *native, uint32_t series, uint32_t *ret)
{
    const struct workload *workload = &native->writer->run->workload;
    uint32_t *known = &native->series[series / workload->writers];
    struct workload_tag tags[WORKLOAD_TAGS_MAX];
    struct millrace_tag pairs[WORKLOAD_TAGS_MAX];
    enum millrace_code code;
    uint32_t count;

    if (*known == 0) {
        count = workload_tags(workload, series, tags);
        for (uint32_t i = 0; i < count; i++)
            pairs[i] = (struct millrace_tag){tags[i].name, tags[i].value};
        code = millrace_series(native->client, workload_table(workload), pairs, count, ret);
        if (code != MILLRACE_OK)
            return code;
        *known = *ret + 1;
    }
    *ret = *known - 1;
    return MILLRACE_OK;
}

static enum millrace_code write_row(struct native *native, uint64_t row)
{
    struct run_writer *writer = native->writer;
    const struct workload *workload = &writer->run->workload;
    uint32_t series = workload_row_series(workload, writer->number, row);
    uint32_t handle = 0;
    enum millrace_code code = find_series(native, series, &handle);

    if (code != MILLRACE_OK)
        return code;
    for (uint32_t f = 0; f < workload->fields; f++) {
        int64_t value = workload_value(workload, series, row, f);

        if (workload_is_integer(workload))
            native->values[f].as.i = value;
        else
            native->values[f].as.f = (double)value / 100.0;
    }
    millrace_tag_rows(native->client, (void *)(uintptr_t)row);
    return millrace_write(native->client, handle, workload_time(workload, writer->number, row),
                          native->values, workload->fields);
}

static void generate(struct native *native)
{
    struct run_writer *writer = native->writer;
    uint64_t row = 0;

    for (; run_pace(writer, row); row++) {
        enum millrace_code code = MILLRACE_OK;

        if (row % LEDGER_CHUNK_ROWS == 0 && writer->run->plan.verify &&
            ledger_reserve(&writer->ledger, row + LEDGER_CHUNK_ROWS) != ERR_OK) {
            run_error(writer, MILLRACE_NO_MEMORY, err_detail());
            break;
        }
        code = write_row(native, row);
        if (code != MILLRACE_OK) {
            run_error(writer, code, millrace_last_error(native->client));
            if (code == MILLRACE_TYPE_CONFLICT || code == MILLRACE_INVALID)
                break; /* Every row will be like this one. */
        }
    }
    writer->sent = row;
}

static void replay(struct native *native)
{
    struct run_writer *writer = native->writer;
    const char *text;
    size_t size;

    while (run_pace(writer, 0) && (size = run_replay(writer->run, &text)) > 0) {
        uint64_t rows = 0, bad = 0;
        enum millrace_code code = millrace_write_lines(native->client, text, size, 1, &rows, &bad);

        if (code != MILLRACE_OK || bad > 0)
            run_error(writer, code == MILLRACE_OK ? MILLRACE_INVALID : code,
                      millrace_last_error(native->client));
        writer->sent += rows;
    }
}

void *native_writer(void *arg)
{
    struct run_writer *writer = arg;
    const struct plan *plan = &writer->run->plan;
    struct millrace_options options = {.nodes = plan->nodes,
                                       .database = plan->database,
                                       .batch_rows = plan->batch < 65536 ? plan->batch : 65536,
                                       .on_ack = acknowledged,
                                       .ctx = writer};
    struct native *native = calloc(1, sizeof *native);
    enum millrace_code code;

    if (native != NULL)
        native->series = calloc(plan->series / plan->connections + 1, sizeof *native->series);
    if (native == NULL || native->series == NULL) {
        free(native);
        run_error(writer, MILLRACE_NO_MEMORY, "no memory for a writer");
        return NULL;
    }
    native->writer = writer;
    for (uint32_t f = 0; f < plan->fields; f++) {
        native->values[f].name = workload_field(&writer->run->workload, f, native->names[f]);
        native->values[f].type =
            workload_is_integer(&writer->run->workload) ? MILLRACE_INT_TYPE : MILLRACE_FLOAT_TYPE;
    }
    code = millrace_open(&options, &native->client);
    if (code != MILLRACE_OK) {
        run_error(writer, code, millrace_last_error(NULL));
    } else {
        if (plan->workload == WORKLOAD_REPLAY)
            replay(native);
        else
            generate(native);
        code = millrace_flush(native->client, 30000);
        if (code != MILLRACE_OK)
            run_error(writer, code, millrace_last_error(native->client));
        (void)millrace_close(native->client);
    }
    free(native->series);
    free(native);
    return NULL;
}
