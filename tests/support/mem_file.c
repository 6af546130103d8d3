#include "tests/support/mem_file.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/support/seed.h"

enum { PAGE = 4096, SECTOR = 512 };

/* A hole is a NULL page and reads as zeros. */
struct mem_page {
    uint32_t refs;
    bool lost; /* A sync of it failed: later syncs pass it over. */
    uint8_t bytes[PAGE];
};

static void *must(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

/* ---- Pages --------------------------------------------------------------------------------- */

static struct mem_page *page_ref(struct mem_page *page)
{
    if (page != NULL)
        page->refs++;
    return page;
}

static void page_unref(struct mem_page *page)
{
    if (page != NULL && --page->refs == 0)
        free(page);
}

static void page_set(struct mem_page **slot, struct mem_page *page)
{
    (void)page_ref(page);
    page_unref(*slot);
    *slot = page;
}

/* The live page at `at`, ours alone, for writing. */
static struct mem_page *page_own(struct mem_file *file, size_t at)
{
    struct mem_page *old = file->live.pages[at];
    struct mem_page *page = old;

    if (old == NULL || old->refs > 1) {
        page = must(calloc(1, sizeof *page));
        page->refs = 1;
        if (old != NULL)
            memcpy(page->bytes, old->bytes, PAGE);
        page_unref(old);
        file->live.pages[at] = page;
    }
    page->lost = false;
    return page;
}

static void make_room(struct mem_file *file, uint64_t size)
{
    size_t need = (size_t)((size + PAGE - 1) / PAGE);
    size_t room = file->room;

    if (need <= room)
        return;
    room = need > 2 * room ? need : 2 * room;
    file->live.pages = must(realloc(file->live.pages, room * sizeof(struct mem_page *)));
    file->durable.pages = must(realloc(file->durable.pages, room * sizeof(struct mem_page *)));
    for (size_t i = file->room; i < room; i++)
        file->live.pages[i] = file->durable.pages[i] = NULL;
    file->room = room;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void mem_file_write(struct mem_file *file, uint64_t offset, const uint8_t *bytes, size_t size)
{
    make_room(file, offset + size);
    while (size > 0) {
        size_t at = (size_t)(offset / PAGE);
        size_t in = (size_t)(offset % PAGE);
        size_t part = size < PAGE - in ? size : PAGE - in;

        if (file->live.pages[at] != NULL || !all_zero(bytes, part))
            memcpy(page_own(file, at)->bytes + in, bytes, part);
        offset += part;
        bytes += part;
        size -= part;
        if (offset > file->live.size)
            file->live.size = offset;
    }
}

void mem_file_read(const struct mem_file *file, uint64_t offset, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const struct mem_page *page = file->live.pages[offset / PAGE];
        size_t in = (size_t)(offset % PAGE);
        size_t part = size < PAGE - in ? size : PAGE - in;

        if (page != NULL)
            memcpy(bytes, page->bytes + in, part);
        else
            memset(bytes, 0, part);
        offset += part;
        bytes += part;
        size -= part;
    }
}

void mem_file_truncate(struct mem_file *file, uint64_t size)
{
    size_t keep = (size_t)((size + PAGE - 1) / PAGE);

    make_room(file, size);
    for (size_t i = keep; i < file->room; i++)
        page_set(&file->live.pages[i], NULL);
    if (size < file->live.size && size % PAGE != 0 && file->live.pages[size / PAGE] != NULL)
        memset(page_own(file, size / PAGE)->bytes + size % PAGE, 0, PAGE - size % PAGE);
    file->live.size = size;
}

void mem_file_sync(struct mem_file *file, bool fail)
{
    for (size_t i = 0; i < file->room; i++) {
        struct mem_page *page = file->live.pages[i];

        if (page == file->durable.pages[i])
            continue;
        if (fail && page != NULL)
            page->lost = true;
        if (!fail && (page == NULL || !page->lost))
            page_set(&file->durable.pages[i], page);
    }
    if (!fail)
        file->durable.size = file->live.size;
}

void mem_file_crash(struct mem_file *file, enum mem_disk_crash how, uint64_t *chance)
{
    if (how == MEM_DISK_TORN) {
        uint64_t live = file->live.size;

        for (size_t i = 0; i < file->room; i++) {
            struct mem_page *old = file->durable.pages[i];

            if (file->live.pages[i] == old)
                continue;
            struct mem_page *mixed = page_own(file, i);
            for (size_t at = 0; at < PAGE; at += SECTOR) {
                if (seed_next(chance) % 2 == 0)
                    continue;
                if (old != NULL)
                    memcpy(mixed->bytes + at, old->bytes + at, SECTOR);
                else
                    memset(mixed->bytes + at, 0, SECTOR);
            }
        }
        if (live != file->durable.size)
            mem_file_truncate(file, seed_next(chance) % 2 == 0 ? live : file->durable.size);
    } else if (how == MEM_DISK_POWER) {
        for (size_t i = 0; i < file->room; i++)
            page_set(&file->live.pages[i], file->durable.pages[i]);
        file->live.size = file->durable.size;
    }
    for (size_t i = 0; i < file->room; i++)
        page_set(&file->durable.pages[i], file->live.pages[i]);
    file->durable.size = file->live.size;
}

void mem_file_free(struct mem_file *file)
{
    for (size_t i = 0; i < file->room; i++) {
        page_unref(file->live.pages[i]);
        page_unref(file->durable.pages[i]);
    }
    free(file->live.pages);
    free(file->durable.pages);
    free(file);
}

void mem_file_copy(struct mem_file *to, const struct mem_file *from)
{
    make_room(to, from->live.size);
    for (size_t at = 0; at < to->room && at < from->room; at++)
        if (from->live.pages[at] != NULL)
            mem_file_write(to, at * PAGE, from->live.pages[at]->bytes, PAGE);
    mem_file_truncate(to, from->live.size);
    mem_file_sync(to, false);
}

void mem_file_flip(struct mem_file *file, uint64_t offset, uint8_t mask)
{
    CHECK(offset < file->live.size);
    page_own(file, offset / PAGE)->bytes[offset % PAGE] ^= mask;
    page_set(&file->durable.pages[offset / PAGE], file->live.pages[offset / PAGE]);
}
