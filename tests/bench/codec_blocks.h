/*
 * codec_blocks.h - rows through the block builder and the reader: what a Raft entry takes a point,
 * and what it costs to add, to finish and to read it.
 */
#ifndef TESTS_BENCH_CODEC_BLOCKS_H
#define TESTS_BENCH_CODEC_BLOCKS_H

#include <stddef.h>

struct codec_block_cost {
    double bytes;             /* A point, of the entry with its header. */
    double add, finish, read; /* ns of CPU a point. */
};

size_t codec_blocks_plans(void);
const char *codec_blocks_name(size_t plan);
struct codec_block_cost codec_blocks_measure(size_t plan);

#endif
