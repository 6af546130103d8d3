/*
 * setting.h - the table of settings: one row says all there is to know about one.
 *
 * Texts become values and values texts here, and nowhere else; so what --print-config writes is
 * what the parser reads.
 *
 *   count     1024            size      512KiB, 32MiB, 4GiB (bytes: a bare number)
 *   port      7400            time      40ms, 30s, 5m, 24h, 7d; 0
 *   switch    true, false     address   an IP address; host: that or a name
 *   text, path                level     error, warn, info, debug
 */
#ifndef NODE_SETTING_H
#define NODE_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum setting_kind {
    SETTING_COUNT,  /* uint32_t */
    SETTING_NUMBER, /* uint64_t */
    SETTING_SIZE,   /* uint64_t, bytes */
    SETTING_SIZE32, /* uint32_t, bytes */
    SETTING_TIME,   /* uint32_t, milliseconds */
    SETTING_AGE,    /* uint64_t, milliseconds */
    SETTING_PORT,   /* uint16_t */
    SETTING_SWITCH, /* bool */
    SETTING_TEXT,   /* char[OPTIONS_NAME_MAX]: letters, digits, - _ . */
    SETTING_HOST,   /* char[OPTIONS_NAME_MAX] */
    SETTING_ADDRESS,
    SETTING_PATH,  /* char[OPTIONS_PATH_MAX] */
    SETTING_LEVEL, /* enum log_level */
};

struct setting {
    const char *path; /* "limits.body_bytes" */
    enum setting_kind kind;
    size_t offset; /* In struct options, or struct options_node. */
    uint64_t min;  /* Of a number, in the unit of its field. */
    uint64_t max;
    const char *initial; /* The default as text. "": none; `derived` says what then. */
    const char *derived; /* NULL: an empty one has to be given. */
    const char *help;
};

enum {
    SETTINGS_MAX = 64,       /* Rows of a table: readers keep a bit for each. */
    SETTING_PATH_MAX = 64,   /* Bytes of a path with its NUL. */
    SETTING_TEXT_MAX = 1088, /* Of a value as text. */
};

/** All of struct options in the order of the file, without cluster.nodes. */
extern const struct setting settings[];
extern const size_t setting_count;
/** Of one entry of cluster.nodes: id, host, ports. */
extern const struct setting setting_of_nodes[];
extern const size_t setting_of_nodes_count;

/** The row of that path, NULL if there is none. */
const struct setting *setting_find(const struct setting *table, size_t count, const char *path,
                                   size_t size);

/** The first row whose path begins with this name and a dot; NULL if there is none. */
const struct setting *setting_section(const char *name, size_t size);

/** The path most like this one; NULL if none is like it. */
const char *setting_suggest(const char *path);

/**
 * Read `text` into its field of the struct at `base`.
 *
 * Errors  ERR_INVALID: "PATH: what is wrong; what is allowed"; the field is untouched
 */
MUST_CHECK enum err setting_parse(const struct setting *setting, void *base, const char *text,
                                  size_t size);

/** The field's value as setting_parse() reads it (texts without quotes), and its NUL. */
void setting_format(const struct setting *setting, const void *base, char *out, size_t room);

/** "64KiB to 1GiB": what numbers are allowed; "" for other kinds. */
void setting_range(const struct setting *setting, char *out, size_t room);

/** "a size (examples: 512KiB, 32MiB)": what the setting's kind is. Static. */
const char *setting_kind_name(enum setting_kind kind);

#endif
