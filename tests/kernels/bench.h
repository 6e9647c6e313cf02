/* SPDX-License-Identifier: MIT
 * Time per blocked kernel on every instruction set: the best of many runs, on one thread, for the shapes of LeNet and
 * of a residual net. Run alone on an idle machine: build/tests/kernels/test_blocked --bench. */
#ifndef EK_TESTS_KERNELS_BENCH_H
#define EK_TESTS_KERNELS_BENCH_H

#include "check.h"

#include <time.h>

enum { BENCH_RUNS = 60 };

static inline double bench_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Times the call; operations 0: none worth counting. */
#define BENCH(name, operations, call)                                                                                \
    do {                                                                                                             \
        double best = INFINITY;                                                                                      \
        for (int run = 0; run < BENCH_RUNS; run++) {                                                                 \
            const double begin = bench_now();                                                                        \
            call;                                                                                                    \
            const double time = bench_now() - begin;                                                                 \
            best = time < best ? time : best;                                                                        \
        }                                                                                                            \
        bench_line(name, operations, best);                                                                          \
    } while (0)

static inline void bench_line(const char *name, double operations, double seconds)
{
    printf("    %-24s %9.1f us", name, seconds * 1e6);
    if (operations > 0)
        printf(" %8.1f GFLOP/s", operations / seconds * 1e-9);
    printf("\n");
}

static inline void bench_linear(const ek_blocked_kernels *kernel, const ek_conv *g)
{
    enum { BLOCKS = 8, SAMPLES = BLOCKS * LANES };
    const size_t features = (size_t)g->c, k = (size_t)g->k;
    float *x = random_floats(features * LANES), *rows = floats((features + 15) / 16 * 16 * SAMPLES);
    float *dy = random_floats(k * SAMPLES), *dweight = floats(k * features), *dbias = floats(k);
    BENCH("rows of 128", 0,
          for (int n = 0; n < BLOCKS; n++) kernel->rows_from_block(g->c, x, SAMPLES, n * LANES, rows));
    BENCH("backward weight of 128", 2.0 * SAMPLES * (double)(k * features),
          for (int k0 = 0; k0 < g->k; k0 += 12) kernel->linear_backward_weight(
              g->c, k0, g->k - k0 < 12 ? g->k - k0 : 12, BLOCKS, rows, dy, k * LANES, dweight, dbias));
}

static inline ek_conv bench_shape(int c, int extent, int k, int kernel, int stride, int padding)
{
    const int extent_out = (extent + 2 * padding - kernel) / stride + 1;
    return (ek_conv){.c = c,
                     .h = extent,
                     .w = extent,
                     .k = k,
                     .p = extent_out,
                     .q = extent_out,
                     .r = kernel,
                     .s = kernel,
                     .stride_h = stride,
                     .stride_w = stride,
                     .padding_h = padding,
                     .padding_w = padding,
                     .dilation_h = 1,
                     .dilation_w = 1,
                     .groups = 1};
}

static inline void bench_conv(const ek_blocked_kernels *kernel, ek_conv g)
{
    const size_t in = (size_t)g.c * (size_t)g.h * (size_t)g.w * LANES, weights = (size_t)ek_conv_weights(&g);
    const size_t out = (size_t)g.k * (size_t)g.p * (size_t)g.q * LANES;
    const double operations = 2.0 * (double)out * (g.c / g.groups) * g.r * g.s;
    float *weight = random_floats(weights), *bias = random_floats((size_t)g.k), *packed = floats(weights);
    float *packed_backward = floats(weights), *x = random_floats(in), *y = floats(out), *dy = random_floats(out);
    float *dx = floats(in), *dweight = floats(weights), *dbias = floats((size_t)g.k);
    float *scratch = floats(ek_conv_scratch(&g));
    printf("  convolution %dx%dx%d to %d, kernel %d%s\n", g.c, g.h, g.w, g.k, g.r, g.groups > 1 ? ", depthwise" : "");
    BENCH("pack", 0, kernel->pack_forward(&g, weight, packed));
    kernel->pack_backward(&g, weight, packed_backward);
    BENCH("forward", operations, kernel->conv_forward(&g, packed, bias, x, y, 0, g.p));
    BENCH("backward data", operations, kernel->conv_backward_data(&g, packed_backward, dy, dx, 0, g.h));
    if (g.h == 1 && g.w == 1)
        bench_linear(kernel, &g);
    else
        BENCH("backward weight", operations, kernel->conv_backward_weight(&g, x, dy, scratch, dweight, dbias));
    if (ek_weight_way_of(&g) != EK_WEIGHT_BY_SAMPLES) {
        float *sums = floats(ek_channels_scratch(&g));
        BENCH("the same by channels", operations,
              kernel->channels_backward_weight(&g, x, dy, sums, dweight, dbias, 0, (g.c + LANES - 1) / LANES));
    }
    check_margins();
}

static inline void bench_unit(const ek_blocked_kernels *kernel, ek_unit u)
{
    const size_t c = (size_t)u.c, in = c * (size_t)u.h * (size_t)u.w * LANES;
    const size_t out = in / (size_t)(u.pool * u.pool);
    float *x = random_floats(in), *a = floats(in), *y = floats(out), *dy = random_floats(out), *dx = floats(in);
    ek_norm_channel *norm = guarded(c, sizeof *norm);
    ek_norm_gradient *gradient = guarded(c, sizeof *gradient);
    ek_norm_sums *sums = guarded(c, sizeof *sums);
    double *mean = doubles(c), *deviations = doubles(c);
    for (size_t i = 0; i < c; i++) {
        norm[i] = (ek_norm_channel){.mean = 0.1f, .scale = 0.9f, .shift = 0.2f};
        gradient[i] = (ek_norm_gradient){.mean = 0.1f, .scale = 0.9f, .offset = 0.01f, .slope = 0.02f};
    }
    printf("  unit %dx%dx%d%s, pool %d\n", u.c, u.h, u.w,
           u.activation == EK_SIGMOID ? ", sigmoid"
           : u.activation == EK_RELU  ? ", relu"
                                      : "",
           u.pool);
    BENCH("statistics", 0, kernel->channel_stats(u.c, u.h * u.w, x, LANES, mean, deviations));
    BENCH("forward", 0, kernel->unit_forward(&u, norm, x, a, y));
    BENCH("forward, nothing kept", 0, kernel->unit_forward(&u, norm, x, NULL, y));
    BENCH("sums", 0, kernel->unit_sums(&u, gradient, x, a, dy, LANES, sums));
    BENCH("backward", 0, kernel->unit_backward(&u, gradient, x, a, dy, LANES, dx));
    check_margins();
}

static inline void bench_rest(const ek_blocked_kernels *kernel)
{
    enum { CLASSES = 10, PIXELS = 784, PARAMETERS = 45000 };
    uint8_t pixels[LANES][PIXELS] = {{0}}, labels[LANES] = {0};
    const uint8_t *images[LANES];
    int predicted[LANES];
    double loss[LANES];
    for (int i = 0; i < LANES; i++)
        images[i] = pixels[i];
    float *x = floats((size_t)PIXELS * LANES), *logits = random_floats(CLASSES * LANES);
    float *dlogits = floats(CLASSES * LANES), *value = random_floats(PARAMETERS);
    float *gradient = random_floats(PARAMETERS), *parts = random_floats((size_t)8 * 3000), *sum = floats(3000);
    printf("  the rest\n");
    BENCH("gather 28x28", 0, kernel->gather(images, LANES, PIXELS, NULL, x));
    BENCH("softmax cross-entropy 10", 0,
          kernel->softmax_cross_entropy(CLASSES, logits, labels, LANES, 0.01f, 0, loss, predicted, dlogits));
    BENCH("sgd of 45000", 0, kernel->sgd(PARAMETERS, &(ek_update){.rate = 0.1f}, false, 1, gradient, NULL, value));
    BENCH("8 parts of 3000", 0, kernel->sum_parts(3000, 8, 3000, parts, sum));
    check_margins();
}

static inline void bench_all(void)
{
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        printf("%s, one block of sixteen samples\n", sets[i]->name);
        bench_conv(kernel, bench_shape(1, 28, 6, 5, 1, 0));
        bench_conv(kernel, bench_shape(6, 12, 16, 5, 1, 0));
        bench_conv(kernel, bench_shape(16, 32, 16, 3, 1, 1));
        bench_conv(kernel, bench_shape(64, 8, 64, 3, 1, 1));
        bench_conv(kernel, bench_shape(32, 32, 64, 1, 2, 0));
        ek_conv depthwise = bench_shape(64, 16, 64, 3, 1, 1);
        depthwise.groups = 64;
        bench_conv(kernel, depthwise);
        bench_conv(kernel, bench_shape(256, 1, 120, 1, 1, 0));
        bench_conv(kernel, bench_shape(120, 1, 84, 1, 1, 0));
        bench_unit(kernel, (ek_unit){.c = 6, .h = 24, .w = 24, .norm = true, .activation = EK_SIGMOID, .pool = 2});
        bench_unit(kernel, (ek_unit){.c = 16, .h = 8, .w = 8, .norm = true, .activation = EK_SIGMOID, .pool = 2});
        bench_unit(kernel, (ek_unit){.c = 16, .h = 32, .w = 32, .norm = true, .activation = EK_IDENTITY, .pool = 1});
        bench_unit(kernel, (ek_unit){.c = 16, .h = 32, .w = 32, .norm = true, .activation = EK_RELU, .pool = 1});
        bench_unit(kernel, (ek_unit){.c = 120, .h = 1, .w = 1, .norm = true, .activation = EK_SIGMOID, .pool = 1});
        bench_rest(kernel);
    }
}

#endif
