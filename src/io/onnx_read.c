/* SPDX-License-Identifier: MIT
 * ek_import_onnx: the steps of onnx_read.h, one after the other. */
#include "io/onnx_read.h"

#include "base/file.h"
#include "base/memory.h"
#include "net/net.h"

#ifdef EK_HAVE_ONNX

#include <string.h>

enum { OPSET_OLDEST = 7, OPSET_NEWEST = 24 }; /* below, sums were written otherwise */

static ek_status check_model(onnx_reader *r)
{
    const EkOnnx__ModelProto *model = r->model;
    int64_t opset = 0;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const char *domain = model->opset_import[i]->domain;
        if (!domain || !*domain || !strcmp(domain, "ai.onnx"))
            opset = model->opset_import[i]->version;
    }
    if (!model->graph)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "not an ONNX model: it has no graph");
    if (opset < OPSET_OLDEST || opset > OPSET_NEWEST)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its operators are those of opset %jd; %d to %d are read: export it "
                            "with another opset_version",
                            (intmax_t)opset, OPSET_OLDEST, OPSET_NEWEST);
    r->opset = (int)opset;
    r->graph = model->graph;
    return EK_OK;
}

static ek_status read_model(onnx_reader *r)
{
    EK_TRY(check_model(r));
    EK_TRY(ek_onnx_read_graph(r));
    EK_TRY(ek_onnx_match(r));
    EK_TRY(ek_onnx_build(r));
    if (!r->options->ignore_properties)
        EK_TRY(ek_onnx_take_props(r));
    EK_TRY(ek_onnx_fill(r));
    return ek_onnx_take_numbers(r);
}

static void free_reader(onnx_reader *r)
{
    for (size_t i = 0; i < r->array_count; i++)
        ek_onnx_array_free(&r->arrays[i]);
    for (int i = 0; i < r->op_count; i++)
        ek_free(r->ops[i].slope);
    ek_onnx_free(r->model);
    ek_net_free(r->net);
    ek_free(r->side.files);
    ek_free(r->values);
    ek_free(r->arrays);
    ek_free(r->needed);
    ek_free(r->ops);
    ek_free(r->edges);
    ek_free(r->over);
    ek_free(r->alias);
    ek_free(r->props);
    ek_free(r->report);
}

ek_status ek_onnx_import(ek_net **net, const char *path, EkOnnx__ModelProto *model, size_t size,
                         const ek_import_onnx_options *options)
{
    static const ek_import_onnx_options plain = {0};
    onnx_reader r = {.path = path,
                     .model = model,
                     .file_size = size,
                     .options = options ? options : &plain,
                     .side = {.path = path},
                     .node = -1};
    *net = NULL;
    ek_status status = read_model(&r);
    if (!status && r.options->report && !r.report) {
        r.report = ek_strdup("");
        status = r.report ? EK_OK : EK_ERR_MEMORY;
    }
    if (!status) {
        *net = r.net;
        r.net = NULL;
    }
    if (!status && r.options->report) {
        *r.options->report = r.report;
        r.report = NULL;
    }
    free_reader(&r);
    return status;
}

ek_status ek_import_onnx(ek_net **net, const char *path, const ek_import_onnx_options *options)
{
    unsigned char *bytes = NULL;
    size_t size;
    EkOnnx__ModelProto *model = NULL;
    if (!net)
        return ek_fail(EK_ERR_ARGUMENT, "ek_import_onnx: net is NULL");
    *net = NULL;
    if (options && options->report)
        *options->report = NULL;
    EK_TRY(ek_file_read(path, EK_ONNX_BYTES_MAX, &bytes, &size));
    const ek_status status = ek_onnx_unpack(bytes, size, path, &model);
    ek_free(bytes);
    EK_TRY(status);
    return ek_onnx_import(net, path, model, size, options);
}

#else

ek_status ek_import_onnx(ek_net **net, const char *path, const ek_import_onnx_options *options)
{
    if (options && options->report)
        *options->report = NULL;
    if (net)
        *net = NULL;
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: this build reads no ONNX files: build it with protobuf-c and onnx.proto",
                   path ? path : "");
}

#endif
