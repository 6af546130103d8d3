#include "client/wire/line_protocol.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/line_parse.h"

/* ---- The ends of lines --------------------------------------------------------------------- */

static const char *newline_or_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));

    return newline != NULL ? newline : end;
}

/*
 * Where a line that could not be parsed ends: its \n, or `end`. A string opens after the = of a
 * field. *ret_open: a string was not closed, and what is returned is the first newline.
 */
static const char *bad_line_end(const char *start, const char *end, bool *ret_open)
{
    const char *at = start;
    bool in_fields = false;

    *ret_open = false;
    for (; at < end && *at != '\n'; at++) {
        if (*at == '\\' && end - at > 1 && at[1] != '\n') {
            at++;
        } else if (*at == ' ') {
            in_fields = true;
        } else if (in_fields && *at == '=' && end - at > 1 && at[1] == '"') {
            at = line_string_end(at + 2, end);
            if (at == end) {
                *ret_open = true;
                return newline_or_end(start, end);
            }
        }
    }
    return at;
}

/* ---- From line to line --------------------------------------------------------------------- */

/* Pass over the rest of an over-long line, blank lines and comments. True: at a line. */
static bool find_line(struct line_parser *parser)
{
    const char *end = parser->end;

    while (parser->at < end) {
        const char *newline;

        if (!parser->skipping) {
            parser->at = line_skip_blanks(parser->at, end);
            if (!line_ends_at(parser->at, end) && *parser->at != '#')
                return true;
            if (end - parser->at == 1 && *parser->at == '\r' && parser->more)
                return false; /* What it is depends on the next byte. */
        }
        newline = newline_or_end(parser->at, end);
        parser->skipping = newline == end && parser->at < newline && parser->more;
        parser->lines += newline < end;
        parser->at = newline < end ? newline + 1 : newline;
    }
    return false;
}

/* Take the line that ends at `end` (its newline, or the end of the text) out of the text. */
static void leave_line(struct line_parser *parser, const char *end, bool newlines_inside)
{
    const char *start = parser->at;
    size_t size = (size_t)(end - start);

    parser->number = parser->lines + 1;
    parser->raw = (struct slice){start, size - (size > 0 && end[-1] == '\r')};
    if (newlines_inside) {
        while ((start = memchr(start, '\n', (size_t)(end - start))) != NULL) {
            parser->lines++;
            start++;
        }
    }
    if (end < parser->end) {
        parser->lines++;
        end++;
    }
    parser->at = end;
}

/* The line at parser->at is longer than allowed, or a string of it. */
static enum err refuse_long_line(struct line_parser *parser, const char *seen_to, bool open)
{
    const char *end = newline_or_end(open ? parser->at : seen_to, parser->end);

    parser->skipping = parser->more && end == parser->end;
    leave_line(parser, end, true);
    return err_set(ERR_LIMIT, "the line has over %" PRIu32 " bytes%s", parser->size_max,
                   open ? ", or a string in it has no closing quote" : "");
}

enum err line_parser_next(struct line_parser *parser, struct line *ret_line)
{
    struct line_parse parse;
    const char *limit; /* Where we stop looking: the end of the text, or of the longest line. */
    const char *end;
    bool open = false;
    enum err err;

    if (!find_line(parser))
        return ERR_END;

    parser->scratch_size = 0;
    limit = (size_t)(parser->end - parser->at) > parser->size_max ? parser->at + parser->size_max
                                                                  : parser->end;
    err = line_parse(parser, parser->at, limit, ret_line, &parse);
    end = parse.end;
    if (err != ERR_OK)
        end = bad_line_end(parser->at, limit, &open);
    else if (end < limit && *end == '\r')
        end++;

    if (limit < parser->end && (open || (end == limit && *end != '\n')))
        return refuse_long_line(parser, limit, open);
    if ((open || end == parser->end) && parser->more)
        return ERR_END;
    leave_line(parser, end, parse.string || err != ERR_OK);
    return err;
}

/* ---- Life and helpers ---------------------------------------------------------------------- */

void line_parser_init(struct line_parser *parser, int64_t time_unit_ns)
{
    *parser = (struct line_parser){.time_unit_ns = time_unit_ns, .size_max = LINE_SIZE_MAX};
}

void line_parser_fini(struct line_parser *parser)
{
    free(parser->scratch);
    *parser = (struct line_parser){0};
}

void line_parser_feed(struct line_parser *parser, const char *text, size_t size, uint32_t number)
{
    parser->at = text;
    parser->end = size > 0 ? text + size : text; /* An empty text may be NULL. */
    parser->lines = number;
    parser->more = false;
}

int64_t line_time_unit(const char *name, size_t size)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        {"ns", 1},
        {"n", 1},
        {"us", 1000},
        {"u", 1000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", 60 * INT64_C(1000000000)},
        {"h", 3600 * INT64_C(1000000000)},
    };

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0)
            return units[i].ns;
    }
    return 0;
}
