#include "replication/log_read_ahead.h"

#include <stdlib.h>

#include "storage/base/check.h"

enum { WINDOWS = 4 }; /* One is looked at, one is on the way, two even out their times. */

struct window {
    const struct log_part *part;
    uint64_t at;
    bool good; /* It could be read. */
    uint8_t *bytes;
};

struct log_read_ahead {
    const struct log *log;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t moved; /* One of those below. */
    uint64_t read;        /* Windows that were. Number n is in windows[n % WINDOWS]. */
    uint64_t first;       /* Those before are let go. */
    bool ended, stop;

    struct window
        windows[WINDOWS]; /* From `first` to `read` recovery's, the others the reader's. */
    uint8_t *memory;      /* Owned: of all windows. */
};

/* ---- The reader ---------------------------------------------------------------------------- */

/* A window that is free; NULL: stop. */
static struct window *wait_for_room(struct log_read_ahead *ahead)
{
    struct window *window;

    (void)pthread_mutex_lock(&ahead->lock);
    while (!ahead->stop && ahead->read - ahead->first == WINDOWS)
        (void)pthread_cond_wait(&ahead->moved, &ahead->lock);
    window = ahead->stop ? NULL : &ahead->windows[ahead->read % WINDOWS];
    (void)pthread_mutex_unlock(&ahead->lock);
    return window;
}

static void tell(struct log_read_ahead *ahead, bool ended)
{
    (void)pthread_mutex_lock(&ahead->lock);
    if (ended)
        ahead->ended = true;
    else
        ahead->read++;
    (void)pthread_cond_signal(&ahead->moved);
    (void)pthread_mutex_unlock(&ahead->lock);
}

static size_t window_size(const struct log_part *part, uint64_t at)
{
    return part->bytes - at < LOG_WINDOW_BYTES ? (size_t)(part->bytes - at) : LOG_WINDOW_BYTES;
}

static void *reader_main(void *arg)
{
    struct log_read_ahead *ahead = arg;
    const struct log *log = ahead->log;
    const struct disk *disk = log->options.disk;
    struct window *window;

    for (uint32_t i = 0; i < log->file_count; i++) {
        const struct log_part *part = &log->files[i]->part;

        for (uint64_t at = 0; at < part->bytes; at += LOG_WINDOW_BYTES) {
            window = wait_for_room(ahead);
            if (window == NULL)
                return NULL;
            window->part = part;
            window->at = at;
            window->good =
                disk->read(part->file, at, window->bytes, window_size(part, at)) == ERR_OK;
            tell(ahead, false);
        }
    }
    tell(ahead, true);
    return NULL;
}

/* ---- Recovery ------------------------------------------------------------------------------ */

struct log_read_ahead *log_read_ahead_start(const struct log *log)
{
    struct log_read_ahead *ahead = calloc(1, sizeof *ahead);

    if (ahead == NULL)
        return NULL;
    ahead->memory = aligned_alloc(LOG_ALIGN, (size_t)WINDOWS * LOG_WINDOW_BYTES);
    if (ahead->memory == NULL)
        goto free_ahead;
    for (uint32_t i = 0; i < WINDOWS; i++)
        ahead->windows[i].bytes = ahead->memory + (size_t)i * LOG_WINDOW_BYTES;
    ahead->log = log;
    (void)pthread_mutex_init(&ahead->lock, NULL);
    (void)pthread_cond_init(&ahead->moved, NULL);
    if (pthread_create(&ahead->thread, NULL, reader_main, ahead) != 0)
        goto destroy_lock;
    return ahead;

destroy_lock:
    (void)pthread_cond_destroy(&ahead->moved);
    (void)pthread_mutex_destroy(&ahead->lock);
    free(ahead->memory);
free_ahead:
    free(ahead);
    return NULL;
}

static bool is_before(const struct window *window, const struct log_part *part, uint64_t at)
{
    return window->part->number < part->number ||
           (window->part->number == part->number && window->at < at);
}

const uint8_t *log_read_ahead_take(struct log_read_ahead *ahead, const struct log_part *part,
                                   uint64_t at)
{
    const uint8_t *bytes = NULL;
    const struct window *window = NULL;

    CHECK(at % LOG_WINDOW_BYTES == 0);
    (void)pthread_mutex_lock(&ahead->lock);
    for (;;) {
        if (ahead->first == ahead->read) {
            if (ahead->ended)
                break;
            (void)pthread_cond_wait(&ahead->moved, &ahead->lock);
            continue;
        }
        window = &ahead->windows[ahead->first % WINDOWS];
        if (!is_before(window, part, at))
            break;
        ahead->first++;
        window = NULL;
        (void)pthread_cond_signal(&ahead->moved);
    }
    if (window != NULL && window->good && window->part == part && window->at == at)
        bytes = window->bytes;
    (void)pthread_mutex_unlock(&ahead->lock);
    return bytes;
}

void log_read_ahead_stop(struct log_read_ahead *ahead)
{
    if (ahead == NULL)
        return;
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->stop = true;
    (void)pthread_cond_signal(&ahead->moved);
    (void)pthread_mutex_unlock(&ahead->lock);
    (void)pthread_join(ahead->thread, NULL);
    (void)pthread_cond_destroy(&ahead->moved);
    (void)pthread_mutex_destroy(&ahead->lock);
    free(ahead->memory);
    free(ahead);
}
