/* SPDX-License-Identifier: MIT
 * evenkeel predict: what a model takes images for. Here the images are found; answers.c predicts them. */
#define _GNU_SOURCE
#include "answers.h"
#include "evaluation.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct settings {
    const char *model, *net_name, *data, *split, *items, *labels, *background;
    cli_words images;
    int top, threads;
    bool json, invert;
} settings;

typedef struct predicting {
    const cli_command *self;
    const settings *set;
    ek_net *net;
    ek_dataset *dataset;
    ek_dataset_info info;
    uint8_t behind[3]; /* --background */
    cli_answers answers;
} predicting;

/* ---- The command line ----------------------------------------------------------------------------------------- */

/* "white", "black" or "RRGGBB". */
static bool read_colour(const char *text, uint8_t rgb[3])
{
    const bool white = !strcmp(text, "white");
    if (white || !strcmp(text, "black")) {
        memset(rgb, white ? 255 : 0, 3);
        return true;
    }
    if (strlen(text) != 6 || text[strspn(text, "0123456789abcdefABCDEF")])
        return false;
    const unsigned long value = strtoul(text, NULL, 16);
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)(value >> (16 - 8 * c));
    return true;
}

static int check(const cli_command *self, const settings *set, uint8_t behind[3])
{
    int from_input = 0;
    for (int i = 0; i < set->images.count; i++)
        from_input += !strcmp(set->images.word[i], "-");
    if (!set->data && set->images.count == 0)
        return cli_usage(self, "which images? Name files, - for a list on standard input, or a data set by --data");
    if (set->data && set->images.count > 0)
        return cli_usage(self, "files or --data: one of them");
    if (from_input > 1)
        return cli_usage(self, "IMAGE: standard input, -, can be read once");
    if (set->items && !set->data)
        return cli_usage(self, "--items are those of a data set: name it by --data");
    if (set->data && (set->background || set->invert))
        return cli_usage(self, "--%s is for image files; those of a data set are taken as they are",
                         set->invert ? "invert" : "background");
    if (strcmp(set->split, "train") != 0 && strcmp(set->split, "test") != 0)
        return cli_usage(self, "--split: '%s' is neither train nor test", set->split);
    if (set->background && !read_colour(set->background, behind))
        return cli_usage(self, "--background: '%s' is neither white, black nor a colour as RRGGBB", set->background);
    return CLI_GO;
}

/* ---- Model, data, labels -------------------------------------------------------------------------------------- */

/* A data set's images are made to fit the net, as files are; a built-in net is made for the data. */
static int open_both(predicting *p)
{
    const settings *set = p->set;
    const ek_split split = !strcmp(set->split, "test") ? EK_SPLIT_TEST : EK_SPLIT_TRAIN;
    char size[32];
    int channels = 0, height = 0, width = 0, status = CLI_GO;
    cli_model_data of = {.model = set->model, .name = set->data};
    if (set->data && set->net_name) {
        status = cli_model_data_open(p->self, &of, split, &p->dataset);
        if (status != CLI_GO)
            return status;
        ek_dataset_get_info(p->dataset, &p->info);
    }
    p->net = cli_model_open(p->self, set->model, set->net_name, p->dataset ? &p->info : NULL);
    if (!p->net || !set->data)
        return p->net ? CLI_GO : CLI_FAILED;
    (void)ek_net_input(p->net, &channels, &height, &width); /* of a net that is whole */
    snprintf(size, sizeof size, "%dx%d", height, width);
    if (!p->dataset) {
        of.net = p->net;
        of.images.resize = size;
        of.images.colour = channels == 1 ? "grey" : channels == 3 ? "rgb" : NULL;
        status = cli_model_data_open(p->self, &of, split, &p->dataset);
    }
    if (status != CLI_GO)
        return status;
    ek_dataset_get_info(p->dataset, &p->info);
    cli_compare_data(p->self, p->net, set->model, p->dataset);
    return CLI_GO;
}

/* --labels' file, the model's note, or the data set's words. */
static int find_labels(predicting *p)
{
    cli_answers *a = &p->answers;
    if (p->set->labels) {
        char *text = cli_labels_read(p->self, p->set->labels, p->net);
        if (!text)
            return CLI_FAILED;
        return cli_labels_take(&a->labels, text) ? CLI_GO : cli_fail(p->self, "out of memory");
    }
    if (!cli_labels_of(&a->labels, p->net))
        return cli_fail(p->self, "out of memory");
    if (a->labels.count || !p->dataset)
        return CLI_GO;
    a->labels.label = calloc((size_t)p->info.classes, sizeof *a->labels.label);
    if (!a->labels.label)
        return cli_fail(p->self, "out of memory");
    for (int k = 0; k < p->info.classes; k++)
        a->labels.label[a->labels.count++] = ek_dataset_label_text(p->dataset, k);
    return CLI_GO;
}

static int begin(predicting *p)
{
    const settings *set = p->set;
    cli_answers *a = &p->answers;
    int status = open_both(p);
    if (status != CLI_GO)
        return status;
    a->self = p->self;
    a->net = p->net;
    a->threads = set->threads;
    a->top = set->top;
    a->json = set->json;
    a->images.invert = set->invert;
    a->images.background = set->background ? p->behind : NULL;
    a->any_size = ek_net_note(p->net, "data.resize") != NULL;
    a->dataset = p->dataset;
    a->data = p->dataset ? cli_data_name(p->dataset, set->data) : NULL;
    a->split = set->split;
    status = cli_answers_begin(a);
    if (status == CLI_GO)
        status = find_labels(p);
    if (status == CLI_GO && !set->data && a->channels != 1 && a->channels != 3)
        return cli_fail(p->self, "%s: its input has %d channels, and image files have 1 or 3; --data has others",
                        set->model, a->channels);
    return status;
}

/* ---- A list on standard input --------------------------------------------------------------------------------- */

typedef struct lines {
    char text[2 * PATH_MAX + 1]; /* and a zero byte behind a last line */
    size_t begin, end;           /* what has been read and not been used */
    bool over, skip;             /* the input ended; the rest of a line that is too long is left out */
} lines;

/* Reads what there is, and waits where there is nothing: answers that are due are printed before. */
static int refill(predicting *p, lines *l)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    memmove(l->text, l->text + l->begin, l->end - l->begin);
    l->end -= l->begin;
    l->begin = 0;
    if (poll(&input, 1, 0) == 0) {
        const int status = cli_answers_flush(&p->answers);
        if (status != CLI_GO)
            return status;
    }
    ssize_t got;
    do
        got = read(STDIN_FILENO, l->text + l->end, sizeof l->text - 1 - l->end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return cli_fail(p->self, "standard input: %s", strerror(errno));
    l->over = got == 0;
    l->end += (size_t)got;
    return CLI_GO;
}

/* A line of `size` bytes and a zero byte behind them; an empty one is left out. The carriage return at the end of
 * another system's lines is no part of a path, unless there is a file of such a name. */
static int take_line(predicting *p, char *line, size_t size)
{
    line[size] = 0;
    if (strlen(line) != size)
        return cli_answers_fault(&p->answers, line, "a zero byte is in the path");
    if (size && line[size - 1] == '\r' && access(line, F_OK) != 0)
        line[--size] = 0;
    return size ? cli_answers_file(&p->answers, line) : CLI_GO;
}

static int take_list(predicting *p)
{
    lines *l = calloc(1, sizeof *l);
    int status = l ? CLI_GO : cli_fail(p->self, "out of memory");
    while (status == CLI_GO && !(l->over && l->begin == l->end)) {
        char *line = l->text + l->begin, *newline = memchr(line, '\n', l->end - l->begin);
        const size_t size = newline ? (size_t)(newline - line) : l->end - l->begin;
        const bool whole = newline || l->over, too_long = size >= PATH_MAX;
        if (!whole && !too_long) {
            status = refill(p, l);
            continue;
        }
        if (too_long && !l->skip) {
            line[PATH_MAX - 1] = 0;
            status = cli_answers_fault(&p->answers, line, "no path is that long");
        } else if (!l->skip) {
            status = take_line(p, line, size);
        }
        l->skip = !whole;
        l->begin += size + (newline != NULL);
    }
    free(l);
    return status;
}

/* ---- Items of a data set -------------------------------------------------------------------------------------- */

/* Goes through "0,5,10-20"; with `take` predicts them, without only checks. NULL is all of them. */
static int go_through_items(predicting *p, bool take)
{
    const int64_t count = p->info.count;
    const char *at = p->set->items;
    int status = CLI_GO;
    for (int64_t i = 0; take && !at && i < count && status == CLI_GO; i++)
        status = cli_answers_item(&p->answers, i);
    while (at && *at && status == CLI_GO) {
        char *end;
        const bool number = *at >= '0' && *at <= '9';
        errno = 0;
        const int64_t first = strtoll(at, &end, 10);
        const bool range = *end == '-' && end[1] >= '0' && end[1] <= '9';
        const int64_t last = range ? strtoll(end + 1, &end, 10) : first;
        if (!number || errno || last < first || (*end != ',' && *end) || (*end && !end[1]))
            return cli_usage(p->self, "--items: '%s' is no list such as 0,5,10-20", p->set->items);
        if (last >= count)
            return cli_usage(p->self, "--items: there is no item %jd; %s has items 0 to %jd", (intmax_t)last,
                             p->set->data, (intmax_t)count - 1);
        for (int64_t i = first; take && i <= last && status == CLI_GO; i++)
            status = cli_answers_item(&p->answers, i);
        at = *end ? end + 1 : end;
    }
    return status;
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

static int predict(predicting *p)
{
    int status = begin(p);
    if (status == CLI_GO && p->dataset) {
        status = go_through_items(p, false);
        if (status == CLI_GO)
            status = go_through_items(p, true);
    }
    for (int i = 0; i < p->set->images.count && status == CLI_GO; i++)
        status = strcmp(p->set->images.word[i], "-") ? cli_answers_file(&p->answers, p->set->images.word[i])
                                                     : take_list(p);
    if (status == CLI_GO)
        status = cli_answers_flush(&p->answers);
    return status == CLI_GO ? cli_answers_end(&p->answers) : status;
}

int cli_predict(const cli_command *self, int argc, char **argv)
{
    settings set = {.split = "test", .top = 1, .threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &set.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"IMAGE...", .words = &set.images, .help = "PNG, JPEG, PGM or PPM files; - reads paths from standard input"},
        {"--top", .value = "K", .integer = &set.top, .low = 1, .high = 1000, .help = "the K likeliest classes (1)"},
        {"--json", .flag = &set.json, .help = "a JSON object a line (docs/predict.md)"},
        {"--data", .value = "NAME|DIR", .text = &set.data, .help = "a data set or folder in place of files"},
        {"--split", .value = "train|test", .text = &set.split, .help = "which of its images (test)"},
        {"--items", .value = "LIST", .text = &set.items, .help = "which of these, from 0, as 0,5,10-20 (all)"},
        {"--background", .value = "white|black|RRGGBB", .text = &set.background,
         .help = "what lies behind transparent pixels (transparency is dropped)"},
        {"--invert", .flag = &set.invert, .help = "turn dark and light round, as for dark drawings on white"},
        {"--labels", .value = "FILE", .text = &set.labels, .help = "the classes' names, one a line (the model's)"},
        {"--net", .value = "NAME|FILE", .text = &set.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--threads", .value = "N", .integer = &set.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the result does not depend on it (all processors)"},
        {.name = NULL},
    };
    predicting p = {.self = self, .set = &set};
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = check(self, &set, p.behind);
    if (status != CLI_GO)
        return status;
    status = predict(&p);
    cli_answers_free(&p.answers);
    cli_labels_free(&p.answers.labels);
    ek_dataset_free(p.dataset);
    ek_net_free(p.net);
    return cli_finish(self, status);
}
