/* SPDX-License-Identifier: MIT
 * Prediction of one image or a few at a time, through ek_predictor: what a program that serves waits for. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { FLOATS = 1 << 18, PLACES_MAX = 64 };

/* Calls of `batch` images, one after the other on each thread, all on one predictor. */
typedef struct calls {
    ek_predictor *predictor;
    float *images, *outputs; /* so many floats of images; of each thread its own */
    int64_t in, out, steps;
    int threads, batch;
    bool failed;
} calls;

static void run_calls(void *argument, int thread)
{
    calls *c = argument;
    const int64_t size = c->batch * c->in, places = FLOATS / size < PLACES_MAX ? FLOATS / size : PLACES_MAX;
    float *out = c->outputs + thread * c->batch * c->out;
    for (int64_t i = 0; i < c->steps; i++)
        if (ek_predictor_run(c->predictor, c->batch, c->images + (i + thread) % places * size, out, NULL))
            c->failed = true;
}

static double run(void *state, int64_t steps)
{
    calls *c = state;
    c->steps = steps;
    const double seconds = bench_on_threads(c->threads, run_calls, c);
    if (c->failed)
        bench_fail("a prediction failed");
    return c->failed ? -1 : seconds;
}

static void close_calls(void *state)
{
    calls *c = state;
    ek_predictor_free(c->predictor);
    free(c->images);
    free(c->outputs);
    free(c);
}

static bool fill(calls *c, const char *net_name)
{
    ek_net *net = ek_net_builtin(net_name);
    const bool made = net && !ek_net_init(net, EK_INIT_XAVIER, 0) &&
                      !ek_predictor_new(&c->predictor, net, &(ek_predictor_options){.threads = c->threads});
    ek_net_free(net);
    if (!made)
        return bench_fail(ek_error());
    int channels, height, width;
    ek_predictor_shape(c->predictor, &channels, &height, &width, &c->out, NULL);
    c->in = (int64_t)channels * height * width;
    if (c->batch * c->in > FLOATS)
        return bench_fail("so many images are too large");
    c->images = malloc(FLOATS * sizeof *c->images);
    c->outputs = malloc((size_t)(c->threads * c->batch * c->out) * sizeof *c->outputs);
    if (!c->images || !c->outputs)
        return bench_fail("out of memory");
    uint32_t random = 1;
    for (int i = 0; i < FLOATS; i++) {
        random = 1664525 * random + 1013904223;
        c->images[i] = (float)(random >> 24) / 255.0f;
    }
    return true;
}

bool bench_open_predictor(bench_work *work, const char *kind, const bench_settings *settings)
{
    static const char prefix[] = "predictor-";
    calls *c = calloc(1, sizeof *c);
    if (!c)
        return bench_fail("out of memory");
    c->threads = settings->threads;
    c->batch = settings->batch_size ? settings->batch_size : 1;
    if (!fill(c, strncmp(kind, prefix, strlen(prefix)) ? CLI_NET_DEFAULT : kind + strlen(prefix))) {
        close_calls(c);
        return false;
    }
    *work = (bench_work){
        .amount = (double)c->threads * c->batch, .unit = "image", .state = c, .run = run, .close = close_calls};
    return true;
}
