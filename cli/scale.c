/* SPDX-License-Identifier: MIT */
#include "scale.h"

#include <math.h>
#include <stdio.h>

/* The greatest of 1, 2 and 5 times a power of ten that is at most `distance`; its decimals. */
static double round_step(double distance, int *decimals)
{
    const double exponent = floor(log10(distance)), power = pow(10, exponent);
    const double digits = distance / power;
    *decimals = exponent < 0 ? (int)-exponent : 0;
    return (digits >= 5 ? 5 : digits >= 2 ? 2 : 1) * power;
}

cli_scale cli_scale_of(double low, double high, int marks, double least, bool widen)
{
    const double most = 1e300;
    cli_scale s = {.low = isfinite(low) ? fmax(fmin(low, most), -most) : 0};
    s.high = isfinite(high) ? fmax(fmin(high, most), -most) : s.low + 1;
    /* Values that are next to each other in double, or next to 0, have no marks between them. */
    const double largest = fmax(fabs(s.low), fabs(s.high));
    if (!(s.high - s.low > fmax(1e-9 * largest, 1e-290))) {
        const double around = largest > 1e-290 ? largest / 10 : 0.5;
        s.high = fmax(s.low, s.high) + around;
        s.low -= around;
    }
    double step = round_step((s.high / marks - s.low / marks), &s.decimals);
    if (step < least)
        step = round_step(least, &s.decimals);
    /* Marks are whole multiples of the step; the slack takes in ends that are such but for rounding. */
    const double slack = 1e-9;
    double first = ceil(s.low / step - slack), last = floor(s.high / step + slack);
    if (widen) {
        first = floor(s.low / step + slack);
        last = ceil(s.high / step - slack);
        s.low = first * step;
        s.high = last * step;
    }
    for (double at = first; at <= last && s.marks < SCALE_MARKS; at++)
        s.mark[s.marks++] = at * step;
    return s;
}

void cli_scale_text(const cli_scale *s, int i, char *text, size_t size)
{
    const double value = s->mark[i];
    if (fabs(value) >= 1e6 || s->decimals > 6)
        snprintf(text, size, "%.3g", value);
    else
        snprintf(text, size, "%.*f", s->decimals, value == 0 ? 0 : value);
}
