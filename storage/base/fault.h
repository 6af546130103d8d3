/*
 * fault.h - named places where a test can make a running program fail or die.
 *
 *     if (FAULT("log.sync"))
 *         return err_set(ERR_IO, "sync %s: injected", path);
 *
 *     MILLRACE_FAULT=log.sync:fail:3 millraced ...      the third sync fails, the others do not
 *
 * NAME:ACTION:NTH, several with commas; NTH counts the visits of all threads from 1.
 *
 *   fail    FAULT() is true at the NTH visit only
 *   broken  FAULT() is true from the NTH visit on
 *   kill    the process gets SIGKILL at the NTH visit: no clean-up, like a power cut of one process
 *   stop    the process gets SIGSTOP at the NTH visit: as if it hung; SIGCONT lets it go on
 *
 * The variable is read before main(). A program that finds it malformed does not start (exit 64);
 * one that finds it says so on standard error. Unset, a visit costs one load and one branch.
 */
#ifndef STORAGE_BASE_FAULT_H
#define STORAGE_BASE_FAULT_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum { FAULT_COUNT_MAX = 8, FAULT_NAME_MAX = 32 };

/** Visit the place `name`. True if the caller shall fail now. Any thread. */
#define FAULT(name) (__builtin_expect(fault_any_armed, 0) && fault_visit(name))

extern bool fault_any_armed; /* Changed by fault_arm() only. */

/** Does what was armed for this place, if it is its turn. Called by FAULT(). */
bool fault_visit(const char *name);

/**
 * Arm these places instead of all before, counting from zero; "" arms none.
 *
 * Errors   ERR_INVALID: malformed; what was armed before stays
 * Thread   while no other thread visits a place: before the others start, or in unit tests
 */
MUST_CHECK enum err fault_arm(const char *spec);

#endif
