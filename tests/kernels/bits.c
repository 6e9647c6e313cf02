/* SPDX-License-Identifier: MIT
 * Trains bn-lenet for a few shuffled steps on made-up images, by plain SGD and by all that may stand beside it, then a
 * net with dropout and with activations that bn-lenet lacks, on images changed at random, and prints a digest of every
 * parameter and statistic: the same on every instruction set with fused multiply-add and for every number of threads.
 *
 *     bits [threads]      default 2 */
#include "base/random.h"
#include "evenkeel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Six batches of 40 and a last one of 24: steps that fill their blocks of sixteen samples and steps that do not. */
enum { SAMPLES = 264, BATCH = 40, SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10 };

static uint8_t pixels[SAMPLES][PIXELS], labels[SAMPLES];

/* Noise, brighter in the rows of the image's class. */
static void make_images(void)
{
    uint32_t bits[4];
    for (int n = 0; n < SAMPLES; n++) {
        labels[n] = (uint8_t)(n % CLASSES);
        for (int i = 0; i < PIXELS; i++) {
            if (i % 4 == 0)
                ek_random4(1, EK_RANDOM_INIT, (uint32_t)n, (uint64_t)i / 4, bits);
            const uint32_t noise = bits[i % 4] >> 25;
            pixels[n][i] = (uint8_t)(noise + (i / SIDE / 2 % CLASSES == labels[n] ? 128 : 0));
        }
    }
}

/* FNV-1a, over the bytes of 32-bit words from the lowest on, wherever the machine keeps it. */
static uint64_t add_word(uint64_t digest, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        digest = (digest ^ (word >> 8 * i & 0xff)) * 0x100000001b3u;
    return digest;
}

static uint64_t add_net(uint64_t digest, ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && j < t->count; j++) {
            uint32_t word;
            memcpy(&word, &t->data[j], sizeof word);
            digest = add_word(digest, word);
        }
        if (t->counter)
            digest = add_word(digest, (uint32_t)*t->counter);
    }
    return digest;
}

static int fail(const char *what)
{
    printf("# %s: %s\nnot ok training for bits\n", what, ek_error());
    return 1;
}

/* Loss before and after an epoch of each recipe. */
static ek_status train(ek_net *net, const ek_dataset *data, int threads, const ek_fit_options *recipes, int count,
                       double losses[2])
{
    ek_metrics metrics = {0};
    ek_status status = ek_net_init(net, EK_INIT_XAVIER, 3);
    for (int i = 0; i < 2 && !status; i++) {
        for (int j = 0; i && j < count && !status; j++) {
            ek_fit_options o = recipes[j];
            o.epochs = 1;
            o.batch_size = BATCH;
            o.seed = 9;
            o.threads = threads;
            status = ek_fit(net, data, NULL, &o);
        }
        if (!status)
            status = ek_evaluate(net, data, &(ek_eval_options){.threads = threads}, &metrics);
        losses[i] = metrics.loss;
    }
    return status;
}

static const char dropping[] =
    "input 1 28 28\ndropout p=0.1\nconv2d 6 kernel=5 stride=2\nbatchnorm\ngelu\nmaxpool 2\n"
    "dropout p=0.25\nconv2d 16 kernel=3\nleaky_relu\ndropout\nflatten\nlinear 40\ntanh\n"
    "dropout p=0.2\nlinear 20\ngelu approximate=tanh\nlinear 10\n";

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    const float mean = 0.3f, deviation = 0.35f;
    double losses[2] = {0, 0}, others[2] = {0, 0};
    ek_dataset *data = NULL;
    ek_net *net = ek_net_builtin("bn-lenet"), *other = ek_net_parse(dropping, "dropping");
    const ek_fit_options recipes[] = {
        {.lr = 0.5f},
        {.optimizer = EK_ADAMW,
         .weight_decay = 0.1,
         .clip_norm = 0.7,
         .label_smoothing = 0.1,
         .schedule = EK_SCHEDULE_COSINE,
         .warmup_steps = 2},
        {.optimizer = EK_ADAM, .lr = 1e-3f, .weight_decay = 1e-3, .schedule = EK_SCHEDULE_STEP, .step_size = 1},
        {.lr = 0.05f, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-3, .decay = EK_DECAY_ALL},
    };
    const ek_fit_options changed = {.lr = 0.1f, .momentum = 0.9, .augment = {.crop = 2, .flip = true, .erase = 0.5f}};
    make_images();
    if (!net || !other || ek_net_set_normalization(other, 1, &mean, &deviation) ||
        ek_dataset_from_memory(&data, SAMPLES, 1, SIDE, SIDE, pixels[0], labels, CLASSES) ||
        train(net, data, threads, recipes, 4, losses) || train(other, data, threads, &changed, 1, others))
        return fail("training");
    printf("bits %016llx\n", (unsigned long long)add_net(add_net(0xcbf29ce484222325u, net), other));
    printf("# %s, %d threads, loss %.6f before, %.17g after; with dropout %.6f before, %.17g after\n", ek_cpu(),
           threads, losses[0], losses[1], others[0], others[1]);
    ek_net_free(net);
    ek_net_free(other);
    ek_dataset_free(data);
    const bool learned = isfinite(losses[1]) && losses[1] < losses[0] && isfinite(others[1]) && others[1] < others[0];
    printf("%s training for bits\n", learned ? "ok" : "not ok");
    return learned ? 0 : 1;
}
