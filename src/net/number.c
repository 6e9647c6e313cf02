/* SPDX-License-Identifier: MIT */
#include "net/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 64 };

/* Both ways go through "digits e exponent" without a point, since the C library's point depends on the locale. */
static float from_digits(bool minus, const char *digits, int exponent)
{
    char text[DIGITS_MAX + 16];
    snprintf(text, sizeof text, "%s%se%d", minus ? "-" : "", digits, exponent);
    return strtof(text, NULL);
}

const char *ek_float_text(float value, char buffer[EK_FLOAT_TEXT])
{
    /* The digits d.ddd and the exponent, with as few digits as give the value back; 9 always do. */
    char digits[16] = "0";
    int count = 1, exponent = 0;
    float magnitude = fabsf(value);
    const char *sign = signbit(value) ? "-" : "";
    if (!isfinite(value)) {
        snprintf(buffer, EK_FLOAT_TEXT, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return buffer;
    }
    for (int want = 1; want <= 9 && magnitude > 0; want++) {
        char text[32];
        snprintf(text, sizeof text, "%.*e", want - 1, (double)magnitude);
        char *e = strchr(text, 'e');
        exponent = atoi(e + 1);
        count = 0;
        for (const char *c = text; c < e; c++)
            if (*c >= '0' && *c <= '9')
                digits[count++] = *c;
        digits[count] = '\0';
        if (from_digits(false, digits, exponent - (count - 1)) == magnitude)
            break;
    }
    if (exponent < -4 || exponent > 8)
        snprintf(buffer, EK_FLOAT_TEXT, "%s%c%s%se%d", sign, digits[0], count > 1 ? "." : "", digits + 1, exponent);
    else if (exponent < 0)
        snprintf(buffer, EK_FLOAT_TEXT, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    else if (exponent >= count - 1)
        snprintf(buffer, EK_FLOAT_TEXT, "%s%s%.*s", sign, digits, exponent - (count - 1), "00000000");
    else
        snprintf(buffer, EK_FLOAT_TEXT, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
    return buffer;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* An exponent of at most four digits, which is more than a float and 64 digits can use. */
static bool read_exponent(const char *text, const char *end, int *exponent)
{
    bool minus = text < end && *text == '-';
    text += text < end && (*text == '-' || *text == '+');
    if (text == end || end - text > 4)
        return false;
    int value = 0;
    for (; text < end; text++) {
        if (!is_digit(*text))
            return false;
        value = value * 10 + (*text - '0');
    }
    *exponent += minus ? -value : value;
    return true;
}

bool ek_float_read(const char *text, size_t length, float *value)
{
    char digits[DIGITS_MAX + 1];
    const char *end = text + length;
    int count = 0, exponent = 0;
    bool point = false;
    if (length > DIGITS_MAX)
        return false;
    bool minus = text < end && *text == '-';
    text += text < end && (*text == '-' || *text == '+');
    for (; text < end && (is_digit(*text) || (*text == '.' && !point)); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        digits[count++] = *text;
        exponent -= point;
    }
    digits[count] = '\0';
    if (count == 0)
        return false;
    if (text < end && (*text != 'e' && *text != 'E'))
        return false;
    if (text < end && !read_exponent(text + 1, end, &exponent))
        return false;
    *value = from_digits(minus, digits, exponent);
    return isfinite(*value);
}
