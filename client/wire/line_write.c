#include "client/wire/line_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 40 };

/* ---- Names --------------------------------------------------------------------------------- */

static bool can_say(struct slice name)
{
    if (name.size == 0 || name.data[name.size - 1] == '\\')
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] < 0x20)
            return false;
    return true;
}

static void put_name(struct slice name, const char *escaped, struct bytes *out)
{
    for (size_t i = 0; i < name.size; i++) {
        if (strchr(escaped, name.data[i]) != NULL)
            bytes_put_u8(out, '\\');
        bytes_put_u8(out, (uint8_t)name.data[i]);
    }
}

bool line_write_head(struct slice table, const struct tag *tags, size_t tag_count,
                     struct bytes *out)
{
    if (!can_say(table) || table.data[0] == '#')
        return false;
    for (size_t i = 0; i < tag_count; i++)
        if (!can_say(tags[i].name) || !can_say(tags[i].value))
            return false;
    put_name(table, ", ", out);
    for (size_t i = 0; i < tag_count; i++) {
        bytes_put_u8(out, ',');
        put_name(tags[i].name, ", =", out);
        bytes_put_u8(out, '=');
        put_name(tags[i].value, ", =", out);
    }
    return true;
}

/* ---- Fields -------------------------------------------------------------------------------- */

/* The shortest text that reads back as the same float. */
static void put_float(double number, struct bytes *out)
{
    char text[NUMBER_SIZE];

    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    bytes_put(out, text, strlen(text));
}

static void put_string(struct slice text, struct bytes *out)
{
    bytes_put_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            bytes_put_u8(out, '\\');
        bytes_put_u8(out, (uint8_t)text.data[i]);
    }
    bytes_put_u8(out, '"');
}

static void put_value(enum field_type type, uint64_t bits, struct slice text, struct bytes *out)
{
    char number[NUMBER_SIZE];
    double value;

    if (type == FIELD_STRING) {
        put_string(text, out);
    } else if (type == FIELD_FLOAT) {
        memcpy(&value, &bits, sizeof value);
        put_float(value, out);
    } else {
        if (type == FIELD_INT)
            (void)snprintf(number, sizeof number, "%" PRId64 "i", (int64_t)bits);
        else if (type == FIELD_UINT)
            (void)snprintf(number, sizeof number, "%" PRIu64 "u", bits);
        else
            (void)snprintf(number, sizeof number, "%s", bits != 0 ? "true" : "false");
        bytes_put(out, number, strlen(number));
    }
}

bool line_write_field(bool first, struct slice name, enum field_type type, uint64_t bits,
                      struct slice text, struct bytes *out)
{
    if (!can_say(name))
        return false;
    if (type == FIELD_FLOAT) {
        double value;

        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            return false;
    }
    bytes_put_u8(out, first ? ' ' : ',');
    put_name(name, ", =", out);
    bytes_put_u8(out, '=');
    put_value(type, bits, text, out);
    return true;
}

void line_write_time(int64_t time_ns, struct bytes *out)
{
    char number[NUMBER_SIZE];

    (void)snprintf(number, sizeof number, " %" PRId64 "\n", time_ns);
    bytes_put(out, number, strlen(number));
}
