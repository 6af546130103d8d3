/*
 * line_parse.h - the inner seam of line_protocol.h: what a line says. Where lines begin and end,
 * and how to go on after a bad one, is line_protocol.c's.
 */
#ifndef CLIENT_WIRE_LINE_PARSE_H
#define CLIENT_WIRE_LINE_PARSE_H

#include "client/wire/line_protocol.h"

/** What line_parse() found out besides the line. */
struct line_parse {
    const char *end; /* OK: the line's newline, or its \r, or the end of the text. */
    bool string;     /* There was a string: there may be newlines in it. */
};

/**
 * Parse the line that starts at `at`, a byte that is neither blank nor a newline.
 *
 * end     of the text, or as far as a line may reach; the line may end before, at a newline
 * Errors  as line_parser_next(), but for ERR_END
 */
MUST_CHECK enum err line_parse(struct line_parser *parser, const char *at, const char *end,
                               struct line *ret_line, struct line_parse *ret_parse);

/** A line ends at `at`: no byte left, \n, or \r\n. */
static inline bool line_ends_at(const char *at, const char *end)
{
    return at == end || *at == '\n' || (*at == '\r' && (at + 1 == end || at[1] == '\n'));
}

/** The closing quote of the string whose text starts at `at`; `end` if there is none. */
const char *line_string_end(const char *at, const char *end);

/** The first byte from `at` on that is neither space nor tab. */
const char *line_skip_blanks(const char *at, const char *end);

#endif
