#include "storage/block/seal_order.h"

#include <inttypes.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/entry.h"
#include "storage/block/tombstone.h"

static void put_compaction(const struct seal_compaction *compaction, struct bytes *out)
{
    CHECK(compaction->count <= SEAL_INPUTS_MAX);
    bytes_put_u32(out, compaction->count);
    for (uint32_t i = 0; i < compaction->count; i++)
        bytes_put_u64(out, compaction->inputs[i]);
}

/* Orders without one end before them, as all did once. */
static void put_cleans(const struct seal_content *content, struct bytes *out)
{
    if (content->clean_count == 0)
        return;
    bytes_put_u32(out, content->clean_count);
    for (uint32_t i = 0; i < content->clean_count; i++) {
        bytes_put_u64(out, content->cleans[i].number);
        bytes_put_u64(out, content->cleans[i].index);
    }
}

struct buf *seal_order_entry(uint32_t shard, uint64_t upto, const struct seal_content *content)
{
    struct entry_header header = {.kind = ENTRY_SEAL, .shard = shard};
    struct bytes bytes = {0};
    struct buf *entry = NULL;

    CHECK(content->database_count <= SEAL_DATABASES_MAX);
    CHECK(content->compaction_count <= SEAL_COMPACTIONS_MAX);
    CHECK(content->clean_count <= SEAL_CLEANS_MAX);
    (void)bytes_add(&bytes, sizeof header);
    bytes_put_u64(&bytes, upto);
    bytes_put_u32(&bytes, content->database_count);
    for (uint32_t i = 0; i < content->database_count; i++) {
        const struct seal_database *database = &content->databases[i];

        bytes_put_string(&bytes, database->name.data, database->name.size);
        bytes_put_u64(&bytes, (uint64_t)database->window_ns);
        bytes_put_u64(&bytes, (uint64_t)database->cutoff_ns);
        bytes_put_u64(&bytes, database->drop);
    }
    bytes_put_string(&bytes, content->tombstone.data, content->tombstone.size);
    bytes_put_u32(&bytes, content->compaction_count);
    for (uint32_t i = 0; i < content->compaction_count; i++)
        put_compaction(&content->compactions[i], &bytes);
    put_cleans(content, &bytes);
    if (!bytes.failed)
        entry = buf_new((uint32_t)bytes.size);
    if (entry != NULL) {
        header.size = entry->size = (uint32_t)bytes.size;
        entry_stamp(&header);
        memcpy(entry->bytes, bytes.data, bytes.size);
        memcpy(entry->bytes, &header, sizeof header);
    }
    bytes_fini(&bytes);
    return entry;
}

static void read_database(struct reader *reader, struct seal_database *ret_database)
{
    ret_database->name.data = reader_string(reader, NAME_SIZE_MAX, &ret_database->name.size);
    ret_database->window_ns = (int64_t)reader_u64(reader);
    ret_database->cutoff_ns = (int64_t)reader_u64(reader);
    ret_database->drop = reader_u64(reader);
}

static struct seal_compaction read_compaction(struct reader *reader)
{
    struct seal_compaction compaction = {.count = reader_u32(reader)};

    if (compaction.count == 0 || compaction.count > SEAL_INPUTS_MAX)
        reader->bad = true;
    for (uint32_t i = 0; i < compaction.count && !reader->bad; i++)
        compaction.inputs[i] = reader_u64(reader);
    return compaction;
}

static struct seal_clean read_clean(struct reader *reader)
{
    uint64_t number = reader_u64(reader);

    return (struct seal_clean){number, reader_u64(reader)};
}

static void check_cleans(struct seal_order *order, struct reader *reader)
{
    if (reader->bad || reader_left(reader) == 0)
        return;
    order->cleans_left = reader_u32(reader);
    order->cleans = *reader;
    if (order->cleans_left == 0 || order->cleans_left > SEAL_CLEANS_MAX)
        reader->bad = true;
    for (uint32_t i = 0; i < order->cleans_left && !reader->bad; i++)
        (void)read_clean(reader);
}

/* All of them, and the clean segments, behind which the order ends. */
static enum err check_compactions(struct seal_order *order, struct reader *reader)
{
    order->compactions_left = reader_u32(reader);
    order->compactions = *reader;
    if (order->compactions_left > SEAL_COMPACTIONS_MAX)
        reader->bad = true;
    for (uint32_t i = 0; i < order->compactions_left && !reader->bad; i++)
        (void)read_compaction(reader);
    check_cleans(order, reader);
    if (reader_done(reader))
        return ERR_OK;
    return err_set(ERR_INVALID,
                   "a seal with %u compactions and %u clean segments ends too early or too late",
                   order->compactions_left, order->cleans_left);
}

static enum err check_tombstone(const struct seal_order *order, struct seal_order *ret_order)
{
    struct tombstone tombstone;
    enum err err = tombstone_get(order->tombstone.data, order->tombstone.size, &tombstone);

    if (err == ERR_OK)
        *ret_order = *order;
    return err;
}

enum err seal_order_read(const struct buf *entry, struct seal_order *ret_order)
{
    struct seal_order order = {.upto = 0};
    struct reader reader;

    if (entry->size < sizeof(struct entry_header))
        return err_set(ERR_INVALID, "a seal of %u bytes", entry->size);
    order.reader = reader_on(entry->bytes + sizeof(struct entry_header),
                             entry->size - sizeof(struct entry_header));
    order.upto = reader_u64(&order.reader);
    order.left = reader_u32(&order.reader);
    reader = order.reader;
    if (reader.bad || order.left > SEAL_DATABASES_MAX)
        return err_set(ERR_INVALID, "a seal of %u bytes for %u databases", entry->size, order.left);
    for (uint32_t i = 0; i < order.left; i++) {
        struct seal_database database;

        read_database(&reader, &database);
        if (reader.bad || database.name.size == 0 || database.window_ns < SEAL_WINDOW_MIN_NS)
            return err_set(ERR_INVALID,
                           "a seal: database %u of %u has no name, or windows of %" PRId64 " ns", i,
                           order.left, database.window_ns);
    }
    order.tombstone.data = reader_string(&reader, TOMBSTONE_SIZE_MAX, &order.tombstone.size);
    if (check_compactions(&order, &reader) != ERR_OK)
        return ERR_INVALID;
    if (order.tombstone.size > 0)
        return check_tombstone(&order, ret_order);
    *ret_order = order;
    return ERR_OK;
}

bool seal_order_next(struct seal_order *order, struct seal_database *ret_database)
{
    if (order->left == 0)
        return false;
    order->left--;
    read_database(&order->reader, ret_database);
    return true;
}

bool seal_order_compaction(struct seal_order *order, struct seal_compaction *ret_compaction)
{
    if (order->compactions_left == 0)
        return false;
    order->compactions_left--;
    *ret_compaction = read_compaction(&order->compactions);
    return true;
}

bool seal_order_clean(struct seal_order *order, struct seal_clean *ret_clean)
{
    if (order->cleans_left == 0)
        return false;
    order->cleans_left--;
    *ret_clean = read_clean(&order->cleans);
    return true;
}
