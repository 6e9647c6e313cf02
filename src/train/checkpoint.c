/* SPDX-License-Identifier: MIT
 * The folder of checkpoints: who may write there, which files are there, which are kept. */
#define _GNU_SOURCE
#include "train/checkpoint.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char head[] = "checkpoint-", tail[] = ".safetensors", lock_name[] = "lock";

enum { DIGITS = 9, DIGITS_MAX = 18, NAME_ROOM = 64 };

struct ek_checkpoints {
    char *folder, *path; /* path: room for the folder and a name of its files */
    size_t path_size;
    int keep, lock;
    int64_t newest; /* steps of the newest that is known to be whole, -1: none */
    bool made_room; /* for one that was not written all the same */
    const ek_checkpoint_state *state;
    const ek_config *config;
};

/* Steps of the checkpoints in the folder, the newest first. */
typedef struct listing {
    int64_t *steps;
    size_t count;
} listing;

/* ---- Names ---------------------------------------------------------------------------------------------------- */

static void name_checkpoint(ek_checkpoints *c, int64_t step)
{
    snprintf(c->path, c->path_size, "%s/%s%0*" PRId64 "%s", c->folder, head, DIGITS, step, tail);
}

/* What stands behind the step in a checkpoint's name; NULL for what is not named as one. */
static const char *read_name(const char *name, int64_t *step)
{
    if (strncmp(name, head, sizeof head - 1) != 0)
        return NULL;
    name += sizeof head - 1;
    const size_t digits = strspn(name, "0123456789");
    if (digits < DIGITS || digits > DIGITS_MAX || (digits > DIGITS && *name == '0') ||
        strncmp(name + digits, tail, sizeof tail - 1) != 0)
        return NULL;
    *step = strtoll(name, NULL, 10);
    return name + digits + sizeof tail - 1;
}

/* What the writer of files leaves when it is killed. */
static bool is_half_written(const char *rest)
{
    return strncmp(rest, ".tmp-", 5) == 0 && strlen(rest) == 11;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static ek_status add_step(listing *l, int64_t step)
{
    if ((l->count & (l->count - 1)) == 0) { /* 0, 1, 2, 4, ... are full */
        void *const room = ek_realloc(l->steps, l->count ? 2 * l->count : 1, sizeof *l->steps);
        if (!room)
            return EK_ERR_MEMORY;
        l->steps = room;
    }
    l->steps[l->count++] = step;
    return EK_OK;
}

/* The caller frees l->steps, also after a failure. */
static ek_status list_folder(const ek_checkpoints *c, listing *l)
{
    *l = (listing){0};
    DIR *const dir = opendir(c->folder);
    if (!dir)
        return ek_fail(EK_ERR_IO, "%s: cannot be read: %s", c->folder, strerror(errno));
    ek_status status = EK_OK;
    for (struct dirent *e; !status && (e = readdir(dir));) {
        int64_t step;
        const char *const rest = read_name(e->d_name, &step);
        if (rest && !*rest)
            status = add_step(l, step);
        else if (rest && c->lock >= 0 && is_half_written(rest)) /* else someone may be writing it */
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
    if (l->count > 1)
        qsort(l->steps, l->count, sizeof *l->steps, newest_first);
    return status;
}

/* ---- The folder ----------------------------------------------------------------------------------------------- */

static ek_status make_folder(const char *folder)
{
    struct stat info;
    if (!*folder)
        return ek_fail(EK_ERR_ARGUMENT, "the name of the folder for checkpoints is empty");
    if (mkdir(folder, 0777) == 0)
        return EK_OK;
    if (errno == ENOENT)
        return ek_fail(EK_ERR_NOT_FOUND, "%s: cannot be made: the folder above it does not exist", folder);
    if (errno != EEXIST)
        return ek_fail(EK_ERR_IO, "%s: cannot be made: %s", folder, strerror(errno));
    if (stat(folder, &info) || !S_ISDIR(info.st_mode))
        return ek_fail(EK_ERR_IO, "%s: no folder; give the name of one for checkpoints", folder);
    return EK_OK;
}

/* The kernel releases the lock when the process ends, however it does. */
static ek_status lock_folder(ek_checkpoints *c)
{
    snprintf(c->path, c->path_size, "%s/%s", c->folder, lock_name);
    c->lock = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (c->lock < 0)
        return ek_fail(EK_ERR_IO, "%s: cannot be opened: %s", c->path, strerror(errno));
    if (flock(c->lock, LOCK_EX | LOCK_NB) == 0)
        return EK_OK;
    if (errno == EWOULDBLOCK)
        return ek_fail(EK_ERR_STATE,
                       "%s: another training writes its checkpoints there; give each a folder of its own", c->folder);
    return ek_fail(EK_ERR_IO, "%s: cannot be locked: %s", c->path, strerror(errno));
}

static ek_status no_checkpoint(const ek_checkpoints *c)
{
    return ek_fail(EK_ERR_NOT_FOUND, "%s: holds no checkpoint to go on from", c->folder);
}

/* Nothing is made, not even the lock, where there is nothing to go on from: the name may be mistyped. */
static ek_status look_into(ek_checkpoints *c)
{
    struct stat info;
    listing l = {0};
    if (stat(c->folder, &info) && errno == ENOENT)
        return ek_fail(EK_ERR_NOT_FOUND, "%s: there is no such folder, and so no checkpoint to go on from",
                       c->folder);
    ek_status status = list_folder(c, &l);
    snprintf(c->path, c->path_size, "%s/%s", c->folder, lock_name);
    if (!status && !l.count && access(c->path, F_OK)) /* with a lock a training may have just begun */
        status = no_checkpoint(c);
    ek_free(l.steps);
    return status;
}

static ek_status open_folder(ek_checkpoints *c, bool resume)
{
    listing l;
    EK_TRY(resume ? look_into(c) : make_folder(c->folder));
    EK_TRY(lock_folder(c));
    ek_status status = list_folder(c, &l);
    if (!status && l.count && !resume)
        status = ek_fail(EK_ERR_STATE,
                         "%s: holds checkpoints of a training already; resume it, or give another folder", c->folder);
    ek_free(l.steps);
    return status;
}

ek_status ek_checkpoints_open(ek_checkpoints **checkpoints, const char *folder, int keep, bool resume,
                              const ek_checkpoint_state *state, const ek_config *config)
{
    ek_checkpoints *const c = ek_calloc(1, sizeof *c);
    *checkpoints = c;
    if (!c)
        return EK_ERR_MEMORY;
    *c = (ek_checkpoints){.keep = keep, .lock = -1, .newest = -1, .state = state, .config = config};
    c->path_size = strlen(folder) + NAME_ROOM;
    c->folder = ek_strdup(folder);
    c->path = ek_calloc(c->path_size, 1);
    return c->folder && c->path ? open_folder(c, resume) : EK_ERR_MEMORY;
}

void ek_checkpoints_free(ek_checkpoints *c)
{
    if (!c)
        return;
    if (c->lock >= 0)
        close(c->lock);
    ek_free(c->folder);
    ek_free(c->path);
    ek_free(c);
}

const char *ek_checkpoints_newest(ek_checkpoints *c)
{
    if (c->newest < 0)
        return NULL;
    name_checkpoint(c, c->newest);
    return c->path;
}

const char *ek_checkpoints_path(const ek_checkpoints *c)
{
    return c->path;
}

/* ---- Writing and going on ------------------------------------------------------------------------------------- */

/* Of the files up to `step`. Newer ones, which could not be used, are replaced when training comes to their steps; what
 * cannot be removed stays. */
static void remove_old(ek_checkpoints *c, int64_t step)
{
    listing l;
    int kept = 0;
    if (list_folder(c, &l) == EK_OK) {
        for (size_t i = 0; i < l.count; i++) {
            if (l.steps[i] > step || kept++ < c->keep)
                continue;
            name_checkpoint(c, l.steps[i]);
            unlink(c->path);
        }
    }
    ek_free(l.steps);
}

/* The oldest up to `step` goes, unless it is the only one that is known to be whole. */
static bool make_room(ek_checkpoints *c, int64_t step)
{
    listing l;
    bool made = false;
    if (list_folder(c, &l) == EK_OK) {
        while (l.count && l.steps[l.count - 1] > step)
            l.count--;
        if (l.count && c->newest >= 0 && l.steps[l.count - 1] < c->newest) {
            name_checkpoint(c, l.steps[l.count - 1]);
            made = unlink(c->path) == 0;
        }
    }
    ek_free(l.steps);
    return made;
}

static ek_status write_one(ek_checkpoints *c, const ek_progress *progress)
{
    name_checkpoint(c, progress->total);
    return ek_checkpoint_write(c->state, c->config, progress, c->path);
}

/* A disk may have room for just as many as are kept: then the oldest goes before the new one is there, not after. One
 * does for each that is written: where others fill the disk, those that are there would go one after the other. */
ek_status ek_checkpoints_write(ek_checkpoints *c, const ek_progress *progress)
{
    ek_status status = write_one(c, progress);
    if (status == EK_ERR_IO && ek_file_wanted_room() && !c->made_room && make_room(c, progress->total)) {
        c->made_room = true;
        status = write_one(c, progress);
    }
    if (status) {
        name_checkpoint(c, progress->total);
        return status;
    }
    c->newest = progress->total;
    c->made_room = false;
    remove_old(c, progress->total);
    name_checkpoint(c, progress->total);
    return EK_OK;
}

static ek_status resume_from(ek_checkpoints *c, const listing *l, ek_progress *progress, ek_checkpoint_broken *broken,
                             void *user)
{
    for (size_t i = 0; i < l->count; i++) {
        name_checkpoint(c, l->steps[i]);
        const ek_status status = ek_checkpoint_read(c->state, c->config, progress, c->path);
        if (!status)
            c->newest = l->steps[i];
        if (!status || status == EK_ERR_ARGUMENT || status == EK_ERR_MEMORY)
            return status;
        EK_TRY(broken(user, c->path, status, (int)(l->count - i) - 1));
    }
    if (!l->count)
        return no_checkpoint(c);
    if (l->count == 1)
        return ek_fail(EK_ERR_FORMAT, "%s: its only checkpoint cannot be used", c->folder);
    return ek_fail(EK_ERR_FORMAT, "%s: of its %zu checkpoints none can be used", c->folder, l->count);
}

ek_status ek_checkpoints_resume(ek_checkpoints *c, ek_progress *progress, ek_checkpoint_broken *broken, void *user)
{
    listing l;
    ek_status status = list_folder(c, &l);
    if (!status)
        status = resume_from(c, &l, progress, broken, user);
    ek_free(l.steps);
    return status;
}
