/* SPDX-License-Identifier: MIT
 * What nets as C in float (io/c_source.c) and in integers (quant/emit.c) share: names, arrays of numbers, the class of
 * outputs, what a header begins and ends with, images of
 * the self-test, and the pair of files. */
#ifndef EK_IO_C_FILES_H
#define EK_IO_C_FILES_H

#include "base/status.h"
#include "base/text.h"
#include "net/net.h"

#include <stdint.h>

enum { EK_C_NAME = 64 };

typedef struct ek_c_names {
    char stem[4096];        /* the path without ".c" */
    char file[EK_C_NAME];   /* its last part: the header's name */
    char prefix[EK_C_NAME]; /* what names begin with */
    char upper[EK_C_NAME];  /* macros: the same in capitals */
} ek_c_names;

/* The names for PATH.c and PATH.h; a PATH that ends in ".c" is taken without it. The prefix, where none is given, is
 * the path's last part: what is no letter, digit or underscore becomes an underscore, an 'n' goes before a digit.
 * EK_ERR_ARGUMENT for a path without a last part, one of more than 63 bytes or with a character that an #include or a
 * comment cannot hold; for a given prefix that is no beginning of C's names. */
ek_status ek_c_set_names(ek_c_names *names, const char *path, const char *prefix);

/* "static const TYPE PREFIX_NAME_7[COUNT]QUALIFIER = {", numbers on lines of 110 columns, the end. *column is
 * ek_c_put_number's own. */
void ek_c_begin_array(ek_text *text, const char *type, const char *prefix, const char *name, int number,
                      int64_t count, const char *qualifier, int *column);
void ek_c_put_number(ek_text *text, const char *number, int length, int *column);
void ek_c_end_array(ek_text *text);

/* "PREFIX_class", which finds the class of outputs of this type. */
void ek_c_put_class(ek_text *text, const ek_c_names *names, const char *type);

/* A stamp, of what the C file has behind its #include, stands in both files, so that those of two exports do not
 * compile together: in the header a macro, in the C file, behind the #include, an #error where it is another. */
uint32_t ek_c_stamp(const ek_text *body);
void ek_c_put_stamp(ek_text *header, const ek_c_names *names, uint32_t stamp);
void ek_c_put_check(ek_text *source, const ek_c_names *names, uint32_t stamp);

/* The header from its first line, a comment of `title`, to the stamp: macros of the shape of the net's images, of how
 * many outputs, of the bytes of memory that layers work in, and of the labels where the net's notes have one for each
 * output. And its end. */
void ek_c_begin_header(ek_text *header, const ek_c_names *names, const char *title, const ek_net *net,
                       int64_t outputs, int64_t memory, uint32_t stamp);
void ek_c_end_header(ek_text *header);

/* Images of the self-test: `wanted` of the samples, evenly spread, or all where these are fewer; without samples random
 * ones, the same for every export, from number `first` on. *pixels [*count, C, H, W] is for ek_free.
 * EK_ERR_SHAPE for samples of another shape, EK_ERR_ARGUMENT where there are none. */
ek_status ek_c_images(const ek_net *net, const ek_dataset *samples, int64_t wanted, int64_t first, uint8_t **pixels,
                      int64_t *count);

/* How many images options ask for, 2 by default. EK_ERR_ARGUMENT beyond 1000. */
ek_status ek_c_test_count(const ek_export_c_options *options, int *tests);

/* Both files, as a model file is written; until both are written and on their disk, neither has its name. */
ek_status ek_c_write_files(const ek_c_names *names, const ek_text *c, const ek_text *h);

#endif
