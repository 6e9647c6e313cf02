/* SPDX-License-Identifier: MIT
 * Constants of an ONNX file: tensors in it and beside it, checked against their shapes, read as numbers. */
#define _GNU_SOURCE
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "io/values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Types of elements ---------------------------------------------------------------------------------------- */

typedef enum field { FIELD_NONE, FIELD_FLOAT, FIELD_INT32, FIELD_INT64, FIELD_DOUBLE, FIELD_UINT64 } field;

/* How an element is called in safetensors, whose reader takes it, and where a message has it that has no bytes. */
typedef struct element {
    ek_dtype dtype;
    field field;
    bool known;
} element;

static element element_of(int type)
{
    switch (type) {
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return (element){EK_DTYPE_F32, FIELD_FLOAT, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        return (element){EK_DTYPE_F64, FIELD_DOUBLE, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
        return (element){EK_DTYPE_F16, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
        return (element){EK_DTYPE_BF16, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        return (element){EK_DTYPE_I64, FIELD_INT64, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        return (element){EK_DTYPE_I32, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
        return (element){EK_DTYPE_I16, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
        return (element){EK_DTYPE_I8, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
        return (element){EK_DTYPE_U8, FIELD_INT32, true};
    case EK_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
        return (element){EK_DTYPE_U8, FIELD_INT32, true};
    default:
        return (element){.known = false};
    }
}

bool ek_onnx_is_float(const ek_onnx_array *array)
{
    return array->floats || (!array->ints && ek_dtype_is_float(element_of(array->type).dtype));
}

bool ek_onnx_is_integer(const ek_onnx_array *array)
{
    return !ek_onnx_is_float(array);
}

/* ---- Elements ------------------------------------------------------------------------------------------------- */

/* Where element i of a transposed matrix lies in memory. */
static size_t place(const ek_onnx_array *array, int64_t i)
{
    if (!array->transposed)
        return (size_t)i;
    const int64_t rows = array->dim[0], columns = array->dim[1];
    return (size_t)(i % columns * rows + i / columns);
}

/* The element as a tensor of one, for io/values.c. `word` has room for its bytes. */
static ek_safetensors_tensor single(const ek_onnx_array *array, size_t at, unsigned char word[4])
{
    const element e = element_of(array->type);
    ek_safetensors_tensor tensor = {.dtype = e.dtype, .count = 1};
    if (array->bytes) {
        tensor.data = array->bytes + at * ek_dtype_size(e.dtype);
        return tensor;
    }
    for (int b = 0; b < 4; b++)
        word[b] = (unsigned char)((uint32_t)array->proto->int32_data[at] >> 8 * b);
    tensor.data = word;
    return tensor;
}

double ek_onnx_number(const ek_onnx_array *array, int64_t i)
{
    const size_t at = place(array, i);
    unsigned char word[4];
    if (array->floats)
        return array->floats[at];
    if (!ek_onnx_is_float(array))
        return (double)ek_onnx_integer(array, i);
    if (!array->bytes && array->type == EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        return (double)array->proto->float_data[at];
    if (!array->bytes && array->type == EK_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
        return array->proto->double_data[at];
    const ek_safetensors_tensor tensor = single(array, at, word);
    return (double)ek_value_float(&tensor, 0);
}

int64_t ek_onnx_integer(const ek_onnx_array *array, int64_t i)
{
    const size_t at = place(array, i);
    unsigned char word[4];
    if (array->ints)
        return array->ints[at];
    if (!array->bytes && array->type == EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
        return array->proto->int64_data[at];
    const ek_safetensors_tensor tensor = single(array, at, word);
    return ek_value_integer(&tensor, 0);
}

const char *ek_onnx_shape_text(const ek_onnx_array *array, char text[ONNX_SHAPE_TEXT])
{
    size_t length = (size_t)snprintf(text, ONNX_SHAPE_TEXT, "[");
    for (int d = 0; d < array->ndim; d++)
        length += (size_t)snprintf(text + length, ONNX_SHAPE_TEXT - length, "%s%jd", d ? "," : "",
                                   (intmax_t)array->dim[d]); /* 8 extents of at most 20 digits */
    snprintf(text + length, ONNX_SHAPE_TEXT - length, "]");
    return text;
}

/* ---- Files beside the model ----------------------------------------------------------------------------------- */

static const char *property(const EkOnnx__TensorProto *proto, const char *key)
{
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const EkOnnx__StringStringEntryProto *entry = proto->external_data[i];
        if (entry->key && entry->value && !strcmp(entry->key, key))
            return entry->value;
    }
    return NULL;
}

/* Digits alone, below 2^62. */
static bool read_offset(const char *text, uint64_t *value)
{
    const size_t digits = text ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 18 || text[digits])
        return false;
    *value = strtoull(text, NULL, 10);
    return true;
}

/* Opens the file at `location` below the model's folder: no step up, no link, so that nothing outside it is read. */
static ek_status open_beside(const char *path, const char *location, int *fd)
{
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    char *name = ek_calloc(ek_size_add(folder, strlen(location)) + 3, 1);
    if (!name)
        return EK_ERR_MEMORY;
    memcpy(name, folder ? path : "./", folder ? folder : 2);
    *fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    strcpy(name, location);
    for (char *rest = name, *part; *fd >= 0 && (part = strsep(&rest, "/"));) {
        const bool leaves = !*part || !strcmp(part, "..") || !strcmp(part, ".");
        const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (rest ? O_DIRECTORY : 0);
        const int next = leaves ? -1 : openat(*fd, part, flags);
        const int error = errno;
        close(*fd);
        *fd = next;
        if (leaves || (next < 0 && (error == ELOOP || error == ENOTDIR))) {
            ek_free(name);
            return ek_fail(EK_ERR_FORMAT,
                           "its data are at '%.100s', which is not below the model's folder (a link, "
                           "or a path that leaves it)",
                           location);
        }
        errno = error;
    }
    const int error = errno;
    ek_free(name);
    if (*fd >= 0)
        return EK_OK;
    return ek_fail(error == ENOENT ? EK_ERR_NOT_FOUND : EK_ERR_IO,
                   "its data are in the file '%.100s' beside the "
                   "model, which cannot be opened: %s",
                   location, strerror(error));
}

/* A file counts once: tensors together take no more memory than there is in files. */
static ek_status count_file(ek_onnx_side *side, const struct stat *info, size_t length)
{
    bool seen = false;
    for (size_t i = 0; i < side->file_count && !seen; i++)
        seen = side->files[i].device == info->st_dev && side->files[i].inode == info->st_ino;
    if (!seen) {
        ek_onnx_file *files = ek_realloc(side->files, side->file_count + 1, sizeof *files);
        if (!files)
            return EK_ERR_MEMORY;
        files[side->file_count++] = (ek_onnx_file){info->st_dev, info->st_ino};
        side->files = files;
        side->room = ek_size_add(side->room, (size_t)info->st_size);
    }
    side->total = ek_size_add(side->total, length);
    if (side->total > side->room)
        return ek_fail(EK_ERR_FORMAT, "tensors lie on the same bytes of files beside the model; each must have its "
                                      "own");
    return EK_OK;
}

static ek_status read_range(ek_onnx_array *array, int fd, const char *location, uint64_t offset, size_t length)
{
    array->loaded = ek_calloc(length, 1);
    if (!array->loaded)
        return EK_ERR_MEMORY;
    for (size_t done = 0; done < length;) {
        const ssize_t got = pread(fd, array->loaded + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ek_fail(EK_ERR_IO, "its data in '%.100s' cannot be read: %s", location,
                           got < 0 ? strerror(errno) : "the file became shorter");
        done += (size_t)got;
    }
    array->bytes = array->loaded;
    return EK_OK;
}

static ek_status load_open(ek_onnx_array *array, ek_onnx_side *side, int fd, const char *location, size_t size)
{
    struct stat info;
    uint64_t offset = 0, length = size;
    const char *at = property(array->proto, "offset"), *bytes = property(array->proto, "length");
    if (fstat(fd, &info) || !S_ISREG(info.st_mode))
        return ek_fail(EK_ERR_FORMAT, "its data are at '%.100s', which is no file", location);
    if ((at && !read_offset(at, &offset)) || (bytes && !read_offset(bytes, &length)))
        return ek_fail(EK_ERR_FORMAT, "the place of its data in '%.100s' is no number: offset %.20s, length %.20s",
                       location, at ? at : "0", bytes ? bytes : "not given");
    if (length != size || offset > (uint64_t)info.st_size || size > (uint64_t)info.st_size - offset)
        return ek_fail(EK_ERR_FORMAT,
                       "its data take %zu bytes; '%.100s' has %jd, of which %ju from byte %ju on are meant", size,
                       location, (intmax_t)info.st_size, (uintmax_t)length, (uintmax_t)offset);
    EK_TRY(count_file(side, &info, size));
    return read_range(array, fd, location, offset, size);
}

static ek_status load_beside(ek_onnx_array *array, ek_onnx_side *side, size_t size)
{
    const char *location = property(array->proto, "location");
    int fd = -1;
    if (!location)
        return ek_fail(EK_ERR_FORMAT, "its data are said to be in another file, which is not named");
    EK_TRY(open_beside(side->path, location, &fd));
    const ek_status status = load_open(array, side, fd, location, size);
    close(fd);
    return status;
}

/* ---- Opening -------------------------------------------------------------------------------------------------- */

static ek_status read_shape(ek_onnx_array *array)
{
    const EkOnnx__TensorProto *proto = array->proto;
    if (proto->n_dims > ONNX_NDIM)
        return ek_fail(EK_ERR_UNSUPPORTED, "it has %zu dimensions; at most %d are read", proto->n_dims, ONNX_NDIM);
    array->ndim = (int)proto->n_dims;
    array->count = 1;
    for (int d = 0; d < array->ndim; d++) {
        array->dim[d] = proto->dims[d];
        if (proto->dims[d] < 0)
            return ek_fail(EK_ERR_FORMAT, "extent %d of its shape is %jd", d, (intmax_t)proto->dims[d]);
        if (__builtin_mul_overflow(array->count, proto->dims[d], &array->count))
            return ek_fail(EK_ERR_FORMAT, "its shape overflows 64 bits");
    }
    return EK_OK;
}

static size_t typed_count(const EkOnnx__TensorProto *proto, field where)
{
    switch (where) {
    case FIELD_FLOAT:
        return proto->n_float_data;
    case FIELD_INT32:
        return proto->n_int32_data;
    case FIELD_INT64:
        return proto->n_int64_data;
    case FIELD_DOUBLE:
        return proto->n_double_data;
    case FIELD_UINT64:
        return proto->n_uint64_data;
    case FIELD_NONE:
        break;
    }
    return 0;
}

static ek_status open_tensor(ek_onnx_array *array, ek_onnx_side *side)
{
    const EkOnnx__TensorProto *proto = array->proto;
    const element e = element_of(proto->data_type);
    char shape[ONNX_SHAPE_TEXT];
    if (!e.known)
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "its elements are of type %d; float, double, float16, bfloat16 and signed integers are read",
                       proto->data_type);
    if (proto->segment)
        return ek_fail(EK_ERR_UNSUPPORTED, "it is a segment of a tensor");
    array->type = proto->data_type;
    EK_TRY(read_shape(array));
    const size_t size = ek_size_mul((size_t)array->count, ek_dtype_size(e.dtype));
    if (proto->data_location == EK_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return load_beside(array, side, size);
    const bool typed = !proto->has_raw_data;
    if (typed ? typed_count(proto, e.field) != (uint64_t)array->count : proto->raw_data.len != size)
        return ek_fail(EK_ERR_FORMAT, "it has the shape %s, and %zu %s", ek_onnx_shape_text(array, shape),
                       typed ? typed_count(proto, e.field) : proto->raw_data.len,
                       typed ? "values" : "bytes where it takes another number");
    if (!typed)
        array->bytes = proto->raw_data.data ? proto->raw_data.data : (const unsigned char *)"";
    return EK_OK;
}

ek_status ek_onnx_array_open(ek_onnx_array *array, const EkOnnx__TensorProto *proto, ek_onnx_side *side)
{
    char context[120];
    array->proto = proto;
    const ek_status status = open_tensor(array, side);
    if (!status)
        return EK_OK;
    snprintf(context, sizeof context, "tensor '%.80s'", proto->name ? proto->name : "");
    return status == EK_ERR_MEMORY ? status : ek_fail_in(status, context);
}

void ek_onnx_array_free(ek_onnx_array *array)
{
    ek_free(array->loaded);
    if (!array->view) {
        ek_free(array->ints);
        ek_free(array->floats);
    }
    array->loaded = NULL;
    array->ints = NULL;
    array->floats = NULL;
}

#endif
