/* SPDX-License-Identifier: MIT */
#include "train/progress.h"

#include "base/memory.h"

ek_status ek_progress_finish_epoch(ek_progress *p, const ek_epoch_record *record)
{
    const size_t finished = (size_t)p->epoch - 1;
    if ((finished & (finished + 1)) == 0) { /* room for 1, 3, 7, ... of them is full at 0, 1, 3, 7 */
        void *const room = ek_realloc(p->history, 2 * finished + 1, sizeof *p->history);
        if (!room)
            return EK_ERR_MEMORY;
        p->history = room;
    }
    p->history[finished] = *record;
    *p = (ek_progress){.epoch = p->epoch + 1,
                       .total = p->total,
                       .updates = p->updates,
                       .skipped = p->skipped,
                       .history = p->history};
    return EK_OK;
}

int ek_progress_best(const ek_progress *p)
{
    int best = 0;
    for (int epoch = 1; epoch < p->epoch; epoch++)
        if (best == 0 || p->history[epoch - 1].val_accuracy > p->history[best - 1].val_accuracy)
            best = epoch;
    return best;
}

void ek_progress_free(ek_progress *p)
{
    ek_free(p->history);
    p->history = NULL;
}
