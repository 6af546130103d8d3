#include "node/options_yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "client/wire/quote.h"
#include "node/setting.h"
#include "storage/base/check.h"

static const char nodes_path[] = "cluster.nodes";

struct walk {
    struct options_source *source;
    yaml_parser_t parser;
    yaml_event_t event;                 /* The current one; YAML_NO_EVENT before the first. */
    size_t lines[SETTINGS_MAX];         /* Where each setting was given; 0: not yet. */
    size_t section_lines[SETTINGS_MAX]; /* Likewise of sections, by their first row. */
    size_t nodes_line;
};

/* ---- Events -------------------------------------------------------------------------------- */

static size_t line_of(const struct walk *walk)
{
    return walk->event.start_mark.line + 1;
}

/* Put "NAME:LINE: " in front of the detail. */
static enum err at_line(const struct walk *walk, enum err err)
{
    return err_wrap(err, "%s:%zu", walk->source->name, line_of(walk));
}

static enum err next(struct walk *walk)
{
    yaml_event_delete(&walk->event);
    if (!yaml_parser_parse(&walk->parser, &walk->event)) {
        const char *problem = walk->parser.problem;
        bool memory = walk->parser.error == YAML_MEMORY_ERROR;

        memset(&walk->event, 0, sizeof walk->event);
        return err_set(memory ? ERR_NO_MEMORY : ERR_INVALID, "%s:%zu: this is not YAML: %s%s%s",
                       walk->source->name, walk->parser.problem_mark.line + 1,
                       problem != NULL ? problem : "unreadable bytes",
                       walk->parser.context != NULL ? ", " : "",
                       walk->parser.context != NULL ? walk->parser.context : "");
    }
    if (walk->event.type == YAML_ALIAS_EVENT)
        return at_line(walk, err_set(ERR_INVALID, "aliases (*name) are not taken: write it out"));
    return ERR_OK;
}

static struct slice scalar(const struct walk *walk)
{
    return (struct slice){(const char *)walk->event.data.scalar.value,
                          walk->event.data.scalar.length};
}

/* `key:` with nothing behind it. */
static bool is_empty_scalar(const struct walk *walk)
{
    return walk->event.type == YAML_SCALAR_EVENT && walk->event.data.scalar.length == 0 &&
           walk->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* Remember that `what` stands here; refuse it if it stood somewhere before. */
static enum err once(const struct walk *walk, size_t *line, const char *what)
{
    if (*line != 0)
        return at_line(walk,
                       err_set(ERR_INVALID, "%s is given twice, first in line %zu", what, *line));
    *line = line_of(walk);
    return ERR_OK;
}

/* ---- Settings ------------------------------------------------------------------------------ */

/* The value of `setting` is next. */
static enum err read_value(struct walk *walk, const struct setting *setting, void *base)
{
    enum err err = next(walk);

    if (err != ERR_OK)
        return err;
    if (walk->event.type != YAML_SCALAR_EVENT || is_empty_scalar(walk))
        err = err_set(ERR_INVALID, "%s: %s is expected", setting->path,
                      setting_kind_name(setting->kind));
    else
        err = setting_parse(setting, base, scalar(walk).data, scalar(walk).size);
    return err == ERR_OK ? ERR_OK : at_line(walk, err);
}

static enum err read_node(struct walk *walk, struct options_node *node)
{
    size_t lines[8] = {0};
    size_t first_line = line_of(walk);
    enum err err = ERR_OK;

    CHECK(setting_of_nodes_count <= sizeof lines / sizeof *lines);
    for (size_t i = 0; i < setting_of_nodes_count; i++) {
        if (setting_of_nodes[i].initial[0] != '\0')
            err = setting_parse(&setting_of_nodes[i], node, setting_of_nodes[i].initial,
                                strlen(setting_of_nodes[i].initial));
        CHECK(err == ERR_OK);
    }
    while ((err = next(walk)) == ERR_OK && walk->event.type == YAML_SCALAR_EVENT) {
        struct slice key = scalar(walk);
        const struct setting *setting =
            setting_find(setting_of_nodes, setting_of_nodes_count, key.data, key.size);

        if (setting == NULL)
            return at_line(walk, err_set(ERR_INVALID,
                                         "%s: a node has id, host, native_port, http_port and "
                                         "peer_port, not \"%s\"",
                                         nodes_path, quote(key).text));
        err = once(walk, &lines[setting - setting_of_nodes], setting->path);
        if (err == ERR_OK)
            err = read_value(walk, setting, node);
        if (err != ERR_OK)
            return err;
    }
    if (err != ERR_OK)
        return err;
    if (walk->event.type != YAML_MAPPING_END_EVENT)
        return at_line(walk, err_set(ERR_INVALID, "%s: key: value is expected", nodes_path));
    if (lines[0] == 0 || lines[1] == 0)
        return err_set(ERR_INVALID, "%s:%zu: %s: this node has no %s", walk->source->name,
                       first_line, nodes_path, lines[0] == 0 ? "id" : "host");
    return ERR_OK;
}

/* The value of cluster.nodes is next: it replaces the nodes of an earlier source. */
static enum err read_nodes(struct walk *walk)
{
    struct options *options = walk->source->options;
    enum err err = once(walk, &walk->nodes_line, nodes_path);

    if (err == ERR_OK)
        err = next(walk);
    if (err != ERR_OK)
        return err;
    if (walk->event.type != YAML_SEQUENCE_START_EVENT)
        return at_line(walk, err_set(ERR_INVALID,
                                     "%s: a list of nodes is expected, such as "
                                     "[{id: 1, host: 10.0.0.1}]",
                                     nodes_path));
    options->cluster.node_count = 0;
    walk->source->nodes_given = true;
    while ((err = next(walk)) == ERR_OK && walk->event.type == YAML_MAPPING_START_EVENT) {
        struct options_node node = {0};

        if (options->cluster.node_count == OPTIONS_NODES_MAX)
            return at_line(walk, err_set(ERR_INVALID, "%s: more than %d nodes", nodes_path,
                                         OPTIONS_NODES_MAX));
        err = read_node(walk, &node);
        if (err != ERR_OK)
            return err;
        options->cluster.nodes[options->cluster.node_count++] = node;
    }
    if (err != ERR_OK)
        return err;
    if (walk->event.type != YAML_SEQUENCE_END_EVENT)
        return at_line(
            walk,
            err_set(ERR_INVALID, "%s: {id: ..., host: ...} is expected for each node", nodes_path));
    return ERR_OK;
}

static enum err refuse_key(const struct walk *walk, const char *path)
{
    const char *meant = setting_suggest(path);
    struct slice slice = {path, strlen(path)};

    return at_line(walk, err_set(ERR_INVALID, "there is no setting %s%s%s%s", quote(slice).text,
                                 meant != NULL ? ": did you mean " : "", meant != NULL ? meant : "",
                                 meant != NULL ? "?" : ""));
}

static enum err read_mapping(struct walk *walk, const char *section);

/* The key just read is a section: its settings are next, if there are any. */
static enum err read_section(struct walk *walk, const struct setting *first, const char *name)
{
    enum err err = once(walk, &walk->section_lines[first - settings], name);

    if (err == ERR_OK)
        err = next(walk);
    if (err != ERR_OK || is_empty_scalar(walk))
        return err;
    if (walk->event.type != YAML_MAPPING_START_EVENT)
        return at_line(
            walk, err_set(ERR_INVALID, "%s has settings below it, such as %s", name, first->path));
    return read_mapping(walk, name);
}

/* SECTION.KEY. False: no setting has such a long one, or one with a NUL in it; it is cut there. */
static bool make_path(const char *section, struct slice key, char path[SETTING_PATH_MAX])
{
    int size = snprintf(path, SETTING_PATH_MAX, "%s%s%.*s", section, section[0] != '\0' ? "." : "",
                        key.size < SETTING_PATH_MAX ? (int)key.size : SETTING_PATH_MAX, key.data);

    return size < SETTING_PATH_MAX && memchr(key.data, '\0', key.size) == NULL;
}

/* Keys and values up to the end of the mapping just begun. `section`: "" for the whole file. */
static enum err read_mapping(struct walk *walk, const char *section)
{
    enum err err;

    while ((err = next(walk)) == ERR_OK && walk->event.type == YAML_SCALAR_EVENT) {
        char path[SETTING_PATH_MAX];
        const struct setting *setting, *first;

        if (!make_path(section, scalar(walk), path))
            return refuse_key(walk, path);
        setting = setting_find(settings, setting_count, path, strlen(path));
        first = section[0] == '\0' ? setting_section(path, strlen(path)) : NULL;
        if (setting != NULL) {
            err = once(walk, &walk->lines[setting - settings], path);
            if (err == ERR_OK)
                err = read_value(walk, setting, walk->source->options);
            walk->source->given |= UINT64_C(1) << (setting - settings);
        } else if (strcmp(path, nodes_path) == 0) {
            err = read_nodes(walk);
        } else if (first != NULL) {
            err = read_section(walk, first, path);
        } else {
            err = refuse_key(walk, path);
        }
        if (err != ERR_OK)
            return err;
    }
    if (err == ERR_OK && walk->event.type != YAML_MAPPING_END_EVENT)
        return at_line(walk, err_set(ERR_INVALID, "a key is expected"));
    return err;
}

/* ---- Documents ----------------------------------------------------------------------------- */

static enum err read_root(struct walk *walk)
{
    enum err err = next(walk);

    if (err != ERR_OK || is_empty_scalar(walk))
        return err;
    if (walk->event.type != YAML_MAPPING_START_EVENT)
        return at_line(walk, err_set(ERR_INVALID, "section: and below it key: value is expected"));
    return read_mapping(walk, "");
}

static enum err read_stream(struct walk *walk, enum err (*read_content)(struct walk *walk))
{
    enum err err = next(walk); /* The start of the stream. */

    if (err == ERR_OK)
        err = next(walk);
    if (err != ERR_OK || walk->event.type == YAML_STREAM_END_EVENT)
        return err; /* Comments at most. */
    err = read_content(walk);
    if (err == ERR_OK)
        err = next(walk); /* The end of the document. */
    if (err == ERR_OK)
        err = next(walk);
    if (err == ERR_OK && walk->event.type != YAML_STREAM_END_EVENT)
        return at_line(walk, err_set(ERR_INVALID, "a second document begins here: one is allowed"));
    return err;
}

static enum err read_text(struct options_source *source, const char *text, size_t size,
                          enum err (*read_content)(struct walk *walk))
{
    struct walk walk = {.source = source};
    enum err err;

    if (!yaml_parser_initialize(&walk.parser))
        return err_set(ERR_NO_MEMORY, "no memory to read %s", source->name);
    yaml_parser_set_encoding(&walk.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text, size);
    err = read_stream(&walk, read_content);
    yaml_event_delete(&walk.event);
    yaml_parser_delete(&walk.parser);
    return err;
}

enum err options_yaml_read(struct options_source *source, const char *text, size_t size)
{
    return read_text(source, text, size, read_root);
}

enum err options_yaml_read_nodes(struct options_source *source, const char *text, size_t size)
{
    return read_text(source, text, size, read_nodes);
}
