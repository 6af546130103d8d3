/*
 * gzip.h - inflate a gzip body that arrives in pieces, from somebody who may mean harm.
 *
 * A kilobyte can inflate to a megabyte. So a call writes at most the room it is given, the caller
 * decides when to go on, and a total is never passed. Several gzip members in a row are one body.
 */
#ifndef NODE_GZIP_H
#define NODE_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

struct gzip;

/** out_max  bytes that all of it may inflate to. ERR_NO_MEMORY (about 40 KiB are taken) */
MUST_CHECK enum err gzip_new(uint64_t out_max, struct gzip **ret_gzip);
void gzip_free(struct gzip *gzip); /* NULL is allowed. */

/**
 * Inflate as far as input or room go.
 *
 * ret_used  bytes of the input that were used; fewer than in_size: call again with the rest
 * ret_size  bytes written to `out`; less than `room`, and all of the input used: give more input
 * Errors    ERR_INVALID: not gzip, or damaged; ERR_TOO_LARGE: over out_max; ERR_NO_MEMORY. Final.
 */
MUST_CHECK enum err gzip_step(struct gzip *gzip, const void *in, size_t in_size, void *out,
                              size_t room, size_t *ret_used, size_t *ret_size);

/** The input is over: ERR_INVALID if a member is cut short, or there was none. */
MUST_CHECK enum err gzip_end(const struct gzip *gzip);

#endif
