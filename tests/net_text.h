/* SPDX-License-Identifier: MIT
 * What tests of nets as text expect of a text: the text that comes back, or a message. */
#ifndef EK_TESTS_NET_TEXT_H
#define EK_TESTS_NET_TEXT_H

#include <evenkeel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The text that comes back for `text`, and from what comes back again. */
static inline void expect_text(const char *text, const char *expected)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net)
        fail_msg("%s", ek_error());
    char *written = ek_net_text(net);
    assert_non_null(written);
    assert_string_equal(written, expected);
    ek_net *twin = ek_net_parse(written, NULL);
    char *again = ek_net_text(twin);
    assert_string_equal(written, again);
    free(written);
    free(again);
    ek_net_free(net);
    ek_net_free(twin);
}

static inline void expect_error(const char *text, const char *message)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (net)
        fail_msg("%s: no error", text);
    assert_string_equal(ek_error(), message);
}

/* A text of `count` copies of `piece` between two others. */
static inline char *repeated(const char *before, const char *piece, size_t count, const char *after)
{
    size_t length = strlen(piece), at = strlen(before);
    char *text = malloc(at + count * length + strlen(after) + 1);
    assert_non_null(text);
    memcpy(text, before, at);
    for (size_t i = 0; i < count; i++, at += length)
        memcpy(text + at, piece, length);
    memcpy(text + at, after, strlen(after) + 1);
    return text;
}

static inline void expect_repeated_error(const char *before, const char *piece, size_t count, const char *after,
                                         const char *message)
{
    char *text = repeated(before, piece, count, after);
    expect_error(text, message);
    free(text);
}

#endif
