/*
 * Manifests from anybody. The checksum is made right first, because no fuzzer guesses it; an input
 * that is not long enough for one goes in as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/manifest.h"
#include "storage/producers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    struct manifest manifest;
    struct bytes again = {0};

    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    if (size >= 8) {
        uint32_t crc = crc32c(0, bytes + 8, size - 8);

        memcpy(bytes + 4, &crc, sizeof crc);
    }
    if (manifest_decode(bytes, size, &manifest) == ERR_OK) {
        struct reader reader = reader_on(manifest.producers.data, manifest.producers.size);
        struct producers *producers;
        const struct segment_info **infos = NULL;
        uint32_t count = 0;

        CHECK(manifest_line_up(&manifest, &infos, &count) == ERR_OK);
        CHECK(count <= manifest.segment_count + manifest.compactions.count);
        free(infos);
        manifest_encode(&manifest, &again); /* Nothing was lost on the way. */
        CHECK(again.size == size);
        CHECK(memcmp(again.data + 12, bytes + 12, size - 12) == 0);
        bytes_fini(&again);
        CHECK(producers_new(16, &producers) == ERR_OK);
        (void)(producers_decode(producers, &reader) == ERR_OK);
        producers_free(producers);
        manifest_fini(&manifest);
    }
    free(bytes);
    return 0;
}
