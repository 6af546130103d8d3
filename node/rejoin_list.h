/*
 * rejoin_list.h - which groups of this node begin again from other nodes, and how far that is.
 *
 *     rejoin.mrj  u32 magic "MRJ1", u32 crc (of all behind it), u32 version, u32 count, then each:
 *                 u32 group, ascending | u8 state | of a ready one: u64 index, term, index of its
 *                 configuration, until, until's term | string: configuration
 *
 * Kept twice in the data directory (base/twin.h), for as long as there is such a group. A group
 * that is named must not promise anything before it has what it may have promised: docs/adr/0027.
 */
#ifndef NODE_REJOIN_LIST_H
#define NODE_REJOIN_LIST_H

#include "storage/base/bytes.h"
#include "storage/base/file.h"

#define REJOIN_FILE "rejoin.mrj"

enum { REJOIN_CONFIGURATION_MAX = 64 * 1024 };

enum rejoin_state {
    REJOIN_NOT = 0,    /* As usual. */
    REJOIN_LOST = 1,   /* Its log is gone: terms, votes and entries are forgotten. */
    REJOIN_BEHIND = 2, /* Its log and state are there, and the others' logs begin behind them. */
    REJOIN_READY = 3,  /* Its state was fetched: group_install() with what follows. */
    REJOIN_BARE = 4,   /* Its log is there, and not enough to start: its state is gone, or it is
                          behind before it had again all that it has lost. */
};

struct rejoin_entry {
    enum rejoin_state state;
    uint64_t index, term, configuration_index; /* Of the snapshot. */
    uint64_t until, until_term;
    struct bytes configuration; /* Owned. */
};

struct rejoin_list {
    uint32_t count;               /* Groups of the site. */
    struct rejoin_entry *entries; /* Owned: one for each. */
};

/** None rejoins. ERR_NO_MEMORY. */
MUST_CHECK enum err rejoin_list_init(struct rejoin_list *list, uint32_t groups);
void rejoin_list_fini(struct rejoin_list *list);
bool rejoin_list_is_empty(const struct rejoin_list *list);
/** Another state, with nothing else. */
void rejoin_list_set(struct rejoin_list *list, uint32_t group, enum rejoin_state state);

void rejoin_list_encode(const struct rejoin_list *list, struct bytes *out);
/** From untrusted bytes, into an initialised list. ERR_CORRUPT, ERR_VERSION, ERR_NO_MEMORY;
 * ERR_INVALID: of more groups. */
MUST_CHECK enum err rejoin_list_decode(const void *bytes, size_t size, struct rejoin_list *list);

/** Replace the file and its copy, or remove them if the list is empty. ERR_IO, ERR_DISK_FULL. */
MUST_CHECK enum err rejoin_list_save(const struct rejoin_list *list, const struct disk *disk,
                                     const char *dir);
/** An empty list if there is no file. As rejoin_list_decode(), and ERR_IO. */
MUST_CHECK enum err rejoin_list_load(struct rejoin_list *list, const struct disk *disk,
                                     const char *dir);

#endif
