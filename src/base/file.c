/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ek_file_writer {
    char *path;      /* as the caller gave it, for messages */
    char *target;    /* the final name, symbolic links followed */
    char *temporary; /* NULL when the target is written to directly */
    int fd;
    int error; /* errno of the first failure, 0 before any */
};

static ek_status check_path(const char *path)
{
    return path && *path ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "the name of a file is empty");
}

/* ---- Reading ------------------------------------------------------------------------------------------------ */

/* Reads exactly `size` bytes. */
static ek_status read_all(int fd, const char *path, unsigned char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ek_fail(EK_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
        if (got == 0)
            return ek_fail(EK_ERR_IO, "%s: became shorter while it was being read", path);
        done += (size_t)got;
    }
    return EK_OK;
}

static ek_status read_open_file(int fd, const char *path, size_t limit, unsigned char **data, size_t *size)
{
    struct stat info;
    if (fstat(fd, &info))
        return ek_fail(EK_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return ek_fail(EK_ERR_FORMAT, "%s: %s, not a file", path,
                       S_ISDIR(info.st_mode)    ? "a folder"
                       : S_ISFIFO(info.st_mode) ? "a pipe"
                       : S_ISSOCK(info.st_mode) ? "a socket"
                                                : "a device");
    if ((uintmax_t)info.st_size > limit)
        return ek_fail(EK_ERR_FORMAT, "%s: %jd bytes, more than the %zu such a file may have", path,
                       (intmax_t)info.st_size, limit);
    size_t length = (size_t)info.st_size;
    unsigned char *bytes = ek_calloc(ek_size_add(length, 1), 1);
    if (!bytes)
        return EK_ERR_MEMORY;
    ek_status status = read_all(fd, path, bytes, length);
    if (status) {
        ek_free(bytes);
        return status;
    }
    *data = bytes;
    *size = length;
    return EK_OK;
}

ek_status ek_file_read(const char *path, size_t limit, unsigned char **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    EK_TRY(check_path(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* so that a pipe without a writer does not block */
    if (fd < 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        return ek_fail(missing ? EK_ERR_NOT_FOUND : EK_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    ek_status status = read_open_file(fd, path, limit, data, size);
    close(fd);
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

static _Thread_local int last_error;

bool ek_file_wanted_room(void)
{
    return last_error == ENOSPC || last_error == EDQUOT;
}

static ek_status cannot_write(const char *path, int error)
{
    last_error = error;
    return ek_fail(EK_ERR_IO, "%s: cannot be written: %s", path, strerror(error));
}

/* What is at `path` decides how it is written: *mode is 0 when there is nothing, and *target the name to write to. */
static ek_status look_at_target(const char *path, char target[PATH_MAX], mode_t *mode)
{
    struct stat info, link;
    *mode = 0;
    if (strlen(path) >= PATH_MAX)
        return cannot_write(path, ENAMETOOLONG);
    strcpy(target, path);
    if (stat(path, &info)) {
        if (errno != ENOENT)
            return cannot_write(path, errno);
        if (!lstat(path, &link))
            return ek_fail(EK_ERR_NOT_FOUND, "%s: a symbolic link to what does not exist", path);
        return EK_OK;
    }
    if (S_ISDIR(info.st_mode))
        return ek_fail(EK_ERR_IO, "%s: a folder; give the name of a file", path);
    if (access(path, W_OK) || (S_ISREG(info.st_mode) && !realpath(path, target)))
        return cannot_write(path, errno);
    *mode = info.st_mode;
    return EK_OK;
}

/* Creates "TARGET.tmp-XXXXXX" under a name that is free. Not mkstemp: its mode is 0600, and the umask, which a new
 * file's mode follows, cannot be read without changing it under other threads. */
static ek_status create_temporary(ek_file_writer *writer, mode_t mode)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567"; /* 32 */
    size_t length = strlen(writer->target);
    writer->temporary = ek_calloc(length + sizeof ".tmp-XXXXXX", 1);
    if (!writer->temporary)
        return EK_ERR_MEMORY;
    for (int attempt = 0; attempt < 100; attempt++) {
        unsigned char random[6];
        if (getentropy(random, sizeof random))
            return cannot_write(writer->path, errno);
        memcpy(writer->temporary, writer->target, length);
        memcpy(writer->temporary + length, ".tmp-", 5);
        for (size_t i = 0; i < sizeof random; i++)
            writer->temporary[length + 5 + i] = letters[random[i] % 32];
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (writer->fd >= 0 || errno != EEXIST)
            break;
    }
    if (writer->fd >= 0)
        return EK_OK;
    if (errno == ENOENT)
        return ek_fail(EK_ERR_NOT_FOUND, "%s: cannot be written: its folder does not exist", writer->path);
    return cannot_write(writer->path, errno);
}

static ek_status open_writer(ek_file_writer *writer)
{
    char target[PATH_MAX];
    mode_t mode;
    EK_TRY(look_at_target(writer->path, target, &mode));
    writer->target = ek_strdup(target);
    if (!writer->target)
        return EK_ERR_MEMORY;
    if (mode && !S_ISREG(mode)) {
        writer->fd = open(target, O_WRONLY | O_CLOEXEC);
        return writer->fd >= 0 ? EK_OK : cannot_write(writer->path, errno);
    }
    EK_TRY(create_temporary(writer, mode ? 0600 : 0666)); /* what replaces a private file is never open to others */
    if (mode && fchmod(writer->fd, mode & 0777))
        return cannot_write(writer->path, errno);
    return EK_OK;
}

ek_status ek_file_create(ek_file_writer **writer, const char *path)
{
    *writer = NULL;
    last_error = 0;
    EK_TRY(check_path(path));
    ek_file_writer *made = ek_calloc(1, sizeof *made);
    if (!made)
        return EK_ERR_MEMORY;
    made->fd = -1;
    made->path = ek_strdup(path);
    ek_status status = made->path ? open_writer(made) : EK_ERR_MEMORY;
    if (status) {
        ek_file_abandon(made);
        return status;
    }
    *writer = made;
    return EK_OK;
}

ek_status ek_file_write(ek_file_writer *writer, const void *data, size_t size)
{
    const char *bytes = data;
    while (size > 0 && !writer->error) {
        ssize_t put = write(writer->fd, bytes, size);
        if (put > 0) {
            bytes += put;
            size -= (size_t)put;
        } else if (put == 0 || errno != EINTR) {
            writer->error = put == 0 ? EIO : errno;
        }
    }
    return writer->error ? cannot_write(writer->path, writer->error) : EK_OK;
}

/* Makes the new name last: without it a power cut may bring the old file back, never half of one. File systems that
 * cannot sync a folder, and folders that may not be read, are as safe as they can be. */
static void sync_folder(char *target)
{
    char *slash = strrchr(target, '/');
    if (slash)
        slash[slash == target] = '\0'; /* "/file" is in "/" */
    int fd = open(slash ? target : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

static void sync_temporary(ek_file_writer *writer)
{
    int synced;
    do
        synced = fsync(writer->fd);
    while (synced && errno == EINTR);
    writer->error = synced ? errno : 0;
}

/* Everything that can fail before the file has its name. */
static void finish_temporary(ek_file_writer *writer)
{
    sync_temporary(writer);
    if (!writer->error && rename(writer->temporary, writer->target))
        writer->error = errno;
    if (writer->error)
        return;
    ek_free(writer->temporary);
    writer->temporary = NULL;
    sync_folder(writer->target);
}

ek_status ek_file_commit(ek_file_writer *writer)
{
    if (!writer->error && writer->temporary)
        finish_temporary(writer);
    ek_status status = writer->error ? cannot_write(writer->path, writer->error) : EK_OK;
    ek_file_abandon(writer);
    return status;
}

void ek_file_abandon(ek_file_writer *writer)
{
    if (!writer)
        return;
    if (writer->fd >= 0) {
        close(writer->fd);
        if (writer->temporary)
            unlink(writer->temporary);
    }
    ek_free(writer->temporary);
    ek_free(writer->target);
    ek_free(writer->path);
    ek_free(writer);
}

static ek_status write_whole(ek_file_writer **writer, const ek_file_content *file)
{
    EK_TRY(ek_file_create(writer, file->path));
    EK_TRY(ek_file_write(*writer, file->data, file->size));
    if ((*writer)->temporary)
        sync_temporary(*writer);
    return (*writer)->error ? cannot_write(file->path, (*writer)->error) : EK_OK;
}

ek_status ek_file_put_all(const ek_file_content *files, int count)
{
    ek_file_writer *writers[EK_FILES_MAX] = {NULL};
    ek_status status = EK_OK;
    for (int i = 0; i < count && !status; i++)
        status = write_whole(&writers[i], &files[i]);
    for (int i = 0; i < count && !status; i++) {
        status = ek_file_commit(writers[i]);
        writers[i] = NULL;
    }
    for (int i = 0; i < count; i++)
        ek_file_abandon(writers[i]);
    return status;
}
