#include "replication/mirror.h"

#include <stdlib.h>

#include "storage/base/check.h"

enum { CAPACITY_MIN = 64 };

void mirror_init(struct mirror *mirror, uint64_t first)
{
    CHECK(first >= 1);
    *mirror = (struct mirror){.first = first, .last = first - 1, .evicted = first - 1};
}

void mirror_fini(struct mirror *mirror)
{
    mirror_cut(mirror, mirror->first);
    free(mirror->slots);
    *mirror = (struct mirror){.first = 1};
}

static struct mirror_slot *slot_of(const struct mirror *mirror, uint64_t index)
{
    return &mirror->slots[index & (mirror->capacity - 1)];
}

struct mirror_slot *mirror_at(const struct mirror *mirror, uint64_t index)
{
    if (index < mirror->first || index > mirror->last)
        return NULL;
    return slot_of(mirror, index);
}

static enum err grow(struct mirror *mirror)
{
    struct mirror grown = *mirror;

    grown.capacity = mirror->capacity == 0 ? CAPACITY_MIN : mirror->capacity * 2;
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (grown.slots == NULL)
        return err_set(ERR_NO_MEMORY, "log mirror: %zu bytes",
                       (size_t)grown.capacity * sizeof *grown.slots);
    for (uint64_t index = mirror->first; index <= mirror->last; index++)
        *slot_of(&grown, index) = *slot_of(mirror, index);
    free(mirror->slots);
    *mirror = grown;
    return ERR_OK;
}

enum err mirror_push(struct mirror *mirror, const struct mirror_slot *slot)
{
    if (mirror_count(mirror) == mirror->capacity) {
        enum err err = grow(mirror);

        if (err != ERR_OK) {
            buf_unref(slot->payload);
            return err;
        }
    }
    mirror->last++;
    *slot_of(mirror, mirror->last) = *slot;
    if (slot->payload != NULL)
        mirror->cached_bytes += slot->size;
    return ERR_OK;
}

enum err mirror_put_first(struct mirror *mirror, const struct mirror_slot *slot)
{
    CHECK(mirror->first > 1);
    CHECK(slot->payload == NULL);
    if (mirror_count(mirror) == mirror->capacity) {
        enum err err = grow(mirror);

        if (err != ERR_OK)
            return err;
    }
    mirror->first--;
    *slot_of(mirror, mirror->first) = *slot;
    return ERR_OK; /* Evicted: mirror->evicted was at least where it stands now. */
}

static void let_go(struct mirror *mirror, struct mirror_slot *slot)
{
    if (slot->payload == NULL)
        return;
    mirror->cached_bytes -= slot->size;
    buf_unref(slot->payload);
    slot->payload = NULL;
}

void mirror_cut(struct mirror *mirror, uint64_t from)
{
    CHECK(from >= mirror->first);
    while (mirror->last >= from) {
        let_go(mirror, slot_of(mirror, mirror->last));
        mirror->last--;
    }
    if (mirror->evicted > mirror->last)
        mirror->evicted = mirror->last;
}

void mirror_drop(struct mirror *mirror, uint64_t through)
{
    while (mirror->first <= mirror->last && mirror->first <= through) {
        let_go(mirror, slot_of(mirror, mirror->first));
        mirror->first++;
    }
    if (mirror->evicted < mirror->first - 1)
        mirror->evicted = mirror->first - 1;
}

void mirror_evict(struct mirror *mirror, uint64_t through, uint8_t kept)
{
    while (mirror->evicted < through && mirror->evicted < mirror->last) {
        struct mirror_slot *slot = slot_of(mirror, mirror->evicted + 1);

        if (slot->position == 0)
            return; /* Not in the log yet: could not be read back. Comes again. */
        if (slot->type != kept)
            let_go(mirror, slot);
        mirror->evicted++;
    }
}
