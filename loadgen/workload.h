/*
 * workload.h - rows as a function of their number, so that what was written can be checked later
 * without keeping it.
 *
 * Each writer (a connection) owns the series `series % writers == writer`, and numbers its rows 0,
 * 1, 2, ... Row k of writer w has the time start_ns + k * writers + w: no two rows of a run have
 * the same time, and a row read back names its writer and number. Its series and values follow from
 * seed, w and k.
 */
#ifndef LOADGEN_WORKLOAD_H
#define LOADGEN_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "loadgen/plan.h"

struct workload {
    enum plan_workload kind;
    uint32_t series;
    uint32_t fields;
    uint32_t writers;
    uint64_t seed;
    int64_t start_ns;
};

enum { WORKLOAD_TAGS_MAX = 10, WORKLOAD_TEXT_MAX = 40 };

struct workload_tag {
    const char *name;
    char value[WORKLOAD_TEXT_MAX];
};

void workload_init(struct workload *workload, const struct plan *plan, int64_t start_ns);

const char *workload_table(const struct workload *workload);
/** Name of a field; static or in `room` (16 bytes). */
const char *workload_field(const struct workload *workload, uint32_t field, char *room);
/** Fields are integers (else floats of two decimals). */
bool workload_is_integer(const struct workload *workload);
/** The tags of a series, in order of name. Returns their number. */
uint32_t workload_tags(const struct workload *workload, uint32_t series,
                       struct workload_tag *ret_tags);
/** The series of a tag set as read back: the number in the tag that counts them. -1: not ours. */
int64_t workload_series_of(const struct workload *workload, const char *tag_value);
/** The tag whose value tells the series. */
const char *workload_series_tag(const struct workload *workload);

uint32_t workload_row_series(const struct workload *workload, uint32_t writer, uint64_t row);
static inline int64_t workload_time(const struct workload *workload, uint32_t writer, uint64_t row)
{
    return workload->start_ns + (int64_t)(row * workload->writers + writer);
}
/** The value: hundredths for floats (value / 100.0), the number itself for integers. */
int64_t workload_value(const struct workload *workload, uint32_t series, uint64_t row,
                       uint32_t field);

/** Writer and row of a time, if the run has rows there. */
bool workload_locate(const struct workload *workload, int64_t time_ns, uint32_t *ret_writer,
                     uint64_t *ret_row);

#endif
