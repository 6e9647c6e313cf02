/* SPDX-License-Identifier: MIT
 * Normalisation of plain arrays, second half: maps from value to value (plain.h). */
#include "cpu/kernel/name.h"
#include "cpu/kernel/plain.h"
#include "cpu/kernel/simd.h"

#include <stddef.h>

/* Which map, and whether its numbers are the same along the run (a plane) or an array beside it (a row). */
typedef enum kind { PLANE, ROW, PLANE_GRADIENT, ROW_GRADIENT, LAYER, LAYER_GRADIENT } kind;

/* A run to be mapped. Which members count depends on the kind; every function below is inlined with a constant one,
 * so that a loop holds what its kind needs and no branch. */
typedef struct run {
    const float *x, *dy;
    ek_v16 mean, scale, shift, slope;          /* of a plane, or of a sample: scale is its rstd */
    const float *means, *scales, *shifts, *slopes; /* of a row; scales and shifts are a sample's gamma and beta */
    float *y;
    int64_t length;
    bool stream;
} run;

/* Sixteen values from place i, or the first `live` of them. */
EK_INLINE ek_v16 load(const float *p, int64_t i, int live)
{
    return live == EK_LANES ? ek_load(p + i) : ek_load_part(p + i, live);
}

EK_INLINE ek_v16 value(kind k, const run *r, int64_t i, int live)
{
    const bool row = k == ROW || k == ROW_GRADIENT;
    ek_v16 d = ek_sub(load(r->x, i, live), row ? load(r->means, i, live) : r->mean);
    if (k == LAYER)
        return ek_fma(ek_fma(d, r->scale, r->shift), load(r->scales, i, live), load(r->shifts, i, live));
    ek_v16 scale = row ? load(r->scales, i, live) : r->scale, shift = row ? load(r->shifts, i, live) : r->shift;
    if (k == PLANE || k == ROW)
        return ek_fma(d, scale, shift);
    ek_v16 dy = load(r->dy, i, live);
    if (k == LAYER_GRADIENT)
        dy = ek_mul(dy, load(r->scales, i, live));
    return ek_fnma(d, row ? load(r->slopes, i, live) : r->slope, ek_fma(dy, scale, shift));
}

/* Past the caches, by whole lines: what is left at both ends is stored in the ordinary way and exactly, since a line
 * that was streamed must not be touched again. */
EK_INLINE void map_streaming(kind k, const run *r)
{
    int64_t i = (int64_t)((64 - ((uintptr_t)r->y & 63)) & 63) / (int64_t)sizeof(float);
    i = i < r->length ? i : r->length;
    if (i)
        ek_store_part(r->y, value(k, r, 0, (int)i), (int)i);
    for (; i + EK_LANES <= r->length; i += EK_LANES)
        ek_stream(r->y + i, value(k, r, i, EK_LANES));
    if (i < r->length)
        ek_store_part(r->y + i, value(k, r, i, (int)(r->length - i)), (int)(r->length - i));
}

/* The last vector overlaps the one before; it is computed first, since y may be an input. */
EK_INLINE void map_run(kind k, const run *r)
{
    if (r->stream) {
        map_streaming(k, r);
        return;
    }
    if (r->length < EK_LANES) {
        ek_store_part(r->y, value(k, r, 0, (int)r->length), (int)r->length);
        return;
    }
    const int64_t last = r->length - EK_LANES;
    const ek_v16 end = value(k, r, last, EK_LANES);
    int64_t i = 0;
    for (; i + EK_LANES <= last; i += 2 * EK_LANES) {
        ek_v16 a = value(k, r, i, EK_LANES), b = value(k, r, i + EK_LANES, EK_LANES);
        ek_store(r->y + i, a);
        ek_store(r->y + i + EK_LANES, b);
    }
    if (i < last)
        ek_store(r->y + i, value(k, r, i, EK_LANES));
    ek_store(r->y + last, end);
}

static void plane_apply(const float *x, int64_t planes, int64_t stride, int64_t length, ek_plain_map map, float *y)
{
    for (int64_t p = 0; p < planes; p++) {
        const run r = {.x = x + p * stride, .y = y + p * stride, .length = length, .stream = map.stream,
                       .mean = ek_set(map.mean[p]), .scale = ek_set(map.scale[p]), .shift = ek_set(map.shift[p])};
        map_run(PLANE, &r);
    }
    if (map.stream)
        ek_stream_end();
}

static void plane_gradient(const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                           ek_plain_map map, float *dx)
{
    for (int64_t p = 0; p < planes; p++) {
        const run r = {.x = x + p * stride, .dy = dy + p * stride, .y = dx + p * stride, .length = length,
                       .stream = map.stream, .mean = ek_set(map.mean[p]), .scale = ek_set(map.scale[p]),
                       .shift = ek_set(map.shift[p]), .slope = ek_set(map.slope[p])};
        map_run(PLANE_GRADIENT, &r);
    }
    if (map.stream)
        ek_stream_end();
}

static void column_apply(const float *x, int64_t rows, int64_t width, ek_plain_map map, float *y)
{
    for (int64_t i = 0; i < rows; i++) {
        const run r = {.x = x + i * width, .y = y + i * width, .length = width, .stream = map.stream,
                       .means = map.mean, .scales = map.scale, .shifts = map.shift};
        map_run(ROW, &r);
    }
    if (map.stream)
        ek_stream_end();
}

static void column_gradient(const float *x, const float *dy, int64_t rows, int64_t width, ek_plain_map map,
                            float *dx)
{
    for (int64_t i = 0; i < rows; i++) {
        const run r = {.x = x + i * width, .dy = dy + i * width, .y = dx + i * width, .length = width,
                       .stream = map.stream, .means = map.mean, .scales = map.scale, .shifts = map.shift,
                       .slopes = map.slope};
        map_run(ROW_GRADIENT, &r);
    }
    if (map.stream)
        ek_stream_end();
}

static void layer_apply(const float *x, const float *gamma, const float *beta, int64_t length,
                        const ek_layer_map *map, float *y)
{
    const run r = {.x = x, .y = y, .length = length, .stream = map->stream, .mean = ek_set(map->mean),
                   .scale = ek_set(map->rstd), .shift = ek_set(map->low), .scales = gamma, .shifts = beta};
    map_run(LAYER, &r);
    if (map->stream)
        ek_stream_end();
}

static void layer_gradient(const float *x, const float *dy, const float *gamma, int64_t length,
                           const ek_layer_map *map, float *dx)
{
    const run r = {.x = x, .dy = dy, .y = dx, .length = length, .stream = map->stream, .mean = ek_set(map->mean),
                   .scale = ek_set(map->rstd), .shift = ek_set(map->shift), .slope = ek_set(map->slope),
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
