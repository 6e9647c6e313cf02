/* SPDX-License-Identifier: MIT */
#include "io/onnx_write.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "io/model.h"
#include "net/normalize.h"
#include "net/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names -------------------------------------------------------------------------------------------------- */

/* "/3/body/0" of "3.body.0": PyTorch's exporter names nodes by the way through the modules. */
static void enter_layer(ek_onnx_writer *w, const ek_layer *l)
{
    char scope[EK_PATH_SIZE + 1];
    snprintf(scope, sizeof scope, "/%s", l->path);
    for (char *at = scope; *at; at++)
        if (*at == '.')
            *at = '/';
    ek_graph_scope(&w->graph, ek_graph_text(&w->graph, "%s", scope));
}

/* ---- Blocks ------------------------------------------------------------------------------------------------- */

/* What part `part` of block `block` gives, whose layers are written: its last layer's value, or the block's input. */
static const char *value_of_part(const ek_onnx_writer *w, int block, int part, const char *input)
{
    const ek_layer *layers = w->net->layers;
    const char *value = input;
    for (int i = block + 1; i < layers[block].end; i = layers[i].end)
        if (layers[i].part == part)
            value = w->values[i];
    return value;
}

/* Every stride-th row and column, then zeros behind the channels: F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, 0, more)). */
static const char *padded_shortcut(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    ek_graph *g = &w->graph;
    const int64_t stride = l->o.residual.stride, more = l->out.c - l->in.c;
    if (stride > 1) {
        const char *starts = ek_graph_integers(g, ek_graph_text(g, "%s.starts", l->path), 2, (const int64_t[]){0, 0});
        const char *ends =
            ek_graph_integers(g, ek_graph_text(g, "%s.ends", l->path), 2, (const int64_t[]){l->in.h, l->in.w});
        const char *axes = ek_graph_integers(g, ek_graph_text(g, "%s.axes", l->path), 2, (const int64_t[]){2, 3});
        const char *steps =
            ek_graph_integers(g, ek_graph_text(g, "%s.steps", l->path), 2, (const int64_t[]){stride, stride});
        x = ek_graph_value(ek_graph_node(g, "Slice", 5, (const char *const[]){x, starts, ends, axes, steps}));
    }
    if (more > 0) {
        const char *pads = ek_graph_integers(g, ek_graph_text(g, "%s.pads", l->path), 8,
                                             (const int64_t[]){0, 0, 0, 0, 0, more, 0, 0});
        x = ek_graph_value(ek_graph_node(g, "Pad", 2, (const char *const[]){x, pads}));
    }
    return x;
}

static const char *write_join(ek_onnx_writer *w, int block, const char *input)
{
    const ek_layer *l = &w->net->layers[block];
    ek_graph *g = &w->graph;
    enter_layer(w, l);
    if (l->kind == EK_LAYER_RESIDUAL) {
        const char *body = value_of_part(w, block, 0, input);
        const char *shortcut = l->o.residual.pad ? padded_shortcut(w, l, input) : value_of_part(w, block, 1, input);
        return ek_graph_value(ek_graph_node(g, "Add", 2, (const char *const[]){body, shortcut}));
    }
    if (l->parts == 1)
        return value_of_part(w, block, 0, input);
    const char **branches = ek_graph_alloc(g, (size_t)l->parts, sizeof *branches);
    for (int part = 0; branches && part < l->parts; part++)
        branches[part] = input;
    for (int i = block + 1; branches && i < l->end; i = w->net->layers[i].end)
        branches[w->net->layers[i].part] = w->values[i];
    EkOnnx__NodeProto *node = branches ? ek_graph_node(g, "Concat", l->parts, branches) : NULL;
    ek_graph_set_int(g, node, "axis", 1);
    return ek_graph_value(node);
}

/* Layers begin to end - 1; recursion ends at EK_DEPTH_MAX. `input` is what the net's first layer reads. */
static void write_layers(ek_onnx_writer *w, int begin, int end, const char *input)
{
    for (int i = begin; i < end && !w->graph.status; i = w->net->layers[i].end) {
        const ek_layer *l = &w->net->layers[i];
        const char *from = l->from < 0 ? input : w->values[l->from];
        if (ek_is_block(l->kind)) {
            write_layers(w, i + 1, l->end, input);
            w->values[i] = write_join(w, i, from);
        } else {
            enter_layer(w, l);
            w->values[i] = ek_onnx_layer(w, i, from);
        }
    }
}

/* ---- The ends ----------------------------------------------------------------------------------------------- */

/* The net's normalisation of its input, (x - mean)/std by channels. */
static const char *write_normalization(ek_onnx_writer *w, const char *x)
{
    ek_graph *g = &w->graph;
    const int channels = w->net->input.c;
    const int64_t dim[3] = {channels, 1, 1};
    float *mean = ek_graph_alloc(g, (size_t)channels, sizeof *mean),
          *std = ek_graph_alloc(g, (size_t)channels, sizeof *std);
    bool normalized = false;
    if (!g->status)
        g->status = ek_net_normalization(w->net, &normalized, mean, std);
    if (g->status || !normalized)
        return x;
    const char *centred = ek_graph_value(
        ek_graph_node(g, "Sub", 2, (const char *const[]){x, ek_graph_floats(g, "input.mean", 3, dim, mean)}));
    return ek_graph_value(
        ek_graph_node(g, "Div", 2, (const char *const[]){centred, ek_graph_floats(g, "input.std", 3, dim, std)}));
}

/* The node that gives `value` gives the graph's output instead. No other reads it: it stands at the end. */
static void name_output(ek_onnx_writer *w, const char *value, const char *name)
{
    ek_graph *g = &w->graph;
    for (size_t i = g->nodes.count; i-- > 0 && !g->status;) {
        EkOnnx__NodeProto *node = g->nodes.items[i];
        if (!strcmp(node->output[0], value)) {
            node->output[0] = (char *)name;
            return;
        }
    }
    if (!g->status)
        g->status = ek_fail(EK_ERR_UNSUPPORTED, "the net hands on its input as it is: there is no graph to write");
}

static EkOnnx__ValueInfoProto *type_of(ek_onnx_writer *w, const char *name, int batch, ek_dims dims)
{
    return ek_graph_tensor_type(&w->graph, name, batch, dims.flat ? 1 : 3, (const int64_t[]){dims.c, dims.h, dims.w});
}

/* ---- Properties --------------------------------------------------------------------------------------------- */

/* Numbers of a tensor that no node reads, as text. */
static const char *floats_text(ek_graph *g, const ek_tensor *t)
{
    char number[EK_FLOAT_TEXT];
    char *text = ek_graph_alloc(g, (size_t)t->count, EK_FLOAT_TEXT);
    size_t length = 0;
    for (int64_t i = 0; text && i < t->count; i++)
        length += (size_t)sprintf(text + length, "%s%s", i ? " " : "", ek_float_text(t->data[i], number));
    return text;
}

static void write_unread(ek_onnx_writer *w)
{
    ek_graph *g = &w->graph;
    for (int i = 0; i < w->net->tensor_count && !g->status; i++) {
        const ek_tensor *t = &w->net->tensors[i];
        const ek_layer *l = &w->net->layers[t->layer];
        const ek_normalize normalize = l->kind == EK_LAYER_BATCHNORM ? l->o.batchnorm.normalize : EK_NORMALIZE_BOTH;
        if (t->counter)
            ek_graph_property(g, ek_graph_text(g, EK_ONNX_KEY_COUNTER "%s", t->name),
                              ek_graph_text(g, "%jd", (intmax_t)*t->counter));
        else if ((t->role == EK_ROLE_MOVING_MEAN && normalize == EK_NORMALIZE_DEVIATION) ||
                 (t->role == EK_ROLE_MOVING_VAR && normalize == EK_NORMALIZE_MEAN))
            ek_graph_property(g, ek_graph_text(g, EK_ONNX_KEY_TENSOR "%s", t->name), floats_text(g, t));
    }
}

/* As in model files: the text, the notes. */
static void write_properties(ek_onnx_writer *w)
{
    ek_graph *g = &w->graph;
    char *text = ek_net_text(w->net);
    if (!text) {
        g->status = EK_ERR_MEMORY;
        return;
    }
    ek_graph_property(g, EK_MODEL_KEY_VERSION, ek_graph_text(g, "%d", EK_MODEL_VERSION));
    ek_graph_property(g, EK_MODEL_KEY_NET, ek_graph_text(g, "%s", text));
    free(text);
    for (int i = 0; i < w->net->note_count; i++)
        ek_graph_property(g, ek_graph_text(g, EK_MODEL_KEY_NOTE "%s", w->net->notes[i].key), w->net->notes[i].value);
    write_unread(w);
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static EkOnnx__ModelProto *write_model(ek_onnx_writer *w, int batch)
{
    static const char doc[] =
        "input: images as float32, pixels from 0 to 1 (bytes divided by 255); normalisation, where the net has one, is "
        "part of the graph. output: logits.";
    const ek_net *net = w->net;
    ek_graph *g = &w->graph;
    w->values = ek_graph_alloc(g, (size_t)net->layer_count, sizeof *w->values);
    if (!w->values)
        return NULL;
    const char *input = write_normalization(w, "input");
    write_layers(w, 0, net->layer_count, input);
    name_output(w, w->values[net->tail], "output");
    write_properties(w);
    return ek_graph_model(g, w->opset, type_of(w, "input", batch, net->input),
                          type_of(w, "output", batch, ek_net_output(net)), doc);
}

ek_status ek_onnx_bytes(const ek_net *net, int opset, int batch, unsigned char **bytes, size_t *size)
{
    ek_onnx_writer w = {.graph = {.scope = ""}, .net = net, .opset = opset};
    *bytes = NULL;
    EK_TRY(ek_check_values(net));
    const EkOnnx__ModelProto *model = write_model(&w, batch);
    ek_status status = w.graph.status;
    if (!status)
        status = ek_onnx_pack(model, bytes, size);
    ek_graph_free(&w.graph);
    return status;
}

#endif
