/*
 * Every allocation of the client library fails once: the library must come back with an error or
 * go on, store nothing twice, claim nothing that is not stored, and give all memory back.
 *
 * The scenario (open, rows, flush, query, status, close) runs again and again, and each time a
 * later allocation fails, until one run needs fewer than that. malloc() and its kin are replaced
 * for the whole program; the fake site's thread is left alone, and so is libuv, which ends the
 * program in some places where it gets no memory. Sanitizers have an allocator of
 * their own: with them the scenario runs once, and nothing fails.
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"

enum { ROWS = 60, SERIES = 6, FAILURES_MAX = 20000 };

/* The allocation that fails, counted from 1; 0: none. */
static _Atomic long fail_at, visits, live;
static _Atomic bool armed;
static pid_t site_thread;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !(defined(__has_feature) && defined(__clang__))
#define REPLACED 1
#else
#define REPLACED 0
#endif

#if REPLACED
/* What glibc's malloc() and its kin are called inside. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static bool is_library(void)
{
    static _Thread_local pid_t self;

    if (!atomic_load(&armed))
        return false;
    if (self == 0)
        self = gettid();
    return self != site_thread;
}

static bool fails(void)
{
    if (!is_library() || atomic_fetch_add(&visits, 1) + 1 != atomic_load(&fail_at))
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *memory)
{
    if (memory && is_library())
        atomic_fetch_add(&live, 1);
    return memory;
}

void *malloc(size_t size)
{
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *memory, size_t size)
{
    if (fails())
        return NULL;
    return memory ? __libc_realloc(memory, size) : counted(__libc_realloc(NULL, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

void free(void *memory)
{
    if (memory && is_library())
        atomic_fetch_sub(&live, 1);
    __libc_free(memory);
}
#endif

static bool spare_libuv(void)
{
#if REPLACED
    return uv_replace_allocator(__libc_malloc, __libc_realloc, __libc_calloc, __libc_free) == 0;
#else
    return true;
#endif
}

/* The thread that is there besides this one: the site's. */
static pid_t other_thread(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    pid_t found = 0;

    while (tasks && (entry = readdir(tasks))) {
        pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);

        if (id > 0 && id != getpid())
            found = id;
    }
    if (tasks)
        closedir(tasks);
    return found;
}

struct ledger {
    _Atomic uint32_t stored[ROWS]; /* Acks that said so. */
};

static void on_ack(void *ctx, const struct millrace_ack *ack)
{
    struct ledger *ledger = ctx;

    for (uint32_t i = 0; i < ack->rows && ack->code == MILLRACE_OK; i++)
        ledger->stored[(uintptr_t)ack->tags[i]]++;
}

/* Returns false if it did not even open. Other failures are fine: they are what is tested. */
static bool run_scenario(struct fake_site *site, struct ledger *ledger)
{
    struct millrace_options options = {.nodes = fake_site_nodes(site),
                                       .batch_rows = 8,
                                       .timeout_ms = 2000,
                                       .on_ack = on_ack,
                                       .ctx = ledger};
    struct millrace_query query = {.table = "cpu", .timeout_ms = 2000};
    struct millrace_result *result = NULL;
    struct millrace *m = NULL;
    char *json = NULL;

    if (millrace_open(&options, &m) != MILLRACE_OK)
        return false;
    for (uint32_t row = 0; row < ROWS; row++) {
        char host[16];
        struct millrace_tag tag = {"host", host};
        struct millrace_value values[] = {millrace_int("n", row), millrace_string("s", "text")};
        uint32_t series;

        snprintf(host, sizeof host, "h%u", (unsigned)(row % SERIES));
        millrace_tag_rows(m, (void *)(uintptr_t)row);
        if (millrace_series(m, "cpu", &tag, 1, &series) == MILLRACE_OK)
            (void)millrace_write(m, series, row, values, 2);
    }
    (void)millrace_flush(m, 4000);
    if (millrace_query(m, &query, &result) == MILLRACE_OK)
        millrace_result_free(result);
    if (millrace_status(m, 1, &json) == MILLRACE_OK)
        free(json);
    (void)millrace_close(m);
    return true;
}

/* One run with allocation number `at` failing; 0: none, in the first run, which makes what
 * libraries make once and keep. Returns whether all is well. */
static bool run_once(long at)
{
    static struct ledger ledger;
    struct fake_site *site = fake_site_start(1, 2, NULL);
    bool good = site != NULL;

    if (!site)
        return false;
    memset(&ledger, 0, sizeof ledger);
    site_thread = other_thread();
    atomic_store(&visits, 0);
    atomic_store(&live, 0);
    atomic_store(&fail_at, at);
    atomic_store(&armed, true);
    (void)run_scenario(site, &ledger);
    atomic_store(&armed, false);
    if (at > 0 && atomic_load(&live) != 0) {
        fprintf(stderr, "allocation %ld failed: %ld pieces of memory were not given back\n", at,
                atomic_load(&live));
        good = false;
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        if (ledger.stored[row] > 1 || fake_site_stored(site, row) > 1 ||
            ledger.stored[row] > fake_site_stored(site, row)) {
            fprintf(stderr, "allocation %ld failed: row %u was acknowledged %u, stored %u times\n",
                    at, (unsigned)row, (unsigned)ledger.stored[row],
                    (unsigned)fake_site_stored(site, row));
            good = false;
        }
    }
    if (fake_site_counts(site).bad != 0)
        good = false;
    fake_site_stop(site);
    return good;
}

int main(void)
{
    long at = 0, failures = 0;

    if (!spare_libuv() || !run_once(0))
        return 1;
    do {
        at++;
        if (!run_once(at))
            failures++;
    } while (REPLACED && atomic_load(&visits) >= at && at < FAILURES_MAX && failures < 20);
    at--;
    fprintf(stderr, "%ld allocations failed one by one, %ld runs went wrong\n", at, failures);
    return failures != 0 || at == FAILURES_MAX;
}
