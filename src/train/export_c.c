/* SPDX-License-Identifier: MIT
 * A net as a C file and its header: folded, its arithmetic done once, with what a self-test compares with. */
#include "base/memory.h"
#include "io/c_source.h"
#include "io/model.h"
#include "net/fold.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    SEEN = 64,             /* further images, whose outputs say what a large output is: */
    SEEN_VALUES = 1 << 24, /* fewer where they are large */
    PROVED = 16            /* tests of which the text's arithmetic is done here */
};

/* Sums run in another order than the library's. Of single images and nets of a hundred layers, differences stay below a
 * tenth of SHARE of the largest output; where sums cancel, they are within NOISE times what they are here. What is
 * beyond LIMIT of the largest is no rounding. */
static const double SHARE = 1e-4, NOISE = 16, LIMIT = 0.05;

/* Images, and the net's outputs for them. */
typedef struct images {
    int64_t count;
    uint8_t *pixels;
    float *values, *outputs;
} images;

typedef struct export
{
    ek_net *net, *folded;
    const ek_export_c_options *o;
    ek_fold *folds;
    ek_c_names names;
    ek_c_plan plan;
    ek_c_source source;
    images tests, seen;
    float *mean;              /* and deviations; of each channel */
    float *memory, *computed; /* of the proof; an image is behind the array, normalised */
}
export;

/* ---- Its numbers -------------------------------------------------------------------------------------------- */

/* Norms that stay are a scale and a shift. (ek_net_fold has checked those that are folded.) */
static ek_status check_norm(const ek_net *net, int layer)
{
    const ek_layer *l = &net->layers[layer];
    char label[EK_LABEL_SIZE];
    for (int64_t c = 0; l->o.batchnorm.tracking && c < l->in.c; c++) {
        const ek_affine a = ek_fold_norm(net, l, c, (ek_affine){1, 0});
        if (!isfinite((float)a.scale) || !isfinite((float)a.shift))
            return ek_fail(EK_ERR_NUMERIC, "%s: channel %jd is multiplied by %g, and %g is added: no finite numbers",
                           ek_layer_label(net, layer, label), (intmax_t)c, a.scale, a.shift);
    }
    return EK_OK;
}

static ek_status fold_net(export *x)
{
    EK_TRY(ek_check_values(x->net));
    x->folds = ek_calloc((size_t)x->net->layer_count, sizeof *x->folds);
    if (!x->folds)
        return EK_ERR_MEMORY;
    EK_TRY(ek_net_fold(&x->folded, x->net, x->folds));
    for (int i = 0; i < x->net->layer_count; i++)
        if (x->folds[i].outcome != EK_FOLD_NO_NORM && x->folds[i].outcome != EK_FOLD_DONE)
            EK_TRY(check_norm(x->net, i));
    return ek_c_plan_new(&x->plan, x->folded);
}

/* ---- The self-test's samples -------------------------------------------------------------------------------- */

/* `wanted` images as ek_c_images, and what the net makes of them. */
static ek_status predict_images(const export *x, images *m, int64_t wanted, int64_t first)
{
    const int64_t inputs = ek_dims_count(x->net->input), outputs = ek_dims_count(ek_net_output(x->net));
    EK_TRY(ek_c_images(x->net, x->o->samples, wanted, first, &m->pixels, &m->count));
    const size_t values = ek_size_mul((size_t)m->count, (size_t)inputs);
    m->values = ek_calloc(values, sizeof *m->values);
    m->outputs = ek_calloc(ek_size_mul((size_t)m->count, (size_t)outputs), sizeof *m->outputs);
    if (!m->values || !m->outputs)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < values; i++)
        m->values[i] = (float)m->pixels[i] / 255;
    EK_TRY(ek_predict(x->net, m->count, m->values, 1, m->outputs));
    for (int64_t i = 0; i < m->count * outputs; i++)
        if (!isfinite(m->outputs[i]))
            return ek_fail(EK_ERR_NUMERIC, "output %jd of image %jd of the self-test is NaN or infinite",
                           (intmax_t)(i % outputs), (intmax_t)(i / outputs));
    return EK_OK;
}

static void free_images(images *m)
{
    ek_free(m->pixels);
    ek_free(m->values);
    ek_free(m->outputs);
}

/* ---- The proof ---------------------------------------------------------------------------------------------- */

static double largest_output(const export *x, const images *m)
{
    const int64_t count = m->count * ek_dims_count(ek_net_output(x->net));
    double most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)m->outputs[i]));
    return most;
}

/* The text's arithmetic on image i of the self-test: the largest difference of an output. */
static double difference(const export *x, int64_t i)
{
    const ek_c_source *s = &x->source;
    const int64_t inputs = ek_dims_count(x->net->input), outputs = ek_dims_count(ek_net_output(x->net));
    const int64_t plane = inputs / x->net->input.c;
    const float *values = x->tests.values + i * inputs, *expected = x->tests.outputs + i * outputs;
    float *image = x->memory + x->plan.memory;
    for (int64_t j = 0; j < inputs; j++)
        image[j] = s->mean ? (values[j] - s->mean[j / plane]) / s->std[j / plane] : values[j];
    ek_c_run(&x->plan, image, x->memory, x->computed);
    double most = 0;
    for (int64_t k = 0; k < outputs; k++) {
        const double apart = fabs((double)x->computed[k] - (double)expected[k]);
        most = apart <= most ? most : apart; /* a NaN stays */
    }
    return most;
}

/* What the self-test allows: a share of the largest output of all images; one near zero is not held to its own size. */
static ek_status prove(export *x)
{
    const size_t numbers = ek_size_add((size_t)x->plan.memory, (size_t)ek_dims_count(x->net->input));
    const double largest = fmax(largest_output(x, &x->tests), largest_output(x, &x->seen));
    double most = 0;
    x->memory = ek_calloc(numbers, sizeof *x->memory);
    x->computed = ek_calloc((size_t)ek_dims_count(ek_net_output(x->net)), sizeof *x->computed);
    if (!x->memory || !x->computed)
        return EK_ERR_MEMORY;
    for (int64_t i = 0; i < x->tests.count && i < PROVED; i++) {
        const double apart = difference(x, i);
        if (!(apart <= LIMIT * largest))
            return ek_fail(
                EK_ERR_NUMERIC,
                "not written: the C text's outputs would differ by %.3g, where the largest is %.3g: its sums "
                "cancel, or numbers within the net are too large for floats",
                apart, largest);
        most = fmax(most, apart);
    }
    x->source.allowed = fmax(SHARE * largest, NOISE * most);
    return EK_OK;
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static ek_status set_source(export *x)
{
    const int channels = x->net->input.c;
    bool normalized;
    x->mean = ek_calloc((size_t)channels, 2 * sizeof *x->mean);
    if (!x->mean)
        return EK_ERR_MEMORY;
    EK_TRY(ek_net_normalization(x->net, &normalized, x->mean, x->mean + channels));
    x->source = (ek_c_source){.names = &x->names,
                              .unfolded = x->net,
                              .mean = normalized ? x->mean : NULL,
                              .std = normalized ? x->mean + channels : NULL,
                              .tests = (int)x->tests.count,
                              .pixels = x->tests.pixels,
                              .outputs = x->tests.outputs,
                              .real = x->o->samples != NULL};
    return EK_OK;
}

static ek_status run(export *x)
{
    int tests;
    ek_text c = {0}, h = {0};
    EK_TRY(ek_c_test_count(x->o, &tests));
    EK_TRY(ek_net_finish(x->net));
    EK_TRY(fold_net(x));
    EK_TRY(predict_images(x, &x->tests, tests, 0));
    const int64_t fit = SEEN_VALUES / ek_dims_count(x->net->input);
    if (fit > 0)
        EK_TRY(predict_images(x, &x->seen, fit < SEEN ? fit : SEEN, tests));
    EK_TRY(set_source(x));
    EK_TRY(prove(x));
    ek_status status = ek_c_write(&x->source, &x->plan, &c, &h);
    if (!status)
        status = ek_c_write_files(&x->names, &c, &h);
    ek_free(c.text);
    ek_free(h.text);
    return status;
}

ek_status ek_export_c(ek_net *net, const char *path, const ek_export_c_options *options)
{
    static const ek_export_c_options defaults = {0};
    export x = {.net = net, .o = options ? options : &defaults};
    if (!path)
        return ek_fail(EK_ERR_ARGUMENT, "ek_export_c: path is NULL");
    EK_TRY(ek_c_set_names(&x.names, path, x.o->prefix));
    const ek_status status = run(&x);
    if (!status && x.o->report)
        *x.o->report =
            (ek_export_c_report){.constants = x.source.constants, .memory = x.source.memory, .tests = x.source.tests};
    ek_c_plan_free(&x.plan);
    ek_net_free(x.folded);
    free_images(&x.tests);
    free_images(&x.seen);
    ek_free(x.folds);
    ek_free(x.mean);
    ek_free(x.memory);
    ek_free(x.computed);
    return status;
}
