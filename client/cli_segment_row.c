#include "client/cli_segment_row.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "client/cli_print.h"
#include "client/cli_time.h"
#include "client/wire/line_write.h"

/* A row may have more than the parser takes in a line: it becomes several, with the same time. */
enum { LINE_FIELDS = 1000, LINE_BYTES = 512 * 1024 };

void cli_segment_row_fini(struct cli_segment_printer *printer)
{
    cli_segment_row_forget(printer);
    bytes_fini(&printer->line);
    bytes_fini(&printer->header);
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

static bool is_finite(enum field_type type, uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return type != FIELD_FLOAT || isfinite(value);
}

/* ---- Line protocol ------------------------------------------------------------------------- */

static bool print_line(struct cli_segment_printer *printer, const struct cli_segment_row *row)
{
    struct bytes *line = &printer->line;
    uint32_t at = 0, count = row->table->field_count;

    while (at < count) {
        uint32_t fields = 0;

        bytes_clear(line);
        if (!line_write_head(row->series->table, row->series->tags, row->series->tag_count, line)) {
            printer->unsaid_rows++;
            return true;
        }
        for (; at < count && fields < LINE_FIELDS && line->size < LINE_BYTES; at++) {
            const struct cli_segment_cell *cell = &row->cells[at];

            if (!cell->present)
                continue;
            if (line_write_field(fields == 0, row->table->fields[at].name,
                                 row->table->fields[at].type, cell->bits, cell->text, line))
                fields++;
            else
                printer->unsaid_values++;
        }
        line_write_time(row->time_ns, line);
        if (line->failed)
            return false;
        if (fields > 0)
            (void)fwrite(line->data, 1, line->size, printer->out);
    }
    return true;
}

/* ---- CSV ----------------------------------------------------------------------------------- */

void cli_segment_row_forget(struct cli_segment_printer *printer)
{
    for (uint32_t i = 0; i < printer->tag_count; i++)
        bytes_fini(&printer->tags[i]);
    printer->tag_count = 0;
}

static int compare(const struct bytes *own, struct slice name)
{
    size_t size = own->size < name.size ? own->size : name.size;
    int order = memcmp(own->data, name.data, size);

    return order != 0 ? order : (own->size > name.size) - (own->size < name.size);
}

bool cli_segment_row_expect(struct cli_segment_printer *printer, const struct key_parts *series)
{
    for (size_t i = 0; i < series->tag_count; i++) {
        struct bytes name = {0};
        uint32_t at = 0;

        while (at < printer->tag_count && compare(&printer->tags[at], series->tags[i].name) < 0)
            at++;
        if (at < printer->tag_count && compare(&printer->tags[at], series->tags[i].name) == 0)
            continue;
        bytes_put(&name, series->tags[i].name.data, series->tags[i].name.size);
        if (printer->tag_count == CLI_SEGMENT_TAGS_MAX || name.failed) {
            bytes_fini(&name);
            return false;
        }
        memmove(printer->tags + at + 1, printer->tags + at,
                (printer->tag_count - at) * sizeof *printer->tags);
        printer->tags[at] = name;
        printer->tag_count++;
    }
    return true;
}

static void put_csv(struct bytes *out, const char *text, size_t size)
{
    bool quote = false;

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

/* The header, unless it is the one that was printed last. */
static bool print_header(struct cli_segment_printer *printer, const struct segment_table *table)
{
    struct bytes *line = &printer->line;

    bytes_clear(line);
    bytes_put(line, "time", 4);
    for (uint32_t i = 0; i < printer->tag_count; i++) {
        bytes_put_u8(line, ',');
        put_csv(line, (const char *)printer->tags[i].data, printer->tags[i].size);
    }
    for (uint32_t i = 0; i < table->field_count; i++) {
        bytes_put_u8(line, ',');
        put_csv(line, table->fields[i].name.data, table->fields[i].name.size);
    }
    bytes_put_u8(line, '\n');
    if (line->size == printer->header.size &&
        memcmp(line->data, printer->header.data, line->size) == 0)
        return true;
    bytes_clear(&printer->header);
    bytes_put(&printer->header, line->data, line->size);
    (void)fwrite(line->data, 1, line->size, printer->out);
    return !line->failed && !printer->header.failed;
}

static bool print_csv(struct cli_segment_printer *printer, const struct cli_segment_row *row)
{
    struct bytes *line = &printer->line;
    char text[CLI_PRINT_CELL_MAX];

    static_assert((int)CLI_PRINT_CELL_MAX >= (int)CLI_TIME_SIZE, "a number or a time");
    if (!print_header(printer, row->table))
        return false;
    bytes_clear(line);
    cli_time_format(row->time_ns, text);
    bytes_put(line, text, strlen(text));
    for (uint32_t i = 0; i < printer->tag_count; i++) {
        bytes_put_u8(line, ',');
        for (size_t tag = 0; tag < row->series->tag_count; tag++)
            if (compare(&printer->tags[i], row->series->tags[tag].name) == 0)
                put_csv(line, row->series->tags[tag].value.data, row->series->tags[tag].value.size);
    }
    for (uint32_t i = 0; i < row->table->field_count; i++) {
        const struct cli_segment_cell *cell = &row->cells[i];

        bytes_put_u8(line, ',');
        if (cell->present && row->table->fields[i].type == FIELD_STRING) {
            put_csv(line, cell->text.data, cell->text.size);
        } else if (cell->present) {
            number_text(row->table->fields[i].type, cell->bits, text);
            bytes_put(line, text, strlen(text));
        }
    }
    bytes_put_u8(line, '\n');
    (void)fwrite(line->data, 1, line->size, printer->out);
    return !line->failed;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void print_json_value(FILE *out, enum field_type type, const struct cli_segment_cell *cell)
{
    char text[CLI_PRINT_CELL_MAX];

    if (type == FIELD_STRING) {
        cli_print_json_string(out, cell->text.data, cell->text.size);
    } else if (!is_finite(type, cell->bits)) {
        fputs("null", out);
    } else {
        number_text(type, cell->bits, text);
        fputs(text, out);
    }
}

static void print_json_pair(FILE *out, bool *first, struct slice name)
{
    fputs(*first ? "" : ",", out);
    *first = false;
    cli_print_json_string(out, name.data, name.size);
    fputc(':', out);
}

static void print_json(struct cli_segment_printer *printer, const struct cli_segment_row *row)
{
    FILE *out = printer->out;
    char time[CLI_TIME_SIZE];
    bool first = true;

    cli_time_format(row->time_ns, time);
    fprintf(out, "{\"time\":\"%s\",\"database\":", time);
    cli_print_json_string(out, row->series->database.data, row->series->database.size);
    fputs(",\"table\":", out);
    cli_print_json_string(out, row->series->table.data, row->series->table.size);
    fputs(",\"tags\":{", out);
    for (size_t i = 0; i < row->series->tag_count; i++) {
        print_json_pair(out, &first, row->series->tags[i].name);
        cli_print_json_string(out, row->series->tags[i].value.data,
                              row->series->tags[i].value.size);
    }
    fputs("},\"fields\":{", out);
    first = true;
    for (uint32_t i = 0; i < row->table->field_count; i++) {
        if (!row->cells[i].present)
            continue;
        print_json_pair(out, &first, row->table->fields[i].name);
        print_json_value(out, row->table->fields[i].type, &row->cells[i]);
    }
    fputs("}}\n", out);
}

bool cli_segment_row_print(struct cli_segment_printer *printer, const struct cli_segment_row *row)
{
    if (printer->format == CLI_SEGMENT_LINE)
        return print_line(printer, row);
    if (printer->format == CLI_SEGMENT_CSV)
        return print_csv(printer, row);
    print_json(printer, row);
    return true;
}
