/*
 * result.h - the answer of a query: gathered batch by batch, then put in order, then read through
 * millrace.h.
 *
 * Thread   The I/O thread's while it is gathered, then the caller's.
 */
#ifndef CLIENT_RESULT_H
#define CLIENT_RESULT_H

#include "client/millrace.h"
#include "storage/block/columns.h"

struct millrace_result {
    struct columns columns; /* As they came. */
    uint32_t *rows;         /* Owned: places in `columns`, in the order to show. */
    uint32_t row_count;
    uint32_t *order; /* Owned: columns in the order to show. */
    uint64_t stale_ms;
};

/** Take in the columns of one batch. ERR_LIMIT: more rows than a result may have. ERR_INVALID. */
MUST_CHECK enum err result_add(struct millrace_result *result, const uint8_t *bytes, size_t size);

/** Forget what was gathered. */
void result_clear(struct millrace_result *result);

/**
 * Order rows by tags (absent first, then by bytes), then by time; columns by kind, tags by name,
 * fields as asked for or by name. Keeps `limit` rows, 0: all. ERR_NO_MEMORY.
 */
MUST_CHECK enum err result_order(struct millrace_result *result, const char *const *fields,
                                 size_t field_count, uint64_t limit);
/** Order columns in the same way; rows stay in the order in which they came. ERR_NO_MEMORY. */
MUST_CHECK enum err result_keep(struct millrace_result *result, const char *const *fields,
                                size_t field_count);
/** Free what it owns. */
void result_fini(struct millrace_result *result);

#endif
