#include "node/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/json_text.h"
#include "node/rejoin.h"
#include "node/scrub.h"
#include "storage/base/clk.h"
#include "storage/base/metric.h"

enum { RATE_MS = 1000, DAMAGE_SHOWN = 100 };

/* Resident: in all, and what of it is of files, which the system may take back. */
struct resident {
    uint64_t all, files;
};

static struct resident read_resident(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), all = 0, files = 0;
    bool read = statm != NULL && fscanf(statm, "%*u %" SCNu64 " %" SCNu64, &all, &files) == 2;

    if (statm != NULL)
        (void)fclose(statm);
    return read ? (struct resident){all * page, files * page} : (struct resident){0};
}

static double cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double uptime_seconds(const struct node *node)
{
    return (double)(clk_now_ns() - node->start_ns) / 1e9;
}

static struct board_group read_board(struct node *node, uint32_t group)
{
    struct board_group board;

    uv_mutex_lock(&node->board_lock);
    board = node->board[group];
    uv_mutex_unlock(&node->board_lock);
    return board;
}

static uint64_t leader_of(const struct node *node, uint32_t group)
{
    return atomic_load_explicit(&node->leaders[group], memory_order_relaxed);
}

static uint64_t points_of(struct node *node)
{
    uint64_t points = 0;

    for (uint32_t g = 1; g < node->groups; g++)
        points += read_board(node, g).store.points;
    return points;
}

/* Since the start: bytes written to files, and those of entries that came to be logged. */
struct written {
    uint64_t log, sealed, compacted, catalog, manifest, logged;
};

static struct written read_written(const struct node *node)
{
    struct log_stats log;

    log_stats(node->log, &log);
    return (struct written){.log = log.written_bytes,
                            .sealed = metric_sum(METRIC_WRITTEN_SEALED),
                            .compacted = metric_sum(METRIC_WRITTEN_COMPACTED),
                            .catalog = metric_sum(METRIC_WRITTEN_CATALOG),
                            .manifest = metric_sum(METRIC_WRITTEN_MANIFEST),
                            .logged = metric_sum(METRIC_LOGGED)};
}

/* How many bytes are written for one that comes; 0: none came. */
static double amplification(const struct written *written)
{
    uint64_t sum =
        written->log + written->sealed + written->compacted + written->catalog + written->manifest;

    return written->logged == 0 ? 0 : (double)sum / (double)written->logged;
}

void status_tick(struct worker *worker, uint64_t now_ms)
{
    static uint64_t points_before, ms_before; /* Worker 0's alone. */
    uint64_t points;

    if (worker->number != 0 || now_ms - ms_before < RATE_MS)
        return;
    points = points_of(worker->node);
    atomic_store_explicit(&worker->node->points_per_s,
                          ms_before == 0 || points < points_before
                              ? 0
                              : (points - points_before) * 1000 / (now_ms - ms_before),
                          memory_order_relaxed);
    points_before = points;
    ms_before = now_ms;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *json_number(uint64_t number)
{
    return json_integer((json_int_t)number);
}

static json_t *nodes_json(struct worker *worker)
{
    struct node *node = worker->node;
    json_t *list = json_array();

    for (uint32_t i = 0; i < node->options.cluster.node_count; i++) {
        const struct options_node *other = &node->options.cluster.nodes[i];
        bool up = other->id == node->server || links_is_up(worker->links, other->id);

        (void)json_array_append_new(list, json_pack("{s:o, s:s, s:i, s:i, s:b}", "server",
                                                    json_number(other->id), "host", other->host,
                                                    "native_port", other->native_port, "http_port",
                                                    other->http_port, "up", up));
    }
    return list;
}

static json_t *replicas_json(const struct group_state *group)
{
    json_t *list = json_array();

    for (uint32_t i = 0; group->leading && i < group->servers; i++) {
        bool self = group->peers[i].server == group->server;
        uint64_t match = self ? group->last : group->peers[i].match;

        (void)json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:b, s:b}", "server", json_number(group->peers[i].server), "lag",
                      json_number(group->last > match ? group->last - match : 0), "online",
                      self || group->peers[i].online, "behind_log", group->peers[i].behind));
    }
    return list;
}

static json_t *shard_json(struct node *node, uint32_t group)
{
    struct board_group board = read_board(node, group);
    const struct store_stats *store = &board.store;
    char chain[17];
    json_t *shard;

    (void)snprintf(chain, sizeof chain, "%016" PRIx64, store->chain);
    shard = json_pack("{s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "shard", (int)group - 1, "group",
                      (int)group, "leader", json_number(leader_of(node, group)), "term",
                      json_number(board.group.term), "commit", json_number(board.group.commit),
                      "applied", json_number(board.group.applied), "last",
                      json_number(board.group.last), "replicas", replicas_json(&board.group));
    (void)json_object_set_new(shard, "ready", json_boolean(board.group.ready));
    (void)json_object_set_new(shard, "age_ms", json_number(worker_now_ms() - board.at_ms));
    (void)json_object_set_new(shard, "series", json_number(store->series));
    (void)json_object_set_new(shard, "rows", json_number(store->rows));
    (void)json_object_set_new(shard, "points", json_number(store->points));
    (void)json_object_set_new(shard, "head_bytes", json_number(store->head_bytes));
    (void)json_object_set_new(shard, "head_rows", json_number(store->head_rows));
    (void)json_object_set_new(shard, "segments", json_number(store->segments));
    (void)json_object_set_new(shard, "segment_bytes", json_number(store->segment_bytes));
    (void)json_object_set_new(shard, "segment_rows", json_number(store->segment_rows));
    (void)json_object_set_new(shard, "tombstones", json_number(store->tombstones));
    (void)json_object_set_new(shard, "compactions", json_number(store->compactions));
    (void)json_object_set_new(shard, "last_series", json_number(store->last_series));
    (void)json_object_set_new(shard, "last_bytes", json_number(store->last_bytes));
    (void)json_object_set_new(shard, "sealed", json_number(store->sealed_index));
    (void)json_object_set_new(shard, "sealing", json_boolean(store->sealing));
    (void)json_object_set_new(shard, "chain", json_string(chain));
    return shard;
}

/* What an error said; it may be cut. */
static json_t *json_detail(const char *text)
{
    return json_stringn(text, json_text_valid((struct slice){text, strlen(text)}));
}

static void add_damage(void *arg, const struct scrub_damage *damage)
{
    json_t *list = arg;

    if (json_array_size(list) < DAMAGE_SHOWN)
        (void)json_array_append_new(
            list,
            json_pack("{s:i, s:s, s:o, s:o, s:f}", "shard", damage->shard, "file", damage->file,
                      "damage", json_detail(damage->what), "state",
                      json_detail(damage->state[0] != '\0' ? damage->state : "is being mended"),
                      "since_s", (double)damage->since_ms / 1000));
}

static void add_scrub(struct node *node, json_t *root)
{
    struct scrub_status scrub;
    json_t *damaged = json_array();

    scrub_status(node->scrub, &scrub);
    scrub_each(node->scrub, add_damage, damaged);
    (void)json_object_set_new(root, "damaged", damaged);
    (void)json_object_set_new(
        root, "scrub",
        json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "running", scrub.running, "passes",
                  json_number(scrub.passes), "files", json_number(scrub.files), "bytes",
                  json_number(scrub.bytes), "complete_unix_s", json_number(scrub.complete_unix_s),
                  "found", json_number(scrub.found), "mended", json_number(scrub.mended)));
}

static void add_group(void *arg, uint32_t group, enum rejoin_state state, const char *what)
{
    static const char *const names[] = {"is not started", "lost its log", "behind", "catches up",
                                        "cannot start"};

    (void)json_array_append_new(arg, json_pack("{s:i, s:s, s:o}", "group", (int)group, "state",
                                               names[state], "what", json_detail(what)));
}

static void add_rejoining(struct node *node, json_t *root)
{
    json_t *groups = json_array();

    rejoin_each(node->rejoin, add_group, groups);
    (void)json_object_set_new(root, "rejoining", groups);
}

void status_json(struct worker *worker, struct bytes *out)
{
    struct node *node = worker->node;
    enum err ready = node_ready(node);
    struct board_group meta = read_board(node, 0);
    struct resident memory = read_resident();
    struct written written = read_written(node);
    json_t *shards = json_array();
    json_t *root;
    char *text;

    for (uint32_t g = 1; g < node->groups; g++)
        (void)json_array_append_new(shards, shard_json(node, g));
    root = json_pack("{s:s, s:o, s:s, s:s, s:b, s:s, s:f, s:o, s:f, s:o, s:i, s:i}", "version",
                     MILLRACE_VERSION_TEXT, "server", json_number(node->server), "name",
                     node->options.node.name, "cluster", node->options.cluster.id, "ready",
                     ready == ERR_OK, "ready_detail", ready == ERR_OK ? "" : err_detail(),
                     "uptime_s", uptime_seconds(node), "memory_bytes", json_number(memory.all),
                     "cpu_s", cpu_seconds(), "points_total", json_number(points_of(node)),
                     "workers", (int)node->worker_count, "connections",
                     (int)atomic_load_explicit(&node->connections, memory_order_relaxed));
    (void)json_object_set_new(root, "memory_anon_bytes", json_number(memory.all - memory.files));
    (void)json_object_set_new(root, "memory_file_bytes", json_number(memory.files));
    (void)json_object_set_new(
        root, "points_per_s",
        json_number(atomic_load_explicit(&node->points_per_s, memory_order_relaxed)));
    (void)json_object_set_new(root, "write_amplification", json_real(amplification(&written)));
    (void)json_object_set_new(root, "meta_leader", json_number(leader_of(node, 0)));
    (void)json_object_set_new(root, "meta_applied", json_number(meta.group.applied));
    (void)json_object_set_new(root, "nodes", nodes_json(worker));
    (void)json_object_set_new(root, "shards", shards);
    add_scrub(node, root);
    add_rejoining(node, root);
    text = json_dumps(root, JSON_REAL_PRECISION(6));
    json_decref(root);
    if (text == NULL)
        out->failed = true;
    else
        bytes_put(out, text, strlen(text));
    free(text);
}

/* ---- Prometheus ---------------------------------------------------------------------------- */

static void put_line(struct bytes *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void put_line(struct bytes *out, const char *format, ...)
{
    char line[256];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size > 0)
        bytes_put(out, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
}

static void put_help(struct bytes *out, const char *name, const char *type, const char *help)
{
    put_line(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

struct shard_metric {
    const char *name, *type, *help;
    size_t offset; /* Of a uint64_t in struct board_group. */
};

#define OF(member) offsetof(struct board_group, member)
static const struct shard_metric shard_metrics[] = {
    {"millrace_shard_series", "gauge", "Series of the shard", OF(store.series)},
    {"millrace_shard_rows_total", "counter", "Rows applied", OF(store.rows)},
    {"millrace_shard_points_total", "counter", "Points applied", OF(store.points)},
    {"millrace_shard_head_bytes", "gauge", "Committed blocks in memory", OF(store.head_bytes)},
    {"millrace_shard_segment_bytes", "gauge", "Segment files", OF(store.segment_bytes)},
    {"millrace_shard_segments", "gauge", "Number of segments", OF(store.segments)},
    {"millrace_shard_compactions", "gauge", "Compactions ordered and not made yet",
     OF(store.compactions)},
    {"millrace_shard_last_series", "gauge", "Series whose last values are known",
     OF(store.last_series)},
    {"millrace_shard_last_bytes", "gauge", "Memory of known last values", OF(store.last_bytes)},
    {"millrace_raft_term", "gauge", "Term of the shard's group", OF(group.term)},
    {"millrace_raft_commit_index", "gauge", "Committed up to", OF(group.commit)},
    {"millrace_raft_applied_index", "gauge", "Applied up to", OF(group.applied)},
    {"millrace_raft_inflight_bytes", "gauge", "Proposed and not committed",
     OF(group.inflight_bytes)},
};
#undef OF

static void put_shards(struct node *node, struct bytes *out)
{
    struct board_group board;

    for (size_t m = 0; m < sizeof shard_metrics / sizeof shard_metrics[0]; m++) {
        put_help(out, shard_metrics[m].name, shard_metrics[m].type, shard_metrics[m].help);
        for (uint32_t g = 1; g < node->groups; g++) {
            uint64_t value;

            board = read_board(node, g);
            memcpy(&value, (const char *)&board + shard_metrics[m].offset, sizeof value);
            put_line(out, "%s{shard=\"%u\"} %" PRIu64 "\n", shard_metrics[m].name, g - 1, value);
        }
    }
    put_help(out, "millrace_raft_leader", "gauge", "1 where this node leads the shard");
    for (uint32_t g = 1; g < node->groups; g++)
        put_line(out, "millrace_raft_leader{shard=\"%u\"} %d\n", g - 1,
                 leader_of(node, g) == node->server);
}

static void put_written(const struct node *node, struct bytes *out)
{
    struct written written = read_written(node);

    put_help(out, "millrace_storage_log_bytes_total", "counter", "Bytes of files of the log");
    put_line(out, "millrace_storage_log_bytes_total %" PRIu64 "\n", written.log);
    put_help(out, "millrace_storage_write_amplification", "gauge",
             "Bytes written to files for each byte of entries that came to be logged");
    put_line(out, "millrace_storage_write_amplification %.3f\n", amplification(&written));
}

static void put_memory(struct bytes *out)
{
    struct resident memory = read_resident();

    put_help(out, "process_resident_memory_bytes", "gauge", "Resident memory");
    put_line(out, "process_resident_memory_bytes %" PRIu64 "\n", memory.all);
    put_help(out, "millrace_memory_file_bytes", "gauge",
             "Resident memory that is of mapped files, which the system may take back");
    put_line(out, "millrace_memory_file_bytes %" PRIu64 "\n", memory.files);
}

static void count_group(void *arg, uint32_t group, enum rejoin_state state, const char *what)
{
    (void)group;
    (void)state;
    (void)what;
    ++*(uint64_t *)arg;
}

void status_metrics(struct worker *worker, struct bytes *out)
{
    struct node *node = worker->node;
    struct scrub_status scrub;
    struct log_stats log;
    uint64_t rejoining = 0;

    metric_write_prometheus(out);
    put_help(out, "millrace_build_info", "gauge", "Version of this node");
    put_line(out, "millrace_build_info{version=\"%s\",server=\"%" PRIu64 "\"} 1\n",
             MILLRACE_VERSION_TEXT, node->server);
    put_help(out, "millrace_ready", "gauge", "1 when the node takes writes for all shards");
    put_line(out, "millrace_ready %d\n", node_ready(node) == ERR_OK);
    put_memory(out);
    put_help(out, "process_cpu_seconds_total", "counter", "CPU time, user and system");
    put_line(out, "process_cpu_seconds_total %.3f\n", cpu_seconds());
    put_help(out, "process_uptime_seconds", "gauge", "Time since the start");
    put_line(out, "process_uptime_seconds %.3f\n", uptime_seconds(node));
    log_stats(node->log, &log);
    put_written(node, out);
    put_help(out, "millrace_log_files", "gauge", "Files of the shared log");
    put_line(out, "millrace_log_files %" PRIu64 "\n", log.files);
    put_help(out, "millrace_log_file_bytes", "gauge", "Bytes of the shared log's files");
    put_line(out, "millrace_log_file_bytes %" PRIu64 "\n", log.bytes);
    scrub_status(node->scrub, &scrub);
    rejoin_each(node->rejoin, count_group, &rejoining);
    put_help(out, "millrace_rejoining_groups", "gauge",
             "Groups that begin again from other nodes, or have and catch up");
    put_line(out, "millrace_rejoining_groups %" PRIu64 "\n", rejoining);
    put_help(out, "millrace_damaged_files", "gauge", "Files that are damaged now");
    put_line(out, "millrace_damaged_files %" PRIu64 "\n", scrub.damaged);
    put_help(out, "millrace_scrub_last_complete_seconds", "gauge",
             "When all files had been verified last, since 1970; 0: not since the start");
    put_line(out, "millrace_scrub_last_complete_seconds %" PRIu64 "\n", scrub.complete_unix_s);
    put_shards(node, out);
}

/* ---- Topology ------------------------------------------------------------------------------ */

void status_topology(struct worker *worker, struct message_topology *ret_topology)
{
    struct node *node = worker->node;

    memset(ret_topology, 0, sizeof *ret_topology);
    ret_topology->nodes = node->options.cluster.node_count;
    for (uint32_t i = 0; i < ret_topology->nodes; i++) {
        const struct options_node *other = &node->options.cluster.nodes[i];

        ret_topology->node[i].server = other->id;
        ret_topology->node[i].native_port = other->native_port;
        ret_topology->node[i].http_port = other->http_port;
        ret_topology->node[i].up =
            other->id == node->server || links_is_up(worker->links, other->id);
        (void)snprintf(ret_topology->node[i].host, sizeof ret_topology->node[i].host, "%s",
                       other->host);
    }
    ret_topology->shards = node->shards;
    for (uint32_t s = 0; s < node->shards && s < TOPOLOGY_SHARDS_MAX; s++)
        ret_topology->leader[s] = leader_of(node, s + 1);
}
