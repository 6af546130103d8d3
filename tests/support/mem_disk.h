/*
 * mem_disk.h - a file system in memory that can lose, tear, fail and fill up: struct disk for
 * tests.
 *
 * It keeps two pictures: the *live* one that calls see, and the *durable* one that survives a
 * crash. Contents become durable by sync() of the file; names (create, rename, remove, make_dir)
 * by sync_dir() of the directory that holds them, and by nothing else: a file that was synced but
 * whose directory was not is gone after a crash.
 *
 *     write --> live pages --sync--> durable pages           rename --> live names
 *                     \                    |                     \-- journal --sync_dir--> durable
 *                      '---- crash: each 512-byte sector that was not synced is kept or lost
 *
 * Paths are plain strings, compared as they are; the part before the last '/' is the directory,
 * which must have been made, except "/", "" and ".", which always exist.
 *
 * Thread    Any; calls are serialised by a mutex, as are clone, fail, get, put, flip, exists. The
 *           others only when no call is running.
 */
#ifndef TESTS_SUPPORT_MEM_DISK_H
#define TESTS_SUPPORT_MEM_DISK_H

#include "storage/base/file.h"

struct mem_disk;

/** A new, empty disk. Aborts without memory, as everything in here. */
struct mem_disk *mem_disk_new(void);
void mem_disk_free(struct mem_disk *disk);

/** The disk of its own with the live picture of `disk`, everything durable, no faults, no limits.
 */
struct mem_disk *mem_disk_clone(const struct mem_disk *disk);

/** The table to give to the code under test. Borrowed until mem_disk_free(). */
const struct disk *mem_disk_table(struct mem_disk *disk);

/* ---- Crashes ------------------------------------------------------------------------------- */

enum mem_disk_crash {
    MEM_DISK_PROCESS, /* The process died, the machine did not: everything written is kept. */
    MEM_DISK_POWER,   /* Power cut: everything unsynced is lost. */
    MEM_DISK_TORN,    /* Power cut: of what is unsynced, each sector and a first part of the names'
                         journal are kept by chance (seed). */
};

/** Files that are open fail every call from now on (close them all the same). Also disarms
 * mem_disk_fail(). */
void mem_disk_crash(struct mem_disk *disk, enum mem_disk_crash how, uint64_t seed);

/* ---- Faults -------------------------------------------------------------------------------- */

enum mem_disk_call {
    MEM_DISK_OPEN = 1,
    MEM_DISK_READ = 2,
    MEM_DISK_WRITE = 4,
    MEM_DISK_SYNC = 8,
    MEM_DISK_TRUNCATE = 16,
    MEM_DISK_RENAME = 32,
    MEM_DISK_REMOVE = 64,
    MEM_DISK_MAKE_DIR = 128,
    MEM_DISK_SYNC_DIR = 256,
    MEM_DISK_LIST = 512,
    MEM_DISK_ANY = 1023,
};

/**
 * The nth (from 1) of the calls in the set `calls` from now on fails with `code`; with `stays`, all
 * later ones of the set too. A failed write leaves its first half; a failed sync leaves pages that
 * no later sync makes durable (unless they are written again), as Linux does. nth 0: no fault.
 */
void mem_disk_fail(struct mem_disk *disk, unsigned calls, uint64_t nth, enum err code, bool stays);

/** Calls in the set since the disk was made: how many n there are to try. */
uint64_t mem_disk_calls(const struct mem_disk *disk, unsigned calls);

/** Contents of all files may take so many bytes (holes count); above it writes say ERR_DISK_FULL.
 * 0: no limit (the default). */
void mem_disk_limit(struct mem_disk *disk, uint64_t bytes);

/** FILE_DIRECT is honoured from now on: is_direct() says so, and reads and writes through such a
 * file that are not 4096-aligned in memory, offset and size abort. Off by default. */
void mem_disk_direct(struct mem_disk *disk, bool honour);

/* ---- Looking and damaging ------------------------------------------------------------------ */

/** The whole live file, malloc'ed; NULL if there is none. */
uint8_t *mem_disk_get(struct mem_disk *disk, const char *path, size_t *ret_size);

/** Make the file hold just these bytes, live and durable. */
void mem_disk_put(struct mem_disk *disk, const char *path, const void *bytes, size_t size);

/** Flip the bits in `mask` of one byte of an existing file, live and durable. */
void mem_disk_flip(struct mem_disk *disk, const char *path, uint64_t offset, uint8_t mask);

bool mem_disk_exists(struct mem_disk *disk, const char *path);

/** Files that are open now: what a test for leaks compares with 0. */
uint32_t mem_disk_open_files(const struct mem_disk *disk);

#endif
