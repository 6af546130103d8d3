/*
 * The series of a folder that no store has open.
 */
#include <criterion/criterion.h>

#include "storage/base/dry_disk.h"
#include "storage/catalog_folder.h"
#include "tests/support/replica.h"

Test(catalog_folder, resolves_series_and_tables)
{
    const struct entries_value values[] = {{"cpu", "a", 1, "v", FIELD_INT, 1, NULL, 0},
                                           {"mem", "b", 1, "v", FIELD_INT, 1, NULL, 0}};
    static char room[CATALOG_KEY_ROOM];
    struct catalog_folder folder;
    struct key_parts parts;
    struct replica replica;
    struct slice key;
    struct dry_disk dry;
    const struct disk *disk;

    replica_init(&replica);
    disk = dry_disk_init(&dry, mem_disk_table(replica.disk));
    cr_assert_eq(catalog_folder_open(disk, "data", &folder), ERR_NOT_FOUND);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    replica_write(&replica, &(struct entries_from){0}, values, 2);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    replica_close(&replica);

    cr_assert_eq(catalog_folder_open(disk, "data", &folder), ERR_OK, "%s", err_detail());
    cr_assert_eq(folder.view.count, 2);
    key = catalog_folder_key(&folder, 1, room);
    cr_assert_eq(key_parse(key.data, key.size, &parts), 0);
    cr_assert_arr_eq(parts.table.data, "mem", 3);
    cr_assert_arr_eq(parts.tags[0].value.data, "b", 1);
    cr_assert_gt(catalog_folder_table_key(&folder, 1).size, 0);
    cr_assert_eq(catalog_folder_table_key(&folder, 2).size, 0);
    cr_assert_eq(catalog_folder_key(&folder, 2, room).size, 0);
    catalog_folder_close(&folder);
    mem_disk_flip(replica.disk, "data/manifest.mrm", 30, 1);
    mem_disk_flip(replica.disk, "data/manifest.mrm.copy", 30, 1);
    cr_assert_eq(catalog_folder_open(disk, "data", &folder), ERR_CORRUPT);
    replica_fini(&replica);
}
