/* SPDX-License-Identifier: MIT
 * Programs of nets as text, for tests to look at. */
#ifndef EK_TESTS_PLAN_OF_H
#define EK_TESTS_PLAN_OF_H

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

#endif
