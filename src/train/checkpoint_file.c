/* SPDX-License-Identifier: MIT
 * One checkpoint as a file: a model file, with the tensors "checkpoint.*" beside the net's own. One list of parts says
 * what is written and what is read. */
#include "train/checkpoint.h"

#include "base/memory.h"
#include "io/model.h"
#include "io/values.h"
#include "net/net.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char format_key[] = EK_CHECKPOINT_NOTE "format", position_name[] = EK_CHECKPOINT_PREFIX "position",
                  history_name[] = EK_CHECKPOINT_PREFIX "history";

enum {
    NAME_SIZE = EK_PATH_SIZE + 64,
    /* epoch, done, total, loss, correct, count, seconds, updates, skipped; real numbers by their bits */
    POSITION_NUMBERS = 9,
    TEXT_SIZE = 48
};

/* An array of the training's state: a tensor of the net's shape, in the net itself or beside it. */
typedef struct part {
    char name[NAME_SIZE];
    const ek_tensor *tensor;
    float *floats;
    int64_t *integers;
    ek_role role; /* what its values may be */
} part;

typedef struct parts {
    part *list;
    size_t count;
} parts;

/* ---- The parts ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static part *add_part(parts *p, const ek_tensor *tensor, const char *format,
                                                            ...)
{
    part *const added = &p->list[p->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(added->name, NAME_SIZE, format, arguments);
    va_end(arguments);
    added->tensor = tensor;
    added->role = tensor->role;
    return added;
}

/* The optimiser's arrays; a second one is of squares, and as little negative as a variance. */
static void add_states(parts *p, const ek_checkpoint_state *s)
{
    for (int k = 0; k < s->program->state_count; k++) {
        for (int i = 0; i < s->net->tensor_count; i++) {
            const ek_tensor *const t = &s->net->tensors[i];
            if (!t->trainable)
                continue;
            part *const added = add_part(p, t, EK_CHECKPOINT_PREFIX "optimizer.%d.%s", k, t->name);
            added->floats = s->program->states + (size_t)k * s->program->gradient_count + (t->data - s->net->values);
            added->role = k == 1 ? EK_ROLE_MOVING_VAR : EK_ROLE_WEIGHT;
        }
    }
}

static void add_best(parts *p, const ek_checkpoint_state *s)
{
    for (int i = 0; i < s->net->tensor_count && s->best; i++) {
        const ek_tensor *const t = &s->net->tensors[i];
        part *const added = add_part(p, t, EK_CHECKPOINT_PREFIX "best.%s", t->name);
        if (t->counter)
            added->integers = s->best_counters + (t->counter - s->net->counters);
        else
            added->floats = s->best + (t->data - s->net->values);
    }
}

/* What is there beside the net. The caller frees the list. */
static ek_status make_parts(parts *p, const ek_checkpoint_state *s)
{
    const size_t most = (size_t)s->net->tensor_count * (1 + (size_t)s->program->state_count);
    *p = (parts){.list = ek_calloc(most, sizeof *p->list)};
    if (!p->list)
        return EK_ERR_MEMORY;
    add_states(p, s);
    add_best(p, s);
    return EK_OK;
}

/* ---- Progress as numbers -------------------------------------------------------------------------------------- */

static int64_t bits_of(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double real_of(int64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void put_position(const ek_progress *p, int64_t numbers[POSITION_NUMBERS])
{
    const int64_t all[POSITION_NUMBERS] = {
        p->epoch,   p->done,   p->total, bits_of(p->loss), p->correct, p->count, bits_of(p->seconds),
        p->updates, p->skipped};
    memcpy(numbers, all, sizeof all);
}

/* The history as the bits of its numbers. The caller frees it. */
static ek_status put_history(const ek_progress *p, int64_t **numbers)
{
    const size_t count = ek_size_mul((size_t)p->epoch - 1, EK_EPOCH_NUMBERS);
    *numbers = ek_calloc(count + 1, sizeof **numbers); /* none at first */
    if (!*numbers)
        return EK_ERR_MEMORY;
    if (count)
        memcpy(*numbers, p->history, count * sizeof **numbers);
    return EK_OK;
}

/* ---- Writing -------------------------------------------------------------------------------------------------- */

static ek_status check_part(const part *p, const char *path)
{
    for (int64_t i = 0; p->floats && i < p->tensor->count; i++) {
        const char *const fault = ek_value_fault(p->role, p->floats[i]);
        if (fault)
            return ek_fail(EK_ERR_NUMERIC, "%s: not written: element %" PRId64 " of %s %s", path, i, p->name, fault);
    }
    return EK_OK;
}

static ek_status write_items(const ek_checkpoint_state *s, const ek_config *config, const ek_progress *progress,
                             const parts *p, ek_safetensors_item *items, const int64_t *history, const char *path)
{
    const int64_t finished = progress->epoch - 1, rows[2] = {finished, EK_EPOCH_NUMBERS}, row = POSITION_NUMBERS;
    int64_t position[POSITION_NUMBERS];
    put_position(progress, position);
    ek_safetensors_pair pairs[EK_CONFIG_MAX + 3] = {{format_key, "1"}};
    size_t pair_count = 1, count = 0;
    char epoch[TEXT_SIZE], step[TEXT_SIZE];
    snprintf(epoch, sizeof epoch, "%d", progress->epoch);
    snprintf(step, sizeof step, "%" PRId64 " of %" PRId64, progress->done, s->steps);
    pairs[pair_count++] = (ek_safetensors_pair){EK_CHECKPOINT_NOTE "epoch", epoch}; /* for people: these two */
    pairs[pair_count++] = (ek_safetensors_pair){EK_CHECKPOINT_NOTE "step", step};
    for (int i = 0; i < config->count; i++)
        pairs[pair_count++] = (ek_safetensors_pair){config->keys[i], config->values[i]};
    items[count++] = (ek_safetensors_item){position_name, 1, &row, row, NULL, position};
    items[count++] = (ek_safetensors_item){history_name, 2, rows, finished * EK_EPOCH_NUMBERS, NULL, history};
    for (size_t i = 0; i < p->count; i++) {
        const part *const from = &p->list[i];
        EK_TRY(check_part(from, path));
        items[count++] = (ek_safetensors_item){from->name,          from->tensor->ndim, from->tensor->dim,
                                               from->tensor->count, from->floats,       from->integers};
    }
    return ek_model_write(
        s->net,
        &(ek_model_extras){.metadata = pairs, .metadata_count = pair_count, .items = items, .item_count = count},
        path);
}

ek_status ek_checkpoint_write(const ek_checkpoint_state *state, const ek_config *config, const ek_progress *progress,
                              const char *path)
{
    parts p;
    int64_t *history = NULL;
    ek_safetensors_item *items = NULL;
    ek_status status = make_parts(&p, state);
    if (!status)
        status = put_history(progress, &history);
    if (!status && !(items = ek_calloc(2 + p.count, sizeof *items)))
        status = EK_ERR_MEMORY;
    if (!status)
        status = write_items(state, config, progress, &p, items, history, path);
    ek_free(items);
    ek_free(history);
    ek_free(p.list);
    return status;
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

static ek_status check_fit(const ek_safetensors_tensor *t, const char *name, const ek_tensor *like, const char *path)
{
    bool same = t && t->dtype == (like->counter ? EK_DTYPE_I64 : EK_DTYPE_F32) && t->ndim == like->ndim;
    for (int d = 0; same && d < like->ndim; d++)
        same = t->dim[d] == like->dim[d];
    return same ? EK_OK : ek_fail(EK_ERR_FORMAT, "%s: tensor '%s' is missing, or of another shape", path, name);
}

static ek_status check_values(const ek_safetensors_tensor *t, const ek_tensor *like, ek_role role, const char *path)
{
    for (int64_t i = 0; i < like->count; i++) {
        const int64_t number = like->counter ? ek_value_integer(t, i) : 0;
        const char *const fault = like->counter ? (number < 0 || number > EK_COUNTER_MAX ? "is no count" : NULL)
                                                : ek_value_fault(role, ek_value_float(t, i));
        if (fault)
            return ek_fail(EK_ERR_FORMAT, "%s: element %" PRId64 " of tensor '%.100s' %s", path, i, t->name, fault);
    }
    return EK_OK;
}

static ek_status check_array(const ek_safetensors *file, const char *name, const ek_tensor *like, ek_role role,
                             const char *path)
{
    const ek_safetensors_tensor *const t = ek_safetensors_find(file, name);
    EK_TRY(check_fit(t, name, like, path));
    return check_values(t, like, role, path);
}

static void take_array(const ek_safetensors *file, const char *name, int64_t count, float *floats, int64_t *integers)
{
    const ek_safetensors_tensor *const t = ek_safetensors_find(file, name);
    for (int64_t i = 0; i < count; i++) {
        if (integers)
            integers[i] = ek_value_integer(t, i);
        else
            floats[i] = ek_value_float(t, i);
    }
}

static bool is_share(double x)
{
    return x >= 0 && x <= 1;
}

static bool is_record(const ek_epoch_record *r, int64_t steps)
{
    const bool counts = r->skipped >= 0 && r->skipped < (double)steps && r->skipped == floor(r->skipped);
    return isfinite(r->loss) && is_share(r->accuracy) && isfinite(r->val_loss) && is_share(r->val_accuracy) &&
           isfinite(r->moving_loss) && is_share(r->moving_accuracy) && isfinite(r->lr) && r->seconds >= 0 &&
           r->val_seconds >= 0 && isfinite(r->seconds) && isfinite(r->val_seconds) && counts;
}

static ek_status read_history(const ek_safetensors_tensor *t, int64_t steps, ek_progress *p, const char *path)
{
    const size_t finished = (size_t)t->dim[0];
    p->epoch = 1;
    for (size_t i = 0; i < finished; i++) {
        double numbers[EK_EPOCH_NUMBERS] = {0};
        ek_epoch_record record;
        for (int k = 0; k < EK_EPOCH_NUMBERS; k++)
            numbers[k] = real_of(ek_value_integer(t, (int64_t)i * EK_EPOCH_NUMBERS + k));
        memcpy(&record, numbers, sizeof record);
        if (!is_record(&record, steps))
            return ek_fail(EK_ERR_FORMAT, "%s: what it says of epoch %zu cannot be", path, i + 1);
        EK_TRY(ek_progress_finish_epoch(p, &record));
        p->updates += steps - (int64_t)record.skipped;
    }
    return EK_OK;
}

/* The progress, which must be one of a training like this one's. */
static ek_status read_progress(const ek_safetensors *file, const ek_checkpoint_state *s, ek_progress *p,
                               const char *path)
{
    const ek_safetensors_tensor *const position = ek_safetensors_find(file, position_name), *const history =
                                                                                                ek_safetensors_find(
                                                                                                    file,
                                                                                                    history_name);
    if (!position || position->dtype != EK_DTYPE_I64 || position->ndim != 1 || position->dim[0] != POSITION_NUMBERS ||
        !history || history->dtype != EK_DTYPE_I64 || history->ndim != 2 || history->dim[0] > s->epochs ||
        history->dim[1] != EK_EPOCH_NUMBERS)
        return ek_fail(EK_ERR_FORMAT, "%s: does not say how far the training had come", path);
    EK_TRY(read_history(history, s->steps, p, path));
    const int64_t finished = history->dim[0], done = ek_value_integer(position, 1);
    p->done = done;
    p->total = ek_value_integer(position, 2);
    p->loss = real_of(ek_value_integer(position, 3));
    p->correct = ek_value_integer(position, 4);
    p->count = ek_value_integer(position, 5);
    p->seconds = real_of(ek_value_integer(position, 6));
    const int64_t updates = ek_value_integer(position, 7) - p->updates; /* of the epoch at hand */
    const int64_t skipped = ek_value_integer(position, 8);
    const bool counts = updates >= 0 && updates <= done && (updates > 0 || done < s->steps) && skipped >= 0 &&
                        skipped <= INT32_MAX && skipped <= finished * s->steps - p->updates + done - updates;
    if (ek_value_integer(position, 0) != finished + 1 || done < 0 || done > s->steps ||
        (finished == s->epochs && done) || p->total != finished * s->steps + done || !isfinite(p->loss) ||
        p->correct < 0 || p->correct > p->count || !counts || (p->count > 0) != (updates > 0) ||
        !(isfinite(p->seconds) && p->seconds >= 0))
        return ek_fail(EK_ERR_FORMAT, "%s: how far it says the training had come cannot be", path);
    p->updates += updates;
    p->omitted = done - updates;
    p->skipped = (int)skipped;
    return EK_OK;
}

static ek_status take_state(const ek_safetensors *file, const ek_checkpoint_state *s, const parts *p,
                            const char *path)
{
    const size_t others = 3; /* position, history, checksums */
    if (file->tensor_count != (size_t)s->net->tensor_count + p->count + others)
        return ek_fail(EK_ERR_FORMAT, "%s: %zu tensors where this training has %zu", path, file->tensor_count,
                       (size_t)s->net->tensor_count + p->count + others);
    for (int i = 0; i < s->net->tensor_count; i++) {
        const ek_tensor *const t = &s->net->tensors[i];
        EK_TRY(check_array(file, t->name, t, t->role, path));
    }
    for (size_t i = 0; i < p->count; i++)
        EK_TRY(check_array(file, p->list[i].name, p->list[i].tensor, p->list[i].role, path));
    for (int i = 0; i < s->net->tensor_count; i++) {
        const ek_tensor *const t = &s->net->tensors[i];
        take_array(file, t->name, t->count, t->data, t->counter);
    }
    for (size_t i = 0; i < p->count; i++)
        take_array(file, p->list[i].name, p->list[i].tensor->count, p->list[i].floats, p->list[i].integers);
    return EK_OK;
}

static ek_status take_file(const ek_safetensors *file, const ek_checkpoint_state *s, const ek_config *config,
                           const parts *p, ek_progress *progress, const char *path)
{
    const char *const format = ek_safetensors_metadata(file, format_key);
    if (!format || strcmp(format, "1") != 0)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: a checkpoint of a format that this version does not read", path);
    EK_TRY(ek_config_compare(config, file, path));
    EK_TRY(read_progress(file, s, progress, path));
    return take_state(file, s, p, path);
}

ek_status ek_checkpoint_read(const ek_checkpoint_state *state, const ek_config *config, ek_progress *progress,
                             const char *path)
{
    parts p;
    ek_safetensors *file = NULL;
    ek_progress read = {.epoch = 1};
    /* No more memory than a checkpoint of a few such nets would take, so that a hostile file cannot ask for all. */
    const size_t limit = ek_size_add((size_t)1 << 30, ek_size_mul(state->net->value_count, 8 * sizeof(float)));
    ek_status status = make_parts(&p, state);
    if (!status)
        status = ek_safetensors_read_checked(&file, path, limit, EK_CHECKPOINT_CHECKSUMS);
    if (!status)
        status = take_file(file, state, config, &p, &read, path);
    if (status) {
        ek_progress_free(&read);
    } else {
        ek_progress_free(progress);
        *progress = read;
    }
    ek_safetensors_free(file);
    ek_free(p.list);
    return status;
}
