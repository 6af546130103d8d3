#include <stdlib.h>
#include <time.h>

#include "client/client.h"
#include "client/wire/line_protocol.h"

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static enum err write_line(struct millrace *m, const struct line *line, int64_t default_ns)
{
    uint32_t series = 0;
    enum err err = names_series(m->names, line->table, line->tags, line->tag_count, &series);

    if (err != ERR_OK)
        return err;
    return client_write_row(m, series, line->has_time ? line->time_ns : default_ns, line->fields,
                            line->field_count);
}

/* Is it the line's own fault? Then the next one may be good. */
static bool is_bad_line(enum err err)
{
    return err == ERR_INVALID || err == ERR_LIMIT || err == ERR_TYPE_CONFLICT;
}

enum millrace_code millrace_write_lines(struct millrace *m, const char *text, size_t size,
                                        int64_t unit_ns, uint64_t *ret_rows, uint64_t *ret_bad)
{
    struct line *line = malloc(sizeof *line); /* Over 50 KB: too much for a stranger's stack. */
    struct err_note first = {.code = ERR_OK};
    struct line_parser parser;
    int64_t default_ns = now_ns();
    uint64_t rows = 0, bad = 0;
    enum err err = line ? ERR_OK : err_set(ERR_NO_MEMORY, "a line");

    line_parser_init(&parser, unit_ns);
    line_parser_feed(&parser, text, size, 0);
    while (err == ERR_OK) {
        err = line_parser_next(&parser, line);
        if (err == ERR_END)
            break;
        if (err == ERR_OK)
            err = write_line(m, line, default_ns);
        if (err == ERR_OK) {
            rows++;
        } else if (is_bad_line(err)) {
            if (bad++ == 0)
                err_save(&first, err_wrap(ERR_INVALID, "line %u", (unsigned)parser.number));
            err = ERR_OK;
        }
    }
    line_parser_fini(&parser);
    free(line);
    if (err == ERR_END)
        err = err_restore(&first);
    if (ret_rows)
        *ret_rows = rows;
    if (ret_bad)
        *ret_bad = bad;
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
