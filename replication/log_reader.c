#include "replication/log_reader.h"

#include <inttypes.h>
#include <string.h>

#include "replication/log_read_ahead.h"
#include "storage/base/fault.h"

void log_reader_init(struct log_reader *reader, const struct disk *disk, uint8_t *room)
{
    *reader = (struct log_reader){.disk = disk, .room = room};
}

void log_reader_fini(struct log_reader *reader)
{
    buf_unref(reader->payload);
    reader->payload = NULL;
}

/* A disk may read at the second try what it did not at the first. */
static enum err read_window(struct log_reader *reader, const struct log_part *part, uint64_t from,
                            size_t size)
{
    enum err err = ERR_IO;

    for (int i = 0; i < 2 && err == ERR_IO; i++)
        err = FAULT("log.read") ? err_set(ERR_IO, "injected at offset %" PRIu64, from)
                                : reader->disk->read(part->file, from, reader->room, size);
    return err;
}

enum err log_reader_load(struct log_reader *reader, const struct log_part *part, uint64_t offset)
{
    uint64_t from = offset / LOG_WINDOW_BYTES * LOG_WINDOW_BYTES;
    uint64_t size = part->bytes - from;
    const uint8_t *window = NULL;
    enum err err;

    if (part->number == reader->number && from == reader->window_at)
        return ERR_OK;
    if (size > LOG_WINDOW_BYTES)
        size = LOG_WINDOW_BYTES;
    reader->number = 0;
    if (reader->ahead != NULL && !FAULT("log.read"))
        window = log_read_ahead_take(reader->ahead, part, from);
    if (window == NULL) {
        err = read_window(reader, part, from, (size_t)size);
        reader->unreadable = err == ERR_IO;
        if (err != ERR_OK)
            return err;
        window = reader->room;
    }
    reader->window = window;
    reader->number = part->number;
    reader->window_at = from;
    reader->window_end = from + size;
    return ERR_OK;
}

/* Copy out bytes that are all inside the file. */
static enum err read_bytes(struct log_reader *reader, const struct log_part *part, uint64_t offset,
                           void *out, size_t size)
{
    uint8_t *to = out;

    while (size > 0) {
        enum err err = log_reader_load(reader, part, offset);
        uint64_t there;
        size_t piece;

        if (err != ERR_OK)
            return err;
        there = reader->window_end - offset;
        piece = size < there ? size : (size_t)there;
        memcpy(to, log_reader_at(reader, offset), piece);
        to += piece;
        offset += piece;
        size -= piece;
    }
    return ERR_OK;
}

static enum err make_payload(struct log_reader *reader, uint32_t size)
{
    struct buf *payload = reader->payload;

    if (payload == NULL || payload->capacity < size ||
        atomic_load_explicit(&payload->refs, memory_order_acquire) > 1) {
        buf_unref(payload);
        reader->payload = buf_new(size);
        if (reader->payload == NULL)
            return err_set(ERR_NO_MEMORY, "log: record of %" PRIu32 " bytes", size);
    }
    reader->payload->size = size;
    return ERR_OK;
}

enum err log_reader_try(struct log_reader *reader, const struct log_part *part, uint64_t offset,
                        struct log_record_header *ret_header, bool *ret_good)
{
    uint64_t position = log_position(part->number, offset);
    enum err err;

    *ret_good = false;
    if (offset + sizeof *ret_header > part->bytes)
        return ERR_OK;
    err = read_bytes(reader, part, offset, ret_header, sizeof *ret_header);
    if (err != ERR_OK ||
        !log_record_plausible(ret_header, position, part->id, part->bytes - offset))
        return err;
    if ((err = make_payload(reader, ret_header->size)) != ERR_OK ||
        (err = read_bytes(reader, part, offset + sizeof *ret_header, reader->payload->bytes,
                          ret_header->size)) != ERR_OK)
        return err;
    *ret_good = log_record_intact(ret_header, reader->payload->bytes);
    return ERR_OK;
}

/* Lives are counted modulo 65536; a leftover is a few starts old. */
static bool follows(struct log_reader *reader, const struct log_record_header *header, uint64_t gap)
{
    if (header->gap != gap ||
        (reader->lives && (uint16_t)(header->life - reader->life) > UINT16_MAX / 2))
        return false;
    reader->lives = true;
    reader->life = header->life;
    return true;
}

enum err log_reader_next(struct log_reader *reader, const struct log_part *part, uint64_t end,
                         struct log_record_header *ret_header, bool *ret_found)
{
    enum err err = log_reader_try(reader, part, end, ret_header, ret_found);

    *ret_found = *ret_found && follows(reader, ret_header, 0);
    if (err != ERR_OK || *ret_found || end % LOG_ALIGN == 0)
        return err;
    err = log_reader_try(reader, part, log_align(end), ret_header, ret_found);
    *ret_found = *ret_found && follows(reader, ret_header, log_align(end) - end);
    return err;
}
