/*
 * log_fixture.h - a log over a disk in memory, and the list of what should be in it.
 *
 * Every record's payload is made of its (group, index, size), so what comes back can be compared
 * with what was written by numbers alone.
 */
#ifndef TESTS_UNIT_REPLICATION_LOG_FIXTURE_H
#define TESTS_UNIT_REPLICATION_LOG_FIXTURE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log.h"
#include "replication/log_format.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum { FIXTURE_GROUPS = 4, FIXTURE_RECORDS_MAX = 4096 };

struct fixture_record {
    struct log_record record; /* Without payload. */
    uint32_t size;
};

struct fixture {
    struct mem_disk *disk;
    struct log_options options;
    struct log *log;
    struct fixture_record *written; /* FIXTURE_RECORDS_MAX. */
    size_t count;
    size_t synced;                   /* The first so many are on disk. */
    struct fixture_record *replayed; /* By the last open. */
    size_t replayed_count;
    size_t replay_fails_at; /* 0: never. */
};

static inline uint8_t fixture_byte(const struct log_record *record, uint32_t at)
{
    return (uint8_t)(record->index * 31 + record->group * 7 + at * 13 + (at >> 8));
}

static inline struct buf *fixture_payload(const struct log_record *record, uint32_t size)
{
    struct buf *payload = buf_new(size);

    cr_assert_not_null(payload);
    payload->size = size;
    for (uint32_t i = 0; i < size; i++)
        payload->bytes[i] = fixture_byte(record, i);
    return payload;
}

static inline struct fixture *fixture_new(uint64_t file_bytes)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    cr_assert_not_null(fixture);
    fixture->disk = mem_disk_new();
    fixture->written = calloc(FIXTURE_RECORDS_MAX, sizeof *fixture->written);
    fixture->replayed = calloc(FIXTURE_RECORDS_MAX * 2, sizeof *fixture->replayed);
    fixture->options = (struct log_options){.disk = mem_disk_table(fixture->disk),
                                            .dir = "log",
                                            .node = 7,
                                            .cluster = 0x1234,
                                            .groups = FIXTURE_GROUPS,
                                            .file_bytes = file_bytes,
                                            .bytes_max = 1024 * file_bytes};
    return fixture;
}

static inline void fixture_free(struct fixture *fixture)
{
    if (fixture->log != NULL)
        log_close(fixture->log);
    cr_assert_eq(mem_disk_open_files(fixture->disk), 0);
    mem_disk_free(fixture->disk);
    free(fixture->written);
    free(fixture->replayed);
    free(fixture);
}

static inline enum err fixture_replay(void *arg, const struct log_record *record)
{
    struct fixture *fixture = arg;
    uint32_t size = record->payload == NULL ? 0 : record->payload->size;

    for (uint32_t i = 0; i < size; i++)
        cr_assert_eq(record->payload->bytes[i], fixture_byte(record, i));
    if (fixture->replay_fails_at != 0 && fixture->replayed_count + 1 == fixture->replay_fails_at)
        return err_set(ERR_NO_MEMORY, "the replay has enough");
    cr_assert_lt(fixture->replayed_count, FIXTURE_RECORDS_MAX * 2);
    fixture->replayed[fixture->replayed_count] = (struct fixture_record){*record, size};
    fixture->replayed[fixture->replayed_count++].record.payload = NULL;
    return ERR_OK;
}

/* Open the log; the records replayed are then in `replayed`. */
static inline enum err fixture_open(struct fixture *fixture)
{
    cr_assert_null(fixture->log);
    fixture->replayed_count = 0;
    return log_open(&fixture->options, fixture_replay, fixture, &fixture->log);
}

static inline void fixture_close(struct fixture *fixture)
{
    log_close(fixture->log);
    fixture->log = NULL;
}

static inline bool fixture_same(const struct fixture_record *a, const struct fixture_record *b)
{
    const struct log_record *x = &a->record, *y = &b->record;

    return a->size == b->size && x->group == y->group && x->kind == y->kind && x->type == y->type &&
           x->index == y->index && x->term == y->term && x->aux == y->aux &&
           x->position == y->position;
}

/* Write `count` records given in written[count..] as one group. */
static inline enum err fixture_write(struct fixture *fixture, size_t count)
{
    struct fixture_record *from = fixture->written + fixture->count;
    struct log_record **list = calloc(count, sizeof *list);
    enum err err;

    cr_assert_not_null(list);
    cr_assert_leq(fixture->count + count, FIXTURE_RECORDS_MAX);
    for (size_t i = 0; i < count; i++) {
        list[i] = &from[i].record;
        if (from[i].size > 0)
            list[i]->payload = fixture_payload(list[i], from[i].size);
    }
    err = log_write(fixture->log, list, count);
    for (size_t i = 0; i < count; i++) {
        buf_unref(list[i]->payload);
        list[i]->payload = NULL;
    }
    fixture->count += count; /* Even if it failed: parts may be on disk. */
    free(list);
    return err;
}

static inline enum err fixture_sync(struct fixture *fixture)
{
    enum err err = log_sync(fixture->log);

    if (err == ERR_OK)
        fixture->synced = fixture->count;
    return err;
}

/* The next record of a group of records to come: fixture_write() takes it. */
static inline void fixture_add(struct fixture *fixture, size_t at, uint8_t kind, uint32_t group,
                               uint64_t index, uint64_t term, uint32_t size)
{
    struct fixture_record *record = &fixture->written[fixture->count + at];

    memset(record, 0, sizeof *record);
    record->record.kind = kind;
    record->record.group = group;
    record->record.index = index;
    record->record.term = term;
    record->record.aux = kind == LOG_TERM ? 1 + term % 3 : 0;
    record->record.type = kind == LOG_ENTRY ? 1 : 0;
    record->size = size;
}

static inline void fixture_add_entry(struct fixture *fixture, size_t at, uint32_t group,
                                     uint64_t index, uint32_t size)
{
    fixture_add(fixture, at, LOG_ENTRY, group, index, 1, size);
}

/* A random group of records, at most `most` of them, written. Indexes grow with the place in the
 * list. */
static inline enum err fixture_write_random(struct fixture *fixture, uint64_t *seed, uint64_t most,
                                            uint64_t size_most)
{
    size_t count = 1 + (size_t)seed_below(seed, most);

    for (size_t i = 0; i < count; i++) {
        uint64_t place = fixture->count + i + 1;
        uint32_t group = (uint32_t)seed_below(seed, FIXTURE_GROUPS);
        uint64_t kind = seed_below(seed, 10);

        if (kind == 0)
            fixture_add(fixture, i, LOG_TERM, group, 0, place, 0);
        else if (kind == 1)
            fixture_add(fixture, i, seed_below(seed, 4) == 0 ? LOG_INSTALL : LOG_SNAPSHOT, group,
                        place, place, (uint32_t)seed_below(seed, 200));
        else
            fixture_add_entry(fixture, i, group, place, (uint32_t)seed_below(seed, size_most));
    }
    return fixture_write(fixture, count);
}

/* What was replayed is the first part of what was written, and everything that was synced. */
static inline void fixture_check(const struct fixture *fixture)
{
    cr_assert_geq(fixture->replayed_count, fixture->synced);
    cr_assert_leq(fixture->replayed_count, fixture->count);
    for (size_t i = 0; i < fixture->replayed_count; i++)
        cr_assert(fixture_same(&fixture->replayed[i], &fixture->written[i]), "record %zu", i);
}

/* From here on, what was not replayed was never written. */
static inline void fixture_settle(struct fixture *fixture)
{
    fixture->count = fixture->replayed_count;
    fixture->synced = fixture->replayed_count;
}

#endif
