/*
 * cli_import.c - `millrace import`: what `millrace export` and `millrace segment cat` print, back
 * into a site.
 */
#include <string.h>

#include "client/cli.h"
#include "client/cli_store.h"

static const char usage[] =
    "millrace import [options] [FILE|-]...  store what export printed (standard input without "
    "FILE)\n"
    "\n" CLI_CONNECT_HELP "  --format NAME           lp (line protocol), csv, jsonl (default: by "
    "the file's name, else lp)\n"
    "  --table NAME            csv: the table, which the file does not name\n"
    "  --timeout SECONDS       give up after so long without an answer (default: 120)\n"
    "  --json                  the summary as JSON on standard output\n"
    "\n"
    "All rows go to the database of --db, which is made if it was never there. Bad lines are "
    "named\n"
    "and left out, the others are stored, and the exit code is 1. It may be ended and done again "
    "at\n"
    "any time: rows with the same series and time are stored once.\n"
    "\n"
    "Examples\n"
    "  millrace import --db plant plant.jsonl\n"
    "  millrace import --table cpu cpu.csv\n"
    "  millrace export --db plant | millrace import --node other:7400 --db plant\n"
    "\n" CLI_EXIT_HELP;

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);

    return size >= tail && strcmp(text + size - tail, end) == 0;
}

static enum cli_row_format format_of(const char *name)
{
    if (ends_with(name, ".csv"))
        return CLI_ROW_CSV;
    return ends_with(name, ".jsonl") ? CLI_ROW_JSONL : CLI_ROW_LINE;
}

int cli_import(int argc, char **argv)
{
    static const struct option names[] = {CLI_CONNECT_OPTIONS,
                                          {"format", required_argument, NULL, 'f'},
                                          {"table", required_argument, NULL, 'T'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct cli_store_options options = {
        .command = "import", .connect = {.timeout_ms = 120000}, .unit_ns = 1};
    bool formatted = false;
    uint64_t timeout_s;
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        if (option == 'N')
            options.connect.nodes = optarg;
        else if (option == 'D')
            options.connect.database = optarg;
        else if (option == 'T')
            options.table = optarg;
        else if (option == 'j')
            options.json = true;
        else if (option == 'f' && cli_row_format(optarg, &options.format))
            formatted = true;
        else if (option == 'f')
            return cli_usage("import", "--format %s: want " CLI_ROW_FORMATS, optarg);
        else if (option == 't' && cli_number(optarg, 1, 3600, &timeout_s))
            options.connect.timeout_ms = (uint32_t)timeout_s * 1000;
        else if (option == 't')
            return cli_usage("import", "--timeout %s: want 1 to 3600 seconds", optarg);
        else
            return CLI_USAGE;
    }
    for (int i = optind; i < argc && !formatted; i++) {
        if (i > optind && format_of(argv[i]) != options.format)
            return cli_usage("import", "the files are of different formats: one at a time");
        options.format = format_of(argv[i]);
    }
    if (options.format == CLI_ROW_CSV && (!options.table || !*options.table))
        return cli_usage("import", "a CSV file does not name its table: say it with --table");
    if (options.format != CLI_ROW_CSV && options.table)
        return cli_usage("import", "--table goes with csv: other rows name their tables");
    options.progress = cli_colours(stderr);
    return cli_store(&options, argv + optind, argc - optind);
}
