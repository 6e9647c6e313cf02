/* SPDX-License-Identifier: MIT
 * Tensors are placed from the largest to the smallest, each at the lowest place where it meets none that lives at the
 * same time: "greedy by size" of Pisarchyk and Lee 2020 (arXiv:2001.03288), section 5.2, whose plans are within some
 * percent of the least there can be. */
#include "quant/memory.h"

#include "base/memory.h"

#include <stdlib.h>

/* What lies in one piece: a tensor with its parts, and what is written in its place. */
typedef struct piece {
    int64_t size, at; /* at -1: not placed yet */
    int first, last;  /* operations */
} piece;

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

static void live(const ek_quantized *q, const int *in_place, piece *pieces, int t, int op)
{
    int64_t at;
    piece *p = &pieces[piece_of(q, in_place, t, &at)];
    p->first = op < p->first ? op : p->first;
    p->last = op > p->last ? op : p->last;
}

/* The lowest place for piece p beside those that have one. */
static int64_t find_place(const piece *pieces, int count, const piece *p)
{
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < count; i++) {
            const piece *o = &pieces[i];
            if (o->at < 0 || o->last < p->first || o->first > p->last || o->at + o->size <= at ||
                o->at >= at + p->size)
                continue;
            at = o->at + o->size;
            moved = true;
        }
    }
    return at;
}

static void place(piece *pieces, int count, int64_t *size)
{
    *size = 0;
    for (;;) {
        piece *p = NULL;
        for (int i = 0; i < count; i++)
            if (pieces[i].at < 0 && pieces[i].size > 0 && (!p || pieces[i].size > p->size))
                p = &pieces[i];
        if (!p)
            return;
        p->at = find_place(pieces, count, p);
        *size = p->at + p->size > *size ? p->at + p->size : *size;
    }
}

ek_status ek_q_plan_memory(const ek_quantized *q, int64_t *places, int64_t *size)
{
    piece *pieces = ek_calloc((size_t)q->tensor_count, sizeof *pieces);
    int *in_place = ek_calloc((size_t)q->tensor_count, sizeof *in_place);
    if (!pieces || !in_place) {
        ek_free(pieces);
        ek_free(in_place);
        return EK_ERR_MEMORY;
    }
    for (int t = 0; t < q->tensor_count; t++) {
        pieces[t] = (piece){.at = -1, .first = q->op_count, .last = -1};
        in_place[t] = -1;
    }
    for (int i = 0; i < q->op_count; i++)
        if (writes_in_place(q, &q->ops[i]))
            in_place[q->ops[i].y] = q->ops[i].x;
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
    place(pieces, q->tensor_count, size);
    for (int t = 0; t < q->tensor_count; t++) {
        const int of = piece_of(q, in_place, t, &at);
        places[t] = q->tensors[t].type == EK_Q_INT8 && pieces[of].at >= 0 ? pieces[of].at + at : -1;
    }
    ek_free(pieces);
    ek_free(in_place);
    return EK_OK;
}
