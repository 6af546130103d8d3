/*
 * Any bytes as CSV and as JSON lines: what is read as a row reads the same when it is printed and
 * read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_row_read.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct line line, again;
static struct cli_row_reader reader, second;

static int compare_tags(const void *left, const void *right)
{
    const struct tag *a = left, *b = right;
    size_t size = a->name.size < b->name.size ? a->name.size : b->name.size;
    int order = memcmp(a->name.data, b->name.data, size);

    return order != 0 ? order : (a->name.size > b->name.size) - (a->name.size < b->name.size);
}

static bool is_same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static void print(struct cli_row_printer *printer)
{
    static struct cli_row_field fields[LINE_FIELDS_MAX];
    static struct cli_row_cell cells[LINE_FIELDS_MAX];

    for (uint32_t i = 0; i < line.field_count; i++) {
        fields[i] = (struct cli_row_field){line.fields[i].name, line.fields[i].type};
        cells[i] = (struct cli_row_cell){true, line.fields[i].bits, line.fields[i].text};
    }
    CHECK(cli_row_fields(printer, fields, line.field_count));
    CHECK(cli_row_print(printer, &(struct cli_row){.database = {"", 0},
                                                   .table = line.table,
                                                   .tags = line.tags,
                                                   .tag_count = line.tag_count,
                                                   .cells = cells,
                                                   .time_ns = line.time_ns}));
}

static void check_row(void)
{
    struct cli_row_printer printer = {.format = CLI_ROW_JSONL};
    char *text;
    size_t size;

    qsort(line.tags, line.tag_count, sizeof *line.tags, compare_tags);
    printer.out = open_memstream(&text, &size);
    CHECK(printer.out != NULL);
    print(&printer);
    CHECK(fclose(printer.out) == 0);
    second = (struct cli_row_reader){.format = CLI_ROW_JSONL};
    CHECK(cli_row_read(&second, text, size, &again) == ERR_OK);
    CHECK(is_same(again.table, line.table) && again.time_ns == line.time_ns);
    CHECK(again.tag_count == line.tag_count && again.field_count == line.field_count);
    for (uint32_t i = 0; i < line.field_count; i++) {
        CHECK(is_same(again.fields[i].name, line.fields[i].name));
        CHECK(again.fields[i].type == line.fields[i].type);
        if (line.fields[i].type == FIELD_STRING)
            CHECK(is_same(again.fields[i].text, line.fields[i].text));
        else
            CHECK(again.fields[i].bits == line.fields[i].bits);
    }
    cli_row_read_fini(&second);
    cli_row_fini(&printer);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    size_t left = size - 1;

    if (size < 1)
        return 0;
    text = malloc(left + 1);
    CHECK(text != NULL);
    reader =
        (struct cli_row_reader){.format = data[0] % 2 ? CLI_ROW_CSV : CLI_ROW_JSONL, .table = "t"};
    memcpy(text, data + 1, left);
    for (size_t at = 0; at < left;) {
        size_t record = cli_row_read_size(&reader, text + at, left - at, false);

        CHECK(record > 0 && record <= left - at);
        if (cli_row_read(&reader, text + at, record, &line) == ERR_OK)
            check_row();
        at += record;
    }
    cli_row_read_fini(&reader);
    free(text);
    return 0;
}
