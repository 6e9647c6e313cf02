/* SPDX-License-Identifier: MIT
 * Weights of PyTorch's for a net: names that differ, and what does not fit. */
#include "import.h"

#include <stdlib.h>
#include <string.h>

int cli_weights_load(const cli_command *self, ek_net *net, const cli_weights *weights)
{
    char *misfits = NULL;
    const ek_weights_options options = {.renames = weights->renames.value,
                                        .rename_count = weights->renames.count,
                                        .leave = weights->leave.value,
                                        .leave_count = weights->leave.count,
                                        .misfits = &misfits};
    if (!ek_net_load_weights_with(net, weights->file, &options))
        return CLI_GO;
    for (char *line = misfits, *end; line && *line; line = end + 1) { /* each ends with a newline */
        end = strchr(line, '\n');
        cli_put(line, (size_t)(end - line));
        putchar('\n');
    }
    free(misfits);
    return cli_fail(self, "%s", ek_error());
}
