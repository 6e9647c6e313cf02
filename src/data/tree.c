/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/tree.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/image.h"
#include "data/places.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLASSES_MAX = 256 };

/* ---- Names in a folder --------------------------------------------------------------------------------------- */

/* Sorted by their bytes, whatever the locale. */
typedef struct list {
    char **name;
    int64_t count, room;
} list;

static void free_list(list *l)
{
    for (int64_t i = 0; i < l->count; i++)
        ek_free(l->name[i]);
    ek_free(l->name);
    *l = (list){0};
}

static ek_status append(list *l, const char *name)
{
    if (l->count == l->room) {
        const int64_t room = l->room ? 2 * l->room : 64;
        char **grown = ek_realloc(l->name, (size_t)room, sizeof *grown);
        if (!grown)
            return EK_ERR_MEMORY;
        l->name = grown;
        l->room = room;
    }
    l->name[l->count] = ek_strdup(name);
    return l->name[l->count] ? (l->count++, EK_OK) : EK_ERR_MEMORY;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_folder(const char *folder, const char *name)
{
    ek_path path;
    struct stat info;
    return !ek_path_join(path, folder, name, "") && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_image(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".pnm"};
    const char *end = strrchr(name, '.');
    for (size_t i = 0; end && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(end, endings[i]))
            return true;
    return false;
}

/* The folders in `folder`, or its image files. `one`: the first is enough. */
static ek_status list_names(list *l, const char *folder, bool folders, bool one)
{
    DIR *dir = opendir(folder);
    ek_status status = EK_OK;
    if (!dir)
        return ek_fail(EK_ERR_IO, "%s: the folder cannot be read: %s", folder, strerror(errno));
    for (struct dirent *entry; !status && !(one && l->count) && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (*name != '.' && (folders ? is_folder(folder, name) : is_image(name) && !is_folder(folder, name)))
            status = append(l, name);
    }
    closedir(dir);
    if (!status && l->count)
        qsort(l->name, (size_t)l->count, sizeof *l->name, by_bytes);
    if (status)
        free_list(l);
    return status;
}

/* ---- Where a split is ---------------------------------------------------------------------------------------- */

/* Whether a folder holds folders of which one holds an image. */
static ek_status holds_classes(bool *holds, const char *folder)
{
    list classes = {0}, files = {0};
    *holds = false;
    EK_TRY(list_names(&classes, folder, true, false));
    ek_status status = EK_OK;
    for (int64_t i = 0; i < classes.count && !status && !*holds; i++) {
        ek_path path;
        status = ek_path_join(path, folder, classes.name[i], "");
        if (!status && access(path, R_OK | X_OK) == 0)
            status = list_names(&files, path, false, true);
        *holds = files.count > 0;
        free_list(&files);
    }
    free_list(&classes);
    return status;
}

/* The folder of the split's classes, "" where there is none. */
static ek_status find_root(ek_path root, const char *folder, ek_split split)
{
    static const char *const names[2][2] = {{"train", "train"}, {"test", "val"}};
    bool holds = false;
    root[0] = '\0';
    if (!is_folder(folder, ""))
        return EK_OK;
    for (int i = 0; i < 2; i++)
        if (is_folder(folder, names[split][i])) {
            EK_TRY(ek_path_join(root, folder, names[split][i], ""));
            EK_TRY(holds_classes(&holds, root));
            if (holds)
                return EK_OK;
        }
    EK_TRY(ek_path_join(root, folder, "", ""));
    if (split == EK_SPLIT_TRAIN && !is_folder(folder, "train") && access(folder, R_OK | X_OK) == 0)
        EK_TRY(holds_classes(&holds, root));
    if (!holds)
        root[0] = '\0';
    return EK_OK;
}

ek_status ek_tree_find(bool *found, const char *folder, ek_split split)
{
    ek_path root;
    *found = false;
    EK_TRY(find_root(root, folder, split));
    *found = root[0] != '\0';
    return EK_OK;
}

/* ---- The files of a split ------------------------------------------------------------------------------------ */

typedef struct file {
    int label;
    char *name; /* "CLASS/FILE"; NULL: it cannot be read */
} file;

typedef struct reading {
    const ek_data_options *options;
    ek_tree *tree;
    ek_path root;
    list classes; /* of the training split */
    file *files;
    int64_t count, room;
    int height, width, channels; /* of the images to be; 0: not known yet */
    char *shape_of;              /* the file that gave height and width */
} reading;

static ek_status add_file(reading *r, int label, const char *name)
{
    ek_path path;
    if (r->count == r->room) {
        const int64_t room = r->room ? 2 * r->room : 256;
        file *grown = ek_realloc(r->files, (size_t)room, sizeof *grown);
        if (!grown)
            return EK_ERR_MEMORY;
        r->files = grown;
        r->room = room;
    }
    EK_TRY(ek_path_join(path, r->classes.name[label], name, ""));
    char *copy = ek_strdup(path);
    if (!copy)
        return EK_ERR_MEMORY;
    r->files[r->count++] = (file){label, copy};
    return EK_OK;
}

static ek_status list_files(reading *r)
{
    list present = {0}, files = {0};
    EK_TRY(list_names(&present, r->root, true, false));
    ek_status status = EK_OK;
    for (int64_t i = 0; i < present.count && !status; i++) {
        int64_t label = 0;
        while (label < r->classes.count && strcmp(r->classes.name[label], present.name[i]) != 0)
            label++;
        ek_path path;
        if (label == r->classes.count)
            status = ek_fail(EK_ERR_FORMAT, "%s: the class '%s' is not among those of the training images", r->root,
                             present.name[i]);
        else
            status = ek_path_join(path, r->root, present.name[i], "");
        if (!status)
            status = list_names(&files, path, false, false);
        for (int64_t j = 0; j < files.count && !status; j++)
            status = add_file(r, (int)label, files.name[j]);
        free_list(&files);
    }
    free_list(&present);
    if (!status && r->count > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: more than %d images", r->root, INT32_MAX);
    return status;
}

/* ---- One file ------------------------------------------------------------------------------------------------ */

/* Failures of a file's content, which are counted; others end the reading. */
static bool is_broken(ek_status status)
{
    return status == EK_ERR_FORMAT || status == EK_ERR_UNSUPPORTED || status == EK_ERR_IO ||
           status == EK_ERR_NOT_FOUND;
}

static ek_status note_broken(reading *r, file *f)
{
    ek_free(f->name);
    f->name = NULL;
    if (r->tree->skipped++ == 0 && !(r->tree->skipped_first = ek_strdup(ek_error())))
        return EK_ERR_MEMORY;
    return EK_OK;
}

static ek_status load(const reading *r, const file *f, bool whole, ek_image *image)
{
    ek_path path;
    unsigned char *data;
    size_t size;
    *image = (ek_image){0};
    EK_TRY(ek_path_join(path, r->root, f->name, ""));
    EK_TRY(ek_file_read(path, EK_IMAGE_FILE, &data, &size));
    const ek_status status =
        whole ? ek_image_decode(image, data, size, path) : ek_image_probe(image, data, size, path);
    ek_free(data);
    return status;
}

/* Goes through the headers: the files that cannot be read, the colours, and the size where none is asked for. */
static ek_status probe(reading *r, bool size_matters)
{
    for (int64_t i = 0; i < r->count; i++) {
        ek_image image;
        file *f = &r->files[i];
        const ek_status status = load(r, f, false, &image);
        if (is_broken(status)) {
            EK_TRY(note_broken(r, f));
            continue;
        }
        EK_TRY(status);
        r->channels = image.channels > r->channels ? image.channels : r->channels;
        if (!size_matters)
            continue;
        if (!r->height) {
            r->height = image.height;
            r->width = image.width;
            r->shape_of = f->name;
        }
        if (image.height != r->height || image.width != r->width)
            return ek_fail(
                EK_ERR_SHAPE,
                "%s/%s: %d pixels wide and %d high, where %s is %d wide and %d high; say to which size images are "
                "resized",
                r->root, f->name, image.width, image.height, r->shape_of, r->width, r->height);
    }
    return EK_OK;
}

static int64_t memory_limit(const ek_data_options *o)
{
    const size_t half = ek_memory_of_machine() / 2;
    return o->memory_limit ? o->memory_limit : (int64_t)half;
}

/* Whether the images stay on disk. */
static bool streams(const reading *r)
{
    const ek_data_options *o = r->options;
    const size_t plane = ek_size_mul((size_t)r->height, (size_t)r->width);
    const size_t all = ek_size_mul((size_t)(r->count - r->tree->skipped), ek_size_mul(plane, (size_t)r->channels));
    return o->stream == EK_STREAM_YES || (o->stream == EK_STREAM_AUTO && all > (size_t)memory_limit(o));
}

/* Moves the names of the files that can be read to the tree. Which those are is found out where they may be skipped:
 * then each is decoded once. */
static ek_status list_streamed(reading *r)
{
    ek_tree *tree = r->tree;
    ek_image_files *files = tree->files = ek_calloc(1, sizeof *files);
    if (!files)
        return EK_ERR_MEMORY;
    files->channels = r->channels;
    files->height = r->height;
    files->width = r->width;
    files->memory_limit = memory_limit(r->options);
    files->root = ek_strdup(r->root);
    files->file = ek_calloc((size_t)(r->count - tree->skipped), sizeof *files->file);
    if (!files->root || !files->file)
        return EK_ERR_MEMORY;
    for (int64_t i = 0; i < r->count; i++) {
        ek_image image = {0};
        file *f = &r->files[i];
        if (!f->name)
            continue;
        ek_status status = r->options->skip_broken ? load(r, f, true, &image) : EK_OK;
        ek_image_free(&image);
        files->file[files->n].name = f->name;
        if (!status)
            status = ek_image_files_note(files, files->n);
        if (is_broken(status)) {
            EK_TRY(note_broken(r, f));
            continue;
        }
        EK_TRY(status);
        tree->labels.data[files->n++] = (uint8_t)f->label;
        f->name = NULL; /* the list's now */
    }
    tree->images.n = files->n;
    return ek_image_files_digest(files, tree->images.digest);
}

static ek_status decode_all(reading *r)
{
    ek_tree *tree = r->tree;
    ek_shaper shaper = {.channels = r->channels, .height = r->height, .width = r->width};
    const size_t size = (size_t)r->channels * (size_t)r->height * (size_t)r->width;
    tree->images.data = ek_calloc((size_t)(r->count - tree->skipped), size);
    ek_status status = tree->images.data ? EK_OK : EK_ERR_MEMORY;
    for (int64_t i = 0; i < r->count && !status; i++) {
        ek_image image;
        file *f = &r->files[i];
        if (!f->name)
            continue;
        status = load(r, f, true, &image);
        if (is_broken(status)) {
            status = note_broken(r, f);
            continue;
        }
        if (!status)
            status = ek_shaper_put(&shaper, &image, tree->images.data + (size_t)tree->images.n * size);
        ek_image_free(&image);
        if (!status)
            tree->labels.data[tree->images.n++] = (uint8_t)f->label;
    }
    ek_shaper_free(&shaper);
    return status;
}

static ek_status take_all(reading *r)
{
    ek_tree *tree = r->tree;
    tree->images = (ek_idx){.channels = r->channels, .height = r->height, .width = r->width};
    tree->labels = (ek_idx){.channels = 1, .height = 1, .width = 1};
    tree->labels.data = ek_calloc((size_t)(r->count - tree->skipped), 1);
    if (!tree->labels.data)
        return EK_ERR_MEMORY;
    EK_TRY(streams(r) ? list_streamed(r) : decode_all(r));
    tree->labels.n = tree->images.n;
    return EK_OK;
}

static ek_status judge_broken(const reading *r)
{
    const ek_tree *tree = r->tree;
    if (tree->skipped == r->count)
        return ek_fail(EK_ERR_FORMAT, "%s: none of %lld images can be read; the first: %s", r->root,
                       (long long)r->count, tree->skipped_first);
    if (tree->skipped && !r->options->skip_broken)
        return ek_fail(
            EK_ERR_FORMAT,
            "%lld of %lld images cannot be read (mend them, remove them, or have them skipped); the first: "
            "%s",
            (long long)tree->skipped, (long long)r->count, tree->skipped_first);
    return EK_OK;
}

/* ---- A split ------------------------------------------------------------------------------------------------- */

/* Pointers to the names, then the names, in one block. */
static ek_status keep_names(reading *r)
{
    size_t size = 0;
    for (int64_t i = 0; i < r->classes.count; i++)
        size += sizeof(char *) + strlen(r->classes.name[i]) + 1;
    char **names = ek_calloc(size, 1);
    if (!names)
        return EK_ERR_MEMORY;
    char *text = (char *)(names + r->classes.count);
    for (int64_t i = 0; i < r->classes.count; i++) {
        names[i] = text;
        text = stpcpy(text, r->classes.name[i]) + 1;
    }
    r->tree->names = names;
    r->tree->classes = (int)r->classes.count;
    return EK_OK;
}

/* Whether a name is UTF-8 without control characters (U+0080 .. U+009F among them): it becomes a label, which is
 * printed, and travels in model files, one a line. */
static bool is_plain_text(const char *name)
{
    const unsigned char *at = (const unsigned char *)name;
    while (*at) {
        const int more = *at < 0x80                  ? 0
                         : *at >= 0xc2 && *at < 0xe0 ? 1
                         : *at >= 0xe0 && *at < 0xf0 ? 2
                         : *at >= 0xf0 && *at < 0xf5 ? 3
                                                     : -1;
        const bool overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
        const bool beyond = (*at == 0xed && at[1] > 0x9f) || (*at == 0xf4 && at[1] > 0x8f); /* surrogates; U+110000 */
        if (more < 0 || *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0) || overlong || beyond)
            return false;
        at++;
        for (int i = 0; i < more; i++)
            if ((*at++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* The classes; and whether the training images are grey, which decides for the test images too. */
static ek_status read_classes(reading *r, const char *folder)
{
    ek_path train;
    EK_TRY(find_root(train, folder, EK_SPLIT_TRAIN));
    EK_TRY(list_names(&r->classes, train[0] ? train : r->root, true, false));
    if (r->classes.count > CLASSES_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: %lld classes; up to %d are possible", train[0] ? train : r->root,
                       (long long)r->classes.count, CLASSES_MAX);
    for (int64_t i = 0; i < r->classes.count; i++)
        if (!is_plain_text(r->classes.name[i]))
            return ek_fail(EK_ERR_FORMAT,
                           "%s: the name of class %lld is not UTF-8 or has control characters; rename the folder",
                           train[0] ? train : r->root, (long long)i);
    if (r->options->split == EK_SPLIT_TRAIN || r->options->colour != EK_COLOUR_AUTO || !train[0])
        return EK_OK;
    ek_tree unused = {0};
    reading other = {.options = r->options, .tree = &unused, .classes = r->classes};
    memcpy(other.root, train, sizeof other.root);
    ek_status status = list_files(&other);
    if (!status)
        status = probe(&other, false);
    r->channels = other.channels;
    for (int64_t i = 0; i < other.count; i++)
        ek_free(other.files[i].name);
    ek_free(other.files);
    ek_free(unused.skipped_first);
    return status;
}

static ek_status read_split(reading *r, const char *folder)
{
    const ek_data_options *o = r->options;
    EK_TRY(find_root(r->root, folder, o->split));
    EK_TRY(read_classes(r, folder));
    EK_TRY(keep_names(r));
    EK_TRY(list_files(r));
    const int channels = o->colour == EK_COLOUR_GREY ? 1 : o->colour == EK_COLOUR_RGB ? 3 : r->channels;
    if (!o->height || !channels)
        EK_TRY(probe(r, !o->height));
    r->channels = channels ? channels : r->channels;
    if (o->height) {
        r->height = o->height;
        r->width = o->width;
    }
    EK_TRY(judge_broken(r));
    EK_TRY(take_all(r));
    EK_TRY(judge_broken(r));
    if (!r->tree->files)
        EK_TRY(ek_idx_digest(&r->tree->images, EK_IDX_IMAGES));
    return ek_idx_digest(&r->tree->labels, EK_IDX_LABELS);
}

ek_status ek_tree_read(ek_tree *tree, const char *folder, const ek_data_options *options)
{
    *tree = (ek_tree){0};
    reading *r = ek_calloc(1, sizeof *r);
    if (!r)
        return EK_ERR_MEMORY;
    r->options = options;
    r->tree = tree;
    const ek_status status = read_split(r, folder);
    for (int64_t i = 0; i < r->count; i++)
        ek_free(r->files[i].name);
    ek_free(r->files);
    free_list(&r->classes);
    ek_free(r);
    if (status)
        ek_tree_free(tree);
    return status;
}

void ek_tree_free(ek_tree *tree)
{
    ek_idx_free(&tree->images);
    ek_idx_free(&tree->labels);
    ek_free(tree->names);
    ek_free(tree->skipped_first);
    ek_image_files_free(tree->files);
    *tree = (ek_tree){0};
}
