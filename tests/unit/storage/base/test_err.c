/*
 * Errors: the code, the line for the operator, and the way to another thread.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "storage/base/err.h"

Test(err, every_code_has_its_own_name)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        cr_assert_str_not_empty(err_name((enum err)i));
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(err_name((enum err)i), err_name((enum err)k));
    }
}

Test(err, numbers_travel_to_clients_and_never_change)
{
    cr_assert_eq(ERR_OK, 0);
    cr_assert_eq(ERR_NOT_LEADER, 7);
    cr_assert_eq(ERR_DISK_FULL, 15);
    cr_assert_eq(ERR_VERSION, 17);
}

Test(err, wrapping_puts_the_callers_words_in_front)
{
    cr_assert_eq(err_set(ERR_CORRUPT, "block at %d", 4096), ERR_CORRUPT);
    cr_assert_eq(err_wrap(ERR_CORRUPT, "shard %d", 3), ERR_CORRUPT);
    cr_assert_str_eq(err_detail(), "shard 3: block at 4096");
}

Test(err, a_detail_may_become_part_of_the_next_one)
{
    (void)err_set(ERR_END, "a file of %d bytes", 7);
    (void)err_set(ERR_CORRUPT, "%s", err_detail());
    cr_assert_str_eq(err_detail(), "a file of 7 bytes");
    (void)err_set(ERR_CORRUPT, "%s, and %s", err_detail(), err_detail());
    cr_assert_str_eq(err_detail(), "a file of 7 bytes, and a file of 7 bytes");
}

Test(err, a_long_detail_is_cut_and_ends)
{
    char text[3 * ERR_DETAIL_MAX];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set(ERR_IO, "%s", text);
    cr_assert_eq(strlen(err_detail()), ERR_DETAIL_MAX - 1);
    (void)err_wrap(ERR_IO, "outer");
    cr_assert_eq(strlen(err_detail()), ERR_DETAIL_MAX - 1);
    cr_assert_eq(strncmp(err_detail(), "outer: xxx", 10), 0);
    (void)err_wrap(ERR_IO, "%s", text);
    cr_assert_eq(strlen(err_detail()), ERR_DETAIL_MAX - 1);
}

static void *fail_elsewhere(void *arg)
{
    err_save(arg, err_set(ERR_TIMEOUT, "theirs"));
    return NULL;
}

Test(err, details_stay_with_their_thread_unless_carried)
{
    struct err_note note;
    pthread_t thread;

    (void)err_set(ERR_IO, "ours");
    cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, &note), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_str_eq(err_detail(), "ours");
    cr_assert_eq(err_restore(&note), ERR_TIMEOUT);
    cr_assert_str_eq(err_detail(), "theirs");
}
