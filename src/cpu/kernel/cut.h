/* SPDX-License-Identifier: MIT
 * How kernels cut channels, tiles and planes. */
#ifndef EK_CPU_KERNEL_CUT_H
#define EK_CPU_KERNEL_CUT_H

#include "cpu/kernel/simd.h"

/* `total` cut evenly into pieces of at most `most`: piece i begins at ek_cut(i) and ends at ek_cut(i + 1). */
typedef struct ek_cuts {
    int total, count;
} ek_cuts;

EK_INLINE ek_cuts ek_cuts_of(int total, int most)
{
    return (ek_cuts){total, (total + most - 1) / most};
}

EK_INLINE int ek_cut(ek_cuts cuts, int i)
{
    return (int)((int64_t)cuts.total * i / cuts.count);
}

/* The plane's positions for which the tap `tap` rows or columns from the first meets the image: [begin, end). */
typedef struct ek_range {
    int begin, end;
} ek_range;

EK_INLINE ek_range ek_meets(int tap, int stride, int padding, int extent, int outputs)
{
    const int low = padding - tap; /* position*stride >= low, position*stride <= extent - 1 + low */
    const int high = extent - 1 + low;
    if (high < 0)
        return (ek_range){0, 0};
    if (stride == 1)
        return (ek_range){max(low, 0), min(outputs, high + 1)};
    return (ek_range){low > 0 ? (low + stride - 1) / stride : 0, min(outputs, high / stride + 1)};
}

#endif
