/* SPDX-License-Identifier: MIT
 * The exported C's side of bench/predict.py, which compiles it with the net.c that stands beside: one random image
 * after the other, driven as README.md describes. */
#define _POSIX_C_SOURCE 199309L
#include "net.h"

#include <stdio.h>
#include <time.h>

enum { IMAGES = 64 };

static float images[IMAGES][NET_INPUTS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void)
{
    uint32_t random = 1;
    float outputs[NET_OUTPUTS];
    long steps;
    if (net_self_test()) {
        fputs("exported_worker: the net's self-test fails\n", stderr);
        return 1;
    }
    for (int i = 0; i < IMAGES; i++)
        for (int j = 0; j < NET_INPUTS; j++) {
            random = 1664525 * random + 1013904223;
            images[i][j] = (float)(random >> 24) / 255.0f;
        }
    puts("ready 1 image");
    fflush(stdout);
    while (scanf(" go %ld", &steps) == 1) {
        const double start = now();
        for (long i = 0; i < steps; i++)
            net_predict(images[i % IMAGES], outputs);
        printf("%.6f\n", now() - start);
        fflush(stdout);
    }
    return 0;
}
