/* SPDX-License-Identifier: MIT
 * The recipe of a training on the command line: optimiser, schedule, clipping, smoothing. */
#ifndef RECIPE_H
#define RECIPE_H

#include "json.h"

enum { RECIPE_MILESTONES_MAX = 64, RECIPE_OPTIONS = 18 };

typedef struct cli_recipe {
    const char *optimizer, *decay, *schedule, *milestones; /* as typed */
    double lr, momentum, beta1, beta2, eps, weight_decay, gamma, min_lr, warmup, clip_norm, label_smoothing;
    bool nesterov;
    int step_size;
    int64_t warmup_steps;
    ek_optimizer optimizer_of; /* and what that stands for, after cli_recipe_read */
    ek_decay decay_of;
    ek_schedule schedule_of;
    int milestone[RECIPE_MILESTONES_MAX], milestone_count;
} cli_recipe;

/* Writes RECIPE_OPTIONS rows whose targets are the recipe's fields, and the fields' defaults. */
void cli_recipe_options(cli_recipe *recipe, cli_option *options);

/* After cli_parse: words become what they stand for. CLI_GO or an exit status. Numbers that do not go together are for
 * ek_fit to refuse. */
int cli_recipe_read(const cli_command *self, cli_recipe *recipe);

void cli_recipe_fill(const cli_recipe *recipe, ek_fit_options *options);

/* "; weight decay 0.0005 on weights alone" and the like, or nothing; and a line for what else differs from plain SGD at
 * a constant rate, or none. */
void cli_recipe_print_decay(const cli_recipe *recipe);
void cli_recipe_print(const cli_recipe *recipe);

/* train.optimizer, train.lr and whatever else was set. */
ek_status cli_recipe_note(const cli_recipe *recipe, ek_net *net);

/* All of it as members of an object; null for what was not given. */
void cli_recipe_json(const cli_recipe *recipe, cli_json *json);

#endif
