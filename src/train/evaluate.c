/* SPDX-License-Identifier: MIT */
#include "train/evaluate.h"

#include "base/memory.h"
#include "base/thread.h"
#include "data/feed.h"
#include "net/normalize.h"
#include "net/plan.h"

#include <math.h>
#include <string.h>

/* ---- Batches ---- */

ek_status ek_batch_arrays_new(ek_batch_arrays *a, int64_t samples)
{
    const size_t n = (size_t)samples;
    a->images = ek_calloc(n, sizeof *a->images);
    a->labels = ek_calloc(n, sizeof *a->labels);
    a->loss = ek_calloc(n, sizeof *a->loss);
    a->predicted = ek_calloc(n, sizeof *a->predicted);
    a->ids = ek_calloc(n, sizeof *a->ids);
    return a->images && a->labels && a->loss && a->predicted && a->ids ? EK_OK : EK_ERR_MEMORY;
}

void ek_batch_arrays_free(ek_batch_arrays *a)
{
    ek_free(a->images);
    ek_free(a->labels);
    ek_free(a->loss);
    ek_free(a->predicted);
    ek_free(a->ids);
}

ek_status ek_check_dataset(const ek_net *net, const ek_dataset *dataset)
{
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    const ek_dims in = net->input, out = ek_net_output(net);
    if (info.channels != in.c || info.height != in.h || info.width != in.w)
        return ek_fail(EK_ERR_SHAPE, "images are %dx%dx%d, the net's input is %dx%dx%d", info.channels, info.height,
                       info.width, in.c, in.h, in.w);
    if (!out.flat && (out.h != 1 || out.w != 1))
        return ek_fail(EK_ERR_SHAPE, "the net ends in images of %dx%dx%d; end it in a linear layer", out.c, out.h,
                       out.w);
    if (info.classes > out.c)
        return ek_fail(EK_ERR_SHAPE, "the data set has %d classes, the net only %d outputs", info.classes, out.c);
    return EK_OK;
}

/* ---- Evaluation ---- */

struct ek_evaluator {
    ek_net *net;
    ek_backend *backend;
    ek_program *program;
    ek_feed *feed;
    ek_batch_arrays arrays;
    ek_normal *normal; /* the net's as it was at the beginning; NULL: none */
    int64_t count, batch_size;
};

/* Samples of a run when nothing depends on it: enough that many threads share them evenly, few enough that pointers
 * and losses stay in the cache. */
enum { RUN_SAMPLES = 4096, BATCH_SAMPLES = 256 };

static bool needs_batch(const ek_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i].kind == EK_LAYER_BATCHNORM && !net->layers[i].o.batchnorm.tracking)
            return true;
    return false;
}

ek_status ek_evaluator_new(ek_evaluator **out, ek_net *net, const ek_dataset *dataset, ek_backend *backend,
                           const ek_eval_options *options)
{
    *out = NULL;
    EK_TRY(ek_net_finish(net));
    EK_TRY(ek_check_dataset(net, dataset));
    ek_evaluator *e = ek_calloc(1, sizeof *e);
    if (!e)
        return EK_ERR_MEMORY;
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    *e = (ek_evaluator){.net = net, .backend = backend, .count = info.count};
    e->batch_size = options->batch_size ? options->batch_size
                    : needs_batch(net)  ? BATCH_SAMPLES
                                        : ek_feed_batch(dataset, RUN_SAMPLES);
    if (e->batch_size > e->count)
        e->batch_size = e->count;
    ek_status status = ek_batch_arrays_new(&e->arrays, e->batch_size);
    if (!status)
        status = ek_feed_new(&e->feed, dataset, e->batch_size, ek_backend_threads(backend));
    if (!status)
        status = ek_normal_new(&e->normal, net);
    if (!status)
        status = ek_plan_new(&e->program, net,
                             &(ek_plan_request){.mode = EK_PREDICTION,
                                                .input = EK_INPUT_BYTES,
                                                .loss = true,
                                                .logits = options->logits != NULL,
                                                .unfolded = options->unfolded,
                                                .max_samples = e->batch_size,
                                                .threads = ek_backend_threads(backend)});
    if (status) {
        ek_evaluator_free(e);
        return status;
    }
    *out = e;
    return EK_OK;
}

void ek_evaluator_free(ek_evaluator *e)
{
    if (!e)
        return;
    ek_program_free(e->program);
    ek_feed_free(e->feed);
    ek_batch_arrays_free(&e->arrays);
    ek_normal_free(e->normal);
    ek_free(e);
}

int ek_useful_threads(int threads, int64_t samples)
{
    const int64_t blocks = (samples + EK_LANES - 1) / EK_LANES;
    threads = threads ? threads : ek_cpu_count();
    /* More than a pool takes are left for the pool to refuse. */
    return threads < blocks || threads > EK_THREADS_MAX ? threads : (int)blocks;
}

ek_status ek_evaluator_run(ek_evaluator *e, int64_t *confusion, float *logits, ek_metrics *metrics)
{
    const int classes = ek_net_output(e->net).c;
    *metrics = (ek_metrics){.count = e->count};
    if (confusion)
        memset(confusion, 0, (size_t)classes * (size_t)classes * sizeof *confusion);
    ek_plan_refresh(e->program, e->net);
    EK_TRY(ek_backend_prepare(e->backend, e->program));
    double loss = 0;
    ek_feed_begin(e->feed, NULL, 0);
    for (int64_t begin = 0; begin < e->count; begin += e->batch_size) {
        const int64_t count = e->count - begin < e->batch_size ? e->count - begin : e->batch_size;
        ek_batch_arrays *a = &e->arrays;
        EK_TRY(ek_feed_next(e->feed, count, a->images, a->labels, NULL));
        EK_TRY(ek_backend_run(e->backend, e->program,
                              &(ek_batch){.samples = count,
                                          .images = a->images,
                                          .normal = e->normal,
                                          .labels = a->labels,
                                          .loss = a->loss,
                                          .predicted = a->predicted,
                                          .logits = logits ? logits + begin * classes : NULL}));
        for (int64_t i = 0; i < count; i++) {
            loss += a->loss[i];
            metrics->correct += a->predicted[i] == a->labels[i];
            if (confusion)
                confusion[a->labels[i] * classes + a->predicted[i]]++;
        }
    }
    if (!isfinite(loss))
        return ek_fail(EK_ERR_NUMERIC, "the loss is not finite: the net's outputs are NaN or infinite");
    metrics->loss = loss / (double)e->count;
    metrics->accuracy = (double)metrics->correct / (double)e->count;
    return EK_OK;
}

ek_status ek_evaluate(ek_net *net, const ek_dataset *dataset, const ek_eval_options *options, ek_metrics *metrics)
{
    const ek_eval_options o = options ? *options : (ek_eval_options){0};
    if (!net || !dataset || !metrics)
        return ek_fail(EK_ERR_ARGUMENT, "ek_evaluate: net, dataset and metrics must not be NULL");
    if (o.threads < 0 || o.batch_size < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_evaluate: threads (%d) and batch_size (%d) must not be negative",
                       o.threads, o.batch_size);
    ek_backend *backend = NULL;
    ek_evaluator *evaluator = NULL;
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    ek_status status = ek_backend_new_cpu(&backend, ek_useful_threads(o.threads, info.count));
    if (!status)
        status = ek_evaluator_new(&evaluator, net, dataset, backend, &o);
    if (!status)
        status = ek_evaluator_run(evaluator, o.confusion, o.logits, metrics);
    ek_evaluator_free(evaluator);
    ek_backend_free(backend);
    return status;
}

/* ---- Prediction of plain arrays ---- */

static ek_status predict_on(ek_backend *backend, ek_net *net, int64_t n, const float *x, float *logits)
{
    const int64_t step = n < RUN_SAMPLES || needs_batch(net) ? n : RUN_SAMPLES;
    ek_program *program = NULL;
    ek_normal *normal;
    EK_TRY(ek_normal_new(&normal, net));
    ek_status status = ek_plan_new(&program, net,
                                   &(ek_plan_request){.mode = EK_PREDICTION,
                                                      .input = EK_INPUT_FLOATS,
                                                      .max_samples = step,
                                                      .threads = ek_backend_threads(backend)});
    if (!status)
        status = ek_backend_prepare(backend, program);
    const int64_t in = ek_dims_count(net->input), out = ek_dims_count(ek_net_output(net));
    for (int64_t begin = 0; begin < n && !status; begin += step)
        status = ek_backend_run(backend, program,
                                &(ek_batch){.samples = n - begin < step ? n - begin : step,
                                            .values = x + begin * in,
                                            .normal = normal,
                                            .logits = logits + begin * out});
    ek_program_free(program);
    ek_normal_free(normal);
    return status;
}

ek_status ek_predict(ek_net *net, int64_t n, const float *x, int threads, float *logits)
{
    if (!net || !x || !logits)
        return ek_fail(EK_ERR_ARGUMENT, "ek_predict: net, x and logits must not be NULL");
    if (n < 1 || threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_predict: n (%lld) must be positive and threads (%d) not negative",
                       (long long)n, threads);
    EK_TRY(ek_net_finish(net));
    ek_backend *backend = NULL;
    EK_TRY(ek_backend_new_cpu(&backend, ek_useful_threads(threads, n)));
    const ek_status status = predict_on(backend, net, n, x, logits);
    ek_backend_free(backend);
    return status;
}
