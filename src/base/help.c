/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/help.h"

#include "base/memory.h"
#include "base/thread.h"

#include <sched.h>
#include <stdatomic.h>

enum { COUNT_BITS = 10, COUNT_MASK = (1 << COUNT_BITS) - 1, CACHE_LINE = 64 };

/* `open` holds what the work is, how many pieces it has and which is the next: a helper that adds one to it by
 * compare-and-swap has taken a piece of exactly the work it read there, however late it comes. */
struct ek_help {
    _Alignas(CACHE_LINE) atomic_ullong open; /* what << 20 | pieces << 10 | next */
    atomic_int helped;                       /* pieces that others have done */
};

ek_help *ek_help_new(int threads)
{
    return ek_block_alloc((size_t)threads * sizeof(ek_help));
}

void ek_help_free(ek_help *help)
{
    ek_block_free(help);
}

static int pieces_of(unsigned long long open)
{
    return (int)(open >> COUNT_BITS & COUNT_MASK);
}

static int next_of(unsigned long long open)
{
    return (int)(open & COUNT_MASK);
}

void ek_help_open(ek_help *help, int owner, uint64_t what, int pieces, ek_help_function *function, void *argument)
{
    ek_help *own = &help[owner];
    int done = 0;
    atomic_store_explicit(&own->helped, 0, memory_order_relaxed);
    atomic_store_explicit(&own->open, what << 2 * COUNT_BITS | (unsigned)pieces << COUNT_BITS, memory_order_release);
    for (int piece; (piece = next_of(atomic_fetch_add(&own->open, 1))) < pieces; done++)
        function(argument, owner, what, piece, owner);
    /* A helper that has lost its processor in the middle of a piece may need this one. */
    for (int i = 0; done + atomic_load_explicit(&own->helped, memory_order_acquire) < pieces; i++) {
        if (i < EK_SPINS)
            ek_relax();
        else
            sched_yield();
    }
}

bool ek_help_other(ek_help *help, int threads, int thread, ek_help_function *function, void *argument)
{
    for (int i = 1; i < threads; i++) {
        const int owner = (thread + i) % threads;
        unsigned long long open = atomic_load_explicit(&help[owner].open, memory_order_acquire);
        while (next_of(open) < pieces_of(open)) {
            if (!atomic_compare_exchange_weak(&help[owner].open, &open, open + 1))
                continue;
            function(argument, owner, open >> 2 * COUNT_BITS, next_of(open), thread);
            atomic_fetch_add_explicit(&help[owner].helped, 1, memory_order_release);
            return true;
        }
    }
    return false;
}
