#include "client/wire/line_protocol.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/decimal.h"
#include "client/wire/quote.h"

/* Bytes that end a name or stand for more than themselves. One table, a bit for each question. */
enum {
    STOP_COMMA = 1,
    STOP_SPACE = 2,
    STOP_EQUALS = 4,
    STOP_ESCAPE = 8,
    STOP_LINE = 16, /* The end of the line. */

    STOPS_TABLE = STOP_COMMA | STOP_SPACE | STOP_LINE,
    STOPS_NAME = STOPS_TABLE | STOP_EQUALS,
};

static const uint8_t stop_of[256] = {
    [','] = STOP_COMMA,   [' '] = STOP_SPACE, ['='] = STOP_EQUALS,
    ['\\'] = STOP_ESCAPE, ['\n'] = STOP_LINE,
};

static bool stops_at(char c, unsigned stops)
{
    return (stop_of[(unsigned char)c] & stops) != 0;
}

/* The line's bytes that were not yet used. All take_*() below move `at` over what they took. */
struct cursor {
    const char *at;
    const char *end; /* Of the text, or size_max bytes on: a line ends earlier, at a newline. */
    bool string;     /* A string was taken: there may be newlines in it. */
};

/* ---- The ends of lines --------------------------------------------------------------------- */

/* At the end of a line: no byte left, \n, or \r\n. */
static bool at_line_end(const struct cursor *cursor)
{
    const char *at = cursor->at;

    return at == cursor->end || *at == '\n' ||
           (*at == '\r' && (at + 1 == cursor->end || at[1] == '\n'));
}

/* At the end of a value: that, or a space or comma. */
static bool at_value_end(const struct cursor *cursor)
{
    return cursor->at == cursor->end || *cursor->at == ',' || *cursor->at == ' ' ||
           at_line_end(cursor);
}

static const char *newline_or_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));

    return newline != NULL ? newline : end;
}

/* The closing quote of the string whose text starts at `at`; `end` if there is none. */
static const char *string_end(const char *at, const char *end)
{
    while (at < end && *at != '"')
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    return at;
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
            at = string_end(at + 2, end);
            if (at == end) {
                *ret_open = true;
                return newline_or_end(start, end);
            }
        }
    }
    return at;
}

/* ---- Names --------------------------------------------------------------------------------- */

/* Room for a whole line's unescaped bytes, at the first escape of the line: slices into it must
 * not move until the next line. */
static bool make_scratch(struct line_parser *parser, const struct cursor *cursor)
{
    size_t need = (size_t)(cursor->end - parser->at);
    char *scratch;

    if (parser->scratch_size > 0 || need <= parser->scratch_capacity)
        return true;
    scratch = malloc(need);
    if (scratch == NULL)
        return false;
    free(parser->scratch);
    parser->scratch = scratch;
    parser->scratch_capacity = need;
    return true;
}

/* A name from its start on, taking out the backslashes before the bytes of `escapes`. */
static enum err take_escaped_name(struct line_parser *parser, struct cursor *cursor, unsigned stops,
                                  unsigned escapes, struct slice *ret_name)
{
    const char *at = cursor->at;
    char *out;

    if (!make_scratch(parser, cursor))
        return err_set(ERR_NO_MEMORY, "no memory to unescape a line");
    out = parser->scratch + parser->scratch_size;
    *ret_name = (struct slice){out, 0};
    while (at < cursor->end && !stops_at(*at, stops)) {
        if (*at == '\\' && cursor->end - at > 1 && stops_at(at[1], escapes))
            at++;
        *out++ = *at++;
    }
    ret_name->size = (size_t)(out - ret_name->data);
    parser->scratch_size += ret_name->size;
    cursor->at = at;
    return ERR_OK;
}

/* Table, tag name, tag value, field name: up to a byte of `stops`. Cannot see its own bounds
 * broken for long: a name over the limit is found here, an empty one by the caller. */
static inline enum err take_name(struct line_parser *parser, struct cursor *cursor, unsigned stops,
                                 const char *what, struct slice *ret_name)
{
    const char *start = cursor->at;
    const char *at = start;

    while (at < cursor->end && !stops_at(*at, stops | STOP_ESCAPE))
        at++;
    if (at < cursor->end && *at == '\\') {
        unsigned escapes = stops & (STOP_COMMA | STOP_SPACE | STOP_EQUALS);
        enum err err = take_escaped_name(parser, cursor, stops, escapes, ret_name);

        if (err != ERR_OK)
            return err;
    } else {
        *ret_name = (struct slice){start, (size_t)(at - start)};
        cursor->at = at;
    }
    if (ret_name->size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "%s \"%s\" has %zu bytes, at most %d are allowed", what,
                       quote(*ret_name).text, ret_name->size, NAME_SIZE_MAX);
    return ERR_OK;
}

/* ---- Table and tags ------------------------------------------------------------------------ */

static enum err take_tag(struct line_parser *parser, struct cursor *cursor, struct tag *ret_tag)
{
    struct tag tag;
    enum err err = take_name(parser, cursor, STOPS_NAME, "tag name", &tag.name);

    if (err != ERR_OK)
        return err;
    if (tag.name.size == 0)
        return err_set(ERR_INVALID, "a tag has no name");
    if (cursor->at == cursor->end || *cursor->at != '=')
        return err_set(ERR_INVALID, "tag \"%s\" has no value", quote(tag.name).text);
    cursor->at++;

    err = take_name(parser, cursor, STOPS_NAME, "tag value", &tag.value);
    if (err != ERR_OK)
        return err;
    if (cursor->at < cursor->end && *cursor->at == '=')
        return err_set(ERR_INVALID,
                       "tag \"%s\": its value has a bare '=', write \\=", quote(tag.name).text);
    if (tag.value.size == 0)
        return err_set(ERR_INVALID, "tag \"%s\" has no value", quote(tag.name).text);
    *ret_tag = tag;
    return ERR_OK;
}

/* One bit of 64 for a name: two names with different bits differ. */
static uint64_t name_bit(struct slice name)
{
    unsigned first = (unsigned char)name.data[0];
    unsigned last = (unsigned char)name.data[name.size - 1];

    return UINT64_C(1) << ((first * 5 + last * 3 + name.size) & 63);
}

static bool has_tag(const struct line *line, struct slice name)
{
    for (uint32_t i = 0; i < line->tag_count; i++) {
        if (line->tags[i].name.size == name.size &&
            memcmp(line->tags[i].name.data, name.data, name.size) == 0)
            return true;
    }
    return false;
}

/* Everything before the space in front of the fields. */
static enum err take_head(struct line_parser *parser, struct cursor *cursor, struct line *line)
{
    const char *start = cursor->at;
    uint64_t seen = 0;
    enum err err = take_name(parser, cursor, STOPS_TABLE, "table name", &line->table);

    if (err != ERR_OK)
        return err;
    if (line->table.size == 0)
        return err_set(ERR_INVALID, "the line starts with ',': its table has no name");

    line->tag_count = 0;
    while (cursor->at < cursor->end && *cursor->at == ',') {
        struct tag *tag = &line->tags[line->tag_count];
        uint64_t bit;

        cursor->at++;
        if (line->tag_count == TAG_COUNT_MAX)
            return err_set(ERR_LIMIT, "more than %d tags", TAG_COUNT_MAX);
        err = take_tag(parser, cursor, tag);
        if (err != ERR_OK)
            return err;
        bit = name_bit(tag->name);
        if ((seen & bit) != 0 && has_tag(line, tag->name))
            return err_set(ERR_INVALID, "tag \"%s\" is there twice", quote(tag->name).text);
        seen |= bit;
        line->tag_count++;
    }
    line->head = (struct slice){start, (size_t)(cursor->at - start)};
    return ERR_OK;
}

/* ---- Fields -------------------------------------------------------------------------------- */

/* What stands where a value should be, up to the next comma, space or newline. */
static struct slice value_text(const struct cursor *cursor)
{
    struct cursor to = *cursor;

    while (!at_value_end(&to))
        to.at++;
    return (struct slice){cursor->at, (size_t)(to.at - cursor->at)};
}

/* The rest of the line. */
static struct slice rest_text(const struct cursor *cursor)
{
    struct cursor to = *cursor;

    while (!at_line_end(&to))
        to.at++;
    return (struct slice){cursor->at, (size_t)(to.at - cursor->at)};
}

static enum err bad_value(const struct cursor *cursor, const struct line_field *field)
{
    struct slice text = value_text(cursor);

    if (text.size == 0)
        return err_set(ERR_INVALID, "field \"%s\" has no value", quote(field->name).text);
    return err_set(ERR_INVALID, "field \"%s\": \"%s\" is not a number, a boolean or a \"string\"",
                   quote(field->name).text, quote(text).text);
}

static enum err take_string(struct line_parser *parser, struct cursor *cursor,
                            struct line_field *field)
{
    const char *start = cursor->at + 1;
    const char *at = start;

    while (at < cursor->end && *at != '"' && *at != '\\')
        at++;
    cursor->string = true;
    field->type = FIELD_STRING;
    field->bits = 0;
    field->text = (struct slice){start, (size_t)(at - start)};
    if (at < cursor->end && *at == '\\') {
        char *out;

        at = string_end(start, cursor->end);
        if (at < cursor->end && !make_scratch(parser, cursor))
            return err_set(ERR_NO_MEMORY, "no memory to unescape a line");
        if (at < cursor->end) {
            out = parser->scratch + parser->scratch_size;
            field->text.data = out;
            for (const char *in = start; in < at;) {
                if (*in == '\\' && (in[1] == '"' || in[1] == '\\'))
                    in++;
                *out++ = *in++;
            }
            field->text.size = (size_t)(out - field->text.data);
            parser->scratch_size += field->text.size;
        }
    }
    if (at == cursor->end)
        return err_set(ERR_INVALID, "field \"%s\": its string has no closing quote",
                       quote(field->name).text);
    cursor->at = at + 1;
    return ERR_OK;
}

static enum err take_number(struct cursor *cursor, struct line_field *field)
{
    struct decimal decimal;
    const char *after = decimal_read(cursor->at, cursor->end, &decimal);
    struct cursor to = {.at = after, .end = cursor->end};
    double number = 0;
    int64_t integer = 0;
    bool fits;

    if (after == NULL)
        return bad_value(cursor, field);

    if (after < cursor->end && *after == 'i') {
        field->type = FIELD_INT;
        fits = decimal_to_int(&decimal, &integer);
        field->bits = (uint64_t)integer;
        to.at++;
    } else if (after < cursor->end && *after == 'u') {
        field->type = FIELD_UINT;
        fits = decimal_to_uint(&decimal, &field->bits);
        to.at++;
    } else {
        field->type = FIELD_FLOAT;
        fits = decimal_to_float(&decimal, &number);
        memcpy(&field->bits, &number, sizeof number);
    }
    if (!at_value_end(&to) || (field->type != FIELD_FLOAT && decimal.fraction))
        return bad_value(cursor, field);
    if (!fits)
        return err_set(ERR_INVALID, "field \"%s\": %s is out of range of type %s",
                       quote(field->name).text, quote(value_text(cursor)).text,
                       field_type_name(field->type));
    field->text = (struct slice){NULL, 0};
    cursor->at = to.at;
    return ERR_OK;
}

static enum err take_boolean(struct cursor *cursor, struct line_field *field)
{
    static const char *const names[] = {"f", "F", "false", "False", "FALSE",
                                        "t", "T", "true",  "True",  "TRUE"};
    struct slice text = value_text(cursor);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == text.size && memcmp(names[i], text.data, text.size) == 0) {
            field->type = FIELD_BOOL;
            field->bits = *names[i] == 't' || *names[i] == 'T';
            field->text = (struct slice){NULL, 0};
            cursor->at += text.size;
            return ERR_OK;
        }
    }
    return bad_value(cursor, field);
}

static inline enum err take_field(struct line_parser *parser, struct cursor *cursor,
                                  struct line_field *field)
{
    enum err err = take_name(parser, cursor, STOPS_NAME, "field name", &field->name);
    char first;

    if (err != ERR_OK)
        return err;
    if (field->name.size == 0)
        return err_set(ERR_INVALID, "a field has no name (is there a space after a comma?)");
    if (cursor->at == cursor->end || *cursor->at != '=')
        return err_set(ERR_INVALID, "field \"%s\" has no value", quote(field->name).text);
    cursor->at++;

    first = cursor->at < cursor->end ? *cursor->at : '\0';
    if (first == '"')
        err = take_string(parser, cursor, field);
    else if (first == 't' || first == 'T' || first == 'f' || first == 'F')
        err = take_boolean(cursor, field);
    else
        err = take_number(cursor, field);
    if (err == ERR_OK && !at_value_end(cursor))
        return err_set(ERR_INVALID, "field \"%s\": \"%s\" follows its string",
                       quote(field->name).text, quote(rest_text(cursor)).text);
    return err;
}

static enum err take_fields(struct line_parser *parser, struct cursor *cursor, struct line *line)
{
    line->field_count = 0;
    for (;;) {
        enum err err;

        if (line->field_count == LINE_FIELDS_MAX)
            return err_set(ERR_LIMIT, "more than %d fields", LINE_FIELDS_MAX);
        err = take_field(parser, cursor, &line->fields[line->field_count]);
        if (err != ERR_OK)
            return err;
        line->field_count++;
        if (cursor->at == cursor->end || *cursor->at != ',')
            return ERR_OK;
        cursor->at++;
    }
}

/* ---- The line ------------------------------------------------------------------------------ */

static void skip_spaces(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t'))
        cursor->at++;
}

static enum err take_time(struct line_parser *parser, struct cursor *cursor, struct line *line)
{
    struct decimal decimal;
    const char *after = decimal_read(cursor->at, cursor->end, &decimal);
    struct cursor to = {.at = after, .end = cursor->end};
    struct slice text = value_text(cursor);
    int64_t time_ns;

    if (after == NULL || !at_value_end(&to) || decimal.fraction)
        return err_set(ERR_INVALID, "time \"%s\" is not a whole number", quote(text).text);
    /* The last few values are not times with InfluxDB either: room for "none" and "no limit". */
    if (!decimal_to_int(&decimal, &time_ns) ||
        __builtin_mul_overflow(time_ns, parser->time_unit_ns, &time_ns) ||
        time_ns < INT64_MIN + 2 || time_ns > INT64_MAX - 1)
        return err_set(ERR_INVALID,
                       "time %s (in units of %" PRId64 " ns) is not between 1677-09-21 and "
                       "2262-04-11: is the precision right?",
                       quote(text).text, parser->time_unit_ns);
    line->has_time = true;
    line->time_ns = time_ns;
    cursor->at = after;
    skip_spaces(cursor);
    return ERR_OK;
}

/* One line, from its first byte that is not blank; the cursor ends at its newline. */
static enum err take_line(struct line_parser *parser, struct cursor *cursor, struct line *line)
{
    enum err err = take_head(parser, cursor, line);

    if (err != ERR_OK)
        return err;
    skip_spaces(cursor);
    if (at_line_end(cursor))
        return err_set(ERR_INVALID, "no fields after \"%s\"", quote(line->head).text);
    err = take_fields(parser, cursor, line);
    if (err != ERR_OK)
        return err;

    line->has_time = false;
    line->time_ns = 0;
    skip_spaces(cursor);
    if (at_line_end(cursor))
        return ERR_OK;
    err = take_time(parser, cursor, line);
    if (err == ERR_OK && !at_line_end(cursor))
        return err_set(ERR_INVALID, "\"%s\" follows the time", quote(rest_text(cursor)).text);
    return err;
}

/* Pass over the rest of an over-long line, blank lines and comments. True: at a line. */
static bool find_line(struct line_parser *parser)
{
    while (parser->at < parser->end) {
        struct cursor cursor = {.at = parser->at, .end = parser->end};
        const char *newline;

        if (!parser->skipping) {
            skip_spaces(&cursor);
            parser->at = cursor.at;
            if (!at_line_end(&cursor) && *cursor.at != '#')
                return true;
            if (*cursor.at == '\r' && cursor.end - cursor.at == 1 && parser->more)
                return false; /* What it is depends on the next byte. */
        }
        newline = newline_or_end(cursor.at, parser->end);
        parser->skipping = newline == parser->end && cursor.at < newline && parser->more;
        parser->lines += newline < parser->end;
        parser->at = newline < parser->end ? newline + 1 : newline;
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
    struct cursor cursor = {0};
    const char *end;
    bool open = false;
    enum err err;

    if (!find_line(parser))
        return ERR_END;

    parser->scratch_size = 0;
    cursor.at = parser->at;
    cursor.end = parser->end;
    if ((size_t)(parser->end - parser->at) > parser->size_max)
        cursor.end = parser->at + parser->size_max;
    err = take_line(parser, &cursor, ret_line);
    end = cursor.at;
    if (err != ERR_OK)
        end = bad_line_end(parser->at, cursor.end, &open);
    else if (end < cursor.end && *end == '\r')
        end++;

    if (cursor.end < parser->end && (open || (end == cursor.end && *end != '\n')))
        return refuse_long_line(parser, cursor.end, open);
    if ((open || end == parser->end) && parser->more)
        return ERR_END;
    leave_line(parser, end, cursor.string || err != ERR_OK);
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
