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

/* ---- CIFAR: Krizhevsky, "Learning multiple layers of features from tiny images", 2009 ------------------------ */

static const char *const cifar_mirrors[] = {"https://www.cs.toronto.edu/~kriz/", NULL};

static const char *const cifar10_labels[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                             "dog",      "frog",       "horse", "ship", "truck"};

static const ek_known_cifar cifar10 = {
    .archive = "cifar-10-binary.tar.gz",
    .archive_digest = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    .archive_size = 170052171,
    .folder = "cifar-10-batches-bin",
    .label_bytes = 1,
    .batch = {{{"data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5", 10000},
               {"data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed", 10000},
               {"data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67", 10000},
               {"data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48", 10000},
               {"data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add", 10000}},
              {{"test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", 10000}}},
};

static const char *const cifar100_labels[] = {
    "apple",      "aquarium fish", "baby",         "bear",       "beaver",      "bed",         "bee",
    "beetle",     "bicycle",       "bottle",       "bowl",       "boy",         "bridge",      "bus",
    "butterfly",  "camel",         "can",          "castle",     "caterpillar", "cattle",      "chair",
    "chimpanzee", "clock",         "cloud",        "cockroach",  "couch",       "crab",        "crocodile",
    "cup",        "dinosaur",      "dolphin",      "elephant",   "flatfish",    "forest",      "fox",
    "girl",       "hamster",       "house",        "kangaroo",   "keyboard",    "lamp",        "lawn mower",
    "leopard",    "lion",          "lizard",       "lobster",    "man",         "maple tree",  "motorcycle",
    "mountain",   "mouse",         "mushroom",     "oak tree",   "orange",      "orchid",      "otter",
    "palm tree",  "pear",          "pickup truck", "pine tree",  "plain",       "plate",       "poppy",
    "porcupine",  "possum",        "rabbit",       "raccoon",    "ray",         "road",        "rocket",
    "rose",       "sea",           "seal",         "shark",      "shrew",       "skunk",       "skyscraper",
    "snail",      "snake",         "spider",       "squirrel",   "streetcar",   "sunflower",   "sweet pepper",
    "table",      "tank",          "telephone",    "television", "tiger",       "tractor",     "train",
    "trout",      "tulip",         "turtle",       "wardrobe",   "whale",       "willow tree", "wolf",
    "woman",      "worm"};

static const char *const cifar100_coarse[] = {"aquatic mammals",
                                              "fish",
                                              "flowers",
                                              "food containers",
                                              "fruit and vegetables",
                                              "household electrical devices",
                                              "household furniture",
                                              "insects",
                                              "large carnivores",
                                              "large man-made outdoor things",
                                              "large natural outdoor scenes",
                                              "large omnivores and herbivores",
                                              "medium-sized mammals",
                                              "non-insect invertebrates",
                                              "people",
                                              "reptiles",
                                              "small mammals",
                                              "trees",
                                              "vehicles 1",
                                              "vehicles 2"};

static const ek_known_cifar cifar100 = {
    .archive = "cifar-100-binary.tar.gz",
    .archive_digest = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    .archive_size = 168513733,
    .folder = "cifar-100-binary",
    .label_bytes = 2,
    .coarse_classes = 20,
    .coarse_labels = cifar100_coarse,
    .batch = {{{"train.bin", "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29", 50000}},
              {{"test.bin", "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a", 10000}}},
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
    {
        .name = "cifar-10",
        .title = "CIFAR-10",
        .mirrors = cifar_mirrors,
        .channels = 3,
        .height = 32,
        .width = 32,
        .classes = 10,
        .labels = cifar10_labels,
        .cifar = &cifar10,
    },
    {
        .name = "cifar-100",
        .title = "CIFAR-100",
        .mirrors = cifar_mirrors,
        .channels = 3,
        .height = 32,
        .width = 32,
        .classes = 100,
        .labels = cifar100_labels,
        .cifar = &cifar100,
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
        if (!sets->cifar && strcmp(sets->file[split][kind].digest, digest) == 0)
            return sets;
    return NULL;
}

const char *ek_dataset_known_name(int i)
{
    const ek_known_set *set = ek_known_sets;
    for (; i > 0 && set->name; i--)
        set++;
    return i == 0 ? set->name : NULL;
}
