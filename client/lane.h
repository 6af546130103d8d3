/*
 * lane.h - the batches of one shard: in order, to its leader, until they are answered.
 *
 *     waiting --> under way (numbered, at most `inflight`) --> answered
 *
 * NUMBERS    A batch gets its sequence when it is sent for the first time, and keeps it: sent
 *            again, over whichever leader, the site stores it once. All that is under way is sent
 *            again in order when anything of it comes back with an error that will pass, or when
 *            the connection closes; answers to the earlier sending are then ignored (a repeated
 *            batch is answered again).
 *
 * REFUSED    A batch that is refused for good (or that the site finds to leave a gap) did not use
 *            up its number, and those behind it cannot have been stored: the site only takes the
 *            next number. So the lane begins a new epoch and numbers what remains from 1.
 *
 * TOO OLD    If the refusal names the time from which on rows are kept, the older ones are told
 *            that they are not stored, and the others go out again as a batch of their own.
 *
 * GIVEN UP   A batch that was never sent is dropped after the timeout. One that was sent may be
 *            stored, and so may those behind it: numbering them anew could store them twice. It is
 *            reported (MILLRACE_TIMEOUT: may or may not be stored) but stays under way until the
 *            site answers, so that the numbers behind it stay right. No more than `inflight`
 *            batches a shard are kept like that.
 *
 * Thread     The I/O thread's.
 */
#ifndef CLIENT_LANE_H
#define CLIENT_LANE_H

#include "client/io.h"

struct lane {
    uint32_t shard;
    uint64_t leader; /* Server id; 0: not known. */
    uint32_t epoch;
    uint64_t sequence; /* The next batch's. */
    struct batch_list waiting;
    struct batch_list under_way;
    struct session *session;  /* Where the requests under way were sent. */
    uint64_t retry_ns;        /* Nothing is sent before. */
    uint64_t progress_ns;     /* The last answer, or when the first request went out after it. */
    bool doubt;               /* No answer for long: believe whoever names another leader. */
    uint32_t attempts;        /* Failures in a row. */
    char why[ERR_DETAIL_MAX]; /* The last of them. */
};

/** The shard whose lane sent this request; UINT32_MAX: no lane did. */
uint32_t lane_of_request(uint64_t request);

void lane_init(struct lane *lane, uint32_t shard);

/** Takes the batch over. */
void lane_add(struct io *io, struct lane *lane, struct batch *batch);
/** Send what may be sent. */
void lane_pump(struct io *io, struct lane *lane);
/** Give up what is too old, then pump. Returns whether anything is left. */
bool lane_tick(struct io *io, struct lane *lane);
/** A topology came. Believed only if the leader we know does not answer. */
void lane_set_leader(struct io *io, struct lane *lane, uint64_t leader);
/** The connection closed: whatever was sent on it is sent again. */
void lane_lost(struct io *io, struct lane *lane, struct session *session);
/** Answer everything as given up. */
void lane_abandon(struct io *io, struct lane *lane);

/** Answers to a request of this lane. ERR_INVALID: the node contradicts itself. */
MUST_CHECK enum err lane_written(struct io *io, struct lane *lane, uint64_t request,
                                 const struct message_write_ok *ok);
MUST_CHECK enum err lane_refused(struct io *io, struct lane *lane, uint64_t request,
                                 const struct message_error *error);

#endif
