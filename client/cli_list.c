#include "client/cli_list.h"

#include <string.h>

bool cli_list_add(struct cli_list *list, char *text)
{
    char *item = text, *out = text;

    for (char *at = text;; at++) {
        if (*at == '\\' && at[1] != '\0') {
            *out++ = *++at;
        } else if (*at == ',' || *at == '\0') {
            bool last = *at == '\0';

            *out = '\0';
            if (out == item || list->count == CLI_LIST_MAX)
                return false;
            list->items[list->count++] = item;
            if (last)
                return true;
            out = item = at + 1;
        } else {
            *out++ = *at;
        }
    }
}

bool cli_list_condition(char *text, struct millrace_condition *ret_condition)
{
    static const char *const ops[] = {"!=", "!~", "=~", "="};
    char *mark = text + strcspn(text, "=!");

    if (mark == text)
        return false;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        size_t size = strlen(ops[i]);

        if (strncmp(mark, ops[i], size) != 0)
            continue;
        *mark = '\0';
        *ret_condition = (struct millrace_condition){text, ops[i], mark + size};
        return true;
    }
    return false;
}
