/* SPDX-License-Identifier: MIT
 * A plan as text, for people. */
#include "base/memory.h"
#include "net/plan.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 160 };

static char *write_text(const ek_program *program)
{
    const size_t room = ((size_t)program->count + 1) * LINE;
    char *text = ek_calloc(room, 1);
    size_t length = 0;
    for (int i = 0; text && i < program->count; i++) {
        ek_program_describe(program, i, text + length, LINE - 1);
        length += strlen(text + length);
        text[length++] = '\n';
    }
    const double mib = 1024.0 * 1024.0;
    if (text)
        snprintf(text + length, room - length,
                 "%d steps, %.1f MiB of activations and scratch, %.1f MiB of gradients\n", program->count,
                 (double)program->arena_size * sizeof(float) / mib,
                 (double)program->gradient_count * sizeof(float) / mib);
    return text;
}

ek_status ek_net_memory(ek_net *net, ek_mode mode, int batch_size, int micro_batch, int threads, int64_t *bytes)
{
    if (!net || !bytes || batch_size < 1 || micro_batch < 0 || threads < 1 ||
        (mode != EK_TRAINING && mode != EK_PREDICTION))
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_net_memory: needs a net, a mode, a batch size (%d) and threads (%d) of at least 1, and a "
                       "micro-batch (%d) of at least 0",
                       batch_size, threads, micro_batch);
    ek_program *program = NULL;
    const ek_plan_request request = {.mode = mode,
                                     .input = EK_INPUT_BYTES,
                                     .loss = mode == EK_TRAINING,
                                     .max_samples = batch_size,
                                     .micro_batch = micro_batch < batch_size ? micro_batch : 0,
                                     .threads = threads,
                                     .dry = true};
    EK_TRY(ek_plan_new(&program, net, &request));
    const size_t gradients = mode == EK_TRAINING ? net->value_count : 0;
    const size_t all = ek_size_mul(ek_size_add(program->arena_size, gradients), sizeof(float));
    *bytes = all > INT64_MAX ? INT64_MAX : (int64_t)all;
    ek_program_free(program);
    return EK_OK;
}

char *ek_net_plan_text(ek_net *net, ek_mode mode, int batch_size, int micro_batch)
{
    if (!net || batch_size < 1 || micro_batch < 0 || (mode != EK_TRAINING && mode != EK_PREDICTION)) {
        ek_fail(
            EK_ERR_ARGUMENT,
            "ek_net_plan_text: needs a net, a mode, a batch size (%d) of at least 1, and a micro-batch (%d) of at "
            "least 0",
            batch_size, micro_batch);
        return NULL;
    }
    ek_program *program = NULL;
    const ek_plan_request request = {.mode = mode,
                                     .input = EK_INPUT_BYTES,
                                     .loss = mode == EK_TRAINING,
                                     .max_samples = batch_size,
                                     .micro_batch = micro_batch < batch_size ? micro_batch : 0,
                                     .threads = 1,
                                     .dry = true};
    if (ek_plan_new(&program, net, &request))
        return NULL;
    char *text = write_text(program);
    ek_program_free(program);
    return text;
}
