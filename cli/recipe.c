/* SPDX-License-Identifier: MIT */
#include "recipe.h"

#include <stdlib.h>
#include <string.h>

static const char *const optimizers[] = {"sgd", "adam", "adamw", NULL};
static const char *const decays[] = {"weights", "all", NULL};
static const char *const schedules[] = {"constant", "step", "multistep", "cosine", NULL};

void cli_recipe_options(cli_recipe *r, cli_option *options)
{
    *r = (cli_recipe){.optimizer = optimizers[0], .decay = decays[0], .schedule = schedules[0]};
    const cli_option rows[RECIPE_OPTIONS] = {
        {"--optimizer", .value = "sgd|adam|adamw", .text = &r->optimizer, .help = "(sgd)"},
        {"--lr", .value = "X", .number = &r->lr, .low = 1e-12, .high = 1e6,
         .help = "learning rate (0.1; of adam and adamw 0.001)"},
        {"--momentum", .value = "X", .number = &r->momentum, .high = 1, .help = "of sgd, below 1 (0)"},
        {"--nesterov", .flag = &r->nesterov, .help = "Nesterov's momentum"},
        {"--beta1", .value = "X", .number = &r->beta1, .low = 1e-12, .high = 1, .help = "of adam and adamw (0.9)"},
        {"--beta2", .value = "X", .number = &r->beta2, .low = 1e-12, .high = 1, .help = "of adam and adamw (0.999)"},
        {"--eps", .value = "X", .number = &r->eps, .low = 1e-30, .high = 1, .help = "of adam and adamw (1e-8)"},
        {"--weight-decay", .value = "X", .number = &r->weight_decay, .high = 1e6, .help = "(0)"},
        {"--decay", .value = "weights|all", .text = &r->decay,
         .help = "weights: of convolutions and linear layers alone; all: biases, gamma and beta too (weights)"},
        {"--schedule", .value = "constant|step|multistep|cosine", .text = &r->schedule,
         .help = "of the learning rate (constant)"},
        {"--step-size", .value = "N", .integer = &r->step_size, .low = 1, .high = CLI_COUNT_MAX,
         .help = "step: every N epochs times --gamma"},
        {"--milestones", .value = "N,N,...", .text = &r->milestones,
         .help = "multistep: after each of these epochs times --gamma"},
        {"--gamma", .value = "X", .number = &r->gamma, .low = 1e-12, .high = 1, .help = "(0.1)"},
        {"--min-lr", .value = "X", .number = &r->min_lr, .high = 1e6, .help = "cosine: where it ends (0)"},
        {"--warmup", .value = "X", .number = &r->warmup, .high = CLI_COUNT_MAX,
         .help = "epochs in which the rate rises from next to nothing, also parts of one (0)"},
        {"--warmup-steps", .value = "N", .count = &r->warmup_steps, .low = 1, .high = 1e12,
         .help = "the same in steps"},
        {"--clip-norm", .value = "X", .number = &r->clip_norm, .high = 1e12,
         .help = "scale gradients down to this norm; 0: never (0)"},
        {"--label-smoothing", .value = "X", .number = &r->label_smoothing, .high = 1, .help = "below 1 (0)"},
    };
    memcpy(options, rows, sizeof rows);
}

/* The place of `word` among `known`, or -1 with a message. */
static int find_word(const cli_command *self, const char *option, const char *word, const char *const *known)
{
    char all[128] = "";
    size_t length = 0;
    for (int i = 0; known[i]; i++) {
        if (!strcmp(word, known[i]))
            return i;
        length += (size_t)snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : "", known[i]);
    }
    const char *nearest = cli_nearest(word, known);
    if (nearest)
        cli_usage(self, "%s: there is no '%s'; did you mean '%s'?", option, word, nearest);
    else
        cli_usage(self, "%s: there is no '%s'; there are %s", option, word, all);
    return -1;
}

static int read_milestones(const cli_command *self, cli_recipe *r)
{
    const char *at = r->milestones;
    for (bool more = at != NULL; more; at++) {
        const size_t digits = strspn(at, "0123456789");
        if (digits < 1 || digits > 6 || (at[digits] && at[digits] != ',') ||
            r->milestone_count == RECIPE_MILESTONES_MAX)
            return cli_usage(self, "--milestones: '%s' is not a list of up to %d epochs like 30,60,80", r->milestones,
                             RECIPE_MILESTONES_MAX);
        r->milestone[r->milestone_count++] = atoi(at);
        at += digits;
        more = *at == ',';
    }
    return CLI_GO;
}

int cli_recipe_read(const cli_command *self, cli_recipe *r)
{
    const int optimizer = find_word(self, "--optimizer", r->optimizer, optimizers);
    const int decay = optimizer < 0 ? -1 : find_word(self, "--decay", r->decay, decays);
    const int schedule = decay < 0 ? -1 : find_word(self, "--schedule", r->schedule, schedules);
    if (schedule < 0)
        return CLI_USAGE;
    r->optimizer_of = (ek_optimizer)optimizer;
    r->decay_of = (ek_decay)decay;
    r->schedule_of = (ek_schedule)schedule;
    if (r->lr == 0)
        r->lr = r->optimizer_of == EK_SGD ? 0.1 : 0.001;
    return read_milestones(self, r);
}

void cli_recipe_fill(const cli_recipe *r, ek_fit_options *o)
{
    o->optimizer = r->optimizer_of;
    o->lr = (float)r->lr;
    o->momentum = r->momentum;
    o->nesterov = r->nesterov;
    o->weight_decay = r->weight_decay;
    o->decay = r->decay_of;
    o->beta1 = r->beta1;
    o->beta2 = r->beta2;
    o->eps = r->eps;
    o->clip_norm = r->clip_norm;
    o->label_smoothing = r->label_smoothing;
    o->schedule = r->schedule_of;
    o->step_size = r->step_size;
    o->milestones = r->milestone;
    o->milestone_count = r->milestone_count;
    o->gamma = r->gamma;
    o->min_lr = r->min_lr;
    o->warmup_epochs = r->warmup;
    o->warmup_steps = r->warmup_steps;
}

/* ---- Told ------------------------------------------------------------------------------------------------------ */

void cli_recipe_print_decay(const cli_recipe *r)
{
    if (r->weight_decay > 0)
        printf("; weight decay %g on %s", r->weight_decay,
               r->decay_of == EK_DECAY_ALL ? "all parameters" : "weights alone");
}

static void print_schedule(const cli_recipe *r)
{
    if (r->schedule_of == EK_SCHEDULE_COSINE)
        printf(", cosine to %g", r->min_lr);
    if (r->schedule_of == EK_SCHEDULE_STEP)
        printf(", times %g every %d epochs", r->gamma > 0 ? r->gamma : 0.1, r->step_size);
    if (r->schedule_of == EK_SCHEDULE_MULTISTEP)
        printf(", times %g after epochs %s", r->gamma > 0 ? r->gamma : 0.1, r->milestones ? r->milestones : "?");
    if (r->warmup > 0)
        printf(", warm-up of %g epochs", r->warmup);
    if (r->warmup_steps > 0)
        printf(", warm-up of %jd steps", (intmax_t)r->warmup_steps);
}

void cli_recipe_print(const cli_recipe *r)
{
    if (r->optimizer_of == EK_SGD && r->momentum == 0 && r->schedule_of == EK_SCHEDULE_CONSTANT && r->warmup == 0 &&
        r->warmup_steps == 0 && r->clip_norm == 0 && r->label_smoothing == 0)
        return;
    printf("%s", r->optimizer);
    if (r->momentum > 0)
        printf(" with %smomentum %g", r->nesterov ? "Nesterov's " : "", r->momentum);
    printf("; learning rate %g", r->lr);
    print_schedule(r);
    if (r->clip_norm > 0)
        printf("; gradients clipped to norm %g", r->clip_norm);
    if (r->label_smoothing > 0)
        printf("; label smoothing %g", r->label_smoothing);
    putchar('\n');
}

/* ---- Noted ----------------------------------------------------------------------------------------------------- */

static ek_status note_word(ek_net *net, const char *key, const char *word)
{
    return word ? ek_net_set_note(net, key, word) : EK_OK;
}

/* Numbers that are zero were not given. */
static ek_status note_number(ek_net *net, const char *key, double number)
{
    char text[64];
    snprintf(text, sizeof text, "%.9g", number);
    return number != 0 ? ek_net_set_note(net, key, text) : EK_OK;
}

ek_status cli_recipe_note(const cli_recipe *r, ek_net *net)
{
    const struct {
        const char *key;
        double number;
    } numbers[] = {
        {"train.lr", r->lr},
        {"train.momentum", r->momentum},
        {"train.nesterov", r->nesterov},
        {"train.beta1", r->beta1},
        {"train.beta2", r->beta2},
        {"train.eps", r->eps},
        {"train.weight_decay", r->weight_decay},
        {"train.step_size", r->step_size},
        {"train.gamma", r->gamma},
        {"train.min_lr", r->min_lr},
        {"train.warmup_epochs", r->warmup},
        {"train.warmup_steps", (double)r->warmup_steps},
        {"train.clip_norm", r->clip_norm},
        {"train.label_smoothing", r->label_smoothing},
    };
    ek_status status = note_word(net, "train.optimizer", r->optimizer);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++)
        status = note_number(net, numbers[i].key, numbers[i].number);
    if (!status && r->weight_decay > 0)
        status = note_word(net, "train.decay", r->decay);
    if (!status)
        status = note_word(net, "train.schedule", r->schedule);
    return status ? status : note_word(net, "train.milestones", r->milestones);
}

void cli_recipe_json(const cli_recipe *r, cli_json *json)
{
    cli_json_text(json, "optimizer", r->optimizer);
    cli_json_real(json, "lr", r->lr);
    cli_json_real(json, "momentum", r->momentum);
    cli_json_truth(json, "nesterov", r->nesterov);
    cli_json_given_real(json, "beta1", r->beta1);
    cli_json_given_real(json, "beta2", r->beta2);
    cli_json_given_real(json, "eps", r->eps);
    cli_json_real(json, "weight_decay", r->weight_decay);
    cli_json_text(json, "decay", r->decay);
    cli_json_real(json, "clip_norm", r->clip_norm);
    cli_json_real(json, "label_smoothing", r->label_smoothing);
    cli_json_text(json, "schedule", r->schedule);
    cli_json_given_real(json, "step_size", r->step_size);
    cli_json_text(json, "milestones", r->milestones);
    cli_json_given_real(json, "gamma", r->gamma);
    cli_json_real(json, "min_lr", r->min_lr);
    cli_json_real(json, "warmup_epochs", r->warmup);
    cli_json_whole(json, "warmup_steps", r->warmup_steps);
}
