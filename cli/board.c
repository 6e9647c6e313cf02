/* SPDX-License-Identifier: MIT
 * train --tensorboard: scalars of a training's points and histograms of what its normalisations have learned, as an
 * event file (tensorboard.h). */
#define _GNU_SOURCE
#include "tensorboard.h"
#include "train.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A record is written whole or, as far as that can be had, not at all: readers stop for good at half a record. */
static void write_event(cli_training *t, cli_board_event *event)
{
    cli_board *board = &t->board;
    size_t size;
    const uint8_t *record = cli_board_finish(event, &size);
    if (record && !board->failed) {
        const int error = cli_write_whole(board->fd, (const char *)record, size);
        if (error) {
            board->failed = true;
            (void)!ftruncate(board->fd, board->size);
            cli_watch_warn(t, "--tensorboard %s: %s; training goes on, its event file ends here", t->set->board,
                           strerror(error));
        }
        board->size += error ? 0 : (off_t)size;
    }
    cli_board_free(event);
}

/* Makes the folder and those above it; errno says why where it cannot be. */
static bool make_folders(const char *dir)
{
    char path[PATH_MAX];
    if (strlen(dir) >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(path, dir);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0777) && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

/* TensorBoard reads files with "tfevents" in their name, in the order of their names. */
int cli_board_open(cli_training *t)
{
    char name[PATH_MAX], host[65] = "";
    const char *dir = t->set->board;
    t->board.fd = -1;
    if (!dir)
        return CLI_GO;
    if (!make_folders(dir))
        return cli_fail(t->self, "--tensorboard %s: cannot be made: %s", dir, strerror(errno));
    gethostname(host, sizeof host - 1);
    for (char *at = host; *at; at++)
        if (*at == '/')
            *at = '_';
    const double now = wall_time();
    for (int i = 0; t->board.fd < 0 && i < 1000; i++) {
        const int length =
            snprintf(name, sizeof name, "%s/events.out.tfevents.%.0f.%s.%ld.%d", dir, now, host, (long)getpid(), i);
        if (length >= (int)sizeof name) {
            errno = ENAMETOOLONG;
            break;
        }
        t->board.fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (t->board.fd < 0 && errno != EEXIST)
            break;
    }
    if (t->board.fd < 0)
        return cli_fail(t->self, "--tensorboard %s: cannot be written to: %s", dir, strerror(errno));
    cli_board_event event;
    cli_board_version(&event, now);
    write_event(t, &event);
    return CLI_GO;
}

/* ---- Points ---------------------------------------------------------------------------------------------------- */

void cli_board_step(cli_training *t, const cli_point *p)
{
    cli_board_event event;
    if (t->board.fd < 0)
        return;
    cli_board_begin(&event, wall_time(), p->step);
    cli_board_scalar(&event, "loss/step", p->loss);
    cli_board_scalar(&event, "accuracy/step", p->accuracy);
    cli_board_scalar(&event, "lr", p->event->lr);
    cli_board_scalar(&event, "gradient_norm", p->event->gradient_norm);
    cli_board_scalar(&event, "images_per_second", p->images_per_second);
    write_event(t, &event);
}

/* "1.batchnorm/gamma", "3.body.1.batchnorm/moving_var": TensorBoard makes a group of what stands before the slash. */
static void add_histogram(cli_training *t, cli_board_event *event, const ek_tensor *tensor)
{
    static const char *const roles[] = {[EK_ROLE_GAMMA] = "gamma",
                                        [EK_ROLE_BETA] = "beta",
                                        [EK_ROLE_MOVING_MEAN] = "moving_mean",
                                        [EK_ROLE_MOVING_VAR] = "moving_var"};
    char tag[512];
    ek_layer_info layer;
    if (tensor->role < EK_ROLE_GAMMA || tensor->role > EK_ROLE_MOVING_VAR ||
        ek_net_layer(t->net, tensor->layer, &layer))
        return;
    snprintf(tag, sizeof tag, "%s.%s/%s", layer.path, layer.kind, roles[tensor->role]);
    cli_board_histogram(event, tag, tensor->data, tensor->count);
}

static void write_histograms(cli_training *t, int64_t step)
{
    cli_board_event event;
    cli_board_begin(&event, wall_time(), step);
    for (int i = 0; i < ek_net_tensor_count(t->net); i++)
        add_histogram(t, &event, ek_net_tensor(t->net, i));
    write_event(t, &event);
}

void cli_board_start(cli_training *t, int64_t step)
{
    if (t->board.fd >= 0)
        write_histograms(t, step);
}

void cli_board_epoch(cli_training *t, const cli_point *p)
{
    cli_board_event event;
    const ek_fit_event *e = p->event;
    if (t->board.fd < 0)
        return;
    cli_board_begin(&event, wall_time(), p->step);
    cli_board_scalar(&event, "loss/train", e->loss);
    cli_board_scalar(&event, "accuracy/train", e->accuracy);
    if (e->has_val) {
        cli_board_scalar(&event, "loss/val", e->val_loss);
        cli_board_scalar(&event, "accuracy/val", e->val_accuracy);
    }
    cli_board_scalar(&event, "epoch", e->epoch);
    write_event(t, &event);
    write_histograms(t, p->step);
}

void cli_board_end(cli_training *t)
{
    if (t->board.fd >= 0)
        close(t->board.fd);
    t->board.fd = -1;
}
