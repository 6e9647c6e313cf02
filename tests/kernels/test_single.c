/* SPDX-License-Identifier: MIT
 * The kernels on values of one sample against the reference, and bit for bit against those on blocks of sixteen, on
 * every instruction set. Around a value lie zeros, around these NaN; lanes that fill up channels hold NaN. */
#include "conv_data.h"

static bool quick; /* less of everything: under sanitizers and emulation */

/* A value's place: [C][H][W] in one of the two layouts, with zeros around it. */
typedef struct place {
    int c, h, w, lanes, top, left;
    bool planar;
    size_t size;
    ptrdiff_t channel, row, column;
} place;

static place new_place(const ek_kernels *set, int c, int h, int w, bool planar, int top, int left, int more)
{
    const int part = set->single.part, lanes = planar ? 1 : (c + part - 1) / part * part;
    place at = {.c = c, .h = h, .w = w, .lanes = lanes, .top = top, .left = left, .planar = planar};
    const size_t rows = (size_t)(h + 2 * top + more), columns = (size_t)(w + 2 * left + more);
    at.size = rows * columns * (size_t)(planar ? c : lanes);
    at.channel = planar ? (ptrdiff_t)(rows * columns) : 1;
    at.column = lanes;
    at.row = (ptrdiff_t)columns * lanes;
    return at;
}

/* A planar value whose rows are whole registers, for kernels that write so; with the slack that they may read. */
static place new_wide_place(const ek_kernels *set, int c, int h, int w)
{
    const int part = set->single.part;
    place at = new_place(set, c, h, (w + part - 1) / part * part, true, 0, 0, 0);
    at.w = w;
    at.size += EK_SINGLE_SLACK;
    return at;
}

static size_t index_of(const place *at, int c, int h, int w)
{
    return (size_t)(c * at->channel + (h + at->top) * at->row + (w + at->left) * at->column);
}

static ek_single_channels channels(const place *at, float *x)
{
    return (ek_single_channels){x + index_of(at, 0, 0, 0), at->row, at->column};
}

/* Sample 0 of a block as such a value. */
static float *value_of(const place *at, const float *block)
{
    float *x = floats(at->size);
    for (size_t i = 0; i < at->size; i++)
        if (at->planar || (int)(i % (size_t)at->lanes) < at->c)
            x[i] = 0;
    for (int c = 0; c < at->c; c++)
        for (int h = 0; h < at->h; h++)
            for (int w = 0; w < at->w; w++)
                x[index_of(at, c, h, w)] = *block, block += LANES;
    return x;
}

/* The other way round, row-major. */
static float *plain_of(const place *at, const float *x)
{
    float *plain = floats((size_t)at->c * (size_t)at->h * (size_t)at->w), *to = plain;
    for (int c = 0; c < at->c; c++)
        for (int h = 0; h < at->h; h++)
            for (int w = 0; w < at->w; w++)
                *to++ = x[index_of(at, c, h, w)];
    return plain;
}

static void compare_with_block(const char *set, const char *what, size_t count, const float *got, const float *block)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(got + i, block + i * LANES, sizeof *got) != 0 && !(isnan(got[i]) && isnan(block[i * LANES]))) {
            check_fail("%s %s[%zu of %zu] is %.9g, of a block %.9g", set, what, i, count, (double)got[i],
                       (double)block[i * LANES]);
            return;
        }
}

/* ---- Convolutions ------------------------------------------------------------------------------------------- */

static int32_t *new_offsets(const ek_conv *one, const place *x)
{
    int32_t *offsets = guarded((size_t)one->c * (size_t)one->r * (size_t)one->s, sizeof *offsets), *to = offsets;
    for (int c = 0; c < one->c; c++)
        for (int r = 0; r < one->r; r++)
            for (int s = 0; s < one->s; s++)
                *to++ = (int32_t)(c * x->channel + r * one->dilation_h * x->row + s * one->dilation_w * x->column);
    return offsets;
}

static void run_direct(const ek_kernels *set, const conv_data *d, const place *x, const float *from, const place *y,
                       float *to)
{
    const ek_single_kernels *k = &set->single;
    const bool depthwise = d->g.groups > 1;
    const ek_conv one = ek_conv_group(&d->g);
    const ek_single_conv g = {.outputs = d->g.k,
                              .p = d->g.p,
                              .q = d->g.q,
                              .taps = one.c * one.r * one.s,
                              .x_row = d->g.stride_h * x->row,
                              .x_column = d->g.stride_w * x->column,
                              .y_row = y->row,
                              .y_column = y->column};
    const size_t whole = (size_t)((g.outputs + k->part - 1) / k->part * k->part);
    float *packed = floats(whole * (size_t)(g.taps + 1));
    (depthwise ? k->depthwise_pack : k->pack)(&g, d->weight, d->bias, packed);
    (depthwise ? k->depthwise : k->conv)(&g, packed, new_offsets(&one, x), from, to);
}

static void run_winograd(const ek_kernels *set, const conv_data *d, const place *x, float *from, const place *y,
                         float *to)
{
    const ek_single_kernels *k = &set->single;
    const size_t whole = (size_t)((d->g.k + k->part - 1) / k->part * k->part);
    float *packed = floats(whole * 16 * (size_t)(d->g.c + 1)), *scratch = floats(k->winograd_scratch(&d->g));
    int32_t *counting = guarded((size_t)d->g.c, sizeof *counting);
    for (int c = 0; c < d->g.c; c++)
        counting[c] = c;
    k->winograd_pack(&d->g, d->weight, d->bias, packed);
    k->winograd(&d->g, packed, counting, (ek_single_channels){from, x->row, x->column}, scratch, channels(y, to));
}

static void run_columns(const ek_kernels *set, const conv_data *d, const place *x, const float *from, const place *y,
                        float *to)
{
    const ek_single_kernels *k = &set->single;
    const ek_single_conv g = {.outputs = d->g.k,
                              .p = d->g.p,
                              .q = d->g.q,
                              .taps = d->g.c * d->g.r * d->g.s,
                              .x_row = d->g.stride_h * x->row,
                              .x_column = 1,
                              .y_row = y->row,
                              .y_column = 1,
                              .y_channel = y->channel};
    float *packed = floats((size_t)g.outputs * (size_t)(g.taps + 1));
    k->columns_pack(&g, d->weight, d->bias, packed);
    k->columns(&g, packed, new_offsets(&d->g, x), from, to);
    if (!(k->columns_cost(&g) > 0 && k->conv_cost(&g) > 0))
        check_fail("%s: convolutions cost nothing", set->name);
}

static void run_block(const ek_kernels *set, const conv_data *d, bool fast, float *y)
{
    const ek_blocked_kernels *k = &set->blocked;
    if (fast) {
        float *packed = floats(ek_winograd_packed(&d->g)), *scratch = floats(ek_winograd_scratch(&d->g));
        k->winograd_pack_forward(&d->g, d->weight, packed);
        k->winograd_forward(&d->g, packed, d->bias, d->x, scratch, y, 0, ek_winograd_groups(d->g.p, d->g.q));
    } else {
        float *packed = floats(d->weights);
        k->pack_forward(&d->g, d->weight, packed);
        k->conv_forward(&d->g, packed, d->bias, d->x, y, 0, d->g.p);
    }
}

typedef enum way {
    DIRECT,
    COLUMNS,
    WINOGRAD,
} way;

static void check_conv(ek_conv g, bool planar, way by)
{
    const bool fast = by == WINOGRAD;
    check_case("%s%dx%dx%d to %d, kernel %dx%d, stride %dx%d, padding %dx%d, dilation %dx%d, groups %d%s",
               fast            ? "Winograd "
               : by == COLUMNS ? "columns "
                               : "",
               g.c, g.h, g.w, g.k, g.r, g.s, g.stride_h, g.stride_w, g.padding_h, g.padding_w, g.dilation_h,
               g.dilation_w, g.groups, planar ? ", planar" : "");
    const conv_data d = new_conv_data(g, 1, random_int(0, 3) > 0);
    double *size = doubles(d.out);
    ek_reference_conv(&g, 1, magnitudes(widened(d.weight, d.weights), d.weights),
                      d.bias ? magnitudes(widened(d.bias, (size_t)g.k), (size_t)g.k) : NULL,
                      magnitudes(samples_of(d.x, d.in, 1), d.in), size);
    const double terms = (double)(g.c / g.groups) * g.r * g.s;
    /* Winograd's magnitudes are up to 64/9 times the direct sum's. */
    const double *bound = bounds(size, d.out, (fast ? 7 : 1) * sum_error(terms), fast ? 1e-5 : 0);
    const outputs ys = new_outputs(d.out, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        place x = new_place(sets[i], g.c, g.h, g.w, planar, g.padding_h, g.padding_w, fast);
        const place y = by == COLUMNS ? new_wide_place(sets[i], g.k, g.p, g.q)
                                      : new_place(sets[i], g.k, g.p, g.q, false, 1, 2, 0);
        x.size += by == COLUMNS ? EK_SINGLE_SLACK : 0;
        float *from = value_of(&x, d.x), *to = floats(y.size), *block = floats(d.out * LANES);
        if (fast)
            run_winograd(sets[i], &d, &x, from, &y, to);
        else if (by == COLUMNS)
            run_columns(sets[i], &d, &x, from, &y, to);
        else
            run_direct(sets[i], &d, &x, from, &y, to + index_of(&y, 0, 0, 0));
        const float *got = plain_of(&y, to);
        run_block(sets[i], &d, fast, block);
        compare_floats(sets[i]->name, "y", d.out, got, d.y, bound);
        compare_with_block(sets[i]->name, "y", d.out, got, block);
        memcpy(ys.of[i], got, d.out * sizeof *got);
    }
    check_sets_agree("y", ys);
    check_margins();
}

static ek_conv completed(ek_conv g)
{
    g.p = (g.h + 2 * g.padding_h - g.dilation_h * (g.r - 1) - 1) / g.stride_h + 1;
    g.q = (g.w + 2 * g.padding_w - g.dilation_w * (g.s - 1) - 1) / g.stride_w + 1;
    return g;
}

static ek_conv random_conv(void)
{
    ek_conv g = {.c = random_int(1, 19), .k = random_int(1, 70), .r = random_int(1, 5), .s = random_int(1, 5)};
    g.stride_h = random_int(1, 3);
    g.stride_w = random_int(1, 3);
    g.dilation_h = random_int(1, 2);
    g.dilation_w = random_int(1, 2);
    g.padding_h = random_int(0, 4);
    g.padding_w = random_int(0, 4);
    g.h = g.dilation_h * (g.r - 1) + random_int(1, 9);
    g.w = g.dilation_w * (g.s - 1) + random_int(1, 9);
    g.groups = 1;
    return completed(g);
}

static void check_convolutions(void)
{
    check_group("convolutions of a sample");
    for (int i = 0; i < (quick ? 40 : 200); i++)
        check_conv(random_conv(), i % 2, DIRECT);
    for (int k = 1; k < 260; k += quick ? 29 : 9) /* one position: a linear layer */
        check_conv(completed((ek_conv){.c = random_int(1, 80),
                                       .h = 1,
                                       .w = 1,
                                       .k = k,
                                       .r = 1,
                                       .s = 1,
                                       .stride_h = 1,
                                       .stride_w = 1,
                                       .dilation_h = 1,
                                       .dilation_w = 1,
                                       .groups = 1}),
                   false, DIRECT);
    check_group_end();
    check_group("convolutions of a sample by columns");
    for (int i = 0; i < (quick ? 30 : 150); i++) {
        ek_conv g = random_conv();
        g.k = random_int(1, 20);
        g.stride_w = 1;
        g.w += random_int(0, 20);
        check_conv(completed(g), true, COLUMNS);
    }
    check_group_end();
    check_group("depthwise convolutions of a sample");
    for (int i = 0; i < (quick ? 15 : 60); i++) {
        ek_conv g = random_conv();
        g.c = g.groups = g.k;
        check_conv(g, false, DIRECT);
    }
    check_group_end();
    check_group("Winograd's convolutions of a sample");
    for (int i = 0; i < (quick ? 15 : 60); i++) {
        const int padding = i % 3, low = 3 - 2 * padding > 1 ? 3 - 2 * padding : 1;
        check_conv(completed((ek_conv){.c = random_int(1, 40),
                                       .h = random_int(low, 12),
                                       .w = random_int(low, 12),
                                       .k = random_int(1, 50),
                                       .r = 3,
                                       .s = 3,
                                       .stride_h = 1,
                                       .stride_w = 1,
                                       .padding_h = padding,
                                       .padding_w = padding,
                                       .dilation_h = 1,
                                       .dilation_w = 1,
                                       .groups = 1}),
                   false, WINOGRAD);
    }
    check_group_end();
}

/* ---- Between them ------------------------------------------------------------------------------------------- */

/* Norm's numbers for kernels on blocks and, filled up, on single samples. */
static ek_norm_channel *random_norm(int c)
{
    ek_norm_channel *norm = guarded((size_t)c, sizeof *norm);
    for (int i = 0; i < c; i++)
        norm[i] = (ek_norm_channel){random_value(), 1e-7f * random_value(), random_value(), random_value()};
    return norm;
}

static ek_single_norm single_norm(const ek_norm_channel *norm, int c, int lanes)
{
    float *all = floats((size_t)(4 * lanes));
    for (int i = 0; i < c; i++) {
        all[i] = norm[i].mean;
        all[lanes + i] = norm[i].mean_low;
        all[2 * lanes + i] = norm[i].scale;
        all[3 * lanes + i] = norm[i].shift;
    }
    return (ek_single_norm){all, all + lanes, all + 2 * lanes, all + 3 * lanes};
}

static void check_unit(ek_unit u)
{
    check_case("unit %dx%dx%d, norm %d, activation %d, pool %d, maximum %d", u.c, u.h, u.w, u.norm, u.activation,
               u.pool, u.maximum);
    const size_t in = (size_t)(u.c * u.h * u.w), out = in / (size_t)(u.pool * u.pool);
    const float *x = random_block(in, 16, 0, 4, 0);
    const ek_norm_channel *norm = random_norm(u.c);
    const outputs ys = new_outputs(out, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const place from = new_place(sets[i], u.c, u.h, u.w, false, 1, 0, 0);
        const place to = new_place(sets[i], u.c, u.h / u.pool, u.w / u.pool, false, 0, 2, 0);
        const ek_single_norm numbers = single_norm(norm, u.c, from.lanes);
        float *xs = value_of(&from, x), *y = floats(to.size), *block = floats(out * LANES);
        float *scratch = floats((size_t)(u.pool * u.w * from.lanes));
        sets[i]->single.unit(&u, u.norm ? &numbers : NULL, channels(&from, xs), scratch, channels(&to, y));
        const float *got = plain_of(&to, y);
        sets[i]->blocked.unit_forward(&u, u.norm ? norm : NULL, x, NULL, block);
        compare_with_block(sets[i]->name, "y", out, got, block);
        memcpy(ys.of[i], got, out * sizeof *got);
    }
    check_sets_agree("y", ys);
    check_margins();
}

static void check_units(void)
{
    check_group("units of a sample");
    for (int i = 0; i < (quick ? 60 : 300); i++) {
        ek_unit u = {.c = random_int(1, 37), .norm = i % 2, .activation = (ek_activation)(i / 2 % 7)};
        u.negative_slope = 0.2f;
        u.pool = i % 3 == 0 ? 1 : random_int(1, 3);
        u.maximum = u.pool > 1 && i % 5 < 2;
        u.h = u.pool * random_int(1, 4);
        u.w = u.pool * random_int(1, 5);
        check_unit(u);
    }
    check_group_end();
}

static void check_join(ek_join j)
{
    check_case("join %dx%dx%d, of %d channels, stride %d, norm %d, activation %d", j.c, j.h, j.w, j.rc, j.stride,
               j.norm, j.activation);
    const size_t in = (size_t)(j.c * j.h * j.w);
    const float *x = random_block(in, 16, 0, 0.7f, 0),
                *r = random_block((size_t)(j.rc * j.rh * j.rw), 16, 0, 0.7f, 0);
    const ek_norm_channel *norm = random_norm(j.c);
    const outputs ys = new_outputs(in, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const place from = new_place(sets[i], j.c, j.h, j.w, false, 0, 1, 0);
        const place added = new_place(sets[i], j.rc, j.rh, j.rw, false, 1, 1, 0);
        const ek_single_norm numbers = single_norm(norm, j.c, from.lanes);
        float *xs = value_of(&from, x), *rs = value_of(&added, r), *y = floats(from.size),
              *block = floats(in * LANES);
        sets[i]->single.join(&j, j.norm ? &numbers : NULL, channels(&from, xs), channels(&added, rs),
                             channels(&from, y));
        const float *got = plain_of(&from, y);
        sets[i]->blocked.join_forward(&j, j.norm ? norm : NULL, x, r, block);
        compare_with_block(sets[i]->name, "y", in, got, block);
        memcpy(ys.of[i], got, in * sizeof *got);
    }
    check_sets_agree("y", ys);
    check_margins();
}

static void check_joins(void)
{
    check_group("residual sums of a sample");
    for (int i = 0; i < (quick ? 30 : 120); i++) {
        ek_join j = {.c = random_int(1, 40), .h = random_int(1, 6), .w = random_int(1, 6), .norm = i % 2};
        j.activation = (ek_activation)(i / 2 % 5);
        j.negative_slope = 0.1f;
        j.stride = i % 3 ? 1 : random_int(1, 3);
        j.rc = i % 4 ? j.c : random_int(1, j.c);
        j.rh = j.stride * j.h - random_int(0, j.stride - 1);
        j.rw = j.stride * j.w - random_int(0, j.stride - 1);
        check_join(j);
    }
    check_group_end();
}

static void check_pools(void)
{
    check_group("pooling of a sample");
    for (int i = 0; i < (quick ? 40 : 200); i++) {
        ek_pool2d g = {.c = random_int(1, 35), .h = random_int(1, 9), .w = random_int(1, 9)};
        g.kernel_h = random_int(1, g.h);
        g.kernel_w = random_int(1, g.w);
        g.stride_h = random_int(1, 3);
        g.stride_w = random_int(1, 3);
        g.padding_h = random_int(0, g.kernel_h / 2);
        g.padding_w = random_int(0, g.kernel_w / 2);
        g.maximum = i % 2;
        g.inside = !g.maximum && i % 3;
        g.p = (g.h + 2 * g.padding_h - g.kernel_h) / g.stride_h + 1;
        g.q = (g.w + 2 * g.padding_w - g.kernel_w) / g.stride_w + 1;
        check_case("pool %dx%dx%d, kernel %dx%d, maximum %d", g.c, g.h, g.w, g.kernel_h, g.kernel_w, g.maximum);
        const size_t in = (size_t)(g.c * g.h * g.w), out = (size_t)(g.c * g.p * g.q);
        float *x = random_block(in, 16, 0, 0.7f, 0);
        x[random_int(0, (int)in - 1) * LANES] = i % 5 ? INFINITY : NAN;
        for (int s = 0; s < set_count; s++) {
            const place from = new_place(sets[s], g.c, g.h, g.w, false, 1, 1, 0);
            const place to = new_place(sets[s], g.c, g.p, g.q, false, 1, 0, 0);
            float *xs = value_of(&from, x), *y = floats(to.size), *block = floats(out * LANES);
            sets[s]->single.pool(&g, channels(&from, xs), channels(&to, y));
            (g.maximum ? sets[s]->blocked.maxpool_forward : sets[s]->blocked.avgpool_forward)(&g, x, block);
            compare_with_block(sets[s]->name, "y", out, plain_of(&to, y), block);
        }
        check_margins();
    }
    check_group_end();
}

static void check_planar_pools(void)
{
    check_group("planar windows of 2x2");
    for (int i = 0; i < (quick ? 20 : 80); i++) {
        const ek_unit u = {
            .c = 1, .h = 2 * random_int(1, 5), .w = 2 * random_int(1, 30), .pool = 2, .maximum = i % 2};
        const size_t in = (size_t)(u.h * u.w), out = in / 4;
        float *x = random_block(in, 16, 0, 0.7f, 0);
        x[random_int(0, (int)in - 1) * LANES] = i % 5 ? -INFINITY : NAN;
        check_case("%dx%d, maximum %d", u.h, u.w, u.maximum);
        for (int s = 0; s < set_count; s++) {
            place from = new_place(sets[s], 1, u.h, u.w, true, 0, 0, 0);
            const place to = new_wide_place(sets[s], 1, u.h / 2, u.w / 2);
            from.size += EK_SINGLE_SLACK;
            float *xs = value_of(&from, x), *y = floats(to.size), *block = floats(out * LANES);
            sets[s]->single.pool_planar(u.maximum, u.h, u.w, xs, from.row, y, to.row);
            sets[s]->blocked.unit_forward(&u, NULL, x, NULL, block);
            compare_with_block(sets[s]->name, "y", out, plain_of(&to, y), block);
        }
        check_margins();
    }
    check_group_end();
}

static void check_layer_norms(void)
{
    check_group("layer norm of a sample");
    for (int i = 0; i < (quick ? 12 : 40); i++) {
        const size_t m = (size_t)(i % 2 ? random_int(1, 100) : random_int(400, 1700));
        const float *x = random_block(m, 16, i % 3 ? 0 : 1e4f, 1, 0), eps = i % 4 ? 1e-5f : 0;
        const float *gamma = i % 5 ? random_floats(m) : NULL, *beta = gamma ? random_floats(m) : NULL;
        check_case("layer norm of %zu", m);
        const outputs ys = new_outputs(m, sizeof(float));
        for (int s = 0; s < set_count; s++) {
            float *xs = floats(m), *y = ys.of[s], *block = floats(m * LANES), *saved = floats(2 * LANES);
            for (size_t j = 0; j < m; j++)
                xs[j] = x[j * LANES];
            sets[s]->single.layer_norm((int64_t)m, eps, gamma, beta, xs, y);
            sets[s]->blocked.layer_norm_forward((int64_t)m, eps, gamma, beta, x, block, saved, saved + LANES);
            compare_with_block(sets[s]->name, "y", m, y, block);
        }
        check_sets_agree("y", ys);
        check_margins();
    }
    check_group_end();
}

static void check_ends(void)
{
    check_group("bytes, floats and probabilities of a sample");
    for (int i = 1; i < 60; i++) {
        const size_t count = (size_t)i;
        const float mean[] = {0.4f, 0.3f}, std[] = {0.2f, 0.7f};
        const ek_normal normal = {2, mean, std}, *n = i % 3 ? &normal : NULL;
        uint8_t *bytes = guarded(count, 1);
        float *x = random_floats(count), *z = random_floats(count);
        for (int j = 0; j < i; j++)
            bytes[j] = (uint8_t)random_int(0, 255);
        double sum = 0;
        for (size_t j = 0; j < count; j++) {
            z[j] *= 30;
            sum += exp((double)z[j]);
        }
        check_case("%d values", i);
        const outputs ps = new_outputs(count, sizeof(float));
        for (int s = 0; s < set_count; s++) {
            float *y = floats(count), *p = ps.of[s];
            sets[s]->single.bytes(n, 1, i, bytes, y);
            for (size_t j = 0; j < count; j++)
                if (!(y[j] == (n ? ((float)bytes[j] / 255.0f - 0.3f) / 0.7f : (float)bytes[j] / 255.0f)))
                    check_fail("%s: byte %d became %g", sets[s]->name, bytes[j], (double)y[j]);
            sets[s]->single.floats(n, 0, i, x, y);
            for (size_t j = 0; j < count; j++)
                if (!(y[j] == (n ? (x[j] - 0.4f) / 0.2f : x[j])))
                    check_fail("%s: %g became %g", sets[s]->name, (double)x[j], (double)y[j]);
            sets[s]->single.softmax(i, z, p);
            for (size_t j = 0; j < count; j++)
                if (!(fabs((double)p[j] - exp((double)z[j]) / sum) <= 1e-6))
                    check_fail("%s: probability %g, not %g", sets[s]->name, (double)p[j], exp((double)z[j]) / sum);
        }
        check_sets_agree("p", ps);
        check_margins();
    }
    check_group_end();
}

int main(void)
{
    find_sets();
    random_state = 11;
    quick = getenv("EVENKEEL_TEST_QUICK") != NULL;
    check_convolutions();
    check_units();
    check_joins();
    check_pools();
    check_planar_pools();
    check_layer_norms();
    check_ends();
    return check.groups_failed ? 1 : 0;
}
