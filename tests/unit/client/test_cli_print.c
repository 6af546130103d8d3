/*
 * Results as tables, CSV, JSON and charts.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_plot.h"
#include "client/cli_print.h"
#include "client/result.h"
#include "tests/support/seed.h"

static struct slice text_of(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static void set_float(struct columns *columns, uint32_t at, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    columns_set(columns, at, bits);
}

/* Two series of hosts, with awkward strings. */
static struct millrace_result *make_result(void)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    struct columns *columns = &result->columns;
    uint32_t time, host, load, note;

    cr_assert_eq(columns_column(columns, text_of("time"), COLUMN_TIME, FIELD_INT, &time), ERR_OK);
    cr_assert_eq(columns_column(columns, text_of("host"), COLUMN_TAG, FIELD_STRING, &host), ERR_OK);
    cr_assert_eq(columns_column(columns, text_of("load"), COLUMN_FIELD, FIELD_FLOAT, &load),
                 ERR_OK);
    cr_assert_eq(columns_column(columns, text_of("note"), COLUMN_FIELD, FIELD_STRING, &note),
                 ERR_OK);
    cr_assert_eq(columns_row(columns), ERR_OK);
    columns_set(columns, time, 0);
    cr_assert_eq(columns_set_string(columns, host, "a", 1), ERR_OK);
    set_float(columns, load, 0.1);
    cr_assert_eq(columns_row(columns), ERR_OK);
    columns_set(columns, time, 1500000000);
    cr_assert_eq(columns_set_string(columns, host, "a", 1), ERR_OK);
    set_float(columns, load, NAN);
    cr_assert_eq(columns_set_string(columns, note, "say \"x\",\n", 9), ERR_OK);
    cr_assert_eq(columns_row(columns), ERR_OK);
    columns_set(columns, time, 0);
    cr_assert_eq(columns_set_string(columns, host, "b", 1), ERR_OK);
    set_float(columns, load, 12345678);
    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    return result;
}

/* What was printed to `file`, and an end to both. */
static char *printed(FILE *file, char **text)
{
    fclose(file);
    return *text;
}

Test(cli_print, table_lines_up_and_shows_no_control_bytes)
{
    struct millrace_result *result = make_result();
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    cli_print_table(file, result, false);
    cr_assert_str_eq(printed(file, &text), "time                    host      load  note\n"
                                           "1970-01-01T00:00:00Z    a          0.1  \n"
                                           "1970-01-01T00:00:01.5Z  a          nan  say \"x\",?\n"
                                           "1970-01-01T00:00:00Z    b     12345678  \n"
                                           "(3 rows)\n");
    free(text);
    millrace_result_free(result);
}

Test(cli_print, csv_quotes_what_needs_it)
{
    struct millrace_result *result = make_result();
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    cli_print_csv(file, result);
    cr_assert_str_eq(printed(file, &text), "time,host,load,note\n"
                                           "1970-01-01T00:00:00Z,a,0.1,\n"
                                           "1970-01-01T00:00:01.5Z,a,nan,\"say \"\"x\"\",\n\"\n"
                                           "1970-01-01T00:00:00Z,b,12345678,\n");
    free(text);
    millrace_result_free(result);
}

Test(cli_print, json_is_an_array_of_objects_with_null_for_nan)
{
    struct millrace_result *result = make_result();
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    cli_print_json(file, result);
    cr_assert_str_eq(printed(file, &text),
                     "[\n"
                     "{\"time\":\"1970-01-01T00:00:00Z\",\"host\":\"a\",\"load\":0.1},\n"
                     "{\"time\":\"1970-01-01T00:00:01.5Z\",\"host\":\"a\",\"load\":null,"
                     "\"note\":\"say \\\"x\\\",\\u000a\"},\n"
                     "{\"time\":\"1970-01-01T00:00:00Z\",\"host\":\"b\",\"load\":12345678}\n"
                     "]\n");
    free(text);
    millrace_result_free(result);
}

Test(cli_print, floats_read_back_as_they_were)
{
    uint64_t state = seed_of_run("cli_print");

    for (int i = 0; i < 20000; i++) {
        struct millrace_value value = {.type = MILLRACE_FLOAT_TYPE};
        uint64_t bits = seed_next(&state);
        char text[CLI_PRINT_CELL_MAX];
        double back;

        memcpy(&value.as.f, &bits, sizeof bits);
        if (!isfinite(value.as.f))
            continue;
        cli_print_number(&value, text);
        back = strtod(text, NULL);
        cr_assert_eq(memcmp(&back, &value.as.f, sizeof back), 0, "%s", text);
    }
}

/* ---- Charts -------------------------------------------------------------------------------- */

static char *plot(const struct millrace_result *result, unsigned width, unsigned height)
{
    struct cli_plot_options options = {.width = width, .height = height, .table = "cpu"};
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    cli_plot(file, result, &options);
    return printed(file, &text);
}

Test(cli_print, plot_draws_a_panel_for_each_series_and_number)
{
    struct millrace_result *result = make_result();
    char *text = plot(result, 40, 2);

    cr_assert_not_null(strstr(text, "cpu{host=\"a\"} load   min 0.1  mean 0.1"), "%s", text);
    cr_assert_not_null(strstr(text, "cpu{host=\"b\"} load"));
    cr_assert_null(strstr(text, "note"), "strings are not drawn");
    free(text);
    millrace_result_free(result);
}

Test(cli_print, plot_loses_no_spike_of_a_single_sample)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    struct columns *columns = &result->columns;
    uint32_t time, load;
    size_t length;
    char *text, *line;

    cr_assert_eq(columns_column(columns, text_of("time"), COLUMN_TIME, FIELD_INT, &time), ERR_OK);
    cr_assert_eq(columns_column(columns, text_of("v"), COLUMN_FIELD, FIELD_FLOAT, &load), ERR_OK);
    for (uint64_t i = 0; i < 100000; i++) {
        cr_assert_eq(columns_row(columns), ERR_OK);
        columns_set(columns, time, i);
        set_float(columns, load, i == 77777 ? 1 : 0);
    }
    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    text = plot(result, 60, 4);
    cr_assert_not_null(strstr(text, "max 1"));
    /* From the top to the bottom of the panel: a line of dots in each of its four lines. */
    line = text;
    for (int i = 0; i < 4; i++) {
        line = strchr(line, '\n') + 1;
        length = strcspn(line, "\n");
        cr_assert(memmem(line, length, "⡇", 3) || memmem(line, length, "⢸", 3) ||
                      memmem(line, length, "⣿", 3) || memmem(line, length, "⣇", 3) ||
                      memmem(line, length, "⣸", 3),
                  "line %d of\n%s", i, text);
    }
    free(text);
    millrace_result_free(result);
}

/* A chart's labels, one a line of it: a value, or "-" where there is none. */
static void labels_of(double first, double second, unsigned height, char *out, size_t room)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    uint32_t time, value;
    size_t used = 0;
    char *text, *line;

    cr_assert_eq(columns_column(&result->columns, text_of("time"), COLUMN_TIME, FIELD_INT, &time),
                 ERR_OK);
    cr_assert_eq(columns_column(&result->columns, text_of("v"), COLUMN_FIELD, FIELD_FLOAT, &value),
                 ERR_OK);
    for (uint64_t i = 0; i < 2; i++) {
        cr_assert_eq(columns_row(&result->columns), ERR_OK);
        columns_set(&result->columns, time, i);
        set_float(&result->columns, value, i == 0 ? first : second);
    }
    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    text = plot(result, 60, height);
    line = text;
    for (unsigned i = 0; i < height; i++) {
        char label[16] = "-";

        line = strchr(line, '\n') + 1;
        cr_assert_leq(sscanf(line, " %15[0-9.]", label), 1);
        used += (size_t)snprintf(out + used, room - used, "%s%s", i > 0 ? " " : "", label);
    }
    free(text);
    millrace_result_free(result);
}

Test(cli_print, plot_labels_values_that_are_all_the_same_once_beside_their_line)
{
    char labels[80];

    labels_of(0, 0, 8, labels, sizeof labels);
    cr_assert_str_eq(labels, "- - - - 0 - - -");
    labels_of(7, 7, 2, labels, sizeof labels);
    cr_assert_str_eq(labels, "- 7");
    labels_of(0, 1, 8, labels, sizeof labels);
    cr_assert_str_eq(labels, "1 - - - 0.5 - - 0");
}

Test(cli_print, plot_says_when_there_is_nothing_to_draw)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    char *text;

    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    text = plot(result, 60, 4);
    cr_assert_str_eq(text, "(nothing to draw)\n");
    free(text);
    millrace_result_free(result);
}
