/* SPDX-License-Identifier: MIT
 * Tests of micro-batches: with the whole batch's statistics a step has the whole batch's bits, wherever its segments
 * end; ghosts' gradients add up to the step's; both take less memory; what goes wrong leaves everything as it was. */
#include <math.h>
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
#include "op/backend.h"
#include "plan_of.h"
#include "random_net.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

enum { NETS = (int)(sizeof nets / sizeof *nets), MOST = 128 };

static float unit(uint64_t i)
{
    uint32_t bits[4];
    ek_random4(5, EK_RANDOM_INIT, 77, i, bits);
    return ek_random_unit(bits[0]);
}

static ek_net *new_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 11))
        fail_msg("%s%s", text, ek_error());
    return net;
}

/* ---- The whole batch's bits --------------------------------------------------------------------------------- */

/* What a step leaves: gradients, values with the moving statistics, losses. Owned arrays. */
typedef struct result {
    float *gradients, *values;
    double losses[MOST];
    size_t count, arena;
    int maps; /* steps of this kind: more than the net has where some run again */
} result;

static void free_result(result *r)
{
    free(r->gradients);
    free(r->values);
}

static float *copy(const float *x, size_t count)
{
    float *y = malloc(count * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, count * sizeof *y);
    return y;
}

/* One step of plain SGD on `samples` samples. */
static result run_step(const char *text, int64_t samples, int micro_batch, size_t segment_size, int threads)
{
    ek_net *net = new_net(text);
    ek_program *program = NULL;
    ek_backend *backend = NULL;
    result r = {0};
    const ek_plan_request request = {.mode = EK_TRAINING,
                                     .input = EK_INPUT_FLOATS,
                                     .loss = true,
                                     .max_samples = MOST,
                                     .threads = threads,
                                     .micro_batch = micro_batch,
                                     .segment_size = segment_size};
    assert_ok(ek_backend_new_cpu(&backend, threads));
    assert_ok(ek_plan_new(&program, net, &request));
    const int64_t size = ek_dims_count(net->input);
    float *x = malloc((size_t)(samples * size) * sizeof *x);
    uint8_t labels[MOST];
    int predicted[MOST];
    for (int64_t i = 0; i < samples * size; i++)
        x[i] = 2 * unit((uint64_t)i) - 1;
    for (int64_t i = 0; i < samples; i++)
        labels[i] = (uint8_t)(unit(1000000 + (uint64_t)i) * (float)ek_net_output(net).c);
    const ek_update update = {.kind = EK_SGD, .rate = 0.1f};
    const ek_batch batch = {.samples = samples,
                            .values = x,
                            .labels = labels,
                            .loss = r.losses,
                            .predicted = predicted,
                            .update = &update};
    if (ek_backend_run(backend, program, &batch))
        fail_msg("%s%s", text, ek_error());
    r.count = net->value_count;
    r.gradients = copy(program->gradients, r.count);
    r.values = copy(net->values, r.count);
    r.arena = program->arena_size;
    r.maps = count_steps(program, EK_STEP_MAP);
    free(x);
    ek_program_free(program);
    ek_backend_free(backend);
    ek_net_free(net);
    return r;
}

static void expect_same(const char *text, const result *a, const result *b)
{
    assert_int_equal(a->count, b->count);
    if (memcmp(a->gradients, b->gradients, a->count * sizeof(float)) != 0)
        fail_msg("%sthe gradients differ", text);
    if (memcmp(a->values, b->values, a->count * sizeof(float)) != 0)
        fail_msg("%sthe values differ", text);
    assert_memory_equal(a->losses, b->losses, sizeof a->losses);
}

/* Segments as short as they can be, of some length, and of the library's choice; dead lanes in the last block. */
static void test_whole_batch(void **state)
{
    (void)state;
    int shorter = 0, again = 0;
    for (int i = 0; i < NETS; i++) {
        const int64_t samples = i % 2 ? MOST : 97;
        result whole = run_step(nets[i], samples, 0, 0, 1);
        for (int j = 0; j < 4; j++) {
            static const int micro_batches[] = {32, 50, 16, 1};
            static const size_t sizes[] = {1, 0, 100, 400};
            result part = run_step(nets[i], samples, micro_batches[(i + j) % 4], sizes[j], 1 + (i + j) % 3);
            expect_same(nets[i], &whole, &part);
            again += part.maps > whole.maps;
            shorter += part.arena < whole.arena;
            free_result(&part);
        }
        free_result(&whole);
    }
    assert_true(again > NETS); /* these did compute something again */
    assert_true(shorter > NETS / 2);
}

/* ---- Random nets -------------------------------------------------------------------------------------------- */

static void test_random_nets(void **state)
{
    (void)state;
    const int count = getenv("EVENKEEL_TEST_QUICK") ? 60 : 300;
    for (int i = 0; i < count; i++) {
        static const size_t sizes[] = {1, 0, 300};
        char *text = random_net_text((uint64_t)i, 0);
        result whole = run_step(text, 50, 0, 0, 1);
        for (int j = 0; j < 3; j++) {
            result part = run_step(text, 50, j % 2 ? 16 : 33, sizes[j], 1 + (i + j) % 3);
            expect_same(text, &whole, &part);
            free_result(&part);
        }
        free_result(&whole);
        free(text);
    }
}

/* Nets with many weights, whose packed forms share a room. */
static void test_large_weights(void **state)
{
    (void)state;
    static const char text[] = "input 1 1 1\nflatten\nlinear 1030\nbatchnorm\nrelu\nlinear 1030\nbatchnorm\nrelu\n"
                               "linear 40\nbatchnorm\nsigmoid\nlinear 4\n";
    result whole = run_step(text, MOST, 0, 0, 2), part = run_step(text, MOST, 50, 1, 2);
    expect_same(text, &whole, &part);
    free_result(&whole);
    free_result(&part);
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* The deeper a net is, the less of it is kept. */
static void test_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"bn-lenet", "resnet-20", "resnet-110"};
    static const double shares[] = {0.85, 0.45, 0.2};
    for (int i = 0; i < 3; i++) {
        ek_net *net = ek_net_builtin(names[i]);
        int64_t whole, part, one;
        assert_ok(ek_net_memory(net, EK_TRAINING, 128, 0, 2, &whole));
        assert_ok(ek_net_memory(net, EK_TRAINING, 128, 32, 2, &part));
        assert_ok(ek_net_memory(net, EK_TRAINING, 128, 16, 2, &one)); /* one block at hand in place of two */
        assert_true((double)part < shares[i] * (double)whole);
        assert_true(one < part);
        ek_net_free(net);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\nconv2d 3\nbatchnorm\nrelu\nflatten\n"
                          "linear 3\n");
    const ek_plan_request request = {
        .mode = EK_TRAINING, .loss = true, .max_samples = 64, .threads = 2, .micro_batch = 16, .accumulates = true};
    expect_plan_without_memory(net, &request);
    ek_net_free(net);
}

/* ---- Training ----------------------------------------------------------------------------------------------- */

static ek_dataset *new_data(int64_t begin, int64_t n, int dark)
{
    uint8_t *pixels = calloc((size_t)n, 36), *labels = calloc((size_t)n, 1);
    ek_dataset *data = NULL;
    assert_true(pixels && labels);
    for (int64_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(4 * unit((uint64_t)(begin + i)));
        for (int64_t j = 0; j < 36; j++)
            pixels[i * 36 + j] = dark ? 0 : (uint8_t)(200 * unit((uint64_t)((begin + i) * 36 + j)) + 13 * labels[i]);
    }
    assert_ok(ek_dataset_from_memory(&data, n, 1, 6, 6, pixels, labels, 4));
    free(pixels);
    free(labels);
    return data;
}

static const char small[] = "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\navgpool 2\nresidual {\n"
                            "conv2d 3 kernel=3 padding=1\nbatchnorm\n}\nrelu\nflatten\nlinear 8\nbatchnorm\nrelu\n"
                            "linear 4\n";

/* ek_fit through shuffled epochs with a last batch of 44, momentum, clipping and augmentation. */
static void test_fit(void **state)
{
    (void)state;
    ek_dataset *data = new_data(0, 300, 0);
    ek_net *whole = new_net(small);
    ek_fit_options o = {.epochs = 2,
                        .batch_size = 128,
                        .momentum = 0.9,
                        .clip_norm = 0.5,
                        .threads = 2,
                        .augment = {.crop = 1, .flip = true}};
    assert_ok(ek_fit(whole, data, NULL, &o));
    for (int i = 0; i < 4; i++) {
        static const int micro_batches[] = {32, 50, 1, 500};
        ek_net *net = new_net(small);
        o.micro_batch = micro_batches[i];
        o.threads = 1 + i % 2;
        assert_ok(ek_fit(net, data, NULL, &o));
        assert_memory_equal(net->values, whole->values, net->value_count * sizeof(float));
        ek_net_free(net);
    }
    ek_net_free(whole);
    ek_dataset_free(data);
}

/* ---- Ghosts ------------------------------------------------------------------------------------------------- */

/* Values after one step of plain SGD, rate 1, from the same first values. */
static ek_net *one_step(const char *text, int64_t begin, int64_t n, int micro_batch)
{
    ek_net *net = new_net(text);
    ek_dataset *data = new_data(begin, n, 0);
    const ek_fit_options o = {.epochs = 1,
                              .batch_size = (int)n,
                              .lr = 1,
                              .no_shuffle = true,
                              .threads = 2,
                              .micro_batch = micro_batch,
                              .ghost = micro_batch > 0};
    assert_ok(ek_fit(net, data, NULL, &o));
    ek_dataset_free(data);
    return net;
}

/* A ghost step of `n` samples against steps on its micro-batches alone: the mean of their changes, weighted by their
 * samples; moving statistics take them in one after the other. */
static void check_ghost(const char *text, int64_t n, int64_t group)
{
    ek_net *start = new_net(text), *ghost = one_step(text, 0, n, (int)group);
    double *sum = calloc(start->value_count, sizeof *sum);
    assert_non_null(sum);
    double change = 0;
    for (size_t i = 0; i < start->value_count; i++)
        sum[i] = (double)start->values[i];
    for (int64_t at = 0; at < n; at += group) {
        const int64_t count = n - at < group ? n - at : group;
        ek_net *part = one_step(text, at, count, 0);
        for (int i = 0; i < start->tensor_count; i++) {
            const ek_tensor *t = &start->tensors[i];
            const bool moves = t->role == EK_ROLE_MOVING_MEAN || t->role == EK_ROLE_MOVING_VAR;
            const size_t begin = t->data ? (size_t)(t->data - start->values) : 0;
            for (size_t j = begin; t->data && j < begin + (size_t)t->count; j++) {
                const double from = (double)start->values[j], to = (double)part->values[j];
                if (moves) /* momentum 0.1: to = 0.9*from + 0.1*batch */
                    sum[j] = 0.9 * sum[j] + (to - 0.9 * from);
                else
                    sum[j] += (to - from) * (double)count / (double)n;
            }
        }
        ek_net_free(part);
    }
    for (size_t i = 0; i < start->value_count; i++) {
        change = fmax(change, fabs(sum[i] - (double)start->values[i]));
        if (!(fabs(sum[i] - (double)ghost->values[i]) <= 2e-6))
            fail_msg("value %zu: %.9g, but its micro-batches make it %.9g", i, (double)ghost->values[i], sum[i]);
    }
    assert_true(change > 1e-2);
    free(sum);
    ek_net_free(start);
    ek_net_free(ghost);
}

static int64_t batches_of(ek_net *net, const char *name)
{
    const ek_tensor *t = ek_net_tensor_by_name(net, name);
    assert_non_null(t);
    return *t->counter;
}

static void test_ghost(void **state)
{
    (void)state;
    check_ghost(small, 128, 32);
    check_ghost(small, 128, 50); /* 50, 50, 28 */
    check_ghost(small, 60, 7);
    ek_net *net = one_step(small, 0, 128, 50);
    assert_int_equal(batches_of(net, "1.num_batches_tracked"), 3);
    ek_net_free(net);
}

/* Without a batch norm, ghosts compute the whole batch's step but for rounding. */
static void test_ghost_without_norm(void **state)
{
    (void)state;
    static const char text[] = "input 1 6 6\nconv2d 3 kernel=3\nlayernorm\nsigmoid\nflatten\nlinear 4\n";
    ek_net *whole = one_step(text, 0, 128, 0), *ghost = one_step(text, 0, 128, 50), *start = new_net(text);
    for (size_t i = 0; i < whole->value_count; i++)
        assert_true(fabsf(whole->values[i] - ghost->values[i]) <= 1e-6f);
    assert_memory_not_equal(whole->values, start->values, whole->value_count * sizeof(float));
    ek_net_free(whole);
    ek_net_free(ghost);
    ek_net_free(start);
}

/* ---- What goes wrong ---------------------------------------------------------------------------------------- */

static void expect_failure(const char *text, const ek_fit_options *o, int64_t samples, ek_status want,
                           const char *words)
{
    ek_net *net = new_net(text);
    ek_dataset *data = new_data(0, samples, 0);
    float *before = copy(net->values, net->value_count);
    const ek_status got = ek_fit(net, data, NULL, o);
    if (got != want || !strstr(ek_error(), words))
        fail_msg("%s, \"%s\"; expected %s with \"%s\"", ek_status_name(got), ek_error(), ek_status_name(want), words);
    assert_memory_equal(before, net->values, net->value_count * sizeof(float));
    free(before);
    ek_dataset_free(data);
    ek_net_free(net);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char one_value[] = "input 1 6 6\nflatten\nlinear 4\nbatchnorm\nlinear 4\n";
    expect_failure(small, &(ek_fit_options){.micro_batch = -1}, 9, EK_ERR_ARGUMENT, "micro_batch is -1");
    expect_failure(small, &(ek_fit_options){.ghost = true}, 9, EK_ERR_ARGUMENT, "set micro_batch too");
    expect_failure(one_value, &(ek_fit_options){.micro_batch = 1, .ghost = true}, 9, EK_ERR_SHAPE,
                   "choose a micro-batch of 2 or more");
    expect_failure(one_value, &(ek_fit_options){.batch_size = 33, .micro_batch = 16, .ghost = true}, 66, EK_ERR_SHAPE,
                   "the last of the micro-batches of 16 leaves one of 33 samples");
    expect_failure(one_value, &(ek_fit_options){.batch_size = 32, .micro_batch = 16, .ghost = true}, 49, EK_ERR_SHAPE,
                   "leaves one of 49 samples");
    /* with the whole batch's statistics these are no trouble */
    ek_net *net = new_net(one_value);
    ek_dataset *data = new_data(0, 66, 0);
    assert_ok(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 1, .batch_size = 33, .micro_batch = 1}));
    ek_dataset_free(data);
    ek_net_free(net);
}

/* The second micro-batch's statistics overflow: the first has left nothing behind. */
static void test_not_finite(void **state)
{
    (void)state;
    static const char text[] = "input 1 6 6\nflatten\nlinear 4\nbatchnorm\nsigmoid\nlinear 4\n";
    ek_net *net = new_net(text);
    uint8_t pixels[32 * 36] = {0}, labels[32] = {0};
    memset(pixels + 20 * 36, 255, 36); /* one bright sample: its variance overflows */
    for (int i = 0; i < net->tensor_count; i++)
        for (int64_t j = 0; net->tensors[i].role == EK_ROLE_WEIGHT && i == 0 && j < net->tensors[i].count; j++)
            net->tensors[i].data[j] = 3e37f;
    ek_dataset *data = NULL;
    assert_ok(ek_dataset_from_memory(&data, 32, 1, 6, 6, pixels, labels, 4));
    float *before = copy(net->values, net->value_count);
    const ek_fit_options o = {
        .epochs = 1, .batch_size = 32, .micro_batch = 16, .ghost = true, .no_shuffle = true, .threads = 1};
    assert_int_equal(ek_fit(net, data, NULL, &o), EK_ERR_NUMERIC);
    if (!strstr(ek_error(), "epoch 1, step 1: micro-batch 2: layer 2 (batchnorm)"))
        fail_msg("%s", ek_error());
    assert_memory_equal(before, net->values, net->value_count * sizeof(float));
    assert_int_equal(batches_of(net, "2.num_batches_tracked"), 0);
    free(before);
    ek_dataset_free(data);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_batch),   cmocka_unit_test(test_random_nets),
        cmocka_unit_test(test_large_weights), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_fit),
        cmocka_unit_test(test_ghost),         cmocka_unit_test(test_ghost_without_norm),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests_name("micro-batches", tests, NULL, NULL);
}
