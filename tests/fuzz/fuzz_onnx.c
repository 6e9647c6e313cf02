/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as an ONNX file. What is accepted is a net that can be used: its text comes back, its tensors
 * are finite, and it predicts where it is small. */
#include "base/memory.h"
#include "io/onnx_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef EK_HAVE_ONNX

static void check_net(ek_net *net)
{
    char *text = ek_net_text(net);
    ek_net *twin = ek_net_parse(text, "text");
    char *again = ek_net_text(twin);
    if (!text || !twin || !again || strcmp(text, again))
        abort();
    free(text);
    free(again);
    ek_net_free(twin);
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        for (int64_t j = 0; tensor->data && j < tensor->count; j++)
            if (!isfinite(tensor->data[j]))
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EkOnnx__ModelProto *model = NULL;
    ek_net *net = NULL;
    char *report = NULL;
    /* Odd sizes read the graph alone. Files beside it are looked for where there are none. */
    const ek_import_onnx_options options = {.report = &report, .ignore_properties = size % 2};
    if (ek_onnx_unpack(data, size, "input", &model))
        return 0;
    if (ek_onnx_import(&net, "/nowhere/input", model, size, &options)) {
        if (net || report || !*ek_error())
            abort();
        return 0;
    }
    check_net(net);
    ek_net_free(net);
    free(report);
    return 0;
}

#else

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return 0;
}

#endif
