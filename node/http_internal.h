/*
 * http_internal.h - the inner seam of the HTTP server.
 *
 *   http.c         listening, limits, time
 *   http_conn.c    one connection: bytes to requests, answers to bytes, states
 *   http_request.c the request: what http_parser finds, checked and collected
 *   http_route.c   paths and methods; the short pages
 *   http_write.c   line protocol: parameters, dialects of answers
 */
#ifndef NODE_HTTP_INTERNAL_H
#define NODE_HTTP_INTERNAL_H

#include <http_parser.h>

#include "node/gzip.h"
#include "node/http.h"
#include "storage/base/sm.h"

enum {
    HTTP_URL_MAX = 2048,
    HTTP_HEADERS_MAX = 16 * 1024,
    HTTP_ROOM = 64 * 1024,       /* Bytes read, or inflated, at once. */
    HTTP_TURN_MAX = 1024 * 1024, /* Bytes inflated for a connection in one turn of the loop. */
    HTTP_GRACE_MS = 10000,       /* For headers, and before a body's rate counts. */
    HTTP_LINGER_MS = 5000,       /* For a sender to hear that we do not listen any more. */
    HTTP_RATE_MIN = 1024,        /* Bytes/s, of bodies and of answers. */
};

enum { HTTP_ADMIN_EXTRA = 16 }; /* Connections above the limit, to look at a node that is full. */

enum http_state {
    HTTP_READING,   /* For bytes of a request, or of the next one. */
    HTTP_INFLATING, /* For the next turn of the loop: there is more in what was read. */
    HTTP_WAITING,   /* For the ingest. */
    HTTP_WRITING,   /* For the socket to take the answer. */
    HTTP_LINGERING, /* For the sender to end; what it still sends is dropped. */
    HTTP_CLOSING,   /* For libuv to let go of the handle. */
    HTTP_STATES
};

struct http_conn;

struct http_route {
    const char *path;
    unsigned methods;                      /* SM_TO-like set of 1u << HTTP_GET, ... */
    void (*begin)(struct http_conn *conn); /* Headers are there. NULL: nothing to do. */
    void (*body)(struct http_conn *conn, const char *text, size_t size); /* NULL: dropped. */
    void (*end)(struct http_conn *conn); /* All is there: http_answer(), now or later. */
};

/** What the request under way wants. Zeroed between requests. */
struct http_request {
    const struct http_route *route;
    struct gzip *gzip;  /* Owned; NULL: plain. */
    uint64_t body_size; /* Bytes so far, inflated. */
    uint64_t since_ms;  /* Of its first byte; 0: none yet. */
    uint64_t wire_size; /* Bytes of the body as they came. */
    uint32_t url_size, header_size;
    uint16_t refuse_status; /* An answer before its time; then the connection is closed. */
    bool in_headers, in_body, complete;
    bool keep_alive;
    bool expects;                                         /* 100-continue */
    bool other_coding, other_transfer, other_expectation; /* None that we know. */
    bool is_gzip;
    bool inflate_more;         /* More can be inflated without more input. */
    bool in_value;             /* The last header piece was one of a value. */
    char field[24], value[32]; /* The header being read; longer ones are none of ours. */
    uint8_t field_size, value_size;
    char refuse_text[ERR_DETAIL_MAX];
    char url[HTTP_URL_MAX + 1];
};

enum http_dialect { HTTP_V1, HTTP_V2, HTTP_V3 };

/** The write under way. Zeroed between requests. */
struct http_write {
    enum http_dialect dialect;
    struct ingest_request *ingest; /* Ours until done or abandoned. */
    bool whole;                    /* All or nothing: the text is collected first. */
    struct bytes text;             /* Owned; counted in server->collected. */
    struct err_note failed;        /* The ingest did not take it; the body is dropped. */
};

struct http_conn {
    struct http_server *server;
    struct http_conn *next, **link; /* In the server's list. */
    uv_tcp_t tcp;
    struct sm sm;
    http_parser parser;
    struct bytes input; /* Owned: read, and not parsed yet. */
    size_t input_at;
    struct bytes packed; /* Owned: parsed, and not inflated yet. */
    size_t packed_at;
    struct bytes out; /* Owned: the answer. */
    uv_write_t write_request;
    uv_shutdown_t shutdown_request;
    uint64_t since_ms; /* Of the present state, or of the last answer. */
    bool reading;      /* libuv reads. */
    struct http_request request;
    struct http_write write;
};

struct http_server {
    struct http_options options;
    struct http_handlers handlers;
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t sweeper; /* Runs while there are connections. */
    uv_idle_t inflater; /* Runs while a connection is HTTP_INFLATING. */
    uint32_t handles;   /* Of our own, not yet closed. */
    bool listening, draining, closing;
    bool accept_later; /* There was no memory for a connection that waits. */
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct http_conn *conns;
    uint32_t conn_count;
    uint64_t collected; /* Bytes in http_write.text of all connections. */
    time_t date_s;      /* What `date` says. */
    char date[32];
    char room[HTTP_ROOM]; /* What is read is used before the next is. */
    char inflated[HTTP_ROOM];
};

/* ---- http.c -------------------------------------------------------------------------------- */

/** A connection's handle is closed and its memory free. */
void http_server_forget(struct http_server *server);
/** A connection is HTTP_INFLATING now. */
void http_server_inflate(struct http_server *server);
/** "Sun, 06 Nov 1994 08:49:37 GMT" */
const char *http_server_date(struct http_server *server);

/* ---- http_conn.c --------------------------------------------------------------------------- */

/** Accept what the listener has. */
void http_conn_accept(struct http_server *server);
/** End it if it is over its time. */
void http_conn_check_time(struct http_conn *conn, uint64_t now_ms);
/** Close it now if it is idle; otherwise after its answer. */
void http_conn_drain(struct http_conn *conn);
void http_conn_close(struct http_conn *conn);
/** HTTP_INFLATING: the next part of its body. */
void http_conn_inflate(struct http_conn *conn);

struct http_answer {
    unsigned status;
    const char *type;    /* Content-Type; NULL: no body. */
    const char *headers; /* More of them, each with \r\n; "" or NULL: none. */
    struct slice body;   /* Copied. */
};

/** Answer the request that is complete. */
void http_answer(struct http_conn *conn, const struct http_answer *answer);

/* ---- http_request.c ------------------------------------------------------------------------ */

extern const http_parser_settings http_request_callbacks;

/** Inflate and deliver, at most a turn's worth. Returns how many bytes of `in` were used;
 * request.inflate_more: there is more to come without further input. */
size_t http_request_inflate(struct http_conn *conn, const char *in, size_t in_size);

/** Answer soon, whatever of the request is still to come, and close. From begin() and body(): the
 * answer leaves when they have returned. */
void http_refuse(struct http_conn *conn, unsigned status, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* ---- http_route.c -------------------------------------------------------------------------- */

/** The route of the request; never NULL: not found is one, too. */
const struct http_route *http_route_find(const struct http_conn *conn);
/** An error that is not a write's: {"code", "message", "error"}. */
void http_route_error(struct http_conn *conn, unsigned status, const char *headers,
                      const char *text);
/** "invalid", "not found", ...: the name that goes with a status in JSON. */
const char *http_route_code(unsigned status);

/* ---- http_write.c -------------------------------------------------------------------------- */

void http_write_begin(struct http_conn *conn);
void http_write_body(struct http_conn *conn, const char *text, size_t size);
void http_write_end(struct http_conn *conn);
/** Forget the write under way, if there is one. */
void http_write_reset(struct http_conn *conn);

#endif
