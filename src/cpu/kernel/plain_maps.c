/* SPDX-License-Identifier: MIT
 * Normalisation of plain arrays, second half: maps from value to value (plain.h). */
#include "cpu/kernel/name.h"
#include "cpu/kernel/plain.h"
#include "cpu/kernel/simd.h"

#include <stddef.h>

/* Which map, and whether its numbers are the same along the run (a plane) or an array beside it (a row). */
typedef enum kind { PLANE, ROW, PLANE_GRADIENT, ROW_GRADIENT, LAYER, LAYER_GRADIENT } kind;

/* Runs to be mapped, `gap` apart. Which members count depends on the kind; every function below is inlined with a
 * constant one, so that a loop holds what its kind needs and no branch. */
typedef struct run {
    const float *x, *dy;                           /* dy is x where the kind has none */
    ek_v16 mean, scale, shift, slope;              /* of a plane, or of a sample: scale is its rstd */
    const float *means, *scales, *shifts, *slopes; /* of a row; scales and shifts are a sample's gamma and beta */
    float *y;
    int64_t length, gap;
    bool stream;
} run;

/* The map's numbers for sixteen values. */
typedef struct terms {
    ek_v16 mean, scale, shift, slope, gamma, beta;
} terms;

/* Sixteen values from place i, or the first `live` of them. */
EK_INLINE ek_v16 load(const float *p, int64_t i, int live)
{
    return live == EK_LANES ? ek_load(p + i) : ek_load_part(p + i, live);
}

EK_INLINE terms terms_at(kind k, const run *r, int64_t i, int live)
{
    const bool row = k == ROW || k == ROW_GRADIENT;
    terms t;
    t.mean = row ? load(r->means, i, live) : r->mean;
    t.scale = row ? load(r->scales, i, live) : r->scale;
    t.shift = row ? load(r->shifts, i, live) : r->shift;
    t.slope = k == ROW_GRADIENT ? load(r->slopes, i, live) : r->slope;
    t.gamma = k == LAYER || k == LAYER_GRADIENT ? load(r->scales, i, live) : t.scale;
    t.beta = k == LAYER ? load(r->shifts, i, live) : t.shift;
    return t;
}

EK_INLINE ek_v16 value(kind k, const run *r, const terms *t, int64_t i, int live)
{
    ek_v16 d = ek_sub(load(r->x, i, live), t->mean);
    if (k == PLANE || k == ROW)
        return ek_fma(d, t->scale, t->shift);
    if (k == LAYER)
        return ek_fma(ek_fma(d, t->scale, t->shift), t->gamma, t->beta);
    ek_v16 dy = load(r->dy, i, live);
    if (k == LAYER_GRADIENT)
        dy = ek_mul(dy, t->gamma);
    return ek_fnma(d, t->slope, ek_fma(dy, t->scale, t->shift));
}

/* Values that do not fill a vector: fewer than sixteen from place i on. */
EK_INLINE void map_part(kind k, const run *r, int64_t i, int64_t count)
{
    const terms t = terms_at(k, r, i, (int)count);
    ek_store_part(r->y + i, value(k, r, &t, i, (int)count), (int)count);
}

EK_INLINE void advance(run *r, int64_t by)
{
    r->x += by;
    r->dy += by;
    r->y += by;
}

/* Past the caches, by whole lines: what is left at both ends is stored in the ordinary way and exactly, since a line
 * that was streamed must not be touched again. All rows (a constant) begin at the same place of a line. */
EK_INLINE void map_streaming(kind k, int rows, const run *r)
{
    const int64_t to_line = (int64_t)(-((uintptr_t)r->y / sizeof(float)) % EK_LANES);
    const int64_t begin = to_line < r->length ? to_line : r->length;
    const int64_t end = begin + (r->length - begin) / EK_LANES * EK_LANES;
    for (int64_t i = begin; i < end; i += EK_LANES) {
        const terms t = terms_at(k, r, i, EK_LANES);
        for (int q = 0; q < rows; q++)
            ek_stream(r->y + q * r->gap + i, value(k, r, &t, q * r->gap + i, EK_LANES));
    }
    for (int q = 0; (begin > 0 || end < r->length) && q < rows; q++) {
        run one = *r;
        advance(&one, q * r->gap);
        map_part(k, &one, 0, begin);
        map_part(k, &one, end, r->length - end);
    }
}

/* The last vector overlaps the one before; it is computed first, since y may be an input. */
EK_INLINE void map_cached(kind k, int rows, const run *r)
{
    const int64_t last = r->length - EK_LANES;
    const terms at_last = terms_at(k, r, last, EK_LANES);
    ek_v16 ends[4];
    for (int q = 0; q < rows; q++)
        ends[q] = value(k, r, &at_last, q * r->gap + last, EK_LANES);
    for (int64_t i = 0; i < last; i += EK_LANES) {
        const terms t = terms_at(k, r, i, EK_LANES);
        for (int q = 0; q < rows; q++)
            ek_store(r->y + q * r->gap + i, value(k, r, &t, q * r->gap + i, EK_LANES));
    }
    for (int q = 0; q < rows; q++)
        ek_store(r->y + q * r->gap + last, ends[q]);
}

EK_INLINE void map_run(kind k, const run *r)
{
    if (r->stream)
        map_streaming(k, 1, r);
    else if (r->length < EK_LANES)
        map_part(k, r, 0, r->length);
    else
        map_cached(k, 1, r);
}

/* Plane p of planes `stride` apart. */
EK_INLINE run plane_run(kind k, const float *x, const float *dy, int64_t p, int64_t stride, int64_t length,
                        const ek_plain_map *map, float *y)
{
    return (run){.x = x + p * stride,
                 .dy = dy + p * stride,
                 .y = y + p * stride,
                 .length = length,
                 .stream = map->stream,
                 .mean = ek_set(map->mean[p]),
                 .scale = ek_set(map->scale[p]),
                 .shift = ek_set(map->shift[p]),
                 .slope = k == PLANE_GRADIENT ? ek_set(map->slope[p]) : ek_zero()};
}

EK_INLINE void map_planes(kind k, const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                          const ek_plain_map *map, float *y)
{
    for (int64_t p = 0; p < planes; p++) {
        const run r = plane_run(k, x, dy, p, stride, length, map, y);
        map_run(k, &r);
    }
    if (map->stream)
        ek_stream_end();
}

static void plane_apply(const float *x, int64_t planes, int64_t stride, int64_t length, ek_plain_map map, float *y)
{
    map_planes(PLANE, x, x, planes, stride, length, &map, y);
}

static void plane_gradient(const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                           ek_plain_map map, float *dx)
{
    map_planes(PLANE_GRADIENT, x, dy, planes, stride, length, &map, dx);
}

/* Rows four at a time, so that their tables are loaded once, and a quarter of all rows apart: processors fetch ahead
 * along four long streams better than over four neighbours. */
EK_INLINE void map_rows(kind k, const run *first, int64_t rows, int64_t stride)
{
    const bool together = first->length >= EK_LANES && !(first->stream && stride % EK_LANES);
    const int64_t quarter = together ? rows / 4 : 0;
    run r = *first;
    r.gap = quarter * stride;
    for (int64_t i = 0; i < quarter; i++) {
        if (r.stream)
            map_streaming(k, 4, &r);
        else
            map_cached(k, 4, &r);
        advance(&r, stride);
    }
    advance(&r, 3 * quarter * stride);
    for (int64_t i = 4 * quarter; i < rows; i++) {
        map_run(k, &r);
        advance(&r, stride);
    }
}

static void column_apply(const float *x, int64_t rows, int64_t stride, int64_t width, ek_plain_map map, float *y)
{
    const run r = {.x = x,
                   .dy = x,
                   .y = y,
                   .length = width,
                   .stream = map.stream,
                   .means = map.mean,
                   .scales = map.scale,
                   .shifts = map.shift};
    map_rows(ROW, &r, rows, stride);
    if (map.stream)
        ek_stream_end();
}

static void column_gradient(const float *x, const float *dy, int64_t rows, int64_t stride, int64_t width,
                            ek_plain_map map, float *dx)
{
    const run r = {.x = x,
                   .dy = dy,
                   .y = dx,
                   .length = width,
                   .stream = map.stream,
                   .means = map.mean,
                   .scales = map.scale,
                   .shifts = map.shift,
                   .slopes = map.slope};
    map_rows(ROW_GRADIENT, &r, rows, stride);
    if (map.stream)
        ek_stream_end();
}

static void layer_apply(const float *x, const float *gamma, const float *beta, int64_t length,
                        const ek_layer_map *map, float *y)
{
    const run r = {.x = x,
                   .dy = x,
                   .y = y,
                   .length = length,
                   .stream = map->stream,
                   .mean = ek_set(map->mean),
                   .scale = ek_set(map->rstd),
                   .shift = ek_set(map->low),
                   .scales = gamma,
                   .shifts = beta};
    map_run(LAYER, &r);
    if (map->stream)
        ek_stream_end();
}

static void layer_gradient(const float *x, const float *dy, const float *gamma, int64_t length,
                           const ek_layer_map *map, float *dx)
{
    const run r = {.x = x,
                   .dy = dy,
                   .y = dx,
                   .length = length,
                   .stream = map->stream,
                   .mean = ek_set(map->mean),
                   .scale = ek_set(map->rstd),
                   .shift = ek_set(map->shift),
                   .slope = ek_set(map->slope),
                   .scales = gamma};
    map_run(LAYER_GRADIENT, &r);
    if (map->stream)
        ek_stream_end();
}

void EK_KERNEL(fill_plain_maps)(ek_plain_kernels *table);

void EK_KERNEL(fill_plain_maps)(ek_plain_kernels *table)
{
    table->plane_apply = plane_apply;
    table->plane_gradient = plane_gradient;
    table->column_apply = column_apply;
    table->column_gradient = column_gradient;
    table->layer_apply = layer_apply;
    table->layer_gradient = layer_gradient;
}
