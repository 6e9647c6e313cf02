/* SPDX-License-Identifier: MIT
 * Contact sheets: what is on them, read back by libpng, and what happens when they cannot be written. */
#define _GNU_SOURCE
#include "test_data.h"

#include "data/font.h"

#ifdef EK_HAVE_PNG
#include <png.h>
#endif

/* Twelve images of 28 x 28, image i of value 20*i; its label is i % 3. */
static ek_dataset *grey_dataset(void)
{
    static uint8_t pixels[12 * 28 * 28], labels[12];
    ek_dataset *d;
    for (int i = 0; i < 12; i++) {
        memset(pixels + i * 28 * 28, 20 * i, 28 * 28);
        labels[i] = (uint8_t)(i % 3);
    }
    assert_int_equal(ek_dataset_from_memory(&d, 12, 1, 28, 28, pixels, labels, 3), EK_OK);
    return d;
}

/* ---- The font ------------------------------------------------------------------------------------------------ */

/* Every printable character but the blank has ink, no two look the same, and none is the box of what is unknown. */
static void font_tells_characters_apart(void **state)
{
    (void)state;
    bool ink[96][EK_FONT_HEIGHT][EK_FONT_WIDTH];
    for (int c = 0; c < 96; c++)
        for (int y = 0; y < EK_FONT_HEIGHT; y++)
            for (int x = 0; x < EK_FONT_WIDTH; x++)
                ink[c][y][x] = ek_font_ink((char)(' ' + c), x, y);
    for (int c = 0; c < 96; c++)
        for (int other = 0; other < c; other++)
            assert_memory_not_equal(ink[c], ink[other], sizeof ink[c]);
    for (int y = -2; y < EK_FONT_HEIGHT + 2; y++)
        for (int x = -2; x < EK_FONT_WIDTH + 2; x++) {
            assert_false(ek_font_ink(' ', x, y));
            assert_int_equal(ek_font_ink('\n', x, y), ek_font_ink('\xe4', x, y));
        }
    assert_false(ek_font_ink('A', -1, 3));
    assert_false(ek_font_ink('A', EK_FONT_WIDTH, 3));
}

#ifdef EK_HAVE_PNG

/* ---- The sheet ----------------------------------------------------------------------------------------------- */

typedef struct picture {
    int width, height, channels;
    uint8_t *pixels;
} picture;

static picture read_png(const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path));
    int channels = image.format == PNG_FORMAT_GRAY ? 1 : 3;
    image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    picture p = {(int)image.width, (int)image.height, channels, malloc(PNG_IMAGE_SIZE(image))};
    assert_non_null(p.pixels);
    assert_true(png_image_finish_read(&image, NULL, p.pixels, 0, NULL));
    return p;
}

static const uint8_t *at(const picture *p, int x, int y)
{
    return p->pixels + ((size_t)y * (size_t)p->width + (size_t)x) * (size_t)p->channels;
}

/* Columns of 112 and gaps of 20 in margins of 24; a band is a label of 18, a gap of 5 and an image of 112. */
static void shows_samples_in_order(void **state)
{
    (void)state;
    ek_dataset *d = grey_dataset();
    assert_int_equal(ek_dataset_save_sheet(d, 2, 5, 3, "sheet.png"), EK_OK);
    picture p = read_png("sheet.png");
    assert_int_equal(p.channels, 1);
    assert_int_equal(p.width, 24 + 3 * 112 + 2 * 20 + 24);
    assert_int_equal(p.height, 24 + 2 * 135 + 20 + 24);
    for (int cell = 0; cell < 6; cell++) {
        int left = 24 + cell % 3 * 132, top = 24 + cell / 3 * 155 + 23;
        int value = cell < 5 ? 20 * (cell + 2) : 255; /* the last place is empty */
        assert_int_equal(*at(&p, left, top), value);
        assert_int_equal(*at(&p, left + 111, top + 111), value);
        assert_int_equal(*at(&p, left - 1, top + 50), 255);
        assert_int_equal(*at(&p, left + 112, top + 50), 255);
        assert_int_equal(*at(&p, left + 50, top + 112), 255);
        int ink = 0;
        for (int y = top - 23; y < top - 5; y++)
            for (int x = left; x < left + 112; x++)
                ink += *at(&p, x, y) < 128;
        assert_true(cell < 5 ? ink > 30 : ink == 0);
    }
    free(p.pixels);
    ek_dataset_free(d);
    assert_int_equal(entries("."), 1);
}

/* Two samples of one label have the same ink above them; another label has other ink. */
static void labels_are_above_their_samples(void **state)
{
    (void)state;
    ek_dataset *d = grey_dataset();
    assert_int_equal(ek_dataset_save_sheet(d, 0, 4, 0, "sheet.png"), EK_OK);
    picture p = read_png("sheet.png");
    assert_int_equal(p.width, 24 + 4 * 112 + 3 * 20 + 24);
    int differ[4] = {0};
    for (int cell = 0; cell < 4; cell++)
        for (int y = 24; y < 42; y++)
            differ[cell] += memcmp(at(&p, 24, y), at(&p, 24 + cell * 132, y), 112) != 0;
    assert_int_equal(differ[3], 0);
    assert_true(differ[1] > 3 && differ[2] > 3);
    free(p.pixels);
    ek_dataset_free(d);
}

static void shows_colours(void **state)
{
    (void)state;
    uint8_t pixels[3 * 2 * 3] = {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60, 100, 110, 120, 130, 140, 150}, label = 0;
    ek_dataset *d;
    assert_int_equal(ek_dataset_from_memory(&d, 1, 3, 2, 3, pixels, &label, 1), EK_OK);
    assert_int_equal(ek_dataset_save_sheet(d, 0, 1, 0, "sheet.png"), EK_OK);
    picture p = read_png("sheet.png");
    assert_int_equal(p.channels, 3);
    assert_int_equal(p.width, 24 + 3 * 37 + 24); /* (112 + 1) / 3 = 37 sheet pixels for one of the image */
    assert_memory_equal(at(&p, 24, 24 + 23), ((uint8_t[]){1, 10, 100}), 3);
    assert_memory_equal(at(&p, 24 + 2 * 37, 24 + 23 + 37), ((uint8_t[]){6, 60, 150}), 3);
    free(p.pixels);
    ek_dataset_free(d);
}

/* A wide label widens its column. */
static void makes_room_for_words(void **state)
{
    (void)state;
    static const char *const words[] = {"a label of thirty characters..", "b", "c"};
    ek_known_set set = {.name = "words", .title = "words", .classes = 3, .labels = words};
    ek_dataset *d = grey_dataset();
    d->known = &set;
    d->names = words;
    assert_int_equal(ek_dataset_save_sheet(d, 0, 2, 2, "sheet.png"), EK_OK);
    picture p = read_png("sheet.png");
    assert_int_equal(p.width, 24 + 2 * (2 * (30 * 6 - 1)) + 20 + 24);
    free(p.pixels);
    ek_dataset_free(d);
}

static void refuses_what_cannot_be_shown(void **state)
{
    (void)state;
    ek_dataset *d = grey_dataset();
    assert_fails(ek_dataset_save_sheet(d, 0, 13, 0, "x.png"), EK_ERR_ARGUMENT, "there are samples 0 .. 11");
    assert_fails(ek_dataset_save_sheet(d, 12, 1, 0, "x.png"), EK_ERR_ARGUMENT, "1 samples from 12 on");
    assert_fails(ek_dataset_save_sheet(d, -1, 1, 0, "x.png"), EK_ERR_ARGUMENT, "from -1 on");
    assert_fails(ek_dataset_save_sheet(d, INT64_MAX, 1, 0, "x.png"), EK_ERR_ARGUMENT, "there are samples");
    assert_fails(ek_dataset_save_sheet(d, 0, 0, 0, "x.png"), EK_ERR_ARGUMENT, "0 samples");
    assert_fails(ek_dataset_save_sheet(d, 0, 1, -3, "x.png"), EK_ERR_ARGUMENT, "-3 columns");
    assert_fails(ek_dataset_save_sheet(d, 0, 1, 0, ""), EK_ERR_ARGUMENT, "no name");
    assert_fails(ek_dataset_save_sheet(d, 0, 1, 0, NULL), EK_ERR_ARGUMENT, "no name");
    assert_fails(ek_dataset_save_sheet(d, 0, 1, 0, "no/x.png"), EK_ERR_NOT_FOUND, "no/x.png: cannot be written");
    assert_fails(ek_dataset_save_sheet(d, 0, 1, 0, "/dev/full"), EK_ERR_IO, "/dev/full: cannot be written: No space");
    ek_dataset_free(d);
    assert_int_equal(entries("."), 0);
}

static void refuses_endless_sheets(void **state)
{
    (void)state;
    static uint8_t pixels[20000], labels[20000];
    ek_dataset *d;
    assert_int_equal(ek_dataset_from_memory(&d, 20000, 1, 1, 1, pixels, labels, 1), EK_OK);
    assert_fails(ek_dataset_save_sheet(d, 0, 20000, 20000, "x.png"), EK_ERR_ARGUMENT, "ask for fewer samples");
    ek_dataset_free(d);
    assert_int_equal(entries("."), 0);
}

/* The old sheet stays as it was, and nothing lies beside it. */
static void survives_failing_allocations(void **state)
{
    (void)state;
    ek_dataset *d = grey_dataset();
    put("sheet.png", "old", 3);
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    while (status == EK_ERR_MEMORY) {
        struct stat info;
        assert_int_equal(stat("sheet.png", &info), 0);
        assert_int_equal(info.st_size, 3);
        assert_int_equal(entries("."), 1);
        assert_in_range(++n, 1, 100);
        ek_memory_fail_at(n);
        status = ek_dataset_save_sheet(d, 0, 12, 0, "sheet.png");
        ek_memory_fail_at(0);
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 6, 100);
    ek_dataset_free(d);
}

static void shows_fashion_mnist(void **state)
{
    (void)state;
    need_fashion();
    ek_dataset *d;
    assert_int_equal(ek_dataset_open(&d, "fashion-mnist", EK_SPLIT_TEST), EK_OK);
    assert_int_equal(ek_dataset_save_sheet(d, 0, 18, 9, "sheet.png"), EK_OK);
    picture p = read_png("sheet.png");
    assert_int_equal(p.width, 24 + 9 * 118 + 8 * 20 + 24); /* "ankle boot" is 118 wide, an image 112 */
    const uint8_t *boot = ek_dataset_pixels(d, 0);
    for (int y = 0; y < 112; y++)
        for (int x = 0; x < 112; x++)
            assert_int_equal(*at(&p, 24 + 3 + x, 24 + 23 + y), boot[y / 4 * 28 + x / 4]);
    free(p.pixels);
    ek_dataset_free(d);
}

#else

static void refuses_without_libpng(void **state)
{
    (void)state;
    ek_dataset *d = grey_dataset();
    assert_fails(ek_dataset_save_sheet(d, 0, 1, 0, "x.png"), EK_ERR_UNSUPPORTED, "without libpng");
    ek_dataset_free(d);
}

#endif

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(font_tells_characters_apart),
#ifdef EK_HAVE_PNG
        TEST(shows_samples_in_order),
        TEST(labels_are_above_their_samples),
        TEST(shows_colours),
        TEST(makes_room_for_words),
        TEST(refuses_what_cannot_be_shown),
        TEST(refuses_endless_sheets),
        TEST(survives_failing_allocations),
        TEST(shows_fashion_mnist),
#else
        TEST(refuses_without_libpng),
#endif
    };
    return cmocka_run_group_tests_name("data_sheet", tests, NULL, NULL);
}
