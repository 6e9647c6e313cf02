/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#ifdef EK_HAVE_CURL

#include "data/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

typedef struct transfer {
    const ek_download *download;
    CURL *curl;
    int fd;
    int64_t size;   /* of the file on disk */
    int64_t begin;  /* where this transfer asked the server to go on; 0 for the whole file */
    int64_t range;  /* where the server says its answer begins; -1 when it does not say */
    bool answered;  /* the body has begun */
    bool misplaced; /* the answer begins elsewhere than asked */
    bool too_long;
    int64_t seen; /* bytes when the last of them came, and */
    double last;  /* when that was */
    bool stalled;
    bool stopped; /* by the progress callback */
    int error;    /* errno of writing the file */
} transfer;

/* ---- What libcurl calls ------------------------------------------------------------------------------------- */

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t length = size * count;
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)(length < sizeof text ? length : sizeof text - 1), line);
    if (strncmp(text, "HTTP/", 5) == 0)
        t->range = -1; /* a new answer, after a redirect */
    long long begin;
    if (strncasecmp(text, "content-range:", 14) == 0 && sscanf(text + 14, " bytes %lld-", &begin) == 1)
        t->range = begin;
    return length;
}

/* The first bytes of the body: do they go on where the file ends, or do they begin anew? */
static bool begin_body(transfer *t)
{
    long code = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    t->answered = true;
    if (code == 206 && t->begin > 0) {
        t->misplaced = t->range != t->begin;
        return !t->misplaced;
    }
    t->begin = t->size = 0;
    if (ftruncate(t->fd, 0) || lseek(t->fd, 0, SEEK_SET) < 0)
        t->error = errno;
    return t->error == 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t length = size * count;
    if (!t->answered && !begin_body(t))
        return 0;
    if ((int64_t)length > t->download->most - t->size) {
        t->too_long = true;
        return 0;
    }
    for (size_t done = 0; done < length;) {
        ssize_t put = write(t->fd, data + done, length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            t->error = put < 0 ? errno : EIO;
            return 0;
        }
        done += (size_t)put;
        t->size += put;
    }
    return length;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Called often, and once a second when nothing comes. libcurl's own limit on slow transfers looks at the mean speed of
 * some seconds, and so is late. */
static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
    transfer *t = user;
    const ek_download *d = t->download;
    (void)up_total, (void)up_now;
    curl_off_t connected = 0; /* connecting has its own limit */
    curl_easy_getinfo(t->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (!connected || now != t->seen) {
        t->seen = now;
        t->last = seconds();
    }
    t->stalled = seconds() - t->last > d->stall_timeout;
    int64_t all = t->answered && total > 0 ? t->begin + total : -1;
    t->stopped = d->progress && d->progress(d->user, d->name, t->size, all) != 0;
    return t->stopped || t->stalled;
}

/* ---- One transfer ------------------------------------------------------------------------------------------- */

static void set_options(transfer *t, char message[CURL_ERROR_SIZE])
{
    const ek_download *d = t->download;
    CURL *curl = t->curl;
    curl_easy_setopt(curl, CURLOPT_URL, d->url);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "evenkeel");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* the program may have threads */
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https"); /* of redirects too */
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)d->connect_timeout);
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)d->most);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

/* Asks for what lies behind t->size. libcurl's own resuming takes an ignored range for a failure; a range asked for
 * by hand leaves the answer to begin_body. */
static CURLcode ask(transfer *t)
{
    char range[32];
    t->begin = t->size;
    t->range = -1;
    t->answered = t->misplaced = t->too_long = t->stopped = t->stalled = false;
    t->seen = 0;
    t->last = seconds();
    snprintf(range, sizeof range, "%lld-", (long long)t->begin);
    curl_easy_setopt(t->curl, CURLOPT_RANGE, t->begin > 0 ? range : NULL);
    return curl_easy_perform(t->curl);
}

static ek_status judge(const transfer *t, CURLcode code, const char *message)
{
    const ek_download *d = t->download;
    if (t->error)
        return ek_fail(EK_ERR_IO, "%s: cannot be written: %s", d->path, strerror(t->error));
    if (t->stopped)
        return ek_fail(EK_ERR_STOPPED, "%s: stopped after %lld bytes", d->name, (long long)t->size);
    if (t->too_long || code == CURLE_FILESIZE_EXCEEDED)
        return ek_fail(EK_ERR_DIGEST, "%s: more than the %lld bytes the file can have", d->url, (long long)d->most);
    if (code == CURLE_OUT_OF_MEMORY)
        return ek_fail(EK_ERR_MEMORY, "%s: out of memory", d->url);
    if (t->stalled)
        return ek_fail(EK_ERR_NETWORK, "%s: not a byte for %d s", d->url, d->stall_timeout);
    if (code != CURLE_OK)
        return ek_fail(EK_ERR_NETWORK, "%s: %s", d->url, *message ? message : curl_easy_strerror(code));
    if (!t->answered)
        return ek_fail(EK_ERR_NETWORK, "%s: an empty answer", d->url);
    return EK_OK;
}

static ek_status run_transfer(transfer *t)
{
    char message[CURL_ERROR_SIZE] = "";
    long status = 0;
    set_options(t, message);
    CURLcode code = ask(t);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->begin > 0 && (t->misplaced || status == 416)) { /* what is there does not fit the server's file */
        if (ftruncate(t->fd, 0) || lseek(t->fd, 0, SEEK_SET) < 0)
            t->error = errno;
        t->size = 0;
        code = ask(t);
    }
    ek_status judged = judge(t, code, message);
    if (!judged && fsync(t->fd) && errno != EINVAL) {
        t->error = errno;
        judged = judge(t, code, message);
    }
    return judged;
}

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

ek_status ek_download_run(const ek_download *download, bool *resumed, int64_t *gained)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    transfer t = {.download = download};
    *resumed = false;
    *gained = 0;
    pthread_once(&once, start_curl);
    t.fd = open(download->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t.fd < 0)
        return ek_fail(EK_ERR_IO, "%s: cannot be written: %s", download->path, strerror(errno));
    const int64_t before = lseek(t.fd, 0, SEEK_END);
    t.size = before;
    t.curl = curl_easy_init();
    ek_status status = t.curl ? run_transfer(&t) : ek_fail(EK_ERR_MEMORY, "libcurl cannot start: out of memory");
    curl_easy_cleanup(t.curl);
    close(t.fd);
    if (status == EK_ERR_IO || status == EK_ERR_DIGEST || t.size == 0)
        unlink(download->path);
    *resumed = t.begin > 0;
    *gained = t.size - before;
    return status;
}

#else
typedef int ek_without_curl; /* a file of C must declare something */
#endif
