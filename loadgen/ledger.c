#include "loadgen/ledger.h"

#include <stdlib.h>

enum err ledger_reserve(struct ledger *ledger, uint64_t rows)
{
    uint64_t chunks = (rows + LEDGER_CHUNK_ROWS - 1) / LEDGER_CHUNK_ROWS;

    if (chunks > LEDGER_CHUNKS_MAX)
        return err_set(ERR_LIMIT, "more rows than the ledger can hold: %llu",
                       (unsigned long long)rows);
    for (uint64_t i = chunks; i > 0 && ledger->chunks[i - 1] == NULL; i--) {
        ledger->chunks[i - 1] = calloc(1, sizeof **ledger->chunks);
        if (ledger->chunks[i - 1] == NULL)
            return err_set(ERR_NO_MEMORY, "a ledger of %llu rows", (unsigned long long)rows);
    }
    return ERR_OK;
}

void ledger_fini(struct ledger *ledger)
{
    for (uint32_t i = 0; i < LEDGER_CHUNKS_MAX; i++) {
        free(ledger->chunks[i]);
        ledger->chunks[i] = NULL;
    }
}

void ledger_acknowledge(struct ledger *ledger, uint64_t row)
{
    struct ledger_chunk *chunk = ledger->chunks[row / LEDGER_CHUNK_ROWS];
    uint64_t bit = row % LEDGER_CHUNK_ROWS;

    chunk->acknowledged[bit / 64] |= 1ull << bit % 64;
}

bool ledger_read(struct ledger *ledger, uint64_t row)
{
    uint64_t at = row / LEDGER_CHUNK_ROWS;
    uint64_t bit = row % LEDGER_CHUNK_ROWS;
    uint64_t mask = 1ull << bit % 64;

    if (at >= LEDGER_CHUNKS_MAX || ledger->chunks[at] == NULL ||
        (ledger->chunks[at]->read[bit / 64] & mask) != 0)
        return false;
    ledger->chunks[at]->read[bit / 64] |= mask;
    return true;
}

static void count_word(struct ledger_count *count, uint64_t acknowledged, uint64_t read,
                       uint64_t first_row)
{
    uint64_t lost = acknowledged & ~read;

    if (count->lost == 0 && lost != 0)
        count->first_lost = first_row + (uint64_t)__builtin_ctzll(lost);
    count->acknowledged += (uint64_t)__builtin_popcountll(acknowledged);
    count->read += (uint64_t)__builtin_popcountll(read);
    count->lost += (uint64_t)__builtin_popcountll(lost);
    count->unknown += (uint64_t)__builtin_popcountll(read & ~acknowledged);
}

struct ledger_count ledger_count(const struct ledger *ledger)
{
    struct ledger_count count = {0};

    for (uint64_t c = 0; c < LEDGER_CHUNKS_MAX; c++) {
        const struct ledger_chunk *chunk = ledger->chunks[c];

        for (uint64_t w = 0; chunk != NULL && w < LEDGER_CHUNK_ROWS / 64; w++)
            count_word(&count, chunk->acknowledged[w], chunk->read[w],
                       c * LEDGER_CHUNK_ROWS + w * 64);
    }
    return count;
}
