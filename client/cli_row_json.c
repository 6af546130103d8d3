#include "client/cli_row_json.h"

#include <string.h>

#include "client/cli_row_read.h"
#include "client/wire/decimal.h"
#include "client/wire/quote.h"

enum { DEPTH_MAX = 32 }; /* Of members that nobody asks for. */

struct json {
    const char *start, *at, *end;
    char *room; /* The next free byte. */
};

static enum err bad(const struct json *json, const char *what)
{
    return err_set(ERR_INVALID, "JSON: %s at byte %zu", what, (size_t)(json->at - json->start) + 1);
}

/* ---- Words --------------------------------------------------------------------------------- */

static void skip_blanks(struct json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\t' || *json->at == '\r' || *json->at == '\n'))
        json->at++;
}

/* The next byte that is no blank; 0 at the end. */
static char peek(struct json *json)
{
    skip_blanks(json);
    return json->at < json->end ? *json->at : '\0';
}

static bool take(struct json *json, char wanted)
{
    if (peek(json) != wanted)
        return false;
    json->at++;
    return true;
}

static bool take_word(struct json *json, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(json->end - json->at) < size || memcmp(json->at, word, size) != 0)
        return false;
    json->at += size;
    return true;
}

/* ---- Strings ------------------------------------------------------------------------------- */

static bool take_hex(struct json *json, uint32_t *ret_number)
{
    uint32_t number = 0;

    if (json->end - json->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *json->at++;

        if (c >= '0' && c <= '9')
            number = number * 16 + (uint32_t)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            number = number * 16 + (uint32_t)((c | 0x20) - 'a') + 10;
        else
            return false;
    }
    *ret_number = number;
    return true;
}

static void put_utf8(struct json *json, uint32_t code)
{
    if (code < 0x80) {
        *json->room++ = (char)code;
        return;
    }
    if (code < 0x800) {
        *json->room++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *json->room++ = (char)(0xe0 | code >> 12);
        } else {
            *json->room++ = (char)(0xf0 | code >> 18);
            *json->room++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *json->room++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *json->room++ = (char)(0x80 | (code & 0x3f));
}

/* Behind "\u". A pair of surrogates stands for one character; one alone is none. */
static bool take_unicode(struct json *json)
{
    uint32_t code, low;

    if (!take_hex(json, &code) || (code >= 0xdc00 && code < 0xe000))
        return false;
    if (code >= 0xd800 && code < 0xdc00) {
        if (!take_word(json, "\\u") || !take_hex(json, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(json, code);
    return true;
}

static bool take_escape(struct json *json)
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *found;
    char c = json->at < json->end ? *json->at++ : '\0';

    if (c == 'u')
        return take_unicode(json);
    found = c == '\0' ? NULL : strchr(names, c);
    if (found == NULL)
        return false;
    *json->room++ = bytes[found - names];
    return true;
}

static enum err read_string(struct json *json, struct slice *ret)
{
    const char *start, *plain;
    char *room = json->room;

    if (!take(json, '"'))
        return bad(json, "a string is missing");
    start = plain = json->at;
    while (json->at < json->end && *json->at != '"') {
        if ((unsigned char)*json->at < 0x20)
            return bad(json, "a control character in a string");
        if (*json->at++ != '\\')
            continue;
        memcpy(json->room, plain, (size_t)(json->at - 1 - plain));
        json->room += json->at - 1 - plain;
        if (!take_escape(json))
            return bad(json, "an unknown escape");
        plain = json->at;
    }
    if (json->at == json->end)
        return bad(json, "a string does not end");
    if (plain == start) {
        *ret = (struct slice){start, (size_t)(json->at - start)};
    } else {
        memcpy(json->room, plain, (size_t)(json->at - plain));
        json->room += json->at - plain;
        *ret = (struct slice){room, (size_t)(json->room - room)};
    }
    json->at++;
    return ERR_OK;
}

/* ---- Values -------------------------------------------------------------------------------- */

static enum err read_number(struct json *json, struct line_field *field)
{
    struct decimal decimal;
    const char *end = decimal_read(json->at, json->end, &decimal);
    double number;
    int64_t integer;

    if (end == NULL)
        return bad(json, "a value is missing");
    json->at = end;
    if (decimal.fraction && decimal_to_float(&decimal, &number)) {
        field->type = FIELD_FLOAT;
        memcpy(&field->bits, &number, sizeof field->bits);
    } else if (!decimal.fraction && decimal_to_int(&decimal, &integer)) {
        field->type = FIELD_INT;
        field->bits = (uint64_t)integer;
    } else {
        return bad(json, "a number out of range (an unsigned one is {\"unsigned\":...})");
    }
    return ERR_OK;
}

/* {"unsigned":7} or {"float":"nan"} */
static enum err read_wrapped(struct json *json, struct line_field *field)
{
    struct slice type, text;
    enum err err = ERR_OK;

    json->at++;
    err = read_string(json, &type);
    if (err == ERR_OK && !take(json, ':'))
        err = bad(json, "a \":\" is missing");
    if (err != ERR_OK)
        return err;
    if (type.size == 5 && memcmp(type.data, "float", 5) == 0) {
        err = read_string(json, &text);
        if (err == ERR_OK)
            err = cli_row_read_value(text, FIELD_FLOAT, field);
    } else if (type.size == 8 && memcmp(type.data, "unsigned", 8) == 0) {
        skip_blanks(json);
        text.data = json->at;
        while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
            json->at++;
        text.size = (size_t)(json->at - text.data);
        err = cli_row_read_value(text, FIELD_UINT, field);
    } else {
        return bad(json, "an object that is neither {\"unsigned\":...} nor {\"float\":\"...\"}");
    }
    if (err == ERR_OK && !take(json, '}'))
        err = bad(json, "a \"}\" is missing");
    return err;
}

static enum err read_value(struct json *json, struct line_field *field)
{
    switch (peek(json)) {
    case '"':
        field->type = FIELD_STRING;
        return read_string(json, &field->text);
    case '{':
        return read_wrapped(json, field);
    case 't':
    case 'f':
        field->type = FIELD_BOOL;
        field->bits = *json->at == 't';
        return take_word(json, field->bits ? "true" : "false") ? ERR_OK
                                                               : bad(json, "an unknown word");
    default:
        return read_number(json, field);
    }
}

/* ---- Objects ------------------------------------------------------------------------------- */

/* The next member's name, up to behind its ":". ERR_END: the object has ended. */
static enum err next_member(struct json *json, bool *first, struct slice *ret_name)
{
    enum err err;

    if (*first && !take(json, '{'))
        return bad(json, "an object is missing");
    if (take(json, '}'))
        return ERR_END;
    if (!*first && !take(json, ','))
        return bad(json, "a \",\" or \"}\" is missing");
    *first = false;
    err = read_string(json, ret_name);
    return err == ERR_OK && !take(json, ':') ? bad(json, "a \":\" is missing") : err;
}

static enum err read_tags(struct json *json, struct line *line)
{
    struct slice name = {0};
    bool first = true;
    enum err err;

    while ((err = next_member(json, &first, &name)) == ERR_OK) {
        if (line->tag_count == TAG_COUNT_MAX)
            return err_set(ERR_LIMIT, "more than %d tags", TAG_COUNT_MAX);
        line->tags[line->tag_count].name = name;
        err = read_string(json, &line->tags[line->tag_count++].value);
        if (err != ERR_OK)
            return err;
    }
    return err == ERR_END ? ERR_OK : err;
}

static enum err read_fields(struct json *json, struct line *line)
{
    struct slice name = {0};
    bool first = true;
    enum err err;

    while ((err = next_member(json, &first, &name)) == ERR_OK) {
        struct line_field *field = &line->fields[line->field_count];

        if (line->field_count == LINE_FIELDS_MAX)
            return err_set(ERR_LIMIT, "more than %d fields", LINE_FIELDS_MAX);
        *field = (struct line_field){.name = name};
        err = read_value(json, field);
        if (err != ERR_OK)
            return err_wrap(err, "field \"%s\"", quote(name).text);
        line->field_count++;
    }
    return err == ERR_END ? ERR_OK : err;
}

/* What nobody asks for: told apart from what is no JSON only as far as its end has to be found. */
static enum err skip_value(struct json *json)
{
    unsigned depth = 0;

    do {
        char c = peek(json);
        struct slice text;

        if (c == '"') {
            enum err err = read_string(json, &text);

            if (err != ERR_OK)
                return err;
        } else if (c == '\0' || depth == DEPTH_MAX || (depth == 0 && strchr(",:}]", c) != NULL)) {
            return bad(json, "a value is missing");
        } else {
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            json->at++;
            while (strchr("{}[],:\"", c) == NULL && json->at < json->end &&
                   strchr("{}[],:\" \t\r\n", *json->at) == NULL)
                json->at++;
        }
    } while (depth > 0);
    return ERR_OK;
}

static bool is(struct slice name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static enum err read_member(struct json *json, struct slice name, struct line *line,
                            struct slice *database)
{
    struct slice text;
    enum err err;

    if (is(name, "tags"))
        return read_tags(json, line);
    if (is(name, "fields"))
        return read_fields(json, line);
    if (is(name, "table"))
        return read_string(json, &line->table);
    if (is(name, "database"))
        return read_string(json, database);
    if (!is(name, "time"))
        return skip_value(json);
    err = read_string(json, &text);
    line->has_time = true;
    return err == ERR_OK ? cli_row_read_time(text, &line->time_ns) : err;
}

enum err cli_row_json_read(const char *text, size_t size, char *room, struct line *ret_line,
                           struct slice *ret_database)
{
    struct json json = {text, text, text + size, room};
    struct slice name = {0};
    bool first = true;
    enum err err;

    while ((err = next_member(&json, &first, &name)) == ERR_OK) {
        err = read_member(&json, name, ret_line, ret_database);
        if (err != ERR_OK)
            return err;
    }
    if (err != ERR_END)
        return err;
    if (peek(&json) != '\0' || json.at < json.end)
        return bad(&json, "something behind the object");
    if (ret_line->table.size == 0)
        return err_set(ERR_INVALID, "the row has no \"table\"");
    if (!ret_line->has_time)
        return err_set(ERR_INVALID, "the row has no \"time\"");
    if (ret_line->field_count == 0)
        return err_set(ERR_INVALID, "the row has no \"fields\"");
    return ERR_OK;
}
