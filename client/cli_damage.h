/*
 * cli_damage.h - how commands that check files say what they found: a line or a JSON object a
 * fault.
 *
 *     data/shard-0/00000003.mrs: offset 4096: bad checksum of a frame
 *     note: data/shard-0/00000004.mrs.tmp: left over ...
 */
#ifndef CLIENT_CLI_DAMAGE_H
#define CLIENT_CLI_DAMAGE_H

#include <stdio.h>

#include "storage/damage.h"

struct cli_damage {
    struct damage_sink sink; /* Give this to checks. */
    FILE *out;
    bool json; /* Print {...} objects of a list, commas between them. */
};

/** The sink points at `printer`, which must stay where it is. */
void cli_damage_init(struct cli_damage *printer, FILE *out, bool json);

#endif
