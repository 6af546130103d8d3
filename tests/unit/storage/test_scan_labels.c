#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/scan_labels.h"
#include "tests/support/seed.h"
#include "tests/support/world.h"

static const struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 24};

/* Rows as text, in the order of bytes, each once. */
struct answer {
    char rows[256][128];
    uint32_t count;
};

static void add(struct answer *answer, const char *row)
{
    uint32_t at = answer->count;

    for (uint32_t i = 0; i < answer->count; i++)
        if (strcmp(answer->rows[i], row) == 0)
            return;
    cr_assert_lt(answer->count, 256);
    while (at > 0 && strcmp(answer->rows[at - 1], row) > 0) {
        memcpy(answer->rows[at], answer->rows[at - 1], sizeof answer->rows[0]);
        at--;
    }
    (void)snprintf(answer->rows[at], sizeof answer->rows[0], "%s", row);
    answer->count++;
}

static enum err take(void *arg, const struct columns *batch)
{
    for (uint32_t row = 0; row < batch->rows; row++) {
        char text[128] = "";

        for (uint32_t c = 0; c < batch->count; c++) {
            const struct column *column = &batch->columns[c];
            size_t used = strlen(text);

            cr_assert_eq(column->kind, COLUMN_TAG);
            if (column->present[row])
                (void)snprintf(text + used, sizeof text - used, "%s=%.*s ", column->name,
                               (int)(column->values[row] >> 32),
                               (const char *)column->text.data + (uint32_t)column->values[row]);
        }
        add(arg, text);
    }
    return ERR_OK;
}

static void expect_series(const struct world_series *series, const struct query *query,
                          struct answer *answer)
{
    char text[128];

    if (!world_matches(series, query))
        return;
    (void)snprintf(text, sizeof text, series->site == NULL ? "host=%s " : "host=%s site=%s ",
                   series->host, series->site);
    if (query->about == QUERY_SERIES) {
        add(answer, text);
    } else if (query->about == QUERY_LABELS) {
        add(answer, "label=host ");
        if (series->site != NULL)
            add(answer, "label=site ");
    } else if (strcmp(query->fields[0], "host") == 0) {
        (void)snprintf(text, sizeof text, "host=%s ", series->host);
        add(answer, text);
    } else if (strcmp(query->fields[0], "site") == 0 && series->site != NULL) {
        (void)snprintf(text, sizeof text, "site=%s ", series->site);
        add(answer, text);
    }
}

static void ask(const struct world *world, const struct query *query)
{
    static struct answer found, expected;

    found.count = expected.count = 0;
    cr_assert_eq(scan_labels(&world->snapshot, query, &limits, take, &found), ERR_OK, "%s",
                 err_detail());
    for (uint32_t i = 0; i < WORLD_SERIES; i++)
        expect_series(&world->series[i], query, &expected);
    cr_assert_eq(found.count, expected.count, "about %u: %u of %u", query->about, found.count,
                 expected.count);
    for (uint32_t i = 0; i < found.count; i++)
        cr_assert_str_eq(found.rows[i], expected.rows[i]);
}

Test(scan_labels, answer_what_the_model_has)
{
    static const char *const tags[] = {"host", "site", "rack"};
    static const char *const patterns[] = {"h1.*", "a|b|", "", "h.*", "x"};
    uint64_t chance = seed_of_run("scan_labels");
    struct world world;

    memset(&world, 0, sizeof world);
    world_make(&world, &chance, 1);
    for (int i = 0; i < 300; i++) {
        struct query query = {.database = "db", .table = i % 7 == 0 ? "mem" : "cpu"};

        query.about = QUERY_SERIES + (uint32_t)seed_below(&chance, 3);
        if (query.about == QUERY_VALUES)
            query.fields[query.field_count++] = tags[seed_below(&chance, 3)];
        query.where_count = (uint32_t)seed_below(&chance, 3);
        for (uint32_t w = 0; w < query.where_count; w++)
            query.where[w] =
                (struct query_match){tags[seed_below(&chance, 3)], patterns[seed_below(&chance, 5)],
                                     (uint32_t)seed_below(&chance, QUERY_OP_END)};
        ask(&world, &query);
    }
    world_free(&world);
}

Test(scan_labels, stop_at_their_limits)
{
    struct query query = {.database = "db", .table = "cpu", .about = QUERY_SERIES, .limit = 3};
    struct scan_limits small = {.memory_bytes = 1, .result_bytes = 1};
    uint64_t chance = seed_of_run("scan_labels limits");
    struct answer found = {.count = 0};
    struct world world;

    memset(&world, 0, sizeof world);
    world_make(&world, &chance, 1);
    cr_assert_eq(scan_labels(&world.snapshot, &query, &limits, take, &found), ERR_OK);
    cr_assert_eq(found.count, 3);
    cr_assert_eq(scan_labels(&world.snapshot, &query, &small, take, &found), ERR_LIMIT);
    query.about = QUERY_LABELS;
    cr_assert_eq(scan_labels(&world.snapshot, &query, &small, take, &found), ERR_LIMIT);
    query.about = QUERY_VALUES;
    cr_assert_eq(scan_labels(&world.snapshot, &query, &limits, take, &found), ERR_INVALID);
    world_free(&world);
}

Test(scan_labels, name_the_tables_of_a_database_alone)
{
    struct query query = {.database = "db", .table = "", .about = QUERY_TABLES};
    uint64_t chance = seed_of_run("scan_labels tables");
    struct answer found = {.count = 0};
    struct world world;

    memset(&world, 0, sizeof world);
    world_make(&world, &chance, 1);
    cr_assert_eq(scan_labels(&world.snapshot, &query, &limits, take, &found), ERR_OK);
    cr_assert_eq(found.count, 2);
    cr_assert_str_eq(found.rows[0], "table=cpu ");
    cr_assert_str_eq(found.rows[1], "table=mem ");
    query.database = "d";
    found.count = 0;
    cr_assert_eq(scan_labels(&world.snapshot, &query, &limits, take, &found), ERR_OK);
    cr_assert_eq(found.count, 0);
    world_free(&world);
}
