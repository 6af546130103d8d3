/*
 * cli_list.h - lists in options: names with commas between them, and conditions on tags.
 */
#ifndef CLIENT_CLI_LIST_H
#define CLIENT_CLI_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "client/millrace.h"

enum { CLI_LIST_MAX = 256 };

/** What the items point to is cut out of the texts that were added. */
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

/** Add the items of "a,b,c"; a comma or backslash in one has a backslash before it. The text is
 * changed, and borrowed for good (it is argv's). False: an item is empty, or there are too many. */
bool cli_list_add(struct cli_list *list, char *text);

/** "tag=value", "tag!=value", "tag=~pattern", "tag!~pattern"; the text is changed and borrowed.
 * False: it is none. */
bool cli_list_condition(char *text, struct millrace_condition *ret_condition);

#endif
