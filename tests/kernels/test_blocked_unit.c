/* SPDX-License-Identifier: MIT
 * Units, statistics and the lighter kernels on the blocked layout against the reference, on every instruction set. */
#include "check.h"
#include "op/norm.h"
#include "op/reference.h"

static bool quick; /* under emulators and sanitizers: units of a third of the numbers of samples */

static const double ulp = 0x1p-23; /* of numbers near 1 */

/* ---- Units -------------------------------------------------------------------------------------------------- */

/* One unit on one block, whose statistics are the batch's: arrays, the norm's numbers, and bounds that do not depend
 * on the instruction set. */
typedef struct unit_data {
    ek_unit u;
    int live;
    bool by_batch;
    size_t in, out, plane; /* values of a sample, of a channel */
    float *x, *dy;
    double *xs, *dys, *mean, *rstd, *gamma, *beta;
    ek_norm_channel *norm;
    double *a, *y, *a_bound, *y_bound;
} unit_data;

static const char *const activations[] = {[EK_IDENTITY] = "",
                                          [EK_SIGMOID] = ", sigmoid",
                                          [EK_RELU] = ", relu",
                                          [EK_LEAKY_RELU] = ", leaky relu",
                                          [EK_TANH] = ", tanh",
                                          [EK_GELU] = ", gelu",
                                          [EK_GELU_TANH] = ", gelu by tanh"};

static bool computes(ek_activation f)
{
    return f != EK_IDENTITY && f != EK_RELU;
}

static ek_pool2d pool_of(const ek_unit *u)
{
    ek_pool2d g = {.c = u->c, .h = u->h, .w = u->w, .p = u->h / u->pool, .q = u->w / u->pool, .maximum = u->maximum};
    g.kernel_h = g.kernel_w = g.stride_h = g.stride_w = u->pool;
    return g;
}

static void set_norm(unit_data *d)
{
    const size_t c = (size_t)d->u.c;
    double *var = doubles(c);
    d->mean = doubles(c);
    d->rstd = doubles(c);
    d->gamma = doubles(c);
    d->beta = doubles(c);
    d->norm = guarded(c, sizeof *d->norm);
    ek_reference_batch_statistics((ek_shape){.n = d->live, .c = d->u.c, .h = d->u.h, .w = d->u.w}, d->xs, d->mean,
                                  var);
    for (size_t i = 0; i < c; i++) {
        const float high = (float)d->mean[i];
        d->gamma[i] = (double)random_value();
        d->beta[i] = (double)random_value();
        d->rstd[i] = ek_norm_rstd(var[i], 1e-5);
        d->norm[i] = (ek_norm_channel){.mean = high,
                                       .mean_low = (float)(d->mean[i] - (double)high),
                                       .scale = (float)(d->gamma[i] * d->rstd[i]),
                                       .shift = (float)d->beta[i]};
    }
}

/* What forward should give, and how far rounding may take it: z errs by a few units of its terms, a by z's error
 * times the slope and a few units of its own, y by what a errs on average. */
static void set_forward(unit_data *d)
{
    const size_t all = (size_t)d->live * d->in, all_out = (size_t)d->live * d->out;
    const ek_pool2d pool = pool_of(&d->u);
    const ek_reference_norm norm = {d->mean, d->rstd, d->gamma, d->beta, d->by_batch, EK_NORMALIZE_BOTH};
    d->a = doubles(all);
    d->y = doubles(all_out);
    d->a_bound = doubles(all);
    d->y_bound = doubles(all_out);
    ek_reference_unit(&d->u, d->live, &norm, d->xs, d->a, d->y);
    for (size_t i = 0; i < all; i++) {
        const size_t c = i / d->plane % (size_t)d->u.c;
        double z_bound = 0;
        if (d->u.norm)
            z_bound = 3 * ulp * (fabs((d->xs[i] - d->mean[c]) * d->rstd[c] * d->gamma[c]) + fabs(d->beta[c]));
        d->a_bound[i] = z_bound;
        if (d->u.activation == EK_SIGMOID)
            d->a_bound[i] = z_bound * d->a[i] * (1 - d->a[i]) + 4 * ulp * d->a[i] + 1e-37;
        else if (computes(d->u.activation)) /* no slope is beyond 1.13; z of a gelu by tanh errs in an exponent */
            d->a_bound[i] =
                1.13 * z_bound + (d->u.activation == EK_GELU_TANH ? 120 : 7) * ulp * fabs(d->a[i]) + 1e-35;
    }
    /* A maximum errs by what the worst of its window does. */
    double *size = doubles(all_out);
    ek_reference_pool(&pool, d->live, d->a_bound, d->y_bound);
    ek_reference_pool(&pool, d->live, magnitudes(d->a, all), size);
    for (size_t i = 0; i < all_out && !d->u.maximum; i++)
        d->y_bound[i] += sum_error(d->u.pool * d->u.pool) * size[i];
    if (!computes(d->u.activation) && !d->u.norm)
        for (size_t i = 0; i < all; i++)
            d->a_bound[i] = 0;
}

static unit_data new_unit(ek_unit u, int live, float offset, float scale)
{
    unit_data d = {.u = u, .live = live, .by_batch = random_int(0, 2) > 0, .plane = (size_t)u.h * (size_t)u.w};
    d.in = (size_t)u.c * d.plane;
    d.out = d.in / (size_t)(u.pool * u.pool);
    d.x = random_block(d.in, live, offset, scale, 3e8f);
    d.dy = random_block(d.out, live, 0, 1, 0);
    d.xs = samples_of(d.x, d.in, live);
    d.dys = samples_of(d.dy, d.out, live);
    if (u.norm)
        set_norm(&d);
    set_forward(&d);
    return d;
}

/* Backward of one set, from its own activations. */
static void check_unit_backward(const ek_kernels *set, const unit_data *d, const float *activated, ek_norm_sums *sums,
                                float *dx)
{
    const ek_unit *u = &d->u;
    const size_t c = (size_t)u->c, all = (size_t)d->live * d->in;
    const double m = (double)d->live * (double)d->plane;
    const ek_pool2d pool = pool_of(u);
    const double *a = samples_of(activated, d->in, d->live);
    const bool by_output = ek_activation_by_output(u->activation);
    const float *kept = u->activation == EK_IDENTITY || !by_output ? NULL : activated;
    double *want = doubles(all), *dgamma = doubles(c), *dbeta = doubles(c), *dz = doubles(all);
    const ek_reference_norm norm = {d->mean, d->rstd, d->gamma, d->beta, d->by_batch, EK_NORMALIZE_BOTH};
    ek_reference_unit_backward(u, d->live, &norm, d->xs, a, d->dys, want, dgamma, dbeta);
    /* Magnitudes: of dz, whose factor a*(1 - a) errs by units of a; then of the sums. */
    ek_reference_pool_backward(&pool, d->live, a, magnitudes(d->dys, (size_t)d->live * d->out), dz);
    for (size_t i = 0; i < all && u->activation != EK_IDENTITY; i++)
        dz[i] *= u->activation == EK_SIGMOID             ? a[i]
                 : u->activation == EK_RELU              ? a[i] > 0
                 : computes(u->activation) && !by_output ? 8 /* z's error, times a slope's slope */
                                                         : 1;
    double *got = doubles(2 * c), *sums_want = doubles(2 * c), *bound = doubles(2 * c), *dx_bound = doubles(all);
    ek_norm_gradient *g = guarded(c, sizeof *g);
    if (u->norm) {
        for (size_t i = 0; i < all; i++) {
            const size_t channel = i / d->plane % c;
            bound[channel] += dz[i] * sum_error((double)d->plane);
            bound[c + channel] += dz[i] * fabs(d->xs[i] - d->mean[channel]) * sum_error((double)d->plane);
        }
        for (size_t i = 0; i < c; i++) {
            const double slope = d->gamma[i] * d->rstd[i] * d->rstd[i] * dgamma[i] / m;
            g[i] = (ek_norm_gradient){.mean = d->norm[i].mean,
                                      .mean_low = d->norm[i].mean_low,
                                      .scale = d->norm[i].scale,
                                      .shift = d->norm[i].shift,
                                      .offset = d->by_batch ? (float)(d->gamma[i] * d->rstd[i] * dbeta[i] / m) : 0.0f,
                                      .slope = d->by_batch ? (float)slope : 0.0f};
            sums_want[i] = dbeta[i];
            sums_want[c + i] = dgamma[i] / d->rstd[i];
        }
        set->blocked.unit_sums(u, g, d->x, kept, d->dy, d->live, sums);
        for (size_t i = 0; i < c; i++) {
            got[i] = sums[i].dz;
            got[c + i] = sums[i].dz_x;
        }
        compare(set->name, "sums of dz", c, got, sums_want, bound);
        /* One window in all: dz is constant, and the sum of x - mean nothing but rounding. */
        if (computes(u->activation) ? m > 1 : d->out * (size_t)d->live > c)
            compare(set->name, "sums of dz*x", c, got + c, sums_want + c, bound + c);
    }
    for (size_t i = 0; i < all; i++) {
        const size_t channel = i / d->plane % c;
        dx_bound[i] = 3 * ulp * dz[i];
        if (u->norm)
            dx_bound[i] = 3 * ulp *
                          (fabs((double)g[channel].scale) * dz[i] + fabs((double)g[channel].offset) +
                           fabs((double)g[channel].slope * (d->xs[i] - d->mean[channel])));
    }
    const float *x = u->norm || !by_output ? d->x : NULL;
    set->blocked.unit_backward(u, u->norm ? g : NULL, x, kept, d->dy, d->live, dx);
    if (m > 1 || !u->norm || !d->by_batch)
        compare_block(set->name, "dx", d->in, d->live, dx, want, dx_bound);
    check_dead(set->name, "dx", d->in, d->live, dx, true);
    /* In the place of the activations, and of dy. */
    const size_t bytes = d->in * LANES * sizeof *dx;
    float *place = memcpy(floats(d->in * LANES), activated, bytes);
    if (kept) {
        set->blocked.unit_backward(u, u->norm ? g : NULL, x, place, d->dy, d->live, place);
        compare_bits(set->name, "dx in the place of a", bytes, place, dx);
    }
    if (u->pool == 1) {
        memcpy(place, d->dy, bytes);
        set->blocked.unit_backward(u, u->norm ? g : NULL, x, kept, place, d->live, place);
        compare_bits(set->name, "dx in the place of dy", bytes, place, dx);
    }
    if (x) {
        memcpy(place, x, bytes);
        set->blocked.unit_backward(u, u->norm ? g : NULL, place, kept, d->dy, d->live, place);
        compare_bits(set->name, "dx in the place of x", bytes, place, dx);
    }
}

static void check_unit(ek_unit u, int live, float offset, float scale)
{
    check_case("unit %dx%dx%d%s%s, %spool %d, %d live, x around %g by %g", u.c, u.h, u.w, u.norm ? ", norm" : "",
               activations[u.activation], u.maximum ? "max " : "", u.pool, live, (double)offset, (double)scale);
    const unit_data d = new_unit(u, live, offset, scale);
    const outputs y = new_outputs(d.out * LANES, sizeof(float)), a = new_outputs(d.in * LANES, sizeof(float));
    const outputs dx = new_outputs(d.in * LANES, sizeof(float)),
                  sums = new_outputs((size_t)u.c, sizeof(ek_norm_sums));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        kernel->unit_forward(&u, d.norm, d.x, a.of[i], y.of[i]);
        compare_block(set, "a", d.in, live, a.of[i], d.a, d.a_bound);
        compare_block(set, "y", d.out, live, y.of[i], d.y, d.y_bound);
        check_dead(set, "y", d.out, live, y.of[i], false);
        float *alone = floats(d.out * LANES);
        kernel->unit_forward(&u, d.norm, d.x, NULL, alone);
        compare_bits(set, "y when a is not kept", y.size, alone, y.of[i]);
        if (u.pool == 1) {
            memcpy(alone, d.x, y.size);
            kernel->unit_forward(&u, d.norm, alone, NULL, alone);
            compare_bits(set, "y in the place of x", y.size, alone, y.of[i]);
        }
        check_unit_backward(sets[i], &d, a.of[i], sums.of[i], dx.of[i]);
    }
    check_sets_agree("a", a);
    check_sets_agree("y", y);
    check_sets_agree("sums", sums);
    check_sets_agree("dx", dx);
    check_margins();
}

/* A unit of any size for these pools. */
static ek_unit random_unit(bool norm, ek_activation activation, int pool, bool maximum)
{
    return (ek_unit){.c = random_int(1, 17),
                     .h = pool * random_int(1, 13 / pool),
                     .w = pool * random_int(1, 9 / pool),
                     .norm = norm,
                     .activation = activation,
                     .pool = pool,
                     .maximum = maximum,
                     .negative_slope = 0.3f};
}

static void check_units_of(bool norm, ek_activation activation, bool maximum)
{
    char name[80];
    snprintf(name, sizeof name, "units%s%s, %spool 1 to 5", norm ? ", norm" : "", activations[activation],
             maximum ? "max " : "");
    check_group(name);
    for (int pool = 1; pool <= 5; pool++)
        for (int live = quick ? 2 : 1; live <= 16; live += quick ? 3 : 1) {
            check_unit(random_unit(norm, activation, pool, maximum), live, 0, 2);
            if (live % 5 == 0) /* far from 0; sigmoid's flat ends */
                check_unit(random_unit(norm, activation, pool, maximum), live, norm ? 1e4f : 0, norm ? 1 : 60);
        }
    check_unit(
        (ek_unit){.c = 2, .h = 28, .w = 28, .norm = norm, .activation = activation, .pool = 2, .maximum = maximum},
        16, 0, 1);
    check_unit((ek_unit){.c = 1, .h = 1, .w = 1, .norm = norm, .activation = activation, .pool = 1}, 1, 0, 1);
    check_group_end();
}

static void check_units(void)
{
    static const ek_activation all[] = {EK_IDENTITY, EK_SIGMOID, EK_RELU,     EK_LEAKY_RELU,
                                        EK_TANH,     EK_GELU,    EK_GELU_TANH};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int norm = 0; norm < 2; norm++) {
            check_units_of(norm, all[i], false);
            if (all[i] != EK_IDENTITY)
                check_units_of(norm, all[i], true);
        }
}

/* ---- Statistics --------------------------------------------------------------------------------------------- */

/* Sums run over x - centre, where the centre is the mean but for the rounding of one float sum. */
static void check_stats(int c, int h, int w, int live, float offset, float scale)
{
    check_case("statistics %dx%dx%d, %d live, x around %g by %g", c, h, w, live, (double)offset, (double)scale);
    const size_t channels = (size_t)c, plane = (size_t)h * (size_t)w;
    const double m = (double)live * (double)plane;
    const float *x = random_block(channels * plane, live, offset, scale, -1e30f);
    double *mean = doubles(channels), *var = doubles(channels);
    double *mean_bound = doubles(channels), *deviations_bound = doubles(channels);
    ek_reference_batch_statistics((ek_shape){.n = live, .c = c, .h = h, .w = w},
                                  samples_of(x, channels * plane, live), mean, var);
    for (size_t i = 0; i < channels; i++) {
        const double centre_error = sum_error((double)plane) * fabs(mean[i]);
        mean_bound[i] = sum_error((double)plane) * (sqrt(var[i]) + centre_error);
        deviations_bound[i] = 4 * sum_error((double)plane) * m * (var[i] + centre_error * centre_error);
        var[i] *= m;
    }
    const outputs means = new_outputs(channels, sizeof(double)), deviations = new_outputs(channels, sizeof(double));
    for (int i = 0; i < set_count; i++) {
        sets[i]->blocked.channel_stats(c, (int)plane, x, live, means.of[i], deviations.of[i]);
        compare(sets[i]->name, "mean", channels, means.of[i], mean, mean_bound);
        if (m > 1 && scale > 0)
            compare(sets[i]->name, "deviations", channels, deviations.of[i], var, deviations_bound);
        for (size_t j = 0; j < channels && (m == 1 || scale == 0); j++)
            if (!(((double *)deviations.of[i])[j] == 0))
                check_fail("%s: a constant channel deviates by %g", sets[i]->name, ((double *)deviations.of[i])[j]);
    }
    check_sets_agree("means", means);
    check_sets_agree("deviations", deviations);
    check_margins();
}

static void check_statistics(void)
{
    check_group("statistics of channels");
    for (int live = 1; live <= 16; live++) {
        check_stats(random_int(1, 17), random_int(1, 13), random_int(1, 9), live, 0.3f, 1);
        check_stats(random_int(1, 17), random_int(1, 13), random_int(1, 9), live, 1e4f, 1);
        check_stats(random_int(1, 5), random_int(1, 13), random_int(1, 9), live, -1e6f, 1);
        check_stats(2, 28, 28, live, 1e4f, 1e-2f);
        check_stats(3, 1, 1, live, 5, 2);
        check_stats(3, live, 7, live, 0.1f, 0); /* constant */
    }
    check_stats(1, 28, 28, 16, -3.7e5f, 0);
    check_group_end();
}

/* ---- Layer norm --------------------------------------------------------------------------------------------- */

static void check_layer_norm(int m, int live, float eps, bool affine, float offset, float scale)
{
    check_case("layer norm of %d values, eps %g%s, %d live, x around %g by %g", m, (double)eps,
               affine ? ", affine" : "", live, (double)offset, (double)scale);
    const size_t size = (size_t)m, n = (size_t)live, all = n * size;
    const ek_shape shape = {.n = live, .c = m, .h = 1, .w = 1};
    /* Dead lanes hold what an image of zeros comes to: one number here. */
    const float *x = random_block(size, live, offset, scale, 0), *dy = random_block(size, live, 0, 1, 0);
    const float *gamma = affine ? random_floats(size) : NULL, *beta = affine ? random_floats(size) : NULL;
    const double *xs = samples_of(x, size, live), *dys = samples_of(dy, size, live);
    const double *gammas = affine ? widened(gamma, size) : NULL, *betas = affine ? widened(beta, size) : NULL;
    double *y = doubles(all), *dx = doubles(all), *dgamma = doubles(size), *dbeta = doubles(size);
    double *mean = doubles(n), *rstd = doubles(n);
    ek_reference_layer_norm(shape, xs, gammas, betas, (double)eps, y, mean, rstd);
    ek_reference_layer_norm_backward(shape, xs, dys, gammas, mean, rstd, dx, dgamma, dbeta);
    double *y_bound = doubles(all), *dx_bound = doubles(all), *dgamma_bound = doubles(size),
           *dbeta_bound = doubles(size);
    for (size_t i = 0; i < n; i++) {
        double g_sum = 0, gx_sum = 0;
        for (size_t j = 0; j < size; j++) {
            const double g = fabs(affine ? gammas[j] * dys[i * size + j] : dys[i * size + j]);
            g_sum += g;
            gx_sum += g * fabs((xs[i * size + j] - mean[i]) * rstd[i]);
        }
        for (size_t j = 0; j < size; j++) {
            const double xhat = fabs((xs[i * size + j] - mean[i]) * rstd[i]), d = fabs(dys[i * size + j]);
            const double scaled = affine ? fabs(gammas[j]) : 1;
            y_bound[i * size + j] = 8 * ulp * scaled * (xhat + 0.5) + ulp * (affine ? fabs(betas[j]) : 0);
            dx_bound[i * size + j] = 8 * ulp * rstd[i] * (scaled * d + g_sum / m + xhat * gx_sum / m) + 1e-30;
            dgamma_bound[j] += 8 * ulp * d * fmax(1, xhat);
            dbeta_bound[j] += 8 * ulp * d;
        }
    }
    const outputs ys = new_outputs(size * LANES, sizeof(float)), dxs = new_outputs(size * LANES, sizeof(float));
    const outputs saved = new_outputs(2 * (size_t)LANES, sizeof(float)), parts = new_outputs(2 * size, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        float *means = saved.of[i], *rstds = means + LANES, *dgammas = parts.of[i], *dbetas = dgammas + size;
        kernel->layer_norm_forward(m, eps, gamma, beta, x, ys.of[i], means, rstds);
        kernel->layer_norm_backward(m, gamma, means, rstds, x, dy, dxs.of[i], dgammas, dbetas);
        compare_floats(set, "mean", n, means, mean, bounds(magnitudes(mean, n), n, ulp, ulp * (double)scale));
        compare_floats(set, "rstd", n, rstds, rstd, bounds(rstd, n, 4 * ulp, 0));
        if (m > 1 && scale > 0) {
            compare_block(set, "y", size, live, ys.of[i], y, y_bound);
            compare_block(set, "dx", size, live, dxs.of[i], dx, dx_bound);
            compare_floats(set, "dgamma", size, dgammas, dgamma, dgamma_bound);
        }
        compare_floats(set, "dbeta", size, dbetas, dbeta, dbeta_bound);
        for (size_t j = 0; j < size && scale == 0; j++) /* a constant sample: beta, and no gradient */
            if (!(((float *)ys.of[i])[j * LANES] == (affine ? beta[j] : 0) && ((float *)dxs.of[i])[j * LANES] == 0))
                check_fail("%s: a constant sample gives %g, dx %g", set, (double)((float *)ys.of[i])[j * LANES],
                           (double)((float *)dxs.of[i])[j * LANES]);
        check_dead(set, "y", size, live, ys.of[i], false);
        check_dead(set, "dx", size, live, dxs.of[i], true);
        float *alone = floats(size * LANES);
        kernel->layer_norm_backward(m, gamma, means, rstds, x, dy, alone, NULL, NULL);
        compare_bits(set, "dx alone", dxs.size, alone, dxs.of[i]);
    }
    check_sets_agree("y", ys);
    check_sets_agree("dx", dxs);
    check_sets_agree("parts", parts);
    check_sets_agree("mean and rstd", saved);
    check_margins();
}

static void check_layer_norms(void)
{
    check_group("layer norm");
    for (int live = 1; live <= 16; live++) {
        check_layer_norm(random_int(2, 200), live, 1e-5f, live % 2, 0.2f, 1);
        check_layer_norm(random_int(8, 70), live, 1e-5f, live % 3, 1e4f, 1);
        check_layer_norm(random_int(8, 70), live, 0, live % 2, 0, 1e-3f);
    }
    check_layer_norm(1, 7, 1e-5f, true, 0, 1);
    check_layer_norm(800, 16, 1e-5f, true, -1e5f, 1);
    check_layer_norm(50, 3, 0, true, 0, 0);
    check_layer_norm(50, 3, 0, false, 0.1f, 0);
    check_layer_norm(70, 3, 0, false, -777.7f, 0);
    check_group_end();
}

/* ---- Softmax cross-entropy ---------------------------------------------------------------------------------- */

static void check_loss(int k, int live, float scale, bool whole, float smoothing)
{
    check_case("softmax cross-entropy of %d%s logits by %g, %d live, smoothing %g", k, whole ? " whole" : "",
               (double)scale, live, (double)smoothing);
    const size_t size = (size_t)k, n = (size_t)live;
    float *z = random_block(size, live, 0, scale, 3e30f);
    for (size_t i = 0; i < size * LANES && whole; i++)
        z[i] = roundf(z[i]);
    uint8_t *labels = guarded(n, 1);
    const double weight = 1.0 / 37, *zs = samples_of(z, size, live);
    double *dz = doubles(n * size), *dz_bound = doubles(n * size), *loss = doubles(n), *loss_bound = doubles(n);
    int *best = guarded(n, sizeof *best);
    for (size_t i = 0; i < n; i++) {
        const double *row = zs + i * size;
        best[i] = 0;
        for (int j = 1; j < k; j++)
            best[i] = row[j] > row[best[i]] ? j : best[i];
        /* The first is taken for another class: where all are right, losses are next to nothing. */
        labels[i] = (uint8_t)(i ? random_int(0, k - 1) : (best[0] + 1) % k);
        loss[i] = ek_reference_smoothed_cross_entropy(k, row, labels[i], (double)smoothing, weight, dz + i * size);
        loss_bound[i] = sum_error(k) + ulp * loss[i];
        for (size_t j = 0; j < size; j++) {
            const double s = (double)smoothing, target = s / k + (j == labels[i] ? 1 - s : 0);
            const double p = dz[i * size + j] + target * weight, below = row[best[i]] - row[j];
            dz_bound[i * size + j] =
                p * (2 * sum_error(k) + ulp * below) + ulp * (fabs(dz[i * size + j]) + s * weight) + 1e-37;
        }
    }
    const outputs losses = new_outputs(n, sizeof(double)), predicted = new_outputs(n, sizeof(int));
    const outputs dzs = new_outputs(size * LANES, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        kernel->softmax_cross_entropy(k, z, labels, live, (float)weight, smoothing, losses.of[i], predicted.of[i],
                                      dzs.of[i]);
        compare(set, "loss", n, losses.of[i], loss, loss_bound);
        compare_bits(set, "prediction", n * sizeof *best, predicted.of[i], best);
        if (k > 1)
            compare_block(set, "dlogits", size, live, dzs.of[i], dz, dz_bound);
        check_dead(set, "dlogits", size, live, dzs.of[i], true);
        double *loss_alone = guarded(n, sizeof *loss_alone);
        kernel->softmax_cross_entropy(k, z, labels, live, (float)weight, smoothing, loss_alone, predicted.of[i],
                                      NULL);
        compare_bits(set, "loss alone", losses.size, loss_alone, losses.of[i]);
    }
    check_sets_agree("dlogits", dzs);
    check_sets_agree("predictions", predicted);
    check_sets_agree("losses", losses);
    check_margins();
}

static void check_losses(void)
{
    check_group("softmax cross-entropy");
    for (int live = 1; live <= 16; live++) {
        check_loss(live, 17 - live, 1, false, 0);
        check_loss(live, 17 - live, 1, false, 0.1f);
        check_loss(10, live, 5, false, 0);
        check_loss(10, live, 5, false, 0.3f);
        check_loss(10, live, 60, false, 0);
        check_loss(10, live, 60, false, 0.9f);
        check_loss(10, live, 2, true, 0); /* ties: the first of the largest */
        check_loss(10, live, 0, true, 0);
    }
    check_loss(256, 16, 3, false, 0);
    check_loss(256, 16, 3, false, 0.1f);
    check_group_end();
}

/* ---- Bytes, sums ----------------------------------------------------------------------------------- */

/* channels 0: no normalisation. */
static void check_gather(int size, int live, int channels)
{
    check_case("gather %d bytes of %d images, %d channels normalised", size, live, channels);
    float mean[3], std[3];
    for (int c = 0; c < channels; c++) {
        mean[c] = 0.1f + 0.2f * (float)c;
        std[c] = 0.3f - 0.07f * (float)c;
    }
    const ek_normal normal = {channels, mean, std};
    const uint8_t **images = must(calloc((size_t)live, sizeof *images));
    arrays[array_count++].plain = images;
    float *want = floats((size_t)size * LANES);
    for (int n = 0; n < live; n++) {
        uint8_t *image = guarded((size_t)size, 1);
        images[n] = image;
        for (int i = 0; i < size; i++)
            image[i] = (uint8_t)random_int(0, 255);
    }
    for (int n = 0; n < LANES; n++)
        for (int i = 0; i < size; i++) {
            const int c = channels ? i / (size / channels) : 0;
            const float x = (float)images[n < live ? n : 0][i] / 255.0f;
            want[i * LANES + n] = channels ? (x - mean[c]) / std[c] : x;
        }
    for (int i = 0; i < set_count; i++) {
        float *x = floats((size_t)size * LANES);
        sets[i]->blocked.gather(images, live, size, channels ? &normal : NULL, x);
        compare_exactly(sets[i]->name, "x", (size_t)size * LANES, x, want);
        float *values = floats((size_t)live * (size_t)size), *y = floats((size_t)size * LANES);
        for (int j = 0; j < live * size; j++)
            values[j] = (float)images[j / size][j % size] / 255.0f;
        sets[i]->blocked.load(values, live, size, channels ? &normal : NULL, y);
        compare_exactly(sets[i]->name, "x of floats", (size_t)size * LANES, y, want);
    }
    check_margins();
}

static void check_parts(size_t count, int parts, size_t stride)
{
    check_case("sum of %d parts of %zu, %zu apart", parts, count, stride);
    const float *part = random_floats((size_t)(parts - 1) * stride + count);
    float *want = floats(count);
    for (size_t i = 0; i < count; i++) {
        want[i] = part[i];
        for (int j = 1; j < parts; j++)
            want[i] += part[(size_t)j * stride + i];
    }
    for (int i = 0; i < set_count; i++) {
        float *sum = floats(count);
        sets[i]->blocked.sum_parts(count, parts, stride, part, sum);
        compare_exactly(sets[i]->name, "sum", count, sum, want);
    }
    check_margins();
}

static void check_flat(void)
{
    check_group("bytes to floats");
    for (int live = 1; live <= 16; live++)
        for (int size = live; size < 60; size += 7) {
            check_gather(size, live, 0);
            check_gather(3 * size, live, 3);
        }
    check_gather(784, 16, 0);
    check_gather(784, 16, 1);
    check_group_end();
    check_group("sums of parts");
    for (size_t count = 1; count < 40; count++)
        check_parts(count, random_int(1, 9), count + (size_t)random_int(0, 20));
    check_group_end();
}

int main(void)
{
    find_sets();
    quick = getenv("EVENKEEL_TEST_QUICK");
    random_state = 2;
    check_checker();
    check_units();
    random_state = 3; /* what follows does not depend on how many units there are */
    check_statistics();
    check_layer_norms();
    check_losses();
    check_flat();
    return check.groups_failed ? 1 : 0;
}
