/*
 * cli_write.c - `millrace write`: line protocol from files or a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_time.h"
#include "client/lines.h"

static const char usage[] =
    "millrace write [options] [FILE|-]...   store line protocol (standard input without a FILE)\n"
    "\n" CLI_CONNECT_HELP
    "  --precision UNIT        of times in the text: ns, us, ms, s, m, h (default: ns)\n"
    "  --timeout SECONDS       give up after so long without an answer (default: 30)\n"
    "  --json                  the summary as JSON on standard output\n"
    "\n"
    "All that was stored is on the disks of a majority when the command ends. Bad lines are named\n"
    "and left out, the others are stored, and the exit code is 1.\n"
    "\n"
    "Examples\n"
    "  echo 'cpu,host=a usage_user=1.5,usage_system=0.3' | millrace write\n"
    "  millrace write --db plant --precision s readings.lp\n"
    "\n" CLI_EXIT_HELP;

/* The longest line that is taken fits, and then some. */
enum { ROOM = 2 * LINE_SIZE_MAX, BAD_NAMED_MAX = 10 };

struct totals {
    uint64_t rows, bad;
    const char *name; /* Of the file that is read. */
};

static void on_bad(void *ctx, uint32_t number)
{
    struct totals *totals = ctx;

    if (totals->bad++ < BAD_NAMED_MAX)
        cli_error("write", 0, "%s: line %u: %s", totals->name, (unsigned)number, err_detail());
}

/* All lines of `fd`, as they come: a pipe may stay open for days. */
static int write_fd(struct millrace *m, int fd, struct lines *lines, struct totals *totals)
{
    char *text = malloc(ROOM);
    size_t size = 0;
    int code = text ? CLI_OK : cli_error("write", CLI_FAILED, "no memory");
    bool more = true;

    while (more && code == CLI_OK) {
        ssize_t got = read(fd, text + size, ROOM - size);
        size_t used;
        enum err err;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            code = cli_error("write", CLI_FAILED, "%s: %s", totals->name, strerror(errno));
            break;
        }
        more = got > 0;
        size += (size_t)got;
        lines->now_ns = cli_time_now_ns();
        err = lines_write(lines, m, text, size, more, &used);
        if (err != ERR_OK)
            code = cli_failed("write", m, client_fail(m, err));
        size -= used;
        memmove(text, text + used, size);
    }
    free(text);
    return code;
}

static int write_named(struct millrace *m, const char *name, int64_t unit_ns, struct totals *totals)
{
    bool is_stdin = strcmp(name, "-") == 0;
    struct lines lines;
    int fd, code;

    totals->name = is_stdin ? "standard input" : name;
    if (lines_init(&lines, unit_ns) != ERR_OK)
        return cli_error("write", CLI_FAILED, "%s", err_detail());
    fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    lines.on_bad = on_bad;
    lines.ctx = totals;
    if (fd >= 0)
        code = write_fd(m, fd, &lines, totals);
    else
        code = cli_error("write", CLI_FAILED, "%s: %s", name, strerror(errno));
    totals->rows += lines.rows;
    lines_fini(&lines);
    if (fd >= 0 && !is_stdin)
        close(fd);
    return code;
}

static int write_all(struct millrace *m, char **names, int count, int64_t unit_ns,
                     uint32_t timeout_ms, bool json)
{
    struct millrace_counts counts;
    struct totals totals = {0};
    enum millrace_code flushed;
    int code = CLI_OK;

    if (count == 0)
        code = write_named(m, "-", unit_ns, &totals);
    for (int i = 0; i < count && code == CLI_OK; i++)
        code = write_named(m, names[i], unit_ns, &totals);
    flushed = millrace_flush(m, timeout_ms + 1000);
    if (flushed != MILLRACE_OK && code == CLI_OK)
        code = cli_failed("write", m, flushed);
    millrace_counts(m, &counts);
    if (json)
        printf("{\"rows\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"points\":%" PRIu64
               ",\"failed\":%" PRIu64 ",\"bad_lines\":%" PRIu64 "}\n",
               totals.rows, counts.rows_acknowledged, counts.points_acknowledged,
               totals.rows - counts.rows_acknowledged, totals.bad);
    else
        fprintf(stderr, "%" PRIu64 " rows (%" PRIu64 " points) stored%s\n",
                counts.rows_acknowledged, counts.points_acknowledged,
                counts.rows_acknowledged < totals.rows ? ", others were NOT: see above" : "");
    if (totals.bad > 0)
        cli_error("write", 0, "%" PRIu64 " bad lines were left out%s", totals.bad,
                  totals.bad > BAD_NAMED_MAX ? "; the first ones are named above" : "");
    return code == CLI_OK && totals.bad > 0 ? CLI_FAILED : code;
}

int cli_write(int argc, char **argv)
{
    static const struct option options[] = {CLI_CONNECT_OPTIONS,
                                            {"precision", required_argument, NULL, 'p'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct millrace_options connect = {.timeout_ms = 30000};
    int64_t unit_ns = 1;
    uint64_t timeout_s;
    bool json = false;
    struct millrace *m;
    int code, option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'N':
            connect.nodes = optarg;
            break;
        case 'D':
            connect.database = optarg;
            break;
        case 'p':
            unit_ns = line_time_unit(optarg, strlen(optarg));
            if (unit_ns == 0)
                return cli_usage("write", "--precision %s: want ns, us, ms, s, m or h", optarg);
            break;
        case 't':
            if (!cli_number(optarg, 1, 3600, &timeout_s))
                return cli_usage("write", "--timeout %s: want 1 to 3600 seconds", optarg);
            connect.timeout_ms = (uint32_t)timeout_s * 1000;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    code = cli_open("write", &connect, &m);
    if (code != CLI_OK)
        return code;
    code = write_all(m, argv + optind, argc - optind, unit_ns, connect.timeout_ms, json);
    millrace_close(m); /* Everything was answered, or given up and reported. */
    return code;
}
