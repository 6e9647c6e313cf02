/* SPDX-License-Identifier: MIT
 * A net in which convolutions and linear layers have taken in the batch norms behind them. */
#include "net/fold.h"

#include "base/memory.h"
#include "net/block.h"
#include "net/kind.h"

#include <math.h>
#include <string.h>

typedef struct folding {
    const ek_net *net;
    ek_net *made;
    ek_fold *folds; /* of each layer of the net */
    int *readers;   /* of each layer's output */
    int *then;      /* of a map the first norm that is folded into it, of such a norm the next; -1: no more */
    int *last;      /* of a map the last of these norms, -1: there is none */
    int *origin;    /* note_origin */
    bool *shared;
    int *twin; /* the layer of the new net that a layer has become, -1: none */
} folding;

/* ---- Which norms -------------------------------------------------------------------------------------------- */

/* Whether prediction finds behind a layer, channel by channel, what is before it: a norm that is folded is gone. */
static bool is_passed(const folding *f, int layer)
{
    const ek_layer *l = &f->net->layers[layer];
    return l->kind == EK_LAYER_DROPOUT || f->folds[layer].outcome == EK_FOLD_DONE ||
           (l->kind == EK_LAYER_FLATTEN && (l->in.flat || l->in.h * l->in.w == 1));
}

/* What is known of a layer's output: the map whose channels prediction finds there (-1: none), and whether others read
 * what is on the way from it. */
static void note_origin(folding *f, int layer)
{
    const ek_layer *l = &f->net->layers[layer];
    const bool map = l->kind == EK_LAYER_CONV2D || l->kind == EK_LAYER_LINEAR;
    const bool passed = !map && l->from >= 0 && is_passed(f, layer);
    f->origin[layer] = map ? layer : passed ? f->origin[l->from] : -1;
    f->shared[layer] = f->readers[layer] > 1 || (passed && f->shared[l->from]);
}

static ek_fold fold_of_norm(const folding *f, int norm)
{
    const ek_layer *l = &f->net->layers[norm];
    if (!l->o.batchnorm.tracking)
        return (ek_fold){EK_FOLD_UNTRACKED, -1};
    if (l->from < 0 || f->origin[l->from] < 0)
        return (ek_fold){EK_FOLD_NO_MAP, -1};
    return (ek_fold){f->shared[l->from] ? EK_FOLD_SHARED : EK_FOLD_DONE, f->origin[l->from]};
}

static void find_folds(folding *f)
{
    ek_block_count_readers(f->net, f->readers);
    if (f->net->tail >= 0)
        f->readers[f->net->tail]++;
    for (int i = 0; i < f->net->layer_count; i++) {
        f->then[i] = f->last[i] = -1;
        f->folds[i] = (ek_fold){EK_FOLD_NO_NORM, -1};
        if (f->net->layers[i].kind == EK_LAYER_BATCHNORM)
            f->folds[i] = fold_of_norm(f, i);
        note_origin(f, i);
        if (f->folds[i].outcome != EK_FOLD_DONE)
            continue;
        const int map = f->folds[i].into;
        f->then[f->last[map] < 0 ? map : f->last[map]] = i;
        f->last[map] = i;
    }
}

/* ---- The net ------------------------------------------------------------------------------------------------ */

static ek_status copy_layer(folding *f, int layer)
{
    const ek_layer *l = &f->net->layers[layer];
    f->twin[layer] = -1;
    if (f->folds[layer].outcome == EK_FOLD_DONE)
        return EK_OK;
    ek_layer copy = ek_layer_new(l->kind, 1);
    copy.o = l->o;
    copy.out.c = l->out.c;
    if (f->then[layer] >= 0 && l->kind == EK_LAYER_CONV2D)
        copy.o.conv.bias = true;
    if (f->then[layer] >= 0 && l->kind == EK_LAYER_LINEAR)
        copy.o.linear.bias = true;
    f->twin[layer] = f->made->layer_count;
    return ek_net_add(f->made, &copy);
}

/* Layers begin..end-1, which stand in one sequence. Recursion ends at EK_DEPTH_MAX. */
static ek_status copy_layers(folding *f, int begin, int end)
{
    for (int i = begin; i < end; i = f->net->layers[i].end) {
        const ek_layer *l = &f->net->layers[i];
        EK_TRY(copy_layer(f, i));
        if (!ek_is_block(l->kind))
            continue;
        int next = i + 1;
        for (int part = 0; part < l->parts; part++) {
            if (l->kind == EK_LAYER_CONCAT)
                EK_TRY(ek_net_branch(f->made));
            else if (part == 1)
                EK_TRY(ek_net_shortcut(f->made));
            const int first = next;
            ek_block_part_end(f->net, i, part, &next);
            EK_TRY(copy_layers(f, first, next));
        }
        EK_TRY(ek_net_block_end(f->made));
    }
    return EK_OK;
}

static ek_status copy_notes(const folding *f)
{
    for (int i = 0; i < f->net->note_count; i++)
        EK_TRY(ek_net_set_note(f->made, f->net->notes[i].key, f->net->notes[i].value));
    return EK_OK;
}

/* ---- Its numbers -------------------------------------------------------------------------------------------- */

static const ek_tensor *tensor_of(const ek_net *net, int tensor)
{
    return tensor < 0 ? NULL : &net->tensors[tensor];
}

static void copy_tensor(const ek_tensor *to, const ek_tensor *from)
{
    if (from && from->data)
        memcpy(to->data, from->data, (size_t)from->count * sizeof *to->data);
    else if (from)
        *to->counter = *from->counter;
}

static void copy_tensors(const folding *f, const ek_layer *to, const ek_layer *from)
{
    copy_tensor(tensor_of(f->made, to->weight), tensor_of(f->net, from->weight));
    copy_tensor(tensor_of(f->made, to->bias), tensor_of(f->net, from->bias));
    copy_tensor(tensor_of(f->made, to->moving_mean), tensor_of(f->net, from->moving_mean));
    copy_tensor(tensor_of(f->made, to->moving_var), tensor_of(f->net, from->moving_var));
    copy_tensor(tensor_of(f->made, to->num_batches), tensor_of(f->net, from->num_batches));
}

/* Map layer `map` with all its norms; each number is rounded once. */
static ek_status fold_map(const folding *f, int map)
{
    const ek_layer *l = &f->net->layers[map], *made = &f->made->layers[f->twin[map]];
    const ek_tensor *w = &f->net->tensors[l->weight], *b = tensor_of(f->net, l->bias);
    float *weight = f->made->tensors[made->weight].data, *bias = f->made->tensors[made->bias].data;
    const int64_t outputs = w->dim[0], inputs = w->count / outputs;
    for (int64_t k = 0; k < outputs; k++) {
        ek_affine a = {1, b ? (double)b->data[k] : 0};
        for (int norm = f->then[map]; norm >= 0; norm = f->then[norm])
            a = ek_fold_norm(f->net, &f->net->layers[norm], k, a);
        bias[k] = (float)a.shift;
        bool finite = isfinite(bias[k]);
        for (int64_t i = 0; i < inputs; i++) {
            weight[k * inputs + i] = (float)((double)w->data[k * inputs + i] * a.scale);
            finite = finite && isfinite(weight[k * inputs + i]);
        }
        char label[EK_LABEL_SIZE];
        if (!finite)
            return ek_fail(EK_ERR_NUMERIC,
                           "%s cannot be folded: channel %jd of the layer before it would have a weight or bias that "
                           "is NaN or infinite (its scale is %g)",
                           ek_layer_label(f->net, f->then[map], label), (intmax_t)k, a.scale);
    }
    return EK_OK;
}

static ek_status fill(const folding *f)
{
    EK_TRY(ek_net_finish(f->made));
    for (int i = 0; i < f->net->layer_count; i++) {
        if (f->twin[i] < 0)
            continue;
        if (f->then[i] >= 0)
            EK_TRY(fold_map(f, i));
        else
            copy_tensors(f, &f->made->layers[f->twin[i]], &f->net->layers[i]);
    }
    return EK_OK;
}

/* ---- The call ----------------------------------------------------------------------------------------------- */

static ek_status fold(folding *f, ek_fold *folds)
{
    const size_t layers = (size_t)f->net->layer_count;
    const ek_dims in = f->net->input;
    f->folds = ek_calloc(layers, sizeof *f->folds);
    f->readers = ek_calloc(layers, sizeof *f->readers);
    f->then = ek_calloc(layers, sizeof *f->then);
    f->twin = ek_calloc(layers, sizeof *f->twin);
    f->last = ek_calloc(layers, sizeof *f->last);
    f->origin = ek_calloc(layers, sizeof *f->origin);
    f->shared = ek_calloc(layers, sizeof *f->shared);
    f->made = ek_net_new(in.c, in.h, in.w);
    if (!f->folds || !f->readers || !f->then || !f->twin || !f->last || !f->origin || !f->shared || !f->made)
        return EK_ERR_MEMORY;
    find_folds(f);
    if (folds)
        memcpy(folds, f->folds, layers * sizeof *folds);
    EK_TRY(copy_layers(f, 0, f->net->layer_count));
    EK_TRY(copy_notes(f));
    return fill(f);
}

ek_status ek_net_fold(ek_net **folded, ek_net *net, ek_fold *folds)
{
    if (folded)
        *folded = NULL;
    if (!folded)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_fold: folded is NULL");
    EK_TRY(ek_net_finish(net));
    folding f = {.net = net};
    const ek_status status = fold(&f, folds);
    ek_free(f.folds);
    ek_free(f.readers);
    ek_free(f.then);
    ek_free(f.twin);
    ek_free(f.last);
    ek_free(f.origin);
    ek_free(f.shared);
    if (status)
        ek_net_free(f.made);
    else
        *folded = f.made;
    return status;
}
