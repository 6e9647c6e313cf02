/* SPDX-License-Identifier: MIT
 * Tensors that lie in one piece, with their parts and what is written in their place, and where the pieces go. */
#include "quant/memory.h"

#include "base/memory.h"
#include "base/place.h"

#include <stdlib.h>

/* The tensor in whose piece t lies; *at: where in it. */
static int piece_of(const ek_quantized *q, const int *in_place, int t, int64_t *at)
{
    *at = 0;
    for (;;) {
        if (q->tensors[t].part_of >= 0) {
            *at += q->tensors[t].part_at;
            t = q->tensors[t].part_of;
        } else if (in_place[t] >= 0) {
            t = in_place[t];
        } else {
            return t;
        }
    }
}

/* An operation that reads a value before it writes the same place, and nothing else later, writes where it reads. */
static bool writes_in_place(const ek_quantized *q, const ek_q_op *op)
{
    const ek_q_tensor *x = &q->tensors[op->x], *y = &q->tensors[op->y];
    return (op->kind == EK_Q_TABLE || op->kind == EK_Q_ADD) && op->x != op->r && x->readers == 1 && x->writer >= 0 &&
           x->type == y->type && x->part_of < 0 && y->part_of < 0;
}

static void live(const ek_quantized *q, const int *in_place, ek_piece *pieces, int t, int op)
{
    int64_t at;
    ek_piece *p = &pieces[piece_of(q, in_place, t, &at)];
    p->first = op < p->first ? op : p->first;
    p->last = op > p->last ? op : p->last;
}

ek_status ek_q_plan_memory(const ek_quantized *q, int64_t *places, int64_t *size)
{
    ek_piece *pieces = ek_calloc((size_t)q->tensor_count, sizeof *pieces);
    int *in_place = ek_calloc((size_t)q->tensor_count, sizeof *in_place);
    if (!pieces || !in_place) {
        ek_free(pieces);
        ek_free(in_place);
        return EK_ERR_MEMORY;
    }
    for (int t = 0; t < q->tensor_count; t++) {
        pieces[t] = (ek_piece){.first = q->op_count, .last = -1};
        in_place[t] = -1;
    }
    for (int i = 0; i < q->op_count; i++)
        if (writes_in_place(q, &q->ops[i])) /* at once where the first of a chain lies */
            in_place[q->ops[i].y] = in_place[q->ops[i].x] >= 0 ? in_place[q->ops[i].x] : q->ops[i].x;
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_op *op = &q->ops[i];
        live(q, in_place, pieces, op->x, i);
        live(q, in_place, pieces, op->y, i);
        if (op->r >= 0)
            live(q, in_place, pieces, op->r, i);
    }
    int64_t at;
    for (int t = 0; t < q->tensor_count; t++)
        if (q->tensors[t].type == EK_Q_INT8 && piece_of(q, in_place, t, &at) == t && pieces[t].last >= 0)
            pieces[t].size = q->tensors[t].count;
    *size = ek_place_pieces(pieces, q->tensor_count, 1);
    for (int t = 0; t < q->tensor_count; t++) {
        const int of = piece_of(q, in_place, t, &at);
        places[t] = q->tensors[t].type == EK_Q_INT8 && pieces[of].at >= 0 ? pieces[of].at + at : -1;
    }
    ek_free(pieces);
    ek_free(in_place);
    return EK_OK;
}
