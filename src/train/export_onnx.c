/* SPDX-License-Identifier: MIT
 * ek_export_onnx: the file's bytes are proved on samples before there is a file. */
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/onnx_read.h"
#include "io/onnx_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef EK_HAVE_ONNX

enum {
    SAMPLES = 256, /* of a data set */
    RANDOM_SAMPLES = 64,
    AT_ONCE = 64, /* in memory */
};
static const double default_budget = 1e-5;

/* ---- Samples ------------------------------------------------------------------------------------------------ */

typedef struct proof {
    ek_net *net, *again; /* as it is, and as the file has it */
    const ek_onnx_options *options;
    ek_onnx_report *report;
    int64_t total, values, outputs; /* samples; numbers of a sample, and of what is made of it */
    uint8_t *pixels;                /* of one image */
    float *x, *logits, *others;     /* of AT_ONCE samples */
} proof;

/* Uniform in [0,1), as pixels are. */
static void draw_sample(const proof *p, int64_t sample, float *x)
{
    uint32_t bits[4] = {0};
    for (int64_t i = 0; i < p->values; i++) {
        if (i % 4 == 0)
            ek_random4(0, EK_RANDOM_INIT, (uint32_t)sample, (uint64_t)i / 4, bits);
        x[i] = ek_random_unit(bits[i % 4]);
    }
}

static ek_status read_sample(const proof *p, int64_t sample, float *x)
{
    ek_dataset_info info;
    if (!p->options->samples) {
        draw_sample(p, sample, x);
        return EK_OK;
    }
    ek_dataset_get_info(p->options->samples, &info);
    EK_TRY(ek_dataset_read(p->options->samples, sample * info.count / p->total, p->pixels));
    for (int64_t i = 0; i < p->values; i++)
        x[i] = (float)p->pixels[i] / 255;
    return EK_OK;
}

static ek_status count_samples(proof *p)
{
    const ek_onnx_options *o = p->options;
    const ek_dims in = p->net->input;
    ek_dataset_info info = {.count = RANDOM_SAMPLES};
    char ours[40];
    if (o->samples)
        ek_dataset_get_info(o->samples, &info);
    p->total = o->sample_count ? o->sample_count : o->samples ? SAMPLES : RANDOM_SAMPLES;
    if (o->samples && p->total > info.count)
        p->total = info.count;
    if (o->samples && (info.channels != in.c || info.height != in.h || info.width != in.w))
        return ek_fail(EK_ERR_SHAPE, "the samples are images of %dx%dx%d, and the net takes %s", info.channels,
                       info.height, info.width, ek_dims_text(in, ours));
    return EK_OK;
}

/* ---- Comparing ---------------------------------------------------------------------------------------------- */

static int64_t greatest(const float *values, int64_t count)
{
    int64_t at = 0;
    for (int64_t i = 1; i < count; i++)
        if (values[i] > values[at])
            at = i;
    return at;
}

/* What is finite in one and not in the other, or another infinity, differs infinitely. */
static double distance(float a, float b)
{
    const double apart = fabs((double)a - (double)b);
    return a == b || (isnan(a) && isnan(b)) ? 0 : isnan(apart) ? INFINITY : apart;
}

static void compare_sample(const proof *p, const float *a, const float *b)
{
    ek_onnx_report *r = p->report;
    for (int64_t i = 0; i < p->outputs; i++) {
        const double apart = distance(a[i], b[i]);
        r->difference = apart > r->difference ? apart : r->difference;
        if (isfinite(a[i]) && fabs((double)a[i]) > r->scale)
            r->scale = fabs((double)a[i]);
    }
    r->changed += greatest(a, p->outputs) != greatest(b, p->outputs);
    r->samples++;
}

static ek_status compare_all(proof *p)
{
    for (int64_t done = 0; done < p->total;) {
        const int64_t count = p->total - done < AT_ONCE ? p->total - done : AT_ONCE;
        for (int64_t i = 0; i < count; i++)
            EK_TRY(read_sample(p, done + i, p->x + i * p->values));
        EK_TRY(ek_predict(p->net, count, p->x, p->options->threads, p->logits));
        EK_TRY(ek_predict(p->again, count, p->x, p->options->threads, p->others));
        for (int64_t i = 0; i < count; i++)
            compare_sample(p, p->logits + i * p->outputs, p->others + i * p->outputs);
        done += count;
    }
    return EK_OK;
}

static ek_status judge(const proof *p)
{
    const ek_onnx_report *r = p->report;
    const double budget = p->options->budget > 0 ? p->options->budget : default_budget;
    if (r->difference <= budget * r->scale)
        return EK_OK;
    return ek_fail(
        EK_ERR_NUMERIC,
        "not written: read back, the file's outputs differ by up to %.3g, %.2g of the largest, where %.2g is "
        "allowed (%jd of %jd samples get another class)",
        r->difference, r->scale > 0 ? r->difference / r->scale : INFINITY, budget, (intmax_t)r->changed,
        (intmax_t)r->samples);
}

/* The graph alone is read, as other programs read it, not what the file says of itself. */
static ek_status read_back(ek_net **again, const char *path, const unsigned char *bytes, size_t size)
{
    EkOnnx__ModelProto *model = NULL;
    EK_TRY(ek_onnx_unpack(bytes, size, path, &model));
    return ek_onnx_import(again, path, model, size, &(ek_import_onnx_options){.ignore_properties = true});
}

static ek_status allocate(proof *p)
{
    const size_t rows = (size_t)(p->total < AT_ONCE ? p->total : AT_ONCE);
    p->pixels = ek_calloc((size_t)p->values, 1);
    p->x = ek_calloc(ek_size_mul(rows, (size_t)p->values), sizeof *p->x);
    p->logits = ek_calloc(ek_size_mul(rows, (size_t)p->outputs), sizeof *p->logits);
    p->others = ek_calloc(ek_size_mul(rows, (size_t)p->outputs), sizeof *p->others);
    return p->pixels && p->x && p->logits && p->others ? EK_OK : EK_ERR_MEMORY;
}

static ek_status prove(proof *p, const char *path, const unsigned char *bytes, size_t size)
{
    const ek_dims out = ek_net_output(p->net);
    p->values = ek_dims_count(p->net->input);
    p->outputs = ek_dims_count(out);
    EK_TRY(count_samples(p));
    EK_TRY(allocate(p));
    EK_TRY(read_back(&p->again, path, bytes, size));
    const ek_dims found = ek_net_output(p->again);
    if (ek_dims_count(found) != p->outputs || found.flat != out.flat)
        return ek_fail(EK_ERR_NUMERIC, "not written: read back, the file gives another output");
    EK_TRY(compare_all(p));
    return judge(p);
}

static void free_proof(proof *p)
{
    ek_net_free(p->again);
    ek_free(p->pixels);
    ek_free(p->x);
    ek_free(p->logits);
    ek_free(p->others);
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static ek_status check_options(const ek_onnx_options *o)
{
    if (o->opset && (o->opset < EK_ONNX_OPSET_MIN || o->opset > EK_ONNX_OPSET_MAX))
        return ek_fail(EK_ERR_ARGUMENT, "opset is %d; it must be %d to %d", o->opset, EK_ONNX_OPSET_MIN,
                       EK_ONNX_OPSET_MAX);
    if (o->batch < 0 || o->sample_count < 0 || o->threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "batch (%d), sample_count (%jd) and threads (%d) must not be negative",
                       o->batch, (intmax_t)o->sample_count, o->threads);
    if (!(o->budget >= 0))
        return ek_fail(EK_ERR_ARGUMENT, "budget is %g; it must be 0, for the default, or more", o->budget);
    return EK_OK;
}

static int count_batchnorms(const ek_net *net)
{
    int count = 0;
    for (int i = 0; i < net->layer_count; i++)
        count += net->layers[i].kind == EK_LAYER_BATCHNORM;
    return count;
}

/* `shown` is the net that the file holds. */
static ek_status export_net(ek_net *net, const ek_net *shown, const char *path, const ek_onnx_options *o,
                            ek_onnx_report *report)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    proof p = {.net = net, .options = o, .report = report};
    report->kept = count_batchnorms(shown);
    report->folded = count_batchnorms(net) - report->kept;
    ek_status status = ek_onnx_bytes(shown, report->opset, o->batch, &bytes, &size);
    report->bytes = (int64_t)size;
    if (!status)
        status = prove(&p, path, bytes, size);
    free_proof(&p);
    if (status && strncmp(ek_error(), path, strlen(path)) != 0)
        status = ek_fail_in(status, path);
    if (!status)
        status = ek_file_put_all(&(ek_file_content){path, bytes, size}, 1);
    ek_free(bytes);
    return status;
}

ek_status ek_export_onnx(ek_net *net, const char *path, const ek_onnx_options *options)
{
    static const ek_onnx_options plain = {0};
    const ek_onnx_options *o = options ? options : &plain;
    ek_onnx_report unwanted = {0}, *report = o->report ? o->report : &unwanted;
    if (!path)
        return ek_fail(EK_ERR_ARGUMENT, "ek_export_onnx: path is NULL");
    EK_TRY(check_options(o));
    EK_TRY(ek_net_finish(net));
    *report = (ek_onnx_report){.opset = o->opset ? o->opset : EK_ONNX_OPSET};
    ek_net *folded = NULL;
    ek_status status = o->keep_batchnorm ? EK_OK : ek_net_fold(&folded, net, NULL);
    if (!status && folded)
        status = ek_net_finish(folded);
    status = status ? ek_fail_in(status, path) : export_net(net, folded ? folded : net, path, o, report);
    ek_net_free(folded);
    return status;
}

#else

ek_status ek_export_onnx(ek_net *net, const char *path, const ek_onnx_options *options)
{
    (void)net, (void)options;
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: this build writes no ONNX files: build it with -DEVENKEEL_ONNX=ON",
                   path ? path : "");
}

#endif
