/* SPDX-License-Identifier: MIT
 * Where tests write: names below TMPDIR, which tests/run sets to a folder that it removes. */
#ifndef EK_TEST_SCRATCH_H
#define EK_TEST_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

enum { SCRATCH_SIZE = 512 };

/* A template for mkdtemp and mkstemp: "TMPDIR/ek-test-AREA-XXXXXX", in /tmp where TMPDIR is not set. */
static inline char *scratch_template(char name[SCRATCH_SIZE], const char *area)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(name, SCRATCH_SIZE, "%s/ek-test-%s-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp", area);
    return name;
}

#endif
