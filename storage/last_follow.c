#include "storage/last_follow.h"

#include <stdlib.h>

enum {
    GAP = 1024, /* Rows between two runs that are decoded together. */
    AHEAD = 16, /* Hits whose memory is fetched meanwhile. */
};

/* A place of the block's directory whose series is in the cache. */
struct last_hit {
    uint32_t place, line, id;
    uint32_t run, start, rows; /* In the current section; rows 0: it is not in it. */
};

void last_follow_fini(struct last_follow *follow)
{
    free(follow->hits);
    free(follow->places);
    free(follow->counts);
    free(follow->times_ns);
    free(follow->bits);
    free(follow->present);
    *follow = (struct last_follow){0};
}

uint64_t last_follow_bytes(const struct last_follow *follow)
{
    uint64_t row = sizeof(uint32_t) * 2 + sizeof(int64_t) + sizeof(uint64_t) + 1;

    return follow->hit_capacity * sizeof(struct last_hit) +
           (follow->present != NULL ? row * BLOCK_ROWS_MAX : 0);
}

static bool take_memory(struct last_follow *follow)
{
    if (follow->present != NULL)
        return true;
    if (follow->places == NULL)
        follow->places = malloc(BLOCK_ROWS_MAX * sizeof *follow->places);
    if (follow->counts == NULL)
        follow->counts = malloc(BLOCK_ROWS_MAX * sizeof *follow->counts);
    if (follow->times_ns == NULL)
        follow->times_ns = malloc(BLOCK_ROWS_MAX * sizeof *follow->times_ns);
    if (follow->bits == NULL)
        follow->bits = malloc(BLOCK_ROWS_MAX * sizeof *follow->bits);
    if (follow->places != NULL && follow->counts != NULL && follow->times_ns != NULL &&
        follow->bits != NULL)
        follow->present = malloc(BLOCK_ROWS_MAX);
    return follow->present != NULL;
}

/* ---- Which --------------------------------------------------------------------------------- */

static bool add_hit(struct last_follow *follow, const struct last_hit *hit)
{
    if (follow->hit_count == follow->hit_capacity) {
        uint32_t capacity = follow->hit_capacity == 0 ? 64 : 2 * follow->hit_capacity;
        struct last_hit *hits = realloc(follow->hits, capacity * sizeof *hits);

        if (hits == NULL)
            return false;
        follow->hits = hits;
        follow->hit_capacity = capacity;
    }
    follow->hits[follow->hit_count++] = *hit;
    return true;
}

/* Those that may be in the cache: only bits are read, so that the rest can be fetched ahead. */
static bool find_marked(struct last_follow *follow, struct last_cache *cache,
                        const struct block_view *view)
{
    uint32_t places = view->header.known + view->header.fresh;

    follow->hit_count = 0;
    for (uint32_t place = 0; place < places; place++) {
        struct last_hit hit = {.place = place, .id = block_view_id(view, place)};

        if (last_cache_may_have(cache, hit.id) && !add_hit(follow, &hit))
            return false;
    }
    return true;
}

/* Keep those that were asked for of late, drop the others from the cache. */
static void find_hits(struct last_follow *follow, struct last_cache *cache)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < follow->hit_count; i++) {
        struct last_hit *hit = &follow->hits[i];

        if (i + AHEAD < follow->hit_count)
            last_cache_prefetch(cache, follow->hits[i + AHEAD].id);
        hit->line = last_cache_find(cache, hit->id);
        if (hit->line == LAST_NO_LINE)
            continue;
        if (cache->lines[hit->line].credit == 0) {
            last_cache_drop(cache, hit->line);
        } else {
            cache->lines[hit->line].credit--;
            follow->hits[kept++] = *hit;
        }
    }
    follow->hit_count = kept;
}

/* It was not dropped meanwhile. (No line gets a new series while a block is gone through.) */
static bool is_there(const struct last_cache *cache, const struct last_hit *hit)
{
    return cache->lines[hit->line].id == hit->id;
}

/* ---- What ---------------------------------------------------------------------------------- */

/* Hits `first` to `end` - 1, as far as they are in the section, lie close together. */
struct window {
    uint32_t first, end;
    uint32_t first_run, end_run;
    uint32_t first_row, end_row;
};

/* Somebody asked for the field, or it is new of a series that is known as a whole. */
static bool is_wanted(const struct last_follow *follow, const struct last_cache *cache,
                      const struct window *window, uint32_t field)
{
    struct last_value value;

    for (uint32_t i = window->first; i < window->end; i++) {
        const struct last_hit *hit = &follow->hits[i];

        if (hit->rows > 0 && is_there(cache, hit) &&
            (cache->lines[hit->line].complete ||
             (field != LAST_NO_FIELD &&
              last_cache_get(cache, hit->line, field, &value) != LAST_UNKNOWN)))
            return true;
    }
    return false;
}

/* The newest value of the field that the hit's run has; later rows of one time are later ones. */
static void put_newest(const struct last_follow *follow, struct last_cache *cache,
                       const struct last_hit *hit, uint32_t field, enum field_type type,
                       const char *strings)
{
    uint32_t at = hit->start + hit->rows;
    struct last_value value;

    while (at > hit->start && !follow->present[at - 1])
        at--;
    if (at == hit->start || last_cache_get(cache, hit->line, field, &value) == LAST_UNKNOWN)
        return;
    at--;
    value = (struct last_value){.time_ns = follow->times_ns[at], .type = type};
    if (type == FIELD_STRING)
        value.text =
            (struct slice){strings + (uint32_t)follow->bits[at], (size_t)(follow->bits[at] >> 32)};
    else
        value.bits = follow->bits[at];
    (void)last_cache_put(cache, hit->line, field, &value); /* Or it is dropped. */
}

static enum err take_field(struct last_follow *follow, struct last_cache *cache,
                           const struct window *window, struct block *block, uint32_t section,
                           uint32_t at)
{
    const struct block_field *name = block_field(block, section, at);
    uint32_t field = last_cache_field(cache, name->name);
    const char *strings = NULL;
    enum err err;

    if (!is_wanted(follow, cache, window, field))
        return ERR_OK;
    if (field == LAST_NO_FIELD)
        field = last_cache_add_field(cache, name->name);
    if (field == LAST_NO_FIELD)
        return err_set(ERR_LIMIT, "a cache of last values of over %d fields", (int)LAST_FIELDS_MAX);
    err = block_read_some_values(block, section, at, window->first_row, window->end_row,
                                 follow->present, follow->bits, &strings);
    for (uint32_t i = window->first; i < window->end && err == ERR_OK; i++) {
        const struct last_hit *hit = &follow->hits[i];

        if (hit->rows > 0 && is_there(cache, hit))
            put_newest(follow, cache, hit, field, name->type, strings);
    }
    return err;
}

static enum err take_window(struct last_follow *follow, struct last_cache *cache,
                            const struct window *window, struct block *block, uint32_t section)
{
    uint32_t fields = block_section(block, section)->fields;
    enum err err =
        block_read_some_times(block, section, window->first_run, window->end_run, follow->times_ns);

    for (uint32_t at = 0; at < fields && err == ERR_OK; at++)
        err = take_field(follow, cache, window, block, section, at);
    return err;
}

/* Which runs of the section are the hits'. Both are in the order of places. */
static enum err find_runs(struct last_follow *follow, struct block *block, uint32_t section)
{
    uint32_t runs = block_section(block, section)->runs, row = 0, at = 0;
    enum err err = block_read_runs(block, section, follow->places, follow->counts);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < follow->hit_count; i++)
        follow->hits[i].rows = 0;
    for (uint32_t run = 0; run < runs && at < follow->hit_count; run++) {
        struct last_hit *hit;

        while (at < follow->hit_count && follow->hits[at].place < follow->places[run])
            at++;
        hit = &follow->hits[at];
        if (at < follow->hit_count && hit->place == follow->places[run]) {
            hit->run = run;
            hit->start = row;
            hit->rows = follow->counts[run];
        }
        row += follow->counts[run];
    }
    return ERR_OK;
}

static enum err take_section(struct last_follow *follow, struct last_cache *cache,
                             struct block *block, uint32_t section)
{
    struct window window = {0};
    enum err err = find_runs(follow, block, section);

    for (uint32_t i = 0; i < follow->hit_count && err == ERR_OK; i++) {
        const struct last_hit *hit = &follow->hits[i];

        if (hit->rows == 0)
            continue;
        if (window.end > 0 && hit->start - window.end_row > GAP) {
            err = take_window(follow, cache, &window, block, section);
            window.end = 0;
        }
        if (window.end == 0)
            window = (struct window){.first = i, .first_run = hit->run, .first_row = hit->start};
        window.end = i + 1;
        window.end_run = hit->run + 1;
        window.end_row = hit->start + hit->rows;
    }
    if (window.end > 0 && err == ERR_OK)
        err = take_window(follow, cache, &window, block, section);
    return err;
}

void last_follow_block(struct last_follow *follow, struct last_cache *cache,
                       const struct block_view *view)
{
    struct block *block = NULL;
    enum err err = ERR_OK;

    if (cache->series == 0 || view->header.rows == 0)
        return;
    if (!find_marked(follow, cache, view)) {
        last_cache_forget(cache);
        return;
    }
    find_hits(follow, cache);
    if (follow->hit_count == 0)
        return;
    if (!take_memory(follow))
        err = err_set(ERR_NO_MEMORY, "a block's last values");
    if (err == ERR_OK)
        err = block_load(view, &block);
    for (uint32_t s = 0; err == ERR_OK && s < block_sections(block); s++)
        err = take_section(follow, cache, block, s);
    block_free(block);
    /* What could not be followed is not known any more. */
    for (uint32_t i = 0; i < follow->hit_count && err != ERR_OK; i++)
        if (is_there(cache, &follow->hits[i]))
            last_cache_drop(cache, follow->hits[i].line);
}
