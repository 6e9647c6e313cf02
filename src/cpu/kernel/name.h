/* SPDX-License-Identifier: MIT
 * Names of kernels: EK_KERNEL(bn_stats) is ek_bn_stats_avx2 in the AVX2 build. EK_ISA comes from the build. */
#ifndef EK_CPU_KERNEL_NAME_H
#define EK_CPU_KERNEL_NAME_H

#define EK_PASTE_(name, isa) ek_##name##_##isa
#define EK_PASTE(name, isa) EK_PASTE_(name, isa)
#define EK_KERNEL(name) EK_PASTE(name, EK_ISA)

#endif
