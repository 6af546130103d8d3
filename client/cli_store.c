#include "client/cli_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_row_read.h"
#include "client/cli_time.h"
#include "client/lines.h"
#include "storage/base/clk.h"

enum {
    ROOM_FIRST = 2 * LINE_SIZE_MAX, /* The longest line that is taken fits, and then some. */
    BAD_NAMED_MAX = 10,
    PROGRESS_NS = 200000000,
};

/* What the site refused for one reason. */
struct refusal {
    uint64_t rows;
    char text[ERR_DETAIL_MAX]; /* The first time. */
};

struct store_run {
    const struct cli_store_options *options;
    struct millrace *m;
    uint64_t rows, bad;
    uint64_t bytes; /* Read. */
    const char *name;
    uint64_t started_ns, shown_ns;
    struct lines lines;            /* Line protocol; else its `line` alone is used. */
    struct cli_row_reader *reader; /* The other formats. Owned. */
    uint64_t line;                 /* Of the record that is read, from 1. */

    /* From the library's thread. */
    pthread_mutex_t mutex;
    struct refusal refusals[ERR_COUNT];
    bool hopeless; /* Not this row's fault: others would fare the same. */
};

/* ---- What became of it --------------------------------------------------------------------- */

static bool is_rows_own_fault(enum millrace_code code)
{
    return code == MILLRACE_TOO_OLD || code == MILLRACE_LIMIT || code == MILLRACE_TYPE_CONFLICT ||
           code == MILLRACE_INVALID || code == MILLRACE_TOO_LARGE;
}

static void on_ack(void *ctx, const struct millrace_ack *ack)
{
    struct store_run *run = ctx;

    if (ack->code == MILLRACE_OK || (int)ack->code >= ERR_COUNT)
        return;
    pthread_mutex_lock(&run->mutex);
    if (run->refusals[ack->code].rows == 0)
        (void)snprintf(run->refusals[ack->code].text, ERR_DETAIL_MAX, "%s", ack->text);
    run->refusals[ack->code].rows += ack->rows;
    run->hopeless |= !is_rows_own_fault(ack->code);
    pthread_mutex_unlock(&run->mutex);
}

static bool is_hopeless(struct store_run *run)
{
    bool hopeless;

    pthread_mutex_lock(&run->mutex);
    hopeless = run->hopeless;
    pthread_mutex_unlock(&run->mutex);
    return hopeless;
}

static void name_bad(struct store_run *run, uint64_t number)
{
    if (run->bad++ < BAD_NAMED_MAX)
        cli_error(run->options->command, 0, "%s: line %" PRIu64 ": %s", run->name, number,
                  err_detail());
}

static void on_bad_line(void *ctx, uint32_t number)
{
    name_bad(ctx, number);
}

static void show_progress(struct store_run *run)
{
    struct millrace_counts counts;
    uint64_t now_ns = clk_now_ns();

    if (!run->options->progress || now_ns - run->shown_ns < PROGRESS_NS)
        return;
    run->shown_ns = now_ns;
    millrace_counts(run->m, &counts);
    fprintf(stderr, "\r%" PRIu64 " rows stored, %.1f MB read, %.0f rows/s ",
            counts.rows_acknowledged, (double)run->bytes / 1e6,
            (double)counts.rows_acknowledged * 1e9 / (double)(now_ns - run->started_ns + 1));
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* CSV and JSON: the whole records of the text. */
static enum err store_records(struct store_run *run, const char *text, size_t size, bool more,
                              size_t *ret_used)
{
    struct cli_row_reader *reader = run->reader;
    size_t record;
    enum err err = ERR_OK;

    *ret_used = 0;
    while (*ret_used < size &&
           (record = cli_row_read_size(reader, text + *ret_used, size - *ret_used, more)) > 0) {
        const char *at = text + *ret_used;

        err = cli_row_read(reader, at, record, run->lines.line);
        if (err == ERR_OK)
            err = lines_write_row(run->m, run->lines.line, 0);
        if (err == ERR_OK)
            run->rows++;
        else if (lines_is_bad(err))
            name_bad(run, run->line);
        else if (err != ERR_END)
            return err;
        *ret_used += record;
        for (const char *newline = at;
             (newline = memchr(newline, '\n', (size_t)(at + record - newline))) != NULL; newline++)
            run->line++;
    }
    return ERR_OK;
}

static enum err store_text(struct store_run *run, const char *text, size_t size, bool more,
                           size_t *ret_used)
{
    enum err err;

    if (run->options->format != CLI_ROW_LINE)
        return store_records(run, text, size, more, ret_used);
    run->lines.now_ns = cli_time_now_ns();
    run->lines.rows = 0;
    err = lines_write(&run->lines, run->m, text, size, more, ret_used);
    run->rows += run->lines.rows;
    return err;
}

/* The room is full of one record that goes on. */
static bool grow(char **text, size_t *room)
{
    char *larger = realloc(*text, 2 * *room);

    if (larger == NULL)
        return false;
    *text = larger;
    *room *= 2;
    return true;
}

/* All of `fd`, as it comes: a pipe may stay open for days. */
static int store_fd(struct store_run *run, int fd)
{
    const char *command = run->options->command;
    size_t size = 0, room = ROOM_FIRST;
    char *text = malloc(room);
    int code = text ? CLI_OK : cli_error(command, CLI_FAILED, "no memory");
    bool more = true;

    while (more && code == CLI_OK && !is_hopeless(run)) {
        ssize_t got = read(fd, text + size, room - size);
        size_t used = 0;
        enum err err;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            code = cli_error(command, CLI_FAILED, "%s: %s", run->name, strerror(errno));
            break;
        }
        more = got > 0;
        size += (size_t)got;
        run->bytes += (uint64_t)got;
        err = store_text(run, text, size, more, &used);
        if (err != ERR_OK)
            code = cli_failed(command, run->m, client_fail(run->m, err));
        size -= used;
        memmove(text, text + used, size);
        if (size == room && !grow(&text, &room))
            code = cli_error(command, CLI_FAILED, "no memory for a record of over %zu bytes", room);
        show_progress(run);
    }
    free(text);
    return code;
}

static int store_named(struct store_run *run, const char *name)
{
    bool is_stdin = strcmp(name, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    int code;

    run->name = is_stdin ? "standard input" : name;
    if (fd < 0)
        return cli_error(run->options->command, CLI_FAILED, "%s: %s", name, strerror(errno));
    if (lines_init(&run->lines, run->options->unit_ns) != ERR_OK) {
        code = cli_error(run->options->command, CLI_FAILED, "%s", err_detail());
    } else {
        run->lines.on_bad = on_bad_line;
        run->lines.ctx = run;
        run->line = 1;
        if (run->reader != NULL)
            run->reader->headed = false;
        code = store_fd(run, fd);
        lines_fini(&run->lines);
    }
    if (!is_stdin)
        close(fd);
    return code;
}

/* ---- The summary --------------------------------------------------------------------------- */

static int name_refusals(struct store_run *run, int code)
{
    for (size_t i = 0; i < ERR_COUNT; i++) {
        const struct refusal *refusal = &run->refusals[i];

        if (refusal->rows == 0)
            continue;
        cli_error(run->options->command, 0, "%" PRIu64 " rows %s: %s", refusal->rows,
                  i == MILLRACE_TIMEOUT ? "may or may not be stored" : "were not stored",
                  refusal->text);
        if (code == CLI_OK)
            code = i == MILLRACE_UNAVAILABLE ? CLI_UNREACHABLE : CLI_FAILED;
    }
    if (run->hopeless)
        cli_error(run->options->command, 0,
                  "the rest was not read; doing it all again doubles nothing, if the rows have "
                  "their times");
    return code;
}

static int finish(struct store_run *run, int code)
{
    const struct cli_store_options *options = run->options;
    enum millrace_code flushed = millrace_flush(run->m, options->connect.timeout_ms + 1000);
    struct millrace_counts counts;
    double seconds;

    seconds = (double)(clk_now_ns() - run->started_ns) / 1e9;
    millrace_counts(run->m, &counts);
    if (options->progress)
        fputs("\r\033[K", stderr);
    if (options->json)
        printf("{\"rows\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"points\":%" PRIu64
               ",\"failed\":%" PRIu64 ",\"bad_lines\":%" PRIu64 ",\"seconds\":%.3f}\n",
               run->rows, counts.rows_acknowledged, counts.points_acknowledged,
               run->rows - counts.rows_acknowledged, run->bad, seconds);
    else
        fprintf(stderr, "%" PRIu64 " rows (%" PRIu64 " points) stored in %.1f s, %.0f rows/s%s\n",
                counts.rows_acknowledged, counts.points_acknowledged, seconds,
                (double)counts.rows_acknowledged / (seconds > 0 ? seconds : 1),
                counts.rows_acknowledged < run->rows ? "; others were NOT:" : "");
    if (run->bad > 0)
        cli_error(options->command, 0, "%" PRIu64 " bad lines were left out%s", run->bad,
                  run->bad > BAD_NAMED_MAX ? "; the first ones are named above" : "");
    if (flushed != MILLRACE_OK && counts.rows_failed == 0 && code == CLI_OK)
        code = cli_failed(options->command, run->m, flushed);
    code = name_refusals(run, code);
    return code == CLI_OK && run->bad > 0 ? CLI_FAILED : code;
}

static int store_all(struct store_run *run, char **names, int count)
{
    int code = CLI_OK;

    run->started_ns = clk_now_ns();
    if (count == 0)
        code = store_named(run, "-");
    for (int i = 0; i < count && code == CLI_OK; i++)
        code = store_named(run, names[i]);
    return finish(run, code);
}

int cli_store(const struct cli_store_options *options, char **names, int count)
{
    struct millrace_options connect = options->connect;
    struct store_run *run = calloc(1, sizeof *run);
    int code;

    if (run == NULL)
        return cli_error(options->command, CLI_FAILED, "no memory");
    run->options = options;
    pthread_mutex_init(&run->mutex, NULL);
    if (options->format != CLI_ROW_LINE) {
        run->reader = calloc(1, sizeof *run->reader);
        if (run->reader == NULL) {
            free(run);
            return cli_error(options->command, CLI_FAILED, "no memory");
        }
        run->reader->format = options->format;
        run->reader->table = options->table;
    }
    connect.on_ack = on_ack;
    connect.ctx = run;
    code = cli_open(options->command, &connect, &run->m);
    if (code == CLI_OK) {
        code = store_all(run, names, count);
        millrace_close(run->m); /* Everything was answered, or given up and reported. */
    }
    if (run->reader != NULL)
        cli_row_read_fini(run->reader);
    free(run->reader);
    pthread_mutex_destroy(&run->mutex);
    free(run);
    return code;
}
