/* SPDX-License-Identifier: MIT
 *
 * What happens to an image between the data set and a net's first layer, in this order:
 *   augmentation    of its bytes, while training: crop, flip, erase
 *   normalisation   of the floats that its bytes become: x = (byte/255 - mean[c])/std[c], in float32, each of the three
 *                   operations rounded, as PyTorch's ToTensor and Normalize have it
 * An image is [C,H,W].
 */
#ifndef EK_OP_INPUT_H
#define EK_OP_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Means and deviations of `c` channels; std > 0. */
typedef struct ek_normal {
    int c;
    const float *mean, *std;
} ek_normal;

/* Random changes of training images. With u uniform numbers keyed by (seed, epoch, sample):
 *   crop    the image in a frame of `crop` zeros on each side, and of that a window of its own size: y[c,h,w] =
 *           x[c, h + dh - crop, w + dw - crop] or 0 outside; dh, dw uniform in 0 .. 2*crop
 *   flip    left to right, with probability 1/2
 *   erase   with probability `erase`, a rectangle of random bytes, every channel its own: Zhong et al. 2017
 *           (arXiv:1708.04896), algorithm 1 with its s_l = 0.02, s_h = 0.4, r_1 = 0.3, r_2 = 1/0.3: area uniform in
 *           s_l .. s_h of the image's, height/width uniform in r_1 .. r_2, top and left uniform over the image, all
 *           drawn again until the rectangle lies within (100 times; none after that)
 * 0, false and 0 leave it out. */
typedef struct ek_augmentation {
    int c, h, w;
    int crop;    /* 0 .. EK_CROP_MAX */
    bool flip;   /* */
    float erase; /* 0 .. 1 */
} ek_augmentation;

enum { EK_CROP_MAX = 1024 };

/* Which random numbers: sample's are those of its number in the data set, whatever its place in the batch. */
typedef struct ek_augment_key {
    uint64_t seed;
    uint32_t epoch;
    int32_t sample; /* >= 0 */
} ek_augment_key;

/* Writes y [C,H,W] from x. y is not x. */
void ek_augment(const ek_augmentation *augmentation, ek_augment_key key, const uint8_t *x, uint8_t *y);

#endif
