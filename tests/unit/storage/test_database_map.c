#include <criterion/criterion.h>
#include <string.h>

#include "storage/database_map.h"
#include "tests/support/entries.h"

static struct catalog *catalog;

static void add(const char *table, const char *host)
{
    struct key_parts parts;
    char key[256];
    size_t size = entries_key(table, host, key);

    cr_assert_eq(key_parse(key, size, &parts), 0);
    cr_assert_eq(
        catalog_add(catalog, (struct slice){key, size}, parts.table_key_size, key_hash(key, size)),
        ERR_OK);
}

Test(database_map, numbers_databases_by_their_first_series)
{
    struct database_map map = {0};
    struct catalog_view view;

    cr_assert_eq(catalog_new(&catalog), ERR_OK);
    add("b/cpu", "1");
    add("a/cpu", "1");
    add("b/mem", "1");
    add("c/cpu", "1"); /* Tentative: not of the view. */
    for (int i = 0; i < 3; i++)
        catalog_confirm(catalog);
    view = catalog_view(catalog);
    cr_assert_eq(database_map_extend(&map, &view), ERR_OK);
    catalog_view_fini(&view);
    cr_assert_eq(map.tables, 3);
    cr_assert_eq(map.count, 2);
    cr_assert_eq(map.of_table[0], 0);
    cr_assert_eq(map.of_table[1], 1);
    cr_assert_eq(map.of_table[2], 0);
    cr_assert_eq(database_map_find(&map, (struct slice){"a", 1}), 1);
    cr_assert_eq(database_map_find(&map, (struct slice){"c", 1}), DATABASE_NONE);
    catalog_confirm(catalog);
    view = catalog_view(catalog);
    cr_assert_eq(database_map_extend(&map, &view), ERR_OK);
    catalog_view_fini(&view);
    cr_assert_eq(database_map_find(&map, (struct slice){"c", 1}), 2);
    database_map_fini(&map);
    catalog_free(catalog);
}

Test(database_map, finds_the_name_in_a_key)
{
    char key[256];
    size_t size = entries_key("plant/cpu", "a", key);
    struct slice name = database_map_name((struct slice){key, size});

    cr_assert_eq(name.size, 5);
    cr_assert_eq(memcmp(name.data, "plant", 5), 0);
    cr_assert_eq(database_map_name((struct slice){"\x7f", 1}).size, 0);
}
