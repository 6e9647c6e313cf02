/* SPDX-License-Identifier: MIT
 * Reading and writing files: atomic, permissions kept, devices not replaced, nothing left behind after a failure. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/memory.h"
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

/* Every test runs in an empty folder of its own. */
static char folder[SCRATCH_SIZE];

static int open_files; /* before a test */

static int entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static int enter_folder(void **state)
{
    (void)state;
    open_files = entries("/proc/self/fd");
    umask(022);
    return mkdtemp(scratch_template(folder, "file")) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    umount2("disk", MNT_DETACH); /* where a failed test left it */
    bool removed = chdir("/") == 0 && system(command) == 0;
    return removed && entries("/proc/self/fd") == open_files ? 0 : -1;
}

/* Writes without the code under test. */
static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *path, const char *text)
{
    char buffer[256];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    buffer[fread(buffer, 1, sizeof buffer - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(buffer, text);
}

static ek_status write_text(const char *path, const char *text)
{
    ek_file_writer *writer = (ek_file_writer *)path; /* must become NULL after a failure */
    ek_status status = ek_file_create(&writer, path);
    if (status) {
        assert_null(writer);
        return status;
    }
    status = ek_file_write(writer, text, strlen(text));
    ek_status committed = ek_file_commit(writer);
    assert_int_equal(committed, status);
    return status;
}

/* One clear line that names the file. */
static void assert_line(const char *path, const char *what)
{
    assert_null(strchr(ek_error(), '\n'));
    if (!strstr(ek_error(), path) || !strstr(ek_error(), what))
        fail_msg("'%s' should name '%s' and say '%s'", ek_error(), path, what);
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void test_reads_what_is_there(void **state)
{
    (void)state;
    unsigned char *data;
    size_t size;
    put("five", "12345");
    put("none", "");
    assert_int_equal(ek_file_read("five", 5, &data, &size), EK_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "12345", 6); /* the zero byte too */
    ek_free(data);
    assert_int_equal(ek_file_read("none", 0, &data, &size), EK_OK);
    assert_int_equal(size, 0);
    assert_int_equal(data[0], 0);
    ek_free(data);
}

static void test_refuses_to_read(void **state)
{
    (void)state;
    unsigned char *data;
    size_t size;
    put("five", "12345");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(ek_file_read("five", 4, &data, &size), EK_ERR_FORMAT);
    assert_line("five", "more than the 4");
    assert_null(data);
    assert_int_equal(ek_file_read("a\x9b"
                                  "b\xc2\x9b"
                                  "c\x1b\xc3\x9b",
                                  4, &data, &size),
                     EK_ERR_NOT_FOUND);
    assert_line("a?b??c \xc3\x9b", "cannot be opened"); /* nothing that steers a terminal */
    assert_int_equal(ek_file_read("sub", 9, &data, &size), EK_ERR_FORMAT);
    assert_line("sub", "a folder");
    assert_int_equal(ek_file_read("pipe", 9, &data, &size), EK_ERR_FORMAT); /* and does not wait for a writer */
    assert_line("pipe", "a pipe, not a file");
    assert_int_equal(ek_file_read("/dev/zero", SIZE_MAX, &data, &size), EK_ERR_FORMAT);
    assert_line("/dev/zero", "a device, not a file");
    assert_int_equal(ek_file_read("missing", 9, &data, &size), EK_ERR_NOT_FOUND);
    assert_line("missing", "No such file");
    assert_int_equal(ek_file_read("five/x", 9, &data, &size), EK_ERR_NOT_FOUND);
    assert_int_equal(ek_file_read("", 9, &data, &size), EK_ERR_ARGUMENT);
    assert_int_equal(ek_file_read(NULL, 9, &data, &size), EK_ERR_ARGUMENT);
}

static void test_writes_a_new_file(void **state)
{
    (void)state;
    ek_file_writer *writer;
    umask(027);
    assert_int_equal(ek_file_create(&writer, "new"), EK_OK);
    assert_int_equal(ek_file_write(writer, "ab", 2), EK_OK);
    assert_int_equal(ek_file_write(writer, "", 0), EK_OK);
    assert_int_equal(ek_file_write(writer, "cd", 2), EK_OK);
    assert_int_equal(access("new", F_OK), -1); /* not before it is whole */
    assert_int_equal(ek_file_commit(writer), EK_OK);
    assert_content("new", "abcd");
    assert_int_equal(mode_of("new"), 0640);
    assert_int_equal(entries("."), 1);
}

static void test_replaces_and_keeps_permissions(void **state)
{
    (void)state;
    put("old", "old content");
    assert_int_equal(chmod("old", 0604), 0);
    assert_int_equal(write_text("old", "new"), EK_OK);
    assert_content("old", "new");
    assert_int_equal(mode_of("old"), 0604);
    assert_int_equal(entries("."), 1);
}

static void test_abandons(void **state)
{
    (void)state;
    ek_file_writer *writer;
    put("old", "old content");
    assert_int_equal(ek_file_create(&writer, "old"), EK_OK);
    assert_int_equal(ek_file_write(writer, "new", 3), EK_OK);
    assert_int_equal(entries("."), 2);
    ek_file_abandon(writer);
    ek_file_abandon(NULL);
    assert_content("old", "old content");
    assert_int_equal(entries("."), 1);
}

static void test_follows_links(void **state)
{
    (void)state;
    struct stat info;
    assert_int_equal(mkdir("sub", 0700), 0);
    put("sub/real", "old");
    assert_int_equal(symlink("sub/real", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(write_text("link", "new"), EK_OK);
    assert_content("sub/real", "new");
    assert_int_equal(lstat("link", &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(entries("sub"), 1);
    assert_int_equal(write_text("dangling", "new"), EK_ERR_NOT_FOUND);
    assert_line("dangling", "symbolic link");
    assert_int_equal(write_text("loop", "new"), EK_ERR_IO);
    assert_line("loop", "Too many levels");
    assert_int_equal(entries("."), 4);
}

/* A device like /dev/full. Never that one itself as root: a faulty writer would replace it. */
static const char *full_device(void)
{
    if (geteuid() != 0)
        return "/dev/full";
    return mknod("full", S_IFCHR | 0666, makedev(1, 7)) == 0 && access("full", W_OK) == 0 ? "full" : NULL;
}

static void test_writes_straight_into_devices(void **state)
{
    (void)state;
    const char *full = full_device();
    struct stat before, after;
    if (!full) {
        print_message("SKIP: devices cannot be tested: root cannot make one here\n");
        skip();
    }
    assert_int_equal(stat(full, &before), 0);
    assert_int_equal(write_text(full, "too much"), EK_ERR_IO);
    assert_line(full, "No space left");
    assert_true(ek_file_wanted_room());
    assert_int_equal(write_text(".", "for want of another thing"), EK_ERR_IO);
    assert_true(!ek_file_wanted_room());
    assert_int_equal(write_text(full, ""), EK_OK);
    assert_int_equal(stat(full, &after), 0);
    assert_true(S_ISCHR(after.st_mode) && before.st_ino == after.st_ino);
}

static void test_writes_straight_into_pipes(void **state)
{
    (void)state;
    char text[8] = "", through[64];
    assert_int_equal(mkfifo("pipe", 0600), 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(write_text("pipe", "through"), EK_OK);
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_memory_equal(text, "through", 7);
    close(reader);
    assert_int_equal(entries("."), 1);

    int ends[2]; /* without a name in any folder, as /dev/stdout often is */
    assert_int_equal(pipe(ends), 0);
    snprintf(through, sizeof through, "/proc/self/fd/%d", ends[1]);
    assert_int_equal(write_text(through, "another"), EK_OK);
    assert_int_equal(read(ends[0], text, sizeof text), 7);
    assert_memory_equal(text, "another", 7);
    close(ends[0]);
    close(ends[1]);
}

static void test_refuses_to_write(void **state)
{
    (void)state;
    char longest[PATH_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(mkdir("sub", 0700), 0);
    put("file", "x");
    assert_int_equal(write_text("sub", "x"), EK_ERR_IO);
    assert_line("sub", "a folder");
    assert_int_equal(write_text("sub/", "x"), EK_ERR_IO);
    assert_int_equal(write_text("missing/file", "x"), EK_ERR_NOT_FOUND);
    assert_line("missing/file", "its folder does not exist");
    assert_int_equal(write_text("missing/", "x"), EK_ERR_NOT_FOUND);
    assert_int_equal(write_text("file/x", "x"), EK_ERR_IO);
    assert_line("file/x", "Not a directory");
    assert_int_equal(write_text(longest, "x"), EK_ERR_IO);
    assert_non_null(strstr(ek_error(), "aaaa"));
    assert_int_equal(write_text("", "x"), EK_ERR_ARGUMENT);
    ek_file_writer *writer;
    assert_int_equal(ek_file_create(&writer, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(entries("."), 2);
    assert_content("file", "x");
}

/* As another user when the tests run as root, whom permissions do not stop. */
static void test_respects_permissions(void **state)
{
    (void)state;
    bool root = geteuid() == 0;
    put("read-only", "old");
    assert_int_equal(chmod("read-only", 0444), 0);
    assert_int_equal(mkdir("closed", 0555), 0);
    if (root) {
        assert_int_equal(chmod(".", 0777), 0);
        if (setresuid(65534, 65534, 0)) { /* access() asks for the real user */
            print_message("SKIP: permissions cannot be tested: root cannot become another user\n");
            skip();
        }
    }
    ek_status onto_file = write_text("read-only", "new");
    assert_line("read-only", "Permission denied");
    ek_status into_folder = write_text("closed/file", "new");
    assert_line("closed/file", "Permission denied");
    if (root)
        assert_int_equal(setresuid(0, 0, 0), 0);
    assert_int_equal(onto_file, EK_ERR_IO);
    assert_int_equal(into_folder, EK_ERR_IO);
    assert_content("read-only", "old");
    assert_int_equal(entries("."), 2);
    assert_int_equal(entries("closed"), 0);
}

/* Fills what room there is, through a writer, and expects the failure in write and in commit. */
static void fill(const char *path, int error)
{
    static const char chunk[1 << 16];
    ek_file_writer *writer;
    assert_int_equal(ek_file_create(&writer, path), EK_OK);
    ek_status status = EK_OK;
    for (int i = 0; i < 64 && !status; i++)
        status = ek_file_write(writer, chunk, sizeof chunk);
    assert_int_equal(status, EK_ERR_IO);
    assert_line(path, strerror(error));
    assert_int_equal(ek_file_write(writer, "x", 1), EK_ERR_IO); /* remembered */
    assert_int_equal(ek_file_commit(writer), EK_ERR_IO);
    assert_line(path, strerror(error));
}

static void test_a_limit_is_hit_on_the_way(void **state)
{
    (void)state;
    struct rlimit old, small = {1 << 20, 1 << 20};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    put("old", "old content");
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fill("old", EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_content("old", "old content");
    assert_int_equal(entries("."), 1);
}

static void test_the_disk_is_full(void **state)
{
    (void)state;
    assert_int_equal(mkdir("disk", 0700), 0);
    if (mount("none", "disk", "tmpfs", 0, "size=256k")) {
        print_message("SKIP: a full disk cannot be tested: no right to mount a tmpfs (%s)\n", strerror(errno));
        skip();
    }
    put("disk/old", "old content");
    fill("disk/old", ENOSPC);
    assert_content("disk/old", "old content");
    assert_int_equal(entries("disk"), 1);
    assert_int_equal(umount("disk"), 0);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    unsigned char *data;
    size_t size;
    put("old", "old content");
    int failures = 0;
    for (int n = 1;; n++) {
        ek_memory_fail_at(n);
        ek_status written = write_text("old", "old content");
        ek_status read = ek_file_read("old", 100, &data, &size);
        ek_memory_fail_at(0);
        ek_free(data);
        assert_content("old", "old content");
        assert_int_equal(entries("."), 1);
        if (!written && !read)
            break;
        assert_true(written == EK_ERR_MEMORY || read == EK_ERR_MEMORY);
        failures++;
    }
    assert_in_range(failures, 3, 20);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_reads_what_is_there),
        IN_FOLDER(test_refuses_to_read),
        IN_FOLDER(test_writes_a_new_file),
        IN_FOLDER(test_replaces_and_keeps_permissions),
        IN_FOLDER(test_abandons),
        IN_FOLDER(test_follows_links),
        IN_FOLDER(test_writes_straight_into_devices),
        IN_FOLDER(test_writes_straight_into_pipes),
        IN_FOLDER(test_refuses_to_write),
        IN_FOLDER(test_respects_permissions),
        IN_FOLDER(test_a_limit_is_hit_on_the_way),
        IN_FOLDER(test_the_disk_is_full),
        IN_FOLDER(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
