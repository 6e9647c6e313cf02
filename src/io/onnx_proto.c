/* SPDX-License-Identifier: MIT */
#include "io/onnx_proto.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* `data` is a bool that remembers a failure: protobuf-c's NULL does not say whether memory or sense was missing. */
static void *on_alloc(void *data, size_t size)
{
    void *memory = ek_calloc(size, 1);
    if (!memory)
        *(bool *)data = true;
    return memory;
}

static void on_free(void *data, void *memory)
{
    (void)data;
    ek_free(memory);
}

/* ---- How deep messages stand in each other ------------------------------------------------------------------ */

/* protobuf-c calls itself once a level, and six bytes of a file make one: the stack would end before the file does. And
 * where a message has a part twice that it can have once, protobuf-c merges the two by copying what both hold, so that
 * a file of them takes the square of its length. So the levels are walked first, along the tags alone, without
 * recursion. Whatever else is wrong is left to protobuf-c. */
/* And an empty message of two bytes becomes a struct of some hundred: files of little else are refused too. */
enum {
    FIELD_MEMORY = 48,   /* of a field, while its message is read */
    FEW_BYTES = 1 << 24, /* that any file may take */
    TIMES_BYTES = 32     /* and that a large one may, for each of its bytes; usual graphs take some 10 */
};

typedef struct level {
    const ProtobufCMessageDescriptor *type;
    size_t end;
    uint64_t seen; /* messages in it, by the number of their field, of those that it can have once */
} level;

typedef struct walk {
    const unsigned char *bytes;
    size_t at;
    size_t memory; /* that protobuf-c will take beside the bytes themselves, at most */
    int depth;
    level levels[EK_ONNX_DEPTH_MAX];
} walk;

/* A varint before `end`; false where there is none. */
static bool read_varint(walk *w, size_t end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < end; shift += 7) {
        const unsigned char byte = w->bytes[w->at++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Passes a field, or enters it where it is a message. False where the bytes are none, or go deeper than they may. */
static bool pass_field(walk *w, level *here)
{
    uint64_t tag, size = 0;
    if (!read_varint(w, here->end, &tag))
        return false;
    switch (tag & 7) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(w, here->end, &size);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        size = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        size = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!read_varint(w, here->end, &size))
            return false;
        break;
    default:
        return false;
    }
    if (size > here->end - w->at || tag >> 3 > UINT32_MAX)
        return false;
    w->memory += FIELD_MEMORY;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(here->type, (unsigned)(tag >> 3));
    if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE || (tag & 7) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        w->at += (size_t)size;
        return true;
    }
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        const uint64_t bit = UINT64_C(1) << (field->id & 63); /* numbers go up to 25 */
        if (here->seen & bit)
            return false;
        here->seen |= bit;
    }
    if (w->depth == EK_ONNX_DEPTH_MAX)
        return false;
    w->memory += ((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message;
    w->levels[w->depth++] = (level){.type = field->descriptor, .end = w->at + (size_t)size};
    return true;
}

/* Whether the bytes may be handed to protobuf-c. */
static bool is_sane(const unsigned char *bytes, size_t size)
{
    walk w = {.bytes = bytes, .depth = 1, .levels = {{.type = &ek_onnx__model_proto__descriptor, .end = size}}};
    while (w.depth > 0) {
        level *here = &w.levels[w.depth - 1];
        if (w.at == here->end)
            w.depth--;
        else if (!pass_field(&w, here))
            return false;
    }
    return w.memory <= FEW_BYTES + TIMES_BYTES * size;
}

/* ---- Reading ------------------------------------------------------------------------------------------------ */

ek_status ek_onnx_unpack(const unsigned char *bytes, size_t size, const char *name, EkOnnx__ModelProto **model)
{
    bool no_memory = false;
    ProtobufCAllocator allocator = {on_alloc, on_free, &no_memory};
    *model = size <= EK_ONNX_BYTES_MAX && is_sane(bytes, size) ? ek_onnx__model_proto__unpack(&allocator, size, bytes)
                                                               : NULL;
    if (*model)
        return EK_OK;
    return no_memory ? EK_ERR_MEMORY : ek_fail(EK_ERR_FORMAT, "%s: not an ONNX model, or a damaged one", name);
}

void ek_onnx_free(EkOnnx__ModelProto *model)
{
    ProtobufCAllocator allocator = {on_alloc, on_free, NULL};
    if (model)
        ek_onnx__model_proto__free_unpacked(model, &allocator);
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

ek_status ek_onnx_pack(const EkOnnx__ModelProto *model, unsigned char **bytes, size_t *size)
{
    *bytes = NULL;
    *size = ek_onnx__model_proto__get_packed_size(model);
    if (*size > EK_ONNX_BYTES_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "it takes %zu bytes as ONNX, and a file holds at most %d", *size,
                       EK_ONNX_BYTES_MAX);
    *bytes = ek_calloc(*size, 1);
    if (!*bytes)
        return EK_ERR_MEMORY;
    ek_onnx__model_proto__pack(model, *bytes);
    return EK_OK;
}

#endif
