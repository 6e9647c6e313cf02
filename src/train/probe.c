/* SPDX-License-Identifier: MIT
 * Every layer's outputs measured over a data set. */
#include "train/probe.h"

#include "base/memory.h"
#include "data/feed.h"
#include "net/normalize.h"
#include "net/plan.h"
#include "train/evaluate.h"

#include <math.h>

/* Samples by default, and of a batch. */
enum { PROBE_SAMPLES = 2048, PROBE_BATCH = 256 };

typedef struct layer_stats {
    ek_channel_stats *channels; /* NULL: not measured */
    int count;
    ek_histogram histogram; /* counts NULL: none */
    int64_t *counts;
} layer_stats;

struct ek_probe {
    int64_t samples;
    layer_stats *layers;
    int layer_count;
};

/* What a probe works with while it measures. */
typedef struct work {
    ek_backend *backend;
    ek_program *program;
    ek_feed *feed;
    ek_normal *normal;
    ek_batch_arrays arrays;
    int32_t *order;
    int64_t batch;
} work;

static ek_status open_work(work *w, ek_net *net, const ek_dataset *dataset, int64_t total, int64_t samples,
                           int threads)
{
    w->batch = samples < PROBE_BATCH ? samples : PROBE_BATCH;
    EK_TRY(ek_backend_new_cpu(&w->backend, ek_useful_threads(threads, w->batch)));
    EK_TRY(ek_batch_arrays_new(&w->arrays, w->batch));
    EK_TRY(ek_feed_new(&w->feed, dataset, w->batch, ek_backend_threads(w->backend)));
    EK_TRY(ek_normal_new(&w->normal, net));
    if (!(w->order = ek_calloc((size_t)total, sizeof *w->order)))
        return EK_ERR_MEMORY;
    for (int64_t i = 0; i < samples; i++) /* sorted sets have every class in them */
        w->order[i] = (int32_t)(i * total / samples);
    EK_TRY(ek_plan_new(&w->program, net,
                       &(ek_plan_request){.mode = EK_PREDICTION,
                                          .input = EK_INPUT_BYTES,
                                          .loss = true,
                                          .probe = true,
                                          .max_samples = w->batch,
                                          .threads = ek_backend_threads(w->backend)}));
    return ek_backend_prepare(w->backend, w->program);
}

static void close_work(work *w)
{
    ek_program_free(w->program);
    ek_feed_free(w->feed);
    ek_normal_free(w->normal);
    ek_batch_arrays_free(&w->arrays);
    ek_backend_free(w->backend);
    ek_free(w->order);
}

static ek_status measure(work *w, int64_t samples)
{
    ek_batch_arrays *a = &w->arrays;
    ek_feed_begin(w->feed, w->order, 0);
    for (int64_t at = 0; at < samples; at += w->batch) {
        const int64_t count = samples - at < w->batch ? samples - at : w->batch;
        EK_TRY(ek_feed_next(w->feed, count, a->images, a->labels, NULL));
        EK_TRY(ek_backend_run(w->backend, w->program,
                              &(ek_batch){.samples = count,
                                          .images = a->images,
                                          .normal = w->normal,
                                          .labels = a->labels,
                                          .loss = a->loss,
                                          .predicted = a->predicted}));
        for (int i = 0; i < w->program->point_count; i++)
            ek_probe_merge(&w->program->points[i], count);
    }
    return EK_OK;
}

static bool all_finite(const ek_program *program)
{
    for (int i = 0; i < program->point_count; i++)
        for (int c = 0; c < program->points[i].c; c++)
            if (!isfinite(program->points[i].all[c].deviations))
                return false;
    return true;
}

static ek_status count_in_bins(work *w, int64_t samples)
{
    if (!all_finite(w->program))
        return EK_OK;
    for (int i = 0; i < w->program->point_count; i++)
        EK_TRY(ek_probe_point_begin_bins(&w->program->points[i]));
    return measure(w, samples);
}

static ek_status take_histogram(layer_stats *layer, const ek_probe_point *p)
{
    if (!(layer->counts = ek_calloc(EK_BINS, sizeof *layer->counts)))
        return EK_ERR_MEMORY;
    for (int i = 0; i < EK_BINS; i++)
        layer->counts[i] = p->bins[i];
    layer->histogram =
        (ek_histogram){.low = layer->channels[0].min, .high = layer->channels[0].max, .counts = layer->counts};
    for (int c = 1; c < p->c; c++) {
        layer->histogram.low = fminf(layer->histogram.low, layer->channels[c].min);
        layer->histogram.high = fmaxf(layer->histogram.high, layer->channels[c].max);
    }
    return EK_OK;
}

static ek_status take_stats(ek_probe *probe, const ek_program *program)
{
    for (int i = 0; i < program->point_count; i++) {
        const ek_probe_point *p = &program->points[i];
        layer_stats *layer = &probe->layers[p->layer];
        const double count = (double)(p->samples * p->plane);
        if (!(layer->channels = ek_calloc((size_t)p->c, sizeof *layer->channels)))
            return EK_ERR_MEMORY;
        layer->count = p->c;
        for (int c = 0; c < p->c; c++)
            layer->channels[c] =
                (ek_channel_stats){.mean = isfinite(p->all[c].deviations) ? p->all[c].mean : NAN,
                                   .std = isfinite(p->all[c].deviations) ? sqrt(p->all[c].deviations / count) : NAN,
                                   .min = p->all[c].least,
                                   .max = p->all[c].greatest,
                                   .flat = (double)p->all[c].flat / count};
        if (p->bins)
            EK_TRY(take_histogram(layer, p));
    }
    return EK_OK;
}

static ek_status new_probe(ek_probe **out, ek_net *net, const ek_dataset *dataset, const ek_probe_options *options,
                           bool histograms)
{
    const ek_probe_options o = options ? *options : (ek_probe_options){0};
    if (!out || !net || !dataset)
        return ek_fail(EK_ERR_ARGUMENT, "ek_probe_new: probe, net and dataset must not be NULL");
    *out = NULL;
    if (o.samples < 0 || o.threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_probe_new: samples (%lld) and threads (%d) must not be negative",
                       (long long)o.samples, o.threads);
    EK_TRY(ek_net_finish(net));
    EK_TRY(ek_check_dataset(net, dataset));
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    if (info.count > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "ek_probe_new: %lld samples are more than %d", (long long)info.count,
                       INT32_MAX);
    const int64_t wanted = o.samples ? o.samples : PROBE_SAMPLES;
    ek_probe *probe = ek_calloc(1, sizeof *probe);
    if (!probe)
        return EK_ERR_MEMORY;
    probe->samples = wanted < info.count ? wanted : info.count;
    probe->layer_count = net->layer_count;
    probe->layers = ek_calloc((size_t)net->layer_count, sizeof *probe->layers);
    work w = {0};
    ek_status status = probe->layers ? EK_OK : EK_ERR_MEMORY;
    if (!status)
        status = open_work(&w, net, dataset, info.count, probe->samples, o.threads);
    if (!status)
        status = measure(&w, probe->samples);
    if (!status && histograms)
        status = count_in_bins(&w, probe->samples);
    if (!status)
        status = take_stats(probe, w.program);
    close_work(&w);
    if (status) {
        ek_probe_free(probe);
        return status;
    }
    *out = probe;
    return EK_OK;
}

ek_status ek_probe_new(ek_probe **out, ek_net *net, const ek_dataset *dataset, const ek_probe_options *options)
{
    return new_probe(out, net, dataset, options, false);
}

ek_status ek_probe_new_with_histograms(ek_probe **out, ek_net *net, const ek_dataset *dataset,
                                       const ek_probe_options *options)
{
    return new_probe(out, net, dataset, options, true);
}

void ek_probe_free(ek_probe *probe)
{
    if (!probe)
        return;
    for (int i = 0; probe->layers && i < probe->layer_count; i++) {
        ek_free(probe->layers[i].channels);
        ek_free(probe->layers[i].counts);
    }
    ek_free(probe->layers);
    ek_free(probe);
}

int64_t ek_probe_samples(const ek_probe *probe)
{
    return probe->samples;
}

const ek_channel_stats *ek_probe_layer(const ek_probe *probe, int layer, int *channels)
{
    const bool known = layer >= 0 && layer < probe->layer_count;
    *channels = known ? probe->layers[layer].count : 0;
    return known ? probe->layers[layer].channels : NULL;
}

const ek_histogram *ek_probe_histogram(const ek_probe *probe, int layer)
{
    const bool known = layer >= 0 && layer < probe->layer_count && probe->layers[layer].counts;
    return known ? &probe->layers[layer].histogram : NULL;
}
