/* SPDX-License-Identifier: MIT
 * The command: its list of subcommands, --help and --version. */
#define _GNU_SOURCE
#include "describe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command self = {.name = ""};

static const cli_command commands[] = {
    {.name = "train",
     .summary = "train a net on a data set",
     .text =
         "Trains a net by cross-entropy, with plain SGD unless told otherwise, and validates it on the test images\n"
         "after every epoch. The defaults are those of d2l, section 8.5.\n",
     .example = "  evenkeel train --epochs 3 --out model.safetensors\n",
     .run = cli_train},
    {.name = "eval",
     .summary = "loss, accuracy and confusion matrix of a model",
     .text = "Evaluates a model on the images of a data set: loss, accuracy, each class, and which class was taken\n"
             "for which.\n",
     .example = "  evenkeel eval model.safetensors\n",
     .run = cli_eval},
    {.name = "predict",
     .summary = "what a model takes images for, with probabilities",
     .text =
         "Predicts PNG, JPEG, PGM and PPM files, or items of a data set, a line each: the image, then the likeliest\n"
         "classes with their probabilities. Images are made to fit the net as in training: grey or RGB, resized.\n"
         "IMAGE - reads paths from standard input, one a line, and answers as they come. docs/predict.md tells more.\n",
     .example = "  evenkeel predict model.safetensors boot.png shirt.jpg --top 3\n"
                "  find photos -name '*.png' | evenkeel predict model.safetensors - --json\n"
                "  evenkeel predict model.safetensors --data fashion-mnist --items 0-9\n",
     .run = cli_predict},
    {.name = "calibrate",
     .summary = "exact statistics in place of a model's moving ones",
     .text =
         "Measures what every batch norm of a model reads, over the training images, layer after layer, and saves\n"
         "the model with these statistics; tells how far the moving ones were, and what it does to the accuracy.\n",
     .example = "  evenkeel calibrate model.safetensors --out exact.safetensors\n",
     .run = cli_calibrate},
    {.name = "inspect",
     .summary = "layers, parameters and statistics of a model",
     .text = "Shows the layers of a model and what its normalisations have learned: gamma, beta, moving mean and\n"
             "moving variance.\n",
     .example = "  evenkeel inspect model.safetensors --layer 1\n",
     .run = cli_inspect},
    {.name = "doctor",
     .summary = "what ails a model, layer by layer, and what to do",
     .text = "Measures every layer of a model over its training images: moving statistics against exact ones, dead,\n"
             "saturated and constant channels, gammas next to 0, the accuracy with either statistics; and says what\n"
             "to do. It changes nothing.\n",
     .example = "  evenkeel doctor model.safetensors\n",
     .run = cli_doctor},
    {.name = "fold",
     .summary = "batch norms folded into the layers before them",
     .text =
         "Writes a model for prediction in which every convolution or linear layer has taken in the batch norm behind\n"
         "it; tells what was folded and what stays, and how far the outputs move on the images of a data set.\n",
     .example = "  evenkeel fold model.safetensors -o folded.safetensors\n",
     .run = cli_fold},
    {.name = "export",
     .summary = "a model for other programs: PyTorch, ONNX, plain C",
     .text = "Writes a model as something that other programs take. The targets:\n",
     .example = "  evenkeel export --to pytorch model.safetensors -o net.py\n",
     .run = cli_export,
     .commands = cli_export_targets},
    {.name = "import",
     .summary = "a model from what another program saved: ONNX, PyTorch's weights",
     .text =
         "Of an ONNX file (FILE.onnx) makes a model of its graph and weights, prints the net, and tells what was left\n"
         "out or changed; 'evenkeel eval' then shows the accuracy. docs/onnx.md has the operators.\n"
         "Of any other file makes a model of a net and the weights that PyTorch saved for it as safetensors: a\n"
         "state_dict whose names and shapes are those of the net's PyTorch module (evenkeel export --to pytorch),\n"
         "after renaming. What does not fit is listed whole. docs/pytorch.md has the rules.\n",
     .example = "  evenkeel import model.onnx -o model.safetensors\n"
                "  evenkeel import weights.safetensors --net bn-lenet --rename module.= -o model.safetensors\n",
     .run = cli_import},
    {.name = "net",
     .summary = "built-in nets, and what a net consists of",
     .text = "Lists the nets that are built in, and shows what a net consists of.\n",
     .example = "  evenkeel net show bn-lenet --plan --batch-size 64\n",
     .run = cli_group,
     .commands = cli_net_commands},
    {.name = "data",
     .summary = "fetch a data set, describe it, show its images",
     .text = "Data sets are looked for in $EVENKEEL_DATA/NAME and $EVENKEEL_DATA, in the cache\n"
             "($XDG_CACHE_HOME/evenkeel/NAME, ~/.cache/evenkeel/NAME), then in /usr/share/datasets/NAME.\n",
     .example = "  evenkeel data fetch fashion-mnist && evenkeel data info\n",
     .run = cli_group,
     .commands = cli_data_commands},
    {.name = "plot",
     .summary = "draw logs of trainings: losses and accuracy by epoch",
     .text = "Draws the runs in logs side by side: train loss, validation loss and validation accuracy by epoch, a\n"
             "curve a run.\n",
     .example = "  evenkeel plot runs.jsonl --out runs.png\n",
     .run = cli_plot},
    {.name = "report",
     .summary = "a model as a page: curves, confusion, mistakes, batch norms",
     .text =
         "Evaluates a model and writes a page of HTML about it that needs nothing else: accuracy by class, what it\n"
         "takes for what, its most confident mistakes, what its batch norms have learned, its layers.\n",
     .example = "  evenkeel report model.safetensors --log runs.jsonl --out model.html\n",
     .run = cli_report},
    {.name = "sweep",
     .summary = "train a grid of options and seeds; means, deviations, a chart",
     .text =
         "Trains once for every combination of the values that options of 'evenkeel train' are given, and for every\n"
         "seed, a process a run, as many at a time as there are processors. A list's values are separated by commas,\n"
         "or by ; where the values have commas of their own, as those of --augment, --milestones and --normalize.\n"
         "The same command again goes on with what is not done; one with more values or seeds adds them.\n",
     .example = "  evenkeel sweep --net lenet,bn-lenet --lr 0.01,0.1,1 --seeds 10 --out rates\n"
                "  evenkeel sweep --show rates --plot rates.svg\n",
     .run = cli_sweep_command},
    {.name = "bench",
     .summary = "how fast this machine trains and predicts",
     .text =
         "Measures training and prediction of bn-lenet and batch norm alone, with one thread and with all\n"
         "processors, against what the processor could do. All are run in turn, in short windows in random\n"
         "order, so that a machine whose speed drifts is no judge. Other work on the machine spoils the numbers.\n",
     .example = "  evenkeel bench --threads 1\n",
     .run = cli_bench},
    {.name = NULL},
};

/* "show" of "data show". */
static const char *last_word(const char *name)
{
    const char *last = strrchr(name, ' ');
    return last ? last + 1 : name;
}

static void print_commands(const cli_command *list)
{
    for (; list->name; list++)
        printf("  %-10s%s\n", last_word(list->name), list->summary);
}

/* Runs the one of `list` that argv[0] names; `parent` is the command they belong to. */
static int dispatch(const cli_command *parent, const cli_command *list, int argc, char **argv)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    if (cli_is_asked == ASKED_COMPLETION && argc < 2) {
        cli_candidate("--help", "how it is used");
        if (list == commands)
            cli_candidate("--version", "the version");
        return cli_complete_commands("", list);
    }
    for (int i = 0; i < MOST && list[i].name; i++) {
        names[i] = last_word(list[i].name);
        if (!strcmp(names[i], argv[0]))
            return list[i].run(&list[i], argc - 1, argv + 1);
    }
    if (cli_is_asked == ASKED_COMPLETION)
        return CLI_DONE; /* nothing completes what is wrong */
    const char *what = argv[0][0] == '-' ? "option" : "command";
    const char *nearest = cli_nearest(argv[0], names);
    if (nearest)
        return cli_usage(parent, "there is no %s '%s'; did you mean '%s'?", what, argv[0], nearest);
    return cli_usage(parent, "there is no %s '%s'; 'evenkeel%s%s --help' lists them", what, argv[0],
                     *parent->name ? " " : "", parent->name);
}

/* "fetch, info or show?" */
static int ask_which(const cli_command *group)
{
    char names[128] = "";
    size_t length = 0;
    for (const cli_command *one = group->commands; one->name && length < sizeof names; one++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s",
                                   one == group->commands ? ""
                                   : one[1].name          ? ", "
                                                          : " or ",
                                   last_word(one->name));
    return cli_usage(group, "%s? 'evenkeel %s --help' explains", names, group->name);
}

int cli_group(const cli_command *group, int argc, char **argv)
{
    if (cli_is_asked != ASKED_WORK)
        return dispatch(group, group->commands, argc, argv);
    if (argc < 1)
        return ask_which(group);
    if (strcmp(argv[0], "--help") != 0 && strcmp(argv[0], "-h") != 0)
        return dispatch(group, group->commands, argc, argv);
    printf("Usage: evenkeel %s COMMAND [OPTION ...]\n\n", group->name);
    print_commands(group->commands);
    printf("\n  --help    this text; 'evenkeel %s COMMAND --help' explains a command\n\n%s\nExample:\n%s\n%s",
           group->name, group->text, group->example, cli_exit_text);
    return cli_finish(group, CLI_DONE);
}

static int print_help(void)
{
    printf("Usage: evenkeel COMMAND [OPTION ...]\n\n"
           "Trains, checks and ships batch-normalised convolutional networks.\n\n");
    print_commands(commands);
    printf("\n  --help    this text; 'evenkeel COMMAND --help' or 'evenkeel help COMMAND' explains a command\n"
           "  --version\n\n"
           "Environment:\n"
           "  EVENKEEL_DATA   folder with data sets, searched first\n"
           "  EVENKEEL_CPU    instruction set to use: avx512, avx2, neon or baseline\n\n"
           "Example:\n"
           "  evenkeel train --out model.safetensors && evenkeel eval model.safetensors\n\n%s",
           cli_exit_text);
    return cli_finish(&self, CLI_DONE);
}

/* "help data show" is "data show --help". */
static int explain(int argc, char **argv)
{
    char **words = argc ? calloc((size_t)argc + 2, sizeof *words) : NULL;
    if (!argc)
        return print_help();
    if (!words)
        return cli_fail(&self, "out of memory");
    memcpy(words, argv, (size_t)argc * sizeof *words);
    words[argc] = (char[]){"--help"};
    const int status = dispatch(&self, commands, argc + 1, words);
    free(words);
    return status;
}

/* A closed standard stream would lend its number to the first file opened, and results would land in that file. */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY); /* takes the lowest number: fd */
}

int main(int argc, char **argv)
{
    static char
        buffer[1 << 16]; /* a text of usual length is written by cli_flush, which knows what stands in its way */
    occupy_standard_streams();
    if (!isatty(STDOUT_FILENO))
        setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of output like others: said, and exit status 1 */
    signal(SIGXFSZ, SIG_IGN); /* likewise a file that would be larger than may be */
    if (argc < 2)
        return cli_usage(&self, "which command? 'evenkeel --help' lists them");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return print_help();
    if (!strcmp(argv[1], "--version")) {
        printf("evenkeel %s\n", ek_version());
        return cli_finish(&self, CLI_DONE);
    }
    if (!strcmp(argv[1], "--complete")) {
        cli_is_asked = ASKED_COMPLETION;
        return cli_finish(&self, dispatch(&self, commands, argc - 2, argv + 2));
    }
    if (!strcmp(argv[1], "--manual")) {
        cli_is_asked = ASKED_MANUAL;
        return cli_finish(&self, cli_manual(commands, argc - 2, argv + 2));
    }
    if (!strcmp(argv[1], "help"))
        return explain(argc - 2, argv + 2);
    return dispatch(&self, commands, argc - 1, argv + 1);
}
