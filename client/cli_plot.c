#include "client/cli_plot.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_time.h"

enum {
    PANELS_MAX = 24, /* More do not help anybody. */
    LABEL_WIDTH = 10,
    DOTS_WIDE = 2,
    DOTS_HIGH = 4,
    TITLE_MAX = 512,
};

/* One panel's samples: rows of one series that have the field. */
struct panel {
    const struct millrace_result *result;
    size_t first, end;  /* Rows. */
    size_t time, field; /* Columns. */
    int64_t from_ns, to_ns;
    double min, max, sum, last;
    size_t count;
};

/* Dots, as many as the panel has; `lit` a byte each. */
struct canvas {
    unsigned columns, rows; /* In characters. */
    uint8_t *lit;           /* (columns * 2) * (rows * 4), row by row. */
};

/* ---- Reading the result -------------------------------------------------------------------- */

static bool number_at(const struct millrace_result *result, size_t row, size_t column,
                      double *ret_number)
{
    struct millrace_value value;

    if (!millrace_result_get(result, row, column, &value))
        return false;
    switch (value.type) {
    case MILLRACE_FLOAT_TYPE:
        *ret_number = value.as.f;
        break;
    case MILLRACE_INT_TYPE:
        *ret_number = (double)value.as.i;
        break;
    case MILLRACE_UINT_TYPE:
        *ret_number = (double)value.as.u;
        break;
    default:
        *ret_number = value.as.b ? 1 : 0;
        break;
    }
    return isfinite(*ret_number) != 0;
}

static int64_t time_at(const struct millrace_result *result, size_t row, size_t column)
{
    struct millrace_value value;

    return millrace_result_get(result, row, column, &value) ? value.as.i : 0;
}

static bool same_series(const struct millrace_result *result, size_t a, size_t b)
{
    for (size_t column = 0; column < millrace_result_columns(result); column++) {
        struct millrace_value left, right;
        int has_left, has_right;

        if (millrace_result_kind(result, column) != MILLRACE_TAG)
            continue;
        has_left = millrace_result_get(result, a, column, &left);
        has_right = millrace_result_get(result, b, column, &right);
        if (has_left != has_right)
            return false;
        if (has_left && (left.as.s.size != right.as.s.size ||
                         memcmp(left.as.s.data, right.as.s.data, left.as.s.size) != 0))
            return false;
    }
    return true;
}

/* What the samples of the panel's rows range over. */
static void measure(struct panel *panel)
{
    for (size_t row = panel->first; row < panel->end; row++) {
        double number;

        if (!number_at(panel->result, row, panel->field, &number))
            continue;
        if (panel->count == 0 || number < panel->min)
            panel->min = number;
        if (panel->count == 0 || number > panel->max)
            panel->max = number;
        panel->sum += number;
        panel->last = number;
        panel->count++;
    }
}

/* ---- Drawing ------------------------------------------------------------------------------- */

static void light(struct canvas *canvas, unsigned x, unsigned y)
{
    canvas->lit[y * canvas->columns * DOTS_WIDE + x] = 1;
}

/* Where a value stands, in dots from the top. */
static unsigned height_of(const struct panel *panel, const struct canvas *canvas, double number)
{
    double range = panel->max - panel->min;
    double part = range > 0 ? (number - panel->min) / range : 0.5;

    return (unsigned)lround((1 - part) * (canvas->rows * DOTS_HIGH - 1));
}

static unsigned place_of(const struct panel *panel, const struct canvas *canvas, int64_t time_ns)
{
    double range = (double)panel->to_ns - (double)panel->from_ns;
    double part = range > 0 ? ((double)time_ns - (double)panel->from_ns) / range : 0;
    unsigned last = canvas->columns * DOTS_WIDE - 1;
    double place = part * last;

    return place <= 0 ? 0 : place >= last ? last : (unsigned)place;
}

/* A line from the sample before to this one: each column gets its piece of it. */
static void join(struct canvas *canvas, unsigned from_x, unsigned from_y, unsigned x, unsigned y)
{
    unsigned steps = x > from_x ? x - from_x : 1;
    unsigned before = from_y;

    for (unsigned step = 1; step <= steps; step++) {
        double part = (double)step / steps;
        unsigned at = (unsigned)lround(from_y + part * ((double)y - from_y));
        unsigned low = at < before ? at : before, high = at < before ? before : at;

        for (unsigned dot = low; dot <= high; dot++)
            light(canvas, x > from_x ? from_x + step : x, dot);
        before = at;
    }
}

static void draw(const struct panel *panel, struct canvas *canvas)
{
    unsigned before_x = 0, before_y = 0;
    bool has_before = false;

    for (size_t row = panel->first; row < panel->end; row++) {
        double number;
        unsigned x, y;

        if (!number_at(panel->result, row, panel->field, &number))
            continue;
        x = place_of(panel, canvas, time_at(panel->result, row, panel->time));
        y = height_of(panel, canvas, number);
        light(canvas, x, y);
        if (has_before)
            join(canvas, before_x, before_y, x, y);
        before_x = x;
        before_y = y;
        has_before = true;
    }
}

/* ---- Printing ------------------------------------------------------------------------------ */

/* U+2800 and a bit for each of its eight dots. */
static void put_braille(FILE *out, const struct canvas *canvas, unsigned column, unsigned row)
{
    static const uint8_t bits[DOTS_HIGH][DOTS_WIDE] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    unsigned code = 0x2800;

    for (unsigned y = 0; y < DOTS_HIGH; y++) {
        for (unsigned x = 0; x < DOTS_WIDE; x++) {
            if (canvas->lit[(row * DOTS_HIGH + y) * canvas->columns * DOTS_WIDE +
                            column * DOTS_WIDE + x])
                code |= bits[y][x];
        }
    }
    fputc(0xe0 | (int)(code >> 12), out);
    fputc(0x80 | (int)(code >> 6 & 0x3f), out);
    fputc(0x80 | (int)(code & 0x3f), out);
}

/* "3.14k": few digits, as wide as a label may be. */
static void format_label(double number, char out[LABEL_WIDTH + 1])
{
    static const struct {
        double from;
        const char *suffix;
    } scales[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};

    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        if (fabs(number) >= scales[i].from && fabs(number) < 1e15) {
            double unit = i == 3 ? 1e3 : scales[i].from;

            snprintf(out, LABEL_WIDTH + 1, "%.4g%s", number / unit, scales[i].suffix);
            return;
        }
    }
    snprintf(out, LABEL_WIDTH + 1, "%.4g", number);
}

/* What stands at a line of the axis, or "". Values that are all the same have one label, beside
 * their line. */
static void label_row(const struct panel *panel, const struct canvas *canvas, unsigned row,
                      char out[LABEL_WIDTH + 1])
{
    bool flat = panel->max == panel->min;

    out[0] = '\0';
    if (flat && row == height_of(panel, canvas, panel->max) / DOTS_HIGH)
        format_label(panel->max, out);
    else if (!flat && row == 0)
        format_label(panel->max, out);
    else if (!flat && row == canvas->rows - 1)
        format_label(panel->min, out);
    else if (!flat && row == canvas->rows / 2 && canvas->rows >= 5)
        format_label((panel->max + panel->min) / 2, out);
}

static void put_rows(FILE *out, const struct panel *panel, const struct canvas *canvas,
                     bool colours)
{
    for (unsigned row = 0; row < canvas->rows; row++) {
        char label[LABEL_WIDTH + 1];

        label_row(panel, canvas, row, label);
        fprintf(out, "%*s %s%s", LABEL_WIDTH, label, *label ? "┤" : "│", colours ? "\033[36m" : "");
        for (unsigned column = 0; column < canvas->columns; column++)
            put_braille(out, canvas, column, row);
        fprintf(out, "%s\n", colours ? "\033[0m" : "");
    }
}

/* The first and last time; the day is told once if it is the same. */
static void put_time_axis(FILE *out, const struct panel *panel, unsigned columns)
{
    char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE];
    size_t day = strlen("2026-01-31T");
    const char *end = to;

    cli_time_format(panel->from_ns, from);
    cli_time_format(panel->to_ns, to);
    if (strncmp(from, to, day) == 0)
        end = to + day;
    fprintf(out, "%*s  %s%*s\n", LABEL_WIDTH, "", from,
            (int)columns > (int)strlen(from) + 2 ? (int)columns - (int)strlen(from) : 2, end);
}

static void put_title(FILE *out, const struct panel *panel, const char *table, bool colours)
{
    const struct millrace_result *result = panel->result;
    char title[TITLE_MAX], numbers[4][LABEL_WIDTH + 1];
    size_t used = (size_t)snprintf(title, sizeof title, "%.100s", table);
    const char *separator = "{";

    for (size_t column = 0; column < millrace_result_columns(result); column++) {
        struct millrace_value value;

        if (millrace_result_kind(result, column) != MILLRACE_TAG || used + 1 >= sizeof title ||
            !millrace_result_get(result, panel->first, column, &value))
            continue;
        used += (size_t)snprintf(title + used, sizeof title - used, "%s%.40s=\"%.*s\"", separator,
                                 value.name, value.as.s.size < 60 ? (int)value.as.s.size : 60,
                                 value.as.s.data);
        separator = ",";
    }
    for (size_t i = 0; title[i] != '\0'; i++) {
        if ((unsigned char)title[i] < 0x20 || title[i] == 0x7f)
            title[i] = '?';
    }
    format_label(panel->min, numbers[0]);
    format_label(panel->sum / (double)panel->count, numbers[1]);
    format_label(panel->max, numbers[2]);
    format_label(panel->last, numbers[3]);
    fprintf(out, "%s%s%s %s%s   min %s  mean %s  max %s  last %s\n", colours ? "\033[1m" : "",
            title, *separator == ',' ? "}" : "", millrace_result_name(result, panel->field),
            colours ? "\033[0m" : "", numbers[0], numbers[1], numbers[2], numbers[3]);
}

static void put_panel(FILE *out, struct panel *panel, const struct cli_plot_options *options)
{
    struct canvas canvas = {.columns = options->width - LABEL_WIDTH - 3, .rows = options->height};

    canvas.lit = calloc((size_t)canvas.columns * DOTS_WIDE * canvas.rows * DOTS_HIGH, 1);
    if (!canvas.lit)
        return;
    draw(panel, &canvas);
    put_title(out, panel, options->table, options->colours);
    put_rows(out, panel, &canvas, options->colours);
    put_time_axis(out, panel, canvas.columns);
    free(canvas.lit);
}

/* ---- All panels ---------------------------------------------------------------------------- */

static bool is_drawn(const struct millrace_result *result, size_t column)
{
    return millrace_result_kind(result, column) == MILLRACE_FIELD &&
           millrace_result_type(result, column) != MILLRACE_STRING_TYPE;
}

/* The times that all panels share. */
static void find_times(const struct millrace_result *result, size_t time, int64_t *ret_from_ns,
                       int64_t *ret_to_ns)
{
    *ret_from_ns = INT64_MAX;
    *ret_to_ns = INT64_MIN;
    for (size_t row = 0; row < millrace_result_rows(result); row++) {
        int64_t time_ns = time_at(result, row, time);

        if (time_ns < *ret_from_ns)
            *ret_from_ns = time_ns;
        if (time_ns > *ret_to_ns)
            *ret_to_ns = time_ns;
    }
}

void cli_plot(FILE *out, const struct millrace_result *result,
              const struct cli_plot_options *options)
{
    size_t rows = millrace_result_rows(result), columns = millrace_result_columns(result);
    struct panel panel = {.result = result};
    unsigned drawn = 0, left_out = 0;

    if (rows == 0 || millrace_result_kind(result, 0) != MILLRACE_TIME) {
        fputs("(nothing to draw)\n", out);
        return;
    }
    find_times(result, panel.time, &panel.from_ns, &panel.to_ns);
    for (size_t first = 0, end; first < rows; first = end) {
        for (end = first + 1; end < rows && same_series(result, first, end);)
            end++;
        for (size_t column = 0; column < columns; column++) {
            struct panel one = panel;

            one.first = first;
            one.end = end;
            one.field = column;
            if (!is_drawn(result, column))
                continue;
            measure(&one);
            if (one.count == 0)
                continue;
            if (drawn < PANELS_MAX) {
                fputs(drawn++ ? "\n" : "", out);
                put_panel(out, &one, options);
            } else {
                left_out++;
            }
        }
    }
    if (drawn == 0)
        fputs("(nothing to draw)\n", out);
    if (left_out > 0)
        fprintf(out, "\n(%u more panels: choose with --where, --group-by or --field)\n", left_out);
}
