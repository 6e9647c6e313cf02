/* SPDX-License-Identifier: MIT
 * Dropout on a block: Philox4x32-10 (base/random.h) in sixteen lanes, a sample each. All in integers but the last
 * product, so that its bits are the same everywhere. */
#include "base/random.h"
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* Four words of each lane of a part. */
typedef struct words {
    ek_words x[4];
} words;

EK_INLINE words philox(words w, uint64_t seed)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        ek_words high0, high1;
        const ek_words low0 = ek_words_multiply(w.x[0], 0xD2511F53u, &high0);
        const ek_words low1 = ek_words_multiply(w.x[2], 0xCD9E8D57u, &high1);
        w.x[0] = ek_words_xor(ek_words_xor(high1, w.x[1]), ek_words_set(k0));
        w.x[1] = low1;
        w.x[2] = ek_words_xor(ek_words_xor(high0, w.x[3]), ek_words_set(k1));
        w.x[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return w;
}

static void dropout(const ek_dropout *d, const ek_dropout_key *key, int64_t begin, int64_t end, const float *x,
                    float *y)
{
    const ek_words below = ek_words_set(ek_dropout_below(d));
    const ek_words use = ek_words_set((uint32_t)EK_RANDOM_DROPOUT + 256u * (uint32_t)d->layer);
    const ek_part scale = ek_part_set(ek_dropout_scale(d));
    for (int64_t four = begin; four < end; four += 4) {
        const int count = end - four < 4 ? (int)(end - four) : 4;
        for (int part = 0; part < EK_PARTS; part++) {
            const words w =
                philox((words){{ek_words_set((uint32_t)(four / 4)), ek_words_load(key->samples + part * EK_PART),
                                ek_words_set(key->epoch), use}},
                       key->seed);
            for (int j = 0; j < count; j++) {
                const size_t at = (size_t)(four + j) * EK_LANES + (size_t)part * EK_PART;
                ek_part_store(y + at, ek_part_mul(ek_part_load(x + at), ek_words_below(w.x[j], below, scale)));
            }
        }
    }
}

void EK_KERNEL(fill_dropout)(ek_blocked_kernels *table);

void EK_KERNEL(fill_dropout)(ek_blocked_kernels *table)
{
    table->dropout = dropout;
}
