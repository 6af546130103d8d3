/*
 * cli_size.h - numbers of bytes as people write them: 512KiB, 10GiB, or plain bytes.
 */
#ifndef CLIENT_CLI_SIZE_H
#define CLIENT_CLI_SIZE_H

#include <stdbool.h>
#include <stdint.h>

enum { CLI_SIZE_SIZE = 32 };

/** A whole number with B, KiB, MiB, GiB, TiB or nothing behind it. False: it is none, or has over
 * 63 bits. */
bool cli_size_parse(const char *text, uint64_t *ret_bytes);
/** With one digit after the point: "1.5 GiB"; "512 B". */
void cli_size_format(uint64_t bytes, char out[CLI_SIZE_SIZE]);

#endif
