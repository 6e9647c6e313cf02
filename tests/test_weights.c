/* SPDX-License-Identifier: MIT
 * Weights under other names: what rules make of names, what is refused, what is left aside, and what is listed. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "evenkeel.h"
#include "io/rename.h"
#include "scratch.h"

static char path[SCRATCH_SIZE];

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(scratch_template(path, "weights"));
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

#define OK(call)                                                                                                     \
    do {                                                                                                             \
        if (call)                                                                                                    \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

/* ---- Names -------------------------------------------------------------------------------------------------- */

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *name, *renamed; /* NULL: it does not fit */
    } cases[] = {
        {"module.=", "module.0.weight", "0.weight"},
        {"module=", "module.0.weight", "0.weight"}, /* the point goes along */
        {"module=", "module", NULL},                /* (refused, below) */
        {"module.=", "modules.0.weight", NULL},
        {"module=", "modules.0.weight", NULL},
        {"module.=", "net.module.0.weight", NULL}, /* at the beginning alone */
        {"features.0=0", "features.0.weight", "0.weight"},
        {"features.0=0", "features.01.weight", NULL},
        {"features.0=0", "features.0", "0"},
        {"features.=", "features.features.0", "features.0"}, /* once */
        {"a=b.c", "a.weight", "b.c.weight"},
        {"a.weight=a.gain", "a.weight", "a.gain"},
        {"a.weight=a.gain", "a.weights", NULL},
        {"*.bn1.=*.1.", "layer1.0.bn1.weight", "layer1.0.1.weight"},
        {"*.bn1.=*.1.", "bn1.weight", NULL}, /* a star is a character at least */
        {"*.bn1.=*.1.", "a.bn1.bn1.weight", "a.1.bn1.weight"},
        {"*bn=*", "abn.x", "a.x"},
        {"*bn=*", "abnbn.x", "abn.x"}, /* the first that ends a part */
        {"*bn=*", "abnc.x", NULL},
        {"*.*.conv=*.body.*", "layer1.0.conv.weight", "layer1.body.0.weight"},
        {"layer*.0=*", "layer12.0.weight", "12.weight"},
        {"*=x", "a.b", "x.b"}, /* a part */
        {"*=net.*", "a.b", "net.a.b"},
        {"*.*=*", "a.b.c", "a.c"}, /* the stars in order; TO may have fewer */
        {"*.gamma=*.weight", "norm.gamma", "norm.weight"},
        {"*.gamma=*.weight", "norm.gamma.x", "norm.weight.x"},
        {"a==", "a.b", "=.b"}, /* the first '=' parts */
        {"*a*a=*-*", "aaaa", "a-a"},
        {"*.b.*.d=*/*", "a.b.b.b.c.d.e", "a/b.b.c.e"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *renamed = NULL;
        const ek_status status = ek_rename(&renamed, cases[i].rule, cases[i].name);
        if (strcmp(cases[i].name, "module") == 0)
            assert_int_equal(status, EK_ERR_ARGUMENT);
        else
            OK(status);
        if (!renamed != !cases[i].renamed || (renamed && strcmp(renamed, cases[i].renamed)))
            fail_msg("'%s' makes '%s' of '%s', not '%s'", cases[i].rule, renamed ? renamed : "nothing", cases[i].name,
                     cases[i].renamed ? cases[i].renamed : "nothing");
        ek_free(renamed);
    }
}

static void test_wrong_rules(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"module.", "'module.' is no rule to rename tensors; write FROM=TO, as in module.="},
        {"=net.", "'=net.' is no rule to rename tensors; write FROM=TO, as in module.="},
        {"", "'' is no rule to rename tensors; write FROM=TO, as in module.="},
        {"a=*", "the rule 'a=*' has more stars behind '=' than before it"},
        {"**=*", "'**' has two stars without a text between them"},
        {"*a*a*a*a*a*a*a*a*=", "'*a*a*a*a*a*a*a*a*' has more than 8 stars"},
        {"a.b=", "the rule 'a.b=' leaves nothing of the name 'a.b'"},
        {"*=", "the rule '*=' leaves nothing of the name 'a.b'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *renamed = NULL;
        const char *name = i == 7 ? "a" : "a.b";
        assert_int_equal(ek_rename(&renamed, cases[i][0], name), EK_ERR_ARGUMENT);
        assert_null(renamed);
        if (i < 7)
            assert_string_equal(ek_error(), cases[i][1]);
    }
}

/* ---- Files -------------------------------------------------------------------------------------------------- */

static const char text[] = "input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 3\n";

static ek_net *new_net(uint64_t seed)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, seed))
        fail_msg("%s", ek_error());
    return net;
}

/* Writes the net's tensors under other names: what `rename` makes of them, a rule for each. */
static void write_renamed(ek_net *net, const char *const *rules)
{
    ek_safetensors_item items[16];
    char *names[16];
    const size_t count = (size_t)ek_net_tensor_count(net);
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++) {
        const ek_tensor *t = ek_net_tensor(net, (int)i);
        names[i] = ek_strdup(t->name);
        for (int r = 0; rules[r]; r++) {
            char *renamed;
            OK(ek_rename(&renamed, rules[r], names[i]));
            if (renamed) {
                ek_free(names[i]);
                names[i] = renamed;
            }
        }
        items[i] = (ek_safetensors_item){names[i], t->ndim, t->dim, t->count, t->data, t->counter};
    }
    ek_file_writer *writer;
    OK(ek_file_create(&writer, path));
    OK(ek_safetensors_write(writer, NULL, 0, items, count));
    OK(ek_file_commit(writer));
    for (size_t i = 0; i < count; i++)
        ek_free(names[i]);
}

static void expect_values(ek_net *net, ek_net *like, bool same)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *a = ek_net_tensor(net, i), *b = ek_net_tensor(like, i);
        if (a->role == EK_ROLE_WEIGHT)
            assert_int_equal(memcmp(a->data, b->data, (size_t)a->count * sizeof(float)) == 0, same);
    }
}

/* Weights under torchvision's kind of names. */
static void test_renamed_file(void **state)
{
    (void)state;
    static const char *const away[] = {"0=model.conv1", "1=model.bn1", "3=model.classifier.head", NULL};
    static const char *const back[] = {"model=", "conv1=0", "bn1=1", "*.head=3"};
    ek_net *from = new_net(1), *net = new_net(2);
    char *misfits = (char *)text;
    write_renamed(from, away);
    const ek_weights_options options = {.renames = back, .rename_count = 4, .misfits = &misfits};
    expect_values(net, from, false);
    OK(ek_net_load_weights_with(net, path, &options));
    assert_null(misfits);
    expect_values(net, from, true);
    ek_net_free(from);
    ek_net_free(net);
}

static void refuse(const ek_weights_options *options, ek_status status, const char *message, const char *listed)
{
    ek_net *net = new_net(2), *untouched = new_net(2);
    ek_weights_options with = options ? *options : (ek_weights_options){0};
    char *misfits = NULL, whole[1200];
    with.misfits = &misfits;
    assert_int_equal(ek_net_load_weights_with(net, path, &with), status);
    snprintf(whole, sizeof whole, "%s: %s", path, message);
    assert_string_equal(ek_error(), whole);
    assert_int_equal(misfits != NULL, listed != NULL);
    if (listed)
        assert_string_equal(misfits, listed);
    free(misfits);
    expect_values(net, untouched, true);
    ek_net_free(net);
    ek_net_free(untouched);
}

static void test_misfits(void **state)
{
    (void)state;
    ek_net *net = new_net(1);
    write_renamed(net, (const char *const[]){"*=module.*", NULL});
    refuse(NULL, EK_ERR_SHAPE,
           "its tensors do not fit the net (with the rule 'module.=' it has the missing ones); missing: 0.weight, "
           "0.bias, 1.weight, 1.bias and 4 more; not in the net: module.0.weight, module.0.bias, module.1.weight, "
           "module.1.bias and 5 more",
           "missing    0.weight [2,1,3,3]\nmissing    0.bias [2]\nmissing    1.weight [2]\nmissing    1.bias [2]\n"
           "missing    1.running_mean [2]\nmissing    1.running_var [2]\nmissing    3.weight [3,8]\n"
           "missing    3.bias [3]\n"
           "left over  module.0.weight [2,1,3,3]\nleft over  module.0.bias [2]\nleft over  module.1.weight [2]\n"
           "left over  module.1.bias [2]\nleft over  module.1.running_mean [2]\n"
           "left over  module.1.running_var [2]\nleft over  module.1.num_batches_tracked []\n"
           "left over  module.3.weight [3,8]\nleft over  module.3.bias [3]\n");
    static const char *const swapped[] = {"module.3.weight=1.weight", "module.1.weight=3.weight", "module="};
    refuse(
        &(ek_weights_options){.renames = swapped, .rename_count = 3}, EK_ERR_SHAPE,
        "its tensors do not fit the net; misshapen: 1.weight is [3,8] where the net has [2], 3.weight is [2] where "
        "the net has [3,8]",
        "misshapen  1.weight [3,8] where the net has [2]\nmisshapen  3.weight [2] where the net has [3,8]\n");
    static const char *const other[] = {"module=", "3=head"};
    refuse(&(ek_weights_options){.renames = other, .rename_count = 2}, EK_ERR_SHAPE,
           "its tensors do not fit the net; missing: 3.weight, 3.bias; not in the net: head.weight, head.bias",
           "missing    3.weight [3,8]\nmissing    3.bias [3]\n"
           "left over  head.weight [3,8], in the file module.3.weight\n"
           "left over  head.bias [3], in the file module.3.bias\n");
    ek_net_free(net);
}

static void test_refused_rules(void **state)
{
    (void)state;
    ek_net *net = new_net(1);
    write_renamed(net, (const char *const[]){NULL});
    refuse(&(ek_weights_options){.renames = (const char *const[]){"features.="}, .rename_count = 1}, EK_ERR_ARGUMENT,
           "the rule 'features.=' fits no tensor; one is called '0.weight'", NULL);
    refuse(&(ek_weights_options){.renames = (const char *const[]){"3=0"}, .rename_count = 1}, EK_ERR_ARGUMENT,
           "the rules make '0.bias' of two tensors, '0.bias' and '3.bias'", NULL);
    refuse(&(ek_weights_options){.leave = (const char *const[]){"4"}, .leave_count = 1}, EK_ERR_ARGUMENT,
           "neither it nor the net has a tensor '4' to leave", NULL);
    assert_int_equal(ek_net_load_weights_with(net, path, &(ek_weights_options){.rename_count = 1}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_load_weights_with(NULL, path, NULL), EK_ERR_ARGUMENT);
    ek_net_free(net);
}

/* Another head, and a statistic that the net has not. */
static void test_left_aside(void **state)
{
    (void)state;
    ek_net *from = ek_net_parse("input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 7\nbatchnorm\n", NULL);
    ek_net *net = new_net(2), *fresh = new_net(2);
    OK(ek_net_init(from, EK_INIT_XAVIER, 1));
    *ek_net_tensor_by_name(from, "1.num_batches_tracked")->counter = 17;
    OK(ek_net_save(from, path));
    static const char *const leave[] = {"3", "4"};
    OK(ek_net_load_weights_with(net, path, &(ek_weights_options){.leave = leave, .leave_count = 2}));
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i), *like = ek_net_tensor(t->layer == 3 ? fresh : from, i);
        if (t->data)
            assert_memory_equal(t->data, like->data, (size_t)t->count * sizeof(float));
        else
            assert_int_equal(*t->counter, 17);
    }
    ek_net_free(from);
    ek_net_free(net);
    ek_net_free(fresh);
}

/* torch.save's files: a zip, and the older pickle; and a header that begins like the latter. */
static void test_torch_files(void **state)
{
    (void)state;
    static const char *const files[] = {"PK\3\4\0\0\10\10\0\0", "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.",
                                        "\x80\2\0\0\0\0\0\0{"};
    static const size_t sizes[] = {10, 16, 9};
    for (int i = 0; i < 3; i++) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(files[i], 1, sizes[i], file), sizes[i]);
        fclose(file);
        ek_net *net = new_net(1), *loaded;
        assert_int_equal(ek_net_load_weights(net, path), i < 2 ? EK_ERR_UNSUPPORTED : EK_ERR_FORMAT);
        assert_int_equal(strstr(ek_error(), "import torch; from safetensors.torch import save_file; "
                                            "save_file(torch.load(\"") != NULL,
                         i < 2);
        assert_int_equal(ek_net_load(&loaded, path), i < 2 ? EK_ERR_UNSUPPORTED : EK_ERR_FORMAT);
        ek_net_free(net);
    }
}

/* Every tensor is there but the last two, and the last but one is there behind as many prefixes: looking for the prefix
 * takes no time that grows with the product of both: 0.2 s of a processor, not 10 s. */
static void test_many_prefixes(void **state)
{
    (void)state;
    enum { LAYERS = 25000, PREFIXES = 40000 };
    char(*names)[24] = calloc(LAYERS + PREFIXES, sizeof *names), net_text[80];
    ek_safetensors_item *items = calloc(LAYERS + PREFIXES, sizeof *items);
    static const int64_t dim[4] = {1, 1, 1, 1};
    static const float one = 1;
    snprintf(net_text, sizeof net_text, "input 1 1 1\nrepeat %d {\nconv2d 1 bias=no\n}\n", LAYERS);
    ek_net *net = ek_net_parse(net_text, NULL);
    assert_true(names && items && net);
    size_t count = 0;
    for (int i = 0; i < LAYERS - 2 + PREFIXES; i++, count++) {
        if (i < LAYERS - 2)
            snprintf(names[i], sizeof *names, "%d.weight", i);
        else
            snprintf(names[i], sizeof *names, "p%d.%d.weight", i, LAYERS - 2);
        items[i] = (ek_safetensors_item){names[i], 4, dim, 1, &one, NULL};
    }
    ek_file_writer *writer;
    OK(ek_file_create(&writer, path));
    OK(ek_safetensors_write(writer, NULL, 0, items, count));
    OK(ek_file_commit(writer));
    const clock_t begin = clock();
    assert_int_equal(ek_net_load_weights(net, path), EK_ERR_SHAPE);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    assert_non_null(strstr(ek_error(), "do not fit the net; missing: 24998.weight, 24999.weight; not in the net: "));
    if (seconds > 4)
        fail_msg("%.1f s", seconds);
    ek_net_free(net);
    free(items);
    free(names);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    static const char *const away[] = {"*=module.*", NULL}, *const back[] = {"module=", "3=head"};
    ek_net *net = new_net(1);
    write_renamed(net, away);
    ek_status status = EK_ERR_MEMORY;
    int failures = -1;
    for (int64_t n = 1; status == EK_ERR_MEMORY; n++, failures++) {
        char *misfits = NULL;
        ek_memory_fail_at(n);
        status = ek_net_load_weights_with(
            net, path, &(ek_weights_options){.renames = back, .rename_count = 2, .misfits = &misfits});
        free(misfits);
    }
    ek_memory_fail_at(0);
    assert_int_equal(status, EK_ERR_SHAPE);
    assert_true(failures > 20);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),         cmocka_unit_test(test_wrong_rules),
        cmocka_unit_test(test_renamed_file),  cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_refused_rules), cmocka_unit_test(test_left_aside),
        cmocka_unit_test(test_torch_files),   cmocka_unit_test(test_many_prefixes),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
