/*
 * Line protocol through the library.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"

static struct millrace *open_client(struct fake_site *site)
{
    struct millrace_options options = {.nodes = fake_site_nodes(site)};
    struct millrace *m = NULL;

    cr_assert_eq(millrace_open(&options, &m), MILLRACE_OK, "%s", millrace_last_error(NULL));
    return m;
}

Test(lines, stores_the_good_ones_and_names_the_first_bad_one)
{
    static const char text[] = "cpu,host=a n=1i 1\n"
                               "# a comment\n"
                               "cpu,host=b n=2i 2\n"
                               "cpu,host=c nothing\n"
                               "cpu,host=a n=3.5 3\n"
                               "cpu,host=a n=4i\n";
    struct fake_site *site = fake_site_start(1, 2, NULL);
    struct millrace *m = open_client(site);
    uint64_t rows, bad;

    cr_assert_eq(millrace_write_lines(m, text, sizeof text - 1, 1, &rows, &bad), MILLRACE_INVALID);
    cr_assert_eq(rows, 3);
    cr_assert_eq(bad, 2);
    cr_assert_not_null(strstr(millrace_last_error(m), "line 4"), "%s", millrace_last_error(m));
    cr_assert_eq(millrace_write_lines(m, text, 18, 1, &rows, NULL), MILLRACE_OK);
    cr_assert_eq(rows, 1);
    cr_assert_eq(millrace_flush(m, 10000), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_eq(fake_site_stored(site, 1), 2);
    cr_assert_eq(fake_site_stored(site, 2), 1);
    cr_assert_eq(fake_site_stored(site, 4), 1);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}
