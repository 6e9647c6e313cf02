/* SPDX-License-Identifier: MIT
 * Dividing a data set at random into two, which look at its pixels through lists of samples. */
#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"
#include "data/feed.h"

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
    ek_digest_end(&digest, strchr(part->digest, ':') + 1); /* behind the whole's prefix */
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

typedef struct sums {
    uint64_t bytes, squares;
} sums;

/* n < 2^31 planes of up to 2^27 bytes would pass 2^64 only beyond any memory. */
static void add_image(const ek_dataset *dataset, const uint8_t *pixels, sums *of)
{
    const size_t plane = (size_t)dataset->height * (size_t)dataset->width;
    for (int c = 0; c < dataset->channels; c++)
        for (size_t p = 0; p < plane; p++) {
            const uint32_t pixel = pixels[(size_t)c * plane + p];
            of[c].bytes += pixel;
            of[c].squares += pixel * pixel;
        }
}

static ek_status add_all(const ek_dataset *dataset, sums *of)
{
    enum { BATCH = 64 };
    const uint8_t *images[BATCH];
    const int64_t batch = ek_feed_batch(dataset, BATCH);
    ek_feed *feed;
    EK_TRY(ek_feed_new(&feed, dataset, batch, ek_processors()));
    ek_feed_begin(feed, NULL, 0);
    ek_status status = EK_OK;
    for (int64_t begin = 0; begin < dataset->n && !status; begin += batch) {
        const int64_t count = dataset->n - begin < batch ? dataset->n - begin : batch;
        status = ek_feed_next(feed, count, images, NULL, NULL);
        for (int64_t i = 0; i < count && !status; i++)
            add_image(dataset, images[i], of);
    }
    ek_feed_free(feed);
    return status;
}

ek_status ek_dataset_mean_std(const ek_dataset *dataset, float *mean, float *std)
{
    const double count = (double)dataset->n * (double)dataset->height * (double)dataset->width;
    sums *of = ek_calloc((size_t)dataset->channels, sizeof *of);
    if (!of)
        return EK_ERR_MEMORY;
    const ek_status status = add_all(dataset, of);
    for (int c = 0; c < dataset->channels && !status; c++) {
        const double m = (double)of[c].bytes / count;
        const double variance = (double)of[c].squares / count - m * m; /* of bytes: cancels 16 bits of 53 at most */
        mean[c] = (float)(m / 255);
        std[c] = variance > 1e-9 ? (float)(sqrt(variance) / 255) : 1.0f;
    }
    ek_free(of);
    return status;
}
