/*
 * scrub_mend.c - get a good file for a damaged one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/wire/fetch.h"
#include "node/scrub_internal.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"
#include "storage/catalog_run.h"
#include "storage/manifest.h"

enum {
    RETRY_MS_MIN = 200, /* The next round of all nodes: doubled up to ... */
    RETRY_MS_MAX = 5000,
    TELL_MS = 60000, /* Between two log lines about a file that nobody has. */
};

static_assert((int)MANIFEST_SEGMENT_SIZE == (int)FETCH_FACTS_SIZE,
              "facts are sent as they are kept");

/* ---- One file ------------------------------------------------------------------------------ */

/* What comes is verified before it takes the damaged one's place. */
static enum err fetch_file(struct scrub *scrub, const struct scrub_item *item,
                           const struct store_file *wanted, uint64_t server)
{
    struct store *store = scrub->shards[item->shard].store;
    char name[STORE_FILE_NAME_SIZE], path[SCRUB_PATH_SIZE];
    enum err err;

    store_file_name(wanted, name);
    (void)snprintf(path, sizeof path, "%s/%s.mend.tmp", store_dir(store), name);
    err =
        fetcher_file(&scrub->fetcher, server, item->shard, wanted, item->tries, scrub->disk, path);
    return err == ERR_OK ? store_install(store, wanted, path) : err;
}

/* ---- What it became part of ----------------------------------------------------------------- */

static enum err ask_facts(struct scrub *scrub, const struct scrub_item *item, uint64_t number,
                          uint64_t server, struct segment_info *ret_info)
{
    struct fetch_piece piece = {.shard = item->shard,
                                .kind = FETCH_KIND_FACTS,
                                .number = number,
                                .size = FETCH_FACTS_SIZE,
                                .length = FETCH_FACTS_SIZE};
    struct buf *bytes = NULL;
    struct reader reader;
    enum err err = fetcher_piece(&scrub->fetcher, server, &piece, item->tries, &bytes);

    if (err != ERR_OK)
        return err;
    reader = reader_on(bytes->bytes, bytes->size);
    *ret_info = manifest_get_segment(&reader);
    buf_unref(bytes);
    return ret_info->number == number
               ? ERR_OK
               : err_set(ERR_INVALID, "facts of segment %" PRIu64 ", not of %" PRIu64,
                         ret_info->number, number);
}

static enum err fetch_output(struct scrub *scrub, struct scrub_item *item, uint64_t number,
                             uint64_t server)
{
    struct store_file output = {.kind = STORE_FILE_SEGMENT, .number = number};
    enum err err = ask_facts(scrub, item, number, server, &output.segment);

    if (err == ERR_OK && output.segment.rows > 0) {
        output.size = output.segment.size;
        output.hash = output.segment.hash;
        err = fetch_file(scrub, item, &output, server);
    }
    if (err == ERR_OK && output.segment.rows > 0)
        err = segment_open(scrub->node->disk, store_dir(scrub->shards[item->shard].store),
                           item->shard, &output.segment, &item->segment);
    if (err == ERR_OK)
        item->output = number;
    return err;
}

/* The node does not have the file any more: it may have made of it and others what is still to be
 * made here. */
static enum err fetch_outputs(struct scrub *scrub, struct scrub_item *item, uint64_t server)
{
    uint64_t *numbers = NULL;
    uint32_t count = 0;
    struct err_note note;
    enum err err;

    err_save(&note, ERR_NOT_FOUND);
    err = store_outputs(scrub->shards[item->shard].store, item->file.number, &numbers, &count);
    if (err != ERR_OK)
        return err;
    err = ERR_NOT_FOUND;
    for (uint32_t i = 0; i < count && err == ERR_NOT_FOUND; i++)
        err = fetch_output(scrub, item, numbers[i], server);
    free(numbers);
    return err == ERR_NOT_FOUND ? err_restore(&note) : err;
}

static enum err fetch_from(struct scrub *scrub, struct scrub_item *item, uint64_t server)
{
    enum err err = fetch_file(scrub, item, &item->file, server);

    return err == ERR_NOT_FOUND && item->file.kind == STORE_FILE_SEGMENT
               ? fetch_outputs(scrub, item, server)
               : err;
}

/* Each other node in turn, as long as there is room for what it has. What they said stands in
 * item->state. */
static enum err fetch(struct scrub *scrub, struct scrub_item *item, uint64_t *ret_server)
{
    const struct options *options = &scrub->node->options;
    char said[ERR_DETAIL_MAX] = "there is no other node";
    size_t used = 0;
    enum err err = ERR_NOT_FOUND;

    for (uint32_t i = 0; i < options->cluster.node_count && err != ERR_DISK_FULL; i++) {
        uint32_t at = (item->tries + i) % options->cluster.node_count;
        uint64_t server = options->cluster.nodes[at].id;
        int size;

        if (server == scrub->node->server)
            continue;
        err = fetch_from(scrub, item, server);
        if (err == ERR_OK || err == ERR_CANCELED || atomic_load(&scrub->stopping)) {
            *ret_server = server;
            return err;
        }
        size = snprintf(said + used, sizeof said - used, "%snode %" PRIu64 ": %s",
                        used > 0 ? "; " : "", server, err_detail());
        used =
            size < 0 || used + (size_t)size >= sizeof said ? sizeof said - 1 : used + (size_t)size;
    }
    (void)pthread_mutex_lock(&scrub->lock);
    memcpy(item->state, said, sizeof said);
    (void)pthread_mutex_unlock(&scrub->lock);
    return err;
}

/* ---- Mending ------------------------------------------------------------------------------- */

static void put_off(struct scrub *scrub, struct scrub_item *item)
{
    uint64_t now_ms = worker_now_ms();
    uint64_t wait_ms = (uint64_t)RETRY_MS_MIN << (item->tries < 5 ? item->tries : 5);
    bool tell = item->told_ms == 0 || now_ms - item->told_ms >= TELL_MS;
    char name[STORE_FILE_NAME_SIZE];

    store_file_name(&item->file, name);
    if (tell)
        log_error(
            "shard=%u %s is damaged here and not mended yet; other nodes are asked for it again, "
            "and it is kept until then: %s",
            item->shard, name, item->state);
    (void)pthread_mutex_lock(&scrub->lock);
    item->told_ms = tell ? now_ms : item->told_ms;
    item->tries++;
    item->retry_ms = now_ms + (wait_ms < RETRY_MS_MAX ? wait_ms : RETRY_MS_MAX);
    (void)pthread_mutex_unlock(&scrub->lock);
}

/* The good file, for the worker to take in. */
static enum err open_good(struct scrub *scrub, const struct scrub_item *item,
                          struct segment **ret_segment, struct catalog_run **ret_run)
{
    const struct scrub_shard *shard = &scrub->shards[item->shard];
    const struct disk *disk = scrub->node->disk;

    if (item->output != 0)
        return ERR_OK; /* It is open. */
    if (item->file.kind == STORE_FILE_SEGMENT)
        return segment_open(disk, store_dir(shard->store), item->shard, &item->file.segment,
                            ret_segment);
    return catalog_file_open(disk, store_dir(shard->store), item->shard, &item->file.run, ret_run);
}

static void hand_over(struct scrub *scrub, struct scrub_item *item, struct segment *segment,
                      struct catalog_run *run)
{
    (void)pthread_mutex_lock(&scrub->lock);
    scrub->status.mended++;
    if (item->output == 0)
        item->segment = segment;
    item->run = run;
    item->mended = true;
    if (scrub->shards[item->shard].waiting) /* It will be opened as a whole. */
        scrub_remove(scrub, item);
    (void)pthread_mutex_unlock(&scrub->lock);
    metric_add(METRIC_DAMAGE_MENDED, 1);
}

void scrub_mend(struct scrub *scrub, struct scrub_item *item)
{
    struct store *store = scrub->shards[item->shard].store;
    struct segment *segment = NULL;
    struct catalog_run *run = NULL;
    char name[STORE_FILE_NAME_SIZE], path[SCRUB_PATH_SIZE];
    uint64_t server = 0;
    bool good;
    enum err err;

    item->output = 0;
    store_file_name(&item->file, name);
    (void)snprintf(path, sizeof path, "%s/%s", store_dir(store), name);
    if (!store_has_file(store, &item->file)) {
        log_info("shard=%u %s was damaged, and does not count any more", item->shard, name);
        (void)pthread_mutex_lock(&scrub->lock);
        scrub_remove(scrub, item);
        (void)pthread_mutex_unlock(&scrub->lock);
        return;
    }
    err = store_verify_file(scrub->disk, path, item->shard, &item->file);
    if (err == ERR_CANCELED)
        return;
    if (err != ERR_OK) /* It reads well again, if there was not enough of something. */
        err = fetch(scrub, item, &server);
    good = err == ERR_OK;
    if (good)
        err = open_good(scrub, item, &segment, &run);
    if (err == ERR_CANCELED || atomic_load(&scrub->stopping)) {
        segment_unref(segment);
        catalog_run_unref(run);
        return;
    }
    if (err != ERR_OK) {
        if (good) {
            (void)pthread_mutex_lock(&scrub->lock);
            (void)snprintf(item->state, sizeof item->state, "%s", err_detail());
            (void)pthread_mutex_unlock(&scrub->lock);
        }
        put_off(scrub, item);
        return;
    }
    if (item->output != 0)
        log_info("shard=%u %s is replaced by segment %" PRIu64 ", which node %" PRIu64
                 " has made of it and others",
                 item->shard, name, item->output, server);
    else if (server != 0)
        log_info("shard=%u %s is mended with what node %" PRIu64 " has", item->shard, name, server);
    else
        log_info("shard=%u %s reads well again", item->shard, name);
    hand_over(scrub, item, segment, run);
}
