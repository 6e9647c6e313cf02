/* SPDX-License-Identifier: MIT
 * Which real numbers 256 steps stand for: the scale and the zero point of every tensor. */
#ifndef EK_QUANT_RANGE_H
#define EK_QUANT_RANGE_H

#include "quant/quant.h"
#include "train/probe.h"

/* Scales and zero points for all tensors of q but the bytes of an image, from a probe of q->net with histograms.
 * EK_ERR_NUMERIC names a layer whose outputs are not finite. */
ek_status ek_q_ranges(ek_quantized *q, const ek_probe *probe);

#endif
