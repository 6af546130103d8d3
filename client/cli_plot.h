/*
 * cli_plot.h - a result as line charts made of braille dots, one panel for each series and field.
 *
 *     cpu{cpu="cpu-total",host="a"} usage_user          min 1.2  mean 3.4  max 9.8  last 2.0
 *     9.8 |    .:.      ..
 *         |  .:   ':..:'  '.
 *     1.2 |.:               '
 *          12:00:00                              12:15:00
 *
 * A character is two dots wide and four high. A column of dots shows the whole range of the values
 * that fall into it, joined to the one before: a spike of a single sample is never lost.
 */
#ifndef CLIENT_CLI_PLOT_H
#define CLIENT_CLI_PLOT_H

#include <stdbool.h>
#include <stdio.h>

#include "client/millrace.h"

struct cli_plot_options {
    unsigned width;  /* Columns of the screen: 40 or more. */
    unsigned height; /* Lines of a panel: 2 or more. */
    bool colours;
    const char *table;
};

/** Draw all panels; a result of many series ends with a line that counts the ones left out. */
void cli_plot(FILE *out, const struct millrace_result *result,
              const struct cli_plot_options *options);

#endif
