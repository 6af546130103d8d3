#include "storage/scan_tangle.h"

#include <stdlib.h>

/* ---- Sources that are alone ---------------------------------------------------------------- */

/* A block, or what of a segment lies in the region: sources `first` to end - 1. */
struct span {
    int64_t from_ns, last_ns;
    uint32_t first, end;
};

static int compare_spans(const void *a, const void *b)
{
    const struct span *left = a, *right = b;

    return (left->from_ns > right->from_ns) - (left->from_ns < right->from_ns);
}

static uint32_t find_spans(const struct scan_decode *decode, const struct scan_region *region,
                           struct span *spans)
{
    const struct snapshot *snapshot = decode->snapshot;
    uint32_t count = 0;

    for (uint32_t i = 0; i < snapshot->source_count; i++) {
        const struct snapshot_source *source = &snapshot->sources[i];
        struct span span = {source->time_min_ns, source->time_max_ns, i, i + 1};
        struct span *before = count > 0 ? &spans[count - 1] : NULL;

        if (!scan_decode_overlaps(decode, region, source))
            continue;
        span.from_ns = span.from_ns > region->from_ns ? span.from_ns : region->from_ns;
        span.last_ns = span.last_ns < region->last_ns ? span.last_ns : region->last_ns;
        if (before == NULL || source->segment == NULL ||
            snapshot->sources[before->first].segment != source->segment) {
            spans[count++] = span;
            continue;
        }
        before->from_ns = span.from_ns < before->from_ns ? span.from_ns : before->from_ns;
        before->last_ns = span.last_ns > before->last_ns ? span.last_ns : before->last_ns;
        before->end = span.end;
    }
    return count;
}

/* In order of their begin, a span is alone if all before it have ended, and the next begins behind
 * its end. A head block is never alone: the same row may stand in it twice. */
static enum err find_alone(struct scan_tangle *tangle, const struct scan_decode *decode,
                           const struct scan_region *region)
{
    size_t sources = decode->snapshot->source_count;
    struct span *spans = malloc((sources + 1) * sizeof *spans);
    uint32_t count;
    int64_t latest_ns = INT64_MIN;

    tangle->alone = calloc(sources + 1, sizeof *tangle->alone);
    if (spans == NULL || tangle->alone == NULL) {
        free(spans);
        return err_set(ERR_NO_MEMORY, "scan: no memory for the times of %zu sources", sources);
    }
    count = find_spans(decode, region, spans);
    qsort(spans, count, sizeof *spans, compare_spans);
    for (uint32_t i = 0; i < count; i++) {
        const struct span *span = &spans[i];
        bool alone = decode->snapshot->sources[span->first].segment != NULL &&
                     (i == 0 || latest_ns < span->from_ns) &&
                     (i + 1 == count || spans[i + 1].from_ns > span->last_ns);

        for (uint32_t at = span->first; at < span->end; at++)
            tangle->alone[at] = alone;
        latest_ns = span->last_ns > latest_ns ? span->last_ns : latest_ns;
    }
    free(spans);
    return ERR_OK;
}

/* ---- Series that are tangled --------------------------------------------------------------- */

/* Called by scan_decode_region() for each section. */
static enum err note_runs(void *arg, struct scan_decode *decode)
{
    struct scan_tangle *tangle = arg;
    enum err err = scan_decode_runs(decode);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < decode->run_count; i++) {
        const struct scan_run *run = &decode->runs[i];

        if (tangle->seen[run->slot] && run->first_ns <= tangle->latest_ns[run->slot] &&
            !tangle->tangled[run->slot]) {
            tangle->tangled[run->slot] = true;
            tangle->count++;
        }
        tangle->seen[run->slot] = true;
        tangle->latest_ns[run->slot] = run->last_ns;
    }
    return ERR_OK;
}

enum err scan_tangle_find(struct scan_tangle *tangle, struct scan_decode *decode,
                          const struct scan_region *whole, uint64_t budget)
{
    size_t slots = whole->hi - whole->lo;
    struct scan_region region = *whole;
    enum err err;

    *tangle = (struct scan_tangle){.budget = budget};
    if (slots * (sizeof *tangle->latest_ns + 2 * sizeof(bool)) > budget) {
        tangle->full = true;
        return ERR_OK;
    }
    tangle->latest_ns = malloc(slots * sizeof *tangle->latest_ns);
    tangle->seen = calloc(slots, sizeof *tangle->seen);
    tangle->tangled = calloc(slots, sizeof *tangle->tangled);
    if (tangle->latest_ns == NULL || tangle->seen == NULL || tangle->tangled == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for the times of %zu series", slots);
    err = find_alone(tangle, decode, whole);
    region.pass = tangle->alone;
    return err == ERR_OK ? scan_decode_region(decode, &region, note_runs, tangle) : err;
}

void scan_tangle_fini(struct scan_tangle *tangle)
{
    free(tangle->latest_ns);
    free(tangle->seen);
    free(tangle->tangled);
    free(tangle->alone);
    *tangle = (struct scan_tangle){0};
}
