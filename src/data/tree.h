/* SPDX-License-Identifier: MIT
 * Folders of images, a class a folder: FOLDER/train/CLASS/FILE with FOLDER/test or FOLDER/val beside it, or
 * FOLDER/CLASS/FILE, which is a training split alone. */
#ifndef EK_DATA_TREE_H
#define EK_DATA_TREE_H

#include "data/files.h"
#include "data/idx.h"

/* Whether `folder` holds a split in this shape: at least one class with an image in it. */
ek_status ek_tree_find(bool *found, const char *folder, ek_split split);

typedef struct ek_tree {
    ek_idx images, labels; /* with their digests; images without data where they stream */
    ek_image_files *files; /* from there; NULL: they do not */
    int classes;
    void *names; /* char *[classes], one block for ek_free: the classes' folders by the order of their bytes */
    int64_t skipped;
    char *skipped_first; /* why the first file was skipped, for ek_free; NULL: none was */
} ek_tree;

/* Reads a split that ek_tree_find found. Files are *.png, *.jpg and *.jpeg (of any case), by the order of their bytes;
 * others, hidden ones and folders below a class's are passed over. The classes are the training split's for either
 * split. Images are resized to options->height x width, or must all have the same size; options->colour 0 makes them
 * grey where every training image is grey. Files that cannot be decoded are counted: the first is named in the failure
 * or, with options->skip_broken, in the tree. Nothing is owned after a failure. */
ek_status ek_tree_read(ek_tree *tree, const char *folder, const ek_data_options *options);
void ek_tree_free(ek_tree *tree);

#endif
