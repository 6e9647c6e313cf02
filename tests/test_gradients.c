/* SPDX-License-Identifier: MIT
 * Gradients: the reference's against finite differences, and training programs of small nets against the reference,
 * with every option of every layer and batches that do and do not fill their blocks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/random.h"
#include "gradient_nets.h"
#include "net/plan.h"
#include "op/backend.h"
#include "reference_net.h"

static uint64_t random_counter;

/* Of [-1, 1). */
static double random_value(void)
{
    uint32_t bits[4];
    ek_random4(7, EK_RANDOM_INIT, 0, random_counter++, bits);
    return 2 * (double)ek_random_unit(bits[0]) - 1;
}

static double *random_doubles(int64_t count)
{
    double *values = reference_doubles(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_value();
    return values;
}

static double dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* ---- The reference against finite differences --------------------------------------------------------------- */

/* Every element of x: (f(x + h) - f(x - h))/2h against the gradient. In double with h = 1e-5 both the difference's
 * rounding and its third-order term are near 1e-10. Gives the gradient's largest magnitude. */
static double check_differences(const char *what, double *x, int64_t count, const double *gradient,
                                double (*loss)(void *of), void *of)
{
    const double h = 1e-5;
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(gradient[i]));
    for (int64_t i = 0; i < count; i++) {
        const double at = x[i];
        x[i] = at + h;
        const double above = loss(of);
        x[i] = at - h;
        const double difference = (above - loss(of)) / (2 * h);
        x[i] = at;
        if (!(fabs(difference - gradient[i]) <= 2e-8 * (1 + largest)))
            fail_msg("%s: element %lld of %lld has gradient %.12g, the difference quotient is %.12g", what,
                     (long long)i, (long long)count, gradient[i], difference);
    }
    return largest;
}

/* One operation under test: y of its inputs, and as loss the product of y with fixed random numbers. */
typedef struct operation {
    ek_conv conv;
    ek_pool2d pool;
    ek_unit unit;
    bool by_batch, layer;
    ek_normalize normalize;
    int64_t n, in, out; /* of all samples */
    double *x, *y, *a, *weight, *bias, *mean, *rstd, *factors;
} operation;

static double conv_loss(void *of)
{
    const operation *o = of;
    ek_reference_conv(&o->conv, o->n, o->weight, o->bias, o->x, o->y);
    return dot(o->y, o->factors, o->out);
}

static void test_reference_conv(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        const int r = 1 + i % 4, s = 1 + i % 3, stride = 1 + i % 3, padding = i % 4;
        ek_conv g = {.c = 1 + i % 3, .h = 4 + i % 2, .w = 5, .k = 1 + i % 2, .r = r, .s = s, .groups = 1};
        g.stride_h = stride;
        g.stride_w = 1 + stride % 2;
        g.padding_h = padding;
        g.padding_w = padding + i % 2;
        g.dilation_h = 1 + (i % 3 == 0 && padding > 1);
        g.dilation_w = 1 + (i % 5 == 0 && padding > 1);
        if (i % 3 == 1) {
            g.groups = 2;
            g.k *= 2;
        }
        g.p = (g.h + 2 * g.padding_h - g.dilation_h * (r - 1) - 1) / g.stride_h + 1;
        g.q = (g.w + 2 * g.padding_w - g.dilation_w * (s - 1) - 1) / g.stride_w + 1;
        operation o = {.conv = g, .n = 2, .in = 2 * g.c * g.h * g.w, .out = 2 * g.k * g.p * g.q};
        const int64_t weights = ek_conv_weights(&g);
        o.x = random_doubles(o.in);
        o.y = reference_doubles(o.out);
        o.factors = random_doubles(o.out);
        o.weight = random_doubles(weights);
        o.bias = random_doubles(g.k);
        double *dx = reference_doubles(o.in), *dweight = reference_doubles(weights), *dbias = reference_doubles(g.k);
        ek_reference_conv_backward_data(&g, o.n, o.weight, o.factors, dx);
        ek_reference_conv_backward_weight(&g, o.n, o.x, o.factors, dweight, dbias);
        assert_true(check_differences("conv, dx", o.x, o.in, dx, conv_loss, &o) > 1e-3);
        assert_true(check_differences("conv, dweight", o.weight, weights, dweight, conv_loss, &o) > 1e-3);
        assert_true(check_differences("conv, dbias", o.bias, g.k, dbias, conv_loss, &o) > 1e-3);
        double *all[] = {o.x, o.y, o.factors, o.weight, o.bias, dx, dweight, dbias};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            free(all[j]);
    }
}

static double pool_loss(void *of)
{
    const operation *o = of;
    ek_reference_pool(&o->pool, o->n, o->x, o->y);
    return dot(o->y, o->factors, o->out);
}

static void check_pool(ek_pool2d g)
{
    g.p = (g.h + 2 * g.padding_h - g.kernel_h) / g.stride_h + 1;
    g.q = (g.w + 2 * g.padding_w - g.kernel_w) / g.stride_w + 1;
    operation o = {.pool = g, .n = 2, .in = 2 * g.c * g.h * g.w, .out = 2 * g.c * g.p * g.q};
    o.x = random_doubles(o.in);
    o.y = reference_doubles(o.out);
    o.factors = random_doubles(o.out);
    double *dx = reference_doubles(o.in);
    ek_reference_pool_backward(&g, o.n, o.x, o.factors, dx);
    assert_true(check_differences(g.maximum ? "maximum" : "average", o.x, o.in, dx, pool_loss, &o) > 1e-3);
    free(o.x);
    free(o.y);
    free(o.factors);
    free(dx);
}

static void test_reference_pools(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++)
        for (int kernel = 1; kernel <= 3; kernel++)
            for (int stride = 1; stride <= 4; stride++)
                check_pool((ek_pool2d){2, 5, 6, 0, 0, kernel, 1 + kernel % 3, stride, 1 + stride % 3,
                                       kernel / 2 * (what > 0), (1 + kernel % 3) / 2 * (what > 1), what == 3,
                                       what == 2});
}

/* Units, and layer norm as a unit whose norm is per sample. */
static double unit_loss(void *of)
{
    const operation *o = of;
    const ek_unit *u = &o->unit;
    const ek_shape shape = {.n = o->n, .c = u->c, .h = u->h, .w = u->w};
    if (o->layer) {
        ek_reference_layer_norm(shape, o->x, o->weight, o->bias, 1e-5, o->y, o->mean, o->rstd);
        return dot(o->y, o->factors, o->out);
    }
    if (o->by_batch) {
        double *var = reference_doubles(u->c);
        ek_reference_batch_statistics(shape, o->x, o->mean, var);
        for (int c = 0; c < u->c; c++)
            o->rstd[c] = ek_norm_factor(o->normalize, var[c], 1e-5);
        free(var);
    }
    const ek_reference_norm norm = {o->mean, o->rstd, o->weight, o->bias, o->by_batch, o->normalize};
    ek_reference_unit(u, o->n, &norm, o->x, o->a, o->y);
    return dot(o->y, o->factors, o->out);
}

static void check_unit(ek_unit u, ek_normalize normalize, bool by_batch, bool layer)
{
    const int64_t n = 3, in = n * u.c * u.h * u.w, norms = layer ? in / n : u.c;
    operation o = {.unit = u, .by_batch = by_batch, .layer = layer, .normalize = normalize, .n = n, .in = in};
    o.out = in / (u.pool * u.pool);
    o.x = random_doubles(in);
    o.y = reference_doubles(in);
    o.a = reference_doubles(in);
    o.factors = random_doubles(o.out);
    o.weight = random_doubles(norms);
    o.bias = random_doubles(norms);
    o.mean = random_doubles(norms);
    o.rstd = random_doubles(norms);
    for (int64_t i = 0; i < norms; i++) { /* so that no relu is idle all over */
        o.rstd[i] = normalize == EK_NORMALIZE_MEAN ? 1 : 1.2 + o.rstd[i];
        o.weight[i] += o.weight[i] < 0 ? -0.5 : 0.5;
        o.bias[i] *= 0.3;
    }
    double *dx = reference_doubles(in), *dgamma = reference_doubles(norms), *dbeta = reference_doubles(norms);
    unit_loss(&o);
    const ek_reference_norm norm = {o.mean, o.rstd, o.weight, o.bias, by_batch, normalize};
    if (layer)
        ek_reference_layer_norm_backward((ek_shape){.n = n, .c = u.c, .h = u.h, .w = u.w}, o.x, o.factors, o.weight,
                                         o.mean, o.rstd, dx, dgamma, dbeta);
    else
        ek_reference_unit_backward(&u, n, &norm, o.x, o.a, o.factors, dx, dgamma, dbeta);
    char what[80];
    snprintf(what, sizeof what, "%s%s, activation %d, pool %d", layer ? "layer norm" : "unit", u.norm ? ", norm" : "",
             (int)u.activation, u.pool);
    assert_true(check_differences(what, o.x, in, dx, unit_loss, &o) > 1e-3);
    if (u.norm) {
        assert_true(check_differences(what, o.weight, norms, dgamma, unit_loss, &o) > 1e-3);
        assert_true(check_differences(what, o.bias, norms, dbeta, unit_loss, &o) > 1e-3);
    }
    double *all[] = {o.x, o.y, o.a, o.factors, o.weight, o.bias, o.mean, o.rstd, dx, dgamma, dbeta};
    for (size_t j = 0; j < sizeof all / sizeof *all; j++)
        free(all[j]);
}

static void test_reference_units(void **state)
{
    (void)state;
    for (int pool = 1; pool <= 3; pool++)
        for (int what = 0; what < 4; what++)
            for (int activation = EK_IDENTITY; activation <= EK_GELU_TANH; activation++) {
                const ek_unit u = {.c = 2,
                                   .h = 6,
                                   .w = 6,
                                   .norm = what & 1,
                                   .activation = (ek_activation)activation,
                                   .pool = pool,
                                   .maximum = what & 2,
                                   .negative_slope = 0.3f};
                if (u.maximum && u.activation == EK_IDENTITY)
                    continue;
                check_unit(u, EK_NORMALIZE_BOTH, false, false);
                for (int i = EK_NORMALIZE_BOTH; u.norm && i <= EK_NORMALIZE_DEVIATION; i++) {
                    check_unit(u, (ek_normalize)i, false, false);
                    check_unit(u, (ek_normalize)i, true, false);
                }
            }
    check_unit((ek_unit){.c = 2, .h = 3, .w = 4, .norm = true, .pool = 1}, EK_NORMALIZE_BOTH, false, true);
}

typedef struct logits {
    int k, label;
    double smoothing, z[12];
} logits;

static double entropy_loss(void *of)
{
    const logits *l = of;
    return 0.25 * ek_reference_smoothed_cross_entropy(l->k, l->z, l->label, l->smoothing, 1, NULL);
}

static void test_reference_cross_entropy(void **state)
{
    (void)state;
    for (int k = 2; k <= 12; k++) {
        logits l = {.k = k, .label = k / 3, .smoothing = k % 3 * 0.3};
        double dz[12];
        for (int i = 0; i < k; i++)
            l.z[i] = 3 * random_value();
        ek_reference_smoothed_cross_entropy(k, l.z, l.label, l.smoothing, 0.25, dz);
        assert_true(check_differences("softmax cross-entropy", l.z, k, dz, entropy_loss, &l) > 1e-3);
    }
    assert_float_equal(ek_reference_cross_entropy(2, (double[]){0, 0}, 1, 1, NULL), log(2), 1e-15);
    /* -0.8*log(p1) - 0.1*log(p0) - 0.1*log(p1) of p = (1/4, 3/4) */
    const double by_hand = -0.9 * log(0.75) - 0.1 * log(0.25);
    assert_true(fabs(ek_reference_smoothed_cross_entropy(2, (double[]){0, log(3)}, 1, 0.2, 1, NULL) - by_hand) <
                1e-15);
}

/* ---- Programs against the reference ------------------------------------------------------------------------- */

enum { NETS = sizeof nets / sizeof *nets, MOST = 100 };

/* Where a net's random numbers begin: elsewhere for each text, whatever is listed beside it. */
static uint64_t own_numbers(const char *text)
{
    uint64_t digest = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *text; text++)
        digest = (digest ^ (uint64_t)*text) * 0x100000001b3u;
    return digest;
}

static ek_net *new_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_PYTORCH, 5))
        fail_msg("%s: %s", text, ek_error());
    /* Nothing is to stand at a special value. */
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && j < t->count; j++) {
            if (t->role == EK_ROLE_MOVING_VAR)
                t->data[j] = (float)(1 + 0.5 * random_value());
            else
                t->data[j] += (float)(0.2 * random_value());
        }
    }
    return net;
}

/* Whether a training step on n samples has a meaning: two values for each channel of each batch norm that looks at
 * the batch; and whether the result can be compared: few values without eps may have any spread. */
static bool legal(const ek_net *net, int64_t n)
{
    for (int i = 0; i < net->layer_count; i++) {
        const ek_layer *l = &net->layers[i];
        if (l->kind != EK_LAYER_BATCHNORM || (l->o.batchnorm.use_moving && l->o.batchnorm.hold_moving))
            continue;
        if (n * l->in.h * l->in.w < 2)
            return false;
    }
    return true;
}

/* Values of one batch as floats, bytes and doubles that mean the same. */
typedef struct samples {
    int64_t n, size;
    float *floats;
    uint8_t *bytes, *labels;
    const uint8_t **images;
    double *doubles;
} samples;

static samples new_samples(const ek_net *net, int64_t n, bool bytes)
{
    samples s = {.n = n, .size = ek_dims_count(net->input)};
    const size_t count = (size_t)(n * s.size);
    s.floats = calloc(count, sizeof *s.floats);
    s.bytes = calloc(count, 1);
    s.labels = calloc((size_t)n, 1);
    s.images = calloc((size_t)n, sizeof *s.images);
    s.doubles = reference_doubles(n * s.size);
    assert_true(s.floats && s.bytes && s.labels && s.images);
    for (size_t i = 0; i < count; i++) {
        s.bytes[i] = (uint8_t)(127.5 + 127.5 * random_value());
        s.floats[i] = bytes ? (float)s.bytes[i] / 255.0f : (float)(2 * random_value());
        s.doubles[i] = (double)s.floats[i];
    }
    for (int64_t i = 0; i < n; i++) {
        s.images[i] = s.bytes + i * s.size;
        s.labels[i] = (uint8_t)((1 + random_value()) / 2 * ek_net_output(net).c);
    }
    return s;
}

static void free_samples(samples *s)
{
    free(s->floats);
    free(s->bytes);
    free(s->labels);
    free(s->images);
    free(s->doubles);
}

/* Worst distance of got from want, as a part of want's largest magnitude or of `least`. */
static double distance(const float *got, const double *want, int64_t count, double least)
{
    double worst = 0, largest = least;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < count; i++) {
        const double off = fabs((double)got[i] - want[i]) / largest;
        if (!(off <= worst))
            worst = off;
        if (isnan(off))
            return INFINITY;
    }
    return worst;
}

static double norm_of(const double *x, int64_t count)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* The one layer that reads layer i's output, flattens passed over; -1 where there are several, or a block. */
static int only_reader(const ek_net *net, int i)
{
    int reader = -1, readers = 0;
    for (int j = 0; j < net->layer_count; j++) {
        const ek_layer *l = &net->layers[j];
        if (l->from == i && !ek_is_block(l->kind)) {
            reader = j;
            readers++;
        }
        const int parts = l->kind == EK_LAYER_RESIDUAL ? 2 : l->parts;
        for (int part = 0; part < parts; part++)
            readers += (part < l->parts ? reference_part_end(net, j, part) : l->from) == i;
    }
    if (readers == 1 && reader >= 0 && net->layers[reader].kind == EK_LAYER_FLATTEN)
        return only_reader(net, reader);
    return readers == 1 ? reader : -1;
}

/* Whether the plan leaves out this tensor's gradient: it is exactly zero, or not wanted. */
static bool no_gradient(const ek_net *net, const ek_tensor *t)
{
    if (!t->trainable)
        return true;
    const int next = only_reader(net, t->layer);
    const bool map = net->layers[t->layer].kind == EK_LAYER_CONV2D || net->layers[t->layer].kind == EK_LAYER_LINEAR;
    return t->role == EK_ROLE_BIAS && map && next >= 0 && net->layers[next].kind == EK_LAYER_BATCHNORM &&
           !net->layers[next].o.batchnorm.use_moving &&
           net->layers[next].o.batchnorm.normalize != EK_NORMALIZE_DEVIATION;
}

static void check_gradients(const ek_net *net, const char *text, const ek_program *program, const reference_net *r)
{
    const double all = norm_of(r->gradients, (int64_t)net->value_count);
    for (int i = 0; i < net->tensor_count; i++) {
        const ek_tensor *t = &net->tensors[i];
        if (!t->data)
            continue;
        const float *got = program->gradients + (t->data - net->values);
        const double *want = reference_part(r, r->gradients, i);
        if (no_gradient(net, t)) {
            for (int64_t j = 0; j < t->count; j++)
                if (!(got[j] == 0))
                    fail_msg("%s%s, %lld samples: a gradient of %g where there is none", text, t->name,
                             (long long)r->n, (double)got[j]);
            assert_true(!t->trainable || norm_of(want, t->count) <= 1e-12 * (1 + all));
            continue;
        }
        const double off = distance(got, want, t->count, 0.03 * all);
        /* Of two samples batch norm divides by what may be a small difference; of a gradient that cancels to nothing
         * (a bias whose batch norm stands behind a pooling) there is left the rounding of its terms. */
        const bool cancels = norm_of(want, t->count) <= 1e-12 * (1 + all);
        if (!(off <= (r->n > 2 && !cancels ? 5e-5 : 1e-4)))
            fail_msg("%s%s, %lld samples: the gradient is off by %g of %g", text, t->name, (long long)r->n, off,
                     norm_of(want, t->count));
    }
}

/* Values after the step: parameters by SGD from the program's own gradients, moving statistics by the reference. */
static void check_update(const ek_net *net, const char *text, const ek_program *program, const reference_net *r,
                         float rate)
{
    for (int i = 0; i < net->tensor_count; i++) {
        const ek_tensor *t = &net->tensors[i];
        if (!t->data)
            continue;
        const ek_layer *l = &net->layers[t->layer];
        const reference_layer *s = &r->layers[t->layer];
        const float *gradient = program->gradients + (t->data - net->values);
        const double *before = reference_part(r, r->values, i);
        for (int64_t j = 0; j < t->count; j++) {
            double want = before[j] - (double)rate * (double)gradient[j], tolerance = 1.3e-7;
            if ((t->role == EK_ROLE_MOVING_MEAN || t->role == EK_ROLE_MOVING_VAR) && !l->o.batchnorm.hold_moving) {
                const double m = (double)(r->n * l->in.h * l->in.w);
                const double factor = l->o.batchnorm.moving_variance == EK_MOVING_POPULATION ? 1 : m / (m - 1);
                const double batch = t->role == EK_ROLE_MOVING_MEAN ? s->batch_mean[j] : s->batch_var[j] * factor;
                const double momentum = l->o.batchnorm.momentum < 0
                                            ? 1 / (double)*net->tensors[l->num_batches].counter
                                            : (double)l->o.batchnorm.momentum;
                want = (1 - momentum) * before[j] + momentum * batch;
                tolerance = 1e-5;
            } else if (!t->trainable) {
                tolerance = 0;
            }
            if (!(fabs((double)t->data[j] - want) <= tolerance * (0.1 + fabs(want))))
                fail_msg("%s%s[%lld], %lld samples: %.9g after the step, not %.9g", text, t->name, (long long)j,
                         (long long)r->n, (double)t->data[j], want);
        }
    }
}

/* One training step on n samples. */
static void check_step(ek_net *net, const char *text, ek_backend *backend, ek_program *program, int64_t n, bool bytes)
{
    const float rate = 0.05f;
    samples s = new_samples(net, n, bytes);
    double losses[MOST];
    int predicted[MOST];
    int64_t counters[64];
    reference_net r = reference_net_new(net, n);
    const double loss = reference_loss(&r, s.doubles, s.labels);
    reference_backward(&r, s.doubles, s.labels);
    for (int i = 0; i < net->layer_count; i++)
        counters[i] = net->layers[i].num_batches < 0 ? 0 : *net->tensors[net->layers[i].num_batches].counter;
    const ek_batch batch = {.samples = n,
                            .images = s.images,
                            .values = s.floats,
                            .labels = s.labels,
                            .loss = losses,
                            .predicted = predicted,
                            .update = &(ek_update){.rate = rate}};
    if (ek_backend_run(backend, program, &batch))
        fail_msg("%s%lld samples: %s", text, (long long)n, ek_error());
    double sum = 0;
    const int k = ek_net_output(net).c;
    for (int64_t i = 0; i < n; i++) {
        const double *row = r.layers[net->tail].y + i * k;
        sum += losses[i];
        if (!(fabs(losses[i] - r.losses[i]) <= 2e-5 * (1 + r.losses[i])))
            fail_msg("%ssample %lld of %lld: loss %.9g, not %.9g", text, (long long)i, (long long)n, losses[i],
                     r.losses[i]);
        for (int j = 0; j < k; j++)
            assert_true(row[predicted[i]] >= row[j] - 1e-4);
    }
    assert_true(fabs(sum / (double)n - loss) <= 2e-5 * (1 + loss));
    check_gradients(net, text, program, &r);
    check_update(net, text, program, &r, rate);
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i].num_batches >= 0)
            assert_int_equal(*net->tensors[net->layers[i].num_batches].counter,
                             counters[i] + !net->layers[i].o.batchnorm.hold_moving);
    reference_net_free(&r);
    free_samples(&s);
}

static void check_prediction(ek_net *net, const char *text, int64_t n, int threads)
{
    samples s = new_samples(net, n, false);
    const int64_t count = n * ek_net_output(net).c;
    float *got = calloc((size_t)count, sizeof *got);
    assert_non_null(got);
    reference_net r = reference_net_new(net, n);
    const double *want = reference_forward(&r, EK_PREDICTION, s.doubles);
    if (ek_predict(net, n, s.floats, threads, got))
        fail_msg("%sprediction: %s", text, ek_error());
    const double off = distance(got, want, count, 1e-2);
    if (!(off <= 2e-5))
        fail_msg("%sprediction of %lld samples is off by %g", text, (long long)n, off);
    reference_net_free(&r);
    free(got);
    free_samples(&s);
}

/* Each net has its own random numbers, whatever nets are listed beside it.
 * The sizes of batches follow each other in one program, so that what a larger one left behind in the arena must not
 * count in a smaller one. */
/* Whether batches of `size` are left out for the time that the reference would take: of nets with much arithmetic some
 * are, but for 17, one sample more than a block. */
static bool too_much(const ek_net *net, int64_t size)
{
    double work = 0;
    ek_layer_info info;
    for (int i = 0; i < ek_net_layer_count(net); i++)
        if (!ek_net_layer(net, i, &info))
            work += (double)info.macs;
    return size != 17 && work * (double)size > (getenv("EVENKEEL_TEST_QUICK") ? 1e6 : 1e7);
}

static void test_programs(void **state)
{
    (void)state;
    static const int64_t sizes[] = {MOST, 17, 2, 33, 5, 16, 1};
    for (int i = 0; i < NETS; i++) {
        const bool bytes = own_numbers(nets[i]) >> 20 & 1; /* nor what they are given as */
        const int threads = 1 + i % 3;
        random_counter = own_numbers(nets[i]); /* a net's numbers do not depend on the nets before it */
        ek_net *net = new_net(nets[i]);
        ek_backend *backend = NULL;
        ek_program *program = NULL;
        assert_int_equal(ek_backend_new_cpu(&backend, threads), EK_OK);
        const ek_plan_request request = {.mode = EK_TRAINING,
                                         .input = bytes ? EK_INPUT_BYTES : EK_INPUT_FLOATS,
                                         .loss = true,
                                         .max_samples = MOST,
                                         .threads = threads};
        if (ek_plan_new(&program, net, &request))
            fail_msg("%s%s", nets[i], ek_error());
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            if (too_much(net, sizes[j]))
                continue;
            if (legal(net, sizes[j]))
                check_step(net, nets[i], backend, program, sizes[j], bytes);
            if (sizes[j] != 1 || legal(net, 1) || !strstr(nets[i], "tracking=no"))
                check_prediction(net, nets[i], sizes[j], threads);
        }
        ek_program_free(program);
        ek_backend_free(backend);
        ek_net_free(net);
    }
}

typedef struct net_and_batch {
    reference_net r;
    samples s;
} net_and_batch;

static double net_loss(void *of)
{
    net_and_batch *b = of;
    return reference_loss(&b->r, b->s.doubles, b->s.labels);
}

/* The chain of the reference's backwards, through every net above. */
static void test_reference_nets(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        random_counter = own_numbers(nets[i]);
        ek_net *net = new_net(nets[i]);
        net_and_batch b = {reference_net_new(net, 3), new_samples(net, 3, false)};
        net_loss(&b);
        reference_backward(&b.r, b.s.doubles, b.s.labels);
        double largest = 0;
        for (int j = 0; j < net->tensor_count; j++) {
            const ek_tensor *t = &net->tensors[j];
            if (!t->data || t->role == EK_ROLE_MOVING_MEAN || t->role == EK_ROLE_MOVING_VAR || no_gradient(net, t))
                continue;
            char what[400];
            snprintf(what, sizeof what, "%s%s", nets[i], t->name);
            const int64_t most = getenv("EVENKEEL_TEST_QUICK") ? 3 : 12; /* from the middle on */
            const int64_t few = t->count < most ? t->count : most;
            const int64_t begin = (t->count - few) / 2;
            largest = fmax(largest, check_differences(what, reference_part(&b.r, b.r.values, j) + begin, few,
                                                      reference_part(&b.r, b.r.gradients, j) + begin, net_loss, &b));
        }
        assert_true(largest > 1e-2);
        reference_net_free(&b.r);
        free_samples(&b.s);
        ek_net_free(net);
    }
}

/* Constant channels and samples with eps 0: beta, and no gradient through them. */
static void test_nothing_to_scale(void **state)
{
    (void)state;
    static const char *const constant[] = {
        "input 1 4 4\nbatchnorm eps=0\nconv2d 2 kernel=3\nsigmoid\nflatten\nlinear 3\n",
        "input 1 4 4\nlayernorm eps=0\nconv2d 2 kernel=3\nsigmoid\nflatten\nlinear 3\n",
    };
    for (int i = 0; i < 2; i++) {
        ek_net *net = new_net(constant[i]);
        ek_backend *backend = NULL;
        ek_program *program = NULL;
        assert_int_equal(ek_backend_new_cpu(&backend, 1), EK_OK);
        const ek_plan_request request = {
            .mode = EK_TRAINING, .input = EK_INPUT_FLOATS, .loss = true, .max_samples = 18, .threads = 1};
        assert_int_equal(ek_plan_new(&program, net, &request), EK_OK);
        samples s = new_samples(net, 18, false);
        for (int64_t j = 0; j < 18 * 16; j++)
            s.doubles[j] = (double)(s.floats[j] = 0.7f);
        reference_net r = reference_net_new(net, 18);
        double losses[18];
        int predicted[18];
        reference_loss(&r, s.doubles, s.labels);
        reference_backward(&r, s.doubles, s.labels);
        const ek_batch batch = {
            .samples = 18, .values = s.floats, .labels = s.labels, .loss = losses, .predicted = predicted};
        if (ek_backend_run(backend, program, &batch))
            fail_msg("%s%s", constant[i], ek_error());
        check_gradients(net, constant[i], program, &r);
        reference_net_free(&r);
        free_samples(&s);
        ek_program_free(program);
        ek_backend_free(backend);
        ek_net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_conv),   cmocka_unit_test(test_reference_pools),
        cmocka_unit_test(test_reference_units),  cmocka_unit_test(test_reference_cross_entropy),
        cmocka_unit_test(test_reference_nets),   cmocka_unit_test(test_programs),
        cmocka_unit_test(test_nothing_to_scale),
    };
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
