/*
 * Orders of seals from anybody: what is accepted is written again the same, and so is a tombstone.
 */
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/entry.h"
#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tombstone(struct slice bytes)
{
    struct tombstone tombstone;
    struct bytes again = {0};

    CHECK(tombstone_get(bytes.data, bytes.size, &tombstone) == ERR_OK);
    (void)tombstone_matches(&tombstone, tombstone.table_key);
    tombstone_put(&tombstone, &again);
    CHECK(tombstone_get(again.data, again.size, &tombstone) == ERR_OK);
    bytes_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seal_database databases[SEAL_DATABASES_MAX];
    static struct seal_compaction compactions[SEAL_COMPACTIONS_MAX + 1];
    static struct seal_clean cleans[SEAL_CLEANS_MAX + 1];
    struct buf *entry = buf_new((uint32_t)(sizeof(struct entry_header) + size));
    struct seal_order order, twice;
    struct slice tombstone;
    struct buf *again;
    uint32_t count = 0, merged = 0, clean = 0;
    uint64_t upto;

    CHECK(entry != NULL);
    entry->size = (uint32_t)(sizeof(struct entry_header) + size);
    memset(entry->bytes, 0, sizeof(struct entry_header));
    if (size > 0)
        memcpy(entry->bytes + sizeof(struct entry_header), data, size);
    if (seal_order_read(entry, &order) == ERR_OK) {
        tombstone = order.tombstone;
        upto = order.upto;
        while (seal_order_next(&order, &databases[count]))
            count++;
        if (tombstone.size > 0)
            check_tombstone(tombstone);
        while (seal_order_compaction(&order, &compactions[merged]))
            merged++;
        while (seal_order_clean(&order, &cleans[clean]))
            clean++;
        again = seal_order_entry(0, upto,
                                 &(struct seal_content){databases, count, tombstone, compactions,
                                                        merged, cleans, clean});
        CHECK(again != NULL);
        CHECK(seal_order_read(again, &twice) == ERR_OK);
        CHECK(twice.upto == upto && twice.left == count && twice.tombstone.size == tombstone.size &&
              twice.compactions_left == merged && twice.cleans_left == clean);
        buf_unref(again);
    }
    buf_unref(entry);
    return 0;
}
