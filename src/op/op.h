/* SPDX-License-Identifier: MIT
 *
 * What every operation of a net means: its shapes, its formula, what it reads and writes. One contract for all who
 * compute it: the strict scalar reference beside this file, and the kernels of every backend.
 *
 * Letters: N samples, C input channels, H rows, W columns; K output channels, P rows, Q columns of the output;
 * R x S the kernel. Names: x input, y output, dx and dy the loss's gradients with respect to them. Every output is
 * written (=), never added to. No output may alias an input unless the contract says so.
 *
 * Blocked layout: a net's activations are [N/16][C][H][W][16], sixteen samples in the lanes of a vector. A kernel
 * gets one block [C][H][W][16]. Lanes past the last sample are dead: they repeat the block's first sample, no statistic
 * counts them, and gradients hold 0 there, so that sums over lanes need not know of them.
 */
#ifndef EK_OP_OP_H
#define EK_OP_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Samples of a block. */
enum { EK_LANES = 16 };

/* conv2d: cross-correlation with zeros outside the image, for rows and columns each its own stride, padding, dilation.
 *   y[k,p,q] = bias[k] + sum over c,r,s of weight[k,c,r,s] * x[c, p*stride_h - padding_h + r*dilation_h, likewise w]
 *   dx: the transposed map; dweight[k,c,r,s] = sum over n,p,q of dy[k,p,q] * x[c, ...]; dbias[k] = sum of dy[k].
 * P = (H + 2*padding_h - dilation_h*(R - 1) - 1)/stride_h + 1 >= 1, likewise Q. bias may be NULL for zeros.
 * groups: that many convolutions side by side, each of C/groups channels to K/groups, weight [K,C/groups,R,S];
 * depthwise where groups = C. groups divides C and K.
 * linear is the case H = W = R = S = 1: features are channels. */
typedef struct ek_conv {
    int c, h, w;
    int k, p, q;
    int r, s;
    int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w; /* strides and dilations from 1 */
    int groups;                                                           /* from 1 */
} ek_conv;

static inline int64_t ek_conv_weights(const ek_conv *g)
{
    return (int64_t)g->k * (g->c / g->groups) * g->r * g->s;
}

/* Whether it is a linear layer: one group over an image of one pixel. (The product of these may be beyond an int.) */
static inline bool ek_conv_is_linear(const ek_conv *g)
{
    return g->h == 1 && g->w == 1 && g->r == 1 && g->s == 1 && g->padding_h == 0 && g->padding_w == 0 &&
           g->groups == 1;
}

/* One of the groups as a convolution of its own. */
static inline ek_conv ek_conv_group(const ek_conv *g)
{
    ek_conv one = *g;
    one.c = g->c / g->groups;
    one.k = g->k / g->groups;
    one.groups = 1;
    return one;
}

/* Floats of working memory that one thread needs for dweight: sums in all lanes for up to four output channels. */
static inline size_t ek_conv_scratch(const ek_conv *g)
{
    return (size_t)4 * (size_t)(g->c / g->groups) * (size_t)g->r * (size_t)g->s * EK_LANES;
}

/* The same map by Winograd's F(2x2,3x3) (Lavin and Gray 2015, arXiv:1509.09308), which takes 16 products for four
 * outputs in place of 36, at about the direct sum's rounding error: for 3x3 kernels in one group, stride and
 * dilation 1, padding 0 to 2. */
static inline bool ek_winograd_fits(const ek_conv *g)
{
    return g->r == 3 && g->s == 3 && g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 &&
           g->dilation_w == 1 && g->groups == 1 && g->padding_h >= 0 && g->padding_h <= 2 && g->padding_w >= 0 &&
           g->padding_w <= 2;
}

/* Floats of its rearranged weights, 16 in place of 9, and of one of the 16 points: a cache line more than there is,
 * since a pair's points would often all fall into one set of the cache. */
static inline size_t ek_winograd_point(const ek_conv *g)
{
    return (size_t)g->k * (size_t)g->c + EK_LANES;
}

static inline size_t ek_winograd_packed(const ek_conv *g)
{
    return 16 * ek_winograd_point(g);
}

/* A plane's tiles of 2x2, row by row, and the groups of three in which they are computed. */
enum { EK_WINOGRAD_GROUP = 3 };
static inline int ek_winograd_tiles(int rows, int columns)
{
    return ((rows + 1) / 2) * ((columns + 1) / 2);
}

static inline int ek_winograd_groups(int rows, int columns)
{
    return (ek_winograd_tiles(rows, columns) + EK_WINOGRAD_GROUP - 1) / EK_WINOGRAD_GROUP;
}

/* Tiles of 2x2 outputs whose weight gradient is summed at once, at most: rows by columns of them, part of a row or some
 * whole ones. It fixes the order of sums and so depends on the plane alone. */
enum { EK_WINOGRAD_BAND = 8 };
typedef struct ek_winograd_band {
    int rows, columns;
} ek_winograd_band;

static inline ek_winograd_band ek_winograd_band_of(const ek_conv *g)
{
    const int across = (g->q + 1) / 2, down = (g->p + 1) / 2, most = EK_WINOGRAD_BAND;
    const int pieces = (across + most - 1) / most, rows = across > most ? 1 : most / across;
    return (ek_winograd_band){rows < down ? rows : down, (across + pieces - 1) / pieces};
}

/* Floats of working memory that one thread needs for it, and for fewer channels: forward and backward to data a group
 * of tiles of the input's channels and of sixteen of the output's, 16 points each. */
static inline size_t ek_winograd_map_scratch(const ek_conv *g)
{
    const size_t most = (size_t)(g->c > g->k ? g->c : g->k);
    return 16 * ((most + 16) * EK_WINOGRAD_GROUP + 2) * EK_LANES;
}

/* The same for dweight too: sums of all 16 points; of a band what they are of, dy's for all channels and x's for
 * sixteen; and what those come from. */
static inline size_t ek_winograd_scratch(const ek_conv *g)
{
    const ek_winograd_band band = ek_winograd_band_of(g);
    const size_t k = (size_t)g->k, c = ((size_t)g->c + EK_LANES - 1) / EK_LANES * EK_LANES;
    const size_t rows = (size_t)band.rows, columns = (size_t)band.columns, tiles = rows * columns;
    const size_t points = 16 * ((k + EK_LANES) * tiles + 2) * EK_LANES;
    const size_t region = (2 * rows + 2) * (2 * columns + 2) * EK_LANES * EK_LANES;
    const size_t weight = 16 * c * k + points + region, map = ek_winograd_map_scratch(g);
    return map > weight ? map : weight;
}

/* Taps of a kernel of three along `outputs` positions that meet the image, at stride 1. */
static inline int64_t ek_winograd_taps(int outputs, int extent, int padding)
{
    int64_t taps = 0;
    for (int r = 0; r < 3; r++) {
        const int begin = padding > r ? padding - r : 0;
        const int end = outputs < extent + padding - r ? outputs : extent + padding - r;
        taps += end > begin ? end - begin : 0;
    }
    return taps;
}

/* Whether a convolution is computed by it: where it is expected to be a tenth faster. The direct kernels take one
 * step for each tap, input and output channel; Winograd's take 16 for each tile and pair of channels, and as much as
 * about 100 (measured) for each tile and channel in transforms. Small planes (1 to 3, 5) and few channels (below some
 * 12) stay direct. The choice shows in the result's last bits, so it depends on the shape alone. */
static inline bool ek_conv_fast(const ek_conv *g)
{
    if (!ek_winograd_fits(g))
        return false;
    const double pairs = (double)g->c * g->k, tiles = ek_winograd_tiles(g->p, g->q);
    const double taps =
        (double)ek_winograd_taps(g->p, g->h, g->padding_h) * (double)ek_winograd_taps(g->q, g->w, g->padding_w);
    return taps * pairs > 1.1 * tiles * (16 * pairs + 100 * ((double)g->c + g->k));
}

/* Rows of the output whose weight gradient is taken at once, where sixteen input channels stand in the lanes: some 48
 * positions. */
static inline int ek_channels_band(const ek_conv *g)
{
    return g->q < 48 ? 48 / g->q : 1;
}

/* Floats of working memory that one thread needs for it: sums of sixteen input channels, and what the band's rows read
 * of them. */
static inline size_t ek_channels_scratch(const ek_conv *g)
{
    const int band = ek_channels_band(g) < g->p ? ek_channels_band(g) : g->p;
    const int64_t rows = (int64_t)(band - 1) * g->stride_h + (int64_t)(g->r - 1) * g->dilation_h + 1;
    const size_t read = (size_t)(rows < g->h ? rows : g->h) * (size_t)g->w * EK_LANES;
    return ((size_t)g->k * (size_t)g->r * (size_t)g->s + read) * EK_LANES;
}

/* How a weight gradient is computed: with samples in the lanes, whose sums are added up once; with sixteen input
 * channels in the lanes, which takes no such sums but computes the channels that are missing to sixteens; or so by
 * Winograd's algorithm. Between the first two, by what a weight takes (in half cycles of AVX2 on a plane of so many
 * positions, measured). Likewise a matter of the shape alone. */
typedef enum ek_weight_way {
    EK_WEIGHT_BY_SAMPLES,
    EK_WEIGHT_BY_CHANNELS,
    EK_WEIGHT_BY_WINOGRAD,
} ek_weight_way;

static inline ek_weight_way ek_weight_way_of(const ek_conv *g)
{
    if (ek_conv_fast(g))
        return EK_WEIGHT_BY_WINOGRAD;
    const double whole = (double)((g->c + EK_LANES - 1) / EK_LANES * EK_LANES), positions = (double)g->p * g->q;
    return g->groups == 1 && whole * (4 + 2 * positions) < g->c * (28 + 2.3 * positions) ? EK_WEIGHT_BY_CHANNELS
                                                                                         : EK_WEIGHT_BY_SAMPLES;
}

/* Floats of a convolution's rearranged weights, and of the working memory that one thread needs for it: forward
 * alone, or backward too. */
static inline size_t ek_conv_packed(const ek_conv *g)
{
    return ek_conv_fast(g) ? ek_winograd_packed(g) : (size_t)ek_conv_weights(g);
}

static inline size_t ek_conv_work(const ek_conv *g, bool backward)
{
    if (ek_conv_fast(g))
        return backward ? ek_winograd_scratch(g) : ek_winograd_map_scratch(g);
    if (!backward)
        return 0;
    return ek_weight_way_of(g) == EK_WEIGHT_BY_CHANNELS ? ek_channels_scratch(g) : ek_conv_scratch(g);
}

/* Activation functions a = f(z), with f' written by the output a where that is possible. NaN gives NaN. */
typedef enum ek_activation {
    EK_IDENTITY = 0,
    EK_SIGMOID = 1,    /* 1/(1 + exp(-z)), f' = a*(1 - a) */
    EK_RELU = 2,       /* z where z > 0, else 0, f' = 1 where a > 0, else 0 */
    EK_LEAKY_RELU = 3, /* z where z > 0, else negative_slope*z, f' = 1 where a > 0, else negative_slope; which is 0 or
                          more, so that a > 0 says what z > 0 says (Maas, Hannun and Ng 2013) */
    EK_TANH = 4,       /* f' = 1 - a^2 */
    EK_GELU = 5,       /* z*Phi(z), Phi the normal distribution's; f' = Phi(z) + z*phi(z). No function of a: a falls
                          and rises (Hendrycks and Gimpel 2016, arXiv:1606.08415). f(-inf) = 0, f'(-inf) = 0 */
    EK_GELU_TANH = 6,  /* its approximation z*(1 + tanh(u))/2, u = sqrt(2/pi)*(z + 0.044715*z^3) */
} ek_activation;

/* Whether f' is a function of a. Else backward reads z again: it makes it from x, as forward did. */
static inline bool ek_activation_by_output(ek_activation f)
{
    return f != EK_GELU && f != EK_GELU_TANH;
}

/* A unit: what stands between two linear maps, in one pass over memory.
 *   z = norm(x)    a = activation(z)    y = average or maximum of a over windows of pool x pool, side by side
 * Each part may be absent: norm false, EK_IDENTITY, pool 1. H and W are multiples of pool. A maximum needs an
 * activation: backward finds it again in the a that is kept, or in the a that it makes again from x.
 * norm is batch norm's map with the statistics at hand, per channel c:
 *   z = gamma*(x - mean)*rstd + beta
 * Backward, from dy: da = dy/pool^2 (spread over the window; of a maximum, dy at the first of the window's largest
 * values in row order and 0 elsewhere), dz = da*f'(a), and
 *   dbeta = sum dz    dgamma = sum dz*xhat    xhat = (x - mean)*rstd    (sums over the M = N*H*W values)
 *   dx = gamma*rstd*(dz - dbeta/M - xhat*dgamma/M)   when mean and rstd come from this very batch
 *   dx = gamma*rstd*dz                               when they do not (moving statistics)
 * ek_normalize leaves one of the two out, as op/norm.h says; the passes know nothing of it but these numbers.
 * Squares of x - mean are floats: deviations from about 1e-19 (which matters with eps 0) to 1e19 are told apart. */
typedef struct ek_unit {
    int c, h, w;
    bool norm;
    ek_activation activation;
    int pool;
    bool maximum;         /* of the window, not its average */
    float negative_slope; /* of EK_LEAKY_RELU */
} ek_unit;

/* A channel's numbers of a unit's norm. The mean is kept in two floats, mean + mean_low: rounding it to one would
 * shift the whole channel by up to 2^-24*|mean|, which counts when the mean is 10^4 deviations. */
typedef struct ek_norm_channel {
    float mean, mean_low;
    float scale, shift; /* z = (x - mean)*scale + shift: gamma*rstd and beta; mean 0 where nothing is centred */
} ek_norm_channel;

/* The same for backward: dx = scale*dz - offset - slope*(x - mean). */
typedef struct ek_norm_gradient {
    float mean, mean_low;
    float scale, offset, slope; /* gamma*rstd, gamma*rstd*dbeta/M, gamma*rstd*rstd*dgamma/M; 0 of what does not
                                   depend on the batch */
    float shift;                /* of z once more, (x - mean)*scale + shift, for an activation that does not go by its
                                   output: beta, and beta + mean*scale where nothing is centred */
} ek_norm_gradient;

/* A join: the sum that ends a residual, with the batch norm before and the activation behind it in one pass.
 *   z = norm(x) + shortcut(r)    y = activation(z)
 * norm as in a unit; it may be absent (norm false), and so may the activation, which goes by its output. The shortcut
 * takes every stride-th row
 * and column of r [RC,RH,RW] and zeros for the channels from RC on:
 *   shortcut(r)[c,h,w] = r[c, h*stride, w*stride] for c < RC, else 0
 * H = (RH + stride - 1)/stride, likewise W; with stride 1 and RC = C r is handed on as it is. Backward, from dy and,
 * where y has two readers, a second addend `more`: dz = activation'(y)*(dy + more), a unit's sums for the norm, and
 *   dr[c,h,w] = dz[c, h/stride, w/stride] where stride divides h and w, else 0. */
typedef struct ek_join {
    int c, h, w;
    bool norm;
    ek_activation activation;
    int stride, rc, rh, rw;
    float negative_slope; /* of EK_LEAKY_RELU */
} ek_join;

static inline bool ek_join_is_plain(const ek_join *j)
{
    return j->stride == 1 && j->rc == j->c;
}

/* Pooling: windows of kernel_h x kernel_w every stride_h, stride_w, the first of them padding_h above and padding_w
 * left of the image; what does not fill a window is left out. P = (H + 2*padding_h - kernel_h)/stride_h + 1,
 * likewise Q.
 * 2*padding <= kernel: every window meets the image.
 *   avgpool2d   y = sum over the window inside the image / count, where count is kernel_h*kernel_w or, with
 *               `inside`, the positions inside the image; dx[h,w] = sum of dy/count over the windows that hold (h,w).
 *   maxpool2d   y = the largest value of the window inside the image, NaN where it holds one;
 *               dx[h,w] = sum of dy over the windows whose first largest value in row order is at (h,w). */
typedef struct ek_pool2d {
    int c, h, w, p, q;
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
    bool maximum; /* maxpool2d */
    bool inside;  /* avgpool2d: zeros of the padding do not count */
} ek_pool2d;

/* The rows or columns of window `i` inside an image of `extent`: begin <= at < end. */
static inline void ek_pool_window(int i, int kernel, int stride, int padding, int extent, int *begin, int *end)
{
    const int first = i * stride - padding, last = first + kernel;
    *begin = first > 0 ? first : 0;
    *end = last < extent ? last : extent;
}

/* layer norm: per sample over its M = C*H*W values, gamma and beta per value ([M], NULL: ones and zeros).
 *   y = gamma*xhat + beta    xhat = (x - mean)*rstd    dx = rstd*(g - mean(g) - xhat*mean(g*xhat)), g = gamma*dy
 *
 * softmax cross-entropy of logits z[K] against label l, whose target gets 1 - s + s/K and every other class s/K
 * (label smoothing s, Szegedy et al. 2016; 0: none), so that the targets t_k add up to 1:
 *   loss = log(sum_k exp(z_k)) - sum_k t_k*z_k    dz_k = (exp(z_k)/sum - t_k) * weight
 * with weight 1/N for the mean over a batch. */

#endif
