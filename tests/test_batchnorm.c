/* SPDX-License-Identifier: MIT
 * A net's batch norm between its passes (op/batchnorm.h), in each version, far from zero and with a block that is not
 * full, against the reference; and which of several faults of a step is told. */
#include "norm_problem.h"

#include "base/memory.h"
#include "cpu/dispatch.h"
#include "op/batchnorm.h"

enum { SAMPLES = 37, CHANNELS = 3, HEIGHT = 4, WIDTH = 5, PLANE = HEIGHT * WIDTH, BLOCKS = 3 };
enum { BLOCK = CHANNELS * PLANE * EK_LANES };

static const ek_shape shape = {.n = SAMPLES, .c = CHANNELS, .h = HEIGHT, .w = WIDTH};
static const ek_unit unit = {.c = CHANNELS, .h = HEIGHT, .w = WIDTH, .norm = true, .pool = 1};

/* [N,C,H,W] to [blocks][C][H][W][16], whose dead lanes get `rest`; for ek_block_free. */
static float *blocked(const float *x, float rest)
{
    float *all = ek_block_alloc(BLOCKS * BLOCK * sizeof *all);
    assert_non_null(all);
    for (int64_t i = 0; i < BLOCKS * BLOCK; i++) {
        const int64_t n = i / BLOCK * EK_LANES + i % EK_LANES;
        all[i] = n < SAMPLES ? x[n * CHANNELS * PLANE + i % BLOCK / EK_LANES] : rest;
    }
    return all;
}

static float at(const float *all, int64_t i)
{
    const int64_t n = i / (CHANNELS * PLANE);
    return all[n / EK_LANES * BLOCK + i % (CHANNELS * PLANE) * EK_LANES + n % EK_LANES];
}

static int live(int block)
{
    const int rest = SAMPLES - block * EK_LANES;
    return rest < EK_LANES ? rest : EK_LANES;
}

/* Forward and backward by the kernels, block for block, as a program calls them. */
static void run_passes(ek_batchnorm *b, const float *x, const float *dy, float *y, float *dx)
{
    const ek_blocked_kernels *k = &ek_kernels_get()->blocked;
    for (int i = 0; i < BLOCKS; i++)
        k->channel_stats(CHANNELS, PLANE, x + (size_t)i * BLOCK, live(i), b->block_mean + (size_t)i * CHANNELS,
                         b->block_deviations + (size_t)i * CHANNELS);
    assert_int_equal(ek_batchnorm_forward(b, SAMPLES), -1);
    for (int i = 0; i < BLOCKS; i++)
        k->unit_forward(&unit, b->channels, x + (size_t)i * BLOCK, NULL, y + (size_t)i * BLOCK);
    for (int i = 0; i < BLOCKS; i++)
        k->unit_sums(&unit, b->gradients, x + (size_t)i * BLOCK, NULL, dy + (size_t)i * BLOCK, live(i),
                     b->block_sums + (size_t)i * CHANNELS);
    assert_int_equal(ek_batchnorm_backward(b, SAMPLES), -1);
    for (int i = 0; i < BLOCKS; i++)
        k->unit_backward(&unit, b->gradients, x + (size_t)i * BLOCK, NULL, dy + (size_t)i * BLOCK, live(i),
                         dx + (size_t)i * BLOCK);
}

/* op/norm.h's bounds; the net's passes add up floats where the plain ones have doubles. */
static void check_passes(const problem *p, ek_normalize normalize, bool by_batch, const float *y, const float *dx,
                         const float *dgamma, const float *dbeta)
{
    const double m = SAMPLES * PLANE;
    double dx2[SAMPLES * CHANNELS * PLANE], dgamma2[CHANNELS], dbeta2[CHANNELS];
    double sum[CHANNELS] = {0}, product[CHANNELS] = {0};
    ek_reference_batch_norm_backward(normalize, by_batch, shape, p->x2, p->dy2, p->gamma2, p->mean, p->rstd, dx2,
                                     dgamma2, dbeta2);
    for (int64_t i = 0; i < p->size; i++) {
        const int64_t c = channel_of(shape, i);
        const double centre = normalize == EK_NORMALIZE_DEVIATION ? 0 : p->mean[c];
        const double gamma = fabs(p->gamma2[c]), xhat = fabs(p->x2[i] - centre) * p->rstd[c];
        near("y", shape, i, (double)at(y, i), p->y2[i], 16 * U * (gamma * xhat + fabs(p->beta2[c])) + 8 * U * gamma);
        sum[c] += fabs(p->dy2[i]);
        product[c] += fabs(p->dy2[i]) * fmax(1, xhat);
    }
    for (int64_t i = 0; i < p->size; i++) {
        const int64_t c = channel_of(shape, i);
        double terms = fabs(p->dy2[i]);
        if (by_batch && normalize != EK_NORMALIZE_DEVIATION)
            terms += sum[c] / m;
        if (by_batch && normalize != EK_NORMALIZE_MEAN)
            terms += fabs(p->x2[i] - p->mean[c]) * p->rstd[c] * product[c] / m;
        near("dx", shape, i, (double)at(dx, i), dx2[i], 64 * U * fabs(p->gamma2[c]) * p->rstd[c] * terms);
    }
    for (int64_t c = 0; c < CHANNELS; c++) {
        near("dgamma", shape, c, (double)dgamma[c], dgamma2[c], 64 * U * product[c]);
        near("dbeta", shape, c, (double)dbeta[c], dbeta2[c], 64 * U * sum[c]);
    }
}

static void check_version(ek_normalize normalize, double ratio, bool use_moving)
{
    problem p = problem_new(shape, ratio, false, 1e-5);
    float dgamma[CHANNELS], dbeta[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) {
        p.moving_mean[c] += (float)ratio;
        if (use_moving) {
            p.mean[c] = (double)p.moving_mean[c];
            p.var[c] = (double)p.moving_var[c];
        }
        p.rstd[c] = ek_norm_factor(normalize, p.var[c], (double)1e-5f);
    }
    ek_reference_batch_norm(normalize, shape, p.x2, p.gamma2, p.beta2, p.mean, p.rstd, p.y2);
    ek_batchnorm b = {.c = CHANNELS,
                      .plane = PLANE,
                      .eps = 1e-5f,
                      .momentum = 0.1f,
                      .normalize = normalize,
                      .use_moving = use_moving,
                      .gamma = p.gamma,
                      .beta = p.beta,
                      .moving_mean = p.moving_mean,
                      .moving_var = p.moving_var,
                      .trains = true,
                      .dgamma = dgamma,
                      .dbeta = dbeta};
    assert_int_equal(ek_batchnorm_alloc(&b, BLOCKS), EK_OK);
    float *x = blocked(p.x, 0), *dy = blocked(p.dy, NAN), *y = blocked(p.x, 0), *dx = blocked(p.x, 0);
    run_passes(&b, x, dy, y, dx);
    check_passes(&p, normalize, !use_moving, y, dx, dgamma, dbeta);
    float *all[] = {x, dy, y, dx};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ek_block_free(all[i]);
    ek_batchnorm_free(&b);
    problem_free(&p);
}

static void test_versions(void **state)
{
    (void)state;
    static const double ratios[] = {0, 1, 1e4};
    for (int i = EK_NORMALIZE_BOTH; i <= EK_NORMALIZE_DEVIATION; i++)
        for (int j = 0; j < 3; j++) {
            check_version((ek_normalize)i, ratios[j], false);
            check_version((ek_normalize)i, ratios[j], true);
        }
}

/* ---- Which fault of a step is told ---- */

/* So wide that the gradients of its weights are added up before the batch norm's backward, not at the end. */
enum { WIDE = 8192, IMAGES = 20 };

static float *values_of(ek_net *net, const char *name, int64_t count)
{
    const ek_tensor *tensor = ek_net_tensor_by_name(net, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->count, count);
    if (tensor->role == EK_ROLE_WEIGHT)
        memset(tensor->data, 0, (size_t)count * sizeof *tensor->data);
    return tensor->data;
}

/* Features 0 and 1 of the wide layer have each a path of its own from the norm's channels 0 and 1 to logit 0: the
 * first numbers are its weights of layer 2, the second those of layer 3. */
static void expect_fault(float gamma0, const float first[2], const float last[2], const char *words)
{
    uint8_t pixels[2 * IMAGES], labels[IMAGES];
    ek_dataset *data = NULL;
    for (int i = 0; i < IMAGES; i++) {
        pixels[2 * i] = (uint8_t)(17 * i % 251);
        pixels[2 * i + 1] = (uint8_t)(29 * i % 247);
        labels[i] = (uint8_t)(i % 3 == 0);
    }
    OK(ek_dataset_from_memory(&data, IMAGES, 1, 1, 2, pixels, labels, 2));
    ek_net *net = ek_net_parse("input 1 1 2\nflatten\nbatchnorm\nlinear 8192 bias=no\nlinear 2 bias=no\n", NULL);
    assert_non_null(net);
    float *gamma = values_of(net, "1.weight", 2), *wide = values_of(net, "2.weight", (int64_t)WIDE * 2);
    float *narrow = values_of(net, "3.weight", (int64_t)WIDE * 2);
    gamma[0] = gamma0;
    gamma[1] = 1e-30f;
    for (int i = 0; i < 2; i++) {
        wide[2 * i + i] = first[i];
        narrow[i] = last[i];
    }
    assert_int_equal(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 1, .batch_size = IMAGES}), EK_ERR_NUMERIC);
    if (!strstr(ek_error(), words))
        fail_msg("%s, where '%s' was expected", ek_error(), words);
    ek_net_free(net);
    ek_dataset_free(data);
}

static void test_first_fault(void **state)
{
    (void)state;
    /* The logits are finite; layer 2's weight gradient is not, nor is what goes on from there to the norm. */
    expect_fault(1e20f, (float[]){0, 1e21f}, (float[]){1e21f, 1e21f}, "layer 2: the gradient of its weights");
    /* What goes to the norm alone is not. */
    expect_fault(1, (float[]){0, 1e21f}, (float[]){0, 1e21f}, "layer 1 (batchnorm), channel 1: the gradient");
    /* Neither the loss is, nor any gradient. */
    expect_fault(1e20f, (float[]){1e21f, 1e21f}, (float[]){1e21f, 1e21f}, "the loss is not finite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_first_fault),
    };
    return cmocka_run_group_tests_name("batchnorm", tests, NULL, NULL);
}
