/* SPDX-License-Identifier: MIT
 * What pages are made of: text that stays text, numbers, images as data URIs, intervals. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef EK_HAVE_ZLIB
#include <zlib.h>
#endif

#include "../cli/html.h"
#include "../cli/interval.h"
#include "../cli/page.h"
#include "../cli/png.h"

static char *written;
static size_t written_size;

static FILE *begin(void)
{
    FILE *to = open_memstream(&written, &written_size);
    assert_non_null(to);
    return to;
}

static void check_text(const char *text, const char *wanted)
{
    FILE *to = begin();
    cli_html_put(to, "%s", text);
    fclose(to);
    assert_string_equal(written, wanted);
    free(written);
}

#define LOST "\xef\xbf\xbd"

static void test_text(void **state)
{
    (void)state;
    check_text("", "");
    check_text(NULL, "");
    check_text("t-shirt", "t-shirt");
    check_text("<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;");
    check_text("a\" onload=\"b", "a&quot; onload=&quot;b");
    check_text("R&D &lt;", "R&amp;D &amp;lt;");
    check_text("%s%n 100 %", "%s%n 100 %");
    check_text("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
    check_text("\xf0\x9f\x91\x9e", "\xf0\x9f\x91\x9e");
    check_text("a\nb\tc", "a\nb\tc");
    /* No UTF-8: a bare byte, one cut short, an overlong '<', a surrogate, beyond U+10FFFF. */
    check_text("\xff", LOST);
    check_text("a\xc3", "a" LOST);
    check_text("\xe2\x82", LOST LOST);
    check_text("\xc0\xbc", LOST LOST);
    check_text("\xed\xa0\x80", LOST LOST LOST);
    check_text("\xf4\x90\x80\x80", LOST LOST LOST LOST);
    /* UTF-8 that no page may hold: controls of both kinds, noncharacters. */
    check_text("\x01\x1b[31m\r\x7f", LOST LOST "[31m" LOST LOST);
    check_text("\xc2\x85", LOST);
    check_text("\xef\xbf\xbe", LOST);
    check_text("\xef\xb7\x90", LOST);
    check_text("\xf0\x9f\xbf\xbf", LOST);
}

static void test_formats(void **state)
{
    (void)state;
    FILE *to = begin();
    cli_html_put(to, "<a b=\"%s\">%d|%jd|%ju|%.3f|%5d|%g|%%|%.2e|%+.1f</a>", "\"", -7, INTMAX_MIN, UINTMAX_MAX, 0.5,
                 42, 1e-9, 12345.0, 3.0);
    cli_html_put(to, "%s%s%d", "<", ">", 1);
    cli_html_put(to, "none");
    fclose(to);
    assert_string_equal(written, "<a b=\"&quot;\">-7|-9223372036854775808|18446744073709551615|0.500|   42|1e-09|%|"
                                 "1.23e+04|+3.0</a>&lt;&gt;1none");
    free(written);
    const struct {
        int64_t count;
        const char *wanted;
    } cases[] = {
        {0, "0"},          {999, "999"},           {1000, "1,000"}, {44878, "44,878"},
        {-1000, "-1,000"}, {1234567, "1,234,567"}, {-123, "-123"},  {INT64_MIN, "-9,223,372,036,854,775,808"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        assert_string_equal(cli_html_count(cases[i].count, text), cases[i].wanted);
    }
}

/* Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3: to four decimals. */
static void test_wilson(void **state)
{
    (void)state;
    const struct {
        int part, whole;
        double low, high;
    } cases[] = {{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int part = cases[i].part, whole = cases[i].whole;
        const cli_interval got = cli_wilson(part, whole), other = cli_wilson(whole - part, whole);
        assert_true(fabs(got.low - cases[i].low) <= 5.1e-5 && fabs(got.high - cases[i].high) <= 5.1e-5);
        assert_true(fabs(other.low - (1 - got.high)) <= 1e-12 && fabs(other.high - (1 - got.low)) <= 1e-12);
    }
    for (int whole = 1; whole < 400; whole += 7) {
        for (int part = 0; part <= whole; part++) {
            const cli_interval i = cli_wilson(part, whole);
            const double p = (double)part / whole;
            assert_true(i.low >= 0 && i.high <= 1 && i.low <= p && p <= i.high && i.low < i.high);
        }
    }
}

/* ---- Images ---------------------------------------------------------------------------------------------------- */

/* The bytes of "data:image/png;base64,...", *size of them. */
static uint8_t *decode(const char *uri, size_t *size)
{
    static const char head[] = "data:image/png;base64,";
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_true(!strncmp(uri, head, strlen(head)));
    uri += strlen(head);
    const size_t letters = strlen(uri);
    uint8_t *bytes = calloc(letters, 1);
    assert_non_null(bytes);
    assert_int_equal(letters % 4, 0);
    *size = 0;
    for (size_t i = 0; i < letters; i += 4) {
        uint32_t group = 0;
        int pads = 0;
        for (int k = 0; k < 4; k++) {
            const char *at = strchr(alphabet, uri[i + (size_t)k]);
            assert_true(at ? pads == 0 : uri[i + (size_t)k] == '=' && k > 1 && i + 4 == letters);
            pads += !at;
            group = group << 6 | (at ? (uint32_t)(at - alphabet) : 0);
        }
        for (int k = 0; k < 3 - pads; k++)
            bytes[(*size)++] = (uint8_t)(group >> (16 - 8 * k));
    }
    return bytes;
}

static uint32_t word(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Rows with their filter bytes, out of stored blocks. */
static void unpack(const uint8_t *from, size_t size, uint8_t *to, size_t wanted)
{
    size_t done = 0, at = 2;
    assert_true(from[0] == 0x78 && (from[0] * 256 + from[1]) % 31 == 0);
    for (bool last = false; !last;) {
        const size_t length = from[at + 1] | (size_t)from[at + 2] << 8;
        assert_int_equal(length ^ (from[at + 3] | (size_t)from[at + 4] << 8), 0xffff);
        assert_true(from[at] < 2 && at + 5 + length + 4 <= size && done + length <= wanted);
        memcpy(to + done, from + at + 5, length);
        last = from[at];
        done += length;
        at += 5 + length;
    }
    assert_true(done == wanted && at + 4 == size);
#ifdef EK_HAVE_ZLIB
    uLongf room = (uLongf)wanted;
    uint8_t *again = malloc(wanted);
    assert_non_null(again);
    assert_int_equal(uncompress(again, &room, from, (uLong)size), Z_OK); /* its checksum, too */
    assert_true(room == wanted && !memcmp(again, to, wanted));
    free(again);
#endif
}

static void check_image(int width, int height, int channels)
{
    const size_t row = (size_t)width * (size_t)channels, rows = (size_t)height;
    uint8_t *pixels = malloc(row * rows), *got = malloc((row + 1) * rows);
    assert_true(pixels && got);
    for (size_t i = 0; i < row * rows; i++)
        pixels[i] = (uint8_t)(i * 37 + i / 7);
    FILE *to = begin();
    cli_png_put(to, pixels, width, height, channels);
    fclose(to);
    size_t size;
    uint8_t *png = decode(written, &size);
    free(written);
    static const char *const names[] = {"IHDR", "IDAT", "IEND"};
    assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
    const uint8_t *at = png + 8;
    for (int i = 0; i < 3; i++) {
        const uint32_t length = word(at);
        assert_memory_equal(at + 4, names[i], 4);
#ifdef EK_HAVE_ZLIB
        assert_int_equal(word(at + 8 + length), crc32(0, at + 4, length + 4));
#endif
        if (i == 0) {
            const uint8_t rest[] = {8, channels == 3 ? 2 : 0, 0, 0, 0};
            assert_true(length == 13 && word(at + 8) == (uint32_t)width && word(at + 12) == (uint32_t)height);
            assert_memory_equal(at + 16, rest, sizeof rest);
        } else if (i == 1) {
            unpack(at + 8, length, got, (row + 1) * rows);
        }
        at += 12 + length;
    }
    assert_true(at == png + size);
    for (size_t y = 0; y < rows; y++) {
        assert_int_equal(got[y * (row + 1)], 0);
        assert_memory_equal(got + y * (row + 1) + 1, pixels + y * row, row);
    }
    free(png);
    free(pixels);
    free(got);
}

static void test_images(void **state)
{
    (void)state;
    check_image(1, 1, 1);
    check_image(2, 1, 1);
    check_image(3, 1, 1);
    check_image(5, 7, 3);
    check_image(28, 28, 1);
    check_image(16384, 2, 3);
    check_image(65534, 2, 1);
    check_image(65535, 2, 1);
    check_image(65536, 2, 3);
}

/* ---- Curves ---------------------------------------------------------------------------------------------------- */

static int count_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

/* Places of the names at the curves' ends, in the order of the text: those of the first chart, then of the second. */
static int name_places(const char *text, double y[8])
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, "<text class=\"name\"")) != NULL && count < 8; at++)
        assert_int_equal(sscanf(at, "<text class=\"name\" x=\"%*f\" y=\"%lf\"", &y[count++]), 1);
    return count;
}

static void draw_curves(cli_epoch *epochs, int count)
{
    FILE *to = begin();
    cli_page_curves(to, &(cli_run){.epoch = epochs, .epochs = count});
    fclose(to);
    assert_null(strstr(written, "nan"));
    assert_null(strstr(written, "inf"));
}

static void test_curves(void **state)
{
    (void)state;
    enum { MANY = 1201 };
    static cli_epoch epochs[MANY];
    double y[8];
    for (int i = 0; i < MANY; i++)
        epochs[i] = (cli_epoch){.epoch = i + 1,
                                .value = {1.0 / (i + 1), 1.001 / (i + 1), 0.5},
                                .train_accuracy = 0.5,
                                .has_moving = true,
                                .moving_loss = 1.002 / (i + 1),
                                .moving_accuracy = 0.5};
    draw_curves(epochs, 0);
    assert_string_equal(written, "");
    free(written);
    /* Six curves of three points; names that would lie on each other do not, and stay on the chart. */
    draw_curves(epochs, 3);
    assert_int_equal(count_of(written, "<path class=\"curve\""), 6);
    assert_int_equal(count_of(written, "<title>epoch 2: "), 6);
    assert_int_equal(count_of(written, "<title>epoch 3: val accuracy with moving statistics 0.5000</title>"), 1);
    assert_int_equal(count_of(written, "<title>best: "), 1);
    assert_int_equal(name_places(written, y), 6);
    for (int i = 0; i < 6; i++)
        assert_true((i % 3 == 0 || y[i] - y[i - 1] > 14.8) && y[i] > 0 && y[i] < 236);
    free(written);
    /* Gaps where numbers are not finite, nothing of curves that are not there. */
    epochs[1].value[CURVE_TRAIN_LOSS] = NAN;
    epochs[1].value[CURVE_VAL_LOSS] = INFINITY;
    for (int i = 0; i < MANY; i++)
        epochs[i].has_moving = false;
    draw_curves(epochs, 3);
    assert_int_equal(count_of(written, "<path class=\"curve\""), 4);
    assert_int_equal(count_of(written, "<title>epoch 2: "), 2);
    assert_null(strstr(written, "moving"));
    free(written);
    for (int i = 0; i < 3; i++)
        epochs[i].value[CURVE_VAL_LOSS] = epochs[i].value[CURVE_VAL_ACCURACY] = NAN;
    draw_curves(epochs, 3);
    assert_int_equal(count_of(written, "<path class=\"curve\""), 2);
    assert_null(strstr(written, "best"));
    free(written);
    /* Very many are thinned out, to the last. */
    draw_curves(epochs, MANY);
    assert_non_null(strstr(written, "One of 3 epochs is shown"));
    assert_non_null(strstr(written, "<title>epoch 1201: "));
    assert_null(strstr(written, "<title>epoch 1200: "));
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_formats), cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_images), cmocka_unit_test(test_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
