/* SPDX-License-Identifier: MIT
 * What images go through on their way into a net: augmentation, normalisation; and data sets divided in two. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/dataset.h"
#include "net/normalize.h"
#include "op/input.h"
#include "scratch.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

/* The status, and words that the message must hold. */
static void expect(ek_status got, ek_status want, const char *words)
{
    if (got != want || !strstr(ek_error(), words))
        fail_msg("%s, \"%s\"; expected %s with \"%s\"", ek_status_name(got), ek_error(), ek_status_name(want), words);
}

static ek_augment_key key_of(int32_t sample)
{
    return (ek_augment_key){.seed = 5, .epoch = 2, .sample = sample};
}

/* ---- Augmentation ------------------------------------------------------------------------------------------- */

/* Worked out once from the contract in Python: shifted by (-1,-1), flipped, 5 x 2 erased at the second try. */
static void test_augment_known_answer(void **state)
{
    (void)state;
    static const uint8_t want[60] = {0,   0,   0,   0,   102, 125, 22,  19,  16,  13,  9,   182, 40,  37,  34,
                                     31,  103, 149, 58,  55,  52,  49,  4,   202, 76,  73,  70,  67,  104, 43,
                                     0,   0,   0,   0,   163, 23,  112, 109, 106, 103, 229, 217, 130, 127, 124,
                                     121, 25,  0,   148, 145, 142, 139, 189, 54,  166, 163, 160, 157, 16,  174};
    const ek_augmentation a = {.c = 2, .h = 5, .w = 6, .crop = 1, .flip = true, .erase = 0.5f};
    uint8_t x[60], y[61] = {0};
    for (int i = 0; i < 60; i++)
        x[i] = (uint8_t)(10 + 3 * i);
    y[60] = 77;
    ek_augment(&a, (ek_augment_key){0x123456789abcdef, 7, 53}, x, y);
    assert_memory_equal(y, want, sizeof want);
    assert_int_equal(y[60], 77);
}

enum { C = 3, H = 9, W = 7, SIZE = C * H * W };

/* Every value above 0 and different from its neighbours', so that a place can be told. */
static void numbered(uint8_t x[SIZE])
{
    for (int i = 0; i < SIZE; i++)
        x[i] = (uint8_t)(1 + i % 251);
}

/* Whether y is x shifted and perhaps flipped. */
static bool is_shifted(const uint8_t *x, const uint8_t *y, int down, int right, bool flipped)
{
    for (int c = 0; c < C; c++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++) {
                const int row = h + down, column = (flipped ? W - 1 - w : w) + right;
                const bool inside = row >= 0 && row < H && column >= 0 && column < W;
                if (y[(c * H + h) * W + w] != (inside ? x[(c * H + row) * W + column] : 0))
                    return false;
            }
    return true;
}

/* Crops and flips all turn up, as often as chance wants: chi-square with 49 degrees of freedom within 20 .. 95. */
static void test_crops_and_flips(void **state)
{
    (void)state;
    enum { CROP = 2, OFFSETS = 2 * CROP + 1, TRIALS = 5000 };
    const ek_augmentation a = {.c = C, .h = H, .w = W, .crop = CROP, .flip = true};
    int counts[OFFSETS][OFFSETS][2] = {{{0}}};
    uint8_t x[SIZE], y[SIZE];
    numbered(x);
    for (int32_t sample = 0; sample < TRIALS; sample++) {
        int found = 0;
        ek_augment(&a, key_of(sample), x, y);
        for (int i = 0; i < OFFSETS * OFFSETS * 2; i++) {
            const int down = i / 2 / OFFSETS - CROP, right = i / 2 % OFFSETS - CROP;
            if (!is_shifted(x, y, down, right, i % 2))
                continue;
            counts[down + CROP][right + CROP][i % 2]++;
            found++;
        }
        assert_int_equal(found, 1);
    }
    const double expected = TRIALS / (double)(OFFSETS * OFFSETS * 2);
    double chi2 = 0;
    for (int i = 0; i < OFFSETS * OFFSETS * 2; i++) {
        const double off = (&counts[0][0][0])[i] - expected;
        chi2 += off * off / expected;
    }
    if (!(chi2 > 20 && chi2 < 95))
        fail_msg("chi-square of crops and flips is %g", chi2);
}

/* A frame wider than the image: some windows miss it. */
static void test_wide_crops(void **state)
{
    (void)state;
    const ek_augmentation a = {.c = C, .h = H, .w = W, .crop = 20};
    uint8_t x[SIZE], y[SIZE];
    int empty = 0;
    numbered(x);
    for (int32_t sample = 0; sample < 300; sample++) {
        bool found = false, blank = true;
        ek_augment(&a, key_of(sample), x, y);
        for (int i = 0; i < 41 * 41 && !found; i++)
            found = is_shifted(x, y, i / 41 - 20, i % 41 - 20, false);
        for (int i = 0; i < SIZE; i++)
            blank = blank && !y[i];
        assert_true(found);
        empty += blank;
    }
    assert_in_range(empty, 150, 290); /* 1 - (17/41)*(13/41) = 0.87 of them */
}

static void test_nothing_changes_nothing(void **state)
{
    (void)state;
    const ek_augmentation a = {.c = C, .h = H, .w = W};
    uint8_t x[SIZE], y[SIZE];
    numbered(x);
    for (int32_t sample = 0; sample < 50; sample++) {
        memset(y, 99, sizeof y);
        ek_augment(&a, key_of(sample), x, y);
        assert_memory_equal(x, y, sizeof y);
    }
}

/* The rectangle that differs: its sides, 0 where nothing does. Inside, some bytes may chance to be the old ones. */
static void erased(const uint8_t *y, int side, int *height, int *width)
{
    int top = side, bottom = -1, left = side, right = -1;
    for (int i = 0; i < side * side; i++)
        if (y[i]) {
            top = i / side < top ? i / side : top;
            bottom = i / side;
            left = i % side < left ? i % side : left;
            right = i % side > right ? i % side : right;
        }
    *height = bottom < 0 ? 0 : bottom - top + 1;
    *width = bottom < 0 ? 0 : right - left + 1;
}

/* Areas of 2 to 40 per cent, sides in proportions of 0.3 to 3.33, in half of the images; and bytes of all sorts. */
static void test_erasing(void **state)
{
    (void)state;
    enum { SIDE = 40, TRIALS = 3000 };
    const ek_augmentation a = {.c = 1, .h = SIDE, .w = SIDE, .erase = 0.5f};
    static uint8_t x[SIDE * SIDE], y[SIDE * SIDE];
    int hit = 0, tall = 0;
    double least = 1, most = 0, sum = 0, bytes = 0, count = 0;
    for (int32_t sample = 0; sample < TRIALS; sample++) {
        int height, width;
        ek_augment(&a, key_of(sample), x, y);
        erased(y, SIDE, &height, &width);
        if (!height)
            continue;
        const double area = (double)(height * width) / (SIDE * SIDE), ratio = (double)height / width;
        hit++;
        tall += height > width;
        least = area < least ? area : least;
        most = area > most ? area : most;
        assert_true(ratio > 0.22 && ratio < 4.2); /* sides are rounded, and a rim may chance to be zeros */
        for (int i = 0; i < SIDE * SIDE; i++)
            sum += y[i];
        bytes += sum;
        sum = 0;
        count += height * width;
    }
    assert_in_range(hit, TRIALS / 2 - 110, TRIALS / 2 + 110); /* four deviations */
    assert_true(least > 0.01 && least < 0.04 && most > 0.35 && most < 0.42);
    assert_true(tall > hit / 2); /* the proportion is uniform in 0.3 .. 3.33, of which 77 per cent lie above 1 */
    assert_true(fabs(bytes / count - 127.5) < 1);
}

/* Other numbers for another seed, epoch or sample; the same for the same. */
static void test_keys_matter(void **state)
{
    (void)state;
    const ek_augmentation a = {.c = C, .h = H, .w = W, .crop = 4, .flip = true, .erase = 1};
    static const ek_augment_key keys[] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2}, {(uint64_t)1 << 32 | 1, 1, 1}};
    enum { KEYS = sizeof keys / sizeof *keys };
    uint8_t x[SIZE], y[KEYS][SIZE], again[SIZE];
    numbered(x);
    for (int i = 0; i < KEYS; i++) {
        ek_augment(&a, keys[i], x, y[i]);
        ek_augment(&a, keys[i], x, again);
        assert_memory_equal(y[i], again, SIZE);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(y[i], y[j], SIZE);
    }
}

/* ---- In a net ----------------------------------------------------------------------------------------------- */

static ek_dataset *new_data(int64_t n, int channels, int side, int classes)
{
    const int64_t size = (int64_t)channels * side * side;
    uint8_t *pixels = calloc((size_t)(n * size), 1), *labels = calloc((size_t)n, 1);
    ek_dataset *data = NULL;
    assert_true(pixels && labels);
    for (int64_t i = 0; i < n * size; i++) {
        uint32_t bits[4];
        ek_random4(3, EK_RANDOM_INIT, 0, (uint64_t)i, bits);
        pixels[i] = (uint8_t)((bits[0] >> 24) / (uint32_t)(1 + i / (side * side) % channels));
        labels[i / size] = (uint8_t)(bits[1] % (uint32_t)classes);
    }
    assert_ok(ek_dataset_from_memory(&data, n, channels, side, side, pixels, labels, classes));
    free(pixels);
    free(labels);
    return data;
}

static const char text[] = "input 3 8 8\nconv2d 4 kernel=3\nbatchnorm\nsigmoid\nflatten\nlinear 5\n";

static ek_net *new_net(void)
{
    ek_net *net = ek_net_parse(text, NULL);
    assert_ok(ek_net_init(net, EK_INIT_XAVIER, 4));
    return net;
}

static void assert_same_values(ek_net *a, ek_net *b, bool wanted)
{
    assert_int_equal(a->value_count, b->value_count);
    assert_int_equal(memcmp(a->values, b->values, a->value_count * sizeof *a->values) == 0, wanted);
}

/* Threads do not matter to it, seeds do; and a net trained with it is another one. */
static void test_augmented_training(void **state)
{
    (void)state;
    const ek_augment_options augment = {.crop = 2, .flip = true, .erase = 0.5f};
    ek_dataset *data = new_data(75, 3, 8, 5);
    ek_net *nets[6];
    for (int i = 0; i < 6; i++) {
        ek_fit_options o = {.epochs = 2, .batch_size = 40, .seed = 9, .threads = 1 + i, .augment = augment};
        o.seed += i == 4;
        if (i == 5)
            o.augment = (ek_augment_options){0};
        nets[i] = new_net();
        assert_ok(ek_fit(nets[i], data, NULL, &o));
        if (i)
            assert_same_values(nets[0], nets[i], i < 4);
    }
    assert_same_values(nets[4], nets[5], false);
    for (int i = 0; i < 6; i++)
        ek_net_free(nets[i]);
    ek_dataset_free(data);
}

/* What the trainer does is what ek_augment does: a data set that was changed beforehand trains to the same bits. */
static void test_training_augments_by_the_contract(void **state)
{
    (void)state;
    enum { N = 37, IMAGE = 3 * 64 };
    const ek_augmentation a = {.c = 3, .h = 8, .w = 8, .crop = 1, .flip = true, .erase = 0.7f};
    ek_dataset *data = new_data(N, 3, 8, 5), *changed = NULL;
    static uint8_t pixels[N][IMAGE], labels[N];
    for (int i = 0; i < N; i++) {
        ek_augment(&a, (ek_augment_key){6, 1, i}, ek_dataset_pixels(data, i), pixels[i]);
        labels[i] = (uint8_t)ek_dataset_label(data, i);
    }
    assert_ok(ek_dataset_from_memory(&changed, N, 3, 8, 8, pixels[0], labels, 5));
    ek_net *one = new_net(), *two = new_net();
    ek_fit_options o = {.epochs = 1, .batch_size = 20, .seed = 6, .threads = 2};
    assert_ok(ek_fit(two, changed, NULL, &o));
    o.augment = (ek_augment_options){.crop = 1, .flip = true, .erase = 0.7f};
    assert_ok(ek_fit(one, data, NULL, &o));
    assert_same_values(one, two, true);
    ek_net_free(one);
    ek_net_free(two);
    ek_dataset_free(data);
    ek_dataset_free(changed);
}

static void test_augment_refuses(void **state)
{
    (void)state;
    ek_dataset *data = new_data(20, 3, 8, 5);
    ek_net *net = new_net();
    expect(ek_fit(net, data, NULL, &(ek_fit_options){.augment.crop = -1}), EK_ERR_ARGUMENT, "augment.crop is -1");
    expect(ek_fit(net, data, NULL, &(ek_fit_options){.augment.crop = 1025}), EK_ERR_ARGUMENT, "0 .. 1024");
    expect(ek_fit(net, data, NULL, &(ek_fit_options){.augment.erase = NAN}), EK_ERR_ARGUMENT, "augment.erase");
    expect(ek_fit(net, data, NULL, &(ek_fit_options){.augment.erase = 1.5f}), EK_ERR_ARGUMENT, "no probability");
    ek_net_free(net);
    ek_dataset_free(data);
}

static const float mean[3] = {0.4914f, 0.25f, 0.125f}, deviation[3] = {0.247f, 0.1f, 0.0625f};

/* Prediction, evaluation and training of a net with a normalisation are those of one without on normalised values. */
static void test_normalized_prediction(void **state)
{
    (void)state;
    enum { N = 33, IMAGE = 3 * 64 };
    ek_dataset *data = new_data(N, 3, 8, 5);
    static float x[N][IMAGE], normal[N][IMAGE], want[N][5], got[N][5];
    for (int n = 0; n < N; n++)
        for (int i = 0; i < IMAGE; i++) {
            x[n][i] = (float)ek_dataset_pixels(data, n)[i] / 255.0f;
            normal[n][i] = (x[n][i] - mean[i / 64]) / deviation[i / 64];
        }
    ek_net *net = new_net();
    assert_ok(ek_predict(net, N, normal[0], 2, want[0]));
    assert_ok(ek_net_set_normalization(net, 3, mean, deviation));
    assert_ok(ek_predict(net, N, x[0], 2, got[0]));
    assert_memory_equal(want, got, sizeof want);
    ek_metrics metrics;
    assert_ok(ek_evaluate(net, data, NULL, &metrics));
    double loss = 0;
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int k = 0; k < 5; k++)
            sum += exp((double)want[n][k]);
        loss += log(sum) - (double)want[n][ek_dataset_label(data, n)];
    }
    assert_true(fabs(metrics.loss - loss / N) < 1e-6 * loss / N);
    ek_net_free(net);
    ek_dataset_free(data);
}

/* The first step of training sees the normalised images: its loss without a change of weights is that of evaluation
 * with the batch's statistics. A net with bad notes says so instead. */
static void test_normalized_training(void **state)
{
    (void)state;
    ek_dataset *data = new_data(48, 3, 8, 5);
    ek_net *plain = new_net(), *net = new_net(), *one = new_net();
    const ek_fit_options o = {.epochs = 1, .batch_size = 16, .threads = 2};
    const float zero = 0, unit = 1;
    assert_ok(ek_net_set_normalization(net, 3, mean, deviation));
    assert_ok(ek_net_set_normalization(one, 1, &zero, &unit)); /* changes no bit */
    assert_ok(ek_fit(plain, data, NULL, &o));
    assert_ok(ek_fit(net, data, NULL, &o));
    assert_ok(ek_fit(one, data, NULL, &o));
    assert_same_values(plain, net, false);
    assert_same_values(plain, one, true);
    assert_ok(ek_net_set_note(net, "input.mean", "0.1 x 0.2"));
    expect(ek_fit(net, data, NULL, &o), EK_ERR_FORMAT, "input.mean: \"x\" is no number");
    ek_net_free(plain);
    ek_net_free(net);
    ek_net_free(one);
    ek_dataset_free(data);
}

static void test_normalization_travels(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    const int fd = mkstemp(scratch_template(path, "normal"));
    assert_true(fd >= 0);
    close(fd);
    ek_net *net = new_net(), *loaded = NULL;
    bool normalized = true;
    float m[3], s[3];
    assert_ok(ek_net_normalization(net, &normalized, m, s));
    assert_true(!normalized && m[2] == 0 && s[2] == 1);
    assert_ok(ek_net_set_normalization(net, 3, mean, deviation));
    assert_string_equal(ek_net_note(net, "input.mean"), "0.4914 0.25 0.125");
    assert_ok(ek_net_save(net, path));
    assert_ok(ek_net_load(&loaded, path));
    assert_ok(ek_net_normalization(loaded, &normalized, m, s));
    assert_true(normalized);
    assert_memory_equal(m, mean, sizeof m);
    assert_memory_equal(s, deviation, sizeof s);
    assert_ok(ek_net_set_normalization(loaded, 1, NULL, NULL));
    assert_ok(ek_net_normalization(loaded, &normalized, NULL, NULL));
    assert_false(normalized);
    assert_null(ek_net_note(loaded, "input.std"));
    unlink(path);
    ek_net_free(net);
    ek_net_free(loaded);
}

static void test_normalization_refuses(void **state)
{
    (void)state;
    static const char *const bad[][3] = {{"0.1", NULL, "none called input.std"},
                                         {NULL, "0.1", "none called input.mean"},
                                         {"0.1 0.2", "1", "has 2 numbers, where its input has 3 channels"},
                                         {"0 0 0 0", "1", "has 4 numbers"},
                                         {"", "1", "has 0 numbers"},
                                         {"nan", "1", "\"nan\" is no number"},
                                         {"1e99", "1", "\"1e99\" is no number"},
                                         {"0", "0", "\"0\" is no number above 0"},
                                         {"0", "-1", "\"-1\" is no number above 0"},
                                         {"0", "1\t2 3", "is no number above 0"}};
    ek_net *net = new_net();
    float values[4] = {1, 1, 1, 1}, x[3 * 64] = {0}, logits[5];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(ek_net_set_note(net, "input.mean", bad[i][0]));
        assert_ok(ek_net_set_note(net, "input.std", bad[i][1]));
        expect(ek_net_normalization(net, NULL, values, values), EK_ERR_FORMAT, bad[i][2]);
        expect(ek_predict(net, 1, x, 1, logits), EK_ERR_FORMAT, bad[i][2]);
    }
    expect(ek_net_set_normalization(net, 2, values, values), EK_ERR_SHAPE, "2 channels: the net's input has 3");
    expect(ek_net_set_normalization(net, 3, values, NULL), EK_ERR_ARGUMENT, "or neither");
    values[1] = 0;
    expect(ek_net_set_normalization(net, 3, x, values), EK_ERR_ARGUMENT, "channel 1: mean 0 and deviation 0");
    values[1] = INFINITY;
    expect(ek_net_set_normalization(net, 3, values, x), EK_ERR_ARGUMENT, "channel 0");
    ek_net_free(net);
}

/* Means and deviations of a data set, against two passes in double. */
static void test_mean_and_deviation(void **state)
{
    (void)state;
    ek_dataset *data = new_data(40, 3, 9, 5), *flat = NULL;
    float m[3], s[3];
    assert_ok(ek_dataset_mean_std(data, m, s));
    for (int c = 0; c < 3; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < 40 * 81; i++)
            sum += ek_dataset_pixels(data, i / 81)[c * 81 + i % 81] / 255.0;
        for (int64_t i = 0; i < 40 * 81; i++)
            squares += pow(ek_dataset_pixels(data, i / 81)[c * 81 + i % 81] / 255.0 - sum / (40 * 81), 2);
        assert_true(fabs((double)m[c] - sum / (40 * 81)) < 1e-7);
        assert_true(fabs((double)s[c] - sqrt(squares / (40 * 81))) < 1e-7);
    }
    assert_true(m[0] > 1.5f * m[1]);
    uint8_t pixels[8], labels[2] = {0, 1};
    memset(pixels, 51, sizeof pixels);
    assert_ok(ek_dataset_from_memory(&flat, 2, 1, 2, 2, pixels, labels, 2));
    assert_ok(ek_dataset_mean_std(flat, m, s));
    assert_true(m[0] == 0.2f && s[0] == 1);
    ek_dataset_free(flat);
    ek_dataset_free(data);
}

/* ---- Divided ------------------------------------------------------------------------------------------------ */

static void test_split(void **state)
{
    (void)state;
    enum { N = 101 };
    ek_dataset *data = new_data(N, 1, 3, 5), *rest, *part, *again, *other;
    ek_dataset_info whole, info[3];
    assert_ok(ek_dataset_split(data, 0.2, 7, &rest, &part));
    ek_dataset_get_info(data, &whole);
    ek_dataset_get_info(rest, &info[0]);
    ek_dataset_get_info(part, &info[1]);
    assert_int_equal(info[0].count, 81);
    assert_int_equal(info[1].count, 20);
    assert_int_equal(info[1].classes, 5);
    if (*whole.digest) {
        assert_string_not_equal(info[0].digest, info[1].digest);
        assert_string_not_equal(info[0].digest, whole.digest);
    }
    /* Every sample is in one of them, in the old order. */
    int64_t at[2] = {0, 0};
    for (int64_t i = 0; i < N; i++) {
        const uint8_t *pixels = ek_dataset_pixels(data, i);
        const int which = ek_dataset_pixels(part, at[1]) == pixels;
        assert_ptr_equal(ek_dataset_pixels(which ? part : rest, at[which]), pixels);
        assert_int_equal(ek_dataset_label(which ? part : rest, at[which]), ek_dataset_label(data, i));
        at[which]++;
    }
    assert_null(ek_dataset_pixels(part, 20));
    assert_int_equal(ek_dataset_label(rest, 81), -1);
    /* The same for the same seed, another one for another. */
    assert_ok(ek_dataset_split(data, 0.2, 7, &again, &other));
    for (int64_t i = 0; i < 81; i++)
        assert_ptr_equal(ek_dataset_pixels(again, i), ek_dataset_pixels(rest, i));
    ek_dataset_get_info(again, &info[2]);
    assert_string_equal(info[2].digest, info[0].digest);
    ek_dataset_free(again);
    ek_dataset_free(other);
    assert_ok(ek_dataset_split(data, 0.2, 8, &again, &other));
    int64_t same = 0;
    for (int64_t i = 0; i < 20; i++)
        for (int64_t j = 0; j < 20; j++)
            same += ek_dataset_pixels(other, i) == ek_dataset_pixels(part, j);
    assert_in_range(same, 0, 12);
    ek_dataset_free(again);
    ek_dataset_free(other);
    /* The whole may go first, and parts have parts. */
    const uint8_t *pixels = ek_dataset_pixels(rest, 3);
    ek_dataset_free(data);
    ek_dataset_free(part);
    assert_ok(ek_dataset_split(rest, 0.5, 0, &again, &other));
    ek_dataset_free(rest);
    ek_dataset_get_info(other, &info[2]);
    assert_int_equal(info[2].count, 41);
    int found = 0;
    for (int64_t i = 0; i < 41; i++)
        found += ek_dataset_pixels(again, i) == pixels || ek_dataset_pixels(other, i) == pixels;
    assert_int_equal(found, 1);
    ek_dataset_free(again);
    ek_dataset_free(other);
}

static void test_split_refuses(void **state)
{
    (void)state;
    ek_dataset *data = new_data(2, 1, 3, 2), *rest, *part;
    static const double shares[] = {0, 1, -0.5, 2, NAN};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        expect(ek_dataset_split(data, shares[i], 0, &rest, &part), EK_ERR_ARGUMENT, "between 0 and 1");
        assert_true(!rest && !part);
    }
    assert_ok(ek_dataset_split(data, 0.001, 0, &rest, &part)); /* at least one each */
    expect(ek_dataset_split(part, 0.5, 0, &data->whole, &data->whole), EK_ERR_ARGUMENT, "one sample");
    ek_dataset_free(rest);
    ek_dataset_free(part);
    ek_dataset_free(data);
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

static ek_status all_of_it(ek_dataset *data, ek_net *net)
{
    ek_dataset *rest, *part;
    ek_status status = ek_net_set_normalization(net, 3, mean, deviation);
    if (status)
        return status;
    status = ek_dataset_split(data, 0.3, 1, &rest, &part);
    if (!status)
        status = ek_fit(net, rest, part, &(ek_fit_options){.epochs = 1, .batch_size = 16, .augment.crop = 1});
    if (!status)
        status = ek_net_normalization(net, NULL, NULL, NULL);
    ek_dataset_free(rest);
    ek_dataset_free(part);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ek_dataset *data = new_data(30, 3, 8, 5);
    ek_net *net = new_net();
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 500);
        ek_net_set_normalization(net, 1, NULL, NULL);
        ek_memory_fail_at(n);
        status = all_of_it(data, net);
        ek_memory_fail_at(0);
        const bool both = !ek_net_note(net, "input.mean") == !ek_net_note(net, "input.std");
        assert_true(both);
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 20, 500);
    ek_net_free(net);
    ek_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_augment_known_answer),
        cmocka_unit_test(test_crops_and_flips),
        cmocka_unit_test(test_wide_crops),
        cmocka_unit_test(test_nothing_changes_nothing),
        cmocka_unit_test(test_erasing),
        cmocka_unit_test(test_keys_matter),
        cmocka_unit_test(test_augmented_training),
        cmocka_unit_test(test_training_augments_by_the_contract),
        cmocka_unit_test(test_augment_refuses),
        cmocka_unit_test(test_normalized_prediction),
        cmocka_unit_test(test_normalized_training),
        cmocka_unit_test(test_normalization_travels),
        cmocka_unit_test(test_normalization_refuses),
        cmocka_unit_test(test_mean_and_deviation),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_refuses),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("input", tests, NULL, NULL);
}
