#include "storage/last_cache.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/huge.h"

enum {
    LINE_ROOM = sizeof(struct last_line) + 38, /* With its share of both indexes, at most. */
    LOOKS = 64, /* Series that the hand looks at for one that goes. */
    LINES_MAX = 1 << 24,
};

struct last_text {
    uint32_t size;
    char bytes[];
};

void last_cache_init(struct last_cache *cache, uint64_t bytes_max)
{
    uint64_t lines = bytes_max / LINE_ROOM;

    *cache = (struct last_cache){.bytes_max = bytes_max,
                                 .line_count = lines < LINES_MAX ? (uint32_t)lines : LINES_MAX,
                                 .first_free = LAST_NO_LINE,
                                 .kept = LAST_NO_LINE};
}

uint64_t last_cache_bytes(const struct last_cache *cache)
{
    return cache->begun * sizeof(struct last_line) + cache->text_bytes +
           key_index_bytes(&cache->ids) + key_index_bytes(&cache->keys) + cache->marked_ids / 8 +
           cache->arena.held;
}

/* ---- Fields -------------------------------------------------------------------------------- */

uint32_t last_cache_field(const struct last_cache *cache, struct slice name)
{
    return key_map_find(&cache->names, key_hash(name.data, name.size), name.data, name.size);
}

uint32_t last_cache_add_field(struct last_cache *cache, struct slice name)
{
    uint64_t hash = key_hash(name.data, name.size);
    uint32_t field = key_map_find(&cache->names, hash, name.data, name.size);

    if (field != KEY_MAP_NONE)
        return field;
    if (cache->names.count >= LAST_FIELDS_MAX ||
        !key_map_add(&cache->names, &cache->arena, hash, name.data, name.size))
        return LAST_NO_FIELD;
    return cache->names.count - 1;
}

/* ---- Finding ------------------------------------------------------------------------------- */

static uint64_t id_hash(uint32_t id)
{
    uint64_t hash = id * 0x9e3779b97f4a7c15u;

    return hash ^ hash >> 32;
}

static struct slice id_of(const void *owner, uint32_t number)
{
    const struct last_cache *cache = owner;

    return (struct slice){(const char *)&cache->lines[number].id, sizeof(uint32_t)};
}

static struct slice key_of(const void *owner, uint32_t number)
{
    const struct last_cache *cache = owner;
    const struct last_text *key = cache->lines[number].key;

    return (struct slice){key->bytes, key->size};
}

/* What was forgotten with all others goes when it is met. */
static uint32_t if_current(struct last_cache *cache, uint32_t line)
{
    if (line == LAST_NO_LINE || cache->lines[line].epoch == cache->epoch)
        return line;
    last_cache_drop(cache, line);
    return LAST_NO_LINE;
}

uint32_t last_cache_find(struct last_cache *cache, uint32_t id)
{
    struct slice key = {(const char *)&id, sizeof id};

    return if_current(cache, key_index_find(&cache->ids, cache, id_of, key, id_hash(id)));
}

void last_cache_prefetch(const struct last_cache *cache, uint32_t id)
{
    key_index_prefetch(&cache->ids, id_hash(id));
}

uint32_t last_cache_find_key(struct last_cache *cache, struct slice key, uint64_t hash)
{
    return if_current(cache, key_index_find(&cache->keys, cache, key_of, key, hash));
}

/* ---- Dropping ------------------------------------------------------------------------------ */

/* Memory of a text of so many bytes, with what malloc() adds. */
static size_t text_room(size_t size)
{
    return sizeof(struct last_text) + size + 16;
}

static void free_text(struct last_cache *cache, struct last_text *text)
{
    if (text != NULL)
        cache->text_bytes -= text_room(text->size);
    free(text);
}

static struct last_text *new_text(struct last_cache *cache, struct slice from)
{
    struct last_text *text = malloc(sizeof *text + from.size);

    if (text == NULL)
        return NULL;
    text->size = (uint32_t)from.size;
    if (from.size > 0)
        memcpy(text->bytes, from.data, from.size);
    cache->text_bytes += text_room(from.size);
    return text;
}

static struct last_text *text_of(const struct last_line *line, uint32_t at)
{
    struct last_text *text;

    memcpy(&text, &line->bits[at], sizeof text);
    return text;
}

static void free_cells(struct last_cache *cache, struct last_line *line)
{
    for (uint32_t i = 0; i < line->count; i++)
        if (line->types[i] == FIELD_STRING)
            free_text(cache, text_of(line, i));
    line->count = 0;
}

void last_cache_fini(struct last_cache *cache)
{
    for (uint32_t i = 0; i < cache->begun; i++) {
        struct last_line *line = &cache->lines[i];

        free_cells(cache, line);
        free(line->key);
    }
    free(cache->lines);
    free(cache->marked);
    key_index_fini(&cache->ids);
    key_index_fini(&cache->keys);
    block_arena_fini(&cache->arena);
    *cache = (struct last_cache){0};
}

static void free_line(struct last_cache *cache, uint32_t number)
{
    struct last_line *line = &cache->lines[number];

    free_cells(cache, line);
    line->id = BLOCK_ID_NONE;
    line->key = NULL;
    line->next = cache->first_free;
    cache->first_free = number;
    cache->used--;
}

void last_cache_drop(struct last_cache *cache, uint32_t number)
{
    struct last_line *line = &cache->lines[number];
    uint32_t id = line->id;

    if (line->key != NULL) {
        struct slice key = key_of(cache, number);

        key_index_remove(&cache->keys, key_hash(key.data, key.size), number);
        free_text(cache, line->key);
    }
    key_index_remove(&cache->ids, id_hash(id), number);
    cache->marked[id / 64] &= ~(1ull << id % 64);
    cache->series--;
    while (number != LAST_NO_LINE) {
        uint32_t next = cache->lines[number].next;

        free_line(cache, number);
        number = next;
    }
}

void last_cache_forget(struct last_cache *cache)
{
    cache->epoch++;
}

/* ---- Room ---------------------------------------------------------------------------------- */

/* Lines and texts share what the index leaves. */
static bool has_room(const struct last_cache *cache, size_t text)
{
    uint64_t most = (uint64_t)cache->line_count * sizeof(struct last_line);

    return (cache->used + 1ull) * sizeof(struct last_line) + cache->text_bytes + text <= most;
}

/* One series goes. False: there is none but the one that must stay. */
static bool evict(struct last_cache *cache)
{
    uint32_t chosen = LAST_NO_LINE;
    uint32_t looks = LOOKS;

    for (uint32_t steps = 0; steps < cache->begun && looks > 0; steps++) {
        struct last_line *line;

        cache->hand = cache->hand + 1 < cache->begun ? cache->hand + 1 : 0;
        line = &cache->lines[cache->hand];
        if (line->id == BLOCK_ID_NONE || cache->hand == cache->kept)
            continue;
        chosen = cache->hand;
        if (line->epoch != cache->epoch || line->credit == 0)
            break;
        line->credit /= 2;
        looks--;
    }
    if (chosen == LAST_NO_LINE)
        return false;
    last_cache_drop(cache, chosen);
    return true;
}

static bool make_room(struct last_cache *cache, size_t text)
{
    while (!has_room(cache, text))
        if (!evict(cache))
            return false;
    return true;
}

static bool begin(struct last_cache *cache)
{
    size_t size = cache->line_count * sizeof(struct last_line);

    if (cache->lines != NULL || cache->line_count == 0)
        return cache->lines != NULL;
    if (key_index_reserve(&cache->ids, cache->line_count) != ERR_OK)
        return false;
    cache->lines = huge_alloc(size); /* Untouched, it takes no memory. */
    return cache->lines != NULL;
}

static bool mark(struct last_cache *cache, uint32_t id)
{
    if (id >= cache->marked_ids) {
        uint32_t words = id / 64 + 1 + cache->marked_ids / 128; /* By half as many more. */
        uint64_t *marked = realloc(cache->marked, words * sizeof *marked);

        if (marked == NULL)
            return false;
        memset(marked + cache->marked_ids / 64, 0,
               (words - cache->marked_ids / 64) * sizeof *marked);
        cache->marked = marked;
        cache->marked_ids = words > UINT32_MAX / 64 ? UINT32_MAX / 64 * 64 : words * 64;
    }
    cache->marked[id / 64] |= 1ull << id % 64;
    return true;
}

static uint32_t take_line(struct last_cache *cache)
{
    uint32_t number;

    if (!make_room(cache, 0))
        return LAST_NO_LINE;
    number = cache->first_free;
    if (number == LAST_NO_LINE) {
        CHECK(cache->begun < cache->line_count);
        number = cache->begun++;
    } else {
        cache->first_free = cache->lines[number].next;
    }
    cache->used++;
    cache->lines[number] = (struct last_line){
        .id = BLOCK_ID_NONE, .next = LAST_NO_LINE, .epoch = cache->epoch, .credit = LAST_CREDIT};
    return number;
}

uint32_t last_cache_add(struct last_cache *cache, uint32_t id)
{
    uint32_t line = last_cache_find(cache, id);

    if (line != LAST_NO_LINE || !begin(cache))
        return line;
    line = take_line(cache);
    if (line == LAST_NO_LINE)
        return line;
    if (!mark(cache, id)) {
        free_line(cache, line);
        return LAST_NO_LINE;
    }
    cache->lines[line].id = id;
    key_index_add(&cache->ids, id_hash(id), line);
    cache->series++;
    return line;
}

void last_cache_name(struct last_cache *cache, uint32_t line, struct slice key, uint64_t hash)
{
    bool fits;

    if (cache->lines[line].key != NULL ||
        (cache->keys.capacity == 0 && key_index_reserve(&cache->keys, cache->line_count) != ERR_OK))
        return;
    cache->kept = line;
    fits = make_room(cache, text_room(key.size));
    cache->kept = LAST_NO_LINE;
    if (fits)
        cache->lines[line].key = new_text(cache, key);
    if (cache->lines[line].key != NULL)
        key_index_add(&cache->keys, hash, line);
}

/* ---- Cells --------------------------------------------------------------------------------- */

static enum last_answer read_cell(const struct last_line *line, uint32_t at,
                                  struct last_value *ret_value)
{
    if (line->types[at] == 0)
        return LAST_NONE;
    *ret_value = (struct last_value){line->times_ns[at], line->types[at], line->bits[at], {"", 0}};
    if (line->types[at] == FIELD_STRING) {
        const struct last_text *text = text_of(line, at);

        ret_value->bits = 0;
        ret_value->text = (struct slice){text->bytes, text->size};
    }
    return LAST_VALUE;
}

/* The cell of a field: *at of the returned line; NULL: there is none. */
static struct last_line *find_cell(const struct last_cache *cache, uint32_t number, uint32_t field,
                                   uint32_t *ret_at)
{
    for (; number != LAST_NO_LINE; number = cache->lines[number].next) {
        struct last_line *line = &cache->lines[number];

        for (uint32_t i = 0; i < line->count; i++)
            if (line->fields[i] == field) {
                *ret_at = i;
                return line;
            }
    }
    return NULL;
}

enum last_answer last_cache_get(const struct last_cache *cache, uint32_t number, uint32_t field,
                                struct last_value *ret_value)
{
    uint32_t at = 0;
    const struct last_line *line = find_cell(cache, number, field, &at);

    if (line != NULL)
        return read_cell(line, at, ret_value);
    return cache->lines[number].complete ? LAST_NONE : LAST_UNKNOWN;
}

/* A new cell, without a value. NULL: there is no room. */
static struct last_line *add_cell(struct last_cache *cache, uint32_t number, uint32_t field,
                                  uint32_t *ret_at)
{
    struct last_line *line = &cache->lines[number];

    while (line->count == LAST_CELLS) {
        if (line->next == LAST_NO_LINE) {
            uint32_t more = take_line(cache);

            if (more == LAST_NO_LINE)
                return NULL;
            line->next = more;
        }
        line = &cache->lines[line->next];
    }
    *ret_at = line->count++;
    line->fields[*ret_at] = (uint16_t)field;
    line->types[*ret_at] = 0;
    return line;
}

static bool write_cell(struct last_cache *cache, struct last_line *line, uint32_t at,
                       const struct last_value *value)
{
    struct last_text *text = NULL;

    if (value->type == FIELD_STRING) {
        if (value->text.size > LAST_TEXT_MAX || !make_room(cache, text_room(value->text.size)))
            return false;
        text = new_text(cache, value->text);
        if (text == NULL)
            return false;
    }
    if (line->types[at] == FIELD_STRING)
        free_text(cache, text_of(line, at));
    line->types[at] = (uint8_t)value->type;
    line->times_ns[at] = value->time_ns;
    line->bits[at] = value->bits;
    if (text != NULL)
        memcpy(&line->bits[at], &text, sizeof text);
    return true;
}

static bool put(struct last_cache *cache, uint32_t number, uint32_t field,
                const struct last_value *value)
{
    uint32_t at = 0;
    struct last_line *line = find_cell(cache, number, field, &at);

    if (line == NULL)
        line = add_cell(cache, number, field, &at);
    if (line == NULL || value == NULL)
        return line != NULL;
    if (line->types[at] == 0)
        return write_cell(cache, line, at, value);
    if (line->types[at] != value->type)
        return false; /* A scan has to say what is wrong. */
    return value->time_ns < line->times_ns[at] || write_cell(cache, line, at, value);
}

bool last_cache_put(struct last_cache *cache, uint32_t number, uint32_t field,
                    const struct last_value *value)
{
    bool done;

    cache->kept = number;
    done = put(cache, number, field, value);
    cache->kept = LAST_NO_LINE;
    if (!done)
        last_cache_drop(cache, number);
    return done;
}

bool last_cache_next(const struct last_cache *cache, struct last_cell_at *at, uint32_t *ret_field,
                     enum last_answer *ret_answer, struct last_value *ret_value)
{
    const struct last_line *line = &cache->lines[at->line];

    while (at->at >= line->count) {
        if (line->next == LAST_NO_LINE)
            return false;
        *at = (struct last_cell_at){line->next, 0};
        line = &cache->lines[at->line];
    }
    *ret_field = line->fields[at->at];
    *ret_answer = read_cell(line, at->at, ret_value);
    at->at++;
    return true;
}
