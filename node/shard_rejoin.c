/*
 * What a shard tells a node that begins again: how far its group is, and its state; and what it
 * does when it is the one that begins again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/meta.h"
#include "node/rejoin.h"
#include "node/shard_io.h"
#include "storage/base/log_line.h"
#include "storage/store_damage.h"

enum {
    OFFER_MS = 20000, /* A snapshot is kept so long behind the last question for it. */
    LACKS_MS = 2000,  /* The leader has said so for this long: an election may have it otherwise. */
};

/* ---- For others ---------------------------------------------------------------------------- */

static enum err encode_state(struct shard *shard, struct bytes *out, uint64_t *ret_index)
{
    if (shard->meta == NULL)
        return store_manifest(shard->store, out, ret_index);
    *ret_index = meta_applied(shard->meta);
    meta_encode(meta_schema(shard->meta), *ret_index, out);
    return out->failed ? err_set(ERR_NO_MEMORY, "the meta group's state") : ERR_OK;
}

/* Make what is offered anew. ERR_NOT_FOUND: the log has forgotten the term of what was saved. */
static enum err make_offer(struct shard *shard)
{
    struct fetch_snapshot snapshot = {0};
    struct buf *configuration = NULL;
    struct bytes state = {0}, bytes = {0};
    enum err err = encode_state(shard, &state, &snapshot.index);

    if (snapshot.index == 0)
        snapshot.index = 1; /* The first configuration, which changes no state. */
    if (err == ERR_OK)
        err = group_snapshot_at(shard->group, snapshot.index, &snapshot.term,
                                &snapshot.configuration_index, &configuration);
    if (err == ERR_OK) {
        snapshot.configuration =
            (struct slice){(const char *)configuration->bytes, configuration->size};
        snapshot.state = (struct slice){(const char *)state.data, state.size};
        fetch_put_snapshot(&snapshot, &bytes);
        err = bytes.failed ? err_set(ERR_NO_MEMORY, "a snapshot of %zu bytes", state.size) : ERR_OK;
    }
    buf_unref(configuration);
    bytes_fini(&state);
    if (err != ERR_OK) {
        bytes_fini(&bytes);
        return err;
    }
    bytes_fini(&shard->offer.bytes);
    shard->offer.bytes = bytes;
    shard->offer.hash = key_hash(bytes.data, bytes.size);
    return ERR_OK;
}

static enum err answer_with(struct piece_request *request, const void *bytes, uint32_t size)
{
    request->bytes = buf_new(size);
    if (request->bytes == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu32 " bytes of an answer", size);
    memcpy(request->bytes->bytes, bytes, size);
    request->bytes->size = size;
    return ERR_OK;
}

/* Its record is in a file of the log that is there still, or not written yet. */
static bool is_readable(const struct shard *shard, uint64_t index, uint64_t sealed, uint32_t file)
{
    uint64_t position = group_position(shard->group, index);

    return position != 0 ? position >> 32 >= file : index > sealed;
}

/* The first entry that others can get from this log, which keeps a row of them. Who has all before
 * it is told the term of its last one: known of those that are there, and of the snapshot's. */
static uint64_t find_first(const struct shard *shard, const struct group_state *group)
{
    uint64_t low = group->first, high = group->last + 1;
    uint64_t sealed =
        shard->meta != NULL ? meta_saved(shard->meta) : store_sealed_index(shard->store);
    uint32_t file, current;

    if (low > 1 && low < high && group->snapshot != low - 1)
        low++;
    log_range(shard->worker->node->log, &file, &current);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (is_readable(shard, middle, sealed, file))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static enum err tell_state(struct shard *shard, struct piece_request *request)
{
    struct group_state group;
    struct fetch_state state;
    struct bytes bytes = {0};
    enum err err;

    group_state(shard->group, &group);
    state =
        (struct fetch_state){.term = group.term,
                             .last = group.last,
                             .leads = group.ready,
                             .silent = rejoin_is_lost(shard->worker->node->rejoin, shard->number)};
    if (!shard->silent)
        state.first = find_first(shard, &group);
    if (request->piece.number == 1 && state.leads) {
        err = make_offer(shard);
        if (err != ERR_OK)
            return err;
        state.snapshot_size = shard->offer.bytes.size;
        state.snapshot_hash = shard->offer.hash;
        shard->offer.asked_ms = worker_now_ms();
    }
    fetch_put_state(&state, &bytes);
    err = bytes.failed ? err_set(ERR_NO_MEMORY, "a state")
                       : answer_with(request, bytes.data, (uint32_t)bytes.size);
    bytes_fini(&bytes);
    return err;
}

static enum err tell_snapshot(struct shard *shard, struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    struct shard_offer *offer = &shard->offer;

    if (offer->bytes.size == 0 || piece->size != offer->bytes.size || piece->hash != offer->hash)
        return err_set(ERR_NOT_FOUND, "group %" PRIu32 " offers no state with hash %016" PRIx64,
                       shard->number, piece->hash);
    offer->asked_ms = worker_now_ms();
    return answer_with(request, offer->bytes.data + piece->offset, piece->length);
}

static enum err tell_known(struct shard *shard, struct piece_request *request)
{
    struct fetch_known known =
        rejoin_known(shard->worker->node->rejoin, request->from, request->piece.number);
    struct bytes bytes = {0};
    enum err err;

    fetch_put_known(&known, &bytes);
    err = bytes.failed ? err_set(ERR_NO_MEMORY, "an answer")
                       : answer_with(request, bytes.data, (uint32_t)bytes.size);
    bytes_fini(&bytes);
    return err;
}

void shard_tell(struct shard *shard, struct piece_request *request)
{
    enum err err = request->piece.kind == FETCH_KIND_STATE   ? tell_state(shard, request)
                   : request->piece.kind == FETCH_KIND_KNOWN ? tell_known(shard, request)
                                                             : tell_snapshot(shard, request);

    if (err == ERR_OK)
        router_answer(shard->worker, &request->route);
    else
        router_fail(shard->worker, &request->route, err, 0);
}

/* ---- Here ---------------------------------------------------------------------------------- */

void shard_rejoin_tick(struct shard *shard, const struct group_state *state, uint64_t now_ms)
{
    struct rejoin *rejoin = shard->worker->node->rejoin;

    if (shard->offer.bytes.size > 0 && now_ms - shard->offer.asked_ms > OFFER_MS)
        bytes_fini(&shard->offer.bytes);
    if (shard->installed && !state->mute) {
        shard->installed = false;
        rejoin_done(rejoin, shard->number);
    }
    if (!state->lacks) {
        shard->lacks_ms = 0;
    } else if (shard->lacks_ms == 0) {
        shard->lacks_ms = now_ms;
    } else if (now_ms - shard->lacks_ms > LACKS_MS) {
        shard->lacks_ms = now_ms;
        rejoin_behind(rejoin, shard->number, state->last);
    }
}

/* A state that was never saved is that behind the first entry, which is no command. */
static enum err pass_first(struct shard *shard, uint64_t *applied)
{
    enum store_outcome outcome;
    struct group_state state;
    struct seal_job *job;

    group_state(shard->group, &state);
    if (*applied != 0 || state.snapshot != 1 || shard->store == NULL)
        return ERR_OK;
    *applied = 1;
    return store_apply(shard->store, 1, NULL, &outcome, &job);
}

enum err shard_begin(struct shard *shard, uint64_t applied)
{
    struct group_install install;
    enum err err = ERR_OK;

    if (rejoin_install(shard->worker->node->rejoin, shard->number, &install)) {
        err = group_install(shard->group, &install);
        shard->installed = true;
    }
    if (err == ERR_OK)
        err = pass_first(shard, &applied);
    return err == ERR_OK ? group_start(shard->group, applied) : err;
}
