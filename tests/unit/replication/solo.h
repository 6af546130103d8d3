/*
 * solo.h - one server's group alone, whose peers the test plays.
 *
 * Its log is written beforehand, one character an entry: the term. Entry 1 is the configuration.
 */
#ifndef TESTS_UNIT_REPLICATION_SOLO_H
#define TESTS_UNIT_REPLICATION_SOLO_H

#include "replication/configuration.h"
#include "tests/unit/replication/rig.h"

struct solo {
    struct rig *rig;
    struct rig_node *node;
    struct group *group;
    uint64_t server;
};

/* ---- Making a server ----------------------------------------------------------------------- */

static inline struct buf *configuration_of(uint32_t voters)
{
    static const uint64_t ids[] = {1, 2, 3, 4, 5};
    struct buf *buf;

    cr_assert_eq(configuration_encode(ids, voters, &buf), ERR_OK);
    return buf;
}

static inline void write_record(struct rig_node *node, struct log_record record)
{
    record.group = 7;
    record.position = node->stream + 1;
    node->records[node->stream++] = record;
    node->durable = node->told = node->stream;
}

static inline void write_entry(struct rig_node *node, uint64_t index, uint64_t term, uint8_t type,
                               struct buf *payload)
{
    write_record(
        node,
        (struct log_record){
            .kind = LOG_ENTRY, .type = type, .index = index, .term = term, .payload = payload});
}

/* A follower in `term` whose log is a configuration of `voters`, then entries of these terms. */
static inline struct solo solo_new(uint64_t server, uint64_t term, uint32_t voters,
                                   const char *terms, uint64_t guards_off)
{
    struct solo solo = {.rig = rig_new(3, voters, guards_off), .server = server};

    solo.node = &solo.rig->nodes[server];
    write_entry(solo.node, 1, 1, GROUP_CHANGE, configuration_of(voters));
    for (uint64_t i = 0; terms[i] != '\0'; i++)
        write_entry(solo.node, i + 2, (uint64_t)(terms[i] - '0'), GROUP_COMMAND, rig_payload("x"));
    write_record(solo.node, (struct log_record){.kind = LOG_TERM, .term = term});
    rig_start(solo.rig, server);
    solo.group = solo.node->group;
    return solo;
}

static inline void solo_free(struct solo *solo)
{
    rig_free(solo->rig);
}

static inline void wait_ms(struct solo *solo, uint64_t ms)
{
    rig_run(solo->rig, ms);
}

/* ---- Playing its peers --------------------------------------------------------------------- */

static inline void put_entry(struct group_entry *entry, uint64_t term, uint8_t type,
                             struct buf *payload)
{
    *entry =
        (struct group_entry){.term = term, .type = type, .size = payload->size, .payload = payload};
}

/* Entries of these terms; the one at `change_at` is a configuration of two servers. */
static inline void append(struct solo *solo, uint64_t from, uint64_t term, uint64_t prev_index,
                          uint64_t prev_term, uint64_t commit, const char *terms, int change_at)
{
    uint32_t count = (uint32_t)strlen(terms);
    struct group_message *message = group_message_new(GROUP_APPEND, term, count);

    message->append.prev_index = prev_index;
    message->append.prev_term = prev_term;
    message->append.commit = commit;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry_term = (uint64_t)(terms[i] - '0');

        if ((int)i == change_at)
            put_entry(&message->append.entries[i], entry_term, GROUP_CHANGE, configuration_of(2));
        else
            put_entry(&message->append.entries[i], entry_term, GROUP_COMMAND, rig_payload("y"));
    }
    group_receive(solo->group, from, message);
}

static inline void append_result(struct solo *solo, uint64_t from, uint64_t rejected, uint64_t last)
{
    struct group_message *message =
        group_message_new(GROUP_APPEND_RESULT, rig_state(solo->rig, solo->server).term, 0);

    message->append_result.rejected = rejected;
    message->append_result.last_index = last;
    group_receive(solo->group, from, message);
}

static inline void vote(struct solo *solo, uint64_t from, uint64_t term, uint64_t last_index,
                        uint64_t last_term, bool pre_vote)
{
    struct group_message *message = group_message_new(GROUP_VOTE, term, 0);

    message->vote =
        (struct group_vote){.last_index = last_index, .last_term = last_term, .pre_vote = pre_vote};
    group_receive(solo->group, from, message);
}

static inline void vote_result(struct solo *solo, uint64_t from, uint64_t term, bool granted,
                               bool pre_vote)
{
    struct group_message *message = group_message_new(GROUP_VOTE_RESULT, term, 0);

    message->vote_result = (struct group_vote_result){.granted = granted, .pre_vote = pre_vote};
    group_receive(solo->group, from, message);
}

static inline struct group_message *expect(struct solo *solo, uint64_t to,
                                           enum group_message_kind kind)
{
    struct group_message *message = rig_take(solo->rig, to, kind);

    cr_assert_not_null(message, "nothing of kind %d was sent to server %lu", kind,
                       (unsigned long)to);
    return message;
}

/* What the last answer of that kind said: rejected, last index. */
static inline struct group_append_result answer_to(struct solo *solo, uint64_t to)
{
    struct group_message *message = expect(solo, to, GROUP_APPEND_RESULT);
    struct group_append_result result = message->append_result;

    group_message_free(message);
    return result;
}

static inline struct group_vote_result vote_answer_to(struct solo *solo, uint64_t to,
                                                      uint64_t *ret_term)
{
    struct group_message *message = expect(solo, to, GROUP_VOTE_RESULT);
    struct group_vote_result result = message->vote_result;

    *ret_term = message->term;
    group_message_free(message);
    return result;
}

/* Time out, win the pre-vote and the vote with the help of server 2. */
static inline void win(struct solo *solo)
{
    uint64_t term = rig_state(solo->rig, solo->server).term;

    wait_ms(solo, 2 * ELECTION_MS + 10);
    vote_result(solo, 2, term + 1, true, true);
    wait_ms(solo, 3);
    vote_result(solo, 2, term + 1, true, false);
    cr_assert(rig_state(solo->rig, solo->server).leading);
    wait_ms(solo, 3);
}

#endif
