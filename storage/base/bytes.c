#include "storage/base/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/varint.h"

/* ---- Writing ------------------------------------------------------------------------------- */

void bytes_fini(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

uint8_t *bytes_add(struct bytes *bytes, size_t size)
{
    if (bytes->failed)
        return NULL;
    if (size > bytes->capacity - bytes->size) {
        size_t need = bytes->size + size;
        size_t capacity = bytes->capacity < 256 ? 256 : bytes->capacity;
        uint8_t *data = NULL;

        if (size <= SIZE_MAX / 4 - bytes->size) { /* Else `need` or `capacity` could wrap. */
            while (capacity < need)
                capacity *= 2;
            data = realloc(bytes->data, capacity);
        }
        if (data == NULL) {
            bytes->failed = true;
            return NULL;
        }
        bytes->data = data;
        bytes->capacity = capacity;
    }
    bytes->size += size;
    return bytes->data + bytes->size - size;
}

void bytes_put(struct bytes *bytes, const void *data, size_t size)
{
    uint8_t *at = size > 0 ? bytes_add(bytes, size) : NULL;

    if (at != NULL)
        memcpy(at, data, size);
}

void bytes_put_u8(struct bytes *bytes, uint8_t value)
{
    bytes_put(bytes, &value, sizeof value);
}

void bytes_put_u16(struct bytes *bytes, uint16_t value)
{
    bytes_put(bytes, &value, sizeof value);
}

void bytes_put_u32(struct bytes *bytes, uint32_t value)
{
    bytes_put(bytes, &value, sizeof value);
}

void bytes_put_u64(struct bytes *bytes, uint64_t value)
{
    bytes_put(bytes, &value, sizeof value);
}

void bytes_put_varint(struct bytes *bytes, uint64_t value)
{
    uint8_t room[VARINT_SIZE_MAX];

    bytes_put(bytes, room, (size_t)(varint_put(room, value) - room));
}

void bytes_put_string(struct bytes *bytes, const void *data, size_t size)
{
    bytes_put_varint(bytes, size);
    bytes_put(bytes, data, size);
}

/* ---- Reading ------------------------------------------------------------------------------- */

const uint8_t *reader_take(struct reader *reader, size_t size)
{
    const uint8_t *at = reader->at;

    if (size > reader_left(reader)) {
        reader->bad = true;
        return NULL;
    }
    reader->at += size;
    return at;
}

static void take_number(struct reader *reader, void *ret, size_t size)
{
    const uint8_t *at = reader_take(reader, size);

    if (at != NULL)
        memcpy(ret, at, size);
}

uint8_t reader_u8(struct reader *reader)
{
    uint8_t value = 0;

    take_number(reader, &value, sizeof value);
    return value;
}

uint16_t reader_u16(struct reader *reader)
{
    uint16_t value = 0;

    take_number(reader, &value, sizeof value);
    return value;
}

uint32_t reader_u32(struct reader *reader)
{
    uint32_t value = 0;

    take_number(reader, &value, sizeof value);
    return value;
}

uint64_t reader_u64(struct reader *reader)
{
    uint64_t value = 0;

    take_number(reader, &value, sizeof value);
    return value;
}

uint64_t reader_varint(struct reader *reader)
{
    uint64_t value = 0;
    const uint8_t *after = reader->bad ? NULL : varint_get(reader->at, reader->end, &value);

    if (after == NULL) {
        reader->bad = true;
        return 0;
    }
    reader->at = after;
    return value;
}

const char *reader_string(struct reader *reader, size_t max, size_t *ret_size)
{
    uint64_t size = reader_varint(reader);
    const uint8_t *at = NULL;

    if (size > max)
        reader->bad = true;
    else
        at = reader_take(reader, (size_t)size);
    *ret_size = at == NULL ? 0 : (size_t)size;
    return at == NULL ? "" : (const char *)at;
}
