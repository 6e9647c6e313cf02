/* SPDX-License-Identifier: MIT
 * The mistakes in which the net was most sure, as images. */
#include "html.h"
#include "page.h"
#include "png.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Mistakes that are shown, and the pixels that an image's longer side may have: larger ones are averaged down. */
enum { MISTAKES = 24, SIDE_MAX = 128 };

typedef struct mistake {
    int64_t sample;
    int truth, said;
    double sure, right; /* probabilities of the class it was taken for, and of its own */
} mistake;

/* ---- Which ----------------------------------------------------------------------------------------------------- */

static mistake look_at(const cli_evaluation *e, int64_t i)
{
    const float *z = e->logits + i * e->classes;
    mistake m = {.sample = i, .truth = ek_dataset_label(e->dataset, i)};
    double sum = 0;
    for (int k = 1; k < e->classes; k++)
        m.said = z[k] > z[m.said] ? k : m.said;
    for (int k = 0; k < e->classes; k++)
        sum += exp((double)z[k] - (double)z[m.said]);
    m.sure = 1 / sum;
    m.right = exp((double)z[m.truth] - (double)z[m.said]) / sum;
    return m;
}

/* The surest first; of equal ones those that come first in the data. */
static int find_mistakes(const cli_evaluation *e, mistake best[MISTAKES])
{
    int count = 0;
    for (int64_t i = 0; i < e->info.count; i++) {
        const mistake m = look_at(e, i);
        if (m.said == m.truth || (count == MISTAKES && m.sure <= best[MISTAKES - 1].sure))
            continue;
        int at = count < MISTAKES ? count++ : MISTAKES - 1;
        for (; at > 0 && best[at - 1].sure < m.sure; at--)
            best[at] = best[at - 1];
        best[at] = m;
    }
    return count;
}

/* ---- Images ---------------------------------------------------------------------------------------------------- */

/* Pixels [C,H,W] as rows of grey or RGB, `step` by `step` of them averaged to one; of two channels, or of more than
 * three, the first is shown. */
static void shrink(const ek_dataset_info *info, int step, const uint8_t *from, uint8_t *to)
{
    const int channels = info->channels == 3 ? 3 : 1, height = info->height / step, width = info->width / step;
    const size_t plane = (size_t)info->height * (size_t)info->width;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < channels; c++) {
                unsigned sum = 0;
                for (int i = 0; i < step * step; i++)
                    sum += from[(size_t)c * plane + (size_t)(y * step + i / step) * (size_t)info->width +
                                (size_t)(x * step + i % step)];
                *to++ = (uint8_t)((sum + (unsigned)(step * step) / 2) / (unsigned)(step * step));
            }
        }
    }
}

static void put_mistake(FILE *to, const cli_evaluation *e, const mistake *m, const uint8_t *image, int step)
{
    char truth[16], said[16];
    const int width = e->info.width / step, height = e->info.height / step;
    const char *is = cli_evaluation_label(e, m->truth, truth), *taken = cli_evaluation_label(e, m->said, said);
    cli_html_put(to, "<li><figure><img width=\"%d\" height=\"%d\" alt=\"Image %jd: %s, taken for %s\" src=\"", width,
                 height, (intmax_t)m->sample, is, taken);
    cli_png_put(to, image, width, height, e->info.channels == 3 ? 3 : 1);
    cli_html_put(to,
                 "\">\n<figcaption><strong><bdi>%s</bdi></strong> %.3f<br>is <bdi>%s</bdi> %.3f<br>"
                 "<small>image %jd</small></figcaption></figure></li>\n",
                 taken, m->sure, is, m->right, (intmax_t)m->sample);
}

const char *cli_page_mistakes(FILE *to, const cli_evaluation *e)
{
    mistake best[MISTAKES];
    const int count = find_mistakes(e, best),
              longer = e->info.height > e->info.width ? e->info.height : e->info.width;
    int step = (longer + SIDE_MAX - 1) / SIDE_MAX;
    while (step > e->info.height || step > e->info.width) /* a strip of pixels */
        step--;
    const size_t size = (size_t)e->info.channels * (size_t)e->info.height * (size_t)e->info.width;
    uint8_t *pixels = malloc(2 * size);
    const char *fault = pixels ? NULL : "out of memory";
    cli_html_put(to, "<section id=\"mistakes\"><h2>Most confident mistakes</h2>\n");
    cli_html_put(to, count ? "<p class=\"soft\">What the net took it for and how sure it was; what it is, and the "
                             "probability that the net gave that.</p>\n<ol class=\"mistakes\">\n"
                           : "<p>It makes none.</p>\n");
    for (int i = 0; i < count && !fault; i++) {
        if (ek_dataset_read(e->dataset, best[i].sample, pixels)) {
            fault = ek_error();
            break;
        }
        shrink(&e->info, step, pixels, pixels + size);
        put_mistake(to, e, &best[i], pixels + size, step);
    }
    cli_html_put(to, count ? "</ol></section>\n" : "</section>\n");
    free(pixels);
    return fault;
}
