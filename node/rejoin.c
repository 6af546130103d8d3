#include "node/rejoin.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/meta.h"
#include "node/rejoin_internal.h"
#include "node/shard.h"
#include "node/worker.h"
#include "storage/base/fault.h"
#include "storage/base/log_line.h"

enum {
    NICE = 10,
    RETRY_MS = 300, /* Behind a round in which something failed: doubled up to 16 times that. */
    RETRY_DOUBLED_MAX = 4,
    GIVE_UP_MS = 10000, /* Without a leader: the group's vote may be what the others lack. */
    ROUND_MS = 5000,    /* A round that took longer is followed by another: others went on. */
    TELL_MS = 60000,    /* Between two lines about what is waited for. */
};

/* ---- Start --------------------------------------------------------------------------------- */

static enum err save(const struct rejoin *rejoin)
{
    return rejoin_list_save(&rejoin->list, rejoin->node->disk, rejoin->node->options.node.data_dir);
}

static void set_all(struct rejoin *rejoin, enum rejoin_state state)
{
    for (uint32_t i = 0; i < rejoin->list.count; i++)
        rejoin_list_set(&rejoin->list, i, state);
}

enum err rejoin_open(struct node *node, bool fresh, struct rejoin **ret_rejoin)
{
    struct rejoin *rejoin = calloc(1, sizeof *rejoin);
    enum err err;

    if (rejoin == NULL)
        return err_set(ERR_NO_MEMORY, "groups that rejoin");
    rejoin->node = node;
    fetcher_init(&rejoin->fetcher, node);
    (void)pthread_mutex_init(&rejoin->lock, NULL);
    thread_cond_init(&rejoin->wake);
    *ret_rejoin = rejoin;
    rejoin->groups = calloc(node->groups, sizeof *rejoin->groups);
    if (rejoin->groups == NULL)
        return err_set(ERR_NO_MEMORY, "%u groups", node->groups);
    err = rejoin_list_init(&rejoin->list, node->groups);
    if (err == ERR_OK)
        err = rejoin_first_open(rejoin);
    if (err == ERR_OK && fresh) {
        err = rejoin_check_no_log(node);
        set_all(rejoin, REJOIN_LOST); /* Whatever the list says: no state is worse. */
        return err == ERR_OK ? save(rejoin) : err;
    }
    if (err == ERR_OK)
        err = rejoin_list_load(&rejoin->list, node->disk, node->options.node.data_dir);
    if (err == ERR_CORRUPT)
        err = err_wrap(err,
                       "which groups begin again is not known; move %s/log away and start "
                       "with --rejoin",
                       node->options.node.data_dir);
    return err;
}

enum err rejoin_lose_log(struct rejoin *rejoin)
{
    enum err err;

    set_all(rejoin, REJOIN_LOST);
    err = save(rejoin);
    return err == ERR_OK ? rejoin_set_log_aside(rejoin->node) : err;
}

enum err rejoin_lose_state(struct rejoin *rejoin, uint32_t group)
{
    enum rejoin_state state;
    enum err err;

    (void)pthread_mutex_lock(&rejoin->lock); /* Several threads open groups. */
    /* What a ready one has promised may stand nowhere but in the list. */
    state = rejoin->list.entries[group].state;
    rejoin_list_set(&rejoin->list, group,
                    state == REJOIN_LOST || state == REJOIN_READY ? REJOIN_LOST : REJOIN_BARE);
    err = save(rejoin);
    (void)pthread_mutex_unlock(&rejoin->lock);
    return err;
}

static enum rejoin_state began(const struct rejoin *rejoin, uint32_t group)
{
    return rejoin->started ? rejoin->groups[group].began : rejoin->list.entries[group].state;
}

bool rejoin_is_silent(const struct rejoin *rejoin, uint32_t group)
{
    enum rejoin_state state = began(rejoin, group);

    return state != REJOIN_NOT && state != REJOIN_READY;
}

bool rejoin_is_lost(const struct rejoin *rejoin, uint32_t group)
{
    return began(rejoin, group) == REJOIN_LOST || rejoin_holds(rejoin);
}

bool rejoin_keeps_log(const struct rejoin *rejoin, uint32_t group)
{
    return began(rejoin, group) == REJOIN_BEHIND;
}

bool rejoin_install(const struct rejoin *rejoin, uint32_t group, struct group_install *ret_install)
{
    if (rejoin->groups[group].began != REJOIN_READY)
        return false;
    *ret_install = rejoin_install_of(&rejoin->list.entries[group]);
    return true;
}

/* ---- Rounds -------------------------------------------------------------------------------- */

void rejoin_say(struct rejoin *rejoin, uint32_t group, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)pthread_mutex_lock(&rejoin->lock);
    (void)vsnprintf(rejoin->groups[group].what, sizeof rejoin->groups[group].what, format,
                    arguments);
    (void)pthread_mutex_unlock(&rejoin->lock);
    va_end(arguments);
}

bool rejoin_is_stopping(struct rejoin *rejoin)
{
    bool stopping;

    (void)pthread_mutex_lock(&rejoin->lock);
    stopping = rejoin->stopping;
    (void)pthread_mutex_unlock(&rejoin->lock);
    return stopping;
}

void rejoin_sleep(struct rejoin *rejoin, uint64_t ms)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    if (!rejoin->stopping)
        thread_wait(&rejoin->wake, &rejoin->lock, ms);
    (void)pthread_mutex_unlock(&rejoin->lock);
}

static bool any_silent(const struct rejoin *rejoin)
{
    for (uint32_t i = 0; i < rejoin->list.count; i++)
        if (rejoin_is_silent(rejoin, i))
            return true;
    return false;
}

static void tell(struct rejoin *rejoin, uint32_t group)
{
    uint64_t now_ms = worker_now_ms();

    if (rejoin->told_ms != 0 && now_ms - rejoin->told_ms < TELL_MS)
        return;
    rejoin->told_ms = now_ms;
    log_warn("group=%" PRIu32 " cannot begin again yet: %s", group, err_detail());
}

/* It starts as it was: it has forgotten nothing, and is found behind again if it still is. */
static void give_up(struct rejoin *rejoin, uint32_t group)
{
    rejoin->groups[group].given_up = true;
    rejoin_say(rejoin, group, "goes on with what it has: %s", err_detail());
    log_info("group=%" PRIu32 " goes on with what it has: %s", group, err_detail());
}

static bool may_give_up(const struct rejoin_group *group, enum err err)
{
    return rejoin_may_go_on(group) &&
           (err == ERR_END || worker_now_ms() - group->leader_ms > GIVE_UP_MS);
}

/* All silent groups once more. False: one of them is not to be had now. */
static bool run_round(struct rejoin *rejoin)
{
    bool all = true;

    for (uint32_t i = 0; i < rejoin->list.count && !rejoin_is_stopping(rejoin); i++) {
        struct rejoin_group *group = &rejoin->groups[i];
        enum err err;

        if (!rejoin_is_silent(rejoin, i) || group->given_up)
            continue;
        err = rejoin_stage(rejoin, i);
        if (err == ERR_OK) {
            group->tries = 0;
            rejoin_say(rejoin, i, "staged up to entry %" PRIu64, group->staged.index);
            continue;
        }
        if (err == ERR_CANCELED)
            return false;
        if (group->staged.state == REJOIN_READY)
            continue; /* What an earlier round has got will do. */
        if (may_give_up(group, err)) {
            give_up(rejoin, i);
            continue;
        }
        all = false;
        group->tries++;
        rejoin_say(rejoin, i, "%s", err_detail());
        tell(rejoin, i);
    }
    return all && !rejoin_is_stopping(rejoin);
}

/* The node stops and starts: main.c waits for that signal. */
static void begin_anew(struct rejoin *rejoin, const char *why)
{
    log_info("the node stops and starts: %s", why);
    atomic_store(&rejoin->node->again, true);
    (void)kill(getpid(), SIGUSR1);
}

/* All are staged: into the list, and they begin with that. False: that is not written down, so they
 * are staged once more. */
static bool finish(struct rejoin *rejoin)
{
    enum err err;

    (void)pthread_mutex_lock(&rejoin->lock);
    for (uint32_t i = 0; i < rejoin->list.count; i++) {
        if (!rejoin_is_silent(rejoin, i))
            continue;
        bytes_fini(&rejoin->list.entries[i].configuration);
        rejoin->list.entries[i] = rejoin->groups[i].staged;
        rejoin->groups[i].staged = (struct rejoin_entry){0};
    }
    err = FAULT("rejoin.ready") ? err_set(ERR_IO, "injected before the list") : save(rejoin);
    (void)pthread_mutex_unlock(&rejoin->lock);
    if (err == ERR_OK && FAULT("rejoin.again"))
        err = err_set(ERR_IO, "injected behind the list");
    if (err == ERR_OK)
        begin_anew(rejoin, "the groups that rejoin have their state");
    else
        log_every(TELL_MS, LOG_ERROR,
                  "groups cannot begin again: %s; free space on the disk of %s, they try again",
                  err_detail(), rejoin->node->options.node.data_dir);
    return err == ERR_OK;
}

static void run_rounds(struct rejoin *rejoin)
{
    unsigned failed = 0; /* In a row. */

    for (;;) {
        uint64_t began_ms = worker_now_ms();
        bool all;

        all = run_round(rejoin);
        if (rejoin_is_stopping(rejoin))
            return;
        if (all && worker_now_ms() - began_ms <= ROUND_MS) {
            if (finish(rejoin))
                return;
            all = false;
        }
        if (!all)
            rejoin_sleep(rejoin, (uint64_t)RETRY_MS << failed);
        failed = all ? 0 : failed < RETRY_DOUBLED_MAX ? failed + 1 : failed;
    }
}

/* ---- Groups that run ------------------------------------------------------------------------ */

/* Under the lock. */
static bool take_done(struct rejoin *rejoin)
{
    bool changed = false;

    for (uint32_t i = 0; i < rejoin->list.count; i++) {
        if (!rejoin->groups[i].done)
            continue;
        rejoin->groups[i].done = false;
        rejoin_list_set(&rejoin->list, i, REJOIN_NOT);
        log_info("group=%" PRIu32 " has all that it had before, and votes again", i);
        changed = true;
    }
    return changed;
}

static void look_at_done(struct rejoin *rejoin)
{
    bool changed, empty;
    enum err err = ERR_OK;

    (void)pthread_mutex_lock(&rejoin->lock);
    changed = take_done(rejoin);
    empty = rejoin_list_is_empty(&rejoin->list);
    if (changed)
        err = FAULT("rejoin.done") ? err_set(ERR_IO, "injected before the list") : save(rejoin);
    (void)pthread_mutex_unlock(&rejoin->lock);
    if (err != ERR_OK) /* They are mute for a moment after the next start, no more. */
        log_warn("the list of groups that rejoin is not written: %s", err_detail());
    else if (changed && empty)
        rejoin_remove_logs(rejoin->node);
}

/* The last entry of a group whose worker has said that it may be behind; of any that runs, if
 * `any`. 0: there is nothing to ask about. */
static uint64_t take_behind(struct rejoin *rejoin, uint32_t group, bool any)
{
    struct node *node = rejoin->node;
    uint64_t last = 0;

    if (any) {
        uv_mutex_lock(&node->board_lock);
        last = node->board[group].group.last;
        uv_mutex_unlock(&node->board_lock);
    }
    (void)pthread_mutex_lock(&rejoin->lock);
    if (rejoin->groups[group].behind != 0)
        last = rejoin->groups[group].behind;
    rejoin->groups[group].behind = 0;
    (void)pthread_mutex_unlock(&rejoin->lock);
    return last;
}

/* One that is silent, or on the list for that already, is there for as much or more. */
static bool may_be_behind(struct rejoin *rejoin, uint32_t group)
{
    enum rejoin_state state;

    (void)pthread_mutex_lock(&rejoin->lock);
    state = rejoin->list.entries[group].state;
    (void)pthread_mutex_unlock(&rejoin->lock);
    return !rejoin_is_silent(rejoin, group) && (state == REJOIN_NOT || state == REJOIN_READY);
}

/* Ask about groups, and put those that are behind on the list. How many there are. */
static uint32_t list_behind(struct rejoin *rejoin, bool any)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < rejoin->list.count && !rejoin_is_stopping(rejoin); i++) {
        uint64_t last = take_behind(rejoin, i, any);

        if (last == 0 || !may_be_behind(rejoin, i) || !rejoin_is_behind(rejoin, i, last))
            continue;
        (void)pthread_mutex_lock(&rejoin->lock);
        rejoin_list_set(&rejoin->list, i,
                        rejoin->list.entries[i].state == REJOIN_NOT ? REJOIN_BEHIND : REJOIN_BARE);
        (void)pthread_mutex_unlock(&rejoin->lock);
        count++;
    }
    return count;
}

/* Where one is behind others are, too: the node was away. It stops and starts once for all. */
static void look_at_behind(struct rejoin *rejoin)
{
    enum err err;

    if (list_behind(rejoin, false) == 0)
        return;
    (void)list_behind(rejoin, true);
    (void)pthread_mutex_lock(&rejoin->lock);
    err = save(rejoin);
    (void)pthread_mutex_unlock(&rejoin->lock);
    if (err == ERR_OK)
        begin_anew(rejoin, "the others have no log any more of what groups lack");
    else
        log_warn("the list of groups that rejoin is not written: %s", err_detail());
}

static void wait_for_word(struct rejoin *rejoin)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    while (!rejoin->stopping && !rejoin->told)
        (void)pthread_cond_wait(&rejoin->wake, &rejoin->lock);
    rejoin->told = false;
    (void)pthread_mutex_unlock(&rejoin->lock);
}

/* It ran before, and all that it may have promised is gone. */
static void lose_all(struct rejoin *rejoin)
{
    enum err err;

    do {
        (void)pthread_mutex_lock(&rejoin->lock);
        set_all(rejoin, REJOIN_LOST);
        err = save(rejoin);
        (void)pthread_mutex_unlock(&rejoin->lock);
        if (err == ERR_OK) {
            begin_anew(rejoin, "other nodes know this one, whose log is empty");
            return;
        }
        log_every(TELL_MS, LOG_ERROR, "the list of groups that rejoin is not written: %s",
                  err_detail());
        rejoin_sleep(rejoin, (uint64_t)RETRY_MS << RETRY_DOUBLED_MAX);
    } while (!rejoin_is_stopping(rejoin));
}

static void run(void *arg)
{
    struct rejoin *rejoin = arg;

    if (rejoin_holds(rejoin) && rejoin_first_ask(rejoin))
        lose_all(rejoin);
    if (any_silent(rejoin))
        run_rounds(rejoin);
    while (!rejoin_is_stopping(rejoin)) {
        look_at_done(rejoin);
        look_at_behind(rejoin);
        wait_for_word(rejoin);
    }
}

/* What the node knows of a group by itself. */
static void look_at_own(struct rejoin_group *group, const struct shard *shard,
                        enum rejoin_state state)
{
    struct group_state own;

    group_state(shard->group, &own);
    group->own_term = own.term;
    group->own_snapshot = own.snapshot;
    group->own_last = own.last > own.snapshot ? own.last : own.snapshot;
    if (shard->meta != NULL)
        group->own_sealed = meta_applied(shard->meta);
    else if (shard->store != NULL)
        group->own_sealed = store_sealed_index(shard->store);
    group->leader_ms = worker_now_ms();
    group->began = state;
}

enum err rejoin_start(struct rejoin *rejoin)
{
    struct node *node = rejoin->node;
    enum err err;

    for (uint32_t i = 0; i < node->groups; i++)
        look_at_own(&rejoin->groups[i], node->workers[node_owner(node, i)].groups[i],
                    rejoin->list.entries[i].state);
    rejoin->started = true;
    if (rejoin_list_is_empty(&rejoin->list))
        rejoin_remove_logs(node); /* Left by a crash. */
    err = thread_start(&rejoin->thread, "rejoin", NICE, run, rejoin);
    if (err != ERR_OK)
        rejoin->started = false;
    return err;
}

void rejoin_stop(struct rejoin *rejoin)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    rejoin->stopping = true;
    (void)pthread_cond_broadcast(&rejoin->wake);
    (void)pthread_mutex_unlock(&rejoin->lock);
    fetcher_stop(&rejoin->fetcher);
    thread_join(&rejoin->thread);
}

static void free_group(struct rejoin_group *group)
{
    bytes_fini(&group->staged.configuration);
    free(group->files);
}

void rejoin_free(struct rejoin *rejoin)
{
    if (rejoin == NULL)
        return;
    for (uint32_t i = 0; rejoin->groups != NULL && i < rejoin->node->groups; i++)
        free_group(&rejoin->groups[i]);
    free(rejoin->groups);
    rejoin_list_fini(&rejoin->list);
    fetcher_fini(&rejoin->fetcher);
    (void)pthread_cond_destroy(&rejoin->wake);
    (void)pthread_mutex_destroy(&rejoin->lock);
    free(rejoin);
}

/* ---- Looking, telling ----------------------------------------------------------------------- */

uint64_t rejoin_leader(const struct rejoin *rejoin, uint32_t group)
{
    return atomic_load_explicit(&rejoin->groups[group].leader, memory_order_relaxed);
}

bool rejoin_next(struct rejoin *rejoin, uint32_t *ret_group)
{
    uint32_t at = 0;

    (void)pthread_mutex_lock(&rejoin->lock);
    while (at < rejoin->list.count && rejoin->list.entries[at].state == REJOIN_NOT)
        at++;
    (void)pthread_mutex_unlock(&rejoin->lock);
    *ret_group = at;
    return at < rejoin->list.count;
}

void rejoin_behind(struct rejoin *rejoin, uint32_t group, uint64_t last)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    rejoin->groups[group].behind = last;
    rejoin->told = true;
    (void)pthread_cond_signal(&rejoin->wake);
    (void)pthread_mutex_unlock(&rejoin->lock);
}

void rejoin_done(struct rejoin *rejoin, uint32_t group)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    rejoin->groups[group].done = true;
    rejoin->told = true;
    (void)pthread_cond_signal(&rejoin->wake);
    (void)pthread_mutex_unlock(&rejoin->lock);
}

void rejoin_serve(struct rejoin *rejoin, struct worker *worker)
{
    fetcher_serve(&rejoin->fetcher, worker);
}

void rejoin_each(struct rejoin *rejoin,
                 void (*each)(void *arg, uint32_t group, enum rejoin_state state, const char *what),
                 void *arg)
{
    (void)pthread_mutex_lock(&rejoin->lock);
    if (rejoin_holds(rejoin))
        each(arg, 0, REJOIN_NOT, rejoin->first.what);
    for (uint32_t i = 0; i < rejoin->list.count && !rejoin_holds(rejoin); i++)
        if (rejoin->list.entries[i].state != REJOIN_NOT)
            each(arg, i, rejoin->list.entries[i].state, rejoin->groups[i].what);
    (void)pthread_mutex_unlock(&rejoin->lock);
}
