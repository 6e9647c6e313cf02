/* SPDX-License-Identifier: MIT
 * What the tests of normalisation share: arrays with the reference's numbers for them, and the accuracy that
 * op/norm.h states. Includes cmocka's headers. */
#ifndef NORM_PROBLEM_H
#define NORM_PROBLEM_H

#include "op/norm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double U = 0x1p-24;

#define OK(call)                                                                                                     \
    do {                                                                                                             \
        ek_status status_ = (call);                                                                                  \
        if (status_)                                                                                                 \
            fail_msg("%s: %s: %s", #call, ek_status_name(status_), ek_error());                                      \
    } while (0)

/* With sanitizers, which are slow: fewer cases. */
static inline bool quick(void)
{
    return getenv("EVENKEEL_TEST_QUICK") != NULL;
}

static uint64_t seed = 1;

/* Uniform in (-1, 1). */
static inline double noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(seed >> 33) + 0.5) * 0x1p-30 - 1;
}

static inline void *room(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);
    assert_non_null(memory);
    return memory;
}

static inline double *doubled(const float *values, int64_t count)
{
    double *d = room(count, sizeof *d);
    for (int64_t i = 0; i < count; i++)
        d[i] = (double)values[i];
    return d;
}

static inline int64_t size_of(ek_shape s)
{
    return s.n * s.c * s.h * s.w;
}

static inline int64_t channel_of(ek_shape s, int64_t i)
{
    return s.layout == EK_NHWC ? i % s.c : i / (s.h * s.w) % s.c;
}

/* Everything that one call of either direction works on, and the reference's numbers for it. */
typedef struct problem {
    ek_shape s;
    int64_t size;
    float *x, *dy, *y, *gamma, *beta, *moving_mean, *moving_var, *save_mean, *save_rstd;
    double *x2, *dy2, *gamma2, *beta2, *mean, *var, *rstd, *y2;
} problem;

/* The reference's numbers for x2 as it is now. */
static inline void reference_again(problem *p, double eps)
{
    ek_reference_batch_statistics(p->s, p->x2, p->mean, p->var);
    for (int64_t c = 0; c < p->s.c; c++)
        p->rstd[c] = ek_norm_rstd(p->var[c], eps);
    ek_reference_batch_norm(EK_NORMALIZE_BOTH, p->s, p->x2, p->gamma2, p->beta2, p->mean, p->rstd, p->y2);
}

/* Channels of deviation about 1 around `ratio`; every fourth is constant where `constants`. */
static inline problem problem_new(ek_shape s, double ratio, bool constants, double eps)
{
    problem p = {.s = s, .size = size_of(s)};
    float **arrays[] = {&p.x, &p.dy, &p.y};
    for (size_t i = 0; i < 3; i++)
        *arrays[i] = room(p.size, sizeof(float));
    float **channels[] = {&p.gamma, &p.beta, &p.moving_mean, &p.moving_var, &p.save_mean, &p.save_rstd};
    for (size_t i = 0; i < 6; i++)
        *channels[i] = room(s.c, sizeof(float));
    for (int64_t c = 0; c < s.c; c++) {
        p.gamma[c] = (float)(1 + 0.5 * noise());
        p.beta[c] = (float)noise();
        p.moving_mean[c] = (float)noise();
        p.moving_var[c] = (float)(1 + 0.5 * noise());
    }
    for (int64_t i = 0; i < p.size; i++) {
        int64_t c = channel_of(s, i);
        p.x[i] = (float)(ratio * (1 + 0.01 * (double)(c % 7)) + (constants && c % 4 == 3 ? 0 : 1.7 * noise()));
        p.dy[i] = (float)(noise() + 0.3);
    }
    p.x2 = doubled(p.x, p.size);
    p.dy2 = doubled(p.dy, p.size);
    p.gamma2 = doubled(p.gamma, s.c);
    p.beta2 = doubled(p.beta, s.c);
    p.mean = room(s.c, sizeof(double));
    p.var = room(s.c, sizeof(double));
    p.rstd = room(s.c, sizeof(double));
    p.y2 = room(p.size, sizeof(double));
    reference_again(&p, eps);
    return p;
}

static inline void problem_free(problem *p)
{
    void *all[] = {p->x,          p->dy,        p->y,         p->gamma, p->beta, p->moving_mean,
                   p->moving_var, p->save_mean, p->save_rstd, p->x2,    p->dy2,  p->gamma2,
                   p->beta2,      p->mean,      p->var,       p->rstd,  p->y2};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Fails unless `got` is within `bound` of `want`; NaN and infinity fail. */
static inline void near(const char *what, ek_shape s, int64_t i, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s[%lld] is %.9g instead of %.9g, off by %.3g of %.3g allowed; n %lld c %lld h %lld w %lld %s",
                 what, (long long)i, got, want, fabs(got - want), bound, (long long)s.n, (long long)s.c,
                 (long long)s.h, (long long)s.w, s.layout == EK_NHWC ? "NHWC" : "NCHW");
}

/* The contract's bound on y. */
static inline void check_y(const problem *p)
{
    for (int64_t i = 0; i < p->size; i++) {
        int64_t c = channel_of(p->s, i);
        double gamma = fabs(p->gamma2[c]), xhat = fabs((p->x2[i] - p->mean[c]) * p->rstd[c]);
        near("y", p->s, i, (double)p->y[i], p->y2[i], 16 * U * (gamma * xhat + fabs(p->beta2[c])) + 8 * U * gamma);
    }
}

static const ek_shape shapes[] = {
    {2, 1, 1, 1, 0},     {3, 1, 1, 1, 0},     {1, 1, 1, 2, 0},     {1, 3, 2, 1, 0},     {5, 3, 1, 1, 0},
    {128, 120, 1, 1, 0}, {97, 84, 1, 1, 0},   {16, 16, 1, 1, 0},   {33, 1030, 1, 1, 0}, {2, 5000, 1, 1, 0},
    {1000, 7, 1, 1, 0},  {700, 300, 1, 1, 0}, {7, 5, 2, 2, 0},     {64, 10, 5, 6, 0},   {3, 600, 3, 3, 0},
    {1, 40, 31, 1, 0},   {2, 3, 32, 1, 0},    {5, 6, 7, 7, 0},     {3, 2, 8, 8, 0},     {13, 6, 24, 24, 0},
    {4, 16, 33, 17, 0},  {1, 1, 1, 1000, 0},  {1, 2, 301, 307, 0}, {40, 5, 41, 41, 0},  {1, 300, 40, 40, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

#endif
