/* SPDX-License-Identifier: MIT
 * The public batch and layer normalisation against PyTorch's float64, in every mode and in both layouts. */
#include "golden.h"

enum { BATCHES_BEFORE = 7 };

/* Elementwise, of the largest magnitude. PyTorch's own float32 is as far off; the wrong formula is 1e-2 off. */
static const double tolerance = 1e-6;

typedef struct batch_norm_case {
    const ek_safetensors *file;
    const char *name, *text;
    ek_shape shape;
    ek_mode mode;
    bool tracked, batch_statistics, updates;
    ek_batch_norm_options options;
    int64_t count;
} batch_norm_case;

static ek_shape shape_of(const ek_safetensors_tensor *x)
{
    ek_shape shape = {.n = x->dim[0], .c = x->dim[1]};
    if (x->ndim == 4) {
        shape.h = x->dim[2];
        shape.w = x->dim[3];
    }
    return shape;
}

static int64_t locations_of(ek_shape shape)
{
    return (shape.h ? shape.h : 1) * (shape.w ? shape.w : 1);
}

/* [N,C,H,W] to [N,H,W,C] and back; a new array, `from` is freed. */
static float *permute(float *from, ek_shape shape, bool to_last)
{
    int64_t locations = locations_of(shape);
    float *to = calloc((size_t)(shape.n * shape.c * locations), sizeof *to);
    assert_non_null(to);
    for (int64_t n = 0; n < shape.n; n++)
        for (int64_t c = 0; c < shape.c; c++)
            for (int64_t l = 0; l < locations; l++) {
                int64_t first = (n * shape.c + c) * locations + l, last = (n * locations + l) * shape.c + c;
                to[to_last ? last : first] = from[to_last ? first : last];
            }
    free(from);
    return to;
}

static batch_norm_case read_case(const ek_safetensors *file, const char *name, const char *text)
{
    const ek_safetensors_tensor *x = golden_tensor(file, name, "x");
    batch_norm_case c = {.file = file, .name = name, .text = text, .shape = shape_of(x), .count = x->count};
    float eps = (float)golden_number(text, "eps");
    c.mode = strncmp(golden_word(text, "mode"), "training", 8) == 0 ? EK_TRAINING : EK_PREDICTION;
    c.tracked = golden_int(text, "tracked");
    c.options = (ek_batch_norm_options){
        .eps = eps > 0 ? eps : EK_EPS_ZERO,
        .momentum = (float)golden_number(text, "momentum"),
        .moving_variance = golden_int(text, "population") ? EK_MOVING_POPULATION : EK_MOVING_UNBIASED,
        .use_moving = golden_int(text, "use_moving"),
        .hold_moving = golden_int(text, "hold_moving"),
    };
    if (strstr(text, " normalize=mean "))
        c.options.normalize = EK_NORMALIZE_MEAN;
    if (strstr(text, " normalize=deviation "))
        c.options.normalize = EK_NORMALIZE_DEVIATION;
    c.batch_statistics = !c.tracked || (c.mode == EK_TRAINING && !c.options.use_moving);
    c.updates = c.tracked && c.mode == EK_TRAINING && !c.options.hold_moving;
    return c;
}

/* The moving statistics after a case: PyTorch's new ones, or the very bits of before. */
static void check_moving(const batch_norm_case *c, const float *mean, const float *var)
{
    if (!c->tracked)
        return;
    if (c->updates) {
        golden_compare(golden_tensor(c->file, c->name, "new_moving_mean"), mean, tolerance, 0);
        golden_compare(golden_tensor(c->file, c->name, "new_moving_var"), var, tolerance, 0);
    } else {
        size_t size = (size_t)c->shape.c * sizeof(float);
        assert_memory_equal(mean, golden_tensor(c->file, c->name, "moving_mean")->data, size);
        assert_memory_equal(var, golden_tensor(c->file, c->name, "moving_var")->data, size);
    }
}

/* The largest |gamma*rstd*dy|, what dx is made of: with two samples dx cancels to far less. */
static double gradient_scale(const float *gamma, const float *rstd, const float *dy, ek_shape shape)
{
    int64_t locations = locations_of(shape);
    double scale = 0;
    for (int64_t i = 0; i < shape.n * shape.c * locations; i++) {
        int64_t c = i / locations % shape.c;
        scale = fmax(scale, fabs((gamma ? gamma[c] : 1.0f) * (double)rstd[c] * dy[i]));
    }
    return scale;
}

static void run_batch_norm(const batch_norm_case *c, ek_layout layout, int threads)
{
    ek_shape shape = c->shape;
    bool last = layout == EK_NHWC;
    size_t channels = (size_t)shape.c, count = (size_t)c->count;
    float *x = golden_floats(golden_tensor(c->file, c->name, "x"));
    float *dy = golden_floats(golden_tensor(c->file, c->name, "dy"));
    float *gamma = golden_floats(golden_find(c->file, c->name, "gamma"));
    float *beta = golden_floats(golden_find(c->file, c->name, "beta"));
    float *moving_mean = golden_floats(golden_find(c->file, c->name, "moving_mean"));
    float *moving_var = golden_floats(golden_find(c->file, c->name, "moving_var"));
    float *y = calloc(count, sizeof *y), *dx = calloc(count, sizeof *dx);
    float *mean = calloc(channels, sizeof *mean), *rstd = calloc(channels, sizeof *rstd);
    float *dgamma = calloc(channels, sizeof *dgamma), *dbeta = calloc(channels, sizeof *dbeta);
    int64_t batches = BATCHES_BEFORE;
    ek_batch_norm_options options = c->options;
    options.threads = threads;

    shape.layout = layout;
    x = last ? permute(x, shape, true) : x;
    dy = last ? permute(dy, shape, true) : dy;
    GOLDEN_OK(ek_batch_norm_forward(c->mode, shape, x, gamma, beta, moving_mean, moving_var,
                                    c->tracked ? &batches : NULL, &options, y, mean, rstd));
    GOLDEN_OK(
        ek_batch_norm_backward(c->mode, c->tracked, shape, x, dy, gamma, mean, rstd, &options, dx, dgamma, dbeta));
    y = last ? permute(y, shape, false) : y;
    dx = last ? permute(dx, shape, false) : dx;
    dy = last ? permute(dy, shape, false) : dy;

    golden_compare(golden_tensor(c->file, c->name, "y"), y, tolerance, 0);
    golden_compare(golden_tensor(c->file, c->name, "dx"), dx, tolerance, gradient_scale(gamma, rstd, dy, shape));
    if (gamma) {
        golden_compare(golden_tensor(c->file, c->name, "dgamma"), dgamma, tolerance, 1);
        golden_compare(golden_tensor(c->file, c->name, "dbeta"), dbeta, tolerance, 1);
    }
    check_moving(c, moving_mean, moving_var);
    if (batches != BATCHES_BEFORE + c->updates)
        fail_msg("%s: num_batches went from %d to %lld", c->name, BATCHES_BEFORE, (long long)batches);

    float *all[] = {x, dy, gamma, beta, moving_mean, moving_var, y, dx, mean, rstd, dgamma, dbeta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static int run_batch_norms(const ek_safetensors *file)
{
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (!golden_is(file->metadata[i].value, "batch_norm"))
            continue;
        batch_norm_case c = read_case(file, file->metadata[i].key, file->metadata[i].value);
        run_batch_norm(&c, EK_NCHW, 1);
        run_batch_norm(&c, EK_NCHW, 3);
        run_batch_norm(&c, EK_NHWC, 1);
        run_batch_norm(&c, EK_NHWC, 2);
        cases++;
    }
    return cases;
}

static void test_batch_norm(void **state)
{
    assert_true(run_batch_norms(*state) >= 24);
}

/* The mean alone, the deviation alone. */
static void test_lite(void **state)
{
    (void)state;
    ek_safetensors *file = golden_open("lite.safetensors");
    assert_true(run_batch_norms(file) >= 32);
    ek_safetensors_free(file);
}

/* The seed's two functions: the cases they can express, whose moving variance is the population's. */
static void test_book(void **state)
{
    const ek_safetensors *file = *state;
    int whole = 0, simplified = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (!golden_is(file->metadata[i].value, "batch_norm"))
            continue;
        batch_norm_case c = read_case(file, file->metadata[i].key, file->metadata[i].value);
        float eps = (float)golden_number(c.text, "eps");
        const ek_safetensors_tensor *expected = golden_tensor(file, c.name, "y");
        float *x = golden_floats(golden_tensor(file, c.name, "x")), *y = calloc((size_t)c.count, sizeof *y);
        float *gamma = golden_floats(golden_find(file, c.name, "gamma"));
        float *beta = golden_floats(golden_find(file, c.name, "beta"));
        float *mean = golden_floats(golden_find(file, c.name, "moving_mean"));
        float *var = golden_floats(golden_find(file, c.name, "moving_var"));
        if (c.tracked && (c.mode == EK_PREDICTION || c.options.moving_variance == EK_MOVING_POPULATION)) {
            GOLDEN_OK(ek_batch_norm(c.mode, c.shape, x, gamma, beta, mean, var, eps, c.options.momentum, y));
            golden_compare(expected, y, tolerance, 0);
            check_moving(&c, mean, var);
            whole++;
        }
        if (c.batch_statistics) {
            GOLDEN_OK(ek_batch_norm_simplified(c.shape, x, gamma, beta, eps, y));
            golden_compare(expected, y, tolerance, 0);
            simplified++;
        }
        float *all[] = {x, y, gamma, beta, mean, var};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            free(all[k]);
    }
    assert_true(whole >= 5);
    assert_true(simplified >= 15);
}

static void test_cumulative(void **state)
{
    const ek_safetensors *file = *state;
    const char *name = "bn_cumulative", *text = ek_safetensors_metadata(file, name);
    assert_non_null(text);
    float mean[3] = {0, 0, 0}, var[3] = {1, 1, 1};
    int64_t batches = 0;
    int steps = golden_int(text, "steps");
    assert_true(steps >= 3);
    for (int step = 0; step < steps; step++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s.step%d", name, step);
        const ek_safetensors_tensor *input = golden_tensor(file, prefix, "x");
        float *x = golden_floats(input), *y = calloc((size_t)input->count, sizeof *y);
        assert_int_equal(input->dim[1], 3);
        ek_batch_norm_options options = {.momentum = EK_MOMENTUM_CUMULATIVE};
        GOLDEN_OK(ek_batch_norm_forward(EK_TRAINING, shape_of(input), x, NULL, NULL, mean, var, &batches, &options, y,
                                        NULL, NULL));
        golden_compare(golden_tensor(file, prefix, "y"), y, tolerance, 0);
        golden_compare(golden_tensor(file, prefix, "new_moving_mean"), mean, tolerance, 0);
        golden_compare(golden_tensor(file, prefix, "new_moving_var"), var, tolerance, 0);
        assert_int_equal(batches, step + 1);
        free(x);
        free(y);
    }
}

static void run_layer_norm(const ek_safetensors *file, const char *name, const char *text, int threads)
{
    const ek_safetensors_tensor *input = golden_tensor(file, name, "x");
    ek_shape shape = shape_of(input);
    size_t count = (size_t)input->count, samples = (size_t)shape.n, values = count / samples;
    float eps = (float)golden_number(text, "eps");
    float *x = golden_floats(input), *dy = golden_floats(golden_tensor(file, name, "dy"));
    float *gamma = golden_floats(golden_find(file, name, "gamma"));
    float *beta = golden_floats(golden_find(file, name, "beta"));
    float *y = calloc(count, sizeof *y), *dx = calloc(count, sizeof *dx);
    float *mean = calloc(samples, sizeof *mean), *rstd = calloc(samples, sizeof *rstd);
    float *dgamma = calloc(values, sizeof *dgamma), *dbeta = calloc(values, sizeof *dbeta);

    GOLDEN_OK(ek_layer_norm_forward(shape, x, gamma, beta, eps, threads, y, mean, rstd));
    GOLDEN_OK(ek_layer_norm_backward(shape, x, dy, gamma, mean, rstd, threads, dx, dgamma, dbeta));
    golden_compare(golden_tensor(file, name, "y"), y, tolerance, 0);
    golden_compare(golden_tensor(file, name, "dx"), dx, tolerance, 0);
    if (gamma) {
        golden_compare(golden_tensor(file, name, "dgamma"), dgamma, tolerance, 0);
        golden_compare(golden_tensor(file, name, "dbeta"), dbeta, tolerance, 0);
    }
    float *all[] = {x, dy, gamma, beta, y, dx, mean, rstd, dgamma, dbeta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void test_layer_norm(void **state)
{
    const ek_safetensors *file = *state;
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (!golden_is(file->metadata[i].value, "layer_norm"))
            continue;
        run_layer_norm(file, file->metadata[i].key, file->metadata[i].value, 1);
        run_layer_norm(file, file->metadata[i].key, file->metadata[i].value, 3);
        cases++;
    }
    assert_true(cases >= 5);
}

static int open_golden(void **state)
{
    *state = golden_open("ops.safetensors");
    return 0;
}

static int close_golden(void **state)
{
    ek_safetensors_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm), cmocka_unit_test(test_lite),       cmocka_unit_test(test_book),
        cmocka_unit_test(test_cumulative), cmocka_unit_test(test_layer_norm),
    };
    return cmocka_run_group_tests_name("golden_norm", tests, open_golden, close_golden);
}
