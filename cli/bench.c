/* SPDX-License-Identifier: MIT
 * evenkeel bench: the speed table, and the worker that bench/run.py interleaves with PyTorch. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct kind {
    const char *name, *label;
    bench_open_function *open;
    double flop;      /* of an image */
    const char *loop; /* the kind that this one is compared with */
} kind;

/* Multiply-adds of bn-lenet, two operations each: 281,640 forward, 758,520 with backward. */
static const kind kinds[] = {
    {"peak", "fused multiply-adds, the peak", bench_open_peak, 0, NULL},
    {"train", "train bn-lenet", bench_open_net, 1.517e6, NULL},
    {"predict", "predict bn-lenet", bench_open_net, 0.563e6, NULL},
    {"predictor", "predict bn-lenet, one image", bench_open_predictor, 0.563e6, NULL},
    {"bn-forward", "batch norm forward", bench_open_norm, 0, "bn-forward-loop"},
    {"bn-forward-loop", "  plain loop, same bytes", bench_open_loop, 0, NULL},
    {"bn-backward", "batch norm backward", bench_open_norm, 0, "bn-backward-loop"},
    {"bn-backward-loop", "  plain loop, same bytes", bench_open_loop, 0, NULL},
    {"predictor-resnet-20", NULL, bench_open_predictor, 81.6e6, NULL},
    /* Steps of half a second and more: by bench/run.py alone. */
    {"train-resnet-20", NULL, bench_open_net, 0, NULL},
    {"train-resnet-18", NULL, bench_open_net, 0, NULL},
};
enum { KINDS = sizeof kinds / sizeof *kinds, WINDOWS = 10, ROWS_MAX = 2 * KINDS };

char bench_error[512];

bool bench_fail(const char *message)
{
    snprintf(bench_error, sizeof bench_error, "%s", message);
    return false;
}

/* ---- The worker ----------------------------------------------------------------------------------------------- */

/* bench/README.md: "ready AMOUNT UNIT", then for each line "go N" the seconds that N steps took. */
static int serve(const cli_command *self, const char *name, const bench_settings *settings)
{
    bench_work work;
    char line[64];
    long long steps;
    char rest;
    const kind *wanted = NULL;
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i].name, name))
            wanted = &kinds[i];
    if (!wanted)
        return cli_usage(self,
                         "--worker: '%s' is none of peak, train, predict, predictor, bn-forward, bn-forward-loop, "
                         "bn-backward, bn-backward-loop, predictor-resnet-20, train-resnet-20, train-resnet-18",
                         name);
    if (!wanted->open(&work, name, settings))
        return cli_fail(self, "%s", bench_error);
    int status = work.run(work.state, 1) < 0 ? cli_fail(self, "%s", bench_error) : CLI_DONE;
    if (!status && work.memory_before > 0)
        printf("ready %.0f %s %.0f\n", work.amount, work.unit, bench_memory("VmHWM:") - work.memory_before);
    else if (!status)
        printf("ready %.0f %s\n", work.amount, work.unit);
    while (!status && cli_flush() && fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "go %lld %c", &steps, &rest) != 1 || steps < 1) {
            status = cli_fail(self, "standard input: not 'go N'");
            break;
        }
        const double seconds = work.run(work.state, steps);
        if (seconds < 0)
            status = cli_fail(self, "%s", bench_error);
        else
            printf("%.6f\n", seconds);
    }
    work.close(work.state);
    return status;
}

/* ---- The table ------------------------------------------------------------------------------------------------ */

typedef struct row {
    const kind *kind;
    int threads;
    bench_work work;
    bool open;
    int64_t steps;         /* of a window */
    double rates[WINDOWS]; /* units a second */
    double median, best;
} row;

typedef struct table {
    const cli_command *self;
    row rows[ROWS_MAX];
    int count;
    double window; /* seconds */
} table;

/* Steps that fill a window; what warms up is not counted. */
static bool calibrate(row *r, double window)
{
    int64_t steps = 1;
    double seconds = r->work.run(r->work.state, 1);
    while (seconds >= 0 && (seconds = r->work.run(r->work.state, steps)) >= 0 && seconds < window / 4)
        steps *= 2;
    const double wanted = seconds > 0 ? (double)steps * window / seconds : 1;
    r->steps = wanted < 1 ? 1 : (int64_t)wanted;
    return seconds >= 0;
}

static bool measure(table *t)
{
    cli_progress progress;
    uint32_t random = 1;
    int order[ROWS_MAX];
    cli_progress_begin(&progress);
    for (int i = 0; i < t->count; i++)
        order[i] = i;
    for (int window = 0; window < WINDOWS; window++) {
        for (int i = t->count - 1; i > 0; i--) { /* Fisher and Yates */
            random = 1664525 * random + 1013904223;
            const int j = (int)((random >> 8) % (uint32_t)(i + 1)), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        for (int i = 0; i < t->count; i++) {
            row *r = &t->rows[order[i]];
            cli_progress_show(&progress, "window %d of %d: %s", window + 1, WINDOWS, r->kind->label);
            const double seconds = r->work.run(r->work.state, r->steps);
            if (seconds < 0)
                return false;
            r->rates[window] = r->work.amount * (double)r->steps / seconds;
        }
    }
    cli_progress_clear(&progress);
    return true;
}

static int by_size(const void *a, const void *b)
{
    const double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

static void sum_up(row *r)
{
    qsort(r->rates, WINDOWS, sizeof *r->rates, by_size);
    r->median = (r->rates[(WINDOWS - 1) / 2] + r->rates[WINDOWS / 2]) / 2;
    r->best = r->rates[WINDOWS - 1];
}

static const row *find_row(const table *t, const char *name, int threads)
{
    for (int i = 0; i < t->count; i++)
        if (t->rows[i].threads == threads && !strcmp(t->rows[i].kind->name, name))
            return &t->rows[i];
    return NULL;
}

/* A net's share of the peak; batch norm's time in times of its loop's; NaN for the other rows. */
static double share_of_peak(const table *t, const row *r)
{
    return r->kind->flop > 0 ? r->median * r->kind->flop / find_row(t, "peak", r->threads)->median : NAN;
}

static double times_loop(const table *t, const row *r)
{
    return r->kind->loop ? find_row(t, r->kind->loop, r->threads)->median / r->median : NAN;
}

static void print_text(const table *t)
{
    const char *set = ek_cpu();
    printf("%s, %d processors; %d windows of %g s for each row, in random order\n", set ? set : "?", ek_cpu_count(),
           WINDOWS, t->window);
    printf("threads  %-30s  %9s  %9s\n", "", "median", "best");
    for (int i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        const bool of_images = !strcmp(r->work.unit, "image");
        const char *unit = of_images ? "images/s" : !strcmp(r->work.unit, "flop") ? "GFLOP/s" : "GB/s";
        const double scale = of_images ? 1 : 1e9;
        printf("%7d  %-30s  %9.*f  %9.*f  %s", r->threads, r->kind->label, of_images ? 0 : 1, r->median / scale,
               of_images ? 0 : 1, r->best / scale, unit);
        if (r->kind->flop > 0)
            printf(", %.2f of the peak", share_of_peak(t, r));
        if (r->kind->loop)
            printf(", %.2f times the loop's time", times_loop(t, r));
        putchar('\n');
    }
}

static void print_json(const table *t)
{
    printf("{\"cpu\": ");
    cli_json_string(ek_cpu() ? ek_cpu() : "");
    printf(",\n \"processors\": %d,\n \"windows\": %d,\n \"window_seconds\": ", ek_cpu_count(), WINDOWS);
    cli_json_number(t->window);
    printf(",\n \"rows\": [");
    for (int i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        printf("%s\n  {\"kind\": \"%s\", \"threads\": %d, \"unit\": \"%s/s\", \"median\": ", i ? "," : "",
               r->kind->name, r->threads, r->work.unit);
        cli_json_number(r->median);
        printf(", \"best\": ");
        cli_json_number(r->best);
        printf(", \"share_of_peak\": ");
        cli_json_number(share_of_peak(t, r));
        printf(", \"times_loop\": ");
        cli_json_number(times_loop(t, r));
        putchar('}');
    }
    printf("]}\n");
}

static bool open_rows(table *t, const bench_settings *settings, const int *threads, int threads_count)
{
    for (int i = 0; i < threads_count; i++) {
        for (int k = 0; k < KINDS && kinds[k].label; k++) {
            row *r = &t->rows[t->count++];
            const bool alone = kinds[k].open == bench_open_predictor;
            const bench_settings here = {.threads = threads[i], .batch_size = alone ? 1 : settings->batch_size};
            *r = (row){.kind = &kinds[k], .threads = threads[i]};
            r->open = r->kind->open(&r->work, r->kind->name, &here);
            if (!r->open || !calibrate(r, t->window))
                return false;
        }
    }
    return true;
}

static int make_table(const cli_command *self, const bench_settings *settings, double seconds, bool json)
{
    table *t = calloc(1, sizeof *t);
    if (!t)
        return cli_fail(self, "out of memory");
    const int all = ek_cpu_count();
    const int threads[] = {settings->threads ? settings->threads : 1, all};
    t->window = seconds / WINDOWS;
    int status = CLI_DONE;
    if (!open_rows(t, settings, threads, settings->threads || all == 1 ? 1 : 2) || !measure(t)) {
        status = cli_fail(self, "%s", bench_error);
    } else {
        for (int i = 0; i < t->count; i++)
            sum_up(&t->rows[i]);
        if (json)
            print_json(t);
        else
            print_text(t);
    }
    for (int i = 0; i < t->count; i++)
        if (t->rows[i].open)
            t->rows[i].work.close(t->rows[i].work.state);
    free(t);
    return status;
}

int cli_bench(const cli_command *self, int argc, char **argv)
{
    const char *worker = NULL;
    bench_settings settings = {0};
    double seconds = 4;
    bool json = false;
    const cli_option options[] = {
        {"--seconds", .value = "X", .number = &seconds, .low = 0.01, .high = 3600, .help = "for each row (4)"},
        {"--threads", .value = "N", .integer = &settings.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "so many alone (one, and all processors)"},
        {"--batch-size", .value = "N", .integer = &settings.batch_size, .low = 1, .high = CLI_COUNT_MAX,
         .help = "images in a step (128 to train, 256 to predict, 1 to a predictor)"},
        {"--json", .flag = &json, .help = "print JSON"},
        {"--worker", .value = "KIND", .text = &worker,
         .help = "be measured by bench/run.py, as bench/README.md says"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    if (worker) {
        settings.threads = settings.threads ? settings.threads : ek_cpu_count();
        status = serve(self, worker, &settings);
    } else {
        status = make_table(self, &settings, seconds, json);
    }
    bench_free_images();
    bench_free_arrays();
    return cli_finish(self, status);
}
