/*
 * The schema map: what is added is found, types never change, and its file notices damage.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node/meta.h"
#include "node/schema_map.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static void fill(struct schema_map *map, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char table[32], field[32];

        (void)snprintf(table, sizeof table, "table%u", i % 7);
        (void)snprintf(field, sizeof field, "field%u", i);
        cr_assert_eq(schema_map_add(map, text(table), text(field),
                                    (enum field_type)(1 + i % (FIELD_TYPE_END - 1))),
                     ERR_OK);
    }
}

Test(schema_map, finds_what_was_added_after_it_has_grown)
{
    struct schema_map map = {0};

    fill(&map, 5000);
    cr_assert_eq(map.count, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        char table[32], field[32];

        (void)snprintf(table, sizeof table, "table%u", i % 7);
        (void)snprintf(field, sizeof field, "field%u", i);
        cr_assert_eq(schema_map_find(&map, text(table), text(field)), 1 + i % (FIELD_TYPE_END - 1));
    }
    cr_assert_eq(schema_map_find(&map, text("table0"), text("field1")), 0);
    schema_map_fini(&map);
}

Test(schema_map, the_first_type_of_a_field_stays)
{
    struct schema_map map = {0};

    cr_assert_eq(schema_map_find(&map, text("t"), text("f")), 0);
    cr_assert_eq(schema_map_add(&map, text("t"), text("f"), FIELD_INT), ERR_OK);
    cr_assert_eq(schema_map_add(&map, text("t"), text("f"), FIELD_STRING), ERR_OK);
    cr_assert_eq(schema_map_find(&map, text("t"), text("f")), FIELD_INT);
    cr_assert_eq(map.count, 1);
    schema_map_fini(&map);
}

Test(schema_map, a_table_and_a_field_are_not_mixed_up)
{
    struct schema_map map = {0};

    cr_assert_eq(schema_map_add(&map, text("ab"), text("c"), FIELD_INT), ERR_OK);
    cr_assert_eq(schema_map_add(&map, text("c"), text("ab"), FIELD_BOOL), ERR_OK);
    cr_assert_eq(schema_map_find(&map, text("a"), text("bc")), 0);
    cr_assert_eq(schema_map_find(&map, text("ab"), text("c")), FIELD_INT);
    cr_assert_eq(schema_map_find(&map, text("c"), text("ab")), FIELD_BOOL);
    schema_map_fini(&map);
}

Test(schema_map, databases_are_kept_once_and_bounded)
{
    struct schema_map map = {0};
    char name[32];

    for (int i = 0; i < SCHEMA_DATABASES_MAX; i++) {
        (void)snprintf(name, sizeof name, "db%d", i);
        cr_assert_eq(schema_map_add_database(&map, text(name)), ERR_OK);
    }
    cr_assert_eq(schema_map_add_database(&map, text("db7")), ERR_OK);
    cr_assert_eq(map.database_count, SCHEMA_DATABASES_MAX);
    cr_assert_eq(schema_map_add_database(&map, text("one more")), ERR_LIMIT);
    cr_assert(schema_map_has_database(&map, text("db4095")));
    cr_assert_not(schema_map_has_database(&map, text("db")));
    schema_map_fini(&map);
}

Test(schema_map, a_dropped_database_keeps_its_place_and_forgets_its_cutoffs)
{
    const struct schema_database dropped = {.retention_ns = 5, .drop = 9, .dropped = true};
    const struct schema_database again = {.drop = 9};
    struct schema_map map = {0};

    cr_assert_eq(schema_map_add_database(&map, text("plant")), ERR_OK);
    cr_assert_eq(schema_map_cut(&map, text("plant"), 2, 4, 77), ERR_OK);
    cr_assert_eq(schema_map_database(&map, text("plant"))->cutoffs_ns[2], 77);
    cr_assert_eq(schema_map_database(&map, text("plant"))->cutoffs_ns[1], INT64_MIN);
    cr_assert_eq(schema_map_set_database(&map, text("plant"), &dropped), ERR_OK);
    cr_assert_not(schema_map_has_database(&map, text("plant")));
    cr_assert_null(schema_map_database(&map, text("plant"))->cutoffs_ns);
    cr_assert_eq(map.dropped_count, 1);
    cr_assert_eq(schema_map_add_database(&map, text("plant")), ERR_OK);
    cr_assert_not(schema_map_has_database(&map, text("plant")), "only an order makes it again");
    cr_assert_eq(schema_map_set_database(&map, text("plant"), &again), ERR_OK);
    cr_assert(schema_map_has_database(&map, text("plant")));
    cr_assert_eq(map.dropped_count, 0);
    cr_assert_eq(map.database_count, 1);
    schema_map_fini(&map);
}

Test(schema_map, windows_are_a_24th_of_the_retention_or_less)
{
    const int64_t minute_ns = INT64_C(60000000000);

    cr_assert_eq(schema_map_window_ns(0), 1440 * minute_ns);
    cr_assert_eq(schema_map_window_ns(1), minute_ns);
    cr_assert_eq(schema_map_window_ns(60 * 60 * UINT64_C(1000000000)), 2 * minute_ns);
    cr_assert_eq(schema_map_window_ns(24 * 60 * 60 * UINT64_C(1000000000)), 60 * minute_ns);
    cr_assert_eq(schema_map_window_ns(30 * 86400 * UINT64_C(1000000000)), 1440 * minute_ns);
}

Test(meta, what_is_saved_comes_back)
{
    struct schema_map map = {0}, back = {0};
    struct bytes bytes = {0};
    uint64_t applied = 0;

    fill(&map, 300);
    cr_assert_eq(schema_map_add_database(&map, text("plant")), ERR_OK);
    meta_encode(&map, 4711, &bytes);
    cr_assert_eq(meta_decode(bytes.data, bytes.size, &back, &applied), ERR_OK);
    cr_assert_eq(applied, 4711);
    cr_assert_eq(back.count, map.count);
    cr_assert(schema_map_has_database(&back, text("plant")));
    for (uint32_t i = 0; i < map.capacity; i++) {
        const struct schema_field *field = &map.slots[i];

        if (field->type != 0)
            cr_assert_eq(schema_map_find(&back,
                                         (struct slice){field->table_key, field->table_key_size},
                                         (struct slice){field->name, field->name_size}),
                         field->type);
    }
    schema_map_fini(&map);
    schema_map_fini(&back);
    bytes_fini(&bytes);
}

Test(meta, every_flipped_bit_and_every_cut_is_noticed)
{
    struct schema_map map = {0}, back = {0};
    struct bytes bytes = {0};
    uint64_t applied;

    fill(&map, 5);
    cr_assert_eq(schema_map_add_database(&map, text("plant")), ERR_OK);
    meta_encode(&map, 9, &bytes);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(meta_decode(bytes.data, bytes.size, &back, &applied), ERR_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(meta_decode(bytes.data, size, &back, &applied), ERR_CORRUPT);
    schema_map_fini(&map);
    bytes_fini(&bytes);
}
