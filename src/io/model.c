/* SPDX-License-Identifier: MIT
 * Model files: a net's text, notes and tensors as one safetensors file. docs/format.md describes it. */
#include "io/model.h"
#include "io/values.h"

#include "base/memory.h"
#include "net/net.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char version_key[] = EK_MODEL_KEY_VERSION, net_key[] = EK_MODEL_KEY_NET,
                  note_prefix[] = EK_MODEL_KEY_NOTE, checkpoint_prefix[] = EK_CHECKPOINT_PREFIX;

enum { NOTES_MAX = 1000 }; /* in a file */

/* ---- Saving ------------------------------------------------------------------------------------------------- */

const char *ek_value_fault(ek_role role, float value)
{
    if (!isfinite(value))
        return "is not finite";
    return role == EK_ROLE_MOVING_VAR && value < 0 ? "is negative" : NULL;
}

/* A model file that could not be used is not written. */
static ek_status check_values(const ek_tensor *tensor, const char *path)
{
    if (tensor->counter && (*tensor->counter < 0 || *tensor->counter > EK_COUNTER_MAX))
        return ek_fail(EK_ERR_NUMERIC, "%s: not saved: %s is %jd, no number of batches", path, tensor->name,
                       (intmax_t)*tensor->counter);
    for (int64_t i = 0; tensor->data && i < tensor->count; i++) {
        const char *fault = ek_value_fault(tensor->role, tensor->data[i]);
        if (fault)
            return ek_fail(EK_ERR_NUMERIC, "%s: not saved: element %jd of %s %s (%g)", path, (intmax_t)i,
                           tensor->name, fault, (double)tensor->data[i]);
    }
    return EK_OK;
}

/* What ek_net_save gathers for the writer. */
typedef struct contents {
    char *text;
    char **keys; /* of the notes */
    ek_safetensors_pair *metadata;
    ek_safetensors_item *items;
    size_t metadata_count, item_count, key_count;
    int64_t *checksums; /* of a checkpoint */
    int64_t checksum_count;
} contents;

static void free_contents(contents *c)
{
    for (size_t i = 0; i < c->key_count; i++)
        ek_free(c->keys[i]);
    ek_free(c->keys);
    ek_free(c->metadata);
    ek_free(c->items);
    ek_free(c->checksums);
    free(c->text);
}

/* A net that was read from a checkpoint has the notes of that one. */
static bool is_left_out(const ek_note *note, const ek_model_extras *extras)
{
    return extras && strncmp(note->key, checkpoint_prefix, sizeof checkpoint_prefix - 1) == 0;
}

static ek_status gather_metadata(contents *c, const ek_net *net, const ek_model_extras *extras)
{
    size_t notes = (size_t)net->note_count;
    if (notes > NOTES_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "a net with %zu notes: a model file has at most %d", notes, NOTES_MAX);
    c->text = ek_net_text(net);
    c->keys = ek_calloc(notes, sizeof *c->keys);
    c->metadata = ek_calloc(3 + notes + (extras ? extras->metadata_count : 0), sizeof *c->metadata);
    if (!c->text || !c->keys || !c->metadata)
        return EK_ERR_MEMORY;
    c->metadata[c->metadata_count++] = (ek_safetensors_pair){"format", "pt"};
    c->metadata[c->metadata_count++] = (ek_safetensors_pair){version_key, "1"};
    c->metadata[c->metadata_count++] = (ek_safetensors_pair){net_key, c->text};
    for (size_t i = 0; i < notes; i++) {
        if (is_left_out(&net->notes[i], extras))
            continue;
        size_t size = sizeof note_prefix + strlen(net->notes[i].key);
        char *key = ek_calloc(size, 1);
        if (!key)
            return EK_ERR_MEMORY;
        snprintf(key, size, "%s%s", note_prefix, net->notes[i].key);
        c->keys[c->key_count++] = key;
        c->metadata[c->metadata_count++] = (ek_safetensors_pair){key, net->notes[i].value};
    }
    for (size_t i = 0; extras && i < extras->metadata_count; i++)
        c->metadata[c->metadata_count++] = extras->metadata[i];
    return EK_OK;
}

static ek_status gather_tensors(contents *c, ek_net *net, const ek_model_extras *extras, const char *path)
{
    const size_t count = (size_t)ek_net_tensor_count(net);
    c->item_count = count;
    c->items = ek_calloc(count + (extras ? extras->item_count + 1 : 0), sizeof *c->items);
    if (!c->items)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const ek_tensor *tensor = ek_net_tensor(net, (int)i);
        EK_TRY(check_values(tensor, path));
        c->items[i] = (ek_safetensors_item){tensor->name,  tensor->ndim, tensor->dim,
                                            tensor->count, tensor->data, tensor->counter};
    }
    return EK_OK;
}

/* The last item: a checksum of the header and of each item, 0 for itself. */
static ek_status gather_extras(contents *c, const ek_model_extras *extras)
{
    for (size_t i = 0; i < extras->item_count; i++)
        c->items[c->item_count++] = extras->items[i];
    c->checksum_count = (int64_t)c->item_count + 2;
    c->checksums = ek_calloc((size_t)c->checksum_count, sizeof *c->checksums);
    if (!c->checksums)
        return EK_ERR_MEMORY;
    c->items[c->item_count++] = (ek_safetensors_item){.name = EK_CHECKPOINT_CHECKSUMS,
                                                      .ndim = 1,
                                                      .dim = &c->checksum_count,
                                                      .count = c->checksum_count,
                                                      .integers = c->checksums};
    return ek_safetensors_checksums(c->metadata, c->metadata_count, c->items, c->item_count, c->checksums);
}

static ek_status write_contents(const contents *c, const char *path)
{
    ek_file_writer *writer;
    EK_TRY(ek_file_create(&writer, path));
    ek_status status = ek_safetensors_write(writer, c->metadata, c->metadata_count, c->items, c->item_count);
    if (status) {
        ek_file_abandon(writer);
        return status;
    }
    return ek_file_commit(writer);
}

ek_status ek_net_save(ek_net *net, const char *path)
{
    return ek_model_write(net, NULL, path);
}

ek_status ek_model_write(ek_net *net, const ek_model_extras *extras, const char *path)
{
    contents c = {0};
    EK_TRY(ek_net_finish(net));
    ek_status status = gather_metadata(&c, net, extras);
    if (!status)
        status = gather_tensors(&c, net, extras, path ? path : "");
    if (!status && extras)
        status = gather_extras(&c, extras);
    if (!status)
        status = write_contents(&c, path);
    free_contents(&c);
    return status;
}

/* ---- Do the file's tensors fit the net? --------------------------------------------------------------------- */

/* Names of one kind of misfit, as many as a message can bear. */
typedef struct misfits {
    char text[260];
    int count, shown;
} misfits;

__attribute__((format(printf, 2, 3))) static void add_misfit(misfits *list, const char *format, ...)
{
    size_t length = strlen(list->text);
    list->count++;
    if (list->shown == 4)
        return;
    va_list args;
    va_start(args, format);
    char text[sizeof list->text];
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size < 0 || (size_t)size + 3 > sizeof list->text - length)
        return;
    snprintf(list->text + length, sizeof list->text - length, "%s%s", list->shown ? ", " : "", text);
    list->shown++;
}

/* "; missing: 0.weight, 0.bias and 7 more", or nothing. */
static void describe_misfits(const misfits *list, const char *kind, char *text, size_t size)
{
    text[0] = '\0';
    if (list->count > list->shown)
        snprintf(text, size, "; %s: %s%s%d more", kind, list->text, list->shown ? " and " : "",
                 list->count - list->shown);
    else if (list->count)
        snprintf(text, size, "; %s: %s", kind, list->text);
}

/* "[6,1,5,5]" */
static const char *shape_text(int ndim, const int64_t *dim, char buffer[96])
{
    size_t length = (size_t)snprintf(buffer, 96, "[");
    for (int d = 0; d < ndim && length < 96; d++)
        length += (size_t)snprintf(buffer + length, 96 - length, "%s%jd", d ? "," : "", (intmax_t)dim[d]);
    if (length < 95)
        memcpy(buffer + length, "]", 2);
    return buffer;
}

/* Whether the file's tensor can be taken as the net's; else it joins the misfits. */
static void check_fit(const ek_tensor *tensor, const ek_safetensors_tensor *source, misfits *misshapen)
{
    char has[96], wants[96];
    bool counter = tensor->counter != NULL;
    bool same = tensor->ndim == source->ndim;
    for (int d = 0; same && d < tensor->ndim; d++)
        same = tensor->dim[d] == source->dim[d];
    if (counter && source->ndim == 1 && source->dim[0] == 1)
        same = true; /* some exporters have no scalars */
    if (!same)
        add_misfit(misshapen, "%.40s is %s where the net has %s", tensor->name,
                   shape_text(source->ndim, source->dim, has), shape_text(tensor->ndim, tensor->dim, wants));
    else if (!(counter ? ek_dtype_is_integer(source->dtype) : ek_dtype_is_float(source->dtype)))
        add_misfit(misshapen, "%.40s holds %s, no %s", tensor->name, ek_dtype_name(source->dtype),
                   counter ? "integer" : "floating-point numbers");
}

/* Looks every tensor of the net up in the file and every one of the file in the net: sources[i] becomes the one for
 * row i of the table, NULL for a counter that the file does not have. */
static ek_status match_tensors(ek_net *net, const ek_safetensors *file, const char *path,
                               const ek_safetensors_tensor **sources, bool *used)
{
    misfits missing = {0}, misshapen = {0}, extra = {0};
    int count = ek_net_tensor_count(net);
    for (int i = 0; i < count; i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        sources[i] = ek_safetensors_find(file, tensor->name);
        if (sources[i])
            used[sources[i] - file->tensors] = true;
        if (sources[i])
            check_fit(tensor, sources[i], &misshapen);
        else if (!tensor->counter)
            add_misfit(&missing, "%.40s", tensor->name);
    }
    const bool checkpoint = ek_safetensors_find(file, EK_CHECKPOINT_CHECKSUMS) != NULL;
    for (size_t t = 0; t < file->tensor_count; t++)
        if (!used[t] &&
            !(checkpoint && strncmp(file->tensors[t].name, checkpoint_prefix, sizeof checkpoint_prefix - 1) == 0))
            add_misfit(&extra, "%.40s", file->tensors[t].name);
    if (!missing.count && !misshapen.count && !extra.count)
        return EK_OK;

    char texts[3][320];
    describe_misfits(&missing, "missing", texts[0], sizeof texts[0]);
    describe_misfits(&misshapen, "misshapen", texts[1], sizeof texts[1]);
    describe_misfits(&extra, "not in the net", texts[2], sizeof texts[2]);
    return ek_fail(EK_ERR_SHAPE, "%s: its tensors do not fit the net%s%s%s", path, texts[0], texts[1], texts[2]);
}

/* ---- Taking the values -------------------------------------------------------------------------------------- */

static ek_status check_source(const ek_tensor *tensor, const ek_safetensors_tensor *source, const char *path)
{
    if (tensor->counter) {
        int64_t value = ek_value_integer(source, 0);
        if (value < 0 || value > EK_COUNTER_MAX)
            return ek_fail(EK_ERR_NUMERIC, "%s: %s is %jd, no number of batches", path, tensor->name,
                           (intmax_t)value);
        return EK_OK;
    }
    for (int64_t i = 0; i < tensor->count; i++) {
        float value = ek_value_float(source, i);
        const char *fault = ek_value_fault(tensor->role, value);
        if (fault)
            return ek_fail(EK_ERR_NUMERIC, "%s: element %jd of %s %s (%g)", path, (intmax_t)i, tensor->name, fault,
                           (double)value);
    }
    return EK_OK;
}

static void copy_source(const ek_tensor *tensor, const ek_safetensors_tensor *source)
{
    if (tensor->counter)
        *tensor->counter = source ? ek_value_integer(source, 0) : 0;
    for (int64_t i = 0; tensor->data && i < tensor->count; i++)
        tensor->data[i] = ek_value_float(source, i);
}

/* Checks everything, then copies everything. */
static ek_status take_tensors(ek_net *net, const ek_safetensors *file, const char *path,
                              const ek_safetensors_tensor **sources, bool *used)
{
    int count = ek_net_tensor_count(net);
    EK_TRY(match_tensors(net, file, path, sources, used));
    for (int i = 0; i < count; i++)
        if (sources[i])
            EK_TRY(check_source(ek_net_tensor(net, i), sources[i], path));
    for (int i = 0; i < count; i++)
        copy_source(ek_net_tensor(net, i), sources[i]);
    return EK_OK;
}

static ek_status take_file(ek_net *net, const ek_safetensors *file, const char *path)
{
    const ek_safetensors_tensor **sources = ek_calloc((size_t)ek_net_tensor_count(net), sizeof *sources);
    bool *used = ek_calloc(file->tensor_count, sizeof *used);
    ek_status status = sources && used ? take_tensors(net, file, path, sources, used) : EK_ERR_MEMORY;
    ek_free(sources);
    ek_free(used);
    return status;
}

ek_status ek_net_load_weights(ek_net *net, const char *path)
{
    ek_safetensors *file;
    EK_TRY(ek_net_finish(net));
    EK_TRY(ek_safetensors_read(&file, path));
    ek_status status = take_file(net, file, path);
    ek_safetensors_free(file);
    return status;
}

/* ---- Loading ------------------------------------------------------------------------------------------------ */

static ek_status check_version(const ek_safetensors *file, const char *path)
{
    const char *text = ek_safetensors_metadata(file, version_key);
    if (!text || !ek_safetensors_metadata(file, net_key))
        return ek_fail(EK_ERR_FORMAT, "%s: holds no net, only tensors: build the net, then load its weights", path);
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] || text[0] == '0')
        return ek_fail(EK_ERR_FORMAT, "%s: '%.20s' is no version of a model file", path, text);
    if (atoi(text) > EK_MODEL_VERSION)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: model file version %s; this library reads up to %d: update it", path,
                       text, EK_MODEL_VERSION);
    return EK_OK;
}

static ek_status take_notes(ek_net *net, const ek_safetensors *file, const char *path)
{
    const size_t prefix = sizeof note_prefix - 1;
    int notes = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        const ek_safetensors_pair *pair = &file->metadata[i];
        if (strncmp(pair->key, note_prefix, prefix) != 0)
            continue;
        if (++notes > NOTES_MAX)
            return ek_fail(EK_ERR_FORMAT, "%s: more than %d notes", path, NOTES_MAX);
        EK_TRY(ek_net_set_note(net, pair->key + prefix, pair->value));
    }
    return EK_OK;
}

/* A short text can describe a net of any size: none that its file does not fill gets memory. */
static ek_status check_size(const ek_net *net, const ek_safetensors *file, const char *path)
{
    int64_t has = 0, wants = ek_net_float_count(net);
    for (size_t t = 0; t < file->tensor_count && has < wants; t++)
        if (ek_dtype_is_float(file->tensors[t].dtype))
            has += file->tensors[t].count; /* no overflow: the data is in memory */
    if (has < wants)
        return ek_fail(EK_ERR_SHAPE, "%s: its net takes %jd numbers, its tensors hold %jd", path, (intmax_t)wants,
                       (intmax_t)has);
    return EK_OK;
}

static ek_status load_model(ek_net **net, const ek_safetensors *file, const char *path)
{
    EK_TRY(check_version(file, path));
    EK_TRY(ek_net_read(net, ek_safetensors_metadata(file, net_key), path));
    EK_TRY(check_size(*net, file, path));
    EK_TRY(ek_net_finish(*net));
    EK_TRY(take_file(*net, file, path));
    return take_notes(*net, file, path);
}

ek_status ek_net_load(ek_net **net, const char *path)
{
    ek_safetensors *file;
    *net = NULL;
    EK_TRY(ek_safetensors_read(&file, path));
    ek_status status = load_model(net, file, path);
    ek_safetensors_free(file);
    if (status) {
        ek_net_free(*net);
        *net = NULL;
    }
    return status;
}
