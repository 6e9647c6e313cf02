/* SPDX-License-Identifier: MIT
 * Tests of checkpoints: a training that is stopped anywhere and gone on with ends as without the break, to the last
 * byte of its file; damage is named and the checkpoint before serves; what is another training's is refused. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/safetensors.h"
#include "scratch.h"

/* ---- Data, nets, files ---------------------------------------------------------------------------------------- */

static char folder[SCRATCH_SIZE];

static int enter_folder(void **state)
{
    (void)state;
    return mkdtemp(scratch_template(folder, "checkpoint")) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

enum { SAMPLES = 50, SIDE = 6, CLASSES = 4, BATCH = 8, STEPS = 7 };

static ek_dataset *new_data(uint64_t seed)
{
    static uint8_t pixels[SAMPLES * SIDE * SIDE], labels[SAMPLES];
    uint32_t bits[4];
    for (uint32_t i = 0; i < SAMPLES; i++) {
        ek_random4(seed, EK_RANDOM_INIT, 0, i, bits);
        labels[i] = (uint8_t)(bits[0] % CLASSES);
        for (uint32_t j = 0; j < SIDE * SIDE; j++) {
            ek_random4(seed, EK_RANDOM_INIT, 1 + i, j, bits);
            pixels[i * SIDE * SIDE + j] = (uint8_t)((bits[0] >> 25) + (j % SIDE == labels[i] ? 128 : 0));
        }
    }
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, SAMPLES, 1, SIDE, SIDE, pixels, labels, CLASSES), EK_OK);
    return data;
}

static ek_net *new_net(uint64_t seed)
{
    ek_net *net = ek_net_parse("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nrelu\navgpool 2\nflatten\nlinear 8\n"
                               "batchnorm momentum=cumulative\nsigmoid\nlinear 4\n",
                               NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, seed))
        fail_msg("%s", ek_error());
    return net;
}

static bool same_files(const char *a, const char *b)
{
    unsigned char *x, *y;
    size_t m, n;
    assert_int_equal(ek_file_read(a, 1 << 20, &x, &m), EK_OK);
    assert_int_equal(ek_file_read(b, 1 << 20, &y, &n), EK_OK);
    const bool same = m == n && memcmp(x, y, n) == 0;
    ek_free(x);
    ek_free(y);
    return same;
}

static void write_bytes(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Files in a folder whose names hold `part`. */
static int count_files(const char *path, const char *part)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += strstr(e->d_name, part) != NULL;
    closedir(dir);
    return count;
}

static void clear(const char *path)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

/* ---- Trainings ------------------------------------------------------------------------------------------------ */

static ek_dataset *train, *val;

/* Stops where it is told to, and keeps what it hears. */
typedef struct listener {
    int64_t stop_at; /* total steps; 0: never */
    bool stop_resumed, stop_broken;
    int written, failed, broken, older, epochs, again, best;
    int64_t resumed; /* total steps of the checkpoint, 0: none */
    double val_accuracy;
    char message[512];
} listener;

static int listen(void *user, const ek_fit_event *event)
{
    listener *l = user;
    switch (event->kind) {
    case EK_EVENT_STEP:
        return event->total_steps == l->stop_at;
    case EK_EVENT_EPOCH:
        assert_int_equal(event->epoch, ++l->epochs);
        l->again += event->again;
        l->best = event->best_epoch;
        l->val_accuracy = event->val_accuracy;
        return 0;
    case EK_EVENT_CHECKPOINT:
        l->written += event->status == EK_OK;
        l->failed += event->status != EK_OK;
        assert_true(event->status ? *event->message != 0 : access(event->path, R_OK) == 0);
        break;
    case EK_EVENT_BROKEN:
        l->broken++;
        l->older = event->older;
        if (l->stop_broken)
            return 1;
        break;
    case EK_EVENT_RESUME:
        l->resumed = event->total_steps;
        return l->stop_resumed;
    case EK_EVENT_SKIPPED:
    case EK_EVENT_STATISTICS:
        fail_msg("%s", event->message);
    }
    if (event->status)
        snprintf(l->message, sizeof l->message, "%s", event->message);
    return 0;
}

static ek_status fit(ek_net *net, ek_fit_options options, listener *l)
{
    l->epochs = 0;
    options.batch_size = BATCH;
    options.epochs = options.epochs ? options.epochs : 3;
    options.on_event = listen;
    options.user = l;
    return ek_fit(net, train, val, &options);
}

/* Trains without a break into `path`. */
static void train_whole(ek_fit_options options, const char *path)
{
    listener l = {0};
    ek_net *net = new_net(1);
    options.checkpoint = NULL;
    options.checkpoint_every = options.checkpoint_keep = 0;
    if (fit(net, options, &l) || ek_net_save(net, path))
        fail_msg("%s", ek_error());
    ek_net_free(net);
}

/* Trains until it is stopped behind each `stride`-th step, each time going on in a net of other values. */
static int train_in_parts(ek_fit_options options, int64_t stride, const char *path)
{
    int runs = 0;
    for (ek_status status = EK_ERR_STOPPED; status; runs++) {
        listener l = {.stop_at = (runs + 1) * stride};
        ek_net *net = new_net(runs ? 99 : 1);
        options.resume = runs > 0;
        options.threads = 1 + runs % 2;
        status = fit(net, options, &l);
        if (status && status != EK_ERR_STOPPED)
            fail_msg("run %d: %s", runs, ek_error());
        assert_int_equal(l.resumed, runs * stride);
        if (!status && ek_net_save(net, path))
            fail_msg("%s", ek_error());
        ek_net_free(net);
    }
    return runs;
}

static const struct {
    const char *name;
    ek_fit_options options;
} recipes[] = {
    {"sgd", {.lr = 0.1f}},
    {"momentum, step",
     {.momentum = 0.9, .nesterov = true, .schedule = EK_SCHEDULE_STEP, .step_size = 1, .warmup_steps = 5}},
    {"adam, clipped", {.optimizer = EK_ADAM, .clip_norm = 0.5, .weight_decay = 1e-3}},
    {"adamw, cosine",
     {.optimizer = EK_ADAMW, .weight_decay = 0.01, .schedule = EK_SCHEDULE_COSINE, .warmup_epochs = 0.5}},
    {"augmented", {.momentum = 0.5, .augment = {.crop = 1, .flip = true, .erase = 0.5f}, .label_smoothing = 0.1}},
    {"ghosts", {.momentum = 0.5, .micro_batch = 3, .ghost = true}},
    {"micro-batches", {.momentum = 0.5, .micro_batch = 3}},
    {"best", {.lr = 3, .epochs = 5, .keep_best = true}},
    {"patient", {.lr = 3, .epochs = 9, .patience = 2, .keep_best = true}},
    {"exact, best, ghosts",
     {.lr = 3, .epochs = 5, .keep_best = true, .micro_batch = 3, .ghost = true, .exact_stats = true}},
    {"exact of all, patient", {.lr = 3, .epochs = 9, .patience = 2, .exact_stats = true, .exact_final = true}},
};

static void test_resumed_is_uninterrupted(void **state)
{
    (void)state;
    static const int64_t strides[] = {1, 3, STEPS, STEPS + 1};
    static const int every[] = {0, 1, 4, 100};
    for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
        train_whole(recipes[r].options, "whole");
        for (int s = 0; s < 4; s++) {
            ek_fit_options o = recipes[r].options;
            o.checkpoint = "kept";
            o.checkpoint_every = every[(r + (size_t)s) % 4];
            const int runs = train_in_parts(o, strides[s], "parts");
            assert_true(runs > 1);
            if (!same_files("whole", "parts"))
                fail_msg("%s: another model after stopping every %d steps", recipes[r].name, (int)strides[s]);
            assert_int_equal(count_files("kept", ".tmp-"), 0);
            clear("kept");
        }
    }
}

/* The best epoch's values are those of a training of so many epochs. */
static void test_keep_best(void **state)
{
    (void)state;
    listener l = {0};
    ek_net *net = new_net(1), *until = new_net(1);
    assert_int_equal(fit(net, (ek_fit_options){.lr = 3, .epochs = 8, .keep_best = true}, &l), EK_OK);
    assert_int_equal(l.epochs, 8);
    assert_in_range(l.best, 1, 7);
    const int best = l.best;
    assert_int_equal(fit(until, (ek_fit_options){.lr = 3, .epochs = best}, &l), EK_OK);
    assert_int_equal(l.best, best);
    assert_int_equal(ek_net_save(net, "best"), EK_OK);
    assert_int_equal(ek_net_save(until, "until"), EK_OK);
    assert_true(same_files("best", "until"));
    ek_net_free(net);
    ek_net_free(until);
}

static void test_patience(void **state)
{
    (void)state;
    listener all = {0}, patient = {0};
    ek_net *net = new_net(1);
    /* At a rate of nothing the first epoch stays the best. */
    assert_int_equal(fit(net, (ek_fit_options){.lr = 1e-20f, .epochs = 9, .patience = 3}, &patient), EK_OK);
    assert_int_equal(patient.best, 1);
    assert_int_equal(patient.epochs, 4);
    assert_int_equal(fit(net, (ek_fit_options){.lr = 1e-20f, .epochs = 9}, &all), EK_OK);
    assert_int_equal(all.epochs, 9);
    ek_net_free(net);
}

/* Of 21 steps: what is written when, and what stays. */
static void test_which_are_kept(void **state)
{
    (void)state;
    static const struct {
        int every, keep, written, stay;
    } cases[] = {{0, 0, 3, 3}, {0, 2, 3, 2}, {4, 0, 6, 3}, {1, 1, 21, 1}, {7, 9, 3, 3}, {100, 0, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        listener l = {0};
        ek_net *net = new_net(1);
        assert_int_equal(fit(net,
                             (ek_fit_options){.checkpoint = "kept",
                                              .checkpoint_every = cases[i].every,
                                              .checkpoint_keep = cases[i].keep},
                             &l),
                         EK_OK);
        assert_int_equal(l.written, cases[i].written);
        assert_int_equal(l.failed, 0);
        assert_int_equal(count_files("kept", ".safetensors"), cases[i].stay);
        assert_int_equal(access("kept/checkpoint-000000021.safetensors", R_OK), 0);
        ek_net_free(net);
        clear("kept");
    }
}

/* A finished training is told again, and nothing else happens. */
static void test_finished(void **state)
{
    (void)state;
    listener l = {0}, again = {0};
    ek_net *net = new_net(1), *other = new_net(2);
    ek_fit_options o = {.checkpoint = "kept"};
    assert_int_equal(fit(net, o, &l), EK_OK);
    o.resume = true;
    assert_int_equal(fit(other, o, &again), EK_OK);
    assert_int_equal(again.again, 3);
    assert_int_equal(again.written, 0);
    assert_true(again.val_accuracy == l.val_accuracy && again.best == l.best);
    assert_int_equal(ek_net_save(net, "a"), EK_OK);
    assert_int_equal(ek_net_save(other, "b"), EK_OK);
    assert_true(same_files("a", "b"));
    ek_net_free(net);
    ek_net_free(other);
}

/* A checkpoint is a model file as well. */
static void test_as_model(void **state)
{
    (void)state;
    listener l = {.stop_at = 10};
    ek_net *net = new_net(1), *loaded = NULL;
    assert_int_equal(fit(net, (ek_fit_options){.checkpoint = "kept", .momentum = 0.9}, &l), EK_ERR_STOPPED);
    assert_int_equal(ek_net_load(&loaded, "kept/checkpoint-000000010.safetensors"), EK_OK);
    assert_string_equal(ek_net_note(loaded, "checkpoint.epoch"), "2");
    assert_string_equal(ek_net_note(loaded, "checkpoint.momentum"), "0.9");
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *a = ek_net_tensor(net, i), *b = ek_net_tensor(loaded, i);
        assert_true(a->counter ? *a->counter == *b->counter
                               : memcmp(a->data, b->data, (size_t)a->count * sizeof *a->data) == 0);
    }
    /* Trained on, its checkpoints do not mix up its notes. */
    assert_int_equal(fit(loaded, (ek_fit_options){.checkpoint = "more"}, &(listener){0}), EK_OK);
    assert_int_equal(count_files("more", ".safetensors"), 3);
    ek_net_free(net);
    ek_net_free(loaded);
}

/* ---- Damage --------------------------------------------------------------------------------------------------- */

static const char newest[] = "kept/checkpoint-000000014.safetensors",
                  before[] = "kept/checkpoint-000000007.safetensors";

/* A training with two checkpoints, and the model it would end in. */
static ek_fit_options stop_with_two(void)
{
    ek_fit_options o = {.checkpoint = "kept", .optimizer = EK_ADAM};
    listener l = {.stop_at = 14};
    ek_net *net = new_net(1);
    train_whole(o, "whole");
    assert_int_equal(fit(net, o, &l), EK_ERR_STOPPED);
    assert_int_equal(count_files("kept", ".safetensors"), 2);
    ek_net_free(net);
    o.resume = true;
    return o;
}

/* Going on with the newest as it is: it is named, and the one before it leads to the same model, or is seen to. */
static void expect_broken(ek_fit_options o, bool to_the_end)
{
    listener l = {.stop_resumed = !to_the_end};
    ek_net *net = new_net(5);
    const ek_status status = fit(net, o, &l);
    if (status != (to_the_end ? EK_OK : EK_ERR_STOPPED))
        fail_msg("%s", ek_error());
    assert_int_equal(l.broken, 1);
    assert_int_equal(l.resumed, 7);
    assert_non_null(strstr(l.message, newest));
    if (to_the_end) {
        assert_int_equal(ek_net_save(net, "after"), EK_OK);
        assert_true(same_files("whole", "after"));
        clear("kept/checkpoint-000000021.safetensors");
    }
    ek_net_free(net);
}

/* Places of every kind in a file: its length, some of the header, first and last byte of each tensor, some of all. */
static size_t choose_places(const char *path, size_t size, size_t stride, size_t places[4000])
{
    ek_safetensors *file;
    size_t count = 0;
    assert_int_equal(ek_safetensors_read(&file, path), EK_OK);
    for (size_t at = 0; at < size; at += at < 16 ? 1 : stride)
        places[count++] = at;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const ek_safetensors_tensor *const t = &file->tensors[i];
        places[count++] = (size_t)(t->data - file->bytes);
        places[count++] = (size_t)(t->data - file->bytes) + (size_t)(t->end - t->begin) - 1;
    }
    assert_true(count < 4000 && file->tensor_count > 20);
    ek_safetensors_free(file);
    return count;
}

/* A bit flipped there, and all from there on cut off. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    static size_t places[4000];
    ek_fit_options o = stop_with_two();
    unsigned char *good;
    size_t size;
    o.threads = 1;
    assert_int_equal(ek_file_read(newest, 1 << 20, &good, &size), EK_OK);
    const size_t count = choose_places(newest, size, getenv("EVENKEEL_TEST_QUICK") ? 197 : 29, places);
    for (size_t i = 0; i < count; i++) {
        const unsigned char bit = (unsigned char)(1 << i % 8);
        good[places[i]] ^= bit;
        write_bytes(newest, good, size);
        good[places[i]] ^= bit;
        expect_broken(o, i % 97 == 0);
        write_bytes(newest, good, places[i]);
        expect_broken(o, false);
    }
    write_bytes(newest, good, size); /* and unharmed it serves */
    listener l = {0};
    ek_net *net = new_net(5);
    assert_int_equal(fit(net, o, &l), EK_OK);
    assert_int_equal(l.broken, 0);
    assert_int_equal(l.again, 1);
    ek_net_free(net);
    ek_free(good);
}

/* Which is the newest does not depend on any clock. */
static void test_clocks_that_jump(void **state)
{
    (void)state;
    const ek_fit_options o = stop_with_two();
    const struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}},
                          future[2] = {{4102444800, 0}, {4102444800, 0}};
    assert_int_equal(utimensat(AT_FDCWD, newest, past, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, before, future, 0), 0);
    listener l = {.stop_resumed = true};
    ek_net *net = new_net(5);
    assert_int_equal(fit(net, o, &l), EK_ERR_STOPPED);
    assert_int_equal(l.resumed, 14);
    ek_net_free(net);
}

/* What stands in a checkpoint's place without being one; and no checkpoint at all. */
static void test_none_whole(void **state)
{
    (void)state;
    ek_fit_options o = stop_with_two();
    ek_net *net = new_net(5);
    write_bytes(before, (const unsigned char *)"{}", 2);
    clear(newest);
    assert_int_equal(mkdir(newest, 0777), 0);
    listener l = {0};
    assert_int_equal(fit(net, o, &l), EK_ERR_FORMAT);
    assert_int_equal(l.broken, 2);
    assert_non_null(strstr(ek_error(), "of its 2 checkpoints none can be used"));
    assert_int_equal(l.older, 0);
    listener once = {.stop_broken = true};
    assert_int_equal(fit(net, o, &once), EK_ERR_STOPPED);
    assert_int_equal(once.broken, 1);
    assert_int_equal(once.older, 1);
    assert_int_equal(once.written + once.failed, 0);
    assert_int_equal(rmdir(newest), 0);
    assert_int_equal(fit(net, o, &l), EK_ERR_FORMAT);
    assert_non_null(strstr(ek_error(), "its only checkpoint cannot be used"));
    o.checkpoint = "fresh";
    assert_int_equal(fit(net, o, &l), EK_ERR_NOT_FOUND);
    o.checkpoint = "no/such";
    assert_int_equal(fit(net, o, &l), EK_ERR_NOT_FOUND);
    ek_net_free(net);
}

/* ---- Another training ------------------------------------------------------------------------------------------- */

static void expect_refused(ek_fit_options o, const char *words)
{
    listener l = {0};
    ek_net *net = new_net(5);
    const ek_status status = fit(net, o, &l);
    if (status != EK_ERR_ARGUMENT || !strstr(ek_error(), words))
        fail_msg("%s, \"%s\"; expected \"%s\"", ek_status_name(status), ek_error(), words);
    assert_int_equal(l.resumed, 0);
    ek_net_free(net);
}

static void test_changed_recipe(void **state)
{
    (void)state;
    const ek_fit_options o = stop_with_two();
    ek_fit_options c;
#define REFUSED(field, value, words) c = o, c.field = value, expect_refused(c, words)
    REFUSED(lr, 0.25f, "(lr: 0.001 in the checkpoint, 0.25 now)");
    REFUSED(seed, 3, "(seed: 0 in the checkpoint, 3 now)");
    REFUSED(epochs, 4, "epochs: 3 in the checkpoint, 4 now");
    REFUSED(no_shuffle, true, "order: shuffled in the checkpoint, file now");
    REFUSED(clip_norm, 0.5, "clip_norm: 0 in the checkpoint, 0.5 now");
    REFUSED(optimizer, EK_ADAMW, "optimizer: adam in the checkpoint, adamw now");
    REFUSED(optimizer, EK_SGD, "optimizer: adam in the checkpoint, sgd now");
    REFUSED(augment.flip, true, "augment.flip: 0 in the checkpoint, 1 now");
    REFUSED(schedule, EK_SCHEDULE_COSINE, "schedule: constant in the checkpoint, cosine now");
    REFUSED(keep_best, true, "keep_best: 0 in the checkpoint, 1 now");
    REFUSED(patience, 5, "patience: 0 in the checkpoint, 5 now");
    REFUSED(exact_stats, true, "exact_stats: no in the checkpoint, of 50 samples now");
    REFUSED(recipe, "resize 32", "recipe: nothing in the checkpoint, resize 32 now");
    c = o;
    c.lr = 0.5f;
    c.seed = 8;
    expect_refused(c, "seed: 0 in the checkpoint, 8 now; lr: 0.001 in the checkpoint, 0.5 now");

    ek_dataset *mine = train, *other = new_data(77);
    train = other;
    ek_dataset_info info;
    ek_dataset_get_info(other, &info);
    if (*info.digest) /* a build without digests cannot tell */
        expect_refused(o, "data.train: 50 of 1x6x6, 4 classes, sha256:");
    train = mine;
    ek_dataset_free(other);

    ek_net *wide = ek_net_parse("input 1 6 6\nflatten\nlinear 4\n", NULL);
    listener l = {0};
    assert_int_equal(fit(wide, o, &l), EK_ERR_ARGUMENT);
    assert_non_null(strstr(ek_error(), "net: conv2d 3 kernel=3 in the checkpoint, flatten now"));
    ek_net_free(wide);
    c = o; /* what does not matter */
    c.threads = 2;
    c.micro_batch = 3;
    c.measure_norm = true;
    c.checkpoint_keep = 7;
    ek_net *net = new_net(5);
    assert_int_equal(fit(net, c, &l), EK_OK);
    assert_int_equal(ek_net_save(net, "after"), EK_OK);
    assert_true(same_files("whole", "after"));
    ek_net_free(net);
}

static int try_again(void *user, const ek_fit_event *event)
{
    if (event->kind != EK_EVENT_STEP || event->total_steps != 3)
        return 0;
    ek_net *net = new_net(2);
    *(ek_status *)user = ek_fit(net, train, NULL, &(ek_fit_options){.checkpoint = "kept", .resume = true});
    assert_non_null(strstr(ek_error(), "kept: another training writes its checkpoints there"));
    ek_net_free(net);
    return 0;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    ek_status second = EK_OK;
    ek_net *net = new_net(1);
    ek_fit_options o = {
        .batch_size = BATCH, .epochs = 1, .checkpoint = "kept", .on_event = try_again, .user = &second};
    assert_int_equal(ek_fit(net, train, NULL, &o), EK_OK);
    assert_int_equal(second, EK_ERR_STATE);
    assert_int_equal(ek_fit(net, train, NULL, &o), EK_ERR_STATE); /* a new training among old checkpoints */
    assert_non_null(strstr(ek_error(), "holds checkpoints of a training already"));
    ek_net_free(net);
}

static void test_options(void **state)
{
    (void)state;
    const ek_fit_options wrong[] = {{.resume = true},       {.checkpoint_every = 5},
                                    {.checkpoint_keep = 1}, {.checkpoint = "kept", .checkpoint_every = -1},
                                    {.patience = -1},       {.checkpoint = ""}};
    ek_net *net = new_net(1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(fit(net, wrong[i], &(listener){0}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_fit(net, train, NULL, &(ek_fit_options){.keep_best = true}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_fit(net, train, NULL, &(ek_fit_options){.patience = 1}), EK_ERR_ARGUMENT);
    ek_net_free(net);
}

/* ---- Want of room and of memory --------------------------------------------------------------------------------- */

static void limit_files(rlim_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Files that may not be as large as a checkpoint, and end at any byte: training goes on, nothing half-written stays. */
static void test_no_room(void **state)
{
    (void)state;
    struct stat info;
    listener whole = {0};
    ek_net *first = new_net(1);
    train_whole((ek_fit_options){.epochs = 2}, "whole");
    assert_int_equal(fit(first, (ek_fit_options){.epochs = 2, .checkpoint = "kept"}, &whole), EK_OK);
    assert_int_equal(stat("kept/checkpoint-000000014.safetensors", &info), 0);
    ek_net_free(first);
    clear("kept");
    signal(SIGXFSZ, SIG_IGN);
    const rlim_t size = (rlim_t)info.st_size;
    for (uint32_t i = 0; i <= 8; i++) {
        uint32_t bits[4];
        listener l = {0};
        ek_net *net = new_net(1);
        ek_random4(1, EK_RANDOM_INIT, 0, i, bits);
        limit_files(i < 8 ? bits[0] % size : size);
        const ek_status status = fit(net, (ek_fit_options){.epochs = 2, .checkpoint = "kept"}, &l);
        limit_files(RLIM_INFINITY);
        assert_int_equal(status, EK_OK);
        assert_int_equal(l.written + l.failed, 2);
        assert_int_equal(l.written, i < 8 ? 0 : 2);
        assert_int_equal(count_files("kept", "checkpoint"), l.written);
        assert_int_equal(ek_net_save(net, "after"), EK_OK);
        assert_true(same_files("whole", "after"));
        ek_net_free(net);
        clear("kept");
    }
}

/* Every allocation fails once, in a training that resumes and writes. What does not end it shows in no bit. */
static void test_no_memory(void **state)
{
    (void)state;
    ek_fit_options o = {.checkpoint = "kept", .optimizer = EK_ADAM, .epochs = 2, .threads = 1, .checkpoint_every = 3};
    listener first = {.stop_at = 12};
    ek_net *net = new_net(1);
    train_whole(o, "whole");
    assert_int_equal(fit(net, o, &first), EK_ERR_STOPPED);
    ek_net_free(net);
    assert_int_equal(system("cp -r kept saved"), 0);
    o.resume = true;
    int failures = 0, survived = 0;
    for (int64_t n = 1;; n++) {
        listener l = {0};
        net = new_net(5);
        assert_true(ek_net_tensor_count(net) > 0);
        ek_memory_fail_at(n);
        const ek_status status = fit(net, o, &l);
        const bool failed = ek_memory_fail_at(0) >= n;
        if (!failed) {
            assert_int_equal(status, EK_OK);
            ek_net_free(net);
            break;
        }
        failures += status == EK_ERR_MEMORY;
        survived += status == EK_OK;
        if (status != EK_OK && status != EK_ERR_MEMORY)
            fail_msg("allocation %d: %s: %s", (int)n, ek_status_name(status), ek_error());
        if (!status) {
            assert_int_equal(ek_net_save(net, "after"), EK_OK);
            assert_true(same_files("whole", "after"));
        }
        assert_int_equal(count_files("kept", ".tmp-"), 0);
        ek_net_free(net);
        clear("kept");
        assert_int_equal(system("cp -r saved kept"), 0);
    }
    assert_true(failures > 10 && survived > 3);
}

static int make_data(void **state)
{
    (void)state;
    train = new_data(1);
    val = new_data(2);
    return 0;
}

static int free_data(void **state)
{
    (void)state;
    ek_dataset_free(train);
    ek_dataset_free(val);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_resumed_is_uninterrupted),
        TEST(test_keep_best),
        TEST(test_patience),
        TEST(test_which_are_kept),
        TEST(test_finished),
        TEST(test_as_model),
        TEST(test_every_byte_counts),
        TEST(test_clocks_that_jump),
        TEST(test_none_whole),
        TEST(test_changed_recipe),
        TEST(test_one_at_a_time),
        TEST(test_options),
        TEST(test_no_room),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, make_data, free_data);
}
