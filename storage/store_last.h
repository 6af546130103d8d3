/*
 * store_last.h - the newest values of series, from memory if somebody asked for them before.
 *
 *     store_last(), store_last_by_key(), store_last_query() --known--> the answer: no scan
 *          |
 *          +--unknown--> store_last_look(): what the head tells, a microsecond
 *          '--unknown--> store_last_begin() .. snapshot, scan_found() .. store_last_learn()
 *                        or, in place and with the disk: store_last_read()
 *
 * ALWAYS RIGHT  What is known is what a scan of everything applied up to now would say. Blocks that
 *     are applied renew or drop it (last_follow.h); a delete or the drop of a database forgets all
 *     of it; what is older than a cutoff is taken for gone where it is looked up. Seals,
 *     compactions and repairs change nothing that a scan shows. Nothing of it is stored.
 * LEARNING     A scan looks at an older moment. What it found is taken in only if no block with one
 *     of its series was applied since, and nothing was deleted: the head's blocks tell.
 *
 * Memory is bounded by store_options.last_bytes, and what last_where.h takes.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_STORE_LAST_H
#define STORAGE_STORE_LAST_H

#include "storage/last_found.h"
#include "storage/scan.h"
#include "storage/store.h"

/** The number of a field's name, for ever; LAST_NO_FIELD: there are too many. */
uint32_t store_last_field(struct store *store, struct slice name);

/** The newest value of a field of a series. LAST_UNKNOWN of any id, too. */
enum last_answer store_last(struct store *store, uint32_t id, uint32_t field,
                            struct last_value *ret_value);
/** The same by its key; `hash` is key_hash() of it. */
enum last_answer store_last_by_key(struct store *store, struct slice key, uint64_t hash,
                                   uint32_t field, struct last_value *ret_value);
/** The same of a value that nobody asked for before, if the head has it (LAST_NONE: nothing has):
 * known then, if there is room. LAST_UNKNOWN: it takes store_last_read(), or a scan. Never waits
 * for the disk. */
enum last_answer store_last_look(struct store *store, uint32_t id, uint32_t field,
                                 struct last_value *ret_value);
/** Ask the storage for one field of a series, and of others of its table with the ids behind it, 1
 * to LAST_SERIES_MAX together, and know it then if there is room: of one series without a scan, if
 * that goes. Blocks on the disk. ERR_INVALID: no such series; those of a scan. */
MUST_CHECK enum err store_last_read(struct store *store, uint32_t id, uint32_t count,
                                    struct slice field);

/** Answer a query as scan_page() would on a snapshot of now, if all of it is known: *ret_known.
 * The errors of scan_page(). */
MUST_CHECK enum err store_last_query(struct store *store, const struct query *query,
                                     const struct scan_limits *limits, scan_batch_cb batch,
                                     void *arg, bool *ret_known);

/** Before the snapshot of a scan for that query is taken; found->wanted then says whether to call
 * scan_found(). `found` is zeroed. */
void store_last_begin(const struct store *store, const struct query *query,
                      struct last_found *found);
/** After it, without an error. The caller still owns `found`. */
void store_last_learn(struct store *store, const struct query *query,
                      const struct last_found *found);

#endif
