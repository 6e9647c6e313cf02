/* SPDX-License-Identifier: MIT
 * evenkeel export --to pytorch: a net as a module in Python. */
#define _POSIX_C_SOURCE 200809L
#include "export.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ek_status save(ek_net *net, const char *path)
{
    cli_signals_hold();
    const ek_status saved = ek_net_save(net, path);
    cli_signals_release();
    return saved;
}

int cli_export_pytorch(const cli_command *self, int argc, char **argv)
{
    const char *model = NULL, *out = NULL, *weights = NULL;
    const cli_option options[] = {
        {"MODEL", .text = &model, .required = true,
         .help = "a model file, or a net: a built-in one's name, or a text file"},
        {"--out", .letter = 'o', .value = "FILE", .text = &out, .help = "write the text here (standard output)"},
        {"--weights", .value = "FILE", .text = &weights,
         .help = "also save the weights here: of a checkpoint what load() takes, of a net new ones"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = cli_check_files(self, (const cli_file[]){{"MODEL", access(model, F_OK) ? NULL : model, false},
                                                          {"--weights", weights, true},
                                                          {"--out", out && strcmp(out, "-") ? out : NULL, true},
                                                          {.called = NULL}});
    if (status != CLI_GO)
        return status;
    ek_net *net = cli_export_open(self, model, NULL, false);
    char *text = net ? ek_net_pytorch_text(net) : NULL;
    if (!net)
        return CLI_FAILED;
    if (!text || (weights && save(net, weights)))
        status = cli_fail(self, "%s", ek_error());
    else
        status = cli_export_write(self, out, text, strlen(text));
    free(text);
    ek_net_free(net);
    return cli_finish(self, status);
}
