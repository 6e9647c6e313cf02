/* SPDX-License-Identifier: MIT
 * One instruction set's table of kernels. */
#include "cpu/dispatch.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

#define EK_TEXT_(x) #x
#define EK_TEXT(x) EK_TEXT_(x)

extern const ek_kernels EK_KERNEL(kernels);

const ek_kernels EK_KERNEL(kernels) = {
    .name = EK_TEXT(EK_ISA),
};
