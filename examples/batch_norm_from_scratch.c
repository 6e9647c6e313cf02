/* SPDX-License-Identifier: MIT
 * "Dive into Deep Learning", 8.5.3: batch normalization from scratch, in plain C, beside the library's.
 *
 *     cc batch_norm_from_scratch.c -o batch_norm_from_scratch $(pkg-config --cflags --libs evenkeel) -lm
 */
#include <evenkeel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 32, C = 6, H = 12, W = 12 };

/* The book's batch_norm(X, gamma, beta, moving_mean, moving_var, epsilon, momentum) for X[n,c,h,w], and with
 * h = w = 1 for X[n,c]: statistics per feature, or per channel over all samples and locations. */
static void batch_norm(bool training, int n, int c, int h, int w, const float *X, const float *gamma,
                       const float *beta, float *moving_mean, float *moving_var, double epsilon, double momentum,
                       float *Y)
{
    const int plane = h * w;
    for (int j = 0; j < c; j++) {
        double mean = 0, var = 0;
        if (training) {
            for (int i = 0; i < n; i++)
                for (int k = 0; k < plane; k++)
                    mean += X[(i * c + j) * plane + k];
            mean /= n * plane;
            for (int i = 0; i < n; i++)
                for (int k = 0; k < plane; k++)
                    var += pow(X[(i * c + j) * plane + k] - mean, 2);
            var /= n * plane;
            /* Update the mean and variance using moving average */
            moving_mean[j] = (float)((1 - momentum) * moving_mean[j] + momentum * mean);
            moving_var[j] = (float)((1 - momentum) * moving_var[j] + momentum * var);
        } else {
            /* In prediction mode, use mean and variance obtained by moving average */
            mean = moving_mean[j];
            var = moving_var[j];
        }
        for (int i = 0; i < n; i++)
            for (int k = 0; k < plane; k++) {
                const double X_hat = (X[(i * c + j) * plane + k] - mean) / sqrt(var + epsilon);
                Y[(i * c + j) * plane + k] = (float)(gamma[j] * X_hat + beta[j]); /* Scale and shift */
            }
    }
}

/* The greatest difference between two arrays; infinity where one holds NaN. */
static double difference(const float *a, const float *b, int count)
{
    double greatest = 0;
    for (int i = 0; i < count; i++) {
        const double here = fabs((double)a[i] - (double)b[i]);
        if (!(here <= greatest))
            greatest = isnan(here) ? INFINITY : here;
    }
    return greatest;
}

/* Both, in both modes, on the same numbers; the greatest difference. */
static double compare(int n, int c, int h, int w)
{
    static float X[N * C * H * W], ours[N * C * H * W], theirs[N * C * H * W];
    const float gamma[C] = {1, 0.5f, 2, -1, 1.5f, 0.1f}, beta[C] = {0, 1, -1, 0.5f, 0, 2};
    float mean[C] = {0}, var[C] = {1, 1, 1, 1, 1, 1}, their_mean[C] = {0}, their_var[C] = {1, 1, 1, 1, 1, 1};
    const ek_shape shape = {.n = n, .c = c, .h = h, .w = w};
    const int count = n * c * h * w;
    double greatest = 0;
    for (int i = 0; i < count; i++)
        X[i] = 3 + (float)rand() / (float)RAND_MAX;
    for (int training = 1; training >= 0; training--) {
        batch_norm(training, n, c, h, w, X, gamma, beta, mean, var, 1e-5, 0.1, ours);
        if (ek_batch_norm(training ? EK_TRAINING : EK_PREDICTION, shape, X, gamma, beta, their_mean, their_var, 1e-5f,
                          0.1f, theirs)) {
            fprintf(stderr, "%s\n", ek_error());
            return INFINITY;
        }
        const double y = difference(ours, theirs, count);
        const double moving = fmax(difference(mean, their_mean, c), difference(var, their_var, c));
        printf("%-10s  Y differs by %.1e, moving mean and variance by %.1e\n", training ? "training" : "prediction",
               y, moving);
        greatest = fmax(greatest, fmax(y, moving));
    }
    /* batch_norm_simplified(x, gamma, beta, epsilon): no moving statistics, always the batch's own. */
    batch_norm(true, n, c, h, w, X, gamma, beta, mean, var, 1e-5, 0.1, ours);
    if (ek_batch_norm_simplified(shape, X, gamma, beta, 1e-5f, theirs))
        return INFINITY;
    printf("%-10s  Y differs by %.1e\n", "simplified", difference(ours, theirs, count));
    return fmax(greatest, difference(ours, theirs, count));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--quick") != 0) /* as every example takes it: this one is quick anyway */
        return 2;
    printf("X[%d,%d], fully connected\n", N, C);
    const double connected = compare(N, C, 1, 1);
    printf("X[%d,%d,%d,%d], convolutional\n", N, C, H, W);
    const double convolutional = compare(N, C, H, W);
    return connected <= 1e-5 && convolutional <= 1e-5 ? 0 : 1;
}
