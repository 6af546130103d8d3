/*
 * Frames from anybody: a header, then as much payload as it asks for, over and over, as a
 * connection reads them. A sealed copy of whatever is accepted must be accepted too.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/wire/frame.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header header, copy;

    while (size >= sizeof header && frame_check_header(data, &header) == ERR_OK) {
        data += sizeof header;
        size -= sizeof header;
        if (header.size > size)
            break; /* A connection would wait for more. */
        if (frame_check_payload(&header, data) != ERR_OK) {
            /* The fuzzer cannot guess checksums: go on as if this one were right. */
            frame_seal(&header, data, header.size);
            CHECK(frame_check_payload(&header, data) == ERR_OK);
        }
        CHECK(frame_check_header(&header, &copy) == ERR_OK);
        CHECK(memcmp(&header, &copy, sizeof copy) == 0);
        data += header.size;
        size -= header.size;
    }
    return 0;
}
