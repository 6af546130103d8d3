#include "storage/seal_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_reader.h"
#include "storage/block/entry.h"

/* The newest windows of one database, by their numbers, ascending. */
struct windows {
    int64_t *numbers; /* Room for `most`. */
    uint32_t count;
    bool older; /* There are rows before the first of them. */
};

struct finder {
    const struct catalog_view *series;
    const struct database_map *databases;
    const struct seal_rule *rules;
    struct windows *windows; /* By database. */
    int64_t *room;           /* Of all windows. */
    uint32_t most;           /* Windows of a database. */
    uint32_t *seen;          /* By database: 1 + the block that has rows of it. */
    int64_t *times_ns;       /* BLOCK_ROWS_MAX */
};

/* ---- Windows ------------------------------------------------------------------------------- */

static int64_t window_of(int64_t time_ns, int64_t width_ns)
{
    return time_ns / width_ns - (time_ns % width_ns < 0);
}

static int64_t window_first(int64_t number, int64_t width_ns)
{
    int64_t first_ns;

    return __builtin_mul_overflow(number, width_ns, &first_ns) ? INT64_MIN : first_ns;
}

static int64_t window_last(int64_t number, int64_t width_ns)
{
    int64_t behind_ns;

    return __builtin_mul_overflow(number + 1, width_ns, &behind_ns) ? INT64_MAX : behind_ns - 1;
}

static void note(struct finder *finder, uint32_t database, int64_t time_ns)
{
    struct windows *windows = &finder->windows[database];
    int64_t number = window_of(time_ns, finder->rules[database].window_ns);
    uint32_t at = windows->count;

    while (at > 0 && windows->numbers[at - 1] > number)
        at--;
    if (at > 0 && windows->numbers[at - 1] == number)
        return;
    if (windows->count == finder->most) {
        windows->older = true;
        if (at == 0)
            return;
        at--; /* The oldest one gives its place. */
        memmove(windows->numbers, windows->numbers + 1, at * sizeof *windows->numbers);
    } else {
        memmove(windows->numbers + at + 1, windows->numbers + at,
                (windows->count - at) * sizeof *windows->numbers);
        windows->count++;
    }
    windows->numbers[at] = number;
}

/* ---- Blocks -------------------------------------------------------------------------------- */

static void note_times(struct finder *finder, uint32_t database, uint32_t rows)
{
    const struct seal_rule *rule = &finder->rules[database];
    int64_t first_ns = INT64_MAX; /* Of the window found last: rows mostly stay in it. */
    int64_t last_ns = INT64_MIN;

    for (uint32_t i = 0; i < rows; i++) {
        int64_t time_ns = finder->times_ns[i];
        int64_t number;

        if ((time_ns >= first_ns && time_ns <= last_ns) || time_ns < rule->cutoff_ns)
            continue;
        number = window_of(time_ns, rule->window_ns);
        first_ns = window_first(number, rule->window_ns);
        last_ns = window_last(number, rule->window_ns);
        note(finder, database, time_ns);
    }
}

/* The block's times stretch over several windows of some database: look at each. */
static enum err note_sections(struct finder *finder, const struct block_view *view)
{
    struct block *block = NULL;
    enum err err = block_load(view, &block);

    for (uint32_t s = 0; err == ERR_OK && s < block_sections(block); s++) {
        const struct block_section *section = block_section(block, s);
        struct slice key = {section->table_key, section->table_key_size};
        uint32_t database = database_map_find(finder->databases, database_map_name(key));

        if (database == DATABASE_NONE)
            err = err_set(ERR_CORRUPT, "section %u is of no database of the catalog", s);
        else if (!finder->rules[database].gone)
            err = block_read_times(block, s, finder->times_ns);
        if (err == ERR_OK && !finder->rules[database].gone)
            note_times(finder, database, section->rows);
    }
    block_free(block);
    return err;
}

/* Both ends of the block's times are in one window of every database that it may have rows of. */
static bool is_simple(const struct finder *finder, const struct head_block *block, uint32_t stamp)
{
    for (uint32_t i = 0; i < finder->databases->count; i++) {
        const struct seal_rule *rule = &finder->rules[i];

        if (finder->seen[i] == stamp && !rule->gone &&
            (block->time_min_ns < rule->cutoff_ns ||
             window_of(block->time_min_ns, rule->window_ns) !=
                 window_of(block->time_max_ns, rule->window_ns)))
            return false;
    }
    return true;
}

static enum err see_databases(struct finder *finder, const struct block_view *view, uint32_t stamp)
{
    uint32_t places = view->header.known + view->header.fresh;

    if (finder->databases->count == 1) { /* The common case. */
        finder->seen[0] = stamp;
        return ERR_OK;
    }
    for (uint32_t place = 0; place < places; place++) {
        uint32_t id = block_view_id(view, place);

        if (id >= finder->series->count)
            return err_set(ERR_CORRUPT, "series %u of %u", id, finder->series->count);
        finder->seen[finder->databases->of_table[catalog_view_table(finder->series, id)]] = stamp;
    }
    return ERR_OK;
}

static enum err note_block(struct finder *finder, const struct head_block *block, uint32_t stamp)
{
    struct block_view view;
    enum err err =
        block_view(block->entry->bytes + sizeof(struct entry_header), block->size, false, &view);

    if (err == ERR_OK)
        err = see_databases(finder, &view, stamp);
    if (err == ERR_OK && !is_simple(finder, block, stamp))
        return note_sections(finder, &view);
    for (uint32_t i = 0; err == ERR_OK && i < finder->databases->count; i++)
        if (finder->seen[i] == stamp && !finder->rules[i].gone)
            note(finder, i, block->time_min_ns);
    return err;
}

/* ---- Parts --------------------------------------------------------------------------------- */

static uint32_t list_parts(const struct finder *finder, struct seal_part *parts)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < finder->databases->count; i++) {
        const struct windows *windows = &finder->windows[i];
        int64_t width_ns = finder->rules[i].window_ns;

        if (windows->older) {
            int64_t first_ns = window_first(windows->numbers[0], width_ns);

            parts[count++] = (struct seal_part){i, INT64_MIN, first_ns - 1};
        }
        for (uint32_t w = 0; w < windows->count; w++)
            parts[count++] = (struct seal_part){i, window_first(windows->numbers[w], width_ns),
                                                window_last(windows->numbers[w], width_ns)};
    }
    return count;
}

static enum err finder_init(struct finder *finder)
{
    uint32_t count = finder->databases->count;

    finder->most = count == 0 ? 1 : SEAL_PARTS_MAX / count;
    finder->most = finder->most < 1 ? 1 : finder->most;
    finder->most = finder->most > SEAL_WINDOWS_MAX ? SEAL_WINDOWS_MAX : finder->most;
    finder->windows = calloc((size_t)count + 1, sizeof *finder->windows);
    finder->room = malloc(((size_t)count + 1) * finder->most * sizeof *finder->room);
    finder->seen = calloc((size_t)count + 1, sizeof *finder->seen);
    finder->times_ns = malloc(BLOCK_ROWS_MAX * sizeof *finder->times_ns);
    if (finder->windows == NULL || finder->room == NULL || finder->seen == NULL ||
        finder->times_ns == NULL)
        return err_set(ERR_NO_MEMORY, "windows of %u databases", count);
    for (uint32_t i = 0; i < count; i++)
        finder->windows[i].numbers = finder->room + (size_t)i * finder->most;
    return ERR_OK;
}

static void finder_fini(struct finder *finder)
{
    free(finder->windows);
    free(finder->room);
    free(finder->seen);
    free(finder->times_ns);
}

enum err seal_parts_find(const struct head_block *blocks, uint32_t count,
                         const struct catalog_view *series, const struct database_map *databases,
                         const struct seal_rule *rules, struct seal_part **ret_parts,
                         uint32_t *ret_count)
{
    struct finder finder = {.series = series, .databases = databases, .rules = rules};
    struct seal_part *parts = NULL;
    enum err err = finder_init(&finder);

    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        if (blocks[i].rows == 0)
            continue;
        err = note_block(&finder, &blocks[i], i + 1);
        if (err != ERR_OK)
            err = err_wrap(err, "block of log index %" PRIu64, blocks[i].index);
    }
    if (err == ERR_OK) {
        parts = malloc(((size_t)databases->count + 1) * (finder.most + 1) * sizeof *parts);
        if (parts == NULL)
            err = err_set(ERR_NO_MEMORY, "parts of a seal");
    }
    if (err == ERR_OK) {
        *ret_count = list_parts(&finder, parts);
        *ret_parts = parts;
    }
    finder_fini(&finder);
    return err;
}
