/* SPDX-License-Identifier: MIT */
#include "status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void time_text(double seconds, char text[32])
{
    const double whole = floor(seconds + 0.5);
    if (!(whole < 8.64e8))
        snprintf(text, 32, "years");
    else if (whole >= 172800)
        snprintf(text, 32, "%.0f d %.0f h", floor(whole / 86400), floor(fmod(whole, 86400) / 3600));
    else if (whole >= 3600)
        snprintf(text, 32, "%.0f:%02.0f:%02.0f", floor(whole / 3600), floor(fmod(whole, 3600) / 60), fmod(whole, 60));
    else
        snprintf(text, 32, "%.0f:%02.0f", floor(whole / 60), fmod(whole, 60));
}

int cli_columns(const char *text)
{
    int columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

void cli_status_text(const cli_status *s, bool unicode, int columns, char *text, size_t size)
{
    enum { BAR = 20 };
    char part[5][96], bar[3 * BAR + 1] = "", left[32];
    const int done = (int)(BAR * s->share);
    for (int i = 0; i < BAR; i++)
        strcat(bar, i < done ? (unicode ? "━" : "#") : (unicode ? "─" : "."));
    snprintf(part[0], sizeof part[0], "epoch %d/%d", s->epoch, s->epochs);
    snprintf(part[1], sizeof part[1], "%3.0f %%", 100 * s->share);
    snprintf(part[2], sizeof part[2], "loss %.4f", s->loss);
    time_text(s->left, left);
    snprintf(part[3], sizeof part[3], "%.0f images/s", s->images_per_second);
    snprintf(part[4], sizeof part[4], "%s left", left);
    if (s->left < 0)
        *part[4] = 0;
    for (int keep = 6; keep > 0; keep--) {
        /* In the order in which they are given up: the bar, images/s, the loss, the time, the share. */
        const bool has[5] = {true, keep > 1, keep > 3, keep > 4, keep > 2 && *part[4]};
        size_t length = 0;
        *text = 0;
        for (int i = 0; i < 5 && length < size; i++) {
            if (has[i])
                length += (size_t)snprintf(text + length, size - length, "%s%s", i ? "  " : "", part[i]);
            if (i == 0 && keep > 5 && length < size)
                length += (size_t)snprintf(text + length, size - length, "  %s", bar);
        }
        if (cli_columns(text) <= columns)
            return;
    }
    if (columns >= 0 && (size_t)columns < strlen(text))
        text[columns] = 0; /* ASCII by now */
}
