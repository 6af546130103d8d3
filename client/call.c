#include "client/call.h"

#include <stdio.h>
#include <string.h>

#include "client/site.h"
#include "storage/base/check.h"

/* ---- Start and end ------------------------------------------------------------------------- */

void call_start(struct io *io, struct call *call)
{
    call->next = io->calls;
    io->calls = call;
    call->deadline_ns = io->now_ns + call->timeout_ns;
    call_tick(io, call);
}

/* The caller owns it again, and wakes up. The detail of `code` is this thread's. */
static void finish(struct io *io, struct call *call, enum err code)
{
    struct call **at = &io->calls;

    while (*at != call) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = call->next;
    bytes_fini(&call->pieces);

    pthread_mutex_lock(&io->mutex);
    err_save(&call->result, code);
    call->done = true;
    pthread_cond_broadcast(&io->changed);
    pthread_mutex_unlock(&io->mutex);
}

/* Ask again, somewhere. The reason is kept for the case that no time is left. */
static void restart(struct io *io, struct call *call, enum err code, uint32_t at_least_ms,
                    uint64_t hint)
{
    bool at_once = hint != 0 && hint != call->hint && call->attempts == 0;

    if (call->server != 0) {
        finish(io, call, code);
        return;
    }
    err_save(&call->result, code);
    call->session = NULL;
    bytes_clear(&call->pieces);
    if (call->on_restart)
        call->on_restart(call->ctx);
    call->hint = hint;
    call->attempts++;
    call->retry_ns = io->now_ns;
    if (!at_once)
        call->retry_ns += io_backoff_ns(io, call->attempts, at_least_ms);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static struct session *choose_session(struct io *io, const struct call *call)
{
    uint64_t server = call->server ? call->server : call->hint;
    struct session *session = server ? site_session_of(io, server) : site_session_any(io);

    if (session && !session_is_ready(session)) {
        session_open(session, io->now_ns);
        return NULL;
    }
    return session;
}

static void send_call(struct io *io, struct call *call, struct session *session)
{
    call->request = ++io->requests;
    if (session_send(session, call->type, call->request, call->payload) == ERR_OK)
        call->session = session;
    else
        restart(io, call, ERR_NO_MEMORY, 0, 0);
}

void call_tick(struct io *io, struct call *call)
{
    struct session *session;

    if (io->now_ns >= call->deadline_ns) {
        if (call->session && session_is_ready(call->session) && call->type == FRAME_QUERY &&
            session_send(call->session, FRAME_CANCEL, call->request, NULL) != ERR_OK)
            session_close(call->session, "no memory to cancel a query");
        finish(io, call,
               err_set(ERR_TIMEOUT, "no answer within %u ms%s%s",
                       (unsigned)(call->timeout_ns / 1000000),
                       call->result.code != ERR_OK ? ": " : "",
                       call->result.code != ERR_OK ? call->result.detail : ""));
        return;
    }
    if (call->session || io->now_ns < call->retry_ns)
        return;
    session = choose_session(io, call);
    if (session)
        send_call(io, call, session);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static struct call *find_call(const struct io *io, const struct session *session, uint64_t request)
{
    struct call *call = io->calls;

    while (call && !(call->session == session && call->request == request))
        call = call->next;
    return call;
}

static enum err take_error(struct io *io, struct call *call, const struct session *session,
                           const uint8_t *payload, size_t size)
{
    const struct session_address *node = session_address(session);
    struct message_error error;
    enum err err = message_get_error(payload, size, &error);

    if (err != ERR_OK)
        return err;
    err = err_set(error.code < ERR_COUNT ? (enum err)error.code : ERR_INVALID, "node %s:%u: %.*s",
                  node->host, (unsigned)node->port, (int)error.text.size, error.text.data);
    if (io_is_transient(&error))
        restart(io, call, err, error.retry_ms, error.code == ERR_NOT_LEADER ? error.leader : 0);
    else
        finish(io, call, err);
    return ERR_OK;
}

enum err call_take(struct io *io, struct session *session, const struct frame_header *header,
                   const uint8_t *payload)
{
    struct call *call = find_call(io, session, header->request);
    size_t size = header->size;
    enum err err;

    if (!call)
        return ERR_OK; /* It timed out, or was asked again elsewhere. */
    if (header->type == FRAME_ERROR)
        return take_error(io, call, session, payload, size);
    if (call->pieces.size + size > CALL_ANSWER_MAX)
        return err_set(ERR_TOO_LARGE, "an answer of more than %d bytes", CALL_ANSWER_MAX);
    if ((header->flags & FRAME_MORE) || call->pieces.size > 0) {
        bytes_put(&call->pieces, payload, size);
        if (call->pieces.failed)
            return err_set(ERR_NO_MEMORY, "an answer of %zu bytes", call->pieces.size);
        if (header->flags & FRAME_MORE)
            return ERR_OK;
        payload = call->pieces.data;
        size = call->pieces.size;
    }
    err = call->on_answer(call->ctx, header->type, payload, size);
    bytes_clear(&call->pieces);
    if (err == ERR_END)
        finish(io, call, ERR_OK);
    else if (err == ERR_NOT_LEADER || err == ERR_UNAVAILABLE || err == ERR_BUSY)
        restart(io, call, err, 0, 0);
    else if (err != ERR_OK)
        finish(io, call, err);
    return ERR_OK;
}

/* ---- What happens to them ------------------------------------------------------------------ */

void call_lost(struct io *io, struct session *session)
{
    struct call *next;

    for (struct call *call = io->calls; call; call = next) {
        bool was_asked = call->session == session;
        bool waits_for_it =
            !call->session && call->server != 0 && call->server == session_server(session);

        next = call->next;
        if (call->hint == session_server(session))
            call->hint = 0;
        if (was_asked || waits_for_it)
            restart(io, call, err_set(ERR_UNAVAILABLE, "node %s", session_why(session)), 0, 0);
    }
}

void call_abandon_all(struct io *io)
{
    while (io->calls)
        finish(io, io->calls, err_set(ERR_CANCELED, "the client was closed"));
}
