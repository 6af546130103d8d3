#include "storage/scan_match.h"

#include <stdlib.h>
#include <string.h>

enum { SERIES_A_CHECK = 4096 }; /* Between looks at the clock: about half a millisecond. */

struct slice scan_match_tag(const struct key_parts *parts, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < parts->tag_count; i++) {
        struct slice tag = parts->tags[i].name;

        if (tag.size == size && memcmp(tag.data, name, size) == 0)
            return parts->tags[i].value;
    }
    return (struct slice){"", 0};
}

static bool satisfies(const struct catalog_view *view, uint32_t id, const struct query *query)
{
    char room[CATALOG_KEY_ROOM];
    struct key_parts parts;
    struct slice key;

    if (query->where_count == 0)
        return true;
    key = catalog_view_key(view, id, room);
    if (key_parse(key.data, key.size, &parts) != 0)
        return false;
    for (uint32_t i = 0; i < query->where_count; i++) {
        const struct query_match *match = &query->where[i];
        struct slice value = scan_match_tag(&parts, match->name);
        bool equal =
            value.size == strlen(match->value) && memcmp(value.data, match->value, value.size) == 0;

        if (equal == match->negate)
            return false;
    }
    return true;
}

static enum err append(struct scan_match *match, uint32_t *capacity, uint32_t id)
{
    if (match->count == *capacity) {
        uint32_t more = *capacity == 0 ? 1024 : 2 * *capacity;
        uint32_t *ids = realloc(match->ids, more * sizeof *ids);

        if (ids == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for the ids of %u series", more);
        match->ids = ids;
        *capacity = more;
    }
    match->ids[match->count++] = id;
    return ERR_OK;
}

/* False if the query's table is not in this shard. */
static bool find_table(const struct catalog_view *view, const struct query *query,
                       uint32_t *ret_table)
{
    char key[KEY_SIZE_MAX];
    struct slice database = {query->database, strlen(query->database)};
    struct slice table = {query->table, strlen(query->table)};
    size_t size = key_write_table(database, table, key, sizeof key);

    if (size > 0)
        *ret_table = catalog_view_find_table(view, (struct slice){key, size});
    return size > 0 && *ret_table != CATALOG_NONE;
}

enum err scan_match_find(const struct catalog_view *view, const struct query *query,
                         const struct scan_limits *limits, struct scan_match *ret_match)
{
    struct scan_match match = {.table = CATALOG_NONE};
    uint32_t capacity = 0;
    enum err err = ERR_OK;

    if (query == NULL || find_table(view, query, &match.table)) {
        for (uint32_t id = 0; id < view->count && err == ERR_OK; id++) {
            if (id % SERIES_A_CHECK == 0)
                err = scan_check(limits);
            if (err == ERR_OK && (query == NULL || (catalog_view_table(view, id) == match.table &&
                                                    satisfies(view, id, query))))
                err = append(&match, &capacity, id);
        }
    }
    if (err != ERR_OK) {
        scan_match_fini(&match);
        return err;
    }
    *ret_match = match;
    return ERR_OK;
}

void scan_match_fini(struct scan_match *match)
{
    free(match->ids);
    *match = (struct scan_match){0};
}
