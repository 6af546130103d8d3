#include "storage/block/seal_order.h"

#include <inttypes.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/entry.h"
#include "storage/block/tombstone.h"

struct buf *seal_order_entry(uint32_t shard, uint64_t upto, const struct seal_database *databases,
                             uint32_t count, struct slice tombstone)
{
    struct entry_header header = {.kind = ENTRY_SEAL, .shard = shard};
    struct bytes bytes = {0};
    struct buf *entry = NULL;

    CHECK(count <= SEAL_DATABASES_MAX);
    (void)bytes_add(&bytes, sizeof header);
    bytes_put_u64(&bytes, upto);
    bytes_put_u32(&bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_string(&bytes, databases[i].name.data, databases[i].name.size);
        bytes_put_u64(&bytes, (uint64_t)databases[i].window_ns);
        bytes_put_u64(&bytes, (uint64_t)databases[i].cutoff_ns);
        bytes_put_u64(&bytes, databases[i].drop);
    }
    bytes_put_string(&bytes, tombstone.data, tombstone.size);
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
    if (!reader_done(&reader))
        return err_set(ERR_INVALID, "a seal of %u bytes ends too early or too late", entry->size);
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
