#include "storage/catalog_match.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum { ABSENT = -1, VALUES_A_CHECK = 4096, GROUPS_A_CHECK = 1024 };

/* The ranks for which a condition holds: those in [lo, hi), of which bits (if there are some) are
 * set; or, inverse, all others. */
struct accepted {
    uint32_t lo, hi;
    uint64_t *bits; /* Owned: from `lo` on. */
    bool inverse;
};

/* What the conditions mean to series of one shape. */
struct plan {
    bool live;                       /* Some may match. */
    int16_t columns[QUERY_TAGS_MAX]; /* By condition; ABSENT: it holds for all of them. */
};

struct matcher {
    const struct catalog_run *run;
    struct label_match *match;
    const struct scan_limits *limits;
    uint32_t first, count; /* Conditions; below, they count from 0. */
    struct accepted accepted[QUERY_TAGS_MAX];
    uint32_t names[QUERY_TAGS_MAX]; /* Of the conditions; the run's count: it does not have it. */
    bool empty_holds[QUERY_TAGS_MAX];
    struct plan *plans; /* Owned: by shape. */
};

/* ---- Ranks --------------------------------------------------------------------------------- */

static uint32_t find_name(const struct catalog_run *run, const char *text)
{
    struct slice name = {text, strlen(text)};
    uint32_t at = 0;

    while (at < run->header.names && catalog_values_compare(run->names[at].name, name) != 0)
        at++;
    return at;
}

/* The ranks whose values begin with `prefix`. */
static void narrow(const struct catalog_values *values, struct slice prefix,
                   struct accepted *accepted)
{
    struct catalog_values_walk walk;
    char behind[NAME_SIZE_MAX];
    size_t size = prefix.size;

    accepted->lo = 0;
    accepted->hi = values->count;
    if (size == 0 || size > sizeof behind)
        return;
    memcpy(behind, prefix.data, size);
    while (size > 0 && (uint8_t)behind[size - 1] == 0xff)
        size--;
    accepted->lo = catalog_values_lower_bound(values, prefix, &walk);
    if (size == 0)
        return;
    behind[size - 1]++;
    accepted->hi = catalog_values_lower_bound(values, (struct slice){behind, size}, &walk);
}

/* Ask for each value that may match. Whether the condition holds, not whether the pattern does. */
static enum err try_values(struct matcher *matcher, uint32_t at,
                           const struct catalog_values *values)
{
    struct accepted *accepted = &matcher->accepted[at];
    uint32_t count = accepted->hi - accepted->lo;
    struct catalog_values_walk walk;
    struct slice value;
    enum err err = ERR_OK;

    accepted->bits = calloc((size_t)count / 64 + 1, sizeof *accepted->bits);
    if (accepted->bits == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for %u values of a label", count);
    catalog_values_seek(&walk, values, accepted->lo);
    for (uint32_t i = 0; i < count && err == ERR_OK && catalog_values_next(&walk, &value); i++) {
        bool holds = false;

        if (i % VALUES_A_CHECK == 0)
            err = scan_check(matcher->limits);
        if (err == ERR_OK)
            err = label_match_holds(matcher->match, matcher->first + at, value, &holds);
        if (holds != accepted->inverse)
            accepted->bits[i / 64] |= UINT64_C(1) << i % 64;
    }
    return err;
}

static enum err accept(struct matcher *matcher, uint32_t at, const struct catalog_values *values)
{
    const struct query_match *where = label_match_at(matcher->match, matcher->first + at);
    struct accepted *accepted = &matcher->accepted[at];
    struct slice text = {where->value, strlen(where->value)};
    struct catalog_values_walk walk;

    accepted->inverse = where->op == QUERY_NOT_EQUAL || where->op == QUERY_NOT_MATCHES;
    if (where->op == QUERY_MATCHES || where->op == QUERY_NOT_MATCHES) {
        narrow(values, label_match_prefix(matcher->match, matcher->first + at), accepted);
        return try_values(matcher, at, values);
    }
    accepted->lo = accepted->hi = catalog_values_lower_bound(values, text, &walk);
    if (accepted->lo < values->count) {
        struct slice found = catalog_values_get(values, accepted->lo, &walk);

        accepted->hi += found.data != NULL && catalog_values_compare(found, text) == 0;
    }
    return ERR_OK;
}

static bool is_accepted(const struct accepted *accepted, uint32_t rank)
{
    uint32_t at = rank - accepted->lo;
    bool in = at < accepted->hi - accepted->lo &&
              (accepted->bits == NULL || (accepted->bits[at / 64] >> at % 64 & 1) != 0);

    return in != accepted->inverse;
}

/* ---- Shapes -------------------------------------------------------------------------------- */

static void make_plan(const struct matcher *matcher, uint32_t at, uint32_t table)
{
    const struct catalog_run_shape *shape = &matcher->run->shapes[at];
    struct plan *plan = &matcher->plans[at];

    plan->live = matcher->run->tables[shape->table].number == table;
    for (uint32_t i = 0; i < matcher->count && plan->live; i++) {
        uint32_t tag = 0;

        while (tag < shape->tags && shape->names[tag] != matcher->names[i])
            tag++;
        plan->columns[i] = tag < shape->tags ? (int16_t)(1 + tag) : ABSENT;
        plan->live = tag < shape->tags || matcher->empty_holds[i];
    }
}

static enum err prepare(struct matcher *matcher, uint32_t table)
{
    const struct catalog_run *run = matcher->run;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < matcher->count && err == ERR_OK; i++) {
        matcher->names[i] =
            find_name(run, label_match_at(matcher->match, matcher->first + i)->name);
        err = label_match_holds(matcher->match, matcher->first + i, (struct slice){"", 0},
                                &matcher->empty_holds[i]);
        if (err == ERR_OK && matcher->names[i] < run->header.names)
            err = accept(matcher, i, &run->names[matcher->names[i]].values);
    }
    if (err != ERR_OK)
        return err;
    matcher->plans = malloc(((size_t)run->header.shapes + 1) * sizeof *matcher->plans);
    if (matcher->plans == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for %u shapes of series",
                       run->header.shapes);
    for (uint32_t i = 0; i < run->header.shapes; i++)
        make_plan(matcher, i, table);
    return ERR_OK;
}

/* ---- Groups -------------------------------------------------------------------------------- */

/* None of the column's numbers can be accepted. */
static bool is_outside(const struct accepted *accepted, const struct catalog_group *group,
                       uint32_t column)
{
    uint64_t base = group->base[column];
    uint64_t last = base + ((UINT64_C(1) << group->width[column]) - 1);

    return !accepted->inverse && (last < accepted->lo || base >= accepted->hi);
}

static uint64_t match_column(const struct accepted *accepted, const struct catalog_group *group,
                             uint32_t column)
{
    uint64_t mask = 0;

    if (group->width[column] == 0)
        return is_accepted(accepted, group->base[column]) ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < CATALOG_GROUP; i++)
        mask |= (uint64_t)is_accepted(accepted, catalog_group_value(group, column, i)) << i;
    return mask;
}

/* All series of the group have this shape. False: the bytes are wrong. */
static bool match_shape(const struct matcher *matcher, const struct catalog_group *group,
                        uint32_t shape, uint64_t *ret_mask)
{
    const struct plan *plan = &matcher->plans[shape];
    uint64_t mask = plan->live ? UINT64_MAX : 0;

    if (matcher->run->shapes[shape].tags > group->columns)
        return false;
    for (uint32_t i = 0; i < matcher->count && mask != 0; i++) {
        if (plan->columns[i] == ABSENT)
            continue;
        if (is_outside(&matcher->accepted[i], group, (uint32_t)plan->columns[i]))
            mask = 0;
        else
            mask &= match_column(&matcher->accepted[i], group, (uint32_t)plan->columns[i]);
    }
    *ret_mask = mask;
    return true;
}

/* One by one, where shapes differ. */
static bool match_each(const struct matcher *matcher, const struct catalog_group *group,
                       uint64_t *ret_mask)
{
    uint64_t mask = 0;

    for (uint32_t i = 0; i < CATALOG_GROUP; i++) {
        uint32_t shape = catalog_group_value(group, 0, i);
        bool holds;

        if (shape >= matcher->run->header.shapes ||
            matcher->run->shapes[shape].tags > group->columns)
            return false;
        holds = matcher->plans[shape].live;
        for (uint32_t c = 0; c < matcher->count && holds; c++) {
            int16_t column = matcher->plans[shape].columns[c];

            holds =
                column == ABSENT ||
                is_accepted(&matcher->accepted[c], catalog_group_value(group, (uint32_t)column, i));
        }
        mask |= (uint64_t)holds << i;
    }
    *ret_mask = mask;
    return true;
}

static enum err match_groups(const struct matcher *matcher, uint64_t *masks)
{
    const struct catalog_run *run = matcher->run;
    uint32_t groups = (run->header.count - 1) / CATALOG_GROUP + 1;
    uint32_t rest = run->header.count % CATALOG_GROUP;
    struct catalog_group group;

    for (uint32_t at = 0; at < groups; at++) {
        bool good = catalog_run_group(run, at, &group);

        if (at % GROUPS_A_CHECK == 0) {
            enum err err = scan_check(matcher->limits);

            if (err != ERR_OK)
                return err;
        }
        if (good && group.width[0] > 0)
            good = match_each(matcher, &group, &masks[at]);
        else if (good)
            good = group.base[0] < run->header.shapes &&
                   match_shape(matcher, &group, group.base[0], &masks[at]);
        if (!good)
            return err_set(ERR_CORRUPT,
                           "the catalog has good checksums and wrong bytes at series %u",
                           run->header.first + at * CATALOG_GROUP);
    }
    if (rest > 0)
        masks[groups - 1] &= (UINT64_C(1) << rest) - 1;
    return ERR_OK;
}

enum err catalog_match(const struct catalog_run *run, uint32_t table, struct label_match *match,
                       uint32_t first, uint32_t count, const struct scan_limits *limits,
                       uint64_t *ret_masks)
{
    struct matcher matcher = {
        .run = run, .match = match, .limits = limits, .first = first, .count = count};
    enum err err;

    CHECK(first + count <= label_match_count(match));
    err = prepare(&matcher, table);
    if (err == ERR_OK)
        err = match_groups(&matcher, ret_masks);
    for (uint32_t i = 0; i < matcher.count; i++)
        free(matcher.accepted[i].bits);
    free(matcher.plans);
    return err;
}
