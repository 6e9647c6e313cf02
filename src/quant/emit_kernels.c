/* SPDX-License-Identifier: MIT
 * The functions of the C text. In them $ is the prefix, X and Y are the types that are read and written, NAME the
 * function's name and ZERO what takes the zero point away. int32_t indices: an int may have sixteen bits there. */
#include "quant/emit.h"

#include <stdio.h>
#include <string.h>

/* ---- What they share ---------------------------------------------------------------------------------------- */

static const char text_scale[] =
    "/* value * factor / 2^shift, rounded half up: moved by 2^62, since a negative number shifted is the compiler's\n"
    "   choice. |value * factor| < 2^62. */\n"
    "static int64_t $_scale(int32_t value, int32_t factor, int32_t shift)\n"
    "{\n"
    "    const uint64_t lift = (uint64_t)1 << 62, half = ((uint64_t)1 << shift) >> 1;\n"
    "    const uint64_t product = (uint64_t)((int64_t)value * factor) + lift + half;\n"
    "\n"
    "    return (int64_t)(product >> shift) - (int64_t)(lift >> shift);\n"
    "}\n"
    "\n";

static const char text_clamp[] = "static int32_t $_clamp(int64_t value, int32_t low, int32_t high)\n"
                                 "{\n"
                                 "    return value < low ? low : value > high ? high : (int32_t)value;\n"
                                 "}\n"
                                 "\n";

static const char text_end[] = "/* Outputs y = zero_y + scaled sum, in low..high. */\n"
                               "typedef struct $_end {\n"
                               "    int32_t zero_x, zero_y, low, high;\n"
                               "} $_end;\n"
                               "\n";

static const char text_map[] =
    "/* A convolution or linear layer: x [c][h][w], y [k][p][q], weights [k][c/groups][r][s]; of each k a bias and\n"
    "   what sums are scaled by. */\n"
    "typedef struct $_map {\n"
    "    int32_t c, h, w, k, p, q, r, s;\n"
    "    int32_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups;\n"
    "    $_end end;\n"
    "    const int8_t *weights;\n"
    "    const int32_t *bias, *factor;\n"
    "    const uint8_t *shift;\n"
    "} $_map;\n"
    "\n"
    "static int32_t $_finish(const $_map *m, int32_t k, int32_t sum)\n"
    "{\n"
    "    return $_clamp($_scale(sum, m->factor[k], m->shift[k]) + m->end.zero_y, m->end.low, m->end.high);\n"
    "}\n"
    "\n";

static const char text_pool[] = "typedef struct $_pool {\n"
                                "    int32_t c, h, w, p, q, kernel_h, kernel_w, stride_h, stride_w, padding_h, "
                                "padding_w;\n"
                                "    int32_t counts; /* 1: all windows are scaled alike, else by how much is in them "
                                "*/\n"
                                "    $_end end;\n"
                                "    const int32_t *factor;\n"
                                "    const uint8_t *shift;\n"
                                "} $_pool;\n"
                                "\n";

static const char text_add[] =
    "/* y = x + r, of which every stride-th row and column is taken, and nothing for channels from rc on. */\n"
    "typedef struct $_add {\n"
    "    int32_t c, h, w, stride, rc, rh, rw;\n"
    "    int32_t zero_r, factor_x, factor_r, shift;\n"
    "    $_end end;\n"
    "} $_add;\n"
    "\n";

static const char text_rescale[] = "typedef struct $_rescale {\n"
                                   "    int32_t count, factor, shift;\n"
                                   "    $_end end;\n"
                                   "} $_rescale;\n"
                                   "\n";

/* ---- Functions ---------------------------------------------------------------------------------------------- */

static const char text_conv[] =
    "static void $_NAME(const $_map *m, const X *x, Y *y)\n"
    "{\n"
    "    const int32_t channels = m->c / m->groups, outputs = m->k / m->groups;\n"
    "    int32_t k, p, q, c, r, s;\n"
    "\n"
    "    for (k = 0; k < m->k; k++) {\n"
    "        const int8_t *const weights = m->weights + k * channels * m->r * m->s;\n"
    "        const X *const from = x + k / outputs * channels * m->h * m->w;\n"
    "        for (p = 0; p < m->p; p++)\n"
    "            for (q = 0; q < m->q; q++) {\n"
    "                const int32_t top = p * m->stride_h - m->padding_h, left = q * m->stride_w - m->padding_w;\n"
    "                /* taps inside the image: first..last-1 of a row */\n"
    "                const int32_t first = left < 0 ? (m->dilation_w - 1 - left) / m->dilation_w : 0;\n"
    "                const int32_t room = left < m->w ? (m->w - 1 - left) / m->dilation_w + 1 : 0;\n"
    "                const int32_t last = room < m->s ? room : m->s;\n"
    "                int32_t sum = m->bias[k];\n"
    "                for (c = 0; c < channels; c++)\n"
    "                    for (r = 0; r < m->r; r++) {\n"
    "                        const int32_t h = top + r * m->dilation_h;\n"
    "                        const int8_t *const taps = weights + (c * m->r + r) * m->s;\n"
    "                        const int32_t at = (c * m->h + h) * m->w + left;\n"
    "                        if (h < 0 || h >= m->h)\n"
    "                            continue;\n"
    "                        for (s = first; s < last; s++)\n"
    "                            sum += taps[s] * (from[at + s * m->dilation_w]ZERO);\n"
    "                    }\n"
    "                *y++ = (Y)$_finish(m, k, sum);\n"
    "            }\n"
    "    }\n"
    "}\n"
    "\n";

static const char text_linear[] = "static void $_NAME(const $_map *m, const X *x, Y *y)\n"
                                  "{\n"
                                  "    const int8_t *weights = m->weights;\n"
                                  "    int32_t k, c;\n"
                                  "\n"
                                  "    for (k = 0; k < m->k; k++) {\n"
                                  "        int32_t sum = m->bias[k];\n"
                                  "        for (c = 0; c < m->c; c++)\n"
                                  "            sum += weights[c] * (int32_t)x[c];\n"
                                  "        weights += m->c;\n"
                                  "        y[k] = (Y)$_finish(m, k, sum);\n"
                                  "    }\n"
                                  "}\n"
                                  "\n";

/* Both poolings walk the same windows. */
#define WINDOW_LOOPS                                                                                                 \
    "static void $_NAME(const $_pool *m, const X *x, Y *y)\n"                                                        \
    "{\n"                                                                                                            \
    "    int32_t c, p, q, h, w;\n"                                                                                   \
    "\n"                                                                                                             \
    "    for (c = 0; c < m->c; c++, x += m->h * m->w)\n"                                                             \
    "        for (p = 0; p < m->p; p++)\n"                                                                           \
    "            for (q = 0; q < m->q; q++) {\n"                                                                     \
    "                const int32_t top = p * m->stride_h - m->padding_h, left = q * m->stride_w - m->padding_w;\n"   \
    "                const int32_t bottom = top + m->kernel_h < m->h ? top + m->kernel_h : m->h;\n"                  \
    "                const int32_t right = left + m->kernel_w < m->w ? left + m->kernel_w : m->w;\n"

static const char text_avgpool[] = WINDOW_LOOPS
    "                const int32_t rows = bottom - (top > 0 ? top : 0), columns = right - (left > 0 ? left : 0);\n"
    "                const int32_t i = m->counts > 1 ? rows * columns - 1 : 0;\n"
    "                int32_t sum = 0;\n"
    "                for (h = top > 0 ? top : 0; h < bottom; h++)\n"
    "                    for (w = left > 0 ? left : 0; w < right; w++)\n"
    "                        sum += x[h * m->w + w] - m->end.zero_x;\n"
    "                *y++ = (Y)$_clamp($_scale(sum, m->factor[i], m->shift[i]) + m->end.zero_y, m->end.low,\n"
    "                                  m->end.high);\n"
    "            }\n"
    "}\n"
    "\n";

static const char text_maxpool[] =
    WINDOW_LOOPS "                X most = -128;\n"
                 "                for (h = top > 0 ? top : 0; h < bottom; h++)\n"
                 "                    for (w = left > 0 ? left : 0; w < right; w++)\n"
                 "                        most = x[h * m->w + w] > most ? x[h * m->w + w] : most;\n"
                 "                *y++ = most;\n"
                 "            }\n"
                 "}\n"
                 "\n";

static const char text_sum[] =
    "/* The sum, which is within +-2^30, is shifted as $_scale does it. */\n"
    "static void $_NAME(const $_add *m, const X *x, const X *r, Y *y)\n"
    "{\n"
    "    const uint32_t lift = (uint32_t)1 << 31, half = ((uint32_t)1 << m->shift) >> 1;\n"
    "    int32_t c, h, w;\n"
    "\n"
    "    for (c = 0; c < m->c; c++)\n"
    "        for (h = 0; h < m->h; h++)\n"
    "            for (w = 0; w < m->w; w++) {\n"
    "                int32_t sum = (*x++ - m->end.zero_x) * m->factor_x;\n"
    "                if (c < m->rc)\n"
    "                    sum += (r[(c * m->rh + h * m->stride) * m->rw + w * m->stride] - m->zero_r) * m->factor_r;\n"
    "                sum = (int32_t)(((uint32_t)sum + lift + half) >> m->shift) - (int32_t)(lift >> m->shift);\n"
    "                *y++ = (Y)$_clamp((int64_t)sum + m->end.zero_y, m->end.low, m->end.high);\n"
    "            }\n"
    "}\n"
    "\n";

static const char text_table[] = "static void $_NAME(const Y *table, int32_t count, const X *x, Y *y)\n"
                                 "{\n"
                                 "    int32_t i;\n"
                                 "\n"
                                 "    for (i = 0; i < count; i++)\n"
                                 "        y[i] = table[x[i] + 128];\n"
                                 "}\n"
                                 "\n";

static const char text_input[] =
    "/* Each plane of the image by its own table, or all by one. */\n"
    "static void $_NAME(const int8_t *table, int32_t tables, int32_t plane, const uint8_t *x, int8_t *y)\n"
    "{\n"
    "    int32_t c, i;\n"
    "\n"
    "    for (c = 0; c < tables; c++, table += 256)\n"
    "        for (i = 0; i < plane; i++)\n"
    "            *y++ = table[*x++];\n"
    "}\n"
    "\n";

static const char text_elements[] =
    "static void $_NAME(const $_rescale *m, const X *x, Y *y)\n"
    "{\n"
    "    int32_t i;\n"
    "\n"
    "    for (i = 0; i < m->count; i++)\n"
    "        y[i] = (Y)$_clamp($_scale(x[i] - m->end.zero_x, m->factor, m->shift) + m->end.zero_y, m->end.low,\n"
    "                          m->end.high);\n"
    "}\n"
    "\n";

/* ---- Which, and writing them -------------------------------------------------------------------------------- */

static const char *type_name(ek_q_type type)
{
    return type == EK_Q_INT8 ? "int8_t" : type == EK_Q_BYTE ? "uint8_t" : "int16_t";
}

ek_q_kernel ek_q_kernel_of(const ek_quantized *q, const ek_q_op *op)
{
    static const char *const names[] = {
        [EK_Q_INPUT] = "input",     [EK_Q_MAP] = "conv", [EK_Q_TABLE] = "activate", [EK_Q_AVGPOOL] = "avgpool",
        [EK_Q_MAXPOOL] = "maxpool", [EK_Q_ADD] = "sum",  [EK_Q_RESCALE] = "convert"};
    static const char *const texts[] = {
        [EK_Q_INPUT] = text_input,     [EK_Q_MAP] = text_conv,        [EK_Q_TABLE] = text_table,
        [EK_Q_AVGPOOL] = text_avgpool, [EK_Q_MAXPOOL] = text_maxpool, [EK_Q_ADD] = text_sum,
        [EK_Q_RESCALE] = text_elements};
    const ek_q_type x = q->tensors[op->x].type, y = q->tensors[op->y].type;
    ek_q_kernel k = {.text = texts[op->kind], .x = type_name(x), .y = type_name(y)};
    const char *name = names[op->kind];
    if (op->kind == EK_Q_MAP && ek_conv_is_linear(&op->g)) {
        name = "linear";
        k.text = text_linear;
    }
    snprintf(k.name, sizeof k.name, "%s%s%s%s", name, op->kind == EK_Q_MAP && x == EK_Q_BYTE ? "_bytes" : "",
             ek_q_subtracts(q, op) ? "_padded" : "", y == EK_Q_INT16 ? "_wide" : "");
    return k;
}

static void put_text(ek_q_out *out, const char *text, const ek_q_kernel *k, bool padded)
{
    while (*text) {
        const size_t plain = strcspn(text, "$XYNZ");
        ek_text_put(out->text, text, plain);
        text += plain;
        if (*text == '$') {
            ek_text_say(out->text, out->prefix);
            text++;
        } else if (!strncmp(text, "NAME", 4)) {
            ek_text_say(out->text, k->name);
            text += 4;
        } else if (!strncmp(text, "ZERO", 4)) {
            ek_text_say(out->text, padded ? " - m->end.zero_x" : "");
            text += 4;
        } else if (*text == 'X' || *text == 'Y') {
            ek_text_say(out->text, *text == 'X' ? k->x : k->y);
            text++;
        } else if (*text) {
            ek_text_put(out->text, text++, 1);
        }
    }
}

/* Whether a name is new; it is not any more then. There are some thirty: kinds times types. */
enum { NAMES = 64 };
typedef struct names {
    ek_q_kernel known[NAMES];
    int count;
} names;

static bool is_new(names *n, const ek_q_kernel *k)
{
    for (int i = 0; i < n->count; i++)
        if (!strcmp(n->known[i].name, k->name))
            return false;
    if (n->count < NAMES)
        n->known[n->count++] = *k;
    return true;
}

static bool has(const ek_quantized *q, ek_q_kind kind)
{
    for (int i = 0; i < q->op_count; i++)
        if (q->ops[i].kind == kind)
            return true;
    return false;
}

void ek_q_put_kernels(ek_q_out *out, const ek_quantized *q)
{
    const bool pools = has(q, EK_Q_AVGPOOL) || has(q, EK_Q_MAXPOOL);
    const bool scales = has(q, EK_Q_MAP) || has(q, EK_Q_AVGPOOL) || has(q, EK_Q_RESCALE);
    if (scales)
        put_text(out, text_scale, NULL, false);
    if (scales || has(q, EK_Q_ADD))
        put_text(out, text_clamp, NULL, false);
    if (scales || pools || has(q, EK_Q_ADD))
        put_text(out, text_end, NULL, false);
    if (has(q, EK_Q_MAP))
        put_text(out, text_map, NULL, false);
    if (pools)
        put_text(out, text_pool, NULL, false);
    if (has(q, EK_Q_ADD))
        put_text(out, text_add, NULL, false);
    if (has(q, EK_Q_RESCALE))
        put_text(out, text_rescale, NULL, false);
    names seen = {.count = 0};
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_kernel k = ek_q_kernel_of(q, &q->ops[i]);
        if (is_new(&seen, &k))
            put_text(out, k.text, &k, ek_q_subtracts(q, &q->ops[i]));
    }
}
