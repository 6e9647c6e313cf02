/* SPDX-License-Identifier: MIT
 * One image as a net needs it, ek_image_read: PGM and PPM in every build, transparency, and the same text as a data
 * set has. */
#define _GNU_SOURCE
#include "test_data.h"

#include "data/image.h"

#define CORPUS EK_TEST_DIR "/fuzz/corpus/image/"

/* ---- Netpbm's formats ----------------------------------------------------------------------------------------- */

static ek_status decode(ek_image *image, const char *text, size_t size)
{
    uint8_t *copy = malloc(size); /* of just this length, so that a sanitizer sees a read behind it */
    memcpy(copy, text, size);
    const ek_status status = ek_image_decode(image, copy, size, "i");
    free(copy);
    return status;
}

static void reads_pgm_and_ppm(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        int height, width, channels;
        uint8_t pixels[12];
    } files[] = {
#define FILE_OF(text, ...) {text, sizeof(text) - 1, __VA_ARGS__}
        FILE_OF("P5 3 2 255\n\0\1\2\375\376\377", 2, 3, 1, {0, 1, 2, 253, 254, 255}),
        FILE_OF("P5\n# of a camera\n3\t2 # wide and high\r\n255\r\0\1\2\375\376\377", 2, 3, 1,
                {0, 1, 2, 253, 254, 255}),
        FILE_OF("P5 2 1 100 \0\144", 1, 2, 1, {0, 255}),
        FILE_OF("P5 3 1 3 \1\2\3", 1, 3, 1, {85, 170, 255}),
        FILE_OF("P5 4 1 2 \0\1\2\1\n", 1, 4, 1, {0, 128, 255, 128}), /* halves up; a newline behind it */
        FILE_OF("P5 3 1 65535 \0\0\177\377\377\377", 1, 3, 1, {0, 127, 255}),
        FILE_OF("P5 2 1 256 \0\200\1\0", 1, 2, 1, {128, 255}),
        FILE_OF("P5 1 1 1 \1", 1, 1, 1, {255}),
        FILE_OF("P6 1 2 255 abcdef", 2, 1, 3, {97, 98, 99, 100, 101, 102}),
        FILE_OF("P2 3 1 9 0 3# a third\n9", 1, 3, 1, {0, 85, 255}),
        FILE_OF("P2\n1 1\n65535\n65535\n\n", 1, 1, 1, {255}),
        FILE_OF("P3 2 1 255\n1 2 3  4 5 6\n", 1, 2, 3, {1, 2, 3, 4, 5, 6}),
        FILE_OF("P2 1 1 00255 0007", 1, 1, 1, {7}),
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ek_image image, header;
        if (decode(&image, files[i].text, files[i].size))
            fail_msg("%.20s: %s", files[i].text, ek_error());
        assert_int_equal(ek_image_probe(&header, (const uint8_t *)files[i].text, files[i].size, "i"), EK_OK);
        assert_null(header.pixels);
        assert_true(header.height == image.height && header.width == image.width &&
                    header.channels == image.channels);
        assert_int_equal(image.height, files[i].height);
        assert_int_equal(image.width, files[i].width);
        assert_int_equal(image.channels, files[i].channels);
        assert_memory_equal(image.pixels, files[i].pixels, (size_t)(image.height * image.width * image.channels));
        ek_image_free(&image);
    }
}

static void refuses_damaged_pgm_and_ppm(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        ek_status status;
        const char *words;
    } files[] = {
        FILE_OF("P", EK_ERR_FORMAT, "i: 1 byte, which are no image"),
        FILE_OF("P8 1 1 1 1", EK_ERR_FORMAT, "i: neither PNG, JPEG, PGM nor PPM: it begins 50 38"),
        FILE_OF("P5", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P6 # no end", EK_ERR_FORMAT, "i: the PPM is cut short"),
        FILE_OF("P5 3 2", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P5 3 2 255", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P5 3 2 255\n12345", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P5 3 2 256\n123456", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P2 3 1 9 1 2", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P2 2 1 9 1  ", EK_ERR_FORMAT, "i: the PGM is cut short"),
        FILE_OF("P5 3 2 255x123456", EK_ERR_FORMAT,
                "i: damaged PGM: the greatest level at byte 7 is no whole number"),
        FILE_OF("P5 3 2 255#123456", EK_ERR_FORMAT, "no blank behind the greatest level"),
        FILE_OF("P5 -3 2 255 123456", EK_ERR_FORMAT, "the width at byte 3 is no whole number"),
        FILE_OF("P5 3 2.5 255 123456", EK_ERR_FORMAT, "the height at byte 5 is no whole number"),
        FILE_OF("P5 3 2 0 123456", EK_ERR_FORMAT, "the greatest level is 0"),
        FILE_OF("P5 3 2 65536 123456", EK_ERR_FORMAT, "the greatest level at byte 7 is more than 65535"),
        FILE_OF("P5 0 2 255 ", EK_ERR_FORMAT, "i: an image 0 pixels wide and 2 high"),
        FILE_OF("P5 99999 2 255 ", EK_ERR_UNSUPPORTED, "i: 99999 pixels wide and 2 high; up to 65536 on a side"),
        FILE_OF("P5 65536 65536 255 ", EK_ERR_UNSUPPORTED, "65536 pixels wide and 65536 high"),
        FILE_OF("P5 8192 8192 255 ", EK_ERR_FORMAT, "cut short"), /* allowed, and nothing is allocated for it */
        FILE_OF("P5 4294967297 1 255 1", EK_ERR_FORMAT, "the width at byte 3 is more than"),
        FILE_OF("P5 99999999999999999999999 1 255 1", EK_ERR_FORMAT, "the width at byte 3 is more than"),
        FILE_OF("P5 2 1 9 \1\12", EK_ERR_FORMAT,
                "i: damaged PGM: the sample at byte 10 is 10, more than the greatest"),
        FILE_OF("P5 1 1 256 \1\1", EK_ERR_FORMAT, "the sample at byte 11 is 257"),
        FILE_OF("P2 2 1 9 1 10", EK_ERR_FORMAT, "i: damaged PGM: the sample at byte 11 is more than 9"),
        FILE_OF("P2 2 1 9 1 x", EK_ERR_FORMAT, "the sample at byte 11 is no whole number"),
        FILE_OF("P2 2 1 9 1 -1", EK_ERR_FORMAT, "the sample at byte 11 is no whole number"),
        FILE_OF("P2 1 1 9 1 2 3", EK_ERR_FORMAT, "i: 3 bytes behind the PGM"),
        FILE_OF("P5 1 1 9 \1P5 1 1 9 \1", EK_ERR_FORMAT, "i: 10 bytes behind the PGM; a file of several images has"),
        FILE_OF("P5\r\n1 1\r\n255\r\n\1", EK_ERR_FORMAT, "i: 1 byte behind the PGM"),
        FILE_OF("P4 8 1 x", EK_ERR_UNSUPPORTED, "i: of Netpbm's formats PGM and PPM are read, not P4"),
        FILE_OF("P7\nWIDTH 1", EK_ERR_UNSUPPORTED, "not P7"),
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ek_image image;
        assert_fails(decode(&image, files[i].text, files[i].size), files[i].status, files[i].words);
        assert_null(image.pixels);
    }
}

/* ---- As a net needs it ---------------------------------------------------------------------------------------- */

static void makes_images_fit(void **state)
{
    (void)state;
    static const char grey[] = "P2 2 2 255 0 100 200 255", red[] = "P3 1 1 255 255 0 0";
    uint8_t pixels[3 * 4];
    ek_image_info info;
    ek_image_options with_info = {.info = &info};
    assert_int_equal(ek_image_read_memory(grey, sizeof grey - 1, NULL, 1, 2, 2, &with_info, pixels), EK_OK);
    assert_memory_equal(pixels, ((uint8_t[]){0, 100, 200, 255}), 4);
    assert_true(info.channels == 1 && info.height == 2 && info.width == 2 && !info.transparent);
    /* Grey for a net of colours: three planes of it. */
    assert_int_equal(ek_image_read_memory(grey, sizeof grey - 1, NULL, 3, 2, 2, NULL, pixels), EK_OK);
    for (int c = 0; c < 3; c++)
        assert_memory_equal(pixels + 4 * c, ((uint8_t[]){0, 100, 200, 255}), 4);
    /* Colours for a grey net: luma. One pixel becomes many, many become one, their mean. */
    assert_int_equal(ek_image_read_memory(red, sizeof red - 1, NULL, 1, 2, 2, &with_info, pixels), EK_OK);
    assert_memory_equal(pixels, ((uint8_t[]){76, 76, 76, 76}), 4);
    assert_true(info.channels == 3 && info.height == 1 && info.width == 1);
    assert_int_equal(ek_image_read_memory(grey, sizeof grey - 1, NULL, 1, 1, 1, NULL, pixels), EK_OK);
    assert_int_equal(pixels[0], 139); /* 138.75 */
    assert_int_equal(
        ek_image_read_memory(grey, sizeof grey - 1, NULL, 1, 2, 2, &(ek_image_options){.invert = true}, pixels),
        EK_OK);
    assert_memory_equal(pixels, ((uint8_t[]){255, 155, 55, 0}), 4);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    uint8_t pixels[3];
    ek_image_info info = {.height = 7};
    put("cut.pgm", "P5 2 2 255 1", 12);
    make_folders("folder");
    assert_fails(ek_image_read("cut.pgm", 1, 1, 1, &(ek_image_options){.info = &info}, pixels), EK_ERR_FORMAT,
                 "cut.pgm: the PGM is cut short");
    assert_int_equal(info.height, 7);
    assert_fails(ek_image_read("none.pgm", 1, 1, 1, NULL, pixels), EK_ERR_NOT_FOUND, "none.pgm: ");
    assert_fails(ek_image_read("folder", 1, 1, 1, NULL, pixels), EK_ERR_FORMAT, "folder: ");
    assert_fails(ek_image_read_memory("", 0, NULL, 1, 1, 1, NULL, pixels), EK_ERR_FORMAT, "image: an empty file");
    assert_fails(ek_image_read_memory("", 0, "it", 2, 1, 1, NULL, pixels), EK_ERR_ARGUMENT, "2 channels");
    assert_fails(ek_image_read_memory("", 0, "it", 1, 0, 1, NULL, pixels), EK_ERR_ARGUMENT,
                 "height 0, width 1; both are 1 to");
    assert_fails(ek_image_read_memory("", 0, "it", 1, 1, 65537, NULL, pixels), EK_ERR_ARGUMENT,
                 "height 1, width 65537; both are");
    assert_fails(ek_image_read_memory(NULL, 0, "it", 1, 1, 1, NULL, pixels), EK_ERR_ARGUMENT, "must not be NULL");
    assert_fails(ek_image_read(NULL, 1, 1, 1, NULL, pixels), EK_ERR_ARGUMENT, "must not be NULL");
    assert_fails(ek_image_read("cut.pgm", 1, 1, 1, NULL, NULL), EK_ERR_ARGUMENT, "must not be NULL");
}

/* Whatever allocation fails, there is a status and no leak. */
static void survives_failing_allocations(void **state)
{
    (void)state;
    static const char grey[] = "P2 2 2 255 0 100 200 255";
    uint8_t pixels[3 * 5 * 7];
    put("grey.pgm", grey, sizeof grey - 1);
    ek_status status = EK_ERR_MEMORY;
    for (int64_t n = 1; status == EK_ERR_MEMORY; n++) {
        assert_in_range(n, 1, 40);
        ek_memory_fail_at(n);
        status = ek_image_read("grey.pgm", 3, 5, 7, NULL, pixels);
        ek_memory_fail_at(0);
        if (n < 5)
            assert_int_equal(status, EK_ERR_MEMORY);
    }
    assert_int_equal(status, EK_OK);
}

/* The same file by ek_image_read and by a data set. */
static void compare_with_folder(const char *file, ek_colour colour, int channels)
{
    char path[64];
    uint8_t pixels[3 * 9 * 12];
    ek_dataset *dataset;
    snprintf(path, sizeof path, "d/train/a/%s", file);
    const ek_data_options options = {.height = 9, .width = 12, .colour = colour};
    if (ek_dataset_open_with(&dataset, "./d", &options) || ek_image_read(path, channels, 9, 12, NULL, pixels))
        fail_msg("%s", ek_error());
    assert_memory_equal(pixels, ek_dataset_pixels(dataset, 0), (size_t)channels * 9 * 12);
    ek_dataset_free(dataset);
}

static void reads_what_a_data_set_has(void **state)
{
    (void)state;
    char text[13 + 3 * 100] = "P6 10 10 255 ";
    for (size_t i = 13; i < sizeof text; i++)
        text[i] = (char)(i * i % 251);
    make_folders("d/train/a");
    put("d/train/a/x.PPM", text, sizeof text); /* endings of image files, in any case */
    compare_with_folder("x.PPM", EK_COLOUR_RGB, 3);
    compare_with_folder("x.PPM", EK_COLOUR_GREY, 1);
}

#ifdef EK_HAVE_PNG
static void read_corpus(const char *name, const uint8_t *background, int channels, ek_image_info *info,
                        uint8_t *pixels)
{
    char path[1024];
    snprintf(path, sizeof path, CORPUS "%s", name);
    const ek_image_options options = {.background = background, .info = info};
    if (ek_image_read(path, channels, 11, 13, &options, pixels))
        fail_msg("%s", ek_error());
}

/* Over black, white and a colour: grey-alpha.png has the alpha 255 - grey, rgba.png a plane of its own. */
static void lays_transparency_on_a_colour(void **state)
{
    (void)state;
    enum { N = 11 * 13 };
    uint8_t plain[3 * N], laid[3 * N], white[3] = {255, 255, 255}, colour[3] = {10, 0, 255};
    ek_image_info info;
    read_corpus("grey.png", white, 1, &info, laid);
    assert_false(info.transparent);
    read_corpus("grey-alpha.png", NULL, 1, &info, plain);
    assert_memory_equal(plain, laid, N); /* dropped */
    assert_true(info.transparent && info.channels == 1 && info.height == 11 && info.width == 13);
    read_corpus("grey-alpha.png", white, 1, &info, laid);
    for (int i = 0; i < N; i++)
        assert_int_equal(laid[i], ((255 - plain[i]) * plain[i] + plain[i] * 255 + 127) / 255);
    read_corpus("grey-alpha.png", (uint8_t[3]){0, 0, 0}, 1, &info, laid);
    for (int i = 0; i < N; i++)
        assert_int_equal(laid[i], ((255 - plain[i]) * plain[i] + 127) / 255);
    read_corpus("grey-alpha.png", colour, 3, &info, laid);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(laid[c * N + i], ((255 - plain[i]) * plain[i] + plain[i] * colour[c] + 127) / 255);
    /* A palette of which one colour is transparent through and through. */
    uint8_t black[3 * N];
    read_corpus("palette-alpha.png", NULL, 3, &info, plain);
    assert_true(info.transparent && info.channels == 3);
    read_corpus("palette-alpha.png", white, 3, &info, laid);
    read_corpus("palette-alpha.png", (uint8_t[3]){0, 0, 0}, 3, &info, black);
    int through = 0;
    for (int i = 0; i < N; i++) {
        const bool gone = laid[i] == 255 && black[i] == 0;
        through += gone;
        assert_true(gone || (laid[i] == plain[i] && black[i] == plain[i]));
    }
    assert_in_range(through, 1, N - 1);
}
#endif

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {
        TEST(reads_pgm_and_ppm),
        TEST(refuses_damaged_pgm_and_ppm),
        TEST(makes_images_fit),
        TEST(says_what_is_wrong),
        TEST(survives_failing_allocations),
        TEST(reads_what_a_data_set_has),
#ifdef EK_HAVE_PNG
        TEST(lays_transparency_on_a_colour),
#endif
    };
    return cmocka_run_group_tests_name("data_image_read", tests, NULL, NULL);
}
