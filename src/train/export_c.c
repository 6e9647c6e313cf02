/* SPDX-License-Identifier: MIT
 * A net as a C file and its header: folded, proved able to predict, with what a self-test compares with. */
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/c_source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 64, TESTS = 2, TESTS_MAX = 1000 };

/* Sums run in another order than the library's: of single images and nets of a hundred layers, differences stay below
 * a tenth of it. */
static const double tolerance = 1e-4;

typedef struct export
{
    ek_net *net, *folded;
    const ek_export_c_options *o;
    const char *path;
    char stem[4096], file[NAME], prefix[NAME];
    ek_c_source source;
    uint8_t *pixels;
    float *values, *outputs, *mean;
}
export;

/* ---- Names -------------------------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* PATH without ".c", and its last part, whose other characters become '_' in the prefix. */
static ek_status set_names(export *x)
{
    const size_t length = strlen(x->path), cut = length > 2 && !strcmp(x->path + length - 2, ".c") ? 2 : 0;
    if (length - cut + 8 > sizeof x->stem)
        return ek_fail(EK_ERR_ARGUMENT, "the path of the C files is longer than %zu bytes", sizeof x->stem - 8);
    memcpy(x->stem, x->path, length - cut);
    const char *slash = strrchr(x->stem, '/'), *name = slash ? slash + 1 : x->stem;
    if (!*name || strlen(name) >= NAME || strpbrk(name, "\"\\\n*?%$@"))
        return ek_fail(EK_ERR_ARGUMENT, "%.256s: the C files need a name of 1 to %d letters, digits and the like",
                       x->path, NAME - 1);
    memcpy(x->file, name, strlen(name));
    const char *prefix = x->o->prefix ? x->o->prefix : name;
    size_t at = 0;
    if (!x->o->prefix && is_digit(*prefix))
        x->prefix[at++] = 'n';
    for (size_t i = 0; prefix[i]; i++) {
        const bool fine = is_letter(prefix[i]) || (is_digit(prefix[i]) && at > 0);
        if (at + 1 >= NAME || (x->o->prefix && !fine))
            return ek_fail(
                EK_ERR_ARGUMENT,
                "the prefix '%.80s' is no beginning of C's names: up to %d letters, digits and underscores, "
                "a letter first",
                prefix, NAME - 1);
        x->prefix[at++] = fine ? prefix[i] : '_';
    }
    return x->prefix[0] ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "the prefix of the C files' names is empty");
}

/* ---- The self-test's samples -------------------------------------------------------------------------------- */

/* Bytes of images that are not there: the same for every export. */
static void fill_random(uint8_t *pixels, int64_t count)
{
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t bits[4];
        ek_random4(0, EK_RANDOM_INIT, UINT32_MAX, (uint64_t)i, bits);
        for (int64_t j = i; j < count && j < i + 4; j++)
            pixels[j] = (uint8_t)(bits[j - i] >> 24);
    }
}

static ek_status check_samples(const export *x, ek_dims in)
{
    ek_dataset_info info;
    ek_dataset_get_info(x->o->samples, &info);
    if (info.channels != in.c || info.height != in.h || info.width != in.w)
        return ek_fail(EK_ERR_SHAPE, "images of the self-test are %dx%dx%d, the net's input is %dx%dx%d",
                       info.channels, info.height, info.width, in.c, in.h, in.w);
    return info.count > 0 ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "the data set for the self-test is empty");
}

static ek_status record_tests(export *x)
{
    const ek_dims in = x->net->input;
    const int64_t inputs = ek_dims_count(in), outputs = ek_dims_count(ek_net_output(x->net));
    int64_t tests = x->o->tests ? x->o->tests : TESTS, count = tests;
    if (x->o->samples) {
        ek_dataset_info info;
        EK_TRY(check_samples(x, in));
        ek_dataset_get_info(x->o->samples, &info);
        count = info.count;
        tests = tests < count ? tests : count;
    }
    const size_t values = ek_size_mul((size_t)tests, (size_t)inputs);
    x->pixels = ek_calloc(values, 1);
    x->values = ek_calloc(values, sizeof *x->values);
    x->outputs = ek_calloc(ek_size_mul((size_t)tests, (size_t)outputs), sizeof *x->outputs);
    if (!x->pixels || !x->values || !x->outputs)
        return EK_ERR_MEMORY;
    if (!x->o->samples)
        fill_random(x->pixels, (int64_t)values);
    for (int64_t i = 0; x->o->samples && i < tests; i++) /* evenly spread */
        EK_TRY(ek_dataset_read(x->o->samples, i * count / tests, x->pixels + i * inputs));
    for (size_t i = 0; i < values; i++)
        x->values[i] = (float)x->pixels[i] / 255;
    EK_TRY(ek_predict(x->net, tests, x->values, 1, x->outputs));
    for (int64_t i = 0; i < tests * outputs; i++)
        if (!isfinite(x->outputs[i]))
            return ek_fail(EK_ERR_NUMERIC, "output %lld of image %lld of the self-test is NaN or infinite",
                           (long long)(i % outputs), (long long)(i / outputs));
    x->source.tests = (int)tests;
    return EK_OK;
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static ek_status set_source(export *x)
{
    const int channels = x->net->input.c;
    bool normalized;
    x->mean = ek_calloc((size_t)channels, 2 * sizeof *x->mean);
    if (!x->mean)
        return EK_ERR_MEMORY;
    EK_TRY(ek_net_normalization(x->net, &normalized, x->mean, x->mean + channels));
    x->source.prefix = x->prefix;
    x->source.file = x->file;
    x->source.net = x->folded;
    x->source.unfolded = x->net;
    x->source.mean = normalized ? x->mean : NULL;
    x->source.std = normalized ? x->mean + channels : NULL;
    x->source.pixels = x->pixels;
    x->source.outputs = x->outputs;
    x->source.real = x->o->samples != NULL;
    x->source.tolerance = tolerance;
    return EK_OK;
}

static ek_status write_file(const export *x, const char *ending, const ek_text *text)
{
    char path[sizeof x->stem];
    ek_file_writer *writer;
    snprintf(path, sizeof path, "%s%s", x->stem, ending);
    EK_TRY(ek_file_create(&writer, path));
    const ek_status status = ek_file_write(writer, text->text, text->length);
    if (!status)
        return ek_file_commit(writer);
    ek_file_abandon(writer);
    return status;
}

static ek_status run(export *x)
{
    ek_text c = {0}, h = {0};
    EK_TRY(set_names(x));
    EK_TRY(ek_net_finish(x->net));
    EK_TRY(ek_net_fold(&x->folded, x->net, NULL));
    EK_TRY(record_tests(x));
    EK_TRY(set_source(x));
    ek_status status = ek_c_write(&x->source, &c, &h);
    if (!status)
        status = write_file(x, ".h", &h);
    if (!status)
        status = write_file(x, ".c", &c);
    ek_free(c.text);
    ek_free(h.text);
    return status;
}

ek_status ek_export_c(ek_net *net, const char *path, const ek_export_c_options *options)
{
    static const ek_export_c_options defaults = {0};
    export x = {.net = net, .path = path, .o = options ? options : &defaults};
    if (!path)
        return ek_fail(EK_ERR_ARGUMENT, "ek_export_c: path is NULL");
    if (x.o->tests < 0 || x.o->tests > TESTS_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "ek_export_c: tests (%d) must be 0 to %d", x.o->tests, TESTS_MAX);
    const ek_status status = run(&x);
    if (!status && x.o->report)
        *x.o->report =
            (ek_export_c_report){.constants = x.source.constants, .memory = x.source.memory, .tests = x.source.tests};
    ek_net_free(x.folded);
    ek_free(x.pixels);
    ek_free(x.values);
    ek_free(x.outputs);
    ek_free(x.mean);
    return status;
}
