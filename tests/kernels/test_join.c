/* SPDX-License-Identifier: MIT
 * Residual sums on the blocked layout against the reference, on every instruction set. */
#include "check.h"
#include "op/norm.h"
#include "op/reference.h"

static const double ulp = 0x1p-23; /* of numbers near 1 */

/* One sum on one block: arrays, the norm's numbers, what forward gives and how far rounding may take it. */
typedef struct join_data {
    ek_join j;
    int live;
    size_t size, r_size, plane; /* values of a sample, of a channel */
    float *x, *r, *dy, *more;
    double *xs, *rs, *dys, *mores, *y, *y_bound;
    double *mean, *rstd, *gamma, *beta;
    ek_norm_channel *norm;
    ek_norm_gradient *gradient;
} join_data;

static void set_norm(join_data *d)
{
    const size_t c = (size_t)d->j.c;
    double *var = doubles(c);
    d->mean = doubles(c);
    d->rstd = doubles(c);
    d->gamma = doubles(c);
    d->beta = doubles(c);
    d->norm = guarded(c, sizeof *d->norm);
    d->gradient = guarded(c, sizeof *d->gradient);
    ek_reference_batch_statistics((ek_shape){.n = d->live, .c = d->j.c, .h = d->j.h, .w = d->j.w}, d->xs, d->mean,
                                  var);
    for (size_t i = 0; i < c; i++) {
        const float high = (float)d->mean[i], low = (float)(d->mean[i] - (double)high);
        d->gamma[i] = (double)random_value();
        d->beta[i] = (double)random_value();
        d->rstd[i] = ek_norm_rstd(var[i], 1e-5);
        const float scale = (float)(d->gamma[i] * d->rstd[i]);
        d->norm[i] = (ek_norm_channel){.mean = high, .mean_low = low, .scale = scale, .shift = (float)d->beta[i]};
        d->gradient[i] = (ek_norm_gradient){.mean = high, .mean_low = low, .scale = scale};
    }
}

/* z errs by a few units of its terms, y by z's error times the slope and a few units of its own. */
static void set_forward(join_data *d)
{
    const size_t all = (size_t)d->live * d->size;
    const ek_reference_norm norm = {d->mean, d->rstd, d->gamma, d->beta, true, EK_NORMALIZE_BOTH};
    double *normed = doubles(all), *zero = doubles((size_t)d->live * d->r_size), *z = doubles(all);
    ek_join linear = d->j;
    linear.activation = EK_IDENTITY;
    d->y = doubles(all);
    d->y_bound = doubles(all);
    ek_reference_join(&linear, d->live, &norm, d->xs, zero, normed);
    ek_reference_join(&linear, d->live, &norm, d->xs, d->rs, z);
    ek_reference_join(&d->j, d->live, &norm, d->xs, d->rs, d->y);
    for (size_t i = 0; i < all; i++) {
        const size_t c = i / d->plane % (size_t)d->j.c;
        const double added = d->j.norm ? fabs(normed[i] - d->beta[c]) + fabs(d->beta[c]) : 0;
        const double bound = ulp * (3 * added + fabs(z[i]) + 1e-30);
        d->y_bound[i] = d->j.activation == EK_SIGMOID ? bound * d->y[i] * (1 - d->y[i]) + 4 * ulp * d->y[i]
                        : d->j.activation == EK_TANH  ? bound + 3 * ulp * fabs(d->y[i])
                                                      : bound;
    }
}

static join_data new_join(ek_join j, int live, float offset)
{
    join_data d = {.j = j, .live = live, .plane = (size_t)j.h * (size_t)j.w};
    d.size = (size_t)j.c * d.plane;
    d.r_size = (size_t)j.rc * (size_t)j.rh * (size_t)j.rw;
    d.x = random_block(d.size, live, offset, 1, 0.25f);
    d.r = random_block(d.r_size, live, 0, 1, -0.5f);
    d.dy = random_block(d.size, live, 0, 1, 0);
    d.more = random_block(d.size, live, 0, 1, 0);
    d.xs = samples_of(d.x, d.size, live);
    d.rs = samples_of(d.r, d.r_size, live);
    d.dys = samples_of(d.dy, d.size, live);
    d.mores = samples_of(d.more, d.size, live);
    set_norm(&d);
    set_forward(&d);
    return d;
}

/* Backward with both addends or one, from the y that forward gave. */
static void check_sums(const ek_kernels *set, const join_data *d, const float *y, bool two, float *dz,
                       ek_norm_sums *sums)
{
    const size_t all = (size_t)d->live * d->size, c = (size_t)d->j.c, bytes = d->size * LANES * sizeof *dz;
    double *dy = doubles(all), *want = doubles(all), *dr = doubles((size_t)d->live * d->r_size),
           *bound = doubles(all);
    for (size_t i = 0; i < all; i++)
        dy[i] = d->dys[i] + (two ? d->mores[i] : 0);
    ek_reference_join_backward(&d->j, d->live, samples_of(y, d->size, d->live), dy, want, dr);
    for (size_t i = 0; i < all; i++)
        bound[i] = ulp * (3 * fabs(want[i]) + 1e-30);
    const double *ys = samples_of(y, d->size, d->live);
    for (size_t i = 0; i < all && d->j.activation == EK_SIGMOID; i++) /* y*(1 - y) where y is near 1 */
        bound[i] += ulp * fabs(dy[i]) * ys[i] * ys[i];
    for (size_t i = 0; i < all && d->j.activation == EK_TANH; i++) /* 1 - y*y, likewise */
        bound[i] += ulp * fabs(dy[i]);
    const float *more = two ? d->more : NULL, *reads_y = d->j.activation == EK_IDENTITY ? NULL : y;
    const ek_norm_gradient *norm = d->j.norm ? d->gradient : NULL;
    const float *x = d->j.norm ? d->x : NULL;
    set->blocked.join_sums(&d->j, norm, x, reads_y, d->dy, more, d->live, dz, d->j.norm ? sums : NULL);
    compare_block(set->name, "dz", d->size, d->live, dz, want, bound);
    check_dead(set->name, "dz", d->size, d->live, dz, true);
    double *got = doubles(2 * c), *sum = doubles(2 * c), *sum_bound = doubles(2 * c);
    for (size_t i = 0; i < all && d->j.norm; i++) {
        const size_t channel = i / d->plane % c;
        const double centred = d->xs[i] - d->mean[channel];
        sum[channel] += want[i];
        sum[c + channel] += want[i] * centred;
        sum_bound[channel] += fabs(want[i]) * sum_error((double)d->plane) + bound[i];
        sum_bound[c + channel] += fabs(want[i] * centred) * sum_error((double)d->plane) + bound[i] * fabs(centred);
        got[channel] = sums[channel].dz;
        got[c + channel] = sums[channel].dz_x;
    }
    if (d->j.norm && all > c)
        compare(set->name, "sums", 2 * c, got, sum, sum_bound);
    /* In the places where it may be. */
    float *const places[] = {floats(d->size * LANES), floats(d->size * LANES), floats(d->size * LANES)};
    memcpy(places[0], d->dy, bytes);
    memcpy(places[1], d->more, bytes);
    memcpy(places[2], y, bytes);
    for (int i = 0; i < 3; i++) {
        if ((i == 1 && !two) || (i == 2 && !reads_y))
            continue;
        set->blocked.join_sums(&d->j, norm, x, i == 2 ? places[2] : reads_y, i == 0 ? places[0] : d->dy,
                               i == 1 ? places[1] : more, d->live, places[i], d->j.norm ? sums : NULL);
        compare_bits(set->name, "dz in another's place", bytes, places[i], dz);
    }
}

static void check_shortcut(const ek_kernels *set, const join_data *d, float *dr)
{
    const size_t all = (size_t)d->live * d->size;
    double *dz = doubles(all), *want = doubles((size_t)d->live * d->r_size);
    ek_join linear = d->j;
    linear.activation = EK_IDENTITY;
    ek_reference_join_backward(&linear, d->live, d->y, d->dys, dz, want);
    set->blocked.shortcut_backward(&d->j, d->dy, dr);
    compare_block(set->name, "dr", d->r_size, d->live, dr, want, bounds(want, (size_t)d->live * d->r_size, 0, 1e-30));
    check_dead(set->name, "dr", d->r_size, d->live, dr, true);
}

static void check_join(ek_join j, int live, float offset)
{
    check_case("join %dx%dx%d%s%s, shortcut %dx%dx%d by %d, %d live, x around %g", j.c, j.h, j.w,
               j.norm ? ", norm" : "",
               j.activation == EK_SIGMOID      ? ", sigmoid"
               : j.activation == EK_RELU       ? ", relu"
               : j.activation == EK_LEAKY_RELU ? ", leaky relu"
               : j.activation == EK_TANH       ? ", tanh"
                                               : "",
               j.rc, j.rh, j.rw, j.stride, live, (double)offset);
    const join_data d = new_join(j, live, offset);
    const outputs y = new_outputs(d.size * LANES, sizeof(float)), dz = new_outputs(d.size * LANES, sizeof(float));
    const outputs dr = new_outputs(d.r_size * LANES, sizeof(float)),
                  sums = new_outputs((size_t)j.c, sizeof(ek_norm_sums));
    for (int i = 0; i < set_count; i++) {
        const ek_norm_channel *norm = j.norm ? d.norm : NULL;
        sets[i]->blocked.join_forward(&j, norm, d.x, d.r, y.of[i]);
        compare_block(sets[i]->name, "y", d.size, live, y.of[i], d.y, d.y_bound);
        check_dead(sets[i]->name, "y", d.size, live, y.of[i], false);
        float *place = memcpy(floats(d.size * LANES), d.x, y.size);
        sets[i]->blocked.join_forward(&j, norm, place, d.r, place);
        compare_bits(sets[i]->name, "y in the place of x", y.size, place, y.of[i]);
        if (ek_join_is_plain(&j)) {
            memcpy(place, d.r, y.size);
            sets[i]->blocked.join_forward(&j, norm, d.x, place, place);
            compare_bits(sets[i]->name, "y in the place of r", y.size, place, y.of[i]);
        }
        check_sums(sets[i], &d, y.of[i], false, dz.of[i], sums.of[i]);
        check_sums(sets[i], &d, y.of[i], true, dz.of[i], sums.of[i]);
        check_shortcut(sets[i], &d, dr.of[i]);
    }
    check_sets_agree("y", y);
    check_sets_agree("dz", dz);
    check_sets_agree("dr", dr);
    if (j.norm)
        check_sets_agree("sums", sums);
    check_margins();
}

static ek_join random_join(bool norm, ek_activation activation, bool plain)
{
    ek_join j = {.norm = norm,
                 .activation = activation,
                 .rc = random_int(1, 9),
                 .rh = random_int(1, 13),
                 .rw = random_int(1, 9),
                 .stride = plain ? 1 : random_int(1, 3),
                 .negative_slope = 0.3f};
    j.c = plain ? j.rc : j.rc + random_int(0, 9);
    j.h = (j.rh + j.stride - 1) / j.stride;
    j.w = (j.rw + j.stride - 1) / j.stride;
    return j;
}

static void check_joins(void)
{
    const bool quick = getenv("EVENKEEL_TEST_QUICK"); /* under emulators and sanitizers */
    const int side = quick ? 16 : 32;
    static const ek_activation activations[] = {EK_IDENTITY, EK_SIGMOID, EK_RELU, EK_LEAKY_RELU, EK_TANH};
    for (size_t f = 0; f < sizeof activations / sizeof *activations; f++)
        for (int norm = 0; norm < 2; norm++) {
            char name[80];
            snprintf(name, sizeof name, "sums, activation %d%s", (int)activations[f], norm ? ", norm" : "");
            check_group(name);
            for (int live = 1; live <= 16; live += quick ? 3 : 1)
                for (int plain = 0; plain < 2; plain++)
                    check_join(random_join(norm, activations[f], plain), live, live % 5 || !norm ? 0 : 1e4f);
            check_join((ek_join){16, side, side, norm, activations[f], 1, 16, side, side, 0.2f}, 16, 0);
            check_join((ek_join){32, side / 2, side / 2, norm, activations[f], 2, 16, side, side, 0.2f}, 16, 0);
            check_group_end();
        }
}

static void check_add(void)
{
    check_group("two gradients added");
    for (size_t count = 16; count < 200; count += 16) {
        check_case("%zu values", count);
        float *a = random_floats(count), *b = random_floats(count), *want = floats(count);
        for (size_t i = 0; i < count; i++)
            want[i] = a[i] + b[i];
        for (int i = 0; i < set_count; i++) {
            float *sum = floats(count), *place = memcpy(floats(count), b, count * sizeof *b);
            sets[i]->blocked.add(count, a, b, sum);
            compare_bits(sets[i]->name, "sum", count * sizeof *a, sum, want);
            sets[i]->blocked.add(count, a, place, place);
            compare_bits(sets[i]->name, "sum in the place of an addend", count * sizeof *a, place, want);
        }
        check_margins();
    }
    check_group_end();
}

int main(void)
{
    find_sets();
    random_state = 5;
    check_checker();
    check_joins();
    check_add();
    return check.groups_failed ? 1 : 0;
}
