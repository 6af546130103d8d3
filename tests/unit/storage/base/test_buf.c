/*
 * Counted memory: it lives as long as its last holder, whoever that is.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "storage/base/buf.h"

Test(buf, starts_empty_aligned_and_with_one_holder)
{
    struct buf *buf = buf_new(1000);

    cr_assert_not_null(buf);
    cr_assert_eq(buf->size, 0);
    cr_assert_eq(buf->capacity, 1000);
    cr_assert_eq((uintptr_t)buf->bytes % CACHE_LINE, 0);
    memset(buf->bytes, 'x', buf->capacity);
    buf_unref(buf);
    buf_unref(NULL);
}

Test(buf, of_no_bytes_is_a_buf)
{
    struct buf *buf = buf_new(0);

    cr_assert_not_null(buf);
    cr_assert_eq(buf_ref(buf), buf);
    buf_unref(buf);
    buf_unref(buf);
}

static void *hold_and_let_go(void *arg)
{
    struct buf *buf = arg;

    for (int i = 0; i < 10000; i++)
        buf_unref(buf_ref(buf));
    buf_unref(buf);
    return NULL;
}

Test(buf, is_freed_by_the_last_of_several_threads)
{
    struct buf *buf = buf_new(100);
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hold_and_let_go, buf_ref(buf)), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(buf->refs, 1);
    buf_unref(buf);
}
