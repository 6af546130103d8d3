#include <criterion/criterion.h>

#include "storage/label_match.h"

static enum err holds(uint32_t op, const char *pattern, const char *value, bool *ret_holds)
{
    struct query_match where = {"n", pattern, op};
    struct label_match *match;
    enum err err = label_match_new(&where, 1, &match);

    if (err != ERR_OK)
        return err;
    err = label_match_holds(match, 0, (struct slice){value, strlen(value)}, ret_holds);
    label_match_free(match);
    return err;
}

Test(label_match, compares_whole_values)
{
    static const struct {
        uint32_t op;
        const char *pattern, *value;
        bool holds;
    } cases[] = {
        {QUERY_EQUAL, "ab", "ab", true},
        {QUERY_EQUAL, "ab", "abc", false},
        {QUERY_NOT_EQUAL, "ab", "abc", true},
        {QUERY_NOT_EQUAL, "ab", "ab", false},
        {QUERY_MATCHES, "a.*", "abc", true},
        {QUERY_MATCHES, "b", "abc", false},
        {QUERY_MATCHES, "a|abc", "abc", true},
        {QUERY_MATCHES, "a.c", "a\nc", true},
        {QUERY_MATCHES, "", "", true},
        {QUERY_MATCHES, "", "a", false},
        {QUERY_NOT_MATCHES, "a.*", "abc", false},
        {QUERY_NOT_MATCHES, "a", "abc", true},
        {QUERY_MATCHES, "(?i)ABC", "abc", true},
        {QUERY_MATCHES, "\xff.", "\xff\xfe", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool result = !cases[i].holds;

        cr_assert_eq(holds(cases[i].op, cases[i].pattern, cases[i].value, &result), ERR_OK);
        cr_assert_eq(result, cases[i].holds, "case %zu", i);
    }
}

Test(label_match, says_what_is_wrong_with_a_pattern)
{
    bool result;

    cr_assert_eq(holds(QUERY_MATCHES, "a(", "a", &result), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "pattern for n"), "%s", err_detail());
    cr_assert_eq(holds(QUERY_OP_END, "a", "a", &result), ERR_INVALID);
    cr_assert_eq(holds(QUERY_MATCHES, "(*UTF)a", "a", &result), ERR_INVALID);
}

Test(label_match, gives_up_on_a_pattern_that_takes_for_ever)
{
    bool result;

    cr_assert_eq(holds(QUERY_MATCHES, "(a+)+b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab!", &result),
                 ERR_LIMIT);
    cr_assert_not_null(strstr(err_detail(), "simplify"), "%s", err_detail());
}

Test(label_match, knows_what_all_matching_values_begin_with)
{
    static const struct {
        const char *pattern, *prefix;
    } cases[] = {
        {"press-0.*", "press-0"}, {"abc", "abc"}, {"abc*", "ab"},  {"ab+", "ab"},  {"ab?", "a"},
        {"ab{0,2}", "a"},         {"a|b", ""},    {"(ab|c)d", ""}, {"^ab$", "ab"}, {"(?i)ab", ""},
        {"a\\.b", "a"},           {"", ""},       {".*", ""},      {"*", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct query_match where = {"n", cases[i].pattern, QUERY_MATCHES};
        struct label_match *match;
        struct slice prefix;

        if (label_match_new(&where, 1, &match) != ERR_OK)
            continue; /* "*" alone. */
        prefix = label_match_prefix(match, 0);
        cr_assert_eq(prefix.size, strlen(cases[i].prefix), "case %zu", i);
        cr_assert_arr_eq(prefix.data, cases[i].prefix, prefix.size, "case %zu", i);
        label_match_free(match);
    }
}
