/* SPDX-License-Identifier: MIT
 * Batch norms that are folded into the weights before them: what prediction does with them. */
#include "net/fold.h"
#include "net/plan.h"

/* Weights and bias of map layer `l` with batch norm layer `n` folded in. */
static void fold(const ek_net *net, const ek_layer *l, const ek_layer *n, float *weight, float *bias)
{
    const ek_tensor *w = &net->tensors[l->weight];
    const float *b = l->bias < 0 ? NULL : net->tensors[l->bias].data;
    const int64_t outputs = w->dim[0], inputs = w->count / outputs;
    for (int64_t k = 0; k < outputs; k++) {
        const ek_affine a = ek_fold_norm(net, n, k, (ek_affine){1, b ? (double)b[k] : 0});
        for (int64_t i = 0; i < inputs; i++)
            weight[k * inputs + i] = (float)((double)w->data[k * inputs + i] * a.scale);
        bias[k] = (float)a.shift;
    }
}

void ek_plan_refresh(ek_program *program, const ek_net *net)
{
    for (int i = 0; i < program->count; i++) {
        const ek_step *s = &program->steps[i];
        if (s->kind == EK_STEP_MAP && s->u.map.folded >= 0)
            fold(net, &net->layers[s->layer], &net->layers[s->u.map.folded], program->arena + s->u.map.weight_at,
                 program->arena + s->u.map.bias_at);
    }
    for (int i = 0; i < program->norm_count; i++)
        if (program->norms[i].moving_mean)
            ek_batchnorm_predict(&program->norms[i]);
}
