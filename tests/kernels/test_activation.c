/* SPDX-License-Identifier: MIT
 * Activations, value by value, against the reference: a dense sample of all floats, the numbers around the places where
 * formulas meet, infinities and NaN, on every instruction set. */
#include "check.h"
#include "op/reference.h"

enum { MOST = 1 << 17 };

typedef struct accuracy {
    ek_activation activation;
    const char *name;
    double ulps;  /* of a, relative */
    double floor; /* and absolute */
    double slope; /* error of f' by z, in units of 2^-24; 0: backward goes by a */
} accuracy;

/* What the headers promise. The approximated gelu errs as its exponent does, which is rounded once at up to 87. */
static const accuracy promised[] = {
    {EK_SIGMOID, "sigmoid", 4, 0x1p-124, 0},
    {EK_RELU, "relu", 0, 0, 0},
    {EK_LEAKY_RELU, "leaky relu", 1, 0x1p-149, 0},
    {EK_TANH, "tanh", 2, 0, 0},
    {EK_GELU, "gelu", 6, 0x1p-125, 8},
    {EK_GELU_TANH, "gelu by tanh", 200, 0x1p-121, 100},
};

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Numbers with every exponent and sign, evenly in their bits from a random one on; then those about which formulas
 * change. */
static size_t sample(float *x, size_t room)
{
    size_t count = 0;
    for (uint64_t bits = random_bits() % 50000; bits < UINT64_C(1) << 32 && count + 512 < room; bits += 65521)
        if (isfinite(from_bits((uint32_t)bits)))
            x[count++] = from_bits((uint32_t)bits);
    static const float about[] = {0.0f,  0.625f, 0.75179f, 3.0f,  9.0f,  9.96f,
                                  10.0f, 13.2f,  14.0f,    44.0f, 87.3f, 88.3f};
    for (size_t i = 0; i < sizeof about / sizeof *about; i++)
        for (int step = -8; step <= 8; step++) {
            const float at = about[i] * (1 + (float)step * 0x1p-22f);
            x[count++] = at;
            x[count++] = -at;
        }
    while (count % 16)
        x[count++] = 0.5f;
    return count;
}

/* Half the distance of neighbouring floats there, at least the smallest's. */
static double half_ulp(double y)
{
    int exponent;
    frexp(y, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 25);
}

static void check_values(const accuracy *p, size_t count, const float *x, const outputs y)
{
    const double leak = 0.3f;
    double worst = 0;
    for (int i = 0; i < set_count; i++) {
        const float *got = y.of[i];
        for (size_t j = 0; j < count; j++) {
            const double want = ek_reference_activation(p->activation, leak, (double)x[j]);
            const double error = fabs((double)got[j] - want), unit = 2 * half_ulp(want);
            /* What sums of exponents without fused multiply-adds lose. */
            const double ulps = has_fma(sets[i]) ? p->ulps : 1.5 * p->ulps;
            if (fabs(want) > 4 * p->floor && error / unit > worst)
                worst = error / unit;
            if (!(error <= ulps * unit + p->floor))
                check_fail("%s: f(%.9g) = %.9g, not %.9g: %.2f ulp", sets[i]->name, (double)x[j], (double)got[j],
                           want, error / unit);
        }
    }
    printf("# %s: %.2f ulp at most, of %zu values\n", p->name, worst, count);
}

static void check_slopes(const accuracy *p, size_t count, const float *x, const float *one, const outputs dx)
{
    double worst = 0;
    const ek_unit u = {.c = (int)count / LANES, .h = 1, .w = 1, .activation = p->activation, .pool = 1};
    for (int i = 0; i < set_count; i++) {
        float *got = dx.of[i];
        sets[i]->blocked.unit_backward(&u, NULL, x, NULL, one, LANES, got);
        for (size_t j = 0; j < count; j++) {
            const double want = ek_reference_activation_slope(p->activation, 0, (double)x[j]);
            const double error = fabs((double)got[j] - want) * 0x1p24;
            worst = error > worst ? error : worst;
            if (!(error <= p->slope))
                check_fail("%s: f'(%.9g) = %.9g, not %.9g", sets[i]->name, (double)x[j], (double)got[j], want);
        }
    }
    printf("# slope of %s: off by %.2f units of 2^-24 at most\n", p->name, worst);
}

/* Infinities and NaN, the reference's answers: exactly, and NaN for NaN. */
static void check_special(const accuracy *p)
{
    float *x = floats(LANES), *y = floats(LANES), *dy = floats(LANES), *dx = floats(LANES);
    for (int i = 0; i < LANES; i++) {
        x[i] = i % 4 == 0 ? INFINITY : i % 4 == 1 ? -INFINITY : i % 4 == 2 ? NAN : 0;
        dy[i] = 1;
    }
    const ek_unit u = {.c = 1, .h = 1, .w = 1, .activation = p->activation, .pool = 1, .negative_slope = 0.3f};
    const bool by_output = ek_activation_by_output(p->activation);
    for (int i = 0; i < set_count; i++) {
        sets[i]->blocked.unit_forward(&u, NULL, x, NULL, y);
        sets[i]->blocked.unit_backward(&u, NULL, x, by_output ? y : NULL, dy, LANES, dx);
        for (int j = 0; j < LANES; j++) {
            const float want = (float)ek_reference_activation(p->activation, u.negative_slope, (double)x[j]);
            const float slope = (float)ek_reference_activation_slope(p->activation, u.negative_slope, (double)x[j]);
            if (isnan(x[j]) ? !isnan(y[j]) : isinf(want) ? y[j] != want : !(fabsf(y[j] - want) <= 0x1p-120f))
                check_fail("%s: f(%g) = %g, not %g", sets[i]->name, (double)x[j], (double)y[j], (double)want);
            if (isnan(x[j]) ? !by_output && !isnan(dx[j]) : !(fabsf(dx[j] - slope) <= 0x1p-20f))
                check_fail("%s: f'(%g) = %g, not %g", sets[i]->name, (double)x[j], (double)dx[j], (double)slope);
        }
    }
}

static void check_activation(const accuracy *p)
{
    char name[80];
    snprintf(name, sizeof name, "values of %s", p->name);
    check_group(name);
    check_case("%s", p->name);
    float *x = floats(MOST), *one = floats(MOST);
    const size_t count = sample(x, MOST);
    const outputs y = new_outputs(count, sizeof(float)), dx = new_outputs(count, sizeof(float));
    const ek_unit u = {
        .c = (int)count / LANES, .h = 1, .w = 1, .activation = p->activation, .pool = 1, .negative_slope = 0.3f};
    for (size_t i = 0; i < MOST; i++)
        one[i] = 1;
    for (int i = 0; i < set_count; i++)
        sets[i]->blocked.unit_forward(&u, NULL, x, NULL, y.of[i]);
    check_values(p, count, x, y);
    if (p->slope > 0)
        check_slopes(p, count, x, one, dx);
    check_special(p);
    check_sets_agree("values", y);
    check_sets_agree("slopes", dx);
    check_margins();
    check_group_end();
}

int main(void)
{
    find_sets();
    random_state = 11;
    check_checker();
    for (size_t i = 0; i < sizeof promised / sizeof *promised; i++)
        check_activation(&promised[i]);
    return check.groups_failed ? 1 : 0;
}
