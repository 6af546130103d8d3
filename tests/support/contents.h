/*
 * contents.h - all values that a snapshot holds, in a plain form that tests can compare.
 *
 * A slow, simple reading of sections that shares nothing else with scans: one line a value,
 * sorted, the later source winning.
 *
 *     db/cpu host=a 1000 usage float 3ff0000000000000
 */
#ifndef TESTS_SUPPORT_CONTENTS_H
#define TESTS_SUPPORT_CONTENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/base/err.h"

struct snapshot;

struct contents {
    char **lines; /* Owned, sorted. */
    size_t count;
    size_t rows; /* In the sources, duplicates counted. */
};

/** ERR_CORRUPT and ERR_IO as reading the blocks says; *ret_contents is empty then. */
MUST_CHECK enum err contents_read(const struct snapshot *snapshot, struct contents *ret_contents);
void contents_fini(struct contents *contents);

bool contents_equal(const struct contents *a, const struct contents *b);
bool contents_have(const struct contents *contents, const char *line);
/** Every line of `part` is in `whole`. */
bool contents_within(const struct contents *part, const struct contents *whole);

#endif
