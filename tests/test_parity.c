/* SPDX-License-Identifier: MIT
 * Whole trainings against PyTorch's float64 runs from the same weights in the same order: the losses of the first
 * steps and every tensor after the epoch; then predictions from PyTorch's weights.
 *
 * EVENKEEL_TEST_QUICK=1 stops each training after the first 25 steps and compares losses alone. */
#include "golden.h"

enum { FIRST_STEPS = 25, MAX_STEPS = 1000, LOGIT_IMAGES = 100, PIXELS = 28 * 28, CLASSES = 10 };

static const double loss_tolerance = 1e-5;   /* relative */
static const double tensor_tolerance = 2e-5; /* relative, 2-norm */
static const double logit_tolerance = 5e-6;  /* of the largest; from the same float32 weights */

typedef struct recorder {
    double losses[MAX_STEPS];
    int64_t steps, stop_after, samples;
} recorder;

static int record(void *user, const ek_fit_event *event)
{
    recorder *r = user;
    if (event->kind != EK_EVENT_STEP)
        return 0;
    if (r->steps < MAX_STEPS)
        r->losses[r->steps] = event->loss;
    r->steps++;
    r->samples += event->batch_size;
    return r->steps == r->stop_after;
}

static bool quick(void)
{
    const char *value = getenv("EVENKEEL_TEST_QUICK");
    return value && *value && strcmp(value, "0") != 0;
}

/* Fashion-MNIST, or a loud skip of the test at hand. */
static ek_dataset *open_data(ek_split split)
{
    ek_dataset *data = NULL;
    ek_status status = ek_dataset_open(&data, "fashion-mnist", split);
    if (status == EK_ERR_NOT_FOUND || status == EK_ERR_UNSUPPORTED) { /* the latter: a build without zlib */
        print_message("SKIP: Fashion-MNIST cannot be had here, so no training is compared with PyTorch's: %s\n",
                      ek_error());
        skip();
    }
    GOLDEN_OK(status);
    return data;
}

static void check_losses(const char *run, const recorder *r)
{
    ek_safetensors *runs = golden_open("runs.safetensors");
    const ek_safetensors_tensor *tensor = golden_tensor(runs, run, "loss");
    double *expected = golden_doubles(tensor), worst = 0, worst_of_all = 0;
    for (int64_t i = 0; i < r->steps && i < tensor->count; i++) {
        double distance = fabs(r->losses[i] / expected[i] - 1);
        if (i < FIRST_STEPS && !(distance <= loss_tolerance))
            fail_msg("%s: the loss of step %lld is %.9g, PyTorch's %.9g: off by %.2g, more than %.2g", run,
                     (long long)i + 1, r->losses[i], expected[i], distance, loss_tolerance);
        worst = i < FIRST_STEPS ? fmax(worst, distance) : worst;
        worst_of_all = fmax(worst_of_all, distance);
    }
    print_message("%s: losses off by %.1e in the first %d steps, by %.1e in %lld\n", run, worst, FIRST_STEPS,
                  worst_of_all, (long long)r->steps);
    free(expected);
    ek_safetensors_free(runs);
}

/* Every tensor of the net against the golden state; a tensor that is not in it, against the one in `others`. */
static void check_state(const char *run, ek_net *net, const ek_safetensors *state, const ek_safetensors *others)
{
    double worst = 0;
    const char *worst_name = "";
    int bad = 0, count = ek_net_tensor_count(net);
    assert_true(count > 0);
    assert_int_equal(count, (others ? others : state)->tensor_count);
    for (int i = 0; i < count; i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        const ek_safetensors_tensor *exact = ek_safetensors_find(state, tensor->name);
        exact = exact || !others ? exact : ek_safetensors_find(others, tensor->name);
        if (!exact)
            fail_msg("%s: no tensor %s in PyTorch's state", run, tensor->name);
        assert_int_equal(exact->count, tensor->count);
        if (tensor->role == EK_ROLE_NUM_BATCHES) {
            double *batches = golden_doubles(exact);
            if ((double)*tensor->counter != *batches)
                fail_msg("%s: %s is %lld, PyTorch's %g", run, tensor->name, (long long)*tensor->counter, *batches);
            free(batches);
            continue;
        }
        double distance = golden_distance(exact, tensor->data);
        if (!(distance <= tensor_tolerance)) {
            print_message("%s: %s is %.2e from PyTorch's, more than %.0e\n", run, tensor->name, distance,
                          tensor_tolerance);
            bad++;
        }
        if (!(distance <= worst)) {
            worst = distance;
            worst_name = tensor->name;
        }
    }
    print_message("%s: worst tensor %s, %.1e from PyTorch's\n", run, worst_name, worst);
    if (bad > 0)
        fail_msg("%s: %d of %d tensors are too far from PyTorch's", run, bad, count);
}

static ek_net *start(const char *name, const char *weights)
{
    ek_net *net = ek_net_builtin(name);
    if (!net)
        fail_msg("%s", ek_error());
    char path[1024];
    snprintf(path, sizeof path, "%s%s.safetensors", GOLDEN_DIR, weights);
    GOLDEN_OK(ek_net_load_weights(net, path));
    return net;
}

/* One epoch of the built-in net `name` from PyTorch's initial weights, against run "NAME.bBATCH". */
static void compare_training(const char *name, const char *weights, int batch, const char *others)
{
    char run[64], path[128];
    snprintf(run, sizeof run, "%s.b%d", name, batch);
    snprintf(path, sizeof path, "%s.safetensors", run);
    ek_dataset *data = open_data(EK_SPLIT_TRAIN);
    ek_net *net = start(name, weights);
    recorder r = {.stop_after = quick() ? FIRST_STEPS : 0};
    ek_status status =
        ek_fit(net, data, NULL,
               &(ek_fit_options){
                   .epochs = 1, .batch_size = batch, .lr = 0.1f, .no_shuffle = true, .on_event = record, .user = &r});
    if (status != (quick() ? EK_ERR_STOPPED : EK_OK))
        fail_msg("%s: %s: %s", run, ek_status_name(status), ek_error());
    assert_int_equal(r.steps, quick() ? FIRST_STEPS : (60000 + batch - 1) / batch);
    assert_int_equal(r.samples, quick() ? FIRST_STEPS * batch : 60000);
    check_losses(run, &r);
    if (!quick()) {
        ek_safetensors *state = golden_open(path), *rest = others ? golden_open(others) : NULL;
        check_state(run, net, state, rest);
        ek_safetensors_free(state);
        ek_safetensors_free(rest);
    }
    ek_net_free(net);
    ek_dataset_free(data);
}

static void test_batch_128(void **state)
{
    (void)state;
    compare_training("bn-lenet", "bn-lenet.init", 128, NULL);
}

/* No vector width divides it; its last batch has 54. */
static void test_batch_97(void **state)
{
    (void)state;
    compare_training("bn-lenet", "bn-lenet.init", 97, NULL);
}

static void test_batch_1000(void **state)
{
    (void)state;
    compare_training("bn-lenet", "bn-lenet.init", 1000, NULL);
}

/* Its moving variances are the population's; all else is bn-lenet's. */
static void test_scratch(void **state)
{
    (void)state;
    compare_training("bn-lenet-scratch", "bn-lenet.init", 128, "bn-lenet.b128.safetensors");
}

static void test_lenet(void **state)
{
    (void)state;
    compare_training("lenet", "lenet.init", 128, NULL);
}

/* Loss, right answers and outputs on the test images from PyTorch's weights after run `run`. */
static void compare_prediction(const char *name, const char *run)
{
    ek_dataset *data = open_data(EK_SPLIT_TEST);
    ek_net *net = start(name, run);
    ek_safetensors *runs = golden_open("runs.safetensors");
    double *loss = golden_doubles(golden_tensor(runs, run, "eval_loss"));
    double *correct = golden_doubles(golden_tensor(runs, run, "eval_correct"));
    ek_metrics metrics = {0};
    GOLDEN_OK(ek_evaluate(net, data, NULL, &metrics));
    print_message("%s: test loss off by %.1e, %lld right of PyTorch's %.0f\n", run, fabs(metrics.loss / *loss - 1),
                  (long long)metrics.correct, *correct);
    assert_int_equal(metrics.count, 10000);
    assert_true(fabs(metrics.loss / *loss - 1) <= 1e-6);
    assert_true(fabs((double)metrics.correct - *correct) <= 1); /* one tie may fall the other way */

    float *x = calloc((size_t)LOGIT_IMAGES * PIXELS, sizeof *x);
    float logits[LOGIT_IMAGES * CLASSES];
    assert_non_null(x);
    for (int i = 0; i < LOGIT_IMAGES; i++)
        for (int k = 0; k < PIXELS; k++)
            x[i * PIXELS + k] = (float)ek_dataset_pixels(data, i)[k] / 255;
    for (int n = 1; n < LOGIT_IMAGES; n += 33) { /* 1, 34, 67 images, then the rest */
        memset(logits, 0, sizeof logits);
        GOLDEN_OK(ek_predict(net, n, x, 0, logits));
        GOLDEN_OK(ek_predict(net, LOGIT_IMAGES - n, x + n * PIXELS, 0, logits + n * CLASSES));
        golden_compare(golden_tensor(runs, run, "eval_logits"), logits, logit_tolerance, 0);
    }
    free(x);
    free(loss);
    free(correct);
    ek_safetensors_free(runs);
    ek_net_free(net);
    ek_dataset_free(data);
}

static void test_prediction(void **state)
{
    (void)state;
    compare_prediction("bn-lenet", "bn-lenet.b128");
    compare_prediction("bn-lenet", "bn-lenet.b97");
    compare_prediction("bn-lenet", "bn-lenet.b1000");
    compare_prediction("lenet", "lenet.b128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction), cmocka_unit_test(test_batch_128), cmocka_unit_test(test_batch_97),
        cmocka_unit_test(test_batch_1000), cmocka_unit_test(test_scratch),   cmocka_unit_test(test_lenet),
    };
    return cmocka_run_group_tests_name("parity", tests, NULL, NULL);
}
