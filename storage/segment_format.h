/*
 * segment_format.h - checksums and names that writer and reader of segments share.
 */
#ifndef STORAGE_SEGMENT_FORMAT_H
#define STORAGE_SEGMENT_FORMAT_H

#include <inttypes.h>
#include <stdio.h>

#include "storage/base/crc32c.h"
#include "storage/segment.h"

enum { SEGMENT_PATH_SIZE = 4096 };

static inline uint32_t segment_header_crc(const struct segment_header *header)
{
    return crc32c(0, &header->version, sizeof *header - offsetof(struct segment_header, version));
}

static inline uint32_t segment_footer_crc(const struct segment_footer *footer)
{
    return crc32c(0, &footer->version, sizeof *footer - offsetof(struct segment_footer, version));
}

#endif
