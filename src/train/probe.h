/* SPDX-License-Identifier: MIT
 * What a probe can tell inside the library: histograms of the layers' outputs. */
#ifndef EK_TRAIN_PROBE_H
#define EK_TRAIN_PROBE_H

#include "op/probe.h"

/* Of all channels of a layer's output together, in EK_BINS equal bins. */
typedef struct ek_histogram {
    float low, high; /* the least and the greatest value: where the bins begin and end */
    const int64_t *counts;
} ek_histogram;

/* ek_probe_new, with histograms where every output is finite, in a second pass over the samples. */
ek_status ek_probe_new_with_histograms(ek_probe **probe, ek_net *net, const ek_dataset *dataset,
                                       const ek_probe_options *options);

/* Of layer `layer`, as ek_probe_layer; NULL where that is NULL or there are none. The probe's. */
const ek_histogram *ek_probe_histogram(const ek_probe *probe, int layer);

#endif
