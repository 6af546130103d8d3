/*
 * YAML into settings: what a source gave is known for each setting, whatever way it is written, and
 * every refusal names its line. The values themselves are setting.h's.
 */
#include "node/options_yaml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node/setting.h"

static struct options options;
static struct options_source source;

static void set_up(void)
{
    source = (struct options_source){.options = &options, .name = "a.yaml"};
}

TestSuite(options_yaml, .init = set_up);

static enum err read_bytes(const char *text, size_t size)
{
    memset(&options, 0, sizeof options);
    set_up();
    return options_yaml_read(&source, text, size);
}

static enum err read(const char *text)
{
    return read_bytes(text, strlen(text));
}

static void expect_good(const char *text)
{
    cr_assert_eq(read(text), ERR_OK, "%s\n%s", err_detail(), text);
}

static void expect_bad(const char *text, const char *says)
{
    cr_assert_eq(read(text), ERR_INVALID, "%s", text);
    cr_assert_eq(strncmp(err_detail(), says, strlen(says)), 0, "%s\n  says      %s\n  expected  %s",
                 text, err_detail(), says);
}

static uint64_t bit_of(const char *path)
{
    const struct setting *setting = setting_find(settings, setting_count, path, strlen(path));

    cr_assert_not_null(setting, "%s", path);
    return UINT64_C(1) << (setting - settings);
}

/* ---- What is given ------------------------------------------------------------------------- */

Test(options_yaml, knows_which_settings_were_given)
{
    expect_good("workers: 3\nnode:\n  id: 7\n");
    cr_assert_eq(source.given, bit_of("workers") | bit_of("node.id"));
    cr_assert_eq(options.workers, 3);
    cr_assert_eq(options.node.id, 7);
    cr_assert_not(source.nodes_given);
    expect_good("cluster: {nodes: []}");
    cr_assert_eq(source.given, 0);
    cr_assert(source.nodes_given);
}

Test(options_yaml, nothing_is_a_file_without_settings)
{
    static const char *const texts[] = {"",           "\n", "# nothing\n", "---\n",
                                        "---\n...\n", "{}", "node:\n",     "node: {}\nlimits:\n"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        expect_good(texts[i]);
        cr_assert_eq(source.given, 0, "%s", texts[i]);
    }
}

Test(options_yaml, takes_each_way_to_write_the_same)
{
    static const char *const texts[] = {
        "node:\n  id: 7\n  name: seven\n",
        "{node: {id: 7, name: seven}}",
        "\"node\": {'id': \"7\", \"name\": 'seven'}",
        "--- # a comment\nnode:\n    name: seven # behind\n    id: 7\n...\n",
        "node:\r\n  id: 7\r\n  name: seven\r\n",
        "\xef\xbb\xbfnode: {id: 7, name: seven}",
        "%YAML 1.1\n---\nnode: {id: !!int 7, name: !!str seven}",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        expect_good(texts[i]);
        cr_assert_eq(options.node.id, 7, "%s", texts[i]);
        cr_assert_str_eq(options.node.name, "seven");
    }
}

Test(options_yaml, reads_no_further_than_it_is_told)
{
    cr_assert_eq(read_bytes("workers: 12", 10), ERR_OK, "%s", err_detail());
    cr_assert_eq(options.workers, 1);
}

/* ---- Nodes --------------------------------------------------------------------------------- */

Test(options_yaml, a_node_has_the_usual_ports_unless_it_says_others)
{
    expect_good("cluster: {nodes: [{host: a, id: 4}, {id: 5, host: b, peer_port: 9}]}");
    cr_assert_eq(options.cluster.node_count, 2);
    cr_assert_eq(options.cluster.nodes[0].id, 4);
    cr_assert_eq(options.cluster.nodes[0].native_port, 7400);
    cr_assert_eq(options.cluster.nodes[0].http_port, 7401);
    cr_assert_eq(options.cluster.nodes[0].peer_port, 7402);
    cr_assert_eq(options.cluster.nodes[1].peer_port, 9);
    cr_assert_str_eq(options.cluster.nodes[1].host, "b");
}

Test(options_yaml, a_later_list_of_nodes_replaces_an_earlier_one)
{
    static const char text[] = "[{id: 9, host: z}]";

    expect_good("cluster: {nodes: [{id: 4, host: a}, {id: 5, host: b}]}");
    source.name = "MILLRACE_CLUSTER_NODES";
    cr_assert_eq(options_yaml_read_nodes(&source, text, strlen(text)), ERR_OK, "%s", err_detail());
    cr_assert_eq(options.cluster.node_count, 1);
    cr_assert_eq(options.cluster.nodes[0].id, 9);
}

Test(options_yaml, a_list_of_nodes_alone_is_nothing_else)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{id: 1, host: a}", "flag:1: cluster.nodes: a list of nodes is expected"},
        {"nodes: []", "flag:1: cluster.nodes: a list of nodes is expected"},
        {"[{id: 1}]", "flag:1: cluster.nodes: this node has no host"},
        {"[\n{host: a}]", "flag:2: cluster.nodes: this node has no id"},
        {"[]\n---\n[]", "flag:2: a second document begins here: one is allowed"},
        {"[{id: 1, host: a}", "flag:2: this is not YAML: "},
        {"[{id: 1, host: [a]}]", "flag:1: host: "},
        {"[{id: 1, ? [a] : b}]", "flag:1: cluster.nodes: key: value is expected"},
        {"[*a]", "flag:1: aliases (*name) are not taken: write it out"},
    };

    source.name = "flag";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(options_yaml_read_nodes(&source, cases[i].text, strlen(cases[i].text)),
                     ERR_INVALID, "%s", cases[i].text);
        cr_assert_eq(strncmp(err_detail(), cases[i].says, strlen(cases[i].says)), 0, "%s\n%s",
                     cases[i].text, err_detail());
    }
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(options_yaml, names_the_line_of_what_it_refuses)
{
    expect_bad("\n\nnode:\n  id: none\n", "a.yaml:4: node.id: \"none\" is not a whole number");
    expect_bad("node:\n  id:\n", "a.yaml:");
    expect_bad("node: {id: 1}\n\nnode: {name: b}\n",
               "a.yaml:3: node is given twice, first in line 1");
    expect_bad("node:\n  id: 1\n  id: 2\n", "a.yaml:3: node.id is given twice, first in line 2");
    expect_bad("cluster:\n  nodes: []\n  nodes: []\n",
               "a.yaml:3: cluster.nodes is given twice, first in line 2");
    expect_bad("workers: 1\n...\n---\nworkers: 2\n", "a.yaml:3: a second document begins here");
    expect_bad("workers: &a 1\nraft: {election: *a}\n", "a.yaml:2: aliases (*name) are not taken");
    expect_bad("cluster:\n  - nodes\n", "a.yaml:2: cluster has settings below it");
}

Test(options_yaml, leaves_out_nothing_that_it_does_not_know)
{
    char text[400], says[400];

    expect_bad("node.id: 1\nid: 1\n", "a.yaml:2: there is no setting id: did you mean ");
    expect_bad("nodes: []\n", "a.yaml:1: there is no setting nodes");
    expect_bad("workers:\n  nodes: []\n", "a.yaml:2: workers: a whole number is expected");
    /* Longer than any path, and beginning like one. */
    (void)snprintf(text, sizeof text, "workers%0200d: 1\n", 0);
    (void)snprintf(says, sizeof says, "a.yaml:1: there is no setting workers%033d...", 0);
    expect_bad(text, says);
}

/* Cut at its NUL it would be a setting, or what one may be. */
Test(options_yaml, nothing_with_a_nul_in_it_is_taken)
{
    expect_bad("\"workers\\0x\": 3\n", "a.yaml:1: there is no setting workers");
    cr_assert_eq(options.workers, 0);
    expect_bad("node:\n  \"id\\0\": 3\n", "a.yaml:2: there is no setting node.id");
    expect_bad("\"limits\\0\": {idle: 1s}\n", "a.yaml:1: there is no setting limits");
    expect_bad("cluster: {\"nodes\\0\": []}\n", "a.yaml:1: there is no setting cluster.nodes");
    expect_bad("databases: {auto_create: \"true\\0x\"}\n", "a.yaml:1: databases.auto_create: ");
    expect_bad("log_level: \"info\\0\"\n", "a.yaml:1: log_level: ");
    expect_bad("workers: \"1\\0\"\n", "a.yaml:1: workers: ");
    expect_bad("node: {name: \"a\\0\"}\n", "a.yaml:1: node.name: ");
}

Test(options_yaml, what_is_not_yaml_is_said_with_its_line)
{
    expect_bad("workers: 1\n\tnode: 2\n", "a.yaml:2: this is not YAML: ");
    expect_bad("workers: \"1\n", "a.yaml:2: this is not YAML: ");
    cr_assert_eq(read_bytes("workers: \xff\xfe\n", 12), ERR_INVALID);
    cr_assert_eq(read_bytes("a\0b", 3), ERR_INVALID);
    /* Deep enough for whoever follows it by calling himself. */
    {
        static char deep[20000];

        memset(deep, '[', sizeof deep - 1);
        cr_assert_eq(read(deep), ERR_INVALID);
    }
}
