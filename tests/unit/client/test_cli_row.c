/*
 * A row in each format.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_row.h"
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

static const struct cli_row_field fields[] = {
    {{"f", 1}, FIELD_FLOAT}, {{"s", 1}, FIELD_STRING}, {{"u", 1}, FIELD_UINT}};

/* A row with all fields, one with a NaN only, one of another series with an integer only. */
static char *print(enum cli_row_format format, struct cli_row_printer *printer)
{
    const struct tag first = {text_of("host"), text_of("a b")};
    const struct tag second = {text_of("disk"), text_of("\"x\"")};
    const struct cli_row_cell all[] = {
        {true, bits_of(0.1), {0}}, {true, 0, text_of("say \"y\"")}, {true, UINT64_MAX, {0}}};
    const struct cli_row_cell nan[] = {{true, bits_of(NAN), {0}}, {0}, {0}};
    const struct cli_row_cell one[] = {{true, bits_of(1), {0}}, {true, 0, text_of("")}, {0}};
    struct cli_row row = {.database = text_of("d"),
                          .table = text_of("t,1"),
                          .tags = &first,
                          .tag_count = 1,
                          .cells = all,
                          .time_ns = 1};
    char *text;
    size_t size;

    *printer = (struct cli_row_printer){.out = open_memstream(&text, &size), .format = format};
    cr_assert(cli_row_expect_tag(printer, first.name));
    cr_assert(cli_row_expect_tag(printer, second.name));
    cr_assert(cli_row_fields(printer, fields, 3));
    cr_assert(cli_row_print(printer, &row));
    row.cells = nan;
    row.time_ns = 2;
    cr_assert(cli_row_print(printer, &row));
    row.tags = &second;
    row.cells = one;
    row.time_ns = -1000000000;
    cr_assert(cli_row_print(printer, &row));
    (void)fclose(printer->out);
    cr_assert_eq(printer->bytes, size);
    cli_row_fini(printer);
    return text;
}

Test(cli_row, line_protocol_leaves_out_what_it_cannot_say)
{
    struct cli_row_printer printer;
    char *text = print(CLI_ROW_LINE, &printer);

    cr_assert_str_eq(text, "t\\,1,host=a\\ b f=0.1,s=\"say \\\"y\\\"\",u=18446744073709551615u 1\n"
                           "t\\,1,disk=\"x\" f=1,s=\"\" -1000000000\n");
    cr_assert_eq(printer.unsaid_values, 1);
    free(text);
}

Test(cli_row, csv_has_the_tags_of_all_series)
{
    struct cli_row_printer printer;
    char *text = print(CLI_ROW_CSV, &printer);

    cr_assert_str_eq(
        text, "time,disk:tag,host:tag,f:float,s:string,u:unsigned\n"
              "1970-01-01T00:00:00.000000001Z,,a b,0.1,\"say \"\"y\"\"\",18446744073709551615\n"
              "1970-01-01T00:00:00.000000002Z,,a b,nan,,\n"
              "1969-12-31T23:59:59Z,\"\"\"x\"\"\",,1,\"\",\n");
    free(text);
}

Test(cli_row, json_has_a_row_a_line)
{
    struct cli_row_printer printer;
    char *text = print(CLI_ROW_JSONL, &printer);

    cr_assert_str_eq(text,
                     "{\"time\":\"1970-01-01T00:00:00.000000001Z\",\"database\":\"d\",\"table\":"
                     "\"t,1\",\"tags\":{\"host\":\"a b\"},\"fields\":{\"f\":0.1,\"s\":\"say "
                     "\\\"y\\\"\",\"u\":{\"unsigned\":18446744073709551615}}}\n"
                     "{\"time\":\"1970-01-01T00:00:00.000000002Z\",\"database\":\"d\",\"table\":"
                     "\"t,1\",\"tags\":{\"host\":\"a b\"},\"fields\":{\"f\":{\"float\":\"nan\"}}}\n"
                     "{\"time\":\"1969-12-31T23:59:59Z\",\"database\":\"d\",\"table\":\"t,1\","
                     "\"tags\":{\"disk\":\"\\\"x\\\"\"},\"fields\":{\"f\":1.0,\"s\":\"\"}}\n");
    free(text);
}

Test(cli_row, csv_has_a_new_header_when_a_row_has_what_it_lacks)
{
    const struct tag tag = {text_of("host"), text_of("a")};
    const struct cli_row_field more = {text_of("n"), FIELD_INT};
    const struct cli_row_cell cell = {true, 7, {0}};
    struct cli_row row = {.tags = &tag, .cells = &cell, .table = text_of("t")};
    struct cli_row_printer printer = {.format = CLI_ROW_CSV};
    char *text;
    size_t size;

    printer.out = open_memstream(&text, &size);
    cr_assert(cli_row_fields(&printer, &more, 1));
    cr_assert(cli_row_print(&printer, &row));
    row.tag_count = 1;
    cr_assert(cli_row_print(&printer, &row));
    cr_assert(cli_row_print(&printer, &row));
    (void)fclose(printer.out);
    cr_assert_str_eq(text, "time,n:integer\n1970-01-01T00:00:00Z,7\n"
                           "time,host:tag,n:integer\n1970-01-01T00:00:00Z,a,7\n"
                           "1970-01-01T00:00:00Z,a,7\n");
    cli_row_fini(&printer);
    free(text);
}

/* The parser takes so many fields in a line, and no more. */
Test(cli_row, a_wide_row_becomes_several_lines)
{
    enum { WIDE = 2 * LINE_FIELDS_MAX };
    static struct cli_row_field wide[WIDE];
    static struct cli_row_cell cells[WIDE];
    static char names[WIDE][8];
    static struct line line;
    struct cli_row_printer printer = {.format = CLI_ROW_LINE};
    struct line_parser parser;
    uint32_t seen = 0;
    char *text;
    size_t size;
    enum err err;

    for (uint32_t i = 0; i < WIDE; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%u", (unsigned)i);
        wide[i] = (struct cli_row_field){text_of(names[i]), FIELD_INT};
        cells[i] = (struct cli_row_cell){.present = true, .bits = i};
    }
    printer.out = open_memstream(&text, &size);
    cr_assert(cli_row_fields(&printer, wide, WIDE));
    cr_assert(cli_row_print(
        &printer, &(struct cli_row){.table = text_of("t"), .cells = cells, .time_ns = 1}));
    (void)fclose(printer.out);
    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, size, 0);
    while ((err = line_parser_next(&parser, &line)) == ERR_OK)
        for (uint32_t i = 0; i < line.field_count; i++)
            cr_assert_eq(line.fields[i].bits, seen++);
    cr_assert_eq(err, ERR_END);
    cr_assert_eq(seen, WIDE);
    line_parser_fini(&parser);
    cli_row_fini(&printer);
    free(text);
}
