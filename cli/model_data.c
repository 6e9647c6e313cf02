/* SPDX-License-Identifier: MIT
 * The data of a model: which set its notes name, and which of its images it was trained and validated on. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- Which set ------------------------------------------------------------------------------------------------ */

/* A note comes from a file that may be a stranger's: what is no known name, which may be a folder's, is not opened. */
static const char *find_known(const char *name)
{
    int i = 0;
    while (name && ek_dataset_known_name(i) && strcmp(ek_dataset_known_name(i), name) != 0)
        i++;
    return name ? ek_dataset_known_name(i) : NULL;
}

/* Whether CLI_DATA_DEFAULT's images are of the net's shape. */
static bool fits_default(const ek_net *net)
{
    int channels, height, width;
    return !ek_net_input(net, &channels, &height, &width) && channels == 1 && height == 28 && width == 28;
}

const char *cli_model_data_noted(const ek_net *net)
{
    return find_known(ek_net_note(net, "data.name"));
}

int cli_model_data_name(const cli_command *self, cli_model_data *of)
{
    const char *noted = of->net ? ek_net_note(of->net, "data.name") : NULL;
    if (of->name)
        return CLI_GO;
    if (noted && !*noted)
        return cli_fail(self, "%s: was trained on images of its own; name them with --data", of->model);
    if (noted && !find_known(noted))
        return cli_fail(self, "%s: was trained on %s; name the folder that it is in with --data", of->model, noted);
    if (of->net && !noted && !fits_default(of->net))
        return cli_fail(self, "%s: does not say which images it was trained on; name them with --data", of->model);
    of->name = noted ? find_known(noted) : CLI_DATA_DEFAULT;
    return CLI_GO;
}

/* ---- Which images --------------------------------------------------------------------------------------------- */

/* The share of the training images that training set aside to validate on; NULL: none. */
static const char *share_of(const ek_net *net)
{
    return net ? ek_net_note(net, "data.val_split") : NULL;
}

/* Whether `set` is what the model was trained on, as far as the digests tell: there may be none, and those of images
 * that stream ("files-...") are others than those of images that do not. */
static bool is_trained_on(const ek_net *net, const ek_dataset *set)
{
    ek_dataset_info info;
    const char *digest = ek_net_note(net, "data.digest");
    ek_dataset_get_info(set, &info);
    const size_t kind = strcspn(info.digest, ":");
    return !digest || !*info.digest || strncmp(digest, info.digest, kind + 1) != 0 || !strcmp(digest, info.digest);
}

bool cli_model_data_differs(const ek_net *net, const ek_dataset *train)
{
    return !is_trained_on(net, train);
}

/* Divides *train as training did: the rest stays there, *val is the share. Where that gives other images than the
 * model's, *train is as it was and *val NULL. */
static int divide(const cli_command *self, const cli_model_data *of, ek_dataset **train, ek_dataset **val)
{
    const char *share = share_of(of->net), *seed = ek_net_note(of->net, "train.seed");
    ek_dataset *rest, *part;
    *val = NULL;
    if (ek_dataset_split(*train, strtod(share, NULL), seed ? strtoull(seed, NULL, 10) : 0, &rest, &part))
        return cli_fail(self, "%s: its note data.val_split is '%s': %s", of->model, share, ek_error());
    const bool same = is_trained_on(of->net, rest);
    ek_dataset_free(same ? *train : rest);
    if (!same)
        ek_dataset_free(part);
    *train = same ? rest : *train;
    *val = same ? part : NULL;
    return CLI_GO;
}

static bool fits(const ek_net *net, const ek_dataset *dataset)
{
    ek_dataset_info info;
    int c, h, w;
    ek_dataset_get_info(dataset, &info);
    return !ek_net_input(net, &c, &h, &w) && info.channels == c && info.height == h && info.width == w;
}

static int check_shape(const cli_command *self, const cli_model_data *of, const ek_dataset *dataset)
{
    int c, h, w, length = 0;
    char advice[96] = "";
    ek_dataset_info info;
    if (!of->net || !dataset || of->images.may_lack || fits(of->net, dataset) || ek_net_input(of->net, &c, &h, &w))
        return CLI_GO;
    ek_dataset_get_info(dataset, &info);
    if (info.height != h || info.width != w)
        length = snprintf(advice, sizeof advice, h == w ? " --resize %d" : " --resize %dx%d", h, w);
    if (info.channels != c && (c == 1 || c == 3))
        snprintf(advice + length, sizeof advice - (size_t)length, " --colour %s", c == 1 ? "grey" : "rgb");
    return cli_fail(self, "%s: images are %dx%dx%d, the net's input is %dx%dx%d%s%s", of->name, info.channels,
                    info.height, info.width, c, h, w, *advice ? "; they become that by" : "", advice);
}

static int open_split(const cli_command *self, cli_model_data *of, ek_split split, bool may_lack,
                      ek_dataset **dataset)
{
    cli_data_options images = of->images;
    images.may_lack = may_lack;
    if (of->net)
        cli_data_like(&images, of->net, of->model);
    return cli_data_open(self, dataset, of->name, split, &images);
}

int cli_model_data_both(const cli_command *self, cli_model_data *of, ek_dataset **train, ek_dataset **val)
{
    *val = NULL;
    int status = open_split(self, of, EK_SPLIT_TRAIN, false, train);
    if (status == CLI_GO && share_of(of->net))
        status = divide(self, of, train, val);
    of->share = *val ? share_of(of->net) : NULL;
    if (status == CLI_GO && !*val)
        status = open_split(self, of, EK_SPLIT_TEST, true, val);
    if (status == CLI_GO)
        status = check_shape(self, of, *train);
    return status == CLI_GO ? check_shape(self, of, *val) : status;
}

/* For want of test images: the share of the training images, or a word on what there is. */
static int open_share(const cli_command *self, cli_model_data *of, ek_dataset **dataset)
{
    char fault[1024];
    ek_dataset *train;
    snprintf(fault, sizeof fault, "%s", ek_error());
    int status = open_split(self, of, EK_SPLIT_TRAIN, true, &train);
    const bool there = train != NULL, shared = there && share_of(of->net);
    if (shared)
        status = divide(self, of, &train, dataset);
    ek_dataset_free(train);
    of->share = *dataset ? share_of(of->net) : NULL;
    if (status != CLI_GO || *dataset || of->images.may_lack)
        return status;
    if (shared)
        return cli_fail(
            self,
            "%s; %s was validated on a share of its training images, which are others than these: --split "
            "train takes all of them",
            fault, of->model);
    return cli_fail(self, "%s%s", fault, there ? "; --split train takes its training images" : "");
}

int cli_model_data_open(const cli_command *self, cli_model_data *of, ek_split split, ek_dataset **dataset)
{
    const bool test = split == EK_SPLIT_TEST;
    ek_dataset *val = NULL;
    int status = open_split(self, of, split, test || of->images.may_lack, dataset);
    if (status == CLI_GO && test && !*dataset)
        status = open_share(self, of, dataset);
    else if (status == CLI_GO && *dataset && !test && share_of(of->net))
        status = divide(self, of, dataset, &val);
    ek_dataset_free(val);
    return status == CLI_GO ? check_shape(self, of, *dataset) : status;
}

int cli_model_data_proof(const cli_command *self, cli_model_data *of, ek_split split, bool either,
                         ek_dataset **dataset)
{
    const bool asked = of->name != NULL;
    *dataset = NULL;
    of->name = asked ? of->name : cli_model_data_noted(of->net);
    if (!of->name)
        return CLI_GO;
    of->images.may_lack = !asked || either;
    int status = cli_model_data_open(self, of, split, dataset);
    of->images.may_lack = !asked;
    if (status == CLI_GO && !*dataset && asked)
        status = cli_model_data_open(self, of, EK_SPLIT_TRAIN, dataset);
    else if (status == CLI_GO)
        status = check_shape(self, of, *dataset);
    if (*dataset && !asked && !fits(of->net, *dataset)) {
        ek_dataset_free(*dataset);
        *dataset = NULL;
    }
    return status;
}
