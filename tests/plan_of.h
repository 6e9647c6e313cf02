/* SPDX-License-Identifier: MIT
 * Programs of nets as text, for tests to look at. */
#ifndef EK_TESTS_PLAN_OF_H
#define EK_TESTS_PLAN_OF_H

#include "base/memory.h"
#include "net/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inline int count_steps(const ek_program *program, ek_step_kind kind)
{
    int count = 0;
    for (int i = 0; i < program->count; i++)
        count += program->steps[i].kind == kind;
    return count;
}

/* The program of a net as text, steps and sizes alone. */
static inline ek_program *plan_of(const char *text, ek_mode mode, int64_t samples, ek_net **net)
{
    *net = ek_net_parse(text, NULL);
    if (!*net)
        fail_msg("%s", ek_error());
    ek_program *program = NULL;
    const ek_plan_request request = {.mode = mode, .loss = true, .max_samples = samples, .threads = 2, .dry = true};
    assert_int_equal(ek_plan_new(&program, *net, &request), EK_OK);
    return program;
}

/* A request that can be met fails with EK_ERR_MEMORY and no program at each of its allocations. */
static inline void expect_plan_without_memory(ek_net *net, const ek_plan_request *request)
{
    ek_program *program;
    ek_memory_fail_at(0);
    assert_int_equal(ek_plan_new(&program, net, request), EK_OK);
    ek_program_free(program);
    const int64_t count = ek_memory_fail_at(0);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(ek_plan_new(&program, net, request), EK_ERR_MEMORY);
        assert_null(program);
    }
    ek_memory_fail_at(0);
}

#endif
