/* SPDX-License-Identifier: MIT */
#include "cpu/map.h"

/* Weight gradients by Winograd's algorithm transform all of dy in each piece: pieces of some sixteens of channels. */
enum { FAST_TILES = 2 };

static int channel_tiles(const ek_conv *g)
{
    return (g->c + EK_LANES - 1) / EK_LANES;
}

int ek_map_extent(const ek_step *s)
{
    const ek_conv *g = &s->u.map.g;
    if (s->kind == EK_STEP_MAP)
        return ek_conv_fast(g) ? ek_winograd_groups(g->p, g->q) : g->p;
    if (s->kind == EK_STEP_MAP_BACKWARD)
        return ek_conv_fast(g) ? ek_winograd_groups(g->h, g->w) : g->h;
    if (g->groups > 1)
        return g->groups;
    switch (ek_weight_way_of(g)) {
    case EK_WEIGHT_BY_WINOGRAD:
        return (channel_tiles(g) + FAST_TILES - 1) / FAST_TILES;
    case EK_WEIGHT_BY_CHANNELS:
        return channel_tiles(g);
    case EK_WEIGHT_BY_SAMPLES:
        break;
    }
    return g->k;
}

/* The weight gradient of output channels k0..k1-1. */
static void run_samples_weight(const ek_blocked_kernels *kernels, const ek_step *s, const ek_map_data *d, int k0,
                               int k1)
{
    const ek_conv *g = &s->u.map.g;
    ek_conv own = *g;
    own.k = k1 - k0;
    const size_t first = (size_t)k0, taps = (size_t)g->c * (size_t)g->r * (size_t)g->s;
    kernels->conv_backward_weight(&own, d->x, d->dy + first * (size_t)g->p * (size_t)g->q * EK_LANES, d->scratch,
                                  d->parts + first * taps,
                                  s->u.map.has_bias ? d->parts + ek_conv_weights(g) + first : NULL);
}

/* Parts begin..end-1 of the weight gradient. */
static void run_weight(const ek_blocked_kernels *kernels, const ek_step *s, const ek_map_data *d, int begin, int end)
{
    const ek_conv *g = &s->u.map.g;
    float *dbias = s->u.map.has_bias ? d->parts + ek_conv_weights(g) : NULL;
    switch (ek_weight_way_of(g)) {
    case EK_WEIGHT_BY_WINOGRAD: {
        const int tiles = channel_tiles(g), last = end * FAST_TILES < tiles ? end * FAST_TILES : tiles;
        kernels->winograd_backward_weight(g, d->x, d->dy, d->scratch, d->parts, dbias, begin * FAST_TILES, last);
        break;
    }
    case EK_WEIGHT_BY_CHANNELS:
        kernels->channels_backward_weight(g, d->x, d->dy, d->scratch, d->parts, dbias, begin, end);
        break;
    case EK_WEIGHT_BY_SAMPLES:
        run_samples_weight(kernels, s, d, begin, end);
        break;
    }
}

/* The same of groups i0..i1-1. */
static void run_groups_weight(const ek_blocked_kernels *kernels, const ek_step *s, const ek_map_data *d, int i0,
                              int i1)
{
    const ek_conv *g = &s->u.map.g, one = ek_conv_group(g);
    ek_conv own = *g;
    own.groups = i1 - i0;
    own.c = own.groups * one.c;
    own.k = own.groups * one.k;
    const size_t first = (size_t)i0, c = first * (size_t)one.c, k = first * (size_t)one.k;
    kernels->conv_backward_weight(&own, d->x + c * (size_t)g->h * (size_t)g->w * EK_LANES,
                                  d->dy + k * (size_t)g->p * (size_t)g->q * EK_LANES, d->scratch,
                                  d->parts + first * (size_t)ek_conv_weights(&one),
                                  s->u.map.has_bias ? d->parts + ek_conv_weights(g) + k : NULL);
}

void ek_map_run(const ek_blocked_kernels *kernels, const ek_step *s, const ek_map_data *d, int begin, int end)
{
    const ek_conv *g = &s->u.map.g;
    const bool fast = ek_conv_fast(g);
    if (s->kind == EK_STEP_MAP && fast)
        kernels->winograd_forward(g, d->packed, d->bias, d->x, d->scratch, d->y, begin, end);
    else if (s->kind == EK_STEP_MAP)
        kernels->conv_forward(g, d->packed, d->bias, d->x, d->y, begin, end);
    else if (s->kind == EK_STEP_MAP_BACKWARD && fast)
        kernels->winograd_backward_data(g, d->packed, d->dy, d->scratch, d->dx, begin, end);
    else if (s->kind == EK_STEP_MAP_BACKWARD)
        kernels->conv_backward_data(g, d->packed, d->dy, d->dx, begin, end);
    else if (g->groups > 1)
        run_groups_weight(kernels, s, d, begin, end);
    else
        run_weight(kernels, s, d, begin, end);
}

void ek_map_pack(const ek_blocked_kernels *kernels, const ek_step *s, const float *weight, float *packed)
{
    const ek_conv *g = &s->u.map.g;
    if (s->kind == EK_STEP_PACK_FORWARD)
        (ek_conv_fast(g) ? kernels->winograd_pack_forward : kernels->pack_forward)(g, weight, packed);
    else
        (ek_conv_fast(g) ? kernels->winograd_pack_backward : kernels->pack_backward)(g, weight, packed);
}
