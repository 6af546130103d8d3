/*
 * Payloads from anybody: the first byte picks the message. What is accepted is written again, and
 * that must be accepted and be written the same way a second time.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/wire/message.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decode `bytes` as message number `which` and write it to `out`. */
static enum err again(unsigned which, const void *bytes, size_t size, struct bytes *out)
{
    static union {
        struct message_hello hello;
        struct message_hello_ok hello_ok;
        struct message_error error;
        struct message_topology topology;
        struct message_declare declare;
        struct message_write_ok write_ok;
        struct message_query query;
        struct message_query_end query_end;
        struct message_database database;
        struct message_database_info database_info;
        struct message_delete delete;
    } m;
    size_t at = 0;
    enum err err = ERR_END;

#define AGAIN(number, name)                                             \
    if (which == (number)) {                                            \
        if ((err = message_get_##name(bytes, size, &m.name)) == ERR_OK) \
            message_put_##name(&m.name, out);                           \
    }
    AGAIN(0, hello)
    AGAIN(1, hello_ok)
    AGAIN(2, error)
    AGAIN(3, topology)
    AGAIN(4, declare)
    AGAIN(5, write_ok)
    AGAIN(7, query_end)
    AGAIN(8, database)
    AGAIN(10, delete)
#undef AGAIN
    if (which == 6 && (err = message_get_query(bytes, size, &m.query)) == ERR_OK) {
        message_put_query(&m.query.query, m.query.shard, m.query.timeout_ms, out);
        message_query_fini(&m.query);
    }
    if (which == 9) {
        while ((err = message_get_database_info(bytes, size, &at, &m.database_info)) == ERR_OK)
            message_put_database_info(&m.database_info, out);
        err = err == ERR_END ? ERR_OK : err;
    }
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes once = {0}, twice = {0};

    if (size == 0)
        return 0;
    if (again(data[0], data + 1, size - 1, &once) == ERR_OK) {
        CHECK(again(data[0], once.data, once.size, &twice) == ERR_OK);
        CHECK(once.size == twice.size);
        CHECK(once.size == 0 || memcmp(once.data, twice.data, once.size) == 0);
    }
    bytes_fini(&once);
    bytes_fini(&twice);
    return 0;
}
