/* SPDX-License-Identifier: MIT
 * Interrupts while a net is trained. */
#define _GNU_SOURCE
#include "train.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof signals / sizeof *signals };

static volatile sig_atomic_t came;
static volatile sig_atomic_t told; /* a person is at the other end of standard error */
static struct sigaction before[SIGNALS];

static void on_signal(int number)
{
    static const char text[] = "\nstopping after this step; once more stops at once\n";
    if (came) {
        signal(number, SIG_DFL);
        raise(number); /* delivered when the handler returns */
        return;
    }
    came = number;
    if (told && number == SIGINT)
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
}

void cli_interrupt_begin(void)
{
    const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    told = isatty(STDERR_FILENO);
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &ours, NULL);
    }
}

void cli_interrupt_end(void)
{
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
}

int cli_interrupted(void)
{
    return came;
}

const char *cli_interrupt_name(void)
{
    return came == SIGINT ? "SIGINT" : came == SIGTERM ? "SIGTERM" : came == SIGHUP ? "SIGHUP" : "none";
}

void cli_interrupt_raise(void)
{
    if (came) {
        signal(came, SIG_DFL);
        raise(came);
    }
}
