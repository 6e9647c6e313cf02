/* SPDX-License-Identifier: MIT
 * The line that tells how far a training is. */
#ifndef STATUS_H
#define STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* What the line says: "epoch 3/10 #####..... 50 %  loss 0.4312  ...", in at most `columns` columns; what has no room is
 * left out. */
typedef struct cli_status {
    int epoch, epochs;
    double share; /* of the epoch's steps */
    double loss, images_per_second;
    double left; /* seconds to the end; below 0: not known */
} cli_status;
void cli_status_text(const cli_status *status, bool unicode, int columns, char *text, size_t size);

/* Columns that UTF-8 text takes, of characters that take one each. */
int cli_columns(const char *text);

#endif
