/* SPDX-License-Identifier: MIT
 * What the command draws while it trains: round marks of axes, curves of many points, lines of dots, the line that
 * tells how far it is, and what a picture costs. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../cli/chart.h"
#include "../cli/scale.h"
#include "../cli/status.h"

/* ---- Axes ------------------------------------------------------------------------------------------------------ */

static void check_marks(const cli_scale *s, const char *wanted)
{
    char got[512] = "";
    for (int i = 0; i < s->marks; i++) {
        char text[32];
        cli_scale_text(s, i, text, sizeof text);
        strcat(strcat(got, i ? " " : ""), text);
    }
    assert_string_equal(got, wanted);
}

static void test_scale(void **state)
{
    (void)state;
    const struct {
        double low, high;
        int marks;
        double least;
        bool widen;
        const char *wanted;
    } cases[] = {
        {0, 10, 5, 1, false, "0 2 4 6 8 10"},
        {0, 3, 5, 1, false, "0 1 2 3"}, /* never parts of an epoch */
        {0, 1, 5, 1, false, "0 1"},
        {0, 90, 5, 1, false, "0 10 20 30 40 50 60 70 80 90"},
        {0.783, 0.874, 3, 0, true, "0.78 0.80 0.82 0.84 0.86 0.88"},
        {0.29, 2.31, 3, 0, true, "0.0 0.5 1.0 1.5 2.0 2.5"},
        {-0.3, 0.3, 2, 0, true, "-0.4 -0.2 0.0 0.2 0.4"},
        {1.5, 1.5, 3, 0, false, "1.35 1.40 1.45 1.50 1.55 1.60 1.65"},
        {NAN, NAN, 2, 0, true, "0.0 0.5 1.0"},
        {INFINITY, -INFINITY, 1, 0, true, "0 1"},
        {1.9e-9, 3.2e-9, 2, 0, true, "1.5e-09 2e-09 2.5e-09 3e-09 3.5e-09"},
        {0, 3.1e7, 2, 0, true, "0 1e+07 2e+07 3e+07 4e+07"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cli_scale s = cli_scale_of(cases[i].low, cases[i].high, cases[i].marks, cases[i].least, cases[i].widen);
        check_marks(&s, cases[i].wanted);
        assert_true(s.low < s.high);
    }
    for (int i = -300; i <= 300; i += 7) {
        const double low = -0.3 * pow(10, i), high = 1.7 * pow(10, i);
        const cli_scale s = cli_scale_of(low, high, 4, 0, true);
        assert_true(s.marks >= 4 && s.marks <= 12 && s.low <= low * 0.999999 && s.high >= high * 0.999999);
    }
    /* Neighbours in double, and what is next to 0. */
    static const double close[][2] = {{1, 1 + 2.3e-16},   {-1e300, -1e300 * (1 - 2e-16)},
                                      {0.1, 0.1 + 1e-12}, {0, 5e-324},
                                      {-5e-324, 5e-324},  {3e-310, 4e-310},
                                      {1e-291, 1.5e-291}, {2.5, 2.5},
                                      {-1e308, 1e308}};
    for (size_t i = 0; i < 2 * sizeof close / sizeof *close; i++) {
        const double *ends = close[i / 2];
        const cli_scale s = cli_scale_of(ends[0], ends[1], 4, 0, i % 2);
        assert_true(isfinite(s.low) && isfinite(s.high) && s.low < s.high && s.marks >= 2);
        assert_true((s.low <= ends[0] || ends[0] < -1e300) && (s.high >= ends[1] || ends[1] > 1e300));
        for (int mark = 0; mark < s.marks; mark++)
            assert_true(s.mark[mark] >= s.low && s.mark[mark] <= s.high &&
                        (mark == 0 || s.mark[mark] > s.mark[mark - 1]));
    }
}

/* ---- Curves ---------------------------------------------------------------------------------------------------- */

static void test_series(void **state)
{
    (void)state;
    static cli_series s;
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        cli_series_add(&s, i, 2.0 * i + 1);
        assert_true(s.count < SERIES_POINTS);
        assert_true(s.last == 2.0 * i + 1);
    }
    assert_true(s.count >= SERIES_POINTS / 2 - 1 && s.stride == 128);
    for (int i = 0; i < s.count; i++) {
        assert_true(s.y[i] == 2 * s.x[i] + 1);
        sum += s.x[i] * (double)s.stride;
    }
    const double taken = s.count * (double)s.stride;
    assert_true(sum == taken * (taken - 1) / 2);
}

/* ---- Dots ------------------------------------------------------------------------------------------------------ */

static void check_row(const cli_canvas *c, int row, const char *wanted)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    cli_canvas_write(c, row, 0, to);
    fclose(to);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_lines(void **state)
{
    (void)state;
    static cli_canvas c;
    const cli_area all = {0, 0, 4, 2};
    const cli_pen pen = {INK_BLUE, '#', 1, 0}, dashed = {INK_BLUE, '#', 1, 1};
    cli_canvas_clear(&c, 4, 2, true);
    cli_canvas_line(&c, all, &pen, 0, 0, 1, 1);
    check_row(&c, 0, "  ⡠⠊");
    check_row(&c, 1, "⡠⠊");
    cli_canvas_line(&c, all, &pen, -1, 1, 2, 1); /* cut off on both sides */
    check_row(&c, 0, "⠉⠉⡩⠋");
    cli_canvas_line(&c, all, &pen, 0, -1, 1, -0.01); /* below it all */
    cli_canvas_line(&c, all, &pen, NAN, 0, 1, 1);
    cli_canvas_line(&c, all, &pen, 0, 0, INFINITY, 1);
    check_row(&c, 1, "⡠⠊");
    cli_canvas_clear(&c, 4, 2, true);
    cli_canvas_line(&c, all, &dashed, 0, 0.5, 1, 0.5);
    check_row(&c, 0, "⡀⡀⡀⡀");
    cli_canvas_clear(&c, 4, 2, false);
    cli_canvas_line(&c, all, &pen, 0, 0, 1, 1);
    check_row(&c, 0, "  ##");
    check_row(&c, 1, "##");
    cli_canvas_clear(&c, 1000, 1000, true);
    assert_true(c.columns == CANVAS_COLUMNS && c.rows == CANVAS_ROWS);
    assert_int_equal(cli_canvas_text(&c, CANVAS_COLUMNS - 2, 0, INK_PLAIN, "├é─x"), CANVAS_COLUMNS + 2);
}

/* Sizes of every kind, curves of every kind: within the canvas, and no row longer than it is wide. */
static void test_sizes(void **state)
{
    (void)state;
    static cli_chart chart;
    static cli_canvas c;
    static const double values[] = {1, NAN, 1e300, -1e300, INFINITY, 1e-300, 0.5};
    chart.epochs = 3;
    for (int fill = 0; fill < 8; fill++) {
        for (int columns = -1; columns < 140; columns += 3)
            for (int rows = -1; rows < 30; rows++)
                for (int how = 0; how < 4; how++)
                    if (cli_chart_draw(&chart, &c, columns, rows, how & 1, how & 2))
                        assert_true(c.columns <= columns && c.rows <= rows && columns >= 48 && rows >= 7);
        cli_series_add(&chart.train_loss, fill / 4.0, values[fill % 7]);
        cli_series_add(&chart.val_acc, fill / 2.0, values[(fill + 3) % 7]);
    }
}

/* ---- The line -------------------------------------------------------------------------------------------------- */

static void check_status(const cli_status *s, int columns, const char *wanted)
{
    char text[256];
    cli_status_text(s, false, columns, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void test_status(void **state)
{
    (void)state;
    cli_status s = {.epoch = 3, .epochs = 10, .share = 0.5, .loss = 0.43125, .images_per_second = 47312, .left = 83};
    check_status(&s, 100, "epoch 3/10  ##########..........   50 %  loss 0.4313  47312 images/s  1:23 left");
    check_status(&s, 79, "epoch 3/10  ##########..........   50 %  loss 0.4313  47312 images/s  1:23 left");
    check_status(&s, 78, "epoch 3/10   50 %  loss 0.4313  47312 images/s  1:23 left");
    check_status(&s, 50, "epoch 3/10   50 %  loss 0.4313  1:23 left");
    check_status(&s, 40, "epoch 3/10   50 %  1:23 left");
    check_status(&s, 20, "epoch 3/10   50 %");
    check_status(&s, 16, "epoch 3/10");
    check_status(&s, 5, "epoch");
    check_status(&s, 0, "");
    s.left = -1;
    check_status(&s, 100, "epoch 3/10  ##########..........   50 %  loss 0.4313  47312 images/s");
    s.left = 0.4;
    check_status(&s, 40, "epoch 3/10   50 %  0:00 left");
    s.left = 3 * 3600 + 59.7;
    check_status(&s, 40, "epoch 3/10   50 %  3:01:00 left");
    s.left = 1e6;
    check_status(&s, 40, "epoch 3/10   50 %  11 d 13 h left");
    s.left = INFINITY;
    check_status(&s, 40, "epoch 3/10   50 %  years left");
}

/* ---- What it costs --------------------------------------------------------------------------------------------- */

/* Ten a second of full curves on the largest canvas must stay below a hundredth of one processor's time. */
static void test_cost(void **state)
{
    (void)state;
    enum { PICTURES = 50 };
    static cli_chart chart;
    static cli_canvas c;
    struct timespec begin, end;
    FILE *to = fopen("/dev/null", "w");
    assert_non_null(to);
    chart.epochs = 1000;
    for (int i = 0; i < SERIES_POINTS - 1; i++) {
        cli_series_add(&chart.train_loss, i, exp(-i / 300.0) + 0.1 * sin(i));
        cli_series_add(&chart.val_loss, i, exp(-i / 200.0) + 0.1 * cos(i));
        cli_series_add(&chart.val_acc, i, 0.9 - exp(-i / 300.0) + 0.02 * sin(3 * i));
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < PICTURES; i++) {
        assert_true(cli_chart_draw(&chart, &c, 200, 200, true, true));
        for (int row = 0; row < c.rows; row++)
            cli_canvas_write(&c, row, 256, to);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    fclose(to);
    const double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    print_message("a picture: %.0f microseconds\n", 1e6 * seconds / PICTURES);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(seconds / PICTURES < 1e-3);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale), cmocka_unit_test(test_series), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_status), cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests_name("chart", tests, NULL, NULL);
}
