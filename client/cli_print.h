/*
 * cli_print.h - a result as a table, CSV or JSON.
 */
#ifndef CLIENT_CLI_PRINT_H
#define CLIENT_CLI_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "client/millrace.h"

enum { CLI_PRINT_CELL_MAX = 40 };

/** A number as text: the shortest that reads back as the same float. Not for strings. */
void cli_print_number(const struct millrace_value *value, char out[CLI_PRINT_CELL_MAX]);

/** In quotes, with escapes. */
void cli_print_json_string(FILE *out, const char *text, size_t size);

/** Aligned columns under a header, and how many rows there were. */
void cli_print_table(FILE *out, const struct millrace_result *result, bool colours);
/** RFC 4180, with a header line: time, tags, fields. Absent values are empty. */
void cli_print_csv(FILE *out, const struct millrace_result *result);
/** An array of objects, one row a line; absent values are left out, NaN and infinities are null. */
void cli_print_json(FILE *out, const struct millrace_result *result);

#endif
