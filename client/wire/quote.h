/*
 * quote.h - a few bytes that somebody sent, fit to stand in a message to them.
 *
 *     err_set(ERR_INVALID, "field \"%s\" has no value", quote(name).text);
 */
#ifndef CLIENT_WIRE_QUOTE_H
#define CLIENT_WIRE_QUOTE_H

#include "storage/base/types.h"

enum { QUOTE_MAX = 40 };

struct quote {
    char text[QUOTE_MAX + 4]; /* With "..." where it was cut, and a NUL. */
};

/** At most QUOTE_MAX bytes of it, cut between UTF-8 characters; control bytes become '?'. */
struct quote quote(struct slice bytes);

#endif
