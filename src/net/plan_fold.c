/* SPDX-License-Identifier: MIT
 * Batch norms that are folded into the weights before them: what prediction does with them. */
#include "net/plan.h"
#include "op/norm.h"

static const float *data_of(const ek_net *net, int tensor)
{
    return tensor < 0 ? NULL : net->tensors[tensor].data;
}

/* Weights and bias of map layer `l` with batch norm layer `n` folded in, in double:
 *   weight' = weight*scale    bias' = (bias - mean)*scale + beta    scale = gamma/sqrt(var + eps)
 * or scale = gamma where the mean alone is taken out, and a mean of 0 where the deviation alone is. */
static void fold(const ek_net *net, const ek_layer *l, const ek_layer *n, float *weight, float *bias)
{
    const ek_tensor *w = &net->tensors[l->weight];
    const float *mean = net->tensors[n->moving_mean].data, *var = net->tensors[n->moving_var].data;
    const float *b = data_of(net, l->bias), *gamma = data_of(net, n->weight), *beta = data_of(net, n->bias);
    const ek_normalize normalize = n->o.batchnorm.normalize;
    const int64_t outputs = w->dim[0], inputs = w->count / outputs;
    for (int64_t k = 0; k < outputs; k++) {
        const double scale =
            (gamma ? (double)gamma[k] : 1.0) * ek_norm_factor(normalize, (double)var[k], (double)n->o.batchnorm.eps);
        const double centre = normalize == EK_NORMALIZE_DEVIATION ? 0 : (double)mean[k];
        for (int64_t i = 0; i < inputs; i++)
            weight[k * inputs + i] = (float)((double)w->data[k * inputs + i] * scale);
        bias[k] = (float)(((b ? (double)b[k] : 0.0) - centre) * scale + (beta ? (double)beta[k] : 0.0));
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
