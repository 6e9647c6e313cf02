/* SPDX-License-Identifier: MIT
 * Winograd's convolutions on the blocked layout against the reference, on every instruction set; with --bench how long
 * they take beside the direct ones. */
#include "bench.h"
#include "conv_data.h"

static bool quick; /* less of everything: under sanitizers and emulation */

static ek_conv shape(int c, int h, int w, int k, int padding)
{
    return (ek_conv){.c = c,
                     .h = h,
                     .w = w,
                     .k = k,
                     .p = h + 2 * padding - 2,
                     .q = w + 2 * padding - 2,
                     .r = 3,
                     .s = 3,
                     .stride_h = 1,
                     .stride_w = 1,
                     .padding_h = padding,
                     .padding_w = padding,
                     .dilation_h = 1,
                     .dilation_w = 1,
                     .groups = 1};
}

/* ---- Bounds: the algorithm with magnitudes throughout (see cpu/kernel/winograd.h) --------------------------- */

/* Magnitudes of the transforms' matrices, and their transposes. */
static const double B_[4][4] = {{1, 0, 1, 0}, {0, 1, 1, 0}, {0, 1, 1, 0}, {0, 1, 0, 1}};
static const double G_[4][4] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, {0, 0, 1}};
static const double G_turned[4][4] = {{1, 0.5, 0.5, 0}, {0, 0.5, 0.5, 0}, {0, 0.5, 0.5, 1}};
static const double A_[4][4] = {{1, 0}, {1, 1}, {1, 1}, {0, 1}};
static const double A_turned[4][4] = {{1, 1, 1, 0}, {0, 1, 1, 1}};

/* out = t in t' */
static void transformed(const double t[4][4], double in[4][4], double out[4][4])
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            out[i][j] = 0;
            for (int a = 0; a < 4; a++)
                for (int b = 0; b < 4; b++)
                    out[i][j] += t[i][a] * in[a][b] * t[j][b];
        }
}

/* The `size` x `size` values of a plane from (top, left) on, zeros outside it. */
static void read_tile(const double *plane, int h, int w, int top, int left, int size, double tile[4][4])
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int y = top + i, x = left + j;
            const bool inside = i < size && j < size && y >= 0 && y < h && x >= 0 && x < w;
            tile[i][j] = inside ? plane[y * w + x] : 0;
        }
}

static void read_kernel(const double *weight, double kernel[4][4])
{
    for (int i = 0; i < 16; i++)
        kernel[i / 4][i % 4] = i / 4 < 3 && i % 4 < 3 ? weight[i / 4 * 3 + i % 4] : 0;
}

/* All arguments are magnitudes; y [n,K,P,Q]. */
static void bound_forward(const ek_conv *g, int n, const double *weight, const double *bias, const double *x,
                          double *y)
{
    double in[4][4], u[4][4], v[4][4], m[4][4], out[4][4];
    for (int image = 0; image < n * g->k; image++)
        for (int p = 0; p < g->p; p += 2)
            for (int q = 0; q < g->q; q += 2) {
                const int sample = image / g->k, k = image % g->k;
                memset(m, 0, sizeof m);
                for (int c = 0; c < g->c; c++) {
                    read_kernel(weight + (k * g->c + c) * 9, in);
                    transformed(G_, in, u);
                    read_tile(x + (sample * g->c + c) * g->h * g->w, g->h, g->w, p - g->padding_h, q - g->padding_w,
                              4, in);
                    transformed(B_, in, v);
                    for (int i = 0; i < 16; i++)
                        m[i / 4][i % 4] += u[i / 4][i % 4] * v[i / 4][i % 4];
                }
                m[1][1] += bias ? bias[k] : 0;
                transformed(A_turned, m, out);
                for (int i = 0; i < 2 && p + i < g->p; i++)
                    for (int j = 0; j < 2 && q + j < g->q; j++)
                        y[(image * g->p + p + i) * g->q + q + j] = out[i][j];
            }
}

/* Backward to data is forward from dy with the kernels mirrored and transposed. */
static void bound_backward_data(const ek_conv *g, int n, const double *weight, const double *dy, double *dx)
{
    const ek_conv turned = shape(g->k, g->p, g->q, g->c, 2 - g->padding_h);
    double *mirrored = doubles((size_t)ek_conv_weights(g));
    for (int k = 0; k < g->k; k++)
        for (int c = 0; c < g->c; c++)
            for (int i = 0; i < 9; i++)
                mirrored[(c * g->k + k) * 9 + i] = weight[(k * g->c + c) * 9 + 8 - i];
    bound_forward(&turned, n, mirrored, NULL, dy, dx);
}

static void bound_backward_weight(const ek_conv *g, int n, const double *x, const double *dy, double *dweight)
{
    double in[4][4], u[4][4], v[4][4], m[4][4];
    for (int pair = 0; pair < g->k * g->c; pair++) {
        const int k = pair / g->c, c = pair % g->c;
        memset(m, 0, sizeof m);
        for (int tile = 0; tile < n * g->p * g->q; tile++) {
            const int sample = tile / g->q / g->p, p = tile / g->q % g->p, q = tile % g->q;
            if (p % 2 || q % 2)
                continue;
            read_tile(dy + (sample * g->k + k) * g->p * g->q, g->p, g->q, p, q, 2, in);
            transformed(A_, in, u);
            read_tile(x + (sample * g->c + c) * g->h * g->w, g->h, g->w, p - g->padding_h, q - g->padding_w, 4, in);
            transformed(B_, in, v);
            for (int i = 0; i < 16; i++)
                m[i / 4][i % 4] += u[i / 4][i % 4] * v[i / 4][i % 4];
        }
        transformed(G_turned, m, u);
        for (int i = 0; i < 9; i++)
            dweight[pair * 9 + i] = u[i / 3][i % 3];
    }
}

/* ---- One convolution ---------------------------------------------------------------------------------------- */

static int y_groups(const ek_conv *g)
{
    return ek_winograd_groups(g->p, g->q);
}

static int dx_groups(const ek_conv *g)
{
    return ek_winograd_groups(g->h, g->w);
}

static conv_data new_conv(ek_conv g, int live, bool bias)
{
    conv_data d = new_conv_data(g, live, bias);
    const size_t n = (size_t)live, k = (size_t)g.k;
    const double *weight = magnitudes(widened(d.weight, d.weights), d.weights);
    const double *b = bias ? magnitudes(widened(d.bias, k), k) : NULL;
    const double *x = magnitudes(samples_of(d.x, d.in, live), n * d.in);
    const double *dy = magnitudes(samples_of(d.dy, d.out, live), n * d.out);
    double *y = doubles(n * d.out), *dx = doubles(n * d.in), *dweight = doubles(d.weights), *dbias = doubles(k);
    bound_forward(&g, live, weight, b, x, y);
    bound_backward_data(&g, live, weight, dy, dx);
    bound_backward_weight(&g, live, x, dy, dweight);
    for (size_t i = 0; i < n * d.out; i++)
        dbias[i / (size_t)(g.p * g.q) % k] += dy[i];
    const double plane = (double)(g.p * g.q);
    d.y_bound = bounds(y, n * d.out, sum_error(g.c + 10), 0);
    d.dx_bound = bounds(dx, n * d.in, sum_error(g.k + 10), 0);
    const ek_winograd_band band = ek_winograd_band_of(&g);
    const int tiles = band.rows * band.columns, bands = (g.p + 1) / 2 * ((g.q + 1) / 2 / band.columns + 1);
    d.dweight_bound = bounds(dweight, d.weights, sum_error(16 * tiles + bands + 10), 0);
    d.dbias_bound = bounds(dbias, k, sum_error(plane + 4), 0);
    return d;
}

/* One output channel alone, one input channel alone, give the bits that they have among all others. */
static void check_tiles(const ek_kernels *set, const conv_data *d, const float *y, const float *dx,
                        const float *dweight)
{
    const ek_blocked_kernels *kernel = &set->blocked;
    const ek_conv *g = &d->g;
    const size_t plane = (size_t)g->p * (size_t)g->q * LANES, image = (size_t)g->h * (size_t)g->w * LANES;
    const size_t row = (size_t)g->c * 9, k = (size_t)random_int(0, g->k - 1), c = (size_t)random_int(0, g->c - 1);
    ek_conv one = *g;
    one.k = 1;
    float *packed = floats(ek_winograd_packed(&one)), *part = floats(plane);
    kernel->winograd_pack_forward(&one, d->weight + k * row, packed);
    kernel->winograd_forward(&one, packed, d->bias ? d->bias + k : NULL, d->x, floats(ek_winograd_scratch(&one)),
                             part, 0, y_groups(&one));
    compare_bits(set->name, "y of one channel", plane * sizeof *y, part, y + k * plane);

    one = *g;
    one.c = 1;
    float *weight = floats((size_t)g->k * 9);
    for (size_t i = 0; i < (size_t)g->k; i++)
        memcpy(weight + i * 9, d->weight + i * row + c * 9, 9 * sizeof *weight);
    packed = floats(ek_winograd_packed(&one));
    part = floats(image);
    kernel->winograd_pack_backward(&one, weight, packed);
    kernel->winograd_backward_data(&one, packed, d->dy, floats(ek_winograd_scratch(&one)), part, 0, dx_groups(&one));
    compare_bits(set->name, "dx of one channel", image * sizeof *dx, part, dx + c * image);
    one.k = 1;
    part = floats(9);
    kernel->winograd_backward_weight(&one, d->x + c * image, d->dy + k * plane, floats(ek_winograd_scratch(&one)),
                                     part, NULL, 0, 1);
    compare_bits(set->name, "dweight of one pair", 9 * sizeof *dweight, part, dweight + k * row + c * 9);
}

static void check_conv(ek_conv g, int live, bool bias)
{
    if (g.p < 1 || g.q < 1)
        return;
    check_case("winograd %dx%dx%d to %d, padding %d, %d live%s", g.c, g.h, g.w, g.k, g.padding_h, live,
               bias ? "" : ", no bias");
    const conv_data d = new_conv(g, live, bias);
    const outputs y = new_outputs(d.out * LANES, sizeof(float)), dx = new_outputs(d.in * LANES, sizeof(float));
    const outputs dweight = new_outputs(d.weights, sizeof(float)), dbias = new_outputs((size_t)g.k, sizeof(float));
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        const char *set = sets[i]->name;
        float *packed = floats(ek_winograd_packed(&g)), *packed_backward = floats(ek_winograd_packed(&g));
        kernel->winograd_pack_forward(&g, d.weight, packed);
        kernel->winograd_pack_backward(&g, d.weight, packed_backward);
        /* In two pieces, as two threads would. */
        const int cut_y = y_groups(&g) / 2, cut_dx = dx_groups(&g) / 2;
        kernel->winograd_forward(&g, packed, d.bias, d.x, floats(ek_winograd_scratch(&g)), y.of[i], cut_y,
                                 y_groups(&g));
        kernel->winograd_forward(&g, packed, d.bias, d.x, floats(ek_winograd_scratch(&g)), y.of[i], 0, cut_y);
        kernel->winograd_backward_data(&g, packed_backward, d.dy, floats(ek_winograd_scratch(&g)), dx.of[i], cut_dx,
                                       dx_groups(&g));
        kernel->winograd_backward_data(&g, packed_backward, d.dy, floats(ek_winograd_scratch(&g)), dx.of[i], 0,
                                       cut_dx);
        const int tiles = (g.c + LANES - 1) / LANES, cut = tiles / 2;
        kernel->winograd_backward_weight(&g, d.x, d.dy, floats(ek_winograd_scratch(&g)), dweight.of[i],
                                         bias ? dbias.of[i] : NULL, cut, tiles);
        kernel->winograd_backward_weight(&g, d.x, d.dy, floats(ek_winograd_scratch(&g)), dweight.of[i],
                                         bias ? dbias.of[i] : NULL, 0, cut);
        compare_block(set, "y", d.out, live, y.of[i], d.y, d.y_bound);
        compare_block(set, "dx", d.in, live, dx.of[i], d.dx, d.dx_bound);
        compare_floats(set, "dweight", d.weights, dweight.of[i], d.dweight, d.dweight_bound);
        if (bias)
            compare_floats(set, "dbias", (size_t)g.k, dbias.of[i], d.dbias, d.dbias_bound);
        check_dead(set, "y", d.out, live, y.of[i], false);
        check_dead(set, "dx", d.in, live, dx.of[i], true);
        check_tiles(sets[i], &d, y.of[i], dx.of[i], dweight.of[i]);
    }
    check_sets_agree("y", y);
    check_sets_agree("dx", dx);
    check_sets_agree("dweight", dweight);
    check_sets_agree("dbias", dbias);
    check_margins();
}

static void check_planes(int padding)
{
    char name[80];
    snprintf(name, sizeof name, "winograd, every plane to 9x9, padding %d", padding);
    check_group(name);
    for (int h = 1; h <= 9; h++)
        for (int w = 1 + (quick ? h % 3 : 0); w <= 9; w += quick ? 3 : 1)
            check_conv(shape(random_int(1, 5), h, w, random_int(1, 5), padding), random_int(1, 16), random_int(0, 1));
    check_group_end();
}

static void check_channels(void)
{
    check_group("winograd, every number of channels and live lanes");
    for (int c = 1; c <= 26; c += quick ? 5 : 1) {
        check_conv(shape(c, 4, 5, 27 - c, 1), 1 + c % 16, c % 2);
        check_conv(shape(c, 5, 3, 1 + c * 7 % 26, c % 3), 16 - c % 16, c % 3 > 0);
    }
    check_group_end();
    check_group("winograd, many channels, and planes of many bands");
    check_conv(shape(3, 1, 1, 130, 1), 16, true);
    check_conv(shape(2, 20, 17, 5, 1), 16, true);
    check_conv(shape(70, 5, 5, 66, 1), 1, false);
    if (quick) {
        check_group_end();
        return;
    }
    check_conv(shape(70, 7, 7, 66, 1), 2, false);
    check_conv(shape(33, 6, 6, 40, 0), 16, true);
    check_conv(shape(2, 40, 37, 5, 1), 16, true);
    check_conv(shape(40, 17, 15, 30, 1), 3, false);
    check_conv(shape(16, 32, 32, 16, 1), 1, false);
    check_group_end();
}

/* ---- Errors beside the direct sums', and times --------------------------------------------------------------- */

/* The errors' root mean square is within three times the direct kernels'. */
static void check_accuracy(ek_conv g)
{
    check_case("%dx%dx%d to %d", g.c, g.h, g.w, g.k);
    const conv_data d = new_conv(g, 16, false);
    const size_t weights = d.weights, most = d.in > d.out ? d.in : d.out;
    for (int i = 0; i < set_count; i++) {
        const ek_blocked_kernels *kernel = &sets[i]->blocked;
        float *packed = floats(ek_winograd_packed(&g)), *scratch = floats(ek_winograd_scratch(&g));
        float *work = floats(ek_conv_scratch(&g)), *got = floats((most > weights ? most : weights) * LANES);
        double square[3][2] = {{0}};
        for (int what = 0; what < 3; what++)
            for (int fast = 0; fast < 2; fast++) {
                const double *want = what == 0 ? d.y : what == 1 ? d.dx : d.dweight;
                const size_t count = what == 0 ? d.out * LANES : what == 1 ? d.in * LANES : weights;
                if (what == 0 && fast) {
                    kernel->winograd_pack_forward(&g, d.weight, packed);
                    kernel->winograd_forward(&g, packed, NULL, d.x, scratch, got, 0, y_groups(&g));
                } else if (what == 0) {
                    kernel->pack_forward(&g, d.weight, packed);
                    kernel->conv_forward(&g, packed, NULL, d.x, got, 0, g.p);
                } else if (what == 1 && fast) {
                    kernel->winograd_pack_backward(&g, d.weight, packed);
                    kernel->winograd_backward_data(&g, packed, d.dy, scratch, got, 0, dx_groups(&g));
                } else if (what == 1) {
                    kernel->pack_backward(&g, d.weight, packed);
                    kernel->conv_backward_data(&g, packed, d.dy, got, 0, g.h);
                } else if (fast) {
                    kernel->winograd_backward_weight(&g, d.x, d.dy, scratch, got, NULL, 0, (g.c + LANES - 1) / LANES);
                } else {
                    kernel->conv_backward_weight(&g, d.x, d.dy, work, got, NULL);
                }
                const double *values = what == 2 ? widened(got, count) : samples_of(got, count / LANES, LANES);
                for (size_t j = 0; j < count; j++)
                    square[what][fast] += (values[j] - want[j]) * (values[j] - want[j]);
            }
        const double y = sqrt(square[0][1] / square[0][0]), dx = sqrt(square[1][1] / square[1][0]);
        const double dweight = sqrt(square[2][1] / square[2][0]);
        printf("# %s: errors beside the direct ones: y %.2f, dx %.2f, dweight %.2f\n", sets[i]->name, y, dx, dweight);
        if (!(y < 3) || !(dx < 3) || !(dweight < 3))
            check_fail("%s: errors more than three times the direct kernels'", sets[i]->name);
    }
    check_margins();
}

static void check_accuracies(void)
{
    check_group("winograd's errors beside the direct kernels'");
    check_accuracy(quick ? shape(16, 6, 6, 16, 1) : shape(16, 14, 14, 16, 1));
    if (!quick)
        check_accuracy(shape(64, 7, 7, 64, 1));
    check_group_end();
}

enum { BENCH_WINDOWS = 200 };

/* Direct and fast in turns, the best of many windows. */
#define BESIDE(name, direct, fast)                                                                                   \
    do {                                                                                                             \
        double best[2] = {INFINITY, INFINITY};                                                                       \
        for (int window = 0; window < 2 * BENCH_WINDOWS; window++) {                                                 \
            const double begin = bench_now();                                                                        \
            if (window % 2)                                                                                          \
                fast;                                                                                                \
            else                                                                                                     \
                direct;                                                                                              \
            const double time = bench_now() - begin;                                                                 \
            best[window % 2] = time < best[window % 2] ? time : best[window % 2];                                    \
        }                                                                                                            \
        printf("    %-16s %9.1f us direct %9.1f us winograd %7.1f %7.1f GFLOP/s, %5.2f times\n", name,               \
               best[0] * 1e6, best[1] * 1e6, operations / best[0] * 1e-9, operations / best[1] * 1e-9,               \
               best[0] / best[1]);                                                                                   \
    } while (0)

static void bench_beside(const ek_blocked_kernels *kernel, ek_conv g)
{
    const size_t in = (size_t)g.c * (size_t)g.h * (size_t)g.w * LANES, weights = (size_t)ek_conv_weights(&g);
    const size_t out = (size_t)g.k * (size_t)g.p * (size_t)g.q * LANES;
    const double operations = 2.0 * (double)out * g.c * 9;
    float *weight = random_floats(weights), *packed = floats(weights), *packed_fast = floats(ek_winograd_packed(&g));
    float *x = random_floats(in), *y = floats(out), *dy = random_floats(out), *dx = floats(in);
    float *dweight = floats(weights), *scratch = floats(ek_conv_scratch(&g));
    float *scratch_fast = floats(ek_winograd_scratch(&g));
    printf("  %dx%dx%d to %d\n", g.c, g.h, g.w, g.k);
    kernel->pack_forward(&g, weight, packed);
    BENCH("pack", 0, kernel->winograd_pack_forward(&g, weight, packed_fast));
    BESIDE("forward", kernel->conv_forward(&g, packed, NULL, x, y, 0, g.p),
           kernel->winograd_forward(&g, packed_fast, NULL, x, scratch_fast, y, 0, y_groups(&g)));
    BESIDE("backward data", kernel->conv_backward_data(&g, packed, dy, dx, 0, g.h),
           kernel->winograd_backward_data(&g, packed_fast, dy, scratch_fast, dx, 0, dx_groups(&g)));
    BESIDE("backward weight", kernel->conv_backward_weight(&g, x, dy, scratch, dweight, NULL),
           kernel->winograd_backward_weight(&g, x, dy, scratch_fast, dweight, NULL, 0, (g.c + LANES - 1) / LANES));
    check_margins();
}

static void bench_shapes(void)
{
    static const int shapes[][2] = {{16, 32}, {32, 16}, {64, 8}, {16, 28}, {32, 14}, {64, 7}, {8, 16}, {128, 12}};
    for (int i = 0; i < set_count; i++) {
        printf("%s, one block of sixteen samples, padding 1\n", sets[i]->name);
        for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++)
            bench_beside(&sets[i]->blocked, shape(shapes[j][0], shapes[j][1], shapes[j][1], shapes[j][0], 1));
    }
}

int main(int argc, char **argv)
{
    find_sets();
    random_state = 3;
    quick = getenv("EVENKEEL_TEST_QUICK");
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_shapes();
        return 0;
    }
    check_checker();
    for (int padding = 0; padding <= 2; padding++)
        check_planes(padding);
    check_channels();
    check_accuracies();
    return check.groups_failed ? 1 : 0;
}
