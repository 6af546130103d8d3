#include "node/json_text.h"

#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at `at`; 0 if there is none (overlong, surrogate, cut short). */
static size_t character_size(const unsigned char *at, size_t left)
{
    static const unsigned char second_min[] = {[0xe0] = 0xa0, [0xf0] = 0x90};
    static const unsigned char second_max[] = {[0xed] = 0x9f, [0xf4] = 0x8f};
    unsigned char first = at[0];
    size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    unsigned char min, max;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4 || size > left)
        return 0;
    min = first < sizeof second_min && second_min[first] != 0 ? second_min[first] : 0x80;
    max = first < sizeof second_max && second_max[first] != 0 ? second_max[first] : 0xbf;
    if (at[1] < min || at[1] > max)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return size;
}

static void put_byte(struct bytes *out, unsigned char byte)
{
    char text[8];

    if (byte == '"' || byte == '\\')
        (void)snprintf(text, sizeof text, "\\%c", byte);
    else if (byte == '\n')
        (void)snprintf(text, sizeof text, "\\n");
    else if (byte < 0x20 || byte == 0x7f)
        (void)snprintf(text, sizeof text, "\\u%04x", byte);
    else
        (void)snprintf(text, sizeof text, "%c", byte);
    bytes_put(out, text, strlen(text));
}

void json_text_put(struct bytes *out, struct slice text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.size;

    bytes_put_u8(out, '"');
    while (left > 0) {
        size_t size = character_size(at, left);

        if (size == 0)
            bytes_put(out, "\xef\xbf\xbd", 3);
        else if (size == 1)
            put_byte(out, *at);
        else
            bytes_put(out, at, size);
        at += size == 0 ? 1 : size;
        left -= size == 0 ? 1 : size;
    }
    bytes_put_u8(out, '"');
}

size_t json_text_valid(struct slice text)
{
    size_t at = 0, size = 1;

    for (; at < text.size && size > 0; at += size)
        size = character_size((const unsigned char *)text.data + at, text.size - at);
    return at;
}
