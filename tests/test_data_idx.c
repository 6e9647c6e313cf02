/* SPDX-License-Identifier: MIT
 * Reading IDX files: what is right is read to the byte, whatever is wrong is one clear line. */
#define _GNU_SOURCE
#include "test_data.h"

#include <errno.h>

/* ---- What is right ------------------------------------------------------------------------------------------- */

static void reads_images(void **state)
{
    (void)state;
    bytes b = idx_images(3, 4, 5, 11);
    ek_idx idx;
    put_bytes("images", &b);
    assert_int_equal(ek_idx_read(&idx, EK_IDX_IMAGES, "images"), EK_OK);
    assert_int_equal(idx.n, 3);
    assert_int_equal(idx.channels, 1);
    assert_int_equal(idx.height, 4);
    assert_int_equal(idx.width, 5);
    assert_memory_equal(idx.data, b.data + 16, 60);
    ek_idx_free(&idx);
}

static void reads_colours(void **state)
{
    (void)state;
    bytes b = idx_header(8, 4, (uint32_t[]){2, 3, 4, 5});
    for (int i = 0; i < 120; i++)
        add(&b, &(unsigned char){(unsigned char)i}, 1);
    ek_idx idx;
    put_bytes("images", &b);
    assert_int_equal(ek_idx_read(&idx, EK_IDX_IMAGES, "images"), EK_OK);
    assert_int_equal(idx.n, 2);
    assert_int_equal(idx.channels, 3);
    assert_int_equal(idx.height, 4);
    assert_int_equal(idx.width, 5);
    assert_memory_equal(idx.data, b.data + 20, 120);
    ek_idx_free(&idx);
}

static void reads_labels(void **state)
{
    (void)state;
    bytes b = idx_labels(4, (unsigned char[]){0, 255, 7, 1});
    ek_idx idx;
    put_bytes("labels", &b);
    assert_int_equal(ek_idx_read(&idx, EK_IDX_LABELS, "labels"), EK_OK);
    assert_int_equal(idx.n, 4);
    assert_memory_equal(idx.data, ((unsigned char[]){0, 255, 7, 1}), 4);
    ek_idx_free(&idx);
}

/* The digest is the plain file's, whichever way the bytes came. sha256sum of 00 00 08 01 00 00 00 01 05. */
static void digests_the_plain_file(void **state)
{
    (void)state;
    static const char expected[] = "3afb77842a393f5177431fbff622da97dcf83b0818befe62777f51c37eba4401";
    bytes b = idx_labels(1, (unsigned char[]){5});
    ek_idx idx;
    put_bytes("labels", &b);
    assert_int_equal(ek_idx_read(&idx, EK_IDX_LABELS, "labels"), EK_OK);
    assert_string_equal(idx.digest, ek_digest_available() ? expected : "");
    memset(idx.digest, 'x', sizeof idx.digest);
    assert_int_equal(ek_idx_digest(&idx, EK_IDX_LABELS), EK_OK);
    assert_string_equal(idx.digest, ek_digest_available() ? expected : "");
    ek_idx_free(&idx);
}

/* Images of one channel have one digest, written with three dimensions or with four. */
static void digests_one_channel_alike(void **state)
{
    (void)state;
    bytes three = idx_images(2, 3, 4, 0), four = idx_header(8, 4, (uint32_t[]){2, 1, 3, 4});
    add(&four, three.data + 16, 24);
    put_bytes("three", &three);
    put_bytes("four", &four);
    ek_idx a, b;
    assert_int_equal(ek_idx_read(&a, EK_IDX_IMAGES, "three"), EK_OK);
    assert_int_equal(ek_idx_read(&b, EK_IDX_IMAGES, "four"), EK_OK);
    assert_string_equal(a.digest, b.digest);
    char text[EK_DIGEST_TEXT];
    ek_digest digest;
    assert_int_equal(ek_digest_begin(&digest), EK_OK);
    ek_digest_add(&digest, three.data, three.size);
    ek_digest_end(&digest, text);
    assert_string_equal(a.digest, text);
    ek_idx_free(&a);
    ek_idx_free(&b);
}

/* ---- What is wrong ------------------------------------------------------------------------------------------- */

static void refuses(const bytes *b, ek_idx_kind kind, ek_status status, const char *part)
{
    ek_idx idx;
    put_bytes("file", b);
    assert_fails(ek_idx_read(&idx, kind, "file"), status, part);
    assert_message("file: ");
    assert_null(idx.data);
}

static void refuses_what_is_no_idx(void **state)
{
    (void)state;
    bytes b = {.size = 0};
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "ends inside its IDX header");
    add(&b, "\0\0\x08", 3);
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "ends inside its IDX header");
    b = (bytes){.size = 15, .data = "<!DOCTYPE html>"};
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "begins 3c 21 44 4f, not 00 00 08 03");
    b = (bytes){.size = 8, .data = "\0\0\x08\1\0\0\0"};
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "is it a labels file?");
    b = idx_images(1, 2, 2, 0);
    refuses(&b, EK_IDX_LABELS, EK_ERR_FORMAT, "is it an images file?");
    b.data[3] = 200;
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "200 dimensions, where images have 3 or 4");
    b.data[3] = 0;
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "0 dimensions");
    b.data[2] = 0x0a;
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "begins 00 00 0a");
    b.data[2] = 0x0d;
    refuses(&b, EK_IDX_IMAGES, EK_ERR_UNSUPPORTED, "float32");
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    bytes whole = idx_images(2, 3, 3, 0);
    for (size_t size = 0; size < whole.size; size++) {
        bytes b = whole;
        b.size = size;
        refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, size < 16 ? "ends inside" : "its header (2 x 1 x 3 x 3) makes 34");
    }
}

static void refuses_bytes_behind(void **state)
{
    (void)state;
    bytes b = idx_labels(3, (unsigned char[]){1, 2, 3});
    add(&b, "x", 1);
    refuses(&b, EK_IDX_LABELS, EK_ERR_FORMAT, "12 bytes, but its header (3 x 1 x 1 x 1) makes 11");
}

/* Nothing is allocated for a header that the file cannot fill. */
static void refuses_lying_headers(void **state)
{
    (void)state;
    bytes b = idx_header(8, 3, (uint32_t[]){0, 28, 28});
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "0 samples");
    b = idx_header(8, 3, (uint32_t[]){5, 0, 28});
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "0 rows");
    b = idx_header(8, 3, (uint32_t[]){5, 28, 65537});
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "65537 columns; 1 to 65536");
    b = idx_header(8, 4, (uint32_t[]){5, 0xffffffff, 1, 1});
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "4294967295 channels");
    b = idx_header(8, 1, (uint32_t[]){0x80000000});
    refuses(&b, EK_IDX_LABELS, EK_ERR_FORMAT, "2147483648 samples");
    ek_memory_fail_at(0);
    b = idx_header(8, 4, (uint32_t[]){0x7fffffff, 65536, 65536, 65536}); /* 2^79 bytes */
    refuses(&b, EK_IDX_IMAGES, EK_ERR_FORMAT, "its header (2147483647 x 65536 x 65536 x 65536)");
    assert_in_range(ek_memory_fail_at(0), 1, 2); /* the stream and its name */
}

/* More than any machine has, in a file of holes: told before it is tried. */
static void refuses_more_than_memory(void **state)
{
    (void)state;
    bytes b = idx_header(8, 3, (uint32_t[]){1 << 10, 65536, 65536});
    ek_idx idx;
    put_bytes("file", &b);
    if (truncate("file", ((off_t)1 << 42) + 16)) {
        print_message("SKIP: this file system has no files of 4 TiB\n");
        skip();
    }
    assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "file"), EK_ERR_MEMORY, "more than this machine's memory");
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    ek_idx idx;
    assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "absent"), EK_ERR_NOT_FOUND, "absent: cannot be read");
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "folder"), EK_ERR_FORMAT, "folder: a folder, not a file");
    assert_int_equal(mkfifo("pipe", 0666), 0);
    assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "pipe"), EK_ERR_FORMAT, "not a file");
    assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "/dev/zero"), EK_ERR_FORMAT, "not a file");
    if (geteuid() != 0) {
        put("locked", "x", 1);
        assert_int_equal(chmod("locked", 0), 0);
        assert_fails(ek_idx_read(&idx, EK_IDX_IMAGES, "locked"), EK_ERR_IO, "locked: cannot be read");
    }
}

/* ---- gzip ---------------------------------------------------------------------------------------------------- */

#ifdef EK_HAVE_ZLIB

static void reads_gzip(void **state)
{
    (void)state;
    bytes b = idx_images(3, 4, 5, 11), zip = gzipped(b.data, b.size);
    ek_idx idx;
    put_bytes("images", &zip); /* what it is its content tells, not its name */
    assert_int_equal(ek_idx_read(&idx, EK_IDX_IMAGES, "images"), EK_OK);
    assert_memory_equal(idx.data, b.data + 16, 60);
    ek_idx_free(&idx);
}

/* Members one behind the other are one file (bgzip writes them, with an empty one at the end). */
static void reads_gzip_members(void **state)
{
    (void)state;
    bytes b = idx_images(3, 4, 5, 11), zip = {0};
    for (size_t from = 0; from < b.size; from += 19) {
        bytes member = gzipped(b.data + from, b.size - from < 19 ? b.size - from : 19);
        add(&zip, member.data, member.size);
    }
    bytes empty = gzipped("", 0);
    add(&zip, empty.data, empty.size);
    ek_idx idx;
    put_bytes("images.gz", &zip);
    assert_int_equal(ek_idx_read(&idx, EK_IDX_IMAGES, "images.gz"), EK_OK);
    assert_memory_equal(idx.data, b.data + 16, 60);
    ek_idx_free(&idx);
}

static void refuses_every_gzip_truncation(void **state)
{
    (void)state;
    bytes b = idx_images(2, 3, 3, 0), whole = gzipped(b.data, b.size);
    for (size_t size = 2; size < whole.size; size++) {
        bytes cut = whole;
        cut.size = size;
        refuses(&cut, EK_IDX_IMAGES, EK_ERR_FORMAT, "cut short; get the file anew");
    }
}

static void refuses_damaged_gzip(void **state)
{
    (void)state;
    bytes b = idx_images(2, 3, 3, 0), whole = gzipped(b.data, b.size), bad = whole;
    bad.data[bad.size - 8] ^= 1;
    refuses(&bad, EK_IDX_IMAGES, EK_ERR_FORMAT, "damaged gzip data (incorrect data check)");
    bad = whole;
    bad.data[bad.size - 1] ^= 1;
    refuses(&bad, EK_IDX_IMAGES, EK_ERR_FORMAT, "damaged gzip data (incorrect length check)");
    bad = whole;
    bad.data[2] = 7;
    refuses(&bad, EK_IDX_IMAGES, EK_ERR_FORMAT, "damaged gzip data (unknown compression method)");
    bad = whole;
    bad.data[10] = 0xff;
    refuses(&bad, EK_IDX_IMAGES, EK_ERR_FORMAT, "damaged gzip data (invalid block type)");
}

static void refuses_bytes_behind_gzip(void **state)
{
    (void)state;
    bytes b = idx_images(2, 3, 3, 0), whole = gzipped(b.data, b.size);
    for (size_t size = 1; size < 20; size++) {
        bytes long_one = whole;
        add(&long_one, "bytes that do not belong", size);
        refuses(&long_one, EK_IDX_IMAGES, EK_ERR_FORMAT, "bytes behind the end of its gzip data");
    }
}

/* The decoded size is the header's, no byte less or more. */
static void refuses_gzip_of_another_size(void **state)
{
    (void)state;
    bytes b = idx_images(2, 3, 3, 0), zip = gzipped(b.data, b.size - 1);
    refuses(&zip, EK_IDX_IMAGES, EK_ERR_FORMAT, "ends after 17 of the 18 bytes its header promises");
    add(&b, "x", 1);
    zip = gzipped(b.data, b.size);
    refuses(&zip, EK_IDX_IMAGES, EK_ERR_FORMAT, "longer than the 18 bytes its header promises");
}

/* A bomb: a few kilobytes that decode to far more than the header says, and one whose header says too much. */
static void refuses_gzip_bombs(void **state)
{
    (void)state;
    static unsigned char zeros[2 << 20];
    bytes header = idx_header(8, 3, (uint32_t[]){1, 2, 2});
    memcpy(zeros, header.data, header.size);
    bytes zip = gzipped(zeros, sizeof zeros);
    refuses(&zip, EK_IDX_IMAGES, EK_ERR_FORMAT, "longer than the 4 bytes");
    header = idx_header(8, 3, (uint32_t[]){1 << 20, 1024, 1024});
    memcpy(zeros, header.data, header.size);
    zip = gzipped(zeros, sizeof zeros);
    refuses(&zip, EK_IDX_IMAGES, EK_ERR_FORMAT, "too short for what its header says (1048576 x 1 x 1024 x 1024)");
    zip = gzipped(header.data, header.size - 1);
    refuses(&zip, EK_IDX_IMAGES, EK_ERR_FORMAT, "ends inside its IDX header");
}

#else

static void refuses_gzip(void **state)
{
    (void)state;
    bytes b = {.size = 10, .data = "\x1f\x8b"};
    refuses(&b, EK_IDX_IMAGES, EK_ERR_UNSUPPORTED, "this build is without zlib; unpack it with gunzip");
}

#endif

/* ---- Memory -------------------------------------------------------------------------------------------------- */

static void survives_failing_allocations(void **state)
{
    (void)state;
    bytes b = idx_images(40, 8, 8, 3);
#ifdef EK_HAVE_ZLIB
    b = gzipped(b.data, b.size);
#endif
    put_bytes("file", &b);
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 100);
        ek_idx idx;
        ek_memory_fail_at(n);
        status = ek_idx_read(&idx, EK_IDX_IMAGES, "file");
        ek_memory_fail_at(0);
        if (status == EK_ERR_MEMORY)
            assert_message("out of memory");
        assert_int_equal(status == EK_OK, idx.data != NULL);
        ek_idx_free(&idx);
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 4, 100);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_images),
        TEST(reads_colours),
        TEST(reads_labels),
        TEST(digests_the_plain_file),
        TEST(digests_one_channel_alike),
        TEST(refuses_what_is_no_idx),
        TEST(refuses_every_truncation),
        TEST(refuses_bytes_behind),
        TEST(refuses_lying_headers),
        TEST(refuses_more_than_memory),
        TEST(refuses_what_is_no_file),
#ifdef EK_HAVE_ZLIB
        TEST(reads_gzip),
        TEST(reads_gzip_members),
        TEST(refuses_every_gzip_truncation),
        TEST(refuses_damaged_gzip),
        TEST(refuses_bytes_behind_gzip),
        TEST(refuses_gzip_of_another_size),
        TEST(refuses_gzip_bombs),
#else
        TEST(refuses_gzip),
#endif
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("data_idx", tests, NULL, NULL);
}
