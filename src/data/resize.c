/* SPDX-License-Identifier: MIT */
#include "data/resize.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* One axis: target pixel i is the sum over j < count[i] of weight[i*most + j] * source[first[i] + j]. */
typedef struct axis {
    int n, m, most;
    int *first, *count;
    double *weight;
} axis;

struct ek_resizer {
    axis columns, rows;
    double *between; /* [height, out_width] */
};

static void fill_axis(axis *a)
{
    const double scale = (double)a->n / a->m, support = scale > 1 ? scale : 1;
    for (int i = 0; i < a->m; i++) {
        const double centre = (i + 0.5) * scale;
        int first = (int)floor(centre - support + 0.5), end = (int)floor(centre + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > a->n ? a->n : end;
        double *weight = a->weight + (size_t)i * (size_t)a->most, sum = 0;
        for (int j = first; j < end; j++) {
            const double w = 1 - fabs((j + 0.5 - centre) / support);
            weight[j - first] = w > 0 ? w : 0;
            sum += weight[j - first];
        }
        for (int j = first; j < end; j++)
            weight[j - first] /= sum;
        a->first[i] = first;
        a->count[i] = end - first;
    }
}

static ek_status new_axis(axis *a, int n, int m)
{
    a->n = n;
    a->m = m;
    a->most = n > m ? 2 * (n / m + 1) + 2 : 4;
    a->most = a->most < n ? a->most : n;
    a->first = ek_calloc((size_t)m, sizeof *a->first);
    a->count = ek_calloc((size_t)m, sizeof *a->count);
    a->weight = ek_calloc(ek_size_mul((size_t)m, (size_t)a->most), sizeof *a->weight);
    if (!a->first || !a->count || !a->weight)
        return EK_ERR_MEMORY;
    fill_axis(a);
    return EK_OK;
}

static void free_axis(axis *a)
{
    ek_free(a->first);
    ek_free(a->count);
    ek_free(a->weight);
}

ek_status ek_resizer_new(ek_resizer **resizer, int height, int width, int out_height, int out_width)
{
    *resizer = NULL;
    ek_resizer *made = ek_calloc(1, sizeof *made);
    if (!made)
        return EK_ERR_MEMORY;
    ek_status status = new_axis(&made->columns, width, out_width);
    if (!status)
        status = new_axis(&made->rows, height, out_height);
    if (!status) {
        made->between = ek_calloc(ek_size_mul((size_t)height, (size_t)out_width), sizeof *made->between);
        status = made->between ? EK_OK : EK_ERR_MEMORY;
    }
    if (status) {
        ek_resizer_free(made);
        return status;
    }
    *resizer = made;
    return EK_OK;
}

void ek_resizer_free(ek_resizer *resizer)
{
    if (!resizer)
        return;
    free_axis(&resizer->columns);
    free_axis(&resizer->rows);
    ek_free(resizer->between);
    ek_free(resizer);
}

void ek_resizer_run(ek_resizer *r, const uint8_t *x, size_t step, size_t row_bytes, uint8_t *y)
{
    const axis *columns = &r->columns, *rows = &r->rows;
    const size_t width = (size_t)columns->m;
    for (int h = 0; h < rows->n; h++)
        for (int w = 0; w < columns->m; w++) {
            const uint8_t *from = x + (size_t)h * row_bytes + (size_t)columns->first[w] * step;
            const double *weight = columns->weight + (size_t)w * (size_t)columns->most;
            double sum = 0;
            for (int j = 0; j < columns->count[w]; j++)
                sum += weight[j] * from[(size_t)j * step];
            r->between[(size_t)h * width + (size_t)w] = sum;
        }
    for (int h = 0; h < rows->m; h++)
        for (size_t w = 0; w < width; w++) {
            const double *from = r->between + (size_t)rows->first[h] * width + w;
            const double *weight = rows->weight + (size_t)h * (size_t)rows->most;
            double sum = 0;
            for (int j = 0; j < rows->count[h]; j++)
                sum += weight[j] * from[(size_t)j * width];
            y[(size_t)h * width + w] = (uint8_t)(sum + 0.5); /* a mean of bytes: 0 .. 255 but for its last bits */
        }
}

ek_status ek_resize_images(ek_idx *images, int height, int width)
{
    ek_resizer *resizer;
    if (images->height == height && images->width == width)
        return EK_OK;
    const size_t from = (size_t)images->height * (size_t)images->width, to = (size_t)height * (size_t)width;
    const size_t planes = (size_t)images->n * (size_t)images->channels;
    EK_TRY(ek_resizer_new(&resizer, images->height, images->width, height, width));
    uint8_t *resized = ek_calloc(planes, to);
    for (size_t plane = 0; resized && plane < planes; plane++)
        ek_resizer_run(resizer, images->data + plane * from, 1, (size_t)images->width, resized + plane * to);
    ek_resizer_free(resizer);
    if (!resized)
        return EK_ERR_MEMORY;
    ek_free(images->data);
    images->data = resized;
    images->height = height;
    images->width = width;
    return ek_idx_digest(images, EK_IDX_IMAGES);
}
