/*
 * mem_file.h - one file of a mem_disk: what calls see, and what a crash leaves.
 *
 * Two pictures of the same file share their pages; a page is copied before it is written, so a
 * sync only takes over pointers.
 */
#ifndef TESTS_SUPPORT_MEM_FILE_H
#define TESTS_SUPPORT_MEM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/mem_disk.h"

struct mem_page;

struct mem_picture {
    struct mem_page **pages; /* `room` of them in both pictures of a file. */
    uint64_t size;           /* Bytes. */
};

struct mem_file {
    struct mem_file *next; /* The owner's list. */
    bool is_dir;           /* Then it has no bytes. */
    bool marked;           /* The owner's scratch. */
    uint32_t handles;
    size_t room;
    struct mem_picture live, durable;
};

/** Frees `file`, which was calloc'ed. */
void mem_file_free(struct mem_file *file);

void mem_file_write(struct mem_file *file, uint64_t offset, const uint8_t *bytes, size_t size);
/** All of it lies inside the file. */
void mem_file_read(const struct mem_file *file, uint64_t offset, uint8_t *bytes, size_t size);
void mem_file_truncate(struct mem_file *file, uint64_t size);

/** Take over what is live; with `fail`, mark it as lost instead, until it is written again. */
void mem_file_sync(struct mem_file *file, bool fail);

/** The live picture becomes what a crash leaves, and that is then durable. */
void mem_file_crash(struct mem_file *file, enum mem_disk_crash how, uint64_t *chance);

/** The live picture of another one, durable, into an empty one. */
void mem_file_copy(struct mem_file *to, const struct mem_file *from);

/** Change a byte in both pictures. */
void mem_file_flip(struct mem_file *file, uint64_t offset, uint8_t mask);

#endif
