/* SPDX-License-Identifier: MIT
 * Nets as the text of PyTorch's modules.
 *
 * Called as `test_pytorch write DIR COUNT MOST` it writes the built-in nets of at most MOST numbers and COUNT random
 * ones for tests/pytorch/check.py: of each NAME.safetensors (the model), NAME.py (the printed text) and NAME.seen
 * (inputs `x`, outputs `logits`). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "io/safetensors.h"
#include "random_net.h"

/* ---- For PyTorch itself ------------------------------------------------------------------------------------- */

static void must(ek_status status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "%s: %s\n", what, ek_error());
    exit(1);
}

static void write_text(const char *path, const char *text)
{
    ek_file_writer *file;
    must(ek_file_create(&file, path), path);
    must(ek_file_write(file, text, strlen(text)), path);
    must(ek_file_commit(file), path);
}

static void write_seen(const char *path, const ek_net *net, int64_t n, const float *x, const float *logits)
{
    ek_layer_info last;
    ek_file_writer *file;
    int c, h, w;
    char *text = ek_net_text(net);
    must(ek_net_layer(net, ek_net_layer_count(net) - 1, &last), path);
    if (!text || sscanf(text, "input %d %d %d", &c, &h, &w) != 3)
        exit(1);
    const int64_t in[] = {n, c, h, w}, out[] = {n, last.c};
    const ek_safetensors_item items[] = {
        {.name = "x", .ndim = 4, .dim = in, .count = n * c * h * w, .floats = x},
        {.name = "logits", .ndim = 2, .dim = out, .count = n * last.c, .floats = logits},
    };
    must(ek_file_create(&file, path), path);
    must(ek_safetensors_write(file, NULL, 0, items, 2), path);
    must(ek_file_commit(file), path);
    free(text);
}

/* Takes the net over. */
static void write_net(const char *folder, const char *name, ek_net *net, int64_t n)
{
    char path[1024];
    char *text = ek_net_pytorch_text(net);
    if (!text)
        must(EK_ERR_STATE, name);
    float *x = malloc((size_t)n * 3 * 96 * 96 * sizeof *x), *logits = malloc((size_t)n * 16 * sizeof *logits);
    random_writer w = {.seed = 99};
    for (int64_t i = 0; i < n * 3 * 96 * 96; i++)
        x[i] = random_draw_unit(&w);
    must(ek_predict(net, n, x, 1, logits), name);
    snprintf(path, sizeof path, "%s/%s.py", folder, name);
    write_text(path, text);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    must(ek_net_save(net, path), name);
    snprintf(path, sizeof path, "%s/%s.seen", folder, name);
    write_seen(path, net, n, x, logits);
    free(x);
    free(logits);
    free(text);
    ek_net_free(net);
}

static int64_t numbers_of(ek_net *net)
{
    int64_t numbers = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        numbers += ek_net_tensor(net, i)->count;
    return numbers;
}

static int write_all(const char *folder, int count, int64_t most)
{
    const char *name;
    for (int i = 0; (name = ek_net_builtin_name(i)); i++) {
        ek_net *net = ek_net_builtin(name);
        if (numbers_of(net) > most) {
            ek_net_free(net);
            continue;
        }
        must(ek_net_init(net, EK_INIT_HE, 3), name);
        random_net_values(net, (uint64_t)i);
        for (int j = 0; j < ek_net_tensor_count(net); j++) {
            const ek_tensor *t = ek_net_tensor(net, j);
            for (int64_t k = 0; k < t->count && t->role == EK_ROLE_GAMMA; k++) /* many sums stay moderate */
                t->data[k] *= 50.0f / (50.0f + (float)ek_net_layer_count(net));
        }
        write_net(folder, name, net, 2);
    }
    for (int i = 0; i < count; i++) {
        char random_name[40];
        const float mean[] = {0.5f, 0.25f, 0.125f}, std[] = {0.3f, 0.2f, 1};
        ek_net *net = random_net((uint64_t)i, 0);
        if (i % 4 == 0)
            must(ek_net_set_normalization(net, 1, mean, std), "normalisation");
        if (i % 3 == 0)
            must(ek_net_set_note(net, "labels", "T-shirt\nname = \"\\\x1b[0m\"\n\xc3\xa4\xc2\x9b\n\n\xe2\x82\xac"),
                 "labels");
        snprintf(random_name, sizeof random_name, "random-%d", i);
        write_net(folder, random_name, net, 7);
    }
    return 0;
}

/* ---- The text ----------------------------------------------------------------------------------------------- */

/* The printed text of a net's text, for free(). */
static char *printed(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    char *python = net ? ek_net_pytorch_text(net) : NULL;
    if (!python)
        fail_msg("%s%s", text, ek_error());
    ek_net_free(net);
    return python;
}

/* What stands in build() for each layer, its options at and off their defaults. */
static void test_layers(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"conv2d 6", "nn.Conv2d(2, 6, 1)"},
        {"conv2d 6 kernel=3x5 padding=1x2 stride=2x1 dilation=1x2 groups=2 bias=no",
         "nn.Conv2d(2, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=False)"},
        {"batchnorm", "nn.BatchNorm2d(2)"},
        {"batchnorm eps=0.001 momentum=0.01", "nn.BatchNorm2d(2, eps=0.001, momentum=0.01)"},
        {"batchnorm momentum=cumulative affine=no tracking=no",
         "nn.BatchNorm2d(2, momentum=None, affine=False, track_running_stats=False)"},
        {"batchnorm scale=no center=no", "nn.BatchNorm2d(2, affine=False)"},
        {"batchnorm hold_affine=yes", "nn.BatchNorm2d(2).requires_grad_(False)"},
        {"batchnorm hold_affine=yes affine=no", "nn.BatchNorm2d(2, affine=False)"},
        {"batchnorm tracking=no moving_variance=population hold_moving=yes",
         "nn.BatchNorm2d(2, track_running_stats=False)"},
        {"batchnorm scale=no", "BatchNorm(2, scale=False)"},
        {"batchnorm center=no eps=0", "BatchNorm(2, eps=0, center=False)"},
        {"batchnorm normalize=mean moving_variance=population",
         "BatchNorm(2, normalize=\"mean\", moving_variance=\"population\")"},
        {"batchnorm normalize=deviation affine=no tracking=no",
         "BatchNorm(2, scale=False, center=False, tracking=False, normalize=\"deviation\")"},
        {"batchnorm use_moving=yes hold_moving=yes hold_affine=yes",
         "BatchNorm(2, use_moving=True, hold_moving=True).requires_grad_(False)"},
        {"layernorm eps=1e-12", "nn.LayerNorm([2, 9, 8], eps=1e-12)"},
        {"layernorm affine=no", "nn.LayerNorm([2, 9, 8], elementwise_affine=False)"},
        {"relu", "nn.ReLU()"},
        {"leaky_relu", "nn.LeakyReLU(0.01)"},
        {"sigmoid", "nn.Sigmoid()"},
        {"tanh", "nn.Tanh()"},
        {"gelu", "nn.GELU()"},
        {"gelu approximate=tanh", "nn.GELU(approximate=\"tanh\")"},
        {"maxpool 2", "nn.MaxPool2d(2)"},
        {"maxpool 3x2 stride=2 padding=1", "nn.MaxPool2d((3, 2), stride=2, padding=1)"},
        {"avgpool 3 stride=3x1 padding=1x0", "nn.AvgPool2d(3, stride=(3, 1), padding=(1, 0))"},
        {"avgpool 2 count_include_pad=no", "nn.AvgPool2d(2, count_include_pad=False)"},
        {"globalavgpool", "nn.AdaptiveAvgPool2d(1)"},
        {"flatten", "nn.Flatten()"},
        {"dropout p=0.25", "nn.Dropout(0.25)"},
        {"flatten\nlinear 3", "nn.Linear(144, 3)"},
        {"flatten\nlinear 3 bias=no", "nn.Linear(144, 3, bias=False)"},
        {"flatten\nbatchnorm", "nn.BatchNorm1d(144)"},
        {"flatten\nlayernorm", "nn.LayerNorm(144)"},
        {"residual {\nconv2d 2\n}",
         "Residual(  # 0\n            nn.Sequential(\n                nn.Conv2d(2, 2, 1),  # "
         "0.body.0\n            ),\n            nn.Identity(),\n        )"},
        {"residual shortcut=pad stride=2 {\nconv2d 5 stride=2\n}", "            Pad(3, 2),\n        )"},
        {"residual {\nrelu\n} shortcut {\n}", "                nn.ReLU(),  # 0.body.0\n            ),\n            "
                                              "nn.Sequential(),\n        )"},
        {"concat {\nbranch {\nrelu\n}\nbranch {\n}\n}",
         "Concat(  # 0\n            nn.Sequential(\n                nn.ReLU(),  # 0.branches.0.0\n            ),\n"
         "            nn.Sequential(),\n        )"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[300], wanted[400];
        snprintf(text, sizeof text, "input 2 9 8\n%s\n", pairs[i][0]);
        snprintf(wanted, sizeof wanted, "%s%s",
                 strstr(pairs[i][1], "(  #") || pairs[i][1][0] != ' ' ? "        " : "", pairs[i][1]);
        char *python = printed(text), *build = strstr(python, "def build():");
        assert_non_null(build);
        const char *found = strstr(build, wanted);
        if (!found || found[strlen(wanted)] != ',' || found[-1] != '\n')
            fail_msg("%s: no %s in %s", pairs[i][0], wanted, build);
        free(python);
    }
}

/* Only the classes that the net needs. */
static void test_classes(void **state)
{
    (void)state;
    static const char *const classes[] = {"class Residual(", "class Pad(", "class Concat(", "class BatchNorm(",
                                          "class Normalized("};
    static const char *const texts[] = {"residual {\nrelu\n}", "residual shortcut=pad {\nconv2d 3\n}",
                                        "concat {\nbranch {\n}\n}", "batchnorm scale=no", "batchnorm"};
    static const char has[][6] = {"1    ", "11   ", "  1  ", "   1 ", "     "};
    for (int i = 0; i < 5; i++) {
        char text[100];
        snprintf(text, sizeof text, "input 2 4 4\n%s\n", texts[i]);
        char *python = printed(text);
        for (int c = 0; c < 5; c++)
            assert_int_equal(strstr(python, classes[c]) != NULL, has[i][c] == '1');
        free(python);
    }
}

/* Notes are text from files: they end no string, and steer no terminal. */
static void test_notes(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(2, 3, 3);
    assert_int_equal(ek_net_flatten(net), EK_OK);
    assert_int_equal(ek_net_linear(net, 3, NULL), EK_OK);
    assert_int_equal(ek_net_set_note(net, "labels", "a\"\\\n\x1b[0m\r\x7f\n\xc3\xa4\xc2\x9b\xff\n"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "secret", "\"\"\"\nimport os\n"), EK_OK);
    const float mean[] = {0.5f, 1e-7f}, std[] = {1, 0.25f};
    assert_int_equal(ek_net_set_normalization(net, 2, mean, std), EK_OK);
    char *python = ek_net_pytorch_text(net);
    assert_non_null(python);
    assert_non_null(strstr(python, "LABELS = [\n    \"a\\\"\\\\\",\n    \"\\x1b[0m\\x0d\\x7f\",\n"
                                   "    \"\xc3\xa4\\x9b\\ufffd\",\n]\n"));
    assert_non_null(strstr(python, "    return Normalized(\n        [0.5, 1e-7],\n        [1, 0.25],\n"));
    assert_non_null(
        strstr(python, "    \"evenkeel.note.labels\": \"a\\\"\\\\\\n\\x1b[0m\\x0d\\x7f\\n\xc3\xa4\\x9b\\ufffd\\n\",\n"
                       "    \"evenkeel.note.input.mean\": \"0.5 1e-7\",\n"
                       "    \"evenkeel.note.input.std\": \"1 0.25\",\n}\n"));
    assert_null(strstr(python, "import os"));
    free(python);
    assert_int_equal(ek_net_set_note(net, "input.std", "1"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "input.mean", "wrong"), EK_OK);
    assert_null(ek_net_pytorch_text(net));
    assert_string_equal(ek_error(), "the net's note input.mean: \"wrong\" is no number");
    ek_net_free(net);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_null(ek_net_pytorch_text(NULL));
    ek_net *net = ek_net_new(1, 4, 4);
    assert_null(ek_net_pytorch_text(net));
    assert_string_equal(ek_error(), "the net has no layers; add some");
    assert_int_equal(ek_net_concat_begin(net), EK_OK);
    assert_null(ek_net_pytorch_text(net));
    assert_int_not_equal(ek_net_linear(net, 4, NULL), EK_OK);
    assert_null(ek_net_pytorch_text(net));
    ek_net_free(net);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("resnet-56");
    assert_int_equal(ek_net_set_note(net, "labels", "one\ntwo"), EK_OK);
    char *python = NULL;
    int failures = 0;
    for (int64_t n = 1; !python; n++) {
        ek_memory_fail_at(n);
        python = ek_net_pytorch_text(net);
        failures += python == NULL;
    }
    ek_memory_fail_at(0);
    assert_true(failures > 6); /* values, the net's text, two labels, and growing */
    assert_non_null(strstr(python, "\n}\n"));
    free(python);
    ek_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),   cmocka_unit_test(test_classes),       cmocka_unit_test(test_notes),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_out_of_memory),
    };
    if (argc == 5 && !strcmp(argv[1], "write"))
        return write_all(argv[2], atoi(argv[3]), atoll(argv[4]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
