/*
 * cli_segment.h - what the parts of `millrace segment` share: options, and opening a file.
 *
 *     cli_segment.c        the command line, verify
 *     cli_segment_info.c   info
 *     cli_segment_cat.c    cat and salvage: which rows (cli_row.h: how one is printed)
 *
 * Files are opened on a dry disk: nothing is ever changed.
 */
#ifndef CLIENT_CLI_SEGMENT_H
#define CLIENT_CLI_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/cli_row.h"
#include "storage/catalog_folder.h"
#include "storage/segment.h"

struct cli_segment_options {
    const struct disk *disk;
    const char *command; /* "segment cat", for messages. */
    enum cli_row_format format;
    const char *table, *database; /* NULL: all. */
    int64_t from_ns, to_ns;       /* Rows with from <= time < to; to INT64_MAX: the end. */
    uint64_t limit;               /* Rows still to be printed. */
    const char *catalog;          /* Folder; NULL: the file's own. */
    const char *out;              /* NULL: standard output. */
    bool json, salvage;
};

/** Open a file; says what is wrong and returns false. */
bool cli_segment_open(const struct cli_segment_options *options, const char *path,
                      uint32_t *ret_shard, struct segment **ret_segment);

/** The catalog that belongs to a file. False: there is none, series have numbers only (why is
 * said, unless there is just no manifest). `folder` is zeroed then. */
bool cli_segment_catalog(const struct cli_segment_options *options, const char *path,
                         struct catalog_folder *ret_folder);

/** "db/table", or "table_3" if the catalog does not know it. */
void cli_segment_table_name(const struct catalog_folder *folder, uint32_t table, char *room,
                            size_t size);

/** Print what a file is. JSON objects are parts of a list: `first` has no comma before it. Returns
 * an exit code. */
int cli_segment_info(const struct cli_segment_options *options, const char *path, bool first);

/** Print rows of a file. Salvage: what is damaged is left out and named. Returns an exit code. */
int cli_segment_cat(struct cli_segment_options *options, const char *path, FILE *out);

#endif
