/*
 * options_yaml.h - YAML text into struct options, refusing all that is not a setting.
 *
 * Events of libyaml are walked by hand, because each has its line: a wrong value, an unknown key or
 * one given twice is named with the place where it stands. Aliases and further documents are
 * refused.
 */
#ifndef NODE_OPTIONS_YAML_H
#define NODE_OPTIONS_YAML_H

#include "node/options.h"

/** What a source of settings gives, and which it gave. */
struct options_source {
    struct options *options;
    const char *name; /* For messages: "node.yaml". */
    uint64_t given;   /* A bit for each row of settings[]. */
    bool nodes_given; /* cluster.nodes */
};

/** A whole file. ERR_INVALID, beginning with NAME:LINE. */
MUST_CHECK enum err options_yaml_read(struct options_source *source, const char *text, size_t size);

/** The value of cluster.nodes alone, such as "[{id: 1, host: a}]". */
MUST_CHECK enum err options_yaml_read_nodes(struct options_source *source, const char *text,
                                            size_t size);

#endif
