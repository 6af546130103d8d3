/*
 * Line protocol: each text against what it says, written out again in a plain form.
 *
 *     cpu,host=a v=1,n=2i 5    ->   cpu[host=a] v=f1 n=i2 @5
 *
 * A bad line is written as its error: !CODE. Lines are joined by " | ".
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/line_protocol.h"
#include "storage/base/bytes.h"
#include "tests/support/seed.h"

/* ---- The plain form ------------------------------------------------------------------------ */

static void put_text(struct bytes *out, const char *text)
{
    if (*text != '\0')
        bytes_put(out, text, strlen(text));
}

static void put_slice(struct bytes *out, struct slice slice)
{
    if (slice.size > 0)
        bytes_put(out, slice.data, slice.size);
}

static void put_value(struct bytes *out, const struct line_field *field)
{
    char text[64] = "";
    double number;

    memcpy(&number, &field->bits, sizeof number);
    if (field->type == FIELD_FLOAT)
        (void)snprintf(text, sizeof text, "f%.17g", number);
    else if (field->type == FIELD_INT)
        (void)snprintf(text, sizeof text, "i%" PRId64, (int64_t)field->bits);
    else if (field->type == FIELD_UINT)
        (void)snprintf(text, sizeof text, "u%" PRIu64, field->bits);
    else if (field->type == FIELD_BOOL)
        (void)snprintf(text, sizeof text, "b%" PRIu64, field->bits);
    else
        cr_assert_eq(field->type, FIELD_STRING);
    put_text(out, text);
    if (field->type == FIELD_STRING) {
        put_text(out, "\"");
        put_slice(out, field->text);
        put_text(out, "\"");
    }
}

static void put_line(struct bytes *out, const struct line *line)
{
    char text[32];

    put_slice(out, line->table);
    put_text(out, "[");
    for (uint32_t i = 0; i < line->tag_count; i++) {
        put_text(out, i > 0 ? "," : "");
        put_slice(out, line->tags[i].name);
        put_text(out, "=");
        put_slice(out, line->tags[i].value);
    }
    put_text(out, "]");
    for (uint32_t i = 0; i < line->field_count; i++) {
        put_text(out, " ");
        put_slice(out, line->fields[i].name);
        put_text(out, "=");
        put_value(out, &line->fields[i]);
    }
    (void)snprintf(text, sizeof text, " @%" PRId64, line->time_ns);
    put_text(out, line->has_time ? text : "");
}

/* All that the parser returns for the text fed, appended. */
static void drain(struct line_parser *parser, struct bytes *out, bool with_numbers)
{
    static struct line line;
    char number[16];
    enum err err;

    while ((err = line_parser_next(parser, &line)) != ERR_END) {
        put_text(out, out->size > 0 ? " | " : "");
        (void)snprintf(number, sizeof number, "%" PRIu32 ":", parser->number);
        put_text(out, with_numbers ? number : "");
        if (err == ERR_OK) {
            put_line(out, &line);
        } else {
            put_text(out, "!");
            put_text(out, err_name(err));
        }
    }
}

static char *finish(struct bytes *out)
{
    bytes_put_u8(out, 0);
    cr_assert_not(out->failed);
    return (char *)out->data;
}

static char *plain(const char *text, size_t size, int64_t unit, bool with_numbers)
{
    struct bytes out = {0};
    struct line_parser parser;

    line_parser_init(&parser, unit);
    line_parser_feed(&parser, text, size, 0);
    drain(&parser, &out, with_numbers);
    cr_assert_eq(parser.at, parser.end);
    line_parser_fini(&parser);
    return finish(&out);
}

static void assert_plain(const char *text, const char *expected)
{
    char *got = plain(text, strlen(text), 1, false);

    cr_assert_str_eq(got, expected, "%s\n  gave      %s\n  expected  %s", text, got, expected);
    free(got);
}

/* ---- Good lines ---------------------------------------------------------------------------- */

static const char *const good[][2] = {
    /* Shapes. */
    {"m v=1", "m[] v=f1"},
    {"m v=1 5", "m[] v=f1 @5"},
    {"m,a=b v=1 5\n", "m[a=b] v=f1 @5"},
    {"m,a=b v=1 5\r\n", "m[a=b] v=f1 @5"},
    {"m v=1\r\n", "m[] v=f1"},
    {"m v=1\r", "m[] v=f1"},
    {"m v=1 \r\n", "m[] v=f1"},
    {"m,b=2,a=1 v=1", "m[b=2,a=1] v=f1"},
    {"cpu,host=a,region=eu u=1,s=2,i=97 1700000000000000000",
     "cpu[host=a,region=eu] u=f1 s=f2 i=f97 @1700000000000000000"},
    {"m   v=1    5   ", "m[] v=f1 @5"},
    {"  \t m v=1", "m[] v=f1"},
    {"m \tv=1 \t5 \t", "m[] v=f1 @5"},
    {"", ""},
    {"\n\n \n\t\n\r\n", ""},
    {"# a comment", ""},
    {"   # a comment, v=\"1\nm v=1", "m[] v=f1"},
    {"m v=1\nn v=2", "m[] v=f1 | n[] v=f2"},
    {"m v=1\n\n# x\n  \nn v=2\n", "m[] v=f1 | n[] v=f2"},
    /* Names and their escapes. */
    {"m\\,n v=1", "m,n[] v=f1"},
    {"m\\ n v=1", "m n[] v=f1"},
    {"m=n v=1", "m=n[] v=f1"},
    {"m\\=n v=1", "m\\=n[] v=f1"},
    {"m\\n v=1", "m\\n[] v=f1"},
    {"m\\\\,n v=1", "m\\,n[] v=f1"},
    {"m,a\\,b\\ c\\=d=e\\,f\\ g\\=h v=1", "m[a,b c=d=e,f g=h] v=f1"},
    {"m,a=C:\\dir\\x v=1", "m[a=C:\\dir\\x] v=f1"},
    {"m,a=\\\\ v=1 5", "!invalid"},
    {"m,a=\"b\\ c\" v=1", "m[a=\"b c\"] v=f1"},
    {"m,a=\"b v=1\nn v=2", "m[a=\"b] v=f1 | n[] v=f2"},
    {"m v\\ 1\\,2\\=3=1", "m[] v 1,2=3=f1"},
    {"m \"v\"=1", "m[] \"v\"=f1"},
    {"m v\"=1,w=2", "m[] v\"=f1 w=f2"},
    {"\xe6\xb8\xa9\xe5\xba\xa6,\xc3\xa4=\xc3\xb6 \xc3\xbc=1",
     "\xe6\xb8\xa9\xe5\xba\xa6[\xc3\xa4=\xc3\xb6] \xc3\xbc=f1"},
    {"m\tx,a\tb=c\td v\tw=1", "m\tx[a\tb=c\td] v\tw=f1"},
    {"\"m\" v=1", "\"m\"[] v=f1"},
    {"m# v=1", "m#[] v=f1"},
    {"m,#=# #=1", "m[#=#] #=f1"},
    {"m,v=1 v=1", "m[v=1] v=f1"},
    {"m,aa=1,ab=2,ba=3,a=4 v=1", "m[aa=1,ab=2,ba=3,a=4] v=f1"},
    /* Floats. */
    {"m v=1.5", "m[] v=f1.5"},
    {"m v=-1.5", "m[] v=f-1.5"},
    {"m v=1.", "m[] v=f1"},
    {"m v=.5", "m[] v=f0.5"},
    {"m v=-.5", "m[] v=f-0.5"},
    {"m v=007.50", "m[] v=f7.5"},
    {"m v=-0", "m[] v=f-0"},
    {"m v=0.1", "m[] v=f0.10000000000000001"},
    {"m v=1e3", "m[] v=f1000"},
    {"m v=1E3", "m[] v=f1000"},
    {"m v=1e+3", "m[] v=f1000"},
    {"m v=-1.25e-2", "m[] v=f-0.012500000000000001"},
    {"m v=1e-400", "m[] v=f0"},
    {"m v=1.7976931348623157e308", "m[] v=f1.7976931348623157e+308"},
    {"m v=99.12345678901234", "m[] v=f99.123456789012337"},
    {"m v=123456789012345678901234567890", "m[] v=f1.2345678901234568e+29"},
    /* Integers. */
    {"m v=1i", "m[] v=i1"},
    {"m v=-1i", "m[] v=i-1"},
    {"m v=-0i", "m[] v=i0"},
    {"m v=0012i", "m[] v=i12"},
    {"m v=12345678i", "m[] v=i12345678"},
    {"m v=123456789i 5", "m[] v=i123456789 @5"},
    {"m v=9223372036854775807i", "m[] v=i9223372036854775807"},
    {"m v=-9223372036854775808i", "m[] v=i-9223372036854775808"},
    {"m v=0u", "m[] v=u0"},
    {"m v=18446744073709551615u", "m[] v=u18446744073709551615"},
    {"m a=1i,b=2u,c=3", "m[] a=i1 b=u2 c=f3"},
    /* Booleans. */
    {"m a=t,b=T,c=true,d=True,e=TRUE", "m[] a=b1 b=b1 c=b1 d=b1 e=b1"},
    {"m a=f,b=F,c=false,d=False,e=FALSE", "m[] a=b0 b=b0 c=b0 d=b0 e=b0"},
    {"m a=t 5\r\n", "m[] a=b1 @5"},
    /* Strings. */
    {"m s=\"\"", "m[] s=\"\""},
    {"m s=\"a\",v=1", "m[] s=\"a\" v=f1"},
    {"m s=\"a b, c=d\" 5", "m[] s=\"a b, c=d\" @5"},
    {"m s=\"a\\\"b\"", "m[] s=\"a\"b\""},
    {"m s=\"a\\\\b\"", "m[] s=\"a\\b\""},
    {"m s=\"\\\\\"", "m[] s=\"\\\""},
    {"m s=\"a\\nb\\,\\ \\=\"", "m[] s=\"a\\nb\\,\\ \\=\""},
    {"m s=\"\\\"\",t=\"\\\\\\\"\"", "m[] s=\"\"\" t=\"\\\"\""},
    {"m s=\"a\nb\",v=1\nn v=2", "m[] s=\"a\nb\" v=f1 | n[] v=f2"},
    {"m s=\"a\r\nb\"\r\nn v=2", "m[] s=\"a\r\nb\" | n[] v=f2"},
    {"m s=\"# no comment\n# none\"", "m[] s=\"# no comment\n# none\""},
    {"m,a\\ b=c s=\"\\\"\",x\\ y=\"z\\\"\"", "m[a b=c] s=\"\"\" x y=\"z\"\""},
    {"m s=\"i\",t=\"true\"", "m[] s=\"i\" t=\"true\""},
    /* Times. */
    {"m v=1 0", "m[] v=f1 @0"},
    {"m v=1 -1", "m[] v=f1 @-1"},
    {"m v=1 9223372036854775806", "m[] v=f1 @9223372036854775806"},
    {"m v=1 -9223372036854775806", "m[] v=f1 @-9223372036854775806"},
    {"m v=1 0005", "m[] v=f1 @5"},
    /* Twice. */
    {"m v=1,v=2", "m[] v=f1 v=f2"},
    {"m,a=1 v=1\nm,a=1 v=1", "m[a=1] v=f1 | m[a=1] v=f1"},
};

Test(line_protocol, reads_every_good_line_as_it_is_meant)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_plain(good[i][0], good[i][1]);
}

/* ---- Bad lines ----------------------------------------------------------------------------- */

static const struct {
    const char *text;
    enum err code;
    const char *says; /* Part of the message. */
} bad[] = {
    /* Shapes. */
    {"m", ERR_INVALID, "no fields after \"m\""},
    {"m ", ERR_INVALID, "no fields after \"m\""},
    {"m\r\n", ERR_INVALID, "no fields after"},
    {"m,a=b", ERR_INVALID, "no fields after \"m,a=b\""},
    {"m,a=b \n", ERR_INVALID, "no fields after \"m,a=b\""},
    {",a=b v=1", ERR_INVALID, "its table has no name"},
    {", v=1", ERR_INVALID, "its table has no name"},
    {"m 5", ERR_INVALID, "field \"5\" has no value"},
    {"m v", ERR_INVALID, "field \"v\" has no value"},
    {"m v 5", ERR_INVALID, "field \"v\" has no value"},
    {"m =1", ERR_INVALID, "a field has no name"},
    {"m v=1,", ERR_INVALID, "a field has no name"},
    {"m v=1, w=2", ERR_INVALID, "space after a comma"},
    {"m v=1,,w=2", ERR_INVALID, "a field has no name"},
    {"m ,v=1", ERR_INVALID, "a field has no name"},
    {"m v=", ERR_INVALID, "field \"v\" has no value"},
    {"m v= 5", ERR_INVALID, "field \"v\" has no value"},
    {"m v=,w=1", ERR_INVALID, "field \"v\" has no value"},
    {"m v=1 5 6", ERR_INVALID, "\"6\" follows the time"},
    {"m v=1 5 w=2", ERR_INVALID, "\"w=2\" follows the time"},
    {"m v=1 w=2", ERR_INVALID, "time \"w=2\" is not a whole number"},
    {"m\\", ERR_INVALID, "no fields after \"m\\\""},
    {"m\\\nn=1", ERR_INVALID, "no fields after"},
    {"m\\ v=1", ERR_INVALID, "no fields after"},
    /* Tags. */
    {"m, v=1", ERR_INVALID, "a tag has no name"},
    {"m,=b v=1", ERR_INVALID, "a tag has no name"},
    {"m,a v=1", ERR_INVALID, "tag \"a\" has no value"},
    {"m,a= v=1", ERR_INVALID, "tag \"a\" has no value"},
    {"m,a=,b=c v=1", ERR_INVALID, "tag \"a\" has no value"},
    {"m,a,b=c v=1", ERR_INVALID, "tag \"a\" has no value"},
    {"m,a=b, v=1", ERR_INVALID, "a tag has no name"},
    {"m,a=b=c v=1", ERR_INVALID, "tag \"a\": its value has a bare '='"},
    {"m,a=1,a=2 v=1", ERR_INVALID, "tag \"a\" is there twice"},
    {"m,a=1,b=2,a=1 v=1", ERR_INVALID, "tag \"a\" is there twice"},
    {"m,a\\ b=1,a\\ b=2 v=1", ERR_INVALID, "tag \"a b\" is there twice"},
    {"m,a", ERR_INVALID, "tag \"a\" has no value"},
    {"m,a=", ERR_INVALID, "tag \"a\" has no value"},
    {"m,", ERR_INVALID, "a tag has no name"},
    /* Numbers. */
    {"m v=12x", ERR_INVALID, "field \"v\": \"12x\" is not a number"},
    {"m usage=12x,b=1 5", ERR_INVALID, "field \"usage\": \"12x\" is not a number"},
    {"m v=+1", ERR_INVALID, "\"+1\" is not a number"},
    {"m v=--1", ERR_INVALID, "\"--1\" is not a number"},
    {"m v=-", ERR_INVALID, "\"-\" is not a number"},
    {"m v=.", ERR_INVALID, "\".\" is not a number"},
    {"m v=1.2.3", ERR_INVALID, "\"1.2.3\" is not a number"},
    {"m v=1e", ERR_INVALID, "\"1e\" is not a number"},
    {"m v=1e+", ERR_INVALID, "\"1e+\" is not a number"},
    {"m v=e5", ERR_INVALID, "\"e5\" is not a number"},
    {"m v=1e5.5", ERR_INVALID, "\"1e5.5\" is not a number"},
    {"m v=NaN", ERR_INVALID, "\"NaN\" is not a number"},
    {"m v=nan", ERR_INVALID, "\"nan\" is not a number"},
    {"m v=-nan", ERR_INVALID, "\"-nan\" is not a number"},
    {"m v=Inf", ERR_INVALID, "\"Inf\" is not a number"},
    {"m v=+Inf", ERR_INVALID, "\"+Inf\" is not a number"},
    {"m v=-inf", ERR_INVALID, "\"-inf\" is not a number"},
    {"m v=infinity", ERR_INVALID, "\"infinity\" is not a number"},
    {"m v=0x10", ERR_INVALID, "\"0x10\" is not a number"},
    {"m v=1_000", ERR_INVALID, "\"1_000\" is not a number"},
    {"m v=1e309", ERR_INVALID, "1e309 is out of range of type float"},
    {"m v=-1e309", ERR_INVALID, "-1e309 is out of range of type float"},
    {"m v=1f", ERR_INVALID, "\"1f\" is not a number"},
    {"m v=1\t5", ERR_INVALID, "\"1?5\" is not a number"},
    {"m v=\x01", ERR_INVALID, "\"?\" is not a number"},
    {"m v=i", ERR_INVALID, "\"i\" is not a number"},
    {"m v=-i", ERR_INVALID, "\"-i\" is not a number"},
    {"m v=1.0i", ERR_INVALID, "\"1.0i\" is not a number"},
    {"m v=1e3i", ERR_INVALID, "\"1e3i\" is not a number"},
    {"m v=9i10", ERR_INVALID, "\"9i10\" is not a number"},
    {"m v=1ii", ERR_INVALID, "\"1ii\" is not a number"},
    {"m v=1iu", ERR_INVALID, "\"1iu\" is not a number"},
    {"m v=9223372036854775808i", ERR_INVALID,
     "9223372036854775808i is out of range of type integer"},
    {"m v=-9223372036854775809i", ERR_INVALID, "out of range of type integer"},
    {"m v=18446744073709551616u", ERR_INVALID, "out of range of type unsigned"},
    {"m v=-1u", ERR_INVALID, "-1u is out of range of type unsigned"},
    {"m v=99999999999999999999999i", ERR_INVALID, "out of range of type integer"},
    /* Booleans and strings. */
    {"m v=tru", ERR_INVALID, "\"tru\" is not a number"},
    {"m v=tRUE", ERR_INVALID, "\"tRUE\" is not a number"},
    {"m v=truee", ERR_INVALID, "\"truee\" is not a number"},
    {"m v=yes", ERR_INVALID, "\"yes\" is not a number"},
    {"m v=hello", ERR_INVALID, "\"hello\" is not a number, a boolean or a \"string\""},
    {"m v='a'", ERR_INVALID, "\"'a'\" is not a number"},
    {"m s=\"a", ERR_INVALID, "field \"s\": its string has no closing quote"},
    {"m s=\"a\\\"", ERR_INVALID, "no closing quote"},
    {"m s=\"", ERR_INVALID, "no closing quote"},
    {"m s=\"a\\", ERR_INVALID, "no closing quote"},
    {"m s=\"a\"b", ERR_INVALID, "field \"s\": \"b\" follows its string"},
    {"m s=\"a\"\"b\"", ERR_INVALID, "follows its string"},
    {"m s=a\"b\"", ERR_INVALID, "is not a number"},
    {"m s=\"a\"i", ERR_INVALID, "\"i\" follows its string"},
    /* Times. */
    {"m v=1 x", ERR_INVALID, "time \"x\" is not a whole number"},
    {"m v=1 1.5", ERR_INVALID, "time \"1.5\" is not a whole number"},
    {"m v=1 1e9", ERR_INVALID, "time \"1e9\" is not a whole number"},
    {"m v=1 5i", ERR_INVALID, "time \"5i\" is not a whole number"},
    {"m v=1 -", ERR_INVALID, "time \"-\" is not a whole number"},
    {"m v=1 +5", ERR_INVALID, "time \"+5\" is not a whole number"},
    {"m v=1 5,6", ERR_INVALID, "\",6\" follows the time"},
    {"m v=1 2026-01-01T00:00:00Z", ERR_INVALID, "is not a whole number"},
    {"m v=1 9223372036854775807", ERR_INVALID, "is the precision right?"},
    {"m v=1 -9223372036854775807", ERR_INVALID, "is not between 1677-09-21 and 2262-04-11"},
    {"m v=1 99999999999999999999", ERR_INVALID, "time 99999999999999999999 (in units of 1 ns)"},
    {"m v=1 -99999999999999999999", ERR_INVALID, "is the precision right?"},
};

Test(line_protocol, says_what_is_wrong_with_every_bad_line)
{
    static struct line line;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct line_parser parser;
        enum err err;

        line_parser_init(&parser, 1);
        line_parser_feed(&parser, bad[i].text, strlen(bad[i].text), 0);
        err = line_parser_next(&parser, &line);
        cr_assert_eq(err, bad[i].code, "%s: %s", bad[i].text, err_name(err));
        cr_assert_not_null(strstr(err_detail(), bad[i].says), "%s\n  says      %s\n  expected  %s",
                           bad[i].text, err_detail(), bad[i].says);
        cr_assert_eq(parser.number, 1);
        cr_assert_eq(parser.raw.data, bad[i].text);
        line_parser_fini(&parser);
    }
}

Test(line_protocol, goes_on_after_every_bad_line)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        char *got;
        size_t tail = strlen("next[] v=f1 @7");

        (void)snprintf(text, sizeof text, "%s\nnext v=1 7", bad[i].text);
        got = plain(text, strlen(text), 1, false);
        cr_assert(strlen(got) > tail);
        cr_assert_str_eq(got + strlen(got) - tail, "next[] v=f1 @7", "%s", text);
        free(got);
    }
}

Test(line_protocol, quotes_long_text_cut_at_a_character)
{
    static struct line line;
    const char *text =
        "m v=\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
        "\xc3\xa4x\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3"
        "\xa4\xc3\xa4\xc3\xa4";
    struct line_parser parser;

    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, strlen(text), 0);
    cr_assert_eq(line_parser_next(&parser, &line), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "\xc3\xa4...\" is not a number"), "%s", err_detail());
    line_parser_fini(&parser);
}

/* ---- Lines and their numbers --------------------------------------------------------------- */

static void assert_numbered(const char *text, const char *expected)
{
    char *got = plain(text, strlen(text), 1, true);

    cr_assert_str_eq(got, expected, "%s\n  gave      %s\n  expected  %s", text, got, expected);
    free(got);
}

Test(line_protocol, counts_every_line_and_names_a_line_by_its_first)
{
    assert_numbered("\n# c\nm v=1\n\nbad\nm v=2", "3:m[] v=f1 | 5:!invalid | 6:m[] v=f2");
    assert_numbered("m s=\"a\nb\nc\"\nm v=2", "1:m[] s=\"a\nb\nc\" | 4:m[] v=f2");
    assert_numbered("m v=x,s=\"a\nb\"\nm v=2", "1:!invalid | 3:m[] v=f2");
    assert_numbered("m v=1\r\n\r\nm v=2\r\n", "1:m[] v=f1 | 3:m[] v=f2");
}

Test(line_protocol, loses_no_good_line_to_a_quote_left_open)
{
    assert_numbered("m s=\"abc 5\nm v=1\nm v=2", "1:!invalid | 2:m[] v=f1 | 3:m[] v=f2");
    assert_numbered("m v=ab\"c\nm v=1\nm s=\"x\"", "1:!invalid | 2:m[] v=f1 | 3:m[] s=\"x\"");
}

Test(line_protocol, never_takes_the_inside_of_a_string_for_a_line)
{
    assert_numbered("m v=x,s=\"\nm v=666\n\",t=1\nm v=2", "1:!invalid | 4:m[] v=f2");
    assert_numbered("m v=1 x,s=\"\nm v=666\n\"\nm v=2", "1:!invalid | 4:m[] v=f2");
}

Test(line_protocol, goes_on_with_the_number_it_is_given)
{
    static struct line line;
    struct line_parser parser;

    line_parser_init(&parser, 1);
    line_parser_feed(&parser, "\nm v=1\n\n", 8, 41);
    cr_assert_eq(line_parser_next(&parser, &line), ERR_OK);
    cr_assert_eq(parser.number, 43);
    cr_assert_eq(line_parser_next(&parser, &line), ERR_END);
    cr_assert_eq(parser.lines, 44);
    line_parser_fini(&parser);
}

Test(line_protocol, returns_the_head_and_the_raw_line)
{
    static struct line line;
    const char *text = "  m,b=\\ 2,a=1  v=1 5\r\nx v=1";
    struct line_parser parser;

    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, strlen(text), 0);
    cr_assert_eq(line_parser_next(&parser, &line), ERR_OK);
    cr_assert_eq(line.head.size, strlen("m,b=\\ 2,a=1"));
    cr_assert_eq(line.head.data, text + 2);
    cr_assert_eq(parser.raw.data, text + 2);
    cr_assert_eq(parser.raw.size, strlen("m,b=\\ 2,a=1  v=1 5"));
    line_parser_fini(&parser);
}

/* ---- Units --------------------------------------------------------------------------------- */

Test(line_protocol, multiplies_times_by_their_unit)
{
    static const struct {
        const char *unit, *text, *expected;
    } cases[] = {
        {"ns", "m v=1 5", "m[] v=f1 @5"},
        {"n", "m v=1 5", "m[] v=f1 @5"},
        {"us", "m v=1 5", "m[] v=f1 @5000"},
        {"u", "m v=1 -5", "m[] v=f1 @-5000"},
        {"ms", "m v=1 5", "m[] v=f1 @5000000"},
        {"s", "m v=1 1700000000", "m[] v=f1 @1700000000000000000"},
        {"m", "m v=1 1", "m[] v=f1 @60000000000"},
        {"h", "m v=1 1", "m[] v=f1 @3600000000000"},
        {"s", "m v=1 9223372036", "m[] v=f1 @9223372036000000000"},
        {"s", "m v=1 9223372037", "!invalid"},
        {"s", "m v=1 1700000000000", "!invalid"},
        {"h", "m v=1 -9223372036854775806", "!invalid"},
        {"ms", "m v=1", "m[] v=f1"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t unit = line_time_unit(cases[i].unit, strlen(cases[i].unit));
        char *got = plain(cases[i].text, strlen(cases[i].text), unit, false);

        cr_assert_str_eq(got, cases[i].expected, "%s in %s: %s", cases[i].text, cases[i].unit, got);
        free(got);
    }
    cr_assert_eq(line_time_unit("", 0), 0);
    cr_assert_eq(line_time_unit("S", 1), 0);
    cr_assert_eq(line_time_unit("sec", 3), 0);
    cr_assert_eq(line_time_unit("nss", 3), 0);
}

/* ---- Limits -------------------------------------------------------------------------------- */

/* "m" + count times ",tN=1" + " v=1", or "m " + count fields. */
static char *wide_line(uint32_t tags, uint32_t fields)
{
    struct bytes out = {0};
    char text[32];

    put_text(&out, "m");
    for (uint32_t i = 0; i < tags; i++) {
        (void)snprintf(text, sizeof text, ",t%" PRIu32 "=1", i);
        put_text(&out, text);
    }
    for (uint32_t i = 0; i < fields; i++) {
        (void)snprintf(text, sizeof text, "%cf%" PRIu32 "=1", i == 0 ? ' ' : ',', i);
        put_text(&out, text);
    }
    return finish(&out);
}

static enum err parse_one(const char *text, size_t size)
{
    static struct line line;
    struct line_parser parser;
    enum err err;

    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, size, 0);
    err = line_parser_next(&parser, &line);
    line_parser_fini(&parser);
    return err;
}

Test(line_protocol, takes_as_many_tags_and_fields_as_allowed_and_no_more)
{
    static const struct {
        uint32_t tags, fields;
        enum err expected;
    } cases[] = {{TAG_COUNT_MAX, 1, ERR_OK},
                 {TAG_COUNT_MAX + 1, 1, ERR_LIMIT},
                 {0, LINE_FIELDS_MAX, ERR_OK},
                 {0, LINE_FIELDS_MAX + 1, ERR_LIMIT}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = wide_line(cases[i].tags, cases[i].fields);

        cr_assert_eq(parse_one(text, strlen(text)), cases[i].expected, "%zu", i);
        free(text);
    }
}

Test(line_protocol, takes_names_as_long_as_allowed_and_no_longer)
{
    static const char *const shapes[] = {"%s v=1", "m,%s=1 v=1", "m,a=%s v=1", "m %s=1"};

    for (size_t i = 0; i < 4; i++) {
        for (size_t size = NAME_SIZE_MAX; size <= NAME_SIZE_MAX + 1; size++) {
            char name[NAME_SIZE_MAX + 2];
            struct bytes out = {0};
            const char *at = strchr(shapes[i], '%');
            char *text;

            memset(name, 'x', size);
            name[size] = '\0';
            bytes_put(&out, shapes[i], (size_t)(at - shapes[i]));
            put_text(&out, name);
            put_text(&out, at + 2);
            text = finish(&out);
            cr_assert_eq(parse_one(text, strlen(text)), size <= NAME_SIZE_MAX ? ERR_OK : ERR_LIMIT,
                         "shape %zu, %zu bytes", i, size);
            free(text);
        }
    }
}

Test(line_protocol, refuses_a_line_over_its_size_and_goes_on_behind_it)
{
    const char *text =
        "m v=1 1000000000\nm s=\"aaaaaaaaaaaaaaaaaaaa\nn v=3\nm v=123 12345678\nm v=4";
    struct line_parser parser;
    struct bytes out = {0};
    char *got;

    line_parser_init(&parser, 1);
    parser.size_max = 16;
    line_parser_feed(&parser, text, strlen(text), 0);
    drain(&parser, &out, true);
    got = finish(&out);
    cr_assert_str_eq(got,
                     "1:m[] v=f1 @1000000000 | 2:!limit | 3:n[] v=f3 | 4:m[] v=f123 @12345678 | "
                     "5:m[] v=f4");
    free(got);
    line_parser_fini(&parser);
}

/* ---- Pieces -------------------------------------------------------------------------------- */

/* As plain(), the text given in pieces that end at `cuts` (ascending). */
static char *plain_in_pieces(const char *text, size_t size, const size_t *cuts, size_t cut_count,
                             uint32_t size_max)
{
    struct bytes out = {0}, carry = {0};
    struct line_parser parser;
    size_t from = 0;
    uint32_t lines = 0;

    line_parser_init(&parser, 1);
    parser.size_max = size_max;
    for (size_t i = 0; i <= cut_count; i++) {
        size_t to = i < cut_count ? cuts[i] : size;
        size_t left;

        if (to > from)
            bytes_put(&carry, text + from, to - from);
        line_parser_feed(&parser, (const char *)carry.data, carry.size, lines);
        parser.more = i < cut_count;
        drain(&parser, &out, true);
        lines = parser.lines;
        left = (size_t)(parser.end - parser.at);
        cr_assert_leq(left, size_max);
        if (left > 0)
            memmove(carry.data, parser.at, left);
        carry.size = left;
        from = to;
    }
    cr_assert_eq(parser.at, parser.end);
    bytes_fini(&carry);
    line_parser_fini(&parser);
    return finish(&out);
}

static char *all_cases(void)
{
    struct bytes out = {0};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        put_text(&out, good[i][0]);
        put_text(&out, "\n");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        /* Strings left open would meet the quotes of their neighbours: elsewhere. */
        if (strstr(bad[i].says, "no closing quote") == NULL) {
            put_text(&out, bad[i].text);
            put_text(&out, "\n");
        }
    }
    return finish(&out);
}

Test(line_protocol, reads_the_same_from_a_text_cut_at_any_byte)
{
    char *text = all_cases();
    size_t size = strlen(text);
    char *whole = plain(text, size, 1, true);

    for (size_t cut = 0; cut <= size; cut++) {
        char *cut_in_two = plain_in_pieces(text, size, &cut, 1, LINE_SIZE_MAX);

        cr_assert_str_eq(cut_in_two, whole, "cut at %zu", cut);
        free(cut_in_two);
    }
    free(whole);
    free(text);
}

Test(line_protocol, reads_the_same_from_random_pieces_of_random_lines)
{
    static const char *const scraps[] = {
        "m",         ",a=b",       " ",    "v=1", "\n", "\"",      "\\", "s=\"x\"",
        "\r",        "#",          "=",    ",",   "1i", "\t",      "5",  "\r\n",
        "m v=1 5\n", "s=\"a\nb\"", "\\\"", "-",   "e",  "xxxxxxxx"};
    uint64_t seed = seed_of_run("line_protocol");

    for (int round = 0; round < 20000; round++) {
        char text[512];
        size_t size = 0, cuts[8], cut_count = seed_below(&seed, 8), from = 0;
        uint32_t size_max = seed_below(&seed, 2) ? 24 : LINE_SIZE_MAX;
        char *whole, *pieces;

        while (size < 200) {
            const char *scrap = scraps[seed_below(&seed, sizeof scraps / sizeof *scraps)];

            memcpy(text + size, scrap, strlen(scrap));
            size += strlen(scrap);
        }
        for (size_t i = 0; i < cut_count; i++)
            from = cuts[i] = from + seed_below(&seed, size - from + 1);
        whole = plain_in_pieces(text, size, NULL, 0, size_max);
        pieces = plain_in_pieces(text, size, cuts, cut_count, size_max);
        /* Where a string is left open, how far a piece reached decides about the line's end. */
        if (size_max == LINE_SIZE_MAX)
            cr_assert_str_eq(pieces, whole, "round %d: %.*s", round, (int)size, text);
        free(whole);
        free(pieces);
    }
}
