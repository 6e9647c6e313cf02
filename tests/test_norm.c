/* SPDX-License-Identifier: MIT
 * Tests of batch normalisation of plain arrays, forward: the accuracy that op/norm.h states, every switch, the
 * same bits for any number of threads, the book's text, bad input. */
#define _GNU_SOURCE
#include "base/memory.h"
#include "norm_problem.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Forward ------------------------------------------------------------------------------------------------ */

/* Every shape in both layouts, from no mean at all to a mean of a million deviations, all eps. */
static void test_forward_accuracy(void **state)
{
    (void)state;
    const double ratios[] = {0, 1, 1e3, 1e6};
    const float all_eps[] = {EK_EPS_ZERO, 1e-12f, 0, 1e-3f};
    for (int k = 0; k < SHAPES * 2; k++)
        for (int r = 0; r < 4; r += quick() ? 3 : 1) {
            ek_shape s = shapes[k / 2];
            s.layout = k % 2 ? EK_NHWC : EK_NCHW;
            float eps = all_eps[(k + r) % 4];
            double real_eps = (double)(eps == EK_EPS_ZERO ? 0.0f : eps == 0 ? 1e-5f : eps);
            problem p = problem_new(s, ratios[r], true, real_eps);
            ek_batch_norm_options options = {.eps = eps};
            OK(ek_batch_norm_forward(EK_TRAINING, s, p.x, p.gamma, p.beta, NULL, NULL, NULL, &options, p.y,
                                     p.save_mean, p.save_rstd));
            check_y(&p);
            for (int64_t c = 0; c < s.c; c++) {
                near("save_mean", s, c, (double)p.save_mean[c], p.mean[c],
                     2 * U * (fabs(p.mean[c]) + sqrt(p.var[c])));
                near("save_rstd", s, c, (double)p.save_rstd[c], p.rstd[c], 4 * U * p.rstd[c]);
            }
            for (int64_t i = 0; i < p.size; i++) /* constant channels: beta to the bit */
                if (channel_of(s, i) % 4 == 3)
                    assert_true(p.y[i] == p.beta[channel_of(s, i)]);
            float *y = p.y; /* in place: the same bits */
            p.y = p.x;
            p.x = y;
            memcpy(p.x, p.y, (size_t)p.size * sizeof *p.y);
            OK(ek_batch_norm_forward(EK_TRAINING, s, p.y, p.gamma, p.beta, NULL, NULL, NULL, &options, p.y, NULL,
                                     NULL));
            check_y(&p);
            problem_free(&p);
        }
}

/* Values that sums around a pivot could stumble over: outliers, trends, sorted, huge and tiny values. */
static void test_forward_hard_data(void **state)
{
    (void)state;
    enum { KINDS = 8 };
    const ek_shape all[] = {{64, 3, 20, 20, EK_NCHW}, {64, 3, 20, 20, EK_NHWC}, {4096, 5, 1, 1, EK_NCHW}};
    for (int k = 0; k < 3; k++)
        for (int kind = 0; kind < KINDS; kind++) {
            problem p = problem_new(all[k], 0, false, 0);
            for (int64_t i = 0; i < p.size; i++) {
                const double t = (double)i / (double)p.size;
                const double values[KINDS] = {i == 0 ? 1e6 : noise(), i == p.size - 1 ? -1e9 : 1.0,
                                              t * 1e5 + noise(),      t < 0.9 ? 0.0 : 1e4 + noise(),
                                              3e18 * noise(),         1e-17 * noise(),
                                              1e-21 * noise(),        1e-25 * noise()};
                p.x[i] = (float)values[kind];
                p.x2[i] = (double)p.x[i];
            }
            reference_again(&p, 0);
            OK(ek_batch_norm_simplified(p.s, p.x, p.gamma, p.beta, 0, p.y));
            check_y(&p);
            problem_free(&p);
        }
}

/* Far-off values just where a pivot is likely to be looked for: at the beginning. */
static void test_forward_ill_chosen_pivot(void **state)
{
    (void)state;
    const ek_shape all[] = {{1, 1, 700, 1000, EK_NCHW}, {700, 3, 10, 100, EK_NHWC}, {200000, 5, 1, 1, EK_NCHW}};
    for (int k = 0; k < 3; k++) {
        problem p = problem_new(all[k], 0, false, 0);
        for (int64_t i = 0; i < 8 * p.s.c; i++)
            p.x2[i] = (double)(p.x[i] = 1e7f);
        reference_again(&p, 1e-5);
        OK(ek_batch_norm_simplified(p.s, p.x, p.gamma, p.beta, 1e-5f, p.y));
        check_y(&p);
        problem_free(&p);
    }
}

/* 200,000 samples. */
static void test_forward_many_samples(void **state)
{
    (void)state;
    problem p = problem_new((ek_shape){.n = 200000, .c = 3, .h = 1, .w = 1}, 1e4, false, 1e-5);
    OK(ek_batch_norm_simplified(p.s, p.x, p.gamma, p.beta, 1e-5f, p.y));
    check_y(&p);
    problem_free(&p);
}

/* Pairs of values that add up to twice the mean, all small whole numbers: sums are exact in any order, so mean and
 * variance must be too. */
static void test_exact_data(void **state)
{
    (void)state;
    const ek_shape all[] = {{32, 6, 8, 14, EK_NCHW},
                            {32, 6, 8, 14, EK_NHWC},
                            {256, 33, 1, 1, EK_NCHW},
                            {16, 5, 4, 4, EK_NCHW},
                            {1, 1, 64, 1024, EK_NCHW}};
    for (int k = 0; k < 5; k++) {
        problem p = problem_new(all[k], 0, false, 0);
        ek_shape s = p.s;
        int64_t step = s.layout == EK_NHWC || s.h * s.w == 1 ? s.c : 1; /* from a value to its neighbour */
        for (int64_t i = 0; i < p.size; i++) {
            int64_t pair = i / (2 * step) * step + i % step, deviation = pair * 7 % 9;
            double mean = (double)(channel_of(s, i) * 1000);
            p.x[i] = (float)(mean + (double)(i / step % 2 ? deviation : -deviation));
        }
        free(p.x2);
        p.x2 = doubled(p.x, p.size);
        ek_reference_batch_statistics(s, p.x2, p.mean, p.var);
        memset(p.moving_mean, 0, (size_t)s.c * sizeof(float));
        memset(p.moving_var, 0, (size_t)s.c * sizeof(float));
        OK(ek_batch_norm(EK_TRAINING, s, p.x, NULL, NULL, p.moving_mean, p.moving_var, 0, 1, p.y));
        for (int64_t c = 0; c < s.c; c++) {
            assert_true(p.moving_mean[c] == (float)(c * 1000));
            assert_true(p.moving_var[c] == (float)p.var[c]);
        }
        problem_free(&p);
    }
}

/* ---- Switches ----------------------------------------------------------------------------------------------- */

/* Every combination against PyTorch's rules spelled out. */
static void test_switches(void **state)
{
    (void)state;
    const ek_shape s = {6, 5, 3, 4, EK_NCHW};
    const double m = 6 * 3 * 4;
    for (int bits = 0; bits < 128; bits++) {
        ek_mode mode = bits & 1 ? EK_TRAINING : EK_PREDICTION;
        bool tracked = bits & 2, cumulative = bits & 16, counted = cumulative || bits & 32;
        ek_batch_norm_options options = {.use_moving = tracked && bits & 4,
                                         .hold_moving = bits & 8,
                                         .momentum = cumulative ? EK_MOMENTUM_CUMULATIVE : 0.3f,
                                         .moving_variance = bits & 64 ? EK_MOVING_POPULATION : EK_MOVING_UNBIASED};
        problem p = problem_new(s, 2, false, 1e-5);
        double *old_mean = doubled(p.moving_mean, s.c), *old_var = doubled(p.moving_var, s.c);
        int64_t batches = 4;
        OK(ek_batch_norm_forward(mode, s, p.x, p.gamma, p.beta, tracked ? p.moving_mean : NULL,
                                 tracked ? p.moving_var : NULL, counted ? &batches : NULL, &options, p.y, p.save_mean,
                                 p.save_rstd));
        bool by_batch = mode == EK_TRAINING ? !options.use_moving : !tracked;
        bool update = mode == EK_TRAINING && tracked && !options.hold_moving;
        assert_int_equal(batches, update && counted ? 5 : 4);
        for (int64_t c = 0; c < s.c; c++) {
            double momentum = !update ? 0 : cumulative ? 0.2 : 0.3;
            double var = options.moving_variance == EK_MOVING_POPULATION ? p.var[c] : p.var[c] * m / (m - 1);
            near("moving_mean", s, c, (double)p.moving_mean[c], (1 - momentum) * old_mean[c] + momentum * p.mean[c],
                 update ? 1e-7 : 0);
            near("moving_var", s, c, (double)p.moving_var[c], (1 - momentum) * old_var[c] + momentum * var,
                 update ? 1e-7 : 0);
            if (!by_batch) {
                p.mean[c] = old_mean[c];
                p.rstd[c] = 1 / sqrt(old_var[c] + 1e-5);
            }
            near("save_mean", s, c, (double)p.save_mean[c], p.mean[c], by_batch ? 4 * U * fabs(p.mean[c]) : 0);
            near("save_rstd", s, c, (double)p.save_rstd[c], p.rstd[c], 4 * U * p.rstd[c]);
        }
        ek_reference_batch_norm(EK_NORMALIZE_BOTH, s, p.x2, p.gamma2, p.beta2, p.mean, p.rstd, p.y2);
        check_y(&p);
        free(old_mean);
        free(old_var);
        problem_free(&p);
    }
}

/* gamma and beta NULL are ones and zeros, each alone. */
static void test_without_affine(void **state)
{
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        problem p = problem_new((ek_shape){4, 3, 9, 9, EK_NCHW}, 1, false, 1e-5);
        for (int64_t c = 0; c < 3; c++) {
            p.gamma2[c] = bits & 1 ? p.gamma2[c] : 1;
            p.beta2[c] = bits & 2 ? p.beta2[c] : 0;
        }
        ek_reference_batch_norm(EK_NORMALIZE_BOTH, p.s, p.x2, p.gamma2, p.beta2, p.mean, p.rstd, p.y2);
        OK(ek_batch_norm_simplified(p.s, p.x, bits & 1 ? p.gamma : NULL, bits & 2 ? p.beta : NULL, 1e-5f, p.y));
        check_y(&p);
        problem_free(&p);
    }
}

/* ---- The book ----------------------------------------------------------------------------------------------- */

/* The book's batch_norm, line by line, X of two dimensions or four. */
static void book_batch_norm(bool training, ek_shape s, const double *x, const double *gamma, const double *beta,
                            double *moving_mean, double *moving_var, double epsilon, double momentum, double *y)
{
    int64_t hw = s.h * s.w;
    for (int64_t c = 0; c < s.c; c++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < s.n * hw; i++)
            mean += x[(i / hw * s.c + c) * hw + i % hw] / (double)(s.n * hw);
        for (int64_t i = 0; i < s.n * hw; i++)
            var += pow(x[(i / hw * s.c + c) * hw + i % hw] - mean, 2) / (double)(s.n * hw);
        for (int64_t i = 0; i < s.n * hw; i++) {
            int64_t k = (i / hw * s.c + c) * hw + i % hw;
            double x_hat = training ? (x[k] - mean) / sqrt(var + epsilon)
                                    : (x[k] - moving_mean[c]) / sqrt(moving_var[c] + epsilon);
            y[k] = gamma[c] * x_hat + beta[c];
        }
        if (training) {
            moving_mean[c] = (1.0 - momentum) * moving_mean[c] + momentum * mean;
            moving_var[c] = (1.0 - momentum) * moving_var[c] + momentum * var;
        }
    }
}

static void test_book_batch_norm(void **state)
{
    (void)state;
    const ek_shape all[] = {{128, 120, 1, 1, EK_NCHW}, {16, 6, 24, 24, EK_NCHW}};
    for (int k = 0; k < 2; k++) {
        problem p = problem_new(all[k], 1, false, 1e-5);
        double *moving_mean = doubled(p.moving_mean, p.s.c), *moving_var = doubled(p.moving_var, p.s.c);
        for (int step = 0; step < 3; step++) { /* two of training, one of prediction */
            bool training = step < 2;
            book_batch_norm(training, p.s, p.x2, p.gamma2, p.beta2, moving_mean, moving_var, 1e-5, 0.1, p.y2);
            OK(ek_batch_norm(training ? EK_TRAINING : EK_PREDICTION, p.s, p.x, p.gamma, p.beta, p.moving_mean,
                             p.moving_var, 1e-5f, 0.1f, p.y));
            for (int64_t i = 0; i < p.size; i++)
                near("y", p.s, i, (double)p.y[i], p.y2[i], 2e-6);
            for (int64_t c = 0; c < p.s.c; c++) {
                near("moving_mean", p.s, c, (double)p.moving_mean[c], moving_mean[c], 3e-7);
                near("moving_var", p.s, c, (double)p.moving_var[c], moving_var[c], 3e-7);
            }
        }
        free(moving_mean);
        free(moving_var);
        problem_free(&p);
    }
}

/* The book's NumPy text: mu = np.mean(x, axis=0), var = np.var(x, axis=0), x [N,C]. */
static void test_book_simplified(void **state)
{
    (void)state;
    problem p = problem_new((ek_shape){.n = 50, .c = 20, .h = 1, .w = 1}, 3, false, 1e-5);
    double zeros[20] = {0}, ones[20] = {0};
    book_batch_norm(true, p.s, p.x2, p.gamma2, p.beta2, zeros, ones, 1e-5, 0, p.y2);
    OK(ek_batch_norm_simplified((ek_shape){.n = 50, .c = 20}, p.x, p.gamma, p.beta, 1e-5f, p.y));
    for (int64_t i = 0; i < p.size; i++)
        near("y", p.s, i, (double)p.y[i], p.y2[i], 2e-6);
    problem_free(&p);
    const float x[3] = {7, -1e30f, 0}, beta[3] = {1, 2, 3}; /* one value per channel gives beta */
    float y[3];
    OK(ek_batch_norm_simplified((ek_shape){.n = 1, .c = 3}, x, NULL, beta, 0, y));
    assert_memory_equal(y, beta, sizeof y);
}

/* ---- The same bits ------------------------------------------------------------------------------------------ */

static void test_threads(void **state)
{
    (void)state;
    const ek_shape all[] = {{64, 16, 40, 40, EK_NCHW}, {64, 16, 40, 40, EK_NHWC}, {5000, 120, 1, 1, EK_NCHW},
                            {5, 1000, 3, 3, EK_NCHW},  {1, 2, 700, 600, EK_NCHW}, {100, 6000, 1, 1, EK_NCHW}};
    const int threads[] = {1, 2, 3, 16, 2};
    for (int k = 0; k < 6; k++) {
        problem p = problem_new(all[k], 100, true, 1e-5);
        const int64_t c = p.s.c, n = p.s.n, m = p.size / n, rooms = 4 * p.size + 6 * c + 2 * n + 2 * m;
        float *outs[2] = {room(rooms, sizeof(float)), room(rooms, sizeof(float))};
        for (int t = 0; t < 5; t++) {
            float *y = outs[t > 0], *dx = y + p.size, *layer_y = dx + p.size, *layer_dx = layer_y + p.size;
            float *of_channels = layer_dx + p.size, *of_samples = of_channels + 6 * c,
                  *of_values = of_samples + 2 * n;
            const ek_batch_norm_options options = {.threads = threads[t]};
            memcpy(of_channels, p.moving_mean, (size_t)c * sizeof(float));
            memcpy(of_channels + c, p.moving_var, (size_t)c * sizeof(float));
            OK(ek_batch_norm_forward(EK_TRAINING, p.s, p.x, p.gamma, p.beta, of_channels, of_channels + c, NULL,
                                     &options, y, of_channels + 2 * c, of_channels + 3 * c));
            OK(ek_batch_norm_backward(EK_TRAINING, true, p.s, p.x, p.dy, p.gamma, of_channels + 2 * c,
                                      of_channels + 3 * c, &options, dx, of_channels + 4 * c, of_channels + 5 * c));
            OK(ek_layer_norm_forward(p.s, p.x, NULL, NULL, 1e-5f, threads[t], layer_y, of_samples, of_samples + n));
            OK(ek_layer_norm_backward(p.s, p.x, p.dy, NULL, of_samples, of_samples + n, threads[t], layer_dx,
                                      of_values, of_values + m));
            if (t)
                assert_memory_equal(outs[1], outs[0], (size_t)rooms * sizeof(float));
        }
        free(outs[0]);
        free(outs[1]);
        problem_free(&p);
    }
}

enum { VALUES = 1 << 18 };

/* Calls from several threads of the program at once: one has the kept threads, the others do without. */
static void *call_often(void *result)
{
    static _Thread_local float x[2][VALUES], y[VALUES];
    for (int i = 0; i < VALUES; i++)
        x[0][i] = x[1][i] = (float)(i * 37 % 101);
    bool same = true;
    for (int i = 0; i < 50; i++) {
        const ek_batch_norm_options options = {.threads = 2 + i / 10 % 2}; /* 2 first and last */
        same = same && ek_batch_norm_forward(EK_TRAINING, (ek_shape){.n = VALUES / 8, .c = 8}, x[i % 2], NULL, NULL,
                                             NULL, NULL, NULL, &options, i ? x[1] : y, NULL, NULL) == EK_OK;
        same = same && (i == 0 || memcmp(x[1], y, sizeof y) == 0);
        memcpy(x[1], x[0], sizeof y);
    }
    *(bool *)result = same;
    return NULL;
}

static void test_callers(void **state)
{
    (void)state;
    pthread_t callers[4];
    bool same[4] = {false};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, call_often, &same[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(callers[i], NULL);
        assert_true(same[i]);
    }
}

#if defined(__has_feature)
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif

/* A child of fork has none of its parent's threads, and starts its own; ThreadSanitizer forbids that. */
static void test_fork(void **state)
{
    (void)state;
    if (THREAD_SANITIZER)
        skip();
    bool same = false;
    call_often(&same);
    assert_true(same);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        call_often(&same);
        _exit(same ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Arrays past the caches are written another way, wherever they begin. */
static void test_large_and_unaligned(void **state)
{
    (void)state;
    const ek_shape all[] = {{200, 50, 43, 43, EK_NCHW}, {300, 64, 32, 32, EK_NHWC}, {6007, 3001, 1, 1, EK_NCHW}};
    for (int k = 0; k < (quick() ? 1 : 3); k++) {
        const ek_shape s = all[k];
        const int64_t size = size_of(s), offsets[] = {0, 3, 8};
        float *x = room(size + 32, sizeof *x), *y = room(size + 32, sizeof *y), *beta = room(s.c, sizeof *beta);
        for (int64_t i = 0; i < size; i++)
            x[i] = (float)noise();
        for (int64_t c = 0; c < s.c; c++)
            beta[c] = (float)noise();
        float *in_place = room(size, sizeof *x);
        memcpy(in_place, x, (size_t)size * sizeof *x);
        OK(ek_batch_norm_simplified(s, in_place, NULL, beta, 1e-5f, in_place));
        for (int o = 0; o < 3; o++) {
            float *to = y + 8 + offsets[o];
            to[-1] = to[size] = 12345;
            OK(ek_batch_norm_simplified(s, x, NULL, beta, 1e-5f, to));
            assert_memory_equal(to, in_place, (size_t)size * sizeof *x);
            assert_true(to[-1] == 12345 && to[size] == 12345);
        }
        free(x);
        free(y);
        free(beta);
        free(in_place);
    }
}

/* ---- Bad values, bad arguments ------------------------------------------------------------------------------ */

static void test_not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    const ek_shape all[] = {{10, 4, 6, 7, EK_NCHW}, {10, 4, 6, 7, EK_NHWC}, {50, 20, 1, 1, EK_NCHW}};
    for (int k = 0; k < 12; k++) {
        problem p = problem_new(all[k / 4], 1, false, 1e-5);
        int64_t at = p.size / 2 + 3, c = channel_of(p.s, at), batches = 3;
        p.x[at] = bad[k % 4];
        float *mean = room(p.s.c, sizeof *mean), *var = room(p.s.c, sizeof *var);
        memcpy(mean, p.moving_mean, (size_t)p.s.c * sizeof *mean);
        memcpy(var, p.moving_var, (size_t)p.s.c * sizeof *var);
        assert_int_equal(
            ek_batch_norm_forward(EK_TRAINING, p.s, p.x, p.gamma, p.beta, mean, var, &batches, NULL, p.y, NULL, NULL),
            EK_ERR_NUMERIC);
        char channel[32];
        snprintf(channel, sizeof channel, "channel %lld ", (long long)c);
        assert_non_null(strstr(ek_error(), channel));
        assert_memory_equal(mean, p.moving_mean, (size_t)p.s.c * sizeof *mean);
        assert_memory_equal(var, p.moving_var, (size_t)p.s.c * sizeof *var);
        assert_int_equal(batches, 3);
        for (int64_t i = 0; i < p.size; i++) {
            if (channel_of(p.s, i) != c)
                near("y", p.s, i, (double)p.y[i], p.y2[i], 2e-6);
            else
                assert_true(k % 4 == 3 ? isfinite(p.y[i]) : isnan(p.y[i])); /* 3e38: its variance is 1e76 and more */
        }
        free(mean);
        free(var);
        problem_free(&p);
    }
    /* Moving statistics normalise whatever x is; values that are not finite stay where they are. */
    float x[4] = {1, NAN, INFINITY, 2}, mean[2] = {0, 0}, var[2] = {1, 1}, y[4];
    OK(ek_batch_norm(EK_PREDICTION, (ek_shape){.n = 2, .c = 2}, x, NULL, NULL, mean, var, 0, 0, y));
    assert_true(y[0] == 1 && isnan(y[1]) && y[2] == INFINITY && y[3] == 2);
}

#define FAILS(status, text, call)                                                                                    \
    do {                                                                                                             \
        assert_int_equal(call, status);                                                                              \
        if (!strstr(ek_error(), text))                                                                               \
            fail_msg("\"%s\" does not say \"%s\"", ek_error(), text);                                                \
    } while (0)

static void test_arguments(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6], mean[2] = {0}, var[2] = {1, 1};
    const ek_shape s = {.n = 3, .c = 2}, one = {.n = 1, .c = 2}, flat = {.n = 1, .c = 2, .h = 1, .w = 3};
    FAILS(EK_ERR_ARGUMENT, "mode 0", ek_batch_norm((ek_mode)0, s, x, NULL, NULL, mean, var, 0, 0, y));
    FAILS(EK_ERR_ARGUMENT, "mode 7", ek_batch_norm((ek_mode)7, s, x, NULL, NULL, mean, var, 0, 0, y));
    FAILS(EK_ERR_ARGUMENT, "NULL", ek_batch_norm(EK_TRAINING, s, NULL, NULL, NULL, mean, var, 0, 0, y));
    FAILS(EK_ERR_ARGUMENT, "NULL", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, 0, 0, NULL));
    FAILS(EK_ERR_ARGUMENT, "moving_var", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, NULL, 0, 0, y));
    FAILS(EK_ERR_ARGUMENT, "moving_mean", ek_batch_norm(EK_PREDICTION, s, x, NULL, NULL, NULL, NULL, 0, 0, y));
    FAILS(EK_ERR_ARGUMENT, "eps", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, -1e-9f, 0, y));
    FAILS(EK_ERR_ARGUMENT, "eps", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, NAN, 0, y));
    FAILS(EK_ERR_ARGUMENT, "eps", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, INFINITY, 0, y));
    FAILS(EK_ERR_ARGUMENT, "momentum", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, 0, 1.5f, y));
    FAILS(EK_ERR_ARGUMENT, "momentum", ek_batch_norm(EK_TRAINING, s, x, NULL, NULL, mean, var, 0, NAN, y));
    FAILS(EK_ERR_SHAPE, "one value", ek_batch_norm(EK_TRAINING, one, x, NULL, NULL, mean, var, 0, 0, y));
    OK(ek_batch_norm(EK_PREDICTION, one, x, NULL, NULL, mean, var, 0, 0, y));
    OK(ek_batch_norm(EK_TRAINING, flat, x, NULL, NULL, NULL, NULL, 0, 0, y));
    const ek_shape bad[] = {{0, 2, 1, 1, 0},
                            {3, 0, 1, 1, 0},
                            {3, -2, 1, 1, 0},
                            {3, 2, -1, 1, 0},
                            {3, 2, 1, -1, 0},
                            {INT64_MAX, INT64_MAX, 1, 1, 0},
                            {1 << 30, 1 << 30, 1 << 30, 1 << 30, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FAILS(EK_ERR_SHAPE, "shape", ek_batch_norm_simplified(bad[i], x, NULL, NULL, 0, y));
        FAILS(EK_ERR_SHAPE, "shape", ek_layer_norm_forward(bad[i], x, NULL, NULL, 0, 1, y, NULL, NULL));
    }
    FAILS(EK_ERR_ARGUMENT, "layout",
          ek_batch_norm_simplified((ek_shape){3, 2, 1, 1, (ek_layout)9}, x, NULL, NULL, 0, y));
    FAILS(EK_ERR_ARGUMENT, "NULL", ek_layer_norm_forward(s, x, NULL, NULL, 0, 1, NULL, NULL, NULL));
    FAILS(EK_ERR_ARGUMENT, "threads", ek_layer_norm_forward(s, x, NULL, NULL, 0, -1, y, NULL, NULL));
    FAILS(EK_ERR_ARGUMENT, "NULL", ek_layer_norm_backward(s, x, x, NULL, NULL, var, 1, y, NULL, NULL));
}

static ek_status forward_with(ek_batch_norm_options options, bool tracked, int64_t n, int64_t *batches)
{
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6], mean[2] = {0}, var[2] = {1, 1};
    return ek_batch_norm_forward(EK_TRAINING, (ek_shape){.n = n, .c = 2}, x, NULL, NULL, tracked ? mean : NULL,
                                 tracked ? var : NULL, batches, &options, y, NULL, NULL);
}

static void test_options(void **state)
{
    (void)state;
    int64_t batches = -1;
    const ek_batch_norm_options cumulative = {.momentum = EK_MOMENTUM_CUMULATIVE};
    FAILS(EK_ERR_ARGUMENT, "eps", forward_with((ek_batch_norm_options){.eps = -2}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "momentum", forward_with((ek_batch_norm_options){.momentum = -0.5f}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "momentum", forward_with((ek_batch_norm_options){.momentum = 2}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "num_batches is NULL", forward_with(cumulative, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "num_batches is -1", forward_with(cumulative, true, 3, &batches));
    FAILS(EK_ERR_ARGUMENT, "threads", forward_with((ek_batch_norm_options){.threads = 5000}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "threads", forward_with((ek_batch_norm_options){.threads = -1}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "moving_variance",
          forward_with((ek_batch_norm_options){.moving_variance = (ek_moving_variance)5}, true, 3, NULL));
    FAILS(EK_ERR_ARGUMENT, "moving_mean", forward_with((ek_batch_norm_options){.use_moving = true}, false, 3, NULL));
    /* One value per channel: an error where batch statistics count, and only there. */
    FAILS(EK_ERR_SHAPE, "one value", forward_with((ek_batch_norm_options){0}, true, 1, NULL));
    FAILS(EK_ERR_SHAPE, "one value", forward_with((ek_batch_norm_options){0}, false, 1, NULL));
    FAILS(EK_ERR_SHAPE, "one value", forward_with((ek_batch_norm_options){.use_moving = true}, true, 1, NULL));
    OK(forward_with((ek_batch_norm_options){.use_moving = true, .hold_moving = true}, true, 1, NULL));
    float x[2] = {1, 2}, dy[2] = {1, 1}, dx[2], mean[2] = {0}, rstd[2] = {1, 1};
    FAILS(EK_ERR_ARGUMENT, "tracked",
          ek_batch_norm_backward(EK_TRAINING, false, (ek_shape){.n = 1, .c = 2}, x, dy, NULL, mean, rstd,
                                 &(ek_batch_norm_options){.use_moving = true}, dx, NULL, NULL));
    FAILS(EK_ERR_ARGUMENT, "save_mean",
          ek_batch_norm_backward(EK_TRAINING, false, (ek_shape){.n = 1, .c = 2}, x, dy, NULL, NULL, rstd, NULL, dx,
                                 NULL, NULL));
}

/* Every allocation fails once: a status, moving statistics as they were, no leak (under LeakSanitizer). */
static void test_no_memory(void **state)
{
    (void)state;
    const ek_shape s = {64, 8, 32, 32, EK_NCHW};
    const int64_t m = 8 * 32 * 32;
    float *of_values = room(2 * m, sizeof *of_values);
    for (int call = 0; call < 4; call++) {
        bool done = false;
        for (int64_t n = 1; !done; n++) {
            problem p = problem_new(s, 1, false, 1e-5);
            const int threads = 2 + (int)(n % 2); /* other than the last time: new threads */
            const ek_batch_norm_options options = {.threads = threads};
            float before[16], after[16];
            memcpy(before, p.moving_mean, 8 * sizeof(float));
            memcpy(before + 8, p.moving_var, 8 * sizeof(float));
            ek_memory_fail_at(n);
            ek_status status;
            if (call == 0)
                status = ek_batch_norm_forward(EK_TRAINING, s, p.x, p.gamma, p.beta, p.moving_mean, p.moving_var,
                                               NULL, &options, p.y, NULL, NULL);
            else if (call == 1)
                status = ek_batch_norm_backward(EK_TRAINING, true, s, p.x, p.dy, p.gamma, p.save_mean, p.save_rstd,
                                                &options, p.y, p.save_mean, p.save_rstd);
            else if (call == 2)
                status = ek_layer_norm_forward(s, p.x, NULL, NULL, 0, threads, p.y, NULL, NULL);
            else
                status = ek_layer_norm_backward(s, p.x, p.dy, NULL, p.x, p.x, threads, p.y, of_values, of_values + m);
            done = ek_memory_fail_at(0) < n;
            assert_int_equal(status, done ? EK_OK : EK_ERR_MEMORY);
            memcpy(after, p.moving_mean, 8 * sizeof(float));
            memcpy(after + 8, p.moving_var, 8 * sizeof(float));
            assert_true(done || memcmp(before, after, sizeof before) == 0);
            problem_free(&p);
            assert_true(n < 100);
        }
    }
    free(of_values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_accuracy),
        cmocka_unit_test(test_forward_hard_data),
        cmocka_unit_test(test_forward_ill_chosen_pivot),
        cmocka_unit_test(test_forward_many_samples),
        cmocka_unit_test(test_exact_data),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_without_affine),
        cmocka_unit_test(test_book_batch_norm),
        cmocka_unit_test(test_book_simplified),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_callers),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_large_and_unaligned),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("norm", tests, NULL, NULL);
}
