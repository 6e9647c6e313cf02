/* SPDX-License-Identifier: MIT
 * Measuring a model's layers, and what is to be said of them. The limits are rules of thumb: docs/doctor.md gives the
 * reasons. */
#include "doctor.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Where a number becomes a finding. */
static const double drift_limit = 0.25;    /* exact deviations between the means, or what chance may do */
static const double width_limit = 1.25;    /* between the deviations, or one over it; likewise */
static const double chance = 4;            /* standard errors that the worst of many channels may be off by */
static const double gamma_limit = 0.01;    /* |gamma| below it adds nothing */
static const double saturated_limit = 0.9; /* share of a channel's values that are flat */
static const double flat_limit = 0.5;      /* share of a layer's */
static const double still_limit = 1e-6;    /* deviation to size of a channel that does not change */

const char *doctor_kind_name(doctor_kind kind)
{
    static const char *const names[] = {"not_finite", "accuracy",  "accuracy_worse", "drift", "constant",
                                        "dead",       "saturated", "unvaried",       "gamma"};
    return names[kind];
}

const char *doctor_advice(doctor_kind kind)
{
    static const char *const advice[] = {
        "Where exact statistics make it finite, they are the cure (evenkeel calibrate MODEL -o FILE). Otherwise train "
        "again from weights that are finite, at a lower learning rate or with --clip-norm.",
        "Give it exact statistics (evenkeel calibrate MODEL -o FILE), or train with --exact-stats, which saves them "
        "at once.",
        "These exact statistics do not fit the images that were evaluated: more of them (--samples), or the data that "
        "the model was trained on (--data) may; or else the model is better left as it is.",
        "Moving statistics follow weights that have moved on. Where the accuracy is better with exact ones, they "
        "replace them (evenkeel calibrate MODEL -o FILE); a low learning rate at the end of training (--schedule "
        "cosine) keeps them close.",
        "Such a channel is divided by little more than eps: noise in its input comes out large. Its inputs are dead "
        "or its weights are nearly nothing; it can be left out, or eps made larger.",
        "A relu that is never on has no gradient and learns nothing more. A lower learning rate, He initialisation "
        "or leaky_relu keeps channels alive; those that are dead can be left out.",
        "Where an activation is flat hardly any gradient goes back through it. A batch norm before it, a smaller "
        "initialisation or a relu helps.",
        "The channel has the same value for every image, so the layers behind it could have it as a bias.",
        "Gamma next to 0 shuts a channel off: its output is beta. Weight decay on gamma (--decay all) does that; "
        "otherwise the net has learned not to need the channel.",
    };
    return advice[kind];
}

static void add_finding(doctor *d, doctor_kind kind, int layer, const char *format, ...) CLI_PRINTF(4, 5);

static void add_finding(doctor *d, doctor_kind kind, int layer, const char *format, ...)
{
    if (d->finding_count == d->finding_capacity) {
        const int capacity = d->finding_capacity ? 2 * d->finding_capacity : 16;
        doctor_finding *more = realloc(d->findings, (size_t)capacity * sizeof *more);
        d->failed = d->failed || !more;
        if (!more)
            return;
        d->findings = more;
        d->finding_capacity = capacity;
    }
    doctor_finding *f = &d->findings[d->finding_count++];
    *f = (doctor_finding){.kind = kind, .layer = layer};
    va_list values;
    va_start(values, format);
    vsnprintf(f->text, sizeof f->text, format, values);
    va_end(values);
}

/* ---- Channels by number --------------------------------------------------------------------------------------- */

/* "channel 3", "channels 1, 4 and 9", "channels 0, 1, 2, 3, 4, 5 and 12 more". */
typedef struct channel_list {
    int count, first[6];
} channel_list;

static void list_channel(channel_list *list, int channel)
{
    if (list->count < (int)(sizeof list->first / sizeof *list->first))
        list->first[list->count] = channel;
    list->count++;
}

static const char *list_text(const channel_list *list, char text[96])
{
    const int most = (int)(sizeof list->first / sizeof *list->first), shown = list->count < most ? list->count : most;
    int at = snprintf(text, 96, "channel%s ", list->count == 1 ? "" : "s");
    for (int i = 0; i < shown; i++)
        at += snprintf(text + at, 96 - (size_t)at, "%s%d",
                       i == 0                                   ? ""
                       : i == shown - 1 && list->count == shown ? " and "
                                                                : ", ",
                       list->first[i]);
    if (list->count > shown)
        snprintf(text + at, 96 - (size_t)at, " and %d more", list->count - shown);
    return text;
}

/* ---- Batch norms ---------------------------------------------------------------------------------------------- */

static const float *values_of(ek_net *net, int layer, ek_role role)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        if (tensor->layer == layer && tensor->role == role)
            return tensor->data;
    }
    return NULL;
}

static double greater(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

static double lesser(double a, double b)
{
    return isnan(a) || b < a ? b : a;
}

/* Moving against exact statistics. */
static void compare_statistics(doctor *d, doctor_norm *n, const ek_layer_info *info)
{
    const float *mean = values_of(d->net, n->layer, EK_ROLE_MOVING_MEAN), *exact_mean;
    const float *var = values_of(d->net, n->layer, EK_ROLE_MOVING_VAR), *exact_var;
    exact_mean = values_of(d->exact, n->layer, EK_ROLE_MOVING_MEAN);
    exact_var = values_of(d->exact, n->layer, EK_ROLE_MOVING_VAR);
    const bool centres = !strstr(info->text, "normalize=deviation"), scales = !strstr(info->text, "normalize=mean");
    /* Of n images a mean has a standard error of 1/sqrt(n) deviations, a deviation one of 1/sqrt(2n). */
    const double far = fmax(drift_limit, chance / sqrt((double)d->measured));
    const double wide = fmax(width_limit, 1 + chance / sqrt(2 * (double)d->measured));
    channel_list apart = {0}, constant = {0};
    char text[96];
    for (int c = 0; c < n->channels; c++) {
        const double deviation = sqrt((double)exact_var[c] + info->eps);
        const double drift = fabs((double)mean[c] - (double)exact_mean[c]) / deviation;
        const double ratio = sqrt((double)var[c] + info->eps) / deviation;
        const bool off = (centres && drift > far) || (scales && (ratio > wide || ratio < 1 / wide));
        if (centres && !(drift <= n->drift)) {
            n->drift = drift;
            n->drift_channel = c;
        }
        if (scales) {
            n->narrow = lesser(n->narrow, ratio);
            n->wide = greater(n->wide, ratio);
        }
        if (off)
            list_channel(&apart, c);
        if (scales && (double)exact_var[c] <= info->eps)
            list_channel(&constant, c);
    }
    if (apart.count)
        add_finding(d, DOCTOR_DRIFT, n->layer,
                    "%s of %d: %s means are off by up to %.2f exact deviations, deviations are %.2f to %.2f of them",
                    list_text(&apart, text), n->channels, cli_statistics_name(d->net), centres ? n->drift : 0,
                    scales ? n->narrow : 1, scales ? n->wide : 1);
    if (constant.count)
        add_finding(d, DOCTOR_CONSTANT, n->layer, "%s of %d: the input's variance is at most eps (%g)",
                    list_text(&constant, text), n->channels, info->eps);
}

static void examine_norm(doctor *d, int layer, const ek_layer_info *info)
{
    doctor_norm *n = &d->norms[d->norm_count++];
    *n = (doctor_norm){.layer = layer, .channels = info->c, .drift = NAN, .narrow = NAN, .wide = NAN, .gamma = NAN};
    n->tracked = values_of(d->net, layer, EK_ROLE_MOVING_MEAN) != NULL;
    if (n->tracked && !d->inexact)
        compare_statistics(d, n, info);
    const float *gamma = values_of(d->net, layer, EK_ROLE_GAMMA);
    channel_list small = {0};
    char text[96];
    for (int c = 0; gamma && c < n->channels; c++) {
        const double size = fabs((double)gamma[c]);
        n->gamma = lesser(n->gamma, size);
        if (size < gamma_limit)
            list_channel(&small, c);
    }
    if (small.count)
        add_finding(d, DOCTOR_GAMMA, layer, "%s of %d: |gamma| is below %g, down to %.2g", list_text(&small, text),
                    n->channels, gamma_limit, n->gamma);
}

/* ---- Outputs -------------------------------------------------------------------------------------------------- */

static void tell_output(doctor *d, const doctor_output *o, const channel_list lists[DOCTOR_KINDS])
{
    static const char *const what[DOCTOR_KINDS] = {
        [DOCTOR_BROKEN] = "values that are not finite",
        [DOCTOR_DEAD] = "never above 0",
        [DOCTOR_SATURATED] = "flat for more than nine values in ten",
        [DOCTOR_STILL] = "the same value for every image",
    };
    char text[96];
    for (int kind = 0; kind < DOCTOR_KINDS; kind++)
        if (lists[kind].count)
            add_finding(d, (doctor_kind)kind, o->layer, "%s of %d: %s", list_text(&lists[kind], text), o->channels,
                        what[kind]);
    if (o->flat > flat_limit && !o->saturated && !o->dead)
        add_finding(d, DOCTOR_SATURATED, o->layer, "%.0f%% of all values are where the activation is flat",
                    100 * o->flat);
}

static void examine_output(doctor *d, int layer, const ek_layer_info *info, const ek_channel_stats *stats,
                           int channels)
{
    const bool relu = !strcmp(info->kind, "relu");
    const bool bends = relu || !strcmp(info->kind, "sigmoid") || !strcmp(info->kind, "tanh");
    /* What is one value goes on as one value: of the layers on its way, activations are asked. */
    const bool activation = bends || !strcmp(info->kind, "leaky_relu") || !strcmp(info->kind, "gelu");
    channel_list lists[DOCTOR_KINDS] = {{0}};
    doctor_output *o = &d->outputs[d->output_count++];
    *o = (doctor_output){.layer = layer, .channels = channels, .flat = bends ? 0 : NAN};
    for (int c = 0; c < channels; c++) {
        const ek_channel_stats *s = &stats[c];
        const double size = fmax(fabs((double)s->min), fabs((double)s->max));
        o->flat += s->flat / channels;
        if (!isfinite(s->mean) || !isfinite(s->std))
            list_channel(&lists[DOCTOR_BROKEN], c);
        else if (relu && !(s->max > 0))
            list_channel(&lists[DOCTOR_DEAD], c);
        else if (bends && !relu && s->flat > saturated_limit)
            list_channel(&lists[DOCTOR_SATURATED], c);
        else if (activation && s->std <= still_limit * size && d->measured > 1)
            list_channel(&lists[DOCTOR_STILL], c);
    }
    o->broken = lists[DOCTOR_BROKEN].count;
    o->dead = lists[DOCTOR_DEAD].count;
    o->saturated = lists[DOCTOR_SATURATED].count;
    o->still = lists[DOCTOR_STILL].count;
    /* Only a relu's share of zeros is no fault: half of them is what it is for. */
    if (relu)
        tell_output(d, &(doctor_output){.layer = layer, .channels = channels, .dead = 1}, lists);
    else
        tell_output(d, o, lists);
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

/* Two accuracies on the same images: a standard error of either is a cautious one of their difference. */
static void compare_accuracies(doctor *d)
{
    const bool moving = isfinite(d->moving.accuracy), exact = isfinite(d->calibrated.accuracy);
    const double gain = d->calibrated.accuracy - d->moving.accuracy;
    if (!moving && exact)
        add_finding(d, DOCTOR_BROKEN, -1,
                    "the outputs are not finite with %s statistics; with exact ones the accuracy is %.4f",
                    cli_statistics_name(d->net), d->calibrated.accuracy);
    else if (!exact && !d->inexact)
        add_finding(d, DOCTOR_BROKEN, -1, "the outputs are not finite with %s statistics",
                    moving ? "exact" : "moving and with exact");
    else if (!moving)
        add_finding(d, DOCTOR_BROKEN, -1, "the outputs are not finite");
    if (!moving || !exact || fabs(gain) <= d->error)
        return;
    add_finding(d, gain > 0 ? DOCTOR_ACCURACY : DOCTOR_WORSE, -1,
                "accuracy %.4f with %s statistics, %.4f with exact ones: %+.4f, %.1f standard errors",
                d->moving.accuracy, cli_statistics_name(d->net), d->calibrated.accuracy, gain, fabs(gain) / d->error);
}

static int by_weight(const void *a, const void *b)
{
    const doctor_finding *f = a, *g = b;
    return f->kind != g->kind ? (int)f->kind - (int)g->kind : f->layer - g->layer;
}

/* What is not finite is a finding: NaN. */
static ek_status measure_accuracy(const doctor *d, ek_net *net, ek_metrics *metrics)
{
    const ek_status status =
        ek_evaluate(net, d->test ? d->test : d->train, &(ek_eval_options){.threads = d->threads}, metrics);
    if (status == EK_ERR_NUMERIC)
        metrics->loss = metrics->accuracy = NAN;
    return status == EK_ERR_NUMERIC ? EK_OK : status;
}

static ek_status measure_accuracies(doctor *d)
{
    ek_status status = measure_accuracy(d, d->net, &d->moving);
    if (!status && !d->inexact)
        status = measure_accuracy(d, d->exact, &d->calibrated);
    /* As of two right and two wrong answers more (Agresti and Coull 1998): never 0, though all answers are right. */
    const double count = (double)d->calibrated.count + 4, p = ((double)d->calibrated.correct + 2) / count;
    d->error = isfinite(d->calibrated.accuracy) ? sqrt(p * (1 - p) / count) : NAN;
    return status;
}

/* Likewise. */
static ek_status calibrate(doctor *d)
{
    const ek_status status =
        ek_calibrate(d->exact, d->train, &(ek_calibrate_options){.samples = d->samples, .threads = d->threads});
    if (status != EK_ERR_NUMERIC)
        return status;
    d->inexact = true;
    d->calibrated.loss = d->calibrated.accuracy = NAN;
    add_finding(d, DOCTOR_BROKEN, -1, "%s", ek_error());
    return EK_OK;
}

ek_status doctor_examine(doctor *d)
{
    ek_probe *probe = NULL;
    ek_layer_info info;
    const size_t layers = (size_t)ek_net_layer_count(d->net);
    ek_status status = calibrate(d);
    if (!status)
        status =
            ek_probe_new(&probe, d->net, d->train, &(ek_probe_options){.samples = d->samples, .threads = d->threads});
    if (!status)
        status = measure_accuracies(d);
    d->norms = calloc(layers, sizeof *d->norms);
    d->outputs = calloc(layers, sizeof *d->outputs);
    d->failed = d->failed || !d->norms || !d->outputs;
    d->measured = probe ? ek_probe_samples(probe) : 0;
    for (int i = 0; i < (int)layers && !status && !d->failed; i++) {
        int channels;
        status = ek_net_layer(d->net, i, &info);
        if (status)
            break;
        const ek_channel_stats *stats = ek_probe_layer(probe, i, &channels);
        if (!strcmp(info.kind, "batchnorm"))
            examine_norm(d, i, &info);
        if (stats)
            examine_output(d, i, &info, stats, channels);
    }
    ek_probe_free(probe);
    if (status)
        return status;
    compare_accuracies(d);
    if (d->finding_count)
        qsort(d->findings, (size_t)d->finding_count, sizeof *d->findings, by_weight);
    return EK_OK;
}

void doctor_free(doctor *d)
{
    free(d->norms);
    free(d->outputs);
    free(d->findings);
    ek_dataset_free(d->train);
    ek_dataset_free(d->test);
    ek_net_free(d->net);
    ek_net_free(d->exact);
}
