/* SPDX-License-Identifier: MIT */
#include "interval.h"

#include <math.h>

/* (p + z^2/2n -+ z*sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n), z the 97.5 % point of the normal distribution. */
cli_interval cli_wilson(int64_t part, int64_t whole)
{
    const double z = 1.959963984540054, n = (double)whole, p = (double)part / n;
    const double middle = p + z * z / (2 * n);
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    const cli_interval i = {(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)};
    return (cli_interval){part == 0 ? 0 : i.low, part == whole ? 1 : i.high}; /* exactly, but for rounding */
}
