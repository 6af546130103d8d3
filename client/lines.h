/*
 * lines.h - line protocol into rows, as a text that may come in pieces.
 *
 *     while there is text: lines_write(&lines, m, text, size, more, &used)   then keep the rest
 *
 * Thread   The caller's.
 */
#ifndef CLIENT_LINES_H
#define CLIENT_LINES_H

#include "client/client.h"
#include "client/wire/line_protocol.h"

struct lines {
    struct line_parser parser;
    struct line *line; /* Owned: over 50 KB, too much for a stranger's stack. */
    int64_t now_ns;    /* The time of lines without one, set by the caller. */
    uint64_t rows, bad;
    /* Told of each bad line, with its number; err_detail() says what is wrong. */
    void (*on_bad)(void *ctx, uint32_t number);
    void *ctx;
};

/** ERR_NO_MEMORY; then lines_fini() is not needed. */
MUST_CHECK enum err lines_init(struct lines *lines, int64_t unit_ns);
void lines_fini(struct lines *lines);

/**
 * Write the lines of `text`. `more`: it goes on, and an unfinished line at its end is left alone;
 * *ret_used tells where the next text has to start.
 *
 * Errors  those of client_write_row() that are not a line's own fault; the lines before were taken
 */
MUST_CHECK enum err lines_write(struct lines *lines, struct millrace *m, const char *text,
                                size_t size, bool more, size_t *ret_used);

/** Write the row of one parsed line; `default_ns` if it has no time. Errors of client_write_row(),
 * or of its names. */
MUST_CHECK enum err lines_write_row(struct millrace *m, const struct line *line,
                                    int64_t default_ns);
/** Is it the line's own fault? Then the next one may be good. */
bool lines_is_bad(enum err err);

#endif
