/*
 * log_reader.h - reads the records of log files one by one, and says of each whether it is good.
 *
 * It reads through a window of 1 MiB, so a file is read once, in order, in large pieces.
 *
 * Thread   One at a time.
 */
#ifndef REPLICATION_LOG_READER_H
#define REPLICATION_LOG_READER_H

#include "replication/log_format.h"
#include "storage/base/buf.h"
#include "storage/base/file.h"

struct log_read_ahead;

enum { LOG_WINDOW_BYTES = 1024 * 1024 };

/** What a reader has to know of a file. */
struct log_part {
    uint32_t number;
    uint64_t id;
    uint64_t bytes;
    struct file *file; /* Borrowed. */
};

struct log_reader {
    const struct disk *disk;
    uint8_t *room;                /* Borrowed: LOG_WINDOW_BYTES, aligned for O_DIRECT. */
    struct log_read_ahead *ahead; /* Borrowed; NULL: all is read here. */
    const uint8_t *window;        /* `room`, or the one of `ahead`. */
    uint32_t number;              /* Of the file in the window; 0: there is none. */
    uint64_t window_at, window_end;
    bool unreadable;     /* The last read failed, twice: ERR_IO. */
    bool lives;          /* There was a record in order, ... */
    uint16_t life;       /* ... and the last one is of this life. */
    struct buf *payload; /* Owned: of the record read last. Replaced if somebody else holds it. */
};

void log_reader_init(struct log_reader *reader, const struct disk *disk, uint8_t *room);
void log_reader_fini(struct log_reader *reader);

/** Make the window hold the byte at `offset`. The errors of a read. */
MUST_CHECK enum err log_reader_load(struct log_reader *reader, const struct log_part *part,
                                    uint64_t offset);
/** The byte at `offset`, which is loaded; bytes behind it up to window_end. */
static inline const uint8_t *log_reader_at(const struct log_reader *reader, uint64_t offset)
{
    return reader->window + (offset - reader->window_at);
}

/** Is there a good record at `offset`? Its payload is then in reader->payload. The errors of a
 * read; ERR_NO_MEMORY. */
MUST_CHECK enum err log_reader_try(struct log_reader *reader, const struct log_part *part,
                                   uint64_t offset, struct log_record_header *ret_header,
                                   bool *ret_good);

/** The same of the record that follows in order on one that ended at `end`: at once, or at the next
 * multiple of LOG_ALIGN; of no earlier life than the last one that was found so. */
MUST_CHECK enum err log_reader_next(struct log_reader *reader, const struct log_part *part,
                                    uint64_t end, struct log_record_header *ret_header,
                                    bool *ret_found);

#endif
