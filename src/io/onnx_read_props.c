/* SPDX-License-Identifier: MIT
 * What a file says of itself, in its properties: the net's text, notes and counters of batches, under the keys that
 * model files have for them (docs/onnx.md). A graph does not say how a batch norm is trained, or where dropout stands.
 * The text is taken where its net, without what a graph leaves out, is layer by layer the one that the graph became;
 * else the graph alone counts, and the report tells why. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "io/model.h"
#include "net/kind.h"
#include "net/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char net_key[] = "evenkeel.net", note_prefix[] = "evenkeel.note.",
                  counter_prefix[] = "evenkeel.counter.", tensor_prefix[] = "evenkeel.tensor.";

enum { NOTES_MAX = 1000 };

static int compare_keys(const void *a, const void *b)
{
    return strcmp((*(EkOnnx__StringStringEntryProto *const *)a)->key,
                  (*(EkOnnx__StringStringEntryProto *const *)b)->key);
}

/* The properties that have a key and a value, by key. */
static ek_status sort_properties(onnx_reader *r)
{
    r->props = ek_calloc(r->model->n_metadata_props, sizeof *r->props);
    if (!r->props)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < r->model->n_metadata_props; i++)
        if (r->model->metadata_props[i]->key && r->model->metadata_props[i]->value)
            r->props[r->prop_count++] = r->model->metadata_props[i];
    qsort(r->props, r->prop_count, sizeof *r->props, compare_keys);
    return EK_OK;
}

static const char *property(const onnx_reader *r, const char *key)
{
    EkOnnx__StringStringEntryProto wanted = {.key = (char *)(uintptr_t)key}, *pointer = &wanted;
    EkOnnx__StringStringEntryProto *const *found =
        r->prop_count ? bsearch(&pointer, r->props, r->prop_count, sizeof *r->props, compare_keys) : NULL;
    return found ? (*found)->value : NULL;
}

/* ---- A net as it stands in a graph ---------------------------------------------------------------------------- */

/* The layers in order, and where blocks begin, go to their next part and end. */
typedef enum token_kind { TOKEN_LAYER, TOKEN_BEGIN, TOKEN_PART, TOKEN_END } token_kind;

typedef struct token {
    token_kind what;
    int layer;
} token;

typedef struct tokens {
    const ek_net *net;
    token *list;
    int count, next; /* next: layer */
} tokens;

/* Dropout predicts nothing, and features are flat already. */
static bool is_silent(const ek_layer *layer)
{
    return layer->kind == EK_LAYER_DROPOUT || (layer->kind == EK_LAYER_FLATTEN && layer->in.flat);
}

static void add(tokens *t, token_kind what, int layer)
{
    t->list[t->count++] = (token){what, layer};
}

/* Up to layer `end`, in part `part`; blocks are at most EK_DEPTH_MAX deep. */
static void add_part(tokens *t, int end, int part)
{
    while (t->next < end && (part < 0 || t->net->layers[t->next].part == part)) {
        const int index = t->next++;
        const ek_layer *layer = &t->net->layers[index];
        if (!ek_is_block(layer->kind)) {
            if (!is_silent(layer))
                add(t, TOKEN_LAYER, index);
            continue;
        }
        const bool alone = layer->kind == EK_LAYER_CONCAT && layer->parts == 1; /* its only branch is all of it */
        const int parts = layer->kind == EK_LAYER_RESIDUAL ? 2 : layer->parts;
        if (!alone)
            add(t, TOKEN_BEGIN, index);
        for (int p = 0; p < parts; p++) {
            /* Of a residual's two parts the one that stands in the graph is its body, wherever it was written. */
            const bool swapped = p == 1 && layer->kind == EK_LAYER_RESIDUAL && t->list[t->count - 1].layer == index &&
                                 t->list[t->count - 1].what == TOKEN_BEGIN;
            if (p > 0 && !swapped)
                add(t, TOKEN_PART, index);
            add_part(t, layer->end, p);
            if (swapped)
                add(t, TOKEN_PART, index);
        }
        if (!alone)
            add(t, TOKEN_END, index);
    }
}

static ek_status list_tokens(tokens *t, const ek_net *net)
{
    /* Of a block begin and end and what is between its parts: those of all blocks are counted in part_count. */
    *t = (tokens){.net = net};
    t->list = ek_calloc(4 * (size_t)net->layer_count + (size_t)net->part_count + 1, sizeof *t->list);
    if (!t->list)
        return EK_ERR_MEMORY;
    add_part(t, net->layer_count, -1);
    return EK_OK;
}

/* ---- Equal but for what a graph does not say ------------------------------------------------------------------ */

/* Whether an option shows in prediction: those of batch norms that do not, those whose tensors are ones and zeros in a
 * graph, and the padding's share of an average that has none. */
static bool shows(const ek_layer *layer, const ek_option *option)
{
    const char *name = option->name;
    if (layer->kind == EK_LAYER_BATCHNORM)
        return !strcmp(name, "eps") && layer->o.batchnorm.normalize != EK_NORMALIZE_MEAN;
    if (layer->kind == EK_LAYER_LAYERNORM)
        return !strcmp(name, "eps");
    if (layer->kind == EK_LAYER_AVGPOOL2D && !layer->o.pool.padding[0] && !layer->o.pool.padding[1])
        return strcmp(name, "count_include_pad") != 0;
    return true;
}

static bool same_layer(const ek_layer *a, const ek_layer *b)
{
    const ek_kind *kind = &ek_kinds[a->kind];
    const ek_dims x = a->out, y = b->out;
    if (a->kind != b->kind || x.c != y.c || x.h != y.h || x.w != y.w || x.flat != y.flat)
        return false;
    for (int i = 0; i < kind->option_count; i++)
        for (int part = 0; part < ek_option_parts(&kind->options[i]) && shows(a, &kind->options[i]); part++)
            if (ek_option_get(&kind->options[i], a, part) != ek_option_get(&kind->options[i], b, part))
                return false;
    return true;
}

/* A shortcut that is cut and padded, but not by nothing. */
static int padded_by(const ek_layer *block)
{
    const ek_dims in = block->in, out = block->out;
    if (block->kind != EK_LAYER_RESIDUAL || !block->o.residual.pad)
        return 0;
    return block->o.residual.stride == 1 && in.c == out.c ? 0 : block->o.residual.stride;
}

static bool same_token(const tokens *a, const tokens *b, int i)
{
    const ek_layer *x = &a->net->layers[a->list[i].layer], *y = &b->net->layers[b->list[i].layer];
    if (a->list[i].what != b->list[i].what)
        return false;
    if (a->list[i].what == TOKEN_LAYER)
        return same_layer(x, y);
    return x->kind == y->kind && x->parts * (x->kind == EK_LAYER_CONCAT) == y->parts * (y->kind == EK_LAYER_CONCAT) &&
           padded_by(x) == padded_by(y);
}

/* Where the two differ, in words. */
static ek_status differ(const tokens *said, const tokens *found, int i)
{
    char a[EK_LABEL_SIZE] = "no more layers", b[EK_LABEL_SIZE] = "no more";
    if (i < said->count)
        ek_layer_label(said->net, said->list[i].layer, a);
    if (i < found->count)
        ek_layer_label(found->net, found->list[i].layer, b);
    return ek_fail(EK_ERR_FORMAT, "the text has %s where the graph has %s", a, b);
}

static bool same_number(float a, float b)
{
    return fabsf(a - b) <= 1e-6f * (fabsf(a) + fabsf(b));
}

static ek_status compare_normalization(const ek_net *said, const ek_net *found)
{
    bool has[2];
    const int channels = said->input.c;
    float *values = ek_calloc(4 * (size_t)channels, sizeof *values);
    if (!values)
        return EK_ERR_MEMORY;
    ek_status status = ek_net_normalization(said, &has[0], values, values + channels);
    if (!status)
        status = ek_net_normalization(found, &has[1], values + 2 * channels, values + 3 * channels);
    for (int i = 0; !status && i < 2 * channels; i++)
        if (has[0] != has[1] || !same_number(values[i], values[2 * channels + i]))
            status = ek_fail(EK_ERR_FORMAT, "the input's normalisation is not the graph's");
    ek_free(values);
    return status;
}

/* ---- Tensors that the net said to be there has not ------------------------------------------------------------ */

static bool is_constant(const onnx_op *op, int which, double value)
{
    const ek_onnx_array *array = op->tensors[which];
    if (op->kind == ONNX_ARITH)
        return false;
    for (int64_t i = 0; array && i < array->count; i++)
        if (ek_onnx_number(array, i) != value)
            return false;
    return true;
}

/* A normalisation without gamma has ones in the graph, one without beta zeros; one that leaves the mean in, or does not
 * divide, has those of statistics. */
static ek_status check_fixed(const onnx_op *op, const ek_layer *layer)
{
    bool gamma = true, beta = true;
    if (layer->kind == EK_LAYER_BATCHNORM) {
        gamma = layer->o.batchnorm.affine && layer->o.batchnorm.scale;
        beta = layer->o.batchnorm.affine && layer->o.batchnorm.center;
        if (!layer->o.batchnorm.tracking)
            return ek_fail(EK_ERR_FORMAT, "layer %s tracks no statistics, and the graph has some", layer->path);
        const ek_normalize how = layer->o.batchnorm.normalize;
        if ((how == EK_NORMALIZE_DEVIATION && !is_constant(op, 2, 0)) ||
            (how == EK_NORMALIZE_MEAN && (!is_constant(op, 3, 1) || op->layer.o.batchnorm.eps != 0)))
            return ek_fail(EK_ERR_FORMAT, "layer %s normalises otherwise than the graph", layer->path);
    }
    if (layer->kind == EK_LAYER_LAYERNORM)
        gamma = beta = layer->o.layernorm.affine;
    if ((gamma || is_constant(op, 0, 1)) && (beta || is_constant(op, 1, 0)))
        return EK_OK;
    return ek_fail(EK_ERR_FORMAT, "layer %s has no gamma or no beta, and the graph has other ones", layer->path);
}

/* map[layer of the graph's net] becomes the layer of the text's, -1 where there is none. */
static ek_status map_layers(const onnx_reader *r, const tokens *said, const tokens *found, int *map)
{
    const int fewer = said->count < found->count ? said->count : found->count;
    for (int i = 0; i < found->net->layer_count; i++)
        map[i] = -1;
    for (int i = 0; i < fewer; i++) {
        if (!same_token(said, found, i))
            return differ(said, found, i);
        map[found->list[i].layer] = said->list[i].layer;
    }
    if (said->count != found->count)
        return differ(said, found, fewer);
    for (int i = 0; i < r->op_count; i++) {
        const int layer = r->ops[i].net_layer;
        if (layer >= 0 && map[layer] >= 0)
            EK_TRY(check_fixed(&r->ops[i], &said->net->layers[map[layer]]));
    }
    return EK_OK;
}

static ek_status compare(onnx_reader *r, const ek_net *said, int *map)
{
    tokens a = {0}, b = {0};
    const ek_dims in = said->input, graph_in = r->net->input;
    if (in.c != graph_in.c || in.h != graph_in.h || in.w != graph_in.w)
        return ek_fail(EK_ERR_FORMAT, "its input is not the graph's");
    ek_status status = list_tokens(&a, said);
    if (!status)
        status = list_tokens(&b, r->net);
    if (!status)
        status = map_layers(r, &a, &b, map);
    ek_free(a.list);
    ek_free(b.list);
    return status ? status : compare_normalization(said, r->net);
}

/* ---- Taking it ------------------------------------------------------------------------------------------------ */

static ek_status take_notes(const onnx_reader *r, ek_net *said)
{
    const size_t prefix = sizeof note_prefix - 1;
    int notes = 0;
    for (size_t i = 0; i < r->model->n_metadata_props; i++) {
        const EkOnnx__StringStringEntryProto *entry = r->model->metadata_props[i];
        if (!entry->key || !entry->value || strncmp(entry->key, note_prefix, prefix) != 0)
            continue;
        if (++notes > NOTES_MAX)
            return ek_fail(EK_ERR_FORMAT, "it has more than %d notes", NOTES_MAX);
        EK_TRY(ek_net_set_note(said, entry->key + prefix, entry->value));
    }
    return EK_OK;
}

static ek_status take(onnx_reader *r, const char *text)
{
    ek_net *said = NULL;
    EK_TRY(ek_net_read(&said, text, net_key));
    int *map = ek_calloc((size_t)r->net->layer_count, sizeof *map);
    ek_status status = map ? take_notes(r, said) : EK_ERR_MEMORY;
    if (!status)
        status = compare(r, said, map);
    if (!status) {
        for (int i = 0; i < r->op_count; i++)
            if (r->ops[i].net_layer >= 0)
                r->ops[i].net_layer = map[r->ops[i].net_layer];
        ek_net *graphs = r->net;
        r->net = said;
        said = graphs;
    }
    ek_net_free(said);
    ek_free(map);
    return status;
}

ek_status ek_onnx_take_props(onnx_reader *r)
{
    EK_TRY(sort_properties(r));
    const char *text = property(r, net_key);
    if (!text)
        return EK_OK;
    const ek_status status = take(r, text);
    r->props_taken = status == EK_OK;
    if (status == EK_OK || status == EK_ERR_MEMORY)
        return status;
    char reason[300];
    snprintf(reason, sizeof reason, "%s", ek_error());
    return ek_onnx_tell(r, "left out: what the file says of its net, for its graph says otherwise: %s", reason);
}

/* ---- Numbers that no node reads ------------------------------------------------------------------------------- */

static ek_status take_counter(const onnx_reader *r, const ek_tensor *tensor, const char *key, const char *value)
{
    const size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 16 || value[digits] || strtoll(value, NULL, 10) > EK_COUNTER_MAX)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its property %s is '%.40s', no number of batches", key, value);
    *tensor->counter = strtoll(value, NULL, 10);
    return EK_OK;
}

/* Decimals with blanks between. */
static ek_status take_numbers(const onnx_reader *r, const ek_tensor *tensor, const char *key, const char *value)
{
    int64_t count = 0;
    for (const char *rest = value; *(rest += strspn(rest, " "));) {
        const size_t length = strcspn(rest, " ");
        float number;
        if (count == tensor->count || !ek_float_read(rest, length, &number) || ek_value_fault(tensor->role, number))
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its property %s has '%.*s', or more numbers than %jd", key,
                                length < 40 ? (int)length : 40, rest, (intmax_t)tensor->count);
        tensor->data[count++] = number;
        rest += length;
    }
    if (count != tensor->count)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its property %s has %jd numbers, and the tensor %jd", key,
                            (intmax_t)count, (intmax_t)tensor->count);
    return EK_OK;
}

/* Statistics that a norm keeps, and does not normalise by. */
static bool is_unread(const ek_net *net, const ek_tensor *tensor)
{
    const ek_layer *layer = &net->layers[tensor->layer];
    return layer->kind == EK_LAYER_BATCHNORM &&
           ((layer->o.batchnorm.normalize == EK_NORMALIZE_MEAN && tensor->role == EK_ROLE_MOVING_VAR) ||
            (layer->o.batchnorm.normalize == EK_NORMALIZE_DEVIATION && tensor->role == EK_ROLE_MOVING_MEAN));
}

ek_status ek_onnx_take_numbers(onnx_reader *r)
{
    char key[EK_PATH_SIZE + 64];
    for (int i = 0; r->props_taken && i < r->net->tensor_count; i++) {
        const ek_tensor *tensor = &r->net->tensors[i];
        if (!tensor->counter && !is_unread(r->net, tensor))
            continue;
        snprintf(key, sizeof key, "%s%s", tensor->counter ? counter_prefix : tensor_prefix, tensor->name);
        const char *value = property(r, key);
        if (value)
            EK_TRY(tensor->counter ? take_counter(r, tensor, key, value) : take_numbers(r, tensor, key, value));
    }
    return EK_OK;
}

#endif
