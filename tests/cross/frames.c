/*
 * Counts in frames on the machine that this runs on, real or emulated: where a size has 32 bits, so
 * many ids that their bytes are none must not be taken.
 *
 * Built by tests/cross/run.sh for other architectures.
 */
#include <stdio.h>
#include <string.h>

#include "client/wire/message.h"

int main(void)
{
    static const uint32_t counts[] = {1u << 30, 2u << 30, UINT32_MAX};
    const struct message_write_ok ok = {.shard = 1};
    const struct message_error error = {.code = ERR_LIMIT};
    struct message_write_ok got_ok;
    struct message_error got_error;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct bytes bytes = {0};
        bool taken;

        message_put_write_ok(&ok, &bytes);
        memcpy(bytes.data + bytes.size - sizeof counts[i], &counts[i], sizeof counts[i]);
        taken = message_get_write_ok(bytes.data, bytes.size, &got_ok) == ERR_OK;
        bytes_clear(&bytes);
        message_put_error(&error, &bytes);
        memcpy(bytes.data + bytes.size - sizeof counts[i], &counts[i], sizeof counts[i]);
        taken |= message_get_error(bytes.data, bytes.size, &got_error) == ERR_OK;
        bytes_fini(&bytes);
        if (taken) {
            (void)fprintf(stderr, "a frame without ids was taken for one with %u\n", counts[i]);
            return 1;
        }
    }
    (void)printf("frames do not lie about their ids, %zu bits\n", 8 * sizeof(size_t));
    return 0;
}
