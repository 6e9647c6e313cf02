/* SPDX-License-Identifier: MIT
 * Kernels on the blocked layout of nets. */
#ifndef EK_CPU_KERNEL_BLOCKED_H
#define EK_CPU_KERNEL_BLOCKED_H

typedef struct ek_blocked_kernels {
    int unused;
} ek_blocked_kernels;

#endif
