/* SPDX-License-Identifier: MIT
 * evenkeel fold: batch norms folded into the layers before them, and what that does to the outputs. */
#define _GNU_SOURCE
#include "evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS_NAMED = 8, RANDOM_IMAGES = 64 };

typedef struct folding {
    cli_evaluation e; /* of the model as it is; then of what it became */
    const char *out;
    ek_net *folded;
    ek_fold *folds; /* of each layer */
} folding;

/* ---- What became of the norms --------------------------------------------------------------------------------- */

static const char *path_of(const ek_net *net, int layer)
{
    ek_layer_info info;
    return ek_net_layer(net, layer, &info) ? "?" : info.path;
}

static void print_stays(const ek_net *net, int layer, const ek_fold *fold)
{
    printf("layer %s (batchnorm) stays: ", path_of(net, layer));
    switch (fold->outcome) {
    case EK_FOLD_UNTRACKED:
        puts("it has no moving statistics");
        break;
    case EK_FOLD_SHARED:
        printf("others read the output of layer %s, too\n", path_of(net, fold->into));
        break;
    default:
        puts("no convolution or linear layer is directly before it");
        break;
    }
}

static const ek_tensor *tensor_of(ek_net *net, int layer, ek_role role)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        if (ek_net_tensor(net, i)->layer == layer && ek_net_tensor(net, i)->role == role)
            return ek_net_tensor(net, i);
    return NULL;
}

/* A variance that is small beside eps says that the channel is constant on the data: what is left of it, noise, is
 * multiplied by up to gamma/sqrt(eps) and lands in weights that float32, and integers more so, hold badly. */
static void print_constants(ek_net *net, int layer)
{
    ek_layer_info info;
    const ek_tensor *var = tensor_of(net, layer, EK_ROLE_MOVING_VAR), *gamma = tensor_of(net, layer, EK_ROLE_GAMMA);
    int64_t found = 0;
    double most = 0;
    char channels[CHANNELS_NAMED * 12 + 8] = "";
    size_t length = 0;
    if (!var || ek_net_layer(net, layer, &info) || strstr(info.text, "normalize=mean")) /* that divides by nothing */
        return;
    for (int64_t k = 0; k < var->count; k++) {
        if ((double)var->data[k] > info.eps)
            continue;
        if (found++ < CHANNELS_NAMED)
            length += (size_t)snprintf(channels + length, sizeof channels - length, "%s%jd", found > 1 ? ", " : "",
                                       (intmax_t)k);
        const double scale = fabs(gamma ? (double)gamma->data[k] : 1) / sqrt((double)var->data[k] + info.eps);
        most = scale > most ? scale : most;
    }
    if (found)
        printf(
            "layer %s (batchnorm), channel%s %s%s: variance at most eps (%g), so that folding multiplies weights by up "
            "to %.3g; %s constant on the data\n",
            info.path, found > 1 ? "s" : "", channels, found > CHANNELS_NAMED ? ", ..." : "", info.eps, most,
            found > 1 ? "they are" : "it is");
}

static int print_folds(const folding *f)
{
    int done = 0, stay = 0;
    for (int i = 0; i < ek_net_layer_count(f->e.net); i++) {
        done += f->folds[i].outcome == EK_FOLD_DONE;
        stay += f->folds[i].outcome != EK_FOLD_DONE && f->folds[i].outcome != EK_FOLD_NO_NORM;
    }
    printf("%d batch norm%s folded", done, done == 1 ? "" : "s");
    printf(stay ? ", %d stay%s\n" : "\n", stay, stay == 1 ? "s" : "");
    for (int i = 0; i < ek_net_layer_count(f->e.net); i++) {
        if (f->folds[i].outcome == EK_FOLD_DONE)
            print_constants(f->e.net, i);
        else if (f->folds[i].outcome != EK_FOLD_NO_NORM)
            print_stays(f->e.net, i, &f->folds[i]);
    }
    return done;
}

/* ---- What it does to the outputs ------------------------------------------------------------------------------ */

static int greatest(const float *values, int count)
{
    int at = 0;
    for (int i = 1; i < count; i++)
        at = values[i] > values[at] ? i : at;
    return at;
}

/* Images to compare on where there are no others: bytes from a generator (Numerical Recipes' 32 bits), of no class. */
static const char *make_images(cli_evaluation *e)
{
    int c, h, w;
    uint8_t labels[RANDOM_IMAGES] = {0};
    if (ek_net_input(e->net, &c, &h, &w))
        return ek_error();
    const size_t size = (size_t)RANDOM_IMAGES * (size_t)c * (size_t)h * (size_t)w;
    uint8_t *pixels = malloc(size);
    if (!pixels)
        return "out of memory";
    uint32_t bits = 1;
    for (size_t i = 0; i < size; i++) {
        bits = bits * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(bits >> 24);
    }
    const ek_status made = ek_dataset_from_memory(&e->dataset, RANDOM_IMAGES, c, h, w, pixels, labels, 1);
    free(pixels);
    if (!made)
        ek_dataset_get_info(e->dataset, &e->info);
    return made ? ek_error() : NULL;
}

static void print_comparison(const folding *f, const cli_evaluation *after, bool random)
{
    double apart = 0, largest = 0;
    int64_t changed = 0;
    const int classes = f->e.classes;
    for (int64_t i = 0; i < f->e.info.count; i++) {
        const float *a = f->e.logits + i * classes, *b = after->logits + i * classes;
        changed += greatest(a, classes) != greatest(b, classes);
        for (int k = 0; k < classes; k++) {
            apart = fmax(apart, fabs((double)a[k] - (double)b[k]));
            largest = fmax(largest, fabs((double)a[k]));
        }
    }
    if (random) {
        printf("on %d random images", RANDOM_IMAGES);
    } else {
        printf("on %jd %s images of ", (intmax_t)f->e.info.count, f->e.split);
        cli_put_text(cli_data_name(f->e.dataset, f->e.data));
    }
    printf(": outputs differ by at most %.2g, %.2g of the largest; %jd get another label", apart,
           largest > 0 ? apart / largest : 0.0, (intmax_t)changed);
    if (random)
        putchar('\n');
    else
        printf("; accuracy %.4f, folded %.4f\n", f->e.metrics.accuracy, after->metrics.accuracy);
}

/* The model, its batch norms computed one after the other, and the folded one. (Prediction by itself would fold, too,
 * and the two be the same.) */
static int compare(const cli_command *self, folding *f)
{
    const bool random = !f->e.dataset;
    const char *fault = random ? make_images(&f->e) : NULL;
    f->e.unfolded = true;
    fault = fault ? fault : cli_evaluation_run(&f->e, true);
    cli_evaluation after = f->e;
    after.net = f->folded;
    after.confusion = NULL;
    after.logits = NULL;
    after.unfolded = false;
    fault = fault ? fault : cli_evaluation_run(&after, true);
    if (!fault && f->e.logits && after.logits)
        print_comparison(f, &after, random);
    cli_evaluation_clear(&after);
    return fault ? cli_fail(self, "%s", fault) : CLI_GO;
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

static int fold(const cli_command *self, folding *f)
{
    int status = cli_evaluation_open(self, &f->e);
    if (status == CLI_GO)
        status = cli_probe_output(self, f->out, cli_net_file_size(f->e.net));
    if (status != CLI_GO)
        return status;
    f->folds = calloc((size_t)ek_net_layer_count(f->e.net) + 1, sizeof *f->folds);
    if (!f->folds)
        return cli_fail(self, "out of memory");
    if (ek_net_fold(&f->folded, f->e.net, f->folds))
        return cli_fail(self, "%s", ek_error());
    if (!print_folds(f))
        return cli_fail(self, "%s: has no batch norm that can be folded; nothing is written", f->e.model);
    status = compare(self, f);
    if (status != CLI_GO)
        return status;
    cli_signals_hold();
    const ek_status saved = ek_net_save(f->folded, f->out);
    cli_signals_release();
    if (saved)
        return cli_fail(self, "%s", ek_error());
    cli_put_saved(f->out);
    return CLI_DONE;
}

int cli_fold(const cli_command *self, int argc, char **argv)
{
    folding f = {.out = NULL};
    cli_evaluation_defaults(&f.e);
    f.e.proof = true;
    const cli_option options[] = {
        CLI_EVALUATION_ROWS(f.e),
        {"--out", .letter = 'o', .value = "FILE", .text = &f.out, .required = true,
         .help = "save the folded model here"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = cli_evaluation_check(self, &f.e);
    if (status == CLI_GO) /* folding cannot be undone, and a folded model is no longer to be trained */
        status = cli_check_files(self, (const cli_file[]){{"MODEL", f.e.model, false},
                                                          {"--net", cli_net_file(f.e.net_name), false},
                                                          {"--out", f.out, true},
                                                          {.called = NULL}});
    if (status != CLI_GO)
        return status;
    status = fold(self, &f);
    free(f.folds);
    ek_net_free(f.folded);
    cli_evaluation_free(&f.e);
    return cli_finish(self, status);
}
