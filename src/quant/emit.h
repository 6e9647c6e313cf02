/* SPDX-License-Identifier: MIT
 * Integer nets as C text, in two parts: the functions that compute (emit_kernels.c), and what a net is made of
 * (emit.c). */
#ifndef EK_QUANT_EMIT_H
#define EK_QUANT_EMIT_H

#include "base/text.h"
#include "quant/quant.h"

/* A file's text; a failure is remembered by it and told at its end. */
typedef struct ek_q_out {
    ek_text *text;
    const char *prefix; /* of every name with file scope */
} ek_q_out;

/* What a function that computes an operation is called: "conv_bytes_padded". Operations with one name share it. */
typedef struct ek_q_kernel {
    char name[48];
    const char *text;
    const char *x, *y; /* types of what it reads and writes */
} ek_q_kernel;

ek_q_kernel ek_q_kernel_of(const ek_quantized *q, const ek_q_op *op);

/* Whether a map takes the zero point of what it reads away tap by tap, since some are outside the image; else its bias
 * holds that of all taps. */
static inline bool ek_q_subtracts(const ek_quantized *q, const ek_q_op *op)
{
    return op->kind == EK_Q_MAP && (op->g.padding_h > 0 || op->g.padding_w > 0) && q->tensors[op->x].zero != 0;
}

/* The functions that the net needs, each once. */
void ek_q_put_kernels(ek_q_out *out, const ek_quantized *q);

#endif
