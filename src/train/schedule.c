/* SPDX-License-Identifier: MIT */
#include "train/schedule.h"

#include "train/optimizer.h"

#include <math.h>

static const double half_pi = 1.57079632679489661923;

static ek_status check_milestones(const ek_fit_options *o)
{
    if (!o->milestones || o->milestone_count < 1)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: a multi-step schedule needs milestones");
    for (int i = 0; i < o->milestone_count; i++)
        if (o->milestones[i] <= (i ? o->milestones[i - 1] : 0))
            return ek_fail(EK_ERR_ARGUMENT,
                           "ek_fit: milestone %d (%d) does not ascend: they are epochs from 1, each after the last",
                           i + 1, o->milestones[i]);
    return EK_OK;
}

ek_status ek_schedule_check(ek_fit_options *o)
{
    const bool steps = o->schedule == EK_SCHEDULE_STEP, many = o->schedule == EK_SCHEDULE_MULTISTEP;
    if (o->schedule < EK_SCHEDULE_CONSTANT || o->schedule > EK_SCHEDULE_COSINE)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: there is no schedule %d", (int)o->schedule);
    if (steps ? o->step_size < 1 : o->step_size != 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: step_size %d: a step schedule needs one of 1 epoch or more%s",
                       o->step_size, steps ? "" : ", and no other schedule has it");
    if (many)
        EK_TRY(check_milestones(o));
    else if (o->milestone_count != 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: milestones belong to the multi-step schedule alone");
    if (!(o->gamma >= 0 && o->gamma <= 1))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: gamma %g is not above 0 and up to 1", o->gamma);
    if (o->gamma > 0 && !steps && !many)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: gamma belongs to the step and multi-step schedules alone");
    if (!(o->min_lr >= 0 && o->min_lr <= (double)o->lr))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: min_lr %g is not from 0 to the learning rate, %g", o->min_lr,
                       (double)o->lr);
    if (o->min_lr > 0 && o->schedule != EK_SCHEDULE_COSINE)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: min_lr belongs to the cosine schedule alone");
    if (!(o->warmup_epochs >= 0 && isfinite(o->warmup_epochs) && o->warmup_steps >= 0))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: a warm-up of %g epochs or %lld steps is none", o->warmup_epochs,
                       (long long)o->warmup_steps);
    if (o->warmup_epochs > 0 && o->warmup_steps > 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: the warm-up is given in epochs and in steps; choose one");
    o->gamma = o->gamma > 0 ? o->gamma : 0.1;
    return EK_OK;
}

static int64_t warmup_of(const ek_fit_options *o, int64_t steps_per_epoch)
{
    return o->warmup_steps ? o->warmup_steps : (int64_t)(o->warmup_epochs * (double)steps_per_epoch + 0.5);
}

ek_status ek_schedule_check_steps(const ek_fit_options *o, int64_t steps_per_epoch)
{
    const int64_t steps = o->epochs * steps_per_epoch;
    if (o->warmup_epochs >= o->epochs || warmup_of(o, steps_per_epoch) >= steps)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: the warm-up is as long as the training, %lld steps, or longer",
                       (long long)steps);
    return EK_OK;
}

/* (1 + cos(pi*x))/2 = cos(pi*x/2)^2 for x in [0,1]; by Taylor's series of the cosine up to pi/4, of the sine beyond,
 * whose first terms left out are below 2^-53 of it. */
static double half_cosine(double x)
{
    const bool cosine = x <= 0.5;
    const double a = half_pi * (cosine ? x : 1 - x), square = a * a;
    double sum = 0;
    for (int n = cosine ? 18 : 19; n > 1; n -= 2) /* 1 - a^2/(1*2)*(1 - a^2/(3*4)*(...)), sin/a alike */
        sum = square / ((n - 1) * n) * (1 - sum);
    const double root = (1 - sum) * (cosine ? 1 : a);
    return root * root;
}

double ek_schedule_rate(const ek_fit_options *o, int64_t steps_per_epoch, int64_t step)
{
    const int64_t warmup = warmup_of(o, steps_per_epoch), epoch = step / steps_per_epoch;
    double rate = (double)o->lr;
    int passed = 0;
    switch (o->schedule) {
    case EK_SCHEDULE_STEP:
        rate *= ek_power(o->gamma, epoch / o->step_size);
        break;
    case EK_SCHEDULE_MULTISTEP:
        while (passed < o->milestone_count && o->milestones[passed] <= epoch)
            passed++;
        rate *= ek_power(o->gamma, passed);
        break;
    case EK_SCHEDULE_COSINE:
        if (step > warmup)
            rate = o->min_lr + (rate - o->min_lr) * half_cosine((double)(step - warmup) /
                                                                (double)(o->epochs * steps_per_epoch - warmup));
        break;
    case EK_SCHEDULE_CONSTANT:
        break;
    }
    return step < warmup ? rate * (double)(step + 1) / (double)warmup : rate;
}
