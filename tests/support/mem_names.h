/*
 * mem_names.h - the names on a mem_disk: path -> file, and the changes that a crash may undo.
 */
#ifndef TESTS_SUPPORT_MEM_NAMES_H
#define TESTS_SUPPORT_MEM_NAMES_H

#include "tests/support/mem_file.h"

struct mem_names {
    struct mem_name {
        char *path;
        struct mem_file *file;
    } * names;
    size_t count;
};

/** `from` NULL: a new name for `file`; `to` NULL: a removed one; else a renamed one. */
struct mem_change {
    char *from, *to;
    struct mem_file *file;
};

/** Bytes of the path that are its directory. */
size_t mem_names_dir_size(const char *path);
bool mem_names_in_dir(const char *path, const char *dir);

struct mem_file *mem_names_file(struct mem_names *names, const char *path);
/** The first `size` bytes of `path` are a directory that is there. */
bool mem_names_has_dir(struct mem_names *names, const char *path, size_t size);

void mem_names_add(struct mem_names *names, const char *path, struct mem_file *file);
void mem_names_remove(struct mem_names *names, const char *path);
void mem_names_clear(struct mem_names *names);
void mem_names_copy(struct mem_names *to, const struct mem_names *from);

void mem_names_apply(struct mem_names *names, const struct mem_change *change);
void mem_names_change_fini(struct mem_change *change);

#endif
