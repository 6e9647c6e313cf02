/* SPDX-License-Identifier: MIT
 * The functions of the C text. Sizes are constants where they are called, and functions are inlined there, so that a
 * compiler knows every loop's length. A linear layer's innermost loop runs over outputs, an activation's over values,
 * and both vectorise; convolutions, whose loops gcc 12 vectorises well and clang 14 does not, say what a vector is
 * where the compiler knows vectors. */
#include "io/c_source.h"

static const char text_copy[] = "@_INLINE void $_copy(const float *@_RESTRICT x, float *@_RESTRICT y, int count)\n"
                                "{\n"
                                "    int i;\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] = x[i];\n"
                                "}\n\n";

/* Two outputs below each other share each tap; a vector's lanes are outputs beside each other. */
#define CONV_SUMS(lanes, type)                                                                                       \
    "@_INLINE void $_sums" lanes "(const float *x, const float *taps, float *y, int x_below, int y_below, int r,\n"  \
    "                       int s, int row, int column)\n"                                                           \
    "{\n"                                                                                                            \
    "    " type " upper = *(const " type " *)y, lower = *(const " type " *)(y + y_below);\n"                         \
    "    int a, b;\n"                                                                                                \
    "    for (a = 0; a < r; a++)\n"                                                                                  \
    "        for (b = 0; b < s; b++) {\n"                                                                            \
    "            const float *const from = x + a * row + b * column;\n"                                              \
    "            upper += taps[a * s + b] * *(const " type " *)from;\n"                                              \
    "            lower += taps[a * s + b] * *(const " type " *)(from + x_below);\n"                                  \
    "        }\n"                                                                                                    \
    "    *(" type " *)y = upper;\n"                                                                                  \
    "    *(" type " *)(y + y_below) = lower;\n"                                                                      \
    "}\n\n"

static const char text_sums_title[] =
    "/* Outputs of a convolution at y, and those of the row below (itself under the last row), gain the r x s taps'\n"
    "   products with a channel at x; `row` and `column` lie between one tap's place in x and the next's. */\n";
static const char text_sums[] = CONV_SUMS("", "float");
static const char text_vectors[] =
    "#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))\n"
    "#define @_VECTORS\n"
    "typedef float $_float4 __attribute__((vector_size(16), aligned(4), may_alias));\n"
    "typedef float $_float8 __attribute__((vector_size(32), aligned(4), may_alias));\n\n";
static const char text_sums4[] = CONV_SUMS("4", "$_float4");
static const char text_sums8[] = CONV_SUMS("8", "$_float8");

static const char text_conv[] =
    "/* y [k][p][q] = bias + sum over channels and taps of weight [k][c/groups][r][s] * x [c][h][w], zeros around x.\n"
    "   One channel of x after the other; padded, it is copied into `plane` with its zeros. */\n"
    "@_INLINE void $_conv(const float *@_RESTRICT x, float *@_RESTRICT y, const float *@_RESTRICT weight,\n"
    "                     const float *@_RESTRICT bias, float *@_RESTRICT plane, int c, int h, int w, int k, int p,\n"
    "                     int q, int r, int s, int stride_h, int stride_w, int padding_h, int padding_w,\n"
    "                     int dilation_h, int dilation_w, int groups)\n"
    "{\n"
    "    const int channels = c / groups, outputs = k / groups, width = w + 2 * padding_w, row = dilation_h * width;\n"
    "    int i, j, l, o;\n"
    "    for (o = 0; o < k; o++)\n"
    "        for (j = 0; j < p * q; j++)\n"
    "            y[o * p * q + j] = bias ? bias[o] : 0.0f;\n"
    "    for (j = 0; (padding_h || padding_w) && j < (h + 2 * padding_h) * width; j++)\n"
    "        plane[j] = 0.0f;\n"
    "    for (i = 0; i < c; i++) {\n"
    "        const float *image = x + i * h * w;\n"
    "        if (padding_h || padding_w) {\n"
    "            for (j = 0; j < h; j++)\n"
    "                for (l = 0; l < w; l++)\n"
    "                    plane[(j + padding_h) * width + padding_w + l] = image[j * w + l];\n"
    "            image = plane;\n"
    "        }\n"
    "        for (o = i / channels * outputs; o < (i / channels + 1) * outputs; o++) {\n"
    "            const float *const taps = weight + (o * channels + i % channels) * r * s;\n"
    "            for (j = 0; j < p; j += 2) {\n"
    "                const float *const from = image + j * stride_h * width;\n"
    "                float *const to = y + (o * p + j) * q;\n"
    "                const int x_below = j + 1 < p ? stride_h * width : 0, y_below = j + 1 < p ? q : 0;\n"
    "                l = 0;\n"
    "#if defined(@_VECTORS)\n"
    "                for (; stride_w == 1 && l + 8 <= q; l += 8)\n"
    "                    $_sums8(from + l, taps, to + l, x_below, y_below, r, s, row, dilation_w);\n"
    "                for (; stride_w == 1 && l + 4 <= q; l += 4)\n"
    "                    $_sums4(from + l, taps, to + l, x_below, y_below, r, s, row, dilation_w);\n"
    "#endif\n"
    "                for (; l < q; l++)\n"
    "                    $_sums(from + l * stride_w, taps, to + l, x_below, y_below, r, s, row, dilation_w);\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "}\n\n";

static const char text_linear[] =
    "/* y [k] = bias + sum over c of weight [c][k] * x [c]. */\n"
    "@_INLINE void $_linear(const float *@_RESTRICT x, float *@_RESTRICT y, const float *@_RESTRICT weight,\n"
    "                       const float *@_RESTRICT bias, int c, int k)\n"
    "{\n"
    "    int i, o;\n"
    "    for (o = 0; o < k; o++)\n"
    "        y[o] = bias ? bias[o] : 0.0f;\n"
    "    for (i = 0; i + 4 <= c; i += 4) {\n"
    "        const float *const row = weight + i * k;\n"
    "        const float x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];\n"
    "        for (o = 0; o < k; o++)\n"
    "            y[o] += x0 * row[o] + x1 * row[o + k] + x2 * row[o + 2 * k] + x3 * row[o + 3 * k];\n"
    "    }\n"
    "    for (i = c / 4 * 4; i < c; i++)\n"
    "        for (o = 0; o < k; o++)\n"
    "            y[o] += x[i] * weight[i * k + o];\n"
    "}\n\n";

static const char text_scale[] =
    "/* y = y * scale + shift, channel by channel: a batch norm that no layer before it could take in. */\n"
    "@_INLINE void $_scale(float *@_RESTRICT y, const float *@_RESTRICT scale, const float *@_RESTRICT shift, int c,\n"
    "                      int count)\n"
    "{\n"
    "    int i, j;\n"
    "    for (i = 0; i < c; i++)\n"
    "        for (j = 0; j < count; j++)\n"
    "            y[i * count + j] = y[i * count + j] * scale[i] + shift[i];\n"
    "}\n\n";

static const char text_layernorm[] =
    "/* y = gamma * (y - mean) / sqrt(variance + eps) + beta over all of y. */\n"
    "@_INLINE void $_layernorm(float *@_RESTRICT y, const float *@_RESTRICT gamma, const float *@_RESTRICT beta,\n"
    "                          float eps, int count)\n"
    "{\n"
    "    double mean = 0.0, variance = 0.0;\n"
    "    float middle, root;\n"
    "    int i;\n"
    "    for (i = 0; i < count; i++)\n"
    "        mean += (double)y[i];\n"
    "    mean /= count;\n"
    "    for (i = 0; i < count; i++)\n"
    "        variance += ((double)y[i] - mean) * ((double)y[i] - mean);\n"
    "    variance = variance / count + (double)eps;\n"
    "    root = variance > 0.0 ? (float)(1.0 / sqrt(variance)) : 0.0f;\n"
    "    middle = (float)mean;\n"
    "    for (i = 0; i < count; i++)\n"
    "        y[i] = (y[i] - middle) * root * (gamma ? gamma[i] : 1.0f) + (beta ? beta[i] : 0.0f);\n"
    "}\n\n";

static const char text_relu[] = "@_INLINE void $_relu(float *y, int count)\n"
                                "{\n"
                                "    int i;\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] = y[i] < 0.0f ? 0.0f : y[i];\n"
                                "}\n\n";

static const char text_leaky_relu[] = "@_INLINE void $_leaky_relu(float *y, float slope, int count)\n"
                                      "{\n"
                                      "    int i;\n"
                                      "    for (i = 0; i < count; i++)\n"
                                      "        y[i] = y[i] > 0.0f ? y[i] : y[i] * slope;\n"
                                      "}\n\n";

/* The shifted float's last bits are the integer next to x/log(2); what is left of x is within 0.35, where the
 * polynomial (Cephes' expf) is exact to 2e-7. The bounds are set among the bits: a comparison of floats might signal a
 * NaN, which keeps compilers from vectorising the loop around it. In the bits a size from 87 (0x42ae0000) to infinity
 * (0x7f800000) becomes 87, and a NaN, above them, stays what it is. */
static const char text_exp[] =
    "/* e^x for x within +-87 (beyond it: of those), to some 2e-7 of it: 2^n * e^r, n the integer next to x/log(2).\n"
    "   No comparison of floats: loops around it vectorise. A NaN stays one. */\n"
    "@_INLINE float $_exp(float x)\n"
    "{\n"
    "    union {\n"
    "        float f;\n"
    "        uint32_t i;\n"
    "    } in, n, power;\n"
    "    uint32_t size;\n"
    "    float whole, r;\n"
    "    in.f = x;\n"
    "    size = in.i & 0x7fffffffu;\n"
    "    size = size - 0x42ae0000u <= 0x7f800000u - 0x42ae0000u ? 0x42ae0000u : size;\n"
    "    in.i = (in.i & 0x80000000u) | size;\n"
    "    x = in.f;\n"
    "    n.f = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23 */\n"
    "    n.i -= 0x4b400000u;\n"
    "    whole = (float)(int32_t)n.i;\n"
    "    power.i = (n.i + 127u) << 23;\n"
    "    r = x - whole * 0.693359375f;\n"
    "    r = r + whole * 2.12194440e-4f;\n"
    "    x = 1.9875691500e-4f * r + 1.3981999507e-3f;\n"
    "    x = x * r + 8.3334519073e-3f;\n"
    "    x = x * r + 4.1665795894e-2f;\n"
    "    x = x * r + 1.6666665459e-1f;\n"
    "    x = x * r + 5.0000001201e-1f;\n"
    "    return (x * r * r + r + 1.0f) * power.f;\n"
    "}\n\n";

static const char text_sigmoid[] = "@_INLINE void $_sigmoid(float *y, int count)\n"
                                   "{\n"
                                   "    int i;\n"
                                   "    for (i = 0; i < count; i++)\n"
                                   "        y[i] = 1.0f / (1.0f + $_exp(-y[i]));\n"
                                   "}\n\n";

static const char text_tanh[] = "@_INLINE void $_tanh(float *y, int count)\n"
                                "{\n"
                                "    int i;\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] = tanhf(y[i]);\n"
                                "}\n\n";

static const char text_gelu[] = "@_INLINE void $_gelu(float *y, int count)\n"
                                "{\n"
                                "    int i;\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] = 0.5f * y[i] * erfcf(y[i] * -0.707106781f);\n"
                                "}\n\n";

static const char text_gelu_tanh[] =
    "/* x * (1 + tanh(u)) / 2 = x / (1 + e^(-2u)), u = sqrt(2/pi) * (x + 0.044715 x^3). */\n"
    "@_INLINE void $_gelu_tanh(float *y, int count)\n"
    "{\n"
    "    int i;\n"
    "    for (i = 0; i < count; i++)\n"
    "        y[i] = y[i] / (1.0f + $_exp(-1.59576912f * (y[i] + 0.044715f * y[i] * y[i] * y[i])));\n"
    "}\n\n";

static const char text_add[] = "@_INLINE void $_add(float *@_RESTRICT y, const float *@_RESTRICT x, int count)\n"
                               "{\n"
                               "    int i;\n"
                               "    for (i = 0; i < count; i++)\n"
                               "        y[i] += x[i];\n"
                               "}\n\n";

static const char text_add_pad[] =
    "/* y [..][p][q] += every stride-th row and column of x [c][h][w]; y's further channels stay. */\n"
    "@_INLINE void $_add_pad(float *@_RESTRICT y, const float *@_RESTRICT x, int c, int h, int w, int p, int q,\n"
    "                        int stride)\n"
    "{\n"
    "    int i, j, l;\n"
    "    for (i = 0; i < c; i++)\n"
    "        for (j = 0; j < p; j++)\n"
    "            for (l = 0; l < q; l++)\n"
    "                y[(i * p + j) * q + l] += x[(i * h + j * stride) * w + l * stride];\n"
    "}\n\n";

/* The loops over windows: rows top..bottom-1 and columns left..right-1 of one are inside the image. */
#define WINDOWS                                                                                                      \
    "    int i, j, l, a, b;\n"                                                                                       \
    "    for (i = 0; i < c; i++)\n"                                                                                  \
    "        for (j = 0; j < p; j++)\n"                                                                              \
    "            for (l = 0; l < q; l++) {\n"                                                                        \
    "                int top = j * stride_h - padding_h, left = l * stride_w - padding_w;\n"                         \
    "                int bottom = top + kernel_h, right = left + kernel_w;\n"                                        \
    "                const float *const image = x + i * h * w;\n"                                                    \
    "                if (padding_h || padding_w) {\n"                                                                \
    "                    top = top < 0 ? 0 : top;\n"                                                                 \
    "                    left = left < 0 ? 0 : left;\n"                                                              \
    "                    bottom = bottom > h ? h : bottom;\n"                                                        \
    "                    right = right > w ? w : right;\n"                                                           \
    "                }\n"

#define POOL_PARAMETERS                                                                                              \
    "const float *@_RESTRICT x, float *@_RESTRICT y, int c, int h, int w, int p, int q,\n"                           \
    "                        int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w"

static const char text_maxpool[] =
    "@_INLINE void $_maxpool(" POOL_PARAMETERS ")\n"
    "{\n" WINDOWS "                {\n"
    "                    float most = image[top * w + left];\n"
    "                    for (a = top; a < bottom; a++)\n"
    "                        for (b = left; b < right; b++) {\n"
    "                            const float value = image[a * w + b];\n"
    "                            most = value > most || value != value ? value : most;\n"
    "                        }\n"
    "                    y[(i * p + j) * q + l] = most;\n"
    "                }\n"
    "            }\n"
    "}\n\n";

static const char text_avgpool[] =
    "/* `inside`: the mean is over what is inside the image, else zeros around it count. */\n"
    "@_INLINE void $_avgpool(" POOL_PARAMETERS ", int inside)\n"
    "{\n" WINDOWS "                {\n"
    "                    float sum = 0.0f;\n"
    "                    for (a = top; a < bottom; a++)\n"
    "                        for (b = left; b < right; b++)\n"
    "                            sum += image[a * w + b];\n"
    "                    y[(i * p + j) * q + l] = sum / (inside ? (float)(bottom - top) * (float)(right - left)\n"
    "                                                           : (float)kernel_h * (float)kernel_w);\n"
    "                }\n"
    "            }\n"
    "}\n\n";

static const char *const texts[EK_C_KINDS] = {
    [EK_C_CONV] = text_conv,           [EK_C_LINEAR] = text_linear,   [EK_C_SCALE] = text_scale,
    [EK_C_LAYERNORM] = text_layernorm, [EK_C_RELU] = text_relu,       [EK_C_LEAKY_RELU] = text_leaky_relu,
    [EK_C_SIGMOID] = text_sigmoid,     [EK_C_TANH] = text_tanh,       [EK_C_GELU] = text_gelu,
    [EK_C_GELU_TANH] = text_gelu_tanh, [EK_C_ADD] = text_add,         [EK_C_ADD_PAD] = text_add_pad,
    [EK_C_MAXPOOL] = text_maxpool,     [EK_C_AVGPOOL] = text_avgpool,
};

static void say_sums(ek_c_writer *w)
{
    ek_c_say(w, text_sums_title);
    ek_c_say(w, text_sums);
    ek_c_say(w, text_vectors);
    ek_c_say(w, text_sums4);
    ek_c_say(w, text_sums8);
    ek_c_say(w, "#endif\n\n");
}

void ek_c_say_kernels(ek_c_writer *w)
{
    bool needed[EK_C_KINDS] = {false};
    for (int i = 0; i < w->plan->op_count; i++)
        needed[w->plan->ops[i].kind] = true;
    ek_c_say(w, text_copy);
    if (needed[EK_C_CONV])
        say_sums(w);
    if (needed[EK_C_SIGMOID] || needed[EK_C_GELU_TANH])
        ek_c_say(w, text_exp);
    for (int kind = 0; kind < EK_C_KINDS; kind++)
        if (needed[kind] && texts[kind])
            ek_c_say(w, texts[kind]);
}
