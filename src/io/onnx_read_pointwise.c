/* SPDX-License-Identifier: MIT
 * Activations in parts. Exporters write them as arithmetic, in any order of terms and factors. So they are not told by
 * their form, but by what they do: a part of the graph between two values that works element by element, with single
 * numbers as constants, is a function of one number. There are two kinds of such parts:
 *   straight ones, of sums, products with constants, the larger and the smaller: the function is pieces of straight
 *     lines, which are all computed, with the numbers between which they hold;
 *   curved ones (erf, tanh, powers and so on), without the larger and the smaller: the function is smooth, and is
 *     computed at points.
 * What is both is none of the activations. Where it could be sampled alone, a limit beyond the points would be lost. */
#define _GNU_SOURCE
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "net/kind.h"

#include <math.h>

/* ---- Parts of the graph --------------------------------------------------------------------------------------- */

enum { REGION_MAX = 24 };

typedef struct region {
    int ops[REGION_MAX]; /* ascending; the last one is its output */
    int count, input;
} region;

typedef enum activation { IDENTITY, RELU, LEAKY, SIGMOID, TANH, GELU, GELU_BY_TANH, ACTIVATIONS } activation;

static bool is_pointwise(const onnx_op *op)
{
    switch (op->kind) {
    case ONNX_ARITH:
        return op->constant->count == 1;
    case ONNX_FUNCTION:
    case ONNX_BINARY:
    case ONNX_ADD:
        return true;
    case ONNX_LAYER:
        return op->layer.kind == EK_LAYER_RELU || op->layer.kind == EK_LAYER_SIGMOID ||
               op->layer.kind == EK_LAYER_TANH;
    default:
        return false;
    }
}

static int find_op(const region *g, int op)
{
    for (int i = 0; i < g->count; i++)
        if (g->ops[i] == op)
            return i;
    return -1;
}

/* Puts an operation in its place, once; false where the region is full. */
static bool insert(region *g, int op)
{
    int at = g->count;
    if (find_op(g, op) >= 0)
        return true;
    if (g->count == REGION_MAX)
        return false;
    for (; at > 0 && g->ops[at - 1] > op; at--)
        g->ops[at] = g->ops[at - 1];
    g->ops[at] = op;
    g->count++;
    return true;
}

/* All between `input` and `output`, where that is pointwise and nothing else reads what is inside. */
static bool gather(const onnx_reader *r, int input, int output, region *g)
{
    *g = (region){.ops = {output}, .count = 1, .input = input};
    int inside[REGION_MAX] = {0};
    for (int at = 0; at < g->count; at++) { /* from the last to the first: what is inserted stands before */
        const int index = g->ops[g->count - 1 - at];
        const onnx_op *op = &r->ops[index];
        if (!is_pointwise(op))
            return false;
        for (int k = 0; k < op->count; k++)
            if (ek_onnx_read(r, op, k) != input && !insert(g, ek_onnx_read(r, op, k)))
                return false;
    }
    for (int i = 0; i < g->count; i++) {
        const onnx_op *op = &r->ops[g->ops[i]];
        for (int k = 0; k < op->count; k++)
            if (ek_onnx_read(r, op, k) != input)
                inside[find_op(g, ek_onnx_read(r, op, k))]++;
    }
    for (int i = 0; i + 1 < g->count; i++)
        if (inside[i] != r->ops[g->ops[i]].uses)
            return false;
    return true;
}

/* ---- Straight ones -------------------------------------------------------------------------------------------- */

/* slope*x + offset, for x in the piece */
typedef struct line {
    double slope, offset;
} line;
typedef struct piece {
    double from, to;
} piece;

enum { PIECES_MAX = 64 };
static const double float_end = 3e38; /* x is a float: what is beyond does not count */

static double inside(const piece *p)
{
    if (isinf(p->from))
        return isinf(p->to) ? 0 : p->to - 1 - fabs(p->to);
    return isinf(p->to) ? p->from + 1 + fabs(p->from) : p->from + (p->to - p->from) / 2;
}

/* Of two lines the larger one in the piece, or the smaller one. Where they cross inside of it, it ends there. */
static line larger(line a, line b, bool smaller, piece *p)
{
    const double cross = (b.offset - a.offset) / (a.slope - b.slope);
    if (isnan(a.slope + a.offset) || isnan(b.slope + b.offset))
        return (line){(double)NAN, (double)NAN};
    if (cross > p->from && cross < p->to)
        p->to = cross;
    const double x = inside(p);
    return (a.slope * x + a.offset >= b.slope * x + b.offset) != smaller ? a : b;
}

static bool bends(const onnx_op *op)
{
    if (op->kind == ONNX_LAYER)
        return op->layer.kind == EK_LAYER_RELU;
    return op->kind != ONNX_ADD && (op->function == ONNX_F_MAX || op->function == ONNX_F_MIN);
}

static bool is_straight(const onnx_op *op)
{
    const onnx_function f = op->function;
    const bool sum = f == ONNX_F_ADD || f == ONNX_F_SUB,
               product = f == ONNX_F_MUL || (f == ONNX_F_DIV && !op->constant_first);
    return bends(op) || op->kind == ONNX_ADD || (op->kind == ONNX_ARITH && (sum || product)) ||
           (op->kind == ONNX_BINARY && sum) || (op->kind == ONNX_FUNCTION && f == ONNX_F_NEG);
}

/* A straight operation on lines a and b; of a constant, b is that. */
static line line_of(const onnx_op *op, line a, line b, piece *p)
{
    if (op->kind == ONNX_LAYER)
        return larger(a, (line){0, 0}, false, p);
    switch (op->kind == ONNX_ADD ? ONNX_F_ADD : op->function) {
    case ONNX_F_ADD:
        return (line){a.slope + b.slope, a.offset + b.offset};
    case ONNX_F_SUB:
        return op->constant_first ? (line){-a.slope, b.offset - a.offset}
                                  : (line){a.slope - b.slope, a.offset - b.offset};
    case ONNX_F_MUL:
        return (line){a.slope * b.offset, a.offset * b.offset};
    case ONNX_F_DIV:
        return (line){a.slope / b.offset, a.offset / b.offset};
    case ONNX_F_NEG:
        return (line){-a.slope, -a.offset};
    default:
        return larger(a, b, op->function == ONNX_F_MIN, p);
    }
}

/* What the region computes from p->from on, up to where it bends for the first time. */
static line line_from(const onnx_reader *r, const region *g, piece *p)
{
    line lines[REGION_MAX] = {{0, 0}};
    p->to = (double)INFINITY;
    for (int i = 0; i < g->count; i++) {
        const onnx_op *op = &r->ops[g->ops[i]];
        line in[2] = {{0, 0}, {0, op->kind == ONNX_ARITH ? ek_onnx_number(op->constant, 0) : 0}};
        for (int k = 0; k < op->count; k++) {
            const int from = ek_onnx_read(r, op, k);
            in[k] = from == g->input ? (line){1, 0} : lines[find_op(g, from)];
        }
        lines[i] = line_of(op, in[0], in[1], p);
    }
    return lines[g->count - 1];
}

/* Constants are rounded, and their sums. */
static bool is_about(double value, double wanted)
{
    return fabs(value - wanted) <= 1e-12;
}

/* relu and leaky_relu bend at 0 and nowhere else. A small term may be the eps of a layer norm: a value alone is exact.
 */
static activation recognise_straight(const onnx_reader *r, const region *g, double *slope)
{
    bool identity = true, leaky = true;
    piece p = {(double)-INFINITY, 0};
    *slope = (double)NAN;
    for (int count = 0; p.from < float_end; p.from = p.to) {
        const line y = line_from(r, g, &p);
        if (++count > PIECES_MAX)
            return ACTIVATIONS;
        if (p.to <= -float_end)
            continue;
        if (p.to <= 0 && isnan(*slope))
            *slope = y.slope;
        identity = identity && y.slope == 1 && y.offset == 0;
        leaky = leaky && is_about(y.offset, 0) &&
                (p.from >= 0 ? is_about(y.slope, 1) : p.to <= 0 && is_about(y.slope, *slope));
    }
    if (identity)
        return IDENTITY;
    return !leaky || !(*slope > -1e-12 && *slope < 1e6) ? ACTIVATIONS : is_about(*slope, 0) ? RELU : LEAKY;
}

/* ---- Curved ones ---------------------------------------------------------------------------------------------- */

static double value_of(const region *g, const double *values, int op, double x)
{
    return op == g->input ? x : values[find_op(g, op)];
}

static double compute(const onnx_reader *r, const region *g, double x)
{
    double values[REGION_MAX] = {0};
    for (int i = 0; i < g->count; i++) {
        const onnx_op *op = &r->ops[g->ops[i]];
        const double a = value_of(g, values, ek_onnx_read(r, op, 0), x);
        if (op->kind == ONNX_LAYER) {
            const onnx_function f = op->layer.kind == EK_LAYER_RELU      ? ONNX_F_RELU
                                    : op->layer.kind == EK_LAYER_SIGMOID ? ONNX_F_SIGMOID
                                                                         : ONNX_F_TANH;
            values[i] = ek_onnx_apply(f, a, 0);
        } else if (op->kind == ONNX_ARITH) {
            const double c = ek_onnx_number(op->constant, 0);
            values[i] = op->constant_first ? ek_onnx_apply(op->function, c, a) : ek_onnx_apply(op->function, a, c);
        } else {
            const double b = op->count > 1 ? value_of(g, values, ek_onnx_read(r, op, 1), x) : 0;
            values[i] = ek_onnx_apply(op->kind == ONNX_ADD ? ONNX_F_ADD : op->function, a, b);
        }
    }
    return values[g->count - 1];
}

enum { GRID = 65, TENS = 30 };

/* -8 to 8, where GELU and the others curve, then 10 to 1e30 and the constants of the region, with both signs. */
static double point(const onnx_reader *r, const region *g, int i)
{
    if (i < GRID)
        return (double)(i - GRID / 2) / 4;
    i -= GRID;
    const double sign = i % 2 ? -1 : 1;
    if (i < 2 * TENS)
        return sign * pow(10, i / 2 + 1);
    const onnx_op *op = &r->ops[g->ops[(i - 2 * TENS) / 2]];
    return op->kind == ONNX_ARITH ? sign * ek_onnx_number(op->constant, 0) : 0;
}

static double activation_at(activation which, double x)
{
    switch (which) {
    case SIGMOID:
        return 1 / (1 + exp(-x));
    case TANH:
        return tanh(x);
    case GELU:
        return x * (1 + erf(x * M_SQRT1_2)) / 2;
    case GELU_BY_TANH:
        return x * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x))) / 2;
    default:
        return x;
    }
}

/* Exact GELU and its approximation differ by up to 5e-4. */
static activation recognise_curve(const onnx_reader *r, const region *g)
{
    static const activation curves[] = {IDENTITY, SIGMOID, TANH, GELU, GELU_BY_TANH};
    enum { CURVES = sizeof curves / sizeof *curves };
    bool same[CURVES] = {true, true, true, true, true}, any = true;
    for (int i = 0; i < GRID + 2 * TENS + 2 * g->count && any; i++) {
        const double x = point(r, g, i), y = compute(r, g, x);
        any = false;
        for (int k = 0; k < CURVES; k++) {
            /* Only GELU's constants are rounded; and a small term may be the eps of a layer norm. */
            const double wanted = activation_at(curves[k], x);
            const double tolerance = curves[k] == IDENTITY ? 0 : curves[k] < GELU ? 1e-12 : 1e-6;
            same[k] = same[k] && fabs(y - wanted) <= tolerance * (1 + fabs(wanted));
            any = any || same[k];
        }
    }
    for (int k = 0; k < CURVES; k++)
        if (same[k])
            return curves[k];
    return ACTIVATIONS;
}

/* ---- All of them ---------------------------------------------------------------------------------------------- */

static activation recognise(const onnx_reader *r, const region *g, double *slope)
{
    bool straight = true, bent = false;
    for (int i = 0; i < g->count; i++) {
        straight = straight && is_straight(&r->ops[g->ops[i]]);
        bent = bent || bends(&r->ops[g->ops[i]]);
    }
    return straight ? recognise_straight(r, g, slope) : bent ? ACTIVATIONS : recognise_curve(r, g);
}

static ek_status replace_region(onnx_reader *r, onnx_op *op, int i, const region *g, activation which, double slope)
{
    static const ek_layer_kind kinds[] = {
        [RELU] = EK_LAYER_RELU, [LEAKY] = EK_LAYER_LEAKY_RELU, [SIGMOID] = EK_LAYER_SIGMOID,
        [TANH] = EK_LAYER_TANH, [GELU] = EK_LAYER_GELU,        [GELU_BY_TANH] = EK_LAYER_GELU};
    if (which == IDENTITY) {
        r->alias[i] = g->input;
        return EK_OK;
    }
    ek_layer layer = ek_layer_new(kinds[which], 0);
    if (which == LEAKY)
        layer.o.leaky_relu.negative_slope = (float)slope;
    if (which == GELU_BY_TANH)
        layer.o.gelu.by_tanh = true;
    return ek_onnx_become_layer(r, op, layer, g->input);
}

ek_status ek_onnx_match_activation(onnx_reader *r, int i)
{
    onnx_op *op = &r->ops[i];
    double slope = 0;
    region g;
    if ((op->kind != ONNX_ARITH && op->kind != ONNX_FUNCTION && op->kind != ONNX_BINARY) || !is_pointwise(op))
        return EK_OK;
    /* From the nearest value that all goes through: those before are read when a factor stands behind the rest. */
    for (int tries = 0, from = i; tries < 4 && r->over[from] >= 0; tries++) {
        from = r->alias[r->over[from]];
        if (!gather(r, from, i, &g))
            return EK_OK;
        const activation which = recognise(r, &g, &slope);
        if (which != ACTIVATIONS)
            return replace_region(r, op, i, &g, which, slope);
    }
    return EK_OK;
}

#endif
