#include "client/cli_proc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_SIZE = 64, SECTOR = 512, CPU_TOTAL = 0 };

/* ---- Rows and lines ------------------------------------------------------------------------ */

static void put(struct cli_proc_row *row, struct millrace_value value)
{
    if (row->value_count < CLI_PROC_FIELDS_MAX)
        row->values[row->value_count++] = value;
}

static void put_count(struct cli_proc_row *row, const char *name, uint64_t count)
{
    put(row, millrace_int(name, (int64_t)count));
}

/* Copy the line at *text into `line` (cut if it is too long) and move *text behind it. */
static int next_line(const char **text, char *line, size_t room)
{
    size_t size = strcspn(*text, "\n");

    if (**text == '\0')
        return 0;
    snprintf(line, room, "%.*s", (int)size, *text);
    *text += size + ((*text)[size] == '\n');
    return 1;
}

/* Up to `max` numbers with blanks between them. Returns how many there were. */
static size_t read_numbers(const char *text, uint64_t *numbers, size_t max)
{
    size_t count = 0;
    char *end;

    while (count < max) {
        numbers[count] = strtoull(text, &end, 10);
        if (end == text)
            break;
        text = end;
        count++;
    }
    return count;
}

/* ---- cpu ----------------------------------------------------------------------------------- */

/* The order of /proc/stat. The kernel counts guests' time in user and nice as well. */
static const char *const cpu_fields[CLI_PROC_TIMES] = {
    "usage_user", "usage_nice",    "usage_system", "usage_idle",  "usage_iowait",
    "usage_irq",  "usage_softirq", "usage_steal",  "usage_guest", "usage_guest_nice",
};
enum { TIME_USER = 0, TIME_NICE = 1, TIME_GUEST = 8, TIME_GUEST_NICE = 9 };

static void emit_cpu(const char *name, const uint64_t *before, const uint64_t *now,
                     cli_proc_row_cb emit, void *ctx)
{
    struct cli_proc_row row = {.table = "cpu", .tags = {{"cpu", name}}, .tag_count = 1};
    double spent[CLI_PROC_TIMES];
    double total = 0;

    for (size_t i = 0; i < CLI_PROC_TIMES; i++) {
        /* idle and iowait are known to go back a little. */
        spent[i] = now[i] > before[i] ? (double)(now[i] - before[i]) : 0;
        if (i < TIME_GUEST)
            total += spent[i];
    }
    if (total <= 0)
        return; /* Asked again within one tick. */
    spent[TIME_USER] -= spent[TIME_GUEST] < spent[TIME_USER] ? spent[TIME_GUEST] : spent[TIME_USER];
    spent[TIME_NICE] -=
        spent[TIME_GUEST_NICE] < spent[TIME_NICE] ? spent[TIME_GUEST_NICE] : spent[TIME_NICE];
    for (size_t i = 0; i < CLI_PROC_TIMES; i++)
        put(&row, millrace_double(cpu_fields[i], spent[i] / total * 100));
    emit(ctx, &row);
}

void cli_proc_cpu(const char *text, struct cli_proc_cpus *cpus, cli_proc_row_cb emit, void *ctx)
{
    char line[512], name[NAME_MAX_SIZE];

    while (next_line(&text, line, sizeof line)) {
        uint64_t now[CLI_PROC_TIMES] = {0};
        size_t at = CPU_TOTAL;
        char *end;

        if (strncmp(line, "cpu", 3) != 0)
            continue;
        if (line[3] == ' ') {
            end = line + 3;
            snprintf(name, sizeof name, "cpu-total");
        } else {
            uint64_t number = strtoull(line + 3, &end, 10);

            if (end == line + 3 || number >= CLI_PROC_CPUS_MAX)
                continue;
            at = (size_t)number + 1;
            snprintf(name, sizeof name, "cpu%" PRIu64, number);
        }
        if (read_numbers(end, now, CLI_PROC_TIMES) < 4)
            continue;
        if (cpus->known[at])
            emit_cpu(name, cpus->times[at], now, emit, ctx);
        memcpy(cpus->times[at], now, sizeof now);
        cpus->known[at] = 1;
    }
}

/* ---- mem ----------------------------------------------------------------------------------- */

static const struct {
    const char *key, *field;
} mem_fields[] = {
    {"MemTotal", "total"},
    {"MemFree", "free"},
    {"MemAvailable", "available"},
    {"Buffers", "buffered"},
    {"Cached", "cached"},
    {"Active", "active"},
    {"Inactive", "inactive"},
    {"Shmem", "shared"},
    {"Slab", "slab"},
    {"SReclaimable", "sreclaimable"},
    {"SUnreclaim", "sunreclaim"},
    {"Dirty", "dirty"},
    {"Writeback", "write_back"},
    {"Mapped", "mapped"},
    {"PageTables", "page_tables"},
    {"SwapTotal", "swap_total"},
    {"SwapFree", "swap_free"},
    {"SwapCached", "swap_cached"},
    {"CommitLimit", "commit_limit"},
    {"Committed_AS", "committed_as"},
};

void cli_proc_mem(const char *text, cli_proc_row_cb emit, void *ctx)
{
    struct cli_proc_row row = {.table = "mem"};
    uint64_t total = 0, available = 0;
    char line[256];

    while (next_line(&text, line, sizeof line)) {
        char *colon = strchr(line, ':');
        uint64_t bytes;

        if (!colon)
            continue;
        *colon = '\0';
        bytes = strtoull(colon + 1, NULL, 10) * 1024;
        for (size_t i = 0; i < sizeof mem_fields / sizeof *mem_fields; i++) {
            if (strcmp(mem_fields[i].key, line) == 0)
                put_count(&row, mem_fields[i].field, bytes);
        }
        if (strcmp(line, "MemTotal") == 0)
            total = bytes;
        else if (strcmp(line, "MemAvailable") == 0)
            available = bytes;
    }
    if (total == 0)
        return;
    put_count(&row, "used", total > available ? total - available : 0);
    put(&row, millrace_double("available_percent", (double)available / (double)total * 100));
    put(&row, millrace_double("used_percent", 100 - (double)available / (double)total * 100));
    emit(ctx, &row);
}

/* ---- system -------------------------------------------------------------------------------- */

void cli_proc_system(const char *loadavg, const char *uptime, int cpus, cli_proc_row_cb emit,
                     void *ctx)
{
    struct cli_proc_row row = {.table = "system"};
    double loads[3];

    if (sscanf(loadavg, "%lf %lf %lf", &loads[0], &loads[1], &loads[2]) != 3)
        return;
    put(&row, millrace_double("load1", loads[0]));
    put(&row, millrace_double("load5", loads[1]));
    put(&row, millrace_double("load15", loads[2]));
    put(&row, millrace_int("n_cpus", cpus));
    put_count(&row, "uptime", strtoull(uptime, NULL, 10));
    emit(ctx, &row);
}

/* ---- diskio -------------------------------------------------------------------------------- */

void cli_proc_diskio(const char *text, cli_proc_row_cb emit, void *ctx)
{
    char line[512], name[NAME_MAX_SIZE];

    while (next_line(&text, line, sizeof line)) {
        struct cli_proc_row row = {.table = "diskio", .tags = {{"name", name}}, .tag_count = 1};
        uint64_t n[11];
        int end = 0;

        if (sscanf(line, "%*u %*u %63s%n", name, &end) != 1 || end == 0 ||
            read_numbers(line + end, n, 11) < 11)
            continue;
        if (strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 ||
            (n[0] == 0 && n[4] == 0))
            continue;
        put_count(&row, "reads", n[0]);
        put_count(&row, "merged_reads", n[1]);
        put_count(&row, "read_bytes", n[2] * SECTOR);
        put_count(&row, "read_time", n[3]);
        put_count(&row, "writes", n[4]);
        put_count(&row, "merged_writes", n[5]);
        put_count(&row, "write_bytes", n[6] * SECTOR);
        put_count(&row, "write_time", n[7]);
        put_count(&row, "iops_in_progress", n[8]);
        put_count(&row, "io_time", n[9]);
        put_count(&row, "weighted_io_time", n[10]);
        emit(ctx, &row);
    }
}

/* ---- net ----------------------------------------------------------------------------------- */

void cli_proc_net(const char *text, cli_proc_row_cb emit, void *ctx)
{
    char line[512];

    while (next_line(&text, line, sizeof line)) {
        char *name = line + strspn(line, " ");
        char *colon = strrchr(line, ':');
        struct cli_proc_row row = {.table = "net", .tags = {{"interface", name}}, .tag_count = 1};
        uint64_t n[16];

        /* Two lines of headings have no colon. */
        if (!colon || read_numbers(colon + 1, n, 16) < 16)
            continue;
        *colon = '\0';
        put_count(&row, "bytes_recv", n[0]);
        put_count(&row, "packets_recv", n[1]);
        put_count(&row, "err_in", n[2]);
        put_count(&row, "drop_in", n[3]);
        put_count(&row, "bytes_sent", n[8]);
        put_count(&row, "packets_sent", n[9]);
        put_count(&row, "err_out", n[10]);
        put_count(&row, "drop_out", n[11]);
        emit(ctx, &row);
    }
}

/* ---- pressure ------------------------------------------------------------------------------ */

void cli_proc_pressure(const char *text, const char *resource, cli_proc_row_cb emit, void *ctx)
{
    char line[256], type[8];

    while (next_line(&text, line, sizeof line)) {
        struct cli_proc_row row = {
            .table = "pressure", .tags = {{"resource", resource}, {"type", type}}, .tag_count = 2};
        double averages[3];
        uint64_t total;

        if (sscanf(line, "%7s avg10=%lf avg60=%lf avg300=%lf total=%" SCNu64, type, &averages[0],
                   &averages[1], &averages[2], &total) != 5)
            continue;
        put(&row, millrace_double("avg10", averages[0]));
        put(&row, millrace_double("avg60", averages[1]));
        put(&row, millrace_double("avg300", averages[2]));
        put_count(&row, "total", total);
        emit(ctx, &row);
    }
}
