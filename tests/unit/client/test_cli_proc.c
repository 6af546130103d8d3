/*
 * Texts of /proc into rows.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_proc.h"

enum { ROWS_MAX = 16 };

/* What the parsers gave: rows with copies of their tags. */
struct rows {
    struct cli_proc_row row[ROWS_MAX];
    char tags[ROWS_MAX][2][32];
    size_t count;
};

static void keep(void *ctx, const struct cli_proc_row *row)
{
    struct rows *rows = ctx;

    cr_assert_lt(rows->count, ROWS_MAX);
    for (size_t i = 0; i < row->tag_count; i++)
        strncpy(rows->tags[rows->count][i], row->tags[i].value, 31);
    rows->row[rows->count++] = *row;
}

static const struct millrace_value *field(const struct rows *rows, size_t row, const char *name)
{
    for (size_t i = 0; i < rows->row[row].value_count; i++) {
        if (strcmp(rows->row[row].values[i].name, name) == 0)
            return &rows->row[row].values[i];
    }
    cr_assert_fail("row %zu has no field %s", row, name);
    return NULL;
}

Test(cli_proc, cpu_gives_percent_of_the_time_between_two_samples)
{
    static const char first[] = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n"
                                "intr 12345\n";
    static const char second[] =
        "cpu  150 10 120 900 20 0 0 0 10 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n"
        "cpuX 1 2 3 4\ncpu9999 1 2 3 4\n";
    struct cli_proc_cpus *cpus = calloc(1, sizeof *cpus);
    struct rows rows = {0};

    cli_proc_cpu(first, cpus, keep, &rows);
    cr_assert_eq(rows.count, 0, "there is nothing to compare with yet");
    cli_proc_cpu(second, cpus, keep, &rows);
    cr_assert_eq(rows.count, 1, "cpu0 did not tick");
    cr_assert_str_eq(rows.row[0].table, "cpu");
    cr_assert_str_eq(rows.row[0].tags[0].name, "cpu");
    cr_assert_str_eq(rows.tags[0][0], "cpu-total");
    /* 200 ticks: 50 user of which 10 were guests', 10 nice, 20 system, 100 idle, 20 waiting. */
    cr_assert_float_eq(field(&rows, 0, "usage_user")->as.f, 20, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "usage_guest")->as.f, 5, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "usage_nice")->as.f, 5, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "usage_system")->as.f, 10, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "usage_idle")->as.f, 50, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "usage_iowait")->as.f, 10, 1e-9);
    free(cpus);
}

Test(cli_proc, mem_is_in_bytes)
{
    static const char text[] = "MemTotal:        1000 kB\nMemFree:          100 kB\n"
                               "MemAvailable:     250 kB\nHugePages_Total:       0\nnonsense\n";
    struct rows rows = {0};

    cli_proc_mem(text, keep, &rows);
    cr_assert_eq(rows.count, 1);
    cr_assert_eq(field(&rows, 0, "total")->as.i, 1024000);
    cr_assert_eq(field(&rows, 0, "used")->as.i, 768000);
    cr_assert_float_eq(field(&rows, 0, "used_percent")->as.f, 75, 1e-9);
    cr_assert_float_eq(field(&rows, 0, "available_percent")->as.f, 25, 1e-9);
    cli_proc_mem("", keep, &rows);
    cr_assert_eq(rows.count, 1);
}

Test(cli_proc, system_has_loads_and_uptime)
{
    struct rows rows = {0};

    cli_proc_system("0.52 1.00 2.25 1/234 5678\n", "12345.67 23456.78\n", 2, keep, &rows);
    cr_assert_eq(rows.count, 1);
    cr_assert_float_eq(field(&rows, 0, "load15")->as.f, 2.25, 1e-9);
    cr_assert_eq(field(&rows, 0, "uptime")->as.i, 12345);
    cr_assert_eq(field(&rows, 0, "n_cpus")->as.i, 2);
    cli_proc_system("", "", 2, keep, &rows);
    cr_assert_eq(rows.count, 1);
}

Test(cli_proc, diskio_leaves_out_what_is_no_disk)
{
    static const char text[] = "   8       0 sda 10 1 200 3 20 2 400 4 0 5 9 0 0 0 0\n"
                               "   7       0 loop0 10 1 200 3 20 2 400 4 0 5 9\n"
                               "   8      16 sdb 0 0 0 0 0 0 0 0 0 0 0\n"
                               "   8      17 sdc 1 2\n";
    struct rows rows = {0};

    cli_proc_diskio(text, keep, &rows);
    cr_assert_eq(rows.count, 1);
    cr_assert_str_eq(rows.tags[0][0], "sda");
    cr_assert_eq(field(&rows, 0, "reads")->as.i, 10);
    cr_assert_eq(field(&rows, 0, "write_bytes")->as.i, 400 * 512);
    cr_assert_eq(field(&rows, 0, "weighted_io_time")->as.i, 9);
}

Test(cli_proc, net_takes_names_that_touch_their_numbers)
{
    static const char text[] =
        "Inter-|   Receive                            |  Transmit\n"
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets ...\n"
        "    lo: 100 2 0 0 0 0 0 0 100 2 0 0 0 0 0 0\n"
        "eth0:1 9999999999 12 3 0 0 0 0 0 200 4 5 6 0 0 0 0\n"
        "  eth1:7 8 9 10 0 0 0 0 11 12 13 14 0 0 0 0\n";
    struct rows rows = {0};

    cli_proc_net(text, keep, &rows);
    cr_assert_eq(rows.count, 3);
    cr_assert_str_eq(rows.tags[0][0], "lo");
    cr_assert_str_eq(rows.tags[2][0], "eth1");
    cr_assert_eq(field(&rows, 2, "bytes_recv")->as.i, 7);
    cr_assert_eq(field(&rows, 2, "bytes_sent")->as.i, 11);
    cr_assert_eq(field(&rows, 2, "drop_out")->as.i, 14);
}

Test(cli_proc, pressure_has_a_row_for_some_and_full)
{
    static const char text[] = "some avg10=1.50 avg60=0.20 avg300=0.00 total=12345\n"
                               "full avg10=0.00 avg60=0.00 avg300=0.00 total=6\n";
    struct rows rows = {0};

    cli_proc_pressure(text, "io", keep, &rows);
    cr_assert_eq(rows.count, 2);
    cr_assert_str_eq(rows.tags[0][0], "io");
    cr_assert_str_eq(rows.tags[1][1], "full");
    cr_assert_float_eq(field(&rows, 0, "avg10")->as.f, 1.5, 1e-9);
    cr_assert_eq(field(&rows, 1, "total")->as.i, 6);
}
