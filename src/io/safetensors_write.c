/* SPDX-License-Identifier: MIT
 * Writing safetensors: the same bytes for the same tensors, on every machine. */
#include "io/json.h"
#include "io/safetensors.h"

#include "base/crc32c.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* of the data in the file: whoever maps it can use the values in place */

/* The header in the making. The first pass counts, the second writes: text is NULL in the first. */
typedef struct header {
    char *text;
    size_t size;
} header;

static void put(header *h, const char *text, size_t size)
{
    if (h->text)
        memcpy(h->text + h->size, text, size);
    h->size += size;
}

static void put_text(header *h, const char *text)
{
    put(h, text, strlen(text));
}

static void put_number(header *h, uint64_t number)
{
    char digits[24];
    put(h, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number));
}

static ek_status put_string(header *h, const char *string)
{
    size_t length = ek_json_quote(string, h->text ? h->text + h->size : NULL);
    if (length == 0)
        return ek_fail(EK_ERR_ARGUMENT, "a name or note to be saved is not UTF-8: '%.40s'", string);
    h->size += length;
    return EK_OK;
}

/* Bytes of one item's data. */
static uint64_t item_size(const ek_safetensors_item *item)
{
    return (uint64_t)item->count * (item->integers ? sizeof(int64_t) : sizeof(float));
}

static ek_status put_item(header *h, const ek_safetensors_item *item, uint64_t begin)
{
    EK_TRY(put_string(h, item->name));
    put_text(h, item->integers ? ":{\"dtype\":\"I64\",\"shape\":[" : ":{\"dtype\":\"F32\",\"shape\":[");
    for (int d = 0; d < item->ndim; d++) {
        put_text(h, d ? "," : "");
        put_number(h, (uint64_t)item->dim[d]);
    }
    put_text(h, "],\"data_offsets\":[");
    put_number(h, begin);
    put_text(h, ",");
    put_number(h, begin + item_size(item));
    put_text(h, "]}");
    return EK_OK;
}

static ek_status put_metadata(header *h, const ek_safetensors_pair *metadata, size_t count)
{
    put_text(h, "\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        put_text(h, i ? "," : "");
        EK_TRY(put_string(h, metadata[i].key));
        put_text(h, ":");
        EK_TRY(put_string(h, metadata[i].value));
    }
    put_text(h, "}");
    return EK_OK;
}

/* One pass over the header. */
static ek_status put_header(header *h, const ek_safetensors_pair *metadata, size_t metadata_count,
                            const ek_safetensors_item *items, size_t item_count)
{
    uint64_t integer_at = 0, float_at = 0;
    for (size_t i = 0; i < item_count; i++)
        if (items[i].integers)
            float_at += item_size(&items[i]); /* floats begin behind the integers */
    h->size = 0;
    put_text(h, "{");
    if (metadata_count)
        EK_TRY(put_metadata(h, metadata, metadata_count));
    for (size_t i = 0; i < item_count; i++) {
        uint64_t *at = items[i].integers ? &integer_at : &float_at;
        put_text(h, i || metadata_count ? "," : "");
        EK_TRY(put_item(h, &items[i], *at));
        *at += item_size(&items[i]);
    }
    put_text(h, "}");
    size_t partial = (8 + h->size) % ALIGNMENT;
    for (size_t i = partial; partial && i < ALIGNMENT; i++)
        put_text(h, " ");
    return EK_OK;
}

/* Where bytes of the file go: into it, or into a checksum alone. */
typedef struct sink {
    ek_file_writer *writer; /* NULL: nowhere */
    uint32_t crc;
} sink;

static ek_status put_bytes(sink *to, const void *bytes, size_t size)
{
    if (to->writer)
        return ek_file_write(to->writer, bytes, size);
    to->crc = ek_crc32c(to->crc, bytes, size);
    return EK_OK;
}

/* The little-endian bytes of count values of `size` bytes (4 or 8), whatever this machine's order is. */
static ek_status put_values(sink *to, const void *values, int64_t count, size_t size)
{
    unsigned char chunk[8192];
    const unsigned char *source = values;
    for (int64_t done = 0; done < count;) {
        size_t filled = 0;
        for (; filled < sizeof chunk && done < count; done++, source += size) {
            uint64_t bits = 0;
            uint32_t word;
            if (size == sizeof word) {
                memcpy(&word, source, sizeof word);
                bits = word;
            } else {
                memcpy(&bits, source, sizeof bits);
            }
            for (size_t byte = 0; byte < size; byte++)
                chunk[filled++] = (unsigned char)(bits >> 8 * byte);
        }
        EK_TRY(put_bytes(to, chunk, filled));
    }
    return EK_OK;
}

static ek_status put_data(sink *to, const ek_safetensors_item *item)
{
    return item->integers ? put_values(to, item->integers, item->count, sizeof(int64_t))
                          : put_values(to, item->floats, item->count, sizeof(float));
}

static ek_status put_whole_header(sink *to, const header *h)
{
    const uint64_t size = h->size;
    EK_TRY(put_values(to, &size, 1, sizeof size));
    return put_bytes(to, h->text, h->size);
}

static ek_status write_all(ek_file_writer *writer, const header *h, const ek_safetensors_item *items,
                           size_t item_count)
{
    sink to = {.writer = writer};
    EK_TRY(put_whole_header(&to, h));
    for (size_t i = 0; i < item_count; i++)
        if (items[i].integers)
            EK_TRY(put_data(&to, &items[i]));
    for (size_t i = 0; i < item_count; i++)
        if (!items[i].integers)
            EK_TRY(put_data(&to, &items[i]));
    return EK_OK;
}

/* The header's text, the caller's to free. */
static ek_status make_header(header *h, const ek_safetensors_pair *metadata, size_t metadata_count,
                             const ek_safetensors_item *items, size_t item_count)
{
    *h = (header){0};
    EK_TRY(put_header(h, metadata, metadata_count, items, item_count));
    if (h->size > EK_SAFETENSORS_HEADER_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "names and notes of %zu bytes are too long for a safetensors file", h->size);
    h->text = ek_calloc(h->size, 1);
    return h->text ? put_header(h, metadata, metadata_count, items, item_count) : EK_ERR_MEMORY;
}

ek_status ek_safetensors_write(ek_file_writer *writer, const ek_safetensors_pair *metadata, size_t metadata_count,
                               const ek_safetensors_item *items, size_t item_count)
{
    header h;
    ek_status status = make_header(&h, metadata, metadata_count, items, item_count);
    if (!status)
        status = write_all(writer, &h, items, item_count);
    ek_free(h.text);
    return status;
}

ek_status ek_safetensors_checksums(const ek_safetensors_pair *metadata, size_t metadata_count,
                                   const ek_safetensors_item *items, size_t item_count, int64_t *sums)
{
    header h;
    sink to = {0};
    ek_status status = make_header(&h, metadata, metadata_count, items, item_count);
    if (!status)
        status = put_whole_header(&to, &h);
    ek_free(h.text);
    sums[0] = to.crc;
    for (size_t i = 0; i < item_count && !status; i++) {
        to.crc = 0;
        if (items[i].integers != sums)
            status = put_data(&to, &items[i]);
        sums[1 + i] = to.crc;
    }
    return status;
}
