#include "storage/scan_tangle.h"

#include <stdlib.h>

/* Called by scan_decode_region() for each section. */
static enum err note_runs(void *arg, struct scan_decode *decode)
{
    struct scan_tangle *tangle = arg;

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
                          const struct scan_region *region, uint64_t budget)
{
    size_t slots = region->hi - region->lo;

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
    return scan_decode_region(decode, region, note_runs, tangle);
}

void scan_tangle_fini(struct scan_tangle *tangle)
{
    free(tangle->latest_ns);
    free(tangle->seen);
    free(tangle->tangled);
    *tangle = (struct scan_tangle){0};
}
