#include "storage/block/entry.h"

#include <string.h>

#include "storage/base/crc32c.h"

/* The checksum covers all of the header that follows it. */
enum { CRC_FROM = offsetof(struct entry_header, size) };

static uint32_t sum(const struct entry_header *header)
{
    return crc32c(0, (const uint8_t *)header + CRC_FROM, sizeof *header - CRC_FROM);
}

void entry_stamp(struct entry_header *header)
{
    header->magic = ENTRY_MAGIC;
    header->version = ENTRY_VERSION;
    header->crc = sum(header);
}

enum err entry_check(const void *bytes, size_t size, struct entry_header *ret_header)
{
    static const uint8_t zero[sizeof ret_header->zero];
    struct entry_header header;

    if (size < sizeof header)
        return err_set(ERR_INVALID, "entry: %zu bytes are no header of %zu", size, sizeof header);
    memcpy(&header, bytes, sizeof header);
    if (header.magic != ENTRY_MAGIC)
        return err_set(ERR_INVALID, "entry: magic is 0x%08x, not 0x%08x", header.magic,
                       ENTRY_MAGIC);
    if (header.crc != sum(&header))
        return err_set(ERR_INVALID, "entry: header checksum is 0x%08x, not 0x%08x", sum(&header),
                       header.crc);
    if (header.version != ENTRY_VERSION)
        return err_set(ERR_INVALID, "entry: version %u is not %d: update this program",
                       header.version, ENTRY_VERSION);
    if (header.size != size || size > ENTRY_SIZE_MAX)
        return err_set(ERR_INVALID, "entry: header says %u bytes, there are %zu, %d are allowed",
                       header.size, size, ENTRY_SIZE_MAX);
    if (header.kind == 0 || header.kind >= ENTRY_KIND_END)
        return err_set(ERR_INVALID, "entry: kind %u is unknown", header.kind);
    if (header.flags != 0 || memcmp(header.zero, zero, sizeof zero) != 0)
        return err_set(ERR_INVALID, "entry: flags or reserved bytes are not zero");
    *ret_header = header;
    return ERR_OK;
}
