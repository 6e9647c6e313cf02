/* SPDX-License-Identifier: MIT
 * Where the tensors of an integer net lie in one array of bytes. */
#ifndef EK_QUANT_MEMORY_H
#define EK_QUANT_MEMORY_H

#include "quant/quant.h"

/* places: by tensor, bytes from the beginning of the array; -1 of what is not in it, the image's bytes and the output.
 * *size: bytes of the array. A tensor has its place from the operation that writes it to the last one that reads it;
 * tables and sums write where they read if nothing reads that later. */
ek_status ek_q_plan_memory(const ek_quantized *q, int64_t *places, int64_t *size);

#endif
