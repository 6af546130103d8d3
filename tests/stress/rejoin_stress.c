/*
 * A node begins for the first time, a group falls behind, begins again and is mute for a while, in
 * one start after the other, while its worker says so, one serves what the thread asks for, and
 * others look, and hear of other nodes. In the end all is as it was, and ThreadSanitizer stays
 * silent.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "node/rejoin.h"
#include "tests/support/rejoin_rig.h"

static unsigned rounds = 30;
static atomic_bool over;

static void count_one(void *arg, uint32_t group, enum rejoin_state state, const char *what)
{
    CHECK(group == 0);
    CHECK(state != REJOIN_NOT || what[0] != '\0');
    CHECK(strlen(what) < ERR_DETAIL_MAX);
    ++*(unsigned *)arg;
}

/* Status, readiness, other workers. */
static void *look(void *arg)
{
    while (!atomic_load(&over)) {
        unsigned count = 0;
        uint32_t group;

        rejoin_each(rejoin, count_one, &count);
        CHECK(count <= 1);
        (void)rejoin_next(rejoin, &group);
        CHECK(rejoin_leader(rejoin, 0) <= NODES);
        (void)rejoin_is_silent(rejoin, 0);
        CHECK(rejoin_holds(rejoin) || rejoin_hear(rejoin, 1));
        CHECK(rejoin_holds(rejoin) || rejoin_hear(rejoin, 3));
        (void)rejoin_known(rejoin, 3, 33);
        (void)sched_yield();
    }
    return arg;
}

/* One start of the node, looked at by two. */
static void run_start(bool empty, void (*during)(void))
{
    pthread_t lookers[2];

    CHECK(rejoin_open(&node, false, &rejoin) == ERR_OK);
    if (empty)
        rejoin_hold(rejoin);
    CHECK(rejoin_start(rejoin) == ERR_OK);
    atomic_store(&over, false);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&lookers[i], NULL, look, NULL) == 0);
    during();
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(lookers[i], NULL) == 0);
    stop();
}

static void begin_first(void)
{
    while (rejoin_holds(rejoin) || mem_disk_exists(memory, "data/unheard")) {
        rejoin_serve(rejoin, &worker);
        (void)sched_yield();
    }
    CHECK(rejoin_known(rejoin, 1, 11).knows);
    CHECK(rejoin_known(rejoin, 3, 33).knows);
}

static void fall_behind(void)
{
    others[1].state.first = 91;
    for (int i = 0; i < 20; i++)
        rejoin_behind(rejoin, 0, 80);
    wait_restart();
}

static void end_mute(void)
{
    rejoin_done(rejoin, 0);
    while (mem_disk_exists(memory, "data/" REJOIN_FILE ".copy"))
        (void)sched_yield();
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = (unsigned)strtoul(argv[1], NULL, 10);
    rejoin_rig_init();
    own.last = 80;
    for (unsigned i = 0; i < rounds; i++) {
        installed_index = 0;
        run_start(true, begin_first);
        run_start(false, fall_behind);
        run_start(false, wait_restart);
        CHECK(installed_index == 70);
        run_start(false, end_mute);
    }
    start(false);
    CHECK(!rejoin_is_silent(rejoin, 0));
    rejoin_rig_fini();
    printf("rejoin: %u rounds\n", rounds);
    return 0;
}
