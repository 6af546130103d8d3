/*
 * With what a shard's store is opened, by whomever.
 */
#include <criterion/criterion.h>

#include "node/shard.h"
#include "node/shard_io.h"

/* The scrub opens a store again whose catalog was mended: its databases have their limits then. */
Test(shard_open, a_store_knows_the_limits_of_its_databases)
{
    static struct node node = {
        .shards = 4, .options.node.data_dir = "data", .options.storage.head_bytes_max = 4000};
    static struct worker worker = {.node = &node};
    struct shard shard = {.worker = &worker, .number = 3};
    const struct schema_database database = {.series_max = 10};
    const struct slice name = {"plant", 5};
    struct store_options options;
    char dir[64];

    cr_assert_eq(schema_map_set_database(&worker.schema, name, &database), ERR_OK);
    options = shard_store_options(&shard, dir, sizeof dir);
    cr_assert_str_eq(dir, "data/shard-2");
    cr_assert_eq(options.shard, 2);
    cr_assert_eq(options.head_bytes_max, 1000);
    cr_assert_eq(options.database_series_max(options.database_ctx, name), 3, "its part");
    cr_assert_eq(options.database_series_max(options.database_ctx, (struct slice){"other", 5}), 0);
    schema_map_fini(&worker.schema);
}
