/*
 * Rows that are printed and read again, and texts that nobody printed.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_row_read.h"
#include "tests/support/seed.h"

enum { ROWS = 300, FIELDS = 8, TAGS = 4, TEXT_MAX = 24 };

static struct slice text_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

/* Bytes that formats treat in their own ways, and any others. */
static struct slice random_text(uint64_t *chance, size_t least, char room[TEXT_MAX])
{
    static const char hostile[] = "\",:\n\r\\{}[] \t=#'a\x7f\xc3\xa9";
    size_t size = least + seed_below(chance, TEXT_MAX - least);

    for (size_t i = 0; i < size; i++)
        room[i] = seed_below(chance, 4) > 0 ? hostile[seed_below(chance, sizeof hostile)]
                                            : (char)seed_below(chance, 256);
    return (struct slice){room, size};
}

static uint64_t random_bits(uint64_t *chance)
{
    static const uint64_t special[] = {
        0,           UINT64_C(1) << 63, 0x7ff0000000000000, 0xfff0000000000000,
        1,           UINT64_MAX,        0x7ff8000000000000, 0x7ff8000000000001,
        1 << 24 | 1, INT64_MAX,         0x4340000000000001, 0x3ff0000000000000};

    return seed_below(chance, 2) == 0 ? special[seed_below(chance, 12)] : seed_next(chance);
}

struct table {
    struct cli_row_field fields[FIELDS];
    struct slice tags[TAGS];
    char room[FIELDS + TAGS][TEXT_MAX];
};

/* Names are different: they begin with their numbers. */
static void make_table(struct table *table, uint64_t *chance)
{
    for (uint32_t i = 0; i < FIELDS + TAGS; i++) {
        struct slice name = random_text(chance, 1, table->room[i]);

        table->room[i][0] = (char)('0' + i);
        if (i < FIELDS)
            table->fields[i] = (struct cli_row_field){name, FIELD_FLOAT + i % 5};
        else
            table->tags[i - FIELDS] = name;
    }
}

struct written {
    struct tag tags[TAGS];
    struct cli_row_cell cells[FIELDS];
    char room[TAGS + FIELDS][TEXT_MAX];
    uint32_t tag_count, cell_count;
    int64_t time_ns;
};

static void make_row(struct written *row, const struct table *table, uint64_t *chance)
{
    row->tag_count = row->cell_count = 0;
    for (uint32_t i = 0; i < TAGS; i++)
        if (seed_below(chance, 2) == 0)
            row->tags[row->tag_count++] =
                (struct tag){table->tags[i], random_text(chance, 1, row->room[i])};
    for (uint32_t i = 0; i < FIELDS; i++) {
        struct cli_row_cell *cell = &row->cells[i];

        *cell = (struct cli_row_cell){.present = i == 0 || seed_below(chance, 2) == 0,
                                      .bits = random_bits(chance)};
        if (table->fields[i].type == FIELD_BOOL)
            cell->bits &= 1;
        if (table->fields[i].type == FIELD_STRING)
            cell->text = random_text(chance, 0, row->room[TAGS + i]);
        row->cell_count += cell->present;
    }
    row->time_ns = (int64_t)random_bits(chance);
}

static bool is_same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static void assert_row(const struct line *line, const struct table *table,
                       const struct written *row)
{
    uint32_t found = 0;

    cr_assert_eq(line->time_ns, row->time_ns);
    cr_assert_eq(line->tag_count, row->tag_count);
    for (uint32_t i = 0; i < row->tag_count; i++) {
        cr_assert(is_same(line->tags[i].name, row->tags[i].name));
        cr_assert(is_same(line->tags[i].value, row->tags[i].value));
    }
    cr_assert_eq(line->field_count, row->cell_count);
    for (uint32_t i = 0; i < line->field_count; i++) {
        const struct line_field *field = &line->fields[i];

        for (uint32_t own = 0; own < FIELDS; own++) {
            if (!is_same(field->name, table->fields[own].name))
                continue;
            found++;
            cr_assert_eq(field->type, table->fields[own].type);
            if (field->type == FIELD_STRING)
                cr_assert(is_same(field->text, row->cells[own].text));
            else
                cr_assert_eq(field->bits, row->cells[own].bits, "%d: %llx not %llx",
                             (int)field->type, (unsigned long long)field->bits,
                             (unsigned long long)row->cells[own].bits);
        }
    }
    cr_assert_eq(found, line->field_count);
}

static void print_and_read(enum cli_row_format format, uint64_t *chance)
{
    static struct table table;
    static struct written rows[ROWS];
    static struct cli_row_reader reader;
    static struct line line;
    struct cli_row_printer printer = {.format = format};
    uint32_t count = 0;
    char *text;
    size_t size;

    printer.out = open_memstream(&text, &size);
    make_table(&table, chance);
    cr_assert(cli_row_fields(&printer, table.fields, FIELDS));
    for (uint32_t i = 0; i < ROWS; i++) {
        make_row(&rows[i], &table, chance);
        cr_assert(cli_row_print(&printer, &(struct cli_row){.database = text_of("d"),
                                                            .table = text_of("t"),
                                                            .tags = rows[i].tags,
                                                            .tag_count = rows[i].tag_count,
                                                            .cells = rows[i].cells,
                                                            .time_ns = rows[i].time_ns}));
    }
    (void)fclose(printer.out);
    reader = (struct cli_row_reader){.format = format, .table = "t"};
    for (size_t at = 0; at < size;) {
        size_t record = cli_row_read_size(&reader, text + at, size - at, false);
        enum err err = cli_row_read(&reader, text + at, record, &line);

        cr_assert_gt(record, 0);
        at += record;
        if (err == ERR_END)
            continue; /* A header. */
        cr_assert_eq(err, ERR_OK, "row %u: %s", count, err_detail());
        cr_assert(is_same(line.table, text_of("t")));
        assert_row(&line, &table, &rows[count++]);
    }
    cr_assert_eq(count, ROWS);
    cli_row_read_fini(&reader);
    cli_row_fini(&printer);
    free(text);
}

Test(cli_row_read, brings_every_csv_back_to_the_bit)
{
    uint64_t chance = seed_of_run("cli_row_read csv");

    for (int i = 0; i < 20; i++)
        print_and_read(CLI_ROW_CSV, &chance);
}

Test(cli_row_read, brings_every_json_back_to_the_bit)
{
    uint64_t chance = seed_of_run("cli_row_read jsonl");

    for (int i = 0; i < 20; i++)
        print_and_read(CLI_ROW_JSONL, &chance);
}

/* ---- Others' texts ------------------------------------------------------------------------- */

static enum err read_one(struct cli_row_reader *reader, const char *text, struct line *line)
{
    return cli_row_read(reader, text, strlen(text), line);
}

Test(cli_row_read, takes_json_of_others)
{
    static struct cli_row_reader reader = {.format = CLI_ROW_JSONL};
    static struct line line;

    cr_assert_eq(read_one(&reader,
                          " { \"fields\" : {\"a\": 1e3, \"b\":-7 ,\"c\":\"\\ud83d\\ude00\\/\"} ,"
                          "\"more\":[1,{\"x\":null},\"]\"], \"n\":null,"
                          "\"time\":\"2026-01-31T12:00:00+01:00\",\"table\":\"t\" }\r\n",
                          &line),
                 ERR_OK, "%s", err_detail());
    cr_assert_eq(line.field_count, 3);
    cr_assert_eq(line.fields[0].type, FIELD_FLOAT);
    cr_assert_eq(line.fields[1].type, FIELD_INT);
    cr_assert_eq(line.fields[1].bits, (uint64_t)-7);
    cr_assert(is_same(line.fields[2].text, text_of("\xf0\x9f\x98\x80/")));
    cr_assert_eq(line.time_ns, INT64_C(1769857200000000000));
    cr_assert_eq(read_one(&reader, "\n", &line), ERR_END);
    cli_row_read_fini(&reader);
}

Test(cli_row_read, refuses_json_that_is_no_row)
{
    static const char *const bad[] = {
        "{",
        "[]",
        "{}",
        "{\"table\":\"t\",\"fields\":{\"a\":1}}",
        "{\"time\":\"2026-01-31\",\"fields\":{\"a\":1}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":null}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":1}} x",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":1},}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":{\"int\":1}}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":{\"unsigned\":-1}}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":9223372036854775808}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":\"\\ud800\"}}",
        "{\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":\"x}}",
        "{\"time\":\"now\",\"table\":\"t\",\"fields\":{\"a\":1}}",
        "{\"time\":1,\"table\":\"t\",\"fields\":{\"a\":1}}",
    };
    static struct cli_row_reader reader = {.format = CLI_ROW_JSONL};
    static struct line line;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(read_one(&reader, bad[i], &line), ERR_INVALID, "%s", bad[i]);
    cli_row_read_fini(&reader);
}

Test(cli_row_read, keeps_databases_apart)
{
    static struct cli_row_reader reader = {.format = CLI_ROW_JSONL};
    static struct line line;
    const char *rest = ",\"time\":\"2026-01-31\",\"table\":\"t\",\"fields\":{\"a\":1}}";
    char text[128];

    (void)snprintf(text, sizeof text, "{\"database\":\"a\"%s", rest);
    cr_assert_eq(read_one(&reader, text, &line), ERR_OK, "%s", err_detail());
    cr_assert_eq(read_one(&reader, text, &line), ERR_OK);
    text[13] = 'b';
    cr_assert_eq(read_one(&reader, text, &line), ERR_INVALID);
    cli_row_read_fini(&reader);
}

Test(cli_row_read, refuses_csv_that_does_not_fit_its_header)
{
    static struct cli_row_reader reader = {.format = CLI_ROW_CSV, .table = "t"};
    static struct line line;

    cr_assert_eq(read_one(&reader, "2026-01-31,1\n", &line), ERR_INVALID, "no header");
    cr_assert_eq(read_one(&reader, "time,host,a\n", &line), ERR_INVALID, "no types");
    cr_assert_eq(read_one(&reader, "time,a:double\n", &line), ERR_INVALID, "an unknown type");
    cr_assert_eq(read_one(&reader, "2026-01-31,1\n", &line), ERR_INVALID, "a bad header");
    cr_assert_eq(read_one(&reader, "time,host:tag,\"a:float\",b:boolean\n", &line), ERR_END);
    cr_assert_eq(read_one(&reader, "2026-01-31,x,1,\n", &line), ERR_OK, "%s", err_detail());
    cr_assert_eq(read_one(&reader, "2026-01-31,x,1\n", &line), ERR_INVALID, "too few");
    cr_assert_eq(read_one(&reader, "2026-01-31,x,1,true,\n", &line), ERR_INVALID, "too many");
    cr_assert_eq(read_one(&reader, "2026-01-31,x,one,\n", &line), ERR_INVALID, "no number");
    cr_assert_eq(read_one(&reader, "2026-01-31,x,,yes\n", &line), ERR_INVALID, "no boolean");
    cr_assert_eq(read_one(&reader, "2026-01-31,x,,\n", &line), ERR_INVALID, "no value");
    cr_assert_eq(read_one(&reader, "2026-01-31,\"x\"y,1,\n", &line), ERR_INVALID, "half quoted");
    cr_assert_eq(read_one(&reader, "2026-01-31,\"x,1,\n", &line), ERR_INVALID, "never closed");
    cr_assert_eq(read_one(&reader, "yesterday,x,1,\n", &line), ERR_INVALID, "no time");
    cr_assert_eq(read_one(&reader, "2026-01-31,x,1,\r\n", &line), ERR_OK);
    cli_row_read_fini(&reader);
}

Test(cli_row_read, finds_where_records_end)
{
    static struct cli_row_reader reader = {.format = CLI_ROW_CSV};
    const char *text = "a,\"x\ny\"\"\n\",b\nrest";

    cr_assert_eq(cli_row_read_size(&reader, text, strlen(text), true), 13);
    cr_assert_eq(cli_row_read_size(&reader, text, 12, true), 0);
    cr_assert_eq(cli_row_read_size(&reader, text, 12, false), 5, "a quote that is not closed");
    cr_assert_eq(cli_row_read_size(&reader, "rest", 4, true), 0);
    cr_assert_eq(cli_row_read_size(&reader, "rest", 4, false), 4);
    reader.format = CLI_ROW_JSONL;
    cr_assert_eq(cli_row_read_size(&reader, text, strlen(text), true), 5);
}
