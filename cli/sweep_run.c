/* SPDX-License-Identifier: MIT
 * The runs of a sweep as child processes. */
#define _GNU_SOURCE
#include "json_read.h"
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const size_t log_size = (size_t)1 << 30; /* bytes of a log at most */
static const double lock_patience = 5;          /* seconds for the runs of a sweep that was killed to end */

/* ---- Folders --------------------------------------------------------------------------------------------------- */

/* "DIR/NAME/FILE"; names of runs are short enough for every part of it. */
static bool path_in(const cli_sweep *s, const cli_sweep_run *run, const char *file, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/%s%s%s", s->dir, run->name, *file ? "/" : "", file) < PATH_MAX;
}

static int make_folder(const char *path)
{
    return mkdir(path, 0777) && errno != EEXIST ? errno : 0;
}

int cli_sweep_open(cli_sweep *s)
{
    char path[PATH_MAX];
    const int error = make_folder(s->dir);
    if (error)
        return cli_fail(s->self, "%s: the folder cannot be made: %s", s->dir, strerror(error));
    snprintf(path, sizeof path, "%s/lock", s->dir);
    /* The children hold it as well: as long as one of them is alive, nobody else begins the same runs. */
    s->lock = open(path, O_RDWR | O_CREAT, 0666);
    if (s->lock < 0)
        return cli_fail(s->self, "%s: cannot be written: %s", path, strerror(errno));
    const double until = cli_now() + lock_patience;
    while (flock(s->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return cli_fail(s->self, "%s: cannot be locked: %s", path, strerror(errno));
        if (cli_now() > until)
            return cli_fail(s->self, "%s: another sweep is at work there", s->dir);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return CLI_GO;
}

/* Whether there is a checkpoint to go on from. */
static bool has_checkpoint(const char *folder)
{
    DIR *dir = opendir(folder);
    bool found = false;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = fnmatch("checkpoint-*.safetensors", entry->d_name, 0) == 0; /* not one that was being written */
    if (dir)
        closedir(dir);
    return found;
}

/* What a run that is done needs no more. */
static void remove_checkpoints(const cli_sweep *s, const cli_sweep_run *run)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    if (!path_in(s, run, "checkpoints", folder))
        return;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!strncmp(entry->d_name, "checkpoint-", 11) || !strcmp(entry->d_name, "lock"))
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

/* ---- Logs ------------------------------------------------------------------------------------------------------ */

static double real_of(cli_span record, const char *key)
{
    cli_span value;
    return cli_json_member(record, key, &value) ? cli_json_read_real(value) : NAN;
}

/* A run that was gone on with has several parts in its log, which may tell an epoch twice: the last word counts. */
static void take_epoch(cli_result *r, cli_span line, bool best)
{
    const double epoch = real_of(line, "epoch"), accuracy = real_of(line, "val_accuracy");
    if (!(epoch >= 1 && epoch <= CLI_COUNT_MAX))
        return;
    if ((int)epoch > r->epochs)
        r->seconds += fmax(0, real_of(line, "train_seconds")) + fmax(0, real_of(line, "val_seconds"));
    r->epochs = (int)epoch > r->epochs ? (int)epoch : r->epochs;
    if (best && r->epoch && !(accuracy > r->val_accuracy))
        return;
    r->epoch = (int)epoch;
    r->val_accuracy = accuracy;
    r->val_loss = real_of(line, "val_loss");
    r->train_loss = real_of(line, "train_loss");
}

static void take_line(cli_result *r, cli_span line, bool best)
{
    char word[32];
    cli_span value;
    if (!cli_json_is_valid(line) || !cli_json_member(line, "event", &value) ||
        !cli_json_read_text(value, word, sizeof word))
        return;
    if (!strcmp(word, "start")) {
        r->state = RUN_PENDING;
        *r->message = 0;
    } else if (!strcmp(word, "epoch")) {
        take_epoch(r, line, best);
    }
    if (strcmp(word, "end") != 0 || !cli_json_member(line, "reason", &value) ||
        !cli_json_read_text(value, word, sizeof word))
        return;
    r->state = !strcmp(word, "done") ? RUN_DONE : !strcmp(word, "failed") ? RUN_FAILED : RUN_PENDING;
    if (cli_json_member(line, "message", &value))
        cli_json_read_text(value, r->message, sizeof r->message);
}

void cli_sweep_read(const cli_sweep *s, cli_sweep_run *run)
{
    char path[PATH_MAX];
    size_t size = 0;
    run->result = (cli_result){.val_accuracy = NAN, .val_loss = NAN, .train_loss = NAN};
    char *text = path_in(s, run, "log.jsonl", path) ? cli_log_read(path, log_size, &size) : NULL;
    cli_span line;
    for (cli_span rest = {text, text ? size : 0}; cli_log_line(&rest, &line);)
        take_line(&run->result, line, s->keep_best);
    free(text);
}

/* ---- A child --------------------------------------------------------------------------------------------------- */

typedef struct words {
    const char **word;
    int count;
} words;

static void add(words *w, const char *word)
{
    w->word[w->count++] = word;
}

/* In the child, between fork and exec, with signals held. */
static void become(const words *w, const char *messages, pid_t parent)
{
    cli_interrupt_end(); /* a signal that comes before the training can take it ends the child: nothing is lost yet */
    cli_signals_release();
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int said = open(messages, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (nothing < 0 || said < 0)
        _exit(127);
    setpgid(0, 0); /* so that Ctrl-C reaches it by its parent alone, once */
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a sweep that is killed takes its runs along, with their checkpoints */
    if (getppid() != parent)
        _exit(127);
    execv("/proc/self/exe", (char **)w->word);
    execvp(program_invocation_name, (char **)w->word);
    dprintf(STDERR_FILENO, "this program cannot be started again: %s\n", strerror(errno));
    _exit(127);
}

/* Starts a run, or marks it as failed. */
static void start(cli_sweep *s, cli_sweep_run *run)
{
    char folder[PATH_MAX], log[PATH_MAX], kept[PATH_MAX], model[PATH_MAX], messages[PATH_MAX], threads[16];
    const int index = (int)(run - s->run);
    words w = {NULL, 0};
    w.word = cli_sweep_words(s, index, 12, &w.count);
    const bool named = path_in(s, run, "", folder) && path_in(s, run, "log.jsonl", log) &&
                       path_in(s, run, "checkpoints", kept) && path_in(s, run, "model.safetensors", model) &&
                       path_in(s, run, "messages.txt", messages);
    int error = !w.word ? ENOMEM : !named ? ENAMETOOLONG : make_folder(folder);
    if (!error) {
        snprintf(threads, sizeof threads, "%d", s->threads);
        run->resumed = has_checkpoint(kept);
        const char *const own[] = {
            "--quiet", "--threads", threads, "--log", log, run->resumed ? "--resume" : "--checkpoint", kept};
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            add(&w, own[i]);
        if (s->models) {
            add(&w, "--out");
            add(&w, model);
        }
        const pid_t parent = getpid();
        fflush(NULL);
        cli_signals_hold(); /* so that none is taken by the parent's handler in the child, where nobody asks for it */
        run->pid = fork();
        if (run->pid == 0)
            become(&w, messages, parent);
        error = run->pid < 0 ? errno : 0;
        cli_signals_release();
    }
    free(w.word);
    run->since = cli_now();
    run->result.state = error ? RUN_FAILED : RUN_RUNNING;
    if (error)
        snprintf(run->result.message, sizeof run->result.message, "cannot be started: %s", strerror(error));
}

/* The last line that the child said. */
static void read_messages(const cli_sweep *s, const cli_sweep_run *run, char *text, size_t room)
{
    char path[PATH_MAX];
    size_t size = 0;
    *text = 0;
    char *said = path_in(s, run, "messages.txt", path) ? cli_log_read(path, 1 << 20, &size) : NULL;
    while (size > 0 && said[size - 1] == '\n')
        size--;
    const char *last = size ? memrchr(said, '\n', size) : NULL;
    last = last ? last + 1 : said;
    static const char name[] = "evenkeel train: ";
    size_t length = said ? (size_t)(said + size - last) : 0;
    if (length >= sizeof name - 1 && !memcmp(last, name, sizeof name - 1)) {
        last += sizeof name - 1;
        length -= sizeof name - 1;
    }
    cli_copy_text(text, room, last ? last : "", length);
    free(said);
}

/* A child has ended: how, by its status and its log. */
static void finish(cli_sweep *s, cli_sweep_run *run, int status)
{
    cli_result *r = &run->result;
    char said[sizeof r->message];
    run->pid = 0;
    cli_sweep_read(s, run);
    const bool exited = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (exited && r->state == RUN_DONE) {
        remove_checkpoints(s, run);
        return;
    }
    if (cli_interrupted() && !(WIFEXITED(status) && WEXITSTATUS(status) != 0)) {
        r->state = RUN_PENDING;
        return;
    }
    read_messages(s, run, said, sizeof said);
    if (r->state != RUN_FAILED || !*r->message)
        snprintf(r->message, sizeof r->message, "%s",
                 WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
                 : *said             ? said
                                     : "its log is not complete");
    r->state = RUN_FAILED;
}

/* ---- Ctrl-Z ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

static void on_stop(int number)
{
    stop_asked = number;
}

/* The runs are in process groups of their own, which a terminal's stop does not reach: they stop and go on with the
 * sweep. The signal's own action stops this process, unless nobody could set it going again. */
static void stop_with_runs(const cli_sweep *s)
{
    struct sigaction ours;
    for (int i = 0; i < s->runs; i++)
        if (s->run[i].pid > 0)
            kill(s->run[i].pid, SIGSTOP);
    sigaction(SIGTSTP, &(struct sigaction){.sa_handler = SIG_DFL}, &ours);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &ours, NULL);
    stop_asked = 0;
    for (int i = 0; i < s->runs; i++)
        if (s->run[i].pid > 0)
            kill(s->run[i].pid, SIGCONT);
}

/* ---- All of them ----------------------------------------------------------------------------------------------- */

static int count(const cli_sweep *s, cli_run_state state)
{
    int found = 0;
    for (int i = 0; i < s->runs; i++)
        found += s->run[i].result.state == state;
    return found;
}

static void time_text(double seconds, char text[32])
{
    if (seconds < 90)
        snprintf(text, 32, "%.0f s", fmax(1, seconds));
    else if (seconds < 5400)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
}

typedef struct work {
    cli_progress progress;
    double spent; /* seconds of the runs that have ended so far */
    int ended;
    bool told; /* the children know of the interrupt */
} work;

/* "12 of 60 runs, 2 running, about 4 min left" */
static void show_progress(const cli_sweep *s, work *w)
{
    char left[64] = "";
    double rest = 0;
    if (!cli_progress_due(&w->progress))
        return;
    const double each = w->ended ? w->spent / w->ended : 0;
    for (int i = 0; i < s->runs; i++) {
        const cli_sweep_run *run = &s->run[i];
        rest += run->result.state == RUN_PENDING   ? each
                : run->result.state == RUN_RUNNING ? fmax(0, each - (cli_now() - run->since))
                                                   : 0;
    }
    if (w->ended) {
        char text[32];
        time_text(rest / s->jobs, text);
        snprintf(left, sizeof left, ", about %s left", text);
    }
    const int failed = count(s, RUN_FAILED);
    char failures[32] = "";
    if (failed)
        snprintf(failures, sizeof failures, ", %d failed", failed);
    cli_progress_show(&w->progress, "%d of %d runs, %d running%s%s", count(s, RUN_DONE), s->runs,
                      count(s, RUN_RUNNING), failures, left);
}

static void tell_end(const cli_sweep *s, work *w, const cli_sweep_run *run)
{
    const cli_result *r = &run->result;
    if (r->state == RUN_PENDING)
        return;
    cli_progress_clear(&w->progress);
    if (r->state == RUN_FAILED) {
        cli_warn(s->self, "%s failed: %s%s%s%s%s%s", run->name, r->message,
                 run->resumed ? " (it went on from a checkpoint; remove " : "", run->resumed ? s->dir : "",
                 run->resumed ? "/" : "", run->resumed ? run->name : "", run->resumed ? " to begin it anew)" : "");
        return;
    }
    w->spent += cli_now() - run->since;
    w->ended++;
    if (s->json)
        return;
    printf("%s: val_accuracy %.4f, %.1f s\n", run->name, r->val_accuracy, r->seconds);
    cli_flush();
}

static void wait_for_children(cli_sweep *s, work *w)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < s->runs; i++)
            if (s->run[i].pid == pid) {
                finish(s, &s->run[i], status);
                tell_end(s, w, &s->run[i]);
            }
    if (stop_asked) {
        cli_progress_clear(&w->progress);
        stop_with_runs(s);
    }
    if (cli_interrupted() && !w->told) {
        w->told = true;
        for (int i = 0; i < s->runs; i++)
            if (s->run[i].pid > 0)
                kill(s->run[i].pid, cli_interrupted());
    }
    show_progress(s, w);
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

int cli_sweep_work(cli_sweep *s)
{
    work w = {.spent = 0};
    for (int i = 0; i < s->runs; i++) {
        cli_sweep_read(s, &s->run[i]);
        if (s->run[i].result.state == RUN_FAILED)
            s->run[i].result.state = RUN_PENDING; /* perhaps the disk was full */
        if (s->run[i].result.state == RUN_DONE)
            remove_checkpoints(s, &s->run[i]);
    }
    cli_progress_begin(&w.progress);
    cli_interrupt_begin(-1);
    struct sigaction before;
    sigaction(SIGTSTP, NULL, &before);
    if (before.sa_handler != SIG_IGN)
        sigaction(SIGTSTP, &(struct sigaction){.sa_handler = on_stop, .sa_flags = SA_RESTART}, NULL);
    for (int next = 0, running = 0; running || (next < s->runs && !cli_interrupted());) {
        for (; running < s->jobs && next < s->runs && !cli_interrupted(); next++) {
            if (s->run[next].result.state != RUN_PENDING)
                continue;
            start(s, &s->run[next]);
            if (s->run[next].result.state == RUN_FAILED)
                tell_end(s, &w, &s->run[next]);
            running = count(s, RUN_RUNNING);
        }
        if (running)
            wait_for_children(s, &w);
        running = count(s, RUN_RUNNING);
    }
    cli_progress_clear(&w.progress);
    sigaction(SIGTSTP, &before, NULL);
    cli_interrupt_end();
    return cli_interrupted() ? CLI_GO : count(s, RUN_FAILED) ? CLI_FAILED : CLI_DONE;
}
