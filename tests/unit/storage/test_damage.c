/*
 * Errors of readers, turned into reports.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/err.h"
#include "storage/damage.h"

static char seen[256];

static void note(void *arg, const struct damage *damage)
{
    (void)arg;
    (void)snprintf(seen, sizeof seen, "%s|%lld|%s|%d", damage->path, (long long)damage->offset,
                   damage->what, damage->harmless);
}

Test(damage, takes_path_and_offset_out_of_an_error)
{
    struct damage_sink sink = {.report = note};

    (void)err_set(ERR_CORRUPT, "a/b.mrs: offset 4096: bad checksum of a frame");
    damage_report_error(&sink, "a/b.mrs");
    cr_assert_str_eq(seen, "a/b.mrs|4096|bad checksum of a frame|0");
    (void)err_set(ERR_CORRUPT, "a/b.mrs: missing");
    damage_report_error(&sink, "a/b.mrs");
    cr_assert_str_eq(seen, "a/b.mrs|-1|missing|0");
    (void)err_set(ERR_IO, "read a/b.mrs: Input/output error");
    damage_report_error(&sink, "a/b.mrs");
    cr_assert_str_eq(seen, "a/b.mrs|-1|read a/b.mrs: Input/output error|0");
    (void)err_set(ERR_CORRUPT, "offset nowhere");
    damage_report_error(&sink, "a/b.mrs");
    cr_assert_str_eq(seen, "a/b.mrs|-1|offset nowhere|0");
    (void)err_set(ERR_CORRUPT, "c/d.mrc: offset 7: bad");
    damage_report_error(&sink, NULL);
    cr_assert_str_eq(seen, "c/d.mrc|7|bad|0");
    cr_assert_eq(sink.count, 5);
}

Test(damage, counts_notes_apart)
{
    struct damage_sink sink = {.report = note};

    damage_note(&sink, "x", "left over %d", 1);
    cr_assert_str_eq(seen, "x|-1|left over 1|1");
    damage_report(&sink, "x", 7, "bad");
    cr_assert_str_eq(seen, "x|7|bad|0");
    cr_assert_eq(sink.count, 1);
    cr_assert_eq(sink.notes, 1);
}
