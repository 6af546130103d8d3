#include "node/scrub.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/meta.h"
#include "node/rejoin.h"
#include "node/scrub_internal.h"
#include "node/shard_io.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"
#include "storage/catalog_run.h"
#include "storage/store_compact.h"

#define HOUR_MS (UINT64_C(3600) * 1000)

enum {
    NICE = 19,
    FIRST_PASS_MS = 60000, /* After the start, which has more to do. */
    LOOK_MS = 100,         /* A suspect, a retry, the next pass: looked at so often. */
    EXIT_SOFTWARE = 70,    /* EX_SOFTWARE, as in shard_io.c. */
    SLEEP_MS = 50,         /* The end of the node is noticed so soon. */
    TAKE_OUTPUT_MS = 5000, /* A segment is taken in by then, or it is fetched again. */
};

#define PASS_EVERY_MS (24 * HOUR_MS)
/* Somebody waits for a pass that was asked for: what one slow disk gives without effort. */
#define FAST_BYTES_PER_S (UINT64_C(256) * 1024 * 1024)

static struct shard *shard_of(const struct scrub *scrub, uint32_t shard)
{
    const struct node *node = scrub->node;

    return node->workers[node_owner(node, shard + 1)].groups[shard + 1];
}

/* ---- The list ------------------------------------------------------------------------------ */

static struct scrub_item *find(struct scrub *scrub, uint32_t shard, const struct store_file *file)
{
    struct scrub_item *item = scrub->items;

    while (item != NULL && !(item->shard == shard && store_file_is(&item->file, file)))
        item = item->next;
    return item;
}

void scrub_report(struct scrub *scrub, uint32_t shard, const struct store_file *file,
                  const char *what)
{
    char name[STORE_FILE_NAME_SIZE];
    struct scrub_item *item;

    (void)pthread_mutex_lock(&scrub->lock);
    item = find(scrub, shard, file) == NULL ? calloc(1, sizeof *item) : NULL;
    if (item != NULL) { /* Without memory for it now: it is met again. */
        item->shard = shard;
        item->file = *file;
        item->found_ms = worker_now_ms();
        (void)snprintf(item->what, sizeof item->what, "%s", what);
        item->next = scrub->items;
        scrub->items = item;
        scrub->status.found++;
        atomic_fetch_add(&scrub->shards[shard].items, 1);
        (void)pthread_cond_signal(&scrub->wake);
    }
    (void)pthread_mutex_unlock(&scrub->lock);
    if (item == NULL)
        return;
    store_file_name(file, name);
    metric_add(METRIC_DAMAGE_FOUND, 1);
    log_error("shard=%u %s is damaged, other nodes are asked for it: %s", shard, name, what);
}

void scrub_suspect(struct scrub *scrub, uint32_t shard)
{
    atomic_store(&scrub->shards[shard].suspect, true);
}

void scrub_remove(struct scrub *scrub, struct scrub_item *item)
{
    struct scrub_item **at = &scrub->items;

    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    atomic_fetch_sub(&scrub->shards[item->shard].items, 1);
    segment_unref(item->segment);
    catalog_run_unref(item->run);
    free(item);
}

uint32_t scrub_count(const struct scrub *scrub, uint32_t shard)
{
    return atomic_load(&scrub->shards[shard].items);
}

/* What others made of it and its neighbours, to be taken in between seals. It stays on the list
 * until the manifest has that. */
static void take_output(struct scrub *scrub, struct scrub_item *item)
{
    struct shard *shard = shard_of(scrub, item->shard);
    struct compact_job *job = NULL;
    struct segment *segment = item->segment == NULL ? NULL : segment_ref(item->segment);
    enum err err = store_compact_fetched(shard->store, item->output, segment, &job);

    if (err == ERR_BUSY)
        return; /* The next tick. */
    segment_unref(item->segment);
    item->segment = NULL;
    item->mended = false;
    item->retry_ms = worker_now_ms() + TAKE_OUTPUT_MS;
    if (err == ERR_OK)
        shard_adopt(shard, job);
    else if (err != ERR_NOT_FOUND)
        log_warn("shard=%u segment=%" PRIu64 " of another node is not taken: %s", item->shard,
                 item->output, err_detail());
}

/* False: not yet. */
static bool take_in(struct scrub *scrub, struct store *store, struct scrub_item *item)
{
    enum err err;

    if (item->output != 0) {
        take_output(scrub, item);
        return false;
    }
    if (item->file.kind == STORE_FILE_SEGMENT) {
        (void)store_take_segment(store, item->segment);
        item->segment = NULL;
        return true;
    }
    err = store_take_run(store, item->run);
    if (err == ERR_CORRUPT) {
        log_error("stops the node: %s; start it again: the log has what is right", err_detail());
        _exit(EXIT_SOFTWARE);
    }
    return err == ERR_OK || err == ERR_NOT_FOUND;
}

bool scrub_sync(struct scrub *scrub, uint32_t number, struct store **store)
{
    struct scrub_shard *shard = &scrub->shards[number];
    struct scrub_item *item, *next;
    bool begins = false, sees = true;

    if (atomic_load(&shard->items) == 0 && !store_is_blind(*store))
        return false;
    (void)pthread_mutex_lock(&scrub->lock);
    if (shard->fresh != NULL) {
        store_close(*store);
        *store = shard->fresh;
        shard->fresh = NULL;
        begins = true;
    }
    for (item = scrub->items; item != NULL; item = next) {
        next = item->next;
        if (item->shard == number && item->mended && take_in(scrub, *store, item))
            scrub_remove(scrub, item);
    }
    for (item = scrub->items; item != NULL; item = item->next) {
        if (item->shard != number)
            continue;
        store_blame(*store, &item->file);
        sees = sees && item->file.kind != STORE_FILE_CATALOG;
    }
    if (sees)
        store_see(*store);
    (void)pthread_mutex_unlock(&scrub->lock);
    return begins;
}

/* One that may be tried now. It stays on the list until scrub_mend() takes it off. */
static struct scrub_item *due_item(struct scrub *scrub)
{
    uint64_t now_ms = worker_now_ms();
    struct scrub_item *item, *found = NULL;

    (void)pthread_mutex_lock(&scrub->lock);
    for (item = scrub->items; item != NULL; item = item->next)
        if (!item->mended && item->retry_ms <= now_ms &&
            (found == NULL || item->retry_ms < found->retry_ms))
            found = item;
    (void)pthread_mutex_unlock(&scrub->lock);
    return found;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void sleep_a_while(struct scrub *scrub, uint64_t ms)
{
    (void)pthread_mutex_lock(&scrub->lock);
    if (!atomic_load(&scrub->stopping))
        thread_wait(&scrub->wake, &scrub->lock, ms);
    (void)pthread_mutex_unlock(&scrub->lock);
}

/* Before each window of a file. What is to be mended, and a suspect, does not wait. */
static enum err wait_turn(void *arg, size_t size)
{
    struct scrub *scrub = arg;
    uint64_t rate = scrub->fast ? FAST_BYTES_PER_S : scrub->node->options.storage.scrub_rate;
    uint64_t now_ns = clk_now_ns();

    (void)pthread_mutex_lock(&scrub->lock);
    scrub->status.bytes += scrub->hurry ? 0 : size;
    (void)pthread_mutex_unlock(&scrub->lock);
    metric_add(METRIC_SCRUB_BYTES, size);
    while (!scrub->hurry && rate > 0 && scrub->due_ns > now_ns && due_item(scrub) == NULL &&
           !atomic_load(&scrub->stopping)) {
        uint64_t left_ms = (scrub->due_ns - now_ns) / 1000000 + 1;

        sleep_a_while(scrub, left_ms < SLEEP_MS ? left_ms : SLEEP_MS);
        now_ns = clk_now_ns();
    }
    if (atomic_load(&scrub->stopping))
        return err_set(ERR_CANCELED, "the node stops");
    if (rate > 0)
        scrub->due_ns = (scrub->due_ns > now_ns ? scrub->due_ns : now_ns) +
                        (uint64_t)((double)size / (double)rate * 1e9);
    return ERR_OK;
}

/* ---- Checking ------------------------------------------------------------------------------ */

static enum err check_file(struct scrub *scrub, uint32_t shard, const struct store_file *file)
{
    struct store *store = scrub->shards[shard].store;
    char name[STORE_FILE_NAME_SIZE], path[SCRUB_PATH_SIZE];
    enum err err;

    store_file_name(file, name);
    (void)snprintf(path, sizeof path, "%s/%s", store_dir(store), name);
    err = store_verify_file(scrub->disk, path, shard, file);
    metric_add(METRIC_SCRUB_FILES, 1);
    if (err == ERR_CANCELED || atomic_load(&scrub->stopping))
        return ERR_CANCELED;
    if ((err == ERR_CORRUPT || err == ERR_IO) && store_has_file(store, file))
        scrub_report(scrub, shard, file, err_detail());
    else if (err != ERR_OK && err != ERR_CORRUPT)
        log_warn("shard=%u %s could not be verified: %s", shard, name, err_detail());
    return ERR_OK;
}

/* A manifest is mended on the spot: its contents are in memory. */
static void count_mended(struct scrub *scrub)
{
    (void)pthread_mutex_lock(&scrub->lock);
    scrub->status.found++;
    scrub->status.mended++;
    (void)pthread_mutex_unlock(&scrub->lock);
    metric_add(METRIC_DAMAGE_FOUND, 1);
    metric_add(METRIC_DAMAGE_MENDED, 1);
}

static void check_manifest(struct scrub *scrub, uint32_t shard)
{
    enum err err = store_check_manifest(scrub->shards[shard].store, scrub->disk);

    if (err == ERR_CORRUPT) {
        log_error("shard=%u its manifest was damaged, and is written again: %s", shard,
                  err_detail());
        count_mended(scrub);
    } else if (err != ERR_OK && err != ERR_CANCELED) {
        log_error("shard=%u its manifest is damaged, and cannot be written again: %s", shard,
                  err_detail());
    }
}

static void check_meta(struct scrub *scrub)
{
    enum err err;

    if (rejoin_is_silent(scrub->node->rejoin, 0))
        return;
    err = meta_verify(scrub->disk, scrub->node->options.node.data_dir);
    if (err != ERR_CORRUPT && err != ERR_IO)
        return;
    log_error("what the meta group has saved was damaged, and is saved again: %s", err_detail());
    meta_save_again(scrub->node->meta);
    count_mended(scrub);
}

/* Its files from the first one on; only those of the catalog, if somebody waits. */
static enum err check_shard(struct scrub *scrub, uint32_t shard, bool catalog_only)
{
    struct store_file *files = NULL;
    uint32_t count = 0;
    enum err err;

    check_manifest(scrub, shard);
    err = store_files(scrub->shards[shard].store, &files, &count);
    if (err != ERR_OK) {
        log_warn("shard=%u %s", shard, err_detail());
        return ERR_OK; /* The next pass. */
    }
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        if (catalog_only && files[i].kind != STORE_FILE_CATALOG)
            continue;
        err = check_file(scrub, shard, &files[i]);
        for (struct scrub_item *item; err == ERR_OK && !catalog_only;) {
            item = due_item(scrub);
            if (item == NULL || atomic_load(&scrub->stopping))
                break;
            scrub_mend(scrub, item);
        }
        (void)pthread_mutex_lock(&scrub->lock);
        scrub->status.files += !catalog_only;
        if (scrub->asked && !catalog_only) /* From the beginning. */
            err = ERR_CANCELED;
        (void)pthread_mutex_unlock(&scrub->lock);
    }
    free(files);
    return err;
}

/* ---- Shards that wait for their catalog ----------------------------------------------------- */

static bool has_items(struct scrub *scrub, uint32_t shard)
{
    return atomic_load(&scrub->shards[shard].items) > 0;
}

/* All of its catalog is good: open the store as a start does. */
static void open_waiting(struct scrub *scrub, uint32_t number)
{
    struct scrub_shard *shard = &scrub->shards[number];
    char dir[SCRUB_PATH_SIZE];
    struct store_options options = shard_store_options(shard_of(scrub, number), dir, sizeof dir);
    struct store *store = NULL;
    enum err err = store_open(&options, &store);

    if (err != ERR_OK) {
        log_error("shard=%u cannot be opened, though its catalog is good again: %s", number,
                  err_detail());
        atomic_store(&shard->suspect, true);
        sleep_a_while(scrub, 1000);
        return;
    }
    log_info("shard=%u has its catalog again, and begins", number);
    (void)pthread_mutex_lock(&scrub->lock);
    shard->fresh = store;
    (void)pthread_mutex_unlock(&scrub->lock);
    shard->store = store;
    shard->waiting = false;
}

/* ---- The thread ---------------------------------------------------------------------------- */

static bool begin_pass(struct scrub *scrub)
{
    bool begins;

    (void)pthread_mutex_lock(&scrub->lock);
    begins = scrub->asked || (scrub->node->options.storage.scrub_rate > 0 &&
                              worker_now_ms() >= scrub->next_pass_ms);
    if (begins) {
        scrub->fast = scrub->asked;
        scrub->asked = false;
        scrub->status.running = true;
        scrub->status.files = scrub->status.bytes = 0;
        scrub->next_pass_ms = worker_now_ms() + PASS_EVERY_MS;
    }
    (void)pthread_mutex_unlock(&scrub->lock);
    return begins;
}

static void run_pass(struct scrub *scrub)
{
    enum err err;

    check_meta(scrub);
    err = scrub_check_log(scrub);
    for (uint32_t i = 0; i < scrub->node->shards && err == ERR_OK; i++)
        if (!scrub->shards[i].silent)
            err = check_shard(scrub, i, false);
    (void)pthread_mutex_lock(&scrub->lock);
    scrub->status.running = false;
    scrub->fast = false;
    if (scrub->asked) /* For one that begins later. */
        err = ERR_CANCELED;
    if (err == ERR_OK) {
        scrub->status.passes++;
        scrub->status.complete_unix_s = (uint64_t)time(NULL);
    }
    (void)pthread_mutex_unlock(&scrub->lock);
    if (err == ERR_OK)
        metric_add(METRIC_SCRUB_PASSES, 1);
}

static void look_at_suspects(struct scrub *scrub)
{
    scrub->hurry = true;
    for (uint32_t i = 0; i < scrub->node->shards && !atomic_load(&scrub->stopping); i++) {
        struct scrub_shard *shard = &scrub->shards[i];

        if (atomic_exchange(&shard->suspect, false))
            (void)(check_shard(scrub, i, true) == ERR_OK); /* Canceled: the end. */
        if (shard->waiting && !has_items(scrub, i) && !atomic_load(&scrub->stopping))
            open_waiting(scrub, i);
    }
    scrub->hurry = false;
}

static void run(void *arg)
{
    struct scrub *scrub = arg;

    while (!atomic_load(&scrub->stopping)) {
        struct scrub_item *item;

        look_at_suspects(scrub);
        scrub_look_at_log(scrub);
        item = due_item(scrub);
        if (item != NULL) {
            scrub->hurry = true;
            scrub_mend(scrub, item);
            scrub->hurry = false;
        } else if (begin_pass(scrub)) {
            run_pass(scrub);
        } else {
            sleep_a_while(scrub, LOOK_MS);
        }
    }
}

/* ---- Start and stop ------------------------------------------------------------------------ */

static void take_stores(struct scrub *scrub)
{
    struct node *node = scrub->node;

    for (uint32_t i = 0; i < node->shards; i++) {
        struct scrub_shard *shard = &scrub->shards[i];

        shard->store = shard_of(scrub, i)->store;
        shard->silent = rejoin_is_silent(node->rejoin, i + 1);
        shard->waiting = !shard->silent && store_is_waiting(shard->store);
        atomic_init(&shard->suspect, shard->waiting);
        atomic_init(&shard->items, 0);
    }
}

enum err scrub_start(struct node *node, struct scrub **ret_scrub)
{
    struct scrub *scrub = calloc(1, sizeof *scrub);
    enum err err = ERR_NO_MEMORY;

    if (scrub != NULL)
        scrub->shards = calloc(node->shards, sizeof *scrub->shards);
    if (scrub == NULL || scrub->shards == NULL) {
        free(scrub);
        return err_set(ERR_NO_MEMORY, "the scrub");
    }
    scrub->node = node;
    fetcher_init(&scrub->fetcher, node);
    take_stores(scrub);
    scrub->next_pass_ms = worker_now_ms() + FIRST_PASS_MS;
    (void)pthread_mutex_init(&scrub->lock, NULL);
    thread_cond_init(&scrub->wake);
    err = paced_disk_init(&scrub->paced, node->disk, wait_turn, scrub, &scrub->disk);
    if (err == ERR_OK)
        err = thread_start(&scrub->thread, "scrub", NICE, run, scrub);
    if (err != ERR_OK) {
        scrub_free(scrub);
        return err;
    }
    *ret_scrub = scrub;
    return ERR_OK;
}

void scrub_stop(struct scrub *scrub)
{
    (void)pthread_mutex_lock(&scrub->lock);
    atomic_store(&scrub->stopping, true);
    (void)pthread_cond_broadcast(&scrub->wake);
    (void)pthread_mutex_unlock(&scrub->lock);
    fetcher_stop(&scrub->fetcher);
    thread_join(&scrub->thread);
}

void scrub_free(struct scrub *scrub)
{
    if (scrub == NULL)
        return;
    while (scrub->items != NULL)
        scrub_remove(scrub, scrub->items);
    scrub_free_wounds(scrub);
    for (uint32_t i = 0; i < scrub->node->shards; i++)
        if (scrub->shards[i].fresh != NULL)
            store_close(scrub->shards[i].fresh);
    paced_disk_fini(&scrub->paced);
    fetcher_fini(&scrub->fetcher);
    (void)pthread_cond_destroy(&scrub->wake);
    (void)pthread_mutex_destroy(&scrub->lock);
    free(scrub->shards);
    free(scrub);
}

void scrub_serve(struct scrub *scrub, struct worker *worker)
{
    fetcher_serve(&scrub->fetcher, worker);
}

/* ---- Asking -------------------------------------------------------------------------------- */

uint64_t scrub_ask(struct scrub *scrub)
{
    uint64_t complete;

    (void)pthread_mutex_lock(&scrub->lock);
    scrub->asked = true;
    complete = scrub->status.passes + 1;
    (void)pthread_cond_signal(&scrub->wake);
    (void)pthread_mutex_unlock(&scrub->lock);
    return complete;
}

void scrub_status(struct scrub *scrub, struct scrub_status *ret_status)
{
    (void)pthread_mutex_lock(&scrub->lock);
    *ret_status = scrub->status;
    ret_status->damaged = 0;
    for (const struct scrub_item *item = scrub->items; item != NULL; item = item->next)
        ret_status->damaged++;
    for (const struct scrub_wound *wound = scrub->wounds; wound != NULL; wound = wound->next)
        ret_status->damaged++;
    (void)pthread_mutex_unlock(&scrub->lock);
}

void scrub_each(struct scrub *scrub, void (*each)(void *arg, const struct scrub_damage *damage),
                void *arg)
{
    uint64_t now_ms = worker_now_ms();

    (void)pthread_mutex_lock(&scrub->lock);
    for (const struct scrub_item *item = scrub->items; item != NULL; item = item->next) {
        char name[STORE_FILE_NAME_SIZE];
        struct scrub_damage damage = {.shard = (int)item->shard,
                                      .file = name,
                                      .what = item->what,
                                      .state = item->state,
                                      .since_ms = now_ms - item->found_ms};

        store_file_name(&item->file, name);
        each(arg, &damage);
    }
    for (const struct scrub_wound *wound = scrub->wounds; wound != NULL; wound = wound->next) {
        char name[STORE_FILE_NAME_SIZE];
        struct scrub_damage damage = {.shard = -1,
                                      .file = name,
                                      .what = wound->what,
                                      .state = "is removed when what stands in it is sealed",
                                      .since_ms = now_ms - wound->found_ms};

        (void)snprintf(name, sizeof name, "log/%08" PRIu32 ".log", wound->number);
        each(arg, &damage);
    }
    (void)pthread_mutex_unlock(&scrub->lock);
}
