#include "client/wire/line_parse.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "client/wire/decimal.h"
#include "client/wire/quote.h"

/*
 * SPEED   A name's end is found through a bit mask of 64 bytes at once. So the way from one token
 *         to the next is a shift and a count of zeros, and the processor is already at the next
 *         names while it still reads the digits of the last number.
 */
enum { BLOCK = 64 };

/* One line under way. */
struct text {
    struct line_parser *parser;
    const char *end;   /* Of what may be looked at. */
    const char *block; /* Bit i of stops: block[i] may end a name. */
    uint64_t stops;
    enum err err; /* Why a function below returned NULL. */
    bool string;
};

/* Every take_...() goes from `at` over what it takes and returns the byte behind it, or NULL if the
 * line is bad. */
static const char *bad(struct text *text, enum err err)
{
    text->err = err;
    return NULL;
}

/* ---- Stops --------------------------------------------------------------------------------- */

/* Bit i: block[i] is , or space or = or backslash or newline. */
static inline uint64_t find_stops(const char *block)
{
    uint64_t stops = 0;

#ifdef __SSE2__
    const __m128i comma = _mm_set1_epi8(','), space = _mm_set1_epi8(' ');
    const __m128i equals = _mm_set1_epi8('='), escape = _mm_set1_epi8('\\');
    const __m128i newline = _mm_set1_epi8('\n');

    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + i));
        __m128i names = _mm_or_si128(_mm_cmpeq_epi8(bytes, comma), _mm_cmpeq_epi8(bytes, space));
        __m128i lines = _mm_or_si128(_mm_cmpeq_epi8(bytes, escape), _mm_cmpeq_epi8(bytes, newline));
        __m128i found = _mm_or_si128(_mm_or_si128(names, lines), _mm_cmpeq_epi8(bytes, equals));

        stops |= (uint64_t)(unsigned)_mm_movemask_epi8(found) << i;
    }
#else
    static const uint8_t is_stop[256] = {[','] = 1, [' '] = 1, ['='] = 1, ['\\'] = 1, ['\n'] = 1};

    for (int i = 0; i < BLOCK; i++)
        stops |= (uint64_t)is_stop[(unsigned char)block[i]] << i;
#endif
    return stops;
}

/* Load the next block with a stop in it, from `at` on. */
static const char *next_stop_beyond(struct text *text, const char *at)
{
    for (; at < text->end; at += BLOCK) {
        size_t left = (size_t)(text->end - at);
        char last[BLOCK];

        if (left < BLOCK) {
            memset(last, 0, sizeof last);
            memcpy(last, at, left);
        }
        text->block = at;
        text->stops = find_stops(left < BLOCK ? last : at);
        if (text->stops != 0)
            return at + __builtin_ctzll(text->stops);
    }
    text->block = text->end;
    text->stops = 0;
    return text->end;
}

/* The first byte from `at` on that may end a name; the end if there is none. */
static inline const char *next_stop(struct text *text, const char *at)
{
    size_t offset = (size_t)(at - text->block);
    uint64_t stops = offset < BLOCK ? text->stops >> offset : 0;

    if (__builtin_expect(stops != 0, 1))
        return at + __builtin_ctzll(stops);
    return next_stop_beyond(text, offset < BLOCK ? text->block + BLOCK : at);
}

const char *line_skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static bool value_ends_at(const char *at, const char *end)
{
    return at == end || *at == ',' || *at == ' ' || line_ends_at(at, end);
}

/* ---- What messages quote ------------------------------------------------------------------- */

/* What stands where a value should be, up to the next comma, space or newline. */
static struct quote quote_value(const struct text *text, const char *at)
{
    const char *end = at;

    while (!value_ends_at(end, text->end))
        end++;
    return quote((struct slice){at, (size_t)(end - at)});
}

/* The rest of the line. */
static struct quote quote_rest(const struct text *text, const char *at)
{
    const char *end = at;

    while (!line_ends_at(end, text->end))
        end++;
    return quote((struct slice){at, (size_t)(end - at)});
}

/* ---- Names --------------------------------------------------------------------------------- */

/* Table names end at fewer bytes than others, and have fewer escapes. */
enum name_kind { NAME_TABLE, NAME_TAG, NAME_VALUE, NAME_FIELD };

static const char *name_kind_name(enum name_kind kind)
{
    static const char *const names[] = {"table name", "tag name", "tag value", "field name"};

    return names[kind];
}

static bool ends_name(enum name_kind kind, char c)
{
    return c == ',' || c == ' ' || c == '\n' || (c == '=' && kind != NAME_TABLE);
}

/* Room for a whole line's unescaped bytes, at the first escape of the line: slices into it must
 * not move until the next line. */
static bool make_scratch(struct text *text)
{
    struct line_parser *parser = text->parser;
    size_t need = (size_t)(text->end - parser->at);
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

static const char *take_escaped_name(struct text *text, const char *at, enum name_kind kind,
                                     struct slice *ret_name)
{
    char *out;

    if (!make_scratch(text))
        return bad(text, err_set(ERR_NO_MEMORY, "no memory to unescape a line"));
    out = text->parser->scratch + text->parser->scratch_size;
    *ret_name = (struct slice){out, 0};
    while (at < text->end && !ends_name(kind, *at)) {
        if (*at == '\\' && text->end - at > 1 && at[1] != '\n' && ends_name(kind, at[1]))
            at++;
        *out++ = *at++;
    }
    ret_name->size = (size_t)(out - ret_name->data);
    text->parser->scratch_size += ret_name->size;
    return at;
}

static const char *refuse_long_name(struct text *text, enum name_kind kind, struct slice name)
{
    return bad(text, err_set(ERR_LIMIT, "%s \"%s\" has %zu bytes, at most %d are allowed",
                             name_kind_name(kind), quote(name).text, name.size, NAME_SIZE_MAX));
}

/* An empty name is for the caller to refuse, who knows what to say. */
static inline const char *take_name(struct text *text, const char *at, enum name_kind kind,
                                    struct slice *ret_name)
{
    const char *stop = next_stop(text, at);

    while (kind == NAME_TABLE && stop < text->end && *stop == '=')
        stop = next_stop(text, stop + 1);
    if (__builtin_expect(stop < text->end && *stop == '\\', 0)) {
        stop = take_escaped_name(text, at, kind, ret_name);
        if (stop == NULL)
            return NULL;
    } else {
        ret_name->data = at;
        ret_name->size = (size_t)(stop - at);
    }
    if (__builtin_expect(ret_name->size > NAME_SIZE_MAX, 0))
        return refuse_long_name(text, kind, *ret_name);
    return stop;
}

/* ---- Table and tags ------------------------------------------------------------------------ */

static inline const char *take_tag(struct text *text, const char *at, struct tag *tag)
{
    at = take_name(text, at, NAME_TAG, &tag->name);
    if (at == NULL)
        return NULL;
    if (tag->name.size == 0)
        return bad(text, err_set(ERR_INVALID, "a tag has no name"));
    if (at == text->end || *at != '=')
        return bad(text, err_set(ERR_INVALID, "tag \"%s\" has no value", quote(tag->name).text));

    at = take_name(text, at + 1, NAME_VALUE, &tag->value);
    if (at == NULL)
        return NULL;
    if (at < text->end && *at == '=')
        return bad(text, err_set(ERR_INVALID, "tag \"%s\": its value has a bare '=', write \\=",
                                 quote(tag->name).text));
    if (tag->value.size == 0)
        return bad(text, err_set(ERR_INVALID, "tag \"%s\" has no value", quote(tag->name).text));
    return at;
}

/* One bit of 64 for a name: two names with different bits differ. */
static inline uint64_t name_bit(struct slice name)
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
static inline const char *take_head(struct text *text, const char *at, struct line *line)
{
    const char *start = at;
    uint64_t seen = 0;

    at = take_name(text, at, NAME_TABLE, &line->table);
    if (at == NULL)
        return NULL;
    if (line->table.size == 0)
        return bad(text, err_set(ERR_INVALID, "the line starts with ',': its table has no name"));
    line->tag_count = 0;
    while (at < text->end && *at == ',') {
        struct tag *tag = &line->tags[line->tag_count];
        uint64_t bit;

        if (line->tag_count == TAG_COUNT_MAX)
            return bad(text, err_set(ERR_LIMIT, "more than %d tags", TAG_COUNT_MAX));
        at = take_tag(text, at + 1, tag);
        if (at == NULL)
            return NULL;
        bit = name_bit(tag->name);
        if ((seen & bit) != 0 && has_tag(line, tag->name))
            return bad(text,
                       err_set(ERR_INVALID, "tag \"%s\" is there twice", quote(tag->name).text));
        seen |= bit;
        line->tag_count++;
    }
    line->head.data = start;
    line->head.size = (size_t)(at - start);
    return at;
}

/* ---- Fields -------------------------------------------------------------------------------- */

static const char *refuse_value(struct text *text, const char *at, const struct line_field *field)
{
    if (value_ends_at(at, text->end))
        return bad(text,
                   err_set(ERR_INVALID, "field \"%s\" has no value", quote(field->name).text));
    return bad(text, err_set(ERR_INVALID,
                             "field \"%s\": \"%s\" is not a number, a boolean or a \"string\"",
                             quote(field->name).text, quote_value(text, at).text));
}

const char *line_string_end(const char *at, const char *end)
{
    while (at < end && *at != '"')
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    return at;
}

/* Copy a string without the backslashes that are escapes. */
static bool unescape_string(struct text *text, const char *at, const char *quote_at,
                            struct slice *ret_text)
{
    char *out;

    if (!make_scratch(text))
        return false;
    out = text->parser->scratch + text->parser->scratch_size;
    ret_text->data = out;
    while (at < quote_at) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
        *out++ = *at++;
    }
    ret_text->size = (size_t)(out - ret_text->data);
    text->parser->scratch_size += ret_text->size;
    return true;
}

/* From its opening quote. */
static const char *take_string(struct text *text, const char *at, struct line_field *field)
{
    const char *start = at + 1;

    text->string = true;
    for (at = start; at < text->end && *at != '"' && *at != '\\';)
        at++;
    field->type = FIELD_STRING;
    field->bits = 0;
    field->text.data = start;
    field->text.size = (size_t)(at - start);
    if (at < text->end && *at == '\\') {
        at = line_string_end(at, text->end);
        if (at < text->end && !unescape_string(text, start, at, &field->text))
            return bad(text, err_set(ERR_NO_MEMORY, "no memory to unescape a line"));
    }
    if (at == text->end)
        return bad(text, err_set(ERR_INVALID, "field \"%s\": its string has no closing quote",
                                 quote(field->name).text));
    if (!value_ends_at(at + 1, text->end))
        return bad(text, err_set(ERR_INVALID, "field \"%s\": \"%s\" follows its string",
                                 quote(field->name).text, quote_rest(text, at + 1).text));
    return at + 1;
}

static const char *refuse_range(struct text *text, const char *at, const struct line_field *field)
{
    return bad(text, err_set(ERR_INVALID, "field \"%s\": %s is out of range of type %s",
                             quote(field->name).text, quote_value(text, at).text,
                             field_type_name(field->type)));
}

static inline const char *take_number(struct text *text, const char *at, struct line_field *field)
{
    const char *stop = next_stop(text, at);
    struct decimal decimal;
    const char *after = decimal_read(at, text->end, &decimal);
    double number = 0;
    int64_t integer = 0;
    bool fits;

    if (after == NULL)
        return refuse_value(text, at, field);
    if (after < text->end && *after == 'i') {
        field->type = FIELD_INT;
        fits = decimal_to_int(&decimal, &integer);
        field->bits = (uint64_t)integer;
        after++;
    } else if (after < text->end && *after == 'u') {
        field->type = FIELD_UINT;
        fits = decimal_to_uint(&decimal, &field->bits);
        after++;
    } else {
        field->type = FIELD_FLOAT;
        fits = decimal_to_float(&decimal, &number);
        memcpy(&field->bits, &number, sizeof number);
    }
    field->text.data = NULL;
    field->text.size = 0;
    if (field->type != FIELD_FLOAT && decimal.fraction)
        return refuse_value(text, at, field);
    if (after != stop || (stop < text->end && (*stop == '=' || *stop == '\\'))) {
        if (!value_ends_at(after, text->end)) /* A \r is an end, but no stop. */
            return refuse_value(text, at, field);
        stop = after;
    }
    return fits ? stop : refuse_range(text, at, field);
}

static const char *take_boolean(struct text *text, const char *at, struct line_field *field)
{
    static const char *const names[] = {"f", "F", "false", "False", "FALSE",
                                        "t", "T", "true",  "True",  "TRUE"};
    const char *end = at;

    while (!value_ends_at(end, text->end))
        end++;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == (size_t)(end - at) &&
            memcmp(names[i], at, (size_t)(end - at)) == 0) {
            field->type = FIELD_BOOL;
            field->bits = *at == 't' || *at == 'T';
            field->text = (struct slice){NULL, 0};
            return end;
        }
    }
    return refuse_value(text, at, field);
}

static inline const char *take_field(struct text *text, const char *at, struct line_field *field)
{
    char first;

    at = take_name(text, at, NAME_FIELD, &field->name);
    if (at == NULL)
        return NULL;
    if (field->name.size == 0)
        return bad(text,
                   err_set(ERR_INVALID, "a field has no name (is there a space after a comma?)"));
    if (at == text->end || *at != '=')
        return bad(text,
                   err_set(ERR_INVALID, "field \"%s\" has no value", quote(field->name).text));
    at++;
    first = at < text->end ? *at : '\0';
    if (first == '"')
        return take_string(text, at, field);
    if (first == 't' || first == 'T' || first == 'f' || first == 'F')
        return take_boolean(text, at, field);
    return take_number(text, at, field);
}

static inline const char *take_fields(struct text *text, const char *at, struct line *line)
{
    line->field_count = 0;
    for (;; at++) {
        if (line->field_count == LINE_FIELDS_MAX)
            return bad(text, err_set(ERR_LIMIT, "more than %d fields", LINE_FIELDS_MAX));
        at = take_field(text, at, &line->fields[line->field_count]);
        if (at == NULL)
            return NULL;
        line->field_count++;
        if (at == text->end || *at != ',')
            return at;
    }
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* The unit that makes a time of these decades out of it, as InfluxDB 3 guesses. */
static int64_t guess_unit(int64_t time)
{
    if (-5000000000 < time && time < 5000000000)
        return 1000000000;
    if (-5000000000000 < time && time < 5000000000000)
        return 1000000;
    return -5000000000000000 < time && time < 5000000000000000 ? 1000 : 1;
}

static inline const char *take_time(struct text *text, const char *at, struct line *line)
{
    int64_t unit_ns = text->parser->time_unit_ns;
    struct decimal decimal;
    const char *after = decimal_read(at, text->end, &decimal);
    int64_t time_ns;

    if (after == NULL || !value_ends_at(after, text->end) || decimal.fraction)
        return bad(text, err_set(ERR_INVALID, "time \"%s\" is not a whole number",
                                 quote_value(text, at).text));
    /* The last few values are not times with InfluxDB either: room for "none" and "no limit". */
    if (!decimal_to_int(&decimal, &time_ns) ||
        __builtin_mul_overflow(
            time_ns, unit_ns == LINE_TIME_GUESSED ? guess_unit(time_ns) : unit_ns, &time_ns) ||
        time_ns < INT64_MIN + 2 || time_ns > INT64_MAX - 1)
        return bad(text, err_set(ERR_INVALID,
                                 "time %s (in units of %" PRId64 " ns) is not between 1677-09-21 "
                                 "and 2262-04-11: is the precision right?",
                                 quote_value(text, at).text, unit_ns));
    line->has_time = true;
    line->time_ns = time_ns;
    return line_skip_blanks(after, text->end);
}

/* ---- The line ------------------------------------------------------------------------------ */

static const char *take_line(struct text *text, const char *at, struct line *line)
{
    at = take_head(text, at, line);
    if (at == NULL)
        return NULL;
    at = line_skip_blanks(at, text->end);
    if (line_ends_at(at, text->end))
        return bad(text, err_set(ERR_INVALID, "no fields after \"%s\"", quote(line->head).text));
    at = take_fields(text, at, line);
    if (at == NULL)
        return NULL;

    line->has_time = false;
    line->time_ns = 0;
    at = line_skip_blanks(at, text->end);
    if (line_ends_at(at, text->end))
        return at;
    at = take_time(text, at, line);
    if (at != NULL && !line_ends_at(at, text->end))
        return bad(text,
                   err_set(ERR_INVALID, "\"%s\" follows the time", quote_rest(text, at).text));
    return at;
}

enum err line_parse(struct line_parser *parser, const char *at, const char *end,
                    struct line *ret_line, struct line_parse *ret_parse)
{
    struct text text = {.parser = parser, .end = end};

    (void)next_stop_beyond(&text, at);
    at = take_line(&text, at, ret_line);
    ret_parse->end = at;
    ret_parse->string = text.string;
    return at != NULL ? ERR_OK : text.err;
}
