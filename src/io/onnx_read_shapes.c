/* SPDX-License-Identifier: MIT
 * Nodes that shape, cut, pad and join data, or compute with several of them element by element. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "net/kind.h"

#include <string.h>

/* ---- Shapes --------------------------------------------------------------------------------------------------- */

static ek_status bind_same(onnx_reader *r)
{
    int from;
    EK_TRY(ek_onnx_data(r, 0, &from));
    return ek_onnx_bind(r, from);
}

static ek_status read_cast(onnx_reader *r)
{
    int64_t to;
    EK_TRY(ek_onnx_int(r, "to", 0, &to));
    if (to != EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && to != EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 &&
        to != EK_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE && to != EK_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it casts data to type %jd; floating-point types are read",
                            (intmax_t)to);
    return bind_same(r);
}

static ek_status read_flatten(onnx_reader *r)
{
    int from;
    int64_t axis;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "axis", 1, &axis));
    EK_TRY(ek_onnx_whole_sample(r, from, axis));
    return ek_onnx_add_plain(r, EK_LAYER_FLATTEN, from);
}

/* Whether `extent` is the batch, as the shape of a reshaped sample of `count` values says it. */
static bool is_batch(const onnx_reader *r, int64_t extent, bool zero_copies)
{
    return (extent == 0 && zero_copies) || extent == r->batch || extent == -1;
}

static ek_status read_reshape(onnx_reader *r)
{
    int from, ndim, open = 0;
    int64_t dim[2 * ONNX_NDIM], known = 1, allow_zero;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "allowzero", 0, &allow_zero));
    EK_TRY(ek_onnx_list(r, "shape", 5, 1, dim, &ndim));
    const ek_dims in = r->ops[from].out;
    const int64_t count = ek_dims_count(in), old[4] = {r->batch, in.c, in.h, in.w};
    for (int d = 0; d < ndim; d++)
        open += dim[d] == -1;
    if (ndim < 2 || open > 1 || !is_batch(r, dim[0], !allow_zero))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it moves values from one sample to another, or gives the batch a "
                            "size; [N, -1] and the like are read");
    for (int d = 1; d < ndim; d++) {
        if (dim[d] == 0 && !allow_zero)
            dim[d] = d < (in.flat ? 2 : 4) ? old[d] : -2;
        if (dim[d] != -1 && (dim[d] < 1 || dim[d] > EK_SAMPLE_MAX || (known *= dim[d]) > EK_SAMPLE_MAX))
            return ek_onnx_fail(r, EK_ERR_SHAPE, "extent %d of its shape is %jd", d, (intmax_t)dim[d]);
    }
    for (int d = 1; d < ndim && open && dim[0] != -1; d++)
        if (dim[d] == -1) {
            dim[d] = count / known;
            known *= dim[d];
        }
    if (known != count)
        return ek_onnx_fail(r, EK_ERR_SHAPE, "it makes samples of %jd values out of samples of %jd", (intmax_t)known,
                            (intmax_t)count);
    if (ndim == 2)
        return in.flat ? ek_onnx_bind(r, from) : ek_onnx_add_plain(r, EK_LAYER_FLATTEN, from);
    if (ndim == 4 && !in.flat && dim[1] == in.c && dim[2] == in.h && dim[3] == in.w)
        return ek_onnx_bind(r, from);
    if (ndim != 4)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it makes values of %d dimensions; images and features are read",
                            ndim);
    if (r->ops[from].kind == ONNX_INPUT && dim[1] <= EK_EXTENT_MAX && dim[2] <= EK_EXTENT_MAX &&
        dim[3] <= EK_EXTENT_MAX)
        return ek_onnx_view_input(r, from, (ek_dims){.c = (int)dim[1], .h = (int)dim[2], .w = (int)dim[3]});
    const onnx_op op = {.kind = ONNX_VIEW, .out = {.c = (int)dim[1], .h = (int)dim[2], .w = (int)dim[3]}};
    return ek_onnx_add_other(r, op, 1, &from);
}

/* Rows and columns of one cell go, or come back. */
static ek_status read_squeeze(onnx_reader *r, bool squeeze)
{
    int from, count;
    int64_t axes[2 * ONNX_NDIM];
    unsigned mask = 0;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_list(r, "axes", 13, 1, axes, &count));
    const ek_dims in = r->ops[from].out;
    for (int i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
        mask |= axis >= 0 && axis < 4 ? 1U << axis : 16;
    }
    if (squeeze && !in.flat && in.h == 1 && in.w == 1 && mask == 12)
        return ek_onnx_add_plain(r, EK_LAYER_FLATTEN, from);
    if (!squeeze && in.flat && mask == 12 && in.c <= EK_EXTENT_MAX)
        return ek_onnx_add_other(r, (onnx_op){.kind = ONNX_VIEW, .out = {.c = in.c, .h = 1, .w = 1}}, 1, &from);
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                        "it makes values of other dimensions than images and features; axes 2 "
                        "and 3 of a row and column of one are read");
}

static ek_status read_transpose(onnx_reader *r)
{
    int from;
    int64_t perm[4];
    EK_TRY(ek_onnx_data(r, 0, &from));
    const ek_dims in = r->ops[from].out;
    EK_TRY(ek_onnx_ints(r, "perm", in.flat ? 2 : 4, -1, perm));
    const int64_t old[4] = {0, in.c, in.h, in.w};
    bool moved = false, valid = true;
    for (int d = 0, at = 0; d < (in.flat ? 2 : 4); d++) { /* dimensions of one extent may stand anywhere */
        valid = valid && perm[d] >= (d > 0) && perm[d] <= (d == 0 ? 0 : in.flat ? 1 : 3);
        if (valid && d > 0 && old[perm[d]] > 1) {
            moved = moved || perm[d] < at;
            at = (int)perm[d];
        }
    }
    if (!valid)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its perm moves the batch, or is none");
    const ek_dims out = {.c = (int)old[perm[1]],
                         .h = in.flat ? 1 : (int)old[perm[2]],
                         .w = in.flat ? 1 : (int)old[perm[3]],
                         .flat = in.flat};
    if (!in.flat && (perm[1] + perm[2] + perm[3] != 6 || perm[1] == perm[2] || perm[2] == perm[3]))
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its perm is no permutation");
    if (!in.flat && perm[1] == 3 && perm[2] == 1 && r->ops[from].kind == ONNX_INPUT)
        return ek_onnx_view_input(r, from, out);
    if (moved)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it transposes images; that of an input with channels last, and of "
                            "dimensions of 1, is read");
    if (in.flat || (out.c == in.c && out.h == in.h && out.w == in.w))
        return ek_onnx_bind(r, from);
    return ek_onnx_add_other(r, (onnx_op){.kind = ONNX_VIEW, .out = out}, 1, &from);
}

/* ---- Reductions, borders -------------------------------------------------------------------------------------- */

static ek_status read_mean(onnx_reader *r)
{
    int from, count;
    int64_t axes[2 * ONNX_NDIM], keep;
    unsigned mask = 0;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_list(r, "axes", 18, 1, axes, &count));
    EK_TRY(ek_onnx_int(r, "keepdims", 1, &keep));
    const ek_dims in = r->ops[from].out;
    const int ndim = in.flat ? 2 : 4;
    for (int i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + ndim : axes[i];
        mask |= axis >= 0 && axis < ndim ? 1U << axis : 16;
    }
    if (!in.flat && mask == 12) {
        EK_TRY(ek_onnx_add_plain(r, EK_LAYER_GLOBALAVGPOOL, from));
        return keep ? EK_OK : ek_onnx_add_plain(r, EK_LAYER_FLATTEN, r->op_count - 1);
    }
    if (mask == (in.flat ? 2U : 14U) && keep)
        return ek_onnx_add_other(r, (onnx_op){.kind = ONNX_MEAN, .out = in}, 1, &from);
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                        "its axes are neither those of rows and columns (2 and 3) nor a whole "
                        "sample's");
}

static ek_status read_pad(onnx_reader *r)
{
    static const char *const words[] = {"constant", NULL};
    int from, count, mode, axis_count;
    int64_t pads[2 * ONNX_NDIM], axes[2 * ONNX_NDIM], all[8] = {0};
    double number = 0;
    const ek_onnx_array *value = NULL;
    EK_TRY(ek_onnx_image(r, 0, &from));
    EK_TRY(ek_onnx_word(r, "mode", words, &mode));
    EK_TRY(ek_onnx_list(r, "pads", 11, 1, pads, &count));
    EK_TRY(ek_onnx_list(r, "axes", 11, 3, axes, &axis_count));
    if (r->opset < 11)
        EK_TRY(ek_onnx_float(r, "value", 0, &number));
    else
        EK_TRY(ek_onnx_constant(r, 2, &value));
    if (value && value->count == 1)
        number = ek_onnx_number(value, 0);
    const int half = axis_count < 0 ? 4 : axis_count;
    if (count != 2 * half || number != 0)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it pads with %g, or not 4 dimensions; zeros around images are read", number);
    for (int i = 0; i < half; i++) {
        const int64_t axis = axis_count < 0 ? i : axes[i] < 0 ? axes[i] + 4 : axes[i];
        if (axis < 0 || axis > 3)
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its axis %jd is none of an image", (intmax_t)axes[i]);
        all[axis] = pads[i];
        all[4 + axis] = pads[half + i];
    }
    onnx_op op = {.kind = ONNX_PAD};
    const int64_t old[4] = {0, r->ops[from].out.c, r->ops[from].out.h, r->ops[from].out.w};
    int64_t extent[4] = {0};
    for (int d = 0; d < 4; d++) {
        if (all[d] < 0 || all[4 + d] < 0 || all[d] > EK_EXTENT_MAX || all[4 + d] > EK_EXTENT_MAX ||
            (d == 0 && (all[0] || all[4])))
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it pads dimension %d by %jd and %jd", d, (intmax_t)all[d],
                                (intmax_t)all[4 + d]);
        extent[d] = old[d] + all[d] + all[4 + d];
    }
    for (int d = 0; d < 3; d++) {
        op.pads[d] = all[d + 1];
        op.pads[3 + d] = all[d + 5];
    }
    if (extent[1] > EK_EXTENT_MAX || extent[2] > EK_EXTENT_MAX || extent[3] > EK_EXTENT_MAX ||
        extent[1] * extent[2] > EK_SAMPLE_MAX / extent[3])
        return ek_onnx_fail(r, EK_ERR_SHAPE, "its output of %jdx%jdx%jd is too large", (intmax_t)extent[1],
                            (intmax_t)extent[2], (intmax_t)extent[3]);
    op.out = (ek_dims){.c = (int)extent[1], .h = (int)extent[2], .w = (int)extent[3]};
    return ek_onnx_add_other(r, op, 1, &from);
}

/* Every other row and column. */
static ek_status read_slice(onnx_reader *r)
{
    int from;
    onnx_slice s[ONNX_NDIM];
    EK_TRY(ek_onnx_data(r, 0, &from));
    const ek_dims in = r->ops[from].out;
    const int64_t dim[4] = {EK_TENSOR_MAX, in.c, in.h, in.w};
    EK_TRY(ek_onnx_slice(r, in.flat ? 2 : 4, dim, s));
    for (int d = 0; d < (in.flat ? 2 : 4); d++)
        if (s[d].first != 0 || s[d].step < 1 || (d < 2 && s[d].count != dim[d]) ||
            s[d].count != (dim[d] + s[d].step - 1) / s[d].step)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it takes a part of its input; x[:, :, ::S, ::S] is read");
    if (in.flat)
        return ek_onnx_bind(r, from);
    const onnx_op op = {.kind = ONNX_STRIDE,
                        .out = {.c = in.c, .h = (int)s[2].count, .w = (int)s[3].count},
                        .pads = {s[2].step, s[3].step}};
    return ek_onnx_add_other(r, op, 1, &from);
}

/* ---- Several inputs ------------------------------------------------------------------------------------------- */

static bool same_dims(ek_dims a, ek_dims b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w && a.flat == b.flat;
}

static ek_status read_concat(onnx_reader *r)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    int64_t axis, channels = 0;
    int index;
    EK_TRY(ek_onnx_int(r, "axis", INT64_MAX, &axis));
    int *reads = ek_calloc(node->n_input, sizeof *reads);
    if (!reads)
        return EK_ERR_MEMORY;
    ek_status status = node->n_input ? EK_OK : ek_onnx_fail(r, EK_ERR_FORMAT, "it joins nothing");
    for (size_t i = 0; !status && i < node->n_input; i++) {
        status = ek_onnx_data(r, i, &reads[i]);
        if (status)
            break;
        const ek_dims first = r->ops[reads[0]].out, this = r->ops[reads[i]].out;
        channels += this.c;
        if (this.flat != first.flat || this.h != first.h || this.w != first.w || channels > EK_SAMPLE_MAX ||
            (axis != 1 && axis != (first.flat ? -1 : -3)))
            status = ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                  "its inputs differ in more than channels, or it joins them "
                                  "along another axis than 1");
    }
    if (!status) {
        onnx_op op = {.kind = ONNX_CONCAT, .out = r->ops[reads[0]].out};
        op.out.c = (int)channels;
        status = ek_onnx_add(r, op, (int)node->n_input, reads, &index);
    }
    ek_free(reads);
    return status ? status : ek_onnx_bind(r, index);
}

static ek_status add_binary(onnx_reader *r, onnx_function function, int a, int b)
{
    const bool means = r->ops[a].kind == ONNX_MEAN || r->ops[b].kind == ONNX_MEAN;
    const int reads[2] = {a, b};
    onnx_op op = {.kind = function == ONNX_F_ADD && !means ? ONNX_ADD : ONNX_BINARY, .function = function};
    if (!same_dims(r->ops[a].out, r->ops[b].out)) {
        char first[40], second[40];
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its inputs are %s and %s; equal shapes are read",
                            ek_dims_text(r->ops[a].out, first), ek_dims_text(r->ops[b].out, second));
    }
    op.out = r->ops[a].out;
    return ek_onnx_add_other(r, op, 2, reads);
}

static ek_status read_sum(onnx_reader *r)
{
    int sum, next;
    EK_TRY(ek_onnx_data(r, 0, &sum));
    for (size_t i = 1; i < ek_onnx_node(r)->n_input; i++) {
        EK_TRY(ek_onnx_data(r, i, &next));
        EK_TRY(add_binary(r, ONNX_F_ADD, sum, next));
        sum = r->op_count - 1;
    }
    return ek_onnx_bind(r, sum);
}

static ek_status read_function(onnx_reader *r, onnx_function function, int inputs)
{
    int a = -1, b = -1;
    char shape[ONNX_SHAPE_TEXT], dims[40];
    const onnx_value *first = ek_onnx_input(r, 0), *second = ek_onnx_input(r, 1);
    if (ek_onnx_node(r)->n_input != (size_t)inputs || !first || (inputs == 2 && !second))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it has %zu inputs; %d are read", ek_onnx_node(r)->n_input,
                            inputs);
    a = first->op;
    b = inputs == 2 ? second->op : -1;
    if (a >= 0 && b >= 0)
        return add_binary(r, function, a, b);
    const int from = a >= 0 ? a : b;
    onnx_op op = {.kind = inputs == 2 ? ONNX_ARITH : ONNX_FUNCTION,
                  .function = function,
                  .out = r->ops[from].out,
                  .constant_first = a < 0};
    if (inputs == 2)
        EK_TRY(ek_onnx_tensor(r, a >= 0 ? 1 : 0, "constant", &op.constant));
    if (op.constant && op.constant->ndim > (op.out.flat ? 2 : 4))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its constant is %s, and its input %s: it makes values of more dimensions",
                            ek_onnx_shape_text(op.constant, shape), ek_dims_text(op.out, dims));
    return ek_onnx_add_other(r, op, 1, &from);
}

/* ---- All of them ---------------------------------------------------------------------------------------------- */

ek_status ek_onnx_read_shaping(onnx_reader *r, const char *type, bool *done)
{
    static const struct {
        const char *type;
        ek_status (*read)(onnx_reader *r);
    } readers[] = {
        {"Identity", bind_same},   {"Cast", read_cast},           {"Flatten", read_flatten},
        {"Reshape", read_reshape}, {"Transpose", read_transpose}, {"ReduceMean", read_mean},
        {"Pad", read_pad},         {"Slice", read_slice},         {"Concat", read_concat},
        {"Sum", read_sum},
    };
    onnx_function function;
    *done = true;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (!strcmp(type, readers[i].type))
            return readers[i].read(r);
    if (!strcmp(type, "Squeeze") || !strcmp(type, "Unsqueeze"))
        return read_squeeze(r, type[0] == 'S');
    const int inputs = ek_onnx_function(type, &function);
    *done = inputs > 0;
    return inputs ? read_function(r, function, inputs) : EK_OK;
}

#endif
