/* SPDX-License-Identifier: MIT
 * Optimisers, learning-rate schedules, clipping and label smoothing: 25 steps of each against PyTorch's float64, the
 * same bits for any number of threads, settings that are refused, what weight decay leaves alone. */
#include "golden.h"

#include "base/memory.h"
#include "net/net.h"
#include "train/optimizer.h"
#include "train/schedule.h"

enum { STEPS = 25 };

static const double loss_tolerance = 2e-6;   /* relative; PyTorch's own float32: 2.3e-7 */
static const double tensor_tolerance = 1e-5; /* relative, 2-norm; PyTorch's own float32: 1.2e-6 */
static const double norm_tolerance = 1e-5;   /* relative */
static const double rate_tolerance = 1e-13;  /* relative; PyTorch's rates are products over the steps */

/* ---- Cases --------------------------------------------------------------------------------------------------- */

/* What stands behind " key=", or `none`. */
static double number(const char *text, const char *key, double none)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, " %s=", key);
    return strstr(text, pattern) ? golden_number(text, key) : none;
}

/* The options that a case's text stands for; milestones go to `milestones`. */
static ek_fit_options options_of(const char *text, int milestones[8])
{
    ek_fit_options o = {.optimizer = golden_is(text, "adam")    ? EK_ADAM
                                     : golden_is(text, "adamw") ? EK_ADAMW
                                                                : EK_SGD,
                        .lr = (float)number(text, "lr", 0),
                        .momentum = number(text, "momentum", 0),
                        .nesterov = number(text, "nesterov", 0) > 0,
                        .weight_decay = number(text, "weight_decay", 0),
                        .decay = number(text, "all", 0) > 0 ? EK_DECAY_ALL : EK_DECAY_WEIGHTS,
                        .beta1 = number(text, "beta1", 0),
                        .beta2 = number(text, "beta2", 0),
                        .eps = number(text, "eps", 0),
                        .clip_norm = number(text, "clip", 0),
                        .label_smoothing = number(text, "smoothing", 0),
                        .step_size = (int)number(text, "step_size", 0),
                        .gamma = number(text, "gamma", 0),
                        .min_lr = number(text, "min_lr", 0),
                        .warmup_steps = (int64_t)number(text, "warmup", 0),
                        .no_shuffle = true};
    const char *schedule = strstr(text, " schedule=") ? golden_word(text, "schedule") : "constant";
    o.schedule = !strncmp(schedule, "step", 4)     ? EK_SCHEDULE_STEP
                 : !strncmp(schedule, "multi", 5)  ? EK_SCHEDULE_MULTISTEP
                 : !strncmp(schedule, "cosine", 6) ? EK_SCHEDULE_COSINE
                                                   : EK_SCHEDULE_CONSTANT;
    if (o.schedule == EK_SCHEDULE_MULTISTEP) {
        const char *at = golden_word(text, "milestones");
        char *end;
        do
            milestones[o.milestone_count++] = (int)strtol(at, &end, 10);
        while (*end == ',' && (at = end + 1) && o.milestone_count < 8);
        o.milestones = milestones;
    }
    return o;
}

static ek_net *start(const ek_safetensors *file)
{
    ek_net *net = ek_net_parse(ek_safetensors_metadata(file, "net"), NULL);
    if (!net)
        fail_msg("%s", ek_error());
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        if (tensor->counter)
            continue;
        const ek_safetensors_tensor *from = golden_tensor(file, "init", tensor->name);
        assert_int_equal(from->count, tensor->count);
        memcpy(tensor->data, from->data, (size_t)from->count * sizeof(float));
    }
    return net;
}

static ek_dataset *data_of(const ek_safetensors *file)
{
    const ek_safetensors_tensor *pixels = golden_tensor(file, "data", "pixels");
    ek_dataset *data = NULL;
    GOLDEN_OK(ek_dataset_from_memory(&data, pixels->dim[0], (int)pixels->dim[1], (int)pixels->dim[2],
                                     (int)pixels->dim[3], pixels->data, golden_tensor(file, "data", "labels")->data,
                                     4));
    return data;
}

typedef struct recorder {
    double loss[STEPS], rate[STEPS], norm[STEPS], plain_loss;
    int steps;
} recorder;

static int record(void *user, const ek_fit_event *event)
{
    recorder *r = user;
    if (event->kind == EK_EVENT_EPOCH)
        r->plain_loss = event->val_loss;
    else if (r->steps < STEPS) {
        r->loss[r->steps] = event->loss;
        r->rate[r->steps] = event->lr;
        r->norm[r->steps++] = event->gradient_norm;
    }
    return 0;
}

static void compare_series(const ek_safetensors *file, const char *name, const char *key, const double *got,
                           int64_t count, double tolerance)
{
    const ek_safetensors_tensor *tensor = golden_tensor(file, name, key);
    double *want = golden_doubles(tensor);
    assert_int_equal(tensor->count, count);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * fabs(want[i])))
            fail_msg("%s: %s %lld is %.17g, PyTorch's %.17g", name, key, (long long)i, got[i], want[i]);
    free(want);
}

static void check_state(const ek_safetensors *file, const char *name, ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        char key[128];
        if (tensor->counter) {
            assert_int_equal(*tensor->counter, STEPS);
            continue;
        }
        snprintf(key, sizeof key, "final.%s", tensor->name);
        const double distance = golden_distance(golden_tensor(file, name, key), tensor->data);
        if (!(distance <= tensor_tolerance))
            fail_msg("%s: %s is %.2e from PyTorch's", name, tensor->name, distance);
    }
}

/* A case with 1, 2 and 3 threads: PyTorch's numbers, and one model bit for bit. */
static void run_case(const ek_safetensors *file, const char *name, const char *text)
{
    const char *fit = ek_safetensors_metadata(file, "fit");
    ek_dataset *data = data_of(file);
    float *first = NULL;
    recorder first_record = {.steps = 0};
    for (int threads = 1; threads <= 3; threads++) {
        int milestones[8];
        ek_net *net = start(file);
        recorder r = {.steps = 0};
        ek_fit_options o = options_of(text, milestones);
        o.epochs = golden_int(fit, "epochs");
        o.batch_size = golden_int(fit, "batch");
        o.threads = threads;
        o.on_event = record;
        o.user = &r;
        GOLDEN_OK(ek_fit(net, data, data, &o));
        assert_int_equal(r.steps, STEPS);
        compare_series(file, name, "loss", r.loss, STEPS, loss_tolerance);
        compare_series(file, name, "lr", r.rate, STEPS, rate_tolerance);
        compare_series(file, name, "plain_loss", &r.plain_loss, 1, loss_tolerance);
        if (o.clip_norm > 0)
            compare_series(file, name, "norm", r.norm, STEPS, norm_tolerance);
        check_state(file, name, net);
        const size_t size = net->value_count * sizeof *first;
        if (!first) {
            first = malloc(size);
            assert_non_null(first);
            memcpy(first, net->values, size);
            first_record = r;
        } else if (memcmp(first, net->values, size) != 0 || memcmp(&first_record, &r, sizeof r) != 0) {
            fail_msg("%s: %d threads give other bits than 1", name, threads);
        }
        ek_net_free(net);
    }
    free(first);
    ek_dataset_free(data);
}

static void test_against_pytorch(void **state)
{
    const ek_safetensors *file = *state;
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        const char *text = file->metadata[i].value;
        if (!golden_is(text, "sgd") && !golden_is(text, "adam") && !golden_is(text, "adamw"))
            continue;
        run_case(file, file->metadata[i].key, text);
        cases++;
    }
    assert_int_equal(cases, 20);
}

/* ---- Learning rates ------------------------------------------------------------------------------------------ */

static void test_schedules(void **state)
{
    const ek_safetensors *file = *state;
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        const char *name = file->metadata[i].key, *text = file->metadata[i].value;
        if (strncmp(name, "schedule.", 9) != 0)
            continue;
        int milestones[8];
        double rates[1000];
        ek_fit_options o = options_of(text, milestones);
        o.epochs = golden_int(text, "epochs");
        const int steps = golden_int(text, "steps");
        GOLDEN_OK(ek_schedule_check(&o));
        GOLDEN_OK(ek_schedule_check_steps(&o, steps));
        assert_true(o.epochs * steps <= 1000);
        for (int s = o.epochs * steps - 1; s >= 0; s--) /* in any order: nothing is kept */
            rates[s] = ek_schedule_rate(&o, steps, s);
        compare_series(file, name, "lr", rates, (int64_t)o.epochs * steps, 1e-12);
        cases++;
    }
    assert_int_equal(cases, 7);
}

/* Warm-up in epochs, also in parts of one, is warm-up in steps. */
static void test_warmup(void **state)
{
    (void)state;
    ek_fit_options epochs = {.epochs = 5, .lr = 0.5f, .schedule = EK_SCHEDULE_COSINE, .warmup_epochs = 1.3};
    ek_fit_options steps = epochs;
    steps.warmup_epochs = 0;
    steps.warmup_steps = 13;
    for (int64_t s = 0; s < 50; s++)
        assert_true(ek_schedule_rate(&epochs, 10, s) == ek_schedule_rate(&steps, 10, s));
    assert_true(ek_schedule_rate(&epochs, 10, 0) == 0.5 / 13);
    assert_true(ek_schedule_rate(&epochs, 10, 12) == 0.5);
    assert_true(ek_schedule_rate(&epochs, 10, 13) == 0.5);
    assert_true(ek_schedule_rate(&epochs, 10, 14) < 0.5);
}

static void test_powers(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 3000; n += 1 + n / 3)
        assert_true(fabs(ek_power(0.999, n) / pow(0.999, (double)n) - 1) < 1e-12);
    assert_true(ek_power(0.5, 3) == 0.125);
}

/* ---- What is refused ------------------------------------------------------------------------------------------ */

static int never(void *user, const ek_fit_event *event)
{
    (void)user;
    (void)event;
    fail_msg("a step was taken");
    return 1;
}

static void test_refusals(void **state)
{
    static const int descending[] = {3, 2}, twice[] = {2, 2}, zero[] = {0, 1}, good[] = {1};
    const struct {
        ek_fit_options o;
        const char *words;
    } cases[] = {
        {{.lr = NAN}, "learning rate nan"},
        {{.lr = -0.1f}, "learning rate -0.1"},
        {{.lr = INFINITY}, "learning rate inf"},
        {{.optimizer = 3}, "no optimizer 3"},
        {{.decay = 2}, "no decay 2"},
        {{.momentum = 1.5}, "momentum 1.5"},
        {{.momentum = 1}, "momentum 1 "},
        {{.momentum = NAN}, "momentum nan"},
        {{.nesterov = true}, "Nesterov's momentum needs"},
        {{.optimizer = EK_ADAM, .momentum = 0.9}, "momentum is SGD's"},
        {{.optimizer = EK_ADAMW, .nesterov = true}, "momentum is SGD's"},
        {{.beta1 = 0.9}, "betas and eps are Adam's"},
        {{.eps = 1e-8}, "betas and eps are Adam's"},
        {{.optimizer = EK_ADAM, .beta1 = 1}, "betas 1"},
        {{.optimizer = EK_ADAM, .beta2 = -0.1}, "betas 0 and -0.1"},
        {{.optimizer = EK_ADAM, .beta2 = NAN}, "betas 0 and nan"},
        {{.optimizer = EK_ADAM, .eps = 1e-40}, "eps 1e-40"},
        {{.optimizer = EK_ADAM, .eps = -1}, "eps -1"},
        {{.weight_decay = -1}, "weight decay -1"},
        {{.weight_decay = NAN}, "weight decay nan"},
        {{.weight_decay = 100}, "below 2"},
        {{.decay = EK_DECAY_ALL}, "needs a weight decay"},
        {{.clip_norm = -1}, "clip_norm -1"},
        {{.clip_norm = INFINITY}, "clip_norm inf"},
        {{.label_smoothing = 1}, "smoothing 1 "},
        {{.label_smoothing = NAN}, "smoothing nan"},
        {{.schedule = 4}, "no schedule 4"},
        {{.schedule = EK_SCHEDULE_STEP}, "step_size 0"},
        {{.step_size = 3}, "step_size 3"},
        {{.schedule = EK_SCHEDULE_MULTISTEP}, "needs milestones"},
        {{.schedule = EK_SCHEDULE_MULTISTEP, .milestones = descending, .milestone_count = 2}, "milestone 2 (2)"},
        {{.schedule = EK_SCHEDULE_MULTISTEP, .milestones = twice, .milestone_count = 2}, "milestone 2 (2)"},
        {{.schedule = EK_SCHEDULE_MULTISTEP, .milestones = zero, .milestone_count = 2}, "milestone 1 (0)"},
        {{.milestones = good, .milestone_count = 1}, "milestones belong"},
        {{.gamma = 0.5}, "gamma belongs"},
        {{.schedule = EK_SCHEDULE_STEP, .step_size = 1, .gamma = 1.5}, "gamma 1.5"},
        {{.schedule = EK_SCHEDULE_COSINE, .min_lr = 0.5}, "min_lr 0.5"},
        {{.min_lr = 0.01}, "min_lr belongs"},
        {{.warmup_steps = -1}, "warm-up of 0 epochs or -1"},
        {{.warmup_epochs = NAN}, "warm-up of nan"},
        {{.warmup_epochs = 1, .warmup_steps = 1}, "choose one"},
        {{.warmup_epochs = 2}, "as long as the training, 10 steps"},
        {{.warmup_steps = 10}, "as long as the training, 10 steps"},
        {{.warmup_epochs = 1e300}, "as long as the training"},
    };
    ek_dataset *data = data_of(*state);
    ek_net *net = start(*state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ek_fit_options o = cases[i].o;
        o.epochs = 2;
        o.batch_size = 16;
        o.on_event = never;
        const ek_status status = ek_fit(net, data, NULL, &o);
        if (status != EK_ERR_ARGUMENT || !strstr(ek_error(), cases[i].words))
            fail_msg("case %zu, \"%s\": %s, \"%s\"", i, cases[i].words, ek_status_name(status), ek_error());
    }
    ek_net_free(net);
    ek_dataset_free(data);
}

/* ---- What steps leave alone ----------------------------------------------------------------------------------- */

/* Weight decay on everything, yet what does not train stays: held gamma and beta, and moving statistics move by their
 * own rule alone. */
static void test_decay_leaves_alone(void **state)
{
    static const ek_fit_options recipes[] = {
        {.weight_decay = 0.5, .momentum = 0.9},
        {.optimizer = EK_ADAM, .weight_decay = 0.5},
        {.optimizer = EK_ADAMW, .weight_decay = 0.5},
    };
    ek_dataset *data = data_of(*state);
    for (int i = 0; i < 3; i++) {
        ek_net *net =
            ek_net_parse("input 2 6 5\nconv2d 5 kernel=3\nbatchnorm hold_affine=yes hold_moving=yes\nsigmoid\n"
                         "flatten\nlinear 4\n",
                         NULL);
        GOLDEN_OK(ek_net_init(net, EK_INIT_XAVIER, 1));
        float *before = malloc(net->value_count * sizeof *before);
        assert_non_null(before);
        memcpy(before, net->values, net->value_count * sizeof *before);
        ek_fit_options o = recipes[i];
        o.epochs = 1;
        o.decay = EK_DECAY_ALL;
        o.clip_norm = 1;
        GOLDEN_OK(ek_fit(net, data, NULL, &o));
        for (int j = 0; j < net->tensor_count; j++) {
            const ek_tensor *t = &net->tensors[j];
            if (!t->data)
                continue;
            const bool same = !memcmp(t->data, before + (t->data - net->values), (size_t)t->count * sizeof(float));
            if (same == t->trainable)
                fail_msg("recipe %d: %s %s", i, t->name, same ? "did not move" : "moved");
        }
        free(before);
        ek_net_free(net);
    }
    ek_dataset_free(data);
}

typedef struct norms {
    double of[64];
    int steps;
} norms;

static int note_norm(void *user, const ek_fit_event *event)
{
    norms *n = user;
    if (event->kind == EK_EVENT_STEP && n->steps < 64)
        n->of[n->steps++] = event->gradient_norm;
    return 0;
}

/* The norm is told where nothing is clipped, is the one that clipping finds, and changes no bit. */
static void test_measure_norm(void **state)
{
    static const ek_fit_options ways[] = {{.measure_norm = true}, {.clip_norm = 1e30}, {.clip_norm = 0}};
    ek_dataset *data = data_of(*state);
    norms seen[3] = {0};
    float *first = NULL;
    for (int i = 0; i < 3; i++) {
        ek_net *net = ek_net_parse("input 2 6 5\nconv2d 5 kernel=3\nbatchnorm\nsigmoid\nflatten\nlinear 4\n", NULL);
        GOLDEN_OK(ek_net_init(net, EK_INIT_XAVIER, 1));
        ek_fit_options o = ways[i];
        o.epochs = 2;
        o.on_event = note_norm;
        o.user = &seen[i];
        GOLDEN_OK(ek_fit(net, data, NULL, &o));
        const size_t size = net->value_count * sizeof *first;
        if (!first) {
            first = malloc(size);
            assert_non_null(first);
            memcpy(first, net->values, size);
        }
        assert_memory_equal(first, net->values, size);
        ek_net_free(net);
    }
    assert_true(seen[0].steps > 0);
    for (int i = 0; i < seen[0].steps; i++) {
        assert_true(seen[0].of[i] > 0 && seen[0].of[i] == seen[1].of[i]);
        assert_true(seen[2].of[i] == 0);
    }
    free(first);
    ek_dataset_free(data);
}

typedef struct last_good {
    ek_net *net;
    float *values;
    int steps;
} last_good;

/* After step 3 a weight of the last layer becomes infinite, and the next step is not finite. */
static int spoil(void *user, const ek_fit_event *event)
{
    last_good *l = user;
    if (event->kind == EK_EVENT_STEP && ++l->steps == 3) {
        l->net->tensors[l->net->tensor_count - 1].data[0] = INFINITY;
        memcpy(l->values, l->net->values, l->net->value_count * sizeof *l->values);
    }
    return 0;
}

static void test_not_finite(void **state)
{
    static const ek_fit_options recipes[] = {
        {.momentum = 0.9, .weight_decay = 0.01, .clip_norm = 1},
        {.optimizer = EK_ADAMW, .weight_decay = 0.01, .label_smoothing = 0.1},
    };
    ek_dataset *data = data_of(*state);
    for (int i = 0; i < 2; i++) {
        last_good l = {.net = start(*state)};
        l.values = malloc(l.net->value_count * sizeof *l.values);
        assert_non_null(l.values);
        ek_fit_options o = recipes[i];
        o.epochs = 1;
        o.batch_size = 16;
        o.max_skipped = -1;
        o.on_event = spoil;
        o.user = &l;
        assert_int_equal(ek_fit(l.net, data, NULL, &o), EK_ERR_NUMERIC);
        assert_non_null(strstr(ek_error(), "epoch 1, step 4: "));
        assert_memory_equal(l.values, l.net->values, l.net->value_count * sizeof *l.values);
        free(l.values);
        ek_net_free(l.net);
    }
    ek_dataset_free(data);
}

/* ---- Memory that cannot be had -------------------------------------------------------------------------------- */

static ek_status train_with_all(const ek_safetensors *file, ek_dataset *data)
{
    ek_net *net = ek_net_parse(ek_safetensors_metadata(file, "net"), NULL);
    ek_status status = net ? EK_OK : EK_ERR_MEMORY;
    if (!status)
        status = ek_fit(net, data, NULL,
                        &(ek_fit_options){.epochs = 1, .threads = 2, .optimizer = EK_ADAM, .clip_norm = 1});
    ek_net_free(net);
    return status;
}

static void test_out_of_memory(void **state)
{
    ek_dataset *data = data_of(*state);
    ek_memory_fail_at(0);
    GOLDEN_OK(train_with_all(*state, data));
    const int64_t allocations = ek_memory_fail_at(0);
    assert_true(allocations > 20);
    for (int64_t n = 1; n <= allocations; n++) {
        ek_memory_fail_at(n);
        const ek_status status = train_with_all(*state, data);
        ek_memory_fail_at(0);
        if (status != EK_ERR_MEMORY)
            fail_msg("allocation %lld of %lld failed, and %s came back", (long long)n, (long long)allocations,
                     ek_status_name(status));
    }
    ek_dataset_free(data);
}

static int open_golden(void **state)
{
    *state = golden_open("optimizers.safetensors");
    return 0;
}

static int close_golden(void **state)
{
    ek_safetensors_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_pytorch), cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_warmup),          cmocka_unit_test(test_powers),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_decay_leaves_alone),
        cmocka_unit_test(test_measure_norm),    cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("optimizer", tests, open_golden, close_golden);
}
