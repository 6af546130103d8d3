#include "storage/base/log_line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"

static const char *const names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

static _Atomic int level_on = LOG_INFO;

/* ---- Levels -------------------------------------------------------------------------------- */

void log_line_set_level(enum log_level level)
{
    CHECK(level < LOG_LEVEL_COUNT);
    atomic_store_explicit(&level_on, (int)level, memory_order_relaxed);
}

bool log_line_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_on, memory_order_relaxed);
}

const char *log_line_level_name(enum log_level level)
{
    CHECK(level < LOG_LEVEL_COUNT);
    return names[level];
}

bool log_line_parse_level(const char *name, enum log_level *ret_level)
{
    for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
        if (strcmp(name, names[level]) == 0) {
            *ret_level = (enum log_level)level;
            return true;
        }
    }
    return false;
}

/* ---- One line ------------------------------------------------------------------------------ */

/* Bytes that snprintf() really wrote, from what it returned. */
static size_t written(int result, size_t room)
{
    if (result < 0)
        return 0;
    return (size_t)result < room ? (size_t)result : room - 1;
}

static size_t put_start(char *line, size_t room, enum log_level level)
{
    int64_t now_ns = clk_wall_ns();
    time_t seconds = (time_t)(now_ns / NS_PER_S);
    struct tm utc;
    size_t size;

    (void)gmtime_r(&seconds, &utc);
    size = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &utc);
    return size + written(snprintf(line + size, room - size, ".%03dZ %s ",
                                   (int)(now_ns % NS_PER_S / NS_PER_MS), names[level]),
                          room - size);
}

static void put_all(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(STDERR_FILENO, bytes, size);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return; /* Nobody listens. The program's work goes on. */
        bytes += put;
        size -= (size_t)put;
    }
}

PRINTF_LIKE(3, 0)
static void write_line(enum log_level level, uint32_t left_out, const char *format, va_list args)
{
    char line[LOG_LINE_MAX];
    char tail[32] = "";
    size_t tail_size = 0;
    size_t start;
    size_t size;
    int wanted;
    int saved = errno;

    CHECK(level < LOG_LEVEL_COUNT);
    if (left_out > 0)
        tail_size =
            written(snprintf(tail, sizeof tail, " (and %" PRIu32 " more)", left_out), sizeof tail);

    size = start = put_start(line, sizeof line, level);
    size += written(wanted = vsnprintf(line + size, sizeof line - size - tail_size, format, args),
                    sizeof line - size - tail_size);
    if (wanted >= 0 && (size_t)wanted > size - start)
        memcpy(line + size - 3, "...", 3);
    for (size_t i = start; i < size; i++) {
        unsigned char byte = (unsigned char)line[i];

        if (byte < 0x20 || byte == 0x7f)
            line[i] = '?';
    }
    memcpy(line + size, tail, tail_size);
    size += tail_size;
    line[size++] = '\n'; /* In the place of the final NUL. */
    put_all(line, size);
    errno = saved;
}

void log_line_write(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(level, 0, format, args);
    va_end(args);
}

void log_line_write_counted(enum log_level level, uint32_t left_out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(level, left_out, format, args);
    va_end(args);
}

/* ---- Not too many -------------------------------------------------------------------------- */

bool log_line_allowed(struct log_line_limit *limit, uint32_t interval_ms)
{
    uint64_t now_ms = clk_coarse_ms();
    uint64_t open_at_ms = atomic_load_explicit(&limit->open_at_ms, memory_order_relaxed);

    /* Of several threads that find it open, the exchange lets one through. */
    if (now_ms >= open_at_ms && atomic_compare_exchange_strong_explicit(
                                    &limit->open_at_ms, &open_at_ms, now_ms + interval_ms,
                                    memory_order_relaxed, memory_order_relaxed))
        return true;
    (void)atomic_fetch_add_explicit(&limit->left_out, 1, memory_order_relaxed);
    return false;
}

uint32_t log_line_left_out(struct log_line_limit *limit)
{
    return atomic_exchange_explicit(&limit->left_out, 0, memory_order_relaxed);
}
