#include "node/meta.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta_internal.h"
#include "node/shard_io.h"
#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/base/log_line.h"
#include "storage/base/twin.h"

#define META_MAGIC 0x3147524du /* "MRG1" */
#define META_FILE  "meta.mrc"

enum {
    META_FILE_MAX = 512 * 1024 * 1024, /* Bytes: the map's own limits keep it far below. */
    META_SAVE_AFTER_MS = 5000,
    META_VERSION = 2,
};

struct save_task {
    struct pool_job job;
    struct meta *meta;
    struct bytes bytes;
    uint64_t applied;
    enum err err;
    struct err_note note;
};

/* ---- The file ------------------------------------------------------------------------------ */

static void put_database(const struct schema_database *database, struct bytes *out)
{
    bytes_put_string(out, database->name, strlen(database->name));
    bytes_put_u64(out, database->retention_ns);
    bytes_put_u64(out, database->retention_bytes);
    bytes_put_u64(out, database->series_max);
    bytes_put_u64(out, database->drop);
    bytes_put_u8(out, database->dropped);
}

void meta_encode(const struct schema_map *map, uint64_t applied, struct bytes *out)
{
    uint32_t crc;

    bytes_put_u32(out, META_MAGIC);
    bytes_put_u32(out, 0);
    bytes_put_u32(out, META_VERSION);
    bytes_put_u64(out, applied);
    bytes_put_u32(out, map->database_count);
    for (uint32_t i = 0; i < map->database_count; i++)
        put_database(&map->databases[i], out);
    bytes_put_u32(out, map->count);
    for (uint32_t i = 0; i < map->capacity; i++) {
        const struct schema_field *field = &map->slots[i];

        if (field->type == 0)
            continue;
        bytes_put_string(out, field->table_key, field->table_key_size);
        bytes_put_string(out, field->name, field->name_size);
        bytes_put_u8(out, field->type);
    }
    if (out->failed)
        return;
    crc = crc32c(0, out->data + 8, out->size - 8);
    memcpy(out->data + 4, &crc, sizeof crc);
}

static enum err decode_fields(struct reader *reader, struct schema_map *map)
{
    uint32_t count = reader_u32(reader);

    for (uint32_t i = 0; i < count && !reader->bad; i++) {
        struct slice table, name;
        uint8_t type;
        enum err err;

        table.data = reader_string(reader, KEY_SIZE_MAX, &table.size);
        name.data = reader_string(reader, NAME_SIZE_MAX, &name.size);
        type = reader_u8(reader);
        if (reader->bad || type == 0 || type >= FIELD_TYPE_END)
            return err_set(ERR_CORRUPT, "field %u of %u is damaged", i, count);
        err = schema_map_add(map, table, name, (enum field_type)type);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err decode_databases(struct reader *reader, struct schema_map *map)
{
    uint32_t count = reader_u32(reader);

    for (uint32_t i = 0; i < count; i++) {
        struct schema_database database = {0};
        struct slice name;
        uint8_t dropped;
        enum err err;

        name.data = reader_string(reader, NAME_SIZE_MAX, &name.size);
        database.retention_ns = reader_u64(reader);
        database.retention_bytes = reader_u64(reader);
        database.series_max = reader_u64(reader);
        database.drop = reader_u64(reader);
        dropped = reader_u8(reader);
        if (reader->bad || name.size == 0 || dropped > 1)
            return err_set(ERR_CORRUPT, "database %u of %u is damaged", i, count);
        database.dropped = dropped == 1;
        err = schema_map_set_database(map, name, &database);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err meta_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t magic = reader_u32(&reader);
    uint32_t crc = reader_u32(&reader);

    if (reader.bad || magic != META_MAGIC || crc != crc32c(0, (const uint8_t *)bytes + 8, size - 8))
        return err_set(ERR_CORRUPT, "%zu bytes with a wrong checksum", size);
    return ERR_OK;
}

enum err meta_decode(const void *bytes, size_t size, struct schema_map *ret_map,
                     uint64_t *ret_applied)
{
    struct reader reader = reader_on(bytes, size);
    struct schema_map map = {0};
    uint32_t version;
    uint64_t applied;
    enum err err = meta_check(bytes, size);

    if (err != ERR_OK)
        return err;
    (void)reader_u64(&reader); /* Magic and sum. */
    version = reader_u32(&reader);
    if (version != META_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", version,
                       (int)META_VERSION);
    applied = reader_u64(&reader);
    err = decode_databases(&reader, &map);
    if (err == ERR_OK)
        err = decode_fields(&reader, &map);
    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_CORRUPT, "%zu bytes that end too early or too late", size);
    if (err != ERR_OK) {
        schema_map_fini(&map);
        return err;
    }
    *ret_map = map;
    *ret_applied = applied;
    return ERR_OK;
}

/* What was saved into a new meta. ERR_NOT_FOUND: nothing was. */
static enum err load(const struct node *node, struct meta *meta)
{
    uint8_t *bytes;
    size_t size;
    enum err err = twin_load(node->disk, node->options.node.data_dir, META_FILE, META_FILE_MAX,
                             meta_check, &bytes, &size);

    if (err == ERR_OK) {
        err = meta_decode(bytes, size, &meta->map, &meta->applied);
        if (err != ERR_OK && err != ERR_CORRUPT)
            err = err_wrap(err, "%s/" META_FILE, node->options.node.data_dir);
        free(bytes);
    }
    return err;
}

enum err meta_open(struct shard *shard, bool absent, struct meta **ret_meta)
{
    struct node *node = shard->worker->node;
    struct meta *meta = calloc(1, sizeof *meta);
    enum err err;

    if (meta == NULL)
        return err_set(ERR_NO_MEMORY, "the meta group");
    meta->shard = shard;
    meta->waiting_end = &meta->waiting;
    meta->databases_end = &meta->databases;
    meta->decided_end = &meta->decided;
    err = absent ? ERR_NOT_FOUND : load(node, meta);
    if (err == ERR_CORRUPT) {
        err = err_wrap(err,
                       "%s/" META_FILE " (this node alone has no other one to get it from: see "
                       "docs/operations.md)",
                       node->options.node.data_dir);
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_OK; /* New, or nothing was ever saved: the log has it all. */
    }
    if (err != ERR_OK) {
        free(meta);
        return err;
    }
    /* When that was, nobody knows any more: long enough ago from now on. */
    for (uint32_t i = 0; i < meta->map.database_count; i++)
        meta->map.databases[i].dropped_ms = worker_now_ms();
    meta->saved = meta->applied;
    *ret_meta = meta;
    return ERR_OK;
}

void meta_close(struct meta *meta)
{
    schema_map_fini(&meta->map);
    free(meta);
}

uint64_t meta_applied(const struct meta *meta)
{
    return meta->applied;
}

const struct schema_map *meta_schema(const struct meta *meta)
{
    return &meta->map;
}

/* ---- Deciding ------------------------------------------------------------------------------ */

static struct slice database_of(struct slice table_key)
{
    struct reader reader = reader_on(table_key.data, table_key.size);
    struct slice name;

    name.data = reader_string(&reader, NAME_SIZE_MAX, &name.size);
    return name;
}

/* A table key is two strings and nothing behind them. The database's name is kept as a text, so it
 * has no NUL: it would be another name each time. */
static bool is_table_key(struct slice table_key)
{
    struct reader reader = reader_on(table_key.data, table_key.size);
    size_t database_size, table_size;
    const char *database = reader_string(&reader, NAME_SIZE_MAX, &database_size);

    (void)reader_string(&reader, NAME_SIZE_MAX, &table_size);
    return reader_done(&reader) && database_size > 0 && table_size > 0 &&
           memchr(database, '\0', database_size) == NULL;
}

static enum err check_declare(const struct meta *meta, const struct message_declare *message)
{
    const struct options *options = &meta->shard->worker->node->options;
    const struct schema_database *known;
    struct slice database;

    if (!is_table_key(message->table_key))
        return err_set(ERR_INVALID,
                       "a table key of %zu bytes is not two names, or has a NUL in the database's",
                       message->table_key.size);
    database = database_of(message->table_key);
    known = schema_map_database(&meta->map, database);
    if (known != NULL && known->dropped)
        return err_set(ERR_NOT_FOUND,
                       "database \"%.*s\" was dropped; make it again: millrace db create",
                       (int)database.size, database.data);
    if (known == NULL && !options->databases.auto_create)
        return err_set(ERR_NOT_FOUND,
                       "there is no database \"%.*s\", and databases.auto_create is off",
                       (int)database.size, database.data);
    for (uint32_t i = 0; i < message->count; i++) {
        const struct message_declare_field *field = &message->fields[i];

        if (field->name.size == 0 || field->name.size > NAME_SIZE_MAX || field->type == 0 ||
            field->type >= FIELD_TYPE_END)
            return err_set(ERR_INVALID, "field %u has no name or type %u", i, field->type);
    }
    return ERR_OK;
}

/* All types, if all are known and the database is. */
static bool fill_types(const struct meta *meta, const struct message_declare *message,
                       struct declare_request *request)
{
    if (!schema_map_has_database(&meta->map, database_of(message->table_key)))
        return false;
    for (uint32_t i = 0; i < message->count; i++) {
        unsigned type = schema_map_find(&meta->map, message->table_key, message->fields[i].name);

        if (type == 0)
            return false;
        request->types[i] = (uint8_t)type;
    }
    return true;
}

enum err meta_propose(struct meta *meta, enum entry_kind kind, const struct bytes *body,
                      uint64_t *ret_index)
{
    size_t size = sizeof(struct entry_header) + body->size;
    struct entry_header header = {.kind = (uint8_t)kind, .size = (uint32_t)size};
    struct buf *entry;
    enum err err;

    if (size > ENTRY_SIZE_MAX)
        return err_set(ERR_TOO_LARGE, "an entry of %zu bytes for the meta group", size);
    entry = body->failed ? NULL : buf_new((uint32_t)size);
    if (entry == NULL)
        return err_set(ERR_NO_MEMORY, "an entry of %zu bytes for the meta group", size);
    entry_stamp(&header);
    memcpy(entry->bytes, &header, sizeof header);
    memcpy(entry->bytes + sizeof header, body->data, body->size);
    entry->size = (uint32_t)size;
    err = shard_propose(meta->shard, entry, ret_index);
    buf_unref(entry);
    return err;
}

/* A database that is made with its first table has the retention of the leader's settings. */
static enum err propose_declare(struct meta *meta, struct slice database,
                                struct declare_request *request)
{
    enum err err = ERR_OK;

    if (schema_map_database(&meta->map, database) == NULL)
        err = meta_create_default(meta, database);
    if (err == ERR_OK)
        err = meta_propose(meta, ENTRY_SCHEMA, &request->message, &request->wait_index);
    return err;
}

void meta_declare(struct meta *meta, struct declare_request *request)
{
    struct worker *worker = meta->shard->worker;
    struct message_declare *message = calloc(1, sizeof *message);
    struct slice database = {0};
    bool known = false;
    enum err err;

    if (message == NULL)
        err = err_set(ERR_NO_MEMORY, "a declaration");
    else
        err = message_get_declare(request->message.data, request->message.size, message);
    if (err == ERR_OK)
        err = check_declare(meta, message);
    if (err == ERR_OK) {
        request->count = message->count;
        request->types = calloc(message->count + 1u, 1);
        if (request->types == NULL)
            err = err_set(ERR_NO_MEMORY, "%u types", message->count);
        else
            known = fill_types(meta, message, request);
        database = database_of(message->table_key); /* Borrowed from the request. */
    }
    free(message);
    if (err == ERR_OK && known) {
        request->route.answer.code = ERR_OK;
        router_answer(worker, &request->route);
        return;
    }
    if (err == ERR_OK && !shard_can_propose(meta->shard, &request->route.answer)) {
        router_answer(worker, &request->route);
        return;
    }
    if (err == ERR_OK)
        err = propose_declare(meta, database, request);
    if (err != ERR_OK) {
        router_fail(worker, &request->route, err, err == ERR_BUSY ? META_RETRY_MS : 0);
        return;
    }
    request->next = NULL;
    *meta->waiting_end = request;
    meta->waiting_end = &request->next;
}

void meta_lost(struct meta *meta)
{
    while (meta->waiting != NULL) {
        struct declare_request *request = meta->waiting;

        meta->waiting = request->next;
        router_fail(meta->shard->worker, &request->route,
                    err_set(ERR_UNAVAILABLE, "the meta group's leader changed; ask again"),
                    META_RETRY_MS);
    }
    meta->waiting_end = &meta->waiting;
    meta_lose_databases(meta);
}

/* ---- Applying ------------------------------------------------------------------------------ */

static enum err learn(struct meta *meta, const struct message_declare *message)
{
    struct node *node = meta->shard->worker->node;
    enum err err = schema_map_add_database(&meta->map, database_of(message->table_key));

    for (uint32_t i = 0; i < message->count && err == ERR_OK; i++) {
        const struct message_declare_field *field = &message->fields[i];

        if (schema_map_find(&meta->map, message->table_key, field->name) != 0)
            continue;
        err = schema_map_add(&meta->map, message->table_key, field->name,
                             (enum field_type)field->type);
        for (uint32_t w = 0; w < node->worker_count && err == ERR_OK; w++)
            worker_teach(meta->shard->worker, &node->workers[w], message->table_key, field->name,
                         (enum field_type)field->type);
    }
    return err;
}

static void answer_declared(struct meta *meta, struct declare_request *request)
{
    struct message_declare *message = calloc(1, sizeof *message);
    enum err err = message == NULL
                       ? err_set(ERR_NO_MEMORY, "a declaration")
                       : message_get_declare(request->message.data, request->message.size, message);

    if (err == ERR_OK)
        err = check_declare(meta, message); /* The database may have been dropped meanwhile. */
    if (err == ERR_OK && !fill_types(meta, message, request))
        err = err_set(ERR_LIMIT, "the site's schema is full: %d fields, %d databases",
                      (int)SCHEMA_FIELDS_MAX, (int)SCHEMA_DATABASES_MAX);
    free(message);
    if (err == ERR_OK) {
        request->route.answer.code = ERR_OK;
        router_answer(meta->shard->worker, &request->route);
    } else {
        router_fail(meta->shard->worker, &request->route, err, 0);
    }
}

static enum err apply_schema(struct meta *meta, const void *body, size_t size)
{
    struct message_declare *message = calloc(1, sizeof *message);
    enum err err;

    if (message == NULL)
        return err_set(ERR_NO_MEMORY, "a declaration");
    err = message_get_declare(body, size, message);
    if (err == ERR_OK)
        err = learn(meta, message);
    free(message);
    return err == ERR_LIMIT ? ERR_OK : err; /* On every replica alike: who waits is told below. */
}

static enum err apply_entry(struct meta *meta, uint64_t index, const struct buf *payload)
{
    struct entry_header header;
    enum err err = entry_check(payload->bytes, payload->size, &header);

    if (err == ERR_OK && header.kind == ENTRY_SCHEMA)
        return apply_schema(meta, payload->bytes + sizeof header, payload->size - sizeof header);
    if (err == ERR_OK && header.kind == ENTRY_DATABASE)
        return meta_apply_database(meta, index, payload->bytes + sizeof header,
                                   payload->size - sizeof header);
    return err;
}

enum err meta_apply(struct meta *meta, uint64_t index, struct buf *payload)
{
    enum err err = ERR_OK;

    CHECK(index == meta->applied + 1);
    if (payload != NULL)
        err = apply_entry(meta, index, payload);
    if (err != ERR_OK)
        return err_wrap(err, "meta group: entry %" PRIu64, index);
    meta->applied = index;
    if (meta->changed_ms == 0) /* A barrier counts: it holds a log file back like any entry. */
        meta->changed_ms = worker_now_ms();
    while (meta->waiting != NULL && meta->waiting->wait_index <= index) {
        struct declare_request *request = meta->waiting;

        meta->waiting = request->next;
        if (meta->waiting == NULL)
            meta->waiting_end = &meta->waiting;
        answer_declared(meta, request);
    }
    return ERR_OK;
}

/* ---- Saving -------------------------------------------------------------------------------- */

static void save_run(struct pool_job *job)
{
    struct save_task *task = CONTAINER_OF(job, struct save_task, job);
    struct node *node = job->worker->node;

    task->err = twin_save(node->disk, node->options.node.data_dir, META_FILE, task->bytes.data,
                          task->bytes.size);
    if (task->err != ERR_OK)
        err_save(&task->note, task->err);
}

static void save_done(struct pool_job *job)
{
    struct save_task *task = CONTAINER_OF(job, struct save_task, job);
    struct meta *meta = task->meta;

    meta->saving = false;
    if (task->err != ERR_OK) {
        log_error("meta group: not saved, stays in the log: %s", task->note.detail);
        meta->changed_ms = worker_now_ms();
    } else {
        enum err err = group_sealed(meta->shard->group, task->applied);

        if (err != ERR_OK)
            log_warn("meta group: pruning: %s", err_detail());
        group_evict(meta->shard->group, task->applied);
        meta->saved = task->applied;
    }
    bytes_fini(&task->bytes);
    free(task);
}

enum err meta_install(const struct node *node, struct slice state, uint64_t index)
{
    struct schema_map map = {0};
    uint64_t applied = 0;
    enum err err = meta_decode(state.data, state.size, &map, &applied);

    if (err != ERR_OK)
        return err;
    schema_map_fini(&map);
    if (applied != index)
        return err_set(ERR_INVALID, "the meta group up to entry %" PRIu64 ", not up to %" PRIu64,
                       applied, index);
    return twin_save(node->disk, node->options.node.data_dir, META_FILE, state.data, state.size);
}

uint64_t meta_saved(const struct meta *meta)
{
    return meta->saved;
}

enum err meta_verify(const struct disk *disk, const char *dir)
{
    return twin_verify(disk, dir, META_FILE, META_FILE_MAX, meta_check);
}

void meta_save_again(struct meta *meta)
{
    atomic_store(&meta->again, true);
}

static bool wants_save(struct meta *meta, uint64_t now_ms)
{
    bool changed = meta->changed_ms != 0 && now_ms - meta->changed_ms >= META_SAVE_AFTER_MS;

    return !meta->saving && (changed || atomic_load(&meta->again));
}

void meta_tick(struct meta *meta, uint64_t now_ms)
{
    struct save_task *task;

    meta_answer_databases(meta, now_ms);
    if (!wants_save(meta, now_ms))
        return;
    task = calloc(1, sizeof *task);
    if (task == NULL)
        return; /* The next tick tries again. */
    meta_encode(&meta->map, meta->applied, &task->bytes);
    if (task->bytes.failed) {
        bytes_fini(&task->bytes);
        free(task);
        return;
    }
    task->job = (struct pool_job){.run = save_run, .done = save_done};
    task->meta = meta;
    task->applied = meta->applied;
    meta->changed_ms = 0;
    atomic_store(&meta->again, false);
    meta->saving = true;
    worker_pool(meta->shard->worker, &task->job);
}
