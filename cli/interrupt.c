/* SPDX-License-Identifier: MIT
 * Interrupts while a net is trained. */
#define _GNU_SOURCE
#include "train.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof signals / sizeof *signals };

static volatile sig_atomic_t came;
static volatile sig_atomic_t told;    /* a person is at the other end of standard error */
static volatile sig_atomic_t resumed; /* the process was stopped and goes on */
static volatile sig_atomic_t picture; /* descriptor of the terminal with a picture on it; -1: none */
static volatile sig_atomic_t late;    /* one came when training was over, */
static volatile sig_atomic_t saved;   /* all of which is there to stay */
static struct sigaction before[SIGNALS];

/* Those that matter with a picture alone. */
static const int drawing_signals[] = {SIGTSTP, SIGCONT, SIGQUIT};
enum { DRAWING_SIGNALS = sizeof drawing_signals / sizeof *drawing_signals };
static struct sigaction drawing_before[DRAWING_SIGNALS];

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static void on_signal(int number)
{
    const int error = errno;
    if (came) {
        if (picture >= 0)
            say(picture, "\033[?25h\r\n"); /* the cursor again, below the picture */
        signal(number, SIG_DFL);
        raise(number); /* delivered when the handler returns */
        errno = error;
        return;
    }
    came = number;
    if (number == SIGINT && picture >= 0)
        say(picture, "\r\033[Kstopping after this step; once more stops at once");
    else if (number == SIGINT && told)
        say(STDERR_FILENO, "\nstopping after this step; once more stops at once\n");
    errno = error;
}

static void on_quit(int number)
{
    say(picture, "\033[?25h\r\n");
    signal(number, SIG_DFL);
    raise(number);
}

static void on_continue(int number)
{
    (void)number;
    resumed = 1;
}

/* Ctrl-Z: the shell gets its cursor, and what is drawn later is drawn below what it writes. The signal's own action
 * stops the process, so that the system can leave it out where nobody could set it going again (an orphaned group). */
static void on_stop(int number)
{
    const int error = errno;
    struct sigaction ours;
    sigset_t stop, blocked;
    say(picture, "\033[?25h\r\n");
    sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, &ours);
    sigemptyset(&stop);
    sigaddset(&stop, number);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &stop, &blocked); /* here it stops, and goes on */
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    sigaction(number, &ours, NULL);
    resumed = 1;
    errno = error;
}

void cli_interrupt_begin(int terminal)
{
    const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    static void (*const handlers[DRAWING_SIGNALS])(int) = {on_stop, on_continue, on_quit};
    told = isatty(STDERR_FILENO);
    picture = terminal;
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &ours, NULL);
    }
    for (int i = 0; i < DRAWING_SIGNALS; i++) {
        const struct sigaction drawing = {.sa_handler = handlers[i], .sa_flags = SA_RESTART};
        sigaction(drawing_signals[i], NULL, &drawing_before[i]);
        if (terminal >= 0 && drawing_before[i].sa_handler != SIG_IGN)
            sigaction(drawing_signals[i], &drawing, NULL);
    }
}

void cli_interrupt_end(void)
{
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    for (int i = 0; i < DRAWING_SIGNALS; i++)
        sigaction(drawing_signals[i], &drawing_before[i], NULL);
    picture = -1;
}

static void on_late(int number)
{
    const int error = errno;
    if (saved) {
        if (told)
            say(STDERR_FILENO, "\n");
        _exit(CLI_DONE);
    }
    if (late) {
        signal(number, SIG_DFL);
        raise(number);
    } else if (number == SIGINT && told) {
        say(STDERR_FILENO, "\nsaving what there is; once more stops at once\n");
    }
    late = 1;
    errno = error;
}

void cli_interrupt_late(void)
{
    const struct sigaction ours = {.sa_handler = on_late, .sa_flags = SA_RESTART};
    late = came != 0;
    came = 0;
    for (int i = 0; i < SIGNALS; i++)
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &ours, NULL);
}

bool cli_interrupt_saved(void)
{
    saved = 1; /* before the question: a signal between them ends the process */
    return late;
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
