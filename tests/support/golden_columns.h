/*
 * golden_columns.h - columns of every form, made the same on every machine, and the bytes that they
 * have to become: tests/golden/columns_v2.bin of codec 2, columns_v3.bin of codec 3.
 *
 * Every level of every CPU must write these bytes and read these values (storage/base/cpu.h). The
 * unit tests look at all levels of the machine that they run on; tests/cross does so elsewhere.
 */
#ifndef TESTS_SUPPORT_GOLDEN_COLUMNS_H
#define TESTS_SUPPORT_GOLDEN_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/types.h"

enum { GOLDEN_COLUMN_VALUES = 2500 }; /* Of one column at most. */

struct golden_column {
    const char *name;
    enum field_type type; /* 0: times, in runs. */
    uint32_t count;
    uint64_t values[GOLDEN_COLUMN_VALUES];
    uint64_t runs[GOLDEN_COLUMN_VALUES]; /* Times: rows of each run. */
    uint32_t run_count;
    const char *text; /* Of strings. */
};

/** Append all columns of a codec, 2 or 3, as u32 size, bytes. */
void golden_columns_encode(unsigned codec, struct bytes *out);

/** Encode all and compare with `golden`, then read those. NULL, or the name of what differs. */
const char *golden_columns_fault(unsigned codec, const void *golden, size_t size);

#endif
