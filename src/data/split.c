/* SPDX-License-Identifier: MIT
 * Dividing a data set at random into two, which look at its pixels through lists of samples. */
#include "base/memory.h"
#include "base/random.h"
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* SHA-256 of what a part follows from: the whole's digest, the seed, and how many samples went to which part. */
static ek_status part_digest(ek_dataset *part, const ek_dataset *whole, uint64_t seed, int64_t taken, bool is_rest)
{
    char text[sizeof part->digest + 100];
    ek_digest digest;
    if (!ek_digest_available())
        return EK_OK;
    const int length =
        snprintf(text, sizeof text, "%s\nsplit %lld of %lld, seed %llu, %s\n", whole->digest, (long long)taken,
                 (long long)whole->n, (unsigned long long)seed, is_rest ? "rest" : "part");
    EK_TRY(ek_digest_begin(&digest));
    ek_digest_add(&digest, text, (size_t)length);
    memcpy(part->digest, "sha256:", sizeof "sha256:" - 1);
    ek_digest_end(&digest, part->digest + sizeof "sha256:" - 1);
    return EK_OK;
}

/* The samples of `whole` whose mark is `mark`, in their order. */
static ek_status make_part(ek_dataset **part, ek_dataset *whole, const bool *marks, bool mark, int64_t n)
{
    ek_dataset *made = ek_calloc(1, sizeof *made);
    *part = made;
    if (!made)
        return EK_ERR_MEMORY;
    *made = *whole;
    made->path = NULL;
    made->own_names = NULL; /* the whole keeps them */
    made->skipped_first = NULL;
    made->skipped = 0;
    made->n = n;
    atomic_init(&made->users, 1);
    made->whole = whole->whole ? whole->whole : whole;
    atomic_fetch_add(&made->whole->users, 1);
    made->index = ek_calloc((size_t)n, sizeof *made->index);
    if (!made->index || (whole->path && !(made->path = ek_strdup(whole->path))))
        return EK_ERR_MEMORY;
    int64_t at = 0;
    for (int64_t i = 0; i < whole->n; i++)
        if (marks[i] == mark)
            made->index[at++] = whole->index ? whole->index[i] : (int32_t)i;
    return EK_OK;
}

/* Marks the first `taken` samples of a permutation. */
static bool *mark_samples(int64_t n, int64_t taken, uint64_t seed)
{
    int32_t *order = ek_calloc((size_t)n, sizeof *order);
    bool *marks = order ? ek_calloc((size_t)n, sizeof *marks) : NULL;
    if (marks) {
        ek_random_permutation(seed, 0, order, n);
        for (int64_t i = 0; i < taken; i++)
            marks[order[i]] = true;
    }
    ek_free(order);
    return marks;
}

ek_status ek_dataset_split(ek_dataset *dataset, double share, uint64_t seed, ek_dataset **rest, ek_dataset **part)
{
    *rest = *part = NULL;
    if (!(share > 0 && share < 1))
        return ek_fail(EK_ERR_ARGUMENT, "a share of %g: a data set is divided at a share between 0 and 1", share);
    if (dataset->n < 2)
        return ek_fail(EK_ERR_ARGUMENT, "a data set of one sample cannot be divided");
    int64_t taken = (int64_t)floor(share * (double)dataset->n + 0.5);
    taken = taken < 1 ? 1 : taken > dataset->n - 1 ? dataset->n - 1 : taken;
    bool *marks = mark_samples(dataset->n, taken, seed);
    ek_status status = marks ? make_part(rest, dataset, marks, false, dataset->n - taken) : EK_ERR_MEMORY;
    if (!status)
        status = make_part(part, dataset, marks, true, taken);
    if (!status)
        status = part_digest(*rest, dataset, seed, taken, true);
    if (!status)
        status = part_digest(*part, dataset, seed, taken, false);
    ek_free(marks);
    if (status) {
        ek_dataset_free(*rest);
        ek_dataset_free(*part);
        *rest = *part = NULL;
    }
    return status;
}

/* ---- Mean and deviation ------------------------------------------------------------------------------------- */

/* Sums of bytes and of their squares: n < 2^31 planes of up to 2^27 bytes would pass 2^64 only beyond any memory. */
ek_status ek_dataset_mean_std(const ek_dataset *dataset, float *mean, float *std)
{
    const size_t plane = (size_t)dataset->height * (size_t)dataset->width;
    const double count = (double)dataset->n * (double)plane;
    for (int c = 0; c < dataset->channels; c++) {
        uint64_t sum = 0, squares = 0;
        for (int64_t i = 0; i < dataset->n; i++) {
            const uint8_t *pixels = ek_dataset_pixels(dataset, i) + (size_t)c * plane;
            for (size_t p = 0; p < plane; p++) {
                sum += pixels[p];
                squares += (uint32_t)pixels[p] * pixels[p];
            }
        }
        const double m = (double)sum / count;
        const double variance = (double)squares / count - m * m; /* of bytes: cancels 16 bits of 53 at most */
        mean[c] = (float)(m / 255);
        std[c] = variance > 1e-9 ? (float)(sqrt(variance) / 255) : 1.0f;
    }
    return EK_OK;
}
