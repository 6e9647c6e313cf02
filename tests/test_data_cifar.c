/* SPDX-License-Identifier: MIT
 * Data sets in CIFAR's format: opening, recognising and fetching them; and pairs of IDX files of other names. */
#define _GNU_SOURCE
#include "test_data.h"

#include "data/pair.h"

/* Two small sets of 2x2 RGB images: like CIFAR-10, one label byte and two training files; like CIFAR-100, two. */
enum { PIXELS = 12 };

static const char *const letters[] = {"a", "b", "c", "d"}, *const halves[] = {"low", "high"};
static char digests[5][EK_DIGEST_TEXT];
static ek_known_cifar ten = {
    .archive = "ten.tar.gz",
    .folder = "ten-bin",
    .label_bytes = 1,
    .batch = {{{"one.bin", digests[0], 3}, {"two.bin", digests[1], 2}}, {{"test_ten.bin", digests[2], 2}}}};
static ek_known_cifar hundred = {.archive = "hundred.tar.gz",
                                 .folder = "hundred-bin",
                                 .label_bytes = 2,
                                 .coarse_classes = 2,
                                 .coarse_labels = halves,
                                 .batch = {{{"train.bin", digests[3], 4}}, {{"test.bin", digests[4], 1}}}};
static ek_known_set sets[3] = {
    {.name = "ten",
     .title = "Ten",
     .channels = 3,
     .height = 2,
     .width = 2,
     .classes = 4,
     .labels = letters,
     .cifar = &ten},
    {.name = "hundred",
     .title = "Hundred",
     .channels = 3,
     .height = 2,
     .width = 2,
     .classes = 4,
     .labels = letters,
     .cifar = &hundred},
};

/* n records whose pixels count on from `seed`; the fine label of record i is (seed + i) % 4, the coarse half of it. */
static bytes records(int n, int label_bytes, unsigned seed)
{
    bytes b = {0};
    for (unsigned i = 0; i < (unsigned)n; i++) {
        const unsigned char label[2] = {(unsigned char)((seed + i) % 4 / 2), (unsigned char)((seed + i) % 4)};
        add(&b, label + 2 - label_bytes, (size_t)label_bytes);
        for (unsigned p = 0; p < PIXELS; p++)
            add(&b, &(unsigned char){(unsigned char)(seed + 20 * i + p)}, 1);
    }
    return b;
}

static void digest_of(const bytes *b, char text[EK_DIGEST_TEXT])
{
    ek_digest digest;
    assert_int_equal(ek_digest_begin(&digest), EK_OK);
    ek_digest_add(&digest, b->data, b->size);
    ek_digest_end(&digest, text);
}

static void put_file(const char *dir, const char *name, const bytes *b)
{
    char path[512];
    make_folders(dir);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    put_bytes(path, b);
}

static void put_ten(const char *dir)
{
    const bytes one = records(3, 1, 5), two = records(2, 1, 100), test = records(2, 1, 200);
    digest_of(&one, digests[0]);
    digest_of(&two, digests[1]);
    digest_of(&test, digests[2]);
    put_file(dir, "one.bin", &one);
    put_file(dir, "two.bin", &two);
    put_file(dir, "test_ten.bin", &test);
}

static void put_hundred(const char *dir)
{
    const bytes train = records(4, 2, 1), test = records(1, 2, 50);
    digest_of(&train, digests[3]);
    digest_of(&test, digests[4]);
    put_file(dir, "train.bin", &train);
    put_file(dir, "test.bin", &test);
}

static ek_status open_set(ek_dataset **d, const char *name, ek_split split)
{
    return ek_dataset_open_among(d, name, &(ek_data_options){.split = split}, sets);
}

/* ---- CIFAR -------------------------------------------------------------------------------------------------- */

/* By path or name, in the folder or below it. */
static void assert_ten(const char *name)
{
    ek_dataset *d, *same;
    ek_dataset_info info, other;
    if (open_set(&d, name, EK_SPLIT_TRAIN))
        fail_msg("%s", ek_error());
    ek_dataset_get_info(d, &info);
    assert_int_equal(info.count, 5);
    assert_true(info.channels == 3 && info.height == 2 && info.width == 2 && info.classes == 4);
    assert_string_equal(info.name, "ten");
    uint8_t labels[5];
    for (int i = 0; i < 5; i++) {
        const unsigned seed = i < 3 ? 5 : 100, n = (unsigned)(i < 3 ? i : i - 3);
        labels[i] = (uint8_t)((seed + n) % 4);
        assert_int_equal(ek_dataset_label(d, i), labels[i]);
        for (unsigned p = 0; p < PIXELS; p++)
            assert_int_equal(ek_dataset_pixels(d, i)[p], (seed + 20 * n + p) & 255);
    }
    assert_string_equal(ek_dataset_label_text(d, 2), "c");
    /* The digest is that of the same bytes from memory. */
    assert_int_equal(ek_dataset_from_memory(&same, 5, 3, 2, 2, ek_dataset_pixels(d, 0), labels, 4), EK_OK);
    ek_dataset_get_info(same, &other);
    assert_string_equal(info.digest, other.digest);
    ek_dataset_free(same);
    ek_dataset_free(d);
    assert_int_equal(open_set(&d, name, EK_SPLIT_TEST), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_int_equal(info.count, 2);
    ek_dataset_free(d);
}

static void opens_cifar(void **state)
{
    (void)state;
    put_ten("some/folder");
    assert_ten("some/folder");
    assert_ten("some/folder/");
    setenv("EVENKEEL_DATA", "data", 1);
    put_ten("data/ten-bin"); /* as the archive unpacks */
    assert_ten("ten");
    put_ten("data/ten");
    assert_ten("ten");
    assert_int_equal(system("rm data/ten/one.bin"), 0);
    assert_ten("ten"); /* that folder holds no training data, the next does */
}

static void opens_coarse_labels(void **state)
{
    (void)state;
    put_hundred("d");
    for (int coarse = 0; coarse < 2; coarse++) {
        ek_dataset *d;
        ek_dataset_info info;
        assert_int_equal(ek_dataset_open_among(&d, "./d", &(ek_data_options){.coarse = coarse}, sets), EK_OK);
        ek_dataset_get_info(d, &info);
        assert_int_equal(info.count, 4);
        assert_int_equal(info.classes, coarse ? 2 : 4);
        assert_string_equal(info.name, "hundred");
        for (int i = 0; i < 4; i++)
            assert_int_equal(ek_dataset_label(d, i), coarse ? (1 + i) % 4 / 2 : (1 + i) % 4);
        assert_string_equal(ek_dataset_label_text(d, 1), coarse ? "high" : "b");
        assert_null(ek_dataset_label_text(d, coarse ? 2 : 4));
        ek_dataset_free(d);
    }
}

/* Other files of that format open by path; their names say what the labels are. */
static void tells_what_it_is(void **state)
{
    (void)state;
    ek_dataset *d;
    ek_dataset_info info;
    put_ten("data/ten");
    setenv("EVENKEEL_DATA", "data", 1);
    const bytes other = records(7, 1, 6);
    put_file("data/ten", "two.bin", &other);
    assert_fails(open_set(&d, "ten", EK_SPLIT_TRAIN), EK_ERR_DIGEST,
                 "data/ten: not the files of Ten, by their SHA-256");
    assert_null(d);
    assert_int_equal(open_set(&d, "ten", EK_SPLIT_TEST), EK_OK);
    ek_dataset_free(d);
    assert_int_equal(open_set(&d, "data/ten", EK_SPLIT_TRAIN), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_string_equal(info.name, "");
    assert_int_equal(info.count, 10);
    assert_string_equal(ek_dataset_label_text(d, 3), "d");
    ek_dataset_free(d);
    put_ten("data/ten"); /* the last file right again, the first one not */
    const bytes first = records(2, 1, 6);
    put_file("data/ten", "one.bin", &first);
    assert_fails(open_set(&d, "ten", EK_SPLIT_TRAIN), EK_ERR_DIGEST, "data/ten: not the files of Ten");
    assert_fails(open_set(&d, "hundred", EK_SPLIT_TRAIN), EK_ERR_NOT_FOUND,
                 "hundred: not found in data/hundred, data, ");
    assert_message("get it with `evenkeel data fetch hundred`");
}

static void refuses_damaged_cifar(void **state)
{
    (void)state;
    ek_dataset *d;
    put_ten("d");
    const bytes good = records(2, 1, 100);
    bytes bad = good;
    bad.size--;
    put_file("d", "two.bin", &bad);
    assert_fails(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_ERR_FORMAT,
                 "d/two.bin: 25 bytes are no number of records of 13");
    bad.size = 0;
    put_file("d", "two.bin", &bad);
    assert_fails(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_ERR_FORMAT, "d/two.bin: 0 bytes");
    bad = good;
    bad.data[13] = 4;
    put_file("d", "two.bin", &bad);
    assert_fails(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_ERR_FORMAT,
                 "d/two.bin: label 4 of record 1; there are 4 classes");
    assert_int_equal(unlink("d/two.bin"), 0);
    assert_fails(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_ERR_FORMAT, "d/two.bin is missing");
    assert_int_equal(mkdir("d/two.bin", 0777), 0);
    assert_fails(open_set(&d, "./d", EK_SPLIT_TRAIN), EK_ERR_FORMAT, "d/two.bin: a folder, not a file");
    assert_null(d);
}

static void opens_cifar_without_memory(void **state)
{
    (void)state;
    ek_status status = EK_ERR_MEMORY;
    ek_dataset *d = NULL;
    int64_t n = 0;
    put_ten("d");
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 200);
        ek_memory_fail_at(n);
        status = ek_dataset_open_among(&d, "./d",
                                       &(ek_data_options){.height = 5, .width = 3, .colour = EK_COLOUR_GREY}, sets);
        ek_memory_fail_at(0);
        assert_true(!d == (status != EK_OK));
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 15, 200);
    ek_dataset_info info;
    ek_dataset_get_info(d, &info);
    assert_true(info.channels == 1 && info.height == 5 && info.width == 3);
    assert_string_equal(info.name, "ten"); /* resized it is what it was */
    ek_dataset_free(d);
}

/* The table of this version: labels in the alphabet's order, as the files' authors have it, and every digest whole. */
static void holds_the_real_sets(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const ek_known_set *set = ek_known_by_name(ek_known_sets, i ? "cifar-100" : "cifar-10");
        assert_non_null(set);
        assert_int_equal(set->classes, i ? 100 : 10);
        for (int label = 1; label < set->classes; label++)
            assert_true(strcmp(set->labels[label - 1], set->labels[label]) < 0);
        assert_int_equal(strlen(set->cifar->archive_digest), 64);
        for (int split = 0; split < 2; split++) {
            int64_t n = 0;
            for (const ek_known_batch *batch = set->cifar->batch[split]; batch->name; batch++) {
                assert_int_equal(strspn(batch->digest, "0123456789abcdef"), 64);
                n += batch->n;
            }
            assert_int_equal(n, split ? 10000 : 50000);
        }
    }
}

/* ---- Pairs of IDX files ------------------------------------------------------------------------------------- */

static void put_pair(const char *dir, const char *images, const char *labels, unsigned seed)
{
    const bytes pixels = idx_images(3, 2, 4, seed);
    const bytes classes = idx_labels(3, (unsigned char[]){1, 3, 2});
    put_file(dir, images, &pixels);
    put_file(dir, labels, &classes);
}

static ek_status open_pair(ek_dataset **d, const char *name, ek_split split)
{
    return ek_dataset_open(d, name, split);
}

static void opens_pairs(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"set-train-images-idx3-ubyte", "set-train-labels-idx1-ubyte"},
                                           {"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
                                           {"a-b-train-images-idx3-ubyte", "a-b-train-labels-idx1-ubyte"}};
    for (int i = 0; i < 3; i++) {
        char dir[] = "d0";
        dir[1] = (char)('0' + i);
        ek_dataset *d;
        ek_dataset_info info;
        put_pair(dir, names[i][0], names[i][1], 9);
        put_file(dir, "notes.txt", &(bytes){0});
        if (open_pair(&d, dir, EK_SPLIT_TRAIN))
            fail_msg("%s", ek_error());
        ek_dataset_get_info(d, &info);
        assert_true(info.count == 3 && info.height == 2 && info.width == 4 && info.classes == 4);
        assert_int_equal(ek_dataset_pixels(d, 1)[1], 9 + 7 * 9);
        ek_dataset_free(d);
        assert_fails(open_pair(&d, dir, EK_SPLIT_TEST), EK_ERR_NOT_FOUND, "holds no test data");
    }
}

/* EMNIST's images lie by columns: upright after opening, their digest that of upright bytes. */
static void turns_emnist(void **state)
{
    (void)state;
    ek_dataset *d, *same;
    ek_dataset_info info, other;
    put_pair("gzip", "emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte", 0);
    put_pair("gzip", "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte", 50);
    assert_int_equal(open_pair(&d, "gzip", EK_SPLIT_TEST), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_true(info.height == 4 && info.width == 2 && info.classes == 4);
    for (int i = 0; i < 3; i++)
        for (int h = 0; h < 4; h++)
            for (int w = 0; w < 2; w++)
                assert_int_equal(ek_dataset_pixels(d, i)[h * 2 + w], (50 + 7 * (i * 8 + w * 4 + h)) & 255);
    assert_int_equal(ek_dataset_from_memory(&same, 3, 1, 4, 2, ek_dataset_pixels(d, 0), (uint8_t[]){1, 3, 2}, 4),
                     EK_OK);
    ek_dataset_get_info(same, &other);
    assert_string_equal(info.digest, other.digest);
    ek_dataset_free(same);
    ek_dataset_free(d);
    /* A second set makes the folder ambiguous; each is opened by its name. */
    put_pair("gzip", "emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte", 7);
    assert_fails(open_pair(&d, "gzip", EK_SPLIT_TRAIN), EK_ERR_ARGUMENT,
                 "gzip: holds several sets: emnist-digits, emnist-letters; choose one as gzip/emnist-digits");
    assert_int_equal(open_pair(&d, "gzip/emnist-letters", EK_SPLIT_TRAIN), EK_OK);
    assert_int_equal(ek_dataset_pixels(d, 0)[0], 0);
    ek_dataset_free(d);
    assert_int_equal(open_pair(&d, "./gzip/emnist-digits", EK_SPLIT_TRAIN), EK_OK);
    assert_int_equal(ek_dataset_pixels(d, 0)[0], 7);
    ek_dataset_free(d);
    assert_fails(open_pair(&d, "gzip/emnist", EK_SPLIT_TRAIN), EK_ERR_NOT_FOUND, "gzip/emnist: no such folder");
    assert_int_equal(unlink("gzip/emnist-digits-train-labels-idx1-ubyte"), 0);
    assert_fails(open_pair(&d, "gzip/emnist-digits", EK_SPLIT_TRAIN), EK_ERR_FORMAT,
                 "gzip: emnist-digits-train-labels-idx1-ubyte is missing");
}

static void agrees_on_classes_of_pairs(void **state)
{
    (void)state;
    ek_dataset *d;
    ek_dataset_info info;
    put_pair("d", "x-train-images-idx3-ubyte", "x-train-labels-idx1-ubyte", 0);
    put_pair("d", "x-t10k-images-idx3-ubyte", "x-t10k-labels-idx1-ubyte", 0);
    bytes labels = idx_labels(3, (unsigned char[]){0, 0, 0});
    put_file("d", "x-t10k-labels-idx1-ubyte", &labels);
    assert_int_equal(open_pair(&d, "d", EK_SPLIT_TEST), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_int_equal(info.classes, 4);
    ek_dataset_free(d);
    labels = idx_labels(3, (unsigned char[]){0, 4, 0});
    put_file("d", "x-t10k-labels-idx1-ubyte", &labels);
    assert_fails(open_pair(&d, "d", EK_SPLIT_TEST), EK_ERR_FORMAT, "label 4 of sample 1; there are 4 classes");
    labels = idx_labels(2, (unsigned char[]){0, 255});
    put_file("d", "x-train-labels-idx1-ubyte", &labels);
    assert_fails(open_pair(&d, "d", EK_SPLIT_TRAIN), EK_ERR_FORMAT,
                 "2 labels, but d/x-train-images-idx3-ubyte has 3");
}

#ifdef EK_HAVE_ZLIB
/* The plain file goes before the packed one, whatever the other of the two is. */
static void opens_packed_pairs(void **state)
{
    (void)state;
    ek_dataset *d;
    const bytes images = idx_images(3, 2, 4, 9), labels = idx_labels(3, (unsigned char[]){1, 3, 2});
    const bytes packed = gzipped(images.data, images.size), others = gzipped(labels.data, labels.size);
    put_file("d", "x-train-images-idx3-ubyte.gz", &packed);
    put_file("d", "x-train-labels-idx1-ubyte.gz", &others);
    assert_int_equal(open_pair(&d, "d", EK_SPLIT_TRAIN), EK_OK);
    assert_int_equal(ek_dataset_pixels(d, 0)[0], 9);
    ek_dataset_free(d);
    const bytes plain = idx_images(3, 2, 4, 30);
    put_file("d", "x-train-images-idx3-ubyte", &plain);
    assert_int_equal(open_pair(&d, "d", EK_SPLIT_TRAIN), EK_OK);
    assert_int_equal(ek_dataset_pixels(d, 0)[0], 30);
    ek_dataset_free(d);
}
#endif

/* ---- Fetching ----------------------------------------------------------------------------------------------- */

#if defined EK_HAVE_CURL && defined EK_HAVE_DIGEST && defined EK_HAVE_ZLIB

#include "data/fetch.h"
#include "data/tar.h"
#include "fetch/server.h"

/* The archive at ROOT: the files, one that nobody asked for, one that would leave the folder. */
static int make_archive(void **state)
{
    (void)state;
    char command[3 * SCRATCH_SIZE], path[SCRATCH_SIZE + 32];
    if (!start_serving())
        return -1;
    snprintf(path, sizeof path, "%s/ten-bin", root);
    put_ten(path);
    put_file(path, "readme.html", &(bytes){.size = 5});
    put_file(path, "batches.meta.txt", &(bytes){.size = 700});
    snprintf(command, sizeof command,
             "cd '%s' && mkdir other && cp ten-bin/one.bin other/two.bin && tar -czf ten.tar.gz other ten-bin && "
             "tar -czf less.tar.gz ten-bin/one.bin",
             root);
    if (system(command))
        return -1;
    snprintf(path, sizeof path, "%s/ten.tar.gz", root);
    FILE *file = fopen(path, "rb");
    bytes b = {0};
    b.size = file ? fread(b.data, 1, sizeof b.data, file) : 0;
    if (!file || fclose(file))
        return -1;
    static char digest[EK_DIGEST_TEXT];
    digest_of(&b, digest);
    ten.archive_digest = digest;
    ten.archive_size = (int64_t)b.size;
    return b.size > 0 && b.size < sizeof b.data ? 0 : -1;
}

static ek_status fetch(const char *how)
{
    char address[64];
    const char *mirrors[] = {address, NULL};
    snprintf(address, sizeof address, "http://127.0.0.1:%d/%s", port, how);
    return ek_fetch_set(&sets[0], &(ek_fetch_options){.dir = "d", .mirrors = mirrors, .stall_timeout = 10});
}

static void fetches_an_archive(void **state)
{
    (void)state;
    static const char *const hows[] = {"good", "once", "redirect"};
    for (int i = 0; i < 3; i++) {
        if (fetch(hows[i]))
            fail_msg("%s: %s", hows[i], ek_error());
        assert_int_equal(entries("d"), 3); /* no archive, nothing else of it */
        assert_ten("./d");
        assert_int_equal(system("rm -r d"), 0);
    }
    assert_int_equal(fetch("good"), EK_OK);
    const int before = logged("");
    assert_int_equal(fetch("good"), EK_OK); /* all there and right */
    assert_int_equal(logged(""), before);
    put_file("d", "two.bin", &(bytes){.size = 26});
    assert_int_equal(fetch("good"), EK_OK);
    assert_int_equal(logged(""), before + 1);
    assert_ten("./d");
    /* One that could not be unpacked is not fetched again. */
    assert_int_equal(system("rm d/*.bin && mkdir d/two.bin"), 0);
    assert_fails(fetch("good"), EK_ERR_IO, "d/two.bin");
    const int fetched = logged("");
    assert_int_equal(rmdir("d/two.bin"), 0);
    assert_int_equal(fetch("good"), EK_OK);
    assert_int_equal(logged(""), fetched);
    assert_int_equal(entries("d"), 3);
    assert_ten("./d");
}

static void refuses_other_archives(void **state)
{
    (void)state;
    assert_fails(fetch("page"), EK_ERR_DIGEST, "a wrong file: d/ten.tar.gz.part: its SHA-256 is ");
    assert_fails(fetch("less"), EK_ERR_DIGEST, "a wrong file: ");
    assert_fails(fetch("huge"), EK_ERR_DIGEST, "more than the ");
    assert_fails(fetch("missing"), EK_ERR_NETWORK, "404");
    assert_int_equal(entries("d"), 0);
    assert_fails(fetch("truncate"), EK_ERR_NETWORK, "ten.tar.gz: no mirror gave it");
    assert_int_equal(entries("d"), 1); /* to go on with */
    assert_int_equal(fetch("good"), EK_OK);
    assert_ten("./d");
}

static void fetches_without_memory(void **state)
{
    (void)state;
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 100);
        assert_int_equal(system("rm -rf d"), 0);
        ek_memory_fail_at(n);
        status = fetch("good");
        ek_memory_fail_at(0);
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 8, 100);
    assert_ten("./d");
}

/* ---- Archives ----------------------------------------------------------------------------------------------- */

static const char *take_all(void *user, const char *name, int64_t size)
{
    (void)size;
    int *count = user;
    (*count)++;
    return strchr(name, '/') ? "out" : NULL;
}

static void refuses_damaged_archives(void **state)
{
    (void)state;
    int count = 0;
    assert_int_equal(system("mkdir a && printf hello >a/b && printf x >c && tar --format=ustar -cf t.tar a c"), 0);
    assert_int_equal(ek_tar_extract("t.tar", take_all, &count), EK_OK);
    assert_int_equal(count, 2);
    assert_int_equal(system("test \"$(cat out)\" = hello && rm out"), 0);
    static const char *const harm[][2] = {
        {"head -c 300 t.tar >u", "cut short"},
        {"head -c 1200 t.tar >u", "cut short"},
        {"{ head -c 3 t.tar; printf y; tail -c +5 t.tar; } >u", "no tar archive"},
        {"head -c 4096 /dev/urandom | tr '\\000\\037\\213' aaa >u", "no tar archive"},
        {"gzip -c t.tar | head -c 100 >u", "gzip data is cut short"}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(system(harm[i][0]), 0);
        assert_fails(ek_tar_extract("u", take_all, &count), EK_ERR_FORMAT, harm[i][1]);
        assert_false(exists("out"));
    }
    assert_fails(ek_tar_extract("gone", take_all, &count), EK_ERR_NOT_FOUND, "gone");
}

#endif

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)
#define SERVED(function) cmocka_unit_test_setup_teardown(function, enter, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opens_cifar),
        TEST(opens_coarse_labels),
        TEST(tells_what_it_is),
        TEST(refuses_damaged_cifar),
        TEST(opens_cifar_without_memory),
        TEST(holds_the_real_sets),
        TEST(opens_pairs),
        TEST(turns_emnist),
        TEST(agrees_on_classes_of_pairs),
#ifdef EK_HAVE_ZLIB
        TEST(opens_packed_pairs),
#endif
#if defined EK_HAVE_CURL && defined EK_HAVE_DIGEST && defined EK_HAVE_ZLIB
        SERVED(fetches_an_archive),
        SERVED(refuses_other_archives),
        SERVED(fetches_without_memory),
        TEST(refuses_damaged_archives),
    };
    return cmocka_run_group_tests_name("data_cifar", tests, make_archive, stop_server);
#else
    };
    return cmocka_run_group_tests_name("data_cifar", tests, NULL, NULL);
#endif
}
