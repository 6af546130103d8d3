/*
 * cli_export.c - `millrace export`: the rows of a running site as text, table by table.
 *
 * A FILE gets its name only when all of it is on the disk: what is cut off is not taken for whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_list.h"
#include "client/cli_row.h"
#include "client/cli_time.h"
#include "storage/base/clk.h"

static const char usage[] =
    "millrace export [options] [FILE|-]     the rows of a database as text (- or no FILE: "
    "standard\n"
    "                                       output); millrace import stores them again\n"
    "\n" CLI_CONNECT_HELP
    "  --table NAME            only this table (default: all; csv: needed if there are several)\n"
    "  --where TAG=VALUE[,...] only series with these tags, as in millrace query\n"
    "  --from TIME             from this time on (default: the beginning)\n"
    "  --to TIME               before this time (default: the end)\n"
    "  --format NAME           lp (line protocol), csv, jsonl (default: lp)\n"
    "  --consistency NAME      leader, linearizable, any (default: leader)\n"
    "  --again SECONDS         what is not answered in this time is asked again, of another node\n"
    "                          if there is one; then after twice as long, ... (default: 10)\n"
    "  --timeout SECONDS       give up when nobody had the next rows for so long (default: 120)\n"
    "\n"
    "Rows come table by table, by series and time, the same order each time. All that was stored\n"
    "before it began and stays to its end is there, once; what is written, changed or deleted\n"
    "meanwhile may be there or not. Memory stays small, however many rows there are. FILE.tmp is\n"
    "written and gets the name FILE when it is complete; a FILE that was there is replaced.\n"
    "Line protocol cannot say NaN, infinities and names with control bytes: if something had to "
    "be\n"
    "left out, it is counted, and the exit code is 1. csv and jsonl say everything.\n"
    "\n"
    "TIME  now, -15m, 2026-01-31, 2026-01-31T12:00:00Z, 1700000000s, 1700000000000ms, ...\n"
    "\n"
    "Examples\n"
    "  millrace export --db plant --format jsonl plant.jsonl\n"
    "  millrace export --table cpu --where host=a --from -1d --format csv cpu.csv\n"
    "  millrace export | gzip > all.lp.gz\n"
    "\n" CLI_EXIT_HELP;

enum { BUFFER_SIZE = 1 << 20, PATH_ROOM = 4096, PROGRESS_NS = 200000000 };

enum {
    OPTION_TABLE = 256,
    OPTION_WHERE,
    OPTION_FROM,
    OPTION_TO,
    OPTION_FORMAT,
    OPTION_CONSISTENCY,
    OPTION_AGAIN,
    OPTION_TIMEOUT,
};

struct export
{
    struct millrace_options connect;
    struct millrace_query query;
    struct cli_list conditions;
    struct millrace_condition where[CLI_LIST_MAX];
    bool has_from, has_to;
    const char *table, *path; /* NULL: all; standard output. */
    int64_t now_ns;

    struct millrace *m;
    struct cli_row_printer printer;
    struct cli_row_field *fields; /* Owned: of a part. */
    struct cli_row_cell *cells;   /* Owned. */
    size_t capacity;
    uint64_t rows, started_ns, shown_ns;
    bool progress, no_memory;
};

/* ---- Rows ---------------------------------------------------------------------------------- */

static void show_progress(struct export *export)
{
    uint64_t now_ns = clk_now_ns();

    if (!export->progress || now_ns - export->shown_ns < PROGRESS_NS)
        return;
    export->shown_ns = now_ns;
    fprintf(stderr, "\r\033[K%" PRIu64 " rows, %.1f MB, %.0f rows/s, table %.40s ", export->rows,
            (double)export->printer.bytes / 1e6,
            (double)export->rows * 1e9 / (double)(now_ns - export->started_ns + 1),
            export->query.table);
}

static bool begin_part(struct export *export, const struct millrace_result *part, size_t columns)
{
    uint32_t count = 0;

    if (columns > export->capacity) {
        struct cli_row_field *fields = realloc(export->fields, columns * sizeof *fields);
        struct cli_row_cell *cells;

        if (fields == NULL)
            return false;
        export->fields = fields;
        cells = realloc(export->cells, columns * sizeof *cells);
        if (cells == NULL)
            return false;
        export->cells = cells;
        export->capacity = columns;
    }
    for (size_t column = 0; column < columns; column++) {
        const char *name = millrace_result_name(part, column);

        if (millrace_result_kind(part, column) == MILLRACE_FIELD)
            export->fields[count++] = (struct cli_row_field){
                {name, strlen(name)}, (enum field_type)millrace_result_type(part, column)};
    }
    return cli_row_fields(&export->printer, export->fields, count);
}

static struct cli_row_cell cell_of(const struct millrace_value *value)
{
    struct cli_row_cell cell = {.present = true};

    switch (value->type) {
    case MILLRACE_FLOAT_TYPE:
        memcpy(&cell.bits, &value->as.f, sizeof cell.bits);
        break;
    case MILLRACE_BOOL_TYPE:
        cell.bits = value->as.b != 0;
        break;
    case MILLRACE_STRING_TYPE:
        cell.text = (struct slice){value->as.s.data, value->as.s.size};
        break;
    default:
        cell.bits = value->as.u; /* Signed and unsigned share their bits. */
        break;
    }
    return cell;
}

static bool print_row(struct export *export, const struct millrace_result *part, size_t at,
                      size_t columns)
{
    const struct millrace_options *connect = &export->connect;
    struct tag tags[TAG_COUNT_MAX];
    const char *database = connect->database ? connect->database : "default";
    struct cli_row row = {.database = {database, strlen(database)},
                          .table = {export->query.table, strlen(export->query.table)},
                          .tags = tags,
                          .cells = export->cells};
    uint32_t field = 0;

    for (size_t column = 0; column < columns; column++) {
        const char *name = millrace_result_name(part, column);
        struct millrace_value value;
        bool present = millrace_result_get(part, at, column, &value);

        switch (millrace_result_kind(part, column)) {
        case MILLRACE_TIME:
            row.time_ns = value.as.i;
            break;
        case MILLRACE_TAG:
            if (present && row.tag_count < TAG_COUNT_MAX)
                tags[row.tag_count++] =
                    (struct tag){{name, strlen(name)}, {value.as.s.data, value.as.s.size}};
            break;
        default:
            export->cells[field++] = present ? cell_of(&value) : (struct cli_row_cell){0};
            break;
        }
    }
    export->rows++;
    return cli_row_print(&export->printer, &row);
}

static int take_part(void *ctx, const struct millrace_result *part)
{
    struct export *export = ctx;
    size_t columns = millrace_result_columns(part), rows = millrace_result_rows(part);

    export->no_memory = !begin_part(export, part, columns);
    for (size_t at = 0; at < rows && !export->no_memory && !ferror(export->printer.out); at++)
        export->no_memory = !print_row(export, part, at, columns);
    show_progress(export);
    return export->no_memory || ferror(export->printer.out);
}

/* ---- Tables -------------------------------------------------------------------------------- */

/* CSV: the columns, so that one header does: names of tags, and the newest value of each field. */
static enum millrace_code expect_columns(struct export *export)
{
    struct millrace_query labels = export->query, newest = export->query;
    struct millrace_result *result;
    enum millrace_code code;

    labels.about = "labels";
    newest.agg = "last";
    code = millrace_query(export->m, &labels, &result);
    if (code != MILLRACE_OK)
        return code;
    for (size_t row = 0; row < millrace_result_rows(result); row++) {
        struct millrace_value label;

        if (millrace_result_get(result, row, 0, &label) &&
            !cli_row_expect_tag(&export->printer, (struct slice){label.as.s.data, label.as.s.size}))
            export->no_memory = true;
    }
    millrace_result_free(result);
    code = millrace_query(export->m, &newest, &result);
    if (code != MILLRACE_OK)
        return code;
    for (size_t column = 0; column < millrace_result_columns(result); column++) {
        const char *name = millrace_result_name(result, column);

        if (millrace_result_kind(result, column) == MILLRACE_FIELD &&
            !cli_row_expect_field(&export->printer, (struct slice){name, strlen(name)},
                                  (enum field_type)millrace_result_type(result, column)))
            export->no_memory = true;
    }
    millrace_result_free(result);
    return MILLRACE_OK;
}

static int export_table(struct export *export, const char *table)
{
    enum millrace_code got = MILLRACE_OK;

    export->query.table = table;
    if (export->printer.format == CLI_ROW_CSV)
        got = expect_columns(export);
    if (got == MILLRACE_OK && !export->no_memory)
        got = millrace_scan(export->m, &export->query, take_part, export);
    if (export->no_memory)
        return cli_error("export", CLI_FAILED, "no memory, or over %d names of tags",
                         CLI_ROW_TAGS_MAX);
    if (ferror(export->printer.out))
        return cli_error("export", CLI_FAILED, "%s cannot be written: %s",
                         export->path ? export->path : "standard output", strerror(errno));
    return got == MILLRACE_OK ? CLI_OK : cli_failed("export", export->m, got);
}

/* The table asked for, or all of them. */
static int export_tables(struct export *export, const struct millrace_result *tables)
{
    const char *database = export->connect.database ? export->connect.database : "default";
    size_t count = millrace_result_rows(tables), printed = 0;
    int code = CLI_OK;

    if (export->printer.format == CLI_ROW_CSV && !export->table && count > 1)
        return cli_usage("export",
                         "database \"%s\" has %zu tables, and csv is of one: choose with "
                         "--table",
                         database, count);
    for (size_t row = 0; row < count && code == CLI_OK; row++) {
        struct millrace_value value;
        char table[NAME_SIZE_MAX + 1];

        if (!millrace_result_get(tables, row, 0, &value) || value.as.s.size > NAME_SIZE_MAX)
            continue;
        memcpy(table, value.as.s.data, value.as.s.size);
        table[value.as.s.size] = '\0';
        if (export->table && strcmp(export->table, table) != 0)
            continue;
        printed++;
        code = export_table(export, table);
    }
    if (count == 0)
        return cli_error("export", CLI_FAILED,
                         "database \"%s\" has no tables; millrace db list "
                         "shows which there are",
                         database);
    if (code == CLI_OK && printed == 0)
        return cli_error("export", CLI_FAILED, "database \"%s\" has no table \"%s\"", database,
                         export->table);
    return code;
}

static int export_all(struct export *export)
{
    struct millrace_query all = {.about = "tables",
                                 .consistency = export->query.consistency,
                                 .timeout_ms = export->query.timeout_ms,
                                 .again_ms = export->query.again_ms};
    struct millrace_result *tables;
    enum millrace_code got = millrace_query(export->m, &all, &tables);
    int code;

    if (got != MILLRACE_OK)
        return cli_failed("export", export->m, got);
    code = export_tables(export, tables);
    millrace_result_free(tables);
    if (export->progress)
        fprintf(stderr, "\r\033[K%" PRIu64 " rows, %.1f MB in %.1f s\n", export->rows,
                (double)export->printer.bytes / 1e6,
                (double)(clk_now_ns() - export->started_ns) / 1e9);
    return code;
}

/* The last word: what line protocol has no words for. */
static int name_unsaid(const struct export *export, int code)
{
    if (code != CLI_OK || export->printer.unsaid_rows + export->printer.unsaid_values == 0)
        return code;
    return cli_error("export", CLI_FAILED,
                     "line protocol has no words for %" PRIu64
                     " rows (names with control bytes) and %" PRIu64
                     " values (NaN, infinite): left out; --format jsonl has them",
                     export->printer.unsaid_rows, export->printer.unsaid_values);
}

/* ---- Files --------------------------------------------------------------------------------- */

static int cannot(const char *path)
{
    return cli_error("export", CLI_FAILED, "%s cannot be written: %s", path, strerror(errno));
}

/* The name is on the disk, too, when the folder is. */
static bool sync_folder(const char *path)
{
    char dir[PATH_ROOM];
    const char *slash = strrchr(path, '/');
    int fd;
    bool good;

    (void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path + 1) : 1,
                   slash ? path : ".");
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    good = fsync(fd) == 0;
    close(fd);
    return good;
}

static int export_file(struct export *export)
{
    char tmp[PATH_ROOM];
    FILE *out;
    int code;

    if (snprintf(tmp, sizeof tmp, "%s.tmp", export->path) >= (int)sizeof tmp)
        return cli_usage("export", "the path of FILE is too long");
    out = fopen(tmp, "we");
    if (out == NULL)
        return cannot(tmp);
    (void)setvbuf(out, NULL, _IOFBF, BUFFER_SIZE);
    export->printer.out = out;
    code = export_all(export);
    if (code == CLI_OK && (fflush(out) != 0 || fsync(fileno(out)) != 0))
        code = cannot(tmp);
    if (fclose(out) != 0 && code == CLI_OK)
        code = cannot(tmp);
    if (code == CLI_OK && (rename(tmp, export->path) != 0 || !sync_folder(export->path)))
        code = cannot(export->path);
    if (code != CLI_OK)
        (void)unlink(tmp);
    return code;
}

static int run(struct export *export)
{
    int code = cli_open("export", &export->connect, &export->m);

    if (code != CLI_OK)
        return code;
    export->started_ns = clk_now_ns();
    export->progress = cli_colours(stderr) && (export->path || !isatty(STDOUT_FILENO));
    if (export->path) {
        code = export_file(export);
    } else {
        export->printer.out = stdout;
        (void)setvbuf(stdout, NULL, _IOFBF, BUFFER_SIZE);
        code = export_all(export);
        if (fflush(stdout) != 0 && code == CLI_OK)
            code = cannot("standard output");
    }
    code = name_unsaid(export, code);
    cli_row_fini(&export->printer);
    free(export->fields);
    free(export->cells);
    millrace_close(export->m);
    return code;
}

/* ---- Options ------------------------------------------------------------------------------- */

static int parse_option(struct export *export, int option)
{
    uint64_t seconds = 0;

    switch (option) {
    case 'N':
        export->connect.nodes = optarg;
        return CLI_OK;
    case 'D':
        export->connect.database = optarg;
        return CLI_OK;
    case OPTION_TABLE:
        export->table = optarg;
        return CLI_OK;
    case OPTION_WHERE:
        if (!cli_list_add(&export->conditions, optarg))
            return cli_usage("export", "--where %s: want TAG=VALUE with commas between", optarg);
        return CLI_OK;
    case OPTION_FROM:
        export->has_from = true;
        return cli_time_option("export", "from", optarg, export->now_ns, &export->query.from_ns);
    case OPTION_TO:
        export->has_to = true;
        return cli_time_option("export", "to", optarg, export->now_ns, &export->query.to_ns);
    case OPTION_FORMAT:
        if (!cli_row_format(optarg, &export->printer.format))
            return cli_usage("export", "--format %s: want " CLI_ROW_FORMATS, optarg);
        return CLI_OK;
    case OPTION_CONSISTENCY:
        export->query.consistency = optarg;
        return CLI_OK;
    case OPTION_AGAIN:
        if (!cli_number(optarg, 1, 3600, &seconds))
            return cli_usage("export", "--again %s: want 1 to 3600 seconds", optarg);
        export->query.again_ms = (uint32_t)seconds * 1000;
        return CLI_OK;
    case OPTION_TIMEOUT:
        if (!cli_number(optarg, 1, 3600, &seconds))
            return cli_usage("export", "--timeout %s: want 1 to 3600 seconds", optarg);
        export->query.timeout_ms = (uint32_t)seconds * 1000;
        return CLI_OK;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
}

static int check(struct export *export)
{
    struct millrace_query *query = &export->query;

    if (!export->has_from)
        query->from_ns = INT64_MIN;
    if (!export->has_to)
        query->to_ns = INT64_MAX;
    if (query->from_ns >= query->to_ns)
        return cli_usage("export", "--from is not before --to");
    query->where = export->where;
    query->where_count = export->conditions.count;
    for (size_t i = 0; i < query->where_count; i++) {
        /* The items are pieces of argv. */
        char *item = (char *)(uintptr_t) export->conditions.items[i];

        if (!cli_list_condition(item, &export->where[i]))
            return cli_usage("export",
                             "--where %s: want TAG=VALUE, TAG!=VALUE, TAG=~PATTERN or TAG!~PATTERN",
                             item);
    }
    return CLI_OK;
}

int cli_export(int argc, char **argv)
{
    static const struct option options[] = {
        CLI_CONNECT_OPTIONS,
        {"table", required_argument, NULL, OPTION_TABLE},
        {"where", required_argument, NULL, OPTION_WHERE},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"consistency", required_argument, NULL, OPTION_CONSISTENCY},
        {"again", required_argument, NULL, OPTION_AGAIN},
        {"timeout", required_argument, NULL, OPTION_TIMEOUT},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    static struct export export = {.query = {.timeout_ms = 120000, .again_ms = 10000}};
    int code = CLI_OK, option;

    export.now_ns = cli_time_now_ns();
    while (code == CLI_OK && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        code = parse_option(&export, option);
    }
    if (code == CLI_OK && argc - optind > 1)
        code = cli_usage("export", "what is \"%s\"? want one FILE", argv[optind + 1]);
    if (code == CLI_OK && optind < argc && strcmp(argv[optind], "-") != 0)
        export.path = argv[optind];
    if (code == CLI_OK)
        code = check(&export);
    return code == CLI_OK ? run(&export) : code;
}
