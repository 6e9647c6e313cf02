/* SPDX-License-Identifier: MIT
 * Passes over a plain array: its cut into items, and what one item asks of the kernels. */
#define _GNU_SOURCE
#include "cpu/plain_norm.h"

#include "base/memory.h"

#include <math.h>
#include <unistd.h>

enum {
    SHORT_PLANE = 32,  /* planes under so many values are columns: a vector would hold few of them */
    LONG_PLANE = 1024, /* from so many values on a plane's broken lines at both ends do not matter */
    FEW = 16,          /* rows, at least, where laying them side by side or beneath each other is worth tables */
    FOLDED = 256,      /* rows are laid side by side until they are so wide */
    ITEM = 1 << 16,    /* values of an item, about: 256 KiB, far more than it costs to hand out */
    BLOCK = 1 << 12,   /* columns of an item at most */
    PIECE = 1 << 18,   /* values of a plane at most in one item */
    GROUPS = 64,       /* groups of samples at most: they are what threads share */
    PART = 256         /* values behind each sum that an item leaves, at least: sums are few against values */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* Where part i of `parts` begins, of `count` things cut evenly. */
static int64_t part_start(int64_t count, int64_t parts, int64_t i)
{
    return count / parts * i + count % parts * i / parts;
}

static ek_plain_cut cut_planes(ek_shape s)
{
    ek_plain_cut cut = {.planes = true, .n = s.n, .c = s.c, .hw = s.h * s.w};
    const int64_t sample = cut.c * cut.hw;
    cut.groups = smaller(smaller(cut.n, GROUPS), smaller(cut.n * sample / ITEM, cut.n * cut.hw / PART));
    cut.groups = larger(cut.groups, 1);
    cut.blocks = smaller(cut.c, divide_up(sample, PIECE));
    cut.pieces = divide_up(cut.hw, PIECE);
    cut.items = cut.groups * cut.pieces * cut.blocks;
    cut.parts = cut.groups * cut.pieces;
    cut.slots = cut.c;
    return cut;
}

static ek_plain_cut cut_columns(int64_t rows, int64_t period, int64_t inner)
{
    ek_plain_cut cut = {.period = period, .inner = inner, .pieces = 1};
    /* So many rows that their values are whole vectors: 16/gcd(period, 16), and its multiples where they are short. */
    int64_t unit = 16;
    for (int64_t p = period; unit > 1 && p % 2 == 0; p /= 2)
        unit /= 2;
    int64_t fold = rows / FEW >= unit ? unit : 1;
    if (period < FOLDED)
        fold = divide_up(divide_up(FOLDED, period), unit) * unit;
    cut.width = period * fold;
    cut.rows = rows / fold;
    cut.rest = rows % fold * period;
    cut.groups = smaller(GROUPS, smaller(cut.rows / (PART / 2), cut.rows * cut.width / ITEM));
    cut.groups = cut.rows ? larger(cut.groups, 1) : 0;
    cut.blocks = divide_up(cut.width, BLOCK);
    cut.items = cut.groups * cut.blocks + (cut.rest > 0);
    cut.parts = cut.groups + (cut.rest > 0);
    cut.slots = cut.width;
    return cut;
}

ek_plain_cut ek_plain_cut_of(ek_shape s)
{
    const int64_t hw = s.h * s.w;
    if (s.layout == EK_NHWC)
        return cut_columns(s.n * hw, s.c, 1);
    return hw < SHORT_PLANE ? cut_columns(s.n, s.c * hw, hw) : cut_planes(s);
}

ek_plain_cut ek_plain_cut_streaming(ek_shape s, const float *y)
{
    ek_plain_cut cut = ek_plain_cut_of(s);
    if (cut.planes && cut.hw % 16 && cut.hw < LONG_PLANE && cut.n / FEW)
        cut = cut_columns(cut.n, cut.c * cut.hw, cut.hw);
    const int64_t values = cut.rows * cut.width + cut.rest;
    const int64_t lead = (int64_t)(-((uintptr_t)y / sizeof *y) % 16);
    if (cut.planes || cut.width % 16 || lead >= values)
        return cut;
    cut.lead = lead;
    cut.rows = (values - lead) / cut.width;
    cut.rest = (values - lead) % cut.width;
    cut.groups = smaller(cut.groups, cut.rows);
    cut.items = cut.groups * cut.blocks + (cut.rest > 0) + (lead > 0);
    return cut;
}

void ek_plain_spread(const ek_plain_cut *cut, const float *value, float *table)
{
    const int64_t period = cut->planes ? cut->slots : cut->period, inner = cut->planes ? 1 : cut->inner;
    const int64_t lead = cut->planes ? 0 : cut->lead % period;
    for (int64_t c = 0, i = period - lead; c < period / inner; c++)
        for (int64_t k = 0; k < inner; k++, i++) {
            i = i == period ? 0 : i;
            table[i] = value[c];
        }
    for (int64_t i = period; i < cut->slots; i++)
        table[i] = table[i - period];
}

void ek_plain_gather(const ek_plain_cut *cut, const double *part, double *sum)
{
    const int64_t period = cut->planes ? cut->slots : cut->period, inner = cut->planes ? 1 : cut->inner;
    for (int64_t c = 0; c < period / inner; c++)
        sum[c] = 0;
    for (int64_t i = 0; i < cut->parts * cut->slots; i += period)
        for (int64_t c = 0; c < period / inner; c++)
            for (int64_t k = 0; k < inner; k++)
                sum[c] += part[i + c * inner + k];
}

/* One call of a kernel: `count` planes or rows from value `at` on, `stride` apart, `length` values each. */
typedef struct span {
    int64_t at, count, stride, length;
    int64_t slot, part; /* of the first plane or column */
} span;

static void run_span(const ek_plain_pass *pass, span s)
{
    const ek_plain_kernels *k = pass->kernels;
    const bool planes = pass->cut->planes;
    const float *x = pass->x + s.at, *dy = pass->dy ? pass->dy + s.at : NULL;
    ek_plain_map map = pass->map;
    map.mean += s.slot;
    if (pass->work == EK_PLAIN_SUMS || pass->work == EK_PLAIN_GRADIENT_SUMS) {
        const int64_t to = s.part * pass->cut->slots + s.slot;
        double *a = pass->part[0] + to, *b = pass->part[1] + to;
        if (pass->work == EK_PLAIN_SUMS)
            (planes ? k->plane_sums : k->column_sums)(x, s.count, s.stride, s.length, map.mean, a, b);
        else
            (planes ? k->plane_gradient_sums : k->column_gradient_sums)(x, dy, s.count, s.stride, s.length, map.mean,
                                                                        a, b, pass->part[2] + to);
        return;
    }
    map.scale += s.slot;
    map.shift += s.slot;
    if (pass->work == EK_PLAIN_APPLY) {
        (planes ? k->plane_apply : k->column_apply)(x, s.count, s.stride, s.length, map, pass->y + s.at);
        return;
    }
    map.slope += s.slot;
    (planes ? k->plane_gradient : k->column_gradient)(x, dy, s.count, s.stride, s.length, map, pass->y + s.at);
}

static void plane_item(const ek_plain_pass *pass, int64_t i)
{
    const ek_plain_cut *cut = pass->cut;
    const int64_t part = i / cut->blocks, block = i % cut->blocks;
    const int64_t group = part / cut->pieces, piece = part % cut->pieces;
    const int64_t first = part_start(cut->c, cut->blocks, block), end = part_start(cut->c, cut->blocks, block + 1);
    const int64_t from = part_start(cut->hw, cut->pieces, piece), to = part_start(cut->hw, cut->pieces, piece + 1);
    for (int64_t n = part_start(cut->n, cut->groups, group); n < part_start(cut->n, cut->groups, group + 1); n++)
        run_span(pass, (span){.at = (n * cut->c + first) * cut->hw + from,
                              .count = end - first,
                              .stride = cut->hw,
                              .length = to - from,
                              .slot = first,
                              .part = part});
}

static void column_item(const ek_plain_pass *pass, int64_t i)
{
    const ek_plain_cut *cut = pass->cut;
    const int64_t part = i / cut->blocks, block = i % cut->blocks;
    if (part >= cut->groups) {
        const bool rest = cut->rest && i == cut->groups * cut->blocks;
        const int64_t at = rest ? cut->lead + cut->rows * cut->width : 0, length = rest ? cut->rest : cut->lead;
        run_span(pass, (span){.at = at,
                              .count = 1,
                              .stride = length,
                              .length = length,
                              .slot = rest ? 0 : cut->width - length,
                              .part = cut->groups});
        return;
    }
    /* Blocks of whole vectors, but for the last. */
    const int64_t step = divide_up(divide_up(cut->width, cut->blocks), 16) * 16;
    const int64_t from = smaller(block * step, cut->width), to = smaller(from + step, cut->width);
    const int64_t first = part_start(cut->rows, cut->groups, part);
    const int64_t end = part_start(cut->rows, cut->groups, part + 1);
    if (from < to)
        run_span(pass, (span){.at = cut->lead + first * cut->width + from,
                              .count = end - first,
                              .stride = cut->width,
                              .length = to - from,
                              .slot = from,
                              .part = part});
}

static void pass_item(const void *argument, int64_t i)
{
    const ek_plain_pass *pass = argument;
    /* Maps go from the end to the beginning: the end is what sums have just left in the caches. */
    if (pass->work == EK_PLAIN_APPLY || pass->work == EK_PLAIN_GRADIENT)
        i = pass->cut->items - 1 - i;
    if (pass->cut->planes)
        plane_item(pass, i);
    else
        column_item(pass, i);
}

ek_status ek_plain_run(const ek_plain_pass *pass, int threads)
{
    return ek_plain_share(threads, pass->cut->items, pass_item, pass);
}

bool ek_plain_streams(int arrays, int64_t bytes)
{
    /* What a thread can hope for of the last cache. The system's answer may be missing, or the sum over a machine. */
    long cache = 32 << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long told = sysconf(_SC_LEVEL3_CACHE_SIZE);
    cache = told > 0 && told < cache ? told : cache;
#endif
    return bytes > cache / arrays;
}

ek_status ek_plain_check_shape(const char *what, ek_shape *s)
{
    if (s->layout != EK_NCHW && s->layout != EK_NHWC)
        return ek_fail(EK_ERR_ARGUMENT, "%s: layout %d is neither EK_NCHW nor EK_NHWC", what, (int)s->layout);
    if (s->n < 1 || s->c < 1 || s->h < 0 || s->w < 0)
        return ek_fail(EK_ERR_SHAPE, "%s: the shape n %lld, c %lld, h %lld, w %lld holds no values", what,
                       (long long)s->n, (long long)s->c, (long long)s->h, (long long)s->w);
    s->h = larger(s->h, 1);
    s->w = larger(s->w, 1);
    size_t plane = ek_size_mul((size_t)s->h, (size_t)s->w), sample = ek_size_mul((size_t)s->c, plane);
    if (ek_size_mul(ek_size_mul((size_t)s->n, sample), sizeof(float)) > PTRDIFF_MAX)
        return ek_fail(EK_ERR_SHAPE, "%s: the shape n %lld, c %lld, h %lld, w %lld is larger than memory", what,
                       (long long)s->n, (long long)s->c, (long long)s->h, (long long)s->w);
    return EK_OK;
}

ek_status ek_plain_check_threads(const char *what, int *threads)
{
    *threads = *threads ? *threads : 1;
    if (*threads < 1 || *threads > 1024)
        return ek_fail(EK_ERR_ARGUMENT, "%s: threads %d is not within 1 to 1024", what, *threads);
    return EK_OK;
}

ek_status ek_plain_check_eps(const char *what, float eps)
{
    if (!(eps >= 0 && eps < INFINITY))
        return ek_fail(EK_ERR_ARGUMENT, "%s: eps %g is not a finite number from 0 up", what, (double)eps);
    return EK_OK;
}

bool ek_plain_moments(double pivot, double s, double q, double m, double eps, double *mean, double *var)
{
    const double excess = s * s / m;
    *mean = pivot + s / m;
    *var = (q - excess) / m;
    /* A float loses squares under 1e-38: sums of squares of 1e-30 and more are right to 8 digits. */
    const bool lost = q < m * 1e-30 && eps < 1e-24;
    return isfinite(s) && isfinite(q) && excess <= 0.8 * q && !lost;
}

void ek_plain_exact(const float *x, int64_t outer, int64_t stride, int64_t inner, double *mean, double *var)
{
    const double m = (double)outer * (double)inner, pivot = (double)x[0]; /* a constant array gives exactly it */
    double sum = 0, rest = 0, square = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++)
            sum += (double)x[o * stride + i] - pivot;
    *mean = pivot + sum / m;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double d = (double)x[o * stride + i] - *mean;
            rest += d;
            square += d * d;
        }
    *var = (square - rest * rest / m) / m;
    *var = *var < 0 ? 0 : *var;
}
