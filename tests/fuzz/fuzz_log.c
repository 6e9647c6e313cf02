/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a log of runs. What is read has epochs in order, and names that can be shown. */
#include "../../cli/runs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether it is UTF-8 without what steers a terminal. */
static int is_shown(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t left = strlen(text); left > 0;) {
        const int length = cli_utf8_length(at, left);
        if (length == 0 || *at < 0x20 || *at == 0x7f)
            return 0;
        at += length;
        left -= (size_t)length;
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cli_runs runs = {0};
    if (!cli_runs_parse(&runs, (const char *)data, size) && !runs.too_many)
        abort();
    for (int i = 0; i < runs.count; i++) {
        const cli_run *run = &runs.run[i];
        if (!memchr(run->id, 0, sizeof run->id) || !memchr(run->net, 0, sizeof run->net) || !is_shown(run->id) ||
            !is_shown(run->net))
            abort();
        for (int e = 0; e < run->epochs; e++)
            if (run->epoch[e].epoch <= (e ? run->epoch[e - 1].epoch : 0))
                abort();
    }
    cli_runs_free(&runs);
    return 0;
}
