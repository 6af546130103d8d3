/*
 * The mailbox, one thread at a time: when the bell rings and when it does not.
 * tests/stress/mailbox_stress.c runs real threads that sleep until they are woken.
 */
#include <criterion/criterion.h>

#include "storage/base/mailbox.h"

static void count_ring(void *arg)
{
    ++*(int *)arg;
}

static void append_digit(void *arg, const void *message)
{
    *(uint64_t *)arg = *(uint64_t *)arg * 10 + *(const uint64_t *)message;
}

static struct mailbox mailbox;
static int rings;

static void init(void)
{
    rings = 0;
    cr_assert_eq(mailbox_init(&mailbox, 8, sizeof(uint64_t), count_ring, &rings), ERR_OK);
}

static void fini(void)
{
    mailbox_fini(&mailbox);
}

TestSuite(mailbox, .init = init, .fini = fini);

static void put(uint64_t number)
{
    cr_assert(mailbox_put(&mailbox, &number));
}

Test(mailbox, rings_once_for_all_posts_until_the_consumer_comes)
{
    uint64_t digits = 0;

    put(1);
    put(2);
    put(3);
    cr_assert_eq(rings, 1);
    cr_assert_eq(mailbox_drain(&mailbox, 100, append_digit, &digits), 3);
    cr_assert_eq(digits, 123);
    put(4);
    cr_assert_eq(rings, 2);
    cr_assert_eq(mailbox_drain(&mailbox, 100, append_digit, &digits), 1);
    cr_assert_eq(digits, 1234);
}

Test(mailbox, a_consumer_that_stops_early_rings_for_itself)
{
    uint64_t digits = 0;

    for (uint64_t i = 1; i <= 5; i++)
        put(i);
    cr_assert_eq(mailbox_drain(&mailbox, 2, append_digit, &digits), 2);
    cr_assert_eq(rings, 2);
    cr_assert_eq(mailbox_drain(&mailbox, 3, append_digit, &digits), 3);
    cr_assert_eq(rings, 2, "nothing is left to ring for");
    cr_assert_eq(digits, 12345);
}

Test(mailbox, a_post_while_the_consumer_works_rings_again)
{
    const void *slots;

    put(1);
    mailbox_answer(&mailbox);
    cr_assert_eq(ring_peek(&mailbox.ring, 8, &slots), 1);
    put(2);
    cr_assert_eq(rings, 2);
    ring_release(&mailbox.ring, 1);
    cr_assert_eq(ring_peek(&mailbox.ring, 8, &slots), 1);
}

Test(mailbox, refuses_when_it_is_full_and_keeps_what_it_has)
{
    uint64_t number = 9;
    uint64_t digits = 0;

    for (uint64_t i = 1; i <= 8; i++)
        put(i);
    cr_assert(!mailbox_put(&mailbox, &number));
    cr_assert_eq(mailbox_drain(&mailbox, 100, append_digit, &digits), 8);
    cr_assert_eq(digits, 12345678);
    cr_assert(mailbox_put(&mailbox, &number));
}

Test(mailbox, an_empty_post_and_a_ring_without_mail_do_no_harm)
{
    uint64_t digits = 0;

    mailbox_post(&mailbox, 0);
    cr_assert_eq(rings, 0);
    cr_assert_eq(mailbox_drain(&mailbox, 100, append_digit, &digits), 0);
    cr_assert_eq(rings, 0);
}
