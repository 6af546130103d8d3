/*
 * Processes of a local site: only the right one is ever signalled.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli_site.h"

/* A site whose millraced is a script that sleeps. */
static void make_site(struct cli_site *site)
{
    char dir[] = "/tmp/cli_site_XXXXXX";
    char program[64];
    FILE *file;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(program, sizeof program, "%s/millraced", dir);
    file = fopen(program, "w");
    fputs("#!/bin/sh\necho \"started with $*\"\nexec sleep 60\n", file);
    fclose(file);
    cr_assert_eq(chmod(program, 0755), 0);
    cr_assert_eq(setenv("MILLRACED", program, 1), 0);
    *site = (struct cli_site){0};
    cr_assert_eq(cli_site_init(site, dir), ERR_OK, "%s", err_detail());
    site->nodes = 3;
    site->shards = 4;
    site->workers = 1;
    site->base_port = 7400;
}

static void remove_site(const struct cli_site *site)
{
    char command[CLI_SITE_PATH_MAX + 16];

    snprintf(command, sizeof command, "rm -r '%s'", site->dir);
    cr_assert_eq(system(command), 0);
}

Test(cli_site, starts_and_ends_a_node)
{
    struct cli_site site;

    make_site(&site);
    cr_assert_eq(cli_site_pid(&site, 0), 0);
    cr_assert_eq(cli_site_start(&site, 0), ERR_OK, "%s", err_detail());
    cr_assert_gt(cli_site_pid(&site, 0), 0);
    cr_assert_eq(cli_site_start(&site, 0), ERR_BUSY);
    cr_assert_eq(cli_site_pid(&site, 1), 0);
    cr_assert_eq(cli_site_signal(&site, 0, SIGKILL), ERR_OK);
    cr_assert(cli_site_wait_gone(&site, 0, 10000));
    cr_assert_eq(cli_site_signal(&site, 0, SIGKILL), ERR_NOT_FOUND);
    remove_site(&site);
}

Test(cli_site, never_signals_a_process_that_got_an_old_number)
{
    struct cli_site site;
    char path[CLI_SITE_PATH_MAX], node_dir[CLI_SITE_PATH_MAX];
    pid_t stranger = fork();
    FILE *file;

    if (stranger == 0) {
        pause();
        _exit(0);
    }
    make_site(&site);
    cli_site_path(&site, 1, "", node_dir);
    cr_assert_eq(mkdir(node_dir, 0755), 0);
    cli_site_path(&site, 1, "pid", path);
    file = fopen(path, "w");
    fprintf(file, "%d %d\n", (int)stranger, 12345); /* Not when the stranger was started. */
    fclose(file);
    cr_assert_eq(cli_site_pid(&site, 1), 0);
    cr_assert_eq(cli_site_signal(&site, 1, SIGKILL), ERR_NOT_FOUND);
    cr_assert_eq(waitpid(stranger, NULL, WNOHANG), 0, "it still lives");
    kill(stranger, SIGKILL);
    waitpid(stranger, NULL, 0);
    remove_site(&site);
}

Test(cli_site, remembers_what_it_was_made_of)
{
    struct cli_site site, loaded;
    char addresses[CLI_SITE_PATH_MAX];

    make_site(&site);
    loaded = site;
    cr_assert_eq(cli_site_load(&loaded), ERR_NOT_FOUND);
    site.shards = 16;
    cr_assert_eq(cli_site_save(&site), ERR_OK);
    cr_assert_eq(cli_site_load(&loaded), ERR_OK, "%s", err_detail());
    cr_assert_eq(loaded.shards, 16);
    cr_assert_eq(loaded.base_port, 7400);
    cli_site_addresses(&loaded, addresses);
    cr_assert_str_eq(addresses, "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420");
    remove_site(&site);
}
