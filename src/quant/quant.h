/* SPDX-License-Identifier: MIT
 * A net in integers: what ek_quantize makes of a net for prediction, and what the reference (run.c) and the C text
 * compute, bit for bit the same. Jacob et al. 2018 (arXiv:1712.05877); docs/quantization.md has the formulas.
 *
 *   graph.c     a net as operations on tensors: what is fused, what shares a scale
 *   range.c     scales and zero points from measured histograms
 *   numbers.c   weights, biases, multipliers and tables for these scales
 *   run.c       the reference: one sample in integers
 *   quantize.c  the public calls
 *   memory.c    where a microcontroller keeps the tensors
 *   emit.c      C text; emit_kernels.c has the functions in it
 *
 * A tensor holds integers q that stand for scale*(q - zero). All are int8, -128..127, but for two: the image, where
 * nothing but maps reads it, is its own bytes; the net's output is int16, so that classes hardly tie. */
#ifndef EK_QUANT_QUANT_H
#define EK_QUANT_QUANT_H

#include "net/net.h"
#include "op/op.h"

typedef enum ek_q_type { EK_Q_INT8, EK_Q_BYTE, EK_Q_INT16 } ek_q_type;

static inline int ek_q_least(ek_q_type type)
{
    return type == EK_Q_INT8 ? -128 : type == EK_Q_BYTE ? 0 : -32768;
}

static inline int ek_q_greatest(ek_q_type type)
{
    return type == EK_Q_INT8 ? 127 : type == EK_Q_BYTE ? 255 : 32767;
}

typedef struct ek_q_tensor {
    int layer; /* whose output it holds; -1: the net's input */
    int64_t count;
    ek_q_type type;
    double scale; /* > 0 */
    int zero;     /* within the type's range: 0 is held exactly */
    int same_as;  /* a tensor whose scale and zero are its own, too, and so on; itself where the chain ends */
    int part_of;  /* the tensor that it is a part of, which a concat makes of it; -1: none */
    int64_t part_at;
    int readers; /* operations, and the caller of the output */
    int writer;  /* the operation; -1 of the bytes of an image, and of a concat, which its parts' writers write */
} ek_q_tensor;

/* x * factor * 2^-shift, rounded half up: shift 0..62, 0 <= factor < 2^31. Of 0, factor is 0. */
typedef struct ek_multiplier {
    int32_t factor;
    int shift;
} ek_multiplier;

typedef enum ek_q_kind {
    EK_Q_INPUT,   /* y = table of x's channel [x] */
    EK_Q_MAP,     /* convolution or linear; a batch norm that could not be folded is a map of one tap a channel */
    EK_Q_TABLE,   /* y = table[x + 128] */
    EK_Q_AVGPOOL, /* sum of x - zero over the window's values inside the image, times the multiplier of their count */
    EK_Q_MAXPOOL, /* y has x's scale and zero */
    EK_Q_ADD,     /* a residual's sum */
    EK_Q_RESCALE, /* the same values with another scale */
} ek_q_kind;

/* With z the tensors' zero points, and y clamped to low..127 (or its type's):
 *   MAP      y[k] = z_y + round(multipliers[k] * (bias[k] + sum of weights * (x - z_x))), over taps inside the image
 *   AVGPOOL  y = z_y + round(multipliers[count - 1] * sum of (x - z_x)); one multiplier where all counts are as one
 *   ADD      y = z_y + round(((x - z_x)*factor_x + (r - z_r)*factor_r) * 2^-shift), r by the join's geometry
 *   RESCALE  y = z_y + round(multipliers[0] * (x - z_x))
 * round is half up: floor(v + 1/2). Sums before it fit int32 whatever the bytes of the image are, and so does every
 * partial sum in any order, of weights * x as well. */
typedef struct ek_q_op {
    ek_q_kind kind;
    int layer;   /* -1: the input */
    int x, r, y; /* tensors; r: ADD alone, else -1 */
    int norm;    /* MAP: the batch norm that is folded into it; -1: none */
    bool relu;   /* low is z_y, in place of the type's least */
    int low;
    ek_conv g;                  /* MAP: features are channels */
    ek_pool2d pool;             /* POOL */
    ek_join join;               /* ADD: its norm and activation do not count */
    ek_activation activation;   /* TABLE: what it is the table of */
    float negative_slope;       /* likewise */
    int16_t *weights;           /* MAP [k][c/groups][r][s]: -127..127; as int16 for run.c */
    int32_t *bias;              /* MAP [k]: in units of scale_x * the channel's weight scale */
    ek_multiplier *multipliers; /* */
    int multiplier_count;
    int32_t factor_x, factor_r; /* ADD: up to 2^21 */
    int shift;                  /* ADD: 1..30 */
    int16_t *table;             /* TABLE [256]; INPUT [tables][256] */
    int tables;                 /* INPUT: 1 for all channels, or one for each */
} ek_q_op;

struct ek_quantized {
    ek_net *net; /* its own copy; the values are not needed once the numbers are there */
    ek_q_tensor *tensors;
    ek_q_op *ops;
    int tensor_count, op_count;
    int output;      /* tensor */
    int64_t samples; /* measured */
};

/* round(x * m), half up. Arithmetic shifts of negative numbers are the compiler's choice in C, so the product, which
 * is within +-2^62, is shifted as an unsigned number 2^62 above. */
static inline int64_t ek_multiply(int32_t x, ek_multiplier m)
{
    const uint64_t lift = UINT64_C(1) << 62, half = (UINT64_C(1) << m.shift) >> 1;
    const uint64_t product = (uint64_t)((int64_t)x * m.factor) + lift + half;
    return (int64_t)(product >> m.shift) - (int64_t)(lift >> m.shift);
}

/* The least there is for `value` >= 0: within 2^-31 of it, for 2^-32 < value < 2^31; larger ones are as 2^31. */
ek_multiplier ek_multiplier_of(double value);

static inline int ek_clamp(int64_t value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

/* graph.c: tensors and operations of q->net without numbers. EK_ERR_UNSUPPORTED names a layer that has none. */
ek_status ek_q_graph(ek_quantized *q);

/* numbers.c: what each operation computes with, when every tensor has its scale and zero. The probe's means of layers
 * say what the rounding of weights adds. EK_ERR_NUMERIC names weights that are not finite. */
ek_status ek_q_numbers(ek_quantized *q, const ek_probe *probe);

/* Whose scale and zero tensor t has. */
static inline int ek_q_root(const ek_quantized *q, int t)
{
    while (q->tensors[t].same_as != t)
        t = q->tensors[t].same_as;
    return t;
}

#endif
