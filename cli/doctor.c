/* SPDX-License-Identifier: MIT
 * evenkeel doctor: what ails a model, layer by layer, and what to do about it. */
#include "doctor.h"
#include "json.h"

#include <math.h>
#include <string.h>

typedef struct request {
    const char *model, *data, *net_name; /* data: as typed; NULL: of the model's notes, which is there then */
    cli_data_options images;
    bool json;
} request;

static const char *path_of(const doctor *d, int layer)
{
    ek_layer_info info;
    return ek_net_layer(d->net, layer, &info) ? "" : info.path;
}

static const char *kind_of(const doctor *d, int layer)
{
    ek_layer_info info;
    return ek_net_layer(d->net, layer, &info) ? "" : info.kind;
}

/* ---- As text -------------------------------------------------------------------------------------------------- */

/* The column of paths is as wide as the longest, and as its head. */
static int path_width(const doctor *d)
{
    int width = (int)strlen("layer");
    for (int i = 0; i < ek_net_layer_count(d->net); i++)
        width = (int)strlen(path_of(d, i)) > width ? (int)strlen(path_of(d, i)) : width;
    return width;
}

static void print_cell(int width, double value)
{
    if (isfinite(value))
        printf("  %*.3f", width, value);
    else
        printf("  %*s", width, isnan(value) ? "-" : "inf");
}

static void print_norms(const doctor *d, int width)
{
    if (!d->norm_count)
        return;
    printf("\nbatch norms: %s statistics against exact ones, in deviations of the input; and gamma\n"
           "%*s  %8s  %10s  %8s  %9s  %9s  %9s\n",
           cli_statistics_name(d->net), width, "layer", "channels", "mean off", "channel", "narrowest", "widest",
           "|gamma|");
    for (int i = 0; i < d->norm_count; i++) {
        const doctor_norm *n = &d->norms[i];
        printf("%*s  %8d", width, path_of(d, n->layer), n->channels);
        print_cell(10, n->drift);
        if (isnan(n->drift))
            printf("  %8s", "-");
        else
            printf("  %8d", n->drift_channel);
        print_cell(9, n->narrow);
        print_cell(9, n->wide);
        print_cell(9, n->gamma);
        putchar('\n');
    }
}

static void print_outputs(const doctor *d, int width)
{
    bool any = false;
    for (int i = 0; i < d->output_count; i++) {
        const doctor_output *o = &d->outputs[i];
        if (isnan(o->flat))
            continue;
        if (!any)
            printf("\nactivations: share of values where they are flat; channels that are dead or saturated\n"
                   "%*s  %-10s  %8s  %7s  %6s  %9s\n",
                   width, "layer", "", "channels", "flat", "dead", "saturated");
        any = true;
        printf("%*s  %-10s  %8d  %6.1f%%  %6d  %9d\n", width, path_of(d, o->layer), kind_of(d, o->layer), o->channels,
               100 * o->flat, o->dead, o->saturated);
    }
}

/* Words on lines of up to ADVICE_WIDTH, four spaces before each. */
static void print_advice(const char *text)
{
    enum { ADVICE_WIDTH = 96 };
    int at = 0;
    for (size_t length; *text; text += length + (text[length] == ' ')) {
        length = strcspn(text, " ");
        if (at && at + 1 + (int)length > ADVICE_WIDTH) {
            putchar('\n');
            at = 0;
        }
        at += printf("%*s%.*s", at ? 1 : 4, "", (int)length, text);
    }
    putchar('\n');
}

static void print_findings(const doctor *d)
{
    if (!d->finding_count) {
        puts("\nNothing to complain of.");
        return;
    }
    for (int i = 0; i < d->finding_count; i++) {
        const doctor_finding *f = &d->findings[i];
        const bool first = i == 0 || d->findings[i - 1].kind != f->kind;
        const bool last = i + 1 == d->finding_count || d->findings[i + 1].kind != f->kind;
        if (first)
            putchar('\n');
        if (f->layer < 0)
            printf("%s\n", f->text);
        else
            printf("layer %s (%s), %s\n", path_of(d, f->layer), kind_of(d, f->layer), f->text);
        if (last)
            print_advice(doctor_advice(f->kind));
    }
}

static void print_share(double value, const char *behind)
{
    if (isfinite(value))
        printf("%.4f%s", value, behind);
    else
        printf("-%s", behind);
}

static void print_text(const doctor *d, const request *r)
{
    const int width = path_width(d);
    cli_put_text(r->model);
    fputs(" on ", stdout);
    cli_put_text(cli_data_name(d->train, r->data));
    printf(": layers measured on %jd training images\n", (intmax_t)d->measured);
    printf("accuracy on %jd %s images: ", (intmax_t)d->moving.count,
           d->share  ? "validation"
           : d->test ? "test"
                     : "training");
    print_share(d->moving.accuracy, " with ");
    printf("%s statistics, ", cli_statistics_name(d->net));
    print_share(d->calibrated.accuracy, " with exact ones (standard error ");
    print_share(d->error, ")\n");
    if (ek_net_note(d->net, "statistics")) {
        fputs("the saved statistics are ", stdout);
        cli_put_text(ek_net_note(d->net, "statistics"));
        putchar('\n');
    }
    print_norms(d, width);
    print_outputs(d, width);
    print_findings(d);
}

/* ---- As JSON -------------------------------------------------------------------------------------------------- */

static void put_norms(cli_json *json, const doctor *d)
{
    cli_json_list(json, "norms");
    for (int i = 0; i < d->norm_count; i++) {
        const doctor_norm *n = &d->norms[i];
        cli_json_open(json, NULL);
        cli_json_text(json, "layer", path_of(d, n->layer));
        cli_json_whole(json, "channels", n->channels);
        cli_json_real(json, "mean_drift", n->drift);
        cli_json_real(json, "deviation_ratio_least", n->narrow);
        cli_json_real(json, "deviation_ratio_greatest", n->wide);
        cli_json_real(json, "gamma_least", n->gamma);
        cli_json_close(json);
    }
    cli_json_list_end(json);
}

static void put_outputs(cli_json *json, const doctor *d)
{
    cli_json_list(json, "outputs");
    for (int i = 0; i < d->output_count; i++) {
        const doctor_output *o = &d->outputs[i];
        cli_json_open(json, NULL);
        cli_json_text(json, "layer", path_of(d, o->layer));
        cli_json_text(json, "kind", kind_of(d, o->layer));
        cli_json_whole(json, "channels", o->channels);
        cli_json_real(json, "flat", o->flat);
        cli_json_whole(json, "dead", o->dead);
        cli_json_whole(json, "saturated", o->saturated);
        cli_json_whole(json, "unvaried", o->still);
        cli_json_whole(json, "not_finite", o->broken);
        cli_json_close(json);
    }
    cli_json_list_end(json);
}

static void print_json(const doctor *d, const request *r)
{
    cli_json json = {.to = stdout};
    cli_json_open(&json, NULL);
    cli_json_text(&json, "model", r->model);
    cli_json_text(&json, "data", cli_data_name(d->train, r->data));
    cli_json_whole(&json, "samples", d->measured);
    cli_json_text(&json, "accuracy_on", d->share ? "validation" : d->test ? "test" : "train");
    cli_json_whole(&json, "count", d->moving.count);
    cli_json_real(&json, "accuracy_moving", d->moving.accuracy);
    cli_json_real(&json, "accuracy_exact", d->calibrated.accuracy);
    cli_json_real(&json, "standard_error", d->error);
    put_norms(&json, d);
    put_outputs(&json, d);
    cli_json_list(&json, "findings");
    for (int i = 0; i < d->finding_count; i++) {
        const doctor_finding *f = &d->findings[i];
        cli_json_open(&json, NULL);
        cli_json_text(&json, "kind", doctor_kind_name(f->kind));
        cli_json_text(&json, "layer", f->layer < 0 ? NULL : path_of(d, f->layer));
        cli_json_text(&json, "text", f->text);
        cli_json_text(&json, "advice", doctor_advice(f->kind));
        cli_json_close(&json);
    }
    cli_json_list_end(&json);
    cli_json_close(&json);
    putchar('\n');
}

/* ---- The command ---------------------------------------------------------------------------------------------- */

/* The training images, and those that accuracies are measured on. */
static int open_data(const cli_command *self, doctor *d, request *r)
{
    cli_model_data of = {.net = d->net, .model = r->model, .name = r->data, .images = r->images};
    int status = cli_model_data_name(self, &of);
    r->data = of.name;
    if (status == CLI_GO)
        status = cli_model_data_both(self, &of, &d->train, &d->test);
    d->share = of.share != NULL;
    return status;
}

static int examine(const cli_command *self, doctor *d, request *r)
{
    ek_dataset_info info = {0};
    int status = r->net_name ? open_data(self, d, r) : CLI_GO; /* a built-in net is made for the data */
    if (status != CLI_GO)
        return status;
    if (d->train)
        ek_dataset_get_info(d->train, &info);
    if (!(d->net = cli_model_open(self, r->model, r->net_name, &info)) ||
        !(d->exact = cli_model_open(self, r->model, r->net_name, &info)))
        return CLI_FAILED;
    status = d->train ? CLI_GO : open_data(self, d, r);
    if (status != CLI_GO)
        return status;
    if (doctor_examine(d))
        return cli_fail(self, "%s", ek_error());
    if (d->failed)
        return cli_fail(self, "out of memory");
    if (cli_model_data_differs(d->net, d->train))
        cli_warn(self, "%s was trained on other images than these (--data)", r->model);
    if (r->json)
        print_json(d, r);
    else
        print_text(d, r);
    return CLI_DONE;
}

int cli_doctor(const cli_command *self, int argc, char **argv)
{
    doctor d = {.samples = 2048, .threads = ek_cpu_count()};
    request r = {.data = NULL};
    const cli_option options[] = {
        {"MODEL", .text = &r.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--data", .value = "NAME|DIR", .text = &r.data, .help = "the data it was trained on (what the model notes)"},
        CLI_DATA_ROWS(r.images),
        {"--samples", .value = "N", .count = &d.samples, .low = 1, .high = INT32_MAX,
         .help = "training images to measure, evenly spread (2048)"},
        {"--net", .value = "NAME|FILE", .text = &r.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--threads", .value = "N", .integer = &d.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the result does not depend on it (all processors)"},
        {"--json", .flag = &r.json, .help = "print JSON"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    status = examine(self, &d, &r);
    doctor_free(&d);
    return cli_finish(self, status);
}
