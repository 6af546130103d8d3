/*
 * catalog_label.h - which label makes the series many: for the message that there are too many.
 *
 * Thread   Any.
 */
#ifndef STORAGE_CATALOG_LABEL_H
#define STORAGE_CATALOG_LABEL_H

#include "storage/catalog.h"

struct catalog_label {
    char name[64];   /* Cut if it is longer; "" if no series has a label. */
    uint32_t values; /* It has at least so many. */
};

/** The label with most values in one of the parts, of those that the database has; empty: that any
 * has. Looks at no more than some hundred keys, so it may be asked for each refusal. */
struct catalog_label catalog_label_widest(const struct catalog_view *view, struct slice database);

#endif
