#include "storage/last_groups.h"

#include <stdlib.h>

static void close_at(struct last_groups *groups, uint32_t at)
{
    struct last_group *group = groups->groups[at];

    groups->bytes -= group->bytes;
    segment_cursor_fini(&group->cursor);
    segment_unref(group->segment);
    free(group);
    groups->groups[at] = groups->groups[--groups->count];
}

void last_groups_forget(struct last_groups *groups)
{
    while (groups->count > 0)
        close_at(groups, groups->count - 1);
}

void last_groups_fini(struct last_groups *groups)
{
    last_groups_forget(groups);
    *groups = (struct last_groups){0};
}

static void close_oldest(struct last_groups *groups)
{
    uint32_t oldest = 0;

    for (uint32_t i = 1; i < groups->count; i++)
        if (groups->groups[i]->used < groups->groups[oldest]->used)
            oldest = i;
    close_at(groups, oldest);
}

static struct last_group *find(const struct last_groups *groups, const struct segment *segment,
                               uint32_t at)
{
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->groups[i]->segment == segment && groups->groups[i]->group == at)
            return groups->groups[i];
    return NULL;
}

enum err last_groups_open(struct last_groups *groups, struct segment *segment, uint32_t at,
                          struct last_group **ret_group)
{
    struct last_group *group = find(groups, segment, at);
    enum err err;

    if (group == NULL) {
        if (groups->count == LAST_GROUPS_MAX)
            close_oldest(groups);
        group = calloc(1, sizeof *group);
        if (group == NULL)
            return err_set(ERR_NO_MEMORY, "an open group of a segment");
        err = segment_cursor_open(&group->cursor, segment, at);
        if (err != ERR_OK) {
            segment_cursor_fini(&group->cursor);
            free(group);
            return err;
        }
        group->segment = segment_ref(segment);
        group->group = at;
        groups->groups[groups->count++] = group;
    }
    group->used = ++groups->questions;
    *ret_group = group;
    return ERR_OK;
}

void last_groups_done(struct last_groups *groups, struct last_group *group)
{
    uint64_t bytes = sizeof *group + segment_cursor_bytes(&group->cursor);

    groups->bytes += bytes - group->bytes;
    group->bytes = bytes;
    while (groups->bytes > groups->bytes_max && groups->count > 0)
        close_oldest(groups);
}
