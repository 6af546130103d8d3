/*
 * radix.h - a stable sort by 64-bit keys, in time that grows with the bytes in which they differ.
 */
#ifndef STORAGE_BLOCK_RADIX_H
#define STORAGE_BLOCK_RADIX_H

#include <stdint.h>

/**
 * Put `order` (all positions in `keys`, 0 to count - 1, in any order to start with) into ascending
 * order of their keys; equal ones stay as they were. `spare` has room for `count`.
 */
void radix_sort(const uint64_t *keys, uint32_t count, uint32_t *order, uint32_t *spare);

#endif
