/*
 * millrace.h - write rows to a Millrace site and ask for them back.
 *
 * A client connects to several nodes, sends each series to the leader of its shard, follows leader
 * changes, sends again what was not answered, and never stores a row twice: each batch carries a
 * producer, an epoch and a sequence.
 *
 *     struct millrace *m;
 *     struct millrace_options options = {.nodes = "10.0.0.1:7400,10.0.0.2:7400", .database =
 * "plant"}; if (millrace_open(&options, &m) != MILLRACE_OK) ... millrace_last_error(NULL) uint32_t
 * series; millrace_series(m, "cpu", (struct millrace_tag[]){{"host", "a"}}, 1, &series);
 *     millrace_write(m, series, time_ns, (struct millrace_value[]){MILLRACE_DOUBLE("user", 1.5)},
 * 1); millrace_flush(m, 5000);        blocks until all of it is on the disks of a majority
 *     millrace_close(m);
 *
 * ACKNOWLEDGED   means: on the disks of a majority of the replicas, and applied at the leader.
 * THREADS        One thread at a time uses a struct millrace; it has a thread of its own inside for
 *                the sockets. Callbacks run on that thread: they must be short and call nothing
 * here. MEMORY         bounded by bytes_max: millrace_write() waits (or says MILLRACE_BUSY) when
 * the batches under way reach it.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers as in the protocol: append only. */
enum millrace_code {
    MILLRACE_OK = 0,
    MILLRACE_END = 1,
    MILLRACE_NO_MEMORY = 2,
    MILLRACE_IO = 3,
    MILLRACE_CORRUPT = 4,
    MILLRACE_INVALID = 5,
    MILLRACE_NOT_FOUND = 6,
    MILLRACE_NOT_LEADER = 7,
    MILLRACE_BUSY = 8,
    MILLRACE_TIMEOUT = 9,
    MILLRACE_CANCELED = 10,
    MILLRACE_UNAVAILABLE = 11,
    MILLRACE_TYPE_CONFLICT = 12,
    MILLRACE_LIMIT = 13,
    MILLRACE_TOO_LARGE = 14,
    MILLRACE_DISK_FULL = 15,
    MILLRACE_SEQUENCE = 16,
    MILLRACE_VERSION = 17
};

enum millrace_type {
    MILLRACE_FLOAT_TYPE = 1,
    MILLRACE_INT_TYPE = 2,
    MILLRACE_UINT_TYPE = 3,
    MILLRACE_BOOL_TYPE = 4,
    MILLRACE_STRING_TYPE = 5
};

struct millrace;
struct millrace_result;

/** A batch of rows of one shard was answered. Rows are counted in the order of millrace_write(). */
struct millrace_ack {
    enum millrace_code code; /* Not MILLRACE_OK: given up, see text; the rows may or may not be
                                stored if code is MILLRACE_TIMEOUT, and are not stored otherwise. */
    uint32_t shard;
    uint64_t sequence;
    uint32_t rows, points;
    uint64_t sent_ns, done_ns; /* CLOCK_MONOTONIC: the batch's first row came, the answer came. */
    void *const *tags; /* One a row: what millrace_tag_rows() had set when it was written. */
    const char *text;
};

struct millrace_options {
    const char *nodes;    /* "HOST:PORT,..."; NULL: MILLRACE_NODE, else 127.0.0.1:7400. */
    const char *database; /* NULL: "default". */
    size_t bytes_max;     /* Memory for rows not yet acknowledged; 0: 64 MiB. */
    uint32_t batch_rows;  /* Rows of one shard that make a batch leave; 0: 4096; at most 65536. */
    uint32_t linger_ms;   /* A smaller batch leaves after this; 0: 5. */
    uint32_t inflight;    /* Batches under way for each shard; 0: 8. */
    uint32_t timeout_ms;  /* Give a batch up after this; 0: 30000. */
    uint32_t nonblocking; /* 1: millrace_write() says MILLRACE_BUSY instead of waiting. */
    void (*on_ack)(void *ctx, const struct millrace_ack *ack);
    void *ctx;
};

struct millrace_tag {
    const char *name;
    const char *value;
};

struct millrace_value {
    const char *name;
    enum millrace_type type;
    union {
        double f;
        int64_t i;
        uint64_t u;
        int b;
        struct {
            const char *data;
            size_t size;
        } s;
    } as;
};

/** Connect (to the first node that answers) and learn the topology. Waits up to 5 s. */
enum millrace_code millrace_open(const struct millrace_options *options, struct millrace **ret);
/** Flushes for up to timeout_ms, then frees. Returns what the flush did. */
enum millrace_code millrace_close(struct millrace *m);

/** The line that explains the last failed call on `m` (NULL: of millrace_open() on this thread). */
const char *millrace_last_error(const struct millrace *m);
const char *millrace_code_name(enum millrace_code code);
const char *millrace_version(void);

/* ---- Writing ------------------------------------------------------------------------------- */

/** A number for a series, to write rows to; the same for the same table and tags. Local: no
 * waiting. */
enum millrace_code millrace_series(struct millrace *m, const char *table,
                                   const struct millrace_tag *tags, size_t tag_count,
                                   uint32_t *ret_series);
/** One row. Errors: MILLRACE_TYPE_CONFLICT (names both types), MILLRACE_BUSY, MILLRACE_LIMIT, ...
 */
enum millrace_code millrace_write(struct millrace *m, uint32_t series, int64_t time_ns,
                                  const struct millrace_value *values, size_t count);
/** `tag` comes back in millrace_ack.tags for each row written from now on. */
void millrace_tag_rows(struct millrace *m, void *tag);
/** One text of line protocol; times without a unit are in `unit_ns`. Bad lines are counted and the
 * first is named by millrace_last_error(). */
enum millrace_code millrace_write_lines(struct millrace *m, const char *text, size_t size,
                                        int64_t unit_ns, uint64_t *ret_rows, uint64_t *ret_bad);
/** Send all, wait until everything is answered. The first error of a batch since the last flush. */
enum millrace_code millrace_flush(struct millrace *m, uint32_t timeout_ms);

struct millrace_counts {
    uint64_t rows_written, rows_acknowledged, rows_failed, points_acknowledged, batches, retries,
        reconnects, bytes_sent, bytes_pending;
};
void millrace_counts(const struct millrace *m, struct millrace_counts *ret);

/* ---- Asking -------------------------------------------------------------------------------- */

struct millrace_query {
    const char *table;
    const char *const *fields; /* count 0: all */
    size_t field_count;
    const struct millrace_tag
        *where; /* tag = value, all must hold; a name that ends in '!': not equal */
    size_t where_count;
    const char *const *group_by;
    size_t group_count;
    int64_t from_ns, to_ns; /* [from, to); 0, 0: everything */
    int64_t every_ns;
    const char *agg; /* NULL or "none", "count", "min", "max", "sum", "mean", "first", "last" */
    int last;        /* newest value of each series */
    uint64_t limit;  /* 0: none */
    const char *consistency; /* NULL or "leader", "linearizable", "any" */
    uint32_t timeout_ms;     /* 0: 30 s */
};

enum millrace_code millrace_query(struct millrace *m, const struct millrace_query *query,
                                  struct millrace_result **ret_result);
void millrace_result_free(struct millrace_result *result);

enum millrace_kind { MILLRACE_TIME = 1, MILLRACE_TAG = 2, MILLRACE_FIELD = 3 };

size_t millrace_result_rows(const struct millrace_result *result);
size_t millrace_result_columns(const struct millrace_result *result);
const char *millrace_result_name(const struct millrace_result *result, size_t column);
enum millrace_kind millrace_result_kind(const struct millrace_result *result, size_t column);
enum millrace_type millrace_result_type(const struct millrace_result *result, size_t column);
/** 1 and the value (as.s borrowed from the result), or 0 where the row has none. */
int millrace_result_get(const struct millrace_result *result, size_t row, size_t column,
                        struct millrace_value *ret_value);

/** The site's (all = 1) or the first node's status as JSON; free() it. */
enum millrace_code millrace_status(struct millrace *m, int all, char **ret_json);

#ifdef __cplusplus
}
#endif

#endif
