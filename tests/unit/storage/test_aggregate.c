/*
 * Aggregates: windows, exact sums, NaN, ties, types, limits, and parts that come from anybody.
 * test_scan.c holds them to a model, through scans.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/aggregate.h"

enum { MIB = 1 << 20 };

static struct query ask(enum query_agg agg, int64_t every_ns)
{
    return (struct query){.database = "db", .table = "cpu", .agg = agg, .every_ns = every_ns};
}

static struct aggregate *make(const struct query *query)
{
    struct aggregate *aggregate;

    cr_assert_eq(aggregate_new(query, MIB, &aggregate), ERR_OK, "%s", err_detail());
    return aggregate;
}

static uint64_t float_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double as_float(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t group_of(struct aggregate *aggregate, const char *tag)
{
    struct slice value = {tag, strlen(tag)};
    uint32_t group;

    cr_assert_eq(aggregate_group(aggregate, &value, &group), ERR_OK);
    return group;
}

/* Rows of one series with field "v". */
static enum err add_rows(struct aggregate *aggregate, uint32_t group, enum field_type type,
                         const int64_t *times_ns, uint32_t rows, const uint8_t *present,
                         const uint64_t *bits, const char *text)
{
    uint32_t field;
    enum err err = aggregate_field(aggregate, (struct slice){"v", 1}, type, &field);

    aggregate_begin(aggregate, times_ns);
    if (err == ERR_OK)
        err = aggregate_rows(aggregate, group, 0, rows);
    return err == ERR_OK ? aggregate_values(aggregate, field, present, bits, text) : err;
}

static enum err add(struct aggregate *aggregate, uint32_t group, enum field_type type,
                    int64_t time_ns, uint64_t bits, const char *text)
{
    return add_rows(aggregate, group, type, &time_ns, 1, NULL, &bits, text);
}

static void add_float(struct aggregate *aggregate, int64_t time_ns, double value)
{
    cr_assert_eq(
        add(aggregate, group_of(aggregate, ""), FIELD_FLOAT, time_ns, float_bits(value), NULL),
        ERR_OK, "%s", err_detail());
}

static void add_text(struct aggregate *aggregate, int64_t time_ns, const char *text)
{
    cr_assert_eq(add(aggregate, group_of(aggregate, ""), FIELD_STRING, time_ns,
                     (uint64_t)strlen(text) << 32, text),
                 ERR_OK, "%s", err_detail());
}

static struct columns finish(struct aggregate *aggregate)
{
    struct columns columns;

    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    aggregate_free(aggregate);
    return columns;
}

/* The bits of the only row of the only column. */
static uint64_t only_value(struct aggregate *aggregate, enum field_type type)
{
    struct columns columns = finish(aggregate);
    uint64_t bits;

    cr_assert_eq(columns.count, 1);
    cr_assert_eq(columns.rows, 1);
    cr_assert_eq(columns.columns[0].kind, COLUMN_FIELD);
    cr_assert_eq(columns.columns[0].type, type, "%s", field_type_name(columns.columns[0].type));
    cr_assert(columns.columns[0].present[0]);
    bits = columns.columns[0].values[0];
    columns_fini(&columns);
    return bits;
}

static void assert_only_text(struct aggregate *aggregate, const char *text)
{
    struct columns columns = finish(aggregate);
    const struct column *column = &columns.columns[0];

    cr_assert_eq(columns.rows, 1);
    cr_assert_eq(column->type, FIELD_STRING);
    cr_assert_eq(column->values[0] >> 32, strlen(text));
    if (text[0] != '\0')
        cr_assert_eq(memcmp(column->text.data + (uint32_t)column->values[0], text, strlen(text)),
                     0);
    columns_fini(&columns);
}

/* ---- Windows ------------------------------------------------------------------------------- */

static int64_t window_of(int64_t every_ns, int64_t time_ns)
{
    struct query query = ask(QUERY_COUNT, every_ns);
    struct aggregate *aggregate = make(&query);
    struct columns columns;
    int64_t window;

    add_float(aggregate, time_ns, 1);
    columns = finish(aggregate);
    cr_assert_eq(columns.rows, 1);
    cr_assert_eq(columns.columns[0].kind, COLUMN_TIME);
    window = (int64_t)columns.columns[0].values[0];
    columns_fini(&columns);
    return window;
}

Test(aggregate, starts_windows_at_multiples_before_1970_too)
{
    cr_assert_eq(window_of(10, 0), 0);
    cr_assert_eq(window_of(10, 9), 0);
    cr_assert_eq(window_of(10, 10), 10);
    cr_assert_eq(window_of(10, -1), -10);
    cr_assert_eq(window_of(10, -10), -10);
    cr_assert_eq(window_of(10, -11), -20);
    cr_assert_eq(window_of(1, INT64_MAX), INT64_MAX);
    cr_assert_eq(window_of(10, INT64_MAX), INT64_MAX / 10 * 10);
    cr_assert_eq(window_of(10, INT64_MIN), INT64_MIN); /* Its window would start before time. */
    cr_assert_eq(window_of(INT64_MAX, -1), -INT64_MAX);
}

Test(aggregate, cuts_a_run_at_every_window)
{
    enum { ROWS = 1000 };
    struct query query = ask(QUERY_SUM, 7);
    struct aggregate *aggregate = make(&query);
    static int64_t times_ns[ROWS];
    static uint64_t bits[ROWS];
    static uint8_t present[ROWS];
    struct columns columns;
    uint64_t total = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        times_ns[i] = (int64_t)i * i / 40 - 1000; /* Windows of many rows, of one, and of none. */
        present[i] = i % 3 != 0;
        bits[i] = present[i] ? i : 0;
    }
    cr_assert_eq(add_rows(aggregate, group_of(aggregate, ""), FIELD_UINT, times_ns, ROWS, present,
                          bits, NULL),
                 ERR_OK);
    columns = finish(aggregate);
    for (uint32_t row = 0; row < columns.rows; row++) {
        int64_t window = (int64_t)columns.columns[0].values[row];
        uint64_t sum = 0;

        for (uint32_t i = 0; i < ROWS; i++)
            sum += times_ns[i] >= window && times_ns[i] < window + 7 ? bits[i] : 0;
        cr_assert_eq(window % 7, 0);
        cr_assert_eq(columns.columns[1].values[row], sum, "window %ld", (long)window);
        total += sum;
    }
    cr_assert_eq(total, 333 * 1000 - 333, "%lu", (unsigned long)total); /* Not the multiples of 3 */
    columns_fini(&columns);
}

/* ---- Numbers ------------------------------------------------------------------------------- */

Test(aggregate, sums_integers_beyond_64_bits)
{
    struct query query = ask(QUERY_SUM, 0);
    struct aggregate *aggregate = make(&query);
    uint32_t group = group_of(aggregate, "");

    for (int i = 0; i < 5; i++)
        cr_assert_eq(add(aggregate, group, FIELD_INT, i, INT64_MAX, NULL), ERR_OK);
    for (int i = 5; i < 9; i++)
        cr_assert_eq(add(aggregate, group, FIELD_INT, i, (uint64_t)-INT64_MAX, NULL), ERR_OK);
    cr_assert_eq(only_value(aggregate, FIELD_INT), INT64_MAX);

    aggregate = make(&query);
    group = group_of(aggregate, "");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(add(aggregate, group, FIELD_INT, i, (uint64_t)INT64_MIN, NULL), ERR_OK);
    cr_assert_eq(as_float(only_value(aggregate, FIELD_FLOAT)), -0x1p65);

    aggregate = make(&query);
    group = group_of(aggregate, "");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(add(aggregate, group, FIELD_UINT, i, 1ull << 63, NULL), ERR_OK);
    cr_assert_eq(as_float(only_value(aggregate, FIELD_FLOAT)), 0x1p65);
}

Test(aggregate, means_of_huge_integers_are_right)
{
    struct query query = ask(QUERY_MEAN, 0);
    struct aggregate *aggregate = make(&query);
    uint32_t group = group_of(aggregate, "");

    for (int i = 0; i < 1000; i++)
        cr_assert_eq(add(aggregate, group, FIELD_UINT, i, UINT64_MAX, NULL), ERR_OK);
    cr_assert_eq(as_float(only_value(aggregate, FIELD_FLOAT)), 0x1p64);
}

Test(aggregate, skips_nan_in_min_and_max_unless_there_is_nothing_else)
{
    static const enum query_agg aggs[] = {QUERY_MIN, QUERY_MAX};

    for (int i = 0; i < 2; i++) {
        struct query query = ask(aggs[i], 0);
        struct aggregate *aggregate = make(&query);

        add_float(aggregate, 1, NAN);
        add_float(aggregate, 2, 5);
        add_float(aggregate, 3, -NAN);
        cr_assert_eq(as_float(only_value(aggregate, FIELD_FLOAT)), 5);

        aggregate = make(&query);
        add_float(aggregate, 1, NAN);
        add_float(aggregate, 2, NAN);
        cr_assert(isnan(as_float(only_value(aggregate, FIELD_FLOAT))));

        aggregate = make(&query);
        add_float(aggregate, 1, NAN);
        add_float(aggregate, 2, aggs[i] == QUERY_MIN ? INFINITY : -INFINITY);
        cr_assert(isinf(as_float(only_value(aggregate, FIELD_FLOAT))));
    }
}

Test(aggregate, finds_extremes_in_runs_with_and_without_gaps)
{
    enum { ROWS = 101 };
    static int64_t times_ns[ROWS];
    static uint64_t bits[ROWS];
    static uint8_t present[ROWS];

    for (uint32_t hole = 0; hole <= ROWS; hole++) { /* ROWS: none. */
        struct query query = ask(QUERY_MIN, 0);
        struct aggregate *aggregate = make(&query);
        double least = INFINITY;

        for (uint32_t i = 0; i < ROWS; i++) {
            double value = 100 + (double)((i * 37 + hole) % ROWS);

            times_ns[i] = i;
            present[i] = i != hole;
            bits[i] = present[i] ? float_bits(value) : 0;
            least = present[i] && value < least ? value : least;
        }
        cr_assert_eq(add_rows(aggregate, group_of(aggregate, ""), FIELD_FLOAT, times_ns, ROWS,
                              hole < ROWS ? present : NULL, bits, NULL),
                     ERR_OK);
        cr_assert_eq(as_float(only_value(aggregate, FIELD_FLOAT)), least);
    }
}

/* ---- First and last ------------------------------------------------------------------------ */

Test(aggregate, breaks_ties_of_first_and_last_the_same_way_in_any_order)
{
    static const enum query_agg aggs[] = {QUERY_FIRST, QUERY_LAST};

    for (int i = 0; i < 2; i++) {
        struct query query = ask(aggs[i], 0);
        struct aggregate *up = make(&query), *down = make(&query);

        add_text(up, 5, "b");
        add_text(up, 5, "ba");
        add_text(up, 5, "a");
        add_text(down, 5, "a");
        add_text(down, 5, "ba");
        add_text(down, 5, "b");
        assert_only_text(up, "ba");
        assert_only_text(down, "ba");
    }
}

Test(aggregate, keeps_the_first_and_the_last_string)
{
    struct query query = ask(QUERY_FIRST, 0);
    struct aggregate *aggregate = make(&query);

    add_text(aggregate, 5, "five");
    add_text(aggregate, -3, "a much longer one");
    add_text(aggregate, 7, "seven");
    assert_only_text(aggregate, "a much longer one");
    query.agg = QUERY_LAST;
    aggregate = make(&query);
    add_text(aggregate, 5, "five");
    add_text(aggregate, 7, "");
    add_text(aggregate, 6, "six");
    assert_only_text(aggregate, "");
}

/* ---- Types and order ----------------------------------------------------------------------- */

Test(aggregate, leaves_out_or_refuses_what_a_type_does_not_have)
{
    struct query query = ask(QUERY_SUM, 0);
    struct aggregate *aggregate = make(&query);
    uint32_t field;

    cr_assert_eq(aggregate_field(aggregate, (struct slice){"s", 1}, FIELD_STRING, &field), ERR_OK);
    cr_assert_eq(field, AGGREGATE_SKIP);
    cr_assert_eq(aggregate_field(aggregate, (struct slice){"b", 1}, FIELD_BOOL, &field), ERR_OK);
    cr_assert_eq(field, AGGREGATE_SKIP);
    aggregate_free(aggregate);
    query.fields[query.field_count++] = "s";
    aggregate = make(&query);
    cr_assert_eq(aggregate_field(aggregate, (struct slice){"s", 1}, FIELD_STRING, &field),
                 ERR_INVALID);
    aggregate_free(aggregate);
}

Test(aggregate, names_both_types_of_a_conflict)
{
    struct query query = ask(QUERY_LAST, 0);
    struct aggregate *aggregate = make(&query);

    add_float(aggregate, 1, 1);
    cr_assert_eq(add(aggregate, 0, FIELD_INT, 2, 2, NULL), ERR_TYPE_CONFLICT);
    cr_assert(strstr(err_detail(), "float") != NULL);
    cr_assert(strstr(err_detail(), "integer") != NULL);
    aggregate_free(aggregate);
}

Test(aggregate, sorts_rows_by_tags_then_time_and_cuts_at_the_limit)
{
    static const char *const tags[] = {"b", "", "a", "ab"};
    struct query query = ask(QUERY_COUNT, 10);
    struct aggregate *aggregate;
    struct columns columns;

    query.group_by[query.group_count++] = "host";
    query.limit = 7;
    aggregate = make(&query);
    for (int64_t time_ns = 20; time_ns >= 0; time_ns -= 20) {
        for (int i = 0; i < 4; i++)
            cr_assert_eq(
                add(aggregate, group_of(aggregate, tags[i]), FIELD_FLOAT, time_ns, 0, NULL),
                ERR_OK);
    }
    columns = finish(aggregate);
    cr_assert_eq(columns.count, 3);
    cr_assert_eq(columns.rows, 7);
    for (uint32_t row = 0; row < columns.rows; row++) {
        static const char *const expected[] = {"", "", "a", "a", "ab", "ab", "b"};
        const struct column *tag = &columns.columns[1];

        cr_assert_eq(columns.columns[0].values[row], row % 2 * 20);
        cr_assert_eq(tag->present[row], row > 1); /* "": the series does not have the tag. */
        cr_assert_eq(tag->values[row] >> 32, strlen(expected[row]));
        cr_assert_eq(memcmp(tag->text.data + (uint32_t)tag->values[row], expected[row],
                            strlen(expected[row])),
                     0);
    }
    columns_fini(&columns);
}

Test(aggregate, puts_fields_in_the_order_of_the_query)
{
    struct query query = ask(QUERY_COUNT, 0);
    static const char *const asked[] = {"z", "missing", "a", "m"}, *const found[] = {"z", "a", "m"};
    const uint64_t bits = 0;
    const int64_t time_ns = 0;
    struct aggregate *aggregate;
    struct columns columns;

    for (int i = 0; i < 4; i++)
        query.fields[query.field_count++] = asked[i];
    aggregate = make(&query);
    aggregate_begin(aggregate, &time_ns);
    cr_assert_eq(aggregate_rows(aggregate, group_of(aggregate, ""), 0, 1), ERR_OK);
    for (int i = 2; i >= 0; i--) {
        struct slice name = {found[i], 1};
        uint32_t field;

        cr_assert_eq(aggregate_field(aggregate, name, FIELD_INT, &field), ERR_OK);
        cr_assert_eq(aggregate_values(aggregate, field, NULL, &bits, NULL), ERR_OK);
    }
    columns = finish(aggregate);
    cr_assert_eq(columns.count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(columns.columns[i].name, found[i]);
    columns_fini(&columns);
}

Test(aggregate, is_empty_without_rows)
{
    struct query query = ask(QUERY_MEAN, 60);
    struct columns columns = finish(make(&query));

    cr_assert_eq(columns.rows, 0);
    columns_fini(&columns);
}

/* ---- Limits and parts ---------------------------------------------------------------------- */

Test(aggregate, refuses_questions_without_an_answer)
{
    struct query query = ask(QUERY_RAW, 0);
    struct aggregate *aggregate;

    cr_assert_eq(aggregate_new(&query, MIB, &aggregate), ERR_INVALID);
    query.agg = QUERY_AGG_END;
    cr_assert_eq(aggregate_new(&query, MIB, &aggregate), ERR_INVALID);
    query = ask(QUERY_SUM, -1);
    cr_assert_eq(aggregate_new(&query, MIB, &aggregate), ERR_INVALID);
}

Test(aggregate, stays_within_its_memory_and_says_what_to_do)
{
    struct query query = ask(QUERY_LAST, 1);
    struct aggregate *aggregate = make(&query);
    uint32_t group = group_of(aggregate, "");
    enum err err = ERR_OK;
    int64_t rows = 0;

    while (err == ERR_OK && rows < MIB)
        err = add(aggregate, group, FIELD_FLOAT, rows++, 0, NULL);
    cr_assert_eq(err, ERR_LIMIT);
    cr_assert_gt(rows, 1000);
    cr_assert(strstr(err_detail(), "wider windows") != NULL, "%s", err_detail());
    aggregate_free(aggregate);
}

static void fill(struct aggregate *aggregate, enum field_type type)
{
    for (int64_t time_ns = 0; time_ns < 20; time_ns++)
        cr_assert_eq(add(aggregate, group_of(aggregate, time_ns % 2 == 0 ? "even" : "odd"), type,
                         time_ns, type == FIELD_STRING ? 3ull << 32 : 1, "abc"),
                     ERR_OK);
}

Test(aggregate, refuses_every_cut_of_a_part)
{
    for (uint32_t agg = QUERY_COUNT; agg < QUERY_AGG_END; agg++) {
        enum field_type type = agg == QUERY_FIRST ? FIELD_STRING
                               : agg == QUERY_SUM ? FIELD_INT
                                                  : FIELD_FLOAT;
        struct query query = ask((enum query_agg)agg, 3);
        struct aggregate *part, *whole;
        struct bytes bytes = {0};

        query.group_by[query.group_count++] = "host";
        part = make(&query);
        fill(part, type);
        aggregate_encode(part, &bytes);
        aggregate_free(part);
        for (size_t size = 0; size < bytes.size; size++) {
            uint8_t *cut = malloc(size + 1); /* Of its own size, for sanitizers. */

            memcpy(cut + 1, bytes.data, size);
            whole = make(&query);
            cr_assert_eq(aggregate_merge(whole, cut + 1, size), ERR_INVALID, "%zu bytes", size);
            aggregate_free(whole);
            free(cut);
        }
        whole = make(&query);
        cr_assert_eq(aggregate_merge(whole, bytes.data, bytes.size), ERR_OK, "%s", err_detail());
        cr_assert_eq(aggregate_merge(whole, bytes.data, bytes.size), ERR_OK, "%s", err_detail());
        aggregate_free(whole);
        bytes_fini(&bytes);
    }
}

Test(aggregate, refuses_a_part_of_another_question)
{
    struct query query = ask(QUERY_SUM, 60), other;
    struct aggregate *part = make(&query), *whole;
    struct bytes bytes = {0};

    add_float(part, 1, 1);
    aggregate_encode(part, &bytes);
    aggregate_free(part);
    for (int i = 0; i < 3; i++) {
        other = query;
        if (i == 0)
            other.agg = QUERY_MEAN;
        if (i == 1)
            other.every_ns = 61;
        if (i == 2)
            other.group_by[other.group_count++] = "host";
        whole = make(&other);
        cr_assert_eq(aggregate_merge(whole, bytes.data, bytes.size), ERR_INVALID);
        aggregate_free(whole);
    }
    bytes_fini(&bytes);
}

Test(aggregate, survives_every_flipped_bit_of_a_part)
{
    struct query query = ask(QUERY_LAST, 3);
    struct aggregate *part;
    struct bytes bytes = {0};
    size_t refused = 0;

    query.group_by[query.group_count++] = "host";
    part = make(&query);
    fill(part, FIELD_STRING);
    aggregate_encode(part, &bytes);
    aggregate_free(part);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        struct aggregate *whole = make(&query);

        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += aggregate_merge(whole, bytes.data, bytes.size) != ERR_OK;
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        aggregate_free(whole);
    }
    cr_assert_gt(refused, bytes.size); /* The rest gives other numbers: frames are checksummed. */
    bytes_fini(&bytes);
}
