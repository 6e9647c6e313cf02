/* SPDX-License-Identifier: MIT
 * Model files: what is saved is what is loaded, to the byte; PyTorch's weights are taken; a file that does not fit is
 * one clear line, and the net stays as it was. */
#define _GNU_SOURCE
#include "evenkeel.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char path[SCRATCH_SIZE];

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(scratch_template(path, "model"));
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

/* The net of tests/golden/official.safetensors. */
static const char tiny_text[] = "input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 3\nbatchnorm\n";

static ek_net *tiny(void)
{
    ek_net *net = ek_net_parse(tiny_text, "tiny");
    if (!net)
        fail_msg("%s", ek_error());
    OK(ek_net_init(net, EK_INIT_XAVIER, 7));
    return net;
}

/* Every number of a net differs from every other, and from what any net starts with. */
static void number(ek_net *net)
{
    int next = 0;
    for (int t = 0; t < ek_net_tensor_count(net); t++) {
        const ek_tensor *tensor = ek_net_tensor(net, t);
        for (int64_t i = 0; tensor->data && i < tensor->count; i++)
            tensor->data[i] = (float)++next / 3;
        if (tensor->counter)
            *tensor->counter = (INT64_C(1) << 40) + ++next;
    }
}

static void assert_same_tensors(ek_net *a, ek_net *b)
{
    assert_int_equal(ek_net_tensor_count(a), ek_net_tensor_count(b));
    assert_true(ek_net_tensor_count(a) > 0);
    for (int t = 0; t < ek_net_tensor_count(a); t++) {
        const ek_tensor *x = ek_net_tensor(a, t), *y = ek_net_tensor(b, t);
        assert_string_equal(x->name, y->name);
        assert_true(x->count == y->count && !x->data == !y->data && !x->counter == !y->counter);
        if (x->data)
            assert_memory_equal(x->data, y->data, (size_t)x->count * sizeof(float));
        if (x->counter)
            assert_true(*x->counter == *y->counter);
    }
}

static unsigned char *slurp(size_t *size)
{
    unsigned char *bytes;
    OK(ek_file_read(path, SIZE_MAX, &bytes, size));
    return bytes;
}

/* Writes without the code under test. */
static void put(const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* One clear line that says all of `what` (up to a NULL). */
static void assert_line(const char *const *what)
{
    assert_null(strchr(ek_error(), '\n'));
    for (; *what; what++)
        if (!strstr(ek_error(), *what))
            fail_msg("'%s' should say '%s'", ek_error(), *what);
}
#define ASSERT_LINE(...) assert_line((const char *const[]){__VA_ARGS__, NULL})

/* ---- Round trips -------------------------------------------------------------------------------------------- */

static void round_trip(ek_net *net)
{
    ek_net *back;
    size_t size, again;
    OK(ek_net_save(net, path));
    unsigned char *first = slurp(&size);
    OK(ek_net_save(net, path));
    unsigned char *second = slurp(&again);
    assert_int_equal(size, again);
    assert_memory_equal(first, second, size);
    ek_free(second);

    OK(ek_net_load(&back, path));
    assert_same_tensors(net, back);
    char *text = ek_net_text(net), *text_back = ek_net_text(back);
    assert_string_equal(text, text_back);
    free(text);
    free(text_back);
    OK(ek_net_save(back, path));
    second = slurp(&again);
    assert_int_equal(size, again);
    assert_memory_equal(first, second, size);
    ek_free(first);
    ek_free(second);
    ek_net_free(back);
}

static void test_round_trip_of_built_in_nets(void **state)
{
    (void)state;
    for (int i = 0; ek_net_builtin_name(i); i++) {
        ek_net *net = ek_net_builtin(ek_net_builtin_name(i));
        assert_non_null(net);
        number(net);
        round_trip(net);
        ek_net_free(net);
    }
}

static void test_round_trip_of_notes(void **state)
{
    (void)state;
    ek_net *net = tiny(), *back;
    OK(ek_net_set_note(net, "labels", "caf\xc3\xa9\n\"boot\"\\"));
    OK(ek_net_set_note(net, "data.digest", "sha256:00"));
    round_trip(net);
    OK(ek_net_load(&back, path));
    assert_string_equal(ek_net_note(back, "labels"), "caf\xc3\xa9\n\"boot\"\\");
    assert_string_equal(ek_net_note(back, "data.digest"), "sha256:00");
    assert_null(ek_net_note(back, "format"));
    ek_net_free(back);
    ek_net_free(net);
}

/* What other programs look for in the metadata. */
static void test_metadata(void **state)
{
    (void)state;
    ek_net *net = tiny();
    ek_safetensors *file;
    OK(ek_net_set_note(net, "labels", "a b"));
    OK(ek_net_save(net, path));
    OK(ek_safetensors_read(&file, path));
    assert_int_equal(file->metadata_count, 4);
    assert_string_equal(ek_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(ek_safetensors_metadata(file, "evenkeel.version"), "1");
    char *text = ek_net_text(net);
    assert_string_equal(ek_safetensors_metadata(file, "evenkeel.net"), text);
    free(text);
    assert_string_equal(ek_safetensors_metadata(file, "evenkeel.note.labels"), "a b");
    ek_safetensors_free(file);
    ek_net_free(net);
}

/* ---- Taking weights ----------------------------------------------------------------------------------------- */

/* Element i of tensor t is (t+1)*(i+1)/8, in every type the official library writes; counters 8 times that. */
static void test_takes_the_official_librarys_file(void **state)
{
    (void)state;
    ek_net *net = tiny();
    OK(ek_net_load_weights(net, EK_TEST_DIR "/golden/official.safetensors"));
    assert_int_equal(ek_net_tensor_count(net), 14);
    for (int t = 0; t < 14; t++) {
        const ek_tensor *tensor = ek_net_tensor(net, t);
        for (int64_t i = 0; tensor->data && i < tensor->count; i++)
            assert_true(tensor->data[i] == (float)((t + 1) * (i + 1)) / 8);
        if (tensor->counter)
            assert_true(*tensor->counter == t + 1);
    }
    ek_net *none;
    assert_int_equal(ek_net_load(&none, EK_TEST_DIR "/golden/official.safetensors"), EK_ERR_FORMAT);
    ASSERT_LINE("official.safetensors", "holds no net");
    assert_null(none);
    ek_net_free(net);
}

enum { TENSORS_MAX = 32 };

/* The tensors of a net on their way into a file, to be tampered with. */
typedef struct tampered {
    ek_safetensors_item items[TENSORS_MAX];
    size_t count;
    ek_net *net;
} tampered;

static tampered begin_tampering(void)
{
    tampered t = {.net = tiny()};
    number(t.net);
    for (int i = 0; i < ek_net_tensor_count(t.net); i++) {
        const ek_tensor *tensor = ek_net_tensor(t.net, i);
        t.items[t.count++] = (ek_safetensors_item){tensor->name,  tensor->ndim, tensor->dim,
                                                   tensor->count, tensor->data, tensor->counter};
    }
    return t;
}

static ek_safetensors_item *item(tampered *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->items[i].name, name) == 0)
            return &t->items[i];
    fail_msg("no item %s", name);
    return NULL;
}

static void remove_item(tampered *t, const char *name)
{
    *item(t, name) = t->items[t->count - 1];
    t->count--;
}

static void end_tampering(tampered *t, const ek_safetensors_pair *metadata, size_t metadata_count)
{
    ek_file_writer *writer;
    OK(ek_file_create(&writer, path));
    OK(ek_safetensors_write(writer, metadata, metadata_count, t->items, t->count));
    OK(ek_file_commit(writer));
    ek_net_free(t->net);
}

/* The file at `path` is refused, and the net keeps what it had. */
static void refuse_weights(ek_status expected, const char *const *what)
{
    ek_net *net = tiny(), *untouched = tiny();
    number(net);
    number(untouched);
    assert_int_equal(ek_net_load_weights(net, path), expected);
    assert_line(what);
    ASSERT_LINE(path);
    assert_same_tensors(net, untouched);
    ek_net_free(net);
    ek_net_free(untouched);
}
#define REFUSE_WEIGHTS(status, ...) refuse_weights(status, (const char *const[]){__VA_ARGS__, NULL})

static void test_missing_left_over_and_misshapen(void **state)
{
    (void)state;
    const int64_t wrong[] = {3, 1}, one = 1;
    tampered t = begin_tampering();
    remove_item(&t, "4.weight");
    remove_item(&t, "1.running_var");
    item(&t, "3.bias")->ndim = 2;
    item(&t, "3.bias")->dim = wrong;
    item(&t, "1.bias")->integers = &one;
    item(&t, "1.bias")->count = 1;
    item(&t, "1.bias")->dim = &one;
    t.items[t.count++] = (ek_safetensors_item){"5.weight", 1, &one, 1, NULL, &one};
    end_tampering(&t, NULL, 0);
    REFUSE_WEIGHTS(EK_ERR_SHAPE, "missing: 1.running_var, 4.weight;",
                   "misshapen: 1.bias is [1] where the net has [2], 3.bias is [3,1] where the net has [3];",
                   "not in the net: 5.weight");
}

static void test_many_misfits_are_counted(void **state)
{
    (void)state;
    static char names[TENSORS_MAX][400]; /* PyTorch's prefixes, and a name as long as a hostile one */
    tampered t = begin_tampering();
    for (size_t i = 0; i < t.count; i++) {
        snprintf(names[i], sizeof names[i], "net.%s.%0*d", t.items[i].name, i == 2 ? 300 : 1, 0);
        t.items[i].name = names[i];
    }
    end_tampering(&t, NULL, 0);
    REFUSE_WEIGHTS(EK_ERR_SHAPE, "missing: 0.weight, 0.bias, 1.weight, 1.bias and 8 more;", "not in the net: net.0.w",
                   " and 10 more");
    assert_true(strlen(ek_error()) < 600);
}

/* Only whole descriptions are shown. */
static void test_long_misfits_are_counted(void **state)
{
    (void)state;
    const int64_t absurd[EK_SAFETENSORS_NDIM] = {0, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    tampered t = begin_tampering();
    for (size_t i = 0; i < t.count; i++) {
        t.items[i].ndim = EK_SAFETENSORS_NDIM;
        t.items[i].dim = absurd;
        t.items[i].count = 0;
    }
    end_tampering(&t, NULL, 0);
    REFUSE_WEIGHTS(EK_ERR_SHAPE, "; misshapen: 0.weight is [0,9223372036854775807,9223372036854775807",
                   " where the net has [2,1,3,3], 0.bias is [0,", " where the net has [2] and 12 more");
}

static void test_wrong_types(void **state)
{
    (void)state;
    const int64_t integers[3] = {1, 2, 3};
    const float one = 1;
    tampered t = begin_tampering();
    item(&t, "3.bias")->integers = integers;
    item(&t, "1.num_batches_tracked")->integers = NULL;
    item(&t, "1.num_batches_tracked")->floats = &one;
    end_tampering(&t, NULL, 0);
    REFUSE_WEIGHTS(EK_ERR_SHAPE, "3.bias holds I64, no floating-point numbers",
                   "1.num_batches_tracked holds F32, no integer");
}

static void test_a_missing_counter_is_zero(void **state)
{
    (void)state;
    tampered t = begin_tampering();
    remove_item(&t, "4.num_batches_tracked");
    remove_item(&t, "1.num_batches_tracked");
    end_tampering(&t, NULL, 0);
    ek_net *net = tiny();
    number(net);
    OK(ek_net_load_weights(net, path));
    assert_true(*ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter == 0);
    assert_true(*ek_net_tensor_by_name(net, "4.num_batches_tracked")->counter == 0);
    ek_net_free(net);
}

static void test_values_that_are_refused(void **state)
{
    (void)state;
    const int64_t counters[] = {-1, INT64_MAX};
    const float values[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        tampered t = begin_tampering();
        ek_net_tensor_by_name(t.net, "3.weight")->data[5] = values[i];
        end_tampering(&t, NULL, 0);
        REFUSE_WEIGHTS(EK_ERR_NUMERIC, "element 5 of 3.weight is not finite");
    }
    for (size_t i = 0; i < 2; i++) {
        tampered t = begin_tampering();
        item(&t, "4.num_batches_tracked")->integers = &counters[i];
        end_tampering(&t, NULL, 0);
        REFUSE_WEIGHTS(EK_ERR_NUMERIC, "4.num_batches_tracked is ");
    }
    tampered t = begin_tampering();
    ek_net_tensor_by_name(t.net, "4.running_var")->data[2] = -1e-30f;
    end_tampering(&t, NULL, 0);
    REFUSE_WEIGHTS(EK_ERR_NUMERIC, "element 2 of 4.running_var is negative (-1e-30)");
}

/* ---- Saving ------------------------------------------------------------------------------------------------- */

/* Does not save, and leaves the file at `path` alone. */
static void refuse_to_save(ek_net *net, ek_status expected, const char *what)
{
    unsigned char *bytes;
    size_t size;
    put("old", 3);
    assert_int_equal(ek_net_save(net, path), expected);
    ASSERT_LINE(what);
    bytes = slurp(&size);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "old", 3);
    ek_free(bytes);
}

static void test_bad_values_are_not_saved(void **state)
{
    (void)state;
    ek_net *net = tiny();
    float *bias = ek_net_tensor_by_name(net, "0.bias")->data,
          *var = ek_net_tensor_by_name(net, "1.running_var")->data;
    int64_t *batches = ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter;
    bias[1] = NAN;
    refuse_to_save(net, EK_ERR_NUMERIC, "not saved: element 1 of 0.bias is not finite (nan)");
    bias[1] = -INFINITY;
    refuse_to_save(net, EK_ERR_NUMERIC, "element 1 of 0.bias is not finite (-inf)");
    bias[1] = -1;
    var[0] = -1;
    refuse_to_save(net, EK_ERR_NUMERIC, "element 0 of 1.running_var is negative (-1)");
    var[0] = 0;
    *batches = -1;
    refuse_to_save(net, EK_ERR_NUMERIC, "1.num_batches_tracked is -1");
    *batches = 0;
    OK(ek_net_set_note(net, "note", "\xff"));
    refuse_to_save(net, EK_ERR_ARGUMENT, "UTF-8");
    OK(ek_net_set_note(net, "note", NULL));
    OK(ek_net_save(net, path));
    ek_net_free(net);
}

static void test_unwritable_places(void **state)
{
    (void)state;
    ek_net *net = tiny();
    assert_int_equal(ek_net_save(net, "/nowhere/at/all"), EK_ERR_NOT_FOUND);
    ASSERT_LINE("/nowhere/at/all", "its folder does not exist");
    assert_int_equal(ek_net_save(net, "/tmp"), EK_ERR_IO);
    ASSERT_LINE("/tmp", "a folder");
    assert_int_equal(ek_net_save(net, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_load_weights(net, NULL), EK_ERR_ARGUMENT);

    struct rlimit old, small = {256, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    put("old", 3);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ek_status status = ek_net_save(net, path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, EK_ERR_IO);
    ASSERT_LINE(path, "File too large");
    size_t size;
    unsigned char *bytes = slurp(&size);
    assert_int_equal(size, 3);
    ek_free(bytes);
    ek_net_free(net);
}

static void test_a_marked_net(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(1, 4, 4);
    assert_int_equal(ek_net_linear(net, 0, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_save(net, path), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_load_weights(net, path), EK_ERR_ARGUMENT);
    ek_net_free(net);
}

/* ---- Loading ------------------------------------------------------------------------------------------------ */

/* Loads the tensors of the tiny net under this metadata. */
static void refuse_model(const char *version, const char *text, ek_status expected, const char *what)
{
    const ek_safetensors_pair metadata[] = {{version ? "evenkeel.version" : "x", version ? version : "1"},
                                            {text ? "evenkeel.net" : "y", text ? text : ""}};
    tampered t = begin_tampering();
    end_tampering(&t, metadata, 2);
    ek_net *net = (ek_net *)path;
    assert_int_equal(ek_net_load(&net, path), expected);
    ASSERT_LINE(path, what);
    assert_null(net);
}

static void test_models_that_are_refused(void **state)
{
    (void)state;
    refuse_model(NULL, tiny_text, EK_ERR_FORMAT, "holds no net");
    refuse_model("1", NULL, EK_ERR_FORMAT, "holds no net");
    refuse_model("2", tiny_text, EK_ERR_UNSUPPORTED, "model file version 2; this library reads up to 1");
    refuse_model("0", tiny_text, EK_ERR_FORMAT, "'0' is no version");
    refuse_model("", tiny_text, EK_ERR_FORMAT, "'' is no version");
    refuse_model("1.0", tiny_text, EK_ERR_FORMAT, "'1.0' is no version");
    refuse_model("18446744073709551617", tiny_text, EK_ERR_FORMAT, "is no version");
    refuse_model("1", "input 1 4 4\nconv3d 2\n", EK_ERR_FORMAT, "conv3d");
    refuse_model("1", "", EK_ERR_FORMAT, "");
    refuse_model("1", "input 1 4 4\nflatten\nlinear 3\n", EK_ERR_SHAPE, "do not fit the net");
    /* memory for 2^30 weights is not even asked for */
    refuse_model("1", "input 1 128 128\nflatten\nlinear 65536\nlinear 10\n", EK_ERR_SHAPE, "its net takes 10744");
}

static void test_truncated_model(void **state)
{
    (void)state;
    ek_net *net = tiny();
    size_t size;
    OK(ek_net_save(net, path));
    unsigned char *bytes = slurp(&size);
    for (size_t cut = 0; cut < size; cut++) {
        ek_net *none;
        put(bytes, cut);
        assert_int_equal(ek_net_load(&none, path), EK_ERR_FORMAT);
        ASSERT_LINE(path);
        assert_null(none);
    }
    ek_free(bytes);
    ek_net_free(net);
}

static void test_too_many_notes(void **state)
{
    (void)state;
    enum { NOTES = 1001 };
    static char keys[NOTES][40];
    static ek_safetensors_pair metadata[NOTES + 2] = {{"evenkeel.version", "1"}, {"evenkeel.net", tiny_text}};
    for (int i = 0; i < NOTES; i++) {
        snprintf(keys[i], sizeof keys[i], "evenkeel.note.%d", i);
        metadata[i + 2] = (ek_safetensors_pair){keys[i], "x"};
    }
    ek_net *net;
    tampered t = begin_tampering();
    end_tampering(&t, metadata, NOTES + 1);
    OK(ek_net_load(&net, path));
    OK(ek_net_save(net, path));
    OK(ek_net_set_note(net, "one more", "x"));
    assert_int_equal(ek_net_save(net, path), EK_ERR_ARGUMENT);
    ASSERT_LINE("1001 notes");
    ek_net_free(net);
    t = begin_tampering();
    end_tampering(&t, metadata, NOTES + 2);
    assert_int_equal(ek_net_load(&net, path), EK_ERR_FORMAT);
    ASSERT_LINE(path, "more than 1000 notes");
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    ek_net *net = tiny();
    int failures = 0;
    OK(ek_net_set_note(net, "labels", "a b"));
    OK(ek_net_save(net, path));
    size_t size, again;
    unsigned char *bytes = slurp(&size);
    for (int n = 1;; n++, failures++) {
        ek_net *back = NULL;
        ek_memory_fail_at(n);
        ek_status status = ek_net_save(net, path);
        if (!status)
            status = ek_net_load(&back, path);
        if (!status)
            status = ek_net_load_weights(back, path);
        ek_memory_fail_at(0);
        if (status != EK_ERR_MEMORY && status)
            fail_msg("allocation %d: %s: %s", n, ek_status_name(status), ek_error());
        ek_net_free(back);
        unsigned char *now = slurp(&again);
        assert_int_equal(size, again);
        assert_memory_equal(bytes, now, size);
        ek_free(now);
        if (!status)
            break;
    }
    assert_in_range(failures, 30, 1000);
    ek_free(bytes);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_of_built_in_nets),
        cmocka_unit_test(test_round_trip_of_notes),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_takes_the_official_librarys_file),
        cmocka_unit_test(test_missing_left_over_and_misshapen),
        cmocka_unit_test(test_many_misfits_are_counted),
        cmocka_unit_test(test_long_misfits_are_counted),
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_a_missing_counter_is_zero),
        cmocka_unit_test(test_values_that_are_refused),
        cmocka_unit_test(test_bad_values_are_not_saved),
        cmocka_unit_test(test_unwritable_places),
        cmocka_unit_test(test_a_marked_net),
        cmocka_unit_test(test_models_that_are_refused),
        cmocka_unit_test(test_truncated_model),
        cmocka_unit_test(test_too_many_notes),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("model", tests, make_path, remove_path);
}
