/*
 * Raft messages as bytes: what goes in comes out, and nothing that a peer may say gets further.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/configuration.h"
#include "replication/group_message.h"
#include "replication/raft_wire.h"
#include "storage/block/entry.h"
#include "tests/support/seed.h"

enum { GROUP = 42, TERM_AT = 8, BODY_AT = 16 };

static struct buf *bytes_of(const void *bytes, uint32_t size)
{
    struct buf *buf = buf_new(size);

    cr_assert_not_null(buf);
    memcpy(buf->bytes, bytes, size);
    buf->size = size;
    return buf;
}

static struct group_message *three_entries(void)
{
    struct group_message *message = group_message_new(GROUP_APPEND, 9, 3);
    const uint64_t voters[] = {1, 2, 3};
    static const uint8_t zeros[8] = {0};

    message->append.prev_index = 100;
    message->append.prev_term = 7;
    message->append.commit = 99;
    message->append.all_have = 90;
    message->append.entries[0] = (struct group_entry){
        .term = 7, .type = GROUP_COMMAND, .size = 5, .payload = bytes_of("hello", 5)};
    message->append.entries[1] = (struct group_entry){
        .term = 8, .type = GROUP_BARRIER, .size = 8, .payload = bytes_of(zeros, 8)};
    message->append.entries[2] = (struct group_entry){.term = 9, .type = GROUP_CHANGE};
    cr_assert_eq(configuration_encode(voters, 3, &message->append.entries[2].payload), ERR_OK);
    message->append.entries[2].size = message->append.entries[2].payload->size;
    return message;
}

static void put(struct group_message *message, struct bytes *out)
{
    size_t before = out->size;

    raft_wire_put(message, GROUP, out);
    cr_assert_not(out->failed);
    cr_assert_eq(out->size - before, raft_wire_size(message));
    group_message_free(message);
}

/* In memory of exactly its size, so that a sanitizer sees any overrun. */
static enum err get(const uint8_t *bytes, size_t size, struct group_message **ret_message)
{
    uint8_t *exact = calloc(1, size + (size == 0));
    struct reader reader = reader_on(exact, size);
    struct group_message *message = NULL;
    uint32_t group;
    enum err err;

    memcpy(exact, bytes, size);
    err = raft_wire_get(&reader, &group, &message);
    if (err == ERR_OK && ret_message != NULL)
        *ret_message = message;
    else
        group_message_free(message);
    free(exact);
    return err;
}

static enum err get_after_free(struct bytes *bytes)
{
    enum err err = get(bytes->data, bytes->size, NULL);

    bytes_fini(bytes);
    return err;
}

Test(raft_wire, gives_back_entries_and_their_order)
{
    struct bytes bytes = {0};
    struct group_message *message;

    put(three_entries(), &bytes);
    cr_assert_eq(get(bytes.data, bytes.size, &message), ERR_OK, "%s", err_detail());
    cr_assert_eq(message->kind, GROUP_APPEND);
    cr_assert_eq(message->term, 9);
    cr_assert_eq(message->append.prev_index, 100);
    cr_assert_eq(message->append.prev_term, 7);
    cr_assert_eq(message->append.commit, 99);
    cr_assert_eq(message->append.all_have, 90);
    cr_assert_eq(message->append.count, 3);
    cr_assert_eq(message->append.entries[0].type, GROUP_COMMAND);
    cr_assert_eq(memcmp(message->append.entries[0].payload->bytes, "hello", 5), 0);
    cr_assert_eq(message->append.entries[1].term, 8);
    cr_assert_eq(message->append.entries[2].type, GROUP_CHANGE);
    group_message_free(message);
    bytes_fini(&bytes);
}

Test(raft_wire, gives_back_every_kind_from_one_frame)
{
    static const struct group_message messages[] = {
        {.kind = GROUP_APPEND_RESULT, .term = 3, .append_result = {.rejected = 5, .last_index = 4}},
        {.kind = GROUP_APPEND_RESULT, .term = 3, .append_result = {.last_index = 4, .mute = true}},
        {.kind = GROUP_VOTE,
         .term = 4,
         .vote = {.last_index = 8, .last_term = 3, .pre_vote = true, .disrupt_leader = true}},
        {.kind = GROUP_VOTE_RESULT, .term = 4, .vote_result = {.granted = true, .pre_vote = true}},
        {.kind = GROUP_TIMEOUT_NOW, .term = 5, .timeout_now = {.last_index = 9, .last_term = 5}},
        {.kind = GROUP_PING, .term = 5, .round = UINT64_MAX},
        {.kind = GROUP_PONG, .term = 5, .round = 7},
        {.kind = GROUP_BEHIND, .term = 6},
    };
    enum { COUNT = sizeof messages / sizeof messages[0] };
    struct bytes bytes = {0};
    struct reader reader;
    uint32_t group;

    for (int i = 0; i < COUNT; i++)
        raft_wire_put(&messages[i], (uint32_t)i, &bytes);
    reader = reader_on(bytes.data, bytes.size);
    for (int i = 0; i < COUNT; i++) {
        struct group_message *message;
        struct bytes again = {0}, before = {0};

        cr_assert_eq(raft_wire_get(&reader, &group, &message), ERR_OK, "%s", err_detail());
        cr_assert_eq(group, (uint32_t)i);
        raft_wire_put(&messages[i], GROUP, &before);
        put(message, &again);
        cr_assert_eq(again.size, before.size);
        cr_assert_eq(memcmp(again.data, before.data, before.size), 0, "message %d", i);
        bytes_fini(&again);
        bytes_fini(&before);
    }
    struct group_message *none = NULL;
    cr_assert_eq(raft_wire_get(&reader, &group, &none), ERR_END);
    bytes_fini(&bytes);
}

Test(raft_wire, notices_every_truncation)
{
    struct bytes bytes = {0};

    put(three_entries(), &bytes);
    for (size_t size = 1; size < bytes.size; size++)
        cr_assert_eq(get(bytes.data, size, NULL), ERR_INVALID, "%zu bytes", size);
    cr_assert_eq(get(bytes.data, 0, NULL), ERR_END);
    bytes_fini(&bytes);
}

Test(raft_wire, survives_every_flipped_byte_and_never_passes_a_broken_rule_on)
{
    struct bytes bytes = {0};

    put(three_entries(), &bytes);
    for (size_t at = 0; at < bytes.size; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t kept = bytes.data[at];
            struct group_message *message = NULL;

            bytes.data[at] = (uint8_t)value;
            if (get(bytes.data, bytes.size, &message) == ERR_OK && message->kind == GROUP_APPEND) {
                uint64_t term = message->append.prev_term;

                cr_assert_eq(message->append.prev_index == 0, message->append.prev_term == 0);
                for (uint32_t i = 0; i < message->append.count; i++) {
                    cr_assert_geq(message->append.entries[i].term, term);
                    term = message->append.entries[i].term;
                    cr_assert_leq(term, message->term);
                    cr_assert_gt(term, 0);
                }
            }
            group_message_free(message);
            bytes.data[at] = kept;
        }
    }
    bytes_fini(&bytes);
}

/* One change to a good message each, that makes it bad. */
Test(raft_wire, refuses_what_would_break_the_core)
{
    struct bytes bytes;
    struct group_message *message;

#define REFUSED(change)                                                   \
    do {                                                                  \
        bytes = (struct bytes){0};                                        \
        message = three_entries();                                        \
        change;                                                           \
        put(message, &bytes);                                             \
        cr_assert_eq(get_after_free(&bytes), ERR_INVALID, "%s", #change); \
    } while (0)

    REFUSED(message->term = 0);
    REFUSED(message->term = 8);
    REFUSED(message->append.prev_index = 0);
    REFUSED(message->append.prev_term = 0);
    REFUSED(message->append.prev_term = 8);
    REFUSED(message->append.prev_index = UINT64_MAX);
    REFUSED(message->append.commit = UINT64_MAX);
    REFUSED(message->append.all_have = UINT64_MAX);
    REFUSED(message->append.entries[0].term = 0);
    REFUSED(message->append.entries[0].term = 9);
    REFUSED(message->append.entries[0].type = 0);
    REFUSED(message->append.entries[0].type = 4);
    REFUSED(message->append.entries[0].type = GROUP_CHANGE);
    REFUSED(message->append.entries[2].payload->bytes[0] = 2);
    REFUSED(message->append.entries[2].payload->bytes[1] = 0);
    REFUSED(message->append.entries[2].payload->bytes[1] = 200);
#undef REFUSED
}

Test(raft_wire, refuses_counts_and_sizes_before_it_takes_memory)
{
    struct bytes bytes = {0};
    uint32_t many = GROUP_ENTRIES_MAX, huge = ENTRY_SIZE_MAX + 1;

    put(three_entries(), &bytes);
    memcpy(bytes.data + BODY_AT + 32, &many, sizeof many);
    cr_assert_eq(get(bytes.data, bytes.size, NULL), ERR_INVALID);
    bytes.size = 0;
    put(three_entries(), &bytes);
    memcpy(bytes.data + BODY_AT + 36 + 8, &huge, sizeof huge);
    cr_assert_eq(get(bytes.data, bytes.size, NULL), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(raft_wire, refuses_unknown_kinds_and_flags)
{
    struct group_message ping = {.kind = GROUP_PING, .term = 1};
    struct bytes bytes = {0};

    raft_wire_put(&ping, GROUP, &bytes);
    cr_assert_eq(get(bytes.data, bytes.size, NULL), ERR_OK);
    for (unsigned kind = 0; kind < 256; kind++) {
        bytes.data[4] = (uint8_t)kind;
        if (kind < GROUP_APPEND || kind >= GROUP_MESSAGE_END)
            cr_assert_eq(get(bytes.data, bytes.size, NULL), ERR_INVALID, "kind %u", kind);
    }
    bytes.data[4] = GROUP_PING;
    for (unsigned flags = 1; flags < 256; flags++) {
        bytes.data[5] = (uint8_t)flags;
        cr_assert_eq(get(bytes.data, bytes.size, NULL), ERR_INVALID, "flags %u", flags);
    }
    bytes_fini(&bytes);
}

Test(raft_wire, random_bytes_do_no_harm)
{
    uint64_t seed = seed_of_run("raft_wire"), understood = 0;

    for (int run = 0; run < 20000; run++) {
        uint8_t bytes[128];
        size_t size = seed_below(&seed, sizeof bytes);
        struct group_message *message = NULL;

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)seed_below(&seed, 4); /* Small numbers get further. */
        if (get(bytes, size, &message) == ERR_OK)
            understood++;
        group_message_free(message);
    }
    cr_assert_gt(understood, 0);
}

/* ---- Configurations ------------------------------------------------------------------------ */

Test(configuration, every_number_of_voters_passes_its_own_check)
{
    const uint64_t voters[] = {1, 20, 300, UINT64_MAX, 5, 6, 7, 8, 9};

    for (uint32_t count = 1; count <= 9; count++) {
        struct raft_configuration configuration;
        struct buf *buf;

        cr_assert_eq(configuration_encode(voters, count, &buf), ERR_OK);
        cr_assert_eq(configuration_decode(buf, &configuration), ERR_OK, "%s", err_detail());
        cr_assert_eq(configuration.n, count);
        cr_assert_eq(configuration.servers[count - 1].id, voters[count - 1]);
        raft_configuration_close(&configuration);
        buf_unref(buf);
    }
}

Test(configuration, check_refuses_what_the_core_would_read_beyond)
{
    const uint64_t voters[] = {1, 2, 3};
    struct buf *buf;

    cr_assert_eq(configuration_encode(voters, 3, &buf), ERR_OK);
    for (size_t size = 0; size < buf->size; size++) {
        uint8_t *exact = malloc(size + (size == 0));

        memcpy(exact, buf->bytes, size);
        cr_assert_eq(configuration_check(exact, size), ERR_INVALID, "%zu bytes", size);
        free(exact);
    }
    for (uint32_t at = 0; at < buf->size; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t kept = buf->bytes[at];
            struct raft_configuration configuration;

            buf->bytes[at] = (uint8_t)value;
            if (configuration_check(buf->bytes, buf->size) == ERR_OK) {
                cr_assert_eq(configuration_decode(buf, &configuration), ERR_OK,
                             "the core refuses byte %u = %u", at, value);
                raft_configuration_close(&configuration);
            }
            buf->bytes[at] = kept;
        }
    }
    buf_unref(buf);
}
