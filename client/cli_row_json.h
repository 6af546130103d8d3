/*
 * cli_row_json.h - a line of JSON into a row, for cli_row_read.c: members time, table, tags,
 * fields; database and others may stand there.
 */
#ifndef CLIENT_CLI_ROW_JSON_H
#define CLIENT_CLI_ROW_JSON_H

#include "client/wire/line_protocol.h"

/**
 * Read the whole of `text`. Strings without escapes borrow it, others `room`, which has at least
 * `size` bytes. ret_database is empty if there is none.
 *
 * Errors  ERR_INVALID: says what at which byte; ERR_LIMIT: too many tags or fields
 */
MUST_CHECK enum err cli_row_json_read(const char *text, size_t size, char *room,
                                      struct line *ret_line, struct slice *ret_database);

#endif
