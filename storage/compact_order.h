/*
 * compact_order.h - what orders and drops do to the segments that a shard is said to have.
 *
 * Part of a seal: the same log makes the same of it on every replica, whether or not it has come to
 * make the segments that are named (compactions.h).
 *
 * Thread    Pool, or wherever a seal runs.
 */
#ifndef STORAGE_COMPACT_ORDER_H
#define STORAGE_COMPACT_ORDER_H

#include "storage/block/seal_order.h"
#include "storage/manifest.h"
#include "storage/seal_parts.h"

/**
 * Take the compactions of the order with that log index into the manifest. One that names what is
 * not there, or not in a run (compact_plan.h), is passed over.
 *
 * rules   one for each database
 * Errors  ERR_NO_MEMORY
 */
MUST_CHECK enum err compact_order_take(struct manifest *manifest, struct seal_order order,
                                       uint64_t index, const struct seal_rule *rules);

/**
 * Take over what the order with that log index says of clean segments. A segment has to be in the
 * line-up (manifest.h) and the index between what it is clean of and the order's own: else it is
 * passed over.
 *
 * ret_taken  those that were taken over, up to SEAL_CLEANS_MAX
 * Errors     ERR_NO_MEMORY
 */
MUST_CHECK enum err compact_order_clean(struct manifest *manifest, struct seal_order order,
                                        uint64_t index, struct seal_clean *ret_taken,
                                        uint32_t *ret_count);

/**
 * Take from the manifest the segments that have no rows to keep. Of one that is still to be made
 * all inputs go, and only together.
 *
 * ret_dropped  numbers of those that have files, ascending: free() it
 * Errors       ERR_NO_MEMORY
 */
MUST_CHECK enum err compact_order_drop(struct manifest *manifest, const struct seal_rule *rules,
                                       uint64_t **ret_dropped, uint32_t *ret_count);

#endif
