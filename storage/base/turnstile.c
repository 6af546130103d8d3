#include "storage/base/turnstile.h"

#include <pthread.h>

#include "storage/base/check.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t room;
    uint32_t most; /* 0: it is not open, and counts nobody. */
    uint32_t inside;
    bool aside;
} turnstile = {.lock = PTHREAD_MUTEX_INITIALIZER, .room = PTHREAD_COND_INITIALIZER};

static _Thread_local bool is_inside;

void turnstile_open(uint32_t most)
{
    CHECK(most > 0);
    (void)pthread_mutex_lock(&turnstile.lock);
    CHECK(turnstile.inside == 0);
    turnstile.most = most;
    (void)pthread_mutex_unlock(&turnstile.lock);
}

void turnstile_enter(void)
{
    CHECK(!is_inside);
    (void)pthread_mutex_lock(&turnstile.lock);
    if (turnstile.most > 0) {
        while (turnstile.inside >= turnstile.most)
            (void)pthread_cond_wait(&turnstile.room, &turnstile.lock);
        turnstile.inside++;
        is_inside = true;
    }
    (void)pthread_mutex_unlock(&turnstile.lock);
}

static void make_room(void)
{
    CHECK(turnstile.inside > 0);
    turnstile.inside--;
    (void)pthread_cond_signal(&turnstile.room);
}

void turnstile_leave(void)
{
    if (!is_inside)
        return;
    is_inside = false;
    (void)pthread_mutex_lock(&turnstile.lock);
    make_room();
    (void)pthread_mutex_unlock(&turnstile.lock);
}

bool turnstile_step_aside(void)
{
    bool steps;

    if (!is_inside)
        return false;
    (void)pthread_mutex_lock(&turnstile.lock);
    steps = !turnstile.aside;
    if (steps) {
        turnstile.aside = true;
        make_room();
    }
    (void)pthread_mutex_unlock(&turnstile.lock);
    return steps;
}

void turnstile_step_back(void)
{
    (void)pthread_mutex_lock(&turnstile.lock);
    CHECK(turnstile.aside);
    turnstile.aside = false;
    turnstile.inside++;
    (void)pthread_mutex_unlock(&turnstile.lock);
}
