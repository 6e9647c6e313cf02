/* SPDX-License-Identifier: MIT
 * The reference of integer nets: one image through all operations. */
#ifndef EK_QUANT_RUN_H
#define EK_QUANT_RUN_H

#include "quant/quant.h"

/* What one thread works in: every tensor has a place of its own in it, as int16. */
typedef struct ek_q_work ek_q_work;

ek_status ek_q_work_new(ek_q_work **work, const ek_quantized *q);
void ek_q_work_free(ek_q_work *work);

/* pixels: the net's input [C,H,W] as bytes; output: as many int16 as the output has values. */
void ek_q_run(ek_q_work *work, const uint8_t *pixels, int16_t *output);

/* What tensor t holds after a run. */
const int16_t *ek_q_values(const ek_q_work *work, int t);

#endif
