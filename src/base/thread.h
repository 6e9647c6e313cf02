/* SPDX-License-Identifier: MIT
 * A pool of threads that run the same function together, and a barrier between its parts.
 *
 * Work is cut by the batch and the layer, never by the number of threads: an item's result is the same whichever
 * thread takes it, so results do not depend on the pool. */
#ifndef EK_BASE_THREAD_H
#define EK_BASE_THREAD_H

#include "base/status.h"

typedef struct ek_pool ek_pool;

enum { EK_THREADS_MAX = 1024 };

/* A pool of `threads` (1..EK_THREADS_MAX), the caller of ek_pool_run among them; the others sleep until there is
 * work. */
ek_status ek_pool_new(ek_pool **pool, int threads);
void ek_pool_free(ek_pool *pool);
int ek_pool_threads(const ek_pool *pool);

/* Runs function(argument, pool, thread) on every thread at once, thread 0..threads-1 (0 is the caller), and returns
 * when all have. One call at a time per pool. */
typedef void ek_pool_function(void *argument, ek_pool *pool, int thread);
void ek_pool_run(ek_pool *pool, ek_pool_function *function, void *argument);

/* Inside ek_pool_run, called by every thread: the last to arrive calls serial(argument), if any, alone; then all go
 * on. Waiting spins for microseconds, then sleeps, so that a busy neighbour keeps its processor. */
void ek_pool_barrier(ek_pool *pool, void (*serial)(void *argument), void *argument);

/* Shares items 0..count-1 among the threads: each takes its own contiguous run first, from its end and from its
 * beginning in turn (so that a phase begins with what the last one left in the cache), then helps others. Inside
 * ek_pool_run: one thread calls ek_share_start between barriers (or before ek_pool_run), then all draw until
 * ek_share_next gives -1. */
typedef struct ek_share ek_share; /* one per thread, in its own cache line */
ek_share *ek_share_new(int threads);
void ek_share_free(ek_share *share);
void ek_share_start(ek_share *share, int threads, int64_t count);
int64_t ek_share_next(ek_share *share, int threads, int thread);

/* How often a waiting thread looks before it sleeps or gives up. About 20 microseconds: longer than threads of one
 * phase arrive apart on quiet processors, far shorter than the scheduler's time slice. */
enum { EK_SPINS = 1000 };

/* One turn of waiting in a loop: lets the other hardware thread of this processor go first. */
static inline void ek_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Processors this process may use: the smaller of its affinity mask and its cgroup's quota (rounded up). >= 1. */
int ek_processors(void);

#endif
