/*
 * ingest_internal.h - the ingest as the worker that owns it sees it: made, flushed, freed; and what
 * its two halves share: ingest.c has requests from begin to end, ingest_lines.c their text.
 */
#ifndef NODE_INGEST_INTERNAL_H
#define NODE_INGEST_INTERNAL_H

#include "client/wire/line_protocol.h"
#include "node/ingest.h"
#include "node/lane.h"
#include "node/series_memo.h"
#include "node/worker.h"

struct ingest {
    struct worker *worker;
    struct lane *lanes; /* Owned: one for each shard. */
    uint32_t lane_count;
    uint32_t requests; /* Begun and not done. */
    struct series_memo memo;
    struct ingest_request *finished, **finished_end; /* `done` is due. */
    struct ingest_request *asking;                   /* Ask for types again at their time. */
    uint64_t carried;                                /* Bytes of text kept by requests. */
    struct line line;                                /* Too large for the stack. */
};

struct ingest_request {
    struct ingest *ingest;
    struct ingest_request *next; /* In the list of finished ones, or of those that ask again. */
    ingest_done_cb done;         /* NULL: abandoned. */
    void *ctx;
    struct slice database; /* Points into `database_name`. */
    bool all_or_nothing;
    bool checking;        /* all_or_nothing, first pass: nothing is stored. */
    bool ended;           /* The last text came. */
    bool failed;          /* For good: what is not parsed is dropped. */
    bool paused;          /* A line waits for types. */
    bool parsing;         /* ingest_parse() is on the stack. */
    bool finished;        /* In the list of those whose `done` is due. */
    uint32_t pending;     /* Shares in blocks that are not settled. */
    uint32_t lines;       /* Newlines before the text to be parsed next. */
    int64_t now_ns;       /* Of day: for lines without a time. */
    int64_t oldest_ns;    /* By the database's retention: earlier rows are refused. */
    uint32_t database_at; /* In the worker's schema; UINT32_MAX: it is not there yet. */
    uint64_t began_ns;    /* On clk_now_ns(). */
    uint64_t ask_again_ms, declare_since_ms;
    struct line_parser parser;
    struct bytes carry; /* Text not parsed yet. */
    struct ingest_result result;
    struct ingest_error errors[INGEST_ERRORS_MAX];
    char database_name[NAME_SIZE_MAX];
};

MUST_CHECK enum err ingest_new(struct worker *worker, struct ingest **ret_ingest);
/** No request may be under way at another worker or node. */
void ingest_free(struct ingest *ingest);
/** No request is under way. */
bool ingest_is_idle(const struct ingest *ingest);
/** End of a turn: answers and blocks that are due. */
void ingest_flush(struct ingest *ingest);

/* ---- Between the halves -------------------------------------------------------------------- */

/** Parse what lines there are in [text, text + size); returns how much was used up. */
size_t ingest_parse(struct ingest_request *request, const char *text, size_t size);
/** Parse what was kept, as far as it goes; the request may be finished then. */
void ingest_go_on(struct ingest_request *request);
/** The request has failed for good: what is not parsed is dropped. */
void ingest_fail(struct ingest_request *request, enum err code, const char *text);

#endif
