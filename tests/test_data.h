/* SPDX-License-Identifier: MIT
 * What the tests of data sets share: an empty folder for each test, and files made without the code under test. */
#ifndef EK_TEST_DATA_H
#define EK_TEST_DATA_H

#include "base/memory.h"
#include "data/dataset.h"
#include "scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef EK_HAVE_ZLIB
#include <zlib.h>
#endif

static char folder[SCRATCH_SIZE];
static int open_files; /* before a test */

static inline int entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

/* An empty current folder; a home and a cache in it; no EVENKEEL_DATA. */
static inline int enter_folder(void **state)
{
    (void)state;
    open_files = entries("/proc/self/fd");
    umask(022);
    if (!mkdtemp(scratch_template(folder, "data")) || chdir(folder))
        return -1;
    unsetenv("EVENKEEL_DATA");
    unsetenv("XDG_CACHE_HOME");
    return setenv("HOME", folder, 1);
}

static inline int leave_folder(void **state)
{
    (void)state;
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(entries("/proc/self/fd"), open_files);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static inline void put(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Makes "a/b/c" and what is above it. */
static inline void make_folders(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "mkdir -p '%s'", path);
    assert_int_equal(system(command), 0);
}

/* A message for a person: one line, not empty, that holds `part`. */
static inline void assert_message(const char *part)
{
    const char *text = ek_error();
    if (!*text || strchr(text, '\n') || !strstr(text, part))
        fail_msg("the message is \"%s\", expected \"%s\" in it", text, part);
}

#define assert_fails(call, status, part)                                                                             \
    do {                                                                                                             \
        assert_string_equal(ek_status_name(call), ek_status_name(status));                                           \
        assert_message(part);                                                                                        \
    } while (0)

/* ---- IDX files ----------------------------------------------------------------------------------------------- */

typedef struct bytes {
    size_t size;
    unsigned char data[4096];
} bytes;

static inline void add(bytes *b, const void *data, size_t size)
{
    assert_true(b->size + size <= sizeof b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

/* Magic and extents, as an IDX file begins. */
static inline bytes idx_header(int type, int dimensions, const uint32_t *extent)
{
    bytes b = {0};
    add(&b, (unsigned char[]){0, 0, (unsigned char)type, (unsigned char)dimensions}, 4);
    for (int i = 0; i < dimensions; i++)
        for (int shift = 24; shift >= 0; shift -= 8)
            add(&b, &(unsigned char){(unsigned char)(extent[i] >> shift)}, 1);
    return b;
}

/* n images of h x w: pixel p of the file is seed + 7p. */
static inline bytes idx_images(uint32_t n, uint32_t h, uint32_t w, unsigned seed)
{
    bytes b = idx_header(8, 3, (uint32_t[]){n, h, w});
    for (uint32_t p = 0; p < n * h * w; p++)
        add(&b, &(unsigned char){(unsigned char)(seed + 7 * p)}, 1);
    return b;
}

static inline bytes idx_labels(uint32_t n, const unsigned char *labels)
{
    bytes b = idx_header(8, 1, &n);
    add(&b, labels, n);
    return b;
}

static inline void put_bytes(const char *path, const bytes *b)
{
    put(path, b->data, b->size);
}

#ifdef EK_HAVE_ZLIB
/* One gzip member. */
static inline bytes gzipped(const void *data, size_t size)
{
    bytes b = {0};
    z_stream zip = {.next_in = (z_const Bytef *)data, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&zip, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    zip.next_out = b.data;
    zip.avail_out = sizeof b.data;
    assert_int_equal(deflate(&zip, Z_FINISH), Z_STREAM_END);
    b.size = sizeof b.data - zip.avail_out;
    deflateEnd(&zip);
    return b;
}
#endif

/* ---- Data sets ----------------------------------------------------------------------------------------------- */

/* A small known set: 6 training and 3 test images of 4 x 5, three classes, its bytes decided by `seed`. */
typedef struct tiny {
    ek_known_set set;
    bytes file[2][2]; /* [ek_split][ek_idx_kind], plain */
    char digest[2][2][EK_DIGEST_TEXT];
} tiny;

static const char *const tiny_labels[] = {"red", "green", "blue"};

static inline void make_tiny(tiny *t, const char *name, unsigned seed)
{
    memset(t, 0, sizeof *t);
    t->set = (ek_known_set){
        .name = name, .title = name, .channels = 1, .height = 4, .width = 5, .classes = 3, .labels = tiny_labels};
    for (int split = 0; split < 2; split++) {
        uint32_t n = split ? 3 : 6;
        unsigned char labels[6];
        for (uint32_t i = 0; i < n; i++)
            labels[i] = (unsigned char)((i + seed) % 3);
        t->file[split][EK_IDX_IMAGES] = idx_images(n, 4, 5, seed + (unsigned)split);
        t->file[split][EK_IDX_LABELS] = idx_labels(n, labels);
        for (int kind = 0; kind < 2; kind++) {
            ek_digest digest;
            assert_int_equal(ek_digest_begin(&digest), EK_OK);
            ek_digest_add(&digest, t->file[split][kind].data, t->file[split][kind].size);
            ek_digest_end(&digest, t->digest[split][kind]);
            t->set.file[split][kind] = (ek_known_file){n, t->digest[split][kind]};
        }
    }
}

/* Its four files, plain, in a new folder. */
static inline void put_tiny(const tiny *t, const char *dir)
{
    make_folders(dir);
    for (int file = 0; file < 4; file++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, ek_known_file_name((ek_split)(file / 2), (ek_idx_kind)(file % 2)));
        put_bytes(path, &t->file[file / 2][file % 2]);
    }
}

/* Fashion-MNIST as Debian's package dataset-fashion-mnist installs it. */
#define REAL_FASHION "/usr/share/datasets/fashion-mnist"

static inline void need_fashion(void)
{
#ifdef EK_HAVE_ZLIB
    if (exists(REAL_FASHION "/train-images-idx3-ubyte.gz"))
        return;
    print_message("SKIP: Fashion-MNIST itself: " REAL_FASHION " is not installed\n");
#endif
    skip();
}

#endif
