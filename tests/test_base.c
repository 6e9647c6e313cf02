/* SPDX-License-Identifier: MIT
 * Tests of src/base: status and messages, memory, random numbers, threads. */
#define _GNU_SOURCE
#include "base/crc32c.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- Status ------------------------------------------------------------------------------------------------- */

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(ek_status_name(EK_OK), "EK_OK");
    assert_string_equal(ek_status_name(EK_ERR_SHAPE), "EK_ERR_SHAPE");
    assert_string_equal(ek_status_name(EK_ERR_STOPPED), "EK_ERR_STOPPED");
    assert_string_equal(ek_status_name((ek_status)9999), "EK_?");
    assert_int_equal(EK_OK, 0);
}

static void test_version(void **state)
{
    (void)state;
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", EK_VERSION_MAJOR, EK_VERSION_MINOR, EK_VERSION_PATCH);
    assert_string_equal(ek_version(), text);
}

static void test_message(void **state)
{
    (void)state;
    assert_int_equal(ek_fail(EK_ERR_SHAPE, "conv2d: kernel %d does not fit %d rows", 5, 3), EK_ERR_SHAPE);
    assert_string_equal(ek_error(), "conv2d: kernel 5 does not fit 3 rows");
    assert_int_equal(ek_fail_in(EK_ERR_SHAPE, "net.txt:3"), EK_ERR_SHAPE);
    assert_string_equal(ek_error(), "net.txt:3: conv2d: kernel 5 does not fit 3 rows");
    ek_fail(EK_ERR_IO, "a name\nof two\r\nlines");
    assert_string_equal(ek_error(), "a name of two  lines");
}

static void test_message_is_cut(void **state)
{
    (void)state;
    char longer[3000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    ek_fail(EK_ERR_IO, "%s", longer);
    size_t length = strlen(ek_error());
    assert_int_equal(length, 1023);
    assert_string_equal(ek_error() + length - 4, "x...");
    longer[1023] = 0; /* the longest that fits whole */
    ek_fail(EK_ERR_IO, "%s", longer);
    assert_string_equal(ek_error(), longer);
}

static ek_status fail_on(int *calls, ek_status status)
{
    (*calls)++;
    return status ? ek_fail(status, "as asked") : EK_OK;
}

static ek_status try_twice(int *calls, ek_status first, ek_status second)
{
    EK_TRY(fail_on(calls, first));
    EK_TRY(fail_on(calls, second));
    return EK_OK;
}

static void test_try_passes_failures_on(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(try_twice(&calls, EK_OK, EK_OK), EK_OK);
    assert_int_equal(calls, 2);
    assert_int_equal(try_twice(&calls, EK_ERR_IO, EK_OK), EK_ERR_IO);
    assert_int_equal(calls, 3);
    assert_int_equal(try_twice(&calls, EK_OK, EK_ERR_FORMAT), EK_ERR_FORMAT);
    assert_int_equal(calls, 5);
}

static void *fail_elsewhere(void *seen)
{
    snprintf(seen, 64, "%s", ek_error());
    ek_fail(EK_ERR_IO, "another thread's");
    return NULL;
}

static void test_message_is_per_thread(void **state)
{
    (void)state;
    char seen[64] = "never set";
    pthread_t thread;
    ek_fail(EK_ERR_IO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, seen), 0);
    pthread_join(thread, NULL);
    assert_string_equal(seen, "");
    assert_string_equal(ek_error(), "mine");
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

static void test_sizes_saturate(void **state)
{
    (void)state;
    assert_true(ek_size_mul(6, 7) == 42 && ek_size_add(6, 7) == 13);
    assert_true(ek_size_mul(SIZE_MAX, 0) == 0);
    assert_true(ek_size_mul(SIZE_MAX / 2, 2) == SIZE_MAX - 1);
    assert_true(ek_size_mul(SIZE_MAX / 2 + 1, 2) == SIZE_MAX);
    assert_true(ek_size_add(SIZE_MAX, 1) == SIZE_MAX);
    assert_null(ek_calloc(SIZE_MAX / 2, 3));
    assert_non_null(strstr(ek_error(), "out of memory"));
    assert_null(ek_calloc(SIZE_MAX, 1));
    assert_null(ek_block_alloc(SIZE_MAX));
    assert_null(ek_block_alloc(SIZE_MAX / 2));
}

static void test_memory(void **state)
{
    (void)state;
    unsigned char *bytes = ek_calloc(100, 3);
    assert_non_null(bytes);
    for (int i = 0; i < 300; i++)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 7, 300);
    unsigned char *old = bytes;
    assert_null(ek_realloc(bytes, SIZE_MAX / 2, 3)); /* and the old block stays */
    assert_int_equal(old[299], 7);
    bytes = ek_realloc(old, 100000, 3);
    assert_non_null(bytes);
    for (int i = 0; i < 300; i++)
        assert_int_equal(bytes[i], 7);
    ek_free(bytes);
    ek_free(NULL);

    void *empty = ek_calloc(0, 8);
    assert_non_null(empty);
    ek_free(empty);

    char *copy = ek_strdup("evenkeel");
    assert_string_equal(copy, "evenkeel");
    free(copy); /* as the public face promises for its strings */
}

static void test_blocks(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block = ek_block_alloc(sizes[i]);
        assert_non_null(block);
        assert_true((uintptr_t)block % 64 == 0);
        for (size_t j = 0; j < sizes[i]; j++)
            if (block[j] != 0)
                fail_msg("block of %zu: byte %zu is %d", sizes[i], j, block[j]);
        memset(block, 0xA5, sizes[i]);
        ek_block_free(block);
    }
    ek_block_free(NULL);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ek_memory_fail_at(3);
    void *first = ek_calloc(1, 8), *second = ek_block_alloc(8);
    assert_true(first && second);
    ek_fail(EK_ERR_IO, "older");
    assert_null(ek_strdup("third"));
    assert_non_null(strstr(ek_error(), "out of memory"));
    void *fourth = ek_realloc(NULL, 1, 8);
    assert_non_null(fourth);
    assert_int_equal(ek_memory_fail_at(1), 4);
    assert_null(ek_realloc(fourth, 2, 8));
    assert_int_equal(ek_memory_fail_at(1), 1);
    assert_null(ek_block_alloc(8));
    assert_int_equal(ek_memory_fail_at(0), 1);
    for (int i = 0; i < 10; i++)
        ek_free(ek_calloc(1, 1));
    assert_int_equal(ek_memory_fail_at(0), 10);
    ek_free(first);
    ek_block_free(second);
    ek_free(fourth);
}

/* ---- Random numbers ----------------------------------------------------------------------------------------- */

/* Known answers of philox4x32 with ten rounds, published with Salmon et al.'s Random123. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, /* digits of pi */
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        uint32_t got[4];
        ek_random4((uint64_t)k[1] << 32 | k[0], (ek_random_use)c[3], c[2], (uint64_t)c[1] << 32 | c[0], got);
        assert_memory_equal(got, known[i].want, sizeof got);
    }
}

static void test_random_unit(void **state)
{
    (void)state;
    assert_true(ek_random_unit(0) == 0.0f);
    assert_true(ek_random_unit(0x80000000) == 0.5f);
    assert_true(ek_random_unit(0xffffffff) == 1.0f - 0x1p-24f);
}

static void check_permutation(uint64_t seed, uint32_t epoch, int64_t n)
{
    int32_t *order = malloc(((size_t)n + 1) * sizeof *order);
    char *seen = calloc((size_t)n + 1, 1);
    assert_true(order && seen);
    order[n] = -77;
    ek_random_permutation(seed, epoch, order, n);
    assert_int_equal(order[n], -77);
    for (int64_t i = 0; i < n; i++) {
        assert_true(order[i] >= 0 && order[i] < n && !seen[order[i]]);
        seen[order[i]] = 1;
    }
    free(order);
    free(seen);
}

static void test_permutations(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 10, 127, 128, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t epoch = 0; epoch < 3; epoch++)
            check_permutation(42, epoch, sizes[i]);

    int32_t a[100], b[100];
    ek_random_permutation(1, 1, a, 100);
    ek_random_permutation(1, 1, b, 100);
    assert_memory_equal(a, b, sizeof a);
    ek_random_permutation(1, 2, b, 100);
    assert_memory_not_equal(a, b, sizeof a);
    ek_random_permutation(2, 1, b, 100);
    assert_memory_not_equal(a, b, sizeof a);
    ek_random_permutation((uint64_t)1 << 32 | 1, 1, b, 100); /* the seed's upper half counts */
    assert_memory_not_equal(a, b, sizeof a);
}

/* The same on every machine and in every release: worked out once with whole numbers in Python. */
static void test_permutation_known_answers(void **state)
{
    (void)state;
    static const int32_t even[10] = {4, 0, 7, 2, 9, 8, 3, 5, 6, 1};
    static const int32_t odd[7] = {2, 4, 5, 0, 6, 1, 3};
    int32_t order[10];
    ek_random_permutation(0, 1, order, 10);
    assert_memory_equal(order, even, sizeof even);
    ek_random_permutation(0x123456789abcdef, 10, order, 7);
    assert_memory_equal(order, odd, sizeof odd);
}

/* All 120 orders of five things turn up alike: chi-square with 119 degrees of freedom lies within 60..200 but for
 * one key in 10^5, and the keys are fixed. */
static void test_permutations_are_uniform(void **state)
{
    (void)state;
    enum { TRIALS = 24000 };
    int counts[3125] = {0};
    for (uint32_t epoch = 0; epoch < TRIALS; epoch++) {
        int32_t o[5];
        ek_random_permutation(7, epoch, o, 5);
        counts[(((o[0] * 5 + o[1]) * 5 + o[2]) * 5 + o[3]) * 5 + o[4]]++;
    }
    int kinds = 0;
    double chi2 = 0;
    for (int i = 0; i < 3125; i++) {
        double off = counts[i] - TRIALS / 120.0;
        kinds += counts[i] > 0;
        chi2 += counts[i] ? off * off / (TRIALS / 120.0) : 0;
    }
    assert_int_equal(kinds, 120);
    assert_true(chi2 > 60 && chi2 < 200);
}

/* ---- Threads ------------------------------------------------------------------------------------------------ */

static const int pool_sizes[] = {1, 2, 3, 16};

enum { MAX_THREADS = 16, PHASES = 50, MAX_ITEMS = 1000 };

typedef struct pool_job {
    int calls[MAX_THREADS]; /* written by thread i alone */
    int phase[MAX_THREADS]; /* likewise: barriers passed */
    int serial_calls;       /* written by whoever runs the serial part */
    bool in_step;           /* every thread was seen at the same phase, each time */
    ek_share *share;
    int64_t count;
    atomic_int taken[MAX_ITEMS];
    atomic_int strays; /* items outside 0..count-1 */
} pool_job;

static void count_call(void *argument, ek_pool *pool, int thread)
{
    (void)pool;
    ((pool_job *)argument)->calls[thread]++;
}

static void test_pool_runs_every_thread(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool_sizes / sizeof *pool_sizes; i++) {
        ek_pool *pool;
        assert_int_equal(ek_pool_new(&pool, pool_sizes[i]), EK_OK);
        assert_int_equal(ek_pool_threads(pool), pool_sizes[i]);
        pool_job job = {0};
        for (int run = 0; run < 200; run++) {
            if (run == 100)
                usleep(2000); /* long enough for the workers to have gone to sleep */
            ek_pool_run(pool, count_call, &job);
            for (int t = 0; t < MAX_THREADS; t++)
                assert_int_equal(job.calls[t], t < pool_sizes[i] ? run + 1 : 0);
        }
        ek_pool_free(pool);
    }
    ek_pool_free(NULL);
}

static void test_pool_that_never_ran(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        ek_pool *pool;
        assert_int_equal(ek_pool_new(&pool, 3), EK_OK);
        ek_pool_free(pool);
    }
}

static void serial_part(void *argument)
{
    pool_job *job = argument;
    for (int t = 1; t < MAX_THREADS; t++)
        if (job->phase[t] != -1 && job->phase[t] != job->phase[0])
            job->in_step = false;
    job->serial_calls++;
}

static void pass_barriers(void *argument, ek_pool *pool, int thread)
{
    pool_job *job = argument;
    for (int i = 0; i < PHASES; i++) {
        job->phase[thread] = i;
        ek_pool_barrier(pool, serial_part, job);
        if (job->serial_calls != 2 * i + 1)
            job->in_step = false;
        ek_pool_barrier(pool, NULL, NULL);
        if (thread == 0)
            job->serial_calls++;
        ek_pool_barrier(pool, NULL, NULL);
    }
}

static void test_barrier(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pool_sizes / sizeof *pool_sizes; i++) {
        ek_pool *pool;
        assert_int_equal(ek_pool_new(&pool, pool_sizes[i]), EK_OK);
        pool_job job = {.in_step = true};
        for (int t = pool_sizes[i]; t < MAX_THREADS; t++)
            job.phase[t] = -1;
        ek_pool_run(pool, pass_barriers, &job);
        assert_true(job.in_step);
        assert_int_equal(job.serial_calls, 2 * PHASES);
        ek_pool_free(pool);
    }
}

static void start_share(void *argument)
{
    pool_job *job = argument;
    ek_share_start(job->share, job->calls[0], job->count);
}

static void draw(void *argument, ek_pool *pool, int thread)
{
    pool_job *job = argument;
    for (int round = 0; round < 3; round++) {
        ek_pool_barrier(pool, start_share, job);
        for (int64_t item; (item = ek_share_next(job->share, ek_pool_threads(pool), thread)) != -1;)
            if (item < 0 || item >= job->count)
                atomic_fetch_add(&job->strays, 1);
            else
                atomic_fetch_add(&job->taken[item], 1);
    }
}

static void test_share_gives_each_item_once(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 5, 16, 17, MAX_ITEMS};
    for (size_t i = 0; i < sizeof pool_sizes / sizeof *pool_sizes; i++) {
        ek_pool *pool;
        int threads = pool_sizes[i];
        assert_int_equal(ek_pool_new(&pool, threads), EK_OK);
        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            pool_job job = {.calls = {threads}, .count = counts[j], .share = ek_share_new(threads)};
            assert_non_null(job.share);
            ek_pool_run(pool, draw, &job);
            assert_int_equal(job.strays, 0);
            for (int64_t item = 0; item < MAX_ITEMS; item++)
                assert_int_equal(job.taken[item], item < counts[j] ? 3 : 0);
            ek_share_free(job.share);
        }
        ek_pool_free(pool);
    }
    ek_share_free(NULL);
}

/* A thread takes its own contiguous run first, then what others have left; from its end in every other phase. */
static void test_share_order(void **state)
{
    (void)state;
    ek_share *share = ek_share_new(3);
    assert_non_null(share);
    static const int64_t want[2][9] = {{3, 2, 6, 5, 4, 1, 0, -1, -1}, {2, 3, 4, 5, 6, 0, 1, -1, -1}};
    for (int phase = 0; phase < 4; phase++) {
        ek_share_start(share, 3, 7); /* runs 0-1, 2-3, 4-6 */
        for (int i = 0; i < 9; i++)
            assert_int_equal(ek_share_next(share, 3, 1), want[phase % 2][i]);
    }
    ek_share_free(share);
}

static void test_pool_refuses(void **state)
{
    (void)state;
    static const int bad[] = {0, -1, 1025, 1 << 30};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ek_pool *pool = (ek_pool *)1;
        assert_int_equal(ek_pool_new(&pool, bad[i]), EK_ERR_ARGUMENT);
        assert_null(pool);
    }
    ek_memory_fail_at(0);
    ek_pool *pool;
    assert_int_equal(ek_pool_new(&pool, 4), EK_OK);
    ek_pool_free(pool);
    int64_t allocations = ek_memory_fail_at(0);
    assert_true(allocations >= 2);
    for (int64_t n = 1; n <= allocations; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(ek_pool_new(&pool, 4), EK_ERR_MEMORY);
        assert_null(pool);
    }
    ek_memory_fail_at(0);
}

static void test_processors(void **state)
{
    (void)state;
    int all = ek_processors();
    assert_in_range(all, 1, 1024);
    assert_int_equal(ek_cpu_count(), all);

    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(ek_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(ek_processors(), all);
}

/* ---- Checksums -------------------------------------------------------------------------------------------------- */

/* RFC 3720, appendix B.4, and the check value of the catalogue of CRCs. */
static void test_crc32c(void **state)
{
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(ek_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(ek_crc32c(0, "", 0), 0);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(ek_crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(ek_crc32c(0, bytes, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(ek_crc32c(0, bytes, 32), 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(ek_crc32c(ek_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46dd794eu);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    assert_int_equal(ek_crc32c(0, bytes, 32), 0x113fdb5cu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_message_is_cut),
        cmocka_unit_test(test_try_passes_failures_on),
        cmocka_unit_test(test_message_is_per_thread),
        cmocka_unit_test(test_sizes_saturate),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_random_unit),
        cmocka_unit_test(test_permutations),
        cmocka_unit_test(test_permutation_known_answers),
        cmocka_unit_test(test_permutations_are_uniform),
        cmocka_unit_test(test_pool_runs_every_thread),
        cmocka_unit_test(test_pool_that_never_ran),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_share_gives_each_item_once),
        cmocka_unit_test(test_share_order),
        cmocka_unit_test(test_pool_refuses),
        cmocka_unit_test(test_processors),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
