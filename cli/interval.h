/* SPDX-License-Identifier: MIT
 * How sure a share is. */
#ifndef INTERVAL_H
#define INTERVAL_H

#include <stdint.h>

typedef struct cli_interval {
    double low, high;
} cli_interval;

/* The interval of 95 % confidence for a probability of which `part` of `whole` trials came true, whole >= 1: Wilson's
 * (1927, "Probable inference, the law of succession, and statistical inference"), which stays within 0 and 1, and has
 * a width where none or all came true. */
cli_interval cli_wilson(int64_t part, int64_t whole);

#endif
