/*
 * What a peer sends, cut into reads: frames whole and in pieces. The same bytes in one read and in
 * many must give the same frames and the same end.
 *
 *     byte 0     how long the reads are
 *     from 1 on  frames; checksums are put right, as a fuzzer cannot guess them
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replication/frame_reader.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAYLOAD_MAX = 64 * 1024 };

struct seen {
    uint32_t sum; /* Over types, requests and bytes of all frames. */
    uint32_t count;
};

static enum err frame(void *arg, const struct frame_header *header, const uint8_t *bytes,
                      struct buf *payload)
{
    struct seen *seen = arg;

    CHECK(header->size <= PAYLOAD_MAX);
    CHECK(payload == NULL || payload->bytes == bytes);
    seen->count++;
    seen->sum = crc32c(seen->sum, &header->type, sizeof header->type);
    seen->sum = crc32c(seen->sum, &header->request, sizeof header->request);
    seen->sum = crc32c(seen->sum, bytes, header->size);
    return ERR_OK;
}

static void fix_checksums(uint8_t *bytes, size_t size)
{
    struct frame_header header;

    while (size >= sizeof header) {
        memcpy(&header, bytes, sizeof header);
        if (header.size > size - sizeof header)
            return;
        frame_seal(&header, bytes + sizeof header, header.size);
        memcpy(bytes, &header, sizeof header);
        bytes += sizeof header + header.size;
        size -= sizeof header + header.size;
    }
}

static enum err feed(const uint8_t *bytes, size_t size, size_t read_size, struct seen *seen)
{
    struct frame_reader reader = {.payload_max = PAYLOAD_MAX};
    enum err err = ERR_OK;

    while (size > 0 && err == ERR_OK) {
        size_t piece = size < read_size ? size : read_size;
        uint8_t *room;
        size_t room_size;

        if (frame_reader_room(&reader, &room, &room_size)) {
            piece = piece < room_size ? piece : room_size;
            memcpy(room, bytes, piece);
            err = frame_reader_feed(&reader, room, piece, frame, seen);
        } else {
            err = frame_reader_feed(&reader, bytes, piece, frame, seen);
        }
        bytes += piece;
        size -= piece;
    }
    frame_reader_fini(&reader);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, cut = {0};
    uint8_t *bytes;
    enum err err;

    if (size < 2)
        return 0;
    bytes = malloc(size - 1);
    CHECK(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    fix_checksums(bytes, size - 1);
    err = feed(bytes, size - 1, size, &whole);
    CHECK(feed(bytes, size - 1, 1 + (size_t)data[0] * 37, &cut) == err);
    CHECK(whole.count == cut.count);
    CHECK(whole.sum == cut.sum);
    free(bytes);
    return 0;
}
