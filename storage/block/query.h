/*
 * query.h - a question: which series, which fields, which times, and what to make of them.
 *
 * The same struct is what the client library fills in, what travels in a QUERY frame, and what a
 * scan works from. Strings are NUL-terminated and owned by whoever owns the struct.
 */
#ifndef STORAGE_BLOCK_QUERY_H
#define STORAGE_BLOCK_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/types.h"

/* Numbers are sent: append only. */
enum query_agg {
    QUERY_RAW = 0, /* "none": rows as they are */
    QUERY_COUNT = 1,
    QUERY_MIN = 2,
    QUERY_MAX = 3,
    QUERY_SUM = 4,
    QUERY_MEAN = 5,
    QUERY_FIRST = 6,
    QUERY_LAST = 7,
    QUERY_AGG_END
};

/* What a condition on a tag asks of its value. Numbers are sent: append only. */
enum query_op {
    QUERY_EQUAL = 0,
    QUERY_NOT_EQUAL = 1,
    QUERY_MATCHES = 2, /* The pattern (PCRE2) matches the whole value. */
    QUERY_NOT_MATCHES = 3,
    QUERY_OP_END
};

/* What is asked for: rows, or what there is. Numbers are sent: append only. */
enum query_about {
    QUERY_ROWS = 0,
    QUERY_SERIES = 1,    /* The tags of each series. */
    QUERY_LABELS = 2,    /* The names of all tags. */
    QUERY_VALUES = 3,    /* The values of the tag fields[0]. */
    QUERY_TABLES = 4,    /* The database's tables; names none. */
    QUERY_DATABASES = 5, /* What there is of each database (scan_databases.h); names no table. */
    QUERY_ABOUT_END
};

enum query_consistency { QUERY_LEADER = 0, QUERY_LINEARIZABLE = 1, QUERY_ANY = 2 };

enum { QUERY_FIELDS_MAX = 256, QUERY_TAGS_MAX = 32 };

struct query_match {
    const char *name;
    const char *value; /* Or pattern. A series without the tag has the value "". */
    uint32_t op;       /* enum query_op */
};

/*
 * A page of an answer that is too large to come at once: raw rows of one shard, of series from one
 * id to another, until some MiB of them have come. The end of the answer says where
 * the next page begins. Ids of series never change and are the same on all replicas, so each row
 * comes once, whoever leads meanwhile.
 */
struct query_page {
    bool on;
    uint32_t shard;
    uint32_t series_first, series_last; /* Both are in it. */
};

/** Where a page ended: at this series' first row from that time on, or at the end. */
struct query_place {
    uint32_t series; /* QUERY_PLACE_END: all of the page came. */
    int64_t time_ns;
};
#define QUERY_PLACE_END UINT32_MAX

struct query {
    const char *database;
    const char *table;
    const char *fields[QUERY_FIELDS_MAX]; /* None: all fields of the table. */
    uint32_t field_count;
    struct query_match where[QUERY_TAGS_MAX]; /* All must hold. */
    uint32_t where_count;
    const char *group_by[QUERY_TAGS_MAX]; /* Aggregates: one result series for each combination. */
    uint32_t group_count;
    int64_t from_ns; /* Inclusive; INT64_MIN: from the start. */
    int64_t to_ns;   /* Exclusive; INT64_MAX: to the end. */
    int64_t
        every_ns;   /* Aggregates: window width, windows start at multiples of it; 0: one window. */
    uint32_t agg;   /* enum query_agg */
    bool last;      /* Only the newest value of each field of each series (agg is QUERY_RAW). */
    uint64_t limit; /* Rows; 0: no limit. */
    uint32_t consistency;
    uint32_t about; /* enum query_about; other than QUERY_ROWS: times do not count. */
    struct query_page page;
};

#endif
