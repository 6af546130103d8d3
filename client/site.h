/*
 * site.h - what the I/O thread knows of the site: its nodes, a session for each, who leads what.
 *
 * A node may be known by a seed's address and by the one that the topology names; the server id,
 * which each node tells in HELLO_OK, joins the two. Sessions are opened when somebody needs them.
 *
 * Thread   The I/O thread's.
 */
#ifndef CLIENT_SITE_H
#define CLIENT_SITE_H

#include "client/io.h"

/** One session for each seed. Before the thread starts. ERR_NO_MEMORY. */
MUST_CHECK enum err site_init(struct io *io);

/** The session to use for a server, ready or not; NULL if its address is not known. */
struct session *site_session_of(struct io *io, uint64_t server);
/** Some ready session, another one each time; NULL (and all are being opened) if there is none. */
struct session *site_session_any(struct io *io);
/** Ask some node who leads what, unless that was just done. */
void site_ask_topology(struct io *io);

#endif
