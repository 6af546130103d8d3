/*
 * Which segments a proof finds clean: every shape of a delete, and what it does about damage.
 */
#include "storage/proof.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment_damage.h"
#include "storage/segment_proof.h"
#include "storage/store_internal.h"
#include "storage/store_proof.h"
#include "tests/support/replica.h"

enum { SEGMENTS = 4 };

static struct replica replica;

static void write(const char *table, const char *host, int64_t time_ns)
{
    struct entries_value value = {table, host, time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void seal(void)
{
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

/* 1: cpu of a and c; 2: cpu of b; 3: mem of a; all of times 0 to 9. 4: cpu of a, 100 to 109. */
static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write("cpu", "a", 0);
    write("cpu", "c", 9);
    seal();
    write("cpu", "b", 0);
    write("cpu", "b", 9);
    seal();
    write("mem", "a", 0);
    write("mem", "a", 9);
    seal();
    write("cpu", "a", 100);
    write("cpu", "a", 109);
    seal();
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(proof, .init = set_up, .fini = tear_down);

struct where {
    const char *table; /* Of "db", or "other/cpu". */
    int64_t first_ns, last_ns;
    const char *tag, *value; /* NULL: all series. */
    bool negate;
};

static void delete (const struct where *where)
{
    struct tombstone tombstone = {.first_ns = where->first_ns, .last_ns = where->last_ns};
    struct bytes bytes = {0};
    enum store_outcome outcome;
    struct buf *entry;
    char key[256];
    const char *slash = strchr(where->table, '/');
    struct slice database = {"db", 2}, table = {where->table, strlen(where->table)};

    if (slash != NULL) {
        database = (struct slice){where->table, (size_t)(slash - where->table)};
        table = (struct slice){slash + 1, strlen(slash + 1)};
    }
    tombstone.table_key = (struct slice){key, key_write_table(database, table, key, sizeof key)};
    if (where->tag != NULL) {
        tombstone.condition_count = 1;
        tombstone.conditions[0].tag = (struct slice){where->tag, strlen(where->tag)};
        tombstone.conditions[0].value = (struct slice){where->value, strlen(where->value)};
        tombstone.conditions[0].negate = where->negate;
    }
    tombstone_put(&tombstone, &bytes);
    entry = seal_order_entry(0, 0,
                             &(struct seal_content){.tombstone = {(char *)bytes.data, bytes.size}});
    bytes_fini(&bytes);
    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
}

static void prove(void)
{
    cr_assert_eq(replica_prove(&replica, store_applied_index(replica.store)), ERR_OK, "%s",
                 err_detail());
}

/* "hc-h": the first segment is hit, the second clean, of the third nothing was asked, ... */
static const char *verdict(void)
{
    static char text[SEGMENTS + 1];

    cr_assert_eq(replica.store->segment_count, SEGMENTS);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct segment_proof proof = segment_proof(replica.store->segments[i]);

        text[i] = '-';
        if (proof.index != 0)
            text[i] = proof.hit ? 'h' : 'c';
    }
    return text;
}

Test(proof, finds_what_each_shape_of_a_delete_hides)
{
    static const struct {
        struct where where;
        const char *found;
    } cases[] = {
        {{"cpu", INT64_MIN, INT64_MAX, NULL, NULL, false}, "hhch"},
        {{"mem", INT64_MIN, INT64_MAX, NULL, NULL, false}, "cchc"},
        {{"other/cpu", INT64_MIN, INT64_MAX, NULL, NULL, false}, "----"},
        {{"disk", INT64_MIN, INT64_MAX, NULL, NULL, false}, "cccc"}, /* No such table. */
        {{"cpu", INT64_MIN, INT64_MAX, "host", "a", false}, "hcch"},
        {{"cpu", INT64_MIN, INT64_MAX, "host", "b", false}, "chcc"},
        {{"cpu", INT64_MIN, INT64_MAX, "host", "", false}, "cccc"}, /* All have one. */
        {{"cpu", INT64_MIN, INT64_MAX, "host", "d", false}, "cccc"},
        {{"cpu", INT64_MIN, INT64_MAX, "host", "a", true}, "hhcc"},
        {{"cpu", INT64_MIN, INT64_MAX, "host", "d", true}, "hhch"},
        {{"cpu", INT64_MIN, INT64_MAX, "rack", "1", false}, "cccc"},
        {{"cpu", INT64_MIN, INT64_MAX, "rack", "1", true}, "hhch"},
        {{"cpu", INT64_MIN, INT64_MAX, "rack", "", false}, "hhch"}, /* None has one. */
        {{"cpu", INT64_MIN, INT64_MAX, "rack", "", true}, "cccc"},
        {{"cpu", 9, 99, NULL, NULL, false}, "hhc-"},
        {{"cpu", 10, 99, NULL, NULL, false}, "----"},
        {{"cpu", 109, 109, NULL, NULL, false}, "---h"},
        {{"cpu", 9, 100, "host", "a", false}, "hcch"},
        {{"cpu", 110, INT64_MAX, "host", "a", false}, "----"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found;

        delete (&cases[i].where);
        prove();
        found = verdict();
        cr_assert_str_eq(found, cases[i].found, "delete %zu", i);
        tear_down();
        set_up();
    }
}

Test(proof, conditions_hold_together)
{
    struct tombstone tombstone = {.first_ns = 0, .last_ns = 200, .condition_count = 2};
    struct bytes bytes = {0};
    enum store_outcome outcome;
    char key[64];

    tombstone.table_key = (struct slice){
        key, key_write_table((struct slice){"db", 2}, (struct slice){"cpu", 3}, key, sizeof key)};
    for (int i = 0; i < 2; i++) {
        tombstone.conditions[i].tag = (struct slice){"host", 4};
        tombstone.conditions[i].value = (struct slice){i == 0 ? "a" : "c", 1};
        tombstone.conditions[i].negate = true;
    }
    tombstone_put(&tombstone, &bytes);
    cr_assert_eq(replica_apply(&replica,
                               seal_order_entry(0, 0,
                                                &(struct seal_content){
                                                    .tombstone = {(char *)bytes.data, bytes.size}}),
                               &outcome),
                 ERR_OK);
    bytes_fini(&bytes);
    prove();
    cr_assert_str_eq(verdict(), "chcc");
}

/* ---- Chunks -------------------------------------------------------------------------------- */

/* A fifth segment: one chunk of a with times from 1000 on, one with times from 100000 on, and one
 * of b with all times between. */
static void write_chunks(void)
{
    enum { ROWS = SEGMENT_CHUNK_ROWS };
    struct entries_value *values = calloc(3 * ROWS, sizeof *values);

    cr_assert_not_null(values);
    for (int i = 0; i < 3 * ROWS; i++) {
        int64_t time_ns = i < ROWS ? 1000 + i : 100000 + i - ROWS;

        if (i >= 2 * ROWS)
            time_ns = 1000 + 99 * (int64_t)(i - 2 * ROWS);
        values[i] = (struct entries_value){
            "cpu", i < 2 * ROWS ? "a" : "b", time_ns, "v", FIELD_INT, 1, NULL, 0};
    }
    replica_write(&replica, &(struct entries_from){0}, values, 3 * ROWS);
    free(values);
    seal();
}

static bool is_hit(int64_t first_ns, int64_t last_ns, const char *host)
{
    bool hit;

    delete (&(struct where){"cpu", first_ns, last_ns, "host", host, false});
    prove();
    hit = segment_proof(replica.store->segments[SEGMENTS]).hit;
    tear_down();
    set_up();
    write_chunks();
    return hit;
}

Test(proof, looks_at_the_times_of_each_chunk)
{
    write_chunks();
    cr_assert_not(is_hit(3000, 99999, "a"), "between its two chunks");
    cr_assert(is_hit(3000, 100000, "a"));
    cr_assert(is_hit(2023, 99999, "a"));
    cr_assert_not(is_hit(2024, 99999, "a"));
    cr_assert(is_hit(3000, 99999, "b"));
    cr_assert_not(is_hit(1000, 200000, "c"));
}

/* ---- What comes between -------------------------------------------------------------------- */

Test(proof, ends_early_and_proves_nothing_when_the_node_stops)
{
    atomic_bool cancel = true;
    struct proof_job *job;

    delete (&(struct where){"cpu", 0, 200, "host", "d", false});
    cr_assert_eq(store_proof_begin(replica.store, store_applied_index(replica.store), &job),
                 ERR_OK);
    cr_assert_eq(job->count, SEGMENTS);
    job->cancel = &cancel;
    cr_assert_eq(proof_run(job), ERR_CANCELED);
    store_proof_done(replica.store, job, true);
    cr_assert_str_eq(verdict(), "----");
}

Test(proof, finds_nothing_about_a_damaged_segment_and_blames_it)
{
    struct segment *damaged = replica.store->segments[1];
    uint64_t offset = segment_group(damaged, 0)->index_offset + 20;
    struct proof_job *job;

    mem_disk_flip(replica.disk, "data/00000002.mrs", offset, 1);
    delete (&(struct where){"cpu", 0, 200, "host", "d", false});
    cr_assert_eq(store_proof_begin(replica.store, store_applied_index(replica.store), &job),
                 ERR_OK);
    cr_assert_eq(proof_run(job), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "00000002.mrs"), "%s", err_detail());
    store_proof_done(replica.store, job, true);
    cr_assert_str_eq(verdict(), "c---", "what was asked before counts");
    cr_assert(segment_is_damaged(damaged));
    cr_assert_eq(store_proof_begin(replica.store, store_applied_index(replica.store), &job),
                 ERR_OK);
    cr_assert_null(job, "not at once");
    replica.store->compact_retry_ns = 0; /* Some seconds later. */
    prove();
    cr_assert_str_eq(verdict(), "c-cc");
}
