/* SPDX-License-Identifier: MIT
 * Tests of plans: what layers are gathered into, how large the arena is, and the plan as text. */
#include "base/memory.h"
#include "plan_of.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_units(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p = plan_of("input 1 8 8\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\navgpool 2\n"
                            "conv2d 2 kernel=2\nsigmoid\nbatchnorm\nflatten\nlinear 4\n",
                            EK_TRAINING, 20, &net);
    /* norm, sigmoid and pool in one pass; then sigmoid, and a norm of its own after it */
    assert_int_equal(count_steps(p, EK_STEP_UNIT), 3);
    assert_int_equal(count_steps(p, EK_STEP_POOL), 0);
    assert_int_equal(count_steps(p, EK_STEP_NORM_FORWARD), 2);
    assert_int_equal(count_steps(p, EK_STEP_NORM_BACKWARD), 2);
    /* the first layer's input needs no gradient */
    assert_int_equal(count_steps(p, EK_STEP_MAP), 3);
    assert_int_equal(count_steps(p, EK_STEP_MAP_BACKWARD), 2);
    assert_int_equal(count_steps(p, EK_STEP_WEIGHT_PARTS), 2);
    assert_int_equal(count_steps(p, EK_STEP_LINEAR_WEIGHT), 1);
    assert_null(p->arena);
    ek_program_free(p);
    ek_net_free(net);
}

static void test_pool_apart(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p =
        plan_of("input 1 7 7\nconv2d 3 kernel=1\nsigmoid\navgpool 2\nflatten\nlinear 2\n", EK_TRAINING, 16, &net);
    assert_int_equal(count_steps(p, EK_STEP_POOL), 1); /* 7 rows are no windows of 2 */
    assert_int_equal(count_steps(p, EK_STEP_POOL_BACKWARD), 1);
    ek_program_free(p);
    ek_net_free(net);
}

static void test_maxima(void **state)
{
    (void)state;
    ek_net *net;
    /* in the unit of an activation; apart where windows overlap, and where nothing is kept */
    ek_program *p = plan_of("input 1 8 8\nconv2d 3\nbatchnorm\nrelu\nmaxpool 2\nconv2d 3\nrelu\nmaxpool 3 stride=1\n"
                            "conv2d 3\nbatchnorm\nmaxpool 2\nconv2d 3\nrelu\nglobalavgpool\n",
                            EK_TRAINING, 16, &net);
    assert_int_equal(count_steps(p, EK_STEP_UNIT), 4);
    assert_int_equal(count_steps(p, EK_STEP_POOL), 2);
    char line[160];
    for (int i = 0, seen = 0; i < p->count; i++) {
        if (p->steps[i].kind != EK_STEP_UNIT || seen++)
            continue;
        ek_program_describe(p, i, line, sizeof line);
        assert_non_null(strstr(line, "layer 1: 3x8x8, norm, relu, max pool"));
    }
    ek_program_free(p);
    ek_net_free(net);
}

/* Dropout works in place where nothing else reads its input, backward in place of the gradient; it is no step where it
 * drops nothing. */
static void test_dropout(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p = plan_of("input 2 4 4\nconv2d 3\ndropout\nconv2d 3\nsigmoid\ndropout p=0.2\ndropout p=0\nflatten\n"
                            "linear 2\n",
                            EK_TRAINING, 16, &net);
    const ek_step *steps[4];
    int count = 0;
    for (int i = 0; i < p->count; i++)
        if (p->steps[i].kind == EK_STEP_DROPOUT || p->steps[i].kind == EK_STEP_DROPOUT_BACKWARD) {
            assert_true(count < 4);
            steps[count++] = &p->steps[i];
        }
    assert_int_equal(count, 4);
    assert_int_equal(steps[0]->x.room, steps[0]->y.room);
    assert_int_not_equal(steps[1]->x.room, steps[1]->y.room); /* the sigmoid's backward reads it */
    assert_int_equal(steps[2]->dy.room, steps[2]->dx.room);
    assert_int_equal(steps[3]->dy.room, steps[3]->dx.room);
    assert_int_equal(steps[1]->layer, steps[2]->layer);
    assert_int_equal(steps[0]->u.dropout.d.layer, steps[3]->u.dropout.d.layer);
    assert_int_not_equal(steps[0]->u.dropout.d.layer, steps[1]->u.dropout.d.layer);
    ek_program_free(p);
    ek_net_free(net);
    p = plan_of("input 2 4 4\nconv2d 3\ndropout\nbatchnorm\nflatten\nlinear 2\n", EK_PREDICTION, 16, &net);
    assert_int_equal(count_steps(p, EK_STEP_DROPOUT) + count_steps(p, EK_STEP_UNIT), 0); /* the norm is folded */
    ek_program_free(p);
    ek_net_free(net);
}

/* A sum takes in an activation that goes by its output; gelu becomes a unit behind it, which keeps nothing of its own:
 * backward makes it again from x. */
static void test_activations_of_sums(void **state)
{
    (void)state;
    static const struct {
        const char *name, *shown;
        int units;
    } all[] = {{"relu", ", relu", 0},
               {"leaky_relu", ", leaky relu", 0},
               {"tanh", ", tanh", 0},
               {"gelu", "", 1},
               {"gelu approximate=tanh", "", 1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[200], line[160], shown[80];
        ek_net *net;
        snprintf(text, sizeof text, "input 2 4 4\nconv2d 3\nresidual { conv2d 3 }\n%s\nflatten\nlinear 2\n",
                 all[i].name);
        ek_program *p = plan_of(text, EK_TRAINING, 16, &net);
        assert_int_equal(count_steps(p, EK_STEP_UNIT), all[i].units);
        assert_int_equal(count_steps(p, EK_STEP_UNIT_BACKWARD), all[i].units);
        snprintf(shown, sizeof shown, " layer 1: 3x4x4%s", all[i].shown);
        for (int j = 0; j < p->count; j++) {
            ek_program_describe(p, j, line, sizeof line);
            if (p->steps[j].kind == EK_STEP_JOIN)
                assert_string_equal(line + strlen(line) - strlen(shown), shown);
            if (p->steps[j].kind == EK_STEP_UNIT)
                assert_false(p->steps[j].u.unit.keep);
        }
        ek_program_free(p);
        ek_net_free(net);
    }
}

/* A 1x1 image that is padded is no linear layer: here its only output lies in the padding. */
static void test_padded_point(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p = plan_of("input 3 1 1\nconv2d 4 padding=1 stride=3\nconv2d 2\nflatten\n", EK_TRAINING, 17, &net);
    assert_int_equal(count_steps(p, EK_STEP_WEIGHT_PARTS), 1);
    assert_int_equal(count_steps(p, EK_STEP_LINEAR_WEIGHT), 1); /* the second, of 1x1 on 1x1 */
    ek_program_free(p);
    ek_net_free(net);
}

static void test_folding(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p =
        plan_of("input 2 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\nflatten\nbatchnorm\nlinear 4\nbatchnorm\n",
                EK_PREDICTION, 64, &net);
    /* the first and the last norm are folded into the maps before them; the second has none before it */
    assert_int_equal(p->norm_count, 1);
    assert_int_equal(count_steps(p, EK_STEP_STATS), 0);
    assert_int_equal(p->region_stride, 0); /* all is local */
    ek_program_free(p);
    ek_net_free(net);
    p = plan_of("input 2 6 6\nconv2d 3 kernel=3\nbatchnorm tracking=no\nflatten\nlinear 4\n", EK_PREDICTION, 64,
                &net);
    assert_int_equal(count_steps(p, EK_STEP_STATS), 1); /* no moving statistics: the batch's */
    assert_true(p->region_stride > 0);
    ek_program_free(p);
    ek_net_free(net);
}

/* Buffers of prediction are a thread's, so the arena does not grow with the batch. */
static void test_arena(void **state)
{
    (void)state;
    ek_net *net, *other;
    const char *text = "input 1 9 9\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\nflatten\nlinear 4\n";
    ek_program *p = plan_of(text, EK_PREDICTION, 16, &net), *q = plan_of(text, EK_PREDICTION, 4096, &other);
    assert_int_equal(p->arena_size, q->arena_size);
    ek_program_free(q);
    ek_net_free(other);
    q = plan_of(text, EK_TRAINING, 4096, &other);
    assert_true(q->arena_size > 100 * p->arena_size);
    ek_program_free(q);
    ek_program_free(p);
    ek_net_free(other);
    ek_net_free(net);
}

/* Which convolutions are Winograd's: the plan says so, and has room for their weights' 16 points. */
static void test_fast_convolutions(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool fast;
    } cases[] = {
        {"input 16 32 32\nconv2d 16 kernel=3 padding=1\n", true},
        {"input 32 16 16\nconv2d 32 kernel=3 padding=1\n", true},
        {"input 64 8 8\nconv2d 64 kernel=3 padding=1\n", true},
        {"input 64 7 7\nconv2d 64 kernel=3 padding=1\n", true},
        {"input 24 10 9\nconv2d 32 kernel=3\n", true},
        {"input 32 12 11\nconv2d 40 kernel=3 padding=2\n", true},
        {"input 3 32 32\nconv2d 16 kernel=3 padding=1\n", false}, /* few channels */
        {"input 64 3 3\nconv2d 64 kernel=3 padding=1\n", false},  /* small planes: mostly border, or partial tiles */
        {"input 64 1 1\nconv2d 64 kernel=3 padding=1\n", false},
        {"input 64 8 8\nconv2d 64 kernel=3 padding=1 stride=2\n", false},
        {"input 64 8 8\nconv2d 64 kernel=3 padding=3\n", false},
        {"input 64 8 8\nconv2d 64 kernel=5 padding=2\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ek_net *net;
        ek_program *p = plan_of(cases[i].text, EK_TRAINING, 16, &net);
        for (int j = 0; j < p->count; j++) {
            char line[200];
            ek_program_describe(p, j, line, sizeof line);
            const bool convolution = strstr(line, "map") || strstr(line, "pack") || strstr(line, "weight_parts");
            if (!!strstr(line, "winograd") != (convolution && cases[i].fast))
                fail_msg("%s: %s", cases[i].text, line);
        }
        ek_program_free(p);
        ek_net_free(net);
    }
}

static void test_text(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    char *text = ek_net_plan_text(net, EK_TRAINING, 128, 0);
    assert_non_null(text);
    const char *unit = strstr(text, "layer 1: 6x24x24, norm, sigmoid, pool\n");
    assert_non_null(unit);
    assert_non_null(strstr(text, "MiB of activations"));
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
    text = ek_net_plan_text(net, EK_PREDICTION, 1000000, 0); /* only looked at: nothing of that size is allocated */
    assert_non_null(text);
    assert_null(strstr(text, "norm"));
    free(text);
    assert_null(ek_net_plan_text(net, EK_TRAINING, 0, 0));
    assert_non_null(strstr(ek_error(), "batch size (0)"));
    assert_null(ek_net_plan_text(net, (ek_mode)0, 1, 0));
    assert_null(ek_net_plan_text(NULL, EK_TRAINING, 1, 0));
    ek_net_free(net);
}

static void test_note_keys(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("lenet");
    assert_null(ek_net_note_key(net, 0));
    assert_int_equal(ek_net_set_note(net, "one", "1"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "two", "2"), EK_OK);
    assert_string_equal(ek_net_note_key(net, 0), "one");
    assert_string_equal(ek_net_note_key(net, 1), "two");
    assert_null(ek_net_note_key(net, 2));
    assert_null(ek_net_note_key(net, -1));
    ek_net_free(net);
}

static void test_huge_block(void **state)
{
    (void)state;
    assert_null(ek_block_alloc((size_t)1 << 46)); /* more than any machine has: refused, not killed for */
    assert_non_null(strstr(ek_error(), "out of memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),      cmocka_unit_test(test_pool_apart),
        cmocka_unit_test(test_maxima),     cmocka_unit_test(test_activations_of_sums),
        cmocka_unit_test(test_dropout),    cmocka_unit_test(test_padded_point),
        cmocka_unit_test(test_folding),    cmocka_unit_test(test_arena),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_note_keys),
        cmocka_unit_test(test_huge_block), cmocka_unit_test(test_fast_convolutions),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
