/* SPDX-License-Identifier: MIT
 * The threads of the functions on plain arrays. To start some takes longer than a small array, so they are kept,
 * asleep, for the next call that wants as many, until the program or the library ends. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "cpu/plain_norm.h"

#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
/* Under `busy`. A child of fork has the pool's memory but not its threads, so a pool counts in its own process
 * only. */
static ek_pool *pool;
static ek_share *share;
static pid_t owner;

static void drop(void)
{
    if (owner == getpid()) {
        ek_pool_free(pool);
        ek_share_free(share);
    }
    pool = NULL;
    share = NULL;
}

__attribute__((destructor)) static void drop_at_exit(void)
{
    if (pthread_mutex_trylock(&busy) == 0) {
        drop();
        pthread_mutex_unlock(&busy);
    }
}

static ek_status keep(int threads)
{
    if (pool && owner == getpid() && ek_pool_threads(pool) == threads)
        return EK_OK;
    drop();
    owner = getpid();
    share = ek_share_new(threads);
    ek_status status = share ? ek_pool_new(&pool, threads) : EK_ERR_MEMORY;
    if (status)
        drop();
    return status;
}

typedef struct job {
    void (*item)(const void *argument, int64_t i);
    const void *argument;
} job;

static void work(void *argument, ek_pool *workers, int thread)
{
    const job *j = argument;
    int64_t i;
    while ((i = ek_share_next(share, ek_pool_threads(workers), thread)) >= 0)
        j->item(j->argument, i);
}

ek_status ek_plain_share(int threads, int64_t items, void (*item)(const void *argument, int64_t i),
                         const void *argument)
{
    if (threads == 1 || items == 1 || pthread_mutex_trylock(&busy) != 0) {
        for (int64_t i = 0; i < items; i++)
            item(argument, i);
        return EK_OK;
    }
    ek_status status = keep(threads);
    if (status == EK_OK) {
        job j = {item, argument};
        ek_share_start(share, threads, items);
        ek_pool_run(pool, work, &j);
    }
    pthread_mutex_unlock(&busy);
    return status;
}
