#include "storage/base/fault.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum action { ACTION_FAIL, ACTION_BROKEN, ACTION_KILL, ACTION_STOP, ACTION_COUNT };

struct fault {
    char name[FAULT_NAME_MAX];
    enum action action;
    unsigned long nth;
    _Atomic unsigned long visits;
};

bool fault_any_armed;

static struct fault faults[FAULT_COUNT_MAX];
static int fault_count;

/* ---- Arming -------------------------------------------------------------------------------- */

static bool parse_action(const char *text, enum action *ret_action)
{
    static const char *const names[ACTION_COUNT] = {"fail", "broken", "kill", "stop"};

    for (int i = 0; i < ACTION_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_action = (enum action)i;
            return true;
        }
    }
    return false;
}

/* "log.sync:fail:3" */
static enum err parse_one(const char *text, struct fault *fault)
{
    char action[8];
    char rest;

    static_assert(FAULT_NAME_MAX == 32, "the width below");
    if (sscanf(text, "%31[^:]:%7[a-z]:%8lu%c", fault->name, action, &fault->nth, &rest) != 3 ||
        !parse_action(action, &fault->action) || fault->nth < 1)
        return err_set(ERR_INVALID,
                       "fault \"%s\": expected NAME:ACTION:NTH, with fail, broken, kill or stop, "
                       "NTH from 1",
                       text);
    atomic_init(&fault->visits, 0);
    return ERR_OK;
}

enum err fault_arm(const char *spec)
{
    struct fault parsed[FAULT_COUNT_MAX];
    char one[64];
    int count = 0;

    while (*spec != '\0') {
        size_t size = strcspn(spec, ",");
        enum err err;

        if (size >= sizeof one || count == FAULT_COUNT_MAX)
            return err_set(ERR_INVALID, "faults \"%s\": more than %zu bytes, or more than %d", spec,
                           sizeof one - 1, FAULT_COUNT_MAX);
        memcpy(one, spec, size);
        one[size] = '\0';
        err = parse_one(one, &parsed[count]);
        if (err != ERR_OK)
            return err;
        count++;
        spec += size + (spec[size] == ',');
    }
    memcpy(faults, parsed, sizeof *faults * (size_t)count);
    fault_count = count;
    fault_any_armed = count > 0;
    return ERR_OK;
}

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *spec = getenv("MILLRACE_FAULT");

    if (spec == NULL)
        return;
    if (fault_arm(spec) != ERR_OK) {
        (void)fprintf(stderr, "MILLRACE_FAULT: %s\n", err_detail());
        _exit(64); /* EX_USAGE */
    }
    if (fault_any_armed)
        (void)fprintf(stderr, "MILLRACE_FAULT is set: this process will fail on purpose: %s\n",
                      spec);
}

/* ---- Visiting ------------------------------------------------------------------------------ */

bool fault_visit(const char *name)
{
    bool fails = false;

    for (int i = 0; i < fault_count; i++) {
        struct fault *fault = &faults[i];
        unsigned long visit;

        if (strcmp(fault->name, name) != 0)
            continue;
        visit = atomic_fetch_add_explicit(&fault->visits, 1, memory_order_relaxed) + 1;
        if (visit < fault->nth || (visit > fault->nth && fault->action != ACTION_BROKEN))
            continue;
        if (fault->action == ACTION_KILL)
            (void)kill(getpid(), SIGKILL);
        else if (fault->action == ACTION_STOP)
            (void)kill(getpid(), SIGSTOP);
        else
            fails = true;
    }
    return fails;
}
