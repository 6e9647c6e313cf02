/* SPDX-License-Identifier: MIT
 * Normalisation of plain arrays, first half: sums over channels (plain.h). */
#include "cpu/kernel/name.h"
#include "cpu/kernel/plain.h"
#include "cpu/kernel/simd.h"

/* A float lane takes part in at most RUN/2 or ROWS/4 additions before it is emptied into a double: relative error
 * below 2^-19 in the worst case, around 2^-25 in the usual one. */
enum { RUN = 64, ROWS = 128, COLUMNS = 1024 };

/* Weights of the last 0..16 lanes: load at their number; of the first ones: load at 32 less their number. */
static const float weights[48] = {[16] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* What is left of a run after its whole vectors. Runs of a vector and more end with a vector that overlaps the one
 * before, whose lanes then weigh nothing; a shorter run is padded. */
typedef struct tail {
    int64_t at; /* of the vector's first lane */
    int live;   /* lanes that count; 0: there is no tail */
    bool padded;
} tail;

EK_INLINE tail tail_of(int64_t length)
{
    int live = (int)(length % EK_LANES);
    bool padded = length < EK_LANES;
    return (tail){padded ? 0 : length - EK_LANES, live, padded};
}

EK_INLINE ek_v16 tail_load(tail t, const float *p)
{
    return t.padded ? ek_load_part(p, t.live) : ek_load(p + t.at);
}

EK_INLINE ek_v16 tail_weights(tail t)
{
    return ek_load(weights + (t.padded ? 32 - t.live : t.live));
}

static void run_sums(const float *x, int64_t length, float pivot, double *sum, double *square)
{
    const ek_v16 k = ek_set(pivot);
    const tail t = tail_of(length);
    const int64_t whole = length - t.live;
    int64_t i = 0;
    do {
        const int64_t end = whole - i > RUN * EK_LANES ? i + RUN * EK_LANES : whole;
        ek_v16 s0 = ek_zero(), s1 = ek_zero(), q0 = ek_zero(), q1 = ek_zero();
        for (; i + 2 * EK_LANES <= end; i += 2 * EK_LANES) {
            ek_v16 d0 = ek_sub(ek_load(x + i), k), d1 = ek_sub(ek_load(x + i + EK_LANES), k);
            s0 = ek_add(s0, d0);
            s1 = ek_add(s1, d1);
            q0 = ek_fma(d0, d0, q0);
            q1 = ek_fma(d1, d1, q1);
        }
        if (i < end) {
            ek_v16 d = ek_sub(ek_load(x + i), k);
            s0 = ek_add(s0, d);
            q0 = ek_fma(d, d, q0);
            i += EK_LANES;
        }
        if (i == whole && t.live) {
            ek_v16 d = ek_mul(ek_sub(tail_load(t, x), k), tail_weights(t));
            s1 = ek_add(s1, d);
            q1 = ek_fma(d, d, q1);
        }
        *sum += (double)ek_sum(ek_add(s0, s1));
        *square += (double)ek_sum(ek_add(q0, q1));
    } while (i < whole);
}

static void plane_sums(const float *x, int64_t planes, int64_t stride, int64_t length, const float *pivot,
                       double *sum, double *square)
{
    for (int64_t p = 0; p < planes; p++)
        run_sums(x + p * stride, length, pivot[p], &sum[p], &square[p]);
}

/* The three sums of backward over a run; dy is multiplied by gamma [length] unless that is NULL. */
EK_INLINE void run_gradient_sums(const float *x, const float *dy, const float *gamma, int64_t length, float mean,
                                 double *sum, double *product, double *rest)
{
    const ek_v16 k = ek_set(mean);
    const tail t = tail_of(length);
    const int64_t whole = length - t.live;
    int64_t i = 0;
    do {
        const int64_t end = whole - i > RUN * EK_LANES ? i + RUN * EK_LANES : whole;
        ek_v16 s0 = ek_zero(), s1 = ek_zero(), p0 = ek_zero(), p1 = ek_zero(), r0 = ek_zero(), r1 = ek_zero();
        for (; i + 2 * EK_LANES <= end; i += 2 * EK_LANES) {
            ek_v16 g0 = ek_load(dy + i), g1 = ek_load(dy + i + EK_LANES);
            if (gamma) {
                g0 = ek_mul(g0, ek_load(gamma + i));
                g1 = ek_mul(g1, ek_load(gamma + i + EK_LANES));
            }
            ek_v16 d0 = ek_sub(ek_load(x + i), k), d1 = ek_sub(ek_load(x + i + EK_LANES), k);
            s0 = ek_add(s0, g0);
            s1 = ek_add(s1, g1);
            p0 = ek_fma(g0, d0, p0);
            p1 = ek_fma(g1, d1, p1);
            r0 = ek_add(r0, d0);
            r1 = ek_add(r1, d1);
        }
        if (i < end) {
            ek_v16 g = gamma ? ek_mul(ek_load(dy + i), ek_load(gamma + i)) : ek_load(dy + i);
            ek_v16 d = ek_sub(ek_load(x + i), k);
            s0 = ek_add(s0, g);
            p0 = ek_fma(g, d, p0);
            r0 = ek_add(r0, d);
            i += EK_LANES;
        }
        if (i == whole && t.live) {
            ek_v16 w = tail_weights(t);
            ek_v16 g = gamma ? ek_mul(tail_load(t, dy), tail_load(t, gamma)) : tail_load(t, dy);
            ek_v16 d = ek_mul(ek_sub(tail_load(t, x), k), w);
            s1 = ek_fma(g, w, s1);
            p1 = ek_fma(g, d, p1);
            r1 = ek_add(r1, d);
        }
        *sum += (double)ek_sum(ek_add(s0, s1));
        *product += (double)ek_sum(ek_add(p0, p1));
        *rest += (double)ek_sum(ek_add(r0, r1));
    } while (i < whole);
}

static void plane_gradient_sums(const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                                const float *mean, double *sum, double *product, double *rest)
{
    for (int64_t p = 0; p < planes; p++)
        run_gradient_sums(x + p * stride, dy + p * stride, NULL, length, mean[p], &sum[p], &product[p], &rest[p]);
}

static void layer_gradient_sums(const float *x, const float *dy, const float *gamma, int64_t length, float mean,
                                double sums[3])
{
    run_gradient_sums(x, dy, gamma, length, mean, &sums[0], &sums[1], &sums[2]);
}

/* Columns. A vector's sums stay in memory, in the first-level cache, while rows go by in the order of memory, four
 * at a time. The last vector of a row may overlap the one before; its sums have places of their own. */
typedef enum sums { STATISTICS, GRADIENT, LAYER } sums;

typedef struct lanes {
    _Alignas(64) float a[COLUMNS];
    _Alignas(64) float b[COLUMNS];
    _Alignas(64) float c[COLUMNS];
} lanes;

/* Rows that go together, `gap` values (with as many maps, `steps`) apart. */
typedef struct rows4 {
    const float *x, *dy; /* dy is x where the kind has none */
    const ek_layer_map *map;
    int64_t gap, steps;
} rows4;

/* Adds `rows` (4 or 1) rows at one vector of columns; live < 16: only so many columns are there. Always inlined with
 * constant kind and rows, so that what is not needed is not there. */
EK_INLINE void column_step(sums kind, int rows, const rows4 *r, int64_t at, int live, const float *pivot, float *a,
                           float *b, float *c)
{
    const ek_v16 k = kind == LAYER      ? ek_zero()
                     : live == EK_LANES ? ek_load(pivot + at)
                                        : ek_load_part(pivot + at, live);
    ek_v16 sa = ek_zero(), sb = ek_load(b), sc = ek_zero();
    for (int q = 0; q < rows; q++) {
        const float *x = r->x + q * r->gap + at, *dy = r->dy + q * r->gap + at;
        const ek_layer_map *map = kind == LAYER ? r->map + q * r->steps : NULL;
        ek_v16 d = live == EK_LANES ? ek_load(x) : ek_load_part(x, live);
        d = ek_sub(d, kind == LAYER ? ek_set(map->mean) : k);
        ek_v16 term = d;
        if (kind != STATISTICS)
            term = live == EK_LANES ? ek_load(dy) : ek_load_part(dy, live);
        if (kind == LAYER)
            d = ek_fma(d, ek_set(map->rstd), ek_set(map->low));
        sa = q ? ek_add(sa, term) : term;
        sb = ek_fma(term, d, sb);
        sc = q ? ek_add(sc, d) : d;
    }
    ek_store(a, ek_add(ek_load(a), sa));
    ek_store(b, sb);
    if (kind == GRADIENT)
        ek_store(c, ek_add(ek_load(c), sc));
}

EK_INLINE void column_rows(sums kind, int rows, const rows4 *r, int64_t columns, const float *pivot, lanes *l)
{
    int64_t j = 0;
    for (; j + EK_LANES <= columns; j += EK_LANES)
        column_step(kind, rows, r, j, EK_LANES, pivot, l->a + j, l->b + j, l->c + j);
    if (j == columns)
        return;
    const int live = columns < EK_LANES ? (int)columns : EK_LANES;
    column_step(kind, rows, r, columns - live, live, pivot, l->a + j, l->b + j, l->c + j);
}

/* Empties one of the sums into doubles. */
EK_INLINE void column_empty(int64_t columns, const float *lane, double *sum)
{
    const int64_t whole = columns / EK_LANES * EK_LANES;
    for (int64_t j = 0; j < whole; j++)
        sum[j] += (double)lane[j];
    const int64_t overlap = columns < EK_LANES ? 0 : whole + EK_LANES - columns;
    for (int64_t j = whole; j < columns; j++)
        sum[j] += (double)lane[j + overlap];
}

/* A block of columns over all rows. Rows go four at a time, a quarter of all rows apart: processors fetch ahead
 * along four long streams better than over four neighbours. */
EK_INLINE void column_block(sums kind, rows4 r, int64_t rows, int64_t stride, int64_t columns, const float *pivot,
                            double *a, double *b, double *c)
{
    const size_t used = (size_t)((columns + EK_LANES - 1) / EK_LANES * EK_LANES) * sizeof(float);
    const int64_t quarter = rows / 4, single = rows % 4;
    r.gap = quarter * stride;
    r.steps = quarter;
    for (int64_t i = 0; i < quarter + single;) {
        lanes l;
        memset(l.a, 0, used);
        memset(l.b, 0, used);
        if (kind == GRADIENT)
            memset(l.c, 0, used);
        for (const int64_t end = i + ROWS / 4; i < end && i < quarter + single; i++) {
            if (i == quarter) { /* the rows left over come last */
                r.x += 3 * r.gap;
                r.dy += 3 * r.gap;
                if (kind == LAYER)
                    r.map += 3 * quarter;
            }
            if (i < quarter)
                column_rows(kind, 4, &r, columns, pivot, &l);
            else
                column_rows(kind, 1, &r, columns, pivot, &l);
            r.x += stride;
            r.dy += stride;
            if (kind == LAYER)
                r.map++;
        }
        column_empty(columns, l.a, a);
        column_empty(columns, l.b, b);
        if (kind == GRADIENT)
            column_empty(columns, l.c, c);
    }
}

EK_INLINE void columns_any(sums kind, rows4 r, int64_t rows, int64_t stride, int64_t width, const float *pivot,
                           double *a, double *b, double *c)
{
    const int64_t blocks = (width + COLUMNS - 1) / COLUMNS;
    const int64_t block = ((width + blocks - 1) / blocks + EK_LANES - 1) / EK_LANES * EK_LANES;
    for (int64_t j = 0; j < width; j += block) {
        const rows4 from = {.x = r.x + j, .dy = r.dy + j, .map = r.map};
        column_block(kind, from, rows, stride, width - j > block ? block : width - j, pivot + j, a + j, b + j, c + j);
    }
}

static void column_sums(const float *x, int64_t rows, int64_t stride, int64_t width, const float *pivot, double *sum,
                        double *square)
{
    columns_any(STATISTICS, (rows4){.x = x, .dy = x}, rows, stride, width, pivot, sum, square, square);
}

static void column_gradient_sums(const float *x, const float *dy, int64_t rows, int64_t stride, int64_t width,
                                 const float *mean, double *sum, double *product, double *rest)
{
    columns_any(GRADIENT, (rows4){.x = x, .dy = dy}, rows, stride, width, mean, sum, product, rest);
}

static void layer_parameter_sums(const float *x, const float *dy, int64_t rows, int64_t width,
                                 const ek_layer_map *map, double *dbeta, double *dgamma)
{
    columns_any(LAYER, (rows4){.x = x, .dy = dy, .map = map}, rows, width, width, x, dbeta, dgamma, dgamma);
}

void EK_KERNEL(fill_plain_sums)(ek_plain_kernels *table);

void EK_KERNEL(fill_plain_sums)(ek_plain_kernels *table)
{
    table->plane_sums = plane_sums;
    table->column_sums = column_sums;
    table->plane_gradient_sums = plane_gradient_sums;
    table->column_gradient_sums = column_gradient_sums;
    table->layer_gradient_sums = layer_gradient_sums;
    table->layer_parameter_sums = layer_parameter_sums;
}
