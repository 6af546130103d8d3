/*
 * meter.h - what benches measure and tell with.
 *
 *     meter_init("catalog", argc, argv)     --json [FILE]: a list of objects, instead of a table
 *     meter_report("one", "start", 27.0, "ms")
 *     meter_fini()
 *
 * Thread   One.
 */
#ifndef TESTS_BENCH_METER_H
#define TESTS_BENCH_METER_H

#include <stdint.h>

#include "storage/base/err.h"

/** Begin. Takes --json and --case NAME from the arguments. Returns the first other one, or NULL. */
const char *meter_init(const char *bench, int argc, char **argv);
/** Close the list. */
void meter_fini(void);

/** Whether the case was asked for: all are, but for --case. */
int meter_wants(const char *name);
void meter_report(const char *name, const char *what, double value, const char *unit);

/** The CPU's time of this thread: other work on the machine does not count, waiting for the disk
 * neither. */
uint64_t meter_cpu_ns(void);
/** End the process, and say why, if something failed. */
void meter_must(enum err err);

/** Make a folder in $TMPDIR (or /tmp). Returns its path, in static memory. */
const char *meter_make_dir(void);
/** Remove the files of a folder, and the folder. */
void meter_remove_dir(const char *dir);

#endif
