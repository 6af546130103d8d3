/*
 * Which windows of which databases a head has rows of, beside a plain model of it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/types.h"
#include "storage/block/block_reader.h"
#include "storage/seal_parts.h"
#include "tests/support/entries.h"
#include "tests/support/seed.h"

enum { WIDTH = 100 };

static struct catalog *catalog;
static struct head head;
static struct database_map databases;

static void set_up(void)
{
    cr_assert_eq(catalog_new(&catalog), ERR_OK);
}

static void tear_down(void)
{
    head_fini(&head);
    database_map_fini(&databases);
    catalog_free(catalog);
}

TestSuite(seal_parts, .init = set_up, .fini = tear_down);

static uint32_t id_of(const char *table)
{
    struct key_parts parts;
    char key[256];
    size_t size = entries_key(table, "a", key);
    uint32_t id = catalog_find(catalog, key, size, key_hash(key, size));

    if (id != CATALOG_NONE)
        return id;
    cr_assert_eq(key_parse(key, size, &parts), 0);
    cr_assert_eq(
        catalog_add(catalog, (struct slice){key, size}, parts.table_key_size, key_hash(key, size)),
        ERR_OK);
    catalog_confirm(catalog);
    return catalog_count(catalog) - 1;
}

static void add(const char *const *tables, const int64_t *times_ns, size_t count)
{
    struct entries_value *values = calloc(count, sizeof *values);
    struct head_block block = {.index = head.count + 1};
    struct block_view view;

    for (size_t i = 0; i < count; i++)
        values[i] = (struct entries_value){tables[i], "a", times_ns[i], "v",
                                           FIELD_INT, 1,   NULL,        id_of(tables[i]) + 1};
    block.entry = entries_block(&(struct entries_from){0}, values, count);
    cr_assert_eq(block_view(block.entry->bytes + sizeof(struct entry_header),
                            block.entry->size - sizeof(struct entry_header), true, &view),
                 ERR_OK);
    block.size = (uint32_t)view.size;
    block.rows = view.header.rows;
    block.time_min_ns = view.header.time_min_ns;
    block.time_max_ns = view.header.time_max_ns;
    cr_assert_eq(head_add(&head, &block), ERR_OK);
    buf_unref(block.entry);
    free(values);
}

static uint32_t find(const struct seal_rule *rules, struct seal_part **ret_parts)
{
    struct catalog_view view = catalog_view(catalog);
    const struct head_block *blocks;
    uint32_t count = head_after(&head, 0, &blocks);
    uint32_t parts = 0;

    cr_assert_eq(database_map_extend(&databases, &view), ERR_OK);
    cr_assert_eq(seal_parts_find(blocks, count, &view, &databases, rules, ret_parts, &parts),
                 ERR_OK, "%s", err_detail());
    catalog_view_fini(&view);
    return parts;
}

static void expect(const struct seal_part *part, uint32_t database, int64_t from_ns,
                   int64_t last_ns)
{
    cr_assert_eq(part->database, database);
    cr_assert_eq(part->from_ns, from_ns, "%ld", (long)part->from_ns);
    cr_assert_eq(part->last_ns, last_ns, "%ld", (long)part->last_ns);
}

Test(seal_parts, are_windows_of_databases_in_order)
{
    const char *const tables[] = {"a/t", "b/t", "a/u", "a/t", "b/t"};
    const int64_t times_ns[] = {250, -1, 99, 100, -100};
    struct seal_rule rules[] = {{WIDTH, INT64_MIN, false}, {WIDTH, INT64_MIN, false}};
    struct seal_part *parts;

    add(tables, times_ns, 5);
    cr_assert_eq(find(rules, &parts), 4);
    expect(&parts[0], 0, 0, 99);
    expect(&parts[1], 0, 100, 199);
    expect(&parts[2], 0, 200, 299);
    expect(&parts[3], 1, -100, -1);
    free(parts);
}

Test(seal_parts, leave_out_what_is_gone)
{
    const char *const tables[] = {"a/t", "b/t", "a/t", "b/t"};
    const int64_t times_ns[] = {50, 50, 350, 350};
    struct seal_rule rules[] = {{WIDTH, 310, false}, {WIDTH, INT64_MIN, true}};
    struct seal_part *parts;

    add(tables, times_ns, 4);
    cr_assert_eq(find(rules, &parts), 1);
    expect(&parts[0], 0, 300, 399);
    free(parts);
}

Test(seal_parts, reach_to_both_ends_of_time)
{
    const char *const tables[] = {"a/t", "a/t", "a/t"};
    const int64_t times_ns[] = {INT64_MIN, 0, INT64_MAX};
    struct seal_rule rules[] = {{SEAL_PARTS_MAX, INT64_MIN, false}};
    struct seal_part *parts;

    rules[0].window_ns = INT64_C(86400000000000);
    add(tables, times_ns, 3);
    cr_assert_eq(find(rules, &parts), 3);
    cr_assert_eq(parts[0].from_ns, INT64_MIN);
    cr_assert_eq(parts[1].from_ns, 0);
    cr_assert_eq(parts[2].last_ns, INT64_MAX);
    free(parts);
}

Test(seal_parts, are_bounded_for_scattered_times)
{
    enum { ROWS = 5000 };
    uint64_t chance = seed_of_run("seal_parts");
    const char **tables = malloc(ROWS * sizeof(*tables));
    int64_t *times_ns = malloc(ROWS * sizeof *times_ns);
    struct seal_rule rules[] = {{WIDTH, INT64_MIN, false}};
    struct seal_part *parts;
    uint32_t count;

    for (size_t i = 0; i < ROWS; i++) {
        tables[i] = "a/t";
        times_ns[i] = (int64_t)seed_below(&chance, UINT64_C(1) << 60);
    }
    add(tables, times_ns, ROWS);
    count = find(rules, &parts);
    cr_assert_eq(count, SEAL_WINDOWS_MAX + 1);
    cr_assert_eq(parts[0].from_ns, INT64_MIN);
    for (uint32_t i = 1; i < count; i++)
        cr_assert_gt(parts[i].from_ns, parts[i - 1].last_ns);
    cr_assert_eq(parts[1].from_ns, parts[0].last_ns + 1);
    free(parts);
    free(tables);
    free(times_ns);
}

/* Every row is of exactly one part, every part has a row, and no order of blocks changes that. */
Test(seal_parts, hold_each_row_once)
{
    static const char *const names[] = {"a/t", "b/t", "c/t", "a/u"};
    static const uint32_t of[] = {0, 1, 2, 0};
    enum { ROWS = 40, BLOCKS = 10 };
    uint64_t chance = seed_of_run("seal_parts");
    struct seal_rule rules[] = {
        {WIDTH, INT64_MIN, false}, {7, 300, false}, {1000, INT64_MIN, false}};
    uint32_t database[BLOCKS * ROWS];
    int64_t times[BLOCKS * ROWS];
    struct seal_part *parts;
    uint32_t count;

    for (size_t i = 0; i < 4; i++)
        (void)id_of(names[i]);
    for (size_t b = 0; b < BLOCKS; b++) {
        int64_t spread = 1 + (int64_t)seed_below(&chance, 600);
        const char *tables[ROWS];

        for (size_t i = 0; i < ROWS; i++) {
            size_t pick = seed_below(&chance, 4);

            tables[i] = names[pick];
            database[b * ROWS + i] = of[pick];
            times[b * ROWS + i] = (int64_t)seed_below(&chance, (uint64_t)spread);
        }
        add(tables, times + b * ROWS, ROWS);
    }
    count = find(rules, &parts);
    for (size_t i = 0; i < (size_t)BLOCKS * ROWS; i++) {
        uint32_t found = 0;

        for (uint32_t p = 0; p < count; p++)
            found += parts[p].database == database[i] && times[i] >= parts[p].from_ns &&
                     times[i] <= parts[p].last_ns;
        cr_assert_eq(found, times[i] >= rules[database[i]].cutoff_ns || found == 1 ? 1 : 0);
    }
    free(parts);
}
