/*
 * The log writer with one or two ports, and how it ends the process. Many threads against each
 * other are in tests/stress/log_writer_stress.c.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <semaphore.h>
#include <sysexits.h>

#include "replication/log_writer.h"
#include "storage/base/clk.h"
#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

struct bench {
    struct fixture *fixture;
    struct log_writer *writer;
    sem_t woken;
    uint64_t stream; /* Of the completion seen last. */
    uint64_t index_sum;
};

static void wake(void *arg, uint32_t port)
{
    struct bench *bench = arg;

    (void)port;
    (void)sem_post(&bench->woken);
}

static struct bench *bench_new(uint32_t ports)
{
    struct bench *bench = calloc(1, sizeof *bench);

    cr_assert_not_null(bench);
    bench->fixture = fixture_new(FILE_BYTES);
    cr_assert_eq(sem_init(&bench->woken, 0, 0), 0);
    cr_assert_eq(fixture_open(bench->fixture), ERR_OK);
    cr_assert_eq(log_writer_start(bench->fixture->log, ports, wake, bench, &bench->writer), ERR_OK);
    return bench;
}

static void bench_free(struct bench *bench)
{
    log_writer_stop(bench->writer);
    fixture_free(bench->fixture);
    (void)sem_destroy(&bench->woken);
    free(bench);
}

static uint64_t append(struct log_port *port, uint32_t group, uint64_t index, uint32_t size)
{
    struct log_record record = {.group = group, .kind = LOG_ENTRY, .index = index, .term = 1};

    if (size > 0)
        record.payload = fixture_payload(&record, size);
    return log_port_append(port, &record);
}

static void each(void *arg, const struct log_done *done)
{
    struct bench *bench = arg;

    cr_assert_eq(done->stream, bench->stream + 1);
    cr_assert_gt(done->position, 0);
    bench->stream = done->stream;
    bench->index_sum += done->index;
}

static void wait_for(struct bench *bench, struct log_port *port, uint64_t stream)
{
    while (log_port_collect(port, each, bench) < stream)
        (void)sem_wait(&bench->woken);
}

Test(log_writer, reports_each_record_once_in_order_with_its_position)
{
    struct bench *bench = bench_new(1);
    struct log_port *port = log_writer_port(bench->writer, 0);

    for (uint64_t i = 1; i <= 500; i++) {
        cr_assert_eq(append(port, 1, i, 50), i);
        if (i % 7 == 0)
            log_port_flush(port);
    }
    cr_assert_gt(log_port_pending(port), 0);
    log_port_flush(port);
    while (bench->stream < 500) {
        (void)log_port_collect(port, each, bench);
        log_port_flush(port);
        if (bench->stream < 500)
            (void)sem_wait(&bench->woken);
    }
    cr_assert_eq(bench->index_sum, 500 * 501 / 2);
    cr_assert_eq(log_port_pending(port), 0);
    bench_free(bench);
}

Test(log_writer, what_is_reported_survives_a_power_cut)
{
    struct bench *bench = bench_new(1);
    struct log_port *port = log_writer_port(bench->writer, 0);

    (void)append(port, 2, 1, 3000);
    (void)append(port, 2, 2, 0);
    log_port_flush(port);
    wait_for(bench, port, 2);
    log_writer_stop(bench->writer);
    mem_disk_crash(bench->fixture->disk, MEM_DISK_POWER, 1);
    fixture_close(bench->fixture);
    cr_assert_eq(fixture_open(bench->fixture), ERR_OK);
    cr_assert_eq(bench->fixture->replayed_count, 2);
    fixture_free(bench->fixture);
    free(bench);
}

Test(log_writer, writes_at_the_stop_what_was_appended_and_not_handed_over)
{
    struct bench *bench = bench_new(2);

    (void)append(log_writer_port(bench->writer, 0), 0, 1, 10);
    (void)append(log_writer_port(bench->writer, 1), 1, 1, 10);
    log_port_flush(log_writer_port(bench->writer, 1));
    log_writer_stop(bench->writer);
    fixture_close(bench->fixture);
    cr_assert_eq(fixture_open(bench->fixture), ERR_OK);
    cr_assert_eq(bench->fixture->replayed_count, 2);
    fixture_free(bench->fixture);
    free(bench);
}

Test(log_writer, an_error_of_the_disk_ends_the_process_with_74, .exit_code = EX_IOERR)
{
    struct bench *bench = bench_new(1);
    struct log_port *port = log_writer_port(bench->writer, 0);

    mem_disk_fail(bench->fixture->disk, MEM_DISK_SYNC, 1, ERR_IO, true);
    (void)append(port, 0, 1, 10);
    log_port_flush(port);
    wait_for(bench, port, 1);
    cr_assert_fail("a record was reported durable after a failed sync");
}

Test(log_writer, is_short_while_the_disk_is_full_and_not_any_more_afterwards)
{
    struct bench *bench = bench_new(1);
    struct log_port *port = log_writer_port(bench->writer, 0);
    uint64_t limit_ms = clk_coarse_ms() + 30000;

    while (log_lacks_next(bench->fixture->log) && clk_coarse_ms() < limit_ms)
        sched_yield();
    mem_disk_limit(bench->fixture->disk, 2 * FILE_BYTES);
    for (uint64_t i = 1; i <= 10; i++)
        (void)append(port, 0, i, 8000); /* Into the second file. */
    log_port_flush(port);
    wait_for(bench, port, 10);
    while (!log_writer_is_short(bench->writer) && clk_coarse_ms() < limit_ms)
        sched_yield();
    cr_assert(log_writer_is_short(bench->writer));
    (void)append(port, 0, 11, 100);
    log_port_flush(port);
    wait_for(bench, port, 11);

    mem_disk_limit(bench->fixture->disk, 0);
    while (log_writer_is_short(bench->writer) && clk_coarse_ms() < limit_ms)
        sched_yield();
    cr_assert_not(log_writer_is_short(bench->writer));
    bench_free(bench);
}
