#include "storage/block/tombstone.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

void tombstone_put(const struct tombstone *tombstone, struct bytes *out)
{
    CHECK(tombstone->condition_count <= TOMBSTONE_CONDITIONS_MAX);
    bytes_put_string(out, tombstone->table_key.data, tombstone->table_key.size);
    bytes_put_u64(out, (uint64_t)tombstone->first_ns);
    bytes_put_u64(out, (uint64_t)tombstone->last_ns);
    bytes_put_u32(out, tombstone->condition_count);
    for (uint32_t i = 0; i < tombstone->condition_count; i++) {
        struct slice tag = tombstone->conditions[i].tag;
        struct slice value = tombstone->conditions[i].value;

        bytes_put_string(out, tag.data, tag.size);
        bytes_put_string(out, value.data, value.size);
        bytes_put_u8(out, tombstone->conditions[i].negate);
    }
}

/* A database's name and a table's, and nothing behind them. */
static bool is_table_key(struct slice key)
{
    struct reader reader = reader_on(key.data, key.size);
    size_t database, table;

    (void)reader_string(&reader, NAME_SIZE_MAX, &database);
    (void)reader_string(&reader, NAME_SIZE_MAX, &table);
    return reader_done(&reader) && database > 0 && table > 0;
}

enum err tombstone_get(const void *bytes, size_t size, struct tombstone *ret)
{
    struct reader reader = reader_on(bytes, size);
    struct tombstone tombstone = {.index = 0};
    uint8_t negate = 0;

    if (size > TOMBSTONE_SIZE_MAX)
        return err_set(ERR_INVALID, "a delete of %zu bytes", size);
    tombstone.table_key.data = reader_string(&reader, KEY_SIZE_MAX, &tombstone.table_key.size);
    tombstone.first_ns = (int64_t)reader_u64(&reader);
    tombstone.last_ns = (int64_t)reader_u64(&reader);
    tombstone.condition_count = reader_u32(&reader);
    if (reader.bad || tombstone.condition_count > TOMBSTONE_CONDITIONS_MAX)
        return err_set(ERR_INVALID, "a delete with %u conditions, at most %d are allowed",
                       tombstone.condition_count, (int)TOMBSTONE_CONDITIONS_MAX);
    for (uint32_t i = 0; i < tombstone.condition_count && negate <= 1; i++) {
        struct slice *tag = &tombstone.conditions[i].tag;
        struct slice *value = &tombstone.conditions[i].value;

        tag->data = reader_string(&reader, NAME_SIZE_MAX, &tag->size);
        value->data = reader_string(&reader, NAME_SIZE_MAX, &value->size);
        negate = reader_u8(&reader);
        tombstone.conditions[i].negate = negate == 1;
    }
    if (!reader_done(&reader) || negate > 1 || !is_table_key(tombstone.table_key))
        return err_set(ERR_INVALID, "a delete of %zu bytes is cut, or names no table", size);
    if (tombstone.first_ns > tombstone.last_ns)
        return err_set(ERR_INVALID, "a delete of no time: it ends before it begins");
    *ret = tombstone;
    return ERR_OK;
}

static struct slice tag_of(const struct key_parts *parts, struct slice name)
{
    for (size_t i = 0; i < parts->tag_count; i++) {
        struct slice own = parts->tags[i].name;

        if (own.size == name.size && memcmp(own.data, name.data, name.size) == 0)
            return parts->tags[i].value;
    }
    return (struct slice){"", 0};
}

bool tombstone_matches(const struct tombstone *tombstone, struct slice series_key)
{
    struct key_parts parts;

    if (tombstone->condition_count == 0)
        return true;
    if (key_parse(series_key.data, series_key.size, &parts) != 0)
        return false;
    for (uint32_t i = 0; i < tombstone->condition_count; i++) {
        struct slice value = tag_of(&parts, tombstone->conditions[i].tag);
        struct slice wanted = tombstone->conditions[i].value;
        bool equal = value.size == wanted.size && memcmp(value.data, wanted.data, value.size) == 0;

        if (equal == tombstone->conditions[i].negate)
            return false;
    }
    return true;
}

/* ---- Lists --------------------------------------------------------------------------------- */

void tombstones_add(struct bytes *list, uint64_t index, struct slice tombstone)
{
    bytes_put_u64(list, index);
    bytes_put_string(list, tombstone.data, tombstone.size);
}

bool tombstones_next(struct reader *list, struct tombstone *ret_tombstone, struct slice *ret_bytes)
{
    struct slice bytes;
    uint64_t index;

    if (reader_left(list) == 0)
        return false;
    index = reader_u64(list);
    bytes.data = reader_string(list, TOMBSTONE_SIZE_MAX, &bytes.size);
    if (list->bad)
        return false;
    if (ret_tombstone != NULL) {
        enum err err = tombstone_get(bytes.data, bytes.size, ret_tombstone);

        CHECK(err == ERR_OK);
        ret_tombstone->index = index;
    }
    if (ret_bytes != NULL)
        *ret_bytes = bytes;
    return true;
}

uint32_t tombstones_count(const struct bytes *list)
{
    struct reader reader = reader_on(list->data, list->size);
    uint32_t count = 0;

    while (tombstones_next(&reader, NULL, NULL))
        count++;
    return count;
}

enum err tombstones_parse(const struct bytes *list, uint64_t upto,
                          struct tombstone **ret_tombstones, uint32_t *ret_count)
{
    uint32_t count = tombstones_count(list), at = 0;
    struct tombstone *tombstones = calloc((size_t)count + 1, sizeof *tombstones);
    struct reader reader = reader_on(list->data, list->size);

    if (tombstones == NULL)
        return err_set(ERR_NO_MEMORY, "a list of %u deletes", count);
    while (at < count && tombstones_next(&reader, &tombstones[at], NULL) &&
           tombstones[at].index <= upto)
        at++;
    *ret_tombstones = tombstones;
    *ret_count = at;
    return ERR_OK;
}

enum err tombstones_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint64_t before = 0;

    while (reader_left(&reader) > 0) {
        struct tombstone tombstone;
        struct slice one;
        uint64_t index = reader_u64(&reader);

        one.data = reader_string(&reader, TOMBSTONE_SIZE_MAX, &one.size);
        if (reader.bad || index < before || tombstone_get(one.data, one.size, &tombstone) != ERR_OK)
            return err_set(ERR_CORRUPT, "a delete in the list of them is damaged");
        before = index;
    }
    return reader_done(&reader) ? ERR_OK : err_set(ERR_CORRUPT, "a list of deletes ends early");
}
