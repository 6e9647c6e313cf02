/* SPDX-License-Identifier: MIT
 * A grid of trainings: what varies, a run for each point and seed, how far each is (docs/sweep.md). */
#ifndef SWEEP_H
#define SWEEP_H

#include "runs.h"
#include "train.h"

#include <sys/types.h>

enum { SWEEP_VALUES = 1000, SWEEP_RUNS = 10000, SWEEP_NAME = 200 };

/* An option of `train` with the values it takes in turn; the one of the seeds is the last, and runs fastest. */
typedef struct cli_axis {
    char *option; /* "--lr" */
    char **value;
    int values;
    char *silent; /* the value that names of runs do not tell, since it was the only one at first; NULL: none */
} cli_axis;

/* What a file or folder that an option names held when the sweep began. */
typedef struct cli_content {
    char *option, *value;
    char *is; /* a net's text, a digest */
} cli_content;

typedef enum cli_run_state { RUN_PENDING, RUN_RUNNING, RUN_DONE, RUN_FAILED } cli_run_state;

/* What the log of a run tells. */
typedef struct cli_result {
    cli_run_state state;
    int epochs; /* that are over */
    int epoch;  /* of the numbers below: the last, or with --keep-best the best */
    double val_accuracy, val_loss, train_loss;
    double seconds;    /* of all epochs */
    char message[256]; /* why it failed */
} cli_result;

typedef struct cli_sweep_run {
    char name[SWEEP_NAME]; /* of its folder: "net=lenet,lr=0.1,seed=3" */
    cli_result result;
    bool resumed; /* it was started with checkpoints */
    pid_t pid;    /* while it runs */
    double since; /* cli_now at its start */
} cli_sweep_run;

typedef struct cli_sweep {
    const cli_command *self;
    const char *dir;
    cli_axis *axis;
    int axes;
    cli_content *content;
    int contents;
    char **flag; /* of `train`, given to every run */
    int flags;
    cli_sweep_run *run;
    int runs, seeds;
    int jobs, threads;
    bool models, json, keep_best;
    const char *picture; /* file; NULL: none */
    int lock;            /* descriptor; -1: none */
} cli_sweep;

/* ---- The grid (sweep_grid.c) ----------------------------------------------------------------------------------- */

/* Adds an option with its values as text: separated by ';' where there is one in it, else by ',' unless `whole`.
 * CLI_GO, or CLI_USAGE after a message. */
int cli_sweep_add(cli_sweep *sweep, const char *option, const char *text, bool whole);
int cli_sweep_add_flag(cli_sweep *sweep, const char *option);

/* Keeps what a value of an option stands for, so that it is noticed where that changes. CLI_GO, or CLI_FAILED. */
int cli_sweep_content(cli_sweep *sweep, const char *option, const char *value, const char *is);

/* The value of an axis in a run. */
const char *cli_sweep_value(const cli_sweep *sweep, int run, int axis);

/* The words of a run's training, "evenkeel train --lr=0.1 ...", `count` of them with room for `more` and a NULL; for
 * free(), NULL where memory is short. */
const char **cli_sweep_words(const cli_sweep *sweep, int run, int more, int *count);

/* The value as names of runs and tables show it: of a file or a folder its own name alone. */
const char *cli_sweep_short(const cli_sweep *sweep, int run, int axis);

/* Makes the runs of the grid, and their names. CLI_GO, or an exit status after a message. */
int cli_sweep_expand(cli_sweep *sweep);

/* Takes over what the folder's grid says, which must be a part of this one; leaves it alone where the folder has none.
 * CLI_GO, or CLI_FAILED after a message that shows what differs. load: the grid is the folder's. */
int cli_sweep_join(cli_sweep *sweep);
int cli_sweep_load(cli_sweep *sweep);

/* Writes the grid into the folder. */
int cli_sweep_save(const cli_sweep *sweep);

void cli_sweep_free(cli_sweep *sweep);

/* ---- Running (sweep_run.c) ------------------------------------------------------------------------------------- */

/* Opens the folder and keeps other sweeps out of it. */
int cli_sweep_open(cli_sweep *sweep);

/* What the log of a run says so far. */
void cli_sweep_read(const cli_sweep *sweep, cli_sweep_run *run);

/* Runs what is not done. CLI_DONE, CLI_FAILED where a run failed, or CLI_GO where an interrupt came. */
int cli_sweep_work(cli_sweep *sweep);

/* ---- Results --------------------------------------------------------------------------------------------------- */

typedef struct cli_spread {
    int n;
    double mean, sd; /* of a sample, divided by n - 1; NaN where n is less than 2 */
    double min, max;
} cli_spread;

/* A point of the grid, all its seeds. */
typedef struct cli_sweep_row {
    int first;                 /* its runs: this one and those behind it, as many as there are seeds */
    int done, failed, pending; /* of them */
    cli_spread val_accuracy, val_loss, train_loss, seconds; /* of those that are done */
} cli_sweep_row;

cli_sweep_row cli_sweep_row_of(const cli_sweep *sweep, int row);
int cli_sweep_rows(const cli_sweep *sweep);

/* "lr 0.1, net lenet": the values of a row's axes that vary; "" where none does. */
void cli_sweep_label(const cli_sweep *sweep, int row, char *text, size_t size);

/* On standard output, a table and a picture of text; JSON (sweep_table.c). */
void cli_sweep_print(const cli_sweep *sweep);
void cli_sweep_print_json(const cli_sweep *sweep);

/* As SVG or PNG, by the file's ending (sweep_draw.c). CLI_GO or CLI_FAILED after a message. */
int cli_sweep_draw(const cli_sweep *sweep, const char *path);

#endif
