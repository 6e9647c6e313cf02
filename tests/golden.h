/* SPDX-License-Identifier: MIT
 * Golden data for tests: PyTorch's numbers in tests/golden/ (its README.md says what they are). Whatever is missing
 * or misshapen fails the test at hand; comparisons are written so that NaN fails them. Includes cmocka's headers. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evenkeel.h"
#include "io/safetensors.h"

#define GOLDEN_DIR EK_TEST_DIR "/golden/"

/* A call that has to succeed. */
#define GOLDEN_OK(call)                                                                                              \
    do {                                                                                                             \
        ek_status golden_status_ = (call);                                                                           \
        if (golden_status_)                                                                                          \
            fail_msg("%s: %s: %s", #call, ek_status_name(golden_status_), ek_error());                               \
    } while (0)

/* The file `name` of tests/golden/, for ek_safetensors_free. */
static inline ek_safetensors *golden_open(const char *name)
{
    char path[1024];
    ek_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s%s", GOLDEN_DIR, name);
    GOLDEN_OK(ek_safetensors_read(&file, path));
    return file;
}

/* Tensor "case.key"; NULL when there is none. */
static inline const ek_safetensors_tensor *golden_find(const ek_safetensors *file, const char *name, const char *key)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", name, key);
    return ek_safetensors_find(file, full);
}

static inline const ek_safetensors_tensor *golden_tensor(const ek_safetensors *file, const char *name,
                                                         const char *key)
{
    const ek_safetensors_tensor *tensor = golden_find(file, name, key);
    if (!tensor)
        fail_msg("no tensor %s.%s in the golden data", name, key);
    return tensor;
}

/* A tensor's values as double (float64, float32, int64), for free(). */
static inline double *golden_doubles(const ek_safetensors_tensor *tensor)
{
    double *values = calloc((size_t)tensor->count + 1, sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < tensor->count; i++) {
        const unsigned char *at = tensor->data + (size_t)i * ek_dtype_size(tensor->dtype);
        float f;
        int64_t n;
        switch (tensor->dtype) {
        case EK_DTYPE_F64:
            memcpy(&values[i], at, sizeof values[i]);
            break;
        case EK_DTYPE_F32:
            memcpy(&f, at, sizeof f);
            values[i] = f;
            break;
        case EK_DTYPE_I64:
            memcpy(&n, at, sizeof n);
            values[i] = (double)n;
            break;
        default:
            fail_msg("tensor %s has an unexpected type", tensor->name);
        }
    }
    return values;
}

/* An input's values, which are float32, for free(). NULL for NULL. */
static inline float *golden_floats(const ek_safetensors_tensor *tensor)
{
    if (!tensor)
        return NULL;
    assert_int_equal(tensor->dtype, EK_DTYPE_F32);
    float *values = calloc((size_t)tensor->count + 1, sizeof *values);
    assert_non_null(values);
    memcpy(values, tensor->data, (size_t)tensor->count * sizeof *values);
    return values;
}

/* Whether a case's text begins with this operation. */
static inline bool golden_is(const char *text, const char *operation)
{
    size_t length = strlen(operation);
    return strncmp(text, operation, length) == 0 && (text[length] == ' ' || text[length] == '\0');
}

/* What stands behind " key=" in a case's text. */
static inline const char *golden_word(const char *text, const char *key)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *found = strstr(text, pattern);
    if (!found)
        fail_msg("no %s in the golden case \"%s\"", key, text);
    return found + strlen(pattern);
}

static inline double golden_number(const char *text, const char *key)
{
    return strtod(golden_word(text, key), NULL);
}

static inline int golden_int(const char *text, const char *key)
{
    return (int)golden_number(text, key);
}

/* Compares values with a golden tensor: every difference is at most tolerance * scale, where scale is the tensor's
 * largest magnitude, or `scale` if that is larger (for results that cancel to nearly nothing). */
static inline void golden_compare(const ek_safetensors_tensor *exact, const float *values, double tolerance,
                                  double scale)
{
    double *expected = golden_doubles(exact);
    for (int64_t i = 0; i < exact->count; i++)
        scale = fmax(scale, fabs(expected[i]));
    for (int64_t i = 0; i < exact->count; i++) {
        double difference = fabs(values[i] - expected[i]);
        if (!(difference <= tolerance * scale))
            fail_msg("%s[%lld] is %.9g, PyTorch's %.9g: off by %.2g of %.2g, more than %.2g", exact->name,
                     (long long)i, (double)values[i], expected[i], difference / scale, scale, tolerance);
    }
    free(expected);
}

/* |values - exact| / |exact| in the 2-norm; not finite when values are not, or when only exact is zero. */
static inline double golden_distance(const ek_safetensors_tensor *exact, const float *values)
{
    double *expected = golden_doubles(exact);
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < exact->count; i++) {
        difference += (values[i] - expected[i]) * (values[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    free(expected);
    return difference == 0 ? 0 : sqrt(difference / norm);
}

#endif
