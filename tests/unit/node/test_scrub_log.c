/*
 * Damage in the log: found once however often it is met, kept until the file is gone, and never
 * more than what is damaged. The log is played.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "node/scrub_internal.h"
#include "node/worker.h"

enum { FILES_MAX = 16 };

/* ---- The log ------------------------------------------------------------------------------- */

static uint32_t first = 3, current = 7;
static enum err says[FILES_MAX]; /* Of each file. */
static uint32_t verified[FILES_MAX], condemned[FILES_MAX];
static struct scrub scrub;
static struct node node;
static uint32_t stop_at; /* The node stops while this one is read. */

uint64_t worker_now_ms(void)
{
    return 1000;
}

void log_range(struct log *log, uint32_t *ret_first, uint32_t *ret_current)
{
    (void)log;
    *ret_first = first;
    *ret_current = current;
}

enum err log_verify(struct log *log, const struct disk *disk, uint32_t number)
{
    (void)log;
    cr_assert_eq(disk, scrub.disk, "not at its pace");
    verified[number]++;
    if (number == stop_at)
        atomic_store(&scrub.stopping, true);
    return says[number] == ERR_OK
               ? ERR_OK
               : err_set(says[number], "log/%08u.log: told to", (unsigned)number);
}

void log_condemn(struct log *log, uint32_t number)
{
    (void)log;
    condemned[number]++;
}

/* ---- The scrub ----------------------------------------------------------------------------- */

static void set_up(void)
{
    scrub.node = &node;
    scrub.disk = disk_system();
    (void)pthread_mutex_init(&scrub.lock, NULL);
}

static void tear_down(void)
{
    scrub_free_wounds(&scrub);
    cr_assert_null(scrub.wounds);
    (void)pthread_mutex_destroy(&scrub.lock);
}

TestSuite(scrub_log, .init = set_up, .fini = tear_down);

static unsigned wounds(void)
{
    unsigned count = 0;

    for (const struct scrub_wound *wound = scrub.wounds; wound != NULL; wound = wound->next)
        count++;
    return count;
}

Test(scrub_log, reads_every_file_and_finds_nothing_where_nothing_is)
{
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    for (uint32_t i = 0; i < FILES_MAX; i++)
        cr_assert_eq(verified[i], first <= i && i <= current);
    cr_assert_eq(scrub.status.files, 5);
    cr_assert_eq(scrub.status.found, 0);
    cr_assert_eq(scrub_damaged_log(&scrub), 0);
    scrub_look_at_log(&scrub);
    cr_assert_eq(scrub.status.mended, 0);
}

Test(scrub_log, names_a_damaged_file_once_and_lets_nothing_more_be_put_into_it)
{
    says[5] = ERR_CORRUPT;
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(wounds(), 1);
    cr_assert_eq(scrub.wounds->number, 5);
    cr_assert_eq(scrub.wounds->found_ms, 1000);
    cr_assert_str_eq(scrub.wounds->what, "log/00000005.log: told to");
    cr_assert_eq(condemned[5], 1);
    cr_assert_eq(scrub.status.found, 1);
    cr_assert_eq(verified[7], 2, "the files behind it are read all the same");
}

Test(scrub_log, the_newest_damaged_file_says_how_far_is_to_be_sealed)
{
    says[6] = ERR_CORRUPT;
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(scrub_damaged_log(&scrub), 6);
    says[4] = ERR_IO; /* A disk that cannot read it has damaged it. */
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(scrub_damaged_log(&scrub), 6);
    cr_assert_eq(wounds(), 2);
}

Test(scrub_log, takes_no_file_for_damaged_that_is_gone_or_cannot_be_read_for_another_reason)
{
    says[3] = ERR_NOT_FOUND; /* Removed while the others were read. */
    says[4] = ERR_NO_MEMORY;
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(wounds(), 0);
    cr_assert_eq(scrub_damaged_log(&scrub), 0);
    cr_assert_eq(condemned[3] + condemned[4], 0);
}

Test(scrub_log, forgets_a_damaged_file_when_it_is_gone)
{
    says[4] = says[6] = ERR_CORRUPT;
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    scrub_look_at_log(&scrub);
    cr_assert_eq(wounds(), 2);
    first = 5;
    scrub_look_at_log(&scrub);
    cr_assert_eq(wounds(), 1);
    cr_assert_eq(scrub.wounds->number, 6);
    cr_assert_eq(scrub.status.mended, 1);
    cr_assert_eq(scrub_damaged_log(&scrub), 6);
    first = 7;
    scrub_look_at_log(&scrub);
    cr_assert_eq(wounds(), 0);
    cr_assert_eq(scrub.status.mended, 2);
    cr_assert_eq(scrub_damaged_log(&scrub), 0);
    current = 9; /* The next damage counts for itself. */
    says[8] = ERR_CORRUPT;
    cr_assert_eq(scrub_check_log(&scrub), ERR_OK);
    cr_assert_eq(scrub_damaged_log(&scrub), 8);
    cr_assert_eq(scrub.status.found, 3);
}

Test(scrub_log, ends_with_the_node)
{
    says[4] = ERR_CANCELED; /* Its pace was waited for. */
    cr_assert_eq(scrub_check_log(&scrub), ERR_CANCELED);
    cr_assert_eq(verified[5], 0);
    cr_assert_eq(wounds(), 0);
    says[4] = ERR_OK;
    stop_at = 5;
    cr_assert_eq(scrub_check_log(&scrub), ERR_CANCELED);
    cr_assert_eq(verified[6], 0);
}
