#include "client/cli_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_time.h"

/* A column of long strings does not push all others off the screen. */
enum { WIDTH_MAX = 60 };

/* ---- Cells --------------------------------------------------------------------------------- */

static void print_float(double number, char out[CLI_PRINT_CELL_MAX])
{
    /* 17 digits are always enough, 15 nearly always; fewer never tell more. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, CLI_PRINT_CELL_MAX, "%.*g", digits, number);
        if (strtod(out, NULL) == number)
            return;
    }
}

void cli_print_number(const struct millrace_value *value, char out[CLI_PRINT_CELL_MAX])
{
    switch (value->type) {
    case MILLRACE_FLOAT_TYPE:
        print_float(value->as.f, out);
        break;
    case MILLRACE_INT_TYPE:
        snprintf(out, CLI_PRINT_CELL_MAX, "%" PRId64, value->as.i);
        break;
    case MILLRACE_UINT_TYPE:
        snprintf(out, CLI_PRINT_CELL_MAX, "%" PRIu64, value->as.u);
        break;
    default:
        snprintf(out, CLI_PRINT_CELL_MAX, "%s", value->as.b ? "true" : "false");
        break;
    }
}

/* A cell's text: `room` for what is not a string, borrowed from the result otherwise. Returns its
 * size; 0 where there is no value. */
static size_t cell(const struct millrace_result *result, size_t row, size_t column,
                   char room[CLI_PRINT_CELL_MAX], const char **ret_text)
{
    struct millrace_value value;

    *ret_text = room;
    *room = '\0';
    if (!millrace_result_get(result, row, column, &value))
        return 0;
    if (value.type == MILLRACE_STRING_TYPE) {
        *ret_text = value.as.s.data;
        return value.as.s.size;
    }
    if (millrace_result_kind(result, column) == MILLRACE_TIME)
        cli_time_format(value.as.i, room);
    else
        cli_print_number(&value, room);
    return strlen(room);
}

/* ---- Table --------------------------------------------------------------------------------- */

static bool is_number(const struct millrace_result *result, size_t column)
{
    enum millrace_type type = millrace_result_type(result, column);

    return millrace_result_kind(result, column) == MILLRACE_FIELD &&
           (type == MILLRACE_FLOAT_TYPE || type == MILLRACE_INT_TYPE || type == MILLRACE_UINT_TYPE);
}

/* Columns on the screen of UTF-8 text: bytes that begin a character. */
static size_t width_of(const char *text, size_t size)
{
    size_t width = 0;

    for (size_t i = 0; i < size; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

/* Control bytes would move the cursor, or worse. */
static void put_clean(FILE *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];

        fputc(byte < 0x20 || byte == 0x7f ? '?' : byte, out);
    }
}

static void put_padded(FILE *out, const char *text, size_t size, size_t width, bool right,
                       bool last)
{
    size_t used = width_of(text, size);
    size_t pad = used < width ? width - used : 0;

    if (right)
        fprintf(out, "%*s", (int)pad, "");
    put_clean(out, text, size);
    if (!right && !last)
        fprintf(out, "%*s", (int)pad, "");
    fputs(last ? "\n" : "  ", out);
}

static size_t column_width(const struct millrace_result *result, size_t column)
{
    size_t width = strlen(millrace_result_name(result, column));
    char room[CLI_PRINT_CELL_MAX];
    const char *text;

    for (size_t row = 0; row < millrace_result_rows(result); row++) {
        size_t size = cell(result, row, column, room, &text);
        size_t used = width_of(text, size);

        if (used > width)
            width = used;
    }
    return width < WIDTH_MAX ? width : WIDTH_MAX;
}

void cli_print_table(FILE *out, const struct millrace_result *result, bool colours)
{
    size_t rows = millrace_result_rows(result), columns = millrace_result_columns(result);
    size_t *widths = calloc(columns + 1, sizeof *widths);
    char room[CLI_PRINT_CELL_MAX];
    const char *text;

    for (size_t column = 0; widths && column < columns; column++) {
        const char *name = millrace_result_name(result, column);

        widths[column] = column_width(result, column);
        fputs(colours ? "\033[1m" : "", out);
        put_padded(out, name, strlen(name), widths[column], is_number(result, column),
                   column + 1 == columns);
        fputs(colours ? "\033[0m" : "", out);
    }
    for (size_t row = 0; widths && row < rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            size_t size = cell(result, row, column, room, &text);

            put_padded(out, text, size, widths[column], is_number(result, column),
                       column + 1 == columns);
        }
    }
    fprintf(out, "(%zu row%s)\n", rows, rows == 1 ? "" : "s");
    free(widths);
}

/* ---- CSV ----------------------------------------------------------------------------------- */

static void put_csv(FILE *out, const char *text, size_t size)
{
    bool quote = false;

    for (size_t i = 0; i < size && !quote; i++)
        quote = text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    if (!quote) {
        fwrite(text, 1, size, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            fputc('"', out);
        fputc(text[i], out);
    }
    fputc('"', out);
}

void cli_print_csv(FILE *out, const struct millrace_result *result)
{
    size_t columns = millrace_result_columns(result);
    char room[CLI_PRINT_CELL_MAX];
    const char *text;

    for (size_t column = 0; column < columns; column++) {
        const char *name = millrace_result_name(result, column);

        fputs(column ? "," : "", out);
        put_csv(out, name, strlen(name));
    }
    fputs(columns ? "\n" : "time\n", out);
    for (size_t row = 0; row < millrace_result_rows(result); row++) {
        for (size_t column = 0; column < columns; column++) {
            size_t size = cell(result, row, column, room, &text);

            fputs(column ? "," : "", out);
            put_csv(out, text, size);
        }
        fputc('\n', out);
    }
}

/* ---- JSON ---------------------------------------------------------------------------------- */

void cli_print_json_string(FILE *out, const char *text, size_t size)
{
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(out, "\\u%04x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

static void put_json_row(FILE *out, const struct millrace_result *result, size_t row)
{
    char room[CLI_PRINT_CELL_MAX];
    const char *text;
    bool first = true;

    for (size_t column = 0; column < millrace_result_columns(result); column++) {
        const char *name = millrace_result_name(result, column);
        struct millrace_value value;
        size_t size = cell(result, row, column, room, &text);

        if (!millrace_result_get(result, row, column, &value))
            continue;
        fputs(first ? "" : ",", out);
        first = false;
        cli_print_json_string(out, name, strlen(name));
        fputc(':', out);
        if (value.type == MILLRACE_STRING_TYPE ||
            millrace_result_kind(result, column) == MILLRACE_TIME)
            cli_print_json_string(out, text, size);
        else if (value.type == MILLRACE_FLOAT_TYPE && !isfinite(value.as.f))
            fputs("null", out);
        else
            fwrite(text, 1, size, out);
    }
}

void cli_print_json(FILE *out, const struct millrace_result *result)
{
    size_t rows = millrace_result_rows(result);

    fputs("[", out);
    for (size_t row = 0; row < rows; row++) {
        fputs(row ? ",\n{" : "\n{", out);
        put_json_row(out, result, row);
        fputc('}', out);
    }
    fputs(rows ? "\n]\n" : "]\n", out);
}
