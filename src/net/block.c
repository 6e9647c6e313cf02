/* SPDX-License-Identifier: MIT */
#include "net/block.h"

#include "net/kind.h"

ek_status ek_net_residual_begin(ek_net *net, const ek_net_residual_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_RESIDUAL, 0);
    if (options) {
        layer.o.residual.pad = options->shortcut == EK_SHORTCUT_PAD;
        layer.o.residual.stride = options->stride ? options->stride : 1;
        if (!layer.o.residual.pad && options->shortcut != EK_SHORTCUT_IDENTITY) {
            EK_TRY(ek_net_check(net));
            return ek_net_mark(net, ek_fail(EK_ERR_ARGUMENT, "ek_net_residual_begin: %d is no kind of shortcut",
                                            (int)options->shortcut));
        }
    }
    return ek_net_add(net, &layer);
}

ek_status ek_net_concat_begin(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_CONCAT, 0);
    return ek_net_add(net, &layer);
}

/* ---- Parts -------------------------------------------------------------------------------------------------- */

/* What is added next reads the block's input. */
static void begin_part(ek_net *net)
{
    ek_layer *block = &net->layers[net->open];
    block->parts++;
    net->part_count++;
    net->tail = block->from;
    net->position = 0;
}

void ek_block_enter(ek_net *net)
{
    net->open = net->layer_count - 1;
    if (net->layers[net->open].kind == EK_LAYER_RESIDUAL)
        begin_part(net);
}

static bool same_dims(ek_dims a, ek_dims b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w && a.flat == b.flat;
}

static ek_status end_body(const ek_net *net, ek_layer *block)
{
    if (net->tail == block->from)
        return ek_fail(EK_ERR_ARGUMENT, "its body is empty; put layers into it");
    block->out = ek_net_output(net);
    return EK_OK;
}

static ek_status end_shortcut(const ek_net *net, const ek_layer *block)
{
    char sum[40], other[40];
    const ek_dims out = ek_net_output(net);
    if (same_dims(block->out, out))
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE, "its body gives %s, its shortcut %s; make the shapes equal",
                   ek_dims_text(block->out, sum), ek_dims_text(out, other));
}

/* The branches' widths add up in out.c. */
static ek_status end_branch(const ek_net *net, ek_layer *block)
{
    char first[40], this[40];
    const ek_dims out = ek_net_output(net);
    if (block->parts == 1) {
        block->out = out;
        return EK_OK;
    }
    if (out.flat != block->out.flat || out.h != block->out.h || out.w != block->out.w)
        return ek_fail(EK_ERR_SHAPE, "its branches before give %s, branch %d gives %s; only channels may differ",
                       ek_dims_text(block->out, first), block->parts - 1, ek_dims_text(out, this));
    const ek_dims sum = {.c = block->out.c + out.c, .h = out.h, .w = out.w, .flat = out.flat};
    if ((!out.flat && sum.c > EK_EXTENT_MAX) || ek_dims_count(sum) > EK_SAMPLE_MAX)
        return ek_fail(EK_ERR_SHAPE, "its output of %s is too large; a sample has at most %d values and %d channels",
                       ek_dims_text(sum, first), EK_SAMPLE_MAX, EK_EXTENT_MAX);
    block->out = sum;
    return EK_OK;
}

/* The part at hand is complete. */
static ek_status end_part(const ek_net *net, ek_layer *block)
{
    if (block->parts == 0)
        return EK_OK;
    if (block->kind == EK_LAYER_CONCAT)
        return end_branch(net, block);
    return block->parts == 1 ? end_body(net, block) : end_shortcut(net, block);
}

int ek_block_part_end(const ek_net *net, int layer, int part, int *next)
{
    const ek_layer *block = &net->layers[layer];
    int end = block->from;
    while (*next < block->end && net->layers[*next].part == part) {
        end = *next;
        *next = net->layers[*next].end;
    }
    return end;
}

static void count_reader(int *readers, int layer)
{
    if (layer >= 0)
        readers[layer]++;
}

void ek_block_count_readers(const ek_net *net, int *readers)
{
    for (int i = 0; i < net->layer_count; i++) {
        const ek_layer *l = &net->layers[i];
        if (!ek_is_block(l->kind)) {
            count_reader(readers, l->from);
            continue;
        }
        int next = i + 1;
        for (int part = 0; part < l->parts; part++)
            count_reader(readers, ek_block_part_end(net, i, part, &next));
        if (l->kind == EK_LAYER_RESIDUAL && l->parts == 1)
            count_reader(readers, l->from);
    }
}

/* ---- The shortcut without layers ---------------------------------------------------------------------------- */

static int strided(int extent, int stride)
{
    return (extent + stride - 1) / stride;
}

static ek_status check_padded(const ek_layer *block)
{
    char body[40], input[40];
    const ek_dims in = block->in, out = block->out;
    const int s = block->o.residual.stride;
    if (!in.flat && !out.flat && out.c >= in.c && strided(in.h, s) == out.h && strided(in.w, s) == out.w)
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE, "its body gives %s, which shortcut=pad stride=%d cannot make of %s",
                   ek_dims_text(out, body), s, ek_dims_text(in, input));
}

static ek_status check_shortcut(const ek_layer *block)
{
    char body[40], input[40];
    if (block->o.residual.pad)
        return check_padded(block);
    if (block->o.residual.stride != 1)
        return ek_fail(EK_ERR_ARGUMENT, "stride is %d, and only shortcut=pad has a stride", block->o.residual.stride);
    if (same_dims(block->in, block->out))
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE,
                   "its body gives %s, its input is %s; make the shapes equal, or give it a shortcut of its own or "
                   "shortcut=pad",
                   ek_dims_text(block->out, body), ek_dims_text(block->in, input));
}

/* ---- The calls ---------------------------------------------------------------------------------------------- */

static ek_status fail_in_block(const ek_net *net, ek_status status)
{
    char label[EK_LABEL_SIZE];
    return status ? ek_fail_in(status, ek_layer_label(net, net->open, label)) : EK_OK;
}

static ek_status next_branch(ek_net *net)
{
    if (net->open < 0 || net->layers[net->open].kind != EK_LAYER_CONCAT)
        return ek_fail(EK_ERR_STATE, "ek_net_branch: the innermost open block is no concat");
    if (net->part_count >= EK_LAYERS_MAX)
        return fail_in_block(net,
                             ek_fail(EK_ERR_ARGUMENT, "one branch too many: a net has at most %d", EK_LAYERS_MAX));
    EK_TRY(fail_in_block(net, end_part(net, &net->layers[net->open])));
    begin_part(net);
    return EK_OK;
}

static ek_status begin_shortcut(ek_net *net)
{
    if (net->open < 0 || net->layers[net->open].kind != EK_LAYER_RESIDUAL)
        return ek_fail(EK_ERR_STATE, "ek_net_shortcut: the innermost open block is no residual");
    ek_layer *block = &net->layers[net->open];
    if (block->parts == 2)
        return fail_in_block(net, ek_fail(EK_ERR_STATE, "it has a shortcut already"));
    if (block->o.residual.pad || block->o.residual.stride != 1)
        return fail_in_block(net, ek_fail(EK_ERR_ARGUMENT, "shortcut=pad and stride are for a residual without a "
                                                           "shortcut of its own"));
    EK_TRY(fail_in_block(net, end_part(net, block)));
    begin_part(net);
    return EK_OK;
}

static ek_status end_block(ek_net *net)
{
    if (net->open < 0)
        return ek_fail(EK_ERR_STATE, "ek_net_block_end: no block is open");
    ek_layer *block = &net->layers[net->open];
    ek_status status = end_part(net, block);
    if (!status && block->parts == 0)
        status = ek_fail(EK_ERR_ARGUMENT, "it has no branches; put some into it");
    if (!status && block->kind == EK_LAYER_RESIDUAL && block->parts == 1)
        status = check_shortcut(block);
    EK_TRY(fail_in_block(net, status));
    block->end = net->layer_count;
    net->tail = net->open;
    net->position = block->position + 1;
    net->open = block->parent;
    return EK_OK;
}

ek_status ek_net_branch(ek_net *net)
{
    EK_TRY(ek_net_check(net));
    return ek_net_mark(net, next_branch(net));
}

ek_status ek_net_shortcut(ek_net *net)
{
    EK_TRY(ek_net_check(net));
    return ek_net_mark(net, begin_shortcut(net));
}

ek_status ek_net_block_end(ek_net *net)
{
    EK_TRY(ek_net_check(net));
    return ek_net_mark(net, end_block(net));
}
