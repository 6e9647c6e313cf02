/* SPDX-License-Identifier: MIT
 * Tests of src/train: the same bits for any number of threads, the order of samples, errors before and during
 * training, exact metrics, and that nets learn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "net/plan.h"
#include "op/backend.h"
#include "reference_net.h"

/* ---- Data and nets ------------------------------------------------------------------------------------------ */

/* Noise, brighter in the columns of the image's class: easy to tell apart. */
static ek_dataset *new_data(int64_t n, int channels, int height, int width, int classes, uint64_t seed)
{
    const int64_t size = (int64_t)channels * height * width;
    uint8_t *pixels = calloc((size_t)(n * size), 1), *labels = calloc((size_t)n, 1);
    assert_true(pixels && labels);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits[4];
        ek_random4(seed, EK_RANDOM_INIT, 0, (uint64_t)i, bits);
        labels[i] = (uint8_t)(bits[0] % (uint32_t)classes);
        for (int64_t j = 0; j < size; j++) {
            if (j % 4 == 0)
                ek_random4(seed, EK_RANDOM_INIT, 1 + (uint32_t)i, (uint64_t)j / 4, bits);
            const int64_t band = j % width * classes / width;
            pixels[i * size + j] = (uint8_t)((bits[j % 4] >> 25) + (band == labels[i] ? 128 : 0));
        }
    }
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, n, channels, height, width, pixels, labels, classes), EK_OK);
    free(pixels);
    free(labels);
    return data;
}

static ek_net *initialised(ek_net *net)
{
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 11))
        fail_msg("%s", ek_error());
    return net;
}

static ek_net *new_net(const char *text)
{
    return initialised(ek_net_parse(text, NULL));
}

/* Small, with every kind of layer that keeps something from step to step. */
static const char small[] = "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\navgpool 2\nflatten\nlinear 8\n"
                            "batchnorm\nsigmoid\nlinear 4\n";

/* Every parameter and moving statistic, and the counters. */
typedef struct snapshot {
    size_t size;
    float *values;
    uint64_t counters;
} snapshot;

static uint64_t counters_of(ek_net *net)
{
    uint64_t sum = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        if (ek_net_tensor(net, i)->counter)
            sum = 1000 * sum + (uint64_t)*ek_net_tensor(net, i)->counter;
    return sum;
}

static void take(snapshot *s, ek_net *net)
{
    free(s->values);
    s->size = net->value_count * sizeof *s->values;
    s->values = malloc(s->size);
    assert_non_null(s->values);
    memcpy(s->values, net->values, s->size);
    s->counters = counters_of(net);
}

static bool same(const snapshot *s, ek_net *net)
{
    return s->size == net->value_count * sizeof *s->values && memcmp(s->values, net->values, s->size) == 0 &&
           s->counters == counters_of(net);
}

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

/* The status, and words that the message must hold. */
static void expect(ek_status got, ek_status want, const char *words)
{
    if (got != want || !strstr(ek_error(), words))
        fail_msg("%s, \"%s\"; expected %s with \"%s\"", ek_status_name(got), ek_error(), ek_status_name(want), words);
}

static const float *tensor(ek_net *net, const char *name)
{
    const ek_tensor *t = ek_net_tensor_by_name(net, name);
    assert_non_null(t);
    return t->data;
}

/* ---- The same bits ------------------------------------------------------------------------------------------ */

typedef struct last_losses {
    double train, val;
} last_losses;

static int keep_losses(void *user, const ek_fit_event *event)
{
    last_losses *l = user;
    if (event->kind == EK_EVENT_EPOCH)
        *l = (last_losses){event->loss, event->val_loss};
    return 0;
}

static void test_same_bits(void **state)
{
    (void)state;
    static const int batches[] = {128, 100, 97}, threads[] = {1, 2, 3, 16};
    ek_dataset *train = new_data(300, 1, 28, 28, 10, 1), *val = new_data(90, 1, 28, 28, 10, 2);
    for (int i = 0; i < 3; i++) {
        snapshot first = {0};
        last_losses losses[4];
        for (int j = 0; j < 4; j++) {
            ek_net *net = initialised(ek_net_builtin("bn-lenet"));
            assert_ok(ek_fit(net, train, val,
                             &(ek_fit_options){.epochs = 2,
                                               .batch_size = batches[i],
                                               .lr = 0.5f,
                                               .seed = 3,
                                               .threads = threads[j],
                                               .on_event = keep_losses,
                                               .user = &losses[j]}));
            if (j == 0)
                take(&first, net);
            else if (!same(&first, net))
                fail_msg("%d threads give other bits than 1, batches of %d", threads[j], batches[i]);
            assert_memory_equal(&losses[j], &losses[0], sizeof *losses);
            assert_true(losses[j].val > 0 && losses[j].val < 4);
            ek_net_free(net);
        }
        free(first.values);
    }
    ek_dataset_free(train);
    ek_dataset_free(val);
}

static void test_seeds_differ(void **state)
{
    (void)state;
    ek_dataset *data = new_data(50, 1, 6, 6, 4, 1);
    snapshot s = {0};
    for (int i = 0; i < 4; i++) {
        ek_net *net = new_net(small);
        assert_ok(
            ek_fit(net, data, NULL,
                   &(ek_fit_options){.epochs = 1, .batch_size = 10, .seed = (uint64_t)i / 2, .no_shuffle = i == 3}));
        if (i)
            assert_int_equal(same(&s, net), i == 1); /* runs 0 and 1 are one seed's */
        take(&s, net);
        ek_net_free(net);
    }
    free(s.values);
    ek_dataset_free(data);
}

/* ---- The order of samples and the events -------------------------------------------------------------------- */

/* With a learning rate next to nothing a sample's loss tells which one it is. */
typedef struct order_check {
    const double *losses; /* of sample i */
    int32_t order[50];
    uint64_t seed;
    bool shuffle;
    int64_t step, begin;
    int epochs;
    double epoch_loss;
} order_check;

enum { ORDER_SAMPLES = 50, ORDER_BATCH = 8 };

static int check_order(void *user, const ek_fit_event *event)
{
    order_check *o = user;
    assert_int_equal(event->steps, 7);
    assert_int_equal(event->epochs, 3);
    if (event->kind == EK_EVENT_EPOCH) {
        assert_int_equal(event->epoch, ++o->epochs);
        assert_int_equal(o->begin, ORDER_SAMPLES);
        assert_true(fabs(event->loss - o->epoch_loss / ORDER_SAMPLES) < 1e-6);
        assert_false(event->has_val);
        o->begin = o->step = 0;
        o->epoch_loss = 0;
        return 0;
    }
    assert_int_equal(event->step, ++o->step);
    assert_int_equal(event->batch_size, event->step < 7 ? 8 : 2);
    if (o->begin == 0 && o->shuffle)
        ek_random_permutation(o->seed, (uint32_t)event->epoch, o->order, ORDER_SAMPLES);
    double sum = 0;
    for (int i = 0; i < event->batch_size; i++)
        sum += o->losses[o->order[o->begin++]];
    assert_true(fabs(event->loss - sum / event->batch_size) < 1e-5);
    o->epoch_loss += sum;
    return 0;
}

static void test_order(void **state)
{
    (void)state;
    ek_dataset *data = new_data(ORDER_SAMPLES, 1, 4, 4, 4, 5);
    ek_net *net = new_net("input 1 4 4\nflatten\nlinear 4\n");
    double losses[ORDER_SAMPLES], x[16];
    reference_net r = reference_net_new(net, 1);
    for (int i = 0; i < ORDER_SAMPLES; i++) {
        const uint8_t label = (uint8_t)ek_dataset_label(data, i);
        for (int j = 0; j < 16; j++)
            x[j] = ek_dataset_pixels(data, i)[j] / 255.0;
        losses[i] = reference_loss(&r, x, &label);
    }
    for (int i = 0; i < 3; i++) {
        order_check o = {.losses = losses, .seed = (uint64_t)i << 40, .shuffle = i > 0};
        for (int j = 0; j < ORDER_SAMPLES; j++)
            o.order[j] = j;
        assert_ok(ek_fit(net, data, NULL,
                         &(ek_fit_options){.epochs = 3,
                                           .batch_size = ORDER_BATCH,
                                           .lr = 1e-20f,
                                           .seed = o.seed,
                                           .no_shuffle = !o.shuffle,
                                           .on_event = check_order,
                                           .user = &o}));
        assert_int_equal(o.epochs, 3);
    }
    /* Orders of neighbouring epochs and seeds have little in common. */
    int32_t a[ORDER_SAMPLES], b[ORDER_SAMPLES];
    for (int i = 0; i < 2; i++) {
        int equal = 0;
        ek_random_permutation(4, 1, a, ORDER_SAMPLES);
        ek_random_permutation(4 + (uint64_t)i, 2 - (uint32_t)i, b, ORDER_SAMPLES);
        for (int j = 0; j < ORDER_SAMPLES; j++)
            equal += a[j] == b[j];
        assert_true(equal < 10);
    }
    reference_net_free(&r);
    ek_net_free(net);
    ek_dataset_free(data);
}

typedef struct stop_at {
    enum ek_fit_event_kind kind;
    int64_t step;
    ek_net *net;
    snapshot seen;
} stop_at;

static int stop(void *user, const ek_fit_event *event)
{
    stop_at *s = user;
    if (event->kind != s->kind || event->step != s->step)
        return 0;
    take(&s->seen, s->net);
    return 1;
}

static void test_callback_stops(void **state)
{
    (void)state;
    ek_dataset *data = new_data(50, 1, 6, 6, 4, 5);
    for (int i = 0; i < 2; i++) {
        ek_net *net = new_net(small);
        stop_at s = {.kind = i ? EK_EVENT_EPOCH : EK_EVENT_STEP, .step = i ? 5 : 3, .net = net};
        ek_fit_options options = {.epochs = 4, .batch_size = 10, .on_event = stop, .user = &s};
        expect(ek_fit(net, data, NULL, &options), EK_ERR_STOPPED, "epoch 1");
        assert_true(same(&s.seen, net));
        /* The layers' counters tell how many steps were taken. */
        assert_int_equal(*ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter, s.step);
        free(s.seen.values);
        ek_net_free(net);
    }
    ek_dataset_free(data);
}

/* ---- Errors before the first step --------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    ek_dataset *data = new_data(33, 1, 6, 6, 4, 5);
    ek_net *net = new_net(small);
    snapshot before = {0};
    take(&before, net);
    const ek_fit_options good = {.epochs = 1, .batch_size = 11};
    ek_fit_options o;
    expect(ek_fit(NULL, data, NULL, &good), EK_ERR_ARGUMENT, "NULL");
    expect(ek_fit(net, NULL, NULL, &good), EK_ERR_ARGUMENT, "NULL");
    o = (ek_fit_options){.epochs = -1};
    expect(ek_fit(net, data, NULL, &o), EK_ERR_ARGUMENT, "epochs (-1)");
    o = (ek_fit_options){.batch_size = -5};
    expect(ek_fit(net, data, NULL, &o), EK_ERR_ARGUMENT, "batch_size (-5)");
    o = (ek_fit_options){.threads = -2};
    expect(ek_fit(net, data, NULL, &o), EK_ERR_ARGUMENT, "threads (-2)");
    o = (ek_fit_options){.threads = 1 << 20, .batch_size = 11};
    assert_int_not_equal(ek_fit(net, data, NULL, &o), EK_OK);
    static const float rates[] = {-0.1f, NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        o = (ek_fit_options){.lr = rates[i]};
        expect(ek_fit(net, data, NULL, &o), EK_ERR_ARGUMENT, "learning rate");
    }
    o = (ek_fit_options){.batch_size = 1};
    expect(ek_fit(net, data, NULL, &o), EK_ERR_SHAPE, "layer 6 (batchnorm)");
    o = (ek_fit_options){.batch_size = 16}; /* 33 = 2*16 + 1 */
    expect(ek_fit(net, data, NULL, &o), EK_ERR_SHAPE, "layer 6 (batchnorm)");
    ek_dataset *wide = new_data(8, 1, 6, 7, 4, 5), *deep = new_data(8, 3, 6, 6, 4, 5);
    ek_dataset *many = new_data(8, 1, 6, 6, 5, 5), *one = new_data(1, 1, 6, 6, 4, 5);
    expect(ek_fit(net, wide, NULL, &good), EK_ERR_SHAPE, "1x6x7");
    expect(ek_fit(net, deep, NULL, &good), EK_ERR_SHAPE, "3x6x6");
    expect(ek_fit(net, many, NULL, &good), EK_ERR_SHAPE, "5 classes");
    expect(ek_fit(net, one, NULL, &good), EK_ERR_SHAPE, "layer 6 (batchnorm)");
    expect(ek_fit(net, data, wide, &good), EK_ERR_SHAPE, "1x6x7");
    expect(ek_fit(net, data, many, &good), EK_ERR_SHAPE, "5 classes");
    ek_metrics metrics = {0};
    expect(ek_evaluate(net, wide, NULL, &metrics), EK_ERR_SHAPE, "1x6x7");
    expect(ek_evaluate(net, many, NULL, &metrics), EK_ERR_SHAPE, "5 classes");
    expect(ek_evaluate(net, data, &(ek_eval_options){.threads = -1}, &metrics), EK_ERR_ARGUMENT, "threads");
    expect(ek_evaluate(net, data, &(ek_eval_options){.batch_size = -1}, &metrics), EK_ERR_ARGUMENT, "batch_size");
    expect(ek_evaluate(net, data, NULL, NULL), EK_ERR_ARGUMENT, "NULL");
    float x[36] = {0}, logits[4];
    expect(ek_predict(net, 0, x, 1, logits), EK_ERR_ARGUMENT, "n (0)");
    expect(ek_predict(net, 1, x, -1, logits), EK_ERR_ARGUMENT, "threads");
    expect(ek_predict(net, 1, NULL, 1, logits), EK_ERR_ARGUMENT, "NULL");
    assert_true(same(&before, net));
    ek_net *images = new_net("input 1 6 6\nconv2d 4 kernel=3\n"), *empty = ek_net_new(1, 6, 6);
    expect(ek_fit(images, data, NULL, &good), EK_ERR_SHAPE, "linear");
    assert_int_not_equal(ek_fit(empty, data, NULL, &good), EK_OK);
    /* One sample is enough where nothing looks at the batch. */
    ek_net *frozen = new_net("input 1 6 6\nflatten\nbatchnorm use_moving=yes hold_moving=yes\nlinear 4\n");
    assert_ok(ek_fit(frozen, one, NULL, &good));
    o = (ek_fit_options){.epochs = 1, .batch_size = 1000}; /* more than there are */
    assert_ok(ek_fit(frozen, data, data, &o));
    free(before.values);
    ek_net *nets[] = {net, images, empty, frozen};
    ek_dataset *sets[] = {data, wide, deep, many, one};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        ek_net_free(nets[i]);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        ek_dataset_free(sets[i]);
}

/* ---- Numbers that are not finite ---------------------------------------------------------------------------- */

/* After step 2 a number of the net is poisoned: step 3 must fail and change nothing. */
typedef struct poison {
    ek_net *net;
    const char *tensor;
    int64_t element;
    float value;
    snapshot after;
} poison;

static int put_poison(void *user, const ek_fit_event *event)
{
    poison *p = user;
    if (event->kind == EK_EVENT_STEP && event->step == 2) {
        ek_net_tensor_by_name(p->net, p->tensor)->data[p->element] = p->value;
        take(&p->after, p->net);
    }
    return 0;
}

static void test_not_finite(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        int64_t element;
        const char *words;
    } cases[] = {
        {"0.weight", 9 + 4, "layer 1 (batchnorm), channel 1"},
        {"0.bias", 2, "layer 1 (batchnorm), channel 2"},
        {"1.weight", 0, "layer 6 (batchnorm), channel 0"}, /* reaches every feature */
        {"5.weight", 12 * 5 + 3, "layer 6 (batchnorm), channel 5"},
        {"6.bias", 7, "loss"},
        {"8.weight", 3, "loss"},
        {"8.bias", 0, "loss"},
    };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    ek_dataset *data = new_data(50, 1, 6, 6, 4, 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int j = 0; j < 3; j++)
            for (int threads = 1; threads <= 3; threads += 2) {
                ek_net *net = new_net(small);
                poison p = {.net = net, .tensor = cases[i].tensor, .element = cases[i].element, .value = bad[j]};
                ek_fit_options options = {.epochs = 1, .batch_size = 20, .on_event = put_poison, .max_skipped = -1};
                options.user = &p, options.threads = threads;
                const bool harmless =
                    j > 0 && (strcmp(cases[i].tensor, "6.bias") == 0 || strcmp(cases[i].tensor, "1.weight") == 0);
                const ek_status status = ek_fit(net, data, NULL, &options);
                if (harmless) { /* a sigmoid takes infinity to 0 or 1 */
                    assert_true(status == EK_OK || status == EK_ERR_NUMERIC);
                } else {
                    expect(status, EK_ERR_NUMERIC, cases[i].words);
                    assert_non_null(strstr(ek_error(), "epoch 1, step 3"));
                }
                if (status && !same(&p.after, net))
                    fail_msg("%s = %g: the failing step changed the net", cases[i].tensor, (double)bad[j]);
                free(p.after.values);
                ek_net_free(net);
            }
    ek_dataset_free(data);
}

/* Statistics that normalise and are not finite, and a learning rate that blows everything up. */
static void test_blown_up(void **state)
{
    (void)state;
    ek_dataset *data = new_data(64, 1, 6, 6, 4, 5);
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm use_moving=yes\nflatten\nlinear 4\n");
    ek_net_tensor_by_name(net, "1.running_mean")->data[1] = NAN;
    snapshot before = {0};
    take(&before, net);
    assert_int_equal(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 1}), EK_ERR_NUMERIC);
    assert_true(same(&before, net));
    ek_net_free(net);
    net = new_net(small);
    const ek_fit_options steep = {.epochs = 50, .batch_size = 16, .lr = 1e30f, .max_skipped = -1};
    expect(ek_fit(net, data, NULL, &steep), EK_ERR_NUMERIC, "epoch 1");
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        for (int64_t j = 0; ek_net_tensor(net, i)->data && j < ek_net_tensor(net, i)->count; j++)
            assert_true(isfinite(ek_net_tensor(net, i)->data[j]));
    ek_net_free(net);
    free(before.values);
    ek_dataset_free(data);
}

/* ---- Metrics and prediction --------------------------------------------------------------------------------- */

static float *floats_of(const ek_dataset *data)
{
    ek_dataset_info info;
    ek_dataset_get_info(data, &info);
    const int64_t size = (int64_t)info.channels * info.height * info.width;
    float *x = calloc((size_t)(info.count * size), sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < info.count * size; i++)
        x[i] = (float)ek_dataset_pixels(data, i / size)[i % size] / 255.0f;
    return x;
}

static void test_evaluation_is_exact(void **state)
{
    (void)state;
    enum { CLASSES = 6 }; /* of the net; the data has four */
    static const int64_t counts[] = {1, 15, 16, 45, 300};
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\nflatten\nlinear 6\n");
    ek_dataset *train = new_data(64, 1, 6, 6, 4, 5);
    assert_ok(ek_fit(net, train, NULL, &(ek_fit_options){.epochs = 3, .batch_size = 16, .lr = 0.5f}));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const int64_t n = counts[i];
        ek_dataset *data = new_data(n, 1, 6, 6, 4, 6);
        float *x = floats_of(data), logits[300 * CLASSES], told[300 * CLASSES];
        assert_ok(ek_predict(net, n, x, 2, logits));
        double loss = 0;
        int64_t correct = 0, confusion[CLASSES * CLASSES] = {0}, got[CLASSES * CLASSES];
        for (int64_t j = 0; j < n; j++) {
            const float *row = logits + j * CLASSES;
            double sum = 0;
            int best = 0;
            for (int k = 0; k < CLASSES; k++) {
                sum += exp((double)row[k]);
                best = row[k] > row[best] ? k : best;
            }
            const int label = ek_dataset_label(data, j);
            loss += log(sum) - (double)row[label];
            correct += best == label;
            confusion[label * CLASSES + best]++;
        }
        ek_metrics first = {0};
        for (int run = 0; run < 5; run++) { /* whatever the batches and threads are */
            static const int threads[] = {1, 2, 3, 16, 0}, sizes[] = {0, 1, 7, 32, 1000};
            const ek_eval_options options = {threads[run], sizes[run], got, run ? told : NULL, false};
            ek_metrics m;
            memset(got, 0xee, sizeof got);
            memset(told, 0xee, sizeof told);
            assert_ok(ek_evaluate(net, data, &options, &m));
            assert_int_equal(m.count, n);
            assert_int_equal(m.correct, correct);
            assert_true(m.accuracy == (double)correct / (double)n);
            assert_true(fabs(m.loss - loss / (double)n) <= 1e-6 * (1 + m.loss));
            assert_memory_equal(got, confusion, sizeof confusion);
            assert_true(!run || m.loss == first.loss);
            assert_memory_equal(run ? told : logits, logits, (size_t)n * CLASSES * sizeof *told);
            first = m;
        }
        free(x);
        ek_dataset_free(data);
    }
    ek_dataset_free(train);
    ek_net_free(net);
}

/* bn-lenet after some steps: predictions against the reference; and what folding batch norm into weights changes, by
 * the losses of a training program that normalises with the moving statistics. */
static void test_prediction(void **state)
{
    (void)state;
    enum { COUNT = 37 };
    ek_dataset *data = new_data(COUNT, 1, 28, 28, 10, 8);
    ek_net *net = initialised(ek_net_builtin("bn-lenet"));
    assert_ok(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 4, .batch_size = 13, .lr = 0.5f}));
    float *x = floats_of(data), logits[COUNT * 10], alone[10];
    assert_ok(ek_predict(net, COUNT, x, 2, logits));
    reference_net r = reference_net_new(net, COUNT);
    double *xs = reference_doubles((int64_t)COUNT * 784), largest = 0, worst = 0;
    for (int i = 0; i < COUNT * 784; i++)
        xs[i] = (double)x[i];
    const double *want = reference_forward(&r, EK_PREDICTION, xs);
    for (int i = 0; i < COUNT * 10; i++) {
        largest = fmax(largest, fabs(want[i]));
        assert_true(isfinite(logits[i]));
        worst = fmax(worst, fabs((double)logits[i] - want[i]));
    }
    assert_true(largest > 0.1 && worst <= 2e-6 * largest);
    for (int i = 0; i < COUNT; i++) { /* a sample alone has the logits it has among others */
        assert_ok(ek_predict(net, 1, x + (size_t)i * 784, 1, alone));
        assert_memory_equal(alone, logits + (size_t)i * 10, sizeof alone);
    }
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i].kind == EK_LAYER_BATCHNORM)
            net->layers[i].o.batchnorm.use_moving = net->layers[i].o.batchnorm.hold_moving = true;
    ek_backend *backend = NULL;
    ek_program *program = NULL;
    const ek_plan_request request = {
        .mode = EK_TRAINING, .input = EK_INPUT_FLOATS, .loss = true, .max_samples = COUNT, .threads = 2};
    assert_ok(ek_backend_new_cpu(&backend, 2));
    assert_ok(ek_plan_new(&program, net, &request));
    uint8_t labels[COUNT];
    double losses[COUNT];
    int predicted[COUNT];
    for (int i = 0; i < COUNT; i++)
        labels[i] = (uint8_t)ek_dataset_label(data, i);
    const ek_batch batch = {.samples = COUNT, .values = x, .labels = labels, .loss = losses, .predicted = predicted};
    assert_ok(ek_backend_run(backend, program, &batch));
    for (int i = 0; i < COUNT; i++) {
        double folded = ek_reference_cross_entropy(10, want + i * 10, labels[i], 1, NULL);
        assert_true(fabs(losses[i] - folded) <= 5e-6 * (1 + folded));
    }
    ek_program_free(program);
    ek_backend_free(backend);
    reference_net_free(&r);
    free(xs);
    free(x);
    ek_net_free(net);
    ek_dataset_free(data);
}

/* ---- Learning ----------------------------------------------------------------------------------------------- */

typedef struct curve {
    double loss[20], val_accuracy[20];
} curve;

static int draw_curve(void *user, const ek_fit_event *event)
{
    curve *c = user;
    if (event->kind == EK_EVENT_EPOCH) {
        assert_true(event->has_val && event->seconds >= 0 && event->val_seconds >= 0);
        c->loss[event->epoch - 1] = event->loss;
        c->val_accuracy[event->epoch - 1] = event->val_accuracy;
    }
    return 0;
}

static void test_learning(void **state)
{
    (void)state;
    static const char *const names[] = {"bn-lenet", "bn-lenet-scratch"};
    ek_dataset *train = new_data(512, 1, 28, 28, 10, 1), *val = new_data(200, 1, 28, 28, 10, 2);
    for (int i = 0; i < 2; i++) {
        ek_net *net = initialised(ek_net_builtin(names[i]));
        curve c = {0};
        ek_metrics metrics = {0};
        assert_ok(
            ek_fit(net, train, val,
                   &(ek_fit_options){.epochs = 8, .batch_size = 64, .lr = 0.8f, .on_event = draw_curve, .user = &c}));
        assert_ok(ek_evaluate(net, val, NULL, &metrics));
        assert_true(metrics.accuracy > 0.95);
        assert_true(metrics.accuracy == c.val_accuracy[7]);
        assert_true(c.loss[0] > 1 && c.loss[7] < c.loss[0] / 2);
        for (int j = 0; j < net->tensor_count; j++) /* biases before a batch norm stay where they began */
            assert_true(isfinite(net->tensors[j].data ? net->tensors[j].data[0] : 0));
        ek_net_free(net);
    }
    ek_dataset_free(train);
    ek_dataset_free(val);
}

/* Held parameters and statistics keep their bits, the others move. */
static void test_held(void **state)
{
    (void)state;
    ek_dataset *data = new_data(40, 1, 6, 6, 4, 5);
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm hold_affine=yes\nsigmoid\nflatten\nlinear 8\n"
                          "batchnorm hold_moving=yes\nlinear 4\n");
    snapshot s = {0};
    take(&s, net);
    assert_ok(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 1, .batch_size = 20}));
    static const struct {
        const char *name;
        bool held;
    } tensors[] = {{"0.weight", false},     {"0.bias", true}, /* its gradient is exactly zero */
                   {"1.weight", true},      {"1.bias", true},    {"1.running_mean", false}, {"1.running_var", false},
                   {"4.weight", false},     {"5.weight", false}, {"5.bias", false},         {"5.running_mean", true},
                   {"5.running_var", true}, {"6.weight", false}, {"6.bias", false}};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const float *now = tensor(net, tensors[i].name);
        const size_t size = (size_t)ek_net_tensor_by_name(net, tensors[i].name)->count * sizeof *now;
        if ((memcmp(now, s.values + (now - net->values), size) == 0) != tensors[i].held)
            fail_msg("%s %s", tensors[i].name, tensors[i].held ? "moved" : "did not move");
    }
    assert_int_equal(*ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter, 2);
    assert_int_equal(*ek_net_tensor_by_name(net, "5.num_batches_tracked")->counter, 0);
    free(s.values);
    ek_net_free(net);
    ek_dataset_free(data);
}

/* ---- Memory that cannot be had ------------------------------------------------------------------------------ */

/* A net from its text, one epoch of one step, validation, evaluation, prediction. */
static ek_status all_of_it(void)
{
    static const char text[] = "input 1 4 4\nconv2d 2 kernel=3 padding=1\nbatchnorm\nsigmoid\navgpool 2\nlayernorm\n"
                               "avgpool 2 stride=1\nflatten\nlinear 3\n";
    uint8_t pixels[20 * 16] = {0}, labels[20] = {0};
    float x[16] = {0}, logits[3];
    for (int i = 0; i < 20 * 16; i++)
        pixels[i] = (uint8_t)(i * 7);
    ek_metrics metrics = {0};
    ek_dataset *data = NULL;
    ek_net *net = ek_net_parse(text, NULL);
    ek_status status = net ? EK_OK : EK_ERR_MEMORY;
    if (!status)
        status = ek_net_init(net, EK_INIT_XAVIER, 1);
    if (!status)
        status = ek_dataset_from_memory(&data, 20, 1, 4, 4, pixels, labels, 3);
    if (!status)
        status = ek_fit(net, data, data, &(ek_fit_options){.epochs = 1, .threads = 2});
    if (!status)
        status = ek_evaluate(net, data, &(ek_eval_options){.threads = 2}, &metrics);
    if (!status)
        status = ek_predict(net, 1, x, 2, logits);
    ek_dataset_free(data);
    ek_net_free(net);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    ek_memory_fail_at(0);
    assert_ok(all_of_it());
    const int64_t allocations = ek_memory_fail_at(0);
    assert_true(allocations > 50);
    for (int64_t n = 1; n <= allocations; n++) {
        ek_memory_fail_at(n);
        const ek_status status = all_of_it();
        ek_memory_fail_at(0);
        if (status != EK_ERR_MEMORY)
            fail_msg("allocation %lld of %lld failed, and %s came back", (long long)n, (long long)allocations,
                     ek_status_name(status));
        assert_non_null(strstr(ek_error(), "memory"));
    }
    assert_ok(all_of_it());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),  cmocka_unit_test(test_seeds_differ),
        cmocka_unit_test(test_order),      cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_blown_up),   cmocka_unit_test(test_evaluation_is_exact),
        cmocka_unit_test(test_prediction), cmocka_unit_test(test_learning),
        cmocka_unit_test(test_held),       cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
