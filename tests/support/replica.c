#include "tests/support/replica.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/store_compact.h"
#include "storage/store_proof.h"

void replica_init(struct replica *replica)
{
    *replica = (struct replica){.disk = mem_disk_new(),
                                .options = {.dir = "data",
                                            .series_max = 1 << 20,
                                            .head_bytes_max = 64 << 20,
                                            .seal_bytes = 16 << 20,
                                            .compact_memory = 16 << 20,
                                            .producers_max = 64}};
    replica->options.disk = mem_disk_table(replica->disk);
}

void replica_fini(struct replica *replica)
{
    replica_close(replica);
    for (size_t i = 0; i < replica->log_count; i++)
        buf_unref(replica->log[i]);
    free(replica->log);
    mem_disk_free(replica->disk);
}

void replica_close(struct replica *replica)
{
    if (replica->store != NULL)
        store_close(replica->store);
    replica->store = NULL;
}

static enum err apply_at(struct replica *replica, uint64_t index, enum store_outcome *ret_outcome)
{
    struct seal_job *job = NULL;
    enum err err = store_apply(replica->store, index, replica->log[index - 1], ret_outcome, &job);

    if (err == ERR_OK && job != NULL) {
        err = seal_run(job);
        store_seal_done(replica->store, job, err != ERR_OK);
    }
    return err;
}

enum err replica_open(struct replica *replica)
{
    enum err err = store_open(&replica->options, &replica->store);

    for (uint64_t index = 0; err == ERR_OK && index < replica->log_count; index++) {
        enum store_outcome outcome;

        if (index >= store_applied_index(replica->store))
            err = apply_at(replica, index + 1, &outcome);
    }
    return err;
}

enum err replica_apply(struct replica *replica, struct buf *entry, enum store_outcome *ret_outcome)
{
    replica->log = realloc(replica->log, (replica->log_count + 1) * sizeof(struct buf *));
    CHECK(replica->log != NULL);
    replica->log[replica->log_count++] = entry;
    return apply_at(replica, replica->log_count, ret_outcome);
}

void replica_write(struct replica *replica, const struct entries_from *from,
                   const struct entries_value *values, size_t count)
{
    struct buf *entry = entries_block(from, values, count);
    enum store_outcome outcome = STORE_NOTHING;
    bool duplicate = true;
    enum err err = store_admit(replica->store, entry, 1, &duplicate);

    if (err == ERR_OK && !duplicate)
        err = replica_apply(replica, entry, &outcome);
    if (err != ERR_OK || outcome != STORE_APPLIED) {
        (void)fprintf(stderr, "replica_write: %s: %s\n", err_name(err), err_detail());
        abort();
    }
}

enum err replica_seal(struct replica *replica)
{
    enum store_outcome outcome;

    return replica_apply(replica, entries_seal(replica->options.shard, replica->log_count),
                         &outcome);
}

enum err replica_compact(struct replica *replica)
{
    struct store_stats stats;
    enum err err = ERR_OK;

    for (store_stats(replica->store, &stats); err == ERR_OK && stats.compactions > 0;
         store_stats(replica->store, &stats)) {
        struct compact_job *job;

        err = store_compact_begin(replica->store, &job);
        if (err != ERR_OK)
            break;
        err = compact_run(job);
        store_compact_ready(replica->store, job);
        if (err == ERR_OK)
            err = compact_adopt(job);
        store_compact_done(replica->store, job, err != ERR_OK);
    }
    return err;
}

enum err replica_prove(struct replica *replica, uint64_t erase_index)
{
    struct proof_job *job;
    enum err err = store_proof_begin(replica->store, erase_index, &job);

    if (err != ERR_OK || job == NULL)
        return err;
    err = proof_run(job);
    store_proof_done(replica->store, job, err != ERR_OK);
    return err;
}

enum err replica_read(struct replica *replica, struct contents *ret_contents)
{
    struct snapshot *snapshot = store_snapshot(replica->store);
    enum err err;

    CHECK(snapshot != NULL);
    err = contents_read(snapshot, ret_contents);
    snapshot_free(snapshot);
    return err;
}
