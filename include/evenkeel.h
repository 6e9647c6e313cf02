/* SPDX-License-Identifier: MIT
 *
 * evenkeel.h - train, check and ship batch-normalised convolutional networks, in C.
 *
 * A whole training, after section 8.5 of "Dive into Deep Learning" (d2l):
 *
 *     ek_dataset *train = NULL, *val = NULL;
 *     ek_net *net = ek_net_builtin("bn-lenet");
 *     ek_status status = ek_dataset_open(&train, "fashion-mnist", EK_SPLIT_TRAIN);
 *     if (!status) status = ek_dataset_open(&val, "fashion-mnist", EK_SPLIT_TEST);
 *     if (!status) status = ek_net_init(net, EK_INIT_XAVIER, 0);
 *     if (!status) status = ek_fit(net, train, val, &(ek_fit_options){.epochs = 10, .lr = 0.1f});
 *     if (!status) status = ek_net_save(net, "model.safetensors");
 *     if (status) fprintf(stderr, "%s\n", ek_error());
 *
 * Conventions, for every declaration below unless it says otherwise:
 *
 *   Arrays      are row-major float32, NCHW (images), NC (features); pixels as bytes run 0..255 and
 *               reach the net divided by 255, as torchvision's ToTensor does.
 *   Shapes      N samples, C channels, H rows, W columns, K classes.
 *   Errors      A function that can fail returns ek_status; EK_OK is 0. The sentence for a person is
 *               ek_error(), kept per thread until that thread's next failing call. After a failure outputs are
 *               unspecified but owned as before, and no file is half-written.
 *   Options     An options struct whose fields are zero means the defaults, which each field names; so does NULL.
 *               Start from {0} or designated initialisers: a later minor version, whose library has another
 *               soname, may append fields to any struct.
 *   Ownership   What a function named ..._new, ..._open, ..._load or ..._builtin hands out, the caller frees with
 *               the matching ..._free, which accepts NULL. Arrays passed in stay the caller's and are not kept
 *               after the call returns. Pointers handed out by const accessors live as long as their object.
 *   Threads     Different objects may be used by different threads at once. One object may be read by many
 *               threads (const parameters), or changed by one. Nothing in the library prints or exits.
 *   Same bits   For the same inputs results are identical for any number of threads, and on every processor with
 *               fused multiply-add (AVX2, AVX-512, NEON). The x86-64 baseline, which has none, agrees to rounding.
 */
#ifndef EVENKEEL_H
#define EVENKEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EK_API __attribute__((visibility("default")))
#else
#define EK_API
#endif

/* ---- 1. Version, status, processor -------------------------------------------------------------------------- */

#define EK_VERSION_MAJOR 0
#define EK_VERSION_MINOR 1
#define EK_VERSION_PATCH 0

/* "0.1.0", of the library that is linked (the macros above are those of the header). */
EK_API const char *ek_version(void);

/* One list gives the enumerators, their names (ek_status_name) and what they mean. */
#define EK_STATUS_LIST(X)                                                                                            \
    X(EK_OK, 0, "success")                                                                                           \
    X(EK_ERR_ARGUMENT, 10, "an argument or option is out of range")                                                  \
    X(EK_ERR_SHAPE, 11, "shapes do not fit together")                                                                \
    X(EK_ERR_STATE, 12, "the object is not in a state for this call")                                                \
    X(EK_ERR_UNSUPPORTED, 13, "this build or this kind of input does not support the request")                       \
    X(EK_ERR_MEMORY, 20, "out of memory")                                                                            \
    X(EK_ERR_THREAD, 21, "a thread could not be started")                                                            \
    X(EK_ERR_IO, 30, "a file could not be opened, read or written")                                                  \
    X(EK_ERR_NOT_FOUND, 31, "a file, data set or name does not exist")                                               \
    X(EK_ERR_FORMAT, 32, "a file's content is not valid")                                                            \
    X(EK_ERR_DIGEST, 33, "a file's content is not the expected one")                                                 \
    X(EK_ERR_NETWORK, 34, "a download failed")                                                                       \
    X(EK_ERR_NUMERIC, 40, "a value is NaN or infinite")                                                              \
    X(EK_ERR_STOPPED, 50, "a callback asked to stop")

typedef enum ek_status {
#define EK_STATUS_ENUM(name, code, text) name = code,
    EK_STATUS_LIST(EK_STATUS_ENUM)
#undef EK_STATUS_ENUM
} ek_status;

/* "EK_ERR_SHAPE" for EK_ERR_SHAPE; "EK_?" for a value that is none. Never NULL. */
EK_API const char *ek_status_name(ek_status status);

/* The calling thread's last failure as one line without a newline: what, where and what to do; "" before any.
 * The text stays until this thread's next failing call. */
EK_API const char *ek_error(void);

/* The instruction set in use: "avx512", "avx2", "neon" or "baseline". The best one this processor and operating
 * system offer, unless the environment variable EVENKEEL_CPU names another that they also offer; a name they do not
 * offer makes the calls that compute fail with EK_ERR_UNSUPPORTED, and this function return NULL. */
EK_API const char *ek_cpu(void);

/* Processors this process may run on (affinity and cgroup limits counted), at least 1: the default of every
 * `threads` option that says so. */
EK_API int ek_cpu_count(void);

/* ---- 2. Batch and layer normalisation on plain arrays ------------------------------------------------------- */

/* Training uses the statistics of the batch at hand, prediction the moving ones. Never guessed: 0 is no mode. */
typedef enum ek_mode { EK_TRAINING = 1, EK_PREDICTION = 2 } ek_mode;

typedef enum ek_layout {
    EK_NCHW = 0, /* [N,C,H,W], and [N,C] with H = W = 1 */
    EK_NHWC = 1  /* [N,H,W,C], channels last */
} ek_layout;

/* Extents of a plain array. h and w of 0 mean 1, so {.n = 128, .c = 120} is [N,C]. n, c >= 1. */
typedef struct ek_shape {
    int64_t n, c, h, w;
    ek_layout layout;
} ek_shape;

/* Which batch variance enters the moving variance (the one that normalises is always the population's, 1/M). */
typedef enum ek_moving_variance {
    EK_MOVING_UNBIASED = 0,  /* M/(M-1) times it: PyTorch */
    EK_MOVING_POPULATION = 1 /* itself: the book's scratch version */
} ek_moving_variance;

#define EK_EPS_ZERO (-1.0f)            /* for options.eps: exactly 0, since 0 means the default */
#define EK_MOMENTUM_CUMULATIVE (-1.0f) /* for options.momentum: 1/(number of batches so far), PyTorch's None */

/* Which of the two batch normalisation takes out: its "lite" versions, d2l section 8.5, exercise 4. The variance is
 * about the mean in each of them, and moving statistics are kept of both. */
typedef enum ek_normalize {
    EK_NORMALIZE_BOTH = 0,     /* y = gamma*(x - mean)/sqrt(var + eps) + beta */
    EK_NORMALIZE_MEAN = 1,     /* y = gamma*(x - mean) + beta; eps does not count */
    EK_NORMALIZE_DEVIATION = 2 /* y = gamma*x/sqrt(var + eps) + beta */
} ek_normalize;

/* Batch normalisation, Ioffe and Szegedy 2015 (arXiv:1502.03167); d2l section 8.5.2. Three independent switches
 * freeze it: which statistics normalise, whether the moving ones update, and (in a net) whether gamma and beta
 * train. */
typedef struct ek_batch_norm_options {
    float eps;                          /* added to the variance inside the root; 0 means 1e-5 */
    float momentum;                     /* weight of the NEW value in the moving statistics; 0 means 0.1; <= 1 */
    ek_moving_variance moving_variance; /* default unbiased */
    bool use_moving;                    /* training normalises with the moving statistics; default: the batch's */
    bool hold_moving;                   /* training leaves the moving statistics alone; default: it updates them */
    int threads;                        /* default 1, the calling thread alone */
    ek_normalize normalize;             /* default both; backward takes what forward took */
} ek_batch_norm_options;

/* The seed of it all, the book's batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum):
 *   training    mean, var = mean and population variance of x per channel over the M = N*H*W values
 *               moving_mean = (1-momentum)*moving_mean + momentum*mean, likewise moving_var with var
 *   prediction  mean, var = moving_mean, moving_var, which are only read
 *   y = gamma * (x - mean) / sqrt(var + eps) + beta
 * x, y: shape; y may be x. gamma, beta, moving_mean, moving_var: [C]; gamma NULL means ones, beta NULL zeros;
 * moving_mean and moving_var may both be NULL in training. eps >= 0 and momentum in [0,1] are taken as they are.
 * EK_ERR_SHAPE for M = 1 in training. EK_ERR_NUMERIC when a batch statistic is NaN or infinite: y is written as the
 * formula gives it, the moving statistics are untouched, and ek_error() names the channel. */
EK_API ek_status ek_batch_norm(ek_mode mode, ek_shape shape, const float *x, const float *gamma, const float *beta,
                               float *moving_mean, float *moving_var, float eps, float momentum, float *y);

/* The book's batch_norm_simplified(x, gamma, beta, eps): training without moving statistics. M = 1 gives beta. */
EK_API ek_status ek_batch_norm_simplified(ek_shape shape, const float *x, const float *gamma, const float *beta,
                                          float eps, float *y);

/* Batch normalisation with every switch, and what its backward needs.
 * moving_mean, moving_var: [C]; may both be NULL (no tracked statistics: prediction then uses the batch's).
 * num_batches: the update counter, may be NULL unless momentum is cumulative; one more after each update.
 * save_mean, save_rstd: [C], written with what normalised, rstd = 1/sqrt(var + eps), or 1 where the mean alone is taken
 * out; with the deviation alone, save_mean is still the mean. May be NULL.
 * y may be x, though backward reads x. Errors as ek_batch_norm; EK_ERR_SHAPE for M = 1 where batch statistics
 * normalise in training or update the moving ones. */
EK_API ek_status ek_batch_norm_forward(ek_mode mode, ek_shape shape, const float *x, const float *gamma,
                                       const float *beta, float *moving_mean, float *moving_var, int64_t *num_batches,
                                       const ek_batch_norm_options *options, float *y, float *save_mean,
                                       float *save_rstd);

/* Gradient of ek_batch_norm_forward. x, gamma and options as forward had them, save_mean and save_rstd as it wrote
 * them, dy: shape.
 *   dbeta = sum dy      dgamma = sum dy*xhat      xhat = (x - mean)*rstd
 *   batch statistics:   dx = gamma*rstd*(dy - dbeta/M - xhat*dgamma/M)
 *   moving statistics:  dx = gamma*rstd*dy    (prediction, or options.use_moving)
 * With EK_NORMALIZE_MEAN rstd is 1, and of batch statistics dx = gamma*(dy - dbeta/M). With EK_NORMALIZE_DEVIATION
 *   dgamma = sum dy*x*rstd       dx = gamma*rstd*(dy - (x - mean)*rstd*dgamma/M)    of batch statistics.
 * Writes (never adds to) dx: shape, dgamma, dbeta: [C]; each may be NULL; dx may be dy. `mode` and `tracked`
 * (whether forward had moving statistics) decide which dx. */
EK_API ek_status ek_batch_norm_backward(ek_mode mode, bool tracked, ek_shape shape, const float *x, const float *dy,
                                        const float *gamma, const float *save_mean, const float *save_rstd,
                                        const ek_batch_norm_options *options, float *dx, float *dgamma, float *dbeta);

/* Layer normalisation, Ba et al. 2016 (arXiv:1607.06450); d2l section 8.5.2.3: each sample over its C*H*W values,
 * alike in both modes.   y = gamma*(x - mean)/sqrt(var + eps) + beta,   var the population variance.
 * gamma, beta: [C*H*W] in the array's own order, or NULL for ones and zeros. save_mean, save_rstd: [N] or NULL.
 * eps >= 0 as it is (PyTorch: 1e-5). y may be x. threads: 0 means 1. */
EK_API ek_status ek_layer_norm_forward(ek_shape shape, const float *x, const float *gamma, const float *beta,
                                       float eps, int threads, float *y, float *save_mean, float *save_rstd);

/* Gradient of ek_layer_norm_forward; writes dx: shape (may be dy), dgamma and dbeta: [C*H*W]; each may be NULL. */
EK_API ek_status ek_layer_norm_backward(ek_shape shape, const float *x, const float *dy, const float *gamma,
                                        const float *save_mean, const float *save_rstd, int threads, float *dx,
                                        float *dgamma, float *dbeta);

/* ---- 3. Nets ------------------------------------------------------------------------------------------------ */

/* Limits: extents of a sample up to 65536, values of a sample up to 2^27, numbers of a weight up to 2^30, layers up to
 * 100000. A net beyond them is marked.
 *
 * A net is a list of layers with their parameters. It starts with the shape of one input sample and grows layer by
 * layer; no layer is told its input size. A builder call that fails marks the net: it returns the status, and the
 * first such error is what every later use of the net reports, so a chain of calls needs one check at its end. */
typedef struct ek_net ek_net;

/* A net without layers whose samples are [channels, height, width]. Extents outside 1..65536 mark the net. NULL only
 * when out of memory. */
EK_API ek_net *ek_net_new(int channels, int height, int width);

/* A built-in net. NULL with a message for an unknown name. For 1x28x28 samples and
 * ten classes, from d2l sections 7.6 and 8.5:
 *   "lenet"             conv 6@5x5 - sigmoid - avgpool 2, conv 16@5x5 - sigmoid - avgpool 2, linear 120, 84, 10;
 *                       the first convolution padded by 2
 *   "bn-lenet"          the book's BNLeNet: batch norm before every sigmoid, no padding
 *   "bn-lenet-scratch"  the book's BNLeNetScratch: its moving variance is the population's
 *   "mlp"               d2l section 5.2: linear 256 - relu - linear 10
 * For 3x32x32 samples and ten classes, He et al. 2015, section 4.2, of 6n + 2 layers:
 *   "resnet-20", -32, -44, -56, -110, -1202   three stages of n residuals of two 3x3 convolutions, of 16, 32 and 64
 *                       channels; padded shortcuts where a stage begins (option A)
 *   "resnet-20-proj", ...   1x1 convolutions and batch norms there (option B)
 *   "preact-resnet-110" activations before the convolutions (He et al. 2016, arXiv:1603.05027)
 * For 1x96x96 samples (and any other size) and ten classes:
 *   "resnet-18"         d2l section 8.6: four stages of two residuals, of 64 to 512 channels
 * Residual nets start best from EK_INIT_HE. */
EK_API ek_net *ek_net_builtin(const char *name);

/* The same net for samples of [channels, height, width] and another number of classes; a 0 stands for the net's own.
 * NULL with a message where the net cannot be had for them, as LeNet for images of 8x8. */
EK_API ek_net *ek_net_builtin_for(const char *name, int channels, int height, int width, int classes);

/* Name and one-line description of built-in net i; NULL past the last. */
EK_API const char *ek_net_builtin_name(int i);
EK_API const char *ek_net_builtin_text(int i);

EK_API void ek_net_free(ek_net *net);

typedef struct ek_net_conv2d_options {
    int kernel;   /* rows and columns of the kernel; default 1 */
    int padding;  /* zeros on every side; default 0 */
    int stride;   /* default 1 */
    bool no_bias; /* default: a bias per output channel */
    /* Of rows and of columns alone, where they are not 0: in place of kernel, padding, stride, dilation. */
    int kernel_h, kernel_w, padding_h, padding_w, stride_h, stride_w, dilation_h, dilation_w;
    int dilation; /* from tap to tap of the kernel, in rows and columns of the image; default 1 */
    int groups;   /* convolutions side by side, each of its share of the channels; default 1 */
} ek_net_conv2d_options;

typedef enum ek_pooling { EK_POOLING_MAX = 1, EK_POOLING_AVG = 2 } ek_pooling;

typedef struct ek_net_pool2d_options {
    int kernel;  /* rows and columns of a window; default 1 */
    int stride;  /* from window to window; default: as kernel */
    int padding; /* rows and columns around the image, at most half of kernel; default 0 */
    /* Of rows and of columns alone, where they are not 0. */
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
    bool exclude_padding; /* an average is over the values inside the image; default: zeros of the padding count */
} ek_net_pool2d_options;

typedef struct ek_net_linear_options {
    bool no_bias; /* default: a bias per output feature */
} ek_net_linear_options;

typedef struct ek_net_batchnorm_options {
    float eps;                          /* 0 means 1e-5; EK_EPS_ZERO means none */
    float momentum;                     /* weight of the NEW value; 0 means 0.1; or EK_MOMENTUM_CUMULATIVE */
    ek_moving_variance moving_variance; /* default unbiased */
    bool no_affine;                     /* neither gamma nor beta; default: both, starting at 1 and 0 */
    bool no_tracking;                   /* no moving statistics: prediction uses the batch's */
    bool use_moving;                    /* training normalises with the moving statistics */
    bool hold_moving;                   /* training leaves the moving statistics alone */
    bool hold_affine;                   /* training leaves gamma and beta alone */
    bool no_scale;                      /* no gamma: it is 1, as in Keras with scale=False */
    bool no_center;                     /* no beta: it is 0, as in Keras with center=False */
    ek_normalize normalize;             /* default both */
} ek_net_batchnorm_options;

typedef struct ek_net_layernorm_options {
    float eps;      /* 0 means 1e-5; EK_EPS_ZERO means none */
    bool no_affine; /* default: gamma and beta per value of a sample */
} ek_net_layernorm_options;

/* PyTorch's Conv2d: cross-correlation, weight [out, C/groups, kernel_h, kernel_w]. Input [C,H,W], output
 * [out_channels, (H + 2*padding - dilation*(kernel - 1) - 1)/stride + 1, likewise W]. groups divides C and
 * out_channels; groups = C is a depthwise convolution. */
EK_API ek_status ek_net_conv2d(ek_net *net, int out_channels, const ek_net_conv2d_options *options);

/* PyTorch's Linear: weight [out,in]. Input [F]: flatten first. */
EK_API ek_status ek_net_linear(ek_net *net, int out_features, const ek_net_linear_options *options);

/* PyTorch's BatchNorm2d on [C,H,W] (a channel over all locations), BatchNorm1d on [F]. */
EK_API ek_status ek_net_batchnorm(ek_net *net, const ek_net_batchnorm_options *options);

/* PyTorch's LayerNorm over the whole sample. */
EK_API ek_status ek_net_layernorm(ek_net *net, const ek_net_layernorm_options *options);

/* PyTorch's ReLU: max(x, 0). */
EK_API ek_status ek_net_relu(ek_net *net);

/* PyTorch's LeakyReLU (Maas, Hannun and Ng 2013): x where x > 0, else negative_slope*x. PyTorch's slope is 0.01; here
 * it is taken as it is given, 0 or more. */
EK_API ek_status ek_net_leaky_relu(ek_net *net, float negative_slope);

EK_API ek_status ek_net_sigmoid(ek_net *net);

EK_API ek_status ek_net_tanh(ek_net *net);

/* PyTorch's GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415): x*Phi(x), Phi the normal distribution's, or with
 * EK_GELU_BY_TANH its approximation x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3)))/2. Minus infinity gives -0, where
 * PyTorch gives NaN. */
typedef enum ek_gelu { EK_GELU_EXACT = 0, EK_GELU_BY_TANH = 1 } ek_gelu;

EK_API ek_status ek_net_gelu(ek_net *net, ek_gelu how);

/* PyTorch's MaxPool2d: windows of kernel x kernel every `stride` (0 means kernel) on an image with `padding` rows and
 * columns around it that are never the maximum; what does not fill a window is left out. 2*padding <= kernel. The
 * gradient goes to the first of equal maxima in row order; a window with NaN gives NaN. */
EK_API ek_status ek_net_maxpool2d(ek_net *net, int kernel, int stride, int padding);

/* PyTorch's AvgPool2d without padding: windows of kernel x kernel every `stride` (0 means kernel); what does not
 * fill a window is left out. */
EK_API ek_status ek_net_avgpool2d(ek_net *net, int kernel, int stride);

/* The same two with every option: PyTorch's MaxPool2d, and AvgPool2d with its count_include_pad. */
EK_API ek_status ek_net_pool2d(ek_net *net, ek_pooling how, const ek_net_pool2d_options *options);

/* PyTorch's AdaptiveAvgPool2d(1): the mean of each channel, [C,H,W] to [C,1,1]. */
EK_API ek_status ek_net_globalavgpool(ek_net *net);

/* [C,H,W] to [C*H*W]. */
EK_API ek_status ek_net_flatten(ek_net *net);

/* PyTorch's Dropout (Srivastava et al. 2014; d2l section 5.6), with p from 0 to 1 as it is given (PyTorch's is 0.5): in
 * training each value is 0 with probability p and else divided by 1 - p; prediction leaves it alone. Which values those
 * are follows from ek_fit_options.seed, the epoch, the sample and the layer, each value by itself: other threads, batch
 * sizes and orders change nothing. */
EK_API ek_status ek_net_dropout(ek_net *net, float p);

/* Blocks. What is added between a block's begin and its end is in the block; blocks may stand in blocks, up to 8 deep.
 *
 * Residual (He et al. 2015, arXiv:1512.03385, section 3.2; d2l section 8.6): y = body(x) + shortcut(x). An activation
 * that follows the sum is the net's next layer, which the plan fuses; one that the block begins with makes it the
 * pre-activation order (arXiv:1603.05027). What follows ek_net_residual_begin is the body, what follows
 * ek_net_shortcut the shortcut; without that call the shortcut is as the options say:
 *   EK_SHORTCUT_IDENTITY  x itself, of the body's output shape
 *   EK_SHORTCUT_PAD       option A of the paper: every stride-th row and column of x, zeros for the channels that the
 *                         body has more, behind x's own: F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, 0, more))
 *
 * Concat: branches on the same input, their outputs one behind the other along channels (of equal height and width) or
 * features. Each branch begins with ek_net_branch; an empty one hands its input on.
 *
 * Tensors are named as those of a module with members `body` and `shortcut`, or the list `branches`, each an
 * nn.Sequential: "3.body.0.weight", "3.shortcut.0.weight", "4.branches.1.0.weight". */
typedef enum ek_shortcut { EK_SHORTCUT_IDENTITY = 0, EK_SHORTCUT_PAD = 1 } ek_shortcut;

typedef struct ek_net_residual_options {
    ek_shortcut shortcut; /* default identity */
    int stride;           /* of EK_SHORTCUT_PAD; default 1 */
} ek_net_residual_options;

EK_API ek_status ek_net_residual_begin(ek_net *net, const ek_net_residual_options *options);
EK_API ek_status ek_net_shortcut(ek_net *net);
EK_API ek_status ek_net_concat_begin(ek_net *net);
EK_API ek_status ek_net_branch(ek_net *net);

/* Ends the innermost open block; here the shapes of its parts must fit. A net with an open block cannot be used. */
EK_API ek_status ek_net_block_end(ek_net *net);

/* The net as text, one layer a line, which ek_net_parse reads back:
 *     input 1 28 28
 *     conv2d 6 kernel=5
 *     batchnorm
 * The string is the caller's, to free with free(); NULL when the net is marked, a block is open or memory is short. */
EK_API char *ek_net_text(const ek_net *net);

/* The net as the text of a Python module: build() makes the nn.Module whose state_dict the model file is, an
 * nn.Sequential of the layers; blocks, and batch norms with options that PyTorch has not, are small modules in the
 * text; the net's normalisation comes first. load(path) loads a model file strictly, save(net, path) writes one.
 * LABELS has the lines of the note "labels". For PyTorch from 1.13 on; docs/pytorch.md. As ek_net_text for the rest;
 * NULL as well for a net without layers, or with notes that are no normalisation. */
EK_API char *ek_net_pytorch_text(const ek_net *net);

/* The net that `text` describes. `name` stands for the text in messages (a file's name; NULL means "net"). NULL with
 * a message that names line and column. */
EK_API ek_net *ek_net_parse(const char *text, const char *name);

/* The shape of one input sample; each may be NULL. For a marked net what it reports, and zeros. */
EK_API ek_status ek_net_input(const ek_net *net, int *channels, int *height, int *width);

/* How weights start. Biases are uniform in +-1/sqrt(fan_in) either way; gamma 1, beta 0, moving mean 0, moving
 * variance 1. */
typedef enum ek_init {
    EK_INIT_XAVIER = 0,  /* weights uniform in +-sqrt(6/(fan_in + fan_out)), Glorot and Bengio 2010: the book's */
    EK_INIT_PYTORCH = 1, /* weights uniform in +-1/sqrt(fan_in): PyTorch's default */
    /* Weights of convolutions normal, deviation sqrt(2/fan_out), He et al. 2015 (arXiv:1502.01852), of linear layers
     * as EK_INIT_PYTORCH: what torchvision's residual nets start from. */
    EK_INIT_HE = 2
} ek_init;

/* Sets every parameter and statistic, from counter-based random numbers (Philox4x32-10) keyed by seed, tensor and
 * element: the same on every machine. A net that nobody has initialised or loaded is as EK_INIT_XAVIER with seed 0
 * makes it. */
EK_API ek_status ek_net_init(ek_net *net, ek_init how, uint64_t seed);

/* A layer as it stands in the net. */
typedef struct ek_layer_info {
    const char *kind;   /* "conv2d", "batchnorm", ... */
    const char *text;   /* its line in the net's text */
    int c, h, w;        /* shape of its output sample; h = w = 0 for features [c] */
    int64_t parameters; /* trainable numbers */
    int64_t macs;       /* multiply-adds of one sample, forward */
    const char *path;   /* where it stands, PyTorch's name of the module: "3", "3.body.0", "4.branches.1.0" */
    int depth;          /* blocks around it */
    /* Its bias is computed away: the batch norm behind it takes the mean away, so that the bias has no gradient and
     * stays as it is in training, and prediction folds it into the norm. Files keep it. */
    bool bias_without_gradient;
    double eps; /* of a batchnorm or layernorm; else 0 */
} ek_layer_info;

/* Layers in the order of the text; a block (kind "residual" or "concat") stands before the layers in it. */

EK_API int ek_net_layer_count(const ek_net *net);
EK_API ek_status ek_net_layer(const ek_net *net, int layer, ek_layer_info *info);

/* The net compiled for batches of `batch_size` samples, as text: one step a line with the scope it is cut by, then the
 * memory it takes. In training the steps of one optimiser step, in prediction those of one batch. For reading, and for
 * reports; the format is not fixed. The caller frees it with free(); NULL with a message when the net is marked,
 * batch_size is below 1, or memory is short. micro_batch: as in ek_fit_options without `ghost`, 0 for none. */
EK_API char *ek_net_plan_text(ek_net *net, ek_mode mode, int batch_size, int micro_batch);

/* Bytes that a program for batches of `batch_size` takes beside the net's own values, 4 for each number of its tensors:
 * activations with all working memory and, in training, gradients (an optimiser's state comes on top: ek_fit_options).
 * In prediction it is per thread, and `batch_size` counts only where a batch norm has no moving statistics.
 * micro_batch: as in ek_fit_options without `ghost`, 0 for none; a ghost's step takes what a batch of it does, and
 * gradients once more. */
EK_API ek_status ek_net_memory(ek_net *net, ek_mode mode, int batch_size, int micro_batch, int threads,
                               int64_t *bytes);

typedef enum ek_role {
    EK_ROLE_WEIGHT = 0, /* of a convolution or linear layer */
    EK_ROLE_BIAS = 1,   /* likewise */
    EK_ROLE_GAMMA = 2,  /* "weight" of a normalisation */
    EK_ROLE_BETA = 3,   /* "bias" of a normalisation */
    EK_ROLE_MOVING_MEAN = 4,
    EK_ROLE_MOVING_VAR = 5,
    EK_ROLE_NUM_BATCHES = 6 /* int64, the only role that is not float32; shape [] */
} ek_role;

/* One row of the parameter table: name, shape and place of every tensor, in the order and by the names of the same
 * PyTorch nn.Sequential ("0.weight", "1.running_mean", "1.num_batches_tracked"; in blocks "3.body.0.weight"). */
typedef struct ek_tensor {
    const char *name;
    ek_role role;
    bool trainable;
    int layer; /* index of its layer, as ek_net_layer counts */
    int ndim;  /* 0 to 4 */
    int64_t dim[4];
    int64_t count;    /* product of the extents; 1 for a scalar */
    float *data;      /* count values, NULL for EK_ROLE_NUM_BATCHES; the net's, to read or change between calls */
    int64_t *counter; /* one value for EK_ROLE_NUM_BATCHES, else NULL */
} ek_tensor;

/* Tensors there are: 0 for a marked net. The first call fixes the net: layers cannot be added afterwards. */
EK_API int ek_net_tensor_count(ek_net *net);

/* Row i of the table, NULL outside it. Valid as long as the net. */
EK_API const ek_tensor *ek_net_tensor(ek_net *net, int i);

/* The row named `name`, NULL with a message when there is none. */
EK_API const ek_tensor *ek_net_tensor_by_name(ek_net *net, const char *name);

/* A net with its weights as one safetensors file: tensors by the names of the table, the net's text and its notes
 * (among them "data.digest", the digest of the data it was last trained on) in the metadata. Written to a temporary
 * name beside `path`, synced, renamed. EK_ERR_NUMERIC names a tensor that holds NaN or infinity (or a moving variance
 * below 0): such a net is not saved. */
EK_API ek_status ek_net_save(ek_net *net, const char *path);

/* The net in a file that ek_net_save wrote; *net is NULL after a failure. Every byte is checked. */
EK_API ek_status ek_net_load(ek_net **net, const char *path);

/* Takes the tensors of a safetensors file, PyTorch's state_dict among them: names and shapes must be exactly the
 * net's (a missing num_batches_tracked counts as 0), float32, float64, float16 or bfloat16. Nothing is changed after
 * a failure; the message lists what is missing, left over or misshapen. torch.save's files are no such files: the
 * message has the lines that convert one. */
EK_API ek_status ek_net_load_weights(ek_net *net, const char *path);

typedef struct ek_weights_options {
    /* FROM=TO rules that rename the file's tensors before they are looked up, in this order, each on what those before
     * it made of a name. FROM fits at a name's beginning, up to its end or a point (or ends with a point itself); '*'
     * in it is any text, one character at least and as few as will do, which the same star of TO repeats. TO takes its
     * place: "module.=" drops a prefix, "features.0=0" renames a module, "*.bn1.=*.1." one in every block. An empty TO
     * takes the point behind FROM along. Refused: rules that fit no tensor, names that meet. Default: none. */
    const char *const *renames;
    int rename_count;
    /* Patterns like FROM. Tensors with such a name, after renaming, are left aside: the net's keep their values, the
     * file's are passed over. Default: none. */
    const char *const *leave;
    int leave_count;
    /* The caller's, set where tensors do not fit (EK_ERR_SHAPE) to a list of all of them, a line each ("missing",
     * "misshapen" or "left over", name and shape), for free(); else to NULL. Default: not made. */
    char **misfits;
} ek_weights_options;

/* The same for files whose names are others: PyTorch's of another module. EK_ERR_ARGUMENT for rules. */
EK_API ek_status ek_net_load_weights_with(ek_net *net, const char *path, const ek_weights_options *options);

/* What folding did with a layer. */
typedef enum ek_fold_outcome {
    EK_FOLD_NO_NORM = 0,   /* it is no batch norm, and stays */
    EK_FOLD_DONE = 1,      /* a batch norm that is gone, folded into layer `into` */
    EK_FOLD_UNTRACKED = 2, /* a batch norm that stays: without moving statistics it needs the batch's */
    EK_FOLD_NO_MAP = 3,    /* one that stays: no convolution or linear layer is directly before it */
    EK_FOLD_SHARED = 4     /* one that stays: others read the output of the layer before it (`into`), too */
} ek_fold_outcome;

typedef struct ek_fold {
    ek_fold_outcome outcome;
    int into; /* a layer, as ek_net_layer counts; -1: none */
} ek_fold;

/* A new net, for prediction, in which every convolution or linear layer with a batch norm directly behind it, in blocks
 * too, is one layer with a bias (Jacob et al. 2018, arXiv:1712.05877, section 3.2): of channel k
 *     weight'[k] = weight[k]*s    bias'[k] = (bias[k] - mean)*s + beta    s = gamma/sqrt(var + eps)
 * of the moving statistics, in double, each number rounded once; s = gamma where a norm takes out the mean alone, and a
 * mean of 0 where it takes out the deviation alone. A dropout between them does not count, nor does a flatten that
 * hands channels of one value on. Further norms behind the first are folded as well. All else stays: layers, tensors,
 * notes and normalisation; paths, and with them names of tensors, count the layers that are left.
 * folds: the caller's [ek_net_layer_count(net)], what became of each layer of `net`; NULL: not wanted. `net` is only
 * read. *folded, for ek_net_free, is NULL after a failure. EK_ERR_NUMERIC names layer and channel where a folded number
 * is NaN or infinite. */
EK_API ek_status ek_net_fold(ek_net **folded, ek_net *net, ek_fold *folds);

/* Free text that travels in the model file's metadata under `key`. ek_fit sets "data.digest"; the command
 * adds "data.name", "labels" and the recipe. value NULL removes.
 * The getter returns NULL when there is none; what it returns is valid until the key is set again. */
EK_API ek_status ek_net_set_note(ek_net *net, const char *key, const char *value);
EK_API const char *ek_net_note(const ek_net *net, const char *key);
/* Key of note i, in the order they were first set; NULL past the last. */
EK_API const char *ek_net_note_key(const ek_net *net, int i);

/* What the net's images are normalised with after the division by 255: (byte/255 - mean[c])/std[c] per channel, as
 * torchvision's Normalize. It is the net's property: ek_fit, ek_evaluate and ek_predict apply it, and it travels in the
 * model file as the notes "input.mean" and "input.std". Set it before training (ek_dataset_mean_std has numbers).
 * channels: the net's input channels, or 1 for all alike. mean and std NULL: none, the default. EK_ERR_ARGUMENT for
 * what is not finite, and a deviation below 1e-30. */
EK_API ek_status ek_net_set_normalization(ek_net *net, int channels, const float *mean, const float *std);

/* Whether it has one, and mean and std for each of the net's input channels (0 and 1 where it has none); each of the
 * three may be NULL. EK_ERR_FORMAT when the notes, which may come from a file, are not such numbers; so report
 * ek_fit, ek_evaluate and ek_predict. */
EK_API ek_status ek_net_normalization(const ek_net *net, bool *normalized, float *mean, float *std);

/* ---- 4. Data ------------------------------------------------------------------------------------------------ */

/* Images of bytes [N,C,H,W] with one label each: in memory, or files that are decoded when they are needed. A data set
 * may be used by several threads at once, but not freed or divided meanwhile. */
typedef struct ek_dataset ek_dataset;

typedef enum ek_split { EK_SPLIT_TRAIN = 0, EK_SPLIT_TEST = 1 } ek_split;

typedef enum ek_colour {
    EK_COLOUR_AUTO = 0, /* folders of images: grey where every training image is, else RGB. Others: as they are */
    EK_COLOUR_GREY = 1, /* one channel; of colours ITU-R 601's luma */
    EK_COLOUR_RGB = 2   /* three channels */
} ek_colour;

/* Whether the images of a folder of image files stay on disk. Then ek_fit, ek_evaluate and ek_dataset_mean_std
 * have them decoded by as many threads as they compute with, of lower priority, ahead of the step that needs them;
 * results are the same bits. */
typedef enum ek_streaming {
    EK_STREAM_AUTO = 0, /* where the images, decoded, take more than memory_limit */
    EK_STREAM_YES = 1,  /* EK_ERR_UNSUPPORTED for IDX and CIFAR files, which are kept in memory */
    EK_STREAM_NO = 2
} ek_streaming;

typedef struct ek_data_options {
    ek_split split;    /* default EK_SPLIT_TRAIN */
    int height, width; /* images are resized to this, 1..65536, with antialiasing (a triangle filter: torchvision's
                          Resize of tensors with antialias=True, rounded to bytes); default, both 0: they are not */
    ek_colour colour;
    bool coarse;      /* CIFAR-100's 20 coarse labels; default: its 100 fine ones */
    bool skip_broken; /* files that cannot be decoded, in folders of images, are left out and counted; default: the
                         data set is refused (EK_ERR_FORMAT tells how many there are, and why the first is). Where
                         images stream they are not decoded at opening: a damaged file fails the call that needs it,
                         unless skip_broken has every file decoded once to find them */
    ek_streaming stream;
    int64_t memory_limit; /* bytes for this data set's decoded images; default, 0: half of the machine's memory. Where
                             they stream, each ek_fit, ek_evaluate or ek_dataset_mean_std holds two to eight batches
                             of them: as many as fit a quarter of it, two where those fit half (else EK_ERR_ARGUMENT);
                             and the image files its threads are decoding */
} ek_data_options;

/* Opens a data set by name ("fashion-mnist", "mnist", "cifar-10", "cifar-100") or by folder. A folder holds
 *   the four IDX files of the MNIST family (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., with or without
 *       .gz; images of any size, grey or [N,C,H,W]), KMNIST's among them;
 *   or two IDX files a split under other names, [SET-]train-images-idx3-ubyte and [SET-]test-..., as EMNIST's (of which
 *       FOLDER/SET chooses one; EMNIST's images are stored by columns, and are turned upright);
 *   or CIFAR's binary files (data_batch_1.bin .. data_batch_5.bin and test_batch.bin; train.bin and test.bin);
 *   or image files (PNG, JPEG, PGM, PPM), a class a folder: train/CLASS/FILE, and test/ or val/ beside it (or
 *       CLASS/FILE, which is training data alone: ek_dataset_split); up to 256 classes, in the order of their names'
 *       bytes.
 * A name is looked for in $EVENKEEL_DATA/NAME and $EVENKEEL_DATA, then $XDG_CACHE_HOME/evenkeel/NAME
 * (~/.cache/evenkeel/NAME), then /usr/share/datasets/NAME. What was read is compared with known data sets by content:
 * under a name that is not its own it is EK_ERR_DIGEST (MNIST under Fashion-MNIST's name); in a folder,
 * ek_dataset_info tells what it is. EK_ERR_NOT_FOUND where there is nothing of the split; where a part of its files is
 * missing, EK_ERR_FORMAT names one. Pixels are kept in memory as bytes, unless they stream. options NULL: the
 * defaults. */
EK_API ek_status ek_dataset_open_with(ek_dataset **dataset, const char *name_or_dir, const ek_data_options *options);

/* The same with `split` alone. */
EK_API ek_status ek_dataset_open(ek_dataset **dataset, const char *name_or_dir, ek_split split);

/* Name of known data set i, by which it is opened and fetched; NULL past the last. */
EK_API const char *ek_dataset_known_name(int i);

/* A data set from bytes in memory, which are copied. labels[i] < classes, 1 <= classes <= 256, n >= 1. */
EK_API ek_status ek_dataset_from_memory(ek_dataset **dataset, int64_t n, int channels, int height, int width,
                                        const uint8_t *pixels, const uint8_t *labels, int classes);

EK_API void ek_dataset_free(ek_dataset *dataset);

typedef struct ek_dataset_info {
    const char *name; /* the known data set it is by content, else "" */
    const char *path; /* the folder it was read from, else "" */
    /* "sha256:..." of shape, pixels and labels. Where images stream "files-sha256:..." of shape, labels, and the files'
     * names and sizes: nothing is decoded for it. "" in a build without digests. */
    const char *digest;
    int64_t count;
    int channels, height, width, classes;
    int64_t skipped;           /* files of a folder of images that could not be decoded and were left out */
    const char *skipped_first; /* why the first of them was; "" where there is none */
    bool streams;              /* images are decoded when they are needed (ek_streaming) */
} ek_dataset_info;

EK_API void ek_dataset_get_info(const ek_dataset *dataset, ek_dataset_info *info);

/* Sample i: pixels [C,H,W] and label; i in [0, count). NULL and -1 outside; pixels are NULL too where images stream. */
EK_API const uint8_t *ek_dataset_pixels(const ek_dataset *dataset, int64_t i);
EK_API int ek_dataset_label(const ek_dataset *dataset, int64_t i);

/* Copies sample i's pixels [C,H,W], which are decoded for it where images stream: EK_ERR_NOT_FOUND, EK_ERR_IO or
 * EK_ERR_FORMAT for a file that vanished, changed or is damaged. EK_ERR_ARGUMENT for i outside. */
EK_API ek_status ek_dataset_read(const ek_dataset *dataset, int64_t i, uint8_t *pixels);

/* The class's name in words ("ankle boot"), or its number as text where no names are known. NULL outside. */
EK_API const char *ek_dataset_label_text(const ek_dataset *dataset, int label);

/* Divides a data set at random, keyed by seed: *rest and *part hold its samples in their old order, part round(share *
 * count) of them, at least one each (0 < share < 1; EK_ERR_ARGUMENT). The three share the pixels and may be freed in
 * any order. What is known of the set stays known; the digests are derived from the whole's, counts, seed and part. */
EK_API ek_status ek_dataset_split(ek_dataset *dataset, double share, uint64_t seed, ek_dataset **rest,
                                  ek_dataset **part);

/* Mean and standard deviation (of the population) of byte/255 for each channel, over every pixel of every sample:
 * exact sums, then one rounding. mean, std: [channels]. A constant channel gets the deviation 1. */
EK_API ek_status ek_dataset_mean_std(const ek_dataset *dataset, float *mean, float *std);

/* A contact sheet of `count` samples from `first` on, each below its label, as PNG: the book's visualize. `columns`
 * 0 means 8. Written like a model file. EK_ERR_UNSUPPORTED in a build without libpng. */
EK_API ek_status ek_dataset_save_sheet(const ek_dataset *dataset, int64_t first, int count, int columns,
                                       const char *path);

/* What an image file held before it was made to fit a net. */
typedef struct ek_image_info {
    int channels, height, width; /* 1 channel: grey, 3: RGB */
    bool transparent;            /* PNG: some pixel was not opaque */
} ek_image_info;

typedef struct ek_image_options {
    /* [3], red, green and blue that lie behind pixels which are not opaque; default NULL: transparency is dropped and
     * the colour below it is taken, as in folders of images. */
    const uint8_t *background;
    bool invert; /* 255 - byte in the end: dark drawings on a light ground for a net that has seen the reverse */
    ek_image_info *info; /* the caller's, filled in as soon as the file is decoded; default NULL */
} ek_image_options;

/* An image file as a net of input [channels, height, width] needs it (ek_net_input): what happens to the files of a
 * folder of images (ek_dataset_open_with) happens to this one, byte for byte. Decoded, made grey (channels = 1; of
 * colours ITU-R 601's luma) or RGB (3), resized to height x width whatever its shape was, with antialiasing.
 * Formats, told by the first bytes: PNG and JPEG in builds with libpng and libjpeg-turbo, PGM and PPM (text or binary,
 * up to 65535 levels) in every build. Palettes become colours, 16 bits 8, CMYK RGB; gamma, colour profiles and EXIF's
 * orientation are not looked at. Every byte is checked; up to 65536 pixels on a side (JPEG 65500) and 2^26 in all, from
 * files of up to 256 MB. A small file may decode to much: while it is read, it takes some four bytes of memory a pixel,
 * of a progressive JPEG up to eleven, which are 740 MB for the largest; and so many in each thread that reads one.
 * pixels: the caller's [channels, height, width] bytes; a net takes them divided by 255. EK_ERR_ARGUMENT for other
 * channels and for extents outside 1..65536; EK_ERR_NOT_FOUND, EK_ERR_IO, EK_ERR_FORMAT, EK_ERR_UNSUPPORTED,
 * EK_ERR_MEMORY with a message that begins with the file's name. Any number of threads at once. */
EK_API ek_status ek_image_read(const char *path, int channels, int height, int width, const ek_image_options *options,
                               uint8_t *pixels);

/* The same from a file's bytes in memory; `name` stands for it in messages (NULL means "image"). */
EK_API ek_status ek_image_read_memory(const void *data, size_t size, const char *name, int channels, int height,
                                      int width, const ek_image_options *options, uint8_t *pixels);

typedef struct ek_fetch_options {
    const char *dir;            /* where to; default: the cache folder where ek_dataset_open looks for `name` */
    const char *const *mirrors; /* base addresses to try in order, NULL-terminated; default: the official ones */
    int connect_timeout;        /* seconds; default 20 */
    int stall_timeout;          /* seconds without a byte before a mirror is given up; default 30 */
    /* Called now and then; file: its name, total: -1 when not known. Non-zero stops with EK_ERR_STOPPED. */
    int (*progress)(void *user, const char *file, int64_t done, int64_t total);
    void *user;
} ek_fetch_options;

/* Downloads data set `name`. Files that are there and right are kept, half a file is resumed, every file's decoded
 * content is checked against its known digest before it gets its name (of CIFAR: the archive, which is then unpacked
 * and removed). EK_ERR_UNSUPPORTED in a build without
 * libcurl. */
EK_API ek_status ek_dataset_fetch(const char *name, const ek_fetch_options *options);

/* ---- 5. Training, evaluation, prediction -------------------------------------------------------------------- */

typedef enum ek_fit_event_kind {
    EK_EVENT_STEP = 0,       /* after each optimiser step */
    EK_EVENT_EPOCH = 1,      /* after each epoch, validation included */
    EK_EVENT_CHECKPOINT = 2, /* a checkpoint was written, or could not be: status; training goes on either way */
    EK_EVENT_BROKEN = 3, /* resume: the checkpoint at `path` cannot be used, `message` says why; the one before it is
                              * tried, of `older` ones */
    EK_EVENT_RESUME =
        4, /* resume: training goes on from the checkpoint at `path`, behind step `step` of `epoch`; then,
                              * before the first step, EK_EVENT_EPOCH is told again for each finished epoch */
    EK_EVENT_SKIPPED = 5, /* a step was not finite and is left out, in place of EK_EVENT_STEP: `message` says why, and
                              * layer, channel and sample where that began */
    EK_EVENT_STATISTICS = 6 /* exact_stats: those of the end could not be measured, `message` says why. The net has
                              * those of the epoch's validation, as its note says, or without one the moving ones; the
                              * training is done either way, and the callback's answer does not count */
} ek_fit_event_kind;

/* What the trainer tells its callback, which may read the net's tensors and save the net, and nothing else of it. */
typedef struct ek_fit_event {
    ek_fit_event_kind kind;
    int epoch, epochs;   /* the epoch at hand from 1, and how many there are */
    int64_t step, steps; /* of the epoch, from 1 */
    int batch_size;      /* samples of this step */
    double loss;         /* STEP: mean cross-entropy of the batch. EPOCH: exact mean over the epoch's samples */
    double accuracy;     /* share of right predictions, of the same samples, while training */
    double seconds;      /* since the epoch began; EPOCH: of its training part */
    bool has_val;        /* EPOCH, with validation data: the fields below are set */
    double val_loss, val_accuracy, val_seconds;
    double lr;            /* learning rate of the last step */
    double gradient_norm; /* STEP, with clip_norm or measure_norm: the gradient's 2-norm before clipping; else 0 */
    int best_epoch;      /* EPOCH: that of the best validation accuracy so far, the earliest of equal ones; 0: none */
    bool again;          /* EPOCH: finished in the run that is gone on with */
    int64_t total_steps; /* of the whole training so far */
    ek_status status;    /* CHECKPOINT, BROKEN: EK_OK, or what went wrong; SKIPPED: EK_ERR_NUMERIC; STATISTICS */
    const char *message; /* likewise, "" where nothing did; this and path live as long as the call */
    const char *path;    /* CHECKPOINT, BROKEN, RESUME: the checkpoint's file */
    int skipped;         /* SKIPPED: steps left out in a row, this one too. EPOCH: those of the epoch, in all */
    const char *layer;   /* SKIPPED: path of the layer, as ek_layer_info has it; "": none in particular */
    int channel;         /* SKIPPED: of its output, or of a batch norm's input; -1: none in particular */
    int64_t sample;      /* SKIPPED: number in the training data, the first where there are several; -1: none alone */
    bool has_moving; /* EPOCH, with exact_compare and validation data: the fields below are set, the validation's */
    double moving_loss, moving_accuracy; /* with the moving statistics, both NaN where that is not finite; val_* are
                                          * with the exact ones */
    int older; /* BROKEN: checkpoints that are left to try; 0: none, and ek_fit fails with EK_ERR_FORMAT */
} ek_fit_event;

/* Random changes of training images, keyed by the trainer's seed, the epoch and the sample's number in its data set:
 * they depend on neither threads nor batches. In this order, zeros leaving each out; validation is untouched. */
typedef struct ek_augment_options {
    int crop;    /* a frame of so many zeros, then a window of the image's size anywhere in it; 4 is usual; 0..1024 */
    bool flip;   /* left to right, every second time */
    float erase; /* probability of a rectangle of random bytes (Zhong et al. 2017, arXiv:1708.04896); theirs is 0.5 */
} ek_augment_options;

/* How gradients become steps; PyTorch's torch.optim, formulas in docs/training.md. */
typedef enum ek_optimizer {
    EK_SGD = 0,  /* with momentum (dampening 0) and Nesterov's where asked for, d2l sections 12.4 to 12.6 */
    EK_ADAM = 1, /* Kingma and Ba 2015 (arXiv:1412.6980), d2l section 12.10; weight decay is added to the gradient */
    EK_ADAMW = 2 /* Loshchilov and Hutter 2019 (arXiv:1711.05101): weight decay acts on the weights themselves */
} ek_optimizer;

/* Which parameters weight decay applies to, by their role (ek_tensor.role). */
typedef enum ek_decay {
    EK_DECAY_WEIGHTS = 0, /* EK_ROLE_WEIGHT alone: not biases, not gamma and beta */
    EK_DECAY_ALL = 1      /* everything that trains: PyTorch's one parameter group */
} ek_decay;

/* The learning rate over the steps of a training; d2l section 12.11. Each is a function of the step alone. */
typedef enum ek_schedule {
    EK_SCHEDULE_CONSTANT = 0,
    EK_SCHEDULE_STEP = 1,      /* times gamma every `step_size` epochs: StepLR */
    EK_SCHEDULE_MULTISTEP = 2, /* times gamma from each of `milestones` on, in epochs: MultiStepLR */
    EK_SCHEDULE_COSINE = 3     /* min_lr + (lr - min_lr)*(1 + cos(pi*t/T))/2, after the warm-up, t steps of T */
} ek_schedule;

typedef struct ek_fit_options {
    int epochs;      /* default 10 */
    int batch_size;  /* default 128; the last batch of an epoch may be smaller and is kept */
    float lr;        /* learning rate; default 0.1, of Adam and AdamW 0.001 */
    uint64_t seed;   /* of the shuffling, keyed with the epoch; default 0 */
    bool no_shuffle; /* samples in file order; default: shuffled anew each epoch */
    int threads;     /* default ek_cpu_count() */
    /* Called on the thread that called ek_fit; non-zero stops with EK_ERR_STOPPED after the step or epoch, or
     * before another checkpoint is tried (EK_EVENT_BROKEN). */
    int (*on_event)(void *user, const ek_fit_event *event);
    void *user;
    ek_augment_options augment; /* default: images as they are */

    /* The optimiser. Its state starts anew with each call. */
    ek_optimizer optimizer; /* default EK_SGD */
    double momentum;        /* SGD: [0,1); default 0, none */
    bool nesterov;          /* SGD: Nesterov's momentum; needs momentum */
    double weight_decay;    /* >= 0; default 0 */
    ek_decay decay;         /* default: weights alone */
    double beta1, beta2;    /* Adam, AdamW: (0,1); 0 means 0.9 and 0.999 */
    double eps;             /* Adam, AdamW: at least 1e-30; 0 means 1e-8 */
    double clip_norm;       /* gradients are scaled so that their 2-norm over all parameters is at most this, as
                             * torch.nn.utils.clip_grad_norm_ does (the book's gradient_clip_val); default 0: never */
    double label_smoothing; /* [0,1), CrossEntropyLoss's: the targets are (1 - s)*onehot + s/K, and so is the training
                             * loss; validation tells the plain loss; default 0 */

    /* The learning rate, step by step. */
    ek_schedule schedule;  /* default constant */
    int step_size;         /* STEP: epochs, at least 1 */
    const int *milestones; /* MULTISTEP: epochs from 1, ascending; read during the call alone */
    int milestone_count;
    double gamma;         /* STEP, MULTISTEP: (0,1]; 0 means 0.1 */
    double min_lr;        /* COSINE: the floor, at most lr; default 0 */
    double warmup_epochs; /* linear warm-up: of W steps (epochs are rounded to steps) step i, from 0, takes (i+1)/W */
    int64_t warmup_steps; /* of what the schedule gives. One of the two; default none. Shorter than the training */

    bool measure_norm; /* events tell gradient_norm without clip_norm, too: a pass over the gradients, same results */

    /* Micro-batches: steps of batch_size in less memory, `micro_batch` samples (default 0: all) at a time.
     * As it is, batch norms still take the statistics of the whole batch, and the model is that of a training without
     * micro-batches to the last bit: a step keeps no more than it must for that, at most micro_batch samples (in
     * sixteens, and at most sixteen a thread) are between two batch norms at the same time, and backward computes the
     * rest again, which takes about a quarter longer (Chen et al. 2016, arXiv:1604.06174).
     * With `ghost`, a step is a sequence of micro-batches whose gradients are added up, as users of PyTorch accumulate
     * gradients: the memory of a batch of micro_batch, and each has statistics of its own (Hoffer et al. 2017,
     * arXiv:1705.08741), with which moving statistics move once for each. The gradient is that of the mean loss over
     * the whole batch; without a batch norm it is the same but for rounding. */
    int micro_batch;
    bool ghost;

    /* To stop and go on (docs/training.md): checkpoints in folder `checkpoint` (default: none), which is made where it
     * is missing (not the folders above it) and belongs to one training: a second one is refused with EK_ERR_STATE
     * while the first runs, and a new one while there are checkpoints in it. One is written every `checkpoint_every`
     * steps (default: after each epoch), at the end, and when a callback stops the training; the last `checkpoint_keep`
     * (default 3) are kept. One that cannot be written is told by an event and stops nothing.
     * With `resume` training goes on from the newest that is whole, and ends as it would have ended without a break, to
     * the last bit: the net's values at the call do not count. EK_ERR_NOT_FOUND where there is none, EK_ERR_FORMAT
     * where none is whole; EK_ERR_ARGUMENT shows what differs when the net, the data (by digest), an option above or
     * `recipe`, `keep_best`, `patience`, `exact_stats`, `exact_samples` or `exact_final` is not what it was. threads,
     * on_event, measure_norm and micro_batch without ghost may differ. */
    const char *checkpoint;
    int checkpoint_every, checkpoint_keep;
    bool resume;
    const char *recipe; /* whatever else the result depends on, as text, to be compared likewise; default "" */
    bool keep_best;     /* at the end the net is that of the best validation accuracy, the earliest of equal ones */
    int patience; /* training ends after so many epochs in a row without a better validation accuracy; default: it
                         * does not */

    /* A step whose loss, batch statistics or gradients are not finite (one micro-batch's are enough; with Adam without
     * clipping nor may a gradient's square be) is left out:
     * values, moving statistics and the optimiser's state stay as they are, its samples count in no mean, an event
     * tells it. The schedule goes on. So many in a row may be left out; the next one ends the training with
     * EK_ERR_NUMERIC, and so does an epoch's last step when all of it would be left out. Default 3; -1: none. It may
     * differ on resuming. */
    int max_skipped;

    /* Exact statistics (ek_calibrate) of training samples, their images unchanged: after every epoch those of
     * `exact_samples` of them (default ek_exact_samples; all where there are fewer) validate, and keep_best and
     * patience go by that. At the end the net has the exact ones, the last epoch's or with keep_best the best one's;
     * with `exact_final` those of all training samples; if that fails the training is not lost (EK_EVENT_STATISTICS).
     * Without validation data they are measured at the end alone. Steps go on with the moving ones: the parameters are
     * those of a training without it, to the last bit, while no choice depends on the validation. It takes as much
     * memory as a step at most, or 64 MiB; results do not depend on it. With `exact_compare` events tell the validation
     * with the moving ones, too, which costs as much as the other. */
    bool exact_stats;
    int64_t exact_samples;
    bool exact_final, exact_compare;
} ek_fit_options;

/* Trains `net` on `train` by cross-entropy, d2l section 8.5.4. val may be NULL.
 * Before the first step: EK_ERR_ARGUMENT for settings that are out of range, contradict each other, or belong to
 * another optimiser or schedule; EK_ERR_SHAPE when images do not fit the net's input, classes exceed its outputs, or a
 * batch norm would see one value per channel in a batch (the last one counts). During training EK_ERR_NUMERIC after
 * more than max_skipped steps in a row, or a whole epoch of them: the message names what is not finite with layer and
 * channel (batch statistics, the loss, a gradient), the sample, layer and channel with which that begins, and the last
 * checkpoint. Parameters and moving statistics are then those after the last good step. */
EK_API ek_status ek_fit(ek_net *net, const ek_dataset *train, const ek_dataset *val, const ek_fit_options *options);

/* What ek_fit would say of the options alone, before there are a net and data: EK_ERR_ARGUMENT where one is out of
 * range or two do not go together. Nothing is opened. */
EK_API ek_status ek_fit_check(const ek_fit_options *options);

typedef struct ek_metrics {
    int64_t count, correct;
    double loss;     /* exact mean cross-entropy over the samples */
    double accuracy; /* correct / count */
} ek_metrics;

typedef struct ek_eval_options {
    int threads;    /* default ek_cpu_count() */
    int batch_size; /* default chosen by the library; no result depends on it but for a batch norm without tracking */
    /* The caller's [K, K] for the net's K outputs, overwritten: samples of true class (row) predicted as (column).
     * Default NULL: not counted. */
    int64_t *confusion;
    /* The caller's [N, K] for the data set's N samples, overwritten: the net's outputs for each, in its order. The
     * probabilities are their softmax; the class it is taken for is the greatest's, the first of equal ones.
     * Default NULL: not kept. */
    float *logits;
    /* Batch norms are computed as layers of their own. Default: folded into the weights before them (ek_net_fold), as
     * prediction does, so that what folding does to outputs shows where the two are compared. */
    bool unfolded;
} ek_eval_options;

/* Prediction on the whole data set. EK_ERR_SHAPE as ek_fit; EK_ERR_NUMERIC when the loss is not finite.
 * Once the net's tensors exist (ek_net_init, a load or ek_net_tensor_count has run), several threads may evaluate and
 * predict with one net at once. */
EK_API ek_status ek_evaluate(ek_net *net, const ek_dataset *dataset, const ek_eval_options *options,
                             ek_metrics *metrics);

/* Outputs (logits) [n, K] of the net in prediction for x: [n,C,H,W], pixels divided by 255 where the net was trained on
 * a data set (its normalisation, if any, is applied); what is not finite in x shows in them. threads: 0
 * means ek_cpu_count(). A batch norm without tracked statistics normalises over these n samples; EK_ERR_NUMERIC when
 * they make its statistics infinite or NaN. */
EK_API ek_status ek_predict(ek_net *net, int64_t n, const float *x, int threads, float *logits);

/* Prediction again and again, of one image or of many, in a program that serves: the net as it stands at the call of
 * ek_predictor_new, prepared once: batch norms folded into the weights before them, weights rearranged, all memory
 * taken. It is an object of its own, which outlives the net; what is done to the net afterwards does not reach it.
 *
 * Any number of threads may use one predictor at once, without a lock: each call takes one of its workspaces. While
 * `threads` calls run, further ones wait for the first of them to end. A call computes on the thread that made it,
 * allocates nothing, and opens no file.
 *
 * An image alone is computed with sixteen output channels (or what the processor's registers hold) side by side, images
 * in numbers with sixteen images side by side; calls with many images do both, whichever is faster for what is left.
 * Outputs are those of ek_predict to the last bit, but for the sign of zeros, whatever the number of images. */
typedef struct ek_predictor ek_predictor;

typedef struct ek_predictor_options {
    int threads; /* calls that may run at the same time, each with a workspace; default ek_cpu_count() */
} ek_predictor_options;

/* EK_ERR_NUMERIC names a layer whose parameters are not finite; EK_ERR_UNSUPPORTED a batch norm without tracked
 * statistics, whose outputs depend on which images are together, or a net too large for it (ek_predict takes both).
 * *predictor is NULL after a failure. */
EK_API ek_status ek_predictor_new(ek_predictor **predictor, ek_net *net, const ek_predictor_options *options);
EK_API void ek_predictor_free(ek_predictor *predictor);

/* What it takes and gives: the shape of a sample, the numbers of one output (K, or C*H*W where the net ends in images),
 * and the bytes of its weights and of all its workspaces. Each pointer may be NULL. */
EK_API void ek_predictor_shape(const ek_predictor *predictor, int *channels, int *height, int *width,
                               int64_t *outputs, int64_t *bytes);

/* Outputs of n images, x [n,C,H,W] as for ek_predict: logits [n, outputs], and probabilities, their softmax, likewise.
 * Either of the two may be NULL. The first of the largest is the class an image is taken for. What is not finite in x
 * shows in the outputs. EK_ERR_ARGUMENT when n is below 1, x is NULL or both outputs are; EK_ERR_SHAPE for
 * probabilities of a net that ends in images. */
EK_API ek_status ek_predictor_run(const ek_predictor *predictor, int64_t n, const float *x, float *logits,
                                  float *probabilities);

/* The same of pixels as bytes [n,C,H,W], as data sets hold them: divided by 255 and normalised as the net's training
 * data were. */
EK_API ek_status ek_predictor_run_bytes(const ek_predictor *predictor, int64_t n, const uint8_t *pixels,
                                        float *logits, float *probabilities);

/* What ek_export_c wrote. */
typedef struct ek_export_c_report {
    int64_t constants; /* bytes of weights, without the self-test's: flash, beside a few KB of code */
    int64_t memory;    /* bytes of the static array that layers work in */
    int tests;         /* images of the self-test */
} ek_export_c_report;

typedef struct ek_export_c_options {
    const char *prefix;         /* of every name in the text; default made from the path's last part */
    const ek_dataset *samples;  /* whose images the self-test has, evenly spread; default random ones */
    int tests;                  /* so many of them; default 2, at most 1000 */
    ek_export_c_report *report; /* the caller's, filled in on success; default NULL */
} ek_export_c_options;

/* The net's prediction as C: PATH.c and PATH.h (docs/export-c.md), C99 and C++, without a library but the C library's
 * math, without allocation. Batch norms are folded (ek_net_fold; one that cannot be is a scale and a shift), weights
 * are constants, values between layers share one static array, whose size the header tells. PREFIX_predict takes an
 * image as floats from 0 to 1, PREFIX_predict_bytes as bytes; the net's normalisation is applied. PREFIX_self_test
 * compares recorded images' outputs with ek_predict's; before there is a file, the text's arithmetic is done here.
 * A path that ends in ".c" is taken without it. Names in the text begin with its last part, in which what is no letter,
 * digit or underscore becomes an underscore, and before which an 'n' goes where it begins with a digit: "out/3net-b.c"
 * gives "n3net_b_predict", and macros in capitals. Both files are written as a model file is, both or none, and do not
 * compile together with those of another export.
 * EK_ERR_UNSUPPORTED names a batch norm without moving statistics, or sizes beyond an int; EK_ERR_ARGUMENT for a path
 * without a last part of 1 to 63 bytes, a prefix that is none of C's; EK_ERR_SHAPE for samples of another shape;
 * EK_ERR_NUMERIC names a tensor, or a channel of a batch norm that stays, with a number that is not finite; it is also
 * for outputs that are not, and those that rounding makes others. */
EK_API ek_status ek_export_c(ek_net *net, const char *path, const ek_export_c_options *options);

/* What ek_calibrate did. */
typedef struct ek_calibrate_report {
    int64_t samples, total; /* measured, of so many in the data set */
    int layers;             /* batch norms whose moving statistics are new */
    int passes;             /* over the samples */
    int64_t memory;         /* bytes of the pass that took most, beside images */
} ek_calibrate_report;

typedef struct ek_calibrate_options {
    int64_t samples; /* of the data set, chosen at random; default: all. Taken in the data set's order */
    uint64_t seed;   /* of the choice; default 0 */
    int threads;     /* default ek_cpu_count() */
    /* Bytes that a pass may take, beside the images in memory. Default 1 GiB, or a quarter of the machine's where that
     * is less. Where the values that all samples have between the batch norms fit, one pass measures them all; where
     * they do not, there are more passes, each of which runs the layers before its own once more (the first of them
     * takes what it needs even if it is more). Images that stream are decoded once where they fit half of it. */
    int64_t memory;
    ek_calibrate_report *report; /* the caller's, filled in on success; default NULL */
} ek_calibrate_options;

/* Replaces the moving statistics of the net's batch norms by the exact ones of a data set, after training: moving
 * averages follow weights that were still moving, and of the last few batches (d2l section 8.5; Wu and Johnson 2021,
 * arXiv:2105.07576, section 3, "precise BN"). Layer after layer: a norm's input is computed as in prediction, without
 * dropout, with the exact statistics of the norms before it; its mean and variance are over all samples and
 * locations, the variance times M/(M-1) where the layer's moving_variance says so. So prediction on these samples
 * finds, at every norm, just the statistics that it normalises with.
 * A norm with hold_moving is left as it is. One without tracking normalises with the statistics of all the samples
 * meanwhile. num_batches_tracked and parameters stay. The note "statistics" tells of it: "exact, 2048 of 60000 samples
 * of sha256:..."; training removes it. A net without a norm to replace is left alone.
 * The same bits for any number of threads and any memory (unless images stream and sixteen of them do not fit). After a
 * failure the net is as it was: EK_ERR_SHAPE as ek_fit and for one value per channel; EK_ERR_NUMERIC names layer and
 * channel of statistics that are not finite. */
EK_API ek_status ek_calibrate(ek_net *net, const ek_dataset *dataset, const ek_calibrate_options *options);

/* Samples that ek_fit's exact_stats measures after each epoch by default: 2048, or an eighth of the data set if that is
 * less, but at least 128, or all. It costs some hundredths of an epoch. */
EK_API int64_t ek_exact_samples(const ek_dataset *train);

/* What a channel of a layer's output holds over the samples of a data set. */
typedef struct ek_channel_stats {
    double mean, std; /* population's; both NaN where a value is not finite */
    float min, max;   /* of the values that are no NaN; +-infinity, the wrong way round, where all are */
    /* Share, 0 to 1, of the values at which the layer is an activation that hardly passes gradients on: its slope is at
     * most a tenth of its steepest (sigmoid below 0.026 and above 0.974, tanh beyond +-0.949), or 0 (relu at 0). 0 for
     * other layers. */
    double flat;
} ek_channel_stats;

typedef struct ek_probe_options {
    int64_t samples; /* of the data set, evenly spread over it; default 2048, or all if there are fewer */
    int threads;     /* default ek_cpu_count() */
} ek_probe_options;

/* The outputs of every layer in prediction, measured channel by channel in double, in one pass over the samples. An
 * object of its own, which outlives net and data set. */
typedef struct ek_probe ek_probe;

/* EK_ERR_SHAPE as ek_fit. Values that are not finite are no error here. A batch norm without tracked statistics
 * normalises over 256 samples at a time. */
EK_API ek_status ek_probe_new(ek_probe **probe, ek_net *net, const ek_dataset *dataset,
                              const ek_probe_options *options);
EK_API void ek_probe_free(ek_probe *probe);

/* Samples that were measured. */
EK_API int64_t ek_probe_samples(const ek_probe *probe);

/* Layer `layer`, as ek_net_layer counts: *channels of them, features being channels. NULL for layers that only hand on
 * what they read (flatten, dropout) and for numbers out of range. The probe's. */
EK_API const ek_channel_stats *ek_probe_layer(const ek_probe *probe, int layer, int *channels);

/* ---- 6. Models of other programs ---------------------------------------------------------------------------- */

typedef struct ek_import_onnx_options {
    int channels, height, width; /* of the input, where the file leaves them open; default: as it says */
    const char *output;          /* name of the graph's output that the net ends with; default: its only one */
    /* The graph takes pixels from 0 to 255: what it does with them becomes the normalisation of pixels from 0 to 1 that
     * a net takes. Default: it takes those from 0 to 1 itself. */
    bool bytes;
    /* The net comes from the graph alone. Default: what the file's properties say of a net of this library's is taken
     * where the graph bears it out. */
    bool ignore_properties;
    /* What was left out or changed, a line each, "" for nothing: the caller's, to free with free(); NULL after a
     * failure. Default: not told. */
    char **report;
} ek_import_onnx_options;

/* A net from an ONNX file (onnx.ai, IR of protobuf; opset 7 to 24), with its weights. The graph is read as the layers
 * of section 3: operators and forms of it that are read are in docs/onnx.md; PyTorch's two exporters and this
 * library's own write them. Sums become residuals, concatenations branches; what exporters write as arithmetic (GELU,
 * layer norm, normalisation) is recognised; softmax at the end is left out. The outputs are those of the graph but for
 * rounding. What ek_export_onnx wrote comes back as the same net, its tensors byte for byte (folded: the folded net).
 * Weights may be in files beside the model, in its folder or below it. *net is NULL after a failure: EK_ERR_NOT_FOUND,
 * EK_ERR_IO; EK_ERR_FORMAT for what is no ONNX model or contradicts itself; EK_ERR_UNSUPPORTED names the node and
 * operator that no layer is made of; EK_ERR_SHAPE for shapes that do not fit together or are open; EK_ERR_NUMERIC for
 * a tensor with NaN or infinity, and a batch norm that divides by 0; in a build without protobuf-c always
 * EK_ERR_UNSUPPORTED. Every byte is checked; memory is taken for what the file holds. */
EK_API ek_status ek_import_onnx(ek_net **net, const char *path, const ek_import_onnx_options *options);

/* What ek_export_onnx did; filled in also where it refuses, as far as it came. */
typedef struct ek_onnx_report {
    int opset;
    int64_t bytes;     /* of the file */
    int folded, kept;  /* batch norms that are in the weights before them, and that are nodes */
    int64_t samples;   /* that the net and the file's ran on */
    double difference; /* the largest of an output */
    double scale;      /* the largest output, without its sign */
    int64_t changed;   /* samples whose greatest output, the class they are taken for, is another one */
} ek_onnx_report;

typedef struct ek_onnx_options {
    /* Batch norms stay nodes. Default: each behind a convolution or linear layer is folded into it (ek_net_fold), as
     * PyTorch's exporter does. */
    bool keep_batchnorm;
    int batch; /* samples of a batch, the first extent of input and output; default: any, named "batch" */
    int opset; /* version of the operators, 11 to 22; default 17 */
    const ek_dataset *samples; /* what the proof runs on; default: 64 random images, the same ones always */
    int64_t sample_count;      /* of them, evenly spread; default 256, or all if there are fewer */
    double budget;             /* difference that is allowed, as a share of the outputs' scale; default 1e-5 */
    int threads;               /* of the proof; default ek_cpu_count() */
    ek_onnx_report *report;    /* the caller's; default NULL */
} ek_onnx_options;

/* Writes the net, as it predicts, as an ONNX file (onnx.ai; docs/onnx.md has the nodes of each layer). Input "input":
 * [batch, C, H, W], pixels from 0 to 1; the net's normalisation is nodes of the graph. Output "output": the logits.
 * Initialisers have the names of the table of tensors; the net's text and notes are in metadata_props, under the keys
 * of model files.
 * The bytes are proved before a file is there: they are read back (ek_import_onnx), and both nets predict `samples`.
 * Where these differ by more than the budget it is EK_ERR_NUMERIC and no file, as for a tensor with NaN or infinity, or
 * a batch norm that divides by 0 or whose factor or sum for a channel, folded or not, is no finite float (named with
 * layer and channel). EK_ERR_UNSUPPORTED for a batch norm without moving statistics, for a file beyond 2 GiB, and in a
 * build without protobuf-c. EK_ERR_SHAPE for samples that do not fit the net. Written like a model file. */
EK_API ek_status ek_export_onnx(ek_net *net, const char *path, const ek_onnx_options *options);

/* ---- 7. Nets in integers ------------------------------------------------------------------------------------ */

/* A net quantised to 8 bits for prediction, after Jacob et al. 2018 (arXiv:1712.05877; docs/quantization.md has the
 * formulas): weights int8 with a scale for each output channel, what layers hand on int8 with a scale and a zero point
 * for each layer, sums and biases int32, multipliers of 31 bits and a shift in place of real factors. Everything is
 * computed in integers, so that a microcontroller finds the same outputs as this library, to the last bit. An object of
 * its own, which outlives the net; several threads may use one at once. */
typedef struct ek_quantized ek_quantized;

typedef struct ek_quantize_options {
    int64_t samples; /* of the calibration data, evenly spread over it; default 1024, or all if there are fewer */
    int threads;     /* default ek_cpu_count(); the result does not depend on it */
} ek_quantize_options;

/* Quantises `net`, its batch norms folded. What layers hand on is measured on `calibration`, images of the kind that it
 * will see (of the training data), as histograms; each layer's range is the one whose mean square error is least, and
 * values beyond it saturate. The net is not changed.
 * EK_ERR_UNSUPPORTED names a layer that has no form in integers: layernorm, batchnorm without tracking. EK_ERR_SHAPE as
 * ek_evaluate. EK_ERR_NUMERIC names a layer whose weights or outputs are not finite. */
EK_API ek_status ek_quantize(ek_quantized **quantized, ek_net *net, const ek_dataset *calibration,
                             const ek_quantize_options *options);
EK_API void ek_quantized_free(ek_quantized *quantized);

typedef struct ek_quantized_info {
    int outputs;        /* K */
    float output_scale; /* an output of 1 is a logit of so much */
    int64_t weights;    /* int8 weights of all layers */
    int64_t samples;    /* measured */
} ek_quantized_info;

EK_API void ek_quantized_get_info(const ek_quantized *quantized, ek_quantized_info *info);

/* Outputs [n,K] for pixels [n,C,H,W], bytes as a data set has them: logits in units of output_scale. The class is the
 * greatest output's, the first of equal ones. In plain C, for measuring and checking; threads: 0 means
 * ek_cpu_count(). */
EK_API ek_status ek_quantized_predict(const ek_quantized *quantized, int64_t n, const uint8_t *pixels, int threads,
                                      int16_t *outputs);

/* The same over a whole data set, measured as ek_evaluate does. batch_size and unfolded do not count. */
EK_API ek_status ek_quantized_evaluate(const ek_quantized *quantized, const ek_dataset *dataset,
                                       const ek_eval_options *options, ek_metrics *metrics);

/* Writes PATH.c and PATH.h: C99 and C++ without any library, nothing allocated, whose outputs are
 * ek_quantized_predict's to the last bit. The path, the names, the pair of files, options and errors are as
 * ek_export_c's; the report's memory is beside the image, the outputs and some 200 bytes of stack. */
EK_API ek_status ek_quantized_export_c(const ek_quantized *quantized, const char *path,
                                       const ek_export_c_options *options);

#ifdef __cplusplus
}
#endif

#endif
