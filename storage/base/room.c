#include "storage/base/room.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE_PAGE = 2 << 20 };

void room_fini(struct room *room)
{
    if (room->size < LARGE_PAGE)
        free(room->bytes);
    else
        (void)munmap(room->bytes, room->size);
    *room = (struct room){0};
}

bool room_make(struct room *room, size_t size)
{
    void *bytes;

    if (size <= room->size)
        return true;
    room_fini(room);
    if (size < LARGE_PAGE) {
        bytes = malloc(size);
    } else {
        size = (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (bytes == MAP_FAILED)
            bytes = NULL;
        else /* Advice: without large pages it is as good, and slower. */
            (void)madvise(bytes, size, MADV_HUGEPAGE);
    }
    if (bytes == NULL)
        return false;
    *room = (struct room){bytes, size};
    return true;
}
