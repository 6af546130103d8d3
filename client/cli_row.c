#include "client/cli_row.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_print.h"
#include "client/cli_time.h"
#include "client/wire/line_write.h"

#define NO_PLACE      UINT32_MAX
#define NAN_CANONICAL UINT64_C(0x7ff8000000000000)

/* A row may have more than the parser takes in a line: it becomes several, with the same time. */
enum { LINE_FIELDS = 1000, LINE_BYTES = 512 * 1024 };

/* Those before and behind are no times in line protocol. */
#define LINE_TIME_MIN (INT64_MIN + 2)
#define LINE_TIME_MAX (INT64_MAX - 1)

bool cli_row_format(const char *name, enum cli_row_format *ret_format)
{
    static const char *const names[] = {"lp", "csv", "jsonl"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_format = (enum cli_row_format)i;
            return true;
        }
    }
    return false;
}

void cli_row_fini(struct cli_row_printer *printer)
{
    cli_row_forget(printer);
    free(printer->columns);
    free(printer->places);
    free(printer->cells);
    bytes_fini(&printer->line);
}

/* ---- Values -------------------------------------------------------------------------------- */

static bool is_finite(enum field_type type, uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return type != FIELD_FLOAT || isfinite(value);
}

static void put_text(struct bytes *out, const char *text)
{
    bytes_put(out, text, strlen(text));
}

/* inf, -inf, nan, 0x7ff8000000000001 */
static void put_no_number(struct bytes *out, uint64_t bits)
{
    char text[CLI_PRINT_CELL_MAX];
    double value;

    memcpy(&value, &bits, sizeof value);
    if (isinf(value))
        put_text(out, value > 0 ? "inf" : "-inf");
    else if (bits == NAN_CANONICAL)
        put_text(out, "nan");
    else if (snprintf(text, sizeof text, "0x%016" PRIx64, bits) > 0)
        put_text(out, text);
}

static void number_text(enum field_type type, uint64_t bits, char room[CLI_PRINT_CELL_MAX])
{
    struct millrace_value value = {0};

    switch (type) {
    case FIELD_FLOAT:
        value.type = MILLRACE_FLOAT_TYPE;
        memcpy(&value.as.f, &bits, sizeof value.as.f);
        break;
    case FIELD_INT:
        value.type = MILLRACE_INT_TYPE;
        value.as.i = (int64_t)bits;
        break;
    case FIELD_UINT:
        value.type = MILLRACE_UINT_TYPE;
        value.as.u = bits;
        break;
    default:
        value.type = MILLRACE_BOOL_TYPE;
        value.as.b = bits != 0;
        break;
    }
    cli_print_number(&value, room);
}

/* ---- Line protocol ------------------------------------------------------------------------- */

static bool print_line(struct cli_row_printer *printer, const struct cli_row *row)
{
    struct bytes *line = &printer->line;
    uint32_t at = 0;

    while (at < printer->field_count) {
        size_t start = line->size;
        uint32_t fields = 0;

        if (row->time_ns < LINE_TIME_MIN || row->time_ns > LINE_TIME_MAX ||
            !line_write_head(row->table, row->tags, row->tag_count, line)) {
            printer->unsaid_rows++;
            return true;
        }
        for (; at < printer->field_count && fields < LINE_FIELDS && line->size - start < LINE_BYTES;
             at++) {
            const struct cli_row_cell *cell = &row->cells[at];

            if (!cell->present)
                continue;
            if (line_write_field(fields == 0, printer->fields[at].name, printer->fields[at].type,
                                 cell->bits, cell->text, line))
                fields++;
            else
                printer->unsaid_values++;
        }
        line_write_time(row->time_ns, line);
        if (fields == 0)
            line->size = start;
    }
    return true;
}

/* ---- CSV: columns -------------------------------------------------------------------------- */

void cli_row_forget(struct cli_row_printer *printer)
{
    for (uint32_t i = 0; i < printer->tag_count; i++)
        bytes_fini(&printer->tags[i]);
    for (uint32_t i = 0; i < printer->column_count; i++)
        bytes_fini(&printer->columns[i].name);
    printer->tag_count = printer->column_count = 0;
    printer->headed = false;
}

static int compare(const struct bytes *own, struct slice name)
{
    size_t size = own->size < name.size ? own->size : name.size;
    int order = memcmp(own->data, name.data, size);

    return order != 0 ? order : (own->size > name.size) - (own->size < name.size);
}

/* The first tag that does not stand before the name. */
static uint32_t find_tag(const struct cli_row_printer *printer, struct slice name)
{
    uint32_t low = 0, high = printer->tag_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare(&printer->tags[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool cli_row_expect_tag(struct cli_row_printer *printer, struct slice name)
{
    uint32_t at = find_tag(printer, name);
    struct bytes own = {0};

    if (at < printer->tag_count && compare(&printer->tags[at], name) == 0)
        return true;
    bytes_put(&own, name.data, name.size);
    if (printer->tag_count == CLI_ROW_TAGS_MAX || own.failed) {
        bytes_fini(&own);
        return false;
    }
    memmove(printer->tags + at + 1, printer->tags + at,
            (printer->tag_count - at) * sizeof *printer->tags);
    printer->tags[at] = own;
    printer->tag_count++;
    printer->headed = false;
    return true;
}

static uint32_t find_column(const struct cli_row_printer *printer, struct slice name,
                            enum field_type type)
{
    for (uint32_t i = 0; i < printer->column_count; i++)
        if (printer->columns[i].type == type && compare(&printer->columns[i].name, name) == 0)
            return i;
    return NO_PLACE;
}

bool cli_row_expect_field(struct cli_row_printer *printer, struct slice name, enum field_type type)
{
    struct cli_row_column *column;

    if (find_column(printer, name, type) != NO_PLACE)
        return true;
    if (printer->column_count == printer->column_capacity) {
        uint32_t capacity = printer->column_capacity == 0 ? 64 : 2 * printer->column_capacity;
        struct cli_row_column *columns =
            realloc(printer->columns, capacity * sizeof *printer->columns);
        uint32_t *cells;

        if (columns == NULL)
            return false;
        printer->columns = columns;
        cells = realloc(printer->cells, capacity * sizeof *cells);
        if (cells == NULL)
            return false;
        printer->cells = cells;
        printer->column_capacity = capacity;
    }
    column = &printer->columns[printer->column_count];
    *column = (struct cli_row_column){.type = type};
    bytes_put(&column->name, name.data, name.size);
    if (column->name.failed)
        return false;
    printer->column_count++;
    printer->headed = false;
    return true;
}

bool cli_row_fields(struct cli_row_printer *printer, const struct cli_row_field *fields,
                    uint32_t count)
{
    uint32_t *places = realloc(printer->places, (count + 1) * sizeof *places);

    if (places == NULL)
        return false;
    printer->places = places;
    printer->fields = fields;
    printer->field_count = count;
    for (uint32_t i = 0; i < count && printer->format == CLI_ROW_CSV; i++)
        places[i] = find_column(printer, fields[i].name, fields[i].type);
    return true;
}

/* Every tag and value of the row has its column. */
static bool add_columns(struct cli_row_printer *printer, const struct cli_row *row)
{
    for (size_t i = 0; i < row->tag_count; i++)
        if (!cli_row_expect_tag(printer, row->tags[i].name))
            return false;
    for (uint32_t i = 0; i < printer->field_count; i++) {
        const struct cli_row_field *field = &printer->fields[i];

        if (!row->cells[i].present || printer->places[i] != NO_PLACE)
            continue;
        if (!cli_row_expect_field(printer, field->name, field->type))
            return false;
        printer->places[i] = find_column(printer, field->name, field->type);
    }
    return true;
}

/* ---- CSV: rows ----------------------------------------------------------------------------- */

static void put_csv(struct bytes *out, const char *text, size_t size)
{
    bool quote = size == 0; /* Without quotes it is no value at all. */

    for (size_t i = 0; i < size && !quote; i++)
        quote = text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    if (!quote) {
        bytes_put(out, text, size);
        return;
    }
    bytes_put_u8(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            bytes_put_u8(out, '"');
        bytes_put_u8(out, (uint8_t)text[i]);
    }
    bytes_put_u8(out, '"');
}

/* "NAME:what" */
static void put_title(struct bytes *line, const struct bytes *name, const char *what)
{
    struct bytes title = {0};

    bytes_put(&title, name->data, name->size);
    bytes_put_u8(&title, ':');
    put_text(&title, what);
    bytes_put_u8(line, ',');
    if (title.failed)
        line->failed = true;
    else
        put_csv(line, (const char *)title.data, title.size);
    bytes_fini(&title);
}

static void put_header(struct cli_row_printer *printer)
{
    struct bytes *line = &printer->line;

    put_text(line, "time");
    for (uint32_t i = 0; i < printer->tag_count; i++)
        put_title(line, &printer->tags[i], "tag");
    for (uint32_t i = 0; i < printer->column_count; i++)
        put_title(line, &printer->columns[i].name, field_type_name(printer->columns[i].type));
    bytes_put_u8(line, '\n');
    printer->headed = true;
}

static void put_cell(struct bytes *line, enum field_type type, const struct cli_row_cell *cell)
{
    char text[CLI_PRINT_CELL_MAX];

    if (type == FIELD_STRING) {
        put_csv(line, cell->text.data, cell->text.size);
    } else if (!is_finite(type, cell->bits)) {
        put_no_number(line, cell->bits);
    } else {
        number_text(type, cell->bits, text);
        put_text(line, text);
    }
}

static bool print_csv(struct cli_row_printer *printer, const struct cli_row *row)
{
    struct bytes *line = &printer->line;
    char text[CLI_TIME_SIZE];
    size_t tag = 0; /* The row's are sorted, as the columns are. */

    if (!add_columns(printer, row))
        return false;
    if (!printer->headed)
        put_header(printer);
    cli_time_format(row->time_ns, text);
    put_text(line, text);
    for (uint32_t i = 0; i < printer->tag_count; i++) {
        bytes_put_u8(line, ',');
        if (tag < row->tag_count && compare(&printer->tags[i], row->tags[tag].name) == 0) {
            put_csv(line, row->tags[tag].value.data, row->tags[tag].value.size);
            tag++;
        }
    }
    for (uint32_t i = 0; i < printer->column_count; i++)
        printer->cells[i] = NO_PLACE;
    for (uint32_t i = 0; i < printer->field_count; i++)
        if (row->cells[i].present)
            printer->cells[printer->places[i]] = i;
    for (uint32_t i = 0; i < printer->column_count; i++) {
        bytes_put_u8(line, ',');
        if (printer->cells[i] != NO_PLACE)
            put_cell(line, printer->columns[i].type, &row->cells[printer->cells[i]]);
    }
    bytes_put_u8(line, '\n');
    return true;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void put_json_string(struct bytes *out, struct slice text)
{
    char escape[8];

    bytes_put_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte == '"' || byte == '\\')
            bytes_put_u8(out, '\\');
        if (byte >= 0x20)
            bytes_put_u8(out, byte);
        else if (snprintf(escape, sizeof escape, "\\u%04x", byte) > 0)
            put_text(out, escape);
    }
    bytes_put_u8(out, '"');
}

static void put_json_value(struct bytes *out, enum field_type type, const struct cli_row_cell *cell)
{
    char text[CLI_PRINT_CELL_MAX];

    if (type == FIELD_STRING) {
        put_json_string(out, cell->text);
        return;
    }
    if (!is_finite(type, cell->bits)) {
        put_text(out, "{\"float\":\"");
        put_no_number(out, cell->bits);
        put_text(out, "\"}");
        return;
    }
    number_text(type, cell->bits, text);
    put_text(out, type == FIELD_UINT ? "{\"unsigned\":" : "");
    put_text(out, text);
    if (type == FIELD_FLOAT && strpbrk(text, ".e") == NULL)
        put_text(out, ".0");
    put_text(out, type == FIELD_UINT ? "}" : "");
}

static void put_json_name(struct bytes *out, bool *first, struct slice name)
{
    put_text(out, *first ? "" : ",");
    *first = false;
    put_json_string(out, name);
    bytes_put_u8(out, ':');
}

static bool print_json(struct cli_row_printer *printer, const struct cli_row *row)
{
    struct bytes *line = &printer->line;
    char time[CLI_TIME_SIZE];
    bool first = true;

    cli_time_format(row->time_ns, time);
    put_text(line, "{\"time\":\"");
    put_text(line, time);
    put_text(line, "\",\"database\":");
    put_json_string(line, row->database);
    put_text(line, ",\"table\":");
    put_json_string(line, row->table);
    put_text(line, ",\"tags\":{");
    for (size_t i = 0; i < row->tag_count; i++) {
        put_json_name(line, &first, row->tags[i].name);
        put_json_string(line, row->tags[i].value);
    }
    put_text(line, "},\"fields\":{");
    first = true;
    for (uint32_t i = 0; i < printer->field_count; i++) {
        if (!row->cells[i].present)
            continue;
        put_json_name(line, &first, printer->fields[i].name);
        put_json_value(line, printer->fields[i].type, &row->cells[i]);
    }
    put_text(line, "}}\n");
    return true;
}

/* ---- All ----------------------------------------------------------------------------------- */

bool cli_row_print(struct cli_row_printer *printer, const struct cli_row *row)
{
    struct bytes *line = &printer->line;
    bool done;

    bytes_clear(line);
    switch (printer->format) {
    case CLI_ROW_LINE:
        done = print_line(printer, row);
        break;
    case CLI_ROW_CSV:
        done = print_csv(printer, row);
        break;
    default:
        done = print_json(printer, row);
        break;
    }
    if (!done || line->failed)
        return false;
    (void)fwrite(line->data, 1, line->size, printer->out);
    printer->bytes += line->size;
    return true;
}
