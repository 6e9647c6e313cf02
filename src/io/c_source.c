/* SPDX-License-Identifier: MIT
 * The two files of a net as C: weights as constants, a call for each operation, a self-test, a header. */
#include "io/c_source.h"

#include "base/memory.h"
#include "net/fold.h"
#include "net/geometry.h"
#include "net/number.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct emitter {
    ek_c_source *source;
    const ek_c_plan *plan;
    ek_c_writer w;
    uint32_t stamp; /* of the C file */
} emitter;

/* ---- Words -------------------------------------------------------------------------------------------------- */

void ek_c_say(ek_c_writer *w, const char *piece)
{
    for (size_t length; *piece; piece += length) {
        length = strcspn(piece, "$@");
        ek_text_put(w->text, piece, length);
        if (!piece[length])
            break;
        ek_text_say(w->text, piece[length] == '$' ? w->prefix : w->upper);
        length++;
    }
}

void ek_c_sayf(ek_c_writer *w, const char *format, ...)
{
    char piece[2000]; /* the longest is half of it */
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    w->text->failed = w->text->failed || length >= (int)sizeof piece; /* never half of it */
    ek_c_say(w, piece);
}

/* Text of files in a comment: on one line, in ASCII, without what ends it. */
static void say_foreign(emitter *e, const char *text)
{
    for (char before = 0; *text; before = *text++) {
        const unsigned char c = (unsigned char)*text;
        const char shown = c < 0x20 || c > 0x7e ? '?' : (char)c;
        if ((before == '*' && shown == '/') || (before == '/' && shown == '*') || (before == '?' && shown == '?'))
            ek_text_say(e->w.text, " ");
        ek_text_put(e->w.text, &shown, 1);
    }
}

/* ---- Arrays ------------------------------------------------------------------------------------------------- */

/* "0.5f", "1.0f", "1e-5f": what reads back as the same float, in C of any kind. */
static int float_text(float value, char text[EK_FLOAT_TEXT + 4])
{
    char number[EK_FLOAT_TEXT];
    ek_float_text(value, number);
    return snprintf(text, EK_FLOAT_TEXT + 4, "%s%sf", number, strpbrk(number, ".e") ? "" : ".0");
}

static void begin_array(emitter *e, const char *type, const char *name, int number, int64_t count, int *column)
{
    char flash[EK_C_NAME + 8];
    snprintf(flash, sizeof flash, " %s_FLASH", e->w.upper);
    ek_c_begin_array(e->w.text, type, e->w.prefix, name, number, count, flash, column);
}

/* value(numbers, i) for i of count. */
typedef float number_at(const void *numbers, int64_t i);

static void say_floats(emitter *e, const char *name, int number, int64_t count, number_at *value, const void *numbers)
{
    char text[EK_FLOAT_TEXT + 4];
    int column;
    begin_array(e, "float", name, number, count, &column);
    for (int64_t i = 0; i < count && !e->w.text->failed; i++)
        ek_c_put_number(e->w.text, text, float_text(value(numbers, i), text), &column);
    ek_c_end_array(e->w.text);
    e->source->constants += 4 * count;
}

static float plain(const void *numbers, int64_t i)
{
    return ((const float *)numbers)[i];
}

static void say_tensor(emitter *e, const char *name, int number, int tensor)
{
    if (tensor >= 0)
        say_floats(e, name, number, e->plan->net->tensors[tensor].count, plain, e->plan->net->tensors[tensor].data);
}

/* A linear layer's weight [k][c], read as [c][k]. */
static float turned(const void *numbers, int64_t i)
{
    const ek_tensor *w = numbers;
    const int64_t k = w->dim[0], c = w->count / k;
    return w->data[i % k * c + i / k];
}

typedef struct norm_channels {
    const ek_net *net;
    const ek_layer *norm;
} norm_channels;

static float scale_of(const void *numbers, int64_t i)
{
    const norm_channels *n = numbers;
    return (float)ek_fold_norm(n->net, n->norm, i, (ek_affine){1, 0}).scale;
}

static float shift_of(const void *numbers, int64_t i)
{
    const norm_channels *n = numbers;
    return (float)ek_fold_norm(n->net, n->norm, i, (ek_affine){1, 0}).shift;
}

static bool has_constants(const ek_c_op *op)
{
    return op->kind <= EK_C_LAYERNORM;
}

static void say_constants(emitter *e, int i)
{
    const ek_net *net = e->plan->net;
    const ek_c_op *op = &e->plan->ops[i];
    const ek_layer *l = &net->layers[op->layer];
    const norm_channels norm = {net, l};
    if (!has_constants(op) || (op->kind == EK_C_LAYERNORM && l->weight < 0))
        return;
    ek_c_sayf(&e->w, "/* layer %s: %s */\n", l->path, l->text);
    if (op->kind == EK_C_SCALE) {
        say_floats(e, "scale", i, l->in.c, scale_of, &norm);
        say_floats(e, "shift", i, l->in.c, shift_of, &norm);
    } else if (op->kind == EK_C_LINEAR) {
        say_floats(e, "weight", i, net->tensors[l->weight].count, turned, &net->tensors[l->weight]);
    } else {
        say_tensor(e, "weight", i, l->weight);
    }
    if (op->kind != EK_C_SCALE)
        say_tensor(e, "bias", i, l->bias);
    ek_c_say(&e->w, "\n");
}

/* ---- Calls -------------------------------------------------------------------------------------------------- */

static void say_place(emitter *e, int value, int64_t at)
{
    ek_c_sayf(&e->w, "$_memory + %lld", (long long)(ek_c_place(e->plan, value) + at));
}

/* "$_weight_3", or 0 where there is none. */
static void say_name(emitter *e, const char *name, int number, int tensor)
{
    if (tensor >= 0)
        ek_c_sayf(&e->w, ", $_%s_%d", name, number);
    else
        ek_c_say(&e->w, ", 0");
}

static void say_conv(emitter *e, int i)
{
    const ek_c_op *op = &e->plan->ops[i];
    const ek_layer *l = &e->plan->net->layers[op->layer];
    const ek_conv g = ek_layer_conv(l);
    say_name(e, "weight", i, l->weight);
    say_name(e, "bias", i, l->bias);
    if (op->plane >= 0) {
        ek_c_say(&e->w, ",\n            ");
        say_place(e, op->plane, 0);
    } else {
        ek_c_say(&e->w, ", 0");
    }
    ek_c_sayf(&e->w, ",\n            %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d", g.c, g.h, g.w, g.k,
              g.p, g.q, g.r, g.s, g.stride_h, g.stride_w, g.padding_h, g.padding_w, g.dilation_h, g.dilation_w,
              g.groups);
}

static void say_pool(emitter *e, const ek_c_op *op)
{
    const ek_pool2d g = ek_layer_pool(&e->plan->net->layers[op->layer]);
    ek_c_sayf(&e->w, ", %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d", g.c, g.h, g.w, g.p, g.q, g.kernel_h, g.kernel_w,
              g.stride_h, g.stride_w, g.padding_h, g.padding_w);
    if (op->kind == EK_C_AVGPOOL)
        ek_c_sayf(&e->w, ", %d", g.inside);
}

/* What stands behind x and y, or behind y of what is done in place, up to the parenthesis. */
static void say_arguments(emitter *e, int i)
{
    const ek_c_op *op = &e->plan->ops[i];
    const ek_layer *l = &e->plan->net->layers[op->layer];
    const ek_dims in = l->in, out = l->out;
    char text[EK_FLOAT_TEXT + 4];
    switch (op->kind) {
    case EK_C_CONV:
        say_conv(e, i);
        break;
    case EK_C_LINEAR:
        say_name(e, "weight", i, l->weight);
        say_name(e, "bias", i, l->bias);
        ek_c_sayf(&e->w, ", %d, %d", in.c, out.c);
        break;
    case EK_C_SCALE:
        ek_c_sayf(&e->w, ", $_scale_%d, $_shift_%d, %d, %d", i, i, in.c, in.h * in.w);
        break;
    case EK_C_LAYERNORM:
        say_name(e, "weight", i, l->weight);
        say_name(e, "bias", i, l->bias);
        float_text(l->o.layernorm.eps, text);
        ek_c_sayf(&e->w, ", %s, %lld", text, (long long)ek_dims_count(in));
        break;
    case EK_C_LEAKY_RELU:
        float_text(l->o.leaky_relu.negative_slope, text);
        ek_c_sayf(&e->w, ", %s, %lld", text, (long long)ek_dims_count(in));
        break;
    case EK_C_MAXPOOL:
    case EK_C_AVGPOOL:
        say_pool(e, op);
        break;
    case EK_C_ADD_PAD:
        ek_c_sayf(&e->w, ", %d, %d, %d, %d, %d, %d", in.c, in.h, in.w, out.h, out.w, l->o.residual.stride);
        break;
    case EK_C_COPY:
        ek_c_sayf(&e->w, ", %lld", (long long)e->plan->values[op->x].count);
        break;
    default:
        ek_c_sayf(&e->w, ", %lld", (long long)ek_dims_count(out));
        break;
    }
}

static void say_copy(emitter *e, int from, int to)
{
    ek_c_say(&e->w, "    $_copy(");
    say_place(e, from, 0);
    ek_c_say(&e->w, ", ");
    say_place(e, to, 0);
    ek_c_sayf(&e->w, ", %lld);\n", (long long)e->plan->values[from].count);
}

static void say_call(emitter *e, int i)
{
    static const char *const names[EK_C_KINDS] = {
        "conv", "linear",    "scale", "layernorm", "relu",    "leaky_relu", "sigmoid", "tanh",
        "gelu", "gelu_tanh", "add",   "add_pad",   "maxpool", "avgpool",    "copy",
    };
    const ek_c_op *op = &e->plan->ops[i];
    const ek_layer *l = &e->plan->net->layers[op->layer];
    const bool in_place = ek_c_in_place(op);
    ek_c_sayf(&e->w, "    /* layer %s: %s */\n", l->path, l->text);
    if (in_place && ek_c_place(e->plan, op->x) != ek_c_place(e->plan, op->y))
        say_copy(e, op->x, op->y);
    ek_c_sayf(&e->w, "    $_%s(", names[op->kind]);
    if (!in_place) {
        say_place(e, op->x, 0);
        ek_c_say(&e->w, ", ");
    }
    say_place(e, op->y, op->at);
    if (op->r >= 0) {
        ek_c_say(&e->w, ", ");
        say_place(e, op->r, 0);
    }
    say_arguments(e, i);
    ek_c_say(&e->w, ");\n");
}

/* ---- The functions ------------------------------------------------------------------------------------------ */

static void say_input(emitter *e)
{
    const ek_c_source *s = e->source;
    const ek_dims in = e->plan->net->input;
    const long long plane = (long long)in.h * in.w;
    if (s->mean) {
        ek_c_say(&e->w, "/* What the net's images are normalised with, of each channel. */\n");
        say_floats(e, "mean", 0, in.c, plain, s->mean);
        say_floats(e, "deviation", 0, in.c, plain, s->std);
        ek_c_say(&e->w, "\n");
    }
    for (int bytes = 0; bytes < 2; bytes++) {
        ek_c_sayf(&e->w, "void $_predict%s(const %s image[@_INPUTS], float outputs[@_OUTPUTS])\n{\n    int i;\n",
                  bytes ? "_bytes" : "", bytes ? "uint8_t" : "float");
        ek_c_say(&e->w, "    for (i = 0; i < @_INPUTS; i++)\n        $_memory[");
        ek_c_sayf(&e->w, "%lld + i] = ", (long long)ek_c_place(e->plan, 0));
        const char *value = bytes ? "(float)image[i] / 255.0f" : "image[i]";
        if (s->mean)
            ek_c_sayf(&e->w, "(%s - $_mean_0[i / %lld]) / $_deviation_0[i / %lld];\n", value, plane, plane);
        else
            ek_c_sayf(&e->w, "%s;\n", value);
        ek_c_say(&e->w, "    $_run(outputs);\n}\n\n");
    }
}

static void say_run(emitter *e)
{
    ek_c_say(&e->w, "/* What layers hand on: each value has its room for as long as a layer still reads it. */\n"
                    "static float $_memory[@_MEMORY / sizeof(float)];\n\n"
                    "static void $_run(float *outputs)\n{\n");
    for (int i = 0; i < e->plan->op_count; i++)
        say_call(e, i);
    ek_c_say(&e->w, "    $_copy(");
    say_place(e, e->plan->output, 0);
    ek_c_say(&e->w, ", outputs, @_OUTPUTS);\n}\n\n");
    say_input(e);
    ek_c_put_class(e->w.text, e->source->names, "float");
}

static void say_self_test(emitter *e)
{
    const ek_c_source *s = e->source;
    const int64_t inputs = ek_dims_count(e->plan->net->input), outputs = e->plan->values[e->plan->output].count;
    const int64_t constants = s->constants;
    char number[8], allowed[EK_FLOAT_TEXT + 4];
    int column;
    ek_c_say(&e->w,
             "\n/* The self-test's images, and the outputs for them. A linker that drops unused sections drops "
             "them where\n   $_self_test is not called. */\n");
    begin_array(e, "uint8_t", "images", 0, s->tests * inputs, &column);
    for (int64_t i = 0; i < s->tests * inputs; i++)
        ek_c_put_number(e->w.text, number, snprintf(number, sizeof number, "%d", s->pixels[i]), &column);
    ek_c_end_array(e->w.text);
    say_floats(e, "expected", 0, s->tests * outputs, plain, s->outputs);
    e->source->constants = constants;
    float_text((float)s->allowed, allowed);
    ek_c_sayf(&e->w,
              "\nint $_self_test(void)\n"
              "{\n"
              "    static float outputs[@_OUTPUTS];\n"
              "    int i, k, wrong = 0;\n"
              "    for (i = 0; i < %d; i++) {\n"
              "        const float *const expected = $_expected_0 + i * @_OUTPUTS;\n"
              "        int differ = 0;\n"
              "        $_predict_bytes($_images_0 + i * @_INPUTS, outputs);\n"
              "        for (k = 0; k < @_OUTPUTS; k++) {\n"
              "            const float d = outputs[k] - expected[k], size = d < 0.0f ? -d : d;\n"
              "            differ |= !(size <= %s);\n"
              "        }\n"
              "        wrong += differ;\n"
              "    }\n"
              "    return wrong;\n"
              "}\n",
              s->tests, allowed);
}

/* ---- The files ---------------------------------------------------------------------------------------------- */

static void say_net_text(emitter *e, const char *text)
{
    for (size_t length; *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        ek_text_say(e->w.text, "       ");
        ek_text_put(e->w.text, text, length);
        ek_text_say(e->w.text, "\n");
    }
}

static void say_note(emitter *e, const char *what, const char *key)
{
    const char *note = ek_net_note(e->source->unfolded, key);
    if (!note)
        return;
    ek_c_sayf(&e->w, "   %s: ", what);
    say_foreign(e, note);
    ek_text_say(e->w.text, "\n");
}

static ek_status say_title(emitter *e)
{
    const ek_c_source *s = e->source;
    char *text = ek_net_text(s->unfolded);
    if (!text)
        return EK_ERR_MEMORY;
    ek_c_sayf(
        &e->w,
        "/* A net, written by evenkeel %s. It needs no library but the C library's math, and allocates nothing.\n\n"
        "   %lld bytes of constants, %lld bytes of memory that changes.\n\n",
        ek_version(), (long long)s->constants, (long long)s->memory);
    say_net_text(e, text);
    ek_free(text);
    ek_c_say(&e->w, "\n   Batch norms are folded into the layers before them, in double precision.\n");
    say_note(e, "Trained on", "data.name");
    say_note(e, "Accuracy on its validation images", "val.accuracy");
    ek_c_sayf(
        &e->w,
        "   Outputs are those of evenkeel's own prediction but for rounding, since sums run in another order; the\n"
        "   self-test, on %d %s, allows a difference of %.3g.\n\n"
        "       cc -O3 -march=native -c %s.c\n"
        "       arm-none-eabi-gcc -Os -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -c %s.c\n\n"
        "   Constants stand where the compiler puts them; a section attribute: -D'@_FLASH=__attribute__((section(\n"
        "   \".name\")))'. Where code is to be small, -D@_INLINE=static keeps one copy of each function. */\n",
        s->tests, s->real ? "images of a data set" : "random images", s->allowed, s->names->file, s->names->file);
    return EK_OK;
}

static bool needs_math(const ek_c_plan *p)
{
    bool needs = false;
    for (int i = 0; i < p->op_count; i++)
        needs =
            needs || p->ops[i].kind == EK_C_LAYERNORM || p->ops[i].kind == EK_C_TANH || p->ops[i].kind == EK_C_GELU;
    return needs;
}

/* The title tells sizes, which the rest has counted. */
static ek_status say_source(emitter *e, ek_text *c)
{
    ek_text body = {0};
    e->w.text = &body;
    if (needs_math(e->plan))
        ek_c_say(&e->w, "#include <math.h>\n\n");
    ek_c_say(&e->w, "#ifndef @_FLASH\n#define @_FLASH\n#endif\n"
                    "#ifndef @_INLINE\n"
                    "#if defined(__GNUC__)\n#define @_INLINE static inline __attribute__((always_inline))\n"
                    "#else\n#define @_INLINE static\n#endif\n#endif\n"
                    "#if defined(__GNUC__)\n#define @_RESTRICT __restrict__\n#else\n#define @_RESTRICT\n#endif\n\n");
    ek_c_say_kernels(&e->w);
    for (int i = 0; i < e->plan->op_count; i++)
        say_constants(e, i);
    say_run(e);
    say_self_test(e);
    ek_status status = body.failed ? EK_ERR_MEMORY : EK_OK;
    if (!status) {
        e->stamp = ek_c_stamp(&body);
        e->w.text = c;
        status = say_title(e);
        ek_text_sayf(c, "#include \"%s.h\"\n\n", e->source->names->file);
        ek_c_put_check(c, e->source->names, e->stamp);
        ek_text_put(c, body.text, body.length);
    }
    ek_free(body.text);
    return status;
}

static void say_header(emitter *e, ek_text *h)
{
    const ek_c_source *s = e->source;
    char title[EK_C_NAME + 160];
    snprintf(title, sizeof title,
             "A net, written by evenkeel %s: %lld bytes of constants, %lld bytes of memory. %s.c tells more.",
             ek_version(), (long long)s->constants, (long long)s->memory, s->names->file);
    ek_c_begin_header(h, s->names, title, s->unfolded, e->plan->values[e->plan->output].count, s->memory, e->stamp);
    e->w.text = h;
    ek_c_say(
        &e->w,
        "/* image: channel by channel, row by row, pixels from 0 to 1 (bytes: 0 to 255). What the net's images are\n"
        "   normalised with is applied here. outputs: the logits. Not for two threads at a time: what layers hand on\n"
        "   has one place. */\n"
        "void $_predict(const float image[@_INPUTS], float outputs[@_OUTPUTS]);\n"
        "void $_predict_bytes(const uint8_t image[@_INPUTS], float outputs[@_OUTPUTS]);\n\n"
        "/* The class of these outputs: the greatest's, the first of equal ones. */\n"
        "int $_class(const float outputs[@_OUTPUTS]);\n\n");
    ek_c_sayf(
        &e->w,
        "/* Recorded images through the net: how many of %d give other outputs than they should. 0: all is well. */\n"
        "int $_self_test(void);\n\n",
        s->tests);
    ek_c_end_header(h);
}

ek_status ek_c_write(ek_c_source *source, const ek_c_plan *plan, ek_text *c, ek_text *h)
{
    emitter e = {.source = source, .plan = plan};
    e.w = (ek_c_writer){.plan = plan, .prefix = source->names->prefix, .upper = source->names->upper};
    source->constants = 0;
    source->memory = 4 * plan->memory;
    EK_TRY(say_source(&e, c));
    say_header(&e, h);
    return c->failed || h->failed ? EK_ERR_MEMORY : EK_OK;
}
