/* SPDX-License-Identifier: MIT
 * Convolution and linear kernels on the blocked layout against the reference, on every instruction set, at odd
 * shapes; and with --bench how long they and all other blocked kernels take. */
#include "bench.h"
#include "conv_data.h"

static bool quick; /* under emulators and sanitizers: a third of the convolutions */

static ek_conv conv_shape(int c, int h, int w, int k, int r, int s, int stride, int padding)
{
    return (ek_conv){.c = c,
                     .h = h,
                     .w = w,
                     .k = k,
                     .p = (h + 2 * padding - r) / stride + 1,
                     .q = (w + 2 * padding - s) / stride + 1,
                     .r = r,
                     .s = s,
                     .stride_h = stride,
                     .stride_w = stride,
                     .padding_h = padding,
                     .padding_w = padding,
                     .dilation_h = 1,
                     .dilation_w = 1,
                     .groups = 1};
}

static int outputs_of(int extent, int kernel, int stride, int padding, int dilation)
{
    const int room = extent + 2 * padding - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* The same convolution with its outputs for the strides and so on that stand in it. */
static ek_conv with_outputs(ek_conv g)
{
    g.p = outputs_of(g.h, g.r, g.stride_h, g.padding_h, g.dilation_h);
    g.q = outputs_of(g.w, g.s, g.stride_w, g.padding_w, g.dilation_w);
    return g;
}

static bool conv_fits(const ek_conv *g)
{
    return outputs_of(g->h, g->r, g->stride_h, g->padding_h, g->dilation_h) > 0 &&
           outputs_of(g->w, g->s, g->stride_w, g->padding_w, g->dilation_w) > 0;
}

static conv_data new_conv(ek_conv g, int live, bool bias)
{
    conv_data d = new_conv_data(g, live, bias);
    const size_t n = (size_t)live, k = (size_t)g.k;
    const double *weight = magnitudes(widened(d.weight, d.weights), d.weights);
    const double *b = bias ? magnitudes(widened(d.bias, k), k) : NULL;
    const double *x = magnitudes(samples_of(d.x, d.in, live), n * d.in);
    const double *dy = magnitudes(samples_of(d.dy, d.out, live), n * d.out);
    double *y = doubles(n * d.out), *dx = doubles(n * d.in), *dweight = doubles(d.weights), *dbias = doubles(k);
    ek_reference_conv(&g, live, weight, b, x, y);
    ek_reference_conv_backward_data(&g, live, weight, dy, dx);
    ek_reference_conv_backward_weight(&g, live, x, dy, dweight, dbias);
    const double taps = (double)(g.r * g.s), plane = (double)(g.p * g.q);
    d.y_bound = bounds(y, n * d.out, sum_error(g.c / g.groups * taps + 1), 0);
    d.dx_bound = bounds(dx, n * d.in, sum_error(g.k * taps), 0);
    d.dweight_bound = bounds(dweight, d.weights, sum_error(plane + 4), 0);
    d.dbias_bound = bounds(dbias, k, sum_error(plane + 4), 0);
    return d;
}

/* Output channel k alone, and input channel c alone, give the bits they have among all others: how channels are cut
 * into tiles does not show. */
static void check_tiles(const ek_kernels *set, const conv_data *d, const float *y, const float *dx,
                        const float *dweight)
{
    const ek_blocked_kernels *kernel = &set->blocked;
    const ek_conv *g = &d->g;
    const size_t taps = (size_t)g->r * (size_t)g->s, plane = (size_t)g->p * (size_t)g->q * LANES;
    const size_t image = (size_t)g->h * (size_t)g->w * LANES, row = (size_t)g->c * taps;
    const size_t k = (size_t)random_int(0, g->k - 1), c = (size_t)random_int(0, g->c - 1);
    ek_conv one = *g;
    one.k = 1;
    float *packed = floats(row), *part = floats(plane);
    kernel->pack_forward(&one, d->weight + k * row, packed);
    kernel->conv_forward(&one, packed, d->bias ? d->bias + k : NULL, d->x, part, 0, g->p);
    compare_bits(set->name, "y of one channel", plane * sizeof *y, part, y + k * plane);

    one = *g;
    one.c = 1;
    float *weight = floats((size_t)g->k * taps), *scratch = floats(ek_conv_scratch(&one));
    for (size_t i = 0; i < (size_t)g->k; i++)
        memcpy(weight + i * taps, d->weight + i * row + c * taps, taps * sizeof *weight);
    packed = floats((size_t)g->k * taps);
    part = floats(image);
    kernel->pack_backward(&one, weight, packed);
    kernel->conv_backward_data(&one, packed, d->dy, part, 0, g->h);
    compare_bits(set->name, "dx of one channel", image * sizeof *dx, part, dx + c * image);
    one.k = 1;
    part = floats(taps);
    kernel->conv_backward_weight(&one, d->x + c * image, d->dy + k * plane, scratch, part, NULL);
    compare_bits(set->name, "dweight of one pair", taps * sizeof *dweight, part, dweight + k * row + c * taps);
}

/* A group has the bits that it has as a convolution of its own. */
static void check_group_alone(const ek_kernels *set, const conv_data *d, const float *y, const float *dx,
                              const float *dweight)
{
    const ek_blocked_kernels *kernel = &set->blocked;
    const ek_conv *g = &d->g, one = ek_conv_group(g);
    const size_t i = (size_t)random_int(0, g->groups - 1), weights = (size_t)ek_conv_weights(&one);
    const size_t in = d->in / (size_t)g->groups * LANES, out = d->out / (size_t)g->groups * LANES;
    float *packed = floats(weights), *part = floats(out), *scratch = floats(ek_conv_scratch(&one));
    kernel->pack_forward(&one, d->weight + i * weights, packed);
    kernel->conv_forward(&one, packed, d->bias ? d->bias + i * (size_t)one.k : NULL, d->x + i * in, part, 0, g->p);
    compare_bits(set->name, "y of one group", out * sizeof *y, part, y + i * out);
    part = floats(in);
    kernel->pack_backward(&one, d->weight + i * weights, packed);
    kernel->conv_backward_data(&one, packed, d->dy + i * out, part, 0, g->h);
    compare_bits(set->name, "dx of one group", in * sizeof *dx, part, dx + i * in);
    part = floats(weights);
    kernel->conv_backward_weight(&one, d->x + i * in, d->dy + i * out, scratch, part, NULL);
    compare_bits(set->name, "dweight of one group", weights * sizeof *dweight, part, dweight + i * weights);
}

/* The weight gradient with channels in the lanes, in two pieces; and of one pair of channels alone. */
static void check_channels(const conv_data *d, const outputs *dweight, const outputs *dbias)
{
    const ek_conv *g = &d->g;
    const size_t taps = (size_t)g->r * (size_t)g->s, plane = (size_t)g->p * (size_t)g->q * LANES;
    const size_t image = (size_t)g->h * (size_t)g->w * LANES, row = (size_t)g->c * taps;
    const double additions = 16.0 * 16 + g->p * (g->q / 8.0 + 1); /* of a chain, and of the chains' ends */
    const double *x = magnitudes(samples_of(d->x, d->in, d->live), (size_t)d->live * d->in);
    const double *dy = magnitudes(samples_of(d->dy, d->out, d->live), (size_t)d->live * d->out);
    double *most = doubles(d->weights), *most_bias = doubles((size_t)g->k);
    ek_reference_conv_backward_weight(g, d->live, x, dy, most, most_bias);
    const double *bound = bounds(most, d->weights, sum_error(additions), 0);
    const int tiles = (g->c + LANES - 1) / LANES, cut = random_int(0, tiles);
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        float *scratch = floats(ek_channels_scratch(g)), *bias = dbias ? dbias->of[i] : NULL;
        kernel->channels_backward_weight(g, d->x, d->dy, scratch, dweight->of[i], bias, cut, tiles);
        kernel->channels_backward_weight(g, d->x, d->dy, scratch, dweight->of[i], bias, 0, cut);
        compare_floats(sets[i]->name, "dweight by channels", d->weights, dweight->of[i], d->dweight, bound);
        if (dbias && cut > 0)
            compare_floats(sets[i]->name, "dbias", (size_t)g->k, bias, d->dbias, d->dbias_bound);
        const size_t k = (size_t)random_int(0, g->k - 1), c = (size_t)random_int(0, g->c - 1);
        ek_conv one = *g;
        one.c = one.k = 1;
        float *part = floats(taps);
        kernel->channels_backward_weight(&one, d->x + c * image, d->dy + k * plane, scratch, part, NULL, 0, 1);
        compare_bits(sets[i]->name, "dweight of one pair by channels", taps * sizeof *part, part,
                     (const float *)dweight->of[i] + k * row + c * taps);
    }
}

static void check_conv(ek_conv g, int live, bool bias)
{
    static int number;
    if (!conv_fits(&g) || (quick && number++ % 3))
        return;
    check_case("conv %dx%dx%d to %d, kernel %dx%d, stride %dx%d, padding %dx%d, dilation %dx%d, %d groups, %d live%s",
               g.c, g.h, g.w, g.k, g.r, g.s, g.stride_h, g.stride_w, g.padding_h, g.padding_w, g.dilation_h,
               g.dilation_w, g.groups, live, bias ? "" : ", no bias");
    const conv_data d = new_conv(g, live, bias);
    const outputs y = new_outputs(d.out * LANES, sizeof(float)), dx = new_outputs(d.in * LANES, sizeof(float));
    const outputs dweight = new_outputs(d.weights, sizeof(float)), dbias = new_outputs((size_t)g.k, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        float *packed = floats(d.weights), *packed_backward = floats(d.weights),
              *scratch = floats(ek_conv_scratch(&g));
        kernel->pack_forward(&g, d.weight, packed);
        kernel->pack_backward(&g, d.weight, packed_backward);
        const int p = random_int(0, g.p), h = random_int(0, g.h); /* in two pieces */
        kernel->conv_forward(&g, packed, d.bias, d.x, y.of[i], 0, p);
        kernel->conv_forward(&g, packed, d.bias, d.x, y.of[i], p, g.p);
        kernel->conv_backward_data(&g, packed_backward, d.dy, dx.of[i], h, g.h);
        kernel->conv_backward_data(&g, packed_backward, d.dy, dx.of[i], 0, h);
        kernel->conv_backward_weight(&g, d.x, d.dy, scratch, dweight.of[i], bias ? dbias.of[i] : NULL);
        compare_block(set, "y", d.out, live, y.of[i], d.y, d.y_bound);
        compare_block(set, "dx", d.in, live, dx.of[i], d.dx, d.dx_bound);
        compare_floats(set, "dweight", d.weights, dweight.of[i], d.dweight, d.dweight_bound);
        if (bias)
            compare_floats(set, "dbias", (size_t)g.k, dbias.of[i], d.dbias, d.dbias_bound);
        check_dead(set, "y", d.out, live, y.of[i], false);
        check_dead(set, "dx", d.in, live, dx.of[i], true);
        if (g.groups == 1)
            check_tiles(sets[i], &d, y.of[i], dx.of[i], dweight.of[i]);
        else
            check_group_alone(sets[i], &d, y.of[i], dx.of[i], dweight.of[i]);
    }
    check_sets_agree("y", y);
    check_sets_agree("dx", dx);
    check_sets_agree("dweight", dweight);
    check_sets_agree("dbias", dbias);
    if (g.groups == 1) {
        check_channels(&d, &dweight, bias ? &dbias : NULL);
        check_sets_agree("dweight by channels", dweight);
    }
    check_margins();
}

/* Every padding up to the kernel's size (which leaves positions without a tap), strides 1 to 3, and planes from one
 * point on. */
static void check_square_kernel(int kernel)
{
    static const int planes[][2] = {{1, 1}, {2, 5}, {7, 4}, {13, 9}};
    char name[80];
    snprintf(name, sizeof name, "convolutions %dx%d, every padding and stride", kernel, kernel);
    check_group(name);
    for (int padding = 0; padding <= kernel; padding++)
        for (int stride = 1; stride <= 3; stride++)
            for (size_t i = 0; i < sizeof planes / sizeof *planes; i++) {
                const int most = planes[i][0] > 8 ? 7 : 17;
                check_conv(conv_shape(random_int(1, most), planes[i][0], planes[i][1], random_int(1, most), kernel,
                                      kernel, stride, padding),
                           random_int(1, 16), random_int(0, 1));
            }
    check_group_end();
}

static void check_conv_shapes(void)
{
    check_group("convolutions of every number of channels and live lanes");
    for (int c = 1; c <= 17; c++) {
        check_conv(conv_shape(c, 3, 4, 18 - c, 3, 3, 1, 1), c < 17 ? c : 16, true);
        check_conv(conv_shape(c, 1, 1, 1 + (c * 5) % 17, 1, 1, 1, 0), 17 - (c < 17 ? c : 16), true);
        check_conv(conv_shape(1 + (c * 7) % 17, 4, 5, c, 1, 1, 1 + c % 2, c % 3), random_int(1, 16), true);
    }
    check_group_end();
    check_group("convolutions with oblong kernels");
    for (int r = 1; r <= 7; r++)
        for (int s = 1; s <= 7; s++)
            check_conv(conv_shape(random_int(1, 6), random_int(1, 9), random_int(1, 9), random_int(1, 6), r, s,
                                  random_int(1, 3), random_int(0, 4)),
                       random_int(1, 16), true);
    check_group_end();
    check_group("convolutions whose rows and columns differ, and their dilations");
    for (int i = 0; i < 250; i++) {
        ek_conv g = conv_shape(random_int(1, 7), random_int(1, 13), random_int(1, 11), random_int(1, 7),
                               random_int(1, 5), random_int(1, 5), 1, 0);
        g.stride_h = random_int(1, 4);
        g.stride_w = random_int(1, 4);
        g.padding_h = random_int(0, 5);
        g.padding_w = random_int(0, 5);
        g.dilation_h = random_int(1, 4);
        g.dilation_w = random_int(1, 4);
        check_conv(with_outputs(g), random_int(1, 16), random_int(0, 1));
    }
    check_group_end();
    check_group("convolutions in groups, depthwise among them");
    for (int i = 0; i < 120; i++) {
        const int groups = random_int(2, 8), c = i % 3 ? random_int(1, 4) : 1, k = i % 4 ? random_int(1, 4) : 1;
        ek_conv g =
            conv_shape(groups * c, random_int(1, 9), random_int(1, 9), groups * k, 1 + i % 5, 1 + i % 4, 1, 0);
        g.groups = groups;
        g.stride_h = random_int(1, 2);
        g.stride_w = random_int(1, 2);
        g.padding_h = random_int(0, 2);
        g.padding_w = random_int(0, 2);
        g.dilation_h = random_int(1, 2);
        check_conv(with_outputs(g), random_int(1, 16), random_int(0, 1));
    }
    check_group_end();
    check_group("convolutions of many channels");
    check_conv(conv_shape(33, 7, 6, 20, 3, 3, 2, 1), 16, true);
    check_conv(conv_shape(48, 3, 3, 30, 3, 3, 1, 1), 9, true);
    check_conv(conv_shape(20, 17, 13, 7, 5, 5, 1, 2), 16, false);
    check_conv(conv_shape(16, 2, 70, 8, 1, 3, 1, 1), 16, true);
    check_group_end();
    check_group("convolutions of the book's nets");
    check_conv(conv_shape(1, 28, 28, 6, 5, 5, 1, 0), 16, true);
    check_conv(conv_shape(1, 28, 28, 6, 5, 5, 1, 2), 5, true);
    check_conv(conv_shape(6, 12, 12, 16, 5, 5, 1, 0), 16, true);
    check_conv(conv_shape(256, 1, 1, 120, 1, 1, 1, 0), 16, true);
    check_conv(conv_shape(16, 32, 32, 3, 3, 3, 1, 1), 2, false);
    check_conv(conv_shape(3, 33, 70, 4, 3, 3, 2, 1), 3, true);
    check_group_end();
}

/* Rows of features, and the weight gradient of output features k0..k0+count-1 over `samples` samples. */
static void check_linear(int features, int outputs_count, int samples, int k0, int count, bool bias)
{
    check_case("linear %d to %d, %d samples, rows %d to %d", features, outputs_count, samples, k0, k0 + count - 1);
    const int blocks = (samples + LANES - 1) / LANES, rest = samples - (blocks - 1) * LANES;
    const size_t f = (size_t)features, k = (size_t)outputs_count, b = (size_t)blocks;
    const ek_conv g = conv_shape(features, 1, 1, outputs_count, 1, 1, 1, 0);
    const size_t dy_stride = (k + 3) * LANES; /* blocks need not be neighbours */
    const size_t row_count = (f + LANES - 1) / LANES * b * LANES * LANES;
    float *dy = floats(b * dy_stride), *x[64];
    double *all_x = doubles((size_t)samples * f), *all_dy = doubles((size_t)samples * k);
    for (int block = 0; block < blocks; block++) {
        const int live = block == blocks - 1 ? rest : LANES;
        x[block] = random_block(f, live, 0, 1, -2e8f);
        const float *d = random_block(k, live, 0, 1, 0);
        memcpy(dy + (size_t)block * dy_stride, d, k * LANES * sizeof *d);
        memcpy(all_x + (size_t)block * LANES * f, samples_of(x[block], f, live), (size_t)live * f * sizeof *all_x);
        memcpy(all_dy + (size_t)block * LANES * k, samples_of(d, k, live), (size_t)live * k * sizeof *all_dy);
    }
    double *dweight = doubles(k * f), *dbias = doubles(k), *weight_size = doubles(k * f), *bias_size = doubles(k);
    ek_reference_conv_backward_weight(&g, samples, all_x, all_dy, dweight, dbias);
    ek_reference_conv_backward_weight(&g, samples, magnitudes(all_x, (size_t)samples * f),
                                      magnitudes(all_dy, (size_t)samples * k), weight_size, bias_size);
    const double *weight_bound = bounds(weight_size, k * f, sum_error(samples), 0);
    const double *bias_bound = bounds(bias_size, k, sum_error(samples), 0);
    const outputs rows = new_outputs(row_count, sizeof(float)), got = new_outputs(k * f, sizeof(float));
    const outputs got_bias = new_outputs(k, sizeof(float));
    const size_t begin = (size_t)k0, own = (size_t)count;
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        float *r = rows.of[i], *w = got.of[i], *sums = got_bias.of[i];
        for (int block = 0; block < blocks; block++)
            kernel->rows_from_block(features, x[block], blocks * LANES, block * LANES, r);
        for (size_t at = 0; at < row_count; at++) {
            const size_t sample = at / LANES % (b * LANES), feature = at / LANES / (b * LANES) * LANES + at % LANES;
            const float want = feature < f ? x[sample / LANES][feature * LANES + sample % LANES] : 0.0f;
            if (!(r[at] == want)) {
                check_fail("%s row of feature %zu, sample %zu: %g, not %g", set, feature, sample, (double)r[at],
                           (double)want);
                break;
            }
        }
        kernel->linear_backward_weight(features, k0, count, blocks, r, dy, dy_stride, w, bias ? sums : NULL);
        compare_floats(set, "dweight", own * f, w + begin * f, dweight + begin * f, weight_bound + begin * f);
        if (bias)
            compare_floats(set, "dbias", own, sums + begin, dbias + begin, bias_bound + begin);
        /* Other rows belong to other threads. */
        if (!is_poison((unsigned char *)w, begin * f * sizeof *w) ||
            !is_poison((unsigned char *)(w + (begin + own) * f), (k - begin - own) * f * sizeof *w) ||
            !is_poison((unsigned char *)sums, (bias ? begin : k) * sizeof *sums) ||
            !is_poison((unsigned char *)(sums + begin + own), (k - begin - own) * sizeof *sums))
            check_fail("%s wrote rows that are not its own", set);
        float *alone = floats(k * f); /* the last row without its neighbours */
        kernel->linear_backward_weight(features, k0 + count - 1, 1, blocks, r, dy, dy_stride, alone, NULL);
        compare_bits(set, "dweight of one row", f * sizeof *w, alone + (begin + own - 1) * f,
                     w + (begin + own - 1) * f);
    }
    check_sets_agree("rows", rows);
    check_sets_agree("dweight", got);
    check_sets_agree("dbias", got_bias);
    check_margins();
}

static void check_linears(void)
{
    check_group("linear layers: rows and weight gradients");
    for (int features = 1; features <= 40; features++) {
        const int k = random_int(1, 30), k0 = random_int(0, k - 1), most = k - k0 < 12 ? k - k0 : 12;
        check_linear(features, k, random_int(1, 200), k0, random_int(1, most), random_int(0, 1));
    }
    for (int count = 1; count <= 12; count++)
        check_linear(17, 14, 16 * count + 1, 1, count, true);
    check_linear(256, 120, 128, 108, 12, true);
    check_group_end();
}

int main(int argc, char **argv)
{
    find_sets();
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all();
        return 0;
    }
    random_state = 1;
    quick = getenv("EVENKEEL_TEST_QUICK");
    check_checker();
    for (int kernel = 1; kernel <= 7; kernel++)
        check_square_kernel(kernel);
    check_conv_shapes();
    check_linears();
    return check.groups_failed ? 1 : 0;
}
