#include "node/options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/wire/quote.h"
#include "node/options_yaml.h"
#include "node/setting.h"
#include "storage/base/check.h"
#include "storage/base/file.h"

#define MIB UINT64_C(1048576)

static const char nodes_path[] = "cluster.nodes";

static bool is_given(const struct options_source *source, const void *field)
{
    size_t offset = (size_t)((const char *)field - (const char *)source->options);

    for (size_t i = 0; i < setting_count; i++) {
        if (settings[i].offset == offset)
            return (source->given >> i & 1) != 0;
    }
    return false;
}

/* ---- Defaults ------------------------------------------------------------------------------ */

static void set_defaults(struct options *options)
{
    *options = (struct options){0};
    for (size_t i = 0; i < setting_count; i++) {
        const char *text = settings[i].initial;

        if (text[0] != '\0')
            CHECK(setting_parse(&settings[i], options, text, strlen(text)) == ERR_OK);
    }
}

/* ---- Environment and --set ----------------------------------------------------------------- */

/* One setting from a text that has no lines. `name` is where it came from. */
static enum err set_one(struct options_source *source, const char *path, size_t path_size,
                        const char *text)
{
    const struct setting *setting = setting_find(settings, setting_count, path, path_size);
    char copy[SETTING_PATH_MAX] = "";
    const char *meant;
    enum err err;

    if (setting != NULL) {
        err = setting_parse(setting, source->options, text, strlen(text));
        if (err != ERR_OK)
            return err_wrap(err, "%s", source->name);
        source->given |= UINT64_C(1) << (setting - settings);
        return ERR_OK;
    }
    if (path_size == strlen(nodes_path) && memcmp(path, nodes_path, path_size) == 0)
        return options_yaml_read_nodes(source, text, strlen(text));
    if (path_size < sizeof copy)
        memcpy(copy, path, path_size);
    meant = setting_suggest(copy);
    return err_set(ERR_INVALID, "%s: there is no setting %s%s%s%s", source->name,
                   quote((struct slice){path, path_size}).text,
                   meant != NULL ? ": did you mean " : "", meant != NULL ? meant : "",
                   meant != NULL ? "?" : "");
}

/* "limits.body_bytes" -> "MILLRACE_LIMITS_BODY_BYTES" */
static void make_variable(const char *path, char *out, size_t room)
{
    (void)snprintf(out, room, "MILLRACE_%s", path);
    for (; *out != '\0'; out++)
        *out = *out == '.' ? '_' : (char)toupper((unsigned char)*out);
}

/* A variable that begins as ours do, but is none: probably a mistake. Others, such as those that
 * container platforms make of service names, are not ours. */
static enum err refuse_variable(const char *variable, size_t size)
{
    static const char prefix[] = "MILLRACE_";
    char name[SETTING_PATH_MAX], known[SETTING_PATH_MAX + 16], section[SETTING_PATH_MAX] = "";
    size_t i;

    if (strncmp(variable, prefix, strlen(prefix)) != 0 || size >= sizeof name)
        return ERR_OK;
    memcpy(name, variable, size);
    name[size] = '\0';
    for (size_t s = 0; s < setting_count; s++) {
        make_variable(settings[s].path, known, sizeof known);
        if (strcmp(known, name) == 0)
            return ERR_OK;
    }
    make_variable(nodes_path, known, sizeof known);
    if (strcmp(known, name) == 0)
        return ERR_OK;
    for (i = strlen(prefix); name[i] != '\0' && name[i] != '_'; i++)
        section[i - strlen(prefix)] = (char)tolower((unsigned char)name[i]);
    /* A section alone names no setting: MILLRACE_NODE is where clients connect to. */
    if (name[i] == '\0' || setting_section(section, strlen(section)) == NULL)
        return ERR_OK;
    return err_set(ERR_INVALID, "environment: %s is no setting of section %s (see --print-config)",
                   name, section);
}

static enum err read_environment(struct options_source *source)
{
    char name[SETTING_PATH_MAX + 16];
    const char *value;
    enum err err = ERR_OK;

    source->name = name;
    for (size_t i = 0; i < setting_count && err == ERR_OK; i++) {
        make_variable(settings[i].path, name, sizeof name);
        value = getenv(name);
        if (value != NULL)
            err = set_one(source, settings[i].path, strlen(settings[i].path), value);
    }
    make_variable(nodes_path, name, sizeof name);
    value = getenv(name);
    if (err == ERR_OK && value != NULL)
        err = set_one(source, nodes_path, strlen(nodes_path), value);
    for (char **at = environ; err == ERR_OK && at != NULL && *at != NULL; at++)
        err = refuse_variable(*at, strcspn(*at, "="));
    return err;
}

static enum err read_sets(struct options_source *source, const char *const *sets, size_t count)
{
    source->name = "--set";
    for (size_t i = 0; i < count; i++) {
        size_t path_size = strcspn(sets[i], "=");
        enum err err;

        if (sets[i][path_size] == '\0')
            return err_set(ERR_INVALID, "--set %s: section.key=value is expected",
                           quote((struct slice){sets[i], path_size}).text);
        err = set_one(source, sets[i], path_size, sets[i] + path_size + 1);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* ---- What follows from the rest ------------------------------------------------------------ */

static struct options_node *own_node(struct options *options)
{
    for (uint32_t i = 0; i < options->cluster.node_count; i++) {
        if (options->cluster.nodes[i].id == options->node.id)
            return &options->cluster.nodes[i];
    }
    return NULL;
}

static enum err require(const struct options_source *source)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (settings[i].initial[0] == '\0' && settings[i].derived == NULL &&
            (source->given >> i & 1) == 0)
            return err_set(ERR_INVALID, "%s is not set. %s", settings[i].path, settings[i].help);
    }
    if (!source->nodes_given || source->options->cluster.node_count == 0)
        return err_set(ERR_INVALID,
                       "%s is not set. The nodes of the cluster with id and host, this "
                       "one included.",
                       nodes_path);
    return ERR_OK;
}

/* Settings without a value of their own. */
static void derive(const struct options_source *source, const struct options_node *own)
{
    struct options *options = source->options;
    uint64_t part = options->storage.head_bytes_max / options->cluster.shards;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (!is_given(source, &options->node.name))
        (void)snprintf(options->node.name, sizeof options->node.name, "node%" PRIu64,
                       options->node.id);
    if (!is_given(source, &options->listen.native_port))
        options->listen.native_port = own->native_port;
    if (!is_given(source, &options->listen.http_port))
        options->listen.http_port = own->http_port;
    if (!is_given(source, &options->listen.peer_port))
        options->listen.peer_port = own->peer_port;
    if (!is_given(source, &options->workers))
        options->workers = cores < 1 ? 1 : cores > 64 ? 64 : (uint32_t)cores;
    if (!is_given(source, &options->storage.seal_bytes))
        options->storage.seal_bytes = part / 2 < 64 * MIB ? part / 2 : 64 * MIB;
}

/* ---- Checks over several settings ---------------------------------------------------------- */

static enum err check_nodes(const struct options *options)
{
    uint32_t count = options->cluster.node_count;

    if (count % 2 == 0)
        return err_set(ERR_INVALID,
                       "%s: %" PRIu32 " nodes bear the loss of %" PRIu32 ", as %" PRIu32
                       " do: use 1, 3, 5, 7 or 9",
                       nodes_path, count, count / 2 - 1, count - 1);
    for (uint32_t i = 0; i < count; i++) {
        const struct options_node *a = &options->cluster.nodes[i];

        if (a->native_port == a->http_port || a->native_port == a->peer_port ||
            a->http_port == a->peer_port)
            return err_set(ERR_INVALID, "%s: node %" PRIu64 " uses one port twice", nodes_path,
                           a->id);
        for (uint32_t j = 0; j < i; j++) {
            const struct options_node *b = &options->cluster.nodes[j];

            if (a->id == b->id)
                return err_set(ERR_INVALID, "%s: id %" PRIu64 " is given to two nodes", nodes_path,
                               a->id);
            if (strcmp(a->host, b->host) == 0 && a->peer_port == b->peer_port)
                return err_set(ERR_INVALID,
                               "%s: nodes %" PRIu64 " and %" PRIu64 " have the same host and "
                               "peer_port",
                               nodes_path, b->id, a->id);
        }
    }
    return ERR_OK;
}

static enum err check_ports(const struct options *options)
{
    const struct {
        const char *path;
        uint16_t port;
    } ports[] = {
        {"listen.native_port", options->listen.native_port},
        {"listen.http_port", options->listen.http_port},
        {"listen.peer_port", options->listen.peer_port},
        {"listen.admin_port", options->listen.admin_port},
    };

    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        for (size_t j = 0; j < i; j++) {
            if (ports[i].port == ports[j].port)
                return err_set(ERR_INVALID, "%s and %s are both %u", ports[j].path, ports[i].path,
                               ports[i].port);
        }
    }
    return ERR_OK;
}

static enum err check_sizes(const struct options *options)
{
    uint64_t part = options->storage.head_bytes_max / options->cluster.shards;

    if (options->databases.retention_ms > 0 && options->databases.retention_ms < 60000)
        return err_set(ERR_INVALID,
                       "databases.retention (%" PRIu64
                       "ms) is under a minute; 0 keeps rows for ever",
                       options->databases.retention_ms);
    if (options->raft.heartbeat_ms > options->raft.election_ms / 3)
        return err_set(ERR_INVALID,
                       "raft.heartbeat (%" PRIu32 "ms) is more than a third of raft.election "
                       "(%" PRIu32 "ms): one lost message would cost a leader",
                       options->raft.heartbeat_ms, options->raft.election_ms);
    if (options->log.file_bytes % 4096 != 0)
        return err_set(ERR_INVALID, "log.file_bytes (%" PRIu64 ") is not a multiple of 4KiB",
                       options->log.file_bytes);
    if (options->log.bytes_max / 4 < options->log.file_bytes)
        return err_set(ERR_INVALID,
                       "log.bytes_max (%" PRIu64 ") is less than 4 files of log.file_bytes "
                       "(%" PRIu64 ")",
                       options->log.bytes_max, options->log.file_bytes);
    if (options->storage.seal_bytes > part / 2)
        return err_set(ERR_INVALID,
                       "storage.seal_bytes (%" PRIu64 ") is more than half of a shard's part of "
                       "storage.head_bytes_max (%" PRIu64 " for %" PRIu32 " shards): writes "
                       "would be refused during each seal",
                       options->storage.seal_bytes, options->storage.head_bytes_max,
                       options->cluster.shards);
    if (options->limits.body_bytes > options->limits.inflight_bytes)
        return err_set(ERR_INVALID,
                       "limits.body_bytes (%" PRIu64 ") is more than limits.inflight_bytes "
                       "(%" PRIu64 "): such a request would be refused for ever",
                       options->limits.body_bytes, options->limits.inflight_bytes);
    if (options->limits.line_bytes > options->limits.body_bytes)
        return err_set(ERR_INVALID, "limits.line_bytes is more than limits.body_bytes");
    return ERR_OK;
}

/* All sources are read: complete and check. */
static enum err finish(const struct options_source *source)
{
    struct options *options = source->options;
    enum err err = require(source);

    if (err == ERR_OK)
        err = check_nodes(options);
    if (err == ERR_OK && own_node(options) == NULL)
        err = err_set(ERR_INVALID, "node.id is %" PRIu64 ", but %s has no node with this id",
                      options->node.id, nodes_path);
    if (err != ERR_OK)
        return err;
    derive(source, own_node(options));
    err = check_ports(options);
    return err == ERR_OK ? check_sizes(options) : err;
}

/* ---- Sources in order ---------------------------------------------------------------------- */

static enum err read_file(struct options_source *source, const char *path)
{
    uint8_t *text;
    size_t size;
    enum err err = disk_read_all(disk_system(), path, OPTIONS_FILE_MAX, &text, &size);

    if (err != ERR_OK)
        return err;
    source->name = path;
    err = options_yaml_read(source, (const char *)text, size);
    free(text);
    return err;
}

/* A node that needs no file: what it listens on is what clients are told. */
static enum err preset_dev(struct options_source *source, const char *dir)
{
    const char *const values[][2] = {{"node.id", "1"},
                                     {"node.name", "dev"},
                                     {"cluster.id", "dev"},
                                     {"listen.host", "127.0.0.1"}};
    enum err err;

    source->name = "--dev";
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        err = set_one(source, values[i][0], strlen(values[i][0]), values[i][1]);
        CHECK(err == ERR_OK);
    }
    err = set_one(source, nodes_path, strlen(nodes_path), "[{id: 1, host: 127.0.0.1}]");
    CHECK(err == ERR_OK);
    return set_one(source, "node.data_dir", strlen("node.data_dir"), dir);
}

static void publish_dev_ports(struct options *options)
{
    struct options_node *own = &options->cluster.nodes[0];

    own->native_port = options->listen.native_port;
    own->http_port = options->listen.http_port;
    own->peer_port = options->listen.peer_port;
}

enum err options_load(struct options *ret_options, const char *file, const char *dev,
                      const char *const *sets, size_t set_count)
{
    struct options_source source = {.options = ret_options};
    enum err err = ERR_OK;

    set_defaults(ret_options);
    if (dev != NULL)
        err = preset_dev(&source, dev);
    if (err == ERR_OK && file != NULL)
        err = read_file(&source, file);
    if (err == ERR_OK)
        err = read_environment(&source);
    if (err == ERR_OK)
        err = read_sets(&source, sets, set_count);
    if (err == ERR_OK)
        err = finish(&source);
    if (err == ERR_OK && dev != NULL && ret_options->cluster.node_count == 1)
        publish_dev_ports(ret_options);
    return err;
}

enum err options_parse(struct options *ret_options, const char *name, const char *text, size_t size)
{
    struct options_source source = {.options = ret_options, .name = name};
    enum err err;

    set_defaults(ret_options);
    err = options_yaml_read(&source, text, size);
    return err == ERR_OK ? finish(&source) : err;
}

/* ---- Printing ------------------------------------------------------------------------------ */

/* Texts stand in double quotes: a path may hold anything but control bytes. */
static void print_value(const struct setting *setting, const void *base, FILE *out)
{
    char text[SETTING_TEXT_MAX];
    bool quoted = setting->kind == SETTING_TEXT || setting->kind == SETTING_HOST ||
                  setting->kind == SETTING_ADDRESS || setting->kind == SETTING_PATH;

    setting_format(setting, base, text, sizeof text);
    if (!quoted) {
        (void)fprintf(out, "%s", text);
        return;
    }
    (void)fputc('"', out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            (void)fputc('\\', out);
        (void)fputc(*at, out);
    }
    (void)fputc('"', out);
}

static void print_comment(const struct setting *setting, const char *indent, FILE *out)
{
    char range[64];

    setting_range(setting, range, sizeof range);
    (void)fprintf(out, "%s# %s\n%s# ", indent, setting->help, indent);
    if (range[0] != '\0')
        (void)fprintf(out, "%s; ", range);
    if (setting->initial[0] != '\0')
        (void)fprintf(out, "default %s\n", setting->initial);
    else if (setting->derived != NULL)
        (void)fprintf(out, "default: %s\n", setting->derived);
    else
        (void)fprintf(out, "has to be given\n");
}

static void print_nodes(const struct options *options, FILE *out)
{
    (void)fprintf(out, "  # The nodes of the cluster: 1, 3, 5, 7 or 9, the same list on all.\n"
                       "  # Ports may be left out: native_port 7400, http_port 7401, peer_port "
                       "7402.\n"
                       "  nodes:\n");
    for (uint32_t i = 0; i < options->cluster.node_count; i++) {
        (void)fprintf(out, "    - {");
        for (size_t j = 0; j < setting_of_nodes_count; j++) {
            (void)fprintf(out, "%s%s: ", j > 0 ? ", " : "", setting_of_nodes[j].path);
            print_value(&setting_of_nodes[j], &options->cluster.nodes[i], out);
        }
        (void)fprintf(out, "}\n");
    }
}

enum err options_print(const struct options *options, FILE *out)
{
    char section[SETTING_PATH_MAX] = "";

    (void)fprintf(out,
                  "# All settings of this node. Each can also be given as --set PATH=VALUE, or "
                  "in the\n# environment: limits.body_bytes as MILLRACE_LIMITS_BODY_BYTES.\n");
    for (size_t i = 0; i < setting_count; i++) {
        const char *path = settings[i].path;
        const char *dot = strchr(path, '.');
        const char *key = dot != NULL ? dot + 1 : path;
        size_t section_size = dot != NULL ? (size_t)(dot - path) : 0;

        if (strncmp(section, path, section_size) != 0 || section[section_size] != '\0') {
            if (strcmp(section, "cluster") == 0)
                print_nodes(options, out);
            memcpy(section, path, section_size);
            section[section_size] = '\0';
            (void)fprintf(out, section_size > 0 ? "\n%s:\n" : "\n", section);
        }
        print_comment(&settings[i], dot != NULL ? "  " : "", out);
        (void)fprintf(out, "%s%s: ", dot != NULL ? "  " : "", key);
        print_value(&settings[i], options, out);
        (void)fputc('\n', out);
    }
    if (fflush(out) != 0 || ferror(out))
        return err_set(ERR_IO, "writing the settings");
    return ERR_OK;
}
