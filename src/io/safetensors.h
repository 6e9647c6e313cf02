/* SPDX-License-Identifier: MIT
 * Safetensors files: named arrays and a few texts, https://huggingface.co/docs/safetensors. docs/format.md says what
 * is read and written, to the byte. */
#ifndef EK_IO_SAFETENSORS_H
#define EK_IO_SAFETENSORS_H

#include "base/file.h"
#include "base/status.h"

/* Name in the file and bytes of an element. Little-endian; F16 is IEEE half, BF16 the upper half of a float32. */
#define EK_DTYPE_LIST(X)                                                                                             \
    X(EK_DTYPE_F64, "F64", 8)                                                                                        \
    X(EK_DTYPE_F32, "F32", 4)                                                                                        \
    X(EK_DTYPE_F16, "F16", 2)                                                                                        \
    X(EK_DTYPE_BF16, "BF16", 2)                                                                                      \
    X(EK_DTYPE_I64, "I64", 8)                                                                                        \
    X(EK_DTYPE_I32, "I32", 4)                                                                                        \
    X(EK_DTYPE_I16, "I16", 2)                                                                                        \
    X(EK_DTYPE_I8, "I8", 1)                                                                                          \
    X(EK_DTYPE_U64, "U64", 8)                                                                                        \
    X(EK_DTYPE_U32, "U32", 4)                                                                                        \
    X(EK_DTYPE_U16, "U16", 2)                                                                                        \
    X(EK_DTYPE_U8, "U8", 1)                                                                                          \
    X(EK_DTYPE_BOOL, "BOOL", 1)                                                                                      \
    X(EK_DTYPE_C64, "C64", 8)                                                                                        \
    X(EK_DTYPE_F8_E4M3, "F8_E4M3", 1)                                                                                \
    X(EK_DTYPE_F8_E5M2, "F8_E5M2", 1)                                                                                \
    X(EK_DTYPE_F8_E8M0, "F8_E8M0", 1)

/* clang-format off */
typedef enum ek_dtype {
#define EK_DTYPE_ENUM(id, name, size) id,
    EK_DTYPE_LIST(EK_DTYPE_ENUM)
#undef EK_DTYPE_ENUM
    EK_DTYPE_COUNT
} ek_dtype;
/* clang-format on */

/* Name and bytes of an element; dtype < EK_DTYPE_COUNT. */
const char *ek_dtype_name(ek_dtype dtype);
size_t ek_dtype_size(ek_dtype dtype);

enum { EK_SAFETENSORS_NDIM = 8, EK_SAFETENSORS_HEADER_MAX = 100000000 };

typedef struct ek_safetensors_tensor {
    const char *name;
    ek_dtype dtype;
    int ndim; /* 0 for a scalar */
    int64_t dim[EK_SAFETENSORS_NDIM];
    int64_t count;             /* product of the extents */
    const unsigned char *data; /* count elements, at any alignment */
    uint64_t begin, end;       /* where they are in the file's data */
} ek_safetensors_tensor;

typedef struct ek_safetensors_pair {
    const char *key, *value;
} ek_safetensors_pair;

/* A file in memory whose every byte is accounted for. */
typedef struct ek_safetensors {
    unsigned char *bytes;
    ek_safetensors_tensor *tensors; /* in the header's order */
    size_t tensor_count;
    ek_safetensors_pair *metadata; /* likewise */
    size_t metadata_count;
    const ek_safetensors_tensor **by_name;
    const char *
        *was; /* names in the file where tensors were renamed (rename.h), in the order of `tensors`, else NULL */
    char **renamed; /* the new ones, owned */
} ek_safetensors;

/* Reads and checks a file. EK_ERR_FORMAT names the file, the tensor and what is wrong with it. */
ek_status ek_safetensors_read(ek_safetensors **file, const char *path);

/* The same for bytes in memory, from ek_calloc, which it takes over (also when it fails). `name` for messages. */
ek_status ek_safetensors_parse(ek_safetensors **file, const char *name, unsigned char *bytes, size_t size);

/* The same for a file with checksums (below), an int64 item `checksums`, of at most `limit` bytes: EK_ERR_FORMAT names
 * the tensor, or the header, that is not as it was written. No byte of the file can have changed otherwise. */
ek_status ek_safetensors_read_checked(ek_safetensors **file, const char *path, size_t limit, const char *checksums);

void ek_safetensors_free(ek_safetensors *file);

/* Sorts by_name; a tensor whose name another one has, NULL where there is none. */
const ek_safetensors_tensor *ek_safetensors_sort(ek_safetensors *file);

/* NULL when there is none. */
const ek_safetensors_tensor *ek_safetensors_find(const ek_safetensors *file, const char *name);
const char *ek_safetensors_metadata(const ek_safetensors *file, const char *key);

/* An array to write: float32 values or int64 values, one of the pointers NULL. */
typedef struct ek_safetensors_item {
    const char *name;
    int ndim;
    const int64_t *dim;
    int64_t count;
    const float *floats;
    const int64_t *integers;
} ek_safetensors_item;

/* Writes a whole file, the same bytes for the same arguments: metadata, then items, in the order given; data of the
 * int64 items first, so that every element is aligned in the file. Names and keys differ, and are UTF-8 as values
 * are: EK_ERR_ARGUMENT. The caller commits or abandons the writer. */
ek_status ek_safetensors_write(ek_file_writer *writer, const ek_safetensors_pair *metadata, size_t metadata_count,
                               const ek_safetensors_item *items, size_t item_count);

/* For a file that carries its checksums: sums [1 + item_count] become the CRC-32C of the header with the length before
 * it, then that of each item's bytes in the file, but 0 for the item whose integers `sums` is. */
ek_status ek_safetensors_checksums(const ek_safetensors_pair *metadata, size_t metadata_count,
                                   const ek_safetensors_item *items, size_t item_count, int64_t *sums);

#endif
