/* SPDX-License-Identifier: MIT */
#include "canvas.h"

#include <math.h>
#include <string.h>

enum { BRAILLE = 0x2800, BRAILLE_END = 0x28ff };

void cli_canvas_clear(cli_canvas *c, int columns, int rows, bool unicode)
{
    *c = (cli_canvas){.columns = columns < CANVAS_COLUMNS ? columns : CANVAS_COLUMNS,
                      .rows = rows < CANVAS_ROWS ? rows : CANVAS_ROWS,
                      .unicode = unicode};
}

/* The character at *text, of one to three bytes, and past it. */
static uint16_t next_code(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    const int length = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : 3;
    unsigned code = length == 1 ? at[0] : length == 2 ? at[0] & 0x1fu : at[0] & 0x0fu;
    for (int i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3fu);
    *text += length;
    return (uint16_t)code;
}

int cli_canvas_text(cli_canvas *c, int column, int row, cli_ink ink, const char *text)
{
    for (; *text; column++) {
        const uint16_t code = next_code(&text);
        if (column >= 0 && column < c->columns && row >= 0 && row < c->rows)
            c->cell[row][column] = (cli_cell){code, (uint8_t)ink};
    }
    return column;
}

/* ---- Lines ----------------------------------------------------------------------------------------------------- */

/* Dots of a cell: two columns of four. In ASCII a cell is one dot. */
static void set_dot(cli_canvas *c, cli_area area, const cli_pen *pen, int x, int y)
{
    static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const int wide = c->unicode ? 2 : 1, high = c->unicode ? 4 : 1;
    if (x < 0 || x >= area.columns * wide || y < 0 || y >= area.rows * high)
        return;
    if (pen->off > 0 && x % (pen->on + pen->off) >= pen->on)
        return;
    const int row = area.row + area.rows - 1 - y / high, column = area.column + x / wide;
    if (column < 0 || column >= c->columns || row < 0 || row >= c->rows)
        return;
    cli_cell *cell = &c->cell[row][column];
    cell->ink = (uint8_t)pen->ink;
    if (!c->unicode) {
        cell->code = (uint16_t)pen->letter;
        return;
    }
    const unsigned dots = cell->code >= BRAILLE && cell->code <= BRAILLE_END ? cell->code : BRAILLE;
    cell->code = (uint16_t)(dots | bits[3 - y % 4][x % 2]);
}

/* The part of the line that is in the unit square, after Liang and Barsky; false for none. */
static bool clip(double *x0, double *y0, double *x1, double *y1)
{
    const double dx = *x1 - *x0, dy = *y1 - *y0;
    const double p[4] = {-dx, dx, -dy, dy}, q[4] = {*x0, 1 - *x0, *y0, 1 - *y0};
    double from = 0, to = 1;
    for (int i = 0; i < 4; i++) {
        if (p[i] == 0 && q[i] < 0)
            return false;
        if (p[i] < 0)
            from = fmax(from, q[i] / p[i]);
        if (p[i] > 0)
            to = fmin(to, q[i] / p[i]);
    }
    *x1 = *x0 + to * dx;
    *y1 = *y0 + to * dy;
    *x0 += from * dx;
    *y0 += from * dy;
    return from <= to;
}

void cli_canvas_line(cli_canvas *c, cli_area area, const cli_pen *pen, double x0, double y0, double x1, double y1)
{
    if (!isfinite(x0) || !isfinite(y0) || !isfinite(x1) || !isfinite(y1) || !clip(&x0, &y0, &x1, &y1))
        return;
    const double wide = area.columns * (c->unicode ? 2 : 1) - 1, high = area.rows * (c->unicode ? 4 : 1) - 1;
    const double dx = (x1 - x0) * wide, dy = (y1 - y0) * high;
    const int steps = (int)ceil(fmax(fabs(dx), fabs(dy)));
    for (int i = 0; i <= steps; i++) {
        const double share = steps ? (double)i / steps : 0;
        set_dot(c, area, pen, (int)lround(x0 * wide + share * dx), (int)lround(y0 * high + share * dy));
    }
}

/* ---- Writing --------------------------------------------------------------------------------------------------- */

static void put_code(uint16_t code, FILE *to)
{
    if (code < 0x80) {
        putc(code, to);
    } else if (code < 0x800) {
        putc(0xc0 | code >> 6, to);
        putc(0x80 | (code & 0x3f), to);
    } else {
        putc(0xe0 | code >> 12, to);
        putc(0x80 | (code >> 6 & 0x3f), to);
        putc(0x80 | (code & 0x3f), to);
    }
}

int cli_canvas_write(const cli_canvas *c, int row, int colours, FILE *to)
{
    static const char *const inks[2][6] = {{"0", "2", "36", "33", "32", "1"},
                                           {"0", "2", "38;5;32", "38;5;208", "38;5;36", "1"}};
    int end = c->columns, ink = INK_PLAIN;
    while (end > 0 && (c->cell[row][end - 1].code == 0 || c->cell[row][end - 1].code == ' '))
        end--;
    for (int i = 0; i < end; i++) {
        const cli_cell cell = c->cell[row][i];
        const uint16_t code = cell.code ? cell.code : ' ';
        if (colours && code != ' ' && cell.ink != ink) {
            fprintf(to, cell.ink == INK_PLAIN ? "\033[0m" : "\033[0;%sm", inks[colours == 256][cell.ink]);
            ink = cell.ink;
        }
        put_code(code, to);
    }
    if (ink != INK_PLAIN)
        fputs("\033[0m", to);
    return end;
}
