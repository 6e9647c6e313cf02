/* SPDX-License-Identifier: MIT
 * A folder of a test's own, files in it, and commands there: for text that compilers are asked about. After
 * <cmocka.h>. */
#ifndef EK_TEST_SHELL_H
#define EK_TEST_SHELL_H

#include <stdbool.h>
#include <sys/wait.h>

#include "scratch.h"

static char folder[SCRATCH_SIZE]; /* made by the test, from scratch_template */

static inline bool is_here(const char *tool)
{
    char command[200];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", tool);
    return system(command) == 0;
}

/* A shell command in the folder, whose output is in the test's: its exit status, -1 where a signal ended it. */
static inline int run(const char *command)
{
    char line[2000];
    assert_true(snprintf(line, sizeof line, "cd '%s' && %s", folder, command) < (int)sizeof line);
    fflush(stdout);
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void put_file(const char *name, const char *text)
{
    char path[SCRATCH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

#endif
