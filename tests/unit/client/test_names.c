/*
 * Tables, fields and series: one thing, one number, however it is named.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/names.h"
#include "storage/block/block.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static struct names *new_names(uint32_t shards)
{
    struct names *names;

    cr_assert_eq(names_new(text("plant"), shards, &names), ERR_OK);
    return names;
}

Test(names, makes_canonical_keys)
{
    struct names *names = new_names(4);
    struct tag tags[] = {{text("host"), text("a")}, {text("cpu"), text("0")}};
    const struct series *series;
    struct key_parts parts;
    uint32_t number;

    cr_assert_eq(names_series(names, text("cpu"), tags, 2, &number), ERR_OK);
    series = names_series_at(names, number);
    cr_assert_eq(key_parse(series->key, series->key_size, &parts), 0);
    cr_assert_eq(parts.tag_count, 2);
    cr_assert_eq(memcmp(parts.tags[0].name.data, "cpu", 3), 0, "tags are sorted");
    cr_assert_eq(series->hash, key_hash(series->key, series->key_size));
    cr_assert_eq(series->shard, key_shard(series->hash, 4));
    cr_assert_eq(series->id, BLOCK_ID_NONE);
    cr_assert_eq(names_table(names, series->table)->key_size, parts.table_key_size);
    cr_assert_eq(names_table(names, series->table)->name.size, 3);
    names_free(names);
}

Test(names, leaves_series_where_they_are_when_more_come)
{
    struct names *names = new_names(1);
    struct series *first = NULL;
    char host[16];

    for (uint32_t i = 0; i < 20000; i++) {
        struct tag tag = {text("host"), {host, 0}};
        uint32_t number;

        tag.value.size = (size_t)snprintf(host, sizeof host, "h%u", (unsigned)i);
        cr_assert_eq(names_series(names, text("cpu"), &tag, 1, &number), ERR_OK);
        cr_assert_eq(number, i);
        if (i == 0)
            first = names_series_at(names, 0);
    }
    cr_assert_eq(names_series_count(names), 20000);
    cr_assert_eq(names_series_at(names, 0), first);
    cr_assert_null(names_series_at(names, 20000));
    names_free(names);
}

Test(names, finds_fields_in_any_order_of_asking)
{
    struct names *names = new_names(1);
    struct table *table;
    struct field *field;
    uint32_t series;
    char name[16];

    cr_assert_eq(names_series(names, text("cpu"), NULL, 0, &series), ERR_OK);
    table = names_table(names, names_series_at(names, series)->table);
    for (unsigned i = 0; i < FIELD_COUNT_MAX; i++) {
        int size = snprintf(name, sizeof name, "f%u", i);

        cr_assert_eq(names_field(table, name, (size_t)size, &field), ERR_OK);
        cr_assert_eq(field->type, 0);
        field->type = i % 2 ? FIELD_INT : FIELD_FLOAT;
    }
    for (unsigned i = 0; i < 5000; i++) {
        unsigned at = i * 7919 % FIELD_COUNT_MAX;
        int size = snprintf(name, sizeof name, "f%u", at);

        cr_assert_eq(names_field(table, name, (size_t)size, &field), ERR_OK);
        cr_assert_eq(field->type, at % 2 ? FIELD_INT : FIELD_FLOAT);
    }
    cr_assert_eq(names_field(table, "more", 4, &field), ERR_LIMIT);
    cr_assert_eq(names_field(table, "", 0, &field), ERR_INVALID);
    names_free(names);
}

Test(names, refuses_names_that_are_too_long)
{
    struct names *names = new_names(1);
    char longer[NAME_SIZE_MAX + 2];
    struct tag tag = {text("host"), {longer, NAME_SIZE_MAX + 1}};
    uint32_t series;

    memset(longer, 'x', sizeof longer);
    cr_assert_eq(names_series(names, text("cpu"), &tag, 1, &series), ERR_LIMIT);
    cr_assert_not_null(strstr(err_detail(), "host"), "%s", err_detail());
    cr_assert_eq(names_series(names, tag.value, NULL, 0, &series), ERR_LIMIT);
    tag.value.size = NAME_SIZE_MAX;
    cr_assert_eq(names_series(names, text("cpu"), &tag, 1, &series), ERR_OK);
    names_free(names);
}
