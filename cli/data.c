/* SPDX-License-Identifier: MIT
 * evenkeel data: fetch a data set, say what it is, show its images. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const split_names[] = {[EK_SPLIT_TRAIN] = "train", [EK_SPLIT_TEST] = "test"};

/* ---- fetch ---------------------------------------------------------------------------------------------------- */

static int show_download(void *user, const char *file, int64_t done, int64_t total)
{
    cli_progress *progress = user;
    const double megabyte = 1e6;
    if (!cli_progress_due(progress))
        return 0;
    if (total > 0)
        cli_progress_show(progress, "%s  %.1f of %.1f MB", file, (double)done / megabyte, (double)total / megabyte);
    else
        cli_progress_show(progress, "%s  %.1f MB", file, (double)done / megabyte);
    return 0;
}

static int fetch(const cli_command *self, int argc, char **argv)
{
    const char *name = CLI_DATA_DEFAULT, *dir = NULL, *mirror = NULL;
    const cli_option options[] = {
        {"NAME", .text = &name, .choice = ek_dataset_known_name,
         .help = "fashion-mnist, mnist, cifar-10 or cifar-100 (fashion-mnist)"},
        {"--dir", .value = "DIR", .text = &dir, .help = "where to (~/.cache/evenkeel/NAME)"},
        {"--mirror", .value = "URL", .text = &mirror, .help = "fetch from here alone (the official addresses)"},
        {.name = NULL},
    };
    const int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    const char *const mirrors[] = {mirror, NULL};
    cli_progress progress;
    cli_progress_begin(&progress);
    const ek_status fetched = ek_dataset_fetch(
        name, &(ek_fetch_options){
                  .dir = dir, .mirrors = mirror ? mirrors : NULL, .progress = show_download, .user = &progress});
    cli_progress_clear(&progress);
    if (fetched)
        return cli_fail(self, "%s", ek_error());
    fputs(name, stdout);
    if (dir) {
        fputs(" is in ", stdout);
        cli_put_text(dir);
        putchar('\n');
    } else {
        puts(" is there; 'evenkeel data info' says where");
    }
    return cli_finish(self, CLI_DONE);
}

/* ---- info ----------------------------------------------------------------------------------------------------- */

static void print_set(const ek_dataset *dataset, ek_split split)
{
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    if (split == EK_SPLIT_TRAIN) {
        printf("%s\npath    ", *info.name ? info.name : "no data set that is known by its content");
        cli_put_text(info.path);
        putchar('\n');
    }
    printf("%-6s  %jd images %dx%dx%d, %d classes, %s\n", split_names[split], (intmax_t)info.count, info.channels,
           info.height, info.width, info.classes, *info.digest ? info.digest : "no digest in this build");
    if (info.streams)
        printf("        its images stay on disk and stream\n");
}

static void print_counts(ek_dataset *const sets[2])
{
    enum { CLASSES_MAX = 256 };
    int64_t counts[2][CLASSES_MAX] = {{0}};
    ek_dataset_info info;
    for (int split = 0; split < 2 && sets[split]; split++) {
        ek_dataset_get_info(sets[split], &info);
        for (int64_t i = 0; i < info.count; i++)
            counts[split][ek_dataset_label(sets[split], i)]++;
    }
    ek_dataset_get_info(sets[EK_SPLIT_TRAIN], &info);
    printf("\n%-12s  %8s  %8s\n", "class", split_names[0], split_names[1]);
    for (int i = 0; i < info.classes; i++)
        printf("%-12s  %8jd  %8jd\n", ek_dataset_label_text(sets[EK_SPLIT_TRAIN], i), (intmax_t)counts[0][i],
               (intmax_t)counts[1][i]);
}

static int info(const cli_command *self, int argc, char **argv)
{
    const char *name = CLI_DATA_DEFAULT;
    cli_data_options images = {0};
    const cli_option options[] = {
        {"NAME|DIR", .text = &name, .help = "data set or folder (fashion-mnist)"},
        CLI_DATA_ROWS(images),
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    ek_dataset *sets[2] = {NULL, NULL};
    images.may_lack = true; /* folders of images often have training images alone */
    status = cli_data_open(self, &sets[EK_SPLIT_TEST], name, EK_SPLIT_TEST, &images);
    images.may_lack = false;
    if (status == CLI_GO)
        status = cli_data_open(self, &sets[EK_SPLIT_TRAIN], name, EK_SPLIT_TRAIN, &images);
    if (status == CLI_GO) {
        status = CLI_DONE;
        print_set(sets[EK_SPLIT_TRAIN], EK_SPLIT_TRAIN);
        if (sets[EK_SPLIT_TEST])
            print_set(sets[EK_SPLIT_TEST], EK_SPLIT_TEST);
        else
            puts("test    none");
        print_counts(sets);
    }
    ek_dataset_free(sets[EK_SPLIT_TRAIN]);
    ek_dataset_free(sets[EK_SPLIT_TEST]);
    return cli_finish(self, status);
}

/* ---- show ----------------------------------------------------------------------------------------------------- */

static int show(const cli_command *self, int argc, char **argv)
{
    const char *name = CLI_DATA_DEFAULT, *split = "train", *out = NULL;
    int64_t first = 0;
    int count = 32, columns = 8;
    cli_data_options images = {0};
    const cli_option options[] = {
        {"NAME|DIR", .text = &name, .help = "data set or folder (fashion-mnist)"},
        CLI_DATA_ROWS(images),
        {"--out", .letter = 'o', .value = "FILE.png", .text = &out, .required = true, .help = "the picture"},
        {"--split", .value = "train|test", .text = &split, .help = "which of its images (train)"},
        {"--first", .value = "N", .count = &first, .low = 0, .high = 1e15, .help = "from this image on (0)"},
        {"--count", .value = "N", .integer = &count, .low = 1, .high = 100000, .help = "so many images (32)"},
        {"--columns", .value = "N", .integer = &columns, .low = 1, .high = 1000, .help = "so many in a row (8)"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    if (strcmp(split, "train") != 0 && strcmp(split, "test") != 0)
        return cli_usage(self, "--split: '%s' is neither train nor test", split);
    struct stat there;
    const size_t length = strlen(out);
    const bool is_png = length > 4 && !strcmp(out + length - 4, ".png");
    if (!is_png && (stat(out, &there) || S_ISREG(there.st_mode)))
        return cli_usage(self, "--out: '%s' does not end with .png, which is what is written", out);
    ek_dataset *dataset = NULL;
    status = cli_data_open(self, &dataset, name, !strcmp(split, "test") ? EK_SPLIT_TEST : EK_SPLIT_TRAIN, &images);
    if (status == CLI_GO) {
        cli_signals_hold();
        const ek_status shown = ek_dataset_save_sheet(dataset, first, count, columns, out);
        cli_signals_release();
        status = shown ? cli_fail(self, "%s", ek_error()) : CLI_DONE;
    }
    ek_dataset_free(dataset);
    return cli_finish(self, status);
}

/* ---- The three ------------------------------------------------------------------------------------------------ */

const cli_command cli_data_commands[] = {
    {.name = "data fetch",
     .summary = "download a data set; what is there already is kept, half a file resumed",
     .text =
         "Downloads a data set. Files that are there and right are kept, half a file is resumed, and every file's\n"
         "content is checked before it gets its name.\n",
     .example = "  evenkeel data fetch fashion-mnist\n",
     .run = fetch},
    {.name = "data info",
     .summary = "where a data set lies, what it is by its content, images of each class",
     .text = "Says where a data set lies, what it is by its content, and how many images each class has.\n",
     .example = "  evenkeel data info fashion-mnist\n",
     .run = info},
    {.name = "data show",
     .summary = "images above their labels, as a PNG picture",
     .text = "Writes a sheet of images, each above its label, as a PNG picture.\n",
     .example = "  evenkeel data show --first 100 --count 18 --columns 9 -o images.png\n",
     .run = show},
    {.name = NULL},
};
