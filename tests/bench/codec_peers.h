/*
 * codec_peers.h - what others do with a column, to stand beside our own codec in one run.
 *
 *   lz4          the doubles as they are, one LZ4 block a column
 *   shuffle+lz4  first bytes of all values of a run, second bytes, ...; then the same
 *   gorilla      XOR with the value before, as in the paper; each run on its own
 *   zstd-1       the doubles as they are, level 1; only where its headers were found
 */
#ifndef TESTS_BENCH_CODEC_PEERS_H
#define TESTS_BENCH_CODEC_PEERS_H

#include <stddef.h>
#include <stdint.h>

enum { CODEC_PEER_ROOM = 2 * 64 * 1024 * 8 }; /* Bytes that a column never needs. */

struct codec_peer {
    const char *name;
    /* CODEC_COLUMN values to bytes, of which there are CODEC_PEER_ROOM; and back. */
    size_t (*encode)(const uint64_t *values, uint8_t *out);
    void (*decode)(const uint8_t *in, size_t size, uint64_t *ret_values);
};

size_t codec_peers_count(void);
const struct codec_peer *codec_peers_at(size_t at);

#endif
