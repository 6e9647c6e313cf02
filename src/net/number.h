/* SPDX-License-Identifier: MIT
 * Floats as text, the same in every locale. */
#ifndef EK_NET_NUMBER_H
#define EK_NET_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum { EK_FLOAT_TEXT = 32 };

/* The shortest decimal that reads back as the same float: "0.001", "1e-05" as "1e-5", "0"; "inf", "-inf" and "nan" for
 * what is not finite, which ek_float_read refuses. */
const char *ek_float_text(float value, char buffer[EK_FLOAT_TEXT]);

/* The float nearest to a decimal (sign, digits, a point, an exponent; at most 64 characters), which must be the whole
 * of text[0..length). False for anything else, "inf" and "nan" among them, and beyond a float's range. */
bool ek_float_read(const char *text, size_t length, float *value);

#endif
