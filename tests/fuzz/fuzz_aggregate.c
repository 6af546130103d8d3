/*
 * Parts of aggregates from anybody: the first bytes pick the question. What can be merged, wholly
 * or in part, is encoded, and that must merge into an empty one; a result is made of it.
 */
#include <stddef.h>
#include <stdint.h>

#include "storage/aggregate.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_MAX = 1 << 22 };

static void finish(struct aggregate *aggregate)
{
    struct columns columns;

    if (aggregate_finish(aggregate, &columns) == ERR_OK)
        columns_fini(&columns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query query = {.database = "db", .table = "t", .group_by = {"a", "b"}};
    struct aggregate *once, *again;
    struct bytes bytes = {0};

    if (size < 2)
        return 0;
    query.agg = 1 + data[0] % (QUERY_AGG_END - 1);
    query.group_count = data[1] & 3 & ~1u ? 2 : data[1] & 1;
    query.every_ns = data[1] >> 2;
    CHECK(aggregate_new(&query, MEMORY_MAX, &once) == ERR_OK);
    CHECK(aggregate_new(&query, UINT64_MAX, &again) == ERR_OK);
    if (aggregate_merge(once, data + 2, size - 2) == ERR_OK) {
        aggregate_encode(once, &bytes);
        CHECK(aggregate_merge(again, bytes.data, bytes.size) == ERR_OK);
        finish(again);
    }
    finish(once);
    bytes_fini(&bytes);
    aggregate_free(once);
    aggregate_free(again);
    return 0;
}
