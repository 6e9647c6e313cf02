/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/files.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/places.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Shapes -------------------------------------------------------------------------------------------------- */

ek_status ek_shaper_put(ek_shaper *s, ek_image *image, uint8_t *to)
{
    const size_t plane = (size_t)s->height * (size_t)s->width, channels = (size_t)s->channels;
    EK_TRY(ek_image_convert(image, s->channels));
    if (!s->resizer || s->from_height != image->height || s->from_width != image->width) {
        ek_shaper_free(s);
        EK_TRY(ek_resizer_new(&s->resizer, image->height, image->width, s->height, s->width));
        s->from_height = image->height;
        s->from_width = image->width;
    }
    for (size_t c = 0; c < channels; c++)
        ek_resizer_run(s->resizer, image->pixels + c, channels, (size_t)image->width * channels, to + c * plane);
    return EK_OK;
}

void ek_shaper_free(ek_shaper *s)
{
    ek_resizer_free(s->resizer);
    s->resizer = NULL;
}

/* ---- The list ------------------------------------------------------------------------------------------------ */

static ek_status look_at(const char *path, int64_t *size, int64_t *changed)
{
    struct stat info;
    if (stat(path, &info))
        return ek_fail(errno == ENOENT || errno == ENOTDIR ? EK_ERR_NOT_FOUND : EK_ERR_IO, "%s: %s", path,
                       strerror(errno));
    *size = (int64_t)info.st_size;
    *changed = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return EK_OK;
}

ek_status ek_image_files_note(ek_image_files *files, int64_t i)
{
    ek_path path;
    ek_image_file *f = &files->file[i];
    EK_TRY(ek_path_join(path, files->root, f->name, ""));
    return look_at(path, &f->size, &f->changed);
}

ek_status ek_image_files_digest(const ek_image_files *files, char text[EK_DIGEST_TEXT])
{
    char line[64];
    ek_digest digest;
    text[0] = '\0';
    if (!ek_digest_available())
        return EK_OK;
    EK_TRY(ek_digest_begin(&digest));
    snprintf(line, sizeof line, "files %dx%dx%d\n", files->channels, files->height, files->width);
    ek_digest_add(&digest, line, strlen(line));
    for (int64_t i = 0; i < files->n; i++) {
        snprintf(line, sizeof line, "%lld ", (long long)files->file[i].size);
        ek_digest_add(&digest, line, strlen(line));
        ek_digest_add(&digest, files->file[i].name, strlen(files->file[i].name));
        ek_digest_add(&digest, "\n", 1);
    }
    ek_digest_end(&digest, text);
    return EK_OK;
}

size_t ek_image_files_pixels(const ek_image_files *files)
{
    return (size_t)files->channels * (size_t)files->height * (size_t)files->width;
}

ek_status ek_image_files_load(const ek_image_files *files, int64_t i, ek_shaper *shaper, uint8_t *to)
{
    const ek_image_file *f = &files->file[i];
    ek_path path;
    int64_t length = 0, changed = 0;
    unsigned char *data;
    size_t size;
    ek_image image = {0};
    EK_TRY(ek_path_join(path, files->root, f->name, ""));
    EK_TRY(look_at(path, &length, &changed));
    if (length != f->size || changed != f->changed)
        return ek_fail(EK_ERR_FORMAT, "%s: the file was changed since the data set was opened; open it anew", path);
    EK_TRY(ek_file_read(path, EK_IMAGE_FILE, &data, &size));
    ek_status status = ek_image_decode(&image, data, size, path);
    ek_free(data);
    EK_TRY(status);
    /* Without a size that was asked for the header said at opening that it has this one. */
    status = ek_shaper_put(shaper, &image, to);
    ek_image_free(&image);
    return status;
}

void ek_image_files_free(ek_image_files *files)
{
    if (!files)
        return;
    for (int64_t i = 0; i < files->n; i++)
        ek_free(files->file[i].name);
    ek_free(files->file);
    ek_free(files->root);
    ek_free(files);
}
