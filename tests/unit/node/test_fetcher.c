/*
 * Pieces from other nodes: whole and right, or an error and nothing left behind. The other nodes
 * are played.
 */
#include "storage/store_damage.h"
#include "tests/support/replica.h"
#include "tests/unit/node/fetch_fake.h"

enum { SHARD = 0, SERVER = 7, PIECE = FETCH_PIECE_MAX };

static struct fetcher fetcher;

/* ---- The other node ------------------------------------------------------------------------ */

static const uint8_t *source; /* What it has. */
static int more;              /* Bytes that an answer has more than it should. */
static bool says_nothing, keeps;
static enum err says;
static unsigned fails_at; /* With `says`: the how manieth question does; 0: all. */
static struct piece_request *kept;
static struct {
    uint64_t server;
    uint32_t timeout_ms;
    struct fetch_piece piece;
} seen[64];

static enum err play(struct piece_request *request)
{
    unsigned at = atomic_load(&asked_count) - 1;
    const struct fetch_piece *piece = &request->piece;

    cr_assert_lt(at, sizeof seen / sizeof *seen);
    seen[at].server = request->server;
    seen[at].timeout_ms = request->timeout_ms;
    seen[at].piece = *piece;
    if (keeps) {
        kept = request;
        return PLAY_LATER;
    }
    if (says != ERR_OK && (fails_at == 0 || fails_at == at + 1))
        return err_set(says, "told to");
    if (!says_nothing)
        put_bytes(request, source + piece->offset, piece->length,
                  (uint32_t)((int)piece->length + more));
    return ERR_OK;
}

static void set_up(void)
{
    fetcher_init(&fetcher, &node);
    start_worker(&fetcher);
}

/* Whatever came, every request is freed. */
static void tear_down(void)
{
    stop_worker();
    fetcher_fini(&fetcher);
    cr_assert_eq(atomic_load(&freed_count), atomic_load(&asked_count));
}

TestSuite(fetcher, .init = set_up, .fini = tear_down, .timeout = 60);

static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    return bytes;
}

static struct fetch_piece piece_of(uint64_t size)
{
    return (struct fetch_piece){.shard = 3, .kind = FETCH_KIND_SEGMENT, .number = 5, .size = size};
}

/* ---- One piece ----------------------------------------------------------------------------- */

static enum err ask(uint64_t offset, uint32_t tries, struct buf **ret_bytes)
{
    struct fetch_piece piece = piece_of(200);

    piece.offset = offset;
    piece.length = 100;
    return fetcher_piece(&fetcher, SERVER, &piece, tries, ret_bytes);
}

Test(fetcher, a_piece_is_what_was_asked_for_of_whom_it_was_asked)
{
    uint8_t *bytes = pattern(200);
    struct buf *got = NULL;

    source = bytes;
    cr_assert_eq(ask(60, 0, &got), ERR_OK, "%s", err_detail());
    cr_assert_eq(got->size, 100);
    cr_assert_eq(memcmp(got->bytes, bytes + 60, 100), 0);
    cr_assert_eq(atomic_load(&got->refs), 1);
    cr_assert_eq(seen[0].server, SERVER);
    cr_assert_eq(seen[0].piece.offset, 60);
    cr_assert_eq(seen[0].piece.number, 5);
    buf_unref(got);
    free(bytes);
}

Test(fetcher, an_answer_of_another_size_is_refused_with_both)
{
    uint8_t *bytes = pattern(200);
    struct buf *got = NULL;

    source = bytes;
    more = -1;
    cr_assert_eq(ask(0, 0, &got), ERR_INVALID);
    cr_assert_str_eq(err_detail(), "99 bytes for 100 that were asked for");
    more = 1;
    cr_assert_eq(ask(0, 0, &got), ERR_INVALID);
    cr_assert_str_eq(err_detail(), "101 bytes for 100 that were asked for");
    more = -100;
    cr_assert_eq(ask(0, 0, &got), ERR_INVALID);
    says_nothing = true;
    cr_assert_eq(ask(0, 0, &got), ERR_INVALID);
    cr_assert_str_eq(err_detail(), "0 bytes for 100 that were asked for");
    cr_assert_null(got);
    free(bytes);
}

Test(fetcher, what_the_other_node_says_is_passed_on)
{
    static const enum err codes[] = {ERR_NOT_FOUND, ERR_CORRUPT, ERR_TIMEOUT, ERR_UNAVAILABLE};
    struct buf *got = NULL;

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        says = codes[i];
        cr_assert_eq(ask(0, 0, &got), codes[i]);
        cr_assert_str_eq(err_detail(), "told to");
    }
    cr_assert_null(got);
}

/* They would have the asker give up: as if this node were stopping, or had no room. */
Test(fetcher, what_another_node_says_of_itself_is_not_taken_for_this_one)
{
    static const enum err codes[] = {ERR_CANCELED, ERR_DISK_FULL, ERR_END};
    struct buf *got = NULL;

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        says = codes[i];
        cr_assert_eq(ask(0, 0, &got), ERR_UNAVAILABLE, "%s", err_name(codes[i]));
        cr_assert_not_null(strstr(err_detail(), "told to"));
        cr_assert_not_null(strstr(err_detail(), err_name(codes[i])));
    }
}

Test(fetcher, a_node_that_was_late_is_given_more_time)
{
    static const uint32_t times_ms[] = {1000, 2000, 4000, 8000, 16000, 16000, 16000};
    uint8_t *bytes = pattern(200);
    struct buf *got;

    source = bytes;
    for (uint32_t tries = 0; tries < sizeof times_ms / sizeof *times_ms; tries++) {
        got = NULL;
        cr_assert_eq(ask(0, tries == 6 ? UINT32_MAX : tries, &got), ERR_OK);
        cr_assert_eq(seen[tries].timeout_ms, times_ms[tries]);
        buf_unref(got);
    }
    got = NULL; /* It is there: what comes late is on its way. */
    cr_assert_eq(ask(1, 0, &got), ERR_OK);
    cr_assert_eq(seen[7].timeout_ms, 16000);
    buf_unref(got);
    free(bytes);
}

/* ---- Stopping ------------------------------------------------------------------------------ */

static struct buf *never;

static void wait_for_piece(void *arg)
{
    *(enum err *)arg = ask(0, 0, &never);
}

Test(fetcher, who_waits_for_an_answer_goes_on_at_the_stop_and_the_answer_is_dropped)
{
    struct thread asker;
    enum err err = ERR_OK;
    uint8_t *bytes = pattern(200);

    keeps = true;
    cr_assert_eq(thread_start(&asker, "asker", 0, wait_for_piece, &err), ERR_OK);
    while (atomic_load(&asked_count) == 0)
        (void)sched_yield();
    fetcher_stop(&fetcher);
    thread_join(&asker);
    cr_assert_eq(err, ERR_CANCELED);
    cr_assert_eq(atomic_load(&freed_count), 0, "it is still under way");
    put_bytes(kept, bytes, 100, 100);
    answer(kept, ERR_OK);
    cr_assert_eq(atomic_load(&freed_count), 1);
    cr_assert_null(never);
    free(bytes);
}

Test(fetcher, nothing_is_asked_after_the_stop)
{
    struct buf *got = NULL;

    fetcher_stop(&fetcher);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask(0, 0, &got), ERR_CANCELED);
    cr_assert_null(got);
    cr_assert_eq(atomic_load(&asked_count), 0);
    cr_assert_eq(atomic_exchange(&freed_count, 0), 3);
}

/* ---- All pieces ---------------------------------------------------------------------------- */

static void expect_read(uint64_t size, unsigned pieces)
{
    uint8_t *bytes = pattern(size + 1), *got = malloc(size + 1);
    struct fetch_piece whole = piece_of(size);
    unsigned before = atomic_load(&asked_count);
    uint64_t at = 0;

    source = bytes;
    whole.offset = 77; /* Not looked at. */
    whole.length = 78;
    got[size] = 0xee;
    cr_assert_eq(fetcher_read(&fetcher, SERVER, &whole, 0, got), ERR_OK, "%s", err_detail());
    cr_assert_eq(memcmp(got, bytes, size), 0);
    cr_assert_eq(got[size], 0xee);
    cr_assert_eq(atomic_load(&asked_count) - before, pieces);
    for (unsigned i = before; i < before + pieces; i++) {
        cr_assert_eq(seen[i].piece.offset, at);
        cr_assert_eq(seen[i].piece.size, size);
        cr_assert_leq(seen[i].piece.length, PIECE);
        at += seen[i].piece.length;
    }
    cr_assert_eq(at, size);
    free(bytes);
    free(got);
}

Test(fetcher, reads_all_of_it_in_pieces_that_may_be_asked_for)
{
    expect_read(0, 0);
    expect_read(1, 1);
    expect_read(PIECE, 1);
    expect_read(PIECE + 1, 2);
    expect_read(3 * PIECE - 1, 3);
}

Test(fetcher, reads_on_for_no_piece_that_fails)
{
    uint8_t *bytes = pattern(4 * PIECE), *got = malloc(4 * PIECE);
    struct fetch_piece whole = piece_of(4 * PIECE);

    source = bytes;
    says = ERR_NOT_FOUND;
    fails_at = 2;
    cr_assert_eq(fetcher_read(&fetcher, SERVER, &whole, 0, got), ERR_NOT_FOUND);
    cr_assert_eq(atomic_load(&asked_count), 2);
    free(bytes);
    free(got);
}

/* ---- A file -------------------------------------------------------------------------------- */

static struct replica replica;
static struct mem_disk *here;
static struct store_file *files;
static uint32_t file_count;
static uint8_t *file_bytes;
#define TO "data/file.mend.tmp"

/* Of a segment and a run of the catalog. */
static void make_files(void)
{
    struct entries_value values[64];

    set_up();
    for (size_t i = 0; i < 64; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = "a",
                                           .field = "v",
                                           .type = FIELD_FLOAT,
                                           .bits = i * 77777777777,
                                           .time_ns = (int64_t)i};
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    replica_write(&replica, &(struct entries_from){0}, values, 64);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    cr_assert_eq(store_files(replica.store, &files, &file_count), ERR_OK);
    cr_assert_eq(file_count, 2);
    here = mem_disk_new();
    node.disk = mem_disk_table(here);
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data"), ERR_OK);
    cr_assert_eq(node.disk->sync_dir(node.disk->ctx, "."), ERR_OK);
}

static void free_files(void)
{
    free(files);
    free(file_bytes);
    cr_assert_eq(mem_disk_open_files(here), 0);
    mem_disk_free(here);
    replica_fini(&replica);
    tear_down();
}

TestSuite(fetcher_file, .init = make_files, .fini = free_files, .timeout = 60);

static void offer(const struct store_file *file)
{
    char name[STORE_FILE_NAME_SIZE], path[64];
    size_t size;

    store_file_name(file, name);
    (void)snprintf(path, sizeof path, "data/%s", name);
    free(file_bytes);
    file_bytes = mem_disk_get(replica.disk, path, &size);
    cr_assert_not_null(file_bytes);
    cr_assert_eq(size, file->size);
    source = file_bytes;
}

static enum err fetch(const struct store_file *file)
{
    return fetcher_file(&fetcher, SERVER, SHARD, file, 0, node.disk, TO);
}

Test(fetcher_file, is_here_as_it_is_there_and_stays_after_a_crash)
{
    for (uint32_t i = 0; i < file_count; i++) {
        uint8_t *got;
        size_t size;

        offer(&files[i]);
        cr_assert_eq(fetch(&files[i]), ERR_OK, "%s", err_detail());
        cr_assert_eq(node.disk->sync_dir(node.disk->ctx, "data"), ERR_OK); /* The caller's. */
        mem_disk_crash(here, MEM_DISK_POWER, 1);
        got = mem_disk_get(here, TO, &size);
        cr_assert_not_null(got);
        cr_assert_eq(size, files[i].size);
        cr_assert_eq(memcmp(got, file_bytes, size), 0);
        free(got);
    }
}

Test(fetcher_file, every_wrong_byte_is_noticed_and_nothing_stays)
{
    for (uint32_t i = 0; i < file_count; i++) {
        offer(&files[i]);
        for (uint64_t at = 0; at < files[i].size; at += 1 + files[i].size / 13) {
            atomic_store(&asked_count, 0);
            atomic_store(&freed_count, 0);
            file_bytes[at] ^= 0x10;
            cr_assert_neq(fetch(&files[i]), ERR_OK, "byte %u of file %u", (unsigned)at, i);
            cr_assert_not(mem_disk_exists(here, TO));
            file_bytes[at] ^= 0x10;
        }
    }
}

/* Each byte of it is right; it is another one. */
Test(fetcher_file, another_file_is_not_taken_for_it)
{
    struct store_file other = files[1];

    offer(&files[1]);
    other.hash++;
    other.segment.hash++;
    cr_assert_eq(fetch(&other), ERR_CORRUPT);
    other = files[1];
    other.number++;
    other.segment.number++;
    cr_assert_eq(fetch(&other), ERR_CORRUPT);
    cr_assert_eq(fetcher_file(&fetcher, SERVER, SHARD + 1, &files[1], 0, node.disk, TO),
                 ERR_CORRUPT);
    cr_assert_not(mem_disk_exists(here, TO));
}

Test(fetcher_file, an_error_at_any_call_of_the_disk_leaves_nothing)
{
    uint64_t before, calls;

    offer(&files[1]);
    before = mem_disk_calls(here, MEM_DISK_ANY);
    cr_assert_eq(fetch(&files[1]), ERR_OK);
    calls = mem_disk_calls(here, MEM_DISK_ANY) - before;
    cr_assert_gt(calls, 3);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        enum err code = nth % 2 ? ERR_DISK_FULL : ERR_IO, err;

        atomic_store(&asked_count, 0);
        atomic_store(&freed_count, 0);
        cr_assert(!mem_disk_exists(here, TO) || node.disk->remove(node.disk->ctx, TO) == ERR_OK);
        mem_disk_fail(here, MEM_DISK_ANY, nth, code, false);
        err = fetch(&files[1]);
        cr_assert_neq(err, ERR_OK, "call %u", (unsigned)nth);
        cr_assert_not(mem_disk_exists(here, TO), "call %u", (unsigned)nth);
        cr_assert_eq(mem_disk_open_files(here), 0);
    }
}

Test(fetcher_file, a_full_disk_is_said_and_gets_its_room_back)
{
    offer(&files[1]);
    mem_disk_limit(here, files[1].size - 1);
    cr_assert_eq(fetch(&files[1]), ERR_DISK_FULL);
    cr_assert_not(mem_disk_exists(here, TO));
    mem_disk_limit(here, files[1].size);
    cr_assert_eq(fetch(&files[1]), ERR_OK, "%s", err_detail());
}

Test(fetcher_file, what_stood_there_is_replaced_or_gone)
{
    uint8_t old[100000] = {1};

    mem_disk_put(here, TO, old, sizeof old);
    offer(&files[1]);
    cr_assert_eq(fetch(&files[1]), ERR_OK, "%s", err_detail());
    says = ERR_UNAVAILABLE;
    cr_assert_eq(fetch(&files[1]), ERR_UNAVAILABLE);
    cr_assert_not(mem_disk_exists(here, TO));
}
