/* SPDX-License-Identifier: MIT
 * Kernels on plain row-major arrays. */
#ifndef EK_CPU_KERNEL_PLAIN_H
#define EK_CPU_KERNEL_PLAIN_H

typedef struct ek_plain_kernels {
    int unused;
} ek_plain_kernels;

#endif
