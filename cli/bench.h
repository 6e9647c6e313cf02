/* SPDX-License-Identifier: MIT
 * What evenkeel bench measures: works, each of which runs steps and says how long they took. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli.h"

/* A work that is open: its threads exist, its memory has been touched, and it sleeps until it is run. */
typedef struct bench_work {
    double amount;        /* of a step, in units */
    const char *unit;     /* "image", "flop" or "byte" */
    double memory_before; /* bytes that the process had before training began, its data read; 0: not asked */
    void *state;
    double (*run)(void *state, int64_t steps); /* seconds that so many steps took; below 0: a failure */
    void (*close)(void *state);
} bench_work;

typedef struct bench_settings {
    int threads;
    int batch_size; /* of train, predict and predictor; 0: 128, 256 and 1 */
} bench_settings;

/* A function per file that opens works of a `kind`; false with bench_error set. */
typedef bool bench_open_function(bench_work *work, const char *kind, const bench_settings *settings);
bench_open_function bench_open_peak;      /* "peak" */
bench_open_function bench_open_net;       /* "train", "train-resnet-20", "train-resnet-18", "predict" */
bench_open_function bench_open_predictor; /* "predictor", "predictor-resnet-20" */
bench_open_function bench_open_norm;      /* "bn-forward", "bn-backward" */
bench_open_function bench_open_loop;      /* "bn-forward-loop", "bn-backward-loop" */

/* The data and arrays that works share; freed after the last is closed. */
void bench_free_images(void);
void bench_free_arrays(void);

/* This process's memory in bytes: "VmRSS:", or at its most "VmHWM:"; 0 where it is not told. */
double bench_memory(const char *what);

extern char bench_error[512];
bool bench_fail(const char *message);

/* Runs function(argument, thread) on `threads` threads, returns when all are done; seconds, below 0: no thread. */
double bench_on_threads(int threads, void (*function)(void *argument, int thread), void *argument);

#endif
