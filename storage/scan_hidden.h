/*
 * scan_hidden.h - leave out of a section's runs what was deleted.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_HIDDEN_H
#define STORAGE_SCAN_HIDDEN_H

#include "storage/scan_decode.h"

/** Something of the current section may be hidden. */
bool scan_hidden_some(const struct scan_decode *decode);
/** Cut the runs of the current section where tombstones of the snapshot hide rows. ERR_CORRUPT,
 * ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err scan_hidden_cut(struct scan_decode *decode);

#endif
