/*
 * What a shard's leader drops, by its clock and what its worker knows of databases: rows that are
 * too old, the oldest ones where a database has too many bytes, and databases that were dropped. It
 * says so in the order of a seal (seal_order.h), which all replicas carry out.
 */
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/shard_io.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"
#include "storage/database_map.h"

enum { LOOK_MS = 1000, RETRY_BUSY_MS = 50 };

static struct slice name_of(const struct schema_database *database)
{
    return (struct slice){database->name, strlen(database->name)};
}

/* The end of the last whole window that the retention has let go. */
static int64_t cutoff_by_age(const struct schema_database *database, int64_t window_ns)
{
    int64_t oldest_ns = clk_wall_ns() - (int64_t)database->retention_ns;
    int64_t into_ns = oldest_ns % window_ns;

    return oldest_ns - (into_ns < 0 ? into_ns + window_ns : into_ns);
}

static int64_t cutoff_by_bytes(const struct shard *shard, const struct schema_database *database,
                               uint32_t number, const struct store_database *stored)
{
    uint64_t part = database->retention_bytes / shard->worker->node->shards;
    int64_t cutoff_ns;

    if (database->retention_bytes == 0 || stored->bytes <= part ||
        store_cutoff_for(shard->store, number, part, &cutoff_ns) != ERR_OK)
        return INT64_MIN; /* Without memory: the next look. */
    return cutoff_ns;
}

/* What the order says of one database. False: nothing of it is dropped. */
static bool judge(const struct shard *shard, const struct schema_database *database,
                  struct seal_database *ret_order)
{
    struct seal_database order = {name_of(database), schema_map_window_ns(database->retention_ns),
                                  INT64_MIN, 0};
    struct mark mark = store_database_mark(shard->store, order.name);
    struct store_database stored;
    uint32_t number;

    if (database->drop > mark.drop) {
        order.drop = database->drop;
    } else if (!database->dropped &&
               (database->retention_ns > 0 || database->retention_bytes > 0) &&
               (number = store_database_find(shard->store, order.name)) != DATABASE_NONE) {
        int64_t by_bytes_ns;

        store_database(shard->store, number, &stored);
        by_bytes_ns = cutoff_by_bytes(shard, database, number, &stored);
        if (database->retention_ns > 0)
            order.cutoff_ns = cutoff_by_age(database, order.window_ns);
        /* The head's oldest row may be another database's: then this asks for one seal a window. */
        if (stored.time_min_ns >= order.cutoff_ns &&
            store_head_time_min(shard->store) >= order.cutoff_ns)
            order.cutoff_ns = INT64_MIN;
        if (by_bytes_ns > order.cutoff_ns)
            order.cutoff_ns = by_bytes_ns;
        if (order.cutoff_ns <= mark.cutoff_ns)
            order.cutoff_ns = INT64_MIN;
    }
    *ret_order = order;
    return order.drop != 0 || order.cutoff_ns != INT64_MIN;
}

struct buf *shard_seal_order(struct shard *shard, struct slice tombstone, bool *ret_drops)
{
    const struct schema_map *schema = &shard->worker->schema;
    struct seal_database *orders = malloc((schema->database_count + 1) * sizeof *orders);
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    struct seal_content content;
    struct buf *entry;
    uint32_t count = 0;
    bool erases = false;

    *ret_drops = false;
    if (orders == NULL)
        return NULL;
    for (uint32_t i = 0; i < schema->database_count && count < SEAL_DATABASES_MAX; i++) {
        bool drops = judge(shard, &schema->databases[i], &orders[count]);

        *ret_drops |= drops;
        erases |= orders[count].drop != 0;
        count += drops || orders[count].window_ns != SEAL_WINDOW_DEFAULT_NS;
    }
    if (!erases)
        shard->drops_done = schema->drop_max;
    content = (struct seal_content){.databases = orders,
                                    .database_count = count,
                                    .tombstone = tombstone,
                                    .compactions = compactions,
                                    .compaction_count = shard_compact_plan(shard, compactions),
                                    .cleans = cleans,
                                    .clean_count = shard_compact_cleans(shard, cleans)};
    *ret_drops |= shard_compact_is_due(shard, content.compaction_count + content.clean_count);
    entry = seal_order_entry(shard->number - 1, store_applied_index(shard->store), &content);
    free(orders);
    return entry;
}

bool shard_looks_for_drops(struct shard *shard, uint64_t now_ms)
{
    if (shard->worker->schema.drop_max <= shard->drops_done && now_ms - shard->looked_ms < LOOK_MS)
        return false;
    shard->looked_ms = now_ms;
    return true;
}

enum err shard_check_database(const struct shard *shard, struct slice table_key)
{
    const struct schema_map *schema = &shard->worker->schema;
    struct slice name;
    const struct schema_database *database;

    if (schema->dropped_count == 0 && schema->drop_max <= shard->drops_done)
        return ERR_OK; /* The common case. */
    name = database_map_name(table_key);
    database = schema_map_database(schema, name);
    if (database == NULL)
        return ERR_OK;
    if (database->dropped)
        return err_set(ERR_NOT_FOUND,
                       "database \"%s\" was dropped; make it again: millrace db create",
                       database->name);
    if (database->drop > store_database_mark(shard->store, name).drop)
        return err_set(ERR_BUSY, "shard %u: what database \"%s\" had before is being erased",
                       shard->number - 1, database->name);
    return ERR_OK;
}

/* ---- Deletes ------------------------------------------------------------------------------- */

static enum err propose_delete(struct shard *shard, struct order_request *request)
{
    struct message_delete message;
    struct store_stats stats;
    struct buf *entry = NULL;
    bool drops;
    enum err err = message_get_delete(request->message.data, request->message.size, &message);

    store_stats(shard->store, &stats);
    if (err == ERR_OK && stats.tombstones >= TOMBSTONES_MAX)
        err = err_set(ERR_LIMIT,
                      "shard %u: %d deletes hide rows that its segments still hold, the most there "
                      "may be",
                      shard->number - 1, (int)TOMBSTONES_MAX);
    if (err == ERR_OK) {
        entry = shard_seal_order(shard, message.tombstone, &drops);
        err = entry == NULL ? err_set(ERR_NO_MEMORY, "a delete")
                            : shard_propose(shard, entry, &request->wait_index);
    }
    if (err == ERR_OK)
        shard->seal_index = request->wait_index;
    buf_unref(entry);
    return err;
}

void shard_delete(struct shard *shard, struct order_request *request)
{
    enum err err;

    if (!shard_can_propose(shard, &request->route.answer)) {
        router_answer(shard->worker, &request->route);
        return;
    }
    err = propose_delete(shard, request);
    if (err != ERR_OK) {
        router_fail(shard->worker, &request->route, err,
                    err == ERR_BUSY || err == ERR_NO_MEMORY ? RETRY_BUSY_MS : 0);
        return;
    }
    request->next = NULL;
    *shard->deletes_end = request;
    shard->deletes_end = &request->next;
}

void shard_end_deletes(struct shard *shard, uint64_t index, enum err err)
{
    struct err_note note;

    err_save(&note, err); /* Whoever is told may fail in a way of his own. */
    while (shard->deletes != NULL && shard->deletes->wait_index <= index) {
        struct order_request *request = shard->deletes;

        shard->deletes = request->next;
        if (shard->deletes == NULL)
            shard->deletes_end = &shard->deletes;
        if (err == ERR_OK) {
            request->route.answer.code = ERR_OK;
            router_answer(shard->worker, &request->route);
        } else {
            router_fail(shard->worker, &request->route, err_restore(&note), RETRY_BUSY_MS);
        }
    }
}

/* ---- Every replica ------------------------------------------------------------------------- */

static void teach(struct shard *shard, struct slice name)
{
    struct worker *worker = shard->worker;
    int64_t cutoff_ns = store_database_mark(shard->store, name).cutoff_ns;

    for (uint32_t i = 0; i < worker->node->worker_count; i++)
        worker_teach_cutoff(worker, &worker->node->workers[i], name, shard->number - 1, cutoff_ns);
}

void shard_teach_cutoffs(struct shard *shard, const struct buf *seal)
{
    struct seal_database database;
    struct seal_order order;

    if (seal == NULL) {
        for (uint32_t i = 0; i < store_database_count(shard->store); i++) {
            struct store_database stored;

            store_database(shard->store, i, &stored);
            if (store_database_mark(shard->store, stored.name).cutoff_ns != INT64_MIN)
                teach(shard, stored.name);
        }
        return;
    }
    if (seal_order_read(seal, &order) != ERR_OK)
        return; /* It was refused. */
    while (seal_order_next(&order, &database)) {
        if (database.drop == 0 && database.cutoff_ns == INT64_MIN)
            continue;
        log_info("shard=%u database=\"%.*s\" drops %s", shard->number - 1, (int)database.name.size,
                 database.name.data, database.drop != 0 ? "all rows" : "the oldest rows");
        teach(shard, database.name);
    }
}
