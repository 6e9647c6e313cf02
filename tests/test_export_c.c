/* SPDX-License-Identifier: MIT
 * Nets as C: compiled by every compiler that is here without a warning, their self-tests run, which compare with
 * ek_predict; a self-test that a changed weight makes fail; places that no two living values share; failures. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <math.h>

#include <cmocka.h>

#include "base/memory.h"
#include "io/c_source.h"
#include "net/number.h"
#include "random_net.h"
#include "shell.h"

#define WARNINGS "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion -Werror"

static void export(ek_net *net, const char *name, ek_export_c_report *report)
{
    char path[SCRATCH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (ek_export_c(net, path, &(ek_export_c_options){.report = report}))
        fail_msg("%s: %s", name, ek_error());
}

/* Nets of all sizes the tests compile together: small ones, built in and random. */
static ek_net *make_net(int i)
{
    static const struct {
        const char *name;
        int channels, size;
    } builtins[] = {{"lenet", 1, 28}, {"bn-lenet", 1, 28}, {"mlp", 1, 6}, {"resnet-20", 3, 4}};
    const int count = sizeof builtins / sizeof *builtins;
    if (i >= count)
        return random_net((uint64_t)i, RANDOM_NET_TRACKED | RANDOM_NET_DOUBLES);
    ek_net *net = ek_net_builtin_for(builtins[i].name, builtins[i].channels, builtins[i].size, builtins[i].size, 10);
    assert_non_null(net);
    random_net_values(net, (uint64_t)i);
    return net;
}

static void test_nets(void **state)
{
    (void)state;
    const int nets = getenv("EVENKEEL_TEST_QUICK") ? 7 : getenv("EVENKEEL_TEST_ALL") ? 204 : 16;
    ek_text includes = {0}, calls = {0};
    for (int i = 0; i < nets; i++) {
        char name[16];
        ek_net *net = make_net(i);
        const float mean[] = {0.2f, 0.3f, 0.4f}, std[] = {0.5f, 0.25f, 0.75f};
        if (i % 2 && ek_net_set_normalization(net, net->input.c <= 3 ? net->input.c : 1, mean, std))
            fail_msg("%s", ek_error());
        snprintf(name, sizeof name, "net%d", i);
        export(net, name, NULL);
        ek_text_sayf(&includes, "#include \"%s.c\"\n", name);
        ek_text_sayf(&calls, "    if (%s_self_test()) { puts(\"%s\"); wrong++; }\n", name, name);
        ek_net_free(net);
    }
    ek_text_say(&includes, "#include <stdio.h>\nint main(void)\n{\n    int wrong = 0;\n");
    ek_text_say(&includes, calls.text);
    ek_text_say(&includes, "    return wrong;\n}\n");
    put_file("all.c", includes.text);
    ek_free(includes.text);
    ek_free(calls.text);
    assert_int_equal(run("cc -std=c99 -O0 " WARNINGS " all.c -o all -lm && ./all"), 0);
}

static void test_compilers(void **state)
{
    (void)state;
    static const struct {
        const char *tool, *command;
    } compilers[] = {
        {"gcc", "gcc -std=c99 -O3 " WARNINGS},
        {"clang", "clang -std=c99 -O1 " WARNINGS},
        {"g++", "g++ -x c++ -std=c++11 -O1 " WARNINGS},
        {"arm-none-eabi-gcc", "arm-none-eabi-gcc -std=c99 -Os -mcpu=cortex-m4 -mthumb " WARNINGS},
    };
    ek_net *net = make_net(1);
    ek_export_c_report report;
    export(net, "my-net", &report);
    assert_true(report.constants > 170000 && report.constants < 190000 && report.memory < 20000 && report.tests == 2);
    const bool quick = getenv("EVENKEEL_TEST_QUICK"); /* the text is every build's */
    for (size_t i = 0; !quick && i < sizeof compilers / sizeof *compilers; i++) {
        char command[400];
        snprintf(command, sizeof command, "%s -c my-net.c -o my-net.o", compilers[i].command);
        if (!is_here(compilers[i].tool))
            printf("SKIP: no %s: nets as C are not compiled by it\n", compilers[i].tool);
        else if (run(command))
            fail_msg("%s", command);
    }
    /* The first weight of every layer another one: the self-test of both images fails. */
    put_file("main.c", "#include \"my-net.c\"\nint main(void)\n{\n    return my_net_self_test();\n}\n");
    assert_int_equal(run("cc -O0 main.c -o main && ./main"), 0);
    assert_int_equal(run("awk '/^static const float my_net_weight_/ {print; getline; sub(/[-0-9.e]+f,/, \"70.0f,\")} "
                         "{print}' my-net.c >changed.c && cp changed.c my-net.c && cc -O0 main.c -o main && ./main"),
                     2);
    ek_net_free(net);
}

/* Names of the classes, whatever bytes they are of; none where there is not one for each output. */
static void test_labels(void **state)
{
    (void)state;
    ek_net *net = make_net(1);
    assert_int_equal(ek_net_set_note(net, "labels", "a\nb \"c\"\nd\\e\n?\?/\n\303\2441\n\t\n*/\n\nh\ni"), EK_OK);
    export(net, "named", NULL);
    put_file("labels.c",
             "#include \"named.h\"\n#include <string.h>\n"
             "static const char *const labels[NAMED_OUTPUTS] = NAMED_LABELS;\n"
             "int main(void)\n{\n"
             "    return strcmp(labels[0], \"a\") || strcmp(labels[1], \"b \\\"c\\\"\") || strcmp(labels[2], "
             "\"d\\\\e\") ||\n"
             "           memcmp(labels[3], \"\\77\\77/\", 4) || memcmp(labels[4], \"\\303\\2441\", 4) || "
             "strcmp(labels[5], \"\\t\") ||\n"
             "           strcmp(labels[6], \"*/\") || *labels[7] || strcmp(labels[9], \"i\");\n}\n");
    assert_int_equal(run("cc -std=c99 " WARNINGS " labels.c -o labels && ./labels"), 0);
    assert_int_equal(ek_net_set_note(net, "labels", "a\nb"), EK_OK);
    export(net, "named", NULL);
    assert_int_not_equal(run("grep LABELS named.h"), 0);
    ek_net_free(net);
}

/* The exponential by itself: close to libm's, bounds and NaN as its comment says; gcc vectorises the loop around it. */
static void test_exponential(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 1 2 2\nflatten\nlinear 64\nsigmoid\nlinear 2\n", "small");
    assert_non_null(net);
    random_net_values(net, 1);
    export(net, "ex", NULL);
    ek_net_free(net);
    put_file(
        "exponential.c",
        "#include \"ex.c\"\n#include <math.h>\n#include <string.h>\n"
        "int main(void)\n{\n"
        "    int wrong = 0;\n"
        "    float v[3] = {-INFINITY, 100.0f, NAN};\n"
        "    uint32_t bits;\n"
        "    for (bits = 0; bits < 0x42ae0000u; bits += 997) {\n"
        "        float x;\n"
        "        memcpy(&x, &bits, sizeof x);\n"
        "        wrong += !(fabs(ex_exp(x) / exp(x) - 1.0) < 1.5e-7) || !(fabs(ex_exp(-x) / exp(-x) - 1.0) < 1.5e-7);\n"
        "    }\n"
        "    wrong += ex_exp(0.0f) != 1.0f || ex_exp(1e30f) != ex_exp(87.0f) || ex_exp(-INFINITY) != ex_exp(-87.0f);\n"
        "    ex_sigmoid(v, 3);\n"
        "    wrong += !(v[0] >= 0.0f && v[0] < 1e-37f) || v[1] != 1.0f || v[2] == v[2];\n"
        "    return wrong != 0;\n}\n");
    assert_int_equal(run("cc -O2 exponential.c -o exponential -lm && ./exponential"), 0);
    if (run("gcc -v 2>/dev/null"))
        printf("SKIP: no gcc: that loops around the exponential vectorise is not checked\n");
    else
        assert_int_equal(run("grep -n '= 1.0f / (1.0f + ex_exp(-y\\[i\\]));' ex.c | cut -d: -f1 >line && "
                             "gcc -O3 -fopt-info-vec-optimized -c ex.c -o ex.o 2>&1 | "
                             "grep -q \"ex.c:$(($(cat line) - 1)):.*loop vectorized\""),
                         0);
}

/* BN-LeNet on an emulated Cortex-M3 without floating point, linked into 200 KB of flash and 24 KB of memory. */
static void test_microcontroller(void **state)
{
    (void)state;
    if (getenv("EVENKEEL_TEST_QUICK"))
        return; /* the text is every build's */
    ek_net *net = make_net(1);
    char command[1000];
    export(net, "lenet", NULL);
    snprintf(command, sizeof command, "sh '%s/cortexm/run.sh' . lenet 200000 24000 784", EK_TEST_DIR);
    const int status = run(command);
    ek_net_free(net);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

/* While a value is needed, nothing else is written where it lies. */
static void test_places(void **state)
{
    (void)state;
    for (int n = 0; n < 60; n++) {
        ek_net *net = make_net(n);
        ek_c_plan p;
        assert_int_equal(ek_c_plan_new(&p, net), EK_OK);
        int *owner = malloc((size_t)p.memory * sizeof *owner);
        assert_non_null(owner);
        for (int64_t i = 0; i < p.memory; i++)
            owner[i] = -1;
        for (int64_t i = 0; i < p.values[0].count; i++)
            owner[ek_c_place(&p, 0) + i] = 0;
        for (int o = 0; o < p.op_count; o++) {
            const ek_c_op *op = &p.ops[o];
            const int reads[] = {op->x, op->r};
            for (int j = 0; j < p.values[op->plane < 0 ? op->x : op->plane].count && op->plane >= 0; j++)
                owner[ek_c_place(&p, op->plane) + j] = op->plane;
            const int64_t count = op->kind == EK_C_COPY ? p.values[op->x].count : p.values[op->y].count;
            const bool over = op->kind >= EK_C_SCALE && op->kind <= EK_C_ADD_PAD;
            if (!over) /* what is written before all is read */
                for (int64_t j = 0; j < count; j++)
                    owner[ek_c_place(&p, op->y) + op->at + j] = op->y;
            for (int k = 0; k < 2; k++)
                for (int64_t j = 0; reads[k] >= 0 && j < p.values[reads[k]].count; j++)
                    if (owner[ek_c_place(&p, reads[k]) + j] != reads[k])
                        fail_msg("net %d, operation %d: what it reads is overwritten", n, o);
            for (int64_t j = 0; j < count; j++)
                owner[ek_c_place(&p, op->y) + op->at + j] = op->y;
        }
        for (int64_t j = 0; j < p.values[p.output].count; j++)
            assert_int_equal(owner[ek_c_place(&p, p.output) + j], p.output);
        free(owner);
        ek_c_plan_free(&p);
        ek_net_free(net);
    }
}

static ek_net *parsed(const char *text)
{
    ek_net *net = ek_net_parse(text, "text");
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 3))
        fail_msg("%s", ek_error());
    return net;
}

/* Compiles NAME.c with a main that returns the self-test's result. */
static int self_test(const char *name, const char *compile)
{
    char text[300], command[400];
    snprintf(text, sizeof text, "#include \"%s.c\"\nint main(void)\n{\n    return %s_self_test();\n}\n", name, name);
    put_file("main.c", text);
    snprintf(command, sizeof command, "%s main.c -o main -lm && ./main", compile);
    return run(command);
}

/* Outputs near zero, of a head with one output; outputs that are all zero. */
static void test_small_outputs(void **state)
{
    (void)state;
    const int tests = getenv("EVENKEEL_TEST_QUICK") ? 300 : 1000;
    char path[SCRATCH_SIZE + 64];
    ek_net *net = parsed("input 1 6 6\nconv2d 16 kernel=3\nrelu\nflatten\nlinear 1\n");
    const ek_tensor *bias = ek_net_tensor_by_name(net, "3.bias");
    float x[64 * 36], y[64], mean = 0;
    for (int i = 0; i < 64 * 36; i++)
        x[i] = (float)((uint32_t)i * 2654435761u >> 24) / 255;
    assert_int_equal(ek_predict(net, 64, x, 1, y), EK_OK);
    for (int i = 0; i < 64; i++)
        mean += y[i] / 64;
    bias->data[0] -= mean;
    snprintf(path, sizeof path, "%s/one", folder);
    assert_int_equal(ek_export_c(net, path, &(ek_export_c_options){.tests = tests}), EK_OK);
    assert_int_equal(self_test("one", "cc -std=c99 -O1 " WARNINGS), 0);
    ek_net_free(net);
    net = parsed("input 1 6 6\nflatten\nlinear 3\nrelu\n");
    for (int i = 0; i < 3; i++)
        ek_net_tensor_by_name(net, "1.bias")->data[i] = -100;
    export(net, "none", NULL);
    assert_int_equal(self_test("none", "cc -std=c99 -O0 " WARNINGS), 0);
    ek_net_free(net);
}

/* Numbers that C has no text for: an infinite weight, an infinite scale, which a relu hides from the outputs. */
static void test_numbers(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE + 64], text[EK_FLOAT_TEXT];
    snprintf(path, sizeof path, "%s/numbers", folder);
    ek_net *net = parsed("input 1 2 2\nbatchnorm eps=0\nrelu\nflatten\nlinear 2\n");
    const ek_tensor *weight = ek_net_tensor_by_name(net, "3.weight");
    const float was = weight->data[1];
    weight->data[1] = -INFINITY;
    assert_int_equal(ek_export_c(net, path, NULL), EK_ERR_NUMERIC);
    assert_non_null(strstr(ek_error(), "element 1 of 3.weight is not finite"));
    weight->data[1] = was;
    ek_net_tensor_by_name(net, "0.weight")->data[0] = -1e30f;
    ek_net_tensor_by_name(net, "0.running_var")->data[0] = 1e-30f;
    assert_int_equal(ek_export_c(net, path, NULL), EK_ERR_NUMERIC);
    if (!strstr(ek_error(), "layer 0 (batchnorm): channel 0 is multiplied by -1e+45"))
        fail_msg("%s", ek_error());
    assert_int_equal(run("ls numbers* 2>/dev/null"), 2);
    ek_net_free(net);
    assert_string_equal(ek_float_text(INFINITY, text), "inf");
    assert_string_equal(ek_float_text(-INFINITY, text), "-inf");
    assert_string_equal(ek_float_text(-NAN, text), "nan");
}

/* A residual whose body is nothing in prediction: no function reads and writes one place by two names. */
static void test_doubles(void **state)
{
    (void)state;
    ek_net *net = parsed("input 2 4 4\nresidual {\ndropout\n}\nresidual shortcut=pad {\ndropout\n}\n"
                         "flatten\nlinear 3\nresidual {\ndropout\n}\n");
    export(net, "twice", NULL);
    assert_int_equal(self_test("twice", "cc -std=c99 -O2 " WARNINGS), 0);
    assert_int_equal(run("grep -E '^    twice_(add|add_pad|copy)\\((twice_memory \\+ [0-9]+), \\2' twice.c"), 1);
    ek_net_free(net);
}

/* Sizes whose products an int does not hold. */
static void test_extremes(void **state)
{
    (void)state;
    ek_c_plan plan;
    /* 699*63435*53*53 is 1 modulo 2^32: no linear layer */
    ek_net *net = ek_net_parse("input 1 699 63435\nconv2d 1 kernel=53 stride=53\n", "text");
    assert_int_equal(ek_net_finish(net), EK_OK);
    assert_int_equal(ek_c_plan_new(&plan, net), EK_OK);
    assert_int_equal(plan.ops[0].kind, EK_C_CONV);
    ek_c_plan_free(&plan);
    ek_net_free(net);
    net = ek_net_parse("input 1 1 1\nconv2d 1 kernel=3 padding=32768 stride=32768\n", "text");
    assert_int_equal(ek_net_finish(net), EK_OK);
    assert_int_equal(ek_c_plan_new(&plan, net), EK_ERR_UNSUPPORTED);
    assert_non_null(strstr(ek_error(), "layer 0 (conv2d)"));
    ek_net_free(net);
    net = parsed("input 1 1 1\navgpool 65536 padding=32768\n");
    export(net, "wide", NULL);
    assert_int_equal(self_test("wide", "cc -std=c99 -O1 " WARNINGS), 0);
    ek_net_free(net);
}

/* Both files or none, and never one of each of two exports. */
static void test_pair(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE + 64];
    ek_net *net = parsed("input 1 2 2\nflatten\nlinear 2\n"), *other = parsed("input 1 3 3\nflatten\nlinear 2\n");
    export(net, "pair", NULL);
    assert_int_equal(run("cc -c pair.c && cp pair.h old.h"), 0);
    export(other, "pair", NULL);
    assert_int_equal(run("cc -c pair.c"), 0);
    assert_int_equal(run("mv old.h pair.h && ! cc -c pair.c 2>wrong && grep -q 'of different exports' wrong"), 0);
    snprintf(path, sizeof path, "%s/blocked", folder);
    for (int i = 0; i < 2; i++) { /* the one or the other is a folder: neither is written */
        assert_int_equal(run(i ? "rmdir blocked.c && mkdir blocked.h" : "mkdir blocked.c"), 0);
        assert_int_equal(ek_export_c(net, path, NULL), EK_ERR_IO);
        assert_int_equal(run("[ \"$(ls -d blocked*)\" = blocked.[ch] ]"), 0);
    }
    /* A disk that is full after the header: the old pair stays. */
    export(net, "full", NULL);
    assert_int_equal(run("cat full.c full.h >before"), 0);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {2000, 2000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        snprintf(path, sizeof path, "%s/full", folder);
        _exit(ek_export_c(other, path, NULL) == EK_ERR_IO ? 0 : 1);
    }
    int status = -1;
    assert_true(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    assert_int_equal(run("cat full.c full.h | cmp - before && [ \"$(ls full*)\" = \"$(printf 'full.c\nfull.h')\" ]"),
                     0);
    ek_net_free(net);
    ek_net_free(other);
}

/* The path's last part as the beginning of C's names. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *path, *prefix, *names, *upper;
    } cases[] = {{"MyNet", NULL, "MyNet", "MYNET"},
                 {"a/q.c", NULL, "q", "Q"},
                 {"3net", NULL, "n3net", "N3NET"},
                 {"a b-c.v2", NULL, "a_b_c_v2", "A_B_C_V2"},
                 {"x", "Good_1", "Good_1", "GOOD_1"}};
    static const char *const wrong[] = {"", "a/", "a\"b", "a\nb", "a*b", "a>b"};
    char longer[200] = "";
    ek_c_names n;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ek_c_set_names(&n, cases[i].path, cases[i].prefix), EK_OK);
        assert_string_equal(n.prefix, cases[i].names);
        assert_string_equal(n.upper, cases[i].upper);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ek_c_set_names(&n, wrong[i], NULL), EK_ERR_ARGUMENT);
    memset(longer, '7', 63);
    assert_int_equal(ek_c_set_names(&n, longer, NULL), EK_OK);
    assert_true(strlen(n.prefix) == 63 && strlen(n.file) == 63);
    assert_int_equal(ek_c_set_names(&n, longer, longer), EK_ERR_ARGUMENT);
    longer[63] = 'x';
    assert_int_equal(ek_c_set_names(&n, longer, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_c_set_names(&n, "x", longer + 63), EK_OK);
    assert_int_equal(ek_c_set_names(&n, "x", ""), EK_ERR_ARGUMENT);
}

static void test_failures(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE + 64];
    ek_net *net = make_net(0);
    assert_int_equal(ek_export_c(net, NULL, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_export_c(NULL, "net", NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_export_c(net, "", NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_export_c(net, "net", &(ek_export_c_options){.prefix = "1net"}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_export_c(net, "net", &(ek_export_c_options){.prefix = "a b"}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_export_c(net, "net", &(ek_export_c_options){.tests = -1}), EK_ERR_ARGUMENT);
    snprintf(path, sizeof path, "%s/none/net", folder);
    assert_int_equal(ek_export_c(net, path, NULL), EK_ERR_NOT_FOUND);
    ek_net *untracked = ek_net_parse("input 1 4 4\nbatchnorm tracking=no\nflatten\nlinear 2\n", "text");
    snprintf(path, sizeof path, "%s/untracked", folder);
    assert_int_equal(ek_export_c(untracked, path, NULL), EK_ERR_UNSUPPORTED);
    assert_non_null(strstr(ek_error(), "layer 0 (batchnorm)"));
    assert_int_equal(run("ls untracked* >/dev/null 2>&1"), 2);
    ek_net_free(untracked);
    ek_net *small =
        ek_net_parse("input 1 3 3\nconv2d 2 kernel=3 padding=1\nbatchnorm\nrelu\nflatten\nlinear 2\n", "text");
    snprintf(path, sizeof path, "%s/small", folder);
    for (int64_t n = 1;; n++) {
        ek_memory_fail_at(n);
        const ek_status status = ek_export_c(small, path, NULL);
        ek_memory_fail_at(0);
        if (!status)
            break;
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_true(n < 1000);
    }
    ek_net_free(small);
    ek_net_free(net);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(scratch_template(folder, "c")) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return run("rm -r \"$PWD\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets),
        cmocka_unit_test(test_compilers),
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_microcontroller),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_small_outputs),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
