/*
 * buf.h - a counted piece of memory that several threads may hold: the bytes of one entry.
 *
 * A block travels in one buf from the socket it came from, through the group, the log writer and
 * the links, to the head. Nobody copies it; everybody who keeps it holds a reference. The bytes
 * may be written only while there is one holder (before the entry is proposed).
 *
 *     struct buf | refs | size | capacity | ...to 64 | bytes ......................... |
 *
 * Thread    buf_ref() and buf_unref() from any; the rest before the buf is shared.
 */
#ifndef STORAGE_BASE_BUF_H
#define STORAGE_BASE_BUF_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "storage/base/attrs.h"

struct buf {
    _Atomic uint32_t refs;
    uint32_t size;     /* Bytes in use, at most capacity. */
    uint32_t capacity; /* Bytes of room. */
    alignas(CACHE_LINE) uint8_t bytes[];
};

/** A buf with one reference and size 0; NULL if there is no memory. */
struct buf *buf_new(uint32_t capacity);

/** One more holder. Returns `buf`. */
struct buf *buf_ref(struct buf *buf);

/** One holder less; the last one frees the memory. NULL is allowed. */
void buf_unref(struct buf *buf);

#endif
