/* SPDX-License-Identifier: MIT
 * Files that a command line names: what is written replaces nothing else that it names. */
#define _GNU_SOURCE
#include "cli.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Whether the folder that the file is in, or is to be made in, can be looked at; *name is the file's name in it. */
static bool look_at_folder(const char *path, struct stat *folder, const char **name)
{
    char above[PATH_MAX];
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash)
        return stat(".", folder) == 0;
    const size_t length = slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof above)
        return false;
    memcpy(above, path, length);
    above[length] = 0;
    return stat(above, folder) == 0;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* What many may write to, as /dev/null or a pipe, is not one file. */
bool cli_same_file(const char *a, const char *b)
{
    struct stat one, other;
    const char *name, *other_name;
    const bool there = stat(a, &one) == 0, other_there = stat(b, &other) == 0;
    if (there || other_there)
        return there && other_there && same_inode(&one, &other) && (S_ISREG(one.st_mode) || S_ISDIR(one.st_mode));
    return look_at_folder(a, &one, &name) && look_at_folder(b, &other, &other_name) && same_inode(&one, &other) &&
           !strcmp(name, other_name);
}

int cli_check_files(const cli_command *self, const cli_file *files)
{
    for (const cli_file *a = files; a->called; a++)
        for (const cli_file *b = a + 1; b->called; b++) {
            const cli_file *other = b->written ? a : b, *lost = b->written ? b : a;
            if (!a->path || !b->path || !lost->written || !cli_same_file(a->path, b->path))
                continue;
            return cli_usage(self, "%s and %s name the same file, '%s': give %s another name", other->called,
                             lost->called, lost->path, lost->called);
        }
    return CLI_GO;
}
