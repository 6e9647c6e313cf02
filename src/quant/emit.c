/* SPDX-License-Identifier: MIT
 * An integer net as a C file and its header. */
#include "quant/emit.h"

#include "base/memory.h"
#include "io/c_files.h"
#include "quant/memory.h"
#include "quant/run.h"

#include <stdio.h>
#include <string.h>

typedef struct emitter {
    const ek_quantized *q;
    ek_q_out out; /* the file at hand */
    ek_c_names names;
    int64_t *places, memory; /* ek_q_plan_memory */
    int64_t constants;       /* bytes of what is const */
    int tests;               /* samples of the self-test */
    uint8_t *pixels;         /* theirs */
    int16_t *outputs;
    uint32_t stamp; /* of the C file */
} emitter;

/* ---- Numbers ------------------------------------------------------------------------------------------------ */

/* An array of numbers, wrapped; `get` says what number i is. */
typedef int64_t number_at(const void *numbers, int64_t i);

static void put_array(emitter *e, const char *type, int bytes, const char *name, int layer, int64_t count,
                      number_at *get, const void *numbers)
{
    ek_text *out = e->out.text;
    int column;
    ek_c_begin_array(out, type, e->names.prefix, name, layer, count, "", &column);
    for (int64_t i = 0; i < count && !out->failed; i++) {
        char text[24];
        ek_c_put_number(out, text, snprintf(text, sizeof text, "%lld", (long long)get(numbers, i)), &column);
    }
    ek_c_end_array(out);
    e->constants += bytes * count;
}

static int64_t int16_at(const void *numbers, int64_t i)
{
    return ((const int16_t *)numbers)[i];
}

static int64_t byte_at(const void *numbers, int64_t i)
{
    return ((const uint8_t *)numbers)[i];
}

static int64_t factor_at(const void *numbers, int64_t i)
{
    return ((const ek_multiplier *)numbers)[i].factor;
}

static int64_t shift_at(const void *numbers, int64_t i)
{
    return ((const ek_multiplier *)numbers)[i].shift;
}

/* A map and what it reads: the bias of channel i, with the zero point of all taps where they do not take it away. */
typedef struct map_bias {
    const ek_quantized *q;
    const ek_q_op *op;
} map_bias;

static int64_t bias_at(const void *numbers, int64_t k)
{
    const map_bias *b = numbers;
    const int64_t count = ek_conv_weights(&b->op->g) / b->op->g.k;
    int64_t sum = b->op->bias[k];
    for (int64_t i = 0; !ek_q_subtracts(b->q, b->op) && i < count; i++)
        sum -= (int64_t)b->q->tensors[b->op->x].zero * b->op->weights[k * count + i];
    return sum;
}

/* ---- Operations --------------------------------------------------------------------------------------------- */

/* "{zero_x, zero_y, low, high}" */
static void put_end(emitter *e, const ek_q_op *op)
{
    const ek_q_tensor *x = &e->q->tensors[op->x], *y = &e->q->tensors[op->y];
    ek_text_sayf(e->out.text, "{%d, %d, %d, %d}", x->zero, y->zero, op->low, ek_q_greatest(y->type));
}

static void put_multipliers(emitter *e, const ek_q_op *op, int i)
{
    put_array(e, "int32_t", 4, "factor", i, op->multiplier_count, factor_at, op->multipliers);
    put_array(e, "uint8_t", 1, "shift", i, op->multiplier_count, shift_at, op->multipliers);
}

static void put_map(emitter *e, const ek_q_op *op, int i)
{
    const ek_conv *g = &op->g;
    const char *p = e->names.prefix;
    put_array(e, "int8_t", 1, "weights", i, ek_conv_weights(g), int16_at, op->weights);
    put_array(e, "int32_t", 4, "bias", i, g->k, bias_at, &(map_bias){e->q, op});
    put_multipliers(e, op, i);
    ek_text_sayf(e->out.text, "static const %s_map %s_op_%d = {\n", p, p, i);
    ek_text_sayf(e->out.text, "    %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d,\n    ", g->c, g->h,
                 g->w, g->k, g->p, g->q, g->r, g->s, g->stride_h, g->stride_w, g->padding_h, g->padding_w,
                 g->dilation_h, g->dilation_w, g->groups);
    put_end(e, op);
    ek_text_sayf(e->out.text, ",\n    %s_weights_%d, %s_bias_%d, %s_factor_%d, %s_shift_%d,\n};\n", p, i, p, i, p, i,
                 p, i);
    e->constants += 19 * 4 + 4 * 4;
}

static void put_pool(emitter *e, const ek_q_op *op, int i)
{
    const ek_pool2d *g = &op->pool;
    const char *p = e->names.prefix;
    if (op->multiplier_count)
        put_multipliers(e, op, i);
    ek_text_sayf(e->out.text,
                 "static const %s_pool %s_op_%d = {\n    %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, ", p, p, i,
                 g->c, g->h, g->w, g->p, g->q, g->kernel_h, g->kernel_w, g->stride_h, g->stride_w, g->padding_h,
                 g->padding_w, op->multiplier_count);
    put_end(e, op);
    if (op->multiplier_count)
        ek_text_sayf(e->out.text, ", %s_factor_%d, %s_shift_%d,\n};\n", p, i, p, i);
    else
        ek_text_sayf(e->out.text, ", 0, 0,\n};\n");
    e->constants += 16 * 4 + 2 * 4;
}

static void put_add(emitter *e, const ek_q_op *op, int i)
{
    const ek_join *j = &op->join;
    ek_text_sayf(e->out.text, "static const %s_add %s_op_%d = {\n    %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, ",
                 e->names.prefix, e->names.prefix, i, j->c, j->h, j->w, j->stride, j->rc, j->rh, j->rw,
                 e->q->tensors[op->r].zero, op->factor_x, op->factor_r, op->shift);
    put_end(e, op);
    ek_text_sayf(e->out.text, ",\n};\n");
    e->constants += 15 * 4;
}

static void put_rescale(emitter *e, const ek_q_op *op, int i)
{
    ek_text_sayf(e->out.text, "static const %s_rescale %s_op_%d = {%lld, %d, %d, ", e->names.prefix, e->names.prefix,
                 i, (long long)e->q->tensors[op->x].count, op->multipliers[0].factor, op->multipliers[0].shift);
    put_end(e, op);
    ek_text_sayf(e->out.text, "};\n");
    e->constants += 7 * 4;
}

/* "layer 3.body.0: conv2d 16 kernel=3"; text of a net's file may hold what ends a comment nowhere. */
static void put_title(emitter *e, const ek_q_op *op)
{
    if (op->layer < 0)
        ek_text_sayf(e->out.text, "the image");
    else
        ek_text_sayf(e->out.text, "layer %s: %s", e->q->net->layers[op->layer].path,
                     e->q->net->layers[op->layer].text);
}

static void put_operation(emitter *e, int i)
{
    const ek_q_op *op = &e->q->ops[i];
    ek_text_sayf(e->out.text, "/* ");
    put_title(e, op);
    ek_text_sayf(e->out.text, " */\n");
    const bool wide = e->q->tensors[op->y].type == EK_Q_INT16;
    switch (op->kind) {
    case EK_Q_MAP:
        put_map(e, op, i);
        break;
    case EK_Q_AVGPOOL:
    case EK_Q_MAXPOOL:
        put_pool(e, op, i);
        break;
    case EK_Q_ADD:
        put_add(e, op, i);
        break;
    case EK_Q_RESCALE:
        put_rescale(e, op, i);
        break;
    case EK_Q_TABLE:
        put_array(e, wide ? "int16_t" : "int8_t", wide ? 2 : 1, "table", i, 256, int16_at, op->table);
        break;
    case EK_Q_INPUT:
        put_array(e, "int8_t", 1, "table", i, 256 * (int64_t)op->tables, int16_at, op->table);
        break;
    }
    ek_text_sayf(e->out.text, "\n");
}

/* ---- The function ------------------------------------------------------------------------------------------- */

/* "pixels", "outputs", "net_memory + 864" */
static void put_tensor(emitter *e, int t)
{
    const ek_q_type type = e->q->tensors[t].type;
    if (type == EK_Q_INT8)
        ek_text_sayf(e->out.text, "%s_memory + %lld", e->names.prefix, (long long)e->places[t]);
    else
        ek_text_sayf(e->out.text, "%s", type == EK_Q_BYTE ? "pixels" : "outputs");
}

static void put_call(emitter *e, int i)
{
    const ek_q_op *op = &e->q->ops[i];
    const long long count = e->q->tensors[op->x].count;
    const ek_q_kernel k = ek_q_kernel_of(e->q, op);
    ek_text_sayf(e->out.text, "    %s_%s(", e->names.prefix, k.name);
    if (op->kind == EK_Q_INPUT)
        ek_text_sayf(e->out.text, "%s_table_%d, %d, %lld, ", e->names.prefix, i, op->tables, count / op->tables);
    else if (op->kind == EK_Q_TABLE)
        ek_text_sayf(e->out.text, "%s_table_%d, %lld, ", e->names.prefix, i, count);
    else
        ek_text_sayf(e->out.text, "&%s_op_%d, ", e->names.prefix, i);
    put_tensor(e, op->x);
    ek_text_sayf(e->out.text, ", ");
    if (op->r >= 0) {
        put_tensor(e, op->r);
        ek_text_sayf(e->out.text, ", ");
    }
    put_tensor(e, op->y);
    ek_text_sayf(e->out.text, ");\n");
}

static void put_predict(emitter *e)
{
    if (e->memory)
        ek_text_sayf(e->out.text,
                     "/* What layers hand on: each value has its bytes for as long as a layer still reads it. */\n"
                     "static int8_t %s_memory[%s_MEMORY];\n\n",
                     e->names.prefix, e->names.upper);
    ek_text_sayf(e->out.text,
                 "void %s_predict_bytes(const uint8_t pixels[%s_INPUTS], int16_t outputs[%s_OUTPUTS])\n{\n",
                 e->names.prefix, e->names.upper, e->names.upper);
    for (int i = 0; i < e->q->op_count; i++)
        put_call(e, i);
    ek_text_say(e->out.text, "}\n\n");
    ek_c_put_class(e->out.text, &e->names, "int16_t");
    ek_text_say(e->out.text, "\n");
}

static void put_self_test(emitter *e)
{
    const int64_t inputs = ek_dims_count(e->q->net->input), outputs = e->q->tensors[e->q->output].count;
    const int64_t constants = e->constants;
    ek_text_sayf(
        e->out.text,
        "/* Images, and the outputs that the net has for them, to the last bit. A linker that drops unused sections\n"
        "   drops these where %s_self_test is not called. */\n",
        e->names.prefix);
    put_array(e, "uint8_t", 1, "test", 0, e->tests * inputs, byte_at, e->pixels);
    put_array(e, "int16_t", 2, "test", 1, e->tests * outputs, int16_at, e->outputs);
    e->constants = constants;
    ek_text_sayf(e->out.text,
                 "\n"
                 "int %s_self_test(void)\n"
                 "{\n"
                 "    static int16_t outputs[%s_OUTPUTS];\n"
                 "    int32_t i, k;\n"
                 "    int wrong = 0;\n"
                 "\n"
                 "    for (i = 0; i < %d; i++) {\n"
                 "        int32_t differ = 0;\n"
                 "        %s_predict_bytes(%s_test_0 + i * %s_INPUTS, outputs);\n"
                 "        for (k = 0; k < %s_OUTPUTS; k++)\n"
                 "            differ |= outputs[k] != %s_test_1[i * %s_OUTPUTS + k];\n"
                 "        wrong += differ ? 1 : 0;\n"
                 "    }\n"
                 "    return wrong;\n"
                 "}\n",
                 e->names.prefix, e->names.upper, e->tests, e->names.prefix, e->names.prefix, e->names.upper,
                 e->names.upper, e->names.prefix, e->names.upper);
}

static void put_body(emitter *e)
{
    ek_q_put_kernels(&e->out, e->q);
    for (int i = 0; i < e->q->op_count; i++)
        put_operation(e, i);
    put_predict(e);
    put_self_test(e);
}

static void put_source(emitter *e, const ek_text *body)
{
    ek_text_sayf(
        e->out.text,
        "/* A net in 8-bit integers, written by evenkeel %s. No library is needed, nothing is allocated.\n"
        "   Values q stand for scale*(q - zero); of each layer [zero points of what it reads and writes, clamp]. */\n"
        "#include \"%s.h\"\n\n",
        ek_version(), e->names.file);
    ek_c_put_check(e->out.text, &e->names, e->stamp);
    ek_text_put(e->out.text, body->text, body->length);
}

static void put_header(emitter *e)
{
    const ek_q_tensor *y = &e->q->tensors[e->q->output];
    const char *p = e->names.prefix, *u = e->names.upper;
    char title[160];
    snprintf(title, sizeof title,
             "A net in 8-bit integers, written by evenkeel %s: %lld bytes of constants, %lld bytes of memory.",
             ek_version(), (long long)e->constants, (long long)e->memory);
    ek_c_begin_header(e->out.text, &e->names, title, e->q->net, y->count, e->memory, e->stamp);
    ek_text_sayf(
        e->out.text,
        "/* An output of 1 is a logit of so much. */\n"
        "#define %s_OUTPUT_SCALE %.9gf\n\n"
        "/* pixels: bytes of the image, channel by channel, row by row. Not for two threads at a time: what layers\n"
        "   hand on has one place. */\n"
        "void %s_predict_bytes(const uint8_t pixels[%s_INPUTS], int16_t outputs[%s_OUTPUTS]);\n\n"
        "/* The class of these outputs: the greatest's, the first of equal ones. */\n"
        "int %s_class(const int16_t outputs[%s_OUTPUTS]);\n\n",
        u, y->scale, p, u, u, p, u);
    ek_text_sayf(
        e->out.text,
        "/* Recorded images through the net: how many of %d give other outputs than they should. 0: all is well. */\n"
        "int %s_self_test(void);\n\n",
        e->tests, p);
    ek_c_end_header(e->out.text);
}

/* ---- The files ---------------------------------------------------------------------------------------------- */

static ek_status record_tests(emitter *e, const ek_export_c_options *o)
{
    int64_t count;
    EK_TRY(ek_c_test_count(o, &e->tests));
    EK_TRY(ek_c_images(e->q->net, o->samples, e->tests, 0, &e->pixels, &count));
    e->tests = (int)count;
    e->outputs = ek_calloc(ek_size_mul((size_t)count, (size_t)e->q->tensors[e->q->output].count), sizeof *e->outputs);
    return e->outputs ? ek_quantized_predict(e->q, count, e->pixels, 1, e->outputs) : EK_ERR_MEMORY;
}

static ek_status write_files(emitter *e)
{
    ek_text body = {0}, source = {0}, header = {0};
    e->out.text = &body; /* the header tells how many constants there are */
    put_body(e);
    if (!body.failed) {
        e->stamp = ek_c_stamp(&body);
        e->out.text = &source;
        put_source(e, &body);
        e->out.text = &header;
        put_header(e);
    }
    const bool failed = body.failed || source.failed || header.failed;
    const ek_status status = failed ? EK_ERR_MEMORY : ek_c_write_files(&e->names, &source, &header);
    ek_free(body.text);
    ek_free(source.text);
    ek_free(header.text);
    return status;
}

ek_status ek_quantized_export_c(const ek_quantized *q, const char *path, const ek_export_c_options *options)
{
    static const ek_export_c_options defaults = {0};
    const ek_export_c_options *o = options ? options : &defaults;
    if (!q || !path)
        return ek_fail(EK_ERR_ARGUMENT, "ek_quantized_export_c: quantized and path must not be NULL");
    emitter e = {.q = q, .places = ek_calloc((size_t)q->tensor_count, sizeof(int64_t))};
    ek_status status = e.places ? ek_c_set_names(&e.names, path, o->prefix) : EK_ERR_MEMORY;
    e.out.prefix = e.names.prefix;
    if (!status)
        status = ek_q_plan_memory(q, e.places, &e.memory);
    if (!status)
        status = record_tests(&e, o);
    if (!status)
        status = write_files(&e);
    if (!status && o->report)
        *o->report = (ek_export_c_report){.constants = e.constants, .memory = e.memory, .tests = e.tests};
    ek_free(e.places);
    ek_free(e.pixels);
    ek_free(e.outputs);
    return status;
}
