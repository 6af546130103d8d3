#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "storage/base/room.h"

Test(room, has_what_was_asked_for_small_and_large)
{
    static const size_t sizes[] = {1, 100, 5000, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    struct room room = {0};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cr_assert(room_make(&room, sizes[i]));
        cr_assert_geq(room.size, sizes[i]);
        cr_assert_eq((uintptr_t)room.bytes % sizeof(uint64_t), 0);
        memset(room.bytes, 0x5a, sizes[i]);
    }
    room_fini(&room);
}

Test(room, stays_where_it_is_while_it_does)
{
    struct room room = {0};
    void *bytes;

    cr_assert(room_make(&room, 3 << 20));
    bytes = room.bytes;
    cr_assert(room_make(&room, 1000));
    cr_assert_eq(room.bytes, bytes);
    cr_assert(room_make(&room, room.size));
    cr_assert_eq(room.bytes, bytes);
    room_fini(&room);
    cr_assert_null(room.bytes);
    room_fini(&room); /* An empty one. */
}

Test(room, says_that_there_is_no_memory)
{
    struct room room = {0};

    cr_assert_not(room_make(&room, SIZE_MAX / 4));
    cr_assert_null(room.bytes);
    cr_assert(room_make(&room, 10));
    room_fini(&room);
}
