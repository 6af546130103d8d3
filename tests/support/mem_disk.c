#include "tests/support/mem_disk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/support/mem_names.h"
#include "tests/support/seed.h"

enum { PAGE = 4096 };

/* ---- What there is ------------------------------------------------------------------------- */

struct mem_disk {
    struct disk table;
    pthread_mutex_t lock;
    struct mem_file *files;
    struct mem_names live, durable;
    struct mem_change *journal; /* Changes of names that no sync_dir() has made durable. */
    size_t journal_count;
    uint64_t epoch; /* Crashes so far: files opened before the last one are dead. */
    uint64_t limit, used;
    bool honour_direct;
    uint32_t open_files;

    unsigned fail_calls;
    uint64_t fail_after; /* Calls of the set until the fault; 0: none. */
    enum err fail_code;
    bool fail_stays, failing;
    uint64_t calls[16]; /* By bit number of enum mem_disk_call. */
};

struct file {
    struct mem_disk *disk;
    struct mem_file *node;
    uint64_t epoch;
    bool writable, direct;
};

static void *must(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

/* ---- Files and names ----------------------------------------------------------------------- */

static struct mem_file *file_new(struct mem_disk *disk, bool is_dir)
{
    struct mem_file *file = must(calloc(1, sizeof *file));

    file->is_dir = is_dir;
    file->next = disk->files;
    disk->files = file;
    return file;
}

/* Change the live names, and note it for sync_dir() and for crashes. */
static void change_names(struct mem_disk *disk, const char *from, const char *to,
                         struct mem_file *node)
{
    struct mem_change change = {.file = node};

    change.from = from == NULL ? NULL : must(strdup(from));
    change.to = to == NULL ? NULL : must(strdup(to));
    mem_names_apply(&disk->live, &change);
    disk->journal = must(realloc(disk->journal, (disk->journal_count + 1) * sizeof *disk->journal));
    disk->journal[disk->journal_count++] = change;
}

/* Free the files that nothing leads to any more, and count what the others hold. */
static void collect(struct mem_disk *disk)
{
    struct mem_file **link = &disk->files;

    for (struct mem_file *node = disk->files; node != NULL; node = node->next)
        node->marked = node->handles > 0;
    for (size_t i = 0; i < disk->live.count; i++)
        disk->live.names[i].file->marked = true;
    for (size_t i = 0; i < disk->durable.count; i++)
        disk->durable.names[i].file->marked = true;
    for (size_t i = 0; i < disk->journal_count; i++)
        if (disk->journal[i].from == NULL)
            disk->journal[i].file->marked = true;
    while (*link != NULL) {
        struct mem_file *node = *link;

        if (node->marked) {
            link = &node->next;
            continue;
        }
        *link = node->next;
        mem_file_free(node);
    }
    disk->used = 0;
    for (struct mem_file *node = disk->files; node != NULL; node = node->next)
        disk->used += node->live.size;
}

/* ---- Faults -------------------------------------------------------------------------------- */

/* Count a call, and say whether it has to fail. */
static enum err admit(struct mem_disk *disk, enum mem_disk_call call, const char *what)
{
    disk->calls[__builtin_ctz(call)]++;
    if ((disk->fail_calls & call) == 0)
        return ERR_OK;
    if (disk->fail_after > 0 && --disk->fail_after == 0) {
        disk->failing = disk->fail_stays;
        return err_set(disk->fail_code, "%s: injected fault", what);
    }
    return disk->failing ? err_set(disk->fail_code, "%s: injected fault", what) : ERR_OK;
}

static enum err admit_file(struct file *file, enum mem_disk_call call, const char *what)
{
    enum err err = admit(file->disk, call, what);

    if (err != ERR_OK)
        return err;
    if (file->epoch != file->disk->epoch)
        return err_set(ERR_IO, "%s: the file was open when the disk crashed", what);
    return ERR_OK;
}

/* ---- The table's functions, with the lock held --------------------------------------------- */

static enum err open_locked(struct mem_disk *disk, const char *path, unsigned flags,
                            struct file **ret_file)
{
    enum err err = admit(disk, MEM_DISK_OPEN, path);
    struct mem_file *node = mem_names_file(&disk->live, path);
    struct file *file;

    if (err != ERR_OK)
        return err;
    if (node == NULL && (flags & FILE_CREATE) == 0)
        return err_set(ERR_NOT_FOUND, "%s: no such file", path);
    if (node != NULL && (node->is_dir || (flags & (FILE_CREATE | FILE_TRUNCATE)) == FILE_CREATE))
        return err_set(ERR_IO, "%s: exists", path);
    if (!mem_names_has_dir(&disk->live, path, mem_names_dir_size(path)))
        return err_set(ERR_NOT_FOUND, "%s: no such directory", path);
    if (node == NULL) {
        node = file_new(disk, false);
        change_names(disk, NULL, path, node);
    } else if (flags & FILE_TRUNCATE) {
        mem_file_truncate(node, 0);
    }
    file = must(calloc(1, sizeof *file));
    *file = (struct file){disk, node, disk->epoch, (flags & FILE_WRITE) != 0,
                          disk->honour_direct && (flags & FILE_DIRECT) != 0};
    node->handles++;
    disk->open_files++;
    *ret_file = file;
    return ERR_OK;
}

static void check_alignment(const struct file *file, uint64_t offset, const void *bytes,
                            size_t size)
{
    if (!file->direct)
        return;
    CHECK(offset % PAGE == 0);
    CHECK(size % PAGE == 0);
    CHECK((uintptr_t)bytes % PAGE == 0);
}

static enum err read_locked(struct file *file, uint64_t offset, void *bytes, size_t size)
{
    enum err err = admit_file(file, MEM_DISK_READ, "read");

    check_alignment(file, offset, bytes, size);
    if (err != ERR_OK)
        return err;
    if (offset > file->node->live.size || size > file->node->live.size - offset)
        return err_set(ERR_END, "read: %zu bytes at %llu, the file has %llu", size,
                       (unsigned long long)offset, (unsigned long long)file->node->live.size);
    mem_file_read(file->node, offset, bytes, size);
    return ERR_OK;
}

static enum err write_locked(struct file *file, uint64_t offset, const void *bytes, size_t size)
{
    struct mem_disk *disk = file->disk;
    enum err err = admit_file(file, MEM_DISK_WRITE, "write");
    uint64_t end = offset + size;
    uint64_t growth = end > file->node->live.size ? end - file->node->live.size : 0;

    CHECK(file->writable);
    check_alignment(file, offset, bytes, size);
    if (err != ERR_OK) {
        if (file->epoch == disk->epoch)
            mem_file_write(file->node, offset, bytes, size / 2);
        return err;
    }
    if (disk->limit > 0 && disk->used + growth > disk->limit)
        return err_set(ERR_DISK_FULL, "write: %zu bytes, the disk is full", size);
    disk->used += growth;
    mem_file_write(file->node, offset, bytes, size);
    return ERR_OK;
}

static enum err rename_locked(struct mem_disk *disk, const char *from, const char *to)
{
    enum err err = admit(disk, MEM_DISK_RENAME, from);

    if (err != ERR_OK)
        return err;
    if (mem_names_file(&disk->live, from) == NULL)
        return err_set(ERR_NOT_FOUND, "%s: no such file", from);
    CHECK(mem_names_dir_size(from) ==
          mem_names_dir_size(to)); /* Moves across directories: nobody needs them. */
    CHECK(memcmp(from, to, mem_names_dir_size(from)) == 0);
    change_names(disk, from, to, NULL);
    return ERR_OK;
}

static enum err remove_locked(struct mem_disk *disk, const char *path)
{
    enum err err = admit(disk, MEM_DISK_REMOVE, path);

    if (err != ERR_OK)
        return err;
    if (mem_names_file(&disk->live, path) == NULL)
        return err_set(ERR_NOT_FOUND, "%s: no such file", path);
    change_names(disk, path, NULL, NULL);
    return ERR_OK;
}

static enum err make_dir_locked(struct mem_disk *disk, const char *path)
{
    enum err err = admit(disk, MEM_DISK_MAKE_DIR, path);

    if (err != ERR_OK)
        return err;
    if (mem_names_has_dir(&disk->live, path, strlen(path)))
        return ERR_OK;
    if (!mem_names_has_dir(&disk->live, path, mem_names_dir_size(path)))
        return err_set(ERR_NOT_FOUND, "%s: no such directory", path);
    change_names(disk, NULL, path, file_new(disk, true));
    return ERR_OK;
}

static enum err sync_dir_locked(struct mem_disk *disk, const char *path)
{
    enum err err = admit(disk, MEM_DISK_SYNC_DIR, path);
    size_t kept = 0;

    if (err != ERR_OK)
        return err;
    if (!mem_names_has_dir(&disk->live, path, strcmp(path, "/") == 0 ? 0 : strlen(path)))
        return err_set(ERR_NOT_FOUND, "%s: no such directory", path);
    for (size_t i = 0; i < disk->journal_count; i++) {
        struct mem_change *change = &disk->journal[i];

        if (mem_names_in_dir(change->to != NULL ? change->to : change->from, path)) {
            mem_names_apply(&disk->durable, change);
            mem_names_change_fini(change);
        } else {
            disk->journal[kept++] = *change;
        }
    }
    disk->journal_count = kept;
    collect(disk);
    return ERR_OK;
}

static enum err list_locked(struct mem_disk *disk, const char *path, struct mem_names *ret_names)
{
    enum err err = admit(disk, MEM_DISK_LIST, path);

    if (err != ERR_OK)
        return err;
    if (!mem_names_has_dir(&disk->live, path, strcmp(path, "/") == 0 ? 0 : strlen(path)))
        return err_set(ERR_NOT_FOUND, "%s: no such directory", path);
    for (size_t i = 0; i < disk->live.count; i++)
        if (mem_names_in_dir(disk->live.names[i].path, path))
            mem_names_add(ret_names, disk->live.names[i].path, disk->live.names[i].file);
    return ERR_OK;
}

/* ---- The table ----------------------------------------------------------------------------- */

static void lock(struct mem_disk *disk)
{
    CHECK(pthread_mutex_lock(&disk->lock) == 0);
}

static void unlock(struct mem_disk *disk)
{
    CHECK(pthread_mutex_unlock(&disk->lock) == 0);
}

/* Run `call` with the lock of `disk` held; its result is the function's. */
#define WITH_LOCK(disk_, call)            \
    do {                                  \
        struct mem_disk *locked_ = disk_; \
        enum err err_;                    \
        lock(locked_);                    \
        err_ = call;                      \
        unlock(locked_);                  \
        return err_;                      \
    } while (0)

static enum err disk_open(void *ctx, const char *path, unsigned flags, struct file **ret_file)
{
    WITH_LOCK(ctx, open_locked(ctx, path, flags, ret_file));
}

static void disk_close(struct file *file)
{
    struct mem_disk *disk = file->disk;

    lock(disk);
    file->node->handles--;
    disk->open_files--;
    free(file);
    collect(disk);
    unlock(disk);
}

static enum err disk_read(struct file *file, uint64_t offset, void *bytes, size_t size)
{
    WITH_LOCK(file->disk, read_locked(file, offset, bytes, size));
}

static enum err disk_write(struct file *file, uint64_t offset, const void *bytes, size_t size)
{
    WITH_LOCK(file->disk, write_locked(file, offset, bytes, size));
}

static enum err sync_locked(struct file *file)
{
    enum err err = admit_file(file, MEM_DISK_SYNC, "sync");

    if (file->epoch == file->disk->epoch)
        mem_file_sync(file->node, err != ERR_OK);
    return err;
}

static enum err disk_sync(struct file *file)
{
    WITH_LOCK(file->disk, sync_locked(file));
}

static enum err disk_size(struct file *file, uint64_t *ret_size)
{
    lock(file->disk);
    *ret_size = file->node->live.size;
    unlock(file->disk);
    return ERR_OK;
}

/* A copy: what is mapped does not change. */
static enum err map_locked(struct file *file, uint64_t size, const void **ret_bytes)
{
    enum err err = admit_file(file, MEM_DISK_READ, "map");
    uint8_t *bytes;

    if (err != ERR_OK)
        return err;
    CHECK(size > 0);
    CHECK(size <= file->node->live.size);
    bytes = must(malloc((size_t)size));
    mem_file_read(file->node, 0, bytes, (size_t)size);
    *ret_bytes = bytes;
    return ERR_OK;
}

static enum err disk_map(struct file *file, uint64_t size, const void **ret_bytes)
{
    WITH_LOCK(file->disk, map_locked(file, size, ret_bytes));
}

static void disk_unmap(const void *bytes, uint64_t size)
{
    (void)size;
    free((void *)(uintptr_t)bytes);
}

static enum err truncate_locked(struct file *file, uint64_t size)
{
    enum err err = admit_file(file, MEM_DISK_TRUNCATE, "truncate");

    if (err == ERR_OK) {
        mem_file_truncate(file->node, size);
        collect(file->disk);
    }
    return err;
}

static enum err disk_truncate(struct file *file, uint64_t size)
{
    WITH_LOCK(file->disk, truncate_locked(file, size));
}

static bool disk_is_direct(const struct file *file)
{
    return file->direct;
}

static enum err disk_rename(void *ctx, const char *from, const char *to)
{
    WITH_LOCK(ctx, rename_locked(ctx, from, to));
}

static enum err disk_remove(void *ctx, const char *path)
{
    WITH_LOCK(ctx, remove_locked(ctx, path));
}

static enum err disk_make_dir(void *ctx, const char *path)
{
    WITH_LOCK(ctx, make_dir_locked(ctx, path));
}

static enum err disk_sync_dir(void *ctx, const char *path)
{
    WITH_LOCK(ctx, sync_dir_locked(ctx, path));
}

static enum err disk_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                          void *arg)
{
    struct mem_disk *disk = ctx;
    struct mem_names names = {0};
    enum err err;

    lock(disk);
    err = list_locked(disk, path, &names);
    unlock(disk);
    /* Without the lock: `each` may call us. */
    for (size_t i = 0; i < names.count; i++) {
        const char *slash = strrchr(names.names[i].path, '/');

        each(arg, slash == NULL ? names.names[i].path : slash + 1);
    }
    mem_names_clear(&names);
    return err;
}

static enum err disk_free_bytes(void *ctx, const char *path, uint64_t *ret_free,
                                uint64_t *ret_total)
{
    struct mem_disk *disk = ctx;

    (void)path;
    lock(disk);
    *ret_total = disk->limit > 0 ? disk->limit : UINT64_MAX / 2;
    *ret_free = *ret_total > disk->used ? *ret_total - disk->used : 0;
    unlock(disk);
    return ERR_OK;
}

/* ---- For the test -------------------------------------------------------------------------- */

struct mem_disk *mem_disk_new(void)
{
    struct mem_disk *disk = must(calloc(1, sizeof *disk));

    CHECK(pthread_mutex_init(&disk->lock, NULL) == 0);
    disk->table = (struct disk){
        .ctx = disk,
        .open = disk_open,
        .close = disk_close,
        .read = disk_read,
        .write = disk_write,
        .sync = disk_sync,
        .map = disk_map,
        .unmap = disk_unmap,
        .size = disk_size,
        .truncate = disk_truncate,
        .is_direct = disk_is_direct,
        .rename = disk_rename,
        .remove = disk_remove,
        .make_dir = disk_make_dir,
        .sync_dir = disk_sync_dir,
        .list = disk_list,
        .free_bytes = disk_free_bytes,
    };
    return disk;
}

static void journal_clear(struct mem_disk *disk)
{
    for (size_t i = 0; i < disk->journal_count; i++)
        mem_names_change_fini(&disk->journal[i]);
    free(disk->journal);
    disk->journal = NULL;
    disk->journal_count = 0;
}

void mem_disk_free(struct mem_disk *disk)
{
    if (disk == NULL)
        return;
    CHECK(disk->open_files == 0);
    journal_clear(disk);
    mem_names_clear(&disk->live);
    mem_names_clear(&disk->durable);
    collect(disk);
    CHECK(pthread_mutex_destroy(&disk->lock) == 0);
    free(disk);
}

struct mem_disk *mem_disk_clone(const struct mem_disk *from)
{
    struct mem_disk *disk = mem_disk_new();
    struct mem_disk *source = (struct mem_disk *)(uintptr_t)from;

    lock(source);
    for (size_t i = 0; i < from->live.count; i++) {
        const struct mem_file *old = from->live.names[i].file;
        struct mem_file *node = file_new(disk, old->is_dir);

        mem_file_copy(node, old);
        mem_names_add(&disk->live, from->live.names[i].path, node);
    }
    unlock(source);
    mem_names_copy(&disk->durable, &disk->live);
    collect(disk);
    return disk;
}

const struct disk *mem_disk_table(struct mem_disk *disk)
{
    return &disk->table;
}

void mem_disk_crash(struct mem_disk *disk, enum mem_disk_crash how, uint64_t seed)
{
    size_t keep = how == MEM_DISK_PROCESS ? disk->journal_count : 0;
    uint64_t chance = seed;
    bool dropped;

    if (how == MEM_DISK_TORN)
        keep = seed_below(&chance, disk->journal_count + 1);
    for (size_t i = 0; i < keep; i++)
        mem_names_apply(&disk->durable, &disk->journal[i]);
    journal_clear(disk);
    do { /* What stood in a directory that was lost is lost. */
        dropped = false;
        for (size_t i = 0; i < disk->durable.count; i++) {
            const char *path = disk->durable.names[i].path;

            if (!mem_names_has_dir(&disk->durable, path, mem_names_dir_size(path))) {
                mem_names_remove(&disk->durable, path);
                dropped = true;
            }
        }
    } while (dropped);
    mem_names_copy(&disk->live, &disk->durable);
    for (struct mem_file *node = disk->files; node != NULL; node = node->next)
        mem_file_crash(node, how, &chance);
    mem_disk_fail(disk, 0, 0, ERR_IO, false);
    disk->epoch++;
    collect(disk);
}

void mem_disk_fail(struct mem_disk *disk, unsigned calls, uint64_t nth, enum err code, bool stays)
{
    lock(disk);
    disk->fail_calls = calls;
    disk->fail_after = nth;
    disk->fail_code = code;
    disk->fail_stays = stays;
    disk->failing = false;
    unlock(disk);
}

uint64_t mem_disk_calls(const struct mem_disk *disk, unsigned calls)
{
    uint64_t sum = 0;

    for (unsigned bit = 0; bit < 16; bit++)
        if (calls & (1u << bit))
            sum += disk->calls[bit];
    return sum;
}

void mem_disk_limit(struct mem_disk *disk, uint64_t bytes)
{
    disk->limit = bytes;
}

void mem_disk_direct(struct mem_disk *disk, bool honour)
{
    disk->honour_direct = honour;
}

uint8_t *mem_disk_get(struct mem_disk *disk, const char *path, size_t *ret_size)
{
    const struct mem_file *node;
    uint8_t *bytes = NULL;

    lock(disk);
    node = mem_names_file(&disk->live, path);
    if (node != NULL) {
        bytes = must(malloc(node->live.size + 1));
        mem_file_read(node, 0, bytes, node->live.size);
        *ret_size = node->live.size;
    }
    unlock(disk);
    return bytes;
}

void mem_disk_put(struct mem_disk *disk, const char *path, const void *bytes, size_t size)
{
    struct mem_file *node;

    lock(disk);
    node = mem_names_file(&disk->live, path);
    if (node == NULL) {
        node = file_new(disk, false);
        mem_names_add(&disk->live, path, node);
    }
    mem_names_add(&disk->durable, path, node);
    mem_file_truncate(node, 0);
    mem_file_write(node, 0, bytes, size);
    mem_file_sync(node, false);
    collect(disk);
    unlock(disk);
}

void mem_disk_flip(struct mem_disk *disk, const char *path, uint64_t offset, uint8_t mask)
{
    struct mem_file *node;

    lock(disk);
    node = mem_names_file(&disk->live, path);
    CHECK(node != NULL);
    mem_file_flip(node, offset, mask);
    unlock(disk);
}

bool mem_disk_exists(struct mem_disk *disk, const char *path)
{
    bool exists;

    lock(disk);
    exists = mem_names_file(&disk->live, path) != NULL;
    unlock(disk);
    return exists;
}

uint32_t mem_disk_open_files(const struct mem_disk *disk)
{
    return disk->open_files;
}
