/* SPDX-License-Identifier: MIT
 * The log of runs: a JSON object a line, each written by one call, behind whatever the file holds (docs/log.md). */
#define _GNU_SOURCE
#include "json.h"
#include "train.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT = 1 };

/* ---- The file ------------------------------------------------------------------------------------------------- */

/* Whether the file at `path` ends within a line, as one does whose writer was killed or whose disk was full. */
static bool is_torn(const char *path)
{
    char last = '\n';
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && lseek(fd, -1, SEEK_END) >= 0)
        (void)!read(fd, &last, 1);
    if (fd >= 0)
        close(fd);
    return last != '\n';
}

/* Whether what the file holds is a log: it begins as a record does, as far as that goes, or with a JSON object that
 * says its event, which other programs may have written anew. What cannot be read, as a pipe, holds nothing. */
static bool is_log(const char *path)
{
    static const char begin[] = "{\"event\":";
    enum { FIRST_LINE = 1 << 20 };
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    char *text = fd >= 0 && !fstat(fd, &info) && S_ISREG(info.st_mode) ? malloc(FIRST_LINE) : NULL;
    const ssize_t size = text ? read(fd, text, FIRST_LINE) : 0;
    size_t at = 0;
    while ((ssize_t)at < size && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    cli_span rest = {size > 0 ? text + at : NULL, size > 0 ? (size_t)size - at : 0}, line, value;
    const size_t shown = rest.size < sizeof begin - 1 ? rest.size : sizeof begin - 1;
    const bool is = !rest.size || !memcmp(rest.at, begin, shown) ||
                    (cli_log_line(&rest, &line) && cli_json_is_valid(line) && cli_json_member(line, "event", &value));
    free(text);
    if (fd >= 0)
        close(fd);
    return is;
}

int cli_log_open(cli_training *t)
{
    const char *path = t->set->log;
    t->log.fd = -1;
    if (!path)
        return CLI_GO;
    if (!is_log(path))
        return cli_fail(t->self, "--log %s: is there and is no log of runs, to which records could be added", path);
    t->log.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (t->log.fd < 0)
        return cli_fail(t->self, "--log %s: cannot be written: %s", path, strerror(errno));
    t->log.torn = is_torn(path);
    return CLI_GO;
}

/* Later records are tried all the same: room may come back. What a failure has left is no line, and ended as one. */
static void write_record(cli_training *t, const char *text, size_t size)
{
    cli_log *log = &t->log;
    const bool lead = log->torn; /* the text begins with a newline for this case */
    const int error = cli_write_whole(log->fd, text + !lead, size - !lead);
    log->torn = error != 0;
    if (error && !log->failed)
        cli_watch_warn(t, "--log %s: %s; training goes on, its log has gaps", t->set->log, strerror(error));
    log->failed = log->failed || error;
}

/* ---- Records -------------------------------------------------------------------------------------------------- */

typedef struct record {
    cli_json json;
    char *text;
    size_t size;
} record;

static void begin_record(record *r, const cli_log *log, const char *event)
{
    *r = (record){0};
    r->json.to = open_memstream(&r->text, &r->size);
    if (!r->json.to)
        return;
    putc('\n', r->json.to);
    cli_json_open(&r->json, NULL);
    cli_json_text(&r->json, "event", event);
    cli_json_text(&r->json, "run", log->run);
}

static void end_record(record *r, cli_training *t)
{
    if (!r->json.to)
        return;
    cli_json_close(&r->json);
    putc('\n', r->json.to);
    if (fclose(r->json.to) == 0)
        write_record(t, r->text, r->size);
    free(r->text);
}

/* Where no run has been before, in the order of time. */
static void name_run(char name[40], struct timespec now)
{
    struct tm utc;
    char date[24] = "";
    uint32_t chance = 0;
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y%m%d-%H%M%S", &utc);
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
        chance = (uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 16;
    snprintf(name, 40, "%s-%08x", date, chance);
}

/* The folder of checkpoints by its full name, whether it is there or is to be made; false where there is none, or no
 * such name. */
static bool name_folder(const cli_training *t, char name[PATH_MAX])
{
    char above[PATH_MAX], whole[PATH_MAX];
    const char *folder = cli_checkpoints(t->set);
    if (!folder || realpath(folder, name))
        return folder != NULL;
    const char *slash = strrchr(folder, '/'), *last = slash ? slash + 1 : folder;
    snprintf(above, sizeof above, "%.*s", slash ? (int)(last - folder) : 1, slash ? folder : ".");
    return realpath(above, whole) &&
           snprintf(name, PATH_MAX, "%s/%s", strcmp(whole, "/") ? whole : "", last) < PATH_MAX;
}

static void put_data(cli_json *j, const cli_training *t)
{
    const ek_dataset_info *info = &t->train_info;
    cli_json_open(j, "data");
    cli_json_text(j, "name", cli_data_name(t->train, t->set->data));
    cli_json_whole(j, "channels", info->channels);
    cli_json_whole(j, "height", info->height);
    cli_json_whole(j, "width", info->width);
    cli_json_whole(j, "classes", info->classes);
    cli_json_whole(j, "train_samples", info->count);
    cli_json_given_text(j, "train_digest", info->digest);
    cli_json_whole(j, "val_samples", t->val_info.count);
    cli_json_given_text(j, "val_digest", t->val_info.digest);
    cli_json_close(j);
}

static void put_net(cli_json *j, const cli_training *t)
{
    char *text = ek_net_text(t->net);
    cli_json_open(j, "net");
    cli_json_text(j, "name", t->set->net);
    cli_json_whole(j, "parameters", cli_net_parameters(t->net));
    cli_json_text(j, "text", text);
    cli_json_close(j);
    free(text);
}

static void put_config(cli_json *j, const cli_training *t)
{
    const cli_settings *set = t->set;
    cli_json_open(j, "config");
    cli_json_text(j, "init", set->init);
    cli_json_whole(j, "epochs", set->epochs);
    cli_json_whole(j, "batch_size", set->batch_size);
    cli_json_given_real(j, "micro_batch", set->micro_batch);
    cli_json_truth(j, "ghost", set->ghost);
    cli_json_large(j, "seed", set->seed);
    cli_json_truth(j, "shuffle", !set->no_shuffle);
    cli_json_text(j, "augment", set->augment_text);
    cli_json_text(j, "normalize", set->normalize);
    cli_json_given_real(j, "val_split", set->val_split);
    cli_json_text(j, "resize", set->images.resize);
    cli_json_text(j, "colour", set->images.colour);
    cli_json_truth(j, "coarse", set->images.coarse);
    cli_json_truth(j, "skip_broken", set->images.skip_broken);
    cli_json_truth(j, "keep_best", set->keep_best);
    cli_json_given_real(j, "patience", set->patience);
    cli_json_whole(j, "max_skipped", set->max_skipped);
    cli_json_given_real(j, "exact_stats", (double)cli_exact_samples(t));
    cli_json_truth(j, "exact_final", set->exact_final);
    cli_recipe_json(&set->recipe, j);
    cli_json_close(j);
}

void cli_log_start(cli_training *t)
{
    record r;
    struct timespec now;
    struct tm utc;
    char date[24] = "", time[40], folder[PATH_MAX];
    if (t->log.fd < 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(time, sizeof time, "%s.%03dZ", date, (int)(now.tv_nsec / 1000000));
    name_run(t->log.run, now);
    begin_record(&r, &t->log, "start");
    if (r.json.to) {
        cli_json_whole(&r.json, "format", FORMAT);
        cli_json_text(&r.json, "time", time);
        cli_json_text(&r.json, "version", ek_version());
        cli_json_text(&r.json, "instruction_set", ek_cpu());
        cli_json_whole(&r.json, "threads", t->set->threads);
        cli_json_whole(&r.json, "processors", ek_cpu_count());
        cli_json_whole(&r.json, "log_every", t->set->log_every);
        cli_json_text(&r.json, "checkpoints", name_folder(t, folder) ? folder : NULL);
        put_config(&r.json, t);
        put_data(&r.json, t);
        put_net(&r.json, t);
    }
    end_record(&r, t);
}

void cli_log_step(cli_training *t, const cli_point *p)
{
    record r;
    if (t->log.fd < 0)
        return;
    begin_record(&r, &t->log, "step");
    if (r.json.to) {
        cli_json_real(&r.json, "seconds", p->seconds);
        cli_json_whole(&r.json, "epoch", p->event->epoch);
        cli_json_whole(&r.json, "step", p->step);
        cli_json_whole(&r.json, "samples", p->samples);
        cli_json_real(&r.json, "loss", p->loss);
        cli_json_real(&r.json, "accuracy", p->accuracy);
        cli_json_real(&r.json, "lr", p->event->lr);
        cli_json_real(&r.json, "gradient_norm", p->event->gradient_norm);
        cli_json_real(&r.json, "images_per_second", p->images_per_second);
    }
    end_record(&r, t);
}

void cli_log_epoch(cli_training *t, const cli_point *p)
{
    record r;
    const ek_fit_event *e = p->event;
    if (t->log.fd < 0)
        return;
    begin_record(&r, &t->log, "epoch");
    if (r.json.to) {
        cli_json_real(&r.json, "seconds", p->seconds);
        cli_json_whole(&r.json, "epoch", e->epoch);
        cli_json_whole(&r.json, "step", p->step);
        cli_json_real(&r.json, "train_loss", e->loss);
        cli_json_real(&r.json, "train_accuracy", e->accuracy);
        cli_json_real(&r.json, "val_loss", e->has_val ? e->val_loss : NAN);
        cli_json_real(&r.json, "val_accuracy", e->has_val ? e->val_accuracy : NAN);
        cli_json_real(&r.json, "val_loss_moving", e->has_moving ? e->moving_loss : NAN);
        cli_json_real(&r.json, "val_accuracy_moving", e->has_moving ? e->moving_accuracy : NAN);
        cli_json_real(&r.json, "lr", e->lr);
        cli_json_real(&r.json, "train_seconds", e->seconds);
        cli_json_real(&r.json, "val_seconds", e->has_val ? e->val_seconds : NAN);
        cli_json_real(&r.json, "images_per_second", p->images_per_second);
    }
    end_record(&r, t);
}

/* Which layer, channel and sample: null where there is none in particular. */
void cli_log_skipped(cli_training *t, const ek_fit_event *e)
{
    record r;
    if (t->log.fd < 0)
        return;
    begin_record(&r, &t->log, "skipped");
    if (r.json.to) {
        cli_json_real(&r.json, "seconds", cli_now() - t->since);
        cli_json_whole(&r.json, "epoch", e->epoch);
        cli_json_whole(&r.json, "step", e->total_steps);
        cli_json_whole(&r.json, "samples", e->batch_size);
        cli_json_whole(&r.json, "in_row", e->skipped);
        cli_json_given_text(&r.json, "layer", e->layer);
        cli_json_real(&r.json, "channel", e->channel >= 0 ? (double)e->channel : NAN);
        cli_json_real(&r.json, "sample", e->sample >= 0 ? (double)e->sample : NAN);
        cli_json_text(&r.json, "message", e->message);
    }
    end_record(&r, t);
}

void cli_log_resume(cli_training *t, const ek_fit_event *e)
{
    record r;
    char folder[PATH_MAX], before[RUN_ID];
    if (t->log.fd < 0)
        return;
    const bool found = name_folder(t, folder) && cli_runs_last(t->set->log, folder, t->log.run, before);
    begin_record(&r, &t->log, "resume");
    if (r.json.to) {
        cli_json_real(&r.json, "seconds", cli_now() - t->since);
        cli_json_whole(&r.json, "epochs", e->epoch - 1);
        cli_json_whole(&r.json, "step", e->total_steps);
        cli_json_text(&r.json, "checkpoint", e->path);
        cli_json_text(&r.json, "continues", found ? before : NULL);
    }
    end_record(&r, t);
}

void cli_log_end(cli_training *t, const char *reason, const char *message)
{
    record r;
    if (t->log.fd < 0)
        return;
    begin_record(&r, &t->log, "end");
    if (r.json.to) {
        cli_json_real(&r.json, "seconds", cli_now() - t->since);
        cli_json_text(&r.json, "reason", reason);
        cli_json_text(&r.json, "message", message);
        cli_json_whole(&r.json, "epochs", t->epochs);
        cli_json_real(&r.json, "best_epoch", t->set->keep_best && t->epochs ? (double)t->last.epoch : NAN);
        cli_json_text(&r.json, "model", strcmp(reason, "done") == 0 ? t->set->out : NULL);
    }
    end_record(&r, t);
    close(t->log.fd);
    t->log.fd = -1;
}
