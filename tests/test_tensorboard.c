/* SPDX-License-Identifier: MIT
 * Event files, read by a strict reader of their own: sums of records, every field of every message, histograms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../cli/tensorboard.h"

/* ---- A reader -------------------------------------------------------------------------------------------------- */

/* Bit by bit, where the writer has a table. */
static uint32_t slow_crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

static uint32_t slow_mask(uint32_t crc)
{
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

typedef struct span {
    const uint8_t *at, *end;
} span;

static uint64_t little(span *s, int bytes)
{
    uint64_t value = 0;
    assert_true(s->end - s->at >= bytes);
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)*s->at++ << 8 * i;
    return value;
}

static double real(span *s)
{
    const uint64_t bits = little(s, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t varint(span *s)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(s->at < s->end && shift < 64);
        const uint8_t byte = *s->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

/* The next field's number; its wire type must be the one that `types` gives for it, a digit each from field 1 on. */
static int field(span *s, const char *types)
{
    const uint64_t key = varint(s), number = key >> 3;
    assert_true(number >= 1 && number <= strlen(types));
    assert_int_equal(key & 7, types[number - 1] - '0');
    return (int)number;
}

static span bytes(span *s)
{
    const uint64_t size = varint(s);
    assert_true(size <= (uint64_t)(s->end - s->at));
    const span part = {s->at, s->at + size};
    s->at += size;
    return part;
}

static bool is_text(span s, const char *text)
{
    return (size_t)(s.end - s.at) == strlen(text) && memcmp(s.at, text, strlen(text)) == 0;
}

/* The Event of the record at *s, whose sums are right. */
static span record(span *s)
{
    const uint8_t *begin = s->at;
    const uint64_t size = little(s, 8);
    assert_int_equal(little(s, 4), slow_mask(slow_crc32c(begin, 8)));
    assert_true(size <= (uint64_t)(s->end - s->at));
    const span event = {s->at, s->at + size};
    s->at += size;
    assert_int_equal(little(s, 4), slow_mask(slow_crc32c(event.at, size)));
    return event;
}

typedef struct seen {
    double wall_time;
    uint64_t step;
    bool version;
    span summary;
} seen;

static seen read_event(const uint8_t *data, size_t size)
{
    span s = {data, data + size}, event = record(&s);
    assert_ptr_equal(s.at, s.end);
    seen e = {0};
    while (event.at < event.end) {
        const int number = field(&event, "10292"); /* 9: no wire type, so field 4 is an error */
        if (number == 1)
            e.wall_time = real(&event);
        else if (number == 2)
            e.step = varint(&event);
        else if (number == 3)
            e.version = is_text(bytes(&event), "brain.Event:2");
        else
            e.summary = bytes(&event);
    }
    return e;
}

typedef struct value {
    span tag, histogram;
    float scalar;
    bool is_scalar;
} value;

static value next_value(span *summary)
{
    assert_int_equal(field(summary, "2"), 1);
    span message = bytes(summary);
    value v = {0};
    while (message.at < message.end) {
        const int number = field(&message, "25992");
        if (number == 1) {
            v.tag = bytes(&message);
        } else if (number == 5) {
            v.histogram = bytes(&message);
        } else {
            const uint32_t bits = (uint32_t)little(&message, 4);
            memcpy(&v.scalar, &bits, sizeof v.scalar);
            v.is_scalar = true;
        }
    }
    assert_true(v.is_scalar != (v.histogram.at != NULL));
    return v;
}

/* ---- Sums ------------------------------------------------------------------------------------------------------ */

/* RFC 3720, appendix B.4, and the check value of the polynomial. */
static void test_crc(void **state)
{
    (void)state;
    uint8_t data[32];
    memset(data, 0, sizeof data);
    assert_int_equal(cli_crc32c(data, 32), 0x8a9136aau);
    memset(data, 0xff, sizeof data);
    assert_int_equal(cli_crc32c(data, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(cli_crc32c(data, 32), 0x46dd794eu);
    assert_int_equal(cli_crc32c("123456789", 9), 0xe3069283u);
    assert_int_equal(cli_crc32c("", 0), 0);
    assert_int_equal(cli_crc32c_masked("123456789", 9), slow_mask(0xe3069283u));
}

/* ---- Events ---------------------------------------------------------------------------------------------------- */

static void test_version(void **state)
{
    (void)state;
    cli_board_event event;
    size_t size;
    cli_board_version(&event, 1.5e9 + 0.25);
    const uint8_t *data = cli_board_finish(&event, &size);
    assert_non_null(data);
    const seen e = read_event(data, size);
    assert_true(e.version && e.wall_time == 1.5e9 + 0.25 && !e.summary.at);
    cli_board_free(&event);
}

static void test_scalars(void **state)
{
    (void)state;
    static const double values[] = {0, 0.1, -1e300, 1e-300, NAN, INFINITY, 12345.678};
    enum { COUNT = sizeof values / sizeof *values };
    cli_board_event event;
    size_t size;
    cli_board_begin(&event, 7, (int64_t)1 << 40);
    for (int i = 0; i < COUNT; i++) {
        char tag[300];
        memset(tag, 'a' + i, sizeof tag);
        tag[i ? 299 : 3] = 0; /* lengths of one byte and of two */
        cli_board_scalar(&event, tag, values[i]);
    }
    const uint8_t *data = cli_board_finish(&event, &size);
    assert_non_null(data);
    seen e = read_event(data, size);
    assert_true(e.wall_time == 7 && e.step == (uint64_t)1 << 40);
    for (int i = 0; i < COUNT; i++) {
        const value v = next_value(&e.summary);
        const float wanted = (float)values[i];
        assert_true(v.is_scalar && v.tag.end - v.tag.at == (i ? 299 : 3) && *v.tag.at == 'a' + i);
        assert_true(isnan(wanted) ? isnan(v.scalar) : v.scalar == wanted);
    }
    assert_ptr_equal(e.summary.at, e.summary.end);
    cli_board_free(&event);
}

static void test_nothing(void **state)
{
    (void)state;
    cli_board_event event;
    size_t size = 1;
    cli_board_begin(&event, 7, 1);
    cli_board_histogram(&event, "t", &(float){NAN}, 1);
    cli_board_histogram(&event, "t", NULL, 0);
    assert_null(cli_board_finish(&event, &size));
    assert_int_equal(size, 0);
    cli_board_free(&event);
}

/* ---- Histograms ------------------------------------------------------------------------------------------------ */

typedef struct bins {
    double number[6]; /* fields 1 to 5 */
    int edges, counts;
    double edge[64], count[64];
} bins;

static bins read_histogram(span s)
{
    bins b = {0};
    while (s.at < s.end) {
        const int number = field(&s, "1111122");
        if (number <= 5) {
            b.number[number] = real(&s);
            continue;
        }
        span packed = bytes(&s);
        int *n = number == 6 ? &b.edges : &b.counts;
        while (packed.at < packed.end && *n < 64)
            (number == 6 ? b.edge : b.count)[(*n)++] = real(&packed);
    }
    return b;
}

/* Each value is in the bucket between whose edges it lies; the last holds the greatest. */
static void check_histogram(const float *values, int64_t count, int buckets)
{
    cli_board_event event;
    size_t size;
    cli_board_begin(&event, 7, 3);
    cli_board_histogram(&event, "1.batchnorm/gamma", values, count);
    const uint8_t *data = cli_board_finish(&event, &size);
    assert_non_null(data);
    seen e = read_event(data, size);
    const value v = next_value(&e.summary);
    assert_ptr_equal(e.summary.at, e.summary.end);
    assert_true(!v.is_scalar && is_text(v.tag, "1.batchnorm/gamma"));
    const bins b = read_histogram(v.histogram);
    assert_int_equal(b.edges, buckets);
    assert_int_equal(b.counts, buckets);
    double least = INFINITY, greatest = -INFINITY, sum = 0, squares = 0, n = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        least = fmin(least, values[i]);
        greatest = fmax(greatest, values[i]);
        sum += values[i];
        squares += (double)values[i] * values[i];
        n++;
    }
    assert_true(b.number[1] == least && b.number[2] == greatest && b.number[3] == n && b.number[4] == sum &&
                b.number[5] == squares);
    double total = 0;
    for (int i = 0; i < buckets; i++) {
        const double left = i ? b.edge[i - 1] : least, right = b.edge[i];
        const double slack = 1e-12 * fmax(fabs(left), fabs(right)); /* of a value at an edge */
        double surely = 0, maybe = 0;
        for (int64_t j = 0; j < count; j++) {
            surely += values[j] > left + slack && values[j] < right - slack;
            maybe += values[j] >= left - slack && values[j] <= right + slack;
        }
        assert_true(right >= left && b.count[i] >= surely && b.count[i] <= maybe);
        total += b.count[i];
    }
    assert_true(total == n && b.edge[buckets - 1] == greatest);
    cli_board_free(&event);
}

static void test_histograms(void **state)
{
    (void)state;
    float values[1000];
    for (int i = 0; i < 1000; i++)
        values[i] = (float)sin(i * 0.7) * (i % 7 == 0 ? 40.0f : 1.0f);
    check_histogram(values, 1000, 30);
    check_histogram(values, 2, 30);
    check_histogram(values + 5, 1, 1);
    check_histogram((float[]){1, 1, 1, 1, 1, 1}, 6, 1);
    check_histogram((float[]){-3e38f, 3e38f, 0}, 3, 30);
    check_histogram((float[]){0, 1e-45f}, 2, 30);
    check_histogram((float[]){1, NAN, 2, INFINITY, -INFINITY, 3}, 6, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),     cmocka_unit_test(test_version),    cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_histograms),
    };
    return cmocka_run_group_tests_name("tensorboard", tests, NULL, NULL);
}
