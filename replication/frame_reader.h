/*
 * frame_reader.h - bytes as they come from a socket, back into whole frames.
 *
 *     bytes --> 24 of header --> payload, where it lies if all of it is there,
 *                                else in a buf of its own, which the socket then fills directly
 *           --> pieces (FRAME_MORE) put together
 *
 * A frame in pieces is one of the sender's bulk queue; whole frames may come in between, of another
 * type or request. A second frame in pieces at the same time is refused.
 *
 * Nothing is believed: sizes are checked before memory is taken, and at most one payload and one
 * frame in pieces of payload_max bytes each are held.
 *
 * Thread    One at a time.
 */
#ifndef REPLICATION_FRAME_READER_H
#define REPLICATION_FRAME_READER_H

#include <stdbool.h>

#include "client/wire/frame.h"
#include "storage/base/buf.h"

struct frame_reader { /* Zeroed, with payload_max set, is empty and valid. */
    uint32_t payload_max;
    struct frame_header header;
    uint8_t head[sizeof(struct frame_header)];
    uint32_t head_size;  /* Bytes of head that are there. */
    struct buf *payload; /* Owned: being filled. */
    struct buf *pieces;  /* Owned: a frame in pieces so far. */
    uint16_t pieces_type;
    uint64_t pieces_request;
};

/**
 * A whole frame, checked. An error ends the feeding with it.
 *
 * bytes    header->size of them, borrowed
 * payload  the buf that they are in, to be kept by a reference; NULL: they are in no buf
 */
typedef enum err (*frame_reader_cb)(void *arg, const struct frame_header *header,
                                    const uint8_t *bytes, struct buf *payload);

/**
 * Take in bytes and call `frame` for each frame that they complete.
 *
 * bytes   may be those that frame_reader_room() pointed to: then nothing is copied
 * Errors  ERR_INVALID, ERR_TOO_LARGE, ERR_CORRUPT, ERR_NO_MEMORY, or the callback's: the reader is
 *         of no use any more
 */
MUST_CHECK enum err frame_reader_feed(struct frame_reader *reader, const uint8_t *bytes,
                                      size_t size, frame_reader_cb frame, void *arg);

/** Memory that the next bytes of a large payload belong in. False: none, read elsewhere. */
bool frame_reader_room(const struct frame_reader *reader, uint8_t **ret_room, size_t *ret_size);

void frame_reader_fini(struct frame_reader *reader);

#endif
