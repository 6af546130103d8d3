/*
 * damage.h - what a check of files has found, one report a fault: which file, where, what.
 *
 * Readers say by an error, as everywhere, that bytes are wrong: "FILE: offset 4096: bad checksum of
 * a frame". A check goes on behind it, and so turns each such error into a report.
 */
#ifndef STORAGE_DAMAGE_H
#define STORAGE_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"

#define DAMAGE_NOWHERE UINT64_MAX

struct damage {
    const char *path;
    uint64_t offset; /* In the file; DAMAGE_NOWHERE: of no certain place. */
    const char *what;
    bool harmless; /* Worth a note: the next start deals with it. */
};

/** Whom to tell. What the damage points to is borrowed during the call. */
struct damage_sink {
    void (*report)(void *arg, const struct damage *damage);
    void *arg;
    uint64_t count, notes; /* Reports so far; of what is harmless. */
};

void damage_report(struct damage_sink *sink, const char *path, uint64_t offset, const char *format,
                   ...) PRINTF_LIKE(4, 5);
void damage_note(struct damage_sink *sink, const char *path, const char *format, ...)
    PRINTF_LIKE(3, 4);

/** Report this thread's error detail; if it begins with path and offset, these are taken out.
 * `path` NULL: it does begin with one. */
void damage_report_error(struct damage_sink *sink, const char *path);

#endif
