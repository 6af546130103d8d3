#include "client/lines.h"

#include <stdlib.h>
#include <time.h>

enum err lines_init(struct lines *lines, int64_t unit_ns)
{
    *lines = (struct lines){.line = malloc(sizeof *lines->line)};
    if (!lines->line)
        return err_set(ERR_NO_MEMORY, "a line");
    line_parser_init(&lines->parser, unit_ns);
    return ERR_OK;
}

void lines_fini(struct lines *lines)
{
    line_parser_fini(&lines->parser);
    free(lines->line);
}

enum err lines_write_row(struct millrace *m, const struct line *line, int64_t default_ns)
{
    uint32_t series = 0;
    enum err err = names_series(m->names, line->table, line->tags, line->tag_count, &series);

    if (err != ERR_OK)
        return err;
    return client_write_row(m, series, line->has_time ? line->time_ns : default_ns, line->fields,
                            line->field_count);
}

bool lines_is_bad(enum err err)
{
    return err == ERR_INVALID || err == ERR_LIMIT || err == ERR_TYPE_CONFLICT;
}

enum err lines_write(struct lines *lines, struct millrace *m, const char *text, size_t size,
                     bool more, size_t *ret_used)
{
    struct line_parser *parser = &lines->parser;
    enum err err = ERR_OK;

    line_parser_feed(parser, text, size, parser->lines);
    parser->more = more;
    while (err == ERR_OK) {
        err = line_parser_next(parser, lines->line);
        if (err == ERR_END)
            break;
        if (err == ERR_OK)
            err = lines_write_row(m, lines->line, lines->now_ns);
        if (err == ERR_OK) {
            lines->rows++;
        } else if (lines_is_bad(err)) {
            lines->bad++;
            if (lines->on_bad)
                lines->on_bad(lines->ctx, parser->number);
            err = ERR_OK;
        }
    }
    *ret_used = (size_t)(parser->at - text);
    return err == ERR_END ? ERR_OK : err;
}

/* ---- millrace.h ---------------------------------------------------------------------------- */

static int64_t realtime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void keep_first(void *ctx, uint32_t number)
{
    struct err_note *first = ctx;

    if (first->code == ERR_OK)
        err_save(first, err_wrap(ERR_INVALID, "line %u", (unsigned)number));
}

enum millrace_code millrace_write_lines(struct millrace *m, const char *text, size_t size,
                                        int64_t unit_ns, uint64_t *ret_rows, uint64_t *ret_bad)
{
    struct err_note first = {.code = ERR_OK};
    struct lines lines = {0};
    size_t used;
    enum err err = lines_init(&lines, unit_ns);

    if (err == ERR_OK) {
        lines.now_ns = realtime_ns();
        lines.on_bad = keep_first;
        lines.ctx = &first;
        err = lines_write(&lines, m, text, size, false, &used);
        lines_fini(&lines);
    }
    if (err == ERR_OK && first.code != ERR_OK)
        err = err_restore(&first);
    if (ret_rows)
        *ret_rows = lines.rows;
    if (ret_bad)
        *ret_bad = lines.bad;
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
