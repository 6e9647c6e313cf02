/* SPDX-License-Identifier: MIT
 * Batch normalisation of plain arrays that takes out the mean alone or the deviation alone: the accuracy that op/norm.h
 * states, forward and backward, the reference itself against finite differences, and what options are refused. */
#include "norm_problem.h"

static const double ratios[] = {0, 1, 1e4, 1e6};

/* x, or x - mean, times rstd. */
static double xhat_of(const problem *p, ek_normalize normalize, int64_t i)
{
    const int64_t c = channel_of(p->s, i);
    return (p->x2[i] - (normalize == EK_NORMALIZE_DEVIATION ? 0 : p->mean[c])) * p->rstd[c];
}

/* The reference's numbers, of batch statistics or, with moving ones, of the floats that those are. */
static problem lite_problem(ek_normalize normalize, ek_shape s, double ratio, bool by_batch)
{
    problem p = problem_new(s, ratio, true, 1e-5);
    for (int64_t c = 0; c < s.c; c++) {
        if (!by_batch) {
            p.moving_mean[c] += (float)ratio;
            p.mean[c] = (double)p.moving_mean[c];
            p.var[c] = (double)p.moving_var[c];
        }
        p.rstd[c] = ek_norm_factor(normalize, p.var[c], 1e-5);
    }
    ek_reference_batch_norm(normalize, s, p.x2, p.gamma2, p.beta2, p.mean, p.rstd, p.y2);
    return p;
}

static void check_forward(const problem *p, ek_normalize normalize, bool by_batch)
{
    for (int64_t i = 0; i < p->size; i++) {
        const int64_t c = channel_of(p->s, i);
        const double gamma = fabs(p->gamma2[c]), xhat = fabs(xhat_of(p, normalize, i));
        near("y", p->s, i, (double)p->y[i], p->y2[i], 16 * U * (gamma * xhat + fabs(p->beta2[c])) + 8 * U * gamma);
        /* A constant channel, centred by itself, is exactly beta. */
        if (normalize == EK_NORMALIZE_MEAN && by_batch && c % 4 == 3 && p->y[i] != p->beta[c])
            fail_msg("a constant channel gives %.9g, beta is %.9g", (double)p->y[i], (double)p->beta[c]);
    }
    for (int64_t c = 0; c < p->s.c; c++) {
        near("save_mean", p->s, c, (double)p->save_mean[c], p->mean[c], 2 * U * (fabs(p->mean[c]) + 1));
        near("save_rstd", p->s, c, (double)p->save_rstd[c], p->rstd[c], 8 * U * p->rstd[c]);
        if (normalize == EK_NORMALIZE_MEAN)
            assert_true(p->save_rstd[c] == 1);
    }
}

/* The contract's bounds; dx's deviation from the mean is not below what the float save_mean loses of it. */
static void check_backward(const problem *p, ek_normalize normalize, bool by_batch, const float *dx,
                           const float *dgamma, const float *dbeta)
{
    const ek_shape s = p->s;
    const double m = (double)ek_norm_count(s);
    double *sum = room(s.c, sizeof *sum), *product = room(s.c, sizeof *product), *wide = room(s.c, sizeof *wide);
    double *dx2 = room(p->size, sizeof *dx2), *dgamma2 = room(s.c, sizeof *dgamma2),
           *dbeta2 = room(s.c, sizeof *dbeta2);
    ek_reference_batch_norm_backward(normalize, by_batch, s, p->x2, p->dy2, p->gamma2, p->mean, p->rstd, dx2, dgamma2,
                                     dbeta2);
    for (int64_t i = 0; i < p->size; i++) {
        const int64_t c = channel_of(s, i);
        const double xhat = fabs(xhat_of(p, normalize, i)), dy = fabs(p->dy2[i]);
        sum[c] += dy;
        product[c] += dy * xhat;
        wide[c] += dy * (xhat > 1 ? xhat : 1);
    }
    for (int64_t i = 0; i < p->size; i++) {
        const int64_t c = channel_of(s, i);
        const double far = (fabs(p->x2[i] - p->mean[c]) + U * fabs(p->mean[c])) * p->rstd[c];
        double terms = fabs(p->dy2[i]);
        if (by_batch && normalize == EK_NORMALIZE_MEAN)
            terms += sum[c] / m;
        if (by_batch && normalize == EK_NORMALIZE_DEVIATION)
            terms += far * product[c] / m;
        near("dx", s, i, (double)dx[i], dx2[i], 64 * U * fabs(p->gamma2[c]) * p->rstd[c] * terms);
    }
    for (int64_t c = 0; c < s.c; c++) {
        near("dgamma", s, c, (double)dgamma[c], dgamma2[c], 64 * U * wide[c]);
        near("dbeta", s, c, (double)dbeta[c], dbeta2[c], 64 * U * sum[c]);
    }
    double *all[] = {sum, product, wide, dx2, dgamma2, dbeta2};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void check_case(ek_normalize normalize, ek_shape s, double ratio, bool by_batch)
{
    problem p = lite_problem(normalize, s, ratio, by_batch);
    const ek_batch_norm_options options = {
        .normalize = normalize, .use_moving = !by_batch, .hold_moving = true, .threads = s.n % 3 ? 1 : 2};
    float *dgamma = room(s.c, sizeof *dgamma), *dbeta = room(s.c, sizeof *dbeta);
    OK(ek_batch_norm_forward(EK_TRAINING, s, p.x, p.gamma, p.beta, p.moving_mean, p.moving_var, NULL, &options, p.y,
                             p.save_mean, p.save_rstd));
    check_forward(&p, normalize, by_batch);
    OK(ek_batch_norm_backward(EK_TRAINING, true, s, p.x, p.dy, p.gamma, p.save_mean, p.save_rstd, &options, p.y,
                              dgamma, dbeta));
    check_backward(&p, normalize, by_batch, p.y, dgamma, dbeta);
    free(dgamma);
    free(dbeta);
    problem_free(&p);
}

static void test_accuracy(void **state)
{
    (void)state;
    for (int k = 0; k < SHAPES * 2; k++)
        for (int r = 0; r < 4; r += quick() ? 3 : 1)
            for (int what = 0; what < 4; what++) {
                ek_shape s = shapes[k / 2];
                s.layout = k % 2 ? EK_NHWC : EK_NCHW;
                check_case(what & 1 ? EK_NORMALIZE_MEAN : EK_NORMALIZE_DEVIATION, s, ratios[r], what & 2);
            }
}

/* The moving statistics are of mean and variance in each version, to the bit those of both. */
static void test_moving_statistics(void **state)
{
    (void)state;
    problem p = problem_new((ek_shape){.n = 6, .c = 5, .h = 3, .w = 4}, 2, false, 1e-5);
    float mean[3][5], var[3][5];
    for (int i = 0; i < 3; i++) {
        memcpy(mean[i], p.moving_mean, sizeof mean[i]);
        memcpy(var[i], p.moving_var, sizeof var[i]);
        OK(ek_batch_norm_forward(EK_TRAINING, p.s, p.x, NULL, NULL, mean[i], var[i], NULL,
                                 &(ek_batch_norm_options){.normalize = (ek_normalize)i}, p.y, NULL, NULL));
        assert_memory_equal(mean[i], mean[0], sizeof mean[0]);
        assert_memory_equal(var[i], var[0], sizeof var[0]);
        assert_true(mean[i][0] != p.moving_mean[0] && var[i][0] != p.moving_var[0]);
    }
    problem_free(&p);
}

static void test_refused(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4}, one = 1;
    const ek_shape s = {.n = 4, .c = 1};
    for (int i = -1; i <= 3; i += 4) {
        const ek_batch_norm_options options = {.normalize = (ek_normalize)i};
        assert_int_equal(
            ek_batch_norm_forward(EK_TRAINING, s, x, NULL, NULL, NULL, NULL, NULL, &options, x, NULL, NULL),
            EK_ERR_ARGUMENT);
        assert_non_null(strstr(ek_error(), "batch_norm_forward: normalize "));
        assert_int_equal(
            ek_batch_norm_backward(EK_TRAINING, false, s, x, x, NULL, &one, &one, &options, x, NULL, NULL),
            EK_ERR_ARGUMENT);
        assert_non_null(strstr(ek_error(), "batch_norm_backward: normalize "));
    }
}

/* ---- The reference against finite differences ---- */

enum { SMALL = 3 * 2 * 2 * 3 };

typedef struct small {
    ek_normalize normalize;
    bool by_batch;
    ek_shape s;
    double x[SMALL], w[SMALL], gamma[2], beta[2], mean[2], rstd[2];
} small;

/* sum(w*y) */
static double weighted(const small *p)
{
    double y[SMALL], mean[2], rstd[2], sum = 0;
    memcpy(mean, p->mean, sizeof mean);
    memcpy(rstd, p->rstd, sizeof rstd);
    if (p->by_batch) {
        ek_reference_batch_statistics(p->s, p->x, mean, rstd);
        for (int c = 0; c < 2; c++)
            rstd[c] = ek_norm_factor(p->normalize, rstd[c], 1e-3);
    }
    ek_reference_batch_norm(p->normalize, p->s, p->x, p->gamma, p->beta, mean, rstd, y);
    for (int i = 0; i < SMALL; i++)
        sum += p->w[i] * y[i];
    return sum;
}

static void differences(small *p, const char *what, double *value, const double *gradient, int count)
{
    for (int i = 0; i < count; i++) {
        const double h = 1e-5, kept = value[i];
        value[i] = kept + h;
        const double up = weighted(p);
        value[i] = kept - h;
        const double down = weighted(p);
        value[i] = kept;
        near(what, p->s, i, gradient[i], (up - down) / (2 * h), 1e-8);
    }
}

static void test_finite_differences(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++) {
        small p = {.normalize = bits & 1 ? EK_NORMALIZE_MEAN : EK_NORMALIZE_DEVIATION,
                   .by_batch = bits & 2,
                   .s = {3, 2, 2, 3, bits & 4 ? EK_NHWC : EK_NCHW}};
        double dx[SMALL], dgamma[2], dbeta[2];
        for (int i = 0; i < SMALL; i++) {
            p.x[i] = 2 * noise() + 1;
            p.w[i] = noise();
        }
        ek_reference_batch_statistics(p.s, p.x, p.mean, p.rstd);
        for (int c = 0; c < 2; c++) {
            p.gamma[c] = 1 + noise() / 2;
            p.beta[c] = noise();
            p.mean[c] += p.by_batch ? 0 : 0.3; /* moving statistics are others than the batch's */
            p.rstd[c] = ek_norm_factor(p.normalize, p.rstd[c], 1e-3);
        }
        ek_reference_batch_norm_backward(p.normalize, p.by_batch, p.s, p.x, p.w, p.gamma, p.mean, p.rstd, dx, dgamma,
                                         dbeta);
        differences(&p, "dx", p.x, dx, SMALL);
        differences(&p, "dgamma", p.gamma, dgamma, 2);
        differences(&p, "dbeta", p.beta, dbeta, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_moving_statistics),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("norm_lite", tests, NULL, NULL);
}
