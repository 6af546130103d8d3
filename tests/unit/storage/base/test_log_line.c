/*
 * Log lines, as they arrive on standard error: their form, that a hostile text stays one line, and
 * that a place in the code can be kept from repeating itself.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/log_line.h"

static char seen[8 * LOG_LINE_MAX];
static FILE *caught;
static int standard_error;

/* From here to release() what goes to standard error is kept. */
static void catch (void)
{
    caught = tmpfile();
    cr_assert_not_null(caught);
    standard_error = dup(STDERR_FILENO);
    cr_assert_geq(dup2(fileno(caught), STDERR_FILENO), 0);
}

static const char *release(void)
{
    size_t size;

    cr_assert_geq(dup2(standard_error, STDERR_FILENO), 0);
    rewind(caught);
    size = fread(seen, 1, sizeof seen - 1, caught);
    seen[size] = '\0';
    (void)fclose(caught);
    (void)close(standard_error);
    return seen;
}

Test(log_line, has_the_time_the_level_and_the_text)
{
    int year, month, day, hour, minute, second, ms;
    char rest[64];

    catch ();
    log_info("shard=%d elected", 3);
    (void)release();
    cr_assert_eq(sscanf(seen, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %63[^\n]", &year, &month, &day, &hour,
                        &minute, &second, &ms, rest),
                 8, "%s", seen);
    cr_assert_str_eq(rest, "info shard=3 elected");
    cr_assert_eq(strlen(seen), strlen("2026-01-01T00:00:00.000Z info shard=3 elected\n"));
    cr_assert_geq(year, 2024);
}

Test(log_line, says_nothing_below_its_level_and_evaluates_nothing)
{
    int evaluated = 0;

    catch ();
    log_debug("%d", ++evaluated);
    log_line_set_level(LOG_ERROR);
    log_warn("%d", ++evaluated);
    (void)release();
    cr_assert_str_empty(seen);
    cr_assert_eq(evaluated, 0);

    log_line_set_level(LOG_DEBUG);
    catch ();
    log_debug("%d", ++evaluated);
    cr_assert_not_null(strstr(release(), " debug 1\n"));
}

Test(log_line, a_hostile_text_stays_one_line)
{
    const char *end;

    catch ();
    log_warn("name=%s", "a\nerror forged\r\x1b[2J\x7f caf\xc3\xa9");
    (void)release();
    end = strchr(seen, '\n');
    cr_assert_not_null(end);
    cr_assert_str_empty(end + 1);
    cr_assert_not_null(strstr(seen, "name=a?error forged??[2J? caf\xc3\xa9\n"), "%s", seen);
}

Test(log_line, a_long_line_is_cut_and_shows_it)
{
    static char text[3 * LOG_LINE_MAX];

    memset(text, 'x', sizeof text - 1);
    catch ();
    log_info("%s", text);
    log_info("%s", text + sizeof text - 10);
    (void)release();
    cr_assert_eq(strcspn(seen, "\n"), LOG_LINE_MAX - 1);
    cr_assert_eq(memcmp(seen + LOG_LINE_MAX - 4, "...\n", 4), 0);
    cr_assert_not_null(strstr(seen, " info xxxxxxxxx\n"), "the next line is whole");
}

Test(log_line, a_place_that_repeats_itself_is_counted)
{
    static struct log_line_limit limit;

    cr_assert(log_line_allowed(&limit, 3600000));
    for (int i = 0; i < 5; i++)
        cr_assert(!log_line_allowed(&limit, 3600000));
    cr_assert_eq(log_line_left_out(&limit), 5);
    cr_assert_eq(log_line_left_out(&limit), 0);

    catch ();
    for (int i = 0; i < 3; i++)
        log_every(3600000, LOG_WARN, "try %d", i);
    log_line_write_counted(LOG_WARN, 7, "peer=2");
    (void)release();
    cr_assert_not_null(strstr(seen, "try 0\n"));
    cr_assert_null(strstr(seen, "try 1"));
    cr_assert_not_null(strstr(seen, "peer=2 (and 7 more)\n"));
}

Test(log_line, levels_have_names_both_ways)
{
    enum log_level level = LOG_WARN;

    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        cr_assert(log_line_parse_level(log_line_level_name((enum log_level)i), &level));
        cr_assert_eq((int)level, i);
    }
    cr_assert(!log_line_parse_level("loud", &level));
    cr_assert_eq((int)level, LOG_LEVEL_COUNT - 1);
}

Test(log_line, a_closed_standard_error_is_no_reason_to_stop)
{
    catch ();
    (void)close(STDERR_FILENO);
    log_error("nobody hears this");
    (void)release();
    cr_assert_str_empty(seen);
}
