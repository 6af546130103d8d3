/*
 * What a peer says about files and states: what gets through is inside its limits, and is the same
 * again when it is written. The first byte says which message it is.
 */
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(struct bytes *again, const uint8_t *data, size_t size)
{
    CHECK(!again->failed);
    CHECK(again->size == size);
    CHECK(memcmp(again->data, data, size) == 0);
    bytes_fini(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fetch_damaged damaged;
    struct fetch_piece piece;
    struct fetch_state state;
    struct fetch_snapshot snapshot;
    struct fetch_known known;
    struct bytes again = {0};

    if (size == 0)
        return 0;
    if (data[0] == 0 && fetch_get_piece(data + 1, size - 1, &piece) == ERR_OK) {
        CHECK(piece.length > 0);
        CHECK(piece.length <= FETCH_PIECE_MAX);
        CHECK(piece.offset + piece.length <= piece.size);
        CHECK(piece.offset + piece.length > piece.offset);
        fetch_put_piece(&piece, &again);
        expect_same(&again, data + 1, size - 1);
    }
    if (data[0] == 1 && fetch_get_damaged(data + 1, size - 1, &damaged) == ERR_OK) {
        CHECK(damaged.count <= FETCH_SHARDS_MAX);
        for (uint32_t i = 0; i < damaged.count; i++)
            CHECK(damaged.shards[i] < FETCH_SHARDS_MAX);
        CHECK(damaged.ask_count <= FETCH_SHARDS_MAX + 1);
        for (uint32_t i = 0; i < damaged.ask_count; i++)
            CHECK(damaged.asks[i].group <= FETCH_SHARDS_MAX && damaged.asks[i].index > 0);
        fetch_put_damaged(&damaged, &again);
        expect_same(&again, data + 1, size - 1);
    }
    if (data[0] == 2 && fetch_get_state(data + 1, size - 1, &state) == ERR_OK) {
        fetch_put_state(&state, &again);
        expect_same(&again, data + 1, size - 1);
    }
    if (data[0] == 3 && fetch_get_snapshot(data + 1, size - 1, &snapshot) == ERR_OK) {
        CHECK(snapshot.configuration.size <= FETCH_CONFIGURATION_MAX);
        CHECK(snapshot.configuration_index <= snapshot.index);
        fetch_put_snapshot(&snapshot, &again);
        expect_same(&again, data + 1, size - 1);
    }
    if (data[0] == 4 && fetch_get_known(data + 1, size - 1, &known) == ERR_OK) {
        fetch_put_known(&known, &again);
        expect_same(&again, data + 1, size - 1);
    }
    return 0;
}
