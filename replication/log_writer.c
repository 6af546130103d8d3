#include "replication/log_writer.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/base/mailbox.h"
#include "storage/base/metric.h"
#include "storage/base/thread.h"

enum {
    /* A group is closed at this size. Larger ones gain no speed and let the first records in them
     * wait for the last. */
    GROUP_BYTES = 1024 * 1024,
    /* Batches of a port on their way. With all of them out the next one just grows. */
    IN_FLIGHT_MAX = 64,
    PREPARE_INTERVAL_S = 1,
};

struct batch {
    struct log_record *records; /* Owned, with their payloads. */
    uint32_t count;
    uint32_t capacity;
    uint64_t bytes;
    uint64_t first_stream; /* Of records[0]; the others follow. */
    struct batch *next;    /* In the port's list of idle ones. */
};

struct log_port {
    struct log_writer *writer;
    uint32_t number;

    /* Worker. */
    struct batch *filling; /* Owned; NULL: none begun. */
    struct batch *idle;    /* Owned. */
    uint32_t in_flight;
    uint64_t last_stream;
    uint64_t durable_stream;
    uint64_t pending_bytes;

    /* Slots are struct batch pointers: whoever takes one out owns it. */
    struct mailbox queued; /* Worker to writer. */
    struct mailbox done;   /* Writer to worker; never full, as IN_FLIGHT_MAX fit. */
};

struct taken {
    struct log_port *port;
    struct batch *batch;
};

struct log_writer {
    struct log *log;
    void (*wake)(void *arg, uint32_t port);
    void *wake_arg;
    struct log_port *ports; /* Owned. */
    uint32_t port_count;

    /* Writing thread. */
    struct thread thread;
    struct taken *taken; /* Owned, port_count * IN_FLIGHT_MAX. */
    size_t taken_count;
    struct log_record **records; /* Owned: all records of what was taken. */
    size_t record_capacity;

    /* Preparing thread. */
    struct thread preparer;
    pthread_mutex_t lock; /* Guards `kicked` alone. */
    pthread_cond_t kick;
    bool kicked;

    /* All threads. */
    sem_t bell; /* Up: somebody posted, or it is time to stop. */
    _Atomic bool stopping;
    _Atomic bool is_short; /* Written by the preparer. */
};

static _Noreturn void end_process(enum err err)
{
    log_error("the log failed, this process ends and acknowledges nothing more: %s: %s. Check the "
              "disk, then start again",
              err_name(err), err_detail());
    _exit(EX_IOERR);
}

static void *memory(void *pointer, size_t size)
{
    if (pointer == NULL)
        end_process(err_set(ERR_NO_MEMORY, "log writer: %zu bytes", size));
    return pointer;
}

/* ---- The writing thread -------------------------------------------------------------------- */

static struct batch *take_batch(struct log_port *port)
{
    const void *slot;
    struct batch *batch;

    if (ring_peek(&port->queued.ring, 1, &slot) == 0)
        return NULL;
    batch = *(struct batch *const *)slot;
    ring_release(&port->queued.ring, 1);
    return batch;
}

/* Take a batch of each port in turn until there is enough for one group, or nothing left. */
static size_t gather(struct log_writer *writer)
{
    uint64_t bytes = 0;
    size_t records = 0;
    bool more = true;

    writer->taken_count = 0;
    for (uint32_t p = 0; p < writer->port_count; p++)
        mailbox_answer(&writer->ports[p].queued);
    while (more && bytes < GROUP_BYTES) {
        more = false;
        for (uint32_t p = 0; p < writer->port_count && bytes < GROUP_BYTES; p++) {
            struct log_port *port = &writer->ports[p];
            struct batch *batch = take_batch(port);

            if (batch == NULL)
                continue;
            writer->taken[writer->taken_count++] = (struct taken){port, batch};
            bytes += batch->bytes;
            records += batch->count;
            more = true;
        }
    }
    return records;
}

static void list_records(struct log_writer *writer, size_t count)
{
    size_t at = 0;

    if (count > writer->record_capacity) {
        size_t size = count * 2 * sizeof(struct log_record *);

        writer->records = memory(realloc(writer->records, size), size);
        writer->record_capacity = count * 2;
    }
    for (size_t t = 0; t < writer->taken_count; t++) {
        struct batch *batch = writer->taken[t].batch;

        for (uint32_t i = 0; i < batch->count; i++)
            writer->records[at++] = &batch->records[i];
    }
    CHECK(at == count);
}

static void write_and_sync(struct log *log, struct log_record *const *records, size_t count)
{
    uint64_t start_ns;
    enum err err = log_write(log, records, count);

    if (err != ERR_OK)
        end_process(err);
    start_ns = clk_now_ns();
    err = log_sync(log);
    if (err != ERR_OK)
        end_process(err);
    metric_time(METRIC_TIME_SYNC, clk_now_ns() - start_ns);
    metric_add(METRIC_LOG_WRITES, 1);
    metric_add(METRIC_LOG_SYNCS, 1);
}

static void complete(struct log_writer *writer)
{
    uint64_t bytes = 0, payload = 0;

    for (size_t t = 0; t < writer->taken_count; t++) {
        struct taken *taken = &writer->taken[t];

        bytes += taken->batch->bytes;
        payload += taken->batch->bytes - taken->batch->count * sizeof(struct log_record);
        CHECK(mailbox_put(&taken->port->done, &taken->batch));
    }
    metric_add(METRIC_LOG_BYTES, bytes);
    metric_add(METRIC_LOGGED, payload);
}

static void kick_preparer(struct log_writer *writer)
{
    (void)pthread_mutex_lock(&writer->lock);
    writer->kicked = true;
    (void)pthread_cond_signal(&writer->kick);
    (void)pthread_mutex_unlock(&writer->lock);
}

static void run_writer(void *arg)
{
    struct log_writer *writer = arg;

    for (;;) {
        bool stopping = atomic_load_explicit(&writer->stopping, memory_order_acquire);
        size_t count = gather(writer);

        if (count > 0) {
            list_records(writer, count);
            write_and_sync(writer->log, writer->records, count);
            complete(writer);
            /* On a full disk the preparer tries again at its own pace. */
            if (!log_writer_is_short(writer) && log_lacks_next(writer->log))
                kick_preparer(writer);
        } else if (stopping) {
            return;
        } else {
            while (sem_wait(&writer->bell) != 0)
                CHECK(errno == EINTR);
        }
    }
}

static void ring_bell(void *arg)
{
    struct log_port *port = arg;

    (void)sem_post(&port->writer->bell);
}

static void wake_worker(void *arg)
{
    struct log_port *port = arg;

    port->writer->wake(port->writer->wake_arg, port->number);
}

/* ---- The preparing thread ------------------------------------------------------------------ */

static void set_short(struct log_writer *writer, bool is_short)
{
    if (atomic_load_explicit(&writer->is_short, memory_order_relaxed) == is_short)
        return;
    atomic_store_explicit(&writer->is_short, is_short, memory_order_relaxed);
    if (is_short)
        log_error("writes are refused until there is space: %s", err_detail());
    else
        log_info("there is disk space again, writes are taken");
}

static void wait_for_kick(struct log_writer *writer)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PREPARE_INTERVAL_S;
    (void)pthread_mutex_lock(&writer->lock);
    while (!writer->kicked &&
           pthread_cond_timedwait(&writer->kick, &writer->lock, &until) != ETIMEDOUT)
        continue;
    writer->kicked = false;
    (void)pthread_mutex_unlock(&writer->lock);
}

static void run_preparer(void *arg)
{
    struct log_writer *writer = arg;

    while (!atomic_load_explicit(&writer->stopping, memory_order_acquire)) {
        enum err err = log_prepare(writer->log);

        if (err != ERR_OK && err != ERR_DISK_FULL)
            end_process(err);
        set_short(writer, err == ERR_DISK_FULL);
        wait_for_kick(writer);
    }
}

bool log_writer_is_short(const struct log_writer *writer)
{
    return atomic_load_explicit(&writer->is_short, memory_order_relaxed);
}

/* ---- The worker's thread ------------------------------------------------------------------- */

static struct batch *begin_batch(struct log_port *port)
{
    struct batch *batch = port->idle;

    if (batch == NULL)
        return memory(calloc(1, sizeof *batch), sizeof *batch);
    port->idle = batch->next;
    return batch;
}

uint64_t log_port_append(struct log_port *port, const struct log_record *record)
{
    struct batch *batch = port->filling;
    uint64_t bytes = sizeof *record + (record->payload == NULL ? 0 : record->payload->size);

    if (batch == NULL) {
        batch = port->filling = begin_batch(port);
        batch->first_stream = port->last_stream + 1;
    }
    if (batch->count == batch->capacity) {
        uint32_t wanted = batch->capacity == 0 ? 64 : batch->capacity * 2;
        size_t size = wanted * sizeof *batch->records;

        batch->records = memory(realloc(batch->records, size), size);
        batch->capacity = wanted;
    }
    batch->records[batch->count++] = *record;
    batch->bytes += bytes;
    port->pending_bytes += bytes;
    return ++port->last_stream;
}

void log_port_flush(struct log_port *port)
{
    if (port->filling == NULL || port->in_flight == IN_FLIGHT_MAX)
        return;
    CHECK(mailbox_put(&port->queued, &port->filling));
    port->filling = NULL;
    port->in_flight++;
}

void log_port_keep_after(struct log_port *port, uint32_t group, uint64_t index)
{
    log_keep_after(port->writer->log, group, index);
}

static void reuse(struct log_port *port, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        buf_unref(batch->records[i].payload);
    port->in_flight--;
    port->pending_bytes -= batch->bytes;
    batch->count = 0;
    batch->bytes = 0;
    batch->next = port->idle;
    port->idle = batch;
}

uint64_t log_port_collect(struct log_port *port,
                          void (*each)(void *arg, const struct log_done *done), void *arg)
{
    const void *slot;

    mailbox_answer(&port->done);
    while (ring_peek(&port->done.ring, 1, &slot) > 0) {
        struct batch *batch = *(struct batch *const *)slot;

        ring_release(&port->done.ring, 1);
        for (uint32_t i = 0; i < batch->count; i++) {
            const struct log_record *record = &batch->records[i];
            struct log_done done = {.stream = batch->first_stream + i,
                                    .group = record->group,
                                    .kind = record->kind,
                                    .index = record->index,
                                    .position = record->position};

            each(arg, &done);
        }
        port->durable_stream = batch->first_stream + batch->count - 1;
        reuse(port, batch);
    }
    return port->durable_stream;
}

uint64_t log_port_pending(const struct log_port *port)
{
    return port->pending_bytes;
}

struct log_port *log_writer_port(struct log_writer *writer, uint32_t port)
{
    CHECK(port < writer->port_count);
    return &writer->ports[port];
}

/* ---- Starting and stopping ----------------------------------------------------------------- */

static void free_batch(struct batch *batch)
{
    if (batch == NULL)
        return;
    for (uint32_t i = 0; i < batch->count; i++)
        buf_unref(batch->records[i].payload);
    free(batch->records);
    free(batch);
}

static void port_fini(struct log_port *port)
{
    const void *slot;

    while (port->done.ring.slots != NULL && ring_peek(&port->done.ring, 1, &slot) > 0) {
        free_batch(*(struct batch *const *)slot);
        ring_release(&port->done.ring, 1);
    }
    while (port->idle != NULL) {
        struct batch *batch = port->idle;

        port->idle = batch->next;
        free_batch(batch);
    }
    free_batch(port->filling);
    mailbox_fini(&port->queued);
    mailbox_fini(&port->done);
}

static void writer_free(struct log_writer *writer)
{
    for (uint32_t p = 0; writer->ports != NULL && p < writer->port_count; p++)
        port_fini(&writer->ports[p]);
    (void)sem_destroy(&writer->bell);
    (void)pthread_cond_destroy(&writer->kick);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer->records);
    free(writer->taken);
    free(writer->ports);
    free(writer);
}

static enum err init_ports(struct log_writer *writer)
{
    for (uint32_t p = 0; p < writer->port_count; p++) {
        struct log_port *port = &writer->ports[p];
        enum err err;

        port->writer = writer;
        port->number = p;
        err = mailbox_init(&port->queued, IN_FLIGHT_MAX, sizeof(struct batch *), ring_bell, port);
        if (err == ERR_OK)
            err =
                mailbox_init(&port->done, IN_FLIGHT_MAX, sizeof(struct batch *), wake_worker, port);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static struct log_writer *writer_new(struct log *log, uint32_t ports)
{
    struct log_writer *writer = calloc(1, sizeof *writer);

    if (writer == NULL)
        return NULL;
    writer->log = log;
    writer->port_count = ports;
    writer->ports = aligned_alloc(CACHE_LINE, ports * sizeof *writer->ports);
    writer->taken = calloc((size_t)ports * IN_FLIGHT_MAX, sizeof *writer->taken);
    (void)pthread_mutex_init(&writer->lock, NULL);
    thread_cond_init(&writer->kick);
    (void)sem_init(&writer->bell, 0, 0);
    if (writer->ports == NULL || writer->taken == NULL) {
        writer->port_count = 0;
        writer_free(writer);
        return NULL;
    }
    memset(writer->ports, 0, ports * sizeof *writer->ports);
    return writer;
}

static void stop_writing(struct log_writer *writer)
{
    atomic_store_explicit(&writer->stopping, true, memory_order_release);
    (void)sem_post(&writer->bell);
    thread_join(&writer->thread);
}

enum err log_writer_start(struct log *log, uint32_t ports, void (*wake)(void *arg, uint32_t port),
                          void *arg, struct log_writer **ret_writer)
{
    struct log_writer *writer = writer_new(log, ports);
    enum err err;

    if (writer == NULL)
        return err_set(ERR_NO_MEMORY, "log writer of %u ports", ports);
    writer->wake = wake;
    writer->wake_arg = arg;
    err = init_ports(writer);
    if (err == ERR_OK)
        err = thread_start(&writer->thread, "log", 0, run_writer, writer);
    if (err != ERR_OK)
        goto free_writer;
    err = thread_start(&writer->preparer, "log-files", 19, run_preparer, writer);
    if (err != ERR_OK)
        goto stop_thread;
    *ret_writer = writer;
    return ERR_OK;

stop_thread:
    stop_writing(writer);
free_writer:
    writer_free(writer);
    return err;
}

/* What a worker could not hand over any more, because too much was on its way. */
static void write_rest(struct log_writer *writer)
{
    for (uint32_t p = 0; p < writer->port_count; p++) {
        struct batch *batch = writer->ports[p].filling;

        if (batch == NULL)
            continue;
        writer->taken[0] = (struct taken){&writer->ports[p], batch};
        writer->taken_count = 1;
        list_records(writer, batch->count);
        write_and_sync(writer->log, writer->records, batch->count);
    }
}

void log_writer_stop(struct log_writer *writer)
{
    stop_writing(writer);
    kick_preparer(writer);
    thread_join(&writer->preparer);
    write_rest(writer);
    writer_free(writer);
}
