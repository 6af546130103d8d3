/*
 * A worker applies entries, reads and takes good files in, one thread seals, one scrubs and mends,
 * while bits of its files flip. Every read is right or refused, in the end all is as it was, and
 * ThreadSanitizer stays silent.
 */
#include <pthread.h>

#include "node/scrub.h"
#include "storage/base/check.h"
#include "storage/base/rand.h"
#include "tests/support/scrub_rig.h"

static unsigned rounds = 60;

static void write_some(unsigned round)
{
    struct entries_value values[8];

    for (size_t i = 0; i < 8; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = round % 3 ? "a" : "b",
                                           .field = "v",
                                           .type = FIELD_FLOAT,
                                           .bits = i,
                                           .time_ns = (int64_t)(round * 8 + i)};
    replica_write(&rig.replica, &(struct entries_from){0}, values, 8);
}

struct sealing {
    struct seal_job *job;
    enum err err;
};

static void *run_seal(void *arg)
{
    struct sealing *sealing = arg;

    sealing->err = seal_run(sealing->job);
    return NULL;
}

/* Order a seal; it runs beside what this thread goes on to do. */
static bool begin_seal(struct sealing *sealing, pthread_t *thread)
{
    struct replica *replica = &rig.replica;
    enum store_outcome outcome;
    enum err err;

    replica->log = realloc(replica->log, (replica->log_count + 1) * sizeof(struct buf *));
    CHECK(replica->log != NULL);
    replica->log[replica->log_count] = entries_seal(0, replica->log_count);
    replica->log_count++;
    sealing->job = NULL;
    err = store_apply(replica->store, replica->log_count, replica->log[replica->log_count - 1],
                      &outcome, &sealing->job);
    CHECK(err == ERR_OK);
    return sealing->job != NULL && pthread_create(thread, NULL, run_seal, sealing) == 0;
}

static void flip_some(struct rand *rand)
{
    struct store_file *files = NULL;
    uint32_t count = 0;
    char name[STORE_FILE_NAME_SIZE], path[64];
    const struct store_file *file;

    CHECK(store_files(rig.replica.store, &files, &count) == ERR_OK);
    if (count > 0) {
        file = &files[rand_below(rand, count)];
        store_file_name(file, name);
        (void)snprintf(path, sizeof path, "data/%s", name);
        if (mem_disk_exists(rig.replica.disk, path))
            mem_disk_flip(rig.replica.disk, path, rand_below(rand, file->size), 1);
    }
    free(files);
}

/* Where there is no damage; the other nodes seal the same. */
static void copy_files(void)
{
    mem_disk_free(rig.others[1]);
    rig.others[1] = mem_disk_clone(rig.replica.disk);
}

static void read_all(unsigned written)
{
    struct query everything = {
        .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct contents now;

    if (store_check_damage(rig.replica.store, &everything) != ERR_OK ||
        replica_read(&rig.replica, &now) != ERR_OK)
        return;
    CHECK(now.count == (size_t)written * 8);
    contents_fini(&now);
}

int main(int argc, char **argv)
{
    struct rand rand;

    rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : rounds;
    rand_init(&rand, 7);
    rig.meta_saves = 1;
    replica_init(&rig.replica);
    CHECK(replica_open(&rig.replica) == ERR_OK);
    rig_start(2);
    for (unsigned round = 0; round < rounds; round++) {
        struct sealing sealing;
        pthread_t thread;
        bool seals;

        write_some(round);
        seals = begin_seal(&sealing, &thread);
        (void)scrub_ask(rig.scrub);
        for (unsigned i = 0; i < 3; i++) {
            rig_turn();
            read_all(round + 1);
        }
        if (seals) {
            CHECK(pthread_join(thread, NULL) == 0);
            CHECK(sealing.err == ERR_OK);
            store_seal_done(rig.replica.store, sealing.job, false);
        }
        copy_files();
        flip_some(&rand);
        rig_pass();
        rig_until_mended();
        read_all(round + 1);
    }
    rig_stop();
    replica_fini(&rig.replica);
    return 0;
}
