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

/* What of a file is not asked for by its bytes alone: it comes whole, in this size. */
static bool is_whole(const struct fetch_piece *piece, uint32_t size)
{
    return piece->size == size && piece->length == size && piece->hash == 0;
}

static enum err check_kind(const struct fetch_piece *piece)
{
    bool of_group = piece->kind >= FETCH_KIND_STATE;

    if ((piece->shard >= FETCH_SHARDS_MAX && !(of_group && piece->shard == FETCH_META)) ||
        (piece->kind == FETCH_KIND_KNOWN && piece->shard != FETCH_META))
        return err_set(ERR_INVALID, "FETCH: shard %" PRIu32, piece->shard);
    if (piece->kind < FETCH_KIND_SEGMENT || piece->kind > FETCH_KIND_KNOWN ||
        (piece->kind == FETCH_KIND_KNOWN && !is_whole(piece, FETCH_KNOWN_SIZE)) ||
        (piece->kind == FETCH_KIND_FACTS && !is_whole(piece, FETCH_FACTS_SIZE)) ||
        (piece->kind == FETCH_KIND_STATE && !is_whole(piece, FETCH_STATE_SIZE)))
        return err_set(ERR_INVALID, "FETCH: a file of kind %u", piece->kind);
    return ERR_OK;
}

enum err fetch_get_piece(const void *bytes, size_t size, struct fetch_piece *ret)
{
    struct reader reader = reader_on(bytes, size);
    struct fetch_piece piece = {.shard = reader_u32(&reader)};
    enum err err;

    piece.kind = reader_u8(&reader);
    piece.number = reader_u64(&reader);
    piece.size = reader_u64(&reader);
    piece.hash = reader_u64(&reader);
    piece.offset = reader_u64(&reader);
    piece.length = reader_u32(&reader);
    if (!reader_done(&reader))
        return err_set(ERR_INVALID, "FETCH: %zu bytes", size);
    err = check_kind(&piece);
    if (err != ERR_OK)
        return err;
    if (piece.length == 0 || piece.length > FETCH_PIECE_MAX || piece.offset > piece.size ||
        piece.length > piece.size - piece.offset)
        return err_set(ERR_INVALID,
                       "FETCH: %" PRIu32 " bytes at offset %" PRIu64 " of a file of %" PRIu64,
                       piece.length, piece.offset, piece.size);
    *ret = piece;
    return ERR_OK;
}

/* What is said comes in sizes that are multiples of 8. */
static void put_zeros(struct bytes *out)
{
    for (int i = 0; i < 6; i++)
        bytes_put_u8(out, 0);
}

static bool zeros_follow(struct reader *reader)
{
    uint8_t zeros = 0;

    for (int i = 0; i < 6; i++)
        zeros |= reader_u8(reader);
    return reader_done(reader) && zeros == 0;
}

void fetch_put_state(const struct fetch_state *state, struct bytes *out)
{
    bytes_put_u64(out, state->term);
    bytes_put_u64(out, state->first);
    bytes_put_u64(out, state->last);
    bytes_put_u64(out, state->snapshot_size);
    bytes_put_u64(out, state->snapshot_hash);
    bytes_put_u8(out, state->leads);
    bytes_put_u8(out, state->silent);
    put_zeros(out);
}

enum err fetch_get_state(const void *bytes, size_t size, struct fetch_state *ret)
{
    struct reader reader = reader_on(bytes, size);
    struct fetch_state state = {.term = reader_u64(&reader)};
    uint8_t leads, silent;

    state.first = reader_u64(&reader);
    state.last = reader_u64(&reader);
    state.snapshot_size = reader_u64(&reader);
    state.snapshot_hash = reader_u64(&reader);
    leads = reader_u8(&reader);
    silent = reader_u8(&reader);
    if (!zeros_follow(&reader) || leads > 1 || silent > 1 || (leads == 1 && silent == 1))
        return err_set(ERR_INVALID, "FETCH_OK: a state that leads %u, is silent %u, in %zu bytes",
                       leads, silent, size);
    state.leads = leads == 1;
    state.silent = silent == 1;
    *ret = state;
    return ERR_OK;
}

void fetch_put_known(const struct fetch_known *known, struct bytes *out)
{
    bytes_put_u64(out, known->start);
    bytes_put_u8(out, known->knows);
    bytes_put_u8(out, known->begins);
    put_zeros(out);
}

enum err fetch_get_known(const void *bytes, size_t size, struct fetch_known *ret)
{
    struct reader reader = reader_on(bytes, size);
    uint64_t start = reader_u64(&reader);
    uint8_t knows = reader_u8(&reader), begins = reader_u8(&reader);

    if (!zeros_follow(&reader) || start == 0 || knows > 1 || begins > 1)
        return err_set(ERR_INVALID,
                       "FETCH_OK: start %" PRIx64 " that knows %u, begins %u, in %zu bytes", start,
                       knows, begins, size);
    *ret = (struct fetch_known){start, knows == 1, begins == 1};
    return ERR_OK;
}

void fetch_put_snapshot(const struct fetch_snapshot *snapshot, struct bytes *out)
{
    bytes_put_u64(out, snapshot->index);
    bytes_put_u64(out, snapshot->term);
    bytes_put_u64(out, snapshot->configuration_index);
    bytes_put_u32(out, (uint32_t)snapshot->configuration.size);
    bytes_put(out, snapshot->configuration.data, snapshot->configuration.size);
    bytes_put(out, snapshot->state.data, snapshot->state.size);
}

enum err fetch_get_snapshot(const void *bytes, size_t size, struct fetch_snapshot *ret)
{
    struct reader reader = reader_on(bytes, size);
    struct fetch_snapshot snapshot = {.index = reader_u64(&reader)};

    snapshot.term = reader_u64(&reader);
    snapshot.configuration_index = reader_u64(&reader);
    snapshot.configuration.size = reader_u32(&reader);
    if (reader.bad || snapshot.configuration.size > FETCH_CONFIGURATION_MAX)
        return err_set(ERR_INVALID, "snapshot of %zu bytes: a configuration of %zu", size,
                       snapshot.configuration.size);
    snapshot.configuration.data = (const char *)reader_take(&reader, snapshot.configuration.size);
    snapshot.state.size = reader_left(&reader);
    snapshot.state.data = (const char *)reader_take(&reader, snapshot.state.size);
    if (reader.bad || snapshot.index == 0 || snapshot.term == 0 ||
        snapshot.configuration.size == 0 || snapshot.configuration_index == 0 ||
        snapshot.configuration_index > snapshot.index)
        return err_set(ERR_INVALID,
                       "snapshot of %zu bytes: index %" PRIu64 ", term %" PRIu64
                       ", configuration %" PRIu64 " of %zu bytes",
                       size, snapshot.index, snapshot.term, snapshot.configuration_index,
                       snapshot.configuration.size);
    *ret = snapshot;
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
