/* SPDX-License-Identifier: MIT
 * Reading safetensors: every byte is hostile until checked.
 *
 * A file is 8 bytes N (little-endian), N bytes of JSON, and the data that the JSON divides among tensors. What is
 * accepted covers the data without hole, overlap or rest, so nothing rides along unseen. */
#include "io/json.h"
#include "io/safetensors.h"
#include "io/values.h"

#include "base/crc32c.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static const char *const dtype_names[] = {
#define EK_DTYPE_NAME(id, name, size) name,
    EK_DTYPE_LIST(EK_DTYPE_NAME)
#undef EK_DTYPE_NAME
};

static const size_t dtype_sizes[] = {
#define EK_DTYPE_SIZE(id, name, size) size,
    EK_DTYPE_LIST(EK_DTYPE_SIZE)
#undef EK_DTYPE_SIZE
};

const char *ek_dtype_name(ek_dtype dtype)
{
    return dtype_names[dtype];
}

size_t ek_dtype_size(ek_dtype dtype)
{
    return dtype_sizes[dtype];
}

/* ---- The header --------------------------------------------------------------------------------------------- */

/* `array` with room for element `count`: it doubles when count is a power of two. NULL when there is no memory. */
static void *with_room(void *array, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, ... */
    return full ? ek_realloc(array, count ? ek_size_mul(count, 2) : 1, size) : array;
}

static ek_status read_dtype(ek_json *json, ek_safetensors_tensor *tensor)
{
    char *name;
    EK_TRY(ek_json_string(json, &name));
    for (int i = 0; i < EK_DTYPE_COUNT; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            tensor->dtype = (ek_dtype)i;
            return EK_OK;
        }
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: tensor '%.100s': the element type '%.20s' is not known", json->name,
                   tensor->name, name);
}

static ek_status read_shape(ek_json *json, ek_safetensors_tensor *tensor)
{
    EK_TRY(ek_json_open(json, '['));
    tensor->ndim = 0;
    tensor->count = 1;
    for (bool more;;) {
        uint64_t extent;
        EK_TRY(ek_json_more(json, ']', &more));
        if (!more)
            return EK_OK;
        EK_TRY(ek_json_unsigned(json, &extent));
        if (tensor->ndim == EK_SAFETENSORS_NDIM)
            return ek_fail(EK_ERR_UNSUPPORTED, "%s: tensor '%.100s': more than %d dimensions", json->name,
                           tensor->name, EK_SAFETENSORS_NDIM);
        if (extent > INT64_MAX || __builtin_mul_overflow(tensor->count, (int64_t)extent, &tensor->count))
            return ek_fail(EK_ERR_FORMAT, "%s: tensor '%.100s': its shape overflows 64 bits", json->name,
                           tensor->name);
        tensor->dim[tensor->ndim++] = (int64_t)extent;
    }
}

static ek_status read_offsets(ek_json *json, ek_safetensors_tensor *tensor)
{
    bool more;
    EK_TRY(ek_json_open(json, '['));
    uint64_t *const ends[2] = {&tensor->begin, &tensor->end};
    for (int i = 0; i < 2; i++) {
        EK_TRY(ek_json_more(json, ']', &more));
        if (!more)
            return ek_json_fail(json, "expected two data_offsets");
        EK_TRY(ek_json_unsigned(json, ends[i]));
    }
    EK_TRY(ek_json_more(json, ']', &more));
    return more ? ek_json_fail(json, "expected two data_offsets") : EK_OK;
}

/* The object behind a tensor's name. */
static ek_status read_tensor(ek_json *json, ek_safetensors_tensor *tensor)
{
    static const struct {
        const char *name;
        ek_status (*read)(ek_json *json, ek_safetensors_tensor *tensor);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    enum { FIELDS = sizeof fields / sizeof *fields };

    bool seen[FIELDS] = {false};
    EK_TRY(ek_json_open(json, '{'));
    for (bool more;;) {
        char *key;
        EK_TRY(ek_json_more(json, '}', &more));
        if (!more)
            break;
        EK_TRY(ek_json_key(json, &key));
        int f = 0;
        while (f < FIELDS && strcmp(key, fields[f].name) != 0)
            f++;
        if (f == FIELDS || seen[f])
            return ek_fail(EK_ERR_FORMAT, "%s: tensor '%.100s': %s field '%.40s'", json->name, tensor->name,
                           f == FIELDS ? "an unknown" : "a second", key);
        seen[f] = true;
        EK_TRY(fields[f].read(json, tensor));
    }
    for (int f = 0; f < FIELDS; f++)
        if (!seen[f])
            return ek_fail(EK_ERR_FORMAT, "%s: tensor '%.100s': the field '%s' is missing", json->name, tensor->name,
                           fields[f].name);
    return EK_OK;
}

static ek_status read_metadata(ek_json *json, ek_safetensors *file)
{
    EK_TRY(ek_json_open(json, '{'));
    for (bool more;;) {
        char *key, *value;
        EK_TRY(ek_json_more(json, '}', &more));
        if (!more)
            return EK_OK;
        EK_TRY(ek_json_key(json, &key));
        EK_TRY(ek_json_string(json, &value));
        void *room = with_room(file->metadata, file->metadata_count, sizeof *file->metadata);
        if (!room)
            return EK_ERR_MEMORY;
        file->metadata = room;
        file->metadata[file->metadata_count++] = (ek_safetensors_pair){key, value};
    }
}

static ek_status read_header(ek_json *json, ek_safetensors *file)
{
    bool metadata_seen = false;
    EK_TRY(ek_json_open(json, '{'));
    for (bool more;;) {
        char *key;
        EK_TRY(ek_json_more(json, '}', &more));
        if (!more)
            return ek_json_end(json);
        EK_TRY(ek_json_key(json, &key));
        if (strcmp(key, "__metadata__") == 0) {
            if (metadata_seen)
                return ek_json_fail(json, "a second __metadata__");
            metadata_seen = true;
            EK_TRY(read_metadata(json, file));
            continue;
        }
        void *room = with_room(file->tensors, file->tensor_count, sizeof *file->tensors);
        if (!room)
            return EK_ERR_MEMORY;
        file->tensors = room;
        ek_safetensors_tensor *tensor = &file->tensors[file->tensor_count++];
        memset(tensor, 0, sizeof *tensor);
        tensor->name = key;
        EK_TRY(read_tensor(json, tensor));
    }
}

/* ---- What the header says against what is there ------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const ek_safetensors_tensor *const *)a)->name, (*(const ek_safetensors_tensor *const *)b)->name);
}

static int compare_places(const void *a, const void *b)
{
    const ek_safetensors_tensor *x = *(const ek_safetensors_tensor *const *)a;
    const ek_safetensors_tensor *y = *(const ek_safetensors_tensor *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const ek_safetensors_pair *)a)->key, ((const ek_safetensors_pair *)b)->key);
}

static ek_status check_tensor(const char *name, ek_safetensors_tensor *tensor, const unsigned char *data,
                              uint64_t data_size)
{
    uint64_t size;
    if (tensor->begin > tensor->end || tensor->end > data_size)
        return ek_fail(EK_ERR_FORMAT,
                       "%s: tensor '%.100s': its data is said to be bytes %ju to %ju, but the file has %ju of data%s",
                       name, tensor->name, (uintmax_t)tensor->begin, (uintmax_t)tensor->end, (uintmax_t)data_size,
                       tensor->begin > tensor->end ? "" : " (is it cut short?)");
    if (__builtin_mul_overflow((uint64_t)tensor->count, (uint64_t)dtype_sizes[tensor->dtype], &size) ||
        size != tensor->end - tensor->begin)
        return ek_fail(EK_ERR_FORMAT, "%s: tensor '%.100s': %jd elements of type %s do not fill its %ju bytes", name,
                       tensor->name, (intmax_t)tensor->count, dtype_names[tensor->dtype],
                       (uintmax_t)(tensor->end - tensor->begin));
    tensor->data = data + tensor->begin;
    return EK_OK;
}

/* Tensors sorted by place cover the data from its first byte to its last, each byte once. */
static ek_status check_places(const ek_safetensors *file, const char *name, uint64_t data_size)
{
    uint64_t end = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const ek_safetensors_tensor *tensor = file->by_name[i];
        if (tensor->begin < end)
            return ek_fail(EK_ERR_FORMAT, "%s: tensors '%.100s' and '%.100s' overlap", name,
                           file->by_name[i - 1]->name, tensor->name);
        if (tensor->begin > end)
            return ek_fail(EK_ERR_FORMAT, "%s: %ju bytes before tensor '%.100s' belong to no tensor", name,
                           (uintmax_t)(tensor->begin - end), tensor->name);
        end = tensor->end;
    }
    if (end != data_size)
        return ek_fail(EK_ERR_FORMAT, "%s: %ju bytes behind the last tensor", name, (uintmax_t)(data_size - end));
    return EK_OK;
}

static ek_status check_keys(const ek_safetensors *file, const char *name)
{
    size_t count = file->metadata_count;
    if (count < 2)
        return EK_OK;
    ek_safetensors_pair *sorted = ek_calloc(count, sizeof *sorted);
    if (!sorted)
        return EK_ERR_MEMORY;
    memcpy(sorted, file->metadata, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_keys);
    ek_status status = EK_OK;
    for (size_t i = 1; i < count && !status; i++)
        if (strcmp(sorted[i - 1].key, sorted[i].key) == 0)
            status = ek_fail(EK_ERR_FORMAT, "%s: the metadata has '%.100s' twice", name, sorted[i].key);
    ek_free(sorted);
    return status;
}

static ek_status check_tensors(ek_safetensors *file, const char *name, const unsigned char *data, uint64_t data_size)
{
    size_t count = file->tensor_count;
    file->by_name = ek_calloc(count, sizeof *file->by_name);
    if (!file->by_name)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        EK_TRY(check_tensor(name, &file->tensors[i], data, data_size));
        file->by_name[i] = &file->tensors[i];
    }
    qsort(file->by_name, count, sizeof *file->by_name, compare_places); /* for a moment they are by place */
    EK_TRY(check_places(file, name, data_size));
    const ek_safetensors_tensor *twice = ek_safetensors_sort(file);
    return twice ? ek_fail(EK_ERR_FORMAT, "%s: tensor '%.100s' is there twice", name, twice->name) : EK_OK;
}

/* PyTorch's own files are zip archives, older ones pickles (protocol 2 on); neither is read, since a pickle is a
 * program. */
static ek_status check_kind(const char *name, const unsigned char *bytes, size_t size)
{
    const bool zip = size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0;
    const bool pickle =
        size >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5 && !(size > 8 && bytes[8] == '{');
    if (!zip && !pickle)
        return EK_OK;
    return ek_fail(
        EK_ERR_UNSUPPORTED,
        "%s: a file of torch.save, which holds a program, or another archive; in Python make its tensors a "
        "safetensors file: import torch; from safetensors.torch import save_file; "
        "save_file(torch.load(\"%.200s\", map_location=\"cpu\"), \"weights.safetensors\")",
        name, name);
}

/* What a file of eight bytes at least is by them; NULL where they do not tell. An ONNX file is a protobuf message whose
 * first two fields are a small number, the version of the format, and the producer's name. */
static const char *other_kind(const unsigned char *bytes)
{
    bool text = true;
    for (int i = 0; i < 8; i++)
        text = text &&
               ((bytes[i] >= ' ' && bytes[i] < 0x7f) || bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\t');
    return !memcmp(bytes, "\x89PNG", 4)                                 ? "a PNG image"
           : !memcmp(bytes, "\xff\xd8\xff", 3)                          ? "a JPEG image"
           : bytes[0] == 8 && bytes[1] < 32 && bytes[2] == (2 << 3 | 2) ? "an ONNX file, or another protobuf"
           : text                                                       ? "a text, such as a net's"
                                                                        : NULL;
}

static ek_status parse(ek_safetensors *file, const char *name, size_t size)
{
    if (size < 8)
        return ek_fail(EK_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", name, size);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | file->bytes[i];
    EK_TRY(check_kind(name, file->bytes, size));
    const char *const other = other_kind(file->bytes);
    if (header > EK_SAFETENSORS_HEADER_MAX && other)
        return ek_fail(EK_ERR_FORMAT, "%s: %s, and no safetensors file, as models and weights are", name, other);
    if (header > EK_SAFETENSORS_HEADER_MAX)
        return ek_fail(EK_ERR_FORMAT, "%s: no safetensors file: its first bytes announce a header of %ju bytes", name,
                       (uintmax_t)header);
    if (header > size - 8)
        return ek_fail(EK_ERR_FORMAT, "%s: cut short, or no safetensors file: a header of %ju bytes is announced",
                       name, (uintmax_t)header);
    ek_json json = {.name = name, .text = file->bytes + 8, .size = (size_t)header};
    if (header == 0 || json.text[0] != '{')
        return ek_json_fail(&json, "no safetensors file: it does not begin with '{'");
    EK_TRY(read_header(&json, file));
    EK_TRY(check_keys(file, name));
    return check_tensors(file, name, json.text + header, size - 8 - header);
}

ek_status ek_safetensors_parse(ek_safetensors **file, const char *name, unsigned char *bytes, size_t size)
{
    *file = NULL;
    ek_safetensors *made = ek_calloc(1, sizeof *made);
    if (!made) {
        ek_free(bytes);
        return EK_ERR_MEMORY;
    }
    made->bytes = bytes;
    ek_status status = parse(made, name, size);
    if (status) {
        ek_safetensors_free(made);
        return status;
    }
    *file = made;
    return EK_OK;
}

ek_status ek_safetensors_read(ek_safetensors **file, const char *path)
{
    unsigned char *bytes;
    size_t size;
    *file = NULL;
    EK_TRY(ek_file_read(path, PTRDIFF_MAX - 1, &bytes, &size));
    return ek_safetensors_parse(file, path, bytes, size);
}

/* ---- Checksums ---------------------------------------------------------------------------------------------- */

/* The header's checksum, before parsing spoils it; 0 where no header fits into the file, which parsing then reports. */
static int64_t header_checksum(const unsigned char *bytes, size_t size)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0 && size >= 8; i--)
        length = length << 8 | bytes[i];
    return size < 8 || length > size - 8 ? 0 : ek_crc32c(0, bytes, (size_t)length + 8);
}

static ek_status check_sums(const ek_safetensors *file, const char *path, int64_t header, const char *checksums)
{
    const ek_safetensors_tensor *sums = ek_safetensors_find(file, checksums);
    if (!sums || sums->dtype != EK_DTYPE_I64 || sums->count != (int64_t)file->tensor_count + 1)
        return ek_fail(EK_ERR_FORMAT, "%s: has no checksums, or not one for each tensor", path);
    if (ek_value_integer(sums, 0) != header)
        return ek_fail(EK_ERR_FORMAT, "%s: damaged: its header is not as it was written", path);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const ek_safetensors_tensor *t = &file->tensors[i];
        const int64_t crc = t == sums ? 0 : ek_crc32c(0, t->data, (size_t)(t->end - t->begin));
        if (ek_value_integer(sums, (int64_t)i + 1) != crc)
            return ek_fail(EK_ERR_FORMAT, "%s: damaged: tensor '%.100s' is not as it was written", path, t->name);
    }
    return EK_OK;
}

ek_status ek_safetensors_read_checked(ek_safetensors **file, const char *path, size_t limit, const char *checksums)
{
    unsigned char *bytes;
    size_t size;
    *file = NULL;
    EK_TRY(ek_file_read(path, limit, &bytes, &size));
    const int64_t header = header_checksum(bytes, size);
    EK_TRY(ek_safetensors_parse(file, path, bytes, size));
    const ek_status status = check_sums(*file, path, header, checksums);
    if (status) {
        ek_safetensors_free(*file);
        *file = NULL;
    }
    return status;
}

void ek_safetensors_free(ek_safetensors *file)
{
    if (!file)
        return;
    for (size_t i = 0; file->renamed && i < file->tensor_count; i++)
        ek_free(file->renamed[i]);
    ek_free(file->renamed);
    ek_free(file->was);
    ek_free(file->by_name);
    ek_free(file->metadata);
    ek_free(file->tensors);
    ek_free(file->bytes);
    ek_free(file);
}

/* ---- Looking things up -------------------------------------------------------------------------------------- */

const ek_safetensors_tensor *ek_safetensors_sort(ek_safetensors *file)
{
    qsort(file->by_name, file->tensor_count, sizeof *file->by_name, compare_names);
    for (size_t i = 1; i < file->tensor_count; i++)
        if (strcmp(file->by_name[i - 1]->name, file->by_name[i]->name) == 0)
            return file->by_name[i];
    return NULL;
}

const ek_safetensors_tensor *ek_safetensors_find(const ek_safetensors *file, const char *name)
{
    const ek_safetensors_tensor key = {.name = name}, *pointer = &key;
    const ek_safetensors_tensor **found =
        bsearch(&pointer, file->by_name, file->tensor_count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *ek_safetensors_metadata(const ek_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}
