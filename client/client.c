#include "client/millrace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/wire/quote.h"
#include "storage/block/block.h"

#define OPEN_WAIT_NS UINT64_C(5000000000)
#define MS_NS        UINT64_C(1000000)

enum {
    BATCH_ROWS = 4096,
    LINGER_MS = 5,
    INFLIGHT = 8,
    INFLIGHT_MAX = 1024,
    TIMEOUT_MS = 30000,
    BYTES_MAX = 64 * 1024 * 1024,
    NATIVE_PORT = 7400,
};

/* The codes are the same numbers by design: an answer's code is handed on as it came. */
static_assert((int)ERR_TOO_OLD == (int)MILLRACE_TOO_OLD, "public codes follow enum err");
static_assert((int)ERR_COUNT == (int)MILLRACE_TOO_OLD + 1, "public codes follow enum err");
static_assert((int)FIELD_STRING == (int)MILLRACE_STRING_TYPE, "public types follow field_type");

/* ---- Errors -------------------------------------------------------------------------------- */

enum millrace_code client_fail(struct millrace *m, enum err err)
{
    snprintf(m->error, sizeof m->error, "%s", err_detail());
    return (enum millrace_code)err;
}

const char *millrace_last_error(const struct millrace *m)
{
    return m ? m->error : err_detail();
}

const char *millrace_code_name(enum millrace_code code)
{
    return err_name((enum err)code);
}

const char *millrace_version(void)
{
    return MILLRACE_VERSION_TEXT;
}

/* ---- Open and close ------------------------------------------------------------------------ */

/* "HOST:PORT,HOST:PORT" */
static enum err parse_seeds(const char *nodes, struct io_options *options)
{
    const char *at = nodes;
    enum err err = ERR_OK;

    while (*at && err == ERR_OK) {
        size_t size = strcspn(at, ",");

        if (options->seed_count == IO_SEEDS_MAX)
            return err_set(ERR_LIMIT, "nodes \"%s\": more than %d", nodes, IO_SEEDS_MAX);
        err = session_address_parse(at, size, NATIVE_PORT, &options->seeds[options->seed_count++]);
        at += size;
        if (*at == ',')
            at++;
    }
    if (err == ERR_OK && options->seed_count == 0)
        return err_set(ERR_INVALID, "no node given: want HOST:PORT,...");
    return err;
}

static enum err check_options(const struct millrace_options *options)
{
    if (options->batch_rows > BLOCK_ROWS_MAX)
        return err_set(ERR_INVALID, "batch_rows is %u, at most %d are allowed",
                       (unsigned)options->batch_rows, BLOCK_ROWS_MAX);
    if (options->inflight > INFLIGHT_MAX)
        return err_set(ERR_INVALID, "inflight is %u, at most %d are allowed",
                       (unsigned)options->inflight, INFLIGHT_MAX);
    return ERR_OK;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static void on_batch(void *ctx, struct batch *batch)
{
    struct millrace *m = ctx;

    io_submit(m->io, batch);
}

static void on_rows(void *ctx)
{
    struct millrace *m = ctx;

    io_wake(m->io);
}

static enum err open_rows(struct millrace *m, const struct millrace_options *options)
{
    size_t bytes_max = options->bytes_max ? options->bytes_max : BYTES_MAX;
    const char *database = options->database ? options->database : "default";
    struct rows_options rows = {
        .shards = io_shards(m->io),
        .batch_rows = or_default(options->batch_rows, BATCH_ROWS),
        .linger_ns = or_default(options->linger_ms, LINGER_MS) * MS_NS,
        /* Half for rows that gather, half for batches under way. */
        .bytes_max = bytes_max / 2,
        .keep_tags = options->on_ack != NULL,
        .on_batch = on_batch,
        .on_rows = on_rows,
        .ctx = m,
    };
    enum err err = names_new((struct slice){database, strlen(database)}, rows.shards, &m->names);

    if (err == ERR_OK)
        err = rows_new(&rows, &m->rows);
    if (err != ERR_OK)
        return err;
    m->room = bytes_max - bytes_max / 2;
    m->timeout_ns = or_default(options->timeout_ms, TIMEOUT_MS) * MS_NS;
    m->nonblocking = options->nonblocking != 0;
    io_linger(m->io, m->rows);
    return ERR_OK;
}

static void free_client(struct millrace *m)
{
    if (m->io) {
        io_linger(m->io, NULL);
        io_stop(m->io); /* Its batches know series: names go last. */
    }
    rows_free(m->rows);
    names_free(m->names);
    free(m->fields);
    free(m);
}

enum millrace_code millrace_open(const struct millrace_options *options, struct millrace **ret)
{
    const char *nodes = options->nodes ? options->nodes : getenv("MILLRACE_NODE");
    struct io_options io = {
        .inflight = or_default(options->inflight, INFLIGHT),
        .linger_ns = or_default(options->linger_ms, LINGER_MS) * MS_NS,
        .timeout_ns = or_default(options->timeout_ms, TIMEOUT_MS) * MS_NS,
        .on_ack = options->on_ack,
        .ctx = options->ctx,
    };
    struct millrace *m = calloc(1, sizeof *m);
    enum err err;

    if (!m)
        return (enum millrace_code)err_set(ERR_NO_MEMORY, "a client");
    m->fields = calloc(FIELD_COUNT_MAX, sizeof *m->fields);
    err = m->fields ? check_options(options) : err_set(ERR_NO_MEMORY, "a client");
    if (err == ERR_OK)
        err = parse_seeds(nodes ? nodes : "127.0.0.1", &io);
    if (err == ERR_OK)
        err = io_start(&io, OPEN_WAIT_NS, &m->io);
    if (err == ERR_OK)
        err = open_rows(m, options);
    if (err != ERR_OK) {
        struct err_note note;

        err_save(&note, err);
        free_client(m);
        return (enum millrace_code)err_restore(&note);
    }
    *ret = m;
    return MILLRACE_OK;
}

enum millrace_code millrace_close(struct millrace *m)
{
    enum millrace_code code;

    if (!m)
        return MILLRACE_OK;
    code = millrace_flush(m, (uint32_t)(m->timeout_ns / MS_NS));
    free_client(m);
    return code;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

enum millrace_code millrace_series(struct millrace *m, const char *table,
                                   const struct millrace_tag *tags, size_t tag_count,
                                   uint32_t *ret_series)
{
    struct tag slices[TAG_COUNT_MAX];
    enum err err;

    if (tag_count > TAG_COUNT_MAX)
        return client_fail(
            m, err_set(ERR_LIMIT, "%zu tags, at most %d are allowed", tag_count, TAG_COUNT_MAX));
    for (size_t i = 0; i < tag_count; i++) {
        slices[i].name = (struct slice){tags[i].name, strlen(tags[i].name)};
        slices[i].value = (struct slice){tags[i].value, strlen(tags[i].value)};
    }
    err =
        names_series(m->names, (struct slice){table, strlen(table)}, slices, tag_count, ret_series);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}

/* Are the fields of the types that the site decided? *ret_known: it decided all of them. */
static enum err check_types(struct table *table, const struct line_field *fields, size_t count,
                            bool *ret_known)
{
    struct field *field;

    *ret_known = true;
    for (size_t i = 0; i < count; i++) {
        enum err err = names_field(table, fields[i].name.data, fields[i].name.size, &field);

        if (err != ERR_OK)
            return err;
        if (field->type == 0)
            *ret_known = false;
        else if (field->type != fields[i].type)
            return err_set(ERR_TYPE_CONFLICT, "field \"%s\" of table \"%s\" is %s, not %s",
                           quote(fields[i].name).text, quote(table->name).text,
                           field_type_name(field->type), field_type_name(fields[i].type));
    }
    return ERR_OK;
}

static enum err wait_for_room(struct millrace *m)
{
    if (atomic_load_explicit(&m->io->counts.bytes_pending, memory_order_relaxed) < m->room)
        return ERR_OK;
    if (m->nonblocking)
        return err_set(ERR_BUSY, "%zu bytes of rows wait for their answers", m->room);
    return io_wait_room(m->io, m->room, m->timeout_ns);
}

enum err client_write_row(struct millrace *m, uint32_t series_number, int64_t time_ns,
                          const struct line_field *fields, size_t count)
{
    struct series *series = names_series_at(m->names, series_number);
    struct table *table;
    bool known;
    enum err err;

    if (!series)
        return err_set(ERR_INVALID, "series %u was never named", (unsigned)series_number);
    if (count == 0 || count > FIELD_COUNT_MAX)
        return err_set(ERR_INVALID, "a row of %zu values: want 1 to %d", count, FIELD_COUNT_MAX);
    table = names_table(m->names, series->table);
    err = check_types(table, fields, count, &known);
    if (err == ERR_OK && !known) {
        err = client_declare(m, table, fields, count);
        if (err == ERR_OK)
            err = check_types(table, fields, count, &known);
    }
    if (err == ERR_OK)
        err = wait_for_room(m);
    if (err == ERR_OK)
        err = rows_add(m->rows, series, table->key_size, time_ns, fields, count, m->tag);
    if (err == ERR_OK)
        atomic_fetch_add_explicit(&m->io->counts.rows_written, 1, memory_order_relaxed);
    return err;
}

/* Writes member by member: a struct that is built and then copied costs more here than all the rest
 * (its wide loads have to wait for the narrow stores). */
static enum err set_field(struct line_field *field, const struct millrace_value *value)
{
    field->name.data = value->name;
    field->name.size = strlen(value->name);
    field->type = (enum field_type)value->type;
    switch (value->type) {
    case MILLRACE_FLOAT_TYPE:
        memcpy(&field->bits, &value->as.f, sizeof field->bits);
        break;
    case MILLRACE_INT_TYPE:
        field->bits = (uint64_t)value->as.i;
        break;
    case MILLRACE_UINT_TYPE:
        field->bits = value->as.u;
        break;
    case MILLRACE_BOOL_TYPE:
        field->bits = value->as.b != 0;
        break;
    case MILLRACE_STRING_TYPE:
        field->text.data = value->as.s.data;
        field->text.size = value->as.s.size;
        break;
    default:
        return err_set(ERR_INVALID, "field \"%s\": %d is no type", quote(field->name).text,
                       (int)value->type);
    }
    return ERR_OK;
}

enum millrace_code millrace_write(struct millrace *m, uint32_t series, int64_t time_ns,
                                  const struct millrace_value *values, size_t count)
{
    enum err err = ERR_OK;

    if (count > FIELD_COUNT_MAX)
        err = err_set(ERR_LIMIT, "a row of %zu values, at most %d are allowed", count,
                      FIELD_COUNT_MAX);
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = set_field(&m->fields[i], &values[i]);
    if (err == ERR_OK)
        err = client_write_row(m, series, time_ns, m->fields, count);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}

void millrace_tag_rows(struct millrace *m, void *tag)
{
    m->tag = tag;
}

enum millrace_code millrace_flush(struct millrace *m, uint32_t timeout_ms)
{
    enum err err = rows_cut_all(m->rows);

    if (err == ERR_OK)
        err = io_flush(m->io, timeout_ms * MS_NS);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}

void millrace_counts(const struct millrace *m, struct millrace_counts *ret)
{
    const struct io_counts *counts = &m->io->counts;

#define COUNT(name) .name = atomic_load_explicit(&counts->name, memory_order_relaxed)
    *ret = (struct millrace_counts){
        COUNT(rows_written),        COUNT(rows_acknowledged), COUNT(rows_failed),
        COUNT(points_acknowledged), COUNT(batches),           COUNT(retries),
        COUNT(reconnects),          COUNT(bytes_sent),        COUNT(bytes_pending),
    };
#undef COUNT
}
