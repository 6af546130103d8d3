/*
 * cli_segment.c - `millrace segment`: look into segment files, without a node.
 */
#include "client/cli_segment.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_damage.h"
#include "client/cli_time.h"
#include "storage/base/dry_disk.h"
#include "storage/segment_check.h"

static const char usage[] =
    "millrace segment COMMAND [options] FILE...   look into segment files; no node is needed\n"
    "\n"
    "  info      what is in it: tables, fields, rows, times, bytes a column and a value\n"
    "  cat       its rows\n"
    "  verify    every checksum, the hash, the index worked out again, the order of rows\n"
    "  salvage   the rows of a damaged one, as line protocol; what is left out is named on\n"
    "            standard error\n"
    "\n"
    "  --json            info, verify: as JSON\n"
    "  --catalog DIR     names of series from this shard's folder (default: where the file is);\n"
    "                    without any, rows say series=N\n"
    "  --format NAME     cat: lp (line protocol), csv, jsonl (default: lp)\n"
    "  --db NAME         cat, salvage: only this database\n"
    "  --table NAME      cat, salvage: only this table; csv needs it if there are several\n"
    "  --from TIME       cat, salvage: from this time on\n"
    "  --to TIME         cat, salvage: before this time\n"
    "  --limit ROWS      cat, salvage: at most so many\n"
    "  --out FILE        cat, salvage: instead of standard output; must not exist\n"
    "\n"
    "Files are only read, also those of a running node. A segment is one part of a shard: newer\n"
    "ones may have other values for the same rows.\n"
    "\n"
    "Examples\n"
    "  millrace segment info data/shard-0/*.mrs\n"
    "  millrace segment verify data/shard-*/*.mrs\n"
    "  millrace segment cat --table cpu --from 2026-01-31 --format csv data/shard-0/00000001.mrs\n"
    "  millrace segment salvage --db plant data/shard-0/00000007.mrs | millrace write --db plant\n"
    "\n"
    "Exit codes: 0 good, 1 damaged or failed, 2 wrong usage\n";

static const char advice[] =
    "What to do: keep the file and stop this node; the others have the same rows and go on.\n"
    "`millrace segment salvage` prints what is sound; docs/operations.md tells more.\n";

enum {
    OPTION_FORMAT = 256,
    OPTION_DB,
    OPTION_TABLE,
    OPTION_FROM,
    OPTION_TO,
    OPTION_LIMIT,
    OPTION_CATALOG,
    OPTION_OUT,
};

/* ---- Opening ------------------------------------------------------------------------------- */

bool cli_segment_open(const struct cli_segment_options *options, const char *path,
                      uint32_t *ret_shard, struct segment **ret_segment)
{
    enum err err =
        segment_open_alone(options->disk, path, options->salvage, ret_shard, ret_segment);

    if (err == ERR_OK)
        return true;
    cli_error(options->command, CLI_FAILED, "%s: %s", err_name(err), err_detail());
    return false;
}

bool cli_segment_catalog(const struct cli_segment_options *options, const char *path,
                         struct catalog_folder *ret_folder)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    enum err err;

    if (options->catalog != NULL)
        (void)snprintf(dir, sizeof dir, "%s", options->catalog);
    else if (slash == NULL)
        (void)snprintf(dir, sizeof dir, ".");
    else
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + (slash == path), path);
    *ret_folder = (struct catalog_folder){0};
    err = catalog_folder_open(options->disk, dir, ret_folder);
    if (err != ERR_OK && (err != ERR_NOT_FOUND || options->catalog != NULL))
        cli_error(options->command, 0, "series have numbers only: %s", err_detail());
    return err == ERR_OK;
}

void cli_segment_table_name(const struct catalog_folder *folder, uint32_t table, char *room,
                            size_t size)
{
    struct slice key = catalog_folder_table_key(folder, table);
    struct key_parts parts;

    if (key.size > 0 && key_parse(key.data, key.size, &parts) == 0)
        (void)snprintf(room, size, "%.*s/%.*s", (int)parts.database.size, parts.database.data,
                       (int)parts.table.size, parts.table.data);
    else
        (void)snprintf(room, size, "table_%" PRIu32, table);
}

/* ---- verify -------------------------------------------------------------------------------- */

static int verify_file(const struct cli_segment_options *options, const char *path,
                       struct cli_damage *printer)
{
    struct segment *segment = NULL;
    uint64_t before = printer->sink.count;
    uint32_t shard;
    enum err err = segment_open_alone(options->disk, path, false, &shard, &segment);

    if (err == ERR_NOT_FOUND || err == ERR_NO_MEMORY)
        return cli_error(options->command, CLI_FAILED, "%s: %s", err_name(err), err_detail());
    if (err != ERR_OK)
        damage_report_error(&printer->sink, path);
    else
        err = segment_check(segment, NULL, &printer->sink);
    if (segment != NULL && err == ERR_OK && printer->sink.count == before && !options->json)
        printf("%s: good: segment %" PRIu64 " of shard %" PRIu32 ", %" PRIu64 " rows, %" PRIu64
               " values, hash %016" PRIx64 "\n",
               path, segment_info(segment)->number, shard, segment_info(segment)->rows,
               segment_info(segment)->points, segment_info(segment)->hash);
    segment_unref(segment);
    if (err == ERR_NO_MEMORY)
        return cli_error(options->command, CLI_FAILED, "%s", err_detail());
    return printer->sink.count == before ? CLI_OK : CLI_FAILED;
}

static int verify(const struct cli_segment_options *options, char **paths, int count)
{
    struct cli_damage printer;
    int code = CLI_OK;

    cli_damage_init(&printer, stdout, options->json);
    if (options->json)
        fputs("{\"faults\": [", stdout);
    for (int i = 0; i < count; i++)
        if (verify_file(options, paths[i], &printer) != CLI_OK)
            code = CLI_FAILED;
    if (options->json)
        printf("%s], \"files\": %d, \"good\": %s}\n", printer.sink.count > 0 ? "\n" : "", count,
               code == CLI_OK ? "true" : "false");
    else if (printer.sink.count > 0)
        fputs(advice, stderr);
    return code;
}

/* ---- info, cat, salvage -------------------------------------------------------------------- */

static int info(const struct cli_segment_options *options, char **paths, int count)
{
    int code = CLI_OK;
    bool first = true;

    fputs(options->json ? "[" : "", stdout);
    for (int i = 0; i < count; i++) {
        if (cli_segment_info(options, paths[i], first) == CLI_OK)
            first = false;
        else
            code = CLI_FAILED;
    }
    fputs(options->json ? "\n]\n" : "", stdout);
    return code;
}

static int cat(struct cli_segment_options *options, char **paths, int count)
{
    FILE *out = options->out == NULL ? stdout : fopen(options->out, "wx");
    int code = CLI_OK;

    if (out == NULL)
        return cli_error(options->command, CLI_FAILED, "%s cannot be made: %s", options->out,
                         strerror(errno));
    for (int i = 0; i < count && options->limit > 0; i++) {
        int one = cli_segment_cat(options, paths[i], out);

        code = one == CLI_OK ? code : one;
        if (code == CLI_USAGE || ferror(out))
            break;
    }
    if (fflush(out) != 0 || ferror(out))
        code = cli_error(options->command, CLI_FAILED, "%s cannot be written",
                         options->out == NULL ? "standard output" : options->out);
    if (out != stdout)
        (void)fclose(out);
    return code;
}

/* ---- Options ------------------------------------------------------------------------------- */

static int parse_option(struct cli_segment_options *options, int option)
{
    int64_t now_ns = cli_time_now_ns();

    switch (option) {
    case 'j':
        options->json = true;
        break;
    case OPTION_FORMAT:
        if (!cli_row_format(optarg, &options->format))
            return cli_usage("segment", "--format %s: want " CLI_ROW_FORMATS, optarg);
        break;
    case OPTION_DB:
        options->database = optarg;
        break;
    case OPTION_TABLE:
        options->table = optarg;
        break;
    case OPTION_FROM:
        if (!cli_time_parse(optarg, now_ns, &options->from_ns))
            return cli_usage("segment", "--from %s: want a time", optarg);
        break;
    case OPTION_TO:
        if (!cli_time_parse(optarg, now_ns, &options->to_ns))
            return cli_usage("segment", "--to %s: want a time", optarg);
        break;
    case OPTION_LIMIT:
        if (!cli_number(optarg, 1, UINT64_MAX, &options->limit))
            return cli_usage("segment", "--limit %s: want a whole number from 1 on", optarg);
        break;
    case OPTION_CATALOG:
        options->catalog = optarg;
        break;
    case OPTION_OUT:
        options->out = optarg;
        break;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
    return CLI_OK;
}

static int run(struct cli_segment_options *options, const char *command, char **paths, int count)
{
    static char name[32];

    (void)snprintf(name, sizeof name, "segment %.16s", command);
    options->command = name;
    if (count == 0)
        return cli_usage("segment", "%s needs a FILE", command);
    if (strcmp(command, "info") == 0)
        return info(options, paths, count);
    if (strcmp(command, "verify") == 0)
        return verify(options, paths, count);
    if (strcmp(command, "cat") == 0)
        return cat(options, paths, count);
    if (strcmp(command, "salvage") == 0) {
        if (options->format != CLI_ROW_LINE)
            return cli_usage("segment", "salvage prints line protocol only");
        options->salvage = true;
        return cat(options, paths, count);
    }
    return cli_usage("segment", "there is no command \"%s\"", command);
}

int cli_segment(int argc, char **argv)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"db", required_argument, NULL, OPTION_DB},
        {"table", required_argument, NULL, OPTION_TABLE},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"limit", required_argument, NULL, OPTION_LIMIT},
        {"catalog", required_argument, NULL, OPTION_CATALOG},
        {"out", required_argument, NULL, OPTION_OUT},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct cli_segment_options options = {
        .from_ns = INT64_MIN, .to_ns = INT64_MAX, .limit = UINT64_MAX};
    struct dry_disk dry;
    int code = CLI_OK, option;

    options.disk = dry_disk_init(&dry, disk_system());
    while (code == CLI_OK && (option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        code = parse_option(&options, option);
    }
    if (code == CLI_OK && options.from_ns >= options.to_ns)
        code = cli_usage("segment", "--from is not before --to");
    if (code == CLI_OK && optind >= argc)
        code = cli_usage("segment", "want info, cat, verify or salvage");
    if (code != CLI_OK)
        return code;
    return run(&options, argv[optind], argv + optind + 1, argc - optind - 1);
}
