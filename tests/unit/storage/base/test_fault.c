/*
 * Fault points: they strike at the visit they were told to, and a malformed order is refused.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/base/fault.h"

Test(fault, an_unarmed_point_never_strikes)
{
    for (int i = 0; i < 1000; i++)
        cr_assert(!FAULT("log.sync"));
}

Test(fault, fail_strikes_once_and_broken_for_ever)
{
    static const bool fail[] = {false, false, true, false, false};
    static const bool broken[] = {false, true, true, true, true};

    cr_assert_eq(fault_arm("log.sync:fail:3,log.write:broken:2"), ERR_OK);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(FAULT("log.sync"), fail[i], "visit %d", i + 1);
        cr_assert_eq(FAULT("log.write"), broken[i], "visit %d", i + 1);
        cr_assert(!FAULT("log"), "a name is matched wholly");
    }
    cr_assert_eq(fault_arm(""), ERR_OK);
    cr_assert(!FAULT("log.write"));
}

Test(fault, kill_ends_the_process_at_its_visit)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (fault_arm("seal.rename:kill:2") != ERR_OK)
            _exit(1);
        (void)FAULT("seal.rename");
        (void)FAULT("seal.rename");
        _exit(2);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGKILL);
}

Test(fault, stop_suspends_until_someone_lets_it_go_on)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (fault_arm("seal.rename:stop:1") != ERR_OK)
            _exit(1);
        _exit(FAULT("seal.rename") ? 2 : 0);
    }
    cr_assert_eq(waitpid(child, &status, WUNTRACED), child);
    cr_assert(WIFSTOPPED(status));
    cr_assert_eq(kill(child, SIGCONT), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

Test(fault, refuses_malformed_orders_and_keeps_the_last_good_one)
{
    static const char *const bad[] = {
        "a",
        "a:fail",
        "a:fail:0",
        "a:fail:x",
        "a:fail:1x",
        "a:explode:1",
        ":fail:1",
        "a:fail:1,b",
        "a234567890123456789012345678901234567890:fail:1",
        "a:fail:1,b:fail:1,c:fail:1,d:fail:1,e:fail:1,f:fail:1,g:fail:1,h:fail:1,i:fail:1",
        "a:fail:99999999999999999999999999999999999999999999999999999999999999999999",
    };

    cr_assert_eq(fault_arm("good:broken:1"), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(fault_arm(bad[i]), ERR_INVALID, "%s", bad[i]);
        cr_assert(FAULT("good"));
    }
}
