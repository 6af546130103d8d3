/*
 * Line protocol from anybody, whole and then in pieces as a socket cuts it. The first two bytes
 * choose the size of pieces and the longest line; the rest is text. Every slice that comes out is
 * read, so a sanitizer sees one that points nowhere.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/line_protocol.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void read_slice(struct slice slice)
{
    for (size_t i = 0; i < slice.size; i++)
        sink = (uint8_t)slice.data[i];
}

static void read_line(const struct line *line)
{
    CHECK(line->field_count > 0);
    CHECK(line->table.size > 0);
    read_slice(line->table);
    read_slice(line->head);
    for (uint32_t i = 0; i < line->tag_count; i++) {
        CHECK(line->tags[i].name.size > 0);
        CHECK(line->tags[i].value.size > 0);
        read_slice(line->tags[i].name);
        read_slice(line->tags[i].value);
    }
    for (uint32_t i = 0; i < line->field_count; i++) {
        CHECK(line->fields[i].name.size > 0);
        CHECK(line->fields[i].type < FIELD_TYPE_END);
        read_slice(line->fields[i].name);
        read_slice(line->fields[i].text);
    }
}

static void drain(struct line_parser *parser)
{
    static struct line line;
    enum err err;

    while ((err = line_parser_next(parser, &line)) != ERR_END) {
        if (err == ERR_OK)
            read_line(&line);
        CHECK(parser->number <= parser->lines + 1);
        read_slice(parser->raw);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line_parser parser;
    size_t piece, carried = 0, at = 2;
    char *room;

    if (size < 2)
        return 0;
    piece = data[0] + (size_t)1;
    room = malloc(size); /* Not a byte more: reading past the end is an error. */
    CHECK(room != NULL);

    line_parser_init(&parser, 1000);
    memcpy(room, data + 2, size - 2);
    line_parser_feed(&parser, room, size - 2, 0);
    drain(&parser);
    CHECK(parser.at == parser.end);
    line_parser_fini(&parser);

    line_parser_init(&parser, 1);
    parser.size_max = data[1] + UINT32_C(1);
    while (at < size) {
        size_t take = piece < size - at ? piece : size - at;

        memcpy(room + carried, data + at, take);
        at += take;
        line_parser_feed(&parser, room, carried + take, parser.lines);
        parser.more = at < size;
        drain(&parser);
        carried = (size_t)(parser.end - parser.at);
        CHECK(carried <= parser.size_max);
        memmove(room, parser.at, carried);
    }
    CHECK(carried == 0);
    line_parser_fini(&parser);
    free(room);
    return 0;
}
