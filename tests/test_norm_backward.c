/* SPDX-License-Identifier: MIT
 * Tests of the gradients of batch normalisation of plain arrays, and of layer normalisation: the accuracy that
 * op/norm.h states, and the reference itself against finite differences. */
#include "norm_problem.h"

/* ---- Backward ----------------------------------------------------------------------------------------------- */

static void check_backward(problem *p, bool by_batch, double *dx2, double *dgamma2, double *dbeta2, const float *dx,
                           const float *dgamma, const float *dbeta)
{
    ek_shape s = p->s;
    double m = (double)ek_norm_count(s);
    double *sum = room(s.c, sizeof *sum), *product = room(s.c, sizeof *product), *wide = room(s.c, sizeof *wide);
    ek_reference_batch_norm_backward(EK_NORMALIZE_BOTH, by_batch, s, p->x2, p->dy2, p->gamma2, p->mean, p->rstd, dx2,
                                     dgamma2, dbeta2);
    for (int64_t i = 0; i < p->size; i++) {
        int64_t c = channel_of(s, i);
        double xhat = fabs((p->x2[i] - p->mean[c]) * p->rstd[c]), dy = fabs(p->dy2[i]);
        sum[c] += dy;
        product[c] += dy * xhat;
        wide[c] += dy * (xhat > 1 ? xhat : 1);
    }
    for (int64_t i = 0; i < p->size; i++) {
        int64_t c = channel_of(s, i);
        double xhat = fabs((p->x2[i] - p->mean[c]) * p->rstd[c]);
        double terms = fabs(p->dy2[i]) + (by_batch ? sum[c] / m + xhat * product[c] / m : 0);
        near("dx", s, i, (double)dx[i], dx2[i], 64 * U * fabs(p->gamma2[c]) * p->rstd[c] * terms);
    }
    for (int64_t c = 0; c < s.c; c++) {
        near("dgamma", s, c, (double)dgamma[c], dgamma2[c], 64 * U * wide[c]);
        near("dbeta", s, c, (double)dbeta[c], dbeta2[c], 64 * U * sum[c]);
    }
    free(sum);
    free(product);
    free(wide);
}

static void test_backward_accuracy(void **state)
{
    (void)state;
    const double ratios[] = {0, 1, 1e3, 1e6};
    for (int k = 0; k < SHAPES * 2; k++)
        for (int r = 0; r < 8; r += quick() ? 3 : 1) {
            ek_shape s = shapes[k / 2];
            s.layout = k % 2 ? EK_NHWC : EK_NCHW;
            bool by_batch = r < 4;
            problem p = problem_new(s, ratios[r % 4], true, 1e-5);
            ek_batch_norm_options options = {.use_moving = !by_batch};
            for (int64_t c = 0; c < s.c; c++) {
                if (!by_batch) { /* the moving mean is the float that normalises */
                    p.mean[c] = (double)(float)p.mean[c];
                    p.rstd[c] = (double)(float)p.rstd[c];
                }
                p.save_mean[c] = (float)p.mean[c];
                p.save_rstd[c] = (float)p.rstd[c];
            }
            float *dgamma = room(s.c, sizeof *dgamma), *dbeta = room(s.c, sizeof *dbeta);
            double *dx2 = room(p.size, sizeof *dx2), *dgamma2 = room(s.c, sizeof *dx2),
                   *dbeta2 = room(s.c, sizeof *dx2);
            OK(ek_batch_norm_backward(EK_TRAINING, true, s, p.x, p.dy, p.gamma, p.save_mean, p.save_rstd, &options,
                                      p.y, dgamma, dbeta));
            check_backward(&p, by_batch, dx2, dgamma2, dbeta2, p.y, dgamma, dbeta);
            /* Each output alone, and dx in dy's place: the same bits. */
            float *again = room(s.c, sizeof *again);
            OK(ek_batch_norm_backward(EK_TRAINING, true, s, p.x, p.dy, p.gamma, p.save_mean, p.save_rstd, &options,
                                      NULL, again, NULL));
            assert_memory_equal(again, dgamma, (size_t)s.c * sizeof *again);
            OK(ek_batch_norm_backward(EK_TRAINING, true, s, p.x, p.dy, p.gamma, p.save_mean, p.save_rstd, &options,
                                      p.dy, NULL, NULL));
            assert_memory_equal(p.dy, p.y, (size_t)p.size * sizeof *p.y);
            free(again);
            free(dgamma);
            free(dbeta);
            free(dx2);
            free(dgamma2);
            free(dbeta2);
            problem_free(&p);
        }
}

/* Which dx the arguments choose, told apart by the sum of dx: 0 for batch statistics. */
static void test_backward_chooses(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++) {
        ek_mode mode = bits & 1 ? EK_TRAINING : EK_PREDICTION;
        bool tracked = bits & 2, use_moving = tracked && bits & 4;
        problem p = problem_new((ek_shape){.n = 20, .c = 1, .h = 1, .w = 1}, 0, false, 1e-5);
        p.save_mean[0] = (float)p.mean[0];
        p.save_rstd[0] = (float)p.rstd[0];
        OK(ek_batch_norm_backward(mode, tracked, p.s, p.x, p.dy, NULL, p.save_mean, p.save_rstd,
                                  &(ek_batch_norm_options){.use_moving = use_moving}, p.y, NULL, NULL));
        double sum = 0;
        for (int i = 0; i < 20; i++)
            sum += (double)p.y[i];
        bool by_batch = mode == EK_TRAINING ? !use_moving : !tracked;
        assert_true(by_batch ? fabs(sum) < 1e-5 : fabs(sum) > 0.1);
        problem_free(&p);
    }
}

/* Finite differences of sum(w*y) in double: the reference's gradients, the worst of all elements. */
enum { SMALL = 3 * 2 * 2 * 3 };

static double weighted(bool layer, bool by_batch, ek_shape s, const double *x, const double *gamma,
                       const double *beta, const double *mean, const double *rstd, const double *w)
{
    double y[SMALL], batch_mean[8], batch_var[8], sum = 0;
    if (layer) {
        ek_reference_layer_norm(s, x, gamma, beta, 1e-3, y, batch_mean, batch_var);
    } else if (by_batch) {
        ek_reference_batch_statistics(s, x, batch_mean, batch_var);
        for (int64_t c = 0; c < s.c; c++)
            batch_var[c] = ek_norm_rstd(batch_var[c], 1e-3);
        ek_reference_batch_norm(EK_NORMALIZE_BOTH, s, x, gamma, beta, batch_mean, batch_var, y);
    } else {
        ek_reference_batch_norm(EK_NORMALIZE_BOTH, s, x, gamma, beta, mean, rstd, y);
    }
    for (int i = 0; i < SMALL; i++)
        sum += w[i] * y[i];
    return sum;
}

static void test_finite_differences(void **state)
{
    (void)state;
    for (int bits = 0; bits < 6; bits++) {
        const ek_shape s = {3, 2, 2, 3, bits & 1 ? EK_NHWC : EK_NCHW};
        const bool layer = bits >= 4, by_batch = bits & 2;
        double x[SMALL], w[SMALL], gamma[SMALL], beta[SMALL], mean[8], var[8], rstd[8], y[SMALL];
        double dx[SMALL], dgamma[SMALL], dbeta[SMALL];
        for (int i = 0; i < SMALL; i++) {
            x[i] = 2 * noise() + 1;
            w[i] = noise();
            gamma[i] = 1 + noise() / 2;
            beta[i] = noise();
        }
        ek_reference_batch_statistics(s, x, mean, var);
        for (int c = 0; c < 2; c++) {
            mean[c] += by_batch ? 0 : 0.3; /* moving statistics are others than the batch's */
            rstd[c] = ek_norm_rstd(var[c], 1e-3);
        }
        int parameters = layer ? 12 : 2;
        if (layer) {
            ek_reference_layer_norm(s, x, gamma, beta, 1e-3, y, mean, rstd);
            ek_reference_layer_norm_backward(s, x, w, gamma, mean, rstd, dx, dgamma, dbeta);
        } else {
            ek_reference_batch_norm_backward(EK_NORMALIZE_BOTH, by_batch, s, x, w, gamma, mean, rstd, dx, dgamma,
                                             dbeta);
        }
        struct {
            const char *name;
            double *value;
            const double *gradient;
            int count;
        } all[] = {{"dx", x, dx, SMALL}, {"dgamma", gamma, dgamma, parameters}, {"dbeta", beta, dbeta, parameters}};
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < all[k].count; i++) {
                const double h = 1e-5, kept = all[k].value[i];
                all[k].value[i] = kept + h;
                double up = weighted(layer, by_batch, s, x, gamma, beta, mean, rstd, w);
                all[k].value[i] = kept - h;
                double down = weighted(layer, by_batch, s, x, gamma, beta, mean, rstd, w);
                all[k].value[i] = kept;
                near(all[k].name, s, i, all[k].gradient[i], (up - down) / (2 * h), 1e-8);
            }
    }
}

/* ---- Layer norm --------------------------------------------------------------------------------------------- */

static void layer_case(ek_shape s, double ratio, float eps, bool affine)
{
    int64_t m = s.c * s.h * s.w, size = s.n * m;
    float *x = room(size, 4), *dy = room(size, 4), *y = room(size, 4), *dx = room(size, 4);
    float *gamma = room(m, 4), *beta = room(m, 4), *dgamma = room(m, 4), *dbeta = room(m, 4);
    float *mean = room(s.n, 4), *rstd = room(s.n, 4);
    for (int64_t i = 0; i < size; i++) {
        x[i] = (float)(ratio * (1 + 0.01 * (double)(i / m % 7)) + (i / m % 4 == 3 ? 0 : 1.7 * noise()));
        dy[i] = (float)(noise() + 0.3);
    }
    for (int64_t i = 0; i < m; i++) {
        gamma[i] = (float)(affine ? 1 + noise() / 2 : 1);
        beta[i] = (float)(affine ? noise() : 0);
    }
    double *x2 = doubled(x, size), *dy2 = doubled(dy, size), *gamma2 = doubled(gamma, m), *beta2 = doubled(beta, m);
    double *mean2 = room(s.n, 8), *rstd2 = room(s.n, 8), *y2 = room(size, 8), *dx2 = room(size, 8);
    double *dgamma2 = room(m, 8), *dbeta2 = room(m, 8), *sum = room(m, 8), *wide = room(m, 8);
    ek_reference_layer_norm(s, x2, gamma2, beta2, (double)eps, y2, mean2, rstd2);
    ek_reference_layer_norm_backward(s, x2, dy2, gamma2, mean2, rstd2, dx2, dgamma2, dbeta2);
    OK(ek_layer_norm_forward(s, x, affine ? gamma : NULL, affine ? beta : NULL, eps, 0, y, mean, rstd));
    OK(ek_layer_norm_backward(s, x, dy, affine ? gamma : NULL, mean, rstd, 2, dx, dgamma, dbeta));
    for (int64_t n = 0; n < s.n; n++) {
        near("save_mean", s, n, (double)mean[n], mean2[n], 2 * U * (fabs(mean2[n]) + 1));
        near("save_rstd", s, n, (double)rstd[n], rstd2[n], 4 * U * rstd2[n]);
        double g = 0, g_xhat = 0;
        for (int64_t i = 0; i < m; i++) {
            double xhat = fabs((x2[n * m + i] - mean2[n]) * rstd2[n]), term = fabs(gamma2[i] * dy2[n * m + i]);
            near("y", s, n * m + i, (double)y[n * m + i], y2[n * m + i],
                 16 * U * (fabs(gamma2[i]) * xhat + fabs(beta2[i])) + 8 * U * fabs(gamma2[i]));
            if (n % 4 == 3)
                assert_true(y[n * m + i] == beta[i]);
            g += term / (double)m;
            g_xhat += term * xhat / (double)m;
            sum[i] += fabs(dy2[n * m + i]);
            wide[i] += fabs(dy2[n * m + i]) * (xhat > 1 ? xhat : 1);
        }
        for (int64_t i = 0; i < m; i++) {
            double xhat = fabs((x2[n * m + i] - mean2[n]) * rstd2[n]), term = fabs(gamma2[i] * dy2[n * m + i]);
            near("dx", s, n * m + i, (double)dx[n * m + i], dx2[n * m + i],
                 64 * U * rstd2[n] * (term + g + xhat * g_xhat));
        }
    }
    for (int64_t i = 0; i < m; i++) {
        near("dgamma", s, i, (double)dgamma[i], dgamma2[i], 64 * U * wide[i]);
        near("dbeta", s, i, (double)dbeta[i], dbeta2[i], 64 * U * sum[i]);
    }
    OK(ek_layer_norm_backward(s, x, dy, affine ? gamma : NULL, mean, rstd, 1, dy, NULL, NULL)); /* in dy's place */
    assert_memory_equal(dy, dx, (size_t)size * sizeof *dy);
    void *all[] = {x,   dy,     y,     dx,    gamma, beta, dgamma, dbeta,   mean,   rstd, x2,
                   dy2, gamma2, beta2, mean2, rstd2, y2,   dx2,    dgamma2, dbeta2, sum,  wide};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void test_layer_norm(void **state)
{
    (void)state;
    const double ratios[] = {0, 1, 1e3, 1e6};
    const float all_eps[] = {0, 1e-12f, 1e-5f, 1e-3f};
    for (int k = 0; k < SHAPES; k++)
        for (int r = 0; r < 4; r += quick() ? 3 : 1)
            layer_case(shapes[k], ratios[r], all_eps[(k + r) % 4], (k + r) % 3 > 0);
    layer_case((ek_shape){5000, 70, 1, 1, EK_NHWC}, 10, 1e-5f, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backward_accuracy),
        cmocka_unit_test(test_backward_chooses),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_layer_norm),
    };
    return cmocka_run_group_tests_name("norm_backward", tests, NULL, NULL);
}
