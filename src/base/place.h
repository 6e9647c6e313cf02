/* SPDX-License-Identifier: MIT
 * Places in one memory for pieces that are needed at different times. */
#ifndef EK_BASE_PLACE_H
#define EK_BASE_PLACE_H

#include <stdint.h>

typedef struct ek_piece {
    int64_t size;    /* 0: it needs none */
    int first, last; /* the times from and to which it is needed, both included */
    int64_t at;      /* its place; -1: none */
} ek_piece;

/* Pieces are placed from the largest to the smallest (the first of equal ones first), each at the lowest multiple of
 * `alignment` where it meets none that is needed at the same time: "greedy by size" of Pisarchyk and Lee 2020
 * (arXiv:2001.03288), section 5.2, whose plans are within some percent of the least there can be. Sets `at`; returns
 * the size of the memory. */
int64_t ek_place_pieces(ek_piece *pieces, int count, int64_t alignment);

#endif
