/*
 * scrub_log.c - damage in the log.
 *
 * No other node has the same log: what stands in a damaged file is not fetched, but made needless.
 * All of it is in memory. The shards whose rows stand in it are sealed, the meta group is saved,
 * and then the file is removed like any other old one (shard_log.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/scrub_internal.h"
#include "node/worker.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"

static bool is_known(const struct scrub *scrub, uint32_t number)
{
    const struct scrub_wound *wound = scrub->wounds;

    while (wound != NULL && wound->number != number)
        wound = wound->next;
    return wound != NULL;
}

static void add(struct scrub *scrub, uint32_t number, const char *what)
{
    struct scrub_wound *wound = is_known(scrub, number) ? NULL : calloc(1, sizeof *wound);

    if (wound == NULL) /* Without memory for it now: the next pass finds it. */
        return;
    wound->number = number;
    wound->found_ms = worker_now_ms();
    (void)snprintf(wound->what, sizeof wound->what, "%s", what);
    log_condemn(scrub->node->log, number);
    (void)pthread_mutex_lock(&scrub->lock);
    wound->next = scrub->wounds;
    scrub->wounds = wound;
    scrub->status.found++;
    (void)pthread_mutex_unlock(&scrub->lock);
    if (number > atomic_load(&scrub->log_damaged))
        atomic_store(&scrub->log_damaged, number);
    metric_add(METRIC_DAMAGE_FOUND, 1);
    log_error("the log is damaged on disk; what stands in this file is sealed, then it is removed: "
              "%s",
              what);
}

enum err scrub_check_log(struct scrub *scrub)
{
    struct log *log = scrub->node->log;
    uint32_t first, current;

    log_range(log, &first, &current);
    for (uint32_t number = first; number <= current; number++) {
        enum err err = log_verify(log, scrub->disk, number);

        metric_add(METRIC_SCRUB_FILES, 1);
        if (err == ERR_CANCELED || atomic_load(&scrub->stopping))
            return ERR_CANCELED;
        if (err == ERR_CORRUPT || err == ERR_IO)
            add(scrub, number, err_detail());
        else if (err != ERR_OK && err != ERR_NOT_FOUND)
            log_warn("log file %" PRIu32 " could not be verified: %s", number, err_detail());
        (void)pthread_mutex_lock(&scrub->lock);
        scrub->status.files++;
        (void)pthread_mutex_unlock(&scrub->lock);
    }
    return ERR_OK;
}

void scrub_look_at_log(struct scrub *scrub)
{
    uint32_t first, current;

    if (scrub->wounds == NULL)
        return;
    log_range(scrub->node->log, &first, &current);
    (void)pthread_mutex_lock(&scrub->lock);
    for (struct scrub_wound **at = &scrub->wounds; *at != NULL;) {
        struct scrub_wound *wound = *at;

        if (wound->number >= first) {
            at = &wound->next;
            continue;
        }
        *at = wound->next;
        scrub->status.mended++;
        metric_add(METRIC_DAMAGE_MENDED, 1);
        log_info("log/%08" PRIu32 ".log was damaged, and is removed: nothing needs it any more",
                 wound->number);
        free(wound);
    }
    if (scrub->wounds == NULL)
        atomic_store(&scrub->log_damaged, 0);
    (void)pthread_mutex_unlock(&scrub->lock);
}

void scrub_free_wounds(struct scrub *scrub)
{
    while (scrub->wounds != NULL) {
        struct scrub_wound *wound = scrub->wounds;

        scrub->wounds = wound->next;
        free(wound);
    }
}

uint32_t scrub_damaged_log(const struct scrub *scrub)
{
    return atomic_load_explicit(&scrub->log_damaged, memory_order_relaxed);
}
