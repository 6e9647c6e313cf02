/* SPDX-License-Identifier: MIT
 * A single sample's program laid out: where values lie in a slot, and the numbers that stay, weights packed for the
 * kernels and the places their taps read. */
#include "cpu/single.h"

#include "base/memory.h"

#include <math.h>

/* ---- Values ------------------------------------------------------------------------------------------------- */

static size_t whole(size_t floats, size_t unit)
{
    return ek_size_mul(ek_size_add(floats, unit - 1) / unit, unit);
}

/* Every place in a value is within int32, so that taps' offsets are. */
static ek_status shape_value(const ek_single *s, ek_single_value *v)
{
    const size_t rows = ek_size_add((size_t)v->top + (size_t)v->bottom, (size_t)v->h);
    const size_t whole_row = (size_t)v->left + (v->wide ? whole((size_t)v->w, (size_t)s->kernels->part) : 0);
    size_t columns = ek_size_add((size_t)v->left + (size_t)v->right, (size_t)v->w);
    columns = columns > whole_row ? columns : whole_row;
    const size_t lanes = v->planar ? 1 : whole((size_t)(v->lanes > v->c ? v->lanes : v->c), (size_t)s->kernels->part);
    const size_t plane = ek_size_mul(rows, columns);
    v->size = ek_size_mul(plane, v->planar ? (size_t)v->c : lanes);
    if (v->planar)
        v->size = ek_size_add(v->size, EK_SINGLE_SLACK);
    if (v->size > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "a value of %dx%dx%d is too large for single samples", v->c, v->h, v->w);
    v->channel = v->planar ? (ptrdiff_t)plane : 1;
    v->column = (ptrdiff_t)lanes;
    v->row = (ptrdiff_t)(columns * lanes);
    return EK_OK;
}

/* The lowest place with room for a value among those that are alive with it, which are sorted by place. */
static size_t place(const ek_single_value *values, const int *alive, int count, size_t size)
{
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        const ek_single_value *v = &values[alive[i]];
        if (v->at >= at + size)
            break;
        const size_t end = v->at + whole(v->size, EK_LANES);
        at = end > at ? end : at;
    }
    return at;
}

static int drop_dead(const ek_single_value *values, int *alive, int count, int op)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (values[alive[i]].last >= op)
            alive[kept++] = alive[i];
    return kept;
}

/* Values get places as operations write them; what the same operation reads is still there. */
static ek_status lay_out_values(ek_single *s, size_t *total)
{
    int *alive = ek_calloc((size_t)s->value_count, sizeof *alive), count = 0;
    if (!alive)
        return EK_ERR_MEMORY;
    *total = 0;
    for (int i = 0; i < s->op_count; i++) {
        count = drop_dead(s->values, alive, count, i);
        const int y = s->ops[i].y;
        if (y < 0 || s->values[y].first != i)
            continue;
        ek_single_value *v = &s->values[y];
        v->at = place(s->values, alive, count, whole(v->size, EK_LANES));
        const size_t end = ek_size_add(v->at, whole(v->size, EK_LANES));
        *total = end > *total ? end : *total;
        int j = count++;
        for (; j > 0 && s->values[alive[j - 1]].at > v->at; j--)
            alive[j] = alive[j - 1];
        alive[j] = y;
    }
    ek_free(alive);
    return EK_OK;
}

/* Floats of working memory. */
static size_t scratch_of(const ek_single *s, const ek_single_op *op)
{
    if (op->kind == EK_SINGLE_WINOGRAD)
        return s->kernels->winograd_scratch(&op->u.map.g);
    if (op->kind == EK_SINGLE_LAYERNORM)
        return (size_t)op->u.layernorm.m;
    if (op->kind == EK_SINGLE_PLANAR)
        return ek_size_add((size_t)s->values[op->x].channel, EK_SINGLE_SLACK);
    if (op->kind == EK_SINGLE_UNIT)
        return ek_size_mul((size_t)op->u.unit.u.pool * (size_t)op->u.unit.u.w, (size_t)s->values[op->x].column);
    return 0;
}

/* ---- Numbers: how many, then which -------------------------------------------------------------------------- */

static size_t taps_of(const ek_conv *one)
{
    return (size_t)one->c * (size_t)one->r * (size_t)one->s;
}

static size_t whole_parts(const ek_single *s, int channels)
{
    return whole((size_t)channels, (size_t)s->kernels->part);
}

static void count_map(const ek_single *s, ek_single_op *op)
{
    const ek_conv *g = &op->u.map.g;
    const ek_conv one = ek_conv_group(g);
    const size_t channels =
        op->kind == EK_SINGLE_COLUMNS ? (size_t)g->k : whole_parts(s, op->kind == EK_SINGLE_DEPTHWISE ? g->k : one.k);
    const size_t taps = op->kind == EK_SINGLE_WINOGRAD ? (size_t)g->c : taps_of(&one);
    op->numbers_stride = ek_size_mul(channels, taps + 1);
    if (op->kind == EK_SINGLE_WINOGRAD)
        op->numbers_stride = ek_size_mul(op->numbers_stride, 16);
    const bool alone = op->kind != EK_SINGLE_CONV;
    op->numbers_size = alone ? op->numbers_stride : ek_size_mul(op->numbers_stride, (size_t)g->groups);
}

static void count_numbers(const ek_single *s, ek_single_op *op)
{
    switch (op->kind) {
    case EK_SINGLE_CONV:
    case EK_SINGLE_COLUMNS:
    case EK_SINGLE_DEPTHWISE:
    case EK_SINGLE_WINOGRAD:
        count_map(s, op);
        break;
    case EK_SINGLE_UNIT:
    case EK_SINGLE_JOIN: {
        const bool norm = op->kind == EK_SINGLE_UNIT ? op->u.unit.norm != NULL : op->u.join.norm != NULL;
        op->numbers_stride = whole_parts(s, op->kind == EK_SINGLE_UNIT ? op->u.unit.u.c : op->u.join.g.c);
        op->numbers_size = norm ? 4 * op->numbers_stride : 0;
        break;
    }
    case EK_SINGLE_LAYERNORM:
        op->numbers_stride = (size_t)op->u.layernorm.m;
        op->numbers_size = op->u.layernorm.gamma ? 2 * op->numbers_stride : 0;
        break;
    default:
        break;
    }
}

static size_t offsets_of(const ek_single_op *op)
{
    const ek_conv *g = &op->u.map.g;
    switch (op->kind) {
    case EK_SINGLE_CONV:
    case EK_SINGLE_COLUMNS:
    case EK_SINGLE_DEPTHWISE: {
        const ek_conv one = ek_conv_group(g);
        return taps_of(&one);
    }
    case EK_SINGLE_WINOGRAD:
        return (size_t)g->c;
    default:
        return 0;
    }
}

/* Zeros around an image stand for nothing only while what they are multiplied by is finite. */
static ek_status check_finite(const ek_single_op *op, const ek_program *program, const float *x, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++)
        finite = finite && isfinite(x[i]);
    return finite ? EK_OK
                  : ek_fail(EK_ERR_NUMERIC, "layer %s: a parameter, or what is folded into it, is not finite",
                            program->paths[program->steps[op->step].layer]);
}

static void fill_offsets(const ek_conv *one, const ek_single_value *x, int32_t *offsets)
{
    for (int c = 0; c < one->c; c++)
        for (int r = 0; r < one->r; r++)
            for (int s = 0; s < one->s; s++)
                *offsets++ =
                    (int32_t)(c * x->channel + r * one->dilation_h * x->row + s * one->dilation_w * x->column);
}

static void fill_map(ek_single *s, ek_single_op *op)
{
    const ek_conv *g = &op->u.map.g;
    const ek_conv one = ek_conv_group(g);
    const ek_single_value *x = &s->values[op->x], *y = &s->values[op->y];
    const float *bias = op->u.map.bias;
    float *numbers = s->numbers + op->numbers;
    int32_t *offsets = s->offsets + op->offsets;
    const bool depthwise = op->kind == EK_SINGLE_DEPTHWISE;
    op->u.map.one = (ek_single_conv){.outputs = depthwise ? g->k : one.k,
                                     .p = g->p,
                                     .q = g->q,
                                     .taps = (int)taps_of(&one),
                                     .x_row = g->stride_h * x->row,
                                     .x_column = g->stride_w * x->column,
                                     .y_row = y->row,
                                     .y_column = y->column,
                                     .y_channel = y->channel};
    if (op->kind == EK_SINGLE_WINOGRAD) {
        s->kernels->winograd_pack(g, op->u.map.weight, bias, numbers);
        for (int c = 0; c < g->c; c++)
            offsets[c] = c;
        return;
    }
    fill_offsets(&one, x, offsets);
    if (op->kind != EK_SINGLE_CONV) {
        (depthwise ? s->kernels->depthwise_pack : s->kernels->columns_pack)(&op->u.map.one, op->u.map.weight, bias,
                                                                            numbers);
        return;
    }
    for (int i = 0; i < g->groups; i++)
        s->kernels->pack(&op->u.map.one, op->u.map.weight + i * ek_conv_weights(&one), bias ? bias + i * one.k : NULL,
                         numbers + (size_t)i * op->numbers_stride);
}

static void fill_norm(const ek_single_op *op, const ek_norm_channel *norm, int channels, float *numbers)
{
    for (int c = 0; norm && c < channels; c++) {
        numbers[c] = norm[c].mean;
        numbers[op->numbers_stride + (size_t)c] = norm[c].mean_low;
        numbers[2 * op->numbers_stride + (size_t)c] = norm[c].scale;
        numbers[3 * op->numbers_stride + (size_t)c] = norm[c].shift;
    }
}

static ek_status fill_numbers(ek_single *s, const ek_program *program, ek_single_op *op)
{
    float *numbers = s->numbers + op->numbers;
    switch (op->kind) {
    case EK_SINGLE_CONV:
    case EK_SINGLE_COLUMNS:
    case EK_SINGLE_DEPTHWISE:
    case EK_SINGLE_WINOGRAD:
        fill_map(s, op);
        break;
    case EK_SINGLE_UNIT:
        fill_norm(op, op->u.unit.norm, op->u.unit.u.c, numbers);
        break;
    case EK_SINGLE_JOIN:
        fill_norm(op, op->u.join.norm, op->u.join.g.c, numbers);
        break;
    case EK_SINGLE_LAYERNORM:
        for (size_t i = 0; i < op->numbers_size / 2; i++) {
            numbers[i] = op->u.layernorm.gamma[i];
            numbers[op->numbers_stride + i] = op->u.layernorm.beta ? op->u.layernorm.beta[i] : 0.0f;
        }
        break;
    default:
        break;
    }
    return check_finite(op, program, numbers, op->numbers_size);
}

static ek_status alloc(ek_single *s, size_t values, int slots)
{
    size_t scratch = 0;
    for (int i = 0; i < s->op_count; i++) {
        ek_single_op *op = &s->ops[i];
        count_numbers(s, op);
        op->numbers = s->numbers_size;
        op->offsets = s->offsets_size;
        s->numbers_size = ek_size_add(s->numbers_size, whole(op->numbers_size, EK_LANES));
        s->offsets_size = ek_size_add(s->offsets_size, whole(offsets_of(op), EK_LANES));
        scratch = scratch_of(s, op) > scratch ? scratch_of(s, op) : scratch;
    }
    s->slot_count = slots;
    s->scratch_at = values;
    s->slot_stride = ek_size_add(whole(ek_size_add(values, scratch), EK_LANES), EK_LANES);
    s->numbers = ek_block_alloc(ek_size_mul(s->numbers_size, sizeof *s->numbers));
    s->offsets = ek_block_alloc(ek_size_mul(s->offsets_size, sizeof *s->offsets));
    s->slots = ek_block_alloc(ek_size_mul(ek_size_mul(s->slot_stride, (size_t)slots), sizeof *s->slots));
    return s->numbers && s->offsets && s->slots ? EK_OK : EK_ERR_MEMORY;
}

ek_status ek_single_pack(ek_single *s, const ek_program *program, int slots)
{
    size_t values;
    for (int i = 0; i < s->value_count; i++)
        EK_TRY(shape_value(s, &s->values[i]));
    EK_TRY(lay_out_values(s, &values));
    EK_TRY(alloc(s, values, slots));
    for (int i = 0; i < s->op_count; i++)
        EK_TRY(fill_numbers(s, program, &s->ops[i]));
    return EK_OK;
}
