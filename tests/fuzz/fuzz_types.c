/*
 * Series keys from anybody: what parses is canonical, so writing its pieces gives the same bytes.
 */
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[KEY_SIZE_MAX];
    struct key_parts parts;
    struct tag reversed[TAG_COUNT_MAX];

    if (key_parse(data, size, &parts) != 0)
        return 0;
    CHECK(parts.table_key_size <= size);
    for (size_t i = 0; i < parts.tag_count; i++)
        reversed[i] = parts.tags[parts.tag_count - 1 - i];
    CHECK(key_write(parts.database, parts.table, reversed, parts.tag_count, again, sizeof again) ==
          size);
    CHECK(memcmp(again, data, size) == 0);
    CHECK(key_write_table(parts.database, parts.table, again, sizeof again) ==
          parts.table_key_size);
    return 0;
}
