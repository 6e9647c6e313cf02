/* SPDX-License-Identifier: MIT
 * Nets whose batch norms are folded: the built-in ones and random ones give what they gave, by the scalar reference in
 * double; what cannot be folded stays and is told. */
#include "base/memory.h"
#include "net/normalize.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_net.h"
#include "reference_net.h"

enum { SAMPLES = 3 };

static double random_value(uint64_t i)
{
    uint32_t bits[4];
    ek_random4(7, EK_RANDOM_INIT, 99, i, bits);
    return (double)ek_random_unit(bits[0]) - 0.3;
}

/* The largest difference of the two nets' outputs, in units of their largest. */
static double deviation(const ek_net *net, const ek_net *folded)
{
    const int64_t in = SAMPLES * ek_dims_count(net->input), out = SAMPLES * ek_dims_count(ek_net_output(net));
    double *x = reference_doubles(in), most = 0, largest = 1;
    for (int64_t i = 0; i < in; i++)
        x[i] = random_value((uint64_t)i);
    reference_net a = reference_net_new(net, SAMPLES), b = reference_net_new(folded, SAMPLES);
    const double *ya = reference_forward(&a, EK_PREDICTION, x), *yb = reference_forward(&b, EK_PREDICTION, x);
    for (int64_t i = 0; i < out; i++) {
        const double d = fabs(ya[i] - yb[i]);
        most = d > most || isnan(d) ? d : most;
        largest = fmax(largest, fabs(ya[i]));
    }
    reference_net_free(&a);
    reference_net_free(&b);
    free(x);
    return most / largest;
}

static int count_kind(const ek_net *net, ek_layer_kind kind)
{
    int count = 0;
    for (int i = 0; i < net->layer_count; i++)
        count += net->layers[i].kind == kind;
    return count;
}

static ek_net *folded_of(ek_net *net, ek_fold *folds)
{
    ek_net *folded;
    if (ek_net_fold(&folded, net, folds))
        fail_msg("%s", ek_error());
    return folded;
}

static void check_deviation(const char *what, ek_net *net)
{
    ek_net *folded = folded_of(net, NULL);
    const double d = deviation(net, folded);
    if (!(d <= 1e-5)) {
        char *text = ek_net_text(net);
        fail_msg("%s: outputs differ by %g\n%s", what, d, text);
    }
    ek_net_free(folded);
}

static void test_builtins(void **state)
{
    (void)state;
    for (int i = 0; ek_net_builtin_name(i); i++) {
        const char *name = ek_net_builtin_name(i);
        if (strstr(name, "-1202")) /* 19 million weights, and nothing that resnet-110 has not */
            continue;
        ek_net *net = ek_net_builtin(name);
        const int norms = count_kind(net, EK_LAYER_BATCHNORM);
        ek_fold *folds = calloc((size_t)net->layer_count, sizeof *folds);
        ek_net *folded = folded_of(net, folds);
        int done = 0;
        for (int l = 0; l < net->layer_count; l++) {
            done += folds[l].outcome == EK_FOLD_DONE;
            assert_true((net->layers[l].kind == EK_LAYER_BATCHNORM) == (folds[l].outcome != EK_FOLD_NO_NORM));
        }
        assert_int_equal(count_kind(folded, EK_LAYER_BATCHNORM), norms - done);
        assert_int_equal(folded->layer_count, net->layer_count - done);
        if (strncmp(name, "preact", 6) != 0)
            assert_int_equal(done, norms);
        ek_net_free(folded);
        /* The reference is slow: of nets of one kind the smallest. */
        if (!strstr(name, "-18") && !strstr(name, "-32") && !strstr(name, "-44") && !strstr(name, "-56") &&
            !strstr(name, "-110") && !strstr(name, "-1202")) {
            ek_net *small =
                strncmp(name, "resnet", 6) == 0 ? ek_net_builtin_for(name, 3, 8, 8, 10) : ek_net_builtin(name);
            assert_int_equal(ek_net_init(small, EK_INIT_XAVIER, 1), EK_OK);
            random_net_values(small, (uint64_t)i);
            check_deviation(name, small);
            ek_net_free(small);
        }
        free(folds);
        ek_net_free(net);
    }
}

static void test_random(void **state)
{
    (void)state;
    const int nets = getenv("EVENKEEL_TEST_QUICK") ? 20 : getenv("EVENKEEL_TEST_ALL") ? 200 : 100;
    for (int i = 0; i < nets; i++) {
        char what[32];
        snprintf(what, sizeof what, "random net %d", i);
        ek_net *net = random_net((uint64_t)i, 0);
        check_deviation(what, net);
        ek_net_free(net);
    }
}

/* Every way a norm can stand, and what becomes of it. */
static void test_outcomes(void **state)
{
    (void)state;
    static const char text[] = "input 2 6 6\n"
                               "batchnorm\n"                                /* 0: nothing before it */
                               "conv2d 4 kernel=3 bias=no\n"                /* 1 */
                               "dropout\n"                                  /* 2 */
                               "batchnorm normalize=deviation\n"            /* 3: into 1 */
                               "batchnorm affine=no\n"                      /* 4: into 1 */
                               "residual {\nbatchnorm\nconv2d 4\n"          /* 5, 6: 1 is read twice, 7 */
                               "batchnorm tracking=no\nbatchnorm\n}\n"      /* 8: untracked, 9: behind a norm */
                               "relu\nbatchnorm\n"                          /* 10, 11: behind no map */
                               "concat {\nbranch {\nconv2d 2 kernel=4\n}\n" /* 12, 13 */
                               "branch {\nconv2d 3 kernel=4 groups=1\n"     /* 14 */
                               "batchnorm normalize=mean\n}\n}\nflatten\n"  /* 15: into 14, 16 */
                               "batchnorm\n"                                /* 17: behind a concat */
                               "linear 3\nflatten\nbatchnorm eps=0\n";      /* 18, 19, 20: into 18 */
    static const ek_fold expected[21] = {
        [0] = {EK_FOLD_NO_MAP, -1},  [3] = {EK_FOLD_DONE, 1},       [4] = {EK_FOLD_DONE, 1},
        [6] = {EK_FOLD_SHARED, 1},   [8] = {EK_FOLD_UNTRACKED, -1}, [9] = {EK_FOLD_NO_MAP, -1},
        [11] = {EK_FOLD_NO_MAP, -1}, [15] = {EK_FOLD_DONE, 14},     [17] = {EK_FOLD_NO_MAP, -1},
        [20] = {EK_FOLD_DONE, 18},
    };
    ek_fold folds[21];
    ek_net *net = ek_net_parse(text, "text");
    if (!net)
        fail_msg("%s", ek_error());
    assert_int_equal(net->layer_count, 21);
    random_net_values(net, 5);
    ek_net *folded = folded_of(net, folds);
    for (int i = 0; i < 21; i++) {
        assert_int_equal(folds[i].outcome, expected[i].outcome);
        if (expected[i].outcome != EK_FOLD_NO_NORM)
            assert_int_equal(folds[i].into, expected[i].into);
    }
    assert_true(deviation(net, folded) <= 1e-5);
    /* Folding again finds nothing, and copies everything. */
    ek_net *again = folded_of(folded, NULL);
    char *one = ek_net_text(folded), *two = ek_net_text(again);
    assert_string_equal(one, two);
    assert_true(strstr(one, "conv2d 4 kernel=3\ndropout\nresidual") != NULL);
    assert_int_equal(folded->value_count, again->value_count);
    assert_memory_equal(folded->values, again->values, folded->value_count * sizeof(float));
    for (int i = 0; i < folded->tensor_count; i++)
        if (folded->tensors[i].counter)
            assert_true(*folded->tensors[i].counter > 0 && *folded->tensors[i].counter == *again->tensors[i].counter);
    free(one);
    free(two);
    ek_net_free(again);
    ek_net_free(folded);
    ek_net_free(net);
}

static void evaluate(ek_net *net, const ek_dataset *data, bool unfolded, float *logits)
{
    ek_metrics metrics;
    const ek_eval_options options = {.threads = 1, .logits = logits, .unfolded = unfolded};
    if (ek_evaluate(net, data, &options, &metrics))
        fail_msg("%s", ek_error());
}

/* Unfolded evaluation computes batch norms by themselves: it differs from the folded net's by rounding, and by what
 * folding really does; evaluation by itself is the folded net's, bit for bit. */
static void test_unfolded(void **state)
{
    (void)state;
    enum { COUNT = 20, CLASSES = RANDOM_NET_CLASSES };
    int differ = 0;
    for (int i = 0; i < 10; i++) {
        ek_net *net = random_net((uint64_t)i, RANDOM_NET_TRACKED), *folded = folded_of(net, NULL);
        const int64_t image = ek_dims_count(net->input);
        uint8_t *pixels = malloc((size_t)(COUNT * image)), labels[COUNT] = {0};
        for (int64_t j = 0; j < COUNT * image; j++)
            pixels[j] = (uint8_t)(255 * (0.3 + random_value((uint64_t)j)));
        ek_dataset *data;
        const ek_dims in = net->input;
        assert_int_equal(ek_dataset_from_memory(&data, COUNT, in.c, in.h, in.w, pixels, labels, 1), EK_OK);
        float a[COUNT * CLASSES], b[COUNT * CLASSES], c[COUNT * CLASSES], largest = 1;
        evaluate(net, data, true, a);
        evaluate(folded, data, false, b);
        evaluate(folded, data, true, c);
        for (int j = 0; j < COUNT * CLASSES; j++)
            largest = fmaxf(largest, fabsf(a[j]));
        for (int j = 0; j < COUNT * CLASSES; j++)
            assert_true(fabsf(a[j] - b[j]) <= 1e-5f * largest);
        differ += memcmp(a, b, sizeof a) != 0;
        if (count_kind(folded, EK_LAYER_BATCHNORM) == 0)
            assert_memory_equal(b, c, sizeof b);
        free(pixels);
        ek_dataset_free(data);
        ek_net_free(folded);
        ek_net_free(net);
    }
    assert_true(differ > 2);
}

static void test_notes(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    const float mean = 0.25f, std = 0.5f;
    assert_int_equal(ek_net_set_normalization(net, 1, &mean, &std), EK_OK);
    assert_int_equal(ek_net_set_note(net, "labels", "a\nb"), EK_OK);
    ek_net *folded = folded_of(net, NULL);
    bool normalized = false;
    float m = 0, s = 0;
    assert_int_equal(ek_net_normalization(folded, &normalized, &m, &s), EK_OK);
    assert_true(normalized && m == mean && s == std);
    for (int i = 0; ek_net_note_key(net, i); i++)
        assert_string_equal(ek_net_note(net, ek_net_note_key(net, i)), ek_net_note(folded, ek_net_note_key(net, i)));
    ek_net_free(folded);
    ek_net_free(net);
}

static void test_failures(void **state)
{
    (void)state;
    ek_net *folded = (ek_net *)state, *net = ek_net_builtin("bn-lenet");
    assert_int_equal(ek_net_fold(NULL, net, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_fold(&folded, NULL, NULL), EK_ERR_ARGUMENT);
    assert_null(folded);
    const ek_tensor *var = ek_net_tensor_by_name(net, "5.running_var");
    const ek_tensor *gamma = ek_net_tensor_by_name(net, "5.weight");
    var->data[3] = 0;
    gamma->data[3] = 3e38f;
    assert_int_equal(ek_net_fold(&folded, net, NULL), EK_ERR_NUMERIC);
    assert_null(folded);
    if (!strstr(ek_error(), "layer 5 (batchnorm)") || !strstr(ek_error(), "channel 3 "))
        fail_msg("%s", ek_error());
    gamma->data[3] = 1;
    for (int64_t n = 1;; n++) {
        ek_memory_fail_at(n);
        const ek_status status = ek_net_fold(&folded, net, NULL);
        ek_memory_fail_at(0);
        if (!status)
            break;
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_null(folded);
        assert_true(n < 1000);
    }
    ek_net_free(folded);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtins), cmocka_unit_test(test_random), cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_unfolded), cmocka_unit_test(test_notes),  cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
