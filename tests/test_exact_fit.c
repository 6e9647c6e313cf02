/* SPDX-License-Identifier: MIT
 * Trainings with exact statistics: the same parameters, what their events tell, what the net has at the end. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "net/net.h"
#include "scratch.h"

enum { TRAIN = 300, VAL = 90, SOME = 150, EPOCHS = 4 };

static ek_dataset *train, *val;

/* Images that are brighter where their class says, among noise. */
static ek_dataset *new_data(int64_t n, uint64_t seed)
{
    enum { SIZE = 36, CLASSES = 4 };
    uint8_t pixels[TRAIN * SIZE], labels[TRAIN];
    ek_dataset *data = NULL;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits[4];
        ek_random4(seed, EK_RANDOM_INIT, 0, (uint64_t)i, bits);
        labels[i] = (uint8_t)(bits[0] % CLASSES);
        for (int64_t j = 0; j < SIZE; j++) {
            if (j % 4 == 0)
                ek_random4(seed, EK_RANDOM_INIT, 1 + (uint32_t)i, (uint64_t)j / 4, bits);
            pixels[i * SIZE + j] = (uint8_t)((bits[j % 4] >> 25) + (j * CLASSES / SIZE == labels[i] ? 40 : 0));
        }
    }
    assert_int_equal(ek_dataset_from_memory(&data, n, 1, 6, 6, pixels, labels, CLASSES), EK_OK);
    return data;
}

static const char with_norms[] =
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\navgpool 2\nflatten\ndropout p=0.1\n"
    "linear 8\nbatchnorm\nsigmoid\nlinear 4\n";

static ek_net *new_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 1))
        fail_msg("%s", ek_error());
    return net;
}

/* What the epochs' events told. */
typedef struct told {
    int epochs, best;
    double val_loss[16], val_accuracy[16], moving_loss[16], moving_accuracy[16];
    int lost;        /* statistics of the end */
    int64_t fail_at; /* that allocation behind the last epoch fails, 0: none */
    bool stops;      /* after the first epoch */
} told;

static int listen(void *user, const ek_fit_event *e)
{
    told *t = user;
    t->lost += e->kind == EK_EVENT_STATISTICS;
    if (e->kind != EK_EVENT_EPOCH)
        return 0;
    assert_true(e->epoch <= 16);
    t->epochs = e->epoch;
    t->best = e->best_epoch;
    t->val_loss[e->epoch - 1] = e->val_loss;
    t->val_accuracy[e->epoch - 1] = e->val_accuracy;
    t->moving_loss[e->epoch - 1] = e->has_moving ? e->moving_loss : -1;
    t->moving_accuracy[e->epoch - 1] = e->has_moving ? e->moving_accuracy : -1;
    if (t->fail_at && e->epoch == e->epochs)
        ek_memory_fail_at(t->fail_at);
    return t->stops;
}

static ek_net *trained(const char *text, ek_fit_options o, told *t)
{
    ek_net *net = new_net(text);
    told unheard = {0};
    o.batch_size = 32;
    o.lr = o.lr > 0 ? o.lr : 0.5f;
    o.epochs = o.epochs ? o.epochs : EPOCHS;
    o.on_event = listen;
    o.user = t ? t : &unheard;
    if (ek_fit(net, train, val, &o))
        fail_msg("%s", ek_error());
    return net;
}

static void calibrate(ek_net *net, int64_t samples)
{
    if (ek_calibrate(net, train, &(ek_calibrate_options){.samples = samples}))
        fail_msg("%s", ek_error());
}

static void assert_same_nets(ek_net *a, ek_net *b)
{
    assert_memory_equal(a->values, b->values, a->value_count * sizeof *a->values);
    for (int i = 0; i < a->tensor_count; i++)
        if (a->tensors[i].counter)
            assert_int_equal(*a->tensors[i].counter, *b->tensors[i].counter);
    const char *x = ek_net_note(a, "statistics"), *y = ek_net_note(b, "statistics");
    assert_true(x && y ? strcmp(x, y) == 0 : x == y);
}

/* After each epoch what ek_calibrate and ek_evaluate find of a training of so many epochs without the option, and of it
 * what its own events tell. */
static void test_events(void **state)
{
    (void)state;
    told exact = {0}, plain = {0};
    ek_net *net = trained(
        with_norms, (ek_fit_options){.exact_stats = true, .exact_samples = SOME, .exact_compare = true}, &exact);
    bool differs = false;
    for (int epochs = 1; epochs <= EPOCHS; epochs++) {
        ek_net *until = trained(with_norms, (ek_fit_options){.epochs = epochs}, &plain);
        ek_metrics metrics;
        assert_true(plain.moving_accuracy[epochs - 1] == -1);
        assert_true(exact.moving_loss[epochs - 1] == plain.val_loss[epochs - 1]);
        assert_true(exact.moving_accuracy[epochs - 1] == plain.val_accuracy[epochs - 1]);
        calibrate(until, SOME);
        assert_int_equal(ek_evaluate(until, val, NULL, &metrics), EK_OK);
        assert_true(exact.val_loss[epochs - 1] == metrics.loss);
        assert_true(exact.val_accuracy[epochs - 1] == metrics.accuracy);
        differs = differs || metrics.loss != plain.val_loss[epochs - 1];
        if (epochs == EPOCHS)
            assert_same_nets(net, until);
        ek_net_free(until);
    }
    assert_true(differs);
    ek_net_free(net);
}

/* With whatever else there is, the net is that of a training without, calibrated. */
static void test_final(void **state)
{
    (void)state;
    const ek_fit_options others[] = {
        {.threads = 3},
        {.micro_batch = 5},
        {.micro_batch = 5, .ghost = true},
        {.optimizer = EK_ADAM, .lr = 0.01f, .augment = {.crop = 1, .flip = true}},
    };
    for (size_t i = 0; i < 2 * sizeof others / sizeof *others; i++) {
        ek_fit_options o = others[i / 2];
        ek_net *plain = trained(with_norms, o, NULL);
        o.exact_stats = true;
        o.exact_final = i % 2;
        ek_net *net = trained(with_norms, o, NULL);
        calibrate(plain, i % 2 ? 0 : ek_exact_samples(train));
        assert_same_nets(net, plain);
        ek_net_free(plain);
        ek_net_free(net);
    }
}

/* The best epoch by exact statistics, with the statistics it had then or with those of all samples. */
static void test_best(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        told t = {0};
        ek_fit_options o = {
            .exact_stats = true, .exact_samples = SOME, .exact_final = all, .lr = 3, .epochs = 9, .keep_best = true};
        ek_net *net = trained(with_norms, o, &t);
        assert_in_range(t.best, 1, 8);
        for (int i = 0; i < 9; i++)
            assert_true(i < t.best - 1 ? t.val_accuracy[i] < t.val_accuracy[t.best - 1]
                                       : t.val_accuracy[i] <= t.val_accuracy[t.best - 1]);
        ek_net *until = trained(with_norms, (ek_fit_options){.lr = 3, .epochs = t.best}, NULL);
        calibrate(until, all ? 0 : SOME);
        assert_same_nets(net, until);
        ek_net_free(net);
        ek_net_free(until);
    }
}

/* Whatever fails behind the last epoch, the net has one kind of statistics whole, and its note says which. */
static void test_lost(void **state)
{
    (void)state;
    ek_net *moving = trained(with_norms, (ek_fit_options){.epochs = 1, .threads = 1}, NULL);
    ek_net *some = trained(with_norms, (ek_fit_options){.epochs = 1}, NULL),
           *all = trained(with_norms, (ek_fit_options){.epochs = 1}, NULL);
    calibrate(some, SOME);
    calibrate(all, 0);
    int kinds[2] = {0};
    for (int64_t n = 1;; n++) {
        told t = {.fail_at = n};
        ek_net *net =
            trained(with_norms,
                    (ek_fit_options){
                        .exact_stats = true, .exact_samples = SOME, .exact_final = true, .epochs = 1, .threads = 1},
                    &t);
        const bool failed = ek_memory_fail_at(0) >= n;
        const char *note = ek_net_note(net, "statistics");
        assert_int_equal(t.lost, failed);
        if (failed)
            kinds[note != NULL]++;
        assert_same_nets(net, !failed ? all : note ? some : moving);
        ek_net_free(net);
        if (!failed)
            break;
    }
    assert_true(kinds[0] && kinds[1]);
    ek_net_free(moving);
    ek_net_free(some);
    ek_net_free(all);
}

/* Without validation data the end alone measures; that its statistics are not finite does not lose it either. */
static void test_without_validation(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        ek_net *plain = trained(with_norms, (ek_fit_options){0}, NULL);
        ek_net *net = new_net(with_norms);
        const ek_fit_options o = {.epochs = EPOCHS,
                                  .batch_size = 32,
                                  .lr = 0.5f,
                                  .exact_stats = true,
                                  .exact_samples = SOME,
                                  .exact_final = all};
        assert_int_equal(ek_fit(net, train, NULL, &o), EK_OK);
        calibrate(plain, all ? 0 : SOME);
        assert_same_nets(net, plain);
        ek_net_free(plain);
        ek_net_free(net);
    }
}

/* Each norm multiplies by its input's deviation, since its moving variance stays next to 1: too often for a float. */
static ek_net *new_tower(void)
{
    ek_net *net =
        new_net("input 1 6 6\nflatten\nrepeat 30 {\nlinear 8\nbatchnorm momentum=1e-7\nrelu\n}\nlinear 4\n");
    for (int i = 0; i + 1 < ek_net_layer_count(net); i++)
        if (net->layers[i].kind == EK_LAYER_LINEAR)
            for (int64_t k = 0; k < net->tensors[net->layers[i].weight].count; k++)
                net->tensors[net->layers[i].weight].data[k] *= 100;
    return net;
}

/* A loss that is not finite with the moving statistics is told, also by a training that goes on, and ends nothing. */
static void test_infinite(void **state)
{
    (void)state;
    char folder[SCRATCH_SIZE], command[SCRATCH_SIZE + 16];
    assert_non_null(mkdtemp(scratch_template(folder, "exact")));
    told whole = {0}, parts = {.stops = true};
    ek_fit_options o = {.epochs = 3,
                        .batch_size = 32,
                        .lr = 0.001f,
                        .exact_stats = true,
                        .exact_compare = true,
                        .on_event = listen,
                        .user = &whole};
    ek_net *net = new_tower(), *other = new_tower();
    assert_int_equal(ek_fit(net, train, val, &o), EK_OK);
    for (int i = 0; i < 3; i++)
        assert_true(isnan(whole.moving_loss[i]) && isnan(whole.moving_accuracy[i]) && isfinite(whole.val_loss[i]));
    o.user = &parts;
    o.checkpoint = folder;
    assert_int_equal(ek_fit(other, train, val, &o), EK_ERR_STOPPED);
    parts = (told){0};
    o.resume = true;
    assert_int_equal(ek_fit(other, train, val, &o), EK_OK);
    assert_memory_equal(&whole, &parts, sizeof whole);
    assert_same_nets(net, other);
    ek_net_free(net);
    ek_net_free(other);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* A training that is refused leaves the notes of what the net is. */
static void test_notes_of_refused(void **state)
{
    (void)state;
    char folder[SCRATCH_SIZE];
    assert_non_null(mkdtemp(scratch_template(folder, "exact")));
    ek_net *net = new_net(with_norms);
    calibrate(net, 0);
    assert_int_equal(ek_net_set_note(net, "data.digest", "sha256:0"), EK_OK);
    assert_int_equal(ek_fit(net, train, val, &(ek_fit_options){.checkpoint = "no/such/folder"}), EK_ERR_NOT_FOUND);
    assert_int_equal(ek_fit(net, train, val, &(ek_fit_options){.checkpoint = folder, .resume = true}),
                     EK_ERR_NOT_FOUND);
    assert_string_equal(ek_net_note(net, "data.digest"), "sha256:0");
    assert_non_null(ek_net_note(net, "statistics"));
    assert_int_equal(ek_fit(net, train, val, &(ek_fit_options){.epochs = 1}), EK_OK);
    assert_null(ek_net_note(net, "statistics"));
    ek_net_free(net);
    assert_int_equal(remove(folder), 0); /* nothing was made in it */
}

/* Without a norm there is nothing to measure. */
static void test_without_norms(void **state)
{
    (void)state;
    static const char text[] = "input 1 6 6\nflatten\nlinear 8\nsigmoid\nlinear 4\n";
    told a = {0}, b = {0};
    ek_net *plain = trained(text, (ek_fit_options){0}, &a);
    ek_net *net = trained(text, (ek_fit_options){.exact_stats = true, .exact_final = true}, &b);
    assert_same_nets(plain, net);
    for (int i = 0; i < EPOCHS; i++)
        assert_true(a.val_loss[i] == b.val_loss[i] && b.moving_loss[i] == -1);
    ek_net_free(plain);
    ek_net_free(net);
}

static void test_samples(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{60000, 2048}, {16384, 2048}, {16376, 2047},
                                       {1024, 128},   {500, 128},    {90, 90}};
    uint8_t *pixels = calloc(60000, 1);
    assert_non_null(pixels);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ek_dataset *data = NULL;
        assert_int_equal(ek_dataset_from_memory(&data, sizes[i][0], 1, 1, 1, pixels, pixels, 1), EK_OK);
        assert_int_equal(ek_exact_samples(data), sizes[i][1]);
        ek_dataset_free(data);
    }
    free(pixels);
}

static void assert_refused(ek_fit_options o, const char *part)
{
    ek_net *net = new_net(with_norms);
    assert_int_equal(ek_fit(net, train, val, &o), EK_ERR_ARGUMENT);
    if (!strstr(ek_error(), part))
        fail_msg("\"%s\" does not say \"%s\"", ek_error(), part);
    ek_net_free(net);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused((ek_fit_options){.exact_stats = true, .exact_samples = -1}, "exact_samples is -1");
    assert_refused((ek_fit_options){.exact_samples = 10}, "exact_samples is about exact statistics");
    assert_refused((ek_fit_options){.exact_final = true}, "exact_final is about exact statistics");
    assert_refused((ek_fit_options){.exact_compare = true}, "exact_compare is about exact statistics");
}

static int open_data(void **state)
{
    (void)state;
    train = new_data(TRAIN, 1);
    val = new_data(VAL, 2);
    return 0;
}

static int close_data(void **state)
{
    (void)state;
    ek_dataset_free(train);
    ek_dataset_free(val);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),   cmocka_unit_test(test_final),
        cmocka_unit_test(test_best),     cmocka_unit_test(test_samples),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_without_norms),
        cmocka_unit_test(test_lost),     cmocka_unit_test(test_without_validation),
        cmocka_unit_test(test_infinite), cmocka_unit_test(test_notes_of_refused),
    };
    return cmocka_run_group_tests(tests, open_data, close_data);
}
