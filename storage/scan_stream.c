#include "storage/scan_stream.h"

#include <inttypes.h>
#include <stdint.h>

void scan_stream_init(struct scan_stream *stream, scan_merge_cb take, void *arg)
{
    *stream = (struct scan_stream){.take = take, .arg = arg};
}

void scan_stream_fini(struct scan_stream *stream)
{
    scan_collect_free_chunk(stream->chunk);
    stream->chunk = NULL;
}

/* The most that a chunk takes once it is decoded. */
static uint64_t chunk_bytes(const struct scan_decode *decode, uint32_t fields)
{
    uint32_t listed = decode->query->field_count;

    if (listed > 0 && listed < fields)
        fields = listed;
    return SEGMENT_CHUNK_ROWS * (sizeof(int64_t) + (sizeof(uint64_t) + 1) * (uint64_t)fields);
}

bool scan_stream_fits(const struct scan_decode *decode, const struct scan_region *region)
{
    const struct segment *segment = NULL;

    for (uint32_t i = 0; i < decode->snapshot->source_count; i++) {
        const struct snapshot_source *source = &decode->snapshot->sources[i];

        if (!scan_decode_overlaps(decode, region, source))
            continue;
        if (source->segment == NULL || (segment != NULL && source->segment != segment))
            return false;
        if (chunk_bytes(decode, segment_table(source->segment, source->group)->field_count) >
            decode->limits->memory_bytes)
            return false;
        segment = source->segment;
    }
    return true;
}

/* Room for a section in `chunk`. */
static enum err make_room(struct scan_stream *stream, uint32_t rows, uint32_t fields)
{
    size_t size;

    if (stream->chunk != NULL && rows <= stream->rows && fields <= stream->fields)
        return ERR_OK;
    rows = rows > SEGMENT_CHUNK_ROWS ? rows : SEGMENT_CHUNK_ROWS;
    scan_collect_free_chunk(stream->chunk);
    stream->chunk = scan_collect_new_chunk(rows, fields, &size);
    if (stream->chunk == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " rows of %" PRIu32 " fields",
                       rows, fields);
    stream->rows = rows;
    stream->fields = fields;
    return ERR_OK;
}

/* Decode the fields of the section into `chunk`. */
static enum err read_fields(struct scan_stream *stream, struct scan_decode *decode)
{
    struct scan_chunk *chunk = stream->chunk;
    enum err err = ERR_OK;

    chunk->field_count = 0;
    for (uint32_t i = 0; i < decode->asked_count && err == ERR_OK; i++) {
        const struct scan_field *asked = &decode->asked[i];
        struct scan_values *values = &chunk->fields[chunk->field_count];
        const char *strings;

        if (asked->values == 0)
            continue;
        err = section_read_field(&decode->reader, asked->field, values->present, values->bits,
                                 &strings);
        values->column = asked->column;
        values->text = (char *)(uintptr_t)strings; /* Lent: taken back below. */
        chunk->field_count++;
    }
    return err;
}

/* Called by scan_decode_region() for each section. */
static enum err hand_out(void *arg, struct scan_decode *decode)
{
    struct scan_stream *stream = arg;
    enum err err = scan_decode_runs(decode);

    if (err != ERR_OK || decode->kept == 0)
        return err;
    err = scan_decode_fields(decode, 1);
    if (err == ERR_OK)
        err = scan_decode_times(decode);
    if (err == ERR_OK)
        err = make_room(stream, decode->section_rows, decode->asked_count);
    if (err != ERR_OK)
        return err;
    err = read_fields(stream, decode);
    stream->chunk->times_ns = decode->times_ns;
    for (uint32_t i = 0; i < decode->run_count && err == ERR_OK; i++) {
        const struct scan_run *run = &decode->runs[i];

        err = stream->take(stream->arg, decode->match->ids[decode->region.lo + run->slot],
                           stream->chunk, run->start, run->rows);
    }
    for (uint32_t i = 0; i < stream->chunk->field_count; i++)
        stream->chunk->fields[i].text = NULL;
    return err;
}

enum err scan_stream_region(struct scan_stream *stream, struct scan_decode *decode,
                            const struct scan_region *region)
{
    return scan_decode_region(decode, region, hand_out, stream);
}
