/* SPDX-License-Identifier: MIT
 * Exact statistics: a pass over the samples measures one level of batch norms, whose input the norms before, with the
 * statistics just measured, lead to; or several levels, where all samples' values between them fit into the memory. A
 * norm's sums go on from block to block of sixteen samples whatever the passes and their batches are, so that its
 * statistics depend on neither memory nor threads. */
#include "train/calibrate.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/feed.h"
#include "net/normalize.h"
#include "net/plan.h"
#include "train/evaluate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Samples of a run where the passes may cut them as they like; by default of ek_calibrate_options.memory. */
enum { RUN_SAMPLES = 4096, MEMORY = 1 << 30 };

/* Samples that a training measures after an epoch, by default: so many, or that share of them, but not too few. */
enum { EXACT_SAMPLES = 2048, EXACT_SHARE = 8, EXACT_LEAST = 128 };

/* Levels first..end-1, `batch` samples at a time. */
typedef struct pass {
    int first, end;
    int64_t batch;
} pass;

/* Of a layer, a batch norm that is measured. */
typedef struct statistics {
    float *mean, *var; /* NULL: another layer */
    int c;
} statistics;

struct ek_calibrator {
    ek_net *net;
    ek_backend *backend;
    const ek_dataset *dataset;
    ek_dataset_info info;
    ek_normal *normal;
    int64_t samples;
    int32_t *order; /* the samples chosen, ascending, then the others; NULL: all */
    ek_feed *feed;
    int64_t feed_batch;
    const uint8_t **images; /* of all samples where they are held, else of a batch */
    bool held;
    uint8_t *pixels; /* what they point to, where images stream */
    size_t memory, used;
    pass *passes;
    int pass_count, levels;
    ek_program *program; /* of the only pass, once made */
    statistics *layers;
};

/* ---- Norms --------------------------------------------------------------------------------------------------- */

static ek_status alloc_layers(ek_calibrator *c)
{
    const ek_net *net = c->net;
    if (!(c->layers = ek_calloc((size_t)net->layer_count, sizeof *c->layers)))
        return EK_ERR_MEMORY;
    for (int i = 0; i < net->layer_count; i++) {
        const ek_layer *l = &net->layers[i];
        statistics *s = &c->layers[i];
        if (!ek_is_measured(l))
            continue;
        if (c->samples * l->in.h * l->in.w == 1) {
            char label[EK_LABEL_SIZE];
            return ek_fail(
                EK_ERR_SHAPE,
                "%s: of one sample it sees one value per channel, which has no variance; take more samples",
                ek_layer_label(net, i, label));
        }
        s->c = l->in.c;
        s->mean = ek_calloc((size_t)s->c, sizeof *s->mean);
        s->var = ek_calloc((size_t)s->c, sizeof *s->var);
        if (!s->mean || !s->var)
            return EK_ERR_MEMORY;
    }
    return EK_OK;
}

/* A program's norms find the statistics that are measured here. One without tracking goes on dividing by the
 * population's deviation. */
static void bind_norms(const ek_calibrator *c, ek_program *program)
{
    for (int i = 0; i < program->norm_count; i++) {
        ek_batchnorm *b = &program->norms[i];
        const statistics *s = &c->layers[b->layer];
        if (s->mean) {
            b->population = b->population || !b->moving_mean;
            b->moving_mean = s->mean;
            b->moving_var = s->var;
        }
        if (b->measures)
            ek_batchnorm_restart(b);
        else
            ek_batchnorm_predict(b);
    }
}

/* ---- Passes -------------------------------------------------------------------------------------------------- */

static ek_status make_program(const ek_calibrator *c, const pass *p, bool dry, ek_program **program)
{
    return ek_plan_new(program, c->net,
                       &(ek_plan_request){.mode = EK_PREDICTION,
                                          .input = EK_INPUT_BYTES,
                                          .exact = true,
                                          .first_level = p->first,
                                          .end_level = p->end,
                                          .max_samples = p->batch,
                                          .threads = ek_backend_threads(c->backend),
                                          .dry = dry});
}

/* Bytes of a pass's program, and how many levels there are. */
static ek_status weigh(ek_calibrator *c, const pass *p, size_t *bytes)
{
    ek_program *program;
    EK_TRY(make_program(c, p, true, &program));
    const size_t blocks = (size_t)((p->batch + EK_LANES - 1) / EK_LANES);
    *bytes = ek_size_mul(program->arena_size, sizeof(float));
    for (int i = 0; i < program->norm_count; i++)
        if (program->norms[i].measures)
            *bytes = ek_size_add(
                *bytes, ek_size_mul(blocks * (size_t)program->norms[i].c, 2 * sizeof(double) + sizeof(ek_norm_sums)));
    c->levels = program->levels;
    ek_program_free(program);
    return EK_OK;
}

/* The pass that begins at a level: of as many levels as fit, else of one, in batches. More levels take no less
 * memory. */
static ek_status choose_pass(ek_calibrator *c, pass *p)
{
    size_t bytes;
    *p = (pass){p->first, p->first + 1, c->held ? c->samples : c->feed_batch};
    EK_TRY(weigh(c, p, &bytes));
    if (bytes > c->memory && p->batch > RUN_SAMPLES) {
        p->batch = RUN_SAMPLES;
        EK_TRY(weigh(c, p, &bytes));
    }
    size_t used = bytes;
    int least = p->end, most = p->batch == c->samples && bytes <= c->memory ? c->levels : p->end;
    while (least < most) {
        const int middle = least + (most - least + 1) / 2;
        EK_TRY(weigh(c, &(pass){p->first, middle, p->batch}, &bytes));
        if (bytes > c->memory) {
            most = middle - 1;
        } else {
            least = middle;
            used = bytes;
        }
    }
    p->end = least;
    c->used = used > c->used ? used : c->used;
    return EK_OK;
}

static ek_status choose_passes(ek_calibrator *c)
{
    size_t bytes;
    EK_TRY(weigh(c, &(pass){0, 0, 1}, &bytes));
    if (!(c->passes = ek_calloc((size_t)c->levels, sizeof *c->passes)))
        return EK_ERR_MEMORY;
    for (int level = 0; level < c->levels; level = c->passes[c->pass_count++].end) {
        c->passes[c->pass_count].first = level;
        EK_TRY(choose_pass(c, &c->passes[c->pass_count]));
    }
    return EK_OK;
}

/* ---- Samples ------------------------------------------------------------------------------------------------- */

/* The first of a permutation, in the data set's order. */
static ek_status choose_samples(ek_calibrator *c, uint64_t seed)
{
    const int64_t n = c->info.count;
    if (c->samples == n)
        return EK_OK;
    bool *chosen = ek_calloc((size_t)n, sizeof *chosen);
    c->order = ek_calloc((size_t)n, sizeof *c->order);
    if (chosen && c->order) {
        ek_random_permutation(seed, 0, c->order, n);
        for (int64_t i = 0; i < c->samples; i++)
            chosen[c->order[i]] = true;
        int64_t at = 0, behind = c->samples;
        for (int64_t i = 0; i < n; i++)
            c->order[chosen[i] ? at++ : behind++] = (int32_t)i;
    }
    ek_free(chosen);
    return chosen && c->order ? EK_OK : EK_ERR_MEMORY;
}

/* Images that stream are kept as they are decoded, where they fit. */
static ek_status open_images(ek_calibrator *c)
{
    const size_t image = (size_t)c->info.channels * (size_t)c->info.height * (size_t)c->info.width;
    const size_t all = ek_size_mul((size_t)c->samples, image);
    const int64_t fit = ek_feed_batch(c->dataset, c->samples < RUN_SAMPLES ? c->samples : RUN_SAMPLES);
    c->held = !c->info.streams || all <= c->memory / 2;
    c->feed_batch = fit > EK_LANES ? fit / EK_LANES * EK_LANES : fit; /* whole blocks: see above */
    c->images = ek_calloc((size_t)(c->held ? c->samples : c->feed_batch), sizeof *c->images);
    if (!c->images)
        return EK_ERR_MEMORY;
    EK_TRY(ek_feed_new(&c->feed, c->dataset, c->feed_batch, ek_backend_threads(c->backend)));
    if (c->held && c->info.streams && !(c->pixels = ek_calloc((size_t)c->samples, image)))
        return EK_ERR_MEMORY;
    if (!c->held)
        return EK_OK;
    ek_feed_begin(c->feed, c->order, 0);
    for (int64_t at = 0; at < c->samples; at += c->feed_batch) {
        const int64_t rest = c->samples - at, count = rest < c->feed_batch ? rest : c->feed_batch;
        EK_TRY(ek_feed_next(c->feed, count, c->images + at, NULL, NULL));
        for (int64_t i = at; i < at + count && c->pixels; i++)
            c->images[i] = memcpy(c->pixels + (size_t)i * image, c->images[i], image);
    }
    ek_feed_free(c->feed);
    c->feed = NULL;
    return EK_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------------- */

static ek_status fill(ek_calibrator *c, const ek_calibrate_options *o)
{
    ek_dataset_get_info(c->dataset, &c->info);
    if (c->info.count > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "%" PRId64 " samples are more than %d", c->info.count, INT32_MAX);
    c->samples = o->samples && o->samples < c->info.count ? o->samples : c->info.count;
    const size_t quarter = ek_memory_of_machine() / 4;
    c->memory = o->memory ? (size_t)o->memory : quarter < MEMORY ? quarter : MEMORY;
    EK_TRY(ek_net_finish(c->net));
    EK_TRY(ek_check_dataset(c->net, c->dataset));
    EK_TRY(alloc_layers(c));
    EK_TRY(ek_normal_new(&c->normal, c->net));
    EK_TRY(choose_samples(c, o->seed));
    EK_TRY(open_images(c));
    return choose_passes(c);
}

ek_status ek_calibrator_new(ek_calibrator **out, ek_net *net, const ek_dataset *dataset, ek_backend *backend,
                            const ek_calibrate_options *options)
{
    *out = NULL;
    ek_calibrator *c = ek_calloc(1, sizeof *c);
    if (!c)
        return EK_ERR_MEMORY;
    c->net = net;
    c->dataset = dataset;
    c->backend = backend;
    const ek_status status = fill(c, options);
    if (status) {
        ek_calibrator_free(c);
        return status;
    }
    *out = c;
    return EK_OK;
}

void ek_calibrator_free(ek_calibrator *c)
{
    if (!c)
        return;
    for (int i = 0; c->layers && i < c->net->layer_count; i++) {
        ek_free(c->layers[i].mean);
        ek_free(c->layers[i].var);
    }
    ek_free(c->layers);
    ek_program_free(c->program);
    ek_feed_free(c->feed);
    ek_normal_free(c->normal);
    ek_free(c->passes);
    ek_free(c->images);
    ek_free(c->pixels);
    ek_free(c->order);
    ek_free(c);
}

static ek_status run_pass(ek_calibrator *c, const pass *p, ek_program *program)
{
    bind_norms(c, program);
    EK_TRY(ek_backend_prepare(c->backend, program));
    if (!c->held)
        ek_feed_begin(c->feed, c->order, 0);
    for (int64_t at = 0; at < c->samples; at += p->batch) {
        const int64_t count = c->samples - at < p->batch ? c->samples - at : p->batch;
        if (!c->held)
            EK_TRY(ek_feed_next(c->feed, count, c->images, NULL, NULL));
        EK_TRY(ek_backend_run(
            c->backend, program,
            &(ek_batch){.samples = count, .images = c->held ? c->images + at : c->images, .normal = c->normal}));
    }
    return EK_OK;
}

ek_status ek_calibrator_run(ek_calibrator *c)
{
    for (int i = 0; i < c->pass_count; i++) {
        ek_program *program = c->program;
        if (!program)
            EK_TRY(make_program(c, &c->passes[i], false, &program));
        const ek_status status = run_pass(c, &c->passes[i], program);
        if (c->pass_count == 1)
            c->program = program; /* for the next run */
        else
            ek_program_free(program);
        if (status)
            return ek_fail_in(status, "exact statistics");
    }
    return EK_OK;
}

static void swap_values(float *a, float *b, int count)
{
    for (int i = 0; i < count; i++) {
        const float value = a[i];
        a[i] = b[i];
        b[i] = value;
    }
}

void ek_calibrator_swap(ek_calibrator *c)
{
    const ek_net *net = c->net;
    for (int i = 0; i < net->layer_count; i++) {
        const statistics *s = &c->layers[i];
        const ek_layer *l = &net->layers[i];
        if (!s->mean || l->moving_mean < 0)
            continue;
        swap_values(s->mean, net->tensors[l->moving_mean].data, s->c);
        swap_values(s->var, net->tensors[l->moving_var].data, s->c);
    }
}

void ek_calibrator_report(const ek_calibrator *c, ek_calibrate_report *report)
{
    *report = (ek_calibrate_report){
        .samples = c->samples, .passes = c->pass_count, .memory = (int64_t)c->used, .total = c->info.count};
    for (int i = 0; i < c->net->layer_count; i++)
        report->layers += c->layers[i].mean && c->net->layers[i].moving_mean >= 0;
}

ek_status ek_calibrator_note(const ek_calibrator *c)
{
    char text[256];
    ek_calibrate_report report;
    ek_calibrator_report(c, &report);
    if (!report.layers)
        return EK_OK;
    snprintf(text, sizeof text, "exact, %" PRId64 " of %" PRId64 " samples%s%.200s", report.samples, report.total,
             *c->info.digest ? " of " : "", c->info.digest);
    return ek_net_set_note(c->net, "statistics", text);
}

int64_t ek_exact_samples(const ek_dataset *train)
{
    ek_dataset_info info;
    ek_dataset_get_info(train, &info);
    const int64_t share = info.count / EXACT_SHARE, some = share < EXACT_SAMPLES ? share : EXACT_SAMPLES;
    const int64_t wanted = some > EXACT_LEAST ? some : EXACT_LEAST;
    return wanted < info.count ? wanted : info.count;
}

ek_status ek_calibrate(ek_net *net, const ek_dataset *dataset, const ek_calibrate_options *options)
{
    const ek_calibrate_options o = options ? *options : (ek_calibrate_options){0};
    if (!net || !dataset)
        return ek_fail(EK_ERR_ARGUMENT, "ek_calibrate: net and dataset must not be NULL");
    if (o.samples < 0 || o.threads < 0 || o.memory < 0)
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_calibrate: samples (%" PRId64 "), threads (%d) and memory (%" PRId64
                       ") must not be negative",
                       o.samples, o.threads, o.memory);
    ek_backend *backend = NULL;
    ek_calibrator *calibrator = NULL;
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    ek_status status = ek_backend_new_cpu(&backend, ek_useful_threads(o.threads, info.count));
    if (!status)
        status = ek_calibrator_new(&calibrator, net, dataset, backend, &o);
    if (!status)
        status = ek_calibrator_run(calibrator);
    if (!status)
        status = ek_calibrator_note(calibrator);
    if (!status)
        ek_calibrator_swap(calibrator);
    if (!status && o.report)
        ek_calibrator_report(calibrator, o.report);
    ek_calibrator_free(calibrator);
    ek_backend_free(backend);
    return status;
}
