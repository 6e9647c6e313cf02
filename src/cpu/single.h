/* SPDX-License-Identifier: MIT
 *
 * A prediction program for one sample, inside: what single_plan.c makes of the program's steps, single_pack.c lays out
 * and fills with numbers, and single.c runs. Values are named by number, each written once; a program's rooms, which
 * are written over and over, are followed while its steps are read. */
#ifndef EK_CPU_SINGLE_H
#define EK_CPU_SINGLE_H

#include "cpu/dispatch.h"
#include "op/backend.h"

/* A value of a sample, [C][H][W], in one of the layouts of cpu/kernel/single.h. */
typedef struct ek_single_value {
    int c, h, w;
    bool planar;
    bool wide;                    /* planar: rows are whole registers long, and are written so */
    int lanes;                    /* channels that writers may overrun to: at least c */
    int top, left, bottom, right; /* zeros around it */
    int first, last;              /* operations from the one that writes it to the last that reads it */
    /* Laid out: floats from channel to channel, row to row, column to column; of the whole; where it lies in a slot. */
    ptrdiff_t channel, row, column;
    size_t size, at;
} ek_single_value;

typedef enum ek_single_kind {
    EK_SINGLE_LOAD,      /* the sample to y */
    EK_SINGLE_CONV,      /* x to y */
    EK_SINGLE_COLUMNS,   /* the same, from planar to planar */
    EK_SINGLE_DEPTHWISE, /* */
    EK_SINGLE_WINOGRAD,  /* */
    EK_SINGLE_UNIT,      /* x to y */
    EK_SINGLE_PLANAR,    /* a unit without norm, of pool 2, from planar to planar */
    EK_SINGLE_ACTIVATE,  /* x to y, in either layout */
    EK_SINGLE_POOL,      /* x to y */
    EK_SINGLE_LAYERNORM, /* x to y, in either layout */
    EK_SINGLE_JOIN,      /* x and r to y */
    EK_SINGLE_COPY,      /* x to y from channel `first` on, in any layouts */
    EK_SINGLE_FLATTEN,   /* x as features to y from feature `first` on */
    EK_SINGLE_STORE,     /* x to the caller's logits */
} ek_single_kind;

typedef struct ek_single_op {
    ek_single_kind kind;
    int step;              /* of the program */
    int x, r, y;           /* values, -1: none */
    int first;             /* COPY, FLATTEN */
    size_t numbers;        /* where its weights begin, norm's numbers, or gamma and beta */
    size_t numbers_size;   /* of it; of a norm of four arrays, */
    size_t numbers_stride; /* so far apart; of a grouped convolution from group to group */
    size_t offsets;        /* where its taps' begin */
    union {
        struct {
            ek_conv g;          /* as it is computed; of groups the whole */
            ek_single_conv one; /* laid out; of groups one */
            const float *weight, *bias;
        } map;
        struct {
            ek_unit u;
            const ek_norm_channel *norm; /* NULL without */
        } unit;
        struct {
            ek_join g;
            const ek_norm_channel *norm;
        } join;
        ek_pool2d pool;
        struct {
            int64_t m;
            float eps;
            const float *gamma, *beta;
        } layernorm;
    } u;
} ek_single_op;

struct ek_single {
    const ek_single_kernels *kernels;
    ek_single_op *ops;
    int op_count, op_capacity;
    ek_single_value *values;
    int value_count, value_capacity;
    float *numbers; /* weights and the like */
    size_t numbers_size;
    int32_t *offsets; /* of taps */
    size_t offsets_size;
    float *slots;
    int slot_count;
    size_t slot_stride, scratch_at; /* floats */
};

/* Operations and values for the program's steps. Pointers to the program's numbers stand in the operations until
 * ek_single_pack has copied them. */
ek_status ek_single_plan(ek_single *single, const ek_program *program, const int input[3]);

/* Lays out the values and allocates and fills what stays. */
ek_status ek_single_pack(ek_single *single, const ek_program *program, int slots);

/* The places of x that a convolution's sum begins at, in floats from the value's first. */
static inline ptrdiff_t ek_single_corner(const ek_single_value *v, const ek_conv *g)
{
    return -g->padding_h * v->row - g->padding_w * v->column;
}

#endif
