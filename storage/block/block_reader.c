#include "storage/block/block_reader.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_int.h"
#include "storage/block/column_time.h"
#include "storage/block/pack.h"

enum {
    LZ4_RATIO_MAX = 255, /* No byte of an LZ4 block makes more bytes than this. */
    FIELDS_FIRST = 64,   /* Room to begin with when finding fields. */
};

struct loaded_field {
    struct block_field field;
    struct column_presence presence;
    struct reader values;
};

struct loaded_section {
    struct block_section section;
    struct reader runs;
    struct reader times;
    uint32_t first_field;
};

struct block {
    struct block_header header;
    const uint8_t *body; /* Without LZ4. */
    uint8_t *raw;        /* Owned: that body; NULL if it was stored as it is. */
    struct loaded_section *sections;
    struct loaded_field *fields;
    uint32_t field_count;
    uint32_t field_capacity;
    uint32_t runs_max; /* Of all sections. */
    uint64_t *scratch; /* Owned, taken at first need: room for places and counts of runs_max. */
    const struct loaded_section *counted; /* The section whose counts stand there. */
};

/* ---- Header and directory ------------------------------------------------------------------ */

/* What is wrong with a header whose checksum is right, or NULL. */
static const char *header_fault(const struct block_header *header, size_t size)
{
    if (header->version != BLOCK_VERSION)
        return "version (is this program too old?)";
    if (header->known > BLOCK_SERIES_MAX || header->fresh > BLOCK_SERIES_MAX - header->known)
        return "number of series";
    if (header->rows > BLOCK_ROWS_MAX || header->tables > BLOCK_TABLES_MAX ||
        header->tables > header->rows || (header->tables == 0) != (header->rows == 0))
        return "number of rows or tables";
    if (header->rows > 0 && header->known + header->fresh == 0)
        return "rows without series";
    if (header->points > (uint64_t)header->rows * FIELD_COUNT_MAX)
        return "number of points";
    if (header->time_min_ns > header->time_max_ns ||
        (header->rows == 0 && (header->time_min_ns != 0 || header->time_max_ns != 0)))
        return "time range";
    if ((uint64_t)sizeof *header + header->directory_size + header->body_size != size)
        return "sizes";
    if (header->body_raw_size > BLOCK_BODY_RAW_MAX || header->body_raw_size < header->body_size ||
        header->body_raw_size > (uint64_t)header->body_size * LZ4_RATIO_MAX ||
        (header->rows == 0 && header->body_raw_size != 0))
        return "body size";
    return NULL;
}

/* Find the directory's parts; false if it is too small for them. */
static bool find_directory(struct block_view *view, const uint8_t *directory)
{
    const struct block_header *header = &view->header;
    uint32_t groups = (header->known + BLOCK_ID_GROUP - 1) / BLOCK_ID_GROUP;
    struct reader reader = reader_on(directory, header->directory_size);

    if (header->known > 0)
        view->id_width = reader_u8(&reader);
    if (view->id_width > 32)
        return false;
    view->bases = reader_take(&reader, groups * sizeof(uint32_t));
    view->offsets = reader_take(&reader, pack_size(header->known, view->id_width));
    view->slots = reader_take(&reader, header->fresh * sizeof(uint32_t));
    view->keys = reader.at;
    view->body = directory + header->directory_size;
    return !reader.bad;
}

/* A group ends on a byte's border, so it can be unpacked alone. */
static_assert(BLOCK_ID_GROUP % 8 == 0, "so many of any width are whole bytes");

/* Known ids ascend. */
static bool ids_ascend(const struct block_view *view)
{
    uint32_t known = view->header.known, last = 0;

    for (uint32_t first = 0; first < known; first += BLOCK_ID_GROUP) {
        uint32_t count = known - first < BLOCK_ID_GROUP ? known - first : BLOCK_ID_GROUP;
        uint64_t offsets[BLOCK_ID_GROUP];
        uint32_t base;

        memcpy(&base, view->bases + first / BLOCK_ID_GROUP * sizeof base, sizeof base);
        pack_get(view->offsets + first / 8 * view->id_width, count, view->id_width, offsets);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t id = base + (uint32_t)offsets[i];

            if (id < last || id == BLOCK_ID_NONE)
                return false;
            last = id;
        }
    }
    return true;
}

/* Known ids ascend, fresh keys are canonical and fill the rest. */
static const char *directory_fault(const struct block_view *view)
{
    const struct block_header *header = &view->header;
    struct reader reader = reader_on(view->keys, (size_t)(view->body - view->keys));

    if (!ids_ascend(view))
        return "order of ids";
    for (uint32_t i = 0; i < header->fresh; i++) {
        struct key_parts parts;
        size_t size;
        const char *key = reader_string(&reader, KEY_SIZE_MAX, &size);

        if (reader.bad || key_parse(key, size, &parts) != 0)
            return "series key";
    }
    return reader_done(&reader) ? NULL : "directory size";
}

enum err block_view(const void *bytes, size_t size, bool verify_body, struct block_view *ret_view)
{
    struct block_view view = {.size = size};
    struct block_header *header = &view.header;
    const uint8_t *start = bytes;
    const char *fault;
    uint32_t crc;

    if (size < sizeof *header)
        return err_set(ERR_CORRUPT, "block: %zu bytes are no header of %zu", size, sizeof *header);
    memcpy(header, start, sizeof *header);
    if (header->magic != BLOCK_MAGIC)
        return err_set(ERR_CORRUPT, "block: magic is 0x%08x, not 0x%08x", header->magic,
                       BLOCK_MAGIC);
    crc = block_header_crc(header);
    if (crc != header->header_crc)
        return err_set(ERR_CORRUPT, "block: header checksum is 0x%08x, not 0x%08x", crc,
                       header->header_crc);
    fault = header_fault(header, size);
    if (fault != NULL)
        return err_set(ERR_CORRUPT, "block of %zu bytes, version %u: bad %s", size, header->version,
                       fault);
    crc = crc32c(0, start + sizeof *header, header->directory_size);
    if (crc != header->directory_crc)
        return err_set(ERR_CORRUPT, "block: directory checksum is 0x%08x, not 0x%08x", crc,
                       header->directory_crc);
    fault =
        find_directory(&view, start + sizeof *header) ? directory_fault(&view) : "size of parts";
    if (fault != NULL)
        return err_set(ERR_CORRUPT, "block: bad %s in the directory of %u ids and %u keys", fault,
                       header->known, header->fresh);
    if (verify_body) {
        crc = crc32c(0, view.body, header->body_size);
        if (crc != header->body_crc)
            return err_set(ERR_CORRUPT, "block: body checksum is 0x%08x, not 0x%08x", crc,
                           header->body_crc);
    }
    *ret_view = view;
    return ERR_OK;
}

struct block_view block_view_again(const void *bytes, size_t size)
{
    struct block_view view = {.size = size};

    memcpy(&view.header, bytes, sizeof view.header);
    CHECK(find_directory(&view, (const uint8_t *)bytes + sizeof view.header));
    return view;
}

uint32_t block_view_id_min(const struct block_view *view)
{
    uint32_t least = view->header.known > 0 ? block_view_id(view, 0) : UINT32_MAX;

    for (uint32_t i = 0; i < view->header.fresh; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        least = id < least ? id : least;
    }
    return least;
}

uint32_t block_view_id_max(const struct block_view *view)
{
    uint32_t most = view->header.known > 0 ? block_view_id(view, view->header.known - 1) : 0;

    for (uint32_t i = 0; i < view->header.fresh; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        most = id > most ? id : most;
    }
    return most;
}

static bool has_known(const struct block_view *view, uint32_t id)
{
    uint32_t low = 0, high = view->header.known;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (block_view_id(view, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < view->header.known && block_view_id(view, low) == id;
}

bool block_view_may_have(const struct block_view *view, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < view->header.fresh && count > 0; i++) {
        uint32_t id = block_view_id(view, view->header.known + i);

        if (id >= ids[0] && id <= ids[count - 1])
            return true;
    }
    for (uint32_t i = 0; i < count; i++)
        if (has_known(view, ids[i]))
            return true;
    return false;
}

bool block_view_next_key(const struct block_view *view, size_t *at, const char **ret_key,
                         size_t *ret_size)
{
    struct reader reader = reader_on(view->keys + *at, (size_t)(view->body - view->keys) - *at);

    if (reader_left(&reader) == 0)
        return false;
    *ret_key = reader_string(&reader, KEY_SIZE_MAX, ret_size);
    *at = (size_t)(reader.at - view->keys);
    return !reader.bad;
}

void block_stamp(void *bytes, struct block_view *view, const uint32_t *ids)
{
    struct block_header *header = &view->header;
    uint8_t *start = bytes;
    uint8_t *directory = start + sizeof *header;

    if (header->fresh > 0)
        memcpy(start + (view->slots - start), ids, header->fresh * sizeof *ids);
    header->directory_crc = crc32c(0, directory, header->directory_size);
    header->header_crc = block_header_crc(header);
    memcpy(bytes, header, sizeof *header);
}

/* ---- Loading ------------------------------------------------------------------------------- */

static struct reader take_piece(struct reader *reader)
{
    size_t size;
    const char *piece = reader_string(reader, SIZE_MAX, &size);

    return reader_on(piece, size);
}

static bool ascend(struct slice before, struct slice after)
{
    int order =
        memcmp(before.data, after.data, before.size < after.size ? before.size : after.size);

    return order < 0 || (order == 0 && before.size < after.size);
}

/* One more; NULL: no memory. */
static struct loaded_field *add_field(struct block *block)
{
    if (block->field_count == block->field_capacity) {
        uint32_t capacity = block->field_capacity == 0 ? FIELDS_FIRST : 2 * block->field_capacity;
        struct loaded_field *fields = realloc(block->fields, capacity * sizeof *fields);

        if (fields == NULL)
            return NULL;
        block->fields = fields;
        block->field_capacity = capacity;
    }
    return &block->fields[block->field_count++];
}

static enum err find_fields(struct block *block, struct reader *reader,
                            struct loaded_section *loaded, uint64_t *points)
{
    const struct block_section *section = &loaded->section;

    loaded->first_field = block->field_count;
    for (uint32_t at = 0; at < section->fields; at++) {
        struct loaded_field *field = add_field(block);
        uint8_t type;

        if (field == NULL)
            return err_set(ERR_NO_MEMORY, "block: %u fields", block->field_count + 1);
        field->field.name.data = reader_string(reader, NAME_SIZE_MAX, &field->field.name.size);
        type = reader_u8(reader);
        column_find_presence(reader, section->rows, &field->presence);
        field->values = take_piece(reader);
        field->field.type = (enum field_type)type;
        field->field.values = field->presence.values;
        *points += field->presence.values;
        if (reader->bad || field->field.name.size == 0 || type == 0 || type >= FIELD_TYPE_END ||
            (at > 0 && !ascend(field[-1].field.name, field->field.name)))
            return err_set(ERR_CORRUPT, "block: bad field %u of %u", at, section->fields);
    }
    return ERR_OK;
}

static bool is_table_key(const char *key, size_t size)
{
    struct key_parts parts;

    return key_parse(key, size, &parts) == 0 && parts.table_key_size == size;
}

static enum err find_section(struct block *block, struct reader *reader, uint32_t at,
                             uint64_t *rows, uint64_t *points)
{
    struct loaded_section *loaded = &block->sections[at];
    struct block_section *section = &loaded->section;
    uint64_t run_count, row_count, field_count;

    section->table_key = reader_string(reader, KEY_SIZE_MAX, &section->table_key_size);
    run_count = reader_varint(reader);
    row_count = reader_varint(reader);
    field_count = reader_varint(reader);
    loaded->runs = take_piece(reader);
    loaded->times = take_piece(reader);
    if (reader->bad || !is_table_key(section->table_key, section->table_key_size))
        return err_set(ERR_CORRUPT, "block: bad table key or sizes");
    if (row_count < 1 || row_count > block->header.rows - *rows || run_count < 1 ||
        run_count > row_count || field_count > FIELD_COUNT_MAX)
        return err_set(ERR_CORRUPT,
                       "block: %llu runs, %llu rows, %llu fields in a block of %u rows",
                       (unsigned long long)run_count, (unsigned long long)row_count,
                       (unsigned long long)field_count, block->header.rows);
    if (at > 0) {
        const struct block_section *before = &loaded[-1].section;

        if (!ascend((struct slice){before->table_key, before->table_key_size},
                    (struct slice){section->table_key, section->table_key_size}))
            return err_set(ERR_CORRUPT, "block: order of tables");
    }
    section->runs = (uint32_t)run_count;
    section->rows = (uint32_t)row_count;
    section->fields = (uint32_t)field_count;
    *rows += row_count;
    if (section->runs > block->runs_max)
        block->runs_max = section->runs;
    return find_fields(block, reader, loaded, points);
}

static enum err find_sections(struct block *block)
{
    struct reader reader = reader_on(block->body, block->header.body_raw_size);
    uint64_t rows = 0, points = 0;

    for (uint32_t at = 0; at < block->header.tables; at++) {
        enum err err = find_section(block, &reader, at, &rows, &points);

        if (err != ERR_OK)
            return err_wrap(err, "table %u of %u", at, block->header.tables);
    }
    if (!reader_done(&reader) || rows != block->header.rows || points != block->header.points)
        return err_set(ERR_CORRUPT,
                       "block: header says %u rows and %u points, tables have %llu and %llu",
                       block->header.rows, block->header.points, (unsigned long long)rows,
                       (unsigned long long)points);
    return ERR_OK;
}

static enum err decompress(struct block *block, const struct block_view *view)
{
    const struct block_header *header = &view->header;
    int size;

    block->body = view->body;
    if (header->body_size == header->body_raw_size)
        return ERR_OK;
    block->raw = malloc(header->body_raw_size);
    if (block->raw == NULL)
        return err_set(ERR_NO_MEMORY, "block: body of %u bytes", header->body_raw_size);
    size = LZ4_decompress_safe((const char *)view->body, (char *)block->raw, (int)header->body_size,
                               (int)header->body_raw_size);
    if (size < 0 || (uint32_t)size != header->body_raw_size)
        return err_set(ERR_CORRUPT, "block: LZ4 gives %d bytes from %u, not %u", size,
                       header->body_size, header->body_raw_size);
    block->body = block->raw;
    return ERR_OK;
}

enum err block_load(const struct block_view *view, struct block **ret_block)
{
    struct block *block = calloc(1, sizeof *block);
    enum err err;

    if (block == NULL)
        return err_set(ERR_NO_MEMORY, "block");
    block->header = view->header;
    block->sections = calloc(view->header.tables + 1u, sizeof *block->sections);
    if (block->sections == NULL)
        err = err_set(ERR_NO_MEMORY, "block: %u tables", view->header.tables);
    else
        err = decompress(block, view);
    if (err == ERR_OK)
        err = find_sections(block);
    if (err != ERR_OK) {
        block_free(block);
        return err;
    }
    *ret_block = block;
    return ERR_OK;
}

void block_free(struct block *block)
{
    if (block == NULL)
        return;
    free(block->raw);
    free(block->sections);
    free(block->fields);
    free(block->scratch);
    free(block);
}

/* ---- Columns ------------------------------------------------------------------------------- */

uint32_t block_sections(const struct block *block)
{
    return block->header.tables;
}

static const struct loaded_section *section_at(const struct block *block, uint32_t at)
{
    CHECK(at < block->header.tables);
    return &block->sections[at];
}

static const struct loaded_field *field_at(const struct block *block, uint32_t section,
                                           uint32_t field)
{
    const struct loaded_section *loaded = section_at(block, section);

    CHECK(field < loaded->section.fields);
    return &block->fields[loaded->first_field + field];
}

const struct block_section *block_section(const struct block *block, uint32_t at)
{
    return &section_at(block, at)->section;
}

const struct block_field *block_field(const struct block *block, uint32_t section, uint32_t field)
{
    return &field_at(block, section, field)->field;
}

/* Decode places and counts into block->scratch, one behind the other. */
static enum err read_runs(struct block *block, const struct loaded_section *loaded)
{
    const struct block_section *section = &loaded->section;
    uint32_t series = block->header.known + block->header.fresh;
    struct reader reader = loaded->runs;
    uint64_t rows = 0;
    uint64_t *places, *counts;

    if (block->scratch == NULL)
        block->scratch = malloc((size_t)block->runs_max * 2 * sizeof *block->scratch);
    if (block->scratch == NULL)
        return err_set(ERR_NO_MEMORY, "block: %u runs", block->runs_max);
    block->counted = NULL;
    places = block->scratch;
    counts = block->scratch + section->runs;
    column_int_get(&reader, section->runs, places);
    column_int_get(&reader, section->runs, counts);
    if (!reader_done(&reader))
        return err_set(ERR_CORRUPT, "block: bad column of %u runs", section->runs);
    for (uint32_t run = 0; run < section->runs; run++) {
        if (places[run] >= series || (run > 0 && places[run] <= places[run - 1]))
            return err_set(ERR_CORRUPT, "block: run %u has place %llu of %u", run,
                           (unsigned long long)places[run], series);
        if (counts[run] < 1 || counts[run] > section->rows - rows)
            return err_set(ERR_CORRUPT, "block: run %u has %llu rows of %u", run,
                           (unsigned long long)counts[run], section->rows);
        rows += counts[run];
    }
    if (rows != section->rows)
        return err_set(ERR_CORRUPT, "block: runs have %llu rows, not %u", (unsigned long long)rows,
                       section->rows);
    block->counted = loaded;
    return ERR_OK;
}

enum err block_read_runs(struct block *block, uint32_t section, uint32_t *places, uint32_t *counts)
{
    const struct loaded_section *loaded = section_at(block, section);
    uint32_t runs = loaded->section.runs;
    enum err err = read_runs(block, loaded);

    if (err != ERR_OK)
        return err;
    for (uint32_t run = 0; run < runs; run++) {
        places[run] = (uint32_t)block->scratch[run];
        counts[run] = (uint32_t)block->scratch[runs + run];
    }
    return ERR_OK;
}

/* Rows `first` to `end` - 1 are within the header's range. */
static enum err check_times(const struct block *block, uint32_t first, uint32_t end,
                            const int64_t *times_ns)
{
    int64_t min_ns = INT64_MAX, max_ns = INT64_MIN;

    for (uint32_t row = first; row < end; row++) {
        min_ns = times_ns[row] < min_ns ? times_ns[row] : min_ns;
        max_ns = times_ns[row] > max_ns ? times_ns[row] : max_ns;
    }
    if (first < end && (min_ns < block->header.time_min_ns || max_ns > block->header.time_max_ns))
        return err_set(ERR_CORRUPT, "block: rows %u to %u have times outside of the header's",
                       first, end);
    return ERR_OK;
}

enum err block_read_some_times(struct block *block, uint32_t section, uint32_t first, uint32_t end,
                               int64_t *times_ns)
{
    const struct loaded_section *loaded = section_at(block, section);
    uint32_t runs = loaded->section.runs, start = 0, behind = 0;
    struct reader reader = loaded->times;
    const uint64_t *counts;
    enum err err = block->counted == loaded ? ERR_OK : read_runs(block, loaded);

    CHECK(first <= end);
    CHECK(end <= runs);
    if (err != ERR_OK)
        return err;
    counts = block->scratch + runs;
    column_time_get_some(&reader, counts, runs, loaded->section.rows, first, end, block->scratch,
                         times_ns);
    if (reader.bad || (first == 0 && end == runs && !reader_done(&reader)))
        return err_set(ERR_CORRUPT, "block: bad column of %u times", loaded->section.rows);
    for (uint32_t run = 0; run < end; run++) {
        start += run < first ? (uint32_t)counts[run] : 0;
        behind += (uint32_t)counts[run];
    }
    return check_times(block, start, behind, times_ns);
}

enum err block_read_times(struct block *block, uint32_t section, int64_t *times_ns)
{
    return block_read_some_times(block, section, 0, section_at(block, section)->section.runs,
                                 times_ns);
}

enum err block_read_some_values(struct block *block, uint32_t section, uint32_t field,
                                uint32_t first, uint32_t end, uint8_t *present, uint64_t *values,
                                const char **ret_strings)
{
    const struct loaded_field *loaded = field_at(block, section, field);
    uint32_t rows = block->sections[section].section.rows, count = loaded->field.values;
    struct reader reader = loaded->values;

    CHECK(first <= end);
    CHECK(end <= rows);
    if (count < rows) { /* Where a row's value stands depends on all rows before. */
        first = 0;
        end = rows;
    }
    if (count == rows)
        memset(present + first, 1, end - first);
    else if (!column_get_presence(&loaded->presence, rows, present))
        return err_set(ERR_CORRUPT, "block: field %.*s: bad presence of %u in %u rows",
                       (int)loaded->field.name.size, loaded->field.name.data, count, rows);
    column_get_some_values(&reader, loaded->field.type, count, first, end < count ? end : count,
                           values, ret_strings);
    if (reader.bad || (first == 0 && end == rows && !reader_done(&reader)))
        return err_set(ERR_CORRUPT, "block: field %.*s: bad column of %u values",
                       (int)loaded->field.name.size, loaded->field.name.data, count);
    column_spread(present, rows, count, values);
    return ERR_OK;
}

enum err block_read_field(struct block *block, uint32_t section, uint32_t field, uint8_t *present,
                          uint64_t *values, const char **ret_strings)
{
    return block_read_some_values(block, section, field, 0, block->sections[section].section.rows,
                                  present, values, ret_strings);
}

struct reader block_packed_field(const struct block *block, uint32_t section, uint32_t field)
{
    return field_at(block, section, field)->values;
}
