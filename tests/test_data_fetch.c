/* SPDX-License-Identifier: MIT
 * Downloading data sets, from a server of our own that keeps the rules or breaks them: tests/fetch/server.py. */
#define _GNU_SOURCE
#include "test_data.h"

#include "data/fetch.h"

#if defined EK_HAVE_CURL && defined EK_HAVE_DIGEST && defined EK_HAVE_ZLIB

#include "fetch/server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

/* ---- The server --------------------------------------------------------------------------------------------- */

static tiny one;
static char first[64]; /* the first file that a fetch asks for */

/* Packed files of a small set at ROOT; Fashion-MNIST's own below ROOT/real. */
static void fill_root(void)
{
    char path[SCRATCH_SIZE + 64];
    for (int file = 0; file < 4; file++) {
        const bytes *plain = &one.file[file / 2][file % 2];
        bytes packed = gzipped(plain->data, plain->size);
        snprintf(path, sizeof path, "%s/%s.gz", root,
                 ek_known_file_name((ek_split)(file / 2), (ek_idx_kind)(file % 2)));
        put_bytes(path, &packed);
    }
    snprintf(path, sizeof path, "%s/real", root);
    assert_int_equal(symlink(REAL_FASHION, path), 0);
}

static int start_server(void **state)
{
    (void)state;
    make_tiny(&one, "one", 1);
    snprintf(first, sizeof first, "%s.gz", ek_known_file_name(EK_SPLIT_TRAIN, EK_IDX_LABELS));
    if (!start_serving())
        return -1;
    fill_root();
    return 0;
}

/* ---- Fetching ----------------------------------------------------------------------------------------------- */

/* Fetches the small set into "d" from mirrors that behave as `hows` say, "good" or "missing good". */
static ek_status fetch_with(const char *hows, ek_fetch_options options)
{
    static char address[8][64];
    const char *mirrors[8] = {NULL};
    char list[128];
    int count = 0;
    snprintf(list, sizeof list, "%s", hows);
    for (char *rest = list, *how; (how = strsep(&rest, " "));) {
        snprintf(address[count], sizeof address[count], "http://127.0.0.1:%d/%s%s", port, how, count % 2 ? "" : "/");
        mirrors[count] = address[count];
        count++;
    }
    options.dir = options.dir ? options.dir : "d";
    options.mirrors = mirrors;
    options.stall_timeout = options.stall_timeout ? options.stall_timeout : 10; /* busy machines stall too */
    return ek_fetch_set(&one.set, &options);
}

static ek_status fetch(const char *hows)
{
    return fetch_with(hows, (ek_fetch_options){0});
}

/* The folder "d" holds the whole set, and nothing else. */
static void assert_complete(void)
{
    const ek_known_set sets[] = {one.set, {.name = NULL}};
    for (int split = 0; split < 2; split++) {
        ek_dataset *d;
        ek_dataset_info info;
        assert_int_equal(ek_dataset_open_among(&d, "./d", &(ek_data_options){.split = (ek_split)split}, sets), EK_OK);
        ek_dataset_get_info(d, &info);
        assert_string_equal(info.name, "one");
        ek_dataset_free(d);
    }
    assert_int_equal(entries("d"), 4);
}

static void assert_fetches(const char *hows)
{
    if (fetch(hows))
        fail_msg("%s: %s", hows, ek_error());
    assert_complete();
}

/* No file has got its name; `parts` are kept for the next time. */
static void assert_nothing_there(int parts)
{
    char path[256];
    snprintf(path, sizeof path, "d/%s", first);
    assert_false(exists(path));
    strcat(path, ".part");
    assert_int_equal(exists(path), parts);
    assert_int_equal(entries("d"), parts);
}

static void put_part(const void *data, size_t size)
{
    char path[256];
    make_folders("d");
    snprintf(path, sizeof path, "d/%s.part", first);
    put(path, data, size);
}

static bytes packed_first(void)
{
    const bytes *plain = &one.file[EK_SPLIT_TRAIN][EK_IDX_LABELS];
    return gzipped(plain->data, plain->size);
}

/* ---- What works --------------------------------------------------------------------------------------------- */

static void fetches_into_a_new_folder(void **state)
{
    (void)state;
    assert_int_equal(fetch_with("good", (ek_fetch_options){.dir = "a/b/c"}), EK_OK);
    assert_int_equal(entries("a/b/c"), 4);
    assert_int_equal(logged("good"), 4);
}

static void fetches_into_the_cache(void **state)
{
    (void)state;
    char address[64];
    const ek_known_set sets[] = {one.set, {.name = NULL}};
    snprintf(address, sizeof address, "http://127.0.0.1:%d/good", port);
    const char *mirrors[] = {address, NULL};
    assert_int_equal(ek_fetch_set(&one.set, &(ek_fetch_options){.mirrors = mirrors}), EK_OK);
    assert_int_equal(entries(".cache/evenkeel/one"), 4);
    ek_dataset *d;
    assert_int_equal(ek_dataset_open_among(&d, "one", &(ek_data_options){.split = EK_SPLIT_TEST}, sets),
                     EK_OK); /* where it is looked for */
    ek_dataset_free(d);
}

static void keeps_what_is_right(void **state)
{
    (void)state;
    put_tiny(&one, "d"); /* plain files serve as well */
    assert_fetches("missing");
    assert_int_equal(logged("missing"), 0);
}

static void fetches_what_is_missing(void **state)
{
    (void)state;
    assert_fetches("good");
    assert_int_equal(unlink("d/t10k-labels-idx1-ubyte.gz"), 0);
    assert_fetches("redirect");
    assert_int_equal(logged("redirect"), 1);
}

/* A wrong file gives way, packed or plain; a wrong plain one would hide the right packed one from ek_dataset_open. */
static void replaces_what_is_wrong(void **state)
{
    (void)state;
    assert_fetches("good");
    put("d/train-images-idx3-ubyte.gz", "rubbish", 7);
    put_bytes("d/t10k-labels-idx1-ubyte", &one.file[EK_SPLIT_TRAIN][EK_IDX_LABELS]);
    assert_fetches("once");
    assert_int_equal(logged("once"), 2); /* the first is cut short, the second goes on */
    assert_int_equal(unlink("d/t10k-images-idx3-ubyte.gz"), 0);
    put("d/t10k-images-idx3-ubyte", "rubbish", 7);
    assert_fetches("good");
}

static void tries_mirrors_in_order(void **state)
{
    (void)state;
    assert_fetches("missing page drop good truncate");
    assert_int_equal(logged("missing"), 4);
    assert_int_equal(logged("page"), 4);
    assert_int_equal(logged("good"), 4);
    assert_int_equal(logged("truncate"), 0);
}

/* ---- Going on where it stopped ------------------------------------------------------------------------------ */

static void resumes_half_a_file(void **state)
{
    (void)state;
    bytes packed = packed_first();
    char line[128];
    put_part(packed.data, 20);
    assert_fetches("good");
    snprintf(line, sizeof line, "good %s bytes=20-", first);
    assert_int_equal(logged(line), 1);
    assert_int_equal(logged("good"), 4);
}

static void resumes_at_the_next_mirror(void **state)
{
    (void)state;
    assert_fetches("truncate good");
    char line[128];
    snprintf(line, sizeof line, "good %s bytes=", first);
    assert_int_equal(logged(line), 1);
}

static void starts_over_where_ranges_are_ignored(void **state)
{
    (void)state;
    bytes packed = packed_first();
    put_part(packed.data, 20);
    assert_fetches("norange");
}

static void starts_over_from_a_misplaced_range(void **state)
{
    (void)state;
    bytes packed = packed_first();
    put_part(packed.data, 20);
    assert_fetches("misplaced");
    assert_int_equal(logged("misplaced"), 5);
}

/* Half of something else: the whole is wrong, so it is fetched from its start. */
static void starts_over_from_a_wrong_half(void **state)
{
    (void)state;
    put_part("twenty bytes of other", 20);
    assert_fetches("good");
    assert_int_equal(logged("good"), 5);
}

/* As long as the file, or longer: the server has nothing behind it. */
static void starts_over_from_too_long_a_part(void **state)
{
    (void)state;
    static const char zeros[200000];
    bytes packed = packed_first();
    put_part(packed.data, packed.size);
    assert_fetches("good");
    assert_int_equal(system("rm -r d"), 0);
    put_part(zeros, sizeof zeros);
    assert_fetches("good");
}

/* ---- What does not work ------------------------------------------------------------------------------------- */

static void tells_each_mirror_s_reason(void **state)
{
    (void)state;
    assert_fails(fetch("missing drop"), EK_ERR_NETWORK, "train-labels-idx1-ubyte.gz: no mirror gave it: ");
    assert_message("/missing/train-labels-idx1-ubyte.gz: ");
    assert_message("404; ");
    assert_message("/drop/train-labels-idx1-ubyte.gz: Empty reply");
    assert_nothing_there(0);
}

static void gives_up_truncated_files(void **state)
{
    (void)state;
    assert_fails(fetch("truncate"), EK_ERR_NETWORK, "train-labels-idx1-ubyte.gz: ");
    assert_int_equal(logged("truncate"), 4); /* each try gave some bytes */
    assert_nothing_there(1);
    assert_fetches("good");
}

static void gives_up_stalled_mirrors(void **state)
{
    (void)state;
    assert_fails(fetch_with("mute stall", (ek_fetch_options){.stall_timeout = 1}), EK_ERR_NETWORK,
                 "not a byte for 1 s");
    assert_message("/mute/");
    assert_message("/stall/");
    assert_nothing_there(1);
    assert_fetches("good");
}

static void gives_up_unreachable_mirrors(void **state)
{
    (void)state;
    const char *mirrors[] = {"http://127.0.0.1:1/", "gopher://127.0.0.1/", "file:///", NULL};
    assert_fails(ek_fetch_set(&one.set, &(ek_fetch_options){.dir = "d", .mirrors = mirrors}), EK_ERR_NETWORK,
                 "http://127.0.0.1:1/train-labels-idx1-ubyte.gz: Failed to connect");
    assert_message("file:///train-labels-idx1-ubyte.gz: Protocol \"file\" not supported");
    assert_nothing_there(0);
}

static void refuses_wrong_files(void **state)
{
    (void)state;
    assert_fails(fetch("wrong"), EK_ERR_DIGEST, "a wrong file: d/train-labels-idx1-ubyte.gz.part: SHA-256 of its");
    assert_nothing_there(0);
    assert_fails(fetch("page"), EK_ERR_DIGEST, "no IDX file of bytes: it begins 3c 21");
    assert_nothing_there(0);
    assert_fails(fetch("less"), EK_ERR_DIGEST, "gzip data is cut short");
    assert_nothing_there(0);
    assert_fails(fetch("empty"), EK_ERR_NETWORK, "an empty answer");
    assert_nothing_there(0);
}

static void refuses_files_without_end(void **state)
{
    (void)state;
    assert_fails(fetch("endless"), EK_ERR_DIGEST, "more than the 65542 bytes the file can have");
    assert_nothing_there(0);
    assert_fails(fetch("huge"), EK_ERR_DIGEST, "more than the 65542 bytes the file can have");
    assert_nothing_there(0);
}

static void refuses_bad_redirects(void **state)
{
    (void)state;
    assert_fails(fetch("loop"), EK_ERR_NETWORK, "Maximum (5) redirects followed");
    assert_fails(fetch("file"), EK_ERR_NETWORK, "Protocol \"file\" not supported");
    assert_nothing_there(0);
}

static void refuses_bad_requests(void **state)
{
    (void)state;
    assert_fails(ek_dataset_fetch("nine", NULL), EK_ERR_NOT_FOUND,
                 "nine: no data set that can be downloaded; known are "
                 "fashion-mnist, mnist, cifar-10, cifar-100");
    assert_fails(ek_dataset_fetch(NULL, NULL), EK_ERR_NOT_FOUND, "known are");
    assert_fails(fetch_with("good", (ek_fetch_options){.stall_timeout = -1}), EK_ERR_ARGUMENT, "timeout");
    assert_fails(fetch_with("good", (ek_fetch_options){.connect_timeout = -1}), EK_ERR_ARGUMENT, "timeout");
    unsetenv("HOME");
    assert_fails(ek_dataset_fetch("mnist", NULL), EK_ERR_NOT_FOUND, "no cache folder: set HOME");
    put("d", "a file", 6);
    assert_fails(fetch("good"), EK_ERR_IO, "d: cannot be opened: Not a directory");
    assert_fails(fetch_with("good", (ek_fetch_options){.dir = "d/e"}), EK_ERR_IO, "d/e: the folder cannot be made");
    assert_fails(fetch_with("good", (ek_fetch_options){.dir = ""}), EK_ERR_ARGUMENT, "empty");
}

/* One download into a folder at a time. */
static void locks_the_folder(void **state)
{
    (void)state;
    make_folders("d");
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_fails(fetch("good"), EK_ERR_STATE, "d: another download into this folder is running");
    close(fd);
    assert_fetches("good");
}

/* A file-size limit stands for a full disk. */
static void leaves_nothing_on_a_full_disk(void **state)
{
    (void)state;
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 8;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ek_status status = fetch("good");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, EK_ERR_IO);
    assert_message("train-labels-idx1-ubyte.gz.part: cannot be written: File too large");
    assert_nothing_there(0);
}

/* ---- Progress ----------------------------------------------------------------------------------------------- */

typedef struct watch {
    char last[64];
    int64_t done, total;
    int files, calls, stop_at; /* stop_at 0: never */
} watch;

static int on_progress(void *user, const char *file, int64_t done, int64_t total)
{
    watch *w = user;
    if (strcmp(w->last, file) != 0) {
        snprintf(w->last, sizeof w->last, "%s", file);
        w->files++;
    }
    w->done = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

static void tells_progress(void **state)
{
    (void)state;
    watch w = {.stop_at = 0};
    assert_int_equal(fetch_with("good", (ek_fetch_options){.progress = on_progress, .user = &w}), EK_OK);
    struct stat info;
    assert_int_equal(stat("d/t10k-images-idx3-ubyte.gz", &info), 0);
    assert_string_equal(w.last, "t10k-images-idx3-ubyte.gz");
    assert_int_equal(w.files, 4);
    assert_int_equal(w.done, info.st_size);
    assert_int_equal(w.total, info.st_size);
}

static void stops_when_asked(void **state)
{
    (void)state;
    watch w = {.stop_at = 1};
    assert_fails(fetch_with("good", (ek_fetch_options){.progress = on_progress, .user = &w}), EK_ERR_STOPPED,
                 "train-labels-idx1-ubyte.gz: stopped after 0 bytes");
    assert_int_equal(w.calls, 1);
    assert_nothing_there(0);
}

/* ---- Memory, and the real one ------------------------------------------------------------------------------- */

static void survives_failing_allocations(void **state)
{
    (void)state;
    ek_status status = EK_ERR_MEMORY;
    int64_t n = 0;
    while (status == EK_ERR_MEMORY) {
        assert_in_range(++n, 1, 300);
        assert_int_equal(system("rm -rf d"), 0);
        ek_memory_fail_at(n);
        status = fetch("good");
        ek_memory_fail_at(0);
    }
    assert_int_equal(status, EK_OK);
    assert_in_range(n, 20, 300);
    assert_complete();
}

static void fetches_fashion_mnist(void **state)
{
    (void)state;
    need_fashion();
    char address[64];
    snprintf(address, sizeof address, "http://127.0.0.1:%d/good/real", port);
    const char *mirrors[] = {address, NULL};
    assert_int_equal(ek_dataset_fetch("fashion-mnist", &(ek_fetch_options){.mirrors = mirrors}), EK_OK);
    ek_dataset *d;
    ek_dataset_info info;
    assert_int_equal(ek_dataset_open(&d, "fashion-mnist", EK_SPLIT_TEST), EK_OK);
    ek_dataset_get_info(d, &info);
    assert_string_equal(info.name, "fashion-mnist");
    assert_non_null(strstr(info.path, "/.cache/evenkeel/fashion-mnist"));
    ek_dataset_free(d);
    assert_int_equal(ek_dataset_fetch("fashion-mnist", &(ek_fetch_options){.mirrors = mirrors}), EK_OK);
    assert_int_equal(logged("good real/"), 4);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fetches_into_a_new_folder),
        TEST(fetches_into_the_cache),
        TEST(keeps_what_is_right),
        TEST(fetches_what_is_missing),
        TEST(replaces_what_is_wrong),
        TEST(tries_mirrors_in_order),
        TEST(resumes_half_a_file),
        TEST(resumes_at_the_next_mirror),
        TEST(starts_over_where_ranges_are_ignored),
        TEST(starts_over_from_a_misplaced_range),
        TEST(starts_over_from_a_wrong_half),
        TEST(starts_over_from_too_long_a_part),
        TEST(tells_each_mirror_s_reason),
        TEST(gives_up_truncated_files),
        TEST(gives_up_stalled_mirrors),
        TEST(gives_up_unreachable_mirrors),
        TEST(refuses_wrong_files),
        TEST(refuses_files_without_end),
        TEST(refuses_bad_redirects),
        TEST(refuses_bad_requests),
        TEST(locks_the_folder),
        TEST(leaves_nothing_on_a_full_disk),
        TEST(tells_progress),
        TEST(stops_when_asked),
        TEST(survives_failing_allocations),
        TEST(fetches_fashion_mnist),
    };
    return cmocka_run_group_tests_name("data_fetch", tests, start_server, stop_server);
}

#else

static void refuses_without_libraries(void **state)
{
    (void)state;
    assert_fails(ek_dataset_fetch("mnist", NULL), EK_ERR_UNSUPPORTED,
                 "mnist cannot be downloaded: this build is without");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_without_libraries)};
    return cmocka_run_group_tests_name("data_fetch", tests, NULL, NULL);
}

#endif
