/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/memory.h"

#include "base/status.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_llong allocations;
static atomic_llong fail_at;

int64_t ek_memory_fail_at(int64_t n)
{
    int64_t seen = atomic_exchange(&allocations, 0);
    atomic_store(&fail_at, n);
    return seen;
}

static void *out_of_memory(size_t size)
{
    ek_fail(EK_ERR_MEMORY, "out of memory: %zu bytes could not be had", size);
    return NULL;
}

/* Counts an allocation; true when a test wants this one to fail. */
static bool injected_failure(void)
{
    long long n = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

size_t ek_size_mul(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t ek_size_add(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

void *ek_calloc(size_t count, size_t size)
{
    size_t total = ek_size_mul(count, size);
    void *memory = injected_failure() || total > PTRDIFF_MAX ? NULL : calloc(total ? total : 1, 1);
    return memory ? memory : out_of_memory(total);
}

void *ek_realloc(void *old, size_t count, size_t size)
{
    size_t total = ek_size_mul(count, size);
    void *memory = injected_failure() || total > PTRDIFF_MAX ? NULL : realloc(old, total ? total : 1);
    return memory ? memory : out_of_memory(total);
}

char *ek_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ek_calloc(size, 1);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void ek_free(void *memory)
{
    free(memory);
}

enum { HUGE_PAGE = 2 << 20 };

/* What a block really takes: whole huge pages once it is large enough to profit from them. */
static size_t block_size(size_t size)
{
    size_t unit = size >= HUGE_PAGE ? HUGE_PAGE : 64;
    size_t padded = ek_size_add(size ? size : 1, unit - 1);
    return padded == SIZE_MAX ? SIZE_MAX : padded / unit * unit;
}

size_t ek_memory_of_machine(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? ek_size_mul((size_t)pages, (size_t)page) : PTRDIFF_MAX;
}

void *ek_block_alloc(size_t size)
{
    size_t padded = block_size(size);
    if (injected_failure() || padded > PTRDIFF_MAX || padded > ek_memory_of_machine())
        return out_of_memory(size);
    void *block = aligned_alloc(padded >= HUGE_PAGE ? HUGE_PAGE : 64, padded);
    if (!block)
        return out_of_memory(size);
    if (padded >= HUGE_PAGE)
        madvise(block, padded, MADV_HUGEPAGE); /* a wish: without huge pages only speed is lost */
    memset(block, 0, padded);
    return block;
}

void ek_block_free(void *block)
{
    free(block);
}
