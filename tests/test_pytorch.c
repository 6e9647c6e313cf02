/* SPDX-License-Identifier: MIT
 * Nets as the text of PyTorch's modules.
 *
 * Called as `test_pytorch write DIR COUNT MOST` it writes the built-in nets of at most MOST numbers and COUNT random
 * ones for tests/pytorch/check.py: of each NAME.safetensors (the model), NAME.py (the printed text) and NAME.seen
 * (inputs `x`, outputs `logits`). */
#define _GNU_SOURCE
#include "golden.h"

#include "base/memory.h"
#include "scratch.h"
#include "seen_nets.h"

#include <unistd.h>

/* ---- For PyTorch itself ------------------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text)
{
    ek_file_writer *file;
    must(ek_file_create(&file, path), path);
    must(ek_file_write(file, text, strlen(text)), path);
    must(ek_file_commit(file), path);
}

static void write_net(const char *folder, const char *name, ek_net *net, int number)
{
    (void)number;
    char path[1024];
    char *text = ek_net_pytorch_text(net);
    if (!text)
        must(EK_ERR_STATE, name);
    snprintf(path, sizeof path, "%s/%s.py", folder, name);
    write_text(path, text);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    must(ek_net_save(net, path), name);
    free(text);
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

/* ---- PyTorch's numbers -------------------------------------------------------------------------------------- */

enum { GOLDEN_NETS = 20, GOLDEN_SAMPLES = 6 };

static const char *golden_text(const ek_safetensors *file, const char *name, const char *key)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, key);
    return ek_safetensors_metadata(file, full);
}

/* Writes the state_dict of golden net `name` as PyTorch's save_file does, and loads it. */
static void load_state(const ek_safetensors *file, const char *name, ek_net *net)
{
    char prefix[32], path[SCRATCH_SIZE];
    ek_safetensors_item items[200];
    void *values[200];
    size_t count = 0;
    snprintf(prefix, sizeof prefix, "%s.state.", name);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const ek_safetensors_tensor *t = &file->tensors[i];
        if (strncmp(t->name, prefix, strlen(prefix)) != 0)
            continue;
        assert_true(count < 200);
        values[count] = malloc((size_t)t->count * 8 + 1); /* aligned */
        assert_non_null(values[count]);
        memcpy(values[count], t->data, (size_t)t->count * ek_dtype_size(t->dtype));
        items[count] = (ek_safetensors_item){
            .name = t->name + strlen(prefix), .ndim = t->ndim, .dim = t->dim, .count = t->count};
        if (t->dtype == EK_DTYPE_F32)
            items[count].floats = values[count];
        else
            items[count].integers = values[count];
        count++;
    }
    const int fd = mkstemp(scratch_template(path, "state"));
    assert_true(fd >= 0);
    close(fd);
    ek_file_writer *writer;
    GOLDEN_OK(ek_file_create(&writer, path));
    GOLDEN_OK(ek_safetensors_write(writer, NULL, 0, items, count));
    GOLDEN_OK(ek_file_commit(writer));
    GOLDEN_OK(ek_net_load_weights(net, path));
    unlink(path);
    for (size_t i = 0; i < count; i++)
        free(values[i]);
}

/* Every tensor is the golden file's "NAME.KIND.TENSOR", to the bit, or within `tolerance`. */
static int compare_state(const ek_safetensors *file, const char *name, const char *kind, ek_net *net,
                         double tolerance)
{
    int compared = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        char key[160];
        snprintf(key, sizeof key, "%s.%.120s", kind, t->name);
        const ek_safetensors_tensor *theirs = golden_find(file, name, key);
        if (!theirs)
            continue;
        compared++;
        if (tolerance == 0 || t->counter)
            assert_memory_equal(t->counter ? (const void *)t->counter : t->data, theirs->data,
                                (size_t)t->count * (t->counter ? 8 : 4));
        else
            golden_compare(theirs, t->data, tolerance, 0);
    }
    return compared;
}

/* The batch in training moves the statistics as the printed module's norms move theirs. */
static int compare_training(const ek_safetensors *file, const char *name, ek_net *net,
                            const ek_safetensors_tensor *pixels)
{
    static const uint8_t labels[GOLDEN_SAMPLES] = {0, 1, 2, 3, 4, 0};
    const int64_t *d = pixels->dim;
    ek_dataset *data = NULL;
    GOLDEN_OK(ek_dataset_from_memory(&data, d[0], (int)d[1], (int)d[2], (int)d[3], pixels->data, labels,
                                     RANDOM_NET_CLASSES));
    const ek_fit_options options = {
        .epochs = 1, .batch_size = GOLDEN_SAMPLES, .lr = 1e-12f, .no_shuffle = true, .threads = 1};
    GOLDEN_OK(ek_fit(net, data, NULL, &options));
    ek_dataset_free(data);
    return compare_state(file, name, "after", net, 1e-5);
}

static void test_golden(void **state)
{
    (void)state;
    static const char *const notes[] = {"labels", "input.mean", "input.std"};
    ek_safetensors *file = golden_open("pytorch.safetensors");
    int noted = 0, moved = 0;
    for (int i = 0; i < GOLDEN_NETS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        ek_net *net = ek_net_parse(golden_text(file, name, "net"), name);
        assert_non_null(net);
        for (int n = 0; n < 3; n++)
            if (golden_text(file, name, notes[n])) {
                GOLDEN_OK(ek_net_set_note(net, notes[n], golden_text(file, name, notes[n])));
                noted++;
            }
        char *python = ek_net_pytorch_text(net);
        assert_non_null(python);
        if (strcmp(python, golden_text(file, name, "python")) != 0)
            fail_msg("net %d: another text than PyTorch ran; see make_golden_pytorch.py", i);
        free(python);
        load_state(file, name, net);
        assert_int_equal(compare_state(file, name, "state", net, 0), ek_net_tensor_count(net));

        const ek_safetensors_tensor *pixels = golden_tensor(file, name, "pixels");
        float logits[GOLDEN_SAMPLES * RANDOM_NET_CLASSES], *x = malloc((size_t)pixels->count * sizeof *x);
        assert_non_null(x);
        for (int64_t j = 0; j < pixels->count; j++)
            x[j] = (float)pixels->data[j] / 255.0f;
        GOLDEN_OK(ek_predict(net, GOLDEN_SAMPLES, x, 1, logits));
        golden_compare(golden_tensor(file, name, "logits"), logits, 1e-5, 0);
        free(x);
        if (!strstr(golden_text(file, name, "net"), "dropout"))
            moved += compare_training(file, name, net, pixels);
        ek_net_free(net);
    }
    assert_true(noted > 10 && moved > 20); /* these were there */
    ek_safetensors_free(file);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),   cmocka_unit_test(test_classes),       cmocka_unit_test(test_notes),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_golden),
    };
    if (argc == 5 && !strcmp(argv[1], "write")) {
        write_nets(argv[2], atoi(argv[3]), atoll(argv[4]), 0, write_net);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
