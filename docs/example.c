/*
 * Write an hour of a sensor's readings to a site, then ask for their means of five minutes.
 *
 *     cc example.c $(pkg-config --cflags --libs millrace) && ./a.out 127.0.0.1:7400
 */
#include <inttypes.h>
#include <millrace.h>
#include <stdio.h>

#define SECOND INT64_C(1000000000)

static int fail(const struct millrace *m, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, millrace_last_error(m));
    return 1;
}

static int write_hour(struct millrace *m, int64_t start_ns)
{
    struct millrace_tag tags[] = {{"plant", "north"}, {"pump", "7"}};
    uint32_t series;

    if (millrace_series(m, "pump", tags, 2, &series) != MILLRACE_OK)
        return fail(m, "series");
    for (int second = 0; second < 3600; second++) {
        struct millrace_value values[] = {
            millrace_double("pressure", 4.2 + second % 60 * 0.01),
            millrace_int("rpm", 1450 + second % 7),
            millrace_bool("open", 1),
        };

        if (millrace_write(m, series, start_ns + second * SECOND, values, 3) != MILLRACE_OK)
            return fail(m, "write");
    }
    /* Until here rows were on their way; now they are on the disks of a majority. */
    if (millrace_flush(m, 10000) != MILLRACE_OK)
        return fail(m, "flush");
    return 0;
}

static int print_means(struct millrace *m, int64_t start_ns)
{
    struct millrace_condition where[] = {{"pump", "=", "7"}};
    const char *fields[] = {"pressure"};
    struct millrace_query query = {
        .table = "pump",
        .fields = fields,
        .field_count = 1,
        .where = where,
        .where_count = 1,
        .from_ns = start_ns,
        .to_ns = start_ns + 3600 * SECOND,
        .every_ns = 300 * SECOND,
        .agg = "mean",
    };
    struct millrace_result *result;

    if (millrace_query(m, &query, &result) != MILLRACE_OK)
        return fail(m, "query");
    for (size_t row = 0; row < millrace_result_rows(result); row++) {
        for (size_t column = 0; column < millrace_result_columns(result); column++) {
            struct millrace_value value;

            if (!millrace_result_get(result, row, column, &value))
                continue;
            if (millrace_result_kind(result, column) == MILLRACE_TIME)
                printf("%" PRId64, value.as.i / SECOND);
            else if (value.type == MILLRACE_FLOAT_TYPE)
                printf("  %s %.3f", value.name, value.as.f);
        }
        printf("\n");
    }
    millrace_result_free(result);
    return 0;
}

int main(int argc, char **argv)
{
    struct millrace_options options = {.nodes = argc > 1 ? argv[1] : NULL};
    int64_t start_ns = INT64_C(1700000000) * SECOND;
    struct millrace *m;
    int failed;

    if (millrace_open(&options, &m) != MILLRACE_OK)
        return fail(NULL, "open");
    failed = write_hour(m, start_ns) || print_means(m, start_ns);
    if (millrace_close(m) != MILLRACE_OK)
        failed = 1;
    return failed;
}
