/* SPDX-License-Identifier: MIT
 * Nodes on constants: exporters compute shapes, paddings and the like in the graph. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* ---- Results -------------------------------------------------------------------------------------------------- */

/* A result of this shape, with room for its elements where `room`. */
static ek_status begin(onnx_reader *r, bool integer, int ndim, const int64_t *dim, ek_onnx_array **array)
{
    ek_onnx_array *made = ek_onnx_new_array(r);
    made->count = 1;
    made->ndim = ndim;
    for (int d = 0; d < ndim; d++) {
        made->dim[d] = dim[d];
        if (dim[d] < 0 || __builtin_mul_overflow(made->count, dim[d], &made->count) ||
            made->count > ONNX_FOLDED_MAX - r->folded)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it computes more numbers from constants than are read (%d)",
                                ONNX_FOLDED_MAX);
    }
    r->folded += made->count + 1;
    if (integer)
        made->ints = ek_calloc((size_t)made->count, sizeof *made->ints);
    else
        made->floats = ek_calloc((size_t)made->count, sizeof *made->floats);
    *array = made;
    return made->ints || made->floats ? EK_OK : EK_ERR_MEMORY;
}

/* Element i as a number of the other kind, which the batch's size is not as long as it is open. */
static ek_status number_of(const onnx_reader *r, const ek_onnx_array *from, int64_t i, double *value)
{
    if (ek_onnx_is_integer(from) && ek_onnx_integer(from, i) == ONNX_BATCH)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it computes with the batch's size, which is open; fix it in the file, or leave it out");
    *value = ek_onnx_number(from, i);
    return EK_OK;
}

static void copy_element(ek_onnx_array *to, int64_t i, const ek_onnx_array *from, int64_t j)
{
    if (to->ints)
        to->ints[i] = ek_onnx_integer(from, j);
    else
        to->floats[i] = ek_onnx_number(from, j);
}

/* The same elements under another shape. */
static ek_status view(onnx_reader *r, const ek_onnx_array *from, int ndim, const int64_t *dim)
{
    ek_onnx_array *made = ek_onnx_new_array(r);
    const bool same = ndim == from->ndim && !memcmp(dim, from->dim, (size_t)ndim * sizeof *dim);
    if (from->transposed && !same)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it reshapes a transposed constant");
    *made = *from;
    made->view = true;
    made->loaded = NULL;
    made->ndim = ndim;
    for (int d = 0; d < ndim; d++)
        made->dim[d] = dim[d];
    return ek_onnx_bind_array(r, made);
}

/* Element (i, j, ...) of the result is element first + i*step[0] + j*step[1] + ... of `from`. */
static ek_status pick(onnx_reader *r, const ek_onnx_array *from, int ndim, const int64_t *dim, int64_t first,
                      const int64_t *step)
{
    ek_onnx_array *made;
    if (from->count == 0)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "of a constant without elements");
    EK_TRY(begin(r, ek_onnx_is_integer(from), ndim, dim, &made));
    for (int64_t i = 0; i < made->count; i++) {
        int64_t at = first, rest = i;
        for (int d = ndim - 1; d >= 0; d--) {
            at += rest % dim[d] * step[d];
            rest /= dim[d];
        }
        copy_element(made, i, from, at);
    }
    return ek_onnx_bind_array(r, made);
}

/* Elements from one to the next along each dimension. */
static void strides_of(const ek_onnx_array *array, int64_t step[ONNX_NDIM])
{
    int64_t size = 1;
    for (int d = array->ndim - 1; d >= 0; d--) {
        step[d] = size;
        size = (int64_t)((uint64_t)size * (uint64_t)array->dim[d]); /* may wrap where an extent is 0 */
    }
}

/* Input i, which is there and constant. */
static ek_status input(onnx_reader *r, size_t i, const ek_onnx_array **array)
{
    EK_TRY(ek_onnx_constant(r, i, array));
    return *array ? EK_OK : ek_onnx_fail(r, EK_ERR_FORMAT, "it lacks input %zu", i);
}

static ek_status axis_of(const onnx_reader *r, int64_t axis, int ndim, int *index)
{
    if (axis < -ndim || axis >= ndim)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its axis %jd is none of %d dimensions", (intmax_t)axis, ndim);
    *index = (int)(axis < 0 ? axis + ndim : axis);
    return EK_OK;
}

/* ---- Constants and shapes ------------------------------------------------------------------------------------- */

static ek_status fold_constant(onnx_reader *r)
{
    const EkOnnx__AttributeProto *value = ek_onnx_attribute(r, "value"), *one = NULL;
    if (value && value->t) {
        ek_onnx_array *array = ek_onnx_new_array(r);
        EK_TRY(ek_onnx_fail_in(r, ek_onnx_array_open(array, value->t, &r->side)));
        return ek_onnx_bind_array(r, array);
    }
    static const char *const names[] = {"value_int", "value_ints", "value_float", "value_floats"};
    for (int i = 0; i < 4 && !one; i++)
        one = ek_onnx_attribute(r, names[i]);
    const bool list = one && one->name[strlen(one->name) - 1] == 's';
    const bool integer = one && one->name[6] == 'i';
    if (!one || (!list && !(integer ? one->has_i : one->has_f)))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it holds no tensor and no numbers");
    ek_onnx_array *array;
    const int64_t count = !list ? 1 : integer ? (int64_t)one->n_ints : (int64_t)one->n_floats;
    EK_TRY(begin(r, integer, list, &count, &array));
    for (int64_t i = 0; i < count; i++)
        if (integer)
            array->ints[i] = list ? one->ints[i] : one->i;
        else
            array->floats[i] = (double)(list ? one->floats[i] : one->f);
    return ek_onnx_bind_array(r, array);
}

/* Of a constant, or of data: the batch first. */
static ek_status fold_shape(onnx_reader *r)
{
    const onnx_value *value = ek_onnx_input(r, 0);
    int64_t dim[ONNX_NDIM] = {r->batch}, from, to;
    int ndim = 2;
    if (!value)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "it lacks input 0");
    if (value->array) {
        ndim = value->array->ndim;
        memcpy(dim, value->array->dim, sizeof dim);
    } else {
        const onnx_op *op = &r->ops[value->op];
        if (op->kind == ONNX_MEAN)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it asks for the shape of means");
        dim[1] = op->out.c;
        dim[2] = op->out.h;
        dim[3] = op->out.w;
        ndim = op->out.flat ? 2 : 4;
    }
    EK_TRY(ek_onnx_int(r, "start", 0, &from));
    EK_TRY(ek_onnx_int(r, "end", ndim, &to));
    from = from < -ndim ? 0 : from < 0 ? from + ndim : from > ndim ? ndim : from;
    to = to < -ndim ? 0 : to < 0 ? to + ndim : to > ndim ? ndim : to;
    const int64_t count = to > from ? to - from : 0;
    ek_onnx_array *made;
    EK_TRY(begin(r, true, 1, &count, &made));
    for (int64_t i = 0; i < count; i++)
        made->ints[i] = dim[from + i];
    return ek_onnx_bind_array(r, made);
}

static ek_status fold_constant_of_shape(onnx_reader *r)
{
    const EkOnnx__AttributeProto *value = ek_onnx_attribute(r, "value");
    const ek_onnx_array *shape;
    ek_onnx_array one = {0}, *made;
    int64_t dim[ONNX_NDIM] = {0};
    EK_TRY(input(r, 0, &shape));
    if (shape->ndim != 1 || shape->count > ONNX_NDIM || !ek_onnx_is_integer(shape))
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its input is no shape");
    for (int d = 0; d < (int)shape->count; d++)
        dim[d] = ek_onnx_integer(shape, d);
    if (value && value->t) {
        EK_TRY(ek_onnx_fail_in(r, ek_onnx_array_open(&one, value->t, &r->side)));
        if (one.count != 1) {
            ek_onnx_array_free(&one);
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its value is no single number");
        }
    }
    const bool integer = one.proto && ek_onnx_is_integer(&one);
    const ek_status status = begin(r, integer, (int)shape->count, dim, &made);
    for (int64_t i = 0; !status && one.proto && i < made->count; i++)
        copy_element(made, i, &one, 0);
    ek_onnx_array_free(&one);
    return status ? status : ek_onnx_bind_array(r, made);
}

/* ---- The same elements elsewhere ------------------------------------------------------------------------------ */

static ek_status fold_identity(onnx_reader *r)
{
    const ek_onnx_array *from;
    EK_TRY(input(r, 0, &from));
    return view(r, from, from->ndim, from->dim);
}

static ek_status fold_cast(onnx_reader *r)
{
    int64_t to;
    const ek_onnx_array *from;
    EK_TRY(input(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "to", 0, &to));
    const bool integer =
        to == EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    const bool number =
        to == EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || to == EK_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    if (!integer && !number)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it casts a constant to type %jd; int64, int32, float and double are "
                            "read",
                            (intmax_t)to);
    if (integer == ek_onnx_is_integer(from))
        return view(r, from, from->ndim, from->dim);
    ek_onnx_array *made;
    EK_TRY(begin(r, integer, from->ndim, from->dim, &made));
    for (int64_t i = 0; i < made->count; i++) {
        double value;
        EK_TRY(number_of(r, from, i, &value));
        if (!integer)
            made->floats[i] = value;
        else if (fabs(value) < 0x1p53)
            made->ints[i] = (int64_t)value;
        else
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it casts %g to an integer", value);
    }
    return ek_onnx_bind_array(r, made);
}

static ek_status fold_reshape(onnx_reader *r)
{
    int64_t dim[ONNX_NDIM] = {0}, known = 1, allow_zero;
    int ndim, open = -1, list_count;
    int64_t list[2 * ONNX_NDIM];
    const ek_onnx_array *from;
    EK_TRY(input(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "allowzero", 0, &allow_zero));
    EK_TRY(ek_onnx_list(r, "shape", 5, 1, list, &list_count));
    ndim = list_count < 0 ? 0 : list_count;
    if (list_count < 0 || ndim > ONNX_NDIM)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its shape has %d extents; 0 to %d are read", list_count,
                            ONNX_NDIM);
    for (int d = 0; d < ndim; d++) {
        dim[d] = list[d] == 0 && !allow_zero && d < from->ndim ? from->dim[d] : list[d];
        if (dim[d] == -1 && open < 0)
            open = d;
        else if (dim[d] < 0 || __builtin_mul_overflow(known, dim[d], &known))
            return ek_onnx_fail(r, EK_ERR_FORMAT, "extent %d of its shape is %jd", d, (intmax_t)dim[d]);
    }
    if (open >= 0)
        dim[open] = known ? from->count / known : 0;
    if (open >= 0 ? known * dim[open] != from->count : known != from->count)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its shape takes another number of values than the %jd there are",
                            (intmax_t)from->count);
    return view(r, from, ndim, dim);
}

/* Dimensions of one are added or taken away. */
static ek_status fold_squeeze(onnx_reader *r, bool squeeze)
{
    int64_t axes[2 * ONNX_NDIM], dim[ONNX_NDIM];
    bool marked[ONNX_NDIM] = {false};
    int count, axis = 0, ndim = 0;
    const ek_onnx_array *from;
    EK_TRY(input(r, 0, &from));
    EK_TRY(ek_onnx_list(r, "axes", 13, 1, axes, &count));
    const int whole = squeeze ? from->ndim : from->ndim + (count < 0 ? 0 : count);
    if (whole > ONNX_NDIM || (!squeeze && count < 0))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it makes more than %d dimensions, or does not say which",
                            ONNX_NDIM);
    for (int i = 0; i < count; i++) {
        EK_TRY(axis_of(r, axes[i], whole, &axis));
        if (marked[axis] || (squeeze && from->dim[axis] != 1))
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its axis %jd is there twice, or not of one element",
                                (intmax_t)axes[i]);
        marked[axis] = true;
    }
    for (int d = 0, next = 0; d < whole; d++) {
        if (!squeeze)
            dim[ndim++] = marked[d] ? 1 : from->dim[next++];
        else if (!(count < 0 ? from->dim[d] == 1 : marked[d]))
            dim[ndim++] = from->dim[d];
    }
    return view(r, from, ndim, dim);
}

static ek_status fold_transpose(onnx_reader *r)
{
    int64_t perm[ONNX_NDIM], step[ONNX_NDIM], dim[ONNX_NDIM], steps[ONNX_NDIM];
    const ek_onnx_array *from;
    bool seen[ONNX_NDIM] = {false};
    EK_TRY(input(r, 0, &from));
    const int ndim = from->ndim;
    EK_TRY(ek_onnx_ints(r, "perm", ndim, 0, perm));
    strides_of(from, step);
    for (int d = 0; d < ndim; d++) {
        if (!ek_onnx_attribute(r, "perm"))
            perm[d] = ndim - 1 - d;
        if (perm[d] < 0 || perm[d] >= ndim || seen[perm[d]])
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its perm is no permutation of %d", ndim);
        seen[perm[d]] = true;
        dim[d] = from->dim[perm[d]];
        steps[d] = step[perm[d]];
    }
    if (ndim != 2 || ek_onnx_is_integer(from))
        return pick(r, from, ndim, dim, 0, steps);
    if (perm[0] == 0)
        return view(r, from, ndim, dim);
    ek_onnx_array *made = ek_onnx_new_array(r); /* a weight, perhaps: it stays where it is */
    *made = *from;
    made->view = true;
    made->loaded = NULL;
    made->dim[0] = dim[0];
    made->dim[1] = dim[1];
    made->transposed = !from->transposed;
    return ek_onnx_bind_array(r, made);
}

static ek_status fold_gather(onnx_reader *r)
{
    int64_t axis;
    const ek_onnx_array *from, *indices;
    ek_onnx_array *made;
    EK_TRY(input(r, 0, &from));
    EK_TRY(input(r, 1, &indices));
    EK_TRY(ek_onnx_int(r, "axis", 0, &axis));
    if (from->ndim != 1 || (axis != 0 && axis != -1) || indices->ndim > 1 || !ek_onnx_is_integer(indices))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "of a constant with %d dimensions; of lists alone it is read",
                            from->ndim);
    EK_TRY(begin(r, ek_onnx_is_integer(from), indices->ndim, indices->dim, &made));
    for (int64_t i = 0; i < made->count; i++) {
        int64_t at = ek_onnx_integer(indices, i);
        if (at < -from->count || at >= from->count)
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its index %jd is outside of %jd elements", (intmax_t)at,
                                (intmax_t)from->count);
        copy_element(made, i, from, at < 0 ? at + from->count : at);
    }
    return ek_onnx_bind_array(r, made);
}

static ek_status fold_concat(onnx_reader *r)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    int64_t count = 0, at = 0;
    bool integer = true;
    const ek_onnx_array *from;
    ek_onnx_array *made;
    for (size_t i = 0; i < node->n_input; i++) {
        EK_TRY(input(r, i, &from));
        if (from->ndim != 1 || from->count > ONNX_FOLDED_MAX)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "of constants with %d dimensions; of short lists it is read",
                                from->ndim);
        if (i > 0 && integer != ek_onnx_is_integer(from))
            return ek_onnx_fail(r, EK_ERR_FORMAT, "it joins integers with other numbers");
        count += from->count;
        integer = ek_onnx_is_integer(from);
    }
    EK_TRY(begin(r, integer, 1, &count, &made));
    for (size_t i = 0; i < node->n_input; i++) {
        EK_TRY(input(r, i, &from));
        for (int64_t j = 0; j < from->count; j++)
            copy_element(made, at++, from, j);
    }
    return ek_onnx_bind_array(r, made);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

ek_status ek_onnx_slice(const onnx_reader *r, int ndim, const int64_t *dim, onnx_slice slices[ONNX_NDIM])
{
    int64_t starts[2 * ONNX_NDIM], ends[2 * ONNX_NDIM], axes[2 * ONNX_NDIM], steps[2 * ONNX_NDIM];
    int count, end_count, axis_count, step_count, axis = 0;
    EK_TRY(ek_onnx_list(r, "starts", 10, 1, starts, &count));
    EK_TRY(ek_onnx_list(r, "ends", 10, 2, ends, &end_count));
    EK_TRY(ek_onnx_list(r, "axes", 10, 3, axes, &axis_count));
    EK_TRY(ek_onnx_list(r, "steps", 10, 4, steps, &step_count));
    if (count < 0 || end_count != count || (axis_count >= 0 && axis_count != count) ||
        (step_count >= 0 && step_count != count) || count > ndim)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its starts, ends, axes and steps are not of one length");
    for (int d = 0; d < ndim; d++)
        slices[d] = (onnx_slice){.first = 0, .step = 1, .count = dim[d]};
    for (int i = 0; i < count; i++) {
        const int64_t step = step_count < 0 ? 1 : steps[i];
        if (starts[i] == ONNX_BATCH || ends[i] == ONNX_BATCH || step == ONNX_BATCH)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it cuts at the batch's size, which is open");
        EK_TRY(axis_of(r, axis_count < 0 ? i : axes[i], ndim, &axis));
        const int64_t size = dim[axis], low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
        if (step == 0 || step == INT64_MIN)
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its step is %jd", (intmax_t)step);
        const int64_t first = clamp(starts[i] < 0 ? starts[i] + size : starts[i], low < 0 ? 0 : low, high);
        const int64_t end = clamp(ends[i] < 0 ? ends[i] + size : ends[i], low, high);
        const int64_t way = step < 0 ? first - end : end - first, stride = step < 0 ? -step : step;
        slices[axis] = (onnx_slice){.first = first, .step = step, .count = way > 0 ? (way - 1) / stride + 1 : 0};
    }
    return EK_OK;
}

static ek_status fold_slice(onnx_reader *r)
{
    const ek_onnx_array *from;
    onnx_slice slices[ONNX_NDIM];
    int64_t dim[ONNX_NDIM], step[ONNX_NDIM], first = 0;
    EK_TRY(input(r, 0, &from));
    EK_TRY(ek_onnx_slice(r, from->ndim, from->dim, slices));
    strides_of(from, step);
    for (int d = 0; d < from->ndim && from->count > 0; d++) {
        dim[d] = slices[d].count;
        first += slices[d].first * step[d];
        step[d] = dim[d] > 1 ? step[d] * slices[d].step : 0; /* a step may be far beyond the array */
    }
    return pick(r, from, from->ndim, dim, first, step);
}

/* ---- Arithmetic ----------------------------------------------------------------------------------------------- */

static bool is_integer_function(onnx_function function)
{
    return function == ONNX_F_ADD || function == ONNX_F_SUB || function == ONNX_F_MUL || function == ONNX_F_DIV ||
           function == ONNX_F_MAX || function == ONNX_F_MIN;
}

static bool integer_result(onnx_function function, int64_t a, int64_t b, int64_t *result)
{
    if (a == ONNX_BATCH || b == ONNX_BATCH)
        return false;
    switch (function) {
    case ONNX_F_ADD:
        return !__builtin_add_overflow(a, b, result);
    case ONNX_F_SUB:
        return !__builtin_sub_overflow(a, b, result);
    case ONNX_F_MUL:
        return !__builtin_mul_overflow(a, b, result);
    case ONNX_F_DIV:
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        *result = a / b;
        return true;
    case ONNX_F_MAX:
        *result = a > b ? a : b;
        return true;
    case ONNX_F_MIN:
        *result = a < b ? a : b;
        return true;
    default:
        return false;
    }
}

double ek_onnx_apply(onnx_function function, double a, double b)
{
    switch (function) {
    case ONNX_F_ADD:
        return a + b;
    case ONNX_F_SUB:
        return a - b;
    case ONNX_F_MUL:
        return a * b;
    case ONNX_F_DIV:
        return a / b;
    case ONNX_F_POW:
        return pow(a, b);
    case ONNX_F_MAX: /* of NaN and a number NaN, which fmax has otherwise */
        return isnan(a) || a > b ? a : b;
    case ONNX_F_MIN:
        return isnan(a) || a < b ? a : b;
    case ONNX_F_ERF:
        return erf(a);
    case ONNX_F_SQRT:
        return sqrt(a);
    case ONNX_F_NEG:
        return -a;
    case ONNX_F_EXP:
        return exp(a);
    case ONNX_F_RECIPROCAL:
        return 1 / a;
    case ONNX_F_TANH:
        return tanh(a);
    case ONNX_F_SIGMOID:
        return 1 / (1 + exp(-a));
    case ONNX_F_RELU:
        return a > 0 ? a : 0;
    }
    return NAN;
}

static const struct {
    const char *type;
    onnx_function function;
    int inputs;
} functions[] = {
    {"Add", ONNX_F_ADD, 2},   {"Sub", ONNX_F_SUB, 2}, {"Mul", ONNX_F_MUL, 2}, {"Div", ONNX_F_DIV, 2},
    {"Pow", ONNX_F_POW, 2},   {"Max", ONNX_F_MAX, 2}, {"Min", ONNX_F_MIN, 2}, {"Erf", ONNX_F_ERF, 1},
    {"Sqrt", ONNX_F_SQRT, 1}, {"Neg", ONNX_F_NEG, 1}, {"Exp", ONNX_F_EXP, 1}, {"Reciprocal", ONNX_F_RECIPROCAL, 1},
};

int ek_onnx_function(const char *type, onnx_function *function)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!strcmp(functions[i].type, type)) {
            *function = functions[i].function;
            return functions[i].inputs;
        }
    return 0;
}

/* Of equal shapes, or with one number. */
static ek_status fold_function(onnx_reader *r, onnx_function function, int inputs)
{
    const ek_onnx_array *a, *b = NULL;
    ek_onnx_array *made;
    if (ek_onnx_node(r)->n_input != (size_t)inputs)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it has %zu inputs; %d are read", ek_onnx_node(r)->n_input,
                            inputs);
    EK_TRY(input(r, 0, &a));
    if (inputs == 2)
        EK_TRY(input(r, 1, &b));
    const ek_onnx_array *larger = b && b->count * b->ndim > a->count * a->ndim ? b : a;
    const bool fits = !b || a->count == 1 || b->count == 1 ||
                      (a->ndim == b->ndim && !memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof *a->dim));
    if (!fits || a->count == 0)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "of constants with different shapes");
    const bool integer = ek_onnx_is_integer(a) && (!b || ek_onnx_is_integer(b));
    if (integer && !is_integer_function(function))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "it is not read for integers; Add, Sub, Mul, Div, Max and Min are");
    EK_TRY(begin(r, integer, larger->ndim, larger->dim, &made));
    for (int64_t i = 0; i < made->count; i++) {
        const int64_t i_a = a->count == 1 ? 0 : i, i_b = b && b->count == 1 ? 0 : i;
        double x = 0, y = 0;
        if (!integer) {
            EK_TRY(number_of(r, a, i_a, &x));
            if (b)
                EK_TRY(number_of(r, b, i_b, &y));
            made->floats[i] = ek_onnx_apply(function, x, y);
        } else if (!integer_result(function, ek_onnx_integer(a, i_a), ek_onnx_integer(b, i_b), &made->ints[i])) {
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                "its integers overflow or are divided by 0, or are the batch's size, which is open");
        }
    }
    return ek_onnx_bind_array(r, made);
}

/* ---- All of them ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *type;
    ek_status (*fold)(onnx_reader *r);
} folds[] = {
    {"Identity", fold_identity}, {"Cast", fold_cast},
    {"Reshape", fold_reshape},   {"Transpose", fold_transpose},
    {"Gather", fold_gather},     {"Concat", fold_concat},
    {"Slice", fold_slice},       {"ConstantOfShape", fold_constant_of_shape},
};

ek_status ek_onnx_fold(onnx_reader *r, bool constant, bool *done)
{
    const char *type = ek_onnx_node(r)->op_type ? ek_onnx_node(r)->op_type : "";
    onnx_function function;
    *done = true;
    if (!strcmp(type, "Constant"))
        return fold_constant(r);
    if (!strcmp(type, "Shape"))
        return fold_shape(r);
    *done = constant;
    if (!constant)
        return EK_OK;
    for (size_t i = 0; i < sizeof folds / sizeof *folds; i++)
        if (!strcmp(type, folds[i].type))
            return folds[i].fold(r);
    if (!strcmp(type, "Squeeze") || !strcmp(type, "Unsqueeze"))
        return fold_squeeze(r, type[0] == 'S');
    const int inputs = ek_onnx_function(type, &function);
    if (inputs)
        return fold_function(r, function, inputs);
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it computes a constant from constants, in a way that is not read");
}

#endif
