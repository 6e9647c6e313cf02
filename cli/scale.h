/* SPDX-License-Identifier: MIT
 * Axes: ranges of values and the round numbers to mark on them. */
#ifndef SCALE_H
#define SCALE_H

#include <stdbool.h>
#include <stddef.h>

enum { SCALE_MARKS = 32 };

typedef struct cli_scale {
    double low, high;
    double mark[SCALE_MARKS]; /* ascending, within [low, high] */
    int marks;
    int decimals; /* to print a mark with */
} cli_scale;

/* An axis from low to high with `marks` marks or up to twice as many, 1, 2 or 5 times a power of ten apart, at least
 * `least` apart; low and high are widened to marks where `widen`. Any numbers: what is not finite, or hardly a range,
 * is made one. */
cli_scale cli_scale_of(double low, double high, int marks, double least, bool widen);

/* Mark i as text. */
void cli_scale_text(const cli_scale *scale, int i, char *text, size_t size);

#endif
