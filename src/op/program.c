/* SPDX-License-Identifier: MIT */
#include "op/program.h"

#include "base/memory.h"

#include <stdio.h>

void ek_program_free(ek_program *program)
{
    if (!program)
        return;
    for (int i = 0; i < program->norm_count; i++)
        ek_batchnorm_free(&program->norms[i]);
    ek_free(program->norms);
    for (int i = 0; i < program->point_count; i++)
        ek_probe_point_free(&program->points[i]);
    ek_free(program->points);
    ek_free(program->paths);
    ek_free(program->places);
    ek_block_free(program->arena);
    ek_block_free(program->gradients);
    ek_block_free(program->sums);
    ek_block_free(program->states);
    ek_free(program->spans);
    ek_free(program->squares);
    ek_free(program->steps);
    ek_free(program);
}

static const char *const names[] = {
    [EK_STEP_PACK_FORWARD] = "pack_forward",
    [EK_STEP_PACK_BACKWARD] = "pack_backward",
    [EK_STEP_GATHER] = "gather",
    [EK_STEP_LOAD] = "load",
    [EK_STEP_MAP] = "map",
    [EK_STEP_STATS] = "stats",
    [EK_STEP_NORM_FORWARD] = "norm_forward",
    [EK_STEP_UNIT] = "unit",
    [EK_STEP_POOL] = "pool",
    [EK_STEP_LAYERNORM] = "layernorm",
    [EK_STEP_JOIN] = "join",
    [EK_STEP_DROPOUT] = "dropout",
    [EK_STEP_DROPOUT_BACKWARD] = "dropout_backward",
    [EK_STEP_COPY] = "copy",
    [EK_STEP_ROWS] = "rows",
    [EK_STEP_LOSS] = "loss",
    [EK_STEP_STORE] = "store",
    [EK_STEP_PROBE] = "probe",
    [EK_STEP_MAP_BACKWARD] = "map_backward",
    [EK_STEP_WEIGHT_PARTS] = "weight_parts",
    [EK_STEP_SUM_PARTS] = "sum_parts",
    [EK_STEP_LINEAR_WEIGHT] = "linear_weight",
    [EK_STEP_UNIT_SUMS] = "unit_sums",
    [EK_STEP_NORM_BACKWARD] = "norm_backward",
    [EK_STEP_UNIT_BACKWARD] = "unit_backward",
    [EK_STEP_POOL_BACKWARD] = "pool_backward",
    [EK_STEP_LAYERNORM_BACKWARD] = "layernorm_backward",
    [EK_STEP_ACCUMULATE] = "accumulate",
    [EK_STEP_CHECK] = "check",
    [EK_STEP_SQUARES] = "squares",
    [EK_STEP_JOIN_SUMS] = "join_sums",
    [EK_STEP_SHORTCUT_BACKWARD] = "shortcut_backward",
    [EK_STEP_ADD] = "add",
    [EK_STEP_COMMIT] = "commit",
    [EK_STEP_UPDATE] = "update",
};

static const char *const activations[] = {
    [EK_IDENTITY] = "",
    [EK_SIGMOID] = ", sigmoid",
    [EK_RELU] = ", relu",
    [EK_LEAKY_RELU] = ", leaky relu",
    [EK_TANH] = ", tanh",
    [EK_GELU] = ", gelu",
    [EK_GELU_TANH] = ", gelu by tanh",
};

void ek_program_describe(const ek_program *program, int i, char *line, size_t size)
{
    const ek_step *s = &program->steps[i];
    int n = snprintf(line, size, "%-18s %-5s", names[s->kind],
                     s->scope == EK_PER_BLOCK  ? "block"
                     : s->scope == EK_PER_ITEM ? "item"
                                               : "once");
    if (n < 0 || (size_t)n >= size)
        return;
    line += n;
    size -= (size_t)n;
    const char *path = s->layer >= 0 ? program->paths[s->layer] : "";
    switch (s->kind) {
    case EK_STEP_PACK_FORWARD:
    case EK_STEP_PACK_BACKWARD:
    case EK_STEP_MAP:
    case EK_STEP_MAP_BACKWARD:
    case EK_STEP_WEIGHT_PARTS: {
        const ek_conv *g = &s->u.map.g;
        snprintf(line, size, " layer %s: %dx%dx%d -> %dx%dx%d, kernel %dx%d%s", path, g->c, g->h, g->w, g->k, g->p,
                 g->q, g->r, g->s, ek_conv_fast(g) ? ", winograd" : "");
        break;
    }
    case EK_STEP_UNIT:
    case EK_STEP_UNIT_SUMS:
    case EK_STEP_UNIT_BACKWARD: {
        const ek_unit *u = &s->u.unit.u;
        snprintf(line, size, " layer %s: %dx%dx%d%s%s%s", path, u->c, u->h, u->w, u->norm ? ", norm" : "",
                 activations[u->activation],
                 u->pool == 1 ? ""
                 : u->maximum ? ", max pool"
                              : ", pool");
        break;
    }
    case EK_STEP_JOIN:
    case EK_STEP_JOIN_SUMS:
    case EK_STEP_SHORTCUT_BACKWARD: {
        const ek_join *j = &s->u.join.g;
        snprintf(line, size, " layer %s: %dx%dx%d%s%s%s", path, j->c, j->h, j->w, j->norm ? ", norm" : "",
                 activations[j->activation], ek_join_is_plain(j) ? "" : ", padded shortcut");
        break;
    }
    default:
        if (s->layer >= 0)
            snprintf(line, size, " layer %s", path);
    }
}
