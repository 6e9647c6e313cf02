/* SPDX-License-Identifier: MIT
 * A data set's images in the order and the batches that its user asks for: pointers into memory, or, where the images
 * stream, into a ring that threads fill ahead of the user.
 *
 *     ek_feed_new(&feed, dataset, 128, threads);
 *     for each pass
 *         ek_feed_begin(feed, order, 0);
 *         for each batch
 *             ek_feed_next(feed, count, images, labels, ids);
 *
 * What comes out does not depend on the threads: the images and, of files that cannot be read, the one that fails. */
#ifndef EK_DATA_FEED_H
#define EK_DATA_FEED_H

#include "data/dataset.h"

typedef struct ek_feed ek_feed;

/* Batches of up to `batch` images; `threads` (>= 1) decode where the images stream. They have a lower priority than
 * the caller, which uses what they leave when it has work and waits for them when it has none. The ring holds two to
 * eight batches: as many as a quarter of the data set's memory limit, or two where that is half of it at most;
 * EK_ERR_ARGUMENT where it is more. The data set must outlive the feed. EK_ERR_MEMORY, EK_ERR_THREAD. */
ek_status ek_feed_new(ek_feed **feed, const ek_dataset *dataset, int64_t batch, int threads);

/* At any time, in the middle of a pass too. NULL is fine. */
void ek_feed_free(ek_feed *feed);

/* A pass over the samples order[first..n), each below n, or over first..n-1 (order NULL); images of an earlier pass are
 * no longer valid. Decoding begins at once. The order must stay as it is until the pass is over. */
void ek_feed_begin(ek_feed *feed, const int32_t *order, int64_t first);

/* The next `count` samples of the pass, up to `batch` and not beyond its end; the three arrays have room for them,
 * labels and ids may be NULL. The images are valid until the next call. A file that cannot be read is the status that
 * ek_image_files_load gives, the first in the order; the pass is over then. */
ek_status ek_feed_next(ek_feed *feed, int64_t count, const uint8_t **images, uint8_t *labels, int32_t *ids);

/* How many images a batch should have where that is for the feed's user to choose: up to `most`, fewer where images
 * stream. */
int64_t ek_feed_batch(const ek_dataset *dataset, int64_t most);

#endif
