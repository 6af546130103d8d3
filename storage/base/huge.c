#include "storage/base/huge.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };

void *huge_alloc(size_t size)
{
    size_t align = size < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;
    size_t whole = (size + align - 1) / align * align;
    void *memory = aligned_alloc(align, whole > 0 ? whole : align);

    /* Only a hint: without it all works the same. */
    if (memory != NULL && align == HUGE_PAGE)
        (void)madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}
