/*
 * Canonical keys: one series has one spelling, and nothing else is taken for a key.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/base/types.h"

static struct slice word(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static void assert_word(struct slice slice, const char *text)
{
    cr_assert_eq(slice.size, strlen(text));
    cr_assert_arr_eq(slice.data, text, slice.size);
}

Test(types, names_every_field_type_and_admits_not_to_know_others)
{
    cr_assert_str_eq(field_type_name(FIELD_FLOAT), "float");
    cr_assert_str_eq(field_type_name(FIELD_STRING), "string");
    cr_assert_str_eq(field_type_name(0), "unknown");
    cr_assert_str_eq(field_type_name(FIELD_TYPE_END), "unknown");
    cr_assert_str_eq(field_type_name(4000000000), "unknown");
}

Test(types, spreads_hashes_over_exactly_the_shards_there_are)
{
    cr_assert_eq(key_shard(0, 7), 0);
    cr_assert_eq(key_shard(UINT64_MAX, 7), 6);
    cr_assert_eq(key_shard(UINT64_MAX, 1), 0);
    /* Published XXH3-64 of the empty input with seed 0: shards must never move. */
    cr_assert_eq(key_hash("", 0), 0x2d06800538d394c2);
}

Test(types, writes_tags_in_one_order_whatever_order_they_come_in)
{
    struct tag tags[] = {
        {word("host"), word("a")}, {word("b"), word("")}, {word("hos"), word("x")}};
    struct tag swapped[] = {tags[2], tags[0], tags[1]};
    static const char expected[] = "\2db\3cpu\1b\0\3hos\1x\4host\1a";
    char key[64];
    char again[64];
    size_t size = key_write(word("db"), word("cpu"), tags, 3, key, sizeof key);

    cr_assert_eq(size, sizeof expected - 1);
    cr_assert_arr_eq(key, expected, size);
    cr_assert_eq(key_write(word("db"), word("cpu"), swapped, 3, again, sizeof again), size);
    cr_assert_arr_eq(again, expected, size);
}

Test(types, refuses_two_tags_of_one_name)
{
    struct tag tags[] = {{word("a"), word("1")}, {word("b"), word("2")}, {word("a"), word("3")}};
    char key[64];

    cr_assert_eq(key_write(word("db"), word("t"), tags, 3, key, sizeof key), 0);
}

Test(types, refuses_every_room_that_is_too_small_and_writes_nothing_behind_it)
{
    struct tag tags[] = {{word("host"), word("a1")}, {word("rack"), word("b2")}};
    char key[64];
    size_t size = key_write(word("db"), word("cpu"), tags, 2, key, sizeof key);

    cr_assert_neq(size, 0);
    for (size_t room = 0; room < size; room++) {
        memset(key, '#', sizeof key);
        cr_assert_eq(key_write(word("db"), word("cpu"), tags, 2, key, room), 0);
        for (size_t i = room; i < sizeof key; i++)
            cr_assert_eq(key[i], '#');
    }
    cr_assert_eq(key_write(word("db"), word("cpu"), tags, 2, key, size), size);
    cr_assert_eq(key_write_table(word("db"), word("cpu"), key, 6), 0);
    cr_assert_eq(key_write_table(word("db"), word("cpu"), key, 7), 7);
}

Test(types, takes_apart_what_it_wrote)
{
    struct tag tags[] = {{word("rack"), word("b2")}, {word("host"), word("a1")}};
    struct key_parts parts;
    char key[64];
    char table_key[64];
    size_t size = key_write(word("db"), word("cpu"), tags, 2, key, sizeof key);
    size_t table_size = key_write_table(word("db"), word("cpu"), table_key, sizeof table_key);

    cr_assert_eq(key_parse(key, size, &parts), 0);
    assert_word(parts.database, "db");
    assert_word(parts.table, "cpu");
    cr_assert_eq(parts.tag_count, 2);
    assert_word(parts.tags[0].name, "host");
    assert_word(parts.tags[0].value, "a1");
    assert_word(parts.tags[1].name, "rack");
    cr_assert_eq(parts.table_key_size, table_size);
    cr_assert_arr_eq(key, table_key, table_size);
    cr_assert_eq(key_parse(table_key, table_size, &parts), 0);
    cr_assert_eq(parts.tag_count, 0);
}

Test(types, refuses_keys_that_are_cut_unsorted_doubled_or_spelt_long)
{
    struct key_parts parts;
    static const char whole[] = "\2db\3cpu\4host\1a\4rack\1b";

    cr_assert_eq(key_parse(whole, sizeof whole - 1, &parts), 0);
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        /* Between two tags a cut key is a shorter key. */
        int expected = size == 7 || size == 14 ? 0 : -1;

        cr_assert_eq(key_parse(whole, size, &parts), expected, "size %zu", size);
    }
    cr_assert_eq(key_parse("\2db\3cpu\4rack\1b\4host\1a", 21, &parts), -1, "unsorted");
    cr_assert_eq(key_parse("\2db\3cpu\4host\1a\4host\1a", 21, &parts), -1, "doubled");
    cr_assert_eq(key_parse("\2db\x83\0cpu", 8, &parts), -1, "long spelling of 3");
    cr_assert_eq(key_parse("\2db\3cp", 6, &parts), -1, "size past the end");
    cr_assert_eq(key_parse("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10, &parts), -1, "huge size");
}

Test(types, refuses_keys_over_the_limits)
{
    static char key[KEY_SIZE_MAX + 8];
    static char name[NAME_SIZE_MAX + 1];
    struct tag tags[TAG_COUNT_MAX];
    char names[TAG_COUNT_MAX][4];
    struct key_parts parts;
    size_t size;

    memset(name, 'n', sizeof name);
    size = key_write_table(word("db"), (struct slice){name, NAME_SIZE_MAX}, key, sizeof key);
    cr_assert_eq(key_parse(key, size, &parts), 0);
    size = key_write_table(word("db"), (struct slice){name, NAME_SIZE_MAX + 1}, key, sizeof key);
    cr_assert_eq(key_parse(key, size, &parts), -1, "a name over the limit");

    for (int i = 0; i < TAG_COUNT_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "%02d", i % 100);
        tags[i] = (struct tag){word(names[i]), word("v")};
    }
    size = key_write(word("d"), word("t"), tags, TAG_COUNT_MAX, key, sizeof key);
    cr_assert_eq(key_parse(key, size, &parts), 0);
    memcpy(key + size, "\2zz\1v", 5);
    cr_assert_eq(key_parse(key, size + 5, &parts), -1, "a tag over the limit");
}

Test(types, what_parses_is_written_back_byte_for_byte)
{
    const char *from_env = getenv("SEED");
    unsigned seed = from_env != NULL ? (unsigned)strtoul(from_env, NULL, 10) : (unsigned)time(NULL);
    static const char whole[] = "\2db\3cpu\1a\1b\4host\1a\4rack\1b";
    unsigned parsed = 0;

    cr_log_info("SEED=%u", seed);
    for (int round = 0; round < 200000; round++) {
        char key[sizeof whole];
        char back[sizeof whole];
        struct key_parts parts;
        size_t size = sizeof whole - 1;

        memcpy(key, whole, sizeof whole);
        for (int hits = rand_r(&seed) % 3; hits >= 0; hits--)
            key[(size_t)rand_r(&seed) % size] = (char)(rand_r(&seed) % 8 * (rand_r(&seed) % 40));
        if (key_parse(key, size, &parts) != 0)
            continue;
        parsed++;
        cr_assert_eq(
            key_write(parts.database, parts.table, parts.tags, parts.tag_count, back, sizeof back),
            size);
        cr_assert_arr_eq(back, key, size);
    }
    cr_assert_gt(parsed, 100);
}
