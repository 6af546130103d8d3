#include "storage/catalog_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/base/varint.h"
#include "storage/label_index.h"

enum {
    NAME_SIZE_MIN = 6, /* Bytes of a name, a table, a shape: bounds what is allocated. */
    TABLE_SIZE_MIN = 5,
    SHAPE_SIZE_MIN = 2,
    POSTINGS_SIZE = 1, /* Bytes of postings a series that are kept. */
};

/* ---- Opening ------------------------------------------------------------------------------- */

enum err catalog_run_check(const struct catalog_run_header *header, uint64_t size, uint32_t shard)
{
    if (header->magic != CATALOG_RUN_MAGIC ||
        header->crc != crc32c(0, (const uint8_t *)header + 8, sizeof *header - 8))
        return err_set(ERR_CORRUPT, "offset 0: not the header of a catalog, or damaged");
    if (header->version != CATALOG_RUN_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", header->version,
                       CATALOG_RUN_VERSION);
    if (header->shard != shard)
        return err_set(ERR_CORRUPT, "offset 12: it belongs to shard %u", header->shard);
    if (header->size != size)
        return err_set(ERR_CORRUPT, "%" PRIu64 " bytes, it was written with %" PRIu64, size,
                       header->size);
    return ERR_OK;
}

enum err catalog_run_verify(const struct catalog_run *run)
{
    const struct catalog_run_header *header = &run->header;

    if (memcmp(run->bytes, header, sizeof *header) != 0)
        return err_set(ERR_CORRUPT, "offset 0: the header has changed");
    if (crc32c(0, run->bytes + sizeof *header, header->size - sizeof *header) != header->body_crc)
        return err_set(ERR_CORRUPT, "offset %zu to the end: bad checksum", sizeof *header);
    return ERR_OK;
}

/* The sections follow each other and end with the file. */
static enum err check_sections(const struct catalog_run_header *header)
{
    uint64_t groups = ((uint64_t)header->count + CATALOG_GROUP - 1) / CATALOG_GROUP;
    uint64_t table = 4 * ((uint64_t)header->buckets + 1) + 5 * (uint64_t)header->count;

    if (header->count == 0 || header->buckets == 0 || header->first > UINT32_MAX - header->count ||
        header->words_at < sizeof *header || header->groups_at < header->words_at ||
        header->places_at < header->groups_at || header->table_at < header->places_at ||
        header->size < header->table_at ||
        header->table_at - header->places_at != 8 * (groups + 1) ||
        header->size - header->table_at != table)
        return err_set(ERR_CORRUPT, "offset 16: the parts of the catalog do not fit together");
    return ERR_OK;
}

/* A string of at most `max` bytes with its size in front. */
static struct slice get_coded(struct reader *reader, size_t max, struct slice *ret_text)
{
    const uint8_t *start = reader->at;

    ret_text->data = reader_string(reader, max, &ret_text->size);
    return (struct slice){(const char *)start, (size_t)(reader->at - start)};
}

static bool get_name(struct catalog_run *run, struct reader *reader, uint32_t at)
{
    struct catalog_run_name *name = &run->names[at];
    uint64_t values_end = run->header.words_at;
    uint64_t count, offset, size, index;

    name->coded = get_coded(reader, NAME_SIZE_MAX, &name->name);
    name->values.shift = reader_u8(reader);
    count = reader_varint(reader);
    offset = reader_varint(reader);
    size = reader_varint(reader);
    if (reader->bad || count > UINT32_MAX ||
        (name->values.shift != 0 && name->values.shift != CATALOG_VALUES_SHIFT))
        return false;
    index = 4 * (uint64_t)catalog_values_blocks((uint32_t)count, name->values.shift);
    if (offset < sizeof run->header || offset > values_end || size > values_end - offset ||
        index > values_end - offset - size)
        return false;
    name->values.count = (uint32_t)count;
    name->values.blocks = run->bytes + offset;
    name->values.size = size;
    name->values.index = run->bytes + offset + size;
    return at == 0 || catalog_values_compare(run->names[at - 1].name, name->name) < 0;
}

static bool get_table(struct catalog_run *run, struct reader *reader, uint32_t at)
{
    struct catalog_run_table *table = &run->tables[at];
    uint64_t number = reader_varint(reader);
    uint64_t series;
    struct reader key;
    size_t size;

    table->key.data = reader_string(reader, KEY_SIZE_MAX, &table->key.size);
    series = reader_varint(reader);
    if (reader->bad || number > UINT32_MAX || series > run->header.count)
        return false;
    table->number = (uint32_t)number;
    table->series = (uint32_t)series;
    key = reader_on(table->key.data, table->key.size);
    (void)reader_string(&key, NAME_SIZE_MAX, &size);
    (void)reader_string(&key, NAME_SIZE_MAX, &size);
    return reader_done(&key) && (at == 0 || run->tables[at - 1].number < table->number);
}

static bool get_shape(struct catalog_run *run, struct reader *reader, uint32_t at, size_t *used)
{
    struct catalog_run_shape *shape = &run->shapes[at];
    uint64_t table = reader_varint(reader);
    uint64_t tags = reader_varint(reader);

    if (reader->bad || table >= run->header.tables || tags > CATALOG_RUN_TAGS ||
        tags > reader_left(reader))
        return false;
    shape->table = (uint32_t)table;
    shape->tags = (uint32_t)tags;
    shape->names = run->shape_names + *used;
    for (uint64_t i = 0; i < tags; i++) {
        uint64_t name = reader_varint(reader);

        if (reader->bad || name >= run->header.names ||
            (i > 0 && name <= run->shape_names[*used - 1]))
            return false;
        run->shape_names[(*used)++] = (uint32_t)name;
    }
    return true;
}

static enum err get_words(struct catalog_run *run)
{
    const struct catalog_run_header *header = &run->header;
    size_t size = (size_t)(header->groups_at - header->words_at);
    struct reader reader = reader_on(run->bytes + header->words_at, size);
    size_t used = 0;
    uint64_t series = 0;
    bool good = true;

    if (header->names > size / NAME_SIZE_MIN || header->tables > size / TABLE_SIZE_MIN ||
        header->shapes > size / SHAPE_SIZE_MIN)
        return err_set(ERR_CORRUPT, "offset 36: %u names, %u tables, %u shapes do not fit",
                       header->names, header->tables, header->shapes);
    run->names = calloc((size_t)header->names + 1, sizeof *run->names);
    run->tables = calloc((size_t)header->tables + 1, sizeof *run->tables);
    run->shapes = calloc((size_t)header->shapes + 1, sizeof *run->shapes);
    run->shape_names = malloc((size + 1) * sizeof *run->shape_names); /* A byte each, at least. */
    if (run->names == NULL || run->tables == NULL || run->shapes == NULL ||
        run->shape_names == NULL)
        return err_set(ERR_NO_MEMORY, "%zu bytes of names", size);
    for (uint32_t i = 0; i < header->names && good; i++)
        good = get_name(run, &reader, i);
    for (uint32_t i = 0; i < header->tables && good; i++) {
        good = get_table(run, &reader, i);
        series += run->tables[i].series;
    }
    good = good && series == header->count;
    for (uint32_t i = 0; i < header->shapes && good; i++)
        good = get_shape(run, &reader, i, &used);
    if (!good || !reader_done(&reader))
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": not its names, tables and shapes",
                       (uint64_t)(reader.at - run->bytes));
    return ERR_OK;
}

static void free_bytes(const struct disk *disk, const uint8_t *bytes, uint64_t size)
{
    if (disk != NULL)
        disk->unmap(bytes, size);
    else
        free((void *)(uintptr_t)bytes);
}

static enum err set_up(struct catalog_run *run, uint64_t size, uint32_t shard)
{
    const struct catalog_run_header *header = &run->header;
    enum err err;

    if (size < sizeof *header)
        return err_set(ERR_CORRUPT, "%" PRIu64 " bytes are no catalog", size);
    memcpy(&run->header, run->bytes, sizeof run->header);
    err = catalog_run_check(header, size, shard);
    if (err == ERR_OK)
        err = check_sections(header);
    if (err != ERR_OK)
        return err;
    run->groups = run->bytes + header->groups_at;
    run->groups_size = header->places_at - header->groups_at;
    run->places = run->bytes + header->places_at;
    run->buckets = run->bytes + header->table_at;
    run->entries = run->buckets + 4 * ((size_t)header->buckets + 1);
    err = label_index_new(POSTINGS_SIZE * (uint64_t)header->count, &run->postings);
    return err == ERR_OK ? get_words(run) : err;
}

enum err catalog_run_open(const uint8_t *bytes, uint64_t size, uint32_t shard,
                          const struct disk *disk, struct catalog_run **ret_run)
{
    struct catalog_run *run = calloc(1, sizeof *run);
    enum err err;

    if (run == NULL) {
        free_bytes(disk, bytes, size);
        return err_set(ERR_NO_MEMORY, "a run of the catalog");
    }
    atomic_init(&run->references, 1);
    run->disk = disk;
    run->bytes = bytes;
    err = set_up(run, size, shard);
    if (err != ERR_OK) {
        run->header.size = size; /* What is to be unmapped. */
        catalog_run_unref(run);
        return err;
    }
    *ret_run = run;
    return ERR_OK;
}

struct catalog_run *catalog_run_ref(struct catalog_run *run)
{
    (void)atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
    return run;
}

void catalog_run_unref(struct catalog_run *run)
{
    /* Release, and acquire at the last one: what others read came before it is unmapped. */
    if (run == NULL || atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) > 1)
        return;
    free_bytes(run->disk, run->bytes, run->header.size);
    label_index_free(run->postings);
    free(run->names);
    free(run->tables);
    free(run->shapes);
    free(run->shape_names);
    free(run);
}

/* ---- Groups -------------------------------------------------------------------------------- */

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

bool catalog_run_group(const struct catalog_run *run, uint32_t at, struct catalog_group *ret_group)
{
    uint64_t start = get_u64(run->places + 8 * (size_t)at);
    uint64_t end = get_u64(run->places + 8 * (size_t)at + 8);
    const uint8_t *heads;
    size_t used = 1;

    if (start >= end || end > run->groups_size)
        return false;
    heads = run->groups + start;
    if (heads[0] > CATALOG_RUN_TAGS)
        return false;
    ret_group->columns = heads[0];
    used += (size_t)CATALOG_COLUMN_SIZE * (1 + (size_t)heads[0]);
    if (used > end - start)
        return false;
    for (uint32_t c = 0; c <= ret_group->columns; c++) {
        const uint8_t *head = heads + 1 + (size_t)c * CATALOG_COLUMN_SIZE;

        ret_group->width[c] = head[0];
        ret_group->base[c] = get_u32(head + 1);
        ret_group->packed[c] = heads + used;
        used += (size_t)head[0] * CATALOG_GROUP / 8;
        /* What is packed may be read with eight bytes: the places of the groups come behind. */
        if (head[0] > 32 || used > end - start)
            return false;
    }
    return true;
}

bool catalog_run_codes(const struct catalog_run *run, uint32_t at, struct catalog_codes *ret_codes)
{
    const struct catalog_run_shape *shape;
    struct catalog_group group;
    uint32_t number;

    if (at >= run->header.count || !catalog_run_group(run, at / CATALOG_GROUP, &group))
        return false;
    number = catalog_group_value(&group, 0, at % CATALOG_GROUP);
    if (number >= run->header.shapes || run->shapes[number].tags > group.columns)
        return false;
    shape = &run->shapes[number];
    for (uint32_t i = 0; i < shape->tags; i++) {
        ret_codes->ranks[i] = catalog_group_value(&group, 1 + i, at % CATALOG_GROUP);
        if (ret_codes->ranks[i] >= run->names[shape->names[i]].values.count)
            return false;
    }
    ret_codes->shape = shape;
    return true;
}

/* The first column of a group alone: what admission asks of every series of every block. */
uint32_t catalog_run_table(const struct catalog_run *run, uint32_t at)
{
    const uint8_t *place, *heads;
    struct catalog_group group;
    uint64_t start, end;
    uint32_t shape;

    if (at >= run->header.count)
        return CATALOG_RUN_NONE;
    place = run->places + 8 * (size_t)(at / CATALOG_GROUP);
    start = get_u64(place);
    end = get_u64(place + 8);
    if (start >= end || end > run->groups_size || end - start < 1 + CATALOG_COLUMN_SIZE)
        return CATALOG_RUN_NONE;
    heads = run->groups + start;
    group.width[0] = heads[1];
    group.base[0] = get_u32(heads + 2);
    group.packed[0] = heads + 1 + CATALOG_COLUMN_SIZE * (1 + (size_t)heads[0]);
    if (group.width[0] > 32 ||
        (size_t)(group.packed[0] - heads) + (size_t)group.width[0] * CATALOG_GROUP / 8 >
            end - start)
        return CATALOG_RUN_NONE;
    shape = catalog_group_value(&group, 0, at % CATALOG_GROUP);
    return shape < run->header.shapes ? run->tables[run->shapes[shape].table].number
                                      : CATALOG_RUN_NONE;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

size_t catalog_run_key(const struct catalog_run *run, uint32_t at, char *room)
{
    struct catalog_codes codes;

    return catalog_run_codes(run, at, &codes) ? catalog_run_key_of(run, &codes, room) : 0;
}

size_t catalog_run_key_of(const struct catalog_run *run, const struct catalog_codes *codes,
                          char *room)
{
    struct slice table = run->tables[codes->shape->table].key;
    struct catalog_values_walk walk;
    size_t size = table.size;

    memcpy(room, table.data, table.size);
    for (uint32_t i = 0; i < codes->shape->tags; i++) {
        const struct catalog_run_name *name = &run->names[codes->shape->names[i]];
        struct slice value = catalog_values_get(&name->values, codes->ranks[i], &walk);

        if (value.data == NULL ||
            size + name->coded.size + VARINT_SIZE_MAX + value.size > KEY_SIZE_MAX + VARINT_SIZE_MAX)
            return 0;
        memcpy(room + size, name->coded.data, name->coded.size);
        size += name->coded.size;
        size = (size_t)((char *)varint_put((uint8_t *)room + size, value.size) - room);
        memcpy(room + size, value.data, value.size);
        size += value.size;
    }
    return size <= KEY_SIZE_MAX ? size : 0;
}

/* The next bytes of the key are these. */
static bool goes_on(struct reader *key, struct slice with)
{
    if (reader_left(key) < with.size || memcmp(key->at, with.data, with.size) != 0)
        return false;
    key->at += with.size;
    return true;
}

bool catalog_run_has(const struct catalog_run *run, uint32_t at, struct slice key)
{
    struct reader reader = reader_on(key.data, key.size);
    struct catalog_values_walk walk;
    struct catalog_codes codes;
    bool same =
        catalog_run_codes(run, at, &codes) && goes_on(&reader, run->tables[codes.shape->table].key);

    for (uint32_t i = 0; same && i < codes.shape->tags; i++) {
        const struct catalog_run_name *name = &run->names[codes.shape->names[i]];
        struct slice value = catalog_values_get(&name->values, codes.ranks[i], &walk);
        uint8_t size[VARINT_SIZE_MAX];
        struct slice coded = {(const char *)size, 0};

        coded.size = (size_t)(varint_put(size, value.size) - size);
        same = value.data != NULL && goes_on(&reader, name->coded) && goes_on(&reader, coded) &&
               goes_on(&reader, value);
    }
    return same && reader_done(&reader);
}

/* ---- Finding ------------------------------------------------------------------------------- */

/* Where to look for a hash: the tags of its bucket, and behind them the series. */
struct probe {
    const uint8_t *tags;
    uint32_t count;
    uint8_t tag;
};

static struct probe probe_of(const struct catalog_run *run, uint64_t hash)
{
    const uint8_t *bucket =
        run->buckets + 4 * (size_t)catalog_run_bucket(hash, run->header.buckets);
    uint32_t start = get_u32(bucket), end = get_u32(bucket + 4);
    struct probe probe = {run->entries, 0, catalog_run_tag(hash)};

    if (start <= end && end <= run->header.count) {
        probe.tags += 5 * (size_t)start;
        probe.count = end - start;
    }
    return probe;
}

/* The next one, from `*at` on, that the key may be; CATALOG_RUN_NONE: there is none. */
static uint32_t next_candidate(const struct probe *probe, uint32_t *at)
{
    while (*at < probe->count && probe->tags[*at] != probe->tag)
        ++*at;
    if (*at == probe->count)
        return CATALOG_RUN_NONE;
    return get_u32(probe->tags + probe->count + 4 * (size_t)(*at)++);
}

uint32_t catalog_run_find(const struct catalog_run *run, struct slice key, uint64_t hash)
{
    struct probe probe = probe_of(run, hash);
    uint32_t series, at = 0;

    while ((series = next_candidate(&probe, &at)) != CATALOG_RUN_NONE)
        if (catalog_run_has(run, series, key))
            return series;
    return CATALOG_RUN_NONE;
}

enum { LINE = 64, GROUP_LINES = 6 }; /* Of four tags a group has 300 to 400 bytes. */

static void prefetch_place(const struct catalog_run *run, uint32_t series)
{
    if (series < run->header.count)
        __builtin_prefetch(run->places + 8 * (size_t)(series / CATALOG_GROUP));
}

static void prefetch_group(const struct catalog_run *run, uint32_t series)
{
    uint64_t start;

    if (series >= run->header.count)
        return;
    start = get_u64(run->places + 8 * (size_t)(series / CATALOG_GROUP));
    for (int i = 0; start < run->groups_size && i < GROUP_LINES; i++)
        __builtin_prefetch(run->groups + start + (size_t)i * LINE);
}

/* The index of each of its values, and then (`deep`) the values. */
static void prefetch_values(const struct catalog_run *run, uint32_t series, bool deep)
{
    struct catalog_codes codes;

    if (!catalog_run_codes(run, series, &codes))
        return;
    for (uint32_t i = 0; i < codes.shape->tags; i++)
        catalog_values_prefetch(&run->names[codes.shape->names[i]].values, codes.ranks[i], deep);
}

void catalog_run_find_batch(const struct catalog_run *run, const struct slice *keys,
                            const uint64_t *hashes, uint32_t count, uint32_t *series)
{
    struct probe probes[CATALOG_RUN_BATCH];
    uint32_t asked[CATALOG_RUN_BATCH], candidates[CATALOG_RUN_BATCH];
    uint32_t left = 0, likely = 0;

    CHECK(count <= CATALOG_RUN_BATCH);
    for (uint32_t i = 0; i < count; i++) {
        if (series[i] != CATALOG_RUN_NONE)
            continue;
        asked[left++] = i;
        __builtin_prefetch(run->buckets +
                           4 * (size_t)catalog_run_bucket(hashes[i], run->header.buckets));
    }
    for (uint32_t i = 0; i < left; i++) {
        probes[i] = probe_of(run, hashes[asked[i]]);
        __builtin_prefetch(probes[i].tags);
        __builtin_prefetch(probes[i].tags + LINE);
    }
    for (uint32_t i = 0; i < left; i++) {
        uint32_t at = 0, candidate = next_candidate(&probes[i], &at);

        if (candidate == CATALOG_RUN_NONE)
            continue;
        asked[likely] = asked[i];
        candidates[likely++] = candidate;
        prefetch_place(run, candidate);
    }
    for (uint32_t i = 0; i < likely; i++)
        prefetch_group(run, candidates[i]);
    for (uint32_t i = 0; i < likely; i++)
        prefetch_values(run, candidates[i], false);
    for (uint32_t i = 0; i < likely; i++)
        prefetch_values(run, candidates[i], true);
    for (uint32_t i = 0; i < likely; i++)
        series[asked[i]] = catalog_run_find(run, keys[asked[i]], hashes[asked[i]]);
}
