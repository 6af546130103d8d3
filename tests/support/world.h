/*
 * world.h - a small shard with everything in it, its plain model, and the answers of the model.
 *
 * Blocks that overlap, repeat rows and overwrite fields, in a snapshot made by hand; beside them an
 * array that says what each field of each series is at each time. Queries are answered from the
 * array in the simplest way there is. Answers are lines of text, so that a difference can be read:
 *
 *     time=1000 host=h1 site=a f:float=3ff0000000000000 s:string=on
 *
 * Floats are multiples of 0.25 that are small enough for sums to be exact in any order.
 */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

#include "storage/block/columns.h"
#include "storage/block/query.h"
#include "storage/catalog.h"
#include "storage/snapshot.h"

enum { WORLD_SERIES = 30, WORLD_TIMES = 60, WORLD_FIELDS = 6 };

struct world_cell {
    bool present;
    uint64_t bits;
    const char *text; /* FIELD_STRING: static. */
};

struct world_series {
    char key[256];
    size_t key_size, table_key_size;
    const char *table, *host, *site; /* site NULL: the series does not have the tag. */
};

struct world {
    struct catalog *catalog;
    struct catalog_view view;
    struct snapshot snapshot;
    struct world_series series[WORLD_SERIES]; /* By id. Tables "cpu" and "mem". */
    struct world_cell cells[WORLD_SERIES][WORLD_TIMES][WORLD_FIELDS];
};

extern const char *const world_field_names[WORLD_FIELDS]; /* In ascending order. */
extern const enum field_type world_field_types[WORLD_FIELDS];

/** The at-th time, ns; some are before 1970. */
int64_t world_time(uint32_t at);

/** Abort without memory. */
void world_make(struct world *world, uint64_t *chance, uint32_t blocks);
void world_free(struct world *world);

struct lines {
    char **lines; /* Owned. */
    size_t count;
};

void lines_free(struct lines *lines);
/** Adds a line of its own for each row: present values only, tags and fields by name. `one_nan`
 * prints all NaNs alike. */
void lines_of_columns(const struct columns *columns, bool one_nan, struct lines *lines);

/** It is of the query's table and satisfies its conditions. */
bool world_matches(const struct world_series *series, const struct query *query);

/** What a scan of raw rows, or of the last values, should say. */
struct lines world_rows(const struct world *world, const struct query *query);
/** What an aggregate should say. Floats that are NaN are printed alike. */
struct lines world_aggregate(const struct world *world, const struct query *query);

#endif
