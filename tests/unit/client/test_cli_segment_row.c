/*
 * A row of a segment in each format.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_segment_row.h"
#include "client/wire/line_protocol.h"

static struct slice text_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static const struct segment_field fields[] = {
    {{"f", 1}, FIELD_FLOAT}, {{"s", 1}, FIELD_STRING}, {{"u", 1}, FIELD_UINT}};
static const struct segment_table table = {.number = 0, .field_count = 3, .fields = fields};

/* A row with all fields, one with a NaN only, one of another series with an integer only. */
static char *print(enum cli_segment_format format, struct cli_segment_printer *printer)
{
    const struct key_parts first = {.database = text_of("d"),
                                    .table = text_of("t,1"),
                                    .tag_count = 1,
                                    .tags = {{text_of("host"), text_of("a b")}}};
    const struct key_parts second = {.database = text_of("d"),
                                     .table = text_of("t,1"),
                                     .tag_count = 1,
                                     .tags = {{text_of("disk"), text_of("\"x\"")}}};
    const struct cli_segment_cell all[] = {
        {true, bits_of(0.1), {0}}, {true, 0, text_of("say \"y\"")}, {true, UINT64_MAX, {0}}};
    const struct cli_segment_cell nan[] = {{true, bits_of(NAN), {0}}, {0}, {0}};
    const struct cli_segment_cell one[] = {{0}, {0}, {true, 7, {0}}};
    struct cli_segment_row row = {.series = &first, .table = &table, .cells = all, .time_ns = 1};
    char *text;
    size_t size;

    *printer = (struct cli_segment_printer){.out = open_memstream(&text, &size), .format = format};
    cr_assert(cli_segment_row_expect(printer, &first));
    cr_assert(cli_segment_row_expect(printer, &second));
    cr_assert(cli_segment_row_print(printer, &row));
    row.cells = nan;
    row.time_ns = 2;
    cr_assert(cli_segment_row_print(printer, &row));
    row.series = &second;
    row.cells = one;
    row.time_ns = -1000000000;
    cr_assert(cli_segment_row_print(printer, &row));
    (void)fclose(printer->out);
    cli_segment_row_fini(printer);
    return text;
}

Test(cli_segment_row, line_protocol_leaves_out_what_it_cannot_say)
{
    struct cli_segment_printer printer;
    char *text = print(CLI_SEGMENT_LINE, &printer);

    cr_assert_str_eq(text, "t\\,1,host=a\\ b f=0.1,s=\"say \\\"y\\\"\",u=18446744073709551615u 1\n"
                           "t\\,1,disk=\"x\" u=7u -1000000000\n");
    cr_assert_eq(printer.unsaid_values, 1);
    free(text);
}

Test(cli_segment_row, csv_has_the_tags_of_all_series)
{
    struct cli_segment_printer printer;
    char *text = print(CLI_SEGMENT_CSV, &printer);

    cr_assert_str_eq(
        text, "time,disk,host,f,s,u\n"
              "1970-01-01T00:00:00.000000001Z,,a b,0.1,\"say \"\"y\"\"\",18446744073709551615\n"
              "1970-01-01T00:00:00.000000002Z,,a b,nan,,\n"
              "1969-12-31T23:59:59Z,\"\"\"x\"\"\",,,,7\n");
    free(text);
}

Test(cli_segment_row, json_has_a_row_a_line)
{
    struct cli_segment_printer printer;
    char *text = print(CLI_SEGMENT_JSONL, &printer);

    cr_assert_str_eq(text,
                     "{\"time\":\"1970-01-01T00:00:00.000000001Z\",\"database\":\"d\",\"table\":"
                     "\"t,1\",\"tags\":{\"host\":\"a b\"},\"fields\":{\"f\":0.1,\"s\":\"say "
                     "\\\"y\\\"\",\"u\":18446744073709551615}}\n"
                     "{\"time\":\"1970-01-01T00:00:00.000000002Z\",\"database\":\"d\",\"table\":"
                     "\"t,1\",\"tags\":{\"host\":\"a b\"},\"fields\":{\"f\":null}}\n"
                     "{\"time\":\"1969-12-31T23:59:59Z\",\"database\":\"d\",\"table\":\"t,1\","
                     "\"tags\":{\"disk\":\"\\\"x\\\"\"},\"fields\":{\"u\":7}}\n");
    free(text);
}

/* The parser takes so many fields in a line, and no more. */
Test(cli_segment_row, a_wide_row_becomes_several_lines)
{
    enum { WIDE = 2 * LINE_FIELDS_MAX };
    static struct segment_field wide[WIDE];
    static struct cli_segment_cell cells[WIDE];
    static char names[WIDE][8];
    static struct line line;
    const struct segment_table own = {.field_count = WIDE, .fields = wide};
    const struct key_parts series = {.database = text_of("d"), .table = text_of("t")};
    struct cli_segment_printer printer = {.format = CLI_SEGMENT_LINE};
    struct line_parser parser;
    uint32_t seen = 0;
    char *text;
    size_t size;
    enum err err;

    for (uint32_t i = 0; i < WIDE; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%u", (unsigned)i);
        wide[i] = (struct segment_field){text_of(names[i]), FIELD_INT};
        cells[i] = (struct cli_segment_cell){.present = true, .bits = i};
    }
    printer.out = open_memstream(&text, &size);
    cr_assert(cli_segment_row_print(&printer, &(struct cli_segment_row){&series, &own, cells, 1}));
    (void)fclose(printer.out);
    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, size, 0);
    while ((err = line_parser_next(&parser, &line)) == ERR_OK)
        for (uint32_t i = 0; i < line.field_count; i++)
            cr_assert_eq(line.fields[i].bits, seen++);
    cr_assert_eq(err, ERR_END);
    cr_assert_eq(seen, WIDE);
    line_parser_fini(&parser);
    cli_segment_row_fini(&printer);
    free(text);
}
