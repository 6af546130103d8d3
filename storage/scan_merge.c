#include "storage/scan_merge.h"

#include <stdlib.h>
#include <string.h>

enum {
    GATHER_ROWS = 256,     /* Copied rows that are handed out together. */
    STRAIGHT_ROWS = 16,    /* From so many rows on, handing out beats copying. */
    SERIES_A_CHECK = 4096, /* Between looks at the clock. */
};

struct scan_merge_cursor {
    int64_t time_ns; /* Of row `at`. */
    uint32_t rank;   /* Position of the piece in log order: at equal times the later one wins. */
    uint32_t chunk;
    uint32_t at, end;
};

void scan_merge_init(struct scan_merge *merge, const struct scan_collect *collect,
                     scan_merge_cb take, void *arg)
{
    *merge = (struct scan_merge){.collect = collect, .take = take, .arg = arg};
}

void scan_merge_fini(struct scan_merge *merge)
{
    for (uint32_t i = 0; i < merge->field_capacity; i++)
        bytes_fini(&merge->texts[i]);
    scan_collect_free_chunk(merge->gathered);
    free(merge->texts);
    free(merge->field_of);
    free(merge->heap);
    *merge = (struct scan_merge){0};
}

static enum err no_memory(void)
{
    return err_set(ERR_NO_MEMORY, "scan: no memory to merge blocks that overlap");
}

/* ---- The heap ------------------------------------------------------------------------------ */

static bool is_before(const struct scan_merge_cursor *a, const struct scan_merge_cursor *b)
{
    return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->rank < b->rank;
}

static void sift_down(struct scan_merge *merge, uint32_t at)
{
    struct scan_merge_cursor *heap = merge->heap, moving = heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < merge->heap_count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (child >= merge->heap_count || !is_before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

/* The first cursor has given `rows` rows. */
static void advance(struct scan_merge *merge, uint32_t rows)
{
    struct scan_merge_cursor *first = &merge->heap[0];

    first->at += rows;
    if (first->at < first->end)
        first->time_ns = merge->collect->chunks[first->chunk]->times_ns[first->at];
    else
        *first = merge->heap[--merge->heap_count];
    if (merge->heap_count > 0)
        sift_down(merge, 0);
}

static enum err fill_heap(struct scan_merge *merge, const uint32_t *order, uint32_t count)
{
    const struct scan_collect *collect = merge->collect;

    if (count > merge->heap_capacity) {
        struct scan_merge_cursor *heap = realloc(merge->heap, (size_t)count * sizeof *merge->heap);

        if (heap == NULL)
            return no_memory();
        merge->heap = heap;
        merge->heap_capacity = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct scan_piece *piece = &collect->pieces[order[i]];

        merge->heap[i] = (struct scan_merge_cursor){
            .time_ns = collect->chunks[piece->chunk]->times_ns[piece->start],
            .rank = i,
            .chunk = piece->chunk,
            .at = piece->start,
            .end = piece->start + piece->rows,
        };
    }
    merge->heap_count = count;
    for (uint32_t at = count / 2; at-- > 0;)
        sift_down(merge, at);
    return ERR_OK;
}

/* How many rows of the first cursor are earlier than all rows of the others. */
static uint32_t rows_ahead(const struct scan_merge *merge)
{
    const struct scan_merge_cursor *heap = merge->heap;
    const int64_t *times_ns = merge->collect->chunks[heap[0].chunk]->times_ns + heap[0].at;
    uint32_t rows = heap[0].end - heap[0].at, low = 0, high, step = 1;
    int64_t bound;

    if (merge->heap_count == 1)
        return rows;
    bound = heap[1].time_ns;
    if (merge->heap_count > 2 && heap[2].time_ns < bound)
        bound = heap[2].time_ns;
    if (times_ns[0] >= bound)
        return 0;
    while (low + step < rows && times_ns[low + step] < bound) {
        low += step;
        step *= 2;
    }
    high = low + step < rows ? low + step : rows;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (times_ns[middle] < bound)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* ---- Copied rows --------------------------------------------------------------------------- */

static enum err grow_fields(struct scan_merge *merge, uint32_t count)
{
    struct bytes *texts;
    size_t size;

    if (count == 0)
        count = 1; /* Times alone. */
    if (count <= merge->field_capacity)
        return ERR_OK;
    texts = realloc(merge->texts, count * sizeof *texts);
    if (texts == NULL)
        return no_memory();
    memset(texts + merge->field_capacity, 0, (count - merge->field_capacity) * sizeof *texts);
    merge->texts = texts;
    merge->field_capacity = count;
    scan_collect_free_chunk(merge->gathered);
    merge->gathered = scan_collect_new_chunk(GATHER_ROWS, count, &size);
    return merge->gathered == NULL ? no_memory() : ERR_OK;
}

/* `gathered` gets the fields that any piece of the series has. */
static enum err join_fields(struct scan_merge *merge, const uint32_t *order, uint32_t count)
{
    const struct scan_collect *collect = merge->collect;
    uint32_t columns = collect->decode->column_count, field_count = 0;
    enum err err;

    if (columns > merge->columns_capacity) {
        uint32_t *field_of = realloc(merge->field_of, columns * sizeof *field_of);

        if (field_of == NULL)
            return no_memory();
        memset(field_of, 0xff, columns * sizeof *field_of);
        merge->field_of = field_of;
        merge->columns_capacity = columns;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct scan_chunk *chunk = collect->chunks[collect->pieces[order[i]].chunk];

        for (uint32_t f = 0; f < chunk->field_count; f++) {
            uint32_t *field = &merge->field_of[chunk->fields[f].column];

            if (*field == SCAN_COLUMN_NONE)
                *field = field_count++;
        }
    }
    err = grow_fields(merge, field_count);
    if (err != ERR_OK)
        return err;
    merge->gathered->field_count = field_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct scan_chunk *chunk = collect->chunks[collect->pieces[order[i]].chunk];

        for (uint32_t f = 0; f < chunk->field_count; f++) {
            uint32_t column = chunk->fields[f].column;

            merge->gathered->fields[merge->field_of[column]].column = column;
        }
    }
    return ERR_OK;
}

static void forget_fields(struct scan_merge *merge)
{
    for (uint32_t i = 0; i < merge->gathered->field_count; i++)
        merge->field_of[merge->gathered->fields[i].column] = SCAN_COLUMN_NONE;
}

static enum err flush(struct scan_merge *merge)
{
    static char nothing[1]; /* The text of a field that has empty strings only. */
    struct scan_chunk *gathered = merge->gathered;
    uint32_t rows = merge->gathered_rows;
    enum err err;

    if (rows == 0)
        return ERR_OK;
    for (uint32_t i = 0; i < gathered->field_count; i++) {
        uint32_t column = gathered->fields[i].column;

        if (merge->collect->decode->columns[column].type == FIELD_STRING)
            gathered->fields[i].text =
                merge->texts[i].data != NULL ? (char *)merge->texts[i].data : nothing;
    }
    merge->gathered_rows = 0;
    err = merge->take(merge->arg, merge->id, gathered, 0, rows);
    for (uint32_t i = 0; i < gathered->field_count; i++) {
        gathered->fields[i].text = NULL; /* It belongs to `texts`. */
        bytes_clear(&merge->texts[i]);
    }
    return err;
}

/* A new row of `gathered`, everything absent. */
static enum err begin_row(struct scan_merge *merge, int64_t time_ns)
{
    struct scan_chunk *gathered = merge->gathered;
    enum err err = merge->gathered_rows == GATHER_ROWS ? flush(merge) : ERR_OK;
    uint32_t row = merge->gathered_rows;

    if (err != ERR_OK)
        return err;
    gathered->times_ns[row] = time_ns;
    for (uint32_t i = 0; i < gathered->field_count; i++) {
        gathered->fields[i].present[row] = 0;
        gathered->fields[i].bits[row] = 0;
    }
    merge->gathered_rows++;
    return ERR_OK;
}

/* Put what row `at` of a chunk has over the last row of `gathered`. */
static enum err lay_over(struct scan_merge *merge, const struct scan_chunk *chunk, uint32_t at)
{
    uint32_t row = merge->gathered_rows - 1;

    for (uint32_t f = 0; f < chunk->field_count; f++) {
        const struct scan_values *from = &chunk->fields[f];
        uint32_t field = merge->field_of[from->column];
        struct scan_values *into = &merge->gathered->fields[field];
        uint64_t bits = from->bits[at];

        if (!from->present[at])
            continue;
        if (from->text != NULL) {
            struct bytes *text = &merge->texts[field];
            uint32_t length = (uint32_t)(bits >> 32);
            size_t offset = text->size;

            bytes_put(text, from->text + (uint32_t)bits, length);
            if (text->failed || text->size > UINT32_MAX)
                return no_memory();
            bits = (uint64_t)length << 32 | offset;
        }
        into->present[row] = 1;
        into->bits[row] = bits;
    }
    return ERR_OK;
}

/* ---- One series ---------------------------------------------------------------------------- */

/* Copy rows of the first cursor that stand alone. */
static enum err copy_ahead(struct scan_merge *merge, uint32_t rows)
{
    const struct scan_merge_cursor first = merge->heap[0];
    const struct scan_chunk *chunk = merge->collect->chunks[first.chunk];

    for (uint32_t i = 0; i < rows; i++) {
        enum err err = begin_row(merge, chunk->times_ns[first.at + i]);

        if (err == ERR_OK)
            err = lay_over(merge, chunk, first.at + i);
        if (err != ERR_OK)
            return err;
    }
    advance(merge, rows);
    return ERR_OK;
}

/* All cursors that stand at the earliest time make one row; the heap gives them in log order. */
static enum err join_rows(struct scan_merge *merge)
{
    int64_t time_ns = merge->heap[0].time_ns;
    enum err err = begin_row(merge, time_ns);

    for (uint32_t i = 0; err == ERR_OK && merge->heap_count > 0; i++) {
        const struct scan_merge_cursor *first = &merge->heap[0];

        if (first->time_ns != time_ns)
            break;
        if (i > 0 && merge->twice != NULL)
            merge->twice[merge->slot] = true;
        err = lay_over(merge, merge->collect->chunks[first->chunk], first->at);
        advance(merge, 1);
    }
    return err;
}

static enum err merge_pieces(struct scan_merge *merge)
{
    enum err err = ERR_OK;

    while (err == ERR_OK && merge->heap_count > 0) {
        const struct scan_merge_cursor first = merge->heap[0];
        uint32_t rows = rows_ahead(merge);

        if (rows == 0) {
            err = join_rows(merge);
        } else if (rows < STRAIGHT_ROWS) {
            err = copy_ahead(merge, rows);
        } else {
            err = flush(merge);
            if (err == ERR_OK)
                err = merge->take(merge->arg, merge->id, merge->collect->chunks[first.chunk],
                                  first.at, rows);
            advance(merge, rows);
        }
    }
    return err == ERR_OK ? flush(merge) : err;
}

/* Each piece is later than the one before. */
static bool are_in_order(const struct scan_collect *collect, const uint32_t *order, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const struct scan_piece *a = &collect->pieces[order[i - 1]];
        const struct scan_piece *b = &collect->pieces[order[i]];

        if (collect->chunks[b->chunk]->times_ns[b->start] <=
            collect->chunks[a->chunk]->times_ns[a->start + a->rows - 1])
            return false;
    }
    return true;
}

static enum err run_series(struct scan_merge *merge, const uint32_t *order, uint32_t count)
{
    const struct scan_collect *collect = merge->collect;
    enum err err = ERR_OK;

    if (are_in_order(collect, order, count)) {
        for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
            const struct scan_piece *piece = &collect->pieces[order[i]];

            err = merge->take(merge->arg, merge->id, collect->chunks[piece->chunk], piece->start,
                              piece->rows);
        }
        return err;
    }
    err = fill_heap(merge, order, count);
    if (err == ERR_OK)
        err = join_fields(merge, order, count);
    if (err != ERR_OK)
        return err;
    merge->gathered_rows = 0;
    err = merge_pieces(merge);
    forget_fields(merge);
    return err;
}

enum err scan_merge_run(struct scan_merge *merge)
{
    const struct scan_collect *collect = merge->collect;
    const struct scan_decode *decode = collect->decode;
    uint32_t slots = decode->region.hi - decode->region.lo;
    enum err err = ERR_OK;

    for (uint32_t slot = 0; slot < slots && err == ERR_OK; slot++) {
        uint32_t start = collect->starts[slot], count = collect->starts[slot + 1] - start;

        if (slot % SERIES_A_CHECK == 0)
            err = scan_check(decode->limits);
        if (err != ERR_OK || count == 0)
            continue;
        merge->slot = slot;
        merge->id = decode->match->ids[decode->region.lo + slot];
        err = run_series(merge, collect->order + start, count);
    }
    return err;
}
