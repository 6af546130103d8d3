/*
 * port.h - a port for a test that has to know it before somebody listens there, or between two who
 * do.
 *
 * A port that was only looked up may be given to the next who looks: about once in 20000 times it
 * is. Two nodes that have one port both listen, since SO_REUSEPORT lets them, and wait for each
 * other for ever. So the port is held by a socket that is bound and never listens: the kernel gives
 * it to nobody, refuses connections, and lets those listen who name the port and set SO_REUSEADDR.
 */
#ifndef TESTS_SUPPORT_PORT_H
#define TESTS_SUPPORT_PORT_H

#include <stdint.h>

/** A port of 127.0.0.1 that is this process' until it ends. Another one each time. */
uint16_t port_hold(void);

#endif
