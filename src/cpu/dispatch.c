/* SPDX-License-Identifier: MIT */
#include "cpu/dispatch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SETS = 4 };

/* Best first; filled once. */
static ek_kernels available[MAX_SETS];
static int available_count;
static const ek_kernels *chosen;
static char refusal[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

typedef void fill_function(ek_kernels *table);
extern fill_function ek_fill_kernels_baseline, ek_fill_kernels_avx512, ek_fill_kernels_avx2, ek_fill_kernels_neon;

/* What the processor has and the operating system saves (the compiler's run time checks XGETBV), of the sets that this
 * library was built with: the build defines EK_KERNELS_... */
static void find_available(void)
{
#if EK_KERNELS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        ek_fill_kernels_avx512(&available[available_count++]);
#endif
#if EK_KERNELS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        ek_fill_kernels_avx2(&available[available_count++]);
#endif
#if EK_KERNELS_NEON
    ek_fill_kernels_neon(&available[available_count++]);
#endif
    ek_fill_kernels_baseline(&available[available_count++]);
}

static void choose(void)
{
    find_available();
    const char *wanted = getenv("EVENKEEL_CPU");
    if (!wanted || !*wanted) {
        chosen = &available[0];
        return;
    }
    char names[64] = "";
    for (int i = 0; i < available_count; i++) {
        if (strcmp(available[i].name, wanted) == 0)
            chosen = &available[i];
        if (i)
            strcat(names, ", ");
        strcat(names, available[i].name);
    }
    snprintf(refusal, sizeof refusal, "EVENKEEL_CPU=%.40s: this build and processor offer %s", wanted, names);
}

const ek_kernels *ek_kernels_get(void)
{
    pthread_once(&once, choose);
    if (!chosen)
        ek_fail(EK_ERR_UNSUPPORTED, "%s", refusal);
    return chosen;
}

const ek_kernels *ek_kernels_available(int i)
{
    pthread_once(&once, choose);
    return i >= 0 && i < available_count ? &available[i] : NULL;
}

const char *ek_cpu(void)
{
    const ek_kernels *kernels = ek_kernels_get();
    return kernels ? kernels->name : NULL;
}
