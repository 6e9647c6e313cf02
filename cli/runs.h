/* SPDX-License-Identifier: MIT
 * Runs as logs tell them (docs/log.md). */
#ifndef RUNS_H
#define RUNS_H

#include "cli.h"
#include "json_read.h"

enum { RUN_CURVES = 3, RUN_ID = 64, CLI_LABEL = 101 };

/* What is drawn of a run. */
typedef enum cli_curve { CURVE_TRAIN_LOSS, CURVE_VAL_LOSS, CURVE_VAL_ACCURACY } cli_curve;

typedef struct cli_epoch {
    double value[RUN_CURVES]; /* NaN where the log says null; likewise the rest */
    int epoch;
    double train_accuracy, train_seconds, val_seconds;
    bool has_moving; /* values are with exact statistics, and these with the moving ones */
    double moving_loss, moving_accuracy;
} cli_epoch;

typedef struct cli_run {
    char id[RUN_ID];
    char label[CLI_LABEL + 16]; /* what the legend calls it */
    char net[64];
    char begun[32];           /* date and time, "" where the log does not say, likewise the next two */
    char instruction_set[16]; /* */
    int threads;              /* */
    cli_epoch *epoch;
    int epochs, room;
} cli_run;

typedef struct cli_runs {
    cli_run *run;
    int count, room;
    bool too_many;
} cli_runs;

/* Adds an epoch; false when memory is short. */
bool cli_run_add(cli_run *run, const cli_epoch *epoch);

/* Adds the runs in the log `text`, in the order in which they begin; one that goes on with another is one with that.
 * Lines that are no records are skipped, and so are records of epochs that do not follow each other. False when memory
 * is short, or there are too_many. */
bool cli_runs_parse(cli_runs *runs, const char *text, size_t size);

/* The same from a file, of whose runs the last alone is kept where `last`. Labels are `name`, less than CLI_LABEL bytes
 * or NULL for none, behind it "#2" and so on where there are several. CLI_GO, or CLI_FAILED after a message. */
int cli_runs_read(const cli_command *self, cli_runs *runs, const char *path, const char *name, bool last);

/* A file's bytes for free(), *size of them, `most` or fewer; NULL with errno. */
char *cli_log_read(const char *path, size_t most, size_t *size);

/* What to call the log at paths[log], one of `count`: as much of the end of its path as no other one ends in, without
 * what all of them end in, or without the file's ending. "a/log.jsonl" is "a" beside "b/log.jsonl". */
void cli_runs_name(const char *const *paths, int count, int log, char name[CLI_LABEL]);

/* The next line of what is left of a log, without its newline; false at the end. */
bool cli_log_line(cli_span *rest, cli_span *line);

/* The run in the log that began last, but `but`, with its checkpoints in `folder`, as the log's start has it. */
bool cli_runs_last(const char *path, const char *folder, const char *but, char id[RUN_ID]);

void cli_runs_free(cli_runs *runs);

#endif
