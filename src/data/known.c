/* SPDX-License-Identifier: MIT */
#include "data/known.h"

#include <stdio.h>
#include <string.h>

/* d2l's names, in the order of the labels. */
static const char *const fashion_labels[] = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                             "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};

static const char *const fashion_mirrors[] = {
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    NULL,
};

static const char *const mnist_mirrors[] = {
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    NULL,
};

const ek_known_set ek_known_sets[] = {
    {
        .name = "fashion-mnist",
        .title = "Fashion-MNIST",
        .package = "dataset-fashion-mnist",
        .mirrors = fashion_mirrors,
        .channels = 1,
        .height = 28,
        .width = 28,
        .classes = 10,
        .labels = fashion_labels,
        .file = {{{60000, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
                  {60000, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"}},
                 {{10000, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
                  {10000, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"}}},
    },
    {
        .name = "mnist",
        .title = "MNIST",
        .mirrors = mnist_mirrors,
        .channels = 1,
        .height = 28,
        .width = 28,
        .classes = 10,
        .file = {{{60000, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
                  {60000, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"}},
                 {{10000, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
                  {10000, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}}},
    },
    {.name = NULL},
};

const char *ek_known_file_name(ek_split split, ek_idx_kind kind)
{
    static const char *const names[2][2] = {
        [EK_SPLIT_TRAIN] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        [EK_SPLIT_TEST] = {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
    };
    return names[split][kind];
}

const ek_known_set *ek_known_by_name(const ek_known_set *sets, const char *name)
{
    for (; sets->name; sets++)
        if (strcmp(sets->name, name) == 0)
            return sets;
    return NULL;
}

const char *ek_known_names(const ek_known_set *sets, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (const ek_known_set *set = sets; set->name && length < size; set++)
        length += (size_t)snprintf(text + length, size - length, "%s%s", set == sets ? "" : ", ", set->name);
    return text;
}

const ek_known_set *ek_known_by_digest(const ek_known_set *sets, ek_split split, ek_idx_kind kind, const char *digest)
{
    for (; *digest && sets->name; sets++)
        if (strcmp(sets->file[split][kind].digest, digest) == 0)
            return sets;
    return NULL;
}
