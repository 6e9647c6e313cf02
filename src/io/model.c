/* SPDX-License-Identifier: MIT
 * Model files: a net's text, notes and tensors as one safetensors file. docs/format.md describes it. */
#include "io/model.h"
#include "io/values.h"

#include "base/memory.h"
#include "net/net.h"

#include <math.h>
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

ek_status ek_check_tensor(const ek_tensor *tensor)
{
    for (int64_t i = 0; tensor->data && i < tensor->count; i++) {
        const char *fault = ek_value_fault(tensor->role, tensor->data[i]);
        if (fault)
            return ek_fail(EK_ERR_NUMERIC, "element %jd of %s %s (%g)", (intmax_t)i, tensor->name, fault,
                           (double)tensor->data[i]);
    }
    return EK_OK;
}

ek_status ek_check_values(const ek_net *net)
{
    for (int i = 0; i < net->tensor_count; i++)
        EK_TRY(ek_check_tensor(&net->tensors[i]));
    return EK_OK;
}

/* A model file that could not be used is not written. */
static ek_status check_values(const ek_tensor *tensor, const char *path)
{
    if (tensor->counter && (*tensor->counter < 0 || *tensor->counter > EK_COUNTER_MAX))
        return ek_fail(EK_ERR_NUMERIC, "%s: not saved: %s is %jd, no number of batches", path, tensor->name,
                       (intmax_t)*tensor->counter);
    const ek_status status = ek_check_tensor(tensor);
    return status ? ek_fail(status, "%s: not saved: %s", path, ek_error()) : EK_OK;
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
    EK_TRY(ek_weights_take(*net, file, path, NULL));
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
