/* SPDX-License-Identifier: MIT
 * What a model takes image files for: the class, its name and its probability.
 *
 *     cc predict.c -o predict $(pkg-config --cflags --libs evenkeel) -lm
 *     ./predict model.safetensors boot.png shirt.jpg
 *
 * With --quick the model is a net that has learned nothing, and the image a file of three lines. */
#include <evenkeel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A net with what it needs to answer, so that each image takes no memory anew. */
typedef struct model {
    ek_net *net;
    int channels, height, width, classes;
    uint8_t *pixels; /* [channels, height, width], and the same as floats */
    float *x, *logits;
} model;

static ek_status open_model(model *m, const char *path)
{
    ek_layer_info last;
    ek_status status = ek_net_load(&m->net, path);
    if (!status)
        status = ek_net_input(m->net, &m->channels, &m->height, &m->width);
    if (!status)
        status = ek_net_layer(m->net, ek_net_layer_count(m->net) - 1, &last);
    if (status)
        return status;
    const size_t count = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    m->classes = last.c;
    m->pixels = malloc(count);
    m->x = malloc(count * sizeof *m->x);
    m->logits = malloc((size_t)m->classes * sizeof *m->logits);
    return m->pixels && m->x && m->logits ? EK_OK : EK_ERR_MEMORY;
}

static void close_model(model *m)
{
    free(m->pixels);
    free(m->x);
    free(m->logits);
    ek_net_free(m->net);
}

static ek_status predict(model *m, const char *path, int *class, double *probability)
{
    const size_t count = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    ek_status status = ek_image_read(path, m->channels, m->height, m->width, NULL, m->pixels);
    for (size_t i = 0; !status && i < count; i++)
        m->x[i] = (float)m->pixels[i] / 255.0f;
    if (!status)
        status = ek_predict(m->net, 1, m->x, 1, m->logits);
    if (status)
        return status;
    *class = 0;
    for (int k = 1; k < m->classes; k++)
        if (m->logits[k] > m->logits[*class])
            *class = k;
    double sum = 0;
    for (int k = 0; k < m->classes; k++)
        sum += exp((double)m->logits[k] - (double)m->logits[*class]);
    *probability = 1 / sum;
    return EK_OK;
}

/* The line of the note "labels" that names a class. */
static void print_label(const ek_net *net, int class)
{
    const char *label = ek_net_note(net, "labels");
    for (int line = 0; label && line < class; line++)
        if ((label = strchr(label, '\n')))
            label++;
    if (label)
        printf("%.*s", (int)strcspn(label, "\n"), label);
    else
        printf("class %d", class);
}

/* A model and an image, made up. */
static ek_status make_files(const char *model_path, const char *image_path)
{
    ek_net *net = ek_net_builtin("bn-lenet");
    ek_status status = ek_net_set_note(net, "labels", "t-shirt\ntrouser\npullover");
    if (!status)
        status = ek_net_save(net, model_path);
    ek_net_free(net);
    FILE *image = status ? NULL : fopen(image_path, "w");
    if (image)
        fprintf(image, "P2 4 3 9\n0 9 9 0\n0 9 9 0\n0 9 9 0\n");
    return image && fclose(image) == 0 ? status : EK_ERR_IO;
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && !strcmp(argv[1], "--quick");
    const char *folder = getenv("TMPDIR");
    char model_path[1024], image_path[1024], *made[] = {argv[0], model_path, image_path, NULL};
    if (quick) {
        snprintf(model_path, sizeof model_path, "%s/predict.safetensors", folder ? folder : "/tmp");
        snprintf(image_path, sizeof image_path, "%s/predict.pgm", folder ? folder : "/tmp");
        if (make_files(model_path, image_path)) {
            fprintf(stderr, "%s\n", ek_error());
            return 1;
        }
        argv = made;
        argc = 3;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: predict MODEL IMAGE...\n");
        return 2;
    }
    model m = {0};
    int failures = open_model(&m, argv[1]) != EK_OK;
    if (failures)
        fprintf(stderr, "%s\n", ek_error());
    for (int i = 2; m.logits && i < argc; i++) {
        int class;
        double probability;
        if (predict(&m, argv[i], &class, &probability)) {
            fprintf(stderr, "%s\n", ek_error());
            failures++;
            continue;
        }
        printf("%s: ", argv[i]);
        print_label(m.net, class);
        printf(", %.4f\n", probability);
    }
    close_model(&m);
    return failures ? 1 : 0;
}
