#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/catalog_values.h"
#include "storage/catalog_writer.h"
#include "tests/support/seed.h"

/* A run whose only name has these values, ascending, each of one series. */
static struct catalog_run *make(const struct slice *values, uint32_t count)
{
    struct catalog_writer *writer;
    struct catalog_run_header header;
    struct catalog_run *run;
    uint32_t name = 0;
    uint8_t *bytes;

    cr_assert_eq(catalog_writer_new(NULL, NULL, 0, 0, count, &writer), ERR_OK);
    catalog_writer_name(writer, (struct slice){"n", 1}, count);
    for (uint32_t i = 0; i < count; i++)
        catalog_writer_value(writer, values[i]);
    catalog_writer_table(writer, 0, (struct slice){"\1d\1t", 4}, count);
    catalog_writer_shape(writer, 0, &name, 1);
    for (uint32_t i = 0; i < count; i++)
        catalog_writer_series(writer, 0, &i, 1, i * UINT64_C(0x9e3779b97f4a7c15));
    cr_assert_eq(catalog_writer_finish(writer, &header, &bytes), ERR_OK);
    catalog_writer_free(writer);
    cr_assert_eq(catalog_run_open(bytes, header.size, 0, NULL, &run), ERR_OK, "%s", err_detail());
    return run;
}

static int compare(const void *a, const void *b)
{
    return catalog_values_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static void expect(const struct catalog_run *run, const struct slice *values, uint32_t count)
{
    const struct catalog_values *list = &run->names[0].values;
    struct catalog_values_walk walk, other;
    struct slice value;

    cr_assert_eq(list->count, count);
    catalog_values_seek(&walk, list, 0);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(catalog_values_next(&walk, &value));
        cr_assert_eq(catalog_values_compare(value, values[i]), 0, "value %u", i);
        value = catalog_values_get(list, i, &other);
        cr_assert_eq(catalog_values_compare(value, values[i]), 0, "value %u", i);
        cr_assert_eq(catalog_values_lower_bound(list, values[i], &other), i);
    }
    cr_assert(!catalog_values_next(&walk, &value));
    cr_assert_null(catalog_values_get(list, count, &other).data);
}

Test(catalog_values, finds_each_of_short_and_long_lists)
{
    static const uint32_t counts[] = {1, 2, 7, 8, 9, 1024, 1025, 5000};
    uint64_t chance = seed_of_run("catalog_values");

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct slice *values = calloc(counts[i], sizeof *values);
        struct slice *unique = calloc(counts[i], sizeof *unique);
        struct catalog_values_walk walk;
        struct catalog_run *run;
        uint32_t count = 0;

        for (uint32_t at = 0; at < counts[i]; at++) {
            char *text = malloc(NAME_SIZE_MAX);

            /* Some share nearly all, some are as long as can be, one is "". */
            values[at].size = (size_t)snprintf(text, 64, at % 3 ? "device-%08u" : "%u",
                                               (unsigned)seed_below(&chance, 100000));
            if (at % 50 == 7) {
                memset(text + values[at].size, 'x', NAME_SIZE_MAX - values[at].size);
                values[at].size = NAME_SIZE_MAX;
            }
            values[at].size = at == 0 ? 0 : values[at].size;
            values[at].data = text;
        }
        qsort(values, counts[i], sizeof *values, compare);
        for (uint32_t at = 0; at < counts[i]; at++)
            if (count == 0 || compare(&unique[count - 1], &values[at]) != 0)
                unique[count++] = values[at];
        run = make(unique, count);
        expect(run, unique, count);
        cr_assert_eq(
            catalog_values_lower_bound(&run->names[0].values, (struct slice){"\xff", 1}, &walk),
            count);
        cr_assert_eq(
            catalog_values_lower_bound(&run->names[0].values, (struct slice){"", 0}, &walk), 0);
        catalog_run_unref(run);
        for (uint32_t at = 0; at < counts[i]; at++)
            free((void *)(uintptr_t)values[at].data);
        free(values);
        free(unique);
    }
}
