/* SPDX-License-Identifier: MIT
 * Images that stream from disk: the same bits as in memory, a bounded memory, files that change meanwhile. */
#define _GNU_SOURCE
#include "test_data.h"

#include "base/file.h"
#include "data/feed.h"
#include "data/png.h"

#include <pthread.h>
#include <sys/resource.h>
#include <utime.h>

#if defined EK_HAVE_PNG && defined EK_HAVE_JPEG

#define IMAGES EK_TEST_DIR "/fuzz/corpus/image/"

static const char *const kinds[] = {"grey.png", "rgb.png",  "rgb.jpg",  "palette.png",
                                    "cmyk.jpg", "bits.png", "grey.jpg", "progressive.jpeg"};

/* `count` files in three classes of the split, of several sizes and formats. */
static void make_photos(const char *split, int count)
{
    for (int i = 0; i < count; i++) {
        const char *kind = kinds[i * 5 % 8];
        char from[1024], to[128];
        unsigned char *data;
        size_t size;
        snprintf(from, sizeof from, "%s%s", IMAGES, kind);
        snprintf(to, sizeof to, "d/%s/%c", split, 'a' + i % 3);
        make_folders(to);
        snprintf(to, sizeof to, "d/%s/%c/%03d%s", split, 'a' + i % 3, i, strrchr(kind, '.'));
        if (ek_file_read(from, 1 << 20, &data, &size))
            fail_msg("%s", ek_error());
        put(to, data, size);
        ek_free(data);
    }
}

static ek_dataset *open_as(ek_split split, ek_streaming stream, int64_t memory)
{
    ek_dataset *d;
    if (ek_dataset_open_with(&d, "./d",
                             &(ek_data_options){.split = split,
                                                .height = 12,
                                                .width = 10,
                                                .colour = EK_COLOUR_RGB,
                                                .stream = stream,
                                                .memory_limit = memory}))
        fail_msg("%s", ek_error());
    return d;
}

enum { SIZE = 3 * 12 * 10 };

static bool streams(const ek_dataset *d)
{
    ek_dataset_info info;
    ek_dataset_get_info(d, &info);
    return info.streams;
}

/* ---- What comes out ------------------------------------------------------------------------------------------ */

static void gives_the_same_images(void **state)
{
    (void)state;
    make_photos("train", 41);
    ek_dataset *in = open_as(EK_SPLIT_TRAIN, EK_STREAM_NO, 0), *out = open_as(EK_SPLIT_TRAIN, EK_STREAM_YES, 0);
    ek_dataset_info a, b;
    uint8_t pixels[SIZE];
    ek_dataset_get_info(in, &a);
    ek_dataset_get_info(out, &b);
    assert_true(b.streams && !a.streams);
    assert_true(a.count == 41 && b.count == 41 && b.channels == 3 && b.height == 12 && b.width == 10 &&
                b.classes == 3);
    assert_int_equal(strncmp(b.digest, *a.digest ? "files-sha256:" : "", 13), 0);
    for (int i = 0; i < 41; i++) {
        assert_null(ek_dataset_pixels(out, i));
        assert_int_equal(ek_dataset_label(out, i), ek_dataset_label(in, i));
        assert_int_equal(ek_dataset_read(out, i, pixels), EK_OK);
        assert_memory_equal(pixels, ek_dataset_pixels(in, i), SIZE);
        memset(pixels, 0, SIZE);
        assert_int_equal(ek_dataset_read(in, i, pixels), EK_OK);
        assert_memory_equal(pixels, ek_dataset_pixels(in, i), SIZE);
    }
    assert_fails(ek_dataset_read(out, 41, pixels), EK_ERR_ARGUMENT, "0 .. 40");
    float numbers[2][6];
    assert_int_equal(ek_dataset_mean_std(in, numbers[0], numbers[0] + 3), EK_OK);
    assert_int_equal(ek_dataset_mean_std(out, numbers[1], numbers[1] + 3), EK_OK);
    assert_memory_equal(numbers[0], numbers[1], sizeof numbers[0]);
    assert_int_equal(ek_dataset_save_sheet(in, 3, 9, 4, "in.png"), EK_OK);
    assert_int_equal(ek_dataset_save_sheet(out, 3, 9, 4, "out.png"), EK_OK);
    assert_int_equal(system("cmp in.png out.png"), 0);
    ek_dataset_free(in);
    ek_dataset_free(out);
}

static void decides_by_the_limit(void **state)
{
    (void)state;
    ek_dataset *d;
    make_photos("train", 6);
    d = open_as(EK_SPLIT_TRAIN, EK_STREAM_AUTO, 6 * SIZE);
    assert_false(streams(d));
    ek_dataset_free(d);
    d = open_as(EK_SPLIT_TRAIN, EK_STREAM_AUTO, 6 * SIZE - 1);
    assert_true(streams(d));
    ek_dataset_free(d);
    d = open_as(EK_SPLIT_TRAIN, EK_STREAM_NO, 1);
    assert_false(streams(d));
    ek_dataset_free(d);
    d = open_as(EK_SPLIT_TRAIN, EK_STREAM_AUTO, 0);
    assert_false(streams(d));
    ek_dataset_free(d);
    assert_fails(ek_dataset_open_with(&d, "./d", &(ek_data_options){.stream = (ek_streaming)3}), EK_ERR_ARGUMENT,
                 "stream 3");
    assert_fails(ek_dataset_open_with(&d, "./d", &(ek_data_options){.memory_limit = -1}), EK_ERR_ARGUMENT, "-1");
    tiny t;
    make_tiny(&t, "tiny", 1);
    put_tiny(&t, "idx");
    assert_fails(ek_dataset_open_with(&d, "./idx", &(ek_data_options){.stream = EK_STREAM_YES}), EK_ERR_UNSUPPORTED,
                 "kept in memory");
}

/* Any order, whatever the threads and the ring; passes that end early; two feeds at once. */
static void feeds_every_order(void **state)
{
    (void)state;
    const uint8_t *images[8];
    uint8_t labels[8];
    int32_t ids[8], order[37];
    make_photos("train", 37);
    ek_dataset *in = open_as(EK_SPLIT_TRAIN, EK_STREAM_NO, 0),
               *out = open_as(EK_SPLIT_TRAIN, EK_STREAM_YES, 32 * SIZE);
    for (int threads = 1; threads <= 5; threads++) {
        ek_feed *feed, *other;
        assert_int_equal(ek_feed_new(&feed, out, 8, threads), EK_OK);
        assert_int_equal(ek_feed_new(&other, out, 5, 1), EK_OK);
        ek_feed_begin(other, NULL, 0);
        for (int pass = 0; pass < 4; pass++) {
            for (int i = 0; i < 37; i++)
                order[i] = (i * (5 + pass) + threads) % 37;
            const int first = pass == 3 ? 11 : 0; /* a pass that is taken up in the middle */
            ek_feed_begin(feed, order, first);
            for (int begin = first; begin < (pass == 1 ? 16 : 37); begin += 8) {
                const int count = 37 - begin < 8 ? 37 - begin : 8;
                assert_int_equal(ek_feed_next(feed, count, images, labels, ids), EK_OK);
                for (int i = 0; i < count; i++) {
                    assert_int_equal(ids[i], order[begin + i]);
                    assert_int_equal(labels[i], ek_dataset_label(in, ids[i]));
                    assert_memory_equal(images[i], ek_dataset_pixels(in, ids[i]), SIZE);
                }
            }
        }
        assert_int_equal(ek_feed_next(other, 5, images, NULL, NULL), EK_OK);
        for (int i = 0; i < 5; i++)
            assert_memory_equal(images[i], ek_dataset_pixels(in, i), SIZE);
        ek_feed_free(feed);
        ek_feed_free(other);
    }
    ek_feed *feed;
    assert_fails(ek_feed_new(&feed, out, 9, 1), EK_ERR_ARGUMENT, "two batches of 9 images of 360 bytes take more");
    assert_null(feed);
    ek_dataset_free(in);
    ek_dataset_free(out);
}

/* ---- Training ------------------------------------------------------------------------------------------------ */

static ek_net *small_net(void)
{
    const char *const text = "input 3 12 10\nconv2d 4 kernel=3\nbatchnorm\nrelu\nflatten\nlinear 3\n";
    ek_net *net = ek_net_parse(text, "net");
    if (!net || ek_net_init(net, EK_INIT_HE, 3))
        fail_msg("%s", ek_error());
    return net;
}

static int stop_in_epoch_two(void *user, const ek_fit_event *event)
{
    (void)user;
    return event->epoch == 2 && event->step == 2;
}

static ek_status fit(ek_net *net, const ek_dataset *train, const ek_dataset *val, int threads)
{
    return ek_fit(net, train, val,
                  &(ek_fit_options){.epochs = 3,
                                    .batch_size = 16,
                                    .lr = 0.05F,
                                    .threads = threads,
                                    .seed = 5,
                                    .augment = {.crop = 2, .flip = true, .erase = 0.5F}});
}

static void check_model(ek_net *net, const char *path)
{
    char command[64];
    assert_int_equal(ek_net_set_note(net, "data.digest", NULL), EK_OK);
    assert_int_equal(ek_net_save(net, path), EK_OK);
    snprintf(command, sizeof command, "cmp model %s", path);
    assert_int_equal(system(command), 0);
    ek_net_free(net);
}

static void trains_to_the_same_bits(void **state)
{
    (void)state;
    make_photos("train", 90);
    make_photos("val", 30);
    ek_dataset *in[2], *out[2];
    ek_metrics metrics[2];
    for (int split = 0; split < 2; split++) {
        in[split] = open_as((ek_split)split, EK_STREAM_NO, 0);
        out[split] = open_as((ek_split)split, EK_STREAM_YES, 70 * SIZE);
    }
    ek_net *net = small_net();
    assert_int_equal(fit(net, in[0], in[1], 2), EK_OK);
    assert_int_equal(ek_evaluate(net, in[1], NULL, &metrics[0]), EK_OK);
    check_model(net, "model");
    for (int threads = 1; threads <= 3; threads++) {
        net = small_net();
        if (fit(net, out[0], out[1], threads))
            fail_msg("%s", ek_error());
        assert_int_equal(ek_evaluate(net, out[1], &(ek_eval_options){.threads = threads}, &metrics[1]), EK_OK);
        assert_memory_equal(&metrics[0], &metrics[1], sizeof metrics[0]);
        check_model(net, "streamed");
    }
    net = small_net();
    assert_int_equal(
        ek_fit(net, out[0], out[1], &(ek_fit_options){.epochs = 3, .batch_size = 16, .on_event = stop_in_epoch_two}),
        EK_ERR_STOPPED);
    ek_dataset *rest[2], *part[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(ek_dataset_split(i ? out[0] : in[0], 0.3, 4, &rest[i], &part[i]), EK_OK);
    assert_true(streams(part[1]));
    for (int i = 0; i < 2; i++) {
        ek_net_free(net);
        net = small_net();
        assert_int_equal(fit(net, rest[i], part[i], 2), EK_OK);
        ek_net_set_note(net, "data.digest", NULL);
        assert_int_equal(ek_net_save(net, i ? "part" : "model"), EK_OK);
        ek_dataset_free(i ? out[0] : in[0]);
        ek_dataset_free(i ? out[1] : in[1]);
    }
    check_model(net, "part");
    for (int i = 0; i < 2; i++) {
        ek_dataset_free(rest[i]);
        ek_dataset_free(part[i]);
    }
}

/* ---- Files that change --------------------------------------------------------------------------------------- */

/* Exact statistics, where all images fit into half of the memory and where they are decoded in each pass; in batches of
 * sixteens. */
static void measures_the_same_bits(void **state)
{
    (void)state;
    make_photos("train", 41);
    for (int way = 0; way < 3; way++) {
        ek_dataset *data = open_as(EK_SPLIT_TRAIN, way ? EK_STREAM_YES : EK_STREAM_NO, 8 * 20 * SIZE);
        ek_net *net = small_net();
        if (ek_calibrate(net, data, &(ek_calibrate_options){.threads = way + 1, .memory = way > 1 ? 1 : 0}))
            fail_msg("%s", ek_error());
        assert_non_null(ek_net_note(net, "statistics"));
        assert_int_equal(ek_net_set_note(net, "statistics", NULL), EK_OK); /* with the data's digest */
        if (way == 0)
            assert_int_equal(ek_net_save(net, "model"), EK_OK);
        check_model(net, way ? "other" : "model");
        ek_dataset_free(data);
    }
}

static void names_files_that_fail(void **state)
{
    (void)state;
    make_photos("train", 60);
    for (int threads = 1; threads <= 4; threads++) {
        ek_dataset *d = open_as(EK_SPLIT_TRAIN, EK_STREAM_YES, 0);
        const uint8_t *images[10];
        uint8_t pixels[SIZE];
        ek_feed *feed;
        assert_int_equal(rename("d/train/b/010.jpg", "kept"), 0); /* samples 20 .. 39 are b's: 1, 4, 7, 10 .. */
        put("d/train/b/013.png", "short", 5);
        assert_int_equal(ek_feed_new(&feed, d, 10, threads), EK_OK);
        for (int pass = 0; pass < 2; pass++) { /* once more after a failure */
            ek_feed_begin(feed, NULL, 0);
            assert_int_equal(ek_feed_next(feed, 10, images, NULL, NULL), EK_OK);
            assert_int_equal(ek_feed_next(feed, 10, images, NULL, NULL), EK_OK);
            assert_fails(ek_feed_next(feed, 10, images, NULL, NULL), EK_ERR_NOT_FOUND, "d/train/b/010.jpg: ");
        }
        ek_feed_free(feed);
        assert_fails(ek_dataset_read(d, 24, pixels), EK_ERR_FORMAT, "d/train/b/013.png: the file was changed");
        ek_net *net = small_net();
        assert_true(fit(net, d, NULL, threads) != EK_OK);
        assert_message("epoch 1, step ");
        assert_message("d/train/b/01");
        ek_net_free(net);
        ek_dataset_free(d);
        assert_int_equal(rename("kept", "d/train/b/010.jpg"), 0);
        assert_int_equal(unlink("d/train/b/013.png"), 0);
        make_photos("train", 60);
    }
}

/* A large file that is cut short takes long to fail, one that vanished no time; the first in the order is told. */
static void names_the_first_that_fails(void **state)
{
    (void)state;
    enum { SIDE = 1500 };
    uint8_t row[SIDE];
    ek_png *png;
    make_photos("train", 6); /* a's: 000, 003 */
    assert_int_equal(ek_png_begin(&png, "d/train/a/001.png", SIDE, SIDE, 1), EK_OK);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++)
            row[x] = (uint8_t)(x * x + 31 * y * x + y * y / 7);
        assert_int_equal(ek_png_rows(png, row, 1), EK_OK);
    }
    assert_int_equal(ek_png_commit(png), EK_OK);
    assert_int_equal(system("truncate -s -100 d/train/a/001.png"), 0);
    ek_dataset *d = open_as(EK_SPLIT_TRAIN, EK_STREAM_YES, 0);
    assert_int_equal(system("rm d/train/a/003*"), 0);
    for (int threads = 1; threads <= 3; threads++) {
        const uint8_t *images[7];
        ek_feed *feed;
        assert_int_equal(ek_feed_new(&feed, d, 7, threads), EK_OK);
        ek_feed_begin(feed, NULL, 0);
        assert_fails(ek_feed_next(feed, 7, images, NULL, NULL), EK_ERR_FORMAT, "d/train/a/001.png: ");
        ek_feed_free(feed);
    }
    ek_dataset_free(d);
}

static void skips_what_is_broken_at_opening(void **state)
{
    (void)state;
    ek_dataset *d;
    ek_dataset_info info;
    uint8_t pixels[SIZE];
    make_photos("train", 12);
    assert_int_equal(system("head -c 200 d/train/a/006.jpg >d/train/a/006b.jpg"), 0);
    ek_data_options o = {
        .height = 12, .width = 10, .colour = EK_COLOUR_RGB, .stream = EK_STREAM_YES, .skip_broken = true};
    assert_int_equal(ek_dataset_open_with(&d, "./d", &o), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_true(info.count == 12 && info.skipped == 1);
    assert_non_null(strstr(info.skipped_first, "d/train/a/006b.jpg: "));
    for (int i = 0; i < 12; i++)
        assert_int_equal(ek_dataset_read(d, i, pixels), EK_OK);
    ek_dataset_free(d);
    o.skip_broken = false;
    assert_int_equal(ek_dataset_open_with(&d, "./d", &o), EK_OK); /* it is told when it is needed */
    ek_net *net = small_net();
    assert_true(fit(net, d, NULL, 2) == EK_ERR_FORMAT);
    assert_message("d/train/a/006b.jpg: ");
    ek_net_free(net);
    ek_dataset_free(d);
    o.colour = EK_COLOUR_AUTO; /* headers are read */
    o.skip_broken = true;
    assert_int_equal(ek_dataset_open_with(&d, "./d", &o), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_true(info.count == 12 && info.skipped == 1);
    ek_dataset_free(d);
}

/* ---- Memory -------------------------------------------------------------------------------------------------- */

static int64_t peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* a sanitizer keeps what was freed */
#endif

/* 64 images of 256 KiB are 16 MiB; with a limit of 4 MiB two passes take no more than that and the files in hand. */
static void keeps_the_limit(void **state)
{
    (void)state;
    enum { LIMIT = 4 << 20, COUNT = 64 };
    ek_data_options o = {.height = 512, .width = 512, .colour = EK_COLOUR_GREY, .memory_limit = LIMIT};
    ek_dataset *d;
    ek_feed *feed;
    const uint8_t *images[4];
    make_photos("train", COUNT);
    assert_int_equal(ek_dataset_open_with(&d, "./d", &o), EK_OK);
    assert_true(streams(d));
    uint8_t *pixels = malloc(512 * 512);
    assert_non_null(pixels);
    for (int i = 0; i < 8; i++) /* the decoders' libraries are there then */
        assert_int_equal(ek_dataset_read(d, i, pixels), EK_OK);
    free(pixels);
    const int64_t before = peak();
    assert_int_equal(ek_feed_new(&feed, d, 4, 2), EK_OK);
    for (int pass = 0; pass < (SANITIZED ? 1 : 2); pass++) {
        ek_feed_begin(feed, NULL, 0);
        for (int i = 0; i < COUNT; i += 4)
            assert_int_equal(ek_feed_next(feed, 4, images, NULL, NULL), EK_OK);
    }
    ek_feed_free(feed);
    ek_dataset_free(d);
    const int64_t more = peak() - before;
    if (!SANITIZED && more > LIMIT)
        fail_msg("%lld bytes more", (long long)more);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    make_photos("train", 6);
    while (status == EK_ERR_MEMORY) {
        ek_dataset *d = NULL;
        ek_feed *feed = NULL;
        const uint8_t *images[3];
        assert_in_range(++n, 1, 1000);
        ek_memory_fail_at(n);
        status = ek_dataset_open_with(
            &d, "./d", &(ek_data_options){.height = 5, .width = 4, .stream = EK_STREAM_YES, .skip_broken = true});
        status = status ? status : ek_feed_new(&feed, d, 3, 2);
        if (!status) {
            ek_feed_begin(feed, NULL, 0);
            for (int i = 0; i < 6 && !status; i += 3)
                status = ek_feed_next(feed, 3, images, NULL, NULL);
        }
        ek_feed_free(feed);
        ek_memory_fail_at(0);
        ek_dataset_free(d);
    }
    if (status)
        fail_msg("%s", ek_error());
    assert_in_range(n, 60, 1000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_the_limit), /* first: the peak of a process never falls */
        TEST(gives_the_same_images),
        TEST(decides_by_the_limit),
        TEST(feeds_every_order),
        TEST(trains_to_the_same_bits),
        TEST(measures_the_same_bits),
        TEST(names_files_that_fail),
        TEST(names_the_first_that_fails),
        TEST(skips_what_is_broken_at_opening),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("data_stream", tests, NULL, NULL);
}

#else

int main(void)
{
    print_message("SKIP: images that stream: this build is without libpng or libjpeg\n");
    return 0;
}

#endif
