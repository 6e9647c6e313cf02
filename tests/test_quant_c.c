/* SPDX-License-Identifier: MIT
 * Nets in integers as C text: compiled, by every compiler that is here, without a warning; outputs the library's to the
 * last bit; memory that no two values share; sizes on a Cortex-M. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "evenkeel.h"
#include "quant/memory.h"
#include "quantized.h"
#include "random_net.h"
#include "shell.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

enum { SAMPLES = 32 };

/* Noise, and images of bytes 0 and 255 alone, in turn. */
static ek_dataset *noise(const ek_net *net)
{
    ek_dataset *data = NULL;
    const int64_t image = ek_dims_count(net->input), size = SAMPLES * image;
    uint8_t *pixels = malloc((size_t)size), labels[SAMPLES] = {0};
    assert_non_null(pixels);
    for (int64_t i = 0; i < size; i++) {
        const uint32_t bits = (uint32_t)i * 2654435761u;
        pixels[i] = i / image % 2 ? (bits >> 21 & 1 ? 255 : 0) : (uint8_t)(bits >> 13);
    }
    assert_ok(ek_dataset_from_memory(&data, SAMPLES, net->input.c, net->input.h, net->input.w, pixels, labels, 1));
    free(pixels);
    return data;
}

static void export(const ek_quantized *q, const char *name, const ek_dataset *samples, ek_export_c_report *report)
{
    char path[SCRATCH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(ek_quantized_export_c(q, path, &(ek_export_c_options){.samples = samples, .report = report}));
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* The last operation that reads tensor t or a concat that it is part of; its writer where none does. */
static int last_reader(const ek_quantized *q, int t)
{
    int last = q->tensors[t].writer;
    for (; t >= 0; t = q->tensors[t].part_of)
        for (int i = 0; i < q->op_count; i++)
            if ((q->ops[i].x == t || q->ops[i].r == t) && i > last)
                last = i;
    return last;
}

/* What operation i writes may lie where it reads, if it takes value by value, else apart from all that is still to be
 * read and was written before. */
static void check_place(const ek_quantized *q, const int64_t *places, int i)
{
    const ek_q_op *op = &q->ops[i];
    const ek_q_tensor *y = &q->tensors[op->y];
    for (int t = 0; t < q->tensor_count; t++) {
        const ek_q_tensor *o = &q->tensors[t];
        if (t == op->y || o->writer < 0 || o->writer >= i || places[t] < 0 || places[op->y] < 0)
            continue;
        const bool by_value = op->kind == EK_Q_TABLE || op->kind == EK_Q_ADD;
        const bool still_read = last_reader(q, t) > i;
        const bool read_now = op->x == t || op->r == t;
        if (!still_read && !(read_now && !(by_value && t == op->x && places[t] == places[op->y])))
            continue;
        assert_true(places[t] + o->count <= places[op->y] || places[op->y] + y->count <= places[t]);
    }
}

static void check_memory(const ek_quantized *q)
{
    int64_t *places = calloc((size_t)q->tensor_count, sizeof *places), size, sum = 0;
    assert_non_null(places);
    assert_ok(ek_q_plan_memory(q, places, &size));
    for (int t = 0; t < q->tensor_count; t++) {
        const ek_q_tensor *tensor = &q->tensors[t];
        if (tensor->type != EK_Q_INT8 || (tensor->writer < 0 && tensor->readers == 0))
            continue;
        assert_true(places[t] >= 0 && places[t] + tensor->count <= size);
        sum += tensor->part_of < 0 ? tensor->count : 0;
    }
    for (int i = 0; i < q->op_count; i++)
        check_place(q, places, i);
    assert_true(size <= sum);
    free(places);
}

/* ---- Random nets -------------------------------------------------------------------------------------------- */

/* Every net's self-test in one program: its recorded outputs are the library's. */
static void test_random_nets(void **state)
{
    (void)state;
    const int wanted = getenv("EVENKEEL_TEST_QUICK") ? 3 : 12;
    char declarations[4000] = "", calls[4000] = "", text[9000];
    int count = 0;
    for (uint64_t seed = 1; count < wanted; seed++) {
        char name[32];
        ek_net *net = random_net(seed, RANDOM_NET_TRACKED | RANDOM_NET_DOUBLES);
        ek_dataset *data = noise(net);
        if (seed % 3 == 0)
            assert_ok(ek_net_set_normalization(net, 1, (float[]){0.4f}, (float[]){0.3f}));
        ek_quantized *q = quantize(net, data);
        if (q) {
            snprintf(name, sizeof name, "net%d", count);
            check_memory(q);
            export(q, name, data, NULL);
            snprintf(declarations + strlen(declarations), 100, "#include \"%s.h\"\n", name);
            snprintf(calls + strlen(calls), 150, "if (%s_self_test()) { puts(\"%s differs\"); wrong = 1; }\n", name,
                     name);
            count++;
        }
        ek_quantized_free(q);
        ek_dataset_free(data);
        ek_net_free(net);
    }
    snprintf(text, sizeof text, "#include <stdio.h>\n%sint main(void)\n{\nint wrong = 0;\n%sreturn wrong;\n}\n",
             declarations, calls);
    put_file("main.c", text);
    /* what is not defined in C stops the program, where the compiler can tell it */
    if (run("cc -std=c99 -fsanitize=undefined -fno-sanitize-recover=all *.c -o all 2>/dev/null") != 0)
        assert_int_equal(run("cc -std=c99 *.c -o all"), 0);
    assert_int_equal(run("./all"), 0);
    static const char *const others[][2] = {
        {"gcc", "gcc -std=c99 -O2"},
        {"clang", "clang -std=c99"},
        {"g++", "g++ -x c++ -std=c++11"},
        {"clang++", "clang++ -x c++ -std=c++11"},
        {"arm-none-eabi-gcc", "arm-none-eabi-gcc -std=c99 -ffreestanding -mcpu=cortex-m0 -mthumb"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char command[300];
        if (!is_here(others[i][0])) {
            print_message("SKIP: no %s\n", others[i][0]);
            continue;
        }
        snprintf(command, sizeof command, "%s -c -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror net[0-3].c",
                 others[i][1]);
        assert_int_equal(run(command), 0);
    }
}

/* ---- Sizes -------------------------------------------------------------------------------------------------- */

/* BN-LeNet in 60 KB of flash and 10 KB of memory, image and stack counted, on an emulated Cortex-M3. */
static void test_microcontroller(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("bn-lenet");
    ek_dataset *data = noise(net);
    ek_quantized *q = quantize(net, data);
    ek_export_c_report size;
    char command[1000];
    export(q, "lenet", data, &size);
    assert_true(size.constants < 49152 && size.memory == 4320 && size.tests == 2);
    snprintf(command, sizeof command, "sh '%s/cortexm/run.sh' . lenet 60000 10000 784", EK_TEST_DIR);
    const int status = run(command);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
    ek_quantized_free(q);
    ek_dataset_free(data);
    ek_net_free(net);
}

static void test_errors(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 1 6 6\nconv2d 3 kernel=3\nsigmoid\nflatten\nlinear 2\n", NULL);
    ek_net *other = ek_net_parse("input 1 5 5\nflatten\nlinear 2\n", NULL);
    ek_dataset *data = noise(net), *small = noise(other);
    ek_quantized *q = quantize(net, data);
    static const char *const names[] = {"out/", "", "a\nnet",
                                        "a234567890123456789012345678901234567890123456789012345678901234567890"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(ek_quantized_export_c(q, names[i], NULL), EK_ERR_ARGUMENT);
        assert_non_null(strstr(ek_error(), "need a name"));
    }
    assert_int_equal(ek_quantized_export_c(q, "/nowhere/at/all/net", NULL), EK_ERR_NOT_FOUND);
    assert_int_equal(ek_quantized_export_c(q, "net", &(ek_export_c_options){.samples = small}), EK_ERR_SHAPE);
    assert_int_equal(ek_quantized_export_c(q, "net", &(ek_export_c_options){.tests = 1001}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_quantized_export_c(q, "net", &(ek_export_c_options){.prefix = "2x"}), EK_ERR_ARGUMENT);
    export(q, "My-net.v2", NULL, NULL); /* its self-test has random images */
    put_file("use.c", "#include \"My-net.v2.h\"\nint main(void) { static uint8_t x[MY_NET_V2_INPUTS];\n"
                      "int16_t y[MY_NET_V2_OUTPUTS]; My_net_v2_predict_bytes(x, y);\n"
                      "return My_net_v2_class(y) > 1 || My_net_v2_self_test(); }\n");
    assert_int_equal(run("cc -std=c99 -Wall -Wextra -Werror use.c My-net.v2.c -o use && ./use"), 0);
    /* The same rule as in float; the self-test's outputs are not on the stack. */
    export(q, "2nd net.c", data, NULL);
    assert_int_equal(run("grep -q '^int n2nd_net_self_test' '2nd net.c' && grep -q 'N2ND_NET_MEMORY' '2nd net.h' && "
                         "grep -q '^    static int16_t outputs' '2nd net.c'"),
                     0);
    assert_int_equal(run("mv '2nd net.h' x.h && mv '2nd net.c' x.c && sed -i 's/2nd net.h/My-net.v2.h/' x.c && "
                         "! cc -c x.c 2>wrong && grep -q 'of different exports' wrong && rm x.[ch]"),
                     0);
    char path[SCRATCH_SIZE + 64];
    snprintf(path, sizeof path, "%s/short", folder);
    const ek_export_c_options options = {.samples = data};
    int64_t n = 1;
    for (;; n++) {
        ek_memory_fail_at(n);
        const ek_status status = ek_quantized_export_c(q, path, &options);
        if (ek_memory_fail_at(0) < n) {
            assert_ok(status);
            break;
        }
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_int_not_equal(run("ls | grep -q '^short'"), 0); /* nothing half-written */
    }
    assert_true(n > 8);
    ek_quantized_free(q);
    ek_dataset_free(data);
    ek_dataset_free(small);
    ek_net_free(net);
    ek_net_free(other);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(scratch_template(folder, "quant")) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return run("rm -rf ../\"${PWD##*/}\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_nets, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_microcontroller, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_errors, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
