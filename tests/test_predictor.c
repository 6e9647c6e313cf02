/* SPDX-License-Identifier: MIT
 * Tests of ek_predictor: the outputs of ek_predict to the last bit on built-in and random nets, for one image and many;
 * many threads on one predictor; no allocation once it is made; what goes wrong. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "evenkeel.h"
#include "gradient_nets.h"
#include "net/net.h"
#include "random_net.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

enum { NETS = (int)(sizeof nets / sizeof *nets) };

static uint64_t drawn;

static float unit(void)
{
    uint32_t bits[4];
    ek_random4(7, EK_RANDOM_INIT, 78, drawn++, bits);
    return ek_random_unit(bits[0]);
}

/* Everything a net has is random: moving statistics and what norms scale by, too. */
static void fill_net(ek_net *net)
{
    assert_ok(ek_net_init(net, EK_INIT_XAVIER, 3));
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && t->role != EK_ROLE_WEIGHT && j < t->count; j++)
            t->data[j] = t->role == EK_ROLE_MOVING_VAR || t->role == EK_ROLE_GAMMA ? 0.5f + unit() : unit() - 0.5f;
    }
}

static float *new_images(const ek_net *net, int64_t n)
{
    const int64_t count = n * ek_dims_count(net->input);
    float *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = 2 * unit() - 1;
    return x;
}

static int64_t out_of(const ek_net *net)
{
    return ek_dims_count(ek_net_output(net));
}

static float *new_outputs(const ek_net *net, int64_t n)
{
    float *y = malloc((size_t)(n * out_of(net)) * sizeof *y);
    assert_non_null(y);
    for (int64_t i = 0; i < n * out_of(net); i++)
        y[i] = 12345;
    return y;
}

/* The same bits, but for zeros' signs and what kind of NaN. */
static bool same(float a, float b)
{
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y || (a == 0 && b == 0) || (isnan(a) && isnan(b));
}

static void expect_same(const char *what, const ek_net *net, int64_t n, const float *want, const float *got)
{
    for (int64_t i = 0; i < n * out_of(net); i++)
        if (!same(want[i], got[i]))
            fail_msg("%s: image %lld of %lld, output %lld: %.9g in place of %.9g", what, (long long)(i / out_of(net)),
                     (long long)n, (long long)(i % out_of(net)), (double)got[i], (double)want[i]);
}

/* One call for each number of images, and the images one by one. */
static void check_images(const char *what, ek_net *net, const ek_predictor *p, int64_t n, const float *x)
{
    const int64_t in = ek_dims_count(net->input);
    float *want = new_outputs(net, n), *got = new_outputs(net, n);
    assert_ok(ek_predict(net, n, x, 1, want));
    assert_ok(ek_predictor_run(p, n, x, got, NULL));
    expect_same(what, net, n, want, got);
    for (int64_t i = 0; i < n && i < 3; i++) {
        assert_ok(ek_predictor_run(p, 1, x + i * in, got, NULL));
        expect_same(what, net, 1, want + i * out_of(net), got);
    }
    free(want);
    free(got);
}

/* Nothing of a call stays in the workspace for the next one: after images that are nothing but NaN, or infinite, the
 * others have the outputs that they had before. */
static void check_after(const char *what, ek_net *net, const ek_predictor *p, int64_t n, const float *x, float value)
{
    const int64_t in = ek_dims_count(net->input), most = n < 16 ? 16 : n;
    float *broken = malloc((size_t)(most * in) * sizeof *broken), *want = new_outputs(net, n),
          *got = new_outputs(net, most);
    assert_non_null(broken);
    for (int64_t i = 0; i < most * in; i++)
        broken[i] = value;
    assert_ok(ek_predictor_run(p, n, x, want, NULL));
    for (int64_t count = most; count > 0; count -= most - 1) {
        assert_ok(ek_predictor_run(p, count, broken, got, NULL));
        assert_ok(ek_predictor_run(p, n, x, got, NULL));
        expect_same(what, net, n, want, got);
        assert_ok(ek_predictor_run(p, count, broken, got, NULL));
        assert_ok(ek_predictor_run(p, 1, x, got, NULL));
        expect_same(what, net, 1, want, got);
    }
    free(broken);
    free(want);
    free(got);
}

static void check_net(const char *what, ek_net *net, int64_t n)
{
    ek_predictor *p = NULL;
    fill_net(net);
    float *x = new_images(net, n);
    if (ek_predictor_new(&p, net, &(ek_predictor_options){.threads = 1}))
        fail_msg("%s: %s", what, ek_error());
    check_images(what, net, p, n, x);
    check_after(what, net, p, n, x, NAN);
    check_after(what, net, p, n, x, -INFINITY);
    x[ek_dims_count(net->input) / 2] = NAN;
    x[ek_dims_count(net->input) / 3] = -INFINITY;
    check_images(what, net, p, 1, x);
    ek_predictor_free(p);
    free(x);
}

/* ---- The same bits ------------------------------------------------------------------------------------------ */

static void test_nets(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        ek_net *net = ek_net_parse(nets[i], NULL);
        assert_non_null(net);
        if (!strstr(nets[i], "tracking=no"))
            check_net(nets[i], net, 18 + i % 14);
        ek_net_free(net);
    }
}

static void test_builtins(void **state)
{
    (void)state;
    const bool quick = getenv("EVENKEEL_TEST_QUICK") != NULL;
    for (int i = 0; ek_net_builtin_name(i); i++) {
        const char *name = ek_net_builtin_name(i);
        ek_net *net = ek_net_builtin(name);
        assert_non_null(net);
        if (net->layer_count < (quick ? 30 : 200))
            check_net(name, net, net->layer_count < 30 ? 19 : 2);
        ek_net_free(net);
    }
}

static void test_random_nets(void **state)
{
    (void)state;
    const int count = getenv("EVENKEEL_TEST_QUICK") ? 25 : 300;
    for (int i = 0; i < count; i++) {
        ek_net *net = random_net((uint64_t)i, RANDOM_NET_TRACKED);
        char *text = ek_net_text(net);
        check_net(text, net, 1 + i % 20);
        free(text);
        ek_net_free(net);
    }
}

/* Layers that single samples compute in ways of their own: grouped and depthwise convolutions, layouts that meet,
 * values that several read, features of an image. */
static void test_shapes(void **state)
{
    (void)state;
    static const char *const more[] = {
        "input 3 9 7\nconv2d 12 kernel=3 padding=2 groups=3\nbatchnorm\nrelu\nconv2d 12 kernel=3 groups=12 padding=1\n"
        "batchnorm\ngelu\nconv2d 6 kernel=2 stride=2 groups=2 dilation=2\nflatten\nlinear 5\nlayernorm\n",
        "input 40 5 5\nconv2d 80 groups=40 kernel=3\nrelu\nmaxpool 3 stride=1 padding=1\nconv2d 40 groups=8\n"
        "globalavgpool\nflatten\nlinear 33\ntanh\nlinear 3\n",
        "input 2 7 7\nconcat {\nbranch {\n}\nbranch {\nconv2d 5 kernel=3 padding=1\nrelu\n}\nbranch {\n"
        "maxpool 3 stride=1 padding=1\n}\n}\nconv2d 20 kernel=3 padding=1\nresidual {\nlayernorm\n"
        "conv2d 20 kernel=3 padding=1\n}\nleaky_relu negative_slope=0.1\nconv2d 3 kernel=7\nflatten\n",
        "input 2 4 4\nconcat {\nbranch {\nconv2d 3 kernel=3\nflatten\n}\nbranch {\nflatten\nlinear 7\n}\n"
        "branch {\nflatten\n}\n}\nbatchnorm\nsigmoid\nconcat {\nbranch {\n}\nbranch {\nlinear 4\n}\n}\nlinear 6\n",
        "input 3 12 10\nconv2d 18 kernel=3 padding=1\nrelu\nresidual shortcut=pad stride=2 {\n"
        "conv2d 36 kernel=3 padding=1 stride=2\nbatchnorm\nrelu\nconv2d 36 kernel=3 padding=1\nbatchnorm\n}\nrelu\n"
        "conv2d 36 kernel=3 padding=1\nmaxpool 3 stride=2 padding=1\nlayernorm\nflatten\nlinear 4\n",
        /* the first layers by columns in the lanes, and what reads them: padded, pooled, copied */
        "input 1 11 17\nconv2d 3 kernel=3\nsigmoid\nconv2d 5 kernel=2 padding=1\nrelu\nconv2d 4 kernel=3\n"
        "batchnorm\ntanh\nflatten\nlinear 4\n",
        "input 2 14 22\nconv2d 6 kernel=5 padding=2\nbatchnorm\nrelu\nmaxpool 2\n"
        "conv2d 7 kernel=3 padding=3 stride=2x1\nleaky_relu negative_slope=0.1\navgpool 2\nconv2d 20 kernel=3\n"
        "flatten\nlinear 4\n",
        "input 1 12 12\nconv2d 2 kernel=3\ngelu\nflatten\nlinear 30\nrelu\nlinear 4\n",
        "input 1 12 12\nconv2d 2 kernel=3\nsigmoid\n",
        "input 1 12 12\nconv2d 2 kernel=3 padding=1\nresidual {\nconv2d 2 kernel=3 padding=1\n}\nrelu\nmaxpool 3\n",
        "input 1 3 3\nflatten\nrelu\nresidual {\nlinear 9\nbatchnorm\n}\nlayernorm\nlinear 150\n",
        "input 3 6 6\nmaxpool 2\nconv2d 30 kernel=2\n", /* ends in images */
    };
    for (int i = 0; i < (int)(sizeof more / sizeof *more); i++) {
        ek_net *net = ek_net_parse(more[i], "net");
        if (!net)
            fail_msg("%s%s", more[i], ek_error());
        check_net(more[i], net, 5);
        ek_net_free(net);
    }
}

/* Bytes with the net's normalisation, probabilities, and the predictor after its net is gone. */
static void test_bytes(void **state)
{
    (void)state;
    enum { N = 21, SIZE = 2 * 6 * 5 };
    ek_net *net = ek_net_parse("input 2 6 5\nconv2d 5 kernel=3\nsigmoid\nflatten\nlayernorm\nlinear 7\n", NULL);
    const float mean[] = {0.3f, 0.6f}, std[] = {0.2f, 0.7f};
    uint8_t pixels[N * SIZE];
    float x[N * SIZE], want[N * 7], got[N * 7], p[N * 7];
    for (int i = 0; i < N * SIZE; i++) {
        pixels[i] = (uint8_t)(256 * unit());
        x[i] = (float)pixels[i] / 255.0f;
    }
    fill_net(net);
    assert_ok(ek_net_set_normalization(net, 2, mean, std));
    assert_ok(ek_predict(net, N, x, 1, want));
    ek_predictor *predictor;
    assert_ok(ek_predictor_new(&predictor, net, NULL));
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        for (int64_t j = 0; j < ek_net_tensor(net, i)->count; j++)
            ek_net_tensor(net, i)->data[j] = NAN;
    ek_net_free(net);
    int c, h, w;
    int64_t outputs, bytes;
    ek_predictor_shape(predictor, &c, &h, &w, &outputs, &bytes);
    ek_predictor_shape(predictor, NULL, NULL, NULL, NULL, NULL);
    assert_true(c == 2 && h == 6 && w == 5 && outputs == 7 && bytes > 1000);
    for (int n = 1; n <= N; n += 10) {
        assert_ok(ek_predictor_run_bytes(predictor, n, pixels, got, p));
        assert_memory_equal(got, want, (size_t)n * 7 * sizeof(float));
        for (int i = 0; i < n; i++) {
            double sum = 0, largest = -INFINITY;
            for (int j = 0; j < 7; j++)
                largest = fmax(largest, (double)got[i * 7 + j]);
            for (int j = 0; j < 7; j++)
                sum += exp((double)got[i * 7 + j] - largest);
            for (int j = 0; j < 7; j++)
                assert_true(fabs(exp((double)got[i * 7 + j] - largest) / sum - (double)p[i * 7 + j]) < 1e-6);
        }
        float alone[N * 7];
        assert_ok(ek_predictor_run(predictor, n, x, NULL, alone));
        assert_memory_equal(alone, p, (size_t)n * 7 * sizeof(float));
    }
    ek_predictor_free(predictor);
}

/* ---- Threads and memory ------------------------------------------------------------------------------------- */

typedef struct caller {
    const ek_predictor *predictor;
    const ek_net *net;
    const float *x, *want;
    int number, wrong;
} caller;

enum { CALLERS = 6, CALLS = 40, MOST = 40 };

static void *call(void *argument)
{
    caller *c = argument;
    const int64_t in = ek_dims_count(c->net->input), out = out_of(c->net);
    float *got = malloc((size_t)(MOST * out) * sizeof *got);
    for (int i = 0; i < CALLS; i++) {
        const int n = 1 + (i * 7 + c->number * 5) % 3 * (i % 17), from = (i + c->number) % (MOST - n);
        c->wrong += ek_predictor_run(c->predictor, n, c->x + from * in, got, NULL) != EK_OK;
        for (int64_t j = 0; j < n * out; j++)
            c->wrong += !same(got[j], c->want[from * out + j]);
    }
    free(got);
    return NULL;
}

/* More callers than workspaces, fewer, one of each: the same bits, and no allocation. */
static void test_threads(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    fill_net(net);
    float *x = new_images(net, MOST), *want = new_outputs(net, MOST);
    assert_ok(ek_predict(net, MOST, x, 2, want));
    for (int slots = 1; slots <= 8; slots += slots < 2 ? 1 : 6) {
        ek_predictor *p;
        pthread_t threads[CALLERS];
        caller callers[CALLERS];
        assert_ok(ek_predictor_new(&p, net, &(ek_predictor_options){.threads = slots}));
        ek_memory_fail_at(0);
        for (int i = 0; i < CALLERS; i++) {
            callers[i] = (caller){.predictor = p, .net = net, .x = x, .want = want, .number = i};
            assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
        }
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(callers[i].wrong, 0);
        }
        assert_int_equal(ek_memory_fail_at(0), 0);
        ek_predictor_free(p);
    }
    free(x);
    free(want);
    ek_net_free(net);
}

/* Each allocation of a predictor in its turn. */
static void test_out_of_memory(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 2 6 6\nconv2d 16 kernel=3 padding=1\nbatchnorm\nrelu\nresidual {\nlayernorm\n"
                               "conv2d 16 kernel=3 padding=1\n}\nrelu\nflatten\nlinear 3\n",
                               NULL);
    fill_net(net);
    assert_ok(ek_net_set_normalization(net, 2, (float[]){0, 0}, (float[]){1, 1}));
    ek_predictor *p = NULL;
    ek_memory_fail_at(0);
    assert_ok(ek_predictor_new(&p, net, NULL));
    ek_predictor_free(p);
    const int64_t count = ek_memory_fail_at(0);
    assert_true(count > 10);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(ek_predictor_new(&p, net, NULL), EK_ERR_MEMORY);
        assert_null(p);
    }
    ek_memory_fail_at(0);
    ek_net_free(net);
}

/* ---- What is refused ---------------------------------------------------------------------------------------- */

static void expect_error(ek_status got, ek_status want, const char *text)
{
    assert_int_equal(got, want);
    if (!strstr(ek_error(), text))
        fail_msg("'%s' does not say '%s'", ek_error(), text);
}

static void test_errors(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 1 4 4\nconv2d 2 kernel=3\nbatchnorm tracking=no\nflatten\nlinear 3\n", NULL);
    ek_predictor *p = (void *)1;
    expect_error(ek_predictor_new(&p, net, NULL), EK_ERR_UNSUPPORTED, "layer 1 (batchnorm) has no moving statistics");
    assert_null(p);
    ek_net_free(net);
    net = ek_net_parse("input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 3\n", NULL);
    fill_net(net);
    expect_error(ek_predictor_new(&p, net, &(ek_predictor_options){.threads = -1}), EK_ERR_ARGUMENT, "threads (-1)");
    expect_error(ek_predictor_new(&p, NULL, NULL), EK_ERR_ARGUMENT, "NULL");
    expect_error(ek_predictor_new(NULL, net, NULL), EK_ERR_ARGUMENT, "NULL");
    ek_net_tensor_by_name(net, "3.weight")->data[5] = INFINITY;
    expect_error(ek_predictor_new(&p, net, NULL), EK_ERR_NUMERIC, "layer 3: a parameter");
    fill_net(net);
    float x[16] = {0}, y[32];
    assert_ok(ek_predictor_new(&p, net, NULL));
    expect_error(ek_predictor_run(p, 0, x, y, NULL), EK_ERR_ARGUMENT, "n (0)");
    expect_error(ek_predictor_run(p, 1, NULL, y, NULL), EK_ERR_ARGUMENT, "NULL");
    expect_error(ek_predictor_run(p, 1, x, NULL, NULL), EK_ERR_ARGUMENT, "NULL");
    expect_error(ek_predictor_run_bytes(p, 1, NULL, y, NULL), EK_ERR_ARGUMENT, "NULL");
    ek_predictor_free(p);
    ek_predictor_free(NULL);
    ek_net_free(net);
    net = ek_net_parse("input 1 4 4\nconv2d 2 kernel=3\n", NULL);
    assert_ok(ek_predictor_new(&p, net, NULL));
    expect_error(ek_predictor_run(p, 1, x, y, y), EK_ERR_SHAPE, "ends in images of 2x2x2");
    ek_predictor_free(p);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets),          cmocka_unit_test(test_builtins), cmocka_unit_test(test_random_nets),
        cmocka_unit_test(test_shapes),        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_threads),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
