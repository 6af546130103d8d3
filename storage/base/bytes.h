/*
 * bytes.h - write little-endian numbers and strings into a growing array, and read them back from
 * bytes that nobody vouches for.
 *
 * Writing: a failed allocation is remembered, later writes do nothing, and bytes_failed() tells at
 * the end. Reading: the first read past the end, or an over-long string, sets `bad`; all later
 * reads give zero and "". So a decoder reads all its fields and asks once.
 *
 *     struct reader r = reader_on(data, size);
 *     m->shard = reader_u32(&r);
 *     m->name = reader_string(&r, NAME_MAX, &m->name_size);      borrowed from `data`
 *     if (!reader_done(&r)) return err_set(ERR_INVALID, ...);
 */
#ifndef STORAGE_BASE_BYTES_H
#define STORAGE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data; /* Owned. */
    size_t size;
    size_t capacity;
    bool failed; /* No memory at some point: what `data` holds is incomplete. */
};

void bytes_fini(struct bytes *bytes); /* Frees; a zeroed struct is empty and valid. */
static inline void bytes_clear(struct bytes *bytes)
{
    bytes->size = 0;
    bytes->failed = false;
}
/** Room for `size` more bytes, counted as used; NULL when there is no memory. */
uint8_t *bytes_add(struct bytes *bytes, size_t size);
void bytes_put(struct bytes *bytes, const void *data, size_t size);
void bytes_put_u8(struct bytes *bytes, uint8_t value);
void bytes_put_u16(struct bytes *bytes, uint16_t value);
void bytes_put_u32(struct bytes *bytes, uint32_t value);
void bytes_put_u64(struct bytes *bytes, uint64_t value);
void bytes_put_varint(struct bytes *bytes, uint64_t value);
void bytes_put_string(struct bytes *bytes, const void *data, size_t size); /* varint size, bytes */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct reader reader_on(const void *data, size_t size)
{
    return (struct reader){data, (const uint8_t *)data + size, false};
}
static inline size_t reader_left(const struct reader *reader)
{
    return reader->bad ? 0 : (size_t)(reader->end - reader->at);
}
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
uint64_t reader_varint(struct reader *reader);
/** `size` bytes, borrowed; NULL and bad if there are fewer. */
const uint8_t *reader_take(struct reader *reader, size_t size);
/** A varint size of at most `max`, then so many bytes, borrowed. */
const char *reader_string(struct reader *reader, size_t max, size_t *ret_size);
/** All bytes were read, and none was missing. */
static inline bool reader_done(const struct reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}

#endif
