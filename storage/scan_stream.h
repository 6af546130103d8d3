/*
 * scan_stream.h - rows of one segment, from its sections straight into batches.
 *
 *     segment   | chunk | chunk | chunk | ...      rows stand by series, then by time, once each:
 *                   |       |                      in the order in which a scan hands them out
 *     columns   decoded, one chunk at a time --take--> scan_batch
 *
 * Where all that a region is about stands in one segment, nothing has to be collected or merged,
 * and a chunk is what memory is needed for.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_STREAM_H
#define STORAGE_SCAN_STREAM_H

#include "storage/scan_merge.h"

struct scan_stream {
    struct scan_chunk *chunk; /* Owned: the section that is being handed out; NULL at first. */
    uint32_t rows, fields;    /* What it has room for. */
    scan_merge_cb take;
    void *arg;
};

void scan_stream_init(struct scan_stream *stream, scan_merge_cb take, void *arg);
void scan_stream_fini(struct scan_stream *stream);

/** All sources that overlap the region are of one segment, and a chunk fits the memory. */
bool scan_stream_fits(const struct scan_decode *decode, const struct scan_region *region);

/** Hand out the rows of such a region. The errors of scan_decode_region(); those of `take`. */
MUST_CHECK enum err scan_stream_region(struct scan_stream *stream, struct scan_decode *decode,
                                       const struct scan_region *region);

#endif
