/*
 * The table of settings, and texts to values and back: what is refused leaves the field as it was.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/options.h"
#include "node/setting.h"
#include "tests/support/seed.h"

enum { FILLER = 0xa5 };

static union {
    struct options options;
    uint8_t bytes[sizeof(struct options)];
} room;

static const struct setting *find(const char *path)
{
    const struct setting *setting = setting_find(settings, setting_count, path, strlen(path));

    cr_assert_not_null(setting, "%s", path);
    return setting;
}

static enum err parse(const struct setting *setting, const char *text, size_t size)
{
    char *copy = malloc(size + 1); /* Just so large: a reader of more is noticed. */
    char *exact = size == 0 ? copy : realloc(copy, size);
    enum err err;

    memcpy(exact, text, size);
    memset(room.bytes, FILLER, sizeof room.bytes);
    err = setting_parse(setting, &room.options, exact, size);
    free(exact);
    return err;
}

/* So many bytes a field has at least; a text's field is as long as its text. */
static size_t width_of(enum setting_kind kind)
{
    switch (kind) {
    case SETTING_COUNT:
    case SETTING_SIZE32:
    case SETTING_TIME:
        return sizeof(uint32_t);
    case SETTING_NUMBER:
    case SETTING_SIZE:
    case SETTING_AGE:
        return sizeof(uint64_t);
    case SETTING_PORT:
        return sizeof(uint16_t);
    case SETTING_SWITCH:
        return sizeof(bool);
    case SETTING_LEVEL:
        return sizeof(enum log_level);
    case SETTING_PATH:
        return OPTIONS_PATH_MAX;
    case SETTING_TEXT:
    case SETTING_HOST:
    case SETTING_ADDRESS:
        break;
    }
    return OPTIONS_NAME_MAX;
}

static bool is_number(const struct setting *setting)
{
    return setting->max != 0;
}

static uint64_t number_in(const struct setting *setting)
{
    uint64_t value = 0;

    memcpy(&value, room.bytes + setting->offset, width_of(setting->kind)); /* Little-endian. */
    return value;
}

static void expect_only_touched(const struct setting *setting, size_t width)
{
    for (size_t i = 0; i < sizeof room.bytes; i++)
        if (i < setting->offset || i >= setting->offset + width)
            cr_assert_eq(room.bytes[i], FILLER, "%s: byte %zu", setting->path, i);
}

static void expect_refused(const char *path, const char *text, size_t size, const char *says)
{
    const struct setting *setting = find(path);

    cr_assert_eq(parse(setting, text, size), ERR_INVALID, "%s: %s", path, text);
    cr_assert_eq(strncmp(err_detail(), path, strlen(path)), 0, "%s", err_detail());
    cr_assert_not_null(strstr(err_detail(), says), "%s\n  lacks %s", err_detail(), says);
    expect_only_touched(setting, 0);
}

/* ---- The table ----------------------------------------------------------------------------- */

Test(setting, each_has_a_field_of_its_own_that_holds_all_that_is_allowed)
{
    static uint8_t owner[sizeof(struct options)];

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        size_t width = width_of(setting->kind);

        cr_assert_lt(strlen(setting->path), SETTING_PATH_MAX);
        cr_assert_eq(find(setting->path), setting, "%s stands there twice", setting->path);
        cr_assert_leq(setting->min, setting->max);
        if (is_number(setting) && width < sizeof(uint64_t))
            cr_assert_eq(setting->max >> (8 * width), 0, "%s", setting->path);
        cr_assert_leq(setting->offset + width, sizeof(struct options));
        for (size_t at = setting->offset; at < setting->offset + width; at++) {
            cr_assert_eq(owner[at], 0, "%s has the field of %s", setting->path,
                         settings[owner[at] - 1].path);
            owner[at] = (uint8_t)(i + 1);
        }
    }
}

/* ---- Numbers ------------------------------------------------------------------------------- */

static void expect_back(const struct setting *setting, uint64_t value)
{
    char text[SETTING_TEXT_MAX];

    memset(room.bytes, FILLER, sizeof room.bytes);
    memcpy(room.bytes + setting->offset, &value, width_of(setting->kind)); /* Little-endian. */
    setting_format(setting, &room.options, text, sizeof text);
    cr_assert_eq(parse(setting, text, strlen(text)), ERR_OK, "%s", err_detail());
    cr_assert_eq(number_in(setting), value, "%s: %" PRIu64 " as %s", setting->path, value, text);
    expect_only_touched(setting, width_of(setting->kind));
}

Test(setting, every_number_that_is_allowed_reads_back_into_its_field_alone)
{
    uint64_t chance = seed_of_run("setting");

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];

        if (!is_number(setting))
            continue;
        expect_back(setting, setting->min);
        expect_back(setting, setting->max);
        for (unsigned tries = 0; tries < 100; tries++) {
            uint64_t part = (setting->max - setting->min) >> seed_below(&chance, 40);

            expect_back(setting, setting->min + seed_below(&chance, part + 1));
        }
    }
}

Test(setting, one_more_or_less_than_is_allowed_is_refused)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        const char *unit =
            setting->kind == SETTING_TIME || setting->kind == SETTING_AGE ? "ms" : "";
        char text[64], range[64];

        if (!is_number(setting))
            continue;
        setting_range(setting, range, sizeof range);
        (void)snprintf(text, sizeof text, "%" PRIu64 "%s", setting->max + 1, unit);
        expect_refused(setting->path, text, strlen(text), range);
        cr_assert_not_null(strstr(err_detail(), "out of range"));
        if (setting->min == 0)
            continue;
        (void)snprintf(text, sizeof text, "%" PRIu64 "%s", setting->min - 1, unit);
        expect_refused(setting->path, text, strlen(text), range);
    }
}

/* It must not come out as a small one that is allowed. */
Test(setting, a_number_that_no_field_can_hold_is_out_of_range)
{
    static const char *const sizes[] = {
        "18446744073709551616",                   /* 2^64 */
        "18446744073709617152",                   /* 2^64 + 64 Ki, the least that is allowed */
        "99999999999999999999999", "16777216TiB", /* 2^64 */
        "17592186044417MiB",                      /* 2^64 + 1 Mi */
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        expect_refused("limits.body_bytes", sizes[i], strlen(sizes[i]), "out of range");
    expect_refused("limits.connections", "4294967297", 10, "out of range"); /* 2^32 + 1 */
    expect_refused("listen.admin_port", "65537", 5, "out of range");
    expect_refused("limits.future", "213503982335d", 13, "out of range"); /* 2^64 ms and some */
    expect_refused("limits.future", "18446744073709551616", 20, "is not a time");
}

Test(setting, what_is_no_number_with_its_unit_is_refused)
{
    static const struct {
        const char *path, *text;
    } bad[] = {
        {"limits.connections", ""},
        {"limits.connections", "+5"},
        {"limits.connections", "-5"},
        {"limits.connections", " 5"},
        {"limits.connections", "5 "},
        {"limits.connections", "0x10"},
        {"limits.connections", "1e3"},
        {"limits.connections", "5KiB"},
        {"limits.connections", "5s"},
        {"listen.admin_port", "80/tcp"},
        {"limits.body_bytes", "MiB"},
        {"limits.body_bytes", "5 MiB"},
        {"limits.body_bytes", "5mib"},
        {"limits.body_bytes", "5M"},
        {"limits.body_bytes", "1.5MiB"},
        {"limits.body_bytes", "5MiBB"},
        {"limits.body_bytes", "5s"},
        {"limits.idle", "5"},
        {"limits.idle", "5min"},
        {"limits.idle", "5MiB"},
        {"limits.idle", "m"},
        {"limits.future", "1"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i].path, bad[i].text, strlen(bad[i].text), "is not a");
    expect_refused("limits.idle", "0", 1, "out of range"); /* A time, but it is too short. */
    cr_assert_eq(parse(find("limits.future"), "0", 1), ERR_OK);
    cr_assert_eq(number_in(find("limits.future")), 0);
}

/* ---- Texts and words ------------------------------------------------------------------------ */

static bool may_have(enum setting_kind kind, unsigned char c)
{
    if (kind == SETTING_PATH)
        return c >= 0x20;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-_.", c) != NULL) || (kind == SETTING_HOST && c == ':');
}

Test(setting, texts_are_of_the_bytes_of_their_kind)
{
    static const enum setting_kind kinds[] = {SETTING_TEXT, SETTING_HOST, SETTING_PATH};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (unsigned c = 0; c <= UINT8_MAX; c++) {
            const struct setting setting = {.path = "p", .kind = kinds[i], .offset = 0};
            const char text[] = {'a', (char)c, 'b'};
            enum err err = parse(&setting, text, sizeof text);

            cr_assert_eq(err == ERR_OK, may_have(kinds[i], (unsigned char)c), "kind %d, byte %u",
                         (int)kinds[i], c);
            expect_only_touched(&setting, err == ERR_OK ? sizeof text + 1 : 0);
        }
}

Test(setting, texts_fit_their_field_with_its_end)
{
    static const enum setting_kind kinds[] = {SETTING_TEXT, SETTING_HOST, SETTING_PATH};
    char text[OPTIONS_PATH_MAX + 1];

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct setting setting = {.path = "p", .kind = kinds[i], .offset = 8};
        size_t width = width_of(kinds[i]);

        cr_assert_eq(parse(&setting, text, width), ERR_INVALID);
        expect_only_touched(&setting, 0);
        cr_assert_eq(parse(&setting, "", 0), ERR_INVALID);
        cr_assert_eq(parse(&setting, text, width - 1), ERR_OK);
        cr_assert_eq(room.bytes[8 + width - 1], '\0');
        expect_only_touched(&setting, width);
    }
}

Test(setting, an_address_is_one_of_numbers)
{
    static const char *const good[] = {
        "127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1:2", "::ffff:10.0.0.1"};
    static const char *const bad[] = {"localhost",   "127.0.0",      "127.0.0.256", ":::",
                                      "10.0.0.1:80", "fe80::1%eth0", " 10.0.0.1",   "010.0.0.1."};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert_eq(parse(find("listen.host"), good[i], strlen(good[i])), ERR_OK, "%s", good[i]);
        cr_assert_str_eq(room.options.listen.host, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused("listen.host", bad[i], strlen(bad[i]), "is not an IP address");
}

Test(setting, words_are_whole_and_as_they_are_written)
{
    static const char *const bad[] = {"",    "t", "True", "true ",    "truefalse",
                                      "yes", "1", "fals", "falsehood"};
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    char text[SETTING_TEXT_MAX];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_refused("databases.auto_create", bad[i], strlen(bad[i]), "is not true or false");
        expect_refused("log_level", bad[i], strlen(bad[i]), "is not one of error, warn");
    }
    for (int on = 0; on < 2; on++) {
        const char *word = on ? "true" : "false";

        cr_assert_eq(parse(find("databases.auto_create"), word, strlen(word)), ERR_OK);
        cr_assert_eq(room.options.databases.auto_create, on == 1);
        expect_only_touched(find("databases.auto_create"), sizeof(bool));
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        cr_assert_eq(parse(find("log_level"), levels[i], strlen(levels[i])), ERR_OK);
        cr_assert_eq((size_t)room.options.log_level, i);
        setting_format(find("log_level"), &room.options, text, sizeof text);
        cr_assert_str_eq(text, levels[i]);
    }
}

/* A file or a variable may have one; what stands behind it must not be dropped in silence. */
Test(setting, a_nul_is_no_end)
{
    expect_refused("databases.auto_create", "true\0x", 6, "is not");
    expect_refused("log_level", "info\0", 5, "is not");
    expect_refused("cluster.id", "a\0b", 3, "is not");
    expect_refused("node.data_dir", "/a\0b", 4, "is not");
    expect_refused("listen.host", "::\0", 3, "is not");
    expect_refused("limits.connections", "5\0", 2, "is not");
    expect_refused("limits.body_bytes", "5MiB\0", 5, "is not");
}

/* ---- Looking up ---------------------------------------------------------------------------- */

Test(setting, is_found_by_all_of_its_path)
{
    cr_assert_null(setting_find(settings, setting_count, "workers", 6));
    cr_assert_null(setting_find(settings, setting_count, "workersx", 8));
    cr_assert_null(setting_find(settings, setting_count, "", 0));
    cr_assert_not_null(setting_find(settings, setting_count, "workersx", 7));
    cr_assert_str_eq(setting_section("limitsx", 6)->path, "limits.connections");
    cr_assert_null(setting_section("limits", 5));
    cr_assert_null(setting_section("workers", 7), "it is no section");
    cr_assert_null(setting_section("limits.idle", 11));
}

Test(setting, suggests_what_was_meant)
{
    char path[100];

    for (size_t i = 0; i < setting_count; i++) {
        const char *key = strrchr(settings[i].path, '.');

        (void)snprintf(path, sizeof path, "%s", settings[i].path);
        path[0] = '#'; /* One letter wrong. */
        cr_assert_not_null(setting_suggest(path));
        cr_assert_str_eq(setting_suggest(path), settings[i].path);
        if (key != NULL) { /* Without its section: of that key. */
            const char *found = setting_suggest(key + 1);

            cr_assert_not_null(found);
            cr_assert_str_eq(strrchr(found, '.'), key);
        }
    }
    cr_assert_null(setting_suggest("gibberish"));
    cr_assert_null(setting_suggest(""));
    memset(path, 'x', sizeof path); /* As long as it likes. */
    path[sizeof path - 1] = '\0';
    cr_assert_null(setting_suggest(path));
    path[63] = '\0';
    cr_assert_null(setting_suggest(path));
}
