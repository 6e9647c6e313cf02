/* SPDX-License-Identifier: MIT
 * Batch normalisation alone, through the public functions on plain arrays, beside a plain loop that moves the same
 * bytes in the same order.
 *
 * The bytes are those an implementation without a cache would move: forward reads x for the statistics, reads it
 * again and writes y; backward reads x and dy twice and writes dx. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 128, CHANNELS = 64, SIDE = 56, PLANE = SIDE * SIDE };
#define VALUES ((size_t)SAMPLES * CHANNELS * PLANE)

static const ek_shape shape = {.n = SAMPLES, .c = CHANNELS, .h = SIDE, .w = SIDE};

/* Larger than caches: 103 MB each. x and dy are read, out is written. */
static float *x, *dy, *out;
static float gamma_[CHANNELS], beta[CHANNELS], moving_mean[CHANNELS], moving_var[CHANNELS];
static float mean[CHANNELS], rstd[CHANNELS], dgamma[CHANNELS], dbeta[CHANNELS];

void bench_free_arrays(void)
{
    free(x);
    free(dy);
    free(out);
    x = dy = out = NULL;
}

static bool open_arrays(void)
{
    if (x)
        return true;
    float **const arrays[] = {&x, &dy, &out};
    for (int a = 0; a < 3; a++) {
        *arrays[a] = aligned_alloc(64, VALUES * sizeof(float));
        if (!*arrays[a]) {
            bench_free_arrays();
            return bench_fail("out of memory: batch norm is measured on three arrays of 103 MB");
        }
        uint32_t random = (uint32_t)a;
        for (size_t i = 0; i < VALUES; i++) {
            random = 1664525 * random + 1013904223;
            (*arrays[a])[i] = (float)(int32_t)random / 1e9f;
        }
    }
    for (int c = 0; c < CHANNELS; c++)
        gamma_[c] = moving_var[c] = 1;
    return true;
}

/* ---- The library's -------------------------------------------------------------------------------------------- */

typedef struct norm {
    ek_batch_norm_options options;
    bool backward;
} norm;

static double run_norm(void *state, int64_t steps)
{
    const norm *n = state;
    const double start = cli_now();
    for (int64_t i = 0; i < steps; i++) {
        const ek_status status = n->backward ? ek_batch_norm_backward(EK_TRAINING, true, shape, x, dy, gamma_, mean,
                                                                      rstd, &n->options, out, dgamma, dbeta)
                                             : ek_batch_norm_forward(EK_TRAINING, shape, x, gamma_, beta, moving_mean,
                                                                     moving_var, NULL, &n->options, out, mean, rstd);
        if (status) {
            bench_fail(ek_error());
            return -1;
        }
    }
    return cli_now() - start;
}

/* Bytes of a step: forward passes over three arrays, backward over five. */
static double step_bytes(bool backward)
{
    return (double)((backward ? 5 : 3) * VALUES * sizeof(float));
}

bool bench_open_norm(bench_work *work, const char *kind, const bench_settings *settings)
{
    norm *n = calloc(1, sizeof *n);
    if (!n)
        return bench_fail("out of memory");
    n->options.threads = settings->threads;
    /* Forward first in either case: backward needs its mean and rstd. */
    if (!open_arrays() || run_norm(n, 1) < 0) {
        free(n);
        return false;
    }
    n->backward = !strcmp(kind, "bn-backward");
    *work =
        (bench_work){.amount = step_bytes(n->backward), .unit = "byte", .state = n, .run = run_norm, .close = free};
    return true;
}

/* ---- The plain loop ------------------------------------------------------------------------------------------- */

/* Four of these at a time keep memory busy on every processor; wider ones the compiler would spill. */
typedef float quad __attribute__((vector_size(16), may_alias));
enum { PLANE_QUADS = PLANE / 4 };

typedef struct loop {
    bool backward;
    int threads;
    int64_t steps;
    volatile float sink;
} loop;

static quad *plane_of(float *array, size_t sample, size_t channel)
{
    return (quad *)(array + (sample * CHANNELS + channel) * PLANE);
}

/* What keeps the reading from being left out. */
static void drain(loop *l, quad sum)
{
    if (sum[0] == 1234.5f)
        l->sink = sum[0];
}

/* A channel's planes, sample after sample: read, then read again and written. */
static void forward_channel(loop *l, size_t channel)
{
    quad a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t n = 0; n < SAMPLES; n++) {
        const quad *from = plane_of(x, n, channel);
        for (size_t i = 0; i < PLANE_QUADS; i += 4) {
            a += from[i];
            b += from[i + 1];
            c += from[i + 2];
            d += from[i + 3];
        }
    }
    drain(l, a + b + c + d);
    for (size_t n = 0; n < SAMPLES; n++) {
        const quad *from = plane_of(x, n, channel);
        quad *to = plane_of(out, n, channel);
        for (size_t i = 0; i < PLANE_QUADS; i++)
            to[i] = from[i] * 0.5f;
    }
}

static void backward_channel(loop *l, size_t channel)
{
    quad a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t n = 0; n < SAMPLES; n++) {
        const quad *one = plane_of(x, n, channel), *other = plane_of(dy, n, channel);
        for (size_t i = 0; i < PLANE_QUADS; i += 4) {
            a += one[i] + other[i];
            b += one[i + 1] + other[i + 1];
            c += one[i + 2] + other[i + 2];
            d += one[i + 3] + other[i + 3];
        }
    }
    drain(l, a + b + c + d);
    for (size_t n = 0; n < SAMPLES; n++) {
        const quad *one = plane_of(x, n, channel), *other = plane_of(dy, n, channel);
        quad *to = plane_of(out, n, channel);
        for (size_t i = 0; i < PLANE_QUADS; i++)
            to[i] = one[i] + other[i];
    }
}

/* A thread takes its part of the channels. */
static void run_channels(void *argument, int thread)
{
    loop *l = argument;
    const size_t begin = (size_t)(CHANNELS * thread / l->threads),
                 end = (size_t)(CHANNELS * (thread + 1) / l->threads);
    for (int64_t step = 0; step < l->steps; step++)
        for (size_t channel = begin; channel < end; channel++)
            (l->backward ? backward_channel : forward_channel)(l, channel);
}

static double run_loop(void *state, int64_t steps)
{
    loop *l = state;
    l->steps = steps;
    return bench_on_threads(l->threads, run_channels, l);
}

bool bench_open_loop(bench_work *work, const char *kind, const bench_settings *settings)
{
    loop *l = calloc(1, sizeof *l);
    if (!l)
        return bench_fail("out of memory");
    l->threads = settings->threads;
    l->backward = !strcmp(kind, "bn-backward-loop");
    if (!open_arrays()) {
        free(l);
        return false;
    }
    *work =
        (bench_work){.amount = step_bytes(l->backward), .unit = "byte", .state = l, .run = run_loop, .close = free};
    return true;
}
