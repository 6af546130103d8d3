/*
 * Four workers append to one log while its two threads write, rotate, release and recycle files,
 * and a reader reads back what was written. Every record must be reported durable once, in its
 * worker's order, and be there at the next start. ThreadSanitizer must stay silent.
 */
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log_writer.h"
#include "storage/base/check.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum {
    WORKERS = 4,
    FILE_BYTES = 256 * 1024,
    KEPT = 100, /* Entries that each worker keeps behind its newest. */
};

struct worker {
    uint32_t number; /* Its group too. */
    struct log_port *port;
    sem_t woken;
    uint64_t seed;
    uint64_t last;    /* Index appended last. */
    uint64_t durable; /* Index reported last. */
    uint64_t last_position;
};

static struct worker workers[WORKERS];
static struct log *shared_log;
static uint64_t total = 20000; /* Entries of each worker. */

static void wake(void *arg, uint32_t port)
{
    (void)arg;
    (void)sem_post(&workers[port].woken);
}

static uint32_t size_of(uint32_t group, uint64_t index)
{
    return (uint32_t)((index * 2654435761u + group * 97) % 700);
}

static void append(struct worker *worker)
{
    uint64_t index = ++worker->last;
    uint32_t size = size_of(worker->number, index);
    struct log_record record = {.group = worker->number,
                                .kind = LOG_ENTRY,
                                .index = index,
                                .term = 1,
                                .payload = buf_new(size)};

    CHECK(record.payload != NULL);
    memset(record.payload->bytes, (int)(index & 0xff), size);
    record.payload->size = size;
    CHECK(log_port_append(worker->port, &record) == index);
}

static void done(void *arg, const struct log_done *done)
{
    struct worker *worker = arg;

    CHECK(done->stream == worker->durable + 1);
    CHECK(done->index == done->stream);
    CHECK(done->group == worker->number);
    CHECK(done->position > worker->last_position);
    worker->durable = done->stream;
    worker->last_position = done->position;
}

/* Reads the worker's newest durable entry, which its own keep_after() does not let go. */
static void read_back(struct worker *worker)
{
    struct buf *payload = NULL;
    enum err err =
        log_read(shared_log, worker->last_position, worker->number, worker->durable, &payload);

    CHECK(err == ERR_OK);
    CHECK(payload->size == size_of(worker->number, worker->durable));
    buf_unref(payload);
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    while (worker->durable < total) {
        uint64_t burst = seed_below(&worker->seed, 40);

        for (uint64_t i = 0; i < burst && worker->last < total; i++)
            append(worker);
        log_port_flush(worker->port);
        if (log_port_pending(worker->port) > 64 * 1024 || worker->last == total) {
            while (sem_wait(&worker->woken) != 0)
                continue;
        }
        CHECK(log_port_collect(worker->port, done, worker) == worker->durable);
        if (worker->durable > KEPT)
            log_port_keep_after(worker->port, worker->number, worker->durable - KEPT);
        if (worker->durable > 0 && seed_below(&worker->seed, 10) == 0)
            read_back(worker);
    }
    CHECK(log_port_pending(worker->port) == 0);
    return NULL;
}

static enum err replay(void *arg, const struct log_record *record)
{
    uint64_t *next = (uint64_t *)arg + record->group;

    CHECK(record->kind == LOG_ENTRY);
    CHECK(*next == 0 || record->index == *next);
    CHECK((record->payload == NULL ? 0 : record->payload->size) ==
          size_of(record->group, record->index));
    *next = record->index + 1;
    return ERR_OK;
}

int main(int argc, char **argv)
{
    uint64_t seed = seed_of_run("log_writer_stress");
    struct mem_disk *disk = mem_disk_new();
    struct log_options options = {.disk = mem_disk_table(disk),
                                  .dir = "log",
                                  .node = 1,
                                  .cluster = 1,
                                  .groups = WORKERS,
                                  .file_bytes = FILE_BYTES,
                                  .bytes_max = 16 * FILE_BYTES,
                                  .read_ahead = true};
    uint64_t next[WORKERS] = {0};
    struct log_writer *writer;
    struct log_stats stats;
    pthread_t threads[WORKERS];

    if (argc > 1)
        total = strtoull(argv[1], NULL, 10);
    CHECK(log_open(&options, replay, next, &shared_log) == ERR_OK);
    CHECK(log_writer_start(shared_log, WORKERS, wake, NULL, &writer) == ERR_OK);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){
            .number = i, .port = log_writer_port(writer, i), .seed = seed_next(&seed)};
        CHECK(sem_init(&workers[i].woken, 0, 0) == 0);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        (void)pthread_join(threads[i], NULL);
    CHECK(!log_writer_is_short(writer));
    log_writer_stop(writer);
    log_stats(shared_log, &stats);
    log_close(shared_log);

    /* What is kept is there, and nothing else came in between. */
    CHECK(log_open(&options, replay, next, &shared_log) == ERR_OK);
    for (uint32_t i = 0; i < WORKERS; i++)
        CHECK(next[i] == total + 1);
    log_close(shared_log);
    mem_disk_free(disk);
    printf("%d workers, %" PRIu64 " records in %" PRIu64 " syncs, %" PRIu64 " files at the end\n",
           WORKERS, stats.records, stats.syncs, stats.files);
    return 0;
}
