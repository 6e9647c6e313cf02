/* SPDX-License-Identifier: MIT
 * Activation functions in all lanes: op/op.h's formulas in the words of simd.h. */
#ifndef EK_CPU_KERNEL_ACTIVATION_H
#define EK_CPU_KERNEL_ACTIVATION_H

#include "cpu/kernel/simd.h"
#include "op/op.h"

EK_INLINE ek_v16 ek_activate(const ek_activation activation, ek_v16 z)
{
    switch (activation) {
    case EK_SIGMOID:
        return ek_logistic(z);
    case EK_RELU:
        return ek_max(ek_zero(), z);
    case EK_IDENTITY:
        break;
    }
    return z;
}

/* f'(z) by a = f(z), times da. */
EK_INLINE ek_v16 ek_activation_gradient(const ek_activation activation, ek_v16 a, ek_v16 da)
{
    switch (activation) {
    case EK_SIGMOID:
        return ek_mul(da, ek_fnma(a, a, a));
    case EK_RELU:
        return ek_above(a, ek_zero(), da, ek_zero());
    case EK_IDENTITY:
        break;
    }
    return da;
}

#endif
