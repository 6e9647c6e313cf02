/* SPDX-License-Identifier: MIT
 * Batch and layer normalisation as the strict scalar reference: what op/norm.h says, in double, one value after the
 * other. It is the truth of the tests, not a fallback. */
#include "op/norm.h"

/* Where value i (0..H*W-1) of channel c of sample n lies. */
static int64_t place(ek_shape s, int64_t n, int64_t c, int64_t i)
{
    return s.layout == EK_NHWC ? (n * s.h * s.w + i) * s.c + c : (n * s.c + c) * s.h * s.w + i;
}

static double at(const double *values, int64_t i, double otherwise)
{
    return values ? values[i] : otherwise;
}

void ek_reference_batch_statistics(ek_shape s, const double *x, double *mean, double *var)
{
    double m = (double)ek_norm_count(s);
    for (int64_t c = 0; c < s.c; c++) {
        double sum = 0, rest = 0, square = 0;
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++)
                sum += x[place(s, n, c, i)];
        /* Once more around the first mean: its rounding counts when the mean is 10^6 deviations. */
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++)
                rest += x[place(s, n, c, i)] - sum / m;
        mean[c] = sum / m + rest / m;
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) {
                double d = x[place(s, n, c, i)] - mean[c];
                square += d * d;
            }
        var[c] = square / m;
    }
}

void ek_reference_batch_norm(ek_normalize normalize, ek_shape s, const double *x, const double *gamma,
                             const double *beta, const double *mean, const double *rstd, double *y)
{
    for (int64_t c = 0; c < s.c; c++) {
        double centre = normalize == EK_NORMALIZE_DEVIATION ? 0 : mean[c];
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) {
                int64_t p = place(s, n, c, i);
                y[p] = at(gamma, c, 1) * ((x[p] - centre) * rstd[c]) + at(beta, c, 0);
            }
    }
}

/* (dy - through the mean - through the variance)*gamma*rstd: the terms that a version has. */
void ek_reference_batch_norm_backward(ek_normalize normalize, bool by_batch, ek_shape s, const double *x,
                                      const double *dy, const double *gamma, const double *mean, const double *rstd,
                                      double *dx, double *dgamma, double *dbeta)
{
    double m = (double)ek_norm_count(s);
    for (int64_t c = 0; c < s.c; c++) {
        double sum = 0, product = 0, centre = normalize == EK_NORMALIZE_DEVIATION ? 0 : mean[c];
        for (int64_t n = 0; n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) {
                int64_t p = place(s, n, c, i);
                sum += dy[p];
                product += dy[p] * ((x[p] - centre) * rstd[c]);
            }
        for (int64_t n = 0; dx && n < s.n; n++)
            for (int64_t i = 0; i < s.h * s.w; i++) {
                int64_t p = place(s, n, c, i);
                double through = 0;
                if (by_batch && normalize != EK_NORMALIZE_DEVIATION)
                    through += sum / m;
                if (by_batch && normalize != EK_NORMALIZE_MEAN)
                    through += (x[p] - mean[c]) * rstd[c] * product / m;
                dx[p] = at(gamma, c, 1) * rstd[c] * (dy[p] - through);
            }
        if (dgamma)
            dgamma[c] = product;
        if (dbeta)
            dbeta[c] = sum;
    }
}

void ek_reference_layer_norm(ek_shape s, const double *x, const double *gamma, const double *beta, double eps,
                             double *y, double *mean, double *rstd)
{
    /* A sample is the one channel of an array of its own. */
    int64_t m = s.c * s.h * s.w;
    ek_shape sample = {.n = 1, .c = 1, .h = 1, .w = m};
    for (int64_t n = 0; n < s.n; n++) {
        double var;
        ek_reference_batch_statistics(sample, x + n * m, &mean[n], &var);
        rstd[n] = ek_norm_rstd(var, eps);
        for (int64_t i = 0; i < m; i++)
            y[n * m + i] = at(gamma, i, 1) * ((x[n * m + i] - mean[n]) * rstd[n]) + at(beta, i, 0);
    }
}

void ek_reference_layer_norm_backward(ek_shape s, const double *x, const double *dy, const double *gamma,
                                      const double *mean, const double *rstd, double *dx, double *dgamma,
                                      double *dbeta)
{
    int64_t m = s.c * s.h * s.w;
    for (int64_t i = 0; i < m; i++) {
        double sum = 0, product = 0;
        for (int64_t n = 0; n < s.n; n++) {
            sum += dy[n * m + i];
            product += dy[n * m + i] * ((x[n * m + i] - mean[n]) * rstd[n]);
        }
        if (dgamma)
            dgamma[i] = product;
        if (dbeta)
            dbeta[i] = sum;
    }
    for (int64_t n = 0; dx && n < s.n; n++) {
        const double *xs = x + n * m, *dys = dy + n * m;
        double sum = 0, product = 0;
        for (int64_t i = 0; i < m; i++) {
            double g = at(gamma, i, 1) * dys[i];
            sum += g;
            product += g * ((xs[i] - mean[n]) * rstd[n]);
        }
        for (int64_t i = 0; i < m; i++) {
            double g = at(gamma, i, 1) * dys[i], xhat = (xs[i] - mean[n]) * rstd[n];
            dx[n * m + i] = rstd[n] * (g - sum / (double)m - xhat * product / (double)m);
        }
    }
}
