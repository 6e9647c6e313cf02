/* SPDX-License-Identifier: MIT
 *
 * The vector words that kernels are written in. A kernel's text is built once per instruction set; the compiler's
 * own macros choose the section below, and nothing else of a kernel depends on the instruction set. The baseline is
 * built with EK_GENERIC, which takes the last section even where the compiler offers more unasked (aarch64's NEON).
 *
 * ek_v16 is sixteen float lanes in EK_PARTS native registers. All sums of a kernel run over these sixteen lanes in
 * the order the kernel's text says, and ek_sum adds the lanes in one fixed tree: so results are the same bits on
 * every set with fused multiply-add. On the baseline ek_fma is a multiplication and an addition, rounded twice.
 *
 *                avx512   avx2+fma   neon   baseline (GCC vectors: SSE2 on x86-64, anything elsewhere)
 *   EK_PARTS     1        2          4      4
 *   registers    32       16 (8 v16) 32 (8) 16 (4)
 *   EK_TILE      8        6          6      3     rows of the convolution's register tile (any value, same bits)
 *
 * To add an instruction set: a section here, a line in cpu/dispatch.c and in CMakeLists.txt.
 */
#ifndef EK_CPU_KERNEL_SIMD_H
#define EK_CPU_KERNEL_SIMD_H

#include "op/op.h"

#include <stdint.h>
#include <string.h>

#define EK_INLINE static inline __attribute__((always_inline, unused))

/* One word a line. Those of ek_words are on 32-bit words, as many as a part has lanes: multiply gives the lower words
 * of x*m and through `high` the upper ones; below gives 0 where x < y, else u. evens and odds are every second lane of
 * x and then of y. */
/* clang-format off */

#if defined(__AVX512F__) && !defined(EK_GENERIC)
#include <immintrin.h>
#define EK_PARTS 1
#define EK_TILE 8
typedef __m512 ek_part;
EK_INLINE ek_part ek_part_load(const float *p) { return _mm512_loadu_ps(p); }
EK_INLINE void ek_part_store(float *p, ek_part x) { _mm512_storeu_ps(p, x); }
EK_INLINE void ek_part_stream(float *p, ek_part x) { _mm512_stream_ps(p, x); }
EK_INLINE ek_part ek_part_set(float x) { return _mm512_set1_ps(x); }
EK_INLINE ek_part ek_part_add(ek_part x, ek_part y) { return _mm512_add_ps(x, y); }
EK_INLINE ek_part ek_part_sub(ek_part x, ek_part y) { return _mm512_sub_ps(x, y); }
EK_INLINE ek_part ek_part_mul(ek_part x, ek_part y) { return _mm512_mul_ps(x, y); }
EK_INLINE ek_part ek_part_div(ek_part x, ek_part y) { return _mm512_div_ps(x, y); }
EK_INLINE ek_part ek_part_sqrt(ek_part x) { return _mm512_sqrt_ps(x); }
EK_INLINE ek_part ek_part_max(ek_part x, ek_part y) { return _mm512_max_ps(x, y); }
EK_INLINE ek_part ek_part_min(ek_part x, ek_part y) { return _mm512_min_ps(x, y); }
EK_INLINE ek_part ek_part_above(ek_part x, ek_part y, ek_part u, ek_part v)
{
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), u);
}
EK_INLINE ek_part ek_part_if_nan(ek_part x, ek_part y)
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}
EK_INLINE ek_part ek_part_fma(ek_part x, ek_part y, ek_part z) { return _mm512_fmadd_ps(x, y, z); }
EK_INLINE ek_part ek_part_fnma(ek_part x, ek_part y, ek_part z) { return _mm512_fnmadd_ps(x, y, z); }
EK_INLINE ek_part ek_part_ldexp(ek_part x, ek_part n)
{
    __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), shift));
}
EK_INLINE ek_part ek_part_bytes(const uint8_t *p)
{
    __m128i b;
    memcpy(&b, p, 16);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
}
EK_INLINE ek_part ek_part_evens(ek_part x, ek_part y)
{
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(x, at, y);
}
EK_INLINE ek_part ek_part_odds(ek_part x, ek_part y)
{
    const __m512i at = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(x, at, y);
}
typedef __m512i ek_words;
EK_INLINE ek_words ek_words_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
EK_INLINE ek_words ek_words_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
EK_INLINE ek_words ek_words_xor(ek_words x, ek_words y) { return _mm512_xor_si512(x, y); }
EK_INLINE ek_words ek_words_multiply(ek_words x, uint32_t m, ek_words *high)
{
    const __m512i by = _mm512_set1_epi64(m), even = _mm512_mul_epu32(x, by);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), by);
    *high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
    return _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32));
}
EK_INLINE ek_part ek_words_below(ek_words x, ek_words y, ek_part u)
{
    return _mm512_mask_mov_ps(u, _mm512_cmp_epu32_mask(x, y, _MM_CMPINT_LT), _mm512_setzero_ps());
}

#elif defined(__AVX2__) && defined(__FMA__) && !defined(EK_GENERIC)
#include <immintrin.h>
#define EK_PARTS 2
#define EK_TILE 6
typedef __m256 ek_part;
EK_INLINE ek_part ek_part_load(const float *p) { return _mm256_loadu_ps(p); }
EK_INLINE void ek_part_store(float *p, ek_part x) { _mm256_storeu_ps(p, x); }
EK_INLINE void ek_part_stream(float *p, ek_part x) { _mm256_stream_ps(p, x); }
EK_INLINE ek_part ek_part_set(float x) { return _mm256_set1_ps(x); }
EK_INLINE ek_part ek_part_add(ek_part x, ek_part y) { return _mm256_add_ps(x, y); }
EK_INLINE ek_part ek_part_sub(ek_part x, ek_part y) { return _mm256_sub_ps(x, y); }
EK_INLINE ek_part ek_part_mul(ek_part x, ek_part y) { return _mm256_mul_ps(x, y); }
EK_INLINE ek_part ek_part_div(ek_part x, ek_part y) { return _mm256_div_ps(x, y); }
EK_INLINE ek_part ek_part_sqrt(ek_part x) { return _mm256_sqrt_ps(x); }
EK_INLINE ek_part ek_part_max(ek_part x, ek_part y) { return _mm256_max_ps(x, y); }
EK_INLINE ek_part ek_part_min(ek_part x, ek_part y) { return _mm256_min_ps(x, y); }
EK_INLINE ek_part ek_part_above(ek_part x, ek_part y, ek_part u, ek_part v)
{
    return _mm256_blendv_ps(v, u, _mm256_cmp_ps(x, y, _CMP_GT_OQ));
}
EK_INLINE ek_part ek_part_if_nan(ek_part x, ek_part y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
EK_INLINE ek_part ek_part_fma(ek_part x, ek_part y, ek_part z) { return _mm256_fmadd_ps(x, y, z); }
EK_INLINE ek_part ek_part_fnma(ek_part x, ek_part y, ek_part z) { return _mm256_fnmadd_ps(x, y, z); }
EK_INLINE ek_part ek_part_ldexp(ek_part x, ek_part n)
{
    __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shift));
}
EK_INLINE ek_part ek_part_bytes(const uint8_t *p)
{
    int64_t b;
    memcpy(&b, p, 8);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(b)));
}
EK_INLINE ek_part ek_part_quarters(ek_part x) /* the second quarter and the third swap places */
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), _MM_SHUFFLE(3, 1, 2, 0)));
}
EK_INLINE ek_part ek_part_evens(ek_part x, ek_part y)
{
    return ek_part_quarters(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(2, 0, 2, 0)));
}
EK_INLINE ek_part ek_part_odds(ek_part x, ek_part y)
{
    return ek_part_quarters(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(3, 1, 3, 1)));
}
typedef __m256i ek_words;
EK_INLINE ek_words ek_words_load(const uint32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
EK_INLINE ek_words ek_words_set(uint32_t x) { return _mm256_set1_epi32((int)x); }
EK_INLINE ek_words ek_words_xor(ek_words x, ek_words y) { return _mm256_xor_si256(x, y); }
EK_INLINE ek_words ek_words_multiply(ek_words x, uint32_t m, ek_words *high)
{
    const __m256i by = _mm256_set1_epi64x(m), even = _mm256_mul_epu32(x, by);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), by);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
EK_INLINE ek_part ek_words_below(ek_words x, ek_words y, ek_part u)
{
    return _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(x, y), x)), u);
}

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(EK_GENERIC)
#include <arm_neon.h>
#define EK_PARTS 4
#define EK_TILE 6
typedef float32x4_t ek_part;
EK_INLINE ek_part ek_part_load(const float *p) { return vld1q_f32(p); }
EK_INLINE void ek_part_store(float *p, ek_part x) { vst1q_f32(p, x); }
EK_INLINE void ek_part_stream(float *p, ek_part x) { vst1q_f32(p, x); }
EK_INLINE ek_part ek_part_set(float x) { return vdupq_n_f32(x); }
EK_INLINE ek_part ek_part_add(ek_part x, ek_part y) { return vaddq_f32(x, y); }
EK_INLINE ek_part ek_part_sub(ek_part x, ek_part y) { return vsubq_f32(x, y); }
EK_INLINE ek_part ek_part_mul(ek_part x, ek_part y) { return vmulq_f32(x, y); }
EK_INLINE ek_part ek_part_div(ek_part x, ek_part y) { return vdivq_f32(x, y); }
EK_INLINE ek_part ek_part_sqrt(ek_part x) { return vsqrtq_f32(x); }
/* Not vmaxq, which takes +0 for larger than -0. */
EK_INLINE ek_part ek_part_max(ek_part x, ek_part y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
EK_INLINE ek_part ek_part_min(ek_part x, ek_part y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
EK_INLINE ek_part ek_part_above(ek_part x, ek_part y, ek_part u, ek_part v) { return vbslq_f32(vcgtq_f32(x, y), u, v); }
EK_INLINE ek_part ek_part_if_nan(ek_part x, ek_part y) { return vbslq_f32(vceqq_f32(x, x), y, x); }
EK_INLINE ek_part ek_part_fma(ek_part x, ek_part y, ek_part z) { return vfmaq_f32(z, x, y); }
EK_INLINE ek_part ek_part_fnma(ek_part x, ek_part y, ek_part z) { return vfmsq_f32(z, x, y); }
EK_INLINE ek_part ek_part_ldexp(ek_part x, ek_part n)
{
    int32x4_t shift = vshlq_n_s32(vreinterpretq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), shift));
}
EK_INLINE ek_part ek_part_bytes(const uint8_t *p)
{
    uint32x4_t b = {p[0], p[1], p[2], p[3]};
    return vcvtq_f32_u32(b);
}
EK_INLINE ek_part ek_part_evens(ek_part x, ek_part y) { return vuzp1q_f32(x, y); }
EK_INLINE ek_part ek_part_odds(ek_part x, ek_part y) { return vuzp2q_f32(x, y); }
typedef uint32x4_t ek_words;
EK_INLINE ek_words ek_words_load(const uint32_t *p) { return vld1q_u32(p); }
EK_INLINE ek_words ek_words_set(uint32_t x) { return vdupq_n_u32(x); }
EK_INLINE ek_words ek_words_xor(ek_words x, ek_words y) { return veorq_u32(x, y); }
EK_INLINE ek_words ek_words_multiply(ek_words x, uint32_t m, ek_words *high)
{
    const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(x), vdup_n_u32(m)));
    const uint32x4_t second = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(x), vdup_n_u32(m)));
    *high = vuzp2q_u32(first, second);
    return vuzp1q_u32(first, second);
}
EK_INLINE ek_part ek_words_below(ek_words x, ek_words y, ek_part u)
{
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_u32(x, y), vreinterpretq_u32_f32(u)));
}

#else
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#define EK_PARTS 4
#define EK_TILE 3
#define EK_NO_FMA 1
typedef float ek_part __attribute__((vector_size(16)));
typedef int32_t ek_part_int __attribute__((vector_size(16)));
EK_INLINE ek_part ek_part_load(const float *p)
{
    ek_part x;
    memcpy(&x, p, 16);
    return x;
}
EK_INLINE void ek_part_store(float *p, ek_part x) { memcpy(p, &x, 16); }
EK_INLINE void ek_part_stream(float *p, ek_part x) { memcpy(p, &x, 16); }
EK_INLINE ek_part ek_part_set(float x) { return (ek_part){x, x, x, x}; }
EK_INLINE ek_part ek_part_add(ek_part x, ek_part y) { return x + y; }
EK_INLINE ek_part ek_part_sub(ek_part x, ek_part y) { return x - y; }
EK_INLINE ek_part ek_part_mul(ek_part x, ek_part y) { return x * y; }
EK_INLINE ek_part ek_part_div(ek_part x, ek_part y) { return x / y; }
EK_INLINE ek_part ek_part_sqrt(ek_part x)
{
    return (ek_part){__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
}
EK_INLINE ek_part ek_part_select(ek_part_int mask, ek_part x, ek_part y)
{
    return (ek_part)((mask & (ek_part_int)x) | (~mask & (ek_part_int)y));
}
EK_INLINE ek_part ek_part_max(ek_part x, ek_part y) { return ek_part_select((ek_part_int)(x > y), x, y); }
EK_INLINE ek_part ek_part_min(ek_part x, ek_part y) { return ek_part_select((ek_part_int)(x < y), x, y); }
EK_INLINE ek_part ek_part_above(ek_part x, ek_part y, ek_part u, ek_part v)
{
    return ek_part_select((ek_part_int)(x > y), u, v);
}
EK_INLINE ek_part ek_part_if_nan(ek_part x, ek_part y) { return ek_part_select((ek_part_int)(x != x), x, y); }
EK_INLINE ek_part ek_part_fma(ek_part x, ek_part y, ek_part z) { return x * y + z; }
EK_INLINE ek_part ek_part_fnma(ek_part x, ek_part y, ek_part z) { return z - x * y; }
EK_INLINE ek_part ek_part_ldexp(ek_part x, ek_part n)
{
    /* Shifted as unsigned: the bits of n above the exponent fall off. */
    typedef uint32_t bits __attribute__((vector_size(16)));
    return (ek_part)((bits)x + ((bits)n << 23));
}
EK_INLINE ek_part ek_part_bytes(const uint8_t *p) { return (ek_part){p[0], p[1], p[2], p[3]}; }
EK_INLINE ek_part ek_part_evens(ek_part x, ek_part y) { return (ek_part){x[0], x[2], y[0], y[2]}; }
EK_INLINE ek_part ek_part_odds(ek_part x, ek_part y) { return (ek_part){x[1], x[3], y[1], y[3]}; }
typedef uint32_t ek_words __attribute__((vector_size(16)));
EK_INLINE ek_words ek_words_load(const uint32_t *p)
{
    ek_words x;
    memcpy(&x, p, 16);
    return x;
}
EK_INLINE ek_words ek_words_set(uint32_t x) { return (ek_words){x, x, x, x}; }
EK_INLINE ek_words ek_words_xor(ek_words x, ek_words y) { return x ^ y; }
#if defined(__SSE2__)
EK_INLINE ek_words ek_words_multiply(ek_words x, uint32_t m, ek_words *high)
{
    const __m128i by = _mm_set1_epi64x(m), upper = _mm_set1_epi64x(-1 - (int64_t)UINT32_MAX);
    const __m128i even = _mm_mul_epu32((__m128i)x, by), odd = _mm_mul_epu32(_mm_srli_epi64((__m128i)x, 32), by);
    *high = (ek_words)_mm_or_si128(_mm_srli_epi64(even, 32), _mm_and_si128(odd, upper));
    return (ek_words)_mm_or_si128(_mm_andnot_si128(upper, even), _mm_slli_epi64(odd, 32));
}
#else
EK_INLINE ek_words ek_words_multiply(ek_words x, uint32_t m, ek_words *high)
{
    ek_words low = x, upper = x;
    for (int i = 0; i < 4; i++) {
        const uint64_t product = (uint64_t)x[i] * m;
        upper[i] = (uint32_t)(product >> 32);
        low[i] = (uint32_t)product;
    }
    *high = upper;
    return low;
}
#endif
EK_INLINE ek_part ek_words_below(ek_words x, ek_words y, ek_part u)
{
    return (ek_part)((ek_words)(x >= y) & (ek_words)u);
}
#endif

/* M(T, ...) for every T from 1 to EK_TILE: instances of a kernel, or their names in a table. */
#if EK_TILE == 3
#define EK_FOR_TILES(M, ...) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__)
#else
#define EK_FOR_SIX_TILES(M, ...)                                                                                     \
    M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__)
#if EK_TILE == 6
#define EK_FOR_TILES(M, ...) EK_FOR_SIX_TILES(M, __VA_ARGS__)
#else
#define EK_FOR_TILES(M, ...) EK_FOR_SIX_TILES(M, __VA_ARGS__) M(7, __VA_ARGS__) M(8, __VA_ARGS__)
#endif
#endif

EK_INLINE int min(int a, int b) { return a < b ? a : b; }
EK_INLINE int max(int a, int b) { return a > b ? a : b; }

/* Keeps a loaded part in a register: without it GCC folds the load into each multiply-add that uses it, and twice
 * the loads cost more than the multiply-adds. */
EK_INLINE ek_part ek_part_keep(ek_part x)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(x));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x));
#endif
    return x;
}

/* x times the part at p, plus z: a multiply-add that reads memory. Where registers are few GCC would rather load the
 * part once and spill something else; one instruction that loads and multiplies also takes one slot of the processor's
 * front end in place of two. */
EK_INLINE ek_part ek_part_fma_at(ek_part x, const float *p, ek_part z)
{
#if EK_PARTS == 2
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(z) : "x"(x), "m"(*(const float(*)[8])p));
    return z;
#else
    return ek_part_fma(x, ek_part_load(p), z);
#endif
}

enum { EK_PART = EK_LANES / EK_PARTS }; /* lanes of a part */

/* Applying a part's word to all parts. Separate members, never an array: GCC keeps members in registers, while it
 * keeps an array of vectors in memory. */
#if EK_PARTS == 1
typedef struct ek_v16 {
    ek_part p0;
} ek_v16;
#define EK_MAP0(f, ...) ((ek_v16){f(__VA_ARGS__)})
#define EK_MAP1(f, x) ((ek_v16){f((x).p0)})
#define EK_MAP2(f, x, y) ((ek_v16){f((x).p0, (y).p0)})
#define EK_MAP3(f, x, y, z) ((ek_v16){f((x).p0, (y).p0, (z).p0)})
#define EK_MAP4(f, x, y, u, v) ((ek_v16){f((x).p0, (y).p0, (u).p0, (v).p0)})
#define EK_FROM(f, p) ((ek_v16){f(p)})
#define EK_TO(f, p, x) f(p, (x).p0)
#elif EK_PARTS == 2
typedef struct ek_v16 {
    ek_part p0, p1;
} ek_v16;
#define EK_MAP0(f, ...) ((ek_v16){f(__VA_ARGS__), f(__VA_ARGS__)})
#define EK_MAP1(f, x) ((ek_v16){f((x).p0), f((x).p1)})
#define EK_MAP2(f, x, y) ((ek_v16){f((x).p0, (y).p0), f((x).p1, (y).p1)})
#define EK_MAP3(f, x, y, z) ((ek_v16){f((x).p0, (y).p0, (z).p0), f((x).p1, (y).p1, (z).p1)})
#define EK_MAP4(f, x, y, u, v) ((ek_v16){f((x).p0, (y).p0, (u).p0, (v).p0), f((x).p1, (y).p1, (u).p1, (v).p1)})
#define EK_FROM(f, p) ((ek_v16){f(p), f((p) + 8)})
#define EK_TO(f, p, x) (f(p, (x).p0), f((p) + 8, (x).p1))
#else
typedef struct ek_v16 {
    ek_part p0, p1, p2, p3;
} ek_v16;
#define EK_MAP0(f, ...) ((ek_v16){f(__VA_ARGS__), f(__VA_ARGS__), f(__VA_ARGS__), f(__VA_ARGS__)})
#define EK_MAP1(f, x) ((ek_v16){f((x).p0), f((x).p1), f((x).p2), f((x).p3)})
#define EK_MAP2(f, x, y) ((ek_v16){f((x).p0, (y).p0), f((x).p1, (y).p1), f((x).p2, (y).p2), f((x).p3, (y).p3)})
#define EK_MAP3(f, x, y, z)                                                                                          \
    ((ek_v16){f((x).p0, (y).p0, (z).p0), f((x).p1, (y).p1, (z).p1), f((x).p2, (y).p2, (z).p2),                       \
              f((x).p3, (y).p3, (z).p3)})
#define EK_MAP4(f, x, y, u, v)                                                                                       \
    ((ek_v16){f((x).p0, (y).p0, (u).p0, (v).p0), f((x).p1, (y).p1, (u).p1, (v).p1),                                  \
              f((x).p2, (y).p2, (u).p2, (v).p2), f((x).p3, (y).p3, (u).p3, (v).p3)})
#define EK_FROM(f, p) ((ek_v16){f(p), f((p) + 4), f((p) + 8), f((p) + 12)})
#define EK_TO(f, p, x) (f(p, (x).p0), f((p) + 4, (x).p1), f((p) + 8, (x).p2), f((p) + 12, (x).p3))
#endif

EK_INLINE ek_v16 ek_load(const float *p) { return EK_FROM(ek_part_load, p); }
EK_INLINE void ek_store(float *p, ek_v16 x) { EK_TO(ek_part_store, p, x); }
/* A store past the caches, for arrays larger than them; p 64-byte aligned; ek_stream_end after the last. */
EK_INLINE void ek_stream(float *p, ek_v16 x) { EK_TO(ek_part_stream, p, x); }
EK_INLINE void ek_stream_end(void)
{
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}
EK_INLINE ek_v16 ek_set(float x) { return EK_MAP0(ek_part_set, x); }
EK_INLINE ek_v16 ek_zero(void) { return ek_set(0.0f); }
EK_INLINE ek_v16 ek_add(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_add, x, y); }
EK_INLINE ek_v16 ek_sub(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_sub, x, y); }
EK_INLINE ek_v16 ek_mul(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_mul, x, y); }
EK_INLINE ek_v16 ek_div(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_div, x, y); }
EK_INLINE ek_v16 ek_sqrt(ek_v16 x) { return EK_MAP1(ek_part_sqrt, x); } /* exact to rounding */
/* x > y ? x : y, and x < y ? x : y: y where they are equal, zeros of either sign among them, and where one is NaN. */
EK_INLINE ek_v16 ek_max(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_max, x, y); }
EK_INLINE ek_v16 ek_min(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_min, x, y); }
/* x > y ? u : v; x where it is NaN, else y. */
EK_INLINE ek_v16 ek_above(ek_v16 x, ek_v16 y, ek_v16 u, ek_v16 v) { return EK_MAP4(ek_part_above, x, y, u, v); }
EK_INLINE ek_v16 ek_if_nan(ek_v16 x, ek_v16 y) { return EK_MAP2(ek_part_if_nan, x, y); }
EK_INLINE ek_v16 ek_fma(ek_v16 x, ek_v16 y, ek_v16 z) { return EK_MAP3(ek_part_fma, x, y, z); }   /* x*y + z */
EK_INLINE ek_v16 ek_fnma(ek_v16 x, ek_v16 y, ek_v16 z) { return EK_MAP3(ek_part_fnma, x, y, z); } /* z - x*y */
/* Sixteen bytes as floats 0..255. */
EK_INLINE ek_v16 ek_bytes(const uint8_t *p) { return EK_FROM(ek_part_bytes, p); }
/* x * 2^n where n holds the integer in its low mantissa bits (as n + 1.5*2^23 leaves it). Exponents in range. */
EK_INLINE ek_v16 ek_ldexp(ek_v16 x, ek_v16 n) { return EK_MAP2(ek_part_ldexp, x, n); }

/* clang-format on */

/* The first `live` (0..16) lanes of p, zeros in the rest; reads nothing past them. */
EK_INLINE ek_v16 ek_load_part(const float *p, int live)
{
    float lanes[EK_LANES] = {0};
    memcpy(lanes, p, (size_t)live * sizeof *p);
    return ek_load(lanes);
}
EK_INLINE void ek_store_part(float *p, ek_v16 x, int live)
{
    float lanes[EK_LANES];
    ek_store(lanes, x);
    memcpy(p, lanes, (size_t)live * sizeof *p);
}

/* The sum of sixteen lanes in a fixed tree: lane i with i+8, then i+4, i+2, i+1. */
EK_INLINE float ek_sum(ek_v16 x)
{
#if EK_PARTS == 1
    __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.p0), 1));
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.p0), upper);
#elif EK_PARTS == 2
    __m256 eight = _mm256_add_ps(x.p0, x.p1);
#endif
#if EK_PARTS <= 2
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
    float four[4];
    ek_part_store(four, ek_part_add(ek_part_add(x.p0, x.p2), ek_part_add(x.p1, x.p3)));
    return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}

/* The sum of sixteen lanes in double, by the same tree. */
EK_INLINE double ek_sum_double(ek_v16 x)
{
    float lanes[EK_LANES];
    ek_store(lanes, x);
#if EK_PARTS <= 2
    const __m256d low = _mm256_add_pd(_mm256_cvtps_pd(_mm_loadu_ps(lanes)), _mm256_cvtps_pd(_mm_loadu_ps(lanes + 8)));
    const __m256d high =
        _mm256_add_pd(_mm256_cvtps_pd(_mm_loadu_ps(lanes + 4)), _mm256_cvtps_pd(_mm_loadu_ps(lanes + 12)));
    const __m256d four = _mm256_add_pd(low, high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
#else
    double four[4];
    for (int i = 0; i < 4; i++)
        four[i] = ((double)lanes[i] + (double)lanes[i + 8]) + ((double)lanes[i + 4] + (double)lanes[i + 12]);
    return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}

/* out[i] = ek_sum of row i of rows [count][16], by the same tree; on x86 four rows share the tree's lower half. */
EK_INLINE void ek_sum_rows(size_t count, const float *rows, float *out)
{
    size_t i = 0;
#if EK_PARTS <= 2
    for (; i + 4 <= count; i += 4) {
        __m128 four[4];
        for (int j = 0; j < 4; j++) {
            const float *row = rows + (i + (size_t)j) * EK_LANES;
            const __m256 eight = _mm256_add_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(row + 8));
            four[j] = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        }
        const __m128 ab = _mm_add_ps(_mm_movelh_ps(four[0], four[1]), _mm_movehl_ps(four[1], four[0]));
        const __m128 cd = _mm_add_ps(_mm_movelh_ps(four[2], four[3]), _mm_movehl_ps(four[3], four[2]));
        const __m128 even = _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(2, 0, 2, 0));
        const __m128 odd = _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 1, 3, 1));
        _mm_storeu_ps(out + i, _mm_add_ps(even, odd));
    }
#endif
    for (; i < count; i++)
        out[i] = ek_sum(ek_load(rows + i * EK_LANES));
}

/* to[j*16 + i] = from[i*stride + j] for 16 x 16 values. */
EK_INLINE void ek_transpose(const float *from, size_t stride, float *to)
{
#if EK_PARTS <= 2
    for (size_t i = 0; i < EK_LANES; i += 8)
        for (size_t j = 0; j < EK_LANES; j += 8) {
            __m256 row[8], pair[8];
            for (size_t n = 0; n < 8; n++)
                row[n] = _mm256_loadu_ps(from + (i + n) * stride + j);
            for (size_t n = 0; n < 8; n += 2) {
                pair[n] = _mm256_unpacklo_ps(row[n], row[n + 1]);
                pair[n + 1] = _mm256_unpackhi_ps(row[n], row[n + 1]);
            }
            for (size_t n = 0; n < 8; n += 4) /* columns n/4.. of four rows in each half */
                for (size_t m = 0; m < 2; m++) {
                    row[n + 2 * m] = _mm256_shuffle_ps(pair[n + m], pair[n + 2 + m], _MM_SHUFFLE(1, 0, 1, 0));
                    row[n + 2 * m + 1] = _mm256_shuffle_ps(pair[n + m], pair[n + 2 + m], _MM_SHUFFLE(3, 2, 3, 2));
                }
            for (size_t n = 0; n < 4; n++) {
                _mm256_storeu_ps(to + (j + n) * EK_LANES + i, _mm256_permute2f128_ps(row[n], row[n + 4], 0x20));
                _mm256_storeu_ps(to + (j + n + 4) * EK_LANES + i, _mm256_permute2f128_ps(row[n], row[n + 4], 0x31));
            }
        }
#else
    for (size_t i = 0; i < EK_LANES; i++)
        for (size_t j = 0; j < EK_LANES; j++)
            to[j * EK_LANES + i] = from[i * stride + j];
#endif
}

/* The larger of x and a maximum so far, which stays where they are equal; NaN where either is. */
EK_INLINE ek_v16 ek_larger(ek_v16 x, ek_v16 so_far)
{
    return ek_if_nan(x, ek_max(x, so_far));
}

/* The first place of a maximum takes a gradient whole: what is left of it where x is below the maximum, which is where
 * x takes nothing. Places must come in their order. */
EK_INLINE ek_v16 ek_take_at_maximum(ek_v16 maximum, ek_v16 x, ek_v16 *left)
{
    const ek_v16 taken = ek_above(maximum, x, ek_zero(), *left);
    *left = ek_above(maximum, x, *left, ek_zero());
    return taken;
}

/* The sum of all rows and lanes of rows [count][16]: the even rows and the odd ones in order, then ek_sum. */
EK_INLINE float ek_sum_plane(const float *rows, size_t count)
{
    ek_v16 even = ek_zero(), odd = ek_zero();
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
        even = ek_add(even, ek_load(rows + i * EK_LANES));
        odd = ek_add(odd, ek_load(rows + (i + 1) * EK_LANES));
    }
    if (i < count)
        even = ek_add(even, ek_load(rows + i * EK_LANES));
    return ek_sum(ek_add(even, odd));
}

/* exp(r)*2^n, r = sign*s with |r| <= ln2/2, t holding n as ek_ldexp takes it: the minimax polynomial of degree 6 in
 * powers of s (relative error below 2^-27). */
EK_INLINE ek_v16 ek_exp_reduced(const float sign, ek_v16 s, ek_v16 t)
{
    ek_v16 p = ek_set(0x1.6a2434p-10f);
    p = ek_fma(p, s, ek_set(sign * 0x1.1239e2p-7f));
    p = ek_fma(p, s, ek_set(0x1.5558f2p-5f));
    p = ek_fma(p, s, ek_set(sign * 0x1.555492p-3f));
    p = ek_fma(p, s, ek_set(0x1.fffffcp-2f));
    p = ek_fma(p, s, ek_set(sign));
    p = ek_fma(p, s, ek_set(1.0f));
    return ek_ldexp(p, t);
}

/* exp(sign*x), sign 1 or -1, to 1.1 ulp for sign*x in [-87.3, 88.3], and the value at the nearer end beyond it; NaN
 * stays NaN. sign*x = n*ln2 + r with |r| <= ln2/2. */
EK_INLINE ek_v16 ek_exp_signed(const float sign, ek_v16 x)
{
    const ek_v16 magic = ek_set(12582912.0f); /* 1.5*2^23: adding it rounds to an integer in the low bits */
    x = sign > 0 ? ek_min(ek_set(88.3f), ek_max(ek_set(-87.3f), x))
                 : ek_min(ek_set(87.3f), ek_max(ek_set(-88.3f), x));
    const ek_v16 t = ek_fma(x, ek_set(sign * 0x1.715476p+0f), magic);
    const ek_v16 n = ek_sub(t, magic);
    /* ln2 in two parts, the first short enough for n times it. */
    ek_v16 s = ek_fma(n, ek_set(-sign * 0x1.62e4p-1f), x);
    s = ek_fma(n, ek_set(-sign * 0x1.7f7d1cp-20f), s);
    return ek_exp_reduced(sign, s, t);
}

EK_INLINE ek_v16 ek_exp(ek_v16 x)
{
    return ek_exp_signed(1.0f, x);
}

/* 1/(1 + exp(-x)). */
EK_INLINE ek_v16 ek_logistic(ek_v16 x)
{
    return ek_div(ek_set(1.0f), ek_add(ek_set(1.0f), ek_exp_signed(-1.0f, x)));
}

#endif
