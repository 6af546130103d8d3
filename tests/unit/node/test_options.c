/*
 * Settings: what a good file gives, what is said about a bad one and where, and that what is
 * printed reads back as the same settings.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/options.h"
#include "node/setting.h"

static const char minimal[] = "node: {id: 2, data_dir: /var/lib/millrace}\n"
                              "cluster:\n"
                              "  id: plant-7\n"
                              "  nodes:\n"
                              "    - {id: 1, host: 10.0.0.1}\n"
                              "    - {id: 2, host: 10.0.0.2, http_port: 8086}\n"
                              "    - {id: 3, host: three.example, native_port: 9000}\n";

static struct options parse_good(const char *text)
{
    struct options options;
    enum err err = options_parse(&options, "node.yaml", text, strlen(text));

    cr_assert_eq(err, ERR_OK, "%s\n%s", err_detail(), text);
    return options;
}

/* The minimal file with more lines behind it. */
static enum err parse_with(const char *more, struct options *ret_options)
{
    char text[4096];

    (void)snprintf(text, sizeof text, "%s%s", minimal, more);
    return options_parse(ret_options, "node.yaml", text, strlen(text));
}

/* ---- Good files ---------------------------------------------------------------------------- */

Test(options, needs_little_more_than_the_nodes)
{
    struct options options = parse_good(minimal);

    cr_assert_eq(options.node.id, 2);
    cr_assert_str_eq(options.node.name, "node2");
    cr_assert_str_eq(options.node.data_dir, "/var/lib/millrace");
    cr_assert_str_eq(options.cluster.id, "plant-7");
    cr_assert_eq(options.cluster.shards, 4);
    cr_assert_eq(options.cluster.node_count, 3);
    cr_assert_str_eq(options.cluster.nodes[2].host, "three.example");
    cr_assert_eq(options.cluster.nodes[2].native_port, 9000);
    cr_assert_eq(options.cluster.nodes[0].peer_port, 7402);
    cr_assert_str_eq(options.listen.host, "0.0.0.0");
    cr_assert_eq(options.listen.native_port, 7400);
    cr_assert_eq(options.listen.http_port, 8086, "as this node's entry says");
    cr_assert_eq(options.listen.peer_port, 7402);
    cr_assert_str_eq(options.listen.admin_host, "127.0.0.1");
    cr_assert_eq(options.listen.admin_port, 7403);
    cr_assert_geq(options.workers, 1);
    cr_assert_eq(options.pool_threads, 1);
    cr_assert(options.databases.auto_create);
    cr_assert_eq(options.raft.election_ms, 300);
    cr_assert_eq(options.raft.heartbeat_ms, 40);
    cr_assert_eq(options.log.file_bytes, 64u << 20);
    cr_assert_eq(options.log.bytes_max, UINT64_C(4) << 30);
    cr_assert_eq(options.storage.head_bytes_max, 256u << 20);
    cr_assert_eq(options.storage.seal_bytes, 32u << 20);
    cr_assert_eq(options.storage.series_max, 10000000);
    cr_assert_eq(options.limits.body_bytes, 32u << 20);
    cr_assert_eq(options.limits.future_ms, 24u * 3600 * 1000);
    cr_assert_eq(options.log_level, LOG_INFO);
}

Test(options, takes_every_kind_of_value)
{
    struct options options;
    enum err err = parse_with("listen: {host: '::', admin_port: 9999}\n"
                              "workers: 3\n"
                              "databases:\n  auto_create: false\n"
                              "raft: {election: 2s, heartbeat: 500ms}\n"
                              "limits:\n"
                              "  body_bytes: 1048576\n"
                              "  line_bytes: 2KiB\n"
                              "  inflight_bytes: 1GiB\n"
                              "  future: 0\n"
                              "  query_time: 2m\n"
                              "log_level: debug # a comment\n",
                              &options);

    cr_assert_eq(err, ERR_OK, "%s", err_detail());
    cr_assert_str_eq(options.listen.host, "::");
    cr_assert_eq(options.listen.admin_port, 9999);
    cr_assert_eq(options.workers, 3);
    cr_assert_not(options.databases.auto_create);
    cr_assert_eq(options.raft.election_ms, 2000);
    cr_assert_eq(options.limits.body_bytes, 1u << 20);
    cr_assert_eq(options.limits.line_bytes, 2048);
    cr_assert_eq(options.limits.inflight_bytes, 1u << 30);
    cr_assert_eq(options.limits.future_ms, 0);
    cr_assert_eq(options.limits.query_time_ms, 120000);
    cr_assert_eq(options.log_level, LOG_DEBUG);
}

Test(options, takes_sections_with_nothing_in_them)
{
    struct options options;

    cr_assert_eq(parse_with("limits:\nraft:\n  # later\n", &options), ERR_OK, "%s", err_detail());
}

Test(options, seals_small_where_shards_are_many)
{
    struct options options;
    char text[1024];

    (void)snprintf(text, sizeof text, "%s  shards: 64\n", minimal);
    options = parse_good(text);
    cr_assert_eq(options.storage.seal_bytes, 2u << 20);
}

/* ---- Bad files ----------------------------------------------------------------------------- */

static const struct {
    const char *more; /* Behind the minimal file, from line 8 on. */
    const char *says; /* The whole message or its beginning. */
} bad[] = {
    {"limits:\n  body_bytes: 32 gigs\n",
     "node.yaml:9: limits.body_bytes: \"32 gigs\" is not a size (examples: 512KiB, 32MiB); "
     "allowed 64KiB to 1GiB"},
    {"limits:\n  body_bytes: 32MB\n", "node.yaml:9: limits.body_bytes: \"32MB\" is not a size"},
    {"limits:\n  body_bytes: -1\n", "node.yaml:9: limits.body_bytes: \"-1\" is not a size"},
    {"limits:\n  body_bytes: 1.5GiB\n", "node.yaml:9: limits.body_bytes: \"1.5GiB\" is not a size"},
    {"limits:\n  body_bytes: MiB\n", "node.yaml:9: limits.body_bytes: \"MiB\" is not a size"},
    {"limits:\n  body_bytes: 1KiB\n",
     "node.yaml:9: limits.body_bytes: 1KiB is out of range; allowed 64KiB to 1GiB"},
    {"limits:\n  body_bytes: 2TiB\n", "node.yaml:9: limits.body_bytes: 2TiB is out of range"},
    {"limits:\n  body_bytes: 99999999999999999TiB\n",
     "node.yaml:9: limits.body_bytes: 99999999999999999TiB is out of range"},
    {"limits:\n  body_bytes: 99999999999999999999\n", "node.yaml:9: limits.body_bytes: 999"},
    {"limits:\n  body_bytes:\n", "node.yaml:9: limits.body_bytes: a size (examples"},
    {"limits:\n  body_bytes: [1]\n", "node.yaml:9: limits.body_bytes: a size (examples"},
    {"limits:\n  body_bytes: {a: 1}\n", "node.yaml:9: limits.body_bytes: a size (examples"},
    {"limits:\n  body_bytes: ''\n", "node.yaml:9: limits.body_bytes: \"\" is not a size"},
    {"limits:\n  idle: 30\n",
     "node.yaml:9: limits.idle: \"30\" is not a time (examples: 300ms, 30s, 24h); allowed 1s to "
     "1h"},
    {"limits:\n  idle: 30sec\n", "node.yaml:9: limits.idle: \"30sec\" is not a time"},
    {"limits:\n  idle: 0\n", "node.yaml:9: limits.idle: 0 is out of range; allowed 1s to 1h"},
    {"limits:\n  idle: 2h\n", "node.yaml:9: limits.idle: 2h is out of range"},
    {"limits:\n  connections: 1k\n",
     "node.yaml:9: limits.connections: \"1k\" is not a whole number"},
    {"limits:\n  connections: 0\n",
     "node.yaml:9: limits.connections: 0 is out of range; allowed 1 to 1000000"},
    {"listen:\n  http_port: 70000\n",
     "node.yaml:9: listen.http_port: 70000 is out of range; allowed 1 to 65535"},
    {"listen:\n  http_port: http\n", "node.yaml:9: listen.http_port: \"http\" is not a port"},
    {"listen:\n  host: localhost\n",
     "node.yaml:9: listen.host: \"localhost\" is not an IP address (examples: 127.0.0.1"},
    {"listen:\n  host: 1.2.3.4.5\n", "node.yaml:9: listen.host: \"1.2.3.4.5\" is not an IP"},
    {"databases: {auto_create: yes}\n",
     "node.yaml:8: databases.auto_create: \"yes\" is not true or false"},
    {"log_level: loud\n",
     "node.yaml:8: log_level: \"loud\" is not one of error, warn, info, debug"},
    /* Keys. */
    {"limits:\n  body_byte: 1\n",
     "node.yaml:9: there is no setting limits.body_byte: did you mean limits.body_bytes?"},
    {"limit:\n  body_bytes: 1\n", "node.yaml:8: there is no setting limit"},
    {"body_bytes: 1MiB\n",
     "node.yaml:8: there is no setting body_bytes: did you mean limits.body_bytes?"},
    {"worker: 2\n", "node.yaml:8: there is no setting worker: did you mean workers?"},
    {"something_else: 2\n", "node.yaml:8: there is no setting something_else"},
    {"raft:\n  limits:\n    idle: 1s\n", "node.yaml:9: there is no setting raft.limits"},
    {"? {a: b}\n: c\n", "node.yaml:8: a key is expected"},
    {"limits: 5\n", "node.yaml:8: limits has settings below it, such as limits.connections"},
    {"limits:\n  - 5\n", "node.yaml:9: limits has settings below it"},
    {"limits:\n  idle: 1s\n  idle: 1s\n",
     "node.yaml:10: limits.idle is given twice, first in line 9"},
    {"limits:\n  idle: 1s\nlimits:\n  connections: 1\n",
     "node.yaml:10: limits is given twice, first in line 8"},
    {"node: {name: a}\n", "node.yaml:8: node is given twice, first in line 1"},
    /* YAML. */
    {"limits: {idle: 1s\n", "node.yaml:"},
    {"\tworkers: 2\n", "node.yaml:8: this is not YAML: "},
    {"workers: *two\n", "node.yaml:8: aliases (*name) are not taken"},
    {"---\nworkers: 2\n", "node.yaml:8: a second document begins here"},
    {"workers: \"\xff\"\n", "node.yaml:"},
    /* Several settings. */
    {"raft: {election: 100ms}\n", "raft.heartbeat (40ms) is more than a third of raft.election"},
    {"log: {file_bytes: 67108865}\n", "log.file_bytes (67108865) is not a multiple of 4KiB"},
    {"log: {file_bytes: 64MiB, bytes_max: 128MiB}\n", "log.bytes_max (134217728) is less than 4"},
    {"storage: {seal_bytes: 64MiB}\n", "storage.seal_bytes (67108864) is more than half"},
    {"limits: {body_bytes: 128MiB}\n", "limits.body_bytes (134217728) is more than limits.infl"},
    {"listen: {native_port: 7402}\n", "listen.native_port and listen.peer_port are both 7402"},
    {"listen: {http_port: 7403}\n", "listen.http_port and listen.admin_port are both 7403"},
};

Test(options, says_where_and_what_for_every_bad_file)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct options options;

        cr_assert_eq(parse_with(bad[i].more, &options), ERR_INVALID, "%s", bad[i].more);
        cr_assert_eq(strncmp(err_detail(), bad[i].says, strlen(bad[i].says)), 0,
                     "%s\n  says      %s\n  expected  %s", bad[i].more, err_detail(), bad[i].says);
    }
}

static const struct {
    const char *text;
    const char *says;
} incomplete[] = {
    {"", "node.id is not set"},
    {"# nothing\n", "node.id is not set"},
    {"---\n", "node.id is not set"},
    {"node: {id: 1}\n", "node.data_dir is not set"},
    {"node: {id: 1, data_dir: /d}\n", "cluster.id is not set"},
    {"node: {id: 1, data_dir: /d}\ncluster: {id: c}\n", "cluster.nodes is not set"},
    {"node: {id: 1, data_dir: /d}\ncluster: {id: c, nodes: []}\n", "cluster.nodes is not set"},
    {"node: {id: 0, data_dir: /d}\n", "n:1: node.id: 0 is out of range; allowed 1 to 65535"},
    {"node: {data_dir: ''}\n", "n:1: node.data_dir: \"\" is not a path"},
    {"node: {data_dir: \"a\\nb\"}\n", "n:1: node.data_dir: \"a?b\" is not a path"},
    {"node: {name: a b}\n", "n:1: node.name: \"a b\" is not a name of letters"},
    {"cluster: {id: 0123456789012345678901234567890123456789012345678901234567890123}\n",
     "n:1: cluster.id: \"0123456789012345678901234567890123456789...\" is not a name"},
    {"[]\n", "n:1: section: and below it key: value is expected"},
    {"just text\n", "n:1: section: and below it key: value is expected"},
    {"cluster: {nodes: 5}\n", "n:1: cluster.nodes: a list of nodes is expected"},
    {"cluster: {nodes: {id: 1}}\n", "n:1: cluster.nodes: a list of nodes is expected"},
    {"cluster: {nodes: [5]}\n", "n:1: cluster.nodes: {id: ..., host: ...} is expected"},
    {"cluster: {nodes: [{}]}\n", "n:1: cluster.nodes: this node has no id"},
    {"cluster:\n  nodes:\n    - id: 1\n    - host: a\n",
     "n:3: cluster.nodes: this node has no host"},
    {"cluster: {nodes: [{id: 1, id: 2}]}\n", "n:1: id is given twice"},
    {"cluster: {nodes: [{id: 1, host: 'a b'}]}\n", "n:1: host: \"a b\" is not an address or host"},
    {"cluster: {nodes: [{id: 1, port: 5}]}\n", "n:1: cluster.nodes: a node has id, host"},
    {"cluster: {nodes: [{id: 1, host: a, peer_port: 0}]}\n", "n:1: peer_port: 0 is out of range"},
    {"cluster: {nodes: [{id: 1, host: a}, {id: 2, host: b}, {id: 3, host: c}, {id: 4, host: d}, "
     "{id: 5, host: e}, {id: 6, host: f}, {id: 7, host: g}, {id: 8, host: h}, {id: 9, host: i}, "
     "{id: 10, host: j}]}\n",
     "n:1: cluster.nodes: more than 9 nodes"},
};

Test(options, says_what_is_missing)
{
    for (size_t i = 0; i < sizeof incomplete / sizeof *incomplete; i++) {
        struct options options;
        const char *text = incomplete[i].text;

        cr_assert_eq(options_parse(&options, "n", text, strlen(text)), ERR_INVALID, "%s", text);
        cr_assert_eq(strncmp(err_detail(), incomplete[i].says, strlen(incomplete[i].says)), 0,
                     "%s\n  says      %s\n  expected  %s", text, err_detail(), incomplete[i].says);
    }
}

Test(options, refuses_clusters_that_cannot_work)
{
    static const struct {
        const char *nodes, *says;
    } cases[] = {
        {"[{id: 1, host: a}, {id: 2, host: b}]",
         "cluster.nodes: 2 nodes bear the loss of 0, as 1 do: use 1, 3, 5, 7 or 9"},
        {"[{id: 1, host: a}, {id: 2, host: b}, {id: 3, host: c}, {id: 4, host: d}]",
         "cluster.nodes: 4 nodes bear the loss of 1, as 3 do"},
        {"[{id: 2, host: a}]", "node.id is 1, but cluster.nodes has no node with this id"},
        {"[{id: 1, host: a}, {id: 1, host: b}, {id: 3, host: c}]",
         "cluster.nodes: id 1 is given to two nodes"},
        {"[{id: 1, host: a}, {id: 2, host: a}, {id: 3, host: c}]",
         "cluster.nodes: nodes 1 and 2 have the same host and peer_port"},
        {"[{id: 1, host: a, http_port: 7400}]", "cluster.nodes: node 1 uses one port twice"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options options;
        char text[512];

        (void)snprintf(text, sizeof text, "node: {id: 1, data_dir: d}\ncluster: {id: c, nodes: %s}",
                       cases[i].nodes);
        cr_assert_eq(options_parse(&options, "n", text, strlen(text)), ERR_INVALID, "%s", text);
        cr_assert_eq(strncmp(err_detail(), cases[i].says, strlen(cases[i].says)), 0, "%s: %s", text,
                     err_detail());
    }
}

/* ---- Sources ------------------------------------------------------------------------------- */

static void clear_environment(void)
{
    (void)clearenv();
}

Test(options, dev_needs_no_file, .init = clear_environment)
{
    const char *sets[] = {"listen.http_port=8086"};
    struct options options;

    cr_assert_eq(options_load(&options, NULL, "/tmp/x", sets, 1), ERR_OK, "%s", err_detail());
    cr_assert_str_eq(options.node.data_dir, "/tmp/x");
    cr_assert_str_eq(options.listen.host, "127.0.0.1");
    cr_assert_eq(options.cluster.node_count, 1);
    cr_assert_eq(options.listen.http_port, 8086);
    cr_assert_eq(options.cluster.nodes[0].http_port, 8086, "what clients are told");
}

Test(options, later_sources_win, .init = clear_environment)
{
    char path[] = "/tmp/millrace-options-XXXXXX";
    int fd = mkstemp(path);
    const char *more = "limits: {idle: 10s, connections: 10, query_time: 10s}\n";
    const char *sets[] = {"limits.query_time=30s", "limits.query_time=40s"};
    struct options options;

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, minimal, strlen(minimal)), (ssize_t)strlen(minimal));
    cr_assert_eq(write(fd, more, strlen(more)), (ssize_t)strlen(more));
    (void)close(fd);
    (void)setenv("MILLRACE_LIMITS_CONNECTIONS", "20", 1);
    (void)setenv("MILLRACE_LIMITS_QUERY_TIME", "20s", 1);
    cr_assert_eq(options_load(&options, path, NULL, sets, 2), ERR_OK, "%s", err_detail());
    (void)unlink(path);
    cr_assert_eq(options.limits.idle_ms, 10000);
    cr_assert_eq(options.limits.connections, 20);
    cr_assert_eq(options.limits.query_time_ms, 40000);
}

Test(options, takes_the_nodes_from_anywhere, .init = clear_environment)
{
    const char *sets[] = {"node.id=7", "cluster.nodes=[{id: 7, host: b, http_port: 8000}]"};
    struct options options;

    (void)setenv("MILLRACE_CLUSTER_NODES", "[{id: 7, host: a}]", 1);
    cr_assert_eq(options_load(&options, NULL, "/tmp/x", sets, 1), ERR_OK, "%s", err_detail());
    cr_assert_str_eq(options.cluster.nodes[0].host, "a");
    cr_assert_eq(options_load(&options, NULL, "/tmp/x", sets, 2), ERR_OK, "%s", err_detail());
    cr_assert_str_eq(options.cluster.nodes[0].host, "b");
    cr_assert_eq(options.listen.http_port, 8000);
}

static void assert_load_says(const char *set, const char *says)
{
    struct options options;

    cr_assert_eq(options_load(&options, NULL, "/tmp/x", &set, set != NULL), ERR_INVALID);
    cr_assert_eq(strncmp(err_detail(), says, strlen(says)), 0, "says %s, expected %s", err_detail(),
                 says);
}

Test(options, names_the_source_of_a_bad_setting, .init = clear_environment)
{
    assert_load_says("workers", "--set workers: section.key=value is expected");
    assert_load_says("worker=2", "--set: there is no setting worker: did you mean workers?");
    assert_load_says("workers=many",
                     "--set: workers: \"many\" is not a whole number; allowed 1 to 64");
    assert_load_says("cluster.nodes=[{id: x}]", "--set:1: id: \"x\" is not a whole number");
    assert_load_says("=", "--set: there is no setting ");
    (void)setenv("MILLRACE_LIMITS_IDLE", "soon", 1);
    assert_load_says(NULL, "MILLRACE_LIMITS_IDLE: limits.idle: \"soon\" is not a time");
}

Test(options, refuses_variables_that_are_nearly_settings, .init = clear_environment)
{
    struct options options;

    (void)setenv("MILLRACE_SERVICE_HOST", "10.0.0.1", 1); /* As container platforms do. */
    cr_assert_eq(options_load(&options, NULL, "/tmp/x", NULL, 0), ERR_OK, "%s", err_detail());
    (void)setenv("MILLRACE_LIMITS_IDEL", "5s", 1);
    assert_load_says(NULL, "environment: MILLRACE_LIMITS_IDEL is no setting of section limits");
}

Test(options, says_which_file_it_cannot_read, .init = clear_environment)
{
    struct options options;

    cr_assert_eq(options_load(&options, "/nonexistent/node.yaml", NULL, NULL, 0), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err_detail(), "/nonexistent/node.yaml"));
}

/* ---- Printing ------------------------------------------------------------------------------ */

static char *print(const struct options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    cr_assert_eq(options_print(options, out), ERR_OK);
    (void)fclose(out);
    return text;
}

Test(options, prints_what_reads_back_as_the_same)
{
    struct options options = parse_good(minimal), again;
    char *text, *text_again;

    (void)snprintf(options.node.data_dir, sizeof options.node.data_dir, "/a \"b\"/\\c: #\xc3\xa4");
    options.limits.future_ms = 90061001;
    options.limits.body_bytes = 1234567;
    options.databases.auto_create = false;
    options.log_level = LOG_WARN;
    text = print(&options);
    again = parse_good(text);
    text_again = print(&again);
    cr_assert_str_eq(text_again, text);
    cr_assert_str_eq(again.node.data_dir, options.node.data_dir);
    cr_assert_eq(again.limits.future_ms, 90061001);
    cr_assert_eq(again.limits.body_bytes, 1234567);
    free(text);
    free(text_again);
}

Test(options, prints_every_setting_with_what_is_allowed)
{
    struct options options = parse_good(minimal);
    char *text = print(&options);

    for (size_t i = 0; i < setting_count; i++) {
        const char *dot = strchr(settings[i].path, '.');
        char key[SETTING_PATH_MAX + 4];

        (void)snprintf(key, sizeof key, "%s%s: ", dot != NULL ? "  " : "",
                       dot != NULL ? dot + 1 : settings[i].path);
        cr_assert_not_null(strstr(text, key), "%s", settings[i].path);
        cr_assert_not_null(strstr(text, settings[i].help), "%s", settings[i].path);
    }
    cr_assert_not_null(strstr(text, "  # 64KiB to 1GiB; default 32MiB\n  body_bytes: 32MiB\n"));
    cr_assert_not_null(strstr(text, "  # 0 to 40d; default 24h\n  future: 1d\n"));
    free(text);
}

Test(options, has_defaults_within_their_own_ranges)
{
    struct options options;
    struct options_node node;

    for (size_t i = 0; i < setting_count; i++) {
        if (settings[i].initial[0] != '\0')
            cr_assert_eq(setting_parse(&settings[i], &options, settings[i].initial,
                                       strlen(settings[i].initial)),
                         ERR_OK, "%s", err_detail());
    }
    for (size_t i = 0; i < setting_of_nodes_count; i++) {
        if (setting_of_nodes[i].initial[0] != '\0')
            cr_assert_eq(setting_parse(&setting_of_nodes[i], &node, setting_of_nodes[i].initial,
                                       strlen(setting_of_nodes[i].initial)),
                         ERR_OK, "%s", err_detail());
    }
}
