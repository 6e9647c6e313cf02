/* SPDX-License-Identifier: MIT
 * Activation functions in all lanes: op/op.h's formulas in the words of simd.h. */
#ifndef EK_CPU_KERNEL_ACTIVATION_H
#define EK_CPU_KERNEL_ACTIVATION_H

#include "cpu/kernel/simd.h"
#include "op/op.h"

EK_INLINE ek_v16 ek_magnitude(ek_v16 x)
{
    return ek_max(x, ek_sub(ek_zero(), x));
}

/* tanh(z) to 2 ulp: below 0.625 z + z^3*p(z^2), p to 2^-27 of the whole; above 1 - 2/(1 + exp(2|z|)). */
EK_INLINE ek_v16 ek_tanh(ek_v16 z)
{
    const ek_v16 t = ek_magnitude(z), square = ek_mul(z, z);
    ek_v16 p = ek_set(-0x1.75e1a8p-8f);
    p = ek_fma(p, square, ek_set(0x1.522692p-6f));
    p = ek_fma(p, square, ek_set(-0x1.b83c58p-5f));
    p = ek_fma(p, square, ek_set(0x1.110726p-3f));
    p = ek_fma(p, square, ek_set(-0x1.555532p-2f));
    const ek_v16 small = ek_fma(ek_mul(p, square), z, z);
    const ek_v16 exp = ek_exp(ek_add(t, t));
    const ek_v16 large = ek_sub(ek_set(1.0f), ek_div(ek_set(2.0f), ek_add(exp, ek_set(1.0f))));
    const ek_v16 outer = ek_above(z, ek_zero(), large, ek_sub(ek_zero(), large));
    return ek_above(t, ek_set(0.625f), outer, small);
}

/* ---- Gelu ---- */

/* What gelu and its slope are made of: z without what lies so far out that nothing changes there any more (infinities
 * among it), exp(-z^2/2), and the normal distribution beyond |z|. */
typedef struct ek_gelu_parts {
    ek_v16 z, density, beyond;
} ek_gelu_parts;

/* exp(-t^2/2) for t in [0, 14]: t^2/2 = h^2/2 + (t - h)*(t + h)/2, where h has twelve bits, so that h^2 is exact and
 * the rest, at most 0.03, joins what exp has left after its reduction. Exact to 2 ulp as far as t = 13.2, from where on
 * it is 0: less than 2^-125 in place of less than 2^-126. */
EK_INLINE ek_v16 ek_bell(ek_v16 t)
{
    const ek_v16 magic = ek_set(12582912.0f), cut = ek_set(49152.0f); /* 1.5*2^15: a unit of it is 2^-8 */
    const ek_v16 h = ek_sub(ek_add(t, cut), cut);
    const ek_v16 high = ek_mul(ek_mul(h, h), ek_set(-0.5f));
    const ek_v16 low = ek_mul(ek_mul(ek_sub(t, h), ek_add(t, h)), ek_set(-0.5f));
    const ek_v16 shifted = ek_fma(high, ek_set(0x1.715476p+0f), magic);
    const ek_v16 n = ek_sub(shifted, magic);
    ek_v16 s = ek_fma(n, ek_set(-0x1.62e4p-1f), high);
    s = ek_fma(n, ek_set(-0x1.7f7d1cp-20f), s);
    const ek_v16 y = ek_exp_reduced(1.0f, ek_add(s, low), shifted);
    return ek_above(t, ek_set(13.2f), ek_zero(), ek_if_nan(t, y));
}

/* The distribution beyond t, 1 - Phi(t) = exp(-t^2/2)*m(t): m falls from 1/2 to 0.03 on [0, 14], a polynomial in
 * q = (t - 3)/(t + 3) (relative error 2^-27). */
EK_INLINE ek_gelu_parts ek_gelu_of(ek_v16 z)
{
    ek_gelu_parts g;
    z = ek_max(ek_set(-14.0f), z);
    g.z = ek_min(ek_set(14.0f), z);
    const ek_v16 t = ek_magnitude(g.z);
    const ek_v16 q = ek_div(ek_sub(t, ek_set(3.0f)), ek_add(t, ek_set(3.0f)));
    ek_v16 m = ek_set(0x1.c23becp-15f);
    m = ek_fma(m, q, ek_set(0x1.e4a060p-14f));
    m = ek_fma(m, q, ek_set(-0x1.63f9dcp-12f));
    m = ek_fma(m, q, ek_set(-0x1.01e2ecp-10f));
    m = ek_fma(m, q, ek_set(0x1.7cb4bcp-9f));
    m = ek_fma(m, q, ek_set(0x1.91df14p-8f));
    m = ek_fma(m, q, ek_set(-0x1.7a944cp-5f));
    m = ek_fma(m, q, ek_set(0x1.f8bad0p-4f));
    m = ek_fma(m, q, ek_set(-0x1.a6b66ap-3f));
    m = ek_fma(m, q, ek_set(0x1.f1b89cp-4f));
    g.density = ek_bell(t);
    g.beyond = ek_mul(g.density, m);
    return g;
}

/* Phi(z). */
EK_INLINE ek_v16 ek_gelu_below(ek_gelu_parts g)
{
    return ek_above(g.z, ek_zero(), ek_sub(ek_set(1.0f), g.beyond), g.beyond);
}

/* To 6 ulp, and to 2^-125 where it is smaller. */
EK_INLINE ek_v16 ek_gelu_exact(ek_v16 z)
{
    return ek_mul(ek_max(ek_set(-14.0f), z), ek_gelu_below(ek_gelu_of(z)));
}

EK_INLINE ek_v16 ek_gelu_slope(ek_v16 z)
{
    const ek_gelu_parts g = ek_gelu_of(z);
    return ek_fma(ek_mul(g.z, g.density), ek_set(0x1.988454p-2f), ek_gelu_below(g)); /* 1/sqrt(2*pi) */
}

/* (1 + tanh(u))/2 = 1/(1 + exp(-2u)), 2u = z*(a + b*z^2), for |z| <= 10: beyond, it is 0 or 1 to 10^-37. */
EK_INLINE ek_v16 ek_gelu_share(ek_v16 z)
{
    const ek_v16 a = ek_set(0x1.988454p+0f), b = ek_set(0x1.2444f2p-4f); /* 2*sqrt(2/pi), 0.044715 times that */
    return ek_logistic(ek_mul(z, ek_fma(ek_mul(z, z), b, a)));
}

EK_INLINE ek_v16 ek_gelu_tanh(ek_v16 z)
{
    z = ek_max(ek_set(-10.0f), z);
    return ek_mul(z, ek_gelu_share(ek_min(ek_set(10.0f), z)));
}

EK_INLINE ek_v16 ek_gelu_tanh_slope(ek_v16 z)
{
    z = ek_min(ek_set(10.0f), ek_max(ek_set(-10.0f), z));
    const ek_v16 s = ek_gelu_share(z), slope = ek_fma(ek_mul(z, z), ek_set(0x1.b6676cp-3f), ek_set(0x1.988454p+0f));
    return ek_fma(ek_mul(z, slope), ek_fnma(s, s, s), s);
}

/* ---- All ---- */

/* negative_slope: of EK_LEAKY_RELU. */
EK_INLINE ek_v16 ek_activate(const ek_activation activation, const float negative_slope, ek_v16 z)
{
    switch (activation) {
    case EK_SIGMOID:
        return ek_logistic(z);
    case EK_RELU:
        return ek_max(ek_zero(), z);
    case EK_LEAKY_RELU:
        return ek_above(z, ek_zero(), z, ek_mul(z, ek_set(negative_slope)));
    case EK_TANH:
        return ek_tanh(z);
    case EK_GELU:
        return ek_gelu_exact(z);
    case EK_GELU_TANH:
        return ek_gelu_tanh(z);
    case EK_IDENTITY:
        break;
    }
    return z;
}

/* f'(z) times da, by a = f(z) of an activation that goes by its output, by z of others. */
EK_INLINE ek_v16 ek_activation_gradient(const ek_activation activation, const float negative_slope, ek_v16 by,
                                        ek_v16 da)
{
    switch (activation) {
    case EK_SIGMOID:
        return ek_mul(da, ek_fnma(by, by, by));
    case EK_RELU:
        return ek_above(by, ek_zero(), da, ek_zero());
    case EK_LEAKY_RELU:
        return ek_above(by, ek_zero(), da, ek_mul(da, ek_set(negative_slope)));
    case EK_TANH:
        return ek_mul(da, ek_fnma(by, by, ek_set(1.0f)));
    case EK_GELU:
        return ek_mul(da, ek_gelu_slope(by));
    case EK_GELU_TANH:
        return ek_mul(da, ek_gelu_tanh_slope(by));
    case EK_IDENTITY:
        break;
    }
    return da;
}

#endif
