/* SPDX-License-Identifier: MIT
 * What a model takes image files for: the class, its name and its probability.
 *
 *     cc predict.c -o predict $(pkg-config --cflags --libs evenkeel)
 *     ./predict model.safetensors boot.png shirt.jpg
 *
 * With --quick the model is a net that has learned nothing, and the image a file of three lines. */
#include <evenkeel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A net that is prepared to answer, and its input and output, so that an image takes no memory anew. */
typedef struct model {
    ek_net *net;
    ek_predictor *predictor;
    int channels, height, width;
    int64_t classes;
    uint8_t *pixels; /* [channels, height, width] */
    float *probabilities;
} model;

static ek_status open_model(model *m, const char *path)
{
    ek_status status = ek_net_load(&m->net, path);
    if (!status)
        status = ek_predictor_new(&m->predictor, m->net, &(ek_predictor_options){.threads = 1});
    if (status)
        return status;
    ek_predictor_shape(m->predictor, &m->channels, &m->height, &m->width, &m->classes, NULL);
    m->pixels = malloc((size_t)m->channels * (size_t)m->height * (size_t)m->width);
    m->probabilities = malloc((size_t)m->classes * sizeof *m->probabilities);
    return m->pixels && m->probabilities ? EK_OK : EK_ERR_MEMORY;
}

static void close_model(model *m)
{
    free(m->pixels);
    free(m->probabilities);
    ek_predictor_free(m->predictor);
    ek_net_free(m->net);
}

static ek_status predict(model *m, const char *path, int *class)
{
    ek_status status = ek_image_read(path, m->channels, m->height, m->width, NULL, m->pixels);
    if (!status)
        status = ek_predictor_run_bytes(m->predictor, 1, m->pixels, NULL, m->probabilities);
    *class = 0;
    for (int k = 1; !status && k < m->classes; k++)
        if (m->probabilities[k] > m->probabilities[*class])
            *class = k;
    return status;
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
    const bool opened = open_model(&m, argv[1]) == EK_OK;
    int failures = !opened;
    if (!opened)
        fprintf(stderr, "%s\n", ek_error());
    for (int i = 2; opened && i < argc; i++) {
        int class;
        if (predict(&m, argv[i], &class)) {
            fprintf(stderr, "%s\n", ek_error());
            failures++;
            continue;
        }
        printf("%s: ", argv[i]);
        print_label(m.net, class);
        printf(", %.4f\n", (double)m.probabilities[class]);
    }
    close_model(&m);
    return failures ? 1 : 0;
}
