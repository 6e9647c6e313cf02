/* SPDX-License-Identifier: MIT
 * Elements of a safetensors file as numbers of this machine. */
#ifndef EK_IO_VALUES_H
#define EK_IO_VALUES_H

#include "io/safetensors.h"

/* Whether elements are floating-point numbers that ek_value_float reads (F64, F32, F16, BF16), or integers that
 * ek_value_integer reads (signed and unsigned, 8 to 64 bits). */
bool ek_dtype_is_float(ek_dtype dtype);
bool ek_dtype_is_integer(ek_dtype dtype);

/* Element i, 0 <= i < tensor->count, rounded to nearest; a float64 beyond float32 becomes infinity. */
float ek_value_float(const ek_safetensors_tensor *tensor, int64_t i);

/* Element i; an unsigned value beyond int64 becomes INT64_MAX. */
int64_t ek_value_integer(const ek_safetensors_tensor *tensor, int64_t i);

#endif
