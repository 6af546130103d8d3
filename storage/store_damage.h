/*
 * store_damage.h - a shard's files one by one, and what becomes of those that are damaged.
 *
 *     scan, merge: flag --.
 *     scrub: store_blame() +--> store_next_damaged() --> repair --> store_install()  file in place
 *     store_open(): stand-in     '-> store_check_damage() refuses       |
 *                                    what needs the segment             |
 *     everything as before <-- store_take_segment(), store_take_run() <-'
 *
 * A damaged file stays under its name until a good one takes its place, so that a restart finds it
 * again. Nothing is passed over: a query either does not need the segment or is refused.
 *
 * WAITING   Without its catalog a shard can do nothing. store_open_waiting() knows what the
 *           manifest knows: which files there should be. The owner opens the store anew when they
 *           are; until then it applies nothing and answers nothing.
 * Thread    As each function says. What may be called by others than the worker that owns the
 *           store goes by the manifest under the sealer's lock.
 */
#ifndef STORAGE_STORE_DAMAGE_H
#define STORAGE_STORE_DAMAGE_H

#include "storage/block/query.h"
#include "storage/catalog_file.h"
#include "storage/segment.h"
#include "storage/store.h"

struct manifest;

enum store_file_kind { STORE_FILE_SEGMENT = 1, STORE_FILE_CATALOG = 2 };

/** A file that counts. All replicas that have one with this kind, number, size and hash have the
 * same bytes in it. A plain value. */
struct store_file {
    enum store_file_kind kind;
    uint64_t number; /* Of the segment; of a run of the catalog the series at its end. */
    uint64_t size;
    uint64_t hash; /* Of the contents; of a run the checksum of its header. */
    struct segment_info segment;
    struct catalog_file_info run;
};

enum { STORE_FILE_NAME_SIZE = 24 };

bool store_file_is(const struct store_file *a, const struct store_file *b);
/** "00000017.mrs". */
void store_file_name(const struct store_file *file, char ret_name[STORE_FILE_NAME_SIZE]);

/** As store_open(), of a shard whose catalog cannot be read. The same errors. */
MUST_CHECK enum err store_open_waiting(const struct store_options *options,
                                       struct store **ret_store);

/** As store_open_waiting(), of a shard whose state comes from another node: with a good manifest it
 * knows what that says, else nothing. ERR_NO_MEMORY, ERR_IO. */
MUST_CHECK enum err store_open_absent(const struct store_options *options,
                                      struct store **ret_store);

/* ---- Any thread ---------------------------------------------------------------------------- */

/** All files that count now, catalog first; owned by the caller, free(). ERR_NO_MEMORY. */
MUST_CHECK enum err store_files(struct store *store, struct store_file **ret_files,
                                uint32_t *ret_count);
/** The same of a manifest that another node has made. */
MUST_CHECK enum err store_files_of(const struct manifest *manifest, struct store_file **ret_files,
                                   uint32_t *ret_count);
/** The manifest of the last seal, encoded, and the log index that it is of. ERR_NO_MEMORY. */
MUST_CHECK enum err store_manifest(struct store *store, struct bytes *out, uint64_t *ret_index);
/** It counts now. */
bool store_has_file(struct store *store, const struct store_file *file);
/** The shard's folder. */
const char *store_dir(const struct store *store);

/**
 * Verify a file that counts, at `path`: what it says of itself, every checksum, the hash.
 *
 * disk     to read with: that of the store, or a paced one
 * Errors   ERR_CORRUPT names it, and where; ERR_IO, ERR_VERSION, ERR_NO_MEMORY
 */
MUST_CHECK enum err store_verify_file(const struct disk *disk, const char *path, uint32_t shard,
                                      const struct store_file *file);

/** Give a good file, written and synced as `path` in the shard's folder, its name. ERR_NOT_FOUND:
 * it neither counts nor waits to be made, and was removed; ERR_IO. */
MUST_CHECK enum err store_install(struct store *store, const struct store_file *file,
                                  const char *path);

/** What the manifest says of a segment that counts, for another node that has still to make it;
 * rows 0: it was made, and has none. ERR_NOT_FOUND: it does not count. */
MUST_CHECK enum err store_facts(struct store *store, uint64_t number,
                                struct segment_info *ret_info);
/** The segments that were ordered and not made, and of which this one becomes a part, the last
 * first; owned by the caller, free(). ERR_NO_MEMORY. */
MUST_CHECK enum err store_outputs(struct store *store, uint64_t number, uint64_t **ret_numbers,
                                  uint32_t *ret_count);

/** Check both copies of the manifest; if one is damaged write them again. ERR_CORRUPT: one was,
 * and is mended; ERR_IO, ERR_DISK_FULL: it is not. */
MUST_CHECK enum err store_check_manifest(struct store *store, const struct disk *disk);

/* ---- The worker ---------------------------------------------------------------------------- */

bool store_is_waiting(const struct store *store);
/** The catalog is damaged: nothing can be looked up, and nothing may be applied. */
bool store_is_blind(const struct store *store);
/** What the query asks for is not in a damaged file. ERR_CORRUPT names one. */
MUST_CHECK enum err store_check_damage(const struct store *store, const struct query *query);
/** The next flagged segment that is not gone, from *at (0 at first) on. */
bool store_next_damaged(const struct store *store, uint32_t *at, struct store_file *ret_file);
/** Somebody has found that file damaged. */
void store_blame(struct store *store, const struct store_file *file);
/** No file of the catalog is damaged any more. */
void store_see(struct store *store);

/** A good file was put in the place of a damaged one; takes over the reference. False: the store
 * has no such segment any more. */
bool store_take_segment(struct store *store, struct segment *segment);
/** The same of a run of the catalog. ERR_BUSY: not while a seal is out, try again; ERR_NOT_FOUND:
 * there is none any more; ERR_NO_MEMORY; ERR_CORRUPT: ids went wrong while it was damaged, so the
 * store has to be opened again, from the last seal on. */
MUST_CHECK enum err store_take_run(struct store *store, struct catalog_run *run);

#endif
