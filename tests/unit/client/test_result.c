/*
 * Answers come in pieces and in any order; results are sorted by tags, then time.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "client/result.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

/* One row: absent where NULL. */
static void put_row(struct columns *columns, int64_t time_ns, const char *host, const char *cpu,
                    int64_t number)
{
    uint32_t time, host_at, cpu_at, number_at;

    cr_assert_eq(columns_column(columns, text("time"), COLUMN_TIME, FIELD_INT, &time), ERR_OK);
    cr_assert_eq(columns_column(columns, text("host"), COLUMN_TAG, FIELD_STRING, &host_at), ERR_OK);
    cr_assert_eq(columns_column(columns, text("cpu"), COLUMN_TAG, FIELD_STRING, &cpu_at), ERR_OK);
    cr_assert_eq(columns_column(columns, text("n"), COLUMN_FIELD, FIELD_INT, &number_at), ERR_OK);
    cr_assert_eq(columns_row(columns), ERR_OK);
    columns_set(columns, time, (uint64_t)time_ns);
    if (host)
        cr_assert_eq(columns_set_string(columns, host_at, host, strlen(host)), ERR_OK);
    if (cpu)
        cr_assert_eq(columns_set_string(columns, cpu_at, cpu, strlen(cpu)), ERR_OK);
    columns_set(columns, number_at, (uint64_t)number);
}

static void add(struct millrace_result *result, struct columns *columns)
{
    struct bytes bytes = {0};

    columns_encode(columns, &bytes);
    cr_assert_eq(result_add(result, bytes.data, bytes.size), ERR_OK, "%s", err_detail());
    bytes_fini(&bytes);
    columns_fini(columns);
    *columns = (struct columns){0};
}

static int64_t number_at(const struct millrace_result *result, size_t row)
{
    struct millrace_value value;

    cr_assert_eq(millrace_result_get(result, row, 3, &value), 1);
    return value.as.i;
}

Test(result, sorts_rows_by_tags_then_time)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    struct columns columns = {0};

    put_row(&columns, 20, "b", "0", 5);
    put_row(&columns, 10, "ab", "1", 4);
    put_row(&columns, 30, "a", "1", 3);
    add(result, &columns);
    put_row(&columns, -5, "a", "1", 2);
    put_row(&columns, 99, "a", NULL, 1);
    put_row(&columns, 50, NULL, "0", 0);
    add(result, &columns);
    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    cr_assert_eq(millrace_result_rows(result), 6);
    /* Tags by name: cpu before host; an absent tag before any. */
    cr_assert_str_eq(millrace_result_name(result, 0), "time");
    cr_assert_str_eq(millrace_result_name(result, 1), "cpu");
    cr_assert_str_eq(millrace_result_name(result, 2), "host");
    cr_assert_eq(millrace_result_kind(result, 2), MILLRACE_TAG);
    cr_assert_eq(millrace_result_type(result, 3), MILLRACE_INT_TYPE);
    cr_assert_eq(number_at(result, 0), 1);
    cr_assert_eq(number_at(result, 1), 0);
    cr_assert_eq(number_at(result, 2), 5);
    cr_assert_eq(number_at(result, 3), 2);
    cr_assert_eq(number_at(result, 4), 3);
    cr_assert_eq(number_at(result, 5), 4);
    millrace_result_free(result);
}

Test(result, keeps_the_first_rows_up_to_the_limit)
{
    struct millrace_result *result = calloc(1, sizeof *result);
    struct columns columns = {0};

    for (int64_t i = 0; i < 100; i++)
        put_row(&columns, 100 - i, "a", "0", 100 - i);
    add(result, &columns);
    cr_assert_eq(result_order(result, NULL, 0, 10), ERR_OK);
    cr_assert_eq(millrace_result_rows(result), 10);
    for (size_t row = 0; row < 10; row++)
        cr_assert_eq(number_at(result, row), (int64_t)row + 1);
    millrace_result_free(result);
}

Test(result, shows_fields_as_they_were_asked_for_and_others_by_name)
{
    static const char *const asked[] = {"z", "b"};
    static const char *const want[] = {"z", "b", "a", "c"};
    struct millrace_result *result = calloc(1, sizeof *result);
    struct columns columns = {0};
    uint32_t at;

    for (const char *name = "abcz"; *name; name++)
        cr_assert_eq(
            columns_column(&columns, (struct slice){name, 1}, COLUMN_FIELD, FIELD_BOOL, &at),
            ERR_OK);
    cr_assert_eq(columns_row(&columns), ERR_OK);
    columns_set(&columns, at, 1);
    add(result, &columns);
    cr_assert_eq(result_order(result, asked, 2, 0), ERR_OK);
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(millrace_result_name(result, i), want[i]);
    millrace_result_free(result);
}

Test(result, is_empty_when_nothing_came)
{
    struct millrace_result *result = calloc(1, sizeof *result);

    cr_assert_eq(result_order(result, NULL, 0, 0), ERR_OK);
    cr_assert_eq(millrace_result_rows(result), 0);
    cr_assert_eq(millrace_result_columns(result), 0);
    millrace_result_free(result);
}
