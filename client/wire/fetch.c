#include "client/wire/fetch.h"

#include <inttypes.h>

#include "storage/base/check.h"

void fetch_put_piece(const struct fetch_piece *piece, struct bytes *out)
{
    bytes_put_u32(out, piece->shard);
    bytes_put_u8(out, piece->kind);
    bytes_put_u64(out, piece->number);
    bytes_put_u64(out, piece->size);
    bytes_put_u64(out, piece->hash);
    bytes_put_u64(out, piece->offset);
    bytes_put_u32(out, piece->length);
}

enum err fetch_get_piece(const void *bytes, size_t size, struct fetch_piece *ret)
{
    struct reader reader = reader_on(bytes, size);
    struct fetch_piece piece = {.shard = reader_u32(&reader)};

    piece.kind = reader_u8(&reader);
    piece.number = reader_u64(&reader);
    piece.size = reader_u64(&reader);
    piece.hash = reader_u64(&reader);
    piece.offset = reader_u64(&reader);
    piece.length = reader_u32(&reader);
    if (!reader_done(&reader))
        return err_set(ERR_INVALID, "FETCH: %zu bytes", size);
    if (piece.shard >= FETCH_SHARDS_MAX)
        return err_set(ERR_INVALID, "FETCH: shard %" PRIu32, piece.shard);
    if (piece.kind < FETCH_KIND_SEGMENT || piece.kind > FETCH_KIND_FACTS ||
        (piece.kind == FETCH_KIND_FACTS && piece.length != FETCH_FACTS_SIZE))
        return err_set(ERR_INVALID, "FETCH: a file of kind %u", piece.kind);
    if (piece.length == 0 || piece.length > FETCH_PIECE_MAX || piece.offset > piece.size ||
        piece.length > piece.size - piece.offset)
        return err_set(ERR_INVALID,
                       "FETCH: %" PRIu32 " bytes at offset %" PRIu64 " of a file of %" PRIu64,
                       piece.length, piece.offset, piece.size);
    *ret = piece;
    return ERR_OK;
}

void fetch_put_damaged(const struct fetch_damaged *damaged, struct bytes *out)
{
    CHECK(damaged->count <= FETCH_SHARDS_MAX);
    bytes_put_u32(out, damaged->count);
    for (uint32_t i = 0; i < damaged->count; i++)
        bytes_put_u32(out, damaged->shards[i]);
    CHECK(damaged->ask_count <= FETCH_SHARDS_MAX + 1);
    bytes_put_u32(out, damaged->ask_count);
    for (uint32_t i = 0; i < damaged->ask_count; i++) {
        bytes_put_u32(out, damaged->asks[i].group);
        bytes_put_u64(out, damaged->asks[i].index);
    }
}

static enum err get_asks(struct reader *reader, struct fetch_damaged *ret)
{
    ret->ask_count = reader_u32(reader);
    if (reader->bad || ret->ask_count > FETCH_SHARDS_MAX + 1)
        return err_set(ERR_INVALID, "DAMAGED: %" PRIu32 " groups", ret->ask_count);
    for (uint32_t i = 0; i < ret->ask_count; i++) {
        struct fetch_ask *ask = &ret->asks[i];

        ask->group = reader_u32(reader);
        ask->index = reader_u64(reader);
        if (ask->group > FETCH_SHARDS_MAX || ask->index == 0 ||
            (i > 0 && ask->group <= ret->asks[i - 1].group))
            return err_set(ERR_INVALID, "DAMAGED: group %" PRIu32 " at %" PRIu32, ask->group, i);
    }
    return ERR_OK;
}

enum err fetch_get_damaged(const void *bytes, size_t size, struct fetch_damaged *ret)
{
    struct reader reader = reader_on(bytes, size);
    enum err err;

    ret->count = reader_u32(&reader);
    if (reader.bad || ret->count > FETCH_SHARDS_MAX)
        return err_set(ERR_INVALID, "DAMAGED: %" PRIu32 " shards", ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->shards[i] = reader_u32(&reader);
        if (ret->shards[i] >= FETCH_SHARDS_MAX || (i > 0 && ret->shards[i] <= ret->shards[i - 1]))
            return err_set(ERR_INVALID, "DAMAGED: shard %" PRIu32 " at %" PRIu32, ret->shards[i],
                           i);
    }
    err = get_asks(&reader, ret);
    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_INVALID, "DAMAGED: %zu bytes", size);
    return err;
}
