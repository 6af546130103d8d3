/*
 * Status of a site, some nodes of which are silent.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
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

Test(status, joins_what_the_nodes_say_and_names_the_silent_ones)
{
    struct fake_site *site = fake_site_start(3, 1, NULL);
    struct millrace *m = open_client(site);
    char *json = NULL;

    cr_assert_eq(millrace_status(m, 1, &json), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_str_eq(json, "{\"nodes\":[{\"server\":1},{\"server\":2},{\"server\":3}],"
                           "\"unreachable\":[]}");
    free(json);
    fake_site_kill(site, 2);
    cr_assert_eq(millrace_status(m, 1, &json), MILLRACE_OK);
    cr_assert_str_eq(json, "{\"nodes\":[{\"server\":1},{\"server\":3}],\"unreachable\":[2]}");
    free(json);
    cr_assert_eq(millrace_status(m, 0, &json), MILLRACE_OK);
    cr_assert_eq(strncmp(json, "{\"server\":", 10), 0);
    free(json);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}
