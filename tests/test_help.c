/* SPDX-License-Identifier: MIT
 * Work that others join: every piece once, nothing returned before all are done, whoever comes late finds nothing. */
#include "base/help.h"
#include "base/memory.h"
#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ROUNDS = 300, WORKS = 4, PIECES = 37, THREADS = 4 };

typedef struct job {
    ek_help *help;
    atomic_int owners_left;
    int values[THREADS][PIECES]; /* of the work at hand: written by whoever runs the piece, read by the owner */
    atomic_int by_others;
    atomic_int strays; /* calls that do not fit the work at hand */
    atomic_ullong current[THREADS];
} job;

static void run_piece(void *argument, int owner, uint64_t what, int piece, int thread)
{
    job *j = argument;
    if (what != atomic_load(&j->current[owner]) || piece < 0 || piece >= PIECES)
        atomic_fetch_add(&j->strays, 1);
    j->values[owner][piece]++;
    if (thread != owner)
        atomic_fetch_add(&j->by_others, 1);
}

/* Even threads own work, odd ones help until there is no owner. */
static void own_or_help(void *argument, ek_pool *pool, int thread)
{
    job *j = argument;
    const int threads = ek_pool_threads(pool);
    if (thread % 2) {
        while (atomic_load(&j->owners_left) > 0)
            if (!ek_help_other(j->help, threads, thread, run_piece, j))
                ek_relax();
        return;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned work = 0; work < WORKS; work++) {
            const uint64_t what = EK_HELP_WHAT_MAX - (unsigned)thread * 1000 - work;
            atomic_store(&j->current[thread], what);
            for (int i = 0; i < PIECES; i++)
                j->values[thread][i] = 0;
            ek_help_open(j->help, thread, what, PIECES, run_piece, j);
            for (int i = 0; i < PIECES; i++)
                if (j->values[thread][i] != 1)
                    atomic_fetch_add(&j->strays, 1);
        }
    }
    atomic_fetch_sub(&j->owners_left, 1);
}

static void test_every_piece_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= THREADS; threads++) {
        ek_pool *pool;
        assert_int_equal(ek_pool_new(&pool, threads), EK_OK);
        job j = {.help = ek_help_new(threads), .owners_left = (threads + 1) / 2};
        assert_non_null(j.help);
        ek_pool_run(pool, own_or_help, &j);
        assert_int_equal(j.strays, 0);
        if (threads == 1)
            assert_int_equal(j.by_others, 0);
        for (int thread = 0; thread < threads; thread++) /* nothing is left open */
            assert_false(ek_help_other(j.help, threads, thread, run_piece, &j));
        ek_help_free(j.help);
        ek_pool_free(pool);
    }
    ek_help_free(NULL);
}

/* A helper that comes in the middle takes exactly the next piece: from inside the owner's own first piece. */
typedef struct nested {
    ek_help *help;
    int order[PIECES], count;
    bool helped;
} nested;

static void help_from_within(void *argument, int owner, uint64_t what, int piece, int thread)
{
    nested *n = argument;
    assert_int_equal(owner, 0);
    assert_int_equal(what, 42);
    n->order[n->count++] = piece * 10 + thread;
    if (piece == 0)
        n->helped = ek_help_other(n->help, 2, 1, help_from_within, n);
}

static void test_takes_the_next_piece(void **state)
{
    (void)state;
    nested n = {.help = ek_help_new(2)};
    assert_non_null(n.help);
    assert_false(ek_help_other(n.help, 2, 1, help_from_within, &n));
    ek_help_open(n.help, 0, 42, 3, help_from_within, &n);
    assert_true(n.helped);
    static const int want[] = {0, 11, 20};
    assert_int_equal(n.count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(n.order[i], want[i]);
    ek_help_free(n.help);
}

static void test_failing_allocation(void **state)
{
    (void)state;
    ek_memory_fail_at(1);
    assert_null(ek_help_new(4));
    ek_memory_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece_once),
        cmocka_unit_test(test_takes_the_next_piece),
        cmocka_unit_test(test_failing_allocation),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
