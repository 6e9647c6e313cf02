/* SPDX-License-Identifier: MIT
 * From a program's steps to operations on values of one sample. Steps name rooms in which values lie one behind the
 * other; here it is followed which value lies where, so that a concat is the pieces a reader finds side by side, and
 * what flattening renames needs no copy where a linear layer reads it: that is a convolution with a kernel as large as
 * the image. */
#include "cpu/single.h"

#include "base/memory.h"

/* A value where a step left it: `count` values of a sample from `shift` on. */
typedef struct piece {
    int room;
    size_t shift;
    int64_t count;
    int value;
} piece;

typedef struct builder {
    ek_single *single;
    const ek_program *program;
    int step; /* at hand */
    piece *pieces;
    int piece_count, piece_capacity;
} builder;

/* ---- Lists -------------------------------------------------------------------------------------------------- */

static ek_status grow(void **array, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return EK_OK;
    const int larger = *capacity ? 2 * *capacity : 32;
    void *more = ek_realloc(*array, (size_t)larger, size);
    if (!more)
        return EK_ERR_MEMORY;
    *array = more;
    *capacity = larger;
    return EK_OK;
}

static ek_status new_value(builder *b, int c, int h, int w, bool planar, int *number)
{
    ek_single *s = b->single;
    void *values = s->values;
    EK_TRY(grow(&values, s->value_count, &s->value_capacity, sizeof *s->values));
    s->values = values;
    s->values[s->value_count] = (ek_single_value){.c = c, .h = h, .w = w, .planar = planar, .lanes = c, .first = -1};
    *number = s->value_count++;
    return EK_OK;
}

/* The next operation, from x and r (-1: none) to y. */
static ek_status new_op(builder *b, ek_single_kind kind, int x, int r, int y, ek_single_op **op)
{
    ek_single *s = b->single;
    void *ops = s->ops;
    EK_TRY(grow(&ops, s->op_count, &s->op_capacity, sizeof *s->ops));
    s->ops = ops;
    const int number = s->op_count++;
    s->ops[number] = (ek_single_op){.kind = kind, .step = b->step, .x = x, .r = r, .y = y};
    if (x >= 0)
        s->values[x].last = number;
    if (r >= 0)
        s->values[r].last = number;
    if (y >= 0) {
        s->values[y].last = number;
        if (s->values[y].first < 0)
            s->values[y].first = number;
    }
    *op = &s->ops[number];
    return EK_OK;
}

/* ---- What lies where ---------------------------------------------------------------------------------------- */

static int64_t piece_end(const piece *p)
{
    return (int64_t)(p->shift / EK_LANES) + p->count;
}

/* A value has been written; what it covers is gone. */
static ek_status put(builder *b, ek_buffer at, int64_t count, int value)
{
    const piece is = {at.room, at.shift, count, value};
    int kept = 0;
    for (int i = 0; i < b->piece_count; i++) {
        const piece *old = &b->pieces[i];
        const bool apart = old->room != is.room || piece_end(old) <= (int64_t)(is.shift / EK_LANES) ||
                           piece_end(&is) <= (int64_t)(old->shift / EK_LANES);
        if (apart)
            b->pieces[kept++] = *old;
    }
    b->piece_count = kept;
    void *pieces = b->pieces;
    EK_TRY(grow(&pieces, b->piece_count, &b->piece_capacity, sizeof *b->pieces));
    b->pieces = pieces;
    b->pieces[b->piece_count++] = is;
    return EK_OK;
}

static ek_status lost(const builder *b)
{
    return ek_fail(EK_ERR_UNSUPPORTED, "step %d reads what no step has written", b->step);
}

/* The piece that begins at `at`, NULL when there is none. */
static const piece *piece_at(const builder *b, ek_buffer at)
{
    for (int i = 0; i < b->piece_count; i++)
        if (b->pieces[i].room == at.room && b->pieces[i].shift == at.shift)
            return &b->pieces[i];
    return NULL;
}

/* The pieces that lie one behind the other from `at` on, made one value: beside each other in channels where their rows
 * and columns are the same, which is their order in memory too; else as features. */
static ek_status join_pieces(builder *b, ek_buffer at, int64_t count, int *value)
{
    int h = 1, w = 1;
    bool alike = true;
    ek_buffer next = at;
    for (int64_t done = 0; done < count;) {
        const piece *p = piece_at(b, next);
        if (!p || p->count > count - done)
            return lost(b);
        const ek_single_value *v = &b->single->values[p->value];
        alike = alike && (done == 0 || (v->h == h && v->w == w));
        h = v->h;
        w = v->w;
        done += p->count;
        next.shift += (size_t)p->count * EK_LANES;
    }
    const int64_t plane = alike ? (int64_t)h * w : 1;
    EK_TRY(new_value(b, (int)(count / plane), alike ? h : 1, alike ? w : 1, false, value));
    next = at;
    for (int64_t done = 0; done < count;) {
        const piece *p = piece_at(b, next);
        const ek_single_value *v = &b->single->values[p->value];
        const bool features = !alike && v->h * v->w > 1;
        ek_single_op *op;
        EK_TRY(new_op(b, features ? EK_SINGLE_FLATTEN : EK_SINGLE_COPY, p->value, -1, *value, &op));
        op->first = (int)(done / plane);
        done += p->count;
        next.shift += (size_t)p->count * EK_LANES;
    }
    return put(b, at, count, *value);
}

/* The value of `count` values that a step reads at `at`, whatever its shape; of several pieces as above. */
static ek_status get(builder *b, ek_buffer at, int64_t count, int *value)
{
    const piece *p = piece_at(b, at);
    if (p && p->count == count) {
        *value = p->value;
        return EK_OK;
    }
    return join_pieces(b, at, count, value);
}

/* The value as an image [c][h][w] in channels, copied where it lies otherwise. */
static ek_status get_channels(builder *b, ek_buffer at, int c, int h, int w, int *value)
{
    const int64_t count = (int64_t)c * h * w;
    EK_TRY(get(b, at, count, value));
    const ek_single_value *v = &b->single->values[*value];
    const bool same = v->c == c && v->h == h && v->w == w;
    if (same && !v->planar)
        return EK_OK;
    if (!same && h * w != 1)
        return lost(b);
    ek_single_op *op;
    const int x = *value;
    EK_TRY(new_value(b, c, h, w, false, value));
    EK_TRY(new_op(b, same ? EK_SINGLE_COPY : EK_SINGLE_FLATTEN, x, -1, *value, &op));
    return put(b, at, count, *value);
}

/* ---- Steps -------------------------------------------------------------------------------------------------- */

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* Zeros around x as a convolution needs them: of Winograd's a row and column more where tiles overlap the output. */
static void surround(ek_single_value *x, const ek_conv *g, bool fast)
{
    const int64_t below = (int64_t)(g->p - 1 + (fast && g->p % 2)) * g->stride_h +
                          (int64_t)(g->r - 1) * g->dilation_h - g->padding_h - (g->h - 1);
    const int64_t beside = (int64_t)(g->q - 1 + (fast && g->q % 2)) * g->stride_w +
                           (int64_t)(g->s - 1) * g->dilation_w - g->padding_w - (g->w - 1);
    x->top = larger(x->top, g->padding_h);
    x->left = larger(x->left, g->padding_w);
    x->bottom = larger(x->bottom, (int)below);
    x->right = larger(x->right, (int)beside);
}

/* The step that packed the map's weights names them. */
static const float *weights_of(const ek_program *program, const ek_step *map)
{
    if (map->u.map.folded >= 0)
        return program->arena + map->u.map.weight_at;
    for (int i = 0; i < program->count; i++) {
        const ek_step *s = &program->steps[i];
        if (s->kind == EK_STEP_PACK_FORWARD && s->u.map.packed == map->u.map.packed)
            return s->u.map.weight;
    }
    return NULL;
}

/* Units that are computed in planar layout. */
static bool planar_unit(const ek_step *s)
{
    return !s->u.unit.norm && s->u.unit.u.pool <= 2;
}

/* Whether what step s writes is read as it lies, whatever the layout, but for units between: by the first that reads
 * it. */
static bool read_anyhow(const builder *b, const ek_step *s)
{
    ek_buffer at = s->y;
    for (const ek_step *next = s + 1; next < b->program->steps + b->program->count; next++) {
        if (next->kind == EK_STEP_JOIN && next->r.room == at.room && next->r.shift == at.shift)
            return false;
        if (next->x.room != at.room || next->x.shift != at.shift)
            continue;
        if (next->kind == EK_STEP_UNIT && planar_unit(next)) {
            at = next->y;
            continue;
        }
        return next->kind == EK_STEP_STORE ||
               (next->kind == EK_STEP_MAP && next->u.map.g.groups == 1 && !ek_conv_fast(&next->u.map.g));
    }
    return false;
}

/* Whether columns in the lanes are faster. */
static bool by_columns(const builder *b, const ek_step *s, const ek_conv *g, const ek_single_value *x)
{
    const ek_single_kernels *k = b->single->kernels;
    const ek_single_conv one = {.outputs = g->k, .p = g->p, .q = g->q, .taps = g->c * g->r * g->s};
    return x->planar && g->groups == 1 && g->stride_w == 1 && g->p * g->q > 1 && read_anyhow(b, s) &&
           k->columns_cost(&one) < k->conv_cost(&one);
}

static ek_status add_map(builder *b, const ek_step *s)
{
    ek_conv g = s->u.map.g;
    const bool fast = ek_conv_fast(&g), depthwise = g.groups > 1 && g.groups == g.c && g.groups == g.k;
    int x, y;
    if (fast || depthwise)
        EK_TRY(get_channels(b, s->x, g.c, g.h, g.w, &x));
    else
        EK_TRY(get(b, s->x, (int64_t)g.c * g.h * g.w, &x));
    const ek_single_value *from = &b->single->values[x];
    if (g.h * g.w == 1 && from->h * from->w > 1) { /* features that are an image: a kernel as large as it */
        g.c = from->c;
        g.h = g.r = from->h;
        g.w = g.s = from->w;
    }
    if (from->c != g.c || from->h != g.h || from->w != g.w)
        return lost(b);
    const bool columns = !fast && !depthwise && by_columns(b, s, &g, from);
    EK_TRY(new_value(b, g.k, g.p, g.q, columns, &y));
    b->single->values[y].wide = columns;
    surround(&b->single->values[x], &g, fast);
    if (g.groups > 1 && !depthwise) { /* the last group's registers may reach further than y's channels */
        const int part = b->single->kernels->part, each = g.k / g.groups;
        b->single->values[y].lanes = g.k - each + (each + part - 1) / part * part;
    }
    ek_single_op *op;
    const ek_single_kind kind = fast        ? EK_SINGLE_WINOGRAD
                                : depthwise ? EK_SINGLE_DEPTHWISE
                                : columns   ? EK_SINGLE_COLUMNS
                                            : EK_SINGLE_CONV;
    EK_TRY(new_op(b, kind, x, -1, y, &op));
    op->u.map.g = g;
    op->u.map.weight = weights_of(b->program, s);
    op->u.map.bias = s->u.map.folded >= 0 ? b->program->arena + s->u.map.bias_at : s->u.map.bias;
    return put(b, s->y, (int64_t)g.k * g.p * g.q, y);
}

static ek_status add_unit(builder *b, const ek_step *s)
{
    const ek_unit *u = &s->u.unit.u;
    const int64_t count = (int64_t)u->c * u->h * u->w;
    int x, y;
    EK_TRY(get(b, s->x, count, &x));
    const ek_single_value *v = &b->single->values[x];
    const bool wide = v->wide && v->c == u->c && v->h == u->h && v->w == u->w;
    const bool plain = !s->u.unit.norm && u->pool == 1, planar = !plain && wide && planar_unit(s);
    if (!plain && !planar)
        EK_TRY(get_channels(b, s->x, u->c, u->h, u->w, &x));
    const ek_single_value from = b->single->values[x];
    EK_TRY(new_value(b, from.c, from.h / u->pool, from.w / u->pool, from.planar, &y));
    b->single->values[y].lanes = from.lanes;
    b->single->values[y].wide = from.wide;
    ek_single_op *op;
    EK_TRY(new_op(b, plain ? EK_SINGLE_ACTIVATE : planar ? EK_SINGLE_PLANAR : EK_SINGLE_UNIT, x, -1, y, &op));
    op->u.unit.u = *u;
    op->u.unit.norm = s->u.unit.norm ? s->u.unit.norm->channels : NULL;
    return put(b, s->y, count / ((int64_t)u->pool * u->pool), y);
}

static ek_status add_pool(builder *b, const ek_step *s)
{
    const ek_pool2d *g = &s->u.pool.g;
    int x, y;
    EK_TRY(get_channels(b, s->x, g->c, g->h, g->w, &x));
    EK_TRY(new_value(b, g->c, g->p, g->q, false, &y));
    ek_single_op *op;
    EK_TRY(new_op(b, EK_SINGLE_POOL, x, -1, y, &op));
    op->u.pool = *g;
    return put(b, s->y, (int64_t)g->c * g->p * g->q, y);
}

static ek_status add_layernorm(builder *b, const ek_step *s)
{
    const int64_t m = s->u.layernorm.m;
    int x, y;
    EK_TRY(get(b, s->x, m, &x));
    const ek_single_value from = b->single->values[x];
    EK_TRY(new_value(b, from.c, from.h, from.w, from.planar, &y));
    ek_single_op *op;
    EK_TRY(new_op(b, EK_SINGLE_LAYERNORM, x, -1, y, &op));
    op->u.layernorm.m = m;
    op->u.layernorm.eps = s->u.layernorm.eps;
    op->u.layernorm.gamma = s->u.layernorm.gamma;
    op->u.layernorm.beta = s->u.layernorm.beta;
    return put(b, s->y, m, y);
}

static ek_status add_join(builder *b, const ek_step *s)
{
    const ek_join *j = &s->u.join.g;
    int x, r, y;
    EK_TRY(get_channels(b, s->x, j->c, j->h, j->w, &x));
    EK_TRY(get_channels(b, s->r, j->rc, j->rh, j->rw, &r));
    EK_TRY(new_value(b, j->c, j->h, j->w, false, &y));
    b->single->values[y].lanes = b->single->values[x].lanes;
    ek_single_op *op;
    EK_TRY(new_op(b, EK_SINGLE_JOIN, x, r, y, &op));
    op->u.join.g = *j;
    op->u.join.norm = s->u.join.norm ? s->u.join.norm->channels : NULL;
    return put(b, s->y, (int64_t)j->c * j->h * j->w, y);
}

static ek_status add_load(builder *b, const ek_step *s, const int input[3])
{
    int y;
    EK_TRY(new_value(b, input[0], input[1], input[2], true, &y));
    ek_single_op *op;
    EK_TRY(new_op(b, EK_SINGLE_LOAD, -1, -1, y, &op));
    return put(b, s->y, s->u.pass.size, y);
}

static ek_status add_store(builder *b, const ek_step *s)
{
    int x;
    ek_single_op *op;
    EK_TRY(get(b, s->x, s->u.pass.size, &x));
    return new_op(b, EK_SINGLE_STORE, x, -1, -1, &op);
}

/* Several read the same value: it gets a second name. */
static ek_status add_copy(builder *b, const ek_step *s)
{
    int x;
    EK_TRY(get(b, s->x, s->u.pass.size, &x));
    return put(b, s->y, s->u.pass.size, x);
}

static ek_status add_step(builder *b, const ek_step *s, const int input[3])
{
    switch (s->kind) {
    case EK_STEP_PACK_FORWARD:
        return EK_OK;
    case EK_STEP_GATHER:
    case EK_STEP_LOAD:
        return add_load(b, s, input);
    case EK_STEP_MAP:
        return add_map(b, s);
    case EK_STEP_UNIT:
        return add_unit(b, s);
    case EK_STEP_POOL:
        return add_pool(b, s);
    case EK_STEP_LAYERNORM:
        return add_layernorm(b, s);
    case EK_STEP_JOIN:
        return add_join(b, s);
    case EK_STEP_COPY:
        return add_copy(b, s);
    case EK_STEP_STORE:
        return add_store(b, s);
    default:
        return ek_fail(EK_ERR_UNSUPPORTED, "layer %s: its step is none of a single sample",
                       s->layer < 0 ? "?" : b->program->paths[s->layer]);
    }
}

ek_status ek_single_plan(ek_single *single, const ek_program *program, const int input[3])
{
    builder b = {.single = single, .program = program};
    ek_status status = EK_OK;
    for (; b.step < program->count && !status; b.step++)
        status = add_step(&b, &program->steps[b.step], input);
    ek_free(b.pieces);
    return status;
}
