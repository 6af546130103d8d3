/*
 * What one worker tells another about the site: types of fields, databases, what was dropped.
 */
#include <stdlib.h>
#include <string.h>

#include "node/worker.h"
#include "storage/base/log_line.h"

struct lesson {
    struct slice table_key;
    struct slice field;
    enum field_type type;
    char names[]; /* What the slices point to. */
};

void worker_learn(struct worker *worker, struct slice table_key, struct slice field,
                  enum field_type type)
{
    enum err err = schema_map_add(&worker->schema, table_key, field, type);

    if (err != ERR_OK) /* It will be asked for again, and the meta group's answer says why. */
        log_warn("worker %u: schema: %s", worker->number, err_detail());
}

static void run_lesson(struct worker *worker, void *arg)
{
    struct lesson *lesson = arg;

    worker_learn(worker, lesson->table_key, lesson->field, lesson->type);
    free(lesson);
}

void worker_teach(struct worker *from, struct worker *to, struct slice table_key,
                  struct slice field, enum field_type type)
{
    struct lesson *lesson = malloc(sizeof *lesson + table_key.size + field.size);

    if (lesson == NULL)
        return; /* `to` asks when it meets the field. */
    memcpy(lesson->names, table_key.data, table_key.size);
    memcpy(lesson->names + table_key.size, field.data, field.size);
    lesson->table_key = (struct slice){lesson->names, table_key.size};
    lesson->field = (struct slice){lesson->names + table_key.size, field.size};
    lesson->type = type;
    worker_call(from, to, run_lesson, lesson);
}

struct database_lesson {
    struct schema_database database; /* The name is below. */
    uint32_t shard;                  /* UINT32_MAX: of the database; else of its cutoff there. */
    int64_t cutoff_ns;
    size_t name_size;
    char name[];
};

static void run_database_lesson(struct worker *worker, void *arg)
{
    struct database_lesson *lesson = arg;
    struct slice name = {lesson->name, lesson->name_size};
    enum err err = lesson->shard == UINT32_MAX
                       ? schema_map_set_database(&worker->schema, name, &lesson->database)
                       : schema_map_cut(&worker->schema, name, lesson->shard, worker->node->shards,
                                        lesson->cutoff_ns);

    if (err != ERR_OK) {
        log_error("worker %u: databases: %s", worker->number, err_detail());
        abort(); /* Rows would be kept, or erased, against the site's will. */
    }
    free(lesson);
}

static void teach_database(struct worker *from, struct worker *to, struct slice name,
                           struct database_lesson lesson)
{
    struct database_lesson *sent = malloc(sizeof *sent + name.size);

    if (sent == NULL) {
        log_error("no memory to tell a worker of a database");
        abort();
    }
    *sent = lesson;
    sent->name_size = name.size;
    memcpy(sent->name, name.data, name.size);
    worker_call(from, to, run_database_lesson, sent);
}

void worker_teach_database(struct worker *from, struct worker *to,
                           const struct schema_database *database)
{
    struct database_lesson lesson = {.database = *database, .shard = UINT32_MAX};

    teach_database(from, to, (struct slice){database->name, strlen(database->name)}, lesson);
}

void worker_teach_cutoff(struct worker *from, struct worker *to, struct slice name, uint32_t shard,
                         int64_t cutoff_ns)
{
    struct database_lesson lesson = {.shard = shard, .cutoff_ns = cutoff_ns};

    teach_database(from, to, name, lesson);
}
