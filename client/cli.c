#include "client/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli_time.h"

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 20, TABLES_NAMED_MAX = 8, NOTE_MS = 5000 };

static bool hinted; /* At --help. */

static void say(const char *command, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void say(const char *command, const char *format, va_list args)
{
    fprintf(stderr, "millrace %s: ", command);
    vfprintf(stderr, format, args);
}

int cli_error(const char *command, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(command, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(command, format, args);
    va_end(args);
    fprintf(stderr, "; see millrace %s --help\n", command);
    hinted = true;
    return CLI_USAGE;
}

int cli_end(const char *command, int code)
{
    if (code == CLI_USAGE && !hinted)
        fprintf(stderr, "see millrace %s --help\n", command);
    return code;
}

int cli_failed(const char *command, const struct millrace *m, enum millrace_code code)
{
    const char *why = millrace_last_error(m);

    cli_error(command, 0, "%s: %s", millrace_code_name(code), *why ? why : "no details");
    if (code == MILLRACE_UNAVAILABLE && m == NULL)
        fputs(
            "Which nodes to ask, by their native ports: --node HOST:PORT[,...] or $MILLRACE_NODE.\n"
            "For trials, `millrace local up` starts a site on this machine.\n",
            stderr);
    if (code == MILLRACE_UNAVAILABLE)
        return CLI_UNREACHABLE;
    return code == MILLRACE_INVALID && m == NULL ? CLI_USAGE : CLI_FAILED;
}

void cli_note_table(const char *command, struct millrace *m, const char *database,
                    const char *table)
{
    struct millrace_query query = {.about = "tables", .timeout_ms = NOTE_MS};
    struct millrace_result *tables;
    struct millrace_value name;
    size_t count;

    if (millrace_query(m, &query, &tables) != MILLRACE_OK)
        return; /* It is only a note. */
    count = millrace_result_rows(tables);
    for (size_t i = 0; i < count; i++) {
        if (millrace_result_get(tables, i, 0, &name) && name.as.s.size == strlen(table) &&
            memcmp(name.as.s.data, table, name.as.s.size) == 0) {
            millrace_result_free(tables);
            return;
        }
    }
    fprintf(stderr, "millrace %s: database \"%s\" has no table \"%s\"", command,
            database ? database : "default", table);
    for (size_t i = 0; i < count && i < TABLES_NAMED_MAX; i++)
        if (millrace_result_get(tables, i, 0, &name))
            fprintf(stderr, "%s\"%.*s\"", i == 0 ? "; it has " : ", ", (int)name.as.s.size,
                    name.as.s.data);
    fputs(count == 0                 ? "; it has none at all (millrace db list)\n"
          : count > TABLES_NAMED_MAX ? ", ...\n"
                                     : "\n",
          stderr);
    millrace_result_free(tables);
}

int cli_open(const char *command, const struct millrace_options *options, struct millrace **ret)
{
    enum millrace_code code = millrace_open(options, ret);

    return code == MILLRACE_OK ? CLI_OK : cli_failed(command, NULL, code);
}

bool cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
    unsigned long long number;
    char *end;

    if (*text < '0' || *text > '9')
        return false; /* strtoull() takes blanks and signs. */
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < min || number > max)
        return false;
    *ret_number = number;
    return true;
}

int cli_time_option(const char *command, const char *name, const char *text, int64_t now_ns,
                    int64_t *ret_ns)
{
    if (!cli_time_parse(text, now_ns, ret_ns))
        return cli_usage(command,
                         "--%s %s: want a time such as -15m, 2026-01-31T12:00:00Z or 1700000000s",
                         name, text);
    return CLI_OK;
}

bool cli_colours(FILE *file)
{
    const char *terminal = getenv("TERM");

    return isatty(fileno(file)) && !getenv("NO_COLOR") &&
           !(terminal && strcmp(terminal, "dumb") == 0);
}

unsigned cli_width(FILE *file)
{
    struct winsize size;

    if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0 || size.ws_col < WIDTH_MIN)
        return WIDTH_DEFAULT;
    return size.ws_col;
}
