/* SPDX-License-Identifier: MIT */
#include "op/probe.h"

#include "base/memory.h"
#include "op/op.h"

#include <math.h>
#include <stdatomic.h>

ek_status ek_probe_point_alloc(ek_probe_point *p, int64_t blocks)
{
    p->blocks = ek_calloc(ek_size_mul((size_t)p->c, (size_t)blocks), sizeof *p->blocks);
    p->all = ek_calloc((size_t)p->c, sizeof *p->all);
    return p->blocks && p->all ? EK_OK : EK_ERR_MEMORY;
}

void ek_probe_point_free(ek_probe_point *p)
{
    ek_free(p->blocks);
    ek_free(p->all);
    ek_free((void *)p->bins);
}

ek_status ek_probe_point_begin_bins(ek_probe_point *p)
{
    float greatest = p->all[0].greatest;
    p->bin_low = p->all[0].least;
    for (int c = 1; c < p->c; c++) {
        p->bin_low = p->all[c].least < p->bin_low ? p->all[c].least : p->bin_low;
        greatest = p->all[c].greatest > greatest ? p->all[c].greatest : greatest;
    }
    const double width = ((double)greatest - (double)p->bin_low) / EK_BINS;
    p->bins_per_unit = width > 1e-37 ? (float)(1 / width) : 0; /* of next to nothing, all values in the first bin */
    p->bins = ek_calloc(EK_BINS, sizeof *p->bins);
    return p->bins ? EK_OK : EK_ERR_MEMORY;
}

/* One channel's [plane][16]. */
static ek_probe_sums measure(const ek_probe_point *p, const float *x, int live)
{
    ek_probe_sums s = {.least = INFINITY, .greatest = -INFINITY};
    double sum = 0;
    for (int64_t i = 0; i < p->plane; i++)
        for (int n = 0; n < live; n++) {
            const float value = x[i * EK_LANES + n];
            sum += (double)value;
            s.least = value < s.least ? value : s.least;
            s.greatest = value > s.greatest ? value : s.greatest;
            s.flat += value <= p->low || value >= p->high;
        }
    s.mean = sum / ((double)p->plane * live);
    for (int64_t i = 0; i < p->plane; i++)
        for (int n = 0; n < live; n++) {
            const double d = (double)x[i * EK_LANES + n] - s.mean;
            s.deviations += d * d;
        }
    return s;
}

static void count_in_bins(ek_probe_point *p, int begin, int end, const float *x, int live)
{
    int32_t counts[EK_BINS] = {0}; /* added up at the end: threads meet there alone */
    for (int64_t i = begin * p->plane; i < end * p->plane; i++)
        for (int n = 0; n < live; n++) {
            const float at = (x[i * EK_LANES + n] - p->bin_low) * p->bins_per_unit;
            counts[at >= EK_BINS - 1 ? EK_BINS - 1 : at > 0 ? (int)at : 0]++;
        }
    for (int i = 0; i < EK_BINS; i++)
        if (counts[i])
            atomic_fetch_add_explicit(&p->bins[i], counts[i], memory_order_relaxed);
}

void ek_probe_block(ek_probe_point *p, int64_t block, int begin, int end, const float *x, int live)
{
    if (p->bins) {
        count_in_bins(p, begin, end, x, live);
        return;
    }
    for (int c = begin; c < end; c++)
        p->blocks[block * p->c + c] = measure(p, x + (int64_t)c * p->plane * EK_LANES, live);
}

/* Chan, Golub and LeVeque 1979: two sets' deviations about their common mean. */
static void merge(ek_probe_sums *a, double count_a, const ek_probe_sums *b, double count_b)
{
    const double share = count_b / (count_a + count_b), delta = b->mean - a->mean;
    a->deviations += b->deviations + delta * delta * count_a * share;
    a->mean += delta * share;
    a->least = b->least < a->least ? b->least : a->least;
    a->greatest = b->greatest > a->greatest ? b->greatest : a->greatest;
    a->flat += b->flat;
}

void ek_probe_merge(ek_probe_point *p, int64_t samples)
{
    if (p->bins)
        return;
    for (int c = 0; c < p->c; c++) {
        ek_probe_sums *all = &p->all[c];
        int64_t before = p->samples;
        for (int64_t at = 0; at < samples; at += EK_LANES) {
            const int64_t live = samples - at < EK_LANES ? samples - at : EK_LANES;
            const ek_probe_sums *block = &p->blocks[at / EK_LANES * p->c + c];
            if (before == 0)
                *all = *block;
            else
                merge(all, (double)(before * p->plane), block, (double)(live * p->plane));
            before += live;
        }
    }
    p->samples += samples;
}
