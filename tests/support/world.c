#include "tests/support/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/catalog_build.h"
#include "tests/support/seed.h"

enum { HEADROOM = 64, ROWS_MAX = 200 };

const char *const world_field_names[WORLD_FIELDS] = {"b", "f", "i", "n", "s", "u"};
const enum field_type world_field_types[WORLD_FIELDS] = {FIELD_BOOL,  FIELD_FLOAT,  FIELD_INT,
                                                         FIELD_FLOAT, FIELD_STRING, FIELD_UINT};

int64_t world_time(uint32_t at)
{
    return ((int64_t)at - 7) * 1000 + (int64_t)(at % 5);
}

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

/* ---- Series -------------------------------------------------------------------------------- */

static void make_series(struct world_series *series, uint32_t id)
{
    static const char *const hosts[] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"};
    static const char *const sites[] = {"a", "b", NULL};
    struct tag tags[2];
    size_t tag_count = 0;

    series->table = id % 3 == 2 ? "mem" : "cpu";
    series->host = hosts[id / 3];
    series->site = sites[(id + id / 3) % 3];
    tags[tag_count++] = (struct tag){text("host"), text(series->host)};
    if (series->site != NULL)
        tags[tag_count++] = (struct tag){text("site"), text(series->site)};
    series->key_size = key_write(text("db"), text(series->table), tags, tag_count, series->key,
                                 sizeof series->key);
    CHECK(series->key_size > 0);
    series->table_key_size = 3 + 1 + strlen(series->table);
}

/* What is there becomes a run, as in a seal. */
static void make_run(struct catalog *catalog)
{
    struct catalog_run *run;
    struct catalog_view view;

    CHECK(catalog_freeze(catalog, &view) == ERR_OK);
    CHECK(catalog_build(&view, 0, view.count, 0, NULL, &run) == ERR_OK);
    CHECK(catalog_adopt(catalog, run) == ERR_OK);
    catalog_run_unref(run);
    catalog_view_fini(&view);
}

static void make_catalog(struct world *world)
{
    CHECK(catalog_new(&world->catalog) == ERR_OK);
    for (uint32_t id = 0; id < WORLD_SERIES; id++) {
        struct world_series *series = &world->series[id];

        make_series(series, id);
        if (id == WORLD_SERIES / 2)
            make_run(world->catalog);
        CHECK(catalog_add(world->catalog, (struct slice){series->key, series->key_size},
                          series->table_key_size,
                          key_hash(series->key, series->key_size)) == ERR_OK);
        catalog_confirm(world->catalog);
    }
    world->view = catalog_view(world->catalog);
    world->snapshot.series = &world->view;
}

/* ---- Blocks -------------------------------------------------------------------------------- */

static struct world_cell make_cell(uint64_t *chance, enum field_type type)
{
    static const char *const texts[] = {"", "on", "off", "a longer text"};
    static const double floats[] = {NAN, -0.0, 0.0, INFINITY, 1.5};
    struct world_cell cell = {.present = true};
    double value;

    switch (type) {
    case FIELD_FLOAT:
        value = (double)seed_below(chance, 4000) / 4 - 500;
        memcpy(&cell.bits, &value, sizeof value);
        break;
    case FIELD_INT:
        cell.bits = seed_below(chance, 1000) - 500;
        break;
    case FIELD_UINT:
        cell.bits = seed_below(chance, 1000) + (seed_below(chance, 8) == 0 ? 1ull << 63 : 0);
        break;
    case FIELD_BOOL:
        cell.bits = seed_below(chance, 2);
        break;
    case FIELD_STRING:
        cell.text = texts[seed_below(chance, 4)];
        return cell;
    default: /* The field "n": what floats have beside numbers. */
        value = floats[seed_below(chance, 5)];
        memcpy(&cell.bits, &value, sizeof value);
        break;
    }
    return cell;
}

static void add_row(struct world *world, struct block_builder *builder, uint64_t *chance,
                    uint32_t id, uint32_t time_at, bool known)
{
    const struct world_series *series = &world->series[id];
    uint32_t number, fields = 1 + (uint32_t)seed_below(chance, (1u << WORLD_FIELDS) - 1);

    CHECK(block_builder_series(builder, series->key, series->key_size, series->table_key_size,
                               key_hash(series->key, series->key_size), known ? id : BLOCK_ID_NONE,
                               &number) == ERR_OK);
    CHECK(block_builder_row(builder, number, world_time(time_at)) == ERR_OK);
    for (uint32_t f = 0; f < WORLD_FIELDS; f++) {
        const char *name = world_field_names[f];
        enum field_type type = world_field_types[f];
        struct world_cell cell;

        if ((fields & 1u << f) == 0)
            continue;
        cell = make_cell(chance, name[0] == 'n' ? FIELD_TYPE_END : type);
        world->cells[id][time_at][f] = cell;
        if (type == FIELD_STRING)
            CHECK(block_builder_string(builder, name, 1, cell.text, strlen(cell.text)) == ERR_OK);
        else
            CHECK(block_builder_value(builder, name, 1, type, cell.bits) == ERR_OK);
    }
}

/* Give the keys of a finished block their ids, as the shard's leader does. */
static void stamp(const struct world *world, struct buf *entry, struct block_view *view)
{
    uint32_t ids[WORLD_SERIES], count = 0;
    size_t at = 0, size;
    const char *key;

    CHECK(block_view(entry->bytes + HEADROOM, entry->size - HEADROOM, true, view) == ERR_OK);
    while (block_view_next_key(view, &at, &key, &size))
        ids[count++] = catalog_find(world->catalog, key, size, key_hash(key, size));
    block_stamp(entry->bytes + HEADROOM, view, ids);
    CHECK(block_view(entry->bytes + HEADROOM, entry->size - HEADROOM, true, view) == ERR_OK);
}

static struct snapshot_source make_block(struct world *world, struct block_builder *builder,
                                         uint64_t *chance)
{
    struct snapshot_source source = {.offset = HEADROOM, .table_max = CATALOG_NONE};
    /* Some blocks hold few series, some a narrow time, some everything. */
    uint32_t series = 1 + (uint32_t)seed_below(chance, WORLD_SERIES);
    uint32_t times = 1 + (uint32_t)seed_below(chance, WORLD_TIMES);
    uint32_t first_series = (uint32_t)seed_below(chance, WORLD_SERIES - series + 1);
    uint32_t first_time = (uint32_t)seed_below(chance, WORLD_TIMES - times + 1);
    uint64_t known = seed_next(chance);
    uint32_t rows = 1 + (uint32_t)seed_below(chance, ROWS_MAX);
    struct block_view view;

    for (uint32_t i = 0; i < rows; i++) {
        uint32_t id = first_series + (uint32_t)seed_below(chance, series);

        add_row(world, builder, chance, id, first_time + (uint32_t)seed_below(chance, times),
                known >> id & 1);
    }
    CHECK(block_builder_finish(builder, HEADROOM, &source.entry, NULL) == ERR_OK);
    stamp(world, source.entry, &view);
    source.size = source.entry->size - HEADROOM;
    source.rows = view.header.rows;
    source.time_min_ns = view.header.time_min_ns;
    source.time_max_ns = view.header.time_max_ns;
    source.series_min = UINT32_MAX;
    for (uint32_t place = 0; place < view.header.known + view.header.fresh; place++) {
        uint32_t id = block_view_id(&view, place);

        source.series_min = id < source.series_min ? id : source.series_min;
        source.series_max = id > source.series_max ? id : source.series_max;
    }
    return source;
}

void world_make(struct world *world, uint64_t *chance, uint32_t blocks)
{
    struct block_builder *builder;

    memset(world, 0, sizeof *world);
    make_catalog(world);
    CHECK(block_builder_new(&builder) == ERR_OK);
    world->snapshot.sources = calloc(blocks + 1, sizeof *world->snapshot.sources);
    CHECK(world->snapshot.sources != NULL);
    for (uint32_t i = 0; i < blocks; i++)
        world->snapshot.sources[world->snapshot.source_count++] =
            make_block(world, builder, chance);
    block_builder_free(builder);
}

void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->snapshot.source_count; i++)
        buf_unref(world->snapshot.sources[i].entry);
    free(world->snapshot.sources);
    catalog_view_fini(&world->view);
    catalog_free(world->catalog);
}
