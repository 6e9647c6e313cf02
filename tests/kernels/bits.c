/* SPDX-License-Identifier: MIT
 * Trains bn-lenet for a few shuffled steps on made-up images, by plain SGD and by all that may stand beside it, and
 * prints a digest of every parameter and statistic: the same on every instruction set with fused multiply-add and for
 * every number of threads.
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

static uint64_t digest_of(ek_net *net)
{
    uint64_t digest = 0xcbf29ce484222325u;
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

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    double losses[2] = {0, 0};
    ek_dataset *data = NULL;
    ek_net *net = ek_net_builtin("bn-lenet");
    make_images();
    if (ek_dataset_from_memory(&data, SAMPLES, 1, SIDE, SIDE, pixels[0], labels, CLASSES) ||
        ek_net_init(net, EK_INIT_XAVIER, 3))
        return fail("set up");
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
    for (int i = 0; i < 2; i++) {
        ek_metrics metrics = {0};
        for (size_t j = 0; i && j < sizeof recipes / sizeof *recipes; j++) {
            ek_fit_options o = recipes[j];
            o.epochs = 1;
            o.batch_size = BATCH;
            o.seed = 9;
            o.threads = threads;
            if (ek_fit(net, data, NULL, &o))
                return fail("ek_fit");
        }
        if (ek_evaluate(net, data, &(ek_eval_options){.threads = threads}, &metrics))
            return fail("ek_evaluate");
        losses[i] = metrics.loss;
    }
    printf("bits %016llx\n", (unsigned long long)digest_of(net));
    printf("# %s, %d threads, loss %.6f before, %.17g after\n", ek_cpu(), threads, losses[0], losses[1]);
    ek_net_free(net);
    ek_dataset_free(data);
    const bool learned = isfinite(losses[1]) && losses[1] < losses[0];
    printf("%s training for bits\n", learned ? "ok" : "not ok");
    return learned ? 0 : 1;
}
