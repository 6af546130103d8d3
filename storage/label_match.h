/*
 * label_match.h - conditions on tags, ready to be asked: =, !=, =~, !~.
 *
 * A pattern matches a value as a whole, as in Prometheus: "a.*" is every value that begins with a.
 * Patterns are those of PCRE2 over bytes; each match may take so many steps, so that nobody's
 * pattern can keep a thread busy for ever.
 *
 * Thread   One at a time.
 */
#ifndef STORAGE_LABEL_MATCH_H
#define STORAGE_LABEL_MATCH_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/block/query.h"

struct label_match;

/** `where` is borrowed. ERR_INVALID: a pattern, or an operator, is none; ERR_NO_MEMORY. */
MUST_CHECK enum err label_match_new(const struct query_match *where, uint32_t count,
                                    struct label_match **ret_match);
void label_match_free(struct label_match *match); /* NULL is allowed. */

uint32_t label_match_count(const struct label_match *match);
/** Condition `at`. Borrowed. */
const struct query_match *label_match_at(const struct label_match *match, uint32_t at);

/** Whether condition `at` holds for a value. ERR_LIMIT: its pattern takes too many steps. */
MUST_CHECK enum err label_match_holds(struct label_match *match, uint32_t at, struct slice value,
                                      bool *ret_holds);

/** What all values begin with that the pattern of condition `at` matches. Borrowed. */
struct slice label_match_prefix(const struct label_match *match, uint32_t at);

#endif
