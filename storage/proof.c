#include "storage/proof.h"

#include <stdlib.h>

#include "storage/marks.h"
#include "storage/segment_cursor.h"
#include "storage/segment_damage.h"

/* What one run works with. */
struct prover {
    const struct proof_job *job;
    struct tombstone *tombstones; /* Owned: all of the job. */
    uint32_t tombstone_count;
    const struct tombstone **some; /* Owned: those that may hide rows of the group. */
    uint32_t some_count;
    struct segment_cursor cursor;
    uint32_t groups; /* Opened. */
    uint32_t ids[SEGMENT_CHUNK_ROWS], counts[SEGMENT_CHUNK_ROWS];
};

void proof_job_free(struct proof_job *job)
{
    if (job == NULL)
        return;
    for (uint32_t i = 0; i < job->count; i++)
        segment_unref(job->items[i].segment);
    catalog_view_fini(&job->series);
    bytes_fini(&job->tombstones);
    free(job);
}

static enum err corrupt(const struct segment *segment, const char *what, uint32_t number)
{
    segment_blame(segment);
    return err_set(ERR_CORRUPT, "%s: its %s %u is not in the catalog", segment_path(segment), what,
                   number);
}

static bool has_times(const struct tombstone *tombstone, int64_t first_ns, int64_t last_ns)
{
    return tombstone->first_ns <= last_ns && tombstone->last_ns >= first_ns;
}

/* ---- One chunk ----------------------------------------------------------------------------- */

static bool hides(const struct prover *prover, const struct segment_chunk *chunk,
                  struct slice series_key)
{
    for (uint32_t i = 0; i < prover->some_count; i++)
        if (has_times(prover->some[i], chunk->time_min_ns, chunk->time_max_ns) &&
            tombstone_matches(prover->some[i], series_key))
            return true;
    return false;
}

static bool has_some_times(const struct prover *prover, const struct segment_chunk *chunk)
{
    for (uint32_t i = 0; i < prover->some_count; i++)
        if (has_times(prover->some[i], chunk->time_min_ns, chunk->time_max_ns))
            return true;
    return false;
}

static enum err ask_chunk(struct prover *prover, uint32_t at, bool *ret_hit)
{
    const struct segment_chunk *chunk = &prover->cursor.chunks[at];
    const struct catalog_view *series = &prover->job->series;
    char room[CATALOG_KEY_ROOM];
    enum err err;

    if (!has_some_times(prover, chunk))
        return ERR_OK;
    err = segment_cursor_runs(&prover->cursor, at, prover->ids, prover->counts);
    for (uint32_t run = 0; run < chunk->runs && err == ERR_OK && !*ret_hit; run++) {
        uint32_t id = prover->ids[run];
        struct slice key = {NULL, 0};

        if (id < series->count)
            key = catalog_view_key(series, id, room);
        if (key.size == 0)
            return corrupt(prover->cursor.segment, "series", id);
        *ret_hit = hides(prover, chunk, key);
    }
    return err;
}

/* ---- One segment --------------------------------------------------------------------------- */

/* The deletes that may hide rows of the group, as far as table and times tell. */
static enum err choose(struct prover *prover, const struct proof_item *item, uint32_t at)
{
    const struct segment_group *group = segment_group(item->segment, at);
    uint32_t table = segment_table(item->segment, at)->number;
    struct slice table_key;

    if (table >= prover->job->series.tables)
        return corrupt(item->segment, "table", table);
    table_key = catalog_view_table_key(&prover->job->series, table);
    prover->some_count = 0;
    for (uint32_t i = 0; i < prover->tombstone_count; i++) {
        const struct tombstone *tombstone = &prover->tombstones[i];

        if (tombstone->index > item->after &&
            has_times(tombstone, group->time_min_ns, group->time_max_ns) &&
            marks_compare(tombstone->table_key, table_key) == 0)
            prover->some[prover->some_count++] = tombstone;
    }
    return ERR_OK;
}

static enum err ask_group(struct prover *prover, const struct proof_item *item, uint32_t at,
                          bool *ret_hit)
{
    enum err err = choose(prover, item, at);

    if (err != ERR_OK || prover->some_count == 0)
        return err;
    if (prover->job->cancel != NULL &&
        atomic_load_explicit(prover->job->cancel, memory_order_relaxed))
        return err_set(ERR_CANCELED, "the node stops");
    prover->groups++;
    err = segment_cursor_open(&prover->cursor, item->segment, at);
    for (uint32_t chunk = 0; err == ERR_OK && !*ret_hit && chunk < prover->cursor.group->chunks;
         chunk++)
        err = ask_chunk(prover, chunk, ret_hit);
    return err;
}

static enum err ask(struct prover *prover, struct proof_item *item)
{
    bool hit = false;
    enum err err = ERR_OK;

    for (uint32_t i = 0; err == ERR_OK && !hit && i < segment_groups(item->segment); i++)
        err = ask_group(prover, item, i, &hit);
    if (err != ERR_OK)
        return err;
    item->asked = true;
    item->hit = hit;
    return ERR_OK;
}

enum err proof_run(struct proof_job *job)
{
    struct prover *prover = calloc(1, sizeof *prover);
    enum err err = prover == NULL ? err_set(ERR_NO_MEMORY, "a proof") : ERR_OK;

    if (err == ERR_OK) {
        prover->job = job;
        err = tombstones_parse(&job->tombstones, job->upto, &prover->tombstones,
                               &prover->tombstone_count);
    }
    if (err == ERR_OK) {
        prover->some = malloc(((size_t)prover->tombstone_count + 1) * sizeof *prover->some);
        if (prover->some == NULL)
            err = err_set(ERR_NO_MEMORY, "%u deletes", prover->tombstone_count);
    }
    for (uint32_t i = 0; err == ERR_OK && i < job->count && prover->groups < PROOF_GROUPS; i++)
        err = ask(prover, &job->items[i]);
    if (prover != NULL) {
        segment_cursor_fini(&prover->cursor);
        free(prover->tombstones);
        free(prover->some);
        free(prover);
    }
    return err == ERR_OK ? ERR_OK
                         : err_wrap(err, "shard %u: what deletes hide of segments", job->shard);
}
