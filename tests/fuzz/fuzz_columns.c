/*
 * Results from a node that may lie. What is accepted must survive another round trip as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column_string.h"
#include "storage/block/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CELLS_MAX = 1 << 17 }; /* Larger results only cost time here. */

static void check_same(const struct column *a, const struct column *b, uint32_t rows)
{
    CHECK(strcmp(a->name, b->name) == 0);
    CHECK(a->kind == b->kind);
    CHECK(a->type == b->type);
    if (rows > 0)
        CHECK(memcmp(a->present, b->present, rows) == 0);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t size = column_string_size(a->values[i]);

        if (a->type != FIELD_STRING) {
            CHECK(a->values[i] == b->values[i]);
            continue;
        }
        CHECK(size == column_string_size(b->values[i]));
        if (a->present[i] && size > 0)
            CHECK(memcmp(a->text.data + column_string_offset(a->values[i]),
                         b->text.data + column_string_offset(b->values[i]), size) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct columns columns, again;
    struct columns all = {0};
    struct bytes bytes = {0};

    if (columns_decode(data, size, &columns) != ERR_OK)
        return 0;
    if ((uint64_t)columns.count * columns.rows <= CELLS_MAX &&
        columns.rows <= COLUMNS_ROWS_MAX / 2) {
        columns_encode(&columns, &bytes);
        CHECK(!bytes.failed);
        CHECK(columns_decode(bytes.data, bytes.size, &again) == ERR_OK);
        CHECK(again.rows == columns.rows);
        CHECK(again.count == columns.count);
        for (uint32_t at = 0; at < columns.count; at++)
            check_same(&columns.columns[at], &again.columns[at], columns.rows);
        CHECK(columns_append(&all, &columns) == ERR_OK);
        CHECK(columns_append(&all, &again) == ERR_OK);
        columns_fini(&all);
        columns_fini(&again);
        bytes_fini(&bytes);
    }
    columns_fini(&columns);
    return 0;
}
