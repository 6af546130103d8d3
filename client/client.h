/*
 * client.h - what is inside a struct millrace, for the files that implement millrace.h.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "client/io.h"
#include "client/millrace.h"
#include "client/names.h"
#include "client/rows.h"

struct millrace {
    struct io *io;
    struct names *names;
    struct rows *rows;
    size_t room; /* Bytes under way at which millrace_write() waits. */
    uint64_t timeout_ns;
    bool nonblocking;
    void *tag;
    struct line_field *fields; /* Owned: room for FIELD_COUNT_MAX, for millrace_write(). */
    char error[ERR_DETAIL_MAX];
};

/** Keep this thread's error detail for millrace_last_error(), and return the code. */
enum millrace_code client_fail(struct millrace *m, enum err err);

/** millrace_write(), with the fields in the form that rows and lines share. */
MUST_CHECK enum err client_write_row(struct millrace *m, uint32_t series, int64_t time_ns,
                                     const struct line_field *fields, size_t count);

/** Let the site decide the types of those `fields` that have none yet, and note them in the table.
 * Waits. ERR_UNAVAILABLE, ERR_TIMEOUT, ... */
MUST_CHECK enum err client_declare(struct millrace *m, struct table *table,
                                   const struct line_field *fields, size_t count);

#endif
