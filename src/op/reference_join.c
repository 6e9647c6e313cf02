/* SPDX-License-Identifier: MIT */
#include "op/norm.h"
#include "op/reference.h"

#include <string.h>

/* Where the shortcut takes value [c,h,w] from in r [RC,RH,RW]; -1: it is zero. */
static int64_t source_of(const ek_join *j, int c, int h, int w)
{
    return c < j->rc ? ((int64_t)c * j->rh + h * j->stride) * j->rw + w * j->stride : -1;
}

void ek_reference_join(const ek_join *j, int64_t n, const ek_reference_norm *norm, const double *x, const double *r,
                       double *y)
{
    const int64_t plane = (int64_t)j->h * j->w, size = j->c * plane, r_size = (int64_t)j->rc * j->rh * j->rw;
    if (j->norm)
        ek_reference_batch_norm(norm->normalize, (ek_shape){.n = n, .c = j->c, .h = j->h, .w = j->w}, x, norm->gamma,
                                norm->beta, norm->mean, norm->rstd, y);
    else
        memcpy(y, x, (size_t)(n * size) * sizeof *y);
    for (int64_t i = 0; i < n * size; i++) {
        const int64_t at = i % size;
        const int64_t from = source_of(j, (int)(at / plane), (int)(at % plane / j->w), (int)(at % j->w));
        const double z = from < 0 ? y[i] : y[i] + r[i / size * r_size + from];
        y[i] = ek_reference_activation(j->activation, (double)j->negative_slope, z);
    }
}

void ek_reference_join_backward(const ek_join *j, int64_t n, const double *y, const double *dy, double *dz,
                                double *dr)
{
    const int64_t plane = (int64_t)j->h * j->w, size = j->c * plane, r_size = (int64_t)j->rc * j->rh * j->rw;
    memset(dr, 0, (size_t)(n * r_size) * sizeof *dr);
    for (int64_t i = 0; i < n * size; i++) {
        const int64_t at = i % size;
        const int64_t to = source_of(j, (int)(at / plane), (int)(at % plane / j->w), (int)(at % j->w));
        dz[i] = dy[i] * ek_reference_activation_slope_by_output(j->activation, (double)j->negative_slope, y[i]);
        if (to >= 0)
            dr[i / size * r_size + to] = dz[i];
    }
}
