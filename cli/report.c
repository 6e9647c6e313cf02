/* SPDX-License-Identifier: MIT
 * evenkeel report: the page of a model, with its training's curves where there is a log. */
#define _GNU_SOURCE
#include "page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    cli_evaluation e;
    const char *log, *out;
    cli_runs runs;
} settings;

/* Whether the number of the model's note is that of some epoch, to the digits that the note has. */
static bool has_epoch(const cli_run *run, const char *noted)
{
    char text[32];
    for (int i = run->epochs - 1; i >= 0; i--) {
        snprintf(text, sizeof text, "%.9g", run->epoch[i].value[CURVE_TRAIN_LOSS]);
        if (!strcmp(text, noted))
            return true;
    }
    return false;
}

/* The run that the model came out of: the last in whose epochs its training loss is, or the last one where the model
 * does not tell it. NULL after a message. */
static const cli_run *find_run(const cli_command *self, const settings *s)
{
    const char *noted = ek_net_note(s->e.net, "train.loss");
    for (int i = s->runs.count - 1; i >= 0; i--)
        if (!noted || has_epoch(&s->runs.run[i], noted))
            return &s->runs.run[i];
    cli_fail(self, "%s: no run in it ends in %s, whose training loss was %s", s->log, s->e.model, noted);
    return NULL;
}

/* The built-in net that the model is, for images and classes like its own; NULL for none. */
static const char *find_builtin(const cli_evaluation *e)
{
    const ek_dataset_info *info = &e->info;
    const char *found = NULL, *name;
    char *text = ek_net_text(e->net);
    for (int i = 0; text && !found && (name = ek_net_builtin_name(i)) != NULL; i++) {
        ek_net *net = ek_net_builtin_for(name, info->channels, info->height, info->width, e->classes);
        char *other = net ? ek_net_text(net) : NULL;
        found = other && !strcmp(text, other) ? name : NULL;
        free(other);
        ek_net_free(net);
    }
    free(text);
    return found;
}

static int make_page(const cli_command *self, settings *s)
{
    int status = cli_probe_output(self, s->out, 1 << 18);
    if (status == CLI_GO && s->log)
        status = cli_runs_read(self, &s->runs, s->log, NULL, false);
    if (status == CLI_GO)
        status = cli_evaluation_open(self, &s->e);
    if (status != CLI_GO)
        return status;
    const cli_run *run = s->log ? find_run(self, s) : NULL;
    if (s->log && !run)
        return CLI_FAILED;
    const char *fault = cli_evaluation_run(&s->e, true);
    if (fault)
        return cli_fail(self, "%s", fault);
    const char *name = s->e.net_name ? s->e.net_name : find_builtin(&s->e);
    const cli_page page = {.net_name = run && *run->net ? run->net : name,
                           .result = &s->e,
                           .images = s->e.share                    ? "validation images"
                                     : !strcmp(s->e.split, "test") ? "test images"
                                                                   : "training images",
                           .run = run};
    status = cli_page_write(self, &page, s->out);
    if (status != CLI_GO)
        return status;
    cli_put_saved(s->out);
    return CLI_DONE;
}

int cli_report(const cli_command *self, int argc, char **argv)
{
    settings s = {.log = NULL};
    cli_evaluation_defaults(&s.e);
    const cli_option options[] = {
        CLI_EVALUATION_ROWS(s.e),
        {"--log", .value = "FILE", .text = &s.log,
         .help = "the log of its training, as 'evenkeel train --log' wrote it, for curves and times (none)"},
        {"--out", .letter = 'o', .value = "FILE", .text = &s.out, .required = true, .help = "the page, HTML"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = cli_evaluation_check(self, &s.e);
    if (status != CLI_GO)
        return status;
    status = cli_check_files(self, (const cli_file[]){{"MODEL", s.e.model, false},
                                                      {"--net", cli_net_file(s.e.net_name), false},
                                                      {"--log", s.log, false},
                                                      {"--out", s.out, true},
                                                      {.called = NULL}});
    if (status == CLI_GO)
        status = make_page(self, &s);
    cli_runs_free(&s.runs);
    cli_evaluation_free(&s.e);
    return cli_finish(self, status);
}
