#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"

/* What was asked, and the types that came back: on the caller's heap, filled by the I/O thread. */
struct declaration {
    struct message_declare asked;
    uint8_t decided[FIELD_COUNT_MAX];
};

static enum err on_declared(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    struct declaration *declaration = ctx;
    struct message_declare *answer;
    enum err err;

    if (type != FRAME_DECLARE_OK)
        return err_set(ERR_INVALID, "DECLARE was answered with a frame of type %u", (unsigned)type);
    answer = malloc(sizeof *answer);
    if (!answer)
        return err_set(ERR_NO_MEMORY, "the types of %u fields", (unsigned)declaration->asked.count);
    err = message_get_declare(payload, size, answer);
    if (err == ERR_OK && answer->count != declaration->asked.count)
        err = err_set(ERR_INVALID, "%u fields were declared, %u were answered",
                      (unsigned)declaration->asked.count, (unsigned)answer->count);
    for (uint32_t i = 0; err == ERR_OK && i < answer->count; i++)
        declaration->decided[i] = answer->fields[i].type;
    free(answer);
    return err == ERR_OK ? ERR_END : err;
}

static enum err ask(struct millrace *m, struct declaration *declaration)
{
    struct call call = {.type = FRAME_DECLARE,
                        .timeout_ns = m->timeout_ns,
                        .on_answer = on_declared,
                        .ctx = declaration};
    struct bytes bytes = {0};
    enum err err;

    message_put_declare(&declaration->asked, &bytes);
    call.payload = session_payload(&bytes);
    bytes_fini(&bytes);
    if (!call.payload)
        return err_set(ERR_NO_MEMORY, "a declaration");
    err = io_call(m->io, &call, 1);
    buf_unref(call.payload);
    return err;
}

enum err client_declare(struct millrace *m, struct table *table, const struct line_field *fields,
                        size_t count)
{
    struct declaration *declaration = calloc(1, sizeof *declaration);
    struct message_declare *asked;
    struct field *field;
    enum err err = ERR_OK;

    if (!declaration)
        return err_set(ERR_NO_MEMORY, "a declaration");
    asked = &declaration->asked;
    asked->table_key = (struct slice){(const char *)table->key, table->key_size};
    for (size_t i = 0; i < count && err == ERR_OK && asked->count < FIELD_COUNT_MAX; i++) {
        err = names_field(table, fields[i].name.data, fields[i].name.size, &field);
        if (err == ERR_OK && field->type == 0)
            asked->fields[asked->count++] =
                (struct message_declare_field){fields[i].name, (uint8_t)fields[i].type};
    }
    if (err == ERR_OK && asked->count > 0)
        err = ask(m, declaration);
    for (uint32_t i = 0; err == ERR_OK && i < asked->count; i++) {
        struct slice name = asked->fields[i].name;

        err = names_field(table, name.data, name.size, &field);
        if (err == ERR_OK)
            field->type = (enum field_type)declaration->decided[i];
    }
    free(declaration);
    return err;
}
