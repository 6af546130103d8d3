/*
 * catalog_merge.c - several runs as one: catalog_build.h.
 *
 * Lists of values are merged as sorted lists are; what a rank becomes is kept in an array a list.
 * Series keep their order, so their columns are copied through these arrays.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/key_map.h"
#include "storage/catalog_build.h"
#include "storage/catalog_writer.h"

/* One of the runs, and what its numbers become. */
struct source {
    const struct catalog_run *run;
    uint32_t *names;  /* Owned, as all of these: by name. */
    uint32_t **ranks; /* By name and rank. */
    uint32_t *tables;
    uint32_t *shapes;
    struct catalog_values_walk *walk; /* Of the list that is being merged. */
    struct slice value;               /* The next one of it. */
    uint32_t name;                    /* The next name; while it is merged, that one. */
    uint32_t rank;                    /* Of `value`. */
    bool has_value;
};

struct merge {
    struct source *sources;
    uint32_t count;
    struct catalog_writer *writer;
    const atomic_bool *cancel;
    struct block_arena arena; /* Of `shapes`. */
    struct key_map shapes;
};

static enum err no_memory(void)
{
    return err_set(ERR_NO_MEMORY, "merging runs of the catalog");
}

static enum err is_damaged(const struct source *source)
{
    return err_set(ERR_CORRUPT, "the run of series %u to %u has good checksums and wrong bytes",
                   source->run->header.first,
                   source->run->header.first + source->run->header.count - 1);
}

static enum err source_init(struct source *source, const struct catalog_run *run)
{
    const struct catalog_run_header *header = &run->header;

    source->run = run;
    source->names = malloc(((size_t)header->names + 1) * sizeof *source->names);
    source->ranks = calloc((size_t)header->names + 1, sizeof(uint32_t *));
    source->tables = malloc(((size_t)header->tables + 1) * sizeof *source->tables);
    source->shapes = malloc(((size_t)header->shapes + 1) * sizeof *source->shapes);
    source->walk = malloc(sizeof *source->walk);
    if (source->names == NULL || source->ranks == NULL || source->tables == NULL ||
        source->shapes == NULL || source->walk == NULL)
        return no_memory();
    for (uint32_t i = 0; i < header->names; i++) {
        source->ranks[i] = malloc(((size_t)run->names[i].values.count + 1) * sizeof(uint32_t));
        if (source->ranks[i] == NULL)
            return no_memory();
    }
    return ERR_OK;
}

static void source_fini(struct source *source)
{
    for (uint32_t i = 0; source->ranks != NULL && i < source->run->header.names; i++)
        free(source->ranks[i]);
    free(source->names);
    free(source->ranks);
    free(source->tables);
    free(source->shapes);
    free(source->walk);
}

/* ---- Names and values ---------------------------------------------------------------------- */

static void next_value(struct source *source)
{
    source->has_value = catalog_values_next(source->walk, &source->value);
}

/* The smallest name that is left; NULL: none is. */
static const struct slice *smallest_name(const struct merge *merge)
{
    const struct slice *smallest = NULL;

    for (uint32_t i = 0; i < merge->count; i++) {
        const struct source *source = &merge->sources[i];
        const struct slice *name;

        if (source->name == source->run->header.names)
            continue;
        name = &source->run->names[source->name].name;
        if (smallest == NULL || catalog_values_compare(*name, *smallest) < 0)
            smallest = name;
    }
    return smallest;
}

/* Sources that have the name start to walk its values. Returns how many those are. */
static uint64_t begin_name(struct merge *merge, struct slice name, uint32_t number)
{
    uint64_t values = 0;

    for (uint32_t i = 0; i < merge->count; i++) {
        struct source *source = &merge->sources[i];
        const struct catalog_run_name *own = &source->run->names[source->name];

        source->has_value = false;
        source->rank = 0;
        if (source->name == source->run->header.names ||
            catalog_values_compare(own->name, name) != 0)
            continue;
        source->names[source->name] = number;
        values += own->values.count;
        catalog_values_seek(source->walk, &own->values, 0);
        next_value(source);
    }
    return values;
}

static const struct source *smallest_value(const struct merge *merge)
{
    const struct source *smallest = NULL;

    for (uint32_t i = 0; i < merge->count; i++) {
        const struct source *source = &merge->sources[i];

        if (source->has_value &&
            (smallest == NULL || catalog_values_compare(source->value, smallest->value) < 0))
            smallest = source;
    }
    return smallest;
}

static void merge_values(struct merge *merge)
{
    const struct source *smallest;
    uint32_t rank = 0;

    for (; (smallest = smallest_value(merge)) != NULL; rank++) {
        uint32_t first = (uint32_t)(smallest - merge->sources);

        catalog_writer_value(merge->writer, smallest->value);
        for (uint32_t i = merge->count; i-- > first;) {
            struct source *source = &merge->sources[i];

            /* The first of equal ones comes last: the others are compared with it. */
            if (source->has_value &&
                (i == first || catalog_values_compare(source->value, smallest->value) == 0)) {
                source->ranks[source->name][source->rank++] = rank;
                next_value(source);
            }
        }
    }
}

/* Sources that had the name go on to their next one. */
static enum err end_name(struct merge *merge, struct slice name)
{
    for (uint32_t i = 0; i < merge->count; i++) {
        struct source *source = &merge->sources[i];
        const struct catalog_run_name *own = &source->run->names[source->name];

        if (source->name == source->run->header.names ||
            catalog_values_compare(own->name, name) != 0)
            continue;
        if (source->rank != own->values.count)
            return is_damaged(source);
        source->name++;
    }
    return ERR_OK;
}

static enum err merge_names(struct merge *merge)
{
    const struct slice *smallest;
    enum err err = ERR_OK;

    for (uint32_t number = 0; err == ERR_OK && (smallest = smallest_name(merge)) != NULL;
         number++) {
        struct slice name = *smallest;

        catalog_writer_name(merge->writer, name, begin_name(merge, name, number));
        merge_values(merge);
        err = end_name(merge, name);
    }
    return err;
}

/* ---- Tables and shapes --------------------------------------------------------------------- */

/* Series of a table in those sources whose next table it is. */
static uint32_t count_series(const struct merge *merge, uint32_t number)
{
    uint32_t series = 0;

    for (uint32_t i = 0; i < merge->count; i++) {
        const struct source *source = &merge->sources[i];

        if (source->name < source->run->header.tables &&
            source->run->tables[source->name].number == number)
            series += source->run->tables[source->name].series;
    }
    return series;
}

/* All tables by ascending number, once each. */
static void merge_tables(struct merge *merge)
{
    uint32_t written = 0;

    for (uint32_t i = 0; i < merge->count; i++)
        merge->sources[i].name = 0; /* Now the next table of the source. */
    for (;; written++) {
        const struct catalog_run_table *smallest = NULL;

        for (uint32_t i = 0; i < merge->count; i++) {
            const struct source *source = &merge->sources[i];
            const struct catalog_run_table *table = &source->run->tables[source->name];

            if (source->name < source->run->header.tables &&
                (smallest == NULL || table->number < smallest->number))
                smallest = table;
        }
        if (smallest == NULL)
            return;
        catalog_writer_table(merge->writer, smallest->number, smallest->key,
                             count_series(merge, smallest->number));
        for (uint32_t i = 0; i < merge->count; i++) {
            struct source *source = &merge->sources[i];

            if (source->name < source->run->header.tables &&
                source->run->tables[source->name].number == smallest->number)
                source->tables[source->name++] = written;
        }
    }
}

static enum err merge_shape(struct merge *merge, struct source *source, uint32_t at)
{
    const struct catalog_run_shape *shape = &source->run->shapes[at];
    uint32_t words[1 + CATALOG_RUN_TAGS];
    size_t size = (1 + (size_t)shape->tags) * sizeof words[0];
    uint64_t hash;

    words[0] = source->tables[shape->table];
    for (uint32_t i = 0; i < shape->tags; i++)
        words[1 + i] = source->names[shape->names[i]];
    hash = key_hash(words, size);
    source->shapes[at] = key_map_find(&merge->shapes, hash, words, size);
    if (source->shapes[at] != KEY_MAP_NONE)
        return ERR_OK;
    source->shapes[at] = merge->shapes.count;
    catalog_writer_shape(merge->writer, words[0], words + 1, shape->tags);
    return key_map_add(&merge->shapes, &merge->arena, hash, words, size) ? ERR_OK : no_memory();
}

static enum err merge_shapes(struct merge *merge)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < merge->count; i++)
        for (uint32_t at = 0; at < merge->sources[i].run->header.shapes && err == ERR_OK; at++)
            err = merge_shape(merge, &merge->sources[i], at);
    return err;
}

/* ---- Series -------------------------------------------------------------------------------- */

static enum err copy_series(struct merge *merge, const struct source *source)
{
    const struct catalog_run *run = source->run;

    for (uint32_t at = 0; at < run->header.count; at++) {
        char key[CATALOG_KEY_ROOM];
        uint32_t ranks[CATALOG_RUN_TAGS];
        struct catalog_codes codes;
        size_t size;

        if (at % CATALOG_GROUP == 0 && merge->cancel != NULL && atomic_load(merge->cancel))
            return err_set(ERR_CANCELED, "merging runs of the catalog");
        if (!catalog_run_codes(run, at, &codes))
            return is_damaged(source);
        size = catalog_run_key_of(run, &codes, key);
        if (size == 0)
            return is_damaged(source);
        for (uint32_t i = 0; i < codes.shape->tags; i++)
            ranks[i] = source->ranks[codes.shape->names[i]][codes.ranks[i]];
        catalog_writer_series(merge->writer, source->shapes[codes.shape - run->shapes], ranks,
                              codes.shape->tags, key_hash(key, size));
    }
    return ERR_OK;
}

static enum err merge_all(struct merge *merge, struct catalog_run *const *runs,
                          struct catalog_run_header *ret_header)
{
    uint8_t *bytes = NULL;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < merge->count && err == ERR_OK; i++)
        err = source_init(&merge->sources[i], runs[i]);
    if (err == ERR_OK)
        err = merge_names(merge);
    if (err == ERR_OK)
        merge_tables(merge);
    if (err == ERR_OK)
        err = merge_shapes(merge);
    for (uint32_t i = 0; i < merge->count && err == ERR_OK; i++)
        err = copy_series(merge, &merge->sources[i]);
    if (err == ERR_OK)
        err = catalog_writer_finish(merge->writer, ret_header, &bytes);
    return err;
}

enum err catalog_merge(struct catalog_run *const *runs, uint32_t count, const struct disk *disk,
                       struct file *file, const atomic_bool *cancel,
                       struct catalog_run_header *ret_header)
{
    const struct catalog_run_header *oldest = &runs[0]->header;
    struct merge merge = {.count = count, .cancel = cancel};
    uint32_t end = oldest->first;
    enum err err;

    for (uint32_t i = 0; i < count; i++) {
        CHECK(runs[i]->header.first == end);
        end += runs[i]->header.count;
    }
    merge.sources = calloc(count, sizeof *merge.sources);
    if (merge.sources == NULL)
        return no_memory();
    err = catalog_writer_new(disk, file, oldest->shard, oldest->first, end - oldest->first,
                             &merge.writer);
    if (err == ERR_OK)
        err = merge_all(&merge, runs, ret_header);
    catalog_writer_free(merge.writer);
    for (uint32_t i = 0; i < count; i++)
        source_fini(&merge.sources[i]);
    free(merge.sources);
    block_arena_fini(&merge.arena);
    return err;
}
