#include "tests/support/entries.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/types.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/tombstone.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static struct slice database_of(const char *table)
{
    const char *slash = strchr(table, '/');

    return slash == NULL ? text("db") : (struct slice){table, (size_t)(slash - table)};
}

static struct slice name_of(const char *table)
{
    const char *slash = strchr(table, '/');

    return text(slash == NULL ? table : slash + 1);
}

size_t entries_key(const char *table, const char *host, char *ret_key)
{
    struct tag tag = {text("host"), text(host)};
    size_t size = key_write(database_of(table), name_of(table), &tag, 1, ret_key, 256);

    CHECK(size > 0);
    return size;
}

static void add_value(struct block_builder *builder, const struct entries_value *value)
{
    enum err err;

    if (value->field == NULL)
        return;
    if (value->type == FIELD_STRING)
        err = block_builder_string(builder, value->field, strlen(value->field), value->text,
                                   strlen(value->text));
    else
        err = block_builder_value(builder, value->field, strlen(value->field), value->type,
                                  value->bits);
    CHECK(err == ERR_OK);
}

static bool same_row(const struct entries_value *a, const struct entries_value *b)
{
    return strcmp(a->table, b->table) == 0 && strcmp(a->host, b->host) == 0 &&
           a->time_ns == b->time_ns;
}

struct buf *entries_block(const struct entries_from *from, const struct entries_value *values,
                          size_t count)
{
    struct entry_header header = {.kind = ENTRY_BLOCK,
                                  .shard = from->shard,
                                  .producer = from->producer,
                                  .epoch = from->epoch,
                                  .sequence = from->sequence};
    struct block_builder *builder;
    struct buf *entry = NULL;
    enum err err = block_builder_new(&builder);

    CHECK(err == ERR_OK);
    for (size_t i = 0; i < count; i++) {
        char key[256];
        char table_key[256];
        size_t size = entries_key(values[i].table, values[i].host, key);
        size_t table_size = key_write_table(database_of(values[i].table), name_of(values[i].table),
                                            table_key, sizeof table_key);
        uint32_t series;

        err = block_builder_series(builder, key, size, table_size, key_hash(key, size),
                                   values[i].id == 0 ? BLOCK_ID_NONE : values[i].id - 1, &series);
        CHECK(err == ERR_OK);
        if (values[i].field != NULL && (i == 0 || !same_row(&values[i - 1], &values[i]))) {
            err = block_builder_row(builder, series, values[i].time_ns);
            CHECK(err == ERR_OK);
        }
        add_value(builder, &values[i]);
    }
    err = block_builder_finish(builder, sizeof header, &entry, NULL);
    CHECK(err == ERR_OK);
    block_builder_free(builder);
    header.size = entry->size;
    entry_stamp(&header);
    memcpy(entry->bytes, &header, sizeof header);
    return entry;
}

struct buf *entries_seal(uint32_t shard, uint64_t upto)
{
    return entries_drop(shard, upto, NULL, 0);
}

struct buf *entries_drop(uint32_t shard, uint64_t upto, const struct seal_database *databases,
                         uint32_t count)
{
    struct buf *entry = seal_order_entry(
        shard, upto, &(struct seal_content){.databases = databases, .database_count = count});

    CHECK(entry != NULL);
    return entry;
}

struct buf *entries_delete(uint32_t shard, uint64_t upto, const char *table, const char *host,
                           int64_t first_ns, int64_t last_ns)
{
    struct tombstone tombstone = {.first_ns = first_ns, .last_ns = last_ns};
    struct bytes bytes = {0};
    struct buf *entry;
    char key[256];

    tombstone.table_key =
        (struct slice){key, key_write_table(database_of(table), name_of(table), key, sizeof key)};
    if (host != NULL) {
        tombstone.conditions[0].tag = text("host");
        tombstone.conditions[0].value = text(host);
        tombstone.condition_count = 1;
    }
    tombstone_put(&tombstone, &bytes);
    entry = seal_order_entry(shard, upto,
                             &(struct seal_content){.tombstone = {(char *)bytes.data, bytes.size}});
    CHECK(entry != NULL);
    bytes_fini(&bytes);
    return entry;
}

struct buf *entries_compact(uint32_t shard, uint64_t upto,
                            const struct seal_compaction *compactions, uint32_t count)
{
    return entries_clean(shard, upto, NULL, 0, compactions, count);
}

struct buf *entries_clean(uint32_t shard, uint64_t upto, const struct seal_clean *cleans,
                          uint32_t clean_count, const struct seal_compaction *compactions,
                          uint32_t count)
{
    struct buf *entry = seal_order_entry(shard, upto,
                                         &(struct seal_content){.compactions = compactions,
                                                                .compaction_count = count,
                                                                .cleans = cleans,
                                                                .clean_count = clean_count});

    CHECK(entry != NULL);
    return entry;
}

void entries_stamp(struct buf *entry, const uint32_t *ids)
{
    uint8_t *block = entry->bytes + sizeof(struct entry_header);
    struct block_view view;

    CHECK(block_view(block, entry->size - sizeof(struct entry_header), true, &view) == ERR_OK);
    block_stamp(block, &view, ids);
}

struct buf *entries_copy(const struct buf *entry)
{
    struct buf *copy = buf_new(entry->size);

    CHECK(copy != NULL);
    memcpy(copy->bytes, entry->bytes, entry->size);
    copy->size = entry->size;
    return copy;
}
