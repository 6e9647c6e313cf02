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
static volatile sig_atomic_t told;    /* a person is at the other end of standard error */
static volatile sig_atomic_t resumed; /* the process was stopped and goes on */
static volatile sig_atomic_t picture; /* descriptor of the terminal with a picture on it; -1: none */
static struct sigaction before[SIGNALS], stop_before;

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static void on_signal(int number)
{
    if (came) {
        if (picture >= 0)
            say(picture, "\033[?25h\r\n"); /* the cursor again, below the picture */
        signal(number, SIG_DFL);
        raise(number); /* delivered when the handler returns */
        return;
    }
    came = number;
    if (number == SIGINT && picture >= 0)
        say(picture, "\r\033[Kstopping after this step; once more stops at once");
    else if (number == SIGINT && told)
        say(STDERR_FILENO, "\nstopping after this step; once more stops at once\n");
}

/* Ctrl-Z: the shell gets its cursor, and what is drawn later is drawn below what it writes. */
static void on_stop(int number)
{
    (void)number;
    say(picture, "\033[?25h\r\n");
    raise(SIGSTOP);
    resumed = 1;
}

void cli_interrupt_begin(int terminal)
{
    const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    told = isatty(STDERR_FILENO);
    picture = terminal;
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &ours, NULL);
    }
    sigaction(SIGTSTP, NULL, &stop_before);
    if (terminal >= 0 && stop_before.sa_handler != SIG_IGN)
        sigaction(SIGTSTP, &stop, NULL);
}

void cli_interrupt_end(void)
{
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    sigaction(SIGTSTP, &stop_before, NULL);
    picture = -1;
}

bool cli_interrupt_resumed(void)
{
    const bool was = resumed;
    resumed = 0;
    return was;
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
