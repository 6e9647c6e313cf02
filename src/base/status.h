/* SPDX-License-Identifier: MIT
 * Failures: a status for the program, one line for the person. */
#ifndef EK_BASE_STATUS_H
#define EK_BASE_STATUS_H

#include "evenkeel.h"

/* Sets the calling thread's message (printf's format; one line, no newline) and returns `status`:
 *     return ek_fail(EK_ERR_SHAPE, "conv2d: kernel %d does not fit an input of %d rows", k, h);
 * The message says what, where and what to do. Longer than the buffer (1 KiB) it is cut with "...". */
ek_status ek_fail(ek_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the calling thread's message, on the way up: return ek_fail_in(status, path). */
ek_status ek_fail_in(ek_status status, const char *context);

/* Passes a failure on. */
#define EK_TRY(call)                                                                                                 \
    do {                                                                                                             \
        ek_status ek_try_status_ = (call);                                                                           \
        if (ek_try_status_ != EK_OK)                                                                                 \
            return ek_try_status_;                                                                                   \
    } while (0)

#endif
