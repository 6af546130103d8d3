#include "node/setting.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/wire/quote.h"
#include "node/options.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define AT(field) offsetof(struct options, field)
#define OF(field) offsetof(struct options_node, field)

/* ---- The tables ---------------------------------------------------------------------------- */

const struct setting settings[] = {
    {"node.id", SETTING_NUMBER, AT(node.id), 1, 65535, "", NULL,
     "This node's id: that of its entry in cluster.nodes. Never give an id to another machine."},
    {"node.name", SETTING_TEXT, AT(node.name), 0, 0, "", "node and the id, as in node1",
     "What people call it, in metrics and status."},
    {"node.data_dir", SETTING_PATH, AT(node.data_dir), 0, 0, "", NULL,
     "Where everything is kept: log, segments, state. Used by one process at a time."},

    {"cluster.id", SETTING_TEXT, AT(cluster.id), 0, 0, "", NULL,
     "The cluster's name, the same on all nodes: keeps nodes of different sites apart."},
    {"cluster.shards", SETTING_COUNT, AT(cluster.shards), 1, 1024, "4", NULL,
     "Parts that the series are spread over. The same on all nodes, and never changed."},

    {"listen.host", SETTING_ADDRESS, AT(listen.host), 0, 0, "0.0.0.0", NULL,
     "Address of the native, HTTP and peer ports. :: takes IPv4 and IPv6."},
    {"listen.native_port", SETTING_PORT, AT(listen.native_port), 1, 65535, "",
     "this node's native_port in cluster.nodes", "Clients with the native protocol."},
    {"listen.http_port", SETTING_PORT, AT(listen.http_port), 1, 65535, "",
     "this node's http_port in cluster.nodes", "Line protocol and queries over HTTP."},
    {"listen.peer_port", SETTING_PORT, AT(listen.peer_port), 1, 65535, "",
     "this node's peer_port in cluster.nodes", "The other nodes."},
    {"listen.admin_host", SETTING_ADDRESS, AT(listen.admin_host), 0, 0, "127.0.0.1", NULL,
     "Address of the admin port. Anybody who reaches it sees all metrics."},
    {"listen.admin_port", SETTING_PORT, AT(listen.admin_port), 1, 65535, "7403", NULL,
     "Metrics, health and status."},

    {"workers", SETTING_COUNT, AT(workers), 1, 64, "", "the number of cores",
     "Threads that own connections and shards."},
    {"pool_threads", SETTING_COUNT, AT(pool_threads), 1, 64, "1", NULL,
     "Threads for sealing, scans and what else takes long."},

    {"databases.auto_create", SETTING_SWITCH, AT(databases.auto_create), 0, 0, "true", NULL,
     "Make a database at the first write to it. false: such a write is refused."},
    {"databases.retention", SETTING_AGE, AT(databases.retention_ms), 0, 36500 * DAY, "0", NULL,
     "How long rows are kept in databases that are made without saying so. 0: for ever. Those that "
     "there are keep what they have: millrace db alter."},

    {"raft.election", SETTING_TIME, AT(raft.election_ms), 50, MINUTE, "300ms", NULL,
     "Followers elect a new leader after so long without one: 10 times the delay between nodes, "
     "or more."},
    {"raft.heartbeat", SETTING_TIME, AT(raft.heartbeat_ms), 5, 20 * SECOND, "40ms", NULL,
     "A leader is heard at least so often. At most a third of raft.election."},

    {"log.file_bytes", SETTING_SIZE, AT(log.file_bytes), 32 * MIB, GIB, "64MiB", NULL,
     "One file of the shared log; a multiple of 4KiB."},
    {"log.bytes_max", SETTING_SIZE, AT(log.bytes_max), 128 * MIB, 16 * TIB, "4GiB", NULL,
     "Log kept for followers that are behind; one that needs more fetches segments."},

    {"storage.seal_bytes", SETTING_SIZE, AT(storage.seal_bytes), 64 * KIB, GIB, "",
     "half of a shard's part of storage.head_bytes_max, at most 64MiB",
     "A shard's blocks in memory become a segment when they reach this; half of it may do if many "
     "shards have much, so that they take turns."},
    {"storage.head_bytes_max", SETTING_SIZE, AT(storage.head_bytes_max), 8 * MIB, TIB, "256MiB",
     NULL, "Blocks in memory of all shards; a shard whose part is full refuses writes for now."},
    {"storage.series_max", SETTING_COUNT, AT(storage.series_max), 1, 4000000000, "10000000", NULL,
     "Series of one shard; new ones above it are refused."},
    {"storage.producers_max", SETTING_COUNT, AT(storage.producers_max), 64, 1000000, "4096", NULL,
     "Producers whose last batch a shard remembers, so that sending again is safe."},
    {"storage.scrub_rate", SETTING_SIZE, AT(storage.scrub_rate), 0, GIB, "16MiB", NULL,
     "All files are verified once a day, reading so many bytes a second: 16MiB do for 1.3TiB. 0: "
     "only at millrace scrub."},
    {"storage.compact_memory", SETTING_SIZE, AT(storage.compact_memory), MIB, GIB, "32MiB", NULL,
     "Memory for the rows that are merged when segments become one; one merge a node at a time."},
    {"storage.segment_bytes_max", SETTING_SIZE, AT(storage.segment_bytes_max), MIB, TIB, "1GiB",
     NULL, "Segments are merged up to this."},
    {"storage.erase_after", SETTING_TIME, AT(storage.erase_after_ms), SECOND, 30 * DAY, "10m", NULL,
     "Rows that were deleted are hidden at once. After this, or twice as long, they are erased."},
    {"storage.last_bytes", SETTING_SIZE, AT(storage.last_bytes), 0, TIB, "64MiB", NULL,
     "Memory of all shards for last values that were asked for, so that they are known the next "
     "time: 100 bytes a series and more, taken when it is needed. 0: none."},

    {"limits.connections", SETTING_COUNT, AT(limits.connections), 1, 1000000, "1024", NULL,
     "Open connections of clients, native and HTTP together."},
    {"limits.body_bytes", SETTING_SIZE, AT(limits.body_bytes), 64 * KIB, GIB, "32MiB", NULL,
     "Body of one HTTP request, also once it is inflated."},
    {"limits.line_bytes", SETTING_SIZE32, AT(limits.line_bytes), KIB, MIB, "64KiB", NULL,
     "One line of line protocol."},
    {"limits.inflight_bytes", SETTING_SIZE, AT(limits.inflight_bytes), MIB, 64 * GIB, "64MiB", NULL,
     "Bytes taken in and not yet answered; above it writers are told to come back."},
    {"limits.idle", SETTING_TIME, AT(limits.idle_ms), SECOND, HOUR, "60s", NULL,
     "A connection without traffic is closed after this."},
    {"limits.query_time", SETTING_TIME, AT(limits.query_time_ms), 100, HOUR, "30s", NULL,
     "A query that takes longer is ended."},
    {"limits.query_bytes", SETTING_SIZE, AT(limits.query_bytes), MIB, 64 * GIB, "256MiB", NULL,
     "Memory of one query, its answer included."},
    {"limits.future", SETTING_TIME, AT(limits.future_ms), 0, 40 * DAY, "24h", NULL,
     "Rows whose time is further ahead than this are refused. 0: no limit."},

    {"log_level", SETTING_LEVEL, AT(log_level), 0, 0, "info", NULL,
     "Lines on standard error: error, warn, info or debug."},
};
const size_t setting_count = sizeof settings / sizeof *settings;
static_assert(sizeof settings / sizeof *settings <= SETTINGS_MAX, "readers keep a bit for each");

const struct setting setting_of_nodes[] = {
    {"id", SETTING_NUMBER, OF(id), 1, 65535, "", NULL, "Its node.id."},
    {"host", SETTING_HOST, OF(host), 0, 0, "", NULL, "Where others and clients reach it."},
    {"native_port", SETTING_PORT, OF(native_port), 1, 65535, "7400", NULL, "Native protocol."},
    {"http_port", SETTING_PORT, OF(http_port), 1, 65535, "7401", NULL, "HTTP."},
    {"peer_port", SETTING_PORT, OF(peer_port), 1, 65535, "7402", NULL, "Other nodes."},
};
const size_t setting_of_nodes_count = sizeof setting_of_nodes / sizeof *setting_of_nodes;

/* A number may be followed by one of these; each list ends with a NULL. */
struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {{"TiB", TIB}, {"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB},
                                         {"B", 1},     {"", 1},      {NULL, 0}};
static const struct unit time_units[] = {{"d", DAY},    {"h", HOUR}, {"m", MINUTE},
                                         {"s", SECOND}, {"ms", 1},   {NULL, 0}};

static const struct unit *units_of(enum setting_kind kind)
{
    if (kind == SETTING_SIZE || kind == SETTING_SIZE32)
        return size_units;
    return kind == SETTING_TIME || kind == SETTING_AGE ? time_units : no_units;
}

const char *setting_kind_name(enum setting_kind kind)
{
    switch (kind) {
    case SETTING_COUNT:
    case SETTING_NUMBER:
        return "a whole number";
    case SETTING_SIZE:
    case SETTING_SIZE32:
        return "a size (examples: 512KiB, 32MiB)";
    case SETTING_TIME:
        return "a time (examples: 300ms, 30s, 24h)";
    case SETTING_AGE:
        return "a time (examples: 12h, 30d)";
    case SETTING_PORT:
        return "a port";
    case SETTING_SWITCH:
        return "true or false";
    case SETTING_TEXT:
        return "a name of letters, digits, '-', '_' and '.', at most 63";
    case SETTING_HOST:
        return "an address or host name, at most 63 bytes";
    case SETTING_ADDRESS:
        return "an IP address (examples: 127.0.0.1, 0.0.0.0, ::)";
    case SETTING_PATH:
        return "a path of at most 1023 bytes";
    case SETTING_LEVEL:
        return "one of error, warn, info, debug";
    }
    return "a value";
}

/* ---- Looking up ---------------------------------------------------------------------------- */

const struct setting *setting_find(const struct setting *table, size_t count, const char *path,
                                   size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(table[i].path) == size && memcmp(table[i].path, path, size) == 0)
            return &table[i];
    }
    return NULL;
}

const struct setting *setting_section(const char *name, size_t size)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (strncmp(settings[i].path, name, size) == 0 && settings[i].path[size] == '.')
            return &settings[i];
    }
    return NULL;
}

/* Insertions, deletions and replacements that make one of the other; both shorter than 64. */
static size_t distance(const char *a, const char *b)
{
    size_t row[65];
    size_t b_size = strlen(b);

    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < b_size; j++) {
            size_t best = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j + 1] = diagonal + 1 < best ? diagonal + 1 : best;
        }
    }
    return row[b_size];
}

const char *setting_suggest(const char *path)
{
    const char *nearest = NULL;
    size_t least = strlen(path) / 3 + 1; /* More changes than this are another word. */

    if (strlen(path) >= 64)
        return NULL;
    for (size_t i = 0; i < setting_count; i++) {
        const char *dot = strchr(settings[i].path, '.');
        size_t changes = distance(path, settings[i].path);

        /* The right key in the wrong section, or in none. */
        if (dot != NULL && strcmp(dot + 1, path) == 0)
            return settings[i].path;
        if (changes < least) {
            least = changes;
            nearest = settings[i].path;
        }
    }
    return nearest;
}

/* ---- Text to value ------------------------------------------------------------------------- */

/* "PATH: "TEXT" is not a size (examples: ...); allowed 64KiB to 1GiB" */
static enum err refuse(const struct setting *setting, const char *text, size_t size)
{
    char range[64];

    setting_range(setting, range, sizeof range);
    return err_set(ERR_INVALID, "%s: \"%s\" is not %s%s%s", setting->path,
                   quote((struct slice){text, size}).text, setting_kind_name(setting->kind),
                   range[0] != '\0' ? "; allowed " : "", range);
}

static enum err parse_number(const struct setting *setting, const char *text, size_t size,
                             uint64_t *ret_value)
{
    const struct unit *unit = units_of(setting->kind);
    uint64_t value = 0;
    size_t digits = 0;
    bool overflows = false;
    char range[64];

    for (; digits < size && '0' <= text[digits] && text[digits] <= '9'; digits++) {
        overflows |= __builtin_mul_overflow(value, UINT64_C(10), &value);
        overflows |= __builtin_add_overflow(value, (uint64_t)(text[digits] - '0'), &value);
    }
    while (unit->name != NULL && (strlen(unit->name) != size - digits ||
                                  memcmp(unit->name, text + digits, size - digits) != 0))
        unit++;
    if (digits == 0 || (unit->name == NULL && !(units_of(setting->kind) == time_units &&
                                                digits == size && value == 0 && !overflows)))
        return refuse(setting, text, size);
    setting_range(setting, range, sizeof range);
    if (unit->name != NULL)
        overflows |= __builtin_mul_overflow(value, unit->scale, &value);
    if (overflows || value < setting->min || value > setting->max)
        return err_set(ERR_INVALID, "%s: %s is out of range; allowed %s", setting->path,
                       quote((struct slice){text, size}).text, range);
    *ret_value = value;
    return ERR_OK;
}

static void store_number(const struct setting *setting, void *base, uint64_t value)
{
    char *field = (char *)base + setting->offset;
    uint32_t word = (uint32_t)value;
    uint16_t half = (uint16_t)value;

    if (setting->kind == SETTING_PORT)
        memcpy(field, &half, sizeof half);
    else if (setting->kind == SETTING_NUMBER || setting->kind == SETTING_SIZE ||
             setting->kind == SETTING_AGE)
        memcpy(field, &value, sizeof value);
    else
        memcpy(field, &word, sizeof word);
}

static bool is_name_byte(char c)
{
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool text_is_good(enum setting_kind kind, const char *text)
{
    struct in6_addr room;

    if (kind == SETTING_ADDRESS)
        return inet_pton(AF_INET, text, &room) == 1 || inet_pton(AF_INET6, text, &room) == 1;
    for (const char *at = text; *at != '\0'; at++) {
        if (kind == SETTING_PATH ? (unsigned char)*at < 0x20
                                 : !is_name_byte(*at) && !(kind == SETTING_HOST && *at == ':'))
            return false;
    }
    return true;
}

static enum err parse_text(const struct setting *setting, void *base, const char *text, size_t size)
{
    size_t room = setting->kind == SETTING_PATH ? OPTIONS_PATH_MAX : OPTIONS_NAME_MAX;
    char copy[OPTIONS_PATH_MAX];

    if (size == 0 || size >= room || memchr(text, '\0', size) != NULL)
        return refuse(setting, text, size);
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (!text_is_good(setting->kind, copy))
        return refuse(setting, text, size);
    memcpy((char *)base + setting->offset, copy, size + 1);
    return ERR_OK;
}

static enum err parse_word(const struct setting *setting, void *base, const char *text, size_t size)
{
    char word[8] = "";
    enum log_level level;

    if (size < sizeof word && memchr(text, '\0', size) == NULL)
        memcpy(word, text, size);
    if (setting->kind == SETTING_LEVEL && log_line_parse_level(word, &level)) {
        memcpy((char *)base + setting->offset, &level, sizeof level);
        return ERR_OK;
    }
    if (setting->kind == SETTING_SWITCH &&
        (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)) {
        bool on = word[0] == 't';

        memcpy((char *)base + setting->offset, &on, sizeof on);
        return ERR_OK;
    }
    return refuse(setting, text, size);
}

enum err setting_parse(const struct setting *setting, void *base, const char *text, size_t size)
{
    uint64_t value = 0;
    enum err err;

    switch (setting->kind) {
    case SETTING_SWITCH:
    case SETTING_LEVEL:
        return parse_word(setting, base, text, size);
    case SETTING_TEXT:
    case SETTING_HOST:
    case SETTING_ADDRESS:
    case SETTING_PATH:
        return parse_text(setting, base, text, size);
    default:
        err = parse_number(setting, text, size, &value);
        if (err == ERR_OK)
            store_number(setting, base, value);
        return err;
    }
}

/* ---- Value to text ------------------------------------------------------------------------- */

/* With the largest unit that leaves a whole number. */
static void format_number(const struct setting *setting, uint64_t value, char *out, size_t room)
{
    const struct unit *unit = units_of(setting->kind);

    if (value == 0 && unit != no_units) {
        (void)snprintf(out, room, "0");
        return;
    }
    while (value % unit->scale != 0)
        unit++; /* The last one has scale 1. */
    (void)snprintf(out, room, "%" PRIu64 "%s", value / unit->scale, unit->name);
}

void setting_format(const struct setting *setting, const void *base, char *out, size_t room)
{
    const char *field = (const char *)base + setting->offset;
    uint64_t value = 0;

    switch (setting->kind) {
    case SETTING_TEXT:
    case SETTING_HOST:
    case SETTING_ADDRESS:
    case SETTING_PATH:
        (void)snprintf(out, room, "%s", field);
        return;
    case SETTING_SWITCH:
        (void)snprintf(out, room, "%s", *(const bool *)field ? "true" : "false");
        return;
    case SETTING_LEVEL:
        (void)snprintf(out, room, "%s",
                       log_line_level_name(*(const enum log_level *)(const void *)field));
        return;
    case SETTING_PORT:
        value = *(const uint16_t *)(const void *)field;
        break;
    case SETTING_NUMBER:
    case SETTING_SIZE:
    case SETTING_AGE:
        value = *(const uint64_t *)(const void *)field;
        break;
    default:
        value = *(const uint32_t *)(const void *)field;
        break;
    }
    format_number(setting, value, out, room);
}

void setting_range(const struct setting *setting, char *out, size_t room)
{
    char min[24], max[24];

    out[0] = '\0';
    if (setting->max == 0)
        return;
    format_number(setting, setting->min, min, sizeof min);
    format_number(setting, setting->max, max, sizeof max);
    (void)snprintf(out, room, "%s to %s", min, max);
}
