/*
 * err.h - how every function in this program says that it could not do its work.
 *
 * A function that can fail returns enum err and is marked MUST_CHECK. The code is for the caller
 * to decide with; the detail is one line for the operator to read, kept per thread, so it costs
 * no parameter and no allocation:
 *
 *     segment.c   return err_set(ERR_CORRUPT, "block at offset %" PRIu64 ": bad checksum", at);
 *     store.c     return err_wrap(err, "shard %u: segment %s", shard, name);
 *     main.c      log_error("%s: %s", err_name(err), err_detail());
 *
 *     =>  corrupt: shard 3: segment 000017.seg: block at offset 4096: bad checksum
 *
 * Who finds the error sets the detail. A caller wraps it only when it adds something the callee
 * could not know. One place logs it: the one that does not pass it on.
 *
 * Thread    The detail belongs to the thread that set it. A result that travels to another thread
 *           carries its own struct err_note: err_save() here, err_restore() there.
 */
#ifndef STORAGE_BASE_ERR_H
#define STORAGE_BASE_ERR_H

#include "storage/base/attrs.h"

/* Every code, its name in logs and what the caller may do about it. Append only: the numbers
 * travel in replies to clients. */
#define ERR_TABLE(X)                                                      \
    X(ERR_OK, "ok")                       /* It worked. */                \
    X(ERR_END, "end")                     /* Nothing left to return. */   \
    X(ERR_NO_MEMORY, "no memory")         /* Shed load, then retry. */    \
    X(ERR_IO, "i/o")                      /* The disk or network. */      \
    X(ERR_CORRUPT, "corrupt")             /* Stored bytes are damaged. */ \
    X(ERR_INVALID, "invalid")             /* The peer sent nonsense. */   \
    X(ERR_NOT_FOUND, "not found")         /* No such series or file. */   \
    X(ERR_NOT_LEADER, "not leader")       /* Ask the leader instead. */   \
    X(ERR_BUSY, "busy")                   /* A queue is full: retry. */   \
    X(ERR_TIMEOUT, "timeout")             /* May or may not have run. */  \
    X(ERR_CANCELED, "canceled")           /* We are shutting down. */     \
    X(ERR_UNAVAILABLE, "unavailable")     /* No leader now: retry. */     \
    X(ERR_TYPE_CONFLICT, "type conflict") /* Field has another type. */   \
    X(ERR_LIMIT, "limit")                 /* A named limit was passed. */ \
    X(ERR_TOO_LARGE, "too large")         /* Send smaller pieces. */      \
    X(ERR_DISK_FULL, "disk full")         /* Retry when space is free. */ \
    X(ERR_SEQUENCE, "sequence")           /* Producer left a gap. */      \
    X(ERR_VERSION, "version")             /* Peer speaks another one. */  \
    X(ERR_TOO_OLD, "too old")             /* Before what is kept. */

#define ERR_CODE(code, name) code,
enum err { ERR_TABLE(ERR_CODE) ERR_COUNT };

enum { ERR_DETAIL_MAX = 256 }; /* Bytes with the final NUL; longer details are cut. */

/** An error on its way to another thread. Embed it in the request, by value. */
struct err_note {
    enum err code;
    char detail[ERR_DETAIL_MAX];
};

/** The code's name, such as "not leader". Static memory, never NULL. Any thread. */
const char *err_name(enum err code);

/** Set this thread's detail and return `code`, so a failure is one line: return err_set(...). The
 * old detail may be an argument. */
enum err err_set(enum err code, const char *format, ...) PRINTF_LIKE(2, 3);

/** Put "what: " in front of this thread's detail and return `code`. */
enum err err_wrap(enum err code, const char *format, ...) PRINTF_LIKE(2, 3);

/** This thread's last detail; "" if there was none. Borrowed until the next err_set or err_wrap. */
const char *err_detail(void);

/** Copy this thread's detail into `note`. */
void err_save(struct err_note *note, enum err code);

/** Make `note` this thread's detail and return its code. */
enum err err_restore(const struct err_note *note);

#endif
