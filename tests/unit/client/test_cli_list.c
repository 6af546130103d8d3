#include <criterion/criterion.h>

#include "client/cli_list.h"

Test(cli_list, splits_at_commas_that_no_backslash_guards)
{
    struct cli_list list = {.count = 0};
    char text[] = "a,b\\,c,d\\\\e";
    char empty[] = "a,,b";

    cr_assert(cli_list_add(&list, text));
    cr_assert_eq(list.count, 3);
    cr_assert_str_eq(list.items[0], "a");
    cr_assert_str_eq(list.items[1], "b,c");
    cr_assert_str_eq(list.items[2], "d\\e");
    cr_assert_not(cli_list_add(&list, empty));
}

Test(cli_list, reads_conditions)
{
    struct millrace_condition condition;
    char is[] = "host=a=b", is_not[] = "host!=a", like[] = "host=~a.*", unlike[] = "host!~a";
    char none[] = "host", nameless[] = "!=a", half[] = "host!a";

    cr_assert(cli_list_condition(is, &condition));
    cr_assert_str_eq(condition.tag, "host");
    cr_assert_str_eq(condition.op, "=");
    cr_assert_str_eq(condition.value, "a=b");
    cr_assert(cli_list_condition(is_not, &condition));
    cr_assert_str_eq(condition.op, "!=");
    cr_assert(cli_list_condition(like, &condition));
    cr_assert_str_eq(condition.op, "=~");
    cr_assert_str_eq(condition.value, "a.*");
    cr_assert(cli_list_condition(unlike, &condition));
    cr_assert_str_eq(condition.op, "!~");
    cr_assert_not(cli_list_condition(none, &condition));
    cr_assert_not(cli_list_condition(nameless, &condition));
    cr_assert_not(cli_list_condition(half, &condition));
}
