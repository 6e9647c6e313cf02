/* SPDX-License-Identifier: MIT
 * The CPU's backend, inside: what run.c (phases, threads, steps of items and single ones) shares with run_block.c (the
 * steps of a block). */
#ifndef EK_CPU_RUN_H
#define EK_CPU_RUN_H

#include "base/help.h"
#include "base/thread.h"
#include "cpu/dispatch.h"
#include "op/backend.h"

#include <stdatomic.h>

/* Neighbouring steps of one scope. */
typedef struct ek_phase {
    int begin, end; /* steps */
    ek_scope scope;
} ek_phase;

/* Where something was not finite; the first in the program's order of steps and then of channels wins, so that the
 * message does not depend on threads. */
typedef struct ek_fault {
    int step, channel;
} ek_fault;

struct ek_backend {
    ek_pool *pool;
    ek_share *share;
    ek_help *help;
    int threads;
    const ek_kernels *kernels;
    /* The run at hand. */
    ek_program *program;
    const ek_batch *batch;
    ek_phase *phases;
    int phase_count, phase_capacity;
    int phase;                    /* the one at hand */
    atomic_llong unfinished;      /* items of it */
    ek_fault fault;               /* step -1: none */
    float scale;                  /* of the gradients, by clipping */
    atomic_ullong gradient_fault; /* least ek_gradient_key of those that were not finite, EK_NO_GRADIENT: none */
};

/* Which of several gradients of weights that are not finite is told: that of the latest layer, as backward goes.
 * Where in the program they are added up says nothing: those of late layers may wait for a long time. */
static inline unsigned long long ek_gradient_key(const ek_step *s, int step)
{
    return (unsigned long long)(INT32_MAX - (int64_t)s->layer) << 32 | (unsigned)step;
}

#define EK_NO_GRADIENT (~0ULL)

static inline int64_t ek_block_count(const ek_batch *batch)
{
    return batch ? (batch->samples + EK_LANES - 1) / EK_LANES : 0;
}

/* Samples of a block: EK_LANES but for the last. */
static inline int ek_live_samples(const ek_batch *batch, int64_t block)
{
    const int64_t rest = batch->samples - block * EK_LANES;
    return rest < EK_LANES ? (int)rest : EK_LANES;
}

/* A step's samples, and whether the batch is its last or only part. */
static inline int64_t ek_step_samples(const ek_batch *batch)
{
    return batch->total ? batch->total : batch->samples;
}

static inline bool ek_is_last(const ek_batch *batch)
{
    return batch->before + batch->samples == ek_step_samples(batch);
}

/* A block that is at hand, and the slot it has: that of the thread that has taken it. */
typedef struct ek_spot {
    int64_t block;
    int slot;
} ek_spot;

/* Where a buffer of a block is. */
static inline float *ek_at(const ek_backend *b, ek_buffer buffer, ek_spot on)
{
    const ek_program *p = b->program;
    const ek_place *place = &p->places[buffer.room];
    const size_t region = place->local ? p->local_at + (size_t)on.slot * p->local_stride
                                       : p->region_at + (size_t)on.block * p->region_stride;
    return p->arena + region + place->offset + buffer.shift;
}

/* NULL where there is none. */
static inline float *ek_at_if(const ek_backend *b, ek_buffer buffer, ek_spot on)
{
    return buffer.size > 0 ? ek_at(b, buffer, on) : NULL;
}

/* Steps EK_PER_BLOCK are cut into pieces, which any thread may run: how many a step has, and one of them, for the block
 * that thread `owner` has taken, on thread `thread`. */
int ek_step_pieces(const ek_step *step);
void ek_run_piece(ek_backend *backend, const ek_step *step, int64_t block, int piece, int owner, int thread);

/* One item of a step EK_PER_ITEM. */
void ek_run_item(ek_backend *backend, const ek_step *step, int item);

#endif
