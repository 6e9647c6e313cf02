/* SPDX-License-Identifier: MIT
 * Writing HTML: the one place where text becomes part of a page. */
#ifndef HTML_H
#define HTML_H

#include "cli.h"

/* fprintf for HTML. The format is markup and is written as it is; every %s is text, in which what means something to
 * HTML is escaped, so that it stays text between tags and within quoted attributes. What is no UTF-8, control
 * characters and noncharacters become U+FFFD; NULL becomes nothing. Of printf's conversions it knows %s and %% as they
 * are, %d, %jd, %ju, %e, %f and %g with flags, width and precision in digits. */
void cli_html_put(FILE *to, const char *format, ...) CLI_PRINTF(2, 3);

/* "12,345"; text is what comes back. */
const char *cli_html_count(int64_t count, char text[32]);

#endif
