/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/fetch.h"

#if defined EK_HAVE_CURL && defined EK_HAVE_DIGEST && defined EK_HAVE_ZLIB

#include "base/memory.h"
#include "data/download.h"
#include "data/places.h"
#include "data/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 4 }; /* of one mirror that gives some bytes each time */

/* Bringing one file. */
typedef struct job job;
struct job {
    const ek_known_set *set;
    const ek_fetch_options *options; /* with the defaults filled in */
    int folder_fd;
    ek_path folder;
    ek_split split; /* of an IDX file */
    ek_idx_kind kind;
    const char *name;                                     /* of the file at the mirrors */
    int64_t most;                                         /* bytes that it can have */
    ek_status (*check)(const job *job, const char *path); /* EK_OK, or as is_wrong below says, for a wrong file */
    ek_status (*install)(job *job);                       /* the part is whole and right */
    ek_path plain, packed, part;                          /* of an IDX file NAME, NAME.gz, NAME.gz.part */
    char reasons[800];                                    /* why each mirror failed */
    bool network;                                         /* one of them not for its content */
};

/* ---- Is a file right? --------------------------------------------------------------------------------------- */

/* An IDX file, by its decoded content. */
static ek_status check_file(const job *j, const char *path)
{
    ek_idx idx;
    EK_TRY(ek_idx_read(&idx, j->kind, path));
    ek_idx_free(&idx);
    const char *wanted = j->set->file[j->split][j->kind].digest;
    if (strcmp(idx.digest, wanted) == 0)
        return EK_OK;
    return ek_fail(EK_ERR_DIGEST, "%s: SHA-256 of its content is %.12s..., not %.12s...", path, idx.digest, wanted);
}

static bool is_wrong(ek_status status)
{
    return status == EK_ERR_FORMAT || status == EK_ERR_UNSUPPORTED || status == EK_ERR_DIGEST;
}

static ek_status remove_file(const char *path)
{
    if (unlink(path) && errno != ENOENT)
        return ek_fail(EK_ERR_IO, "%s: cannot be removed: %s", path, strerror(errno));
    return EK_OK;
}

/* *done when the file is there. A wrong plain file goes as soon as a right packed one is there: opening takes the
 * plain one first. */
static ek_status keep_what_is_right(job *j, bool *done)
{
    ek_status plain = check_file(j, j->plain);
    *done = plain == EK_OK;
    if (*done)
        return EK_OK;
    if (plain != EK_ERR_NOT_FOUND && !is_wrong(plain))
        return plain;
    ek_status packed = check_file(j, j->packed);
    *done = packed == EK_OK;
    if (*done)
        return remove_file(j->plain);
    return packed == EK_ERR_NOT_FOUND || is_wrong(packed) ? EK_OK : packed;
}

/* The part becomes the file. */
static ek_status install_file(job *j)
{
    if (rename(j->part, j->packed))
        return ek_fail(EK_ERR_IO, "%s: cannot be written: %s", j->packed, strerror(errno));
    fsync(j->folder_fd); /* where a folder cannot be synced the file is there all the same */
    return remove_file(j->plain);
}

/* ---- Mirrors ------------------------------------------------------------------------------------------------ */

static void note_reason(job *j, ek_status status)
{
    size_t length = strlen(j->reasons);
    snprintf(j->reasons + length, sizeof j->reasons - length, "%s%s", length ? "; " : "", ek_error());
    j->network = j->network || !is_wrong(status);
}

/* The part, said to be whole. A wrong one goes, so that nothing is built on it. */
static ek_status check_part(job *j, const char *url)
{
    ek_status status = j->check(j, j->part);
    if (!is_wrong(status))
        return status;
    EK_TRY(remove_file(j->part));
    return ek_fail(status, "%s: a wrong file: %s", url, ek_error());
}

/* EK_OK when the file is in place. The other mirrors can help where it is EK_ERR_NETWORK, or wrong. */
static ek_status try_mirror(job *j, const char *base)
{
    ek_path url;
    EK_TRY(ek_path_join(url, base, j->name, ""));
    ek_download download = {
        .url = url,
        .path = j->part,
        .name = j->name,
        .most = j->most,
        .connect_timeout = j->options->connect_timeout,
        .stall_timeout = j->options->stall_timeout,
        .progress = j->options->progress,
        .user = j->options->user,
    };
    ek_status status = EK_OK;
    for (int i = 0; i < TRIES; i++) {
        bool resumed;
        int64_t gained;
        status = ek_download_run(&download, &resumed, &gained);
        if (!status)
            status = check_part(j, url);
        if (!status)
            return j->install(j);
        bool wrong_start = is_wrong(status) && resumed, cut_short = status == EK_ERR_NETWORK && gained > 0;
        if (!wrong_start && !cut_short)
            break;
    }
    return status;
}

static ek_status try_mirrors(job *j)
{
    j->reasons[0] = '\0';
    j->network = false;
    for (const char *const *mirror = j->options->mirrors; *mirror; mirror++) {
        ek_status status = try_mirror(j, *mirror);
        if (status != EK_ERR_NETWORK && !is_wrong(status))
            return status;
        note_reason(j, status);
    }
    return ek_fail(j->network ? EK_ERR_NETWORK : EK_ERR_DIGEST, "%s: no mirror gave it: %s", j->name, j->reasons);
}

/* ---- IDX files ---------------------------------------------------------------------------------------------- */

static ek_status fetch_file(job *j)
{
    const char *name = ek_known_file_name(j->split, j->kind);
    int64_t data = j->set->file[j->split][j->kind].n;
    bool done;
    if (j->kind == EK_IDX_IMAGES)
        data *= (int64_t)j->set->channels * j->set->height * j->set->width;
    j->most = data + data / 512 + 65536; /* gzip's worst case, and room for headers */
    j->check = check_file;
    j->install = install_file;
    EK_TRY(ek_path_join(j->plain, j->folder, name, ""));
    EK_TRY(ek_path_join(j->packed, j->folder, name, ".gz"));
    EK_TRY(ek_path_join(j->part, j->folder, name, ".gz.part"));
    j->name = strrchr(j->packed, '/') + 1;
    EK_TRY(keep_what_is_right(j, &done));
    return done ? EK_OK : try_mirrors(j);
}

static ek_status fetch_idx(job *j)
{
    for (int file = 0; file < 4; file++) {
        j->split = file < 2 ? EK_SPLIT_TRAIN : EK_SPLIT_TEST;
        j->kind = file % 2 ? EK_IDX_IMAGES : EK_IDX_LABELS; /* the short one first: it tells soon if all is well */
        EK_TRY(fetch_file(j));
    }
    return EK_OK;
}

/* ---- An archive of CIFAR's files ---------------------------------------------------------------------------- */

/* Any file, by its bytes as they are. */
static ek_status check_digest(const char *path, const char *wanted)
{
    unsigned char piece[1 << 14];
    char text[EK_DIGEST_TEXT];
    ek_digest digest;
    EK_TRY(ek_digest_begin(&digest));
    FILE *file = fopen(path, "rb");
    if (!file) {
        ek_digest_end(&digest, NULL);
        return ek_fail(errno == ENOENT ? EK_ERR_NOT_FOUND : EK_ERR_IO, "%s: cannot be read: %s", path,
                       strerror(errno));
    }
    for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
        ek_digest_add(&digest, piece, got);
    const bool failed = ferror(file);
    ek_digest_end(&digest, text);
    fclose(file);
    if (failed)
        return ek_fail(EK_ERR_IO, "%s: cannot be read", path);
    if (strcmp(text, wanted) != 0)
        return ek_fail(EK_ERR_DIGEST, "%s: its SHA-256 is %.12s..., not %.12s...", path, text, wanted);
    return EK_OK;
}

static ek_status check_archive(const job *j, const char *path)
{
    return check_digest(path, j->set->cifar->archive_digest);
}

/* Where a file of the archive goes: j->plain is set to it. */
static const char *take_batch(void *user, const char *name, int64_t size)
{
    job *j = user;
    const ek_known_cifar *cifar = j->set->cifar;
    const size_t folder = strlen(cifar->folder);
    (void)size;
    name += strncmp(name, "./", 2) ? 0 : 2;
    if (strncmp(name, cifar->folder, folder) != 0 || name[folder] != '/')
        return NULL;
    for (int split = 0; split < 2; split++)
        for (const ek_known_batch *batch = cifar->batch[split]; batch->name; batch++)
            if (!strcmp(batch->name, name + folder + 1) && !ek_path_join(j->plain, j->folder, batch->name, ""))
                return j->plain;
    return NULL;
}

static ek_status install_archive(job *j)
{
    EK_TRY(ek_tar_extract(j->part, take_batch, j));
    return remove_file(j->part);
}

static ek_status fetch_archive(job *j)
{
    const ek_known_cifar *cifar = j->set->cifar;
    bool done = true;
    j->name = cifar->archive;
    j->most = cifar->archive_size;
    j->check = check_archive;
    j->install = install_archive;
    EK_TRY(ek_path_join(j->part, j->folder, cifar->archive, ".part"));
    for (int split = 0; split < 2; split++)
        for (const ek_known_batch *batch = cifar->batch[split]; batch->name && done; batch++) {
            EK_TRY(ek_path_join(j->plain, j->folder, batch->name, ""));
            const ek_status status = check_digest(j->plain, batch->digest);
            if (status && status != EK_ERR_NOT_FOUND && status != EK_ERR_DIGEST)
                return status;
            done = !status;
        }
    if (done)
        return EK_OK;
    /* All of it may be there from a fetch that could not unpack it. */
    const ek_status part = check_archive(j, j->part);
    if (part && part != EK_ERR_NOT_FOUND && part != EK_ERR_DIGEST)
        return part;
    return part ? try_mirrors(j) : install_archive(j);
}

/* ---- The folder --------------------------------------------------------------------------------------------- */

/* Makes the folder and those above it. */
static ek_status make_folder(ek_path folder)
{
    for (char *slash = folder; (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        mkdir(folder, 0777); /* a failure shows below */
        *slash = '/';
    }
    if (mkdir(folder, 0777) && errno != EEXIST)
        return ek_fail(EK_ERR_IO, "%s: the folder cannot be made: %s", folder, strerror(errno));
    return EK_OK;
}

/* Opens the folder, and locks it against another fetch. The lock ends with the descriptor. */
static ek_status lock_folder(job *j)
{
    EK_TRY(make_folder(j->folder));
    j->folder_fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->folder_fd < 0)
        return ek_fail(EK_ERR_IO, "%s: cannot be opened: %s", j->folder, strerror(errno));
    if (flock(j->folder_fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return ek_fail(EK_ERR_STATE, "%s: another download into this folder is running; wait for it", j->folder);
    return EK_OK; /* a file system without locks is no reason not to download */
}

static ek_status fetch_all(job *j)
{
    EK_TRY(j->options->dir ? ek_path_join(j->folder, j->options->dir, "", "")
                           : ek_places_cache(j->folder, j->set->name));
    EK_TRY(lock_folder(j));
    return j->set->cifar ? fetch_archive(j) : fetch_idx(j);
}

ek_status ek_fetch_set(const ek_known_set *set, const ek_fetch_options *options)
{
    ek_fetch_options filled = options ? *options : (ek_fetch_options){0};
    if (filled.connect_timeout < 0 || filled.stall_timeout < 0)
        return ek_fail(EK_ERR_ARGUMENT, "a timeout is below 0; give seconds, or 0 for the default");
    if (filled.dir && !*filled.dir)
        return ek_fail(EK_ERR_ARGUMENT, "the folder to download to is empty");
    filled.connect_timeout = filled.connect_timeout ? filled.connect_timeout : 20;
    filled.stall_timeout = filled.stall_timeout ? filled.stall_timeout : 30;
    filled.mirrors = filled.mirrors ? filled.mirrors : set->mirrors;
    job *j = ek_calloc(1, sizeof *j);
    if (!j)
        return EK_ERR_MEMORY;
    j->set = set;
    j->options = &filled;
    j->folder_fd = -1;
    ek_status status = fetch_all(j);
    if (j->folder_fd >= 0)
        close(j->folder_fd);
    ek_free(j);
    return status;
}

#else

ek_status ek_fetch_set(const ek_known_set *set, const ek_fetch_options *options)
{
    (void)options;
    return ek_fail(EK_ERR_UNSUPPORTED,
                   "%s cannot be downloaded: this build is without libcurl, zlib or libcrypto; "
                   "copy its files into a folder by hand",
                   set->name);
}

#endif

ek_status ek_dataset_fetch(const char *name, const ek_fetch_options *options)
{
    char names[100];
    const ek_known_set *set = name ? ek_known_by_name(ek_known_sets, name) : NULL;
    if (!set)
        return ek_fail(EK_ERR_NOT_FOUND, "%s: no data set that can be downloaded; known are %s", name ? name : "",
                       ek_known_names(ek_known_sets, names, sizeof names));
    return ek_fetch_set(set, options);
}
