/* SPDX-License-Identifier: MIT
 * The kinds of layers: their names, their options, and where a layer keeps them. The one list that the builder checks
 * against, text is written from and the parser reads by. A new kind gets its row in kind.c and its case in
 * builder.c (shapes) and tensors.c (tensors). */
#ifndef EK_NET_KIND_H
#define EK_NET_KIND_H

#include "net/net.h"

typedef enum ek_option_type {
    EK_OPTION_NUMBER, /* an int */
    EK_OPTION_PAIR,   /* two ints, of rows and columns: "3x5", and "3" for twice the same */
    EK_OPTION_FLOAT,
    EK_OPTION_SWITCH,    /* a bool, "no" or "yes" */
    EK_OPTION_VARIANCE,  /* an ek_moving_variance */
    EK_OPTION_NORMALIZE, /* an ek_normalize */
} ek_option_type;

typedef struct ek_option {
    const char *name;
    ek_option_type type;
    size_t offset;        /* in ek_layer */
    double low, high;     /* what it may be */
    const char *range;    /* the same in words */
    const char *words[3]; /* what 0, 1 and 2 are called, where they have names */
    const char *minus;    /* what -1 is called, where that is allowed beside low..high */
} ek_option;

enum { EK_OPTIONS_MAX = 12 };

typedef struct ek_kind {
    const char *name;
    bool sized; /* its line has a number behind the name: options[0] */
    int option_count;
    ek_option options[EK_OPTIONS_MAX]; /* in the order of the text */
} ek_kind;

/* By ek_layer_kind. */
extern const ek_kind ek_kinds[EK_LAYER_KINDS];

/* A layer with the defaults of its kind. `size` is the number behind its name, unused for kinds without. */
ek_layer ek_layer_new(ek_layer_kind kind, int size);

/* Sets what by default follows the size: a pooling's stride is its kernel. */
void ek_layer_follow_size(ek_layer *layer);

/* An option's value, or part 0 or 1 of a pair. Every type fits a double: ints and floats exactly, switches as 0, 1. */
double ek_option_get(const ek_option *option, const ek_layer *layer, int part);
void ek_option_set(const ek_option *option, ek_layer *layer, int part, double value);

/* 2 for a pair, else 1. */
static inline int ek_option_parts(const ek_option *option)
{
    return option->type == EK_OPTION_PAIR ? 2 : 1;
}

/* Whether value is allowed; false for NaN. */
bool ek_option_allows(const ek_option *option, double value);

#endif
