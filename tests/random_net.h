/* SPDX-License-Identifier: MIT
 * Random nets of the whole language for tests: every layer, option and block, valid by construction, small, and the
 * same for the same seed on every machine. They end in RANDOM_NET_CLASSES features.
 *
 *     ek_net *net = random_net(seed, 0);       // initialised, as if it had been trained
 *     char *text = random_net_text(seed, 0);   // its text alone, for free()
 */
#ifndef RANDOM_NET_H
#define RANDOM_NET_H

#include "base/random.h"
#include "evenkeel.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_NET_CLASSES = 5 };

/* What is asked of a net. */
enum {
    RANDOM_NET_TRACKED = 1, /* no batch norm without moving statistics: a sample's outputs are its own */
    RANDOM_NET_DOUBLES = 2  /* a residual's body may be nothing in prediction: what it reads is added to itself */
};

/* A net that is being written, the shape that the next layer reads, and where its random choices come from. */
typedef struct random_writer {
    char *text;
    size_t length, room;
    uint64_t seed, drawn;
    unsigned asked;
    int c, h, w; /* h = 0: features [c] */
} random_writer;

static inline float random_draw_unit(random_writer *w)
{
    uint32_t bits[4];
    ek_random4(w->seed, EK_RANDOM_INIT, 4711, w->drawn++, bits);
    return ek_random_unit(bits[0]);
}

/* 0 to choices - 1 */
static inline int random_draw(random_writer *w, int choices)
{
    return (int)(random_draw_unit(w) * (float)choices);
}

/* Once in so many times. */
static inline int random_rarely(random_writer *w, int times)
{
    return random_draw(w, times) == 0;
}

__attribute__((format(printf, 2, 3))) static inline void random_put(random_writer *w, const char *format, ...)
{
    char piece[200];
    va_list arguments;
    va_start(arguments, format);
    const size_t size = (size_t)vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (w->length + size >= w->room) {
        w->room = 2 * w->room + 1000;
        w->text = realloc(w->text, w->room);
    }
    assert(w->text && size < sizeof piece);
    memcpy(w->text + w->length, piece, size + 1);
    w->length += size;
}

/* Once in three times one of the words, which end with NULL. */
static inline void random_put_one(random_writer *w, const char *const *words)
{
    int count = 0;
    while (words[count])
        count++;
    if (!random_rarely(w, 3))
        return;
    random_put(w, "%s", words[random_draw(w, count)]);
}

/* ---- Layers ------------------------------------------------------------------------------------------------- */

static inline int random_extent(int in, int kernel, int padding, int stride, int dilation)
{
    const int span = in + 2 * padding - dilation * (kernel - 1) - 1;
    return span < 0 ? 0 : span / stride + 1;
}

static inline int random_fewer(int a, int b)
{
    return a < b ? a : b;
}

/* A convolution to `channels`; one that keeps rows and columns where `keep` says so, or divides them by `stride`. */
static inline void random_conv2d(random_writer *w, int channels, int keep, int stride)
{
    const int dilation = random_rarely(w, 4) ? 2 : 1;
    int k[2], p[2], s[2] = {stride, stride}, out[2];
    const int in[2] = {w->h, w->w};
    for (int i = 0; i < 2; i++) {
        if (keep) {
            k[i] = 1 + 2 * random_draw(w, 2);
            p[i] = dilation * (k[i] - 1) / 2;
        } else {
            k[i] = 1 + random_draw(w, 4);
            p[i] = random_draw(w, 3);
            s[i] = random_rarely(w, 3) ? 2 : 1;
            while (random_extent(in[i], k[i], p[i], s[i], dilation) < 1)
                k[i]--; /* a kernel of 1 fits */
        }
        out[i] = random_extent(in[i], k[i], p[i], s[i], dilation);
    }
    int groups = random_rarely(w, 3) ? 1 + random_draw(w, w->c) : 1;
    while (w->c % groups || channels % groups)
        groups--;
    random_put(w, "conv2d %d kernel=%dx%d padding=%dx%d stride=%dx%d dilation=%d groups=%d%s\n", channels, k[0], k[1],
               p[0], p[1], s[0], s[1], dilation, groups, random_rarely(w, 2) ? " bias=no" : "");
    w->c = channels;
    w->h = out[0];
    w->w = out[1];
}

static inline int random_channels(random_writer *w)
{
    static const int channels[] = {2, 3, 4, 6, 8, 12, 17, 20};
    return channels[random_draw(w, 8)];
}

static inline void random_linear(random_writer *w, int features)
{
    random_put(w, "linear %d%s\n", features, random_rarely(w, 3) ? " bias=no" : "");
    w->c = features;
}

static inline void random_batchnorm(random_writer *w)
{
    const int tracking = w->asked & RANDOM_NET_TRACKED || !random_rarely(w, 10);
    random_put(w, "batchnorm");
    random_put_one(w, (const char *const[]){" eps=0.001", " eps=0.1", " eps=0.00002", NULL});
    random_put_one(w, (const char *const[]){" momentum=0.3", " momentum=1", " momentum=cumulative", NULL});
    random_put_one(w, (const char *const[]){" moving_variance=population", NULL});
    random_put_one(w, (const char *const[]){" normalize=mean", " normalize=deviation", NULL});
    random_put_one(w, (const char *const[]){" affine=no", " scale=no", " center=no", " scale=no center=no", NULL});
    random_put(w, "%s", tracking ? "" : " tracking=no");
    random_put_one(w, tracking ? (const char *const[]){" use_moving=yes", " hold_moving=yes",
                                                       " use_moving=yes hold_moving=yes", NULL}
                               : (const char *const[]){"", NULL});
    random_put_one(w, (const char *const[]){" hold_affine=yes", NULL});
    random_put(w, "\n");
}

/* A pooling that keeps rows and columns where `keep` says so. */
static inline void random_pool(random_writer *w, int keep)
{
    const int average = random_draw(w, 2);
    int *const in[2] = {&w->h, &w->w};
    int k[2], p[2], s[2];
    for (int i = 0; i < 2; i++) {
        k[i] = keep ? 1 + 2 * random_draw(w, 2) : random_fewer(1 + random_draw(w, 3), *in[i]);
        p[i] = keep ? k[i] / 2 : random_draw(w, k[i] / 2 + 1);
        s[i] = keep ? 1 : 1 + random_draw(w, k[i]);
        *in[i] = random_extent(*in[i], k[i], p[i], s[i], 1);
    }
    random_put(w, "%s %dx%d stride=%dx%d padding=%dx%d%s\n", average ? "avgpool" : "maxpool", k[0], k[1], s[0], s[1],
               p[0], p[1], average && random_rarely(w, 2) ? " count_include_pad=no" : "");
}

/* What leaves the shape alone. */
static inline void random_pointwise(random_writer *w)
{
    static const char *const layers[] = {
        "relu",
        "sigmoid",
        "tanh",
        "gelu",
        "gelu approximate=tanh",
        "leaky_relu negative_slope=0.2",
        "layernorm",
        "layernorm affine=no eps=0.001",
        "dropout",
        "dropout p=0.2",
    };
    const int kind = random_draw(w, 16);
    if (kind < 10)
        random_put(w, "%s\n", layers[kind]);
    else
        random_batchnorm(w);
}

/* ---- Blocks ------------------------------------------------------------------------------------------------- */

static inline void random_layers(random_writer *w, int count, int keep, int depth);

/* A layer that makes `channels` of what there is. */
static inline void random_map(random_writer *w, int channels, int stride)
{
    if (w->h)
        random_conv2d(w, channels, 1, stride);
    else
        random_linear(w, channels);
}

static inline void random_residual(random_writer *w, int keep, int depth)
{
    const int shortcut = random_draw(w, w->h ? 3 : 2); /* identity, layers, padded */
    const int stride = shortcut && w->h && !keep ? 1 + random_draw(w, 2) : 1, was[3] = {w->c, w->h, w->w};
    const int channels = shortcut == 0 ? w->c : shortcut == 1 ? random_channels(w) : w->c + random_draw(w, 4);
    if (shortcut == 2)
        random_put(w, "residual shortcut=pad stride=%d {\n", stride);
    else
        random_put(w, "residual {\n");
    if (w->asked & RANDOM_NET_DOUBLES && shortcut != 1 && channels == w->c && stride == 1 && random_draw(w, 2)) {
        random_put(w, "dropout\n}\n");
        return;
    }
    random_layers(w, random_draw(w, 3), 1, depth + 1);
    random_map(w, channels, stride);
    if (random_draw(w, 2))
        random_batchnorm(w);
    if (shortcut == 1) {
        random_put(w, "} shortcut {\n");
        w->c = was[0];
        w->h = was[1];
        w->w = was[2];
        random_map(w, channels, stride);
        if (random_draw(w, 2))
            random_batchnorm(w);
    }
    random_put(w, "}\n");
}

static inline void random_concat(random_writer *w, int depth)
{
    const int c = w->c, branches = 1 + random_draw(w, 3);
    int sum = 0;
    random_put(w, "concat {\n");
    for (int i = 0; i < branches; i++) {
        w->c = c;
        random_put(w, "branch {\n");
        random_layers(w, random_draw(w, 4), 1, depth + 1);
        random_put(w, "}\n");
        sum += w->c;
    }
    random_put(w, "}\n");
    w->c = sum;
}

/* Layers, which keep rows and columns where `keep` says so: branches have to fit each other. */
static inline void random_layers(random_writer *w, int count, int keep, int depth)
{
    for (int i = 0; i < count; i++) {
        const int kind = random_draw(w, depth < 2 && w->c <= 40 ? 14 : 11);
        if (kind >= 11)
            kind == 11 ? random_concat(w, depth) : random_residual(w, keep, depth);
        else if (kind >= 5)
            random_pointwise(w);
        else if (kind == 4 && w->h)
            random_pool(w, keep);
        else if (w->h)
            random_conv2d(w, random_channels(w), keep, 1);
        else
            random_linear(w, random_channels(w));
    }
}

/* ---- The net ------------------------------------------------------------------------------------------------ */

static inline char *random_net_text(uint64_t seed, unsigned asked)
{
    random_writer w = {.seed = seed, .asked = asked};
    w.c = 1 + random_draw(&w, 3);
    w.h = 4 + random_draw(&w, 7);
    w.w = 4 + random_draw(&w, 7);
    random_put(&w, "input %d %d %d\n", w.c, w.h, w.w);
    random_layers(&w, 2 + random_draw(&w, 5), 0, 0);
    random_pool(&w, 0);
    random_layers(&w, random_draw(&w, 5), 0, 0);
    const int global = random_rarely(&w, 3);
    random_put(&w, "%s", global ? "globalavgpool\n" : "");
    w.c *= global ? 1 : w.h * w.w;
    w.h = w.w = 0;
    random_put(&w, "flatten\n");
    random_layers(&w, random_draw(&w, 4), 0, 1);
    random_linear(&w, RANDOM_NET_CLASSES);
    return w.text;
}

/* Gammas, betas and statistics as training would leave them, none like another; weights as they are. */
static inline void random_net_values(ek_net *net, uint64_t seed)
{
    random_writer w = {.seed = seed, .drawn = 1u << 20};
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        if (t->counter)
            *t->counter = 1 + random_draw(&w, 1000);
        for (int64_t j = 0; t->data && j < t->count && t->role != EK_ROLE_WEIGHT && t->role != EK_ROLE_BIAS; j++) {
            const float u = random_draw_unit(&w);
            t->data[j] = t->role == EK_ROLE_GAMMA        ? (u < 0.2f ? -0.5f - u : 0.5f + u)
                         : t->role == EK_ROLE_MOVING_VAR ? 0.25f + 2 * u * u
                                                         : u - 0.5f;
        }
    }
}

/* The net with weights and values of its own; a failure ends the program with the text. */
static inline ek_net *random_net(uint64_t seed, unsigned asked)
{
    char *text = random_net_text(seed, asked);
    ek_net *net = ek_net_parse(text, "random net");
    if (!net || ek_net_init(net, EK_INIT_XAVIER, seed)) {
        fprintf(stderr, "%s%s\n", text, ek_error());
        abort();
    }
    random_net_values(net, seed);
    free(text);
    return net;
}

#endif
