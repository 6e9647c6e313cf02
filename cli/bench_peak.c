/* SPDX-License-Identifier: MIT
 * The processor's peak: independent fused multiply-adds in registers, as wide as the library's kernels.
 *
 * Two units that take four cycles each need eight chains in flight, four units sixteen; sets with 32 registers get 24
 * chains, AVX2 with its 16 twelve. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { ROUNDS = 10000 }; /* of every chain in a step: some 20 microseconds */

typedef struct kernel {
    const char *set; /* as ek_cpu says it */
    int chains, lanes;
    float (*run)(int64_t rounds, float factor, float summand);
} kernel;

/* A chain converges to summand / (1 - factor): no overflow, no denormal numbers. The sum that is returned keeps the
 * compiler from leaving the chains out. */
#define CHAINS_KERNEL(name, attribute, vector, chains_, set1, fma)                                                   \
    attribute static float name(int64_t rounds, float factor_, float summand_)                                       \
    {                                                                                                                \
        const vector factor = set1(factor_), summand = set1(summand_);                                               \
        vector chain[chains_];                                                                                       \
        float first[sizeof(vector) / sizeof(float)];                                                                 \
        for (int c = 0; c < chains_; c++)                                                                            \
            chain[c] = set1((float)c);                                                                               \
        for (int64_t i = 0; i < rounds; i++) {                                                                       \
            _Pragma("GCC unroll 24") for (int c = 0; c < chains_; c++) chain[c] = fma(chain[c], factor, summand);    \
        }                                                                                                            \
        float sum = 0;                                                                                               \
        for (int c = 0; c < chains_; c++) {                                                                          \
            memcpy(first, &chain[c], sizeof first);                                                                  \
            sum += first[0];                                                                                         \
        }                                                                                                            \
        return sum;                                                                                                  \
    }

#if defined(__x86_64__)
CHAINS_KERNEL(run_avx512, __attribute__((target("avx512f"))), __m512, 24, _mm512_set1_ps, _mm512_fmadd_ps)
CHAINS_KERNEL(run_avx2, __attribute__((target("avx2,fma"))), __m256, 12, _mm256_set1_ps, _mm256_fmadd_ps)
#define MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
CHAINS_KERNEL(run_baseline, , __m128, 12, _mm_set1_ps, MULTIPLY_ADD)
static const kernel kernels[] = {
    {"avx512", 24, 16, run_avx512}, {"avx2", 12, 8, run_avx2}, {"baseline", 12, 4, run_baseline}};
#elif defined(__aarch64__)
#define NEON_FMA(a, b, c) vfmaq_f32(c, a, b)
CHAINS_KERNEL(run_neon, , float32x4_t, 24, vdupq_n_f32, NEON_FMA)
static const kernel kernels[] = {{"neon", 24, 4, run_neon}, {"baseline", 24, 4, run_neon}};
#else
#define SAME(a) (a)
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
CHAINS_KERNEL(run_baseline, , float, 12, SAME, MULTIPLY_ADD)
static const kernel kernels[] = {{"baseline", 12, 1, run_baseline}};
#endif

typedef struct peak {
    const kernel *kernel;
    int threads;
    int64_t steps;
    volatile float sink;
} peak;

static void run_chains(void *argument, int thread)
{
    peak *p = argument;
    const float sum = p->kernel->run(p->steps * ROUNDS, 0.999f, 0.001f * (float)(thread + 1));
    if (!(sum >= 0))
        p->sink = sum;
}

static double run_peak(void *state, int64_t steps)
{
    peak *p = state;
    p->steps = steps;
    return bench_on_threads(p->threads, run_chains, p);
}

bool bench_open_peak(bench_work *work, const char *kind, const bench_settings *settings)
{
    (void)kind;
    const char *set = ek_cpu();
    if (!set)
        return bench_fail(ek_error());
    peak *p = calloc(1, sizeof *p);
    if (!p)
        return bench_fail("out of memory");
    p->threads = settings->threads;
    p->kernel = &kernels[0];
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(kernels[i].set, set))
            p->kernel = &kernels[i];
    const double flop = 2.0 * p->kernel->chains * p->kernel->lanes * ROUNDS * p->threads;
    *work = (bench_work){.amount = flop, .unit = "flop", .state = p, .run = run_peak, .close = free};
    return true;
}

/* ---- Threads for works that have none of the library's --------------------------------------------------------- */

typedef struct task {
    void (*function)(void *argument, int thread);
    void *argument;
    int thread;
} task;

static void *run_task(void *argument)
{
    task *t = argument;
    t->function(t->argument, t->thread);
    return NULL;
}

double bench_on_threads(int threads, void (*function)(void *argument, int thread), void *argument)
{
    pthread_t handles[CLI_THREADS_MAX];
    task tasks[CLI_THREADS_MAX];
    const double start = cli_now();
    int started = 1;
    for (int i = 0; i < threads; i++)
        tasks[i] = (task){function, argument, i};
    while (started < threads && !pthread_create(&handles[started], NULL, run_task, &tasks[started]))
        started++;
    if (started == threads)
        run_task(&tasks[0]);
    for (int i = 1; i < started; i++)
        pthread_join(handles[i], NULL);
    if (started < threads) {
        bench_fail("a thread could not be started");
        return -1;
    }
    return cli_now() - start;
}
