/*
 * huge.h - large tables that are read at random places, in huge pages where the system has them.
 *
 * A read of a table of many MiB misses the cache, and with pages of 4 KiB the translation of its
 * address as well: that doubles what a lookup takes. What is not touched takes no memory.
 *
 * Thread    Any.
 */
#ifndef STORAGE_BASE_HUGE_H
#define STORAGE_BASE_HUGE_H

#include <stddef.h>

/** Memory for free(), aligned to a cache line; its contents are undefined. NULL: there is none. */
void *huge_alloc(size_t size);

#endif
