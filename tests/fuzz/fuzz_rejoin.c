/*
 * rejoin.mrj: bytes whose checksum is made right, so that what is behind it is reached. A list that
 * is read has no more groups than there are, and is the same again when it is written.
 */
#include <stdlib.h>
#include <string.h>

#include "node/rejoin_list.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"

enum { GROUPS = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct rejoin_list *list, const uint8_t *bytes, size_t size)
{
    struct bytes again = {0};

    rejoin_list_encode(list, &again);
    CHECK(!again.failed);
    /* A size in more bytes than it takes is read as well. */
    CHECK(again.size <= size);
    if (again.size == size)
        CHECK(memcmp(again.data, bytes, size) == 0);
    bytes_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rejoin_list list;
    uint8_t *bytes = malloc(size + 1);
    uint32_t crc;

    CHECK(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if (size >= 8) {
        crc = crc32c(0, bytes + 8, size - 8);
        memcpy(bytes + 4, &crc, sizeof crc);
    }
    CHECK(rejoin_list_init(&list, GROUPS) == ERR_OK);
    if (rejoin_list_decode(bytes, size, &list) == ERR_OK)
        expect_same(&list, bytes, size);
    rejoin_list_fini(&list);
    free(bytes);
    return 0;
}
