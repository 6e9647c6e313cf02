/* SPDX-License-Identifier: MIT
 * Pooling on the blocked layout against the reference, on every instruction set. */
#include "check.h"
#include "op/reference.h"

static int outputs_of(int extent, int kernel, int stride, int padding)
{
    return (extent + 2 * padding - kernel) / stride + 1;
}

/* g with windows that fit an image of h x w: larger kernels are cut to it. */
static ek_pool2d fitted(ek_pool2d g)
{
    g.kernel_h = g.kernel_h > g.h ? g.h : g.kernel_h;
    g.kernel_w = g.kernel_w > g.w ? g.w : g.kernel_w;
    g.padding_h = 2 * g.padding_h > g.kernel_h ? g.kernel_h / 2 : g.padding_h;
    g.padding_w = 2 * g.padding_w > g.kernel_w ? g.kernel_w / 2 : g.padding_w;
    g.p = outputs_of(g.h, g.kernel_h, g.stride_h, g.padding_h);
    g.q = outputs_of(g.w, g.kernel_w, g.stride_w, g.padding_w);
    return g;
}

/* Whole numbers of few values: maxima tie. */
static void make_ties(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)random_int(-1, 1);
}

static void check_pool(ek_pool2d g, int live, bool ties)
{
    check_case("%s%s of %dx%dx%d, kernel %dx%d, stride %dx%d, padding %dx%d, %d live%s",
               g.maximum ? "maximum" : "average", g.inside ? " inside" : "", g.c, g.h, g.w, g.kernel_h, g.kernel_w,
               g.stride_h, g.stride_w, g.padding_h, g.padding_w, live, ties ? ", ties" : "");
    const size_t in = (size_t)(g.c * g.h * g.w), out = (size_t)(g.c * g.p * g.q), n = (size_t)live;
    float *x = random_block(in, live, 0, 1, 3e8f);
    const float *dy = random_block(out, live, 0, 1, 0);
    if (ties)
        make_ties(x, in * LANES);
    const double *xs = samples_of(x, in, live), *dys = samples_of(dy, out, live);
    double *y = doubles(n * out), *dx = doubles(n * in), *y_size = doubles(n * out), *dx_size = doubles(n * in);
    ek_reference_pool(&g, live, xs, y);
    ek_reference_pool_backward(&g, live, xs, dys, dx);
    ek_reference_pool(&g, live, magnitudes(xs, n * in), y_size);
    ek_reference_pool_backward(&g, live, xs, magnitudes(dys, n * out), dx_size);
    const double terms = g.kernel_h * g.kernel_w;
    const double *y_bound = bounds(y_size, n * out, g.maximum ? 0 : sum_error(terms), 0);
    const double *dx_bound = bounds(dx_size, n * in, sum_error(terms), 0);
    const outputs ys = new_outputs(out * LANES, sizeof(float)), dxs = new_outputs(in * LANES, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        (g.maximum ? kernel->maxpool_forward : kernel->avgpool_forward)(&g, x, ys.of[i]);
        if (g.maximum)
            kernel->maxpool_backward(&g, x, dy, dxs.of[i]);
        else
            kernel->avgpool_backward(&g, dy, dxs.of[i]);
        compare_block(sets[i]->name, "y", out, live, ys.of[i], y, y_bound);
        compare_block(sets[i]->name, "dx", in, live, dxs.of[i], dx, dx_bound);
        check_dead(sets[i]->name, "dx", in, live, dxs.of[i], true);
    }
    check_sets_agree("y", ys);
    check_sets_agree("dx", dxs);
    check_margins();
}

static void check_pools(bool maximum)
{
    check_group(maximum ? "maxima of any kernel, stride and padding" : "averages of any kernel, stride and padding");
    for (int kernel = 1; kernel <= 7; kernel++)
        for (int stride = 1; stride <= kernel + 1; stride++)
            for (int padding = 0; 2 * padding <= kernel; padding++) {
                const ek_pool2d square = {.c = random_int(1, 5),
                                          .h = random_int(1, 13),
                                          .w = random_int(1, 9),
                                          .kernel_h = kernel,
                                          .kernel_w = kernel,
                                          .stride_h = stride,
                                          .stride_w = stride,
                                          .padding_h = padding,
                                          .padding_w = padding,
                                          .maximum = maximum,
                                          .inside = !maximum && padding % 2};
                ek_pool2d other = square;
                other.kernel_w = random_int(1, 6);
                other.stride_w = random_int(1, 4);
                other.padding_w = random_int(0, other.kernel_w / 2);
                other.inside = !maximum && random_int(0, 1);
                check_pool(fitted(square), random_int(1, 16), maximum && stride % 2);
                check_pool(fitted(other), random_int(1, 16), maximum && stride % 2);
            }
    const ek_pool2d whole = {.c = 3, .h = 19, .w = 23, .kernel_h = 19, .kernel_w = 23, .stride_h = 1, .stride_w = 1};
    for (int live = 1; live <= 16 && !maximum; live++)
        check_pool(fitted(whole), live, false);
    check_group_end();
}

/* NaN wherever a window holds one, and nowhere else; the lowest number there is is a maximum too. */
static void check_strange_maxima(void)
{
    check_group("maxima of NaN and infinity");
    check_case("NaN and -inf");
    const ek_pool2d g = fitted((ek_pool2d){.c = 1,
                                           .h = 5,
                                           .w = 6,
                                           .kernel_h = 3,
                                           .kernel_w = 2,
                                           .stride_h = 1,
                                           .stride_w = 1,
                                           .padding_h = 1,
                                           .padding_w = 1,
                                           .maximum = true});
    float *x = random_block(30, 16, 0, 1, 0);
    for (int i = 0; i < 30 * LANES; i++) {
        const int what = random_int(0, 9);
        x[i] = i % LANES < 3 ? -INFINITY : what == 0 ? NAN : what == 1 ? INFINITY : x[i];
    }
    const size_t out = (size_t)(g.p * g.q);
    double *y = doubles(16 * out);
    ek_reference_pool(&g, 16, samples_of(x, 30, 16), y);
    const outputs ys = new_outputs(out * LANES, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        sets[i]->blocked.maxpool_forward(&g, x, ys.of[i]);
        const double *got = samples_of(ys.of[i], out, 16);
        for (size_t j = 0; j < 16 * out; j++)
            if (!(got[j] == y[j]) && !(isnan(got[j]) && isnan(y[j])))
                check_fail("%s: %g, not %g", sets[i]->name, got[j], y[j]);
    }
    check_sets_agree("y", ys);
    check_margins();
    check_group_end();
}

int main(void)
{
    find_sets();
    random_state = 5;
    check_checker();
    check_pools(false);
    check_pools(true);
    check_strange_maxima();
    return check.groups_failed ? 1 : 0;
}
