/* SPDX-License-Identifier: MIT
 * Kernels on plain arrays (cpu/kernel/plain.h) against double, on every instruction set: odd lengths, rows and planes
 * that begin anywhere, outputs in place and past the caches. Between planes and rows, and around arrays, lies NaN that
 * must be neither read nor overwritten. */
#include "check.h"

/* Planes or rows: where they lie, and arrays that hold them. */
typedef struct plain {
    bool planes;
    int64_t count, stride, length;
    size_t size;     /* from the first value to the last */
    size_t channels; /* planes, or columns */
    float *x, *dy;
    float *number[4];    /* per channel: of maps, the first near the channel's mean */
    float *gamma, *beta; /* per value of a sample: layer norm */
    ek_layer_map *maps;  /* per sample */
} plain;

static plain new_plain(bool planes, int64_t count, int64_t gap, int64_t length)
{
    plain p = {.planes = planes, .count = count, .stride = length + gap, .length = length};
    p.size = (size_t)((count - 1) * p.stride + length);
    p.channels = (size_t)(planes ? count : length);
    /* Any place of a line. */
    p.x = floats(p.size + LANES) + random_int(0, LANES - 1);
    p.dy = floats(p.size + LANES) + random_int(0, LANES - 1);
    for (int i = 0; i < 4; i++)
        p.number[i] = random_floats(p.channels + LANES) + random_int(0, LANES - 1);
    for (size_t c = 0; c < p.channels; c++)
        p.number[0][c] *= 100;
    p.gamma = random_floats((size_t)length);
    p.beta = random_floats((size_t)length);
    p.maps = guarded((size_t)count, sizeof *p.maps);
    for (int64_t r = 0; r < count; r++) {
        p.maps[r] = (ek_layer_map){100 * random_value(), random_value(), random_value(),
                                   random_value(),       random_value(), false};
        for (int64_t i = 0; i < length; i++) {
            p.x[r * p.stride + i] = p.number[0][planes ? r : i] + random_value();
            p.dy[r * p.stride + i] = random_value() + 0.25f;
        }
    }
    return p;
}

/* What lies between planes or rows is as it was. */
static void check_gaps(const char *set, const plain *p, const float *y)
{
    for (int64_t r = 0; r + 1 < p->count; r++)
        if (!is_poison((const unsigned char *)(y + r * p->stride + p->length),
                       (size_t)(p->stride - p->length) * sizeof *y))
            check_fail("%s wrote between rows %lld and the next", set, (long long)r);
}

/* ---- Sums --------------------------------------------------------------------------------------------------- */

typedef enum sums { STATISTICS, GRADIENT, LAYER_GRADIENT, PARAMETERS, SUM_KINDS } sums;

static const char *const sum_names[] = {"sums", "gradient sums", "layer gradient sums", "layer parameter sums"};

static size_t sums_count(const plain *p, sums kind)
{
    return kind == LAYER_GRADIENT ? (size_t)p->count : kind == PARAMETERS ? (size_t)p->length : p->channels;
}

/* out: three arrays in a row; kernels add to what they hold. */
static void run_sums(const ek_plain_kernels *k, sums kind, const plain *p, double *out)
{
    const size_t n = sums_count(p, kind);
    for (size_t i = 0; i < 3 * n; i++)
        out[i] = 0.5;
    if (kind == STATISTICS)
        (p->planes ? k->plane_sums : k->column_sums)(p->x, p->count, p->stride, p->length, p->number[0], out,
                                                     out + n);
    if (kind == GRADIENT)
        (p->planes ? k->plane_gradient_sums : k->column_gradient_sums)(p->x, p->dy, p->count, p->stride, p->length,
                                                                       p->number[0], out, out + n, out + 2 * n);
    if (kind == PARAMETERS)
        k->layer_parameter_sums(p->x, p->dy, p->count, p->length, p->maps, out, out + n);
    for (int64_t r = 0; kind == LAYER_GRADIENT && r < p->count; r++) {
        double three[3] = {0.5, 0.5, 0.5};
        k->layer_gradient_sums(p->x + r * p->stride, p->dy + r * p->stride, p->gamma, p->length, p->maps[r].mean,
                               three);
        for (size_t i = 0; i < 3; i++)
            out[i * n + (size_t)r] = three[i];
    }
}

static void reference_sums(sums kind, const plain *p, double *out, double *bound)
{
    const size_t n = sums_count(p, kind);
    for (size_t i = 0; i < 3 * n; i++)
        out[i] = 0.5;
    for (int64_t r = 0; r < p->count; r++)
        for (int64_t i = 0; i < p->length; i++) {
            const size_t c = (size_t)(kind == LAYER_GRADIENT || (p->planes && kind != PARAMETERS) ? r : i);
            const double x = (double)p->x[r * p->stride + i], dy = (double)p->dy[r * p->stride + i];
            const ek_layer_map *map = &p->maps[r];
            double d = x - (double)(kind == LAYER_GRADIENT ? map->mean : p->number[0][kind == PARAMETERS ? 0 : c]);
            if (kind == PARAMETERS)
                d = (x - (double)map->mean) * (double)map->rstd + (double)map->low;
            const double g = kind == STATISTICS ? d : kind == LAYER_GRADIENT ? dy * (double)p->gamma[i] : dy;
            const double terms[3] = {g, g * d, kind == STATISTICS || kind == PARAMETERS ? 0 : d};
            for (size_t k = 0; k < 3; k++) {
                out[k * n + c] += terms[k];
                bound[k * n + c] += fabs(terms[k]);
            }
        }
    /* Lanes of up to 32 additions, then double. */
    for (size_t i = 0; i < 3 * n; i++)
        bound[i] = bound[i] * sum_error(36) + 1e-9;
}

static void check_sums(sums kind, bool planes, int64_t count, int64_t gap, int64_t length)
{
    check_case("%s, %lld of %lld, %lld apart", planes ? "planes" : "columns", (long long)count, (long long)length,
               (long long)(length + gap));
    const plain p = new_plain(planes, count, gap, length);
    const size_t n = 3 * sums_count(&p, kind);
    double *want = doubles(n), *bound = doubles(n);
    reference_sums(kind, &p, want, bound);
    const outputs got = new_outputs(n, sizeof(double));
    for (int i = 0; i < set_count; i++) {
        run_sums(&sets[i]->plain, kind, &p, got.of[i]);
        compare(sets[i]->name, "sums", n, got.of[i], want, bound);
    }
    check_sets_agree("sums", got);
    check_margins();
}

/* ---- Maps --------------------------------------------------------------------------------------------------- */

typedef enum map { APPLY, MAP_GRADIENT, LAYER_APPLY, MAP_LAYER_GRADIENT, MAP_KINDS } map;

static const char *const map_names[] = {"apply", "gradient", "layer apply", "layer gradient"};

static void run_map(const ek_plain_kernels *k, map kind, bool stream, const plain *p, const float *x, const float *dy,
                    float *y)
{
    const ek_plain_map m = {p->number[0], p->number[1], p->number[2], p->number[3], stream};
    if (kind == APPLY)
        (p->planes ? k->plane_apply : k->column_apply)(x, p->count, p->stride, p->length, m, y);
    if (kind == MAP_GRADIENT)
        (p->planes ? k->plane_gradient : k->column_gradient)(x, dy, p->count, p->stride, p->length, m, y);
    for (int64_t r = 0; kind >= LAYER_APPLY && r < p->count; r++) {
        ek_layer_map one = p->maps[r];
        one.stream = stream;
        if (kind == LAYER_APPLY)
            k->layer_apply(x + r * p->stride, p->gamma, p->beta, p->length, &one, y + r * p->stride);
        else
            k->layer_gradient(x + r * p->stride, dy + r * p->stride, p->gamma, p->length, &one, y + r * p->stride);
    }
}

/* Value by value, the gaps left out. */
static void reference_map(map kind, const plain *p, double *y, double *bound)
{
    for (int64_t r = 0; r < p->count; r++)
        for (int64_t i = 0; i < p->length; i++) {
            const int64_t c = p->planes ? r : i;
            const double x = (double)p->x[r * p->stride + i], dy = (double)p->dy[r * p->stride + i];
            const double scale = (double)p->number[1][c], shift = (double)p->number[2][c];
            const double d = x - (double)p->number[0][c], gamma = (double)p->gamma[i];
            const ek_layer_map *m = &p->maps[r];
            const double e = x - (double)m->mean, rstd = (double)m->rstd;
            double terms[MAP_KINDS][3] = {{d * scale, shift, 0},
                                          {dy * scale, shift, -d * (double)p->number[3][c]},
                                          {e * rstd * gamma, (double)m->low * gamma, (double)p->beta[i]},
                                          {dy * gamma * rstd, (double)m->shift, -e * (double)m->slope}};
            const double *t = terms[kind];
            y[r * p->length + i] = t[0] + t[1] + t[2];
            bound[r * p->length + i] = 0x1p-22 * (fabs(t[0]) + fabs(t[1]) + fabs(t[2]));
        }
}

/* In place, streamed, or neither: one set of bits. */
static void check_map(map kind, bool planes, int64_t count, int64_t gap, int64_t length)
{
    check_case("%s, %lld of %lld, %lld apart", planes ? "planes" : "columns", (long long)count, (long long)length,
               (long long)(length + gap));
    const plain p = new_plain(planes, count, gap, length);
    const size_t values = (size_t)(count * length), bytes = p.size * sizeof(float);
    double *want = doubles(values), *bound = doubles(values);
    reference_map(kind, &p, want, bound);
    const outputs got = new_outputs(values, sizeof(float));
    for (int s = 0; s < set_count; s++) {
        const char *set = sets[s]->name;
        float *first = floats(p.size);
        run_map(&sets[s]->plain, kind, false, &p, p.x, p.dy, first);
        check_gaps(set, &p, first);
        for (int64_t r = 0; r < count; r++)
            memcpy((float *)got.of[s] + r * length, first + r * p.stride, (size_t)length * sizeof(float));
        compare_floats(set, "map", values, got.of[s], want, bound);
        for (int skew = 0; skew < LANES; skew += 1 + random_int(0, 6)) {
            float *streamed = (float *)floats(p.size + (size_t)skew) + skew;
            run_map(&sets[s]->plain, kind, true, &p, p.x, p.dy, streamed);
            compare_bits(set, "streamed", bytes, streamed, first);
        }
        float *x = floats(p.size), *dy = floats(p.size);
        memcpy(x, p.x, bytes);
        memcpy(dy, p.dy, bytes);
        run_map(&sets[s]->plain, kind, false, &p, x, p.dy, x);
        compare_bits(set, "in x's place", (size_t)length * sizeof(float), x, first);
        check_gaps(set, &p, x);
        run_map(&sets[s]->plain, kind, false, &p, p.x, dy, dy);
        if (kind == MAP_GRADIENT || kind == MAP_LAYER_GRADIENT)
            compare_bits(set, "in dy's place", bytes, dy, first);
    }
    check_sets_agree("map", got);
    check_margins();
}

/* ---- Shapes ------------------------------------------------------------------------------------------------- */

static void all_shapes(void (*sums_case)(sums, bool, int64_t, int64_t, int64_t),
                       void (*map_case)(map, bool, int64_t, int64_t, int64_t), int kind, bool layer)
{
    static const int64_t lengths[] = {1,  2,  15, 16,  17,  18,  31,   32,   33,   47,   48,
                                      49, 63, 64, 100, 196, 576, 1023, 1024, 1025, 1040, 2100};
    static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 63, 130};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (int planes = layer ? 1 : 0; planes < 2; planes++) {
            if (planes && !layer && lengths[l] < LANES)
                continue;
            const int64_t count = counts[random_int(0, 8)], other = counts[random_int(0, 8)];
            const int64_t gap = sums_case && layer && kind == PARAMETERS ? 0 : random_int(0, 20);
            if (sums_case) {
                sums_case((sums)kind, planes, count, gap, lengths[l]);
                sums_case((sums)kind, planes, other, 0, lengths[l]);
            } else {
                map_case((map)kind, planes, count, gap, lengths[l]);
                map_case((map)kind, planes, other, (16 - lengths[l] % 16) % 16, lengths[l]);
            }
        }
}

int main(void)
{
    find_sets();
    random_state = 1;
    check_checker();
    for (int kind = 0; kind < SUM_KINDS; kind++) {
        char name[64];
        snprintf(name, sizeof name, "plain arrays: %s", sum_names[kind]);
        check_group(name);
        all_shapes(check_sums, NULL, kind, kind >= LAYER_GRADIENT);
        check_group_end();
    }
    for (int kind = 0; kind < MAP_KINDS; kind++) {
        char name[64];
        snprintf(name, sizeof name, "plain arrays: %s", map_names[kind]);
        check_group(name);
        all_shapes(NULL, check_map, kind, kind >= LAYER_APPLY);
        check_group_end();
    }
    return check.groups_failed ? 1 : 0;
}
