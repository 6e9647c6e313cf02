/* SPDX-License-Identifier: MIT
 * Images as one asks for them on the command line: --resize and the like, --augment, --normalize. */
#define _GNU_SOURCE
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* A decimal of [low, high] that is the whole of text. */
static bool read_number(const char *text, double low, double high, double *value)
{
    char *end;
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    *value = strtod(text, &end);
    return !*end && *value >= low && *value <= high;
}

/* ---- Opening ------------------------------------------------------------------------------------------------- */

/* "28", "28x32": height and width. */
static bool read_size(const char *text, int *height, int *width)
{
    char rest;
    const int read = sscanf(text, "%6dx%6d%c", height, width, &rest);
    if (read == 1 && !text[strspn(text, "0123456789")])
        *width = *height;
    else if (read != 2 || text[strspn(text, "0123456789x")])
        return false;
    return *height >= 1 && *height <= 65536 && *width >= 1 && *width <= 65536;
}

/* "4096", "512KiB", "8GB", "1.5G": whole bytes, at least one. */
static bool read_bytes(const char *text, int64_t *bytes)
{
    static const struct {
        const char *word;
        double bytes;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"K", 1024},
                 {"M", 1048576},
                 {"G", 1073741824},
                 {"T", 1099511627776},
                 {"KiB", 1024},
                 {"MiB", 1048576},
                 {"GiB", 1073741824},
                 {"TiB", 1099511627776},
                 {"kB", 1e3},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"TB", 1e12}};
    char number[32];
    double value;
    const size_t length = strspn(text, "0123456789.");
    if (length >= sizeof number)
        return false;
    memcpy(number, text, length);
    number[length] = 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(text + length, units[i].word)) {
            if (!read_number(number, 0, 1e18, &value) || value * units[i].bytes < 1 || value * units[i].bytes > 1e18)
                return false;
            *bytes = (int64_t)(value * units[i].bytes);
            return true;
        }
    return false;
}

static int read_streaming(const cli_command *self, const cli_data_options *options, ek_data_options *o)
{
    static const char *const words[] = {"auto", "yes", "no"};
    for (int i = 0; options->stream && i < 3; i++)
        if (!strcmp(options->stream, words[i])) {
            o->stream = (ek_streaming)i;
            break;
        } else if (i == 2) {
            return cli_usage(self, "--stream: '%s' is none of auto, yes and no", options->stream);
        }
    if (options->memory && !read_bytes(options->memory, &o->memory_limit))
        return cli_usage(self, "--memory: '%s' is no size such as 512MiB or 8GB", options->memory);
    return CLI_GO;
}

void cli_data_like(cli_data_options *o, const ek_net *net, const char *path)
{
    if (!o->resize && (o->resize = ek_net_note(net, "data.resize")))
        o->resize_from = path;
    if (!o->colour && (o->colour = ek_net_note(net, "data.colour")))
        o->colour_from = path;
    o->coarse = o->coarse || ek_net_note(net, "data.coarse");
}

/* A size or a colour that is none: a word of the command line, or of a model file. */
static int refuse(const cli_command *self, const char *file, const char *name, const char *value, const char *wanted)
{
    if (file)
        return cli_fail(self, "%s: its note data.%s is '%s', %s", file, name, value, wanted);
    return cli_usage(self, "--%s: '%s' is %s", name, value, wanted);
}

int cli_data_open(const cli_command *self, ek_dataset **dataset, const char *name, ek_split split,
                  const cli_data_options *options)
{
    ek_data_options o = {.split = split, .coarse = options->coarse, .skip_broken = options->skip_broken};
    *dataset = NULL;
    if (options->resize && !read_size(options->resize, &o.height, &o.width))
        return refuse(self, options->resize_from, "resize", options->resize, "neither N nor HxW, of 1 to 65536");
    if (options->colour && !strcmp(options->colour, "grey"))
        o.colour = EK_COLOUR_GREY;
    else if (options->colour && !strcmp(options->colour, "rgb"))
        o.colour = EK_COLOUR_RGB;
    else if (options->colour)
        return refuse(self, options->colour_from, "colour", options->colour, "neither grey nor rgb");
    const int streaming = read_streaming(self, options, &o);
    if (streaming != CLI_GO)
        return streaming;
    const ek_status opened = ek_dataset_open_with(dataset, name, &o);
    if (opened == EK_ERR_NOT_FOUND && options->may_lack)
        return CLI_GO;
    if (opened)
        return cli_fail(self, opened == EK_ERR_SHAPE ? "%s (--resize N or HxW)" : "%s", ek_error());
    ek_dataset_info info;
    ek_dataset_get_info(*dataset, &info);
    if (info.skipped)
        cli_warn(self, "%jd file%s left out; the first: %s", (intmax_t)info.skipped, info.skipped == 1 ? "" : "s",
                 info.skipped_first);
    return CLI_GO;
}

/* ---- Augmentation -------------------------------------------------------------------------------------------- */

/* "crop", "crop=4", "flip", "erase", "erase=0.5". */
static bool read_change(const char *word, ek_augment_options *augment)
{
    const char *equals = strchr(word, '=');
    const size_t length = equals ? (size_t)(equals - word) : strlen(word);
    double value;
    if (!strncmp(word, "crop", length) && length == 4) {
        const bool fine = !equals || (read_number(equals + 1, 1, 1024, &value) && value == (double)(int)value);
        augment->crop = fine && equals ? (int)value : 4;
        return fine;
    }
    if (!strncmp(word, "erase", length) && length == 5) {
        const bool fine = !equals || read_number(equals + 1, 0, 1, &value);
        augment->erase = fine && equals ? (float)value : 0.5f;
        return fine;
    }
    augment->flip = augment->flip || !strcmp(word, "flip");
    return !strcmp(word, "flip");
}

int cli_read_augment(const cli_command *self, const char *text, ek_augment_options *augment)
{
    char copy[256];
    *augment = (ek_augment_options){0};
    if (!text || !strcmp(text, "none"))
        return CLI_GO;
    if (strlen(text) >= sizeof copy)
        return cli_usage(self, "--augment: too long; a list of crop, flip and erase is expected");
    strcpy(copy, text);
    for (char *rest = copy, *word; (word = strsep(&rest, ","));)
        if (!read_change(word, augment))
            return cli_usage(self, "--augment: '%s' is none of crop[=PIXELS], flip, erase[=PROBABILITY]", word);
    return CLI_GO;
}

/* ---- Normalisation ------------------------------------------------------------------------------------------- */

/* Numbers with commas between; how many, 0 for anything else. */
static int read_numbers(char *text, int most, float *values)
{
    int count = 0;
    for (char *rest = text, *word; (word = strsep(&rest, ",")); count++) {
        double value;
        if (count == most || !read_number(word, -1e30, 1e30, &value))
            return 0;
        values[count] = (float)value;
    }
    return count;
}

enum { CHANNELS_MAX = 64 };

static int measure(const cli_command *self, const ek_dataset *dataset, ek_net *net)
{
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    float *values = calloc(2 * (size_t)info.channels, sizeof *values);
    if (!values)
        return cli_fail(self, "out of memory");
    const bool failed = ek_dataset_mean_std(dataset, values, values + info.channels) ||
                        ek_net_set_normalization(net, info.channels, values, values + info.channels);
    free(values);
    return failed ? cli_fail(self, "%s", ek_error()) : CLI_GO;
}

int cli_normalize(const cli_command *self, const char *text, const ek_dataset *dataset, ek_net *net)
{
    char copy[1024];
    float mean[CHANNELS_MAX], std[CHANNELS_MAX];
    if (!text)
        return CLI_GO;
    if (!strcmp(text, "none"))
        return ek_net_set_normalization(net, 1, NULL, NULL) ? cli_fail(self, "%s", ek_error()) : CLI_GO;
    if (!strcmp(text, "data"))
        return measure(self, dataset, net);
    snprintf(copy, sizeof copy, "%s", text);
    char *slash = strchr(copy, '/');
    if (slash)
        *slash = 0;
    const int means = slash ? read_numbers(copy, CHANNELS_MAX, mean) : 0;
    const int stds = slash ? read_numbers(slash + 1, CHANNELS_MAX, std) : 0;
    if (!means || means != stds)
        return cli_usage(self, "--normalize: '%s' is neither data, none, nor means and deviations as M,M,M/S,S,S",
                         text);
    if (ek_net_set_normalization(net, means, mean, std))
        return cli_usage(self, "--normalize: %s", ek_error());
    return CLI_GO;
}
