/* SPDX-License-Identifier: MIT
 * evenkeel plot: logs of runs as a picture. */
#define _GNU_SOURCE
#include "plot.h"

#include <stdlib.h>
#include <string.h>

enum { DRAWN = 64 };

typedef struct settings {
    cli_words logs;
    const char *out, *labels;
    bool last;
    cli_plot_style style;
} settings;

/* ---- Legend ---------------------------------------------------------------------------------------------------- */

/* --labels "a,b,c": as many as there are runs. */
static int set_labels(const cli_command *self, cli_runs *runs, const char *labels)
{
    int count = 1;
    for (const char *at = labels; *at; at++)
        count += *at == ',';
    if (count != runs->count)
        return cli_usage(self, "--labels: %d names for %d run%s", count, runs->count, runs->count == 1 ? "" : "s");
    for (int i = 0; i < count; i++) {
        const size_t length = strcspn(labels, ",");
        cli_copy_text(runs->run[i].label, sizeof runs->run[i].label, labels, length);
        labels += length + 1;
    }
    return CLI_GO;
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && !strcmp(text + length - end_length, end);
}

static int draw(const cli_command *self, settings *set, cli_runs *runs)
{
    char *data = NULL;
    size_t size = 0;
    for (int i = 0; i < set->logs.count; i++) {
        char name[CLI_LABEL];
        cli_runs_name(set->logs.word, set->logs.count, i, name);
        const int status = cli_runs_read(self, runs, set->logs.word[i], name, set->last);
        if (status != CLI_GO)
            return status;
    }
    if (runs->count > DRAWN)
        return cli_fail(self, "%d runs are more than can be told apart, %d; --last takes each log's last one",
                        runs->count, DRAWN);
    int status = set->labels ? set_labels(self, runs, set->labels) : CLI_GO;
    if (status == CLI_GO)
        status = cli_plot_draw(self, &set->style, runs, &data, &size);
    if (status != CLI_GO)
        return status;
    const int error = cli_write_file(set->out, data, size);
    free(data);
    if (error)
        return cli_fail(self, "%s: cannot be written: %s", set->out, strerror(error));
    cli_put_saved(set->out);
    return CLI_DONE;
}

int cli_plot(const cli_command *self, int argc, char **argv)
{
    settings set = {.out = NULL};
    const cli_option options[] = {
        {"LOG...", .words = &set.logs, .required = true, .help = "logs that 'evenkeel train --log' has written"},
        {"--out", .letter = 'o', .value = "FILE", .text = &set.out, .required = true,
         .help = "the picture, .svg or .png"},
        {"--last", .flag = &set.last, .help = "of each log the last run with a finished epoch alone (all of them)"},
        {"--labels", .value = "A,B,...", .text = &set.labels, .help = "names of the runs (the files')"},
        {"--title", .value = "TEXT", .text = &set.style.title, .help = "above it all (none)"},
        {"--transparent", .flag = &set.style.transparent, .help = "no background (white)"},
        {.name = NULL},
    };
    const int parsed = cli_parse(self, options, argc, argv);
    if (parsed != CLI_GO)
        return parsed;
    set.style.svg = ends_with(set.out, ".svg");
    if (!set.style.svg && !ends_with(set.out, ".png"))
        return cli_usage(self, "--out: '%s' ends neither with .svg nor with .png", set.out);
    for (int i = 0; i < set.logs.count; i++) {
        const int differ = cli_check_files(
            self, (const cli_file[]){{"LOG", set.logs.word[i], false}, {"--out", set.out, true}, {.called = NULL}});
        if (differ != CLI_GO)
            return differ;
    }
    cli_runs runs = {.count = 0};
    const int status = draw(self, &set, &runs);
    cli_runs_free(&runs);
    return cli_finish(self, status);
}
