#include "storage/base/buf.h"

#include <stdlib.h>

#include "storage/base/check.h"

struct buf *buf_new(uint32_t capacity)
{
    size_t bytes = sizeof(struct buf) + capacity;
    struct buf *buf = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

    if (buf == NULL)
        return NULL;
    atomic_init(&buf->refs, 1);
    buf->size = 0;
    buf->capacity = capacity;
    return buf;
}

struct buf *buf_ref(struct buf *buf)
{
    (void)atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    return buf;
}

void buf_unref(struct buf *buf)
{
    uint32_t before;

    if (buf == NULL)
        return;
    /* Release: our reads are over. Acquire by the last holder: so are everybody else's. */
    before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
    CHECK(before >= 1);
    if (before == 1)
        free(buf);
}
