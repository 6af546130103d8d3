#include "node/rejoin_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/base/twin.h"

#define MAGIC 0x314a524du /* "MRJ1" */

enum {
    VERSION = 1,
    SIZE_MAX_BYTES = 1025 * (REJOIN_CONFIGURATION_MAX + 64), /* Bounds what a reader allocates. */
};

enum err rejoin_list_init(struct rejoin_list *list, uint32_t groups)
{
    *list = (struct rejoin_list){.count = groups};
    list->entries = calloc(groups, sizeof *list->entries);
    return list->entries != NULL ? ERR_OK : err_set(ERR_NO_MEMORY, "%" PRIu32 " groups", groups);
}

void rejoin_list_fini(struct rejoin_list *list)
{
    for (uint32_t i = 0; i < list->count && list->entries != NULL; i++)
        bytes_fini(&list->entries[i].configuration);
    free(list->entries);
    *list = (struct rejoin_list){0};
}

bool rejoin_list_is_empty(const struct rejoin_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->entries[i].state != REJOIN_NOT)
            return false;
    return true;
}

void rejoin_list_set(struct rejoin_list *list, uint32_t group, enum rejoin_state state)
{
    bytes_fini(&list->entries[group].configuration);
    list->entries[group] = (struct rejoin_entry){.state = state};
}

/* ---- Bytes --------------------------------------------------------------------------------- */

static void put_entry(uint32_t group, const struct rejoin_entry *entry, struct bytes *out)
{
    bytes_put_u32(out, group);
    bytes_put_u8(out, (uint8_t)entry->state);
    if (entry->state != REJOIN_READY)
        return;
    bytes_put_u64(out, entry->index);
    bytes_put_u64(out, entry->term);
    bytes_put_u64(out, entry->configuration_index);
    bytes_put_u64(out, entry->until);
    bytes_put_u64(out, entry->until_term);
    bytes_put_string(out, entry->configuration.data, entry->configuration.size);
}

void rejoin_list_encode(const struct rejoin_list *list, struct bytes *out)
{
    uint32_t count = 0, crc;

    for (uint32_t i = 0; i < list->count; i++)
        count += list->entries[i].state != REJOIN_NOT;
    bytes_put_u32(out, MAGIC);
    bytes_put_u32(out, 0);
    bytes_put_u32(out, VERSION);
    bytes_put_u32(out, count);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->entries[i].state != REJOIN_NOT)
            put_entry(i, &list->entries[i], out);
    if (out->failed)
        return;
    crc = crc32c(0, out->data + 8, out->size - 8);
    memcpy(out->data + 4, &crc, sizeof crc);
}

static enum err check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t magic = reader_u32(&reader);
    uint32_t crc = reader_u32(&reader);

    if (reader.bad || magic != MAGIC || crc != crc32c(0, (const uint8_t *)bytes + 8, size - 8))
        return err_set(ERR_CORRUPT, "%zu bytes with a wrong checksum", size);
    return ERR_OK;
}

static enum err get_entry(struct reader *reader, struct rejoin_list *list, uint32_t from,
                          uint32_t *ret_group)
{
    uint32_t group = reader_u32(reader);
    uint8_t state = reader_u8(reader);
    struct rejoin_entry *entry;
    const char *configuration;
    size_t size;

    if (reader->bad || group < from || state < REJOIN_LOST || state > REJOIN_BARE)
        return err_set(ERR_CORRUPT, "group %" PRIu32 " in state %u", group, state);
    if (group >= list->count)
        return err_set(ERR_INVALID, "group %" PRIu32 ", but only %" PRIu32 " are configured", group,
                       list->count);
    *ret_group = group;
    rejoin_list_set(list, group, (enum rejoin_state)state);
    if (state != REJOIN_READY)
        return ERR_OK;
    entry = &list->entries[group];
    entry->index = reader_u64(reader);
    entry->term = reader_u64(reader);
    entry->configuration_index = reader_u64(reader);
    entry->until = reader_u64(reader);
    entry->until_term = reader_u64(reader);
    configuration = reader_string(reader, REJOIN_CONFIGURATION_MAX, &size);
    if (reader->bad)
        return err_set(ERR_CORRUPT, "group %" PRIu32 " ends too early", group);
    bytes_put(&entry->configuration, configuration, size);
    return entry->configuration.failed
               ? err_set(ERR_NO_MEMORY, "a configuration of %zu bytes", size)
               : ERR_OK;
}

enum err rejoin_list_decode(const void *bytes, size_t size, struct rejoin_list *list)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t version, count, from = 0;
    enum err err = check(bytes, size);

    if (err != ERR_OK)
        return err;
    (void)reader_u64(&reader); /* Magic and sum. */
    version = reader_u32(&reader);
    if (version != VERSION)
        return err_set(ERR_VERSION, "written in version %" PRIu32 ", this program reads %d",
                       version, (int)VERSION);
    count = reader_u32(&reader);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        uint32_t group = 0;

        err = get_entry(&reader, list, from, &group);
        from = group + 1;
    }
    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_CORRUPT, "%zu bytes for %" PRIu32 " groups", size, count);
    return err;
}

/* ---- File ---------------------------------------------------------------------------------- */

static enum err remove_one(const struct disk *disk, const char *dir, const char *name)
{
    char path[4096];
    enum err err;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    err = disk->remove(disk->ctx, path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* What a crash leaves of the two is read again: all that it says was done. */
static enum err remove_both(const struct disk *disk, const char *dir)
{
    enum err err = remove_one(disk, dir, REJOIN_FILE);

    if (err == ERR_OK)
        err = remove_one(disk, dir, REJOIN_FILE TWIN_SUFFIX);
    return err == ERR_OK ? disk->sync_dir(disk->ctx, dir) : err;
}

enum err rejoin_list_save(const struct rejoin_list *list, const struct disk *disk, const char *dir)
{
    struct bytes bytes = {0};
    enum err err;

    if (rejoin_list_is_empty(list))
        return remove_both(disk, dir);
    rejoin_list_encode(list, &bytes);
    err = bytes.failed ? err_set(ERR_NO_MEMORY, "the list of groups that rejoin")
                       : twin_save(disk, dir, REJOIN_FILE, bytes.data, bytes.size);
    bytes_fini(&bytes);
    return err;
}

enum err rejoin_list_load(struct rejoin_list *list, const struct disk *disk, const char *dir)
{
    uint8_t *bytes;
    size_t size;
    enum err err = twin_load(disk, dir, REJOIN_FILE, SIZE_MAX_BYTES, check, &bytes, &size);

    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err == ERR_OK) {
        err = rejoin_list_decode(bytes, size, list);
        free(bytes);
    }
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s/" REJOIN_FILE, dir);
}
