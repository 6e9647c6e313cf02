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

ek_status ek_trainer_validate(ek_trainer *t, ek_epoch_record *r)
{
    if (t->calibrator)
        EK_TRY(ek_calibrator_run(t->calibrator));
    if (!t->evaluator)
        return EK_OK;
    if (!t->calibrator)
        return evaluate(t, &r->val_loss, &r->val_accuracy);
    if (t->o.exact_compare)
        EK_TRY(evaluate(t, &r->moving_loss, &r->moving_accuracy));
    ek_calibrator_swap(t->calibrator);
    const ek_status status = evaluate(t, &r->val_loss, &r->val_accuracy);
    ek_calibrator_swap(t->calibrator);
    return status;
}

/* The best epoch's values have its exact statistics. They are a function of parameters and data, so that a training
 * that was gone on with behind its last epoch ends with the same. */
ek_status ek_trainer_install(ek_trainer *t)
{
    if (!t->calibrator)
        return EK_OK;
    if (t->o.exact_final) {
        ek_calibrator_free(t->calibrator);
        EK_TRY(ek_calibrator_new(&t->calibrator, t->net, t->train, t->backend, &(ek_calibrate_options){0}));
    }
    if (!t->best || t->o.exact_final) {
        EK_TRY(ek_calibrator_run(t->calibrator));
        ek_calibrator_swap(t->calibrator);
    }
    return ek_calibrator_note(t->calibrator);
}
