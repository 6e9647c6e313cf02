/* SPDX-License-Identifier: MIT */
#include "op/batchnorm.h"

#include "base/memory.h"
#include "op/norm.h"

#include <math.h>
#include <string.h>

ek_status ek_batchnorm_alloc(ek_batchnorm *b, int64_t blocks)
{
    const size_t c = (size_t)b->c, all = ek_size_mul((size_t)blocks, c);
    b->block_mean = ek_calloc(all, sizeof *b->block_mean);
    b->block_deviations = ek_calloc(all, sizeof *b->block_deviations);
    b->block_sums = ek_calloc(all, sizeof *b->block_sums);
    b->mean = ek_calloc(c, sizeof *b->mean);
    b->variance = ek_calloc(c, sizeof *b->variance);
    b->deviations = ek_calloc(c, sizeof *b->deviations);
    b->rstd = ek_calloc(c, sizeof *b->rstd);
    b->channels = ek_calloc(c, sizeof *b->channels);
    b->gradients = ek_calloc(c, sizeof *b->gradients);
    b->staged_mean = ek_calloc(c, sizeof *b->staged_mean);
    b->staged_var = ek_calloc(c, sizeof *b->staged_var);
    if (b->block_mean && b->block_deviations && b->block_sums && b->mean && b->variance && b->deviations && b->rstd &&
        b->channels && b->gradients && b->staged_mean && b->staged_var)
        return EK_OK;
    return EK_ERR_MEMORY;
}

void ek_batchnorm_free(ek_batchnorm *b)
{
    ek_free(b->block_mean);
    ek_free(b->block_deviations);
    ek_free(b->block_sums);
    ek_free(b->mean);
    ek_free(b->variance);
    ek_free(b->deviations);
    ek_free(b->rstd);
    ek_free(b->channels);
    ek_free(b->gradients);
    ek_free(b->staged_mean);
    ek_free(b->staged_var);
}

/* The numbers of the passes for channel c. A low part of the mean under 2^-40 of it is the noise of summation, far
 * below what float data can show; dropped, so that a constant channel is centred to exactly 0. */
static void set_channel(ek_batchnorm *b, int c, double mean, double variance)
{
    const double rstd = ek_norm_factor(b->normalize, variance, (double)b->eps);
    const float high = (float)mean;
    double low = mean - (double)high;
    if (fabs(low) < 0x1p-40 * fabs(mean))
        low = 0;
    const double gamma = b->gamma ? (double)b->gamma[c] : 1.0;
    b->rstd[c] = rstd;
    const float scale = (float)(gamma * rstd), shift = b->beta ? b->beta[c] : 0.0f;
    b->channels[c] = (ek_norm_channel){.mean = high, .mean_low = (float)low, .scale = scale, .shift = shift};
    b->gradients[c] = (ek_norm_gradient){.mean = high, .mean_low = (float)low, .scale = scale, .shift = shift};
    if (b->normalize != EK_NORMALIZE_DEVIATION)
        return;
    /* x*scale + shift. Backward's sums are about the mean all the same, so that z there is shifted back by it. */
    b->channels[c].mean = b->channels[c].mean_low = 0;
    b->gradients[c].shift = (float)((double)shift + mean * gamma * rstd);
}

/* Mean and variance of channel c: the batch's blocks joined to what is `counted`, in order, by Chan, Golub and
 * LeVeque's update. */
static void merge_blocks(ek_batchnorm *b, int c, int64_t samples)
{
    double count = b->counted, mean = count > 0 ? b->mean[c] : 0, deviations = count > 0 ? b->deviations[c] : 0;
    for (int64_t block = 0; block * EK_LANES < samples; block++) {
        const int64_t rest = samples - block * EK_LANES;
        const double n = (double)(rest < EK_LANES ? rest : EK_LANES) * (double)b->plane;
        const double delta = b->block_mean[block * b->c + c] - mean;
        mean += delta * (n / (count + n));
        deviations += b->block_deviations[block * b->c + c] + delta * delta * (count * n / (count + n));
        count += n;
    }
    b->mean[c] = mean;
    b->deviations[c] = deviations;
    b->variance[c] = deviations < 0 ? 0 : deviations / count; /* below 0 only by rounding; NaN stays */
}

/* Whether float tensors can hold what the statistics become: the unbiased variance is up to twice the other. */
static bool fits_float(double mean, double variance)
{
    return isfinite((float)mean) && isfinite((float)(2 * variance));
}

void ek_batchnorm_restart(ek_batchnorm *b)
{
    b->counted = 0;
}

/* What prediction will normalise with, in float as it will find it. */
static int measure(ek_batchnorm *b, int64_t samples)
{
    int bad = -1;
    const double count = b->counted + (double)samples * (double)b->plane;
    const double correction = b->population ? 1 : count / (count - 1);
    for (int c = 0; c < b->c; c++) {
        merge_blocks(b, c, samples);
        if (bad < 0 && !fits_float(b->mean[c], b->variance[c]))
            bad = c;
        b->moving_mean[c] = (float)b->mean[c];
        b->moving_var[c] = (float)(correction * b->variance[c]);
    }
    b->counted = count;
    ek_batchnorm_predict(b);
    return bad;
}

int ek_batchnorm_forward(ek_batchnorm *b, int64_t samples)
{
    int bad = -1;
    if (b->measures)
        return measure(b, samples);
    if (b->use_moving)
        ek_batchnorm_predict(b);
    if (b->use_moving && b->hold_moving)
        return bad;
    for (int c = 0; c < b->c; c++) {
        merge_blocks(b, c, samples);
        if (bad < 0 && !fits_float(b->mean[c], b->variance[c]))
            bad = c;
        if (!b->use_moving)
            set_channel(b, c, b->mean[c], b->variance[c]);
    }
    return bad;
}

void ek_batchnorm_predict(ek_batchnorm *b)
{
    for (int c = 0; c < b->c; c++)
        set_channel(b, c, (double)b->moving_mean[c], (double)b->moving_var[c]);
}

int ek_batchnorm_backward(ek_batchnorm *b, int64_t samples)
{
    const int64_t blocks = (samples + EK_LANES - 1) / EK_LANES;
    const double m = (double)samples * (double)b->plane;
    int bad = -1;
    for (int c = 0; c < b->c; c++) {
        double dz = 0, dz_x = 0;
        for (int64_t block = 0; block < blocks; block++) {
            dz += b->block_sums[block * b->c + c].dz;
            dz_x += b->block_sums[block * b->c + c].dz_x;
        }
        const double gamma = b->gamma ? (double)b->gamma[c] : 1.0, rstd = b->rstd[c];
        ek_norm_gradient *g = &b->gradients[c];
        if (b->normalize == EK_NORMALIZE_DEVIATION) /* sum dz*x, from the sum about the passes' mean */
            dz_x += ((double)g->mean + (double)g->mean_low) * dz;
        if (b->dgamma)
            b->dgamma[c] = (float)(dz_x * rstd);
        if (b->dbeta)
            b->dbeta[c] = (float)dz;
        if (bad < 0 && !(isfinite((float)dz) && isfinite((float)(dz_x * rstd))))
            bad = c;
        if (!b->use_moving && b->normalize != EK_NORMALIZE_DEVIATION) /* through the mean */
            g->offset = (float)(gamma * rstd * dz / m);
        if (!b->use_moving && b->normalize != EK_NORMALIZE_MEAN) /* through the variance */
            g->slope = (float)(gamma * rstd * rstd * rstd * dz_x / m);
    }
    return bad;
}

void ek_batchnorm_stage(ek_batchnorm *b, int64_t samples, bool first)
{
    if (b->hold_moving || !b->moving_mean)
        return;
    const float *mean = first ? b->moving_mean : b->staged_mean, *var = first ? b->moving_var : b->staged_var;
    const double m = (double)samples * (double)b->plane;
    const double correction = b->population ? 1 : m / (m - 1);
    b->staged_batches = (first ? *b->num_batches : b->staged_batches) + 1;
    const double weight = b->momentum < 0 ? 1 / (double)b->staged_batches : (double)b->momentum;
    for (int c = 0; c < b->c; c++) {
        b->staged_mean[c] = ek_moving_average(mean[c], b->mean[c], weight);
        b->staged_var[c] = ek_moving_average(var[c], correction * b->variance[c], weight);
    }
}

void ek_batchnorm_commit(ek_batchnorm *b)
{
    if (b->hold_moving || !b->moving_mean)
        return;
    memcpy(b->moving_mean, b->staged_mean, (size_t)b->c * sizeof *b->moving_mean);
    memcpy(b->moving_var, b->staged_var, (size_t)b->c * sizeof *b->moving_var);
    *b->num_batches = b->staged_batches;
}
