/* SPDX-License-Identifier: MIT
 * The built-in nets: each is a text of the net language, written for an input shape and a number of classes. */
#include "net/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text in the making; the longest net takes a third of it. */
typedef struct writer {
    char text[6144];
    size_t length;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int written = vsnprintf(w->text + w->length, sizeof w->text - w->length, format, args);
    va_end(args);
    w->length += (size_t)written;
}

/* `depth` is 6n + 2 of a net of three stages, where it has some. */
typedef struct builtin {
    const char *name, *description;
    int channels, height, width, classes;
    void (*write)(writer *w, int depth);
    int depth;
} builtin;

/* ---- LeNet and the perceptron ------------------------------------------------------------------------------- */

/* d2l section 7.6. */
static void write_lenet(writer *w, int depth)
{
    (void)depth;
    put(w, "conv2d 6 kernel=5 padding=2\nsigmoid\navgpool 2\n"
           "conv2d 16 kernel=5\nsigmoid\navgpool 2\n"
           "flatten\nlinear 120\nsigmoid\nlinear 84\nsigmoid\n");
}

/* d2l section 8.5.4, with or without options of its batch norms. */
static void put_bn_lenet(writer *w, const char *options)
{
    put(w, "conv2d 6 kernel=5\nbatchnorm%s\nsigmoid\navgpool 2\n", options);
    put(w, "conv2d 16 kernel=5\nbatchnorm%s\nsigmoid\navgpool 2\nflatten\n", options);
    put(w, "linear 120\nbatchnorm%s\nsigmoid\nlinear 84\nbatchnorm%s\nsigmoid\n", options, options);
}

static void write_bn_lenet(writer *w, int depth)
{
    (void)depth;
    put_bn_lenet(w, "");
}

static void write_bn_lenet_scratch(writer *w, int depth)
{
    (void)depth;
    put_bn_lenet(w, " moving_variance=population");
}

/* d2l section 5.2. */
static void write_mlp(writer *w, int depth)
{
    (void)depth;
    put(w, "flatten\nlinear 256\nrelu\n");
}

/* ---- Residual nets of three stages, He et al. 2015, section 4.2 --------------------------------------------- */

static void put_conv3(writer *w, int channels, int stride)
{
    put(w, "conv2d %d kernel=3 padding=1%s bias=no\n", channels, stride == 2 ? " stride=2" : "");
}

static void put_body(writer *w, int channels, int stride)
{
    put_conv3(w, channels, stride);
    put(w, "batchnorm\nrelu\n");
    put_conv3(w, channels, 1);
    put(w, "batchnorm\n}");
}

static void put_stages(writer *w, int depth, bool projected)
{
    const int blocks = (depth - 2) / 6;
    put_conv3(w, 16, 1);
    put(w, "batchnorm\nrelu\n");
    for (int stage = 0, channels = 16; stage < 3; stage++, channels *= 2) {
        if (stage > 0) {
            put(w, projected ? "residual {\n" : "residual shortcut=pad stride=2 {\n");
            put_body(w, channels, 2);
            if (projected)
                put(w, " shortcut {\nconv2d %d stride=2 bias=no\nbatchnorm\n}", channels);
            put(w, "\nrelu\n");
        }
        put(w, "repeat %d {\nresidual {\n", stage ? blocks - 1 : blocks);
        put_body(w, channels, 1);
        put(w, "\nrelu\n}\n");
    }
    put(w, "globalavgpool\nflatten\n");
}

static void write_resnet(writer *w, int depth)
{
    put_stages(w, depth, false);
}

static void write_projected(writer *w, int depth)
{
    put_stages(w, depth, true);
}

/* He et al. 2016, "Identity mappings in deep residual networks": the first block's activation stands before it, and the
 * last sum gets one of its own. */
static void write_preact(writer *w, int depth)
{
    const int blocks = (depth - 2) / 6;
    put_conv3(w, 16, 1);
    put(w, "batchnorm\nrelu\nresidual {\n");
    put_conv3(w, 16, 1);
    put(w, "batchnorm\nrelu\n");
    put_conv3(w, 16, 1);
    put(w, "}\n");
    for (int stage = 0, channels = 16; stage < 3; stage++, channels *= 2) {
        for (int stride = stage ? 2 : 1; stride >= 1; stride--) { /* a block that halves the image, then the others */
            put(w, stride == 2 ? "residual shortcut=pad stride=2 {\n" : "repeat %d {\nresidual {\n", blocks - 1);
            put(w, "batchnorm\nrelu\n");
            put_conv3(w, channels, stride);
            put(w, "batchnorm\nrelu\n");
            put_conv3(w, channels, 1);
            put(w, stride == 2 ? "}\n" : "}\n}\n");
        }
    }
    put(w, "batchnorm\nrelu\nglobalavgpool\nflatten\n");
}

/* ---- The book's ResNet-18, d2l section 8.6 ------------------------------------------------------------------ */

static void write_resnet18(writer *w, int depth)
{
    (void)depth;
    put(w, "conv2d 64 kernel=7 padding=3 stride=2\nbatchnorm\nrelu\nmaxpool 3 padding=1 stride=2\n");
    for (int stage = 0, channels = 64; stage < 4; stage++, channels *= 2)
        for (int block = 0; block < 2; block++) {
            const bool halves = stage > 0 && block == 0;
            put(w, "residual {\nconv2d %d kernel=3 padding=1%s\nbatchnorm\nrelu\n", channels,
                halves ? " stride=2" : "");
            put(w, "conv2d %d kernel=3 padding=1\nbatchnorm\n}", channels);
            if (halves)
                put(w, " shortcut {\nconv2d %d stride=2\n}", channels);
            put(w, "\nrelu\n");
        }
    put(w, "globalavgpool\nflatten\n");
}

/* ---- The list ----------------------------------------------------------------------------------------------- */

#define RESNET(depth)                                                                                                \
    {"resnet-" #depth,                                                                                               \
     "residual net of " #depth " layers for small images, He et al. 2015, section 4.2; option A",                    \
     3,                                                                                                              \
     32,                                                                                                             \
     32,                                                                                                             \
     10,                                                                                                             \
     write_resnet,                                                                                                   \
     depth},                                                                                                         \
    {                                                                                                                \
        "resnet-" #depth "-proj", "the same with projected shortcuts, option B", 3, 32, 32, 10, write_projected,     \
            depth                                                                                                    \
    }

static const builtin builtins[] = {
    {"lenet", "LeNet-5 with sigmoids, d2l section 7.6", 1, 28, 28, 10, write_lenet, 0},
    {"bn-lenet", "LeNet with batch norm before every sigmoid, d2l section 8.5.5", 1, 28, 28, 10, write_bn_lenet, 0},
    {"bn-lenet-scratch", "the same with the moving variance of d2l section 8.5.3, the population's", 1, 28, 28, 10,
     write_bn_lenet_scratch, 0},
    {"mlp", "one hidden layer of 256 relus, d2l section 5.2", 1, 28, 28, 10, write_mlp, 0},
    {"resnet-18", "residual net for larger images, d2l section 8.6", 1, 96, 96, 10, write_resnet18, 0},
    RESNET(20),
    RESNET(32),
    RESNET(44),
    RESNET(56),
    RESNET(110),
    RESNET(1202),
    {"preact-resnet-110", "pre-activation residual net, He et al. 2016; option A", 3, 32, 32, 10, write_preact, 110},
};

enum { BUILTINS = sizeof builtins / sizeof builtins[0] };

const char *ek_net_builtin_name(int i)
{
    return i >= 0 && i < BUILTINS ? builtins[i].name : NULL;
}

const char *ek_net_builtin_text(int i)
{
    return i >= 0 && i < BUILTINS ? builtins[i].description : NULL;
}

static const builtin *find(const char *name)
{
    char known[512] = "";
    size_t length = 0;
    for (int i = 0; name && i < BUILTINS; i++)
        if (!strcmp(name, builtins[i].name))
            return &builtins[i];
    for (int i = 0; i < BUILTINS; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", builtins[i].name);
    ek_fail(EK_ERR_NOT_FOUND, "no built-in net '%.64s'; there are %s", name ? name : "", known);
    return NULL;
}

ek_net *ek_net_builtin_for(const char *name, int channels, int height, int width, int classes)
{
    const builtin *b = find(name);
    if (!b)
        return NULL;
    writer w = {.length = 0};
    put(&w, "input %d %d %d\n", channels ? channels : b->channels, height ? height : b->height,
        width ? width : b->width);
    b->write(&w, b->depth);
    put(&w, "linear %d\n", classes ? classes : b->classes);
    return ek_net_parse(w.text, name);
}

ek_net *ek_net_builtin(const char *name)
{
    return ek_net_builtin_for(name, 0, 0, 0, 0);
}
