/* SPDX-License-Identifier: MIT */
#include "html.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

/* ---- Text ------------------------------------------------------------------------------------------------------ */

/* The code point of a whole UTF-8 sequence. */
static uint32_t decode(const unsigned char *at, int length)
{
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & lead[length];
    for (int i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3f);
    return code;
}

/* What the HTML standard (13.2.3.5) calls an error in a page's text: controls, and noncharacters like U+FFFE. */
static bool is_allowed(uint32_t code)
{
    const bool control = (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0);
    const bool noncharacter = (code >= 0xfdd0 && code < 0xfdf0) || (code & 0xfffe) == 0xfffe;
    return !control && !noncharacter;
}

static void put_text(FILE *to, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (const unsigned char *end = at + strlen(text); at < end;) {
        const int length = cli_utf8_length(at, (size_t)(end - at));
        if (length == 0 || !is_allowed(decode(at, length)))
            fputs("\xef\xbf\xbd", to);
        else if (*at == '&')
            fputs("&amp;", to);
        else if (*at == '<')
            fputs("&lt;", to);
        else if (*at == '>')
            fputs("&gt;", to);
        else if (*at == '"')
            fputs("&quot;", to);
        else if (*at == '\'')
            fputs("&#39;", to);
        else
            fwrite(at, 1, (size_t)length, to);
        at += length ? length : 1;
    }
}

/* ---- Formats --------------------------------------------------------------------------------------------------- */

/* Writes the conversion that `spec` holds alone, "%.4f", with the next of the arguments. */
static void put_number(FILE *to, const char *spec, char kind, bool large, va_list *arguments)
{
    if (kind == 'd' && large)
        fprintf(to, spec, va_arg(*arguments, intmax_t));
    else if (kind == 'd')
        fprintf(to, spec, va_arg(*arguments, int));
    else if (kind == 'u' && large)
        fprintf(to, spec, va_arg(*arguments, uintmax_t));
    else
        fprintf(to, spec, va_arg(*arguments, double));
}

void cli_html_put(FILE *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (const char *percent; (percent = strchr(format, '%')) != NULL;) {
        char spec[16];
        const size_t width = 1 + strspn(percent + 1, "-+ #0123456789."), large = percent[width] == 'j';
        const char kind = percent[width + large];
        fwrite(format, 1, (size_t)(percent - format), to);
        format = percent + width + large + 1;
        assert(kind && strchr(large ? "du" : width > 1 ? "defg" : "sdefg%", kind) && width + large + 1 < sizeof spec);
        snprintf(spec, sizeof spec, "%.*s", (int)(format - percent), percent);
        if (kind == 's') {
            const char *text = va_arg(arguments, const char *);
            put_text(to, text ? text : "");
        } else if (kind == '%') {
            putc('%', to);
        } else {
            put_number(to, spec, kind, large, &arguments);
        }
    }
    va_end(arguments);
    fputs(format, to);
}

const char *cli_html_count(int64_t count, char text[32])
{
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%jd", (intmax_t)count);
    size_t at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}
