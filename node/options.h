/*
 * options.h - the settings of a node: read from one YAML file, checked wholly, never changed later.
 *
 *     defaults < file < environment (MILLRACE_SECTION_KEY) < --set section.key=value
 *
 *     node: {id: 1, data_dir: /var/lib/millrace}
 *     cluster:
 *       id: plant-7
 *       nodes:
 *         - {id: 1, host: 10.0.0.1}
 *         - {id: 2, host: 10.0.0.2}
 *         - {id: 3, host: 10.0.0.3}
 *
 * That file is enough. setting.c has the table of all settings: path, kind, range, default and what
 * they are for; options_print() writes them all down. Anything unknown, doubtful, out of range or
 * given twice is an error that names its place:
 *
 *     node.yaml:12: limits.body_bytes: "32 gigs" is not a size (examples: 512KiB, 32MiB); ...
 */
#ifndef NODE_OPTIONS_H
#define NODE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/log_line.h"

enum {
    OPTIONS_NODES_MAX = 9,
    OPTIONS_NAME_MAX = 64, /* Bytes with the NUL, as of hosts. */
    OPTIONS_PATH_MAX = 1024,
    OPTIONS_FILE_MAX = 1024 * 1024, /* Bytes of a configuration file. */
};

/** A node of the cluster, as others reach it. */
struct options_node {
    uint64_t id;
    char host[OPTIONS_NAME_MAX]; /* An address or a name to look up. */
    uint16_t native_port;
    uint16_t http_port;
    uint16_t peer_port;
};

struct options_limits {
    uint32_t connections;
    uint64_t body_bytes;
    uint32_t line_bytes;
    uint64_t inflight_bytes;
    uint32_t idle_ms;
    uint32_t query_time_ms;
    uint64_t query_bytes;
    uint32_t future_ms; /* 0: no limit. */
};

struct options {
    struct {
        uint64_t id;
        char name[OPTIONS_NAME_MAX];
        char data_dir[OPTIONS_PATH_MAX];
    } node;
    struct {
        char id[OPTIONS_NAME_MAX];
        uint32_t shards;
        uint32_t node_count;
        struct options_node nodes[OPTIONS_NODES_MAX];
    } cluster;
    struct {
        char host[OPTIONS_NAME_MAX]; /* An IP address. */
        uint16_t native_port;
        uint16_t http_port;
        uint16_t peer_port;
        char admin_host[OPTIONS_NAME_MAX];
        uint16_t admin_port;
    } listen;
    uint32_t workers;
    uint32_t pool_threads;
    struct {
        bool auto_create;
        uint64_t retention_ms; /* Of those that writes make; 0: for ever. */
    } databases;
    struct {
        uint32_t election_ms;
        uint32_t heartbeat_ms;
    } raft;
    struct {
        uint64_t file_bytes;
        uint64_t bytes_max;
    } log;
    struct {
        uint64_t seal_bytes;
        uint64_t head_bytes_max; /* Of the node: each shard has its part. */
        uint32_t series_max;     /* Of a shard, as is the next. */
        uint32_t producers_max;
        uint64_t scrub_rate; /* Bytes a second; 0: only when it is asked for. */
        uint64_t compact_memory;
        uint64_t segment_bytes_max;
        uint32_t erase_after_ms;
        uint64_t last_bytes; /* Of the node: each shard has its part. */
    } storage;
    struct options_limits limits;
    enum log_level log_level;
};

/**
 * Put together the settings of a node from all sources, and check them.
 *
 * file       path of the YAML file, or NULL
 * dev        NULL, or a data directory: one node on loopback that needs no file
 * sets       set_count texts "section.key=value". Here and in the environment cluster.nodes is
 *            written as in the file: [{id: 1, host: a}, {id: 2, host: b}, {id: 3, host: c}]
 * Errors     ERR_INVALID with place, setting, what is allowed; of the file ERR_NOT_FOUND, ERR_IO,
 *            ERR_TOO_LARGE. *ret_options holds nothing of use then.
 */
MUST_CHECK enum err options_load(struct options *ret_options, const char *file, const char *dev,
                                 const char *const *sets, size_t set_count);

/** As options_load() of a file's text, without the environment. `name` is for messages. */
MUST_CHECK enum err options_parse(struct options *ret_options, const char *name, const char *text,
                                  size_t size);

/** Write all settings as a YAML file that gives the same settings again, each with its comment. */
MUST_CHECK enum err options_print(const struct options *options, FILE *out);

#endif
