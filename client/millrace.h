/*
 * millrace.h - write rows to a Millrace site and ask for them back.
 *
 * A client connects to several nodes, sends each series to the leader of its shard, follows leader
 * changes, sends again what was not answered, and never stores a row twice: each batch carries a
 * producer, an epoch and a sequence.
 *
 *     struct millrace_options options = {.nodes = "10.0.0.1:7400,10.0.0.2:7400"};
 *     struct millrace_tag tags[] = {{"host", "a"}};
 *     struct millrace_value values[] = {millrace_double("usage_user", 1.5)};
 *     struct millrace *m;
 *     uint32_t series;
 *
 *     if (millrace_open(&options, &m) != MILLRACE_OK)
 *         ... millrace_last_error(NULL)
 *     millrace_series(m, "cpu", tags, 1, &series);
 *     millrace_write(m, series, time_ns, values, 1);     returns at once, nearly always
 *     millrace_flush(m, 5000);                           returns when all of it is acknowledged
 *     millrace_close(m);
 *
 * ACKNOWLEDGED   means: on the disks of a majority of the replicas, and applied at the leader.
 * ERRORS         A call that fails returns why and leaves a line for people in
 *                millrace_last_error(). What it would have returned by pointer is untouched.
 * THREADS        One thread at a time uses a struct millrace; it has a thread of its own inside for
 *                the sockets, which blocks all signals. on_ack runs on that thread: it must be
 *                short and call nothing here.
 * MEMORY         of rows is bounded by bytes_max: millrace_write() waits (or says MILLRACE_BUSY)
 *                while what was not acknowledged reaches it.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MILLRACE_API __attribute__((visibility("default")))

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
    MILLRACE_VERSION = 17,
    MILLRACE_TOO_OLD = 18
};

/* The type of a field of a table is decided for the whole site by its first row. */
enum millrace_type {
    MILLRACE_FLOAT_TYPE = 1,
    MILLRACE_INT_TYPE = 2,
    MILLRACE_UINT_TYPE = 3,
    MILLRACE_BOOL_TYPE = 4,
    MILLRACE_STRING_TYPE = 5
};

struct millrace;
struct millrace_result;

/** A batch of rows of one shard was answered. Everything is borrowed during the callback. */
struct millrace_ack {
    /* MILLRACE_TIMEOUT: it was sent and not answered in time; its rows may or may not be stored.
     * Anything else but MILLRACE_OK: its rows are not stored, and text says why. */
    enum millrace_code code;
    uint32_t shard;
    uint64_t sequence; /* In its shard and epoch; 0: it was never sent. */
    uint32_t rows, points;
    uint64_t sent_ns, done_ns; /* CLOCK_MONOTONIC: the batch's first row came, the answer came. */
    /* MILLRACE_TOO_OLD: a batch may be answered in two parts: these rows are older than what their
     * database keeps, the others are stored and named by another answer. */
    void *const *tags; /* One a row, in the order of millrace_write(): what millrace_tag_rows() had
                          set when it was written. */
    const char *text;  /* "" when the code is MILLRACE_OK. */
};

/** A zeroed struct has the defaults. Strings are copied. */
struct millrace_options {
    const char *nodes;    /* "HOST:PORT,..."; NULL: $MILLRACE_NODE, else 127.0.0.1:7400. */
    const char *database; /* NULL: "default". */
    size_t bytes_max;     /* Memory for rows not yet acknowledged; 0: 64 MiB. */
    uint32_t batch_rows;  /* Rows of one shard that make a batch leave; 0: 4096; at most 65536. */
    uint32_t linger_ms;   /* A smaller batch leaves after this; 0: 5. */
    uint32_t inflight;    /* Batches under way for each shard; 0: 8. */
    uint32_t timeout_ms;  /* Give a batch, a wait or a new field up after this; 0: 30000. */
    uint32_t nonblocking; /* 1: millrace_write() says MILLRACE_BUSY instead of waiting for room. */
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
            const char *data; /* Any bytes. */
            size_t size;
        } s;
    } as;
};

/** Connect to the nodes and learn the topology. Waits up to 5 s; less if all of them refuse.
 * MILLRACE_UNAVAILABLE: none answers. */
MILLRACE_API enum millrace_code millrace_open(const struct millrace_options *options,
                                              struct millrace **ret);
/** Flushes for up to timeout_ms, then frees. Returns what the flush did. NULL is allowed. */
MILLRACE_API enum millrace_code millrace_close(struct millrace *m);

/** The line that explains the last failed call on `m`, until the next one (NULL: of the last
 * millrace_open() on this thread, until its next call here). */
MILLRACE_API const char *millrace_last_error(const struct millrace *m);
/** "ok", "not leader", ... Static. */
MILLRACE_API const char *millrace_code_name(enum millrace_code code);
/** Of the library: "0.1.0". Static. */
MILLRACE_API const char *millrace_version(void);

/* ---- Writing ------------------------------------------------------------------------------- */

/** A number for a series, to write rows to; the same for the same table and tags, in any order.
 * Does not wait. MILLRACE_INVALID: an empty name or value; MILLRACE_LIMIT: one over 1024 bytes. */
MILLRACE_API enum millrace_code millrace_series(struct millrace *m, const char *table,
                                                const struct millrace_tag *tags, size_t tag_count,
                                                uint32_t *ret_series);

/**
 * One row; it leaves with its batch. The first row with a new field waits for the site to decide
 * the field's type.
 *
 * Errors  the row was not taken: MILLRACE_TYPE_CONFLICT (names both types), MILLRACE_BUSY
 *         (nonblocking: no room), MILLRACE_TIMEOUT (no room for timeout_ms), MILLRACE_INVALID,
 *         MILLRACE_LIMIT, MILLRACE_NO_MEMORY, MILLRACE_UNAVAILABLE (new field, no site)
 */
MILLRACE_API enum millrace_code millrace_write(struct millrace *m, uint32_t series, int64_t time_ns,
                                               const struct millrace_value *values, size_t count);

/** `tag` comes back in millrace_ack.tags for each row written from now on. */
MILLRACE_API void millrace_tag_rows(struct millrace *m, void *tag);

/**
 * A text of whole lines of line protocol; times are in `unit_ns`, lines without one get this
 * moment's.
 *
 * Returns MILLRACE_INVALID if lines were bad: the others were taken, *ret_bad counts them, and
 * millrace_last_error() names the first. Other errors stop before the end. Both counts are always
 * set, and may be NULL.
 */
MILLRACE_API enum millrace_code millrace_write_lines(struct millrace *m, const char *text,
                                                     size_t size, int64_t unit_ns,
                                                     uint64_t *ret_rows, uint64_t *ret_bad);

/** Send all, wait until everything is answered. Returns the first error of a batch since the last
 * flush that ended, or MILLRACE_TIMEOUT. */
MILLRACE_API enum millrace_code millrace_flush(struct millrace *m, uint32_t timeout_ms);

struct millrace_counts {
    uint64_t rows_written, rows_acknowledged, rows_failed, points_acknowledged;
    uint64_t batches; /* Answered, well or not. */
    uint64_t retries; /* Batches sent again. */
    uint64_t reconnects;
    uint64_t bytes_sent;
    uint64_t bytes_pending;
};
/** Any thread. */
MILLRACE_API void millrace_counts(const struct millrace *m, struct millrace_counts *ret);

/* ---- Asking -------------------------------------------------------------------------------- */

/** A condition on a tag. A series without it has the value "". Patterns (PCRE2) match the whole
 * value. */
struct millrace_condition {
    const char *tag;
    const char *op; /* "=", "!=", "=~", "!~"; NULL: "=" */
    const char *value;
};

struct millrace_query {
    const char *table;
    const char *const *fields; /* count 0: all */
    size_t field_count;
    const struct millrace_condition *where; /* all must hold */
    size_t where_count;
    const char *const *group_by; /* Aggregates: a result for each combination of these tags. */
    size_t group_count;
    int64_t from_ns, to_ns; /* [from, to); 0, 0: everything */
    int64_t every_ns;       /* Aggregates: width of a window; 0: one for all. */
    const char *agg; /* NULL or "none", "count", "min", "max", "sum", "mean", "first", "last" */
    int last;        /* newest value of each series */
    /* NULL or "rows"; "series": the tags of each, "labels": names of all tags, "values": those of
     * the tag fields[0], "tables": those of the database (table is NULL),
     * "databases": what each shard has of each: tag database; fields series, rows, head_rows (not
     * sealed yet), segments, bytes; time_min and time_max where there are rows */
    const char *about;
    uint64_t limit;          /* rows; 0: none */
    const char *consistency; /* NULL or "leader", "linearizable", "any" */
    uint32_t timeout_ms;     /* 0: 30 s; millrace_scan(): 30 s for each part */
    uint32_t again_ms; /* After so long without an answer take the question back and ask again,
                          another node if there is one; then after twice as long, ... until
                          timeout_ms. 0: millrace_query() waits, millrace_scan() asks after 10 s. */
};

/** Ask, and wait for the whole answer. Rows come sorted by tags, then time; columns: time (if
 * there is one), tags by name, fields as asked for or by name. */
MILLRACE_API enum millrace_code millrace_query(struct millrace *m,
                                               const struct millrace_query *query,
                                               struct millrace_result **ret_result);
MILLRACE_API void millrace_result_free(struct millrace_result *result); /* NULL is allowed. */

/** Takes a part of the rows, borrowed during the call. Anything but 0 ends the scan. */
typedef int (*millrace_part_cb)(void *ctx, const struct millrace_result *part);

/**
 * Raw rows of a table, however many: in parts of about a MiB, one shard after the other, by series
 * and time. Which series comes first, the site decides; it is the same each time. Parts have the
 * columns that their rows need.
 *
 * What was acknowledged before it began and stays to its end comes, and comes once, whoever leads
 * meanwhile; what is written while it runs may come or not. on_part is called on this thread.
 * A part that a node does not give is asked for again, from where the one before ended. Errors:
 * MILLRACE_TIMEOUT: for query->timeout_ms nobody had the next part; MILLRACE_CANCELED: on_part
 * ended it; MILLRACE_INVALID: an aggregate, last, about or a limit.
 */
MILLRACE_API enum millrace_code millrace_scan(struct millrace *m,
                                              const struct millrace_query *query,
                                              millrace_part_cb on_part, void *ctx);

enum millrace_kind { MILLRACE_TIME = 1, MILLRACE_TAG = 2, MILLRACE_FIELD = 3 };

MILLRACE_API size_t millrace_result_rows(const struct millrace_result *result);
MILLRACE_API size_t millrace_result_columns(const struct millrace_result *result);
MILLRACE_API const char *millrace_result_name(const struct millrace_result *result, size_t column);
MILLRACE_API enum millrace_kind millrace_result_kind(const struct millrace_result *result,
                                                     size_t column);
MILLRACE_API enum millrace_type millrace_result_type(const struct millrace_result *result,
                                                     size_t column);
/** 1 and the value (name and as.s borrowed from the result), or 0 where the row has none. */
MILLRACE_API int millrace_result_get(const struct millrace_result *result, size_t row,
                                     size_t column, struct millrace_value *ret_value);
/** Consistency "any": the answer is at most so old. 0 otherwise. */
MILLRACE_API uint64_t millrace_result_stale_ms(const struct millrace_result *result);

/** Status as JSON; free() it. all = 0: some node's own; 1: {"nodes": [each one's that answers],
 * "unreachable": [server ids]}. */
MILLRACE_API enum millrace_code millrace_status(struct millrace *m, int all, char **ret_json);

/* ---- Databases ----------------------------------------------------------------------------- */

struct millrace_database {
    const char *name;
    uint64_t retention_ns;    /* Rows are kept so long; 0: for ever. */
    uint64_t retention_bytes; /* All shards' segments on one node, the oldest go; 0: no limit. */
    uint64_t series_max;      /* New ones above it are refused; 0: no limit. */
    uint64_t window_ns;       /* Of time that one segment covers: follows from retention_ns. */
};

/** Make a database. NULL: the site's default. MILLRACE_INVALID: it exists, or the retention is
 * under a minute. After MILLRACE_TIMEOUT it may be done or not; so with the next two. */
MILLRACE_API enum millrace_code millrace_database_create(struct millrace *m, const char *name,
                                                         const uint64_t *retention_ns,
                                                         const uint64_t *retention_bytes,
                                                         const uint64_t *series_max);
/** Change what is not NULL. MILLRACE_NOT_FOUND. */
MILLRACE_API enum millrace_code millrace_database_alter(struct millrace *m, const char *name,
                                                        const uint64_t *retention_ns,
                                                        const uint64_t *retention_bytes,
                                                        const uint64_t *series_max);
/** All its rows go, and writes to it are refused until it is made again. MILLRACE_NOT_FOUND. */
MILLRACE_API enum millrace_code millrace_database_drop(struct millrace *m, const char *name);
/** All databases; free() the array, which the names are in. */
MILLRACE_API enum millrace_code
millrace_databases(struct millrace *m, struct millrace_database **ret_databases, size_t *ret_count);

/* ---- Files --------------------------------------------------------------------------------- */

/** Have every node of the site verify its files now. *ret_json, which is the caller's to free(): a
 * list of {"server", "complete_at"}: a node is through when "passes" in its status is at least
 * that; 0: it did not answer. */
MILLRACE_API enum millrace_code millrace_scrub(struct millrace *m, char **ret_json);

/* ---- Deleting ------------------------------------------------------------------------------ */

/**
 * Take away the rows of a table with a time in [from_ns, to_ns) (0, 0: all), of the series that
 * satisfy all conditions ("=" and "!=" alone), in all shards. They are gone for who asks
 * afterwards; the disk gives their room back later.
 *
 * Errors  of the first shard that failed; others may have done it, and doing it again is safe.
 *         MILLRACE_LIMIT: too many deletes hide rows that are still on the disk
 */
MILLRACE_API enum millrace_code millrace_delete(struct millrace *m, const char *table,
                                                const struct millrace_condition *where,
                                                size_t where_count, int64_t from_ns, int64_t to_ns);

/* ---- Values -------------------------------------------------------------------------------- */

static inline struct millrace_value millrace_double(const char *name, double value)
{
    struct millrace_value v;

    v.name = name;
    v.type = MILLRACE_FLOAT_TYPE;
    v.as.f = value;
    return v;
}

static inline struct millrace_value millrace_int(const char *name, int64_t value)
{
    struct millrace_value v;

    v.name = name;
    v.type = MILLRACE_INT_TYPE;
    v.as.i = value;
    return v;
}

static inline struct millrace_value millrace_uint(const char *name, uint64_t value)
{
    struct millrace_value v;

    v.name = name;
    v.type = MILLRACE_UINT_TYPE;
    v.as.u = value;
    return v;
}

static inline struct millrace_value millrace_bool(const char *name, int value)
{
    struct millrace_value v;

    v.name = name;
    v.type = MILLRACE_BOOL_TYPE;
    v.as.b = value != 0;
    return v;
}

static inline struct millrace_value millrace_string(const char *name, const char *value)
{
    struct millrace_value v;

    v.name = name;
    v.type = MILLRACE_STRING_TYPE;
    v.as.s.data = value;
    v.as.s.size = strlen(value);
    return v;
}

#ifdef __cplusplus
}
#endif

#endif
