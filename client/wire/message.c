#include "client/wire/message.h"

#include <inttypes.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/tombstone.h"

/* A frame is decoded by reading all its fields, then asking once whether the bytes sufficed.
 * Ranges that later code relies on (counts, enumerations, ports) are checked field by field. */

static enum err malformed(const char *frame, size_t size)
{
    return err_set(ERR_INVALID, "%s frame of %zu bytes: a field is missing, over-long or left over",
                   frame, size);
}

static enum err out_of_range(const char *frame, const char *field, uint64_t value)
{
    return err_set(ERR_INVALID, "%s frame: %s is %" PRIu64 ", which is out of its range", frame,
                   field, value);
}

/* Texts are for people: a long one is cut rather than refused by the receiver. */
static void put_text(struct slice text, struct bytes *out)
{
    bytes_put_string(out, text.data, text.size < MESSAGE_TEXT_MAX ? text.size : MESSAGE_TEXT_MAX);
}

static struct slice get_string(struct reader *reader, size_t max)
{
    struct slice slice;

    slice.data = reader_string(reader, max, &slice.size);
    return slice;
}

static bool get_bool(struct reader *r)
{
    uint8_t value = reader_u8(r);

    if (value > 1)
        r->bad = true;
    return value == 1;
}

/* Ids of series. Divided, not multiplied: a size of 32 bits would wrap. */
static const uint8_t *take_ids(struct reader *r, uint32_t count)
{
    if (count > reader_left(r) / sizeof(uint32_t))
        r->bad = true;
    return r->bad ? NULL : reader_take(r, count * sizeof(uint32_t));
}

/* ---- HELLO --------------------------------------------------------------------------------- */

/* The version stands first in every version, so that a stranger can still be told what is spoken
 * here. */
static enum err check_version(const char *frame, const struct reader *reader, uint32_t version)
{
    if (!reader->bad && version != PROTOCOL_VERSION)
        return err_set(ERR_VERSION,
                       "%s frame: the other side speaks protocol version %" PRIu32
                       ", this one %d: run releases that share a version",
                       frame, version, (int)PROTOCOL_VERSION);
    return ERR_OK;
}

void message_put_hello(const struct message_hello *message, struct bytes *out)
{
    bytes_put_u32(out, message->version);
    bytes_put_u8(out, message->role);
    bytes_put_u64(out, message->cluster);
    bytes_put_u64(out, message->server);
    bytes_put_u32(out, message->worker);
    put_text(message->agent, out);
}

enum err message_get_hello(const void *bytes, size_t size, struct message_hello *ret)
{
    struct reader r = reader_on(bytes, size);
    enum err err;

    ret->version = reader_u32(&r);
    err = check_version("HELLO", &r, ret->version);
    if (err != ERR_OK)
        return err;
    ret->role = reader_u8(&r);
    ret->cluster = reader_u64(&r);
    ret->server = reader_u64(&r);
    ret->worker = reader_u32(&r);
    ret->agent = get_string(&r, MESSAGE_TEXT_MAX);
    if (!reader_done(&r))
        return malformed("HELLO", size);
    if (ret->role != ROLE_CLIENT && ret->role != ROLE_PEER)
        return out_of_range("HELLO", "role", ret->role);
    return ERR_OK;
}

void message_put_hello_ok(const struct message_hello_ok *message, struct bytes *out)
{
    bytes_put_u32(out, message->version);
    bytes_put_u64(out, message->cluster);
    bytes_put_u64(out, message->server);
    bytes_put_u32(out, message->shards);
    bytes_put_u32(out, message->frame_max);
    put_text(message->agent, out);
}

enum err message_get_hello_ok(const void *bytes, size_t size, struct message_hello_ok *ret)
{
    struct reader r = reader_on(bytes, size);
    enum err err;

    ret->version = reader_u32(&r);
    err = check_version("HELLO_OK", &r, ret->version);
    if (err != ERR_OK)
        return err;
    ret->cluster = reader_u64(&r);
    ret->server = reader_u64(&r);
    ret->shards = reader_u32(&r);
    ret->frame_max = reader_u32(&r);
    ret->agent = get_string(&r, MESSAGE_TEXT_MAX);
    if (!reader_done(&r))
        return malformed("HELLO_OK", size);
    if (ret->shards > TOPOLOGY_SHARDS_MAX)
        return out_of_range("HELLO_OK", "number of shards", ret->shards);
    return ERR_OK;
}

/* ---- ERROR --------------------------------------------------------------------------------- */

void message_put_error(const struct message_error *message, struct bytes *out)
{
    bytes_put_u32(out, message->code);
    bytes_put_u64(out, message->leader);
    bytes_put_u32(out, message->retry_ms);
    bytes_put_u64(out, (uint64_t)message->cutoff_ns);
    put_text(message->text, out);
    bytes_put_u32(out, message->id_count);
    bytes_put(out, message->ids, (size_t)message->id_count * sizeof(uint32_t));
}

enum err message_get_error(const void *bytes, size_t size, struct message_error *ret)
{
    struct reader r = reader_on(bytes, size);

    ret->code = reader_u32(&r);
    ret->leader = reader_u64(&r);
    ret->retry_ms = reader_u32(&r);
    ret->cutoff_ns = (int64_t)reader_u64(&r);
    ret->text = get_string(&r, MESSAGE_TEXT_MAX);
    ret->id_count = reader_u32(&r);
    ret->ids = take_ids(&r, ret->id_count);
    if (!reader_done(&r))
        return malformed("ERROR", size);
    if (ret->code == ERR_OK || ret->code >= ERR_COUNT)
        return out_of_range("ERROR", "code", ret->code);
    return ERR_OK;
}

/* ---- TOPOLOGY ------------------------------------------------------------------------------ */

void message_put_topology(const struct message_topology *message, struct bytes *out)
{
    CHECK(message->nodes <= TOPOLOGY_NODES_MAX);
    CHECK(message->shards <= TOPOLOGY_SHARDS_MAX);

    bytes_put_u32(out, message->nodes);
    for (uint32_t i = 0; i < message->nodes; i++) {
        bytes_put_u64(out, message->node[i].server);
        bytes_put_string(out, message->node[i].host,
                         strnlen(message->node[i].host, sizeof message->node[i].host - 1));
        bytes_put_u16(out, message->node[i].native_port);
        bytes_put_u16(out, message->node[i].http_port);
        bytes_put_u8(out, message->node[i].up);
    }
    bytes_put_u32(out, message->shards);
    for (uint32_t i = 0; i < message->shards; i++)
        bytes_put_u64(out, message->leader[i]);
}

static enum err get_topology_node(struct reader *r, struct message_topology *ret, uint32_t at)
{
    struct slice host;
    uint8_t up;

    ret->node[at].server = reader_u64(r);
    host = get_string(r, sizeof ret->node[at].host - 1);
    ret->node[at].native_port = reader_u16(r);
    ret->node[at].http_port = reader_u16(r);
    up = reader_u8(r);
    if (up > 1)
        return out_of_range("TOPOLOGY_OK", "up", up);
    if (memchr(host.data, 0, host.size) != NULL)
        return out_of_range("TOPOLOGY_OK", "a byte of a host's name", 0);
    memcpy(ret->node[at].host, host.data, host.size);
    ret->node[at].host[host.size] = '\0';
    ret->node[at].up = up == 1;
    return ERR_OK;
}

enum err message_get_topology(const void *bytes, size_t size, struct message_topology *ret)
{
    struct reader r = reader_on(bytes, size);

    ret->nodes = reader_u32(&r);
    if (ret->nodes > TOPOLOGY_NODES_MAX)
        return out_of_range("TOPOLOGY_OK", "number of nodes", ret->nodes);
    for (uint32_t i = 0; i < ret->nodes; i++) {
        enum err err = get_topology_node(&r, ret, i);

        if (err != ERR_OK)
            return err;
    }
    ret->shards = reader_u32(&r);
    if (ret->shards > TOPOLOGY_SHARDS_MAX)
        return out_of_range("TOPOLOGY_OK", "number of shards", ret->shards);
    for (uint32_t i = 0; i < ret->shards; i++)
        ret->leader[i] = reader_u64(&r);
    if (!reader_done(&r))
        return malformed("TOPOLOGY_OK", size);
    return ERR_OK;
}

/* ---- DECLARE ------------------------------------------------------------------------------- */

void message_put_declare(const struct message_declare *message, struct bytes *out)
{
    CHECK(message->count <= FIELD_COUNT_MAX);

    bytes_put_string(out, message->table_key.data, message->table_key.size);
    bytes_put_u32(out, message->count);
    for (uint32_t i = 0; i < message->count; i++) {
        bytes_put_string(out, message->fields[i].name.data, message->fields[i].name.size);
        bytes_put_u8(out, message->fields[i].type);
    }
}

/* Two names and nothing after them (types.h). */
static bool is_table_key(struct slice key)
{
    struct reader r = reader_on(key.data, key.size);
    size_t database_size, table_size;

    reader_string(&r, NAME_SIZE_MAX, &database_size);
    reader_string(&r, NAME_SIZE_MAX, &table_size);
    return reader_done(&r) && database_size > 0 && table_size > 0;
}

enum err message_get_declare(const void *bytes, size_t size, struct message_declare *ret)
{
    struct reader r = reader_on(bytes, size);

    ret->table_key = get_string(&r, KEY_SIZE_MAX);
    ret->count = reader_u32(&r);
    if (ret->count > FIELD_COUNT_MAX)
        return out_of_range("DECLARE", "number of fields", ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        struct message_declare_field *field = &ret->fields[i];

        field->name = get_string(&r, NAME_SIZE_MAX);
        field->type = reader_u8(&r);
        if (r.bad)
            break;
        if (field->name.size == 0)
            return out_of_range("DECLARE", "size of a field's name", 0);
        if (field->type == 0 || field->type >= FIELD_TYPE_END)
            return out_of_range("DECLARE", "type", field->type);
    }
    if (!reader_done(&r))
        return malformed("DECLARE", size);
    if (!is_table_key(ret->table_key))
        return err_set(ERR_INVALID, "DECLARE frame: %zu bytes that are not a table key",
                       ret->table_key.size);
    return ERR_OK;
}

/* ---- DATABASE ------------------------------------------------------------------------------ */

void message_put_database(const struct message_database *message, struct bytes *out)
{
    bytes_put_u8(out, message->op);
    bytes_put_u8(out, message->sets_retention);
    bytes_put_u64(out, message->retention_ns);
    bytes_put_u8(out, message->sets_bytes);
    bytes_put_u64(out, message->retention_bytes);
    bytes_put_u8(out, message->sets_series);
    bytes_put_u64(out, message->series_max);
    bytes_put_string(out, message->name.data, message->name.size);
}

enum err message_get_database(const void *bytes, size_t size, struct message_database *ret)
{
    struct reader r = reader_on(bytes, size);

    ret->op = reader_u8(&r);
    ret->sets_retention = get_bool(&r);
    ret->retention_ns = reader_u64(&r);
    ret->sets_bytes = get_bool(&r);
    ret->retention_bytes = reader_u64(&r);
    ret->sets_series = get_bool(&r);
    ret->series_max = reader_u64(&r);
    ret->name = get_string(&r, NAME_SIZE_MAX);
    if (!reader_done(&r))
        return malformed("DATABASE", size);
    if (ret->op < DATABASE_CREATE || ret->op > DATABASE_LIST)
        return out_of_range("DATABASE", "op", ret->op);
    if ((ret->name.size == 0) != (ret->op == DATABASE_LIST))
        return out_of_range("DATABASE", "size of the name", ret->name.size);
    if (memchr(ret->name.data, 0, ret->name.size) != NULL)
        return out_of_range("DATABASE", "a byte of the name", 0);
    return ERR_OK;
}

void message_put_database_info(const struct message_database_info *info, struct bytes *out)
{
    bytes_put_string(out, info->name.data, info->name.size);
    bytes_put_u64(out, info->retention_ns);
    bytes_put_u64(out, info->retention_bytes);
    bytes_put_u64(out, info->series_max);
    bytes_put_u64(out, info->window_ns);
}

enum err message_get_database_info(const void *bytes, size_t size, size_t *at,
                                   struct message_database_info *ret)
{
    struct reader r;

    if (*at >= size)
        return ERR_END;
    r = reader_on((const uint8_t *)bytes + *at, size - *at);
    ret->name = get_string(&r, NAME_SIZE_MAX);
    ret->retention_ns = reader_u64(&r);
    ret->retention_bytes = reader_u64(&r);
    ret->series_max = reader_u64(&r);
    ret->window_ns = reader_u64(&r);
    if (r.bad || ret->name.size == 0)
        return malformed("DATABASE_OK", size);
    *at = size - reader_left(&r);
    return ERR_OK;
}

/* ---- DELETE -------------------------------------------------------------------------------- */

void message_put_delete(const struct message_delete *message, struct bytes *out)
{
    bytes_put_u32(out, message->shard);
    bytes_put(out, message->tombstone.data, message->tombstone.size);
}

enum err message_get_delete(const void *bytes, size_t size, struct message_delete *ret)
{
    struct reader r = reader_on(bytes, size);
    struct tombstone tombstone;

    ret->shard = reader_u32(&r);
    if (r.bad)
        return malformed("DELETE", size);
    ret->tombstone = (struct slice){(const char *)r.at, reader_left(&r)};
    return tombstone_get(ret->tombstone.data, ret->tombstone.size, &tombstone);
}

/* ---- WRITE --------------------------------------------------------------------------------- */

void message_put_write_ok(const struct message_write_ok *message, struct bytes *out)
{
    bytes_put_u32(out, message->shard);
    bytes_put_u64(out, message->sequence);
    bytes_put_u64(out, message->index);
    bytes_put_u32(out, message->rows);
    bytes_put_u8(out, message->duplicate);
    bytes_put_u32(out, message->id_count);
    bytes_put(out, message->ids, (size_t)message->id_count * sizeof(uint32_t));
}

enum err message_get_write_ok(const void *bytes, size_t size, struct message_write_ok *ret)
{
    struct reader r = reader_on(bytes, size);
    uint8_t duplicate;

    ret->shard = reader_u32(&r);
    ret->sequence = reader_u64(&r);
    ret->index = reader_u64(&r);
    ret->rows = reader_u32(&r);
    duplicate = reader_u8(&r);
    ret->id_count = reader_u32(&r);
    ret->ids = take_ids(&r, ret->id_count);
    if (!reader_done(&r))
        return malformed("WRITE_OK", size);
    if (duplicate > 1)
        return out_of_range("WRITE_OK", "duplicate", duplicate);
    ret->duplicate = duplicate == 1;
    return ERR_OK;
}

/* ---- QUERY --------------------------------------------------------------------------------- */

static void put_name(const char *name, struct bytes *out)
{
    bytes_put_string(out, name, strlen(name));
}

void message_put_query(const struct query *query, uint32_t shard, uint32_t timeout_ms,
                       struct bytes *out)
{
    CHECK(query->field_count <= QUERY_FIELDS_MAX);
    CHECK(query->where_count <= QUERY_TAGS_MAX);
    CHECK(query->group_count <= QUERY_TAGS_MAX);

    bytes_put_u32(out, shard);
    bytes_put_u32(out, timeout_ms);
    put_name(query->database, out);
    put_name(query->table, out);
    bytes_put_u32(out, query->field_count);
    for (uint32_t i = 0; i < query->field_count; i++)
        put_name(query->fields[i], out);
    bytes_put_u32(out, query->where_count);
    for (uint32_t i = 0; i < query->where_count; i++) {
        put_name(query->where[i].name, out);
        put_name(query->where[i].value, out);
        bytes_put_u8(out, (uint8_t)query->where[i].op);
    }
    bytes_put_u32(out, query->group_count);
    for (uint32_t i = 0; i < query->group_count; i++)
        put_name(query->group_by[i], out);
    bytes_put_u64(out, (uint64_t)query->from_ns);
    bytes_put_u64(out, (uint64_t)query->to_ns);
    bytes_put_u64(out, (uint64_t)query->every_ns);
    bytes_put_u32(out, query->agg);
    bytes_put_u8(out, query->last);
    bytes_put_u64(out, query->limit);
    bytes_put_u32(out, query->consistency);
    bytes_put_u8(out, (uint8_t)query->about);
    bytes_put_u8(out, query->page.on);
    bytes_put_u32(out, query->page.shard);
    bytes_put_u32(out, query->page.series_first);
    bytes_put_u32(out, query->page.series_last);
}

/* Copies a string into the room, NUL-terminated. The room never grows here, so that earlier names
 * stay where they are: message_get_query() took enough for all. */
static const char *get_name(struct reader *r, size_t size_min, struct bytes *room)
{
    struct slice name = get_string(r, NAME_SIZE_MAX);
    uint8_t *copy;

    if (r->bad || name.size < size_min || memchr(name.data, 0, name.size) != NULL) {
        r->bad = true;
        return "";
    }
    CHECK(room->size + name.size + 1 <= room->capacity);
    copy = room->data + room->size;
    memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    room->size += name.size + 1;
    return (const char *)copy;
}

/* A count that is too large counts as bad, so nothing is stored past the arrays. */
static uint32_t get_count(struct reader *r, uint32_t max)
{
    uint32_t count = reader_u32(r);

    if (count > max)
        r->bad = true;
    return r->bad ? 0 : count;
}

static void get_query_names(struct reader *r, struct query *query, struct bytes *room)
{
    query->database = get_name(r, 1, room);
    query->table = get_name(r, 0, room);
    query->field_count = get_count(r, QUERY_FIELDS_MAX);
    for (uint32_t i = 0; i < query->field_count; i++)
        query->fields[i] = get_name(r, 1, room);
    query->where_count = get_count(r, QUERY_TAGS_MAX);
    for (uint32_t i = 0; i < query->where_count; i++) {
        query->where[i].name = get_name(r, 1, room);
        query->where[i].value = get_name(r, 0, room);
        query->where[i].op = reader_u8(r);
    }
    query->group_count = get_count(r, QUERY_TAGS_MAX);
    for (uint32_t i = 0; i < query->group_count; i++)
        query->group_by[i] = get_name(r, 1, room);
}

static enum err check_query(const struct query *query)
{
    if (query->agg >= QUERY_AGG_END)
        return out_of_range("QUERY", "agg", query->agg);
    for (uint32_t i = 0; i < query->where_count; i++) {
        if (query->where[i].op >= QUERY_OP_END)
            return out_of_range("QUERY", "operator", query->where[i].op);
    }
    if (query->consistency > QUERY_ANY)
        return out_of_range("QUERY", "consistency", query->consistency);
    if (query->about >= QUERY_ABOUT_END)
        return out_of_range("QUERY", "about", query->about);
    if ((query->about >= QUERY_TABLES) != (query->table[0] == '\0'))
        return err_set(ERR_INVALID, "query: rows, series, labels and values are of a table, and "
                                    "tables and databases of none");
    if (query->about >= QUERY_TABLES && query->where_count > 0)
        return err_set(ERR_INVALID, "query: tables have no tags to be chosen by");
    if (query->about != QUERY_ROWS && (query->last || query->agg != QUERY_RAW))
        return err_set(ERR_INVALID, "query: series, labels and values have no aggregate");
    if (query->page.on &&
        (query->about != QUERY_ROWS || query->last || query->agg != QUERY_RAW || query->limit > 0))
        return err_set(ERR_INVALID, "query: a page has raw rows, and as many as fit");
    if (query->about == QUERY_VALUES && query->field_count != 1)
        return err_set(ERR_INVALID, "query: values of %u labels, not of one", query->field_count);
    if (query->every_ns < 0)
        return err_set(ERR_INVALID, "query: windows of %" PRId64 " ns: give a positive width",
                       query->every_ns);
    if (query->last && query->agg != QUERY_RAW)
        return err_set(ERR_INVALID, "query: 'last' and an aggregate exclude each other");
    if (query->agg == QUERY_RAW && (query->every_ns > 0 || query->group_count > 0))
        return err_set(ERR_INVALID, "query: windows and groups need an aggregate, such as mean");
    return ERR_OK;
}

enum err message_get_query(const void *bytes, size_t size, struct message_query *ret)
{
    struct reader r = reader_on(bytes, size);
    struct message_query message = {0};
    struct query *query = &message.query;
    enum err err;

    if (size > MESSAGE_QUERY_MAX)
        return err_set(ERR_TOO_LARGE, "QUERY frame of %zu bytes; at most %d are allowed", size,
                       (int)MESSAGE_QUERY_MAX);
    /* In the frame a string has at least one byte of size before it, here one NUL behind it. */
    if (bytes_add(&message.room, size + 1) == NULL)
        return err_set(ERR_NO_MEMORY, "QUERY frame of %zu bytes: no memory for it", size);
    message.room.size = 0;

    message.shard = reader_u32(&r);
    message.timeout_ms = reader_u32(&r);
    get_query_names(&r, query, &message.room);
    query->from_ns = (int64_t)reader_u64(&r);
    query->to_ns = (int64_t)reader_u64(&r);
    query->every_ns = (int64_t)reader_u64(&r);
    query->agg = reader_u32(&r);
    query->last = get_bool(&r);
    query->limit = reader_u64(&r);
    query->consistency = reader_u32(&r);
    query->about = reader_u8(&r);
    query->page.on = get_bool(&r);
    query->page.shard = reader_u32(&r);
    query->page.series_first = reader_u32(&r);
    query->page.series_last = reader_u32(&r);

    err = reader_done(&r) ? check_query(query) : malformed("QUERY", size);
    if (err != ERR_OK) {
        bytes_fini(&message.room);
        return err;
    }
    *ret = message;
    return ERR_OK;
}

void message_query_fini(struct message_query *message)
{
    bytes_fini(&message->room);
}

void message_put_query_end(const struct message_query_end *message, struct bytes *out)
{
    bytes_put_u32(out, message->code);
    bytes_put_u64(out, message->rows);
    bytes_put_u64(out, message->stale_ms);
    bytes_put_u64(out, message->leader);
    put_text(message->text, out);
    bytes_put_u32(out, message->next.series);
    bytes_put_u64(out, (uint64_t)message->next.time_ns);
}

enum err message_get_query_end(const void *bytes, size_t size, struct message_query_end *ret)
{
    struct reader r = reader_on(bytes, size);

    ret->code = reader_u32(&r);
    ret->rows = reader_u64(&r);
    ret->stale_ms = reader_u64(&r);
    ret->leader = reader_u64(&r);
    ret->text = get_string(&r, MESSAGE_TEXT_MAX);
    ret->next.series = reader_u32(&r);
    ret->next.time_ns = (int64_t)reader_u64(&r);
    if (!reader_done(&r))
        return malformed("QUERY_END", size);
    if (ret->code >= ERR_COUNT)
        return out_of_range("QUERY_END", "code", ret->code);
    return ERR_OK;
}
