#include "client/wire/frame.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

/* The checksum covers everything that follows it in the header. */
enum { SUMMED_AT = offsetof(struct frame_header, size) };

static uint32_t frame_crc(const struct frame_header *header, const void *payload)
{
    uint32_t crc =
        crc32c(0, (const uint8_t *)header + SUMMED_AT, sizeof *header - (size_t)SUMMED_AT);

    return crc32c(crc, payload, header->size);
}

void frame_seal(struct frame_header *header, const void *payload, size_t size)
{
    CHECK(size <= FRAME_PAYLOAD_MAX);
    header->magic = FRAME_MAGIC;
    header->size = (uint32_t)size;
    header->crc = frame_crc(header, payload);
}

enum err frame_check_header(const void *bytes, struct frame_header *ret_header)
{
    struct frame_header header;

    memcpy(&header, bytes, sizeof header);
    if (header.magic != FRAME_MAGIC)
        return err_set(ERR_INVALID,
                       "frame starts with 0x%08" PRIx32
                       ", not with \"MRF1\": the other side does not speak the native protocol",
                       header.magic);
    if (header.size > FRAME_PAYLOAD_MAX)
        return err_set(ERR_TOO_LARGE,
                       "frame of type %u announces %" PRIu32 " bytes; at most %d are allowed",
                       (unsigned)header.type, header.size, (int)FRAME_PAYLOAD_MAX);
    if ((header.flags & ~(unsigned)FRAME_MORE) != 0)
        return err_set(ERR_INVALID, "frame of type %u has unknown flags 0x%04x",
                       (unsigned)header.type, (unsigned)header.flags);
    *ret_header = header;
    return ERR_OK;
}

enum err frame_check_payload(const struct frame_header *header, const void *payload)
{
    uint32_t crc = frame_crc(header, payload);

    if (crc != header->crc)
        return err_set(ERR_CORRUPT,
                       "frame of type %u with %" PRIu32 " bytes: checksum 0x%08" PRIx32
                       ", its header says 0x%08" PRIx32,
                       (unsigned)header->type, header->size, crc, header->crc);
    return ERR_OK;
}
