#include "storage/catalog_folder.h"

#include "storage/catalog_file.h"
#include "storage/catalog_run.h"

enum err catalog_folder_load(const struct disk *disk, const char *dir,
                             const struct manifest *manifest, struct catalog_folder *ret_folder)
{
    struct catalog_folder folder = {0};
    enum err err = catalog_new(&folder.catalog);

    for (uint32_t i = 0; i < manifest->catalog.count && err == ERR_OK; i++) {
        struct catalog_run *run = NULL;

        err = catalog_file_open(disk, dir, manifest->shard, &manifest->catalog.files[i], &run);
        if (err == ERR_OK) {
            err = catalog_load(folder.catalog, run);
            if (err != ERR_OK) {
                char name[CATALOG_FILE_NAME_SIZE];

                catalog_file_name(&manifest->catalog.files[i], name);
                err = err_wrap(err, "%s/%s", dir, name);
            }
        }
        catalog_run_unref(run);
    }
    if (err != ERR_OK) {
        catalog_free(folder.catalog);
        return err;
    }
    folder.view = catalog_view(folder.catalog);
    *ret_folder = folder;
    return ERR_OK;
}

enum err catalog_folder_open(const struct disk *disk, const char *dir,
                             struct catalog_folder *ret_folder)
{
    struct manifest manifest = {0};
    enum err err = manifest_load_any(disk, dir, &manifest);

    if (err != ERR_OK)
        return err;
    err = catalog_folder_load(disk, dir, &manifest, ret_folder);
    manifest_fini(&manifest);
    return err;
}

void catalog_folder_close(struct catalog_folder *folder)
{
    catalog_view_fini(&folder->view);
    if (folder->catalog != NULL)
        catalog_free(folder->catalog);
    *folder = (struct catalog_folder){0};
}

struct slice catalog_folder_key(const struct catalog_folder *folder, uint32_t id, char *room)
{
    if (id >= folder->view.count)
        return (struct slice){"", 0};
    return catalog_view_key(&folder->view, id, room);
}

struct slice catalog_folder_table_key(const struct catalog_folder *folder, uint32_t table)
{
    if (table >= folder->view.tables)
        return (struct slice){"", 0};
    return catalog_view_table_key(&folder->view, table);
}
