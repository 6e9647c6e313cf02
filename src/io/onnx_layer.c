/* SPDX-License-Identifier: MIT */
#include "io/onnx_write.h"

#ifdef EK_HAVE_ONNX

#include "net/fold.h"

#include <math.h>
#include <string.h>

/* ---- Tensors ------------------------------------------------------------------------------------------------ */

static const char *tensor(ek_onnx_writer *w, int row)
{
    if (row < 0)
        return NULL;
    const ek_tensor *t = &w->net->tensors[row];
    return ek_graph_floats(&w->graph, t->name, t->ndim, t->dim, t->data);
}

/* A tensor that the net has not, of one value all over: "3.ones". */
static const char *constant(ek_onnx_writer *w, const ek_layer *l, const char *name, float value, int ndim,
                            const int64_t *dim)
{
    int64_t count = 1;
    for (int i = 0; i < ndim; i++)
        count *= dim[i];
    float *values = ek_graph_alloc(&w->graph, (size_t)count, sizeof *values);
    for (int64_t i = 0; values && i < count; i++)
        values[i] = value;
    return ek_graph_floats(&w->graph, ek_graph_text(&w->graph, "%s.%s", l->path, name), ndim, dim, values);
}

static const char *number(ek_onnx_writer *w, const ek_layer *l, const char *name, double value)
{
    return ek_graph_number(&w->graph, ek_graph_text(&w->graph, "%s.%s", l->path, name), (float)value);
}

/* ---- Nodes with nothing to them ----------------------------------------------------------------------------- */

static EkOnnx__NodeProto *node1(ek_onnx_writer *w, const char *type, const char *x)
{
    return ek_graph_node(&w->graph, type, 1, &x);
}

static const char *plain(ek_onnx_writer *w, const char *type, const char *x)
{
    return ek_graph_value(node1(w, type, x));
}

static const char *binary(ek_onnx_writer *w, const char *type, const char *a, const char *b)
{
    return ek_graph_value(ek_graph_node(&w->graph, type, 2, (const char *const[]){a, b}));
}

/* ---- Maps --------------------------------------------------------------------------------------------------- */

static void set_pair(ek_onnx_writer *w, EkOnnx__NodeProto *node, const char *name, const int pair[2])
{
    ek_graph_set_ints(&w->graph, node, name, 2, (const int64_t[]){pair[0], pair[1]});
}

/* Rows above, columns to the left, rows below, columns to the right. */
static void set_pads(ek_onnx_writer *w, EkOnnx__NodeProto *node, const int padding[2])
{
    ek_graph_set_ints(&w->graph, node, "pads", 4, (const int64_t[]){padding[0], padding[1], padding[0], padding[1]});
}

static const char *conv2d(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const char *weight = tensor(w, l->weight), *bias = tensor(w, l->bias);
    EkOnnx__NodeProto *node = ek_graph_node(&w->graph, "Conv", 3, (const char *const[]){x, weight, bias});
    set_pair(w, node, "dilations", l->o.conv.dilation);
    ek_graph_set_int(&w->graph, node, "group", l->o.conv.groups);
    set_pair(w, node, "kernel_shape", l->o.conv.kernel);
    set_pads(w, node, l->o.conv.padding);
    set_pair(w, node, "strides", l->o.conv.stride);
    return ek_graph_value(node);
}

static const char *linear(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const char *weight = tensor(w, l->weight), *bias = tensor(w, l->bias);
    EkOnnx__NodeProto *node = ek_graph_node(&w->graph, "Gemm", 3, (const char *const[]){x, weight, bias});
    ek_graph_set_float(&w->graph, node, "alpha", 1);
    ek_graph_set_float(&w->graph, node, "beta", 1);
    ek_graph_set_int(&w->graph, node, "transB", 1);
    return ek_graph_value(node);
}

static const char *pool2d(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const bool average = l->kind == EK_LAYER_AVGPOOL2D;
    EkOnnx__NodeProto *node = node1(w, average ? "AveragePool" : "MaxPool", x);
    ek_graph_set_int(&w->graph, node, "ceil_mode", 0);
    if (average)
        ek_graph_set_int(&w->graph, node, "count_include_pad", l->o.pool.count_padding);
    set_pair(w, node, "kernel_shape", l->o.pool.kernel);
    set_pads(w, node, l->o.pool.padding);
    set_pair(w, node, "strides", l->o.pool.stride);
    return ek_graph_value(node);
}

/* ---- Normalisations ----------------------------------------------------------------------------------------- */

/* Where this library takes 0 for 1/sqrt(0), others have infinity; and they multiply by one factor a channel and add one
 * number, which must be there as floats. */
static ek_status check_norm(const ek_onnx_writer *w, const ek_layer *l)
{
    const ek_tensor *var = &w->net->tensors[l->moving_var];
    for (int64_t c = 0; c < var->count; c++) {
        if (l->o.batchnorm.normalize != EK_NORMALIZE_MEAN && !(var->data[c] + l->o.batchnorm.eps > 0))
            return ek_fail(EK_ERR_NUMERIC,
                           "layer %s (batchnorm): channel %jd has no variance, and eps is 0: ONNX divides by 0 there",
                           l->path, (intmax_t)c);
        const ek_affine a = ek_fold_norm(w->net, l, c, (ek_affine){1, 0});
        if (!isfinite((float)a.scale) || !isfinite((float)a.shift))
            return ek_fail(EK_ERR_NUMERIC,
                           "layer %s (batchnorm): channel %jd is multiplied by %g, and %g is added: too much for a "
                           "float",
                           l->path, (intmax_t)c, a.scale, a.shift);
    }
    return EK_OK;
}

/* One that takes out the mean alone, or divides by the deviation alone, is one with the other's statistics as they are
 * where there is nothing to take out. */
static const char *batchnorm(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const int64_t channels[1] = {l->in.c};
    const ek_normalize normalize = l->o.batchnorm.normalize;
    if (!l->o.batchnorm.tracking) {
        if (!w->graph.status)
            w->graph.status =
                ek_fail(EK_ERR_UNSUPPORTED,
                        "layer %s (batchnorm): without moving statistics (tracking=no) a sample's output "
                        "depends on its batch, which an ONNX file for inference does not hold",
                        l->path);
        return NULL;
    }
    if (!w->graph.status)
        w->graph.status = check_norm(w, l);
    const char *gamma = tensor(w, l->weight), *beta = tensor(w, l->bias);
    const bool ones = !gamma || normalize == EK_NORMALIZE_MEAN, zeros = !beta || normalize == EK_NORMALIZE_DEVIATION;
    const char *one = ones ? constant(w, l, "ones", 1, 1, channels) : NULL;
    const char *zero = zeros ? constant(w, l, "zeros", 0, 1, channels) : NULL;
    const char *mean = normalize == EK_NORMALIZE_DEVIATION ? zero : tensor(w, l->moving_mean);
    const char *var = normalize == EK_NORMALIZE_MEAN ? one : tensor(w, l->moving_var);
    EkOnnx__NodeProto *node =
        ek_graph_node(&w->graph, "BatchNormalization", 5,
                      (const char *const[]){x, gamma ? gamma : one, beta ? beta : zero, mean, var});
    ek_graph_set_float(&w->graph, node, "epsilon", normalize == EK_NORMALIZE_MEAN ? 0 : l->o.batchnorm.eps);
    if (l->o.batchnorm.momentum >= 0) /* ONNX has the old value's weight, and no word for cumulative */
        ek_graph_set_float(&w->graph, node, "momentum", (float)(1 - (double)l->o.batchnorm.momentum));
    return ek_graph_value(node);
}

/* A mean over all of a sample. */
static const char *sample_mean(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const int64_t axes[3] = {1, 2, 3};
    EkOnnx__NodeProto *node = node1(w, "ReduceMean", x);
    ek_graph_set_ints(&w->graph, node, "axes", l->in.flat ? 1 : 3, axes);
    ek_graph_set_int(&w->graph, node, "keepdims", 1);
    return ek_graph_value(node);
}

/* In the words of opsets before 17, as PyTorch writes it there. */
static const char *layernorm_in_parts(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const char *centred = binary(w, "Sub", x, sample_mean(w, l, x));
    const char *squared = binary(w, "Pow", centred, number(w, l, "two", 2));
    const char *variance =
        binary(w, "Add", sample_mean(w, l, squared), number(w, l, "eps", (double)l->o.layernorm.eps));
    const char *y = binary(w, "Div", centred, plain(w, "Sqrt", variance));
    if (!l->o.layernorm.affine)
        return y;
    return binary(w, "Add", binary(w, "Mul", y, tensor(w, l->weight)), tensor(w, l->bias));
}

static const char *layernorm(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const int64_t dim[3] = {l->in.c, l->in.h, l->in.w};
    if (w->opset < 17)
        return layernorm_in_parts(w, l, x);
    const char *gamma =
        l->o.layernorm.affine ? tensor(w, l->weight) : constant(w, l, "ones", 1, l->in.flat ? 1 : 3, dim);
    EkOnnx__NodeProto *node =
        ek_graph_node(&w->graph, "LayerNormalization", 3, (const char *const[]){x, gamma, tensor(w, l->bias)});
    ek_graph_set_int(&w->graph, node, "axis", 1);
    ek_graph_set_float(&w->graph, node, "epsilon", l->o.layernorm.eps);
    return ek_graph_value(node);
}

/* ---- Activations -------------------------------------------------------------------------------------------- */

static const char *leaky_relu(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    EkOnnx__NodeProto *node = node1(w, "LeakyRelu", x);
    ek_graph_set_float(&w->graph, node, "alpha", l->o.leaky_relu.negative_slope);
    return ek_graph_value(node);
}

/* x*(1 + erf(x/sqrt(2)))*0.5, and 0.5*(x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3)))): PyTorch's nodes for it. */
static const char *gelu_in_parts(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    const char *half = number(w, l, "half", 0.5), *one = number(w, l, "one", 1);
    if (!l->o.gelu.by_tanh) {
        const char *erf = plain(w, "Erf", binary(w, "Div", x, number(w, l, "sqrt_2", 1.4142135623730951)));
        return binary(w, "Mul", binary(w, "Mul", x, binary(w, "Add", erf, one)), half);
    }
    const char *cube = binary(w, "Mul", x, binary(w, "Mul", x, x));
    const char *sum = binary(w, "Add", x, binary(w, "Mul", number(w, l, "kappa", 0.044715), cube));
    const char *tanh = plain(w, "Tanh", binary(w, "Mul", number(w, l, "sqrt_2_pi", 0.7978845608028654), sum));
    return binary(w, "Mul", half, binary(w, "Mul", x, binary(w, "Add", one, tanh)));
}

static const char *gelu(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    if (w->opset < 20)
        return gelu_in_parts(w, l, x);
    EkOnnx__NodeProto *node = node1(w, "Gelu", x);
    ek_graph_set_string(&w->graph, node, "approximate", l->o.gelu.by_tanh ? "tanh" : "none");
    return ek_graph_value(node);
}

static const char *flatten(ek_onnx_writer *w, const ek_layer *l, const char *x)
{
    if (l->in.flat)
        return x;
    EkOnnx__NodeProto *node = node1(w, "Flatten", x);
    ek_graph_set_int(&w->graph, node, "axis", 1);
    return ek_graph_value(node);
}

/* ---- All of them -------------------------------------------------------------------------------------------- */

const char *ek_onnx_layer(ek_onnx_writer *w, int index, const char *x)
{
    const ek_layer *l = &w->net->layers[index];
    switch (l->kind) {
    case EK_LAYER_CONV2D:
        return conv2d(w, l, x);
    case EK_LAYER_LINEAR:
        return linear(w, l, x);
    case EK_LAYER_BATCHNORM:
        return batchnorm(w, l, x);
    case EK_LAYER_LAYERNORM:
        return layernorm(w, l, x);
    case EK_LAYER_RELU:
        return plain(w, "Relu", x);
    case EK_LAYER_LEAKY_RELU:
        return leaky_relu(w, l, x);
    case EK_LAYER_SIGMOID:
        return plain(w, "Sigmoid", x);
    case EK_LAYER_TANH:
        return plain(w, "Tanh", x);
    case EK_LAYER_GELU:
        return gelu(w, l, x);
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
        return pool2d(w, l, x);
    case EK_LAYER_GLOBALAVGPOOL:
        return plain(w, "GlobalAveragePool", x);
    case EK_LAYER_FLATTEN:
        return flatten(w, l, x);
    case EK_LAYER_DROPOUT:
    case EK_LAYER_RESIDUAL: /* blocks are onnx_write.c's */
    case EK_LAYER_CONCAT:
        break;
    }
    return x; /* nothing, in inference */
}

#endif
