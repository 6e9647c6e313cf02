/* SPDX-License-Identifier: MIT
 * Batch normalisation against a plain loop that moves the same bytes with the same threads:
 *   forward   read x, read x, write y            backward   read x and dy, read x and dy, write dx
 * Build: cc -O3 -march=native -pthread -Iinclude bench/bench_norm.c -levenkeel. Run on a quiet machine; both sides
 * take turns, and each figure is the median of the turns' ratios. Arguments: threads ... (default 1 2). */
#define _GNU_SOURCE
#include "evenkeel.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 64, MIN_TURNS = 9, LANES = 16 };

static const double SECONDS = 0.6; /* of measuring per figure, about */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef float aligned_lanes __attribute__((vector_size(LANES * sizeof(float))));

typedef struct slice {
    const float *x, *dy;
    float *y;
    size_t count;
    bool stream;
    float sum;
    pthread_barrier_t *barrier;
} slice;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put(float *y, lanes v, bool stream)
{
#if defined(__AVX__)
    if (stream) {
        aligned_lanes a = v;
        for (int i = 0; i < LANES; i += 8) {
            float part[8] __attribute__((aligned(32)));
            memcpy(part, (const float *)&a + i, sizeof part);
            __builtin_ia32_movntps256(y + i, *(__attribute__((vector_size(32))) float *)part);
        }
        return;
    }
#endif
    (void)stream;
    *(lanes *)y = v;
}

/* The plain loop of one thread; slices begin and end on vectors. */
static void *move(void *argument)
{
    slice *s = argument;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 * LANES <= s->count; i += 4 * LANES) {
        const lanes *x = (const lanes *)(s->x + i);
        a += x[0], b += x[1], c += x[2], d += x[3];
        if (s->dy) {
            const lanes *dy = (const lanes *)(s->dy + i);
            a += dy[0], b += dy[1], c += dy[2], d += dy[3];
        }
    }
    a += b + c + d;
    s->sum = a[0];
    pthread_barrier_wait(s->barrier);
    const lanes scale = a * 0 + 0.5f, shift = a * 0 + 1.0f;
    for (size_t i = 0; i + 2 * LANES <= s->count; i += 2 * LANES) {
        lanes u = *(const lanes *)(s->x + i) * scale + shift, v = *(const lanes *)(s->x + i + LANES) * scale + shift;
        if (s->dy) {
            u += *(const lanes *)(s->dy + i);
            v += *(const lanes *)(s->dy + i + LANES);
        }
        put(s->y + i, u, s->stream);
        put(s->y + i + LANES, v, s->stream);
    }
#if defined(__AVX__)
    __builtin_ia32_sfence();
#endif
    return NULL;
}

/* Threads that wait for turns, so that no side pays for starting them. */
typedef struct crew {
    int threads;
    pthread_barrier_t start, middle, end;
    pthread_t thread[MAX_THREADS];
    slice slices[MAX_THREADS];
    bool stop;
} crew;

typedef struct hand {
    crew *c;
    int index;
} hand;

static void *stand_by(void *argument)
{
    hand h = *(hand *)argument;
    for (;;) {
        pthread_barrier_wait(&h.c->start);
        if (h.c->stop)
            return NULL;
        move(&h.c->slices[h.index]);
        pthread_barrier_wait(&h.c->end);
    }
}

static void crew_start(crew *c, hand *hands, int threads)
{
    *c = (crew){.threads = threads};
    pthread_barrier_init(&c->start, NULL, (unsigned)threads);
    pthread_barrier_init(&c->middle, NULL, (unsigned)threads);
    pthread_barrier_init(&c->end, NULL, (unsigned)threads);
    for (int t = 1; t < threads; t++) {
        hands[t] = (hand){c, t};
        pthread_create(&c->thread[t], NULL, stand_by, &hands[t]);
    }
}

static void crew_end(crew *c)
{
    c->stop = true;
    pthread_barrier_wait(&c->start);
    for (int t = 1; t < c->threads; t++)
        pthread_join(c->thread[t], NULL);
}

static double plain(crew *c, const float *x, const float *dy, float *y, size_t count, bool stream)
{
    size_t part = count / (size_t)c->threads / (4 * LANES) * (4 * LANES);
    for (int t = 0; t < c->threads; t++) {
        size_t from = part * (size_t)t;
        c->slices[t] = (slice){.x = x + from,
                               .dy = dy ? dy + from : NULL,
                               .y = y + from,
                               .stream = stream,
                               .count = t + 1 < c->threads ? part : count - from,
                               .barrier = &c->middle};
    }
    double begin = now();
    pthread_barrier_wait(&c->start);
    move(&c->slices[0]);
    pthread_barrier_wait(&c->end);
    return now() - begin;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static void check(ek_status status)
{
    if (status) {
        fprintf(stderr, "bench_norm: %s\n", ek_error());
        exit(1);
    }
}

static void measure(ek_shape s, int threads, bool backward)
{
    enum { MAX_TURNS = 999 };
    static double ratio[MAX_TURNS], ours[MAX_TURNS];
    size_t c = (size_t)s.c, count = (size_t)(s.n * s.c * s.h * s.w), bytes = (count + LANES) * sizeof(float);
    float *x = aligned_alloc(64, (bytes + 63) / 64 * 64), *dy = aligned_alloc(64, (bytes + 63) / 64 * 64);
    float *y = aligned_alloc(64, (bytes + 63) / 64 * 64), *z = aligned_alloc(64, (bytes + 63) / 64 * 64);
    float *channel = calloc(8 * c, sizeof *channel);
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)((i * 2654435761u >> 8) % 1000) * 0.01f;
        dy[i] = (float)((i * 40503u >> 4) % 1000) * 0.01f - 5;
    }
    memset(y, 0, bytes);
    memset(z, 0, bytes);
    float *gamma = channel, *beta = channel + c, *mean = channel + 2 * c, *var = channel + 3 * c;
    float *save_mean = channel + 4 * c, *save_rstd = channel + 5 * c;
    for (size_t i = 0; i < c; i++)
        gamma[i] = var[i] = 1;
    const bool stream = (backward ? 3 : 2) * count * sizeof(float) > 32 << 20; /* beyond the caches, past them */
    ek_batch_norm_options options = {.threads = threads};
    hand hands[MAX_THREADS];
    crew crew_of;
    crew_start(&crew_of, hands, threads);
    int turns = 0;
    for (double begin = now(); turns < MAX_TURNS && (turns < MIN_TURNS + 2 || now() - begin < SECONDS); turns++) {
        double start = now();
        if (backward)
            check(ek_batch_norm_backward(EK_TRAINING, true, s, x, dy, gamma, save_mean, save_rstd, &options, y, beta,
                                         mean));
        else
            check(ek_batch_norm_forward(EK_TRAINING, s, x, gamma, beta, mean, var, NULL, &options, y, save_mean,
                                        save_rstd));
        ours[turns] = now() - start;
        ratio[turns] = ours[turns] / plain(&crew_of, x, backward ? dy : NULL, z, count, stream);
    }
    crew_end(&crew_of);
    double r = median(ratio + 2, turns - 2), t = median(ours + 2, turns - 2); /* two turns to warm up */
    printf("%-8s %4lldx%lldx%lldx%lld %s  %d thread%s  %8.3f ms  %6.1f GB/s  %.2f of the plain loop's time\n",
           backward ? "backward" : "forward", (long long)s.n, (long long)s.c, (long long)s.h, (long long)s.w,
           s.layout == EK_NHWC ? "NHWC" : "NCHW", threads, threads > 1 ? "s" : " ", 1e3 * t,
           (backward ? 5 : 3) * (double)count * sizeof(float) / t * 1e-9, r);
    free(x);
    free(dy);
    free(y);
    free(z);
    free(channel);
}

int main(int argc, char **argv)
{
    static const ek_shape shapes[] = {{128, 6, 24, 24, EK_NCHW},   {128, 64, 56, 56, EK_NCHW},
                                      {256, 256, 14, 14, EK_NCHW}, {4096, 1024, 1, 1, EK_NCHW},
                                      {128, 6, 24, 24, EK_NHWC},   {128, 64, 56, 56, EK_NHWC},
                                      {256, 256, 14, 14, EK_NHWC}};
    printf("%s\n", ek_cpu());
    for (int a = 1; a < (argc > 1 ? argc : 3); a++) {
        int threads = argc > 1 ? atoi(argv[a]) : a;
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            measure(shapes[i], threads < 1 || threads > MAX_THREADS ? 1 : threads, false);
            measure(shapes[i], threads < 1 || threads > MAX_THREADS ? 1 : threads, true);
        }
    }
    return 0;
}
