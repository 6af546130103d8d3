/*
 * Who is inside a turnstile, told by one thread that enters and others that wait.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "storage/base/turnstile.h"

static atomic_int entered;

static void *pass(void *arg)
{
    (void)arg;
    turnstile_enter();
    (void)atomic_fetch_add(&entered, 1);
    turnstile_leave();
    return NULL;
}

static void expect_entered(int count)
{
    while (atomic_load(&entered) < count) /* The test's time limit ends a wait that is in vain. */
        (void)sched_yield();
}

Test(turnstile, lets_the_next_in_while_one_stands_aside)
{
    pthread_t first, second;

    turnstile_open(1);
    turnstile_enter();
    cr_assert_eq(pthread_create(&first, NULL, pass, NULL), 0);
    cr_assert(turnstile_step_aside());
    cr_assert(!turnstile_step_aside(), "one at a time");
    expect_entered(1);
    cr_assert_eq(pthread_join(first, NULL), 0);
    turnstile_step_back();
    cr_assert_eq(pthread_create(&second, NULL, pass, NULL), 0);
    for (int i = 0; i < 1000; i++)
        (void)sched_yield();
    cr_assert_eq(atomic_load(&entered), 1, "there is no room");
    turnstile_leave();
    expect_entered(2);
    cr_assert_eq(pthread_join(second, NULL), 0);
}

Test(turnstile, steps_back_without_waiting_for_who_came_meanwhile)
{
    turnstile_open(1);
    turnstile_enter();
    cr_assert(turnstile_step_aside());
    turnstile_step_back();
    cr_assert(turnstile_step_aside(), "it may do so again");
    turnstile_step_back();
    turnstile_leave();
    cr_assert(!turnstile_step_aside(), "who is not inside does not step aside");
}

Test(turnstile, holds_nobody_up_before_it_is_open)
{
    turnstile_enter();
    cr_assert(!turnstile_step_aside());
    turnstile_leave();
    (void)pass(NULL);
    cr_assert_eq(atomic_load(&entered), 1);
}
