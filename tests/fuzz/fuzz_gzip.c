/*
 * Bodies that say they are gzip. The first two bytes choose the sizes of pieces and of the room;
 * whatever the rest inflates to, it stays below the total allowed, and the end is reached.
 */
#include <stddef.h>
#include <stdint.h>

#include "node/gzip.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 100000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gzip *gzip;
    uint8_t room[256];
    size_t piece, room_size, total = 0;

    if (size < 2)
        return 0;
    piece = data[0] + (size_t)1;
    room_size = data[1] + (size_t)1;
    data += 2;
    size -= 2;
    CHECK(gzip_new(OUT_MAX, &gzip) == ERR_OK);
    for (;;) {
        size_t given = size < piece ? size : piece;
        size_t used, got;

        if (gzip_step(gzip, data, given, room, room_size, &used, &got) != ERR_OK)
            break;
        CHECK(used <= given);
        CHECK(got <= room_size);
        total += got;
        CHECK(total <= OUT_MAX);
        data += used;
        size -= used;
        if (size == 0 && got < room_size) {
            (void)!gzip_end(gzip);
            break;
        }
        CHECK(used > 0 || got > 0 || given == 0); /* It goes on. */
    }
    gzip_free(gzip);
    return 0;
}
