/* SPDX-License-Identifier: MIT */
#include "io/values.h"

#include <math.h>
#include <string.h>

bool ek_dtype_is_float(ek_dtype dtype)
{
    return dtype == EK_DTYPE_F64 || dtype == EK_DTYPE_F32 || dtype == EK_DTYPE_F16 || dtype == EK_DTYPE_BF16;
}

bool ek_dtype_is_integer(ek_dtype dtype)
{
    return dtype >= EK_DTYPE_I64 && dtype <= EK_DTYPE_U8;
}

/* The bytes of element i, little-endian, as the low bits of a word. */
static uint64_t element_bits(const ek_safetensors_tensor *tensor, int64_t i)
{
    size_t size = ek_dtype_size(tensor->dtype);
    const unsigned char *bytes = tensor->data + (size_t)i * size;
    uint64_t bits = 0;
    for (size_t b = 0; b < size; b++)
        bits |= (uint64_t)bytes[b] << 8 * b;
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. */
static float float_of_half(uint32_t bits)
{
    uint32_t sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    exponent = exponent == 31 ? 255 : exponent + 127 - 15;
    return float_of_bits(sign | exponent << 23 | fraction << 13);
}

static float float_of_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

float ek_value_float(const ek_safetensors_tensor *tensor, int64_t i)
{
    uint64_t bits = element_bits(tensor, i);
    switch (tensor->dtype) {
    case EK_DTYPE_F64:
        return float_of_double(bits);
    case EK_DTYPE_F32:
        return float_of_bits((uint32_t)bits);
    case EK_DTYPE_F16:
        return float_of_half((uint32_t)bits);
    case EK_DTYPE_BF16:
        return float_of_bits((uint32_t)bits << 16);
    default:
        return NAN; /* not asked for: ek_dtype_is_float */
    }
}

int64_t ek_value_integer(const ek_safetensors_tensor *tensor, int64_t i)
{
    uint64_t bits = element_bits(tensor, i);
    if (tensor->dtype >= EK_DTYPE_U64)
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    uint64_t sign = UINT64_C(1) << (8 * ek_dtype_size(tensor->dtype) - 1);
    return (int64_t)((bits ^ sign) - sign); /* extends the sign */
}
