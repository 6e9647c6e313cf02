/* SPDX-License-Identifier: MIT
 *
 * What the kernels' test programs share: memory with guard bands, random numbers, comparisons with a bound that NaN
 * and zeros cannot pass, comparisons of bits between instruction sets, and lines of "ok" or "not ok".
 *
 * A check names a group of cases; a case makes its arrays with the functions below, which all end with the case. */
#ifndef EK_TESTS_KERNELS_CHECK_H
#define EK_TESTS_KERNELS_CHECK_H

#include "cpu/dispatch.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, MARGIN_BYTES = 256, MAX_SETS = 4, MAX_ARRAYS = 256, MAX_DETAILS = 5 };

/* ---- Instruction sets --------------------------------------------------------------------------------------- */

static const ek_kernels *sets[MAX_SETS];
static int set_count;

/* Every set this processor has, or the one that EVENKEEL_CPU names. */
static inline void find_sets(void)
{
    const ek_kernels *one = getenv("EVENKEEL_CPU") ? ek_kernels_get() : NULL;
    if (one)
        sets[set_count++] = one;
    for (int i = 0; !one && i < MAX_SETS && ek_kernels_available(i); i++)
        sets[set_count++] = ek_kernels_available(i);
}

static inline bool has_fma(const ek_kernels *set)
{
    return strcmp(set->name, "baseline") != 0;
}

/* ---- Groups and failures ------------------------------------------------------------------------------------ */

static struct {
    char group[160];
    char label[240]; /* of the case at hand */
    int failures, groups_failed;
    bool quiet; /* failures are wanted: the check of the checker */
} check;

static inline void check_group(const char *name)
{
    snprintf(check.group, sizeof check.group, "%s", name);
    check.failures = 0;
}

static inline void check_group_end(void)
{
    printf("%s %s\n", check.failures ? "not ok" : "ok", check.group);
    check.groups_failed += check.failures > 0;
}

__attribute__((format(printf, 1, 2))) static inline void check_case(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check.label, sizeof check.label, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 1, 2))) static inline void check_fail(const char *format, ...)
{
    va_list arguments;
    if (check.failures++ >= MAX_DETAILS || check.quiet)
        return;
    printf("# %s: ", check.label);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* NaN as a float, and as a double made of two. */
static const uint32_t poison = 0x7ff8deadu;

static struct {
    unsigned char *whole, *data;
    size_t size;
    void *plain; /* instead, without guard bands */
} arrays[MAX_ARRAYS];
static int array_count;

/* The pattern's phase is the address's, so that it may begin at any byte. */
static inline unsigned char poison_at(const unsigned char *at)
{
    return ((const unsigned char *)&poison)[(uintptr_t)at % sizeof poison];
}

static inline void poison_bytes(unsigned char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = poison_at(at + i);
}

static inline bool is_poison(const unsigned char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] != poison_at(at + i))
            return false;
    return true;
}

static inline void *must(void *memory)
{
    if (!memory || array_count == MAX_ARRAYS) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return memory;
}

/* 64-byte aligned, full of NaN, and between margins of it: a read outside shows in the result, a write in the
 * margins. */
static inline void *guarded(size_t count, size_t size)
{
    const size_t bytes = count * size, whole = (2 * MARGIN_BYTES + bytes + 63) / 64 * 64;
    unsigned char *memory = must(aligned_alloc(64, whole));
    poison_bytes(memory, 2 * MARGIN_BYTES + bytes);
    arrays[array_count].whole = memory;
    arrays[array_count].data = memory + MARGIN_BYTES;
    arrays[array_count].size = bytes;
    arrays[array_count++].plain = NULL;
    return memory + MARGIN_BYTES;
}

static inline float *floats(size_t count)
{
    return guarded(count, sizeof(float));
}

/* Zeroed, for references. */
static inline double *doubles(size_t count)
{
    double *memory = must(calloc(count + 1, sizeof *memory));
    arrays[array_count++].plain = memory;
    return memory;
}

/* Ends a case: every margin is as it was; the arrays are gone. */
static inline void check_margins(void)
{
    for (int i = 0; i < array_count; i++) {
        if (!arrays[i].plain && !is_poison(arrays[i].whole, MARGIN_BYTES))
            check_fail("array %d of %zu bytes: written before its begin", i, arrays[i].size);
        if (!arrays[i].plain && !is_poison(arrays[i].data + arrays[i].size, MARGIN_BYTES))
            check_fail("array %d of %zu bytes: written behind its end", i, arrays[i].size);
        free(arrays[i].plain ? arrays[i].plain : arrays[i].whole);
    }
    array_count = 0;
}

/* ---- Random numbers ----------------------------------------------------------------------------------------- */

static uint64_t random_state;

/* Splitmix64. */
static inline uint64_t random_bits(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline int random_int(int low, int high)
{
    return low + (int)(random_bits() % (uint64_t)(high - low + 1));
}

/* Of [-1, 1), never 0: a product with it is never lost. */
static inline float random_value(void)
{
    const float value = (float)(random_bits() >> 40) * 0x1p-23f - 1;
    return value == 0 ? 0.5f : value;
}

static inline float *random_floats(size_t count)
{
    float *values = floats(count);
    for (size_t i = 0; i < count; i++)
        values[i] = random_value();
    return values;
}

/* ---- Blocks of sixteen samples ------------------------------------------------------------------------------ */

/* A block [size][16]: offset + scale*random in the first `live` lanes, `dead` in the others. */
static inline float *random_block(size_t size, int live, float offset, float scale, float dead)
{
    float *values = floats(size * LANES);
    for (size_t i = 0; i < size * LANES; i++)
        values[i] = (int)(i % LANES) < live ? offset + scale * random_value() : dead;
    return values;
}

/* The live samples of a block, row-major. */
static inline double *samples_of(const float *block, size_t size, int live)
{
    double *values = doubles((size_t)live * size);
    for (int n = 0; n < live; n++)
        for (size_t i = 0; i < size; i++)
            values[(size_t)n * size + i] = (double)block[i * LANES + (size_t)n];
    return values;
}

static inline double *widened(const float *x, size_t count)
{
    double *values = doubles(count);
    for (size_t i = 0; i < count; i++)
        values[i] = (double)x[i];
    return values;
}

static inline double *magnitudes(const double *x, size_t count)
{
    double *values = doubles(count);
    for (size_t i = 0; i < count; i++)
        values[i] = fabs(x[i]);
    return values;
}

/* ---- Comparisons -------------------------------------------------------------------------------------------- */

/* Every |got - want| <= bound. Bounds must leave something to be wrong about: where want is not all zeros, some
 * value of it is beyond its bound, so that an array of zeros fails. */
static inline void compare(const char *set, const char *what, size_t count, const double *got, const double *want,
                           const double *bound)
{
    bool telling = false, zero = true;
    double worst = 0;
    size_t at = count;
    for (size_t i = 0; i < count; i++) {
        const double excess = fabs(got[i] - want[i]) / bound[i];
        telling = telling || fabs(want[i]) > 2 * bound[i];
        zero = zero && want[i] == 0;
        if (!(fabs(got[i] - want[i]) <= bound[i]) && (at == count || excess > worst)) {
            worst = excess;
            at = i;
        }
    }
    if (at < count)
        check_fail("%s %s[%zu of %zu] is %.9g, not %.9g: off by %.3g of %.3g allowed", set, what, at, count, got[at],
                   want[at], fabs(got[at] - want[at]), bound[at]);
    if (!telling && !zero)
        check_fail("%s %s: the bound is larger than every value", set, what);
}

/* The same for an array of floats. */
static inline void compare_floats(const char *set, const char *what, size_t count, const float *got,
                                  const double *want, const double *bound)
{
    compare(set, what, count, widened(got, count), want, bound);
}

/* The same for the live lanes of a block. */
static inline void compare_block(const char *set, const char *what, size_t size, int live, const float *got,
                                 const double *want, const double *bound)
{
    compare(set, what, size * (size_t)live, samples_of(got, size, live), want, bound);
}

/* Exactly these numbers: the bound is nothing. */
static inline void compare_exactly(const char *set, const char *what, size_t count, const float *got,
                                   const float *want)
{
    for (size_t i = 0; i < count; i++)
        if (!(got[i] == want[i])) {
            check_fail("%s %s[%zu of %zu] is %.9g, not exactly %.9g", set, what, i, count, (double)got[i],
                       (double)want[i]);
            return;
        }
}

/* Bit for bit. */
static inline void compare_bits(const char *set, const char *what, size_t size, const void *got, const void *want)
{
    if (memcmp(got, want, size) != 0)
        check_fail("%s %s: other bits", set, what);
}

/* Dead lanes of a block: exactly 0 in gradients, finite elsewhere. */
static inline void check_dead(const char *set, const char *what, size_t size, int live, const float *got, bool zero)
{
    for (size_t i = 0; i < size * LANES; i++)
        if ((int)(i % LANES) >= live && !(zero ? got[i] == 0 : isfinite(got[i]))) {
            check_fail("%s %s: %g in dead lane %zu", set, what, (double)got[i], i % LANES);
            return;
        }
}

/* An array that each instruction set fills; the sets with fused multiply-add must agree bit for bit. */
typedef struct outputs {
    size_t size;
    void *of[MAX_SETS];
} outputs;

static inline outputs new_outputs(size_t count, size_t size)
{
    outputs o = {.size = count * size};
    for (int i = 0; i < set_count; i++)
        o.of[i] = guarded(count, size);
    return o;
}

static inline void check_sets_agree(const char *what, outputs o)
{
    int first = 0;
    while (first < set_count && !has_fma(sets[first]))
        first++;
    for (int i = first + 1; i < set_count; i++)
        if (has_fma(sets[i]) && memcmp(o.of[i], o.of[first], o.size) != 0)
            check_fail("%s: %s and %s give other bits", what, sets[i]->name, sets[first]->name);
}

/* Rounding errors of a sum of `terms` products, in units of the sum of their magnitudes: each addition errs by up to
 * 2^-24 of the sum so far, with random sign. A lost or misplaced term is larger by orders of magnitude. */
static inline double sum_error(double terms)
{
    return (sqrt(terms) + 4) * 0x1p-23;
}

/* bound[i] = factor*magnitude[i] + floor */
static inline double *bounds(const double *magnitude, size_t count, double factor, double floor)
{
    double *bound = doubles(count);
    for (size_t i = 0; i < count; i++)
        bound[i] = factor * magnitude[i] + floor;
    return bound;
}

/* ---- The check of the checker ------------------------------------------------------------------------------- */

static inline void expect_failure(const char *what, int before)
{
    const bool red = check.failures > before;
    check.failures = before;
    if (!red) {
        check.quiet = false;
        check_fail("%s went unnoticed", what);
        check.quiet = true;
    }
}

/* Plants faults into a right result and into margins: each must be reported. */
static inline void check_checker(void)
{
    check_group("the checks notice planted faults");
    check_case("planted");
    check.quiet = true;
    enum { COUNT = 33 };
    float *right = random_floats(COUNT), *wrong = floats(COUNT);
    double *want = widened(right, COUNT), *bound = bounds(magnitudes(want, COUNT), COUNT, sum_error(25), 0);
    const size_t size = COUNT * sizeof *right;
    compare_floats("", "right", COUNT, right, want, bound);
    const int before = check.failures;
    memcpy(wrong, right, size);
    wrong[COUNT - 1] *= 1.00001f;
    compare_floats("", "one element off", COUNT, wrong, want, bound);
    expect_failure("one element off by 1e-5", before);
    compare_exactly("", "one element off", COUNT, wrong, right);
    expect_failure("one element not exact", before);
    compare_bits("", "one element off", size, wrong, right);
    expect_failure("one element with other bits", before);
    memset(wrong, 0, size);
    compare_floats("", "zeros", COUNT, wrong, want, bound);
    expect_failure("zeros", before);
    memcpy(wrong, right, size);
    wrong[7] = NAN;
    compare_floats("", "a NaN", COUNT, wrong, want, bound);
    expect_failure("a NaN", before);
    compare_exactly("", "a NaN", COUNT, wrong, right);
    expect_failure("a NaN, exactly", before);
    compare_floats("", "nothing written", COUNT, floats(COUNT), want, bound);
    expect_failure("an output that was not written", before);
    compare_floats("", "a wide bound", COUNT, right, want, bounds(want, COUNT, 0, 2));
    expect_failure("a bound that allows everything", before);
    wrong[0] = 1;
    check_dead("", "gradient", 1, 5, memset(floats(LANES), 0, LANES * sizeof(float)), true);
    if (check.failures > before)
        check.quiet = false, check_fail("a right result was refused");
    check_dead("", "gradient", 1, 5, random_floats(LANES), true);
    expect_failure("a gradient in a dead lane", before);
    check_margins();
    floats(COUNT)[COUNT] = 0;
    check_margins();
    expect_failure("a write behind the end", before);
    floats(COUNT)[-1] = 0;
    check_margins();
    expect_failure("a write before the begin", before);
    check.quiet = false;
    check_group_end();
}

#endif
