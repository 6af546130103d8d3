/*
 * Recovery of a log whose files hold anything. It must not crash; and a log that it opens must take
 * a record, and give it back as the last one when it is opened again.
 *
 *     byte 0     1: make records of what follows, else take it as it is
 *                2: the second half goes into a second file
 *                4: leave out the claims that all before was synced
 *     from 1 on  what stands behind the files' headers
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log.h"
#include "replication/log_format.h"
#include "storage/base/check.h"
#include "tests/support/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = LOG_FILE_BYTES_MIN, GROUPS = 3, FIX = 1, SECOND = 2, UNCLAIMED = 4 };

static enum err replay(void *arg, const struct log_record *record)
{
    struct log_record *last = arg;
    uint64_t sum = 0;

    CHECK(record->kind >= LOG_ENTRY);
    CHECK(record->kind <= LOG_INSTALL);
    CHECK(record->kind != LOG_STATE);
    CHECK(record->group < GROUPS);
    for (uint32_t i = 0; record->payload != NULL && i < record->payload->size; i++)
        sum += record->payload->bytes[i]; /* All of it is there. */
    *last = *record;
    last->payload = NULL;
    last->aux = sum;
    return ERR_OK;
}

/* Make the bytes a chain of good records, as far as they reach. Returns where they end. */
static uint64_t fix(uint8_t *file, uint32_t number, uint64_t id, uint64_t synced, uint8_t mode)
{
    uint64_t end = LOG_ALIGN;

    for (;;) {
        struct log_record_header header;
        uint64_t at = end;

        if (at + sizeof header > FILE_BYTES)
            return end;
        memcpy(&header, file + at, sizeof header);
        if (header.kind == 0)
            return end;
        if (header.life % 2 != 0 && log_align(end) + sizeof header <= FILE_BYTES) {
            at = log_align(end); /* A new group. */
            memmove(file + at, file + end, (size_t)(FILE_BYTES - at));
            if ((mode & UNCLAIMED) == 0)
                synced = log_position(number, end);
        }
        header.life >>= 14;
        header.size %= 3000;
        if (at + log_record_bytes(header.size) > FILE_BYTES)
            return end;
        header.gap = (uint32_t)(at - end);
        header.position = log_position(number, at);
        header.synced = synced;
        header.file_id = id;
        log_record_seal(&header, file + at + sizeof header);
        memcpy(file + at, &header, sizeof header);
        end = at + log_record_bytes(header.size);
    }
}

static uint64_t put_file(struct mem_disk *disk, uint32_t number, const uint8_t *data, size_t size,
                         uint8_t mode, uint64_t synced)
{
    static const char *const names[] = {"log/00000001.log", "log/00000002.log"};
    static uint8_t file[FILE_BYTES];
    struct log_file_header header = {
        .number = number, .id = number + 5, .node = 1, .cluster = 1, .file_bytes = FILE_BYTES};
    uint64_t end = LOG_ALIGN;

    if (size > sizeof file - LOG_ALIGN)
        size = sizeof file - LOG_ALIGN;
    memset(file, 0, sizeof file);
    log_file_header_put(&header, file);
    if (size > 0)
        memcpy(file + LOG_ALIGN, data, size);
    if ((mode & FIX) != 0)
        end = fix(file, number, header.id, synced, mode);
    mem_disk_put(disk, names[number - 1], file, sizeof file);
    return log_position(number, end);
}

static void use(const struct log_options *options)
{
    struct log_record last = {0};
    struct log_record record = {.group = 1, .kind = LOG_ENTRY, .index = 7, .term = 1};
    struct log_record *list[] = {&record};
    struct log *log;

    if (log_open(options, replay, &last, &log) != ERR_OK) {
        CHECK(err_detail()[0] != '\0');
        return;
    }
    record.payload = buf_new(100);
    CHECK(record.payload != NULL);
    memset(record.payload->bytes, 3, 100);
    record.payload->size = 100;
    CHECK(log_write(log, list, 1) == ERR_OK);
    CHECK(log_sync(log) == ERR_OK);
    log_close(log);
    buf_unref(record.payload);

    CHECK(log_open(options, replay, &last, &log) == ERR_OK);
    CHECK(last.index == 7);
    CHECK(last.aux == 300);
    CHECK(last.position == record.position);
    log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_disk *disk = mem_disk_new();
    struct log_options options = {.disk = mem_disk_table(disk),
                                  .dir = "log",
                                  .node = 1,
                                  .cluster = 1,
                                  .groups = GROUPS,
                                  .file_bytes = FILE_BYTES,
                                  .bytes_max = 1 << 30};
    uint8_t mode = size > 0 ? data[0] : 0;
    size_t half = 0;
    uint64_t end;

    if (size > 0) {
        data++;
        size--;
    }
    half = (mode & SECOND) != 0 ? size / 2 : size;
    CHECK(options.disk->make_dir(options.disk->ctx, "log") == ERR_OK);
    end = put_file(disk, 1, data, half, mode, log_position(1, LOG_ALIGN));
    if ((mode & SECOND) != 0)
        (void)put_file(disk, 2, data + half, size - half, mode, end);
    use(&options);
    CHECK(mem_disk_open_files(disk) == 0);
    mem_disk_free(disk);
    return 0;
}
