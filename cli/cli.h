/* SPDX-License-Identifier: MIT
 * What the subcommands share: options and help, messages, output that is checked, JSON, progress.
 *
 * A subcommand is a function that returns the exit status: it parses, works, and ends with cli_finish. Results go to
 * standard output, messages to standard error, one line each. */
#ifndef CLI_H
#define CLI_H

#include "evenkeel.h"

#include <stdio.h>

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* ---- Subcommands (main.c lists them) ------------------------------------------------------------------------- */

typedef struct cli_command {
    const char *name;    /* as it is typed: "train", "data show" */
    const char *summary; /* half a sentence, for the list of commands */
    const char *text;    /* what it does, for its own --help; lines end with newlines */
    const char *example; /* command lines, likewise */
    int (*run)(const struct cli_command *self, int argc, char **argv); /* argv[0]: the first word after the name */
    const struct cli_command *commands; /* of its own: "data show" of "data"; ends with a NULL name */
} cli_command;

int cli_train(const cli_command *self, int argc, char **argv);
int cli_calibrate(const cli_command *self, int argc, char **argv);
int cli_fold(const cli_command *self, int argc, char **argv);
int cli_eval(const cli_command *self, int argc, char **argv);
int cli_import(const cli_command *self, int argc, char **argv);
int cli_inspect(const cli_command *self, int argc, char **argv);
int cli_bench(const cli_command *self, int argc, char **argv);
int cli_doctor(const cli_command *self, int argc, char **argv);
int cli_export(const cli_command *self, int argc, char **argv);
int cli_plot(const cli_command *self, int argc, char **argv);
int cli_report(const cli_command *self, int argc, char **argv);
int cli_predict(const cli_command *self, int argc, char **argv);
int cli_sweep_command(const cli_command *self, int argc, char **argv);

extern const cli_command cli_net_commands[], cli_data_commands[], cli_export_targets[];

/* Runs a command whose first word is one of its own commands. */
int cli_group(const cli_command *self, int argc, char **argv);

/* ---- Options (options.c) -------------------------------------------------------------------------------------- */

/* Operands that may be given more than once, in their order: words of argv, gathered at its front. */
typedef struct cli_words {
    const char **word;
    int count;
} cli_words;

/* Values of an option that may be given more than once, in their order. */
enum { CLI_VALUES_MAX = 128 };
typedef struct cli_values {
    const char *value[CLI_VALUES_MAX];
    int count;
} cli_values;

/* An option or, when its name does not begin with a dash, an operand. Exactly one target is set and says what the
 * value must be; a target keeps its value, the default, where the option is not given. */
typedef struct cli_option {
    const char *name;  /* "--batch-size", or "MODEL" */
    const char *value; /* what the help calls the value: "N"; NULL for flags and operands */
    const char *help;  /* the default in it */
    char letter;       /* 'o' for -o, 0 for none */
    bool required;
    const char *implied; /* the value of an option that is given without one: "--name" or "--name=value" */
    /* For a shell's completion alone, which learns the rest from `value` (complete.c): word i of those that the value
     * may be, NULL past the last; and whether it may be several, with commas between. */
    const char *(*choice)(int i);
    bool list;
    bool *flag;         /* takes no value */
    const char **text;  /* not empty; points into argv */
    cli_words *words;   /* of operands: not empty; takes all from here on */
    cli_values *values; /* of an option that may be repeated: not empty; points into argv */
    int *integer;       /* low to high */
    int64_t *count;     /* low to high */
    uint64_t *seed;     /* any */
    double *number;     /* low to high */
    double low, high;
} cli_option;

enum { CLI_GO = -1 };

/* Parses the words after a command's name into the targets of `options` (ends with a NULL name). CLI_GO, or the exit
 * status after --help or a wrong word. */
int cli_parse(const cli_command *self, const cli_option *options, int argc, char **argv);

/* The word among `known` (ends with NULL) that `word` was perhaps meant to be, NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *known);

enum { CLI_THREADS_MAX = 1024, CLI_COUNT_MAX = 1000000 };
extern const char cli_exit_text[]; /* for every --help */

/* ---- Output (output.c) ---------------------------------------------------------------------------------------- */

/* Prints "evenkeel NAME: ..." on standard error as one line; the exit status CLI_FAILED, CLI_USAGE. */
int cli_fail(const cli_command *self, const char *format, ...) CLI_PRINTF(2, 3);
int cli_usage(const cli_command *self, const char *format, ...) CLI_PRINTF(2, 3);
void cli_warn(const cli_command *self, const char *format, ...) CLI_PRINTF(2, 3);

/* Writes out what was printed so far; false when that, or something before it, failed. */
bool cli_flush(void);

/* Writes all of it to the descriptor, or returns the errno that stood in the way; 0 otherwise. */
int cli_write_whole(int fd, const char *text, size_t size);

/* Puts a file with this content at `path`: a temporary one beside it, synced, takes its place, so that there is the old
 * one or the new one; its permissions stay, and so do links; devices and pipes are written to. The errno that stood in
 * the way, 0 for none. */
int cli_write_file(const char *path, const char *data, size_t size);

/* Ends a command: all output written, or a message and CLI_FAILED; `status` otherwise. */
int cli_finish(const cli_command *self, int status);

/* "saved FILE", a line of standard output; nothing where that is standard output itself. */
void cli_put_saved(const char *path);

/* Text from files, on one line and without what could steer a terminal. */
void cli_put_text(const char *text);
void cli_put(const char *text, size_t size);

/* Length of the UTF-8 sequence at `text`, 0 when it is none (RFC 3629: shortest form, no surrogates). */
int cli_utf8_length(const unsigned char *text, size_t size);

/* Copies `size` bytes of text that may be anything, as UTF-8 that a line of a terminal and a picture can show: cut at a
 * whole character where `room`, at least 1, with its zero byte is less; what is not UTF-8, controls and noncharacters
 * become '?'. The length. */
size_t cli_copy_text(char *to, size_t room, const char *text, size_t size);

/* Values as JSON, on standard output where none is named; what is not finite becomes null, what is not UTF-8 U+FFFD.
 * (json.h writes whole objects.) */
void cli_json_put(FILE *to, const char *text);
void cli_json_string(const char *text);
void cli_json_number(double value);

/* A line that is rewritten in place while work goes on, on standard error; nothing where that is no terminal. */
typedef struct cli_progress {
    bool on, shown;
    double next; /* when it is due */
} cli_progress;
void cli_progress_begin(cli_progress *progress);
bool cli_progress_due(cli_progress *progress);
void cli_progress_show(cli_progress *progress, const char *format, ...) CLI_PRINTF(2, 3);
void cli_progress_clear(cli_progress *progress);

/* Seconds of a clock that only goes forward. */
double cli_now(void);

/* Interrupts (Ctrl-C, hangup, termination) wait from hold to release, while a file is put in its place. */
void cli_signals_hold(void);
void cli_signals_release(void);

/* Whether a file can be written at `path`, found out by creating one of `size` bytes beside it and removing it.
 * CLI_GO, or CLI_FAILED with a message. */
int cli_probe_output(const cli_command *self, const char *path, int64_t size);

/* Whether both paths lead to one file or folder, which may be yet to be made. Devices and pipes are none (files.c). */
bool cli_same_file(const char *a, const char *b);

/* A file that a command line names: by which option or operand, and whether it is written to. */
typedef struct cli_file {
    const char *called; /* "--out", "MODEL" */
    const char *path;   /* NULL: not given */
    bool written;
} cli_file;

/* Nothing that is written may be the same as another file of the list, which ends with a NULL `called`: CLI_GO, or
 * CLI_USAGE after a message. */
int cli_check_files(const cli_command *self, const cli_file *files);

/* A word that a message tells a user to type, in quotes for a shell, ' as '\''; cut where there is no room. */
enum { CLI_QUOTED = 1024 };
const char *cli_quote(const char *word, char quoted[CLI_QUOTED]);

/* ---- Nets and data (model.c) ---------------------------------------------------------------------------------- */

#define CLI_DATA_DEFAULT "fashion-mnist"
#define CLI_NET_DEFAULT "bn-lenet"

/* A built-in net, or the net that the text file `name` describes; NULL with a message. A built-in net is made for the
 * images and classes of `data`, or is of its own shape where that is NULL. */
ek_net *cli_net_open(const cli_command *self, const char *name, const ek_dataset_info *data);

bool cli_is_builtin(const char *name);

/* Whether the file is text, as a net's is: a safetensors file begins with a length of eight bytes, of which the upper
 * ones are zero. False for what is no file, or cannot be read: that is left to who opens it next. */
bool cli_is_text(const char *path);

/* The name of a net's text file; NULL where it is a built-in net's, or NULL. */
static inline const char *cli_net_file(const char *name)
{
    return name && !cli_is_builtin(name) ? name : NULL;
}

/* The net in a model file, or where `net_name` is set that net (cli_net_open) with the file's weights; NULL with a
 * message. */
ek_net *cli_model_open(const cli_command *self, const char *path, const char *net_name, const ek_dataset_info *data);

/* The net's last layer: blocks stand before what is in them. */
ek_status cli_net_output(const ek_net *net, ek_layer_info *output);

/* Trainable numbers of a net. */
int64_t cli_net_parameters(const ek_net *net);

/* Bytes of its model file, generously. */
int64_t cli_net_file_size(ek_net *net);

/* Copies the net's moving statistics to `copy`, or back, in the order of its tensors: of each norm mean, then variance.
 * Their number, 0 for a net without; `copy` NULL copies nothing. */
int64_t cli_net_copy_moving(ek_net *net, float *copy, bool back);

/* What the statistics that a model's batch norms have are called: "moving", or "saved" where exact ones took their
 * place (ek_calibrate). */
const char *cli_statistics_name(const ek_net *net);

/* The classes of a net in words (labels.c). */
typedef struct cli_labels {
    char *text;
    const char **label; /* of the first `count` classes */
    int count;
} cli_labels;

/* The words in a file, one a line, as many as the net has outputs: lines joined by newlines, for free(). NULL with a
 * message. */
char *cli_labels_read(const cli_command *self, const char *path, const ek_net *net);

/* Cuts such a text, which is the labels' then; what a model's note says (none without one). False: out of memory. */
bool cli_labels_take(cli_labels *labels, char *text);
bool cli_labels_of(cli_labels *labels, const ek_net *net);
void cli_labels_free(cli_labels *labels);

/* Prints its layers with their outputs, parameters and multiply-adds, and which biases are idle. */
void cli_net_print(const ek_net *net);

/* "6x24x24", or "120" for features. */
const char *cli_shape_text(const ek_layer_info *layer, char text[48]);

/* How a data set is opened: what --resize and its like say (images.c, as the rest down to cli_normalize). */
typedef struct cli_data_options {
    const char *resize, *colour;
    const char *resize_from, *colour_from; /* the model file whose notes say so; NULL: the options */
    const char *stream, *memory;
    bool coarse, skip_broken;
    bool may_lack; /* where the data set lacks the split, CLI_GO and NULL come back */
} cli_data_options;

/* Rows of a table of options that fill such a struct. */
/* clang-format off */
#define CLI_DATA_ROWS(o)                                                                                             \
    {"--resize", .value = "N|HxW", .text = &(o).resize, .help = "resize images, with antialiasing (as they are)"},   \
    {"--colour", .value = "grey|rgb", .text = &(o).colour,                                                           \
     .help = "make images grey or RGB (as they are; in folders grey where all are)"},                                \
    {"--coarse", .flag = &(o).coarse, .help = "cifar-100: its 20 coarse labels"},                                    \
    {"--skip-broken", .flag = &(o).skip_broken,                                                                      \
     .help = "leave out image files that cannot be decoded (they are an error)"},                                    \
    {"--stream", .value = "yes|no|auto", .text = &(o).stream,                                                        \
     .help = "decode images of folders as they are needed; auto: beyond --memory (auto)"},                           \
    {"--memory", .value = "SIZE", .text = &(o).memory,                                                               \
     .help = "for a split's images, as 512MiB or 8GB (half of the machine's)"}
/* clang-format on */

/* Opens a split of a data set; a warning tells of files that were left out. CLI_GO, or the exit status after a
 * message; *dataset is NULL then. */
int cli_data_open(const cli_command *self, ek_dataset **dataset, const char *name, ek_split split,
                  const cli_data_options *options);

/* Unless told otherwise, images are as those that the model in file `path` was trained on. The net and `path` must
 * outlive the options. */
void cli_data_like(cli_data_options *options, const ek_net *net, const char *path);

/* --augment: a list of crop[=PIXELS], flip and erase[=PROBABILITY]; NULL and "none" are none. CLI_GO, or the exit
 * status after a message (images.c; the next one too). */
int cli_read_augment(const cli_command *self, const char *text, ek_augment_options *augment);

/* --normalize: sets the net's normalisation to what `text` says: "data" measures the data set, "M,M,M/S,S,S" are means
 * and deviations, "none" removes it, NULL leaves it. Likewise. */
int cli_normalize(const cli_command *self, const char *text, const ek_dataset *dataset, ek_net *net);

/* What a data set is called: its name, the word it was opened by otherwise. */
const char *cli_data_name(const ek_dataset *dataset, const char *opened_as);

/* ---- The data of a model (model_data.c) ----------------------------------------------------------------------- */

/* Which images a model was trained on, and on which of them it was validated, by its notes. */
typedef struct cli_model_data {
    const ek_net *net;       /* NULL, without notes: weights alone, whose built-in net is made for the data */
    const char *model;       /* its file */
    const char *name;        /* of the data set, as --data has it; NULL: cli_model_data_name finds it */
    cli_data_options images; /* what they do not say is as in training (cli_data_like) */
    const char *share;       /* filled in where images stand for test images that training set aside: how much */
} cli_model_data;

/* The known data set that the notes name; NULL for none. */
const char *cli_model_data_noted(const ek_net *net);

/* Sets a name of NULL to the known data set that the notes name, or to CLI_DATA_DEFAULT where they name none and its
 * images fit. CLI_GO, or CLI_FAILED with a message that asks for --data. */
int cli_model_data_name(const cli_command *self, cli_model_data *of);

/* Opens a split. Training images are without the share that training set aside to validate on, where these are the
 * model's; in a set without test images that share takes their place. CLI_GO, or the exit status after a message: of
 * images of another shape than the net's, too, unless images.may_lack. */
int cli_model_data_open(const cli_command *self, cli_model_data *of, ek_split split, ek_dataset **dataset);

/* Opens images to prove something on: of the set with this name, which must be there and fit; or, where the name is
 * NULL, of the one that the notes name, where it is found and fits. *dataset is NULL else. `either`: for want of test
 * images, all training images will do. */
int cli_model_data_proof(const cli_command *self, cli_model_data *of, ek_split split, bool either,
                         ek_dataset **dataset);

/* Opens training images and those that the model was validated on: the share where there is one, else the test images;
 * *val is NULL where there are neither. Likewise. */
int cli_model_data_both(const cli_command *self, cli_model_data *of, ek_dataset **train, ek_dataset **val);

/* Whether training images are known to be others than the model's. */
bool cli_model_data_differs(const ek_net *net, const ek_dataset *train);

#endif
