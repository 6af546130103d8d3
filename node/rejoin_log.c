/*
 * rejoin_log.c - the directory of a log that is damaged, or should not be there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/rejoin_internal.h"
#include "storage/base/log_line.h"

#define LOG_DIR     "log"
#define DAMAGED_DIR "log.damaged-"

enum { PATH_SIZE = 4096 };

struct names {
    const char *begin, *end;
    char (*found)[64]; /* Owned. */
    uint32_t count;
    bool no_memory;
};

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;
    size_t size = strlen(name), end = strlen(names->end);
    char(*grown)[64];

    if (strncmp(name, names->begin, strlen(names->begin)) != 0 || size < end ||
        strcmp(name + size - end, names->end) != 0 || size >= sizeof names->found[0])
        return;
    grown = realloc(names->found, (names->count + 1) * sizeof *grown);
    if (grown == NULL) {
        names->no_memory = true;
        return;
    }
    names->found = grown;
    (void)snprintf(names->found[names->count++], sizeof names->found[0], "%s", name);
}

/* What is in a directory, by beginning and end of its name. A missing one is empty. */
static enum err list_names(const struct node *node, const char *dir, const char *begin,
                           const char *end, struct names *ret_names)
{
    enum err err;

    *ret_names = (struct names){.begin = begin, .end = end};
    err = node->disk->list(node->disk->ctx, dir, note_name, ret_names);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err == ERR_OK && ret_names->no_memory)
        err = err_set(ERR_NO_MEMORY, "the names in %s", dir);
    if (err != ERR_OK) {
        free(ret_names->found);
        ret_names->found = NULL;
    }
    return err;
}

static enum err remove_dir(const struct node *node, const char *dir)
{
    const struct disk *disk = node->disk;
    struct names names;
    enum err err = list_names(node, dir, "", "", &names);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < names.count && err == ERR_OK; i++) {
        char path[PATH_SIZE];

        if (strcmp(names.found[i], ".") == 0 || strcmp(names.found[i], "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, names.found[i]);
        err = disk->remove(disk->ctx, path);
    }
    free(names.found);
    if (err == ERR_OK && rmdir(dir) != 0)
        err = err_set(ERR_IO, "%s: removing it: %s; remove it by hand", dir, strerror(errno));
    return err;
}

/* Nobody needs what was set aside: all that this node may have promised is here again. */
void rejoin_remove_logs(const struct node *node)
{
    struct names names;
    enum err err = list_names(node, node->options.node.data_dir, DAMAGED_DIR, "", &names);

    for (uint32_t i = 0; err == ERR_OK && i < names.count; i++) {
        char path[PATH_SIZE];

        (void)snprintf(path, sizeof path, "%s/%s", node->options.node.data_dir, names.found[i]);
        err = remove_dir(node, path);
    }
    if (err != ERR_OK)
        log_warn("the damaged log stays: %s", err_detail());
    free(names.found);
}

enum err rejoin_check_no_log(const struct node *node)
{
    char dir[PATH_SIZE];
    struct names names;
    enum err err;

    (void)snprintf(dir, sizeof dir, "%s/" LOG_DIR, node->options.node.data_dir);
    err = list_names(node, dir, "", ".log", &names);
    if (err != ERR_OK)
        return err;
    free(names.found);
    if (names.count > 0)
        return err_set(ERR_INVALID,
                       "%s has a log: this node knows what it has promised, start it without "
                       "--rejoin",
                       dir);
    if (node->options.cluster.node_count == 1)
        return err_set(ERR_INVALID, "--rejoin: this site has no other node to begin again from");
    return ERR_OK;
}

enum err rejoin_set_log_aside(const struct node *node)
{
    const struct disk *disk = node->disk;
    const char *data = node->options.node.data_dir;
    char from[PATH_SIZE], to[PATH_SIZE];
    enum err err;

    (void)snprintf(from, sizeof from, "%s/" LOG_DIR, data);
    (void)snprintf(to, sizeof to, "%s/" DAMAGED_DIR "%" PRIu32, data, node->epoch);
    err = disk->rename(disk->ctx, from, to);
    if (err == ERR_OK)
        err = disk->sync_dir(disk->ctx, data);
    if (err == ERR_OK)
        log_error("the log is set aside as %s, and all groups of this node begin again from the "
                  "other nodes",
                  to);
    return err;
}
