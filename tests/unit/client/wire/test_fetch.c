#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"

static struct fetch_piece sample(void)
{
    return (struct fetch_piece){.shard = 3,
                                .kind = FETCH_KIND_SEGMENT,
                                .number = 17,
                                .size = 1 << 20,
                                .hash = 0x1122334455667788,
                                .offset = 262144,
                                .length = FETCH_PIECE_MAX};
}

static enum err get(const struct fetch_piece *piece)
{
    struct bytes bytes = {0};
    struct fetch_piece read;
    enum err err;

    fetch_put_piece(piece, &bytes);
    err = fetch_get_piece(bytes.data, bytes.size, &read);
    if (err == ERR_OK)
        cr_assert(read.shard == piece->shard && read.kind == piece->kind &&
                  read.number == piece->number && read.size == piece->size &&
                  read.hash == piece->hash && read.offset == piece->offset &&
                  read.length == piece->length);
    bytes_fini(&bytes);
    return err;
}

Test(fetch, a_piece_comes_through)
{
    struct fetch_piece piece = sample();

    cr_assert_eq(get(&piece), ERR_OK);
    piece.kind = FETCH_KIND_CATALOG;
    piece.offset = piece.size - 1;
    piece.length = 1;
    cr_assert_eq(get(&piece), ERR_OK);
}

Test(fetch, a_piece_that_makes_no_sense_is_refused)
{
    struct fetch_piece piece = sample();

    piece.shard = FETCH_SHARDS_MAX;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece = sample();
    piece.kind = 3;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece = sample();
    piece.length = 0;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.length = FETCH_PIECE_MAX + 1;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece = sample();
    piece.offset = piece.size - piece.length + 1;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.offset = UINT64_MAX - 3;
    cr_assert_eq(get(&piece), ERR_INVALID);
}

Test(fetch, shards_with_damage_come_through_ascending)
{
    static struct fetch_damaged damaged = {3, {0, 5, 1023}, 2, {{0, 7}, {1024, UINT64_MAX}}}, read;
    struct bytes bytes = {0};

    fetch_put_damaged(&damaged, &bytes);
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_OK);
    cr_assert_eq(read.count, 3);
    cr_assert_eq(memcmp(read.shards, damaged.shards, 12), 0);
    cr_assert_eq(read.ask_count, 2);
    cr_assert_eq(memcmp(read.asks, damaged.asks, 2 * sizeof *read.asks), 0);
    bytes.data[4] = 5; /* Twice. */
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes.data[4] = 0;
    bytes.data[13] = 4; /* 1279 */
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes.data[13] = 3;
    bytes.data[24] = 0; /* Up to index 0. */
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes.data[24] = 7;
    bytes.data[32] = 1; /* Group 1025. */
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes.data[32] = 0;
    bytes.data[33] = 0; /* Group 0 again. */
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(fetch, every_cut_is_refused)
{
    static struct fetch_damaged damaged = {3, {0, 5, 1023}, 2, {{0, 7}, {1024, UINT64_MAX}}}, read;
    struct fetch_piece piece = sample();
    struct bytes bytes = {0};

    fetch_put_piece(&piece, &bytes);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(fetch_get_piece(bytes.data, size, &piece), ERR_INVALID);
    bytes_clear(&bytes);
    fetch_put_damaged(&damaged, &bytes);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(fetch_get_damaged(bytes.data, size, &read), ERR_INVALID);
    bytes_put_u8(&bytes, 0);
    cr_assert_eq(fetch_get_damaged(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes_fini(&bytes);
}
