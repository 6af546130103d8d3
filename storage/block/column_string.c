#include "storage/block/column_string.h"

#include <stdbool.h>
#include <string.h>

#include "storage/base/types.h"
#include "storage/block/column_int.h"

enum {
    FORM_PLAIN = 1,
    FORM_ENTRIES = 2,

    ENTRIES_MAX = 256,
    SLOTS = 2 * ENTRIES_MAX, /* Of the hash table: at most half full. */
    USES_MIN = 4,            /* An entry pays when it is used so often, */
    FREE_ENTRIES = 8,        /* but the first few are given the benefit of the doubt. */
};

struct entries {
    uint32_t count;
    uint64_t strings[ENTRIES_MAX];
    uint16_t slots[SLOTS]; /* Entry + 1; 0: empty. */
};

/* ---- Writing ------------------------------------------------------------------------------- */

static bool same(uint64_t a, uint64_t b, const char *text)
{
    uint32_t size = column_string_size(a);

    return size == column_string_size(b) &&
           (size == 0 ||
            memcmp(text + column_string_offset(a), text + column_string_offset(b), size) == 0);
}

/* The entry of a string, added if it is new; ENTRIES_MAX if they are full. */
static uint32_t find_entry(struct entries *entries, uint64_t string, const char *text)
{
    size_t size = column_string_size(string);
    uint64_t hash = key_hash(size == 0 ? "" : text + column_string_offset(string), size);
    uint32_t at = (uint32_t)hash % SLOTS;

    for (; entries->slots[at] != 0; at = (at + 1) % SLOTS)
        if (same(entries->strings[entries->slots[at] - 1], string, text))
            return entries->slots[at] - 1u;
    if (entries->count == ENTRIES_MAX)
        return ENTRIES_MAX;
    entries->strings[entries->count] = string;
    entries->slots[at] = (uint16_t)++entries->count;
    return entries->count - 1;
}

/* Find all entries; false as soon as there are too many for what they would save. */
static bool find_entries(struct entries *entries, const uint64_t *strings, uint32_t count,
                         const char *text)
{
    memset(entries, 0, sizeof *entries);
    for (uint32_t i = 0; i < count; i++)
        if (find_entry(entries, strings[i], text) == ENTRIES_MAX ||
            entries->count > FREE_ENTRIES + i / USES_MIN)
            return false;
    return entries->count <= count / USES_MIN;
}

static void put_sizes(const uint64_t *strings, uint32_t count, struct bytes *out)
{
    uint64_t sizes[COLUMN_CHUNK];

    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK) {
        uint32_t part = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;

        for (uint32_t i = 0; i < part; i++)
            sizes[i] = column_string_size(strings[at + i]);
        column_int_put_chunk(sizes, part, out);
    }
}

static void put_text(const uint64_t *strings, uint32_t count, const char *text, struct bytes *out)
{
    for (uint32_t i = 0; i < count; i++)
        if (column_string_size(strings[i]) > 0)
            bytes_put(out, text + column_string_offset(strings[i]), column_string_size(strings[i]));
}

static void put_uses(struct entries *entries, const uint64_t *strings, uint32_t count,
                     const char *text, struct bytes *out)
{
    uint64_t uses[COLUMN_CHUNK];

    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK) {
        uint32_t part = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;

        for (uint32_t i = 0; i < part; i++)
            uses[i] = find_entry(entries, strings[at + i], text);
        column_int_put_chunk(uses, part, out);
    }
}

void column_string_put(const uint64_t *strings, uint32_t count, const char *text, struct bytes *out)
{
    struct entries entries;

    if (find_entries(&entries, strings, count, text)) {
        bytes_put_u8(out, FORM_ENTRIES);
        bytes_put_varint(out, entries.count);
        put_sizes(entries.strings, entries.count, out);
        put_text(entries.strings, entries.count, text, out);
        put_uses(&entries, strings, count, text, out);
    } else {
        bytes_put_u8(out, FORM_PLAIN);
        put_sizes(strings, count, out);
        put_text(strings, count, text, out);
    }
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Sizes and bytes of `count` strings. */
static void get_strings(struct reader *reader, uint32_t count, uint64_t *ret_strings,
                        const char **ret_text)
{
    uint64_t offset = 0;
    size_t left;

    column_int_get(reader, count, ret_strings);
    left = reader_left(reader); /* 0 if it is bad. */
    if (left > UINT32_MAX)
        reader->bad = true;
    for (uint32_t i = 0; i < count && !reader->bad; i++) {
        uint64_t size = ret_strings[i];

        if (size > left - offset) {
            reader->bad = true;
            return;
        }
        ret_strings[i] = column_string_make((uint32_t)offset, (uint32_t)size);
        offset += size;
    }
    *ret_text = (const char *)reader_take(reader, offset);
}

void column_string_get(struct reader *reader, uint32_t count, uint64_t *ret_strings,
                       const char **ret_text)
{
    uint64_t entries[ENTRIES_MAX];
    uint8_t form = reader_u8(reader);
    uint64_t entry_count;

    if (form == FORM_PLAIN) {
        get_strings(reader, count, ret_strings, ret_text);
        return;
    }
    entry_count = reader_varint(reader);
    if (form != FORM_ENTRIES || entry_count < 1 || entry_count > ENTRIES_MAX) {
        reader->bad = true;
        return;
    }
    get_strings(reader, (uint32_t)entry_count, entries, ret_text);
    column_int_get(reader, count, ret_strings);
    for (uint32_t i = 0; i < count && !reader->bad; i++) {
        if (ret_strings[i] >= entry_count)
            reader->bad = true;
        else
            ret_strings[i] = entries[ret_strings[i]];
    }
}
