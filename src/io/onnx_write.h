/* SPDX-License-Identifier: MIT
 * Writing nets as ONNX models:
 *   onnx_write.c    the net: its layers in order, blocks, input and output, properties
 *   onnx_layer.c    a layer as nodes
 *   onnx_graph.c    the messages that hold them
 * docs/onnx.md says which nodes a layer becomes. */
#ifndef EK_IO_ONNX_WRITE_H
#define EK_IO_ONNX_WRITE_H

#include "io/onnx_graph.h"
#include "net/net.h"

enum { EK_ONNX_OPSET = 17, EK_ONNX_OPSET_MIN = 11, EK_ONNX_OPSET_MAX = 22 };

/* Keys of properties beside those of model files (io/model.h): numbers that no node reads. A tensor's name follows. */
#define EK_ONNX_KEY_COUNTER "evenkeel.counter." /* of batches: a decimal */
#define EK_ONNX_KEY_TENSOR "evenkeel.tensor."   /* float32: decimals with blanks between */

#ifdef EK_HAVE_ONNX

/* A net in the making as a graph. */
typedef struct ek_onnx_writer {
    ek_graph graph;
    const ek_net *net;
    int opset;
    const char **values; /* of layers: the name of what each gives */
} ek_onnx_writer;

/* The nodes of layer `index`, which is no block, on value `input`; returns the name of what it gives. NULL after a
 * failure, which the graph's status tells. */
const char *ek_onnx_layer(ek_onnx_writer *w, int index, const char *input);

/* The net, whose table of tensors exists, as the bytes of an ONNX file, for ek_free. batch: 0 for any. EK_ERR_NUMERIC
 * for values that are not finite and for a batch norm that divides by 0 or multiplies by more than a float,
 * EK_ERR_UNSUPPORTED for one that normalises with its batch's own statistics and for a file beyond
 * EK_ONNX_BYTES_MAX. */
ek_status ek_onnx_bytes(const ek_net *net, int opset, int batch, unsigned char **bytes, size_t *size);

#endif
#endif
