/* SPDX-License-Identifier: MIT
 * Runs a prediction program's steps for one sample. */
#include "cpu/single.h"

#include "base/memory.h"

#include <string.h>

ek_status ek_single_new(ek_single **out, const ek_program *program, const int input[3], int slots)
{
    *out = NULL;
    const ek_kernels *kernels = ek_kernels_get();
    if (!kernels)
        return EK_ERR_UNSUPPORTED;
    ek_single *s = ek_calloc(1, sizeof *s);
    if (!s)
        return EK_ERR_MEMORY;
    s->kernels = &kernels->single;
    ek_status status = ek_single_plan(s, program, input);
    if (!status)
        status = ek_single_pack(s, program, slots);
    if (status) {
        ek_single_free(s);
        return status;
    }
    *out = s;
    return EK_OK;
}

void ek_single_free(ek_single *s)
{
    if (!s)
        return;
    ek_free(s->ops);
    ek_free(s->values);
    ek_block_free(s->numbers);
    ek_block_free(s->offsets);
    ek_block_free(s->slots);
    ek_free(s);
}

size_t ek_single_memory(const ek_single *s)
{
    return (s->numbers_size + (size_t)s->slot_count * s->slot_stride) * sizeof(float) +
           s->offsets_size * sizeof *s->offsets;
}

void ek_single_softmax(const ek_single *s, int k, const float *z, float *p)
{
    s->kernels->softmax(k, z, p);
}

/* ---- Values ------------------------------------------------------------------------------------------------- */

/* What runs at the moment. */
typedef struct run {
    const ek_single *single;
    float *slot, *scratch;
    const ek_sample *sample;
    float *logits;
} run;

/* The value's first position inside the zeros around it. */
static float *inside(const run *r, int value)
{
    const ek_single_value *v = &r->single->values[value];
    return r->slot + v->at + v->top * v->row + v->left * v->column;
}

static ek_single_channels channels_of(const run *r, int value)
{
    const ek_single_value *v = &r->single->values[value];
    return (ek_single_channels){inside(r, value), v->row, v->column};
}

static void zero(float *x, ptrdiff_t count)
{
    if (count > 0)
        memset(x, 0, (size_t)count * sizeof *x);
}

/* Zeros around a value. */
static void surround(const run *r, int value)
{
    const ek_single_value *v = &r->single->values[value];
    if (!(v->top | v->left | v->bottom | v->right))
        return;
    const int planes = v->planar ? v->c : 1;
    const ptrdiff_t left = v->left * v->column, width = v->w * v->column, right = v->row - left - width;
    float *x = r->slot + v->at;
    for (int c = 0; c < planes; c++) {
        /* The right of a row and the left of the next lie side by side. */
        zero(x, v->top * v->row + left);
        x += v->top * v->row + left + width;
        for (int h = 0; h < v->h - 1; h++, x += v->row)
            zero(x, right + left);
        zero(x, right + v->bottom * v->row);
        x += right + v->bottom * v->row;
    }
}

/* to[c*channel + h*row + w*column] = x[c, h, w] */
static void copy_to(const run *r, int value, float *to, ptrdiff_t channel, ptrdiff_t row, ptrdiff_t column)
{
    const ek_single_value *v = &r->single->values[value];
    const float *x = inside(r, value);
    if (v->channel == 1 && channel == 1) {
        for (int h = 0; h < v->h; h++)
            for (int w = 0; w < v->w; w++)
                memcpy(to + h * row + w * column, x + h * v->row + w * v->column, (size_t)v->c * sizeof *to);
        return;
    }
    for (int c = 0; c < v->c; c++)
        for (int h = 0; h < v->h; h++)
            for (int w = 0; w < v->w; w++)
                to[c * channel + h * row + w * column] = x[c * v->channel + h * v->row + w * v->column];
}

/* ---- Operations --------------------------------------------------------------------------------------------- */

static void load(const run *r, const ek_single_op *op)
{
    const ek_single_value *v = &r->single->values[op->y];
    const ek_sample *in = r->sample;
    float *y = inside(r, op->y);
    /* Whole planes where nothing is around them. */
    const int rows = v->row == v->w ? 1 : v->h, count = v->row == v->w ? v->h * v->w : v->w;
    for (int c = 0; c < v->c; c++)
        for (int h = 0; h < rows; h++) {
            const size_t at = (size_t)c * (size_t)v->h * (size_t)v->w + (size_t)h * (size_t)v->w;
            float *to = y + c * v->channel + h * v->row;
            if (in->image)
                r->single->kernels->bytes(in->normal, c, count, in->image + at, to);
            else
                r->single->kernels->floats(in->normal, c, count, in->values + at, to);
        }
}

static void run_map(const run *r, const ek_single_op *op)
{
    const ek_single *s = r->single;
    const ek_conv *g = &op->u.map.g;
    const ek_single_value *v = &s->values[op->x];
    const float *x = inside(r, op->x) + ek_single_corner(v, g), *numbers = s->numbers + op->numbers;
    const int32_t *offsets = s->offsets + op->offsets;
    float *y = inside(r, op->y);
    if (op->kind != EK_SINGLE_CONV) {
        (op->kind == EK_SINGLE_DEPTHWISE ? s->kernels->depthwise : s->kernels->columns)(&op->u.map.one, numbers,
                                                                                        offsets, x, y);
        return;
    }
    const int inputs = g->c / g->groups, outputs = g->k / g->groups;
    for (int i = 0; i < g->groups; i++, x += inputs * v->channel, y += outputs, numbers += op->numbers_stride)
        s->kernels->conv(&op->u.map.one, numbers, offsets, x, y);
}

static void run_winograd(const run *r, const ek_single_op *op)
{
    const ek_single *s = r->single;
    ek_single_channels x = channels_of(r, op->x);
    x.at += ek_single_corner(&s->values[op->x], &op->u.map.g);
    s->kernels->winograd(&op->u.map.g, s->numbers + op->numbers, s->offsets + op->offsets, x, r->scratch,
                         channels_of(r, op->y));
}

static ek_single_norm norm_of(const run *r, const ek_single_op *op)
{
    const float *numbers = r->single->numbers + op->numbers;
    const size_t stride = op->numbers_stride;
    return (ek_single_norm){numbers, numbers + stride, numbers + 2 * stride, numbers + 3 * stride};
}

/* A channel at a time: activated to the scratch as it lies, gaps between rows and all, then pooled. */
static void run_planar(const run *r, const ek_single_op *op)
{
    const ek_single_kernels *k = r->single->kernels;
    const ek_single_value *x = &r->single->values[op->x], *y = &r->single->values[op->y];
    const ek_unit *u = &op->u.unit.u;
    const float *from = inside(r, op->x);
    float *to = inside(r, op->y);
    for (int c = 0; c < x->c; c++, from += x->channel, to += y->channel) {
        k->activate(u->activation, u->negative_slope, (size_t)((x->h - 1) * x->row + x->w), from, r->scratch);
        k->pool_planar(u->maximum, u->h, u->w, r->scratch, x->row, to, y->row);
    }
}

static void run_activate(const run *r, const ek_single_op *op)
{
    const ek_single_value *x = &r->single->values[op->x], *y = &r->single->values[op->y];
    if (x->row == y->row && x->channel == y->channel && x->top + x->left + y->top + y->left == 0) { /* one piece */
        const size_t count = (size_t)(x->planar ? x->c * x->channel : x->h * x->row);
        r->single->kernels->activate(op->u.unit.u.activation, op->u.unit.u.negative_slope, count, inside(r, op->x),
                                     inside(r, op->y));
        return;
    }
    const int planes = x->planar ? x->c : 1;
    for (int c = 0; c < planes; c++)
        for (int h = 0; h < x->h; h++)
            r->single->kernels->activate(op->u.unit.u.activation, op->u.unit.u.negative_slope,
                                         (size_t)(x->w * x->column), inside(r, op->x) + c * x->channel + h * x->row,
                                         inside(r, op->y) + c * y->channel + h * y->row);
}

/* The values in the order of gamma, and back. */
static void run_layernorm(const run *r, const ek_single_op *op)
{
    const ek_single *s = r->single;
    const ek_single_value *v = &s->values[op->y];
    const float *gamma = op->numbers_size ? s->numbers + op->numbers : NULL;
    float *x = r->scratch, *y = inside(r, op->y);
    copy_to(r, op->x, x, (ptrdiff_t)v->h * v->w, v->w, 1);
    s->kernels->layer_norm(op->u.layernorm.m, op->u.layernorm.eps, gamma, gamma ? gamma + op->numbers_stride : NULL,
                           x, x);
    for (int c = 0; c < v->c; c++)
        for (int h = 0; h < v->h; h++)
            for (int w = 0; w < v->w; w++)
                y[c * v->channel + h * v->row + w * v->column] = *x++;
}

static void run_op(const run *r, const ek_single_op *op)
{
    const ek_single *s = r->single;
    const ek_single_kernels *k = s->kernels;
    const ek_single_norm norm = norm_of(r, op);
    const ek_single_value *y = op->y < 0 ? NULL : &s->values[op->y];
    switch (op->kind) {
    case EK_SINGLE_LOAD:
        load(r, op);
        break;
    case EK_SINGLE_CONV:
    case EK_SINGLE_COLUMNS:
    case EK_SINGLE_DEPTHWISE:
        run_map(r, op);
        break;
    case EK_SINGLE_WINOGRAD:
        run_winograd(r, op);
        break;
    case EK_SINGLE_UNIT:
        k->unit(&op->u.unit.u, op->u.unit.norm ? &norm : NULL, channels_of(r, op->x), r->scratch,
                channels_of(r, op->y));
        break;
    case EK_SINGLE_PLANAR:
        run_planar(r, op);
        break;
    case EK_SINGLE_ACTIVATE:
        run_activate(r, op);
        break;
    case EK_SINGLE_POOL:
        k->pool(&op->u.pool, channels_of(r, op->x), channels_of(r, op->y));
        break;
    case EK_SINGLE_LAYERNORM:
        run_layernorm(r, op);
        break;
    case EK_SINGLE_JOIN:
        k->join(&op->u.join.g, op->u.join.norm ? &norm : NULL, channels_of(r, op->x), channels_of(r, op->r),
                channels_of(r, op->y));
        break;
    case EK_SINGLE_COPY:
        copy_to(r, op->x, inside(r, op->y) + op->first * y->channel, y->channel, y->row, y->column);
        break;
    case EK_SINGLE_FLATTEN: {
        const ek_single_value *x = &s->values[op->x];
        copy_to(r, op->x, inside(r, op->y) + op->first, (ptrdiff_t)x->h * x->w, x->w, 1);
        break;
    }
    case EK_SINGLE_STORE: {
        const ek_single_value *x = &s->values[op->x];
        copy_to(r, op->x, r->logits, (ptrdiff_t)x->h * x->w, x->w, 1);
        break;
    }
    }
}

void ek_single_run(const ek_single *s, int slot, const ek_sample *sample, float *logits)
{
    float *memory = s->slots + (size_t)slot * s->slot_stride;
    const run r = {
        .single = s, .slot = memory, .scratch = memory + s->scratch_at, .sample = sample, .logits = logits};
    for (int i = 0; i < s->op_count; i++) {
        const ek_single_op *op = &s->ops[i];
        run_op(&r, op);
        if (op->y >= 0 && s->values[op->y].first == i) /* behind the writer, which may have written whole registers */
            surround(&r, op->y);
    }
}
