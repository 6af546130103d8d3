/*
 * line_protocol.h - one line of text at a time, into slices; nothing allocated per line.
 *
 *     table[,tag=value...] field=value[,field=value...] [time]
 *
 * As InfluxDB 1.x and 2.x take it: escapes (\, \space \= in names and tag values, \" \\ in
 * strings), types (1.5 1e3 float, 1i integer, 1u unsigned, t T true True TRUE f F ... boolean,
 * "..." string, newline inside a string allowed), comments (#), blank lines, CRLF, missing time.
 */
#ifndef CLIENT_WIRE_LINE_PROTOCOL_H
#define CLIENT_WIRE_LINE_PROTOCOL_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

enum { LINE_FIELDS_MAX = FIELD_COUNT_MAX };

struct line_field {
    struct slice name;
    enum field_type type;
    uint64_t bits;     /* As in block_builder_value(). */
    struct slice text; /* FIELD_STRING. */
};

/** A parsed line. Slices borrow the text, or `scratch` where escapes were taken out. */
struct line {
    struct slice table;
    uint32_t tag_count;
    struct tag tags[TAG_COUNT_MAX]; /* As they stood in the line, unsorted. */
    uint32_t field_count;
    struct line_field fields[LINE_FIELDS_MAX];
    bool has_time;
    int64_t time_ns;
    struct slice
        head; /* The raw bytes of table and tags: equal heads are equal series (a memo's key). */
};

struct line_parser {
    const char *at, *end;
    uint32_t number;      /* Of the line last returned, from 1. */
    int64_t time_unit_ns; /* Of times in the text: 1, 1000, 1000000, 1000000000, ... */
    char *scratch;        /* Owned. */
    size_t scratch_size, scratch_capacity;
    struct slice raw; /* The line last returned, as it stood. */
};

void line_parser_init(struct line_parser *parser, int64_t time_unit_ns);
void line_parser_fini(struct line_parser *parser);
/** A new text; line numbers go on from `number` lines before. Borrowed until the next call. */
void line_parser_feed(struct line_parser *parser, const char *text, size_t size, uint32_t number);

/**
 * The next line that is neither blank nor a comment.
 *
 * Errors  ERR_END; ERR_INVALID: this line is bad (err_detail() says what, with the offending text);
 * call again for the next one. ERR_LIMIT: too many tags or fields, name too long. ERR_NO_MEMORY.
 */
MUST_CHECK enum err line_parser_next(struct line_parser *parser, struct line *ret_line);

/** "ns", "n", "us", "u", "ms", "s", "m", "h" -> ns; 0 if it is none. */
int64_t line_time_unit(const char *name, size_t size);

#endif
