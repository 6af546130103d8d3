/*
 * What is written is read back the same by the parser, or refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "client/wire/line_protocol.h"
#include "client/wire/line_write.h"
#include "tests/support/seed.h"

static struct slice text_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static bool same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Names of the bytes that mean something. */
static struct slice draw_name(uint64_t *chance, char *room)
{
    static const char bytes[] = "ab,= \\\"#/\xc3\xa4\x01";
    size_t size = 1 + seed_below(chance, 6);

    for (size_t i = 0; i < size; i++)
        room[i] = bytes[seed_below(chance, sizeof bytes - 1)];
    return (struct slice){room, size};
}

Test(line_write, reads_back_what_it_wrote)
{
    uint64_t chance = seed_of_run("line_write");
    static struct line line;
    struct line_parser parser;
    struct bytes out = {0};
    unsigned said = 0;

    line_parser_init(&parser, 1);
    for (unsigned round = 0; round < 20000; round++) {
        char rooms[4][8];
        struct slice table = draw_name(&chance, rooms[0]), name = draw_name(&chance, rooms[1]);
        struct tag tag = {draw_name(&chance, rooms[2]), draw_name(&chance, rooms[3])};
        enum field_type type = (enum field_type)(1 + seed_below(&chance, FIELD_TYPE_END - 1));
        uint64_t bits = seed_next(&chance) >> seed_below(&chance, 64);
        int64_t time_ns = (int64_t)(seed_next(&chance) >> seed_below(&chance, 64));

        bits = type == FIELD_BOOL ? bits & 1 : bits;
        bytes_clear(&out);
        if (!line_write_head(table, &tag, 1, &out) ||
            !line_write_field(true, name, type, bits, tag.value, &out))
            continue;
        line_write_time(time_ns, &out);
        line_parser_feed(&parser, (const char *)out.data, out.size, 0);
        cr_assert_eq(line_parser_next(&parser, &line), ERR_OK, "%s: %.*s", err_detail(),
                     (int)out.size, (const char *)out.data);
        cr_assert(same(line.table, table) && same(line.tags[0].name, tag.name) &&
                      same(line.tags[0].value, tag.value) && same(line.fields[0].name, name),
                  "%.*s", (int)out.size, (const char *)out.data);
        cr_assert_eq(line.fields[0].type, type);
        if (type == FIELD_STRING)
            cr_assert(same(line.fields[0].text, tag.value));
        else
            cr_assert_eq(line.fields[0].bits, bits, "%.*s", (int)out.size, (const char *)out.data);
        cr_assert_eq(line.time_ns, time_ns);
        cr_assert_eq(line_parser_next(&parser, &line), ERR_END);
        said++;
    }
    cr_assert_gt(said, 1000);
    bytes_fini(&out);
    line_parser_fini(&parser);
}

Test(line_write, says_a_whole_line)
{
    const struct tag tags[] = {{text_of("host"), text_of("a b")}, {text_of("k"), text_of("1=2")}};
    struct bytes out = {0};

    cr_assert(line_write_head(text_of("c,pu"), tags, 2, &out));
    cr_assert(line_write_field(true, text_of("x"), FIELD_INT, (uint64_t)-3, text_of(""), &out));
    cr_assert(line_write_field(false, text_of("s"), FIELD_STRING, 0, text_of("say \"\\\n"), &out));
    line_write_time(-1, &out);
    bytes_put_u8(&out, 0);
    cr_assert_str_eq((const char *)out.data,
                     "c\\,pu,host=a\\ b,k=1\\=2 x=-3i,s=\"say \\\"\\\\\n\" -1\n");
    bytes_fini(&out);
}

Test(line_write, refuses_what_the_text_has_no_words_for)
{
    const struct tag newline = {text_of("k"), text_of("a\nb")};
    const struct tag backslash = {text_of("k\\"), text_of("a")};
    const double values[] = {NAN, INFINITY, -INFINITY};
    struct bytes out = {0};

    cr_assert_not(line_write_head(text_of("#x"), NULL, 0, &out));
    cr_assert_not(line_write_head(text_of(""), NULL, 0, &out));
    cr_assert_not(line_write_head(text_of("t"), &newline, 1, &out));
    cr_assert_not(line_write_head(text_of("t"), &backslash, 1, &out));
    for (size_t i = 0; i < 3; i++) {
        uint64_t bits;

        memcpy(&bits, &values[i], sizeof bits);
        cr_assert_not(line_write_field(true, text_of("x"), FIELD_FLOAT, bits, text_of(""), &out));
    }
    cr_assert_eq(out.size, 0);
    bytes_fini(&out);
}
