/*
 * One damaged file, tried once: whom it is asked of, what is taken for it, and what is noted when
 * nobody has it. The other nodes are played; the list and its thread are not here.
 */
#include "node/scrub_internal.h"
#include "storage/catalog_run.h"
#include "storage/manifest.h"
#include "storage/segment_verify.h"
#include "tests/support/replica.h"
#include "tests/unit/node/fetch_fake.h"

enum { NODES = 3, OWN = 1, ASKED_MAX = 64 };

/* ---- The other nodes ----------------------------------------------------------------------- */

static struct other {
    struct mem_disk *disk; /* Its files; NULL: none. */
    struct segment_info *facts;
    enum err says; /* To whatever it is asked. */
    const char *text;
    bool stops_us;               /* This node stops, while that one thinks. */
} others[OPTIONS_NODES_MAX + 1]; /* By server. */
static unsigned asks, facts_asks;
static uint64_t servers[ASKED_MAX]; /* In the order in which they were asked. */
static struct scrub scrub;

static enum err play_facts(const struct other *other, struct piece_request *request)
{
    struct bytes bytes = {0};

    facts_asks++;
    if (other->facts == NULL)
        return err_set(ERR_NOT_FOUND, "no such segment");
    manifest_put_segment(other->facts, &bytes);
    put_bytes(request, bytes.data, (uint32_t)bytes.size, (uint32_t)bytes.size);
    bytes_fini(&bytes);
    return ERR_OK;
}

static enum err play(struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    const struct other *other = &others[request->server];

    cr_assert_lt(asks, ASKED_MAX);
    servers[asks++] = request->server;
    if (other->stops_us) {
        atomic_store(&scrub.stopping, true);
        return err_set(ERR_IO, "nobody hears this");
    }
    if (other->says != ERR_OK)
        return err_set(other->says, "%s", other->text);
    if (piece->kind == FETCH_KIND_FACTS)
        return play_facts(other, request);
    return put_file(request, other->disk, 0);
}

/* ---- The scrub ----------------------------------------------------------------------------- */

static unsigned removed;

void scrub_remove(struct scrub *of, struct scrub_item *item)
{
    cr_assert_eq(of, &scrub);
    cr_assert_not_null(item);
    removed++;
}

static struct replica replica;
static struct store_file *files; /* A run of the catalog, then two segments. */
static uint32_t file_count;
static struct mem_disk *whole; /* What the others have. */
static struct scrub_shard shards[1];
static struct scrub_item item;

static void write_rows(const char *host, int64_t from)
{
    struct entries_value values[8];

    for (size_t i = 0; i < 8; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = host,
                                           .field = "v",
                                           .type = FIELD_INT,
                                           .bits = i,
                                           .time_ns = from + (int64_t)i};
    replica_write(&replica, &(struct entries_from){0}, values, 8);
}

static void set_nodes(uint32_t count)
{
    node.options.cluster.node_count = count;
    for (uint32_t i = 0; i < count; i++)
        node.options.cluster.nodes[i].id = i + 1;
}

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    write_rows("a", 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    write_rows("b", 100);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    cr_assert_eq(store_files(replica.store, &files, &file_count), ERR_OK);
    cr_assert_eq(file_count, 3);
    whole = mem_disk_clone(replica.disk);
    node.disk = scrub.disk = mem_disk_table(replica.disk);
    node.server = OWN;
    node.shards = 1;
    set_nodes(NODES);
    scrub.node = &node;
    scrub.shards = shards;
    shards[0].store = replica.store;
    (void)pthread_mutex_init(&scrub.lock, NULL);
    fetcher_init(&scrub.fetcher, &node);
    start_worker(&scrub.fetcher);
}

static void drop(void)
{
    segment_unref(item.segment);
    catalog_run_unref(item.run);
    item = (struct scrub_item){0};
}

static void tear_down(void)
{
    drop();
    stop_worker();
    cr_assert_eq(atomic_load(&freed_count), atomic_load(&asked_count));
    fetcher_fini(&scrub.fetcher);
    (void)pthread_mutex_destroy(&scrub.lock);
    free(files);
    replica_fini(&replica);
    mem_disk_free(whole);
}

TestSuite(scrub_mend, .init = set_up, .fini = tear_down, .timeout = 60);

static void path_of(const struct store_file *file, char path[64])
{
    char name[STORE_FILE_NAME_SIZE];

    store_file_name(file, name);
    (void)snprintf(path, 64, "data/%s", name);
}

static void damage(const struct store_file *file)
{
    char path[64];

    path_of(file, path);
    mem_disk_flip(replica.disk, path, file->size / 2, 16);
}

static bool is_good(const struct store_file *file)
{
    char path[64];

    path_of(file, path);
    return store_verify_file(mem_disk_table(replica.disk), path, 0, file) == ERR_OK;
}

static void mend(const struct store_file *file)
{
    item.file = *file;
    asks = 0;
    scrub_mend(&scrub, &item);
}

/* ---- Mending ------------------------------------------------------------------------------- */

Test(scrub_mend, hands_over_each_kind_of_file_open_and_good)
{
    others[2].disk = whole;
    for (uint32_t i = 0; i < file_count; i++) {
        drop();
        damage(&files[i]);
        mend(&files[i]);
        cr_assert(item.mended, "%s", item.state);
        cr_assert(is_good(&files[i]));
        cr_assert_eq(item.segment != NULL, files[i].kind == STORE_FILE_SEGMENT);
        cr_assert_eq(item.run != NULL, files[i].kind == STORE_FILE_CATALOG);
        cr_assert_eq(scrub.status.mended, i + 1);
        cr_assert_eq(item.output, 0);
        if (item.segment != NULL)
            cr_assert_eq(segment_verify(item.segment), ERR_OK);
    }
    cr_assert_eq(removed, 0);
}

Test(scrub_mend, asks_nobody_for_what_reads_well_again)
{
    mend(&files[1]);
    cr_assert(item.mended);
    cr_assert_not_null(item.segment);
    cr_assert_eq(asks, 0);
}

Test(scrub_mend, takes_off_the_list_what_counts_no_more)
{
    struct store_file other = files[1];

    other.hash++;
    mend(&other);
    cr_assert_eq(removed, 1);
    cr_assert_eq(asks, 0);
    cr_assert_not(item.mended);
}

/* Its shard begins with it: nobody takes the file itself. */
Test(scrub_mend, what_a_waiting_shard_lacked_is_off_the_list_at_once)
{
    others[2].disk = whole;
    shards[0].waiting = true;
    damage(&files[0]);
    mend(&files[0]);
    cr_assert_eq(removed, 1);
    cr_assert_eq(scrub.status.mended, 1);
    cr_assert(is_good(&files[0]));
}

/* ---- Nobody has it ------------------------------------------------------------------------- */

Test(scrub_mend, asks_again_later_and_later_and_another_one_first)
{
    static const uint64_t waits_ms[] = {200, 400, 800, 1600, 3200, 5000, 5000, 5000};

    damage(&files[0]);
    for (uint32_t tries = 0; tries < sizeof waits_ms / sizeof *waits_ms; tries++) {
        uint64_t at = tries % NODES; /* In the list of nodes, of which this one is the first. */

        atomic_fetch_add(&now_ms, 10000);
        mend(&files[0]);
        cr_assert_not(item.mended);
        cr_assert_eq(item.tries, tries + 1);
        cr_assert_eq(item.retry_ms - atomic_load(&now_ms), waits_ms[tries]);
        cr_assert_eq(asks, NODES - 1);
        cr_assert_eq(servers[0], at == 2 ? 3 : 2);
        cr_assert_eq(servers[1], at == 2 ? 2 : 3);
    }
    item.tries = 64; /* For hours. */
    mend(&files[0]);
    cr_assert_eq(item.retry_ms - atomic_load(&now_ms), 5000);
}

Test(scrub_mend, says_once_a_minute_what_it_lacks)
{
    uint64_t first_ms = atomic_load(&now_ms);

    damage(&files[0]);
    mend(&files[0]);
    cr_assert_eq(item.told_ms, first_ms);
    atomic_store(&now_ms, first_ms + 59999);
    mend(&files[0]);
    cr_assert_eq(item.told_ms, first_ms);
    atomic_store(&now_ms, first_ms + 60000);
    mend(&files[0]);
    cr_assert_eq(item.told_ms, first_ms + 60000);
}

Test(scrub_mend, notes_what_each_node_has_said)
{
    others[2] = (struct other){.says = ERR_UNAVAILABLE, .text = "is not connected"};
    others[3] = (struct other){.says = ERR_CORRUPT, .text = "is damaged here too"};
    damage(&files[1]);
    mend(&files[1]);
    cr_assert_str_eq(item.state, "node 2: is not connected; node 3: is damaged here too");
    drop();
    set_nodes(1);
    mend(&files[1]);
    cr_assert_str_eq(item.state, "there is no other node");
    cr_assert_eq(item.tries, 1);
}

Test(scrub_mend, what_many_nodes_say_at_length_is_cut)
{
    char text[ERR_DETAIL_MAX / 2];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    set_nodes(OPTIONS_NODES_MAX);
    for (uint32_t i = 2; i <= OPTIONS_NODES_MAX; i++)
        others[i] = (struct other){.says = ERR_CORRUPT, .text = text};
    damage(&files[1]);
    memset(item.state, '#', sizeof item.state);
    mend(&files[1]);
    cr_assert_eq(asks, OPTIONS_NODES_MAX - 1);
    cr_assert_eq(strlen(item.state), ERR_DETAIL_MAX - 1);
    cr_assert_eq(strncmp(item.state, "node 2: xx", 10), 0);
}

/* What another node has does not make the disk here any larger. */
Test(scrub_mend, a_full_disk_is_said_and_no_other_node_is_asked)
{
    others[2].disk = others[3].disk = whole;
    damage(&files[1]);
    mem_disk_limit(replica.disk, 1);
    mend(&files[1]);
    cr_assert_eq(asks, 1);
    cr_assert_not(item.mended);
    cr_assert_eq(item.tries, 1);
    cr_assert_eq(strncmp(item.state, "node 2: ", 8), 0);
    mem_disk_limit(replica.disk, 0);
    mend(&files[1]);
    cr_assert(item.mended);
    cr_assert(is_good(&files[1]));
}

Test(scrub_mend, bad_bytes_are_not_taken_and_the_next_node_is_asked)
{
    struct mem_disk *bad = mem_disk_clone(replica.disk);
    char path[64];

    path_of(&files[1], path);
    mem_disk_flip(bad, path, 70, 1);
    others[2].disk = bad;
    others[3].disk = whole;
    damage(&files[1]);
    mend(&files[1]);
    cr_assert(item.mended);
    cr_assert_eq(servers[asks - 1], 3);
    cr_assert(is_good(&files[1]));
    mem_disk_free(bad);
}

/* ---- Stopping ------------------------------------------------------------------------------ */

static void expect_untouched(void)
{
    cr_assert_not(item.mended);
    cr_assert_null(item.segment);
    cr_assert(item.tries == 0 && item.retry_ms == 0 && item.told_ms == 0);
    cr_assert_eq(removed, 0);
}

Test(scrub_mend, leaves_it_as_it_is_when_the_node_stops)
{
    damage(&files[1]);
    mem_disk_fail(replica.disk, MEM_DISK_READ, 1, ERR_CANCELED, false); /* As at its pace. */
    mend(&files[1]);
    expect_untouched();
    cr_assert_eq(asks, 0);
    others[2].stops_us = true;
    others[3].disk = whole;
    mend(&files[1]);
    expect_untouched();
    cr_assert_eq(asks, 1);
    atomic_store(&scrub.stopping, false);
    fetcher_stop(&scrub.fetcher);
    mend(&files[1]);
    expect_untouched();
    cr_assert_eq(atomic_exchange(&freed_count, asks), 2); /* One was never sent. */
    atomic_store(&freed_count, atomic_load(&asked_count));
}

/* ---- What it became part of ----------------------------------------------------------------- */

static struct segment_info made; /* What the others made of both segments. */

/* The others have merged, and have no inputs any more; here that is ordered. */
static void make_behind(bool all_deleted)
{
    struct seal_compaction compaction = {.count = 2, .inputs = {1, 2}};
    struct mem_disk *behind;
    enum store_outcome outcome;

    if (all_deleted)
        cr_assert_eq(replica_apply(&replica, entries_delete(0, 0, "cpu", NULL, 0, 1000), &outcome),
                     ERR_OK);
    cr_assert_eq(replica_apply(&replica, entries_compact(0, 0, &compaction, 1), &outcome), ERR_OK);
    behind = mem_disk_clone(replica.disk);
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(store_facts(replica.store, 3, &made), ERR_OK);
    replica_close(&replica);
    mem_disk_free(whole);
    whole = replica.disk;
    replica.disk = behind;
    node.disk = scrub.disk = replica.options.disk = mem_disk_table(behind);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    shards[0].store = replica.store;
    damage(&files[1]);
    for (uint32_t i = 2; i <= NODES; i++)
        others[i] = (struct other){.disk = whole, .facts = &made};
}

Test(scrub_mend, takes_what_others_have_made_of_it)
{
    make_behind(false);
    mend(&files[1]);
    cr_assert(item.mended, "%s", item.state);
    cr_assert_eq(item.output, 3);
    cr_assert_eq(segment_info(item.segment)->number, 3);
    cr_assert_eq(segment_verify(item.segment), ERR_OK);
}

Test(scrub_mend, takes_word_that_nothing_was_left_of_it)
{
    make_behind(true);
    cr_assert_eq(made.rows, 0);
    mend(&files[1]);
    cr_assert(item.mended, "%s", item.state);
    cr_assert_eq(item.output, 3);
    cr_assert_null(item.segment);
}

Test(scrub_mend, takes_no_word_about_another_segment)
{
    make_behind(true);
    made.number = 4;
    mend(&files[1]);
    cr_assert_not(item.mended);
    cr_assert_eq(item.output, 0);
    cr_assert_not_null(strstr(item.state, "facts of segment 4, not of 3"));
    cr_assert_eq(facts_asks, 2);
}

Test(scrub_mend, what_comes_is_what_the_word_was_about)
{
    make_behind(false);
    made.hash++;
    mend(&files[1]);
    cr_assert_not(item.mended);
    cr_assert_eq(item.output, 0);
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000003.mrs"));
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000003.mrs.mend.tmp"));
}

/* The run of the catalog has the number of a segment that was merged. */
Test(scrub_mend, asks_no_word_about_the_catalog_or_of_who_fails_otherwise)
{
    make_behind(false);
    cr_assert_eq(files[0].number, 2);
    others[2].disk = others[3].disk = NULL;
    damage(&files[0]);
    mend(&files[0]);
    cr_assert_eq(facts_asks, 0);
    cr_assert_eq(asks, 2);
    drop();
    others[2].says = others[3].says = ERR_IO;
    others[2].text = others[3].text = "told to";
    mend(&files[1]);
    cr_assert_eq(facts_asks, 0);
    cr_assert_eq(asks, 2);
}

/* ---- Errors here --------------------------------------------------------------------------- */

static void expect_mended_in_the_end(const struct store_file *file, bool output)
{
    uint64_t calls = mem_disk_calls(replica.disk, MEM_DISK_ANY);

    mend(file);
    cr_assert(item.mended, "%s", item.state);
    calls = mem_disk_calls(replica.disk, MEM_DISK_ANY) - calls;
    cr_assert_gt(calls, 5);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        drop();
        if (!output && is_good(file))
            damage(file);
        mem_disk_fail(replica.disk, MEM_DISK_ANY, nth, ERR_IO, false);
        mend(file);
        mem_disk_fail(replica.disk, MEM_DISK_ANY, 0, ERR_OK, false);
        if (!item.mended) {
            cr_assert_null(item.segment);
            cr_assert_neq(item.state[0], '\0', "call %u", (unsigned)nth);
            mend(file);
        }
        cr_assert(item.mended, "behind call %u: %s", (unsigned)nth, item.state);
        cr_assert_eq(item.output, output ? 3 : 0);
        cr_assert_eq(segment_verify(item.segment), ERR_OK);
    }
}

Test(scrub_mend, an_error_at_any_call_of_the_disk_is_noted_and_mended_the_next_time)
{
    others[2].disk = whole;
    damage(&files[1]);
    expect_mended_in_the_end(&files[1], false);
}

Test(scrub_mend, so_is_one_while_what_it_became_part_of_comes)
{
    make_behind(false);
    expect_mended_in_the_end(&files[1], true);
}
