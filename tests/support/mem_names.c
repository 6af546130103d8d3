#include "tests/support/mem_names.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

static void *must(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

size_t mem_names_dir_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path);
}

bool mem_names_in_dir(const char *path, const char *dir)
{
    size_t size = strlen(dir);

    if (strcmp(dir, "/") == 0 || strcmp(dir, ".") == 0)
        size = 0;
    return mem_names_dir_size(path) == size && strncmp(path, dir, size) == 0;
}

static struct mem_name *find(struct mem_names *names, const char *path, size_t size)
{
    for (size_t i = 0; i < names->count; i++)
        if (strncmp(names->names[i].path, path, size) == 0 && names->names[i].path[size] == '\0')
            return &names->names[i];
    return NULL;
}

struct mem_file *mem_names_file(struct mem_names *names, const char *path)
{
    struct mem_name *name = find(names, path, strlen(path));

    return name == NULL ? NULL : name->file;
}

void mem_names_remove(struct mem_names *names, const char *path)
{
    struct mem_name *name = find(names, path, strlen(path));

    if (name == NULL)
        return;
    free(name->path);
    *name = names->names[--names->count];
}

void mem_names_add(struct mem_names *names, const char *path, struct mem_file *file)
{
    mem_names_remove(names, path);
    names->names = must(realloc(names->names, (names->count + 1) * sizeof *names->names));
    names->names[names->count++] = (struct mem_name){must(strdup(path)), file};
}

void mem_names_clear(struct mem_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i].path);
    free(names->names);
    *names = (struct mem_names){0};
}

void mem_names_copy(struct mem_names *to, const struct mem_names *from)
{
    mem_names_clear(to);
    for (size_t i = 0; i < from->count; i++)
        mem_names_add(to, from->names[i].path, from->names[i].file);
}

bool mem_names_has_dir(struct mem_names *names, const char *path, size_t size)
{
    struct mem_name *name;

    if (size == 0 || (size == 1 && path[0] == '.'))
        return true;
    name = find(names, path, size);
    return name != NULL && name->file->is_dir;
}

void mem_names_apply(struct mem_names *names, const struct mem_change *change)
{
    struct mem_file *file =
        change->from == NULL ? change->file : mem_names_file(names, change->from);

    if (change->from != NULL)
        mem_names_remove(names, change->from);
    if (change->to != NULL && file != NULL)
        mem_names_add(names, change->to, file);
}

void mem_names_change_fini(struct mem_change *change)
{
    free(change->from);
    free(change->to);
}
