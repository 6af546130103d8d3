#include "storage/label_match.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    STEPS_MAX = 100000,   /* Of one match: about a millisecond. */
    MATCH_KIB_MAX = 1024, /* Memory of one match. */
};

struct label_match {
    const struct query_match *where;
    uint32_t count;
    pcre2_code *patterns[QUERY_TAGS_MAX]; /* Owned; NULL: not a pattern. */
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static bool is_pattern(const struct query_match *where)
{
    return where->op == QUERY_MATCHES || where->op == QUERY_NOT_MATCHES;
}

static enum err compile(const struct query_match *where, pcre2_code **ret_pattern)
{
    /* Bytes, whatever the pattern says; \C would be the same. */
    uint32_t options =
        PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_NO_AUTO_CAPTURE;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR text[120] = "";
    int code = 0;

    *ret_pattern =
        pcre2_compile((PCRE2_SPTR)where->value, strlen(where->value), options, &code, &at, NULL);
    if (*ret_pattern != NULL) {
        /* Three times as fast. Where nobody may make code at run time, it is interpreted. */
        (void)pcre2_jit_compile(*ret_pattern, PCRE2_JIT_COMPLETE);
        return ERR_OK;
    }
    (void)pcre2_get_error_message(code, text, sizeof text);
    return err_set(ERR_INVALID, "the pattern for %.60s: %s, at its byte %zu", where->name,
                   (const char *)text, (size_t)at);
}

enum err label_match_new(const struct query_match *where, uint32_t count,
                         struct label_match **ret_match)
{
    struct label_match *match = calloc(1, sizeof *match);
    enum err err = ERR_OK;

    if (match != NULL) {
        match->data = pcre2_match_data_create(1, NULL);
        match->context = pcre2_match_context_create(NULL);
    }
    if (match == NULL || match->data == NULL || match->context == NULL) {
        label_match_free(match);
        return err_set(ERR_NO_MEMORY, "%u conditions", count);
    }
    (void)pcre2_set_match_limit(match->context, STEPS_MAX);
    (void)pcre2_set_heap_limit(match->context, MATCH_KIB_MAX);
    match->where = where;
    match->count = count;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        if (where[i].op >= QUERY_OP_END)
            err = err_set(ERR_INVALID, "condition %u has operator %u", i, where[i].op);
        else if (is_pattern(&where[i]))
            err = compile(&where[i], &match->patterns[i]);
    }
    if (err != ERR_OK) {
        label_match_free(match);
        return err;
    }
    *ret_match = match;
    return ERR_OK;
}

void label_match_free(struct label_match *match)
{
    if (match == NULL)
        return;
    for (uint32_t i = 0; i < match->count; i++)
        pcre2_code_free(match->patterns[i]);
    pcre2_match_data_free(match->data);
    pcre2_match_context_free(match->context);
    free(match);
}

uint32_t label_match_count(const struct label_match *match)
{
    return match->count;
}

const struct query_match *label_match_at(const struct label_match *match, uint32_t at)
{
    return &match->where[at];
}

static enum err matches(struct label_match *match, uint32_t at, struct slice value,
                        bool *ret_matches)
{
    const struct query_match *where = &match->where[at];
    int code = pcre2_match(match->patterns[at], (PCRE2_SPTR)value.data, value.size, 0, 0,
                           match->data, match->context);

    if (code < 0 && code != PCRE2_ERROR_NOMATCH)
        return err_set(ERR_LIMIT,
                       "the pattern for %.60s takes over %d steps for the value %.*s: simplify it",
                       where->name, STEPS_MAX, value.size < 60 ? (int)value.size : 60, value.data);
    *ret_matches = code >= 0;
    return ERR_OK;
}

enum err label_match_holds(struct label_match *match, uint32_t at, struct slice value,
                           bool *ret_holds)
{
    const struct query_match *where = &match->where[at];
    enum err err = ERR_OK;

    if (is_pattern(where))
        err = matches(match, at, value, ret_holds);
    else
        *ret_holds =
            value.size == strlen(where->value) && memcmp(value.data, where->value, value.size) == 0;
    if (err == ERR_OK && (where->op == QUERY_NOT_EQUAL || where->op == QUERY_NOT_MATCHES))
        *ret_holds = !*ret_holds;
    return err;
}

struct slice label_match_prefix(const struct label_match *match, uint32_t at)
{
    const char *pattern = match->where[at].value;
    size_t size;

    if (strchr(pattern, '|') != NULL)
        return (struct slice){"", 0};
    pattern += *pattern == '^';
    size = strcspn(pattern, "\\.[](){}*+?^$");
    /* What may also be absent is not in front of all. */
    if (size > 0 && pattern[size] != '\0' && strchr("*?{", pattern[size]) != NULL)
        size--;
    return (struct slice){pattern, size};
}
