/* SPDX-License-Identifier: MIT
 * Tensors of a safetensors file for a net: which of them are the net's, and whether all of them fit. */
#include "io/model.h"
#include "io/rename.h"
#include "io/values.h"

#include "base/memory.h"
#include "base/text.h"
#include "net/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- What does not fit --------------------------------------------------------------------------------------- */

/* Names of one kind of misfit, as many as a message can bear. */
typedef struct misfits {
    char text[260];
    int count, shown;
} misfits;

/* A file's tensors beside a net's. */
typedef struct matching {
    ek_net *net;
    const ek_safetensors *file;
    const char *path;
    const ek_safetensors_tensor **sources; /* of each row of the net's table; NULL: it keeps what it has, or 0 */
    bool *left;                            /* rows that keep what they have */
    bool *used;                            /* of the file's tensors: taken, or passed over */
    misfits missing, misshapen, extra;
    ek_text list; /* all misfits, a line each */
} matching;

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

static void add_missing(matching *m, const ek_tensor *tensor)
{
    char shape[96];
    add_misfit(&m->missing, "%.40s", tensor->name);
    ek_text_sayf(&m->list, "missing    %s %s\n", tensor->name, shape_text(tensor->ndim, tensor->dim, shape));
}

/* Where renaming gave it its name, the list has the file's, too. */
static void add_extra(matching *m, size_t t)
{
    char shape[96];
    const ek_safetensors_tensor *tensor = &m->file->tensors[t];
    const char *was = m->file->was && strcmp(m->file->was[t], tensor->name) ? m->file->was[t] : NULL;
    add_misfit(&m->extra, "%.40s", tensor->name);
    ek_text_sayf(&m->list, "left over  %s %s%s%s\n", tensor->name, shape_text(tensor->ndim, tensor->dim, shape),
                 was ? ", in the file " : "", was ? was : "");
}

/* Whether the file's tensor can be taken as the net's; else it joins the misfits. */
static void check_fit(matching *m, const ek_tensor *tensor, const ek_safetensors_tensor *source)
{
    char has[96], wants[96];
    bool counter = tensor->counter != NULL;
    bool same = tensor->ndim == source->ndim;
    for (int d = 0; same && d < tensor->ndim; d++)
        same = tensor->dim[d] == source->dim[d];
    if (counter && source->ndim == 1 && source->dim[0] == 1)
        same = true; /* some exporters have no scalars */
    if (!same) {
        shape_text(source->ndim, source->dim, has);
        shape_text(tensor->ndim, tensor->dim, wants);
        add_misfit(&m->misshapen, "%.40s is %s where the net has %s", tensor->name, has, wants);
        ek_text_sayf(&m->list, "misshapen  %s %s where the net has %s\n", tensor->name, has, wants);
    } else if (!(counter ? ek_dtype_is_integer(source->dtype) : ek_dtype_is_float(source->dtype))) {
        const char *type = ek_dtype_name(source->dtype), *kind = counter ? "integer" : "floating-point numbers";
        add_misfit(&m->misshapen, "%.40s holds %s, no %s", tensor->name, type, kind);
        ek_text_sayf(&m->list, "misshapen  %s holds %s, no %s\n", tensor->name, type, kind);
    }
}

/* ---- Which is which ------------------------------------------------------------------------------------------ */

static bool ends_in_name(const char *name, const char *end)
{
    const size_t length = strlen(name), part = strlen(end);
    return length > part && name[length - part - 1] == '.' && strcmp(name + length - part, end) == 0;
}

/* Whether these tensors are all there behind this prefix. A name of the file is found behind one prefix for each of its
 * points at most, so that all prefixes together cost no more lookups than the file has points. */
static bool all_behind(const matching *m, const ek_tensor *const *missing, size_t count, const char *prefix,
                       size_t size)
{
    char name[512];
    for (size_t i = 0; i < count; i++) {
        const int length = snprintf(name, sizeof name, "%.*s%s", (int)size, prefix, missing[i]->name);
        if (length < 0 || (size_t)length >= sizeof name || !ek_safetensors_find(m->file, name))
            return false;
    }
    return true;
}

/* The prefix, with its point, that keeps the missing tensors from being found, as DataParallel's "module."; its length,
 * 0 for none. */
static ek_status find_prefix(const matching *m, const char **prefix, size_t *size)
{
    size_t count = 0;
    const ek_tensor **missing = ek_calloc((size_t)ek_net_tensor_count(m->net), sizeof *missing);
    if (!missing)
        return EK_ERR_MEMORY;
    for (int i = 0; i < ek_net_tensor_count(m->net); i++)
        if (!m->sources[i] && !m->left[i] && !ek_net_tensor(m->net, i)->counter)
            missing[count++] = ek_net_tensor(m->net, i);
    *size = 0;
    for (size_t t = 0; count && !*size && t < m->file->tensor_count; t++) {
        const char *name = m->file->tensors[t].name;
        if (!ends_in_name(name, missing[0]->name) || strlen(name) > 200)
            continue;
        const size_t length = strlen(name) - strlen(missing[0]->name);
        *prefix = name;
        if (all_behind(m, missing, count, name, length))
            *size = length;
    }
    ek_free(missing);
    return EK_OK;
}

static ek_status report(matching *m, const ek_weights_options *options)
{
    char texts[3][320], hint[300] = "";
    const char *prefix = "";
    size_t size;
    EK_TRY(find_prefix(m, &prefix, &size));
    describe_misfits(&m->missing, "missing", texts[0], sizeof texts[0]);
    describe_misfits(&m->misshapen, "misshapen", texts[1], sizeof texts[1]);
    describe_misfits(&m->extra, "not in the net", texts[2], sizeof texts[2]);
    if (size)
        snprintf(hint, sizeof hint, " (with the rule '%.*s=' it has the missing ones)", (int)size, prefix);
    if (options && options->misfits && !(*options->misfits = ek_text_end(&m->list)))
        return EK_ERR_MEMORY;
    return ek_fail(EK_ERR_SHAPE, "%s: its tensors do not fit the net%s%s%s%s", m->path, hint, texts[0], texts[1],
                   texts[2]);
}

/* Marks what a pattern leaves aside, on both sides. */
static ek_status leave(matching *m, const char *pattern)
{
    bool any = false, fits;
    for (int i = 0; i < ek_net_tensor_count(m->net); i++) {
        EK_TRY(ek_name_fits(&fits, pattern, ek_net_tensor(m->net, i)->name));
        m->left[i] = m->left[i] || fits;
        any = any || fits;
    }
    for (size_t t = 0; t < m->file->tensor_count; t++) {
        EK_TRY(ek_name_fits(&fits, pattern, m->file->tensors[t].name));
        m->used[t] = m->used[t] || fits;
        any = any || fits;
    }
    return any ? EK_OK
               : ek_fail(EK_ERR_ARGUMENT, "%s: neither it nor the net has a tensor '%.200s' to leave", m->path,
                         pattern);
}

/* Looks every tensor of the net up in the file and every one of the file in the net. */
static ek_status match_tensors(matching *m, const ek_weights_options *options)
{
    for (int i = 0; options && i < options->leave_count; i++)
        EK_TRY(leave(m, options->leave[i]));
    for (int i = 0; i < ek_net_tensor_count(m->net); i++) {
        const ek_tensor *tensor = ek_net_tensor(m->net, i);
        m->sources[i] = m->left[i] ? NULL : ek_safetensors_find(m->file, tensor->name);
        if (m->sources[i])
            m->used[m->sources[i] - m->file->tensors] = true;
        if (m->sources[i])
            check_fit(m, tensor, m->sources[i]);
        else if (!tensor->counter && !m->left[i])
            add_missing(m, tensor);
    }
    const bool checkpoint = ek_safetensors_find(m->file, EK_CHECKPOINT_CHECKSUMS) != NULL;
    for (size_t t = 0; t < m->file->tensor_count; t++)
        if (!m->used[t] && !(checkpoint && strncmp(m->file->tensors[t].name, EK_CHECKPOINT_PREFIX,
                                                   sizeof EK_CHECKPOINT_PREFIX - 1) == 0))
            add_extra(m, t);
    return m->missing.count || m->misshapen.count || m->extra.count ? report(m, options) : EK_OK;
}

/* ---- Taking the values --------------------------------------------------------------------------------------- */

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
static ek_status take_tensors(matching *m, const ek_weights_options *options)
{
    int count = ek_net_tensor_count(m->net);
    EK_TRY(match_tensors(m, options));
    for (int i = 0; i < count; i++)
        if (m->sources[i])
            EK_TRY(check_source(ek_net_tensor(m->net, i), m->sources[i], m->path));
    for (int i = 0; i < count; i++)
        if (!m->left[i])
            copy_source(ek_net_tensor(m->net, i), m->sources[i]);
    return EK_OK;
}

ek_status ek_weights_take(ek_net *net, const ek_safetensors *file, const char *path,
                          const ek_weights_options *options)
{
    const size_t rows = (size_t)ek_net_tensor_count(net);
    matching m = {.net = net,
                  .file = file,
                  .path = path,
                  .sources = ek_calloc(rows, sizeof *m.sources),
                  .left = ek_calloc(rows, sizeof *m.left),
                  .used = ek_calloc(file->tensor_count, sizeof *m.used)};
    ek_status status = m.sources && m.left && m.used ? take_tensors(&m, options) : EK_ERR_MEMORY;
    ek_free(m.sources);
    ek_free(m.left);
    ek_free(m.used);
    ek_free(m.list.text);
    return status;
}

static ek_status check_options(const ek_weights_options *o)
{
    if (o->rename_count < 0 || o->leave_count < 0 || (o->rename_count && !o->renames) ||
        (o->leave_count && !o->leave))
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_load_weights_with: lists of rules without rules");
    return EK_OK;
}

ek_status ek_net_load_weights_with(ek_net *net, const char *path, const ek_weights_options *options)
{
    ek_safetensors *file;
    if (options && options->misfits)
        *options->misfits = NULL;
    EK_TRY(ek_net_finish(net));
    if (options)
        EK_TRY(check_options(options));
    EK_TRY(ek_safetensors_read(&file, path));
    ek_status status = options ? ek_safetensors_rename(file, path, options->renames, options->rename_count) : EK_OK;
    if (!status)
        status = ek_weights_take(net, file, path, options);
    ek_safetensors_free(file);
    return status;
}

ek_status ek_net_load_weights(ek_net *net, const char *path)
{
    return ek_net_load_weights_with(net, path, NULL);
}
