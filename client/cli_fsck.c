/*
 * cli_fsck.c - `millrace fsck`: verify the data directory of a node that does not run.
 *
 * Everything is read on a dry disk, so nothing is changed, not even what a start would tidy up. The
 * node's lock is held meanwhile: a node that is started now says that the directory is in use.
 */
#include "client/cli_fsck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_damage.h"
#include "client/cli_print.h"
#include "storage/base/bytes.h"
#include "storage/base/crc32c.h"
#include "storage/base/dry_disk.h"
#include "storage/base/twin.h"
#include "storage/shard_check.h"

static const char usage[] =
    "millrace fsck [--json] DIR      verify the data directory of a node that does not run\n"
    "\n"
    "Manifests, catalogs, every segment wholly (as `millrace segment verify`), files that nothing\n"
    "refers to, the schema, and the log by the checks of a start; that they fit together. One "
    "line\n"
    "a fault on standard output, then a summary. Nothing is changed.\n"
    "\n"
    "  --json            faults and summary as JSON\n"
    "\n"
    "Examples\n"
    "  millrace fsck /var/lib/millrace\n"
    "  millrace fsck --json /var/lib/millrace | jq '.faults[].file'\n"
    "\n"
    "Exit codes: 0 good, 1 damaged, or it cannot be checked, 2 wrong usage\n";

static const char advice[] =
    "What to do: start the node: it gets segments and catalogs back from the others, manifests "
    "from\n"
    "their copies, and with a damaged log it begins again from the others. A node that is alone "
    "has\n"
    "nobody to ask: keep its directory. docs/operations.md tells more, and how to get at what is "
    "sound.\n";

#define META_FILE  "meta.mrc"
#define META_MAGIC 0x3147524du /* "MRG1" */

enum {
    PATH_SIZE = 4096,
    SHARDS_MAX = 4096,
    EPOCH_SIZE_MAX = 64,
    META_SIZE_MAX = 512 * 1024 * 1024,
    META_HEADER = 20, /* Magic, crc of bytes 8 to the end, version, u64 log index: node/meta.c. */
    META_VERSION = 2, /* As node/meta.c writes it. */
};

struct fsck {
    const struct disk *disk;
    const char *dir;
    struct cli_damage printer;
    uint32_t shards; /* One more than the highest number of a folder. */
    bool has_shard[SHARDS_MAX];
    struct shard_check found[SHARDS_MAX];
    uint64_t schema_index; /* Up to here the schema is saved. */
    bool schema_damaged;
    struct cli_fsck_log log;
};

static struct fsck fsck; /* Static: one a process, and large. */

static void path_of(const char *name, char ret_path[PATH_SIZE])
{
    (void)snprintf(ret_path, PATH_SIZE, "%s/%s", fsck.dir, name);
}

/* ---- The directory's own files ------------------------------------------------------------- */

/* -1: said why not. The lock file is not made if it is not there. */
static int lock(void)
{
    char path[PATH_SIZE];
    int fd;

    path_of("lock", path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_error("fsck", -1, "%s: %s: is this the data directory of a node?", path,
                         strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return cli_error("fsck", -1, "%s: a node runs in it: stop it first", fsck.dir);
    }
    return fd;
}

static void check_epoch(void)
{
    char path[PATH_SIZE], text[EPOCH_SIZE_MAX + 1] = "", *end;
    uint8_t *bytes;
    size_t size;
    unsigned long epoch;
    enum err err;

    path_of("epoch", path);
    err = disk_read_all(fsck.disk, path, EPOCH_SIZE_MAX, &bytes, &size);
    if (err == ERR_NOT_FOUND)
        return; /* It never started. */
    if (err != ERR_OK) {
        damage_report_error(&fsck.printer.sink, path);
        return;
    }
    memcpy(text, bytes, size);
    free(bytes);
    epoch = strtoul(text, &end, 10);
    if (end == text || epoch == 0 || epoch >= UINT32_MAX)
        damage_report(&fsck.printer.sink, path, 0,
                      "not a count of starts: write a number larger than any before into it");
}

static enum err check_meta(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t magic = reader_u32(&reader), crc = reader_u32(&reader);
    uint32_t version = reader_u32(&reader);

    if (size < META_HEADER || magic != META_MAGIC ||
        crc != crc32c(0, (const uint8_t *)bytes + 8, size - 8))
        return err_set(ERR_CORRUPT, "%zu bytes with a wrong checksum", size);
    if (version != META_VERSION)
        return err_set(ERR_VERSION, "written in version %" PRIu32 ", this program reads %d",
                       version, (int)META_VERSION);
    return ERR_OK;
}

static void check_schema(void)
{
    struct reader reader;
    uint8_t *bytes;
    size_t size;
    enum err err =
        twin_load(fsck.disk, fsck.dir, META_FILE, META_SIZE_MAX, check_meta, &bytes, &size);

    if (err == ERR_NOT_FOUND)
        return; /* Nothing was ever saved: the log has it all. */
    if (err != ERR_OK) {
        damage_report_error(&fsck.printer.sink, NULL);
        fsck.schema_damaged = true;
        return;
    }
    reader = reader_on(bytes, size);
    (void)reader_take(&reader, META_HEADER - sizeof fsck.schema_index);
    fsck.schema_index = reader_u64(&reader);
    free(bytes);
    /* The next start mends it; it was damaged all the same. */
    if (twin_verify(fsck.disk, fsck.dir, META_FILE, META_SIZE_MAX, check_meta) != ERR_OK)
        damage_report_error(&fsck.printer.sink, NULL);
}

/* ---- Shards -------------------------------------------------------------------------------- */

static void find_shard(void *arg, const char *name)
{
    static const char prefix[] = "shard-";
    uint64_t number;

    (void)arg;
    if (strncmp(name, prefix, strlen(prefix)) != 0 ||
        !cli_number(name + strlen(prefix), 0, SHARDS_MAX - 1, &number))
        return;
    fsck.has_shard[number] = true;
    if (number >= fsck.shards)
        fsck.shards = (uint32_t)number + 1;
}

static enum err check_shards(void)
{
    enum err err = fsck.disk->list(fsck.disk->ctx, fsck.dir, find_shard, NULL);

    if (fsck.log.group_count > fsck.shards + 1)
        fsck.shards = fsck.log.group_count - 1; /* The last one's folder may be missing. */
    for (uint32_t i = 0; i < fsck.shards && err == ERR_OK; i++) {
        char name[32], path[PATH_SIZE];

        (void)snprintf(name, sizeof name, "shard-%" PRIu32, i);
        path_of(name, path);
        if (fsck.has_shard[i])
            err = shard_check_run(fsck.disk, path, i, &fsck.printer.sink, &fsck.found[i]);
        else
            damage_report(&fsck.printer.sink, path, DAMAGE_NOWHERE,
                          "the shard's folder is missing");
    }
    return err;
}

/* ---- The log, and what it says of the rest ------------------------------------------------- */

/* What a file has up to `index` must join what the log has: as group_start.c asks. */
static void check_join(const char *name, uint32_t group, uint64_t index)
{
    const struct cli_fsck_group *own = &fsck.log.groups[group];
    char path[PATH_SIZE];

    path_of(name, path);
    if (index < own->snapshot || index > own->last)
        damage_report(&fsck.printer.sink, path, DAMAGE_NOWHERE,
                      "it has everything up to log index %" PRIu64 ", the log has %" PRIu64
                      " to %" PRIu64 " of group %" PRIu32 ": one of the two is an older copy",
                      index, own->snapshot + 1, own->last, group);
}

static enum err check_log(void)
{
    char path[PATH_SIZE];

    path_of("log", path);
    return cli_fsck_log_check(fsck.disk, path, SHARDS_MAX + 1, &fsck.printer.sink, &fsck.log);
}

static void check_joins(void)
{
    if (!fsck.log.good)
        return;
    if (!fsck.schema_damaged)
        check_join(META_FILE, 0, fsck.schema_index);
    for (uint32_t i = 0; i < fsck.shards; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "shard-%" PRIu32 "/manifest.mrm", i);
        if (fsck.found[i].knows_sealed)
            check_join(name, i + 1, fsck.found[i].sealed_index);
    }
}

/* ---- The command --------------------------------------------------------------------------- */

static void print_summary(bool json)
{
    const struct damage_sink *sink = &fsck.printer.sink;
    struct shard_check all = {0};
    uint64_t series = 0;

    for (uint32_t i = 0; i < fsck.shards; i++) {
        all.segments += fsck.found[i].segments;
        all.segment_bytes += fsck.found[i].segment_bytes;
        all.rows += fsck.found[i].rows;
        all.points += fsck.found[i].points;
        series += fsck.found[i].series;
    }
    if (json) {
        printf("%s],\n \"dir\": ", sink->count + sink->notes > 0 ? "\n" : "");
        cli_print_json_string(stdout, fsck.dir, strlen(fsck.dir));
        printf(", \"shards\": %" PRIu32 ", \"segments\": %" PRIu32 ", \"segment_bytes\": %" PRIu64
               ", \"rows\": %" PRIu64 ", \"values\": %" PRIu64 ", \"series\": %" PRIu64
               ", \"log_records\": %" PRIu64 ", \"good\": %s}\n",
               fsck.shards, all.segments, all.segment_bytes, all.rows, all.points, series,
               fsck.log.records, sink->count == 0 ? "true" : "false");
    } else {
        printf("%s: %" PRIu32 " shards, %" PRIu32 " segments of %" PRIu64 " bytes with %" PRIu64
               " rows and %" PRIu64 " values, %" PRIu64 " series, %" PRIu64
               " records in the log: %s\n",
               fsck.dir, fsck.shards, all.segments, all.segment_bytes, all.rows, all.points, series,
               fsck.log.records, sink->count == 0 ? "good" : "damaged");
    }
    if (!json && sink->count > 0)
        fprintf(stderr, "%" PRIu64 " faults. %s", sink->count, advice);
}

static int run(bool json)
{
    int fd = lock();
    enum err err;

    if (fd < 0)
        return CLI_FAILED;
    cli_damage_init(&fsck.printer, stdout, json);
    fputs(json ? "{\"faults\": [" : "", stdout);
    check_epoch();
    check_schema();
    err = check_log();
    if (err == ERR_OK)
        err = check_shards();
    if (err == ERR_OK) {
        check_joins();
        print_summary(json);
    }
    if (err != ERR_OK)
        cli_error("fsck", 0, "%s: %s", err_name(err), err_detail());
    cli_fsck_log_fini(&fsck.log);
    (void)close(fd);
    return err == ERR_OK && fsck.printer.sink.count == 0 ? CLI_OK : CLI_FAILED;
}

int cli_fsck(int argc, char **argv)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct dry_disk dry;
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        if (option != 'j')
            return CLI_USAGE; /* getopt has said what. */
        json = true;
    }
    if (optind + 1 != argc)
        return cli_usage("fsck", "want one DIR");
    fsck.disk = dry_disk_init(&dry, disk_system());
    fsck.dir = argv[optind];
    return run(json);
}
