/* SPDX-License-Identifier: MIT
 * Blocks of nets: the language and the builder make the same, paths and names, what does not fit together, hostile
 * text, and what blocks are compiled to. */
#include "base/memory.h"
#include "net_text.h"
#include "plan_of.h"

#include <stdio.h>

/* ---- The language ------------------------------------------------------------------------------------------- */

static const char blocks[] = "input 2 8 8\n"
                             "conv2d 4 kernel=3 padding=1\n"
                             "residual {\n"
                             "    conv2d 4 kernel=3 padding=1 bias=no\n"
                             "    batchnorm\n"
                             "}\n"
                             "sigmoid\n"
                             "residual shortcut=pad stride=2 {\n"
                             "    conv2d 6 stride=2\n"
                             "}\n"
                             "residual {\n"
                             "    conv2d 6\n"
                             "} shortcut {\n"
                             "    conv2d 6\n"
                             "    batchnorm\n"
                             "}\n"
                             "concat {\n"
                             "    branch {\n"
                             "        conv2d 2\n"
                             "    }\n"
                             "    branch {\n"
                             "    }\n"
                             "    branch {\n"
                             "        residual {\n"
                             "            sigmoid\n"
                             "        }\n"
                             "    }\n"
                             "}\n"
                             "flatten\n"
                             "linear 3\n";

static void test_text(void **state)
{
    (void)state;
    expect_text(blocks, blocks);
    /* braces where they may stand */
    expect_text(
        "input 2 4 4 # c\nresidual{sigmoid}\nresidual   { # c\n\n sigmoid } # c\n\n# c\n shortcut{ # c\n}sigmoid\r\n"
        "concat{branch{sigmoid}branch{}}flatten\n",
        "input 2 4 4\nresidual {\n    sigmoid\n}\nresidual {\n    sigmoid\n} shortcut {\n}\nsigmoid\nconcat {\n"
        "    branch {\n        sigmoid\n    }\n    branch {\n    }\n}\nflatten\n");
    /* repeats are written out: of layers, of blocks, of repeats, of branches */
    expect_text("input 2 4 4\nrepeat 2 {\n sigmoid\n repeat 3 { flatten }\n}\n",
                "input 2 4 4\nsigmoid\nflatten\nflatten\nflatten\nsigmoid\nflatten\nflatten\nflatten\n");
    expect_text(
        "input 2 4 4\nrepeat 2 { residual { sigmoid } }\nconcat { repeat 2 { branch { repeat 1 { sigmoid } } } }\n",
        "input 2 4 4\nresidual {\n    sigmoid\n}\nresidual {\n    sigmoid\n}\nconcat {\n    branch {\n"
        "        sigmoid\n    }\n    branch {\n        sigmoid\n    }\n}\n");
}

static void test_builder(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(2, 8, 8);
    ek_net_conv2d(net, 4, &(ek_net_conv2d_options){.kernel = 3, .padding = 1});
    ek_net_residual_begin(net, NULL);
    ek_net_conv2d(net, 4, &(ek_net_conv2d_options){.kernel = 3, .padding = 1, .no_bias = true});
    ek_net_batchnorm(net, NULL);
    ek_net_block_end(net);
    ek_net_sigmoid(net);
    ek_net_residual_begin(net, &(ek_net_residual_options){.shortcut = EK_SHORTCUT_PAD, .stride = 2});
    ek_net_conv2d(net, 6, &(ek_net_conv2d_options){.stride = 2});
    ek_net_block_end(net);
    ek_net_residual_begin(net, &(ek_net_residual_options){0});
    ek_net_conv2d(net, 6, NULL);
    ek_net_shortcut(net);
    ek_net_conv2d(net, 6, NULL);
    ek_net_batchnorm(net, NULL);
    ek_net_block_end(net);
    ek_net_concat_begin(net);
    ek_net_branch(net);
    ek_net_conv2d(net, 2, NULL);
    ek_net_branch(net);
    ek_net_branch(net);
    ek_net_residual_begin(net, NULL);
    ek_net_sigmoid(net);
    assert_int_equal(ek_net_block_end(net), EK_OK);
    assert_null(ek_net_text(net)); /* still open */
    assert_string_equal(ek_error(), "layer 5 (concat) has not ended: ek_net_block_end ends it");
    assert_int_equal(ek_net_tensor_count(net), 0);
    assert_int_equal(ek_net_block_end(net), EK_OK);
    ek_net_flatten(net);
    assert_int_equal(ek_net_linear(net, 3, NULL), EK_OK);
    char *text = ek_net_text(net);
    assert_string_equal(text, blocks);
    free(text);
    ek_net_free(net);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *kind;
        int depth, c, h;
    } expected[] = {
        {"0", "conv2d", 0, 4, 8},
        {"1", "residual", 0, 4, 8},
        {"1.body.0", "conv2d", 1, 4, 8},
        {"1.body.1", "batchnorm", 1, 4, 8},
        {"2", "sigmoid", 0, 4, 8},
        {"3", "residual", 0, 6, 4},
        {"3.body.0", "conv2d", 1, 6, 4},
        {"4", "residual", 0, 6, 4},
        {"4.body.0", "conv2d", 1, 6, 4},
        {"4.shortcut.0", "conv2d", 1, 6, 4},
        {"4.shortcut.1", "batchnorm", 1, 6, 4},
        {"5", "concat", 0, 14, 4},
        {"5.branches.0.0", "conv2d", 1, 2, 4},
        {"5.branches.2.0", "residual", 1, 6, 4},
        {"5.branches.2.0.body.0", "sigmoid", 2, 6, 4},
        {"6", "flatten", 0, 224, 0},
        {"7", "linear", 0, 3, 0},
    };
    static const char *const names[] = {
        "0.weight",
        "0.bias",
        "1.body.0.weight",
        "1.body.1.weight",
        "1.body.1.bias",
        "1.body.1.running_mean",
        "1.body.1.running_var",
        "1.body.1.num_batches_tracked",
        "3.body.0.weight",
        "3.body.0.bias",
        "4.body.0.weight",
        "4.body.0.bias",
        "4.shortcut.0.weight",
        "4.shortcut.0.bias",
        "4.shortcut.1.weight",
        "4.shortcut.1.bias",
        "4.shortcut.1.running_mean",
        "4.shortcut.1.running_var",
        "4.shortcut.1.num_batches_tracked",
        "5.branches.0.0.weight",
        "5.branches.0.0.bias",
        "7.weight",
        "7.bias",
    };
    ek_net *net = ek_net_parse(blocks, NULL);
    assert_int_equal(ek_net_layer_count(net), sizeof expected / sizeof *expected);
    for (int i = 0; i < ek_net_layer_count(net); i++) {
        ek_layer_info info;
        assert_int_equal(ek_net_layer(net, i, &info), EK_OK);
        assert_string_equal(info.path, expected[i].path);
        assert_string_equal(info.kind, expected[i].kind);
        assert_int_equal(info.depth, expected[i].depth);
        assert_int_equal(info.c, expected[i].c);
        assert_int_equal(info.h, expected[i].h);
    }
    assert_int_equal(ek_net_tensor_count(net), sizeof names / sizeof *names);
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        assert_string_equal(ek_net_tensor(net, i)->name, names[i]);
        assert_ptr_equal(ek_net_tensor_by_name(net, names[i]), ek_net_tensor(net, i));
    }
    ek_net_free(net);
}

/* ---- Errors ------------------------------------------------------------------------------------------------- */

static void test_syntax_errors(void **state)
{
    (void)state;
    expect_error("input 1 2 2\nresidual {\n sigmoid\n",
                 "net:4:1: expected '}' for the residual of line 2, found the end of the text");
    expect_error("input 1 2 2\nrepeat 2 {\n concat { branch {",
                 "net:3:19: expected '}' for the branch of line 3, found the end of the text");
    expect_error("input 1 2 2\nresidual\n{", "net:2:9: expected '{', found nothing");
    expect_error("input 1 2 2\nresidual pad {", "net:2:10: unknown option 'pad'; residual takes shortcut, stride");
    expect_error("input 1 2 2\nresidual shortcut=zero {", "net:2:19: shortcut must be identity or pad, found 'zero'");
    expect_error("input 1 2 2\nsigmoid {", "net:2:9: unknown option '{'; sigmoid takes no options");
    expect_error("input 1 2 2\n}", "net:2:1: expected a layer, found '}' without its '{'");
    expect_error("input 1 2 2 {", "net:1:13: expected the end of the line after 'input C H W', found '{'");
    expect_error("input 1 2 2\n {",
                 "net:2:2: expected a layer, found '{'; residual, shortcut, concat, branch and repeat "
                 "have braces, on their own line");
    expect_error("input 1 2 2\nrepeat {", "net:2:8: repeat must be 1 to 65536 times, found '{'");
    expect_error("input 1 2 2\nrepeat 0 {", "net:2:8: repeat must be 1 to 65536 times, found '0'");
    expect_error("input 1 2 2\nrepeat 99999999999 {",
                 "net:2:8: repeat must be 1 to 65536 times, found '99999999999'");
    expect_error("input 1 2 2\nrepeat 3 sigmoid", "net:2:10: expected '{', found 'sigmoid'");
    expect_error("input 1 2 2\n repeat 3 { }", "net:2:2: nothing to repeat: there are no layers in the braces");
    expect_error("input 1 2 2\nshortcut { }",
                 "net:2:1: expected a layer, found 'shortcut'; it follows the '}' of a residual's body");
    expect_error("input 1 2 2\nbranch { }",
                 "net:2:1: expected a layer, found 'branch'; branches stand in the braces of a concat");
    expect_error("input 1 2 2\nconcat {\n  sigmoid }",
                 "net:3:3: expected 'branch {' or '}' in a concat, found 'sigmoid'");
    expect_error("input 1 2 2\nconcat { repeat 2 { sigmoid } }",
                 "net:2:21: expected 'branch {' or '}' in a concat, found 'sigmoid'");
    expect_error("input 1 2 2\nconcat { branch { branch { } } }",
                 "net:2:19: expected a layer, found 'branch'; branches stand in the braces of a concat");
}

static void test_shape_errors(void **state)
{
    (void)state;
    expect_error("input 1 4 4\n residual {\n}", "net:2:2: layer 0 (residual): its body is empty; put layers into it");
    expect_error("input 1 4 4\nconcat {\n}", "net:2:1: layer 0 (concat): it has no branches; put some into it");
    expect_error(
        "input 1 4 4\nsigmoid\nresidual {\nconv2d 2\n}",
        "net:3:1: layer 1 (residual): its body gives 2x4x4, its input is 1x4x4; make the shapes equal, or give it a "
        "shortcut of its own or shortcut=pad");
    expect_error("input 1 4 4\nresidual {\nconv2d 2\n} shortcut {\nconv2d 3\n}",
                 "net:2:1: layer 0 (residual): its body gives 2x4x4, its shortcut 3x4x4; make the shapes equal");
    expect_error(
        "input 1 4 4\nresidual shortcut=pad stride=2 { conv2d 2 }",
        "net:2:1: layer 0 (residual): its body gives 2x4x4, which shortcut=pad stride=2 cannot make of 1x4x4");
    expect_error(
        "input 2 4 4\nresidual shortcut=pad { conv2d 1 }",
        "net:2:1: layer 0 (residual): its body gives 1x4x4, which shortcut=pad stride=1 cannot make of 2x4x4");
    expect_error(
        "input 2 1 1\nflatten\nresidual shortcut=pad { linear 4 }",
        "net:3:1: layer 1 (residual): its body gives 4 features, which shortcut=pad stride=1 cannot make of 2 "
        "features");
    expect_error("input 2 4 4\nresidual stride=2 { conv2d 2 stride=2 }",
                 "net:2:1: layer 0 (residual): stride is 2, and only shortcut=pad has a stride");
    expect_error(
        "input 2 4 4\nresidual shortcut=pad { conv2d 2 } shortcut { }",
        "net:2:36: layer 0 (residual): shortcut=pad and stride are for a residual without a shortcut of its own");
    expect_error(
        "input 2 4 4\nconcat {\nbranch { conv2d 2 }\nbranch { avgpool 2 }\n}",
        "net:2:1: layer 0 (concat): its branches before give 2x4x4, branch 1 gives 2x2x2; only channels may differ");
    expect_error(
        "input 65536 1 1\nconcat { branch { } branch { } }",
        "net:2:1: layer 0 (concat): its output of 131072x1x1 is too large; a sample has at most 134217728 values "
        "and 65536 channels");
    expect_error(
        "input 2 4 4\nresidual {\nconcat {\nbranch {\n  linear 3\n}\n}\n}",
        "net:5:3: layer 0.body.0.branches.0.0 (linear): needs features, but its input is images of 2x4x4; put a "
        "flatten before it");
}

static void expect_call(ek_status status, const char *message)
{
    assert_true(status == EK_ERR_STATE || status == EK_ERR_ARGUMENT);
    assert_string_equal(ek_error(), message);
}

static void test_builder_errors(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(2, 4, 4);
    expect_call(ek_net_block_end(net), "ek_net_block_end: no block is open");
    expect_call(ek_net_sigmoid(net), "ek_net_block_end: no block is open"); /* the first error stays */
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    expect_call(ek_net_shortcut(net), "ek_net_shortcut: the innermost open block is no residual");
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    ek_net_residual_begin(net, NULL);
    expect_call(ek_net_branch(net), "ek_net_branch: the innermost open block is no concat");
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    ek_net_concat_begin(net);
    expect_call(ek_net_sigmoid(net),
                "layer 0 (concat): a sigmoid cannot stand outside its branches; ek_net_branch begins one");
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    ek_net_residual_begin(net, NULL);
    ek_net_sigmoid(net);
    ek_net_shortcut(net);
    expect_call(ek_net_shortcut(net), "layer 0 (residual): it has a shortcut already");
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    expect_call(ek_net_residual_begin(net, &(ek_net_residual_options){.shortcut = (ek_shortcut)2}),
                "ek_net_residual_begin: 2 is no kind of shortcut");
    ek_net_free(net);
    net = ek_net_new(2, 4, 4);
    expect_call(ek_net_residual_begin(net, &(ek_net_residual_options){.shortcut = EK_SHORTCUT_PAD, .stride = -1}),
                "layer 0 (residual): stride is -1; it must be 1 to 65536");
    ek_net_free(net);
}

/* ---- Hostile text ------------------------------------------------------------------------------------------- */

static void test_hostile(void **state)
{
    (void)state;
    expect_error("input 1 1 1\nrepeat 65536 { repeat 65536 { repeat 65536 { sigmoid } } }",
                 "net:2:46: layer 100000 (sigmoid): one layer too many: a net has at most 100000");
    expect_error("input 1 1 1\nrepeat 65536 { repeat 65536 { repeat 65536 { } } }",
                 "net:2:31: nothing to repeat: there are no layers in the braces");
    expect_error("input 1 1 1\nrepeat 65536 { sigmoid\nrepeat 65536 { } }",
                 "net:3:1: nothing to repeat: there are no layers in the braces");
    expect_error("input 1 1 1\nflatten\nconcat { repeat 65536 { repeat 65536 { branch { } } } }",
                 "net:3:40: layer 1 (concat): one branch too many: a net has at most 100000");
    expect_repeated_error("input 1 1 1\nrepeat 50000 { sigmoid #", "x", 1000000, "\n}",
                          "net:2:1: the repeats amount to more than 16 MiB of text");
    expect_repeated_error(
        "input 1 1 1\n", "residual { ", 1000000, "",
        "net:2:89: layer 0.body.0.body.0.body.0.body.0.body.0.body.0.body.0.body.0 (residual): blocks stand "
        "more than 8 deep in each other");
    expect_repeated_error("input 1 1 1\n", "repeat 2 { ", 1000000, "",
                          "net:2:538: more than 48 braces in each other");
    expect_repeated_error(
        "input 1 1 1\n", "concat { branch { ", 1000000, "",
        "net:2:145: layer "
        "0.branches.0.0.branches.0.0.branches.0.0.branches.0.0.branches.0.0.branches.0.0.branches.0.0."
        "branches.0.0 (concat): blocks stand more than 8 deep in each other");
    expect_repeated_error("input 1 1 1\n", "}", 1000000, "", "net:2:1: expected a layer, found '}' without its '{'");
    expect_repeated_error(
        "input 65536 1 1\n", "concat { branch { } branch { conv2d 1 } }\n", 2, "",
        "net:2:1: layer 0 (concat): its output of 65537x1x1 is too large; a sample has at most 134217728 "
        "values and 65536 channels");
    expect_error("input 2 1 1\nflatten\nrepeat 40 { concat { branch { } branch { } } }",
                 "net:3:13: layer 27 (concat): its output of 268435456 features is too large; a sample has at most "
                 "134217728 values and 65536 channels");
}

/* The largest net, of blocks, is read, written and compiled in a moment. */
static void test_large(void **state)
{
    (void)state;
    ek_net *net =
        ek_net_parse("input 1 1 1\nrepeat 20000 { residual { conv2d 1\nbatchnorm }\nsigmoid }\nconv2d 2\n", NULL);
    if (!net)
        fail_msg("%s", ek_error());
    assert_int_equal(ek_net_layer_count(net), 80001);
    char *text = ek_net_text(net), *plan = ek_net_plan_text(net, EK_TRAINING, 16, 0);
    assert_true(text && plan);
    free(text);
    free(plan);
    ek_net_free(net);
}

static void test_no_memory(void **state)
{
    (void)state;
    ek_net *net;
    ek_memory_fail_at(0);
    assert_int_equal(ek_net_read(&net, blocks, NULL), EK_OK);
    int64_t count = ek_memory_fail_at(0);
    assert_true(count >= 30);
    for (int64_t n = 1; n <= count; n++) {
        ek_net *none;
        ek_memory_fail_at(n);
        assert_int_equal(ek_net_read(&none, blocks, NULL), EK_ERR_MEMORY);
        assert_null(none);
    }
    assert_true(ek_net_tensor_count(net) > 0);
    for (int mode = EK_TRAINING; mode <= EK_PREDICTION; mode++) {
        const ek_plan_request request = {.mode = (ek_mode)mode, .loss = true, .max_samples = 20, .threads = 2};
        expect_plan_without_memory(net, &request);
    }
    ek_memory_fail_at(0);
    ek_net_free(net);
}

/* ---- What is compiled --------------------------------------------------------------------------------------- */

#define RESIDUALS(n)                                                                                                 \
    "input 3 8 8\nconv2d 4 kernel=3 padding=1 bias=no\nbatchnorm\nsigmoid\nrepeat " n                                \
    " {\nresidual {\nconv2d 4 kernel=3 padding=1 bias=no\nbatchnorm\nsigmoid\nconv2d 4 kernel=3 padding=1 bias=no\n" \
    "batchnorm\n}\nsigmoid\n}\nflatten\nlinear 3\n"

/* The norm at the body's end, the sum and the activation behind it are one pass forward and two backward; no gradient
 * is copied or added in a pass of its own. */
static void test_sums(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p = plan_of(RESIDUALS("3"), EK_TRAINING, 32, &net);
    assert_int_equal(count_steps(p, EK_STEP_JOIN), 3);
    assert_int_equal(count_steps(p, EK_STEP_JOIN_SUMS), 3);
    assert_int_equal(count_steps(p, EK_STEP_UNIT), 4);
    assert_int_equal(count_steps(p, EK_STEP_UNIT_SUMS), 4);
    assert_int_equal(count_steps(p, EK_STEP_UNIT_BACKWARD), 7);
    assert_int_equal(count_steps(p, EK_STEP_NORM_FORWARD), 7);
    assert_int_equal(count_steps(p, EK_STEP_ADD), 1); /* the first norm's unit takes one addend */
    assert_int_equal(count_steps(p, EK_STEP_COPY) + count_steps(p, EK_STEP_SHORTCUT_BACKWARD), 0);
    ek_program_free(p);
    ek_net_free(net);
    p = plan_of(RESIDUALS("3"), EK_PREDICTION, 32, &net);
    assert_int_equal(count_steps(p, EK_STEP_JOIN), 3);
    assert_int_equal(count_steps(p, EK_STEP_UNIT), 4); /* the sigmoids; every norm is folded */
    assert_int_equal(p->norm_count, 0);
    assert_int_equal(p->region_stride, 0); /* all is local */
    ek_program_free(p);
    ek_net_free(net);
}

/* What alone a concat reads is written in its place; what others read too is copied. */
static void test_branches(void **state)
{
    (void)state;
    ek_net *net;
    ek_program *p = plan_of("input 2 4 4\nconv2d 2\nconcat { branch { conv2d 3 } branch { } branch { concat {\n"
                            "branch { conv2d 1 } branch { sigmoid } } } }\nconv2d 1\n",
                            EK_TRAINING, 16, &net);
    assert_int_equal(count_steps(p, EK_STEP_COPY), 1);
    assert_int_equal(count_steps(p, EK_STEP_ADD), 2 + 1); /* four readers of the first convolution's output */
    ek_program_free(p);
    ek_net_free(net);
}

/* Memory of a block's region: forward keeps two values a convolution (what its norm reads, what the next one reads),
 * and gradients take turns. In prediction two values take turns, and a third is the shortcut. */
static void test_memory(void **state)
{
    (void)state;
    const size_t value = 4 * 8 * 8 * EK_LANES;
    ek_net *net;
    size_t region[2];
    for (int i = 0; i < 2; i++) {
        ek_program *p = plan_of(i ? RESIDUALS("30") : RESIDUALS("10"), EK_TRAINING, 16, &net);
        region[i] = p->region_stride + p->local_stride;
        ek_program_free(p);
        ek_net_free(net);
    }
    const size_t shares = 2 * (4 * 4 * 9 + 16); /* of weights' gradients, until they are added up */
    assert_true(region[1] - region[0] <= 20 * (4 * value + shares) + 2 * EK_LANES);
    assert_true(region[0] <= (10 * 4 + 8) * value + 21 * shares);
    ek_program *p = plan_of(RESIDUALS("30"), EK_PREDICTION, 4096, &net);
    const size_t input = 3 * 8 * 8 * EK_LANES; /* whose room is smaller than what comes */
    assert_true(p->local_stride <= 3 * value + input + EK_LANES);
    ek_program_free(p);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),         cmocka_unit_test(test_builder),
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_shape_errors), cmocka_unit_test(test_builder_errors),
        cmocka_unit_test(test_hostile),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_no_memory),    cmocka_unit_test(test_sums),
        cmocka_unit_test(test_branches),     cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("net blocks", tests, NULL, NULL);
}
