/* SPDX-License-Identifier: MIT
 * How a net's parameters start. */
#include "base/random.h"
#include "net/net.h"

#include <math.h>

/* Uniform in [-bound, bound): the same numbers on every machine, since each step below is exact or rounded once. */
static void fill_uniform(const ek_tensor *tensor, int index, float bound, uint64_t seed)
{
    uint32_t bits[4];
    for (int64_t i = 0; i < tensor->count; i++) {
        if (i % 4 == 0)
            ek_random4(seed, EK_RANDOM_INIT, (uint32_t)index, (uint64_t)i / 4, bits);
        tensor->data[i] = bound * (2 * ek_random_unit(bits[i % 4]) - 1);
    }
}

/* The natural logarithm of x in (0, 1), to a few 10^-17, in operations that are rounded alike on every machine: of
 * x = m*2^e with m in [1/2, 1) it is e*log(2) + 2*atanh((m - 1)/(m + 1)). */
static double natural_log(double x)
{
    int exponent;
    const double m = frexp(x, &exponent), s = (m - 1) / (m + 1), square = s * s;
    double sum = 0;
    for (int k = 41; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return exponent * 0.69314718055994530942 + 2 * s * sum;
}

/* Normal with this deviation, by Marsaglia's polar method: a pair of elements from the first pair of uniform numbers
 * that lies in the unit circle. Each try has a counter of its own: 64 are there, and one fails in 21 of 100 cases. */
static void fill_normal(const ek_tensor *tensor, int index, double deviation, uint64_t seed)
{
    enum { TRIES = 64 };
    for (int64_t i = 0; i < tensor->count; i += 2) {
        double a = 0, b = 0, square = 0;
        for (int attempt = 0; attempt < TRIES && !(square > 0 && square < 1); attempt++) {
            uint32_t bits[4];
            ek_random4(seed, EK_RANDOM_INIT, (uint32_t)index, (uint64_t)i / 2 * TRIES + (uint64_t)attempt, bits);
            a = 2 * (double)ek_random_unit(bits[0]) - 1;
            b = 2 * (double)ek_random_unit(bits[1]) - 1;
            square = a * a + b * b;
        }
        const double scale = deviation * sqrt(-2 * natural_log(square) / square);
        tensor->data[i] = (float)(a * scale);
        if (i + 1 < tensor->count)
            tensor->data[i + 1] = (float)(b * scale);
    }
}

static void fill(const ek_tensor *tensor, float value)
{
    for (int64_t i = 0; i < tensor->count; i++)
        tensor->data[i] = value;
}

/* Numbers that reach one output of a convolution or linear layer, and outputs that one number reaches, as PyTorch
 * counts them from the weight's extents: borders and strides do not matter, and of groups only in the former. */
static void fans(const ek_layer *layer, double *in, double *out)
{
    const bool conv = layer->kind == EK_LAYER_CONV2D;
    const double kernel = conv ? (double)layer->o.conv.kernel[0] * layer->o.conv.kernel[1] : 1;
    *in = layer->in.c / (conv ? layer->o.conv.groups : 1) * kernel;
    *out = layer->out.c * kernel;
}

ek_status ek_net_init(ek_net *net, ek_init how, uint64_t seed)
{
    EK_TRY(ek_net_finish(net));
    if (how != EK_INIT_XAVIER && how != EK_INIT_PYTORCH && how != EK_INIT_HE)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_init: %d is no way to initialise", (int)how);
    for (int i = 0; i < net->tensor_count; i++) {
        const ek_tensor *tensor = &net->tensors[i];
        double fan_in, fan_out;
        fans(&net->layers[tensor->layer], &fan_in, &fan_out);
        switch (tensor->role) {
        case EK_ROLE_WEIGHT:
            if (how == EK_INIT_HE && net->layers[tensor->layer].kind == EK_LAYER_CONV2D)
                fill_normal(tensor, i, sqrt(2 / fan_out), seed);
            else
                fill_uniform(tensor, i,
                             (float)(how == EK_INIT_XAVIER ? sqrt(6 / (fan_in + fan_out)) : 1 / sqrt(fan_in)), seed);
            break;
        case EK_ROLE_BIAS:
            fill_uniform(tensor, i, (float)(1 / sqrt(fan_in)), seed);
            break;
        case EK_ROLE_GAMMA:
        case EK_ROLE_MOVING_VAR:
            fill(tensor, 1);
            break;
        case EK_ROLE_BETA:
        case EK_ROLE_MOVING_MEAN:
            fill(tensor, 0);
            break;
        case EK_ROLE_NUM_BATCHES:
            *tensor->counter = 0;
            break;
        }
    }
    return EK_OK;
}
