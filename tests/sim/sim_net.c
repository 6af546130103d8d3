#include <stdlib.h>
#include <string.h>

#include "replication/raft_wire.h"
#include "storage/base/check.h"
#include "tests/sim/sim.h"

/* Messages are really encoded, wait in a calendar of one list a ms, and are really decoded. */

static uint32_t delay_ms(struct sim *sim)
{
    uint32_t delay = 1 + sim_rand(sim, sim->delay_ms);

    if (!sim->calm && sim_chance(sim, sim->p_slow, 1000))
        delay += sim_rand(sim, 1500);
    return delay;
}

static void post(struct sim *sim, struct sim_mail *mail, uint32_t delay)
{
    uint64_t at_ms = sim->now_ms + delay;
    uint64_t *last_ms = &sim->last_at_ms[mail->from - 1][mail->to - 1][mail->urgent];
    struct sim_mail **end;

    if (sim->ordered) {
        if (at_ms < *last_ms)
            at_ms = *last_ms;
        *last_ms = at_ms;
    }
    if (at_ms >= sim->now_ms + SIM_CALENDAR)
        at_ms = sim->now_ms + SIM_CALENDAR - 1;
    for (end = &sim->calendar[at_ms % SIM_CALENDAR]; *end != NULL;)
        end = &(*end)->next;
    mail->next = NULL;
    *end = mail;
    if (!mail->urgent)
        sim->queued[mail->from - 1][mail->to - 1][mail->group]++;
}

static struct sim_mail *copy(const struct sim_mail *mail)
{
    struct sim_mail *copied = malloc(sizeof *mail + mail->size);

    CHECK(copied != NULL);
    memcpy(copied, mail, sizeof *mail + mail->size);
    return copied;
}

void sim_net_send(struct sim *sim, const struct sim_replica *from, uint64_t to,
                  struct group_message *message, bool urgent)
{
    struct bytes bytes = {0};
    struct sim_mail *mail;

    raft_wire_put(message, from->number, &bytes);
    CHECK(!bytes.failed);
    CHECK(bytes.size == raft_wire_size(message));
    group_message_free(message);
    sim->counters->messages++;

    mail = malloc(sizeof *mail + bytes.size);
    CHECK(mail != NULL);
    *mail = (struct sim_mail){.from = from->node->server,
                              .to = to,
                              .group = from->number,
                              .urgent = urgent,
                              .size = (uint32_t)bytes.size};
    memcpy(mail->bytes, bytes.data, bytes.size);
    bytes_fini(&bytes);

    if (sim->cut[mail->from - 1][to - 1] || (!sim->calm && sim_chance(sim, sim->p_lose, 1000))) {
        sim->counters->lost++;
        free(mail);
        return;
    }
    if (!sim->calm && sim_chance(sim, sim->p_double, 1000)) {
        sim->counters->doubled++;
        post(sim, copy(mail), delay_ms(sim));
    }
    post(sim, mail, delay_ms(sim));
}

bool sim_net_queued(const struct sim *sim, const struct sim_replica *from, uint64_t to)
{
    return sim->queued[from->node->server - 1][to - 1][from->number] > 0;
}

static void deliver(struct sim *sim, struct sim_mail *mail)
{
    struct sim_replica *replica = &sim->nodes[mail->to - 1].replicas[mail->group];
    struct reader reader = reader_on(mail->bytes, mail->size);
    struct group_message *message;
    uint32_t number;

    if (raft_wire_get(&reader, &number, &message) != ERR_OK || number != mail->group ||
        !reader_done(&reader)) {
        sim_found(sim, replica, "a message of ours is not understood");
        return;
    }
    group_receive(replica->group, mail->from, message);
}

void sim_net_turn(struct sim *sim)
{
    struct sim_mail **slot = &sim->calendar[sim->now_ms % SIM_CALENDAR];
    struct sim_mail *mail = *slot;

    *slot = NULL;
    while (mail != NULL) {
        struct sim_mail *next = mail->next;
        struct sim_node *node = &sim->nodes[mail->to - 1];

        if (!mail->urgent)
            sim->queued[mail->from - 1][mail->to - 1][mail->group]--;
        if (node->up && node->paused_until_ms > sim->now_ms) {
            post(sim, mail, (uint32_t)(node->paused_until_ms - sim->now_ms));
            mail = next;
            continue;
        }
        if (node->up && sim->finding[0] == '\0')
            deliver(sim, mail);
        free(mail);
        mail = next;
    }
}

void sim_net_end(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_CALENDAR; i++) {
        while (sim->calendar[i] != NULL) {
            struct sim_mail *mail = sim->calendar[i];

            sim->calendar[i] = mail->next;
            free(mail);
        }
    }
}
