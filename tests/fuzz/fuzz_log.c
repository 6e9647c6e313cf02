/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a log of runs. What is read has epochs in order, and names that can be shown. */
#include "../../cli/runs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cli_runs runs = {0};
    if (!cli_runs_parse(&runs, (const char *)data, size))
        abort();
    for (int i = 0; i < runs.count; i++) {
        const cli_run *run = &runs.run[i];
        if (!memchr(run->id, 0, sizeof run->id) || !memchr(run->net, 0, sizeof run->net))
            abort();
        for (int e = 0; e < run->epochs; e++)
            if (run->epoch[e].epoch <= (e ? run->epoch[e - 1].epoch : 0))
                abort();
    }
    cli_runs_free(&runs);
    return 0;
}
