/* SPDX-License-Identifier: MIT
 * The optimisers' loops of every instruction set against the reference: each optimiser, with each switch, at every
 * length from 1; the sum of squares; one step by hand. */
#include "check.h"

static const double ulp = 0x1p-23; /* of numbers near 1 */

/* What a step may add up in a value, its gradient and its state, for bounds: magnitudes, not sums. */
typedef struct terms {
    double gradient, first, second, change;
} terms;

static terms terms_of(const ek_update *u, bool decays, double scale, double d, double b, double s, double v)
{
    terms t = {.gradient = scale * fabs(d)};
    const double decay = decays ? (double)u->decay : 0, rate = (double)u->rate;
    if (u->kind != EK_ADAMW)
        t.gradient += decay * fabs(v);
    if (u->kind == EK_SGD) {
        t.first = (double)u->momentum * fabs(b) + t.gradient;
        t.change = rate * (t.gradient + (double)u->momentum * t.first);
        return t;
    }
    t.first = (double)u->beta1 * fabs(b) + (double)u->rest1 * t.gradient;
    t.second = (double)u->beta2 * s + (double)u->rest2 * t.gradient * t.gradient;
    /* The denominator from below: decay may take away from the gradient. */
    const double least = sqrt((double)u->beta2 * s) * (double)u->root + (double)u->eps;
    t.change =
        rate * t.first / least * (1 + t.second / ((double)u->beta2 * s)) + (u->kind == EK_ADAMW) * decay * fabs(v);
    return t;
}

static void check_update(const char *name, ek_update u, int states, bool decays, float scale, size_t count)
{
    check_case("%s of %zu values%s, scale %g", name, count, decays ? ", decays" : "", (double)scale);
    const float *gradient = random_floats(count), *value = random_floats(count), *first = random_floats(count);
    float *second = random_floats(count);
    for (size_t i = 0; i < count; i++)
        second[i] = fabsf(second[i]) + 0.01f;
    double *v = widened(value, count), *b = widened(first, count), *s = widened(second, count);
    double *v_bound = doubles(count), *b_bound = doubles(count), *s_bound = doubles(count);
    for (size_t i = 0; i < count; i++) {
        const terms t = terms_of(&u, decays, (double)scale, (double)gradient[i], b[i], s[i], v[i]);
        b_bound[i] = 3 * ulp * t.first;
        s_bound[i] = 4 * ulp * t.second;
        v_bound[i] = 6 * ulp * t.change + ulp * fabs(v[i]);
    }
    ek_reference_update(&u, decays, (double)scale, count, widened(gradient, count), states > 0 ? b : NULL,
                        states > 1 ? s : NULL, v);
    const outputs values = new_outputs(count, sizeof(float)), firsts = new_outputs(count, sizeof(float)),
                  seconds = new_outputs(count, sizeof(float));
    const size_t size = count * sizeof(float);
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        memcpy(values.of[i], value, size);
        memcpy(firsts.of[i], first, size);
        memcpy(seconds.of[i], second, size);
        if (u.kind == EK_SGD)
            kernel->sgd(count, &u, decays, scale, gradient, states > 0 ? firsts.of[i] : NULL, values.of[i]);
        else
            kernel->adam(count, &u, decays, scale, gradient, firsts.of[i], seconds.of[i], values.of[i]);
        compare_floats(sets[i]->name, "value", count, values.of[i], v, v_bound);
        if (states > 0)
            compare_floats(sets[i]->name, "first state", count, firsts.of[i], b, b_bound);
        if (states > 1)
            compare_floats(sets[i]->name, "second state", count, seconds.of[i], s, s_bound);
    }
    check_sets_agree("values", values);
    check_sets_agree("first states", firsts);
    check_sets_agree("second states", seconds);
    check_margins();
}

static void check_updates(void)
{
    static const struct {
        const char *name;
        ek_update u;
        int states;
    } updates[] = {
        {"sgd", {.rate = 0.37f, .decay = 0.2f}, 0},
        {"momentum", {.rate = 0.37f, .decay = 0.2f, .momentum = 0.9f}, 1},
        {"nesterov", {.rate = 0.37f, .decay = 0.2f, .momentum = 0.7f, .nesterov = true}, 1},
        {"adam",
         {EK_ADAM, .rate = 0.1f, .decay = 0.3f, .beta1 = 0.9f, .rest1 = 0.1f, .beta2 = 0.99f, .rest2 = 0.01f,
          .root = 1.5f, .eps = 0.02f},
         2},
        {"adamw",
         {EK_ADAMW, .rate = 0.1f, .decay = 0.3f, .beta1 = 0.9f, .rest1 = 0.1f, .beta2 = 0.99f, .rest2 = 0.01f,
          .root = 1.5f, .eps = 0.02f},
         2},
    };
    for (size_t k = 0; k < sizeof updates / sizeof *updates; k++) {
        char group[64];
        snprintf(group, sizeof group, "%s", updates[k].name);
        check_group(group);
        for (size_t count = 1; count < 70; count++)
            check_update(updates[k].name, updates[k].u, updates[k].states, count % 2, count % 3 ? 1 : 0.3f, count);
        check_update(updates[k].name, updates[k].u, updates[k].states, true, 1, 4096);
        check_group_end();
    }
}

static void check_squares(void)
{
    check_group("sums of squares");
    for (size_t count = 1; count < 70; count++) {
        check_case("squares of %zu values", count);
        const float *x = random_floats(count);
        double want = 0;
        for (size_t i = 0; i < count; i++)
            want += (double)x[i] * (double)x[i];
        double first = 0;
        for (int i = 0; i < set_count; i++) {
            const double got = sets[i]->blocked.sum_squares(count, x), bound = 1e-14 * want;
            compare(sets[i]->name, "sum", 1, &got, &want, &bound);
            first = i ? first : got;
            compare_bits(sets[i]->name, "sum", sizeof got, &got, &first); /* the baseline's too: squares are exact */
        }
        check_margins();
    }
    check_case("squares beyond float's range");
    const float x[2] = {3e38f, -1e30f};
    const double want = (double)x[0] * (double)x[0] + (double)x[1] * (double)x[1], bound = 1e-14 * want;
    for (int i = 0; i < set_count; i++) {
        const double got = sets[i]->blocked.sum_squares(2, x);
        compare(sets[i]->name, "sum", 1, &got, &want, &bound);
    }
    check_group_end();
}

/* Numbers worked out by hand, so that kernel and reference cannot be wrong together. */
static void check_by_hand(void)
{
    check_group("one step by hand");
    const struct {
        ek_update u;
        double value, first, second;
    } cases[] = {
        /* v 1, d 0.5, b 2, s 4. g = 0.5 + 0.25*1 = 0.75 */
        {{.rate = 0.5f, .decay = 0.25f}, 0.625, 2, 4},                                         /* 1 - 0.5*0.75 */
        {{.rate = 0.5f, .decay = 0.25f, .momentum = 0.5f}, 0.125, 1.75, 4},                    /* b = 1 + 0.75 */
        {{.rate = 0.5f, .decay = 0.25f, .momentum = 0.5f, .nesterov = true}, 0.1875, 1.75, 4}, /* 0.75 + 0.875 */
        /* m = 1 + 0.375 = 1.375, s = 4*0.75 + 0.25*0.5625 = 3.140625 */
        {{EK_ADAM, .rate = 0.5f, .decay = 0.25f, .beta1 = 0.5f, .rest1 = 0.5f, .beta2 = 0.75f, .rest2 = 0.25f,
          .root = 2, .eps = 1},
         1 - 0.5 * 1.375 / (1.7721808 * 2 + 1),
         1.375,
         3.140625},
        /* g = 0.5: m = 1.25, s = 3.0625 = 1.75^2; v = 0.75 first */
        {{EK_ADAMW, .rate = 0.5f, .decay = 0.25f, .beta1 = 0.5f, .rest1 = 0.5f, .beta2 = 0.75f, .rest2 = 0.25f,
          .root = 2, .eps = 1},
         0.75 - 0.5 * 1.25 / 4.5,
         1.25,
         3.0625},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        check_case("case %zu", k);
        const bool states = cases[k].u.kind != EK_SGD || cases[k].u.momentum > 0;
        for (int i = 0; i < set_count; i++) {
            const float d = 0.5f;
            float now[3] = {1, 2, 4};
            if (cases[k].u.kind == EK_SGD)
                sets[i]->blocked.sgd(1, &cases[k].u, true, 1, &d, states ? now + 1 : NULL, now);
            else
                sets[i]->blocked.adam(1, &cases[k].u, true, 1, &d, now + 1, now + 2, now);
            const double want[3] = {cases[k].value, cases[k].first, cases[k].second}, bound[3] = {3e-7, 3e-7, 3e-7};
            const double got[3] = {(double)now[0], (double)now[1], (double)now[2]};
            compare(sets[i]->name, "value and states", 3, got, want, bound);
        }
    }
    check_group_end();
}

int main(void)
{
    find_sets();
    random_state = 4;
    check_updates();
    check_squares();
    check_by_hand();
    return check.groups_failed ? 1 : 0;
}
