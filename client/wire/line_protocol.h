/*
 * line_protocol.h - one line of text at a time, into slices; nothing allocated per line.
 *
 *     table[,tag=value...] field=value[,field=value...] [time]
 *
 *     |<----- head ----->| |<-------- fields -------->|
 *
 * What InfluxDB 1.x and 2.x take is taken, what they refuse is refused:
 *
 *   names    \, and "\ " stand for the bare byte; in tags and field names \= too. A backslash
 * before anything else is itself. Every name and tag value has at least one byte. values   1.5 1.
 * .5 -1e3 float; 1i integer; 1u unsigned; t T true True TRUE f F false False FALSE boolean; "..."
 * string, in which \" and \\ are escapes and newlines are text. Range is checked; +1, 0x1, 1_0, NaN
 * and Inf are no numbers. time     an optional minus and digits, in the unit of line_parser_init(),
 * from 1677-09-21 to 2262-04-11 (int64 nanoseconds). Without one has_time is false. lines    end
 * with \n or \r\n, outside of strings. Blank lines and those that start with # are passed over;
 * spaces and tabs before a line and between its parts do not matter. twice    A tag twice in one
 * line is refused. A field twice is returned twice: the later counts.
 *
 * A bad line ends where a good one would. When that cannot be told, because a string is never
 * closed, it ends at its first newline, so that it takes no good line with it.
 */
#ifndef CLIENT_WIRE_LINE_PROTOCOL_H
#define CLIENT_WIRE_LINE_PROTOCOL_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

enum {
    LINE_FIELDS_MAX = FIELD_COUNT_MAX,
    LINE_SIZE_MAX = 1024 * 1024, /* Bytes of one line. */
    LINE_TIME_GUESSED = 0, /* As a unit of time: s, ms, us or ns, by how large the number is. */
};

struct line_field {
    struct slice name;
    enum field_type type;
    uint64_t bits;     /* As in block_builder_value(). */
    struct slice text; /* FIELD_STRING. */
};

/** A parsed line. Slices borrow the text, or `scratch` where escapes were taken out, until the
 * next call on the parser. */
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
    const char *at, *end; /* The text not yet read. */
    uint32_t number;      /* Of the line last returned, from 1: of its first byte. */
    uint32_t lines;       /* Newlines behind `at`, over all texts: what the next feed takes. */
    int64_t time_unit_ns; /* Of times in the text: 1, 1000, 1000000, 1000000000, ... */
    uint32_t size_max;    /* Bytes of one line; LINE_SIZE_MAX unless the caller sets less. */
    bool more;            /* Set by the caller after a feed: this text goes on. See below. */
    bool skipping;        /* The line that `at` stands in was refused as too long. */
    char *scratch;        /* Owned. */
    size_t scratch_size, scratch_capacity;
    struct slice
        raw; /* The line last returned, as it stood, without blanks before it and newline. */
};

void line_parser_init(struct line_parser *parser, int64_t time_unit_ns);
void line_parser_fini(struct line_parser *parser);

/**
 * A new text; line numbers go on from `number` lines before. Borrowed until the next call.
 *
 * A text that comes in pieces, cut anywhere: set `more` after feeding each piece but the last.
 * An unfinished line at the end is then not returned: after ERR_END, [at, end) is what the next
 * text has to start with (at most size_max bytes; empty if the piece ended with a whole line).
 */
void line_parser_feed(struct line_parser *parser, const char *text, size_t size, uint32_t number);

/**
 * The next line that is neither blank nor a comment.
 *
 * Errors  ERR_END; ERR_INVALID: this line is bad (err_detail() says what, with the offending text);
 * call again for the next one. ERR_LIMIT: too many tags or fields, name or line too long.
 * ERR_NO_MEMORY. After all but ERR_END, `number` and `raw` tell which line; *ret_line holds
 * nothing of use after an error.
 */
MUST_CHECK enum err line_parser_next(struct line_parser *parser, struct line *ret_line);

/** "ns", "n", "us", "u", "ms", "s", "m", "h" -> ns; 0 if it is none. */
int64_t line_time_unit(const char *name, size_t size);

#endif
