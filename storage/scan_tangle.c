#include "storage/scan_tangle.h"

#include <stdlib.h>

enum { RUNS_FIRST = 1024 };

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

/* ---- Series out of order ------------------------------------------------------------------- */

/* Called by scan_decode_region() for each section. */
static enum err look_at_order(void *arg, struct scan_decode *decode)
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

/* ---- Runs that share time ------------------------------------------------------------------- */

struct scan_tangle_run {
    int64_t first_ns, last_ns;
    uint32_t slot;
};

/* Note a run; once they are too many, none is known any more. */
static void note_run(struct scan_tangle *tangle, const struct scan_run *run)
{
    if (tangle->run_count == tangle->run_capacity) {
        size_t capacity = tangle->run_capacity == 0 ? RUNS_FIRST : 2 * tangle->run_capacity;
        struct scan_tangle_run *runs = NULL;

        capacity = capacity < tangle->run_max ? capacity : tangle->run_max;
        if (capacity > tangle->run_count)
            runs = realloc(tangle->runs, capacity * sizeof *runs);
        if (runs == NULL) {
            free(tangle->runs);
            tangle->runs = NULL;
            tangle->run_count = tangle->run_capacity = tangle->run_max = 0;
            return;
        }
        tangle->runs = runs;
        tangle->run_capacity = capacity;
    }
    tangle->runs[tangle->run_count++] =
        (struct scan_tangle_run){run->first_ns, run->last_ns, run->slot};
}

/* Called by scan_decode_region() for each section. */
static enum err note_runs(void *arg, struct scan_decode *decode)
{
    struct scan_tangle *tangle = arg;
    enum err err = scan_decode_runs(decode);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < decode->run_count && tangle->run_max > 0; i++)
        note_run(tangle, &decode->runs[i]);
    return ERR_OK;
}

static int compare_runs(const void *a, const void *b)
{
    const struct scan_tangle_run *left = a, *right = b;

    if (left->slot != right->slot)
        return left->slot < right->slot ? -1 : 1;
    return (left->first_ns > right->first_ns) - (left->first_ns < right->first_ns);
}

/* Put in place of the runs what each has in common with those before it of its series. */
static void keep_shared(struct scan_tangle *tangle)
{
    struct scan_tangle_run *runs = tangle->runs;
    int64_t latest_ns = INT64_MIN; /* Of the runs before it. */
    uint32_t slot = UINT32_MAX;
    size_t shared = 0;

    qsort(runs, tangle->run_count, sizeof *runs, compare_runs);
    for (size_t i = 0; i < tangle->run_count; i++) {
        const struct scan_tangle_run run = runs[i];

        if (run.slot == slot && run.first_ns <= latest_ns) {
            runs[shared] = run;
            if (latest_ns < run.last_ns)
                runs[shared].last_ns = latest_ns;
            shared++;
        }
        if (run.slot != slot || run.last_ns > latest_ns)
            latest_ns = run.last_ns;
        slot = run.slot;
    }
    tangle->run_count = shared;
}

/* Add a span that begins no earlier than those before it. */
static void add_span(struct scan_tangle *tangle, int64_t from_ns, int64_t last_ns)
{
    struct scan_span *spans = tangle->spans;
    uint32_t count = tangle->span_count;

    if (count > 0 && from_ns <= spans[count - 1].last_ns) {
        if (last_ns > spans[count - 1].last_ns)
            spans[count - 1].last_ns = last_ns;
        return;
    }
    if (count == SCAN_SPANS_MAX) { /* Two neighbours become one. */
        count /= 2;
        for (uint32_t i = 0; i < count; i++)
            spans[i] = (struct scan_span){spans[2 * i].from_ns, spans[2 * i + 1].last_ns};
    }
    spans[count] = (struct scan_span){from_ns, last_ns};
    tangle->span_count = count + 1;
}

static int compare_first(const void *a, const void *b)
{
    const struct scan_tangle_run *left = a, *right = b;

    return (left->first_ns > right->first_ns) - (left->first_ns < right->first_ns);
}

/* The runs of all series out of order are known: tell what is tangled, and when. */
static void compare_all(struct scan_tangle *tangle, size_t slots)
{
    keep_shared(tangle);
    for (size_t slot = 0; slot < slots; slot++)
        tangle->tangled[slot] = false;
    tangle->count = 0;
    for (size_t i = 0; i < tangle->run_count; i++) {
        bool *tangled = &tangle->tangled[tangle->runs[i].slot];

        tangle->count += !*tangled;
        *tangled = true;
    }
    qsort(tangle->runs, tangle->run_count, sizeof *tangle->runs, compare_first);
    for (size_t i = 0; i < tangle->run_count; i++)
        add_span(tangle, tangle->runs[i].first_ns, tangle->runs[i].last_ns);
}

/* Series were found out of order: which of them are tangled, and when? */
static enum err find_shared(struct scan_tangle *tangle, struct scan_decode *decode,
                            const struct scan_region *whole, uint64_t budget)
{
    struct scan_region region = *whole;
    enum err err;

    tangle->run_max = budget / (2 * sizeof *tangle->runs); /* qsort() may take as much again. */
    region.only = tangle->tangled;
    region.want = true;
    err = scan_decode_region(decode, &region, note_runs, tangle);
    if (err == ERR_OK && tangle->runs != NULL)
        compare_all(tangle, whole->hi - whole->lo);
    else if (err == ERR_OK)
        add_span(tangle, whole->from_ns, whole->last_ns);
    free(tangle->runs);
    tangle->runs = NULL;
    return err;
}

/* -------------------------------------------------------------------------------------------- */

enum err scan_tangle_find(struct scan_tangle *tangle, struct scan_decode *decode,
                          const struct scan_region *whole, uint64_t budget)
{
    size_t slots = whole->hi - whole->lo;
    uint64_t slot_bytes = slots * (sizeof *tangle->latest_ns + 3 * sizeof(bool));
    struct scan_region region = *whole;
    enum err err;

    *tangle = (struct scan_tangle){.budget = budget};
    if (slot_bytes > budget) {
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
    if (err == ERR_OK)
        err = scan_decode_region(decode, &region, look_at_order, tangle);
    return err == ERR_OK && tangle->count > 0
               ? find_shared(tangle, decode, &region, budget - slot_bytes)
               : err;
}

void scan_tangle_fini(struct scan_tangle *tangle)
{
    free(tangle->latest_ns);
    free(tangle->seen);
    free(tangle->tangled);
    free(tangle->alone);
    *tangle = (struct scan_tangle){0};
}
