/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a safetensors file. What is accepted is used: every value read, every name looked up. */
#include "base/memory.h"
#include "io/safetensors.h"
#include "io/values.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = ek_calloc(size, 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    ek_safetensors *file;
    if (ek_safetensors_parse(&file, "input", bytes, size))
        return 0;
    uint64_t covered = 0;
    for (size_t t = 0; t < file->tensor_count; t++) {
        const ek_safetensors_tensor *tensor = &file->tensors[t];
        if (ek_safetensors_find(file, tensor->name) != tensor)
            abort();
        for (int64_t i = 0; i < tensor->count; i++) {
            volatile float number = ek_dtype_is_float(tensor->dtype) ? ek_value_float(tensor, i) : 0;
            volatile int64_t integer = ek_dtype_is_integer(tensor->dtype) ? ek_value_integer(tensor, i) : 0;
            (void)number;
            (void)integer;
        }
        covered += tensor->end - tensor->begin;
    }
    for (size_t i = 0; i < file->metadata_count; i++)
        if (ek_safetensors_metadata(file, file->metadata[i].key) != file->metadata[i].value)
            abort();
    if (covered > size)
        abort();
    ek_safetensors_free(file);
    return 0;
}
