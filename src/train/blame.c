/* SPDX-License-Identifier: MIT
 * Steps that were not finite: the layer, the channel and the sample with which that began. */
#include "net/net.h"
#include "op/backend.h"
#include "train/trainer.h"

#include <stdio.h>

/* "the gradient that layer 3 (conv2d) hands back, channel 2" */
static void name_place(const ek_trainer *t, const ek_origin *o, char *text, size_t size)
{
    char label[EK_LABEL_SIZE] = "the input", channel[32] = "";
    if (o->layer >= 0)
        ek_layer_label(t->net, o->layer, label);
    else if (o->backward)
        snprintf(label, sizeof label, "the loss");
    if (o->channel >= 0)
        snprintf(channel, sizeof channel, ", channel %d", o->channel);
    snprintf(text, size, o->backward ? "the gradient that %s hands back%s" : "%s%s", label, channel);
}

ek_status ek_trainer_blame(ek_trainer *t, const ek_batch *batch, int64_t at)
{
    ek_origin o;
    char place[EK_LABEL_SIZE + 80];
    ek_backend_search(t->backend, t->program, batch, &o);
    t->blame = (ek_blame){.path = o.layer < 0 ? "" : t->net->layers[o.layer].path,
                          .channel = o.channel,
                          .sample = o.row < 0 ? -1 : t->arrays.ids[at + o.row]};
    if (o.row < 0)
        return EK_ERR_NUMERIC;
    if (!o.value)
        return ek_fail(EK_ERR_NUMERIC, "%s; training sample %lld lies farthest from the mean", ek_error(),
                       (long long)t->blame.sample);
    name_place(t, &o, place, sizeof place);
    return ek_fail(EK_ERR_NUMERIC, "%s; this begins with training sample %lld in %s", ek_error(),
                   (long long)t->blame.sample, place);
}
