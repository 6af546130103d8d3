#include "replication/frame_reader.h"

#include <inttypes.h>
#include <string.h>

/* Below this a copy is cheaper than a read of its own. */
enum { ROOM_MIN = 16 * 1024 };

static struct buf *new_payload(uint32_t capacity)
{
    struct buf *payload = buf_new(capacity);

    if (payload == NULL)
        (void)err_set(ERR_NO_MEMORY, "frame of %" PRIu32 " bytes", capacity);
    return payload;
}

/* ---- Pieces -------------------------------------------------------------------------------- */

static bool continues(const struct frame_reader *reader, const struct frame_header *header)
{
    return reader->pieces != NULL && header->type == reader->pieces_type &&
           header->request == reader->pieces_request;
}

static enum err add_piece(struct frame_reader *reader, const struct frame_header *header,
                          const uint8_t *bytes)
{
    uint32_t have = reader->pieces == NULL ? 0 : reader->pieces->size;
    uint32_t need = have + header->size; /* Neither is above payload_max. */

    if (need > reader->payload_max)
        return err_set(ERR_TOO_LARGE, "frame of type %u in pieces: more than %" PRIu32 " bytes",
                       (unsigned)header->type, reader->payload_max);
    if (reader->pieces == NULL || need > reader->pieces->capacity) {
        uint64_t wanted = have == 0 ? need : 2 * (uint64_t)need;
        struct buf *grown =
            new_payload(wanted < reader->payload_max ? (uint32_t)wanted : reader->payload_max);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        if (have > 0)
            memcpy(grown->bytes, reader->pieces->bytes, have);
        grown->size = have;
        buf_unref(reader->pieces);
        reader->pieces = grown;
    }
    if (header->size > 0)
        memcpy(reader->pieces->bytes + have, bytes, header->size);
    reader->pieces->size = need;
    reader->pieces_type = header->type;
    reader->pieces_request = header->request;
    return ERR_OK;
}

static enum err last_piece(struct frame_reader *reader, frame_reader_cb frame, void *arg)
{
    struct buf *whole = reader->pieces;
    struct frame_header header = reader->header;
    enum err err;

    header.size = whole->size;
    reader->pieces = NULL;
    err = frame(arg, &header, whole->bytes, whole);
    buf_unref(whole);
    return err;
}

static enum err deliver(struct frame_reader *reader, const uint8_t *bytes, struct buf *payload,
                        frame_reader_cb frame, void *arg)
{
    const struct frame_header *header = &reader->header;
    bool more = (header->flags & FRAME_MORE) != 0;
    enum err err = frame_check_payload(header, bytes);

    if (err != ERR_OK)
        return err;
    if (!more && !continues(reader, header))
        return frame(arg, header, bytes, payload);
    if (reader->pieces != NULL && !continues(reader, header))
        return err_set(ERR_INVALID, "frame of type %u in pieces begins inside another one",
                       (unsigned)header->type);
    if (more && header->size == 0)
        return err_set(ERR_INVALID, "frame of type %u: an empty piece", (unsigned)header->type);
    err = add_piece(reader, header, bytes);
    return err != ERR_OK || more ? err : last_piece(reader, frame, arg);
}

/* ---- Bytes --------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Take bytes of the header. Complete: it is in reader->header. */
static enum err take_head(struct frame_reader *reader, const uint8_t *bytes, size_t size)
{
    enum err err;

    memcpy(reader->head + reader->head_size, bytes, size);
    reader->head_size += (uint32_t)size;
    if (reader->head_size < sizeof reader->head)
        return ERR_OK;
    err = frame_check_header(reader->head, &reader->header);
    if (err == ERR_OK && reader->header.size > reader->payload_max)
        err = err_set(ERR_TOO_LARGE,
                      "frame of type %u announces %" PRIu32 " bytes, not %" PRIu32 " at most",
                      (unsigned)reader->header.type, reader->header.size, reader->payload_max);
    return err;
}

/* Take bytes of the payload that is being filled. */
static enum err take_payload(struct frame_reader *reader, const uint8_t *bytes, size_t size,
                             frame_reader_cb frame, void *arg)
{
    struct buf *payload = reader->payload;
    enum err err;

    if (bytes != payload->bytes + payload->size)
        memcpy(payload->bytes + payload->size, bytes, size);
    payload->size += (uint32_t)size;
    if (payload->size < payload->capacity)
        return ERR_OK;
    reader->payload = NULL;
    reader->head_size = 0;
    err = deliver(reader, payload->bytes, payload, frame, arg);
    buf_unref(payload);
    return err;
}

enum err frame_reader_feed(struct frame_reader *reader, const uint8_t *bytes, size_t size,
                           frame_reader_cb frame, void *arg)
{
    const uint8_t *end = bytes + size;
    enum err err = ERR_OK;

    while (bytes < end && err == ERR_OK) {
        size_t left = (size_t)(end - bytes);
        size_t piece;

        if (reader->payload != NULL) {
            piece = least(left, reader->payload->capacity - reader->payload->size);
            err = take_payload(reader, bytes, piece, frame, arg);
            bytes += piece;
            continue;
        }
        piece = least(left, sizeof reader->head - reader->head_size);
        err = take_head(reader, bytes, piece);
        bytes += piece;
        if (err != ERR_OK || reader->head_size < sizeof reader->head)
            continue;
        if (reader->header.size <= (size_t)(end - bytes)) {
            reader->head_size = 0;
            err = deliver(reader, bytes, NULL, frame, arg);
            bytes += reader->header.size;
        } else {
            reader->payload = new_payload(reader->header.size);
            err = reader->payload == NULL ? ERR_NO_MEMORY : ERR_OK;
        }
    }
    return err;
}

bool frame_reader_room(const struct frame_reader *reader, uint8_t **ret_room, size_t *ret_size)
{
    struct buf *payload = reader->payload;

    if (payload == NULL || payload->capacity - payload->size < ROOM_MIN)
        return false;
    *ret_room = payload->bytes + payload->size;
    *ret_size = payload->capacity - payload->size;
    return true;
}

void frame_reader_fini(struct frame_reader *reader)
{
    buf_unref(reader->payload);
    buf_unref(reader->pieces);
    reader->payload = NULL;
    reader->pieces = NULL;
}
