/* SPDX-License-Identifier: MIT
 * A training with exact statistics: they validate every epoch and are the model's at the end, while the steps go on
 * with the moving ones as if there were no others. */
#include "train/trainer.h"

static ek_status evaluate(ek_trainer *t, double *loss, double *accuracy)
{
    ek_metrics metrics = {0};
    EK_TRY(ek_evaluator_run(t->evaluator, NULL, NULL, &metrics));
    *loss = metrics.loss;
    *accuracy = metrics.accuracy;
    return EK_OK;
}

/* What is not finite with the moving statistics is a finding: exact ones are there to cure it. */
static ek_status compare(ek_trainer *t, ek_epoch_record *r)
{
    const ek_status status = evaluate(t, &r->moving_loss, &r->moving_accuracy);
    if (status == EK_ERR_NUMERIC)
        r->moving_loss = EK_MOVING_BROKEN;
    return status == EK_ERR_NUMERIC ? EK_OK : status;
}

static ek_status measure(ek_trainer *t)
{
    t->measured = 0;
    EK_TRY(ek_calibrator_run(t->calibrator));
    t->measured = t->progress.total;
    return EK_OK;
}

ek_status ek_trainer_validate(ek_trainer *t, ek_epoch_record *r)
{
    if (!t->evaluator)
        return EK_OK;
    if (!t->calibrator)
        return evaluate(t, &r->val_loss, &r->val_accuracy);
    EK_TRY(measure(t));
    if (t->o.exact_compare)
        EK_TRY(compare(t, r));
    ek_calibrator_swap(t->calibrator);
    const ek_status status = evaluate(t, &r->val_loss, &r->val_accuracy);
    ek_calibrator_swap(t->calibrator);
    return status;
}

/* The statistics that the epoch was validated with: the best one's values have them. They are a function of parameters
 * and data, so that a training that was gone on with behind its last epoch ends with the same. */
static ek_status install_some(ek_trainer *t)
{
    if (!t->best && t->measured != t->progress.total)
        EK_TRY(measure(t));
    EK_TRY(ek_calibrator_note(t->calibrator));
    if (!t->best)
        ek_calibrator_swap(t->calibrator);
    return EK_OK;
}

static ek_status install_all(ek_trainer *t)
{
    ek_calibrator_free(t->calibrator);
    EK_TRY(ek_calibrator_new(&t->calibrator, t->net, t->train, t->backend,
                             &(ek_calibrate_options){.memory = t->exact_memory}));
    EK_TRY(measure(t));
    EK_TRY(ek_calibrator_note(t->calibrator));
    ek_calibrator_swap(t->calibrator);
    return EK_OK;
}

/* Where all samples are to be measured, those of the validation come first if they are there, to fall back on. */
ek_status ek_trainer_install(ek_trainer *t)
{
    if (!t->calibrator)
        return EK_OK;
    const bool all = t->o.exact_final && t->o.exact_samples < t->count;
    if (!all || t->best || t->measured == t->progress.total)
        EK_TRY(install_some(t));
    return all ? install_all(t) : EK_OK;
}
