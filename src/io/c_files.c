/* SPDX-License-Identifier: MIT */
#include "io/c_files.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 110, TESTS = 2, TESTS_MAX = 1000 };

/* ---- Names -------------------------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static ek_status set_prefix(ek_c_names *n, const char *given)
{
    const char *from = given ? given : n->file;
    size_t at = 0;
    if (!given && is_digit(*from))
        n->prefix[at++] = 'n';
    for (size_t i = 0; from[i]; i++) {
        const bool fine = is_letter(from[i]) || (is_digit(from[i]) && at > 0);
        if (given && (at + 1 >= EK_C_NAME || !fine))
            return ek_fail(
                EK_ERR_ARGUMENT,
                "the prefix '%.80s' is no beginning of C's names: up to %d letters, digits and underscores, "
                "a letter first",
                given, EK_C_NAME - 1);
        if (at + 1 < EK_C_NAME)
            n->prefix[at++] = fine ? from[i] : '_';
    }
    n->prefix[at] = 0;
    for (size_t i = 0; i <= at; i++) {
        const char c = n->prefix[i];
        n->upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    return at ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "the prefix of the C files' names is empty");
}

ek_status ek_c_set_names(ek_c_names *n, const char *path, const char *prefix)
{
    const size_t length = strlen(path), cut = length > 2 && !strcmp(path + length - 2, ".c") ? 2 : 0;
    if (length - cut + 8 > sizeof n->stem)
        return ek_fail(EK_ERR_ARGUMENT, "the path of the C files is longer than %zu bytes", sizeof n->stem - 8);
    memcpy(n->stem, path, length - cut);
    n->stem[length - cut] = 0;
    const char *slash = strrchr(n->stem, '/'), *name = slash ? slash + 1 : n->stem;
    bool plain = *name && strlen(name) < EK_C_NAME;
    for (const char *c = name; *c; c++)
        plain = plain && (unsigned char)*c >= 0x20 && *c != 0x7f && !strchr("\"\\*?%$@<>", *c);
    if (!plain)
        return ek_fail(EK_ERR_ARGUMENT, "%.256s: the C files need a name of 1 to %d letters, digits and the like",
                       path, EK_C_NAME - 1);
    memcpy(n->file, name, strlen(name) + 1);
    return set_prefix(n, prefix);
}

/* ---- Text --------------------------------------------------------------------------------------------------- */

void ek_c_begin_array(ek_text *text, const char *type, const char *prefix, const char *name, int number,
                      int64_t count, const char *qualifier, int *column)
{
    ek_text_sayf(text, "static const %s %s_%s_%d[%lld]%s = {", type, prefix, name, number, (long long)count,
                 qualifier);
    *column = 0;
}

void ek_c_put_number(ek_text *text, const char *number, int length, int *column)
{
    if (*column == 0 || *column + length + 1 > LINE) {
        ek_text_say(text, "\n    ");
        *column = 4;
    }
    ek_text_put(text, number, (size_t)length);
    ek_text_say(text, ",");
    *column += length + 1;
}

void ek_c_end_array(ek_text *text)
{
    ek_text_say(text, "\n};\n");
}

void ek_c_put_class(ek_text *text, const ek_c_names *names, const char *type)
{
    ek_text_sayf(text,
                 "int %s_class(const %s outputs[%s_OUTPUTS])\n"
                 "{\n"
                 "    int best = 0, i;\n"
                 "    for (i = 1; i < %s_OUTPUTS; i++)\n"
                 "        if (outputs[i] > outputs[best])\n"
                 "            best = i;\n"
                 "    return best;\n"
                 "}\n",
                 names->prefix, type, names->upper, names->upper);
}

uint32_t ek_c_stamp(const ek_text *body)
{
    return ek_crc32c(0, body->text, body->length);
}

void ek_c_put_stamp(ek_text *header, const ek_c_names *names, uint32_t stamp)
{
    ek_text_sayf(header, "/* Which export this is, that files of two are not mixed. */\n#define %s_STAMP 0x%08xu\n\n",
                 names->upper, stamp);
}

void ek_c_put_check(ek_text *source, const ek_c_names *names, uint32_t stamp)
{
    ek_text_sayf(source, "#if %s_STAMP != 0x%08xu\n#error \"%s.h and %s.c are of different exports\"\n#endif\n\n",
                 names->upper, stamp, names->file, names->file);
}

/* ---- The header --------------------------------------------------------------------------------------------- */

/* A string of C: what is neither plain nor free of a meaning, a trigraph's '?' among it, in octal. */
static void put_string(ek_text *text, const char *from, size_t length)
{
    ek_text_say(text, "\"");
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)from[i];
        ek_text_sayf(text, c < 0x20 || c > 0x7e || strchr("\"\\?", c) ? "\\%03o" : "%c", c);
    }
    ek_text_say(text, "\"");
}

static void put_labels(ek_text *h, const ek_c_names *n, const char *labels, int64_t outputs)
{
    int64_t count = 0;
    for (const char *c = labels; c && *c; c += strcspn(c, "\n"), c += *c != 0)
        count++;
    if (count != outputs)
        return;
    ek_text_sayf(h, "/* const char *const labels[%s_OUTPUTS] = %s_LABELS; */\n#define %s_LABELS \\\n    {", n->upper,
                 n->upper, n->upper);
    for (const char *c = labels; *c;) {
        const size_t length = strcspn(c, "\n");
        if (c != labels)
            ek_text_say(h, ", \\\n     ");
        put_string(h, c, length);
        c += length + (c[length] != 0);
    }
    ek_text_say(h, "}\n\n");
}

void ek_c_begin_header(ek_text *h, const ek_c_names *n, const char *title, const ek_net *net, int64_t outputs,
                       int64_t memory, uint32_t stamp)
{
    const ek_dims in = net->input;
    const char *u = n->upper;
    ek_text_sayf(h,
                 "/* %s */\n#ifndef %s_INCLUDED\n#define %s_INCLUDED\n\n#include <stdint.h>\n\n"
                 "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
                 title, u, u);
    ek_text_sayf(h,
                 "#define %s_CHANNELS %d\n#define %s_HEIGHT %d\n#define %s_WIDTH %d\n#define %s_INPUTS %lld\n"
                 "#define %s_OUTPUTS %lld\n#define %s_MEMORY %lld /* bytes */\n\n",
                 u, in.c, u, in.h, u, in.w, u, (long long)ek_dims_count(in), u, (long long)outputs, u,
                 (long long)memory);
    put_labels(h, n, ek_net_note(net, "labels"), outputs);
    ek_c_put_stamp(h, n, stamp);
}

void ek_c_end_header(ek_text *h)
{
    ek_text_say(h, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

/* ---- Images of the self-test ---------------------------------------------------------------------------------- */

static ek_status check_samples(const ek_net *net, const ek_dataset *samples, int64_t *there)
{
    const ek_dims in = net->input;
    ek_dataset_info info;
    ek_dataset_get_info(samples, &info);
    *there = info.count;
    if (info.channels != in.c || info.height != in.h || info.width != in.w)
        return ek_fail(EK_ERR_SHAPE, "images of the self-test are %dx%dx%d, the net's input is %dx%dx%d",
                       info.channels, info.height, info.width, in.c, in.h, in.w);
    return info.count > 0 ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "the data set for the self-test is empty");
}

static void fill_random(uint8_t *pixels, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t bits[4];
        ek_random4(0, EK_RANDOM_INIT, UINT32_MAX, (uint64_t)(first + i), bits);
        for (int64_t j = i; j < count && j < i + 4; j++)
            pixels[j] = (uint8_t)(bits[j - i] >> 24);
    }
}

ek_status ek_c_images(const ek_net *net, const ek_dataset *samples, int64_t wanted, int64_t first, uint8_t **pixels,
                      int64_t *count)
{
    const int64_t inputs = ek_dims_count(net->input);
    int64_t there = wanted;
    if (samples)
        EK_TRY(check_samples(net, samples, &there));
    *count = wanted < there ? wanted : there;
    *pixels = ek_calloc(ek_size_mul((size_t)*count, (size_t)inputs), 1);
    if (!*pixels)
        return EK_ERR_MEMORY;
    if (!samples)
        fill_random(*pixels, first * inputs, *count * inputs);
    for (int64_t i = 0; samples && i < *count; i++)
        EK_TRY(ek_dataset_read(samples, i * there / *count, *pixels + i * inputs));
    return EK_OK;
}

ek_status ek_c_test_count(const ek_export_c_options *o, int *tests)
{
    *tests = o->tests ? o->tests : TESTS;
    return *tests > 0 && *tests <= TESTS_MAX
               ? EK_OK
               : ek_fail(EK_ERR_ARGUMENT, "tests is %d: a self-test has 1 to %d images", o->tests, TESTS_MAX);
}

/* ---- The files ---------------------------------------------------------------------------------------------- */

ek_status ek_c_write_files(const ek_c_names *names, const ek_text *c, const ek_text *h)
{
    char source[sizeof names->stem + 2], header[sizeof source];
    snprintf(source, sizeof source, "%s.c", names->stem);
    snprintf(header, sizeof header, "%s.h", names->stem);
    return ek_file_put_all((const ek_file_content[]){{source, c->text, c->length}, {header, h->text, h->length}}, 2);
}
