/* SPDX-License-Identifier: MIT
 * Training of nets and prediction of bn-lenet, measured through the library's own ek_fit and ek_evaluate. */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 60000, SIDE = 28, CLASSES = 10, PREDICT_BATCH = 256 };

/* What is trained by a work's name. Residual nets see random images, eight batches of them. */
typedef struct training {
    const char *kind, *net;
    int channels, side, batch_size;
} training;

static const training trainings[] = {
    {"train", CLI_NET_DEFAULT, 1, SIDE, 128},
    {"train-resnet-20", "resnet-20", 3, 32, 128},
    {"train-resnet-18", "resnet-18", 1, 96, 32},
};

static bool fail(void)
{
    return bench_fail(*ek_error() ? ek_error() : "out of memory");
}

/* ---- Images --------------------------------------------------------------------------------------------------- */

static ek_dataset *images; /* that all works train on */

/* Random images: what they show makes no difference to the time. */
static ek_status make_images(ek_dataset **dataset, int64_t count, int channels, int side)
{
    const size_t size = (size_t)channels * (size_t)side * (size_t)side;
    uint8_t *pixels = malloc((size_t)count * (size + 1));
    if (!pixels)
        return EK_ERR_MEMORY;
    uint8_t *labels = pixels + (size_t)count * size;
    uint32_t random = 1;
    for (size_t i = 0; i < (size_t)count * size; i++) {
        random = 1664525 * random + 1013904223;
        pixels[i] = (uint8_t)(random >> 24);
    }
    for (int64_t i = 0; i < count; i++)
        labels[i] = (uint8_t)(i % CLASSES);
    const ek_status status = ek_dataset_from_memory(dataset, count, channels, side, side, pixels, labels, CLASSES);
    free(pixels);
    return status;
}

/* Fashion-MNIST, or as many random images. */
static ek_status open_images(void)
{
    if (images || !ek_dataset_open(&images, CLI_DATA_DEFAULT, EK_SPLIT_TRAIN))
        return EK_OK;
    return make_images(&images, IMAGES, 1, SIDE);
}

void bench_free_images(void)
{
    ek_dataset_free(images);
    images = NULL;
}

/* The first `count` images, from the beginning again where there are not so many. */
static ek_status copy_images(ek_dataset **dataset, int64_t count)
{
    ek_dataset_info info;
    ek_dataset_get_info(images, &info);
    const size_t size = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
    uint8_t *pixels = malloc((size_t)count * (size + 1));
    if (!pixels)
        return EK_ERR_MEMORY;
    uint8_t *labels = pixels + (size_t)count * size;
    for (int64_t i = 0; i < count; i++) {
        if (ek_dataset_read(images, i % info.count, pixels + (size_t)i * size)) {
            free(pixels);
            return EK_ERR_IO;
        }
        labels[i] = (uint8_t)ek_dataset_label(images, i % info.count);
    }
    const ek_status status =
        ek_dataset_from_memory(dataset, count, info.channels, info.height, info.width, pixels, labels, info.classes);
    free(pixels);
    return status;
}

static ek_status open_net(ek_net **net, const training *t)
{
    *net = ek_net_builtin_for(t->net, t->channels, t->side, t->side, CLASSES);
    return *net ? ek_net_init(*net, EK_INIT_XAVIER, 0) : EK_ERR_MEMORY;
}

/* ---- Training ------------------------------------------------------------------------------------------------- */

/* One ek_fit that goes on for ever on a thread of its own. Its callback lets it run the steps of a window and then
 * holds it, so that a window sees steps and turns of epochs alone, no start. */
typedef struct trainer {
    ek_net *net;
    ek_dataset *own; /* images of its own; NULL: those that all share */
    pthread_t thread;
    sem_t go, done;
    ek_fit_options options;
    int64_t left; /* steps of this window */
    bool stop, ended;
} trainer;

static int hold_after_window(void *user, const ek_fit_event *event)
{
    trainer *t = user;
    if (event->kind == EK_EVENT_STEP && --t->left == 0) {
        sem_post(&t->done);
        sem_wait(&t->go);
    }
    return t->stop;
}

static void *train(void *argument)
{
    trainer *t = argument;
    sem_wait(&t->go);
    if (!t->stop && ek_fit(t->net, t->own ? t->own : images, NULL, &t->options) && !t->stop)
        fail();
    t->ended = true;
    sem_post(&t->done);
    return NULL;
}

static double run_trainer(void *state, int64_t steps)
{
    trainer *t = state;
    if (t->ended)
        return -1;
    t->left = steps;
    const double start = cli_now();
    sem_post(&t->go);
    sem_wait(&t->done);
    return t->ended ? -1 : cli_now() - start;
}

static void free_trainer(trainer *t)
{
    ek_net_free(t->net);
    ek_dataset_free(t->own);
    free(t);
}

static void close_trainer(void *state)
{
    trainer *t = state;
    t->stop = true;
    sem_post(&t->go);
    pthread_join(t->thread, NULL);
    sem_destroy(&t->go);
    sem_destroy(&t->done);
    free_trainer(t);
}

static bool open_trainer(bench_work *work, const training *what, const bench_settings *settings)
{
    trainer *t = calloc(1, sizeof *t);
    if (!t)
        return bench_fail("out of memory");
    const int batch = settings->batch_size ? settings->batch_size : what->batch_size;
    t->options = (ek_fit_options){.epochs = CLI_COUNT_MAX,
                                  .batch_size = batch,
                                  .threads = settings->threads,
                                  .on_event = hold_after_window,
                                  .user = t};
    const bool random = what != trainings;
    if ((random ? make_images(&t->own, 8 * (int64_t)batch, what->channels, what->side) : open_images()) ||
        open_net(&t->net, what)) {
        free_trainer(t);
        return fail();
    }
    const double before = bench_memory("VmRSS:");
    sem_init(&t->go, 0, 0);
    sem_init(&t->done, 0, 0);
    if (pthread_create(&t->thread, NULL, train, t)) {
        free_trainer(t);
        return bench_fail("a thread could not be started");
    }
    *work = (bench_work){.amount = batch,
                         .unit = "image",
                         .memory_before = before,
                         .state = t,
                         .run = run_trainer,
                         .close = close_trainer};
    return true;
}

/* ---- Prediction ----------------------------------------------------------------------------------------------- */

/* Whole ek_evaluates of some 16,000 images; a step is a batch of them. */
typedef struct predictor {
    ek_net *net;
    ek_dataset *images;
    ek_eval_options options;
    int64_t batches; /* of an evaluation */
} predictor;

/* As many whole evaluations as hold the steps, and of their time the steps' share. */
static double run_predictor(void *state, int64_t steps)
{
    predictor *p = state;
    const int64_t evaluations = (steps + p->batches - 1) / p->batches;
    const double start = cli_now();
    for (int64_t i = 0; i < evaluations; i++) {
        if (ek_evaluate(p->net, p->images, &p->options, &(ek_metrics){0})) {
            fail();
            return -1;
        }
    }
    return (cli_now() - start) * (double)steps / (double)(evaluations * p->batches);
}

static void close_predictor(void *state)
{
    predictor *p = state;
    ek_dataset_free(p->images);
    ek_net_free(p->net);
    free(p);
}

static bool open_predictor(bench_work *work, const bench_settings *settings)
{
    predictor *p = calloc(1, sizeof *p);
    if (!p)
        return bench_fail("out of memory");
    const int batch = settings->batch_size ? settings->batch_size : PREDICT_BATCH;
    p->options = (ek_eval_options){.threads = settings->threads, .batch_size = batch};
    p->batches = (16384 + batch - 1) / batch;
    if (open_images() || open_net(&p->net, trainings) || copy_images(&p->images, p->batches * batch)) {
        close_predictor(p);
        return fail();
    }
    *work =
        (bench_work){.amount = batch, .unit = "image", .state = p, .run = run_predictor, .close = close_predictor};
    return true;
}

bool bench_open_net(bench_work *work, const char *kind, const bench_settings *settings)
{
    for (size_t i = 0; i < sizeof trainings / sizeof *trainings; i++)
        if (!strcmp(kind, trainings[i].kind))
            return open_trainer(work, &trainings[i], settings);
    return open_predictor(work, settings);
}

double bench_memory(const char *what)
{
    char line[128];
    long long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, what, strlen(what)))
            sscanf(line + strlen(what), "%lld", &kilobytes);
    if (status)
        fclose(status);
    return 1024.0 * (double)kilobytes;
}
