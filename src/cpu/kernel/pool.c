/* SPDX-License-Identifier: MIT
 * Pooling with any window, stride and padding on a block of sixteen samples: averages, and maxima, whose places
 * backward finds again in x. */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* A window inside the image: rows h0..h1-1, columns w0..w1-1. */
typedef struct window {
    int h0, h1, w0, w1;
} window;

EK_INLINE window window_at(const ek_pool2d *g, int p, int q)
{
    window at;
    ek_pool_window(p, g->kernel_h, g->stride_h, g->padding_h, g->h, &at.h0, &at.h1);
    ek_pool_window(q, g->kernel_w, g->stride_w, g->padding_w, g->w, &at.w0, &at.w1);
    return at;
}

EK_INLINE size_t place(const ek_pool2d *g, int h, int w)
{
    return ((size_t)h * (size_t)g->w + (size_t)w) * EK_LANES;
}

EK_INLINE ek_v16 count_of(const ek_pool2d *g, window at)
{
    return ek_set(g->inside ? (float)(at.h1 - at.h0) * (float)(at.w1 - at.w0)
                            : (float)g->kernel_h * (float)g->kernel_w);
}

static size_t plane_of(const ek_pool2d *g)
{
    return (size_t)g->h * (size_t)g->w * EK_LANES;
}

/* A chain of additions for each row, then one of the rows, so that rounding grows with rows + columns: the window may
 * be the whole plane. */
static void avgpool_forward(const ek_pool2d *g, const float *x, float *y)
{
    for (int c = 0; c < g->c; c++, x += plane_of(g)) {
        for (int p = 0; p < g->p; p++) {
            for (int q = 0; q < g->q; q++, y += EK_LANES) {
                const window at = window_at(g, p, q);
                ek_v16 sum = ek_zero();
                for (int h = at.h0; h < at.h1; h++) {
                    ek_v16 row = ek_load(x + place(g, h, at.w0));
                    for (int w = at.w0 + 1; w < at.w1; w++)
                        row = ek_add(row, ek_load(x + place(g, h, w)));
                    sum = h == at.h0 ? row : ek_add(sum, row);
                }
                ek_store(y, ek_div(sum, count_of(g, at)));
            }
        }
    }
}

static void avgpool_backward(const ek_pool2d *g, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)g->c * plane_of(g) * sizeof *dx);
    for (int c = 0; c < g->c; c++, dx += plane_of(g)) {
        for (int p = 0; p < g->p; p++) {
            for (int q = 0; q < g->q; q++, dy += EK_LANES) {
                const window at = window_at(g, p, q);
                const ek_v16 d = ek_div(ek_load(dy), count_of(g, at));
                for (int h = at.h0; h < at.h1; h++) {
                    for (int w = at.w0; w < at.w1; w++) {
                        float *to = dx + place(g, h, w);
                        ek_store(to, ek_add(ek_load(to), d));
                    }
                }
            }
        }
    }
}

EK_INLINE ek_v16 largest(const ek_pool2d *g, window at, const float *x)
{
    ek_v16 maximum = ek_load(x + place(g, at.h0, at.w0));
    for (int h = at.h0; h < at.h1; h++)
        for (int w = at.w0; w < at.w1; w++)
            maximum = ek_larger(ek_load(x + place(g, h, w)), maximum);
    return maximum;
}

static void maxpool_forward(const ek_pool2d *g, const float *x, float *y)
{
    for (int c = 0; c < g->c; c++, x += plane_of(g))
        for (int p = 0; p < g->p; p++)
            for (int q = 0; q < g->q; q++, y += EK_LANES)
                ek_store(y, largest(g, window_at(g, p, q), x));
}

static void maxpool_backward(const ek_pool2d *g, const float *x, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)g->c * plane_of(g) * sizeof *dx);
    for (int c = 0; c < g->c; c++, x += plane_of(g), dx += plane_of(g)) {
        for (int p = 0; p < g->p; p++) {
            for (int q = 0; q < g->q; q++, dy += EK_LANES) {
                const window at = window_at(g, p, q);
                const ek_v16 maximum = largest(g, at, x);
                ek_v16 left = ek_load(dy);
                for (int h = at.h0; h < at.h1; h++) {
                    for (int w = at.w0; w < at.w1; w++) {
                        float *to = dx + place(g, h, w);
                        const ek_v16 taken = ek_take_at_maximum(maximum, ek_load(x + place(g, h, w)), &left);
                        ek_store(to, ek_add(ek_load(to), taken));
                    }
                }
            }
        }
    }
}

void EK_KERNEL(fill_pool)(ek_blocked_kernels *table);

void EK_KERNEL(fill_pool)(ek_blocked_kernels *table)
{
    table->avgpool_forward = avgpool_forward;
    table->avgpool_backward = avgpool_backward;
    table->maxpool_forward = maxpool_forward;
    table->maxpool_backward = maxpool_backward;
}
