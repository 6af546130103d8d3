#include "storage/marks.h"

#include <string.h>

int marks_compare(struct slice a, struct slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* False at the end, or where the bytes make no sense. */
static bool next(struct reader *reader, struct mark *ret_mark)
{
    struct mark mark;

    if (reader_left(reader) == 0)
        return false;
    mark.database.data = reader_string(reader, NAME_SIZE_MAX, &mark.database.size);
    mark.cutoff_ns = (int64_t)reader_u64(reader);
    mark.drop = reader_u64(reader);
    mark.erased_index = reader_u64(reader);
    if (!reader->bad)
        *ret_mark = mark;
    return !reader->bad;
}

static void put(const struct mark *mark, struct bytes *out)
{
    bytes_put_string(out, mark->database.data, mark->database.size);
    bytes_put_u64(out, (uint64_t)mark->cutoff_ns);
    bytes_put_u64(out, mark->drop);
    bytes_put_u64(out, mark->erased_index);
}

struct mark marks_find(const struct bytes *list, struct slice database)
{
    struct reader reader = reader_on(list->data, list->size);
    struct mark mark;

    while (next(&reader, &mark))
        if (marks_compare(mark.database, database) == 0)
            return mark;
    return (struct mark){.database = database, .cutoff_ns = INT64_MIN};
}

enum err marks_put(struct bytes *list, const struct mark *mark)
{
    struct reader reader = reader_on(list->data, list->size);
    struct bytes out = {0};
    struct mark other;
    uint32_t count = 1;
    bool done = false;
    enum err err = ERR_OK;

    for (; next(&reader, &other); count++) {
        int order = done ? -1 : marks_compare(other.database, mark->database);

        if (order >= 0) {
            put(mark, &out);
            done = true;
        }
        if (order != 0)
            put(&other, &out);
        else
            count--;
    }
    if (!done)
        put(mark, &out);
    if (count > MARKS_MAX)
        err = err_set(ERR_LIMIT, "rows of %u databases were dropped, at most %d are remembered",
                      count, (int)MARKS_MAX);
    else if (out.failed)
        err = err_set(ERR_NO_MEMORY, "marks of %u databases", count);
    if (err != ERR_OK) {
        bytes_fini(&out);
        return err;
    }
    bytes_fini(list);
    *list = out;
    return ERR_OK;
}

int64_t marks_cutoff_max(const struct bytes *list)
{
    struct reader reader = reader_on(list->data, list->size);
    int64_t cutoff_ns = INT64_MIN;
    struct mark mark;

    while (next(&reader, &mark))
        cutoff_ns = mark.cutoff_ns > cutoff_ns ? mark.cutoff_ns : cutoff_ns;
    return cutoff_ns;
}

enum err marks_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    struct slice before = {NULL, 0};
    struct mark mark;
    uint32_t count = 0;

    for (; next(&reader, &mark); before = mark.database) {
        if (mark.database.size == 0 || marks_compare(mark.database, before) <= 0 ||
            ++count > MARKS_MAX)
            return err_set(ERR_CORRUPT, "mark %u of databases is out of order", count);
    }
    return reader_done(&reader) ? ERR_OK : err_set(ERR_CORRUPT, "marks of databases end early");
}

enum err marks_copy(const struct bytes *list, struct bytes *ret_copy)
{
    bytes_clear(ret_copy);
    bytes_put(ret_copy, list->data, list->size);
    return ret_copy->failed ? err_set(ERR_NO_MEMORY, "marks of databases") : ERR_OK;
}
