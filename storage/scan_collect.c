#include "storage/scan_collect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a piece costs until its series is done: itself, its place in `order` and in scan_merge's
 * heap. */
enum { PIECE_COST = sizeof(struct scan_piece) + sizeof(uint32_t) + 24 };

/* ---- Chunks -------------------------------------------------------------------------------- */

struct scan_chunk *scan_collect_new_chunk(uint32_t rows, uint32_t field_count, size_t *ret_size)
{
    size_t head = sizeof(struct scan_chunk) + field_count * sizeof(struct scan_values);
    size_t words = ((size_t)field_count + 1) * rows * sizeof(uint64_t);
    size_t size = head + words + (size_t)field_count * rows;
    struct scan_chunk *chunk = malloc(size);
    uint64_t *bits;
    uint8_t *present;

    if (chunk == NULL)
        return NULL;
    chunk->rows = rows;
    chunk->field_count = field_count;
    chunk->times_ns = (int64_t *)(void *)((uint8_t *)chunk + head);
    bits = (uint64_t *)chunk->times_ns + rows;
    present = (uint8_t *)chunk + head + words;
    for (uint32_t i = 0; i < field_count; i++)
        chunk->fields[i] = (struct scan_values){
            .bits = bits + (size_t)i * rows,
            .present = present + (size_t)i * rows,
        };
    *ret_size = size;
    return chunk;
}

void scan_collect_free_chunk(struct scan_chunk *chunk)
{
    if (chunk == NULL)
        return;
    for (uint32_t i = 0; i < chunk->field_count; i++)
        free(chunk->fields[i].text);
    free(chunk);
}

/* ---- Lifetime ------------------------------------------------------------------------------ */

void scan_collect_init(struct scan_collect *collect, struct scan_decode *decode, uint64_t budget)
{
    *collect = (struct scan_collect){.decode = decode, .budget = budget};
}

static void forget(struct scan_collect *collect)
{
    for (uint32_t i = 0; i < collect->chunk_count; i++)
        scan_collect_free_chunk(collect->chunks[i]);
    free(collect->order);
    free(collect->starts);
    collect->order = collect->starts = NULL;
    collect->chunk_count = collect->piece_count = 0;
    collect->used = collect->rows = 0;
    collect->full = false;
}

void scan_collect_fini(struct scan_collect *collect)
{
    forget(collect);
    free(collect->chunks);
    free(collect->pieces);
    *collect = (struct scan_collect){0};
}

/* ---- One section --------------------------------------------------------------------------- */

static enum err no_memory(const struct scan_collect *collect)
{
    return err_set(ERR_NO_MEMORY, "scan: no memory for more rows than %" PRIu64 " bytes",
                   collect->used);
}

/* False, and `full`, if it does not fit. */
static bool charge(struct scan_collect *collect, uint64_t size)
{
    if (size > collect->budget || collect->used > collect->budget - size)
        collect->full = true;
    else
        collect->used += size;
    return !collect->full;
}

static enum err add_chunk(struct scan_collect *collect, struct scan_chunk *chunk)
{
    if (collect->chunk_count == collect->chunk_capacity) {
        uint32_t capacity = collect->chunk_capacity == 0 ? 64 : 2 * collect->chunk_capacity;
        struct scan_chunk **chunks = realloc(collect->chunks, capacity * sizeof(*chunks));

        if (chunks == NULL)
            return no_memory(collect);
        collect->chunks = chunks;
        collect->chunk_capacity = capacity;
    }
    collect->chunks[collect->chunk_count++] = chunk;
    return ERR_OK;
}

/* The pieces of the chunk last added: its rows are the section's runs, one behind the other. */
static enum err add_pieces(struct scan_collect *collect)
{
    const struct scan_decode *decode = collect->decode;
    uint32_t need = collect->piece_count + decode->run_count, start = 0;

    if (need > collect->piece_capacity) {
        uint32_t capacity = collect->piece_capacity == 0 ? 1024 : collect->piece_capacity;
        struct scan_piece *pieces;

        while (capacity < need)
            capacity *= 2;
        pieces = realloc(collect->pieces, capacity * sizeof *pieces);
        if (pieces == NULL)
            return no_memory(collect);
        collect->pieces = pieces;
        collect->piece_capacity = capacity;
    }
    for (uint32_t i = 0; i < decode->run_count; i++) {
        const struct scan_run *run = &decode->runs[i];

        collect->pieces[collect->piece_count++] =
            (struct scan_piece){run->slot, collect->chunk_count - 1, start, run->rows};
        start += run->rows;
    }
    return ERR_OK;
}

/* Copy the kept ones of the section's `from`, elements of `size` bytes. */
static void copy_kept(const struct scan_decode *decode, void *into, const void *from, size_t size)
{
    uint8_t *out = into;

    for (uint32_t i = 0; i < decode->run_count; i++) {
        const struct scan_run *run = &decode->runs[i];

        memcpy(out, (const uint8_t *)from + run->start * size, run->rows * size);
        out += run->rows * size;
    }
}

/* The strings of a field's rows, copied out of the block. Neighbours that share their bytes there
 * share them here: a block may refer to one long string many times. */
static enum err copy_text(struct scan_collect *collect, struct scan_values *values, uint32_t rows,
                          const char *strings)
{
    uint64_t size = 0, before = 0;

    for (uint32_t i = 0; i < rows; i++) {
        if (values->bits[i] != before)
            size += values->bits[i] >> 32;
        before = values->bits[i];
    }
    if (size > UINT32_MAX) {
        collect->full = true; /* Offsets have 32 bits. */
        return ERR_OK;
    }
    if (!charge(collect, size))
        return ERR_OK;
    values->text = malloc(size + 1);
    if (values->text == NULL)
        return no_memory(collect);
    size = before = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t bits = values->bits[i];
        uint32_t length = (uint32_t)(bits >> 32);

        if (bits == before) {
            values->bits[i] = i == 0 ? 0 : values->bits[i - 1];
            continue;
        }
        before = bits;
        values->bits[i] = (uint64_t)length << 32 | size;
        if (length > 0)
            memcpy(values->text + size, strings + (uint32_t)bits, length);
        size += length;
    }
    return ERR_OK;
}

static enum err read_field(struct scan_collect *collect, uint32_t field, struct scan_values *values)
{
    struct scan_decode *decode = collect->decode;
    bool all = decode->kept == decode->section_rows;
    const char *strings = NULL;
    enum err err = section_read_some_values(
        &decode->reader, field, decode->first_row, decode->end_row,
        all ? values->present : decode->present, all ? values->bits : decode->bits, &strings);

    if (err != ERR_OK)
        return err;
    if (!all) {
        copy_kept(decode, values->present, decode->present, sizeof *decode->present);
        copy_kept(decode, values->bits, decode->bits, sizeof *decode->bits);
    }
    if (section_field(&decode->reader, field).type == FIELD_STRING)
        return copy_text(collect, values, decode->kept, strings);
    return ERR_OK;
}

static enum err read_section(struct scan_collect *collect, struct scan_chunk *chunk)
{
    struct scan_decode *decode = collect->decode;
    uint32_t at = 0;
    enum err err = scan_decode_times(decode);

    if (err == ERR_OK)
        copy_kept(decode, chunk->times_ns, decode->times_ns, sizeof *decode->times_ns);
    for (uint32_t i = 0; at < chunk->field_count && err == ERR_OK && !collect->full; i++) {
        const struct scan_field *asked = &decode->asked[i];

        if (asked->values == 0)
            continue;
        chunk->fields[at].column = asked->column;
        err = read_field(collect, asked->field, &chunk->fields[at++]);
    }
    return err;
}

/* Called by scan_decode_region() for each section. */
static enum err collect_section(void *arg, struct scan_decode *decode)
{
    struct scan_collect *collect = arg;
    uint32_t field_count = 0;
    struct scan_chunk *chunk;
    size_t size;
    enum err err = scan_decode_runs(decode);

    if (err == ERR_OK && decode->kept > 0 && !collect->times_only)
        err = scan_decode_fields(decode, 1);
    if (err != ERR_OK || decode->kept == 0)
        return err;
    for (uint32_t i = 0; i < decode->asked_count && !collect->times_only; i++)
        field_count += decode->asked[i].values > 0;
    size = sizeof *chunk + field_count * sizeof *chunk->fields +
           (uint64_t)decode->kept * (8 + 9 * (uint64_t)field_count);
    collect->rows += decode->kept;
    if (!charge(collect, size + (uint64_t)decode->run_count * PIECE_COST))
        return ERR_END;
    chunk = scan_collect_new_chunk(decode->kept, field_count, &size);
    err = chunk == NULL ? no_memory(collect) : add_chunk(collect, chunk);
    if (err != ERR_OK) {
        scan_collect_free_chunk(chunk);
        return err;
    }
    err = read_section(collect, chunk);
    if (err == ERR_OK && collect->full)
        return ERR_END;
    return err == ERR_OK ? add_pieces(collect) : err;
}

/* ---- A region ------------------------------------------------------------------------------ */

/* Counting sort of the pieces by slot, which keeps the log order. */
static enum err sort_pieces(struct scan_collect *collect, uint32_t slots)
{
    uint32_t *starts = calloc((size_t)slots + 2, sizeof *starts);
    uint32_t *order = malloc(((size_t)collect->piece_count + 1) * sizeof *order);

    collect->starts = starts;
    collect->order = order;
    if (starts == NULL || order == NULL)
        return no_memory(collect);
    /* Counts one place too far, so that after placing, starts[slot] is where the slot begins. */
    for (uint32_t i = 0; i < collect->piece_count; i++)
        starts[collect->pieces[i].slot + 2]++;
    for (uint32_t slot = 0; slot < slots; slot++)
        starts[slot + 2] += starts[slot + 1];
    for (uint32_t i = 0; i < collect->piece_count; i++)
        order[starts[collect->pieces[i].slot + 1]++] = i;
    return ERR_OK;
}

enum err scan_collect_region(struct scan_collect *collect, const struct scan_region *region)
{
    uint32_t slots = region->hi - region->lo;
    enum err err;

    forget(collect);
    if (!charge(collect, (uint64_t)slots * sizeof *collect->starts))
        return ERR_OK;
    err = scan_decode_region(collect->decode, region, collect_section, collect);
    if (collect->full)
        return ERR_OK;
    return err == ERR_OK ? sort_pieces(collect, slots) : err;
}
