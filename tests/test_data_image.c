/* SPDX-License-Identifier: MIT
 * Image files, against what Pillow reads in them; resizing, against PyTorch's; folders of images, a class a folder. */
#define _GNU_SOURCE
#include "test_data.h"

#include "base/file.h"
#include "data/image.h"
#include "data/resize.h"
#include "data/tree.h"
#include "golden.h"

#if defined EK_HAVE_PNG && defined EK_HAVE_JPEG

#define IMAGES EK_TEST_DIR "/fuzz/corpus/image/"

static ek_status read_image(ek_image *image, const char *name, bool whole)
{
    char path[1024];
    unsigned char *data;
    size_t size;
    snprintf(path, sizeof path, "%s%s", IMAGES, name);
    if (ek_file_read(path, EK_IMAGE_FILE, &data, &size))
        fail_msg("%s", ek_error());
    const ek_status status =
        whole ? ek_image_decode(image, data, size, name) : ek_image_probe(image, data, size, name);
    ek_free(data);
    return status;
}

/* ---- Files -------------------------------------------------------------------------------------------------- */

/* A file's bytes; `off` is how far a pixel may be from Pillow's, whose conversion of ink rounds otherwise. */
static void check_image(const ek_safetensors *golden, const char *name, int off)
{
    ek_image image, header;
    const ek_safetensors_tensor *want = ek_safetensors_find(golden, name);
    if (!want || read_image(&image, name, true) || read_image(&header, name, false))
        fail_msg("%s: %s", name, ek_error());
    assert_int_equal(image.height, want->dim[0]);
    assert_int_equal(image.width, want->dim[1]);
    assert_int_equal(image.channels, want->dim[2]);
    assert_true(header.height == image.height && header.width == image.width && header.channels == image.channels);
    assert_null(header.pixels);
    double *pixels = golden_doubles(want);
    for (int64_t i = 0; i < want->count; i++)
        if (!(fabs(pixels[i] - image.pixels[i]) <= off))
            fail_msg("%s: value %lld is %d, not %g", name, (long long)i, image.pixels[i], pixels[i]);
    free(pixels);
    ek_image_free(&image);
}

static void decodes_every_kind(void **state)
{
    (void)state;
    static const char *const names[] = {
        "grey.png", "rgb.png",    "rgba.png",    "grey-alpha.png", "palette.png", "palette-alpha.png", "bits.png",
        "one.png",  "rgb-16.png", "grey-16.png", "grey.jpg",       "rgb.jpg",     "progressive.jpeg",  "full.JPG"};
    ek_safetensors *golden = golden_open("images.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_image(golden, names[i], 0);
    check_image(golden, "cmyk.jpg", 2);
    ek_safetensors_free(golden);
}

static void refuses_damaged_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        ek_status status;
        const char *words;
    } bad[] = {{"bad-short.png", EK_ERR_FORMAT, "bad-short.png: the PNG is cut short"},
               {"bad-header.png", EK_ERR_FORMAT, "bad-header.png: the PNG is cut short"},
               {"bad-checksum.png", EK_ERR_FORMAT, "bad-checksum.png: damaged PNG: "},
               {"bad-rows.png", EK_ERR_FORMAT, "bad-rows.png: "},
               {"bad-short.jpg", EK_ERR_FORMAT, "bad-short.jpg: damaged JPEG: Premature end of JPEG file"},
               {"bad-header.jpg", EK_ERR_FORMAT, "bad-header.jpg: damaged JPEG: "},
               {"bad-empty.png", EK_ERR_FORMAT, "bad-empty.png: an empty file"},
               {"bad-text.png", EK_ERR_FORMAT, "bad-text.png: neither PNG, JPEG, PGM nor PPM: it begins 6e 6f 74"},
               {"bad-gif.png", EK_ERR_FORMAT, "neither PNG, JPEG, PGM nor PPM: it begins 47 49 46"},
               {"bad-huge.png", EK_ERR_UNSUPPORTED,
                "bad-huge.png: 60000 pixels wide and 60000 high; up to 65536 on a side and"},
               {"bad-wide.png", EK_ERR_UNSUPPORTED, "bad-wide.png: 70000 pixels wide and 1 high"},
               {"bad-huge.jpg", EK_ERR_UNSUPPORTED, "bad-huge.jpg: 65000 pixels wide and 65000 high"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ek_image image;
        assert_fails(read_image(&image, bad[i].name, true), bad[i].status, bad[i].words);
        assert_null(image.pixels);
    }
}

/* The first marker of this kind in a JPEG. */
static size_t find_marker(const unsigned char *data, size_t size, unsigned char kind)
{
    for (size_t i = 0; i + 1 < size; i++)
        if (data[i] == 0xff && data[i + 1] == kind)
            return i;
    fail_msg("no marker %02x", kind);
    return 0;
}

/* JPEGs that are whole and of a kind that is not decoded: bytes of grey.jpg's frame header say so. */
static void refuses_other_jpegs(void **state)
{
    (void)state;
    static const struct {
        size_t at; /* from the marker on */
        unsigned char bytes[2];
        const char *words;
    } kinds[] = {{4, {12, 0}, "a JPEG of a kind that is not decoded; save it as one of 8 bits"},
                 {1, {0xc3, 0}, "a JPEG of a kind that is not decoded; save it as one of 8 bits"}, /* lossless */
                 {5, {0xff, 0xff}, "JPEGs are decoded up to 65500 pixels on a side"},
                 {7, {0xff, 0xff}, "JPEGs are decoded up to 65500 pixels on a side"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        ek_image image;
        unsigned char *data;
        size_t size;
        assert_int_equal(ek_file_read(IMAGES "grey.jpg", EK_IMAGE_FILE, &data, &size), EK_OK);
        const size_t frame = find_marker(data, size, 0xc0);
        assert_int_equal(data[frame + 4], 8);
        memcpy(data + frame + kinds[i].at, kinds[i].bytes, kinds[i].bytes[1] ? 2 : 1);
        assert_fails(ek_image_decode(&image, data, size, "it"), EK_ERR_UNSUPPORTED, kinds[i].words);
        assert_null(image.pixels);
        ek_free(data);
    }
}

/* A frame and a scan of two components, which have no colours: one more than grey.jpg has. */
static void refuses_two_components(void **state)
{
    (void)state;
    unsigned char *data, made[4096];
    size_t size, at = 0;
    ek_image image;
    assert_int_equal(ek_file_read(IMAGES "grey.jpg", EK_IMAGE_FILE, &data, &size), EK_OK);
    const size_t frame = find_marker(data, size, 0xc0), scan = find_marker(data, size, 0xda);
    assert_true(size + 5 <= sizeof made && data[frame + 3] == 11 && data[scan + 3] == 8);
    memcpy(made, data, at = frame + 13);
    made[frame + 3] += 3;
    made[frame + 9] = 2;
    memcpy(made + at, (unsigned char[]){2, 0x11, 0}, 3);
    at += 3;
    memcpy(made + at, data + frame + 13, scan + 7 - (frame + 13));
    at += scan + 7 - (frame + 13);
    made[scan + 3 + 3] += 2;
    made[scan + 3 + 4] = 2;
    memcpy(made + at, (unsigned char[]){2, 0}, 2);
    at += 2;
    memcpy(made + at, data + scan + 7, size - (scan + 7));
    assert_fails(ek_image_decode(&image, made, size + 5, "it"), EK_ERR_UNSUPPORTED,
                 "a JPEG of a kind that is not decoded");
    ek_free(data);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    static const char *const names[] = {"palette.png", "progressive.jpeg", "cmyk.jpg"};
    for (int i = 0; i < 3; i++) {
        ek_image image = {0};
        ek_status status = EK_ERR_MEMORY;
        for (int64_t n = 1; status == EK_ERR_MEMORY; n++) {
            char path[1024];
            unsigned char *data;
            size_t size;
            assert_in_range(n, 1, 60);
            snprintf(path, sizeof path, "%s%s", IMAGES, names[i]);
            assert_int_equal(ek_file_read(path, EK_IMAGE_FILE, &data, &size), EK_OK);
            ek_memory_fail_at(n);
            status = ek_image_decode(&image, data, size, names[i]);
            ek_memory_fail_at(0);
            if (status)
                assert_message("memory");
            ek_free(data);
        }
        assert_int_equal(status, EK_OK);
        ek_image_free(&image);
    }
}

static void converts_colours(void **state)
{
    (void)state;
    ek_image image = {.height = 1, .width = 3, .channels = 3, .pixels = ek_calloc(9, 1)};
    memcpy(image.pixels, (uint8_t[]){255, 0, 0, 10, 200, 30, 255, 255, 255}, 9);
    assert_int_equal(ek_image_convert(&image, 1), EK_OK);
    assert_memory_equal(image.pixels, ((uint8_t[]){76, 124, 255}), 3); /* Pillow's convert("L") */
    assert_int_equal(ek_image_convert(&image, 3), EK_OK);
    assert_memory_equal(image.pixels, ((uint8_t[]){76, 76, 76, 124, 124, 124, 255, 255, 255}), 9);
    ek_image_free(&image);
}

/* ---- Sizes -------------------------------------------------------------------------------------------------- */

/* PyTorch's numbers, rounded; a pixel on the edge of two bytes may be either. */
static void resizes_as_pytorch(void **state)
{
    (void)state;
    ek_safetensors *golden = golden_open("images.safetensors");
    char name[32];
    int cases = 0;
    for (;; cases++) {
        snprintf(name, sizeof name, "resize.%d.x", cases);
        const ek_safetensors_tensor *x = ek_safetensors_find(golden, name);
        if (!x)
            break;
        name[strlen(name) - 1] = 'y';
        const ek_safetensors_tensor *y = ek_safetensors_find(golden, name);
        double *from = golden_doubles(x), *want = golden_doubles(y);
        /* Twice the same plane, so that planes are told apart. */
        ek_idx images = {.n = 2, .channels = 1, .height = (int)x->dim[0], .width = (int)x->dim[1]};
        images.data = ek_calloc((size_t)x->count, 2);
        for (int64_t i = 0; i < 2 * x->count; i++)
            images.data[i] = (uint8_t)from[i % x->count];
        assert_int_equal(ek_resize_images(&images, (int)y->dim[0], (int)y->dim[1]), EK_OK);
        for (int64_t i = 0; i < 2 * y->count; i++)
            if (!(fabs(images.data[i] - want[i % y->count]) <= 0.5 + 1e-9))
                fail_msg("case %d: pixel %lld is %d, not %g", cases, (long long)i, images.data[i],
                         want[i % y->count]);
        ek_idx_free(&images);
        free(from);
        free(want);
    }
    assert_int_equal(cases, 9);
    ek_safetensors_free(golden);
}

/* ---- Folders ------------------------------------------------------------------------------------------------ */

static void copy(const char *name, const char *to)
{
    char command[1200];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\" && cp '%s%s' '%s'", to, IMAGES, name, to);
    assert_int_equal(system(command), 0);
}

/* Three classes, whose order is that of bytes; files that are none; a class without training images. */
static void make_tree(void)
{
    copy("grey.png", "d/train/Zebra/b.png");
    copy("grey.jpg", "d/train/Zebra/a.JPG");
    copy("bits.png", "d/train/ape/x.png");
    copy("grey-alpha.png", "d/train/ape/y.png");
    copy("bad-text.png", "d/train/ape/notes.txt");
    copy("bad-text.png", "d/train/ape/.hidden.png");
    copy("grey.png", "d/train/ape/deeper/z.png");
    make_folders("d/train/bee");
    make_folders("d/train/.thumbnails");
    copy("grey.png", "d/val/ape/1.png");
}

static ek_status open_tree(ek_dataset **d, const char *path, ek_data_options o)
{
    return ek_dataset_open_with(d, path, &o);
}

static void opens_a_folder_of_images(void **state)
{
    (void)state;
    ek_dataset *d;
    ek_dataset_info info;
    ek_image image;
    make_tree();
    assert_int_equal(open_tree(&d, "./d", (ek_data_options){0}), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_int_equal(info.count, 4);
    assert_true(info.channels == 1 && info.height == 11 && info.width == 13 && info.classes == 3);
    assert_int_equal(info.skipped, 0);
    assert_string_equal(info.skipped_first, "");
    assert_string_equal(info.name, "");
    assert_string_equal(ek_dataset_label_text(d, 0), "Zebra");
    assert_string_equal(ek_dataset_label_text(d, 1), "ape");
    assert_string_equal(ek_dataset_label_text(d, 2), "bee");
    assert_null(ek_dataset_label_text(d, 3));
    static const char *const files[] = {"grey.jpg", "grey.png", "bits.png", "grey-alpha.png"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(read_image(&image, files[i], true), EK_OK);
        assert_memory_equal(ek_dataset_pixels(d, i), image.pixels, 11 * 13);
        assert_int_equal(ek_dataset_label(d, i), i / 2);
        ek_image_free(&image);
    }
    /* The digest is that of the same bytes from memory. */
    ek_dataset *same;
    ek_dataset_info other;
    uint8_t labels[4] = {0, 0, 1, 1};
    assert_int_equal(ek_dataset_from_memory(&same, 4, 1, 11, 13, ek_dataset_pixels(d, 0), labels, 3), EK_OK);
    ek_dataset_get_info(same, &other);
    assert_string_equal(info.digest, other.digest);
    ek_dataset_free(same);
    ek_dataset_free(d);
    /* The validation images' labels are the training classes'. */
    assert_int_equal(open_tree(&d, "d", (ek_data_options){.split = EK_SPLIT_TEST}), EK_OK);
    assert_int_equal(ek_dataset_label(d, 0), 1);
    assert_string_equal(ek_dataset_label_text(d, 0), "Zebra");
    ek_dataset_free(d);
}

/* One colour image makes all of them RGB, in either split; an option decides otherwise. */
static void agrees_on_colours_and_sizes(void **state)
{
    (void)state;
    ek_dataset *d;
    ek_dataset_info info;
    ek_image image;
    make_tree();
    copy("rgb.png", "d/train/ape/z.png");
    for (int split = 0; split < 2; split++) {
        assert_int_equal(open_tree(&d, "d", (ek_data_options){.split = (ek_split)split}), EK_OK);
        ek_dataset_get_info(d, &info);
        assert_int_equal(info.channels, 3);
        ek_dataset_free(d);
    }
    assert_int_equal(open_tree(&d, "d", (ek_data_options){0}), EK_OK);
    assert_int_equal(read_image(&image, "rgb.png", true), EK_OK);
    for (int i = 0; i < 11 * 13 * 3; i++)
        assert_int_equal(ek_dataset_pixels(d, 4)[i % 3 * 11 * 13 + i / 3], image.pixels[i]); /* [C,H,W] */
    ek_image_free(&image);
    ek_dataset_free(d);
    assert_int_equal(open_tree(&d, "d", (ek_data_options){.colour = EK_COLOUR_GREY}), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_int_equal(info.channels, 1);
    ek_dataset_free(d);
    copy("one.png", "d/train/ape/zz.png");
    assert_fails(
        open_tree(&d, "d", (ek_data_options){0}), EK_ERR_SHAPE,
        "d/train/ape/zz.png: 1 pixels wide and 1 high, where Zebra/a.JPG is 13 wide and 11 high; say to which");
    assert_null(d);
    for (int colour = 0; colour < 3; colour++) {
        assert_int_equal(open_tree(&d, "d", (ek_data_options){.height = 6, .width = 9, .colour = (ek_colour)colour}),
                         EK_OK);
        ek_dataset_get_info(d, &info);
        assert_true(info.height == 6 && info.width == 9 && info.channels == (colour == 1 ? 1 : 3) && info.count == 6);
        ek_dataset_free(d);
    }
}

static void counts_broken_files(void **state)
{
    (void)state;
    ek_dataset *d, *rest, *part;
    ek_dataset_info info;
    make_tree();
    copy("bad-short.jpg", "d/train/ape/a.jpg"); /* its header is fine */
    copy("bad-text.png", "d/train/Zebra/c.png");
    copy("bad-huge.png", "d/train/Zebra/d.png");
    for (int resize = 0; resize < 2; resize++) {
        ek_data_options o = {.height = 5 * resize, .width = 5 * resize, .colour = EK_COLOUR_GREY};
        assert_fails(open_tree(&d, "d", o), EK_ERR_FORMAT, " of 7 images cannot be read (mend them, remove them, or");
        assert_message(resize ? "3 of 7" : "2 of 7");
        assert_message("the first: d/train/Zebra/c.png: neither PNG, JPEG, PGM nor PPM");
        o.skip_broken = true;
        assert_int_equal(open_tree(&d, "d", o), EK_OK);
        ek_dataset_get_info(d, &info);
        assert_int_equal(info.count, 4);
        assert_int_equal(info.skipped, 3);
        assert_non_null(strstr(info.skipped_first, "Zebra/c.png: neither"));
        assert_int_equal(ek_dataset_split(d, 0.5, 1, &rest, &part), EK_OK);
        ek_dataset_free(d);
        ek_dataset_get_info(part, &info);
        assert_int_equal(info.skipped, 0);
        assert_string_equal(ek_dataset_label_text(part, 1), "ape");
        ek_dataset_free(rest);
        ek_dataset_free(part);
    }
    assert_int_equal(system("rm -r d/train/ape/*.png d/train/Zebra/[ab]*"), 0);
    assert_fails(open_tree(&d, "d", (ek_data_options){.skip_broken = true}), EK_ERR_FORMAT,
                 "d/train: none of 3 images can be read; the first: ");
}

static void knows_other_shapes_of_folders(void **state)
{
    (void)state;
    ek_dataset *d;
    make_tree();
    assert_int_equal(open_tree(&d, "d/train", (ek_data_options){0}), EK_OK); /* classes alone: training images */
    ek_dataset_free(d);
    assert_fails(open_tree(&d, "d/train", (ek_data_options){.split = EK_SPLIT_TEST}), EK_ERR_NOT_FOUND,
                 "d/train: holds no test data");
    copy("grey.png", "d/test/Zebra/1.png"); /* goes before val */
    assert_int_equal(open_tree(&d, "d", (ek_data_options){.split = EK_SPLIT_TEST}), EK_OK);
    assert_int_equal(ek_dataset_label(d, 0), 0);
    ek_dataset_free(d);
    copy("grey.png", "d/test/yak/1.png");
    assert_fails(open_tree(&d, "d", (ek_data_options){.split = EK_SPLIT_TEST}), EK_ERR_FORMAT,
                 "d/test: the class 'yak' is not among those of the training images");
    assert_fails(open_tree(&d, ".", (ek_data_options){0}), EK_ERR_NOT_FOUND, ".: holds no training data");
    setenv("EVENKEEL_DATA", folder, 1);
    assert_int_equal(open_tree(&d, "d", (ek_data_options){0}), EK_OK);
    ek_dataset_free(d);
    static const char *const names[] = {"a\nb", "a\033[1m", "\302\233x", "\233", "x\303", "\360\237\231"};
    for (int i = 0; i < 6; i++) {
        char path[64];
        snprintf(path, sizeof path, "d/train/%s", names[i]);
        assert_int_equal(mkdir(path, 0777), 0);
        assert_fails(open_tree(&d, "./d", (ek_data_options){0}), EK_ERR_FORMAT, "is not UTF-8 or has control");
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(mkdir("d/train/\303\244hre", 0777), 0);
    assert_int_equal(open_tree(&d, "d", (ek_data_options){0}), EK_OK);
    ek_dataset_free(d);
    for (int i = 0; i < 260; i++) {
        char path[64];
        snprintf(path, sizeof path, "d/train/class%d", i);
        make_folders(path);
    }
    assert_fails(open_tree(&d, "./d", (ek_data_options){0}), EK_ERR_UNSUPPORTED, "264 classes; up to 256");
    assert_fails(open_tree(&d, "d", (ek_data_options){.height = 3}), EK_ERR_ARGUMENT, "resized to 3 x 0");
    assert_fails(open_tree(&d, "d", (ek_data_options){.height = 3, .width = 65537}), EK_ERR_ARGUMENT, "1 .. 65536");
    assert_fails(open_tree(&d, "d", (ek_data_options){.colour = (ek_colour)3}), EK_ERR_ARGUMENT, "colour 3");
}

static void opens_folders_without_memory(void **state)
{
    (void)state;
    ek_status status = EK_ERR_MEMORY;
    ek_dataset *d = NULL;
    int64_t n = 0;
    make_tree();
    copy("bad-text.png", "d/train/Zebra/c.png");
    copy("rgb.png", "d/train/ape/z.png");
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 1000);
        ek_memory_fail_at(n);
        status = open_tree(&d, "./d", (ek_data_options){.height = 5, .width = 4, .skip_broken = true});
        ek_memory_fail_at(0);
        assert_true(!d == (status != EK_OK));
    }
    if (status)
        fail_msg("%s", ek_error());
    assert_in_range(n, 60, 1000);
    ek_dataset_free(d);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_kind),
        cmocka_unit_test(refuses_damaged_files),
        cmocka_unit_test(refuses_other_jpegs),
        cmocka_unit_test(refuses_two_components),
        cmocka_unit_test(survives_failing_allocations),
        cmocka_unit_test(converts_colours),
        cmocka_unit_test(resizes_as_pytorch),
        TEST(opens_a_folder_of_images),
        TEST(agrees_on_colours_and_sizes),
        TEST(counts_broken_files),
        TEST(knows_other_shapes_of_folders),
        TEST(opens_folders_without_memory),
    };
    return cmocka_run_group_tests_name("data_image", tests, NULL, NULL);
}

#else

static void refuses_without_libraries(void **state)
{
    (void)state;
    static const uint8_t png[9] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[4] = {0xff, 0xd8, 0xff};
    ek_image image;
#ifndef EK_HAVE_PNG
    assert_fails(ek_image_decode(&image, png, sizeof png, "x.png"), EK_ERR_UNSUPPORTED, "without libpng");
#endif
#ifndef EK_HAVE_JPEG
    assert_fails(ek_image_decode(&image, jpeg, sizeof jpeg, "x.jpg"), EK_ERR_UNSUPPORTED, "without libjpeg");
#endif
    (void)png, (void)jpeg, (void)image;
}

int main(void)
{
    print_message("SKIP: folders of images: this build is without libpng or libjpeg\n");
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_without_libraries)};
    return cmocka_run_group_tests_name("data_image", tests, NULL, NULL);
}

#endif
