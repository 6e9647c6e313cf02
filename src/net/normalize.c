/* SPDX-License-Identifier: MIT */
#include "net/normalize.h"

#include "base/memory.h"
#include "net/number.h"

#include <math.h>
#include <string.h>

static const char mean_key[] = "input.mean", std_key[] = "input.std";

/* Finite floats only; a deviation is above 0, and far enough for no pixel to become infinite. */
static bool is_fine(float value, bool deviation)
{
    return isfinite(value) && (!deviation || value >= 1e-30f);
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

/* As many numbers as there are channels, or one for all of them. */
static ek_status read_note(const char *key, const char *text, bool deviation, int channels, float *values)
{
    int count = 0;
    for (const char *rest = text; *(rest += strspn(rest, " "));) {
        const size_t length = strcspn(rest, " ");
        float value;
        if (!ek_float_read(rest, length, &value) || !is_fine(value, deviation))
            return ek_fail(EK_ERR_FORMAT, "the net's note %s: \"%.*s\" is no %s", key,
                           (int)(length < 40 ? length : 40), rest, deviation ? "number above 0" : "number");
        if (count < channels)
            values[count] = value;
        count++;
        rest += length;
    }
    for (int c = 1; c < channels && count == 1; c++)
        values[c] = values[0];
    if (count != 1 && count != channels)
        return ek_fail(EK_ERR_FORMAT, "the net's note %s has %d numbers, where its input has %d channels", key, count,
                       channels);
    return EK_OK;
}

/* Pixels go from 0 to 1. */
static bool fits_pixels(float mean, float std)
{
    return isfinite((0 - mean) / std) && isfinite((1 - mean) / std);
}

static ek_status read_notes(ek_normal *normal, const char *mean, const char *std)
{
    float *values = (float *)(normal + 1);
    EK_TRY(read_note(mean_key, mean, false, normal->c, values));
    EK_TRY(read_note(std_key, std, true, normal->c, values + normal->c));
    normal->mean = values;
    normal->std = values + normal->c;
    for (int c = 0; c < normal->c; c++)
        if (!fits_pixels(normal->mean[c], normal->std[c]))
            return ek_fail(EK_ERR_FORMAT, "the net's notes %s and %s make pixels of channel %d infinite: (x - %g)/%g",
                           mean_key, std_key, c, (double)normal->mean[c], (double)normal->std[c]);
    return EK_OK;
}

ek_status ek_normal_new(ek_normal **normal, const ek_net *net)
{
    const char *mean = ek_net_note(net, mean_key), *std = ek_net_note(net, std_key);
    *normal = NULL;
    if (!mean && !std)
        return EK_OK;
    if (!mean || !std)
        return ek_fail(EK_ERR_FORMAT, "the net has a note %s, but none called %s", mean ? mean_key : std_key,
                       mean ? std_key : mean_key);
    ek_normal *made = ek_calloc(1, sizeof *made + 2 * (size_t)net->input.c * sizeof(float));
    if (!made)
        return EK_ERR_MEMORY;
    made->c = net->input.c;
    const ek_status status = read_notes(made, mean, std);
    if (status) {
        ek_normal_free(made);
        return status;
    }
    *normal = made;
    return EK_OK;
}

void ek_normal_free(ek_normal *normal)
{
    ek_free(normal);
}

/* ---- The public face ----------------------------------------------------------------------------------------- */

static char *write_note(int count, const float *values)
{
    char *text = ek_calloc((size_t)count, EK_FLOAT_TEXT + 1), *end = text;
    for (int i = 0; text && i < count; i++) {
        char number[EK_FLOAT_TEXT];
        ek_float_text(values[i], number);
        if (i)
            *end++ = ' ';
        memcpy(end, number, strlen(number) + 1);
        end += strlen(number);
    }
    return text;
}

static ek_status check_values(const ek_net *net, int channels, const float *mean, const float *std)
{
    if (channels != 1 && channels != net->input.c)
        return ek_fail(EK_ERR_SHAPE, "normalisation of %d channels: the net's input has %d; give as many, or one",
                       channels, net->input.c);
    for (int c = 0; c < channels; c++)
        if (!is_fine(mean[c], false) || !is_fine(std[c], true))
            return ek_fail(EK_ERR_ARGUMENT,
                           "normalisation of channel %d: mean %g and deviation %g; numbers are needed, the "
                           "deviation above 0",
                           c, (double)mean[c], (double)std[c]);
    for (int c = 0; c < channels; c++)
        if (!fits_pixels(mean[c], std[c]))
            return ek_fail(
                EK_ERR_ARGUMENT,
                "normalisation of channel %d: mean %g and deviation %g make pixels infinite; give those of "
                "pixels from 0 to 1",
                c, (double)mean[c], (double)std[c]);
    return EK_OK;
}

ek_status ek_net_set_normalization(ek_net *net, int channels, const float *mean, const float *std)
{
    EK_TRY(ek_net_check(net));
    if (!mean != !std)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_set_normalization: give both mean and std, or neither");
    if (!mean) {
        EK_TRY(ek_net_set_note(net, mean_key, NULL));
        return ek_net_set_note(net, std_key, NULL);
    }
    EK_TRY(check_values(net, channels, mean, std));
    char *means = write_note(channels, mean), *stds = write_note(channels, std);
    ek_status status = means && stds ? ek_net_set_note(net, mean_key, means) : EK_ERR_MEMORY;
    if (!status && (status = ek_net_set_note(net, std_key, stds)))
        ek_net_set_note(net, mean_key, NULL); /* never one without the other */
    ek_free(means);
    ek_free(stds);
    return status;
}

ek_status ek_net_normalization(const ek_net *net, bool *normalized, float *mean, float *std)
{
    ek_normal *normal;
    EK_TRY(ek_net_check(net));
    EK_TRY(ek_normal_new(&normal, net));
    if (normalized)
        *normalized = normal != NULL;
    for (int c = 0; c < net->input.c; c++) {
        if (mean)
            mean[c] = normal ? normal->mean[c] : 0;
        if (std)
            std[c] = normal ? normal->std[c] : 1;
    }
    ek_normal_free(normal);
    return EK_OK;
}
