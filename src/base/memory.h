/* SPDX-License-Identifier: MIT
 * All memory of the library comes from here, so that tests can make any allocation fail. */
#ifndef EK_BASE_MEMORY_H
#define EK_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* count*size bytes, zeroed, at least pointer-aligned; NULL with the message set (EK_ERR_MEMORY's) when there is no
 * memory or the product overflows. ek_free frees it; so does free(), for strings the public face hands out. */
void *ek_calloc(size_t count, size_t size);

/* Like realloc for memory of ek_calloc; what grows is not zeroed. The old block stays on failure. */
void *ek_realloc(void *old, size_t count, size_t size);

/* A copy of a string, NULL as above. */
char *ek_strdup(const char *text);

/* NULL is fine. */
void ek_free(void *memory);

/* One large block: zeroed, 64-byte aligned, on huge pages where the system grants them, its pages touched (an arena
 * is faulted in once, not during training). NULL as above, and for more than the machine's memory: touching that would
 * not fail, but have the system kill us. Size 0 gives a valid block. ek_block_free accepts NULL. */
void *ek_block_alloc(size_t size);
void ek_block_free(void *block);

/* a*b and a+b, SIZE_MAX when they overflow: no allocation of that size succeeds. */
size_t ek_size_mul(size_t a, size_t b);
size_t ek_size_add(size_t a, size_t b);

/* The machine's memory in bytes, PTRDIFF_MAX where that cannot be told. */
size_t ek_memory_of_machine(void);

/* Tests: the n-th allocation from now (1 is the next) fails, once; 0 switches it off. Returns how many allocations
 * happened since the last call. */
int64_t ek_memory_fail_at(int64_t n);

#endif
