#include "node/fetcher.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/fault.h"

enum {
    /* For a piece. The other node's way back may not stand yet, just after a start: ask again soon.
     * Its pool may have much to do: then wait longer. */
    ANSWER_MS_MIN = 1000,
    ANSWER_MS_MAX = 16000,
};

static_assert((int)STORE_FILE_SEGMENT == (int)FETCH_KIND_SEGMENT &&
                  (int)STORE_FILE_CATALOG == (int)FETCH_KIND_CATALOG,
              "the kinds are sent as they are");

void fetcher_init(struct fetcher *fetcher, struct node *node)
{
    *fetcher = (struct fetcher){.node = node};
    (void)pthread_mutex_init(&fetcher->lock, NULL);
    (void)pthread_cond_init(&fetcher->wake, NULL);
}

void fetcher_fini(struct fetcher *fetcher)
{
    (void)pthread_cond_destroy(&fetcher->wake);
    (void)pthread_mutex_destroy(&fetcher->lock);
}

void fetcher_stop(struct fetcher *fetcher)
{
    (void)pthread_mutex_lock(&fetcher->lock);
    fetcher->stopping = true;
    (void)pthread_cond_broadcast(&fetcher->wake);
    (void)pthread_mutex_unlock(&fetcher->lock);
}

/* ---- One piece ----------------------------------------------------------------------------- */

/* On worker 0. Whoever asked may have gone. */
static void piece_done(struct route *route)
{
    struct piece_request *request = (struct piece_request *)route;
    struct fetcher *fetcher = request->asker;

    (void)pthread_mutex_lock(&fetcher->lock);
    if (request->abandoned) {
        router_free_piece(request);
    } else {
        fetcher->answered = request;
        (void)pthread_cond_signal(&fetcher->wake);
    }
    (void)pthread_mutex_unlock(&fetcher->lock);
}

void fetcher_serve(struct fetcher *fetcher, struct worker *worker)
{
    struct piece_request *request;

    (void)pthread_mutex_lock(&fetcher->lock);
    request = fetcher->ask;
    fetcher->ask = NULL;
    (void)pthread_mutex_unlock(&fetcher->lock);
    if (request == NULL)
        return;
    request->route = (struct route){.kind = ROUTE_PIECE, .origin = worker, .done = piece_done};
    router_piece(worker, request);
}

/* Hand the request to worker 0 and wait for it to come back; the router ends it in any case. */
static enum err exchange(struct fetcher *fetcher, struct piece_request *request)
{
    enum err err = ERR_OK;

    (void)pthread_mutex_lock(&fetcher->lock);
    fetcher->ask = request;
    (void)uv_async_send(&fetcher->node->workers[0].bell);
    while (fetcher->answered == NULL && !fetcher->stopping)
        (void)pthread_cond_wait(&fetcher->wake, &fetcher->lock);
    if (fetcher->answered == NULL) {
        err = err_set(ERR_CANCELED, "the node stops");
        if (fetcher->ask == request)
            router_free_piece(request);
        else
            request->abandoned = true;
        fetcher->ask = NULL;
    }
    fetcher->answered = NULL;
    (void)pthread_mutex_unlock(&fetcher->lock);
    return err;
}

/* What of another node's codes would say something of this one: that it stops, has no room, or is
 * at an end. */
static enum err failure(const struct answer *answer)
{
    if (answer->code == ERR_CANCELED || answer->code == ERR_DISK_FULL || answer->code == ERR_END)
        return err_set(ERR_UNAVAILABLE, "%s: %s", err_name(answer->code), answer->text);
    return err_set(answer->code, "%s", answer->text);
}

enum err fetcher_piece(struct fetcher *fetcher, uint64_t server, const struct fetch_piece *piece,
                       uint32_t tries, struct buf **ret_bytes)
{
    struct piece_request *request = calloc(1, sizeof *request);
    enum err err;

    if (request == NULL)
        return err_set(ERR_NO_MEMORY, "asking for a piece of a file");
    request->asker = fetcher;
    request->server = server;
    request->timeout_ms = (uint32_t)ANSWER_MS_MIN << (tries < 4 ? tries : 4);
    if (piece->offset > 0)
        request->timeout_ms = ANSWER_MS_MAX;
    request->piece = *piece;
    err = exchange(fetcher, request);
    if (err != ERR_OK)
        return err;
    if (request->route.answer.code != ERR_OK) {
        err = failure(&request->route.answer);
    } else if (request->bytes == NULL || request->bytes->size != piece->length) {
        err = err_set(ERR_INVALID, "%u bytes for %u that were asked for",
                      request->bytes == NULL ? 0 : request->bytes->size, piece->length);
    } else {
        *ret_bytes = request->bytes;
        request->bytes = NULL;
    }
    router_free_piece(request);
    return err;
}

/* ---- All of them --------------------------------------------------------------------------- */

static uint32_t next_length(const struct fetch_piece *piece)
{
    uint64_t left = piece->size - piece->offset;

    return left < FETCH_PIECE_MAX ? (uint32_t)left : FETCH_PIECE_MAX;
}

enum err fetcher_read(struct fetcher *fetcher, uint64_t server, const struct fetch_piece *whole,
                      uint32_t tries, uint8_t *ret_bytes)
{
    struct fetch_piece piece = *whole;
    enum err err = ERR_OK;

    for (piece.offset = 0; piece.offset < piece.size && err == ERR_OK;
         piece.offset += piece.length) {
        struct buf *bytes = NULL;

        piece.length = next_length(&piece);
        err = fetcher_piece(fetcher, server, &piece, tries, &bytes);
        if (err == ERR_OK)
            memcpy(ret_bytes + piece.offset, bytes->bytes, piece.length);
        buf_unref(bytes);
    }
    return err;
}

static enum err fetch_into(struct fetcher *fetcher, uint64_t server, struct fetch_piece *piece,
                           uint32_t tries, struct file *file)
{
    const struct disk *disk = fetcher->node->disk;
    enum err err = ERR_OK;

    while (piece->offset < piece->size && err == ERR_OK) {
        struct buf *bytes = NULL;

        piece->length = next_length(piece);
        err = fetcher_piece(fetcher, server, piece, tries, &bytes);
        if (err == ERR_OK && FAULT("mend.piece"))
            err = err_set(ERR_IO, "injected at offset %" PRIu64, piece->offset);
        if (err == ERR_OK)
            err = disk->write(file, piece->offset, bytes->bytes, piece->length);
        buf_unref(bytes);
        piece->offset += piece->length;
    }
    return err == ERR_OK ? disk->sync(file) : err;
}

enum err fetcher_file(struct fetcher *fetcher, uint64_t server, uint32_t shard,
                      const struct store_file *file, uint32_t tries, const struct disk *disk,
                      const char *path)
{
    const struct disk *own = fetcher->node->disk;
    struct fetch_piece piece = {.shard = shard,
                                .kind = (uint8_t)file->kind,
                                .number = file->number,
                                .size = file->size,
                                .hash = file->hash};
    struct err_note note;
    struct file *to;
    enum err err = own->open(own->ctx, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &to);

    if (err != ERR_OK)
        return err;
    err = fetch_into(fetcher, server, &piece, tries, to);
    own->close(to);
    if (err == ERR_OK)
        err = store_verify_file(disk, path, shard, file);
    if (err == ERR_OK)
        return ERR_OK;
    err_save(&note, err);
    (void)own->remove(own->ctx, path); /* Else the next start removes it. */
    return err_restore(&note);
}
