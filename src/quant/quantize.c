/* SPDX-License-Identifier: MIT
 * Quantised nets as the public face has them: made, run on images, measured. */
#include "quant/quant.h"

#include "base/memory.h"
#include "base/thread.h"
#include "data/feed.h"
#include "quant/range.h"
#include "quant/run.h"
#include "train/evaluate.h"

#include <math.h>
#include <string.h>

/* Samples measured by default; images of one round of all threads. */
enum { CALIBRATION_SAMPLES = 1024, ROUND_SAMPLES = 256 };

/* ---- Making one --------------------------------------------------------------------------------------------- */

/* The net as it is now. */
static ek_status copy_net(ek_net **copy, ek_net *net)
{
    char *text = ek_net_text(net);
    if (!text)
        return EK_ERR_MEMORY;
    ek_status status = ek_net_read(copy, text, NULL);
    ek_free(text);
    if (!status)
        status = ek_net_finish(*copy);
    if (status)
        return status;
    memcpy((*copy)->values, net->values, net->value_count * sizeof *net->values);
    for (int i = 0; i < net->note_count; i++)
        EK_TRY(ek_net_set_note(*copy, net->notes[i].key, net->notes[i].value));
    return EK_OK;
}

static ek_status quantize(ek_quantized *q, ek_net *net, const ek_dataset *calibration,
                          const ek_quantize_options *options)
{
    ek_probe *probe = NULL;
    EK_TRY(copy_net(&q->net, net));
    EK_TRY(ek_q_graph(q));
    const ek_probe_options measured = {.samples = options->samples ? options->samples : CALIBRATION_SAMPLES,
                                       .threads = options->threads};
    EK_TRY(ek_probe_new_with_histograms(&probe, q->net, calibration, &measured));
    q->samples = ek_probe_samples(probe);
    ek_status status = ek_q_ranges(q, probe);
    if (!status)
        status = ek_q_numbers(q, probe);
    ek_probe_free(probe);
    return status;
}

ek_status ek_quantize(ek_quantized **quantized, ek_net *net, const ek_dataset *calibration,
                      const ek_quantize_options *options)
{
    const ek_quantize_options o = options ? *options : (ek_quantize_options){0};
    if (!quantized || !net || !calibration)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantize: quantized, net and calibration must not be NULL");
    *quantized = NULL;
    if (o.samples < 0 || o.threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantize: samples (%lld) and threads (%d) must not be negative",
                       (long long)o.samples, o.threads);
    EK_TRY(ek_net_finish(net));
    EK_TRY(ek_check_dataset(net, calibration));
    ek_quantized *q = ek_calloc(1, sizeof *q);
    if (!q)
        return EK_ERR_MEMORY;
    const ek_status status = quantize(q, net, calibration, &o);
    if (status) {
        ek_quantized_free(q);
        return status;
    }
    *quantized = q;
    return EK_OK;
}

void ek_quantized_free(ek_quantized *q)
{
    if (!q)
        return;
    for (int i = 0; i < q->op_count; i++) {
        ek_free(q->ops[i].weights);
        ek_free(q->ops[i].bias);
        ek_free(q->ops[i].multipliers);
        ek_free(q->ops[i].table);
    }
    ek_free(q->ops);
    ek_free(q->tensors);
    ek_net_free(q->net);
    ek_free(q);
}

void ek_quantized_get_info(const ek_quantized *q, ek_quantized_info *info)
{
    const ek_q_tensor *y = &q->tensors[q->output];
    *info = (ek_quantized_info){.outputs = (int)y->count, .output_scale = (float)y->scale, .samples = q->samples};
    for (int i = 0; i < q->op_count; i++)
        if (q->ops[i].weights)
            info->weights += ek_conv_weights(&q->ops[i].g);
}

/* ---- Running it --------------------------------------------------------------------------------------------- */

/* Images that threads share; image i's outputs are outputs[i * count ..]. */
typedef struct round_of {
    ek_q_work **works; /* by thread */
    ek_share *share;
    ek_pool *pool;
    const uint8_t *const *images;
    int16_t *outputs;
    int64_t count;
} round_of;

static void run_images(void *argument, ek_pool *pool, int thread)
{
    const round_of *r = argument;
    for (int64_t i; (i = ek_share_next(r->share, ek_pool_threads(pool), thread)) >= 0;)
        ek_q_run(r->works[thread], r->images[i], r->outputs + i * r->count);
}

static void run_round(round_of *r, int64_t samples)
{
    ek_share_start(r->share, ek_pool_threads(r->pool), samples);
    ek_pool_run(r->pool, run_images, r);
}

static void close_round(round_of *r)
{
    for (int i = 0; r->works && i < ek_pool_threads(r->pool); i++)
        ek_q_work_free(r->works[i]);
    ek_free(r->works);
    ek_share_free(r->share);
    ek_pool_free(r->pool);
}

static ek_status open_round(round_of *r, const ek_quantized *q, int64_t samples, int threads)
{
    threads = threads ? threads : ek_cpu_count();
    if (threads > samples && threads <= EK_THREADS_MAX)
        threads = (int)samples;
    *r = (round_of){.count = q->tensors[q->output].count};
    EK_TRY(ek_pool_new(&r->pool, threads));
    r->share = ek_share_new(threads);
    r->works = r->share ? ek_calloc((size_t)threads, sizeof *r->works) : NULL;
    if (!r->works)
        return EK_ERR_MEMORY;
    for (int i = 0; i < threads; i++)
        EK_TRY(ek_q_work_new(&r->works[i], q));
    return EK_OK;
}

ek_status ek_quantized_predict(const ek_quantized *q, int64_t n, const uint8_t *pixels, int threads, int16_t *outputs)
{
    if (!q || !pixels || !outputs)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantized_predict: quantized, pixels and outputs must not be NULL");
    if (n < 1 || threads < 0)
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_quantized_predict: n (%lld) must be positive and threads (%d) not negative", (long long)n,
                       threads);
    round_of r;
    const uint8_t *images[ROUND_SAMPLES];
    const int64_t size = ek_dims_count(q->net->input);
    ek_status status = open_round(&r, q, n, threads);
    for (int64_t begin = 0; begin < n && !status; begin += ROUND_SAMPLES) {
        const int64_t count = n - begin < ROUND_SAMPLES ? n - begin : ROUND_SAMPLES;
        for (int64_t i = 0; i < count; i++)
            images[i] = pixels + (begin + i) * size;
        r.images = images;
        r.outputs = outputs + begin * r.count;
        run_round(&r, count);
    }
    close_round(&r);
    return status;
}

/* ---- Measuring it ------------------------------------------------------------------------------------------- */

/* One sample's part of the metrics. */
static double count_sample(const ek_eval_options *o, ek_metrics *metrics, const int16_t *outputs, int classes,
                           double scale, int label)
{
    int best = 0;
    double sum = 0;
    for (int k = 1; k < classes; k++)
        best = outputs[k] > outputs[best] ? k : best;
    for (int k = 0; k < classes; k++)
        sum += exp(scale * (outputs[k] - outputs[best]));
    metrics->correct += best == label;
    if (o->confusion)
        o->confusion[label * classes + best]++;
    return log(sum) - scale * (outputs[label] - outputs[best]);
}

static ek_status evaluate(const ek_quantized *q, round_of *r, ek_feed *feed, ek_batch_arrays *a,
                          const ek_eval_options *o, ek_metrics *metrics)
{
    const int classes = (int)r->count;
    const double scale = q->tensors[q->output].scale;
    double loss = 0;
    r->images = a->images;
    ek_feed_begin(feed, NULL, 0);
    for (int64_t begin = 0; begin < metrics->count; begin += ROUND_SAMPLES) {
        const int64_t count = metrics->count - begin < ROUND_SAMPLES ? metrics->count - begin : ROUND_SAMPLES;
        EK_TRY(ek_feed_next(feed, count, a->images, a->labels, NULL));
        run_round(r, count);
        for (int64_t i = 0; i < count; i++) {
            const int16_t *outputs = r->outputs + i * classes;
            loss += count_sample(o, metrics, outputs, classes, scale, a->labels[i]);
            for (int k = 0; o->logits && k < classes; k++)
                o->logits[(begin + i) * classes + k] = (float)(scale * outputs[k]);
        }
    }
    metrics->loss = loss / (double)metrics->count;
    metrics->accuracy = (double)metrics->correct / (double)metrics->count;
    return EK_OK;
}

ek_status ek_quantized_evaluate(const ek_quantized *q, const ek_dataset *dataset, const ek_eval_options *options,
                                ek_metrics *metrics)
{
    const ek_eval_options o = options ? *options : (ek_eval_options){0};
    if (!q || !dataset || !metrics)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantized_evaluate: quantized, dataset and metrics must not be NULL");
    if (o.threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantized_evaluate: threads (%d) must not be negative", o.threads);
    EK_TRY(ek_check_dataset(q->net, dataset));
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    const size_t classes = (size_t)q->tensors[q->output].count;
    round_of r;
    ek_feed *feed = NULL;
    ek_batch_arrays arrays = {0};
    *metrics = (ek_metrics){.count = info.count};
    ek_status status = open_round(&r, q, info.count, o.threads);
    if (!status)
        status = ek_batch_arrays_new(&arrays, ROUND_SAMPLES);
    if (!status)
        status = ek_feed_new(&feed, dataset, ROUND_SAMPLES, ek_pool_threads(r.pool));
    if (!status && !(r.outputs = ek_calloc(ROUND_SAMPLES * classes, sizeof *r.outputs)))
        status = EK_ERR_MEMORY;
    if (o.confusion)
        memset(o.confusion, 0, classes * classes * sizeof *o.confusion);
    if (!status)
        status = evaluate(q, &r, feed, &arrays, &o, metrics);
    ek_free(r.outputs);
    ek_feed_free(feed);
    ek_batch_arrays_free(&arrays);
    close_round(&r);
    return status;
}
