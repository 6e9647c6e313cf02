/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/feed.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Batches ahead; what a user that may choose takes at a time; by how much the decoders give way to the trainer. */
enum { BATCHES_MIN = 2, BATCHES_MAX = 8, STREAM_SAMPLES = 256, NICER = 5 };

/* Images of positions released .. released + slots - 1 of the pass, position p in slot p % slots. Decoders take
 * positions in their order; everything but the pixels and `decoders` is under the lock. */
typedef struct ring {
    pthread_mutex_t lock;
    pthread_cond_t work, ready; /* there may be an image to decode; one has been decoded */
    const ek_image_files *files;
    const int32_t *index; /* of a part */
    const int32_t *order;
    int64_t slots;
    size_t image; /* bytes */
    uint8_t *pixels;
    bool *done; /* [slots] */
    int64_t next, end;
    int64_t released;
    int busy;
    bool stop;
    int64_t failed_at; /* the first position that failed, INT64_MAX: none */
    ek_status failed;
    char message[1024];
    int started;
    struct decoder *decoders;
} ring;

typedef struct decoder {
    ring *ring;
    pthread_t thread;
    ek_shaper shaper;
} decoder;

struct ek_feed {
    const ek_dataset *dataset;
    const int32_t *order;
    int64_t at; /* the position of the next batch */
    ring *ring; /* NULL: the images are in memory */
};

/* ---- Decoders ------------------------------------------------------------------------------------------------ */

/* The caller holds the lock, which is free while the image is decoded. */
static void decode_one(decoder *d)
{
    ring *r = d->ring;
    const int64_t position = r->next++, sample = r->order ? r->order[position] : position;
    const int64_t slot = position % r->slots;
    r->busy++;
    pthread_mutex_unlock(&r->lock);
    const ek_status status = ek_image_files_load(r->files, r->index ? r->index[sample] : sample, &d->shaper,
                                                 r->pixels + (size_t)slot * r->image);
    pthread_mutex_lock(&r->lock);
    r->busy--;
    r->done[slot] = !status;
    if (status && position < r->failed_at) {
        r->failed_at = position;
        r->failed = status;
        snprintf(r->message, sizeof r->message, "%s", ek_error());
        r->end = r->next; /* nothing behind it is of use; all before it is taken */
    }
    pthread_cond_broadcast(&r->ready);
}

static void *decode(void *argument)
{
    decoder *d = argument;
    ring *r = d->ring;
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER); /* on Linux: of this thread. A wish */
    pthread_mutex_lock(&r->lock);
    while (!r->stop)
        if (r->next < r->end && r->next < r->released + r->slots)
            decode_one(d);
        else
            pthread_cond_wait(&r->work, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- The ring ------------------------------------------------------------------------------------------------ */

static ek_status choose_slots(ring *r, int64_t n, int64_t batch)
{
    const int64_t limit = r->files->memory_limit, image = (int64_t)r->image;
    const int64_t least = n < BATCHES_MIN * batch ? n : BATCHES_MIN * batch;
    const int64_t most = n < BATCHES_MAX * batch ? n : BATCHES_MAX * batch;
    if (limit / 2 / image < least)
        return ek_fail(EK_ERR_ARGUMENT,
                       "%s: two batches of %lld images of %lld bytes take more than half of the memory limit, %lld "
                       "bytes; choose smaller batches or another limit",
                       r->files->root, (long long)batch, (long long)image, (long long)limit);
    r->slots = limit / 4 / image < most ? limit / 4 / image : most;
    r->slots = r->slots < least ? least : r->slots;
    return EK_OK;
}

static ek_status start_decoders(ring *r, int threads)
{
    for (; r->started < threads; r->started++) {
        decoder *d = &r->decoders[r->started];
        *d = (decoder){.ring = r};
        d->shaper = (ek_shaper){.channels = r->files->channels, .height = r->files->height, .width = r->files->width};
        const int error = pthread_create(&d->thread, NULL, decode, d);
        if (error)
            return ek_fail(EK_ERR_THREAD, "thread %d of %d that decode images could not be started: %s",
                           r->started + 1, threads, strerror(error));
    }
    return EK_OK;
}

static void close_ring(ring *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->started; i++) {
        pthread_join(r->decoders[i].thread, NULL);
        ek_shaper_free(&r->decoders[i].shaper);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->ready);
    ek_free(r->decoders);
    ek_free(r->pixels);
    ek_free(r->done);
    ek_free(r);
}

static ek_status open_ring(ring **out, const ek_dataset *dataset, int64_t batch, int threads)
{
    ring *r = *out = ek_calloc(1, sizeof *r);
    if (!r)
        return EK_ERR_MEMORY;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->ready, NULL);
    r->files = dataset->files;
    r->index = dataset->index;
    r->image = ek_image_files_pixels(r->files);
    EK_TRY(choose_slots(r, dataset->n, batch));
    r->pixels = ek_calloc((size_t)r->slots, r->image);
    r->done = ek_calloc((size_t)r->slots, sizeof *r->done);
    r->decoders = ek_calloc((size_t)threads, sizeof *r->decoders);
    if (!r->pixels || !r->done || !r->decoders)
        return EK_ERR_MEMORY;
    return start_decoders(r, threads);
}

static void begin_pass(ring *r, const int32_t *order, int64_t first, int64_t n)
{
    pthread_mutex_lock(&r->lock);
    r->end = r->next;
    while (r->busy)
        pthread_cond_wait(&r->ready, &r->lock);
    memset(r->done, 0, (size_t)r->slots * sizeof *r->done);
    r->order = order;
    r->next = r->released = first;
    r->failed_at = INT64_MAX;
    r->end = n;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
}

/* Gives back what lies before `begin`, and waits for `count` images from there on. Those before the first that failed
 * are waited for, so that it is the first whichever thread was faster. */
static ek_status wait_for(ring *r, int64_t begin, int64_t count)
{
    ek_status status = EK_OK;
    pthread_mutex_lock(&r->lock);
    for (; r->released < begin; r->released++)
        r->done[r->released % r->slots] = false;
    pthread_cond_broadcast(&r->work);
    for (int64_t p = begin; p < begin + count && !status; p++) {
        while (!r->done[p % r->slots] && p < r->failed_at)
            pthread_cond_wait(&r->ready, &r->lock);
        if (p >= r->failed_at)
            status = ek_fail(r->failed, "%s", r->message);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}

/* ---- The feed ------------------------------------------------------------------------------------------------ */

ek_status ek_feed_new(ek_feed **out, const ek_dataset *dataset, int64_t batch, int threads)
{
    ek_feed *feed = *out = ek_calloc(1, sizeof *feed);
    if (!feed)
        return EK_ERR_MEMORY;
    feed->dataset = dataset;
    const ek_status status = dataset->files ? open_ring(&feed->ring, dataset, batch, threads) : EK_OK;
    if (status) {
        ek_feed_free(feed);
        *out = NULL;
    }
    return status;
}

void ek_feed_free(ek_feed *feed)
{
    if (!feed)
        return;
    close_ring(feed->ring);
    ek_free(feed);
}

void ek_feed_begin(ek_feed *feed, const int32_t *order, int64_t first)
{
    feed->order = order;
    feed->at = first;
    if (feed->ring)
        begin_pass(feed->ring, order, first, feed->dataset->n);
}

ek_status ek_feed_next(ek_feed *feed, int64_t count, const uint8_t **images, uint8_t *labels, int32_t *ids)
{
    const ring *r = feed->ring;
    const int64_t begin = feed->at;
    if (r)
        EK_TRY(wait_for(feed->ring, begin, count));
    for (int64_t i = 0; i < count; i++) {
        const int64_t sample = feed->order ? feed->order[begin + i] : begin + i;
        images[i] =
            r ? r->pixels + (size_t)((begin + i) % r->slots) * r->image : ek_dataset_pixels(feed->dataset, sample);
        if (labels)
            labels[i] = (uint8_t)ek_dataset_label(feed->dataset, sample);
        if (ids)
            ids[i] = (int32_t)sample;
    }
    feed->at += count;
    return EK_OK;
}

int64_t ek_feed_batch(const ek_dataset *dataset, int64_t most)
{
    if (!dataset->files)
        return most;
    const int64_t fit =
        dataset->files->memory_limit / 4 / BATCHES_MIN / (int64_t)ek_image_files_pixels(dataset->files);
    const int64_t chosen = fit < 1 ? 1 : fit < STREAM_SAMPLES ? fit : STREAM_SAMPLES;
    return chosen < most ? chosen : most;
}
