/*
 * The series memo: a head leads to its series and no other, also after everything was forgotten.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node/series_memo.h"
#include "storage/block/block.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static struct memo_series *add(struct series_memo *memo, const char *database, unsigned number)
{
    char head[64], value[32];
    struct tag tag = {text("host"), {value, 0}};
    struct memo_series *series = NULL;

    tag.value.size = (size_t)snprintf(value, sizeof value, "h%u", number);
    (void)snprintf(head, sizeof head, "cpu,host=%s", value);
    cr_assert_eq(
        series_memo_add(memo, text(database), text(head), text("cpu"), &tag, 1, 8, &series),
        ERR_OK);
    return series;
}

Test(series_memo, finds_each_series_by_its_head_and_database)
{
    struct series_memo memo;
    struct memo_series *first, *other;

    series_memo_init(&memo, 1 << 30);
    for (unsigned i = 0; i < 10000; i++)
        cr_assert_eq(add(&memo, "a", i)->id, BLOCK_ID_NONE);
    first = series_memo_find(&memo, text("a"), text("cpu,host=h77"));
    cr_assert_not_null(first);
    cr_assert_null(series_memo_find(&memo, text("b"), text("cpu,host=h77")));
    other = add(&memo, "b", 77);
    cr_assert_neq(first, other);
    cr_assert_eq(series_memo_find(&memo, text("b"), text("cpu,host=h77")), other);
    cr_assert_eq(series_memo_find(&memo, text("a"), text("cpu,host=h77")), first);
    cr_assert_neq(first->key_hash, other->key_hash);
    cr_assert_eq(first->shard, key_shard(first->key_hash, 8));
    series_memo_fini(&memo);
}

Test(series_memo, a_tag_names_its_series_until_it_is_forgotten)
{
    struct series_memo memo;
    uint64_t tag;

    series_memo_init(&memo, 100000);
    tag = add(&memo, "a", 1)->tag;
    cr_assert_eq(series_memo_by_tag(&memo, tag),
                 series_memo_find(&memo, text("a"), text("cpu,host=h1")));
    for (unsigned i = 2; memo.generation == 0; i++)
        (void)add(&memo, "a", i);
    cr_assert_null(series_memo_by_tag(&memo, tag));
    cr_assert_null(series_memo_find(&memo, text("a"), text("cpu,host=h1")));
    series_memo_fini(&memo);
}

Test(series_memo, a_repeated_tag_and_a_long_name_are_refused)
{
    static char name[NAME_SIZE_MAX + 1];
    struct tag tags[2] = {{text("x"), text("1")}, {text("x"), text("2")}};
    struct series_memo memo;
    struct memo_series *series;

    series_memo_init(&memo, 1 << 20);
    cr_assert_eq(
        series_memo_add(&memo, text("d"), text("t,x=1,x=2"), text("t"), tags, 2, 1, &series),
        ERR_INVALID);
    memset(name, 'n', sizeof name);
    tags[1].name = (struct slice){name, sizeof name};
    cr_assert_eq(series_memo_add(&memo, text("d"), text("t"), text("t"), tags, 2, 1, &series),
                 ERR_LIMIT);
    cr_assert_eq(memo.count, 0);
    series_memo_fini(&memo);
}

Test(series_memo, fields_are_found_at_their_place_and_elsewhere)
{
    struct series_memo memo;
    struct memo_table *table;

    series_memo_init(&memo, 1 << 20);
    table = add(&memo, "d", 1)->table;
    cr_assert_eq(series_memo_add_field(&memo, table, 0, text("a"), FIELD_FLOAT), ERR_OK);
    cr_assert_eq(series_memo_add_field(&memo, table, 1, text("b"), FIELD_INT), ERR_OK);
    cr_assert_eq(series_memo_add_field(&memo, table, 0, text("c"), FIELD_BOOL), ERR_OK);
    cr_assert_eq(series_memo_find_field(table, 0, text("c")), FIELD_BOOL);
    cr_assert_eq(series_memo_find_field(table, 9, text("a")), FIELD_FLOAT);
    cr_assert_eq(series_memo_find_field(table, 0, text("b")), FIELD_INT);
    cr_assert_eq(series_memo_find_field(table, 0, text("d")), 0);
    series_memo_fini(&memo);
}
