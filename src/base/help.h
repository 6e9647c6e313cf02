/* SPDX-License-Identifier: MIT
 * Work that its owner has begun and that threads without any of their own may join: it lies in pieces, and whoever
 * comes takes the next one. Which thread runs a piece makes no difference to what it computes. */
#ifndef EK_BASE_HELP_H
#define EK_BASE_HELP_H

#include "base/status.h"

typedef struct ek_help ek_help; /* one per thread, in its own cache line */

/* One piece of the work `what` of thread `owner`, run by `thread`. */
typedef void ek_help_function(void *argument, int owner, uint64_t what, int piece, int thread);

enum { EK_HELP_PIECES = 1000 };                    /* at most */
#define EK_HELP_WHAT_MAX ((UINT64_C(1) << 44) - 1) /* `what` is a number that only the function understands */

ek_help *ek_help_new(int threads); /* NULL: out of memory */
void ek_help_free(ek_help *help);

/* By thread `owner`: runs pieces 0..pieces-1 of `what`, with others' help, and returns when all are done. What the
 * owner wrote before is seen by helpers, what they wrote by the owner afterwards. Never inside a piece. */
void ek_help_open(ek_help *help, int owner, uint64_t what, int pieces, ek_help_function *function, void *argument);

/* Takes one piece of what another thread has open and runs it; false when there is none. */
bool ek_help_other(ek_help *help, int threads, int thread, ek_help_function *function, void *argument);

#endif
