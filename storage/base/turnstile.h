/*
 * turnstile.h - so many jobs at a time, and one more while a long one steps aside.
 *
 *     pool threads --turnstile_enter()--> at most `most` inside --turnstile_leave()-->
 *                                            |        ^
 *                  turnstile_step_aside()    v        |   turnstile_step_back()
 *                                     one, that takes seconds
 *
 * The pool has one thread more than jobs that may run. A job that stands between two points where
 * it could give way for seconds steps aside, so that the others go on meanwhile; when it steps back
 * it waits for nobody: for so long there is one more inside. One at a time steps aside, so that the
 * threads suffice.
 *
 * There is one turnstile in a process. Until turnstile_open() it holds nobody up.
 *
 * Thread   Any, but for turnstile_open(): before there are others.
 */
#ifndef STORAGE_BASE_TURNSTILE_H
#define STORAGE_BASE_TURNSTILE_H

#include <stdbool.h>
#include <stdint.h>

/** Let so many in, 1 or more; their threads are one more. Nobody is inside. */
void turnstile_open(uint32_t most);

/** Wait until there is room inside. Threads that are inside do not enter again. */
void turnstile_enter(void);
void turnstile_leave(void);

/** Make room for another. False: this thread is not inside, or somebody stands aside already. */
bool turnstile_step_aside(void);
/** After turnstile_step_aside() said true. */
void turnstile_step_back(void);

#endif
