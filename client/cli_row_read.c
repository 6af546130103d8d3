#include "client/cli_row_read.h"

#include <math.h>
#include <string.h>

#include "client/cli_row_json.h"
#include "client/cli_time.h"
#include "client/wire/decimal.h"
#include "client/wire/quote.h"

#define NAN_CANONICAL UINT64_C(0x7ff8000000000000)

void cli_row_read_fini(struct cli_row_reader *reader)
{
    bytes_fini(&reader->scratch);
    bytes_fini(&reader->header);
}

/* ---- Records ------------------------------------------------------------------------------- */

/* Behind the newline that ends the first record; NULL: it goes on. */
static const char *find_end(const struct cli_row_reader *reader, const char *text, size_t size)
{
    bool quoted = false;

    if (reader->format == CLI_ROW_JSONL) {
        const char *newline = memchr(text, '\n', size);

        return newline == NULL ? NULL : newline + 1;
    }
    for (size_t i = 0; i < size; i++) {
        quoted ^= text[i] == '"';
        if (text[i] == '\n' && !quoted)
            return text + i + 1;
    }
    return NULL;
}

size_t cli_row_read_size(const struct cli_row_reader *reader, const char *text, size_t size,
                         bool more)
{
    const char *end = find_end(reader, text, size);
    const char *newline;

    if (end != NULL)
        return (size_t)(end - text);
    if (more && size < CLI_ROW_READ_MAX)
        return 0;
    /* A quote that nobody closes takes no good records with it. */
    newline = memchr(text, '\n', size);
    return newline == NULL ? size : (size_t)(newline + 1 - text);
}

/* ---- Values -------------------------------------------------------------------------------- */

static bool is(struct slice text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* "0x7ff8000000000001": 16 digits */
static bool read_bits(struct slice text, uint64_t *ret_bits)
{
    uint64_t bits = 0;

    if (text.size != 18 || text.data[0] != '0' || text.data[1] != 'x')
        return false;
    for (size_t i = 2; i < text.size; i++) {
        char c = text.data[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        bits = bits << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_bits = bits;
    return true;
}

static bool read_float(struct slice text, uint64_t *ret_bits)
{
    struct decimal decimal;
    double number;

    if (is(text, "nan")) {
        *ret_bits = NAN_CANONICAL;
        return true;
    }
    if (is(text, "inf") || is(text, "-inf"))
        number = text.data[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    else if (read_bits(text, ret_bits))
        return true;
    else if (text.size == 0 ||
             decimal_read(text.data, text.data + text.size, &decimal) != text.data + text.size ||
             !decimal_to_float(&decimal, &number))
        return false;
    memcpy(ret_bits, &number, sizeof number);
    return true;
}

static bool read_whole(struct slice text, enum field_type type, uint64_t *ret_bits)
{
    struct decimal decimal;
    int64_t number;

    if (text.size == 0 ||
        decimal_read(text.data, text.data + text.size, &decimal) != text.data + text.size)
        return false;
    if (type == FIELD_UINT)
        return decimal_to_uint(&decimal, ret_bits);
    if (!decimal_to_int(&decimal, &number))
        return false;
    *ret_bits = (uint64_t)number;
    return true;
}

enum err cli_row_read_value(struct slice text, enum field_type type, struct line_field *ret_field)
{
    bool good = true;

    ret_field->type = type;
    switch (type) {
    case FIELD_FLOAT:
        good = read_float(text, &ret_field->bits);
        break;
    case FIELD_INT:
    case FIELD_UINT:
        good = read_whole(text, type, &ret_field->bits);
        break;
    case FIELD_BOOL:
        ret_field->bits = is(text, "true");
        good = ret_field->bits || is(text, "false");
        break;
    default:
        ret_field->text = text;
        break;
    }
    return good ? ERR_OK
                : err_set(ERR_INVALID, "\"%s\" is no %s", quote(text).text, field_type_name(type));
}

enum err cli_row_read_time(struct slice text, int64_t *ret_ns)
{
    char copy[CLI_TIME_SIZE + 8];

    if (text.size > 4 && text.size < sizeof copy && text.data[4] == '-' &&
        memchr(text.data, '\0', text.size) == NULL) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        if (cli_time_parse(copy, 0, ret_ns))
            return ERR_OK;
    }
    return err_set(ERR_INVALID, "\"%s\" is no time: want 2026-01-31T12:00:00.5Z", quote(text).text);
}

/* ---- CSV ----------------------------------------------------------------------------------- */

struct cell {
    struct slice text;
    bool quoted;
};

/* The next cell of [*at, end), up to behind its comma. *ret_more: there was one. */
static enum err next_cell(const char **at, const char *end, char **room, struct cell *ret_cell,
                          bool *ret_more)
{
    const char *start = *at, *from = start;
    char *out = *room;

    *ret_cell = (struct cell){.quoted = from < end && *from == '"'};
    if (!ret_cell->quoted) {
        while (from < end && *from != ',')
            from++;
        ret_cell->text = (struct slice){start, (size_t)(from - start)};
    } else {
        for (from++; from < end && (*from != '"' || (from + 1 < end && from[1] == '"')); from++) {
            *out++ = *from;
            from += *from == '"';
        }
        if (from == end)
            return err_set(ERR_INVALID, "a quote is not closed");
        from++;
        ret_cell->text = (struct slice){*room, (size_t)(out - *room)};
        *room = out;
    }
    if (from < end && *from != ',')
        return err_set(ERR_INVALID, "something stands behind a closed quote");
    *ret_more = from < end;
    *at = from + (from < end);
    return ERR_OK;
}

/* "NAME:tag", "NAME:float", ... */
static enum err read_title(struct slice text, struct cli_row_title *ret_title)
{
    const char *colon = memrchr(text.data, ':', text.size);
    struct slice type;

    if (colon == NULL || colon == text.data)
        return err_set(ERR_INVALID,
                       "the header says \"%s\": want NAME:tag, NAME:float, NAME:integer, "
                       "NAME:unsigned, NAME:boolean or NAME:string",
                       quote(text).text);
    type = (struct slice){colon + 1, text.size - (size_t)(colon + 1 - text.data)};
    *ret_title = (struct cli_row_title){.name = {text.data, (size_t)(colon - text.data)}};
    if (is(type, "tag"))
        return ERR_OK;
    for (enum field_type known = FIELD_FLOAT; known < FIELD_TYPE_END; known++) {
        if (is(type, field_type_name(known))) {
            ret_title->type = known;
            return ERR_OK;
        }
    }
    return err_set(ERR_INVALID, "the header has a column of type \"%s\": unknown",
                   quote(type).text);
}

/* A new header; a bad one leaves none, and rows are refused until the next. */
static enum err read_header(struct cli_row_reader *reader, const char *text, size_t size)
{
    char *copy, *room; /* The text will be gone. */
    const char *at, *end;
    struct cell cell;
    bool more = true;
    enum err err;

    reader->headed = false;
    reader->title_count = 0;
    bytes_clear(&reader->header);
    copy = (char *)bytes_add(&reader->header, 2 * size + 1);
    if (copy == NULL)
        return err_set(ERR_NO_MEMORY, "a header of %zu bytes", size);
    memcpy(copy, text, size);
    at = copy;
    end = room = copy + size;
    err = next_cell(&at, end, &room, &cell, &more);
    while (err == ERR_OK && more) {
        if (reader->title_count == CLI_ROW_READ_COLUMNS)
            return err_set(ERR_LIMIT, "more than %d columns", (int)CLI_ROW_READ_COLUMNS);
        err = next_cell(&at, end, &room, &cell, &more);
        if (err == ERR_OK)
            err = read_title(cell.text, &reader->titles[reader->title_count++]);
    }
    reader->headed = err == ERR_OK;
    return err;
}

static enum err add_cell(const struct cli_row_title *title, const struct cell *cell,
                         struct line *line)
{
    enum err err;

    if (cell->text.size == 0 && !cell->quoted)
        return ERR_OK;
    if (title->type == 0) {
        if (line->tag_count == TAG_COUNT_MAX)
            return err_set(ERR_LIMIT, "more than %d tags", TAG_COUNT_MAX);
        line->tags[line->tag_count++] = (struct tag){title->name, cell->text};
        return ERR_OK;
    }
    if (line->field_count == LINE_FIELDS_MAX)
        return err_set(ERR_LIMIT, "more than %d fields", LINE_FIELDS_MAX);
    line->fields[line->field_count].name = title->name;
    err = cli_row_read_value(cell->text, title->type, &line->fields[line->field_count++]);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "column \"%s\"", quote(title->name).text);
}

static enum err read_csv(struct cli_row_reader *reader, const char *text, size_t size,
                         struct line *line)
{
    const char *at = text, *end = text + size;
    char *room = (char *)reader->scratch.data;
    struct cell cell;
    uint32_t column = 0;
    bool more = false;
    enum err err = next_cell(&at, end, &room, &cell, &more);

    if (err != ERR_OK)
        return err;
    if (is(cell.text, "time")) {
        err = read_header(reader, text, size);
        return err == ERR_OK ? ERR_END : err;
    }
    if (!reader->headed)
        return err_set(ERR_INVALID, "no good header stands before it: want time,NAME:tag,...");
    line->has_time = true;
    err = cli_row_read_time(cell.text, &line->time_ns);
    for (; err == ERR_OK && more && column < reader->title_count; column++) {
        err = next_cell(&at, end, &room, &cell, &more);
        if (err == ERR_OK)
            err = add_cell(&reader->titles[column], &cell, line);
    }
    if (err == ERR_OK && (more || column < reader->title_count))
        err = err_set(ERR_INVALID, "it has %s columns than its header, %u", more ? "more" : "fewer",
                      (unsigned)reader->title_count + 1);
    if (err == ERR_OK && line->field_count == 0)
        err = err_set(ERR_INVALID, "it has no value of any field");
    return err;
}

/* ---- All ----------------------------------------------------------------------------------- */

/* Rows of several databases in one file would become one here. */
static enum err check_database(struct cli_row_reader *reader, struct slice database)
{
    if (reader->has_database && (database.size != reader->database_size ||
                                 memcmp(database.data, reader->database, database.size) != 0))
        return err_set(ERR_INVALID,
                       "it is of database \"%s\", and the rows before it are of \"%s\": import "
                       "one database at a time",
                       quote(database).text,
                       quote((struct slice){reader->database, reader->database_size}).text);
    if (database.size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "its database has a name of %zu bytes", database.size);
    if (!reader->has_database) {
        memcpy(reader->database, database.data, database.size);
        reader->database_size = database.size;
        reader->has_database = true;
    }
    return ERR_OK;
}

static enum err read_json(struct cli_row_reader *reader, const char *text, size_t size,
                          struct line *line)
{
    struct slice database = {"", 0};
    enum err err = cli_row_json_read(text, size, (char *)reader->scratch.data, line, &database);

    return err == ERR_OK ? check_database(reader, database) : err;
}

enum err cli_row_read(struct cli_row_reader *reader, const char *text, size_t size,
                      struct line *ret_line)
{
    if (size > 0 && text[size - 1] == '\n')
        size--;
    if (size > 0 && text[size - 1] == '\r')
        size--;
    if (size == 0)
        return ERR_END;
    bytes_clear(&reader->scratch);
    if (bytes_add(&reader->scratch, size) == NULL)
        return err_set(ERR_NO_MEMORY, "a record of %zu bytes", size);
    ret_line->tag_count = ret_line->field_count = 0;
    ret_line->has_time = false;
    ret_line->table = (struct slice){"", 0};
    if (reader->format == CLI_ROW_JSONL)
        return read_json(reader, text, size, ret_line);
    ret_line->table = (struct slice){reader->table, strlen(reader->table)};
    return read_csv(reader, text, size, ret_line);
}
