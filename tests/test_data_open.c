/* SPDX-License-Identifier: MIT
 * Opening data sets: where they are looked for, what they are taken for, and whether their files fit together. */
#define _GNU_SOURCE
#include "test_data.h"

/* Two known sets, and the end of the table. */
static tiny one, two;
static ek_known_set sets[3];

static int make_sets(void **state)
{
    (void)state;
    make_tiny(&one, "one", 1);
    make_tiny(&two, "two", 2);
    sets[0] = one.set;
    sets[1] = two.set;
    return 0;
}

static ek_status open_set(ek_dataset **dataset, const char *name, ek_split split)
{
    return ek_dataset_open_among(dataset, name, &(ek_data_options){.split = split}, sets);
}

/* What opened is `t`'s split, from `path`. */
static void assert_opens(const tiny *t, const char *name, ek_split split, const char *path)
{
    ek_dataset *d;
    ek_dataset_info info;
    if (open_set(&d, name, split))
        fail_msg("%s", ek_error());
    ek_dataset_get_info(d, &info);
    int64_t n = split == EK_SPLIT_TRAIN ? 6 : 3;
    assert_string_equal(info.path, path);
    assert_string_equal(info.name, ek_digest_available() || strchr(name, '/') == NULL ? t->set.name : "");
    assert_int_equal(info.count, n);
    assert_int_equal(info.channels, 1);
    assert_int_equal(info.height, 4);
    assert_int_equal(info.width, 5);
    assert_int_equal(info.classes, 3);
    for (int64_t i = 0; i < n; i++) {
        assert_memory_equal(ek_dataset_pixels(d, i), t->file[split][EK_IDX_IMAGES].data + 16 + 20 * i, 20);
        assert_int_equal(ek_dataset_label(d, i), t->file[split][EK_IDX_LABELS].data[8 + i]);
    }
    assert_null(ek_dataset_pixels(d, -1));
    assert_null(ek_dataset_pixels(d, n));
    assert_int_equal(ek_dataset_label(d, n), -1);
    ek_dataset_free(d);
}

static void assert_refuses(const char *name, ek_split split, ek_status status, const char *part)
{
    ek_dataset *d = (ek_dataset *)sets;
    assert_fails(open_set(&d, name, split), status, part);
    assert_null(d);
}

/* ---- Where --------------------------------------------------------------------------------------------------- */

static void opens_a_folder(void **state)
{
    (void)state;
    put_tiny(&one, "some/folder");
    assert_opens(&one, "some/folder", EK_SPLIT_TRAIN, "some/folder");
    assert_opens(&one, "./some/folder/", EK_SPLIT_TEST, "./some/folder/");
    assert_int_equal(chdir("some"), 0);
    ek_dataset *d;
    assert_int_equal(open_set(&d, "folder", EK_SPLIT_TEST), EK_OK);
    ek_dataset_free(d);
}

/* Each place is taken before those after it. */
static void looks_in_order(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE + 64];
    put_tiny(&one, ".cache/evenkeel/one");
    snprintf(path, sizeof path, "%s/.cache/evenkeel/one", folder);
    assert_opens(&one, "one", EK_SPLIT_TRAIN, path);
    put_tiny(&one, "xdg/evenkeel/one");
    snprintf(path, sizeof path, "%s/xdg", folder);
    setenv("XDG_CACHE_HOME", path, 1);
    strcat(path, "/evenkeel/one");
    assert_opens(&one, "one", EK_SPLIT_TEST, path);
    put_tiny(&one, "data");
    setenv("EVENKEEL_DATA", "data", 1);
    assert_opens(&one, "one", EK_SPLIT_TRAIN, "data");
    put_tiny(&one, "data/one");
    assert_opens(&one, "one", EK_SPLIT_TRAIN, "data/one");
}

/* A known name is never the folder of that name at hand, which may hold anything; "./one" is. */
static void takes_known_names_for_names(void **state)
{
    (void)state;
    put_tiny(&two, "one");
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND, "one: not found in");
    assert_opens(&two, "./one", EK_SPLIT_TRAIN, "./one");
}

static void opens_other_names(void **state)
{
    (void)state;
    ek_dataset *d;
    bytes images = idx_images(2, 3, 3, 0), labels = idx_labels(2, (unsigned char[]){0, 4});
    make_folders("data/mine");
    put_bytes("data/mine/train-images-idx3-ubyte", &images);
    put_bytes("data/mine/train-labels-idx1-ubyte", &labels);
    setenv("EVENKEEL_DATA", "data", 1);
    assert_int_equal(open_set(&d, "mine", EK_SPLIT_TRAIN), EK_OK);
    assert_string_equal(ek_dataset_label_text(d, 4), "4");
    ek_dataset_free(d);
    put_tiny(&one, "data"); /* not taken for what nobody knows */
    assert_refuses("nine", EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND,
                   "nine: neither a folder nor a data set (known are one, two)");
}

static void says_where_it_looked(void **state)
{
    (void)state;
    char text[SCRATCH_SIZE + 256];
    snprintf(text, sizeof text,
             "one: not found in $EVENKEEL_DATA (not set), %s/.cache/evenkeel/one, "
             "/usr/share/datasets/one; get it with `evenkeel data fetch one`",
             folder);
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND, text);
    sets[0].package = "dataset-one";
    setenv("EVENKEEL_DATA", "/nowhere", 1);
    unsetenv("HOME");
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND,
                   "in /nowhere/one, /nowhere, /usr/share/datasets/one; get it "
                   "with `evenkeel data fetch one`, or on Debian `apt-get install dataset-one`");
    assert_refuses("no/folder", EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND, "no/folder: no such folder");
    assert_refuses("/", EK_SPLIT_TEST, EK_ERR_NOT_FOUND, "/: holds no test data: neither t10k-images-idx3-ubyte");
    assert_refuses("", EK_SPLIT_TRAIN, EK_ERR_ARGUMENT, "is empty");
    assert_refuses(NULL, EK_SPLIT_TRAIN, EK_ERR_ARGUMENT, "is empty");
    assert_refuses("one", (ek_split)7, EK_ERR_ARGUMENT, "split 7");
    char endless[9000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_refuses(endless, EK_SPLIT_TRAIN, EK_ERR_NOT_FOUND, "xxx");
    endless[0] = '/';
    assert_refuses(endless, EK_SPLIT_TRAIN, EK_ERR_IO, "longer than the system allows");
}

#ifdef EK_HAVE_ZLIB
static void opens_packed_files(void **state)
{
    (void)state;
    make_folders("d");
    bytes images = gzipped(two.file[0][0].data, two.file[0][0].size);
    put_bytes("d/train-images-idx3-ubyte.gz", &images);
    put_bytes("d/train-labels-idx1-ubyte", &two.file[0][1]);
    assert_opens(&two, "./d", EK_SPLIT_TRAIN, "./d");
}
#endif

/* ---- What ---------------------------------------------------------------------------------------------------- */

/* MNIST under Fashion-MNIST's name, in small. */
static void notices_another_set(void **state)
{
    (void)state;
    put_tiny(&two, "data/one");
    setenv("EVENKEEL_DATA", "data", 1);
    if (!ek_digest_available())
        skip();
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_DIGEST, "data/one holds two, not one; put the right files there");
    put_bytes("data/one/train-images-idx3-ubyte", &one.file[0][0]);
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_DIGEST,
                   "data/one/train-labels-idx1-ubyte: the file is two's, not one's");
    put_tiny(&one, "data/kept-copy");
    assert_refuses("kept-copy", EK_SPLIT_TEST, EK_ERR_DIGEST, "data/kept-copy holds one, not kept-copy");
    assert_opens(&one, "data/kept-copy", EK_SPLIT_TEST, "data/kept-copy");
}

static void notices_a_changed_byte(void **state)
{
    (void)state;
    put_tiny(&one, "data/one");
    setenv("EVENKEEL_DATA", "data", 1);
    bytes images = one.file[0][0];
    images.data[40] ^= 1;
    put_bytes("data/one/train-images-idx3-ubyte", &images);
    if (!ek_digest_available())
        skip();
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_DIGEST,
                   "data/one/train-images-idx3-ubyte: not the file of one: SHA-256");
    assert_opens(&one, "one", EK_SPLIT_TEST, "data/one");
    ek_dataset *d;
    ek_dataset_info info;
    assert_int_equal(open_set(&d, "data/one", EK_SPLIT_TRAIN), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_string_equal(info.name, "");
    assert_string_equal(ek_dataset_label_text(d, 1), "1");
    ek_dataset_free(d);
}

/* A build without digests compares what it can. */
static void notices_another_shape(void **state)
{
    (void)state;
    put_tiny(&one, "data/one");
    setenv("EVENKEEL_DATA", "data", 1);
    bytes images = idx_images(6, 5, 5, 0);
    put_bytes("data/one/train-images-idx3-ubyte", &images);
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_DIGEST,
                   ek_digest_available() ? "not the file of one" : "6 images of 1 x 5 x 5 are not one");
}

static void tells_labels_in_words(void **state)
{
    (void)state;
    ek_dataset *d;
    put_tiny(&one, "data/one");
    setenv("EVENKEEL_DATA", "data", 1);
    assert_int_equal(open_set(&d, "one", EK_SPLIT_TEST), EK_OK);
    assert_string_equal(ek_dataset_label_text(d, 0), "red");
    assert_string_equal(ek_dataset_label_text(d, 2), "blue");
    assert_null(ek_dataset_label_text(d, 3));
    assert_null(ek_dataset_label_text(d, -1));
    ek_dataset_free(d);
}

/* The digest: SHA-256 of the two files' digests, a line each; the same from files, from .gz and from memory. */
static void digests_decoded_content(void **state)
{
    (void)state;
    if (!ek_digest_available())
        skip();
    char text[EK_DIGEST_TEXT], lines[2 * EK_DIGEST_TEXT + 1];
    snprintf(lines, sizeof lines, "%s\n%s\n", one.digest[0][0], one.digest[0][1]);
    ek_digest digest;
    assert_int_equal(ek_digest_begin(&digest), EK_OK);
    ek_digest_add(&digest, lines, strlen(lines));
    ek_digest_end(&digest, text);
    ek_dataset *d;
    ek_dataset_info info;
    put_tiny(&one, "d");
    assert_int_equal(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_int_equal(strncmp(info.digest, "sha256:", 7), 0);
    assert_string_equal(info.digest + 7, text);
    ek_dataset *m;
    assert_int_equal(ek_dataset_from_memory(&m, 6, 1, 4, 5, d->pixels, d->labels, 3), EK_OK);
    ek_dataset_free(d);
    ek_dataset_get_info(m, &info);
    assert_string_equal(info.digest + 7, text);
    ek_dataset_free(m);
}

/* ---- Whether the files fit ----------------------------------------------------------------------------------- */

static void refuses_other_counts(void **state)
{
    (void)state;
    put_tiny(&one, "d");
    bytes labels = idx_labels(5, (unsigned char[]){0, 1, 2, 0, 1});
    put_bytes("d/train-labels-idx1-ubyte", &labels);
    assert_refuses("./d", EK_SPLIT_TRAIN, EK_ERR_FORMAT,
                   "./d/train-labels-idx1-ubyte: 5 labels, but ./d/train-images-idx3-ubyte has 6 images");
}

static void refuses_a_missing_partner(void **state)
{
    (void)state;
    put_tiny(&one, "data/one");
    assert_int_equal(unlink("data/one/train-labels-idx1-ubyte"), 0);
    assert_refuses("data/one", EK_SPLIT_TRAIN, EK_ERR_FORMAT, "data/one: train-labels-idx1-ubyte is missing");
    setenv("EVENKEEL_DATA", "data", 1);
    assert_int_equal(unlink("data/one/t10k-images-idx3-ubyte"), 0);
    assert_refuses("one", EK_SPLIT_TEST, EK_ERR_FORMAT, "data/one: t10k-images-idx3-ubyte is missing");
}

/* The largest training label counts the classes of both splits. */
static void counts_classes_by_training_labels(void **state)
{
    (void)state;
    ek_dataset *d;
    make_folders("d");
    bytes images = idx_images(2, 3, 3, 0), labels = idx_labels(2, (unsigned char[]){0, 1});
    bytes training = idx_labels(3, (unsigned char[]){0, 6, 1});
    put_bytes("d/t10k-images-idx3-ubyte", &images);
    put_bytes("d/t10k-labels-idx1-ubyte", &labels);
    assert_int_equal(open_set(&d, "./d", EK_SPLIT_TEST), EK_OK);
    assert_int_equal(d->classes, 2); /* alone it has its own */
    ek_dataset_free(d);
    put_bytes("d/train-labels-idx1-ubyte", &training);
    assert_int_equal(open_set(&d, "./d", EK_SPLIT_TEST), EK_OK);
    assert_int_equal(d->classes, 7);
    ek_dataset_free(d);
    labels = idx_labels(2, (unsigned char[]){0, 7});
    put_bytes("d/t10k-labels-idx1-ubyte", &labels);
    assert_refuses("./d", EK_SPLIT_TEST, EK_ERR_FORMAT,
                   "./d/t10k-labels-idx1-ubyte: label 7 of sample 1; there are 7 classes, so labels end at 6");
    training.size--;
    put_bytes("d/train-labels-idx1-ubyte", &training);
    assert_refuses("./d", EK_SPLIT_TEST, EK_ERR_FORMAT, "./d/train-labels-idx1-ubyte: 10 bytes");
}

static void refuses_damaged_files(void **state)
{
    (void)state;
    put_tiny(&one, "data/one");
    setenv("EVENKEEL_DATA", "data", 1);
    put("data/one/train-images-idx3-ubyte", "<html>", 6);
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_FORMAT, "data/one/train-images-idx3-ubyte: no IDX file");
    put("data/one/train-labels-idx1-ubyte", "", 0);
    assert_refuses("one", EK_SPLIT_TRAIN, EK_ERR_FORMAT, "data/one/train-labels-idx1-ubyte: ends inside");
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    put_tiny(&one, "d");
    bytes test = idx_images(3, 2, 2, 0);
    put_bytes("d/t10k-images-idx3-ubyte", &test); /* unknown: the training labels are asked as well */
    for (ek_split split = EK_SPLIT_TRAIN; split <= EK_SPLIT_TEST; split++) {
        ek_status status = EK_ERR_MEMORY;
        int64_t n = 0;
        while (status == EK_ERR_MEMORY) {
            assert_in_range(++n, 1, 100);
            ek_dataset *d;
            ek_memory_fail_at(n);
            status = open_set(&d, "./d", split);
            ek_memory_fail_at(0);
            assert_int_equal(status == EK_OK, d != NULL);
            ek_dataset_free(d);
        }
        assert_int_equal(status, EK_OK);
        assert_in_range(n, 8, 100);
    }
}

/* ---- From memory --------------------------------------------------------------------------------------------- */

static void copies_memory(void **state)
{
    (void)state;
    uint8_t pixels[2 * 3 * 2 * 2], labels[2] = {1, 0};
    for (int i = 0; i < 24; i++)
        pixels[i] = (uint8_t)(10 * i);
    ek_dataset *d;
    ek_dataset_info info;
    assert_int_equal(ek_dataset_from_memory(&d, 2, 3, 2, 2, pixels, labels, 2), EK_OK);
    memset(pixels, 0, sizeof pixels);
    memset(labels, 0, sizeof labels);
    ek_dataset_get_info(d, &info);
    assert_string_equal(info.name, "");
    assert_string_equal(info.path, "");
    assert_int_equal(info.count, 2);
    assert_int_equal(info.channels, 3);
    assert_int_equal(info.classes, 2);
    assert_int_equal(ek_dataset_pixels(d, 1)[11], 230);
    assert_int_equal(ek_dataset_label(d, 0), 1);
    assert_string_equal(ek_dataset_label_text(d, 1), "1");
    ek_dataset_free(d);
    ek_dataset_free(NULL);
}

static void refuses_wrong_memory(void **state)
{
    (void)state;
    uint8_t bytes4[4] = {0, 1, 2, 3};
    ek_dataset *d;
    assert_fails(ek_dataset_from_memory(&d, 0, 1, 1, 1, bytes4, bytes4, 4), EK_ERR_ARGUMENT, "n is 0");
    assert_fails(ek_dataset_from_memory(&d, INT64_MAX, 1, 1, 1, bytes4, bytes4, 4), EK_ERR_ARGUMENT, "n is 9223");
    assert_fails(ek_dataset_from_memory(&d, 4, 0, 1, 1, bytes4, bytes4, 4), EK_ERR_ARGUMENT, "images of 0 x 1 x 1");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, -1, 1, bytes4, bytes4, 4), EK_ERR_ARGUMENT, "1 x -1 x 1");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 65537, bytes4, bytes4, 4), EK_ERR_ARGUMENT, "1 x 1 x 65537");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 1, bytes4, bytes4, 0), EK_ERR_ARGUMENT, "classes is 0");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 1, bytes4, bytes4, 257), EK_ERR_ARGUMENT, "classes is 257");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 1, bytes4, bytes4, 3), EK_ERR_ARGUMENT, "label 3 of sample 3");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 1, NULL, bytes4, 4), EK_ERR_ARGUMENT, "NULL");
    assert_fails(ek_dataset_from_memory(&d, 4, 1, 1, 1, bytes4, NULL, 4), EK_ERR_ARGUMENT, "NULL");
    for (int64_t n = 1; n <= 4; n++) { /* pixels, labels, the object; then none is left */
        ek_memory_fail_at(n);
        ek_status status = ek_dataset_from_memory(&d, 4, 1, 1, 1, bytes4, bytes4, 4);
        ek_memory_fail_at(0);
        assert_int_equal(status, n < 4 ? EK_ERR_MEMORY : EK_OK);
        ek_dataset_free(d);
    }
}

/* ---- The real one -------------------------------------------------------------------------------------------- */

static void opens_fashion_mnist(void **state)
{
    (void)state;
    need_fashion();
    ek_dataset *d;
    ek_dataset_info info;
    for (int split = 0; split < 2; split++) {
        assert_int_equal(ek_dataset_open(&d, "fashion-mnist", (ek_split)split), EK_OK);
        ek_dataset_get_info(d, &info);
        assert_string_equal(info.name, "fashion-mnist");
        assert_string_equal(info.path, REAL_FASHION);
        assert_int_equal(info.count, split ? 10000 : 60000);
        assert_int_equal(info.classes, 10);
        int counts[10] = {0};
        for (int64_t i = 0; i < info.count; i++)
            counts[ek_dataset_label(d, i)]++;
        for (int c = 0; c < 10; c++)
            assert_int_equal(counts[c], split ? 1000 : 6000);
        assert_string_equal(ek_dataset_label_text(d, 9), "ankle boot");
        ek_dataset_free(d);
    }
}

static void knows_fashion_mnist_under_another_name(void **state)
{
    (void)state;
    need_fashion();
    if (!ek_digest_available())
        skip();
    ek_dataset *d;
    make_folders("data");
    assert_int_equal(symlink(REAL_FASHION, "data/mnist"), 0);
    setenv("EVENKEEL_DATA", "data", 1);
    assert_fails(ek_dataset_open(&d, "mnist", EK_SPLIT_TEST), EK_ERR_DIGEST,
                 "data/mnist holds Fashion-MNIST, not mnist");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opens_a_folder),
        TEST(looks_in_order),
        TEST(takes_known_names_for_names),
        TEST(opens_other_names),
        TEST(says_where_it_looked),
#ifdef EK_HAVE_ZLIB
        TEST(opens_packed_files),
#endif
        TEST(notices_another_set),
        TEST(notices_a_changed_byte),
        TEST(notices_another_shape),
        TEST(tells_labels_in_words),
        TEST(digests_decoded_content),
        TEST(refuses_other_counts),
        TEST(refuses_a_missing_partner),
        TEST(counts_classes_by_training_labels),
        TEST(refuses_damaged_files),
        TEST(survives_failing_allocations),
        TEST(copies_memory),
        TEST(refuses_wrong_memory),
        TEST(opens_fashion_mnist),
        TEST(knows_fashion_mnist_under_another_name),
    };
    return cmocka_run_group_tests_name("data_open", tests, make_sets, NULL);
}
