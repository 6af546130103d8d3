#include "storage/scan_hidden.h"

#include <stdlib.h>
#include <string.h>

static void add(struct scan_decode *decode, struct scan_run *runs, uint32_t *count, uint32_t slot,
                uint32_t start, uint32_t rows)
{
    const int64_t *times_ns = decode->times_ns + start;

    if (rows == 0)
        return;
    runs[(*count)++] = (struct scan_run){slot, start, rows, times_ns[0], times_ns[rows - 1]};
    decode->kept += rows;
}

/* Of each run what stands before and behind the hidden time; of series that are not meant, all. */
static enum err cut(struct scan_decode *decode, const struct tombstone *tombstone,
                    struct scan_run *runs)
{
    uint32_t count = 0;

    decode->kept = 0;
    for (uint32_t i = 0; i < decode->run_count; i++) {
        struct scan_run run = decode->runs[i];
        const int64_t *times_ns = decode->times_ns + run.start;
        uint32_t id = decode->match->ids[decode->region.lo + run.slot];
        uint32_t first = run.rows, behind = run.rows;
        char room[CATALOG_KEY_ROOM];
        struct slice key = catalog_view_key(decode->snapshot->series, id, room);

        if (key.size == 0)
            return err_set(ERR_CORRUPT, "series %u has no key", id);
        if (tombstone_matches(tombstone, key)) {
            first = scan_decode_find_time(times_ns, run.rows, tombstone->first_ns);
            if (tombstone->last_ns < INT64_MAX)
                behind = scan_decode_find_time(times_ns, run.rows, tombstone->last_ns + 1);
        }
        if (first == behind) /* Nothing of it. */
            first = behind = run.rows;
        add(decode, runs, &count, run.slot, run.start, first);
        add(decode, runs, &count, run.slot, run.start + behind, run.rows - behind);
    }
    memcpy(decode->runs, runs, count * sizeof *runs);
    decode->run_count = count;
    return ERR_OK;
}

static const struct tombstone *next(const struct scan_decode *decode, uint32_t *at)
{
    const struct section *section = &decode->reader.section;

    return snapshot_hides(decode->snapshot, decode->source, section->table_key,
                          section->time_min_ns, section->time_max_ns, at);
}

bool scan_hidden_some(const struct scan_decode *decode)
{
    uint32_t at = 0;

    return next(decode, &at) != NULL;
}

enum err scan_hidden_cut(struct scan_decode *decode)
{
    const struct tombstone *tombstone;
    uint32_t at = 0;

    while ((tombstone = next(decode, &at)) != NULL) {
        struct scan_run *runs = malloc((2 * (size_t)decode->run_count + 1) * sizeof *runs);
        enum err err = runs == NULL ? err_set(ERR_NO_MEMORY, "scan: no memory to leave rows out")
                                    : scan_decode_times(decode);

        if (err == ERR_OK)
            err = cut(decode, tombstone, runs);
        free(runs);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
