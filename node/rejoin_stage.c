/*
 * rejoin_stage.c - get one group's state from the other nodes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/meta.h"
#include "node/rejoin_internal.h"
#include "node/shard.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/fault.h"
#include "storage/base/log_line.h"
#include "storage/manifest.h"

enum {
    PATH_SIZE = 4096,
    SNAPSHOT_MAX = 512 * 1024 * 1024, /* Bytes: bounds what another node can make us allocate. */
};

static_assert((int)FETCH_CONFIGURATION_MAX == (int)REJOIN_CONFIGURATION_MAX,
              "a configuration is kept as it was sent");

/* ---- Who leads ------------------------------------------------------------------------------ */

struct poll {
    uint64_t leader;          /* The server. */
    struct fetch_state state; /* Of it. */
};

static uint32_t shard_of(uint32_t group)
{
    return group == 0 ? FETCH_META : group - 1;
}

static enum err ask_state(struct rejoin *rejoin, uint32_t group, uint64_t server,
                          struct fetch_state *ret_state)
{
    struct fetch_piece piece = {.shard = shard_of(group),
                                .kind = FETCH_KIND_STATE,
                                .number = 1,
                                .size = FETCH_STATE_SIZE,
                                .length = FETCH_STATE_SIZE};
    struct buf *bytes = NULL;
    enum err err =
        fetcher_piece(&rejoin->fetcher, server, &piece, rejoin->groups[group].tries, &bytes);

    if (err == ERR_OK)
        err = fetch_get_state(bytes->bytes, bytes->size, ret_state);
    buf_unref(bytes);
    return err;
}

/* Ask all others. One that has forgotten its own promises does not count. */
static enum err poll(struct rejoin *rejoin, uint32_t group, struct poll *ret_poll)
{
    const struct node *node = rejoin->node;
    bool lost = rejoin->groups[group].began == REJOIN_LOST;
    uint64_t highest = rejoin->groups[group].own_term;
    struct poll poll = {0};

    for (uint32_t i = 0; i < node->options.cluster.node_count; i++) {
        uint64_t server = node->options.cluster.nodes[i].id;
        struct fetch_state state;
        enum err err;

        if (server == node->server)
            continue;
        err = ask_state(rejoin, group, server, &state);
        if (err == ERR_CANCELED)
            return err;
        if (err == ERR_OK && state.silent)
            err = err_set(ERR_UNAVAILABLE, "it has lost its own log");
        if (err != ERR_OK && lost)
            return err_wrap(
                err, "node %" PRIu64 " has to say which term it is in, as all others have", server);
        if (err != ERR_OK)
            continue;
        if (state.leads && state.term > poll.state.term)
            poll = (struct poll){server, state};
        highest = state.term > highest ? state.term : highest;
    }
    if (poll.leader == 0 || poll.state.term < highest)
        return err_set(ERR_UNAVAILABLE, "no node leads in term %" PRIu64, highest);
    *ret_poll = poll;
    return ERR_OK;
}

bool rejoin_is_behind(struct rejoin *rejoin, uint32_t group, uint64_t last)
{
    struct poll who;
    bool behind = poll(rejoin, group, &who) == ERR_OK && last + 1 < who.state.first;

    if (behind)
        log_warn("group=%" PRIu32 " has entries up to %" PRIu64 ", and node %" PRIu64
                 ", which leads, none before %" PRIu64 " any more",
                 group, last, who.leader, who.state.first);
    return behind;
}

/* ---- A shard's files ------------------------------------------------------------------------ */

static enum err rename_to(const struct node *node, const char *from, const char *to)
{
    return FAULT("rejoin.file") ? err_set(ERR_IO, "injected before %s", to)
                                : node->disk->rename(node->disk->ctx, from, to);
}

/* From the leader, or whoever else has it. */
static enum err fetch_file(struct rejoin *rejoin, uint32_t shard, const struct store_file *file,
                           uint64_t leader, const char *path)
{
    const struct node *node = rejoin->node;
    uint32_t tries = rejoin->groups[shard + 1].tries;
    char aside[PATH_SIZE + 16];
    enum err err;

    (void)snprintf(aside, sizeof aside, "%s.mend.tmp", path);
    err = fetcher_file(&rejoin->fetcher, leader, shard, file, tries, node->disk, aside);
    for (uint32_t i = 0; i < node->options.cluster.node_count && err != ERR_OK; i++) {
        uint64_t server = node->options.cluster.nodes[i].id;

        if (err == ERR_CANCELED || err == ERR_DISK_FULL)
            break;
        if (server != node->server && server != leader)
            err = fetcher_file(&rejoin->fetcher, server, shard, file, tries, node->disk, aside);
    }
    return err == ERR_OK ? rename_to(node, aside, path) : err;
}

static bool was_staged(const struct rejoin_group *group, const struct store_file *file)
{
    for (uint32_t i = 0; i < group->file_count; i++)
        if (store_file_is(&group->files[i], file))
            return true;
    return false;
}

/* The node's own manifest names it, an earlier round has got it, or an earlier start: that is to be
 * seen. Its own are for the scrub to verify. */
static bool is_here(const struct rejoin *rejoin, uint32_t shard, struct store *store,
                    const struct store_file *file, const char *path)
{
    return store_has_file(store, file) || was_staged(&rejoin->groups[shard + 1], file) ||
           store_verify_file(rejoin->node->disk, path, shard, file) == ERR_OK;
}

static enum err fetch_files(struct rejoin *rejoin, uint32_t shard, struct store *store,
                            const struct store_file *files, uint32_t count, uint64_t leader)
{
    uint32_t fetched = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        char name[STORE_FILE_NAME_SIZE], path[PATH_SIZE];

        store_file_name(&files[i], name);
        (void)snprintf(path, sizeof path, "%s/%s", store_dir(store), name);
        if (is_here(rejoin, shard, store, &files[i], path))
            continue;
        rejoin_say(rejoin, shard + 1, "file %" PRIu32 " of %" PRIu32 ": %s, %" PRIu64 " bytes",
                   i + 1, count, name, files[i].size);
        err = fetch_file(rejoin, shard, &files[i], leader, path);
        fetched++;
    }
    if (err == ERR_OK && fetched > 0)
        log_info("shard=%" PRIu32 " has fetched %" PRIu32 " of %" PRIu32 " files", shard, fetched,
                 count);
    return err;
}

/* From here on the disk may have another state than the one that was staged, or that the log goes
 * with. */
static void touch(struct rejoin_group *group)
{
    bytes_fini(&group->staged.configuration);
    group->staged = (struct rejoin_entry){0};
    group->touched = true;
}

/* All that the manifest names, and then the manifest. */
static enum err fetch_state(struct rejoin *rejoin, uint32_t shard, struct store *store,
                            const struct manifest *manifest, uint64_t leader)
{
    const struct disk *disk = rejoin->node->disk;
    struct rejoin_group *group = &rejoin->groups[shard + 1];
    struct store_file *files = NULL;
    uint32_t count = 0;
    enum err err = store_files_of(manifest, &files, &count);

    if (err == ERR_OK)
        err = fetch_files(rejoin, shard, store, files, count, leader);
    if (err == ERR_OK) /* Their names, before something counts on them. */
        err = disk->sync_dir(disk->ctx, store_dir(store));
    if (err == ERR_OK && FAULT("rejoin.manifest"))
        err = err_set(ERR_IO, "injected before the manifest");
    if (err == ERR_OK) {
        touch(group);
        err = manifest_save(manifest, disk, store_dir(store));
    }
    if (err != ERR_OK) {
        free(files);
        return err;
    }
    free(group->files);
    group->files = files;
    group->file_count = count;
    return ERR_OK;
}

static enum err make_dir(const struct node *node, const char *dir)
{
    enum err err = node->disk->make_dir(node->disk->ctx, dir);

    return err == ERR_OK ? node->disk->sync_dir(node->disk->ctx, node->options.node.data_dir) : err;
}

static enum err install_shard(struct rejoin *rejoin, uint32_t shard, struct slice state,
                              uint64_t index, uint64_t leader)
{
    struct node *node = rejoin->node;
    struct store *store = node->workers[node_owner(node, shard + 1)].groups[shard + 1]->store;
    struct manifest manifest = {0};
    enum err err = manifest_decode(state.data, state.size, &manifest);

    if (err != ERR_OK)
        return err;
    /* One that was never sealed is offered as of entry 1. */
    if (manifest.shard != shard ||
        (manifest.sealed_index != index && (manifest.sealed_index != 0 || index != 1)))
        err = err_set(ERR_INVALID,
                      "a manifest of shard %" PRIu32 " up to entry %" PRIu64
                      ", not of shard %" PRIu32 " up to %" PRIu64,
                      manifest.shard, manifest.sealed_index, shard, index);
    if (err == ERR_OK)
        err = make_dir(node, store_dir(store));
    if (err == ERR_OK)
        err = fetch_state(rejoin, shard, store, &manifest, leader);
    manifest_fini(&manifest);
    return err;
}

static enum err install_meta(struct rejoin *rejoin, struct slice state, uint64_t index)
{
    touch(&rejoin->groups[0]);
    return meta_install(rejoin->node, state, index);
}

/* ---- A group -------------------------------------------------------------------------------- */

struct group_install rejoin_install_of(const struct rejoin_entry *entry)
{
    return (struct group_install){
        .index = entry->index,
        .term = entry->term,
        .configuration_index = entry->configuration_index,
        .configuration = entry->configuration.data,
        .configuration_size = (uint32_t)entry->configuration.size,
        .until = entry->until,
        .until_term = entry->until_term,
    };
}

/* What is in the list, and not to be begun with, would keep the node from starting. */
static enum err check_entry(const struct rejoin_entry *entry)
{
    const struct group_install install = rejoin_install_of(entry);

    return entry->configuration.failed ? err_set(ERR_NO_MEMORY, "a configuration")
                                       : group_check_install(&install);
}

static enum err take_snapshot(struct rejoin *rejoin, uint32_t number, const struct poll *poll,
                              const uint8_t *bytes)
{
    struct rejoin_entry entry = {
        .state = REJOIN_READY, .until = poll->state.last, .until_term = poll->state.term};
    struct fetch_snapshot snapshot;
    enum err err = fetch_get_snapshot(bytes, poll->state.snapshot_size, &snapshot);

    if (err != ERR_OK)
        return err;
    if (snapshot.index < rejoin->groups[number].own_snapshot)
        return err_set(ERR_UNAVAILABLE,
                       "its state ends at entry %" PRIu64 ", our log begins behind %" PRIu64
                       ": it has to seal first",
                       snapshot.index, rejoin->groups[number].own_snapshot);
    entry.index = snapshot.index;
    entry.term = snapshot.term;
    entry.configuration_index = snapshot.configuration_index;
    bytes_put(&entry.configuration, snapshot.configuration.data, snapshot.configuration.size);
    err = check_entry(&entry);
    if (err == ERR_OK)
        err = number == 0
                  ? install_meta(rejoin, snapshot.state, snapshot.index)
                  : install_shard(rejoin, number - 1, snapshot.state, snapshot.index, poll->leader);
    if (err != ERR_OK) {
        bytes_fini(&entry.configuration);
        return err;
    }
    rejoin->groups[number].staged = entry;
    return ERR_OK;
}

enum err rejoin_stage(struct rejoin *rejoin, uint32_t group)
{
    struct fetch_piece whole = {.shard = shard_of(group), .kind = FETCH_KIND_SNAPSHOT};
    struct poll who;
    uint8_t *bytes;
    enum err err = poll(rejoin, group, &who);

    if (err != ERR_OK)
        return err;
    atomic_store_explicit(&rejoin->groups[group].leader, who.leader, memory_order_relaxed);
    rejoin->groups[group].leader_ms = worker_now_ms();
    if (rejoin_may_go_on(&rejoin->groups[group]) &&
        rejoin->groups[group].own_last + 1 >= who.state.first)
        return err_set(ERR_END, "node %" PRIu64 " has entries from %" PRIu64 " on", who.leader,
                       who.state.first);
    whole.size = who.state.snapshot_size;
    whole.hash = who.state.snapshot_hash;
    if (whole.size == 0 || whole.size > SNAPSHOT_MAX)
        return err_set(ERR_UNAVAILABLE, "node %" PRIu64 " offers %" PRIu64 " bytes of its state",
                       who.leader, whole.size);
    bytes = malloc(whole.size);
    if (bytes == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu64 " bytes of a state", whole.size);
    err = fetcher_read(&rejoin->fetcher, who.leader, &whole, rejoin->groups[group].tries, bytes);
    if (err == ERR_OK && key_hash(bytes, whole.size) != whole.hash)
        err = err_set(ERR_CORRUPT, "%" PRIu64 " bytes of a state with a wrong hash", whole.size);
    if (err == ERR_OK)
        err = take_snapshot(rejoin, group, &who, bytes);
    free(bytes);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "from node %" PRIu64, who.leader);
}
