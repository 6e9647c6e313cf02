/* SPDX-License-Identifier: MIT */
#include "train/optimizer.h"

#include <math.h>

static ek_status check_numbers(const ek_fit_options *o)
{
    if (!(o->lr >= 0 && isfinite(o->lr)))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: the learning rate %g is not a positive number", (double)o->lr);
    if (!(o->momentum >= 0 && o->momentum < 1))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: momentum %g is not from 0 to below 1", o->momentum);
    if (!(o->weight_decay >= 0 && isfinite(o->weight_decay)))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: weight decay %g is not a number from 0", o->weight_decay);
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: betas %g and %g are not between 0 and 1", o->beta1, o->beta2);
    /* Below 1e-30 a float's eps would soon be none, and a gradient that has always been 0 would make 0/0. */
    if (!(o->eps == 0 || (o->eps >= 1e-30 && o->eps <= 1)))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: eps %g is not from 1e-30 to 1", o->eps);
    if (!(o->clip_norm >= 0 && isfinite(o->clip_norm)))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: clip_norm %g is not a number from 0 (which means: no clipping)",
                       o->clip_norm);
    if (!(o->label_smoothing >= 0 && o->label_smoothing < 1))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: label smoothing %g is not from 0 to below 1", o->label_smoothing);
    return EK_OK;
}

ek_status ek_optimizer_check(ek_fit_options *o)
{
    if (o->optimizer < EK_SGD || o->optimizer > EK_ADAMW || o->decay < EK_DECAY_WEIGHTS || o->decay > EK_DECAY_ALL)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: there is no optimizer %d or no decay %d", (int)o->optimizer,
                       (int)o->decay);
    EK_TRY(check_numbers(o));
    const bool adam = o->optimizer != EK_SGD;
    if (adam && (o->momentum > 0 || o->nesterov))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: momentum is SGD's; Adam's and AdamW's is beta1");
    if (!adam && (o->beta1 > 0 || o->beta2 > 0 || o->eps > 0))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: betas and eps are Adam's and AdamW's; SGD has momentum");
    if (o->decay == EK_DECAY_ALL && !(o->weight_decay > 0))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: decay of all parameters needs a weight decay above 0");
    if (o->nesterov && !(o->momentum > 0))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: Nesterov's momentum needs a momentum above 0");
    o->lr = o->lr != 0 ? o->lr : adam ? 0.001f : 0.1f;
    if (adam) {
        o->beta1 = o->beta1 > 0 ? o->beta1 : 0.9;
        o->beta2 = o->beta2 > 0 ? o->beta2 : 0.999;
        o->eps = o->eps > 0 ? o->eps : 1e-8;
    }
    /* More would turn the sign of a weight without any gradient, and then it grows from step to step. */
    if (o->optimizer != EK_ADAM && (double)o->lr * o->weight_decay >= 2)
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_fit: weight decay %g at learning rate %g makes weights grow; their product must stay "
                       "below 2",
                       o->weight_decay, (double)o->lr);
    return EK_OK;
}

double ek_power(double base, int64_t exponent)
{
    double power = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1)
            power *= base;
    return power;
}

ek_update ek_optimizer_update(const ek_fit_options *o, int64_t step, double rate)
{
    ek_update u = {.kind = o->optimizer,
                   .nesterov = o->nesterov,
                   .clip = o->clip_norm,
                   .rate = (float)rate,
                   .decay = (float)(o->optimizer == EK_ADAMW ? rate * o->weight_decay : o->weight_decay),
                   .momentum = (float)o->momentum};
    if (o->optimizer == EK_SGD)
        return u;
    u.beta1 = (float)o->beta1;
    u.rest1 = (float)(1 - o->beta1);
    u.beta2 = (float)o->beta2;
    u.rest2 = (float)(1 - o->beta2);
    u.rate = (float)(rate / (1 - ek_power(o->beta1, step)));
    u.root = (float)(1 / sqrt(1 - ek_power(o->beta2, step)));
    u.eps = (float)o->eps;
    return u;
}
