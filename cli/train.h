/* SPDX-License-Identifier: MIT
 * A training as the files around train.c share it: what it was told, what it works on, who watches it. */
#ifndef TRAIN_H
#define TRAIN_H

#include "import.h"
#include "live.h"
#include "recipe.h"
#include "runs.h"

#include <sys/types.h>

typedef struct cli_settings {
    cli_weights weights; /* of --init FILE; its file and net are `init` and `net` */
    const char *data, *net, *init, *out, *augment_text, *normalize;
    ek_augment_options augment;
    cli_data_options images;
    double val_split; /* 0: the test split validates */
    int epochs, batch_size, micro_batch, threads;
    bool ghost;
    uint64_t seed;
    bool no_shuffle, quiet, verbose;
    cli_recipe recipe;
    const char *log, *board;         /* file, folder; NULL: none */
    const char *report;              /* file; NULL: none */
    int log_every;                   /* steps from point to point in them; 0: epochs alone */
    const char *checkpoint, *resume; /* folders; at most one of them */
    int every, keep, patience;       /* 0: as the library has it */
    int max_skipped;                 /* steps in a row that may be left out */
    bool keep_best;
    const char *exact;     /* as typed; NULL: no exact statistics */
    int64_t exact_samples; /* and what that stands for; 0: the library's choice */
    bool exact_final, exact_compare;
    const char *chart;   /* as typed */
    cli_drawing drawing; /* and what that stands for */
} cli_settings;

/* What there is to tell of a step, or of an epoch, beside the trainer's event. */
typedef struct cli_point {
    const ek_fit_event *event;
    int64_t step;             /* optimiser steps since the beginning */
    double seconds;           /* since training began */
    double images_per_second; /* while training; of a step: since the point before it, likewise the next two */
    int64_t samples;
    double loss, accuracy; /* means over those samples; of an epoch: the event's */
} cli_point;

/* The log of runs, JSON lines (log.c; docs/log.md). */
typedef struct cli_log {
    int fd;      /* -1: none */
    bool torn;   /* it ends within a line */
    bool failed; /* which has been told */
    char run[40];
} cli_log;

/* An event file for TensorBoard (board.c). */
typedef struct cli_board {
    int fd;     /* -1: none */
    off_t size; /* so far, whole records */
    bool failed;
} cli_board;

typedef struct cli_training {
    const cli_command *self;
    const cli_settings *set;
    ek_net *net;
    ek_dataset *train, *val;
    ek_dataset_info train_info, val_info;
    cli_live *live;        /* NULL: there is no terminal for a picture */
    cli_progress progress; /* used where there is none */
    bool begun;            /* the head of the table is printed */
    bool output_failed;
    bool given_weights; /* it started from a file */
    ek_fit_event last;  /* epoch; with --keep-best the best one */
    int epochs;         /* that are finished */
    int64_t skipped;    /* steps that were left out in them */
    char *kept;         /* the last checkpoint that was written; NULL: none */
    char *not_kept;     /* why the last one that was tried was not; NULL: it was, or none was tried */
    char recipe[256];   /* what the model depends on beside the trainer's options */

    cli_log log;
    cli_board board;
    cli_run run;    /* for the page */
    double since;   /* cli_now when training began */
    cli_point open; /* sums since the last point of a step: samples, and loss and accuracy times them */
    double open_seconds;
} cli_training;

/* Reads the command line of a training and checks all that can be without opening files. CLI_GO, or the exit status
 * after a message. With a `table`, of TRAIN_OPTIONS rows, it is given the options instead, which end with a NULL name
 * and whose targets are not to be used. */
enum { TRAIN_OPTIONS = 96 };
int cli_train_read(const cli_command *self, int argc, char **argv, cli_settings *settings, cli_option *table);

/* ---- Watching (watch.c) --------------------------------------------------------------------------------------- */

/* Opens what is to be written to, before the data are opened, so that a wrong name is told at once. CLI_GO, or
 * CLI_FAILED after a message. */
int cli_watch_open(cli_training *t);

/* From here on the trainer's events may come; interrupts are remembered. */
void cli_watch_begin(cli_training *t);

/* Shows and writes down what an event tells. True when the training should stop. */
bool cli_watch_event(cli_training *t, const ek_fit_event *event);

/* The folder of checkpoints, NULL where there is none. */
static inline const char *cli_checkpoints(const cli_settings *set)
{
    return set->resume ? set->resume : set->checkpoint;
}

/* Training is over: the display leaves the terminal, interrupts act again. release, which may have to wait for the
 * terminal, comes before something else is printed. */
void cli_watch_end(cli_training *t);
void cli_watch_release(cli_training *t);

/* Why it is over: "done" when the model is saved, too, "failed", "interrupted", "stopped" (by a broken standard
 * output). message may be NULL. */
void cli_watch_close(cli_training *t, const char *reason, const char *message);

/* A warning that the display makes room for. */
void cli_watch_warn(cli_training *t, const char *format, ...) CLI_PRINTF(2, 3);

/* ---- Log (log.c) ---------------------------------------------------------------------------------------------- */

/* A failed write is told once and stops nothing. */
int cli_log_open(cli_training *t);
void cli_log_start(cli_training *t);
void cli_log_step(cli_training *t, const cli_point *point);
void cli_log_epoch(cli_training *t, const cli_point *point);
void cli_log_skipped(cli_training *t, const ek_fit_event *event);
void cli_log_resume(cli_training *t, const ek_fit_event *event);
void cli_log_end(cli_training *t, const char *reason, const char *message);

/* ---- Event files (board.c) ------------------------------------------------------------------------------------ */

/* Likewise; an event file ends at the first write that fails. */
int cli_board_open(cli_training *t);
void cli_board_start(cli_training *t, int64_t step); /* steps that the training has behind it */
void cli_board_step(cli_training *t, const cli_point *point);
void cli_board_epoch(cli_training *t, const cli_point *point);
void cli_board_end(cli_training *t);

/* ---- The page (train_report.c) -------------------------------------------------------------------------------- */

/* Likewise told at once where it cannot be written. After the training: the net as it is now, which has its notes, and
 * what came in its way where it is not done. CLI_DONE, also where no page was asked for, or CLI_FAILED after a
 * message. */
int cli_report_open(cli_training *t);
void cli_report_epoch(cli_training *t, const ek_fit_event *event);
int cli_report_write(cli_training *t, bool done, const char *message);

/* ---- Exact statistics (train_exact.c) -------------------------------------------------------------------------- */

#define CLI_EXACT_AUTO "auto"

/* CLI_GO, or the exit status after a message. */
int cli_exact_read(const cli_command *self, cli_settings *set);

/* Training images that are measured after each epoch; 0: none. */
int64_t cli_exact_samples(const cli_training *t);
void cli_exact_fill(const cli_training *t, ek_fit_options *options);

/* The validation of the model that is kept, where its statistics are none that an epoch was validated with. If it fails
 * a warning says so, and that of the epoch stays. */
void cli_exact_note(cli_training *t);

/* After a training without them: says so where they make a difference to the accuracy of more than a standard error
 * (the binomial distribution's). The net is as it was. The last thing of a training, since it takes a while: all is to
 * be saved before, and an interrupt skips it. */
void cli_exact_compare(cli_training *t);

/* ---- Interrupts (interrupt.c) --------------------------------------------------------------------------------- */

/* From begin to end the first SIGINT, SIGTERM or SIGHUP is remembered, so that the step at hand can be finished; a
 * second one ends the process at once. What was ignored before stays ignored. `terminal` is the descriptor of the one
 * with a picture on it, which gets its cursor back when the process ends (Ctrl-\ too) or is stopped (Ctrl-Z); -1:
 * none. */
void cli_interrupt_begin(int terminal);
void cli_interrupt_end(void);

/* After the end of a training that came to its own: the first signal, or one that came before, is too late to stop it
 * and spares no more than what follows `saved`, which tells whether there was one. From there on a signal ends the
 * process with success. A second one before ends it at once. */
void cli_interrupt_late(void);
bool cli_interrupt_saved(void);

/* Whether the process was stopped and has gone on since the last call. */
bool cli_interrupt_resumed(void);

/* The signal that came, 0 for none, and its name. */
int cli_interrupted(void);
const char *cli_interrupt_name(void);

/* Ends the process as the signal that came would have. */
void cli_interrupt_raise(void);

#endif
