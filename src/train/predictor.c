/* SPDX-License-Identifier: MIT
 * Prediction with all memory taken beforehand, on the threads that ask for it. */
#include "base/memory.h"
#include "base/thread.h"
#include "net/normalize.h"
#include "net/plan.h"
#include "op/backend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* A workspace: its flag, on a cache line of its own, and room for the outputs of a block where the caller does not want
 * them. The rest of it lies with the programs. */
typedef struct slot {
    _Alignas(64) atomic_bool taken;
    float *outputs;
} slot;

/* Where calls wait that find no slot. */
typedef struct gate {
    atomic_int waiting;
    pthread_mutex_t lock;
    pthread_cond_t freed;
} gate;

struct ek_predictor {
    ek_dims input, output;
    int64_t in, out;     /* values of a sample */
    ek_program *program; /* samples in the lanes */
    ek_single *single;   /* channels in the lanes */
    ek_normal *normal;   /* NULL: none */
    float *parameters;   /* the net's that the program reads as they are */
    slot *slots;
    float *outputs; /* of the slots */
    int slot_count;
    int block_from; /* images that are computed together */
    gate *gate;
};

/* A call's images: floats or bytes. */
typedef struct images {
    const float *values;
    const uint8_t *pixels;
} images;

/* Images from which on sixteen in the lanes are faster than one after the other (measured: 7 of mlp, 10 of resnet-18,
 * 14 of bn-lenet and lenet, 18 of resnet-20). Where most of the time goes into fetching weights, as linear layers do,
 * these are fetched once for sixteen. */
enum { BLOCK_FROM = 14, BLOCK_FROM_BY_WEIGHTS = 7 };

/* ---- Making one --------------------------------------------------------------------------------------------- */

static ek_status check_net(ek_net *net)
{
    char label[EK_LABEL_SIZE];
    EK_TRY(ek_net_finish(net));
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i].kind == EK_LAYER_BATCHNORM && !net->layers[i].o.batchnorm.tracking)
            return ek_fail(EK_ERR_UNSUPPORTED,
                           "%s has no moving statistics: its outputs depend on which images are together; use "
                           "ek_predict, or train it with tracking",
                           ek_layer_label(net, i, label));
    return EK_OK;
}

/* Parameters of the net that steps point to: a bias that no norm is folded into, gamma and beta of a layer norm. With
 * `at` they are moved there. Returns how many floats they are. */
static size_t own(const float **parameter, size_t count, float *at)
{
    if (!*parameter)
        return 0;
    if (at) {
        memcpy(at, *parameter, count * sizeof *at);
        *parameter = at;
    }
    return count;
}

static size_t own_parameters(ek_program *program, float *to)
{
    size_t total = 0;
    for (int i = 0; i < program->count; i++) {
        ek_step *s = &program->steps[i];
        if (s->kind == EK_STEP_MAP && s->u.map.folded < 0)
            total += own(&s->u.map.bias, (size_t)s->u.map.g.k, to ? to + total : NULL);
        if (s->kind == EK_STEP_LAYERNORM) {
            total += own(&s->u.layernorm.gamma, (size_t)s->u.layernorm.m, to ? to + total : NULL);
            total += own(&s->u.layernorm.beta, (size_t)s->u.layernorm.m, to ? to + total : NULL);
        }
    }
    return total;
}

/* The program with its weights packed, and free of the net. */
static ek_status prepare_program(ek_predictor *p)
{
    ek_backend *backend = NULL;
    EK_TRY(ek_backend_new_cpu(&backend, 1));
    const ek_status status = ek_backend_prepare(backend, p->program);
    ek_backend_free(backend);
    EK_TRY(status);
    p->parameters = ek_block_alloc(ek_size_mul(own_parameters(p->program, NULL), sizeof *p->parameters));
    if (!p->parameters)
        return EK_ERR_MEMORY;
    own_parameters(p->program, p->parameters);
    return EK_OK;
}

static ek_status make_slots(ek_predictor *p)
{
    const size_t count = (size_t)p->slot_count, size = ek_size_mul((size_t)p->out, EK_LANES);
    p->slots = ek_block_alloc(ek_size_mul(count, sizeof *p->slots));
    p->outputs = ek_block_alloc(ek_size_mul(ek_size_mul(count, size), sizeof *p->outputs));
    p->gate = ek_calloc(1, sizeof *p->gate);
    if (!p->slots || !p->outputs || !p->gate)
        return EK_ERR_MEMORY;
    pthread_mutex_init(&p->gate->lock, NULL);
    pthread_cond_init(&p->gate->freed, NULL);
    for (size_t i = 0; i < count; i++)
        p->slots[i].outputs = p->outputs + i * size;
    return EK_OK;
}

static int find_block_from(const ek_program *program)
{
    double weights = 0, products = 0;
    for (int i = 0; i < program->count; i++) {
        const ek_step *s = &program->steps[i];
        if (s->kind != EK_STEP_MAP)
            continue;
        weights += (double)ek_conv_weights(&s->u.map.g);
        products += (double)ek_conv_weights(&s->u.map.g) * s->u.map.g.p * s->u.map.g.q;
    }
    return 2 * weights > products ? BLOCK_FROM_BY_WEIGHTS : BLOCK_FROM;
}

static ek_status fill(ek_predictor *p, ek_net *net)
{
    const int input[] = {p->input.c, p->input.h, p->input.w};
    EK_TRY(ek_normal_new(&p->normal, net));
    EK_TRY(ek_plan_new(
        &p->program, net,
        &(ek_plan_request){
            .mode = EK_PREDICTION, .input = EK_INPUT_FLOATS, .max_samples = EK_LANES, .threads = p->slot_count}));
    EK_TRY(ek_single_new(&p->single, p->program, input, p->slot_count));
    EK_TRY(prepare_program(p));
    p->block_from = find_block_from(p->program);
    return make_slots(p);
}

ek_status ek_predictor_new(ek_predictor **out, ek_net *net, const ek_predictor_options *options)
{
    const int threads = options ? options->threads : 0;
    if (out)
        *out = NULL;
    if (!out || !net)
        return ek_fail(EK_ERR_ARGUMENT, "ek_predictor_new: predictor and net must not be NULL");
    if (threads < 0 || threads > EK_THREADS_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "ek_predictor_new: threads (%d) must be 0 to %d", threads, EK_THREADS_MAX);
    EK_TRY(check_net(net));
    ek_predictor *p = ek_calloc(1, sizeof *p);
    if (!p)
        return EK_ERR_MEMORY;
    p->input = net->input;
    p->output = ek_net_output(net);
    p->in = ek_dims_count(p->input);
    p->out = ek_dims_count(p->output);
    p->slot_count = threads ? threads : ek_cpu_count();
    const ek_status status = fill(p, net);
    if (status) {
        ek_predictor_free(p);
        return status;
    }
    *out = p;
    return EK_OK;
}

void ek_predictor_free(ek_predictor *p)
{
    if (!p)
        return;
    ek_single_free(p->single);
    ek_program_free(p->program);
    ek_normal_free(p->normal);
    ek_block_free(p->parameters);
    ek_block_free(p->slots);
    ek_block_free(p->outputs);
    if (p->gate) {
        pthread_cond_destroy(&p->gate->freed);
        pthread_mutex_destroy(&p->gate->lock);
    }
    ek_free(p->gate);
    ek_free(p);
}

void ek_predictor_shape(const ek_predictor *p, int *channels, int *height, int *width, int64_t *outputs,
                        int64_t *bytes)
{
    if (channels)
        *channels = p->input.c;
    if (height)
        *height = p->input.h;
    if (width)
        *width = p->input.w;
    if (outputs)
        *outputs = p->out;
    if (bytes)
        *bytes = (int64_t)(p->program->arena_size * sizeof(float) + own_parameters(p->program, NULL) * sizeof(float) +
                           ek_single_memory(p->single) +
                           (size_t)p->slot_count * (sizeof(slot) + (size_t)p->out * EK_LANES * sizeof(float)));
}

/* ---- Slots -------------------------------------------------------------------------------------------------- */

/* The slot that this thread had last, whose memory is in its processor's cache. */
static _Thread_local int last_slot;

static int try_slots(const ek_predictor *p)
{
    for (int i = 0, at = last_slot < p->slot_count ? last_slot : 0; i < p->slot_count; i++) {
        if (!atomic_exchange(&p->slots[at].taken, true))
            return last_slot = at;
        at = at + 1 < p->slot_count ? at + 1 : 0;
    }
    return -1;
}

/* Who waits says so before it looks again, and who leaves looks for those who wait after it has left: one of them sees
 * the other. */
static int take_slot(const ek_predictor *p)
{
    int at = try_slots(p);
    if (at >= 0)
        return at;
    pthread_mutex_lock(&p->gate->lock);
    atomic_fetch_add(&p->gate->waiting, 1);
    while ((at = try_slots(p)) < 0)
        pthread_cond_wait(&p->gate->freed, &p->gate->lock);
    atomic_fetch_sub(&p->gate->waiting, 1);
    pthread_mutex_unlock(&p->gate->lock);
    return at;
}

static void leave_slot(const ek_predictor *p, int at)
{
    atomic_store(&p->slots[at].taken, false);
    if (atomic_load(&p->gate->waiting) == 0)
        return;
    pthread_mutex_lock(&p->gate->lock);
    pthread_cond_signal(&p->gate->freed);
    pthread_mutex_unlock(&p->gate->lock);
}

/* ---- Prediction --------------------------------------------------------------------------------------------- */

static void run_one(const ek_predictor *p, int at, images x, float *logits)
{
    ek_single_run(p->single, at, &(ek_sample){.values = x.values, .image = x.pixels, .normal = p->normal}, logits);
}

static void run_block(const ek_predictor *p, int at, images x, int count, float *logits)
{
    const uint8_t *pixels[EK_LANES];
    for (int i = 0; x.pixels && i < count; i++)
        pixels[i] = x.pixels + i * p->in;
    ek_backend_run_block(p->program, at,
                         &(ek_batch){.samples = count,
                                     .images = x.pixels ? pixels : NULL,
                                     .values = x.values,
                                     .normal = p->normal,
                                     .logits = logits});
}

static ek_status run(const ek_predictor *p, int64_t n, images x, float *logits, float *probabilities)
{
    if (!p || n < 1 || (!x.values && !x.pixels) || (!logits && !probabilities))
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_predictor_run: predictor, images and an output must not be NULL and n "
                       "(%lld) be positive",
                       (long long)n);
    if (probabilities && p->output.h * p->output.w != 1)
        return ek_fail(EK_ERR_SHAPE, "the net ends in images of %dx%dx%d, which have no probabilities", p->output.c,
                       p->output.h, p->output.w);
    const int at = take_slot(p);
    for (int64_t i = 0; i < n;) {
        const int count = n - i < p->block_from ? 1 : n - i < EK_LANES ? (int)(n - i) : EK_LANES;
        const images here = {x.values ? x.values + i * p->in : NULL, x.pixels ? x.pixels + i * p->in : NULL};
        float *out = logits ? logits + i * p->out : p->slots[at].outputs;
        if (count == 1)
            run_one(p, at, here, out);
        else
            run_block(p, at, here, count, out);
        for (int j = 0; probabilities && j < count; j++)
            ek_single_softmax(p->single, (int)p->out, out + j * p->out, probabilities + (i + j) * p->out);
        i += count;
    }
    leave_slot(p, at);
    return EK_OK;
}

ek_status ek_predictor_run(const ek_predictor *p, int64_t n, const float *x, float *logits, float *probabilities)
{
    return run(p, n, (images){.values = x}, logits, probabilities);
}

ek_status ek_predictor_run_bytes(const ek_predictor *p, int64_t n, const uint8_t *pixels, float *logits,
                                 float *probabilities)
{
    return run(p, n, (images){.pixels = pixels}, logits, probabilities);
}
