#include "storage/base/types.h"

#include <stdbool.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"

const char *field_type_name(unsigned type)
{
    static const char *const names[FIELD_TYPE_END] = {
        [FIELD_FLOAT] = "float",  [FIELD_INT] = "integer",   [FIELD_UINT] = "unsigned",
        [FIELD_BOOL] = "boolean", [FIELD_STRING] = "string",
    };

    return type < FIELD_TYPE_END && names[type] != NULL ? names[type] : "unknown";
}

uint64_t key_hash(const void *key, size_t size)
{
    return XXH3_64bits(key, size);
}

/* Below, at or above zero as `a` sorts before, with or after `b`. */
static int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* The byte after the piece; NULL if it does not fit, or if `at` is NULL already. */
static uint8_t *put_slice(uint8_t *at, const uint8_t *end, struct slice slice)
{
    uint8_t size[VARINT_SIZE_MAX];
    size_t size_size = (size_t)(varint_put(size, slice.size) - size);

    if (at == NULL || size_size > (size_t)(end - at) || slice.size > (size_t)(end - at) - size_size)
        return NULL;
    memcpy(at, size, size_size);
    if (slice.size > 0)
        memcpy(at + size_size, slice.data, slice.size);
    return at + size_size + slice.size;
}

size_t key_write_table(struct slice database, struct slice table, void *out, size_t room)
{
    uint8_t *start = out;
    uint8_t *at = put_slice(start, start + room, database);

    at = put_slice(at, start + room, table);
    return at == NULL ? 0 : (size_t)(at - start);
}

size_t key_write(struct slice database, struct slice table, const struct tag *tags,
                 size_t tag_count, void *out, size_t room)
{
    const struct tag *sorted[TAG_COUNT_MAX];
    uint8_t *start = out;
    const uint8_t *end = start + room;
    uint8_t *at;

    CHECK(tag_count <= TAG_COUNT_MAX);

    /* Few, and nearly always sorted by the sender already: one comparison each then. */
    for (size_t i = 0; i < tag_count; i++) {
        size_t place = i;
        int order = 1;

        while (place > 0 && (order = slice_compare(tags[i].name, sorted[place - 1]->name)) < 0) {
            sorted[place] = sorted[place - 1];
            place--;
        }
        if (order == 0)
            return 0;
        sorted[place] = &tags[i];
    }

    at = put_slice(start, end, database);
    at = put_slice(at, end, table);
    for (size_t i = 0; i < tag_count; i++) {
        at = put_slice(at, end, sorted[i]->name);
        at = put_slice(at, end, sorted[i]->value);
    }
    return at == NULL ? 0 : (size_t)(at - start);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* The byte after the piece; NULL if it is damaged, or if `at` is NULL already. */
static const uint8_t *get_slice(const uint8_t *at, const uint8_t *end, struct slice *ret_slice)
{
    uint8_t shortest[VARINT_SIZE_MAX];
    const uint8_t *after;
    uint64_t size = 0;

    if (at != NULL && at < end && *at < 0x80) { /* Nearly always: one byte, and the shortest. */
        size = *at++;
        if (size > (size_t)(end - at))
            return NULL;
        *ret_slice = (struct slice){(const char *)at, (size_t)size};
        return at + size;
    }
    after = at == NULL ? NULL : varint_get(at, end, &size);
    if (after == NULL || size > NAME_SIZE_MAX || size > (size_t)(end - after))
        return NULL;
    /* 0x81 0x00 spells 1 as well as 0x01 does: a second spelling would make one series two. */
    if (varint_put(shortest, size) - shortest != after - at)
        return NULL;
    *ret_slice = (struct slice){(const char *)after, (size_t)size};
    return after + size;
}

size_t key_table_size(const void *key, size_t size)
{
    const uint8_t *start = key;
    struct slice piece;
    const uint8_t *at = get_slice(start, start + size, &piece);

    at = get_slice(at, start + size, &piece);
    CHECK(at != NULL);
    return (size_t)(at - start);
}

int key_parse(const void *key, size_t size, struct key_parts *ret_parts)
{
    const uint8_t *at = key;
    const uint8_t *end = at + size;

    if (size > KEY_SIZE_MAX)
        return -1;
    ret_parts->tag_count = 0;
    at = get_slice(at, end, &ret_parts->database);
    at = get_slice(at, end, &ret_parts->table);
    if (at == NULL)
        return -1;
    ret_parts->table_key_size = (size_t)(at - (const uint8_t *)key);

    while (at != end) {
        struct tag *tag = &ret_parts->tags[ret_parts->tag_count];

        if (ret_parts->tag_count == TAG_COUNT_MAX)
            return -1;
        at = get_slice(at, end, &tag->name);
        at = get_slice(at, end, &tag->value);
        if (at == NULL)
            return -1;
        if (ret_parts->tag_count > 0 && slice_compare(tag[-1].name, tag->name) >= 0)
            return -1;
        ret_parts->tag_count++;
    }
    return 0;
}
