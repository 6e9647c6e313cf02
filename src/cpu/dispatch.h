/* SPDX-License-Identifier: MIT
 * Which build of the kernels this processor gets. */
#ifndef EK_CPU_DISPATCH_H
#define EK_CPU_DISPATCH_H

#include "base/status.h"
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/plain.h"
#include "cpu/kernel/single.h"

/* One instruction set's kernels. */
typedef struct ek_kernels {
    const char *name;           /* "avx2" */
    ek_blocked_kernels blocked; /* on the blocked layout of nets */
    ek_plain_kernels plain;     /* on plain row-major arrays */
    ek_single_kernels single;   /* on the values of one sample */
} ek_kernels;

/* The kernels in use, chosen on the first call (see ek_cpu). NULL with EK_ERR_UNSUPPORTED's message when
 * EVENKEEL_CPU names a set that this processor or this build does not have. */
const ek_kernels *ek_kernels_get(void);

/* Set number i that this processor can run, best first; NULL past the last. For tests. */
const ek_kernels *ek_kernels_available(int i);

#endif
