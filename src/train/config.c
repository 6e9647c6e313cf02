/* SPDX-License-Identifier: MIT */
#include "train/config.h"

#include "base/memory.h"
#include "io/model.h"
#include "net/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = EK_CHECKPOINT_NOTE;

static ek_status add_text(ek_config *c, const char *name, const char *value)
{
    if (c->count == EK_CONFIG_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "a configuration of more than %d settings", EK_CONFIG_MAX);
    const size_t size = sizeof prefix + strlen(name);
    char *const key = ek_calloc(size, 1), *const copy = ek_strdup(value);
    if (key && copy)
        snprintf(key, size, "%s%s", prefix, name);
    c->keys[c->count] = key;
    c->values[c->count++] = copy;
    return key && copy ? EK_OK : EK_ERR_MEMORY;
}

static ek_status add_whole(ek_config *c, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return add_text(c, name, text);
}

/* With digits that tell every double from its neighbours, and no more where fewer do. */
static ek_status add_real(ek_config *c, const char *name, double value)
{
    char text[40];
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*g", digits, value);
    while (digits++ < 17 && !(strtod(text, NULL) == value));
    for (char *p = text; *p; p++)
        if (!strchr("0123456789+-einfa", *p))
            *p = '.'; /* some locales write a comma */
    return add_text(c, name, text);
}

static ek_status add_float(ek_config *c, const char *name, float value)
{
    char text[EK_FLOAT_TEXT];
    return add_text(c, name, ek_float_text(value, text));
}

static ek_status add_data(ek_config *c, const char *which, const ek_dataset *data)
{
    char name[32], text[160] = "none";
    ek_dataset_info info;
    if (data) {
        ek_dataset_get_info(data, &info);
        snprintf(text, sizeof text, "%" PRId64 " of %dx%dx%d, %d classes, %s", info.count, info.channels, info.height,
                 info.width, info.classes, *info.digest ? info.digest : "no digest");
    }
    snprintf(name, sizeof name, "data.%s", which);
    return add_text(c, name, text);
}

static ek_status add_net(ek_config *c, const ek_net *net)
{
    char *text = ek_net_text(net);
    const ek_status status = text ? add_text(c, "net", text) : EK_ERR_MEMORY;
    free(text);
    EK_TRY(status);
    const char *mean = ek_net_note(net, "input.mean"), *std = ek_net_note(net, "input.std");
    EK_TRY(add_text(c, "input.mean", mean ? mean : "none"));
    return add_text(c, "input.std", std ? std : "none");
}

static ek_status add_schedule(ek_config *c, const ek_fit_options *o)
{
    static const char *const schedules[] = {"constant", "step", "multistep", "cosine"};
    EK_TRY(add_float(c, "lr", o->lr));
    EK_TRY(add_text(c, "schedule", schedules[o->schedule]));
    EK_TRY(add_whole(c, "step_size", o->step_size));
    char *list = ek_calloc(1 + 12 * (size_t)o->milestone_count, 1);
    if (!list)
        return EK_ERR_MEMORY;
    for (int i = 0, at = 0; i < o->milestone_count; i++)
        at += snprintf(list + at, 13, "%s%d", i ? "," : "", o->milestones[i]);
    const ek_status status = add_text(c, "milestones", list);
    ek_free(list);
    EK_TRY(status);
    EK_TRY(add_real(c, "gamma", o->gamma));
    EK_TRY(add_real(c, "min_lr", o->min_lr));
    EK_TRY(add_real(c, "warmup_epochs", o->warmup_epochs));
    return add_whole(c, "warmup_steps", o->warmup_steps);
}

static ek_status add_optimizer(ek_config *c, const ek_fit_options *o)
{
    static const char *const optimizers[] = {"sgd", "adam", "adamw"};
    EK_TRY(add_text(c, "optimizer", optimizers[o->optimizer]));
    EK_TRY(add_real(c, "momentum", o->momentum));
    EK_TRY(add_whole(c, "nesterov", o->nesterov));
    EK_TRY(add_real(c, "weight_decay", o->weight_decay));
    EK_TRY(add_text(c, "decay", o->decay == EK_DECAY_ALL ? "all" : "weights"));
    EK_TRY(add_real(c, "beta1", o->beta1));
    EK_TRY(add_real(c, "beta2", o->beta2));
    EK_TRY(add_real(c, "eps", o->eps));
    EK_TRY(add_real(c, "clip_norm", o->clip_norm));
    return add_real(c, "label_smoothing", o->label_smoothing);
}

ek_status ek_config_make(ek_config *c, const ek_fit_options *o, const ek_net *net, const ek_dataset *train,
                         const ek_dataset *val)
{
    char seed[24];
    *c = (ek_config){.count = 0};
    snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
    EK_TRY(add_text(c, "version", ek_version()));
    EK_TRY(add_net(c, net));
    EK_TRY(add_data(c, "train", train));
    EK_TRY(add_data(c, "val", val));
    EK_TRY(add_text(c, "recipe", o->recipe ? o->recipe : ""));
    EK_TRY(add_whole(c, "epochs", o->epochs));
    EK_TRY(add_whole(c, "batch_size", o->batch_size));
    EK_TRY(add_whole(c, "ghost", o->ghost ? o->micro_batch : 0));
    EK_TRY(add_text(c, "seed", seed));
    EK_TRY(add_text(c, "order", o->no_shuffle ? "file" : "shuffled"));
    EK_TRY(add_whole(c, "augment.crop", o->augment.crop));
    EK_TRY(add_whole(c, "augment.flip", o->augment.flip));
    EK_TRY(add_float(c, "augment.erase", o->augment.erase));
    EK_TRY(add_optimizer(c, o));
    EK_TRY(add_schedule(c, o));
    char exact[48] = "no";
    if (o->exact_stats)
        snprintf(exact, sizeof exact, "of %" PRId64 " samples%s", o->exact_samples,
                 o->exact_final ? ", of all at the end" : "");
    EK_TRY(add_text(c, "exact_stats", exact));
    EK_TRY(add_whole(c, "keep_best", o->keep_best));
    return add_whole(c, "patience", o->patience);
}

void ek_config_free(ek_config *c)
{
    for (int i = 0; i < c->count; i++) {
        ek_free(c->keys[i]);
        ek_free(c->values[i]);
    }
}

/* A value for a message of one line: texts of several lines differ in the first line that is told. */
static void shorten(char out[96], const char *text, size_t from)
{
    const size_t length = strcspn(text + from, "\n");
    if (!text[from])
        snprintf(out, 96, "nothing");
    else
        snprintf(out, 96, "%.*s%s", length > 90 ? 87 : (int)length, text + from, length > 90 ? "..." : "");
}

/* Where the line begins in which two texts begin to differ. */
static size_t first_difference(const char *a, const char *b)
{
    size_t line = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '\n')
            line = i + 1;
    return line;
}

ek_status ek_config_compare(const ek_config *c, const ek_safetensors *file, const char *path)
{
    char list[900] = "";
    size_t at = 0;
    for (int i = 0; i < c->count; i++) {
        const char *was = ek_safetensors_metadata(file, c->keys[i]);
        if (was && strcmp(was, c->values[i]) == 0)
            continue;
        char before[96], now[96];
        const size_t from = was ? first_difference(was, c->values[i]) : 0;
        shorten(before, was ? was : "", from);
        shorten(now, c->values[i], from);
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s: %s in the checkpoint, %s now", at ? "; " : "",
                               c->keys[i] + sizeof prefix - 1, before, now);
        if (at >= sizeof list)
            break;
    }
    if (!at)
        return EK_OK;
    return ek_fail(
        EK_ERR_ARGUMENT,
        "%s belongs to another training (%s); go on as it was begun, or start anew elsewhere, "
        "with its weights if they are wanted: it is a model file, too, which `evenkeel train --init` takes",
        path, list);
}
