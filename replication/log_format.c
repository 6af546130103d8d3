#include "replication/log_format.h"

#include <string.h>

#include "storage/base/crc32c.h"

/* The checksums cover all that follows them. */
enum { CRC_FROM = 8 };
static_assert(offsetof(struct log_file_header, version) == CRC_FROM, "the crc covers the rest");
static_assert(offsetof(struct log_record_header, size) == CRC_FROM, "the crc covers the rest");
static_assert(offsetof(struct log_end, version) == CRC_FROM, "the crc covers the rest");

void log_file_header_put(const struct log_file_header *header, uint8_t page[LOG_ALIGN])
{
    struct log_file_header sealed = *header;

    sealed.magic = LOG_FILE_MAGIC;
    sealed.version = LOG_VERSION;
    memset(page, 0, LOG_ALIGN);
    memcpy(page, &sealed, sizeof sealed);
    sealed.crc = crc32c(0, page + CRC_FROM, LOG_ALIGN - CRC_FROM);
    memcpy(page, &sealed, sizeof sealed);
}

enum err log_file_header_get(const uint8_t page[LOG_ALIGN], struct log_file_header *ret_header)
{
    struct log_file_header header;
    uint32_t crc = crc32c(0, page + CRC_FROM, LOG_ALIGN - CRC_FROM);

    memcpy(&header, page, sizeof header);
    if (header.magic != LOG_FILE_MAGIC)
        return err_set(ERR_CORRUPT, "header: magic is 0x%08x", header.magic);
    if (header.crc != crc)
        return err_set(ERR_CORRUPT, "header: checksum is 0x%08x, not 0x%08x", crc, header.crc);
    if (header.version != LOG_VERSION)
        return err_set(ERR_VERSION, "header: version is %u, this program reads %d", header.version,
                       LOG_VERSION);
    if (header.number == 0 || header.id == 0 || header.file_bytes < LOG_FILE_BYTES_MIN ||
        header.file_bytes > LOG_FILE_BYTES_MAX || header.file_bytes % LOG_ALIGN != 0)
        return err_set(ERR_CORRUPT, "header: bad number, id or size");
    *ret_header = header;
    return ERR_OK;
}

void log_end_put(const struct log_end *end, uint8_t bytes[sizeof(struct log_end)])
{
    struct log_end sealed = *end;

    sealed.magic = LOG_END_MAGIC;
    sealed.version = LOG_VERSION;
    sealed.zero = 0;
    sealed.crc = crc32c(0, (const uint8_t *)&sealed + CRC_FROM, sizeof sealed - CRC_FROM);
    memcpy(bytes, &sealed, sizeof sealed);
}

enum err log_end_get(const uint8_t *bytes, size_t size, struct log_end *ret_end)
{
    uint32_t crc;

    if (size != sizeof *ret_end)
        return err_set(ERR_CORRUPT, "it has %zu bytes, not %zu", size, sizeof *ret_end);
    memcpy(ret_end, bytes, size);
    crc = crc32c(0, bytes + CRC_FROM, size - CRC_FROM);
    if (ret_end->magic != LOG_END_MAGIC || ret_end->crc != crc)
        return err_set(ERR_CORRUPT, "magic 0x%08x, checksum 0x%08x, not 0x%08x", ret_end->magic,
                       crc, ret_end->crc);
    if (ret_end->version != LOG_VERSION)
        return err_set(ERR_VERSION, "version %u, this program reads %d", ret_end->version,
                       LOG_VERSION);
    return ERR_OK;
}

static uint32_t record_crc(const struct log_record_header *header, const void *payload)
{
    uint32_t crc = crc32c(0, (const uint8_t *)header + CRC_FROM, sizeof *header - CRC_FROM);

    return header->size == 0 ? crc : crc32c(crc, payload, header->size);
}

void log_record_seal(struct log_record_header *header, const void *payload)
{
    header->magic = LOG_RECORD_MAGIC;
    header->crc = record_crc(header, payload);
}

bool log_record_plausible(const struct log_record_header *header, uint64_t position,
                          uint64_t file_id, uint64_t room)
{
    return header->magic == LOG_RECORD_MAGIC && header->position == position &&
           (file_id == 0 || header->file_id == file_id) && log_record_bytes(header->size) <= room;
}

bool log_record_intact(const struct log_record_header *header, const void *payload)
{
    return header->crc == record_crc(header, payload);
}
