/*
 * Faults as lines and as JSON.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "client/cli_damage.h"

static char *print(bool json)
{
    struct cli_damage printer;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    cli_damage_init(&printer, out, json);
    damage_report(&printer.sink, "a/b.mrs", 64, "bad %s", "frame");
    damage_report(&printer.sink, "a/\"c\"", DAMAGE_NOWHERE, "missing");
    damage_note(&printer.sink, "a/d.tmp", "left over");
    (void)fclose(out);
    cr_assert_eq(printer.sink.count, 2);
    cr_assert_eq(printer.sink.notes, 1);
    return text;
}

Test(cli_damage, says_a_line_a_fault)
{
    char *text = print(false);

    cr_assert_str_eq(text, "a/b.mrs: offset 64: bad frame\n"
                           "a/\"c\": missing\n"
                           "note: a/d.tmp: left over\n");
    free(text);
}

Test(cli_damage, says_objects_of_a_list)
{
    char *text = print(true);

    cr_assert_str_eq(
        text,
        "\n  {\"file\": \"a/b.mrs\", \"offset\": 64, \"what\": \"bad frame\", \"harmless\": false},"
        "\n  {\"file\": \"a/\\\"c\\\"\", \"what\": \"missing\", \"harmless\": false},"
        "\n  {\"file\": \"a/d.tmp\", \"what\": \"left over\", \"harmless\": true}");
    free(text);
}
