/*
 * room.h - much memory for a while: given back to the system at once, in large pages if it has any.
 *
 * What malloc() gets back it keeps for some time, and does not know that the memory will be written
 * all over the place, where pages of 4 KiB cost a table walk each. Below one large page it is
 * malloc().
 *
 * Thread    One at a time for each room.
 */
#ifndef STORAGE_BASE_ROOM_H
#define STORAGE_BASE_ROOM_H

#include <stdbool.h>
#include <stddef.h>

/** A zeroed struct is an empty one. */
struct room {
    void *bytes; /* Owned; aligned as by malloc(). */
    size_t size;
};

/** Make room for `size` bytes, if there is less. What was in it is lost. false: no memory. */
bool room_make(struct room *room, size_t size);
void room_fini(struct room *room);

#endif
