/*
 * listen.h - a listening socket that several workers share: each has its own, bound with
 * SO_REUSEPORT, and the kernel spreads the connections.
 */
#ifndef NODE_LISTEN_H
#define NODE_LISTEN_H

#include <uv.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

/** Bind an initialized handle to host (an IP address) and port, and listen. ERR_IO, ERR_INVALID. */
MUST_CHECK enum err listen_shared(uv_tcp_t *tcp, const char *host, uint16_t port,
                                  uv_connection_cb accepted);

#endif
