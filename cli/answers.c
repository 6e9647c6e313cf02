/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "answers.h"

#include "json.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Images of a batch, at most, and bytes that their floats may take: none of it changes an answer. */
enum { BATCH_MOST = 256, BATCH_BYTES = 64 << 20 };

/* ---- Shapes and memory ---------------------------------------------------------------------------------------- */

/* The engine for images one by one, unless the net needs its whole batch: one with a batch norm that has no moving
 * statistics and normalises over it (then an image's answer must be its own), or one that is too large. */
static int prepare(cli_answers *a)
{
    const ek_status status = ek_predictor_new(&a->predictor, a->net, &(ek_predictor_options){.threads = 1});
    if (status == EK_ERR_UNSUPPORTED)
        a->most = 1;
    return status && status != EK_ERR_UNSUPPORTED ? cli_fail(a->self, "%s", ek_error()) : CLI_GO;
}

int cli_answers_begin(cli_answers *a)
{
    ek_layer_info last;
    if (ek_net_input(a->net, &a->channels, &a->height, &a->width) || cli_net_output(a->net, &last))
        return cli_fail(a->self, "%s", ek_error());
    if (last.h)
        return cli_fail(a->self, "the net's output is %dx%dx%d, which are no classes", last.c, last.h, last.w);
    a->classes = last.c;
    a->top = a->top < last.c ? a->top : last.c;
    a->values = (size_t)a->channels * (size_t)a->height * (size_t)a->width;
    const size_t fit = BATCH_BYTES / (a->values * sizeof *a->x);
    a->most = fit < 1 ? 1 : fit < BATCH_MOST ? (int)fit : BATCH_MOST;
    if (prepare(a) != CLI_GO)
        return CLI_FAILED;
    a->pixels = calloc((size_t)a->most, a->values);
    a->x = calloc((size_t)a->most * a->values, sizeof *a->x);
    a->logits = calloc((size_t)a->most * (size_t)a->classes, sizeof *a->logits);
    a->order = calloc((size_t)a->classes, sizeof *a->order);
    a->probability = calloc((size_t)a->classes, sizeof *a->probability);
    a->answer = calloc((size_t)a->most, sizeof *a->answer);
    if (!a->pixels || !a->x || !a->logits || !a->order || !a->probability || !a->answer)
        return cli_fail(a->self, "out of memory");
    return CLI_GO;
}

static void clear(cli_answers *a)
{
    for (int i = 0; i < a->count; i++) {
        free(a->answer[i].image);
        free(a->answer[i].message);
    }
    a->count = a->ready = 0;
}

void cli_answers_free(cli_answers *a)
{
    clear(a);
    ek_predictor_free(a->predictor);
    free(a->pixels);
    free(a->x);
    free(a->logits);
    free(a->order);
    free(a->probability);
    free(a->answer);
}

/* ---- One more ------------------------------------------------------------------------------------------------- */

/* What follows "PATH: " in a message that begins so, the message otherwise. In a message there are blanks and question
 * marks for a path's controls and for bytes that are no UTF-8. */
static const char *without_path(const char *message, const char *path)
{
    size_t i = 0;
    for (; path[i]; i++) {
        const unsigned char c = (unsigned char)path[i];
        const bool plain = c >= 0x20 && c < 0x7f, replaced = message[i] == ' ' || message[i] == '?';
        if (message[i] != path[i] && (plain || !replaced))
            return message;
    }
    return i && !strncmp(message + i, ": ", 2) ? message + i + 2 : message;
}

/* The message without "PATH: ", since the line begins with the path. */
static void fault(cli_answer *answer, ek_status status, const char *message)
{
    message = answer->image ? without_path(message, answer->image) : message;
    answer->status = status;
    answer->message = strdup(message);
}

static int done_with(cli_answers *a)
{
    return ++a->count == a->most ? cli_answers_flush(a) : CLI_GO;
}

/* Takes a path; `message` says why its file cannot be read, NULL that it is to be. */
static int add_file(cli_answers *a, const char *path, const char *message)
{
    cli_answer *answer = &a->answer[a->count];
    *answer = (cli_answer){.image = strdup(path)};
    if (!answer->image)
        return cli_fail(a->self, "out of memory");
    if (message)
        fault(answer, EK_ERR_ARGUMENT, message);
    return done_with(a);
}

int cli_answers_file(cli_answers *a, const char *path)
{
    return add_file(a, path, NULL);
}

int cli_answers_fault(cli_answers *a, const char *path, const char *message)
{
    return add_file(a, path, message);
}

int cli_answers_item(cli_answers *a, int64_t i)
{
    a->answer[a->count] = (cli_answer){.item = i};
    return done_with(a);
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

/* Threads that decode a batch's images: each takes the next one that none has taken. */
typedef struct readers {
    cli_answers *a;
    atomic_int next;
} readers;

static void read_one(const cli_answers *a, int i)
{
    cli_answer *answer = &a->answer[i];
    uint8_t *pixels = a->pixels + (size_t)i * a->values;
    ek_image_options options = a->images;
    options.info = &answer->info;
    if (answer->status)
        return;
    const ek_status status = answer->image
                                 ? ek_image_read(answer->image, a->channels, a->height, a->width, &options, pixels)
                                 : ek_dataset_read(a->dataset, answer->item, pixels);
    if (status)
        fault(answer, status, ek_error());
}

static void *read_some(void *argument)
{
    readers *r = argument;
    for (int i; (i = atomic_fetch_add(&r->next, 1)) < r->a->count;)
        read_one(r->a, i);
    return NULL;
}

/* Twice as high or wide as the net's input, or half, or a quarter out of proportion. */
static bool differs_much(const cli_answers *a, const ek_image_info *info)
{
    const double high = (double)info->height / a->height, wide = (double)info->width / a->width;
    const double proportion = high > wide ? high / wide : wide / high;
    return high >= 2 || wide >= 2 || high <= 0.5 || wide <= 0.5 || proportion >= 1.25;
}

/* The first of a kind is told, the others are counted. */
static void hint(cli_answers *a, const char *path, const ek_image_info *info)
{
    if (!a->any_size && differs_much(a, info) && a->resized++ == 0)
        cli_warn(a->self,
                 "%s: %d pixels wide and %d high becomes %d wide and %d high; crop and scale such images the way the "
                 "training images were",
                 path, info->width, info->height, a->width, a->height);
    if (info->transparent && !a->images.background && a->transparent++ == 0)
        cli_warn(a->self,
                 "%s: transparent pixels count with the colour below them; --background white lays images on white",
                 path);
}

/* Reads all that wait, on this thread and others, and moves what could be read together, in order. */
static void read_all(cli_answers *a)
{
    enum { MOST = 64 };
    pthread_t thread[MOST];
    readers r = {.a = a};
    int started = 0;
    while (started < MOST && started + 1 < a->threads && started + 1 < a->count &&
           !pthread_create(&thread[started], NULL, read_some, &r))
        started++;
    read_some(&r);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < a->count; i++) {
        const cli_answer *answer = &a->answer[i];
        if (answer->status)
            continue;
        if (answer->image)
            hint(a, answer->image, &answer->info);
        memmove(a->pixels + (size_t)a->ready++ * a->values, a->pixels + (size_t)i * a->values, a->values);
    }
}

/* ---- Predicting ----------------------------------------------------------------------------------------------- */

/* A few images, or one thread: the predictor. Many are for all threads: the same outputs but for the sign of zeros. */
static ek_status predict(cli_answers *a)
{
    enum { FEW = 16 };
    if (a->ready == 0)
        return EK_OK;
    if (a->predictor && (a->ready <= FEW || a->threads == 1))
        return ek_predictor_run_bytes(a->predictor, a->ready, a->pixels, a->logits, NULL);
    const size_t count = (size_t)a->ready * a->values;
    for (size_t i = 0; i < count; i++)
        a->x[i] = (float)a->pixels[i] / 255.0f;
    return ek_predict(a->net, a->ready, a->x, a->threads, a->logits);
}

/* ---- Probabilities -------------------------------------------------------------------------------------------- */

/* The softmax of K logits, and the `top` greatest in order, the first of equal ones first. False where one is not
 * finite. */
static bool order_classes(cli_answers *a, const float *logits)
{
    double greatest = -INFINITY, sum = 0;
    for (int k = 0; k < a->classes; k++) {
        if (!isfinite(logits[k]))
            return false;
        greatest = logits[k] > greatest ? logits[k] : greatest;
        a->order[k] = k;
    }
    for (int k = 0; k < a->classes; k++)
        sum += a->probability[k] = exp(logits[k] - greatest);
    for (int k = 0; k < a->classes; k++)
        a->probability[k] /= sum;
    for (int rank = 0; rank < a->top; rank++) {
        int best = rank;
        for (int k = rank + 1; k < a->classes; k++)
            if (logits[a->order[k]] > logits[a->order[best]])
                best = k;
        const int found = a->order[best];
        memmove(a->order + rank + 1, a->order + rank, (size_t)(best - rank) * sizeof *a->order);
        a->order[rank] = found;
    }
    return true;
}

/* ---- Lines ---------------------------------------------------------------------------------------------------- */

static const char *label_of(const cli_answers *a, int class, char number[16])
{
    if (class < a->labels.count)
        return a->labels.label[class];
    snprintf(number, 16, "%d", class);
    return number;
}

/* The data set's word for a class of its own. */
static const char *truth_of(const cli_answers *a, int class)
{
    const char *text = ek_dataset_label_text(a->dataset, class);
    return text ? text : "";
}

static void print_text(const cli_answers *a, const cli_answer *answer)
{
    char number[16];
    if (answer->image)
        cli_put_text(answer->image);
    else
        printf("%s %jd", a->split, (intmax_t)answer->item);
    if (answer->status) {
        printf("\terror: ");
        cli_put_text(answer->message ? answer->message : "out of memory");
        putchar('\n');
        return;
    }
    for (int rank = 0; rank < a->top; rank++) {
        putchar('\t');
        cli_put_text(label_of(a, a->order[rank], number));
        printf("\t%.4f", a->probability[a->order[rank]]);
    }
    if (!answer->image) {
        const int truth = ek_dataset_label(a->dataset, answer->item);
        printf(truth == a->order[0] ? "\tright" : "\twrong: ");
        if (truth != a->order[0])
            cli_put_text(truth_of(a, truth));
    }
    putchar('\n');
}

static void put_class(cli_json *json, const char *key, int class, const char *label)
{
    cli_json_open(json, key);
    cli_json_whole(json, "class", class);
    cli_json_text(json, "label", label);
    if (key)
        cli_json_close(json);
}

static void put_source(const cli_answers *a, const cli_answer *answer, cli_json *json)
{
    if (!answer->image) {
        cli_json_text(json, "data", a->data);
        cli_json_text(json, "split", a->split);
        cli_json_whole(json, "item", answer->item);
        return;
    }
    cli_json_text(json, "image", answer->image);
    if (answer->status)
        return;
    cli_json_whole(json, "channels", answer->info.channels);
    cli_json_whole(json, "height", answer->info.height);
    cli_json_whole(json, "width", answer->info.width);
}

static void print_json(const cli_answers *a, const cli_answer *answer)
{
    char number[16];
    cli_json json = {.to = stdout};
    cli_json_open(&json, NULL);
    put_source(a, answer, &json);
    if (answer->status) {
        cli_json_text(&json, "status", ek_status_name(answer->status));
        cli_json_text(&json, "error", answer->message ? answer->message : "out of memory");
    } else {
        const int truth = answer->image ? 0 : ek_dataset_label(a->dataset, answer->item);
        if (!answer->image) {
            put_class(&json, "true", truth, truth_of(a, truth));
            cli_json_truth(&json, "right", truth == a->order[0]);
        }
        cli_json_list(&json, "top");
        for (int rank = 0; rank < a->top; rank++) {
            put_class(&json, NULL, a->order[rank], label_of(a, a->order[rank], number));
            cli_json_real(&json, "probability", a->probability[a->order[rank]]);
            cli_json_close(&json);
        }
        cli_json_list_end(&json);
    }
    cli_json_close(&json);
    putchar('\n');
}

int cli_answers_flush(cli_answers *a)
{
    read_all(a);
    const ek_status status = predict(a);
    const float *logits = a->logits;
    for (int i = 0; i < a->count; i++) {
        cli_answer *answer = &a->answer[i];
        const bool read = !answer->status;
        if (read && status)
            fault(answer, status, ek_error());
        else if (read && !order_classes(a, logits))
            fault(answer, EK_ERR_NUMERIC, "the net's outputs for it are not finite");
        logits += read ? a->classes : 0;
        a->failed += answer->status != EK_OK;
        a->lines++;
        if (a->json)
            print_json(a, answer);
        else
            print_text(a, answer);
    }
    clear(a);
    return cli_flush() ? CLI_GO : cli_finish(a->self, CLI_DONE);
}

int cli_answers_end(cli_answers *a)
{
    if (a->resized > 1)
        cli_warn(a->self, "%jd images in all were of another size", (intmax_t)a->resized);
    if (a->transparent > 1)
        cli_warn(a->self, "%jd images in all have transparent pixels", (intmax_t)a->transparent);
    if (a->failed)
        return cli_fail(a->self, "%jd of %jd images could not be predicted; their lines say why", (intmax_t)a->failed,
                        (intmax_t)a->lines);
    return CLI_DONE;
}
