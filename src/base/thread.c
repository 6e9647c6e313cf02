/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/thread.h"

#include "base/memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CACHE_LINE = 64 };

/* A number that only grows, and that threads can wait on. */
typedef struct ticket {
    _Alignas(CACHE_LINE) atomic_uint value;
    atomic_uint sleepers;
} ticket;

/* Waits until the ticket is no longer `old`. */
static void ticket_wait(ticket *t, unsigned old)
{
    for (int i = 0; i < EK_SPINS; i++) {
        if (atomic_load_explicit(&t->value, memory_order_acquire) != old)
            return;
        ek_relax();
    }
    atomic_fetch_add(&t->sleepers, 1);
    while (atomic_load(&t->value) == old)
        syscall(SYS_futex, &t->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&t->sleepers, 1);
}

static void ticket_advance(ticket *t)
{
    atomic_fetch_add(&t->value, 1);
    if (atomic_load(&t->sleepers))
        syscall(SYS_futex, &t->value, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

struct ek_pool {
    ticket start;   /* advances when there is work */
    ticket release; /* advances when a barrier opens */
    _Alignas(CACHE_LINE) atomic_int arrived;
    int threads;
    int started; /* workers that exist: threads - 1 once the pool is complete */
    bool stop;
    ek_pool_function *function;
    void *argument;
    pthread_t *workers;
};

typedef struct worker {
    ek_pool *pool;
    int thread;
} worker;

void ek_pool_barrier(ek_pool *pool, void (*serial)(void *argument), void *argument)
{
    unsigned turn = atomic_load_explicit(&pool->release.value, memory_order_acquire);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == pool->threads) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        if (serial)
            serial(argument);
        ticket_advance(&pool->release);
    } else {
        ticket_wait(&pool->release, turn);
    }
}

static void *work(void *argument)
{
    worker self = *(worker *)argument;
    ek_free(argument);
    unsigned turn = 0;
    for (;;) {
        ticket_wait(&self.pool->start, turn++);
        if (self.pool->stop)
            return NULL;
        self.pool->function(self.pool->argument, self.pool, self.thread);
        ek_pool_barrier(self.pool, NULL, NULL);
    }
}

static ek_status start_worker(ek_pool *pool, int thread)
{
    worker *self = ek_calloc(1, sizeof *self);
    if (!self)
        return EK_ERR_MEMORY;
    *self = (worker){pool, thread};
    int error = pthread_create(&pool->workers[thread], NULL, work, self);
    if (error) {
        ek_free(self);
        return ek_fail(EK_ERR_THREAD, "thread %d of %d could not be started: %s; ask for fewer threads", thread + 1,
                       pool->threads, strerror(error));
    }
    pool->started++;
    return EK_OK;
}

ek_status ek_pool_new(ek_pool **out, int threads)
{
    *out = NULL;
    if (threads < 1 || threads > EK_THREADS_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "threads: %d is not within 1 to %d", threads, EK_THREADS_MAX);
    ek_pool *pool = ek_block_alloc(sizeof *pool);
    if (!pool)
        return EK_ERR_MEMORY;
    pool->threads = threads;
    pool->workers = ek_calloc((size_t)threads, sizeof *pool->workers);
    ek_status status = pool->workers ? EK_OK : EK_ERR_MEMORY;
    for (int i = 1; i < threads && !status; i++)
        status = start_worker(pool, i);
    if (status) {
        ek_pool_free(pool);
        return status;
    }
    *out = pool;
    return EK_OK;
}

void ek_pool_free(ek_pool *pool)
{
    if (!pool)
        return;
    pool->stop = true;
    ticket_advance(&pool->start);
    for (int i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i], NULL);
    ek_free(pool->workers);
    ek_block_free(pool);
}

int ek_pool_threads(const ek_pool *pool)
{
    return pool->threads;
}

void ek_pool_run(ek_pool *pool, ek_pool_function *function, void *argument)
{
    pool->function = function;
    pool->argument = argument;
    ticket_advance(&pool->start);
    function(argument, pool, 0);
    ek_pool_barrier(pool, NULL, NULL);
}

struct ek_share {
    _Alignas(CACHE_LINE) atomic_llong next;
    int64_t begin, end;
    bool backwards;
};

ek_share *ek_share_new(int threads)
{
    return ek_block_alloc((size_t)threads * sizeof(ek_share));
}

void ek_share_free(ek_share *share)
{
    ek_block_free(share);
}

void ek_share_start(ek_share *share, int threads, int64_t count)
{
    for (int t = 0; t < threads; t++) {
        share[t].begin = count * t / threads;
        share[t].end = count * (t + 1) / threads;
        share[t].backwards = !share[t].backwards;
        atomic_store_explicit(&share[t].next, share[t].begin, memory_order_relaxed);
    }
}

int64_t ek_share_next(ek_share *share, int threads, int thread)
{
    for (int i = 0; i < threads; i++) {
        ek_share *owner = &share[(thread + i) % threads];
        if (atomic_load_explicit(&owner->next, memory_order_relaxed) >= owner->end)
            continue;
        int64_t item = atomic_fetch_add_explicit(&owner->next, 1, memory_order_relaxed);
        if (item < owner->end)
            return owner->backwards ? owner->begin + owner->end - 1 - item : item;
    }
    return -1;
}

/* A cgroup's quota in processors, rounded up; 0 when there is none. Version 2 says "max 100000" or "150000 100000"
 * in one file; version 1 has a file for each number. */
static int cgroup_quota(void)
{
    long long quota = -1, period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file) {
        if (fscanf(file, "%lld %lld", &quota, &period) != 2)
            quota = -1;
        fclose(file);
    } else if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) {
        if (fscanf(file, "%lld", &quota) != 1)
            quota = -1;
        fclose(file);
        file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (file) {
            if (fscanf(file, "%lld", &period) != 1)
                period = 0;
            fclose(file);
        }
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int ek_processors(void)
{
    int count = 0;
    /* The kernel refuses a mask smaller than its own, so grow until it fits. */
    for (int bits = 1024; bits <= 1 << 18 && !count; bits *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)bits);
        if (!set)
            break;
        if (sched_getaffinity(0, CPU_ALLOC_SIZE((size_t)bits), set) == 0)
            count = CPU_COUNT_S(CPU_ALLOC_SIZE((size_t)bits), set);
        CPU_FREE(set);
    }
    if (count < 1)
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = cgroup_quota();
    if (quota && quota < count)
        count = quota;
    return count < 1 ? 1 : count > EK_THREADS_MAX ? EK_THREADS_MAX : count;
}

int ek_cpu_count(void)
{
    return ek_processors();
}
