/*
 * read_all.h - for tests of blocks: a block decoded wholly, as whoever reads one may.
 */
#ifndef TESTS_UNIT_STORAGE_BLOCK_READ_ALL_H
#define TESTS_UNIT_STORAGE_BLOCK_READ_ALL_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/block/block_reader.h"

/* Decode all there is; how it ended. */
static inline enum err read_all(const uint8_t *bytes, size_t size)
{
    struct block_view view;
    struct block *block;
    enum err err = block_view(bytes, size, false, &view);

    if (err == ERR_OK)
        err = block_load(&view, &block);
    if (err != ERR_OK)
        return err;
    for (uint32_t at = 0; err == ERR_OK && at < block_sections(block); at++) {
        const struct block_section *section = block_section(block, at);
        uint32_t *runs = malloc(section->runs * 2 * sizeof *runs);
        uint8_t *present = malloc(section->rows);
        uint64_t *values = malloc(section->rows * sizeof *values);
        const char *strings;

        cr_assert(runs != NULL && present != NULL && values != NULL);
        err = block_read_runs(block, at, runs, runs + section->runs);
        if (err == ERR_OK)
            err = block_read_times(block, at, (int64_t *)values);
        for (uint32_t field = 0; err == ERR_OK && field < section->fields; field++)
            err = block_read_field(block, at, field, present, values, &strings);
        free(runs);
        free(present);
        free(values);
    }
    block_free(block);
    return err;
}

#endif
