/* SPDX-License-Identifier: MIT
 * Nets without computing: the builder, shapes, the table of tensors, initialisation, notes. The net
 * language has test_net_text.c. */
#include "base/memory.h"
#include "net/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Shapes, parameters, multiply-adds ---------------------------------------------------------------------- */

typedef struct row {
    const char *kind;
    int c, h, w;
    int64_t parameters, macs;
} row;

static void expect_layers(ek_net *net, const row *rows, int count)
{
    assert_non_null(net);
    assert_int_equal(ek_net_layer_count(net), count);
    for (int i = 0; i < count; i++) {
        ek_layer_info info;
        assert_int_equal(ek_net_layer(net, i, &info), EK_OK);
        assert_string_equal(info.kind, rows[i].kind);
        assert_int_equal(strncmp(info.text, info.kind, strlen(info.kind)), 0);
        assert_int_equal(info.c, rows[i].c);
        assert_int_equal(info.h, rows[i].h);
        assert_int_equal(info.w, rows[i].w);
        assert_int_equal(info.parameters, rows[i].parameters);
        assert_int_equal(info.macs, rows[i].macs);
    }
}

static const row lenet[] = {
    {"conv2d", 6, 28, 28, 156, 117600},   {"sigmoid", 6, 28, 28, 0, 0},        {"avgpool", 6, 14, 14, 0, 0},
    {"conv2d", 16, 10, 10, 2416, 240000}, {"sigmoid", 16, 10, 10, 0, 0},       {"avgpool", 16, 5, 5, 0, 0},
    {"flatten", 400, 0, 0, 0, 0},         {"linear", 120, 0, 0, 48120, 48000}, {"sigmoid", 120, 0, 0, 0, 0},
    {"linear", 84, 0, 0, 10164, 10080},   {"sigmoid", 84, 0, 0, 0, 0},         {"linear", 10, 0, 0, 850, 840},
};

static const row bn_lenet[] = {
    {"conv2d", 6, 24, 24, 156, 86400},   {"batchnorm", 6, 24, 24, 12, 0},    {"sigmoid", 6, 24, 24, 0, 0},
    {"avgpool", 6, 12, 12, 0, 0},        {"conv2d", 16, 8, 8, 2416, 153600}, {"batchnorm", 16, 8, 8, 32, 0},
    {"sigmoid", 16, 8, 8, 0, 0},         {"avgpool", 16, 4, 4, 0, 0},        {"flatten", 256, 0, 0, 0, 0},
    {"linear", 120, 0, 0, 30840, 30720}, {"batchnorm", 120, 0, 0, 240, 0},   {"sigmoid", 120, 0, 0, 0, 0},
    {"linear", 84, 0, 0, 10164, 10080},  {"batchnorm", 84, 0, 0, 168, 0},    {"sigmoid", 84, 0, 0, 0, 0},
    {"linear", 10, 0, 0, 850, 840},
};

enum { LENET_ROWS = sizeof lenet / sizeof *lenet, BN_LENET_ROWS = sizeof bn_lenet / sizeof *bn_lenet };

static void test_builtins(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("lenet");
    expect_layers(net, lenet, LENET_ROWS);
    ek_net_free(net);
    const char *const names[] = {"bn-lenet", "bn-lenet-scratch"};
    for (int i = 0; i < 2; i++) {
        net = ek_net_builtin(names[i]);
        expect_layers(net, bn_lenet, BN_LENET_ROWS);
        assert_int_equal(net->layers[1].o.batchnorm.moving_variance, i);
        int64_t parameters = 0, macs = 0;
        for (int l = 0; l < BN_LENET_ROWS; l++) {
            parameters += bn_lenet[l].parameters;
            macs += bn_lenet[l].macs;
        }
        assert_int_equal(parameters, 44878);
        assert_int_equal(macs, 281640);
        assert_int_equal(ek_net_float_count(net), 44878 + 2 * (6 + 16 + 120 + 84));
        ek_net_free(net);
    }
    assert_string_equal(ek_net_builtin_name(0), "lenet");
    assert_string_equal(ek_net_builtin_name(2), "bn-lenet-scratch");
    assert_non_null(strstr(ek_net_builtin_text(1), "8.5"));
    assert_string_equal(ek_net_builtin_name(3), "mlp");
    assert_null(ek_net_builtin_text(-1));
    assert_null(ek_net_builtin("resnet"));
    assert_int_equal(strncmp(ek_error(), "no built-in net 'resnet'; there are lenet, bn-lenet, ", 52), 0);
    assert_null(ek_net_builtin(NULL));
}

/* The same net by calls and by text. */
static void test_built_by_calls(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(1, 28, 28);
    ek_net_conv2d(net, 6, &(ek_net_conv2d_options){.kernel = 5});
    ek_net_batchnorm(net, NULL);
    ek_net_sigmoid(net);
    ek_net_avgpool2d(net, 2, 0);
    ek_net_conv2d(net, 16, &(ek_net_conv2d_options){.kernel = 5});
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){0});
    ek_net_sigmoid(net);
    ek_net_avgpool2d(net, 2, 2);
    ek_net_flatten(net);
    ek_net_linear(net, 120, NULL);
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){.eps = 1e-5f, .momentum = 0.1f});
    ek_net_sigmoid(net);
    ek_net_linear(net, 84, &(ek_net_linear_options){0});
    ek_net_batchnorm(net, NULL);
    ek_net_sigmoid(net);
    assert_int_equal(ek_net_linear(net, 10, NULL), EK_OK);
    expect_layers(net, bn_lenet, BN_LENET_ROWS);
    ek_net *same = ek_net_builtin("bn-lenet");
    char *text = ek_net_text(net), *expected = ek_net_text(same);
    assert_string_equal(text, expected);
    free(text);
    free(expected);
    ek_net_free(net);
    ek_net_free(same);
}

static void test_shapes(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(3, 11, 7);
    ek_net_conv2d(net, 4, &(ek_net_conv2d_options){.kernel = 3, .padding = 1, .stride = 2, .no_bias = true});
    ek_net_conv2d(net, 5, NULL);
    ek_net_avgpool2d(net, 3, 2);
    ek_net_avgpool2d(net, 1, 2);
    ek_net_flatten(net);
    ek_net_flatten(net);
    ek_net_linear(net, 2, &(ek_net_linear_options){.no_bias = true});
    const row rows[] = {
        {"conv2d", 4, 6, 4, 108, 4 * 6 * 4 * 27},
        {"conv2d", 5, 6, 4, 25, 5 * 6 * 4 * 4},
        {"avgpool", 5, 2, 1, 0, 0},
        {"avgpool", 5, 1, 1, 0, 0},
        {"flatten", 5, 0, 0, 0, 0},
        {"flatten", 5, 0, 0, 0, 0},
        {"linear", 2, 0, 0, 10, 10},
    };
    expect_layers(net, rows, 7);
    ek_dims out = ek_net_output(net);
    assert_true(out.flat && out.c == 2 && out.h == 1 && out.w == 1);
    int channels, height, width;
    assert_int_equal(ek_net_input(net, &channels, &height, &width), EK_OK);
    assert_true(channels == 3 && height == 11 && width == 7);
    assert_int_equal(ek_net_input(net, NULL, NULL, NULL), EK_OK);
    ek_net_conv2d(net, 0, NULL); /* marks it */
    assert_int_equal(ek_net_input(net, &channels, &height, &width), EK_ERR_ARGUMENT);
    assert_true(channels == 0 && height == 0 && width == 0);
    ek_net_free(net);
}

static void test_options(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(2, 3, 4);
    ek_net_batchnorm(net, NULL);
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){.eps = EK_EPS_ZERO,
                                                      .momentum = EK_MOMENTUM_CUMULATIVE,
                                                      .moving_variance = EK_MOVING_POPULATION,
                                                      .use_moving = true,
                                                      .hold_moving = true,
                                                      .hold_affine = true});
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){.no_affine = true, .no_tracking = true});
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){.no_scale = true});
    ek_net_batchnorm(net, &(ek_net_batchnorm_options){.no_center = true, .normalize = EK_NORMALIZE_DEVIATION});
    ek_net_layernorm(net, NULL);
    ek_net_layernorm(net, &(ek_net_layernorm_options){.eps = 0.5f, .no_affine = true});
    ek_net_layernorm(net, &(ek_net_layernorm_options){0});
    assert_int_equal(ek_net_check(net), EK_OK);
    const ek_layer *l = net->layers;
    assert_true(l[0].o.batchnorm.eps == 1e-5f && l[0].o.batchnorm.momentum == 0.1f);
    assert_true(l[0].o.batchnorm.affine && l[0].o.batchnorm.tracking && !l[0].o.batchnorm.use_moving);
    assert_true(!l[0].o.batchnorm.hold_moving && !l[0].o.batchnorm.hold_affine);
    assert_int_equal(l[0].o.batchnorm.moving_variance, EK_MOVING_UNBIASED);
    assert_true(l[1].o.batchnorm.eps == 0 && l[1].o.batchnorm.momentum == -1);
    assert_true(l[1].o.batchnorm.use_moving && l[1].o.batchnorm.hold_moving && l[1].o.batchnorm.hold_affine);
    assert_int_equal(l[1].o.batchnorm.moving_variance, EK_MOVING_POPULATION);
    assert_true(!l[2].o.batchnorm.affine && !l[2].o.batchnorm.tracking);
    assert_true(l[2].o.batchnorm.scale && l[2].o.batchnorm.center);
    assert_int_equal(l[3].o.batchnorm.normalize, EK_NORMALIZE_BOTH);
    assert_int_equal(l[4].o.batchnorm.normalize, EK_NORMALIZE_DEVIATION);
    assert_true(l[3].o.batchnorm.affine && !l[3].o.batchnorm.scale && l[3].o.batchnorm.center);
    assert_true(l[4].o.batchnorm.affine && l[4].o.batchnorm.scale && !l[4].o.batchnorm.center);
    assert_true(l[5].o.layernorm.eps == 1e-5f && l[5].o.layernorm.affine);
    assert_true(l[6].o.layernorm.eps == 0.5f && !l[6].o.layernorm.affine);
    assert_true(l[7].o.layernorm.eps == 1e-5f && l[7].o.layernorm.affine);
    /* gamma and beta that are held do not train, and a layer's parameters are those that train */
    const int64_t parameters[] = {4, 0, 0, 2, 2, 48, 0};
    for (int i = 0; i < 7; i++) {
        ek_layer_info info;
        assert_int_equal(ek_net_layer(net, i, &info), EK_OK);
        assert_int_equal(info.parameters, parameters[i]);
    }
    ek_net_free(net);
}

/* ---- The table of tensors ----------------------------------------------------------------------------------- */

static void expect_tensor(ek_net *net, int i, const char *name, ek_role role, bool trainable, const char *shape)
{
    const ek_tensor *t = ek_net_tensor(net, i);
    char text[64] = "";
    int64_t count = 1;
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_ptr_equal(ek_net_tensor_by_name(net, name), t);
    assert_int_equal(t->role, role);
    assert_int_equal(t->trainable, trainable);
    assert_int_equal(t->layer, atoi(name));
    for (int d = 0; d < t->ndim; d++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%d", d ? "," : "", (int)t->dim[d]);
        count *= t->dim[d];
    }
    assert_string_equal(text, shape);
    assert_int_equal(t->count, count);
    if (role == EK_ROLE_NUM_BATCHES) {
        assert_null(t->data);
        assert_int_equal(*t->counter, 0);
        return;
    }
    assert_null(t->counter);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    float start = role == EK_ROLE_GAMMA || role == EK_ROLE_MOVING_VAR ? 1 : 0;
    const bool drawn = role == EK_ROLE_WEIGHT || role == EK_ROLE_BIAS;
    for (int64_t e = 0; e < t->count; e++)
        assert_true(drawn ? t->data[e] != 0 && fabsf(t->data[e]) < 2 : t->data[e] == start);
}

/* A net that nobody initialised is as ek_net_init's default makes it. */
static void test_fresh_net(void **state)
{
    (void)state;
    ek_net *fresh = ek_net_builtin("bn-lenet"), *net = ek_net_builtin("bn-lenet");
    assert_int_equal(ek_net_init(net, EK_INIT_PYTORCH, 7), EK_OK);
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 0), EK_OK);
    for (int i = 0; i < ek_net_tensor_count(fresh); i++) {
        const ek_tensor *a = ek_net_tensor(fresh, i), *b = ek_net_tensor(net, i);
        if (a->data)
            assert_memory_equal(a->data, b->data, (size_t)a->count * sizeof(float));
    }
    ek_net_free(fresh);
    ek_net_free(net);
}

/* Five rows of a batch norm. */
static int expect_batchnorm(ek_net *net, int i, int layer, const char *shape, bool trainable)
{
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"};
    for (int r = 0; r < 5; r++) {
        char name[40];
        snprintf(name, sizeof name, "%d.%s", layer, names[r]);
        expect_tensor(net, i + r, name, (ek_role)(EK_ROLE_GAMMA + r), trainable && r < 2, r < 4 ? shape : "");
    }
    return i + 5;
}

static int expect_map(ek_net *net, int i, int layer, const char *weight, const char *bias)
{
    char name[40];
    snprintf(name, sizeof name, "%d.weight", layer);
    expect_tensor(net, i++, name, EK_ROLE_WEIGHT, true, weight);
    snprintf(name, sizeof name, "%d.bias", layer);
    expect_tensor(net, i++, name, EK_ROLE_BIAS, true, bias);
    return i;
}

/* Tensors lie in the block in the table's order and do not overlap. */
static void expect_disjoint(const ek_net *net)
{
    const float *end = net->values;
    for (int i = 0; i < net->tensor_count; i++) {
        const ek_tensor *t = &net->tensors[i];
        if (!t->data)
            continue;
        assert_true(t->data >= end);
        end = t->data + t->count;
    }
    assert_true(end <= net->values + net->value_count);
}

static void test_tensors_of_bn_lenet(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    assert_int_equal(ek_net_tensor_count(net), 30);
    int i = expect_map(net, 0, 0, "6,1,5,5", "6");
    i = expect_batchnorm(net, i, 1, "6", true);
    i = expect_map(net, i, 4, "16,6,5,5", "16");
    i = expect_batchnorm(net, i, 5, "16", true);
    i = expect_map(net, i, 9, "120,256", "120");
    i = expect_batchnorm(net, i, 10, "120", true);
    i = expect_map(net, i, 12, "84,120", "84");
    i = expect_batchnorm(net, i, 13, "84", true);
    i = expect_map(net, i, 15, "10,84", "10");
    assert_int_equal(i, 30);
    expect_disjoint(net);
    const ek_layer *l = net->layers;
    assert_true(l[0].weight == 0 && l[0].bias == 1 && l[0].moving_mean == -1 && l[0].num_batches == -1);
    assert_true(l[1].weight == 2 && l[1].bias == 3 && l[1].moving_mean == 4 && l[1].moving_var == 5);
    assert_true(l[1].num_batches == 6 && l[2].weight == -1 && l[15].weight == 28 && l[15].bias == 29);
    assert_null(ek_net_tensor(net, 30));
    assert_null(ek_net_tensor(net, -1));
    assert_null(ek_net_tensor_by_name(net, "2.weight"));
    assert_string_equal(ek_error(), "no tensor '2.weight' in the net, whose tensors run from 0.weight to 15.bias");
    assert_null(ek_net_tensor_by_name(net, NULL));
    ek_net_free(net);
}

static void test_tensors_of_options(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 2 3 4\n"
                               "conv2d 3 bias=no\n"
                               "batchnorm affine=no\n"
                               "batchnorm tracking=no\n"
                               "batchnorm hold_affine=yes\n"
                               "batchnorm affine=no tracking=no\n"
                               "layernorm\n"
                               "layernorm affine=no\n"
                               "flatten\n"
                               "layernorm\n"
                               "linear 5 bias=no\n"
                               "batchnorm scale=no tracking=no\n"
                               "batchnorm center=no tracking=no\n",
                               NULL);
    assert_non_null(net);
    expect_tensor(net, 0, "0.weight", EK_ROLE_WEIGHT, true, "3,2,1,1");
    expect_tensor(net, 1, "1.running_mean", EK_ROLE_MOVING_MEAN, false, "3");
    expect_tensor(net, 2, "1.running_var", EK_ROLE_MOVING_VAR, false, "3");
    expect_tensor(net, 3, "1.num_batches_tracked", EK_ROLE_NUM_BATCHES, false, "");
    expect_tensor(net, 4, "2.weight", EK_ROLE_GAMMA, true, "3");
    expect_tensor(net, 5, "2.bias", EK_ROLE_BETA, true, "3");
    expect_batchnorm(net, 6, 3, "3", false);
    expect_tensor(net, 11, "5.weight", EK_ROLE_GAMMA, true, "3,3,4");
    expect_tensor(net, 12, "5.bias", EK_ROLE_BETA, true, "3,3,4");
    expect_tensor(net, 13, "8.weight", EK_ROLE_GAMMA, true, "36");
    expect_tensor(net, 14, "8.bias", EK_ROLE_BETA, true, "36");
    expect_tensor(net, 15, "9.weight", EK_ROLE_WEIGHT, true, "5,36");
    expect_tensor(net, 16, "10.bias", EK_ROLE_BETA, true, "5");
    expect_tensor(net, 17, "11.weight", EK_ROLE_GAMMA, true, "5");
    assert_int_equal(ek_net_tensor_count(net), 18);
    expect_disjoint(net);
    ek_net_free(net);
    /* A net without any tensor is one, too. */
    net = ek_net_parse("input 1 2 2\nsigmoid\n", NULL);
    assert_int_equal(ek_net_tensor_count(net), 0);
    assert_int_equal(ek_net_finish(net), EK_OK);
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 0), EK_OK);
    assert_null(ek_net_tensor_by_name(net, "0.weight"));
    ek_net_free(net);
}

/* ---- Initialisation ----------------------------------------------------------------------------------------- */

/* Of bn-lenet by Xavier with seed 0, computed by a separate program in Python. */
static const uint64_t bn_lenet_hash = 0x7798cf6275c4250cu;

/* FNV-1a over the bits of every float, so that a pinned number stands for all of them. */
static uint64_t hash_values(ek_net *net)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t e = 0; t->data && e < t->count; e++) {
            uint32_t bits;
            memcpy(&bits, &t->data[e], sizeof bits);
            for (int b = 0; b < 4; b++)
                hash = (hash ^ (bits >> 8 * b & 0xff)) * 0x100000001b3u;
        }
    }
    return hash;
}

/* Uniform in [-bound, bound): all inside, mean and variance within five standard errors, the ends reached. */
static void expect_uniform(ek_net *net, const char *name, double bound)
{
    const ek_tensor *t = ek_net_tensor_by_name(net, name);
    assert_non_null(t);
    double sum = 0, squares = 0, most = 0, n = (double)t->count;
    for (int64_t i = 0; i < t->count; i++) {
        double v = (double)t->data[i];
        sum += v;
        squares += v * v;
        most = fmax(most, fabs(v));
    }
    assert_true(most <= bound * (1 + 1e-7));
    assert_true(most >= bound * (1 - 12 / n)); /* fails once in e^12 */
    assert_true(fabs(sum / n) <= 5 * bound / sqrt(3 * n));
    assert_true(fabs(squares / n - bound * bound / 3) <= 5 * bound * bound * sqrt(4.0 / 45 / n));
}

static void test_init(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 0), EK_OK);
    assert_int_equal(hash_values(net), bn_lenet_hash);
    expect_uniform(net, "0.weight", sqrt(6.0 / (25 + 6 * 25)));
    expect_uniform(net, "4.weight", sqrt(6.0 / (6 * 25 + 16 * 25)));
    expect_uniform(net, "9.weight", sqrt(6.0 / (256 + 120)));
    expect_uniform(net, "15.weight", sqrt(6.0 / (84 + 10)));
    expect_uniform(net, "4.bias", 1 / sqrt(6 * 25));
    expect_uniform(net, "9.bias", 1 / sqrt(256));

    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 1), EK_OK);
    uint64_t one = hash_values(net);
    assert_int_not_equal(one, bn_lenet_hash);
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, (uint64_t)1 << 32), EK_OK);
    assert_int_not_equal(hash_values(net), one);

    assert_int_equal(ek_net_init(net, EK_INIT_PYTORCH, 0), EK_OK);
    expect_uniform(net, "0.weight", 1 / sqrt(25));
    expect_uniform(net, "9.weight", 1 / sqrt(256));
    expect_uniform(net, "9.bias", 1 / sqrt(256));

    /* Everything is set, whatever was there. */
    for (int i = 0; i < net->tensor_count; i++) {
        for (int64_t e = 0; net->tensors[i].data && e < net->tensors[i].count; e++)
            net->tensors[i].data[e] = NAN;
        if (net->tensors[i].counter)
            *net->tensors[i].counter = 7;
    }
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 0), EK_OK);
    assert_int_equal(hash_values(net), bn_lenet_hash);
    assert_int_equal(*ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter, 0);
    assert_int_equal(ek_net_init(net, (ek_init)3, 0), EK_ERR_ARGUMENT);
    ek_net_free(net);
}

/* ---- Notes, memory ------------------------------------------------------------------------------------------ */

static void test_notes(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(1, 1, 1);
    assert_null(ek_net_note(net, "labels"));
    assert_int_equal(ek_net_set_note(net, "labels", "a b"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "data.digest", ""), EK_OK);
    assert_int_equal(ek_net_set_note(net, "third", "3"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "labels", ek_net_note(net, "labels") + 2), EK_OK);
    assert_string_equal(ek_net_note(net, "labels"), "b");
    assert_string_equal(ek_net_note(net, "data.digest"), "");
    assert_int_equal(ek_net_set_note(net, "labels", NULL), EK_OK);
    assert_int_equal(ek_net_set_note(net, "never", NULL), EK_OK);
    assert_null(ek_net_note(net, "labels"));
    assert_string_equal(ek_net_note(net, "third"), "3");
    assert_int_equal(net->note_count, 2);
    assert_int_equal(ek_net_set_note(net, "", "x"), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_set_note(net, NULL, "x"), EK_ERR_ARGUMENT);
    assert_null(ek_net_note(net, NULL));
    ek_net_free(net);
}

static ek_status build_and_use(void)
{
    ek_net *net = ek_net_builtin("bn-lenet");
    ek_status status = net ? EK_OK : EK_ERR_MEMORY;
    for (int i = 0; i < 20 && !status; i++) /* beyond what the first array of layers holds */
        status = ek_net_sigmoid(net);
    if (!status)
        status = ek_net_set_note(net, "key", "value");
    if (!status)
        status = ek_net_set_note(net, "key", "other");
    if (!status)
        status = ek_net_init(net, EK_INIT_XAVIER, 0);
    char *text = status ? NULL : ek_net_text(net);
    if (!status && !text)
        status = EK_ERR_MEMORY;
    free(text);
    ek_net_free(net);
    return status;
}

/* Each allocation fails once: a status, a message, and (under a leak checker) nothing left. */
static void test_no_memory(void **state)
{
    (void)state;
    ek_memory_fail_at(0);
    assert_int_equal(build_and_use(), EK_OK);
    int64_t count = ek_memory_fail_at(0);
    assert_true(count > 40);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(build_and_use(), EK_ERR_MEMORY);
        assert_non_null(strstr(ek_error(), "out of memory"));
    }
    ek_memory_fail_at(0);
    /* A net that had no memory for its tensors can have them later. */
    for (int64_t n = 1; n <= 4; n++) {
        ek_net *net = ek_net_builtin("lenet");
        ek_memory_fail_at(n);
        assert_int_equal(ek_net_finish(net), EK_ERR_MEMORY);
        assert_int_equal(ek_net_finish(net), EK_OK);
        assert_int_equal(ek_net_tensor_count(net), 10);
        ek_net_free(net);
    }
    ek_memory_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_fresh_net),
        cmocka_unit_test(test_built_by_calls),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_tensors_of_bn_lenet),
        cmocka_unit_test(test_tensors_of_options),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
