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
    piece.kind = FETCH_KIND_FACTS; /* Of a size that they do not have. */
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.kind = FETCH_KIND_STATE;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.kind = FETCH_KIND_KNOWN + 1;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece = (struct fetch_piece){.shard = FETCH_META,
                                 .kind = FETCH_KIND_KNOWN,
                                 .number = 1,
                                 .size = FETCH_KNOWN_SIZE,
                                 .length = FETCH_KNOWN_SIZE};
    cr_assert_eq(get(&piece), ERR_OK);
    piece.length--;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.length++;
    piece.shard = 0; /* It is asked of a node, not of a shard. */
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece = sample(); /* The meta group has no segments. */
    piece.shard = FETCH_META;
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

Test(fetch, the_meta_group_has_a_state_and_a_snapshot)
{
    struct fetch_piece piece = {.shard = FETCH_META,
                                .kind = FETCH_KIND_STATE,
                                .number = 1,
                                .size = FETCH_STATE_SIZE,
                                .length = FETCH_STATE_SIZE};

    cr_assert_eq(get(&piece), ERR_OK);
    piece.hash = 1;
    cr_assert_eq(get(&piece), ERR_INVALID);
    piece.kind = FETCH_KIND_SNAPSHOT;
    cr_assert_eq(get(&piece), ERR_OK);
}

Test(fetch, a_state_comes_through)
{
    struct fetch_state state = {.term = 7,
                                .first = 12,
                                .last = 1ull << 40,
                                .snapshot_size = 99,
                                .snapshot_hash = 0xfedcba9876543210,
                                .leads = true},
                       read;
    struct bytes bytes = {0};

    fetch_put_state(&state, &bytes);
    cr_assert_eq(bytes.size, FETCH_STATE_SIZE);
    cr_assert_eq(fetch_get_state(bytes.data, bytes.size, &read), ERR_OK);
    cr_assert(read.term == 7 && read.first == 12 && read.last == 1ull << 40 &&
              read.snapshot_size == 99 && read.snapshot_hash == 0xfedcba9876543210 && read.leads &&
              !read.silent);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(fetch_get_state(bytes.data, size, &read), ERR_INVALID);
    bytes.data[41] = 1; /* Who is silent does not lead. */
    cr_assert_eq(fetch_get_state(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes.data[40] = 0;
    cr_assert_eq(fetch_get_state(bytes.data, bytes.size, &read), ERR_OK);
    cr_assert(read.silent && !read.leads);
    bytes.data[47] = 1;
    cr_assert_eq(fetch_get_state(bytes.data, bytes.size, &read), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(fetch, what_a_node_knows_comes_through)
{
    struct fetch_known known = {.start = UINT64_MAX, .knows = true}, read;
    struct bytes bytes = {0};

    fetch_put_known(&known, &bytes);
    cr_assert_eq(bytes.size, FETCH_KNOWN_SIZE);
    cr_assert_eq(fetch_get_known(bytes.data, bytes.size, &read), ERR_OK);
    cr_assert(read.start == UINT64_MAX && read.knows && !read.begins);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(fetch_get_known(bytes.data, size, &read), ERR_INVALID);
    for (size_t at = 8; at < bytes.size; at++) {
        uint8_t was = bytes.data[at];

        bytes.data[at] = at < 10 ? 2 : 1;
        cr_assert_eq(fetch_get_known(bytes.data, bytes.size, &read), ERR_INVALID);
        bytes.data[at] = was;
    }
    memset(bytes.data, 0, 8);
    cr_assert_eq(fetch_get_known(bytes.data, bytes.size, &read), ERR_INVALID, "no start");
    bytes_fini(&bytes);
}

static enum err get_snapshot(const struct fetch_snapshot *snapshot, struct fetch_snapshot *ret)
{
    static struct bytes bytes;

    bytes_clear(&bytes);
    fetch_put_snapshot(snapshot, &bytes);
    return fetch_get_snapshot(bytes.data, bytes.size, ret);
}

Test(fetch, a_snapshot_comes_through)
{
    struct fetch_snapshot snapshot = {.index = 10,
                                      .term = 3,
                                      .configuration_index = 1,
                                      .configuration = {"voters", 6},
                                      .state = {"manifest", 8}},
                          read;

    cr_assert_eq(get_snapshot(&snapshot, &read), ERR_OK);
    cr_assert(read.index == 10 && read.term == 3 && read.configuration_index == 1);
    cr_assert(read.configuration.size == 6 && memcmp(read.configuration.data, "voters", 6) == 0);
    cr_assert(read.state.size == 8 && memcmp(read.state.data, "manifest", 8) == 0);
    snapshot.configuration_index = 11; /* Behind it. */
    cr_assert_eq(get_snapshot(&snapshot, &read), ERR_INVALID);
    snapshot.configuration_index = 1;
    snapshot.term = 0;
    cr_assert_eq(get_snapshot(&snapshot, &read), ERR_INVALID);
    snapshot.term = 3;
    snapshot.configuration.size = 0;
    cr_assert_eq(get_snapshot(&snapshot, &read), ERR_INVALID);
    snapshot = (struct fetch_snapshot){.state = {"manifest", 8}};
    cr_assert_eq(get_snapshot(&snapshot, &read), ERR_INVALID);
}

Test(fetch, a_snapshot_that_says_too_much_is_refused)
{
    static uint8_t bytes[28 + FETCH_CONFIGURATION_MAX + 1] = {[0] = 1, [8] = 1, [16] = 1};
    struct fetch_snapshot read;
    uint32_t size = FETCH_CONFIGURATION_MAX + 1;

    memcpy(bytes + 24, &size, 4);
    cr_assert_eq(fetch_get_snapshot(bytes, sizeof bytes, &read), ERR_INVALID);
    size = FETCH_CONFIGURATION_MAX;
    memcpy(bytes + 24, &size, 4);
    cr_assert_eq(fetch_get_snapshot(bytes, sizeof bytes, &read), ERR_OK);
    cr_assert_eq(read.state.size, 1);
    cr_assert_eq(fetch_get_snapshot(bytes, sizeof bytes - 2, &read), ERR_INVALID);
    cr_assert_eq(fetch_get_snapshot(bytes, 27, &read), ERR_INVALID);
}
