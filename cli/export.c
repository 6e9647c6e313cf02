/* SPDX-License-Identifier: MIT
 * evenkeel export: a model as something that other programs take. This file knows the targets; each has its own. */
#include "export.h"
#include "describe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* By their names: the word behind "--to". */
const cli_command cli_export_targets[] = {
    {.name = "export --to pytorch",
     .summary = "the Python text of the nn.Module whose state_dict the model file is",
     .text =
         "Writes a net as the text of a Python module: build() makes it in PyTorch, load(FILE) gives it the weights\n"
         "of a model file, strictly, save(net, FILE) writes a model file again. docs/pytorch.md tells more.\n",
     .example = "  evenkeel export model.safetensors --to pytorch -o net.py\n"
                "  python3 -c 'from net import load; print(load(\"model.safetensors\"))'\n",
     .run = cli_export_pytorch},
    {.name = "export --to onnx",
     .summary = "an ONNX file, for ONNX Runtime and all that read such files",
     .text =
         "Writes the model, as it predicts, as an ONNX file. Before the file is there its bytes are read back, and\n"
         "both nets run on images: the largest difference of an output is printed, and how many labels change;\n"
         "beyond the budget nothing is written. docs/onnx.md has the nodes of each layer.\n",
     .example = "  evenkeel export model.safetensors --to onnx -o model.onnx\n"
                "  evenkeel export model.safetensors --to onnx -o model.onnx --keep-batchnorm --batch 1 --opset 20\n",
     .run = cli_export_onnx},
    {.name = "export --to c",
     .summary = "C text without dependencies, in float or 8-bit integers, for microcontrollers",
     .text =
         "Writes a model as one C file and its header: C99 and C++, no library but math.h, nothing allocated,\n"
         "constants for flash. In float (docs/export-c.md), or with --int8 with weights and activations of 8 bits\n"
         "(docs/quantization.md), whose accuracy before and after is printed. The text has a self-test: recorded\n"
         "images, and outputs that must be the same, in integers to the last bit.\n",
     .example = "  evenkeel export model.safetensors --to c -o net\n"
                "  evenkeel export model.safetensors --to c --int8 -o net8\n"
                "  cc -std=c99 -Os -c net.c\n",
     .run = cli_export_c},
    {.name = NULL},
};

/* ---- What targets share --------------------------------------------------------------------------------------- */

ek_net *cli_export_open(const cli_command *self, const char *model, const char *net_name, bool weights_matter)
{
    struct stat info;
    const bool net_alone = !net_name && (stat(model, &info) ? cli_is_builtin(model) : cli_is_text(model));
    if (net_alone && weights_matter) {
        cli_fail(self, "%s: a net without weights; train it, and export the model", model);
        return NULL;
    }
    return net_alone ? cli_net_open(self, model, NULL) : cli_model_open(self, model, net_name, NULL);
}

int cli_export_write(const cli_command *self, const char *path, const char *text, size_t size)
{
    if (!path || !strcmp(path, "-")) {
        fwrite(text, 1, size, stdout); /* cli_finish tells of failures */
        return CLI_DONE;
    }
    const int error = cli_write_file(path, text, size);
    if (error == ENOENT)
        return cli_fail(self, "%s: cannot be written: its folder does not exist", path);
    if (!error)
        cli_put_saved(path);
    return error ? cli_fail(self, "%s: cannot be written: %s", path, strerror(error)) : CLI_DONE;
}

/* ---- The target's choice -------------------------------------------------------------------------------------- */

static const char *word_of(const cli_command *target)
{
    return strrchr(target->name, ' ') + 1;
}

static int fail_target(const cli_command *self, const char *given)
{
    const char *names[sizeof cli_export_targets / sizeof *cli_export_targets] = {NULL}; /* as many, and the NULL */
    char list[1024] = "";
    for (int i = 0; cli_export_targets[i].name; i++) {
        const size_t length = strlen(list);
        names[i] = word_of(&cli_export_targets[i]);
        snprintf(list + length, sizeof list - length, "%s%s (%s)", i ? ", " : "", names[i],
                 cli_export_targets[i].summary);
    }
    const char *nearest = given ? cli_nearest(given, names) : NULL;
    if (!given)
        return cli_usage(self, "--to is missing; it takes %s", list);
    if (nearest)
        return cli_usage(self, "--to: there is no target '%s'; did you mean '%s'?", given, nearest);
    return cli_usage(self, "--to: there is no target '%s'; there are %s", given, list);
}

static int print_help(const cli_command *self)
{
    printf("Usage: evenkeel export --to TARGET MODEL [-o OUT] [OPTION ...]\n\n%s\n", self->text);
    for (const cli_command *target = cli_export_targets; target->name; target++)
        printf("  %-12s%s\n", word_of(target), target->summary);
    printf("\n  --help      this text; 'evenkeel export --to TARGET --help' explains a target and its options\n\n"
           "Example:\n%s\n%s",
           self->example, cli_exit_text);
    return cli_finish(self, CLI_DONE);
}

/* For a shell, the last word: the target, or as long as there is none what may stand before it. False: the target's. */
static bool complete(int argc, char **argv, const char *given)
{
    const char *word = argc ? argv[argc - 1] : "";
    if (!strncmp(word, "--to=", 5))
        return cli_complete_commands("--to=", cli_export_targets) == CLI_DONE;
    if (argc > 1 && !strcmp(argv[argc - 2], "--to") && given == word)
        return cli_complete_commands("", cli_export_targets) == CLI_DONE;
    if (given)
        return false;
    cli_candidate("--to", "the target");
    cli_candidate("--help", "how it is used");
    if (word[0] != '-')
        printf("\tfiles\t\n");
    return true;
}

/* Takes the first --to out of the words; all others are the target's. */
int cli_export(const cli_command *self, int argc, char **argv)
{
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    const char *given = NULL;
    int count = 0;
    bool help = false;
    if (!rest)
        return cli_fail(self, "out of memory");
    for (int i = 0; i < argc; i++) {
        help = help || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
        if (!given && !strncmp(argv[i], "--to=", 5))
            given = argv[i] + 5;
        else if (!given && !strcmp(argv[i], "--to") && i + 1 < argc)
            given = argv[++i];
        else
            rest[count++] = argv[i];
    }
    if (cli_is_asked == ASKED_COMPLETION && complete(argc, argv, given)) {
        free(rest);
        return CLI_DONE;
    }
    const cli_command *target = cli_export_targets;
    while (given && target->name && strcmp(word_of(target), given) != 0)
        target++;
    const int status = given && target->name ? target->run(target, count, rest)
                       : !given && help      ? print_help(self)
                                             : fail_target(self, given);
    free(rest);
    return status;
}
