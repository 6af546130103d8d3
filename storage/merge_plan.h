/*
 * merge_plan.h - what is in the sources to merge, and how to cut it into slices that fit memory.
 *
 * Private to merge*.c.
 */
#ifndef STORAGE_MERGE_PLAN_H
#define STORAGE_MERGE_PLAN_H

#include "storage/catalog.h"
#include "storage/merge.h"
#include "storage/section.h"

struct merge_table {
    uint32_t number;
    uint64_t rows;
    uint64_t text_bytes;          /* Of all strings, roughly. */
    struct segment_field *fields; /* Owned, with their names. */
    uint32_t field_count, field_capacity;
};

/** A source under way, and the runs of its section last read. */
struct merge_source {
    struct section_reader reader;
    uint32_t *ids, *counts; /* Owned: room for `runs_max`. */
    uint32_t runs_max;
    uint8_t *deleted; /* Owned: by row of the section, not 0 if it is hidden: merge_hidden.h. */
    bool has_deleted; /* Some row is. */
};

struct merge_plan {
    const struct snapshot_source *sources; /* Borrowed: in log order. */
    uint32_t source_count;
    const struct catalog_view *series; /* Borrowed. */
    struct merge_filter filter;
    size_t memory;
    const atomic_bool *cancel; /* merge.h */
    uint32_t *rows;            /* By id. */
    uint32_t *order;           /* Ids that have rows, by (table number, id). */
    uint32_t order_count;
    uint32_t *table_at;          /* By table number: where in `tables`. */
    struct merge_table **tables; /* By number once planned. */
    uint32_t table_count;
    uint32_t next;          /* In `order`: the next slice begins here. */
    struct merge_cut *cuts; /* Of the series at `next`, if it is too large. */
    uint32_t cut_count, cut_next, cut_capacity;
};

/** Series order[first] to order[end - 1], rows with a time from `from_ns` to `to_ns`. */
struct merge_slice {
    uint32_t first, end;
    uint64_t rows;
    int64_t from_ns, to_ns;
    bool cut; /* Part of one series: the times decide. */
};

MUST_CHECK enum err merge_plan_init(struct merge_plan *plan, const struct snapshot_source *sources,
                                    uint32_t count, const struct catalog_view *series,
                                    const struct merge_filter *filter, size_t memory,
                                    const atomic_bool *cancel);
void merge_plan_fini(struct merge_plan *plan);

/** ERR_CANCELED, if it is time to stop. */
MUST_CHECK enum err merge_plan_go_on(const struct merge_plan *plan);

/** The next slice. ERR_END after the last. */
MUST_CHECK enum err merge_plan_next(struct merge_plan *plan, struct merge_slice *ret_slice);

/** The table of a series that has rows. */
struct merge_table *merge_plan_table(const struct merge_plan *plan, uint32_t id);

/** Where the field is in the table, or UINT32_MAX. `hint`: where to look first. */
uint32_t merge_plan_field(const struct merge_table *table, const struct segment_field *field,
                          uint32_t hint);

/* ---- Sources ------------------------------------------------------------------------------- */

/** Open a source in place of the one before. */
MUST_CHECK enum err merge_plan_open(const struct merge_plan *plan,
                                    const struct snapshot_source *from,
                                    struct merge_source *source);
/** Read the current section's runs into source->ids and counts; the catalog knows the ids. */
MUST_CHECK enum err merge_plan_runs(const struct merge_plan *plan, struct merge_source *source);
/** The source may have rows of the slice with ids from id_min to id_max. */
bool merge_plan_has(const struct snapshot_source *source, const struct merge_slice *slice,
                    uint32_t id_min, uint32_t id_max);
/** Say of an error in which source it was found. */
MUST_CHECK enum err merge_plan_wrap(enum err err, const struct merge_source *source);
void merge_plan_close(struct merge_source *source);

#endif
